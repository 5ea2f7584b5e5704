//! The futex words on which condition waiters park together, so that one system call wakes all of them after a notify.
//!
//! A thread that parks on its own record needs a wake-up of its own. If one thread after the other is woken, each of
//! them may run before its waker has gone on, and then takes the CPU away from it.
//!
//! The words are not in the lock or in the condition: the address of a lock chooses one of them. So a thread may be
//! woken because of another condition, with the same lock or the same word. It then parks again, on its own record.
//!
//! | change | who | ordering |
//! |---|---|---|
//! | + 1 | a thread that has changed the state of waiters, or how they are to park, before it wakes all threads that park on the word | release |
//! | + 1 | a child of fork, whose thread may have forked in a signal handler while it was parked on the word: it would park again, although its state has become `FORKED`, or another thread of the parent had ended its wait and was about to increment the word | relaxed |
//!
//! A thread reads the word with acquire before it reads its state, and parks only while the word has not changed since.
//! It misses a wake-up only if 2^32 increments happen in between.

use crate::sync::adaptive_spin::AdaptiveSpin;
use crate::sys::atomic::{AtomicU32, Ordering};
use crate::sys::futex;

/// log2 of the number of words.
const BITS: u32 = if cfg!(model) { 0 } else { 6 };

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static WORDS: [AtomicU32; 1 << BITS] = [const { AtomicU32::new(0) }; 1 << BITS];

/// A word on which threads park together.
#[derive(Clone, Copy)]
pub(crate) struct BroadcastWord(&'static AtomicU32);

impl BroadcastWord {
    /// The word for the waiters of conditions whose lock has this `AdaptiveSpin`.
    pub(crate) fn of(adaptive_spin: &AdaptiveSpin) -> BroadcastWord {
        const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
        let hash = (core::ptr::from_ref(adaptive_spin) as u64).wrapping_mul(MULTIPLIER);
        BroadcastWord(&WORDS[(hash >> 32) as usize % WORDS.len()])
    }

    /// Returns the value that the word has until the next wake-up.
    #[inline(always)]
    pub(super) fn value(self) -> u32 {
        self.0.load(Ordering::Acquire)
    }

    #[inline(always)]
    pub(super) fn futex(self) -> &'static AtomicU32 {
        self.0
    }

    /// Wakes all threads that are parked on the word.
    pub(super) fn wake_all(self) {
        self.0.fetch_add(1, Ordering::Release);
        futex::wake_all(self.0);
    }
}

/// Wakes all threads that are parked on any of the words, and those that are about to park, although their waits have
/// not ended: each then parks on its own record.
pub(crate) fn wake_spuriously() {
    WORDS.iter().for_each(|word| BroadcastWord(word).wake_all());
}

/// In a child of fork: the calling thread, which may have forked while it was parked on one of the words, or about to
/// park, parks there no more.
pub(super) fn after_fork_in_child() {
    WORDS.iter().for_each(|word| {
        word.fetch_add(1, Ordering::Relaxed);
    });
}

/// Resets the words before each run of a model.
#[cfg(model)]
pub(crate) fn reset() {
    WORDS.iter().for_each(|word| word.store(0, Ordering::Relaxed));
}

#[cfg(all(test, target_os = "linux", not(model)))]
mod tests {
    use super::*;

    /// The thread that forks may have any state: another one may have ended its wait, without having incremented the word.
    #[test]
    fn the_words_change_in_each_child_of_fork() {
        let values = || WORDS.each_ref().map(|word| word.load(Ordering::Relaxed));
        let before = values();
        // SAFETY: the child only reads the words and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let all_changed = values().iter().zip(before).all(|(&value, before)| value != before);
            // SAFETY: ends the child.
            unsafe { libc::_exit(i32::from(!all_changed)) };
        }
        let mut status = 0;
        // SAFETY: `status` is valid for writes.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0);
    }
}
