//! FIFO queue of waiters.
//!
//! The queue has no lock of its own: it is part of the data of an `InternalMutex`, and all functions below rely on the
//! caller holding that mutex.

use crate::sys::atomic::Ordering;

use crate::sync::list::List;
use crate::sync::mutex::ForkReset;
use crate::sync::waiter::Waiter;
use crate::sys::prefetch::prefetch_for_write;

/// A queue of waiters, whose records are never freed; zeroed memory is an empty one.
pub(crate) struct WaitQueue {
    waiters: List<Waiter>,
}

// SAFETY: the records' cells are accessed under the `InternalMutex` that contains the queue.
unsafe impl Send for WaitQueue {}

impl ForkReset for WaitQueue {
    fn reset_in_child(&mut self) {
        self.waiters = List::new();
    }
}

impl WaitQueue {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    #[inline]
    pub(crate) fn first(&self) -> Option<&'static Waiter> {
        self.waiters.first()
    }

    /// Appends a waiter. It may spin only if no other waiter is in the queue.
    pub(crate) fn push_back(&mut self, waiter: &'static Waiter) {
        waiter.may_spin.store(self.is_empty(), Ordering::Relaxed);
        self.waiters.push_back(waiter);
    }

    /// Removes and returns the waiter that has waited longest.
    pub(crate) fn pop(&mut self) -> Option<&'static Waiter> {
        let first = self.first()?;
        self.remove(first);
        Some(first)
    }

    /// Removes and returns the only waiter; `None` if there are more.
    pub(crate) fn pop_only(&mut self) -> Option<&'static Waiter> {
        let first = self.first()?;
        // The caller is about to change its state, which the waiter may be reading.
        prefetch_for_write(first);
        if !core::ptr::eq(first, self.waiters.last()?) {
            return None;
        }
        self.remove(first);
        Some(first)
    }

    /// Removes a waiter, which is in this queue.
    pub(crate) fn remove(&mut self, waiter: &'static Waiter) {
        self.waiters.remove(waiter);
    }

    /// Returns the waiter behind this one, which is in the queue.
    pub(crate) fn after(&self, waiter: &Waiter) -> Option<&'static Waiter> {
        self.waiters.after(waiter)
    }

    /// Iterates over the waiters, in FIFO order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'static Waiter> + '_ {
        self.waiters.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::ptr;

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
        let (mut queue, all) = (WaitQueue { waiters: List::new() }, waiters(3));
        assert!(queue.is_empty() && queue.pop().is_none());
        all.iter().for_each(|waiter| queue.push_back(waiter));
        assert_eq!(order(&queue, &all), [0, 1, 2]);
        assert!(ptr::eq(queue.pop().unwrap(), all[0]));
        queue.push_back(all[0]);
        assert_eq!(order(&queue, &all), [1, 2, 0]);
        assert!(queue.pop_only().is_none());
        queue.remove(all[1]);
        queue.remove(all[0]);
        assert!(ptr::eq(queue.pop_only().unwrap(), all[2]));
        assert!(queue.is_empty() && queue.pop_only().is_none());
    }
}
