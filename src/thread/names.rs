//! Storage of names, and the counter of default names. `thread::naming` defines the default names and what renaming
//! means.
//!
//! A thread's current name is a small allocation. A name whose pointer has been returned to a caller is *exposed*: it
//! is kept until the thread is freed, one copy of each text. A name that is not exposed is freed by the next rename.
//!
//! # State (`NameList::current`)
//!
//! These changes are made under the thread's name lock, with release. `init` and `free_all` store 0 without it, before
//! and after other threads use the slot.
//!
//! | state | meaning | changed by |
//! |---|---|---|
//! | 0 | the default name, not exposed | `set`: to a name. `expose`: to the default name with `EXPOSED` |
//! | a name | not exposed | `set`: to another name; the old one is freed. `expose`: to the same with `EXPOSED` |
//! | a name with `EXPOSED` | exposed | `set`: to another name; the old one enters `NameList::kept` |
//! | any | | `set`: to a name of `NameList::kept`, with `EXPOSED`. `reset_to_default`, in a child of fork: to 0 |
//!
//! Any thread may read an exposed name without a lock (`exposed_text`), and whether there is a name. A thread that
//! changes the name, or reads one that is not exposed, holds the name lock. There are a few name locks for all threads
//! ([`NAME_LOCKS`]). No memory is allocated or freed and no system call is made under one, except in a child of fork
//! that has one thread. `NameList::kept` is a hash table ([`name_table`](crate::thread::name_table)) of the exposed
//! names other than the current one, also protected by the name lock. The counter of default names is part of the
//! registry, since each start uses it.

use crate::sys::atomic::{AtomicPtr, AtomicU32, Ordering};
use core::ffi::{CStr, c_char, c_void};
use core::ptr;

use crate::error::{Error, Result};
use crate::sync::fork_lock::ForkLock;
use crate::sync::mutex::{ForkReset, InternalMutex, InternalMutexGuard};
use crate::sync::padded::Padded;
use crate::sys::fd;
use crate::sys::offsets::offsets;
use crate::thread::name_table::{
    NameTable, NameTableHeader, Node, OwnedName, are_equal, hash_of, insert, take, text_of,
};

/// The longest name in a report.
pub(crate) const MAX_REPORTED_NAME: usize = 64;

/// The data of a name lock: the permission to change the names of the threads that use this lock.
struct NameAccess;

/// The number of name locks.
const LOCK_COUNT: usize = 64;

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static NAME_LOCKS: Padded<[InternalMutex<NameAccess>; LOCK_COUNT]> =
    Padded::new([const { InternalMutex::new(NameAccess) }; LOCK_COUNT]);

/// The counter of default names. Threads, timers and dummies without a name share it.
pub(crate) struct NameCounter {
    next: u32,
}

impl NameCounter {
    pub(crate) const INITIAL: Self = NameCounter { next: 1 };

    /// Assigns the next number, unless the thread has one.
    pub(crate) fn assign(&mut self, number: &AtomicU32) {
        if number.load(Ordering::Relaxed) == 0 {
            number.store(self.next, Ordering::Relaxed);
            self.next = Self::successor(self.next);
        }
    }

    /// After a failed start: makes the thread's number the next one again, if no caller has seen it. If a later number
    /// has been assigned since, the thread keeps its number, so that no other thread gets it.
    pub(crate) fn unassign(&mut self, number: &AtomicU32, is_seen: bool) {
        let assigned = number.load(Ordering::Relaxed);
        if assigned != 0 && !is_seen && Self::successor(assigned) == self.next {
            number.store(0, Ordering::Relaxed);
            self.next = assigned;
        }
    }

    fn successor(number: u32) -> u32 {
        number.checked_add(1).unwrap_or(1)
    }
}

impl ForkReset for NameAccess {
    fn reset_in_child(&mut self) {
        // A change that was interrupted has leaked names at most: see `replace`.
    }
}

/// The size of the slots that contain the lists. Adjacent slots have different locks.
pub(crate) const SLOT_SIZE: usize = 128;

/// The current name of a thread, and its other exposed names.
#[repr(C)]
pub(crate) struct NameList {
    current: AtomicPtr<c_void>,
    kept: AtomicPtr<c_void>,
}

offsets!(NameListOffsets of NameList: current);

impl NameList {
    /// Initializes the list of a new thread: it has the default name.
    pub(crate) fn init(&self) {
        self.current.store(ptr::null_mut(), Ordering::Relaxed);
        self.kept.store(ptr::null_mut(), Ordering::Relaxed);
    }

    fn lock(&self) -> InternalMutexGuard<'static, NameAccess> {
        NAME_LOCKS[ptr::from_ref(self) as usize / SLOT_SIZE % LOCK_COUNT].lock()
    }

    /// Returns the current name if it is exposed. It is not freed while the thread lives.
    #[inline(always)]
    pub(super) fn exposed_text(&self) -> Option<*const c_char> {
        let name = self.current.load(Ordering::Acquire);
        is_exposed(name).then(|| text_of(node_of(name)))
    }

    /// Exposes the current name and returns it. Creates the default name if there is none. Fails if that fails, or if
    /// `check_alive` does, which is called under the lock.
    pub(super) fn expose(
        &self,
        make_default: impl Fn() -> Result<OwnedName>,
        check_alive: impl Fn() -> Result<()>,
    ) -> Result<*const c_char> {
        let mut default = OwnedName::NULL;
        loop {
            let names = self.lock();
            check_alive()?;
            let current = self.current.load(Ordering::Relaxed);
            let node = if current.is_null() { default.0 } else { node_of(current) };
            if !node.is_null() {
                if !is_exposed(current) {
                    self.current.store(exposed(node.cast()), Ordering::Release);
                }
                drop(names);
                if current.is_null() {
                    core::mem::forget(default);
                }
                return Ok(text_of(node));
            }
            // Names are created without the lock.
            drop(names);
            default = make_default()?;
        }
    }

    /// Sets the current name. Fails if there is not enough memory, or if `check_alive` fails, which is called under the
    /// lock.
    pub(super) fn set(&self, name: &CStr, check_alive: impl Fn() -> Result<()>) -> Result<()> {
        let new_name = OwnedName::try_new(name)?;
        let mut table = NameTable::NULL;
        loop {
            let mut names = self.lock();
            check_alive()?;
            let replaced = names.replace(self, new_name.0, &mut table);
            // Names and tables are freed without the lock.
            drop(names);
            match replaced {
                ReplaceResult::Unchanged => return Ok(()),
                ReplaceResult::Replaced { former, uses_new } => {
                    if uses_new {
                        core::mem::forget(new_name);
                    }
                    drop(former);
                    return Ok(());
                }
                ReplaceResult::NeedsTable(bucket_count) => table = NameTable::try_new(bucket_count)?,
            }
        }
    }

    /// Copies the current name to the buffer without a lock, for reports; cuts it if it is longer. Returns its length,
    /// or `None` if the thread has the default name. Fails if the name cannot be copied: it may be freed at the same
    /// time, or the system does not permit it.
    pub(super) fn copy_unlocked(&self, buffer: &mut [u8; MAX_REPORTED_NAME]) -> Result<Option<usize>> {
        const MAX_TRIES: u32 = 4;
        const HASH_AND_PADDING: usize = core::mem::offset_of!(Node, text) - core::mem::offset_of!(Node, hash);
        for _ in 0..MAX_TRIES {
            let name = self.current.load(Ordering::Acquire);
            if name.is_null() {
                return Ok(None);
            }
            let mut copy = [0; HASH_AND_PADDING + MAX_REPORTED_NAME];
            let from = node_of(name) as usize + core::mem::offset_of!(Node, hash);
            let is_complete = fd::copy_unstable(from, &mut copy) == copy.len();
            let (hash, text) = copy.split_at(HASH_AND_PADDING);
            let length = text.iter().position(|&byte| byte == 0);
            // If two renames come in between, the memory may be that of the same name with another text.
            let is_one_name = match length {
                Some(length) => hash[..size_of::<u64>()] == hash_of(&text[..=length]).to_ne_bytes(),
                None => is_complete,
            };
            if is_one_name && self.current.load(Ordering::Acquire) == name {
                buffer.copy_from_slice(text);
                return Ok(Some(length.unwrap_or(MAX_REPORTED_NAME)));
            }
        }
        Err(Error::System)
    }

    /// Returns the node of the current name; NULL for the default name. The node may be freed: only compare the
    /// pointer.
    pub(super) fn current(&self) -> *mut Node {
        node_of(self.current.load(Ordering::Acquire))
    }

    /// Calls `f` with the text of the current name, or with `None` for the default name. Also returns its node, as
    /// `current` does.
    pub(super) fn with_current<R>(&self, f: impl FnOnce(Option<&CStr>) -> R) -> (R, *mut Node) {
        // Most threads have no name: the load avoids two locked instructions at their start.
        if self.current().is_null() {
            return (f(None), ptr::null_mut());
        }
        let _names = self.lock();
        let name = self.current();
        // SAFETY: a current name ends with NUL, and is not freed while the lock is held.
        let text = (!name.is_null()).then(|| unsafe { CStr::from_ptr(text_of(name)) });
        (f(text), name)
    }

    /// In a child of fork: the thread that forked was a dummy, and becomes main with the default name.
    pub(crate) fn reset_to_default(&self) {
        let mut names = self.lock();
        let name = self.current.swap(ptr::null_mut(), Ordering::AcqRel);
        if is_exposed(name) {
            // Without memory for a table the name is leaked, since a caller may still read it.
            if self.kept.load(Ordering::Relaxed).is_null() {
                if let Ok(mut table) = NameTable::try_new(NameTable::MIN_BUCKETS) {
                    table.swap_into(&self.kept);
                }
            }
            names.keep(self, node_of(name));
        } else {
            drop(OwnedName(node_of(name)));
        }
    }

    /// Frees all names. Called when no other thread uses the slot: it is pinned while a thread sets or reads the name.
    #[inline(always)]
    pub(crate) fn free_all(&self) {
        // Most threads have no name.
        if !self.current.load(Ordering::Acquire).is_null() || !self.kept.load(Ordering::Acquire).is_null() {
            self.free_existing();
        }
    }

    #[cold]
    #[inline(never)]
    fn free_existing(&self) {
        drop(OwnedName(node_of(self.current.swap(ptr::null_mut(), Ordering::AcqRel))));
        drop(NameTable(self.kept.swap(ptr::null_mut(), Ordering::AcqRel).cast()));
    }
}

/// A bit of `NameList::current`, beside the pointer to the node.
pub(crate) const EXPOSED: usize = 1;

fn node_of(name: *mut c_void) -> *mut Node {
    name.map_addr(|address| address & !EXPOSED).cast()
}

fn is_exposed(name: *mut c_void) -> bool {
    name.addr() & EXPOSED != 0
}

fn exposed(name: *mut c_void) -> *mut c_void {
    name.map_addr(|address| address | EXPOSED)
}

/// The result of `NameAccess::replace`.
enum ReplaceResult {
    /// The thread has this name already.
    Unchanged,
    /// The name was set. The caller frees `former`, and also the new node unless `uses_new`: the thread had kept a node
    /// with the same text.
    Replaced { former: OwnedName, uses_new: bool },
    /// The caller must repeat the call with a spare table of this number of buckets.
    NeedsTable(usize),
}

impl NameAccess {
    /// Sets the name of the thread that has this list, and keeps the former name if it is exposed.
    fn replace(&mut self, list: &NameList, new: *mut Node, spare: &mut NameTable) -> ReplaceResult {
        // SAFETY: names and tables are valid while the lock is held, and only its owner changes them.
        unsafe {
            let bucket_count =
                |table: *mut NameTableHeader| table.as_ref().map_or(0, |table| table.bucket_count);
            if bucket_count(spare.0) > bucket_count(NameTable::of(&list.kept)) {
                spare.swap_into(&list.kept);
            }
            let former = list.current.load(Ordering::Relaxed);
            if !former.is_null() && are_equal(node_of(former), new) {
                return ReplaceResult::Unchanged;
            }
            let table = NameTable::of(&list.kept);
            if is_exposed(former) && table.as_ref().is_none_or(|table| table.count >= table.bucket_count) {
                return ReplaceResult::NeedsTable((2 * bucket_count(table)).max(NameTable::MIN_BUCKETS));
            }
            // A kept name leaves the table before it becomes current, and the former name enters it after that: if a
            // fork interrupts this, the child leaks a name, but has none in both places.
            let kept = take(table, new);
            let current = if kept.is_null() { new.cast() } else { exposed(kept.cast()) };
            list.current.store(current, Ordering::Release);
            let mut unused = node_of(former);
            if is_exposed(former) {
                insert(table, unused);
                unused = ptr::null_mut();
            }
            ReplaceResult::Replaced { former: OwnedName(unused), uses_new: kept.is_null() }
        }
    }

    /// Keeps an exposed name that is no longer current. Without a table, it is leaked.
    fn keep(&mut self, list: &NameList, node: *mut Node) {
        let table = NameTable::of(&list.kept);
        if !table.is_null() {
            // SAFETY: the table is the list's, and the lock is held; the node is in no table.
            unsafe { insert(table, node) };
        }
    }
}

/// Returns the name locks, which are locked across a fork.
pub(crate) fn fork_lock() -> &'static impl ForkLock {
    &*NAME_LOCKS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_changes_during_the_copy_is_not_shown() {
        let list =
            NameList { current: AtomicPtr::new(ptr::null_mut()), kept: AtomicPtr::new(ptr::null_mut()) };
        let mut buffer = [0; MAX_REPORTED_NAME];
        assert_eq!(list.copy_unlocked(&mut buffer), Ok(None));
        list.set(c"first", || Ok(())).unwrap();
        let length = list.copy_unlocked(&mut buffer);
        assert_eq!(&buffer[..length.unwrap().unwrap()], b"first");
        // The text of another name that is being written to the same memory.
        // SAFETY: the text is writable, and no other thread uses it.
        unsafe { *text_of(list.current()).cast_mut().cast::<u8>() = b'F' };
        assert_eq!(list.copy_unlocked(&mut buffer), Err(Error::System));
        list.free_all();
    }
}
