//! Passes libFuzzer's input to the interpreter of tests/torture/misuse, which turns the bytes into calls and compares
//! their results with its model. A wrong result aborts the process.

#![no_main]

use libfuzzer_sys::fuzz_target;
// Links the library, which only the interpreter calls, through its C interface.
use threading as _;

unsafe extern "C" {
    fn misuse_interpret(bytes: *const u8, size: usize);
}

fuzz_target!(|bytes: &[u8]| {
    // SAFETY: the pointer and length describe the slice, which the interpreter reads during the call only.
    unsafe { misuse_interpret(bytes.as_ptr(), bytes.len()) }
});
