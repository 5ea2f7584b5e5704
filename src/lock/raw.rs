//! What a Lock and an RLock have in common: the lock word, the wait queue and the hand-off. A condition moves its
//! notified waiters to this queue.
//!
//! The lock is unfair until a deadline, and fair after it. Any thread may acquire a free lock ahead of the queue
//! (barging). A release wakes one waiter, the *designated waker* (nsync's `MU_DESIG_WAKER`), and later releases wake
//! none while that one is on its way. A few times per millisecond a release hands the lock off to the longest waiter
//! instead (eventual fairness, as in parking_lot and CPython). Here a hand-off is an *offer*: the waiter accepts it, or
//! another thread revokes it.
//!
//! The file is long because everything in it keeps one set of invariants between one word and one queue.
//!
//! ```text
//!               acquire (any thread)                  release, after the fairness deadline
//!  ┌──────────┐ ───────────────────────► ┌──────────┐ ─────────────────────────► ┌───────────┐
//!  │ unlocked │                          │  locked  │                            │  offered  │
//!  └──────────┘ ◄─────────────────────── └──────────┘ ◄───────────────────────── └───────────┘
//!                       release                         the waiter accepts, or
//!                                                       another thread revokes
//! ```
//!
//! # The word (`header.word`)
//!
//! "The mutex" is the `InternalMutex` around [`LockQueue`].
//!
//! | bits | meaning | who changes it | exact or stale |
//! |---|---|---|---|
//! | 0 to 5 | generation of the slot | `handle` | exact |
//! | 6 `LIVE` | the lock exists | `handle` sets it; the thread that destroys the lock clears it | exact |
//! | 7 `HAS_WAITERS` | the wait queue is not empty | a thread that holds the mutex | exact while no thread holds the mutex; stale in a child of fork until the queue first changes, and after destroy |
//! | 8 `DESIGNATED_WAKER` | a release need not wake a waiter: as many as allowed are awake and on their way, or no waiter is left to wake. Without `HAS_WAITERS`, it is `STORE_STOPPED`: see "Releases by a store". Illegal in a Lock without `HAS_WAITERS` | a thread that holds the mutex; the owner of an RLock, when it ends `STORE_STOPPED` | like `HAS_WAITERS` |
//! | 9 to 63 owner | 0: unlocked. `HANDOFF_PENDING` (bit 9 alone): offered to the waiter in state `OFFERED`. Otherwise locked: the owner tag of the thread that acquired the lock | see below | exact |
//!
//! | from | to | who | ordering |
//! |---|---|---|---|
//! | unlocked, any flags | locked, same flags | a thread that wants the lock | acquire; a waiter that has been woken: acquire and release |
//! | locked, no flags | unlocked, no flags | the releasing thread. The owner of an RLock does so by a store | release |
//! | locked, `STORE_STOPPED` | unlocked, same flag | the owner of an RLock. Every `STORE_AGAIN_PERIOD`th of a thread's releases like this clears the flag | release |
//! | locked, but flags have just been set or `LIVE` cleared | `LIVE`, unlocked, no flags | the owner of an RLock, whose store overwrites the change. The thread that has made it repeats it | release |
//! | locked, both flags | unlocked, both flags | the releasing thread. One in a *fairness check period* of a thread's releases like this is one of the next two instead | release |
//! | locked, `HAS_WAITERS` or both flags | unlocked, same flags | the releasing thread, under the mutex. It then wakes as many waiters as allowed, up to `MAX_WAKES_PER_RELEASE`, and updates the flags. If the fairness deadline has passed, it may instead wake the longest waiter beyond that number | release |
//! | locked, `HAS_WAITERS` or both flags | offered | the releasing thread, under the mutex, if the fairness deadline has passed and there is a waiter to hand off to | release |
//! | offered | locked | the waiter to which the lock is offered, under the mutex | acquire and release |
//! | offered | locked | another thread that wants the lock, under the mutex, `OFFER_TIMEOUT_TICKS` after the offer: it revokes the offer | acquire and release |
//! | offered, a Lock's | unlocked, or offered | a release by any thread, under the mutex: the waiter is granted the lock (`GRANTED`), which is then released on its behalf | release |
//! | offered, a Lock's | unlocked | the waiter to which the lock is offered, under the mutex, if it has already acquired the lock by barging, and another thread has released it since | acquire and release |
//! | any flags | other flags | the thread that has changed the queue, under the mutex | relaxed; the mutex orders it |
//! | `LIVE` | not `LIVE`, the rest unchanged | destroy: then, under the mutex, a waiter with an offer is granted the lock, and all others are `ABORTED` | acquire and release |
//! | not `LIVE`, unlocked | not `LIVE`, locked | a thread that had pinned the slot before destroy. No thread can release the lock | acquire |
//! | `LIVE`, any | unlocked, no flags | reinit, under the mutex: all waiters are `ABORTED` and start over | acquire and release |
//!
//! A child of fork inherits the word, but none of the parent's waiters: the first thread that locks the mutex there
//! empties the queue. Flags and an offer that the word still shows then belong to no waiter. The next change of the
//! queue corrects the flags, and the offer can be revoked without a delay.
//!
//! # Releases by a store
//!
//! Only its owner may release an RLock, so it need not execute a locked instruction: if the word has no flags, it stores
//! the unlocked one, in a restartable sequence of the compare and the store (`sys::restartable_store`). Between the two,
//! or before the store is visible, another thread may change the word, and the store overwrites the change: a flag, a
//! cleared `LIVE`, or the word of a reinit. So a thread that changes the word of an RLock that another thread owns calls
//! `restartable_store::finish_others`, a system call, and then reads the word again:
//!
//! - A thread that sets flags, under the mutex, where there were none (`set_flags`). If the flags are gone, it repeats
//!   the change, and may find the lock unlocked. If they are there, they stay: no release by a store begins at a word
//!   with flags, and none that began before is left. Further changes of the flags need no system call, nor does a
//!   waiter that has been woken and parks again.
//! - Destroy and reinit set `STORE_STOPPED` in this way before they change the word (`change_word`). Otherwise a store
//!   could make the lock live again, or unlock it for the next thread that has acquired it, or write to the next lock
//!   in the slot.
//! - `Object::clear_live`, which does not wait for the mutex, clears `LIVE` until it stays cleared.
//!
//! Without the mutex, the flags of a word do not show that no store is left: the thread that has set them may still be
//! in the system call. If the owner is the calling thread, or if there is none, there is no store to wait for.
//!
//! A lock that has been contended will be again. So when its queue becomes empty, the word keeps one flag,
//! `STORE_STOPPED`, with which the owner releases the lock by a compare-and-swap, and a contended lock costs no system
//! calls. The owner ends this state after many such releases.
//!
//! A store is a release like the compare-and-swap of other releases: what its thread does next is seen only by threads
//! that also see the store.
//!
//! # Invariants, while no thread holds the mutex, the lock exists and its queue is this process's
//!
//! 1. The flags are those that `LockQueue::flags` computes, or, if these are none, `STORE_STOPPED` in an RLock. If there
//!    are any, no store of the owner is left.
//! 2. The owner is `HANDOFF_PENDING` if and only if exactly one waiter in the queue is in state `OFFERED`.
//! 3. If the queue is not empty, at least one thread will serve it: an owner whose release takes the slow path, a
//!    waiter that has been woken, or a thread that watches an offer.
//! 4. A waiter stays in the queue, at its position, until it owns the lock, times out or is aborted. A designated waker
//!    that finds the lock taken parks again at the same position.
//! 5. `LockQueue::designated_wakers` is the number of waiters that have been woken and are not unresponsive.
//!
//! | at rest | the next change is made by |
//! |---|---|
//! | unlocked, no flags or `STORE_STOPPED` | any thread |
//! | unlocked, both flags | any thread; the designated waker is on its way |
//! | unlocked, `HAS_WAITERS` | any thread. Occurs only after a notify of many waiters: some designated wakers are on their way, more are allowed, and each of them wakes more when it releases the lock or parks again |
//! | locked, no flags or `STORE_STOPPED` | the owner, whose release needs no mutex |
//! | locked, `HAS_WAITERS` | the owner, whose release wakes a waiter or hands off |
//! | locked, both flags | the owner, whose release wakes no waiter, but may hand off |
//! | offered, any flags | the waiter to which the lock is offered, or a thread that revokes the offer |
//!
//! # Eventual fairness
//!
//! The fairness deadline is a fifth of a millisecond after the queue has formed or the last hand-off
//! (`FAIR_AFTER_TICKS`). From then on, a release serves the first waiter, skipping unresponsive ones:
//!
//! | the waiter | the release |
//! |---|---|
//! | had parked on the releasing thread's CPU | hands the lock off. The waiter runs when the releasing thread parks |
//! | had parked on another CPU, and is parked | only wakes the waiter, and sets the next deadline: the lock stays in use until the waiter runs, and acquires it. When an offer would have a watcher, it wakes the next waiter, too. If the waiter parks again, the next release after a deadline hands the lock off |
//! | had parked on another CPU, and has been woken | wakes and hands off to none: the waiter is on its way. `FORCE_HANDOFF_AFTER_TICKS` later, the release hands the lock off |
//!
//! `LockQueue::fair_deadline` is a 32-bit tick count that wraps around: a deadline that is further ahead than
//! `FAIR_AFTER_TICKS` has passed long ago.
//!
//! The clock is read once per fairness check period: 61 releases of a thread, or 509 if it releases so many Locks within
//! about a tick. After such a long period the lock is *hot*: it changes hands in less time than its cache line takes to
//! the other CPU, and one CPU is faster than two. Its releases then prefer to wake waiters that have parked on the CPU
//! of the releasing thread. They usually run when that thread parks, after a hand-off.
//!
//! # Unresponsive waiters
//!
//! A waiter that has been woken may be unable to run: its thread executes a signal handler, or has lost its CPU. Other
//! threads must not depend on it, since the handler may wait for one of them.
//!
//! - A futex wake returns whether it has woken a thread. If it has not, the waiter's thread has yet to park, or
//!   executes a signal handler. The waiter counts as unresponsive until it takes the mutex, and the next one is woken
//!   in its place.
//! - An offered lock is not owned by the waiter before the waiter has accepted the offer under the mutex; until then
//!   the waiter stays in the queue. To signal handlers of its thread, the lock looks like one that another thread
//!   holds.
//! - After `OFFER_TIMEOUT_TICKS` (one millisecond) a thread that wants the lock revokes the offer. The waiter is then
//!   unresponsive and keeps its position.
//! - A thread that starts to wait, or is woken, while the lock is offered to an unresponsive waiter parks no longer
//!   than until the offer can be revoked.
//! - A waiter that was parked nearly always accepts, but a signal or another process can be faster. So some offers have
//!   a *watcher*, which parks with that same deadline: the next waiter, which the release wakes too, or the next thread
//!   that starts to wait. One offer in 2^`WATCH_PERIOD_SHIFT` ticks has a watcher, and so has every offer for
//!   `WATCH_ALL_TICKS` after a waiter of this process was found unresponsive.
//!
//! # Notified condition waiters
//!
//! Waiters that a notify has moved here (`Waiter::notified`) do not count as blocked on the lock, so that it can be
//! destroyed. They are then aborted, find the lock destroyed, and return without it.
//!
//! A notify does not move a waiter that has not parked yet. That waiter spins until the lock is unlocked, which is about
//! to happen as a rule, and acquires it by barging (`reacquire_notified`). If that takes too long, it enters the queue
//! itself, as a notified waiter.

use crate::sys::atomic::{AtomicU32, AtomicU64, Ordering, spin_loop};

use crate::error::{Error, Result};
use crate::handle::ObjectKind;
use crate::handle::arena::ARENAS;
use crate::handle::header::{Header, LIVE, TAG};
use crate::sync::adaptive_spin::AdaptiveSpin;
use crate::sync::lock_annotations::AtomicTsanOwner;
use crate::sync::mutex::{ForkReset, InternalMutex};
use crate::sync::spin_wait::SpinWait;
use crate::sync::wait_note::QueueNote;
use crate::sync::wait_observer::{self, NOTIFY};
use crate::sync::wait_queue::WaitQueue;
use crate::sync::waiter::{self, ABORTED, GRANTED, OFFERED, PendingWake, QUEUED, RETRY, Waiter};
use crate::sys::restartable_store;
use crate::sys::tls;
use crate::thread::ident::FIRST_OWNER_TAG;
use crate::time::{Deadline, Timeout};

const HAS_WAITERS: u64 = 1 << 7;
const DESIGNATED_WAKER: u64 = 1 << 8;
const FLAGS: u64 = HAS_WAITERS | DESIGNATED_WAKER;
/// The flags of an RLock that has no waiters, but whose owner must not release it by a store.
const STORE_STOPPED: u64 = DESIGNATED_WAKER;
/// The owner field while the lock is offered to a waiter: less than any owner tag.
pub(crate) const HANDOFF_PENDING: u64 = 1 << 9;
const OWNER_MASK: u64 = !(HANDOFF_PENDING - 1);
const _: () = assert!(HANDOFF_PENDING < FIRST_OWNER_TAG);

/// A tick is 2^`TICK_SHIFT` nanoseconds, 66 microseconds.
const TICK_SHIFT: u32 = 16;
/// The time from the forming of the queue, or from a hand-off, to the fairness deadline: a fifth of a millisecond.
const FAIR_AFTER_TICKS: u32 = 3;
/// The extra delay before a hand-off to a waiter that has been woken and had parked on another CPU than the releasing
/// thread's. Such a waiter is probably on its way; if not, another process uses its CPU, and a hand-off would stall all
/// waiters.
const FORCE_HANDOFF_AFTER_TICKS: u32 = 2;
/// The time after which an offer may be revoked: a millisecond.
const OFFER_TIMEOUT_TICKS: u32 = 16;
/// One offer in 2^`WATCH_PERIOD_SHIFT` ticks (eight milliseconds) has a watcher.
const WATCH_PERIOD_SHIFT: u32 = 7;
/// The time for which every offer has a watcher after a waiter was found unresponsive: eight seconds.
const WATCH_ALL_TICKS: u32 = 1 << 17;
/// One in this many contended releases of a thread reads the clock, in case the fairness deadline has passed. Prime, so
/// that a thread that uses several locks in turn does not read it for the same one each time.
const FAIRNESS_CHECK_PERIOD: u32 = if cfg!(model) { 2 } else { 61 };
/// The same for a Lock while the thread releases so many in about a tick. To read the clock more often would cost
/// several percent of such short critical sections.
const LONG_FAIRNESS_CHECK_PERIOD: u32 = if cfg!(model) { 2 } else { 509 };
/// The values of `PerThread::release_pace`, from which it selects the period: `SLOW_PACE` is the short one.
const SLOW_PACE: u8 = 0;
/// The thread has lately done a long period's releases in about a tick, less than a quarter of a microsecond each.
const HOT_PACE: u8 = 2;
/// One in this many releases of a thread in `STORE_STOPPED` ends that state. To stop the stores again costs as much as a
/// thousand of these releases, and it must not happen too often to a lock that is sometimes contended. Prime, as above.
const STORE_AGAIN_PERIOD: u32 = if cfg!(model) { 2 } else { 65_521 };

/// The number of waiters among which a release of a hot lock looks for one of its CPU.
const HOT_SEARCH_LIMIT: usize = 32;

/// The number of designated wakers a lock may have. One is enough as a rule: more would find the lock taken.
const MAX_DESIGNATED_WAKERS: u8 = 1;
/// The same while the first waiter is a notified one. After a broadcast, many waiters want the lock for a short time
/// each, and with one waker at a time the CPUs would go idle in between, which makes each wake-up slow.
const MAX_DESIGNATED_WAKERS_AFTER_NOTIFY: u8 = 32;
/// The number of waiters that one call wakes. The woken threads then share the work of waking the others.
const MAX_WAKES_PER_RELEASE: usize = 3;

/// How often a condition's waiter that was notified before it parked looks for the lock, before it enters the queue: for
/// about a microsecond, since the notifying thread releases the lock soon as a rule.
const NOTIFIED_SPINS: u32 = if cfg!(model) { 1 } else { 32 };

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

struct LockQueue {
    waiters: WaitQueue,
    /// The fairness deadline in ticks, which wrap around.
    fair_deadline: u32,
    /// Whether the last release to check the fairness deadline was one of many in a short time (`HOT_PACE`).
    is_hot: bool,
    /// The number of waiters that have been woken and are not unresponsive. It saturates.
    designated_wakers: u8,
    /// The period in which an offer last had a watcher.
    last_watch: u16,
}

impl ForkReset for LockQueue {
    fn reset_in_child(&mut self) {
        self.waiters.reset_in_child();
        self.designated_wakers = 0;
    }
}

/// The tick in which a waiter of any lock was last found unresponsive; 0 if none was.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static LAST_UNRESPONSIVE: AtomicU32 = AtomicU32::new(0);

/// Whether a waiter of this process has recently been unresponsive. If so, some signal handlers run for a long time,
/// and more waiters, and watchers, may be unresponsive too.
fn has_recent_unresponsive(now: u32) -> bool {
    let last = LAST_UNRESPONSIVE.load(Ordering::Relaxed);
    last != 0 && now.wrapping_sub(last) < WATCH_ALL_TICKS
}

fn record_unresponsive(now: u32) {
    LAST_UNRESPONSIVE.store(now.max(1), Ordering::Relaxed);
}

/// Resets the module's state before each run of a model.
#[cfg(model)]
pub(crate) fn reset() {
    LAST_UNRESPONSIVE.store(0, Ordering::Relaxed);
}

/// The current time in ticks.
fn ticks_now() -> u32 {
    (Deadline::now().0 >> TICK_SHIFT) as u32
}

impl LockQueue {
    fn push(&mut self, waiter: &'static Waiter) {
        if self.waiters.is_empty() {
            self.fair_deadline = ticks_now().wrapping_add(FAIR_AFTER_TICKS);
            self.is_hot = false;
        }
        waiter.woken.set(false);
        waiter.unresponsive.set(false);
        waiter.is_watcher.set(false);
        waiter.had_fair_wake.set(false);
        self.waiters.push_back(waiter);
    }

    fn remove(&mut self, waiter: &'static Waiter) {
        self.waiters.remove(waiter);
        self.reset_woken(waiter);
    }

    /// Turns the waiter into a designated waker.
    fn mark_woken(&mut self, waiter: &'static Waiter) {
        if !waiter.woken.replace(true) {
            self.designated_wakers = self.designated_wakers.saturating_add(1);
        }
    }

    /// For a waiter that runs again, or leaves the queue: it is neither a designated waker nor unresponsive.
    fn reset_woken(&mut self, waiter: &'static Waiter) {
        self.uncount_designated_waker(waiter);
        waiter.woken.set(false);
        waiter.unresponsive.set(false);
    }

    /// Records that the waiter does not react to a wake-up or an offer.
    fn mark_unresponsive(&mut self, waiter: &'static Waiter) {
        self.uncount_designated_waker(waiter);
        waiter.unresponsive.set(true);
    }

    /// Decrements the count if it includes the waiter. The caller then changes the waiter's flags.
    fn uncount_designated_waker(&mut self, waiter: &'static Waiter) {
        if waiter.woken.get() && !waiter.unresponsive.get() {
            // Saturating: the count starts at 0 in a child of fork, whose one thread may have forked in a signal
            // handler as a waiter that had been woken.
            self.designated_wakers = self.designated_wakers.saturating_sub(1);
        }
    }

    /// What a release at the time `now` does for the waiter that has waited longest. Records it if the first waiter is
    /// unresponsive.
    fn fair_turn(&self, now: u32) -> FairTurn {
        let is_due = self.fair_deadline.wrapping_sub(now).wrapping_sub(1) >= FAIR_AFTER_TICKS;
        let is_overdue = now.wrapping_sub(self.fair_deadline) >= FORCE_HANDOFF_AFTER_TICKS;
        let Some(first) = self.waiters.first().filter(|_| is_due) else { return FairTurn::None };
        let first = if first.unresponsive.get() {
            record_unresponsive(now);
            match self.waiters.iter().find(|waiter| !waiter.unresponsive.get()) {
                Some(responsive) => responsive,
                None => return FairTurn::None,
            }
        } else {
            first
        };
        let is_on_its_way = first.woken.get() && !is_overdue;
        if first.parked_on_this_cpu() {
            FairTurn::HandOff(first)
        } else if is_on_its_way {
            FairTurn::None
        } else if first.woken.get() || first.had_fair_wake.get() {
            FairTurn::HandOff(first)
        } else {
            FairTurn::Wake(first)
        }
    }

    /// The waiter to which the lock is offered. `None` in a child of fork, if the offer was made in the parent.
    fn offered_waiter(&self) -> Option<&'static Waiter> {
        self.waiters.iter().find(|waiter| waiter.state() == OFFERED)
    }

    /// The number of ticks until the current offer may be revoked. It was made `FAIR_AFTER_TICKS` before
    /// `fair_deadline`.
    fn offer_time_left(&self, now: u32) -> u32 {
        let remaining =
            self.fair_deadline.wrapping_add(OFFER_TIMEOUT_TICKS - FAIR_AFTER_TICKS).wrapping_sub(now);
        if remaining <= OFFER_TIMEOUT_TICKS { remaining } else { 0 }
    }

    /// Returns whether the current offer is to have a watcher; the caller then provides one.
    fn try_start_watch(&mut self, now: u32) -> bool {
        let period = (now >> WATCH_PERIOD_SHIFT) as u16;
        core::mem::replace(&mut self.last_watch, period) != period || has_recent_unresponsive(now)
    }

    /// The flags that the word must have for this queue.
    fn flags(&self) -> u64 {
        match self.waiters.first() {
            None => 0,
            Some(first) => {
                let max = if first.notified.load(Ordering::Relaxed) {
                    MAX_DESIGNATED_WAKERS_AFTER_NOTIFY
                } else {
                    MAX_DESIGNATED_WAKERS
                };
                if self.designated_wakers < max && self.first_not_woken().is_some() {
                    HAS_WAITERS
                } else {
                    FLAGS
                }
            }
        }
    }

    /// Whether a thread is blocked on the lock itself: not requeued by a notify, and not woken yet.
    fn has_blocked_waiters(&self) -> bool {
        self.waiters.iter().any(|waiter| !waiter.notified.load(Ordering::Relaxed) && !waiter.woken.get())
    }

    /// The first waiter that a wake-up would help.
    fn first_not_woken(&self) -> Option<&'static Waiter> {
        self.not_woken().next()
    }

    /// The waiter to wake next. While the lock is hot, one that has parked on this CPU: the system will probably run it
    /// here, after the calling thread. On another CPU, it would take the lock, and its cache lines, away from this one,
    /// and the threads would wake each other in turn. A hand-off wakes the first waiter in any case.
    fn next_to_wake(&self) -> Option<&'static Waiter> {
        let on_this_cpu =
            || self.not_woken().take(HOT_SEARCH_LIMIT).find(|waiter| waiter.parked_on_this_cpu());
        self.is_hot.then(on_this_cpu).flatten().or_else(|| self.first_not_woken())
    }

    fn not_woken(&self) -> impl Iterator<Item = &'static Waiter> + '_ {
        self.waiters.iter().filter(|waiter| !waiter.woken.get() && !waiter.unresponsive.get())
    }
}

/// What a release does for the waiter that has waited longest.
enum FairTurn {
    /// Nothing: the fairness deadline has not passed, or the waiter is on its way.
    None,
    /// Offers the lock to the waiter.
    HandOff(&'static Waiter),
    /// Wakes the waiter, which has parked on another CPU. An offer would leave the lock unused until it runs.
    Wake(&'static Waiter),
}

/// Wake-ups to be issued after the mutex is unlocked (as Linux's `wake_q`): a thread that is woken before would block
/// on the mutex.
#[derive(Default)]
struct WakeQueue([Option<(PendingWake<'static>, Option<&'static Waiter>)>; MAX_WAKES_PER_RELEASE + 1]);

impl WakeQueue {
    /// Sets the waiter's state, with the mutex held, and queues its wake-up, or issues it if there is no room. Returns
    /// whether the waiter has not parked: a signal handler, which may need another waiter to acquire the lock, may have
    /// interrupted its thread.
    fn add(&mut self, waiter: &'static Waiter, state: u32, adaptive_spin: &AdaptiveSpin) -> bool {
        let wake = waiter.complete(state, adaptive_spin);
        let was_running = wake.was_running();
        // Waiters with a final state leave the queue and need no replacement.
        let replaceable = matches!(state, RETRY | OFFERED).then_some(waiter);
        match self.0.iter_mut().find(|entry| entry.is_none()) {
            Some(entry) => *entry = Some((wake, replaceable)),
            None => {
                let _ = wake.wake();
            }
        }
        was_running
    }

    /// Issues the wake-ups. Returns the waiters that turned out not to be parked.
    fn wake_all(self) -> NotParked {
        NotParked(
            self.0.map(|entry| entry.and_then(|(wake, waiter)| if wake.wake() { None } else { waiter })),
        )
    }
}

/// Waiters that were not parked when they were woken.
struct NotParked([Option<&'static Waiter>; MAX_WAKES_PER_RELEASE + 1]);

/// Counts a release of a lock that has a designated waker. Returns the number of such releases by the calling thread,
/// of all locks.
fn count_contended_release() -> u32 {
    tls::with(|block| {
        block.contended_releases.set(block.contended_releases.get().wrapping_add(1));
        block.contended_releases.get()
    })
}

/// Counts a release of a Lock that has a designated waker. Returns whether it is the last one of its fairness check
/// period.
#[inline(always)]
fn ends_check_period() -> bool {
    let count = count_contended_release();
    if tls::with(|block| block.release_pace.get()) == SLOW_PACE {
        count % FAIRNESS_CHECK_PERIOD == 0
    } else {
        count % LONG_FAIRNESS_CHECK_PERIOD == 0
    }
}

/// Called when a fairness check period may have ended: measures how fast the thread releases. Returns whether it does
/// so at `HOT_PACE`.
fn measure_pace(now: u32) -> bool {
    tls::with(|block| {
        let (count, pace) = (block.contended_releases.get(), block.release_pace.get());
        let is_long = pace != SLOW_PACE;
        if count % if is_long { LONG_FAIRNESS_CHECK_PERIOD } else { FAIRNESS_CHECK_PERIOD } == 0 {
            // The same period must not be measured again.
            block.contended_releases.set(count.wrapping_add(1));
            let now = now as u16;
            let elapsed = now.wrapping_sub(block.pace_measured.replace(now));
            let is_fast = elapsed <= u16::from(is_long);
            block.release_pace.set(if is_fast { HOT_PACE.min(pace + 1) } else { SLOW_PACE });
        }
        block.release_pace.get() == HOT_PACE
    })
}

/// Records whether a lock, whose word the calling thread has just read, has waiters.
#[inline(always)]
fn set_expects_waiters(word: u64) {
    tls::with(|block| block.expects_waiters.set(word & FLAGS == FLAGS));
}

impl RawLock {
    #[inline(always)]
    pub(crate) fn word(&self) -> &AtomicU64 {
        &self.header.word
    }

    #[inline(always)]
    fn cas(&self, from: u64, to: u64, success: Ordering) -> bool {
        self.word().compare_exchange(from, to, success, Ordering::Relaxed).is_ok()
    }

    /// Acquires the lock if it is unlocked. On false, the slow path decides.
    #[inline(always)]
    pub(crate) fn acquire_fast(&self, tag: u64, owner_tag: u64) -> bool {
        let flags = self.expected_flags();
        let free = tag | flags;
        match self.word().compare_exchange(free, free | owner_tag, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => true,
            // Barges ahead of the queue.
            Err(word) => {
                set_expects_waiters(word);
                word & !FLAGS == tag && self.cas(word, word | owner_tag, Ordering::Acquire)
            }
        }
    }

    /// The flags of the lock, if it probably has waiters, or 0. A thread that has last seen a lock with waiters reads
    /// the word first, since a compare-and-swap that fails takes as long as one that succeeds; other threads do not,
    /// since the read would delay the compare-and-swap.
    #[inline(always)]
    fn expected_flags(&self) -> u64 {
        if tls::with(|block| block.expects_waiters.get()) {
            let word = self.word().load(Ordering::Relaxed);
            set_expects_waiters(word);
            word & FLAGS
        } else {
            0
        }
    }

    /// As `acquire_fast`, for an RLock whose word the caller has just read.
    #[inline(always)]
    pub(crate) fn acquire_fast_from(&self, word: u64, tag: u64, owner_tag: u64) -> bool {
        word & !FLAGS == tag && self.cas(word, word | owner_tag, Ordering::Acquire)
    }

    /// Releases an RLock if `owner_tag`, that of the calling thread, owns it and the release needs no mutex. On false,
    /// the slow path decides.
    #[inline(always)]
    pub(crate) fn release_fast_by_owner(&self, tag: u64, owner_tag: u64) -> bool {
        restartable_store::compare_and_store(self.word(), tag | owner_tag, tag)
            || self.release_fast_by_cas(tag, owner_tag)
    }

    /// As `release_fast_by_owner`, without a store.
    #[inline(always)]
    pub(crate) fn release_fast_by_cas(&self, tag: u64, owner_tag: u64) -> bool {
        let word = self.word().load(Ordering::Relaxed);
        if word & !FLAGS != tag | owner_tag {
            return false;
        }
        let needs_no_mutex = match word & FLAGS {
            0 => true,
            STORE_STOPPED => return self.release_stopped(word),
            FLAGS => count_contended_release() % FAIRNESS_CHECK_PERIOD != 0,
            _ => false,
        };
        needs_no_mutex && self.cas(word, word & !OWNER_MASK, Ordering::Release)
    }

    /// Releases an RLock in `STORE_STOPPED`, which a few of these releases end.
    fn release_stopped(&self, word: u64) -> bool {
        let mask = if count_contended_release() % STORE_AGAIN_PERIOD == 0 { TAG } else { !OWNER_MASK };
        self.cas(word, word & mask, Ordering::Release)
    }

    /// As `release_fast`, for a lock that any thread may release. `owner_tag` is that of the calling thread, which is
    /// the owner as a rule.
    #[inline(always)]
    pub(crate) fn release_fast_of_any_owner(&self, tag: u64, owner_tag: u64) -> bool {
        let flags = self.expected_flags();
        if flags != 0 && (flags != FLAGS || ends_check_period()) {
            return false;
        }
        let free = tag | flags;
        match self.word().compare_exchange(free | owner_tag, free, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => true,
            Err(word) => {
                set_expects_waiters(word);
                let unlocked = word & !OWNER_MASK;
                if word < FIRST_OWNER_TAG {
                    return false;
                }
                let needs_no_mutex = unlocked == tag || unlocked == tag | FLAGS && !ends_check_period();
                needs_no_mutex && self.cas(word, unlocked, Ordering::Release)
            }
        }
    }

    /// Whether a thread owns the lock; false also while it is offered to a waiter.
    #[inline(always)]
    pub(crate) fn is_held(&self, tag: u64) -> bool {
        let word = self.word().load(Ordering::Relaxed);
        word & TAG == tag && word >= FIRST_OWNER_TAG
    }

    /// Acquires the lock after `acquire_fast` has failed. Returns false if the timeout expires. `pin` pins the slot.
    #[inline(always)]
    pub(super) fn acquire_slow<P>(
        &self,
        tag: u64,
        owner_tag: u64,
        timeout: Timeout,
        pin: impl FnOnce() -> Result<P>,
    ) -> Result<bool> {
        let mut spin = SpinWait::new();
        loop {
            let word = self.word().load(Ordering::Relaxed);
            if word & TAG != tag {
                return Err(Error::Handle);
            }
            if word & OWNER_MASK == 0 {
                if self.cas(word, word | owner_tag, Ordering::Acquire) {
                    return Ok(true);
                }
            } else if timeout.is_zero() {
                return Ok(
                    word & OWNER_MASK == HANDOFF_PENDING && self.try_acquire_expired_offer(tag, owner_tag)
                );
            } else if word & HAS_WAITERS != 0 || !spin.spin() {
                break;
            }
        }
        let waiter = waiter::current()?;
        let _pin = pin()?;
        self.acquire_queued(owner_tag, waiter, timeout.deadline(), false)
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
            let word = self.word().load(Ordering::Relaxed);
            if word & TAG != tag {
                return Err(Error::Handle);
            }
            let owner = word & OWNER_MASK;
            if owner == 0 || owner != owner_tag && !any_owner {
                return Err(Error::NotAcquired);
            }
            let released = if word & HAS_WAITERS == 0 {
                self.cas(word, word & !OWNER_MASK, Ordering::Release)
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

    /// Whether `owner_tag` owns the lock.
    #[inline(always)]
    pub(crate) fn is_held_by(&self, tag: u64, owner_tag: u64) -> bool {
        Self::is_word_held_by(self.word().load(Ordering::Relaxed), tag, owner_tag)
    }

    /// Whether `owner_tag` owns a lock with this word.
    #[inline(always)]
    pub(crate) fn is_word_held_by(word: u64, tag: u64, owner_tag: u64) -> bool {
        word & !FLAGS == tag | owner_tag
    }

    /// The owner: 0, `HANDOFF_PENDING` if the lock is offered to a waiter, or an owner tag.
    #[inline(always)]
    pub(crate) fn owner(&self, tag: u64) -> Result<u64> {
        let word = self.word().load(Ordering::Relaxed);
        if word & TAG == tag { Ok(word & OWNER_MASK) } else { Err(Error::Handle) }
    }

    /// The last owner of a destroyed lock.
    pub(crate) fn last_owner(&self) -> u64 {
        self.word().load(Ordering::Relaxed) & OWNER_MASK
    }

    /// Releases the lock under the mutex: hands it off, or unlocks it and wakes waiters. Returns false if the word,
    /// flags aside, is not `owned_word` any more. The slot is pinned.
    fn release_to_waiters(&self, owned_word: u64) -> bool {
        self.with_queue(|queue, wake_queue| {
            let word = self.word().load(Ordering::Relaxed);
            if word & !FLAGS != owned_word {
                return false;
            }
            self.grant_offered(queue, wake_queue);
            let now = ticks_now();
            let is_hot = measure_pace(now);
            let fair_turn = queue.fair_turn(now);
            let new_owner = if matches!(fair_turn, FairTurn::HandOff(_)) { HANDOFF_PENDING } else { 0 };
            if !self.cas(word, word & !OWNER_MASK | new_owner, Ordering::Release) {
                return false;
            }
            if let FairTurn::HandOff(first) | FairTurn::Wake(first) = fair_turn {
                queue.fair_deadline = now.wrapping_add(FAIR_AFTER_TICKS);
                let notified = first.notified.load(Ordering::Relaxed);
                queue.is_hot = is_hot && !notified;
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
        if self.word().load(Ordering::Relaxed) & OWNER_MASK == HANDOFF_PENDING {
            if let Some(offered) = queue.offered_waiter() {
                queue.remove(offered);
                let _ = wake_queue.add(offered, GRANTED, &self.adaptive_spin);
            }
        }
    }

    /// Ends the offer of a lock: `new_owner` is the owner tag of the waiter that accepts it, or of a thread that
    /// revokes it; 0 if the waiter declines it. Returns false if the lock is not offered. The caller holds the mutex.
    fn end_offer(&self, new_owner: u64) -> bool {
        loop {
            let word = self.word().load(Ordering::Relaxed);
            if word & OWNER_MASK != HANDOFF_PENDING {
                return false;
            }
            // Release: a report that sees the new owner must not find it parked in this wait (`dump::deadlock`).
            if self.cas(word, word & !OWNER_MASK | new_owner, Ordering::AcqRel) {
                return true;
            }
        }
    }

    /// Acquires the lock for the calling thread by revoking the current offer, if that may be revoked. Returns whether
    /// it has. The caller holds the mutex.
    fn revoke_expired_offer(&self, queue: &mut LockQueue, owner_tag: u64) -> bool {
        if self.word().load(Ordering::Relaxed) & OWNER_MASK != HANDOFF_PENDING {
            return false;
        }
        let (offered, now) = (queue.offered_waiter(), ticks_now());
        if (offered.is_some() && queue.offer_time_left(now) > 0) || !self.end_offer(owner_tag) {
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
    fn try_acquire_expired_offer(&self, tag: u64, owner_tag: u64) -> bool {
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
    fn recheck_deadline(&self, queue: &mut LockQueue, is_watcher: bool) -> Deadline {
        if self.word().load(Ordering::Relaxed) & OWNER_MASK != HANDOFF_PENDING {
            return Deadline::NEVER;
        }
        let time = Deadline::now();
        let now = (time.0 >> TICK_SHIFT) as u32;
        let is_unresponsive = queue.offered_waiter().is_none_or(|offered| offered.unresponsive.get());
        if is_unresponsive || is_watcher || queue.try_start_watch(now) {
            time.add_ns(u64::from(queue.offer_time_left(now)) << TICK_SHIFT)
        } else {
            Deadline::NEVER
        }
    }

    /// Calls `f` with the mutex held, and issues the wake-ups that it has queued once the mutex is unlocked. If there
    /// can be any, the caller has pinned the slot.
    fn with_queue<R>(&self, f: impl FnOnce(&mut LockQueue, &mut WakeQueue) -> R) -> R {
        let mut wake_queue = WakeQueue::default();
        let result = f(&mut self.queue.lock(), &mut wake_queue);
        let mut not_parked = wake_queue.wake_all();
        while not_parked.0.iter().any(Option::is_some) {
            not_parked = self.wake_replacements(not_parked);
        }
        result
    }

    /// Wakes other waiters in place of those that were not parked when they were woken and may be unresponsive.
    #[cold]
    fn wake_replacements(&self, not_parked: NotParked) -> NotParked {
        let mut wake_queue = WakeQueue::default();
        let mut queue = self.queue.lock();
        for waiter in not_parked.0.into_iter().flatten() {
            // The waiter may have run since, and may be in another queue.
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

    /// Restores the invariants after a change of the queue: wakes waiters if the lock is unlocked and has fewer
    /// designated wakers than allowed, and updates the flags. The caller holds the mutex.
    fn update_flags_and_wake(&self, queue: &mut LockQueue, wake_queue: &mut WakeQueue) {
        let mut wakes = 0;
        loop {
            let word = self.word().load(Ordering::Relaxed);
            let mut flags = queue.flags();
            if flags == 0 && word & FLAGS != 0 && self.is_released_by_store() {
                flags = STORE_STOPPED;
            }
            if flags == HAS_WAITERS && word & OWNER_MASK == 0 && wakes < MAX_WAKES_PER_RELEASE {
                wakes += 1;
                let _ = self.wake_next(queue, wake_queue);
            } else if word & FLAGS == flags || self.set_flags(word, flags) {
                return;
            }
        }
    }

    /// Changes the flags, if the word is still `word`. Returns whether they have been changed and no store can overwrite
    /// them. The caller holds the mutex.
    fn set_flags(&self, word: u64, flags: u64) -> bool {
        if !self.cas(word, word & !FLAGS | flags, Ordering::Relaxed) {
            return false;
        }
        if !self.may_be_overwritten(word) {
            return true;
        }
        restartable_store::finish_others();
        self.word().load(Ordering::Relaxed) & FLAGS == flags
    }

    /// Whether the owner releases this lock by a store: whether it is an RLock, on a system that permits it.
    fn is_released_by_store(&self) -> bool {
        restartable_store::is_available()
            && ARENAS[ObjectKind::RLock as usize].has_key(self.header.handle_bits())
    }

    /// Whether another thread owns the lock, with this word, and may be about to release it by a store. If the caller
    /// holds the mutex, see also `may_be_overwritten`.
    fn may_owner_store(&self, word: u64) -> bool {
        word >= FIRST_OWNER_TAG && word & OWNER_MASK != tls::owner_tag() && self.is_released_by_store()
    }

    /// Whether another thread may be about to release the lock by a store, which overwrites a change of this word. The
    /// caller holds the mutex.
    fn may_be_overwritten(&self, word: u64) -> bool {
        word & FLAGS == 0 && self.may_owner_store(word)
    }

    /// Changes the word to `change(word)`, unless that is `None`, so that no store overwrites the change. Returns
    /// whether it has been changed. The caller holds the mutex.
    fn change_word(&self, change: impl Fn(u64) -> Option<u64>) -> bool {
        loop {
            let word = self.word().load(Ordering::Relaxed);
            if self.may_be_overwritten(word) {
                let _ = self.set_flags(word, STORE_STOPPED);
                continue;
            }
            let Some(changed) = change(word) else { return false };
            if self.cas(word, changed, Ordering::AcqRel) {
                return true;
            }
        }
    }

    /// Acquires the lock, waiting in the queue if need be. Returns false if the timeout expires. The slot is pinned.
    /// `notified` is that of the waiter.
    fn acquire_queued(
        &self,
        owner_tag: u64,
        waiter: &'static Waiter,
        deadline: Deadline,
        notified: bool,
    ) -> Result<bool> {
        let mut note = QueueNote::new(waiter, self.header.handle_bits(), deadline);
        loop {
            let until = match self.enqueue_or_acquire(owner_tag, waiter, notified)? {
                Some(until) => until,
                None => return Ok(true),
            };
            let until = deadline.min(until);
            let state = waiter.wait(&mut note, &self.adaptive_spin, until);
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
            let revoked = self.revoke_expired_offer(queue, owner_tag);
            if !revoked {
                waiter.prepare_to_wait(owner_tag);
                waiter.notified.store(notified, Ordering::Relaxed);
                queue.push(waiter);
            }
            self.update_flags_and_wake(queue, wake_queue);
            if !revoked && self.word().load(Ordering::Relaxed) & LIVE == 0 {
                // Destroyed concurrently: `invalidate` may have found the queue empty.
                queue.remove(waiter);
                return Err(Error::Handle);
            }
            Ok((!revoked).then(|| self.recheck_deadline(queue, false)))
        })
    }

    /// Continues the wait of a queued waiter that was woken in `state`, or had parked until `waited_until`, to its end:
    /// true if it has acquired the lock, false if the timeout has expired, `None` if it was aborted.
    fn wait_until_acquired(
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
                ABORTED => return None,
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
                if state == GRANTED || state == ABORTED {
                    return false;
                }
                if state == OFFERED {
                    // If this thread has acquired the lock by barging, another thread has released it since, and has
                    // offered it to this waiter, which is still queued. One acquire must not hold the lock twice.
                    acquired |= self.end_offer(if acquired { 0 } else { owner_tag });
                } else if !acquired {
                    acquired = self.revoke_expired_offer(queue, owner_tag);
                }
                if acquired || has_timed_out {
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
            if state != GRANTED && state != ABORTED {
                waited_until = deadline.min(until);
                state = waiter.wait(note, &self.adaptive_spin, waited_until);
            }
        }
    }

    /// Spins for a designated waker, and acquires the lock ahead of earlier waiters if it becomes free. Returns false
    /// also if the waiter's state has changed.
    fn try_barge(&self, owner_tag: u64, waiter: &Waiter) -> bool {
        let mut spin = SpinWait::new();
        while waiter.state() == RETRY {
            let word = self.word().load(Ordering::Relaxed);
            if word & OWNER_MASK == 0 {
                // Release: as in `end_offer`, for the state that this thread has read.
                if self.cas(word, word | owner_tag, Ordering::AcqRel) {
                    return true;
                }
            } else if !spin.spin() {
                break;
            }
        }
        false
    }

    /// Moves a condition's notified waiters to this queue. The lock is held as a rule, and its release wakes them.
    pub(crate) fn requeue(&self, notified: impl Iterator<Item = &'static Waiter>) {
        self.with_queue(|queue, wake_queue| {
            for waiter in notified {
                wait_observer::record_wake(core::ptr::from_ref(waiter) as usize | NOTIFY);
                waiter.notified.store(true, Ordering::Relaxed);
                queue.push(waiter);
            }
            self.update_flags_and_wake(queue, wake_queue);
            if self.word().load(Ordering::Relaxed) & LIVE == 0 {
                self.abort_waiters(queue, wake_queue);
            }
        });
    }

    /// Aborts waiters of a destroyed condition over this lock, which are in no queue.
    pub(crate) fn abort_condition_waiters(&self, waiters: impl Iterator<Item = &'static Waiter>) {
        for waiter in waiters {
            let _ = waiter.complete(ABORTED, &self.adaptive_spin).wake();
        }
    }

    /// Empties the queue and aborts the waits of all waiters.
    fn abort_waiters(&self, queue: &mut LockQueue, wake_queue: &mut WakeQueue) {
        while let Some(waiter) = queue.waiters.first() {
            queue.remove(waiter);
            let _ = wake_queue.add(waiter, ABORTED, &self.adaptive_spin);
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
            self.reacquire(owner_tag, waiter);
        }
    }

    /// Returns whether threads wait for the lock; a hint.
    pub(crate) fn has_waiters(&self) -> bool {
        self.word().load(Ordering::Relaxed) & HAS_WAITERS != 0
    }

    /// Reacquires the lock for a condition's waiter that was notified before it parked, and is in no queue. The slot is
    /// pinned.
    pub(crate) fn reacquire_notified(&self, owner_tag: u64, waiter: &'static Waiter) {
        for _ in 0..NOTIFIED_SPINS {
            // The notifying thread needs the word, too, before it releases the lock.
            if !cfg!(model) {
                spin_loop();
                spin_loop();
            }
            let word = self.word().load(Ordering::Relaxed);
            // Release: as in `end_offer`, for the state that this thread has read.
            if word & OWNER_MASK == 0 && self.cas(word, word | owner_tag, Ordering::AcqRel) {
                return;
            }
        }
        let _ = self.acquire_queued(owner_tag, waiter, Deadline::NEVER, true);
    }

    /// Reacquires the lock for a condition's waiter that is in no queue. The slot is pinned.
    pub(crate) fn reacquire(&self, owner_tag: u64, waiter: &'static Waiter) {
        // An error means that the lock has been destroyed while it was locked. No thread can release it, and there is
        // nothing left to exclude.
        let _ = self.acquire_queued(owner_tag, waiter, Deadline::NEVER, false);
    }

    /// `Object::is_busy` of a lock: whether threads are blocked on it that are neither notified nor woken.
    pub(crate) fn is_busy(&self, tag: u64) -> bool {
        if self.word().load(Ordering::Relaxed) & HAS_WAITERS == 0 {
            return false;
        }
        let queue = self.queue.lock();
        self.header.is_live(tag) && queue.has_blocked_waiters()
    }

    /// `Object::invalidate` of a lock. The queue may contain notified and woken waiters, and threads that entered it
    /// while the last reference was released. A thread that enters the queue sets `HAS_WAITERS` and then reads `LIVE`:
    /// either this function sees the flag, or that thread sees that `LIVE` is cleared, and leaves the queue.
    pub(crate) fn invalidate(&self, tag: u64) {
        let clear_live = |word| (word & TAG == tag).then_some(word & !LIVE);
        loop {
            let word = self.word().load(Ordering::Relaxed);
            if self.may_owner_store(word) {
                let _queue = self.queue.lock();
                self.change_word(clear_live);
                break;
            }
            // `Object::clear_live` may have done so.
            let Some(dead) = clear_live(word) else { break };
            if self.cas(word, dead, Ordering::AcqRel) {
                break;
            }
        }
        if self.word().load(Ordering::Relaxed) & HAS_WAITERS != 0 {
            self.with_queue(|queue, wake_queue| {
                self.grant_offered(queue, wake_queue);
                self.abort_waiters(queue, wake_queue);
            });
        }
    }

    /// `Object::clear_live` of a lock: waits for no mutex. Until it returns, a store of the owner may make the lock live
    /// again.
    pub(crate) fn clear_live(&self, tag: u64) {
        while let Some(word) = self.header.clear_live_if(tag, |word| Some(word & !LIVE)) {
            if !self.may_owner_store(word) {
                break;
            }
            restartable_store::finish_others();
        }
    }

    /// Unlocks the lock whatever its state. Meant for a child of fork, in which the owner may not exist. Waiters of
    /// this process start over.
    pub(crate) fn reinit(&self, tag: u64) -> Result<()> {
        self.with_queue(|queue, wake_queue| {
            if !self.change_word(|word| (word & TAG == tag).then_some(tag)) {
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
    use crate::sync::waiter::{PARKED, SPINNING};

    /// Returns the state of the second waiter after a release that wakes the first one, which is in this state.
    fn second_after_release(first_state: u32, is_fair: bool) -> u32 {
        const OWNED: u64 = LIVE | FIRST_OWNER_TAG;
        // SAFETY: zeroed memory is a valid lock, and a valid record of a waiter.
        let (raw, waiters): (&'static RawLock, &'static [Waiter; 2]) =
            unsafe { (Box::leak(Box::new(core::mem::zeroed())), Box::leak(Box::new(core::mem::zeroed()))) };
        {
            let mut queue = raw.queue.lock();
            for (waiter, state) in waiters.iter().zip([first_state, PARKED]) {
                waiter.prepare_to_wait(0);
                waiter.set_state(state);
                queue.push(waiter);
            }
            let wait = if is_fair { 0 } else { FAIR_AFTER_TICKS };
            queue.fair_deadline = ticks_now().wrapping_add(wait);
        }
        raw.word().store(OWNED | HAS_WAITERS, Ordering::Relaxed);
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
