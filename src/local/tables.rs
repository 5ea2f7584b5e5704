//! The tables of all threads.
//!
//! Each thread's values are in a table of its own, found through its per-thread block. A thread that frees a local
//! visits the tables of all threads, up to the last one that has a cell for the local, in two passes: `close_local`
//! changes the cells to tombstones, so that no thread finds the values any more, and `destroy_local` then destroys
//! the values.
//!
//! Destructors are called without any mutex held. Each value is stamped with the destructor round in which it was
//! set: a round at thread exit destroys only older values.

use core::ffi::{CStr, c_void};
use core::ptr;

use crate::error::Result;
use crate::local::pending_destroy::PendingDestroy;
use crate::local::shared::LocalShared;
use crate::local::table::Table;
use crate::sync::fork_epoch::fork_epoch;
use crate::sync::fork_lock::ForkLock;
use crate::sync::list::List;
use crate::sync::mutex::{ForkReset, InternalMutex};
use crate::sys::asymmetric_fence;
use crate::sys::libc_hooks::{DESTRUCTOR_ROUNDS, register_exit_hook};
use crate::sys::tls;

/// The list of all tables.
struct Tables {
    list: List<Table>,
}

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static TABLES: InternalMutex<Tables> = InternalMutex::new(Tables { list: List::new() });

// SAFETY: tables are accessed under the mutex, and are removed from the list before their memory is freed.
unsafe impl Send for Tables {}

impl ForkReset for Tables {
    fn reset_in_child(&mut self) {
        // `after_fork_in_child` resets the list.
    }
}

/// Returns the calling thread's table, if it has one.
#[inline(always)]
fn current() -> Option<&'static Table> {
    let table = tls::locals() as *const Table;
    // SAFETY: the calling thread's own table lives until the thread frees it, in `free_current`.
    unsafe { table.as_ref() }
}

/// As `Table::set_fast`, for the calling thread.
#[inline(always)]
pub(crate) fn set_fast(key: usize, value: *mut c_void) -> bool {
    current().is_some_and(|table| table.set_fast(key, value))
}

/// As `Table::set_attribute_fast`, for the calling thread.
#[inline(always)]
pub(crate) fn set_attribute_fast(key: usize, name: &CStr, value: *mut c_void) -> bool {
    current().is_some_and(|table| table.set_attribute_fast(key, name, value))
}

/// As `Table::attribute_fast`, for the calling thread.
#[inline(always)]
pub(crate) fn attribute_fast(key: usize, name: &CStr) -> Option<*mut c_void> {
    current()?.attribute_fast(key, name)
}

/// As `get`, but probes only one cell. `None` does not mean that there is no value.
#[inline(always)]
pub(crate) fn get_fast(key: usize) -> Option<*mut c_void> {
    current()?.get_fast(key)
}

/// Returns the calling thread's value for the local with this key, or NULL. `None` if the local has no cell in its
/// table.
pub(crate) fn get(key: usize) -> Option<*mut c_void> {
    current()?.get(key)
}

/// Returns the calling thread's table, which is created if there is none.
pub(crate) fn current_or_create() -> Result<&'static Table> {
    if let Some(table) = current() {
        return Ok(table);
    }
    register_exit_hook()?;
    let table = Table::try_new()?;
    let tables = TABLES.lock();
    tables.list.push_front(table);
    tls::with(|block| block.locals.set(ptr::from_ref(table) as usize));
    Ok(table)
}

/// Runs one destructor round: destroys the calling thread's values and attributes, except those that the destructors
/// set. Returns false if there were none, or if a destructor has forked and this is the child: there, the calling thread
/// is the main thread, whose values are destroyed at process exit.
pub(crate) fn destroy_round() -> bool {
    let Some(table) = current() else { return false };
    let epoch = fork_epoch();
    table.begin_round();
    let mut any = false;
    loop {
        let mut at = 0;
        let mut found = false;
        while let Some(pending) = table.take_older(&mut at) {
            found = true;
            pending.run();
            if fork_epoch() != epoch {
                return false;
            }
        }
        // A destructor that sets a value for another local may have caused a rehash, which moves cells to positions
        // that the search has passed.
        if !found {
            return any;
        }
        any = true;
    }
}

/// Destroys all values of the calling thread, in up to `DESTRUCTOR_ROUNDS` rounds. Called for the main thread at
/// process exit, and after each timer's function.
pub(crate) fn destroy_all() {
    for _ in 0..DESTRUCTOR_ROUNDS {
        if !destroy_round() {
            return;
        }
    }
}

/// Frees the calling thread's table, at thread exit or after a timer's function.
pub(crate) fn free_current() {
    let table = tls::with(|block| block.locals.take()) as *mut Table;
    // SAFETY: `current_or_create` created it, and it is in the list until it is freed.
    let Some(own_table) = (unsafe { table.as_ref() }) else { return };
    own_table.clear();
    let mut tables = TABLES.lock();
    let must_free = tables.release_by_owner(own_table);
    drop(tables);
    if must_free {
        // SAFETY: it has been removed from the list.
        unsafe { Table::free(table) };
    }
}

/// What is left to be destroyed of a closed local.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Leftover {
    Nothing,
    /// Values of the calling thread only.
    Own,
    /// Values of any thread.
    Any,
}

/// Closes a freed local: no thread finds its value any more. `claim` and `set_closed` are called under the mutex of the
/// list, so that only one thread closes the local; a second one waits for it, and gets `None`. Takes time linear in
/// the number of tables, or constant time if only the calling thread has a cell for the local.
pub(crate) fn close_local(
    key: usize,
    shared: &LocalShared,
    claim: impl FnOnce() -> bool,
    set_closed: impl FnOnce(),
) -> Option<Leftover> {
    let tables = TABLES.lock();
    if !claim() {
        return None;
    }
    let mut left = Leftover::Nothing;
    let own_table = current().filter(|_| !shared.has_no_cells());
    if own_table.is_some_and(|table| table.tombstone_own(key)) {
        left = Leftover::Own;
    }
    // A table that is created after this belongs to a thread that finds the local dead.
    if !shared.has_no_cells() {
        tables.announce_guest();
        for table in tables.list.iter() {
            if shared.has_no_cells() {
                break;
            }
            if table.tombstone(key) {
                left = Leftover::Any;
            }
        }
        tables.list.iter().for_each(Table::dismiss_guest);
    }
    set_closed();
    drop(tables);
    own_table.inspect(|table| table.shrink());
    Some(left)
}

/// Destroys the values and attributes of a freed and closed local: those of all threads, or only the calling
/// thread's.
pub(crate) fn destroy_local(key: usize, left: Leftover) {
    match left {
        Leftover::Nothing => return,
        Leftover::Own => {
            while let Some(pending) = current().and_then(|table| table.take_own_freed(key)) {
                pending.run();
            }
        }
        Leftover::Any => {
            let mut cursor = DestroyCursor { key, at: None, started: false, epoch: fork_epoch() };
            // `next` releases the mutex before it returns: no mutex is held while the destructor runs.
            while let Some(pending) = cursor.next() {
                pending.run();
            }
        }
    }
    current().inspect(|table| table.shrink());
}

/// The position of a thread that destroys the values of a local, table by table. The thread is a guest of the tables
/// from the cursor on. No mutex is held while a destructor runs. The table at the cursor then counts a visitor, and so
/// stays in the list even if its owner exits.
struct DestroyCursor {
    key: usize,
    at: Option<&'static Table>,
    started: bool,
    /// The fork epoch of the last step. In a child that a destructor has forked, the cursor starts again.
    epoch: u32,
}

impl DestroyCursor {
    fn next(&mut self) -> Option<PendingDestroy> {
        let mut tables = TABLES.lock();
        let is_child = self.epoch != fork_epoch();
        let from = self.at.take().filter(|_| !is_child);
        let mut at = from;
        if !self.started || is_child {
            tables.announce_guest();
            at = tables.list.first();
        }
        (self.started, self.epoch) = (true, fork_epoch());
        let mut pending = None;
        while let Some(table) = at {
            pending = table.take_freed(self.key);
            if pending.is_some() {
                table.visitors.set(table.visitors.get() + 1);
                break;
            }
            at = tables.list.after(table);
            table.dismiss_guest();
        }
        self.at = at;
        let to_free = from.filter(|&from| tables.end_visit(from));
        drop(tables);
        if let Some(table) = to_free {
            // SAFETY: its owner has exited, and it has been removed from the list.
            unsafe { Table::free(ptr::from_ref(table).cast_mut()) };
        }
        pending
    }
}

impl Tables {
    /// Announces a guest to all tables.
    fn announce_guest(&self) {
        self.list.iter().for_each(Table::announce_guest);
        if asymmetric_fence::is_available() {
            asymmetric_fence::heavy();
        }
    }

    /// A visit to a table has ended. Returns true if the table has been removed from the list, and must be freed.
    fn end_visit(&mut self, table: &'static Table) -> bool {
        table.visitors.set(table.visitors.get() - 1);
        table.owner_exited.get() && self.try_remove(table)
    }

    /// The owner of a table exits. Returns true if the table has been removed from the list, and must be freed.
    fn release_by_owner(&mut self, table: &'static Table) -> bool {
        table.owner_exited.set(true);
        self.try_remove(table)
    }

    /// Removes a table from the list, unless it has visitors.
    fn try_remove(&mut self, table: &'static Table) -> bool {
        if table.visitors.get() > 0 {
            return false;
        }
        self.list.remove(table);
        true
    }
}

/// Resets the list before each execution of a model.
#[cfg(model)]
pub(crate) fn reset() {
    TABLES.lock().list = List::new();
}

/// Returns the mutex, which is locked across a fork.
pub(crate) fn fork_lock() -> &'static impl ForkLock {
    &TABLES
}

/// In a child of fork: removes the tables of the parent's other threads from the list, and leaves them as they are.
pub(crate) fn after_fork_in_child() {
    let own_table = current();
    let mut tables = TABLES.lock();
    tables.list = List::new();
    if let Some(table) = own_table {
        tables.list.push_front(table);
        // The visitors were other threads of the parent, or cursors of this thread, which notice the fork by the
        // epoch.
        table.visitors.set(0);
        table.after_fork_in_child();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handle::Handle;
    use crate::local::Local;
    use crate::time::Deadline;
    use std::sync::atomic::{AtomicUsize, Ordering};

    static DESTROYED: AtomicUsize = AtomicUsize::new(0);

    unsafe extern "C-unwind" fn count(_: *mut c_void) {
        DESTROYED.fetch_add(1, Ordering::Relaxed);
    }

    /// Creates the tables of many threads without creating the threads.
    #[test]
    fn freeing_a_local_is_linear_in_its_values() {
        const MANY: usize = 30_000;
        // SAFETY: the destructor accepts any value.
        let local = unsafe { Handle::<Local>::new(Some(count)) }.unwrap();
        let mut tables = Vec::new();
        let take_own = || tls::with(|block| block.locals.take());
        let before = take_own();
        for _ in 0..MANY {
            // SAFETY: as above.
            unsafe {
                local.set(ptr::dangling_mut()).unwrap();
                local.set_attr(c"name", ptr::dangling_mut()).unwrap();
            }
            tables.push(take_own());
        }
        let begin = Deadline::now();
        local.free().unwrap();
        // It would take minutes if each value were searched for from the first table.
        assert!(Deadline::now() < begin.add_ns(60_000_000_000));
        assert_eq!(DESTROYED.load(Ordering::Relaxed), 2 * MANY);
        for table in tables {
            tls::with(|block| block.locals.set(table));
            free_current();
        }
        tls::with(|block| block.locals.set(before));
    }
}
