//! Timer: Python's `threading.Timer`. A thread whose function runs after a delay, unless it is cancelled
//! before.
//!
//! A timer *is* a thread, but costs no system thread while it waits. This file has the calls on a timer. From below:
//!
//! - `object`: the slot of a timer, with its states; `heap`: the pending timers; `queue`: these, and what the threads
//!   that run their functions know of each other, all of it part of the registry;
//! - `ending`: the end of a timer; `worker`: the threads that run functions; `start`.

pub(crate) mod finishing;
pub(crate) mod heap;
pub(crate) mod object;
pub(crate) mod queue;
pub(crate) mod start;
pub(crate) mod worker;

use core::ffi::c_void;

use crate::callbacks::Target;
use crate::error::Result;
use crate::handle::{Handle, Object};
use crate::sys::annotate::happens_after;
use crate::thread::object::{TIMER, TIMER_CANCELLED, Thread};
use crate::thread::start::{inherited_daemon, init_runtime_for_start};
use crate::thread::{ident, registry};
use crate::time;
use crate::timer::object::{CANCELLED, NOT_STARTED, PENDING, Timer};

impl Handle<Timer> {
    /// A timer that will call `function(arg)` so many seconds after its start. The safe way is
    /// [`Timer::new`].
    ///
    /// # Safety
    /// `arg` is what `function` takes, in another thread, whenever the timer is due.
    pub unsafe fn new(interval: f64, function: Option<Target>, arg: *mut c_void) -> Result<Self> {
        time::interval(interval)?;
        let thread = Thread::create_with_internal_ref(TIMER | inherited_daemon(), function, arg)?;
        // The timer keeps it; if there is none, nobody does, and the argument stays the caller's.
        Timer::create(thread, interval).inspect_err(|_| thread.internal_unref())
    }

    /// The thread that it is, kept by the timer.
    pub fn thread(self) -> Result<Handle<Thread>> {
        self.read(Timer::thread)
    }

    /// Starts it, once.
    pub fn start(self) -> Result<()> {
        self.check()?;
        init_runtime_for_start()?;
        start::start(self)
    }

    /// Sees to it that the function will never run. False if it has begun.
    pub fn cancel(self) -> Result<bool> {
        if ident::is_child() {
            Timer::unref_after_fork(self);
        }
        let mut registry = registry::lock();
        let (timer, state) = self.read(|timer| (timer, timer.state()))?;
        match state {
            PENDING => {
                timer.set_state(CANCELLED);
                registry.timers.unschedule(timer);
                // SAFETY: it has been found pending, and keeps itself until `finish`, below.
                let thread = unsafe { timer.thread_unchecked() };
                happens_after(thread);
                if thread.has_pending_arg_destructor() {
                    drop(registry);
                    finishing::destroy_arg_and_finish(thread, timer);
                } else {
                    let deferred = registry.finish_timer(thread);
                    drop(registry);
                    deferred.wake();
                    self.internal_unref();
                }
                Ok(true)
            }
            NOT_STARTED => {
                // Whoever frees it meanwhile, it stays until this is done.
                self.internal_ref()?;
                // SAFETY: kept.
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

    /// The interval in seconds, as it was given.
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
        // SAFETY: the tests give a counter.
        unsafe { &*arg.cast::<AtomicU32>() }.fetch_add(1, Ordering::SeqCst);
        arg
    }

    #[test]
    fn a_timer_fires_once_or_never() {
        let fired = AtomicU32::new(0);
        let arg = (&raw const fired).cast_mut().cast();
        // SAFETY: the counter lives until both are over.
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
}
