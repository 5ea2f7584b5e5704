//! Statistics of contention: how often and for how long threads have waited for each lock and semaphore. A thread that
//! has parked counts its wait in the note of the object, so that fast paths do not change.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::dump::deadlock::owner_ident;
use crate::handle::Handle;
use crate::handle::note;
use crate::lock::lock::Lock;
use crate::lock::rlock::RLock;
use crate::semaphore::Semaphore;
use crate::sync::wait_observer::{self, CONTENTION, EndedWait, Observer};
use crate::time::Deadline;

static OBSERVER: Observer = Observer { owner: owner_ident, end, named: |_| {} };

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
pub(super) static IS_ON: AtomicBool = AtomicBool::new(false);
/// When the statistics were last turned on, in nanoseconds.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
pub(super) static SINCE: AtomicU64 = AtomicU64::new(0);

/// Turns the statistics on or off. Turning them on discards what was counted before, since dumps show for how long
/// waits have been counted.
pub(crate) fn set(on: bool) {
    if on {
        if !IS_ON.swap(true, Ordering::Relaxed) {
            note::discard_waits();
            SINCE.store(Deadline::now().0, Ordering::Relaxed);
        }
        wait_observer::turn_on(CONTENTION, &OBSERVER);
    } else {
        IS_ON.store(false, Ordering::Relaxed);
        wait_observer::turn_off(CONTENTION);
    }
}

/// Counts a wait of the calling thread, which has ended.
fn end(wait: &EndedWait) {
    let nanoseconds = Deadline::now().0.saturating_sub(wait.began.0);
    let _ = note::record_wait(Handle::<Lock>::from_bits(wait.object), nanoseconds, wait.owner)
        || note::record_wait(Handle::<RLock>::from_bits(wait.object), nanoseconds, wait.owner)
        || note::record_wait(Handle::<Semaphore>::from_bits(wait.object), nanoseconds, 0);
}
