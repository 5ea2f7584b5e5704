//! The locks.
//!
//! - [`raw`] is what is inside of a Lock and an RLock. Its parts are the state [`word`], the wait [`queue`], its
//!   eventual [`fairness`], and [`acquire`], how a thread waits; [`requeue`] is for the waiters of conditions;
//!   [`contention`] is what a thread remembers of contended locks, and [`cpu_turns`] how contending threads share a CPU;
//! - [`lockable`] is what else they have in common: the `Object` implementation, and annotations for race detectors;
//! - [`lock`] is the Lock, [`rlock`] the RLock, and [`recursion`] an owner's recursion counts;
//! - [`condition`] is the condition, over an [`associated_lock`]: a Lock or an RLock.

mod acquire;
mod associated_lock;
pub(crate) mod condition;
mod contention;
mod cpu_turns;
pub(crate) mod fairness;
#[expect(clippy::module_inception, reason = "the folder is about all locks, and this file about Lock")]
pub(crate) mod lock;
pub(crate) mod lockable;
mod queue;
pub(crate) mod raw;
pub(crate) mod recursion;
mod requeue;
pub(crate) mod rlock;
pub(crate) mod word;
