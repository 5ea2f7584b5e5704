//! What a thread is called: the given names, the default ones, and what the system's tools show. `thread::names` stores
//! them.

use crate::sys::atomic::{Ordering, fence};
use core::ffi::{CStr, c_char};

use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::sys::pthread;
use crate::sys::tls;
use crate::thread::names::OwnedName;
use crate::thread::object::{DONE, DUMMY, MAIN, NAMED, TERMINATED, TIMER, Thread, ZOMBIE};
use crate::thread::registry;

/// What fits a name in the system's tools, without the NUL.
const MAX_COMM_LEN: usize = 15;
/// The longest default name, `Thread-4294967295`, and its NUL.
const DEFAULT_NAME_SIZE: usize = 18;

/// A thread's current name. The pointer stays valid as long as the thread.
pub(crate) fn get_or_create(thread: Handle<Thread>) -> Result<*const c_char> {
    // What a caller has asked for before does not change while the thread lives.
    if let Some(known) = thread.read(|thread| thread.names.known())? {
        return Ok(known);
    }
    thread.with_pinned(|object| {
        let make_default = || {
            if !object.has_flag(MAIN) {
                registry::assign_name_number(object);
            }
            OwnedName::try_new(default_name(object, &mut [0; DEFAULT_NAME_SIZE]))
        };
        object.names.tell(make_default, || thread.check().map(drop))
    })
}

/// Names a thread.
pub(crate) fn set(thread: Handle<Thread>, name: &CStr) -> Result<()> {
    thread.with_pinned(|object| {
        if name.to_str().is_err() {
            return Err(Error::NameEncoding);
        }
        object.names.set(name, || thread.check().map(drop))?;
        object.set_flag(NAMED, true);
        // Either this sees the number that the thread has just set, or the thread, in `show`, the name.
        fence(Ordering::SeqCst);
        let is_running = !matches!(object.state(), TERMINATED | DONE)
            && !object.has_flag(ZOMBIE)
            && object.native_id() != 0;
        if is_running && !object.has_flag(MAIN | TIMER) {
            let is_caller = tls::with(|block| block.thread.get()) == thread.bits();
            let native_id = if is_caller { None } else { Some(object.native_id()) };
            pthread::set_name(native_id, truncated(name, &mut [0; MAX_COMM_LEN + 1]));
        }
        Ok(())
    })
}

/// Shows the calling thread's name to the system's tools.
pub(crate) fn apply_to_os(thread: &Thread) {
    fence(Ordering::SeqCst);
    loop {
        let mut buffer = [0; DEFAULT_NAME_SIZE];
        let mut short = [0; MAX_COMM_LEN + 1];
        let (text, shown) = thread.names.look(|name| {
            let name = name.unwrap_or_else(|| default_name(thread, &mut buffer));
            truncated_copy(name, &mut short)
        });
        pthread::set_name(None, text);
        // A caller that renamed it in between may have come first with the system: once more, then.
        if thread.names.current() == shown {
            return;
        }
    }
}

fn default_name<'a>(thread: &Thread, buffer: &'a mut [u8; DEFAULT_NAME_SIZE]) -> &'a CStr {
    let number = thread.name_number.load(Ordering::Relaxed);
    // A thread that has forked is the main one in the child, and keeps its name.
    if thread.has_flag(MAIN) && number == 0 {
        return c"MainThread";
    }
    format_numbered(if thread.has_flag(DUMMY) { b"Dummy-" } else { b"Thread-" }, number, buffer)
}

/// Written by hand, since every start of a thread waits for it.
fn format_numbered<'a>(kind: &[u8], mut number: u32, buffer: &'a mut [u8; DEFAULT_NAME_SIZE]) -> &'a CStr {
    let mut at = DEFAULT_NAME_SIZE - 1;
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
fn truncated<'a>(name: &'a CStr, buffer: &'a mut [u8; MAX_COMM_LEN + 1]) -> &'a CStr {
    if name.count_bytes() <= MAX_COMM_LEN {
        return name;
    }
    let text = name.to_str().unwrap_or("");
    let end = text.floor_char_boundary(MAX_COMM_LEN);
    buffer[..end].copy_from_slice(&text.as_bytes()[..end]);
    buffer[end] = 0;
    CStr::from_bytes_until_nul(buffer).unwrap_or(c"")
}

/// As `truncated`, always into the buffer.
fn truncated_copy<'a>(name: &CStr, buffer: &'a mut [u8; MAX_COMM_LEN + 1]) -> &'a CStr {
    let length = truncated(name, &mut [0; MAX_COMM_LEN + 1]).count_bytes();
    buffer[..length].copy_from_slice(&name.to_bytes()[..length]);
    buffer[length] = 0;
    CStr::from_bytes_until_nul(buffer).unwrap_or(c"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_name_ends_with_its_number() {
        let mut buffer = [b'x'; DEFAULT_NAME_SIZE];
        assert_eq!(format_numbered(b"Thread-", 0, &mut buffer), c"Thread-0");
        assert_eq!(format_numbered(b"Dummy-", 120, &mut buffer), c"Dummy-120");
        assert_eq!(format_numbered(b"Thread-", u32::MAX, &mut buffer), c"Thread-4294967295");
    }

    #[test]
    fn names_are_truncated_at_character_boundaries() {
        let mut buffer = [0; MAX_COMM_LEN + 1];
        assert_eq!(truncated(c"short", &mut buffer), c"short");
        assert_eq!(truncated(c"123456789012345", &mut buffer), c"123456789012345");
        assert_eq!(truncated(c"1234567890123456", &mut buffer), c"123456789012345");
        assert_eq!(truncated(c"12345678901234\xc3\xa9", &mut buffer), c"12345678901234");
    }
}
