//! The library's own synchronization, below all objects.
//!
//! - [`fork_epoch`] counts the forks that led to this process;
//! - [`mutex`] is the mutex around the library's own data, and survives a fork;
//! - [`spin_wait`] spins for what another thread is about to finish, and [`adaptive_spin`] decides whether a waiter spins
//!   before it parks;
//! - [`waiter`] is the record on which a thread waits, and [`wait_queue`] a queue of them;
//! - [`waiter_epoch`] tells whether a count of waiters is that of the parent of this process;
//! - [`atexit`] registers the handler of the process's exit;
//! - [`lock_annotations`] tells ThreadSanitizer of locks, also of those that another thread releases.

pub(crate) mod adaptive_spin;
pub(crate) mod atexit;
pub(crate) mod fork_epoch;
pub(crate) mod lock_annotations;
pub(crate) mod mutex;
pub(crate) mod spin_wait;
pub(crate) mod wait_queue;
pub(crate) mod waiter;
pub(crate) mod waiter_epoch;
