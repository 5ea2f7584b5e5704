//! The end of a timer that has fired or was cancelled.
//!
//! A timer whose function will not be called finishes after the destructor of its argument has returned. The thread
//! that calls the destructor (in a cancel or a start) keeps the timer in a list of its own ([`FinishingTimer`], an
//! entry of a `sync::stack_list`), because no other thread can finish that timer. If the destructor exits the process
//! or shuts the library down, the exit or shutdown does not wait for these timers, and joining one of them in the
//! destructor fails as a deadlock.

use core::cell::Cell;

use crate::handle::Handle;
use crate::sync::fork_epoch::fork_epoch;
use crate::sync::mutex::InternalMutexGuard;
use crate::sync::stack_list;
use crate::sync::stack_list::{StackEntry, StackList};
use crate::sys::tls::PerThread;
use crate::thread::object::{TIMER, Thread, known_current};
use crate::thread::registry;
use crate::thread::registry::Registry;
use crate::timer::object::Timer;

/// Destroys the argument of a timer whose function will never be called, and finishes the timer.
pub(super) fn destroy_arg_and_finish(thread: &'static Thread, timer: &'static Timer) {
    let epoch = fork_epoch();
    FinishingTimer::track(thread, || thread.destroy_arg());
    // If the destructor forked, and this is the child: the child has discarded the timer.
    if epoch == fork_epoch() {
        finish(thread, timer);
    }
}

/// A timer that the calling thread finishes when the destructor of the timer's argument returns.
#[repr(C)]
struct FinishingTimer {
    entry: StackEntry,
    thread: Handle<Thread>,
    /// Identifies the outermost exit or shutdown that does not wait for this timer, by an address in its stack frame;
    /// 0 if there is none.
    shutdown_id: Cell<usize>,
}

impl StackList for FinishingTimer {
    fn first(block: &PerThread) -> &Cell<usize> {
        &block.finishing_timers
    }
}

impl FinishingTimer {
    /// Calls `destroy` with the timer in the list. `destroy` does not unwind, because callbacks must return.
    fn track(thread: &'static Thread, destroy: impl FnOnce()) {
        let thread = thread.handle();
        let finishing = FinishingTimer { entry: StackEntry::new(), thread, shutdown_id: Cell::new(0) };
        finishing.entry.add::<Self>([thread.bits(), 0, 0]);
        destroy();
        finishing.entry.remove::<Self>();
    }

    /// Calls `f` for each entry of the calling thread.
    fn for_each(mut f: impl FnMut(&FinishingTimer)) {
        stack_list::for_each::<Self>(|at, _| {
            // SAFETY: a valid entry is the first field of a `FinishingTimer`. If a callback has left its frame by
            // siglongjmp(), the other fields may have any value, which is valid for them.
            f(unsafe { &*(at as *const FinishingTimer) });
        });
    }

    /// Returns the thread, or `None` if it has been freed, because a child of fork has discarded the timer.
    fn thread_if_alive(&self) -> Option<&'static Thread> {
        self.thread.live_object()
    }
}

/// Whether the calling thread is in the destructor of this timer's argument, so that no other thread can finish the
/// timer.
pub(crate) fn is_finishing_on_current_thread(thread: &'static Thread) -> bool {
    let mut found = false;
    FinishingTimer::for_each(|finishing| {
        found |= finishing.thread_if_alive().is_some_and(|other| core::ptr::eq(other, thread))
    });
    found
}

/// The calling thread begins an exit or a shutdown, identified by `shutdown_id`. Threads that wait for all others do
/// not wait for the timers that it is finishing.
pub(crate) fn exclude_finishing_from_shutdown(shutdown_id: usize) {
    FinishingTimer::for_each(|finishing| {
        if finishing.shutdown_id.get() == 0 {
            finishing.shutdown_id.set(shutdown_id);
            if let Some(thread) = finishing.thread_if_alive() {
                registry::set_in_shutdown(thread, true);
            }
        }
    });
}

/// The exit or shutdown identified by `shutdown_id` returns: the opposite of `exclude_finishing_from_shutdown`.
pub(crate) fn include_finishing_in_shutdown(shutdown_id: usize) {
    FinishingTimer::for_each(|finishing| {
        if finishing.shutdown_id.get() == shutdown_id {
            finishing.shutdown_id.set(0);
            if let Some(thread) = finishing.thread_if_alive() {
                registry::set_in_shutdown(thread, false);
            }
        }
    });
}

/// The calling thread is in `exit`, which does not return. The timers that only this thread can finish (those in its
/// list, and the one whose function it runs) count as finished, so that threads that wait for them return.
pub(crate) fn finish_own_timers_at_exit() {
    let finish_if_timer = |thread: &'static Thread| {
        if thread.has_flag(TIMER) {
            registry::finish_timer_at_exit(thread);
        }
    };
    known_current().into_iter().for_each(finish_if_timer);
    FinishingTimer::for_each(|finishing| finishing.thread_if_alive().into_iter().for_each(finish_if_timer));
}

/// Finishes a timer, fired or cancelled: its thread is done, and the timer drops the reference to itself.
pub(crate) fn finish(thread: &'static Thread, timer: &'static Timer) {
    finish_locked(registry::lock(), thread, timer);
}

/// As `finish`, for a caller that has locked the registry mutex.
#[inline(always)]
pub(super) fn finish_locked(
    mut registry: InternalMutexGuard<'static, Registry>,
    thread: &'static Thread,
    timer: &'static Timer,
) {
    let deferred = registry.finish_timer(thread);
    let tag = timer.tag();
    timer.set_finished();
    registry.unlock();
    deferred.wake();
    Handle::destroy_if_only_self_ref(timer, tag);
}
