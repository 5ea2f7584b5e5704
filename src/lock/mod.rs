//! The locks.
//!
//! - [`raw`] is what is inside of a Lock and an RLock: the state word, the wait queue and the hand-off;
//! - [`lockable`] is what else they have in common: the `Object` implementation, and annotations for race detectors;
//! - [`lock`] is the Lock, [`rlock`] the RLock, and [`recursion`] an owner's recursion counts;
//! - [`cpu_turns`] are the turns of threads that contend for locks on one CPU;
//! - [`condition`] is the condition over a Lock or an RLock.

pub(crate) mod condition;
mod cpu_turns;
#[expect(clippy::module_inception, reason = "the folder is about all locks, and this file about Lock")]
pub(crate) mod lock;
pub(crate) mod lockable;
pub(crate) mod raw;
pub(crate) mod recursion;
pub(crate) mod rlock;
