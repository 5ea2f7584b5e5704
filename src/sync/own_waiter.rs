//! Whether the word of an object counts the calling thread as a waiter, for objects without a wait queue.
//!
//! # A fork that interrupts a change of the count
//!
//! A signal handler may fork at any instruction of a wait. The child must then know whether the word counts the thread.
//! The word and the thread's own record (`OwnWaiter`) cannot be changed in one step. So before each change of the word,
//! the record says whether a fork keeps one waiter in the child, or none. In either case, the word is then another one
//! than before the change, so that the compare-and-swap fails if it has not been executed yet.
//!
//! | step | `OwnWaiter::state` | a fork in the child | a compare-and-swap that it has interrupted |
//! |---|---|---|---|
//! | not counted | without `KEEP` | discards all waiters | |
//! | begins to count itself, as the first | `KEEP`, key | keeps one waiter | fails, since it expects none |
//! | begins to count itself, not as the first | key | discards all waiters | fails, since it expects waiters |
//! | counted | `KEEP`, key | keeps one waiter | |
//! | ends its count | key | discards all waiters | fails, since it expects waiters |
//!
//! The fork then stores `DECIDED`, with `KEEP` and the key if it has kept the waiter. So a compare-and-swap of the
//! state shows the thread that the word is no longer as it has left it. A thread whose waiter was discarded counts
//! itself again.
//!
//! One case is not solved: other threads of the child may give the word the expected value again while the handler
//! still runs, if they wait for the same object, and the fork has interrupted the one or two instructions before the
//! compare-and-swap. So may a call of this thread on the same object, if the wait is in a signal handler that has
//! interrupted that call. The count is then wrong by one. The word has no room for a number that would prevent that.

use core::sync::atomic::{AtomicU64, Ordering, compiler_fence};

const DECIDED: u64 = 1 << 63;
const KEEP: u64 = 1 << 62;

/// Whether an object's word counts the calling thread as a waiter. Accessed by that thread only: by its call, and by a
/// fork in a signal handler.
#[derive(Default)]
pub(crate) struct OwnWaiter {
    state: AtomicU64,
}

impl OwnWaiter {
    /// In a child of fork: decides whether one waiter, the thread, is kept. `is_counted` returns whether the word
    /// counts a thread with this key, if it counts the thread at all.
    pub(crate) fn decide(&self, is_counted: impl FnOnce(u64) -> bool) -> bool {
        let state = self.state.load(Ordering::Relaxed);
        let key = state & !(KEEP | DECIDED);
        let is_kept = state & KEEP != 0 && is_counted(key);
        self.state.store(DECIDED | if is_kept { KEEP | key } else { 0 }, Ordering::Relaxed);
        is_kept
    }

    /// Returns whether the word counts the thread, if it does not change that now.
    pub(crate) fn is_counted(&self) -> bool {
        self.state.load(Ordering::Relaxed) & KEEP != 0
    }

    /// Counts the thread by `compare_exchange`. Returns whether the word counts it. `key` is a number above 0, and
    /// below `KEEP`, that the object chooses (`CountsWaiters::is_counted`). `is_first`: the word is expected to count
    /// no waiters.
    #[inline(always)]
    pub(crate) fn enter(&self, key: u64, is_first: bool, compare_exchange: impl FnOnce() -> bool) -> bool {
        let entering = if is_first { KEEP | key } else { key };
        let is_counted = self.change(entering, compare_exchange);
        let counted = if is_counted { KEEP | key } else { 0 };
        let state = if entering == counted {
            self.state.load(Ordering::Relaxed)
        } else {
            self.replace(entering, counted)
        };
        state & KEEP != 0
    }

    /// Ends the count of the thread, which is counted, by `compare_exchange`. Returns whether that has succeeded. If
    /// not, the word may not count the thread any more nevertheless (`is_counted`), and the thread has to count itself
    /// again.
    #[inline(always)]
    pub(crate) fn leave(&self, compare_exchange: impl FnOnce() -> bool) -> bool {
        let key = self.state.load(Ordering::Relaxed) & !(KEEP | DECIDED);
        let has_left = self.change(key, compare_exchange);
        if !has_left {
            self.replace(key, KEEP | key);
        }
        has_left
    }

    /// Stores the state, and then changes the word.
    #[inline(always)]
    fn change(&self, state: u64, compare_exchange: impl FnOnce() -> bool) -> bool {
        self.state.store(state, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        let is_changed = compare_exchange();
        compiler_fence(Ordering::SeqCst);
        is_changed
    }

    /// Changes the state, unless a fork has changed it. Returns the state that results.
    fn replace(&self, from: u64, to: u64) -> u64 {
        self.state.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).err().unwrap_or(to)
    }
}
