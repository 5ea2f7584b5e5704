//! The table in which one thread has its values: open-addressed, keyed by the whole handle of the local, so
//! that a hit needs no further check. The owner alone reads it without the guard, and alone replaces its
//! memory; everything else, by whomever, is done under the guard.
//!
//! # A cell
//!
//! | key | state | value | meaning |
//! |---|---|---|---|
//! | `EMPTY` | 0 | | free; ends a search |
//! | a handle | a stamp | the value | this thread has a value, set in the round of the stamp |
//! | a handle | 0 | NULL | it has none, but the local has been met here: its init has run |
//! | `TOMBSTONE` | a handle | the value | the local with this handle was freed, and the value is still to be destroyed |
//! | `TOMBSTONE` | 0 | NULL | the local was freed; a search goes on, and a new key may take the cell |
//!
//! In the first cell, each mark is larger by `FIRST_CELL_BIAS`. So no cell holds a mark whose own search would begin
//! there, and the first look takes no mark for a local, whatever it is asked for.
//!
//! A new key is published with release after the inner; the owner's reads are of its own writes, but for `TOMBSTONE`
//! and the NULL beside it.
//!
//! # Searches
//!
//! A search begins at the cell that the low bits of the address choose, where locals that were made one after the
//! other lie side by side. If another key has that cell, it goes on at one that depends on all bits of the handle, and
//! from there in steps that do so, too (double hashing): from cell to cell, it would go through all those side by side.
//! So it takes constant time on average, whatever the handles have in common.
//!
//! # Size
//!
//! At most three quarters of the cells are not `EMPTY`. What makes room leaves those behind that are gone, and chooses
//! a size between two and four times what is needed; so does the owner when less than an eighth is. Each change of the
//! size comes after a number of calls that is proportional to it.

use crate::sys::atomic::{AtomicPtr, AtomicUsize, Ordering, fence};
use core::cell::Cell;
use core::ffi::{CStr, c_void};
use core::ptr;

use crate::callbacks::Destructor;
use crate::error::{Error, Result};
use crate::local::attributes::{Attributes, RemovedAttribute, hash_of_handle};
use crate::sync::mutex::{ForkReset, InternalMutex, InternalMutexGuard};
use crate::sys;
use crate::sys::annotate::malloc;
use crate::sys::pthread;

const EMPTY: usize = 0;
const TOMBSTONE: usize = 1;
/// What the first cell adds to a mark: the search for it would begin at the second.
const FIRST_CELL_BIAS: usize = 64;

/// Whether a caller's number may be looked for: it is none of the marks.
fn is_handle(key: usize) -> bool {
    key > TOMBSTONE + FIRST_CELL_BIAS
}

fn is_empty(key: usize) -> bool {
    key & !FIRST_CELL_BIAS == EMPTY
}

fn is_tombstone(key: usize) -> bool {
    key & !FIRST_CELL_BIAS == TOMBSTONE
}

/// What the tables use of a local. It lies in the local's slot, which serves no other local as long as a cell of any
/// table has the handle, or a value that is still to be destroyed.
pub(crate) struct LocalShared {
    destroy: AtomicPtr<c_void>,
    /// How many cells of all tables have the local's handle as their key. Changed under the guard of the table. In a
    /// child of fork it may be more: those of the parent's other threads still count.
    cell_count: AtomicUsize,
}

impl LocalShared {
    /// When the local is made.
    pub(crate) fn set_destructor(&self, destroy: Option<Destructor>) {
        self.destroy
            .store(destroy.map_or(ptr::null_mut(), |destroy| destroy as *mut c_void), Ordering::Release);
    }

    fn destructor(&self) -> Option<Destructor> {
        let destroy = self.destroy.load(Ordering::Acquire);
        // SAFETY: `set_destructor` stored a `Destructor`, or NULL, which is None.
        unsafe { core::mem::transmute::<*mut c_void, Option<Destructor>>(destroy) }
    }

    /// Whether no table has met the local. Asked when its life has ended: a thread that meets it later finds that.
    pub(crate) fn has_no_cells(&self) -> bool {
        // Pairs with the fence in `add_cell`: either this sees its cell counted, or the thread there sees the end.
        fence(Ordering::SeqCst);
        self.cell_count.load(Ordering::Relaxed) == 0
    }
}

struct ValueCell {
    key: AtomicUsize,
    value: AtomicPtr<c_void>,
    /// The inner is used under the guard only.
    state: Cell<usize>,
    shared: Cell<Option<&'static LocalShared>>,
}

const CELL_SIZE: usize = 4 * size_of::<usize>();
const _: () = assert!(size_of::<ValueCell>() == CELL_SIZE);

/// The fewest cells of a table. Two at least: with one, the searches for all marks would begin there.
const MIN_CELLS: usize = 8;

/// The table of one thread.
pub(crate) struct Table {
    /// Read by the owner without the guard.
    cells: Cell<*const ValueCell>,
    mask: Cell<usize>,
    /// Where the last cell lies, in bytes; the mask of such places.
    last_offset: Cell<usize>,
    inner_lock: InternalMutex<TableInner>,
    /// Its neighbours among the tables of all threads, under their guard, as the next two.
    pub(crate) next: Cell<*const Table>,
    pub(crate) previous: Cell<*const Table>,
    /// How many threads that free a local are at this table.
    pub(crate) visitors: Cell<u32>,
    /// Its owner has ended: the last visitor frees it.
    pub(crate) owner_exited: Cell<bool>,
}

struct TableInner {
    cells: Vec<ValueCell>,
    /// Cells that are not free.
    used_cells: usize,
    /// Those of them that have a handle as their key, or a value to be destroyed.
    live_cells: Cell<usize>,
    /// Those of them that have a value.
    value_count: Cell<usize>,
    round: u32,
    /// Made by the first `set_attribute`.
    attributes: *mut Attributes,
}

// SAFETY: the pointers lead to what the table owns, or to locals' slots.
unsafe impl Send for TableInner {}

impl ForkReset for TableInner {
    fn reset_in_child(&mut self) {
        // Tables of threads that the child does not have are out of its reach.
    }

    fn reset_interrupted_change(&mut self) {
        // Another thread was freeing a local, and took an attribute of the thread that forked. The other attributes are
        // lost with the map; the cells change by single stores.
        self.attributes = ptr::null_mut();
    }
}

/// A value that has been taken out of a table, and is owed its destructor.
#[must_use]
pub(crate) struct PendingDestroy {
    value: *mut c_void,
    destroy: Option<Destructor>,
}

impl From<RemovedAttribute> for PendingDestroy {
    fn from((value, destroy): RemovedAttribute) -> PendingDestroy {
        PendingDestroy { value, destroy }
    }
}

impl PendingDestroy {
    const NONE: PendingDestroy = PendingDestroy { value: ptr::null_mut(), destroy: None };

    pub(crate) fn run(self) {
        if let Some(destroy) = self.destroy
            && !self.value.is_null()
        {
            // SAFETY: whoever made the local promised that its destructor takes its values.
            pthread::call_user(|| unsafe { destroy(self.value) });
        }
    }
}

/// Where the search for a key begins. Locals that were made one after the other lie side by side.
#[inline(always)]
fn probe_start(key: usize, mask: usize) -> usize {
    (key / 64) & mask
}

/// Where a search looks, one after the other. It ends at a free cell, of which there is always one.
struct ProbeSeq {
    key: usize,
    mask: usize,
    at: Option<usize>,
}

impl ProbeSeq {
    fn new(key: usize, mask: usize) -> Self {
        ProbeSeq { key, mask, at: None }
    }

    /// The first look is at the cell that the low bits choose.
    fn start(&self) -> usize {
        probe_start(self.key, self.mask)
    }

    fn next(&mut self) -> usize {
        let hash = hash_of_handle(self.key);
        // Odd, so that it comes by each of the cells, whose number is a power of two.
        let step = hash.rotate_right(usize::BITS / 2) | 1;
        let at = self.at.map_or(hash, |at| at.wrapping_add(step)) & self.mask;
        self.at = Some(at);
        at
    }

    /// The first cell that `ends` it.
    fn until(mut self, mut ends: impl FnMut(usize) -> bool) -> usize {
        let mut at = self.start();
        while !ends(at) {
            at = self.next();
        }
        at
    }
}

impl Table {
    /// An empty table, in memory of its own.
    pub(crate) fn try_new() -> Result<&'static Table> {
        let cells = TableInner::cells(MIN_CELLS)?;
        // SAFETY: malloc's memory is aligned for a Table and large enough, and written before it is used.
        unsafe {
            let table: *mut Table = malloc(size_of::<Table>()).cast();
            if table.is_null() {
                return Err(Error::NoMemory);
            }
            let inner = TableInner {
                cells,
                used_cells: 0,
                live_cells: Cell::new(0),
                value_count: Cell::new(0),
                round: 0,
                attributes: ptr::null_mut(),
            };
            table.write(Table {
                cells: Cell::new(ptr::null()),
                mask: Cell::new(0),
                last_offset: Cell::new(0),
                inner_lock: InternalMutex::new(inner),
                next: Cell::new(ptr::null()),
                previous: Cell::new(ptr::null()),
                visitors: Cell::new(0),
                owner_exited: Cell::new(false),
            });
            (*table).set_cells(&(*table).inner_lock.lock().cells);
            Ok(&*table)
        }
    }

    /// Gives the table's memory back.
    ///
    /// # Safety
    /// `make` made it, and nobody finds it any more.
    pub(crate) unsafe fn free(table: *mut Table) {
        // SAFETY: the caller's promise.
        unsafe {
            ptr::drop_in_place(table);
            sys::free(table.cast());
        }
    }

    /// From now on the owner reads these cells.
    fn set_cells(&self, cells: &[ValueCell]) {
        self.cells.set(cells.as_ptr());
        self.mask.set(cells.len() - 1);
        self.last_offset.set((cells.len() - 1) * CELL_SIZE);
    }

    /// The owner's value for a local with this key, if it lies where its search begins.
    #[inline(always)]
    pub(crate) fn get_fast(&self, key: usize) -> Option<*mut c_void> {
        // The place, in bytes: handles are 64 apart, and cells not so far.
        let at = (key / (64 / CELL_SIZE)) & self.last_offset.get();
        // SAFETY: masked to the table's size; the owner, who reads, is the one who replaces its memory.
        let cell = unsafe { &*self.cells.get().byte_add(at) };
        (cell.key.load(Ordering::Relaxed) == key).then(|| cell.value.load(Ordering::Relaxed))
    }

    /// The owner's value for a local with this key, if the local has been met.
    pub(crate) fn get(&self, key: usize) -> Option<*mut c_void> {
        if !is_handle(key) {
            return None;
        }
        // SAFETY: a search stays inside of the table's size; the owner, who reads, is the one who replaces its memory.
        let cell = |at| unsafe { &*self.cells.get().add(at) };
        let mut found = EMPTY;
        let at = ProbeSeq::new(key, self.mask.get()).until(|at| {
            found = cell(at).key.load(Ordering::Relaxed);
            found == key || is_empty(found)
        });
        (found == key).then(|| cell(at).value.load(Ordering::Relaxed))
    }

    /// The guard, taken by the owner, who then makes a table smaller that has become too large.
    #[inline(always)]
    fn lock_and_shrink(&self) -> InternalMutexGuard<'_, TableInner> {
        let mut inner = self.inner_lock.lock();
        if inner.is_too_large() {
            self.resize(&mut inner);
        }
        inner
    }

    /// By the owner: makes a table smaller that others have left too large by freeing locals.
    pub(crate) fn shrink(&self) {
        drop(self.lock_and_shrink());
    }

    #[cold]
    fn resize(&self, inner: &mut TableInner) {
        // Without memory for a smaller one, it stays as large as it is.
        if inner.rehash().is_ok() {
            self.set_cells(&inner.cells);
        }
    }

    /// A new round of destruction begins.
    pub(crate) fn begin_round(&self) {
        let mut inner = self.lock_and_shrink();
        inner.round += 1;
        if let Some(attributes) = inner.attributes() {
            attributes.begin_round();
        }
    }

    /// Something that was set before this round; the search for values goes on where it stopped.
    pub(crate) fn take_older(&self, at: &mut usize) -> Option<PendingDestroy> {
        self.inner_lock.lock().take_older(at)
    }

    /// The owner finds no value any more of a local that is gone. True if it leaves something to be destroyed here.
    pub(crate) fn tombstone(&self, key: usize) -> bool {
        let mut inner = self.inner_lock.lock();
        let Some(cell) = inner.find(key) else { return false };
        let has_value = cell.has_value();
        inner.tombstone_cell(cell);
        has_value || inner.attributes().is_some_and(|attributes| attributes.has_any(key))
    }

    /// Something of a local that is gone, and closed.
    pub(crate) fn take_freed(&self, key: usize) -> Option<PendingDestroy> {
        let mut inner = self.inner_lock.lock();
        match inner.find_tombstone(key) {
            Some(cell) => Some(inner.take(cell)),
            None => inner.attributes()?.take_first(key).map(PendingDestroy::from),
        }
    }

    /// The owner ends, or the timer whose function it ran: nothing is found here any more, and what is left is
    /// forgotten.
    pub(crate) fn clear(&self) {
        let mut inner = self.inner_lock.lock();
        for cell in &inner.cells {
            if is_handle(cell.key.load(Ordering::Relaxed)) {
                inner.tombstone_cell(cell);
            }
            if cell.has_value() {
                let _ = inner.take(cell);
            }
        }
        inner.drop_attributes();
    }

    /// Notes that this thread has met the local; true if it had not before. The owner's. The caller then looks whether
    /// the local lives.
    pub(crate) fn add_cell(&self, key: usize, shared: &'static LocalShared) -> Result<bool> {
        let mut inner = self.lock_and_shrink();
        if inner.find(key).is_some() {
            return Ok(false);
        }
        let at = match inner.find_insert_cell(key) {
            Some(at) => at,
            None => {
                inner.rehash()?;
                self.set_cells(&inner.cells);
                inner.find_insert_cell(key).ok_or(Error::Internal)?
            }
        };
        shared.cell_count.fetch_add(1, Ordering::Relaxed);
        inner.insert(at, key, shared);
        drop(inner);
        fence(Ordering::SeqCst);
        Ok(true)
    }

    /// Forgets a local that this thread has met while it was being freed.
    pub(crate) fn remove_cell(&self, key: usize) {
        let inner = self.inner_lock.lock();
        if let Some(cell) = inner.find(key) {
            inner.tombstone_cell(cell);
        }
    }

    /// This thread's value, if there is one.
    pub(crate) fn lookup(&self, key: usize) -> Option<*mut c_void> {
        let inner = self.lock_and_shrink();
        let cell = inner.find(key)?;
        cell.has_value().then(|| cell.value.load(Ordering::Relaxed))
    }

    /// Gives this thread a value for a local that it has met; the former one is owed its destructor. `None`
    /// if the local was freed.
    pub(crate) fn set(&self, key: usize, value: *mut c_void) -> Option<PendingDestroy> {
        let inner = self.lock_and_shrink();
        let cell = inner.find(key)?;
        let former = cell.value.load(Ordering::Relaxed);
        let same = cell.has_value() && former == value;
        if !cell.has_value() {
            inner.value_count.set(inner.value_count.get() + 1);
        }
        cell.state.set(stamp(inner.round));
        cell.value.store(value, Ordering::Relaxed);
        Some(if same {
            PendingDestroy::NONE
        } else {
            PendingDestroy { value: former, destroy: cell.destructor() }
        })
    }

    /// Takes this thread's value away. `None` if it has none.
    pub(crate) fn take(&self, key: usize) -> Option<PendingDestroy> {
        let inner = self.lock_and_shrink();
        inner.find(key).filter(|cell| cell.has_value()).map(|cell| inner.take(cell))
    }

    /// As `set`, for an attribute.
    pub(crate) fn set_attribute(
        &self,
        key: usize,
        name: &CStr,
        value: *mut c_void,
    ) -> Result<Option<PendingDestroy>> {
        let mut inner = self.lock_and_shrink();
        let Some(destroy) = inner.find(key).map(ValueCell::destructor) else { return Ok(None) };
        let round = inner.round;
        let former = inner.get_or_create_attributes()?.set(key, name, value, round, destroy)?;
        Ok(Some(match former {
            Some(former) if former != value => PendingDestroy { value: former, destroy },
            _ => PendingDestroy::NONE,
        }))
    }

    pub(crate) fn attribute(&self, key: usize, name: &CStr) -> Option<*mut c_void> {
        self.lock_and_shrink().attributes()?.get(key, name)
    }

    pub(crate) fn take_attribute(&self, key: usize, name: &CStr) -> Option<PendingDestroy> {
        self.lock_and_shrink().attributes()?.take(key, name).map(PendingDestroy::from)
    }
}

/// The state of a cell whose value was set in this round: not 0.
fn stamp(round: u32) -> usize {
    (round as usize) << 1 | 1
}

impl ValueCell {
    /// Under the guard.
    fn has_value(&self) -> bool {
        self.state.get() != 0
    }

    fn destructor(&self) -> Option<Destructor> {
        self.shared.get().and_then(LocalShared::destructor)
    }

    /// Whether it is more than a cell through which a search goes on. Under the guard.
    fn is_live(&self) -> bool {
        is_handle(self.key.load(Ordering::Relaxed)) || self.has_value()
    }
}

impl TableInner {
    fn cells(count: usize) -> Result<Vec<ValueCell>> {
        debug_assert!(count >= MIN_CELLS && count.is_power_of_two());
        let mut cells = Vec::new();
        cells.try_reserve_exact(count).map_err(|_| Error::NoMemory)?;
        cells.extend((0..count).map(|at| ValueCell {
            key: AtomicUsize::new(if at == 0 { EMPTY + FIRST_CELL_BIAS } else { EMPTY }),
            value: AtomicPtr::new(ptr::null_mut()),
            state: Cell::new(0),
            shared: Cell::new(None),
        }));
        Ok(cells)
    }

    fn attributes(&mut self) -> Option<&mut Attributes> {
        // SAFETY: `get_or_create_attributes` made it, and it is the table's own.
        unsafe { self.attributes.as_mut() }
    }

    fn get_or_create_attributes(&mut self) -> Result<&mut Attributes> {
        if self.attributes.is_null() {
            // SAFETY: malloc's memory is aligned and large enough, and written before it is used.
            unsafe {
                let attributes: *mut Attributes = malloc(size_of::<Attributes>()).cast();
                if attributes.is_null() {
                    return Err(Error::NoMemory);
                }
                attributes.write(Attributes::default());
                self.attributes = attributes;
            }
        }
        self.attributes().ok_or(Error::NoMemory)
    }

    fn drop_attributes(&mut self) {
        let attributes = core::mem::replace(&mut self.attributes, ptr::null_mut());
        if !attributes.is_null() {
            // SAFETY: `get_or_create_attributes` made it, and nothing leads to it any more.
            unsafe {
                ptr::drop_in_place(attributes);
                sys::free(attributes.cast());
            }
        }
    }

    /// Less than an eighth is needed.
    fn is_too_large(&self) -> bool {
        self.cells.len() > MIN_CELLS && self.live_cells.get() < self.cells.len() / 8
    }

    fn search(&self, key: usize) -> ProbeSeq {
        ProbeSeq::new(key, self.cells.len() - 1)
    }

    #[inline(always)]
    fn key(&self, at: usize) -> usize {
        self.cells[at].key.load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn find(&self, key: usize) -> Option<&ValueCell> {
        let at = self.search(key).until(|at| self.key(at) == key || is_empty(self.key(at)));
        Some(&self.cells[at]).filter(|_| self.key(at) == key)
    }

    /// Where the value of a local lies that is closed, and still to be destroyed.
    fn find_tombstone(&self, key: usize) -> Option<&ValueCell> {
        let is_it = |at: usize| is_tombstone(self.key(at)) && self.cells[at].state.get() == key;
        let at = self.search(key).until(|at| is_it(at) || is_empty(self.key(at)));
        Some(&self.cells[at]).filter(|_| is_it(at))
    }

    /// Where a key goes that is not there: to the first cell of its search that none needs. `None` if there has to be
    /// made room first.
    fn find_insert_cell(&self, key: usize) -> Option<usize> {
        let at = self.search(key).until(|at| !self.cells[at].is_live());
        let has_room = || (self.used_cells + 1) * 4 <= self.cells.len() * 3;
        Some(at).filter(|_| is_tombstone(self.key(at)) || has_room())
    }

    fn insert(&mut self, at: usize, key: usize, shared: &'static LocalShared) {
        self.used_cells += usize::from(is_empty(self.key(at)));
        self.live_cells.set(self.live_cells.get() + 1);
        let cell = &self.cells[at];
        cell.shared.set(Some(shared));
        cell.key.store(key, Ordering::Release);
    }

    /// The local of this cell is gone; its value, if there is one, is still to be destroyed.
    fn tombstone_cell(&self, cell: &ValueCell) {
        let key = self.set_tombstone(cell);
        if cell.has_value() {
            cell.state.set(key);
        } else {
            self.live_cells.set(self.live_cells.get() - 1);
        }
        if let Some(shared) = cell.shared.get() {
            shared.cell_count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The key that it had.
    fn set_tombstone(&self, cell: &ValueCell) -> usize {
        let first = ptr::eq(cell, &raw const self.cells[0]);
        let key = cell.key.load(Ordering::Relaxed);
        cell.key.store(if first { TOMBSTONE + FIRST_CELL_BIAS } else { TOMBSTONE }, Ordering::Relaxed);
        key
    }

    /// Takes the value of a cell that has one.
    fn take(&self, cell: &ValueCell) -> PendingDestroy {
        cell.state.set(0);
        self.value_count.set(self.value_count.get() - 1);
        if is_tombstone(cell.key.load(Ordering::Relaxed)) {
            self.live_cells.set(self.live_cells.get() - 1);
        }
        PendingDestroy {
            value: cell.value.swap(ptr::null_mut(), Ordering::Relaxed),
            destroy: cell.destructor(),
        }
    }

    /// Moves the living cells to new ones, with space for one more.
    fn rehash(&mut self) -> Result<()> {
        let size = ((self.live_cells.get() + 1).next_power_of_two() * 2).max(MIN_CELLS);
        let former = core::mem::replace(&mut self.cells, Self::cells(size)?);
        (self.used_cells, self.live_cells) = (0, Cell::new(0));
        for cell in former.iter().filter(|cell| cell.is_live()) {
            let key = cell.key.load(Ordering::Relaxed);
            let gone = is_tombstone(key);
            let owner_key = if gone { cell.state.get() } else { key };
            let at = self.search(owner_key).until(|at| is_empty(self.key(at)));
            let Some(shared) = cell.shared.get() else { continue };
            self.insert(at, owner_key, shared);
            let moved = &self.cells[at];
            if gone {
                self.set_tombstone(moved);
            }
            moved.state.set(cell.state.get());
            moved.value.store(cell.value.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Something that was set before this round; the search for values goes on where it stopped.
    fn take_older(&mut self, at: &mut usize) -> Option<PendingDestroy> {
        let now = stamp(self.round);
        while self.value_count.get() > 0
            && let Some(cell) = self.cells.get(*at)
        {
            *at += 1;
            let closed = is_tombstone(cell.key.load(Ordering::Relaxed));
            if cell.has_value() && (closed || cell.state.get() < now) {
                return Some(self.take(cell));
            }
        }
        let round = self.round;
        self.attributes()?.take_older(round).map(PendingDestroy::from)
    }
}

impl Drop for TableInner {
    fn drop(&mut self) {
        self.drop_attributes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> &'static LocalShared {
        Box::leak(Box::new(LocalShared { destroy: AtomicPtr::default(), cell_count: AtomicUsize::new(0) }))
    }

    fn cells(table: &Table) -> usize {
        table.inner_lock.lock().cells.len()
    }

    fn free(table: &'static Table) {
        // SAFETY: the tests alone have it.
        unsafe { Table::free(ptr::from_ref(table).cast_mut()) };
    }

    fn value(of: usize) -> *mut c_void {
        ptr::without_provenance_mut(of)
    }

    #[test]
    fn the_table_shrinks_when_its_locals_are_freed() {
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
            assert!(table.tombstone(key));
            assert_eq!(table.get(key), None);
            assert_eq!(table.take_freed(key).map(|owed| owed.value), Some(value(key)));
            assert!(table.take_freed(key).is_none());
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
    fn reused_slots_need_no_more_cells() {
        let (table, shared) = (Table::try_new().unwrap(), shared());
        for generation in 1..100_000 {
            let key = 64 * (generation % 3 + 1) + generation * 4096 * 64;
            assert!(table.add_cell(key, shared).unwrap());
            assert_eq!(table.get(key), Some(ptr::null_mut()));
            assert!(!table.tombstone(key));
            assert!(cells(table) == MIN_CELLS);
        }
        table.clear();
        free(table);
    }

    /// Keys with the same low bits, as those of locals at the same place of their blocks.
    #[test]
    fn probing_is_short_for_handles_with_common_bits() {
        const MANY: usize = 20_000;
        for stride in [64, 64 * 1024, 1 << 20, (1 << 30) + (1 << 16), 64 + (1 << 40)] {
            let (table, shared) = (Table::try_new().unwrap(), shared());
            let keys =
                || (1..=MANY).map(|number| number.wrapping_mul(stride) | 1).filter(|&key| is_handle(key));
            for key in keys() {
                assert!(table.add_cell(key, shared).unwrap());
                let _ = table.set(key, value(key));
            }
            let inner = table.inner_lock.lock();
            let mut probes = 0;
            for key in keys() {
                inner.search(key).until(|at| {
                    probes += 1;
                    inner.key(at) == key
                });
            }
            assert!(probes < 4 * MANY, "{probes} looks for {MANY} handles {stride} apart");
            // Also for handles that are not there.
            for key in keys() {
                inner.search(key.wrapping_add(MANY * stride)).until(|at| {
                    probes += 1;
                    is_empty(inner.key(at))
                });
            }
            drop(inner);
            assert!(
                probes < 12 * MANY,
                "{probes} looks for {MANY} handles {stride} apart, and as many others"
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
            assert!(table.tombstone(key));
        }
        for number in 100..1000 {
            assert!(table.add_cell(number * 64 + 1, shared).unwrap());
        }
        for key in [closed, first] {
            assert_eq!(table.get(key), None);
            assert_eq!(table.take_freed(key).map(|owed| owed.value), Some(value(key)));
        }
        table.clear();
        free(table);
    }
}
