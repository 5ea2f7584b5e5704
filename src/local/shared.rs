//! What the tables of all threads need of a local.

use crate::callbacks::{AtomicCallback, Destructor};
use crate::sys::atomic::{AtomicUsize, Ordering, fence_after_rmw};

/// The part of a local that the tables use. It is in the local's slot, which is not reused as long as a cell of any
/// table has the handle as its key, or a value that is still to be destroyed.
#[cfg_attr(test, derive(Default))]
pub(crate) struct LocalShared {
    destroy: AtomicCallback<Destructor>,
    /// How many cells of all tables have the local's handle as their key. Changed by the owner of the table with the
    /// cell, or by its guest. In a child of fork it may be too large: it includes the cells of the parent's other
    /// threads.
    pub(crate) cell_count: AtomicUsize,
}

impl LocalShared {
    /// Called when the local is created.
    pub(crate) fn set_destructor(&self, destroy: Option<Destructor>) {
        self.destroy.store(destroy, Ordering::Release);
    }

    pub(crate) fn destructor(&self) -> Option<Destructor> {
        self.destroy.load(Ordering::Acquire)
    }

    /// Whether no table has a cell for the local. Called when the local is dead: a thread that adds a cell later
    /// observes that.
    pub(crate) fn has_no_cells(&self) -> bool {
        // Pairs with the fence in `Table::add_cell`: either this thread observes the new cell in the count, or the
        // thread that adds it observes that the local is dead.
        fence_after_rmw();
        self.cell_count.load(Ordering::Relaxed) == 0
    }
}
