//! What the operating system gives: no object and no lock of the library is known here.

pub(crate) mod memory;
