//! A cache of one free slot per thread and kind. A thread that frees an object keeps its slot for the next object of
//! that kind that it creates: it then needs no mutex, writes nothing that other threads write, and finds the memory in
//! the CPU's cache.
//!
//! # State (one word per kind, in the per-thread block; written and read by that thread only, so exact)
//!
//! | state | meaning | changed by |
//! |---|---|---|
//! | `DISABLED` | no slot is cached: the thread has created no object of the kind, at least not since `free_cached`; or it has no exit hook that would free the slot; or its last round of destructors has begun | `allocate`: to `EMPTY` |
//! | `EMPTY` | no slot is cached | `put`: to the address of a slot. `free_cached`: to `DISABLED` |
//! | the address of a slot | this slot is cached. The low bits are the number of objects that the thread has freed since, without creating one | `take`: to `EMPTY`. `count_free`: one more. `free_cached`: to `DISABLED` |
//!
//! # Slots without a generation
//!
//! A slot serves for 63 objects. So a thread that creates and frees one object after the other would need the arena's
//! mutex twice for 63 objects, and all threads would write the cache line of that mutex. Instead, when it frees such a
//! *retired* slot, it takes a *reserve* of several slots out of the same arena (`slot_reserve`), which it uses when no
//! slot is cached. Until the reserve is used up, slots of its block that are retired are only counted
//! (`slots_to_free`). A thread has one reserve at a time.
//!
//! # Memory
//!
//! For the arena, all these slots are in use: their blocks are not returned to the pool. A thread that only frees
//! objects keeps none: after [`MAX_FREES`] further objects of the kind, it also frees what it has cached. Otherwise it
//! keeps at most one slot of each kind of which it has created objects, and a reserve, until its exit hook frees them.
//! In a child of fork, the slots of the parent's other threads are leaked.
//!
//! In models, only the slots of threads and timers are cached: all other slots can be used again by any thread.

use crate::error::Result;
use crate::handle::arena::ARENAS;
use crate::handle::block_header::Reserve;
use crate::handle::kind::ObjectKind;
use crate::sys::libc_hooks::register_exit_hook;
use crate::sys::tls::{self, CACHED_KINDS};

const DISABLED: usize = 0;
const EMPTY: usize = 1;
/// The bits below the address of a slot.
const COUNT: usize = 63;

/// How many objects of a kind a thread frees while a slot is cached, before it frees the cached slot, too.
const MAX_FREES: usize = 16;
/// The number of bytes in the slots of a reserve.
const RESERVE_SIZE: usize = 2048;

const _: () = assert!(MAX_FREES <= COUNT && RESERVE_SIZE / 64 <= COUNT);

/// Whether threads cache a slot of the kind with this number.
const fn is_cached(kind: usize) -> bool {
    kind < if cfg!(model) { ObjectKind::Lock as usize } else { CACHED_KINDS }
}

// Lists of threads and notes are not cached: few are created.
const _: () = assert!(CACHED_KINDS == ObjectKind::ThreadList as usize);

/// Takes the cached slot, if there is one.
#[inline(always)]
pub(super) fn take(kind: ObjectKind) -> Option<usize> {
    if is_cached(kind as usize) { take_from(kind as usize) } else { None }
}

#[inline(always)]
fn take_from(kind: usize) -> Option<usize> {
    tls::with(|block| {
        let cached = block.slot_cache[kind].get();
        (cached > EMPTY).then(|| {
            block.slot_cache[kind].set(EMPTY);
            cached & !COUNT
        })
    })
}

/// Allocates a slot when none is cached, and permits the calling thread to cache one.
#[cold]
#[inline(never)]
pub(super) fn allocate(kind: ObjectKind, size: usize) -> Result<usize> {
    let kind = kind as usize;
    if is_cached(kind) {
        enable(kind);
        let mut reserve = reserve_of(kind);
        if let Some(slot) = reserve.take() {
            set_reserve(kind, reserve);
            return Ok(slot);
        }
    }
    ARENAS[kind].allocate(size)
}

fn enable(kind: usize) {
    // Without an exit hook, the thread caches nothing.
    if is_disabled(kind) && register_exit_hook().is_ok() {
        tls::with(|block| block.slot_cache[kind].set(EMPTY));
    }
}

fn is_disabled(kind: usize) -> bool {
    tls::with(|block| block.slot_cache[kind].get() == DISABLED)
}

/// Caches a slot. Returns false if there is a cached one, or the cache is disabled.
#[inline(always)]
pub(super) fn put(kind: ObjectKind, slot: usize) -> bool {
    is_cached(kind as usize)
        && tls::with(|block| {
            let cache = &block.slot_cache[kind as usize];
            let has_room = cache.get() == EMPTY;
            if has_room {
                cache.set(slot);
            }
            has_room
        })
}

/// Frees a slot of `size` bytes that is not cached. If it is `retired`, it has no generation left.
#[cold]
#[inline(never)]
pub(super) fn free(kind: ObjectKind, slot: usize, size: usize, retired: bool) {
    let kind = kind as usize;
    if retired && is_cached(kind) && !is_disabled(kind) {
        free_retired(kind, slot, size);
        return;
    }
    ARENAS[kind].free(slot, retired, 0);
    if is_cached(kind) {
        count_free(kind);
    }
}

/// The calling thread has freed an object while a slot was cached.
fn count_free(kind: usize) {
    let cached = tls::with(|block| block.slot_cache[kind].get());
    if cached & COUNT == MAX_FREES {
        free_cached(kind);
    } else if cached > EMPTY {
        tls::with(|block| block.slot_cache[kind].set(cached + 1));
    }
}

/// Counts a retired slot as one to be freed later, or frees it, if possible in exchange for a new reserve.
fn free_retired(kind: usize, slot: usize, size: usize) {
    let reserve = reserve_of(kind);
    let to_free = tls::with(|block| block.slots_to_free.get());
    let is_in_block = reserve.is_in_block_of(slot);
    if is_in_block && reserve.length > 0 && to_free < u8::MAX {
        tls::with(|block| block.slots_to_free.set(to_free + 1));
    } else if reserve.length > 0 || has_other_reserve(kind) {
        ARENAS[kind].free(slot, true, 0);
    } else {
        if !is_in_block {
            free_counted();
        }
        let others = tls::with(|block| block.slots_to_free.take());
        let reserve = ARENAS[kind].exchange_retired(slot, others, size, (RESERVE_SIZE / size).max(1));
        set_reserve(kind, reserve);
    }
}

/// Returns the calling thread's reserve if it is of this kind, and an empty one otherwise.
fn reserve_of(kind: usize) -> Reserve {
    tls::with(|block| {
        if usize::from(block.slot_reserve_kind.get()) != kind {
            return Reserve::default();
        }
        let reserve = block.slot_reserve.get();
        Reserve { first: reserve & !COUNT, length: reserve & COUNT }
    })
}

/// Whether the calling thread has a reserve of another kind.
fn has_other_reserve(kind: usize) -> bool {
    tls::with(|block| {
        usize::from(block.slot_reserve_kind.get()) != kind && block.slot_reserve.get() & COUNT != 0
    })
}

fn set_reserve(kind: usize, reserve: Reserve) {
    tls::with(|block| {
        block.slot_reserve_kind.set(kind as u8);
        block.slot_reserve.set(reserve.first | reserve.length);
    });
}

/// Frees the retired slots that have been counted only.
fn free_counted() {
    let (kind, to_free, first) = tls::with(|block| {
        (block.slot_reserve_kind.get(), block.slots_to_free.take(), block.slot_reserve.get() & !COUNT)
    });
    if to_free > 0 {
        // All of them are in the block of this address.
        ARENAS[usize::from(kind)].free(first, true, to_free - 1);
    }
}

/// Frees the calling thread's reserve, if it is of this kind.
fn free_reserve(kind: usize) {
    let mut reserve = reserve_of(kind);
    if reserve.first == 0 {
        return;
    }
    free_counted();
    tls::with(|block| block.slot_reserve.set(0));
    while let Some(slot) = reserve.take() {
        ARENAS[kind].free(slot, false, 0);
    }
}

/// Frees the cached slot and the reserve, and disables the cache.
fn free_cached(kind: usize) {
    let slot = take_from(kind);
    tls::with(|block| block.slot_cache[kind].set(DISABLED));
    if let Some(slot) = slot {
        ARENAS[kind].free(slot, false, 0);
    }
    free_reserve(kind);
}

/// Frees the slots that the calling thread has cached, in its last round of destructors.
pub(crate) fn disable_and_free_slots() {
    (0..ARENAS.len()).take_while(|&kind| is_cached(kind)).for_each(free_cached);
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: ObjectKind = ObjectKind::Local;
    const SIZE: usize = 64;

    fn in_a_new_thread(test: fn()) {
        std::thread::spawn(test).join().unwrap();
    }

    #[test]
    fn one_slot_is_cached_by_a_thread_that_creates_objects_of_the_kind() {
        in_a_new_thread(|| {
            assert!(!put(KIND, 64));
            enable(KIND as usize);
            assert_eq!(take(KIND), None);
            assert!(!put(ObjectKind::Event, 64));
            assert!(put(KIND, 64));
            assert!(!put(KIND, 128));
            enable(KIND as usize);
            count_free(KIND as usize);
            assert_eq!(take(KIND), Some(64));
            assert_eq!(take(KIND), None);
        });
    }

    #[test]
    fn a_thread_that_only_frees_objects_caches_no_slot() {
        in_a_new_thread(|| {
            let slots: Vec<_> = (0..MAX_FREES + 2).map(|_| allocate(KIND, SIZE).unwrap()).collect();
            for &slot in &slots {
                assert!(!is_disabled(KIND as usize));
                if !put(KIND, slot) {
                    free(KIND, slot, SIZE, false);
                }
            }
            assert!(is_disabled(KIND as usize));
            assert_eq!(take(KIND), None);
            allocate(KIND, SIZE).unwrap();
            assert!(!is_disabled(KIND as usize));
        });
    }

    #[test]
    fn a_retired_slot_is_exchanged_for_a_reserve() {
        in_a_new_thread(|| {
            let first = allocate(KIND, SIZE).unwrap();
            free(KIND, first, SIZE, true);
            let length = reserve_of(KIND as usize).length;
            assert!((1..=RESERVE_SIZE / SIZE).contains(&length));
            let mut seen = vec![first];
            for left in (0..length).rev() {
                let slot = allocate(KIND, SIZE).unwrap();
                assert!(!seen.contains(&slot));
                seen.push(slot);
                assert_eq!(reserve_of(KIND as usize).length, left);
                assert!(
                    !has_other_reserve(KIND as usize) && reserve_of(ObjectKind::Lock as usize).length == 0
                );
                if left > 0 {
                    free(KIND, slot, SIZE, true);
                    assert_eq!(usize::from(tls::with(|block| block.slots_to_free.get())), length - left);
                }
            }
            free(KIND, seen[length], SIZE, true);
            assert_eq!(tls::with(|block| block.slots_to_free.get()), 0);
            free_cached(KIND as usize);
            assert_eq!(reserve_of(KIND as usize).first, 0);
        });
    }
}
