//! Static probes for tracers (USDT), as glibc has them: bpftrace, perf, SystemTap and gdb can stop or observe a thread
//! here. `docs/when-it-hangs.md` documents the arguments.
//!
//! A probe is one `nop`, and a note in the file that says where the `nop` is and which registers contain the arguments.
//! It computes nothing: an argument is what the code has in a register at that point, so that the code around a probe
//! is the same as without it. A tracer replaces the `nop` by a breakpoint.
//!
//! They are in the shared library for C programs only. Linkers may discard functions of a static library or of a crate
//! that the program does not call, but keep their notes, and gold reports such notes as errors.
//!
//! On PowerPC, the oldest Rust that can build the library has no inline assembly, and there are no probes.

use core::ffi::c_void;

#[cfg(all(
    c_library,
    target_os = "linux",
    not(model),
    not(any(target_arch = "powerpc", target_arch = "powerpc64"))
))]
use ::probe::probe;

#[cfg(not(all(
    c_library,
    target_os = "linux",
    not(model),
    not(any(target_arch = "powerpc", target_arch = "powerpc64"))
)))]
macro_rules! probe {
    ($provider:ident, $name:ident, $($argument:expr),+) => {
        $(let _ = $argument;)+
    };
}

/// The calling thread is about to park: the address of its waiter, the object for which it waits, and the deadline.
/// `sync::wait_note` has the values of the last two.
#[inline(always)]
pub(crate) fn wait_begin<T>(waiter: &'static T, object: usize, until: u64) {
    probe!(threading, wait_begin, core::ptr::from_ref(waiter), object, until);
}

/// The calling thread runs again: the address of its waiter.
#[inline(always)]
pub(crate) fn wait_end<T>(waiter: &'static T) {
    probe!(threading, wait_end, core::ptr::from_ref(waiter));
}

/// The calling thread ends waits: the address of the waiter, or that of the object whose waiters it wakes.
#[inline(always)]
pub(crate) fn wake<T>(waiter_or_object: &T) {
    probe!(threading, wake, core::ptr::from_ref(waiter_or_object));
}

/// The calling thread is about to call its function: the address of the thread's object, and that of the function.
#[inline(always)]
pub(crate) fn thread_start<T>(thread: &'static T, function: *const c_void) {
    probe!(threading, thread_start, core::ptr::from_ref(thread), function);
}

/// The calling thread has called its function and all destructors: the address of the thread's object.
#[inline(always)]
pub(crate) fn thread_end<T>(thread: &'static T) {
    probe!(threading, thread_end, core::ptr::from_ref(thread));
}
