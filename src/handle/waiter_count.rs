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
        self.waiter_epoch().sync_after_fork(|| self.keep_waiters(tag, |_| 0));
    }

    /// In a child of fork: discards the waiters of the parent, but keeps the calling thread if the word counts it.
    fn keep_own_waiter(&self, tag: u64, waiter: &OwnWaiter) {
        self.waiter_epoch().sync_after_fork(|| {
            self.keep_waiters(tag, |word| {
                if waiter.decide(|key| Self::is_counted(word, key)) { Self::WAITER } else { 0 }
            });
        });
    }

    /// Changes the waiters in the word to those that `kept` returns for it.
    fn keep_waiters(&self, tag: u64, kept: impl Fn(u64) -> u64) {
        let word_of = &self.header().word;
        let mut word = word_of.load(Ordering::Relaxed);
        while word & GENERATION == tag & GENERATION {
            let changed = word & !Self::WAITERS | kept(word);
            match word_of.compare_exchange_weak(word, changed, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
    }
}
