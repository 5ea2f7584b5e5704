//! What a Lock and an RLock have in common: the word and the wait queue, and what a thread does that holds the mutex of
//! the queue. A condition moves its notified waiters to this queue.
//!
//! The lock is unfair until a deadline, and fair after it. Any thread may acquire a free lock ahead of the queue
//! (barging). A release wakes one waiter, the *designated waker*, and later releases wake none while that one is on its
//! way. A few times per millisecond a release hands the lock off to the longest waiter instead (eventual fairness, as
//! in parking_lot and CPython). Here a hand-off is an *offer*: the waiter accepts it, or another thread revokes it.
//!
//! | file | what it has |
//! |---|---|
//! | `word` | the states and transitions, the calls that need no mutex, and the releases of an RLock by a store |
//! | `contention`, `cpu_turns` | how a thread notices contention, and how contending threads share a CPU |
//! | `fairness` | the fairness deadline, hand-offs, offers and their watchers |
//! | `queue` | the waiters, the designated wakers and unresponsive waiters |
//! | this one | invariants of the word and the queue; releases, offers, wake-ups, destruction |
//! | `acquire` | how a thread waits until it has acquired the lock |
//! | `requeue` | how a condition's waiters enter the queue, and reacquire the lock |
//!
//! # Invariants, while no thread holds the mutex, the lock exists and its queue is this process's
//!
//! 1. The flags are those that `LockQueue::flags` computes, or, if these are none, `STORE_STOPPED` in an RLock. If
//!    there are any, no store of the owner is left.
//! 2. The owner is `HANDOFF_PENDING` if and only if exactly one waiter in the queue is in state `OFFERED`.
//! 3. If the queue is not empty, at least one thread will serve it: an owner whose release takes the slow path, a
//!    waiter that has been woken, or a thread that watches an offer.
//! 4. A waiter stays in the queue, at its position, until it owns the lock, times out or is aborted, or is woken
//!    together with others (`queue`).
//! 5. `LockQueue` counts the waiters that have been woken and are not unresponsive.
//!
//! | at rest | the next change is made by |
//! |---|---|
//! | unlocked, no flags or `STORE_STOPPED` | any thread |
//! | unlocked, both flags | any thread; the designated waker is on its way |
//! | unlocked, `HAS_WAITERS` | any thread. Occurs only after a notify of many waiters: some designated wakers are on their way, more are allowed, and each of them wakes more when it releases the lock or parks again |
//! | locked, no flags or `STORE_STOPPED` | the owner, whose release needs no mutex |
//! | locked, `HAS_WAITERS` | the owner, whose release wakes a waiter, or all that are parked together, or hands off |
//! | locked, both flags | the owner, whose release wakes no waiter, but may hand off |
//! | offered, any flags | the waiter to which the lock is offered, or a thread that revokes the offer |

use crate::sys::atomic::Ordering;

use crate::error::{Error, Result};
use crate::handle::header::{Header, LIVE, TAG};
use crate::lock::contention::measure_pace;
use crate::lock::fairness::{FairTurn, record_unresponsive, ticks_now};
use crate::lock::queue::LockQueue;
use crate::lock::word::{FLAGS, HANDOFF_PENDING, HAS_WAITERS, LockWord, OWNER_MASK, STORE_STOPPED};
use crate::sync::adaptive_spin::AdaptiveSpin;
use crate::sync::lock_annotations::AtomicTsanOwner;
use crate::sync::mutex::InternalMutex;
use crate::sync::waiter::{ABORTED, GRANTED, NOTIFIED, OFFERED, RETRY, Waiter};
use crate::sync::wake_queue::{CAPACITY, NotParked, WakeQueue};
use crate::time::Deadline;

/// The number of waiters that one call wakes. The woken threads then share the work of waking the others.
const MAX_WAKES_PER_RELEASE: usize = 3;
// A release may wake one more for the sake of fairness.
const _: () = assert!(MAX_WAKES_PER_RELEASE < CAPACITY);

/// The common part of a Lock and an RLock; see the top of this file.
#[repr(C)]
pub(crate) struct RawLock {
    pub(crate) header: Header,
    queue: InternalMutex<LockQueue>,
    /// For waiters in this queue, and for those of conditions over this lock, which a release of this lock wakes.
    pub(super) adaptive_spin: AdaptiveSpin,
    /// The thread that has acquired the lock, if a race detector is active.
    pub(super) tsan_owner: AtomicTsanOwner,
}

const _: () = assert!(size_of::<RawLock>() <= 64);

impl RawLock {
    #[inline(always)]
    pub(crate) fn word(&self) -> LockWord<'_> {
        LockWord::of(&self.header)
    }

    /// Releases the lock after `release_fast` has failed. [`Error::NotAcquired`] if it is not locked, or if `owner_tag`
    /// does not own it, unless `any_owner`. `pin` pins the slot.
    #[inline(always)]
    pub(super) fn release_slow<P>(
        &self,
        tag: u64,
        owner_tag: u64,
        any_owner: bool,
        pin: impl Fn() -> Result<P>,
    ) -> Result<()> {
        loop {
            let word = self.word().load();
            if word & TAG != tag {
                return Err(Error::Handle);
            }
            let owner = word & OWNER_MASK;
            if owner == 0 || owner != owner_tag && !any_owner {
                return Err(Error::NotAcquired);
            }
            let released = if word & HAS_WAITERS == 0 {
                self.word().cas(word, word & !OWNER_MASK, Ordering::Release)
            } else {
                // Another thread may free the lock before this one has issued its wake-ups.
                let _pin = pin()?;
                self.release_to_waiters(tag | owner)
            };
            if released {
                return Ok(());
            }
        }
    }

    /// Releases the lock under the mutex: hands it off, or unlocks it and wakes waiters. Returns false if the word,
    /// flags aside, is not `owned_word` any more. The slot is pinned.
    fn release_to_waiters(&self, owned_word: u64) -> bool {
        self.with_queue(|queue, wake_queue| {
            let word = self.word().load();
            if word & !FLAGS != owned_word {
                return false;
            }
            self.grant_offered(queue, wake_queue);
            let now = ticks_now();
            let is_hot = measure_pace(now);
            let fair_turn = queue.fair_turn(now);
            let new_owner = if matches!(fair_turn, FairTurn::HandOff(_)) { HANDOFF_PENDING } else { 0 };
            if !self.word().cas(word, word & !OWNER_MASK | new_owner, Ordering::Release) {
                queue.undo_fair_turn(fair_turn);
                self.update_flags_and_wake(queue, wake_queue);
                return false;
            }
            if let FairTurn::HandOff(first) | FairTurn::Wake(first) = fair_turn {
                queue.fair_deadline.start(now, &queue.waiters);
                let notified = first.notified.load(Ordering::Relaxed);
                queue.set_hot(is_hot && !notified);
                queue.mark_woken(first);
            }
            match fair_turn {
                FairTurn::None => {}
                FairTurn::Wake(first) => {
                    first.had_fair_wake.set(true);
                    self.wake(queue, wake_queue, first);
                    // In case that its thread enters a signal handler, as an offer has a watcher.
                    if queue.try_start_watch(now) {
                        let _ = self.wake_next(queue, wake_queue);
                    }
                }
                FairTurn::HandOff(first) => {
                    if wake_queue.add(first, OFFERED, &self.adaptive_spin) {
                        queue.mark_unresponsive(first);
                    }
                    if queue.try_start_watch(now) {
                        if let Some(next) = self.wake_next(queue, wake_queue) {
                            next.is_watcher.set(true);
                        }
                    }
                }
            }
            self.update_flags_and_wake(queue, wake_queue);
            true
        })
    }

    /// If the lock is offered to a waiter, grants it. The caller, which holds the mutex, then releases or destroys
    /// the lock as one that the waiter owns.
    fn grant_offered(&self, queue: &mut LockQueue, wake_queue: &mut WakeQueue) {
        if self.word().load() & OWNER_MASK == HANDOFF_PENDING {
            if let Some(offered) = queue.offered_waiter() {
                queue.remove(offered);
                let _ = wake_queue.add(offered, GRANTED, &self.adaptive_spin);
            }
        }
    }

    /// Acquires the lock for the calling thread by revoking the current offer, if that may be revoked. Returns whether
    /// it has. The caller holds the mutex.
    pub(super) fn revoke_expired_offer(&self, queue: &mut LockQueue, owner_tag: u64) -> bool {
        if self.word().load() & OWNER_MASK != HANDOFF_PENDING {
            return false;
        }
        let (offered, now) = (queue.offered_waiter(), ticks_now());
        if (offered.is_some() && queue.fair_deadline.offer_time_left(now) > 0)
            || !self.word().end_offer(owner_tag)
        {
            return false;
        }
        if let Some(offered) = offered {
            record_unresponsive(now);
            queue.mark_unresponsive(offered);
            offered.woken.set(false);
            offered.revoke_offer();
        }
        true
    }

    /// `revoke_expired_offer` for a thread that does not wait.
    #[cold]
    pub(super) fn try_acquire_expired_offer(&self, tag: u64, owner_tag: u64) -> bool {
        self.with_queue(|queue, wake_queue| {
            let revoked = self.header.is_live(tag) && self.revoke_expired_offer(queue, owner_tag);
            if revoked {
                self.update_flags_and_wake(queue, wake_queue);
            }
            revoked
        })
    }

    /// The time until which a queued thread may park: until the current offer may be revoked, if the waiter that has
    /// the offer is unresponsive or this thread watches the offer; otherwise without a limit. The thread watches it if
    /// `is_watcher` (it was woken to do so), or if the offer is to have a watcher now. The caller holds the mutex.
    pub(super) fn recheck_deadline(&self, queue: &mut LockQueue, is_watcher: bool) -> Deadline {
        if self.word().load() & OWNER_MASK != HANDOFF_PENDING {
            return Deadline::NEVER;
        }
        let time = Deadline::now();
        let is_unresponsive = queue.offered_waiter().is_none_or(|offered| offered.unresponsive.get());
        if is_unresponsive || is_watcher || queue.last_watch.try_start_at(time) {
            queue.fair_deadline.offer_end(time)
        } else {
            Deadline::NEVER
        }
    }

    /// Calls `f` with the mutex held, and issues the wake-ups that it has queued once the mutex is unlocked. If there
    /// can be any, the caller has pinned the slot.
    pub(super) fn with_queue<R>(&self, f: impl FnOnce(&mut LockQueue, &mut WakeQueue) -> R) -> R {
        let mut wake_queue = WakeQueue::default();
        let result = f(&mut self.queue.lock(), &mut wake_queue);
        let mut not_parked = wake_queue.wake_all();
        while !not_parked.is_empty() {
            not_parked = self.wake_replacements(not_parked);
        }
        result
    }

    /// Wakes other waiters in place of those that were not parked when they were woken and may be unresponsive.
    #[cold]
    fn wake_replacements(&self, not_parked: NotParked) -> NotParked {
        let mut wake_queue = WakeQueue::default();
        let mut queue = self.queue.lock();
        for waiter in not_parked.into_iter() {
            // The waiter may have run since, and may be in another queue.
            let is_queued_here = queue.waiters.iter().any(|other| core::ptr::eq(other, waiter));
            if is_queued_here && matches!(waiter.state(), RETRY | OFFERED) && !waiter.unresponsive.get() {
                queue.mark_unresponsive(waiter);
                if self.word().load() & OWNER_MASK == HANDOFF_PENDING {
                    let _ = self.wake_next(&mut queue, &mut wake_queue);
                }
            }
        }
        self.update_flags_and_wake(&mut queue, &mut wake_queue);
        drop(queue);
        wake_queue.wake_all()
    }

    /// Wakes the next waiter as a designated waker, if there is one to wake.
    fn wake_next(&self, queue: &mut LockQueue, wake_queue: &mut WakeQueue) -> Option<&'static Waiter> {
        let waiter = queue.next_to_wake()?;
        queue.mark_woken(waiter);
        self.wake(queue, wake_queue, waiter);
        Some(waiter)
    }

    /// Wakes a waiter that has been marked, to acquire the lock.
    fn wake(&self, queue: &mut LockQueue, wake_queue: &mut WakeQueue, waiter: &'static Waiter) {
        if wake_queue.add(waiter, RETRY, &self.adaptive_spin) {
            queue.mark_unresponsive(waiter);
        }
    }

    /// Wakes the notified waiters that are parked together, to compete for the lock.
    #[cold]
    fn wake_together(&self, queue: &mut LockQueue, wake_queue: &mut WakeQueue) {
        queue.take_parked_together(|waiter| {
            let _ = wake_queue.add(waiter, NOTIFIED, &self.adaptive_spin);
        });
    }

    /// Restores the invariants after a change of the queue: wakes waiters if the lock is unlocked and has fewer
    /// designated wakers than allowed, and updates the flags. The caller holds the mutex.
    pub(super) fn update_flags_and_wake(&self, queue: &mut LockQueue, wake_queue: &mut WakeQueue) {
        let mut wakes = 0;
        loop {
            let word = self.word().load();
            let mut flags = queue.flags();
            if flags == 0 && word & FLAGS != 0 && self.word().is_released_by_store() {
                flags = STORE_STOPPED;
            }
            if flags == HAS_WAITERS && word & OWNER_MASK == 0 && wakes < MAX_WAKES_PER_RELEASE {
                wakes += 1;
                if queue.has_broadcast() {
                    self.wake_together(queue, wake_queue);
                } else {
                    let _ = self.wake_next(queue, wake_queue);
                }
            } else if word & FLAGS == flags || self.word().set_flags(word, flags) {
                return;
            }
        }
    }

    /// Empties the queue and aborts the waits of all waiters.
    pub(super) fn abort_waiters(&self, queue: &mut LockQueue, wake_queue: &mut WakeQueue) {
        while let Some(waiter) = queue.waiters.first() {
            queue.remove(waiter);
            let _ = wake_queue.add(waiter, ABORTED, &self.adaptive_spin);
        }
    }

    /// Whether threads are blocked on the lock that are neither notified nor woken. The slot is pinned.
    pub(crate) fn has_blocked_waiters(&self) -> bool {
        self.queue.lock().has_blocked_waiters()
    }

    /// `Object::invalidate` of a lock. The queue may contain notified and woken waiters, and threads that entered it
    /// while the last reference was released. A thread that enters the queue sets `HAS_WAITERS` and then reads `LIVE`:
    /// either this function sees the flag, or that thread sees that `LIVE` is cleared, and leaves the queue.
    pub(crate) fn invalidate(&self, tag: u64) {
        let clear_live = |word| (word & TAG == tag).then_some(word & !LIVE);
        loop {
            let word = self.word().load();
            if self.word().may_owner_store(word) {
                let _queue = self.queue.lock();
                self.word().change(clear_live);
                break;
            }
            // `Object::clear_live` may have done so.
            let Some(dead) = clear_live(word) else { break };
            if self.word().cas(word, dead, Ordering::AcqRel) {
                break;
            }
        }
        if self.word().load() & HAS_WAITERS != 0 {
            self.with_queue(|queue, wake_queue| {
                self.grant_offered(queue, wake_queue);
                self.abort_waiters(queue, wake_queue);
            });
        }
    }

    /// Unlocks the lock whatever its state. Meant for a child of fork, in which the owner may not exist. Waiters of
    /// this process start over.
    pub(crate) fn reinit(&self, tag: u64) -> Result<()> {
        self.with_queue(|queue, wake_queue| {
            if !self.word().change(|word| (word & TAG == tag).then_some(tag)) {
                return Err(Error::Handle);
            }
            self.abort_waiters(queue, wake_queue);
            Ok(())
        })
    }
}

#[cfg(all(test, not(model)))]
mod tests {
    use super::*;
    use crate::lock::fairness::FAIR_AFTER_TICKS;
    use crate::sync::waiter::{PARKED, QUEUED, SPINNING};
    use crate::thread::ident::FIRST_OWNER_TAG;

    /// Returns the state of the second waiter after a release that wakes the first one, which is in this state.
    fn second_after_release(first_state: u32, is_fair: bool) -> u32 {
        const OWNED: u64 = LIVE | FIRST_OWNER_TAG;
        // SAFETY: zeroed memory is a valid lock, and a valid record of a waiter.
        let (raw, waiters): (&'static RawLock, &'static [Waiter; 2]) =
            unsafe { (Box::leak(Box::new(core::mem::zeroed())), Box::leak(Box::new(core::mem::zeroed()))) };
        {
            let queue = &mut *raw.queue.lock();
            for (waiter, state) in waiters.iter().zip([first_state, PARKED]) {
                waiter.prepare_to_wait(0);
                waiter.set_state(state);
                queue.push(waiter);
            }
            let started_before = if is_fair { FAIR_AFTER_TICKS } else { 0 };
            queue.fair_deadline.start(ticks_now().wrapping_sub(started_before), &queue.waiters);
        }
        raw.header.word.store(OWNED | HAS_WAITERS, Ordering::Relaxed);
        assert!(raw.release_to_waiters(OWNED));
        assert_eq!(waiters[0].state(), RETRY);
        waiters[1].state()
    }

    /// A signal handler may have interrupted the first waiter, and need the second one to acquire the lock.
    #[test]
    fn a_release_that_wakes_a_waiter_that_has_not_parked_wakes_the_next_one_too() {
        for is_fair in [false, true] {
            for first_state in [QUEUED, SPINNING] {
                assert_eq!(second_after_release(first_state, is_fair), RETRY, "{first_state} {is_fair}");
            }
        }
    }
}
