//! What reclaims the stacks of threads that have ended and that no thread has joined.
//!
//! Each start reclaims one or two that are gone. Each thread does the same at its end, if more stacks are mapped than
//! are to be kept: those of threads in the registry's list `ended` count among the kept ones, and make room for each
//! other there. A thread is looked at in turn, so that one whose end is slow holds up none of the others. If the stacks
//! of threads that are slow to end are too many, the *reaper* is started: a thread that looks at all of them again and
//! again, in pauses of [`REAPER_PAUSE`] and more, until there are few enough.

use crate::sys::atomic::AtomicU32;
use core::ffi::c_void;
use core::ptr;

use crate::panic_boundary::catch_panic;
use crate::sys::annotate;
use crate::sys::futex;
use crate::sys::pthread;
use crate::thread::object::Thread;
use crate::thread::registry::Ended;
use crate::thread::{registry, stack_cache, stack_count};
use crate::time::Deadline;

impl Ended {
    /// When the guard is free. True if the thread's stack has been released.
    fn reclaim(self) -> bool {
        match self {
            Ended::Gone(thread) => {
                thread.give_up_stack();
                true
            }
            Ended::Joinable(thread) => {
                let reclaimed = thread.poll().unwrap_or(false);
                thread.handle().internal_unref();
                reclaimed
            }
            Ended::NotYet => false,
        }
    }
}

/// The system's thread of this one is in its last destructor. Its stack is of this size, 0 if it is not to be counted.
pub(crate) fn ended(thread: &'static Thread, stack_size: usize) {
    registry::ended(thread, stack_size);
    if stack_count::are_too_many() {
        make_room();
    }
}

/// More stacks are mapped than are to be kept.
#[cold]
fn make_room() {
    for _ in 0..AT_ONCE {
        reap_one();
    }
    stack_cache::unmap_surplus();
    if stack_count::too_many_have_ended() {
        start_reaper();
    }
}

/// How many ended threads a start, or another thread at its end, looks at.
const AT_ONCE: usize = 2;
/// The reaper's first pause, and its longest, in nanoseconds.
const REAPER_PAUSE: u64 = 1_000_000;
const LONGEST_REAPER_PAUSE: u64 = 250_000_000;

/// False if the list of ended threads is empty.
fn reap_one() -> bool {
    registry::look_at_ended().is_some_and(|found| {
        found.reclaim();
        true
    })
}

/// Reaps a thread or two that have ended and that nobody has joined, so that they do not pile up.
pub(crate) fn reap_some() {
    // What a thread has done would happen before all that the caller does, in the eyes of a race detector: there
    // as many as it can count may pile up.
    let may_wait = if annotate::is_active() { 1000 } else { 0 };
    for _ in 0..AT_ONCE {
        if registry::unreaped() <= may_wait || !reap_one() {
            return;
        }
    }
}

/// Reaps all threads that have ended and are gone. True if there were any.
pub(crate) fn reap_all() -> bool {
    let mut any = false;
    for _ in 0..registry::unreaped() {
        let Some(found) = registry::look_at_ended() else { break };
        any |= found.reclaim();
    }
    any
}

/// If the thread cannot be created, the next thread that ends tries again.
fn start_reaper() {
    if cfg!(model) || annotate::is_active() {
        return;
    }
    if registry::begin_reaper() && pthread::start_helper(reap_in_pauses).is_err() {
        registry::no_reaper();
    }
}

extern "C-unwind" fn reap_in_pauses(_: *mut c_void) -> *mut c_void {
    pthread::set_name(None, c"threading-reap");
    let mut pause = REAPER_PAUSE;
    while catch_panic(reap_as_long_as_needed) != Some(false) {
        let never_changes = AtomicU32::new(0);
        futex::wait(&never_changes, 0, Deadline::now().add_ns(pause));
        pause = (2 * pause).min(LONGEST_REAPER_PAUSE);
    }
    ptr::null_mut()
}

/// False if the reaper is not needed any more.
fn reap_as_long_as_needed() -> bool {
    reap_all();
    registry::keep_reaper()
}
