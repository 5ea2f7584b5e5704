//! Semaphore and BoundedSemaphore: Python's `threading.Semaphore` and `threading.BoundedSemaphore`. A counter
//! of permits that never falls below zero.
//!
//! The file exceeds 400 lines with its documentation and tests, which are almost half of it.
//!
//! # State (`header.word`)
//!
//! | bits | meaning | who changes it | exact or stale |
//! |---|---|---|---|
//! | 0 to 6 | generation and `LIVE` of the slot | `handle`; the thread that destroys the semaphore clears `LIVE` | exact |
//! | 7 to 30 waiter count | the number of threads that wait, or have been woken and not yet run | a thread that begins or ends a wait | exact; in a child of fork, it counts the parent's waiters until the first thread there waits (`waiter_epoch`), and then no others than the thread that forked, if it waits |
//! | 31 `SPINNING` | one of the waiters spins and is not parked. Illegal without waiters | the waiter | like the waiter count |
//! | 32 to 62 value | the number of permits | acquire, release | exact |
//! | 63 `FREED_WITH_WAITERS` | the semaphore was destroyed while it had more waiters than permits | destroy | exact |
//!
//! | from | to | who | ordering |
//! |---|---|---|---|
//! | value v > 0 | value v - 1 | acquire, without waiting | acquire |
//! | value 0, n waiters | value 0, n + 1 waiters; with `SPINNING` if n is 0 and the thread may spin | a thread that begins to wait | acquire |
//! | value 0, `SPINNING` | value 0, not `SPINNING` | the spinning waiter, before it parks | acquire |
//! | value v > 0, n waiters, maybe `SPINNING` | value v - 1, n - 1 waiters, not `SPINNING` if it spun | a waiter that takes its permit | acquire |
//! | value 0, n waiters | value 0, n - 1 waiters | a waiter that times out | acquire |
//! | value v | value v + k | release, which then wakes at most k waiters | release |
//! | `LIVE` | not `LIVE`; with `FREED_WITH_WAITERS` and all waiters woken if there are more waiters than permits | destroy | acquire and release |
//! | n waiters of the parent | no waiters | in a child of fork, the first thread that begins to wait | relaxed |
//! | n waiters | n + 1 waiters | in a child of fork, then the thread that forked, in a signal handler during its wait (`sync::own_waiter`) | relaxed |
//!
//! Of the acquires, only those of the first and the fourth row are needed. The others share their code (`cas_acquire`):
//! the stronger ordering costs nothing where a thread is about to block.
//!
//! # Waiters
//!
//! Waiters park on the upper half of the word while it is 0. Invariant: of the waiters that do not spin, at least as
//! many are awake as there are permits, or all. So a release wakes only waiters that had no permit before. A thread
//! that has not waited may take a permit ahead of the waiter that was woken for it, which then parks again.
//!
//! A semaphore can be freed once there is a permit for each waiter. These waiters find the semaphore destroyed, in a
//! slot that they have pinned, and still take their permits. A thread that began to wait while the last reference was
//! released finds no permit, and its wait fails with [`Error::Handle`]; `FREED_WITH_WAITERS` makes the upper half
//! nonzero, so that it does not park.
//!
//! A waiter that spins may leave the first permits in the semaphore for some microseconds, until there are more
//! (`sync::batching`). That changes nothing for other threads: they may take these permits, and each release wakes as
//! many waiters as without the delay. Nor does it matter that a release may back off before it changes the word.
//!
//! # Signal handlers
//!
//! release uses no queue and no mutex, so a signal handler may call it. It does not pin the slot either, and so changes
//! nothing in it but the word, in an operation that compares the tag: see `sync::waker_cpu`.

use crate::sys::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::handle::blocking_call::BlockingCall;
use crate::handle::header::{GENERATION, Header, LIVE, TAG};
use crate::handle::note;
use crate::handle::note::Named;
use crate::handle::waiter_count::CountsWaiters;
use crate::handle::{Handle, Object, ObjectKind};
use crate::sync::adaptive_spin::{AdaptiveSpin, spin_until};
use crate::sync::batching::Batching;
use crate::sync::own_waiter::OwnWaiter;
use crate::sync::wait_note::ParkNote;
use crate::sync::wait_observer;
use crate::sync::waiter_epoch::WaiterEpoch;
use crate::sync::waker_cpu;
use crate::sys::annotate::{happens_after, happens_before};
use crate::sys::futex;
use crate::sys::futex::Halves;
use crate::sys::offsets::offsets;
use crate::sys::probe;
use crate::time::{Deadline, Timeout};

/// The maximum value of a semaphore.
pub const SEMAPHORE_MAX: i64 = 2_147_483_647;

/// The unit of the waiter count, which `WAITERS` covers.
pub(crate) const WAITER: u64 = 1 << 7;
pub(crate) const WAITERS: u64 = 0x7fff_ff80;
const SPINNING: u64 = 1 << 31;
/// The unit of the value. A live word is at least this if the value is above 0, since its bit 63 is clear.
pub(crate) const PERMIT: u64 = 1 << 32;
/// The number of bits of the value.
#[cfg(all(target_os = "linux", not(model)))]
#[cfg_attr(
    any(target_arch = "powerpc", target_arch = "powerpc64"),
    expect(dead_code, reason = "no layout note")
)]
pub(crate) const VALUE_BITS: u32 = FREED_WITH_WAITERS.trailing_zeros() - PERMIT.trailing_zeros();
const FREED_WITH_WAITERS: u64 = 1 << 63;

/// A counter of permits. Python: `threading.Semaphore`, `threading.BoundedSemaphore`.
///
/// `acquire` takes a permit, and blocks while there is none. `release` adds permits; any thread and any signal handler
/// may call it. A release that would raise a bounded semaphore above its initial value fails.
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
    /// The maximum value. Like `is_bounded`, it is written when the semaphore is created.
    limit: AtomicI64,
    is_bounded: AtomicBool,
    /// The fork epoch of the waiters that the word counts.
    waiter_epoch: WaiterEpoch,
    adaptive_spin: AdaptiveSpin,
    batching: Batching,
}

offsets!(SemaphoreOffsets of Semaphore: limit, is_bounded);

// SAFETY: zero is a semaphore of value 0; it is shareable in any state; it begins with its header.
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

    fn keep_blocking_call(&'static self, tag: u64, waiter: &OwnWaiter) {
        self.keep_own_waiter(tag, waiter);
    }

    fn finalize(&self) {
        note::free_of(self.header());
    }
}

/// The key of a waiter is the tag. Only the waiter itself ends its count.
impl CountsWaiters for Semaphore {
    const WAITER: u64 = WAITER;
    const WAITERS: u64 = WAITERS | SPINNING;

    fn waiter_epoch(&self) -> &WaiterEpoch {
        &self.waiter_epoch
    }

    fn is_counted(_word: u64, _key: u64) -> bool {
        true
    }
}

fn value(word: u64) -> u64 {
    (word & !FREED_WITH_WAITERS) / PERMIT
}

fn waiters(word: u64) -> u64 {
    (word & WAITERS) / WAITER
}

/// The number of parked waiters for which there is no permit.
fn waiters_without_permit(word: u64) -> u64 {
    waiters(word).saturating_sub(value(word) + u64::from(word & SPINNING != 0))
}

impl Semaphore {
    fn word(&self) -> &AtomicU64 {
        &self.header.word
    }

    /// Returns the value, the maximum value if the semaphore is bounded, and the number of waiters, for reports.
    pub(crate) fn report(&self) -> (u64, Option<u64>, u64) {
        let word = self.word().load(Ordering::Relaxed);
        let limit =
            self.is_bounded.load(Ordering::Acquire).then(|| self.limit.load(Ordering::Acquire) as u64);
        (value(word), limit, waiters(word))
    }
}

impl Named for Semaphore {}

impl Handle<Semaphore> {
    /// Creates a semaphore with this value.
    pub fn new(value: i64) -> Result<Self> {
        Self::new_with_limit(value, SEMAPHORE_MAX, false)
    }

    /// Creates a semaphore with this value, which is also its maximum.
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

    /// Takes a permit if there is one. On false, the slow path decides.
    #[inline(always)]
    pub(crate) fn acquire_fast(self) -> bool {
        let Some((semaphore, tag)) = self.slot_fast() else { return false };
        let word = semaphore.word().load(Ordering::Relaxed);
        word & TAG == tag && word >= PERMIT && semaphore.cas_acquire(word, word - PERMIT)
    }

    /// Takes a permit, blocking while there is none. Returns false if the timeout expires.
    #[inline(always)]
    pub fn acquire(self, timeout: Timeout) -> Result<bool> {
        let acquired = self.acquire_fast() || self.acquire_slow(timeout)?;
        // The handle is looked up again: the object may have been freed, and the memory of its slot decommitted.
        if acquired {
            if let Ok((semaphore, _)) = self.slot() {
                happens_after(semaphore);
            }
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
        let call = BlockingCall::new(self);
        call.begin()?;
        let waiter = call.waiter();
        semaphore.discard_parents_waiters(tag);
        let spin_deadline = semaphore.adaptive_spin.try_start(deadline);
        let registered = semaphore.register_waiter(tag, waiter, spin_deadline.is_some());
        let Ok(Some(spins)) = registered else {
            spin_deadline.inspect(|_| semaphore.adaptive_spin.finish(true));
            return registered.map(|_| true);
        };
        if let Some(until) = spin_deadline {
            let acquired = spins && (semaphore.spin(waiter, until) || !semaphore.stop_spinning(waiter));
            semaphore.adaptive_spin.finish(acquired || !spins);
            if acquired {
                return Ok(true);
            }
        }
        let note = ParkNote::new(self.bits(), deadline);
        loop {
            if !waiter.is_counted() {
                // This is a child that a signal handler has forked.
                match semaphore.register_waiter(tag, waiter, false) {
                    Ok(Some(_)) => {}
                    registered => return note.end(registered.map(|_| true)),
                }
            }
            let in_time = futex::wait_inline(semaphore.word().upper(), 0, deadline);
            let word = semaphore.word().load(Ordering::Relaxed);
            if word & GENERATION != tag & GENERATION {
                return note.end(Err(Error::Internal));
            }
            if value(word) > 0 {
                if waiter.leave(|| semaphore.cas_acquire(word, word - PERMIT - WAITER)) {
                    semaphore.adaptive_spin.record_waker_cpu(waker_cpu::of(semaphore));
                    return note.end(Ok(true));
                }
            } else if word & LIVE == 0 {
                // The semaphore was destroyed while this thread began to wait, or after another thread had taken its
                // permit.
                return note.end(Err(Error::Handle));
            } else if !in_time && waiter.leave(|| semaphore.cas_acquire(word, word - WAITER)) {
                return note.end(Ok(false));
            }
        }
    }

    /// Adds a permit if no waiter needs to be woken for it. On false, the slow path decides.
    #[inline(always)]
    pub(crate) fn release_fast(self) -> bool {
        let Some((semaphore, tag)) = self.slot_fast() else { return false };
        let word = semaphore.word().load(Ordering::Relaxed);
        // Bit 63 is clear while the semaphore lives. The lower half is the tag if there are no waiters.
        word / PERMIT < semaphore.limit.load(Ordering::Acquire) as u64
            && (word as u32 == tag as u32 || word & TAG == tag && waiters_without_permit(word) == 0)
            && semaphore
                .word()
                .compare_exchange(word, word + PERMIT, Ordering::Release, Ordering::Relaxed)
                .is_ok()
    }

    /// Adds `count` permits and wakes up to `count` waiters.
    #[inline]
    pub fn release(self, count: i64) -> Result<()> {
        if count == 1 && self.release_fast() { Ok(()) } else { self.release_slow(count) }
    }

    /// `release` after `release_fast` has returned false, or of any count.
    pub(crate) fn release_slow(self, count: i64) -> Result<()> {
        let (semaphore, tag) = self.slot()?;
        happens_before(semaphore);
        if count == 1 && waiters_without_permit(semaphore.word().load(Ordering::Relaxed)) == 0 {
            // As a rule, `release_fast` has failed because another thread changed the word at the same time.
            semaphore.batching.back_off();
        }
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
                // The limit may be that of a newer object in the slot.
                if !semaphore.header.is_live(tag) {
                    return Err(Error::Handle);
                }
                return Err(if is_bounded { Error::OverReleased } else { Error::SemaphoreOverflow });
            }
            if waiters_without_permit(word) > 0 {
                wait_observer::record_wake(self.bits());
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
            waker_cpu::record(semaphore);
            probe::wake(semaphore);
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
    /// All changes of a thread that acquires or waits; see the note on orderings at the top of this file.
    #[inline(always)]
    fn cas_acquire(&self, word: u64, new: u64) -> bool {
        self.word().compare_exchange(word, new, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Takes a permit if there is one.
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

    /// Spins until there is a permit, and takes it. Returns false if there is none until the deadline, or if this is a
    /// child of fork that does not count the thread any more.
    fn spin(&self, waiter: &OwnWaiter, until: Deadline) -> bool {
        let is_batching = self.batching.plan();
        let mut acquired = false;
        spin_until(until, || {
            if is_batching && value(self.word().load(Ordering::Relaxed)) > 0 {
                self.batching.wait_for_more(|| {
                    let word = self.word().load(Ordering::Relaxed);
                    // Other waiters use the permits: no more accumulate.
                    if waiters(word) == 1 { value(word) } else { 0 }
                });
            }
            acquired = self.try_decrement_as_spinner(waiter);
            acquired || !waiter.is_counted()
        });
        acquired
    }

    /// Takes a permit for the waiter that spins, if there is one.
    fn try_decrement_as_spinner(&self, waiter: &OwnWaiter) -> bool {
        let word = self.word().load(Ordering::Relaxed);
        // In a child that a signal handler has forked, the word is without `SPINNING`.
        value(word) > 0 && waiter.leave(|| self.cas_acquire(word, (word - PERMIT - WAITER) & !SPINNING))
    }

    /// Clears `SPINNING` before the waiter parks. Returns false if it has taken a permit instead.
    fn stop_spinning(&self, waiter: &OwnWaiter) -> bool {
        while waiter.is_counted() {
            let word = self.word().load(Ordering::Relaxed);
            if self.try_decrement_as_spinner(waiter) {
                return false;
            }
            if value(word) == 0 && self.cas_acquire(word, word & !SPINNING) {
                break;
            }
        }
        true
    }

    /// Counts the calling thread as a waiter. Returns whether it is to spin before it parks: if it wants to and is the
    /// only waiter. `None` if it has taken a permit instead.
    fn register_waiter(&self, tag: u64, waiter: &OwnWaiter, wants_to_spin: bool) -> Result<Option<bool>> {
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
            let is_first = word & WAITERS == 0;
            let spins = wants_to_spin && is_first;
            let new = word + WAITER + if spins { SPINNING } else { 0 };
            if waiter.enter(tag, is_first, || self.cas_acquire(word, new)) {
                return Ok(Some(spins));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
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
    fn a_bounded_buffer_keeps_the_order() {
        const SIZE: u64 = 64;
        const ITEMS: u64 = 200_000;
        let (free, used) =
            (Handle::<Semaphore>::new(SIZE as i64).unwrap(), Handle::<Semaphore>::new(0).unwrap());
        let items: Arc<Vec<AtomicU64>> = Arc::new((0..SIZE).map(|_| AtomicU64::new(0)).collect());
        let producer = {
            let items = items.clone();
            thread::spawn(move || {
                for item in 0..ITEMS {
                    assert_eq!(free.acquire(Timeout::FOREVER), Ok(true));
                    items[(item % SIZE) as usize].store(item, Ordering::Relaxed);
                    used.release(1).unwrap();
                }
            })
        };
        for item in 0..ITEMS {
            assert_eq!(used.acquire(Timeout::FOREVER), Ok(true));
            assert_eq!(items[(item % SIZE) as usize].load(Ordering::Relaxed), item);
            free.release(1).unwrap();
        }
        producer.join().unwrap();
        assert_eq!((free.value(), used.value()), (Ok(SIZE as i64), Ok(0)));
        free.free().unwrap();
        used.free().unwrap();
    }

    #[test]
    fn a_semaphore_can_be_freed_once_its_waiters_have_permits() {
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
