//! The initialization of the library, and the wrapper of each call.

use core::sync::atomic::{AtomicBool, Ordering};

use crate::dump::trace;
use crate::panic_boundary::catch_panic;
use crate::runtime::{debug_variable, fork, process_exit, thread_exit};
use crate::sync::hang_watch;
use crate::sys;
use crate::sys::annotate;
use crate::sys::asymmetric_fence;
use crate::sys::baseline;
use crate::sys::calling_thread::is_initial_thread;
use crate::sys::libc_hooks;
use crate::sys::restartable_store;

/// Called by the loader, or by the first call of the library if a constructor of the program makes it before. Sets
/// the work of libc's hooks, records the state of the main thread for the functions of timers, and registers the fork
/// handlers. If the main thread loads the library, its exit hook is registered, and the process for `membarrier`.
extern "C" fn init() {
    catch_panic(|| {
        if INITIALIZED.swap(true, Ordering::Relaxed) {
            return;
        }
        libc_hooks::set(thread_exit::run_destructor_round, || api_call(process_exit::run));
        hang_watch::set_on_long_exit(process_exit::exclude_blocked_threads);
        annotate::detect_tools();
        sys::preserving_errno(baseline::record_baseline);
        fork::install_atfork_handlers();
        if is_initial_thread() {
            asymmetric_fence::register();
            restartable_store::register();
            let _ = libc_hooks::register_exit_hook();
        }
        debug_variable::apply();
    });
}

/// Not an atomic of the model checkers, because a model does not run the constructor.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static INITIALIZED: AtomicBool = AtomicBool::new(false);

/// An early priority, for programs into which the library is linked statically: this runs before the program's
/// constructors, so that fork handlers that those register are newer, and run before `fork::prepare`. Rust's own
/// standard library has a constructor with the same priority.
#[used]
#[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array.00099"))]
#[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__mod_init_func"))]
static INIT: extern "C" fn() = init;

/// Called by the loader when the process exits, after the exit handlers of the program. Not an exit handler of its own,
/// since a trace must not change the order of the others.
extern "C" fn finish() {
    catch_panic(trace::stop_at_exit);
}

#[used]
#[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".fini_array.00099"))]
#[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__mod_term_func"))]
static FINISH: extern "C" fn() = finish;

/// Wraps the work of each call: hides its memory accesses from race detectors, and releases the library's mutexes for
/// a call from a fork handler. `work` does not unwind.
#[inline(always)]
pub(crate) fn api_call<R>(work: impl FnOnce() -> R) -> R {
    call(before_call, work)
}

/// As `api_call`, for work that locks no mutex. It may run in a signal handler that interrupts a fork, and must not
/// wait there for other threads, as it would if it released the mutexes and locked them again.
#[inline(always)]
pub(crate) fn signal_safe_call<R>(work: impl FnOnce() -> R) -> R {
    call(before_signal_safe_call, work)
}

#[inline(always)]
fn call<R>(before_call: fn() -> u64, work: impl FnOnce() -> R) -> R {
    let before = if annotate::calls_need_hooks() { before_call() } else { NO_STATE };
    let result = work();
    if before != NO_STATE {
        after_call(before);
    }
    result
}

/// The state that is passed from before to after a call, in one register: the argument of `annotate::after_call` in
/// the low half, the argument of `fork::end_call_in_fork` above it, and a bit that distinguishes the state from
/// `NO_STATE`.
const NO_STATE: u64 = 0;
const HAS_STATE: u64 = 1 << 63;
const LOCK_LEVEL_SHIFT: u32 = 32;

/// Two functions without arguments are shorter to call than one with an argument.
#[cold]
#[inline(never)]
fn before_call() -> u64 {
    enter(true)
}

#[cold]
#[inline(never)]
fn before_signal_safe_call() -> u64 {
    enter(false)
}

fn enter(locks: bool) -> u64 {
    if annotate::is_undetected() {
        init();
    }
    let lock_level = if annotate::any_thread_forking() { fork::begin_call_in_fork(locks) } else { 0 };
    HAS_STATE | u64::from(lock_level) << LOCK_LEVEL_SHIFT | u64::from(annotate::before_call())
}

#[cold]
#[inline(never)]
fn after_call(before: u64) {
    annotate::after_call(before as u32);
    fork::end_call_in_fork((before >> LOCK_LEVEL_SHIFT) as u8);
}
