//! What each slot begins with.
//!
//! # `word`: the state of the object
//!
//! | bits | meaning |
//! |---|---|
//! | 0 to 5 | the generation of the slot, 1 to 63; 0 is a slot that was never used |
//! | 6 `LIVE` | an object lives here |
//! | 7 to 63 | the object's own; its file has the table |
//!
//! Published with release by `publish`; whoever finds its tag there with acquire sees the object built.
//!
//! # `refs`: who keeps it alive
//!
//! | bits | meaning |
//! |---|---|
//! | 0 to 5 | the generation |
//! | 6 `DYING` | the last reference has been given back: the thread that did so ends the object's life |
//! | 7 `LAST_WAS_INTERNAL` | while `DYING`: that reference was the library's |
//! | 8 to 35 | the callers' references; while `DYING`, 8 to 37 are the epoch of the fork to which that thread belongs |
//! | 36 to 63 | the library's own references |
//!
//! Alive as long as either count is above zero. From (1, 0) or (0, 1) the last one goes to `DYING` (acquire and
//! release), and that one step decides: no thread ever waits for another here. A caller asks before it whether threads
//! are blocked on the object, and changes nothing if they are; a thread that begins to block in between is sent on.
//! A thread that meets `DYING` gets no reference, and sees to it that the word shows the end of the life, too, since the
//! thread that is about to may have lost its CPU. The next generation ends `DYING`.
//!
//! In a child of fork that does not have that thread, the first thread that meets `DYING` changes it (acquire and
//! release): if the word still shows the object alive, it has its last reference again, and otherwise it is gone.
//!
//! # `pins`: which threads still use the slot
//!
//! | bits | meaning |
//! |---|---|
//! | 0 to 25 | how many threads of this process are in a blocking call |
//! | 26 to 31 | the generation of the object by whose handle they call |
//! | 32 to 61 | the epoch of the fork that they belong to; others do not count |
//! | 63 `DEAD` | the object is gone, and the thread that takes the count to zero recycles the slot |
//!
//! All changes are acquire and release: what a thread did with the slot happens before it is used again. The thread
//! that changes no pin and `DEAD` to no pin by the next generation recycles the slot, so that it is done once; if there
//! is no pin, the end of the object makes this change itself. From then on, the generation refuses pins by the handle of
//! the object.
//!
//! # `link`: what the arena keeps here
//!
//! | bits | meaning |
//! |---|---|
//! | 0 to 15 | the next free slot of the block, while this one is free |
//! | 48 to 63 | the generation of the block (not where addresses have 32 bits) |
//!
//! Written under the arena's lock, and read while the slot is in use.

use crate::sys::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::handle::layout::BLOCK_GENERATION_BITS;
pub(crate) use crate::handle::layout::GENERATION;
use crate::sync::fork_epoch::fork_epoch;

/// An object lives here.
pub(crate) const LIVE: u64 = 64;
/// Generation and `LIVE`.
pub(crate) const TAG: u64 = 127;

const DYING: u64 = 64;
const LAST_WAS_INTERNAL: u64 = 128;
const DYING_EPOCH_SHIFT: u32 = 8;
/// One reference of a caller's.
pub(super) const USER_REF: u64 = 1 << 8;
/// One of the library's own.
pub(super) const INTERNAL_REF: u64 = 1 << 36;
const REF_COUNT_MASK: u64 = (1 << 28) - 1;

const DEAD: u64 = 1 << 63;
const PIN: u64 = 1;
const PIN_COUNT_MASK: u64 = (1 << 26) - 1;
const PIN_GENERATION_SHIFT: u32 = 26;
const EPOCH_SHIFT: u32 = 32;

/// See the module.
#[repr(C)]
pub(crate) struct Header {
    pub(crate) word: AtomicU64,
    refs: AtomicU64,
    pins: AtomicU64,
    link: AtomicU64,
}

const HIGH_BITS: usize = !(usize::MAX >> BLOCK_GENERATION_BITS);

fn user_refs(refs: u64) -> u64 {
    (refs / USER_REF) & REF_COUNT_MASK
}

fn internal_refs(refs: u64) -> u64 {
    refs / INTERNAL_REF
}

/// No thread of this process has pinned the slot of an object of this generation.
fn unpinned(generation: u64) -> u64 {
    u64::from(fork_epoch()) << EPOCH_SHIFT | generation << PIN_GENERATION_SHIFT
}

fn pinned_generation(pins: u64) -> u64 {
    pins >> PIN_GENERATION_SHIFT & GENERATION
}

/// The last reference is being given back, by a thread of this process.
fn dying(refs: u64) -> u64 {
    refs & GENERATION | DYING | u64::from(fork_epoch()) << DYING_EPOCH_SHIFT
}

/// It was not given back.
fn undo_dying(refs: u64) -> u64 {
    refs & GENERATION | if refs & LAST_WAS_INTERNAL == 0 { USER_REF } else { INTERNAL_REF }
}

impl Header {
    /// The generation of the object that lives here or will live here next.
    pub(crate) fn generation(&self) -> u64 {
        (self.word.load(Ordering::Relaxed) & GENERATION).max(1)
    }

    /// By what race detectors are told who gave a reference back.
    pub(super) fn refs(&self) -> &AtomicU64 {
        &self.refs
    }

    /// Whether the object with this tag lives here now.
    #[inline]
    pub(crate) fn is_live(&self, tag: u64) -> bool {
        self.word.load(Ordering::Acquire) & TAG == tag
    }

    /// A slot that no object has used begins with this generation, and the block's, where handles have it.
    pub(super) fn init(&self, generation: u64, high_bits: usize) {
        self.word.store(generation, Ordering::Relaxed);
        self.pins.store(unpinned(generation), Ordering::Relaxed);
        self.link.store(high_bits as u64, Ordering::Relaxed);
    }

    /// The block's generation, where handles have it.
    pub(super) fn high_bits(&self) -> usize {
        self.link.load(Ordering::Relaxed) as usize & HIGH_BITS
    }

    pub(super) fn next_free(&self) -> u16 {
        self.link.load(Ordering::Relaxed) as u16
    }

    pub(super) fn set_next_free(&self, distance: u16) {
        self.link.store(self.high_bits() as u64 | u64::from(distance), Ordering::Relaxed);
    }

    /// With one reference, `USER_REF` or `INTERNAL_REF`.
    pub(super) fn publish(&self, generation: u64, initial: u64, refs: u64) {
        self.refs.store(generation | refs, Ordering::Relaxed);
        self.word.store(initial | generation | LIVE, Ordering::Release);
    }

    /// Clears `LIVE`, unless that has been done.
    pub(crate) fn clear_live(&self, tag: u64) {
        self.clear_live_if(tag, |word| Some(word & !LIVE));
    }

    /// Changes the word to one without `LIVE`, unless that has been done, or there is none to change it to.
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

    /// As `clear_live`, for a word that nobody else changes while the object lives.
    pub(super) fn clear_live_nonatomic(&self, tag: u64) {
        let word = self.word.load(Ordering::Relaxed);
        debug_assert_eq!(word & GENERATION, tag & GENERATION);
        self.word.store(word & !LIVE, Ordering::Release);
    }

    /// Changes `refs` as `change` says, unless the object is not the tag's, or not alive.
    fn change_refs(&self, tag: u64, change: impl Fn(u64) -> Result<u64>) -> Result<u64> {
        let mut refs = self.refs.load(Ordering::Relaxed);
        loop {
            if refs & GENERATION != tag & GENERATION {
                return Err(Error::Handle);
            }
            if refs & DYING != 0 && self.resolve_abandoned_dying(refs) {
                refs = self.refs.load(Ordering::Relaxed);
                continue;
            }
            if refs & DYING != 0 || refs < USER_REF {
                return Err(Error::Handle);
            }
            let changed = change(refs)?;
            match self.refs.compare_exchange_weak(refs, changed, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Ok(changed),
                Err(now) => refs = now,
            }
        }
    }

    /// If the thread that was to end the object's life stayed behind in a parent process: without it, the object has its
    /// last reference still, or is gone. False if that thread is here.
    fn resolve_abandoned_dying(&self, refs: u64) -> bool {
        if (refs >> DYING_EPOCH_SHIFT) as u32 == fork_epoch() {
            return false;
        }
        let generation = refs & GENERATION;
        let resolved = if self.is_live(generation | LIVE) { undo_dying(refs) } else { generation };
        let _ = self.refs.compare_exchange(refs, resolved, Ordering::AcqRel, Ordering::Relaxed);
        true
    }

    /// Whether the last reference has been given back, by a thread of this process.
    pub(super) fn is_dying(&self, tag: u64) -> bool {
        // Acquire: if it shows the next generation, the word does not show this one alive any more.
        let refs = self.refs.load(Ordering::Acquire);
        refs & (GENERATION | DYING) == tag & GENERATION | DYING
            && (refs >> DYING_EPOCH_SHIFT) as u32 == fork_epoch()
    }

    pub(super) fn add_user(&self, tag: u64) -> Result<()> {
        let full = |refs| user_refs(refs) == REF_COUNT_MASK;
        self.change_refs(
            tag,
            |refs| if full(refs) { Err(Error::ReferenceOverflow) } else { Ok(refs + USER_REF) },
        )?;
        Ok(())
    }

    #[inline(always)]
    pub(super) fn add_internal(&self, tag: u64) -> Result<()> {
        let full = |refs| internal_refs(refs) == REF_COUNT_MASK;
        self.change_refs(tag, |refs| {
            if full(refs) { Err(Error::ReferenceOverflow) } else { Ok(refs + INTERNAL_REF) }
        })?;
        Ok(())
    }

    /// True if it was the last of all: then the object is dying, and the caller ends its life. Not while threads are
    /// blocked on it.
    pub(super) fn drop_user(&self, tag: u64, is_busy: impl Fn() -> bool) -> Result<bool> {
        let refs = self.change_refs(tag, |refs| match (user_refs(refs), internal_refs(refs)) {
            (0, _) => Err(Error::Handle),
            (1, 0) if is_busy() => Err(Error::Busy),
            (1, 0) => Ok(dying(refs)),
            _ => Ok(refs - USER_REF),
        })?;
        Ok(refs & DYING != 0)
    }

    /// As `drop_user`. The library gives back what it has, so that a failure cannot be.
    pub(super) fn drop_internal(&self, tag: u64) -> bool {
        let refs = self.change_refs(tag, |refs| match (user_refs(refs), internal_refs(refs)) {
            (_, 0) => Err(Error::Internal),
            (0, 1) => Ok(dying(refs) | LAST_WAS_INTERNAL),
            _ => Ok(refs - INTERNAL_REF),
        });
        debug_assert!(refs.is_ok());
        refs.is_ok_and(|refs| refs & DYING != 0)
    }

    /// Whether nothing but one reference of the library's keeps it; a snapshot.
    pub(crate) fn has_single_internal_ref(&self) -> bool {
        let refs = self.refs.load(Ordering::Relaxed);
        refs & DYING == 0 && user_refs(refs) == 0 && internal_refs(refs) == 1
    }

    /// Changes the count of pins by this generation as `change` says; false if the slot serves another one.
    fn change_pins(&self, generation: u64, change: impl Fn(u64) -> u64) -> Option<u64> {
        let current = unpinned(generation);
        let mut pins = self.pins.load(Ordering::Relaxed);
        loop {
            if pinned_generation(pins) != generation {
                return None;
            }
            // Pins of the parent's threads are forgotten.
            let counted =
                if pins & !DEAD & !PIN_COUNT_MASK == current { pins } else { (pins & DEAD) | current };
            let changed = change(counted);
            match self.pins.compare_exchange_weak(pins, changed, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some(changed),
                Err(now) => pins = now,
            }
        }
    }

    /// False if the slot serves another generation.
    pub(super) fn add_pin(&self, tag: u64) -> bool {
        self.change_pins(tag & GENERATION, |pins| pins + PIN).is_some()
    }

    /// Changes the number of pins that the caller has set for others, which have not seen them. It keeps the slot.
    pub(crate) fn adjust_pins(&self, tag: u64, from: u64, to: u64) {
        self.change_pins(tag & GENERATION, |pins| pins + to * PIN - from * PIN);
    }

    /// True if the caller has to recycle the slot.
    pub(super) fn drop_pin(&self, tag: u64) -> bool {
        let generation = tag & GENERATION;
        let unpin = |pins| if pins & PIN_COUNT_MASK == 0 { pins } else { pins - PIN };
        let pins = self.change_pins(generation, unpin);
        pins.is_some_and(|pins| pins & DEAD != 0 && self.claim_recycle_if_unpinned(pins, generation))
    }

    /// True if the caller has to recycle the slot.
    #[inline(always)]
    pub(super) fn mark_dead(&self, tag: u64) -> bool {
        let generation = tag & GENERATION;
        let pins = self.pins.load(Ordering::Relaxed);
        let is_pinned = pins & PIN_COUNT_MASK != 0 && pins & !PIN_COUNT_MASK == unpinned(generation);
        if !is_pinned && self.try_advance_pin_generation(pins, generation) {
            return true;
        }
        let pins = self.change_pins(generation, |pins| pins | DEAD);
        pins.is_some_and(|pins| self.claim_recycle_if_unpinned(pins, generation))
    }

    fn claim_recycle_if_unpinned(&self, pins: u64, generation: u64) -> bool {
        pins & PIN_COUNT_MASK == 0 && self.try_advance_pin_generation(pins, generation)
    }

    /// From no pin to the next generation, so that no thread can pin the slot by this one; false if the pins have
    /// changed.
    #[inline(always)]
    fn try_advance_pin_generation(&self, pins: u64, generation: u64) -> bool {
        let next = unpinned((generation + 1) & GENERATION);
        self.pins.compare_exchange(pins, next, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// On to the slot's next generation; true if it was the last.
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

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST_TAG: u64 = 1 | LIVE;

    /// As a child of fork finds it whose parent had another thread in the midst of the last free.
    fn left_dying(last: u64) -> Header {
        let header = Header {
            word: AtomicU64::new(0),
            refs: AtomicU64::new(0),
            pins: AtomicU64::new(0),
            link: AtomicU64::new(0),
        };
        header.publish(1, 0, last);
        let was_last = if last == USER_REF {
            header.drop_user(FIRST_TAG, || false).unwrap()
        } else {
            header.drop_internal(FIRST_TAG)
        };
        assert!(was_last);
        let other_epoch = header.refs.load(Ordering::Relaxed) ^ 1 << DYING_EPOCH_SHIFT;
        header.refs.store(other_epoch, Ordering::Relaxed);
        header
    }

    #[test]
    fn a_child_resolves_a_dying_state_left_by_the_parent() {
        let header = left_dying(USER_REF);
        header.add_user(FIRST_TAG).unwrap();
        assert_eq!(user_refs(header.refs.load(Ordering::Relaxed)), 2);
        let header = left_dying(INTERNAL_REF);
        header.add_user(FIRST_TAG).unwrap();
        assert_eq!(internal_refs(header.refs.load(Ordering::Relaxed)), 1);
        let header = left_dying(USER_REF);
        header.clear_live(FIRST_TAG);
        assert_eq!(header.add_user(FIRST_TAG), Err(Error::Handle));
        assert_eq!(header.drop_user(FIRST_TAG, || true), Err(Error::Handle));
    }
}
