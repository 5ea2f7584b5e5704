//! How the library is initialized, and what is around each call.

use core::sync::atomic::{AtomicBool, Ordering};

use crate::panic_boundary::catch_panic;
use crate::runtime::{fork, process_exit, thread_exit};
use crate::sys;
use crate::sys::annotate;
use crate::sys::calling_thread::is_initial_thread;
use crate::sys::libc_hooks;
use crate::sys::thread_state;

/// Run by the loader, or by the first call if a constructor of the program makes it before: libc's hooks get their work,
/// the fork handlers are registered, and the state of the main thread is recorded for the timers' functions. If main
/// loads the library, the hook of its end is registered.
extern "C" fn init() {
    catch_panic(|| {
        if INITIALIZED.swap(true, Ordering::Relaxed) {
            return;
        }
        libc_hooks::set(thread_exit::run_destructor_round, || api_call(process_exit::run));
        annotate::detect_tools();
        sys::preserving_errno(thread_state::record_baseline);
        fork::install_atfork_handlers();
        if is_initial_thread() {
            let _ = libc_hooks::register_exit_hook();
        }
    });
}

/// No atomic of the models': they load nothing.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static INITIALIZED: AtomicBool = AtomicBool::new(false);

/// Before the constructors of a program into which the library is linked statically: fork handlers that those register
/// are newer then, and run before the library's `prepare`. Rust's own library takes this place, too.
#[used]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array.00099"))]
static INIT: extern "C" fn() = init;

/// Does the work of a call: what it reads and writes is hidden from race detectors, and in a handler of a fork it is a
/// call like any other. Nothing may unwind out of it.
#[inline(always)]
pub(crate) fn api_call<R>(work: impl FnOnce() -> R) -> R {
    let before = if annotate::calls_need_hooks() { before_call() } else { NO_STATE };
    let result = work();
    if before != NO_STATE {
        after_call(before);
    }
    result
}

/// What `before_call` leaves to `after_call`, in one register: what `fork::end_call_in_fork` gets, above what
/// `annotate::after_call` gets, and a bit that tells it from this.
const NO_STATE: u64 = 0;
const HAS_STATE: u64 = 1 << 63;
const LOCK_LEVEL_SHIFT: u32 = 32;

#[cold]
#[inline(never)]
fn before_call() -> u64 {
    if annotate::is_undetected() {
        init();
    }
    let lock_level = if annotate::any_thread_forking() { fork::begin_call_in_fork() } else { 0 };
    HAS_STATE | u64::from(lock_level) << LOCK_LEVEL_SHIFT | u64::from(annotate::before_call())
}

#[cold]
#[inline(never)]
fn after_call(before: u64) {
    annotate::after_call(before as u32);
    fork::end_call_in_fork((before >> LOCK_LEVEL_SHIFT) as u8);
}
