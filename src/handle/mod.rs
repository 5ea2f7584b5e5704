//! Handles: how objects are named, found, kept alive and destroyed.
//!
//! # A handle
//!
//! | bits | meaning |
//! |---|---|
//! | 0 to 5 | the generation of the slot, 1 to 63 |
//! | 6 to 47 | the address of the slot, a multiple of 64 |
//! | 48 to 63 | the generation of the block in which the slot lies |
//!
//! (Where addresses have 32 bits, handles have 32 bits, too, and the generation of the block is always 0.)
//!
//! The library can check whether any integer is a valid handle. The bits above the low 16 (the address and the
//! generation of a block) must be in the table of the kind. Then the address is that of a slot whose header can be
//! read, and the first word of the header contains the generation of the object in the slot. A *stale handle* is one
//! whose object has been freed.
//!
//! # The life of an object
//!
//! 1. `Handle::create` takes a slot, initializes it, and publishes it with one reference.
//! 2. References keep the object alive: those of the user (`add_ref`, `free`), and those of the library
//!    (`internal_ref`, `internal_unref`). A timer's reference to itself stays in the count after the timer has
//!    dropped it, which the timer's state says: see [`refs`].
//! 3. The thread that releases the last reference destroys the object: `invalidate` makes all handles to it stale and
//!    aborts waits, and `dispose` releases what the object owns, and may call callbacks.
//! 4. A thread that is in a blocking call on the object *pins* the slot, which is not reused as long as it is pinned.
//!    The thread that removes the last pin, or the one of step 3 if there is none, calls `finalize` and recycles the
//!    slot: it advances the generation, so that handles of the former object do not match the next one.
//!
//! Methods of an object take the `tag` (the generation and `LIVE`) as an argument, and compare it in the same atomic
//! operation that changes the state word. So the object cannot be destroyed between the check and the use.
//!
//! # The parts
//!
//! - [`header`] is the beginning of each slot: the state word, the references ([`refs`]) and the pins ([`pins`]);
//! - [`slot_cache`] keeps a free slot of each kind for each thread;
//! - [`blocking_call`] is a call that goes on in a child of fork, and [`waiter_count`] has what is common to objects
//!   whose word counts their waiters;
//! - [`note`] has the name of an object and the statistics of its waits, for reports;
//! - [`arena`] allocates the slots of one kind. They are in blocks, each of which begins with a [`block_header`], and
//!   is found by the [`block_table`];
//! - [`blocks`] allocates memory to the arenas.
//!
//! The file exceeds 400 lines with its documentation: a handle has one set of methods, which all kinds share.

pub(crate) mod arena;
pub(crate) mod block_header;
pub(crate) mod block_table;
pub(crate) mod blocking_call;
pub(crate) mod blocks;
pub(crate) mod header;
mod kind;
pub(crate) mod layout;
pub(crate) mod note;
mod pins;
mod refs;
pub(crate) mod slot_cache;
pub(crate) mod waiter_count;

use crate::sys::atomic::{Ordering, fence, fence_after_rmw};
use crate::sys::prefetch::prefetch_for_write;
use core::marker::PhantomData;

use crate::error::{Error, Result};
use crate::sync::fork_epoch::{fork_epoch, is_child};
use crate::sync::own_waiter::OwnWaiter;
use crate::sys::annotate::{happens_after, happens_before};
use arena::Arena;
use header::{Header, LIVE, TAG};
pub(crate) use kind::ObjectKind;
use layout::{ADDRESS, GENERATION};
use refs::{INTERNAL_REF, USER_REF};

/// A type that handles can refer to.
///
/// # Safety
/// All-zero is a valid value of the type, values can be shared between threads, the size is a power of two and at
/// most that of a block, and the header comes first.
pub(crate) unsafe trait Object: Sized + Sync + 'static {
    const KIND: ObjectKind;

    /// Whether threads may pin slots of this kind. The slots of other kinds are recycled without a check of the pins.
    const IS_PINNED: bool = true;

    /// Whether an object's reference to itself stays in the count after the object has dropped it, until the object is
    /// destroyed. This saves an atomic operation for each object that is started and ended.
    const KEEPS_SELF_REF: bool = false;

    fn header(&self) -> &Header;

    /// For kinds that keep it: whether the object has had a reference to itself, and has dropped it. If so, what the
    /// object did before happens before the return. May be called after the object was destroyed.
    fn has_dropped_self_ref(&self) -> bool {
        false
    }

    /// Whether threads are blocked on the object, so that the user must not release the last reference.
    fn is_busy(&self, tag: u64) -> bool {
        let _ = tag;
        false
    }

    /// Ends the validity of all handles to the object: clears `LIVE` in the word, and aborts the waits of threads
    /// that are blocked on the object. Called once. This implementation is for kinds on which no thread blocks, and
    /// whose word does not change while they live.
    fn invalidate(&self, tag: u64) {
        self.header().clear_live_nonatomic(tag);
    }

    /// Only clears `LIVE`, unless it is cleared already. Does not wait for a mutex. Called by threads that use the
    /// object after the last reference was released, and before `invalidate` is called.
    fn clear_live(&self, tag: u64) {
        self.header().clear_live(tag);
    }

    /// A call is about to fail because its handle is stale. Kinds whose objects leave values in threads remove them
    /// here.
    fn on_stale_handle(&self, tag: u64) {
        let _ = tag;
    }

    /// In a child of fork that the calling thread has forked during its blocking call on the object: prepares the
    /// object for the call, which goes on. The slot is pinned.
    fn keep_blocking_call(&'static self, tag: u64, waiter: &OwnWaiter) {
        let _ = (tag, waiter);
    }

    /// In a child of fork, before a user's reference is released: if the object holds a reference to itself for a
    /// thread that the child does not have, releases that reference.
    fn unref_after_fork(handle: Handle<Self>) {
        let _ = handle;
    }

    /// Releases what the object owns. Called once, after `invalidate`. No mutex is held, so callbacks may be called.
    fn dispose(&self) {}

    /// Frees what threads may access as long as the slot is pinned. Called once, after `dispose`, when there is no
    /// pin. Mutexes may be held, so callbacks must not be called.
    fn finalize(&self) {}
}

/// Identifies an object. It can be copied, and owns no reference. An [`OwnedHandle`](crate::OwnedHandle) owns one.
///
/// It has the methods of the object, under the names of the C API. Each of them checks the handle first: if the
/// object has been freed, the call returns [`Error::Handle`], even if another object now uses the memory. The
/// constructors of a handle return a reference that the caller releases with [`free`](Handle::free); those of
/// [`Lock`](crate::Lock) and the other types return an owned handle.
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
    /// The null handle, which never refers to an object.
    pub const NULL: Self = Self::from_bits(0);

    /// Creates a handle from any integer, valid or not. Not public, because Rust programs get handles only from
    /// constructors.
    #[inline(always)]
    pub(crate) const fn from_bits(bits: usize) -> Self {
        Handle { bits, kind: PhantomData }
    }

    /// Returns the integer that C code sees as a pointer.
    #[inline(always)]
    pub const fn bits(self) -> usize {
        self.bits
    }
}

#[expect(private_bounds, reason = "the kinds are this crate's")]
impl<T: Object> Handle<T> {
    /// Returns the slot, if the handle leads to one, and the tag that the slot's word has while the object lives. The
    /// caller compares the tag in the same operation that reads or changes the word.
    #[inline(always)]
    pub(crate) fn slot(self) -> Result<(&'static T, u64)> {
        self.slot_in(Arena::has_key)
    }

    /// As `slot`, for the fast paths. Fails while a race detector is active, because the fast paths do not call
    /// its annotations.
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
        // stays mapped: a block is unmapped only after its generations are used up, and many millions of other objects
        // have been created.
        Ok((unsafe { &*(address as *const T) }, (self.bits as u64 & GENERATION) | LIVE))
    }

    /// As `slot`, without a check of the address.
    ///
    /// # Safety
    /// The handle is valid, or has been valid before.
    #[inline(always)]
    pub(crate) unsafe fn slot_unchecked(self) -> (&'static T, u64) {
        let address = self.bits & ADDRESS;
        // SAFETY: by the caller's promise, the address is that of a slot; the rest is as in `slot_in`.
        (unsafe { &*(address as *const T) }, (self.bits as u64 & GENERATION) | LIVE)
    }

    /// Returns the slot and the tag, if the object is alive. It may be freed at any time after this check.
    #[inline]
    pub(crate) fn check(self) -> Result<(&'static T, u64)> {
        let (object, tag) = self.slot()?;
        if object.header().is_live(tag) { Ok((object, tag)) } else { Err(Self::stale_error(object, tag)) }
    }

    /// Returns the object, if it is alive. As `check`, but for a caller that does not fail with the error.
    #[inline]
    pub(crate) fn live_object(self) -> Option<&'static T> {
        let (object, tag) = self.slot().ok()?;
        object.header().is_live(tag).then_some(object)
    }

    /// The error of a call with a stale handle.
    #[cold]
    fn stale_error(object: &'static T, tag: u64) -> Error {
        object.on_stale_handle(tag);
        Error::Handle
    }

    /// For an argument that is checked before the handle: if both are invalid, the call fails with the handle's
    /// error.
    #[inline(always)]
    pub(crate) fn or_handle_error<V>(self, argument: Result<V>) -> Result<V> {
        match argument {
            Ok(value) => Ok(value),
            Err(error) => self.check().and(Err(error)),
        }
    }

    /// Iterates over the objects of this type that are alive, with their tags, without a lock: for reports. Objects may
    /// be created and freed during the iteration.
    pub(crate) fn unlocked_objects() -> impl Iterator<Item = (&'static T, u64)> {
        let handles = Self::arena().unlocked_handles(size_of::<T>()).map(Self::from_bits);
        handles.filter_map(|handle| {
            // SAFETY: the handles lead to slots that are, or were until recently, of this kind, and stay mapped.
            let (object, tag) = unsafe { handle.slot_unchecked() };
            // If the block serves another kind by now, the word may look like that of an object.
            (object.header().is_live(tag) && Self::arena().has_key(handle.bits)).then_some((object, tag))
        })
    }

    #[inline(always)]
    fn arena() -> &'static Arena {
        &arena::ARENAS[T::KIND as usize]
    }

    /// Creates an object: `build` initializes the slot, and then the word is published with `initial` above its tag,
    /// which makes the handle valid. The caller owns one reference.
    pub(crate) fn create(initial: u64, build: impl FnOnce(&'static T, u64)) -> Result<Self> {
        Self::create_with(initial, USER_REF, build)
    }

    /// As `create`, but the reference is one of the library's.
    pub(crate) fn create_with_internal_ref(
        initial: u64,
        build: impl FnOnce(&'static T, u64),
    ) -> Result<Self> {
        Self::create_with(initial, INTERNAL_REF, build)
    }

    #[inline(always)]
    fn create_with(initial: u64, refs: u64, build: impl FnOnce(&'static T, u64)) -> Result<Self> {
        let address = match slot_cache::take(T::KIND) {
            Some(address) => address,
            None => slot_cache::allocate(T::KIND, size_of::<T>())?,
        };
        // SAFETY: as in `slot_in`; the arena allocates each slot to one caller.
        let object: &'static T = unsafe { &*(address as *const T) };
        let generation = object.header().generation();
        build(object, generation | LIVE);
        object.header().publish(generation, initial, refs);
        Ok(Self::with_generation(object, generation))
    }

    /// Returns the handle of an object that the caller knows to be alive.
    pub(crate) fn of(object: &'static T) -> Self {
        Self::with_generation(object, object.header().generation())
    }

    /// Returns the handle of the object with this generation of the slot, which must not have been recycled yet.
    pub(crate) fn with_generation(object: &T, generation: u64) -> Self {
        let address = core::ptr::from_ref(object) as usize;
        Self::from_bits(object.header().high_bits() | address | generation as usize)
    }

    /// Returns the address of the slot.
    pub(super) fn slot_address(self) -> usize {
        self.bits & ADDRESS
    }

    /// Prefetches a slot that will soon be changed. This is only a hint: the slot may contain any object or none.
    #[inline(always)]
    pub(crate) fn prefetch(slot: &'static T) {
        for line in (0..size_of::<T>()).step_by(64) {
            prefetch_for_write(core::ptr::from_ref(slot).cast::<u8>().wrapping_add(line));
        }
    }

    /// Calls `f` with the object while its slot is pinned.
    pub(crate) fn with_pinned<R>(self, f: impl FnOnce(&'static T) -> Result<R>) -> Result<R> {
        let pin = self.pin()?;
        f(pin.object)
    }

    /// For `Object::is_busy`: whether `f`, which may lock a mutex of the object, returns true while the slot is pinned.
    /// False if another thread has released the last reference.
    pub(crate) fn is_alive_and(object: &T, tag: u64, f: impl FnOnce(&T) -> bool) -> bool {
        let handle = Self::with_generation(object, tag & GENERATION);
        handle.pin().is_ok_and(|pin| f(&pin) && pin.header().is_live(tag))
    }

    /// Reads data that does not change while the object lives. The handle is checked after the read, because the data
    /// may have been that of a newer object in the same slot.
    pub(crate) fn read<R>(self, f: impl FnOnce(&'static T) -> R) -> Result<R> {
        let (object, tag) = self.slot()?;
        let read = f(object);
        fence(Ordering::Acquire);
        if object.header().is_live(tag) { Ok(read) } else { Err(Self::stale_error(object, tag)) }
    }

    /// Adds a reference, which the caller must release with [`free`](Handle::free), like the one from the
    /// constructor.
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

    /// Releases one of the user's references. If the object has no other reference, this destroys the object, or fails
    /// with [`Error::Busy`] if threads are blocked on it.
    #[inline(always)]
    pub fn free(self) -> Result<()> {
        if T::KIND.is_self_referencing() && is_child() {
            Self::unref_after_fork(self);
        }
        let (object, tag) = self.slot()?;
        happens_before(object.header().refs());
        let is_busy = || object.is_busy(tag);
        let dropped = object.header().drop_user(tag, is_busy, || object.has_dropped_self_ref());
        if dropped.inspect_err(|_| Self::on_ref_failure(object, tag))? {
            Self::destroy_object(object, tag);
        } else if T::KEEPS_SELF_REF {
            Self::destroy_if_only_self_ref(object, tag);
        }
        Ok(())
    }

    /// Adds a reference of the library's.
    pub(crate) fn internal_ref(self) -> Result<Self> {
        let (object, tag) = self.slot()?;
        Self::internal_ref_of(object, tag)?;
        Ok(self)
    }

    /// As `internal_ref`, for a caller that knows the slot and the tag.
    #[inline(always)]
    pub(crate) fn internal_ref_of(object: &'static T, tag: u64) -> Result<()> {
        object.header().add_internal(tag).inspect_err(|_| Self::on_ref_failure(object, tag))
    }

    /// Releases one of the library's references. If the object has no other reference, this destroys the object.
    #[inline(never)]
    pub(crate) fn internal_unref(self) {
        if let Ok((object, tag)) = self.slot() {
            if Self::drop_internal(object, tag) {
                Self::destroy_object_out_of_line(object, tag);
            }
        }
    }

    /// As `internal_unref`, for a caller that knows the slot and the tag.
    #[inline(always)]
    pub(crate) fn internal_unref_of(object: &'static T, tag: u64) {
        if Self::drop_internal(object, tag) {
            Self::destroy_object(object, tag);
        }
    }

    /// Releases one of the library's references. Returns true if the caller must destroy the object.
    #[inline(always)]
    fn drop_internal(object: &'static T, tag: u64) -> bool {
        happens_before(object.header().refs());
        object.header().drop_internal(tag, || object.has_dropped_self_ref())
            || T::KEEPS_SELF_REF && Self::claim_dropped_self_ref(object, tag)
    }

    /// Destroys the object if it has dropped its reference to itself and there is no other one. Called by the thread
    /// that has made the object drop that reference, after a read-modify-write operation that followed this change. The
    /// object may have been destroyed before.
    #[inline(always)]
    pub(crate) fn destroy_if_only_self_ref(object: &'static T, tag: u64) {
        if Self::claim_dropped_self_ref(object, tag) {
            Self::destroy_object_out_of_line(object, tag);
        }
    }

    /// Returns true if the object has dropped its reference to itself, there is no other one, and the caller must
    /// destroy the object. Called by each thread that has released a reference, and by the one that has made the object
    /// drop its reference to itself. Each thread makes its change before it looks at the other's (Dekker's pattern), so
    /// that at least one of them finds both.
    #[inline(always)]
    pub(crate) fn claim_dropped_self_ref(object: &'static T, tag: u64) -> bool {
        fence_after_rmw();
        // If the state is that of a later object in the slot, the generation in the references is, too.
        object.has_dropped_self_ref() && object.header().claim_self_ref(tag)
    }

    /// Destroys the object, for a caller that must do so.
    #[inline(never)]
    pub(crate) fn destroy_object_out_of_line(object: &'static T, tag: u64) {
        Self::destroy_object(object, tag);
    }

    #[inline(always)]
    fn destroy_object(object: &'static T, tag: u64) {
        object.invalidate(tag);
        happens_after(object.header().refs());
        object.dispose();
        if !T::IS_PINNED || object.header().pins.mark_dead(tag) {
            Self::recycle(object);
        }
    }

    /// A reference or a pin could not be added, or a reference not released. If another thread is releasing the last
    /// reference, clears `LIVE`, so that no later call finds the object alive.
    #[cold]
    fn on_ref_failure(object: &'static T, tag: u64) {
        if object.header().is_dying(tag) {
            object.clear_live(tag);
        }
        object.on_stale_handle(tag);
    }

    /// Pins the slot, so that it is not reused while the caller is blocked and may access it. The object itself may
    /// be freed.
    pub(crate) fn pin(self) -> Result<Pin<T>> {
        const { assert!(T::IS_PINNED) };
        // A slot without an object must not be written: its memory may have been returned to the OS.
        let (object, tag) = self.check()?;
        if !object.header().pins.add(tag) {
            return Err(Error::Handle);
        }
        let pin = Pin { object, tag, epoch: fork_epoch() };
        // In this order: a thread that has destroyed the object clears `LIVE` before it ends `DYING`, but another
        // processor may observe that `LIVE` is cleared only after the pins were read.
        if !object.header().is_dying(tag) && object.header().is_live(tag) {
            return Ok(pin);
        }
        Self::on_ref_failure(object, tag);
        Err(Error::Handle)
    }

    #[cold]
    #[inline(never)]
    fn recycle_out_of_line(object: &'static T) {
        Self::recycle(object);
    }

    #[inline(always)]
    fn recycle(object: &'static T) {
        object.finalize();
        let retired = object.header().advance_generation();
        let address = core::ptr::from_ref(object) as usize;
        if retired || !slot_cache::put(T::KIND, address) {
            slot_cache::free(T::KIND, address, size_of::<T>(), retired);
        }
    }
}

/// A pin of a slot, removed when it is dropped. See [`Handle::pin`].
pub(crate) struct Pin<T: Object> {
    object: &'static T,
    tag: u64,
    /// The fork epoch in which the pin was added. In a child of fork, the parent's pins are not counted.
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
        if self.epoch == fork_epoch() && self.object.header().pins.remove(self.tag) {
            Handle::recycle_out_of_line(self.object);
        }
    }
}

const _: () = assert!(TAG == GENERATION | LIVE);
