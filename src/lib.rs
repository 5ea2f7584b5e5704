#![doc = include_str!("../README.md")]

mod barrier;
mod callbacks;
pub mod capi;
mod error;
mod event;
mod handle;
mod local;
mod lock;
#[cfg(model)]
#[path = "../tests/models/runtime/mod.rs"]
pub mod model;
#[cfg(not(fault))]
mod panic_boundary;
#[cfg(fault)]
pub mod panic_boundary;
mod runtime;
mod rust_api;
mod semaphore;
mod sync;
mod sys;
mod thread;
mod time;
mod timer;

pub use barrier::Barrier;
pub use callbacks::{Action, Callback, Destructor, ExceptHook, Init, Run, Target};
pub use error::{Error, Result};
pub use event::Event;
pub use handle::Handle;
pub use local::Local;
pub use lock::condition::Condition;
pub use lock::lock::Lock;
pub use lock::rlock::RLock;
pub use rust_api::{
    ActionBarrier, Held, Owned, ThreadLocal, active_count, atexit, main_thread, report_exception,
    reset_excepthook, set_excepthook, shutdown,
};
pub use semaphore::{SEMAPHORE_MAX, Semaphore};
pub use thread::object::Thread;
pub use thread::{ThreadList, current, enumerate, set_stack_size, sleep, stack_size};
pub use time::{FOREVER, TIMEOUT_MAX, Timeout};
pub use timer::object::Timer;
