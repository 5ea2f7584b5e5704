//! What a Lock and an RLock have in common: the word, the line of those who wait, and the hand-over. A
//! condition hands its notified waiters to it.
//!
//! # State (the header's word)
//!
//! | bits | meaning |
//! |---|---|
//! | 0 to 6 | generation and `LIVE` of the slot |
//! | 7 `QUEUED` | threads stand in line: release has to look after them |
//! | 8 to 63 | the holder: 0 is nobody; a Lock shows 1, an RLock its owner's key |
//!
//! | from | to | by | ordering |
//! |---|---|---|---|
//! | free | held | the fast path, if nobody stands in line; the slow path in any case (barging) | acquire |
//! | held | free | the fast path of release, if nobody stands in line | release |
//! | held | held, `QUEUED` | whoever goes to stand in line, under the line's guard | relaxed: the guard orders it |
//! | held, `QUEUED` | free, `QUEUED` if more wait | release, under the guard: takes the first out, and wakes it to try | release |
//! | held, `QUEUED` | held by the first | release, under the guard, when somebody has waited too long: the hand-over | release |
//! | `QUEUED` | not | whoever leaves the line empty, under the guard | relaxed |
//!
//! Invariant, outside of the guard: `QUEUED` if and only if the line is not empty. A held word with `QUEUED`
//! changes under the guard only. So a release either sees `QUEUED`, or comes before the waiter's change to
//! it, which then fails and looks again.
//!
//! A woken thread may find the lock taken by a newcomer: it returns to the head of the line. Barging keeps a
//! contended lock busy while the woken thread is on its way; but half a millisecond after the line has
//! formed, or after the last hand-over, the next release gives the lock to the first in line, so that nobody
//! waits for ever.
//!
//! Notified waiters of a condition stand in the same line (`notified`). They do not make the lock busy when
//! its last reference is given back; then they are sent on, and find the lock dead: nobody can hold or
//! release it any more, and they do without.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::handle::header::{Header, LIVE, TAG};
use crate::handle::{Handle, Kind};
use crate::park::guarded::{Forget, Guarded};
use crate::park::patience::Patience;
use crate::park::queue::Queue;
use crate::park::spin::Spin;
use crate::park::waiter::{GRANTED, WAITING, WOKEN, Waiter};
use crate::runtime::end;
use crate::runtime::identity::KEY_SHIFT;
use crate::time::{Deadline, Timeout};

const QUEUED: u64 = 1 << 7;
const HOLDER: u64 = !((1 << KEY_SHIFT) - 1);

/// How long a lock stays with whoever comes first before it is handed over, in nanoseconds. Each hand-over
/// costs the lock the time in which a thread wakes, some ten microseconds.
const UNFAIR: u64 = 500_000;

/// See the module.
#[repr(C)]
pub(crate) struct RawLock {
    pub(crate) header: Header,
    line: Guarded<Line>,
    /// Of those who stand in line, and of a condition's waiters, whom this lock's release wakes.
    patience: Patience,
    /// An RLock's own, which would not find room beside this.
    pub(crate) deeper: AtomicU32,
}

struct Line {
    queue: Queue,
    /// When the next release hands the lock over.
    fair_at: Deadline,
}

impl Forget for Line {
    fn forget(&mut self) {
        self.queue.forget();
    }
}

impl Line {
    fn push(&mut self, waiter: &'static Waiter, returns: bool) {
        if self.queue.is_empty() {
            self.fair_at = Deadline::now().after(UNFAIR);
        }
        if returns { self.queue.push_front(waiter) } else { self.queue.push_back(waiter) }
    }
}

/// A kind of object that is a lock.
pub(crate) trait Lockable: Kind {
    fn raw(&self) -> &RawLock;

    /// Whether the caller may release it, and use a condition over it.
    fn is_held_by_caller(&self, tag: u64) -> bool;
}

#[expect(private_bounds, reason = "the kinds are this crate's")]
impl<T: Lockable> Handle<T> {
    /// Takes the lock, for whoever did not get it at once. False if the time ran out.
    #[cold]
    pub(crate) fn acquire_slow(self, claim: u64, timeout: Timeout) -> Result<bool> {
        let (lock, tag) = self.slot()?;
        let lock = lock.raw();
        let mut spin = Spin::new();
        loop {
            let word = lock.word().load(Ordering::Relaxed);
            if word & TAG != tag {
                return Err(Error::Handle);
            }
            if word & HOLDER == 0 {
                if lock.change(word, word | claim, Ordering::Acquire) {
                    return Ok(true);
                }
            } else if timeout.is_none() {
                return Ok(false);
            } else if word & QUEUED != 0 || !spin.again() {
                break;
            }
        }
        let waiter = end::waiter()?;
        let _pin = self.pin()?;
        lock.stand_in_line(claim, waiter, timeout.deadline(), false)
    }
}

impl RawLock {
    #[inline(always)]
    pub(crate) fn word(&self) -> &AtomicU64 {
        &self.header.word
    }

    #[inline(always)]
    fn change(&self, from: u64, to: u64, success: Ordering) -> bool {
        self.word().compare_exchange(from, to, success, Ordering::Relaxed).is_ok()
    }

    /// Takes the lock if it is free and nobody stands in line.
    #[inline(always)]
    pub(crate) fn acquire_fast(&self, tag: u64, claim: u64) -> bool {
        self.change(tag, tag | claim, Ordering::Acquire)
    }

    /// Gives the lock back if the claim holds it and nobody stands in line.
    #[inline(always)]
    pub(crate) fn release_fast(&self, tag: u64, claim: u64) -> bool {
        self.change(tag | claim, tag, Ordering::Release)
    }

    /// Whether the claim holds it.
    #[inline(always)]
    pub(crate) fn is_held(&self, tag: u64, claim: u64) -> bool {
        self.word().load(Ordering::Relaxed) & !QUEUED == tag | claim
    }

    /// Who holds it: 0, or a claim.
    #[inline]
    pub(crate) fn holder(&self, tag: u64) -> Result<u64> {
        let word = self.word().load(Ordering::Relaxed);
        if word & TAG == tag { Ok(word & HOLDER) } else { Err(Error::Handle) }
    }

    /// Gives the lock back. `NotAcquired` if the claim does not hold it.
    #[cold]
    pub(crate) fn release_slow(&self, tag: u64, claim: u64) -> Result<()> {
        loop {
            let word = self.word().load(Ordering::Relaxed);
            if word & TAG != tag {
                return Err(Error::Handle);
            }
            if word & HOLDER != claim {
                return Err(Error::NotAcquired);
            }
            if word & QUEUED != 0 {
                if let Some(result) = self.release_to_line(tag, claim) {
                    return result;
                }
            } else if self.change(word, tag, Ordering::Release) {
                return Ok(());
            }
        }
    }

    /// `None` if the line has dissolved meanwhile.
    fn release_to_line(&self, tag: u64, claim: u64) -> Option<Result<()>> {
        let mut line = self.line.lock();
        let held = tag | claim | QUEUED;
        if self.word().load(Ordering::Relaxed) != held {
            return None;
        }
        // Under the guard a held word with QUEUED is this thread's to change.
        let Some(first) = line.queue.pop() else {
            // The line was the parent's before a fork.
            self.word().store(tag, Ordering::Release);
            return Some(Ok(()));
        };
        let queued = if line.queue.is_empty() { 0 } else { QUEUED };
        let now = Deadline::now();
        let state = if now < line.fair_at {
            self.word().store(tag | queued, Ordering::Release);
            WOKEN
        } else {
            line.fair_at = now.after(UNFAIR);
            self.word().store(tag | first.claim.get() | queued, Ordering::Release);
            GRANTED
        };
        let wake = first.release(state, &self.patience);
        drop(line);
        wake.now();
        Some(Ok(()))
    }

    /// For a waiter of a condition over this lock, the slot pinned: waits until a notify has chosen it and a
    /// release has woken it; `WAITING` if the time ran out.
    pub(crate) fn wait_for_notify(&self, waiter: &'static Waiter, deadline: Deadline) -> u32 {
        waiter.wait(&self.patience, deadline)
    }

    /// Waits for the lock in line, the slot pinned. `returns`: the thread was woken from the line before, and
    /// goes back to its head.
    fn stand_in_line(
        &self,
        claim: u64,
        waiter: &'static Waiter,
        deadline: Deadline,
        returns: bool,
    ) -> Result<bool> {
        let mut returns = returns;
        loop {
            if let Some(acquired) = self.enter_line(claim, waiter, returns) {
                return acquired.map(|()| true);
            }
            let mut state = waiter.wait(&self.patience, deadline);
            if state == WAITING {
                let mut line = self.line.lock();
                state = waiter.state();
                if state == WAITING {
                    line.queue.remove(waiter);
                    if line.queue.is_empty() {
                        self.word().fetch_and(!QUEUED, Ordering::Relaxed);
                    }
                    return Ok(false);
                }
            }
            if state == GRANTED || self.barge(claim) {
                return Ok(true);
            }
            if deadline.has_passed() {
                return Ok(false);
            }
            returns = true;
        }
    }

    /// `None` if the waiter stands in line now; otherwise it has the lock, or there is none any more.
    fn enter_line(&self, claim: u64, waiter: &'static Waiter, returns: bool) -> Option<Result<()>> {
        let mut line = self.line.lock();
        loop {
            let word = self.word().load(Ordering::Relaxed);
            if word & HOLDER == 0 {
                if self.change(word, word | claim, Ordering::Acquire) {
                    return Some(Ok(()));
                }
            } else if word & LIVE == 0 {
                return Some(Err(Error::Handle));
            } else if word & QUEUED != 0 || self.change(word, word | QUEUED, Ordering::Relaxed) {
                let notified = waiter.notified.get();
                waiter.prepare(claim);
                waiter.notified.set(notified && returns);
                line.push(waiter, returns);
                return None;
            }
        }
    }

    /// Takes the lock for a thread that was woken for it, if it comes free soon, past those who stand in
    /// line.
    fn barge(&self, claim: u64) -> bool {
        let mut spin = Spin::new();
        loop {
            let word = self.word().load(Ordering::Relaxed);
            if word & HOLDER == 0 {
                if self.change(word, word | claim, Ordering::Acquire) {
                    return true;
                }
            } else if !spin.again() {
                return false;
            }
        }
    }

    /// A condition's waiters that were notified: from here on they wait for the lock. It is held as a rule,
    /// and its release looks after them one by one; if it is not, they are woken now.
    pub(crate) fn adopt(&self, notified: impl Iterator<Item = &'static Waiter>) {
        let mut line = self.line.lock();
        let held = loop {
            let word = self.word().load(Ordering::Relaxed);
            if word & HOLDER == 0 || word & LIVE == 0 {
                break false;
            }
            if word & QUEUED != 0 || self.change(word, word | QUEUED, Ordering::Relaxed) {
                break true;
            }
        };
        for waiter in notified {
            waiter.notified.set(true);
            if held { line.push(waiter, false) } else { waiter.release(WOKEN, &self.patience).now() }
        }
        if line.queue.is_empty() {
            self.word().fetch_and(!QUEUED, Ordering::Relaxed);
        }
    }

    /// For a notified waiter, the slot pinned: waits until it has the lock again. Its state was `state` when
    /// it woke. Without a time limit.
    pub(crate) fn acquire_notified(&self, claim: u64, waiter: &'static Waiter, state: u32) {
        if state != GRANTED && !self.barge(claim) {
            // An error means that the lock is dead, held by nobody who could release it: there is nothing
            // left to exclude.
            let _ = self.stand_in_line(claim, waiter, Deadline::NEVER, true);
        }
    }

    /// For a waiter of a condition whose time ran out, the slot pinned.
    pub(crate) fn acquire_again(&self, claim: u64, waiter: &'static Waiter) {
        if !self.barge(claim) {
            let _ = self.stand_in_line(claim, waiter, Deadline::NEVER, false);
        }
    }

    /// Whether threads are blocked on it that no notify has chosen.
    pub(crate) fn is_busy(&self) -> bool {
        self.line.lock().queue.iter().any(|waiter| !waiter.notified.get())
    }

    /// `Kind::kill` of a lock.
    pub(crate) fn kill(&self, tag: u64, forced: bool) -> bool {
        let mut line = self.line.lock();
        if !forced && line.queue.iter().any(|waiter| !waiter.notified.get()) {
            return false;
        }
        self.header.end_life(tag);
        while let Some(waiter) = line.queue.pop() {
            waiter.release(WOKEN, &self.patience).now();
        }
        true
    }

    /// As new: free. Meant for a child process, where whoever held it may not exist; threads of this process
    /// that wait try again.
    pub(crate) fn reinit(&self, tag: u64) -> Result<()> {
        let mut line = self.line.lock();
        let mut word = self.word().load(Ordering::Relaxed);
        loop {
            if word & TAG != tag {
                return Err(Error::Handle);
            }
            match self.word().compare_exchange(word, tag, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        while let Some(waiter) = line.queue.pop() {
            waiter.release(WOKEN, &self.patience).now();
        }
        Ok(())
    }
}
