//! The pending timers, the earliest first: a heap in which each entry has four children, so that it is half
//! as deep as a binary one and siblings share a cache line. Each timer knows its place, so that it can be
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
use crate::timer::object::{NOWHERE, Timer};

const CHILDREN: usize = 4;

/// How many stand beside the heap at most: so few that to look at all of them costs less than a cache miss.
const YOUNG: usize = 32;
/// In a timer's place: it is one beside the heap.
const BESIDE: u32 = 1 << 31;

#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) deadline: Deadline,
    pub(crate) timer: &'static Timer,
}

pub(crate) struct Heap {
    entries: Vec<Entry>,
    young: Vec<Entry>,
}

impl Heap {
    pub(crate) const fn new() -> Self {
        Heap { entries: Vec::new(), young: Vec::new() }
    }

    /// When the earliest is due.
    pub(crate) fn first(&self) -> Option<Entry> {
        let young = self.young.iter().min_by_key(|entry| entry.deadline);
        let first = self.entries.first().into_iter().chain(young).min_by_key(|entry| entry.deadline);
        first.copied()
    }

    /// Brings near what the next ones will be looked at for: much has gone through the caches since they were
    /// started, mostly by another thread.
    #[inline]
    pub(crate) fn bring_next_near(&self) {
        if let Some(next) = self.entries.first() {
            // SAFETY: it is pending, under the guard that the caller has for the heap.
            Handle::prefetch(unsafe { next.timer.living_thread() });
        }
        for entry in self.entries.iter().take(1 + CHILDREN).skip(1) {
            Handle::prefetch(entry.timer);
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, entry: Entry) -> Result<()> {
        if self.young.len() == self.young.capacity() {
            self.make_room()?;
        }
        entry.timer.place.store(BESIDE | self.young.len() as u32, Ordering::Relaxed);
        self.young.push(entry);
        Ok(())
    }

    /// Makes room for one more beside the heap.
    #[cold]
    fn make_room(&mut self) -> Result<()> {
        if self.young.capacity() == 0 {
            return self.young.try_reserve_exact(YOUNG).map_err(|_| Error::NoMemory);
        }
        if self.entries.len() + self.young.len() >= BESIDE as usize {
            return Err(Error::NoMemory);
        }
        self.entries.try_reserve(self.young.len()).map_err(|_| Error::NoMemory)?;
        while let Some(entry) = self.young.pop() {
            self.entries.push(entry);
            self.rise(self.entries.len() - 1, entry);
        }
        Ok(())
    }

    /// Takes a timer out, if it is in.
    #[inline]
    pub(crate) fn remove(&mut self, timer: &Timer) {
        let place = timer.place.load(Ordering::Relaxed);
        timer.place.store(NOWHERE, Ordering::Relaxed);
        let is_there = |entry: &Entry| core::ptr::eq(entry.timer, timer);
        // In a child of fork, the place may be one in the parent's heap.
        if place & BESIDE == 0 {
            if self.entries.get(place as usize).is_some_and(is_there) {
                self.take_out(place as usize);
            }
        } else if self.young.get((place - BESIDE) as usize).is_some_and(is_there) {
            let at = (place - BESIDE) as usize;
            self.young.swap_remove(at);
            if let Some(moved) = self.young.get(at) {
                moved.timer.place.store(place, Ordering::Relaxed);
            }
        }
    }

    /// Takes the entry at this place out of the heap itself.
    fn take_out(&mut self, place: usize) {
        let removed = self.entries.swap_remove(place);
        if let Some(&moved) = self.entries.get(place) {
            if moved.deadline < removed.deadline { self.rise(place, moved) } else { self.sink(place, moved) }
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

    /// Takes all out, in a child of fork: timers of the parent keep a place that is not looked at any more.
    pub(crate) fn clear(&mut self) {
        const { assert!(!core::mem::needs_drop::<Entry>(), "to drop them would take as long as there are many") };
        self.entries.clear();
        self.young.clear();
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
