//! The references that keep an object alive: the second word of its header.
//!
//! # State
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

use crate::sys::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::handle::header::{Header, LIVE};
use crate::handle::layout::GENERATION;
use crate::sync::fork_epoch::fork_epoch;

const DYING: u64 = 64;
const LAST_WAS_INTERNAL: u64 = 128;
const DYING_EPOCH_SHIFT: u32 = 8;
const HAD_SELF_REF: u64 = 1 << 40;
/// One of the user's references.
pub(super) const USER_REF: u64 = 1 << 8;
/// One of the library's references.
pub(super) const INTERNAL_REF: u64 = 1 << 36;
const REF_COUNT_MASK: u64 = (1 << 28) - 1;

fn user_refs(refs: u64) -> u64 {
    (refs / USER_REF) & REF_COUNT_MASK
}

fn internal_refs(refs: u64) -> u64 {
    refs / INTERNAL_REF
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
    /// The address by which race detectors identify the releases of references.
    pub(crate) fn refs(&self) -> &AtomicU64 {
        &self.refs
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
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST_TAG: u64 = 1 | LIVE;

    /// Returns a header as a child of fork finds it if another thread of the parent was releasing the last reference.
    fn left_dying(last: u64) -> Header {
        let header = Header::default();
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
