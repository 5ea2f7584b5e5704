//! The arena of a kind: allocates its slots, and checks whether an integer can be a handle to one of them.
//!
//! An arena has [`blocks`](crate::handle::blocks) of 64 KiB, divided into slots. The first slot of a block is never
//! used for an object: it holds the block's header.
//!
//! # The slots of a block
//!
//! | the block is in | state | transition |
//! |---|---|---|
//! | the list `partial` | some slots are free or were never used | `allocate`, if it takes the last of these: to no list |
//! | no list | all slots are in use, or have no generation left | `free` of a slot with a generation left: to `partial` |
//!
//! `allocate` uses the first block of the list: the slot that was freed last, or else the next that was never used. In
//! a child of fork, `mark_all_slots_used` may remove all blocks from the list.
//!
//! A block without objects is returned to the pool if no slot has a generation left, or if the arena already keeps
//! [`MAX_EMPTY_BLOCKS`] others without objects, plus one sixteenth of the largest number of blocks that it has had.

use core::ops::Deref;
use core::ptr;

use crate::error::Result;
use crate::handle::block_header::{BlockHeader, Reserve, SLOT_UNIT};
use crate::handle::block_table::{BLOCK_KEY_SHIFT, BlockTable, Keys};
use crate::handle::blocks::{BLOCK_SIZE, Block, POOL};
use crate::handle::header::Header;
use crate::handle::kind::ObjectKind;
use crate::handle::layout::{ADDRESS, BLOCK_GENERATION_BITS, GENERATION};
use crate::sync::fork_lock::ForkLock;
use crate::sync::list::List;
use crate::sync::mutex::{ForkReset, InternalMutex};
use crate::sys::offsets::offsets;

/// The arenas, by kind.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
pub(crate) static ARENAS: [Arena; ObjectKind::COUNT] = [const { Arena::new() }; ObjectKind::COUNT];

/// The number of blocks without objects that an arena keeps in any case.
const MAX_EMPTY_BLOCKS: usize = 16;
/// In addition, it keeps the largest number of blocks that it has had, divided by this.
const EMPTY_BLOCKS_DIVISOR: usize = 16;

#[repr(C, align(64))]
pub(crate) struct Arena {
    /// Changed under the mutex of `slots`.
    table: BlockTable,
    slots: SlotsLine,
}

/// The arena's mutex, on cache lines of its own: all calls read the other fields of the arena.
#[repr(C, align(64))]
struct SlotsLine(InternalMutex<Slots>);

impl Deref for SlotsLine {
    type Target = InternalMutex<Slots>;

    #[inline(always)]
    fn deref(&self) -> &InternalMutex<Slots> {
        &self.0
    }
}

offsets!(ArenaOffsets of Arena: table);

/// The handles of the slots of an arena. Not a chain of adapters, which would be compiled for each use.
pub(crate) struct UnlockedHandles {
    keys: Keys,
    /// The current block, as the part of its handles that they have in common.
    block: usize,
    /// The next slot in it.
    offset: usize,
    size: usize,
}

impl UnlockedHandles {
    #[inline(never)]
    fn next_block(&mut self) -> Option<()> {
        self.block = self.keys.next()? << BLOCK_KEY_SHIFT;
        self.offset = self.size;
        Some(())
    }
}

impl Iterator for UnlockedHandles {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        loop {
            if self.offset < BLOCK_SIZE {
                let offset = self.offset;
                // SAFETY: a block that is in the table, or was until recently, is mapped; its slots begin with headers.
                let header = unsafe { &*(((self.block & ADDRESS) + offset) as *const Header) };
                let generation = header.generation_or_zero();
                // Slots are used in the order of their addresses, and those that were never used have no generation.
                if generation != 0 {
                    self.offset += self.size;
                    return Some(self.block | offset | generation);
                }
            }
            self.next_block()?;
        }
    }
}

struct Slots {
    /// The list of blocks with a free or unused slot.
    partial: List<BlockHeader>,
    /// The number of blocks, the largest number that there has been, and the number of blocks without objects.
    blocks: usize,
    peak_blocks: usize,
    empty: usize,
    /// In a child of fork: another thread of the parent was changing this, and the headers of blocks.
    was_interrupted: bool,
}

// SAFETY: the pointer leads to blocks, which any thread may access.
unsafe impl Send for Slots {}

impl ForkReset for Slots {
    fn reset_in_child(&mut self) {
        self.was_interrupted = true;
    }
}

impl Slots {
    const fn new() -> Self {
        Slots { partial: List::new(), blocks: 0, peak_blocks: 0, empty: 0, was_interrupted: false }
    }

    #[cold]
    fn push(&mut self, block: &'static BlockHeader) {
        self.partial.push_front(block);
    }

    #[cold]
    fn remove(&mut self, block: &'static BlockHeader) {
        self.partial.remove(block);
    }

    /// Updates the counts after slots were taken out of `block`, the first one in `partial`.
    fn on_allocated(&mut self, block: &'static BlockHeader, count: u16) {
        if !block.has_room() {
            self.remove(block);
        }
        let used = block.used.get();
        block.used.set(used + count);
        self.empty -= usize::from(used == 0);
    }

    /// Whether the arena has more blocks without objects than it keeps.
    fn has_excess_empty(&self) -> bool {
        self.empty > MAX_EMPTY_BLOCKS + self.peak_blocks / EMPTY_BLOCKS_DIVISOR
    }
}

impl Arena {
    const fn new() -> Self {
        Arena { table: BlockTable::new(), slots: SlotsLine(InternalMutex::new(Slots::new())) }
    }

    /// Returns whether this can be a handle to a slot of this kind, of any generation. A result of false may be wrong.
    #[inline(always)]
    pub(super) fn has_key_fast(&self, bits: usize) -> bool {
        self.table.has_key_fast(bits >> BLOCK_KEY_SHIFT)
    }

    /// As `has_key_fast`, but false is exact.
    #[inline(always)]
    pub(crate) fn has_key(&self, bits: usize) -> bool {
        // The first slot of a block is not an object. Its memory must not be used as an object's mutex, which some
        // calls lock before they check the word.
        let is_first = bits & (BLOCK_SIZE - SLOT_UNIT) == 0;
        !is_first && (self.has_key_fast(bits) || self.table.search(bits >> BLOCK_KEY_SHIFT))
    }

    /// Iterates over the handles that the slots of this kind, of `size` bytes, had when each of them was read, whether
    /// the slots contain objects or not. Takes no lock.
    pub(crate) fn unlocked_handles(&self, size: usize) -> UnlockedHandles {
        UnlockedHandles { keys: self.table.keys(), block: 0, offset: BLOCK_SIZE, size: size.max(SLOT_UNIT) }
    }

    /// Allocates a slot of `size` bytes.
    pub(super) fn allocate(&self, size: usize) -> Result<usize> {
        let mut slots = self.slots.lock();
        let block = match slots.partial.first() {
            Some(block) => block,
            None => self.add_block(&mut slots, size)?,
        };
        let offset = block.pop(size);
        slots.on_allocated(block, 1);
        Ok(ptr::from_ref(block.slot(offset)) as usize)
    }

    /// Frees a slot without an object. If it is `retired`, it has no generation left, and is not used again; then this
    /// also frees `others` retired slots of the same block.
    pub(super) fn free(&self, slot: usize, retired: bool, others: u8) {
        self.free_in(&mut self.slots.lock(), slot, retired, others);
    }

    /// As `free`, for a retired slot. Then allocates up to `count` slots of one block, unless that needs a new block.
    pub(super) fn exchange_retired(&self, retired: usize, others: u8, size: usize, count: usize) -> Reserve {
        let mut slots = self.slots.lock();
        self.free_in(&mut slots, retired, true, others);
        let Some(block) = slots.partial.first() else { return Reserve::default() };
        let (mut first, mut length) = (0, 0);
        while length < count && block.has_room() {
            let offset = block.pop(size);
            block.slot(offset).set_next_free(first);
            (first, length) = (offset, length + 1);
        }
        slots.on_allocated(block, length as u16);
        Reserve { first: ptr::from_ref(block.slot(first)) as usize, length }
    }

    fn free_in(&self, slots: &mut Slots, slot: usize, retired: bool, others: u8) {
        let block = BlockHeader::of(slot);
        let offset = ((slot - block.address()) / SLOT_UNIT) as u16;
        let header = block.slot(offset);
        let next_generation = if retired { GENERATION as u8 + 1 } else { header.generation() as u8 };
        if next_generation > block.next_generation.get() {
            block.next_generation.set(next_generation);
        }
        if !retired {
            if !block.has_room() {
                slots.push(block);
            }
            header.set_next_free(block.free.get());
            block.free.set(offset);
        }
        let used = block.used.get() - 1 - u16::from(others);
        block.used.set(used);
        if used == 0 {
            self.on_block_empty(slots, block);
        }
    }

    /// The last object of a block has been freed.
    #[cold]
    #[inline(never)]
    fn on_block_empty(&self, slots: &mut Slots, block: &'static BlockHeader) {
        slots.empty += 1;
        if !block.has_room() || slots.has_excess_empty() {
            self.return_block(slots, block);
        }
    }

    /// Adds a block to this arena.
    #[cold]
    #[inline(never)]
    fn add_block(&self, slots: &mut Slots, size: usize) -> Result<&'static BlockHeader> {
        let kind = (ptr::from_ref(self) as usize - ptr::from_ref(&ARENAS) as usize) / size_of::<Arena>();
        self.table.reserve(slots.blocks, kind)?;
        let Block { address, generation, slot_generation } = POOL.lock().allocate()?;
        let block = BlockHeader::of(address);
        block.generation.set(generation as u16);
        block.unused.set((size / SLOT_UNIT) as u16);
        block.first_generation.set(slot_generation as u8);
        block.next_generation.set(slot_generation as u8);
        self.table.add(block.key(), kind);
        slots.blocks += 1;
        slots.peak_blocks = slots.peak_blocks.max(slots.blocks);
        slots.empty += 1;
        slots.push(block);
        Ok(block)
    }

    /// Returns a block without objects to the pool.
    fn return_block(&self, slots: &mut Slots, block: &'static BlockHeader) {
        if block.has_room() {
            slots.remove(block);
        }
        slots.blocks -= 1;
        slots.empty -= 1;
        self.table.remove(block.key());
        let slot_generation = block.first_generation.get().into();
        let returned =
            Block { address: block.address(), generation: block.generation.get().into(), slot_generation };
        let next_generation = block.next_generation.get().into();
        POOL.lock().free(returned, next_generation);
    }

    /// Marks all slots of all blocks as used, because the lists of free slots may be inconsistent. Free slots are
    /// leaked.
    fn mark_all_slots_used(&self, slots: &mut Slots) {
        let blocks = self.blocks();
        *slots = Slots { blocks: blocks.clone().count(), peak_blocks: slots.peak_blocks, ..Slots::new() };
        blocks.for_each(|block| {
            block.free.set(0);
            block.unused.set((BLOCK_SIZE / SLOT_UNIT) as u16);
        });
    }

    /// Iterates over the blocks of this arena, by the keys in the table.
    fn blocks(&self) -> impl Iterator<Item = &'static BlockHeader> + Clone {
        let address = |key| (key << BLOCK_KEY_SHIFT) & (usize::MAX >> BLOCK_GENERATION_BITS);
        self.table.keys().map(move |key| BlockHeader::of(address(key)))
    }
}

impl ForkLock for Arena {
    fn lock_for_fork(&self) {
        self.slots.lock_for_fork();
    }

    unsafe fn unlock_after_fork(&self) {
        // SAFETY: guaranteed by the caller.
        unsafe { self.slots.unlock_after_fork() };
    }

    unsafe fn reinit_in_child(&self) {
        // SAFETY: guaranteed by the caller.
        unsafe { self.slots.reinit_in_child() };
        let mut slots = self.slots.lock();
        if slots.was_interrupted {
            self.mark_all_slots_used(&mut slots);
        }
    }
}

/// Before each run of a model: resets all arenas to their state before the first use, so that each run has the same
/// steps.
#[cfg(model)]
pub(crate) fn reset() {
    let mut addresses = Vec::new();
    for arena in &ARENAS {
        *arena.slots.lock() = Slots::new();
        addresses.extend(arena.blocks().map(BlockHeader::address));
        arena.table.reset();
    }
    POOL.lock().reset(addresses);
}
