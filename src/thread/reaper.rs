//! Reclaims the stacks of threads that have ended and were not joined.
//!
//! Each start checks up to [`ZOMBIES_PER_CALL`] zombies and reaps those whose OS thread is gone. Each exiting thread
//! does the same if the stack cache exceeds its limits, for which the stacks of zombies count as cached. Zombies are
//! checked round-robin, so that one that is slow to terminate does not delay the others. While the stacks of zombies
//! alone exceed the limits, the *reaper* runs: a thread that checks all zombies at increasing intervals, from
//! [`MIN_REAPER_INTERVAL_NS`] on.

use crate::sys::atomic::AtomicU32;
use core::ffi::c_void;
use core::ptr;

use crate::panic_boundary::catch_panic;
use crate::sys::annotate;
use crate::sys::futex;
use crate::sys::probe;
use crate::sys::pthread;
use crate::thread::object::Thread;
use crate::thread::registry::{ZOMBIES_PER_CALL, Zombie};
use crate::thread::{registry, stack_cache, stack_count};
use crate::time::Deadline;

/// The first and the longest interval of the reaper, in nanoseconds.
const MIN_REAPER_INTERVAL_NS: u64 = 1_000_000;
const MAX_REAPER_INTERVAL_NS: u64 = 250_000_000;

impl Zombie {
    /// Called after the registry mutex is unlocked. Returns true if the thread's stack has been released.
    pub(super) fn reap(self) -> bool {
        match self {
            Zombie::Terminated(thread) => {
                thread.release_stack_and_self_ref();
                true
            }
            Zombie::AwaitingPoll(thread) => {
                let was_reaped = thread.try_reap().unwrap_or(false);
                thread.handle().internal_unref();
                was_reaped
            }
            Zombie::StillExiting => false,
        }
    }
}

/// Called by a thread in its last destructor: moves it to the zombies. `stack_size` is 0 if it is not counted.
pub(crate) fn add_zombie(thread: &'static Thread, stack_size: usize) {
    probe::thread_end(thread);
    registry::move_to_zombies(thread, stack_size);
    if stack_count::exceeds_limit() {
        shrink_stack_cache();
    }
}

/// Reaps some zombies and unmaps some stacks. Starts the reaper if that is not enough.
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

/// Checks one zombie. Returns false if there is none.
fn try_reap_one() -> bool {
    registry::check_next_zombie().is_some_and(|found| {
        found.reap();
        true
    })
}

/// Returns how many zombies a start tolerates. If there are more, it reaps some.
///
/// A reap orders all that the zombie did before what the caller does next, which would hide races of the program from a
/// race detector. So while one is active, zombies are reaped only when their number approaches what the detector can
/// track.
pub(super) fn tolerated_zombies() -> usize {
    if annotate::is_active() { 1000 } else { 0 }
}

/// Checks up to [`ZOMBIES_PER_CALL`] zombies and reaps those that are gone, so that zombies do not accumulate.
#[inline(always)]
pub(crate) fn try_reap_some() {
    if has_excess_zombies() {
        reap_some();
    }
}

#[cold]
#[inline(never)]
fn reap_some() {
    for _ in 0..ZOMBIES_PER_CALL {
        if !has_excess_zombies() || !try_reap_one() {
            return;
        }
    }
}

#[inline(always)]
fn has_excess_zombies() -> bool {
    stack_count::zombies() > tolerated_zombies()
}

/// Checks all zombies once and reaps those that are gone. Returns true if it reaped any.
pub(crate) fn reap_all() -> bool {
    let mut any = false;
    for _ in 0..stack_count::zombies() {
        let Some(found) = registry::check_next_zombie() else { break };
        any |= found.reap();
    }
    any
}

/// Starts the reaper unless it runs. If its OS thread cannot be created, the next exiting thread tries again.
fn start_reaper() {
    if cfg!(model) || annotate::is_active() {
        return;
    }
    if registry::claim_reaper() && pthread::start_helper(reaper_main).is_err() {
        registry::release_reaper();
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

/// Returns false if the reaper is no longer needed.
fn reaper_pass() -> bool {
    reap_all();
    registry::continue_reaper()
}
