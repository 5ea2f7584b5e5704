//! Local: Python's `threading.local`. Data of which each thread has its own: one value, and any number of
//! named attributes.
//!
//! The values lie in the threads' tables: see `runtime::values`. The local itself is what its makers gave,
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

use crate::atomic::{AtomicPtr, Ordering, fence};
use core::ffi::{CStr, c_void};
use core::ptr;

use crate::detector::{happens_after, happens_before};
use crate::error::{Error, Result};
use crate::handle::header::{GENERATION, Header};
use crate::handle::{Handle, Kind};
use crate::runtime::life::Destructor;
use crate::runtime::values::{self, Table};
use crate::runtime::{exit, identity, registry, system};

/// Makes the value of the thread that calls it.
pub type Init = unsafe extern "C-unwind" fn(arg: *mut c_void) -> *mut c_void;

/// See the module.
const CLOSING: u64 = 1 << 7;

/// See the module.
#[repr(C, align(64))]
pub struct Local {
    header: Header,
    init: AtomicPtr<c_void>,
    arg: AtomicPtr<c_void>,
    destroy: AtomicPtr<c_void>,
}

// SAFETY: zero is a local without init and destructor; all of it is shareable; it begins with its header.
unsafe impl Kind for Local {
    const INDEX: usize = 8;

    fn header(&self) -> &Header {
        &self.header
    }

    fn kill(&self, tag: u64) {
        self.end_life(tag);
    }

    fn end_life(&self, tag: u64) {
        let closing = (tag & GENERATION) | CLOSING;
        let _ = self.header.word.compare_exchange(tag, closing, Ordering::Release, Ordering::Relaxed);
    }

    fn refused(&self, tag: u64) {
        let gone = tag & GENERATION;
        // Whoever has seen that there is no reference left sees this word.
        fence(Ordering::Acquire);
        if self.header.word.load(Ordering::Acquire) == gone | CLOSING {
            values::close_local(
                ptr::from_ref(self) as usize | gone as usize,
                || self.header.word.load(Ordering::Relaxed) == gone | CLOSING,
                || self.header.word.store(gone, Ordering::Release),
            );
        }
    }

    fn let_go(&self) {
        happens_after(self);
        // The life has ended, the generation has not changed yet: the handle is still the key.
        let generation = self.header.generation();
        self.refused(generation);
        values::destroy_local(ptr::from_ref(self) as usize | generation as usize);
    }
}

impl Local {
    fn destroy(&self) -> Option<Destructor> {
        let destroy = self.destroy.load(Ordering::Acquire);
        // SAFETY: `make` stored a `Destructor`, or NULL, which is None.
        unsafe { core::mem::transmute::<*mut c_void, Option<Destructor>>(destroy) }
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
        Self::make(None, ptr::null_mut(), destroy)
    }

    /// A local whose value `init(arg)` makes in each thread, at the first call there.
    ///
    /// # Safety
    /// As for `new`; and `arg` is what `init` takes, in any thread, as long as the local lives.
    pub unsafe fn new_with_init(init: Init, arg: *mut c_void, destroy: Option<Destructor>) -> Result<Self> {
        Self::make(Some(init), arg, destroy)
    }

    fn make(init: Option<Init>, arg: *mut c_void, destroy: Option<Destructor>) -> Result<Self> {
        Handle::create(0, |local: &Local, _| {
            local.init.store(init.map_or(ptr::null_mut(), |init| init as *mut c_void), Ordering::Release);
            local.arg.store(arg, Ordering::Release);
            local
                .destroy
                .store(destroy.map_or(ptr::null_mut(), |destroy| destroy as *mut c_void), Ordering::Release);
        })
    }

    /// The calling thread's table, in which it has met this local: init has run. And the local's destructor.
    fn met(self) -> Result<(&'static Table, Option<Destructor>)> {
        let (init, arg, destroy) =
            self.read(|local| (local.init(), local.arg.load(Ordering::Acquire), local.destroy()))?;
        let known = values::get(self.bits()).is_some();
        let table = values::mine()?;
        if known || !table.meet(self.bits(), destroy)? {
            return Ok((table, destroy));
        }
        // Whoever freed the local meanwhile may have been here before.
        self.check().inspect_err(|_| table.part(self.bits()))?;
        if registry::is_main(identity::ident()) {
            // Main's values are destroyed when the process leaves.
            exit::need().inspect_err(|_| table.part(self.bits()))?;
        }
        if let Some(init) = init {
            // SAFETY: whoever made the local promised that init takes this argument.
            let value = system::callback(|| unsafe { init(arg) });
            self.put(table, value)?;
        }
        Ok((table, destroy))
    }

    /// Sets the value; what was there before is destroyed.
    fn put(self, table: &'static Table, value: *mut c_void) -> Result<()> {
        happens_before(self.slot()?.0);
        table.set(self.bits(), value).ok_or_else(|| self.refusal())?.pay();
        self.unless_freed(|| table.take(self.bits()))
    }

    /// A table does not know the local any more that it has met.
    fn refusal(self) -> Error {
        self.check().err().unwrap_or(Error::Handle)
    }

    /// What was looked for and not found was not there, unless whoever has freed the local meanwhile has it.
    fn found<V>(self, sought: Option<V>) -> Result<Option<V>> {
        if sought.is_none() {
            self.check()?;
        }
        Ok(sought)
    }

    /// Whoever has freed the local while something was set may have come too early to destroy it: then it is
    /// taken back, and stays the caller's. Otherwise it has been destroyed, as it should.
    fn unless_freed(self, take_back: impl FnOnce() -> Option<values::Owed>) -> Result<()> {
        match self.check() {
            Ok(_) => Ok(()),
            Err(error) => take_back().map_or(Ok(()), |owed| {
                owed.remit();
                Err(error)
            }),
        }
    }

    /// The calling thread's value; `None` if it has none.
    pub fn lookup(self) -> Result<Option<*mut c_void>> {
        let (table, _) = self.met()?;
        self.found(table.lookup(self.bits()))
    }

    /// The calling thread's value, if it takes one look to find it. `None` leaves everything open.
    #[inline(always)]
    pub(crate) fn get_at_once(self) -> Option<*mut c_void> {
        values::get_at_once(self.bits())
    }

    /// The calling thread's value; NULL if it has none.
    #[inline]
    pub fn get(self) -> Result<*mut c_void> {
        match values::get(self.bits()) {
            Some(value) => Ok(value),
            None => self.lookup().map(|value| value.unwrap_or(ptr::null_mut())),
        }
    }

    /// Sets the calling thread's value; the former one is destroyed, unless it is the same.
    ///
    /// # Safety
    /// The value is what the local's destructor takes, in any thread.
    pub unsafe fn set(self, value: *mut c_void) -> Result<()> {
        let (table, _) = self.met()?;
        self.put(table, value)
    }

    /// Deletes and destroys the calling thread's value. False if it has none.
    pub fn del(self) -> Result<bool> {
        let (table, _) = self.met()?;
        Ok(self.found(table.take(self.bits()))?.map(values::Owed::pay).is_some())
    }

    /// Sets an attribute of the calling thread's.
    ///
    /// # Safety
    /// As for `set`.
    pub unsafe fn set_attr(self, name: &CStr, value: *mut c_void) -> Result<()> {
        let (table, destroy) = self.met()?;
        let name = name.to_bytes();
        happens_before(self.slot()?.0);
        table.set_attribute(self.bits(), name, value, destroy)?.ok_or_else(|| self.refusal())?.pay();
        self.unless_freed(|| table.take_attribute(self.bits(), name))
    }

    /// An attribute of the calling thread's; `None` if it has none of this name.
    pub fn attr(self, name: &CStr) -> Result<Option<*mut c_void>> {
        let (table, _) = self.met()?;
        self.found(table.attribute(self.bits(), name.to_bytes()))
    }

    /// Deletes and destroys an attribute. False if there is none of this name.
    pub fn del_attr(self, name: &CStr) -> Result<bool> {
        let (table, _) = self.met()?;
        Ok(self.found(table.take_attribute(self.bits(), name.to_bytes()))?.map(values::Owed::pay).is_some())
    }
}
