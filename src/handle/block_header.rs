//! The header of a block, and the slots that follow it.

use core::cell::Cell;
use core::ptr;

use crate::handle::block_table::BLOCK_KEY_SHIFT;
use crate::handle::blocks::BLOCK_SIZE;
use crate::handle::header::Header;
use crate::handle::layout::BLOCK_GENERATION_SHIFT;
use crate::sync::list::{Linked, Links};

/// The first slot of a block. Used under the mutex of the block's arena.
#[repr(C, align(64))]
pub(super) struct BlockHeader {
    /// In the place of an object's header: zero, which no handle matches.
    null_header: [u64; 4],
    /// The neighbours in `Slots::partial`.
    links: Links<BlockHeader>,
    /// The generation of the block.
    pub(super) generation: Cell<u16>,
    /// The number of slots that contain objects, are in a thread's slot cache or reserve, or are retired and will be
    /// freed later by the thread that has counted them.
    pub(super) used: Cell<u16>,
    /// The slot that was freed last, by its offset from this header in units of [`SLOT_UNIT`]; 0 is none.
    pub(super) free: Cell<u16>,
    /// The next slot that was never used, likewise; the size of the block if there is none.
    pub(super) unused: Cell<u16>,
    /// The first generation of slots that were never used.
    pub(super) first_generation: Cell<u8>,
    /// One more than the highest generation that a slot has used.
    pub(super) next_generation: Cell<u8>,
}

/// The sizes of slots are multiples of this.
pub(super) const SLOT_UNIT: usize = 64;

const _: () = assert!(size_of::<BlockHeader>() <= SLOT_UNIT);

impl Linked for BlockHeader {
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

impl BlockHeader {
    /// Returns the header of the block that contains a slot.
    pub(super) fn of(slot: usize) -> &'static BlockHeader {
        // SAFETY: slots are in allocated blocks, which are aligned and begin with their header.
        unsafe { &*((slot & !(BLOCK_SIZE - 1)) as *const BlockHeader) }
    }

    pub(super) fn address(&self) -> usize {
        ptr::from_ref(self) as usize
    }

    pub(super) fn key(&self) -> usize {
        (self.address() | high_bits(self.generation.get())) >> BLOCK_KEY_SHIFT
    }

    pub(super) fn slot(&self, offset: u16) -> &'static Header {
        // SAFETY: the slots of a block follow its header; each begins with a header of its own, for which all-zero is
        // valid.
        unsafe { &*((self.address() + usize::from(offset) * SLOT_UNIT) as *const Header) }
    }

    pub(super) fn has_room(&self) -> bool {
        self.free.get() != 0 || usize::from(self.unused.get()) < BLOCK_SIZE / SLOT_UNIT
    }

    /// Takes a slot of `size` bytes out of a block that has room. Returns its offset.
    pub(super) fn pop(&self, size: usize) -> u16 {
        match self.free.get() {
            0 => {
                let unused = self.unused.get();
                self.unused.set(unused + (size / SLOT_UNIT) as u16);
                let first = self.first_generation.get();
                self.slot(unused).init(first.into(), high_bits(self.generation.get()));
                unused
            }
            free => {
                self.free.set(self.slot(free).next_free());
                free
            }
        }
    }
}

/// Returns the generation of a block in its position in a handle.
fn high_bits(generation: u16) -> usize {
    usize::from(generation).checked_shl(BLOCK_GENERATION_SHIFT).unwrap_or(0)
}

/// Slots of one block that a thread has allocated for later use, linked by `next_free`.
#[derive(Clone, Copy, Default)]
pub(super) struct Reserve {
    /// The address of the first slot. If none is left, that of another slot of the same block; 0 if there never was
    /// one.
    pub(super) first: usize,
    pub(super) length: usize,
}

impl Reserve {
    /// Takes a slot.
    pub(super) fn take(&mut self) -> Option<usize> {
        self.length = self.length.checked_sub(1)?;
        let taken = self.first;
        if self.length > 0 {
            let block = BlockHeader::of(taken);
            // Only the thread that owns the reserve accesses the slot's header.
            let next = block.slot(((taken - block.address()) / SLOT_UNIT) as u16).next_free();
            self.first = ptr::from_ref(block.slot(next)) as usize;
        }
        Some(taken)
    }

    /// Whether a slot is in the same block.
    pub(super) fn is_in_block_of(&self, slot: usize) -> bool {
        self.first / BLOCK_SIZE == slot / BLOCK_SIZE
    }
}
