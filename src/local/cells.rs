//! The cells of a table: a hash table with open addressing, whose keys are whole handles of locals, so that a hit needs
//! no further check. The *owner* of the table and its *guests*, the threads that free a local, exclude each other
//! (`sync::biased_mutex`), except that the owner reads keys and values at any time.
//!
//! # Cells
//!
//! | key | state | value | meaning | set by |
//! |---|---|---|---|---|
//! | `EMPTY` | 0 | NULL | never used; ends a probe sequence | the owner: `try_new`, `rehash` |
//! | a handle | a stamp | the value | this thread has a value, set in the destructor round of the stamp | the owner: `set`, `set_fast` |
//! | a handle | 0 | NULL | the local has a cell, so that its init function has been called or is running, but no value | the owner: `insert`, `take`, `take_older` |
//! | `TOMBSTONE` | a handle | the value | the local with this handle was freed, and the value is still to be destroyed | the thread that closes the local: `tombstone` |
//! | `TOMBSTONE` | 0 | NULL | the local was freed; probing continues, and a new key may reuse the cell | the same; the thread that destroys the value: `take`, `take_older`; the owner: `tombstone`, `clear` |
//!
//! The owner reads keys and values without the mutex, relaxed. It has written all of them itself, except `TOMBSTONE`
//! and the NULL with it, which may be seen late if the local is freed concurrently. States are exact: the owner and
//! its guests exclude each other when they use them.
//!
//! # The bias of cell 0
//!
//! In cell 0, `EMPTY` and `TOMBSTONE` are stored as `EMPTY + CELL0_BIAS` and `TOMBSTONE + CELL0_BIAS`. A probe
//! sequence begins at cell `key / 64`, modulo the number of cells: for 0 and 1 at cell 0, for 64 and 65 at cell 1. So
//! no cell holds a sentinel whose own probe sequence would begin there, and `get_fast`, which compares one cell with
//! whatever number the caller has passed, needs no check for sentinels.
//!
//! # Probing
//!
//! A probe sequence begins at the cell that the low bits of the address select: locals that were created one after
//! the other are in neighbouring cells. If another key has that cell, the sequence continues at a cell that depends
//! on all bits of the handle, in steps that also do (double hashing), because linear probing would pass all those
//! neighbours. So a search takes constant time on average, whatever bits the handles have in common.
//!
//! # Size
//!
//! At most three quarters of the cells are not `EMPTY`. If there is no room for a new key, `rehash` drops the
//! tombstones without a value, and chooses a size between two and four times the number of cells that are needed. The
//! owner also calls it when less than an eighth is needed. So each rehash follows a number of calls that is
//! proportional to its cost.

use core::cell::Cell;
use core::ffi::c_void;
use core::ptr;

use crate::callbacks::Destructor;
use crate::error::{Error, Result};
use crate::local::hash::hash_of_handle;
use crate::local::pending_destroy::PendingDestroy;
use crate::local::shared::LocalShared;
use crate::sys::atomic::{AtomicPtr, AtomicUsize, Ordering};

const EMPTY: usize = 0;
const TOMBSTONE: usize = 1;
/// What is added to a sentinel in cell 0. See the module.
const CELL0_BIAS: usize = 64;

/// Whether this can be the key of a local: it is not a sentinel, with or without the bias.
pub(crate) fn is_handle(key: usize) -> bool {
    key > TOMBSTONE + CELL0_BIAS
}

fn is_empty(key: usize) -> bool {
    key & !CELL0_BIAS == EMPTY
}

fn is_tombstone(key: usize) -> bool {
    key & !CELL0_BIAS == TOMBSTONE
}

/// A cell. See the module.
pub(crate) struct ValueCell {
    key: AtomicUsize,
    value: AtomicPtr<c_void>,
    /// A stamp, the handle of a freed local, or 0.
    state: Cell<usize>,
    shared: Cell<Option<&'static LocalShared>>,
}

const CELL_SIZE: usize = 4 * size_of::<usize>();
const _: () = assert!(size_of::<ValueCell>() == CELL_SIZE);

/// The smallest number of cells. At least two: with one cell, every probe sequence would begin at cell 0.
pub(crate) const MIN_CELLS: usize = 8;

/// The state of a cell whose value was set in this round. Never 0.
fn stamp(round: u32) -> usize {
    (round as usize) << 1 | 1
}

/// The cells that a search visits, in order. It ends at an `EMPTY` cell at the latest; there is always one.
struct ProbeSeq {
    key: usize,
    mask: usize,
    at: Option<usize>,
}

impl ProbeSeq {
    fn new(key: usize, mask: usize) -> Self {
        ProbeSeq { key, mask, at: None }
    }

    /// The first cell of the sequence, selected by the low bits of the key.
    #[inline(always)]
    fn start(&self) -> usize {
        (self.key / 64) & self.mask
    }

    /// The next cell, by double hashing.
    fn next(&mut self) -> usize {
        let hash = hash_of_handle(self.key);
        // Odd, so that the sequence visits every cell: their number is a power of two.
        let step = hash.rotate_right(usize::BITS / 2) | 1;
        let at = self.at.map_or(hash, |at| at.wrapping_add(step)) & self.mask;
        self.at = Some(at);
        at
    }

    /// Returns the first cell for which `stop` returns true.
    fn until(mut self, mut stop: impl FnMut(usize) -> bool) -> usize {
        let mut at = self.start();
        while !stop(at) {
            at = self.next();
        }
        at
    }
}

/// The address and the number of the cells, for the owner's lookups without a mutex: all that a lookup reads besides
/// the cells.
#[repr(C)]
pub(crate) struct OwnerView {
    cells: Cell<*const ValueCell>,
    /// The number of cells less one.
    mask: Cell<usize>,
    /// The offset of the last cell in bytes: the mask for offsets of cells.
    last_offset: Cell<usize>,
}

impl OwnerView {
    pub(crate) fn new() -> Self {
        OwnerView { cells: Cell::new(ptr::null()), mask: Cell::new(0), last_offset: Cell::new(0) }
    }

    /// The owner reads these cells from now on.
    ///
    /// # Safety
    /// They are not moved or freed before the next call, and the other methods are called only after this one.
    pub(crate) unsafe fn set(&self, cells: &Cells) {
        self.cells.set(cells.array.as_ptr());
        self.mask.set(cells.array.len() - 1);
        self.last_offset.set((cells.array.len() - 1) * CELL_SIZE);
    }

    /// Returns the first cell of the probe sequence of any number.
    #[inline(always)]
    pub(crate) fn first_cell(&self, key: usize) -> &ValueCell {
        // The offset in bytes of `ProbeSeq::start`: handles are 64 bytes apart, cells `CELL_SIZE`.
        let at = (key / (64 / CELL_SIZE)) & self.last_offset.get();
        // SAFETY: the offset is masked to the size of the cells, which are valid: see `set`.
        unsafe { &*self.cells.get().byte_add(at) }
    }

    /// Returns the value for the local with this key, if its cell is the first of the probe sequence.
    #[inline(always)]
    pub(crate) fn get_fast(&self, key: usize) -> Option<*mut c_void> {
        let cell = self.first_cell(key);
        cell.has_key(key).then(|| cell.value.load(Ordering::Relaxed))
    }

    /// Returns the value for the local with this key, or NULL. `None` if the local has no cell.
    pub(crate) fn get(&self, key: usize) -> Option<*mut c_void> {
        if !is_handle(key) {
            return None;
        }
        // SAFETY: a probe sequence stays within the cells, which are valid: see `set`.
        let cell = |at| unsafe { &*self.cells.get().add(at) };
        let mut found = EMPTY;
        let at = ProbeSeq::new(key, self.mask.get()).until(|at| {
            found = cell(at).key.load(Ordering::Relaxed);
            found == key || is_empty(found)
        });
        (found == key).then(|| cell(at).value.load(Ordering::Relaxed))
    }
}

impl ValueCell {
    #[inline(always)]
    pub(crate) fn has_key(&self, key: usize) -> bool {
        self.key.load(Ordering::Relaxed) == key
    }

    pub(crate) fn value(&self) -> *mut c_void {
        self.value.load(Ordering::Relaxed)
    }

    /// Sets the value if the cell has this key, and a value from this destructor round, and no value must be destroyed.
    /// Otherwise changes nothing, and returns `None`.
    #[inline(always)]
    pub(crate) fn set_fast(&self, key: usize, value: *mut c_void, round: u32) -> Option<()> {
        let is_current = self.has_key(key) && self.state.get() == stamp(round);
        let former = self.value.load(Ordering::Relaxed);
        let can_set = is_current && (former.is_null() || former == value || self.destructor().is_none());
        can_set.then(|| self.value.store(value, Ordering::Relaxed))
    }

    pub(crate) fn has_value(&self) -> bool {
        self.state.get() != 0
    }

    pub(crate) fn destructor(&self) -> Option<Destructor> {
        self.shared.get().and_then(LocalShared::destructor)
    }

    /// Whether a rehash must keep the cell.
    fn is_live(&self) -> bool {
        is_handle(self.key.load(Ordering::Relaxed)) || self.has_value()
    }
}

/// The cells of one thread.
pub(crate) struct Cells {
    array: Vec<ValueCell>,
    /// The number of cells that are not `EMPTY`.
    used_count: usize,
    /// The number of cells with a handle as their key, or with a value.
    live_count: Cell<usize>,
    /// The number of cells with a value.
    value_count: Cell<usize>,
}

impl Cells {
    pub(crate) fn try_new() -> Result<Self> {
        let array = Self::allocate(MIN_CELLS)?;
        Ok(Cells { array, used_count: 0, live_count: Cell::new(0), value_count: Cell::new(0) })
    }

    fn allocate(count: usize) -> Result<Vec<ValueCell>> {
        debug_assert!(count >= MIN_CELLS && count.is_power_of_two());
        let mut cells = Vec::new();
        cells.try_reserve_exact(count).map_err(|_| Error::NoMemory)?;
        cells.extend((0..count).map(|at| ValueCell {
            key: AtomicUsize::new(if at == 0 { EMPTY + CELL0_BIAS } else { EMPTY }),
            value: AtomicPtr::new(ptr::null_mut()),
            state: Cell::new(0),
            shared: Cell::new(None),
        }));
        Ok(cells)
    }

    /// Whether less than an eighth of the cells is needed.
    pub(crate) fn is_too_large(&self) -> bool {
        self.array.len() > MIN_CELLS && self.live_count.get() < self.array.len() / 8
    }

    fn search(&self, key: usize) -> ProbeSeq {
        ProbeSeq::new(key, self.array.len() - 1)
    }

    #[inline(always)]
    fn key(&self, at: usize) -> usize {
        self.array[at].key.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(crate) fn find(&self, key: usize) -> Option<&ValueCell> {
        let at = self.search(key).until(|at| self.key(at) == key || is_empty(self.key(at)));
        Some(&self.array[at]).filter(|_| self.key(at) == key)
    }

    /// Finds the value of a freed and closed local that is still to be destroyed.
    pub(crate) fn find_tombstone(&self, key: usize) -> Option<&ValueCell> {
        let matches = |at: usize| is_tombstone(self.key(at)) && self.array[at].state.get() == key;
        let at = self.search(key).until(|at| matches(at) || is_empty(self.key(at)));
        Some(&self.array[at]).filter(|_| matches(at))
    }

    /// Finds the cell for a key that is not in the table: the first of its probe sequence that can be reused. `None`
    /// if the table has to grow first.
    pub(crate) fn find_insert_cell(&self, key: usize) -> Option<usize> {
        let at = self.search(key).until(|at| !self.array[at].is_live());
        let has_room = || (self.used_count + 1) * 4 <= self.array.len() * 3;
        Some(at).filter(|_| is_tombstone(self.key(at)) || has_room())
    }

    pub(crate) fn insert(&mut self, at: usize, key: usize, shared: &'static LocalShared) {
        self.used_count += usize::from(is_empty(self.key(at)));
        self.live_count.set(self.live_count.get() + 1);
        let cell = &self.array[at];
        cell.shared.set(Some(shared));
        cell.key.store(key, Ordering::Release);
    }

    /// Changes the cell of a freed local to a tombstone; its value, if there is one, is still to be destroyed.
    pub(crate) fn tombstone(&self, cell: &ValueCell) {
        let key = self.set_tombstone(cell);
        if cell.has_value() {
            cell.state.set(key);
        } else {
            self.live_count.set(self.live_count.get() - 1);
        }
        if let Some(shared) = cell.shared.get() {
            shared.cell_count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Changes the key of a cell to the tombstone, and returns the former one.
    fn set_tombstone(&self, cell: &ValueCell) -> usize {
        let is_cell0 = ptr::eq(cell, &raw const self.array[0]);
        let key = cell.key.load(Ordering::Relaxed);
        cell.key.store(if is_cell0 { TOMBSTONE + CELL0_BIAS } else { TOMBSTONE }, Ordering::Relaxed);
        key
    }

    /// Takes the value of a cell that has one.
    pub(crate) fn take(&self, cell: &ValueCell) -> PendingDestroy {
        let value = cell.value.swap(ptr::null_mut(), Ordering::Relaxed);
        // After the value: see `TableInner::reset_interrupted_change`.
        cell.state.set(0);
        self.value_count.set(self.value_count.get() - 1);
        if is_tombstone(cell.key.load(Ordering::Relaxed)) {
            self.live_count.set(self.live_count.get() - 1);
        }
        PendingDestroy { value, destroy: cell.destructor() }
    }

    /// Moves the live cells to a new array that has room for at least one more.
    pub(crate) fn rehash(&mut self) -> Result<()> {
        let size = ((self.live_count.get() + 1).next_power_of_two() * 2).max(MIN_CELLS);
        let former = core::mem::replace(&mut self.array, Self::allocate(size)?);
        (self.used_count, self.live_count) = (0, Cell::new(0));
        for cell in former.iter().filter(|cell| cell.is_live()) {
            let key = cell.key.load(Ordering::Relaxed);
            let is_freed = is_tombstone(key);
            let handle = if is_freed { cell.state.get() } else { key };
            let at = self.search(handle).until(|at| is_empty(self.key(at)));
            let Some(shared) = cell.shared.get() else { continue };
            self.insert(at, handle, shared);
            let moved = &self.array[at];
            if is_freed {
                self.set_tombstone(moved);
            }
            moved.state.set(cell.state.get());
            moved.value.store(cell.value.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Takes a value that was set before this round. `at` is the cell at which the search continues.
    pub(crate) fn take_older(&self, at: &mut usize, round: u32) -> Option<PendingDestroy> {
        while self.value_count.get() > 0 {
            let cell = self.array.get(*at)?;
            *at += 1;
            let is_freed = is_tombstone(cell.key.load(Ordering::Relaxed));
            if cell.has_value() && (is_freed || cell.state.get() < stamp(round)) {
                return Some(self.take(cell));
            }
        }
        None
    }

    /// Sets the value of a cell that has a key. Returns the former value, to be destroyed.
    pub(crate) fn set(&self, cell: &ValueCell, value: *mut c_void, round: u32) -> PendingDestroy {
        let former = cell.value();
        let same = cell.has_value() && former == value;
        if !cell.has_value() {
            self.value_count.set(self.value_count.get() + 1);
        }
        cell.state.set(stamp(round));
        cell.value.store(value, Ordering::Relaxed);
        if same { PendingDestroy::NONE } else { PendingDestroy { value: former, destroy: cell.destructor() } }
    }

    /// Changes all cells to tombstones without a value. No value is destroyed.
    pub(crate) fn clear(&self) {
        for cell in &self.array {
            if is_handle(cell.key.load(Ordering::Relaxed)) {
                self.tombstone(cell);
            }
            if cell.has_value() {
                let _ = self.take(cell);
            }
        }
    }
}

#[cfg(test)]
impl Cells {
    pub(crate) fn len(&self) -> usize {
        self.array.len()
    }

    /// Returns how many cells a search for this key visits.
    pub(crate) fn probe_count(&self, key: usize) -> usize {
        let mut probes = 0;
        self.search(key).until(|at| {
            probes += 1;
            self.key(at) == key || is_empty(self.key(at))
        });
        probes
    }
}
