//! Timer: Python's `threading.Timer`. A thread whose function runs after a delay, unless the timer is cancelled
//! first.
//!
//! A timer *is* a thread, but uses no OS thread while it is pending. This file contains the calls on a timer. The
//! modules below it, from the bottom up:
//!
//! - `object`: the slot of a timer and its states;
//! - `heap`: the pending timers, ordered by deadline;
//! - `queue`: the heap and the state that the worker threads share, a part of the registry;
//! - `finishing`: what happens when a timer has fired or was cancelled;
//! - `callback`: the call of a timer's function;
//! - `worker`: the OS threads that run the functions of timers;
//! - `start`: the start of a timer;
//! - `pending`: the pending timers, as reports show them.
//!
//! # What a start and a cancel cost
//!
//! Most timers are timeouts that are cancelled. More than a third of the time of such a timer is spent in locked
//! instructions, and another quarter in reading the clock. The rest is about 750 instructions, most of them inlined in
//! the four functions of the C API. If no other thread uses the timer:
//!
//! | call | locked instructions | for |
//! |---|---|---|
//! | creation | 0 | the slots of the timer and of its thread are usually in the calling thread's cache of slots |
//! | start | 3 | the timer's reference to itself, at which a stale handle fails; the registry mutex |
//! | cancel | 2 | the registry mutex, under which a bit of the state drops that reference |
//! | free | 2 | the last reference to the timer, and the last one to its thread |
//!
//! *A heap, not a timing wheel.* Timers that are cancelled soon after their start never leave the nursery of the heap,
//! whose operations take constant time as those of a wheel do. The cancel of any other timer accesses one entry of the
//! heap that is not in the cache, and one other timer; it would access as much in a wheel. And the buckets of a wheel
//! would have to be sorted, because functions are called in the order of their deadlines.
//!
//! *One mutex, not one per thread.* Enumeration in the order of the starts, the number of threads, exit, and fork need
//! all pending timers: they would lock the mutexes of all threads, and each start would increment a common number. With
//! one mutex, several threads that start and cancel timers together are about as fast as one, because each of them uses
//! the mutex several times before the next one gets it: see `SpinWait::for_busy_mutex`.

mod callback;
pub(crate) mod finishing;
pub(crate) mod heap;
pub(crate) mod object;
pub(crate) mod pending;
pub(crate) mod queue;
pub(crate) mod start;
pub(crate) mod worker;

use core::ffi::c_void;

use crate::callbacks::Target;
use crate::error::Result;
use crate::handle::{Handle, Object};
use crate::sys::annotate::happens_after;
use crate::thread::object::{DONE, TIMER, TIMER_CANCELLED, Thread};
use crate::thread::start::{inherited_daemon, init_runtime_for_start};
use crate::thread::{ident, registry};
use crate::time;
use crate::timer::object::{CANCELLED, NOT_STARTED, PENDING, Timer};

impl Handle<Timer> {
    /// Creates a timer that calls `function(arg)` `interval` seconds after its start. [`Timer::new`] is the safe
    /// constructor.
    ///
    /// # Safety
    /// `function` may be called with `arg` on another thread, at any time after the start.
    pub unsafe fn new(interval: f64, function: Option<Target>, arg: *mut c_void) -> Result<Self> {
        time::interval(interval)?;
        let thread = Thread::create_with_internal_ref(TIMER | inherited_daemon(), function, arg)?;
        // The timer takes over the reference to the thread. If no timer can be created, the thread is destroyed, and
        // the argument still belongs to the caller.
        // SAFETY: `thread` is a new reference.
        unsafe { Timer::create(thread, interval) }.inspect_err(|_| thread.internal_unref())
    }

    /// Returns the timer's thread. The timer holds a reference to it.
    pub fn thread(self) -> Result<Handle<Thread>> {
        self.read(Timer::thread)
    }

    /// Starts the timer. A timer can be started once.
    pub fn start(self) -> Result<()> {
        let (timer, tag) = self.slot()?;
        Self::internal_ref_of(timer, tag)?;
        let started = init_runtime_for_start().and_then(|()| timer.start(true));
        started.inspect_err(|_| self.internal_unref())
    }

    /// Cancels the timer: its function will never be called. Returns false if the function has already begun.
    pub fn cancel(self) -> Result<bool> {
        if ident::is_child() {
            Timer::unref_after_fork(self);
        }
        let mut registry = registry::lock();
        let (timer, state) = self.read(|timer| (timer, timer.state()))?;
        match state {
            PENDING => {
                // SAFETY: the timer was found pending, and holds a reference to itself until `set_finished`, below, or
                // in `finishing::finish`.
                let thread = unsafe { timer.thread_unchecked() };
                Handle::prefetch(thread);
                if ident::is_child() && thread.state() == DONE {
                    // Another thread is discarding this timer, which was started in the parent.
                    return Ok(true);
                }
                thread.links.prefetch_neighbours();
                timer.set_state(CANCELLED);
                registry.timers.unschedule(timer);
                happens_after(thread);
                if thread.has_pending_arg_destructor() {
                    drop(registry);
                    finishing::destroy_arg_and_finish(thread, timer);
                } else {
                    finishing::finish_locked(registry, thread, timer);
                }
                Ok(true)
            }
            NOT_STARTED => {
                // Another thread may free the timer concurrently; it must stay alive until this function returns.
                self.internal_ref()?;
                // SAFETY: `internal_ref`, above, keeps the timer alive.
                let thread = unsafe { timer.thread_unchecked() };
                timer.set_state(CANCELLED);
                thread.set_flag(TIMER_CANCELLED);
                drop(registry);
                thread.destroy_arg();
                self.internal_unref();
                Ok(true)
            }
            state => Ok(state == CANCELLED),
        }
    }

    /// Returns the interval in seconds, as it was passed to the constructor.
    pub fn interval(self) -> Result<f64> {
        self.read(Timer::interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timeout;
    use std::sync::atomic::{AtomicU32, Ordering};

    unsafe extern "C-unwind" fn count(arg: *mut c_void) -> *mut c_void {
        // SAFETY: the tests pass a counter.
        unsafe { &*arg.cast::<AtomicU32>() }.fetch_add(1, Ordering::SeqCst);
        arg
    }

    #[test]
    fn a_timer_fires_once_or_never() {
        let fired = AtomicU32::new(0);
        let arg = (&raw const fired).cast_mut().cast();
        // SAFETY: the counter outlives both timers.
        let [soon, never] = [0.01, f64::INFINITY]
            .map(|after| unsafe { Handle::<Timer>::new(after, Some(count), arg) }.unwrap());
        soon.start().unwrap();
        never.start().unwrap();
        assert_eq!(soon.thread().unwrap().join(Timeout::FOREVER), Ok(true));
        assert_eq!(soon.thread().unwrap().result(), Ok(arg));
        assert_eq!(soon.cancel(), Ok(false));
        assert_eq!(never.thread().unwrap().is_alive(), Ok(true));
        assert_eq!(never.cancel(), Ok(true));
        assert_eq!(never.thread().unwrap().join(Timeout::FOREVER), Ok(true));
        assert_eq!(fired.load(Ordering::SeqCst), 1);
        soon.free().unwrap();
        never.free().unwrap();
    }

    #[cfg(all(target_os = "linux", not(model)))]
    fn is_alive_after_free(timer: Handle<Timer>, thread: Handle<Thread>) -> bool {
        thread.free().unwrap();
        let is_stale = |error| error == Some(crate::error::Error::Handle);
        !is_stale(timer.interval().err()) || !is_stale(thread.ident().err())
    }

    /// Checks that a child destroys a timer that has finished, if it is forked before the parent's thread that finished
    /// the timer has begun to destroy it, or when that thread `has_begun`.
    #[cfg(all(target_os = "linux", not(model)))]
    fn fork_before_finished_timer_is_destroyed(has_begun: bool) {
        // SAFETY: without a function, the argument is not used.
        let timer = unsafe { Handle::<Timer>::new(f64::INFINITY, None, core::ptr::null_mut()) }.unwrap();
        let thread = timer.thread().unwrap().add_ref().unwrap();
        timer.start().unwrap();
        timer.free().unwrap();
        let (timer_slot, tag) = timer.check().unwrap();
        let (thread_slot, _) = thread.check().unwrap();
        {
            let mut registry = registry::lock();
            let _ = registry.finish_timer(thread_slot);
            timer_slot.set_state(CANCELLED);
            timer_slot.set_finished();
        }
        if has_begun {
            assert!(Handle::claim_dropped_self_ref(timer_slot, tag));
        }
        // SAFETY: the child only frees the objects and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let is_alive = is_alive_after_free(timer, thread);
            // SAFETY: ends the child.
            unsafe { libc::_exit(is_alive.into()) };
        }
        let mut status = 0;
        // SAFETY: `status` is valid for writes.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0, "has_begun: {has_begun}");
        if has_begun {
            Handle::destroy_object_out_of_line(timer_slot, tag);
        } else {
            Handle::destroy_if_only_self_ref(timer_slot, tag);
        }
        assert!(!is_alive_after_free(timer, thread));
    }

    /// The worker, or the thread that cancels the timer, destroys it after it has unlocked the registry mutex and woken
    /// the joiners. One of them may have forked by then.
    #[cfg(all(target_os = "linux", not(model)))]
    #[test]
    fn a_child_destroys_a_timer_that_was_finished_but_not_destroyed_at_the_fork() {
        fork_before_finished_timer_is_destroyed(false);
        fork_before_finished_timer_is_destroyed(true);
    }
}
