//! What becomes of a condition's waiters: a notify moves them to the queue of the lock, and they reacquire the lock.
//!
//! Waiters that a notify has moved to the queue (`Waiter::notified`) do not count as blocked on the lock, so that it
//! can be destroyed. They are then aborted, find the lock destroyed, and return without it.
//!
//! A notify does not move a waiter that has not parked yet. That waiter spins until the lock is unlocked, which is
//! about to happen as a rule, and acquires it by barging (`reacquire_notified`). If that takes too long, it enters the
//! queue itself, as a notified waiter. So does a waiter that a release has woken together with others (`lock::queue`).

use crate::sys::atomic::{Ordering, spin_loop};

use crate::handle::header::LIVE;
use crate::lock::raw::RawLock;
use crate::lock::word::OWNER_MASK;
use crate::sync::wait_note::QueueNote;
use crate::sync::waiter::{ABORTED, Waiter};
use crate::time::Deadline;

/// How often a condition's waiter that was notified before it parked looks for the lock, before it enters the queue:
/// for about a microsecond, since the notifying thread releases the lock soon as a rule.
const NOTIFIED_SPINS: u32 = if cfg!(model) { 1 } else { 32 };

impl RawLock {
    /// Moves a condition's notified waiters to this queue, and returns their number. The lock is held as a rule, and its
    /// release wakes them.
    pub(crate) fn requeue(&self, notified: impl Iterator<Item = &'static Waiter>) -> usize {
        self.with_queue(|queue, wake_queue| {
            let mut count = 0;
            for waiter in notified {
                waiter.notify();
                queue.push_notified(waiter);
                count += 1;
            }
            self.update_flags_and_wake(queue, wake_queue);
            if self.word().load() & LIVE == 0 {
                self.abort_waiters(queue, wake_queue);
            }
            count
        })
    }

    /// Aborts waiters of a destroyed condition over this lock, which are in no queue.
    pub(crate) fn abort_condition_waiters(&self, waiters: impl Iterator<Item = &'static Waiter>) {
        for waiter in waiters {
            let _ = waiter.complete(ABORTED, &self.adaptive_spin).wake();
        }
    }

    /// Reacquires the lock for a condition's waiter that has been requeued, and was woken in `state`. The slot is
    /// pinned.
    pub(crate) fn reacquire_requeued(
        &self,
        owner_tag: u64,
        waiter: &'static Waiter,
        note: &mut QueueNote,
        state: u32,
    ) {
        if self.wait_until_acquired(owner_tag, waiter, note, state, Deadline(0), Deadline::NEVER).is_none() {
            self.reacquire(owner_tag, waiter, true);
        }
    }

    /// Reacquires the lock for a condition's waiter that was notified before it parked, or has parked together with
    /// others, and is in no queue. `note` is that of a wait for the condition, which has not begun. The slot is pinned.
    pub(crate) fn reacquire_notified(&self, owner_tag: u64, waiter: &'static Waiter, note: QueueNote) {
        for _ in 0..NOTIFIED_SPINS {
            // The notifying thread needs the word, too, before it releases the lock.
            if !cfg!(model) {
                spin_loop();
                spin_loop();
            }
            let word = self.word().load();
            // Release: as in `end_offer`, for the state that this thread has read.
            if word & OWNER_MASK == 0 && self.word().cas(word, word | owner_tag, Ordering::AcqRel) {
                return;
            }
        }
        let _ = self.acquire_queued(owner_tag, waiter, Deadline::NEVER, true, note);
    }

    /// Reacquires the lock for a condition's waiter that is in no queue, and has been `notified` or not. The slot is
    /// pinned.
    pub(crate) fn reacquire(&self, owner_tag: u64, waiter: &'static Waiter, notified: bool) {
        // An error means that the lock has been destroyed while it was locked. No thread can release it, and there is
        // nothing left to exclude.
        let note = self.note(waiter, Deadline::NEVER);
        let _ = self.acquire_queued(owner_tag, waiter, Deadline::NEVER, notified, note);
    }
}
