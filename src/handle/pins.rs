//! The pins of a slot: the threads that may still access it. They are the third word of the slot's header.
//!
//! # State
//!
//! | bits | meaning |
//! |---|---|
//! | 0 to 25 | the number of threads of this process that are in a blocking call |
//! | 26 to 31 | the generation of the object whose handle they use |
//! | 32 to 61 | the fork epoch of these threads. The count of another epoch is that of the parent's threads, and is ignored; a thread that has forked in its call counts its pin again (`handle::blocking_call`) |
//! | 63 `DEAD` | the object has been destroyed; the thread that removes the last pin recycles the slot |
//!
//! After `init`, all changes but one are compare-and-swap with acquire and release, so that what a thread did with the
//! slot happens before its reuse. One thread changes "no pin" to the next generation, and recycles the slot: the thread
//! that removes the last pin after `DEAD` was set, or the destroying thread if there is no pin. After that, handles of
//! the object no longer match the generation, and no call with them can add a pin. (Objects that are never pinned keep
//! the value of `init`.)
//!
//! The destroying thread makes this change by a store with release, if it finds no pin after it has set `DYING`
//! (`handle::refs`). The store may overwrite a pin that was added in between. The thread that added it then finds
//! `DYING`, does not use the slot, and finds another generation when it removes the pin. Full fences ensure that it
//! finds this: a thread adds a pin before it looks for `DYING`, and the destroying thread reads the pins after it has
//! set `DYING`.

use crate::sys::atomic::{AtomicU64, Ordering, fence_after_rmw, store_among_rmws};

use crate::handle::layout::GENERATION;
use crate::sync::fork_epoch::fork_epoch;

const DEAD: u64 = 1 << 63;
const PIN: u64 = 1;
const PIN_COUNT_MASK: u64 = (1 << 26) - 1;
const PIN_GENERATION_SHIFT: u32 = 26;
const EPOCH_SHIFT: u32 = 32;

/// The pins if no thread of this process has pinned the slot of an object of this generation.
fn unpinned(generation: u64) -> u64 {
    u64::from(fork_epoch()) << EPOCH_SHIFT | generation << PIN_GENERATION_SHIFT
}

/// The pins with which no thread can pin the slot by a handle of this generation any more.
fn next_unpinned(generation: u64) -> u64 {
    unpinned((generation + 1) & GENERATION)
}

fn pinned_generation(pins: u64) -> u64 {
    pins >> PIN_GENERATION_SHIFT & GENERATION
}

/// The pins of a slot. See the module.
#[repr(transparent)]
#[cfg_attr(test, derive(Default))]
pub(super) struct Pins(AtomicU64);

impl Pins {
    /// Initializes the pins of a slot whose first generation is this one.
    pub(super) fn init(&self, generation: u64) {
        self.0.store(unpinned(generation), Ordering::Relaxed);
    }

    /// Changes the pins to `change(pins)`, and returns the new value. Returns `None` if the slot has another
    /// generation.
    fn change(&self, generation: u64, change: impl Fn(u64) -> u64) -> Option<u64> {
        let current = unpinned(generation);
        let mut pins = self.0.load(Ordering::Relaxed);
        loop {
            if pinned_generation(pins) != generation {
                return None;
            }
            // Pins of the parent's threads are not counted.
            let counted =
                if pins & !DEAD & !PIN_COUNT_MASK == current { pins } else { (pins & DEAD) | current };
            let changed = change(counted);
            match self.0.compare_exchange_weak(pins, changed, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some(changed),
                Err(now) => pins = now,
            }
        }
    }

    /// Adds a pin. Returns false if the slot has another generation. If the caller then finds that the object is
    /// `DYING` or not alive, the slot may be recycled nevertheless.
    pub(super) fn add(&self, tag: u64) -> bool {
        let is_pinned = self.change(tag & GENERATION, |pins| pins + PIN).is_some();
        // Pairs with the fence in `mark_dead`.
        fence_after_rmw();
        is_pinned
    }

    /// Removes a pin. Returns true if the caller must recycle the slot.
    pub(super) fn remove(&self, tag: u64) -> bool {
        let generation = tag & GENERATION;
        let unpin = |pins| if pins & PIN_COUNT_MASK == 0 { pins } else { pins - PIN };
        let pins = self.change(generation, unpin);
        pins.is_some_and(|pins| pins & DEAD != 0 && self.claim_recycle_if_unpinned(pins, generation))
    }

    /// The object has been destroyed, by the thread that has set `DYING`. Returns true if the caller must recycle the
    /// slot.
    #[inline(always)]
    pub(super) fn mark_dead(&self, tag: u64) -> bool {
        let generation = tag & GENERATION;
        // Pairs with the fence in `add`: either this thread sees the pin, or the thread that adds it finds `DYING`.
        // Then it does not matter that the store below may overwrite its pin.
        fence_after_rmw();
        let pins = self.0.load(Ordering::Acquire);
        let is_pinned = pins & PIN_COUNT_MASK != 0 && pins & !PIN_COUNT_MASK == unpinned(generation);
        if !is_pinned {
            store_among_rmws(&self.0, next_unpinned(generation));
            return true;
        }
        self.mark_pinned_dead(generation)
    }

    #[cold]
    fn mark_pinned_dead(&self, generation: u64) -> bool {
        let pins = self.change(generation, |pins| pins | DEAD);
        pins.is_some_and(|pins| self.claim_recycle_if_unpinned(pins, generation))
    }

    /// After `DEAD` was set: changes "no pin" to the next generation. Returns false if there are pins, or if they have
    /// changed.
    fn claim_recycle_if_unpinned(&self, pins: u64, generation: u64) -> bool {
        pins & PIN_COUNT_MASK == 0
            && self
                .0
                .compare_exchange(pins, next_unpinned(generation), Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }
}
