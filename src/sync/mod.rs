//! The library's own synchronization, below all objects.
//!
//! - [`fork_epoch`] counts the forks that led to this process;
//! - [`stack_list`] lists the calls that a thread is in, and [`fork_list`] the functions that a child of fork calls for
//!   them;
//! - [`mutex`] protects the library's own data, and remains usable in a child of fork; [`fork_lock`] is what is locked
//!   across a fork;
//! - [`spin_wait`] is a short spin before a thread parks, and [`adaptive_spin`] decides whether waiters of an object
//!   spin; [`batching`] decides whether a spinning waiter lets more accumulate before it takes something;
//! - [`padded`] keeps data that threads write often apart from other data;
//! - [`biased_mutex`] is locked by one thread without a locked instruction, as long as no other thread needs it;
//! - [`list`] is an intrusive list, and [`record_pool`] a pool of records that are never freed;
//! - [`waiter`] is the record on which a thread waits, [`waiter_pool`] says which one that is, [`park`] how it waits;
//!   [`wait_queue`] is a FIFO queue of such records, [`wake_queue`] the wake-ups that a thread still has to make, and
//!   [`wait_note`] says in the record what the thread waits for; on a [`broadcast_word`], threads park together;
//! - [`waker_cpu`] is the CPU of the thread that last woke a waiter without such a record;
//! - [`wait_observer`] lets statistics observe waits;
//! - [`hang_watch`] lets waiting threads check whether they hang;
//! - [`waiter_epoch`] detects that a waiter count was left by the parent of this process, and [`own_waiter`] knows
//!   whether it includes the calling thread;
//! - [`atexit`] registers the atexit handler;
//! - [`lock_annotations`] describes lock operations to ThreadSanitizer.

pub(crate) mod adaptive_spin;
pub(crate) mod atexit;
pub(crate) mod batching;
pub(crate) mod biased_mutex;
pub(crate) mod broadcast_word;
pub(crate) mod fork_epoch;
pub(crate) mod fork_list;
pub(crate) mod fork_lock;
pub(crate) mod hang_watch;
pub(crate) mod list;
pub(crate) mod lock_annotations;
pub(crate) mod mutex;
pub(crate) mod own_waiter;
pub(crate) mod padded;
pub(crate) mod park;
pub(crate) mod record_pool;
pub(crate) mod spin_wait;
pub(crate) mod stack_list;
pub(crate) mod wait_note;
pub(crate) mod wait_observer;
pub(crate) mod wait_queue;
pub(crate) mod waiter;
pub(crate) mod waiter_epoch;
pub(crate) mod waiter_pool;
pub(crate) mod wake_queue;
pub(crate) mod waker_cpu;
