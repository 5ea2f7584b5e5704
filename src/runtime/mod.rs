//! What the loader and libc call: the top of the library, below its interfaces.
//!
//! - [`init`] initializes the library, and is around each call;
//! - [`thread_exit`] is the end of a system thread, and [`process_exit`] that of the process;
//! - [`fork`] has the handlers of a fork.

pub(crate) mod fork;
pub(crate) mod init;
pub(crate) mod process_exit;
pub(crate) mod thread_exit;
