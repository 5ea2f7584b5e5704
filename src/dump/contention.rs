//! Statistics of contention: how often and for how long threads have waited for each lock and semaphore. They are
//! counted where a thread has parked, in the note of the object, so that fast paths do not change.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::dump::deadlock::owner_of;
use crate::dump::line::Lines;
use crate::dump::snapshot::Snapshot;
use crate::dump::text;
use crate::handle::Handle;
use crate::handle::note::{self, Named, Waits};
use crate::lock::lock::Lock;
use crate::lock::rlock::RLock;
use crate::semaphore::Semaphore;
use crate::sync::wait_observer::{self, ObservedWait, Observer};
use crate::thread::ident::OWNER_SHIFT;
use crate::time::Deadline;

static OBSERVER: Observer = Observer { begin, end };

static IS_ON: AtomicBool = AtomicBool::new(false);
/// When the statistics began, in nanoseconds.
static SINCE: AtomicU64 = AtomicU64::new(0);

/// Turns the statistics on or off. Those that have been counted are kept.
pub(crate) fn set(on: bool) {
    if on && !IS_ON.swap(true, Ordering::Relaxed) {
        SINCE.store(Deadline::now().0, Ordering::Relaxed);
    } else if !on {
        IS_ON.store(false, Ordering::Relaxed);
    }
    wait_observer::set(on.then_some(&OBSERVER));
}

/// Returns the identifier of the thread that owns the lock, 0 for other objects.
fn begin(object: usize) -> u64 {
    owner_of(object).map_or(0, |owner| owner >> OWNER_SHIFT)
}

fn end(wait: ObservedWait) {
    let nanoseconds = Deadline::now().0.saturating_sub(wait.began.0);
    let record = |recorded: bool, record: &dyn Fn() -> bool| recorded || record();
    let recorded = record(false, &|| {
        note::record_wait(Handle::<Lock>::from_bits(wait.object), nanoseconds, wait.at_begin)
    });
    let recorded = record(recorded, &|| {
        note::record_wait(Handle::<RLock>::from_bits(wait.object), nanoseconds, wait.at_begin)
    });
    record(recorded, &|| note::record_wait(Handle::<Semaphore>::from_bits(wait.object), nanoseconds, 0));
}

const SHOWN: usize = 10;

/// Writes the objects for which threads have waited longest.
pub(super) fn write(lines: &mut Lines, snapshot: &Snapshot, now: Deadline) {
    if !IS_ON.load(Ordering::Relaxed) {
        return;
    }
    let mut most = [(0, Waits::NONE); SHOWN];
    collect::<Lock>(&mut most);
    collect::<RLock>(&mut most);
    collect::<Semaphore>(&mut most);
    lines
        .text("contention in the last ")
        .seconds(now.0.saturating_sub(SINCE.load(Ordering::Relaxed)))
        .text(":")
        .end();
    for (object, waits) in most.iter().filter(|(object, _)| *object != 0) {
        lines.text("  ");
        text::object(lines, *object);
        lines
            .text("  ")
            .count(waits.count as usize, "wait")
            .text(", ")
            .short_time(waits.total_ns)
            .text(" in total, ");
        lines.short_time(waits.longest_ns).text(" the longest");
        if waits.longest_owner != 0 {
            lines.text(", owned by ");
            text::thread_by_ident(lines, snapshot, waits.longest_owner);
        }
        lines.end();
    }
}

/// Inserts the objects of a type into the array, which is sorted by the time of all waits.
fn collect<T: Named>(most: &mut [(usize, Waits); SHOWN]) {
    for (object, tag) in Handle::<T>::unlocked_objects() {
        let Some(waits) = note::waits_of(object, tag) else { continue };
        let mut entry = (Handle::of(object).bits(), waits);
        for place in most.iter_mut() {
            if place.1.total_ns < entry.1.total_ns {
                core::mem::swap(place, &mut entry);
            }
        }
    }
}
