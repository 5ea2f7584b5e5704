//! Gives libFuzzer's bytes to the interpreter of the misuse torture, which makes calls of them and compares the
//! answers with its model. A wrong answer aborts.

#![no_main]

use libfuzzer_sys::fuzz_target;
// The interpreter calls the library as C does; nothing here names it.
use threading as _;

unsafe extern "C" {
    fn misuse_interpret(bytes: *const u8, size: usize);
}

fuzz_target!(|bytes: &[u8]| {
    // SAFETY: so many bytes, which are only read, during the call.
    unsafe { misuse_interpret(bytes.as_ptr(), bytes.len()) }
});
