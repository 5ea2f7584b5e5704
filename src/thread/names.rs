//! The names of threads: the given ones, the default ones, and what the system's tools show.
//!
//! A thread's current name is a small allocation. Each name whose pointer a caller has asked for is kept as long as
//! the thread's slot serves it, once; the others are freed by the next rename.
//!
//! # State (`Thread::name`)
//!
//! | state | meaning | who changes it, with which ordering |
//! |---|---|---|
//! | 0 | the default name | `replace`: to a name, release. The first question: to the default name, `TOLD`, release |
//! | a name | no caller has its pointer | `of`: to the same with `TOLD`, acquire and release. `replace`: to another name, acquire and release; then the old one is freed |
//! | a name with `TOLD` | a caller has its pointer | `replace`: to another name, acquire and release; the old one is in `Thread::names` then |
//!
//! `of` compares pointers and does not look into a name, so that it needs no lock. Who changes names, or looks into
//! one without having asked for it, holds a lock that is shared by few threads only ([`NAMES`]); no memory is asked
//! for and no call of the system's is made under it. `Thread::names` is a hash table of the names that are kept
//! besides the current one, changed under that lock. The numbers of default names are the registry's, since each
//! start takes one.

use crate::sys::atomic::{Ordering, fence};
use core::ffi::{CStr, c_char, c_void};
use core::{ptr, slice};

use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::sync::mutex::{Forget, Guard, Guarded};
use crate::sys;
use crate::sys::annotate::malloc;
use crate::sys::pthread;
use crate::sys::tls;
use crate::thread::object::{ASKED, DUMMY, ENDED, GONE, MAIN, NAMED, OVER, TIMER, Thread};
use crate::thread::registry;

/// The right to change the names of some threads.
struct Names;

/// How many locks threads share.
const LOCKS: usize = 64;

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_own"))]
static NAMES: [Guarded<Names>; LOCKS] = [const { Guarded::new(Names) }; LOCKS];

fn lock(thread: &Thread) -> Guard<'static, Names> {
    NAMES[ptr::from_ref(thread) as usize / size_of::<Thread>() % LOCKS].lock()
}

/// The number of the next thread that nobody has named; shared by threads, timers and dummies.
pub(crate) struct Numbers {
    next: u32,
}

impl Numbers {
    pub(crate) const FIRST: Self = Numbers { next: 1 };

    /// Gives the thread its number, if it has none.
    pub(crate) fn give(&mut self, thread: &Thread) {
        if thread.number.load(Ordering::Relaxed) == 0 {
            thread.number.store(self.next, Ordering::Relaxed);
            self.next = Self::after(self.next);
        }
    }

    /// A start was refused: the thread's number is the next one again, if nobody has seen it. Where a later one
    /// has been given meanwhile, the thread keeps its own, so that no other gets it.
    pub(crate) fn take_back(&mut self, thread: &Thread) {
        let number = thread.number.load(Ordering::Relaxed);
        if number != 0 && !thread.is(ASKED) && Self::after(number) == self.next {
            thread.number.store(0, Ordering::Relaxed);
            self.next = number;
        }
    }

    fn after(number: u32) -> u32 {
        number.checked_add(1).unwrap_or(1)
    }
}

impl Forget for Names {
    fn forget(&mut self) {
        // A name enters a thread's list with one store, and becomes the current one with another.
    }
}

/// One name; the text and its NUL follow.
#[repr(C)]
struct Node {
    /// The next one in the same bucket of the table.
    next: *mut Node,
    hash: u64,
    text: [c_char; 0],
}

/// In `Thread::name`, beside the pointer to a node.
const TOLD: usize = 1;

fn node_of(name: *mut c_void) -> *mut Node {
    name.map_addr(|address| address & !TOLD).cast()
}

fn is_told(name: *mut c_void) -> bool {
    name.addr() & TOLD != 0
}

fn told(name: *mut c_void) -> *mut c_void {
    name.map_addr(|address| address | TOLD)
}

/// What fits a name in the system's tools, without the NUL.
const SYSTEM_NAME: usize = 15;
/// The longest default name, `Thread-4294967295`, and its NUL.
const DEFAULT_NAME: usize = 18;

/// A thread's current name. The pointer stays valid as long as the thread.
pub(crate) fn of(thread: Handle<Thread>) -> Result<*const c_char> {
    // What a caller has asked for before does not change while the thread lives.
    let known = thread.read(|thread| thread.name.load(Ordering::Acquire))?;
    if is_told(known) {
        return Ok(text_of(node_of(known)));
    }
    thread.pinned(|object| {
        let mut made = Owned::NONE;
        loop {
            let name = object.name.load(Ordering::Acquire);
            if is_told(name) {
                return Ok(text_of(node_of(name)));
            }
            let asked = if name.is_null() {
                if made.0.is_null() {
                    if !object.is(MAIN) {
                        registry::give_number(object);
                    }
                    made = Owned::make(default(object, &mut [0; DEFAULT_NAME]))?;
                }
                made.0.cast()
            } else {
                name
            };
            // In the lock: the default name of a dummy becomes another one in a child of fork.
            let names = lock(object);
            thread.check()?;
            let exchanged =
                object.name.compare_exchange(name, told(asked), Ordering::AcqRel, Ordering::Relaxed);
            drop(names);
            if exchanged.is_ok() {
                if name.is_null() {
                    core::mem::forget(made);
                }
                return Ok(text_of(node_of(asked)));
            }
        }
    })
}

/// Names a thread.
pub(crate) fn set(thread: Handle<Thread>, name: &CStr) -> Result<()> {
    thread.pinned(|object| {
        if name.to_str().is_err() {
            return Err(Error::NameEncoding);
        }
        replace(thread, object, name)?;
        object.mark(NAMED, true);
        // Either this sees the number that the thread has just set, or the thread, in `show`, the name.
        fence(Ordering::SeqCst);
        let runs = !matches!(object.state(), GONE | OVER) && !object.is(ENDED) && object.native_id() != 0;
        if runs && !object.is(MAIN | TIMER) {
            let is_caller = tls::with(|mine| mine.thread.get()) == thread.bits();
            let native_id = if is_caller { None } else { Some(object.native_id()) };
            pthread::set_name(native_id, shortened(name, &mut [0; SYSTEM_NAME + 1]));
        }
        Ok(())
    })
}

fn replace(thread: Handle<Thread>, object: &Thread, name: &CStr) -> Result<()> {
    let made = Owned::make(name)?;
    let mut table = Table::NONE;
    loop {
        let mut names = lock(object);
        thread.check()?;
        let replaced = names.replace(object, made.0, &mut table);
        // What is freed, is freed when the lock is.
        drop(names);
        match replaced {
            Replaced::Unchanged => return Ok(()),
            Replaced::By { former, takes_new } => {
                if takes_new {
                    core::mem::forget(made);
                }
                drop(former);
                return Ok(());
            }
            Replaced::NeedsTable(buckets) => table = Table::make(buckets)?,
        }
    }
}

/// In a child of fork: a dummy that has become the main thread has its default name.
pub(crate) fn begin_anew(thread: &Thread) {
    let mut names = lock(thread);
    let name = thread.name.swap(ptr::null_mut(), Ordering::AcqRel);
    if is_told(name) {
        // Without memory for the table the name is lost, and stays readable.
        if thread.names.load(Ordering::Relaxed).is_null()
            && let Ok(mut table) = Table::make(Table::FEWEST)
        {
            table.move_to(thread);
        }
        names.keep(thread, node_of(name));
    } else {
        drop(Owned(node_of(name)));
    }
}

/// Shows the calling thread's name to the system's tools.
pub(crate) fn show(thread: &Thread) {
    fence(Ordering::SeqCst);
    loop {
        let mut buffer = [0; DEFAULT_NAME];
        let mut short = [0; SYSTEM_NAME + 1];
        let names = lock(thread);
        let name = thread.name.load(Ordering::Acquire);
        let text = if name.is_null() {
            default(thread, &mut buffer)
        } else {
            // SAFETY: a current name is not freed while the lock is held, and ends with NUL.
            unsafe { CStr::from_ptr(text_of(node_of(name))) }
        };
        let text = shortened_copy(text, &mut short);
        drop(names);
        pthread::set_name(None, text);
        // A caller that renamed it in between may have come first with the system: once more, then.
        if node_of(thread.name.load(Ordering::Acquire)) == node_of(name) {
            return;
        }
    }
}

/// When a thread's life is over, and nobody looks at its slot any more: its names go. Whoever names a thread
/// has pinned the slot.
pub(crate) fn forget(thread: &Thread) {
    // Most threads have none: no locked operation for those.
    if !thread.name.load(Ordering::Acquire).is_null() {
        drop(Owned(node_of(thread.name.swap(ptr::null_mut(), Ordering::AcqRel))));
    }
    if !thread.names.load(Ordering::Acquire).is_null() {
        drop(Table(thread.names.swap(ptr::null_mut(), Ordering::AcqRel).cast()));
    }
}

fn default<'a>(thread: &Thread, buffer: &'a mut [u8; DEFAULT_NAME]) -> &'a CStr {
    let number = thread.number.load(Ordering::Relaxed);
    // A thread that has forked is the main one in the child, and keeps its name.
    if thread.is(MAIN) && number == 0 {
        return c"MainThread";
    }
    numbered(if thread.is(DUMMY) { b"Dummy-" } else { b"Thread-" }, number, buffer)
}

/// Written by hand, since every start of a thread waits for it.
fn numbered<'a>(kind: &[u8], mut number: u32, buffer: &'a mut [u8; DEFAULT_NAME]) -> &'a CStr {
    let mut at = DEFAULT_NAME - 1;
    buffer[at] = 0;
    loop {
        at -= 1;
        buffer[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    at -= kind.len();
    buffer[at..at + kind.len()].copy_from_slice(kind);
    CStr::from_bytes_with_nul(&buffer[at..]).unwrap_or(c"")
}

/// As much of a name as the system takes, whole characters only.
fn shortened<'a>(name: &'a CStr, buffer: &'a mut [u8; SYSTEM_NAME + 1]) -> &'a CStr {
    if name.count_bytes() <= SYSTEM_NAME {
        return name;
    }
    let text = name.to_str().unwrap_or("");
    let end = text.floor_char_boundary(SYSTEM_NAME);
    buffer[..end].copy_from_slice(&text.as_bytes()[..end]);
    buffer[end] = 0;
    CStr::from_bytes_until_nul(buffer).unwrap_or(c"")
}

/// As `shortened`, always into the buffer.
fn shortened_copy<'a>(name: &CStr, buffer: &'a mut [u8; SYSTEM_NAME + 1]) -> &'a CStr {
    let length = shortened(name, &mut [0; SYSTEM_NAME + 1]).count_bytes();
    buffer[..length].copy_from_slice(&name.to_bytes()[..length]);
    buffer[length] = 0;
    CStr::from_bytes_until_nul(buffer).unwrap_or(c"")
}

fn text_of(node: *mut Node) -> *const c_char {
    // The text lies inside of the node's allocation.
    node.cast::<c_char>().wrapping_byte_add(core::mem::offset_of!(Node, text)).cast_const()
}

/// A node that is freed when it is dropped; NULL is none.
struct Owned(*mut Node);

impl Owned {
    const NONE: Self = Owned(ptr::null_mut());

    fn make(name: &CStr) -> Result<Self> {
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
            Ok(Owned(node))
        }
    }
}

impl Drop for Owned {
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

/// The names of a thread that are kept besides the current one. The buckets follow.
#[repr(C)]
struct TableHead {
    /// The number of buckets, a power of two.
    buckets: usize,
    count: usize,
    first: [*mut Node; 0],
}

/// A table that is freed when it is dropped, with the names in it; NULL is none.
struct Table(*mut TableHead);

impl Table {
    const NONE: Self = Table(ptr::null_mut());
    const FEWEST: usize = 4;

    fn make(buckets: usize) -> Result<Self> {
        let bytes = buckets
            .checked_mul(size_of::<*mut Node>())
            .and_then(|bytes| bytes.checked_add(size_of::<TableHead>()))
            .ok_or(Error::NoMemory)?;
        // SAFETY: malloc's memory is aligned for the head; zero is a bucket without a name.
        unsafe {
            let head: *mut TableHead = malloc(bytes).cast();
            if head.is_null() {
                return Err(Error::NoMemory);
            }
            head.cast::<u8>().write_bytes(0, bytes);
            (*head).buckets = buckets;
            Ok(Table(head))
        }
    }

    fn of(thread: &Thread) -> *mut TableHead {
        thread.names.load(Ordering::Relaxed).cast()
    }

    /// The thread has this table from now on; what it had before takes its place here, without the names in it.
    fn move_to(&mut self, thread: &Thread) {
        let former = thread.names.swap(self.0.cast(), Ordering::Relaxed).cast::<TableHead>();
        let new = core::mem::replace(&mut self.0, former);
        // SAFETY: the tables and their nodes are changed under the lock only.
        unsafe {
            if let Some(former) = former.as_mut() {
                for index in 0..former.buckets {
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

impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: the nodes and the table come from malloc, and no thread reads them any more.
        unsafe {
            if let Some(head) = self.0.as_mut() {
                for index in 0..head.buckets {
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
/// The table is valid, and has a bucket with this index modulo the number of its buckets.
unsafe fn bucket(table: *mut TableHead, index: usize) -> *mut *mut Node {
    // SAFETY: the caller's promise; the number of buckets is a power of two.
    unsafe {
        let index = index & ((*table).buckets - 1);
        (&raw mut (*table).first).cast::<*mut Node>().add(index)
    }
}

/// # Safety
/// The table and the node are valid, the node is in no table, and no other thread changes them.
unsafe fn insert(table: *mut TableHead, node: *mut Node) {
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
unsafe fn find(table: *mut TableHead, like: *mut Node) -> Option<*mut *mut Node> {
    if table.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    unsafe {
        let mut place = bucket(table, (*like).hash as usize);
        while !(*place).is_null() {
            if are_equal(*place, like) {
                return Some(place);
            }
            place = &raw mut (**place).next;
        }
    }
    None
}

/// What has become of a new name, by `Names::replace`.
enum Replaced {
    /// The thread has this name already.
    Unchanged,
    /// The thread has it. The former one, if it is not kept, is to be freed; so is the new one, unless the thread has
    /// taken it: it had one like it.
    By { former: Owned, takes_new: bool },
    /// The caller has to bring a table with so many buckets.
    NeedsTable(usize),
}

impl Names {
    /// Sets the thread's name.
    fn replace(&mut self, thread: &Thread, new: *mut Node, spare: &mut Table) -> Replaced {
        // SAFETY: names and tables are valid while this lock is held, and changed by its holder only, but for `TOLD`.
        unsafe {
            let buckets = |table: *mut TableHead| table.as_ref().map_or(0, |table| table.buckets);
            if buckets(spare.0) > buckets(Table::of(thread)) {
                spare.move_to(thread);
            }
            let mut current = thread.name.load(Ordering::Acquire);
            if !current.is_null() && are_equal(node_of(current), new) {
                return Replaced::Unchanged;
            }
            let table = Table::of(thread);
            let place = find(table, new);
            let kept = place.map_or(ptr::null_mut(), |place| *place);
            loop {
                if is_told(current) && table.as_ref().is_none_or(|table| table.count >= table.buckets) {
                    return Replaced::NeedsTable((2 * buckets(table)).max(Table::FEWEST));
                }
                let wanted = if kept.is_null() { new.cast() } else { told(kept.cast()) };
                match thread.name.compare_exchange(current, wanted, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => break,
                    // A caller has asked for it just now.
                    Err(now) => current = now,
                }
            }
            if let Some(place) = place {
                *place = (*kept).next;
                (*table).count -= 1;
            }
            let mut former = node_of(current);
            if is_told(current) {
                insert(table, former);
                former = ptr::null_mut();
            }
            Replaced::By { former: Owned(former), takes_new: kept.is_null() }
        }
    }

    /// Keeps a name that is not the current one any more. Without a table it is lost, and stays readable.
    fn keep(&mut self, thread: &Thread, node: *mut Node) {
        let table = Table::of(thread);
        if !table.is_null() {
            // SAFETY: as above; the name is in no table.
            unsafe { insert(table, node) };
        }
    }
}

/// Holds the names across a fork.
pub(crate) fn hold() {
    NAMES.iter().for_each(Guarded::hold);
}

/// Gives back what `hold` took.
///
/// # Safety
/// As for `Guarded::let_go`.
pub(crate) unsafe fn let_go() {
    for names in &NAMES {
        // SAFETY: the caller's promise.
        unsafe { names.let_go() };
    }
}

/// As `let_go`, in a child of fork.
///
/// # Safety
/// As for `Guarded::renew`.
pub(crate) unsafe fn renew() {
    // SAFETY: the caller's promise.
    NAMES.iter().for_each(|names| unsafe { names.renew() });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_name_ends_with_its_number() {
        let mut buffer = [b'x'; DEFAULT_NAME];
        assert_eq!(numbered(b"Thread-", 0, &mut buffer), c"Thread-0");
        assert_eq!(numbered(b"Dummy-", 120, &mut buffer), c"Dummy-120");
        assert_eq!(numbered(b"Thread-", u32::MAX, &mut buffer), c"Thread-4294967295");
    }

    #[test]
    fn the_system_sees_whole_characters_only() {
        let mut buffer = [0; SYSTEM_NAME + 1];
        assert_eq!(shortened(c"short", &mut buffer), c"short");
        assert_eq!(shortened(c"123456789012345", &mut buffer), c"123456789012345");
        assert_eq!(shortened(c"1234567890123456", &mut buffer), c"123456789012345");
        assert_eq!(shortened(c"12345678901234\xc3\xa9", &mut buffer), c"12345678901234");
    }
}
