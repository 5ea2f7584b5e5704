//! The slot of a timer, and its way from start to end. Who waits for its moment and runs its function is the
//! dispatcher.
//!
//! # State (`stage`, under the dispatcher's guard)
//!
//! | from | to | by |
//! |---|---|---|
//! | `UNSTARTED` | `PENDING` | start |
//! | `UNSTARTED`, `PENDING` | `DROPPED` | cancel; a fork, in the child |
//! | `PENDING` | `BEGUN` | the leader, when it is due |

use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::heap::NOWHERE;
use super::life::{ALIVE, CANCELLED, ORPHAN, STARTING, Thread};
use super::{dispatcher, registry};
use crate::error::Result;
use crate::handle::header::Header;
use crate::handle::{Handle, Kind};
use crate::time;

pub(crate) const UNSTARTED: u32 = 0;
pub(crate) const PENDING: u32 = 1;
pub(crate) const BEGUN: u32 = 2;
pub(crate) const DROPPED: u32 = 3;

/// What a timer has besides its thread: Python's `threading.Timer`.
#[repr(C, align(64))]
pub struct Timer {
    header: Header,
    /// The handle of its thread, which it keeps.
    thread: AtomicUsize,
    /// The interval in seconds, as bits.
    interval: AtomicU64,
    /// Where it lies in the heap.
    pub(super) place: AtomicU32,
    stage: AtomicU32,
}

// SAFETY: zero is an unstarted timer without a thread; all of it is shareable; it begins with its header.
unsafe impl Kind for Timer {
    const INDEX: usize = 1;

    fn header(&self) -> &Header {
        &self.header
    }

    fn let_go(&self) {
        if let Ok((thread, _)) = self.thread().check() {
            // A pending timer keeps itself: this one was not started, or is over. Somebody may keep the
            // thread, and start it yet.
            thread.set_extra(self.interval().to_bits() as usize);
            thread.mark(ORPHAN, true);
            thread.handle().let_go();
        }
    }
}

impl Timer {
    /// An unstarted timer, and its thread; the caller owns a reference to the timer, the timer one to the
    /// thread.
    pub(crate) fn create(thread: Handle<Thread>, interval: f64) -> Result<Handle<Timer>> {
        let timer = Handle::create(0, |timer: &Timer, _| {
            timer.thread.store(thread.bits(), Ordering::Release);
            timer.interval.store(interval.to_bits(), Ordering::Release);
            timer.stage.store(UNSTARTED, Ordering::Release);
            timer.place.store(NOWHERE, Ordering::Relaxed);
        })?;
        if let Ok((thread, _)) = thread.check() {
            thread.set_extra(timer.bits());
        }
        Ok(timer)
    }

    pub(crate) fn thread(&self) -> Handle<Thread> {
        Handle::from_bits(self.thread.load(Ordering::Acquire))
    }

    pub(crate) fn interval(&self) -> f64 {
        f64::from_bits(self.interval.load(Ordering::Acquire))
    }

    pub(crate) fn stage(&self) -> u32 {
        self.stage.load(Ordering::Acquire)
    }

    /// From this stage out of all; true if the caller did it.
    fn drop_out(&self, from: u32) -> bool {
        dispatcher::with_timers(|timers| {
            let out = self.stage() == from;
            if out {
                self.stage.store(DROPPED, Ordering::Release);
                timers.unschedule(self);
            }
            out
        })
    }

    /// Sees to it that the function will never run. False if it has begun.
    pub(crate) fn cancel(&'static self) -> bool {
        let Ok((thread, _)) = self.thread().check() else { return true };
        if self.drop_out(UNSTARTED) {
            thread.mark(CANCELLED, true);
            thread.destroy_arg();
        } else if self.drop_out(PENDING) {
            thread.mark(CANCELLED, true);
            thread.destroy_arg();
            finish(thread, self);
        }
        self.stage() == DROPPED
    }
}

/// Lets a timer's thread, in `STARTING` and keeping itself, wait for its moment.
pub(crate) fn start(thread: &'static Thread) -> Result<()> {
    // Until it is over, a timer keeps itself.
    let timer = keep_timer(thread)?;
    let (object, _) = timer.check()?;
    let started = object.become_pending(thread);
    if started == Ok(true) {
        return Ok(());
    }
    if started == Ok(false) {
        // Cancelled before: it ends as it starts.
        thread.go(STARTING, ALIVE);
        thread.destroy_arg();
        registry::remove(thread);
        thread.end();
        thread.handle().let_go();
    }
    timer.let_go();
    started.map(drop)
}

/// The timer of a thread, kept; made anew if only the thread has been kept.
fn keep_timer(thread: &'static Thread) -> Result<Handle<Timer>> {
    loop {
        if thread.is(ORPHAN) {
            let timer =
                Timer::create(thread.handle().keep()?, f64::from_bits(thread.extra() as u64))?.keep()?;
            thread.mark(ORPHAN, false);
            timer.free()?;
            return Ok(timer);
        }
        if let Ok(timer) = Handle::<Timer>::from_bits(thread.extra()).keep() {
            return Ok(timer);
        }
        // The timer is just going.
        core::hint::spin_loop();
    }
}

impl Timer {
    /// False if the timer was cancelled.
    fn become_pending(&'static self, thread: &'static Thread) -> Result<bool> {
        let leader_sleeps_too_long = dispatcher::with_timers(|timers| {
            if self.stage() != UNSTARTED || thread.is(CANCELLED) {
                return Ok(None);
            }
            // An infinite interval never comes: such a timer is pending, but nobody waits for its moment.
            let too_long = match time::interval(self.interval())? {
                Some(interval) => timers.schedule(interval.deadline(), self)?,
                None => false,
            };
            self.stage.store(PENDING, Ordering::Release);
            thread.go(STARTING, ALIVE);
            Ok(Some(too_long))
        })?;
        if leader_sleeps_too_long == Some(true) {
            dispatcher::wake_leader();
        }
        Ok(leader_sleeps_too_long.is_some())
    }

    /// The leader has taken it out of the heap: its function begins.
    pub(super) fn begin(&self) {
        self.stage.store(BEGUN, Ordering::Release);
    }
}

/// A timer is over, its function having run or not: its thread ends, and what it had of itself goes.
pub(super) fn finish(thread: &'static Thread, timer: &'static Timer) {
    registry::remove(thread);
    thread.end();
    thread.handle().let_go();
    Handle::of(timer).let_go();
}

/// In a child of fork: the timer of this thread was started in the parent, and nobody will run it, or finish
/// it, here.
pub(super) fn abandon(thread: &'static Thread) {
    let timer = Handle::<Timer>::from_bits(thread.extra());
    if let Ok((object, _)) = timer.check() {
        match object.stage() {
            PENDING => object.stage.store(DROPPED, Ordering::Release),
            BEGUN => {}
            _ => return,
        }
        timer.let_go();
    }
}
