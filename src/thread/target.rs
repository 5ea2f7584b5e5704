//! What a thread runs: its target, or the function that overrides it. Both take the argument, which may have a
//! destructor.

use core::ffi::c_void;
use core::ptr;

use crate::callbacks::{Destructor, Run, Target};
use crate::sys::atomic::Ordering;
use crate::sys::prefetch::prefetch_for_write;
use crate::sys::probe;
use crate::sys::pthread;
use crate::thread::object::{ARG_DESTROYED, Thread};

/// A target and its argument, copied from a thread that may be freed before the target is called.
#[repr(C)]
pub(crate) struct TargetCall {
    target: Option<Target>,
    arg: *mut c_void,
}

impl TargetCall {
    /// # Safety
    /// Target and argument belong together, as promised when the thread was created. `pthread_exit` may unwind this
    /// frame.
    pub(crate) unsafe extern "C-unwind" fn run(self) -> *mut c_void {
        match self.target {
            // SAFETY: as the caller promises.
            Some(target) => unsafe { target(self.arg) },
            None => ptr::null_mut(),
        }
    }
}

impl Thread {
    pub(crate) fn arg(&self) -> *mut c_void {
        self.arg.load(Ordering::Acquire)
    }

    /// Prefetches the cache line to which the argument points. This is only a hint: the argument may be any number.
    #[inline(always)]
    pub(crate) fn prefetch_arg(&self) {
        prefetch_for_write(self.arg.load(Ordering::Relaxed));
    }

    pub(crate) fn set_arg_destructor_ptr(&self, destroy: Option<Destructor>) {
        self.destroy.store(destroy, Ordering::Release);
    }

    /// Returns whether the destructor of the argument has still to be called.
    pub(crate) fn has_pending_arg_destructor(&self) -> bool {
        self.destroy.load(Ordering::Acquire).is_some() && !self.has_flag(ARG_DESTROYED)
    }

    /// Calls the destructor of the argument, unless one of them is NULL or a thread has called it before.
    pub(crate) fn destroy_arg(&self) {
        if !self.has_pending_arg_destructor() {
            return;
        }
        if let Some(destroy) = self.destroy.take(Ordering::AcqRel) {
            if !self.arg().is_null() && !self.set_flag(ARG_DESTROYED) {
                // SAFETY: the caller of `Handle::set_arg_destructor` has promised that it takes the argument.
                pthread::call_user(|| unsafe { destroy(self.arg()) });
            }
        }
    }

    fn target(&self) -> Option<Target> {
        self.target.load(Ordering::Acquire)
    }

    /// Returns the function that overrides the target, or NULL. Only before there is a result.
    fn run_override(&self) -> *mut c_void {
        self.run_or_result.load(Ordering::Acquire)
    }

    /// Returns what the thread runs without an override.
    pub(crate) fn target_call(&self) -> TargetCall {
        TargetCall { target: self.target(), arg: self.arg() }
    }

    /// Returns the address of the function that `run_override_or_target` calls, or 0 if there is none.
    pub(crate) fn function_address(&self) -> usize {
        let run = self.run_override();
        if run.is_null() { self.target.load_address(Ordering::Acquire) } else { run.addr() }
    }

    /// Calls the override if there is one, or else the target.
    ///
    /// # Safety
    /// As for `TargetCall::run`; called once, by the thread itself.
    pub(crate) unsafe extern "C-unwind" fn run_override_or_target(&'static self) -> *mut c_void {
        let run = self.run_override();
        if run.is_null() {
            let target = self.target();
            probe::thread_start(self, target.map_or(ptr::null(), |target| target as *const c_void));
            // SAFETY: as the caller promises.
            return unsafe { TargetCall { target, arg: self.arg() }.run() };
        }
        probe::thread_start(self, run);
        let this = self.handle().bits() as *mut c_void;
        // SAFETY: `set_run` stored a `Run`, which takes the argument as the caller promises.
        unsafe { core::mem::transmute::<*mut c_void, Run>(run)(this, self.arg()) }
    }
}
