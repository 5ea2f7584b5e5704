//! The recursion counts of the RLocks that the calling thread owns.
//!
//! The owner keeps the count, and not the lock: an RLock may be freed while it is locked, and a count that its owner
//! was about to write could then go to the next object in the slot.
//!
//! # State (in the thread's block; only the thread itself uses it)
//!
//! An *extra count* is the recursion count less one.
//!
//! | field | meaning |
//! |---|---|
//! | `cached_rlock` | the handle of the RLock whose extra count is in `cached_extra_count`, or 0 |
//! | `cached_extra_count` | its extra count. If this is 0, or the RLock is not owned any more, another RLock may replace it |
//! | `recursion_table` | a hash table of other RLocks with an extra count, or 0. If it is 0, an RLock that is not cached has the extra count 0 |
//!
//! A count is valid only while the lock's word names this thread as the owner. Other threads can end that by freeing or
//! reinitializing the lock, so the first acquire always resets the count. When the table is full, entries
//! with an invalid count, or with 0, are dropped.
//!
//! The table uses open addressing with linear probing, and is at most three quarters full. A new table is sized for
//! twice the entries it receives, so that rehashing is rare.
//!
//! A wait for a condition sets the extra count to 0 and keeps the entry, in which it restores the count. The thread
//! acquires no other lock in between, except in the hang hook: then another RLock may have replaced the entry.

use core::ptr;

use crate::error::{Error, Result};
use crate::sys;
use crate::sys::annotate::malloc;
use crate::sys::libc_hooks::register_exit_hook;
use crate::sys::tls;

#[derive(Clone, Copy)]
struct RecursionEntry {
    /// 0 in an empty entry.
    rlock: usize,
    extra_count: u32,
}

/// The header of a table; the entries follow it.
#[repr(C)]
struct TableHeader {
    /// The number of entries, a power of two.
    capacity: usize,
    /// The number of entries that are not empty.
    used: usize,
}

/// A pointer to a table, which belongs to one thread. No copy of it is used after the table has been freed.
#[derive(Clone, Copy)]
struct Table(*mut TableHeader);

const MIN_CAPACITY: usize = 4;

impl Table {
    const NONE: Self = Table(ptr::null_mut());

    /// The calling thread's table, if it has one.
    fn current() -> Option<Table> {
        let table = Table(tls::with(|block| block.recursion_table.get()) as *mut TableHeader);
        (!table.0.is_null()).then_some(table)
    }

    /// Replaces the calling thread's table by this one, or by none, and frees the old one.
    fn set_current(self) {
        let old = tls::with(|block| block.recursion_table.replace(self.0 as usize));
        Table(old as *mut TableHeader).free();
    }

    /// Creates an empty table.
    fn new(capacity: usize) -> Result<Table> {
        let size = size_of::<TableHeader>() + capacity * size_of::<RecursionEntry>();
        // SAFETY: malloc's memory is aligned for the header and the entries, and large enough; zeros are empty entries.
        unsafe {
            let table: *mut TableHeader = malloc(size).cast();
            if table.is_null() {
                return Err(Error::NoMemory);
            }
            table.cast::<u8>().write_bytes(0, size);
            (*table).capacity = capacity;
            Ok(Table(table))
        }
    }

    fn free(self) {
        // SAFETY: the pointer is NULL or comes from malloc, and is not used any more.
        unsafe { sys::free(self.0.cast()) };
    }

    #[expect(
        clippy::mut_from_ref,
        reason = "the table belongs to the thread, and no caller keeps two of these references"
    )]
    fn header(&self) -> &mut TableHeader {
        // SAFETY: the table has not been freed.
        unsafe { &mut *self.0 }
    }

    #[expect(clippy::mut_from_ref, reason = "as above")]
    fn entries(&self) -> &mut [RecursionEntry] {
        // SAFETY: `new` has allocated `capacity` entries after the header.
        unsafe { core::slice::from_raw_parts_mut(self.0.add(1).cast(), (*self.0).capacity) }
    }

    /// The index at which the search for a lock begins.
    fn home_index(&self, rlock: usize) -> usize {
        // Fibonacci hashing: 2^64 divided by the golden ratio.
        const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
        ((rlock as u64).wrapping_mul(MULTIPLIER) >> 32) as usize & (self.header().capacity - 1)
    }

    /// The index of the lock's entry, or else of the empty entry where it would be inserted.
    fn find_index(&self, rlock: usize) -> usize {
        let mut index = self.home_index(rlock);
        let mask = self.header().capacity - 1;
        let entries = self.entries();
        while entries[index].rlock != rlock && entries[index].rlock != 0 {
            index = (index + 1) & mask;
        }
        index
    }

    fn find(&self, rlock: usize) -> Option<&mut RecursionEntry> {
        let index = self.find_index(rlock);
        Some(&mut self.entries()[index]).filter(|entry| entry.rlock == rlock)
    }

    /// Inserts a lock that is not in the table, which has room for it.
    fn insert(&self, entry: RecursionEntry) {
        let index = self.find_index(entry.rlock);
        self.entries()[index] = entry;
        self.header().used += 1;
    }

    /// Removes a lock, and moves back the entries that it had displaced.
    fn remove(&self, rlock: usize) {
        let mut hole = self.find_index(rlock);
        if self.entries()[hole].rlock == 0 {
            return;
        }
        self.header().used -= 1;
        let mask = self.header().capacity - 1;
        let mut index = hole;
        loop {
            index = (index + 1) & mask;
            let next = self.entries()[index];
            if next.rlock == 0 {
                break;
            }
            // The entry may fill the hole unless its search begins after the hole.
            let probe_distance = index.wrapping_sub(self.home_index(next.rlock)) & mask;
            if probe_distance >= index.wrapping_sub(hole) & mask {
                self.entries()[hole] = next;
                hole = index;
            }
        }
        self.entries()[hole] = RecursionEntry { rlock: 0, extra_count: 0 };
    }

    /// Whether there is room for one more entry.
    fn has_room(&self) -> bool {
        (self.header().used + 1) * 4 <= self.header().capacity * 3
    }
}

/// The extra count of a lock that the calling thread owns. On `None`, the slow path decides.
#[inline(always)]
pub(crate) fn count_fast(rlock: usize) -> Option<u32> {
    tls::with(|block| {
        if block.cached_rlock.get() == rlock {
            Some(block.cached_extra_count.get())
        } else {
            (block.recursion_table.get() == 0).then_some(0)
        }
    })
}

/// The extra count of a lock that the calling thread owns.
#[inline(never)]
pub(crate) fn count(rlock: usize) -> u32 {
    count_fast(rlock).unwrap_or_else(|| find(rlock).map_or(0, |entry| entry.extra_count))
}

/// Increments the count of a lock that the calling thread owns, if it is cached. On false, the slow path decides.
#[inline(always)]
pub(crate) fn increment_fast(rlock: usize) -> bool {
    tls::with(|block| {
        let extra_count = block.cached_extra_count.get();
        let is_possible = block.cached_rlock.get() == rlock && extra_count < u32::MAX;
        if is_possible {
            block.cached_extra_count.set(extra_count + 1);
        }
        is_possible
    })
}

/// Increments the count of a lock that the calling thread owns. `is_owned` returns whether the thread owns the lock
/// with the given handle.
pub(crate) fn increment(rlock: usize, is_owned: impl Fn(usize) -> bool) -> Result<()> {
    let extra_count = count(rlock).checked_add(1).ok_or(Error::RecursionOverflow)?;
    if !is_tracked(rlock) {
        track(rlock, is_owned)?;
    }
    set(rlock, extra_count);
    Ok(())
}

/// Whether `reset_fast` does the same as `reset`.
#[inline(always)]
pub(crate) fn may_reset_fast(rlock: usize) -> bool {
    tls::with(|block| block.cached_rlock.get() == rlock || block.recursion_table.get() == 0)
}

/// `reset`, if `may_reset_fast`.
#[inline(always)]
pub(crate) fn reset_fast(rlock: usize) {
    tls::with(|block| {
        if block.cached_rlock.get() == rlock {
            block.cached_extra_count.set(0);
        }
    });
}

/// Resets the count of a lock that the calling thread has acquired as its new owner.
pub(crate) fn reset(rlock: usize) {
    tls::with(|block| {
        if block.cached_rlock.get() == rlock {
            block.cached_extra_count.set(0);
        } else if block.recursion_table.get() != 0 {
            set_in_table(rlock, 0);
        }
    });
}

/// Sets the extra count of the cached lock: the one for which `count_fast` has just returned a count above 0.
#[inline(always)]
pub(crate) fn set_cached(extra_count: u32) {
    tls::with(|block| block.cached_extra_count.set(extra_count));
}

/// Sets the extra count of a lock that the calling thread has reacquired after a wait for a condition. Fails only if
/// another RLock has replaced its entry, and there is no memory for a new one. `is_owned` is as for `increment`.
#[inline]
pub(crate) fn restore(rlock: usize, extra_count: u32, is_owned: impl Fn(usize) -> bool) -> Result<()> {
    if extra_count != 0 && !is_tracked(rlock) {
        track(rlock, is_owned)?;
    }
    set(rlock, extra_count);
    Ok(())
}

/// Sets the extra count of a lock that is cached or in the table. For any other lock, `extra_count` must be 0.
#[inline(never)]
pub(crate) fn set(rlock: usize, extra_count: u32) {
    tls::with(|block| {
        if block.cached_rlock.get() == rlock {
            block.cached_extra_count.set(extra_count);
        } else {
            set_in_table(rlock, extra_count);
        }
    });
}

#[cold]
#[inline(never)]
fn set_in_table(rlock: usize, extra_count: u32) {
    let table = Table::current();
    let entry = table.as_ref().and_then(|table| table.find(rlock));
    debug_assert!(entry.is_some() || extra_count == 0, "a lock with an extra count is tracked");
    if let Some(entry) = entry {
        entry.extra_count = extra_count;
    }
}

/// Removes a lock from the table, if it is there. The calling thread is about to unlock it.
#[inline(never)]
pub(crate) fn untrack(rlock: usize) {
    if let Some(table) = Table::current() {
        table.remove(rlock);
        if table.header().used == 0 {
            Table::NONE.set_current();
        }
    }
}

/// Whether the lock is cached or in the table.
fn is_tracked(rlock: usize) -> bool {
    tls::with(|block| block.cached_rlock.get() == rlock) || find(rlock).is_some()
}

#[cold]
#[inline(never)]
fn find(rlock: usize) -> Option<RecursionEntry> {
    Table::current()?.find(rlock).copied()
}

/// Caches a lock that is not tracked, or inserts it into the table if another lock must stay cached.
#[cold]
#[inline(never)]
fn track(rlock: usize, is_owned: impl Fn(usize) -> bool) -> Result<()> {
    let is_cached = tls::with(|block| {
        let may_evict = block.cached_extra_count.get() == 0 || !is_owned(block.cached_rlock.get());
        if may_evict {
            block.cached_rlock.set(rlock);
        }
        may_evict
    });
    if is_cached {
        return Ok(());
    }
    let current = Table::current();
    if current.is_none() {
        // Without the hook, the table would not be freed when the thread exits.
        register_exit_hook().map_err(|_| Error::NoMemory)?;
    }
    let entry = RecursionEntry { rlock, extra_count: 0 };
    match current {
        Some(table) if table.has_room() => table.insert(entry),
        current => {
            let table = rehash(current, is_owned)?;
            table.insert(entry);
            table.set_current();
        }
    }
    Ok(())
}

/// Creates a table with the valid entries of an old one, and room for as many more.
fn rehash(old: Option<Table>, is_owned: impl Fn(usize) -> bool) -> Result<Table> {
    let Some(old) = old else { return Table::new(MIN_CAPACITY) };
    let is_valid =
        |entry: &&RecursionEntry| entry.rlock != 0 && entry.extra_count != 0 && is_owned(entry.rlock);
    let entries = old.entries();
    let kept = entries.iter().filter(is_valid).count();
    let table = Table::new(((kept + 1) * 2).next_power_of_two().max(MIN_CAPACITY))?;
    entries.iter().filter(is_valid).take(kept).for_each(|entry| table.insert(*entry));
    Ok(table)
}

/// Frees the table of the calling thread, which exits.
pub(crate) fn on_thread_exit() {
    Table::NONE.set_current();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn the_table_holds_what_was_inserted_and_not_removed() {
        let table = Table::new(64).unwrap();
        let mut model: HashMap<usize, u32> = HashMap::new();
        let mut random = 1u64;
        for extra_count in 1..100_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let rlock = 64 + (random >> 33) as usize % 97;
            match table.find(rlock) {
                Some(entry) => {
                    assert_eq!(model.remove(&rlock), Some(entry.extra_count));
                    table.remove(rlock);
                }
                None if table.has_room() => {
                    assert_eq!(model.insert(rlock, extra_count), None);
                    table.insert(RecursionEntry { rlock, extra_count });
                }
                None => assert!(!model.contains_key(&rlock)),
            }
            assert_eq!(table.header().used, model.len());
        }
        for (rlock, extra_count) in model {
            assert_eq!(table.find(rlock).map(|entry| entry.extra_count), Some(extra_count));
        }
        table.free();
    }

    #[test]
    fn stale_counts_are_dropped_when_the_table_is_full() {
        // At any time, the thread owns the last three locks.
        for rlock in 1..1000 {
            increment(rlock * 64, |other| other / 64 + 3 > rlock).unwrap();
        }
        assert!(Table::current().unwrap().header().capacity <= 16);
        for rlock in 1..1000 {
            untrack(rlock * 64);
        }
        assert!(Table::current().is_none());
        reset(tls::with(|block| block.cached_rlock.get()));
    }
}
