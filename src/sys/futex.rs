//! Futex semantics: where threads park and are woken, except for `pthread::wait_shared`.
//!
//! `wait` blocks while a 32-bit word has an expected value. Wakers change the word, and then wake the threads that
//! wait. Wakeups may be spurious: callers check the word again in a loop.
//!
//! Two backends have the same functions: `futex_linux` (the system call) and `futex_portable` (`parking_lot_core`).

use crate::sys::atomic::{AtomicU32, AtomicU64};
#[cfg(target_os = "linux")]
use core::ffi::c_long;

use crate::sys::annotate;
#[cfg(target_os = "linux")]
use crate::sys::{self, calling_thread};
use crate::time::Deadline;

#[cfg(all(not(model), target_os = "linux", not(feature = "portable")))]
#[path = "futex_linux.rs"]
mod backend;
#[cfg(all(not(model), not(all(target_os = "linux", not(feature = "portable")))))]
#[path = "futex_portable.rs"]
mod backend;
#[cfg(model)]
use crate::model::futex as backend;

/// Blocks while `word` is `expected`, until a wake-up or the deadline. Returns false only if the deadline has passed.
#[inline(never)]
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Deadline) -> bool {
    wait_inline(word, expected, deadline)
}

/// As `wait`, for the waits that should be short. Each function on the stack of a thread that parks costs a branch
/// misprediction when it returns, since a context switch clears the processor's prediction of returns.
#[inline(always)]
pub(crate) fn wait_inline(word: &AtomicU32, expected: u32, deadline: Deadline) -> bool {
    if annotate::defers_signals() {
        return wait_polling_signals(word, expected, deadline);
    }
    backend::wait(word, expected, deadline)
}

/// As `wait`, for a tool that defers signal handlers: wakes up periodically to run them.
#[cold]
fn wait_polling_signals(word: &AtomicU32, expected: u32, deadline: Deadline) -> bool {
    const SIGNAL_POLL_NS: u64 = 100_000_000;
    let until = deadline.min(Deadline::now().add_ns(SIGNAL_POLL_NS));
    let woken = backend::wait(word, expected, until);
    annotate::deliver_signals();
    woken || until != deadline
}

/// Returns whether the system call by which a thread waits, and which has returned `result`, has ended before the
/// deadline.
#[cfg(target_os = "linux")]
#[inline(always)]
pub(super) fn is_in_time(result: c_long, deadline: Deadline) -> bool {
    // EINTR and EAGAIN count as wakeups: the caller checks the word again, and waits for the remaining time.
    result == 0
        || match sys::errno() {
            libc::ETIMEDOUT => false,
            libc::EINTR | libc::EAGAIN => true,
            _ => poll_once(deadline),
        }
}

/// The system does not permit the call, so that the caller checks the word again and again. Returns false if the
/// deadline has passed.
#[cfg(target_os = "linux")]
#[cold]
fn poll_once(deadline: Deadline) -> bool {
    calling_thread::yield_cpu();
    !deadline.has_passed()
}

/// Wakes one thread that is parked on `word`. Returns false if no thread is parked there: a thread that is about to
/// park sees the changed word, and a thread in a signal handler is not parked.
#[inline]
pub(crate) fn wake_one(word: &AtomicU32) -> bool {
    backend::wake(word, 1)
}

/// Wakes at most `count` threads that are parked on `word`.
#[inline]
pub(crate) fn wake(word: &AtomicU32, count: u32) {
    backend::wake(word, count);
}

/// Wakes all threads that are parked on `word`. Returns whether any was parked.
#[inline]
pub(crate) fn wake_all(word: &AtomicU32) -> bool {
    backend::wake(word, i32::MAX as u32)
}

/// The halves of a 64-bit word, as futex words.
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
    // SAFETY: an aligned half of the word. It is only compared, by threads that park; all changes are made to the whole
    // word.
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
        let waiter = std::thread::spawn(|| {
            while WORD.load(SeqCst) == 0 {
                wait(&WORD, 0, Deadline::NEVER);
            }
        });
        WORD.store(1, SeqCst);
        wake_all(&WORD);
        waiter.join().unwrap();
    }
}
