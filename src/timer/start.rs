//! The start of timers.

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
    /// It waits for its moment from now on, unless it was cancelled before: then it ends as it starts. The
    /// caller has kept it for that. `must_register`: its thread is `NOT_STARTED`, or else in `STARTING`.
    fn start(&'static self, must_register: bool) -> Result<()> {
        // SAFETY: the caller keeps the timer.
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
        // An infinite interval never comes: such a timer is pending, but nobody waits for its moment.
        let must_wake_leader =
            !cancelled && deadline != Deadline::NEVER && registry.timers.schedule(deadline, self)?;
        self.set_state(if cancelled { CANCELLED } else { PENDING });
        if must_register {
            registry.insert(thread);
        }
        let has_waiters = thread.set_state_locked(RUNNING);
        drop(registry);
        // It may be over already: only the address of the thread counts here, and slots are never unmapped.
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

/// Lets a timer wait for its moment.
pub(crate) fn start(timer: Handle<Timer>) -> Result<()> {
    let (object, _) = timer.internal_ref()?.check()?;
    object.start(true).inspect_err(|_| timer.internal_unref())
}

/// The same by its thread, which is in `STARTING`, and kept by the caller.
pub(crate) fn start_from_thread(thread: &'static Thread) -> Result<()> {
    let timer = ref_or_recreate_timer(thread)?;
    let (object, _) = timer.check()?;
    object.start(false).inspect_err(|_| timer.internal_unref())
}

/// The timer of a thread, kept; made anew if only the thread has been kept.
fn ref_or_recreate_timer(thread: &'static Thread) -> Result<Handle<Timer>> {
    /// Longer than another thread needs for that, in nanoseconds.
    const MAX_TEARDOWN_NS: u64 = 1_000_000_000;
    let started_at = Deadline::now();
    let mut spin = SpinWait::new();
    loop {
        if thread.has_flag(TIMER_FREED) {
            let kept = thread.handle().internal_ref()?;
            let timer = Timer::create(kept, thread.freed_timer_interval())
                .inspect_err(|_| kept.internal_unref())?
                .internal_ref()?;
            thread.clear_flag(TIMER_FREED);
            timer.free()?;
            return Ok(timer);
        }
        if let Ok(timer) = Handle::<Timer>::from_bits(thread.timer_bits()).internal_ref() {
            return Ok(timer);
        }
        // The timer is just going, by another thread, which a child of fork may not have.
        if ident::is_child() && started_at.add_ns(MAX_TEARDOWN_NS).has_passed() {
            return Err(Error::Handle);
        }
        spin.spin_or_sleep();
    }
}
