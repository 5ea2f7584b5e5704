//! Where the slots of one kind come from, and whether a number is a handle to one of them.
//!
//! A kind has [`blocks`](crate::handle::blocks) of 64 KiB, cut into slots. The first slot of a block is never an object: it
//! holds the block's header.
//!
//! # The table
//!
//! A handle without its low 16 bits names a block and a generation of it: its *key*. A kind enters the keys of its
//! blocks into a table, at a bucket that some of the key's bits give. So one comparison decides whether a number can be
//! a handle of this kind; then its other bits are the address of a slot, which may be read.
//!
//! | bucket | meaning | who changes it, under the lock of the arena |
//! |---|---|---|
//! | `EMPTY` | ends a search | a block that is entered: to its key. Growth |
//! | `TOMBSTONE` | a search continues | the same |
//! | a key | a block of this kind | the block's return to the pool: to `TOMBSTONE`, or `EMPTY` if no search continues there |
//!
//! Keys are written and read relaxed: a thread that calls by a handle has received it after its block was entered.
//! A key whose own bucket is another's is found by a search from there on. A table grows by being copied; the former
//! one stays readable. The fast paths read the length of the table (acquire) before its address, which are published
//! in the other order (release), so that a bucket lies inside of the table; if they combine an older length with a newer
//! table, they may find no key, and then a search reads both in one word.
//!
//! While a race detector watches, the fast paths, which announce nothing, have a table without a key.
//!
//! # A block, between its slots' first use and its return
//!
//! | list | state | transition |
//! |---|---|---|
//! | `partial` | some slots are free, or were never used | `allocate` takes the first block's last freed slot, or its next unused one |
//! | none | all slots are in use, or have no generation left | `free` of a slot that has one: to `partial` |
//!
//! A block without an object is returned to the pool if its slots' generations are used up, or if [`MAX_EMPTY_BLOCKS`] others
//! without an object and a sixteenth of the most blocks that were ever in use are kept already.

// Not the ones of `crate::sys::atomic`: the table is no part of any object's protocol, and each call reads it.
use core::sync::atomic::{AtomicPtr, AtomicUsize};

use core::cell::Cell;
use core::{ptr, slice};

use crate::error::{Error, Result};
use crate::handle::blocks::{BLOCK_SIZE, Block, POOL};
use crate::handle::header::Header;
use crate::handle::kind::ObjectKind;
use crate::handle::layout::{BLOCK_GENERATION_BITS, BLOCK_GENERATION_SHIFT};
use crate::sync::mutex::{ForkReset, InternalMutex};
use crate::sys::annotate;
use crate::sys::atomic::Ordering;
use crate::sys::memory;

/// The arenas, by kind.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
pub(crate) static ARENAS: [Arena; ObjectKind::COUNT] = [const { Arena::new() }; ObjectKind::COUNT];

/// How many blocks without an object a kind keeps in any case.
const MAX_EMPTY_BLOCKS: usize = 16;
/// And which share of the most blocks that it ever had.
const EMPTY_BLOCKS_DIVISOR: usize = 16;

/// The bits of a handle below its key.
const BLOCK_KEY_SHIFT: u32 = BLOCK_SIZE.trailing_zeros();

/// No key, since no block is there. The first bucket never holds it, where a number is searched for whose key is 0.
const EMPTY: usize = 0;
/// No key, since keys have fewer bits.
const TOMBSTONE: usize = usize::MAX;

/// The first table of each kind has so many buckets; all lie in one page.
const INITIAL_TABLE_LEN: usize = 32;
/// Up to this size, a table rather grows than that a key has another bucket than its own.
const MAX_SPARSE_LEN: usize = 4096;
/// Tables are aligned so that the logarithm of their size fits below their address.
const TABLE_ALIGNMENT: usize = 64;

/// The table of a kind that has no block.
#[repr(align(64))]
struct EmptyTable(AtomicUsize);

static EMPTY_TABLE: EmptyTable = EmptyTable(AtomicUsize::new(TOMBSTONE));

#[repr(C, align(64))]
pub(crate) struct Arena {
    /// The table's length less one, and the table, for the fast paths.
    mask: AtomicUsize,
    buckets: AtomicPtr<AtomicUsize>,
    /// The table and the logarithm of its length, in one word.
    table: AtomicPtr<u8>,
    slots: InternalMutex<Slots>,
}

/// What the first slot of a block holds. Used under the arena's lock.
#[repr(C, align(64))]
struct BlockHeader {
    /// Where an object has its header: zero, so that no handle fits.
    null_header: [u64; 4],
    /// Its neighbours in `Slots::partial`.
    next: Cell<*const BlockHeader>,
    previous: Cell<*const BlockHeader>,
    /// The generation of the block.
    generation: Cell<u16>,
    /// How many slots are objects, or kept for one by a thread.
    used: Cell<u16>,
    /// The last freed slot, by its distance from here in units of [`SLOT_UNIT`]; 0 is none.
    free: Cell<u16>,
    /// The next slot that was never used, likewise; the size of the block if there is none.
    unused: Cell<u16>,
    /// The generation with which unused slots begin.
    first_generation: Cell<u8>,
    /// One more than the highest generation that a slot has reached.
    next_generation: Cell<u8>,
}

/// What the sizes of slots are multiples of.
const SLOT_UNIT: usize = 64;

const _: () = assert!(size_of::<BlockHeader>() <= SLOT_UNIT);

struct Slots {
    /// Blocks with a slot to use, a list.
    partial: *const BlockHeader,
    /// How many blocks there are, how many there were at most, and how many are without an object.
    blocks: usize,
    peak_blocks: usize,
    empty: usize,
    /// A thread that this process does not have was changing this, and the headers of blocks.
    was_interrupted: bool,
}

// SAFETY: the pointer leads to blocks, which are shared memory.
unsafe impl Send for Slots {}

impl ForkReset for Slots {
    fn reset_in_child(&mut self) {
        self.was_interrupted = true;
    }
}

impl BlockHeader {
    /// The header of the block in which a slot lies.
    fn of(slot: usize) -> &'static BlockHeader {
        // SAFETY: slots lie in blocks in use, each of which begins with its header; blocks are aligned.
        unsafe { &*((slot & !(BLOCK_SIZE - 1)) as *const BlockHeader) }
    }

    fn address(&self) -> usize {
        ptr::from_ref(self) as usize
    }

    fn key(&self) -> usize {
        (self.address() | high_bits(self.generation.get())) >> BLOCK_KEY_SHIFT
    }

    fn slot(&self, distance: u16) -> &'static Header {
        // SAFETY: the slots of a block follow its header; each begins with a header of its own, for which zero is valid.
        unsafe { &*((self.address() + usize::from(distance) * SLOT_UNIT) as *const Header) }
    }

    fn has_room(&self) -> bool {
        self.free.get() != 0 || usize::from(self.unused.get()) < BLOCK_SIZE / SLOT_UNIT
    }
}

/// The generation of a block where handles have it.
fn high_bits(generation: u16) -> usize {
    usize::from(generation).checked_shl(BLOCK_GENERATION_SHIFT).unwrap_or(0)
}

impl Slots {
    const NONE: Self =
        Slots { partial: ptr::null(), blocks: 0, peak_blocks: 0, empty: 0, was_interrupted: false };

    #[cold]
    fn push(&mut self, block: &BlockHeader) {
        block.previous.set(ptr::null());
        block.next.set(self.partial);
        // SAFETY: blocks in the list are in use, here and below.
        if let Some(next) = unsafe { self.partial.as_ref() } {
            next.previous.set(block);
        }
        self.partial = block;
    }

    #[cold]
    fn remove(&mut self, block: &BlockHeader) {
        // SAFETY: as above.
        unsafe {
            match block.previous.get().as_ref() {
                Some(previous) => previous.next.set(block.next.get()),
                None => self.partial = block.next.get(),
            }
            if let Some(next) = block.next.get().as_ref() {
                next.previous.set(block.previous.get());
            }
        }
    }

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
            slots: InternalMutex::new(Slots::NONE),
        }
    }

    /// Whether these are the bits of a handle to a slot of this kind, of whatever generation. False may be wrong.
    #[inline(always)]
    pub(super) fn has_key_fast(&self, bits: usize) -> bool {
        let key = bits >> BLOCK_KEY_SHIFT;
        let mask = self.mask.load(Ordering::Acquire);
        let buckets = self.buckets.load(Ordering::Relaxed);
        // SAFETY: the table was published before its length less one, and tables never shrink.
        let bucket = unsafe { &*buckets.add(key & mask) };
        bucket.load(Ordering::Relaxed) == key
    }

    /// As `has_key_fast`, but false is right.
    #[inline(always)]
    pub(super) fn has_key(&self, bits: usize) -> bool {
        // The first slot of a block is no object: what locks an object before it reads its word must not get there.
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

    fn buckets(&self) -> &'static [AtomicUsize] {
        let table = self.table.load(Ordering::Acquire);
        let length = 1 << (table as usize % TABLE_ALIGNMENT);
        let buckets = table.map_addr(|address| address & !(TABLE_ALIGNMENT - 1)).cast::<AtomicUsize>();
        // SAFETY: a table of this length lies there, and is never unmapped.
        unsafe { slice::from_raw_parts(buckets, length) }
    }

    /// A slot of `size` bytes that is not in use.
    pub(super) fn allocate(&self, size: usize) -> Result<usize> {
        let mut slots = self.slots.lock();
        // SAFETY: blocks in the list are in use.
        let block = match unsafe { slots.partial.as_ref() } {
            Some(block) => block,
            None => self.add_block(&mut slots, size)?,
        };
        let distance = match block.free.get() {
            0 => {
                let unused = block.unused.get();
                block.unused.set(unused + (size / SLOT_UNIT) as u16);
                let first = block.first_generation.get();
                block.slot(unused).init(first.into(), high_bits(block.generation.get()));
                unused
            }
            free => {
                block.free.set(block.slot(free).next_free());
                free
            }
        };
        if !block.has_room() {
            slots.remove(block);
        }
        let used = block.used.get();
        block.used.set(used + 1);
        slots.empty -= usize::from(used == 0);
        Ok(ptr::from_ref(block.slot(distance)) as usize)
    }

    /// Takes back a slot without an object. `retired`: it has no generation left.
    pub(super) fn free(&self, slot: usize, retired: bool) {
        let block = BlockHeader::of(slot);
        let distance = ((slot - block.address()) / SLOT_UNIT) as u16;
        let header = block.slot(distance);
        let next_generation = header.generation() as u8 + u8::from(retired);
        let mut slots = self.slots.lock();
        if next_generation > block.next_generation.get() {
            block.next_generation.set(next_generation);
        }
        if !retired {
            if !block.has_room() {
                slots.push(block);
            }
            header.set_next_free(block.free.get());
            block.free.set(distance);
        }
        let used = block.used.get() - 1;
        block.used.set(used);
        if used == 0 {
            self.on_block_empty(&mut slots, block);
        }
    }

    /// The last object of a block is gone.
    #[cold]
    #[inline(never)]
    fn on_block_empty(&self, slots: &mut Slots, block: &'static BlockHeader) {
        slots.empty += 1;
        if !block.has_room() || slots.has_excess_empty() {
            self.return_block(slots, block);
        }
    }

    /// A block more for this kind.
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

    /// Returns a block without an object to the pool.
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

    /// The table has room for a key more.
    fn reserve_key(&self, slots: &Slots) -> Result<()> {
        let length = self.buckets().len();
        if (slots.blocks + 1) * 2 > length
            && let Err(error) = self.grow((length * 2).max(INITIAL_TABLE_LEN))
            // It does with the table that there is, as long as a bucket stays free in it.
            && slots.blocks + 2 > length
        {
            return Err(error);
        }
        Ok(())
    }

    /// Enters a key into the table, for which there is room. As long as it is small, it grows until the key has its own
    /// bucket, if the system has memory for that.
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

    /// Holds the arena across a fork.
    pub(crate) fn lock_for_fork(&self) {
        self.slots.lock_for_fork();
    }

    /// Gives back what `hold` took.
    ///
    /// # Safety
    /// As for `InternalMutex::let_go`.
    pub(crate) unsafe fn unlock_after_fork(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.slots.unlock_after_fork() };
    }

    /// As `let_go`, in a child of fork.
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

    /// All slots of the blocks that there are count as in use, whatever their lists were about to become.
    fn mark_all_slots_used(&self, slots: &mut Slots) {
        let blocks = self.blocks();
        *slots = Slots { blocks: blocks.clone().count(), peak_blocks: slots.peak_blocks, ..Slots::NONE };
        blocks.for_each(|block| {
            block.free.set(0);
            block.unused.set((BLOCK_SIZE / SLOT_UNIT) as u16);
        });
    }

    /// The blocks of this kind, as the table has them.
    fn blocks(&self) -> impl Iterator<Item = &'static BlockHeader> + Clone {
        let keys = self.buckets().iter().map(|bucket| bucket.load(Ordering::Relaxed));
        keys.filter(|&key| key != EMPTY && key != TOMBSTONE)
            .map(|key| BlockHeader::of((key << BLOCK_KEY_SHIFT) & (usize::MAX >> BLOCK_GENERATION_BITS)))
    }
}

/// Enters a key that the table does not hold. A bucket is free.
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

/// Removes a key that the table holds. Its bucket, and vacant ones before it, become empty if no search continues there.
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

/// Before each run of a model: all slots are as they were when none had been used. As many steps of the model in each run.
#[cfg(model)]
pub(crate) fn reset() {
    let mut addresses = Vec::new();
    for arena in &ARENAS {
        *arena.slots.lock() = Slots::NONE;
        addresses.extend(arena.blocks().map(BlockHeader::address));
        // The memory of a first table serves the next run.
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
