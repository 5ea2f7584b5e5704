//! The values and attributes of one thread. Its owner uses them most of the time, and threads that free a local rarely,
//! as *guests* (`sync::biased_mutex`). Only the owner reads keys and values without excluding guests, and only the
//! owner replaces the memory of the cells.

use core::cell::Cell;
use core::ffi::{CStr, c_void};
use core::ptr;

use crate::error::{Error, Result};
use crate::local::attributes::{Attributes, LazyAttributes};
use crate::local::cells::{Cells, OwnerView, ValueCell};
use crate::local::hash::hash_of;
use crate::local::pending_destroy::PendingDestroy;
use crate::local::shared::LocalShared;
use crate::sync::biased_mutex::{BiasedMutex, OwnerGuard};
use crate::sync::list::{Linked, Links};
use crate::sync::mutex::ForkReset;
use crate::sys;
use crate::sys::annotate::malloc;
use crate::sys::atomic::{Ordering, fence_after_rmw};

/// The values and attributes of one thread. The methods are called by the owner, except those whose comments say that
/// a guest calls them.
#[repr(C)]
pub(crate) struct Table {
    /// The cells of `inner`. First, because every lookup reads it.
    view: OwnerView,
    inner: BiasedMutex<TableInner>,
    /// The neighbours in the list of all tables. These, `visitors` and `owner_exited` are protected by the mutex of
    /// that list.
    links: Links<Table>,
    /// The number of threads that destroy the values of a freed local, and have the cursor at this table.
    pub(crate) visitors: Cell<u32>,
    /// The owner has exited: the last visitor frees the table.
    pub(crate) owner_exited: Cell<bool>,
    /// How often the owner has called `set`.
    sets: Cell<u32>,
}

impl Linked for Table {
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

struct TableInner {
    cells: Cells,
    /// The number of destructor rounds that have begun.
    round: u32,
    attributes: LazyAttributes,
}

// SAFETY: the pointers lead to memory that the table owns, or to the slots of locals.
unsafe impl Send for TableInner {}

impl ForkReset for TableInner {
    fn reset_in_child(&mut self) {
        // The thread that forked keeps its values. The child cannot reach the tables of the parent's other threads.
    }

    fn reset_interrupted_change(&mut self) {
        // Another thread was freeing a local, and was removing values or attributes of the thread that forked. The
        // index of attributes may be inconsistent. A cell needs no repair: whatever `Cells::take` and
        // `Cells::tombstone` have stored so far, a cell that can be reused has no value.
        self.attributes.leak();
    }
}

impl Table {
    /// Allocates an empty table.
    pub(crate) fn try_new() -> Result<&'static Table> {
        let inner = TableInner { cells: Cells::try_new()?, round: 0, attributes: LazyAttributes::NONE };
        // SAFETY: malloc's memory is aligned for a Table and large enough, and written before it is used.
        let table = unsafe {
            let table: *mut Table = malloc(size_of::<Table>()).cast();
            if table.is_null() {
                return Err(Error::NoMemory);
            }
            table.write(Table {
                view: OwnerView::new(),
                inner: BiasedMutex::new(inner),
                links: Links::default(),
                visitors: Cell::new(0),
                owner_exited: Cell::new(false),
                sets: Cell::new(0),
            });
            &*table
        };
        table.set_view(&table.lock());
        Ok(table)
    }

    /// Frees the table's memory.
    ///
    /// # Safety
    /// `try_new` allocated it, and no thread uses or finds it any more.
    pub(crate) unsafe fn free(table: *mut Table) {
        // SAFETY: guaranteed by the caller.
        unsafe {
            ptr::drop_in_place(table);
            sys::free(table.cast());
        }
    }

    /// The owner reads the cells of `inner` from now on.
    fn set_view(&self, inner: &TableInner) {
        // SAFETY: `inner` keeps its cells until a rehash, and each caller of `rehash` calls this after it.
        unsafe { self.view.set(&inner.cells) };
    }

    /// Returns the value for the local with this key, if its cell is the first of the probe sequence.
    #[inline(always)]
    pub(crate) fn get_fast(&self, key: usize) -> Option<*mut c_void> {
        self.view.get_fast(key)
    }

    /// Returns the value for the local with this key, or NULL. `None` if the local has no cell here.
    pub(crate) fn get(&self, key: usize) -> Option<*mut c_void> {
        self.view.get(key)
    }

    /// Sets the value for the local with this key, if its cell is the first of the probe sequence, has a value from
    /// this destructor round, and no value must be destroyed. Otherwise changes nothing, and returns false.
    ///
    /// A cell with the key needs no check whether the local is alive: the thread that frees it will find the new value.
    #[inline(always)]
    pub(crate) fn set_fast(&self, key: usize, value: *mut c_void) -> bool {
        self.bypass(|inner| self.view.first_cell(key).set_fast(key, value, inner.round)).is_some()
    }

    /// As `set_fast`, for an attribute.
    #[inline(always)]
    pub(crate) fn set_attribute_fast(&self, key: usize, name: &CStr, value: *mut c_void) -> bool {
        let hash = hash_of(key, name);
        let set = |inner: &TableInner| {
            let attributes = inner.attributes_of(self.view.first_cell(key), key)?;
            attributes.set_hashed(hash, key, name, value, inner.round)
        };
        self.bypass(set).is_some()
    }

    /// Returns the attribute of this name, if the local's cell is the first of the probe sequence. `None` does not mean
    /// that there is no such attribute.
    #[inline(always)]
    pub(crate) fn attribute_fast(&self, key: usize, name: &CStr) -> Option<*mut c_void> {
        let hash = hash_of(key, name);
        let get = |inner: &TableInner| {
            inner.attributes_of(self.view.first_cell(key), key)?.get_hashed(hash, key, name)
        };
        self.bypass(get)
    }

    /// As `BiasedMutex::bypass`.
    #[inline(always)]
    fn bypass<R>(&self, f: impl FnOnce(&TableInner) -> Option<R>) -> Option<R> {
        // SAFETY: the caller is the owner, and no method calls this while it has a guard.
        unsafe { self.inner.bypass(f) }
    }

    /// Excludes guests.
    #[inline(always)]
    fn lock(&self) -> OwnerGuard<'_, TableInner> {
        // SAFETY: the caller is the owner, and no method has two guards.
        unsafe { self.inner.lock_by_owner() }
    }

    /// Excludes guests, and shrinks the table if it has become too large.
    #[inline(always)]
    fn lock_and_shrink(&self) -> OwnerGuard<'_, TableInner> {
        let mut inner = self.lock();
        if inner.cells.is_too_large() {
            self.resize(&mut inner);
        }
        inner
    }

    /// Shrinks the table if frees of locals have left it too large.
    pub(crate) fn shrink(&self) {
        drop(self.lock_and_shrink());
    }

    #[cold]
    fn resize(&self, inner: &mut TableInner) {
        // If no memory is available for a smaller table, it keeps its size.
        if inner.cells.rehash().is_ok() {
            self.set_view(inner);
        }
    }

    /// Called by a thread that will be a guest. It holds the mutex of the list of tables, and executes the heavy fence,
    /// once for all tables, before it calls another method.
    pub(crate) fn announce_guest(&self) {
        self.inner.announce_guest();
    }

    /// Ends what `announce_guest` has begun. The caller holds the mutex of the list of tables.
    pub(crate) fn dismiss_guest(&self) {
        self.inner.dismiss_guest();
    }

    /// In a child of fork: discards the guests, which were threads of the parent, and what one of them was changing.
    pub(crate) fn after_fork_in_child(&self) {
        self.inner.after_fork_in_child();
    }

    /// Begins a new destructor round.
    pub(crate) fn begin_round(&self) {
        let mut inner = self.lock_and_shrink();
        inner.round += 1;
        if let Some(attributes) = inner.attributes.get_mut() {
            attributes.begin_round();
        }
    }

    /// Takes a value or an attribute that was set before this round. `at` is the cell at which the search for values
    /// continues.
    pub(crate) fn take_older(&self, at: &mut usize) -> Option<PendingDestroy> {
        let mut inner = self.lock();
        let round = inner.round;
        if let Some(pending) = inner.cells.take_older(at, round) {
            return Some(pending);
        }
        inner.attributes.get_mut()?.take_older(round)
    }

    /// Called by a guest: changes the cell of a freed local to a tombstone, so that the owner finds no value any more.
    /// Returns true if a value or an attribute of the local is still to be destroyed here.
    pub(crate) fn tombstone(&self, key: usize) -> bool {
        self.inner.lock_by_guest().tombstone(key)
    }

    /// As `tombstone`, called by the owner.
    pub(crate) fn tombstone_own(&self, key: usize) -> bool {
        self.lock().tombstone(key)
    }

    /// Called by a guest: takes a value or an attribute of a local that was freed and closed.
    pub(crate) fn take_freed(&self, key: usize) -> Option<PendingDestroy> {
        self.inner.lock_by_guest().take_freed(key)
    }

    /// As `take_freed`, called by the owner.
    pub(crate) fn take_own_freed(&self, key: usize) -> Option<PendingDestroy> {
        self.lock().take_freed(key)
    }

    /// Called when the owner exits, or the timer whose function it runs has finished: removes all values and
    /// attributes, without destroying them.
    pub(crate) fn clear(&self) {
        let mut inner = self.lock();
        inner.cells.clear();
        inner.attributes = LazyAttributes::NONE;
    }

    /// Adds a cell for a local. Returns false if there was one. The caller must check afterwards that the local is
    /// still alive.
    pub(crate) fn add_cell(&self, key: usize, shared: &'static LocalShared) -> Result<bool> {
        let mut inner = self.lock_and_shrink();
        if inner.cells.find(key).is_some() {
            return Ok(false);
        }
        let at = match inner.cells.find_insert_cell(key) {
            Some(at) => at,
            None => {
                inner.cells.rehash()?;
                self.set_view(&inner);
                inner.cells.find_insert_cell(key).ok_or(Error::Internal)?
            }
        };
        shared.cell_count.fetch_add(1, Ordering::Relaxed);
        inner.cells.insert(at, key, shared);
        drop(inner);
        // See `LocalShared::has_no_cells`.
        fence_after_rmw();
        Ok(true)
    }

    /// Undoes `add_cell`.
    pub(crate) fn remove_cell(&self, key: usize) {
        let inner = self.lock();
        if let Some(cell) = inner.cells.find(key) {
            inner.cells.tombstone(cell);
        }
    }

    /// Returns the value, if there is one.
    pub(crate) fn lookup(&self, key: usize) -> Option<*mut c_void> {
        let inner = self.lock_and_shrink();
        let cell = inner.cells.find(key)?;
        cell.has_value().then(|| cell.value())
    }

    /// Returns how often `set` has been called. The first value of a local's cell is always set by it.
    pub(crate) fn sets(&self) -> u32 {
        self.sets.get()
    }

    /// Sets the value for a local that has a cell. Returns the former value, to be destroyed. `None` if the local was
    /// freed.
    pub(crate) fn set(&self, key: usize, value: *mut c_void) -> Option<PendingDestroy> {
        self.sets.set(self.sets.get().wrapping_add(1));
        let inner = self.lock_and_shrink();
        let cell = inner.cells.find(key)?;
        Some(inner.cells.set(cell, value, inner.round))
    }

    /// Takes the value. `None` if there is none.
    pub(crate) fn take(&self, key: usize) -> Option<PendingDestroy> {
        let inner = self.lock_and_shrink();
        inner.cells.find(key).filter(|cell| cell.has_value()).map(|cell| inner.cells.take(cell))
    }

    /// As `set`, for an attribute.
    pub(crate) fn set_attribute(
        &self,
        key: usize,
        name: &CStr,
        value: *mut c_void,
    ) -> Result<Option<PendingDestroy>> {
        let mut inner = self.lock_and_shrink();
        let Some(destroy) = inner.cells.find(key).map(ValueCell::destructor) else { return Ok(None) };
        let round = inner.round;
        let former = inner.attributes.get_or_create()?.set(key, name, value, round, destroy)?;
        Ok(Some(match former {
            Some(former) if former != value => PendingDestroy { value: former, destroy },
            _ => PendingDestroy::NONE,
        }))
    }

    /// Returns the attribute of this name.
    pub(crate) fn attribute(&self, key: usize, name: &CStr) -> Option<*mut c_void> {
        self.lock_and_shrink().attributes.get()?.get(key, name)
    }

    /// Takes the attribute of this name.
    pub(crate) fn take_attribute(&self, key: usize, name: &CStr) -> Option<PendingDestroy> {
        self.lock_and_shrink().attributes.get_mut()?.take(key, name)
    }
}

impl TableInner {
    /// See `Table::tombstone`.
    fn tombstone(&self, key: usize) -> bool {
        let Some(cell) = self.cells.find(key) else { return false };
        let has_value = cell.has_value();
        self.cells.tombstone(cell);
        has_value || self.attributes.get().is_some_and(|attributes| attributes.has_any(key))
    }

    /// See `Table::take_freed`.
    fn take_freed(&mut self, key: usize) -> Option<PendingDestroy> {
        match self.cells.find_tombstone(key) {
            Some(cell) => Some(self.cells.take(cell)),
            None => self.attributes.get_mut()?.take_first(key),
        }
    }

    /// Returns the attributes, if the cell is that of this local: the attributes of a freed local are not found.
    #[inline(always)]
    fn attributes_of(&self, cell: &ValueCell, key: usize) -> Option<&Attributes> {
        if cell.has_key(key) { self.attributes.get() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::cells::{MIN_CELLS, is_handle};

    fn shared() -> &'static LocalShared {
        Box::leak(Box::default())
    }

    fn cells(table: &Table) -> usize {
        table.lock().cells.len()
    }

    fn free(table: &'static Table) {
        // SAFETY: only the test uses the table.
        unsafe { Table::free(ptr::from_ref(table).cast_mut()) };
    }

    fn value(of: usize) -> *mut c_void {
        ptr::without_provenance_mut(of)
    }

    #[test]
    fn table_shrinks_after_its_locals_are_freed() {
        const MANY: usize = 100_000;
        let (table, shared) = (Table::try_new().unwrap(), shared());
        let keys = || (2..MANY + 2).map(|number| number * 64 + 1);
        let last = (MANY + 1) * 64 + 1;
        for key in keys() {
            assert!(table.add_cell(key, shared).unwrap());
            assert!(table.set(key, value(key)).is_some());
        }
        assert!(cells(table) >= MANY && cells(table) <= 4 * MANY);
        assert_eq!(shared.cell_count.load(Ordering::Relaxed), MANY);
        for key in keys().take(MANY - 1) {
            assert!(table.tombstone_own(key));
            assert_eq!(table.get(key), None);
            assert_eq!(table.take_own_freed(key).map(|pending| pending.value), Some(value(key)));
            assert!(table.take_own_freed(key).is_none());
        }
        assert_eq!(table.get(last), Some(value(last)));
        table.shrink();
        assert_eq!(cells(table), MIN_CELLS);
        assert_eq!(table.get(last), Some(value(last)));
        assert_eq!(shared.cell_count.load(Ordering::Relaxed), 1);
        table.clear();
        assert!(shared.has_no_cells());
        free(table);
    }

    #[test]
    fn tombstones_are_reused_by_new_keys() {
        let (table, shared) = (Table::try_new().unwrap(), shared());
        // Where `usize` has 32 bits, the keys repeat after this number of generations.
        const DISTINCT: usize = usize::MAX / (4096 * 64);
        for generation in 1..100_000 {
            let key = 64 * (generation % 3 + 1) + (1 + generation % DISTINCT) * 4096 * 64;
            assert!(table.add_cell(key, shared).unwrap());
            assert_eq!(table.get(key), Some(ptr::null_mut()));
            assert!(!table.tombstone_own(key));
            assert!(cells(table) == MIN_CELLS);
        }
        table.clear();
        free(table);
    }

    /// Keys with the same low bits, like those of locals at the same position in their blocks.
    #[test]
    fn probing_is_short_for_handles_with_common_bits() {
        const MANY: usize = 20_000;
        let mut strides = vec![64, 64 * 1024, (1 << 30) + (1 << 16)];
        if usize::BITS == 64 {
            strides.extend([1 << 20, 64 + (1_u64 << 40) as usize]); // with 32 bits, multiples of these would be equal
        }
        for stride in strides {
            let (table, shared) = (Table::try_new().unwrap(), shared());
            let keys =
                || (1..=MANY).map(|number| number.wrapping_mul(stride) | 1).filter(|&key| is_handle(key));
            for key in keys() {
                assert!(table.add_cell(key, shared).unwrap());
                let _ = table.set(key, value(key));
            }
            let inner = table.lock();
            let mut probes: usize = keys().map(|key| inner.cells.probe_count(key)).sum();
            assert!(probes < 4 * MANY, "{probes} probes for {MANY} handles {stride} apart");
            // The same for handles that are not in the table.
            probes +=
                keys().map(|key| inner.cells.probe_count(key.wrapping_add(MANY * stride))).sum::<usize>();
            drop(inner);
            assert!(
                probes < 12 * MANY,
                "{probes} probes for {MANY} handles {stride} apart, and as many others"
            );
            keys().for_each(|key| assert_eq!(table.get(key), Some(value(key))));
            table.clear();
            free(table);
        }
    }

    #[test]
    fn a_tombstone_value_survives_a_rehash() {
        let (table, shared) = (Table::try_new().unwrap(), shared());
        let (closed, first) = (64 * 5 + 1, 64 * 8 + 1);
        for key in [closed, first] {
            assert!(table.add_cell(key, shared).unwrap());
            let _ = table.set(key, value(key));
            assert!(table.tombstone_own(key));
        }
        for number in 100..1000 {
            assert!(table.add_cell(number * 64 + 1, shared).unwrap());
        }
        for key in [closed, first] {
            assert_eq!(table.get(key), None);
            assert_eq!(table.take_own_freed(key).map(|pending| pending.value), Some(value(key)));
        }
        table.clear();
        free(table);
    }
}
