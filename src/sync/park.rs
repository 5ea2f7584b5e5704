//! How a thread waits in a queue: it spins, if that has succeeded recently, and then parks. `sync::waiter` has the
//! states.

use crate::sync::adaptive_spin::{AdaptiveSpin, PlannedSpin, current_cpu_tag, spin_until};
use crate::sync::broadcast_word::BroadcastWord;
use crate::sync::wait_note::QueueNote;
use crate::sync::waiter::{PARKED, PARKED_TOGETHER, QUEUED, SPINNING, Waiter};
use crate::sys::atomic::{AtomicU32, Ordering};
use crate::sys::futex;
use crate::time::Deadline;

/// Where a thread parks.
pub(crate) enum ParkPlace<'a> {
    /// On its own record.
    Record,
    /// On a word of the object, while the word has this value.
    Word(&'a AtomicU32, u32),
    /// On a word for the waiters of several conditions.
    Together(BroadcastWord),
}

impl ParkPlace<'_> {
    /// Returns whether the place is shared with waiters of other objects.
    #[inline(always)]
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self, ParkPlace::Together(_))
    }
}

impl Waiter {
    /// Blocks until another thread calls `complete` on this record, and returns the state that it stored; returns
    /// `QUEUED` if the deadline passes first. Spins before it parks, if the object's `adaptive_spin` permits that.
    pub(crate) fn wait(&self, note: &mut QueueNote, adaptive_spin: &AdaptiveSpin, deadline: Deadline) -> u32 {
        self.wait_on(&mut ParkPlace::Record, note, adaptive_spin, deadline)
    }

    /// As `wait`, but parks at this place. On a word of the object, the thread that completes the waiters changes that
    /// word and wakes all of them.
    pub(crate) fn wait_on(
        &self,
        place: &mut ParkPlace,
        note: &mut QueueNote,
        adaptive_spin: &AdaptiveSpin,
        deadline: Deadline,
    ) -> u32 {
        let planned_spin = self.plan_spin(adaptive_spin);
        self.wait_after(planned_spin, false, place, note, adaptive_spin, deadline)
    }

    /// Decides whether the calling thread, whose record is in a queue, is to spin. It must then call
    /// `wait_with_planned_spin`, or `AdaptiveSpin::finish` if it does not wait.
    pub(crate) fn plan_spin(&self, adaptive_spin: &AdaptiveSpin) -> Option<PlannedSpin> {
        self.may_spin.load(Ordering::Relaxed).then(|| adaptive_spin.try_reserve()).flatten()
    }

    /// As `wait`, after `plan_spin`, for an object whose waiters wake each other. If the thread has parked together
    /// with others, and has seen a spurious wakeup, it parks on its own record, and `place` becomes that.
    pub(crate) fn wait_with_planned_spin(
        &self,
        planned_spin: Option<PlannedSpin>,
        place: &mut ParkPlace,
        note: &mut QueueNote,
        adaptive_spin: &AdaptiveSpin,
        deadline: Deadline,
    ) -> u32 {
        self.wait_after(planned_spin, true, place, note, adaptive_spin, deadline)
    }

    /// Spins as planned, and then parks. `is_mutual`: the waiters of the object wake each other.
    #[inline]
    fn wait_after(
        &self,
        planned_spin: Option<PlannedSpin>,
        is_mutual: bool,
        place: &mut ParkPlace,
        note: &mut QueueNote,
        adaptive_spin: &AdaptiveSpin,
        deadline: Deadline,
    ) -> u32 {
        if let Some(planned_spin) = planned_spin {
            let until = planned_spin.until(deadline);
            if let Err(state) = self.transition(QUEUED, SPINNING) {
                adaptive_spin.finish(true);
                return state;
            }
            if spin_until(until, || self.state.load(Ordering::Relaxed) != SPINNING) {
                return self.state();
            }
            if let Err(state) = self.transition(SPINNING, QUEUED) {
                return state;
            }
            adaptive_spin.finish(false);
        }
        self.parked_cpu.store(current_cpu_tag(), Ordering::Relaxed);
        let parked = if place.is_shared() { PARKED_TOGETHER } else { PARKED };
        if let Err(state) = self.transition(QUEUED, parked) {
            return state;
        }
        note.begin();
        if let ParkPlace::Together(broadcast) = *place {
            match self.park_together(broadcast, note, deadline) {
                Ok(true) => *place = ParkPlace::Record,
                Ok(false) => {}
                Err(state) => return state,
            }
        }
        let (word, expected) = match *place {
            ParkPlace::Word(word, expected) => (word, expected),
            _ => (&self.state, PARKED),
        };
        while self.state() == PARKED {
            if !note.hang_watch.park(deadline, |until| futex::wait_inline(word, expected, until)) {
                return self.transition(PARKED, QUEUED).err().unwrap_or(QUEUED);
            }
        }
        let waker_cpu = self.waker_cpu.load(Ordering::Relaxed);
        if is_mutual {
            adaptive_spin.record_mutual_wake(waker_cpu, self.parked_cpu.load(Ordering::Relaxed));
        } else {
            adaptive_spin.record_waker_cpu(waker_cpu);
        }
        self.state()
    }

    /// Parks on the word, together with others, until any wake-up. Returns whether the wait goes on: the waiter is then
    /// in `PARKED`, and parks on its own record. If the deadline passes first, fails with the state.
    #[inline(always)]
    fn park_together(
        &self,
        word: BroadcastWord,
        note: &mut QueueNote,
        deadline: Deadline,
    ) -> core::result::Result<bool, u32> {
        let value = word.value();
        if self.state() != PARKED_TOGETHER {
            return Ok(false);
        }
        if !note.hang_watch.park(deadline, |until| futex::wait_inline(word.futex(), value, until)) {
            return Err(self.transition(PARKED_TOGETHER, QUEUED).err().unwrap_or(QUEUED));
        }
        Ok(self.transition(PARKED_TOGETHER, PARKED).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::waiter::GRANTED;
    use crate::sync::waiter_pool;

    #[test]
    fn wait_returns_the_wakers_state_or_times_out() {
        let waiter = waiter_pool::current().unwrap();
        let adaptive_spin = AdaptiveSpin::default();
        waiter.prepare_to_wait(0);
        let mut note = QueueNote::new(waiter, 0, Deadline::NEVER);
        assert_eq!(waiter.wait(&mut note, &adaptive_spin, Deadline::now().add_ns(1_000_000)), QUEUED);
        waiter.complete(GRANTED, &adaptive_spin).wake();
        assert_eq!(waiter.wait(&mut note, &adaptive_spin, Deadline::NEVER), GRANTED);
    }
}
