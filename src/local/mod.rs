//! Local: Python's `threading.local`. Data of which each thread has its own: one value, and any number of
//! named attributes.
//!
//! The values lie in the threads' tables: see `local::tables`. The local itself is what its makers gave,
//! and does not change.
//!
//! # State
//!
//! | word | meaning | who changes it, with which ordering |
//! |---|---|---|
//! | generation and `LIVE` | it lives | the last free: to `CLOSING`, release |
//! | generation and `CLOSING` | it is gone, but threads may still find their values at the first look | whoever meets it so, the last free at the latest: to the generation alone, release, under the guard of all tables, where nobody finds such a value by then |
//! | generation | it is gone, and nobody finds a value | |
//!
//! The first look, a thread's own, sees no more of the local than its cell, and asks for no word. So nobody is told
//! that the handle is bad before all those cells are closed; whoever frees it need not be there for that, as in a
//! child of fork.

pub(crate) mod attributes;
pub(crate) mod table;
pub(crate) mod tables;

use crate::sys::atomic::{AtomicPtr, Ordering, fence};
use core::ffi::{CStr, c_void};
use core::ptr;

use crate::callbacks::{Destructor, Init};
use crate::error::{Error, Result};
use crate::handle::header::{GENERATION, Header};
use crate::handle::{Handle, Object, ObjectKind};
use crate::local::tables::{Leftover, LocalShared, Table};
use crate::sync::atexit::ensure_atexit_registered;
use crate::sys::annotate::{happens_after, happens_before};
use crate::sys::pthread;
use crate::thread::{ident, registry};

/// See the module.
const CLOSING: u64 = 1 << 7;

/// A pointer for each thread, and further ones by name: its attributes. Python: `threading.local`.
///
/// Rust programs use [`ThreadLocal`](crate::ThreadLocal), which has values of a type. A `Local` is for pointers that
/// cross to C, and for attributes. Its destructor gets each value that is replaced, deleted, or left when its thread
/// ends or the local is freed.
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
    init: AtomicPtr<c_void>,
    arg: AtomicPtr<c_void>,
    shared: LocalShared,
}

const _: () = assert!(size_of::<Local>() == 64);

// SAFETY: zero is a local without init and destructor; all of it is shareable; it begins with its header.
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
        // The life has ended, the generation has not changed yet: the handle is still the key.
        let generation = self.header.generation();
        // Another thread that was told that the handle is bad may have closed the local.
        let left = self.close(generation).unwrap_or(Leftover::Any);
        tables::destroy_local(self.key(), left);
    }
}

impl Local {
    /// The handle, as the tables know it, until the slot is recycled.
    fn key(&self) -> usize {
        // SAFETY: a local lies in a slot, which stays valid.
        Handle::of(unsafe { &*ptr::from_ref(self) }).bits()
    }

    /// Closes the local, if it is gone and not closed yet: what it leaves then.
    fn close(&self, gone: u64) -> Option<Leftover> {
        // Whoever has seen that there is no reference left sees this word.
        fence(Ordering::Acquire);
        if self.header.word.load(Ordering::Acquire) != gone | CLOSING {
            return None;
        }
        tables::close_local(
            self.key(),
            &self.shared,
            || self.header.word.load(Ordering::Relaxed) == gone | CLOSING,
            || self.header.word.store(gone, Ordering::Release),
        )
    }

    fn init(&self) -> Option<Init> {
        let init = self.init.load(Ordering::Acquire);
        // SAFETY: `make` stored an `Init`, or NULL, which is None.
        unsafe { core::mem::transmute::<*mut c_void, Option<Init>>(init) }
    }
}

impl Handle<Local> {
    /// A local without values. The destructor gets those that are not needed any more. The safe way is
    /// [`ThreadLocal`](crate::ThreadLocal).
    ///
    /// # Safety
    /// The destructor takes, in any thread, whatever will be set.
    pub unsafe fn new(destroy: Option<Destructor>) -> Result<Self> {
        Self::create_local(None, ptr::null_mut(), destroy)
    }

    /// A local whose value `init(arg)` makes in each thread, at the first call there.
    ///
    /// # Safety
    /// As for `new`; and `arg` is what `init` takes, in any thread, as long as the local lives.
    pub unsafe fn new_with_init(init: Init, arg: *mut c_void, destroy: Option<Destructor>) -> Result<Self> {
        Self::create_local(Some(init), arg, destroy)
    }

    fn create_local(init: Option<Init>, arg: *mut c_void, destroy: Option<Destructor>) -> Result<Self> {
        Handle::create(0, |local: &Local, _| {
            local.init.store(init.map_or(ptr::null_mut(), |init| init as *mut c_void), Ordering::Release);
            local.arg.store(arg, Ordering::Release);
            local.shared.set_destructor(destroy);
        })
    }

    /// The calling thread's table, in which it has met this local: init has run.
    fn ensure_cell(self) -> Result<&'static Table> {
        let (init, arg, shared) =
            self.read(|local| (local.init(), local.arg.load(Ordering::Acquire), &local.shared))?;
        let known = tables::get(self.bits()).is_some();
        let table = tables::current_or_create()?;
        if known || !self.add_cell(table, shared)? {
            return Ok(table);
        }
        if registry::is_main(ident::ident()) {
            // Main's values are destroyed when the process leaves.
            ensure_atexit_registered().inspect_err(|_| table.remove_cell(self.bits()))?;
        }
        if let Some(init) = init {
            // SAFETY: whoever made the local promised that init takes this argument.
            let value = pthread::call_user(|| unsafe { init(arg) });
            self.store_value(table, value)?;
        }
        Ok(table)
    }

    /// Notes in the thread's table that it has met the local. False if it had before.
    fn add_cell(self, table: &Table, shared: &'static LocalShared) -> Result<bool> {
        // The slot serves no other local before this cell of the table, which it counts, is known to a free of the
        // local, or is gone again.
        let _pin = self.pin()?;
        let is_first = table.add_cell(self.bits(), shared)?;
        if is_first {
            // A concurrent free of the local may have passed this table before.
            self.check().inspect_err(|_| table.remove_cell(self.bits()))?;
        }
        Ok(is_first)
    }

    /// Sets the value; what was there before is destroyed.
    fn store_value(self, table: &'static Table, value: *mut c_void) -> Result<()> {
        happens_before(self.slot()?.0);
        table.set(self.bits(), value).ok_or_else(|| self.freed_error())?.run();
        self.undo_if_freed(|| table.take(self.bits()))
    }

    /// A table does not know the local any more that it has met.
    fn freed_error(self) -> Error {
        self.check().err().unwrap_or(Error::Handle)
    }

    /// What was looked for and not found was not there, unless whoever has freed the local meanwhile has it.
    fn check_if_absent<V>(self, sought: Option<V>) -> Result<Option<V>> {
        if sought.is_none() {
            self.check()?;
        }
        Ok(sought)
    }

    /// Whoever has freed the local while something was set may have come too early to destroy it: then it is
    /// taken back, and stays the caller's. Otherwise it has been destroyed, as it should.
    fn undo_if_freed(self, take_back: impl FnOnce() -> Option<tables::PendingDestroy>) -> Result<()> {
        match self.check() {
            Ok(_) => Ok(()),
            // What is taken back is dropped without a call of the destructor.
            Err(error) => take_back().map_or(Ok(()), |_| Err(error)),
        }
    }

    /// The calling thread's value; `None` if it has none.
    pub fn lookup(self) -> Result<Option<*mut c_void>> {
        let table = self.ensure_cell()?;
        self.check_if_absent(table.lookup(self.bits()))
    }

    /// The calling thread's value, if it takes one look to find it. `None` leaves everything open.
    #[inline(always)]
    pub(crate) fn get_fast(self) -> Option<*mut c_void> {
        tables::get_fast(self.bits())
    }

    /// The calling thread's value; NULL if it has none.
    #[inline]
    pub fn get(self) -> Result<*mut c_void> {
        match tables::get(self.bits()) {
            Some(value) => Ok(value),
            None => self.lookup().map(|value| value.unwrap_or(ptr::null_mut())),
        }
    }

    /// Sets the calling thread's value; the former one is destroyed, unless it is the same.
    ///
    /// # Safety
    /// The value is what the local's destructor takes, in any thread.
    pub unsafe fn set(self, value: *mut c_void) -> Result<()> {
        let table = self.ensure_cell()?;
        self.store_value(table, value)
    }

    /// Deletes and destroys the calling thread's value. False if it has none.
    pub fn del(self) -> Result<bool> {
        let table = self.ensure_cell()?;
        Ok(self.check_if_absent(table.take(self.bits()))?.map(tables::PendingDestroy::run).is_some())
    }

    /// Sets an attribute of the calling thread's.
    ///
    /// # Safety
    /// As for `set`.
    pub unsafe fn set_attr(self, name: &CStr, value: *mut c_void) -> Result<()> {
        let table = self.ensure_cell()?;
        happens_before(self.slot()?.0);
        table.set_attribute(self.bits(), name, value)?.ok_or_else(|| self.freed_error())?.run();
        self.undo_if_freed(|| table.take_attribute(self.bits(), name))
    }

    /// An attribute of the calling thread's; `None` if it has none of this name.
    pub fn attr(self, name: &CStr) -> Result<Option<*mut c_void>> {
        let table = self.ensure_cell()?;
        self.check_if_absent(table.attribute(self.bits(), name))
    }

    /// Deletes and destroys an attribute. False if there is none of this name.
    pub fn del_attr(self, name: &CStr) -> Result<bool> {
        let table = self.ensure_cell()?;
        Ok(self
            .check_if_absent(table.take_attribute(self.bits(), name))?
            .map(tables::PendingDestroy::run)
            .is_some())
    }
}
