//! Where slots come from: one range of addresses per kind, reserved when the kind is first used.
//!
//! Address space is reserved without access and costs nothing; memory is committed a megabyte at a time as
//! slots are needed. The range is cut into blocks of 64 KiB. The first slot of a block is never an object: it
//! counts how many of the others have used up their 63 generations. Such slots stay out of use, and when a
//! block has nothing else left, its memory goes back to the system (it reads as zero from then on, which is
//! no object) while its addresses stay out of use, until the whole range has been through. So a stale handle
//! meets another generation, or nothing, even after billions of newer objects.

// Not the ones of `crate::atomic`: what is committed is no part of any object's protocol, and each call looks at it.
use core::sync::atomic::AtomicUsize;

use crate::atomic::{AtomicU32, Ordering};
use core::ptr;

use super::header::Header;
use crate::detector;
use crate::error::{Error, Result};
use crate::park::guarded::{Forget, Guarded};

/// How many kinds there are.
pub(crate) const KINDS: usize = 10;

/// The arenas, by `Kind::INDEX`.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_own"))]
pub(crate) static ARENAS: [Arena; KINDS] = [const { Arena::new() }; KINDS];

const BLOCK: usize = 64 * 1024;
const COMMIT: usize = 1024 * 1024;

/// As much as anybody could need; a process whose address space is limited gets a 64th of the limit.
pub(crate) const RESERVE: usize = if cfg!(target_pointer_width = "64") { 64 << 30 } else { 64 << 20 };
const SHARE_OF_LIMIT: usize = 64;

pub(crate) struct Arena {
    base: AtomicUsize,
    /// Bytes from `base` that can be read. Only grows; published with release after the memory is there.
    committed: AtomicUsize,
    /// The same for the short ways; 0 while a race detector watches.
    committed_at_once: AtomicUsize,
    slots: Guarded<Slots>,
}

/// The first slot of a block.
#[repr(C, align(64))]
struct BlockHeader {
    /// Where an object has its header: zero, so that no handle fits.
    no_object: [u64; 4],
    in_use: AtomicU32,
    used_up: AtomicU32,
}

struct Slots {
    reserved: usize,
    /// The slot to use next of those that were given back: the last one first, whose cache line is warm.
    free: *const Header,
    /// The slots of the newest block that were never used.
    fresh: usize,
    fresh_end: usize,
    /// The block after the newest.
    next_block: usize,
}

// SAFETY: the pointer leads to slots, which are shared memory.
unsafe impl Send for Slots {}

impl Forget for Slots {
    fn forget(&mut self) {
        // The slots that are free are lost to the child, and those of the newest block that were never used.
        *self = Slots { reserved: self.reserved, next_block: self.next_block, ..Slots::NONE };
    }
}

impl Slots {
    const NONE: Self = Slots { reserved: 0, free: ptr::null(), fresh: 0, fresh_end: 0, next_block: 0 };
}

impl Arena {
    const fn new() -> Self {
        Arena {
            base: AtomicUsize::new(0),
            committed: AtomicUsize::new(0),
            committed_at_once: AtomicUsize::new(0),
            slots: Guarded::new(Slots::NONE),
        }
    }

    /// Whether a slot's header can be read at this address.
    #[inline(always)]
    pub(super) fn contains(&self, address: usize) -> bool {
        // Acquire pairs with the release in `commit`; without memory in between, as for a made-up handle, it
        // decides nothing.
        let committed = self.committed.load(Ordering::Acquire);
        address.wrapping_sub(self.base.load(Ordering::Relaxed)) < committed
    }

    /// As `contains`, for the short ways, which announce nothing: false while a race detector watches.
    #[inline(always)]
    pub(super) fn contains_at_once(&self, address: usize) -> bool {
        let committed = self.committed_at_once.load(Ordering::Acquire);
        address.wrapping_sub(self.base.load(Ordering::Relaxed)) < committed
    }

    /// A slot of `size` bytes that nobody uses.
    pub(super) fn allocate(&self, size: usize) -> Result<usize> {
        let mut slots = self.slots.lock();
        if !slots.free.is_null() {
            let slot = slots.free;
            // SAFETY: slots on the free list are readable for ever.
            slots.free = unsafe { (*slot).next_free.load(Ordering::Relaxed) } as *const Header;
            return Ok(slot as usize);
        }
        if slots.fresh == slots.fresh_end {
            let block = self.next_block(&mut slots)?;
            slots.fresh = block + size;
            slots.fresh_end = block + BLOCK;
        }
        let slot = slots.fresh;
        slots.fresh += size;
        Ok(slot)
    }

    /// Takes back a slot whose object is gone. `used_up`: it has no generation left.
    pub(super) fn give_back(&self, slot: usize, size: usize, used_up: bool) {
        let mut slots = self.slots.lock();
        if !used_up {
            let header = slot as *const Header;
            // SAFETY: a slot of this arena, which nobody uses.
            unsafe { (*header).next_free.store(slots.free as u64, Ordering::Relaxed) };
            slots.free = header;
            return;
        }
        let block = slot & !(BLOCK - 1);
        // SAFETY: each block in use begins with its header; blocks are aligned, as the base is.
        let header = unsafe { &*(block as *const BlockHeader) };
        let used_up = header.used_up.fetch_add(1, Ordering::Relaxed) as usize + 1;
        if used_up == BLOCK / size - 1 {
            // SAFETY: no object lives in this block; who still reads there with a stale handle reads zeros,
            // which no handle fits.
            unsafe { libc::madvise(block as *mut libc::c_void, BLOCK, libc::MADV_DONTNEED) };
        }
    }

    fn next_block(&self, slots: &mut Slots) -> Result<usize> {
        if slots.reserved == 0 {
            self.reserve(slots)?;
        }
        let base = self.base.load(Ordering::Relaxed);
        for _ in 0..slots.reserved / BLOCK {
            let offset = if slots.next_block == slots.reserved { 0 } else { slots.next_block };
            if offset >= self.committed.load(Ordering::Relaxed) {
                self.commit(base, offset)?;
            }
            slots.next_block = offset + BLOCK;
            // SAFETY: committed above, and aligned; zero is a valid header.
            let header = unsafe { &*((base + offset) as *const BlockHeader) };
            if header.in_use.swap(1, Ordering::Relaxed) == 0 {
                return Ok(base + offset);
            }
        }
        Err(Error::NoMemory)
    }

    fn reserve(&self, slots: &mut Slots) -> Result<()> {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `limit` is there to write to.
        let limited = unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut limit) } == 0
            && limit.rlim_cur != libc::RLIM_INFINITY;
        let mut size = RESERVE;
        if limited {
            size = size.min(limit.rlim_cur as usize / SHARE_OF_LIMIT);
        }
        // Where even that is refused, less will have to do.
        while size >= COMMIT {
            size &= !(COMMIT - 1);
            if let Some(start) = map(size + BLOCK, libc::PROT_NONE, libc::MAP_NORESERVE) {
                self.base.store(start.next_multiple_of(BLOCK), Ordering::Relaxed);
                slots.reserved = size;
                return Ok(());
            }
            size /= 4;
        }
        Err(Error::NoMemory)
    }

    fn commit(&self, base: usize, offset: usize) -> Result<()> {
        // Made accessible where it is: to map it anew would unmap it first, and a refusal then could leave a hole
        // in the range, which others' memory might fill. The system counts what becomes writable as it would count
        // a new mapping, but does not look at the limit of the address space, in which the range was counted when
        // it was reserved. A limit that has been set, or reached, since then is to refuse new objects all the
        // same: so it is asked about a page.
        let page = map(1, libc::PROT_NONE, 0).ok_or(Error::NoMemory)?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the page was mapped above, and nobody knows it; the rest lies in a range that this arena has
        // reserved and not used.
        let refused = unsafe {
            libc::munmap(page as *mut libc::c_void, 1);
            libc::mprotect((base + offset) as *mut libc::c_void, COMMIT, protection) != 0
        };
        if refused {
            return Err(Error::NoMemory);
        }
        detector::leave_alone((base + offset) as *const u8, COMMIT);
        detector::holds_pointers(base + offset, COMMIT);
        self.committed.store(offset + COMMIT, Ordering::Release);
        if !detector::watches() {
            self.committed_at_once.store(offset + COMMIT, Ordering::Release);
        }
        Ok(())
    }

    /// Holds the arena across a fork.
    pub(crate) fn hold(&self) {
        self.slots.hold();
    }

    /// Gives back what `hold` took.
    ///
    /// # Safety
    /// As for `Guarded::let_go`.
    pub(crate) unsafe fn let_go(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.slots.let_go() };
    }

    /// As `let_go`, in a child of fork.
    ///
    /// # Safety
    /// As for `Guarded::renew`.
    pub(crate) unsafe fn renew(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.slots.renew() };
    }
}

/// Before each run of a model: all slots are as they were when nobody had used any.
#[cfg(model)]
pub(crate) fn reset() {
    for arena in &ARENAS {
        let mut slots = arena.slots.lock();
        let used = slots.next_block;
        *slots = Slots { reserved: slots.reserved, ..Slots::NONE };
        drop(slots);
        // SAFETY: committed, and zero is what fresh memory holds.
        unsafe { ptr::write_bytes(arena.base.load(Ordering::Relaxed) as *mut u8, 0, used) };
    }
}

fn map(size: usize, protection: i32, flags: i32) -> Option<usize> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags;
    // SAFETY: asks for new memory, wherever there is some.
    let start = unsafe { libc::mmap(ptr::null_mut(), size, protection, flags, -1, 0) };
    (start != libc::MAP_FAILED).then_some(start as usize)
}
