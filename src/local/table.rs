//! The values of one thread: a hash table with open addressing. The key is the whole handle of the local, so that a
//! hit needs no further check. The owner uses the table most of the time, and threads that free a local rarely: the
//! *guests*. Only the owner reads keys and values without any protection, and only the owner replaces the table's memory.
//! All other accesses exclude each other as follows.
//!
//! # The owner and its guests
//!
//! | word | meaning | changed by |
//! |---|---|---|
//! | `owner_busy` | 1 while the owner uses the table without having locked the mutex | the owner: to 1, relaxed; to 0, release |
//! | `guests` | the number of guests that have announced themselves. `NO_BIAS` if asymmetric fences are not available | guests, under the mutex of the list of tables: one more, relaxed, or one less, release |
//!
//! The owner sets `owner_busy`, and uses the table if it then finds no guests, by a load with acquire. Otherwise it
//! resets the word, and locks the mutex. A guest announces itself, then locks the mutex, and waits until `owner_busy` is
//! 0, by loads with acquire. Asymmetric fences ensure that the guest sees the owner, or the owner the guest: the owner
//! executes the light one, and the guest the heavy one, once for all tables. While it is busy, the owner waits for no
//! other thread.
//!
//! # Cells
//!
//! | key | state | value | meaning | set by |
//! |---|---|---|---|---|
//! | `EMPTY` | 0 | NULL | never used; ends a probe sequence | the owner: `try_new`, `rehash` |
//! | a handle | a stamp | the value | this thread has a value, set in the destructor round of the stamp | the owner: `set` |
//! | a handle | 0 | NULL | the local has a cell, so that its init function has been called or is running, but no value | the owner: `add_cell`, `take`, `take_older` |
//! | `TOMBSTONE` | a handle | the value | the local with this handle was freed, and the value is still to be destroyed | the thread that closes the local: `tombstone` |
//! | `TOMBSTONE` | 0 | NULL | the local was freed; probing continues, and a new key may reuse the cell | the same; the thread that destroys the value: `take_freed`, `take_older`; the owner: `remove_cell`, `clear` |
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
//!
//! The file exceeds 400 lines because the cells and all that changes them are one protocol.

use crate::sys::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering, fence_after_rmw};
use core::cell::Cell;
use core::ffi::{CStr, c_void};
use core::ops::{Deref, DerefMut};
use core::ptr;

use crate::callbacks::Destructor;
use crate::error::{Error, Result};
use crate::local::attributes::{Attributes, RemovedAttribute, hash_of, hash_of_handle};
use crate::panic_boundary::{FaultPoint, inject};
use crate::sync::list::{Linked, Links};
use crate::sync::mutex::{ForkReset, InternalMutex, InternalMutexGuard};
use crate::sync::spin_wait::SpinWait;
use crate::sys;
use crate::sys::annotate::malloc;
use crate::sys::asymmetric_fence;
use crate::sys::pthread;

const EMPTY: usize = 0;
const TOMBSTONE: usize = 1;
/// What is added to a sentinel in cell 0. See the module.
const CELL0_BIAS: usize = 64;

/// Whether this can be the key of a local: it is not a sentinel, with or without the bias.
fn is_handle(key: usize) -> bool {
    key > TOMBSTONE + CELL0_BIAS
}

fn is_empty(key: usize) -> bool {
    key & !CELL0_BIAS == EMPTY
}

fn is_tombstone(key: usize) -> bool {
    key & !CELL0_BIAS == TOMBSTONE
}

/// The part of a local that the tables use. It is in the local's slot, which is not reused as long as a cell of any
/// table has the handle as its key, or a value that is still to be destroyed.
pub(crate) struct LocalShared {
    destroy: AtomicPtr<c_void>,
    /// How many cells of all tables have the local's handle as their key. Changed by the owner of the table with the
    /// cell, or by its guest. In a child of fork it may be too large: it includes the cells of the parent's other threads.
    cell_count: AtomicUsize,
}

impl LocalShared {
    /// Called when the local is created.
    pub(crate) fn set_destructor(&self, destroy: Option<Destructor>) {
        self.destroy
            .store(destroy.map_or(ptr::null_mut(), |destroy| destroy as *mut c_void), Ordering::Release);
    }

    fn destructor(&self) -> Option<Destructor> {
        let destroy = self.destroy.load(Ordering::Acquire);
        // SAFETY: `set_destructor` stored a `Destructor`, or NULL, which is None.
        unsafe { core::mem::transmute::<*mut c_void, Option<Destructor>>(destroy) }
    }

    /// Whether no table has a cell for the local. Called when the local is dead: a thread that adds a cell later
    /// observes that.
    pub(crate) fn has_no_cells(&self) -> bool {
        // Pairs with the fence in `add_cell`: either this thread observes the new cell in the count, or the thread
        // that adds it observes that the local is dead.
        fence_after_rmw();
        self.cell_count.load(Ordering::Relaxed) == 0
    }
}

struct ValueCell {
    key: AtomicUsize,
    value: AtomicPtr<c_void>,
    /// A stamp, the handle of a freed local, or 0. Used, like `shared`, by the owner and its guests
    /// only.
    state: Cell<usize>,
    shared: Cell<Option<&'static LocalShared>>,
}

const CELL_SIZE: usize = 4 * size_of::<usize>();
const _: () = assert!(size_of::<ValueCell>() == CELL_SIZE);

/// In `guests`: the owner always locks the mutex.
const NO_BIAS: u32 = 1 << 31;

/// The smallest number of cells. At least two: with one cell, every probe sequence would begin at cell 0.
const MIN_CELLS: usize = 8;

/// The values of one thread. The first three fields are those that a lookup reads.
#[repr(C)]
pub(crate) struct Table {
    /// The cells of `inner_lock` and their number less one. Used by the owner, without the mutex.
    cells: Cell<*const ValueCell>,
    mask: Cell<usize>,
    /// The offset of the last cell in bytes: the mask for offsets of cells.
    last_offset: Cell<usize>,
    owner_busy: AtomicU32,
    guests: AtomicU32,
    inner_lock: InternalMutex<TableInner>,
    /// The neighbours in the list of all tables. These, `visitors` and `owner_exited` are protected by the mutex of
    /// that list.
    links: Links<Table>,
    /// The number of threads that destroy the values of a freed local, and have the cursor at this table.
    pub(crate) visitors: Cell<u32>,
    /// The owner has exited: the last visitor frees the table.
    pub(crate) owner_exited: Cell<bool>,
}

impl Linked for Table {
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

struct TableInner {
    cells: Vec<ValueCell>,
    /// The number of cells that are not `EMPTY`.
    used_cells: usize,
    /// The number of cells with a handle as their key, or with a value.
    live_cells: Cell<usize>,
    /// The number of cells with a value.
    value_count: Cell<usize>,
    round: u32,
    /// Allocated by the first `set_attribute`; NULL before that.
    attributes: *mut Attributes,
}

// SAFETY: the pointers lead to memory that the table owns, or to the slots of locals.
unsafe impl Send for TableInner {}

impl ForkReset for TableInner {
    fn reset_in_child(&mut self) {
        // The thread that forked keeps its values. The child cannot reach the tables of the parent's other threads.
    }

    fn reset_interrupted_change(&mut self) {
        // Another thread was freeing a local, and was removing values or attributes of the thread that forked. The
        // index of attributes may be inconsistent, so all of them are leaked. A cell needs no repair: whatever `take`
        // and `tombstone_cell` have stored so far, a cell that can be reused has no value.
        self.attributes = ptr::null_mut();
    }
}

/// A value that has been taken out of a table, and whose destructor has not been called yet.
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

    /// Calls the destructor. The caller holds no mutex.
    pub(crate) fn run(self) {
        if let Some(destroy) = self.destroy.filter(|_| !self.value.is_null()) {
            // SAFETY: the creator of the local guarantees that its destructor may be called with its values.
            pthread::call_user(|| unsafe { destroy(self.value) });
        }
    }
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

impl Table {
    /// Allocates an empty table.
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
                owner_busy: AtomicU32::new(0),
                guests: AtomicU32::new(no_guests()),
                inner_lock: InternalMutex::new(inner),
                links: Links::default(),
                visitors: Cell::new(0),
                owner_exited: Cell::new(false),
            });
            (*table).set_cells(&(*table).lock_by_owner().cells);
            Ok(&*table)
        }
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

    /// The owner reads these cells from now on.
    fn set_cells(&self, cells: &[ValueCell]) {
        self.cells.set(cells.as_ptr());
        self.mask.set(cells.len() - 1);
        self.last_offset.set((cells.len() - 1) * CELL_SIZE);
    }

    /// The owner's value for the local with this key, if its cell is the first of the probe sequence.
    #[inline(always)]
    pub(crate) fn get_fast(&self, key: usize) -> Option<*mut c_void> {
        let cell = self.first_cell(key);
        (cell.key.load(Ordering::Relaxed) == key).then(|| cell.value.load(Ordering::Relaxed))
    }

    /// The owner's value for the local with this key, or NULL. `None` if the local has no cell here.
    pub(crate) fn get(&self, key: usize) -> Option<*mut c_void> {
        if !is_handle(key) {
            return None;
        }
        // SAFETY: a probe sequence stays within the table; only the owner, which is the caller, replaces the memory.
        let cell = |at| unsafe { &*self.cells.get().add(at) };
        let mut found = EMPTY;
        let at = ProbeSeq::new(key, self.mask.get()).until(|at| {
            found = cell(at).key.load(Ordering::Relaxed);
            found == key || is_empty(found)
        });
        (found == key).then(|| cell(at).value.load(Ordering::Relaxed))
    }

    /// Sets the owner's value for the local with this key, if its cell is the first of the probe sequence, has a value
    /// from this destructor round, and no value must be destroyed. Otherwise changes nothing, and returns false.
    ///
    /// A cell with the key needs no check whether the local is alive: the thread that frees it will find the new value.
    #[inline(always)]
    pub(crate) fn set_fast(&self, key: usize, value: *mut c_void) -> bool {
        let set = |inner: &TableInner| {
            let cell = self.first_cell(key);
            let is_current =
                cell.key.load(Ordering::Relaxed) == key && cell.state.get() == stamp(inner.round);
            let former = cell.value.load(Ordering::Relaxed);
            let can_set = is_current && (former.is_null() || former == value || cell.destructor().is_none());
            can_set.then(|| cell.value.store(value, Ordering::Relaxed))
        };
        self.bypass_mutex(set).is_some()
    }

    /// As `set_fast`, for an attribute.
    #[inline(always)]
    pub(crate) fn set_attribute_fast(&self, key: usize, name: &CStr, value: *mut c_void) -> bool {
        let hash = hash_of(key, name);
        let set = |inner: &TableInner| {
            let attributes = inner.attributes_of(self.first_cell(key), key)?;
            attributes.set_hashed(hash, key, name, value, inner.round)
        };
        self.bypass_mutex(set).is_some()
    }

    /// The owner's attribute of this name, if the local's cell is the first of the probe sequence. `None` does not mean
    /// that there is no such attribute.
    #[inline(always)]
    pub(crate) fn attribute_fast(&self, key: usize, name: &CStr) -> Option<*mut c_void> {
        let hash = hash_of(key, name);
        let get =
            |inner: &TableInner| inner.attributes_of(self.first_cell(key), key)?.get_hashed(hash, key, name);
        self.bypass_mutex(get)
    }

    /// The first cell of the probe sequence of any number, for the owner.
    #[inline(always)]
    fn first_cell(&self, key: usize) -> &ValueCell {
        // The offset in bytes of `ProbeSeq::start`: handles are 64 bytes apart, cells `CELL_SIZE`.
        let at = (key / (64 / CELL_SIZE)) & self.last_offset.get();
        // SAFETY: the offset is masked to the table's size; only the owner, which is the caller, replaces the memory.
        unsafe { &*self.cells.get().byte_add(at) }
    }

    /// Called by the owner: begins to use the table without locking the mutex. Returns false if it has guests, or if a
    /// signal handler or a replaced malloc has interrupted the owner while it uses the table.
    #[inline(always)]
    fn try_begin(&self) -> bool {
        if self.owner_busy.load(Ordering::Relaxed) != 0 {
            return false;
        }
        self.owner_busy.store(1, Ordering::Relaxed);
        asymmetric_fence::light();
        let has_guests = self.guests.load(Ordering::Acquire) != 0;
        if has_guests {
            self.end();
        }
        !has_guests
    }

    /// Ends what `try_begin` has begun.
    #[inline(always)]
    fn end(&self) {
        self.owner_busy.store(0, Ordering::Release);
    }

    /// Called by the owner: calls `f`, which does not panic, unless the table has guests. For the fast paths.
    #[inline(always)]
    fn bypass_mutex<R>(&self, f: impl FnOnce(&TableInner) -> Option<R>) -> Option<R> {
        if !self.try_begin() {
            return None;
        }
        // SAFETY: guests are excluded, and the owner has no guard.
        let result = f(unsafe { &*self.inner_lock.data_ptr() });
        self.end();
        result
    }

    /// Called by the owner: excludes guests.
    #[inline(always)]
    fn lock_by_owner(&self) -> OwnerGuard<'_> {
        let guard = if self.try_begin() {
            OwnerGuard { table: self, mutex: None }
        } else {
            self.lock_mutex_by_owner()
        };
        #[cfg(fault)]
        crate::panic_boundary::fault::set_locked_type(core::any::type_name::<TableInner>());
        inject(FaultPoint::Locked);
        guard
    }

    #[cold]
    #[inline(never)]
    fn lock_mutex_by_owner(&self) -> OwnerGuard<'_> {
        // As a guest: a call that interrupts another one of the owner waits here without end, as it would for the mutex.
        OwnerGuard { table: self, mutex: Some(self.lock_by_guest()) }
    }

    /// Called by a thread that will be a guest. It holds the mutex of the list of tables, and executes the heavy fence
    /// before it calls `lock_by_guest`.
    pub(crate) fn announce_guest(&self) {
        self.guests.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends what `announce_guest` has begun. The caller holds the mutex of the list of tables.
    pub(crate) fn dismiss_guest(&self) {
        self.guests.fetch_sub(1, Ordering::Release);
    }

    /// Called by a guest, which may be the owner itself: excludes the owner.
    fn lock_by_guest(&self) -> InternalMutexGuard<'_, TableInner> {
        let inner = self.inner_lock.lock();
        self.wait_until_owner_is_idle();
        inner
    }

    fn wait_until_owner_is_idle(&self) {
        let mut spin = SpinWait::new();
        while self.owner_busy.load(Ordering::Acquire) != 0 {
            spin.spin_or_sleep();
        }
    }

    /// In a child of fork: discards the guests, which were threads of the parent, and what one of them was changing.
    pub(crate) fn after_fork_in_child(&self) {
        self.guests.store(no_guests(), Ordering::Relaxed);
        drop(self.inner_lock.lock());
    }

    /// Called by the owner: excludes guests, and makes the table smaller if it has become too large.
    #[inline(always)]
    fn lock_and_shrink(&self) -> OwnerGuard<'_> {
        let mut inner = self.lock_by_owner();
        if inner.is_too_large() {
            self.resize(&mut inner);
        }
        inner
    }

    /// Called by the owner: makes the table smaller if frees of locals have left it too large.
    pub(crate) fn shrink(&self) {
        drop(self.lock_and_shrink());
    }

    #[cold]
    fn resize(&self, inner: &mut TableInner) {
        // If no memory is available for a smaller table, it keeps its size.
        if inner.rehash().is_ok() {
            self.set_cells(&inner.cells);
        }
    }

    /// Begins a new destructor round.
    pub(crate) fn begin_round(&self) {
        let mut inner = self.lock_and_shrink();
        inner.round += 1;
        if let Some(attributes) = inner.attributes() {
            attributes.begin_round();
        }
    }

    /// Takes a value or an attribute that was set before this round. `at` is the cell at which the search for values
    /// continues.
    pub(crate) fn take_older(&self, at: &mut usize) -> Option<PendingDestroy> {
        self.lock_by_owner().take_older(at)
    }

    /// Called by a guest: changes the cell of a freed local to a tombstone, so that the owner finds no value any more.
    /// Returns true if a value or an attribute of the local is still to be destroyed here.
    pub(crate) fn tombstone(&self, key: usize) -> bool {
        self.lock_by_guest().tombstone(key)
    }

    /// As `tombstone`, called by the owner.
    pub(crate) fn tombstone_own(&self, key: usize) -> bool {
        self.lock_by_owner().tombstone(key)
    }

    /// Called by a guest: takes a value or an attribute of a local that was freed and closed.
    pub(crate) fn take_freed(&self, key: usize) -> Option<PendingDestroy> {
        self.lock_by_guest().take_freed(key)
    }

    /// As `take_freed`, called by the owner.
    pub(crate) fn take_own_freed(&self, key: usize) -> Option<PendingDestroy> {
        self.lock_by_owner().take_freed(key)
    }

    /// Called when the owner exits, or the timer whose function it runs has finished: removes all values, without
    /// destroying them.
    pub(crate) fn clear(&self) {
        let mut inner = self.lock_by_owner();
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

    /// Called by the owner: adds a cell for a local. Returns false if there was one. The caller must check afterwards
    /// that the local is still alive.
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
        // See `LocalShared::has_no_cells`.
        fence_after_rmw();
        Ok(true)
    }

    /// Undoes `add_cell`.
    pub(crate) fn remove_cell(&self, key: usize) {
        let inner = self.lock_by_owner();
        if let Some(cell) = inner.find(key) {
            inner.tombstone_cell(cell);
        }
    }

    /// The owner's value, if it has one.
    pub(crate) fn lookup(&self, key: usize) -> Option<*mut c_void> {
        let inner = self.lock_and_shrink();
        let cell = inner.find(key)?;
        cell.has_value().then(|| cell.value.load(Ordering::Relaxed))
    }

    /// Sets the owner's value for a local that has a cell. Returns the former value, to be destroyed. `None` if the
    /// local was freed.
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

    /// Takes the owner's value. `None` if it has none.
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

/// The state of a cell whose value was set in this round. Never 0.
fn stamp(round: u32) -> usize {
    (round as usize) << 1 | 1
}

/// The value of `guests` if there are none.
fn no_guests() -> u32 {
    if asymmetric_fence::is_available() { 0 } else { NO_BIAS }
}

/// The owner's access to its table, during which guests are excluded.
struct OwnerGuard<'a> {
    table: &'a Table,
    /// `None` if the owner has bypassed the mutex.
    mutex: Option<InternalMutexGuard<'a, TableInner>>,
}

impl Deref for OwnerGuard<'_> {
    type Target = TableInner;

    #[inline(always)]
    fn deref(&self) -> &TableInner {
        // SAFETY: guests are excluded as long as this guard exists, and the owner has one guard at a time.
        unsafe { &*self.table.inner_lock.data_ptr() }
    }
}

impl DerefMut for OwnerGuard<'_> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut TableInner {
        // SAFETY: as above.
        unsafe { &mut *self.table.inner_lock.data_ptr() }
    }
}

impl Drop for OwnerGuard<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.mutex.is_none() {
            self.table.owner_busy.store(0, Ordering::Release);
        }
    }
}

impl ValueCell {
    /// Called by the owner or a guest, as `is_live`.
    fn has_value(&self) -> bool {
        self.state.get() != 0
    }

    fn destructor(&self) -> Option<Destructor> {
        self.shared.get().and_then(LocalShared::destructor)
    }

    /// Whether a rehash must keep the cell.
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
            key: AtomicUsize::new(if at == 0 { EMPTY + CELL0_BIAS } else { EMPTY }),
            value: AtomicPtr::new(ptr::null_mut()),
            state: Cell::new(0),
            shared: Cell::new(None),
        }));
        Ok(cells)
    }

    /// See `Table::tombstone`.
    fn tombstone(&mut self, key: usize) -> bool {
        let Some(cell) = self.find(key) else { return false };
        let has_value = cell.has_value();
        self.tombstone_cell(cell);
        has_value || self.attributes().is_some_and(|attributes| attributes.has_any(key))
    }

    /// See `Table::take_freed`.
    fn take_freed(&mut self, key: usize) -> Option<PendingDestroy> {
        match self.find_tombstone(key) {
            Some(cell) => Some(self.take(cell)),
            None => self.attributes()?.take_first(key).map(PendingDestroy::from),
        }
    }

    fn attributes(&mut self) -> Option<&mut Attributes> {
        // SAFETY: `get_or_create_attributes` allocated it, and the table owns it.
        unsafe { self.attributes.as_mut() }
    }

    /// The attributes, if the cell is that of this local: the attributes of a freed local are not found.
    #[inline(always)]
    fn attributes_of(&self, cell: &ValueCell, key: usize) -> Option<&Attributes> {
        if cell.key.load(Ordering::Relaxed) != key {
            return None;
        }
        // SAFETY: as in `attributes`.
        unsafe { self.attributes.as_ref() }
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
            // SAFETY: `get_or_create_attributes` allocated it, and no pointer to it is left.
            unsafe {
                ptr::drop_in_place(attributes);
                sys::free(attributes.cast());
            }
        }
    }

    /// Whether less than an eighth of the cells is needed.
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

    /// Finds the value of a freed and closed local that is still to be destroyed.
    fn find_tombstone(&self, key: usize) -> Option<&ValueCell> {
        let matches = |at: usize| is_tombstone(self.key(at)) && self.cells[at].state.get() == key;
        let at = self.search(key).until(|at| matches(at) || is_empty(self.key(at)));
        Some(&self.cells[at]).filter(|_| matches(at))
    }

    /// Finds the cell for a key that is not in the table: the first of its probe sequence that can be reused. `None`
    /// if the table has to grow first.
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

    /// Changes the cell of a freed local to a tombstone; its value, if there is one, is still to be destroyed.
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

    /// Changes the key of a cell to the tombstone, and returns the former one.
    fn set_tombstone(&self, cell: &ValueCell) -> usize {
        let is_cell0 = ptr::eq(cell, &raw const self.cells[0]);
        let key = cell.key.load(Ordering::Relaxed);
        cell.key.store(if is_cell0 { TOMBSTONE + CELL0_BIAS } else { TOMBSTONE }, Ordering::Relaxed);
        key
    }

    /// Takes the value of a cell that has one.
    fn take(&self, cell: &ValueCell) -> PendingDestroy {
        let value = cell.value.swap(ptr::null_mut(), Ordering::Relaxed);
        // After the value: see `reset_interrupted_change`.
        cell.state.set(0);
        self.value_count.set(self.value_count.get() - 1);
        if is_tombstone(cell.key.load(Ordering::Relaxed)) {
            self.live_cells.set(self.live_cells.get() - 1);
        }
        PendingDestroy { value, destroy: cell.destructor() }
    }

    /// Moves the live cells to a new array that has room for at least one more.
    fn rehash(&mut self) -> Result<()> {
        let size = ((self.live_cells.get() + 1).next_power_of_two() * 2).max(MIN_CELLS);
        let former = core::mem::replace(&mut self.cells, Self::cells(size)?);
        (self.used_cells, self.live_cells) = (0, Cell::new(0));
        for cell in former.iter().filter(|cell| cell.is_live()) {
            let key = cell.key.load(Ordering::Relaxed);
            let is_freed = is_tombstone(key);
            let handle = if is_freed { cell.state.get() } else { key };
            let at = self.search(handle).until(|at| is_empty(self.key(at)));
            let Some(shared) = cell.shared.get() else { continue };
            self.insert(at, handle, shared);
            let moved = &self.cells[at];
            if is_freed {
                self.set_tombstone(moved);
            }
            moved.state.set(cell.state.get());
            moved.value.store(cell.value.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        Ok(())
    }

    /// See `Table::take_older`.
    fn take_older(&mut self, at: &mut usize) -> Option<PendingDestroy> {
        let now = stamp(self.round);
        while self.value_count.get() > 0 {
            let Some(cell) = self.cells.get(*at) else { break };
            *at += 1;
            let is_freed = is_tombstone(cell.key.load(Ordering::Relaxed));
            if cell.has_value() && (is_freed || cell.state.get() < now) {
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
        table.lock_by_owner().cells.len()
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
            let inner = table.lock_by_owner();
            let mut probes = 0;
            for key in keys() {
                inner.search(key).until(|at| {
                    probes += 1;
                    inner.key(at) == key
                });
            }
            assert!(probes < 4 * MANY, "{probes} probes for {MANY} handles {stride} apart");
            // The same for handles that are not in the table.
            for key in keys() {
                inner.search(key.wrapping_add(MANY * stride)).until(|at| {
                    probes += 1;
                    is_empty(inner.key(at))
                });
            }
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
