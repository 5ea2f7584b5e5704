//! The slot of a timer, and its states. Starts are in `timer::start`, cancellation in `Handle<Timer>`, the end of a
//! timer in `timer::finishing`, and the threads that wait for deadlines and run functions in `timer::worker`.
//!
//! # State (`state`, changed with release, under the registry mutex but in one case; exact under that mutex)
//!
//! | from | to | changed by |
//! |---|---|---|
//! | `NOT_STARTED` | `PENDING` | start |
//! | `NOT_STARTED` | `CANCELLED` | cancel; or start, if an earlier timer of the same thread was cancelled |
//! | `PENDING` | `CANCELLED` | cancel; or, in a child of fork, the first cancel or free of the parent's timer or of its thread, without the mutex |
//! | `PENDING` | `FIRED` | the leader, when the deadline has passed |
//! | `CANCELLED`, `FIRED` | the same with `FINISHED` | the thread that finishes the timer, as its last access to the timer and its thread under the mutex; in a child of fork, `discard_after_fork`, without the mutex |
//!
//! `FINISHED` is the drop of the timer's reference to itself: see below.
//!
//! `thread` and `interval` do not change while the timer lives. They are read with acquire, because a stale handle
//! may lead to a slot that is being reused (`Handle::read`). `heap_index` belongs to the heap, under the registry
//! mutex, and `join_target` to `thread::join`.
//!
//! # References
//!
//! A timer always holds a reference to its thread. From its start until it has finished, it also holds a reference to
//! itself. The thread that finishes the timer drops it: the thread that cancels the timer or starts a cancelled one,
//! or the worker, after the function has returned. So a timer that is found `PENDING` under the registry mutex lives at
//! least until that mutex is released, or the thread itself finishes it.
//!
//! That reference is dropped by `FINISHED`, and stays in the header's count until the timer is destroyed. So a cancel
//! followed by a free, the most frequent end of a timer, changes the count once. (`Handle::destroy_if_only_self_ref`.)

use crate::sys::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

use crate::error::Result;
use crate::handle::header::{Header, LIVE};
use crate::handle::{Handle, Object, ObjectKind};
use crate::sys::annotate::happens_before;
use crate::sys::offsets::offsets;
use crate::thread::object::{DONE, TIMER_FREED, Thread};

pub(crate) const NOT_STARTED: u32 = 0;
pub(crate) const PENDING: u32 = 1;
pub(crate) const FIRED: u32 = 2;
pub(crate) const CANCELLED: u32 = 3;
/// Set together with `FIRED` or `CANCELLED`.
const FINISHED: u32 = 4;

/// The `heap_index` of a timer that is not in the heap.
pub(crate) const NOT_IN_HEAP: u32 = u32::MAX;

/// A thread that runs a closure after a delay, unless it is cancelled first. Python: `threading.Timer`.
///
/// Its [`thread`](Handle::<Timer>::thread) can be named, joined and enumerated, but uses an OS thread only while the
/// closure runs: all pending timers wait in one OS thread. The exit of the process waits for pending timers whose
/// thread is not a daemon. Releasing the handle of a pending timer does not cancel it.
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
    /// The handle of its thread, to which it holds a reference.
    thread: AtomicUsize,
    /// The interval in seconds, as the bits of an `f64`.
    interval: AtomicU64,
    /// Where the heap finds the timer's entry (`timer::heap`), or `NOT_IN_HEAP`.
    pub(crate) heap_index: AtomicU32,
    state: AtomicU32,
    /// The identifier of the thread for which the timer's function waits without a timeout: `thread::join`.
    pub(crate) join_target: AtomicU64,
}

const _: () = assert!(size_of::<Timer>() == 64);

offsets!(TimerOffsets of Timer: thread, heap_index, state);

// SAFETY: all-zero is a timer that was not started and has no thread; all fields can be shared; the header comes
// first.
unsafe impl Object for Timer {
    const KIND: ObjectKind = ObjectKind::Timer;
    /// No call blocks on a timer itself.
    const IS_PINNED: bool = false;
    const KEEPS_SELF_REF: bool = true;

    fn header(&self) -> &Header {
        &self.header
    }

    fn has_dropped_self_ref(&self) -> bool {
        self.state.load(Ordering::Acquire) & FINISHED != 0
    }

    fn unref_after_fork(handle: Handle<Self>) {
        if let Ok(kept) = handle.internal_ref() {
            if let Some(timer) = kept.live_object() {
                // Called through the trait, because this file must not depend on `thread::kind`, which depends on it.
                <Thread as Object>::unref_after_fork(timer.thread());
            }
            kept.internal_unref();
        }
    }

    #[inline(always)]
    fn dispose(&self) {
        // SAFETY: the timer holds a reference to its thread until the end of this function.
        let (thread, tag) = unsafe { self.thread().slot_unchecked() };
        // A pending timer holds a reference to itself, so this timer was not started or has finished. If it was not
        // started, the program may still hold a reference to the thread and start it: see `timer::start`.
        if thread.state() != DONE {
            thread.set_freed_timer_interval(self.interval());
            thread.set_flag(TIMER_FREED);
        }
        Handle::internal_unref_of(thread, tag);
    }
}

impl Timer {
    /// Creates a timer that has not been started, for `thread`, and takes over one internal reference to that thread.
    /// The caller owns one reference to the timer.
    ///
    /// # Safety
    /// The caller owns that reference.
    #[inline(always)]
    pub(crate) unsafe fn create(thread: Handle<Thread>, interval: f64) -> Result<Handle<Timer>> {
        // SAFETY: guaranteed by the caller.
        let (object, _) = unsafe { thread.slot_unchecked() };
        let timer = Handle::create(0, |timer: &Timer, _| {
            timer.thread.store(thread.bits(), Ordering::Release);
            timer.interval.store(interval.to_bits(), Ordering::Release);
            timer.state.store(NOT_STARTED, Ordering::Release);
            timer.heap_index.store(NOT_IN_HEAP, Ordering::Relaxed);
            timer.join_target.store(0, Ordering::Relaxed);
        })?;
        object.set_timer_bits(timer.bits());
        Ok(timer)
    }

    pub(crate) fn thread(&self) -> Handle<Thread> {
        Handle::from_bits(self.thread.load(Ordering::Acquire))
    }

    /// Returns the slot of its thread.
    ///
    /// # Safety
    /// The timer is alive.
    pub(crate) unsafe fn thread_unchecked(&self) -> &'static Thread {
        // SAFETY: a timer that is alive holds a reference to its thread.
        unsafe { self.thread().slot_unchecked() }.0
    }

    pub(crate) fn interval(&self) -> f64 {
        f64::from_bits(self.interval.load(Ordering::Acquire))
    }

    pub(crate) fn state(&self) -> u32 {
        self.state.load(Ordering::Acquire) & !FINISHED
    }

    /// Drops the timer's reference to itself. The caller then unlocks the registry mutex, and calls
    /// `Handle::destroy_if_only_self_ref`. Between the two, another thread may destroy the timer and its thread.
    #[inline(always)]
    pub(super) fn set_finished(&self) {
        happens_before(self.header.refs());
        self.set_state(self.state.load(Ordering::Relaxed) | FINISHED);
    }

    /// Returns the tag of the timer.
    ///
    /// The caller holds a reference, or the timer has not finished.
    pub(super) fn tag(&self) -> u64 {
        self.header.generation() | LIVE
    }

    pub(super) fn set_state(&self, state: u32) {
        self.state.store(state, Ordering::Release);
    }

    /// Called by the leader, which has removed the timer from the heap and calls its function next.
    pub(crate) fn set_fired(&self) {
        self.set_state(FIRED);
    }
}

/// In a child of fork: cancels the timer of `thread`, which was started in the parent, and releases its reference to
/// itself. No thread of the child runs or finishes it.
pub(crate) fn discard_after_fork(thread: &'static Thread) {
    let timer = Handle::<Timer>::from_bits(thread.timer_bits());
    if let Ok((object, tag)) = timer.check() {
        if object.state() == PENDING {
            object.set_state(CANCELLED);
        }
        object.set_finished();
        fence(Ordering::SeqCst);
        Handle::destroy_if_only_self_ref(object, tag);
    }
}

/// In a child of fork: destroys the timer of `thread` if it has finished and has no other references. Without this, no
/// thread would do so if the parent's thread that finished the timer had not destroyed it yet at the fork, or had only
/// begun to.
pub(crate) fn destroy_finished_after_fork(thread: &'static Thread) {
    // A new reference also resolves `DYING`, and its release destroys the timer.
    if let Ok(timer) = Handle::<Timer>::from_bits(thread.timer_bits()).internal_ref() {
        timer.internal_unref();
    }
}
