//! FIFO queue of waiters: a circular, doubly linked list through their records.
//!
//! ```text
//!          ┌───────────────── next ─────────────────┐
//!          v                                        │
//! head ──> first ── next ──> second ── next ──> last
//!          │                                        ^
//!          └─────────────── previous ───────────────┘
//! ```
//!
//! The queue has no lock of its own: it is part of the data of an `InternalMutex`, and all functions below rely on the
//! caller holding that mutex.

use crate::sys::atomic::Ordering;
use core::ptr;

use crate::sync::mutex::ForkReset;
use crate::sync::waiter::Waiter;

/// A queue of waiters; zeroed memory is an empty one.
pub(crate) struct WaitQueue {
    head: *const Waiter,
}

// SAFETY: the records' cells are accessed under the `InternalMutex` that contains the queue.
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
        // SAFETY: records are never freed.
        unsafe { self.head.as_ref() }
    }

    /// Appends a waiter. It may spin only if no other waiter is in the queue.
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
                // SAFETY: records are never freed.
                unsafe { (*last).next.set(waiter) };
                first.previous.set(waiter);
            }
        }
    }

    /// Removes and returns the waiter that has waited longest.
    pub(crate) fn pop(&mut self) -> Option<&'static Waiter> {
        let first = self.first()?;
        self.remove(first);
        Some(first)
    }

    /// Removes a waiter, which is in this queue.
    pub(crate) fn remove(&mut self, waiter: &'static Waiter) {
        let (previous, next) = (waiter.previous.get(), waiter.next.get());
        if ptr::eq(next, waiter) {
            self.head = ptr::null();
        } else {
            // SAFETY: records are never freed.
            unsafe {
                (*previous).next.set(next);
                (*next).previous.set(previous);
            }
            if ptr::eq(self.head, waiter) {
                self.head = next;
            }
        }
    }

    /// Iterates over the waiters, in FIFO order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'static Waiter> + '_ {
        let mut cursor = self.first();
        core::iter::from_fn(move || {
            let waiter = cursor?;
            let next = waiter.next.get();
            // SAFETY: records are never freed.
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
            .map(|_| {
                // SAFETY: zeroed memory is a valid record.
                let waiter: &'static Waiter = Box::leak(Box::new(unsafe { core::mem::zeroed() }));
                waiter
            })
            .collect()
    }

    /// The queue's content, as positions in `all`.
    fn order(queue: &WaitQueue, all: &[&'static Waiter]) -> Vec<usize> {
        queue.iter().map(|waiter| all.iter().position(|other| ptr::eq(*other, waiter)).unwrap()).collect()
    }

    #[test]
    fn waiters_leave_in_fifo_order() {
        let (mut queue, all) = (EMPTY, waiters(3));
        assert!(queue.is_empty() && queue.pop().is_none());
        all.iter().for_each(|waiter| queue.push_back(waiter));
        assert_eq!(order(&queue, &all), [0, 1, 2]);
        assert!(ptr::eq(queue.pop().unwrap(), all[0]));
        queue.push_back(all[0]);
        assert_eq!(order(&queue, &all), [1, 2, 0]);
    }

    #[test]
    fn removing_a_waiter_keeps_the_order_of_the_others() {
        for removed in 0..3 {
            let (mut queue, all) = (EMPTY, waiters(3));
            all.iter().for_each(|waiter| queue.push_back(waiter));
            queue.remove(all[removed]);
            assert_eq!(order(&queue, &all), (0..3).filter(|&index| index != removed).collect::<Vec<_>>());
        }
    }
}
