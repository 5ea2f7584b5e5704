//! What a Lock and an RLock have in common: the word, the line of those who wait, and the hand-over. A
//! condition hands its notified waiters to it.
//!
//! # State (the header's word)
//!
//! | bits | meaning |
//! |---|---|
//! | 0 to 6 | generation and `LIVE` of the slot |
//! | 7 `QUEUED` | threads stand in line |
//! | 8 `CALLED` | and as many as it takes have been called and are on their way |
//! | 9 to 63 | the holder: 0 if it is free; a Lock shows `HELD`, an RLock its owner's key. Bit 9 alone, `OFFERED`: the lock is reserved for a waiter that has not come yet |
//!
//! | from | to | by | ordering |
//! |---|---|---|---|
//! | free | held | whoever comes first, past the line (barging) | acquire |
//! | held, not `QUEUED` | free | release | release |
//! | held, `QUEUED`, `CALLED` | free, the same | release, which now and then looks at the time instead | release |
//! | held, `QUEUED` | free, `QUEUED`, `CALLED` | release, under the line's guard: calls the first in line | release |
//! | held, `QUEUED` | offered | release, under the guard, when it is time: the hand-over to the first in line | release |
//! | offered | held | the waiter to which it was offered, under the guard | acquire |
//! | offered | held | another thread that wants the lock, under the guard, after `GRACE`: it revokes the offer | acquire |
//! | offered, a Lock's | as by any release | a release by any thread, under the guard: the waiter has had the lock | release |
//! | any | other flags | whoever changes the line, under its guard | relaxed: the guard orders it |
//!
//! Invariant, whenever nobody has the guard: the flags show what the line is like, and if there is a line,
//! somebody looks after it: a thread that has been called, or the holder, whose release finds `QUEUED` alone.
//!
//! A thread that is called stays in line until it has the lock; if a newcomer has been faster, it sleeps again
//! where it stands. So a contended lock stays busy while the called thread wakes. But half a millisecond after
//! the line has formed, or after the last hand-over, or a little later, a release gives the lock to the first in
//! line, whom the newcomers then have to let run: nobody waits for ever.
//!
//! # A waiter that does not come
//!
//! A waiter that has been called or offered the lock may be unable to run: its thread is in a signal handler, or has
//! lost its CPU. The others must not depend on it: the handler may wait for one of them.
//!
//! - A wake-up tells whether the thread slept. If it did not, the thread has not begun to sleep yet, or runs a signal
//!   handler. It counts as absent until it has come: the lock calls the next one instead, and offers it to others.
//! - A lock that has been offered is not the waiter's before the waiter has accepted it, which it does under the guard
//!   and stands in line until then. After a millisecond (`GRACE`), any thread that wants the lock takes it instead, and
//!   the waiter is absent, with its place in line.
//! - Threads that are called while such a waiter is absent, or begin to wait then, sleep no longer than that, and then
//!   look again.
//! - A waiter that did sleep comes nearly always. For the case that a signal or another program is faster, one thread is
//!   to watch it, but only if none has been for some milliseconds (`WATCH_SHIFT`): the next in line, which the release
//!   calls as well, or the next to come. While waiters do not come, all of these watch every offer (`ALERT`).
//!
//! To its thread's own signal handlers, an offered lock looks like one that another thread holds.
//!
//! Notified waiters of a condition stand in the same line (`notified`). They do not make the lock busy when
//! its last reference is given back; then they are sent on, and find the lock dead: nobody can hold or
//! release it any more, and they do without.

use crate::sys::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::handle::header::{Header, LIVE, TAG};
use crate::handle::{Handle, Kind};
use crate::sync::adaptive_spin::Patience;
use crate::sync::lock_annotations::{self, AtomicTsanOwner};
use crate::sync::mutex::{Forget, Guarded};
use crate::sync::spin_wait::Spin;
use crate::sync::wait_queue::Queue;
use crate::sync::waiter::{self, GRANTED, OFFERED as OFFERED_TO, REFUSED, WAITING, WOKEN, Waiter, Wake};
use crate::sys::annotate;
use crate::sys::tls;
use crate::thread::ident::KEY_SHIFT;
use crate::time::{Deadline, Timeout};

const QUEUED: u64 = 1 << 7;
const CALLED: u64 = 1 << 8;
const FLAGS: u64 = QUEUED | CALLED;
/// What the word shows as the holder while the lock is reserved: less than any claim.
const OFFERED: u64 = 1 << 9;
const HOLDER: u64 = !(OFFERED - 1);
const _: () = assert!(OFFERED < 1 << KEY_SHIFT);

/// How long a lock stays with whoever comes first before it is handed over: half a millisecond, in units of
/// 2^`FAIR_SHIFT` nanoseconds.
const UNFAIR: u32 = 8;
const FAIR_SHIFT: u32 = 16;
/// How much longer, if the first in line does not seem to wait for the holder's own CPU: then it is on its way, or
/// another program has its CPU, and while it held the lock nobody would get on.
const LATE: u32 = 12;
/// How long an offer stands before it may be revoked: a millisecond.
const GRACE: u32 = 16;
/// How often an offer has the next in line called as well, to watch whether it is accepted: once in 2^`WATCH_SHIFT`
/// of the same units, eight milliseconds.
const WATCH_SHIFT: u32 = 7;
/// For how long every offer is watched after a waiter has not come, in the same units: eight seconds.
const ALERT: u32 = 1 << 17;
/// How many releases a thread makes, while another is on its way to the lock, before it looks at the time. A
/// prime, since the releases of all its locks are counted together.
const HURRIED: u32 = if cfg!(model) { 2 } else { 61 };

/// How many threads may be on their way to the lock at once. One is enough as a rule: more would find it taken.
const COMING: u16 = 1;
/// As long as the first in line was notified: after a broadcast there are many, who want the lock for a moment
/// each, and CPUs that would fall asleep between one and the next, from which it takes long to be woken.
const COMING_NOTIFIED: u16 = 32;
/// How many are called at a time, so that those who have come share in the work of waking the others.
const CALLS: usize = 3;

/// See the module.
#[repr(C)]
pub(crate) struct RawLock {
    pub(crate) header: Header,
    line: Guarded<Line>,
    /// Of those who stand in line, and of a condition's waiters, whom this lock's release wakes.
    patience: Patience,
    /// Who took it, while a race detector watches.
    taker: AtomicTsanOwner,
}

struct Line {
    queue: Queue,
    /// When the next release hands the lock over. A moment in units that wrap around: a time before or far after
    /// this one has passed it.
    fair_at: u32,
    /// How many in the line have been called and are not absent.
    coming: u16,
    /// When an offer last had the next in line called as well.
    watched: u16,
}

impl Forget for Line {
    fn forget(&mut self) {
        self.queue.forget();
        self.coming = 0;
    }
}

/// When a waiter of any lock was last found not to come; 0 if none was.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_own"))]
static LAST_MISSED: AtomicU32 = AtomicU32::new(0);

/// Whether waiters of this process have lately not come: then there are handlers that run for long, and the next waiter
/// may not come either, nor the one that would have watched it.
fn is_alert(now: u32) -> bool {
    let last = LAST_MISSED.load(Ordering::Relaxed);
    last != 0 && now.wrapping_sub(last) < ALERT
}

fn be_alert(now: u32) {
    LAST_MISSED.store(now.max(1), Ordering::Relaxed);
}

/// Before each run of a model.
#[cfg(model)]
pub(crate) fn reset() {
    LAST_MISSED.store(0, Ordering::Relaxed);
}

/// Now, for `Line::fair_at`.
fn fair_now() -> u32 {
    (Deadline::now().0 >> FAIR_SHIFT) as u32
}

impl Line {
    fn push(&mut self, waiter: &'static Waiter) {
        if self.queue.is_empty() {
            self.fair_at = fair_now().wrapping_add(UNFAIR);
        }
        waiter.called.set(false);
        waiter.absent.set(false);
        waiter.watches.set(false);
        self.queue.push_back(waiter);
    }

    fn remove(&mut self, waiter: &'static Waiter) {
        self.queue.remove(waiter);
        self.uncall(waiter);
    }

    fn call(&mut self, waiter: &'static Waiter) {
        if !waiter.called.replace(true) {
            self.coming = self.coming.saturating_add(1);
        }
    }

    /// The waiter has come: it is neither called nor absent.
    fn uncall(&mut self, waiter: &'static Waiter) {
        self.miss(waiter);
        waiter.called.set(false);
        waiter.absent.set(false);
    }

    /// The waiter has been called, or the lock offered to it, and it does not come.
    fn miss(&mut self, waiter: &'static Waiter) {
        if !waiter.absent.replace(true) && waiter.called.get() {
            // Nobody comes in a child that has forgotten the line, but for whoever forked in a signal handler.
            self.coming = self.coming.saturating_sub(1);
        }
    }

    /// Whom to hand the lock to, if it is time.
    fn heir(&self, now: u32) -> Option<&'static Waiter> {
        let is_time = self.fair_at.wrapping_sub(now).wrapping_sub(1) >= UNFAIR;
        let is_late = now.wrapping_sub(self.fair_at) >= LATE;
        let first = self.queue.first().filter(|_| is_time)?;
        let first = if first.absent.get() {
            be_alert(now);
            self.queue.iter().find(|waiter| !waiter.absent.get())?
        } else {
            first
        };
        (is_late || first.needs_this_cpu()).then_some(first)
    }

    /// The waiter to which the lock is offered. None in a child of fork that has forgotten the line.
    fn offered(&self) -> Option<&'static Waiter> {
        self.queue.iter().find(|waiter| waiter.state() == OFFERED_TO)
    }

    /// How long an offer stands yet, in the units of `fair_at`; 0 if it may be revoked. The lock was last offered
    /// `UNFAIR` before `fair_at`.
    fn grace(&self, now: u32) -> u32 {
        let left = self.fair_at.wrapping_add(GRACE - UNFAIR).wrapping_sub(now);
        if left <= GRACE { left } else { 0 }
    }

    /// Whether an offer has the next in line called as well.
    fn watches(&mut self, now: u32) -> bool {
        let time = (now >> WATCH_SHIFT) as u16;
        core::mem::replace(&mut self.watched, time) != time || is_alert(now)
    }

    /// What the word has to show.
    fn flags(&self) -> u64 {
        match self.queue.first() {
            None => 0,
            Some(first) => {
                let enough = if first.notified.get() { COMING_NOTIFIED } else { COMING };
                if self.coming < enough && self.uncalled().is_some() { QUEUED } else { FLAGS }
            }
        }
    }

    /// Whether somebody is in it who is still to be woken for the lock.
    fn is_busy(&self) -> bool {
        self.queue.iter().any(|waiter| !waiter.notified.get() && !waiter.called.get())
    }

    /// The first who has not been called, and can be.
    fn uncalled(&self) -> Option<&'static Waiter> {
        self.queue.iter().find(|waiter| !waiter.called.get() && !waiter.absent.get())
    }
}

/// Wake-ups to be made when the guard is gone: threads that woke under it would wait for it at once.
#[derive(Default)]
struct Wakes([Option<(Wake<'static>, Option<&'static Waiter>)>; CALLS + 1]);

impl Wakes {
    /// Lets a waiter go, under the guard. Whether its thread was looking, as far as could be seen.
    fn add(&mut self, waiter: &'static Waiter, state: u32, patience: &Patience) -> bool {
        let wake = waiter.release(state, patience);
        let was_looking = wake.was_looking();
        // Only for one that was called does another come instead.
        let called = matches!(state, WOKEN | OFFERED_TO).then_some(waiter);
        match self.0.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some((wake, called)),
            None => {
                let _ = wake.now();
            }
        }
        was_looking
    }

    /// Makes them, and returns those who were called, but did not sleep.
    fn make(self) -> Missed {
        Missed(self.0.map(|place| place.and_then(|(wake, called)| if wake.now() { None } else { called })))
    }
}

/// Waiters that did not sleep when they were called.
struct Missed([Option<&'static Waiter>; CALLS + 1]);

/// Whether the calling thread releases without a look at the time: now and then it does look, so that the lock
/// is handed over in time even if whoever was called is long in coming.
fn is_in_hurry() -> bool {
    tls::with(|mine| {
        mine.hurried.set(mine.hurried.get().wrapping_add(1));
        mine.hurried.get() % HURRIED != 0
    })
}

/// A kind of object that is a lock.
pub(crate) trait Lockable: Kind {
    /// Whether any thread may release it.
    const IS_ANYBODYS: bool;

    fn raw(&self) -> &RawLock;

    /// To race detectors: the lock is about to be given back, by whomever.
    fn announce_given(&self) {
        lock_annotations::mutex_unlock(self, &self.raw().taker);
    }
}

#[expect(private_bounds, reason = "the kinds are this crate's")]
impl<T: Lockable> Handle<T> {
    /// A lock has been made: `mutex_destroyed` is owed.
    pub(crate) fn made(self) -> Self {
        if annotate::watches()
            && let Ok((lock, _)) = self.slot()
        {
            lock_annotations::mutex_created(lock);
        }
        self
    }

    /// Takes the lock, which the caller does not hold, by this means, and announces it.
    #[inline(always)]
    pub(crate) fn announced(self, timeout: Timeout, take: impl FnOnce() -> Result<bool>) -> Result<bool> {
        if !annotate::watches() {
            return take();
        }
        let (lock, _) = self.check()?;
        if timeout == Timeout::FOREVER {
            lock_annotations::mutex_pre_lock(lock);
        }
        let taken = take()?;
        if taken {
            lock_annotations::mutex_post_lock(lock, timeout == Timeout::FOREVER, &lock.raw().taker);
            // Freed meanwhile: nobody will give it back.
            if self.check().is_err() {
                lock.announce_given();
            }
        }
        Ok(taken)
    }

    /// Announces that the caller has the lock again after a wait.
    pub(crate) fn announce_again(self) {
        if annotate::watches()
            && let Ok((lock, _)) = self.check()
        {
            lock_annotations::mutex_post_lock(lock, true, &lock.raw().taker);
        }
    }

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
                return Ok(word & HOLDER == OFFERED && lock.try_revoke(tag, claim));
            } else if word & QUEUED != 0 || !spin.again() {
                break;
            }
        }
        let waiter = waiter::current()?;
        let _pin = self.pin()?;
        lock.wait_in_line(claim, waiter, timeout.deadline())
    }

    /// Gives the lock back. `NotAcquired` if the claim does not hold it.
    #[cold]
    pub(crate) fn release_slow(self, claim: u64) -> Result<()> {
        let (lock, tag) = self.slot()?;
        let lock = lock.raw();
        loop {
            let word = lock.word().load(Ordering::Relaxed);
            if word & TAG != tag {
                return Err(Error::Handle);
            }
            let holder = word & HOLDER;
            if holder != claim && !(T::IS_ANYBODYS && holder == OFFERED) {
                return Err(Error::NotAcquired);
            }
            let released = if word & QUEUED == 0 {
                lock.change(word, tag, Ordering::Release)
            } else {
                // Another thread may free the lock before this one has called all that it has to.
                let _pin = self.pin()?;
                lock.release_to_line(tag | holder)
            };
            if released {
                return Ok(());
            }
        }
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

    /// Takes the lock if it is free.
    #[inline(always)]
    pub(crate) fn acquire_fast(&self, tag: u64, claim: u64) -> bool {
        match self.word().compare_exchange(tag, tag | claim, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => true,
            // Past those who stand in line.
            Err(word) => word & !FLAGS == tag && self.change(word, word | claim, Ordering::Acquire),
        }
    }

    /// Gives the lock back if the claim holds it and nobody has to be looked after.
    #[inline(always)]
    pub(crate) fn release_fast(&self, tag: u64, claim: u64) -> bool {
        match self.word().compare_exchange(tag | claim, tag, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => true,
            Err(word) => {
                word == tag | claim | FLAGS
                    && is_in_hurry()
                    && self.change(word, tag | FLAGS, Ordering::Release)
            }
        }
    }

    /// Whether the claim holds it.
    #[inline(always)]
    pub(crate) fn is_held(&self, tag: u64, claim: u64) -> bool {
        self.word().load(Ordering::Relaxed) & !FLAGS == tag | claim
    }

    /// Who holds it: 0, or a claim, or less than that if it is reserved for a waiter.
    #[inline(always)]
    pub(crate) fn holder(&self, tag: u64) -> Result<u64> {
        let word = self.word().load(Ordering::Relaxed);
        if word & TAG == tag { Ok(word & HOLDER) } else { Err(Error::Handle) }
    }

    /// Who held it last, for a lock that is dead.
    pub(crate) fn last_holder(&self) -> u64 {
        self.word().load(Ordering::Relaxed) & HOLDER
    }

    /// For the holder, as `held` says, the slot pinned: hands the lock over, or frees it and looks after the line. False
    /// if the word shows something else by now.
    fn release_to_line(&self, held: u64) -> bool {
        self.with_line(|line, wakes| {
            let word = self.word().load(Ordering::Relaxed);
            if word & !FLAGS != held {
                return false;
            }
            self.grant_offered(line, wakes);
            let now = fair_now();
            let heir = line.heir(now);
            let next = if heir.is_some() { OFFERED } else { 0 };
            if !self.change(word, word & !HOLDER | next, Ordering::Release) {
                return false;
            }
            if let Some(heir) = heir {
                line.fair_at = now.wrapping_add(UNFAIR);
                line.call(heir);
                if wakes.add(heir, OFFERED_TO, &self.patience) {
                    // It may run a signal handler in the midst of its look.
                    line.miss(heir);
                }
                if line.watches(now)
                    && let Some(next) = self.call_next(line, wakes)
                {
                    next.watches.set(true);
                }
            }
            self.look_after(line, wakes);
            true
        })
    }

    /// If the lock is offered to a waiter, that one has acquired it: from here on, the caller acts on a lock which is
    /// held.
    fn grant_offered(&self, line: &mut Line, wakes: &mut Wakes) {
        if self.word().load(Ordering::Relaxed) & HOLDER == OFFERED
            && let Some(heir) = line.offered()
        {
            line.remove(heir);
            let _ = wakes.add(heir, GRANTED, &self.patience);
        }
    }

    /// Takes the lock, which is offered, under the guard: the waiter does that has it offered, or a thread that revokes
    /// the offer. False if it is not offered any more.
    fn take_offered(&self, claim: u64) -> bool {
        loop {
            let word = self.word().load(Ordering::Relaxed);
            if word & HOLDER != OFFERED {
                return false;
            }
            if self.change(word, word & !HOLDER | claim, Ordering::Acquire) {
                return true;
            }
        }
    }

    /// Takes the lock for a thread that wants it, under the guard, if it is offered to a waiter that has not come in
    /// time.
    fn revoke(&self, line: &mut Line, claim: u64) -> bool {
        if self.word().load(Ordering::Relaxed) & HOLDER != OFFERED {
            return false;
        }
        let (heir, now) = (line.offered(), fair_now());
        if (heir.is_some() && line.grace(now) > 0) || !self.take_offered(claim) {
            return false;
        }
        if let Some(heir) = heir {
            be_alert(now);
            line.miss(heir);
            heir.called.set(false);
            heir.revoke();
        }
        true
    }

    /// As `revoke`, for a thread that does not wait.
    #[cold]
    fn try_revoke(&self, tag: u64, claim: u64) -> bool {
        self.with_line(|line, wakes| {
            let revoked = self.header.is(tag) && self.revoke(line, claim);
            if revoked {
                self.look_after(line, wakes);
            }
            revoked
        })
    }

    /// When a thread in line has to look again, the guard held: at the end of the grace, if the lock is offered to a
    /// waiter that did not sleep when it was woken, or if this thread is the one to watch. `watches`: it was called
    /// for that.
    fn look_again_at(&self, line: &mut Line, watches: bool) -> Deadline {
        if self.word().load(Ordering::Relaxed) & HOLDER != OFFERED {
            return Deadline::NEVER;
        }
        let time = Deadline::now();
        let now = (time.0 >> FAIR_SHIFT) as u32;
        let is_unsure = line.offered().is_none_or(|heir| heir.absent.get());
        if is_unsure || watches || line.watches(now) {
            time.after(u64::from(line.grace(now)) << FAIR_SHIFT)
        } else {
            Deadline::NEVER
        }
    }

    /// Does something with the line under its guard, and then wakes whom that has let go. If it calls any, the slot
    /// is pinned.
    fn with_line<R>(&self, f: impl FnOnce(&mut Line, &mut Wakes) -> R) -> R {
        let mut wakes = Wakes::default();
        let result = f(&mut self.line.lock(), &mut wakes);
        let mut missed = wakes.make();
        while missed.0.iter().any(Option::is_some) {
            missed = self.call_instead(missed);
        }
        result
    }

    /// Waiters that were woken, but did not sleep, may not come: another one is called in their stead, if there is any.
    #[cold]
    fn call_instead(&self, missed: Missed) -> Missed {
        let mut wakes = Wakes::default();
        let mut line = self.line.lock();
        for waiter in missed.0.into_iter().flatten() {
            // By now it may have come, and even stand in another line.
            let stands_here = line.queue.iter().any(|other| core::ptr::eq(other, waiter));
            if stands_here && matches!(waiter.state(), WOKEN | OFFERED_TO) && !waiter.absent.get() {
                line.miss(waiter);
                if self.word().load(Ordering::Relaxed) & HOLDER == OFFERED {
                    let _ = self.call_next(&mut line, &mut wakes);
                }
            }
        }
        self.look_after(&mut line, &mut wakes);
        drop(line);
        wakes.make()
    }

    /// Calls the next one, if there is any.
    fn call_next(&self, line: &mut Line, wakes: &mut Wakes) -> Option<&'static Waiter> {
        let waiter = line.uncalled()?;
        line.call(waiter);
        let _ = wakes.add(waiter, WOKEN, &self.patience);
        Some(waiter)
    }

    /// Shows in the word what the line is like, after it has changed. If somebody has to look after it and
    /// nobody holds the lock, calls the next ones.
    fn look_after(&self, line: &mut Line, wakes: &mut Wakes) {
        let mut calls = 0;
        loop {
            let word = self.word().load(Ordering::Relaxed);
            let flags = line.flags();
            if flags == QUEUED && word & HOLDER == 0 && calls < CALLS {
                calls += 1;
                let _ = self.call_next(line, wakes);
            } else if word & FLAGS == flags || self.change(word, word & !FLAGS | flags, Ordering::Relaxed) {
                return;
            }
        }
    }

    /// For a waiter of a condition over this lock, the slot pinned: waits until a notify has chosen it and it has
    /// been called, or more; `WAITING` if the time ran out.
    pub(crate) fn wait_for_notify(&self, waiter: &'static Waiter, deadline: Deadline) -> u32 {
        waiter.wait(&self.patience, deadline)
    }

    /// Waits for the lock in line, the slot pinned. False if the time ran out.
    fn wait_in_line(&self, claim: u64, waiter: &'static Waiter, deadline: Deadline) -> Result<bool> {
        loop {
            let until = match self.enter_line(claim, waiter)? {
                Some(until) => until,
                None => return Ok(true),
            };
            let until = deadline.min(until);
            let state = waiter.wait(&self.patience, until);
            if let Some(acquired) = self.stay_in_line(claim, waiter, state, until, deadline) {
                return Ok(acquired);
            }
        }
    }

    /// `None` if the caller has the lock; otherwise the waiter stands in line now, and has to look again at that time.
    fn enter_line(&self, claim: u64, waiter: &'static Waiter) -> Result<Option<Deadline>> {
        self.with_line(|line, wakes| {
            let mut word = self.word().load(Ordering::Relaxed);
            while word & HOLDER == 0 {
                match self.word().compare_exchange(word, word | claim, Ordering::Acquire, Ordering::Relaxed) {
                    Ok(_) => return Ok(None),
                    Err(now) => word = now,
                }
            }
            if word & LIVE == 0 {
                return Err(Error::Handle);
            }
            let revoked = self.revoke(line, claim);
            if !revoked {
                waiter.prepare(claim);
                line.push(waiter);
            }
            self.look_after(line, wakes);
            if !revoked && self.word().load(Ordering::Relaxed) & LIVE == 0 {
                // Freed beside this: `kill` may not have seen that the line is not empty.
                line.remove(waiter);
                return Err(Error::Handle);
            }
            Ok((!revoked).then(|| self.look_again_at(line, false)))
        })
    }

    /// For a waiter in line that has stopped waiting in this state, at `waited_until` at the latest: waits on until it has
    /// the lock (true) or its timeout has expired (false). `None` if the line has been dissolved.
    fn stay_in_line(
        &self,
        claim: u64,
        waiter: &'static Waiter,
        mut state: u32,
        mut waited_until: Deadline,
        deadline: Deadline,
    ) -> Option<bool> {
        loop {
            match state {
                GRANTED => return Some(true),
                REFUSED => return None,
                _ => {}
            }
            // A called one takes the lock if it comes free soon.
            let mut took = state == WOKEN && self.barge(claim, waiter);
            // By the kernel's clock, too: a replaced one may stand still.
            let has_expired = state == WAITING && waited_until == deadline || deadline.has_passed();
            let is_late = !took && state != OFFERED_TO && has_expired;
            let mut until = Deadline::NEVER;
            let left = self.with_line(|line, wakes| {
                state = waiter.state();
                if state == GRANTED || state == REFUSED {
                    return false;
                }
                if state == OFFERED_TO {
                    took |= self.take_offered(claim);
                } else if !took {
                    took = self.revoke(line, claim);
                }
                if took || is_late {
                    line.remove(waiter);
                } else {
                    let watches = waiter.watches.replace(false);
                    line.uncall(waiter);
                    waiter.resume();
                    until = self.look_again_at(line, watches);
                }
                self.look_after(line, wakes);
                took || is_late
            });
            if left || took {
                return Some(took);
            }
            if state != GRANTED && state != REFUSED {
                waited_until = deadline.min(until);
                state = waiter.wait(&self.patience, waited_until);
            }
        }
    }

    /// For a waiter that was called: takes the lock if it comes free soon, past those who stand before it. False
    /// too if it has been handed over meanwhile.
    fn barge(&self, claim: u64, waiter: &Waiter) -> bool {
        let mut spin = Spin::new();
        while waiter.state() == WOKEN {
            let word = self.word().load(Ordering::Relaxed);
            if word & HOLDER == 0 {
                if self.change(word, word | claim, Ordering::Acquire) {
                    return true;
                }
            } else if !spin.again() {
                break;
            }
        }
        false
    }

    /// A condition's waiters that were notified: from here on they wait for the lock. It is held as a rule, and
    /// its release looks after them.
    pub(crate) fn adopt(&self, notified: impl Iterator<Item = &'static Waiter>) {
        self.with_line(|line, wakes| {
            for waiter in notified {
                waiter.notified.set(true);
                line.push(waiter);
            }
            self.look_after(line, wakes);
            if self.word().load(Ordering::Relaxed) & LIVE == 0 {
                self.dissolve(line, wakes);
            }
        });
    }

    /// For waiters of a condition over this lock that nothing can notify any more.
    pub(crate) fn refuse(&self, waiters: impl Iterator<Item = &'static Waiter>) {
        for waiter in waiters {
            let _ = waiter.release(REFUSED, &self.patience).now();
        }
    }

    /// Sends all away who stand in line.
    fn dissolve(&self, line: &mut Line, wakes: &mut Wakes) {
        while let Some(waiter) = line.queue.first() {
            line.remove(waiter);
            let _ = wakes.add(waiter, REFUSED, &self.patience);
        }
    }

    /// For a notified waiter, the slot pinned: waits until it has the lock again. Its state was `state` when
    /// it woke. Without a time limit.
    pub(crate) fn acquire_notified(&self, claim: u64, waiter: &'static Waiter, state: u32) {
        if self.stay_in_line(claim, waiter, state, Deadline(0), Deadline::NEVER).is_none() {
            self.acquire_again(claim, waiter);
        }
    }

    /// For a waiter of a condition that stands in no line, the slot pinned.
    pub(crate) fn acquire_again(&self, claim: u64, waiter: &'static Waiter) {
        // An error means that the lock is dead, held by nobody who could release it: there is nothing left to
        // exclude.
        let _ = self.wait_in_line(claim, waiter, Deadline::NEVER);
    }

    /// Whether threads are blocked on it: such as no notify has chosen, and as have not been called.
    pub(crate) fn is_busy(&self, tag: u64) -> bool {
        if self.word().load(Ordering::Relaxed) & QUEUED == 0 {
            return false;
        }
        let line = self.line.lock();
        self.header.is(tag) && line.is_busy()
    }

    /// `Kind::kill` of a lock. The threads in line are sent on: those that have been called, and those that have entered it
    /// beside the last free. A thread enters it by setting `QUEUED` in a word that still shows `LIVE`.
    pub(crate) fn kill(&self, tag: u64) {
        self.header.end_life(tag);
        if self.word().load(Ordering::Relaxed) & QUEUED != 0 {
            self.with_line(|line, wakes| {
                self.grant_offered(line, wakes);
                self.dissolve(line, wakes);
            });
        }
    }

    /// As new: free. Meant for a child process, where whoever held it may not exist; threads of this process
    /// that wait try again.
    pub(crate) fn reinit(&self, tag: u64) -> Result<()> {
        self.with_line(|line, wakes| {
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
            self.dissolve(line, wakes);
            Ok(())
        })
    }
}
