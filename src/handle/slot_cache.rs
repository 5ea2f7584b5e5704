//! A cache of one free slot per thread and kind. A thread that frees an object keeps its slot for the next object of
//! that kind that it creates: it then needs no mutex, writes nothing that other threads write, and finds the memory in
//! the CPU's cache.
//!
//! # State (one word per kind, in the per-thread block; written and read by that thread only, so exact)
//!
//! | state | meaning | changed by |
//! |---|---|---|
//! | `DISABLED` | no slot is cached: the thread has not created an object of the kind, or has no exit hook that would free the slot, or its last round of destructors has begun | `allocate`: to `EMPTY` |
//! | `EMPTY` | no slot is cached | `put`: to the address of a slot. `disable`: to `DISABLED` |
//! | any other value | the address of the cached slot | `take`: to `EMPTY`. `disable`: to `DISABLED` |
//!
//! # Memory
//!
//! For the arena, a cached slot is in use: its block is not returned to the pool. So a thread keeps at most one slot of
//! each kind of which it has created objects, and the blocks of these slots, until its exit hook frees them. A thread
//! that only frees objects keeps none. In a child of fork, the slots that the parent's other threads have cached are
//! leaked.
//!
//! In models, only the slots of threads and timers are cached: all other slots can be used again by any thread.

use crate::error::Result;
use crate::handle::arena::ARENAS;
use crate::handle::kind::ObjectKind;
use crate::sys::libc_hooks::register_exit_hook;
use crate::sys::tls::{self, CACHED_KINDS};

const DISABLED: usize = 0;
const EMPTY: usize = 1;

/// Whether threads cache a slot of the kind with this number.
const fn is_cached(kind: usize) -> bool {
    kind < if cfg!(model) { ObjectKind::Lock as usize } else { CACHED_KINDS }
}

// Notes are not cached: few objects have one.
const _: () = assert!(CACHED_KINDS == ObjectKind::Note as usize && CACHED_KINDS + 1 == ObjectKind::COUNT);

/// Takes the cached slot, if there is one.
#[inline(always)]
pub(super) fn take(kind: ObjectKind) -> Option<usize> {
    if is_cached(kind as usize) { take_from(kind as usize) } else { None }
}

#[inline(always)]
fn take_from(kind: usize) -> Option<usize> {
    tls::with(|block| {
        let slot = block.slot_cache[kind].get();
        (slot > EMPTY).then(|| {
            block.slot_cache[kind].set(EMPTY);
            slot
        })
    })
}

/// Allocates a slot when none is cached, and permits the calling thread to cache one.
#[cold]
#[inline(never)]
pub(super) fn allocate(kind: ObjectKind, size: usize) -> Result<usize> {
    if is_cached(kind as usize) {
        enable(kind as usize);
    }
    ARENAS[kind as usize].allocate(size)
}

fn enable(kind: usize) {
    let is_disabled = || tls::with(|block| block.slot_cache[kind].get() == DISABLED);
    // Without an exit hook, the thread caches nothing.
    if is_disabled() && register_exit_hook().is_ok() {
        tls::with(|block| block.slot_cache[kind].set(EMPTY));
    }
}

/// Caches a slot. Returns false if that is not possible.
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

/// Takes the cached slot, and disables the cache.
fn disable(kind: usize) -> Option<usize> {
    let slot = take_from(kind);
    tls::with(|block| block.slot_cache[kind].set(DISABLED));
    slot
}

/// Frees the slots that the calling thread has cached, in its last round of destructors.
pub(crate) fn disable_and_free_slots() {
    for (kind, arena) in ARENAS.iter().enumerate().take_while(|&(kind, _)| is_cached(kind)) {
        if let Some(slot) = disable(kind) {
            arena.free(slot, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: ObjectKind = ObjectKind::Timer;

    #[test]
    fn one_slot_is_cached_by_a_thread_that_creates_objects_of_the_kind() {
        let in_a_new_thread = || {
            assert!(!put(KIND, 64));
            enable(KIND as usize);
            assert_eq!(take(KIND), None);
            assert!(!put(ObjectKind::Event, 64));
            assert!(put(KIND, 64));
            assert!(!put(KIND, 128));
            enable(KIND as usize);
            assert_eq!(take(KIND), Some(64));
            assert_eq!(take(KIND), None);
            assert!(put(KIND, 128));
            assert_eq!(disable(KIND as usize), Some(128));
            assert!(!put(KIND, 64));
        };
        std::thread::spawn(in_a_new_thread).join().unwrap();
    }
}
