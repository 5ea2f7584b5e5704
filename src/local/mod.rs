//! Local: Python's `threading.local`. Thread-specific data: for each thread one value, and any number of named
//! attributes.
//!
//! The values are in the threads' tables: see `local::tables`. The local itself contains what its constructor was
//! given, which does not change.
//!
//! # State (`word`)
//!
//! | word | meaning | who changes it, with which ordering |
//! |---|---|---|
//! | generation and `LIVE` | alive | the thread that releases the last reference, or one that finds `DYING` in `refs` earlier: to `CLOSING`, release |
//! | generation and `CLOSING` | freed, but `get_fast` may still find values | the first thread that observes it, at the latest the one that released the last reference (`close`): to the generation alone, acquire and release, if the local has no cells; otherwise to `CLAIMED`, relaxed, under the mutex of the list of tables |
//! | generation, `CLOSING` and `CLAIMED` | the same; the first thread is changing the cells of the local to tombstones | that thread, when all of them have become tombstones: to the generation alone, release. In a child of fork that does not have it, the next thread that observes this does its work. Both under the mutex |
//! | generation | freed, and no thread finds a value | the recycling of the slot: to the next generation, release |
//!
//! `LIVE` may be stale by the time the caller acts on it (see `undo_if_freed`). `CLOSING` is checked again under the
//! mutex. A local whose cells are being changed is `CLAIMED`, so that a thread that finds it without cells near the end
//! of this change does not close it: the first thread knows which values are left.
//!
//! `get_fast` reads only the calling thread's cell, not this word. So a call reports that the handle is stale only
//! after all cells of the local have become tombstones. The first thread that observes `CLOSING` does this itself: it
//! does not wait for the thread that freed the local, which may not exist in a child of fork.

pub(crate) mod attributes;
pub(crate) mod cells;
pub(crate) mod hash;
pub(crate) mod index;
pub(crate) mod pending_destroy;
pub(crate) mod shared;
pub(crate) mod table;
pub(crate) mod tables;

use crate::sys::atomic::{AtomicPtr, Ordering, fence};
use core::ffi::{CStr, c_void};
use core::ptr;

use crate::callbacks::{AtomicCallback, Destructor, Init};
use crate::error::{Error, Result};
use crate::handle::header::{GENERATION, Header};
use crate::handle::{Handle, Object, ObjectKind};
use crate::local::pending_destroy::PendingDestroy;
use crate::local::shared::LocalShared;
use crate::local::table::Table;
use crate::local::tables::Leftover;
use crate::sync::atexit::ensure_atexit_registered;
use crate::sys::annotate::{self, happens_after, happens_before};
use crate::sys::pthread;
use crate::thread::{ident, registry};

/// In `word`: freed, but cells with values may be left. See the module.
const CLOSING: u64 = 1 << 7;
/// In `word`, with `CLOSING`: a thread is changing the cells to tombstones.
const CLAIMED: u64 = 1 << 8;

/// A pointer for each thread, and any number of further ones by name, its attributes. Python: `threading.local`.
///
/// Rust programs use [`ThreadLocal`](crate::ThreadLocal), whose values have a type. A `Local` is for pointers that
/// are shared with C, and for attributes. Its destructor is called with each value that is replaced, deleted, or left
/// when its thread exits or the local is freed.
///
/// ```
/// use core::ffi::c_void;
/// use threading::Local;
///
/// unsafe extern "C-unwind" fn destroy(value: *mut c_void) {
///     // SAFETY: each value is from `Box::into_raw`.
///     drop(unsafe { Box::from_raw(value.cast::<u32>()) });
/// }
///
/// // SAFETY: `destroy` takes what is set below.
/// let local = unsafe { Local::new(Some(destroy))? };
/// let boxed = |number: u32| Box::into_raw(Box::new(number)).cast();
/// // SAFETY: as above.
/// unsafe {
///     local.set(boxed(1))?;
///     local.set_attr(c"color", boxed(2))?;
/// }
/// assert_eq!(local.attr(c"size"), Ok(None));
/// assert_eq!(local.del_attr(c"color"), Ok(true));
/// std::thread::scope(|scope| {
///     scope.spawn(|| assert_eq!(local.lookup(), Ok(None)));
/// });
/// # Ok::<(), threading::Error>(())
/// ```
#[repr(C, align(64))]
pub struct Local {
    header: Header,
    init: AtomicCallback<Init>,
    arg: AtomicPtr<c_void>,
    shared: LocalShared,
}

const _: () = assert!(size_of::<Local>() == 64);

// SAFETY: all-zero is a local without init and destructor; all fields can be shared; the header comes first.
unsafe impl Object for Local {
    const KIND: ObjectKind = ObjectKind::Local;

    fn header(&self) -> &Header {
        &self.header
    }

    fn invalidate(&self, tag: u64) {
        self.clear_live(tag);
    }

    fn clear_live(&self, tag: u64) {
        let closing = (tag & GENERATION) | CLOSING;
        let _ = self.header.word.compare_exchange(tag, closing, Ordering::Release, Ordering::Relaxed);
    }

    fn on_stale_handle(&self, tag: u64) {
        self.close(tag & GENERATION);
    }

    fn dispose(&self) {
        happens_after(self);
        // The object is dead, but its generation has not been advanced yet: the handle is still the key.
        let generation = self.header.generation();
        // `None`: another thread observed the stale handle and has closed the local.
        let left = self.close(generation).unwrap_or(Leftover::Any);
        tables::destroy_local(self.key(), left);
    }
}

impl Local {
    /// The handle, which is the key of the local in the tables until the slot is recycled.
    fn key(&self) -> usize {
        // SAFETY: a local is in a slot, and slots stay valid.
        Handle::of(unsafe { &*ptr::from_ref(self) }).bits()
    }

    /// Closes the local of this generation, if it is freed and not closed yet. Returns what is left to be destroyed.
    fn close(&self, generation: u64) -> Option<Leftover> {
        // A thread that has observed that there are no references must observe `CLOSING`.
        fence(Ordering::Acquire);
        let word = &self.header.word;
        if word.load(Ordering::Acquire) & !CLAIMED != generation | CLOSING {
            return None;
        }
        let change = |to, ordering| {
            word.compare_exchange(generation | CLOSING, to, ordering, Ordering::Relaxed).is_ok()
        };
        // A thread that adds a cell after this observes that the local is freed, and removes the cell.
        if self.shared.has_no_cells() && change(generation, Ordering::AcqRel) {
            return Some(Leftover::Nothing);
        }
        let claim = || {
            let claimed = generation | CLOSING | CLAIMED;
            change(claimed, Ordering::Relaxed) || word.load(Ordering::Relaxed) == claimed
        };
        tables::close_local(self.key(), &self.shared, claim, || word.store(generation, Ordering::Release))
    }
}

impl Handle<Local> {
    /// Creates a local without values. `destroy` is called with each value that is not needed any more.
    /// [`ThreadLocal`](crate::ThreadLocal) is the safe type.
    ///
    /// # Safety
    /// `destroy` may be called, on any thread, with each value that is set.
    pub unsafe fn new(destroy: Option<Destructor>) -> Result<Self> {
        Self::create_local(None, ptr::null_mut(), destroy)
    }

    /// Creates a local whose value in each thread is initially `init(arg)`, called when the thread first uses the
    /// local.
    ///
    /// # Safety
    /// As for `new`; and `init` may be called with `arg` on any thread, as long as the local lives.
    pub unsafe fn new_with_init(init: Init, arg: *mut c_void, destroy: Option<Destructor>) -> Result<Self> {
        Self::create_local(Some(init), arg, destroy)
    }

    fn create_local(init: Option<Init>, arg: *mut c_void, destroy: Option<Destructor>) -> Result<Self> {
        Handle::create(0, |local: &Local, _| {
            local.init.store(init, Ordering::Release);
            local.arg.store(arg, Ordering::Release);
            local.shared.set_destructor(destroy);
        })
    }

    /// Returns the calling thread's table, in which the local has a cell. `init` is called if the cell is new.
    fn ensure_cell(self) -> Result<&'static Table> {
        let (init, arg, shared) = self.read(|local| {
            let init = local.init.load(Ordering::Acquire).map(|init| (init, local.shared.destructor()));
            (init, local.arg.load(Ordering::Acquire), &local.shared)
        })?;
        let has_cell = tables::get(self.bits()).is_some();
        let table = tables::current_or_create()?;
        if has_cell || !self.add_cell(table, shared)? {
            return Ok(table);
        }
        if registry::is_main(ident::ident()) {
            // The main thread's values are destroyed at process exit.
            ensure_atexit_registered().inspect_err(|_| table.remove_cell(self.bits()))?;
        }
        if let Some((init, destroy)) = init {
            let sets = table.sets();
            // SAFETY: the creator of the local guarantees that `init` may be called with this argument.
            let value = pthread::call_user(|| unsafe { init(arg) });
            // If `init` has set a value itself, that may be the same, and a free of the local has destroyed it.
            let is_own = table.sets() == sets;
            self.store_value(table, value).inspect_err(|_| {
                if is_own {
                    // The local was freed during the call: no other code gets the value.
                    PendingDestroy { value, destroy }.run();
                }
            })?;
        }
        Ok(table)
    }

    /// Adds a cell for the local to the calling thread's table. Returns false if there was one.
    fn add_cell(self, table: &Table, shared: &'static LocalShared) -> Result<bool> {
        // While the slot is pinned, it is not reused by another local. When the pin is dropped, `cell_count` includes
        // the new cell, so that a free of the local finds it, or the cell has been removed again.
        let _pin = self.pin()?;
        let is_first = table.add_cell(self.bits(), shared)?;
        if is_first {
            // A concurrent free of the local may have passed this table before the cell was added.
            self.check().inspect_err(|_| table.remove_cell(self.bits()))?;
        }
        Ok(is_first)
    }

    /// Sets the value, and destroys the former one.
    fn store_value(self, table: &'static Table, value: *mut c_void) -> Result<()> {
        happens_before(self.slot()?.0);
        table.set(self.bits(), value).ok_or_else(|| self.freed_error())?.run();
        self.undo_if_freed(|| table.take(self.bits()))
    }

    /// The error for a local whose cell in the calling thread's table has become a tombstone.
    fn freed_error(self) -> Error {
        self.check().err().unwrap_or(Error::Handle)
    }

    /// If nothing was found, checks the handle: the local may have been freed, and its values with it.
    fn check_if_absent<V>(self, found: Option<V>) -> Result<Option<V>> {
        if found.is_none() {
            self.check()?;
        }
        Ok(found)
    }

    /// Called after a value was set. If the local has been freed concurrently, the thread that freed it may have
    /// passed this table too early to destroy the value. Then the value is taken out again, still belongs to the
    /// caller, and the call fails. If there is nothing to take, the value has been destroyed, and the call succeeds.
    fn undo_if_freed(self, take_back: impl FnOnce() -> Option<PendingDestroy>) -> Result<()> {
        match self.check() {
            Ok(_) => Ok(()),
            // What is taken back is dropped without a call of the destructor.
            Err(error) => take_back().map_or(Ok(()), |_| Err(error)),
        }
    }

    /// Returns the calling thread's value, or `None` if it has none.
    pub fn lookup(self) -> Result<Option<*mut c_void>> {
        let table = self.ensure_cell()?;
        self.check_if_absent(table.lookup(self.bits()))
    }

    /// Returns the calling thread's value if its cell is the first that is probed. `None` does not mean that there is
    /// no value.
    #[inline(always)]
    pub(crate) fn get_fast(self) -> Option<*mut c_void> {
        tables::get_fast(self.bits())
    }

    /// Returns the calling thread's value, or NULL if it has none.
    #[inline]
    pub fn get(self) -> Result<*mut c_void> {
        match tables::get(self.bits()) {
            Some(value) => Ok(value),
            None => self.lookup().map(|value| value.unwrap_or(ptr::null_mut())),
        }
    }

    /// Sets the calling thread's value. The former value is destroyed, unless it is the same.
    ///
    /// # Safety
    /// The local's destructor may be called with the value, on any thread.
    pub unsafe fn set(self, value: *mut c_void) -> Result<()> {
        let table = self.ensure_cell()?;
        self.store_value(table, value)
    }

    /// Sets the calling thread's value if it has one, whose cell is the first that is probed, and that is not to be
    /// destroyed. On false, the slow path decides.
    ///
    /// # Safety
    /// As for `set`.
    #[inline(always)]
    pub(crate) unsafe fn set_fast(self, value: *mut c_void) -> bool {
        !annotate::is_active() && tables::set_fast(self.bits(), value)
    }

    /// Deletes and destroys the calling thread's value. Returns false if it has none.
    pub fn del(self) -> Result<bool> {
        let table = self.ensure_cell()?;
        Ok(self.check_if_absent(table.take(self.bits()))?.map(PendingDestroy::run).is_some())
    }

    /// Sets an attribute of the calling thread.
    ///
    /// # Safety
    /// As for `set`.
    pub unsafe fn set_attr(self, name: &CStr, value: *mut c_void) -> Result<()> {
        let table = self.ensure_cell()?;
        happens_before(self.slot()?.0);
        table.set_attribute(self.bits(), name, value)?.ok_or_else(|| self.freed_error())?.run();
        self.undo_if_freed(|| table.take_attribute(self.bits(), name))
    }

    /// As `set_fast`, for an attribute that exists.
    ///
    /// # Safety
    /// As for `set`.
    #[inline(always)]
    pub(crate) unsafe fn set_attr_fast(self, name: &CStr, value: *mut c_void) -> bool {
        !annotate::is_active() && tables::set_attribute_fast(self.bits(), name, value)
    }

    /// Returns an attribute of the calling thread. On `None`, the slow path decides.
    #[inline(always)]
    pub(crate) fn attr_fast(self, name: &CStr) -> Option<*mut c_void> {
        if annotate::is_active() { None } else { tables::attribute_fast(self.bits(), name) }
    }

    /// Returns an attribute of the calling thread, or `None` if it has none of this name.
    pub fn attr(self, name: &CStr) -> Result<Option<*mut c_void>> {
        let table = self.ensure_cell()?;
        self.check_if_absent(table.attribute(self.bits(), name))
    }

    /// Deletes and destroys an attribute of the calling thread. Returns false if it has none of this name.
    pub fn del_attr(self, name: &CStr) -> Result<bool> {
        let table = self.ensure_cell()?;
        Ok(self.check_if_absent(table.take_attribute(self.bits(), name))?.map(PendingDestroy::run).is_some())
    }
}
