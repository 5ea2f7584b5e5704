//! The library's own small lock, around the data it guards.
//!
//! # State
//!
//! One word: the epoch of the last fork (30 bits) above one of
//!
//! | state | meaning | who changes it, with which ordering |
//! |---|---|---|
//! | `FREE` | nobody holds it | `lock`: to `HELD`, acquire |
//! | `HELD` | somebody holds it, nobody sleeps | the holder: to `FREE`, release; for a fork to `FORKING`, release. A waiter: to `SLEEPERS`, acquire |
//! | `SLEEPERS` | somebody holds it, others may sleep | the holder: to `FREE`, release, and wakes one |
//! | `FORKING` | a thread that forks holds it, others may sleep | that thread: to `FREE`, release, and wakes all if `SLEEPING` counts any. A waiter, after `LONGEST_HOLD`: to `SLEEPERS`, acquire |
//!
//! A word of another epoch, in whatever state, was left by the parent of this process: it counts as free, and
//! whoever takes it first lets the data forget the parent's waiters. Data that must outlive a fork is held
//! across it (`hold` and `let_go`), and the child renews the word (`renew`).
//!
//! Between `hold` and the fork itself, fork handlers of the program may run, which may wait for a thread that needs
//! this lock. So that thread takes the lock after a while, as if it were free. If it is in the middle of a change
//! when the fork comes, the child finds `HELD` or `SLEEPERS`, and resets the data (`forget`).
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

use crate::sync::fork_epoch::epoch;
use crate::sync::spin_wait::Spin;
use crate::time::Deadline;

const FREE: u32 = 0;
const HELD: u32 = 1;
const SLEEPERS: u32 = 2;
const FORKING: u32 = 3;
const STATE_BITS: u32 = 2;
const STATE: u32 = (1 << STATE_BITS) - 1;

/// How long a thread waits for a lock that is held for a fork, in nanoseconds.
const LONGEST_HOLD: u64 = 100_000_000;

/// How many threads sleep on locks that are held for a fork.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_own"))]
static SLEEPING: AtomicU32 = AtomicU32::new(0);

/// In a child of fork: none of them is there.
pub(crate) fn begin_child() {
    SLEEPING.store(0, Ordering::Relaxed);
}

/// Data that has to forget threads which a fork has left behind.
pub(crate) trait Forget {
    /// Forgets the waiters of the parent process. Data that is held across forks is reset: a thread that the child
    /// does not have was changing it.
    fn forget(&mut self);

    /// As `forget`, where such a thread was in the middle of a change.
    fn forget_change(&mut self) {
        self.forget();
    }
}

impl Forget for () {
    fn forget(&mut self) {}
}

/// Data behind the small lock. Zero is a valid initial word.
pub(crate) struct Guarded<T> {
    word: AtomicU32,
    data: UnsafeCell<T>,
}

// SAFETY: the data is reached through a `Guard` only, of which there is one at a time.
unsafe impl<T: Send> Sync for Guarded<T> {}

impl<T: Forget> Guarded<T> {
    pub(crate) const fn new(data: T) -> Self {
        Guarded { word: AtomicU32::new(FREE), data: UnsafeCell::new(data) }
    }

    /// Takes the lock. Held for a moment only, never while a callback or a wait without a bound runs.
    #[inline]
    pub(crate) fn lock(&self) -> Guard<'_, T> {
        let free = epoch() << STATE_BITS;
        if self.word.compare_exchange(free, free | HELD, Ordering::Acquire, Ordering::Relaxed).is_err() {
            self.lock_slow(free);
        }
        #[cfg(model)]
        crate::model::cell::touch(self.data.get());
        let guard = Guard { guarded: self };
        crate::panic_boundary::inject(crate::panic_boundary::Place::Locked);
        guard
    }

    #[cold]
    fn lock_slow(&self, free: u32) {
        if let Some(left) = lock_word(&self.word, free) {
            // SAFETY: this thread has just taken the lock.
            unsafe { self.forget(left) };
        }
    }

    /// # Safety
    /// The calling thread alone has the data, as a thread of the parent left it in this state.
    unsafe fn forget(&self, state: u32) {
        // SAFETY: the caller's promise.
        let data = unsafe { &mut *self.data.get() };
        if matches!(state, HELD | SLEEPERS) { data.forget_change() } else { data.forget() }
    }

    #[inline]
    fn unlock(&self) {
        // The epoch is read anew: the lock may have been taken before a fork and given back in the child.
        let free = epoch() << STATE_BITS;
        let state = self.word.swap(free, Ordering::Release) & STATE;
        if state != HELD {
            wake_word(&self.word, state);
        }
    }

    /// Takes the lock across a fork. `let_go` releases it in the parent, `renew` in the child.
    pub(crate) fn hold(&self) {
        core::mem::forget(self.lock());
        hold_word(&self.word);
    }

    /// Releases what `hold` took, unless another thread has taken it.
    ///
    /// # Safety
    /// The calling thread has called `hold`.
    pub(crate) unsafe fn let_go(&self) {
        release_held_word(&self.word);
    }

    /// In a child of fork: the lock is free, and the data is what it was at the fork.
    ///
    /// # Safety
    /// The calling thread is the only one of the process, and does not hold the lock otherwise than by `hold`.
    pub(crate) unsafe fn renew(&self) {
        let state = self.word.load(Ordering::Relaxed) & STATE;
        if matches!(state, HELD | SLEEPERS) {
            // SAFETY: the thread that held the lock is not in this process.
            unsafe { self.forget(state) };
        }
        self.word.store(epoch() << STATE_BITS, Ordering::Release);
    }
}

// What does not depend on the data, once for all of them.

/// Takes a lock that is not free. The state in which a thread of a parent process left it, if one did.
#[inline(never)]
fn lock_word(lock: &AtomicU32, free: u32) -> Option<u32> {
    let mut spin = Spin::new();
    let mut taken = HELD;
    let mut end_of_hold = None;
    loop {
        let word = lock.load(Ordering::Relaxed);
        let is_left_behind = word >> STATE_BITS != free >> STATE_BITS;
        let is_held_too_long = word == free | FORKING && end_of_hold.is_some_and(Deadline::has_passed);
        if word == free || is_left_behind || is_held_too_long {
            if lock.compare_exchange(word, free | taken, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                return is_left_behind.then_some(word & STATE);
            }
        } else if !spin.again() {
            if word == free | FORKING {
                let until = *end_of_hold.get_or_insert_with(|| Deadline::now().after(LONGEST_HOLD));
                wait_for_fork(lock, word, until);
            } else {
                let sleepers = free | SLEEPERS;
                if word == sleepers
                    || lock.compare_exchange(word, sleepers, Ordering::Relaxed, Ordering::Relaxed).is_ok()
                {
                    futex::wait(lock, sleepers, Deadline::NEVER);
                }
            }
            // Others may sleep still: a thread that has slept leaves the sign that wakes them.
            taken = SLEEPERS;
        }
    }
}

fn wait_for_fork(lock: &AtomicU32, held: u32, until: Deadline) {
    SLEEPING.fetch_add(1, Ordering::Relaxed);
    // Either `let_go` sees the count, or this thread that the lock is free.
    fence(Ordering::SeqCst);
    futex::wait(lock, held, until);
    SLEEPING.fetch_sub(1, Ordering::Relaxed);
}

/// After a release of a lock in this state, which is not `HELD`.
#[cold]
#[inline(never)]
fn wake_word(lock: &AtomicU32, state: u32) {
    if state == SLEEPERS {
        futex::wake_one(lock);
    } else {
        futex::wake_all(lock);
    }
}

/// From now on, the lock that the calling thread has taken is held for a fork.
#[inline(never)]
fn hold_word(lock: &AtomicU32) {
    let state = lock.swap((epoch() << STATE_BITS) | FORKING, Ordering::Release) & STATE;
    if state == SLEEPERS {
        // They sleep again, and are counted.
        futex::wake_all(lock);
    }
}

#[inline(never)]
fn release_held_word(lock: &AtomicU32) {
    let free = epoch() << STATE_BITS;
    if lock.compare_exchange(free | FORKING, free, Ordering::Release, Ordering::Relaxed).is_ok() {
        fence(Ordering::SeqCst);
        if SLEEPING.load(Ordering::Relaxed) != 0 {
            futex::wake_all(lock);
        }
    }
}

/// The right to use the data; gives the lock back when dropped.
pub(crate) struct Guard<'a, T: Forget> {
    guarded: &'a Guarded<T>,
}

impl<T: Forget> Deref for Guard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the lock is held as long as this guard lives.
        unsafe { &*self.guarded.data.get() }
    }
}

impl<T: Forget> DerefMut for Guard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held as long as this guard lives.
        unsafe { &mut *self.guarded.data.get() }
    }
}

impl<T: Forget> Drop for Guard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.guarded.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Forget for u64 {
        fn forget(&mut self) {
            *self = 0;
        }
    }

    #[test]
    fn no_increment_is_lost() {
        static COUNT: Guarded<u64> = Guarded::new(0);
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
    fn who_sleeps_goes_on_though_the_memory_has_gone_back_to_the_system() {
        static GONE: Guarded<u64> = Guarded::new(0);
        let held = GONE.lock();
        let sleepers: Vec<_> = (0..3).map(|_| std::thread::spawn(|| drop(GONE.lock()))).collect();
        while GONE.word.load(Ordering::Relaxed) & STATE != SLEEPERS {
            std::thread::yield_now();
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
        GONE.word.store(0, Ordering::Relaxed);
        drop(held);
        sleepers.into_iter().for_each(|sleeper| sleeper.join().unwrap());
    }

    #[test]
    fn a_lock_that_is_held_for_a_fork_is_taken_after_a_while() {
        static HELD_FOR_A_FORK: Guarded<u64> = Guarded::new(3);
        HELD_FOR_A_FORK.hold();
        let begin = std::time::Instant::now();
        std::thread::spawn(|| *HELD_FOR_A_FORK.lock() += 1).join().unwrap();
        assert!(begin.elapsed() >= std::time::Duration::from_nanos(LONGEST_HOLD));
        // SAFETY: held above.
        unsafe { HELD_FOR_A_FORK.let_go() };
        assert_eq!(*HELD_FOR_A_FORK.lock(), 4);
    }

    #[test]
    fn the_end_of_a_hold_wakes_all() {
        static HELD_FOR_A_FORK: Guarded<u64> = Guarded::new(0);
        HELD_FOR_A_FORK.hold();
        let threads: Vec<_> = (0..3).map(|_| std::thread::spawn(|| *HELD_FOR_A_FORK.lock() += 1)).collect();
        // SAFETY: held above.
        unsafe { HELD_FOR_A_FORK.let_go() };
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(*HELD_FOR_A_FORK.lock(), 3);
    }

    #[test]
    fn a_child_resets_only_what_a_thread_was_changing() {
        for (state, data) in [(FREE, 5), (FORKING, 5), (HELD, 0), (SLEEPERS, 0)] {
            let left = Guarded { word: AtomicU32::new((7 << STATE_BITS) | state), data: UnsafeCell::new(5) };
            // SAFETY: no other thread knows the lock.
            unsafe { left.renew() };
            assert_eq!(*left.lock(), data);
        }
    }

    #[test]
    fn what_another_epoch_left_is_free_and_forgotten() {
        let left = Guarded { word: AtomicU32::new((7 << STATE_BITS) | SLEEPERS), data: UnsafeCell::new(5) };
        assert_eq!(*left.lock(), 0);
        *left.lock() = 6;
        assert_eq!(*left.lock(), 6);
    }
}
