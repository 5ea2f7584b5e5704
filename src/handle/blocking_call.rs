//! Blocking calls. A thread pins the slot of the object, and goes on with the call in a child of fork.
//!
//! A signal handler, or a callback, may fork during a blocking call. In the child, the pins and the waiters of the
//! parent are not counted, since its other threads do not exist. So the thread that has forked counts its own again,
//! before the child runs code of the program (`keep`).
//!
//! A signal handler may interrupt every step here. So a call is in the list before it pins the slot, and unpins it when
//! it is not in the list any more. If a fork interrupts `begin`, the slot may be pinned once more than it is unpinned:
//! then the child does not reuse it.

use core::cell::Cell;
use core::marker::PhantomData;
use core::mem;
use core::ptr;

use crate::error::Result;
use crate::handle::{Handle, Object};
use crate::sync::fork_epoch::fork_epoch;
use crate::sync::fork_list::ForkEntry;
use crate::sync::own_waiter::OwnWaiter;
use crate::sync::waiter::Waiter;
use crate::sync::waiter_pool;

/// A blocking call on an object. It begins with `begin`, and ends when this value is dropped.
pub(crate) struct BlockingCall<T: Object> {
    entry: ForkEntry,
    handle: usize,
    is_pinned: Cell<bool>,
    /// The fork epoch in which the pin is counted.
    epoch: Cell<u32>,
    waiter: OwnWaiter,
    kind: PhantomData<fn() -> T>,
}

impl<T: Object> BlockingCall<T> {
    #[inline]
    pub(crate) fn new(handle: Handle<T>) -> Self {
        BlockingCall {
            entry: ForkEntry::new(Self::keep),
            handle: handle.bits(),
            is_pinned: Cell::new(false),
            epoch: Cell::new(0),
            waiter: OwnWaiter::default(),
            kind: PhantomData,
        }
    }

    /// Pins the slot, as `Handle::pin`. From now on, the value must not move.
    #[inline]
    pub(crate) fn begin(&self) -> Result<&'static T> {
        self.epoch.set(fork_epoch());
        self.entry.add([ptr::from_ref(self) as usize, waiter_pool::in_block()]);
        let pin = Handle::<T>::from_bits(self.handle).pin()?;
        self.is_pinned.set(true);
        let object = pin.object;
        mem::forget(pin);
        Ok(object)
    }

    /// Whether the object's word counts the calling thread, for an object whose word counts its waiters.
    #[inline(always)]
    pub(crate) fn waiter(&self) -> &OwnWaiter {
        &self.waiter
    }

    /// In a child of fork: keeps the record of the thread, and counts the pin, and the thread as a waiter, again.
    fn keep(call: usize, record: usize) {
        // If a signal handler waits, each call has its own record: see `WaiterLease`.
        Waiter::keep_after_fork(record);
        // SAFETY: `begin` has added this address to the list, from which the call is removed before it is dropped.
        let call = unsafe { &*(call as *const Self) };
        let Ok((object, tag)) = Handle::<T>::from_bits(call.handle).slot() else { return };
        // Even if the object has been freed. If the slot has another generation, `begin` has not pinned it.
        if object.header().pins.add(tag) {
            call.epoch.set(fork_epoch());
            object.keep_blocking_call(tag, &call.waiter);
        }
    }
}

impl<T: Object> Drop for BlockingCall<T> {
    #[inline]
    fn drop(&mut self) {
        self.entry.remove();
        // As in `Pin`: in a child of fork, the parent's pins are not counted.
        if self.is_pinned.get() && self.epoch.get() == fork_epoch() {
            // SAFETY: the slot is pinned, so the handle leads to it.
            let (object, tag) = unsafe { Handle::<T>::from_bits(self.handle).slot_unchecked() };
            if object.header().pins.remove(tag) {
                Handle::recycle(object);
            }
        }
    }
}
