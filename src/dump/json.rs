//! JSON text in a buffer on the stack.

use crate::dump::line::{decimal, hexadecimal};

/// Text of at most `SIZE` bytes. A longer one is cut.
pub(super) struct JsonText<const SIZE: usize> {
    bytes: [u8; SIZE],
    length: usize,
}

impl<const SIZE: usize> JsonText<SIZE> {
    pub(super) fn new() -> Self {
        JsonText { bytes: [0; SIZE], length: 0 }
    }

    pub(super) fn written(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    pub(super) fn clear(&mut self) {
        self.length = 0;
    }

    /// Returns how many bytes can be added.
    pub(super) fn room(&self) -> usize {
        SIZE - self.length
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        let count = bytes.len().min(self.room());
        self.bytes[self.length..self.length + count].copy_from_slice(&bytes[..count]);
        self.length += count;
        self
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
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

    /// Adds a time as a number of microseconds, with three decimals.
    pub(super) fn microseconds(&mut self, nanoseconds: u64) -> &mut Self {
        let rest = nanoseconds % 1000;
        self.number(nanoseconds / 1000).text(".");
        self.number(rest / 100).number(rest / 10 % 10).number(rest % 10)
    }

    /// Adds the contents of a string. Quotes, backslashes and control characters are escaped, and U+FFFD takes the
    /// place of what is not UTF-8: a name that another thread frees during the copy may contain any bytes.
    pub(super) fn escaped(&mut self, name: &[u8]) -> &mut Self {
        for chunk in name.utf8_chunks() {
            for &byte in chunk.valid().as_bytes() {
                match byte {
                    b'"' | b'\\' => self.bytes(&[b'\\', byte]),
                    0..=31 => {
                        let digit = |value: u8| b"0123456789abcdef"[usize::from(value & 15)];
                        self.text("\\u00").bytes(&[digit(byte >> 4), digit(byte)])
                    }
                    _ => self.bytes(&[byte]),
                };
            }
            if !chunk.invalid().is_empty() {
                self.text("\u{fffd}");
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut JsonText<64>) -> &mut JsonText<64>) -> String {
        let mut text = JsonText::new();
        write(&mut text);
        String::from_utf8(text.written().to_vec()).unwrap()
    }

    #[test]
    fn strings_are_escaped() {
        let name = "a\"b\\c\n\u{e9}\u{7f}".as_bytes();
        assert_eq!(written(|text| text.escaped(name)), "a\\\"b\\\\c\\u000a\u{e9}\u{7f}");
        assert_eq!(written(|text| text.escaped(b"a\xffb\xc3")), "a\u{fffd}b\u{fffd}");
    }

    #[test]
    fn numbers_are_formatted() {
        assert_eq!(written(|text| text.microseconds(12_003_040)), "12003.040");
        assert_eq!(written(|text| text.number(0).text(" ").hexadecimal(0x7f41)), "0 0x7f41");
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(written(|text| text.text(&"x".repeat(70))), "x".repeat(64));
    }
}
