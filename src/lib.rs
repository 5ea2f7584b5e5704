//! Python's `threading` module: threads, timers, locks, conditions, semaphores, events, barriers and thread-local
//! values, with Python's names and semantics.
//!
//! This crate is the implementation of libthreading, a shared library for C, and its API for Rust. Rust and C code in
//! one process share the threads, the locks and the process exit. Python's semantics apply throughout: daemon threads,
//! timers that can be cancelled and joined, a process exit that waits for threads, an excepthook. Misuse, such as the
//! release of an [`RLock`] by the wrong thread, returns an [`Error`] and has no other effect.
//!
//! ```
//! use threading::{Event, Lock, Result, Thread, Timeout, Timer};
//!
//! fn main() -> Result {
//!     let ready = Event::new()?;
//!     let lock = Lock::new()?;
//!     let worker = {
//!         let (ready, lock) = (ready.clone(), lock.clone());
//!         Thread::new(move || {
//!             if ready.wait(Timeout::FOREVER) == Ok(true) {
//!                 let _guard = lock.lock();
//!                 println!("ready");
//!             }
//!         })?
//!     };
//!     worker.set_name(c"worker")?;
//!     worker.start()?;
//!     let alarm = Timer::new(0.1, move || ready.set().unwrap())?;
//!     alarm.start()?;
//!     assert!(worker.join(Timeout::new(5.0)?)?);
//!     Ok(())
//! }
//! ```
//!
//! # Python's names
//!
//! | Python | Rust |
//! |---|---|
//! | `Thread(target=f)` | [`Thread::new`] |
//! | `thread.start()`, `join()` | [`start`](Handle::<Thread>::start), [`join`](Handle::<Thread>::join) |
//! | `Timer(seconds, f)`, `cancel` | [`Timer::new`], [`cancel`](Handle::<Timer>::cancel) |
//! | `Lock()`, `RLock()` | [`Lock::new`], [`RLock::new`] |
//! | `with lock:` | `let _guard = lock.lock()?`: a [`LockGuard`] |
//! | `lock.acquire()` | [`acquire`](Handle::<Lock>::acquire) |
//! | `lock.acquire(blocking=False)` | [`try_acquire`](Handle::<Lock>::try_acquire) |
//! | `lock.acquire(timeout=seconds)` | [`acquire_timeout`](Handle::<Lock>::acquire_timeout) |
//! | `Condition()` | [`Condition::new`] |
//! | `Condition(lock)` | [`Condition::new_with_lock`], [`Condition::new_with_rlock`] |
//! | `condition.wait_for(predicate)` | [`wait_for`](Handle::<Condition>::wait_for) |
//! | `condition.notify(n)`, `notify_all()` | [`notify(n)`](Handle::<Condition>::notify), `notify(usize::MAX)` |
//! | `Semaphore(n)`, `BoundedSemaphore(n)` | [`Semaphore::new`], [`Semaphore::new_bounded`] |
//! | `Event()` | [`Event::new`] |
//! | `Barrier(n)`, `Barrier(n, action)` | [`Barrier::new`], [`ActionBarrier::new`] |
//! | `local()` | [`ThreadLocal`] |
//! | `current_thread()`, `main_thread()` | [`current`], [`main_thread`] |
//! | `enumerate()`, `active_count()` | [`enumerate`], [`active_count`] |
//! | `excepthook` | [`set_excepthook`], [`report_exception`] |
//! | `time.sleep(s)` | [`sleep`] |
//! | `stack_size(n)` | [`set_stack_size`], [`stack_size`] |
//! | `faulthandler.dump_traceback(file)` | [`dump`] |
//! | `faulthandler.register(signum, file)` | [`dump_on_signal`] |
//! | a timeout in seconds; `None` | [`Timeout::new`]; [`Timeout::FOREVER`] |
//!
//! # Handles
//!
//! A constructor returns an [`OwnedHandle`], which owns a reference to the object, like an [`Arc`](std::sync::Arc): a
//! clone owns one more, and a drop releases it. It dereferences to [`Handle`], which has the methods of the object. A
//! plain handle can be copied and owns nothing; each call checks it, and returns [`Error::Handle`] if the object has
//! been freed. Functions such as [`current`] and [`main_thread`] return a plain handle, and the library keeps the
//! reference; [`try_clone_to_owned`](Handle::try_clone_to_owned) returns an owned one.
//!
//! # Errors
//!
//! Each call that can fail returns a [`Result`]. An outcome that the caller has to expect is a value: `Ok(false)`
//! after a timeout, `Ok(None)` from [`try_lock`](Handle::<Lock>::try_lock). An [`Error`] reports misuse, a broken
//! barrier, a closure that failed, or a lack of memory or threads. There is no poisoning: a panic releases the guards
//! that it unwinds past.
//!
//! ```
//! use threading::{Error, RLock};
//!
//! let rlock = RLock::new()?;
//! assert_eq!(rlock.release(), Err(Error::NotOwner));
//! assert_eq!(Error::NotOwner.to_string(), "lock not held by the calling thread");
//! # Ok::<(), Error>(())
//! ```
//!
//! # Closures
//!
//! Threads, timers, barriers, thread-locals, exit callbacks, the excepthook and the hang hook take closures. A panic in
//! a closure is reported to the excepthook as a failure of the thread that ran it; the default hook prints it to
//! stderr. The closure of a thread or a timer is dropped when it has run, or when it can no longer run; that of a
//! barrier or a thread-local, with the object. A hook is never dropped, because threads may still be running it after
//! it has been replaced. The functions that take a C function and a pointer, such as [`Handle::<Thread>::new`], are
//! `unsafe`.
//!
//! # When it hangs
//!
//! [`dump`] writes what each thread waits for and what it owns, and shows deadlocks first; a signal can ask for the
//! same ([`dump_on_signal`]). [`set_hang_hook`] sets a closure that is called for a deadlock, and for a process exit
//! that waits for threads. [`set_name`](Handle::<Lock>::set_name) gives an object a name for these texts, and
//! [`owner`](Handle::<Lock>::owner) returns which thread has acquired a lock. [`set_contention`] adds the locks for
//! which threads have waited longest, and [`trace`] writes all waits of a program that is slow, as a picture of which
//! thread has waited for which.
//!
//! # Process exit and foreign threads
//!
//! When `main` returns or the process calls `exit`, the closures registered with [`atexit`] run, the last one first.
//! Then the process waits for all threads that are not daemons, including pending timers.
//! [`set_daemon`](Handle::<Thread>::set_daemon) makes a thread a daemon; a new thread is a daemon if its creator is
//! one. [`shutdown`] does the same before exit, with a timeout. A foreign thread, which another library or
//! [`std::thread`] started, can call every function: its [`current`] thread is a dummy thread, which is a daemon and
//! cannot be joined.

mod barrier;
mod callbacks;
pub mod capi;
mod dump;
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
    ActionBarrier, LockGuard, OwnedHandle, ThreadLocal, active_count, atexit, enumerate, main_thread,
    report_exception, reset_excepthook, set_excepthook, shutdown,
};
#[cfg(not(model))]
pub use rust_api::{Hang, dump, dump_on_signal, report_hangs, set_contention, set_hang_hook, trace};
pub use semaphore::{SEMAPHORE_MAX, Semaphore};
pub use thread::object::Thread;
pub use thread::{current, set_stack_size, sleep, stack_size};
pub use time::{FOREVER, TIMEOUT_MAX, Timeout};
pub use timer::object::Timer;

/// The doctests also run the Rust programs in the documents.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../packaging/crate/README.md")]
    struct CrateReadme;
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../docs/languages.md")]
    struct Languages;
}
