//! A cache of one free slot per thread and kind, for the kinds that programs create and free in quick succession. A
//! thread that frees an object keeps its slot for the next object of that kind that it creates: it then needs no mutex,
//! and finds the memory in the CPU's cache.
//!
//! # State (one word per kind, in the per-thread block; written and read by that thread only, so exact)
//!
//! | state | meaning | changed by |
//! |---|---|---|
//! | `DISABLED` | no slot is cached: the thread has no exit hook that would free it, or its last round of destructors has begun | `libc_hooks::register_exit_hook`: to `EMPTY` |
//! | `EMPTY` | no slot is cached | `put`: to the address of a slot. `disable`: to `DISABLED` |
//! | any other value | the address of the cached slot | `take`: to `EMPTY`. `disable`: to `DISABLED` |
//!
//! In a child of fork, the slots that the parent's other threads have cached are leaked.

use crate::handle::kind::ObjectKind;
use crate::sys::tls::{self, CACHED_KINDS, SLOT_CACHE_DISABLED as DISABLED, SLOT_CACHE_EMPTY as EMPTY};

/// Whether each thread caches a slot of this kind.
pub(super) const fn is_cached(kind: ObjectKind) -> bool {
    (kind as usize) < CACHED_KINDS
}

const _: () = assert!(CACHED_KINDS == 2 && is_cached(ObjectKind::Thread) && is_cached(ObjectKind::Timer));

/// Takes the cached slot, if there is one.
#[inline(always)]
pub(super) fn take(kind: ObjectKind) -> Option<usize> {
    tls::with(|block| {
        let slot = block.slot_cache[kind as usize].get();
        (slot > EMPTY).then(|| {
            block.slot_cache[kind as usize].set(EMPTY);
            slot
        })
    })
}

/// Caches a slot. Returns false if that is not possible.
#[inline(always)]
pub(super) fn put(kind: ObjectKind, slot: usize) -> bool {
    tls::with(|block| {
        let has_room = block.slot_cache[kind as usize].get() == EMPTY;
        if has_room {
            block.slot_cache[kind as usize].set(slot);
        }
        has_room
    })
}

/// Takes the cached slot, and disables the cache.
pub(super) fn disable(kind: ObjectKind) -> Option<usize> {
    let slot = take(kind);
    tls::with(|block| block.slot_cache[kind as usize].set(DISABLED));
    slot
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: ObjectKind = ObjectKind::Timer;

    #[test]
    fn one_slot_is_cached_after_the_exit_hook_is_registered() {
        let in_a_new_thread = || {
            assert!(!put(KIND, 64));
            tls::enable_slot_cache();
            assert_eq!(take(KIND), None);
            assert!(put(KIND, 64));
            assert!(!put(KIND, 128));
            tls::enable_slot_cache();
            assert_eq!(take(KIND), Some(64));
            assert_eq!(take(KIND), None);
            assert!(put(KIND, 128));
            assert_eq!(disable(KIND), Some(128));
            assert!(!put(KIND, 64));
        };
        std::thread::spawn(in_a_new_thread).join().unwrap();
    }
}
