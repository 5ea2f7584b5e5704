//! What ThreadSanitizer is told of locks, for the order in which they are taken.
//!
//! Any thread may release a Lock, free a lock that is held, or reset it; but only the thread that locked it can tell
//! ThreadSanitizer that it does not hold it any more. So each lock remembers which thread locked it. Another thread
//! that releases it defers that unlock: the thread that locked it announces the unlock when it next takes or releases a
//! lock.
//!
//! The functions are called while a race detector is active (`annotate::watches`).

use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::sync::mutex::{ForkReset, InternalMutex};
use crate::sys::annotate::{happens_after, happens_before};

unsafe extern "C" {
    safe fn threading_annotate_thread_id() -> u32;
    fn threading_annotate_mutex_created(lock: *mut c_void);
    fn threading_annotate_mutex_destroyed(lock: *mut c_void);
    fn threading_annotate_mutex_pre_lock(lock: *mut c_void);
    fn threading_annotate_mutex_post_lock(lock: *mut c_void, waited: c_int);
    fn threading_annotate_mutex_unlock(lock: *mut c_void);
}

/// Where a lock remembers the thread that locked it, by ThreadSanitizer's number of that thread, which no other thread
/// has.
pub(crate) type AtomicTsanOwner = crate::sys::atomic::AtomicU32;

const NO_OWNER: u32 = 0;

fn address_of<T>(lock: &T) -> *mut c_void {
    core::ptr::from_ref(lock).cast_mut().cast()
}

/// A lock has been created.
#[cold]
pub(crate) fn mutex_created<T>(lock: &T) {
    // SAFETY: as for all locks: the address is only a name.
    unsafe { threading_annotate_mutex_created(address_of(lock)) };
}

/// A lock is being destroyed.
#[cold]
pub(crate) fn mutex_destroyed<T>(lock: &T) {
    flush_deferred_unlocks();
    // A thread that has still to announce an unlock must find the lock.
    let deferred = DEFERRED_UNLOCKS.lock();
    if !deferred.unlocks.iter().any(|&(_, address)| address == address_of(lock) as usize) {
        // SAFETY: as above.
        unsafe { threading_annotate_mutex_destroyed(address_of(lock)) };
    }
}

/// The calling thread is about to wait for a lock, or to take it.
#[cold]
pub(crate) fn mutex_pre_lock<T>(lock: &T) {
    flush_deferred_unlocks();
    // SAFETY: as above.
    unsafe { threading_annotate_mutex_pre_lock(address_of(lock)) };
}

/// The calling thread has taken a lock. `waited`: it would have waited without a limit. `owner` is where the lock
/// remembers which thread locked it.
#[cold]
pub(crate) fn mutex_post_lock<T>(lock: &T, waited: bool, owner: &AtomicTsanOwner) {
    let me = threading_annotate_thread_id();
    register_locker(me);
    // Two threads that released it at the same time may have mistaken each other's turns.
    defer_unlock(lock, owner.swap(me, Ordering::Relaxed));
    flush_deferred_unlocks();
    // SAFETY: as above.
    unsafe { threading_annotate_mutex_post_lock(address_of(lock), waited.into()) };
    happens_after(lock);
}

/// The calling thread is about to release a lock, which it or another thread has taken.
#[cold]
pub(crate) fn mutex_unlock<T>(lock: &T, owner: &AtomicTsanOwner) {
    happens_before(lock);
    defer_unlock(lock, owner.swap(NO_OWNER, Ordering::Relaxed));
    flush_deferred_unlocks();
}

/// The calling thread ends, and announces nothing any more.
pub(crate) fn forget_current() {
    let me = threading_annotate_thread_id();
    let mut deferred = DEFERRED_UNLOCKS.lock();
    deferred.lockers.retain(|&locker| locker != me);
    deferred.unlocks.retain(|&(locker, _)| locker != me);
}

/// The unlocks that are still to be announced.
struct DeferredUnlocks {
    /// The thread that locked a lock which another has released, and the address of the lock.
    unlocks: Vec<(u32, usize)>,
    /// The threads that have locked any lock and have not ended: only these announce deferred unlocks.
    lockers: Vec<u32>,
}

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static DEFERRED_UNLOCKS: InternalMutex<DeferredUnlocks> =
    InternalMutex::new(DeferredUnlocks { unlocks: Vec::new(), lockers: Vec::new() });
/// How many there are: a hint.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static DEFERRED_COUNT: AtomicUsize = AtomicUsize::new(0);

impl ForkReset for DeferredUnlocks {
    fn reset_in_child(&mut self) {
        // Of the threads that locked something in the parent, the child has only the one that forked: for that one,
        // ThreadSanitizer may see an order that there was not.
        core::mem::take(&mut self.unlocks).leak();
        core::mem::take(&mut self.lockers).leak();
        DEFERRED_COUNT.store(0, Ordering::Relaxed);
    }
}

fn register_locker(me: u32) {
    let mut deferred = DEFERRED_UNLOCKS.lock();
    if !deferred.lockers.contains(&me) && deferred.lockers.try_reserve(1).is_ok() {
        deferred.lockers.push(me);
    }
}

fn defer_unlock<T>(lock: &T, owner: u32) {
    if owner == NO_OWNER {
        return;
    }
    let mut deferred = DEFERRED_UNLOCKS.lock();
    // Without memory for it, ThreadSanitizer may see an order that there was not.
    if deferred.lockers.contains(&owner) && deferred.unlocks.try_reserve(1).is_ok() {
        deferred.unlocks.push((owner, address_of(lock) as usize));
        DEFERRED_COUNT.store(deferred.unlocks.len(), Ordering::Relaxed);
    }
}

/// Announces the unlocks that other threads have deferred for the calling thread.
fn flush_deferred_unlocks() {
    if DEFERRED_COUNT.load(Ordering::Relaxed) == 0 {
        return;
    }
    let me = threading_annotate_thread_id();
    let mut deferred = DEFERRED_UNLOCKS.lock();
    deferred.unlocks.retain(|&(locker, lock)| {
        if locker == me {
            // SAFETY: as above; this thread took the lock.
            unsafe { threading_annotate_mutex_unlock(lock as *mut c_void) };
        }
        locker != me
    });
    DEFERRED_COUNT.store(deferred.unlocks.len(), Ordering::Relaxed);
}
