//! The header, with which each slot begins: four words.
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
//! # `refs`: the references
//!
//! | bits | meaning |
//! |---|---|
//! | 0 to 5 | the generation |
//! | 6 `DYING` | the last reference was released, and the thread that released it is destroying the object |
//! | 7 `LAST_WAS_INTERNAL` | while `DYING`: the last reference was the library's |
//! | 8 to 35 | the number of the user's references. While `DYING`, bits 8 to 37 are the fork epoch of the destroying thread |
//! | 40 `HAD_SELF_REF` | while `DYING`: the object had kept the reference to itself that it has dropped, see 5 |
//! | 36 to 63 | the number of the library's references, unless `DYING` |
//!
//! Exact: all changes are made by compare-and-swap, acquire and release, except in `publish` and
//! `advance_generation`, when no valid handle exists.
//!
//! 1. The object is alive as long as one of the numbers is not zero.
//! 2. The step from the last reference to `DYING` is the decision to destroy the object. It is taken once, by one
//!    thread; no thread waits for another one here. Before this step, a user's release checks whether threads are
//!    blocked on the object, and fails if so. The wait of a thread that blocks between the check and the step is
//!    aborted.
//! 3. A thread that finds `DYING` gets no reference. It also clears `LIVE` in the word, because the destroying thread
//!    may have been preempted before doing so.
//! 4. `advance_generation` clears `DYING`.
//! 5. An object that keeps its reference to itself (`Object::KEEPS_SELF_REF`) drops it by a state of its own, without a
//!    change here. From then on, the thread that releases the last other reference takes the step to `DYING` from this
//!    one. That state and the number of the other references are in two words: see `Handle::destroy_if_only_self_ref`.
//! 6. In a child of fork that does not have the destroying thread, the first thread that finds `DYING` resolves it:
//!    if `LIVE` is set in the word, the object has its last reference again, with the one to itself if it had kept
//!    that, and otherwise it is dead.
//!
//! # `pins`: the threads that may still access the slot
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
//! The destroying thread makes this change by a store with release, if it finds no pin after it has set `DYING`. The
//! store may overwrite a pin that was added in between. The thread that added it then finds `DYING`, does not use the
//! slot, and finds another generation when it removes the pin. Full fences ensure that it finds this: a thread adds a
//! pin before it looks for `DYING`, and the destroying thread reads the pins after it has set `DYING`.
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
//!
//! The file exceeds 400 lines by its tables and tests, which are about a third of it.

use crate::sys::atomic::{AtomicU64, Ordering, fence_after_rmw, store_among_rmws};

use crate::error::{Error, Result};
use crate::handle::blocks::BLOCK_SIZE;
use crate::handle::layout::BLOCK_GENERATION_BITS;
pub(crate) use crate::handle::layout::GENERATION;
use crate::sync::fork_epoch::fork_epoch;
use crate::sys::offsets::offsets;

/// In `word`: an object lives here.
pub(crate) const LIVE: u64 = 64;
/// The mask of the generation and `LIVE`.
pub(crate) const TAG: u64 = 127;

const DYING: u64 = 64;
const LAST_WAS_INTERNAL: u64 = 128;
const DYING_EPOCH_SHIFT: u32 = 8;
const HAD_SELF_REF: u64 = 1 << 40;
/// One of the user's references.
pub(super) const USER_REF: u64 = 1 << 8;
/// One of the library's references.
pub(super) const INTERNAL_REF: u64 = 1 << 36;
const REF_COUNT_MASK: u64 = (1 << 28) - 1;

const DEAD: u64 = 1 << 63;
const PIN: u64 = 1;
const PIN_COUNT_MASK: u64 = (1 << 26) - 1;
const PIN_GENERATION_SHIFT: u32 = 26;
const EPOCH_SHIFT: u32 = 32;

/// The beginning of each slot. See the module.
#[repr(C)]
pub(crate) struct Header {
    pub(crate) word: AtomicU64,
    refs: AtomicU64,
    pins: AtomicU64,
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

fn user_refs(refs: u64) -> u64 {
    (refs / USER_REF) & REF_COUNT_MASK
}

fn internal_refs(refs: u64) -> u64 {
    refs / INTERNAL_REF
}

/// The value of `pins` if no thread of this process has pinned the slot of an object of this generation.
fn unpinned(generation: u64) -> u64 {
    u64::from(fork_epoch()) << EPOCH_SHIFT | generation << PIN_GENERATION_SHIFT
}

/// The value of `pins` with which no thread can pin the slot by a handle of this generation any more.
fn next_unpinned(generation: u64) -> u64 {
    unpinned((generation + 1) & GENERATION)
}

fn pinned_generation(pins: u64) -> u64 {
    pins >> PIN_GENERATION_SHIFT & GENERATION
}

/// The value of `refs` after a thread of this process has released the last reference.
fn dying(refs: u64) -> u64 {
    refs & GENERATION | DYING | u64::from(fork_epoch()) << DYING_EPOCH_SHIFT
}

/// The value of `refs` with the last reference again, after a fork without the destroying thread.
fn undo_dying(refs: u64) -> u64 {
    let last = if refs & LAST_WAS_INTERNAL == 0 { USER_REF } else { INTERNAL_REF };
    refs & GENERATION | (last + if refs & HAD_SELF_REF == 0 { 0 } else { INTERNAL_REF })
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

    /// The address by which race detectors identify the releases of references.
    pub(crate) fn refs(&self) -> &AtomicU64 {
        &self.refs
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
        self.pins.store(unpinned(generation), Ordering::Relaxed);
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

    /// Changes `refs` to `change(refs)`, and returns the new value. Fails if the slot's object is not that of the tag,
    /// or has no references.
    #[inline(always)]
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

    /// Resolves `DYING` if the destroying thread is not in this process but in its parent: the object has its last
    /// reference again, or is dead. Returns false if the destroying thread is in this process.
    #[cold]
    #[inline(never)]
    fn resolve_abandoned_dying(&self, refs: u64) -> bool {
        if (refs >> DYING_EPOCH_SHIFT) as u32 == fork_epoch() {
            return false;
        }
        let generation = refs & GENERATION;
        let resolved = if self.is_live(generation | LIVE) { undo_dying(refs) } else { generation };
        let _ = self.refs.compare_exchange(refs, resolved, Ordering::AcqRel, Ordering::Relaxed);
        true
    }

    /// Returns whether a thread of this process has released the last reference of the tag's object.
    pub(super) fn is_dying(&self, tag: u64) -> bool {
        // Acquire: a caller that reads the next generation here does not find the object alive in the word afterwards.
        let refs = self.refs.load(Ordering::Acquire);
        refs & (GENERATION | DYING) == tag & GENERATION | DYING
            && (refs >> DYING_EPOCH_SHIFT) as u32 == fork_epoch()
    }

    /// Adds one of the user's references.
    pub(super) fn add_user(&self, tag: u64) -> Result<()> {
        let full = |refs| user_refs(refs) == REF_COUNT_MASK;
        self.change_refs(
            tag,
            |refs| if full(refs) { Err(Error::ReferenceOverflow) } else { Ok(refs + USER_REF) },
        )?;
        Ok(())
    }

    /// Adds one of the library's references.
    #[inline(always)]
    pub(super) fn add_internal(&self, tag: u64) -> Result<()> {
        let full = |refs| internal_refs(refs) == REF_COUNT_MASK;
        self.change_refs(tag, |refs| {
            if full(refs) { Err(Error::ReferenceOverflow) } else { Ok(refs + INTERNAL_REF) }
        })?;
        Ok(())
    }

    /// Releases one of the user's references. Returns true if the object has no other reference: then the caller
    /// destroys it. Fails instead if threads are blocked on the object. `has_dropped_self_ref`: one of the library's
    /// references is that of the object to itself, and does not count any more.
    #[inline(always)]
    pub(super) fn drop_user(
        &self,
        tag: u64,
        is_busy: impl Fn() -> bool,
        has_dropped_self_ref: impl Fn() -> bool,
    ) -> Result<bool> {
        let last = tag & GENERATION | USER_REF;
        if self.claim_last(last, 0, || !is_busy())
            || self.claim_last(last | INTERNAL_REF, HAD_SELF_REF, &has_dropped_self_ref)
        {
            return Ok(true);
        }
        self.drop_shared_user(tag, &is_busy, &has_dropped_self_ref)
    }

    /// As `drop_user`, in all cases. One function for all kinds.
    #[inline(never)]
    fn drop_shared_user(
        &self,
        tag: u64,
        is_busy: &dyn Fn() -> bool,
        has_dropped_self_ref: &dyn Fn() -> bool,
    ) -> Result<bool> {
        let refs = self.change_refs(tag, |refs| match (user_refs(refs), internal_refs(refs)) {
            (0, _) => Err(Error::Handle),
            (1, 0) if is_busy() => Err(Error::Busy),
            (1, 0) => Ok(dying(refs)),
            (1, 1) if has_dropped_self_ref() => Ok(dying(refs) | HAD_SELF_REF),
            _ => Ok(refs - USER_REF),
        })?;
        Ok(refs & DYING != 0)
    }

    /// Releases one of the library's references, as `drop_user`. The library has the reference, so this cannot fail.
    #[inline(always)]
    pub(super) fn drop_internal(&self, tag: u64, has_dropped_self_ref: impl Fn() -> bool) -> bool {
        self.claim_last(tag & GENERATION | INTERNAL_REF, LAST_WAS_INTERNAL, || true)
            || self.drop_shared_internal(tag, &has_dropped_self_ref)
    }

    /// As `drop_internal`, in all cases. One function for all kinds.
    #[inline(never)]
    fn drop_shared_internal(&self, tag: u64, has_dropped_self_ref: &dyn Fn() -> bool) -> bool {
        let refs = self.change_refs(tag, |refs| match (user_refs(refs), internal_refs(refs)) {
            (_, 0) => Err(Error::Internal),
            (0, 1) => Ok(dying(refs) | LAST_WAS_INTERNAL),
            (0, 2) if has_dropped_self_ref() => Ok(dying(refs) | LAST_WAS_INTERNAL | HAD_SELF_REF),
            _ => Ok(refs - INTERNAL_REF),
        });
        debug_assert!(refs.is_ok());
        refs.is_ok_and(|refs| refs & DYING != 0)
    }

    /// The object has dropped its reference to itself. If there is no other one, returns true for one caller, which
    /// then destroys the object. May be called after the object was destroyed.
    #[inline]
    pub(super) fn claim_self_ref(&self, tag: u64) -> bool {
        self.claim_last(tag & GENERATION | INTERNAL_REF, LAST_WAS_INTERNAL, || true)
    }

    /// Releases the last reference if the references are `refs`, which contain no other, and `may_die` returns true:
    /// sets `DYING` and `flags`. Otherwise changes nothing and returns false.
    #[inline(always)]
    fn claim_last(&self, refs: u64, flags: u64, may_die: impl Fn() -> bool) -> bool {
        self.refs.load(Ordering::Relaxed) == refs
            && may_die()
            && self
                .refs
                .compare_exchange(refs, dying(refs) | flags, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }

    /// Returns whether the only reference is one of the library's. May be stale.
    pub(crate) fn has_single_internal_ref(&self) -> bool {
        let refs = self.refs.load(Ordering::Relaxed);
        refs & DYING == 0 && user_refs(refs) == 0 && internal_refs(refs) == 1
    }

    /// Changes `pins` to `change(pins)`, and returns the new value. Returns `None` if the slot has another generation.
    fn change_pins(&self, generation: u64, change: impl Fn(u64) -> u64) -> Option<u64> {
        let current = unpinned(generation);
        let mut pins = self.pins.load(Ordering::Relaxed);
        loop {
            if pinned_generation(pins) != generation {
                return None;
            }
            // Pins of the parent's threads are not counted.
            let counted =
                if pins & !DEAD & !PIN_COUNT_MASK == current { pins } else { (pins & DEAD) | current };
            let changed = change(counted);
            match self.pins.compare_exchange_weak(pins, changed, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some(changed),
                Err(now) => pins = now,
            }
        }
    }

    /// Adds a pin. Returns false if the slot has another generation. If the caller then finds that the object is
    /// `DYING` or not alive, the slot may be recycled nevertheless.
    pub(super) fn add_pin(&self, tag: u64) -> bool {
        let is_pinned = self.change_pins(tag & GENERATION, |pins| pins + PIN).is_some();
        // Pairs with the fence in `mark_dead`.
        fence_after_rmw();
        is_pinned
    }

    /// Removes a pin. Returns true if the caller must recycle the slot.
    pub(super) fn drop_pin(&self, tag: u64) -> bool {
        let generation = tag & GENERATION;
        let unpin = |pins| if pins & PIN_COUNT_MASK == 0 { pins } else { pins - PIN };
        let pins = self.change_pins(generation, unpin);
        pins.is_some_and(|pins| pins & DEAD != 0 && self.claim_recycle_if_unpinned(pins, generation))
    }

    /// The object has been destroyed, by the thread that has set `DYING`. Returns true if the caller must recycle the
    /// slot.
    #[inline(always)]
    pub(super) fn mark_dead(&self, tag: u64) -> bool {
        let generation = tag & GENERATION;
        // Pairs with the fence in `add_pin`: either this thread sees the pin, or the thread that adds it finds `DYING`.
        // Then it does not matter that the store below may overwrite its pin.
        fence_after_rmw();
        let pins = self.pins.load(Ordering::Acquire);
        let is_pinned = pins & PIN_COUNT_MASK != 0 && pins & !PIN_COUNT_MASK == unpinned(generation);
        if !is_pinned {
            store_among_rmws(&self.pins, next_unpinned(generation));
            return true;
        }
        self.mark_pinned_dead(generation)
    }

    #[cold]
    fn mark_pinned_dead(&self, generation: u64) -> bool {
        let pins = self.change_pins(generation, |pins| pins | DEAD);
        pins.is_some_and(|pins| self.claim_recycle_if_unpinned(pins, generation))
    }

    /// After `DEAD` was set: changes "no pin" to the next generation. Returns false if there are pins, or if they have
    /// changed.
    fn claim_recycle_if_unpinned(&self, pins: u64, generation: u64) -> bool {
        pins & PIN_COUNT_MASK == 0
            && self
                .pins
                .compare_exchange(pins, next_unpinned(generation), Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST_TAG: u64 = 1 | LIVE;

    /// Returns a header as a child of fork finds it if another thread of the parent was releasing the last reference.
    fn left_dying(last: u64) -> Header {
        let header = Header {
            word: AtomicU64::new(0),
            refs: AtomicU64::new(0),
            pins: AtomicU64::new(0),
            link: AtomicU64::new(0),
        };
        header.publish(1, 0, last);
        let was_last = if last == USER_REF {
            header.drop_user(FIRST_TAG, || false, || false).unwrap()
        } else {
            header.drop_internal(FIRST_TAG, || false)
        };
        assert!(was_last);
        move_to_child(&header);
        header
    }

    /// As if the destroying thread were one of the parent's.
    fn move_to_child(header: &Header) {
        let other_epoch = header.refs.load(Ordering::Relaxed) ^ 1 << DYING_EPOCH_SHIFT;
        header.refs.store(other_epoch, Ordering::Relaxed);
    }

    #[test]
    fn dying_left_by_the_parent_is_resolved_in_a_child() {
        let header = left_dying(USER_REF);
        header.add_user(FIRST_TAG).unwrap();
        assert_eq!(user_refs(header.refs.load(Ordering::Relaxed)), 2);
        let header = left_dying(INTERNAL_REF);
        header.add_user(FIRST_TAG).unwrap();
        assert_eq!(internal_refs(header.refs.load(Ordering::Relaxed)), 1);
        let header = left_dying(USER_REF);
        header.clear_live(FIRST_TAG);
        assert_eq!(header.add_user(FIRST_TAG), Err(Error::Handle));
        assert_eq!(header.drop_user(FIRST_TAG, || true, || false), Err(Error::Handle));
    }
    #[test]
    fn a_child_restores_also_a_reference_of_the_object_to_itself() {
        for last in [USER_REF, INTERNAL_REF] {
            let header = left_dying(last);
            header.add_internal(FIRST_TAG).unwrap();
            let drop_last = || match last {
                USER_REF => header.drop_user(FIRST_TAG, || false, || true).unwrap(),
                _ => header.drop_internal(FIRST_TAG, || true),
            };
            assert!(drop_last());
            move_to_child(&header);
            header.add_internal(FIRST_TAG).unwrap();
            assert!(!drop_last(), "the caller has still a reference");
            assert!(header.drop_internal(FIRST_TAG, || true));
        }
    }
}
