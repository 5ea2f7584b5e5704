//! The functions that the loader and libc call. This is the top layer of the library, below its C and Rust interfaces.
//!
//! - [`init`] initializes the library, and wraps each call of it;
//! - [`thread_exit`] is called when an OS thread exits, and [`process_exit`] when the process does;
//! - [`fork`] has the fork handlers.

pub(crate) mod fork;
pub(crate) mod init;
pub(crate) mod process_exit;
pub(crate) mod thread_exit;
