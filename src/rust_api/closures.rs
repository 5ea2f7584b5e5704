//! Closures as C callbacks: a function for the closure's type, and a pointer to the closure as its argument.

use core::any::Any;
use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::ptr;
use std::ffi::CString;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::sys::atomic::{AtomicBool, Ordering};
use crate::thread;
use crate::thread::excepthook;

/// Runs a closure. If it panics, returns `None`, and calls `on_panic` with the payload.
pub(super) fn catch<R>(closure: impl FnOnce() -> R, on_panic: impl FnOnce(&dyn Any)) -> Option<R> {
    catch_unwind(AssertUnwindSafe(closure))
        .map_err(|payload| {
            on_panic(&*payload);
            // If the payload's drop panics in turn, the second payload is leaked.
            catch_unwind(AssertUnwindSafe(|| drop(payload))).map_err(core::mem::forget)
        })
        .ok()
}

/// Runs a closure. If it panics, reports `panic: MESSAGE` to the excepthook, and returns `None`.
pub(super) fn catch_and_report<R>(closure: impl FnOnce() -> R) -> Option<R> {
    catch(closure, |payload| {
        let message = payload.downcast_ref::<String>().map(String::as_str);
        let message = message.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
        let message = CString::new(message.replace('\0', "")).unwrap_or_default();
        let _ = thread::current().and_then(|current| excepthook::report(current, c"panic", &message));
    })
}

/// A closure that runs at most once, however many threads call it.
pub(super) struct OnceClosure<F> {
    taken: AtomicBool,
    closure: UnsafeCell<Option<F>>,
}

impl<F: FnOnce()> OnceClosure<F> {
    /// Moves the closure to the heap, and returns the argument for `call` and `destroy`.
    pub(super) fn leak(closure: F) -> *mut c_void {
        let once = OnceClosure { taken: AtomicBool::new(false), closure: UnsafeCell::new(Some(closure)) };
        Box::into_raw(Box::new(once)).cast()
    }

    /// Runs the closure, unless a call has done so before.
    ///
    /// # Safety
    /// `arg` is from `leak`, and has not been destroyed. If the closure is not `Send`, the calling thread is the one
    /// that called `leak`.
    pub(super) unsafe extern "C-unwind" fn call(arg: *mut c_void) -> *mut c_void {
        // SAFETY: guaranteed by the caller.
        let once = unsafe { &*arg.cast::<Self>() };
        if !once.taken.swap(true, Ordering::Relaxed) {
            // SAFETY: only the first call gets here.
            catch_and_report(|| unsafe { &mut *once.closure.get() }.take().map(|closure| closure()));
        }
        ptr::null_mut()
    }

    /// Frees the closure, and drops it if it has not run.
    ///
    /// # Safety
    /// As for `call`; and no thread uses `arg` any more.
    pub(super) unsafe extern "C-unwind" fn destroy(arg: *mut c_void) {
        // SAFETY: guaranteed by the caller.
        catch_and_report(|| drop(unsafe { Box::from_raw(arg.cast::<Self>()) }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct PanicsInDrop;

    impl Drop for PanicsInDrop {
        fn drop(&mut self) {
            std::panic::panic_any(PanicsInDrop);
        }
    }

    #[test]
    fn a_panic_in_the_drop_of_a_payload_is_caught() {
        assert_eq!(catch_and_report(|| std::panic::panic_any(PanicsInDrop)), None::<()>);
    }
}
