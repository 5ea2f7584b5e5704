//! Condition: Python's `threading.Condition`. A lock, and a queue of threads that wait to be notified.
//!
//! The file exceeds 400 lines with its documentation and tests, which are about half of it.
//!
//! # The word (`header.word`)
//!
//! | bits | meaning | who changes it | exact or stale |
//! |---|---|---|---|
//! | 0 to 6 | generation and `LIVE` of the slot | `handle`; the thread that destroys the condition clears `LIVE` | exact |
//! | 7 `HAS_WAITERS` | the wait queue may not be empty | a thread that holds the mutex | clear: exact for a thread that holds the lock, since a waiter sets it before it releases the lock. Set: stale after a notify of a waiter that has not parked, until the next notify, since another wait is likely to follow; in a child of fork until the queue first changes; and after destroy |
//!
//! | from | to | who | ordering |
//! |---|---|---|---|
//! | no `HAS_WAITERS` | `HAS_WAITERS` | a thread that begins to wait, under the mutex | release |
//! | `HAS_WAITERS` | no `HAS_WAITERS` | a notify that finds or leaves the queue empty, unless it leaves the flag as it is, or a waiter that times out or fails, under the mutex | release |
//! | `LIVE` | not `LIVE`, the rest unchanged | destroy, which then aborts all waiters | acquire and release |
//!
//! "The mutex" is the `InternalMutex` around the queue. The condition's lock cannot protect the queue, since any thread
//! may release a plain Lock. A child of fork finds the queue empty.
//!
//! # The waiter
//!
//! A waiter moves down this table only:
//!
//! | where it is | how it leaves | who moves it |
//! |---|---|---|
//! | the condition's queue | a notify moves it to the lock's queue, the longest waiter first | the notifying thread, under the mutex |
//! | | a notify finds that it is the only waiter and has not parked: it leaves the queue (`NOTIFIED`) and reacquires the lock | the notifying thread, under the mutex |
//! | | its timeout expires: it leaves the queue and reacquires the lock | itself, under the mutex |
//! | | another thread has released the Lock before it does so itself: it leaves the queue and fails | itself, under the mutex |
//! | | a signal handler of its thread has forked: in the child it enters the queue again | itself, under the mutex |
//! | | the condition is destroyed while it begins to wait: it reacquires the lock and fails | the destroying thread, under the mutex |
//! | the lock's queue | it acquires the lock | see `lock::raw` |
//! | | it is parked together with others: it leaves the queue (`NOTIFIED`) and competes for the lock | the thread that releases the lock |
//! | no queue | it owns the lock and returns | itself |
//!
//! The mutex serializes notify and timeout. A waiter is dequeued either by a notify, and returns true, or by itself,
//! and returns false, so no notification is lost. A notify wakes no thread (wait morphing): the caller holds the lock
//! as a rule, and a woken waiter would only block on it. But if the only waiter still runs, the notify ends its wait
//! immediately: it spins until the lock is released, so that two threads that alternate make no system call and do not
//! use the lock's queue. If threads wait for the lock, the waiter is moved behind them nevertheless.
//!
//! If the last notifies were broadcasts, waiters park together (`sync::broadcast_word`), and the release of the lock
//! wakes all of them by one system call. For other conditions, where a notify leaves most waiters where they are, each
//! waiter parks alone.
//!
//! A notified waiter does not access the condition any more, which may be freed, and its memory used for another
//! object. So a waiter whose timeout expires looks the condition up again. If there is none, the waiter has been
//! notified, or is about to be aborted: it waits until it finds out which. It keeps the lock's slot pinned until it
//! returns, but that of the condition only while it locks the mutex: otherwise two threads that alternate would need a
//! third longer, because a pin changes a cache line that the other thread is using when the waiter returns.

use crate::sys::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

use crate::error::{Error, Result};
use crate::handle::header::{Header, TAG};
use crate::handle::note;
use crate::handle::note::Named;
use crate::handle::{Handle, Object, ObjectKind};
use crate::lock::associated_lock::AssociatedLock;
use crate::lock::lock::Lock;
use crate::lock::lockable::Lockable;
use crate::lock::raw::RawLock;
use crate::lock::rlock::RLock;
use crate::sync::broadcast_word::BroadcastWord;
use crate::sync::mutex::InternalMutex;
use crate::sync::park::ParkPlace;
use crate::sync::wait_note::QueueNote;
use crate::sync::wait_queue::WaitQueue;
use crate::sync::waiter::{FORKED, NOTIFIED, QUEUED, Waiter};
use crate::sync::waiter_pool::WaiterLease;
use crate::sys::annotate::{happens_after, happens_before};
use crate::sys::offsets::offsets;
use crate::sys::prefetch::prefetch_for_write;
use crate::sys::pthread;
use crate::sys::tls;
use crate::time::{Deadline, Timeout};

const HAS_WAITERS: u64 = 1 << 7;

/// After this number of broadcasts in a row, the waiters park together. If the next notify is for one of them only, all
/// others see a spurious wakeup, once, which costs less than these broadcasts did.
const BROADCASTS_BEFORE: u8 = 3;

/// A condition variable together with its lock. Python: `threading.Condition`.
///
/// `wait` releases the lock, blocks until the calling thread is notified, and acquires the lock again. There are no
/// spurious wakeups, and no notification is lost. `notify` wakes waiters in the order of their arrival. The lock is an
/// [`RLock`](crate::RLock) of the condition's own, or one that the program passes to
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
    /// The handle of the lock, which this condition keeps alive; written when the condition is created.
    lock: AtomicUsize,
    is_reentrant: AtomicBool,
    /// Whether a notify has found a waiter; for reports.
    has_notified: AtomicBool,
    /// The number of broadcasts in a row, up to `BROADCASTS_BEFORE`: of notifies of several waiters that leave none. A
    /// notify of the only waiter subtracts one. A hint.
    broadcasts: AtomicU8,
}

offsets!(ConditionOffsets of Condition: lock, is_reentrant, has_notified);

// SAFETY: zero is an empty queue and no lock; it is shareable in any state; it begins with its header.
unsafe impl Object for Condition {
    const KIND: ObjectKind = ObjectKind::Condition;

    fn header(&self) -> &Header {
        &self.header
    }

    fn is_busy(&self, tag: u64) -> bool {
        // If the condition has the last reference to its lock, threads that are blocked on the lock keep the condition
        // alive too.
        let word = self.header.word.load(Ordering::Acquire);
        // The flag may be stale in a child of fork; locking the mutex there discards the parent's waiters.
        let has_waiters = || {
            word & HAS_WAITERS != 0
                && Handle::is_alive_and(self, tag, |condition| !condition.queue.lock().is_empty())
        };
        word & TAG == tag && (has_waiters() || self.load_lock().is_last_ref_with_waiters())
    }

    fn invalidate(&self, tag: u64) {
        self.header.clear_live(tag);
        if self.header.word.load(Ordering::Relaxed) & HAS_WAITERS != 0 {
            // Threads that have begun to wait while the last reference was released. The mutex is held until they are
            // aborted. Otherwise a waiter that has timed out, and pinned the slot before, could find its state still
            // `QUEUED` in between, and remove itself from the queue a second time.
            let mut queue = self.queue.lock();
            self.lock_slot().0.raw().abort_condition_waiters(core::iter::from_fn(|| queue.pop()));
        }
    }

    fn dispose(&self) {
        self.load_lock().internal_unref();
    }

    fn finalize(&self) {
        note::free_of(self.header());
    }
}

/// How a wait for a notify has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Notified,
    TimedOut,
    /// The condition has been destroyed.
    Aborted,
}

impl Condition {
    /// Returns the owner field of the lock, for reports; `None` if the lock has been freed.
    pub(crate) fn lock_owner(&self) -> Option<u64> {
        self.load_lock().owner()
    }

    /// Returns the type of the lock, for reports.
    pub(crate) fn lock_kind(&self) -> &'static str {
        if self.is_reentrant.load(Ordering::Acquire) { "rlock" } else { "lock" }
    }

    /// Returns whether a notify has found a waiter.
    pub(crate) fn has_notified_a_waiter(&self) -> bool {
        self.has_notified.load(Ordering::Relaxed)
    }

    /// Reads the handle of the lock. The caller knows that the condition is live, or checks it afterwards.
    fn load_lock(&self) -> AssociatedLock {
        let is_reentrant = self.is_reentrant.load(Ordering::Acquire);
        AssociatedLock::from_bits(self.lock.load(Ordering::Acquire), is_reentrant)
    }
}

impl Named for Condition {}

impl Handle<Condition> {
    /// Creates a condition with an RLock of its own.
    pub fn new() -> Result<Self> {
        Self::new_with_associated(AssociatedLock::RLock(Handle::<RLock>::new_internal()?))
    }

    /// Creates a condition with the given Lock, which the condition keeps alive.
    pub fn new_with_lock(lock: Handle<Lock>) -> Result<Self> {
        lock.internal_ref()?;
        Self::new_with_associated(AssociatedLock::Lock(lock))
    }

    /// Creates a condition with the given RLock, which the condition keeps alive.
    pub fn new_with_rlock(rlock: Handle<RLock>) -> Result<Self> {
        rlock.internal_ref()?;
        Self::new_with_associated(AssociatedLock::RLock(rlock))
    }

    /// The condition takes over a reference of the library's to the lock.
    fn new_with_associated(lock: AssociatedLock) -> Result<Self> {
        let created = Handle::create(0, |condition: &Condition, _| {
            condition.lock.store(lock.bits(), Ordering::Release);
            condition.has_notified.store(false, Ordering::Relaxed);
            condition.broadcasts.store(0, Ordering::Relaxed);
            condition.is_reentrant.store(lock.is_reentrant(), Ordering::Release);
        });
        created.inspect_err(|_| lock.internal_unref())
    }

    fn associated_lock(self) -> Result<AssociatedLock> {
        let (condition, tag) = self.slot()?;
        let lock = condition.load_lock();
        // Checked after the read, which would otherwise return the lock of a newer condition in the same slot.
        if condition.header.is_live(tag) { Ok(lock) } else { Err(Error::Handle) }
    }

    /// Acquires the lock, blocking until it is available.
    pub fn acquire(self) -> Result<()> {
        self.associated_lock()?.acquire()
    }

    /// Acquires the lock without blocking. Returns false if it is locked.
    pub fn try_acquire(self) -> Result<bool> {
        self.associated_lock()?.try_acquire()
    }

    /// Acquires the lock. Returns false if the timeout expires.
    pub fn acquire_timeout(self, timeout: Timeout) -> Result<bool> {
        self.associated_lock()?.acquire_timeout(timeout)
    }

    /// Releases the lock.
    pub fn release(self) -> Result<()> {
        self.associated_lock()?.release()
    }

    /// Whether the lock is locked; a snapshot.
    pub fn locked(self) -> Result<bool> {
        self.associated_lock()?.locked()
    }

    /// Whether the calling thread may wait and notify: whether it owns the RLock, or whether the Lock is locked by any
    /// thread.
    pub fn is_owned(self) -> Result<bool> {
        match self.associated_lock()?.owner_tag_if_held() {
            Ok(_) => Ok(true),
            Err(Error::NotOwner) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Releases the lock, waits for a notification, and reacquires the lock with its recursion count. Returns false if
    /// the timeout expires before a notification.
    pub fn wait(self, timeout: Timeout) -> Result<bool> {
        let (condition, tag) = self.check()?;
        condition.wait_until(self, tag, timeout.deadline())
    }

    /// Waits until the predicate is true. It is called with the lock held, before the wait and after each notification.
    /// If it returns `None`, the call fails with [`Error::Callback`]. Returns false if the timeout expires and the
    /// predicate is still false.
    pub fn wait_for(self, timeout: Timeout, mut predicate: impl FnMut() -> Option<bool>) -> Result<bool> {
        let (condition, tag) = self.check()?;
        self.associated_lock()?.owner_tag_if_held()?;
        let mut is_true = || pthread::call_user(&mut predicate).ok_or(Error::Callback);
        if is_true()? {
            return Ok(true);
        }
        // Even with a timeout of zero, the lock is released once and the predicate evaluated again.
        let deadline = timeout.deadline();
        loop {
            // The predicate, or another thread after a notify, may have freed the condition.
            self.check()?;
            let notified = condition.wait_until(self, tag, deadline)?;
            if is_true()? {
                return Ok(true);
            }
            if !notified || deadline.has_passed() {
                return Ok(false);
            }
        }
    }

    /// Returns true if the calling thread may notify and there are no waiters. On false, the slow path decides.
    #[inline(always)]
    pub(crate) fn notify_fast(self) -> bool {
        let Some((condition, tag)) = self.slot_fast() else { return false };
        // These reads come before the check of the tag, which shows that they were this condition's.
        let lock = Handle::<Lock>::from_bits(condition.lock.load(Ordering::Acquire));
        let is_reentrant = condition.is_reentrant.load(Ordering::Acquire);
        condition.header.word.load(Ordering::Acquire) == tag && is_held_by_caller(lock, is_reentrant)
    }

    /// Wakes up to `count` waiters, the longest waiting first. They reacquire the lock before they return.
    pub fn notify(self, count: usize) -> Result<()> {
        let (_, tag) = self.slot()?;
        let condition = &*self.pin()?;
        let lock = condition.load_lock();
        lock.owner_tag_if_held()?;
        let mut queue = condition.queue.lock();
        if !condition.header.is_live(tag) {
            return Ok(());
        }
        if count > 0 && !queue.is_empty() {
            happens_before(condition);
            condition.has_notified.store(true, Ordering::Relaxed);
            // To pin the slot of the lock: a notify does not block.
            let call = lock.blocking_call();
            let raw = call.begin()?;
            let only = if raw.word().has_waiters() { None } else { queue.pop_only() };
            if only.is_some_and(|waiter| waiter.notify_running(&raw.adaptive_spin)) {
                // `HAS_WAITERS` stays set.
                return Ok(());
            }
            let others = core::iter::from_fn(|| queue.pop());
            let requeued = raw.requeue(only.into_iter().chain(others).take(count));
            condition.record_notify(requeued, !queue.is_empty());
        }
        condition.publish_has_waiters(tag, &queue);
        Ok(())
    }

    /// Unlocks the lock whatever its state, for use in a child process.
    pub fn at_fork_reinit(self) -> Result<()> {
        self.associated_lock()?.at_fork_reinit()
    }
}

impl Condition {
    /// The slot of the lock, of either type, as that of a Lock. The condition has been live.
    #[inline(always)]
    fn lock_slot(&self) -> (&'static Lock, u64) {
        let lock = Handle::<Lock>::from_bits(self.lock.load(Ordering::Acquire));
        // SAFETY: the handle was valid when the condition was created. An RLock begins like a Lock, with its RawLock.
        unsafe { lock.slot_unchecked() }
    }

    /// `wait` and one step of `wait_for`. `handle` is that of the condition.
    fn wait_until(&self, handle: Handle<Condition>, tag: u64, deadline: Deadline) -> Result<bool> {
        let lock = self.load_lock();
        // The lock may be that of a newer condition in the slot. If the calling thread holds that, the pin fails below.
        let owner_tag = handle.or_handle_error(lock.owner_tag_if_held())?;
        let lease = WaiterLease::new();
        let waiter = lease.begin()?;
        let call = lock.blocking_call();
        let raw = call.begin()?;
        let mut place = self.park_place(raw);
        let parks_together = place.is_shared();
        self.enqueue(handle, tag, owner_tag, waiter)?;
        // Decided before the release, after which the notifying thread needs the cache line.
        let planned_spin = if parks_together { None } else { waiter.plan_spin(&raw.adaptive_spin) };
        let extra_count = match lock.release_save() {
            Ok(extra_count) => extra_count,
            // Another thread has released the Lock since the check.
            Err(_) if handle.pin().is_ok_and(|condition| condition.dequeue_unless_notified(tag, waiter)) => {
                planned_spin.inspect(|_| raw.adaptive_spin.finish(true));
                return Err(Error::NotOwner);
            }
            // It has been notified or aborted since.
            Err(_) => 0,
        };
        let (bits, lock_bits) = (handle.bits(), lock.bits());
        let mut note = QueueNote::of_condition(waiter, bits, lock_bits, deadline);
        let mut state =
            waiter.wait_with_planned_spin(planned_spin, &mut place, &mut note, &raw.adaptive_spin, deadline);
        if parks_together && !place.is_shared() {
            // A spurious wakeup: further waiters park alone, until there are broadcasts again.
            let _ = handle.pin().inspect(|condition| condition.broadcasts.store(0, Ordering::Relaxed));
        }
        let outcome = loop {
            if state == QUEUED {
                match handle.pin() {
                    Ok(condition) if condition.dequeue_unless_notified(tag, waiter) => {
                        break Outcome::TimedOut;
                    }
                    Ok(_) => {}
                    Err(_) => state = waiter.wait(&mut note, &raw.adaptive_spin, Deadline::NEVER),
                }
            }
            if waiter.notified.load(Ordering::Relaxed) {
                break Outcome::Notified;
            }
            // If a signal handler of this thread has forked, and this is the child, the wait goes on.
            if waiter.state() != FORKED || self.enqueue(handle, tag, owner_tag, waiter).is_err() {
                break Outcome::Aborted;
            }
            state = waiter.wait(&mut note, &raw.adaptive_spin, deadline);
        };
        if outcome != Outcome::Notified {
            if outcome == Outcome::TimedOut {
                note.set_timed_out();
            }
            drop(note);
            raw.reacquire(owner_tag, waiter, false);
        } else if waiter.state() == NOTIFIED {
            drop(note);
            let note = QueueNote::of_condition(waiter, bits, lock_bits, Deadline::NEVER);
            raw.reacquire_notified(owner_tag, waiter, note);
            // Threads that alternate use the condition again soon. This one may have been freed.
            prefetch_for_write(self);
        } else {
            note.wait_for_lock(lock_bits);
            raw.reacquire_requeued(owner_tag, waiter, &mut note, state);
        }
        lock.annotate_reacquire();
        if outcome == Outcome::Notified {
            happens_after(self);
        }
        lock.restore_recursion(extra_count)?;
        match outcome {
            Outcome::Notified => Ok(true),
            Outcome::TimedOut => Ok(false),
            Outcome::Aborted => Err(Error::Handle),
        }
    }

    /// Adds the waiter to the queue.
    #[inline]
    fn enqueue(
        &self,
        handle: Handle<Condition>,
        tag: u64,
        owner_tag: u64,
        waiter: &'static Waiter,
    ) -> Result<()> {
        // Without its object, the memory of the slot may contain an object of another kind instead of the mutex.
        let _condition = handle.pin()?;
        let mut queue = self.queue.lock();
        if !self.header.is_live(tag) {
            return Err(Error::Handle);
        }
        waiter.prepare_to_wait(owner_tag);
        queue.push_back(waiter);
        self.publish_has_waiters(tag, &queue);
        if !self.header.is_live(tag) {
            // Destroyed concurrently.
            queue.remove(waiter);
            return Err(Error::Handle);
        }
        Ok(())
    }

    /// Returns where a waiter is to park: together with others, if the next notify is likely to notify all waiters.
    #[inline(always)]
    fn park_place(&self, raw: &RawLock) -> ParkPlace<'static> {
        let expects_broadcast = self.broadcasts.load(Ordering::Relaxed) >= BROADCASTS_BEFORE;
        #[cfg(model)]
        let expects_broadcast = expects_broadcast || crate::model::always_broadcasts();
        if expects_broadcast {
            ParkPlace::Together(BroadcastWord::of(&raw.adaptive_spin))
        } else {
            ParkPlace::Record
        }
    }

    /// Records that a notify has notified this number of waiters, and whether it has left others. The caller holds the
    /// mutex.
    fn record_notify(&self, notified: usize, has_left_others: bool) {
        let broadcasts = self.broadcasts.load(Ordering::Relaxed);
        let broadcasts = match notified {
            _ if has_left_others => 0,
            // One that parks alone may spin before.
            1 => broadcasts.saturating_sub(1),
            _ => (broadcasts + 1).min(BROADCASTS_BEFORE),
        };
        self.broadcasts.store(broadcasts, Ordering::Relaxed);
    }

    /// Removes the waiter from the queue and returns true, unless a notify has done so.
    fn dequeue_unless_notified(&self, tag: u64, waiter: &'static Waiter) -> bool {
        let mut queue = self.queue.lock();
        let is_queued = waiter.state() == QUEUED && !waiter.notified.load(Ordering::Relaxed);
        if is_queued {
            queue.remove(waiter);
            self.publish_has_waiters(tag, &queue);
        }
        is_queued
    }

    /// Sets `HAS_WAITERS` if the queue is not empty, and clears it otherwise. The caller holds the mutex.
    fn publish_has_waiters(&self, tag: u64, queue: &WaitQueue) {
        let new = tag | if queue.is_empty() { 0 } else { HAS_WAITERS };
        let mut word = self.header.word.load(Ordering::Relaxed);
        // The condition may be destroyed concurrently.
        while word & TAG == tag && word != new {
            // Release, like the store that published the condition: a thread that reads this word also reads the lock.
            match self.header.word.compare_exchange(word, new, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break,
                Err(other) => word = other,
            }
        }
    }
}

/// Whether the calling thread may notify a condition with this lock. The condition has been live.
#[inline(always)]
fn is_held_by_caller(lock: Handle<Lock>, is_reentrant: bool) -> bool {
    // SAFETY: as in `lock_slot`.
    let (lock, tag) = unsafe { lock.slot_unchecked() };
    if !is_reentrant {
        return lock.raw().word().is_held(tag);
    }
    let owner_tag = tls::owner_tag();
    owner_tag != 0 && lock.raw().word().is_held_by(tag, owner_tag)
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
        let mut notified_at_most = 0;
        while NOTIFIED.load(Ordering::Relaxed) < 500 {
            thread::yield_now();
            condition.acquire().unwrap();
            let (object, _) = condition.check().unwrap();
            notified_at_most += u32::from(!object.queue.lock().is_empty());
            condition.notify(1).unwrap();
            condition.release().unwrap();
        }
        stop.acquire().unwrap();
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        // Fewer only if a waiter timed out between the check of the queue and the notify.
        assert!(NOTIFIED.load(Ordering::Relaxed) <= notified_at_most);
        [condition.free(), lock.free(), stop.free()].into_iter().for_each(|freed| freed.unwrap());
    }

    #[test]
    fn waiters_park_together_after_broadcasts_until_one_is_notified() {
        const WAITERS: usize = 3;
        let condition = Handle::<Condition>::new().unwrap();
        let (object, _) = condition.check().unwrap();
        let is_shared = || object.park_place(object.lock_slot().0.raw()).is_shared();
        let is_shared_after_notify_of = |count| {
            let waiters: Vec<_> = (0..WAITERS)
                .map(|_| {
                    thread::spawn(move || {
                        condition.acquire().unwrap();
                        assert_eq!(condition.wait(Timeout::FOREVER), Ok(true));
                        condition.release().unwrap();
                    })
                })
                .collect();
            let mut notified = 0;
            while notified < WAITERS {
                condition.acquire().unwrap();
                if object.queue.lock().iter().count() == WAITERS - notified {
                    condition.notify(count).unwrap();
                    notified += count.min(WAITERS);
                }
                condition.release().unwrap();
                thread::yield_now();
            }
            waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
            is_shared()
        };
        for broadcasts in 1..=BROADCASTS_BEFORE + 1 {
            assert_eq!(is_shared_after_notify_of(usize::MAX), broadcasts >= BROADCASTS_BEFORE);
        }
        // The only waiter, which would spin if it parked alone.
        object.record_notify(1, false);
        assert!(!is_shared());
        assert!(is_shared_after_notify_of(usize::MAX));
        assert!(!is_shared_after_notify_of(1));
        condition.free().unwrap();
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
