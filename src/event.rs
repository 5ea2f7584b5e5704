//! Event: Python's `threading.Event`. A flag that threads wait for.
//!
//! # State (`header.word`)
//!
//! | bits | meaning | who changes it | exact or stale |
//! |---|---|---|---|
//! | 0 to 6 | generation and `LIVE` of the slot | `handle`; the thread that destroys the event clears `LIVE` | exact |
//! | 7 `SET` | the flag | set, clear | exact |
//! | 8 to 31 sequence number | the number of sets that have ended a wait, modulo 2^24 | set | exact |
//! | 32 to 62 waiter count | the number of threads that wait. Illegal with `SET` | a thread that begins to wait or times out; set | exact; in a child of fork, it counts the parent's waiters until a thread there waits (`waiter_epoch`), and then no others than the thread that forked, if it waits |
//! | 63 `SPINNING` | one of the waiters spins and is not parked. Illegal without waiters | the waiter; set | like the waiter count |
//!
//! | from | to | who | ordering |
//! |---|---|---|---|
//! | not set, n waiters | not set, n + 1 waiters; with `SPINNING` if n is 0 and the thread may spin | a thread that begins to wait | relaxed |
//! | not set, n waiters, `SPINNING` | the same without `SPINNING` | the spinning waiter, before it parks | relaxed |
//! | not set, n waiters | not set, n - 1 waiters | a waiter that times out, if the sequence number is still its own | relaxed |
//! | not set, no waiters | `SET` | set | release |
//! | not set, n waiters | `SET`, no waiters, the next sequence number | set, which then wakes all parked waiters | release |
//! | `SET` | `SET`, unchanged | set, which stores the word nevertheless | release |
//! | `SET` | not set | clear | acquire and release |
//! | `LIVE`, n waiters | not `LIVE`, the rest unchanged | destroy, which then wakes all waiters. They began to wait while the last reference was released | acquire and release |
//! | not set, n waiters of the parent | not set, no waiters | in a child of fork, the first thread that begins to wait | relaxed |
//! | not set, n waiters | not set, n + 1 waiters | in a child of fork, then the thread that forked, in a signal handler during its wait (`sync::own_waiter`) | relaxed |
//!
//! A wait that ends, and an is_set that finds `SET`, read the word with acquire.
//!
//! # Setting an event that is already set
//!
//! A set that finds `SET` writes the word nevertheless, and clear reads the word that it replaces with acquire.
//! Otherwise a consumer that waits, clears the event and then checks for work could miss what a producer stored before
//! such a set: the set precedes the clear, but would not synchronize with it.
//!
//! # The sequence number
//!
//! A waiter parks on the lower half of the word, which each set that ends a wait changes. A waiter that finds another
//! sequence number than its own has been woken by a set, even if a clear followed. The event may be freed as soon as
//! set has returned: the waiter has pinned the slot, so that the word is not that of another object when it runs again,
//! however late that is. Only a waiter of an event that was destroyed without a set finds its own sequence number
//! without `LIVE`.
//!
//! A waiter misses its wake-up only if 2^24 sets, each of them with waiters, happen before it runs again.
//!
//! # Signal handlers
//!
//! set, clear and is_set use no queue and no mutex, so a signal handler may call them. They do not pin the slot either,
//! and so change nothing in it but the word, in an operation that compares the tag: see `sync::waker_cpu`.

use crate::sys::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::handle::blocking_call::BlockingCall;
use crate::handle::header::{GENERATION, Header, LIVE, TAG};
use crate::handle::note;
use crate::handle::note::Named;
use crate::handle::waiter_count::CountsWaiters;
use crate::handle::{Handle, Object, ObjectKind};
use crate::sync::adaptive_spin::{AdaptiveSpin, spin_until};
use crate::sync::own_waiter::OwnWaiter;
use crate::sync::wait_note::ParkNote;
use crate::sync::wait_observer;
use crate::sync::waiter_epoch::WaiterEpoch;
use crate::sync::waker_cpu;
use crate::sys::annotate::{happens_after, happens_before};
use crate::sys::futex;
use crate::sys::futex::Halves;
use crate::sys::probe;
use crate::time::Timeout;

pub(crate) const SET: u64 = 1 << 7;
/// The unit of the sequence number, which `SEQ_MASK` covers.
const SEQ_ONE: u64 = 1 << 8;
const SEQ_MASK: u64 = 0xffff_ff00;
/// The unit of the waiter count.
const WAITER: u64 = 1 << 32;
const SPINNING: u64 = 1 << 63;
/// The waiter count and `SPINNING`.
const WAITERS: u64 = u64::MAX << 32;

/// A flag that threads wait for. Python: `threading.Event`.
///
/// `set` ends all waits in progress, even if `clear` follows immediately. `set`, `clear` and `is_set` may be called
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
    /// The fork epoch of the waiters that the word counts.
    waiter_epoch: WaiterEpoch,
    adaptive_spin: AdaptiveSpin,
}

// SAFETY: zero is an event that is not set; it is shareable in any state; it begins with its header.
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
        self.clear_live(tag);
    }

    fn clear_live(&self, tag: u64) {
        let cleared = self.header.clear_live_if(tag, |word| Some(word & !LIVE));
        if cleared.is_some_and(|word| word & WAITERS != 0) {
            futex::wake_all(self.word().lower());
        }
    }

    fn keep_blocking_call(&'static self, tag: u64, waiter: &OwnWaiter) {
        self.keep_own_waiter(tag, waiter);
    }

    fn finalize(&self) {
        note::free_of(self.header());
    }
}

/// The key of a waiter is the tag and the sequence number with which it waits.
impl CountsWaiters for Event {
    const WAITER: u64 = WAITER;
    const WAITERS: u64 = WAITERS;

    fn waiter_epoch(&self) -> &WaiterEpoch {
        &self.waiter_epoch
    }

    fn is_counted(word: u64, key: u64) -> bool {
        word & (TAG | SEQ_MASK | SET) == key
    }
}

impl Event {
    fn word(&self) -> &AtomicU64 {
        &self.header.word
    }

    /// Changes the word to the value that `to` returns. `Ok(false)` if that is `None`.
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

impl Named for Event {}

impl Handle<Event> {
    /// Creates an event that is not set.
    pub fn new() -> Result<Self> {
        Handle::create(0, |_, _| {})
    }

    /// Whether the flag is set. On `None`, the slow path decides.
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

    /// Sets the flag if there are no waiters. On false, the slow path decides.
    #[inline(always)]
    pub(crate) fn set_fast(self) -> bool {
        let Some((event, tag)) = self.slot_fast() else { return false };
        let word = event.word().load(Ordering::Relaxed);
        word & (WAITERS | TAG) == tag
            && event.word().compare_exchange(word, word | SET, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Sets the flag and wakes all threads that wait for it.
    pub fn set(self) -> Result<()> {
        let (event, tag) = self.slot()?;
        happens_before(event);
        let mut word = event.word().load(Ordering::Relaxed);
        loop {
            if word & TAG != tag {
                return Err(Error::Handle);
            }
            let has_waiters = word & WAITERS != 0;
            let new = match (word & SET != 0, has_waiters) {
                (true, _) => word,
                (false, false) => word | SET,
                (false, true) => tag | SET | (word.wrapping_add(SEQ_ONE) & SEQ_MASK),
            };
            if has_waiters {
                wait_observer::record_wake(self.bits());
            }
            match event.word().compare_exchange_weak(word, new, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => {
                    // A single waiter that spins needs no wake-up.
                    if has_waiters && word & WAITERS != WAITER | SPINNING {
                        waker_cpu::record(event);
                        probe::wake(event);
                        futex::wake_all(event.word().lower());
                    }
                    return Ok(());
                }
                Err(now) => word = now,
            }
        }
    }

    /// Clears the flag. Waits that were in progress when it was set still succeed.
    pub fn clear(self) -> Result<()> {
        let (event, tag) = self.slot()?;
        if event.update(tag, |word| (word & SET != 0).then_some(word & !SET), Ordering::AcqRel)? {
            happens_after(event);
        }
        Ok(())
    }

    /// Waits until the flag is set. Returns false if the timeout expires.
    #[inline(always)]
    pub fn wait(self, timeout: Timeout) -> Result<bool> {
        if self.is_set()? {
            return Ok(true);
        }
        let is_set = self.wait_slow(timeout)?;
        // The handle is looked up again: the object may have been freed, and the memory of its slot decommitted.
        if is_set {
            if let Ok((event, _)) = self.slot() {
                happens_after(event);
            }
        }
        Ok(is_set)
    }

    #[cold]
    fn wait_slow(self, timeout: Timeout) -> Result<bool> {
        if timeout.is_zero() {
            return Ok(false);
        }
        let (_, tag) = self.slot()?;
        let deadline = timeout.deadline();
        let call = BlockingCall::new(self);
        let event = call.begin()?;
        event.discard_parents_waiters(tag);
        let spin_deadline = event.adaptive_spin.try_start(deadline);
        let registered = event.register_waiter(tag, call.waiter(), spin_deadline.is_some());
        let Ok(Some((mut seq, spins))) = registered else {
            spin_deadline.inspect(|_| event.adaptive_spin.finish(true));
            return registered.map(|_| true);
        };
        if let Some(until) = spin_deadline {
            let has_ended = spins
                && (spin_until(until, || event.wait_has_ended(tag, seq))
                    || !event.update_unless_ended(tag, seq, |word| word & !SPINNING));
            event.adaptive_spin.finish(has_ended || !spins);
            if has_ended {
                return event.wait_result(tag, seq);
            }
        }
        let note = ParkNote::new(self.bits(), deadline);
        loop {
            let in_time = futex::wait_inline(event.word().lower(), (tag | seq) as u32, deadline);
            if event.wait_has_ended(tag, seq) {
                event.adaptive_spin.record_waker_cpu(waker_cpu::of(event));
                return note.end(event.wait_result(tag, seq));
            }
            if !in_time && event.stop_waiting(tag, seq, call.waiter()) {
                return note.end(Ok(false));
            }
            if !call.waiter().is_counted() {
                // This is a child that a signal handler has forked.
                match event.register_waiter(tag, call.waiter(), false) {
                    Ok(Some((new_seq, _))) => seq = new_seq,
                    registered => return note.end(registered.map(|_| true)),
                }
            }
        }
    }

    /// Clears the flag, for use in a child process.
    pub fn at_fork_reinit(self) -> Result<()> {
        self.clear()
    }
}

impl Event {
    /// Whether a wait that began at this sequence number has ended, by a set or because the event was destroyed.
    #[inline]
    fn wait_has_ended(&self, tag: u64, seq: u64) -> bool {
        self.word().load(Ordering::Acquire) & (TAG | SEQ_MASK) != tag | seq
    }

    /// The result of a wait that has ended: true after a set, an error if the event was destroyed.
    fn wait_result(&self, tag: u64, seq: u64) -> Result<bool> {
        let word = self.word().load(Ordering::Acquire);
        if word & (TAG | SEQ_MASK) == tag & GENERATION | seq { Err(Error::Handle) } else { Ok(true) }
    }

    /// Changes the word, or returns false if the wait that began at this sequence number has ended.
    fn update_unless_ended(&self, tag: u64, seq: u64, to: impl Fn(u64) -> u64) -> bool {
        let mut word = self.word().load(Ordering::Acquire);
        while word & (TAG | SEQ_MASK) == tag | seq {
            match self.word().compare_exchange_weak(word, to(word), Ordering::Relaxed, Ordering::Acquire) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Ends the count of the calling thread as a waiter. Returns false if the wait that began at this sequence number
    /// has ended, or if this is a child of fork that does not count the thread.
    fn stop_waiting(&self, tag: u64, seq: u64, waiter: &OwnWaiter) -> bool {
        let mut word = self.word().load(Ordering::Acquire);
        while word & (TAG | SEQ_MASK) == tag | seq && waiter.is_counted() {
            if waiter.leave(|| self.change_count(word, word - WAITER)) {
                return true;
            }
            word = self.word().load(Ordering::Acquire);
        }
        false
    }

    fn change_count(&self, word: u64, new: u64) -> bool {
        self.word().compare_exchange_weak(word, new, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Counts the calling thread as a waiter. Returns the sequence number, and whether the thread is to spin before it
    /// parks: if it wants to and is the only waiter. `None` if the flag is set.
    fn register_waiter(
        &self,
        tag: u64,
        waiter: &OwnWaiter,
        wants_to_spin: bool,
    ) -> Result<Option<(u64, bool)>> {
        let mut word = self.word().load(Ordering::Acquire);
        loop {
            if word & TAG != tag {
                return Err(Error::Handle);
            }
            if word & SET != 0 {
                return Ok(None);
            }
            let seq = word & SEQ_MASK;
            let is_first = word & WAITERS == 0;
            let spins = wants_to_spin && is_first;
            let new = word + WAITER + if spins { SPINNING } else { 0 };
            if waiter.enter(tag | seq, is_first, || self.change_count(word, new)) {
                return Ok(Some((seq, spins)));
            }
            word = self.word().load(Ordering::Acquire);
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
