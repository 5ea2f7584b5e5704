//! The pending timers, and what the threads that run their functions know of each other. The threads are in
//! `timer::worker`, which explains their parts, and so are the methods that may start one.
//!
//! # No thread can be created for a standby
//!
//! | state (under the registry's guard) | begins | what happens | ends |
//! |---|---|---|---|
//! | `spawn_refused_since` is set | no thread can be created while a timer is due and there is no standby | the leader begins no function, and asks for a thread again after `MIN_RETRY_NS`, twice as long, and so on up to `MAX_RETRY_NS` | a standby is there |
//! | `unmonitored` | `FOLLOWER_GRACE_NS` after `spawn_refused_since` | functions run without a standby; each asks for a thread first, but not before `retry_at` | a standby is there, or no timer is due |
//! | `UNMONITORED` is 1 | with `unmonitored` | each start and cancel of a timer asks for a thread, and so do, every `MAX_RETRY_NS`, threads that wait for the end of a timer or of all timers: the leader, which may be in a function that blocks, cannot | with `unmonitored` |

use crate::sys::atomic::{AtomicU32, Ordering};

use crate::sys::futex;
use crate::time::Deadline;
use crate::timer::heap::Heap;

/// How long the leader asks for a standby before it runs functions without one, in nanoseconds.
const FOLLOWER_GRACE_NS: u64 = 1_000_000_000;
/// How long it waits before it asks again, in nanoseconds.
pub(super) const MIN_RETRY_NS: u64 = 1_000_000;
pub(super) const MAX_RETRY_NS: u64 = 64_000_000;

/// Part of the registry, under whose guard it is. What each start and cancel uses comes first.
#[repr(C)]
pub(crate) struct TimerQueue {
    /// Counts the leaders: a thread whose number is not this one any more has been relieved. 0 is no leader
    /// at all.
    pub(super) leader_term: u32,
    /// The lead as long as it is neither `unmonitored` nor `unclean`, and no other number: a start compares it with
    /// `lead`, and has no more to look at.
    pub(super) fast_path_term: u32,
    /// When the leader will wake by itself.
    pub(super) leader_wakes_at: Deadline,
    pub(super) heap: Heap,
    /// How many functions have begun; the standby on watch compares.
    pub(super) fired: u64,
    pub(super) last_term: u32,
    pub(super) followers: u32,
    /// How many threads are in functions from which they have been relieved.
    pub(super) blocked_workers: u32,
    /// The leader is in a function.
    pub(super) leader_in_callback: bool,
    /// A standby keeps watch.
    pub(super) has_monitor: bool,
    /// A new thread is on its way to its part.
    pub(super) spawning: bool,
    /// Functions run though there is no standby.
    pub(super) unmonitored: bool,
    /// Those that wait for timers do not know of that yet.
    pub(super) must_notify_waiters: bool,
    /// The system did not let the leader have the state that functions are to begin in.
    pub(super) unclean: bool,
    /// A thread that can have it is on its way, to take the lead.
    pub(super) spawning_replacement: bool,
    /// Since when the system has refused a standby; 0 if there is one, or none was needed.
    pub(super) spawn_refused_since: Deadline,
    /// When to ask for one again, and how long to wait after that.
    pub(super) retry_at: Deadline,
    pub(super) retry_delay: u64,
}

/// In `TimerQueue::fast_path_term`, no lead's number.
pub(super) const NO_TERM: u32 = u32::MAX;

/// Changes when the leader must look at the heap again; it sleeps on it.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
pub(super) static LEADER_FUTEX: AtomicU32 = AtomicU32::new(0);
/// Changes when a standby is needed; they sleep on it.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
pub(super) static FOLLOWER_FUTEX: AtomicU32 = AtomicU32::new(0);
/// `TimerQueue::unmonitored` as 0 or 1, for those that do not have the guard.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
pub(super) static UNMONITORED: AtomicU32 = AtomicU32::new(0);

pub(super) fn bump_and_wake(word: &AtomicU32) {
    word.fetch_add(1, Ordering::Release);
    futex::wake_one(word);
}

/// After a `schedule` that says so.
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
        unclean: false,
        spawning_replacement: false,
        fast_path_term: NO_TERM,
    };

    /// There is no standby, and none can be created: whether a function may begin without one.
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

    pub(super) fn schedule_retry(&mut self) {
        self.retry_delay = (self.retry_delay * 2).clamp(MIN_RETRY_NS, MAX_RETRY_NS);
        self.retry_at = Deadline::now().add_ns(self.retry_delay);
    }

    /// A standby is there, or on its way.
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

    /// To be called when `lead`, `unmonitored` or `unclean` has changed.
    pub(super) fn update_fast_path_term(&mut self) {
        let is_settled = self.leader_term != 0 && !self.unmonitored && !self.unclean;
        self.fast_path_term = if is_settled { self.leader_term } else { NO_TERM };
    }

    /// Whoever got this lead is back from a function, and has been relieved if it has not got the lead any
    /// more.
    pub(super) fn callback_returned(&mut self, lead: u32) {
        if self.leader_term == lead {
            self.leader_in_callback = false;
        } else {
            self.blocked_workers -= 1;
        }
    }

    /// Whether the thread takes the lead without a wait: there is no leader, or an unclean one.
    pub(super) fn may_lead(&self, is_clean: bool) -> bool {
        if is_clean {
            self.leader_term == 0 || self.unclean
        } else {
            self.leader_term == 0 && self.followers == 0 && !self.spawning && !self.spawning_replacement
        }
    }

    /// An unclean thread is no standby of a clean leader, which can start a clean one.
    pub(super) fn must_not_follow(&self, is_clean: bool) -> bool {
        !is_clean && (!self.unclean || self.spawning_replacement)
    }

    pub(super) fn become_leader(&mut self, is_clean: bool) -> u32 {
        if self.leader_term != 0 && is_clean && self.unclean {
            // The unclean leader finds itself relieved, and its standby not needed.
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

    pub(super) fn clear_leader(&mut self) {
        self.leader_term = 0;
        self.leader_in_callback = false;
        self.unclean = false;
        self.clear_unmonitored();
    }

    /// In a child of fork: no timer is pending and no thread waits for one. Their threads are ended by the
    /// registry.
    pub(crate) fn after_fork_in_child(&mut self) {
        self.leader_term = 0;
        self.leader_in_callback = false;
        self.has_monitor = false;
        self.followers = 0;
        self.spawning = false;
        self.blocked_workers = 0;
        self.unclean = false;
        self.spawning_replacement = false;
        self.spawn_refused_since = Deadline(0);
        self.clear_unmonitored();
        UNMONITORED.store(0, Ordering::Relaxed);
        self.leader_wakes_at = Deadline::NEVER;
        self.heap.clear();
    }
}
