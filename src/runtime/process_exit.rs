//! How the process leaves: the callbacks, then the joins, then main's values.
//!
//! The hook is one of `atexit`'s, registered when it is first needed: handlers that were registered later run
//! before it, earlier ones after it.

use crate::sys::atomic::{AtomicU32, Ordering};
use core::ffi::c_void;

use crate::callbacks::Callback;
use crate::error::{Error, Result};
use crate::local::tables;
use crate::panic_boundary::{FaultPoint, catch_panic, inject};
use crate::sync::atexit::ensure_atexit_registered;
use crate::sync::mutex::{ForkReset, InternalMutex};
use crate::sys::annotate;
use crate::sys::annotate::{happens_after, happens_before};
use crate::sys::futex;
use crate::sys::libc_hooks;
use crate::sys::pthread;
use crate::thread::{ident, registry, shutdown};
use crate::time::{Deadline, Timeout};
use crate::timer::finishing;

struct Exit {
    callbacks: Vec<(Callback, usize)>,
    started: bool,
    /// The number of the thread that calls them, 0 if none does.
    runner: u64,
}

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static EXIT: InternalMutex<Exit> =
    InternalMutex::new(Exit { callbacks: Vec::new(), started: false, runner: 0 });

/// Changes, under the guard, when a thread has called the callbacks; slept on by others that leave.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static CALLBACKS_SEQ: AtomicU32 = AtomicU32::new(0);

impl ForkReset for Exit {
    fn reset_in_child(&mut self) {
        // The memory of the callbacks may be in the middle of a move.
        core::mem::forget(core::mem::take(&mut self.callbacks));
    }
}

/// The work of the atexit handler.
pub(crate) fn run() {
    if !registry::is_shut_down() {
        // A callback that calls exit, and another thread that does so in the meantime, finds the handler again, and
        // waits as well. If it cannot be registered, that exit goes on without.
        let _ = libc_hooks::register_atexit_handler();
    }
    catch_panic(|| inject(FaultPoint::ProcessExit));
    // Without a limit, it cannot fail.
    let _ = catch_panic(|| {
        shutdown::with_shutdown_flag(|| {
            run_callbacks_or_wait(Deadline::NEVER);
            registry::set_main_done();
            finishing::finish_own_timers_at_exit();
            shutdown::join_non_daemons(Deadline::NEVER)
        })
    });
    catch_panic(|| {
        if registry::is_main(ident::ident()) {
            tables::destroy_all();
        }
    });
    if annotate::is_active() {
        catch_panic(shutdown::detach_remaining);
    }
}

/// Main has been left by `pthread_exit`: the process goes on until its threads have ended, and then ends
/// well.
pub(crate) fn exit_after_main_pthread_exit() {
    if libc_hooks::is_atexit_registered() {
        // SAFETY: ends the process as main's return would.
        unsafe { libc::exit(libc::EXIT_SUCCESS) };
    }
}

/// Has a callback called by the shutdown, the last one first.
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

/// Calls the callbacks, counts main as ended, and waits for all threads that are not daemons. False if the
/// time ran out.
pub(crate) fn shutdown(timeout: Timeout) -> Result<bool> {
    let deadline = timeout.deadline();
    Ok(shutdown::with_shutdown_flag(|| {
        run_callbacks_or_wait(deadline) && {
            registry::set_main_done();
            shutdown::join_non_daemons(deadline)
        }
    }))
}

/// Calls the callbacks, or waits until the thread that does so has called all of them. False if the time ran
/// out. A callback that leaves itself does not wait: it goes on with those that are left.
fn run_callbacks_or_wait(deadline: Deadline) -> bool {
    let me = ident::ident();
    loop {
        let mut exit = EXIT.lock();
        exit.started = true;
        let seen = CALLBACKS_SEQ.load(Ordering::Relaxed);
        if exit.runner == me {
            drop(exit);
            run_all_callbacks();
            return true;
        }
        if exit.runner == 0 {
            exit.runner = me;
            drop(exit);
            run_all_callbacks();
            EXIT.lock().finish_run();
            futex::wake_all(&CALLBACKS_SEQ);
            return true;
        }
        drop(exit);
        if !futex::wait(&CALLBACKS_SEQ, seen, deadline) {
            return false;
        }
    }
}

fn run_all_callbacks() {
    loop {
        // Bound before it is called: the guard must be free by then.
        let next = EXIT.lock().callbacks.pop();
        let Some((callback, arg)) = next else { return };
        happens_after(&EXIT);
        // SAFETY: whoever registered it promised that they go together.
        pthread::call_user(|| unsafe { callback(arg as *mut c_void) });
    }
}

impl Exit {
    fn finish_run(&mut self) {
        self.runner = 0;
        CALLBACKS_SEQ.fetch_add(1, Ordering::Relaxed);
    }
}

/// In a child of fork: if another thread was calling the callbacks, it is not there to go on.
pub(crate) fn after_fork_in_child() {
    let mut exit = EXIT.lock();
    if exit.runner != ident::ident() {
        exit.finish_run();
    }
}

/// Holds the callbacks across a fork.
pub(crate) fn lock_for_fork() {
    EXIT.lock_for_fork();
}

/// Gives back what `hold` took.
///
/// # Safety
/// As for `InternalMutex::let_go`.
pub(crate) unsafe fn unlock_after_fork() {
    // SAFETY: the caller's promise.
    unsafe { EXIT.unlock_after_fork() };
}

/// As `let_go`, in a child of fork.
///
/// # Safety
/// As for `InternalMutex::reinit_in_child`.
pub(crate) unsafe fn reinit_in_child() {
    // SAFETY: the caller's promise.
    unsafe { EXIT.reinit_in_child() };
}
