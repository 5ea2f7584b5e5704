//! The mutex around the library's own data.
//!
//! # State
//!
//! One word holds the fork epoch (30 bits) above one of these states:
//!
//! | state | meaning | exact? | who changes it, and with which ordering |
//! |---|---|---|---|
//! | `UNLOCKED` | no thread holds the mutex | exact | a thread that locks it: to `LOCKED`, or to `CONTENDED` if it has stopped spinning; acquire |
//! | `LOCKED` | a thread holds the mutex. No waiter is parked, or another one has been woken and will set `CONTENDED` | exact | the owner: to `UNLOCKED`, release; to `FORKING` before a fork, release. A waiter, before it parks: to `CONTENDED`, relaxed |
//! | `CONTENDED` | a thread holds the mutex, and waiters may be parked | may be stale: there need not be a waiter | the owner: to `UNLOCKED`, release, and wakes one waiter; to `FORKING` before a fork, release, and wakes all |
//! | `FORKING` | a forking thread holds the mutex; `FORK_WAITERS` counts the waiters that park in this state | exact | the forking thread: to `UNLOCKED`, release, and wakes all if `FORK_WAITERS` is not 0. A waiter, after `FORK_LOCK_TIMEOUT_NS`: to `CONTENDED`, acquire |
//! | any, with another epoch | the parent process wrote the word: the mutex is unlocked | exact | the first thread that locks it: to `LOCKED` or `CONTENDED` with this epoch, acquire; it then resets the data (`ForkReset`). `reinit_in_child`: to `UNLOCKED` with this epoch, release |
//!
//! # Fork
//!
//! Data that the child needs is locked across the fork ([`ForkLock`]): `lock_for_fork` before it, `unlock_after_fork`
//! in the parent, `reinit_in_child` in the child. All other data is reset in the child by the first thread that locks
//! the mutex.
//!
//! Between `lock_for_fork` and the fork itself, fork handlers of the program may run, and may wait for another thread
//! that needs this mutex. To avoid that deadlock, the other thread takes the mutex over after `FORK_LOCK_TIMEOUT_NS`.
//! If the fork interrupts such a thread, the child finds `LOCKED` or `CONTENDED` and resets the data
//! (`reset_interrupted_change`).
//!
//! # Mutexes in slots
//!
//! A slot is reused without reinitializing its mutex, so that a thread that is still in `lock` with a stale handle
//! locks a valid mutex, and then finds that its object is gone. When no slot of a block can be used again, the block's
//! memory is returned to the system, and the word reads as 0. Threads that lock the mutex after that find no object and
//! access no data, so that mutual exclusion no longer matters, but waiters that had set `CONTENDED` must still be
//! woken. Therefore an owner that finds `UNLOCKED` when it unlocks wakes all waiters.

use crate::sys::atomic::{AtomicU32, Ordering, fence};
use crate::sys::futex;
use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};

use crate::sync::fork_epoch::fork_epoch;
use crate::sync::fork_lock::ForkLock;
use crate::sync::spin_wait::SpinWait;
use crate::time::Deadline;

const UNLOCKED: u32 = 0;
const LOCKED: u32 = 1;
const CONTENDED: u32 = 2;
const FORKING: u32 = 3;
pub(crate) const STATE_BITS: u32 = 2;
const STATE_MASK: u32 = (1 << STATE_BITS) - 1;

/// How long a thread waits for a mutex in `FORKING` before it takes it over, in nanoseconds.
const FORK_LOCK_TIMEOUT_NS: u64 = 100_000_000;

/// The number of threads that are parked, or about to park, on mutexes in `FORKING`.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static FORK_WAITERS: AtomicU32 = AtomicU32::new(0);

/// Called in a child of fork, which has none of the parent's waiters.
pub(crate) fn after_fork_in_child() {
    FORK_WAITERS.store(0, Ordering::Relaxed);
}

/// Data that refers to threads, of which a child of fork has only one.
pub(crate) trait ForkReset {
    /// Whether threads may lock the mutex in quick succession, each for a few dozen nanoseconds: see
    /// `SpinWait::for_busy_mutex`.
    const IS_BUSY: bool = false;

    /// Discards what belongs to the parent's threads, such as waiters. Called by the first thread of the child that
    /// locks the mutex.
    fn reset_in_child(&mut self);

    /// As `reset_in_child`, for data that a thread of the parent was changing at the time of the fork.
    fn reset_interrupted_change(&mut self) {
        self.reset_in_child();
    }
}

impl ForkReset for () {
    fn reset_in_child(&mut self) {}
}

/// A mutex and the data that it protects. A zeroed word is a valid initial state.
pub(crate) struct InternalMutex<T> {
    word: AtomicU32,
    data: UnsafeCell<T>,
}

#[cfg(all(target_os = "linux", not(model)))]
impl<T> InternalMutex<T> {
    /// For programs that read this process from outside.
    #[cfg_attr(
        any(target_arch = "powerpc", target_arch = "powerpc64"),
        expect(dead_code, reason = "no layout note")
    )]
    pub(crate) const WORD_OFFSET: usize = core::mem::offset_of!(Self, word);
    pub(crate) const DATA_OFFSET: usize = core::mem::offset_of!(Self, data);
}

// SAFETY: the data is accessed only through an `InternalMutexGuard`, of which there is one at a time.
unsafe impl<T: Send> Sync for InternalMutex<T> {}

impl<T: ForkReset> InternalMutex<T> {
    pub(crate) const fn new(data: T) -> Self {
        InternalMutex { word: AtomicU32::new(UNLOCKED), data: UnsafeCell::new(data) }
    }

    /// Locks the mutex. Owners hold it for short, bounded work: no callbacks, no unbounded waits.
    #[inline]
    #[cfg_attr(fault, track_caller)]
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
        #[cfg(fault)]
        crate::panic_boundary::fault::set_locked_type(core::any::type_name::<T>());
        crate::panic_boundary::inject(crate::panic_boundary::FaultPoint::Locked);
        guard
    }

    /// Locks the mutex if no thread of this process holds it.
    pub(crate) fn try_lock(&self) -> Option<InternalMutexGuard<'_, T>> {
        let unlocked = fork_epoch() << STATE_BITS;
        let word = self.word.load(Ordering::Relaxed);
        let is_from_parent = word >> STATE_BITS != unlocked >> STATE_BITS;
        if word != unlocked && !is_from_parent {
            return None;
        }
        self.word.compare_exchange(word, unlocked | LOCKED, Ordering::Acquire, Ordering::Relaxed).ok()?;
        if is_from_parent {
            // SAFETY: the calling thread has just locked the mutex.
            unsafe { self.reset_data(word & STATE_MASK) };
        }
        #[cfg(model)]
        crate::model::cell::touch(self.data.get());
        Some(InternalMutexGuard { mutex: self })
    }

    #[cold]
    fn lock_slow(&self, unlocked: u32) {
        let backoff = if T::IS_BUSY { SpinWait::for_busy_mutex() } else { SpinWait::new() };
        if let Some(parent_state) = lock_contended(&self.word, unlocked, backoff) {
            // SAFETY: the calling thread has just locked the mutex.
            unsafe { self.reset_data(parent_state) };
        }
    }

    /// Resets the data after a fork; `state` is the state that the parent left in the word.
    ///
    /// # Safety
    /// The calling thread has exclusive access to the data.
    unsafe fn reset_data(&self, state: u32) {
        // SAFETY: guaranteed by the caller.
        let data = unsafe { &mut *self.data.get() };
        if matches!(state, LOCKED | CONTENDED) {
            data.reset_interrupted_change()
        } else {
            data.reset_in_child()
        }
    }

    #[inline(always)]
    fn unlock(&self) {
        // The epoch is read again, since the mutex may have been locked before a fork and be unlocked in the child.
        let unlocked = fork_epoch() << STATE_BITS;
        let state = self.word.swap(unlocked, Ordering::Release) & STATE_MASK;
        if state != LOCKED {
            wake_waiters(&self.word, state);
        }
    }

    /// Returns a pointer to the data, for a protocol that also excludes threads by other means, such as `BiasedMutex`.
    #[inline(always)]
    pub(crate) fn data_ptr(&self) -> *mut T {
        #[cfg(model)]
        crate::model::cell::touch(self.data.get());
        self.data.get()
    }
}

impl<T: ForkReset + Send> ForkLock for InternalMutex<T> {
    fn lock_for_fork(&self) {
        core::mem::forget(self.lock());
        set_forking(&self.word);
    }

    unsafe fn unlock_after_fork(&self) {
        unlock_forking(&self.word);
    }

    unsafe fn reinit_in_child(&self) {
        let state = self.word.load(Ordering::Relaxed) & STATE_MASK;
        if matches!(state, LOCKED | CONTENDED) {
            // SAFETY: the thread that held the mutex does not exist in this process.
            unsafe { self.reset_data(state) };
        }
        self.word.store(fork_epoch() << STATE_BITS, Ordering::Release);
    }
}

// The slow paths do not depend on the type of the data, so that one copy serves all mutexes.

/// Locks a mutex that `lock` did not find unlocked. Returns the state that the parent left, if the word was of another
/// epoch.
#[inline(never)]
fn lock_contended(word: &AtomicU32, unlocked: u32, mut spin: SpinWait) -> Option<u32> {
    let mut new_state = LOCKED;
    let mut fork_deadline = None;
    loop {
        let value = word.load(Ordering::Relaxed);
        let is_from_parent = value >> STATE_BITS != unlocked >> STATE_BITS;
        let has_fork_timed_out =
            value == unlocked | FORKING && fork_deadline.is_some_and(Deadline::has_passed);
        if value == unlocked || is_from_parent || has_fork_timed_out {
            if word
                .compare_exchange(value, unlocked | new_state, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
            {
                return is_from_parent.then_some(value & STATE_MASK);
            }
        } else if !spin.spin() {
            if value == unlocked | FORKING {
                let until =
                    *fork_deadline.get_or_insert_with(|| Deadline::now().add_ns(FORK_LOCK_TIMEOUT_NS));
                wait_for_fork(word, value, until);
            } else {
                let contended = unlocked | CONTENDED;
                if value == contended
                    || word.compare_exchange(value, contended, Ordering::Relaxed, Ordering::Relaxed).is_ok()
                {
                    futex::wait(word, contended, Deadline::NEVER);
                }
            }
            // Other waiters may still be parked: `CONTENDED` makes the next unlock wake one of them.
            new_state = CONTENDED;
        }
    }
}

fn wait_for_fork(word: &AtomicU32, expected: u32, until: Deadline) {
    FORK_WAITERS.fetch_add(1, Ordering::Relaxed);
    // With the fence in `unlock_forking`: either that function sees the count, or `wait` sees the changed word.
    fence(Ordering::SeqCst);
    futex::wait(word, expected, until);
    FORK_WAITERS.fetch_sub(1, Ordering::Relaxed);
}

/// Called after an unlock; `state`, the state before it, is not `LOCKED`.
#[cold]
#[inline(never)]
fn wake_waiters(word: &AtomicU32, state: u32) {
    if state == CONTENDED {
        futex::wake_one(word);
    } else {
        futex::wake_all(word);
    }
}

/// Changes the state of a mutex that the calling thread holds to `FORKING`.
#[inline(never)]
fn set_forking(word: &AtomicU32) {
    let state = word.swap((fork_epoch() << STATE_BITS) | FORKING, Ordering::Release) & STATE_MASK;
    if state == CONTENDED {
        // The waiters see `FORKING`, count themselves in `FORK_WAITERS` and park again.
        futex::wake_all(word);
    }
}

#[inline(never)]
fn unlock_forking(word: &AtomicU32) {
    let unlocked = fork_epoch() << STATE_BITS;
    if word.compare_exchange(unlocked | FORKING, unlocked, Ordering::Release, Ordering::Relaxed).is_ok() {
        fence(Ordering::SeqCst);
        if FORK_WAITERS.load(Ordering::Relaxed) != 0 {
            futex::wake_all(word);
        }
    }
}

/// Provides access to the data, and unlocks the mutex when dropped.
pub(crate) struct InternalMutexGuard<'a, T: ForkReset> {
    mutex: &'a InternalMutex<T>,
}

impl<T: ForkReset> Deref for InternalMutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the calling thread holds the mutex as long as this guard exists.
        unsafe { &*self.mutex.data.get() }
    }
}

impl<T: ForkReset> DerefMut for InternalMutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the calling thread holds the mutex as long as this guard exists.
        unsafe { &mut *self.mutex.data.get() }
    }
}

impl<T: ForkReset> InternalMutexGuard<'_, T> {
    /// Unlocks the mutex, as a drop, but inline: for the most frequent calls.
    #[inline(always)]
    pub(crate) fn unlock(self) {
        let mutex = self.mutex;
        core::mem::forget(self);
        mutex.unlock();
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
    fn four_threads_lose_no_increment() {
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
    fn waiters_are_woken_although_the_word_was_cleared() {
        static MUTEX: InternalMutex<u64> = InternalMutex::new(0);
        let guard = MUTEX.lock();
        let waiters: Vec<_> = (0..3).map(|_| std::thread::spawn(|| drop(MUTEX.lock()))).collect();
        while MUTEX.word.load(Ordering::Relaxed) & STATE_MASK != CONTENDED {
            std::thread::yield_now();
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
        MUTEX.word.store(0, Ordering::Relaxed);
        drop(guard);
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    }

    #[test]
    fn another_thread_takes_over_a_mutex_locked_for_a_fork_after_the_timeout() {
        static LOCKED_FOR_FORK: InternalMutex<u64> = InternalMutex::new(3);
        LOCKED_FOR_FORK.lock_for_fork();
        let start = std::time::Instant::now();
        std::thread::spawn(|| *LOCKED_FOR_FORK.lock() += 1).join().unwrap();
        assert!(start.elapsed() >= std::time::Duration::from_nanos(FORK_LOCK_TIMEOUT_NS));
        // SAFETY: locked above by `lock_for_fork`.
        unsafe { LOCKED_FOR_FORK.unlock_after_fork() };
        assert_eq!(*LOCKED_FOR_FORK.lock(), 4);
    }

    #[test]
    fn unlock_after_fork_wakes_all_waiters() {
        static LOCKED_FOR_FORK: InternalMutex<u64> = InternalMutex::new(0);
        LOCKED_FOR_FORK.lock_for_fork();
        let threads: Vec<_> = (0..3).map(|_| std::thread::spawn(|| *LOCKED_FOR_FORK.lock() += 1)).collect();
        // SAFETY: locked above by `lock_for_fork`.
        unsafe { LOCKED_FOR_FORK.unlock_after_fork() };
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(*LOCKED_FOR_FORK.lock(), 3);
    }

    #[test]
    fn reinit_in_child_resets_data_only_if_a_change_was_interrupted() {
        for (state, data) in [(UNLOCKED, 5), (FORKING, 5), (LOCKED, 0), (CONTENDED, 0)] {
            let mutex =
                InternalMutex { word: AtomicU32::new((7 << STATE_BITS) | state), data: UnsafeCell::new(5) };
            // SAFETY: no other thread has access to the mutex.
            unsafe { mutex.reinit_in_child() };
            assert_eq!(*mutex.lock(), data);
        }
    }

    #[test]
    fn locking_a_mutex_of_another_epoch_resets_its_data() {
        let mutex =
            InternalMutex { word: AtomicU32::new((7 << STATE_BITS) | CONTENDED), data: UnsafeCell::new(5) };
        assert_eq!(*mutex.lock(), 0);
        *mutex.lock() = 6;
        assert_eq!(*mutex.lock(), 6);
    }
}
