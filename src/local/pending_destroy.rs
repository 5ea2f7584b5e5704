//! Values on their way to their destructor.

use core::ffi::c_void;
use core::ptr;

use crate::callbacks::Destructor;
use crate::sys::pthread;

/// A value or an attribute that has been taken out of its table, and whose destructor has not been called yet.
#[must_use]
pub(crate) struct PendingDestroy {
    pub(crate) value: *mut c_void,
    pub(crate) destroy: Option<Destructor>,
}

impl PendingDestroy {
    pub(crate) const NONE: PendingDestroy = PendingDestroy { value: ptr::null_mut(), destroy: None };

    /// Calls the destructor. The caller holds no mutex.
    pub(crate) fn run(self) {
        if let Some(destroy) = self.destroy.filter(|_| !self.value.is_null()) {
            // SAFETY: the creator of the local guarantees that its destructor may be called with its values.
            pthread::call_user(|| unsafe { destroy(self.value) });
        }
    }
}
