//! The part of the Rust API that is not a method of [`Handle`](crate::Handle): constructors that return owned handles,
//! guards, and closures in place of the function and the argument that the C API takes.
//!
//! | file | contents |
//! |---|---|
//! | `owned` | `OwnedHandle`, and the constructors that take no closure |
//! | `guards` | `LockGuard`, and the methods that return one |
//! | `closures` | the conversion of a closure to a C function and its argument |
//! | `thread` | threads and timers |
//! | `barrier` | barriers, with and without an action |
//! | `thread_local` | `ThreadLocal`, and the constructors of `Local` |
//! | `process` | exit callbacks, shutdown, the excepthook |
//! | `dumps` | dumps, statistics of contention, and the hang hook |
//!
//! The constructors of [`Handle`](crate::Handle) that take a C function and its argument are unsafe, because only the
//! caller knows that the two go together. Here, the type of the closure ensures this. A closure that panics is reported
//! to the excepthook as a failure of the thread that ran it, and the panic ends there. No internal mutex is held while
//! a closure runs.

mod barrier;
mod closures;
#[cfg(not(model))]
mod dumps;
mod guards;
mod owned;
mod process;
mod thread;
mod thread_local;

pub use barrier::ActionBarrier;
#[cfg(not(model))]
pub use dumps::{Hang, dump, dump_on_signal, report_hangs, set_contention, set_hang_hook, trace};
pub use guards::LockGuard;
pub use owned::OwnedHandle;
pub use process::{atexit, report_exception, reset_excepthook, set_excepthook, shutdown};
pub use thread::{active_count, enumerate, main_thread};
pub use thread_local::ThreadLocal;
