//! The call of a timer's function. While the function runs, and the destructors after it, the worker that calls it has
//! the identity of the timer's thread.
//!
//! The function may call pthread_exit() or be cancelled, which ends the worker (`worker::on_pthread_exit`). It may also
//! fork: in the child, the timer's thread is the main thread, and no longer a timer's.

use crate::local::tables;
use crate::panic_boundary::catch_panic;
use crate::sys::annotate::{happens_after, observe_accesses};
use crate::sys::libc_hooks::{has_had_exit_hook, register_exit_hook};
use crate::sys::libc_state;
use crate::sys::probe;
use crate::sys::thread_state::{Stopwatch, ThreadState};
use crate::sys::tls;
use crate::thread::ident;
use crate::thread::object::{TIMER, Thread};

unsafe extern "C-unwind" {
    #[cfg(not(model))]
    fn pthread_testcancel();
}

/// Calls a timer's function. Until it returns, the calling worker, whose native ID is `native_id`, is the timer's
/// thread.
pub(super) fn run_callback(thread: &'static Thread, native_id: u32, state: &mut ThreadState) {
    catch_panic(|| {
        // If this fails, the function is still called; but if it then calls pthread_exit(), the timer never finishes.
        if !has_had_exit_hook() {
            let _ = register_exit_hook();
        }
        thread.set_native_id_without_wake(native_id);
        ident::set_current_ident(thread.ident());
        tls::with(|block| block.thread.set(thread.handle().bits()));
        happens_after(thread);
    });
    let function = thread.function_address();
    libc_state::clear_errno();
    let is_trusted = state.is_trusted(function);
    let stopwatch = if is_trusted { Stopwatch::unmeasured() } else { Stopwatch::start() };
    // SAFETY: the creator of the timer guarantees that the function may be called with the argument.
    let result = observe_accesses(|| unsafe { thread.run_override_or_target() });
    let reused = if is_trusted { state.reuse_last_end() } else { None };
    let stopped = reused.or_else(|| stopwatch.stop());
    if !thread.has_flag(TIMER) {
        // The function forked, and this is the child: the thread is the main thread there.
        return;
    }
    libc_state::restore_libc_state();
    // NULL is also the result of a thread without `HAS_RESULT`. To set that flag takes a locked instruction.
    if !result.is_null() {
        catch_panic(|| thread.set_result(result));
    }
    // A cancellation that arrived too late for this function must not end the next one. So it ends this thread here, as
    // if the function had called pthread_exit().
    #[cfg(not(model))]
    // SAFETY: this frame has nothing to drop.
    observe_accesses(|| unsafe { pthread_testcancel() });
    let calls_destructors = thread.has_pending_arg_destructor() || tls::with(|block| block.locals.get()) != 0;
    if calls_destructors {
        state.note_untrusted();
    } else if let Some(stopped) = stopped {
        state.note_function_end(function, stopped);
    }
    if catch_panic(|| finish_callback(thread, calls_destructors)).is_none() && thread.has_flag(TIMER) {
        // After a panic in the library: the exit of the worker must not finish this timer once more.
        reset_identity();
    }
    if calls_destructors && thread.has_flag(TIMER) {
        libc_state::restore_libc_state();
    }
}

/// Called after a timer's function: destroys the argument and the values of locals if there are any, and resets the
/// identity of the worker.
pub(super) fn finish_callback(thread: &'static Thread, calls_destructors: bool) {
    if calls_destructors && !destroy_values(thread) {
        return;
    }
    probe::thread_end(thread);
    reset_identity();
}

/// Destroys the argument and the values of locals. Returns false if a destructor has forked, and this is the child: the
/// thread is the main thread there, and no longer a timer's.
fn destroy_values(thread: &'static Thread) -> bool {
    let is_timer = || thread.has_flag(TIMER);
    thread.destroy_arg();
    if is_timer() {
        tables::destroy_all();
    }
    if is_timer() {
        tables::free_current();
    }
    is_timer()
}

/// The calling worker is no longer a timer's thread.
fn reset_identity() {
    tls::with(|block| {
        block.thread.set(0);
        block.owner_tag.set(0);
    });
}
