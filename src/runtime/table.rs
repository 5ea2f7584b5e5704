//! The table in which one thread has its values: open-addressed, keyed by the whole handle of the local, so
//! that a hit needs no further check. The owner alone reads it without the guard, and alone replaces its
//! memory; everything else, by whomever, is done under the guard.
//!
//! # A cell
//!
//! | key | value | meaning |
//! |---|---|---|
//! | `FREE` | | free; ends a search |
//! | a handle | `present` | this thread has a value |
//! | a handle | not `present`, NULL | it has none, but the local has been met here: its init has run |
//! | `GONE` | `present` | the local was freed, and the value is still to be destroyed: `round` tells whose it was |
//! | `GONE` | not `present`, NULL | the local was freed; a search goes on |
//!
//! In the first cell, each mark is larger by `FIRST`. So no cell holds a mark whose own search would begin
//! there, and the first look takes no mark for a local, whatever it is asked for.
//!
//! A new key is published with release after the rest; the owner's reads are of its own writes, but for `GONE`
//! and the NULL beside it.

use crate::atomic::{AtomicPtr, AtomicUsize, Ordering};
use core::cell::Cell;
use core::ffi::c_void;
use core::hash::{BuildHasher, Hasher};
use core::ptr;
use std::collections::HashMap;
use std::hash::DefaultHasher;

use super::life::Destructor;
use super::system;
use crate::detector::malloc;
use crate::error::{Error, Result};
use crate::park::guarded::{Forget, Guarded};

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

struct ValueCell {
    key: AtomicUsize,
    value: AtomicPtr<c_void>,
    /// The rest is used under the guard only.
    present: Cell<bool>,
    round: Cell<u32>,
    destroy: Cell<Option<Destructor>>,
}

/// The table of one thread.
pub(crate) struct Table {
    /// Read by the owner without the guard.
    cells: Cell<*const ValueCell>,
    mask: Cell<usize>,
    /// Where the last cell lies, in bytes; the mask of such places.
    last: Cell<usize>,
    guarded: Guarded<Rest>,
    /// Its neighbours among the tables of all threads, under their guard.
    pub(super) next: Cell<*const Table>,
    pub(super) previous: Cell<*const Table>,
}

struct Rest {
    cells: Vec<ValueCell>,
    used: usize,
    round: u32,
    /// By local, and then by name.
    attributes: HashMap<usize, Attributes, Seed>,
}

type Attributes = HashMap<Vec<u8>, Attribute, Seed>;

/// What hashes begin with: an address, which whoever would choose names that collide does not know. Random
/// numbers the system may refuse.
#[derive(Default)]
struct Seed;

impl BuildHasher for Seed {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        static SOMEWHERE: u8 = 0;
        let mut hasher = DefaultHasher::new();
        hasher.write_usize(&raw const SOMEWHERE as usize);
        hasher
    }
}

struct Attribute {
    value: *mut c_void,
    round: u32,
    destroy: Option<Destructor>,
}

impl Forget for Rest {
    fn forget(&mut self) {
        // Tables of threads that the child does not have are out of its reach.
    }

    fn forget_change(&mut self) {
        // Another thread was freeing a local, and took an attribute of the thread that forked. The other attributes are
        // lost with the map; the cells change by single stores.
        core::mem::forget(core::mem::take(&mut self.attributes));
    }
}

/// A value that has been taken out of a table, and is owed its destructor.
#[must_use]
pub(crate) struct Owed {
    value: *mut c_void,
    destroy: Option<Destructor>,
}

impl Owed {
    const NOTHING: Owed = Owed { value: ptr::null_mut(), destroy: None };

    pub(crate) fn pay(self) {
        if let Some(destroy) = self.destroy
            && !self.value.is_null()
        {
            // SAFETY: whoever made the local promised that its destructor takes its values.
            system::callback(|| unsafe { destroy(self.value) });
        }
    }

    /// Leaves the value to whoever set it, undestroyed.
    pub(crate) fn remit(self) {}
}

/// The slot of a local, instead of its handle: while values of one that was freed are still to be destroyed, the
/// slot serves no other.
fn owner_of(key: usize) -> u32 {
    const { assert!(crate::handle::arena::RESERVE / 64 <= u32::MAX as usize) };
    (key / 64) as u32
}

/// Where the search for a key begins. Locals that were made one after the other lie side by side.
#[inline(always)]
fn slot_of(key: usize, mask: usize) -> usize {
    (key / 64) & mask
}

impl Table {
    /// An empty table, in memory of its own.
    pub(super) fn make() -> Result<&'static Table> {
        let cells = Rest::cells(8)?;
        // SAFETY: malloc's memory is aligned for a Table and large enough, and written before it is used.
        unsafe {
            let table: *mut Table = malloc(size_of::<Table>()).cast();
            if table.is_null() {
                return Err(Error::NoMemory);
            }
            table.write(Table {
                cells: Cell::new(cells.as_ptr()),
                mask: Cell::new(cells.len() - 1),
                last: Cell::new((cells.len() - 1) * size_of::<ValueCell>()),
                guarded: Guarded::new(Rest { cells, used: 0, round: 0, attributes: HashMap::default() }),
                next: Cell::new(ptr::null()),
                previous: Cell::new(ptr::null()),
            });
            Ok(&*table)
        }
    }

    /// Gives the table's memory back.
    ///
    /// # Safety
    /// `make` made it, and nobody finds it any more.
    pub(super) unsafe fn unmake(table: *mut Table) {
        // SAFETY: the caller's promise.
        unsafe {
            ptr::drop_in_place(table);
            libc::free(table.cast());
        }
    }

    /// The owner's value for a local with this key, if it lies where its search begins.
    #[inline(always)]
    pub(super) fn get_at_once(&self, key: usize) -> Option<*mut c_void> {
        // The place, in bytes: a cell is half as large as the space between two handles.
        const { assert!(size_of::<ValueCell>() == 32) };
        let at = (key / 2) & self.last.get();
        // SAFETY: masked to the table's size; the owner, who reads, is the one who replaces its memory.
        let cell = unsafe { &*self.cells.get().byte_add(at) };
        (cell.key.load(Ordering::Relaxed) == key).then(|| cell.value.load(Ordering::Relaxed))
    }

    /// The owner's value for a local with this key, if the local has been met.
    pub(super) fn get(&self, key: usize) -> Option<*mut c_void> {
        if !is_handle(key) {
            return None;
        }
        let (cells, mask) = (self.cells.get(), self.mask.get());
        let mut at = slot_of(key, mask);
        loop {
            // SAFETY: `at` is masked to the table's size; the owner, who reads, is the one who replaces its
            // memory.
            let cell = unsafe { &*cells.add(at) };
            match cell.key.load(Ordering::Relaxed) {
                found if found == key => return Some(cell.value.load(Ordering::Relaxed)),
                found if is_free(found) => return None,
                _ => at = (at + 1) & mask,
            }
        }
    }

    /// A new round of destruction begins.
    pub(super) fn begin_round(&self) {
        self.guarded.lock().round += 1;
    }

    /// Something that was set before this round; the search for values goes on where it stopped.
    pub(super) fn take_older(&self, at: &mut usize) -> Option<Owed> {
        self.guarded.lock().take_older(at)
    }

    /// The owner finds no value any more of a local that is gone.
    pub(super) fn close(&self, key: usize) {
        let rest = self.guarded.lock();
        if let Some(cell) = rest.find(key) {
            cell.round.set(owner_of(key));
            rest.mark_gone(cell);
        }
    }

    /// Something of a local that is gone, and closed.
    pub(super) fn take_gone(&self, key: usize) -> Option<Owed> {
        let mut rest = self.guarded.lock();
        let closed = rest.find_closed(key).map(ValueCell::take);
        closed.or_else(|| rest.take_attribute(Some(key), |_| true))
    }

    /// Notes that this thread has met the local; true if it had not before. The owner's.
    pub(crate) fn meet(&self, key: usize, destroy: Option<Destructor>) -> Result<bool> {
        let mut rest = self.guarded.lock();
        if rest.find(key).is_some() {
            return Ok(false);
        }
        if (rest.used + 1) * 4 > rest.cells.len() * 3 {
            rest.grow()?;
            self.cells.set(rest.cells.as_ptr());
            self.mask.set(rest.cells.len() - 1);
            self.last.set((rest.cells.len() - 1) * size_of::<ValueCell>());
        }
        let begin = slot_of(key, rest.cells.len() - 1);
        rest.insert(begin, key, destroy);
        Ok(true)
    }

    /// Forgets a local that this thread has met while it was being freed.
    pub(crate) fn part(&self, key: usize) {
        let rest = self.guarded.lock();
        if let Some(cell) = rest.find(key) {
            rest.mark_gone(cell);
        }
    }

    /// This thread's value, if there is one.
    pub(crate) fn lookup(&self, key: usize) -> Option<*mut c_void> {
        let rest = self.guarded.lock();
        let cell = rest.find(key)?;
        cell.present.get().then(|| cell.value.load(Ordering::Relaxed))
    }

    /// Gives this thread a value for a local that it has met; the former one is owed its destructor. `None`
    /// if the local was freed.
    pub(crate) fn set(&self, key: usize, value: *mut c_void) -> Option<Owed> {
        let rest = self.guarded.lock();
        let cell = rest.find(key)?;
        let former = cell.value.load(Ordering::Relaxed);
        let same = cell.present.replace(true) && former == value;
        cell.round.set(rest.round);
        cell.value.store(value, Ordering::Relaxed);
        Some(if same { Owed::NOTHING } else { Owed { value: former, destroy: cell.destroy.get() } })
    }

    /// Takes this thread's value away. `None` if it has none.
    pub(crate) fn take(&self, key: usize) -> Option<Owed> {
        let rest = self.guarded.lock();
        rest.find(key).filter(|cell| cell.present.get()).map(ValueCell::take)
    }

    /// As `set`, for an attribute.
    pub(crate) fn set_attribute(
        &self,
        key: usize,
        name: &[u8],
        value: *mut c_void,
        destroy: Option<Destructor>,
    ) -> Result<Option<Owed>> {
        let name = copied(name)?;
        let mut rest = self.guarded.lock();
        if rest.find(key).is_none() {
            return Ok(None);
        }
        rest.attributes.try_reserve(1).map_err(|_| Error::NoMemory)?;
        let round = rest.round;
        let attributes = rest.attributes.entry(key).or_default();
        attributes.try_reserve(1).map_err(|_| Error::NoMemory)?;
        let former = attributes.insert(name, Attribute { value, round, destroy });
        Ok(Some(match former {
            Some(former) if former.value != value => Owed { value: former.value, destroy },
            _ => Owed::NOTHING,
        }))
    }

    pub(crate) fn attribute(&self, key: usize, name: &[u8]) -> Option<*mut c_void> {
        Some(self.guarded.lock().attributes.get(&key)?.get(name)?.value)
    }

    pub(crate) fn take_attribute(&self, key: usize, name: &[u8]) -> Option<Owed> {
        let attribute = self.guarded.lock().attributes.get_mut(&key)?.remove(name)?;
        Some(Owed { value: attribute.value, destroy: attribute.destroy })
    }
}

fn copied(name: &[u8]) -> Result<Vec<u8>> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(name.len()).map_err(|_| Error::NoMemory)?;
    copy.extend_from_slice(name);
    Ok(copy)
}

impl ValueCell {
    /// Whether it is more than a cell through which a search goes on. Under the guard.
    fn is_used(&self) -> bool {
        is_handle(self.key.load(Ordering::Relaxed)) || self.present.get()
    }

    fn take(&self) -> Owed {
        self.present.set(false);
        Owed { value: self.value.swap(ptr::null_mut(), Ordering::Relaxed), destroy: self.destroy.get() }
    }
}

impl Rest {
    /// Two at least: with one, the searches for all marks would begin there.
    fn cells(count: usize) -> Result<Vec<ValueCell>> {
        debug_assert!(count >= 2 && count.is_power_of_two());
        let mut cells = Vec::new();
        cells.try_reserve_exact(count).map_err(|_| Error::NoMemory)?;
        cells.extend((0..count).map(|at| ValueCell {
            key: AtomicUsize::new(if at == 0 { FREE + FIRST } else { FREE }),
            value: AtomicPtr::new(ptr::null_mut()),
            present: Cell::new(false),
            round: Cell::new(0),
            destroy: Cell::new(None),
        }));
        Ok(cells)
    }

    fn mark_gone(&self, cell: &ValueCell) {
        let first = ptr::eq(cell, &raw const self.cells[0]);
        cell.key.store(if first { GONE + FIRST } else { GONE }, Ordering::Relaxed);
    }

    fn find(&self, key: usize) -> Option<&ValueCell> {
        let mask = self.cells.len() - 1;
        let mut at = slot_of(key, mask);
        loop {
            match self.cells[at].key.load(Ordering::Relaxed) {
                found if found == key => return Some(&self.cells[at]),
                found if is_free(found) => return None,
                _ => at = (at + 1) & mask,
            }
        }
    }

    /// Where the value of a local lies that is closed, and still to be destroyed.
    fn find_closed(&self, key: usize) -> Option<&ValueCell> {
        let mask = self.cells.len() - 1;
        let mut at = slot_of(key, mask);
        loop {
            let cell = &self.cells[at];
            match cell.key.load(Ordering::Relaxed) {
                found if is_gone(found) && cell.present.get() && cell.round.get() == owner_of(key) => {
                    return Some(cell);
                }
                found if is_free(found) => return None,
                _ => at = (at + 1) & mask,
            }
        }
    }

    /// There is room, and the key is not there. The search for it begins at `begin`.
    fn insert(&mut self, begin: usize, key: usize, destroy: Option<Destructor>) -> usize {
        let mask = self.cells.len() - 1;
        let mut at = begin;
        while !is_free(self.cells[at].key.load(Ordering::Relaxed)) {
            at = (at + 1) & mask;
        }
        self.cells[at].destroy.set(destroy);
        self.cells[at].key.store(key, Ordering::Release);
        self.used += 1;
        at
    }

    /// Makes room, and leaves those behind that are gone.
    fn grow(&mut self) -> Result<()> {
        let living = self.cells.iter().filter(|cell| cell.is_used()).count();
        let former = core::mem::replace(&mut self.cells, Self::cells((living + 1).next_power_of_two() * 2)?);
        self.used = 0;
        for cell in former.iter().filter(|cell| cell.is_used()) {
            let key = cell.key.load(Ordering::Relaxed);
            let gone = is_gone(key);
            let whose = if gone { cell.round.get() as usize } else { key / 64 };
            let at = self.insert(whose & (self.cells.len() - 1), key, cell.destroy.get());
            if gone {
                self.mark_gone(&self.cells[at]);
            }
            self.cells[at].present.set(cell.present.get());
            self.cells[at].round.set(cell.round.get());
            self.cells[at].value.store(cell.value.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Something that was set before this round; the search for values goes on where it stopped.
    fn take_older(&mut self, at: &mut usize) -> Option<Owed> {
        let round = self.round;
        while let Some(cell) = self.cells.get(*at) {
            *at += 1;
            let closed = is_gone(cell.key.load(Ordering::Relaxed));
            if cell.present.get() && (closed || cell.round.get() < round) {
                return Some(cell.take());
            }
        }
        self.take_attribute(None, |attribute| attribute.round < round)
    }

    /// Some attribute of this local, or of any.
    fn take_attribute(&mut self, of: Option<usize>, wanted: impl Fn(&Attribute) -> bool) -> Option<Owed> {
        let mut locals = self.attributes.iter_mut().filter(|(key, _)| of.is_none_or(|of| of == **key));
        let taken =
            locals.find_map(|(_, attributes)| attributes.extract_if(|_, attribute| wanted(attribute)).next());
        let Some((_, attribute)) = taken else {
            self.attributes.retain(|_, attributes| !attributes.is_empty());
            return None;
        };
        Some(Owed { value: attribute.value, destroy: attribute.destroy })
    }
}
