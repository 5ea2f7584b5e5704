#![doc = include_str!("../README.md")]

mod barrier;
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

pub use barrier::{Action, Barrier};
pub use error::{Error, Result};
pub use event::Event;
pub use handle::Handle;
pub use local::{Init, Local};
pub use lock::condition::Condition;
pub use lock::lock::Lock;
pub use lock::rlock::RLock;
pub use runtime::process_exit::Callback;
pub use rust_api::{
    ActionBarrier, Held, Owned, ThreadLocal, active_count, atexit, main_thread, report_exception,
    reset_excepthook, set_excepthook, shutdown,
};
pub use semaphore::{SEMAPHORE_MAX, Semaphore};
pub use thread::excepthook::ExceptHook;
pub use thread::list::{ThreadList, enumerate};
pub use thread::object::{Destructor, Run, Target, Thread};
pub use thread::{current, set_stack_size, sleep, stack_size};
pub use time::{FOREVER, TIMEOUT_MAX, Timeout};
pub use timer::object::Timer;
