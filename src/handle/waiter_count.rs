//! Objects whose word counts their waiters, and have no wait queue: events and semaphores.
//!
//! In a child of fork, the count is that of the parent's waiters, until a thread of the child begins to wait, or until
//! the thread that has forked in a signal handler during its own wait keeps itself in the count (`sync::own_waiter`).

use crate::handle::Object;
use crate::handle::header::GENERATION;
use crate::sync::own_waiter::OwnWaiter;
use crate::sync::waiter_epoch::WaiterEpoch;
use crate::sys::atomic::Ordering;

/// An object whose word counts its waiters.
pub(crate) trait CountsWaiters: Object {
    /// The unit of the count.
    const WAITER: u64;
    /// The mask of the count, and of what is legal only with waiters.
    const WAITERS: u64;

    /// The fork epoch of the waiters that the word counts.
    fn waiter_epoch(&self) -> &WaiterEpoch;

    /// Returns whether this word counts a thread that has counted itself with this key, or the thread is still to be
    /// counted, if it was about to count itself.
    fn is_counted(word: u64, key: u64) -> bool;

    /// Called before a thread counts itself: in a child of fork, discards the waiters of the parent.
    #[inline]
    fn discard_parents_waiters(&self, tag: u64) {
        self.waiter_epoch().sync_after_fork(|| self.change_word(tag, |word| word & !Self::WAITERS));
    }

    /// In a child of fork: discards the waiters of the parent, but counts the calling thread again if the word has
    /// counted it. The thread may wait for the object in several calls, if signal handlers wait.
    fn keep_own_waiter(&self, tag: u64, waiter: &OwnWaiter) {
        self.discard_parents_waiters(tag);
        self.change_word(tag, |word| {
            if waiter.decide(|key| Self::is_counted(word, key)) { word + Self::WAITER } else { word }
        });
    }

    /// Changes the word to the value that `to` returns for it.
    fn change_word(&self, tag: u64, to: impl Fn(u64) -> u64) {
        let header_word = &self.header().word;
        let mut word = header_word.load(Ordering::Relaxed);
        while word & GENERATION == tag & GENERATION {
            match header_word.compare_exchange_weak(word, to(word), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
    }
}
