//! The functions of the library that libc calls: the destructor of a pthread key at thread exit, and an atexit handler
//! at process exit. Each is registered when it is first needed.
//!
//! Their work uses every other part of the library, and this module must not depend on those parts. So `runtime::init`
//! stores two function pointers (`set`) when the library is loaded or first called. A hook may be registered before
//! that, because the pointers are read only when libc calls the hook.
//!
//! # State (`exit_rounds` in the per-thread block, accessed only by its thread)
//!
//! | state | meaning | who changes it |
//! |---|---|---|
//! | 0 | the thread has no exit hook | `register_exit_hook`: to `REGISTERED` |
//! | `REGISTERED` | libc will call the destructor | `runtime::thread_exit`, in each call: to the next number |
//! | `REGISTERED` + n, below `LAST_ROUND` | n rounds of destructors have started | `runtime::thread_exit`: to the next number, or to `LAST_ROUND` if libc will not call the destructor again |
//! | `LAST_ROUND` | the last round has started: the thread gets no new records | |

use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, AtomicPtr};

use crate::error::{Error, Result};
use crate::sys;
use crate::sys::atomic::{AtomicU64, Ordering};
use crate::sys::tls;

/// The number of rounds in which libc calls a thread's destructors while they set new values
/// (`PTHREAD_DESTRUCTOR_ITERATIONS`). Values that are set in the last round are ignored.
pub(crate) const DESTRUCTOR_ROUNDS: u32 = 4;
pub(crate) const REGISTERED: u32 = 1;
pub(crate) const LAST_ROUND: u32 = REGISTERED + DESTRUCTOR_ROUNDS;

/// The work of the two hooks: functions of type `fn()`, or NULL.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static ON_THREAD_EXIT: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static ON_PROCESS_EXIT: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Sets the functions to be called in each round of a thread's destructors, and at process exit.
pub(crate) fn set(on_thread_exit: fn(), on_process_exit: fn()) {
    ON_THREAD_EXIT.store(on_thread_exit as *mut (), Ordering::Release);
    ON_PROCESS_EXIT.store(on_process_exit as *mut (), Ordering::Release);
}

fn call(work: &AtomicPtr<()>) {
    let work = work.load(Ordering::Acquire);
    debug_assert!(!work.is_null(), "the library is not initialized");
    if work.is_null() {
        return;
    }
    // SAFETY: `set` stored a function of this type.
    unsafe { core::mem::transmute::<*mut (), fn()>(work)() };
}

unsafe extern "C" fn tsd_destructor(_: *mut c_void) {
    call(&ON_THREAD_EXIT);
}

extern "C" fn atexit_handler() {
    call(&ON_PROCESS_EXIT);
}

/// The pthread key plus 1; 0 before it is created.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static EXIT_KEY: AtomicU64 = AtomicU64::new(0);

/// Returns the pthread key of the exit hook, which the first call creates.
pub(crate) fn ensure_exit_key() -> Result<libc::pthread_key_t> {
    if cfg!(model) {
        // Unused: the models call the hooks themselves. Each run would create another key.
        return Ok(0);
    }
    let known = EXIT_KEY.load(Ordering::Acquire);
    if known != 0 {
        return Ok((known - 1) as libc::pthread_key_t);
    }
    let mut key = 0;
    // SAFETY: `tsd_destructor` has the type of a destructor, and is never unloaded.
    if unsafe { sys::pthread_key_create(&mut key, Some(tsd_destructor)) } != 0 {
        return Err(Error::System);
    }
    match EXIT_KEY.compare_exchange(0, key as u64 + 1, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Ok(key),
        Err(known) => {
            // SAFETY: created above, and not visible to other threads.
            unsafe { sys::pthread_key_delete(key) };
            Ok((known - 1) as libc::pthread_key_t)
        }
    }
}

/// Whether the calling thread has an exit hook, or has had one in an earlier round of its destructors. If so, the key
/// exists.
#[inline(always)]
pub(crate) fn has_had_exit_hook() -> bool {
    tls::with(|block| block.exit_rounds.get()) != 0
}

/// Registers the exit hook of the calling thread. Fails with `Shutdown` in the thread's last round of destructors.
pub(crate) fn register_exit_hook() -> Result<()> {
    match tls::with(|block| block.exit_rounds.get()) {
        0 => {
            rearm()?;
            tls::with(|block| block.exit_rounds.set(REGISTERED));
            Ok(())
        }
        LAST_ROUND => Err(Error::Shutdown),
        _ => Ok(()),
    }
}

/// Sets the key's value, so that libc calls the destructor in its next round.
pub(crate) fn rearm() -> Result<()> {
    if cfg!(model) {
        return Ok(());
    }
    const NOT_NULL: *const c_void = core::ptr::dangling();
    // SAFETY: the key exists; libc only compares the value with NULL.
    if unsafe { sys::pthread_setspecific(ensure_exit_key()?, NOT_NULL) } == 0 {
        Ok(())
    } else {
        Err(Error::NoMemory)
    }
}

/// Whether the atexit handler has been registered; never cleared.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static ATEXIT_REGISTERED: AtomicBool = AtomicBool::new(false);

/// Returns whether the atexit handler has been registered.
pub(crate) fn is_atexit_registered() -> bool {
    ATEXIT_REGISTERED.load(Ordering::Acquire)
}

/// Registers the atexit handler. exit() calls it once for each registration.
pub(crate) fn register_atexit_handler() -> Result<()> {
    // SAFETY: `atexit_handler` has the type of a handler, and the library is never unloaded.
    if unsafe { sys::atexit(atexit_handler) } != 0 {
        return Err(Error::NoMemory);
    }
    ATEXIT_REGISTERED.store(true, Ordering::Release);
    Ok(())
}
