//! The pending timers, the earliest first: a heap in which each entry has four children, so that it is half
//! as deep as a binary one and siblings share a cache line. Each timer knows its heap_index, so that it can be
//! taken out.
//!
//! Most timers guard something that comes in time, and are cancelled soon, but are the earliest as long as
//! they wait: each would be sifted from the end of the heap to its top, and leave a hole there. So the newest
//! few stand beside the heap, in no order, and are sifted in when there are too many of them; who looks for
//! the earliest looks there as well.

use crate::sys::atomic::Ordering;

use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::time::Deadline;
use crate::timer::object::{NOT_IN_HEAP, Timer};

const ARITY: usize = 4;

/// How many stand beside the heap at most: so few that to look at all of them costs less than a cache miss.
const NURSERY_SIZE: usize = 32;
/// In a timer's heap_index: it is one beside the heap.
const IN_NURSERY: u32 = 1 << 31;

#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) deadline: Deadline,
    pub(crate) timer: &'static Timer,
}

pub(crate) struct Heap {
    entries: Vec<Entry>,
    nursery: Vec<Entry>,
}

impl Heap {
    pub(crate) const fn new() -> Self {
        Heap { entries: Vec::new(), nursery: Vec::new() }
    }

    /// When the earliest is due.
    pub(crate) fn peek(&self) -> Option<Entry> {
        let nursery = self.nursery.iter().min_by_key(|entry| entry.deadline);
        let first = self.entries.first().into_iter().chain(nursery).min_by_key(|entry| entry.deadline);
        first.copied()
    }

    /// Brings near what the next ones will be looked at for: much has gone through the caches since they were
    /// started, mostly by another thread.
    #[inline]
    pub(crate) fn prefetch_next(&self) {
        if let Some(next) = self.entries.first() {
            // SAFETY: it is pending, under the guard that the caller has for the heap.
            Handle::prefetch(unsafe { next.timer.thread_unchecked() });
        }
        for entry in self.entries.iter().take(1 + ARITY).skip(1) {
            Handle::prefetch(entry.timer);
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, entry: Entry) -> Result<()> {
        if self.nursery.len() == self.nursery.capacity() {
            self.flush_nursery()?;
        }
        entry.timer.heap_index.store(IN_NURSERY | self.nursery.len() as u32, Ordering::Relaxed);
        self.nursery.push(entry);
        Ok(())
    }

    /// Makes room for one more beside the heap.
    #[cold]
    fn flush_nursery(&mut self) -> Result<()> {
        if self.nursery.capacity() == 0 {
            return self.nursery.try_reserve_exact(NURSERY_SIZE).map_err(|_| Error::NoMemory);
        }
        if self.entries.len() + self.nursery.len() >= IN_NURSERY as usize {
            return Err(Error::NoMemory);
        }
        self.entries.try_reserve(self.nursery.len()).map_err(|_| Error::NoMemory)?;
        while let Some(entry) = self.nursery.pop() {
            self.entries.push(entry);
            self.sift_up(self.entries.len() - 1, entry);
        }
        Ok(())
    }

    /// Takes a timer out, if it is in.
    #[inline]
    pub(crate) fn remove(&mut self, timer: &Timer) {
        let heap_index = timer.heap_index.load(Ordering::Relaxed);
        timer.heap_index.store(NOT_IN_HEAP, Ordering::Relaxed);
        let is_there = |entry: &Entry| core::ptr::eq(entry.timer, timer);
        // In a child of fork, the heap_index may be one in the parent's heap.
        if heap_index & IN_NURSERY == 0 {
            if self.entries.get(heap_index as usize).is_some_and(is_there) {
                self.remove_at(heap_index as usize);
            }
        } else if self.nursery.get((heap_index - IN_NURSERY) as usize).is_some_and(is_there) {
            let at = (heap_index - IN_NURSERY) as usize;
            self.nursery.swap_remove(at);
            if let Some(moved) = self.nursery.get(at) {
                moved.timer.heap_index.store(heap_index, Ordering::Relaxed);
            }
        }
    }

    /// Takes the entry at this heap_index out of the heap itself.
    fn remove_at(&mut self, heap_index: usize) {
        let removed = self.entries.swap_remove(heap_index);
        if let Some(&moved) = self.entries.get(heap_index) {
            if moved.deadline < removed.deadline {
                self.sift_up(heap_index, moved)
            } else {
                self.sift_down(heap_index, moved)
            }
        }
        if self.entries.capacity() > 64 && self.entries.len() < self.entries.capacity() / 4 {
            self.shrink();
        }
    }

    /// Gives half of the memory back. That takes some, for a moment: where there is none, nothing is given
    /// back.
    #[cold]
    fn shrink(&mut self) {
        let mut smaller = Vec::new();
        if smaller.try_reserve_exact(self.entries.capacity() / 2).is_ok() {
            smaller.append(&mut self.entries);
            self.entries = smaller;
        }
    }

    /// Takes all out, in a child of fork: timers of the parent keep a heap_index that is not looked at any more.
    pub(crate) fn clear(&mut self) {
        const { assert!(!core::mem::needs_drop::<Entry>(), "to drop them would take as long as there are many") };
        self.entries.clear();
        self.nursery.clear();
    }

    fn set_entry(&mut self, heap_index: usize, entry: Entry) {
        self.entries[heap_index] = entry;
        entry.timer.heap_index.store(heap_index as u32, Ordering::Relaxed);
    }

    fn sift_up(&mut self, mut heap_index: usize, entry: Entry) {
        while heap_index > 0 {
            let parent = (heap_index - 1) / ARITY;
            if self.entries[parent].deadline <= entry.deadline {
                break;
            }
            self.set_entry(heap_index, self.entries[parent]);
            heap_index = parent;
        }
        self.set_entry(heap_index, entry);
    }

    fn sift_down(&mut self, mut heap_index: usize, entry: Entry) {
        loop {
            let first = heap_index * ARITY + 1;
            let children = first..(first + ARITY).min(self.entries.len());
            let Some(earliest) = children.min_by_key(|&child| self.entries[child].deadline) else { break };
            if entry.deadline <= self.entries[earliest].deadline {
                break;
            }
            self.set_entry(heap_index, self.entries[earliest]);
            heap_index = earliest;
        }
        self.set_entry(heap_index, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timer() -> &'static Timer {
        // SAFETY: zero is a valid timer.
        Box::leak(Box::new(unsafe { core::mem::zeroed() }))
    }

    #[test]
    fn the_earliest_timer_comes_first_after_removals() {
        let mut heap = Heap::new();
        let mut random = 12345_u64;
        let mut timers = Vec::new();
        for _ in 0..1000 {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let entry = Entry { deadline: Deadline(random >> 40), timer: timer() };
            heap.push(entry).unwrap();
            timers.push(entry);
        }
        for entry in timers.iter().step_by(3) {
            heap.remove(entry.timer);
            heap.remove(entry.timer);
        }
        let mut last = Deadline(0);
        let mut count = 0;
        while let Some(first) = heap.peek() {
            assert!(first.deadline >= last);
            last = first.deadline;
            heap.remove(first.timer);
            let is_first = |entry: &Entry| core::ptr::eq(entry.timer, first.timer);
            assert!(timers.iter().enumerate().any(|(i, entry)| i % 3 != 0 && is_first(entry)));
            count += 1;
        }
        assert_eq!(count, 666);
    }
}
