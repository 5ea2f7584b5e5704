//! The ends of timers.
//!
//! A timer that will not run ends when the destructor of its argument has returned. The thread that calls the
//! destructor, in a cancel or a start, keeps the timer in a list of its own ([`FinishingTimer`]): no other thread can end it.
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
pub(super) fn destroy_arg_and_finish(thread: &'static Thread, timer: &'static Timer) {
    let epoch = fork_epoch();
    FinishingTimer::track(thread, || thread.destroy_arg());
    // Where the destructor has forked, the child has abandoned the timer.
    if epoch == self::fork_epoch() {
        finish(thread, timer);
    }
}

/// A timer whose argument's destructor the calling thread is in, and which it will end after that. It lies on the stack
/// of that thread.
struct FinishingTimer {
    thread: Handle<Thread>,
    /// The outermost exit or shutdown, by an address on the stack, in which it is not waited for.
    shutdown_id: Cell<usize>,
    next: *const FinishingTimer,
}

impl FinishingTimer {
    /// Calls the destructor. No unwinding leaves it: a callback returns.
    fn track(thread: &'static Thread, destroy: impl FnOnce()) {
        let next = tls::with(|block| block.finishing_timers.get());
        let ending = FinishingTimer {
            thread: thread.handle(),
            shutdown_id: Cell::new(0),
            next: next as *const FinishingTimer,
        };
        tls::with(|block| block.finishing_timers.set(core::ptr::from_ref(&ending) as usize));
        destroy();
        tls::with(|block| block.finishing_timers.set(next));
    }

    /// Those of the calling thread.
    fn for_each(mut f: impl FnMut(&FinishingTimer)) {
        let mut at = tls::with(|block| block.finishing_timers.get()) as *const FinishingTimer;
        // SAFETY: those in the list lie on the stack of this thread, in frames that have not returned.
        while let Some(ending) = unsafe { at.as_ref() } {
            f(ending);
            at = ending.next;
        }
    }

    /// The thread, unless the timer has gone: a child of fork has abandoned it.
    fn thread_if_alive(&self) -> Option<&'static Thread> {
        self.thread.check().ok().map(|(thread, _)| thread)
    }
}

/// Whether the calling thread is in the destructor of this timer's argument, and no other thread can end the timer.
pub(crate) fn is_finishing_on_current_thread(thread: &'static Thread) -> bool {
    let mut found = false;
    FinishingTimer::for_each(|ending| {
        found |= ending.thread_if_alive().is_some_and(|ended| core::ptr::eq(ended, thread))
    });
    found
}

/// The calling thread begins an exit or a shutdown, which has this shutdown_id: those who wait for all others do not wait for
/// the timers that it is ending.
pub(crate) fn exclude_finishing_from_shutdown(shutdown_id: usize) {
    FinishingTimer::for_each(|ending| {
        if ending.shutdown_id.get() == 0 {
            ending.shutdown_id.set(shutdown_id);
            if let Some(thread) = ending.thread_if_alive() {
                registry::set_in_shutdown(thread, true);
            }
        }
    });
}

/// The shutdown with this shutdown_id returns.
pub(crate) fn include_finishing_in_shutdown(shutdown_id: usize) {
    FinishingTimer::for_each(|ending| {
        if ending.shutdown_id.get() == shutdown_id {
            ending.shutdown_id.set(0);
            if let Some(thread) = ending.thread_if_alive() {
                registry::set_in_shutdown(thread, false);
            }
        }
    });
}

/// The calling thread is in `exit`, which does not return: the timers that it alone can end, the one whose function it
/// runs among them, count as ended for those that wait for them.
pub(crate) fn finish_own_timers_at_exit() {
    let me = tls::with(|block| block.thread.get());
    let own = Handle::<Thread>::from_bits(me).check().ok().map(|(thread, _)| thread);
    let finish_if_timer = |thread: &'static Thread| {
        if thread.has_flag(TIMER) {
            registry::finish_timer_at_exit(thread);
        }
    };
    own.into_iter().for_each(finish_if_timer);
    FinishingTimer::for_each(|ending| ending.thread_if_alive().into_iter().for_each(finish_if_timer));
}

/// A timer is over, its function having run or not: its thread ends, and what it had of itself goes.
pub(crate) fn finish(thread: &'static Thread, timer: &'static Timer) {
    let mut registry = registry::lock();
    let deferred = registry.finish_timer(thread);
    drop(registry);
    deferred.wake();
    Handle::of(timer).internal_unref();
}
