//! Whether a thread is blocked on a lock of libc that the calling thread holds, such as the one in `exit`.

/// Whether this may be known: only with glibc.
pub(crate) const MAY_BE_KNOWN: bool = cfg!(all(target_os = "linux", target_env = "gnu", not(model)));

/// Returns whether the thread with this native ID waits, without a timeout, for a lock of libc that the calling thread
/// holds. Returns false where that is not known: with other libcs than glibc, or without `/proc`.
///
/// glibc's recursive locks are a futex, a counter, and the owner: what `pthread_self()` returns in the thread that
/// holds the lock.
pub(crate) fn waits_for_caller(native_id: u32) -> bool {
    #[cfg(all(target_os = "linux", target_env = "gnu", not(model)))]
    return glibc::futex_of(native_id).is_some_and(glibc::is_lock_of_caller);
    #[cfg(not(all(target_os = "linux", target_env = "gnu", not(model))))]
    {
        let _ = native_id;
        false
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu", not(model)))]
mod glibc {
    use core::ffi::CStr;
    use std::io::Write;

    use crate::sys::fd;

    /// The offset of the owner in a recursive lock.
    const OWNER_OFFSET: usize = 2 * size_of::<u32>();
    /// The value of the futex of a lock for which threads wait.
    const CONTENDED: u64 = 2;

    /// Returns the address of the futex for which a thread waits without a timeout until it is no longer `CONTENDED`.
    pub(super) fn futex_of(native_id: u32) -> Option<usize> {
        let (mut path, mut text) = ([0; 48], [0; 256]);
        write!(&mut path[..47], "/proc/self/task/{native_id}/syscall").ok()?;
        let length = fd::read_beginning(CStr::from_bytes_until_nul(&path).ok()?, &mut text);
        parse(&text[..length])
    }

    /// Parses the number of a system call, in decimal, and its arguments, in hexadecimal.
    fn parse(text: &[u8]) -> Option<usize> {
        let mut words = text.split(|&byte| byte == b' ');
        let number = parse_number(words.next()?, 10)?;
        let mut arguments = [0; 4];
        for argument in &mut arguments {
            *argument = parse_number(words.next()?.strip_prefix(b"0x")?, 16)?;
        }
        let [address, operation, expected, timeout] = arguments;
        let is_wait = operation & !(libc::FUTEX_PRIVATE_FLAG as u64) == libc::FUTEX_WAIT as u64;
        let is_lock = number == libc::SYS_futex as u64 && is_wait && expected == CONTENDED && timeout == 0;
        is_lock.then_some(usize::try_from(address).ok()?)
    }

    // The standard parser is inlined at each call, and much larger.
    #[inline(never)]
    fn parse_number(word: &[u8], radix: u32) -> Option<u64> {
        word.iter().try_fold(0_u64, |number, &digit| {
            let digit = char::from(digit).to_digit(radix)?;
            number.checked_mul(radix.into())?.checked_add(digit.into())
        })
    }

    /// Returns whether the futex at this address, which may be invalid, is a lock whose owner is the calling thread.
    pub(super) fn is_lock_of_caller(futex: usize) -> bool {
        let mut owner = [0; size_of::<usize>()];
        // SAFETY: no preconditions.
        let me = unsafe { libc::pthread_self() } as usize;
        fd::copy_unstable(futex.wrapping_add(OWNER_OFFSET), &mut owner) == owner.len()
            && usize::from_ne_bytes(owner) == me
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_wait_for_a_lock_is_recognized() {
            let wait = |text: &str| parse(text.replace("futex", &libc::SYS_futex.to_string()).as_bytes());
            assert_eq!(wait("futex 0x7f0010 0x80 0x2 0x0 0x0 0x0 0x7ffc 0x7fdb\n"), Some(0x7f0010));
            assert_eq!(wait("futex 0x7f0010 0x0 0x2 0x0 0x0 0x0 0x7ffc 0x7fdb\n"), Some(0x7f0010));
            for other in [
                "running\n",
                "-1 0x7ffc 0x7fdb\n",
                "futex 0x7f0010 0x80 0x1 0x0 0x0 0x0 0x7ffc 0x7fdb\n",
                "futex 0x7f0010 0x80 0x2 0x7ffd 0x0 0x0 0x7ffc 0x7fdb\n",
                "futex 0x7f0010 0x81 0x2 0x0 0x0 0x0 0x7ffc 0x7fdb\n",
                "",
            ] {
                assert_eq!(wait(other), None, "{other}");
            }
        }
    }
}
