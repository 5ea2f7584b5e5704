//! Names of threads: the default ones, renaming, and the name that system tools show. `thread::names` stores them.

use crate::sys::atomic::{Ordering, fence};
use core::ffi::{CStr, c_char};

use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::sync::wait_observer;
use crate::sys::pthread;
use crate::sys::tls;
use crate::thread::name_table::OwnedName;
pub(crate) use crate::thread::names::MAX_REPORTED_NAME;
use crate::thread::object::{DONE, DUMMY, MAIN, NAMED, TERMINATED, TIMER, Thread, ZOMBIE};
use crate::thread::registry;

/// The longest name that the kernel stores (`TASK_COMM_LEN`), without the NUL.
const MAX_COMM_LEN: usize = 15;
/// The size of the longest default name, `Thread-4294967295`, with its NUL.
const DEFAULT_NAME_SIZE: usize = 18;

/// Returns a thread's current name. Creates the default name if none has been set. The pointer stays valid as long as
/// the thread is not freed.
pub(crate) fn get_or_create(thread: Handle<Thread>) -> Result<*const c_char> {
    // An exposed name is not freed while the thread lives, so it can be read without a pin.
    if let Some(exposed) = thread.read(|thread| thread.names.exposed_text())? {
        return Ok(exposed);
    }
    thread.with_pinned(|object| {
        let make_default = || {
            if !object.has_flag(MAIN) {
                registry::assign_name_number(object);
            }
            OwnedName::try_new(default_name(object, &mut [0; DEFAULT_NAME_SIZE]))
        };
        object.names.expose(make_default, || thread.check().map(drop))
    })
}

/// Sets a thread's name, and the name that system tools show if the thread runs.
pub(crate) fn set(thread: Handle<Thread>, name: &CStr) -> Result<()> {
    thread.with_pinned(|object| {
        if name.to_str().is_err() {
            return Err(Error::NameEncoding);
        }
        object.names.set(name, || thread.check().map(drop))?;
        object.set_flag(NAMED);
        // Dekker's pattern with `apply_to_os`: either the native ID is seen here, or the new name is seen there.
        fence(Ordering::SeqCst);
        let is_running = !matches!(object.state(), TERMINATED | DONE)
            && !object.has_flag(ZOMBIE)
            && object.native_id() != 0;
        if is_running && !object.has_flag(MAIN | TIMER) {
            let is_caller = tls::with(|block| block.thread.get()) == thread.bits();
            let native_id = if is_caller { None } else { Some(object.native_id()) };
            pthread::set_name(native_id, truncated(name, &mut [0; MAX_COMM_LEN + 1]));
        }
        wait_observer::thread_named(object.ident());
        Ok(())
    })
}

/// Sets the calling thread's name in the kernel. Called when the thread begins, after its native ID is set.
pub(crate) fn apply_to_os(thread: &Thread) {
    fence(Ordering::SeqCst);
    loop {
        let mut default = [0; DEFAULT_NAME_SIZE];
        let mut short = [0; MAX_COMM_LEN + 1];
        let (text, shown) = thread.names.with_current(|name| {
            let name = name.unwrap_or_else(|| default_name(thread, &mut default));
            truncated(name, &mut short)
        });
        pthread::set_name(None, text);
        // If another thread has renamed this one, it may have set the kernel's name before the call above: repeat it.
        if thread.names.current() == shown {
            wait_observer::thread_named(thread.ident());
            return;
        }
    }
}

/// Copies a thread's name for a report, without a lock. Returns `None` if it cannot be copied.
pub(crate) fn copy_unlocked<'a>(
    thread: &Thread,
    buffer: &'a mut [u8; MAX_REPORTED_NAME],
) -> Option<&'a [u8]> {
    let copied = thread.names.copy_unlocked(buffer).ok()?;
    let copied = copied.map(|length| match core::str::from_utf8(&buffer[..length]) {
        // The name was cut inside of a character.
        Err(error) if length == MAX_REPORTED_NAME && error.error_len().is_none() => error.valid_up_to(),
        _ => length,
    });
    let length = copied.unwrap_or_else(|| {
        let mut default = [0; DEFAULT_NAME_SIZE];
        let name = default_name(thread, &mut default).to_bytes();
        buffer[..name.len()].copy_from_slice(name);
        name.len()
    });
    Some(&buffer[..length])
}

fn default_name<'a>(thread: &Thread, buffer: &'a mut [u8; DEFAULT_NAME_SIZE]) -> &'a CStr {
    let number = thread.name_number.load(Ordering::Relaxed);
    // In a child of fork, the thread that forked is main, and keeps the default name that it had in the parent.
    if thread.has_flag(MAIN) && number == 0 {
        return c"MainThread";
    }
    format_numbered(if thread.has_flag(DUMMY) { b"Dummy-" } else { b"Thread-" }, number, buffer)
}

/// Writes the prefix and the number to the end of the buffer. Not `format!`, since each start of a thread calls this.
fn format_numbered<'a>(prefix: &[u8], mut number: u32, buffer: &'a mut [u8; DEFAULT_NAME_SIZE]) -> &'a CStr {
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
    at -= prefix.len();
    buffer[at..at + prefix.len()].copy_from_slice(prefix);
    CStr::from_bytes_with_nul(&buffer[at..]).unwrap_or(c"")
}

/// Copies the name to the buffer, or the part of it that fits, cut at a character boundary.
fn truncated<'a>(name: &CStr, buffer: &'a mut [u8; MAX_COMM_LEN + 1]) -> &'a CStr {
    let bytes = name.to_bytes();
    let length = if bytes.len() <= MAX_COMM_LEN {
        bytes.len()
    } else {
        let text = name.to_str().unwrap_or("");
        (0..=MAX_COMM_LEN).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0)
    };
    buffer[..length].copy_from_slice(&bytes[..length]);
    buffer[length] = 0;
    CStr::from_bytes_until_nul(buffer).unwrap_or(c"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_name_ends_with_its_number() {
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
