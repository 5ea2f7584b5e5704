//! Starting timers.

use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::sync::spin_wait::SpinWait;
use crate::thread::object::{RUNNING, TIMER_CANCELLED, TIMER_FREED, Thread};
use crate::thread::{ident, registry};
use crate::time;
use crate::time::Deadline;
use crate::timer::object::{CANCELLED, NOT_STARTED, PENDING, Timer};
use crate::timer::{finishing, queue};

impl Timer {
    /// Schedules the timer. If it was cancelled before, it finishes without a call of its function. The caller holds
    /// a reference, which the started timer takes over. `must_register`: the thread is `NOT_STARTED` and not yet in
    /// the registry; otherwise it is in `STARTING`.
    #[inline(always)]
    pub(super) fn start(&'static self, must_register: bool) -> Result<()> {
        // SAFETY: the caller holds a reference to the timer.
        let thread = unsafe { self.thread_unchecked() };
        let deadline = match time::interval(self.interval())? {
            Some(interval) => interval.deadline(),
            None => Deadline::NEVER,
        };
        let mut registry = registry::lock();
        if must_register {
            registry.check_startable(thread)?;
        }
        let cancelled = self.state() != NOT_STARTED || thread.has_flag(TIMER_CANCELLED);
        // A timer with an infinite interval is pending, but is not in the heap.
        let must_wake_leader =
            !cancelled && deadline != Deadline::NEVER && registry.timers.schedule(deadline, self)?;
        self.set_state(if cancelled { CANCELLED } else { PENDING });
        if must_register {
            registry.insert(thread);
        }
        let has_waiters = thread.set_state_locked(RUNNING);
        registry.unlock();
        // The timer may have finished already. Only the address of its thread is used, and slots are never unmapped.
        if has_waiters {
            thread.wake_state_waiters();
        }
        if must_wake_leader {
            queue::wake_leader();
        }
        if cancelled {
            finishing::destroy_arg_and_finish(thread, self);
        }
        Ok(())
    }
}

/// Starts the timer of a thread that is in `STARTING`. The caller holds a reference to the thread.
#[cold]
#[inline(never)]
pub(crate) fn start_from_thread(thread: &'static Thread) -> Result<()> {
    let timer = ref_or_recreate_timer(thread)?;
    let (object, _) = timer.check()?;
    object.start(false).inspect_err(|_| timer.internal_unref())
}

/// Returns the timer of a thread, with a new internal reference. If the timer was freed and only the thread is left,
/// a new timer is created from the interval that the thread has stored.
fn ref_or_recreate_timer(thread: &'static Thread) -> Result<Handle<Timer>> {
    /// The limit for another thread to complete `Timer::dispose`, in nanoseconds.
    const MAX_TEARDOWN_NS: u64 = 1_000_000_000;
    let started_at = Deadline::now();
    let mut spin = SpinWait::new();
    loop {
        if thread.has_flag(TIMER_FREED) {
            let kept = thread.handle().internal_ref()?;
            // SAFETY: `kept` is a new reference.
            let timer = unsafe { Timer::create(kept, thread.freed_timer_interval()) }
                .inspect_err(|_| kept.internal_unref())?
                .internal_ref()?;
            thread.clear_flag(TIMER_FREED);
            timer.free()?;
            return Ok(timer);
        }
        if let Ok(timer) = Handle::<Timer>::from_bits(thread.timer_bits()).internal_ref() {
            return Ok(timer);
        }
        // Another thread is freeing the timer, and is about to store the interval. In a child of fork, that thread
        // may not exist.
        if ident::is_child() && started_at.add_ns(MAX_TEARDOWN_NS).has_passed() {
            return Err(Error::Handle);
        }
        spin.spin_or_sleep();
    }
}
