//! The arena of a kind: allocates its slots, and checks whether an integer can be a handle to one of them.
//!
//! An arena has [`blocks`](crate::handle::blocks) of 64 KiB, divided into slots. The first slot of a block is never
//! used for an object: it holds the block's header.
//!
//! # The table of blocks
//!
//! A handle without its low 16 bits is the *key* of a block: its address and its generation. Each arena has a hash
//! table with the keys of its blocks. So one comparison shows whether an integer can be a handle of this kind; if it
//! can, its other bits are the position of a slot, which may be read.
//!
//! | bucket | meaning | changed by (under the arena's mutex, relaxed) |
//! |---|---|---|
//! | `EMPTY` | ends a search | `insert_key`: to a key |
//! | `TOMBSTONE` | a search continues | `insert_key`: to a key. `remove_key`: to `EMPTY`, if the next bucket is `EMPTY` |
//! | a key | a block of this kind | `remove_key`, when the block is returned to the pool: to `TOMBSTONE`, or to `EMPTY` likewise |
//!
//! Keys are read without the mutex, relaxed. They are not stale for a valid handle: the calling thread has received
//! the handle after the block's key was inserted. A stale handle may match a key that is being removed; its slot stays
//! mapped.
//!
//! A key whose bucket is in use by another key is found by linear probing. A table grows by being copied to a larger
//! one; the former table stays mapped. `grow` publishes the address (`buckets`) before the length less one (`mask`),
//! both with release. The fast paths read `mask` first, with acquire, so that the bucket is within the table. If they
//! combine an older length with a newer table, they may miss the key; then `search` reads both from one word (`table`).
//!
//! # The fast paths and race detectors
//!
//! The fast paths do not call the annotations of race detectors. So while a detector is active, `grow` publishes the
//! new table in `table` only: the fast paths keep the table without keys, fail, and each call takes the slow path.
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
//!
//! The file exceeds 400 lines with its documentation: allocation, return and the table of blocks change under one
//! mutex.

// Not those of `crate::sys::atomic`, which the model checkers replace: the table is not part of an object's protocol,
// and every call reads it.
use core::sync::atomic::{AtomicPtr, AtomicUsize};

use core::cell::Cell;
use core::ops::Deref;
use core::{ptr, slice};

use crate::error::{Error, Result};
use crate::handle::blocks::{BLOCK_SIZE, Block, POOL};
use crate::handle::header::Header;
use crate::handle::kind::ObjectKind;
use crate::handle::layout::{ADDRESS, BLOCK_GENERATION_BITS, BLOCK_GENERATION_SHIFT, GENERATION};
use crate::sync::list::{Linked, Links, List};
use crate::sync::mutex::{ForkReset, InternalMutex};
use crate::sys::annotate;
use crate::sys::atomic::Ordering;
use crate::sys::memory;
use crate::sys::offsets::offsets;

/// The arenas, by kind.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
pub(crate) static ARENAS: [Arena; ObjectKind::COUNT] = [const { Arena::new() }; ObjectKind::COUNT];

/// The number of blocks without objects that an arena keeps in any case.
const MAX_EMPTY_BLOCKS: usize = 16;
/// In addition, it keeps the largest number of blocks that it has had, divided by this.
const EMPTY_BLOCKS_DIVISOR: usize = 16;

/// The number of bits of a handle below its key.
const BLOCK_KEY_SHIFT: u32 = BLOCK_SIZE.trailing_zeros();

/// Not a key, because no block has address 0. It is never stored in bucket 0, which integers with key 0 select.
const EMPTY: usize = 0;
/// Not a key, because keys have fewer bits.
const TOMBSTONE: usize = usize::MAX;

/// The number of buckets of the first table of each kind. These tables are all in one page.
const INITIAL_TABLE_LEN: usize = 32;
/// Up to this length, a table grows until each key has the bucket that it selects.
const MAX_SPARSE_LEN: usize = 4096;
/// The alignment of tables: the logarithm of the length fits into the low bits of their address.
pub(crate) const TABLE_ALIGNMENT: usize = 64;

/// The table of an arena without blocks.
#[repr(align(64))]
struct EmptyTable(AtomicUsize);

static EMPTY_TABLE: EmptyTable = EmptyTable(AtomicUsize::new(TOMBSTONE));

#[repr(C, align(64))]
pub(crate) struct Arena {
    /// The length of the table less one, and the table, for the fast paths.
    mask: AtomicUsize,
    buckets: AtomicPtr<AtomicUsize>,
    /// The table, with the logarithm of its length in the low bits.
    table: AtomicPtr<u8>,
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
    buckets: slice::Iter<'static, AtomicUsize>,
    /// The current block, as the part of its handles that they have in common.
    block: usize,
    /// The next slot in it.
    offset: usize,
    size: usize,
}

impl UnlockedHandles {
    #[inline(never)]
    fn next_block(&mut self) -> Option<()> {
        let mut keys = self.buckets.by_ref().map(|bucket| bucket.load(Ordering::Acquire));
        self.block = keys.find(|&key| key != EMPTY && key != TOMBSTONE)? << BLOCK_KEY_SHIFT;
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

/// The first slot of a block. Used under the arena's mutex.
#[repr(C, align(64))]
struct BlockHeader {
    /// In the place of an object's header: zero, which no handle matches.
    null_header: [u64; 4],
    /// The neighbours in `Slots::partial`.
    links: Links<BlockHeader>,
    /// The generation of the block.
    generation: Cell<u16>,
    /// The number of slots that contain objects, are in a thread's slot cache or reserve, or are retired and will be
    /// freed later by the thread that has counted them.
    used: Cell<u16>,
    /// The slot that was freed last, by its offset from this header in units of [`SLOT_UNIT`]; 0 is none.
    free: Cell<u16>,
    /// The next slot that was never used, likewise; the size of the block if there is none.
    unused: Cell<u16>,
    /// The first generation of slots that were never used.
    first_generation: Cell<u8>,
    /// One more than the highest generation that a slot has used.
    next_generation: Cell<u8>,
}

/// The sizes of slots are multiples of this.
const SLOT_UNIT: usize = 64;

const _: () = assert!(size_of::<BlockHeader>() <= SLOT_UNIT);

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

impl Linked for BlockHeader {
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

impl BlockHeader {
    /// Returns the header of the block that contains a slot.
    fn of(slot: usize) -> &'static BlockHeader {
        // SAFETY: slots are in allocated blocks, which are aligned and begin with their header.
        unsafe { &*((slot & !(BLOCK_SIZE - 1)) as *const BlockHeader) }
    }

    fn address(&self) -> usize {
        ptr::from_ref(self) as usize
    }

    fn key(&self) -> usize {
        (self.address() | high_bits(self.generation.get())) >> BLOCK_KEY_SHIFT
    }

    fn slot(&self, offset: u16) -> &'static Header {
        // SAFETY: the slots of a block follow its header; each begins with a header of its own, for which all-zero is
        // valid.
        unsafe { &*((self.address() + usize::from(offset) * SLOT_UNIT) as *const Header) }
    }

    fn has_room(&self) -> bool {
        self.free.get() != 0 || usize::from(self.unused.get()) < BLOCK_SIZE / SLOT_UNIT
    }

    /// Takes a slot of `size` bytes out of a block that has room. Returns its offset.
    fn pop(&self, size: usize) -> u16 {
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
        Arena {
            mask: AtomicUsize::new(0),
            buckets: AtomicPtr::new((&raw const EMPTY_TABLE.0).cast_mut().cast()),
            table: AtomicPtr::new((&raw const EMPTY_TABLE.0).cast_mut().cast()),
            slots: SlotsLine(InternalMutex::new(Slots::new())),
        }
    }

    /// Returns whether this can be a handle to a slot of this kind, of any generation. A result of false may be wrong.
    #[inline(always)]
    pub(super) fn has_key_fast(&self, bits: usize) -> bool {
        let key = bits >> BLOCK_KEY_SHIFT;
        let mask = self.mask.load(Ordering::Acquire);
        let buckets = self.buckets.load(Ordering::Relaxed);
        // SAFETY: the table was published before its length less one, and tables never shrink.
        let bucket = unsafe { &*buckets.add(key & mask) };
        bucket.load(Ordering::Relaxed) == key
    }

    /// As `has_key_fast`, but false is exact.
    #[inline(always)]
    pub(crate) fn has_key(&self, bits: usize) -> bool {
        // The first slot of a block is not an object. Its memory must not be used as an object's mutex, which some
        // calls lock before they check the word.
        let is_first = bits & (BLOCK_SIZE - SLOT_UNIT) == 0;
        !is_first && (self.has_key_fast(bits) || self.search(bits >> BLOCK_KEY_SHIFT))
    }

    #[cold]
    #[inline(never)]
    fn search(&self, key: usize) -> bool {
        let buckets = self.buckets();
        let mask = buckets.len() - 1;
        (0..=mask)
            .map(|step| buckets[(key + step) & mask].load(Ordering::Relaxed))
            .take_while(|&found| found != EMPTY)
            .any(|found| found == key)
    }

    /// Iterates over the handles that the slots of this kind, of `size` bytes, had when each of them was read, whether
    /// the slots contain objects or not. Takes no lock.
    pub(crate) fn unlocked_handles(&self, size: usize) -> UnlockedHandles {
        UnlockedHandles {
            buckets: self.buckets().iter(),
            block: 0,
            offset: BLOCK_SIZE,
            size: size.max(SLOT_UNIT),
        }
    }

    fn buckets(&self) -> &'static [AtomicUsize] {
        let table = self.table.load(Ordering::Acquire);
        let length = 1 << (table as usize % TABLE_ALIGNMENT);
        let buckets = table.map_addr(|address| address & !(TABLE_ALIGNMENT - 1)).cast::<AtomicUsize>();
        // SAFETY: the table has this length, and is never unmapped.
        unsafe { slice::from_raw_parts(buckets, length) }
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
        self.reserve_key(slots)?;
        let Block { address, generation, slot_generation } = POOL.lock().allocate()?;
        let block = BlockHeader::of(address);
        block.generation.set(generation as u16);
        block.unused.set((size / SLOT_UNIT) as u16);
        block.first_generation.set(slot_generation as u8);
        block.next_generation.set(slot_generation as u8);
        self.add_key(block.key());
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
        remove_key(self.buckets(), block.key());
        let slot_generation = block.first_generation.get().into();
        let returned =
            Block { address: block.address(), generation: block.generation.get().into(), slot_generation };
        let next_generation = block.next_generation.get().into();
        POOL.lock().free(returned, next_generation);
    }

    /// Ensures that the table has room for one more key.
    fn reserve_key(&self, slots: &Slots) -> Result<()> {
        let length = self.buckets().len();
        if (slots.blocks + 1) * 2 <= length {
            return Ok(());
        }
        match self.grow((length * 2).max(INITIAL_TABLE_LEN)) {
            // If the table cannot grow, it is used as long as one bucket stays `EMPTY`.
            Err(_) if slots.blocks + 2 <= length => Ok(()),
            grown => grown,
        }
    }

    /// Inserts a key, for which `reserve_key` has made room. While the table is small, it grows until the key has the
    /// bucket that it selects, if memory is available.
    fn add_key(&self, key: usize) {
        loop {
            let buckets = self.buckets();
            let home = buckets[key & (buckets.len() - 1)].load(Ordering::Relaxed);
            let is_free = matches!(home, EMPTY | TOMBSTONE);
            if is_free || buckets.len() >= MAX_SPARSE_LEN || self.grow(buckets.len() * 2).is_err() {
                insert_key(buckets, key);
                return;
            }
        }
    }

    fn grow(&self, length: usize) -> Result<()> {
        let bytes = length * size_of::<AtomicUsize>();
        let table = if length == INITIAL_TABLE_LEN {
            let kind = (ptr::from_ref(self) as usize - ptr::from_ref(&ARENAS) as usize) / size_of::<Arena>();
            POOL.lock().initial_tables(bytes * ObjectKind::COUNT)? + kind * bytes
        } else {
            let table = memory::map(0, bytes).ok_or(Error::NoMemory)?;
            annotate::mark_untracked(table as *const u8, bytes);
            table
        };
        let table = table as *mut AtomicUsize;
        // SAFETY: new memory, aligned and of this length; zero is `EMPTY`.
        let buckets = unsafe { slice::from_raw_parts(table, length) };
        buckets[0].store(TOMBSTONE, Ordering::Relaxed);
        self.buckets()
            .iter()
            .map(|bucket| bucket.load(Ordering::Relaxed))
            .filter(|&key| key != EMPTY && key != TOMBSTONE)
            .for_each(|key| insert_key(buckets, key));
        self.table
            .store(table.cast::<u8>().wrapping_add(length.trailing_zeros() as usize), Ordering::Release);
        if !annotate::is_active() {
            self.buckets.store(table, Ordering::Release);
            self.mask.store(length - 1, Ordering::Release);
        }
        Ok(())
    }

    /// Locks the arena for a fork.
    pub(crate) fn lock_for_fork(&self) {
        self.slots.lock_for_fork();
    }

    /// Releases what `lock_for_fork` locked, in the parent.
    ///
    /// # Safety
    /// As for `InternalMutex::unlock_after_fork`.
    pub(crate) unsafe fn unlock_after_fork(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.slots.unlock_after_fork() };
    }

    /// Releases what `lock_for_fork` locked, in the child.
    ///
    /// # Safety
    /// As for `InternalMutex::reinit_in_child`.
    pub(crate) unsafe fn reinit_in_child(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.slots.reinit_in_child() };
        let mut slots = self.slots.lock();
        if slots.was_interrupted {
            self.mark_all_slots_used(&mut slots);
        }
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
        let keys = self.buckets().iter().map(|bucket| bucket.load(Ordering::Relaxed));
        keys.filter(|&key| key != EMPTY && key != TOMBSTONE)
            .map(|key| BlockHeader::of((key << BLOCK_KEY_SHIFT) & (usize::MAX >> BLOCK_GENERATION_BITS)))
    }
}

/// Inserts a key that is not in the table. The table has a bucket for it.
fn insert_key(buckets: &[AtomicUsize], key: usize) {
    let mask = buckets.len() - 1;
    let free = (0..=mask)
        .map(|step| &buckets[(key + step) & mask])
        .find(|bucket| matches!(bucket.load(Ordering::Relaxed), EMPTY | TOMBSTONE));
    debug_assert!(free.is_some());
    if let Some(bucket) = free {
        bucket.store(key, Ordering::Relaxed);
    }
}

/// Removes a key that is in the table. If the next bucket is `EMPTY`, so that no search continues, its bucket and the
/// tombstones before it become `EMPTY`.
fn remove_key(buckets: &[AtomicUsize], key: usize) {
    let mask = buckets.len() - 1;
    let found =
        (0..=mask).map(|step| (key + step) & mask).find(|&at| buckets[at].load(Ordering::Relaxed) == key);
    debug_assert!(found.is_some());
    let Some(mut at) = found else { return };
    buckets[at].store(TOMBSTONE, Ordering::Relaxed);
    if buckets[(at + 1) & mask].load(Ordering::Relaxed) != EMPTY {
        return;
    }
    while at != 0 && buckets[at].load(Ordering::Relaxed) == TOMBSTONE {
        buckets[at].store(EMPTY, Ordering::Relaxed);
        at -= 1;
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
        // The memory of the first tables is used again in the next run.
        for bucket in arena.buckets().iter().filter(|bucket| bucket.load(Ordering::Relaxed) != EMPTY) {
            bucket.store(EMPTY, Ordering::Relaxed);
        }
        let Arena { mask, buckets, table, .. } = Arena::new();
        arena.mask.store(mask.into_inner(), Ordering::Relaxed);
        arena.buckets.store(buckets.into_inner(), Ordering::Relaxed);
        arena.table.store(table.into_inner(), Ordering::Relaxed);
    }
    POOL.lock().reset(addresses);
}
