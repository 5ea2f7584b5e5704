//! The slot that a thread gave back last, kept for the object of that kind which it makes next: without the
//! arena's guard, and warm in the thread's cache. For the kinds of which many are made and freed in turn.
//!
//! # State (one word a kind in the thread's block)
//!
//! | state | meaning | who changes it |
//! |---|---|---|
//! | `DISABLED` | nobody would give the slot back when the thread ends, or it has ended | `tls::open_spares`, when its exit hook is registered |
//! | `EMPTY` | no slot is kept | `put` |
//! | anything else | the address of the slot | `take`: to `EMPTY`. `close`, at the thread's end |
//!
//! All of it is the thread's own. What other threads keep in a fork is lost to the child, a slot or two for
//! each of them.

use crate::handle::kind::ObjectKind;
use crate::sys::tls::{self, CACHED_KINDS, SPARE_CLOSED as DISABLED, SPARE_EMPTY as EMPTY};

/// Whether each thread caches a slot of this kind.
pub(super) const fn is_cached(kind: ObjectKind) -> bool {
    (kind as usize) < CACHED_KINDS
}

const _: () = assert!(CACHED_KINDS == 2 && is_cached(ObjectKind::Thread) && is_cached(ObjectKind::Timer));

/// The slot that the calling thread keeps, if it does.
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

/// Keeps a slot; false if that cannot be.
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

/// As `take`, and no slot is kept any more.
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
    fn one_slot_is_cached_and_only_by_a_thread_with_a_registered_exit() {
        let in_a_new_thread = || {
            assert!(!put(KIND, 64));
            tls::open_spares();
            assert_eq!(take(KIND), None);
            assert!(put(KIND, 64));
            assert!(!put(KIND, 128));
            tls::open_spares();
            assert_eq!(take(KIND), Some(64));
            assert_eq!(take(KIND), None);
            assert!(put(KIND, 128));
            assert_eq!(disable(KIND), Some(128));
            assert!(!put(KIND, 64));
        };
        std::thread::spawn(in_a_new_thread).join().unwrap();
    }
}
