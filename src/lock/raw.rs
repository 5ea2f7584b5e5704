//! What a Lock and an RLock have in common: the word, the queue of those who wait, and the hand-over. A
//! condition hands its notified waiters to it.
//!
//! # State (the header's word)
//!
//! | bits | meaning |
//! |---|---|
//! | 0 to 6 | generation and `LIVE` of the slot |
//! | 7 `HAS_WAITERS` | threads stand in queue |
//! | 8 `DESIGNATED_WAKER` | and as many as it takes have been called and are on their way |
//! | 9 to 63 | the owner: 0 if it is free; a Lock shows `ANONYMOUS_OWNER`, an RLock its owner's key. Bit 9 alone, `HANDOFF_PENDING`: the lock is reserved for a waiter that has not come yet |
//!
//! | from | to | by | ordering |
//! |---|---|---|---|
//! | free | held | whoever comes first, past the queue (barging) | acquire |
//! | held, not `HAS_WAITERS` | free | release | release |
//! | held, `HAS_WAITERS`, `DESIGNATED_WAKER` | free, the same | release, which now and then looks at the time instead | release |
//! | held, `HAS_WAITERS` | free, `HAS_WAITERS`, `DESIGNATED_WAKER` | release, under the queue's guard: wakes the first in queue | release |
//! | held, `HAS_WAITERS` | offered | release, under the guard, when it is time: the hand-over to the first in queue | release |
//! | offered | held | the waiter to which it was offered, under the guard | acquire |
//! | offered | held | another thread that wants the lock, under the guard, after `OFFER_TIMEOUT_TICKS`: it revokes the offer | acquire |
//! | offered, a Lock's | as by any release | a release by any thread, under the guard: the waiter has had the lock | release |
//! | any | other flags | whoever changes the queue, under its guard | relaxed: the guard orders it |
//!
//! Invariant, whenever nobody has the guard: the flags show what the queue is like, and if there is a queue,
//! somebody looks after it: a thread that has been called, or the owner, whose release finds `HAS_WAITERS` alone.
//!
//! A thread that is called stays in queue until it has the lock; if a newcomer has been faster, it sleeps again
//! where it stands. So a contended lock stays busy while the called thread wakes. But half a millisecond after
//! the queue has formed, or after the last hand-over, or a little later, a release gives the lock to the first in
//! queue, whom the newcomers then have to let run: nobody waits for ever.
//!
//! # A waiter that does not come
//!
//! A waiter that has been called or offered the lock may be unable to run: its thread is in a signal handler, or has
//! lost its CPU. The others must not depend on it: the handler may wait for one of them.
//!
//! - A wake-up tells whether the thread slept. If it did not, the thread has not begun to sleep yet, or runs a signal
//!   handler. It counts as unresponsive until it has come: the lock wakes the next one instead, and offers it to others.
//! - A lock that has been offered is not the waiter's before the waiter has accepted it, which it does under the guard
//!   and stands in queue until then. After a millisecond (`OFFER_TIMEOUT_TICKS`), any thread that wants the lock takes it instead, and
//!   the waiter is unresponsive, with its entry in queue.
//! - Threads that are called while such a waiter is unresponsive, or begin to wait then, sleep no longer than that, and then
//!   look again.
//! - A waiter that did sleep comes nearly always. For the case that a signal or another program is faster, one thread is
//!   to watch it, but only if none has been for some milliseconds (`WATCH_PERIOD_SHIFT`): the next in queue, which the release
//!   wakes as well, or the next to come. While waiters do not come, all of these watch every offer (`WATCH_ALL_TICKS`).
//!
//! To its thread's own signal handlers, an offered lock looks like one that another thread holds.
//!
//! Notified waiters of a condition stand in the same queue (`notified`). They do not make the lock busy when
//! its last reference is given back; then they are sent on, and find the lock dead: nobody can hold or
//! release it any more, and they do without.

use crate::sys::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::handle::header::{Header, LIVE, TAG};
use crate::handle::{Handle, Object};
use crate::sync::adaptive_spin::AdaptiveSpin;
use crate::sync::lock_annotations::{self, AtomicTsanOwner};
use crate::sync::mutex::{ForkReset, InternalMutex};
use crate::sync::spin_wait::SpinWait;
use crate::sync::wait_queue::WaitQueue;
use crate::sync::waiter::{self, ABORTED, GRANTED, OFFERED, PendingWake, QUEUED, RETRY, Waiter};
use crate::sys::annotate;
use crate::sys::tls;
use crate::thread::ident::OWNER_SHIFT;
use crate::time::{Deadline, Timeout};

const HAS_WAITERS: u64 = 1 << 7;
const DESIGNATED_WAKER: u64 = 1 << 8;
const FLAGS: u64 = HAS_WAITERS | DESIGNATED_WAKER;
/// What the word shows as the owner while the lock is reserved: less than any owner_tag.
const HANDOFF_PENDING: u64 = 1 << 9;
const OWNER_MASK: u64 = !(HANDOFF_PENDING - 1);
const _: () = assert!(HANDOFF_PENDING < 1 << OWNER_SHIFT);

/// How long a lock stays with whoever comes first before it is handed over: half a millisecond, in units of
/// 2^`TICK_SHIFT` nanoseconds.
const FAIR_AFTER_TICKS: u32 = 8;
const TICK_SHIFT: u32 = 16;
/// How much longer, if the first in queue does not seem to wait for the owner's own CPU: then it is on its way, or
/// another program has its CPU, and while it held the lock nobody would get on.
const FORCE_HANDOFF_AFTER_TICKS: u32 = 12;
/// How long an offer stands before it may be revoked: a millisecond.
const OFFER_TIMEOUT_TICKS: u32 = 16;
/// How often an offer has the next in queue called as well, to watch whether it is accepted: once in 2^`WATCH_PERIOD_SHIFT`
/// of the same units, eight milliseconds.
const WATCH_PERIOD_SHIFT: u32 = 7;
/// For how long every offer is watched after a waiter has not come, in the same units: eight seconds.
const WATCH_ALL_TICKS: u32 = 1 << 17;
/// How many releases a thread makes, while another is on its way to the lock, before it looks at the time. A
/// prime, since the releases of all its locks are counted together.
const FAIRNESS_CHECK_PERIOD: u32 = if cfg!(model) { 2 } else { 61 };

/// How many threads may be on their way to the lock at once. One is enough as a rule: more would find it taken.
const MAX_WAKERS: u16 = 1;
/// As long as the first in queue was notified: after a broadcast there are many, who want the lock for a moment
/// each, and CPUs that would fall asleep between one and the next, from which it takes long to be woken.
const MAX_WAKERS_AFTER_NOTIFY: u16 = 32;
/// How many are called at a time, so that those who have come share in the work of waking the others.
const MAX_WAKES_PER_RELEASE: usize = 3;

/// See the module.
#[repr(C)]
pub(crate) struct RawLock {
    pub(crate) header: Header,
    queue: InternalMutex<LockQueue>,
    /// Of those who stand in queue, and of a condition's waiters, whom this lock's release wakes.
    adaptive_spin: AdaptiveSpin,
    /// Who acquired it, while a race detector watches.
    tsan_owner: AtomicTsanOwner,
}

struct LockQueue {
    waiters: WaitQueue,
    /// When the next release hands the lock over. A moment in units that wrap around: a time before or far after
    /// this one has passed it.
    fair_deadline: u32,
    /// How many in the queue have been called and are not unresponsive.
    wakers: u16,
    /// When an offer last had the next in queue called as well.
    last_watch: u16,
}

impl ForkReset for LockQueue {
    fn reset_in_child(&mut self) {
        self.waiters.reset_in_child();
        self.wakers = 0;
    }
}

/// When a waiter of any lock was last found not to come; 0 if none was.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static LAST_UNRESPONSIVE: AtomicU32 = AtomicU32::new(0);

/// Whether waiters of this process have lately not come: then there are handlers that run for long, and the next waiter
/// may not come either, nor the one that would have watched it.
fn has_recent_unresponsive(now: u32) -> bool {
    let last = LAST_UNRESPONSIVE.load(Ordering::Relaxed);
    last != 0 && now.wrapping_sub(last) < WATCH_ALL_TICKS
}

fn record_unresponsive(now: u32) {
    LAST_UNRESPONSIVE.store(now.max(1), Ordering::Relaxed);
}

/// Before each run of a model.
#[cfg(model)]
pub(crate) fn reset() {
    LAST_UNRESPONSIVE.store(0, Ordering::Relaxed);
}

/// Now, for `LockQueue::fair_deadline`.
fn ticks_now() -> u32 {
    (Deadline::now().0 >> TICK_SHIFT) as u32
}

impl LockQueue {
    fn push(&mut self, waiter: &'static Waiter) {
        if self.waiters.is_empty() {
            self.fair_deadline = ticks_now().wrapping_add(FAIR_AFTER_TICKS);
        }
        waiter.woken.set(false);
        waiter.unresponsive.set(false);
        waiter.is_watcher.set(false);
        self.waiters.push_back(waiter);
    }

    fn remove(&mut self, waiter: &'static Waiter) {
        self.waiters.remove(waiter);
        self.clear_woken(waiter);
    }

    fn mark_woken(&mut self, waiter: &'static Waiter) {
        if !waiter.woken.replace(true) {
            self.wakers = self.wakers.saturating_add(1);
        }
    }

    /// The waiter has come: it is neither called nor unresponsive.
    fn clear_woken(&mut self, waiter: &'static Waiter) {
        self.mark_unresponsive(waiter);
        waiter.woken.set(false);
        waiter.unresponsive.set(false);
    }

    /// The waiter has been called, or the lock offered to it, and it does not come.
    fn mark_unresponsive(&mut self, waiter: &'static Waiter) {
        if !waiter.unresponsive.replace(true) && waiter.woken.get() {
            // Nobody comes in a child that has forgotten the queue, but for whoever forked in a signal handler.
            self.wakers = self.wakers.saturating_sub(1);
        }
    }

    /// Whom to hand the lock to, if it is time.
    fn handoff_target(&self, now: u32) -> Option<&'static Waiter> {
        let is_due = self.fair_deadline.wrapping_sub(now).wrapping_sub(1) >= FAIR_AFTER_TICKS;
        let is_overdue = now.wrapping_sub(self.fair_deadline) >= FORCE_HANDOFF_AFTER_TICKS;
        let first = self.waiters.first().filter(|_| is_due)?;
        let first = if first.unresponsive.get() {
            record_unresponsive(now);
            self.waiters.iter().find(|waiter| !waiter.unresponsive.get())?
        } else {
            first
        };
        (is_overdue || first.parked_on_this_cpu()).then_some(first)
    }

    /// The waiter to which the lock is offered. None in a child of fork that has forgotten the queue.
    fn offered_waiter(&self) -> Option<&'static Waiter> {
        self.waiters.iter().find(|waiter| waiter.state() == OFFERED)
    }

    /// How long an offer stands yet, in the units of `fair_deadline`; 0 if it may be revoked. The lock was last offered
    /// `FAIR_AFTER_TICKS` before `fair_deadline`.
    fn offer_time_left(&self, now: u32) -> u32 {
        let remaining =
            self.fair_deadline.wrapping_add(OFFER_TIMEOUT_TICKS - FAIR_AFTER_TICKS).wrapping_sub(now);
        if remaining <= OFFER_TIMEOUT_TICKS { remaining } else { 0 }
    }

    /// Whether an offer has the next in queue called as well.
    fn try_start_watch(&mut self, now: u32) -> bool {
        let time = (now >> WATCH_PERIOD_SHIFT) as u16;
        core::mem::replace(&mut self.last_watch, time) != time || has_recent_unresponsive(now)
    }

    /// What the word has to show.
    fn flags(&self) -> u64 {
        match self.waiters.first() {
            None => 0,
            Some(first) => {
                let max_wakers = if first.notified.get() { MAX_WAKERS_AFTER_NOTIFY } else { MAX_WAKERS };
                if self.wakers < max_wakers && self.first_not_woken().is_some() { HAS_WAITERS } else { FLAGS }
            }
        }
    }

    /// Whether somebody is in it who is still to be woken for the lock.
    fn has_blocked_waiters(&self) -> bool {
        self.waiters.iter().any(|waiter| !waiter.notified.get() && !waiter.woken.get())
    }

    /// The first who has not been called, and can be.
    fn first_not_woken(&self) -> Option<&'static Waiter> {
        self.waiters.iter().find(|waiter| !waiter.woken.get() && !waiter.unresponsive.get())
    }
}

/// Wake-ups to be made when the guard is gone: threads that woke under it would wait for it at once.
#[derive(Default)]
struct WakeQueue([Option<(PendingWake<'static>, Option<&'static Waiter>)>; MAX_WAKES_PER_RELEASE + 1]);

impl WakeQueue {
    /// Lets a waiter go, under the guard. Whether its thread was looking, as far as could be seen.
    fn add(&mut self, waiter: &'static Waiter, state: u32, adaptive_spin: &AdaptiveSpin) -> bool {
        let wake = waiter.complete(state, adaptive_spin);
        let was_spinning = wake.was_spinning();
        // Only for one that was called does another come instead.
        let woken = matches!(state, RETRY | OFFERED).then_some(waiter);
        match self.0.iter_mut().find(|entry| entry.is_none()) {
            Some(entry) => *entry = Some((wake, woken)),
            None => {
                let _ = wake.wake();
            }
        }
        was_spinning
    }

    /// Makes them, and returns those who were called, but did not sleep.
    fn wake_all(self) -> UnresponsiveWaiters {
        UnresponsiveWaiters(
            self.0.map(|entry| entry.and_then(|(wake, waiter)| if wake.wake() { None } else { waiter })),
        )
    }
}

/// Waiters that did not sleep when they were called.
struct UnresponsiveWaiters([Option<&'static Waiter>; MAX_WAKES_PER_RELEASE + 1]);

/// Whether the calling thread releases without a look at the time: now and then it does look, so that the lock
/// is handed over in time even if whoever was called is long in coming.
fn next_release_skips_fairness_check() -> bool {
    tls::with(|block| {
        block.contended_releases.set(block.contended_releases.get().wrapping_add(1));
        block.contended_releases.get() % FAIRNESS_CHECK_PERIOD != 0
    })
}

/// A kind of object that is a lock.
pub(crate) trait Lockable: Object {
    /// Whether any thread may release it.
    const ANY_THREAD_MAY_RELEASE: bool;

    fn raw(&self) -> &RawLock;

    /// To race detectors: the lock is about to be given back, by whomever.
    fn annotate_release(&self) {
        lock_annotations::mutex_unlock(self, &self.raw().tsan_owner);
    }
}

#[expect(private_bounds, reason = "the kinds are this crate's")]
impl<T: Lockable> Handle<T> {
    /// A lock has been made: `mutex_destroyed` is owed.
    pub(crate) fn annotate_created(self) -> Self {
        if annotate::is_active()
            && let Ok((lock, _)) = self.slot()
        {
            lock_annotations::mutex_created(lock);
        }
        self
    }

    /// Takes the lock, which the caller does not hold, by this means, and announces it.
    #[inline(always)]
    pub(crate) fn annotate_acquire(
        self,
        timeout: Timeout,
        acquire: impl FnOnce() -> Result<bool>,
    ) -> Result<bool> {
        if !annotate::is_active() {
            return acquire();
        }
        let (lock, _) = self.check()?;
        if timeout == Timeout::FOREVER {
            lock_annotations::mutex_pre_lock(lock);
        }
        let acquired = acquire()?;
        if acquired {
            lock_annotations::mutex_post_lock(lock, timeout == Timeout::FOREVER, &lock.raw().tsan_owner);
            // Freed meanwhile: nobody will give it back.
            if self.check().is_err() {
                lock.annotate_release();
            }
        }
        Ok(acquired)
    }

    /// Announces that the caller has the lock again after a wait.
    pub(crate) fn annotate_reacquire(self) {
        if annotate::is_active()
            && let Ok((lock, _)) = self.check()
        {
            lock_annotations::mutex_post_lock(lock, true, &lock.raw().tsan_owner);
        }
    }

    /// Takes the lock, for whoever did not get it at once. False if the time ran out.
    #[cold]
    pub(crate) fn acquire_raw_slow(self, owner_tag: u64, timeout: Timeout) -> Result<bool> {
        let (lock, tag) = self.slot()?;
        let lock = lock.raw();
        let mut spin = SpinWait::new();
        loop {
            let word = lock.word().load(Ordering::Relaxed);
            if word & TAG != tag {
                return Err(Error::Handle);
            }
            if word & OWNER_MASK == 0 {
                if lock.change(word, word | owner_tag, Ordering::Acquire) {
                    return Ok(true);
                }
            } else if timeout.is_zero() {
                return Ok(
                    word & OWNER_MASK == HANDOFF_PENDING && lock.try_acquire_if_offer_expired(tag, owner_tag)
                );
            } else if word & HAS_WAITERS != 0 || !spin.spin() {
                break;
            }
        }
        let waiter = waiter::current()?;
        let _pin = self.pin()?;
        lock.acquire_queued(owner_tag, waiter, timeout.deadline())
    }

    /// Gives the lock back. `NotAcquired` if the owner_tag does not hold it.
    #[cold]
    pub(crate) fn release_raw_slow(self, owner_tag: u64) -> Result<()> {
        let (lock, tag) = self.slot()?;
        let lock = lock.raw();
        loop {
            let word = lock.word().load(Ordering::Relaxed);
            if word & TAG != tag {
                return Err(Error::Handle);
            }
            let owner = word & OWNER_MASK;
            if owner != owner_tag && !(T::ANY_THREAD_MAY_RELEASE && owner == HANDOFF_PENDING) {
                return Err(Error::NotAcquired);
            }
            let released = if word & HAS_WAITERS == 0 {
                lock.change(word, tag, Ordering::Release)
            } else {
                // Another thread may free the lock before this one has called all that it has to.
                let _pin = self.pin()?;
                lock.release_to_waiters(tag | owner)
            };
            if released {
                return Ok(());
            }
        }
    }
}

impl RawLock {
    #[inline(always)]
    pub(crate) fn word(&self) -> &AtomicU64 {
        &self.header.word
    }

    #[inline(always)]
    fn change(&self, from: u64, to: u64, success: Ordering) -> bool {
        self.word().compare_exchange(from, to, success, Ordering::Relaxed).is_ok()
    }

    /// Takes the lock if it is free.
    #[inline(always)]
    pub(crate) fn acquire_fast(&self, tag: u64, owner_tag: u64) -> bool {
        match self.word().compare_exchange(tag, tag | owner_tag, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => true,
            // Past those who stand in queue.
            Err(word) => word & !FLAGS == tag && self.change(word, word | owner_tag, Ordering::Acquire),
        }
    }

    /// Gives the lock back if the owner_tag holds it and nobody has to be looked after.
    #[inline(always)]
    pub(crate) fn release_fast(&self, tag: u64, owner_tag: u64) -> bool {
        match self.word().compare_exchange(tag | owner_tag, tag, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => true,
            Err(word) => {
                word == tag | owner_tag | FLAGS
                    && next_release_skips_fairness_check()
                    && self.change(word, tag | FLAGS, Ordering::Release)
            }
        }
    }

    /// Whether the owner_tag holds it.
    #[inline(always)]
    pub(crate) fn is_held_by(&self, tag: u64, owner_tag: u64) -> bool {
        self.word().load(Ordering::Relaxed) & !FLAGS == tag | owner_tag
    }

    /// Who holds it: 0, or a owner_tag, or less than that if it is reserved for a waiter.
    #[inline(always)]
    pub(crate) fn owner(&self, tag: u64) -> Result<u64> {
        let word = self.word().load(Ordering::Relaxed);
        if word & TAG == tag { Ok(word & OWNER_MASK) } else { Err(Error::Handle) }
    }

    /// Who held it last, for a lock that is dead.
    pub(crate) fn last_owner(&self) -> u64 {
        self.word().load(Ordering::Relaxed) & OWNER_MASK
    }

    /// For the owner, as `held` says, the slot pinned: hands the lock over, or frees it and looks after the queue. False
    /// if the word shows something else by now.
    fn release_to_waiters(&self, owned_word: u64) -> bool {
        self.with_queue(|queue, wake_queue| {
            let word = self.word().load(Ordering::Relaxed);
            if word & !FLAGS != owned_word {
                return false;
            }
            self.grant_offered(queue, wake_queue);
            let now = ticks_now();
            let handoff_target = queue.handoff_target(now);
            let new_owner = if handoff_target.is_some() { HANDOFF_PENDING } else { 0 };
            if !self.change(word, word & !OWNER_MASK | new_owner, Ordering::Release) {
                return false;
            }
            if let Some(handoff_target) = handoff_target {
                queue.fair_deadline = now.wrapping_add(FAIR_AFTER_TICKS);
                queue.mark_woken(handoff_target);
                if wake_queue.add(handoff_target, OFFERED, &self.adaptive_spin) {
                    // It may run a signal handler in the midst of its look.
                    queue.mark_unresponsive(handoff_target);
                }
                if queue.try_start_watch(now)
                    && let Some(next) = self.wake_next(queue, wake_queue)
                {
                    next.is_watcher.set(true);
                }
            }
            self.update_flags_and_wake(queue, wake_queue);
            true
        })
    }

    /// If the lock is offered to a waiter, that one has acquired it: from here on, the caller acts on a lock which is
    /// held.
    fn grant_offered(&self, queue: &mut LockQueue, wake_queue: &mut WakeQueue) {
        if self.word().load(Ordering::Relaxed) & OWNER_MASK == HANDOFF_PENDING
            && let Some(handoff_target) = queue.offered_waiter()
        {
            queue.remove(handoff_target);
            let _ = wake_queue.add(handoff_target, GRANTED, &self.adaptive_spin);
        }
    }

    /// Takes the lock, which is offered, under the guard: the waiter does that has it offered, or a thread that revokes
    /// the offer. False if it is not offered any more.
    fn acquire_offered(&self, owner_tag: u64) -> bool {
        loop {
            let word = self.word().load(Ordering::Relaxed);
            if word & OWNER_MASK != HANDOFF_PENDING {
                return false;
            }
            if self.change(word, word & !OWNER_MASK | owner_tag, Ordering::Acquire) {
                return true;
            }
        }
    }

    /// Takes the lock for a thread that wants it, under the guard, if it is offered to a waiter that has not come in
    /// time.
    fn acquire_if_offer_expired(&self, queue: &mut LockQueue, owner_tag: u64) -> bool {
        if self.word().load(Ordering::Relaxed) & OWNER_MASK != HANDOFF_PENDING {
            return false;
        }
        let (handoff_target, now) = (queue.offered_waiter(), ticks_now());
        if (handoff_target.is_some() && queue.offer_time_left(now) > 0) || !self.acquire_offered(owner_tag) {
            return false;
        }
        if let Some(handoff_target) = handoff_target {
            record_unresponsive(now);
            queue.mark_unresponsive(handoff_target);
            handoff_target.woken.set(false);
            handoff_target.revoke_offer();
        }
        true
    }

    /// As `revoke`, for a thread that does not wait.
    #[cold]
    fn try_acquire_if_offer_expired(&self, tag: u64, owner_tag: u64) -> bool {
        self.with_queue(|queue, wake_queue| {
            let revoked = self.header.is_live(tag) && self.acquire_if_offer_expired(queue, owner_tag);
            if revoked {
                self.update_flags_and_wake(queue, wake_queue);
            }
            revoked
        })
    }

    /// When a thread in queue has to look again, the guard held: at the end of the grace, if the lock is offered to a
    /// waiter that did not sleep when it was woken, or if this thread is the one to watch. `watches`: it was called
    /// for that.
    fn recheck_deadline(&self, queue: &mut LockQueue, is_watcher: bool) -> Deadline {
        if self.word().load(Ordering::Relaxed) & OWNER_MASK != HANDOFF_PENDING {
            return Deadline::NEVER;
        }
        let time = Deadline::now();
        let now = (time.0 >> TICK_SHIFT) as u32;
        let is_unresponsive =
            queue.offered_waiter().is_none_or(|handoff_target| handoff_target.unresponsive.get());
        if is_unresponsive || is_watcher || queue.try_start_watch(now) {
            time.add_ns(u64::from(queue.offer_time_left(now)) << TICK_SHIFT)
        } else {
            Deadline::NEVER
        }
    }

    /// Does something with the queue under its guard, and then wakes whom that has let go. If it wakes any, the slot
    /// is pinned.
    fn with_queue<R>(&self, f: impl FnOnce(&mut LockQueue, &mut WakeQueue) -> R) -> R {
        let mut wake_queue = WakeQueue::default();
        let result = f(&mut self.queue.lock(), &mut wake_queue);
        let mut unresponsive_waiters = wake_queue.wake_all();
        while unresponsive_waiters.0.iter().any(Option::is_some) {
            unresponsive_waiters = self.wake_replacements(unresponsive_waiters);
        }
        result
    }

    /// Waiters that were woken, but did not sleep, may not come: another one is called in their stead, if there is any.
    #[cold]
    fn wake_replacements(&self, unresponsive_waiters: UnresponsiveWaiters) -> UnresponsiveWaiters {
        let mut wake_queue = WakeQueue::default();
        let mut queue = self.queue.lock();
        for waiter in unresponsive_waiters.0.into_iter().flatten() {
            // By now it may have come, and even stand in another queue.
            let is_queued_here = queue.waiters.iter().any(|other| core::ptr::eq(other, waiter));
            if is_queued_here && matches!(waiter.state(), RETRY | OFFERED) && !waiter.unresponsive.get() {
                queue.mark_unresponsive(waiter);
                if self.word().load(Ordering::Relaxed) & OWNER_MASK == HANDOFF_PENDING {
                    let _ = self.wake_next(&mut queue, &mut wake_queue);
                }
            }
        }
        self.update_flags_and_wake(&mut queue, &mut wake_queue);
        drop(queue);
        wake_queue.wake_all()
    }

    /// Calls the next one, if there is any.
    fn wake_next(&self, queue: &mut LockQueue, wake_queue: &mut WakeQueue) -> Option<&'static Waiter> {
        let waiter = queue.first_not_woken()?;
        queue.mark_woken(waiter);
        let _ = wake_queue.add(waiter, RETRY, &self.adaptive_spin);
        Some(waiter)
    }

    /// Shows in the word what the queue is like, after it has changed. If somebody has to look after it and
    /// nobody holds the lock, wakes the next ones.
    fn update_flags_and_wake(&self, queue: &mut LockQueue, wake_queue: &mut WakeQueue) {
        let mut wakes = 0;
        loop {
            let word = self.word().load(Ordering::Relaxed);
            let flags = queue.flags();
            if flags == HAS_WAITERS && word & OWNER_MASK == 0 && wakes < MAX_WAKES_PER_RELEASE {
                wakes += 1;
                let _ = self.wake_next(queue, wake_queue);
            } else if word & FLAGS == flags || self.change(word, word & !FLAGS | flags, Ordering::Relaxed) {
                return;
            }
        }
    }

    /// For a waiter of a condition over this lock, the slot pinned: waits until a notify has chosen it and it has
    /// been called, or more; `QUEUED` if the time ran out.
    pub(crate) fn wait_for_notify(&self, waiter: &'static Waiter, deadline: Deadline) -> u32 {
        waiter.wait(&self.adaptive_spin, deadline)
    }

    /// Waits for the lock in queue, the slot pinned. False if the time ran out.
    fn acquire_queued(&self, owner_tag: u64, waiter: &'static Waiter, deadline: Deadline) -> Result<bool> {
        loop {
            let until = match self.enqueue_or_acquire(owner_tag, waiter)? {
                Some(until) => until,
                None => return Ok(true),
            };
            let until = deadline.min(until);
            let state = waiter.wait(&self.adaptive_spin, until);
            if let Some(acquired) = self.wait_until_acquired(owner_tag, waiter, state, until, deadline) {
                return Ok(acquired);
            }
        }
    }

    /// `None` if the caller has the lock; otherwise the waiter stands in queue now, and has to look again at that time.
    fn enqueue_or_acquire(&self, owner_tag: u64, waiter: &'static Waiter) -> Result<Option<Deadline>> {
        self.with_queue(|queue, wake_queue| {
            let mut word = self.word().load(Ordering::Relaxed);
            while word & OWNER_MASK == 0 {
                match self.word().compare_exchange(
                    word,
                    word | owner_tag,
                    Ordering::Acquire,
                    Ordering::Relaxed,
                ) {
                    Ok(_) => return Ok(None),
                    Err(now) => word = now,
                }
            }
            if word & LIVE == 0 {
                return Err(Error::Handle);
            }
            let revoked = self.acquire_if_offer_expired(queue, owner_tag);
            if !revoked {
                waiter.prepare_to_wait(owner_tag);
                queue.push(waiter);
            }
            self.update_flags_and_wake(queue, wake_queue);
            if !revoked && self.word().load(Ordering::Relaxed) & LIVE == 0 {
                // Freed beside this: `invalidate` may not have seen that the queue is not empty.
                queue.remove(waiter);
                return Err(Error::Handle);
            }
            Ok((!revoked).then(|| self.recheck_deadline(queue, false)))
        })
    }

    /// For a waiter in queue that has stopped waiting in this state, at `waited_until` at the latest: waits on until it has
    /// the lock (true) or its timeout has expired (false). `None` if the queue has been dissolved.
    fn wait_until_acquired(
        &self,
        owner_tag: u64,
        waiter: &'static Waiter,
        mut state: u32,
        mut waited_until: Deadline,
        deadline: Deadline,
    ) -> Option<bool> {
        loop {
            match state {
                GRANTED => return Some(true),
                ABORTED => return None,
                _ => {}
            }
            // A called one takes the lock if it comes free soon.
            let mut acquired = state == RETRY && self.try_barge(owner_tag, waiter);
            // By the kernel's clock, too: a replaced one may stand still.
            let has_expired = state == QUEUED && waited_until == deadline || deadline.has_passed();
            let has_timed_out = !acquired && state != OFFERED && has_expired;
            let mut until = Deadline::NEVER;
            let is_dequeued = self.with_queue(|queue, wake_queue| {
                state = waiter.state();
                if state == GRANTED || state == ABORTED {
                    return false;
                }
                if state == OFFERED {
                    acquired |= self.acquire_offered(owner_tag);
                } else if !acquired {
                    acquired = self.acquire_if_offer_expired(queue, owner_tag);
                }
                if acquired || has_timed_out {
                    queue.remove(waiter);
                } else {
                    let is_watcher = waiter.is_watcher.replace(false);
                    queue.clear_woken(waiter);
                    waiter.set_queued();
                    until = self.recheck_deadline(queue, is_watcher);
                }
                self.update_flags_and_wake(queue, wake_queue);
                acquired || has_timed_out
            });
            if is_dequeued || acquired {
                return Some(acquired);
            }
            if state != GRANTED && state != ABORTED {
                waited_until = deadline.min(until);
                state = waiter.wait(&self.adaptive_spin, waited_until);
            }
        }
    }

    /// For a waiter that was called: takes the lock if it comes free soon, past those who stand before it. False
    /// too if it has been handed over meanwhile.
    fn try_barge(&self, owner_tag: u64, waiter: &Waiter) -> bool {
        let mut spin = SpinWait::new();
        while waiter.state() == RETRY {
            let word = self.word().load(Ordering::Relaxed);
            if word & OWNER_MASK == 0 {
                if self.change(word, word | owner_tag, Ordering::Acquire) {
                    return true;
                }
            } else if !spin.spin() {
                break;
            }
        }
        false
    }

    /// A condition's waiters that were notified: from here on they wait for the lock. It is held as a rule, and
    /// its release looks after them.
    pub(crate) fn requeue(&self, notified: impl Iterator<Item = &'static Waiter>) {
        self.with_queue(|queue, wake_queue| {
            for waiter in notified {
                waiter.notified.set(true);
                queue.push(waiter);
            }
            self.update_flags_and_wake(queue, wake_queue);
            if self.word().load(Ordering::Relaxed) & LIVE == 0 {
                self.abort_waiters(queue, wake_queue);
            }
        });
    }

    /// For waiters of a condition over this lock that nothing can notify any more.
    pub(crate) fn abort_condition_waiters(&self, waiters: impl Iterator<Item = &'static Waiter>) {
        for waiter in waiters {
            let _ = waiter.complete(ABORTED, &self.adaptive_spin).wake();
        }
    }

    /// Sends all away who stand in queue.
    fn abort_waiters(&self, queue: &mut LockQueue, wake_queue: &mut WakeQueue) {
        while let Some(waiter) = queue.waiters.first() {
            queue.remove(waiter);
            let _ = wake_queue.add(waiter, ABORTED, &self.adaptive_spin);
        }
    }

    /// For a notified waiter, the slot pinned: waits until it has the lock again. Its state was `state` when
    /// it woke. Without a time limit.
    pub(crate) fn reacquire_requeued(&self, owner_tag: u64, waiter: &'static Waiter, state: u32) {
        if self.wait_until_acquired(owner_tag, waiter, state, Deadline(0), Deadline::NEVER).is_none() {
            self.reacquire(owner_tag, waiter);
        }
    }

    /// For a waiter of a condition that stands in no queue, the slot pinned.
    pub(crate) fn reacquire(&self, owner_tag: u64, waiter: &'static Waiter) {
        // An error means that the lock is dead, held by nobody who could release it: there is nothing left to
        // exclude.
        let _ = self.acquire_queued(owner_tag, waiter, Deadline::NEVER);
    }

    /// Whether threads are blocked on it: such as no notify has chosen, and as have not been called.
    pub(crate) fn is_busy(&self, tag: u64) -> bool {
        if self.word().load(Ordering::Relaxed) & HAS_WAITERS == 0 {
            return false;
        }
        let queue = self.queue.lock();
        self.header.is_live(tag) && queue.has_blocked_waiters()
    }

    /// `Object::invalidate` of a lock. The threads in queue are sent on: those that have been called, and those that have entered it
    /// beside the last free. A thread enters it by setting `HAS_WAITERS` in a word that still shows `LIVE`.
    pub(crate) fn invalidate(&self, tag: u64) {
        self.header.clear_live(tag);
        if self.word().load(Ordering::Relaxed) & HAS_WAITERS != 0 {
            self.with_queue(|queue, wake_queue| {
                self.grant_offered(queue, wake_queue);
                self.abort_waiters(queue, wake_queue);
            });
        }
    }

    /// As new: free. Meant for a child process, where whoever held it may not exist; threads of this process
    /// that wait try again.
    pub(crate) fn reinit(&self, tag: u64) -> Result<()> {
        self.with_queue(|queue, wake_queue| {
            let mut word = self.word().load(Ordering::Relaxed);
            loop {
                if word & TAG != tag {
                    return Err(Error::Handle);
                }
                match self.word().compare_exchange(word, tag, Ordering::AcqRel, Ordering::Relaxed) {
                    Ok(_) => break,
                    Err(now) => word = now,
                }
            }
            self.abort_waiters(queue, wake_queue);
            Ok(())
        })
    }
}
