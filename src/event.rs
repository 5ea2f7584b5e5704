//! Event: Python's `threading.Event`. A flag to wait for.
//!
//! # State (the header's word)
//!
//! | bits | meaning |
//! |---|---|
//! | 0 to 6 | generation and `LIVE` of the slot |
//! | 7 `SET` | the flag |
//! | 8 to 31 | the round: counted up by a set that ends waits |
//! | 32 to 62 | how many threads wait; none while `SET` |
//! | 63 `SPINNING` | one of them looks, and does not sleep yet |
//!
//! | from | to | by | ordering |
//! |---|---|---|---|
//! | not set, n waiters | the same, n + 1 waiters | a thread about to wait; with `SPINNING` if it looks first | relaxed |
//! | not set, n waiters, `SPINNING` | the same, not `SPINNING` | the one that looked, about to sleep | relaxed |
//! | not set, n waiters | `SET`, no waiters, the next round if n > 0 | set, which then wakes all who sleep | release |
//! | not set, n waiters | the same, n - 1 waiters | a waiter whose time ran out, in the round in which it came | relaxed |
//! | `SET` | `SET`, the same | set: written all the same | release |
//! | `SET` | not set | clear | acquire and release |
//! | any | not `LIVE`, the same | the last free: threads that wait yet began to beside it, and are sent on | acquire and release |
//! | any | | whoever finds `SET`, or another round than its own | acquire |
//!
//! A set that finds the flag set writes the word nevertheless, and a clear reads what it replaces with
//! acquire. Otherwise a consumer that waits, clears and then looks could miss what a producer stored before
//! such a set: the set would have come before the clear, but what was stored before it not yet be seen.
//!
//! Waiters sleep on the lower half, which shows each set that concerns them. A waiter in whose absence the
//! round went on has been set free, even if a clear followed. So no waiter has to look at the event again,
//! which may be freed as soon as set has returned; if the slot carries another tag, the event was freed after
//! a set. Only a thread that began to wait beside the last free finds its own round, without `LIVE`, and the waiters
//! still counted: that free has pinned the slot for each of them.
//!
//! There is no queue and no lock here: set, clear and is_set may be called from a signal handler. 2^24 rounds
//! would have to pass, each with a thread that sleeps and wakes, while one waiter is on its way, for it to
//! miss its own.

use crate::sys::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::handle::header::{GENERATION, Header, LIVE, TAG};
use crate::handle::{Handle, Object, ObjectKind};
use crate::sync::adaptive_spin::{AdaptiveSpin, spin_until};
use crate::sync::waiter_epoch::WaiterEpoch;
use crate::sys::annotate::{happens_after, happens_before};
use crate::sys::futex;
use crate::sys::futex::Halves;
use crate::time::Timeout;

const SET: u64 = 1 << 7;
const SEQ_ONE: u64 = 1 << 8;
const SEQ_MASK: u64 = 0xffff_ff00;
const WAITER: u64 = 1 << 32;
const SPINNING: u64 = 1 << 63;
const WAITERS: u64 = u64::MAX << 32;

/// A flag that threads wait for. Python: `threading.Event`.
///
/// `set` ends all waits that have begun, even if `clear` follows immediately. `set`, `clear` and `is_set` may be called
/// from a signal handler.
///
/// ```
/// use threading::{Event, Thread, Timeout};
///
/// let ready = Event::new()?;
/// assert!(!ready.wait(Timeout::new(0.01)?)?);
/// let setter = {
///     let ready = ready.clone();
///     Thread::new(move || ready.set().unwrap())?
/// };
/// setter.start()?;
/// assert!(ready.wait(Timeout::FOREVER)?);
/// assert_eq!(ready.is_set(), Ok(true));
/// # Ok::<(), threading::Error>(())
/// ```
#[repr(C, align(64))]
pub struct Event {
    header: Header,
    /// Whose waiters the word counts.
    waiter_epoch: WaiterEpoch,
    adaptive_spin: AdaptiveSpin,
}

// SAFETY: zero is an event that is not set; all of it is shareable; it begins with its header.
unsafe impl Object for Event {
    const KIND: ObjectKind = ObjectKind::Event;

    fn header(&self) -> &Header {
        &self.header
    }

    fn is_busy(&self, tag: u64) -> bool {
        let word = self.word().load(Ordering::Relaxed);
        word & TAG == tag && word & WAITERS != 0 && self.waiter_epoch.is_current()
    }

    fn invalidate(&self, tag: u64) {
        // The waiters of a parent process do not count.
        self.waiter_epoch.sync_after_fork(|| {
            let clear_waiters = |word| (word & WAITERS != 0).then_some(word & !WAITERS);
            let _ = self.update(tag, clear_waiters, Ordering::Relaxed);
        });
        let mut pinned = 0;
        loop {
            let without = |word| (waiters(word) == pinned).then_some(word & !LIVE);
            if self.header.clear_live_if(tag, without).is_some() {
                break;
            }
            let word = self.word().load(Ordering::Relaxed);
            let now = if word & TAG == tag { waiters(word) } else { 0 };
            // The slot is not recycled before the caller has done its part.
            self.header.adjust_pins(tag, pinned, now);
            pinned = now;
            if word & TAG != tag {
                break;
            }
        }
        if pinned != 0 {
            futex::wake_all(self.word().lower());
        }
    }

    /// Threads that wait are left to `invalidate`.
    fn clear_live(&self, tag: u64) {
        self.header.clear_live_if(tag, |word| (word & WAITERS == 0).then_some(word & !LIVE));
    }
}

fn waiters(word: u64) -> u64 {
    (word & WAITERS & !SPINNING) / WAITER
}

impl Event {
    fn word(&self) -> &AtomicU64 {
        &self.header.word
    }

    /// Changes the word as long as it carries the tag; `Ok(false)` if there is nothing to change.
    #[inline(always)]
    fn update(&self, tag: u64, to: impl Fn(u64) -> Option<u64>, ordering: Ordering) -> Result<bool> {
        let mut word = self.word().load(Ordering::Acquire);
        loop {
            if word & TAG != tag {
                return Err(Error::Handle);
            }
            let Some(changed) = to(word) else { return Ok(false) };
            match self.word().compare_exchange_weak(word, changed, ordering, Ordering::Acquire) {
                Ok(_) => return Ok(true),
                Err(now) => word = now,
            }
        }
    }
}

impl Handle<Event> {
    /// An event that is not set.
    pub fn new() -> Result<Self> {
        Handle::create(0, |_, _| {})
    }

    /// Whether the flag is set. `None` leaves everything open.
    #[inline(always)]
    pub(crate) fn is_set_fast(self) -> Option<bool> {
        let (event, tag) = self.slot_fast()?;
        let word = event.word().load(Ordering::Acquire);
        (word & TAG == tag).then_some(word & SET != 0)
    }

    /// Whether the flag is set.
    #[inline(always)]
    pub fn is_set(self) -> Result<bool> {
        let (event, tag) = self.slot()?;
        let word = event.word().load(Ordering::Acquire);
        if word & TAG != tag {
            return Err(Error::Handle);
        }
        if word & SET != 0 {
            happens_after(event);
        }
        Ok(word & SET != 0)
    }

    /// Sets the flag if nobody waits for it. False leaves everything open.
    #[inline(always)]
    pub(crate) fn set_fast(self) -> bool {
        let Some((event, tag)) = self.slot_fast() else { return false };
        let word = event.word().load(Ordering::Relaxed);
        word & (WAITERS | TAG) == tag
            && event.word().compare_exchange(word, word | SET, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Sets the flag, and lets all go on that wait for it.
    pub fn set(self) -> Result<()> {
        let (event, tag) = self.slot()?;
        happens_before(event);
        let mut word = event.word().load(Ordering::Relaxed);
        loop {
            if word & TAG != tag {
                return Err(Error::Handle);
            }
            let waiters = word & WAITERS != 0;
            let set = match (word & SET != 0, waiters) {
                (true, _) => word,
                (false, false) => word | SET,
                (false, true) => tag | SET | (word.wrapping_add(SEQ_ONE) & SEQ_MASK),
            };
            if waiters {
                event.adaptive_spin.record_wake();
            }
            match event.word().compare_exchange_weak(word, set, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => {
                    if waiters && word & WAITERS != WAITER | SPINNING {
                        futex::wake_all(event.word().lower());
                    }
                    return Ok(());
                }
                Err(now) => word = now,
            }
        }
    }

    /// Clears the flag. Whoever was waiting when it was set goes on all the same.
    pub fn clear(self) -> Result<()> {
        let (event, tag) = self.slot()?;
        if event.update(tag, |word| (word & SET != 0).then_some(word & !SET), Ordering::AcqRel)? {
            happens_after(event);
        }
        Ok(())
    }

    /// Waits until the flag is set. False if the time ran out.
    #[inline]
    pub fn wait(self, timeout: Timeout) -> Result<bool> {
        if self.is_set()? {
            return Ok(true);
        }
        let set = self.wait_slow(timeout)?;
        // It may have been freed since, and its block returned.
        if set && let Ok((event, _)) = self.slot() {
            happens_after(event);
        }
        Ok(set)
    }

    #[cold]
    fn wait_slow(self, timeout: Timeout) -> Result<bool> {
        if timeout.is_zero() {
            return Ok(false);
        }
        let (event, tag) = self.slot()?;
        let deadline = timeout.deadline();
        event.waiter_epoch.sync_after_fork(|| {
            let _ =
                event.update(tag, |word| (word & WAITERS != 0).then_some(word & !WAITERS), Ordering::Relaxed);
        });
        let spin_deadline = event.adaptive_spin.try_start(deadline);
        let registered = event.register_waiter(tag, spin_deadline.is_some());
        let Ok(Some((seq, spins))) = registered else {
            spin_deadline.inspect(|_| event.adaptive_spin.finish(true));
            return registered.map(|_| true);
        };
        if let Some(until) = spin_deadline {
            let was_set = spins
                && (spin_until(until, || event.was_set_since(tag, seq))
                    || !event.update_unless_set(tag, seq, |word| word & !SPINNING));
            event.adaptive_spin.finish(was_set || !spins);
            if was_set {
                return event.wait_result(tag, seq);
            }
        }
        loop {
            let in_time = futex::wait(event.word().lower(), (tag | seq) as u32, deadline);
            if event.was_set_since(tag, seq) {
                return event.wait_result(tag, seq);
            }
            if !in_time && event.update_unless_set(tag, seq, |word| word - WAITER) {
                return Ok(false);
            }
        }
    }

    /// As new, for a child process: not set.
    pub fn at_fork_reinit(self) -> Result<()> {
        self.clear()
    }
}

impl Event {
    /// Whether the wait of this round has ended.
    #[inline]
    fn was_set_since(&self, tag: u64, seq: u64) -> bool {
        self.word().load(Ordering::Acquire) & (TAG | SEQ_MASK) != tag | seq
    }

    /// How a wait of this round has ended: with the set, or because the event was freed.
    fn wait_result(&'static self, tag: u64, seq: u64) -> Result<bool> {
        let word = self.word().load(Ordering::Acquire);
        if word & (TAG | SEQ_MASK) != tag & GENERATION | seq || waiters(word) == 0 {
            return Ok(true);
        }
        drop(Handle::adopt_pin(self, tag));
        Err(Error::Handle)
    }

    /// Changes the word, unless the wait of this round has ended; then false.
    fn update_unless_set(&self, tag: u64, seq: u64, to: impl Fn(u64) -> u64) -> bool {
        let mut word = self.word().load(Ordering::Acquire);
        while word & (TAG | SEQ_MASK) == tag | seq {
            match self.word().compare_exchange_weak(word, to(word), Ordering::Relaxed, Ordering::Acquire) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Counts the caller as a waiter, who looks first if it wants to and is alone. The round for which it waits,
    /// and whether it looks; or `None` if the flag is set.
    fn register_waiter(&self, tag: u64, wants_to_spin: bool) -> Result<Option<(u64, bool)>> {
        let mut word = self.word().load(Ordering::Acquire);
        loop {
            if word & TAG != tag {
                return Err(Error::Handle);
            }
            if word & SET != 0 {
                return Ok(None);
            }
            let spins = wants_to_spin && word & WAITERS == 0;
            let new = word + WAITER + if spins { SPINNING } else { 0 };
            match self.word().compare_exchange_weak(word, new, Ordering::Relaxed, Ordering::Acquire) {
                Ok(_) => return Ok(Some((word & SEQ_MASK, spins))),
                Err(now) => word = now,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn wait_returns_when_the_event_is_set() {
        let event = Handle::<Event>::new().unwrap();
        assert_eq!(event.wait(Timeout::new(0.005).unwrap()), Ok(false));
        let waiter = thread::spawn(move || event.wait(Timeout::FOREVER));
        event.set().unwrap();
        assert_eq!(waiter.join().unwrap(), Ok(true));
        assert_eq!(event.wait(Timeout::ZERO), Ok(true));
        event.clear().unwrap();
        assert_eq!(event.is_set(), Ok(false));
        event.free().unwrap();
    }

    #[test]
    fn set_followed_by_clear_releases_all_waiters() {
        let event = Handle::<Event>::new().unwrap();
        for _ in 0..200 {
            let waiters: Vec<_> =
                (0..3).map(|_| thread::spawn(move || event.wait(Timeout::FOREVER))).collect();
            let (object, _) = event.check().unwrap();
            while object.word().load(Ordering::Relaxed) & WAITERS != 3 * WAITER {
                thread::yield_now();
            }
            assert_eq!(event.free(), Err(Error::Busy));
            event.set().unwrap();
            event.clear().unwrap();
            waiters.into_iter().for_each(|waiter| assert_eq!(waiter.join().unwrap(), Ok(true)));
        }
        event.free().unwrap();
    }
}
