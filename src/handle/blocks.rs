//! Blocks: the memory of the slots of all kinds.
//!
//! A block is 64 KiB of zeroed memory, aligned to its size. Blocks are mapped when they are needed, at any address,
//! and are not unmapped as long as a thread may still read one by a stale handle. A block that a kind does not need
//! any more is returned to the pool: its memory is returned to the OS, its addresses stay reserved, and it can later
//! be allocated to any kind.
//!
//! So that no handle value is used twice, each block has a generation, which is part of the handles to its slots, and
//! a first generation for its slots:
//!
//! | when a block is returned | the block's next generation | the first generation of its slots |
//! |---|---|---|
//! | no slot has used its last generation | the same | one more than the highest that a slot has used |
//! | a slot has used its last generation | one more | 1 |
//! | the same, and it is the block's last generation: the block is *exhausted* | none: its addresses are never used again | |
//!
//! (Where addresses have 32 bits, blocks have no generation. There, the slots of such a block start again with 1.)
//!
//! # The quarantine
//!
//! Returned blocks are reused in the order in which they were returned. While there are no more than [`QUARANTINE`]
//! of them, a new block is mapped instead. So a thread that has found a slot by a stale handle, and is preempted
//! before it compares the generation, can meet the same generation again only after the block has passed through the
//! quarantine.

use crate::error::{Error, Result};
use crate::handle::layout::{BLOCK_GENERATION_BITS, BLOCK_GENERATION_SHIFT, GENERATION};
use crate::sync::mutex::{ForkReset, InternalMutex};
use crate::sys::annotate;
use crate::sys::memory;
use crate::sys::memory::PageVec;

/// The size and the alignment of a block.
pub(crate) const BLOCK_SIZE: usize = 64 * 1024;

/// The number of returned blocks above which the oldest is reused.
const QUARANTINE: usize = if cfg!(model) { 0 } else { 64 };
/// The same if the process's memory is locked, so that returned blocks occupy memory.
const QUARANTINE_LOCKED: usize = 8;
/// The largest number of blocks that are mapped together. It is one eighth of the mapped blocks, up to this number.
const MAX_CHUNK: usize = 64;
/// How many exhausted blocks stay mapped, for threads that have found a slot in one of them by a stale handle.
const MAX_MAPPED_EXHAUSTED: usize = 16;

/// A block that no kind uses, and the generations that its handles will have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) address: usize,
    pub(super) generation: usize,
    /// The first generation of its slots.
    pub(super) slot_generation: u64,
}

/// All blocks that no kind uses.
pub(crate) struct BlockPool {
    /// Mapped blocks that have never been allocated: the address of the first, and the end of the last.
    unused: (usize, usize),
    /// The start of the last mapped chunk. The next one is requested below it.
    last_chunk: usize,
    /// The number of mapped blocks, allocated or not.
    mapped: usize,
    /// The returned blocks, a queue made of two stacks: blocks are pushed to `newer` and popped from `older`.
    newer: PageVec<Block>,
    older: PageVec<Block>,
    /// The addresses of exhausted blocks that are still mapped, a ring with the oldest at `next_exhausted`; 0 is
    /// none.
    exhausted: [usize; MAX_MAPPED_EXHAUSTED],
    next_exhausted: usize,
    /// The addresses of exhausted blocks that have been unmapped. The OS may map new memory there.
    unmapped: PageVec<usize>,
    /// Whether the memory of the last returned block could not be returned to the OS.
    pages_locked: bool,
    /// The page with the first tables of all kinds; 0 if it is not mapped yet.
    initial_tables: usize,
}

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
pub(crate) static POOL: InternalMutex<BlockPool> = InternalMutex::new(BlockPool::new());

impl ForkReset for BlockPool {
    fn reset_in_child(&mut self) {
        // Another thread of the parent was changing the pool: the blocks in it are leaked.
        *self = BlockPool { mapped: self.mapped, last_chunk: self.last_chunk, ..BlockPool::new() };
    }
}

impl BlockPool {
    const fn new() -> Self {
        BlockPool {
            unused: (0, 0),
            last_chunk: 0,
            mapped: 0,
            newer: PageVec::new(),
            older: PageVec::new(),
            exhausted: [0; MAX_MAPPED_EXHAUSTED],
            next_exhausted: 0,
            unmapped: PageVec::new(),
            pages_locked: false,
            initial_tables: 0,
        }
    }

    /// Returns memory for the first tables of all kinds.
    pub(super) fn initial_tables(&mut self, bytes: usize) -> Result<usize> {
        if self.initial_tables == 0 {
            self.initial_tables = memory::map(0, bytes).ok_or(Error::NoMemory)?;
            annotate::mark_untracked(self.initial_tables as *const u8, bytes);
        }
        Ok(self.initial_tables)
    }

    /// Allocates a block of zeroed memory.
    pub(super) fn allocate(&mut self) -> Result<Block> {
        let returned = self.newer.as_slice().len() + self.older.as_slice().len();
        let quarantine = if self.pages_locked { QUARANTINE_LOCKED } else { QUARANTINE };
        if returned > quarantine {
            return self.pop_oldest().ok_or(Error::Internal);
        }
        if self.unused.0 == self.unused.1 {
            if let Err(error) = self.map_chunk() {
                return self.pop_oldest().ok_or(error);
            }
        }
        let address = self.unused.0;
        self.unused.0 += BLOCK_SIZE;
        Ok(Block { address, generation: 0, slot_generation: 1 })
    }

    fn pop_oldest(&mut self) -> Option<Block> {
        if self.older.as_slice().is_empty() && self.older.reserve(self.newer.as_slice().len()).is_ok() {
            while let Some(block) = self.newer.pop() {
                self.older.push(block);
            }
        }
        self.older.pop()
    }

    /// Returns a block that `allocate` returned. `next_slot_generation` is one more than the highest that a slot has
    /// used.
    pub(super) fn free(&mut self, block: Block, next_slot_generation: u64) {
        self.zero(block.address);
        let mut next = Block { slot_generation: next_slot_generation, ..block };
        if next_slot_generation > GENERATION {
            next.slot_generation = 1;
            next.generation += 1;
            if next.generation >> BLOCK_GENERATION_BITS != 0 {
                if BLOCK_GENERATION_BITS != 0 {
                    self.retire(block.address);
                    return;
                }
                next.generation = 0;
            }
        }
        // `map_blocks` has reserved the space, except if the pool was reset in a child of fork; then the block may be
        // leaked.
        if self.newer.reserve(self.newer.as_slice().len() + 1).is_ok() {
            self.newer.push(next);
        }
    }

    /// Sets the memory of a block to zero.
    fn zero(&mut self, address: usize) {
        // SAFETY: no object is in this block. Threads that still read from it by stale handles may read zeros, which
        // no handle matches.
        self.pages_locked = !unsafe { memory::discard(address, BLOCK_SIZE) };
        if self.pages_locked {
            for word in (address..address + BLOCK_SIZE).step_by(8) {
                // SAFETY: as above, and aligned.
                unsafe { &*(word as *const crate::sys::atomic::AtomicU64) }
                    .store(0, crate::sys::atomic::Ordering::Relaxed);
            }
        }
    }

    /// Keeps an exhausted block mapped, and unmaps the oldest of these blocks if there are too many.
    fn retire(&mut self, address: usize) {
        let oldest = core::mem::replace(&mut self.exhausted[self.next_exhausted], address);
        self.next_exhausted = (self.next_exhausted + 1) % MAX_MAPPED_EXHAUSTED;
        if oldest != 0 && self.unmapped.reserve(self.unmapped.as_slice().len() + 1).is_ok() {
            self.unmapped.push(oldest);
            self.mapped -= 1;
            // SAFETY: many millions of objects have been created since the block was in use.
            unsafe { memory::unmap(oldest, BLOCK_SIZE) };
        }
    }

    /// Maps a chunk of new blocks, or a single block if that fails.
    fn map_chunk(&mut self) -> Result<()> {
        let count = (self.mapped / 8).clamp(1, MAX_CHUNK);
        self.map_blocks(count).or_else(|_| self.map_blocks(1))
    }

    fn map_blocks(&mut self, count: usize) -> Result<()> {
        // Reserve space for all blocks to be returned or exhausted, because these operations cannot fail.
        let max = self.mapped + count;
        self.newer.reserve(max)?;
        self.older.reserve(max)?;
        self.unmapped.reserve(self.unmapped.as_slice().len() + max)?;
        let bytes = count * BLOCK_SIZE;
        let start = self.map_usable(bytes).ok_or(Error::NoMemory)?;
        self.last_chunk = start;
        self.unused = (start, start + bytes);
        self.mapped = max;
        annotate::mark_untracked(start as *const u8, bytes);
        annotate::register_root_region(start, bytes);
        Ok(())
    }

    /// Maps memory at addresses that a handle can contain, and that are not those of an exhausted block.
    fn map_usable(&mut self, bytes: usize) -> Option<usize> {
        /// Set in an entry of `unmapped` while its addresses are mapped again, so that the OS does not offer them a
        /// second time.
        const REMAPPED: usize = 1;
        let mut usable = None;
        while let Some(offered) =
            memory::map_aligned(self.last_chunk.saturating_sub(bytes), bytes, BLOCK_SIZE)
        {
            let end = offered + bytes;
            let fits = (end as u64 - 1) >> BLOCK_GENERATION_SHIFT == 0;
            let mut exhausted = self.unmapped.as_mut_slice().iter_mut();
            match exhausted.find(|unmapped| (offered..end).contains(unmapped)) {
                None if fits => usable = Some(offered),
                Some(unmapped) if bytes == BLOCK_SIZE => {
                    *unmapped |= REMAPPED;
                    continue;
                }
                // SAFETY: mapped above, and not used.
                _ => unsafe { memory::unmap(offered, bytes) },
            }
            break;
        }
        for unmapped in self.unmapped.as_mut_slice().iter_mut().filter(|unmapped| **unmapped & REMAPPED != 0)
        {
            *unmapped &= !REMAPPED;
            // SAFETY: mapped above, and not used.
            unsafe { memory::unmap(*unmapped, BLOCK_SIZE) };
        }
        usable
    }

    /// Before each run of a model: resets all blocks, those at `addresses` and those in the pool, to their state
    /// before the first use.
    #[cfg(model)]
    pub(super) fn reset(&mut self, mut addresses: Vec<usize>) {
        addresses.iter().for_each(|&address| self.zero(address));
        while let Some(block) = self.pop_oldest() {
            addresses.push(block.address);
        }
        addresses.sort_unstable();
        self.newer.reserve(addresses.len()).unwrap();
        for address in addresses {
            self.newer.push(Block { address, generation: 0, slot_generation: 1 });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Allocates a block and frees it as if all generations of its slots had been used.
    fn exhaust_slots(pool: &mut BlockPool) -> Block {
        let block = pool.allocate().unwrap();
        pool.free(block, GENERATION + 1);
        block
    }

    #[test]
    fn returned_block_is_zeroed_and_quarantined() {
        let mut pool = BlockPool::new();
        let first = pool.allocate().unwrap();
        assert_eq!(first.address % BLOCK_SIZE, 0);
        assert_eq!((first.generation, first.slot_generation), (0, 1));
        // SAFETY: the test has allocated the block.
        unsafe { *(first.address as *mut u64) = 5 };
        pool.free(first, 7);
        for _ in 0..QUARANTINE {
            assert_ne!(exhaust_slots(&mut pool).address, first.address);
        }
        let again = pool.allocate().unwrap();
        assert_eq!(again, Block { slot_generation: 7, ..first });
        // SAFETY: as above.
        assert_eq!(unsafe { *(again.address as *const u64) }, 0);
    }

    #[test]
    fn mapped_blocks_are_proportional_to_blocks_in_use() {
        let mut pool = BlockPool::new();
        let mut most = 0;
        for used in 1..2000 {
            pool.allocate().unwrap();
            most = pool.mapped - used;
            assert!(most <= used / 8 + 1, "{most} unused blocks are mapped with {used} in use");
        }
        assert!(most <= MAX_CHUNK);
    }

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn exhausted_block_is_unmapped_later_and_never_reused() {
        let mut pool = BlockPool::new();
        let mut exhausted = Vec::new();
        for _ in 0..MAX_MAPPED_EXHAUSTED + 200 {
            let block = pool.allocate().unwrap();
            assert!(!exhausted.contains(&block.address), "addresses have been used twice");
            assert_eq!((block.generation, block.slot_generation), (0, 1));
            let last = Block { generation: (1 << BLOCK_GENERATION_BITS) - 1, ..block };
            pool.free(last, GENERATION + 1);
            exhausted.push(block.address);
            assert!(pool.mapped <= MAX_MAPPED_EXHAUSTED + MAX_CHUNK, "{} blocks are mapped", pool.mapped);
        }
        assert_eq!(pool.unmapped.as_slice().len(), 200);
    }

    /// Where addresses have 32 bits, blocks have no generation.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn generations_of_a_block_are_never_reused() {
        let mut pool = BlockPool::new();
        let mut seen = std::collections::HashSet::new();
        for iteration in 0..20_000_u64 {
            let block = pool.allocate().unwrap();
            assert!(seen.insert((block.address, block.generation, block.slot_generation)));
            pool.free(block, block.slot_generation + 1 + iteration % 3);
        }
    }
}
