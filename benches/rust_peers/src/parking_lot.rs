//! parking_lot: raw mutex, raw reentrant mutex, condition variable.

use crate::built::{built_from, export};
use ::parking_lot::lock_api::{RawMutex as _, RawMutexTimed as _};
use ::parking_lot::{Condvar, Mutex, MutexGuard, RawMutex, RawThreadId, lock_api::RawReentrantMutex};
use std::time::Duration;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

fn wait<'a, T>(condition: &Condvar, mut guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condition.wait(&mut guard);
    guard
}

built_from!();

#[repr(align(64))]
pub struct Lock(Mutex<()>);

impl Lock {
    fn new() -> Self {
        Self(Mutex::new(()))
    }

    fn raw(&self) -> &RawMutex {
        // SAFETY: by the contract of this crate, the thread that acquires the raw mutex releases it.
        unsafe { self.0.raw() }
    }

    fn acquire(&self) {
        self.raw().lock();
    }

    fn try_acquire(&self) -> bool {
        self.raw().try_lock()
    }

    fn acquire_timeout(&self, seconds: u64) -> bool {
        self.raw().try_lock_for(Duration::from_secs(seconds))
    }

    fn release(&self) {
        // SAFETY: by the contract of this crate, the caller holds it.
        unsafe { self.raw().unlock() }
    }
}

#[repr(align(64))]
pub struct RLock(RawReentrantMutex<RawMutex, RawThreadId>);

impl RLock {
    fn new() -> Self {
        Self(RawReentrantMutex::INIT)
    }

    fn acquire(&self) {
        self.0.lock();
    }

    fn release(&self) {
        // SAFETY: by the contract of this crate, the caller holds it.
        unsafe { self.0.unlock() }
    }
}

#[repr(align(64))]
pub struct Condition(Condvar);

impl Condition {
    fn new() -> Self {
        Self(Condvar::new())
    }

    fn wait(&self, lock: *const Lock) {
        // SAFETY: by the contract of this crate, the lock is alive and the caller holds it, so a guard may be created.
        // The caller holds the lock afterwards, so the guard is forgotten.
        let mut guard = unsafe { (*lock).0.make_guard_unchecked() };
        self.0.wait(&mut guard);
        std::mem::forget(guard);
    }

    fn notify(&self) {
        self.0.notify_one();
    }

    fn notify_all(&self) {
        self.0.notify_all();
    }
}

export! { Lock: parking_lot_lock_new(), parking_lot_lock_free;
    parking_lot_lock_acquire = acquire();
    parking_lot_lock_try = try_acquire() -> bool;
    parking_lot_lock_timed = acquire_timeout(seconds: u64) -> bool;
    parking_lot_lock_release = release();
}

export! { RLock: parking_lot_rlock_new(), parking_lot_rlock_free;
    parking_lot_rlock_acquire = acquire();
    parking_lot_rlock_release = release();
}

export! { Condition: parking_lot_condition_new(), parking_lot_condition_free;
    parking_lot_condition_wait = wait(lock: *const Lock);
    parking_lot_condition_notify = notify();
    parking_lot_condition_notify_all = notify_all();
}

export! { Event: parking_lot_event_new(), parking_lot_event_free;
    parking_lot_event_is_set = is_set() -> bool;
    parking_lot_event_set = set();
    parking_lot_event_clear = clear();
    parking_lot_event_wait = wait();
}

export! { Semaphore: parking_lot_semaphore_new(value: i64), parking_lot_semaphore_free;
    parking_lot_semaphore_acquire = acquire();
    parking_lot_semaphore_release = release();
}

export! { Buffer: parking_lot_buffer_new(size: usize), parking_lot_buffer_free;
    parking_lot_buffer_put = put(item: u64);
    parking_lot_buffer_get = get() -> u64;
}
