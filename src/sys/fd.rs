//! File descriptors, and memory that may be unmapped: what a report needs in a signal handler.

use core::ffi::{CStr, c_int};

use crate::error::{Error, Result};
use crate::sys;
use crate::sys::calling_thread::with_cancel_disabled;
use crate::time::Deadline;

/// Writes all bytes. Continues after signals and partial writes.
pub(crate) fn write_all(fd: c_int, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        let (written, error) = with_cancel_disabled(|| {
            sys::preserving_errno(|| {
                // SAFETY: the bytes are valid for reads.
                let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
                (written, sys::errno())
            })
        });
        match usize::try_from(written) {
            Ok(written) => bytes = &bytes[written..],
            Err(_) if error == libc::EINTR => {}
            Err(_) => return Err(Error::System),
        }
    }
    Ok(())
}

/// As `write_all`, for the strings one after the other. Writes them with one system call, if that writes all of them.
pub(crate) fn write_parts<const N: usize>(fd: c_int, parts: &[&CStr; N]) -> Result<()> {
    let vectors = parts
        .map(|part| libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.count_bytes() });
    let write = || {
        // SAFETY: the array has that number of entries, each a string of that length, which is only read.
        sys::preserving_errno(|| (unsafe { libc::writev(fd, vectors.as_ptr(), N as c_int) }, sys::errno()))
    };
    let mut written = loop {
        let (written, error) = with_cancel_disabled(write);
        match usize::try_from(written) {
            Ok(written) => break written,
            Err(_) if error == libc::EINTR => {}
            Err(_) => return Err(Error::System),
        }
    };
    parts.iter().try_for_each(|part| {
        let rest = part.to_bytes().get(written..).unwrap_or_default();
        written = written.saturating_sub(part.count_bytes());
        write_all(fd, rest)
    })
}

/// The signals of failing writes: to a closed pipe or socket, and beyond the size to which the process limits its
/// files.
const SIGNALS: [c_int; 2] = [libc::SIGPIPE, libc::SIGXFSZ];

/// Runs `write`. If it fails, the process gets no SIGPIPE or SIGXFSZ, which would end it.
pub(crate) fn without_signals<R>(write: impl FnOnce() -> Result<R>) -> Result<R> {
    // SAFETY: all zeros are valid sets, which are then initialized; the pointers are valid.
    unsafe {
        let (mut blocked, mut former) = (core::mem::zeroed(), core::mem::zeroed());
        sys::preserving_errno(|| {
            libc::sigemptyset(&mut blocked);
            for signal in SIGNALS {
                libc::sigaddset(&mut blocked, signal);
            }
        });
        sys::pthread_sigmask(libc::SIG_BLOCK, &blocked, &mut former);
        let pending_before = pending_of(&former);
        let written = write();
        if written.is_err() {
            // A signal of the write is pending for this thread.
            accept_pending(&blocked, &pending_before);
        }
        sys::pthread_sigmask(libc::SIG_SETMASK, &former, core::ptr::null_mut());
        written
    }
}

/// Returns which of `SIGNALS` are pending, if these are blocked: otherwise none is.
fn pending_of(blocked: &libc::sigset_t) -> [bool; SIGNALS.len()] {
    // SAFETY: all zeros are a valid set; the pointers are valid.
    sys::preserving_errno(|| unsafe {
        let may_be_pending = SIGNALS.map(|signal| libc::sigismember(blocked, signal) == 1);
        if may_be_pending == [false; SIGNALS.len()] {
            return may_be_pending;
        }
        let mut pending = core::mem::zeroed();
        libc::sigpending(&mut pending);
        SIGNALS.map(|signal| libc::sigismember(&pending, signal) == 1)
    })
}

/// Removes those of `SIGNALS` that are pending now, but were not before. All of them are blocked.
fn accept_pending(blocked: &libc::sigset_t, before: &[bool; SIGNALS.len()]) {
    let now = pending_of(blocked);
    for (index, &signal) in SIGNALS.iter().enumerate() {
        if now[index] && !before[index] {
            with_cancel_disabled(|| sys::preserving_errno(|| accept(signal)));
        }
    }
}

/// Removes a pending signal.
fn accept(signal: c_int) {
    // SAFETY: all zeros are a valid set; the pointers are valid, or NULL where that is permitted.
    unsafe {
        let mut signals = core::mem::zeroed();
        libc::sigemptyset(&mut signals);
        libc::sigaddset(&mut signals, signal);
        #[cfg(not(target_vendor = "apple"))]
        {
            let no_time = core::mem::zeroed::<libc::timespec>();
            while libc::sigtimedwait(&signals, core::ptr::null_mut(), &no_time) < 0
                && sys::errno() == libc::EINTR
            {}
        }
        #[cfg(target_vendor = "apple")]
        {
            let mut accepted = 0;
            libc::sigwait(&signals, &mut accepted);
        }
    }
}

/// Waits until a write of a few bytes would not block, or would fail. Returns false if the deadline passes first.
pub(crate) fn wait_until_writable(fd: c_int, deadline: Deadline) -> bool {
    loop {
        let left_ms = deadline.0.saturating_sub(Deadline::now().0).div_ceil(1_000_000);
        let mut file = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
        let ready = with_cancel_disabled(|| {
            // SAFETY: `file` is valid for reads and writes.
            sys::preserving_errno(|| unsafe { libc::poll(&mut file, 1, left_ms.min(1000) as c_int) })
        });
        // Negative after a signal.
        if ready >= 0 || deadline.has_passed() {
            return ready > 0;
        }
    }
}

/// What identifies a file while it is open: its device and its number there. `None` if the descriptor is not open.
pub(crate) fn identity(fd: c_int) -> Option<(u64, u64)> {
    // SAFETY: all zeros are valid, and are replaced; the pointer is valid.
    unsafe {
        let mut status = core::mem::zeroed::<libc::stat>();
        let is_open = sys::preserving_errno(|| libc::fstat(fd, &mut status)) == 0;
        #[allow(clippy::unnecessary_cast, reason = "the types differ between systems")]
        is_open.then_some((status.st_dev as u64, status.st_ino as u64))
    }
}

/// Creates a file, or empties it, and opens it for writing at its end. Fails for a FIFO that no process reads, instead
/// of waiting for a reader. The descriptor is not one of the three standard ones: in a process that was started without
/// them, others write there what they write to standard error, for example.
pub(crate) fn create(path: &CStr) -> Result<c_int> {
    const STATUS_FLAGS: c_int = libc::O_WRONLY | libc::O_APPEND;
    const FLAGS: c_int = STATUS_FLAGS | libc::O_CREAT | libc::O_TRUNC | libc::O_CLOEXEC | libc::O_NONBLOCK;
    const FIRST: c_int = libc::STDERR_FILENO + 1;
    let opened = with_cancel_disabled(|| {
        // SAFETY: the path ends with NUL. `fcntl` fails if the file could not be opened.
        sys::preserving_errno(|| unsafe {
            let file = libc::open(path.as_ptr(), FLAGS, 0o666 as libc::c_uint);
            // Only the open must not block: a write to a full FIFO waits for its reader.
            libc::fcntl(file, libc::F_SETFL, STATUS_FLAGS);
            file
        })
    });
    if (0..FIRST).contains(&opened) {
        // SAFETY: the descriptor is valid until it is closed.
        let file = sys::preserving_errno(|| unsafe { libc::fcntl(opened, libc::F_DUPFD_CLOEXEC, FIRST) });
        close(opened);
        return if file < 0 { Err(Error::System) } else { Ok(file) };
    }
    if opened < 0 { Err(Error::System) } else { Ok(opened) }
}

/// Closes a file that the library has opened.
pub(crate) fn close(fd: c_int) {
    with_cancel_disabled(|| {
        // SAFETY: the library does not use the descriptor any more.
        unsafe { sys::close(fd) };
    });
}

/// Reads the beginning of a file, as much as the buffer takes in one call. Returns the number of bytes, 0 if the file
/// cannot be read.
pub(crate) fn read_beginning(path: &CStr, buffer: &mut [u8]) -> usize {
    with_cancel_disabled(|| {
        // SAFETY: the path ends with NUL; the buffer is valid for writes; the descriptor is valid until it is closed.
        unsafe {
            let file = sys::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
            if file < 0 {
                return 0;
            }
            let length = sys::read(file, buffer.as_mut_ptr().cast(), buffer.len());
            sys::close(file);
            usize::try_from(length).unwrap_or(0)
        }
    })
}

/// Copies memory of this process that another thread may free or unmap at the same time. Returns the number of bytes
/// that have been copied, fewer if the rest is not mapped; 0 if the system does not permit it.
pub(crate) fn copy_unstable(address: usize, buffer: &mut [u8]) -> usize {
    #[cfg(target_os = "linux")]
    {
        const PAGE: usize = 4096;
        // The second page may not be mapped, and a part is copied as a whole or not at all.
        let until_page = (PAGE - address % PAGE).min(buffer.len());
        let part = |address: usize, length| libc::iovec { iov_base: address as *mut _, iov_len: length };
        let parts = [part(address, until_page), part(address + until_page, buffer.len() - until_page)];
        sys::preserving_errno(|| {
            copy_by_vm_read(&parts, buffer)
                .unwrap_or_else(|_| with_cancel_disabled(|| copy_by_pipe(&parts, buffer)))
        })
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (address, buffer);
        0
    }
}

/// Fails if the system does not have the call (QEMU), or does not permit it (some sandboxes).
#[cfg(target_os = "linux")]
fn copy_by_vm_read(parts: &[libc::iovec; 2], buffer: &mut [u8]) -> Result<usize> {
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: the kernel checks the addresses; `buffer` is valid for writes.
    let copied = unsafe {
        libc::syscall(
            libc::SYS_process_vm_readv,
            libc::getpid(),
            &raw const local,
            1 as libc::c_ulong,
            parts.as_ptr(),
            2 as libc::c_ulong,
            0 as libc::c_ulong,
        )
    };
    match usize::try_from(copied) {
        Ok(copied) => Ok(copied),
        Err(_) if sys::errno() == libc::EFAULT => Ok(0),
        Err(_) => Err(Error::System),
    }
}

/// Writes the memory to a pipe, and reads it from there. Returns 0 if the process can open no more files.
#[cfg(target_os = "linux")]
fn copy_by_pipe(parts: &[libc::iovec; 2], buffer: &mut [u8]) -> usize {
    let mut ends = [0; 2];
    // SAFETY: the array is valid for writes; the kernel checks the other addresses; `buffer` is valid for writes; the
    // descriptors are valid until they are closed.
    unsafe {
        if libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) != 0 {
            return 0;
        }
        let [reader, writer] = ends;
        for part in parts {
            if part.iov_len == 0 || sys::write(writer, part.iov_base, part.iov_len) != part.iov_len as isize {
                break;
            }
        }
        let copied = sys::read(reader, buffer.as_mut_ptr().cast(), buffer.len());
        sys::close(reader);
        sys::close(writer);
        usize::try_from(copied).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unmapped_memory_is_not_copied() {
        let text = *b"some text";
        let mut buffer = [0; 9];
        assert_eq!(copy_unstable(text.as_ptr() as usize, &mut buffer), 9);
        assert_eq!(buffer, text);
        assert_eq!(copy_unstable(16, &mut buffer), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_is_copied_by_a_pipe_up_to_the_first_page_that_is_not_mapped() {
        let part = |address: usize, length| libc::iovec { iov_base: address as *mut _, iov_len: length };
        let text = *b"some text";
        let address = text.as_ptr() as usize;
        let mut buffer = [0; 9];
        assert_eq!(copy_by_pipe(&[part(address, 4), part(address + 4, 5)], &mut buffer), 9);
        assert_eq!(buffer, text);
        assert_eq!(copy_by_pipe(&[part(address, 4), part(16, 5)], &mut buffer), 4);
        assert_eq!(copy_by_pipe(&[part(16, 4), part(address, 5)], &mut buffer), 0);
    }

    #[test]
    fn a_full_pipe_is_not_writable() {
        let mut pipe = [0; 2];
        // SAFETY: `pipe` is valid for writes; the descriptors are those of the pipe.
        unsafe {
            assert_eq!(libc::pipe(pipe.as_mut_ptr()), 0);
            assert!(wait_until_writable(pipe[1], Deadline::now()));
            libc::fcntl(pipe[1], libc::F_SETFL, libc::O_NONBLOCK);
            while libc::write(pipe[1], [0; 512].as_ptr().cast(), 512) == 512 {}
            assert!(!wait_until_writable(pipe[1], Deadline::now().add_ns(1_000_000)));
            close(pipe[0]);
            assert!(wait_until_writable(pipe[1], Deadline::now()));
            close(pipe[1]);
        }
    }

    #[test]
    fn writing_to_an_invalid_descriptor_fails() {
        assert_eq!(write_all(-1, b"text"), Err(Error::System));
        assert_eq!(read_beginning(c"/nonexistent", &mut [0; 4]), 0);
    }
}
