//! The pending timers, the earliest first: a heap in which each entry has four children, so that it is half
//! as deep as a binary one and siblings share a cache line. Each timer knows its place, so that it can be
//! taken out.

use core::sync::atomic::Ordering;

use super::pending::Timer;
use crate::error::{Error, Result};
use crate::time::Deadline;

const CHILDREN: usize = 4;

/// The place of a timer that is not in the heap.
pub(super) const NOWHERE: u32 = u32::MAX;

#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) deadline: Deadline,
    pub(super) timer: &'static Timer,
}

pub(super) struct Heap {
    entries: Vec<Entry>,
}

impl Heap {
    pub(super) const fn new() -> Self {
        Heap { entries: Vec::new() }
    }

    /// When the earliest is due.
    pub(super) fn first(&self) -> Option<Deadline> {
        self.entries.first().map(|entry| entry.deadline)
    }

    pub(super) fn push(&mut self, entry: Entry) -> Result<()> {
        if self.entries.len() >= NOWHERE as usize {
            return Err(Error::NoMemory);
        }
        self.entries.try_reserve(1).map_err(|_| Error::NoMemory)?;
        self.entries.push(entry);
        self.rise(self.entries.len() - 1, entry);
        Ok(())
    }

    /// Takes the earliest out.
    pub(super) fn pop(&mut self) -> Option<&'static Timer> {
        let first = self.entries.first()?.timer;
        self.remove(first);
        Some(first)
    }

    /// Takes a timer out, if it is in.
    pub(super) fn remove(&mut self, timer: &Timer) {
        let place = timer.place.swap(NOWHERE, Ordering::Relaxed) as usize;
        if place >= self.entries.len() {
            return;
        }
        let removed = self.entries.swap_remove(place);
        if let Some(&moved) = self.entries.get(place) {
            if moved.deadline < removed.deadline { self.rise(place, moved) } else { self.sink(place, moved) }
        }
        if self.entries.capacity() > 64 && self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(self.entries.capacity() / 2);
        }
    }

    /// Takes all out.
    pub(super) fn clear(&mut self) {
        for entry in self.entries.drain(..) {
            entry.timer.place.store(NOWHERE, Ordering::Relaxed);
        }
    }

    fn put(&mut self, place: usize, entry: Entry) {
        self.entries[place] = entry;
        entry.timer.place.store(place as u32, Ordering::Relaxed);
    }

    fn rise(&mut self, mut place: usize, entry: Entry) {
        while place > 0 {
            let parent = (place - 1) / CHILDREN;
            if self.entries[parent].deadline <= entry.deadline {
                break;
            }
            self.put(place, self.entries[parent]);
            place = parent;
        }
        self.put(place, entry);
    }

    fn sink(&mut self, mut place: usize, entry: Entry) {
        loop {
            let first = place * CHILDREN + 1;
            let children = first..(first + CHILDREN).min(self.entries.len());
            let Some(earliest) = children.min_by_key(|&child| self.entries[child].deadline) else { break };
            if entry.deadline <= self.entries[earliest].deadline {
                break;
            }
            self.put(place, self.entries[earliest]);
            place = earliest;
        }
        self.put(place, entry);
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
    fn the_earliest_comes_first_whoever_was_taken_out_before() {
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
        while let Some(first) = heap.first() {
            assert!(first >= last);
            last = first;
            let popped = heap.pop().unwrap();
            assert!(
                timers.iter().enumerate().any(|(i, entry)| i % 3 != 0 && core::ptr::eq(entry.timer, popped))
            );
            count += 1;
        }
        assert_eq!(count, 666);
    }
}
