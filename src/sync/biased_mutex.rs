//! A mutex that is biased towards one thread, its *owner*, which usually finds no other thread at the data and then
//! locks without an atomic read-modify-write operation. The other threads that lock it, rarely, are its *guests*.
//!
//! # State
//!
//! | word | meaning | changed by |
//! |---|---|---|
//! | `owner_busy` | 1 while the owner uses the data without having locked `mutex` | the owner: to 1, relaxed; to 0, release |
//! | `guests` | the number of guests that have announced themselves. `NO_BIAS` if asymmetric fences are not available | guests: one more, relaxed, or one less, release. A child of fork: to the value without guests, relaxed |
//!
//! The owner sets `owner_busy`, and uses the data if it then finds no guests, by a load with acquire. Otherwise it
//! resets the word, and locks `mutex` as a guest. A guest announces itself, executes the heavy fence, locks `mutex`,
//! and waits until `owner_busy` is 0, by loads with acquire. The owner executes the light fence between its store and
//! its load, so that the guest sees that the owner is busy, or the owner sees the guest. While it is busy, the owner
//! waits for no other thread.

use core::ops::{Deref, DerefMut};

use crate::panic_boundary::{FaultPoint, inject};
use crate::sync::mutex::{ForkReset, InternalMutex, InternalMutexGuard};
use crate::sync::spin_wait::SpinWait;
use crate::sys::asymmetric_fence;
use crate::sys::atomic::{AtomicU32, Ordering};

/// In `guests`: the owner always locks the mutex.
const NO_BIAS: u32 = 1 << 31;

/// A mutex, and the data that it protects.
#[repr(C)]
pub(crate) struct BiasedMutex<T> {
    owner_busy: AtomicU32,
    guests: AtomicU32,
    mutex: InternalMutex<T>,
}

impl<T: ForkReset> BiasedMutex<T> {
    pub(crate) fn new(data: T) -> Self {
        BiasedMutex {
            owner_busy: AtomicU32::new(0),
            guests: AtomicU32::new(no_guests()),
            mutex: InternalMutex::new(data),
        }
    }

    /// Begins to use the data without locking `mutex`. Returns false if there are guests, or if a signal handler or a
    /// replaced malloc has interrupted the owner while it uses the data.
    #[inline(always)]
    fn try_begin(&self) -> bool {
        if self.owner_busy.load(Ordering::Relaxed) != 0 {
            return false;
        }
        self.owner_busy.store(1, Ordering::Relaxed);
        asymmetric_fence::light();
        let has_guests = self.guests.load(Ordering::Acquire) != 0;
        if has_guests {
            self.end();
        }
        !has_guests
    }

    /// Ends what `try_begin` has begun.
    #[inline(always)]
    fn end(&self) {
        self.owner_busy.store(0, Ordering::Release);
    }

    /// Calls `f`, which does not panic, unless there are guests. For fast paths.
    ///
    /// # Safety
    /// The calling thread is the owner, and has no [`OwnerGuard`].
    #[inline(always)]
    pub(crate) unsafe fn bypass<R>(&self, f: impl FnOnce(&T) -> Option<R>) -> Option<R> {
        if !self.try_begin() {
            return None;
        }
        // SAFETY: guests are excluded, and the owner has no guard.
        let result = f(unsafe { &*self.mutex.data_ptr() });
        self.end();
        result
    }

    /// Excludes guests. A call that interrupts another one of the owner waits without end, as it would for any mutex.
    ///
    /// # Safety
    /// As for `bypass`.
    #[inline(always)]
    pub(crate) unsafe fn lock_by_owner(&self) -> OwnerGuard<'_, T> {
        let guard =
            if self.try_begin() { OwnerGuard { biased: self, mutex: None } } else { self.lock_as_guest() };
        #[cfg(fault)]
        crate::panic_boundary::fault::set_locked_type(core::any::type_name::<T>());
        inject(FaultPoint::Locked);
        guard
    }

    #[cold]
    #[inline(never)]
    fn lock_as_guest(&self) -> OwnerGuard<'_, T> {
        OwnerGuard { biased: self, mutex: Some(self.lock_by_guest()) }
    }

    /// Announces a guest. The guest then executes the heavy fence, if asymmetric fences are available, and only after
    /// that calls `lock_by_guest`, any number of times.
    pub(crate) fn announce_guest(&self) {
        self.guests.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends what `announce_guest` has begun.
    pub(crate) fn dismiss_guest(&self) {
        self.guests.fetch_sub(1, Ordering::Release);
    }

    /// Called by a guest that has been announced: excludes the owner and the other guests.
    pub(crate) fn lock_by_guest(&self) -> InternalMutexGuard<'_, T> {
        let guard = self.mutex.lock();
        self.wait_until_owner_is_idle();
        guard
    }

    fn wait_until_owner_is_idle(&self) {
        let mut spin = SpinWait::new();
        while self.owner_busy.load(Ordering::Acquire) != 0 {
            spin.spin_or_sleep();
        }
    }

    /// Called by the owner in a child of fork: discards the guests, which were threads of the parent, and what one of
    /// them was changing.
    pub(crate) fn after_fork_in_child(&self) {
        self.guests.store(no_guests(), Ordering::Relaxed);
        drop(self.mutex.lock());
    }
}

/// The value of `guests` if there are none.
fn no_guests() -> u32 {
    if asymmetric_fence::is_available() { 0 } else { NO_BIAS }
}

/// The owner's access to the data, during which guests are excluded.
pub(crate) struct OwnerGuard<'a, T: ForkReset> {
    biased: &'a BiasedMutex<T>,
    /// `None` if the owner has bypassed the mutex.
    mutex: Option<InternalMutexGuard<'a, T>>,
}

impl<T: ForkReset> Deref for OwnerGuard<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: guests are excluded as long as this guard exists, and the owner has one guard at a time.
        unsafe { &*self.biased.mutex.data_ptr() }
    }
}

impl<T: ForkReset> DerefMut for OwnerGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above.
        unsafe { &mut *self.biased.mutex.data_ptr() }
    }
}

impl<T: ForkReset> Drop for OwnerGuard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.mutex.is_none() {
            self.biased.end();
        }
    }
}
