//! The values that each thread has for each local.
//!
//! A thread's values lie in a table of its own, found through its per-thread block: an open-addressed hash
//! table keyed by the whole handle of the local, so that a hit needs no further check. The owner alone reads
//! it without the table's guard, and alone replaces its memory; everything else, by whomever, is done under
//! the guard. Whoever frees a local goes through the tables of all threads.
//!
//! # A cell
//!
//! | key | value | meaning |
//! |---|---|---|
//! | 0 | | free; ends a search |
//! | a handle | `present` | this thread has a value |
//! | a handle | not `present`, NULL | it has none, but the local has been met here: its init has run |
//! | `GONE` | NULL | the local was freed; a search goes on |
//!
//! The key is published with release after the rest; the owner's reads are of its own writes, but for `GONE`
//! and the NULL beside it.
//!
//! Destructors are called outside of any guard. Each value is stamped with the round of destruction in which
//! it was set: a round at the thread's end destroys older ones only.

use core::cell::Cell;
use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::collections::HashMap;

use super::life::Destructor;
use super::{end, system};
use crate::error::{Error, Result};
use crate::park::guarded::{Forget, Guarded};
use crate::per_thread;

const GONE: usize = 1;

/// How many rounds of destruction a thread's end has; what is set after them is forgotten.
pub(crate) const ROUNDS: u32 = 4;

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
    guarded: Guarded<Rest>,
    next: Cell<*const Table>,
    previous: Cell<*const Table>,
}

struct Rest {
    cells: Vec<ValueCell>,
    used: usize,
    round: u32,
    /// By local, and then by name.
    attributes: HashMap<usize, Attributes>,
}

type Attributes = HashMap<Vec<u8>, Attribute>;

struct Attribute {
    value: *mut c_void,
    round: u32,
    destroy: Option<Destructor>,
}

/// The tables of all threads.
struct Tables {
    first: *const Table,
}

static TABLES: Guarded<Tables> = Guarded::new(Tables { first: ptr::null() });

// SAFETY: tables are reached under the guard, and leave the list before their memory is given back.
unsafe impl Send for Tables {}

impl Forget for Tables {
    fn forget(&mut self) {
        unreachable!("the tables are held across a fork");
    }
}

impl Forget for Rest {
    fn forget(&mut self) {
        // Only a table of a thread that the child does not have can be left in the middle of a change, and
        // the child forgets those whole.
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
            system::uncancelled(|| unsafe { destroy(self.value) });
        }
    }

    /// Leaves the value to whoever set it, undestroyed.
    pub(crate) fn remit(self) {}
}

fn slot_of(key: usize, mask: usize) -> usize {
    (key >> 6 ^ key >> 13) & mask
}

/// The calling thread's value for a local with this key, if the local has been met here. The fast path of
/// `local_get`.
#[inline(always)]
pub(crate) fn get(key: usize) -> Option<*mut c_void> {
    let table = per_thread::with(|mine| mine.locals.get()) as *const Table;
    // SAFETY: the thread's own table lives as long as the thread; its memory is replaced by this thread
    // alone.
    let table = unsafe { table.as_ref() }?;
    let (cells, mask) = (table.cells.get(), table.mask.get());
    let mut at = slot_of(key, mask);
    loop {
        // SAFETY: `at` is masked to the table's size.
        let cell = unsafe { &*cells.add(at) };
        match cell.key.load(Ordering::Relaxed) {
            found if found == key => return Some(cell.value.load(Ordering::Relaxed)),
            0 => return None,
            _ => at = (at + 1) & mask,
        }
    }
}

/// The calling thread's table, made if need be.
pub(crate) fn mine() -> Result<&'static Table> {
    let table = per_thread::with(|mine| mine.locals.get()) as *const Table;
    // SAFETY: lives as long as its thread.
    if let Some(table) = unsafe { table.as_ref() } {
        return Ok(table);
    }
    end::arm()?;
    Table::make()
}

impl Table {
    fn make() -> Result<&'static Table> {
        let cells = Rest::cells(8)?;
        // SAFETY: malloc's memory is aligned for a Table and large enough, and written before it is used.
        let table = unsafe {
            let table: *mut Table = libc::malloc(size_of::<Table>()).cast();
            if table.is_null() {
                return Err(Error::NoMemory);
            }
            table.write(Table {
                cells: Cell::new(cells.as_ptr()),
                mask: Cell::new(cells.len() - 1),
                guarded: Guarded::new(Rest { cells, used: 0, round: 0, attributes: HashMap::new() }),
                next: Cell::new(ptr::null()),
                previous: Cell::new(ptr::null()),
            });
            &*table
        };
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
        }
        rest.insert(key, destroy);
        Ok(true)
    }

    /// Forgets a local that this thread has met while it was being freed.
    pub(crate) fn part(&self, key: usize) {
        if let Some(cell) = self.guarded.lock().find(key) {
            cell.key.store(GONE, Ordering::Relaxed);
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
    fn take(&self) -> Owed {
        self.present.set(false);
        Owed { value: self.value.swap(ptr::null_mut(), Ordering::Relaxed), destroy: self.destroy.get() }
    }
}

impl Rest {
    fn cells(count: usize) -> Result<Vec<ValueCell>> {
        let mut cells = Vec::new();
        cells.try_reserve_exact(count).map_err(|_| Error::NoMemory)?;
        cells.extend((0..count).map(|_| ValueCell {
            key: AtomicUsize::new(0),
            value: AtomicPtr::new(ptr::null_mut()),
            present: Cell::new(false),
            round: Cell::new(0),
            destroy: Cell::new(None),
        }));
        Ok(cells)
    }

    fn find(&self, key: usize) -> Option<&ValueCell> {
        let mask = self.cells.len() - 1;
        let mut at = slot_of(key, mask);
        loop {
            match self.cells[at].key.load(Ordering::Relaxed) {
                found if found == key => return Some(&self.cells[at]),
                0 => return None,
                _ => at = (at + 1) & mask,
            }
        }
    }

    /// There is room, and the key is not there.
    fn insert(&mut self, key: usize, destroy: Option<Destructor>) -> usize {
        let mask = self.cells.len() - 1;
        let mut at = slot_of(key, mask);
        while self.cells[at].key.load(Ordering::Relaxed) != 0 {
            at = (at + 1) & mask;
        }
        self.cells[at].destroy.set(destroy);
        self.cells[at].key.store(key, Ordering::Release);
        self.used += 1;
        at
    }

    /// Makes room, and leaves those behind that are gone.
    fn grow(&mut self) -> Result<()> {
        let living = self.cells.iter().filter(|cell| cell.key.load(Ordering::Relaxed) > GONE).count();
        let former = core::mem::replace(&mut self.cells, Self::cells((living + 1).next_power_of_two() * 2)?);
        self.used = 0;
        for cell in former.iter().filter(|cell| cell.key.load(Ordering::Relaxed) > GONE) {
            let at = self.insert(cell.key.load(Ordering::Relaxed), cell.destroy.get());
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
            if cell.present.get() && cell.round.get() < round {
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

/// Destroys what the calling thread has, but for what is set meanwhile. False if there was nothing.
pub(crate) fn destroy_round() -> bool {
    let table = per_thread::with(|mine| mine.locals.get()) as *const Table;
    // SAFETY: lives as long as its thread.
    let Some(table) = (unsafe { table.as_ref() }) else { return false };
    table.guarded.lock().round += 1;
    let mut any = false;
    loop {
        let mut at = 0;
        let mut found = false;
        loop {
            // Bound before it is paid: the guard must be free by then.
            let owed = table.guarded.lock().take_older(&mut at);
            let Some(owed) = owed else { break };
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
    // SAFETY: written by `make`; nobody else finds it any more.
    unsafe {
        ptr::drop_in_place(table);
        libc::free(table.cast());
    }
}

/// Destroys the values and attributes of a local that is gone, those of all threads.
pub(crate) fn destroy_local(key: usize) {
    loop {
        // Bound before it is paid: the guard must be free by then.
        let owed = TABLES.lock().take(key);
        let Some(owed) = owed else { break };
        owed.pay();
    }
}

impl Tables {
    fn take(&self, key: usize) -> Option<Owed> {
        let mut at = self.first;
        // SAFETY: tables in the list are valid.
        while let Some(table) = unsafe { at.as_ref() } {
            let mut rest = table.guarded.lock();
            if let Some(cell) = rest.find(key) {
                cell.key.store(GONE, Ordering::Relaxed);
                if cell.present.get() {
                    return Some(cell.take());
                }
            }
            let attribute = rest.take_attribute(Some(key), |_| true);
            if attribute.is_some() {
                return attribute;
            }
            at = table.next.get();
        }
        None
    }
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

/// In a child of fork: the values of the others are left alone, and out of reach.
pub(crate) fn begin_child() {
    let mine = per_thread::with(|mine| mine.locals.get()) as *const Table;
    let mut tables = TABLES.lock();
    tables.first = mine;
    // SAFETY: lives as long as its thread.
    if let Some(mine) = unsafe { mine.as_ref() } {
        mine.next.set(ptr::null());
        mine.previous.set(ptr::null());
    }
}
