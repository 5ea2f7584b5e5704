//! The values that each thread has for each local.
//!
//! A thread's values lie in a table of its own, found through its per-thread block. Whoever frees a local
//! goes through the tables of all threads.
//!
//! Destructors are called outside of any guard. Each value is stamped with the round of destruction in which
//! it was set: a round at the thread's end destroys older ones only.

use core::ffi::c_void;
use core::ptr;

use super::end;
pub(crate) use super::table::{Owed, Table};
use crate::error::Result;
use crate::park::guarded::{Forget, Guarded};
use crate::per_thread;

/// How many rounds of destruction a thread's end has; what is set after them is forgotten.
pub(crate) const ROUNDS: u32 = 4;

/// The tables of all threads.
struct Tables {
    first: *const Table,
}

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_own"))]
static TABLES: Guarded<Tables> = Guarded::new(Tables { first: ptr::null() });

// SAFETY: tables are reached under the guard, and leave the list before their memory is given back.
unsafe impl Send for Tables {}

impl Forget for Tables {
    fn forget(&mut self) {
        // `begin_child` resets the list.
    }
}

/// The calling thread's table, if it has one.
#[inline(always)]
fn known() -> Option<&'static Table> {
    let table = per_thread::locals() as *const Table;
    // SAFETY: the thread's own table lives as long as the thread, and is given back by the thread.
    unsafe { table.as_ref() }
}

/// As `get`, as far as it takes one look.
#[inline(always)]
pub(crate) fn get_at_once(key: usize) -> Option<*mut c_void> {
    known()?.get_at_once(key)
}

/// The calling thread's value for a local with this key, if the local has been met here.
pub(crate) fn get(key: usize) -> Option<*mut c_void> {
    known()?.get(key)
}

/// The calling thread's table, made if need be.
pub(crate) fn mine() -> Result<&'static Table> {
    if let Some(table) = known() {
        return Ok(table);
    }
    end::arm()?;
    let table = Table::make()?;
    let mut tables = TABLES.lock();
    table.next.set(tables.first);
    // SAFETY: tables in the list are valid.
    if let Some(first) = unsafe { tables.first.as_ref() } {
        first.previous.set(table);
    }
    tables.first = table;
    per_thread::with(|mine| mine.locals.set(ptr::from_ref(table) as usize));
    Ok(table)
}

/// Destroys what the calling thread has, but for what is set meanwhile. False if there was nothing.
pub(crate) fn destroy_round() -> bool {
    let Some(table) = known() else { return false };
    table.begin_round();
    let mut any = false;
    loop {
        let mut at = 0;
        let mut found = false;
        while let Some(owed) = table.take_older(&mut at) {
            found = true;
            owed.pay();
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
    for _ in 0..ROUNDS {
        if !destroy_round() {
            return;
        }
    }
}

/// Gives the calling thread's table back, when it ends, or when the timer whose function it ran does.
pub(crate) fn give_back() {
    let table = per_thread::with(|mine| mine.locals.take()) as *mut Table;
    if table.is_null() {
        return;
    }
    let mut tables = TABLES.lock();
    // SAFETY: tables in the list are valid; the neighbours change under the guard.
    unsafe {
        match (*table).previous.get().as_ref() {
            Some(previous) => previous.next.set((*table).next.get()),
            None => tables.first = (*table).next.get(),
        }
        if let Some(next) = (*table).next.get().as_ref() {
            next.previous.set((*table).previous.get());
        }
    }
    drop(tables);
    // SAFETY: made by `mine`; nobody finds it any more.
    unsafe { Table::unmake(table) };
}

/// Closes a local that is gone: no thread finds its value any more. Done once, under the guard, so that whoever
/// comes second waits.
pub(crate) fn close_local(key: usize, is_open: impl FnOnce() -> bool, closed: impl FnOnce()) {
    let tables = TABLES.lock();
    if is_open() {
        tables.iter().for_each(|table| table.close(key));
        closed();
    }
}

/// Destroys the values and attributes of a local that is gone and closed, those of all threads.
pub(crate) fn destroy_local(key: usize) {
    loop {
        // Bound before it is paid: the guard must be free by then.
        let owed = TABLES.lock().take(key);
        let Some(owed) = owed else { break };
        owed.pay();
    }
}

impl Tables {
    fn iter(&self) -> impl Iterator<Item = &Table> {
        // SAFETY: tables in the list are valid.
        let mut at = unsafe { self.first.as_ref() };
        core::iter::from_fn(move || {
            let table = at?;
            // SAFETY: as above.
            at = unsafe { table.next.get().as_ref() };
            Some(table)
        })
    }

    fn take(&self, key: usize) -> Option<Owed> {
        self.iter().find_map(|table| table.take_gone(key))
    }
}

/// Before each run of a model.
#[cfg(model)]
pub(super) fn reset() {
    TABLES.lock().first = ptr::null();
}

/// Holds the tables across a fork.
pub(crate) fn hold() {
    TABLES.hold();
}

/// Gives back what `hold` took.
///
/// # Safety
/// As for `Guarded::let_go`.
pub(crate) unsafe fn let_go() {
    // SAFETY: the caller's promise.
    unsafe { TABLES.let_go() };
}

/// As `let_go`, in a child of fork.
///
/// # Safety
/// As for `Guarded::renew`.
pub(crate) unsafe fn renew() {
    // SAFETY: the caller's promise.
    unsafe { TABLES.renew() };
}

/// In a child of fork: the values of the others are left alone, and out of reach.
pub(crate) fn begin_child() {
    let mine = known();
    TABLES.lock().first = mine.map_or(ptr::null(), ptr::from_ref);
    if let Some(mine) = mine {
        mine.next.set(ptr::null());
        mine.previous.set(ptr::null());
    }
}
