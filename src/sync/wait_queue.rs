//! A line of waiting threads, the longest waiting first.
//!
//! A circular list through the waiters' records: the queue itself is one pointer. It has no lock; its owner
//! keeps it in a `Guarded`, and each function below relies on that.

use crate::sys::atomic::Ordering;
use core::ptr;

use crate::sync::mutex::Forget;
use crate::sync::waiter::Waiter;

/// See the module. Zero is an empty queue.
pub(crate) struct Queue {
    first: *const Waiter,
}

// SAFETY: the records are shared under the lock of the `Guarded` that holds the queue.
unsafe impl Send for Queue {}

impl Forget for Queue {
    fn forget(&mut self) {
        self.first = ptr::null();
    }
}

impl Queue {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    #[inline]
    pub(crate) fn first(&self) -> Option<&'static Waiter> {
        // SAFETY: records are valid for ever.
        unsafe { self.first.as_ref() }
    }

    /// To the end of the line.
    pub(crate) fn push_back(&mut self, waiter: &'static Waiter) {
        waiter.next_in_turn.store(self.is_empty(), Ordering::Relaxed);
        match self.first() {
            None => {
                waiter.next.set(waiter);
                waiter.previous.set(waiter);
                self.first = waiter;
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
            self.first = ptr::null();
        } else {
            // SAFETY: neighbours are in this queue, and records are valid for ever.
            unsafe {
                (*previous).next.set(next);
                (*next).previous.set(previous);
            }
            if ptr::eq(self.first, waiter) {
                self.first = next;
            }
        }
    }

    /// Each of them, the longest waiting first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'static Waiter> + '_ {
        let mut at = self.first();
        core::iter::from_fn(move || {
            let waiter = at?;
            let next = waiter.next.get();
            // SAFETY: neighbours are in this queue, and records are valid for ever.
            at = if ptr::eq(next, self.first) { None } else { unsafe { next.as_ref() } };
            Some(waiter)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: Queue = Queue { first: ptr::null() };

    fn waiters(count: usize) -> Vec<&'static Waiter> {
        (0..count)
            .map(|place| {
                // SAFETY: zero is a valid record.
                let waiter: &'static Waiter = Box::leak(Box::new(unsafe { core::mem::zeroed() }));
                waiter.place.set(place);
                waiter
            })
            .collect()
    }

    fn places(queue: &Queue) -> Vec<usize> {
        queue.iter().map(|waiter| waiter.place.get()).collect()
    }

    #[test]
    fn first_in_first_out() {
        let (mut queue, all) = (EMPTY, waiters(3));
        assert!(queue.is_empty() && queue.pop().is_none());
        all.iter().for_each(|waiter| queue.push_back(waiter));
        assert_eq!(places(&queue), [0, 1, 2]);
        assert_eq!(queue.pop().unwrap().place.get(), 0);
        queue.push_back(all[0]);
        assert_eq!(places(&queue), [1, 2, 0]);
    }

    #[test]
    fn whoever_leaves_leaves_the_others_in_order() {
        for gone in 0..3 {
            let (mut queue, all) = (EMPTY, waiters(3));
            all.iter().for_each(|waiter| queue.push_back(waiter));
            queue.remove(all[gone]);
            assert_eq!(places(&queue), (0..3).filter(|&place| place != gone).collect::<Vec<_>>());
        }
    }
}
