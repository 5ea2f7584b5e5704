//! The functions of the library that libc calls: the destructor of a pthread key when a thread ends, and an atexit
//! handler when the process exits. Each is registered when it is first needed.
//!
//! Their work uses every other part of the library, so it is not known here: `runtime::init` stores two function
//! pointers (`set`), when the library is loaded or first called. A hook may be registered before that. The pointers are
//! read when libc calls the hook.
//!
//! # State (`exit_rounds` in the thread's block, all of it the thread's own)
//!
//! | state | meaning | who changes it |
//! |---|---|---|
//! | 0 | no hook is registered for the thread's end | `register_exit_hook`: to `REGISTERED` |
//! | `REGISTERED` | libc will call the destructor | `runtime::thread_exit`, with each call: to the next number |
//! | up to `LAST_ROUND` - 1 | so many rounds of destructors after `REGISTERED` have started | the same; to `LAST_ROUND` if libc will not call again |
//! | `LAST_ROUND` | the last round has started: the thread gets no new records | |

use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, AtomicPtr};

use crate::error::{Error, Result};
use crate::sys;
use crate::sys::atomic::{AtomicU64, Ordering};
use crate::sys::tls;

/// How many times pthread calls the destructors of a thread that sets new values in them
/// (`PTHREAD_DESTRUCTOR_ITERATIONS`). What they set in the last round is forgotten.
pub(crate) const DESTRUCTOR_ROUNDS: u32 = 4;
pub(crate) const REGISTERED: u32 = 1;
pub(crate) const LAST_ROUND: u32 = REGISTERED + DESTRUCTOR_ROUNDS;

/// The work of the hooks: functions of type `fn()`, or NULL.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static ON_THREAD_EXIT: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static ON_PROCESS_EXIT: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Sets what is called in each round of a thread's destructors, and when the process exits.
pub(crate) fn set(on_thread_exit: fn(), on_process_exit: fn()) {
    ON_THREAD_EXIT.store(on_thread_exit as *mut (), Ordering::Release);
    ON_PROCESS_EXIT.store(on_process_exit as *mut (), Ordering::Release);
}

fn call(work: &AtomicPtr<()>) {
    let work = work.load(Ordering::Acquire);
    debug_assert!(!work.is_null(), "the constructor has not run");
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

/// The key, one above libc's number; 0 as long as there is none.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static EXIT_KEY: AtomicU64 = AtomicU64::new(0);

/// The key whose destructor tells of a thread's end, created when it is first needed.
pub(crate) fn exit_key() -> Result<libc::pthread_key_t> {
    let known = EXIT_KEY.load(Ordering::Acquire);
    if known != 0 {
        return Ok((known - 1) as libc::pthread_key_t);
    }
    let mut key = 0;
    // SAFETY: `tsd_destructor` is a destructor as pthread wants it.
    if unsafe { sys::pthread_key_create(&mut key, Some(tsd_destructor)) } != 0 {
        return Err(Error::System);
    }
    match EXIT_KEY.compare_exchange(0, u64::from(key) + 1, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Ok(key),
        Err(known) => {
            // SAFETY: created above; no other thread has seen it.
            unsafe { sys::pthread_key_delete(key) };
            Ok((known - 1) as libc::pthread_key_t)
        }
    }
}

/// Has libc call the destructor when the calling thread ends.
pub(crate) fn register_exit_hook() -> Result<()> {
    match tls::with(|block| block.exit_rounds.get()) {
        0 => {
            rearm()?;
            tls::with(|block| block.exit_rounds.set(REGISTERED));
            tls::open_spares();
            Ok(())
        }
        LAST_ROUND => Err(Error::Shutdown),
        _ => Ok(()),
    }
}

/// Has libc call the destructor in its next round.
pub(crate) fn rearm() -> Result<()> {
    if cfg!(model) {
        return Ok(());
    }
    const NOT_NULL: *const c_void = core::ptr::dangling();
    // SAFETY: the key exists; the value is only compared with NULL.
    if unsafe { sys::pthread_setspecific(exit_key()?, NOT_NULL) } == 0 {
        Ok(())
    } else {
        Err(Error::NoMemory)
    }
}

/// Whether libc will call the handler when the process exits. Set once.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static ATEXIT_REGISTERED: AtomicBool = AtomicBool::new(false);

/// Whether the handler has ever been registered.
pub(crate) fn is_atexit_registered() -> bool {
    ATEXIT_REGISTERED.load(Ordering::Acquire)
}

/// Registers the handler, once more if it has been: handlers that were registered later run before it, earlier ones
/// after it.
pub(crate) fn register_atexit_handler() -> Result<()> {
    // SAFETY: `atexit_handler` is a function as atexit wants it, and the library is never unloaded.
    if unsafe { sys::atexit(atexit_handler) } != 0 {
        return Err(Error::NoMemory);
    }
    ATEXIT_REGISTERED.store(true, Ordering::Release);
    Ok(())
}
