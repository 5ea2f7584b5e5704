//! What the operating system and libc keep for each thread.

pub(crate) mod thread_state;
