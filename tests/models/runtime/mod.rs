//! What replaces the system under a model checker: atomics, threads, the clock and the futex.
//!
//! All code above these is the code that ships. Its memory does not move: before each run of a model, `reset`
//! reinitializes the slots of objects, the statics and the waiter records in place, so that each run uses the same
//! addresses. Outside of a run, the atomics are the machine's.
//!
//! - [`atomic`]: the atomics.
//! - [`engine`]: the interface of the two checkers. loom explores all interleavings and all values that a load may
//!   return; shuttle explores random interleavings under sequential consistency.
//! - [`futex`]: the futex and the clock.
//! - [`thread`]: the per-thread block and the waiter record of each thread.
//! - [`free`]: the free of an object beside threads that wait for it.
//! - [`fork`]: an internal mutex that fork handlers hold.
//! - [`pins`]: what pins of slots protect.
//! - [`cell`]: data that two threads must never access at the same time.

pub(crate) mod atomic;
pub mod cell;
mod engine;
pub mod fork;
mod free;
pub(crate) mod futex;
mod pins;
pub(crate) mod thread;

pub use engine::{Model, yield_now};
pub(crate) use engine::{always_broadcasts, always_spins};
pub use free::free_beside_waiters;
pub use futex::{advance, expire_all_timeouts, interrupt};
pub use pins::pin_keeps_generation;
pub use thread::{JoinHandle, spawn};

/// Called before each run of a model, on its first thread, before there are others.
fn reset() {
    futex::reset();
    thread::reset();
    crate::handle::arena::reset();
    crate::thread::registry::reset();
    crate::local::tables::reset();
    fork::reset();
    crate::lock::fairness::reset();
    crate::sync::broadcast_word::reset();
    crate::sync::waker_cpu::reset();
}
