//! Pools of records that threads may read at any time, even after their owners have exited. So records are never
//! freed: a record that an owner has released serves the next one.
//!
//! A pool maps memory in chunks, and touches each record of a chunk only when it first allocates it. The chunks are in
//! a list of their own, which outlives the pool in a child of fork. The first record of each chunk is not allocated:
//! its `links.next` is the next chunk.

use core::ptr;

use crate::sync::list::Linked;
use crate::sync::mutex::ForkReset;
use crate::sys::annotate;
use crate::sys::atomic::{AtomicPtr, Ordering};
use crate::sys::memory;

pub(crate) const CHUNK_SIZE: usize = 16 * 1024;

/// A type of records.
///
/// # Safety
/// Zeroed memory is a valid value of the type, and values can be shared between threads.
pub(crate) unsafe trait Record: Linked {}

/// The free records of one type.
pub(crate) struct RecordPool<T> {
    /// The records that owners have released, linked by `links.next`.
    released: *const T,
    /// The first record of the last chunk that has never been allocated, and how many there are.
    unused: *const T,
    unused_count: usize,
}

// SAFETY: the pool owns the records in its list, and records can be shared.
unsafe impl<T: Record> Send for RecordPool<T> {}

impl<T: Record> ForkReset for RecordPool<T> {
    fn reset_in_child(&mut self) {
        // A thread of the parent may have been changing the list. Its records leak in the child: those that were
        // released, and the rest of the last chunk.
        *self = RecordPool::EMPTY;
    }
}

impl<T: Record> RecordPool<T> {
    pub(crate) const EMPTY: Self = RecordPool { released: ptr::null(), unused: ptr::null(), unused_count: 0 };

    /// Returns a record, which is zeroed or as its last owner has left it. Returns `None` if there is no memory for
    /// another chunk, which would be added to `chunks`.
    pub(crate) fn allocate(&mut self, chunks: &AtomicPtr<T>) -> Option<&'static T> {
        // SAFETY: chunks are never unmapped; the pool owns this record.
        if let Some(record) = unsafe { self.released.as_ref() } {
            self.released = record.links().next.get();
            return Some(record);
        }
        if self.unused_count == 0 {
            self.grow(chunks)?;
        }
        // SAFETY: in a chunk, of which no owner has had this part; zero is a valid record.
        let record = unsafe { &*self.unused };
        self.unused = self.unused.wrapping_add(1);
        self.unused_count -= 1;
        Some(record)
    }

    /// Releases a record. The caller no longer uses it, except as one that may belong to another owner.
    pub(crate) fn release(&mut self, record: &'static T) {
        record.links().next.set(self.released);
        self.released = record;
    }

    fn grow(&mut self, chunks: &AtomicPtr<T>) -> Option<()> {
        let chunk = memory::map(0, CHUNK_SIZE)? as *mut T;
        annotate::mark_untracked(chunk, CHUNK_SIZE);
        // SAFETY: the first record of the new chunk, which no other thread finds yet; zero is a valid record.
        unsafe { &*chunk }.links().next.set(chunks.load(Ordering::Relaxed));
        chunks.store(chunk, Ordering::Release);
        self.unused = chunk.wrapping_add(1);
        self.unused_count = CHUNK_SIZE / size_of::<T>() - 1;
        Some(())
    }
}

/// Iterates over all records in a list of chunks, allocated or not. Takes no lock.
pub(crate) struct Records<T> {
    chunk: *const T,
    /// The record of the chunk that was returned last.
    index: usize,
}

impl<T: Record> Records<T> {
    pub(crate) const NONE: Self = Records { chunk: ptr::null(), index: 0 };

    pub(crate) fn of(chunks: &AtomicPtr<T>) -> Self {
        Records { chunk: chunks.load(Ordering::Acquire), index: 0 }
    }
}

impl<T: Record> Iterator for Records<T> {
    type Item = &'static T;

    fn next(&mut self) -> Option<&'static T> {
        // SAFETY: chunks are never unmapped. The first record of a chunk in the list does not change.
        while let Some(first) = unsafe { self.chunk.as_ref() } {
            self.index += 1;
            if self.index < CHUNK_SIZE / size_of::<T>() {
                // SAFETY: the index is in the chunk, which is never unmapped.
                return Some(unsafe { &*self.chunk.add(self.index) });
            }
            (self.chunk, self.index) = (first.links().next.get(), 0);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::list::Links;

    #[repr(C, align(64))]
    struct Numbered {
        links: Links<Numbered>,
    }

    impl Linked for Numbered {
        fn links(&self) -> &Links<Self> {
            &self.links
        }
    }

    // SAFETY: only one thread of the test uses it; zeros are null pointers.
    unsafe impl Record for Numbered {}

    #[test]
    fn a_pool_returns_each_record_once_and_chunks_contain_all() {
        const COUNT: usize = CHUNK_SIZE / size_of::<Numbered>() + 10;
        let (mut pool, chunks) = (RecordPool::<Numbered>::EMPTY, AtomicPtr::new(ptr::null_mut()));
        assert_eq!(Records::of(&chunks).count(), 0);
        let mut records: Vec<_> = (0..COUNT).map(|_| pool.allocate(&chunks).unwrap()).collect();
        let last = records[COUNT - 1];
        pool.release(last);
        assert!(ptr::eq(pool.allocate(&chunks).unwrap(), last));
        records.sort_unstable_by_key(|record| ptr::from_ref(*record));
        records.dedup_by(|one, other| ptr::eq(*one, *other));
        assert_eq!(records.len(), COUNT);
        let all: Vec<_> = Records::of(&chunks).map(ptr::from_ref).collect();
        assert_eq!(all.len(), 2 * (CHUNK_SIZE / size_of::<Numbered>() - 1));
        assert!(records.iter().all(|record| all.contains(&ptr::from_ref(*record))));
    }
}
