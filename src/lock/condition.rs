//! Condition: Python's `threading.Condition`. A lock, and a queue of threads that wait to be notified.
//!
//! # State
//!
//! The queue of waiters is guarded by a small lock of its own: the user's lock cannot do that, since a plain
//! Lock may be held by anybody. The header's word carries generation, `LIVE`, and in bit 7 `HAS_WAITERS`: somebody
//! stands in the queue. It changes under the guard only. Without it there is nobody to notify, as seen by a
//! caller who holds the lock: whoever waits sets it before giving the lock up.
//!
//! A waiter is in one of three places, and moves from left to right only:
//!
//! | place | how it leaves | by whom |
//! |---|---|---|
//! | this condition's queue | chosen by a notify, in the order of arrival: to the lock's queue | the notifier, under this guard |
//! | | its time runs out: it waits for the lock like anybody else | itself, under this guard |
//! | | the condition is freed, beside which it began to wait: it waits for the lock, and fails | the last free, under this guard |
//! | the lock's queue | the lock's release calls it, until it has taken the lock, or hands the lock over to it | `raw_lock` |
//! | no queue | it holds the lock and returns | itself |
//!
//! A notify decides under the guard, and so does a waiter whose time ran out: it is either chosen, and then
//! returns true, or leaves the queue, and then no notify goes to it. So none is lost. A notify wakes nobody by
//! itself: the caller holds the lock as a rule, and whoever woke now would only have to wait for it.
//!
//! Once chosen, a waiter does not look at the condition any more, which may be freed. The lock's slot is_queued
//! pinned as long as it waits.

use crate::sys::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::error::{Error, Result};
use crate::handle::header::{Header, TAG};
use crate::handle::{Handle, Object, ObjectKind, Pin};
use crate::lock::lock::{ANONYMOUS_OWNER, Lock};
use crate::lock::raw::{Lockable, RawLock};
use crate::lock::recursion;
use crate::lock::rlock::RLock;
use crate::sync::mutex::InternalMutex;
use crate::sync::wait_queue::WaitQueue;
use crate::sync::waiter::{self, ABORTED, QUEUED, Waiter};
use crate::sys::annotate::{happens_after, happens_before};
use crate::sys::pthread;
use crate::sys::tls;
use crate::time::{Deadline, Timeout};

const HAS_WAITERS: u64 = 1 << 7;

/// A condition variable together with its lock. Python: `threading.Condition`.
///
/// `wait` releases the lock, blocks until `notify` chooses the calling thread, and acquires the lock again. No wait
/// returns without a notify or its timeout, and no notify is lost. `notify` chooses waiters in the order of their
/// arrival. The lock is an [`RLock`](crate::RLock) of the condition's own, or one that the program passes to
/// [`Condition::new_with_lock`](crate::Condition::new_with_lock), so that several conditions can share it.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use threading::{Condition, Thread, Timeout};
///
/// let condition = Condition::new()?;
/// let ready = Arc::new(AtomicBool::new(false));
/// let worker = {
///     let (condition, ready) = (condition.clone(), ready.clone());
///     Thread::new(move || {
///         let _guard = condition.lock().unwrap();
///         ready.store(true, Ordering::Relaxed);
///         condition.notify(1).unwrap();
///     })?
/// };
/// let guard = condition.lock()?;
/// worker.start()?;
/// // The predicate runs with the lock held. `None` from it would end the wait with an error.
/// assert!(condition.wait_for(Timeout::FOREVER, || Some(ready.load(Ordering::Relaxed)))?);
/// drop(guard);
/// assert!(worker.join(Timeout::FOREVER)?);
/// # Ok::<(), threading::Error>(())
/// ```
#[repr(C, align(64))]
pub struct Condition {
    header: Header,
    queue: InternalMutex<WaitQueue>,
    /// The handle of the lock, which this condition keeps alive; written when the condition is made.
    lock: AtomicUsize,
    is_reentrant: AtomicBool,
}

// SAFETY: zero is an empty queue and no lock; all of it is shareable; it begins with its header.
unsafe impl Object for Condition {
    const KIND: ObjectKind = ObjectKind::Condition;

    fn header(&self) -> &Header {
        &self.header
    }

    fn is_busy(&self, tag: u64) -> bool {
        // With the condition, its lock may lose its last reference: then those blocked on the lock are
        // blocked on the condition.
        let word = self.header.word.load(Ordering::Acquire);
        // In a child of fork, the guard tells of the parent's waiters that they are not there.
        let has_waiters = || word & HAS_WAITERS != 0 && !self.queue.lock().is_empty();
        word & TAG == tag && (has_waiters() || self.associated_lock().is_last_ref_with_waiters())
    }

    fn invalidate(&self, tag: u64) {
        self.header.clear_live(tag);
        if self.header.word.load(Ordering::Relaxed) & HAS_WAITERS != 0 {
            // Threads that began to wait beside the last free; or, in a child of fork, those of the parent.
            self.lock_slot().0.raw().abort_condition_waiters(core::iter::from_fn(|| self.queue.lock().pop()));
        }
    }

    fn dispose(&self) {
        self.associated_lock().internal_unref();
    }
}

/// The lock that a condition is over.
#[derive(Clone, Copy)]
enum AssociatedLock {
    Lock(Handle<Lock>),
    RLock(Handle<RLock>),
}

/// Does the same with either.
macro_rules! with_lock {
    ($lock:expr, $name:ident => $do:expr) => {
        match $lock {
            AssociatedLock::Lock($name) => $do,
            AssociatedLock::RLock($name) => $do,
        }
    };
}

/// The slot of a condition's lock, held in place while a thread waits.
enum PinnedLock {
    Lock(Pin<Lock>),
    RLock(Pin<RLock>),
}

impl PinnedLock {
    fn raw(&self) -> &RawLock {
        match self {
            PinnedLock::Lock(pin) => pin.raw(),
            PinnedLock::RLock(pin) => pin.raw(),
        }
    }
}

impl AssociatedLock {
    fn internal_unref(self) {
        with_lock!(self, lock => lock.internal_unref());
    }

    fn is_last_ref_with_waiters(self) -> bool {
        fn is_busy<T: Lockable>(lock: Handle<T>) -> bool {
            lock.check()
                .is_ok_and(|(lock, tag)| lock.header().has_single_internal_ref() && lock.raw().is_busy(tag))
        }
        with_lock!(self, lock => is_busy(lock))
    }

    fn owner_tag_if_held(self) -> Result<u64> {
        with_lock!(self, lock => lock.owner_tag_if_held())
    }

    fn pin(self) -> Result<PinnedLock> {
        Ok(match self {
            AssociatedLock::Lock(lock) => PinnedLock::Lock(lock.pin()?),
            AssociatedLock::RLock(rlock) => PinnedLock::RLock(rlock.pin()?),
        })
    }

    /// Gives up all levels; returns how many there were beyond the first.
    fn release_save(self) -> Result<u32> {
        match self {
            AssociatedLock::Lock(lock) => lock.release().map(|()| 0),
            AssociatedLock::RLock(rlock) => rlock.release_save(),
        }
    }

    /// The caller holds the lock again, as often as before.
    fn restore_recursion(self, extra_count: u32) {
        if let AssociatedLock::RLock(rlock) = self {
            recursion::set(rlock.bits(), extra_count);
        }
    }
}

impl Condition {
    fn associated_lock(&self) -> AssociatedLock {
        let is_reentrant = self.is_reentrant.load(Ordering::Acquire);
        let lock = self.lock.load(Ordering::Acquire);
        if is_reentrant {
            AssociatedLock::RLock(Handle::from_bits(lock))
        } else {
            AssociatedLock::Lock(Handle::from_bits(lock))
        }
    }
}

impl Handle<Condition> {
    /// A condition over an RLock of its own.
    pub fn new() -> Result<Self> {
        let rlock = Handle::<RLock>::new()?;
        let condition = Self::new_with_rlock(rlock);
        // The condition keeps it now; if there is none, nobody does.
        rlock.free()?;
        condition
    }

    /// A condition over the caller's Lock, which it keeps alive.
    pub fn new_with_lock(lock: Handle<Lock>) -> Result<Self> {
        lock.internal_ref()?;
        Self::new_with_associated(AssociatedLock::Lock(lock))
    }

    /// A condition over the caller's RLock, which it keeps alive.
    pub fn new_with_rlock(rlock: Handle<RLock>) -> Result<Self> {
        rlock.internal_ref()?;
        Self::new_with_associated(AssociatedLock::RLock(rlock))
    }

    fn new_with_associated(lock: AssociatedLock) -> Result<Self> {
        let created = Handle::create(0, |condition: &Condition, _| {
            condition.lock.store(with_lock!(lock, lock => lock.bits()), Ordering::Release);
            condition.is_reentrant.store(matches!(lock, AssociatedLock::RLock(_)), Ordering::Release);
        });
        created.inspect_err(|_| lock.internal_unref())
    }

    fn check_associated_lock(self) -> Result<AssociatedLock> {
        let (condition, tag) = self.slot()?;
        let lock = condition.associated_lock();
        // Checked after the read: had the slot found a newer condition, its lock could have been read.
        if condition.header.is_live(tag) { Ok(lock) } else { Err(Error::Handle) }
    }

    /// Acquires the lock.
    pub fn acquire(self) -> Result<()> {
        with_lock!(self.check_associated_lock()?, lock => lock.acquire())
    }

    /// Acquires the lock if that is possible at once.
    pub fn try_acquire(self) -> Result<bool> {
        with_lock!(self.check_associated_lock()?, lock => lock.try_acquire())
    }

    /// Acquires the lock within the timeout.
    pub fn acquire_timeout(self, timeout: Timeout) -> Result<bool> {
        with_lock!(self.check_associated_lock()?, lock => lock.acquire_timeout(timeout))
    }

    /// Releases the lock.
    pub fn release(self) -> Result<()> {
        with_lock!(self.check_associated_lock()?, lock => lock.release())
    }

    /// Whether somebody holds the lock.
    pub fn locked(self) -> Result<bool> {
        with_lock!(self.check_associated_lock()?, lock => lock.locked())
    }

    /// Whether the caller may wait and notify: for a plain Lock, whether anybody holds it.
    pub fn is_owned(self) -> Result<bool> {
        match self.check_associated_lock()?.owner_tag_if_held() {
            Ok(_) => Ok(true),
            Err(Error::NotOwner) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Gives the lock up, waits for a notify, and takes the lock again, on all its levels. False if the time
    /// ran out before a notify.
    pub fn wait(self, timeout: Timeout) -> Result<bool> {
        let (condition, tag) = self.check()?;
        condition.wait_until(tag, timeout.deadline())
    }

    /// Waits until the predicate, called with the lock held, says yes. It answers `None` when it failed: then
    /// so does the wait, the lock held. False if the time ran out and it still says no.
    pub fn wait_for(self, timeout: Timeout, mut predicate: impl FnMut() -> Option<bool>) -> Result<bool> {
        let (condition, tag) = self.check()?;
        condition.associated_lock().owner_tag_if_held()?;
        let mut is_true = || pthread::call_user(&mut predicate).ok_or(Error::Callback);
        if is_true()? {
            return Ok(true);
        }
        // Even without any time, others get a chance to take the lock, and the predicate is asked again.
        let deadline = timeout.deadline();
        loop {
            let notified = condition.wait_until(tag, deadline)?;
            if is_true()? {
                return Ok(true);
            }
            if !notified || deadline.has_passed() {
                return Ok(false);
            }
        }
    }

    /// Whether the caller, who may notify, has nobody to notify. False leaves everything open.
    #[inline(always)]
    pub(crate) fn notify_fast(self) -> bool {
        self.slot_fast().is_some_and(|(condition, tag)| {
            // What is read before the check has been this condition's.
            let lock = Handle::<Lock>::from_bits(condition.lock.load(Ordering::Acquire));
            let is_reentrant = condition.is_reentrant.load(Ordering::Acquire);
            condition.header.word.load(Ordering::Acquire) == tag && is_held_by_caller(lock, is_reentrant)
        })
    }

    /// Chooses up to `count` waiters, the longest waiting first.
    pub fn notify(self, count: usize) -> Result<()> {
        let (condition, tag) = self.check()?;
        let lock = condition.associated_lock();
        lock.owner_tag_if_held()?;
        let mut queue = condition.queue.lock();
        if !condition.header.is_live(tag) {
            return Ok(());
        }
        if count > 0 && !queue.is_empty() {
            happens_before(condition);
            lock.pin()?.raw().requeue(core::iter::from_fn(|| queue.pop()).take(count));
        }
        condition.publish_has_waiters(tag, &queue);
        Ok(())
    }

    /// The lock as new, for a child process.
    pub fn at_fork_reinit(self) -> Result<()> {
        with_lock!(self.check_associated_lock()?, lock => lock.at_fork_reinit())
    }
}

impl Condition {
    /// The slot of its lock, whichever it is, as that of a Lock, for a condition that has been seen alive.
    #[inline(always)]
    fn lock_slot(&self) -> (&'static Lock, u64) {
        let lock = Handle::<Lock>::from_bits(self.lock.load(Ordering::Acquire));
        // SAFETY: a condition is made of a good handle; if it is that of an RLock, this begins as a Lock does, with
        // the raw lock.
        unsafe { lock.slot_unchecked() }
    }

    fn wait_until(&self, tag: u64, deadline: Deadline) -> Result<bool> {
        let lock = self.associated_lock();
        let owner_tag = lock.owner_tag_if_held()?;
        let waiter = waiter::current()?;
        let pin = lock.pin()?;
        {
            let mut queue = self.queue.lock();
            if !self.header.is_live(tag) {
                return Err(Error::Handle);
            }
            waiter.prepare_to_wait(owner_tag);
            queue.push_back(waiter);
            self.publish_has_waiters(tag, &queue);
            if !self.header.is_live(tag) {
                // Freed beside this call.
                queue.remove(waiter);
                return Err(Error::Handle);
            }
        }
        let extra_count = match lock.release_save() {
            Ok(extra_count) => extra_count,
            // Somebody else released the plain Lock in between.
            Err(_) if self.dequeue_on_timeout(tag, waiter) => return Err(Error::NotOwner),
            Err(_) => 0,
        };
        let state = pin.raw().wait_for_notify(waiter, deadline);
        let chosen = state != QUEUED || !self.dequeue_on_timeout(tag, waiter);
        let was_aborted = chosen && waiter.state() == ABORTED && !waiter.notified.get();
        let notified = chosen && !was_aborted;
        if notified {
            pin.raw().reacquire_requeued(owner_tag, waiter, state);
        } else {
            pin.raw().reacquire(owner_tag, waiter);
        }
        with_lock!(lock, lock => lock.annotate_reacquire());
        if notified {
            happens_after(self);
        }
        lock.restore_recursion(extra_count);
        if was_aborted { Err(Error::Handle) } else { Ok(notified) }
    }

    /// Takes the waiter out of the queue, unless a notify has.
    fn dequeue_on_timeout(&self, tag: u64, waiter: &'static Waiter) -> bool {
        let mut queue = self.queue.lock();
        let is_queued = waiter.state() == QUEUED && !waiter.notified.get();
        if is_queued {
            queue.remove(waiter);
            self.publish_has_waiters(tag, &queue);
        }
        is_queued
    }

    /// Shows in the word whether somebody stands in the queue, the condition alive and the guard held.
    fn publish_has_waiters(&self, tag: u64, queue: &WaitQueue) {
        let new = tag | if queue.is_empty() { 0 } else { HAS_WAITERS };
        let mut word = self.header.word.load(Ordering::Relaxed);
        // Its life may end beside this.
        while word & TAG == tag && word != new {
            // Release, as the first store of the word: whoever sees this one sees what the condition is over.
            match self.header.word.compare_exchange(word, new, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break,
                Err(other) => word = other,
            }
        }
    }
}

/// Whether the caller may notify a condition over this lock, which has been seen alive.
#[inline(always)]
fn is_held_by_caller(lock: Handle<Lock>, is_reentrant: bool) -> bool {
    let owner_tag = if is_reentrant { tls::owner_tag() } else { ANONYMOUS_OWNER };
    // SAFETY: a condition is made of a good handle; if it is that of an RLock, this begins as a Lock does, with the raw
    // lock.
    let (lock, tag) = unsafe { lock.slot_unchecked() };
    owner_tag != 0 && lock.raw().is_held_by(tag, owner_tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;
    use std::thread;

    #[test]
    fn wait_releases_and_restores_the_whole_recursion_count() {
        let condition = Handle::<Condition>::new().unwrap();
        for _ in 0..3 {
            condition.acquire().unwrap();
        }
        let notifier = thread::spawn(move || {
            condition.acquire().unwrap();
            condition.notify(1).unwrap();
            condition.release().unwrap();
        });
        assert_eq!(condition.wait(Timeout::FOREVER), Ok(true));
        notifier.join().unwrap();
        for _ in 0..3 {
            condition.release().unwrap();
        }
        assert_eq!(condition.release(), Err(Error::NotOwner));
        assert_eq!(condition.wait(Timeout::ZERO), Err(Error::NotOwner));
        condition.free().unwrap();
    }

    #[test]
    fn no_notify_is_lost_to_a_waiter_that_times_out() {
        static NOTIFIED: AtomicU32 = AtomicU32::new(0);
        let lock = Handle::<Lock>::new().unwrap();
        let condition = Handle::<Condition>::new_with_lock(lock).unwrap();
        let stop = Handle::<Lock>::new().unwrap();
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                thread::spawn(move || {
                    while stop.locked() == Ok(false) {
                        condition.acquire().unwrap();
                        if condition.wait(Timeout::new(20e-6).unwrap()).unwrap() {
                            NOTIFIED.fetch_add(1, Ordering::Relaxed);
                        }
                        condition.release().unwrap();
                    }
                })
            })
            .collect();
        let mut chosen = 0;
        while NOTIFIED.load(Ordering::Relaxed) < 500 {
            thread::yield_now();
            condition.acquire().unwrap();
            let (object, _) = condition.check().unwrap();
            chosen += u32::from(!object.queue.lock().is_empty());
            condition.notify(1).unwrap();
            condition.release().unwrap();
        }
        stop.acquire().unwrap();
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        // Fewer only if a waiter's time ran out between the look and the notify.
        assert!(NOTIFIED.load(Ordering::Relaxed) <= chosen);
        [condition.free(), lock.free(), stop.free()].into_iter().for_each(|freed| freed.unwrap());
    }

    #[test]
    fn waiters_return_when_the_notifier_frees_the_condition() {
        let condition = Handle::<Condition>::new().unwrap();
        let waiters: Vec<_> = (0..4)
            .map(|_| {
                thread::spawn(move || {
                    condition.acquire().unwrap();
                    assert_eq!(condition.wait(Timeout::FOREVER), Ok(true));
                })
            })
            .collect();
        let (object, _) = condition.check().unwrap();
        while object.queue.lock().iter().count() < 4 {
            thread::yield_now();
        }
        assert_eq!(condition.free(), Err(Error::Busy));
        condition.acquire().unwrap();
        condition.notify(usize::MAX).unwrap();
        condition.release().unwrap();
        condition.free().unwrap();
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    }
}
