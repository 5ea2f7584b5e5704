//! The values that each thread has for each local.
//!
//! A thread's values lie in a table of its own, found through its per-thread block. A thread that frees a local
//! goes through the tables of all threads until the last that has met the local: twice, once to close the local
//! everywhere, and then to destroy its values.
//!
//! Destructors are called outside of any guard. Each value is stamped with the round of destruction in which
//! it was set: a round at the thread's end destroys older ones only.

use core::ffi::c_void;
use core::ptr;

use crate::error::Result;
pub(crate) use crate::local::table::{LocalShared, PendingDestroy, Table};
use crate::sync::fork_epoch::fork_epoch;
use crate::sync::mutex::{ForkReset, InternalMutex};
use crate::sys::libc_hooks::{DESTRUCTOR_ROUNDS, register_exit_hook};
use crate::sys::tls;

/// The tables of all threads.
struct Tables {
    first: *const Table,
}

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static TABLES: InternalMutex<Tables> = InternalMutex::new(Tables { first: ptr::null() });

// SAFETY: tables are reached under the guard, and leave the list before their memory is given back.
unsafe impl Send for Tables {}

impl ForkReset for Tables {
    fn reset_in_child(&mut self) {
        // `after_fork_in_child` resets the list.
    }
}

/// The calling thread's table, if it has one.
#[inline(always)]
fn current() -> Option<&'static Table> {
    let table = tls::locals() as *const Table;
    // SAFETY: the thread's own table lives as long as the thread, and is given back by the thread.
    unsafe { table.as_ref() }
}

/// As `get`, as far as it takes one look.
#[inline(always)]
pub(crate) fn get_fast(key: usize) -> Option<*mut c_void> {
    current()?.get_fast(key)
}

/// The calling thread's value for a local with this key, if the local has been met here.
pub(crate) fn get(key: usize) -> Option<*mut c_void> {
    current()?.get(key)
}

/// The calling thread's table, made if need be.
pub(crate) fn current_or_create() -> Result<&'static Table> {
    if let Some(table) = current() {
        return Ok(table);
    }
    register_exit_hook()?;
    let table = Table::try_new()?;
    let mut tables = TABLES.lock();
    table.next.set(tables.first);
    // SAFETY: tables in the list are valid.
    if let Some(first) = unsafe { tables.first.as_ref() } {
        first.previous.set(table);
    }
    tables.first = table;
    tls::with(|block| block.locals.set(ptr::from_ref(table) as usize));
    Ok(table)
}

/// Destroys what the calling thread has, but for what is set meanwhile. False if there was nothing.
pub(crate) fn destroy_round() -> bool {
    let Some(table) = current() else { return false };
    table.begin_round();
    let mut any = false;
    loop {
        let mut at = 0;
        let mut found = false;
        while let Some(pending) = table.take_older(&mut at) {
            found = true;
            pending.run();
        }
        // A destructor that meets new locals may have moved the cells under the search.
        if !found {
            return any;
        }
        any = true;
    }
}

/// Destroys all that the calling thread has, in as many rounds as there are. Its timers' functions end so,
/// and main.
pub(crate) fn destroy_all() {
    for _ in 0..DESTRUCTOR_ROUNDS {
        if !destroy_round() {
            return;
        }
    }
}

/// Gives the calling thread's table back, when it ends, or when the timer whose function it ran does.
pub(crate) fn free_current() {
    let table = tls::with(|block| block.locals.take()) as *mut Table;
    // SAFETY: created by `current_or_create`, and in the list until it is freed.
    let Some(ended) = (unsafe { table.as_ref() }) else { return };
    ended.clear();
    let mut tables = TABLES.lock();
    let must_free = tables.release_by_owner(ended);
    drop(tables);
    if must_free {
        // SAFETY: it is in no list any more.
        unsafe { Table::free(table) };
    }
}

/// What a local leaves to be destroyed when it has been closed.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Leftover {
    Nothing,
    /// Values of the calling thread.
    Own,
    /// Values of any threads.
    Any,
}

/// Closes a local that is gone: no thread finds its value any more. Done once, under the guard, so that a second
/// thread waits; `None` for that one. Takes time linear in the number of tables, or none where the local was
/// met in none, or in the calling thread's alone.
pub(crate) fn close_local(
    key: usize,
    shared: &LocalShared,
    is_closing: impl FnOnce() -> bool,
    set_closed: impl FnOnce(),
) -> Option<Leftover> {
    let tables = TABLES.lock();
    if !is_closing() {
        return None;
    }
    let mut left = Leftover::Nothing;
    let own_table = current().filter(|_| !shared.has_no_cells());
    if own_table.is_some_and(|table| table.tombstone(key)) {
        left = Leftover::Own;
    }
    // A table that is made from now on belongs to a thread that finds the local gone.
    for table in tables.iter() {
        if shared.has_no_cells() {
            break;
        }
        if table.tombstone(key) {
            left = Leftover::Any;
        }
    }
    set_closed();
    drop(tables);
    own_table.inspect(|table| table.shrink());
    Some(left)
}

/// Destroys the values and attributes of a local that is gone and closed, those of all threads or the calling one's.
pub(crate) fn destroy_local(key: usize, left: Leftover) {
    match left {
        Leftover::Nothing => {}
        Leftover::Own => {
            while let Some(pending) = current().and_then(|block| block.take_freed(key)) {
                pending.run();
            }
        }
        Leftover::Any => {
            let mut cursor = DestroyCursor { key, at: None, started: false, epoch: fork_epoch() };
            // Bound before it is paid: the guard must be free by then.
            while let Some(pending) = cursor.next() {
                pending.run();
            }
        }
    }
    current().inspect(|block| block.shrink());
}

/// The way of a thread that destroys the values of a local, from table to table. While a destructor runs, no guard is
/// held; the table where the cursor stands then stays in the list, even if its owner ends.
struct DestroyCursor {
    key: usize,
    at: Option<&'static Table>,
    started: bool,
    /// The number of forks when it last went on: in a child, where the destructor has forked, it knows no table.
    epoch: u32,
}

impl DestroyCursor {
    fn next(&mut self) -> Option<PendingDestroy> {
        let mut tables = TABLES.lock();
        let is_child = self.epoch != fork_epoch();
        let from = self.at.take().filter(|_| !is_child);
        let mut at = if self.started && !is_child { from } else { tables.first() };
        (self.started, self.epoch) = (true, fork_epoch());
        let mut pending = None;
        while let Some(table) = at {
            pending = table.take_freed(self.key);
            if pending.is_some() {
                table.visitors.set(table.visitors.get() + 1);
                break;
            }
            // SAFETY: tables in the list are valid.
            at = unsafe { table.next.get().as_ref() };
        }
        self.at = at;
        let to_free = from.filter(|from| tables.end_visit(from));
        drop(tables);
        if let Some(table) = to_free {
            // SAFETY: its owner has ended, and it is in no list any more.
            unsafe { Table::free(ptr::from_ref(table).cast_mut()) };
        }
        pending
    }
}

impl Tables {
    /// The first table; valid as long as it is in the list.
    fn first(&self) -> Option<&'static Table> {
        // SAFETY: tables in the list are valid.
        unsafe { self.first.as_ref() }
    }

    fn iter(&self) -> impl Iterator<Item = &Table> {
        let mut at = self.first();
        core::iter::from_fn(move || {
            let table = at?;
            // SAFETY: tables in the list are valid.
            at = unsafe { table.next.get().as_ref() };
            Some(table)
        })
    }

    /// A visit of a table has ended. True if the table has been removed from the list and must be freed.
    fn end_visit(&mut self, table: &Table) -> bool {
        table.visitors.set(table.visitors.get() - 1);
        table.owner_exited.get() && self.try_remove(table)
    }

    /// The owner of a table has ended. As `leave`.
    fn release_by_owner(&mut self, table: &Table) -> bool {
        table.owner_exited.set(true);
        self.try_remove(table)
    }

    fn try_remove(&mut self, table: &Table) -> bool {
        if table.visitors.get() > 0 {
            return false;
        }
        // SAFETY: tables in the list are valid; the neighbours change under the guard.
        unsafe {
            match table.previous.get().as_ref() {
                Some(previous) => previous.next.set(table.next.get()),
                None => self.first = table.next.get(),
            }
            if let Some(next) = table.next.get().as_ref() {
                next.previous.set(table.previous.get());
            }
        }
        true
    }
}

/// Before each run of a model.
#[cfg(model)]
pub(crate) fn reset() {
    TABLES.lock().first = ptr::null();
}

/// Holds the tables across a fork.
pub(crate) fn lock_for_fork() {
    TABLES.lock_for_fork();
}

/// Gives back what `hold` took.
///
/// # Safety
/// As for `InternalMutex::let_go`.
pub(crate) unsafe fn unlock_after_fork() {
    // SAFETY: the caller's promise.
    unsafe { TABLES.unlock_after_fork() };
}

/// As `let_go`, in a child of fork.
///
/// # Safety
/// As for `InternalMutex::reinit_in_child`.
pub(crate) unsafe fn reinit_in_child() {
    // SAFETY: the caller's promise.
    unsafe { TABLES.reinit_in_child() };
}

/// In a child of fork: the values of the others are left alone, and out of reach.
pub(crate) fn after_fork_in_child() {
    let own_table = current();
    TABLES.lock().first = own_table.map_or(ptr::null(), ptr::from_ref);
    if let Some(table) = own_table {
        table.next.set(ptr::null());
        table.previous.set(ptr::null());
        // Neither its own walks, which know that they are in a child, nor those of the parent's other threads.
        table.visitors.set(0);
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

    /// As many tables as threads that do not end would have.
    #[test]
    fn freeing_a_local_is_linear_in_its_values() {
        const MANY: usize = 30_000;
        // SAFETY: the destructor takes anything.
        let local = unsafe { Handle::<Local>::new(Some(count)) }.unwrap();
        let mut tables = Vec::new();
        let own = || tls::with(|block| block.locals.take());
        let before = own();
        for _ in 0..MANY {
            // SAFETY: as above.
            unsafe {
                local.set(ptr::dangling_mut()).unwrap();
                local.set_attr(c"name", ptr::dangling_mut()).unwrap();
            }
            tables.push(own());
        }
        let begin = Deadline::now();
        local.free().unwrap();
        // Minutes, if each value were searched for from the first table.
        assert!(Deadline::now() < begin.add_ns(60_000_000_000));
        assert_eq!(DESTROYED.load(Ordering::Relaxed), 2 * MANY);
        for table in tables {
            tls::with(|block| block.locals.set(table));
            free_current();
        }
        tls::with(|block| block.locals.set(before));
    }
}
