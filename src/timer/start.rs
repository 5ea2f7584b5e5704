//! The start of timers.

use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::sync::spin_wait::SpinWait;
use crate::thread::object::{ALIVE, CANCELLED, ORPHAN, Thread};
use crate::thread::{ident, registry};
use crate::time;
use crate::time::Deadline;
use crate::timer::object::{DROPPED, PENDING, Timer, UNSTARTED};
use crate::timer::{finishing, queue};

impl Timer {
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
            queue::wake_leader();
        }
        if cancelled {
            finishing::destroy_and_finish(thread, self);
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
pub(crate) fn start_by_thread(thread: &'static Thread) -> Result<()> {
    let timer = keep_timer(thread)?;
    let (object, _) = timer.check()?;
    object.start(false).inspect_err(|_| timer.internal_unref())
}

/// The timer of a thread, kept; made anew if only the thread has been kept.
fn keep_timer(thread: &'static Thread) -> Result<Handle<Timer>> {
    /// Longer than another thread needs for that, in nanoseconds.
    const GOING: u64 = 1_000_000_000;
    let begin = Deadline::now();
    let mut spin = SpinWait::new();
    loop {
        if thread.is(ORPHAN) {
            let kept = thread.handle().internal_ref()?;
            let timer = Timer::create(kept, f64::from_bits(thread.extra() as u64))
                .inspect_err(|_| kept.internal_unref())?
                .internal_ref()?;
            thread.mark(ORPHAN, false);
            timer.free()?;
            return Ok(timer);
        }
        if let Ok(timer) = Handle::<Timer>::from_bits(thread.extra()).internal_ref() {
            return Ok(timer);
        }
        // The timer is just going, by another thread, which a child of fork may not have.
        if ident::is_child() && begin.add_ns(GOING).has_passed() {
            return Err(Error::Handle);
        }
        spin.spin_or_sleep();
    }
}
