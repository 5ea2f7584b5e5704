//! Wake-ups to be issued after the mutex of a queue is unlocked (as Linux's `wake_q`): a thread that is woken before
//! would block on the mutex.

use crate::sync::adaptive_spin::AdaptiveSpin;
use crate::sync::broadcast_word::BroadcastWord;
use crate::sync::waiter::{OFFERED, PendingWake, RETRY, Waiter};

/// The number of wake-ups that wait for the mutex to be unlocked. Further ones are issued immediately.
pub(crate) const CAPACITY: usize = 4;

/// The queued wake-ups.
#[derive(Default)]
pub(crate) struct WakeQueue {
    /// Each with the waiter if another one may be woken in its place.
    alone: [Option<(PendingWake<'static>, Option<&'static Waiter>)>; CAPACITY],
    /// That of all waiters that are parked together.
    together: Option<BroadcastWord>,
}

impl WakeQueue {
    /// Sets the waiter's state, with the mutex held, and queues its wake-up, or issues it if there is no room. Returns
    /// whether the waiter may not react, as far as is known now: it has not parked, so that a signal handler, which may
    /// need another waiter to acquire the lock, may have interrupted its thread; or it is woken together with others.
    pub(crate) fn add(&mut self, waiter: &'static Waiter, state: u32, adaptive_spin: &AdaptiveSpin) -> bool {
        let wake = waiter.complete(state, adaptive_spin);
        if let Some(word) = wake.together() {
            self.together = Some(word);
            return true;
        }
        let was_running = wake.was_running();
        // Waiters with a final state leave the queue and need no replacement.
        let replaceable = matches!(state, RETRY | OFFERED).then_some(waiter);
        match self.alone.iter_mut().find(|entry| entry.is_none()) {
            Some(entry) => *entry = Some((wake, replaceable)),
            None => {
                let _ = wake.wake();
            }
        }
        was_running
    }

    /// Issues the wake-ups. Returns the waiters that turned out not to be parked.
    pub(crate) fn wake_all(self) -> NotParked {
        if let Some(word) = self.together {
            word.wake_all();
        }
        NotParked(
            self.alone.map(|entry| entry.and_then(|(wake, waiter)| if wake.wake() { None } else { waiter })),
        )
    }
}

/// Waiters that were not parked when they were woken, and may be unresponsive.
pub(crate) struct NotParked([Option<&'static Waiter>; CAPACITY]);

impl NotParked {
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    pub(crate) fn into_iter(self) -> impl Iterator<Item = &'static Waiter> {
        self.0.into_iter().flatten()
    }
}
