//! The pending timers, and the state that the worker threads share. `timer::worker` explains the roles of these
//! threads, and has the methods that may create one.
//!
//! # When no thread can be created
//!
//! A due function is called only while a follower can monitor it. If there is no follower and no thread can be
//! created:
//!
//! 1. `spawn_refused_since` is set. The leader calls no function. It tries to create a thread again after
//!    `MIN_RETRY_NS`, then after twice as long, up to `MAX_RETRY_NS`. The state ends when there is a follower, or a
//!    new thread is starting.
//! 2. `FOLLOWER_GRACE_NS` later, `unmonitored` is set. Functions are called without a monitor. The leader tries to
//!    create a thread before each of them, but not before `retry_at`. The state ends when there is a follower, when no
//!    timer is due, or when there is no leader.
//! 3. With `unmonitored`, `UNMONITORED` is 1. Other threads try as well, because the leader may be blocked in a
//!    function: each start and cancel of a timer, and, every `MAX_RETRY_NS`, each thread that waits for a timer or
//!    for all threads.
//!
//! The fields of `TimerQueue` are exact, because they are used under the registry mutex. `UNMONITORED` is changed
//! under it with release, and read without it with acquire, so it may be stale: see `worker::notify_unmonitored`.

use crate::sys::atomic::{AtomicU32, Ordering};

use crate::sys::futex;
use crate::sys::offsets::offsets;
use crate::time::Deadline;
use crate::timer::heap::Heap;

/// For how long the leader tries to create a follower before it calls functions without one, in nanoseconds.
const FOLLOWER_GRACE_NS: u64 = 1_000_000_000;
/// The delay between two attempts to create a thread, in nanoseconds: the first and the longest.
pub(super) const MIN_RETRY_NS: u64 = 1_000_000;
pub(super) const MAX_RETRY_NS: u64 = 64_000_000;

/// A part of the registry, protected by its mutex. The fields that each start and cancel uses come first.
#[repr(C)]
pub(crate) struct TimerQueue {
    /// The current leader's term; 0 if there is no leader. A worker with another term is no longer the leader.
    pub(super) leader_term: u32,
    /// Equal to `leader_term` if there is a leader, and neither `unmonitored` nor `unclean` is set; otherwise
    /// `NO_TERM`. One comparison of the two tells a start or a cancel that it need not create a thread.
    pub(super) fast_path_term: u32,
    /// When the leader will look at the heap without being woken: the earliest deadline, or the time of its next
    /// attempt to create a thread; 0 while it runs a function.
    pub(super) leader_wakes_at: Deadline,
    pub(crate) heap: Heap,
    /// The number of functions that have been called. The monitor compares it to detect that the leader is still in the
    /// same function.
    pub(super) fired: u64,
    /// The latest term that a leader has had.
    pub(super) last_term: u32,
    /// The number of threads that wait in `follow`.
    pub(super) followers: u32,
    /// The number of former leaders that are still in a function.
    pub(super) blocked_workers: u32,
    /// The leader is in a function.
    pub(super) leader_in_callback: bool,
    /// A follower monitors the leader, or will do so when it has woken or started.
    pub(super) has_monitor: bool,
    /// A thread has been created that has not called `follow` yet.
    pub(super) spawning: bool,
    /// Functions are called although there is no follower.
    pub(super) unmonitored: bool,
    /// `unmonitored` has been set, and the threads that wait for timers have not been woken since.
    pub(super) must_notify_waiters: bool,
    /// The leader will wake a follower when it has unlocked the registry mutex, and before it calls the function that
    /// the follower is to monitor: a follower that is woken earlier blocks on the mutex.
    pub(super) must_wake_follower: bool,
    /// The leader is unclean: the OS did not allow it to restore the state in which functions begin.
    pub(super) unclean: bool,
    /// A thread has been created that can have that state, and will replace the unclean leader.
    pub(super) spawning_replacement: bool,
    /// The time of the first failed attempt to create a follower; 0 if there is one, or none has been needed.
    pub(super) spawn_refused_since: Deadline,
    /// The time of the next attempt to create a thread, and the delay after it.
    pub(super) retry_at: Deadline,
    pub(super) retry_delay: u64,
}

offsets!(TimerQueueOffsets of TimerQueue: heap);

/// The value of `TimerQueue::fast_path_term` that is no leader's term.
pub(super) const NO_TERM: u32 = u32::MAX;

/// Incremented when the leader must look at the queue again. The leader sleeps on it.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
pub(super) static LEADER_FUTEX: AtomicU32 = AtomicU32::new(0);
/// Incremented when a follower is needed. The followers sleep on it.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
pub(super) static FOLLOWER_FUTEX: AtomicU32 = AtomicU32::new(0);
/// `TimerQueue::unmonitored` as 0 or 1, for threads that do not hold the registry mutex.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
pub(super) static UNMONITORED: AtomicU32 = AtomicU32::new(0);

pub(super) fn bump_and_wake(word: &AtomicU32) {
    word.fetch_add(1, Ordering::Release);
    futex::wake_one(word);
}

/// Wakes the leader. Call this if `schedule` returned true, after releasing the registry mutex.
pub(crate) fn wake_leader() {
    bump_and_wake(&LEADER_FUTEX);
}

impl TimerQueue {
    pub(crate) const EMPTY: Self = TimerQueue {
        heap: Heap::new(),
        leader_term: 0,
        last_term: 0,
        leader_wakes_at: Deadline::NEVER,
        fired: 0,
        leader_in_callback: false,
        has_monitor: false,
        followers: 0,
        spawning: false,
        blocked_workers: 0,
        spawn_refused_since: Deadline(0),
        retry_at: Deadline(0),
        retry_delay: 0,
        unmonitored: false,
        must_notify_waiters: false,
        must_wake_follower: false,
        unclean: false,
        spawning_replacement: false,
        fast_path_term: NO_TERM,
    };

    /// There is no follower, and none can be created. Returns whether a function may be called without a monitor.
    #[cold]
    pub(super) fn try_run_unmonitored(&mut self) -> bool {
        let now = Deadline::now();
        if self.spawn_refused_since == Deadline(0) {
            self.spawn_refused_since = now;
            self.retry_delay = 0;
        }
        if self.retry_at <= now {
            self.schedule_retry();
        }
        if now < self.spawn_refused_since.add_ns(FOLLOWER_GRACE_NS) {
            self.leader_wakes_at = self.retry_at;
            return false;
        }
        if !self.unmonitored {
            self.unmonitored = true;
            self.fast_path_term = NO_TERM;
            self.must_notify_waiters = true;
            UNMONITORED.store(1, Ordering::Release);
        }
        true
    }

    /// Sets the time of the next attempt to create a thread, and doubles the delay.
    pub(super) fn schedule_retry(&mut self) {
        self.retry_delay = (self.retry_delay * 2).clamp(MIN_RETRY_NS, MAX_RETRY_NS);
        self.retry_at = Deadline::now().add_ns(self.retry_delay);
    }

    /// There is a follower, or a thread is starting that will be one.
    pub(super) fn clear_spawn_refusal(&mut self) {
        if self.spawn_refused_since != Deadline(0) {
            self.spawn_refused_since = Deadline(0);
            self.retry_at = Deadline(0);
            self.clear_unmonitored();
            bump_and_wake(&LEADER_FUTEX);
        }
    }

    pub(super) fn clear_unmonitored(&mut self) {
        if self.unmonitored {
            self.unmonitored = false;
            UNMONITORED.store(0, Ordering::Release);
        }
        self.update_fast_path_term();
    }

    /// Call this when `leader_term`, `unmonitored` or `unclean` has changed.
    pub(super) fn update_fast_path_term(&mut self) {
        let is_settled = self.leader_term != 0 && !self.unmonitored && !self.unclean;
        self.fast_path_term = if is_settled { self.leader_term } else { NO_TERM };
    }

    /// The worker that became leader with this term has returned from a function. If it is no longer the leader, it
    /// no longer counts as blocked.
    pub(super) fn callback_returned(&mut self, term: u32) {
        if self.leader_term == term {
            self.leader_in_callback = false;
        } else {
            self.blocked_workers -= 1;
        }
    }

    /// Whether the calling thread becomes the leader without waiting: there is no leader, or only an unclean one.
    pub(super) fn may_lead(&self, is_clean: bool) -> bool {
        if is_clean {
            self.leader_term == 0 || self.unclean
        } else {
            self.leader_term == 0 && self.followers == 0 && !self.spawning && !self.spawning_replacement
        }
    }

    /// An unclean thread does not follow a clean leader, because that leader can create a clean follower.
    pub(super) fn must_not_follow(&self, is_clean: bool) -> bool {
        !is_clean && (!self.unclean || self.spawning_replacement)
    }

    /// The calling thread becomes the leader. Returns its term.
    pub(super) fn become_leader(&mut self, is_clean: bool) -> u32 {
        if self.leader_term != 0 && is_clean && self.unclean {
            // The unclean leader learns that it has been replaced, and the follower that monitors it is not needed.
            if self.leader_in_callback {
                self.blocked_workers += 1;
            }
            bump_and_wake(&LEADER_FUTEX);
            bump_and_wake(&FOLLOWER_FUTEX);
        }
        self.last_term = (self.last_term + 1) % NO_TERM;
        self.last_term = self.last_term.max(1);
        self.leader_term = self.last_term;
        self.leader_in_callback = false;
        self.has_monitor = false;
        self.unclean = !is_clean;
        self.update_fast_path_term();
        self.leader_term
    }

    /// Leaves the queue without a leader.
    pub(super) fn clear_leader(&mut self) {
        self.leader_term = 0;
        self.leader_in_callback = false;
        self.unclean = false;
        self.clear_unmonitored();
    }

    /// In a child of fork: no timer is pending, and there are no workers. The registry finishes the timers' threads.
    pub(crate) fn after_fork_in_child(&mut self) {
        self.leader_term = 0;
        self.leader_in_callback = false;
        self.has_monitor = false;
        self.followers = 0;
        self.spawning = false;
        self.blocked_workers = 0;
        self.must_wake_follower = false;
        self.unclean = false;
        self.spawning_replacement = false;
        self.spawn_refused_since = Deadline(0);
        self.retry_at = Deadline(0);
        self.clear_unmonitored();
        UNMONITORED.store(0, Ordering::Relaxed);
        self.leader_wakes_at = Deadline::NEVER;
        self.heap.clear();
    }
}
