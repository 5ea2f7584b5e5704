//! The table in which one thread has its values: open-addressed, keyed by the whole handle of the local, so
//! that a hit needs no further check. The owner alone reads it without the guard, and alone replaces its
//! memory; everything else, by whomever, is done under the guard.
//!
//! # A cell
//!
//! | key | state | value | meaning |
//! |---|---|---|---|
//! | `FREE` | 0 | | free; ends a search |
//! | a handle | a stamp | the value | this thread has a value, set in the round of the stamp |
//! | a handle | 0 | NULL | it has none, but the local has been met here: its init has run |
//! | `GONE` | a handle | the value | the local with this handle was freed, and the value is still to be destroyed |
//! | `GONE` | 0 | NULL | the local was freed; a search goes on, and a new key may take the cell |
//!
//! In the first cell, each mark is larger by `FIRST`. So no cell holds a mark whose own search would begin
//! there, and the first look takes no mark for a local, whatever it is asked for.
//!
//! A new key is published with release after the rest; the owner's reads are of its own writes, but for `GONE`
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
//! At most three quarters of the cells are not `FREE`. What makes room leaves those behind that are gone, and chooses
//! a size between two and four times what is needed; so does the owner when less than an eighth is. Each change of the
//! size comes after a number of calls that is proportional to it.

use crate::sys::atomic::{AtomicPtr, AtomicUsize, Ordering, fence};
use core::cell::Cell;
use core::ffi::{CStr, c_void};
use core::ptr;

use crate::callbacks::Destructor;
use crate::error::{Error, Result};
use crate::local::attributes::{Attributes, Taken, mixed};
use crate::sync::mutex::{ForkReset, InternalMutex, InternalMutexGuard};
use crate::sys;
use crate::sys::annotate::malloc;
use crate::sys::pthread;

const FREE: usize = 0;
const GONE: usize = 1;
/// What the first cell adds to a mark: the search for it would begin at the second.
const FIRST: usize = 64;

/// Whether a caller's number may be looked for: it is none of the marks.
fn is_handle(key: usize) -> bool {
    key > GONE + FIRST
}

fn is_free(key: usize) -> bool {
    key & !FIRST == FREE
}

fn is_gone(key: usize) -> bool {
    key & !FIRST == GONE
}

/// What the tables use of a local. It lies in the local's slot, which serves no other local as long as a cell of any
/// table has the handle, or a value that is still to be destroyed.
pub(crate) struct Shared {
    destroy: AtomicPtr<c_void>,
    /// How many cells of all tables have the local's handle as their key. Changed under the guard of the table. In a
    /// child of fork it may be more: those of the parent's other threads still count.
    cells: AtomicUsize,
}

impl Shared {
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
    pub(crate) fn is_unmet(&self) -> bool {
        // Pairs with the fence in `meet`: either this sees its cell counted, or the thread there sees the end.
        fence(Ordering::SeqCst);
        self.cells.load(Ordering::Relaxed) == 0
    }
}

struct ValueCell {
    key: AtomicUsize,
    value: AtomicPtr<c_void>,
    /// The rest is used under the guard only.
    state: Cell<usize>,
    shared: Cell<Option<&'static Shared>>,
}

const CELL: usize = 4 * size_of::<usize>();
const _: () = assert!(size_of::<ValueCell>() == CELL);

/// The fewest cells of a table. Two at least: with one, the searches for all marks would begin there.
const LEAST: usize = 8;

/// The table of one thread.
pub(crate) struct Table {
    /// Read by the owner without the guard.
    cells: Cell<*const ValueCell>,
    mask: Cell<usize>,
    /// Where the last cell lies, in bytes; the mask of such places.
    last: Cell<usize>,
    guarded: InternalMutex<Rest>,
    /// Its neighbours among the tables of all threads, under their guard, as the next two.
    pub(crate) next: Cell<*const Table>,
    pub(crate) previous: Cell<*const Table>,
    /// How many threads that free a local are at this table.
    pub(crate) visitors: Cell<u32>,
    /// Its owner has ended: the last visitor frees it.
    pub(crate) abandoned: Cell<bool>,
}

struct Rest {
    cells: Vec<ValueCell>,
    /// Cells that are not free.
    used: usize,
    /// Those of them that have a handle as their key, or a value to be destroyed.
    living: Cell<usize>,
    /// Those of them that have a value.
    values: Cell<usize>,
    round: u32,
    /// Made by the first `set_attribute`.
    attributes: *mut Attributes,
}

// SAFETY: the pointers lead to what the table owns, or to locals' slots.
unsafe impl Send for Rest {}

impl ForkReset for Rest {
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
pub(crate) struct Owed {
    value: *mut c_void,
    destroy: Option<Destructor>,
}

impl From<Taken> for Owed {
    fn from((value, destroy): Taken) -> Owed {
        Owed { value, destroy }
    }
}

impl Owed {
    const NOTHING: Owed = Owed { value: ptr::null_mut(), destroy: None };

    pub(crate) fn pay(self) {
        if let Some(destroy) = self.destroy
            && !self.value.is_null()
        {
            // SAFETY: whoever made the local promised that its destructor takes its values.
            pthread::call_user(|| unsafe { destroy(self.value) });
        }
    }

    /// Leaves the value to whoever set it, undestroyed.
    pub(crate) fn remit(self) {}
}

/// Where the search for a key begins. Locals that were made one after the other lie side by side.
#[inline(always)]
fn slot_of(key: usize, mask: usize) -> usize {
    (key / 64) & mask
}

/// Where a search looks, one after the other. It ends at a free cell, of which there is always one.
struct Search {
    key: usize,
    mask: usize,
    at: Option<usize>,
}

impl Search {
    fn new(key: usize, mask: usize) -> Self {
        Search { key, mask, at: None }
    }

    /// The first look is at the cell that the low bits choose.
    fn first(&self) -> usize {
        slot_of(self.key, self.mask)
    }

    fn next(&mut self) -> usize {
        let hash = mixed(self.key);
        // Odd, so that it comes by each of the cells, whose number is a power of two.
        let step = hash.rotate_right(usize::BITS / 2) | 1;
        let at = self.at.map_or(hash, |at| at.wrapping_add(step)) & self.mask;
        self.at = Some(at);
        at
    }

    /// The first cell that `ends` it.
    fn until(mut self, mut ends: impl FnMut(usize) -> bool) -> usize {
        let mut at = self.first();
        while !ends(at) {
            at = self.next();
        }
        at
    }
}

impl Table {
    /// An empty table, in memory of its own.
    pub(crate) fn make() -> Result<&'static Table> {
        let cells = Rest::cells(LEAST)?;
        // SAFETY: malloc's memory is aligned for a Table and large enough, and written before it is used.
        unsafe {
            let table: *mut Table = malloc(size_of::<Table>()).cast();
            if table.is_null() {
                return Err(Error::NoMemory);
            }
            let rest = Rest {
                cells,
                used: 0,
                living: Cell::new(0),
                values: Cell::new(0),
                round: 0,
                attributes: ptr::null_mut(),
            };
            table.write(Table {
                cells: Cell::new(ptr::null()),
                mask: Cell::new(0),
                last: Cell::new(0),
                guarded: InternalMutex::new(rest),
                next: Cell::new(ptr::null()),
                previous: Cell::new(ptr::null()),
                visitors: Cell::new(0),
                abandoned: Cell::new(false),
            });
            (*table).refer_to(&(*table).guarded.lock().cells);
            Ok(&*table)
        }
    }

    /// Gives the table's memory back.
    ///
    /// # Safety
    /// `make` made it, and nobody finds it any more.
    pub(crate) unsafe fn unmake(table: *mut Table) {
        // SAFETY: the caller's promise.
        unsafe {
            ptr::drop_in_place(table);
            sys::free(table.cast());
        }
    }

    /// From now on the owner reads these cells.
    fn refer_to(&self, cells: &[ValueCell]) {
        self.cells.set(cells.as_ptr());
        self.mask.set(cells.len() - 1);
        self.last.set((cells.len() - 1) * CELL);
    }

    /// The owner's value for a local with this key, if it lies where its search begins.
    #[inline(always)]
    pub(crate) fn get_at_once(&self, key: usize) -> Option<*mut c_void> {
        // The place, in bytes: handles are 64 apart, and cells not so far.
        let at = (key / (64 / CELL)) & self.last.get();
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
        let mut found = FREE;
        let at = Search::new(key, self.mask.get()).until(|at| {
            found = cell(at).key.load(Ordering::Relaxed);
            found == key || is_free(found)
        });
        (found == key).then(|| cell(at).value.load(Ordering::Relaxed))
    }

    /// The guard, taken by the owner, who then makes a table smaller that has become too large.
    #[inline(always)]
    fn owners(&self) -> InternalMutexGuard<'_, Rest> {
        let mut rest = self.guarded.lock();
        if rest.is_too_large() {
            self.resize(&mut rest);
        }
        rest
    }

    /// By the owner: makes a table smaller that others have left too large by freeing locals.
    pub(crate) fn shrink(&self) {
        drop(self.owners());
    }

    #[cold]
    fn resize(&self, rest: &mut Rest) {
        // Without memory for a smaller one, it stays as large as it is.
        if rest.make_room().is_ok() {
            self.refer_to(&rest.cells);
        }
    }

    /// A new round of destruction begins.
    pub(crate) fn begin_round(&self) {
        let mut rest = self.owners();
        rest.round += 1;
        if let Some(attributes) = rest.attributes() {
            attributes.begin_round();
        }
    }

    /// Something that was set before this round; the search for values goes on where it stopped.
    pub(crate) fn take_older(&self, at: &mut usize) -> Option<Owed> {
        self.guarded.lock().take_older(at)
    }

    /// The owner finds no value any more of a local that is gone. True if it leaves something to be destroyed here.
    pub(crate) fn close(&self, key: usize) -> bool {
        let mut rest = self.guarded.lock();
        let Some(cell) = rest.find(key) else { return false };
        let has_value = cell.has_value();
        rest.retire(cell);
        has_value || rest.attributes().is_some_and(|attributes| attributes.has_any(key))
    }

    /// Something of a local that is gone, and closed.
    pub(crate) fn take_gone(&self, key: usize) -> Option<Owed> {
        let mut rest = self.guarded.lock();
        match rest.find_closed(key) {
            Some(cell) => Some(rest.take(cell)),
            None => rest.attributes()?.take_any(key).map(Owed::from),
        }
    }

    /// The owner ends, or the timer whose function it ran: nothing is found here any more, and what is left is
    /// forgotten.
    pub(crate) fn clear(&self) {
        let mut rest = self.guarded.lock();
        for cell in &rest.cells {
            if is_handle(cell.key.load(Ordering::Relaxed)) {
                rest.retire(cell);
            }
            if cell.has_value() {
                let _ = rest.take(cell);
            }
        }
        rest.drop_attributes();
    }

    /// Notes that this thread has met the local; true if it had not before. The owner's. The caller then looks whether
    /// the local lives.
    pub(crate) fn meet(&self, key: usize, shared: &'static Shared) -> Result<bool> {
        let mut rest = self.owners();
        if rest.find(key).is_some() {
            return Ok(false);
        }
        let at = match rest.place_for(key) {
            Some(at) => at,
            None => {
                rest.make_room()?;
                self.refer_to(&rest.cells);
                rest.place_for(key).ok_or(Error::Internal)?
            }
        };
        shared.cells.fetch_add(1, Ordering::Relaxed);
        rest.insert(at, key, shared);
        drop(rest);
        fence(Ordering::SeqCst);
        Ok(true)
    }

    /// Forgets a local that this thread has met while it was being freed.
    pub(crate) fn part(&self, key: usize) {
        let rest = self.guarded.lock();
        if let Some(cell) = rest.find(key) {
            rest.retire(cell);
        }
    }

    /// This thread's value, if there is one.
    pub(crate) fn lookup(&self, key: usize) -> Option<*mut c_void> {
        let rest = self.owners();
        let cell = rest.find(key)?;
        cell.has_value().then(|| cell.value.load(Ordering::Relaxed))
    }

    /// Gives this thread a value for a local that it has met; the former one is owed its destructor. `None`
    /// if the local was freed.
    pub(crate) fn set(&self, key: usize, value: *mut c_void) -> Option<Owed> {
        let rest = self.owners();
        let cell = rest.find(key)?;
        let former = cell.value.load(Ordering::Relaxed);
        let same = cell.has_value() && former == value;
        if !cell.has_value() {
            rest.values.set(rest.values.get() + 1);
        }
        cell.state.set(stamp(rest.round));
        cell.value.store(value, Ordering::Relaxed);
        Some(if same { Owed::NOTHING } else { Owed { value: former, destroy: cell.destructor() } })
    }

    /// Takes this thread's value away. `None` if it has none.
    pub(crate) fn take(&self, key: usize) -> Option<Owed> {
        let rest = self.owners();
        rest.find(key).filter(|cell| cell.has_value()).map(|cell| rest.take(cell))
    }

    /// As `set`, for an attribute.
    pub(crate) fn set_attribute(&self, key: usize, name: &CStr, value: *mut c_void) -> Result<Option<Owed>> {
        let mut rest = self.owners();
        let Some(destroy) = rest.find(key).map(ValueCell::destructor) else { return Ok(None) };
        let round = rest.round;
        let former = rest.make_attributes()?.set(key, name, value, round, destroy)?;
        Ok(Some(match former {
            Some(former) if former != value => Owed { value: former, destroy },
            _ => Owed::NOTHING,
        }))
    }

    pub(crate) fn attribute(&self, key: usize, name: &CStr) -> Option<*mut c_void> {
        self.owners().attributes()?.get(key, name)
    }

    pub(crate) fn take_attribute(&self, key: usize, name: &CStr) -> Option<Owed> {
        self.owners().attributes()?.take(key, name).map(Owed::from)
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
        self.shared.get().and_then(Shared::destructor)
    }

    /// Whether it is more than a cell through which a search goes on. Under the guard.
    fn is_living(&self) -> bool {
        is_handle(self.key.load(Ordering::Relaxed)) || self.has_value()
    }
}

impl Rest {
    fn cells(count: usize) -> Result<Vec<ValueCell>> {
        debug_assert!(count >= LEAST && count.is_power_of_two());
        let mut cells = Vec::new();
        cells.try_reserve_exact(count).map_err(|_| Error::NoMemory)?;
        cells.extend((0..count).map(|at| ValueCell {
            key: AtomicUsize::new(if at == 0 { FREE + FIRST } else { FREE }),
            value: AtomicPtr::new(ptr::null_mut()),
            state: Cell::new(0),
            shared: Cell::new(None),
        }));
        Ok(cells)
    }

    fn attributes(&mut self) -> Option<&mut Attributes> {
        // SAFETY: `make_attributes` made it, and it is the table's own.
        unsafe { self.attributes.as_mut() }
    }

    fn make_attributes(&mut self) -> Result<&mut Attributes> {
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
            // SAFETY: `make_attributes` made it, and nothing leads to it any more.
            unsafe {
                ptr::drop_in_place(attributes);
                sys::free(attributes.cast());
            }
        }
    }

    /// Less than an eighth is needed.
    fn is_too_large(&self) -> bool {
        self.cells.len() > LEAST && self.living.get() < self.cells.len() / 8
    }

    fn search(&self, key: usize) -> Search {
        Search::new(key, self.cells.len() - 1)
    }

    #[inline(always)]
    fn key(&self, at: usize) -> usize {
        self.cells[at].key.load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn find(&self, key: usize) -> Option<&ValueCell> {
        let at = self.search(key).until(|at| self.key(at) == key || is_free(self.key(at)));
        Some(&self.cells[at]).filter(|_| self.key(at) == key)
    }

    /// Where the value of a local lies that is closed, and still to be destroyed.
    fn find_closed(&self, key: usize) -> Option<&ValueCell> {
        let is_it = |at: usize| is_gone(self.key(at)) && self.cells[at].state.get() == key;
        let at = self.search(key).until(|at| is_it(at) || is_free(self.key(at)));
        Some(&self.cells[at]).filter(|_| is_it(at))
    }

    /// Where a key goes that is not there: to the first cell of its search that none needs. `None` if there has to be
    /// made room first.
    fn place_for(&self, key: usize) -> Option<usize> {
        let at = self.search(key).until(|at| !self.cells[at].is_living());
        let has_room = || (self.used + 1) * 4 <= self.cells.len() * 3;
        Some(at).filter(|_| is_gone(self.key(at)) || has_room())
    }

    fn insert(&mut self, at: usize, key: usize, shared: &'static Shared) {
        self.used += usize::from(is_free(self.key(at)));
        self.living.set(self.living.get() + 1);
        let cell = &self.cells[at];
        cell.shared.set(Some(shared));
        cell.key.store(key, Ordering::Release);
    }

    /// The local of this cell is gone; its value, if there is one, is still to be destroyed.
    fn retire(&self, cell: &ValueCell) {
        let key = self.mark_gone(cell);
        if cell.has_value() {
            cell.state.set(key);
        } else {
            self.living.set(self.living.get() - 1);
        }
        if let Some(shared) = cell.shared.get() {
            shared.cells.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The key that it had.
    fn mark_gone(&self, cell: &ValueCell) -> usize {
        let first = ptr::eq(cell, &raw const self.cells[0]);
        let key = cell.key.load(Ordering::Relaxed);
        cell.key.store(if first { GONE + FIRST } else { GONE }, Ordering::Relaxed);
        key
    }

    /// Takes the value of a cell that has one.
    fn take(&self, cell: &ValueCell) -> Owed {
        cell.state.set(0);
        self.values.set(self.values.get() - 1);
        if is_gone(cell.key.load(Ordering::Relaxed)) {
            self.living.set(self.living.get() - 1);
        }
        Owed { value: cell.value.swap(ptr::null_mut(), Ordering::Relaxed), destroy: cell.destructor() }
    }

    /// Moves the living cells to new ones, with space for one more.
    fn make_room(&mut self) -> Result<()> {
        let size = ((self.living.get() + 1).next_power_of_two() * 2).max(LEAST);
        let former = core::mem::replace(&mut self.cells, Self::cells(size)?);
        (self.used, self.living) = (0, Cell::new(0));
        for cell in former.iter().filter(|cell| cell.is_living()) {
            let key = cell.key.load(Ordering::Relaxed);
            let gone = is_gone(key);
            let whose = if gone { cell.state.get() } else { key };
            let at = self.search(whose).until(|at| is_free(self.key(at)));
            let Some(shared) = cell.shared.get() else { continue };
            self.insert(at, whose, shared);
            let moved = &self.cells[at];
            if gone {
                self.mark_gone(moved);
            }
            moved.state.set(cell.state.get());
            moved.value.store(cell.value.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Something that was set before this round; the search for values goes on where it stopped.
    fn take_older(&mut self, at: &mut usize) -> Option<Owed> {
        let now = stamp(self.round);
        while self.values.get() > 0
            && let Some(cell) = self.cells.get(*at)
        {
            *at += 1;
            let closed = is_gone(cell.key.load(Ordering::Relaxed));
            if cell.has_value() && (closed || cell.state.get() < now) {
                return Some(self.take(cell));
            }
        }
        let round = self.round;
        self.attributes()?.take_older(round).map(Owed::from)
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        self.drop_attributes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> &'static Shared {
        Box::leak(Box::new(Shared { destroy: AtomicPtr::default(), cells: AtomicUsize::new(0) }))
    }

    fn cells(table: &Table) -> usize {
        table.guarded.lock().cells.len()
    }

    fn unmake(table: &'static Table) {
        // SAFETY: the tests alone have it.
        unsafe { Table::unmake(ptr::from_ref(table).cast_mut()) };
    }

    fn value(of: usize) -> *mut c_void {
        ptr::without_provenance_mut(of)
    }

    #[test]
    fn the_table_shrinks_when_its_locals_are_freed() {
        const MANY: usize = 100_000;
        let (table, shared) = (Table::make().unwrap(), shared());
        let keys = || (2..MANY + 2).map(|number| number * 64 + 1);
        let last = (MANY + 1) * 64 + 1;
        for key in keys() {
            assert!(table.meet(key, shared).unwrap());
            assert!(table.set(key, value(key)).is_some());
        }
        assert!(cells(table) >= MANY && cells(table) <= 4 * MANY);
        assert_eq!(shared.cells.load(Ordering::Relaxed), MANY);
        for key in keys().take(MANY - 1) {
            assert!(table.close(key));
            assert_eq!(table.get(key), None);
            assert_eq!(table.take_gone(key).map(|owed| owed.value), Some(value(key)));
            assert!(table.take_gone(key).is_none());
        }
        assert_eq!(table.get(last), Some(value(last)));
        table.shrink();
        assert_eq!(cells(table), LEAST);
        assert_eq!(table.get(last), Some(value(last)));
        assert_eq!(shared.cells.load(Ordering::Relaxed), 1);
        table.clear();
        assert!(shared.is_unmet());
        unmake(table);
    }

    #[test]
    fn locals_in_turn_need_no_more_cells() {
        let (table, shared) = (Table::make().unwrap(), shared());
        for generation in 1..100_000 {
            let key = 64 * (generation % 3 + 1) + generation * 4096 * 64;
            assert!(table.meet(key, shared).unwrap());
            assert_eq!(table.get(key), Some(ptr::null_mut()));
            assert!(!table.close(key));
            assert!(cells(table) == LEAST);
        }
        table.clear();
        unmake(table);
    }

    /// Keys with the same low bits, as those of locals at the same place of their blocks.
    #[test]
    fn a_search_is_short_whatever_the_handles_have_in_common() {
        const MANY: usize = 20_000;
        for stride in [64, 64 * 1024, 1 << 20, (1 << 30) + (1 << 16), 64 + (1 << 40)] {
            let (table, shared) = (Table::make().unwrap(), shared());
            let keys =
                || (1..=MANY).map(|number| number.wrapping_mul(stride) | 1).filter(|&key| is_handle(key));
            for key in keys() {
                assert!(table.meet(key, shared).unwrap());
                let _ = table.set(key, value(key));
            }
            let rest = table.guarded.lock();
            let mut looks = 0;
            for key in keys() {
                rest.search(key).until(|at| {
                    looks += 1;
                    rest.key(at) == key
                });
            }
            assert!(looks < 4 * MANY, "{looks} looks for {MANY} handles {stride} apart");
            // Also for handles that are not there.
            for key in keys() {
                rest.search(key.wrapping_add(MANY * stride)).until(|at| {
                    looks += 1;
                    is_free(rest.key(at))
                });
            }
            drop(rest);
            assert!(looks < 12 * MANY, "{looks} looks for {MANY} handles {stride} apart, and as many others");
            keys().for_each(|key| assert_eq!(table.get(key), Some(value(key))));
            table.clear();
            unmake(table);
        }
    }

    #[test]
    fn a_closed_value_is_found_when_the_cells_have_moved() {
        let (table, shared) = (Table::make().unwrap(), shared());
        let (closed, first) = (64 * 5 + 1, 64 * 8 + 1);
        for key in [closed, first] {
            assert!(table.meet(key, shared).unwrap());
            let _ = table.set(key, value(key));
            assert!(table.close(key));
        }
        for number in 100..1000 {
            assert!(table.meet(number * 64 + 1, shared).unwrap());
        }
        for key in [closed, first] {
            assert_eq!(table.get(key), None);
            assert_eq!(table.take_gone(key).map(|owed| owed.value), Some(value(key)));
        }
        table.clear();
        unmake(table);
    }
}
