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
//! | 9 to 63 | the holder: 0 is nobody; a Lock shows 1, an RLock its owner's key |
//!
//! | from | to | by | ordering |
//! |---|---|---|---|
//! | free | held | whoever comes first, past the line (barging) | acquire |
//! | held, not `QUEUED` | free | release | release |
//! | held, `QUEUED`, `CALLED` | free, the same | release, which now and then looks at the time instead | release |
//! | held, `QUEUED` | free, `QUEUED`, `CALLED` | release, under the line's guard: calls the first in line | release |
//! | held, `QUEUED` | held by the first in line | release, under the guard, when it is time: the hand-over | release |
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
//! Notified waiters of a condition stand in the same line (`notified`). They do not make the lock busy when
//! its last reference is given back; then they are sent on, and find the lock dead: nobody can hold or
//! release it any more, and they do without.

use crate::atomic::{AtomicU64, Ordering};

use crate::detector::{self, AtomicTaker};
use crate::error::{Error, Result};
use crate::handle::header::{Header, LIVE, TAG};
use crate::handle::{Handle, Kind};
use crate::park::guarded::{Forget, Guarded};
use crate::park::patience::Patience;
use crate::park::queue::Queue;
use crate::park::spin::Spin;
use crate::park::waiter::{GRANTED, REFUSED, WAITING, WOKEN, Waiter, Wake};
use crate::per_thread;
use crate::runtime::end;
use crate::runtime::identity::KEY_SHIFT;
use crate::time::{Deadline, Timeout};

const QUEUED: u64 = 1 << 7;
const CALLED: u64 = 1 << 8;
const FLAGS: u64 = QUEUED | CALLED;
const HOLDER: u64 = !((1 << KEY_SHIFT) - 1);

/// How long a lock stays with whoever comes first before it is handed over: half a millisecond, in units of
/// 2^`FAIR_SHIFT` nanoseconds.
const UNFAIR: u32 = 8;
const FAIR_SHIFT: u32 = 16;
/// How much longer, if the first in line does not seem to wait for the holder's own CPU: then it is on its way, or
/// another program has its CPU, and while it held the lock nobody would get on.
const LATE: u32 = 12;
/// How many releases a thread makes, while another is on its way to the lock, before it looks at the time. A
/// prime, since the releases of all its locks are counted together.
const HURRIED: u32 = if cfg!(model) { 2 } else { 61 };

/// How many threads may be on their way to the lock at once. One is enough as a rule: more would find it taken.
const COMING: u32 = 1;
/// As long as the first in line was notified: after a broadcast there are many, who want the lock for a moment
/// each, and CPUs that would fall asleep between one and the next, from which it takes long to be woken.
const COMING_NOTIFIED: u32 = 32;
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
    taker: AtomicTaker,
}

struct Line {
    queue: Queue,
    /// When the next release hands the lock over. A moment in units that wrap around: a time before or far after
    /// this one has passed it.
    fair_at: u32,
    /// How many in the line have been called.
    coming: u32,
}

impl Forget for Line {
    fn forget(&mut self) {
        self.queue.forget();
        self.coming = 0;
    }
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
        self.queue.push_back(waiter);
    }

    fn remove(&mut self, waiter: &'static Waiter) {
        self.queue.remove(waiter);
        self.uncall(waiter);
    }

    fn uncall(&mut self, waiter: &'static Waiter) {
        // Nobody comes in a child that has forgotten the line, but for whoever forked in a signal handler.
        self.coming = self.coming.saturating_sub(u32::from(waiter.called.replace(false)));
    }

    /// Whom to hand the lock to, if it is time.
    fn heir(&self, now: u32) -> Option<&'static Waiter> {
        let is_time = self.fair_at.wrapping_sub(now).wrapping_sub(1) >= UNFAIR;
        let is_late = now.wrapping_sub(self.fair_at) >= LATE;
        self.queue.first().filter(|first| is_time && (is_late || first.needs_this_cpu()))
    }

    /// What the word has to show.
    fn flags(&self) -> u64 {
        match self.queue.first() {
            None => 0,
            Some(first) => {
                let enough = if first.notified.get() { COMING_NOTIFIED } else { COMING };
                let others = self.queue.iter().nth(self.coming as usize).is_some();
                if self.coming < enough && others { QUEUED } else { FLAGS }
            }
        }
    }

    /// Whether somebody is in it who is still to be woken for the lock.
    fn is_busy(&self) -> bool {
        self.queue.iter().any(|waiter| !waiter.notified.get() && !waiter.called.get())
    }

    /// The first who has not been called.
    fn uncalled(&self) -> Option<&'static Waiter> {
        self.queue.iter().find(|waiter| !waiter.called.get())
    }
}

/// Wake-ups to be made when the guard is gone: threads that woke under it would wait for it at once.
#[derive(Default)]
struct Wakes([Option<Wake<'static>>; CALLS + 1]);

impl Wakes {
    fn add(&mut self, wake: Wake<'static>) {
        match self.0.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(wake),
            None => wake.now(),
        }
    }
}

/// Whether the calling thread releases without a look at the time: now and then it does look, so that the lock
/// is handed over in time even if whoever was called is long in coming.
fn is_in_hurry() -> bool {
    per_thread::with(|mine| {
        mine.hurried.set(mine.hurried.get().wrapping_add(1));
        mine.hurried.get() % HURRIED != 0
    })
}

/// A kind of object that is a lock.
pub(crate) trait Lockable: Kind {
    fn raw(&self) -> &RawLock;

    /// To race detectors: the lock is about to be given back, by whomever.
    fn announce_given(&self) {
        detector::lock_given(self, &self.raw().taker);
    }
}

#[expect(private_bounds, reason = "the kinds are this crate's")]
impl<T: Lockable> Handle<T> {
    /// A lock has been made: `lock_gone` is owed.
    pub(crate) fn made(self) -> Self {
        if detector::watches()
            && let Ok((lock, _)) = self.slot()
        {
            detector::lock_made(lock);
        }
        self
    }

    /// Takes the lock, which the caller does not hold, by this means, and announces it.
    #[inline(always)]
    pub(crate) fn announced(self, timeout: Timeout, take: impl FnOnce() -> Result<bool>) -> Result<bool> {
        if !detector::watches() {
            return take();
        }
        let (lock, _) = self.check()?;
        if timeout == Timeout::FOREVER {
            detector::lock_wanted(lock);
        }
        let taken = take()?;
        if taken {
            detector::lock_taken(lock, timeout == Timeout::FOREVER, &lock.raw().taker);
            // Freed meanwhile: nobody will give it back.
            if self.check().is_err() {
                lock.announce_given();
            }
        }
        Ok(taken)
    }

    /// Announces that the caller has the lock again after a wait.
    pub(crate) fn announce_again(self) {
        if detector::watches()
            && let Ok((lock, _)) = self.check()
        {
            detector::lock_taken(lock, true, &lock.raw().taker);
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
                return Ok(false);
            } else if word & QUEUED != 0 || !spin.again() {
                break;
            }
        }
        let waiter = end::waiter()?;
        let _pin = self.pin()?;
        lock.wait_in_line(claim, waiter, timeout.deadline())
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

    /// Who holds it: 0, or a claim.
    #[inline(always)]
    pub(crate) fn holder(&self, tag: u64) -> Result<u64> {
        let word = self.word().load(Ordering::Relaxed);
        if word & TAG == tag { Ok(word & HOLDER) } else { Err(Error::Handle) }
    }

    /// Who held it last, for a lock that is dead.
    pub(crate) fn last_holder(&self) -> u64 {
        self.word().load(Ordering::Relaxed) & HOLDER
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
            let released = if word & QUEUED == 0 {
                self.change(word, tag, Ordering::Release)
            } else {
                self.release_to_line(tag | claim)
            };
            if released {
                return Ok(());
            }
        }
    }

    /// For the holder, as `held` says: hands the lock over, or frees it and looks after the line. False if the
    /// word shows something else by now.
    fn release_to_line(&self, held: u64) -> bool {
        self.with_line(|line, wakes| {
            let word = self.word().load(Ordering::Relaxed);
            let now = fair_now();
            let heir = line.heir(now);
            let next = heir.map_or(0, |heir| heir.claim.get());
            if word & !FLAGS != held || !self.change(word, word & !HOLDER | next, Ordering::Release) {
                return false;
            }
            if let Some(heir) = heir {
                line.fair_at = now.wrapping_add(UNFAIR);
                line.remove(heir);
                wakes.add(heir.release(GRANTED, &self.patience));
            }
            self.look_after(line, wakes);
            true
        })
    }

    /// Does something with the line under its guard, and then wakes whom that has let go.
    fn with_line<R>(&self, f: impl FnOnce(&mut Line, &mut Wakes) -> R) -> R {
        let mut wakes = Wakes::default();
        let result = f(&mut self.line.lock(), &mut wakes);
        wakes.0.into_iter().flatten().for_each(Wake::now);
        result
    }

    /// Shows in the word what the line is like, after it has changed. If somebody has to look after it and
    /// nobody holds the lock, calls the next ones.
    fn look_after(&self, line: &mut Line, wakes: &mut Wakes) {
        let mut calls = 0;
        loop {
            let word = self.word().load(Ordering::Relaxed);
            let flags = line.flags();
            if flags == QUEUED
                && word & HOLDER == 0
                && calls < CALLS
                && let Some(waiter) = line.uncalled()
            {
                calls += 1;
                line.coming += 1;
                waiter.called.set(true);
                wakes.add(waiter.release(WOKEN, &self.patience));
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
            if let Some(acquired) = self.enter_line(claim, waiter) {
                return acquired.map(|()| true);
            }
            let state = waiter.wait(&self.patience, deadline);
            if let Some(acquired) = self.stay_in_line(claim, waiter, state, deadline) {
                return Ok(acquired);
            }
        }
    }

    /// `None` if the waiter stands in line now; otherwise it has the lock, or there is none any more.
    fn enter_line(&self, claim: u64, waiter: &'static Waiter) -> Option<Result<()>> {
        self.with_line(|line, wakes| {
            let mut word = self.word().load(Ordering::Relaxed);
            while word & HOLDER == 0 {
                match self.word().compare_exchange(word, word | claim, Ordering::Acquire, Ordering::Relaxed) {
                    Ok(_) => return Some(Ok(())),
                    Err(now) => word = now,
                }
            }
            if word & LIVE == 0 {
                return Some(Err(Error::Handle));
            }
            waiter.prepare(claim);
            line.push(waiter);
            self.look_after(line, wakes);
            None
        })
    }

    /// For a waiter in line that has stopped waiting in this state: waits on until it has the lock (true) or its
    /// time has run out (false). `None` if the line has been dissolved.
    fn stay_in_line(
        &self,
        claim: u64,
        waiter: &'static Waiter,
        mut state: u32,
        deadline: Deadline,
    ) -> Option<bool> {
        loop {
            match state {
                GRANTED => return Some(true),
                REFUSED => return None,
                _ => {}
            }
            // A called one takes the lock if it comes free soon.
            let took = state == WOKEN && self.barge(claim, waiter);
            let is_late = state == WAITING || (!took && deadline.has_passed());
            let left = self.with_line(|line, wakes| {
                state = waiter.state();
                if state != WAITING && state != WOKEN {
                    return false;
                }
                if took || is_late {
                    line.remove(waiter);
                } else {
                    line.uncall(waiter);
                    waiter.resume();
                }
                self.look_after(line, wakes);
                took || is_late
            });
            if left || took {
                return Some(took);
            }
            if state == WAITING || state == WOKEN {
                state = waiter.wait(&self.patience, deadline);
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
            if self.word().load(Ordering::Relaxed) & LIVE == 0 {
                self.dissolve(line, wakes);
            } else {
                self.look_after(line, wakes);
            }
        });
    }

    /// Sends all away who stand in line.
    fn dissolve(&self, line: &mut Line, wakes: &mut Wakes) {
        while let Some(waiter) = line.queue.first() {
            line.remove(waiter);
            wakes.add(waiter.release(REFUSED, &self.patience));
        }
    }

    /// For a notified waiter, the slot pinned: waits until it has the lock again. Its state was `state` when
    /// it woke. Without a time limit.
    pub(crate) fn acquire_notified(&self, claim: u64, waiter: &'static Waiter, state: u32) {
        if self.stay_in_line(claim, waiter, state, Deadline::NEVER).is_none() {
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
    pub(crate) fn is_busy(&self) -> bool {
        self.line.lock().is_busy()
    }

    /// `Kind::kill` of a lock.
    pub(crate) fn kill(&self, tag: u64, forced: bool) -> bool {
        self.with_line(|line, wakes| {
            if !forced && line.is_busy() {
                return false;
            }
            self.header.end_life(tag);
            self.dissolve(line, wakes);
            true
        })
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
