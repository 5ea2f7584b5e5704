//! The library's own small lock, around the data it guards.
//!
//! # State
//!
//! One word: the epoch of the last fork (30 bits) above one of
//!
//! | state | meaning | who changes it, with which ordering |
//! |---|---|---|
//! | `UNLOCKED` | nobody holds it | `lock`: to `LOCKED`, acquire |
//! | `LOCKED` | somebody holds it, nobody sleeps | the owner: to `UNLOCKED`, release; for a fork to `FORKING`, release. A waiter: to `CONTENDED`, acquire |
//! | `CONTENDED` | somebody holds it, others may sleep | the owner: to `UNLOCKED`, release, and wakes one |
//! | `FORKING` | a thread that forks holds it, others may sleep | that thread: to `UNLOCKED`, release, and wakes all if `FORK_WAITERS` counts any. A waiter, after `FORK_LOCK_TIMEOUT_NS`: to `CONTENDED`, acquire |
//!
//! A word of another epoch, in whatever state, was left by the parent of this process: it counts as free, and
//! whoever takes it first lets the data forget the parent's waiters. Data that must outlive a fork is held
//! across it (`hold` and `let_go`), and the child renews the word (`reinit_in_child`).
//!
//! Between `hold` and the fork itself, fork handlers of the program may run, which may wait for a thread that needs
//! this lock. So that thread takes the lock after a while, as if it were free. If it is in the middle of a change
//! when the fork comes, the child finds `LOCKED` or `CONTENDED`, and resets the data (`forget`).
//!
//! A slot that is used again keeps its guard, so that a thread with a stale handle that still stands here finds the
//! guard in order, and then the object gone. But once no slot of a block can be used again, its memory goes back to
//! the system, and the word is 0. Who stands here then finds no object, and touches no data, also if two do so at
//! once; but the sign of those who sleep is lost. So whoever gives the lock back and finds it free wakes all: of those
//! who have come before and after, the last one does.

use crate::sys::atomic::{AtomicU32, Ordering, fence};
use crate::sys::futex;
use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};

use crate::sync::fork_epoch::fork_epoch;
use crate::sync::spin_wait::SpinWait;
use crate::time::Deadline;

const UNLOCKED: u32 = 0;
const LOCKED: u32 = 1;
const CONTENDED: u32 = 2;
const FORKING: u32 = 3;
const STATE_BITS: u32 = 2;
const STATE_MASK: u32 = (1 << STATE_BITS) - 1;

/// How long a thread waits for a lock that is held for a fork, in nanoseconds.
const FORK_LOCK_TIMEOUT_NS: u64 = 100_000_000;

/// How many threads sleep on locks that are held for a fork.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static FORK_WAITERS: AtomicU32 = AtomicU32::new(0);

/// In a child of fork: none of them is there.
pub(crate) fn after_fork_in_child() {
    FORK_WAITERS.store(0, Ordering::Relaxed);
}

/// Data that has to forget threads which a fork has left behind.
pub(crate) trait ForkReset {
    /// Forgets the waiters of the parent process. Data that is held across forks is reset: a thread that the child
    /// does not have was changing it.
    fn reset_in_child(&mut self);

    /// As `forget`, where such a thread was in the middle of a change.
    fn reset_interrupted_change(&mut self) {
        self.reset_in_child();
    }
}

impl ForkReset for () {
    fn reset_in_child(&mut self) {}
}

/// Data behind the small lock. Zero is a valid initial word.
pub(crate) struct InternalMutex<T> {
    word: AtomicU32,
    data: UnsafeCell<T>,
}

// SAFETY: the data is reached through a `InternalMutexGuard` only, of which there is one at a time.
unsafe impl<T: Send> Sync for InternalMutex<T> {}

impl<T: ForkReset> InternalMutex<T> {
    pub(crate) const fn new(data: T) -> Self {
        InternalMutex { word: AtomicU32::new(UNLOCKED), data: UnsafeCell::new(data) }
    }

    /// Takes the lock. Held for a moment only, never while a callback or a wait without a bound runs.
    #[inline]
    pub(crate) fn lock(&self) -> InternalMutexGuard<'_, T> {
        let unlocked = fork_epoch() << STATE_BITS;
        if self
            .word
            .compare_exchange(unlocked, unlocked | LOCKED, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            self.lock_slow(unlocked);
        }
        #[cfg(model)]
        crate::model::cell::touch(self.data.get());
        let guard = InternalMutexGuard { mutex: self };
        crate::panic_boundary::inject(crate::panic_boundary::FaultPoint::Locked);
        guard
    }

    #[cold]
    fn lock_slow(&self, unlocked: u32) {
        if let Some(parent_state) = lock_contended(&self.word, unlocked) {
            // SAFETY: this thread has just taken the lock.
            unsafe { self.reset_data(parent_state) };
        }
    }

    /// # Safety
    /// The calling thread alone has the data, as a thread of the parent left it in this state.
    unsafe fn reset_data(&self, state: u32) {
        // SAFETY: the caller's promise.
        let data = unsafe { &mut *self.data.get() };
        if matches!(state, LOCKED | CONTENDED) {
            data.reset_interrupted_change()
        } else {
            data.reset_in_child()
        }
    }

    #[inline]
    fn unlock(&self) {
        // The epoch is read anew: the lock may have been taken before a fork and given back in the child.
        let unlocked = fork_epoch() << STATE_BITS;
        let state = self.word.swap(unlocked, Ordering::Release) & STATE_MASK;
        if state != LOCKED {
            wake_waiters(&self.word, state);
        }
    }

    /// Takes the lock across a fork. `let_go` releases it in the parent, `reinit_in_child` in the child.
    pub(crate) fn lock_for_fork(&self) {
        core::mem::forget(self.lock());
        set_forking(&self.word);
    }

    /// Releases what `hold` took, unless another thread has taken it.
    ///
    /// # Safety
    /// The calling thread has called `hold`.
    pub(crate) unsafe fn unlock_after_fork(&self) {
        unlock_forking(&self.word);
    }

    /// In a child of fork: the lock is free, and the data is what it was at the fork.
    ///
    /// # Safety
    /// The calling thread is the only one of the process, and does not hold the lock otherwise than by `hold`.
    pub(crate) unsafe fn reinit_in_child(&self) {
        let state = self.word.load(Ordering::Relaxed) & STATE_MASK;
        if matches!(state, LOCKED | CONTENDED) {
            // SAFETY: the thread that held the lock is not in this process.
            unsafe { self.reset_data(state) };
        }
        self.word.store(fork_epoch() << STATE_BITS, Ordering::Release);
    }
}

// What does not depend on the data, once for all of them.

/// Takes a lock that is not free. The state in which a thread of a parent process left it, if one did.
#[inline(never)]
fn lock_contended(lock: &AtomicU32, unlocked: u32) -> Option<u32> {
    let mut spin = SpinWait::new();
    let mut new_state = LOCKED;
    let mut fork_deadline = None;
    loop {
        let word = lock.load(Ordering::Relaxed);
        let is_from_parent = word >> STATE_BITS != unlocked >> STATE_BITS;
        let has_fork_timed_out =
            word == unlocked | FORKING && fork_deadline.is_some_and(Deadline::has_passed);
        if word == unlocked || is_from_parent || has_fork_timed_out {
            if lock.compare_exchange(word, unlocked | new_state, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                return is_from_parent.then_some(word & STATE_MASK);
            }
        } else if !spin.spin() {
            if word == unlocked | FORKING {
                let until =
                    *fork_deadline.get_or_insert_with(|| Deadline::now().add_ns(FORK_LOCK_TIMEOUT_NS));
                wait_for_fork(lock, word, until);
            } else {
                let contended = unlocked | CONTENDED;
                if word == contended
                    || lock.compare_exchange(word, contended, Ordering::Relaxed, Ordering::Relaxed).is_ok()
                {
                    futex::wait(lock, contended, Deadline::NEVER);
                }
            }
            // Others may sleep still: a thread that has slept leaves the sign that wakes them.
            new_state = CONTENDED;
        }
    }
}

fn wait_for_fork(lock: &AtomicU32, expected: u32, until: Deadline) {
    FORK_WAITERS.fetch_add(1, Ordering::Relaxed);
    // Either `let_go` sees the count, or this thread that the lock is free.
    fence(Ordering::SeqCst);
    futex::wait(lock, expected, until);
    FORK_WAITERS.fetch_sub(1, Ordering::Relaxed);
}

/// After a release of a lock in this state, which is not `LOCKED`.
#[cold]
#[inline(never)]
fn wake_waiters(lock: &AtomicU32, state: u32) {
    if state == CONTENDED {
        futex::wake_one(lock);
    } else {
        futex::wake_all(lock);
    }
}

/// From now on, the lock that the calling thread has taken is held for a fork.
#[inline(never)]
fn set_forking(lock: &AtomicU32) {
    let state = lock.swap((fork_epoch() << STATE_BITS) | FORKING, Ordering::Release) & STATE_MASK;
    if state == CONTENDED {
        // They sleep again, and are counted.
        futex::wake_all(lock);
    }
}

#[inline(never)]
fn unlock_forking(lock: &AtomicU32) {
    let unlocked = fork_epoch() << STATE_BITS;
    if lock.compare_exchange(unlocked | FORKING, unlocked, Ordering::Release, Ordering::Relaxed).is_ok() {
        fence(Ordering::SeqCst);
        if FORK_WAITERS.load(Ordering::Relaxed) != 0 {
            futex::wake_all(lock);
        }
    }
}

/// The right to use the data; gives the lock back when dropped.
pub(crate) struct InternalMutexGuard<'a, T: ForkReset> {
    mutex: &'a InternalMutex<T>,
}

impl<T: ForkReset> Deref for InternalMutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the lock is held as long as this guard lives.
        unsafe { &*self.mutex.data.get() }
    }
}

impl<T: ForkReset> DerefMut for InternalMutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held as long as this guard lives.
        unsafe { &mut *self.mutex.data.get() }
    }
}

impl<T: ForkReset> Drop for InternalMutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.mutex.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl ForkReset for u64 {
        fn reset_in_child(&mut self) {
            *self = 0;
        }
    }

    #[test]
    fn no_increment_is_lost() {
        static COUNT: InternalMutex<u64> = InternalMutex::new(0);
        let threads: Vec<_> = (0..4)
            .map(|_| {
                std::thread::spawn(|| {
                    for _ in 0..20_000 {
                        *COUNT.lock() += 1;
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(*COUNT.lock(), 80_000);
    }

    #[test]
    fn waiters_return_although_the_memory_was_returned_to_the_system() {
        static MUTEX: InternalMutex<u64> = InternalMutex::new(0);
        let guard = MUTEX.lock();
        let sleepers: Vec<_> = (0..3).map(|_| std::thread::spawn(|| drop(MUTEX.lock()))).collect();
        while MUTEX.word.load(Ordering::Relaxed) & STATE_MASK != CONTENDED {
            std::thread::yield_now();
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
        MUTEX.word.store(0, Ordering::Relaxed);
        drop(guard);
        sleepers.into_iter().for_each(|sleeper| sleeper.join().unwrap());
    }

    #[test]
    fn a_mutex_locked_for_a_fork_can_be_locked_after_the_timeout() {
        static LOCKED_FOR_FORK: InternalMutex<u64> = InternalMutex::new(3);
        LOCKED_FOR_FORK.lock_for_fork();
        let start = std::time::Instant::now();
        std::thread::spawn(|| *LOCKED_FOR_FORK.lock() += 1).join().unwrap();
        assert!(start.elapsed() >= std::time::Duration::from_nanos(FORK_LOCK_TIMEOUT_NS));
        // SAFETY: held above.
        unsafe { LOCKED_FOR_FORK.unlock_after_fork() };
        assert_eq!(*LOCKED_FOR_FORK.lock(), 4);
    }

    #[test]
    fn unlock_after_fork_wakes_all_waiters() {
        static LOCKED_FOR_FORK: InternalMutex<u64> = InternalMutex::new(0);
        LOCKED_FOR_FORK.lock_for_fork();
        let threads: Vec<_> = (0..3).map(|_| std::thread::spawn(|| *LOCKED_FOR_FORK.lock() += 1)).collect();
        // SAFETY: held above.
        unsafe { LOCKED_FOR_FORK.unlock_after_fork() };
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(*LOCKED_FOR_FORK.lock(), 3);
    }

    #[test]
    fn a_child_resets_only_data_that_a_thread_was_changing() {
        for (state, data) in [(UNLOCKED, 5), (FORKING, 5), (LOCKED, 0), (CONTENDED, 0)] {
            let mutex =
                InternalMutex { word: AtomicU32::new((7 << STATE_BITS) | state), data: UnsafeCell::new(5) };
            // SAFETY: no other thread knows the lock.
            unsafe { mutex.reinit_in_child() };
            assert_eq!(*mutex.lock(), data);
        }
    }

    #[test]
    fn a_mutex_of_another_epoch_is_unlocked_and_its_data_reset() {
        let mutex =
            InternalMutex { word: AtomicU32::new((7 << STATE_BITS) | CONTENDED), data: UnsafeCell::new(5) };
        assert_eq!(*mutex.lock(), 0);
        *mutex.lock() = 6;
        assert_eq!(*mutex.lock(), 6);
    }
}
