//! How often the calling thread holds RLocks beyond the first time.
//!
//! Kept by the owner, and not in the lock: an RLock may be freed while it is held, and what its owner was about to
//! write there would be the next object's.
//!
//! # State (in the thread's block; all of it is the thread's own)
//!
//! | word | meaning |
//! |---|---|
//! | `cached_rlock` | the handle of the RLock that was last given this place, or 0 |
//! | `cached_extra_count` | how often that one is held beyond the first time; at 0, or when it is not held any more, the place may become another's |
//! | `recursion_table` | the others that are counted, a hash table, or 0 if there are none; if it is not 0, one look does not tell that a lock is not counted |
//!
//! A count means something only as long as the lock's word says that this thread holds it. Others may end that, by
//! freeing the lock or making it as new; so whoever takes a lock for the first time lets no earlier count stand. Counts
//! that mean nothing any more are dropped when the table is full.
//!
//! The table is open-addressed, with linear probing, and at most three quarters full. Each call looks at a few places of
//! it, whatever the number of locks; a new table has room for as many again as it holds, so that it is laid anew rarely.
//!
//! A wait for a condition counts 0 meanwhile, and keeps the place: nothing else of the thread runs until it has its
//! count again.

use core::ptr;

use crate::error::{Error, Result};
use crate::sys;
use crate::sys::annotate::malloc;
use crate::sys::libc_hooks::register_exit_hook;
use crate::sys::tls;

#[derive(Clone, Copy)]
struct RecursionEntry {
    /// 0 is a free place.
    rlock: usize,
    extra_count: u32,
}

/// What a table begins with; its places lie behind it.
#[repr(C)]
struct TableHeader {
    /// How many places there are, a power of two.
    capacity: usize,
    used: usize,
}

/// A table in memory of its own, which belongs to one thread, and lives as long as this is used.
#[derive(Clone, Copy)]
struct Table(*mut TableHeader);

const MIN_CAPACITY: usize = 4;

impl Table {
    const NONE: Self = Table(ptr::null_mut());

    /// The calling thread's, if it has one.
    fn current() -> Option<Table> {
        let table = Table(tls::with(|block| block.recursion_table.get()) as *mut TableHeader);
        (!table.0.is_null()).then_some(table)
    }

    /// Has the calling thread use this table, or none, instead of the one it has.
    fn set_current(self) {
        let former = tls::with(|block| block.recursion_table.replace(self.0 as usize));
        Table(former as *mut TableHeader).free();
    }

    /// An empty table.
    fn new(capacity: usize) -> Result<Table> {
        let size = size_of::<TableHeader>() + capacity * size_of::<RecursionEntry>();
        // SAFETY: malloc's memory is aligned for a head and its places, and large enough; zeros are free places.
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
        // SAFETY: from malloc, or NULL; not used any more.
        unsafe { sys::free(self.0.cast()) };
    }

    #[expect(
        clippy::mut_from_ref,
        reason = "the table is the thread's own, and no caller keeps two of these"
    )]
    fn header(&self) -> &mut TableHeader {
        // SAFETY: a table that is used lives.
        unsafe { &mut *self.0 }
    }

    #[expect(clippy::mut_from_ref, reason = "as above")]
    fn entries(&self) -> &mut [RecursionEntry] {
        // SAFETY: `new` has made room for so many behind the head.
        unsafe { core::slice::from_raw_parts_mut(self.0.add(1).cast(), (*self.0).capacity) }
    }

    /// Where the search for a lock begins.
    fn home_index(&self, rlock: usize) -> usize {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        ((rlock as u64).wrapping_mul(GOLDEN) >> 32) as usize & (self.header().capacity - 1)
    }

    /// The place of a lock, or else the free one where it would be.
    fn find_index(&self, rlock: usize) -> usize {
        let mut at = self.home_index(rlock);
        let last = self.header().capacity - 1;
        let places = self.entries();
        while places[at].rlock != rlock && places[at].rlock != 0 {
            at = (at + 1) & last;
        }
        at
    }

    fn find(&self, rlock: usize) -> Option<&mut RecursionEntry> {
        let at = self.find_index(rlock);
        Some(&mut self.entries()[at]).filter(|entry| entry.rlock == rlock)
    }

    /// Enters a lock for which there is room, and which is not in the table.
    fn insert(&self, entry: RecursionEntry) {
        let at = self.find_index(entry.rlock);
        self.entries()[at] = entry;
        self.header().used += 1;
    }

    /// Takes a lock out, and moves those nearer that were pushed on by it.
    fn remove(&self, rlock: usize) {
        let mut free = self.find_index(rlock);
        if self.entries()[free].rlock == 0 {
            return;
        }
        self.header().used -= 1;
        let last = self.header().capacity - 1;
        let mut at = free;
        loop {
            at = (at + 1) & last;
            let next = self.entries()[at];
            if next.rlock == 0 {
                break;
            }
            // It may move unless the search for it begins behind the free place.
            let probe_distance = at.wrapping_sub(self.home_index(next.rlock)) & last;
            if probe_distance >= at.wrapping_sub(free) & last {
                self.entries()[free] = next;
                free = at;
            }
        }
        self.entries()[free] = RecursionEntry { rlock: 0, extra_count: 0 };
    }

    /// Whether there is room for one more.
    fn has_room(&self) -> bool {
        (self.header().used + 1) * 4 <= self.header().capacity * 3
    }
}

/// How often the caller, who owns it, holds the lock beyond the first time. `None` leaves it open.
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

/// As `count_fast`, in any case.
#[inline(never)]
pub(crate) fn count(rlock: usize) -> u32 {
    count_fast(rlock).unwrap_or_else(|| find(rlock).map_or(0, |entry| entry.extra_count))
}

/// One entry more for the caller, who owns the lock. False leaves it open.
#[inline(always)]
pub(crate) fn increment_fast(rlock: usize) -> bool {
    tls::with(|block| {
        let extra_count = block.cached_extra_count.get();
        let possible = block.cached_rlock.get() == rlock && extra_count < u32::MAX;
        if possible {
            block.cached_extra_count.set(extra_count + 1);
        }
        possible
    })
}

/// As `increment_fast`, in any case. `is_held` tells whether the caller holds another lock.
pub(crate) fn increment(rlock: usize, is_held: impl Fn(usize) -> bool) -> Result<()> {
    let extra_count = count(rlock).checked_add(1).ok_or(Error::RecursionOverflow)?;
    if !is_tracked(rlock) {
        track(rlock, is_held)?;
    }
    set(rlock, extra_count);
    Ok(())
}

/// Whether `reset_fast` is enough when the caller takes the lock for the first time.
#[inline(always)]
pub(crate) fn may_reset_fast(rlock: usize) -> bool {
    tls::with(|block| block.cached_rlock.get() == rlock || block.recursion_table.get() == 0)
}

/// As `begin`, where `may_reset_fast`.
#[inline(always)]
pub(crate) fn reset_fast(rlock: usize) {
    tls::with(|block| {
        if block.cached_rlock.get() == rlock {
            block.cached_extra_count.set(0);
        }
    });
}

/// The caller has taken the lock for the first time.
pub(crate) fn reset(rlock: usize) {
    tls::with(|block| {
        if block.cached_rlock.get() == rlock {
            block.cached_extra_count.set(0);
        } else if block.recursion_table.get() != 0 {
            set_in_table(rlock, 0);
        }
    });
}

/// Counts anew the lock of which `count_fast` has just said that the caller holds it more than once.
#[inline(always)]
pub(crate) fn set_cached(extra_count: u32) {
    tls::with(|block| block.cached_extra_count.set(extra_count));
}

/// Counts anew a lock that has a place, or is held no more than once.
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
    debug_assert!(entry.is_some() || extra_count == 0, "a lock that is held more than once has a place");
    if let Some(entry) = entry {
        entry.extra_count = extra_count;
    }
}

/// The caller gives the lock back that it holds once.
#[inline(never)]
pub(crate) fn untrack(rlock: usize) {
    if let Some(table) = Table::current() {
        table.remove(rlock);
        if table.header().used == 0 {
            Table::NONE.set_current();
        }
    }
}

fn is_tracked(rlock: usize) -> bool {
    tls::with(|block| block.cached_rlock.get() == rlock) || find(rlock).is_some()
}

#[cold]
#[inline(never)]
fn find(rlock: usize) -> Option<RecursionEntry> {
    Table::current()?.find(rlock).copied()
}

#[cold]
#[inline(never)]
fn track(rlock: usize, is_held: impl Fn(usize) -> bool) -> Result<()> {
    let has_place = tls::with(|block| {
        let has_place = block.cached_extra_count.get() == 0 || !is_held(block.cached_rlock.get());
        if has_place {
            block.cached_rlock.set(rlock);
        }
        has_place
    });
    if has_place {
        return Ok(());
    }
    let former = Table::current();
    if former.is_none() {
        // Where the end cannot be announced, nobody would give the table back.
        register_exit_hook().map_err(|_| Error::NoMemory)?;
    }
    let entry = RecursionEntry { rlock, extra_count: 0 };
    match former {
        Some(table) if table.has_room() => table.insert(entry),
        former => {
            let table = rehash(former, is_held)?;
            table.insert(entry);
            table.set_current();
        }
    }
    Ok(())
}

/// A table with what still counts of a former one, and at least as much room.
fn rehash(former: Option<Table>, is_held: impl Fn(usize) -> bool) -> Result<Table> {
    let Some(former) = former else { return Table::new(MIN_CAPACITY) };
    let is_live =
        |entry: &&RecursionEntry| entry.rlock != 0 && entry.extra_count != 0 && is_held(entry.rlock);
    let places = former.entries();
    let kept = places.iter().filter(is_live).count();
    let table = Table::new(((kept + 1) * 2).next_power_of_two().max(MIN_CAPACITY))?;
    places.iter().filter(is_live).take(kept).for_each(|entry| table.insert(*entry));
    Ok(table)
}

/// The calling thread ends.
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
        let count = |rlock: usize, held: usize| {
            increment(rlock * 64, |other| other / 64 + held > rlock).unwrap();
        };
        for rlock in 1..1000 {
            count(rlock, 3);
        }
        assert!(Table::current().unwrap().header().capacity <= 16);
        for rlock in 1..1000 {
            untrack(rlock * 64);
        }
        assert!(Table::current().is_none());
        reset(tls::with(|block| block.cached_rlock.get()));
    }
}
