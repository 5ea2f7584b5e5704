//! Describes lock operations to ThreadSanitizer, which checks the order in which locks are taken.
//!
//! ThreadSanitizer accepts an unlock only from the thread that locked the lock. But any thread may release a Lock, free
//! a lock that is held, or reinitialize it. So each lock stores the ThreadSanitizer ID of its locker. Another thread
//! that releases the lock defers the unlock, and the locker reports it at its own next lock operation.
//!
//! The functions are called only while a race detector is active (`annotate::is_active`).

use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::sync::mutex::{ForkReset, InternalMutex};
use crate::sys::annotate::{address_of, happens_after, happens_before};

unsafe extern "C" {
    safe fn threading_annotate_thread_id() -> u32;
    fn threading_annotate_mutex_created(lock: *mut c_void);
    fn threading_annotate_mutex_destroyed(lock: *mut c_void);
    fn threading_annotate_mutex_pre_lock(lock: *mut c_void);
    fn threading_annotate_mutex_post_lock(lock: *mut c_void, is_blocking: c_int);
    fn threading_annotate_mutex_unlock(lock: *mut c_void);
}

/// The ID of the thread that locked a lock (`threading_annotate_thread_id`, never reused), or `NO_OWNER`.
pub(crate) type AtomicTsanOwner = crate::sys::atomic::AtomicU32;

const NO_OWNER: u32 = 0;

/// Reports that a lock has been created.
#[cold]
pub(crate) fn mutex_created<T>(lock: &T) {
    // SAFETY: the address is not dereferenced, here and below.
    unsafe { threading_annotate_mutex_created(address_of(lock)) };
}

/// Reports that a lock is being destroyed.
#[cold]
pub(crate) fn mutex_destroyed<T>(lock: &T) {
    flush_deferred_unlocks();
    // If another thread has yet to report an unlock of this lock, ThreadSanitizer must still know the lock.
    let deferred = DEFERRED_UNLOCKS.lock();
    if !deferred.unlocks.iter().any(|&(_, address)| address == address_of(lock) as usize) {
        // SAFETY: as above.
        unsafe { threading_annotate_mutex_destroyed(address_of(lock)) };
    }
}

/// Reports that the calling thread is about to acquire a lock, and may wait for it.
#[cold]
pub(crate) fn mutex_pre_lock<T>(lock: &T) {
    flush_deferred_unlocks();
    // SAFETY: as above.
    unsafe { threading_annotate_mutex_pre_lock(address_of(lock)) };
}

/// Reports that the calling thread has acquired a lock. `is_blocking` is true if it would have waited indefinitely, so
/// that a deadlock is possible.
#[cold]
pub(crate) fn mutex_post_lock<T>(lock: &T, is_blocking: bool, owner: &AtomicTsanOwner) {
    let me = threading_annotate_thread_id();
    register_locker(me);
    // A former owner may still be stored: concurrent acquisitions and releases may be reported out of order.
    defer_unlock(lock, owner.swap(me, Ordering::Relaxed));
    flush_deferred_unlocks();
    // SAFETY: as above.
    unsafe { threading_annotate_mutex_post_lock(address_of(lock), is_blocking.into()) };
    happens_after(lock);
}

/// Reports that the calling thread is about to release a lock, which it or another thread has acquired.
#[cold]
pub(crate) fn mutex_unlock<T>(lock: &T, owner: &AtomicTsanOwner) {
    happens_before(lock);
    defer_unlock(lock, owner.swap(NO_OWNER, Ordering::Relaxed));
    flush_deferred_unlocks();
}

/// Discards what the calling thread has not reported yet. Called at thread exit, after which it reports nothing.
pub(crate) fn forget_current() {
    let me = threading_annotate_thread_id();
    let mut deferred = DEFERRED_UNLOCKS.lock();
    deferred.lockers.retain(|&locker| locker != me);
    deferred.unlocks.retain(|&(locker, _)| locker != me);
}

/// The unlocks that have not been reported yet.
struct DeferredUnlocks {
    /// The ID of the locker and the address of the lock, for each unlock by another thread.
    unlocks: Vec<(u32, usize)>,
    /// The threads that have acquired a lock and have not exited: only these will report deferred unlocks.
    lockers: Vec<u32>,
}

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static DEFERRED_UNLOCKS: InternalMutex<DeferredUnlocks> =
    InternalMutex::new(DeferredUnlocks { unlocks: Vec::new(), lockers: Vec::new() });
/// The number of deferred unlocks. A hint, written under the mutex and read without it.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static DEFERRED_COUNT: AtomicUsize = AtomicUsize::new(0);

impl ForkReset for DeferredUnlocks {
    fn reset_in_child(&mut self) {
        // The lockers do not exist in the child, except for the thread that forked. For that thread, ThreadSanitizer
        // may see a lock order that did not occur. The vectors leak, since the fork may have interrupted a change.
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
    // If there is no memory, ThreadSanitizer may see a lock order that did not occur.
    if deferred.lockers.contains(&owner) && deferred.unlocks.try_reserve(1).is_ok() {
        deferred.unlocks.push((owner, address_of(lock) as usize));
        DEFERRED_COUNT.store(deferred.unlocks.len(), Ordering::Relaxed);
    }
}

/// Reports the unlocks that other threads have deferred for the calling thread.
fn flush_deferred_unlocks() {
    if DEFERRED_COUNT.load(Ordering::Relaxed) == 0 {
        return;
    }
    let me = threading_annotate_thread_id();
    let mut deferred = DEFERRED_UNLOCKS.lock();
    deferred.unlocks.retain(|&(locker, lock)| {
        if locker == me {
            // SAFETY: as above.
            unsafe { threading_annotate_mutex_unlock(lock as *mut c_void) };
        }
        locker != me
    });
    DEFERRED_COUNT.store(deferred.unlocks.len(), Ordering::Relaxed);
}
