//! The output of a dump: lines in a buffer on the stack, each written by one system call.
//!
//! Not `core::fmt`, which needs more stack than an alternate signal stack may have left.

use core::ffi::c_int;

use crate::error::{Error, Result};
use crate::sys::fd::write_all;

/// The size of the longest line. A longer one is cut at the end of a character.
const SIZE: usize = 512;

/// Where the lines go.
pub(crate) enum Output<'a> {
    File(c_int),
    /// For the hang hook: text that ends with NUL, and how many bytes of the buffer are in use.
    Buffer(&'a mut [u8], usize),
}

/// Calls `pass` with the decimal digits of a number.
pub(super) fn decimal(number: u64, mut pass: impl FnMut(&[u8])) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    pass(&digits[at..]);
}

/// Calls `pass` with `0x`, and then with each hexadecimal digit of a number.
pub(super) fn hexadecimal(number: usize, mut pass: impl FnMut(&[u8])) {
    pass(b"0x");
    let digits = (usize::BITS - number.leading_zeros()).div_ceil(4).max(1);
    for digit in (0..digits).rev() {
        pass(&[b"0123456789abcdef"[number >> (4 * digit) & 15]]);
    }
}

pub(super) struct Lines<'a> {
    output: Output<'a>,
    line: [u8; SIZE],
    length: usize,
    error: Option<Error>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(output: Output<'a>) -> Self {
        Lines { output, line: [0; SIZE], length: 0, error: None }
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        // One byte is left for the newline.
        let count = bytes.len().min(SIZE - 1 - self.length);
        self.line[self.length..self.length + count].copy_from_slice(&bytes[..count]);
        self.length += count;
        self
    }

    pub(super) fn number(&mut self, number: u64) -> &mut Self {
        decimal(number, |digits| {
            self.bytes(digits);
        });
        self
    }

    pub(super) fn hexadecimal(&mut self, number: usize) -> &mut Self {
        hexadecimal(number, |digits| {
            self.bytes(digits);
        });
        self
    }

    /// Adds a time in seconds, with one decimal.
    pub(super) fn seconds(&mut self, nanoseconds: u64) -> &mut Self {
        let tenths = nanoseconds / 100_000_000;
        self.number(tenths / 10).text(".").number(tenths % 10).text(" s")
    }

    /// Adds a time in milliseconds, with one decimal, or in seconds if it is at least one.
    pub(super) fn short_time(&mut self, nanoseconds: u64) -> &mut Self {
        if nanoseconds >= 1_000_000_000 {
            return self.seconds(nanoseconds);
        }
        let tenths = nanoseconds / 100_000;
        self.number(tenths / 10).text(".").number(tenths % 10).text(" ms")
    }

    /// Adds a number and a noun, in the plural unless the number is one.
    pub(super) fn count(&mut self, number: usize, noun: &str) -> &mut Self {
        self.number(number as u64).text(" ").text(noun).text(if number == 1 { "" } else { "s" })
    }

    /// Adds a name in quotes. Control characters, quotes and backslashes are escaped. The control characters of UTF-8
    /// are those of ASCII, and U+0080 to U+009F, of two bytes: terminals take U+009B for the beginning of a command.
    pub(super) fn name(&mut self, name: &[u8]) -> &mut Self {
        self.text("\"");
        for (index, &byte) in name.iter().enumerate() {
            let is_control = match byte {
                0..=31 | 127 => true,
                0xc2 => matches!(name.get(index + 1), Some(0x80..=0x9f)),
                0x80..=0x9f => name[..index].last() == Some(&0xc2),
                _ => false,
            };
            if is_control {
                let digit = |value: u8| b"0123456789abcdef"[usize::from(value & 15)];
                self.bytes(&[b'\\', b'x', digit(byte >> 4), digit(byte)]);
            } else if matches!(byte, b'"' | b'\\') {
                self.bytes(&[b'\\', byte]);
            } else {
                self.bytes(&[byte]);
            }
        }
        self.text("\"")
    }

    /// Ends the line and writes it.
    pub(super) fn end(&mut self) {
        // If the line was cut inside of a character, this removes the rest of the character.
        if let Err(error) = core::str::from_utf8(&self.line[..self.length]) {
            if self.length == SIZE - 1 && error.error_len().is_none() {
                self.length = error.valid_up_to();
            }
        }
        self.line[self.length] = b'\n';
        let line = &self.line[..=self.length];
        match &mut self.output {
            Output::File(fd) => {
                if self.error.is_none() {
                    self.error = write_all(*fd, line).err();
                }
            }
            Output::Buffer(buffer, used) => {
                let room = buffer.len() - *used - 1;
                let count = line.len().min(room);
                buffer[*used..*used + count].copy_from_slice(&line[..count]);
                *used += count;
                buffer[*used] = 0;
            }
        }
        self.length = 0;
    }

    /// Returns the first error of a write.
    pub(super) fn result(&self) -> Result<()> {
        self.error.map_or(Ok(()), Err)
    }
}

/// Parses a number that consists of decimal digits. `str::parse` would need more code, and a check that the text is
/// UTF-8.
pub(crate) fn parse_decimal(text: &[u8]) -> Option<u64> {
    let add = |number: u64, byte: &u8| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    };
    if text.is_empty() { None } else { text.iter().try_fold(0, add) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl for<'a, 'b> FnOnce(&'a mut Lines<'b>) -> &'a mut Lines<'b>) -> String {
        let mut buffer = [0; 2 * SIZE];
        let mut lines = Lines::new(Output::Buffer(&mut buffer, 0));
        write(&mut lines).end();
        String::from_utf8(buffer.split(|&byte| byte == 0).next().unwrap().to_vec()).unwrap()
    }

    #[test]
    fn numbers_times_and_names_are_formatted() {
        assert_eq!(written(|lines| lines.number(0).text(" ").number(u64::MAX)), "0 18446744073709551615\n");
        assert_eq!(written(|lines| lines.hexadecimal(0).text(" ").hexadecimal(0x7f30)), "0x0 0x7f30\n");
        assert_eq!(written(|lines| lines.seconds(12_490_000_000)), "12.4 s\n");
        assert_eq!(
            written(|lines| lines.count(1, "thread").text(", ").count(2, "timer")),
            "1 thread, 2 timers\n"
        );
        assert_eq!(written(|lines| lines.name("a\"b\\c\n\u{e9}".as_bytes())), "\"a\\\"b\\\\c\\x0a\u{e9}\"\n");
    }

    #[test]
    fn control_characters_of_two_bytes_are_escaped() {
        let name = "\u{9b}7m \u{a0}\u{80}\u{9f}\u{db}\u{2db}".as_bytes();
        assert_eq!(
            written(|lines| lines.name(name)),
            "\"\\xc2\\x9b7m \u{a0}\\xc2\\x80\\xc2\\x9f\u{db}\u{2db}\"\n"
        );
        // Such a byte alone is not UTF-8, and a terminal takes it for no character.
        let lone = |lines: &mut Lines| lines.name(b"\x9b\xc2").length;
        assert_eq!(lone(&mut Lines::new(Output::File(-1))), 4);
    }

    #[test]
    fn numbers_are_parsed() {
        assert_eq!(parse_decimal(b"0"), Some(0));
        assert_eq!(parse_decimal(b"18446744073709551615"), Some(u64::MAX));
        for wrong in ["", "-1", "+1", "1 ", "running", "18446744073709551616"] {
            assert_eq!(parse_decimal(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        let line = written(|lines| lines.name("\u{e9}".repeat(SIZE).as_bytes()));
        assert!(line.len() <= SIZE && line.ends_with("\u{e9}\n"), "{line}");
    }
}
