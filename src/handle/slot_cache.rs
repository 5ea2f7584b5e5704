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

use crate::sys::tls::{self, SPARE_CLOSED as DISABLED, SPARE_EMPTY as EMPTY};

/// The kinds with an `INDEX` below this have a spare slot in each thread.
pub(crate) const CACHED_KINDS: usize = tls::CACHED_KINDS;

/// The slot that the calling thread keeps, if it does.
#[inline(always)]
pub(crate) fn take(kind: usize) -> Option<usize> {
    tls::with(|block| {
        let slot = block.slot_cache[kind].get();
        (slot > EMPTY).then(|| {
            block.slot_cache[kind].set(EMPTY);
            slot
        })
    })
}

/// Keeps a slot; false if that cannot be.
#[inline(always)]
pub(crate) fn put(kind: usize, slot: usize) -> bool {
    tls::with(|block| {
        let has_room = block.slot_cache[kind].get() == EMPTY;
        if has_room {
            block.slot_cache[kind].set(slot);
        }
        has_room
    })
}

/// As `take`, and no slot is kept any more.
pub(crate) fn disable(kind: usize) -> Option<usize> {
    let slot = take(kind);
    tls::with(|block| block.slot_cache[kind].set(DISABLED));
    slot
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slot_is_cached_and_only_by_a_thread_with_a_registered_exit() {
        let in_a_new_thread = || {
            assert!(!put(0, 64));
            tls::open_spares();
            assert_eq!(take(0), None);
            assert!(put(0, 64));
            assert!(!put(0, 128));
            tls::open_spares();
            assert_eq!(take(0), Some(64));
            assert_eq!(take(0), None);
            assert!(put(0, 128));
            assert_eq!(disable(0), Some(128));
            assert!(!put(0, 64));
        };
        std::thread::spawn(in_a_new_thread).join().unwrap();
    }
}
