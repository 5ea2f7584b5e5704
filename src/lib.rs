#![doc = include_str!("../README.md")]

pub mod capi;
mod error;
mod handle;
mod lock;
mod park;
mod per_thread;
mod raw_lock;
mod rlock;
mod runtime;
mod time;

pub use error::{Error, Result};
pub use handle::Handle;
pub use lock::Lock;
pub use rlock::RLock;
pub use time::{FOREVER, TIMEOUT_MAX, Timeout};
