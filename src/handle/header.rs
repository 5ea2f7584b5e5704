//! The header, with which each slot begins: four words. `handle::refs` has the second, the references, and
//! `handle::pins` the third.
//!
//! # `word`: the state of the object
//!
//! | bits | meaning | changed by |
//! |---|---|---|
//! | 0 to 5 | the generation of the slot, 1 to 63; 0 if the slot was never used | `init`, relaxed; `advance_generation`, release |
//! | 6 `LIVE` | an object lives here | set by `publish`, release; cleared when the object is destroyed, release |
//! | 7 to 63 | the object's own; its file has the table | |
//!
//! A thread that reads the tag with acquire sees the initialized object. The tag may be stale by then, so operations on
//! the object compare it in the atomic operation that changes the word.
//!
//! # `link`: the arena's data
//!
//! | bits | meaning |
//! |---|---|
//! | 0 to 15 | the next free slot of the block, while this slot is free, and until the object first has a note |
//! | 0 to 47 | the address of the object's note, 0 if the note was removed, while the slot is in use |
//! | 48 to 63 | the generation of the block (only where addresses have 64 bits) |
//!
//! A value of bits 0 to 47 that is less than `LOWEST_ADDRESS` is not an address: the object has no note. A report that
//! reads the link of an object finds such a value, too, if the object is freed at the same time.
//!
//! Written under the arena's mutex while the slot is free. While it is in use, the lower part is changed by swap,
//! acquire and release (`handle::note`), and the upper part does not change.

use crate::sys::atomic::{AtomicU64, Ordering, store_among_rmws};

use crate::handle::blocks::BLOCK_SIZE;
use crate::handle::layout::BLOCK_GENERATION_BITS;
pub(crate) use crate::handle::layout::GENERATION;
use crate::handle::pins::Pins;
use crate::sys::offsets::offsets;

/// In `word`: an object lives here.
pub(crate) const LIVE: u64 = 64;
/// The mask of the generation and `LIVE`.
pub(crate) const TAG: u64 = 127;

/// The beginning of each slot. See the module.
#[repr(C)]
#[cfg_attr(test, derive(Default))]
pub(crate) struct Header {
    pub(crate) word: AtomicU64,
    pub(super) refs: AtomicU64,
    pub(super) pins: Pins,
    link: AtomicU64,
}

offsets!(HeaderOffsets of Header: link);

const HIGH_BITS: usize = !(usize::MAX >> BLOCK_GENERATION_BITS);
/// No slot has an address below this: blocks are aligned to it, and none begins at address 0.
const LOWEST_ADDRESS: usize = BLOCK_SIZE;
const _: () = assert!(u16::MAX as usize <= LOWEST_ADDRESS);

/// Returns the address of the note in a link, 0 if there is none.
fn note_address(link: u64) -> usize {
    let address = link as usize & !HIGH_BITS;
    if address < LOWEST_ADDRESS { 0 } else { address }
}

impl Header {
    /// Returns the generation of the object that is in the slot, or will be the next one.
    pub(crate) fn generation(&self) -> u64 {
        (self.word.load(Ordering::Relaxed) & GENERATION).max(1)
    }

    /// Returns the generation of the slot, or 0 if it has never been used.
    pub(super) fn generation_or_zero(&self) -> usize {
        (self.word.load(Ordering::Relaxed) & GENERATION) as usize
    }

    /// Returns whether the object with this tag is alive. May be stale.
    #[inline]
    pub(crate) fn is_live(&self, tag: u64) -> bool {
        self.word.load(Ordering::Acquire) & TAG == tag
    }

    /// Initializes a slot that has not been used since its block was allocated, with its first generation and the
    /// block's.
    pub(super) fn init(&self, generation: u64, high_bits: usize) {
        self.word.store(generation, Ordering::Relaxed);
        self.pins.init(generation);
        self.link.store(high_bits as u64, Ordering::Relaxed);
    }

    /// Returns the block's generation, in its position in a handle.
    pub(super) fn high_bits(&self) -> usize {
        self.link.load(Ordering::Relaxed) as usize & HIGH_BITS
    }

    /// Returns the handle of the object that is in the slot.
    pub(crate) fn handle_bits(&self) -> usize {
        self.high_bits() | core::ptr::from_ref(self) as usize | self.generation() as usize
    }

    /// Returns the address of the object's note, 0 if it has none.
    pub(super) fn note(&self) -> usize {
        note_address(self.link.load(Ordering::Acquire))
    }

    /// Sets the address of the object's note, and returns the former one.
    pub(super) fn replace_note(&self, address: usize) -> usize {
        note_address(self.link.swap((self.high_bits() | address) as u64, Ordering::AcqRel))
    }

    /// Sets the address of the object's note if it has none. Returns false if it has one.
    pub(super) fn set_first_note(&self, address: usize) -> bool {
        let link = self.link.load(Ordering::Relaxed);
        let set = (self.high_bits() | address) as u64;
        note_address(link) == 0
            && self.link.compare_exchange(link, set, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    pub(super) fn next_free(&self) -> u16 {
        self.link.load(Ordering::Relaxed) as u16
    }

    pub(super) fn set_next_free(&self, offset: u16) {
        self.link.store(self.high_bits() as u64 | u64::from(offset), Ordering::Relaxed);
    }

    /// Publishes the object, with one reference: `USER_REF` or `INTERNAL_REF`.
    pub(super) fn publish(&self, generation: u64, initial: u64, refs: u64) {
        self.refs.store(generation | refs, Ordering::Relaxed);
        self.word.store(initial | generation | LIVE, Ordering::Release);
    }

    /// Clears `LIVE`, unless it is cleared already.
    pub(crate) fn clear_live(&self, tag: u64) {
        self.clear_live_if(tag, |word| Some(word & !LIVE));
    }

    /// Changes the word to `dead(word)`, which has no `LIVE`, and returns the former word. Changes nothing and
    /// returns `None` if `LIVE` is cleared already, or `dead` returns `None`.
    pub(crate) fn clear_live_if(&self, tag: u64, dead: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & TAG == tag {
            match self.word.compare_exchange(word, dead(word)?, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some(word),
                Err(now) => word = now,
            }
        }
        None
    }

    /// As `clear_live`, for a word that no other thread changes while the object lives.
    pub(super) fn clear_live_nonatomic(&self, tag: u64) {
        let word = self.word.load(Ordering::Relaxed);
        debug_assert_eq!(word & GENERATION, tag & GENERATION);
        store_among_rmws(&self.word, word & !LIVE);
    }

    /// Advances the slot to its next generation. Returns true if there is none.
    #[inline(always)]
    pub(super) fn advance_generation(&self) -> bool {
        let generation = self.generation();
        if generation == GENERATION {
            return true;
        }
        // Release: see `is_dying`.
        self.refs.store(generation + 1, Ordering::Release);
        self.word.store(generation + 1, Ordering::Release);
        false
    }
}
