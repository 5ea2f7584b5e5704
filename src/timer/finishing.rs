//! The ends of timers.
//!
//! A timer that will not run ends when the destructor of its argument has returned. The thread that calls the
//! destructor, in a cancel or a start, keeps the timer in a list of its own ([`Ending`]): no other thread can end it.
//! So where the destructor leaves the process or shuts the library down, these timers are not waited for, and a join
//! of theirs there is a deadlock.

use core::cell::Cell;

use crate::handle::Handle;
use crate::sync::fork_epoch::fork_epoch;
use crate::sys::tls;
use crate::thread::object::{TIMER, Thread};
use crate::thread::registry;
use crate::timer::object::Timer;

/// The end of a timer whose function will never run.
pub(super) fn destroy_and_finish(thread: &'static Thread, timer: &'static Timer) {
    let epoch = fork_epoch();
    Ending::of(thread, || thread.destroy_arg());
    // Where the destructor has forked, the child has abandoned the timer.
    if epoch == self::fork_epoch() {
        finish(thread, timer);
    }
}

/// A timer whose argument's destructor the calling thread is in, and which it will end after that. It lies on the stack
/// of that thread.
struct Ending {
    thread: Handle<Thread>,
    /// The outermost exit or shutdown, by an address on the stack, in which it is not waited for.
    leaving: Cell<usize>,
    next: *const Ending,
}

impl Ending {
    /// Calls the destructor. No unwinding leaves it: a callback returns.
    fn of(thread: &'static Thread, destroy: impl FnOnce()) {
        let next = tls::with(|mine| mine.ending_timers.get());
        let ending = Ending { thread: thread.handle(), leaving: Cell::new(0), next: next as *const Ending };
        tls::with(|mine| mine.ending_timers.set(core::ptr::from_ref(&ending) as usize));
        destroy();
        tls::with(|mine| mine.ending_timers.set(next));
    }

    /// Those of the calling thread.
    fn each(mut f: impl FnMut(&Ending)) {
        let mut at = tls::with(|mine| mine.ending_timers.get()) as *const Ending;
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
    Handle::of(timer).internal_unref();
}
