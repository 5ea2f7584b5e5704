//! The names of threads: the given ones, the default ones, and what the system's tools show.
//!
//! Each different name that a thread has had is kept as long as the thread's slot serves it, in a list of
//! small allocations; the current one is a pointer into that list. Readers follow the pointer without a lock;
//! writers hold [`NAMES`]. The numbers of default names are the registry's, since each start takes one.

use crate::atomic::{Ordering, fence};
use core::ffi::{CStr, c_char, c_void};
use core::slice;

use super::life::{ASKED, DUMMY, ENDED, MAIN, NAMED, OVER, TIMER, Thread};
use super::{registry, system};
use crate::detector::malloc;
use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::park::guarded::{Forget, Guarded};
use crate::sys;

/// The right to change threads' names.
struct Names;

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_own"))]
static NAMES: Guarded<Names> = Guarded::new(Names);

/// The number of the next thread that nobody has named; shared by threads, timers and dummies.
pub(super) struct Numbers {
    next: u32,
}

impl Numbers {
    pub(super) const FIRST: Self = Numbers { next: 1 };

    /// Gives the thread its number, if it has none.
    pub(super) fn give(&mut self, thread: &Thread) {
        if thread.number.load(Ordering::Relaxed) == 0 {
            thread.number.store(self.next, Ordering::Relaxed);
            self.next = Self::after(self.next);
        }
    }

    /// A start was refused: the thread's number is the next one again, if nobody has seen it. Where a later one
    /// has been given meanwhile, the thread keeps its own, so that no other gets it.
    pub(super) fn take_back(&mut self, thread: &Thread) {
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

/// One name in a thread's list; the text and its NUL follow.
#[repr(C)]
struct Node {
    next: *mut Node,
    text: [c_char; 0],
}

/// What fits a name in the system's tools, without the NUL.
const SYSTEM_NAME: usize = 15;
/// The longest default name, `Thread-4294967295`, and its NUL.
const DEFAULT_NAME: usize = 18;

/// A thread's current name. The pointer stays valid as long as the thread.
pub(crate) fn of(thread: Handle<Thread>) -> Result<*const c_char> {
    let known = thread.read(|thread| thread.name.load(Ordering::Acquire))?;
    if !known.is_null() {
        return Ok(known.cast());
    }
    thread.pinned(|object| {
        if !object.is(MAIN) {
            registry::give_number(object);
        }
        let mut names = NAMES.lock();
        thread.check()?;
        let name = object.name.load(Ordering::Acquire);
        if !name.is_null() {
            return Ok(name.cast_const().cast());
        }
        names.keep(object, default(object, &mut [0; DEFAULT_NAME]))
    })
}

/// Names a thread.
pub(crate) fn set(thread: Handle<Thread>, name: &CStr) -> Result<()> {
    thread.pinned(|object| {
        if name.to_str().is_err() {
            return Err(Error::NameEncoding);
        }
        let mut names = NAMES.lock();
        thread.check()?;
        names.keep(object, name)?;
        drop(names);
        object.mark(NAMED, true);
        // Either this sees the number that the thread has just set, or the thread, in `show`, the name.
        fence(Ordering::SeqCst);
        let runs = object.state() != OVER && !object.is(ENDED) && object.native_id() != 0;
        if runs && !object.is(MAIN | TIMER) {
            system::set_name(Some(object.native_id()), shortened(name, &mut [0; SYSTEM_NAME + 1]));
        }
        Ok(())
    })
}

/// Shows the calling thread's name to the system's tools.
pub(crate) fn show(thread: &Thread) {
    fence(Ordering::SeqCst);
    loop {
        let name = thread.name.load(Ordering::Acquire);
        let mut buffer = [0; DEFAULT_NAME];
        let text = if name.is_null() {
            default(thread, &mut buffer)
        } else {
            // SAFETY: a thread's names are kept as long as it lives, and end with NUL.
            unsafe { CStr::from_ptr(name.cast()) }
        };
        system::set_name(None, shortened(text, &mut [0; SYSTEM_NAME + 1]));
        // Whoever renamed it meanwhile may have come first with the system: once more, then.
        if thread.name.load(Ordering::Acquire) == name {
            return;
        }
    }
}

/// When a thread's life is over, and nobody looks at its slot any more: its names go. Whoever names a thread
/// has pinned the slot.
pub(crate) fn forget(thread: &Thread) {
    let mut node: *mut Node = thread.names.load(Ordering::Acquire).cast();
    while !node.is_null() {
        // SAFETY: the list's nodes come from malloc, and nobody looks at them any more.
        unsafe {
            let next = (*node).next;
            sys::free(node.cast());
            node = next;
        }
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

impl Names {
    /// Makes this the thread's current name; kept already if it has had it before.
    fn keep(&mut self, thread: &Thread, name: &CStr) -> Result<*const c_char> {
        let mut node: *mut Node = thread.names.load(Ordering::Relaxed).cast();
        // SAFETY: the list's nodes are valid as long as the thread, and only changed under this guard.
        while let Some(kept) = unsafe { node.as_ref() } {
            // SAFETY: each text ends with NUL.
            if unsafe { CStr::from_ptr(kept.text.as_ptr()) } == name {
                break;
            }
            node = kept.next;
        }
        if node.is_null() {
            node = Self::make(name, thread.names.load(Ordering::Relaxed).cast())?;
            thread.names.store(node.cast(), Ordering::Relaxed);
        }
        // SAFETY: the text lies inside of the node's allocation.
        let text = unsafe { (&raw const (*node).text).cast::<c_char>() };
        thread.name.store(text.cast_mut().cast::<c_void>(), Ordering::Release);
        Ok(text)
    }

    fn make(name: &CStr, next: *mut Node) -> Result<*mut Node> {
        let bytes = name.to_bytes_with_nul();
        // SAFETY: malloc's memory is aligned for a Node; all that is written lies inside of it.
        unsafe {
            let node: *mut Node = malloc(size_of::<Node>() + bytes.len()).cast();
            if node.is_null() {
                return Err(Error::NoMemory);
            }
            (*node).next = next;
            let text = slice::from_raw_parts_mut((&raw mut (*node).text).cast::<u8>(), bytes.len());
            text.copy_from_slice(bytes);
            Ok(node)
        }
    }
}

/// Holds the names across a fork.
pub(crate) fn hold() {
    NAMES.hold();
}

/// Gives back what `hold` took.
///
/// # Safety
/// As for `Guarded::let_go`.
pub(crate) unsafe fn let_go() {
    // SAFETY: the caller's promise.
    unsafe { NAMES.let_go() };
}

/// As `let_go`, in a child of fork.
///
/// # Safety
/// As for `Guarded::renew`.
pub(crate) unsafe fn renew() {
    // SAFETY: the caller's promise.
    unsafe { NAMES.renew() };
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
