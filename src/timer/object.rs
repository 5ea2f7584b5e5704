//! The slot of a timer, and its way from start to end. Starts are in `timer::start`, cancels in `Handle<Timer>`, the
//! end of either kind in `timer::finishing`, and the threads that wait for the moments and run the functions in
//! `timer::worker`.
//!
//! # State (`state`, under the registry's guard)
//!
//! | from | to | by |
//! |---|---|---|
//! | `NOT_STARTED` | `PENDING` | start |
//! | `NOT_STARTED`, `PENDING` | `CANCELLED` | cancel; a pending one also by a fork, in the child |
//! | `NOT_STARTED` | `CANCELLED` | start, when a former timer of the thread was cancelled |
//! | `PENDING` | `FIRED` | the leader, when it is due |
//!
//! From its start until it is over, a timer keeps itself; and a timer keeps its thread, always. Whoever ends
//! it, by cancel or after its function, has that reference to give back. So a timer that is found `PENDING`
//! under the guard lives as long as the guard is held, and the usual ways need no other hold on it.

use crate::sys::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::error::Result;
use crate::handle::header::Header;
use crate::handle::{Handle, Object};
use crate::thread::object::{DONE, TIMER_FREED, Thread};

pub(crate) const NOT_STARTED: u32 = 0;
pub(crate) const PENDING: u32 = 1;
pub(crate) const FIRED: u32 = 2;
pub(crate) const CANCELLED: u32 = 3;

/// The heap_index of a timer that is not in the heap.
pub(crate) const NOT_IN_HEAP: u32 = u32::MAX;

/// A thread that runs a closure after a delay, unless it is cancelled before. Python: `threading.Timer`.
///
/// Its [`thread`](Handle::<Timer>::thread) can be named, joined and enumerated, but exists in the system only while
/// the closure runs: pending timers all wait in one system thread. The end of the process waits for a pending timer,
/// unless its thread is a daemon. Releasing the handle of a pending timer does not cancel it.
///
/// ```
/// use threading::{Timeout, Timer};
///
/// let timeout = Timer::new(60.0, || println!("no answer"))?;
/// timeout.start()?;
/// assert_eq!(timeout.cancel(), Ok(true));
/// assert!(timeout.thread()?.join(Timeout::FOREVER)?);
/// # Ok::<(), threading::Error>(())
/// ```
#[repr(C, align(64))]
pub struct Timer {
    header: Header,
    /// The handle of its thread, which it keeps.
    thread: AtomicUsize,
    /// The interval in seconds, as bits.
    interval: AtomicU64,
    /// Where it lies in the heap.
    pub(crate) heap_index: AtomicU32,
    state: AtomicU32,
}

// SAFETY: zero is an unstarted timer without a thread; all of it is shareable; it begins with its header.
unsafe impl Object for Timer {
    const INDEX: usize = 1;

    fn header(&self) -> &Header {
        &self.header
    }

    fn unref_after_fork(handle: Handle<Self>) {
        if let Ok(kept) = handle.internal_ref() {
            if let Ok((timer, _)) = kept.check() {
                // By the trait, since a thread in turn settles its timer: `thread::kind`.
                <Thread as Object>::unref_after_fork(timer.thread());
            }
            kept.internal_unref();
        }
    }

    fn dispose(&self) {
        if let Ok((thread, _)) = self.thread().check() {
            // A pending timer keeps itself: this one was not started, or is over. If it was not started,
            // somebody may keep the thread, and start it yet.
            if thread.state() != DONE {
                thread.set_freed_timer_interval(self.interval());
                thread.set_flag(TIMER_FREED);
            }
            thread.handle().internal_unref();
        }
    }
}

impl Timer {
    /// An unstarted timer of a thread, from which it takes over a reference of the library's. The caller owns
    /// a reference to the timer.
    pub(crate) fn create(thread: Handle<Thread>, interval: f64) -> Result<Handle<Timer>> {
        let (object, _) = thread.check()?;
        let timer = Handle::create(0, |timer: &Timer, _| {
            timer.thread.store(thread.bits(), Ordering::Release);
            timer.interval.store(interval.to_bits(), Ordering::Release);
            timer.state.store(NOT_STARTED, Ordering::Release);
            timer.heap_index.store(NOT_IN_HEAP, Ordering::Relaxed);
        })?;
        object.set_timer_bits(timer.bits());
        Ok(timer)
    }

    pub(crate) fn thread(&self) -> Handle<Thread> {
        Handle::from_bits(self.thread.load(Ordering::Acquire))
    }

    /// The slot of its thread.
    ///
    /// # Safety
    /// The timer lives.
    pub(crate) unsafe fn thread_unchecked(&self) -> &'static Thread {
        // SAFETY: a timer that lives has a thread, and keeps it.
        unsafe { self.thread().slot_unchecked() }.0
    }

    pub(crate) fn interval(&self) -> f64 {
        f64::from_bits(self.interval.load(Ordering::Acquire))
    }

    pub(crate) fn state(&self) -> u32 {
        self.state.load(Ordering::Acquire)
    }

    pub(super) fn set_state(&self, state: u32) {
        self.state.store(state, Ordering::Release);
    }

    /// The leader has taken it out of the heap: its function begins.
    pub(crate) fn set_fired(&self) {
        self.set_state(FIRED);
    }
}

/// In a child of fork: the timer of this thread was started in the parent, and nobody will run it, or finish
/// it, here.
pub(crate) fn discard_after_fork(thread: &'static Thread) {
    let timer = Handle::<Timer>::from_bits(thread.timer_bits());
    if let Ok((object, _)) = timer.check() {
        if object.state() == PENDING {
            object.set_state(CANCELLED);
        }
        timer.internal_unref();
    }
}
