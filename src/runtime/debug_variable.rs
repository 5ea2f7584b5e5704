//! The environment variable `THREADING_DEBUG`, which is read when the library is loaded.
//!
//! Its words are separated by commas:
//!
//! | word | effect |
//! |---|---|
//! | `signal=NAME` | a dump to stderr on this signal: `QUIT`, `USR1`, `USR2`, `HUP`, `TERM`, `INT` or a number |
//! | `hang=SECONDS` | reports of hangs that have lasted that long, to stderr |
//! | `contention` | statistics of the waits for locks and semaphores, in each dump |
//! | `trace=FILE` | a trace of all waits, to a file that is created or emptied; `%p` stands for the process ID |
//! | `abort` | the process ends after the report of a deadlock |
//!
//! Other words are named on stderr, and have no effect; so is a file that cannot be opened.

use core::ffi::c_int;

use crate::dump::line::parse_decimal;
use crate::dump::{contention, hang, on_signal, trace};
use crate::error::Result;
use crate::sys;
use crate::sys::fd::{without_signals, write_all};

const STDERR: c_int = 2;
const TRACE: &[u8] = b"trace=";

/// Does what the variable asks for, if it is set and the process has no more privileges than its caller.
pub(super) fn apply() {
    let Some(value) = sys::secure_getenv(c"THREADING_DEBUG") else { return };
    for word in value.to_bytes().split(|&byte| byte == b',').filter(|word| !word.is_empty()) {
        if apply_word(word).is_none() {
            let problem: &[u8] = if word.starts_with(TRACE) {
                b"threading: THREADING_DEBUG names a file that cannot be written: "
            } else {
                b"threading: unknown word in THREADING_DEBUG: "
            };
            let _: Result<()> = without_signals(|| {
                write_all(STDERR, problem)?;
                write_all(STDERR, word)?;
                write_all(STDERR, b"\n")
            });
        }
    }
}

fn apply_word(word: &[u8]) -> Option<()> {
    let mut parts = word.splitn(2, |&byte| byte == b'=');
    let (name, value) = (parts.next()?, parts.next());
    match (name, value) {
        (b"signal", Some(signal)) => on_signal::dump_on_signal(signal_number(signal)?, STDERR).ok(),
        (b"hang", Some(seconds)) => {
            // 0 would turn reports off.
            hang::set_hook(nanoseconds(seconds)?.max(1), None, core::ptr::null_mut());
            Some(())
        }
        (b"contention", None) => {
            contention::set(true);
            Some(())
        }
        (b"trace", Some(path)) => trace::start_to_path(path).ok(),
        (b"abort", None) => {
            hang::abort_after_deadlock();
            Some(())
        }
        _ => None,
    }
}

/// Parses a number of seconds, with or without decimals. Not by `f64`'s parser, which is larger than this whole file.
fn nanoseconds(seconds: &[u8]) -> Option<u64> {
    const MAX_SECONDS: u64 = 1_000_000_000;
    let mut parts = seconds.splitn(2, |&byte| byte == b'.');
    let whole = parse_decimal(parts.next()?).filter(|&whole| whole <= MAX_SECONDS)?;
    let decimals = parts.next().unwrap_or(b"0");
    if decimals.is_empty() || !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanoseconds = (0..9)
        .fold(0, |sum, place| 10 * sum + u64::from(decimals.get(place).map_or(0, |digit| digit - b'0')));
    Some(whole * 1_000_000_000 + nanoseconds)
}

fn signal_number(name: &[u8]) -> Option<c_int> {
    match name.strip_prefix(b"SIG").unwrap_or(name) {
        b"QUIT" => Some(libc::SIGQUIT),
        b"USR1" => Some(libc::SIGUSR1),
        b"USR2" => Some(libc::SIGUSR2),
        b"HUP" => Some(libc::SIGHUP),
        b"TERM" => Some(libc::SIGTERM),
        b"INT" => Some(libc::SIGINT),
        number => c_int::try_from(parse_decimal(number)?).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_parsed() {
        assert_eq!(nanoseconds(b"5"), Some(5_000_000_000));
        assert_eq!(nanoseconds(b"0.25"), Some(250_000_000));
        assert_eq!(nanoseconds(b"1.0000000019"), Some(1_000_000_001));
        for wrong in ["", ".", "1.", ".5", "-1", "+1", "1e3", "nan", "99999999999"] {
            assert_eq!(nanoseconds(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn signals_have_names_and_numbers() {
        assert_eq!(signal_number(b"QUIT"), Some(libc::SIGQUIT));
        assert_eq!(signal_number(b"SIGUSR1"), Some(libc::SIGUSR1));
        assert_eq!(signal_number(b"34"), Some(34));
        assert_eq!(signal_number(b"NONE"), None);
    }
}
