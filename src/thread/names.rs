//! What stores the names of a thread, and counts the numbers of default names. What a thread is called by default, and
//! what the calls on names mean, is in `thread::naming`.
//!
//! A thread's current name is a small allocation. Each name whose pointer a caller has asked for is kept as long as
//! the thread's slot serves it, once; the others are freed by the next rename.
//!
//! # State (`NameList::current`)
//!
//! | state | meaning | who changes it, with which ordering |
//! |---|---|---|
//! | 0 | the default name | `set`: to a name, release. The first question: to the default name, `EXPOSED`, release |
//! | a name | no caller has its pointer | `tell`: to the same with `EXPOSED`, acquire and release. `set`: to another name, acquire and release; then the old one is freed |
//! | a name with `EXPOSED` | a caller has its pointer | `set`: to another name, acquire and release; the old one is in `NameList::kept` then |
//!
//! `tell` compares pointers and does not look into a name, so that it needs no lock. Who changes names, or looks into
//! one without having asked for it, holds a lock that is shared by few threads only ([`NAME_LOCKS`]); no memory is asked
//! for and no call of the system's is made under it. `NameList::kept` is a hash table of the names that are kept
//! besides the current one, changed under that lock. The numbers of default names are the registry's, since each
//! start takes one.

use crate::sys::atomic::{AtomicPtr, AtomicU32, Ordering};
use core::ffi::{CStr, c_char, c_void};
use core::{ptr, slice};

use crate::error::{Error, Result};
use crate::sync::mutex::{ForkReset, InternalMutex, InternalMutexGuard};
use crate::sys;
use crate::sys::annotate::malloc;

/// The right to change the names of some threads.
struct NameAccess;

/// How many locks threads share.
const LOCK_COUNT: usize = 64;

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static NAME_LOCKS: [InternalMutex<NameAccess>; LOCK_COUNT] =
    [const { InternalMutex::new(NameAccess) }; LOCK_COUNT];

/// The number of the next thread that nobody has named; shared by threads, timers and dummies.
pub(crate) struct NameCounter {
    next: u32,
}

impl NameCounter {
    pub(crate) const INITIAL: Self = NameCounter { next: 1 };

    /// Gives a thread its number, if it has none.
    pub(crate) fn assign(&mut self, number: &AtomicU32) {
        if number.load(Ordering::Relaxed) == 0 {
            number.store(self.next, Ordering::Relaxed);
            self.next = Self::successor(self.next);
        }
    }

    /// A start was refused: the thread's number is the next one again, if nobody has seen it. Where a later one
    /// has been given meanwhile, the thread keeps its own, so that no other gets it.
    pub(crate) fn unassign(&mut self, number: &AtomicU32, is_seen: bool) {
        let given = number.load(Ordering::Relaxed);
        if given != 0 && !is_seen && Self::successor(given) == self.next {
            number.store(0, Ordering::Relaxed);
            self.next = given;
        }
    }

    fn successor(number: u32) -> u32 {
        number.checked_add(1).unwrap_or(1)
    }
}

impl ForkReset for NameAccess {
    fn reset_in_child(&mut self) {
        // A name enters a thread's list with one store, and becomes the current one with another.
    }
}

/// The size of the slots in which the lists lie: neighbours have different locks.
pub(crate) const SLOT: usize = 128;

/// The current name of a thread, and all names that it has had and that a caller knows.
#[repr(C)]
pub(crate) struct NameList {
    current: AtomicPtr<c_void>,
    kept: AtomicPtr<c_void>,
}

impl NameList {
    /// Of a new thread: the default name.
    pub(crate) fn begin(&self) {
        self.current.store(ptr::null_mut(), Ordering::Relaxed);
        self.kept.store(ptr::null_mut(), Ordering::Relaxed);
    }

    fn lock(&self) -> InternalMutexGuard<'static, NameAccess> {
        NAME_LOCKS[ptr::from_ref(self) as usize / SLOT % LOCK_COUNT].lock()
    }

    /// The current name, if a caller has asked for it before: it does not change while the thread lives.
    #[inline(always)]
    pub(super) fn known(&self) -> Option<*const c_char> {
        let known = self.current.load(Ordering::Acquire);
        is_exposed(known).then(|| text_of(node_of(known)))
    }

    /// The current name, which is kept from now on; the default one is made if there is none. An error if the default
    /// name cannot be made, or if the thread does not live any more, which `lives` tells under the lock.
    pub(super) fn tell(
        &self,
        make_default: impl Fn() -> Result<OwnedName>,
        lives: impl Fn() -> Result<()>,
    ) -> Result<*const c_char> {
        let mut new_name = OwnedName::NULL;
        loop {
            let name = self.current.load(Ordering::Acquire);
            if is_exposed(name) {
                return Ok(text_of(node_of(name)));
            }
            let to_expose = if name.is_null() {
                if new_name.0.is_null() {
                    new_name = make_default()?;
                }
                new_name.0.cast()
            } else {
                name
            };
            // In the lock: the default name of a dummy becomes another one in a child of fork.
            let names = self.lock();
            lives()?;
            let exchanged =
                self.current.compare_exchange(name, exposed(to_expose), Ordering::AcqRel, Ordering::Relaxed);
            drop(names);
            if exchanged.is_ok() {
                if name.is_null() {
                    core::mem::forget(new_name);
                }
                return Ok(text_of(node_of(to_expose)));
            }
        }
    }

    /// Sets the current name. An error without memory, or if the thread does not live any more, which `lives` tells
    /// under the lock.
    pub(super) fn set(&self, name: &CStr, lives: impl Fn() -> Result<()>) -> Result<()> {
        let new_name = OwnedName::try_new(name)?;
        let mut table = NameTable::NULL;
        loop {
            let mut names = self.lock();
            lives()?;
            let replaced = names.replace(self, new_name.0, &mut table);
            // What is freed, is freed when the lock is.
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

    /// What tells the current name from other ones as long as it is the current one; NULL for the default name.
    pub(super) fn current(&self) -> *mut Node {
        node_of(self.current.load(Ordering::Acquire))
    }

    /// Looks at the text of the current name, or at `None` for the default name; also returns what `current` does.
    pub(super) fn look<R>(&self, f: impl FnOnce(Option<&CStr>) -> R) -> (R, *mut Node) {
        let _names = self.lock();
        let name = self.current();
        // SAFETY: a current name is not freed while the lock is held, and ends with NUL.
        let text = (!name.is_null()).then(|| unsafe { CStr::from_ptr(text_of(name)) });
        (f(text), name)
    }

    /// In a child of fork: a dummy that has become the main thread has its default name.
    pub(crate) fn reset_to_default(&self) {
        let mut names = self.lock();
        let name = self.current.swap(ptr::null_mut(), Ordering::AcqRel);
        if is_exposed(name) {
            // Without memory for the table the name is lost, and stays readable.
            if self.kept.load(Ordering::Relaxed).is_null()
                && let Ok(mut table) = NameTable::try_new(NameTable::MIN_BUCKETS)
            {
                table.swap_into(self);
            }
            names.keep(self, node_of(name));
        } else {
            drop(OwnedName(node_of(name)));
        }
    }

    /// When a thread's life is over, and no other thread looks at its slot any more: its names are freed. A thread that
    /// names another one has pinned the slot.
    pub(crate) fn forget(&self) {
        // Most threads have none: no locked operation for those.
        if !self.current.load(Ordering::Acquire).is_null() {
            drop(OwnedName(node_of(self.current.swap(ptr::null_mut(), Ordering::AcqRel))));
        }
        if !self.kept.load(Ordering::Acquire).is_null() {
            drop(NameTable(self.kept.swap(ptr::null_mut(), Ordering::AcqRel).cast()));
        }
    }
}

/// One name; the text and its NUL follow.
#[repr(C)]
pub(super) struct Node {
    /// The next one in the same bucket of the table.
    next: *mut Node,
    hash: u64,
    text: [c_char; 0],
}

/// In `NameList::current`, beside the pointer to a node.
const EXPOSED: usize = 1;

fn node_of(name: *mut c_void) -> *mut Node {
    name.map_addr(|address| address & !EXPOSED).cast()
}

fn is_exposed(name: *mut c_void) -> bool {
    name.addr() & EXPOSED != 0
}

fn exposed(name: *mut c_void) -> *mut c_void {
    name.map_addr(|address| address | EXPOSED)
}

fn text_of(node: *mut Node) -> *const c_char {
    // The text lies inside of the node's allocation.
    node.cast::<c_char>().wrapping_byte_add(core::mem::offset_of!(Node, text)).cast_const()
}

/// A node that is freed when it is dropped; NULL is none.
pub(super) struct OwnedName(*mut Node);

impl OwnedName {
    const NULL: Self = OwnedName(ptr::null_mut());

    pub(super) fn try_new(name: &CStr) -> Result<Self> {
        let bytes = name.to_bytes_with_nul();
        // SAFETY: malloc's memory is aligned for a Node; all that is written lies inside of it.
        unsafe {
            let node: *mut Node = malloc(size_of::<Node>() + bytes.len()).cast();
            if node.is_null() {
                return Err(Error::NoMemory);
            }
            (*node).next = ptr::null_mut();
            (*node).hash = hash_of(bytes);
            let text = slice::from_raw_parts_mut((&raw mut (*node).text).cast::<u8>(), bytes.len());
            text.copy_from_slice(bytes);
            Ok(OwnedName(node))
        }
    }
}

impl Drop for OwnedName {
    fn drop(&mut self) {
        // SAFETY: it comes from malloc, or is NULL, and no caller has its pointer.
        unsafe { sys::free(self.0.cast()) };
    }
}

/// FNV-1a.
fn hash_of(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The names of a thread that are kept besides the current one. The bucket_count follow.
#[repr(C)]
struct NameTableHeader {
    /// The number of bucket_count, a power of two.
    bucket_count: usize,
    count: usize,
    buckets: [*mut Node; 0],
}

/// A table that is freed when it is dropped, with the names in it; NULL is none.
struct NameTable(*mut NameTableHeader);

impl NameTable {
    const NULL: Self = NameTable(ptr::null_mut());
    const MIN_BUCKETS: usize = 4;

    fn try_new(bucket_count: usize) -> Result<Self> {
        let bytes = bucket_count
            .checked_mul(size_of::<*mut Node>())
            .and_then(|bytes| bytes.checked_add(size_of::<NameTableHeader>()))
            .ok_or(Error::NoMemory)?;
        // SAFETY: malloc's memory is aligned for the head; zero is a bucket without a name.
        unsafe {
            let head: *mut NameTableHeader = malloc(bytes).cast();
            if head.is_null() {
                return Err(Error::NoMemory);
            }
            head.cast::<u8>().write_bytes(0, bytes);
            (*head).bucket_count = bucket_count;
            Ok(NameTable(head))
        }
    }

    fn of(list: &NameList) -> *mut NameTableHeader {
        list.kept.load(Ordering::Relaxed).cast()
    }

    /// The list has this table from now on; what it had before takes its link here, without the names in it.
    fn swap_into(&mut self, list: &NameList) {
        let former = list.kept.swap(self.0.cast(), Ordering::Relaxed).cast::<NameTableHeader>();
        let new = core::mem::replace(&mut self.0, former);
        // SAFETY: the tables and their nodes are changed under the lock only.
        unsafe {
            if let Some(former) = former.as_mut() {
                for index in 0..former.bucket_count {
                    let mut node = core::mem::replace(&mut *bucket(former, index), ptr::null_mut());
                    while !node.is_null() {
                        let next = (*node).next;
                        insert(new, node);
                        node = next;
                    }
                }
            }
        }
    }
}

impl Drop for NameTable {
    fn drop(&mut self) {
        // SAFETY: the nodes and the table come from malloc, and no thread reads them any more.
        unsafe {
            if let Some(head) = self.0.as_mut() {
                for index in 0..head.bucket_count {
                    let mut node = *bucket(head, index);
                    while !node.is_null() {
                        let next = (*node).next;
                        sys::free(node.cast());
                        node = next;
                    }
                }
            }
            sys::free(self.0.cast());
        }
    }
}

/// # Safety
/// The table is valid, and has a bucket with this index modulo the number of its bucket_count.
unsafe fn bucket(table: *mut NameTableHeader, index: usize) -> *mut *mut Node {
    // SAFETY: the caller's promise; the number of bucket_count is a power of two.
    unsafe {
        let index = index & ((*table).bucket_count - 1);
        (&raw mut (*table).buckets).cast::<*mut Node>().add(index)
    }
}

/// # Safety
/// The table and the node are valid, the node is in no table, and no other thread changes them.
unsafe fn insert(table: *mut NameTableHeader, node: *mut Node) {
    // SAFETY: the caller's promise.
    unsafe {
        let bucket = bucket(table, (*node).hash as usize);
        (*node).next = *bucket;
        *bucket = node;
        (*table).count += 1;
    }
}

/// # Safety
/// The nodes are valid.
unsafe fn are_equal(one: *mut Node, other: *mut Node) -> bool {
    // SAFETY: the caller's promise; each text ends with NUL.
    unsafe { (*one).hash == (*other).hash && libc::strcmp(text_of(one), text_of(other)) == 0 }
}

/// Where the pointer to a name like this one lies in a table.
///
/// # Safety
/// The table, if it is not NULL, and the node are valid, and no other thread changes them.
unsafe fn find(table: *mut NameTableHeader, like: *mut Node) -> Option<*mut *mut Node> {
    if table.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    unsafe {
        let mut link = bucket(table, (*like).hash as usize);
        while !(*link).is_null() {
            if are_equal(*link, like) {
                return Some(link);
            }
            link = &raw mut (**link).next;
        }
    }
    None
}

/// What has become of a new name, by `NameAccess::replace`.
enum ReplaceResult {
    /// The thread has this name already.
    Unchanged,
    /// The thread has it. The former one, if it is not kept, is to be freed; so is the new one, unless the thread has
    /// taken it: it had one like it.
    Replaced { former: OwnedName, uses_new: bool },
    /// The caller has to bring a table with so many bucket_count.
    NeedsTable(usize),
}

impl NameAccess {
    /// Sets the thread's name.
    fn replace(&mut self, list: &NameList, new: *mut Node, spare: &mut NameTable) -> ReplaceResult {
        // SAFETY: names and tables are valid while this lock is held, and changed by its owner only, but for `EXPOSED`.
        unsafe {
            let bucket_count =
                |table: *mut NameTableHeader| table.as_ref().map_or(0, |table| table.bucket_count);
            if bucket_count(spare.0) > bucket_count(NameTable::of(list)) {
                spare.swap_into(list);
            }
            let mut current = list.current.load(Ordering::Acquire);
            if !current.is_null() && are_equal(node_of(current), new) {
                return ReplaceResult::Unchanged;
            }
            let table = NameTable::of(list);
            let link = find(table, new);
            let kept = link.map_or(ptr::null_mut(), |link| *link);
            loop {
                if is_exposed(current) && table.as_ref().is_none_or(|table| table.count >= table.bucket_count)
                {
                    return ReplaceResult::NeedsTable((2 * bucket_count(table)).max(NameTable::MIN_BUCKETS));
                }
                let wanted = if kept.is_null() { new.cast() } else { exposed(kept.cast()) };
                match list.current.compare_exchange(current, wanted, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => break,
                    // A caller has asked for it just now.
                    Err(now) => current = now,
                }
            }
            if let Some(link) = link {
                *link = (*kept).next;
                (*table).count -= 1;
            }
            let mut former = node_of(current);
            if is_exposed(current) {
                insert(table, former);
                former = ptr::null_mut();
            }
            ReplaceResult::Replaced { former: OwnedName(former), uses_new: kept.is_null() }
        }
    }

    /// Keeps a name that is not the current one any more. Without a table it is lost, and stays readable.
    fn keep(&mut self, list: &NameList, node: *mut Node) {
        let table = NameTable::of(list);
        if !table.is_null() {
            // SAFETY: as above; the name is in no table.
            unsafe { insert(table, node) };
        }
    }
}

/// Holds the names across a fork.
pub(crate) fn lock_for_fork() {
    NAME_LOCKS.iter().for_each(InternalMutex::lock_for_fork);
}

/// Gives back what `hold` took.
///
/// # Safety
/// As for `InternalMutex::let_go`.
pub(crate) unsafe fn unlock_after_fork() {
    for names in &NAME_LOCKS {
        // SAFETY: the caller's promise.
        unsafe { names.unlock_after_fork() };
    }
}

/// As `let_go`, in a child of fork.
///
/// # Safety
/// As for `InternalMutex::reinit_in_child`.
pub(crate) unsafe fn reinit_in_child() {
    // SAFETY: the caller's promise.
    NAME_LOCKS.iter().for_each(|names| unsafe { names.reinit_in_child() });
}
