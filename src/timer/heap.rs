//! The pending timers, ordered by deadline: a heap with four children per entry, so that it is half as deep as a
//! binary heap, and all siblings are in one or two cache lines.
//!
//! # The index of a timer
//!
//! To be removed from the middle, each timer stores an index: that of its entry, or of a descendant of it. When an
//! entry is removed, entries below it move up, one at each level. Their timers keep the index that they have, since
//! their slots are rarely in the cache; `find` looks for the entry on the way from the index to the first one. When an
//! entry moves down, or from the end, its timer gets the exact index.
//!
//! # The nursery
//!
//! Most timers are timeouts that are cancelled soon after their start, but have an early deadline while they are
//! pending. In the heap, each of them would be sifted up to the top, and leave a hole there when it is removed. So
//! the newest entries, up to `NURSERY_SIZE`, are kept unsorted in a vector beside the heap, and are moved into the heap
//! when that vector is full. `peek` scans the nursery.

use crate::sys::atomic::Ordering;

use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::sys::offsets::offsets;
use crate::time::Deadline;
use crate::timer::object::{NOT_IN_HEAP, Timer};

/// The number of children of an entry.
pub(crate) const ARITY: usize = 4;

/// The capacity of the nursery. A scan of all its entries must cost less than a cache miss.
const NURSERY_SIZE: usize = 32;
/// Set in a timer's `heap_index` if the rest is the exact index of an entry in the nursery.
pub(crate) const IN_NURSERY: u32 = 1 << 31;

#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) deadline: Deadline,
    pub(crate) timer: &'static Timer,
}

pub(crate) struct Heap {
    entries: Vec<Entry>,
    nursery: Vec<Entry>,
}

offsets!(EntryOffsets of Entry: deadline, timer);
offsets!(HeapOffsets of Heap: entries, nursery);

/// The position of the pointer among the three words of a vector, for programs that read this process from outside. Of
/// the other two words, the smaller one is the length.
#[cfg(all(target_os = "linux", not(model)))]
pub(crate) const VECTOR_POINTER: usize = {
    // SAFETY: the two types have the same size, and words have no invalid values. An empty vector has no allocation, so
    // that its pointer is only a number: the alignment.
    let words: [usize; 3] = unsafe { core::mem::transmute(Vec::<Entry>::new()) };
    if words[0] != 0 {
        0
    } else if words[1] != 0 {
        1
    } else {
        2
    }
};

/// Returns the index of the parent of an entry that is not the first one.
fn parent_of(heap_index: usize) -> usize {
    (heap_index - 1) / ARITY
}

/// Returns the index of the earliest deadline. In two rounds, without branches: which of them it is, is unpredictable.
#[inline(always)]
fn earliest_of([a, b, c, d]: [Deadline; ARITY]) -> usize {
    let (left, of_left) = if b < a { (b, 1) } else { (a, 0) };
    let (right, of_right) = if d < c { (d, 3) } else { (c, 2) };
    if right < left { of_right } else { of_left }
}

impl Heap {
    pub(crate) const fn new() -> Self {
        Heap { entries: Vec::new(), nursery: Vec::new() }
    }

    /// Returns the number of timers.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() + self.nursery.len()
    }

    /// Iterates over the timers, those with early deadlines first as a rule.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.nursery.iter().chain(&self.entries)
    }

    /// Returns the entry with the earliest deadline.
    pub(crate) fn peek(&self) -> Option<Entry> {
        let nursery = self.nursery.iter().min_by_key(|entry| entry.deadline);
        let first = self.entries.first().into_iter().chain(nursery).min_by_key(|entry| entry.deadline);
        first.copied()
    }

    /// Moves the nursery into the heap if it is so long that the next calls of `peek` would take longer. The leader
    /// calls this while timers are due. If memory is exhausted, the nursery stays.
    #[inline]
    pub(crate) fn settle(&mut self) {
        const SHORT: usize = 4;
        if self.nursery.len() > SHORT {
            let _ = self.flush_nursery();
        }
    }

    /// Prefetches the slots that the removal and the run of the next timer access. The timers in them were started some
    /// time ago, usually by another thread, so that they are rarely in the cache.
    #[inline]
    pub(crate) fn prefetch_next(&self) {
        let Some((next, others)) = self.entries.split_first() else { return };
        // SAFETY: the caller holds the registry mutex, under which a timer in the heap is pending and thus alive.
        Handle::prefetch(unsafe { next.timer.thread_unchecked() });
        // One of these is the one after the next.
        if let Some(children) = others.first_chunk::<ARITY>() {
            children.iter().for_each(|entry| Handle::prefetch(entry.timer));
        }
        // The last entry moves when the next one is removed.
        if let Some(last) = others.last() {
            Handle::prefetch(last.timer);
        }
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, entry: Entry) -> Result<()> {
        if self.nursery.len() == self.nursery.capacity() {
            self.flush_nursery()?;
        }
        entry.timer.heap_index.store(IN_NURSERY | self.nursery.len() as u32, Ordering::Relaxed);
        self.nursery.push(entry);
        Ok(())
    }

    /// Moves the nursery into the heap, which leaves room for more entries.
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

    /// Removes a timer, if it is in the heap or in the nursery.
    #[inline(always)]
    pub(crate) fn remove(&mut self, timer: &Timer) {
        let heap_index = timer.heap_index.load(Ordering::Relaxed);
        timer.heap_index.store(NOT_IN_HEAP, Ordering::Relaxed);
        let is_there = |entry: &Entry| core::ptr::eq(entry.timer, timer);
        // In a child of fork, the index may be one into the parent's heap, so the entry is compared.
        if heap_index & IN_NURSERY == 0 {
            self.remove_at_or_above(heap_index as usize, timer);
        } else if self.nursery.get((heap_index - IN_NURSERY) as usize).is_some_and(is_there) {
            let at = (heap_index - IN_NURSERY) as usize;
            if let Some(last) = self.nursery.pop() {
                if let Some(removed) = self.nursery.get_mut(at) {
                    *removed = last;
                    last.timer.heap_index.store(heap_index, Ordering::Relaxed);
                }
            }
        }
    }

    /// Removes a timer whose index in the heap itself is `at_or_below`, or that of an ancestor, if it is there.
    #[inline(never)]
    fn remove_at_or_above(&mut self, at_or_below: usize, timer: &Timer) {
        if let Some(heap_index) = self.find(at_or_below, |entry| core::ptr::eq(entry.timer, timer)) {
            self.remove_at(heap_index);
        }
    }

    /// Returns the index of an entry in the heap itself. It is `at_or_below`, or that of an ancestor.
    #[inline]
    fn find(&self, at_or_below: usize, is_wanted: impl Fn(&Entry) -> bool) -> Option<usize> {
        let is_at = |index: usize| self.entries.get(index).is_some_and(&is_wanted);
        // The leader removes the first one.
        if is_at(0) {
            return Some(0);
        }
        let mut index = at_or_below;
        while index > 0 {
            if is_at(index) {
                return Some(index);
            }
            index = parent_of(index);
        }
        None
    }

    /// Removes the entry at this index of the heap itself.
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

    /// Halves the capacity. This allocates memory first; if that fails, the heap keeps its size.
    #[cold]
    fn shrink(&mut self) {
        let mut smaller = Vec::new();
        if smaller.try_reserve_exact(self.entries.capacity() / 2).is_ok() {
            smaller.append(&mut self.entries);
            self.entries = smaller;
        }
    }

    /// Removes all entries, in a child of fork. The parent's timers keep their `heap_index`, which `remove` ignores.
    pub(crate) fn clear(&mut self) {
        const {
            assert!(
                !core::mem::needs_drop::<Entry>(),
                "dropping entries would take time linear in their number"
            )
        };
        self.entries.clear();
        self.nursery.clear();
    }

    fn set_entry(&mut self, heap_index: usize, entry: Entry) {
        self.entries[heap_index] = entry;
        entry.timer.heap_index.store(heap_index as u32, Ordering::Relaxed);
    }

    fn sift_up(&mut self, mut heap_index: usize, entry: Entry) {
        while heap_index > 0 {
            let parent = parent_of(heap_index);
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
            let earliest = match self.entries.get(first..first + ARITY) {
                Some(&[a, b, c, d]) => first + earliest_of([a.deadline, b.deadline, c.deadline, d.deadline]),
                _ => match (first..self.entries.len()).min_by_key(|&child| self.entries[child].deadline) {
                    Some(earliest) => earliest,
                    None => break,
                },
            };
            if entry.deadline <= self.entries[earliest].deadline {
                break;
            }
            self.entries[heap_index] = self.entries[earliest];
            heap_index = earliest;
        }
        self.set_entry(heap_index, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timer() -> &'static Timer {
        // SAFETY: all-zero is a valid timer.
        Box::leak(Box::new(unsafe { core::mem::zeroed() }))
    }

    #[test]
    fn peek_returns_the_earliest_deadline_after_removals() {
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

    /// An index in the timer of each entry that leads to this entry.
    fn check_indices(heap: &Heap) {
        for (index, entry) in heap.entries.iter().enumerate() {
            let stored = entry.timer.heap_index.load(Ordering::Relaxed) as usize;
            assert_eq!(heap.find(stored, |found| core::ptr::eq(found.timer, entry.timer)), Some(index));
        }
    }

    #[test]
    fn a_timer_is_found_after_its_entry_has_moved_up() {
        const COUNT: u64 = 500;
        let mut heap = Heap::new();
        let timers: Vec<_> = (0..COUNT).map(|_| timer()).collect();
        for (deadline, timer) in timers.iter().enumerate() {
            heap.push(Entry { deadline: Deadline(deadline as u64), timer }).unwrap();
        }
        heap.flush_nursery().unwrap();
        // Entries move up by several levels, and the stored indices are soon beyond the end of the heap.
        for first in &timers[..400] {
            assert!(core::ptr::eq(heap.peek().unwrap().timer, *first));
            heap.remove(first);
            check_indices(&heap);
        }
        // New entries with early deadlines move the others down again.
        for timer in &timers[..50] {
            heap.push(Entry { deadline: Deadline(0), timer }).unwrap();
        }
        heap.flush_nursery().unwrap();
        check_indices(&heap);
        for timer in timers.iter().rev() {
            heap.remove(timer);
            check_indices(&heap);
        }
        assert_eq!(heap.len(), 0);
    }
}
