#![doc = include_str!("../README.md")]

mod barrier;
pub mod capi;
mod condition;
mod error;
mod event;
mod handle;
mod lock;
mod park;
mod per_thread;
mod raw_lock;
mod rlock;
mod runtime;
mod semaphore;
mod time;

pub use barrier::{Action, Barrier};
pub use condition::Condition;
pub use error::{Error, Result};
pub use event::Event;
pub use handle::Handle;
pub use lock::Lock;
pub use rlock::RLock;
pub use semaphore::{SEMAPHORE_MAX, Semaphore};
pub use time::{FOREVER, TIMEOUT_MAX, Timeout};
