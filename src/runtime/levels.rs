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
//! | `levels` | the others that are counted, a list; if it is not empty, one look does not tell that a lock is not counted |
//!
//! A count means something only as long as the lock's word says that this thread holds it. Others may end that, by
//! freeing the lock or making it as new; so whoever takes a lock for the first time lets no earlier count stand.
//!
//! A wait for a condition counts 0 meanwhile, and keeps the place: nothing else of the thread runs until it has its
//! count again.

use core::cell::Cell;
use core::ptr;

use super::end;
use crate::detector::malloc;
use crate::error::{Error, Result};
use crate::per_thread;
use crate::sys;

struct Level {
    rlock: usize,
    deeper: Cell<u32>,
    next: Cell<*mut Level>,
}

/// How often the caller, who owns it, holds the lock beyond the first time. `None` leaves it open.
#[inline(always)]
pub(crate) fn at_once(rlock: usize) -> Option<u32> {
    per_thread::with(|mine| {
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
    at_once(rlock).unwrap_or_else(|| find(rlock).map_or(0, |level| level.deeper.get()))
}

/// One level more for the caller, who owns the lock. False leaves it open.
#[inline(always)]
pub(crate) fn go_deeper_at_once(rlock: usize) -> bool {
    per_thread::with(|mine| {
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

/// The caller has taken the lock for the first time.
#[inline(always)]
pub(crate) fn begin(rlock: usize) {
    per_thread::with(|mine| {
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
    per_thread::with(|mine| mine.deeper.set(deeper));
}

/// Counts anew a lock that has a place, or is held no more than once.
#[inline(never)]
pub(crate) fn set(rlock: usize, deeper: u32) {
    per_thread::with(|mine| {
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
    let level = find(rlock);
    debug_assert!(level.is_some() || deeper == 0, "a lock that is held more than once has a place");
    level.inspect(|level| level.deeper.set(deeper));
}

/// The caller gives the lock back that it holds once.
#[inline(never)]
pub(crate) fn end(rlock: usize) {
    unmake(|level| level.rlock == rlock);
}

fn is_counted(rlock: usize) -> bool {
    per_thread::with(|mine| mine.nested.get() == rlock) || find(rlock).is_some()
}

#[cold]
#[inline(never)]
fn find(rlock: usize) -> Option<&'static Level> {
    let first = per_thread::with(|mine| mine.levels.get()) as *const Level;
    // SAFETY: levels in the list are the thread's own, and valid; the caller is done with it before one is unmade.
    let mut level = unsafe { first.as_ref() };
    while let Some(other) = level.filter(|level| level.rlock != rlock) {
        // SAFETY: as above.
        level = unsafe { other.next.get().as_ref() };
    }
    level
}

#[cold]
#[inline(never)]
fn begin_to_count(rlock: usize, is_held: impl Fn(usize) -> bool) -> Result<()> {
    unmake(|level| level.deeper.get() == 0 || !is_held(level.rlock));
    per_thread::with(|mine| {
        if mine.deeper.get() == 0 || !is_held(mine.nested.get()) {
            mine.nested.set(rlock);
            return Ok(());
        }
        // Where the end cannot be announced, nobody would give the level back.
        end::arm().map_err(|_| Error::NoMemory)?;
        let next = Cell::new(mine.levels.get() as *mut Level);
        // SAFETY: malloc's memory is aligned for a Level and large enough.
        let level = unsafe {
            let level: *mut Level = malloc(size_of::<Level>()).cast();
            if level.is_null() {
                return Err(Error::NoMemory);
            }
            level.write(Level { rlock, deeper: Cell::new(0), next });
            level
        };
        mine.levels.set(level as usize);
        Ok(())
    })
}

/// Gives levels back that are not needed.
fn unmake(needless: impl Fn(&Level) -> bool) {
    per_thread::with(|mine| {
        let mut kept: *mut Level = ptr::null_mut();
        let mut next = mine.levels.take() as *mut Level;
        // SAFETY: made by `begin_to_count`, and in no list now; who found one before is done with it.
        while let Some(level) = unsafe { next.as_ref() } {
            let this = next;
            next = level.next.get();
            if needless(level) {
                // SAFETY: as above.
                unsafe { sys::free(this.cast()) };
            } else {
                level.next.set(kept);
                kept = this;
            }
        }
        mine.levels.set(kept as usize);
    });
}

/// The calling thread ends.
pub(crate) fn give_back() {
    unmake(|_| true);
}
