//! What reclaims the stacks of threads that have ended and that no thread has joined.
//!
//! Each start reclaims one or two that are gone. Each thread does the same at its end, if more stacks are mapped than
//! are to be kept: those of threads in the registry's list `ended` count among the kept ones, and make room for each
//! other there. A thread is looked at in turn, so that one whose end is slow holds up none of the others. If the stacks
//! of threads that are slow to end are too many, the *reaper* is started: a thread that looks at all of them again and
//! again, in pauses of [`MIN_REAPER_INTERVAL_NS`] and more, until there are few enough.

use crate::sys::atomic::AtomicU32;
use core::ffi::c_void;
use core::ptr;

use crate::panic_boundary::catch_panic;
use crate::sys::annotate;
use crate::sys::futex;
use crate::sys::pthread;
use crate::thread::object::Thread;
use crate::thread::registry::Zombie;
use crate::thread::{registry, stack_cache, stack_count};
use crate::time::Deadline;

impl Zombie {
    /// When the guard is free. True if the thread's stack has been released.
    fn reap(self) -> bool {
        match self {
            Zombie::Terminated(thread) => {
                thread.release_stack_and_self_ref();
                true
            }
            Zombie::AwaitingPoll(thread) => {
                let is_reaped = thread.try_reap().unwrap_or(false);
                thread.handle().internal_unref();
                is_reaped
            }
            Zombie::StillExiting => false,
        }
    }
}

/// The system's thread of this one is in its last destructor. Its stack is of this size, 0 if it is not to be counted.
pub(crate) fn ended(thread: &'static Thread, stack_size: usize) {
    registry::move_to_zombies(thread, stack_size);
    if stack_count::exceeds_limit() {
        shrink_stack_cache();
    }
}

/// More stacks are mapped than are to be kept.
#[cold]
fn shrink_stack_cache() {
    for _ in 0..ZOMBIES_PER_CALL {
        try_reap_one();
    }
    stack_cache::unmap_excess();
    if stack_count::zombies_exceed_limit() {
        start_reaper();
    }
}

/// How many ended threads a start, or another thread at its end, looks at.
const ZOMBIES_PER_CALL: usize = 2;
/// The reaper's first pause, and its longest, in nanoseconds.
const MIN_REAPER_INTERVAL_NS: u64 = 1_000_000;
const MAX_REAPER_INTERVAL_NS: u64 = 250_000_000;

/// False if the list of ended threads is empty.
fn try_reap_one() -> bool {
    registry::check_next_zombie().is_some_and(|found| {
        found.reap();
        true
    })
}

/// Reaps a thread or two that have ended and that nobody has joined, so that they do not pile up.
pub(crate) fn try_reap_some() {
    // What a thread has done would happen before all that the caller does, in the eyes of a race detector: there
    // as many as it can count may pile up.
    let tolerated = if annotate::is_active() { 1000 } else { 0 };
    for _ in 0..ZOMBIES_PER_CALL {
        if registry::unreaped() <= tolerated || !try_reap_one() {
            return;
        }
    }
}

/// Reaps all threads that have ended and are gone. True if there were any.
pub(crate) fn reap_all() -> bool {
    let mut any = false;
    for _ in 0..registry::unreaped() {
        let Some(found) = registry::check_next_zombie() else { break };
        any |= found.reap();
    }
    any
}

/// If the thread cannot be created, the next thread that ends tries again.
fn start_reaper() {
    if cfg!(model) || annotate::is_active() {
        return;
    }
    if registry::begin_reaper() && pthread::start_helper(reaper_main).is_err() {
        registry::no_reaper();
    }
}

extern "C-unwind" fn reaper_main(_: *mut c_void) -> *mut c_void {
    pthread::set_name(None, c"threading-reap");
    let mut interval = MIN_REAPER_INTERVAL_NS;
    while catch_panic(reaper_pass) != Some(false) {
        let never_changes = AtomicU32::new(0);
        futex::wait(&never_changes, 0, Deadline::now().add_ns(interval));
        interval = (2 * interval).min(MAX_REAPER_INTERVAL_NS);
    }
    ptr::null_mut()
}

/// False if the reaper is not needed any more.
fn reaper_pass() -> bool {
    reap_all();
    registry::keep_reaper()
}
