//! Process exit: calls the registered functions, waits for the threads that are not daemons, and destroys the main
//! thread's values.
//!
//! The exit handler is registered with atexit() when it is first needed. Handlers that are registered later run
//! before it, and earlier ones after it.

use core::ffi::c_void;

use crate::callbacks::Callback;
use crate::error::{Error, Result};
use crate::local::tables;
use crate::panic_boundary::{FaultPoint, catch_panic, inject};
use crate::sync::atexit::ensure_atexit_registered;
use crate::sync::fork_epoch::fork_epoch;
use crate::sync::fork_lock::ForkLock;
use crate::sync::hang_watch;
use crate::sync::hang_watch::ExitWatch;
use crate::sync::mutex::{ForkReset, InternalMutex};
use crate::sys::annotate;
use crate::sys::annotate::{happens_after, happens_before};
use crate::sys::libc_hooks;
use crate::sys::pthread;
use crate::thread::{exit_callbacks, exit_lock, ident, registry, shutdown};
use crate::time::{Deadline, Timeout};
use crate::timer::finishing;

struct Exit {
    callbacks: Vec<(Callback, usize)>,
    started: bool,
}

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static EXIT: InternalMutex<Exit> = InternalMutex::new(Exit { callbacks: Vec::new(), started: false });

impl ForkReset for Exit {
    fn reset_in_child(&mut self) {
        // The vector may be inconsistent, because another thread of the parent was changing it.
        core::mem::forget(core::mem::take(&mut self.callbacks));
    }
}

/// The work of the atexit handler.
pub(crate) fn run() {
    if !registry::is_shut_down() {
        // Register the handler again: a callback that calls exit(), or a concurrent exit() of another thread, must
        // call it and wait, too. If this fails, such an exit does not wait.
        let _ = libc_hooks::register_atexit_handler();
    }
    hang_watch::begin_process_exit();
    catch_panic(|| inject(FaultPoint::ProcessExit));
    // Without a timeout, this returns true.
    let _ = catch_panic(|| {
        shutdown::with_shutdown_flag(|| {
            run_callbacks_or_wait(Deadline::NEVER);
            registry::set_main_done();
            finishing::finish_own_timers_at_exit();
            shutdown::join_non_daemons(Deadline::NEVER)
        })
    });
    catch_panic(|| {
        // Again in a child that a destructor has forked, for the values that are left.
        let mut destroyed_in = None;
        while registry::is_main(ident::ident()) && destroyed_in != Some(fork_epoch()) {
            destroyed_in = Some(fork_epoch());
            tables::destroy_all();
        }
    });
    if annotate::is_active() {
        catch_panic(shutdown::detach_remaining);
    }
}

/// Called when the main thread has called pthread_exit(). Ends the process with status 0 by exit(), which waits for the
/// other threads. Does nothing if the atexit handler is not registered, since no thread has been started then.
pub(crate) fn exit_after_main_pthread_exit() {
    if libc_hooks::is_atexit_registered() {
        // SAFETY: ends the process as a return from main() does.
        unsafe { libc::exit(libc::EXIT_SUCCESS) };
    }
}

/// Registers a function to be called at exit or shutdown, in reverse order of registration.
pub(crate) fn register_callback(callback: Callback, arg: *mut c_void) -> Result<()> {
    ensure_atexit_registered()?;
    let mut exit = EXIT.lock();
    if exit.started {
        return Err(Error::Shutdown);
    }
    exit.callbacks.try_reserve(1).map_err(|_| Error::NoMemory)?;
    happens_before(&EXIT);
    exit.callbacks.push((callback, arg as usize));
    Ok(())
}

/// Calls the callbacks, marks the main thread as finished, and waits for all threads that are not daemons. Returns
/// false if the timeout expires.
pub(crate) fn shutdown(timeout: Timeout) -> Result<bool> {
    let deadline = timeout.deadline();
    Ok(shutdown::with_shutdown_flag(|| {
        run_callbacks_or_wait(deadline) && {
            registry::set_main_done();
            shutdown::join_non_daemons(deadline)
        }
    }))
}

/// Calls the callbacks, or waits until the thread that calls them has finished. Returns false if the deadline passes.
/// In a callback that itself exits or shuts down, the calling thread does not wait, but calls the remaining
/// callbacks.
fn run_callbacks_or_wait(deadline: Deadline) -> bool {
    let me = ident::ident();
    let mut watch = ExitWatch::new(deadline);
    loop {
        let mut exit = EXIT.lock();
        exit.started = true;
        let seen = exit_callbacks::runs();
        let runner = exit_callbacks::runner();
        if runner == me {
            drop(exit);
            run_all_callbacks();
            return true;
        }
        if runner == 0 {
            exit_callbacks::begin_run(me);
            drop(exit);
            run_all_callbacks();
            exit = EXIT.lock();
            exit_callbacks::end_run();
            drop(exit);
            exit_callbacks::wake_waiters();
            return true;
        }
        drop(exit);
        if !exit_callbacks::wait(seen, deadline, &mut watch) {
            return false;
        }
    }
}

/// Called by a thread that waits in the process exit. Threads that are blocked until the exit is complete are not
/// waited for. If the thread that calls the callbacks is one of them, another thread calls those that are left.
pub(crate) fn exclude_blocked_threads() {
    exit_lock::exclude_blocked_threads();
    let exit = EXIT.lock();
    let is_runner_blocked = exit_callbacks::is_runner_blocked();
    if is_runner_blocked {
        exit_callbacks::end_run();
    }
    drop(exit);
    if is_runner_blocked {
        exit_callbacks::wake_waiters();
    }
}

fn run_all_callbacks() {
    loop {
        // A statement of its own, so that the mutex is released before the callback is called.
        let next = EXIT.lock().callbacks.pop();
        let Some((callback, arg)) = next else { return };
        happens_after(&EXIT);
        // SAFETY: the caller that registered the callback guarantees that it may be called with this argument.
        pthread::call_user(|| unsafe { callback(arg as *mut c_void) });
    }
}

/// In a child of fork: if another thread was calling the callbacks, it does not exist here.
pub(crate) fn after_fork_in_child() {
    let _exit = EXIT.lock();
    if exit_callbacks::runner() != ident::ident() {
        exit_callbacks::end_run();
    }
}

/// Returns the mutex, which is locked across a fork.
pub(crate) fn fork_lock() -> &'static impl ForkLock {
    &EXIT
}
