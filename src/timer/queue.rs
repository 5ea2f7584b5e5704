//! The pending timers, and what the threads that run their functions know of each other. The threads are in
//! `timer::worker`, which explains their parts, and so are the methods that may start one.
//!
//! # No thread can be created for a standby
//!
//! | state (under the registry's guard) | begins | what happens | ends |
//! |---|---|---|---|
//! | `refused_since` is set | no thread can be created while a timer is due and there is no standby | the leader begins no function, and asks for a thread again after `FIRST_PAUSE`, twice as long, and so on up to `LONGEST_PAUSE` | a standby is there |
//! | `unwatched` | `GRACE` after `refused_since` | functions run without a standby; each asks for a thread first, but not before `retry_at` | a standby is there, or no timer is due |
//! | `UNWATCHED` is 1 | with `unwatched` | each start and cancel of a timer asks for a thread, and so do, every `LONGEST_PAUSE`, threads that wait for the end of a timer or of all timers: the leader, which may be in a function that blocks, cannot | with `unwatched` |

use crate::sys::atomic::{AtomicU32, Ordering};

use crate::sys::futex;
use crate::time::Deadline;
use crate::timer::heap::Heap;

/// How long the leader asks for a standby before it runs functions without one, in nanoseconds.
const GRACE: u64 = 1_000_000_000;
/// How long it waits before it asks again, in nanoseconds.
pub(super) const FIRST_PAUSE: u64 = 1_000_000;
pub(super) const LONGEST_PAUSE: u64 = 64_000_000;

/// Part of the registry, under whose guard it is. What each start and cancel uses comes first.
#[repr(C)]
pub(crate) struct Timers {
    /// Counts the leaders: a thread whose number is not this one any more has been relieved. 0 is no leader
    /// at all.
    pub(super) lead: u32,
    /// The lead as long as it is neither `unwatched` nor `unclean`, and no other number: a start compares it with
    /// `lead`, and has no more to look at.
    pub(super) settled: u32,
    /// When the leader will wake by itself.
    pub(super) wakes_at: Deadline,
    pub(super) heap: Heap,
    /// How many functions have begun; the standby on watch compares.
    pub(super) begun: u64,
    pub(super) leads: u32,
    pub(super) standbys: u32,
    /// How many threads are in functions from which they have been relieved.
    pub(super) stuck: u32,
    /// The leader is in a function.
    pub(super) running: bool,
    /// A standby keeps watch.
    pub(super) watched: bool,
    /// A new thread is on its way to its part.
    pub(super) coming: bool,
    /// Functions run though there is no standby.
    pub(super) unwatched: bool,
    /// Those that wait for timers do not know of that yet.
    pub(super) untold: bool,
    /// The system did not let the leader have the state that functions are to begin in.
    pub(super) unclean: bool,
    /// A thread that can have it is on its way, to take the lead.
    pub(super) replacement: bool,
    /// Since when the system has refused a standby; 0 if there is one, or none was needed.
    pub(super) refused_since: Deadline,
    /// When to ask for one again, and how long to wait after that.
    pub(super) retry_at: Deadline,
    pub(super) pause: u64,
}

/// In `Timers::settled`, no lead's number.
pub(super) const NOT_SETTLED: u32 = u32::MAX;

/// Changes when the leader must look at the heap again; it sleeps on it.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
pub(super) static BELL: AtomicU32 = AtomicU32::new(0);
/// Changes when a standby is needed; they sleep on it.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
pub(super) static CALL: AtomicU32 = AtomicU32::new(0);
/// `Timers::unwatched` as 0 or 1, for those that do not have the guard.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
pub(super) static UNWATCHED: AtomicU32 = AtomicU32::new(0);

pub(super) fn ring(bell: &AtomicU32) {
    bell.fetch_add(1, Ordering::Release);
    futex::wake_one(bell);
}

/// After a `schedule` that says so.
pub(crate) fn wake_leader() {
    ring(&BELL);
}

impl Timers {
    pub(crate) const NONE: Self = Timers {
        heap: Heap::new(),
        lead: 0,
        leads: 0,
        wakes_at: Deadline::NEVER,
        begun: 0,
        running: false,
        watched: false,
        standbys: 0,
        coming: false,
        stuck: 0,
        refused_since: Deadline(0),
        retry_at: Deadline(0),
        pause: 0,
        unwatched: false,
        untold: false,
        unclean: false,
        replacement: false,
        settled: NOT_SETTLED,
    };

    /// There is no standby, and none can be created: whether a function may begin without one.
    #[cold]
    pub(super) fn may_be_unwatched(&mut self) -> bool {
        let now = Deadline::now();
        if self.refused_since == Deadline(0) {
            self.refused_since = now;
            self.pause = 0;
        }
        if self.retry_at <= now {
            self.pause_before_next();
        }
        if now < self.refused_since.add_ns(GRACE) {
            self.wakes_at = self.retry_at;
            return false;
        }
        if !self.unwatched {
            self.unwatched = true;
            self.settled = NOT_SETTLED;
            self.untold = true;
            UNWATCHED.store(1, Ordering::Release);
        }
        true
    }

    pub(super) fn pause_before_next(&mut self) {
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.retry_at = Deadline::now().add_ns(self.pause);
    }

    /// A standby is there, or on its way.
    pub(super) fn have_a_standby(&mut self) {
        if self.refused_since != Deadline(0) {
            self.refused_since = Deadline(0);
            self.retry_at = Deadline(0);
            self.no_longer_unwatched();
            ring(&BELL);
        }
    }

    pub(super) fn no_longer_unwatched(&mut self) {
        if self.unwatched {
            self.unwatched = false;
            UNWATCHED.store(0, Ordering::Release);
        }
        self.settle();
    }

    /// To be called when `lead`, `unwatched` or `unclean` has changed.
    pub(super) fn settle(&mut self) {
        let is_settled = self.lead != 0 && !self.unwatched && !self.unclean;
        self.settled = if is_settled { self.lead } else { NOT_SETTLED };
    }

    /// Whoever got this lead is back from a function, and has been relieved if it has not got the lead any
    /// more.
    pub(super) fn came_back(&mut self, lead: u32) {
        if self.lead == lead {
            self.running = false;
        } else {
            self.stuck -= 1;
        }
    }

    /// Whether the thread takes the lead without a wait: there is no leader, or an unclean one.
    pub(super) fn may_lead(&self, is_clean: bool) -> bool {
        if is_clean {
            self.lead == 0 || self.unclean
        } else {
            self.lead == 0 && self.standbys == 0 && !self.coming && !self.replacement
        }
    }

    /// An unclean thread is no standby of a clean leader, which can start a clean one.
    pub(super) fn is_better_without(&self, is_clean: bool) -> bool {
        !is_clean && (!self.unclean || self.replacement)
    }

    pub(super) fn take_lead(&mut self, is_clean: bool) -> u32 {
        if self.lead != 0 && is_clean && self.unclean {
            // The unclean leader finds itself relieved, and its standby not needed.
            if self.running {
                self.stuck += 1;
            }
            ring(&BELL);
            ring(&CALL);
        }
        self.leads = (self.leads + 1) % NOT_SETTLED;
        self.leads = self.leads.max(1);
        self.lead = self.leads;
        self.running = false;
        self.watched = false;
        self.unclean = !is_clean;
        self.settle();
        self.lead
    }

    pub(super) fn no_leader(&mut self) {
        self.lead = 0;
        self.running = false;
        self.unclean = false;
        self.no_longer_unwatched();
    }

    /// In a child of fork: no timer is pending and no thread waits for one. Their threads are ended by the
    /// registry.
    pub(crate) fn after_fork_in_child(&mut self) {
        self.lead = 0;
        self.running = false;
        self.watched = false;
        self.standbys = 0;
        self.coming = false;
        self.stuck = 0;
        self.unclean = false;
        self.replacement = false;
        self.refused_since = Deadline(0);
        self.no_longer_unwatched();
        UNWATCHED.store(0, Ordering::Relaxed);
        self.wakes_at = Deadline::NEVER;
        self.heap.clear();
    }
}
