//! The most contended objects, in a dump.

use core::sync::atomic::Ordering;

use crate::dump::contention::{IS_ON, SINCE};
use crate::dump::line::Lines;
use crate::dump::sentences as say;
use crate::dump::snapshot::Snapshot;
use crate::dump::text;
use crate::handle::Handle;
use crate::handle::note::{self, Named, Waits};
use crate::lock::lock::Lock;
use crate::lock::rlock::RLock;
use crate::semaphore::Semaphore;
use crate::time::Deadline;

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
    lines.text(say::CONTENTION).seconds(now.0.saturating_sub(SINCE.load(Ordering::Relaxed))).text(":").end();
    for (object, waits) in most.iter().filter(|(object, _)| *object != 0) {
        lines.text("  ");
        text::object(lines, *object);
        lines
            .text("  ")
            .count(waits.count as usize, say::WAIT)
            .text(", ")
            .short_time(waits.total_ns)
            .text(say::IN_TOTAL);
        lines.short_time(waits.longest_ns).text(say::LONGEST);
        if waits.longest_owner != 0 {
            lines.text(say::OWNED_BY);
            text::thread_by_ident(lines, snapshot, waits.longest_owner);
        }
        lines.end();
    }
}

/// Inserts the objects of a type into the array, which is sorted by the time of all waits.
fn collect<T: Named>(most: &mut [(usize, Waits); SHOWN]) {
    for (object, tag) in Handle::<T>::unlocked_objects() {
        if let Some(waits) = note::waits_of(object.header(), tag) {
            insert(most, (Handle::of(object).bits(), waits));
        }
    }
}

fn insert(most: &mut [(usize, Waits); SHOWN], mut entry: (usize, Waits)) {
    for place in most {
        if place.1.total_ns < entry.1.total_ns {
            core::mem::swap(place, &mut entry);
        }
    }
}
