//! How the process leaves: the callbacks, then the joins, then main's values.
//!
//! The hook is one of `atexit`'s, registered when it is first needed: handlers that were registered later run
//! before it, earlier ones after it.

use crate::atomic::{AtomicU32, Ordering};
use core::ffi::c_void;

use super::{identity, registry, system, values};
use crate::detector::{self, happens_after, happens_before, unseen};
use crate::error::{Error, Result};
use crate::park::guarded::{Forget, Guarded};
use crate::time::Timeout;

/// Called once, when the process leaves.
pub type Callback = unsafe extern "C-unwind" fn(arg: *mut c_void);

struct Exit {
    callbacks: Vec<(Callback, usize)>,
    begun: bool,
}

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_own"))]
static EXIT: Guarded<Exit> = Guarded::new(Exit { callbacks: Vec::new(), begun: false });

impl Forget for Exit {
    fn forget(&mut self) {
        unreachable!("the callbacks are held across a fork");
    }
}

/// `NOT_YET`, or `HOOKED` for ever.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_own"))]
static HOOK: AtomicU32 = AtomicU32::new(NOT_YET);
const NOT_YET: u32 = 0;
const HOOKED: u32 = 1;

/// From now on, the process's exit waits for its threads.
pub(crate) fn need() -> Result<()> {
    if HOOK.load(Ordering::Acquire) == HOOKED {
        return Ok(());
    }
    if cfg!(model) {
        // The process is the checker's.
        return Ok(());
    }
    let _once = EXIT.lock();
    // SAFETY: `hook` is a function as atexit wants it, and the library is never unloaded.
    if HOOK.load(Ordering::Acquire) == NOT_YET && unsafe { libc::atexit(hook) } != 0 {
        return Err(Error::NoMemory);
    }
    HOOK.store(HOOKED, Ordering::Release);
    Ok(())
}

extern "C" fn hook() {
    unseen(|| {
        if !registry::is_closed() {
            // A callback that calls exit, and another thread that does so meanwhile, finds the hook again, and waits
            // as well. Where that is refused, it goes on without.
            // SAFETY: as in `need`.
            unsafe { libc::atexit(hook) };
        }
        // Without a limit, it cannot fail.
        let _ = shutdown(Timeout::FOREVER);
        if registry::is_main(identity::ident()) {
            values::destroy_all();
        }
        if detector::watches() {
            registry::leave_behind();
        }
    });
}

/// Main has been left by `pthread_exit`: the process goes on until its threads have ended, and then ends
/// well.
pub(crate) fn main_has_left() {
    if HOOK.load(Ordering::Acquire) == HOOKED {
        // SAFETY: ends the process as main's return would.
        unsafe { libc::exit(libc::EXIT_SUCCESS) };
    }
}

/// Has a callback called by the shutdown, the last one first.
pub(crate) fn at_exit(callback: Callback, arg: *mut c_void) -> Result<()> {
    need()?;
    let mut exit = EXIT.lock();
    if exit.begun {
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
    loop {
        let next = {
            let mut exit = EXIT.lock();
            exit.begun = true;
            exit.callbacks.pop()
        };
        let Some((callback, arg)) = next else { break };
        happens_after(&EXIT);
        // SAFETY: whoever registered it promised that they go together.
        system::callback(|| unsafe { callback(arg as *mut c_void) });
    }
    registry::end_main();
    Ok(registry::join_all(deadline))
}

/// Holds the callbacks across a fork.
pub(crate) fn hold() {
    EXIT.hold();
}

/// Gives back what `hold` took.
///
/// # Safety
/// As for `Guarded::let_go`.
pub(crate) unsafe fn let_go() {
    // SAFETY: the caller's promise.
    unsafe { EXIT.let_go() };
}
