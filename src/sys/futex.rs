//! The only place that sleeps and wakes.
//!
//! A thread waits on a 32-bit word as long as it holds an expected value; another changes the word and wakes
//! those who wait. Waits may end early for no reason, so every caller looks at its word again.
//!
//! Two backends have the same functions: `futex_linux` (the system call) and `futex_portable` (`parking_lot_core`).

use crate::sys::atomic::{AtomicU32, AtomicU64};

use crate::sys::annotate;
use crate::time::Deadline;

#[cfg(all(not(model), target_os = "linux", not(feature = "portable")))]
#[path = "futex_linux.rs"]
mod backend;
#[cfg(all(not(model), not(all(target_os = "linux", not(feature = "portable")))))]
#[path = "futex_portable.rs"]
mod backend;
#[cfg(model)]
use crate::model::futex as backend;

/// Sleeps as long as `word` is `expected`, until woken or until the deadline. False only if the time ran out.
#[inline]
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Deadline) -> bool {
    if annotate::defers_signals() {
        return wait_polling_signals(word, expected, deadline);
    }
    backend::wait(word, expected, deadline)
}

/// As `wait`, where signals are handled between two slices only.
#[cold]
fn wait_polling_signals(word: &AtomicU32, expected: u32, deadline: Deadline) -> bool {
    const SIGNAL_POLL_NS: u64 = 100_000_000;
    let until = deadline.min(Deadline::now().add_ns(SIGNAL_POLL_NS));
    let woken = backend::wait(word, expected, until);
    annotate::deliver_signals();
    woken || until != deadline
}

/// Wakes one thread that sleeps on `word`. False if none sleeps there: a thread that is about to sleep sees that the
/// word has changed, and one that runs a signal handler does not sleep.
#[inline]
pub(crate) fn wake_one(word: &AtomicU32) -> bool {
    backend::wake(word, 1)
}

/// Wakes at most `count` threads that sleep on `word`.
#[inline]
pub(crate) fn wake(word: &AtomicU32, count: u32) {
    backend::wake(word, count);
}

/// Wakes all threads that sleep on `word`.
#[inline]
pub(crate) fn wake_all(word: &AtomicU32) {
    backend::wake(word, i32::MAX as u32);
}

/// The halves of a 64-bit word, to sleep on.
pub(crate) trait Halves {
    fn lower(&self) -> &AtomicU32;
    fn upper(&self) -> &AtomicU32;
}

impl Halves for AtomicU64 {
    #[inline]
    fn lower(&self) -> &AtomicU32 {
        half(self, cfg!(target_endian = "big").into())
    }

    #[inline]
    fn upper(&self) -> &AtomicU32 {
        half(self, cfg!(target_endian = "little").into())
    }
}

fn half(word: &AtomicU64, index: usize) -> &AtomicU32 {
    // SAFETY: inside of the word, and aligned. The half is only compared by the one who goes to sleep; all
    // changes are made to the whole.
    unsafe { &*word.as_ptr().cast::<AtomicU32>().add(index) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::atomic::Ordering::SeqCst;

    #[test]
    fn wait_returns_immediately_if_the_word_has_changed() {
        assert!(wait(&AtomicU32::new(1), 0, Deadline::NEVER));
    }

    #[test]
    fn wait_times_out_at_the_deadline_and_not_before() {
        let word = AtomicU32::new(0);
        let deadline = Deadline::now().add_ns(20_000_000);
        while wait(&word, 0, deadline) {}
        assert!(Deadline::now() >= deadline);
    }

    #[test]
    fn wake_all_wakes_a_waiting_thread() {
        static WORD: AtomicU32 = AtomicU32::new(0);
        let sleeper = std::thread::spawn(|| {
            while WORD.load(SeqCst) == 0 {
                wait(&WORD, 0, Deadline::NEVER);
            }
        });
        WORD.store(1, SeqCst);
        wake_all(&WORD);
        sleeper.join().unwrap();
    }
}
