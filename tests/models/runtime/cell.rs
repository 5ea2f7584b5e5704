//! Data that must never be touched by two threads at once.

use core::cell::UnsafeCell;

use super::engine::{self, CheckedCell};
use crate::sys::atomic::Ordering;

/// A value of a model's own. Its uses must be ordered by what is being checked; otherwise the model fails.
pub struct RaceCell<T> {
    checked: CheckedCell,
    value: UnsafeCell<T>,
}

// SAFETY: the threads of a model run one at a time.
unsafe impl<T> Send for RaceCell<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for RaceCell<T> {}

impl<T> RaceCell<T> {
    /// A value, made before the threads that use it.
    pub fn new(value: T) -> Self {
        RaceCell { checked: CheckedCell::new(), value: UnsafeCell::new(value) }
    }

    /// Uses the value.
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: as above; `f` is the model's, and not called inside of itself.
        self.checked.with_exclusive(|| f(unsafe { &mut *self.value.get() }))
    }
}

/// The owner of one of the library's small locks touches what that guards.
pub(crate) fn touch<T>(data: *const T) {
    engine::touch(data as usize);
}

/// A number that threads share without any order of their own.
pub struct RelaxedCell(engine::SharedU64);

impl RelaxedCell {
    /// A number, made before the threads that use it.
    pub fn new(value: u64) -> Self {
        RelaxedCell(engine::SharedU64::new(value))
    }

    /// The number, or one that it has been.
    pub fn load(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Changes the number.
    pub fn store(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}
