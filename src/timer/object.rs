//! The slot of a timer, and its way from start to end. Who waits for its moment and runs its function is the
//! dispatcher.
//!
//! # State (`stage`, under the registry's guard)
//!
//! | from | to | by |
//! |---|---|---|
//! | `UNSTARTED` | `PENDING` | start |
//! | `UNSTARTED`, `PENDING` | `DROPPED` | cancel; a pending one also by a fork, in the child |
//! | `UNSTARTED` | `DROPPED` | start, when a former timer of the thread was cancelled |
//! | `PENDING` | `BEGUN` | the leader, when it is due |
//!
//! From its start until it is over, a timer keeps itself; and a timer keeps its thread, always. Whoever ends
//! it, by cancel or after its function, has that reference to give back. So a timer that is found `PENDING`
//! under the guard lives as long as the guard is held, and the usual ways need no other hold on it.
//!
//! A timer that will not run ends when the destructor of its argument has returned. The thread that calls the
//! destructor, in a cancel or a start, keeps the timer in a list of its own ([`Ending`]): no other thread can end it.
//! So where the destructor leaves the process or shuts the library down, these timers are not waited for, and a join
//! of theirs there is a deadlock.

use crate::sys::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::error::{Error, Result};
use crate::handle::header::Header;
use crate::handle::{Handle, Kind};
use crate::sync::fork_epoch::epoch;
use crate::sync::spin_wait::Spin;
use crate::sys::annotate::happens_after;
use crate::sys::tls;
use crate::thread::object::{ALIVE, CANCELLED, ORPHAN, OVER, TIMER, Thread};
use crate::thread::{ident, registry};
use crate::time;
use crate::time::Deadline;
use crate::timer::heap::NOWHERE;
use crate::timer::worker;
use core::cell::Cell;

pub(crate) const UNSTARTED: u32 = 0;
pub(crate) const PENDING: u32 = 1;
pub(crate) const BEGUN: u32 = 2;
pub(crate) const DROPPED: u32 = 3;

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
    pub(crate) place: AtomicU32,
    stage: AtomicU32,
}

// SAFETY: zero is an unstarted timer without a thread; all of it is shareable; it begins with its header.
unsafe impl Kind for Timer {
    const INDEX: usize = 1;

    fn header(&self) -> &Header {
        &self.header
    }

    fn settle(handle: Handle<Self>) {
        if let Ok(kept) = handle.keep() {
            if let Ok((timer, _)) = kept.check() {
                // SAFETY: kept.
                unsafe { timer.living_thread() }.settle();
            }
            kept.let_go();
        }
    }

    fn let_go(&self) {
        if let Ok((thread, _)) = self.thread().check() {
            // A pending timer keeps itself: this one was not started, or is over. If it was not started,
            // somebody may keep the thread, and start it yet.
            if thread.state() != OVER {
                thread.set_extra(self.interval().to_bits() as usize);
                thread.mark(ORPHAN, true);
            }
            thread.handle().let_go();
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
            timer.stage.store(UNSTARTED, Ordering::Release);
            timer.place.store(NOWHERE, Ordering::Relaxed);
        })?;
        object.set_extra(timer.bits());
        Ok(timer)
    }

    pub(crate) fn thread(&self) -> Handle<Thread> {
        Handle::from_bits(self.thread.load(Ordering::Acquire))
    }

    /// The slot of its thread.
    ///
    /// # Safety
    /// The timer lives.
    pub(crate) unsafe fn living_thread(&self) -> &'static Thread {
        // SAFETY: a timer that lives has a thread, and keeps it.
        unsafe { self.thread().slot_once_good() }.0
    }

    pub(crate) fn interval(&self) -> f64 {
        f64::from_bits(self.interval.load(Ordering::Acquire))
    }

    pub(crate) fn stage(&self) -> u32 {
        self.stage.load(Ordering::Acquire)
    }

    fn reach(&self, stage: u32) {
        self.stage.store(stage, Ordering::Release);
    }

    /// The leader has taken it out of the heap: its function begins.
    pub(crate) fn begin(&self) {
        self.reach(BEGUN);
    }

    /// It waits for its moment from now on, unless it was cancelled before: then it ends as it starts. The
    /// caller has kept it for that. `fresh`: its thread is `NEW`, or else in `STARTING`.
    fn start(&'static self, fresh: bool) -> Result<()> {
        // SAFETY: the caller keeps the timer.
        let thread = unsafe { self.living_thread() };
        let deadline = match time::interval(self.interval())? {
            Some(interval) => interval.deadline(),
            None => Deadline::NEVER,
        };
        let mut registry = registry::lock();
        if fresh {
            registry.admit(thread)?;
        }
        let cancelled = self.stage() != UNSTARTED || thread.is(CANCELLED);
        // An infinite interval never comes: such a timer is pending, but nobody waits for its moment.
        let leader_sleeps_too_long =
            !cancelled && deadline != Deadline::NEVER && registry.timers.schedule(deadline, self)?;
        self.reach(if cancelled { DROPPED } else { PENDING });
        if fresh {
            registry.enter(thread);
        }
        let watched = thread.change_guarded(ALIVE);
        drop(registry);
        // It may be over already: only the address of the thread counts here, and slots are never unmapped.
        if watched {
            thread.wake_watchers();
        }
        if leader_sleeps_too_long {
            worker::wake_leader();
        }
        if cancelled {
            destroy_and_finish(thread, self);
        }
        Ok(())
    }
}

/// Lets a timer wait for its moment.
pub(crate) fn start(timer: Handle<Timer>) -> Result<()> {
    let (object, _) = timer.keep()?.check()?;
    object.start(true).inspect_err(|_| timer.let_go())
}

/// The same by its thread, which is in `STARTING`, and kept by the caller.
pub(crate) fn start_by_thread(thread: &'static Thread) -> Result<()> {
    let timer = keep_timer(thread)?;
    let (object, _) = timer.check()?;
    object.start(false).inspect_err(|_| timer.let_go())
}

/// The timer of a thread, kept; made anew if only the thread has been kept.
fn keep_timer(thread: &'static Thread) -> Result<Handle<Timer>> {
    /// Longer than another thread needs for that, in nanoseconds.
    const GOING: u64 = 1_000_000_000;
    let begin = Deadline::now();
    let mut spin = Spin::new();
    loop {
        if thread.is(ORPHAN) {
            let kept = thread.handle().keep()?;
            let timer = Timer::create(kept, f64::from_bits(thread.extra() as u64))
                .inspect_err(|_| kept.let_go())?
                .keep()?;
            thread.mark(ORPHAN, false);
            timer.free()?;
            return Ok(timer);
        }
        if let Ok(timer) = Handle::<Timer>::from_bits(thread.extra()).keep() {
            return Ok(timer);
        }
        // The timer is just going, by another thread, which a child of fork may not have.
        if ident::is_child() && begin.after(GOING).has_passed() {
            return Err(Error::Handle);
        }
        spin.pass();
    }
}

/// Sees to it that the function will never run. False if it has begun.
pub(crate) fn cancel(handle: Handle<Timer>) -> Result<bool> {
    if ident::is_child() {
        Timer::settle(handle);
    }
    let mut registry = registry::lock();
    let (timer, stage) = handle.read(|timer| (timer, timer.stage()))?;
    match stage {
        PENDING => {
            timer.reach(DROPPED);
            registry.timers.unschedule(timer);
            // SAFETY: it has been found pending, and keeps itself until `finish`, below.
            let thread = unsafe { timer.living_thread() };
            happens_after(thread);
            if thread.owes_destruction() {
                drop(registry);
                destroy_and_finish(thread, timer);
            } else {
                let news = registry.end_timer(thread);
                drop(registry);
                news.tell();
                handle.let_go();
            }
            Ok(true)
        }
        UNSTARTED => {
            // Whoever frees it meanwhile, it stays until this is done.
            handle.keep()?;
            // SAFETY: kept.
            let thread = unsafe { timer.living_thread() };
            timer.reach(DROPPED);
            thread.mark(CANCELLED, true);
            drop(registry);
            thread.destroy_arg();
            handle.let_go();
            Ok(true)
        }
        stage => Ok(stage == DROPPED),
    }
}

/// The end of a timer whose function will never run.
fn destroy_and_finish(thread: &'static Thread, timer: &'static Timer) {
    let epoch = epoch();
    Ending::of(thread, || thread.destroy_arg());
    // Where the destructor has forked, the child has abandoned the timer.
    if epoch == self::epoch() {
        finish(thread, timer);
    }
}

/// A timer whose argument's destructor the calling thread is in, and which it will end after that. It lies on the stack
/// of that thread.
pub(crate) struct Ending {
    thread: Handle<Thread>,
    /// The outermost exit or shutdown, by an address on the stack, in which it is not waited for.
    leaving: Cell<usize>,
    next: *const Ending,
}

impl Ending {
    /// Calls the destructor. No unwinding leaves it: a callback returns.
    fn of(thread: &'static Thread, destroy: impl FnOnce()) {
        let next = tls::with(|mine| mine.endings.get());
        let ending = Ending { thread: thread.handle(), leaving: Cell::new(0), next: next as *const Ending };
        tls::with(|mine| mine.endings.set(core::ptr::from_ref(&ending) as usize));
        destroy();
        tls::with(|mine| mine.endings.set(next));
    }

    /// Those of the calling thread.
    fn each(mut f: impl FnMut(&Ending)) {
        let mut at = tls::with(|mine| mine.endings.get()) as *const Ending;
        // SAFETY: those in the list lie on the stack of this thread, in frames that have not returned.
        while let Some(ending) = unsafe { at.as_ref() } {
            f(ending);
            at = ending.next;
        }
    }

    /// The thread, unless the timer has gone: a child of fork has abandoned it.
    fn living(&self) -> Option<&'static Thread> {
        self.thread.check().ok().map(|(thread, _)| thread)
    }
}

/// Whether the calling thread is in the destructor of this timer's argument, and no other thread can end the timer.
pub(crate) fn ends_here(thread: &'static Thread) -> bool {
    let mut found = false;
    Ending::each(|ending| found |= ending.living().is_some_and(|ended| core::ptr::eq(ended, thread)));
    found
}

/// The calling thread begins an exit or a shutdown, which has this name: those who wait for all others do not wait for
/// the timers that it is ending.
pub(crate) fn leave_endings(name: usize) {
    Ending::each(|ending| {
        if ending.leaving.get() == 0 {
            ending.leaving.set(name);
            if let Some(thread) = ending.living() {
                registry::set_leaving(thread, true);
            }
        }
    });
}

/// The shutdown with this name returns.
pub(crate) fn return_to_endings(name: usize) {
    Ending::each(|ending| {
        if ending.leaving.get() == name {
            ending.leaving.set(0);
            if let Some(thread) = ending.living() {
                registry::set_leaving(thread, false);
            }
        }
    });
}

/// The calling thread is in `exit`, which does not return: the timers that it alone can end, the one whose function it
/// runs among them, count as ended for those that wait for them.
pub(crate) fn end_for_good() {
    let me = tls::with(|mine| mine.thread.get());
    let own = Handle::<Thread>::from_bits(me).check().ok().map(|(thread, _)| thread);
    let end = |thread: &'static Thread| {
        if thread.is(TIMER) {
            registry::end_timer_for_good(thread);
        }
    };
    own.into_iter().for_each(end);
    Ending::each(|ending| ending.living().into_iter().for_each(end));
}

/// A timer is over, its function having run or not: its thread ends, and what it had of itself goes.
pub(crate) fn finish(thread: &'static Thread, timer: &'static Timer) {
    let mut registry = registry::lock();
    let news = registry.end_timer(thread);
    drop(registry);
    news.tell();
    Handle::of(timer).let_go();
}

/// In a child of fork: the timer of this thread was started in the parent, and nobody will run it, or finish
/// it, here.
pub(crate) fn abandon(thread: &'static Thread) {
    let timer = Handle::<Timer>::from_bits(thread.extra());
    if let Ok((object, _)) = timer.check() {
        if object.stage() == PENDING {
            object.reach(DROPPED);
        }
        timer.let_go();
    }
}
