//! Handles: how an object is named, found, kept and given back.
//!
//! # A handle
//!
//! | bits | meaning |
//! |---|---|
//! | 0 to 5 | the generation of the slot, 1 to 63 |
//! | 6 to 47 | the address of the slot, a multiple of 64 |
//! | 48 to 63 | the generation of the block in which the slot lies |
//!
//! (Where addresses have 32 bits, so have handles, and the generation of the block is always 0.)
//!
//! Any number can be tested for being a handle: the bits above the low 16, the block and its generation, must be in the
//! table of the kind; then there is a slot's header to read, whose first word contains the generation of the object
//! that lives there.
//!
//! - [`header`] is what each slot begins with: the state word, the references, the pins;
//! - [`arena`] is where the slots of a kind come from and go to, but for one or two that each thread keeps: [`spare`];
//! - [`blocks`] is the memory of all kinds.
//!
//! Methods of an object take the `tag` (generation and `LIVE`) along, and compare it in the same atomic
//! operation that changes the state word, so that between the check and the use there is nothing in which the
//! object could vanish.

pub(crate) mod arena;
pub(crate) mod blocks;
pub(crate) mod header;
mod kind;
mod layout;
pub(crate) mod slot_cache;

use crate::sys::atomic::{Ordering, fence};
use core::marker::PhantomData;

use crate::error::{Error, Result};
use crate::sync::fork_epoch::{fork_epoch, is_child};
use crate::sys::annotate::{happens_after, happens_before};
use arena::Arena;
use header::{Header, INTERNAL_REF, LIVE, TAG, USER_REF};
pub(crate) use kind::ObjectKind;
use layout::{BLOCK_GENERATION_SHIFT, GENERATION};

/// The bits of a handle in which a slot has its address.
const ADDRESS: usize = (usize::MAX >> (usize::BITS - BLOCK_GENERATION_SHIFT)) & !(GENERATION as usize);

/// What can live behind a handle.
///
/// # Safety
/// The type is valid when all its bytes are zero, shareable between threads in that state and in any other,
/// at most a block large, a power of two in size, and begins with its header.
pub(crate) unsafe trait Object: Sized + Sync + 'static {
    const KIND: ObjectKind;

    fn header(&self) -> &Header;

    /// Whether threads are blocked on it, so that its last reference cannot be given back by a caller.
    fn is_busy(&self, tag: u64) -> bool {
        let _ = tag;
        false
    }

    /// Ends the object's life, so that no new call finds it: clears `LIVE` in the word, and sends on the threads that are
    /// blocked on it. Called once. As it stands here, it is for kinds on which no thread blocks, and whose word does not
    /// change while they live.
    fn invalidate(&self, tag: u64) {
        self.header().clear_live_nonatomic(tag);
    }

    /// Clears `LIVE` alone, unless it is cleared; waits for no lock. Called by threads that meet the object before the one
    /// that gave the last reference back has come to `invalidate`.
    fn clear_live(&self, tag: u64) {
        self.header().clear_live(tag);
    }

    /// Somebody is told that the handle is bad. A kind whose life leaves traces of the object in the threads has
    /// them gone by then.
    fn on_stale_handle(&self, tag: u64) {
        let _ = tag;
    }

    /// In a child of fork, before a caller's reference is released: an object that keeps itself as long as a thread works
    /// with it releases that reference, if the child does not have that thread.
    fn unref_after_fork(handle: Handle<Self>) {
        let _ = handle;
    }

    /// Lets go of whatever the object keeps. Called once, after `invalidate`; no lock is held, callbacks may run.
    fn dispose(&self) {}

    /// Gives back what may be looked at as long as the slot is pinned. Called once, after `let_go`, when it
    /// is not any more. Locks may be held; no callback may run.
    fn finalize(&self) {}
}

/// A copyable name of an object, which owns no reference. An [`OwnedHandle`](crate::OwnedHandle) owns one.
///
/// It has the methods of the object, under the names of the C API. Each of them checks the handle first: if the object
/// has been freed, the call returns [`Error::Handle`], even if another object now uses the memory. The constructors of
/// a handle return a reference that the caller releases with [`free`](Handle::free); those of [`Lock`](crate::Lock) and
/// the other types return an owned handle.
///
/// ```
/// use threading::{Error, Handle, Lock};
///
/// let handle: Handle<Lock> = Handle::<Lock>::new()?;
/// let copy = handle;
/// handle.acquire()?;
/// copy.release()?;
/// handle.free()?;
/// assert_eq!(copy.acquire(), Err(Error::Handle));
/// assert_eq!(Handle::<Lock>::NULL.acquire(), Err(Error::Handle));
/// # Ok::<(), Error>(())
/// ```
pub struct Handle<T> {
    bits: usize,
    kind: PhantomData<fn() -> T>,
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Handle<T> {}

impl<T> PartialEq for Handle<T> {
    fn eq(&self, other: &Self) -> bool {
        self.bits == other.bits
    }
}

impl<T> Eq for Handle<T> {}

impl<T> core::fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:#x}", self.bits)
    }
}

impl<T> Handle<T> {
    /// No handle at all.
    pub const NULL: Self = Self::from_bits(0);

    /// Any number, handle or not. Not for Rust programs, whose objects live as long as what owns their handles.
    #[inline(always)]
    pub(crate) const fn from_bits(bits: usize) -> Self {
        Handle { bits, kind: PhantomData }
    }

    /// The number that C sees as a pointer.
    #[inline(always)]
    pub const fn bits(self) -> usize {
        self.bits
    }
}

#[expect(private_bounds, reason = "the kinds are this crate's")]
impl<T: Object> Handle<T> {
    /// The slot, if there is one, and the tag that its word must carry for this handle to be good. Whoever
    /// uses the slot compares the tag in the operation that changes the word.
    #[inline(always)]
    pub(crate) fn slot(self) -> Result<(&'static T, u64)> {
        self.slot_in(Arena::has_key)
    }

    /// As `slot`, for the short ways: none while a race detector watches, from which they would hide what they do.
    #[inline(always)]
    pub(crate) fn slot_fast(self) -> Option<(&'static T, u64)> {
        self.slot_in(Arena::has_key_fast).ok()
    }

    #[inline(always)]
    fn slot_in(self, has_key: impl FnOnce(&Arena, usize) -> bool) -> Result<(&'static T, u64)> {
        const { assert!(size_of::<T>().is_power_of_two() && align_of::<T>() >= 64) };
        let address = self.bits & ADDRESS;
        if !has_key(Self::arena(), self.bits) || address & (size_of::<T>() - 1) != 0 {
            return Err(Error::Handle);
        }
        // SAFETY: no block begins at address zero.
        unsafe { core::hint::assert_unchecked(address != 0) };
        // SAFETY: the address is that of a slot in a block of this kind, in which any content is a valid T. The block
        // stays mapped: one whose generations are used up does so while billions of objects are created.
        Ok((unsafe { &*(address as *const T) }, (self.bits as u64 & GENERATION) | LIVE))
    }

    /// As `slot`, without a look at the address.
    ///
    /// # Safety
    /// The handle has been good, at any time before.
    #[inline(always)]
    pub(crate) unsafe fn slot_unchecked(self) -> (&'static T, u64) {
        let address = self.bits & ADDRESS;
        // SAFETY: the address is that of a slot, by the caller's promise; for its block holds what `slot_in` says.
        (unsafe { &*(address as *const T) }, (self.bits as u64 & GENERATION) | LIVE)
    }

    /// The slot of a handle that is good at this moment.
    #[inline]
    pub(crate) fn check(self) -> Result<(&'static T, u64)> {
        let (object, tag) = self.slot()?;
        if object.header().is_live(tag) { Ok((object, tag)) } else { Err(Self::stale_error(object, tag)) }
    }

    /// What a caller gets for a handle that is not good any more.
    #[cold]
    fn stale_error(object: &'static T, tag: u64) -> Error {
        object.on_stale_handle(tag);
        Error::Handle
    }

    /// An argument that has been looked at before the handle: if both are wrong, the handle's error is the
    /// answer.
    #[inline(always)]
    pub(crate) fn or_handle_error<V>(self, argument: Result<V>) -> Result<V> {
        match argument {
            Ok(value) => Ok(value),
            Err(error) => self.check().and(Err(error)),
        }
    }

    #[inline(always)]
    fn arena() -> &'static Arena {
        &arena::ARENAS[T::KIND as usize]
    }

    /// Makes an object: `build` fills the slot, then the word appears with `initial` above its tag, and the
    /// handle is good. The caller owns one reference.
    pub(crate) fn create(initial: u64, build: impl FnOnce(&'static T, u64)) -> Result<Self> {
        Self::create_with(initial, USER_REF, build)
    }

    /// As `create`, but the reference is one of the library's own.
    pub(crate) fn create_with_internal_ref(
        initial: u64,
        build: impl FnOnce(&'static T, u64),
    ) -> Result<Self> {
        Self::create_with(initial, INTERNAL_REF, build)
    }

    #[inline(always)]
    fn create_with(initial: u64, refs: u64, build: impl FnOnce(&'static T, u64)) -> Result<Self> {
        let cached = if slot_cache::is_cached(T::KIND) { slot_cache::take(T::KIND) } else { None };
        let address = match cached {
            Some(address) => address,
            None => Self::arena().allocate(size_of::<T>())?,
        };
        // SAFETY: as in `slot`; the arena gives each slot to one caller.
        let object: &'static T = unsafe { &*(address as *const T) };
        let generation = object.header().generation();
        build(object, generation | LIVE);
        object.header().publish(generation, initial, refs);
        Ok(Self::with_generation(object, generation))
    }

    /// The handle of an object that is known to live.
    pub(crate) fn of(object: &'static T) -> Self {
        Self::with_generation(object, object.header().generation())
    }

    /// The handle of the object that has this generation of the slot, which serves no other yet.
    pub(crate) fn with_generation(object: &T, generation: u64) -> Self {
        let address = core::ptr::from_ref(object) as usize;
        Self::from_bits(object.header().high_bits() | address | generation as usize)
    }

    /// Has a slot brought into the cache, to be used in a moment. Only a hint, for a slot in which any
    /// object or none may live: nothing is read.
    #[inline(always)]
    pub(crate) fn prefetch(slot: &'static T) {
        #[cfg(target_arch = "x86_64")]
        for line in (0..size_of::<T>()).step_by(64) {
            use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let address = core::ptr::from_ref(slot).cast::<i8>().wrapping_add(line);
            // SAFETY: a hint, which every processor of this kind knows.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(address) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = slot;
    }

    /// Does something with an object whose slot is held in its place meanwhile.
    pub(crate) fn with_pinned<R>(self, f: impl FnOnce(&'static T) -> Result<R>) -> Result<R> {
        let pin = self.pin()?;
        f(pin.object)
    }

    /// Reads what does not change while the object lives. Checked after the read: had the slot found a newer object, it
    /// could have been read from that one.
    pub(crate) fn read<R>(self, f: impl FnOnce(&'static T) -> R) -> Result<R> {
        let (object, tag) = self.slot()?;
        let read = f(object);
        fence(Ordering::Acquire);
        if object.header().is_live(tag) { Ok(read) } else { Err(Self::stale_error(object, tag)) }
    }

    /// One more reference for the caller, who owns it like the one that `new` gave.
    pub fn add_ref(self) -> Result<Self> {
        let (object, tag) = self.slot()?;
        object.header().add_user(tag).inspect_err(|_| Self::on_ref_failure(object, tag))?;
        Ok(self)
    }

    #[cold]
    #[inline(never)]
    fn unref_after_fork(self) {
        T::unref_after_fork(self);
    }

    /// Gives one of the callers' references back. The last one ends the object's life, unless the library
    /// keeps it alive; [`Error::Busy`] while threads are blocked on it.
    pub fn free(self) -> Result<()> {
        if T::KIND.is_self_referencing() && is_child() {
            Self::unref_after_fork(self);
        }
        let (object, tag) = self.slot()?;
        happens_before(object.header().refs());
        let is_busy = || object.is_busy(tag);
        if object.header().drop_user(tag, is_busy).inspect_err(|_| Self::on_ref_failure(object, tag))? {
            Self::destroy_object(object, tag);
        }
        Ok(())
    }

    /// A reference of the library's own.
    pub(crate) fn internal_ref(self) -> Result<Self> {
        let (object, tag) = self.slot()?;
        object.header().add_internal(tag).inspect_err(|_| Self::on_ref_failure(object, tag))?;
        Ok(self)
    }

    /// Gives one of the library's references back. The last one ends the object's life.
    pub(crate) fn internal_unref(self) {
        if let Ok((object, tag)) = self.slot() {
            happens_before(object.header().refs());
            if object.header().drop_internal(tag) {
                Self::destroy_object(object, tag);
            }
        }
    }

    fn destroy_object(object: &'static T, tag: u64) {
        object.invalidate(tag);
        happens_after(object.header().refs());
        object.dispose();
        if object.header().mark_dead(tag) {
            Self::recycle(object);
        }
    }

    /// The caller is not given a reference, and not relieved of one. If there is none left, no later call finds the object.
    #[cold]
    fn on_ref_failure(object: &'static T, tag: u64) {
        if object.header().is_dying(tag) {
            object.clear_live(tag);
        }
        object.on_stale_handle(tag);
    }

    /// Keeps the slot from being used again while the caller, who is about to block, may still look at it.
    /// The object itself may end.
    pub(crate) fn pin(self) -> Result<Pin<T>> {
        // A slot without an object is not written to: its memory may have been returned to the system.
        let (object, tag) = self.check()?;
        if !object.header().add_pin(tag) {
            return Err(Error::Handle);
        }
        let pin = Pin { object, tag, epoch: fork_epoch() };
        if object.header().is_live(tag) { Ok(pin) } else { Err(Error::Handle) }
    }

    /// A pin that another thread has set for the caller.
    pub(crate) fn adopt_pin(object: &'static T, tag: u64) -> Pin<T> {
        Pin { object, tag, epoch: fork_epoch() }
    }

    fn recycle(object: &'static T) {
        object.finalize();
        let retired = object.header().advance_generation();
        let address = core::ptr::from_ref(object) as usize;
        if slot_cache::is_cached(T::KIND) && !retired && slot_cache::put(T::KIND, address) {
            return;
        }
        Self::arena().free(address, retired);
    }

    /// The calling thread ends, and gives back the slot that it keeps.
    pub(crate) fn flush_slot_cache() {
        if let Some(slot) = slot_cache::disable(T::KIND) {
            Self::arena().free(slot, false);
        }
    }
}

/// Holds a slot in its place; see [`Handle::pin`].
pub(crate) struct Pin<T: Object> {
    object: &'static T,
    tag: u64,
    /// A pin of the parent's, held by the thread that forked, is forgotten already in the child.
    epoch: u32,
}

impl<T: Object> core::ops::Deref for Pin<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.object
    }
}

impl<T: Object> Drop for Pin<T> {
    fn drop(&mut self) {
        if self.epoch == fork_epoch() && self.object.header().drop_pin(self.tag) {
            Handle::recycle(self.object);
        }
    }
}

const _: () = assert!(TAG == GENERATION | LIVE);
