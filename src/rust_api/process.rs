//! Process exit, and unhandled failures of threads.

use core::ffi::{CStr, c_char, c_void};
use core::ptr;

use super::closures::{OnceClosure, catch};
use crate::error::Result;
use crate::handle::Handle;
use crate::runtime::process_exit;
use crate::thread;
use crate::thread::excepthook;
use crate::thread::object::Thread;
use crate::time::Timeout;

/// Registers a closure that process exit, or [`shutdown`], calls before it waits for threads. The closure that was
/// registered last is called first. Python: `threading._register_atexit`.
///
/// ```
/// threading::atexit(|| println!("the process exits"))?;
/// # Ok::<(), threading::Error>(())
/// ```
pub fn atexit<F: FnOnce() + Send + 'static>(closure: F) -> Result<()> {
    unsafe extern "C-unwind" fn call<F: FnOnce()>(arg: *mut c_void) {
        // SAFETY: `arg` is from `leak`, and an exit callback is called once.
        unsafe {
            OnceClosure::<F>::call(arg);
            OnceClosure::<F>::destroy(arg);
        }
    }
    let arg = OnceClosure::leak(closure);
    // SAFETY: after an error, the library has not kept the argument.
    process_exit::register_callback(call::<F>, arg).inspect_err(|_| unsafe { OnceClosure::<F>::destroy(arg) })
}

/// Calls the closures registered with [`atexit`], and waits until all threads that are not daemons have ended,
/// including pending timers. Returns false if the timeout expires first. Process exit does the same without a timeout.
/// Python: `threading._shutdown`.
///
/// ```
/// use threading::{Thread, Timeout};
///
/// Thread::new(|| println!("runs to its end"))?.start()?;
/// assert!(threading::shutdown(Timeout::FOREVER)?);
/// # Ok::<(), threading::Error>(())
/// ```
pub fn shutdown(timeout: Timeout) -> Result<bool> {
    process_exit::shutdown(timeout)
}

/// Sets the closure that is called for each failure that a thread does not handle, such as a panic in a thread's
/// closure. Its arguments are the thread, the kind of failure (`panic` for a panic), and a message. Without a hook, the
/// failure is printed to stderr. Python: `threading.excepthook`.
///
/// A hook that is replaced is never dropped, because another thread may still be running it.
///
/// ```
/// use std::sync::mpsc;
/// use threading::{Thread, Timeout};
///
/// let (sender, receiver) = mpsc::channel();
/// threading::set_excepthook(move |thread, kind, message| {
///     let _ = sender.send(format!("{}: {kind:?}, {message:?}", thread.name().unwrap()));
/// });
/// let thread = Thread::new(|| panic!("no input"))?;
/// thread.start()?;
/// thread.join(Timeout::FOREVER)?;
/// assert_eq!(receiver.recv().unwrap(), r#"Thread-1: "panic", "no input""#);
/// # Ok::<(), threading::Error>(())
/// ```
pub fn set_excepthook<F>(hook: F)
where
    F: Fn(Handle<Thread>, &CStr, &CStr) + Send + Sync + 'static,
{
    unsafe extern "C-unwind" fn call<F: Fn(Handle<Thread>, &CStr, &CStr)>(
        thread: *mut c_void,
        kind: *const c_char,
        message: *const c_char,
        arg: *mut c_void,
    ) {
        // SAFETY: `arg` is the leaked hook, and the library passes strings that end with NUL.
        let (hook, kind, message) =
            unsafe { (&*arg.cast::<F>(), CStr::from_ptr(kind), CStr::from_ptr(message)) };
        // There is no further hook to which the panic of a hook could be reported.
        catch(|| hook(Handle::from_bits(thread.addr()), kind, message), |_| ());
    }
    excepthook::set(Some(call::<F>), Box::into_raw(Box::new(hook)).cast());
}

/// Removes the closure set by [`set_excepthook`]: failures are printed to stderr again.
pub fn reset_excepthook() {
    excepthook::set(None, ptr::null_mut());
}

/// Reports a failure of the calling thread to the excepthook.
pub fn report_exception(kind: &CStr, message: &CStr) -> Result<()> {
    excepthook::report(thread::current()?, kind, message)
}
