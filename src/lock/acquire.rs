//! How a thread acquires a lock that it has found locked: it spins, enters the queue and parks, until it has acquired
//! the lock by barging or has accepted an offer.
//!
//! The states of the lock and their changes are in `lock::word`, the invariants in `lock::raw`.

use crate::sys::atomic::Ordering;

use crate::error::{Error, Result};
use crate::handle::header::{LIVE, TAG};
use crate::lock::cpu_turns::{begin_turn, count_contended_acquire};
use crate::lock::raw::RawLock;
use crate::lock::word::{HANDOFF_PENDING, HAS_WAITERS, OWNER_MASK};
use crate::sync::spin_wait::SpinWait;
use crate::sync::wait_note::QueueNote;
use crate::sync::waiter::{GRANTED, OFFERED, QUEUED, RETRY, Waiter, is_removed};
use crate::sync::waiter_pool::WaiterLease;
use crate::time::{Deadline, Timeout};

impl RawLock {
    /// Acquires the lock after `acquire_fast` has failed. Returns false if the timeout expires. `pin` pins the slot
    /// until this call has returned.
    #[inline(always)]
    pub(super) fn acquire_slow<P>(
        &self,
        tag: u64,
        owner_tag: u64,
        timeout: Timeout,
        pin: impl FnOnce() -> Result<P>,
    ) -> Result<bool> {
        // Where there is a queue, hand-offs let the threads run in turn.
        if !timeout.is_zero() && !self.word().has_waiters() {
            count_contended_acquire(owner_tag);
        }
        let mut spin = SpinWait::new();
        loop {
            let word = self.word().load();
            if word & TAG != tag {
                return Err(Error::Handle);
            }
            if word & OWNER_MASK == 0 {
                if self.word().cas(word, word | owner_tag, Ordering::Acquire) {
                    return Ok(true);
                }
            } else if timeout.is_zero() {
                if word & OWNER_MASK != HANDOFF_PENDING {
                    return Ok(false);
                }
                pin()?;
                return Ok(self.try_acquire_expired_offer(tag, owner_tag));
            } else if word & HAS_WAITERS != 0 || !spin.spin() {
                break;
            }
        }
        let lease = WaiterLease::new();
        let waiter = lease.begin()?;
        pin()?;
        let deadline = timeout.deadline();
        self.acquire_queued(owner_tag, waiter, deadline, false, self.note(waiter, deadline))
    }

    /// The note of a wait for this lock.
    pub(super) fn note(&self, waiter: &'static Waiter, deadline: Deadline) -> QueueNote {
        QueueNote::new(waiter, self.header.handle_bits(), deadline)
    }

    /// Acquires the lock, waiting in the queue if need be. Returns false if the timeout expires. The slot is pinned.
    /// `notified` is that of the waiter, and `note` describes its wait in reports.
    pub(super) fn acquire_queued(
        &self,
        owner_tag: u64,
        waiter: &'static Waiter,
        deadline: Deadline,
        notified: bool,
        mut note: QueueNote,
    ) -> Result<bool> {
        loop {
            let until = match self.enqueue_or_acquire(owner_tag, waiter, notified)? {
                Some(until) => until,
                None => return Ok(true),
            };
            let until = deadline.min(until);
            let state = waiter.wait(&mut note, &self.adaptive_spin, until);
            begin_turn(owner_tag);
            if let Some(acquired) =
                self.wait_until_acquired(owner_tag, waiter, &mut note, state, until, deadline)
            {
                if !acquired {
                    note.set_timed_out();
                }
                return Ok(acquired);
            }
        }
    }

    /// Acquires the lock (`None`) or adds the waiter to the queue. In that case the thread may park until the time
    /// returned.
    fn enqueue_or_acquire(
        &self,
        owner_tag: u64,
        waiter: &'static Waiter,
        notified: bool,
    ) -> Result<Option<Deadline>> {
        self.with_queue(|queue, wake_queue| {
            let mut word = self.word().load();
            while word & OWNER_MASK == 0 {
                match self.word().compare_exchange(word, word | owner_tag, Ordering::Acquire) {
                    Ok(_) => return Ok(None),
                    Err(now) => word = now,
                }
            }
            if word & LIVE == 0 {
                return Err(Error::Handle);
            }
            let revoked = self.revoke_expired_offer(queue, owner_tag);
            if !revoked {
                waiter.prepare_to_wait(owner_tag);
                waiter.notified.store(notified, Ordering::Relaxed);
                queue.push(waiter);
            }
            self.update_flags_and_wake(queue, wake_queue);
            if !revoked && self.word().load() & LIVE == 0 {
                // Destroyed concurrently: `invalidate` may have found the queue empty.
                queue.remove(waiter);
                return Err(Error::Handle);
            }
            Ok((!revoked).then(|| self.recheck_deadline(queue, false)))
        })
    }

    /// Continues the wait of a queued waiter that was woken in `state`, or had parked until `waited_until`, to its end:
    /// true if it has acquired the lock, false if the timeout has expired, `None` if it was aborted or a signal handler
    /// has forked: then it is to start over.
    pub(super) fn wait_until_acquired(
        &self,
        owner_tag: u64,
        waiter: &'static Waiter,
        note: &mut QueueNote,
        mut state: u32,
        mut waited_until: Deadline,
        deadline: Deadline,
    ) -> Option<bool> {
        loop {
            match state {
                GRANTED => return Some(true),
                state if is_removed(state) => return None,
                _ => {}
            }
            // A designated waker acquires the lock if it becomes free soon.
            let mut acquired = state == RETRY && self.try_barge(owner_tag, waiter);
            // The futex's result counts as well as the clock, since a replaced clock may stand still.
            let has_expired = state == QUEUED && waited_until == deadline || deadline.has_passed();
            let has_timed_out = !acquired && state != OFFERED && has_expired;
            let mut until = Deadline::NEVER;
            let is_dequeued = self.with_queue(|queue, wake_queue| {
                state = waiter.state();
                if is_removed(state) {
                    return false;
                }
                if state == OFFERED {
                    acquired = self.word().end_offer(owner_tag);
                } else if !acquired {
                    acquired = self.revoke_expired_offer(queue, owner_tag);
                }
                if acquired {
                    queue.remove_new_owner(waiter);
                } else if has_timed_out {
                    queue.remove(waiter);
                } else {
                    let is_watcher = waiter.is_watcher.replace(false);
                    queue.reset_woken(waiter);
                    waiter.set_queued();
                    until = self.recheck_deadline(queue, is_watcher);
                }
                self.update_flags_and_wake(queue, wake_queue);
                acquired || has_timed_out
            });
            if is_dequeued || acquired {
                return Some(acquired);
            }
            if !is_removed(state) {
                waited_until = deadline.min(until);
                state = waiter.wait(note, &self.adaptive_spin, waited_until);
                begin_turn(owner_tag);
            }
        }
    }

    /// Spins for a designated waker, and acquires the lock ahead of earlier waiters if it becomes free. Returns false
    /// also if the waiter's state has changed. While it spins, and until it has locked the mutex, the lock is not
    /// offered to it: another thread may release the Lock that it has acquired, and one acquire must not hold the lock
    /// twice.
    fn try_barge(&self, owner_tag: u64, waiter: &Waiter) -> bool {
        if !waiter.begin_barging() {
            return false;
        }
        let mut spin = SpinWait::new();
        while waiter.state() == QUEUED {
            let word = self.word().load();
            if word & OWNER_MASK == 0 {
                // Release: as in `end_offer`, for the state that this thread has stored.
                if self.word().cas(word, word | owner_tag, Ordering::AcqRel) {
                    return true;
                }
            } else if !spin.spin() {
                break;
            }
        }
        false
    }
}
