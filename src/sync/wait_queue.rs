//! A line of waiting threads, the longest waiting first.
//!
//! A circular list through the waiters' records: the queue itself is one pointer. It has no lock; its owner
//! keeps it in a `InternalMutex`, and each function below relies on that.

use crate::sys::atomic::Ordering;
use core::ptr;

use crate::sync::mutex::ForkReset;
use crate::sync::waiter::Waiter;

/// See the module. Zero is an empty queue.
pub(crate) struct WaitQueue {
    head: *const Waiter,
}

// SAFETY: the records are shared under the lock of the `InternalMutex` that holds the queue.
unsafe impl Send for WaitQueue {}

impl ForkReset for WaitQueue {
    fn reset_in_child(&mut self) {
        self.head = ptr::null();
    }
}

impl WaitQueue {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_null()
    }

    #[inline]
    pub(crate) fn first(&self) -> Option<&'static Waiter> {
        // SAFETY: records are valid for ever.
        unsafe { self.head.as_ref() }
    }

    /// To the end of the line.
    pub(crate) fn push_back(&mut self, waiter: &'static Waiter) {
        waiter.may_spin.store(self.is_empty(), Ordering::Relaxed);
        match self.first() {
            None => {
                waiter.next.set(waiter);
                waiter.previous.set(waiter);
                self.head = waiter;
            }
            Some(first) => {
                let last = first.previous.get();
                waiter.next.set(first);
                waiter.previous.set(last);
                // SAFETY: `last` is in this queue, and records are valid for ever.
                unsafe { (*last).next.set(waiter) };
                first.previous.set(waiter);
            }
        }
    }

    /// Takes out the one that has waited longest.
    pub(crate) fn pop(&mut self) -> Option<&'static Waiter> {
        let first = self.first()?;
        self.remove(first);
        Some(first)
    }

    /// Takes out a waiter that stands in this queue.
    pub(crate) fn remove(&mut self, waiter: &'static Waiter) {
        let (previous, next) = (waiter.previous.get(), waiter.next.get());
        if ptr::eq(next, waiter) {
            self.head = ptr::null();
        } else {
            // SAFETY: neighbours are in this queue, and records are valid for ever.
            unsafe {
                (*previous).next.set(next);
                (*next).previous.set(previous);
            }
            if ptr::eq(self.head, waiter) {
                self.head = next;
            }
        }
    }

    /// Each of them, the longest waiting first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'static Waiter> + '_ {
        let mut cursor = self.first();
        core::iter::from_fn(move || {
            let waiter = cursor?;
            let next = waiter.next.get();
            // SAFETY: neighbours are in this queue, and records are valid for ever.
            cursor = if ptr::eq(next, self.head) { None } else { unsafe { next.as_ref() } };
            Some(waiter)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: WaitQueue = WaitQueue { head: ptr::null() };

    fn waiters(count: usize) -> Vec<&'static Waiter> {
        (0..count)
            .map(|place| {
                // SAFETY: zero is a valid record.
                let waiter: &'static Waiter = Box::leak(Box::new(unsafe { core::mem::zeroed() }));
                waiter.arrival_index.set(place);
                waiter
            })
            .collect()
    }

    fn arrival_indices(queue: &WaitQueue) -> Vec<usize> {
        queue.iter().map(|waiter| waiter.arrival_index.get()).collect()
    }

    #[test]
    fn first_in_first_out() {
        let (mut queue, all) = (EMPTY, waiters(3));
        assert!(queue.is_empty() && queue.pop().is_none());
        all.iter().for_each(|waiter| queue.push_back(waiter));
        assert_eq!(arrival_indices(&queue), [0, 1, 2]);
        assert_eq!(queue.pop().unwrap().arrival_index.get(), 0);
        queue.push_back(all[0]);
        assert_eq!(arrival_indices(&queue), [1, 2, 0]);
    }

    #[test]
    fn removing_a_waiter_keeps_the_order_of_the_others() {
        for removed in 0..3 {
            let (mut queue, all) = (EMPTY, waiters(3));
            all.iter().for_each(|waiter| queue.push_back(waiter));
            queue.remove(all[removed]);
            assert_eq!(arrival_indices(&queue), (0..3).filter(|&place| place != removed).collect::<Vec<_>>());
        }
    }
}
