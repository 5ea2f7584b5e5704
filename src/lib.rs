#![doc = include_str!("../README.md")]

mod atomic;
mod barrier;
pub mod capi;
mod condition;
#[cfg(not(fault))]
mod defect;
#[cfg(fault)]
pub mod defect;
mod detector;
mod error;
mod event;
mod handle;
mod local;
mod lock;
#[cfg(model)]
#[path = "../tests/models/runtime/mod.rs"]
pub mod model;
mod park;
mod per_thread;
mod raw_lock;
mod rlock;
mod runtime;
mod rust;
mod semaphore;
mod sys;
mod thread;
mod time;
mod timer;

pub use barrier::{Action, Barrier};
pub use condition::Condition;
pub use error::{Error, Result};
pub use event::Event;
pub use handle::Handle;
pub use local::{Init, Local};
pub use lock::Lock;
pub use rlock::RLock;
pub use runtime::excepthook::ExceptHook;
pub use runtime::exit::Callback;
pub use runtime::life::{Destructor, Run, Target, Thread};
pub use runtime::pending::Timer;
pub use rust::{
    ActionBarrier, Held, Owned, ThreadLocal, active_count, atexit, main_thread, report_exception,
    reset_excepthook, set_excepthook, shutdown,
};
pub use semaphore::{SEMAPHORE_MAX, Semaphore};
pub use thread::{ThreadList, current, enumerate, set_stack_size, sleep, stack_size};
pub use time::{FOREVER, TIMEOUT_MAX, Timeout};
