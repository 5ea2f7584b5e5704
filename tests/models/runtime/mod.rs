//! What stands below the library under a model checker: atomics whose accesses are steps, threads, a clock and a
//! place to sleep that belong to the model.
//!
//! Everything above is the code that ships. Its memory stays where it is: the slots of objects, the statics and
//! the records of waiters are laid anew before each run of a model (`reset`), so that each run finds the same
//! addresses. Outside of a run, atomics are the machine's.
//!
//! - [`atomic`] has the atomics;
//! - [`engine`] is what the two checkers have in common: loom, which tries all interleavings, and all values that
//!   a read may see; and shuttle, which tries random ones and knows one order of all accesses only;
//! - [`futex`] is where threads sleep, and the clock that ends their waits;
//! - [`thread`] is the block that the library keeps for each thread, and the record on which that sleeps;
//! - [`fork`] is a lock that is held for a fork;
//! - [`cell`] is data that must never be touched by two threads at once.

pub(crate) mod atomic;
pub mod cell;
mod engine;
pub mod fork;
pub(crate) mod futex;
pub(crate) mod thread;

pub(crate) use engine::always_spins;
pub use engine::{Model, yield_now};
pub use futex::{advance, expire_all_timeouts, interrupt};
pub use thread::{JoinHandle, spawn};

/// Before each run of a model, on its first thread, while there is no other.
fn reset() {
    futex::reset();
    thread::reset();
    crate::handle::arena::reset();
    crate::thread::registry::reset();
    crate::local::tables::reset();
    fork::reset();
    crate::lock::raw::reset();
}
