//! Semaphore and BoundedSemaphore: Python's `threading.Semaphore` and `threading.BoundedSemaphore`. A counter
//! that is never below zero.
//!
//! # State (the header's word)
//!
//! | bits | meaning |
//! |---|---|
//! | 0 to 6 | generation and `LIVE` of the slot |
//! | 7 to 30 | how many threads have come to wait and are not back yet |
//! | 31 `SPINNING` | one of them looks, and does not sleep yet |
//! | 32 to 62 | the value |
//! | 63 `FREED_WITH_WAITERS` | freed while threads waited for whom there was no unit |
//!
//! | from | to | by | ordering |
//! |---|---|---|---|
//! | value v > 0 | value v - 1 | acquire | acquire |
//! | value 0, n waiters | value 0, n + 1 waiters | a thread about to wait; with `SPINNING` if it looks first | relaxed |
//! | value 0, `SPINNING` | the same, not `SPINNING` | the one that looked, about to sleep | relaxed |
//! | value v > 0, n waiters | value v - 1, n - 1 waiters | a waiter that got its unit | acquire |
//! | n waiters | n - 1 waiters | a waiter whose time ran out | relaxed |
//! | value v | value v + k | release, which then wakes k at most | release |
//! | any | not `LIVE`; with `FREED_WITH_WAITERS` if there is not a unit for each waiter, who are then woken | the last free | acquire and release |
//!
//! Waiters sleep on the upper half as long as it is 0. Invariant: of the waiters, as many are awake as there
//! are units, besides the one that looks, or all; so a release wakes only those for whom there was no unit yet.
//! A newcomer may take a unit before the waiter that was woken for it, which then sleeps again.
//!
//! The last reference can be given back when there is a unit for each waiter: they are on their way. They
//! find the semaphore dead, its slot pinned, and take their units all the same. A thread that began to wait beside the
//! last free finds no unit, and is told that the handle is bad.
//!
//! There is no queue and no lock here: release may be called from a signal handler.

use crate::sys::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::handle::header::{GENERATION, Header, LIVE, TAG};
use crate::handle::{Handle, Object, ObjectKind};
use crate::sync::adaptive_spin::{AdaptiveSpin, spin_until};
use crate::sync::waiter_epoch::WaiterEpoch;
use crate::sys::annotate::{happens_after, happens_before};
use crate::sys::futex;
use crate::sys::futex::Halves;
use crate::time::Timeout;

/// The highest value of a semaphore.
pub const SEMAPHORE_MAX: i64 = 2_147_483_647;

const WAITER: u64 = 1 << 7;
const WAITERS: u64 = 0x7fff_ff80;
const SPINNING: u64 = 1 << 31;
const PERMIT: u64 = 1 << 32;
const FREED_WITH_WAITERS: u64 = 1 << 63;

/// A counter of permits. Python: `threading.Semaphore`, `threading.BoundedSemaphore`.
///
/// `acquire` takes one, and blocks while there is none. `release` adds some; any thread may call it, and so may a signal
/// handler. A bounded semaphore returns an error if a release would raise it above its initial value.
///
/// ```
/// use threading::{Error, Semaphore, Timeout};
///
/// let connections = Semaphore::new_bounded(2)?;
/// {
///     let _permit = connections.acquire_guard()?;
///     assert_eq!(connections.value(), Ok(1));
///     assert!(connections.acquire(Timeout::new(0.01)?)?);
///     assert!(!connections.acquire(Timeout::new(0.01)?)?);
///     connections.release(1)?;
/// }
/// assert_eq!(connections.release(1), Err(Error::OverReleased));
/// # Ok::<(), Error>(())
/// ```
#[repr(C, align(64))]
pub struct Semaphore {
    header: Header,
    /// The value that it never exceeds; this and the next are written when the semaphore is made.
    limit: AtomicI64,
    is_bounded: AtomicBool,
    /// Whose waiters the word counts.
    waiter_epoch: WaiterEpoch,
    adaptive_spin: AdaptiveSpin,
}

// SAFETY: zero is a semaphore of value 0; all of it is shareable; it begins with its header.
unsafe impl Object for Semaphore {
    const KIND: ObjectKind = ObjectKind::Semaphore;

    fn header(&self) -> &Header {
        &self.header
    }

    fn is_busy(&self, tag: u64) -> bool {
        let word = self.word().load(Ordering::Relaxed);
        word & TAG == tag && waiters(word) > value(word) && self.waiter_epoch.is_current()
    }

    fn invalidate(&self, tag: u64) {
        self.clear_live(tag);
    }

    fn clear_live(&self, tag: u64) {
        let freed_flag = |word| if waiters(word) > value(word) { FREED_WITH_WAITERS } else { 0 };
        let cleared = self.header.clear_live_if(tag, |word| Some(word & !LIVE | freed_flag(word)));
        if cleared.is_some_and(|word| freed_flag(word) != 0) {
            futex::wake_all(self.word().upper());
        }
    }
}

fn value(word: u64) -> u64 {
    (word & !FREED_WITH_WAITERS) / PERMIT
}

fn waiters(word: u64) -> u64 {
    (word & WAITERS) / WAITER
}

/// How many waiters sleep for whom there is no unit.
fn waiters_without_permit(word: u64) -> u64 {
    waiters(word).saturating_sub(value(word) + u64::from(word & SPINNING != 0))
}

impl Semaphore {
    fn word(&self) -> &AtomicU64 {
        &self.header.word
    }
}

impl Handle<Semaphore> {
    /// A semaphore with this value.
    pub fn new(value: i64) -> Result<Self> {
        Self::new_with_limit(value, SEMAPHORE_MAX, false)
    }

    /// A semaphore with this value, which it never exceeds.
    pub fn new_bounded(value: i64) -> Result<Self> {
        Self::new_with_limit(value, value, true)
    }

    fn new_with_limit(value: i64, limit: i64, is_bounded: bool) -> Result<Self> {
        match value {
            ..0 => Err(Error::SemaphoreNegative),
            0..=SEMAPHORE_MAX => Handle::create(value as u64 * PERMIT, |semaphore: &Semaphore, _| {
                semaphore.limit.store(limit, Ordering::Release);
                semaphore.is_bounded.store(is_bounded, Ordering::Release);
            }),
            _ => Err(Error::SemaphoreOverflow),
        }
    }

    /// Takes a unit if there is one. False leaves everything open.
    #[inline(always)]
    pub(crate) fn acquire_fast(self) -> bool {
        let Some((semaphore, tag)) = self.slot_fast() else { return false };
        let word = semaphore.word().load(Ordering::Relaxed);
        word & TAG == tag && word >= PERMIT && semaphore.cas_acquire(word, word - PERMIT)
    }

    /// Waits until the value is above zero, and takes one. False if the time ran out.
    #[inline]
    pub fn acquire(self, timeout: Timeout) -> Result<bool> {
        let acquired = self.acquire_fast() || self.acquire_slow(timeout)?;
        // It may have been freed since, and its block returned.
        if acquired && let Ok((semaphore, _)) = self.slot() {
            happens_after(semaphore);
        }
        Ok(acquired)
    }

    #[cold]
    fn acquire_slow(self, timeout: Timeout) -> Result<bool> {
        let (semaphore, tag) = self.slot()?;
        let acquired = semaphore.try_decrement(tag)?;
        if acquired || timeout.is_zero() {
            return Ok(acquired);
        }
        let deadline = timeout.deadline();
        let _pin = self.pin()?;
        semaphore.reset_waiters_after_fork();
        let spin_deadline = semaphore.adaptive_spin.try_start(deadline);
        let registered = semaphore.register_waiter(tag, spin_deadline.is_some());
        let Ok(Some(spins)) = registered else {
            spin_deadline.inspect(|_| semaphore.adaptive_spin.finish(true));
            return registered.map(|_| true);
        };
        if let Some(until) = spin_deadline {
            let acquired = spins
                && (spin_until(until, || semaphore.try_decrement_as_spinner()) || !semaphore.stop_spinning());
            semaphore.adaptive_spin.finish(acquired || !spins);
            if acquired {
                return Ok(true);
            }
        }
        loop {
            let in_time = futex::wait(semaphore.word().upper(), 0, deadline);
            let word = semaphore.word().load(Ordering::Relaxed);
            if word & GENERATION != tag & GENERATION {
                return Err(Error::Internal);
            }
            if value(word) > 0 {
                if semaphore.cas_acquire(word, word - PERMIT - WAITER) {
                    return Ok(true);
                }
            } else if word & LIVE == 0 {
                // It was freed when a newcomer had taken the unit, or when this thread was about to wait.
                return Err(Error::Handle);
            } else if !in_time && semaphore.cas_acquire(word, word - WAITER) {
                return Ok(false);
            }
        }
    }

    /// Adds one to the value if that is possible, and nobody waits. False leaves everything open.
    #[inline(always)]
    pub(crate) fn release_fast(self) -> bool {
        let Some((semaphore, tag)) = self.slot_fast() else { return false };
        let word = semaphore.word().load(Ordering::Relaxed);
        value(word) < semaphore.limit.load(Ordering::Acquire) as u64
            && word & (TAG | WAITERS) == tag
            && semaphore
                .word()
                .compare_exchange(word, word + PERMIT, Ordering::Release, Ordering::Relaxed)
                .is_ok()
    }

    /// Adds `count` to the value, and lets as many waiters go on.
    pub fn release(self, count: i64) -> Result<()> {
        let (semaphore, tag) = self.slot()?;
        happens_before(semaphore);
        let mut word = semaphore.word().load(Ordering::Relaxed);
        loop {
            let limit = semaphore.limit.load(Ordering::Acquire);
            let is_bounded = semaphore.is_bounded.load(Ordering::Acquire);
            if word & TAG != tag {
                return Err(Error::Handle);
            }
            if count < 1 {
                return Err(Error::ReleaseCount);
            }
            if (value(word) as i64).saturating_add(count) > limit {
                return Err(if is_bounded { Error::OverReleased } else { Error::SemaphoreOverflow });
            }
            if waiters_without_permit(word) > 0 {
                semaphore.adaptive_spin.record_wake();
            }
            let more = count as u64 * PERMIT;
            match semaphore.word().compare_exchange_weak(
                word,
                word + more,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        if waiters_without_permit(word) > 0 {
            futex::wake(semaphore.word().upper(), waiters_without_permit(word).min(count as u64) as u32);
        }
        Ok(())
    }

    /// The value; a snapshot.
    pub fn value(self) -> Result<i64> {
        let (semaphore, tag) = self.slot()?;
        let word = semaphore.word().load(Ordering::Relaxed);
        if word & TAG == tag { Ok(value(word) as i64) } else { Err(Error::Handle) }
    }
}

impl Semaphore {
    #[inline(always)]
    fn cas_acquire(&self, word: u64, new: u64) -> bool {
        self.word().compare_exchange(word, new, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Takes a unit if there is one.
    fn try_decrement(&self, tag: u64) -> Result<bool> {
        loop {
            let word = self.word().load(Ordering::Relaxed);
            if word & TAG != tag {
                return Err(Error::Handle);
            }
            if word < PERMIT {
                return Ok(false);
            }
            if self.cas_acquire(word, word - PERMIT) {
                return Ok(true);
            }
        }
    }

    /// Takes a unit for the waiter that looks, if there is one.
    fn try_decrement_as_spinner(&self) -> bool {
        let word = self.word().load(Ordering::Relaxed);
        value(word) > 0 && self.cas_acquire(word, word - PERMIT - WAITER - SPINNING)
    }

    /// For the waiter that looks: about to sleep. False if it got a unit instead.
    fn stop_spinning(&self) -> bool {
        loop {
            let word = self.word().load(Ordering::Relaxed);
            if self.try_decrement_as_spinner() {
                return false;
            }
            if value(word) == 0 && self.cas_acquire(word, word - SPINNING) {
                return true;
            }
        }
    }

    /// Counts the caller as a waiter, who looks first if it wants to and is alone: whether it does. `None` if there
    /// was a unit for it after all.
    fn register_waiter(&self, tag: u64, wants_to_spin: bool) -> Result<Option<bool>> {
        loop {
            let word = self.word().load(Ordering::Relaxed);
            if word & TAG != tag {
                return Err(Error::Handle);
            }
            if word >= PERMIT {
                if self.cas_acquire(word, word - PERMIT) {
                    return Ok(None);
                }
                continue;
            }
            if word & WAITERS == WAITERS {
                return Err(Error::WaiterOverflow);
            }
            let spins = wants_to_spin && word & WAITERS == 0;
            if self.cas_acquire(word, word + WAITER + if spins { SPINNING } else { 0 }) {
                return Ok(Some(spins));
            }
        }
    }

    fn reset_waiters_after_fork(&self) {
        self.waiter_epoch.sync_after_fork(|| {
            self.word().fetch_and(!(WAITERS | SPINNING), Ordering::Relaxed);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn the_value_stays_within_its_bounds() {
        assert_eq!(Handle::<Semaphore>::new(-1), Err(Error::SemaphoreNegative));
        assert_eq!(Handle::<Semaphore>::new(SEMAPHORE_MAX + 1), Err(Error::SemaphoreOverflow));
        let semaphore = Handle::<Semaphore>::new(1).unwrap();
        assert_eq!(semaphore.acquire(Timeout::ZERO), Ok(true));
        assert_eq!(semaphore.acquire(Timeout::ZERO), Ok(false));
        assert_eq!(semaphore.release(0), Err(Error::ReleaseCount));
        assert_eq!(semaphore.release(SEMAPHORE_MAX), Ok(()));
        assert_eq!(semaphore.release(1), Err(Error::SemaphoreOverflow));
        assert_eq!(semaphore.release(i64::MAX), Err(Error::SemaphoreOverflow));
        assert_eq!(semaphore.value(), Ok(SEMAPHORE_MAX));
        semaphore.free().unwrap();

        let bounded = Handle::<Semaphore>::new_bounded(2).unwrap();
        bounded.acquire(Timeout::FOREVER).unwrap();
        assert_eq!(bounded.release(2), Err(Error::OverReleased));
        assert_eq!(bounded.value(), Ok(1));
        bounded.free().unwrap();
    }

    #[test]
    fn permits_are_neither_lost_nor_duplicated() {
        let semaphore = Handle::<Semaphore>::new(0).unwrap();
        let acquirers: Vec<_> = (0..3)
            .map(|_| {
                thread::spawn(move || {
                    (0..10_000).for_each(|_| assert_eq!(semaphore.acquire(Timeout::FOREVER), Ok(true)))
                })
            })
            .collect();
        for iteration in 0..10_000 {
            if iteration % 2 == 0 {
                semaphore.release(3).unwrap()
            } else {
                (0..3).for_each(|_| semaphore.release(1).unwrap())
            }
        }
        acquirers.into_iter().for_each(|acquirer| acquirer.join().unwrap());
        assert_eq!(semaphore.value(), Ok(0));
        semaphore.free().unwrap();
    }

    #[test]
    fn it_can_be_freed_once_its_waiters_are_released() {
        for _ in 0..500 {
            let semaphore = Handle::<Semaphore>::new(0).unwrap();
            let waiter = thread::spawn(move || semaphore.acquire(Timeout::FOREVER));
            let (object, _) = semaphore.check().unwrap();
            while waiters(object.word().load(Ordering::Relaxed)) == 0 {
                thread::yield_now();
            }
            assert_eq!(semaphore.free(), Err(Error::Busy));
            semaphore.release(1).unwrap();
            semaphore.free().unwrap();
            assert_eq!(waiter.join().unwrap(), Ok(true));
        }
    }
}
