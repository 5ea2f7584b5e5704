//! How often the calling thread holds RLocks beyond the first time.
//!
//! Kept by the owner, and not in the lock: an RLock may be freed while it is held, and what its owner was about to
//! write there would be the next object's.
//!
//! # State (in the thread's block; all of it is the thread's own)
//!
//! | word | meaning |
//! |---|---|
//! | `nested` | the handle of the RLock that was last given this place, or 0 |
//! | `deeper` | how often that one is held beyond the first time; at 0, or when it is not held any more, the place may become another's |
//! | `levels` | the others that are counted, a hash table, or 0 if there are none; if it is not 0, one look does not tell that a lock is not counted |
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
struct Level {
    /// 0 is a free place.
    rlock: usize,
    deeper: u32,
}

/// What a table begins with; its places lie behind it.
#[repr(C)]
struct Head {
    /// How many places there are, a power of two.
    capacity: usize,
    used: usize,
}

/// A table in memory of its own, which belongs to one thread, and lives as long as this is used.
#[derive(Clone, Copy)]
struct Table(*mut Head);

const FEWEST: usize = 4;

impl Table {
    const NONE: Self = Table(ptr::null_mut());

    /// The calling thread's, if it has one.
    fn mine() -> Option<Table> {
        let table = Table(tls::with(|mine| mine.levels.get()) as *mut Head);
        (!table.0.is_null()).then_some(table)
    }

    /// Has the calling thread use this table, or none, instead of the one it has.
    fn become_mine(self) {
        let former = tls::with(|mine| mine.levels.replace(self.0 as usize));
        Table(former as *mut Head).free();
    }

    /// An empty table.
    fn new(capacity: usize) -> Result<Table> {
        let size = size_of::<Head>() + capacity * size_of::<Level>();
        // SAFETY: malloc's memory is aligned for a head and its places, and large enough; zeros are free places.
        unsafe {
            let table: *mut Head = malloc(size).cast();
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
    fn head(&self) -> &mut Head {
        // SAFETY: a table that is used lives.
        unsafe { &mut *self.0 }
    }

    #[expect(clippy::mut_from_ref, reason = "as above")]
    fn places(&self) -> &mut [Level] {
        // SAFETY: `new` has made room for so many behind the head.
        unsafe { core::slice::from_raw_parts_mut(self.0.add(1).cast(), (*self.0).capacity) }
    }

    /// Where the search for a lock begins.
    fn home(&self, rlock: usize) -> usize {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        ((rlock as u64).wrapping_mul(GOLDEN) >> 32) as usize & (self.head().capacity - 1)
    }

    /// The place of a lock, or else the free one where it would be.
    fn place_of(&self, rlock: usize) -> usize {
        let mut at = self.home(rlock);
        let last = self.head().capacity - 1;
        let places = self.places();
        while places[at].rlock != rlock && places[at].rlock != 0 {
            at = (at + 1) & last;
        }
        at
    }

    fn find(&self, rlock: usize) -> Option<&mut Level> {
        let at = self.place_of(rlock);
        Some(&mut self.places()[at]).filter(|level| level.rlock == rlock)
    }

    /// Enters a lock for which there is room, and which is not in the table.
    fn enter(&self, level: Level) {
        let at = self.place_of(level.rlock);
        self.places()[at] = level;
        self.head().used += 1;
    }

    /// Takes a lock out, and moves those nearer that were pushed on by it.
    fn remove(&self, rlock: usize) {
        let mut free = self.place_of(rlock);
        if self.places()[free].rlock == 0 {
            return;
        }
        self.head().used -= 1;
        let last = self.head().capacity - 1;
        let mut at = free;
        loop {
            at = (at + 1) & last;
            let next = self.places()[at];
            if next.rlock == 0 {
                break;
            }
            // It may move unless the search for it begins behind the free place.
            let way = at.wrapping_sub(self.home(next.rlock)) & last;
            if way >= at.wrapping_sub(free) & last {
                self.places()[free] = next;
                free = at;
            }
        }
        self.places()[free] = Level { rlock: 0, deeper: 0 };
    }

    /// Whether there is room for one more.
    fn has_room(&self) -> bool {
        (self.head().used + 1) * 4 <= self.head().capacity * 3
    }
}

/// How often the caller, who owns it, holds the lock beyond the first time. `None` leaves it open.
#[inline(always)]
pub(crate) fn at_once(rlock: usize) -> Option<u32> {
    tls::with(|mine| {
        if mine.nested.get() == rlock {
            Some(mine.deeper.get())
        } else {
            (mine.levels.get() == 0).then_some(0)
        }
    })
}

/// As `at_once`, in any case.
#[inline(never)]
pub(crate) fn of(rlock: usize) -> u32 {
    at_once(rlock).unwrap_or_else(|| find(rlock).map_or(0, |level| level.deeper))
}

/// One level more for the caller, who owns the lock. False leaves it open.
#[inline(always)]
pub(crate) fn go_deeper_at_once(rlock: usize) -> bool {
    tls::with(|mine| {
        let deeper = mine.deeper.get();
        let possible = mine.nested.get() == rlock && deeper < u32::MAX;
        if possible {
            mine.deeper.set(deeper + 1);
        }
        possible
    })
}

/// As `go_deeper_at_once`, in any case. `is_held` tells whether the caller holds another lock.
pub(crate) fn go_deeper(rlock: usize, is_held: impl Fn(usize) -> bool) -> Result<()> {
    let deeper = of(rlock).checked_add(1).ok_or(Error::LevelOverflow)?;
    if !is_counted(rlock) {
        begin_to_count(rlock, is_held)?;
    }
    set(rlock, deeper);
    Ok(())
}

/// Whether `begin_at_once` is enough when the caller takes the lock for the first time.
#[inline(always)]
pub(crate) fn may_begin_at_once(rlock: usize) -> bool {
    tls::with(|mine| mine.nested.get() == rlock || mine.levels.get() == 0)
}

/// As `begin`, where `may_begin_at_once`.
#[inline(always)]
pub(crate) fn begin_at_once(rlock: usize) {
    tls::with(|mine| {
        if mine.nested.get() == rlock {
            mine.deeper.set(0);
        }
    });
}

/// The caller has taken the lock for the first time.
pub(crate) fn begin(rlock: usize) {
    tls::with(|mine| {
        if mine.nested.get() == rlock {
            mine.deeper.set(0);
        } else if mine.levels.get() != 0 {
            set_other(rlock, 0);
        }
    });
}

/// Counts anew the lock of which `at_once` has just said that the caller holds it more than once.
#[inline(always)]
pub(crate) fn set_at_once(deeper: u32) {
    tls::with(|mine| mine.deeper.set(deeper));
}

/// Counts anew a lock that has a place, or is held no more than once.
#[inline(never)]
pub(crate) fn set(rlock: usize, deeper: u32) {
    tls::with(|mine| {
        if mine.nested.get() == rlock {
            mine.deeper.set(deeper);
        } else {
            set_other(rlock, deeper);
        }
    });
}

#[cold]
#[inline(never)]
fn set_other(rlock: usize, deeper: u32) {
    let table = Table::mine();
    let level = table.as_ref().and_then(|table| table.find(rlock));
    debug_assert!(level.is_some() || deeper == 0, "a lock that is held more than once has a place");
    if let Some(level) = level {
        level.deeper = deeper;
    }
}

/// The caller gives the lock back that it holds once.
#[inline(never)]
pub(crate) fn end(rlock: usize) {
    if let Some(table) = Table::mine() {
        table.remove(rlock);
        if table.head().used == 0 {
            Table::NONE.become_mine();
        }
    }
}

fn is_counted(rlock: usize) -> bool {
    tls::with(|mine| mine.nested.get() == rlock) || find(rlock).is_some()
}

#[cold]
#[inline(never)]
fn find(rlock: usize) -> Option<Level> {
    Table::mine()?.find(rlock).copied()
}

#[cold]
#[inline(never)]
fn begin_to_count(rlock: usize, is_held: impl Fn(usize) -> bool) -> Result<()> {
    let has_place = tls::with(|mine| {
        let has_place = mine.deeper.get() == 0 || !is_held(mine.nested.get());
        if has_place {
            mine.nested.set(rlock);
        }
        has_place
    });
    if has_place {
        return Ok(());
    }
    let former = Table::mine();
    if former.is_none() {
        // Where the end cannot be announced, nobody would give the table back.
        register_exit_hook().map_err(|_| Error::NoMemory)?;
    }
    let level = Level { rlock, deeper: 0 };
    match former {
        Some(table) if table.has_room() => table.enter(level),
        former => {
            let table = lay_anew(former, is_held)?;
            table.enter(level);
            table.become_mine();
        }
    }
    Ok(())
}

/// A table with what still counts of a former one, and at least as much room.
fn lay_anew(former: Option<Table>, is_held: impl Fn(usize) -> bool) -> Result<Table> {
    let Some(former) = former else { return Table::new(FEWEST) };
    let counts = |level: &&Level| level.rlock != 0 && level.deeper != 0 && is_held(level.rlock);
    let places = former.places();
    let kept = places.iter().filter(counts).count();
    let table = Table::new(((kept + 1) * 2).next_power_of_two().max(FEWEST))?;
    places.iter().filter(counts).take(kept).for_each(|level| table.enter(*level));
    Ok(table)
}

/// The calling thread ends.
pub(crate) fn give_back() {
    Table::NONE.become_mine();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn the_table_holds_what_was_entered_and_not_removed() {
        let table = Table::new(64).unwrap();
        let mut model: HashMap<usize, u32> = HashMap::new();
        let mut random = 1u64;
        for deeper in 1..100_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let rlock = 64 + (random >> 33) as usize % 97;
            match table.find(rlock) {
                Some(level) => {
                    assert_eq!(model.remove(&rlock), Some(level.deeper));
                    table.remove(rlock);
                }
                None if table.has_room() => {
                    assert_eq!(model.insert(rlock, deeper), None);
                    table.enter(Level { rlock, deeper });
                }
                None => assert!(!model.contains_key(&rlock)),
            }
            assert_eq!(table.head().used, model.len());
        }
        for (rlock, deeper) in model {
            assert_eq!(table.find(rlock).map(|level| level.deeper), Some(deeper));
        }
        table.free();
    }

    #[test]
    fn counts_that_mean_nothing_make_room() {
        let count = |rlock: usize, held: usize| {
            go_deeper(rlock * 64, |other| other / 64 + held > rlock).unwrap();
        };
        for rlock in 1..1000 {
            count(rlock, 3);
        }
        assert!(Table::mine().unwrap().head().capacity <= 16);
        for rlock in 1..1000 {
            end(rlock * 64);
        }
        assert!(Table::mine().is_none());
        begin(tls::with(|mine| mine.nested.get()));
    }
}
