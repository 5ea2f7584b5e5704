//! Data that two threads must never access at the same time.

use core::cell::UnsafeCell;

use super::engine::{self, CheckedCell};
use crate::sys::atomic::Ordering;

/// A value of a model. The code under test must order all uses of it; otherwise the model fails.
pub struct RaceCell<T> {
    checked: CheckedCell,
    value: UnsafeCell<T>,
}

// SAFETY: the threads of a model run one at a time.
unsafe impl<T> Send for RaceCell<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for RaceCell<T> {}

impl<T> RaceCell<T> {
    /// Creates a value. The threads that use it start later.
    pub fn new(value: T) -> Self {
        RaceCell { checked: CheckedCell::new(), value: UnsafeCell::new(value) }
    }

    /// Uses the value.
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: as above; `f` belongs to the model and does not call `with` on the same cell.
        self.checked.with_exclusive(|| f(unsafe { &mut *self.value.get() }))
    }
}

/// Records an access to the data of an internal mutex by the thread that holds it.
pub(crate) fn touch<T>(data: *const T) {
    engine::touch(data as usize);
}

/// A number that threads share through relaxed accesses.
pub struct RelaxedCell(engine::SharedU64);

impl RelaxedCell {
    /// Creates a number. The threads that use it start later.
    pub fn new(value: u64) -> Self {
        RelaxedCell(engine::SharedU64::new(value))
    }

    /// Returns the number, or an earlier value of it.
    pub fn load(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets the number.
    pub fn store(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}
