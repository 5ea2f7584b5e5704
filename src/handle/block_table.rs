//! The table of an arena's blocks, by which any integer can be checked for being a handle.
//!
//! A handle without its low 16 bits is the *key* of a block: its address and its generation. Each arena has a hash
//! table with the keys of its blocks. So one comparison shows whether an integer can be a handle of this kind; if it
//! can, its other bits are the position of a slot, which may be read.
//!
//! | bucket | meaning | changed by (under the arena's mutex, relaxed) |
//! |---|---|---|
//! | `EMPTY` | ends a search | `insert`: to a key |
//! | `TOMBSTONE` | a search continues | `insert`: to a key. `remove`: to `EMPTY`, if the next bucket is `EMPTY` |
//! | a key | a block of this kind | `remove`, when the block is returned to the pool: to `TOMBSTONE`, or to `EMPTY` likewise |
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

// Not those of `crate::sys::atomic`, which the model checkers replace: the table is not part of an object's protocol,
// and every call reads it.
use core::sync::atomic::{AtomicPtr, AtomicUsize};

use core::slice;

use crate::error::{Error, Result};
use crate::handle::blocks::{BLOCK_SIZE, POOL};
use crate::handle::kind::ObjectKind;
use crate::sys::annotate;
use crate::sys::atomic::Ordering;
use crate::sys::memory;
use crate::sys::offsets::offsets;

/// The number of bits of a handle below its key.
pub(super) const BLOCK_KEY_SHIFT: u32 = BLOCK_SIZE.trailing_zeros();

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

/// See the module.
#[repr(C)]
pub(crate) struct BlockTable {
    /// The length of the table less one, and the table, for the fast paths.
    mask: AtomicUsize,
    buckets: AtomicPtr<AtomicUsize>,
    /// The table, with the logarithm of its length in the low bits.
    table: AtomicPtr<u8>,
}

offsets!(BlockTableOffsets of BlockTable: table);

/// The keys of a table.
#[derive(Clone)]
pub(super) struct Keys(slice::Iter<'static, AtomicUsize>);

impl Iterator for Keys {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        self.0
            .by_ref()
            .map(|bucket| bucket.load(Ordering::Acquire))
            .find(|&key| key != EMPTY && key != TOMBSTONE)
    }
}

impl BlockTable {
    pub(super) const fn new() -> Self {
        BlockTable {
            mask: AtomicUsize::new(0),
            buckets: AtomicPtr::new((&raw const EMPTY_TABLE.0).cast_mut().cast()),
            table: AtomicPtr::new((&raw const EMPTY_TABLE.0).cast_mut().cast()),
        }
    }

    /// Returns whether the table has this key. A result of false may be wrong.
    #[inline(always)]
    pub(super) fn has_key_fast(&self, key: usize) -> bool {
        let mask = self.mask.load(Ordering::Acquire);
        let buckets = self.buckets.load(Ordering::Relaxed);
        // SAFETY: the table was published before its length less one, and tables never shrink.
        let bucket = unsafe { &*buckets.add(key & mask) };
        bucket.load(Ordering::Relaxed) == key
    }

    /// As `has_key_fast`, but false is exact.
    #[cold]
    #[inline(never)]
    pub(super) fn search(&self, key: usize) -> bool {
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
        // SAFETY: the table has this length, and is never unmapped.
        unsafe { slice::from_raw_parts(buckets, length) }
    }

    /// Iterates over the keys that the table had when each bucket was read.
    pub(super) fn keys(&self) -> Keys {
        Keys(self.buckets().iter())
    }

    /// Ensures that the table, which has `count` keys, has room for one more. `kind` is that of the arena.
    pub(super) fn reserve(&self, count: usize, kind: usize) -> Result<()> {
        let length = self.buckets().len();
        if (count + 1) * 2 <= length {
            return Ok(());
        }
        match self.grow((length * 2).max(INITIAL_TABLE_LEN), kind) {
            // If the table cannot grow, it is used as long as one bucket stays `EMPTY`.
            Err(_) if count + 2 <= length => Ok(()),
            grown => grown,
        }
    }

    /// Inserts a key, for which `reserve` has made room. While the table is small, it grows until the key has the
    /// bucket that it selects, if memory is available.
    pub(super) fn add(&self, key: usize, kind: usize) {
        loop {
            let buckets = self.buckets();
            let home = buckets[key & (buckets.len() - 1)].load(Ordering::Relaxed);
            let is_free = matches!(home, EMPTY | TOMBSTONE);
            if is_free || buckets.len() >= MAX_SPARSE_LEN || self.grow(buckets.len() * 2, kind).is_err() {
                insert(buckets, key);
                return;
            }
        }
    }

    fn grow(&self, length: usize, kind: usize) -> Result<()> {
        let bytes = length * size_of::<AtomicUsize>();
        let table = if length == INITIAL_TABLE_LEN {
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
        self.keys().for_each(|key| insert(buckets, key));
        self.table
            .store(table.cast::<u8>().wrapping_add(length.trailing_zeros() as usize), Ordering::Release);
        if !annotate::is_active() {
            self.buckets.store(table, Ordering::Release);
            self.mask.store(length - 1, Ordering::Release);
        }
        Ok(())
    }

    /// Removes a key that is in the table.
    pub(super) fn remove(&self, key: usize) {
        remove(self.buckets(), key);
    }

    /// Before each run of a model: removes the table. The memory of the first tables is used again in the next run.
    #[cfg(model)]
    pub(super) fn reset(&self) {
        for bucket in self.buckets().iter().filter(|bucket| bucket.load(Ordering::Relaxed) != EMPTY) {
            bucket.store(EMPTY, Ordering::Relaxed);
        }
        let BlockTable { mask, buckets, table } = BlockTable::new();
        self.mask.store(mask.into_inner(), Ordering::Relaxed);
        self.buckets.store(buckets.into_inner(), Ordering::Relaxed);
        self.table.store(table.into_inner(), Ordering::Relaxed);
    }
}

/// Inserts a key that is not in the table. The table has a bucket for it.
fn insert(buckets: &[AtomicUsize], key: usize) {
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
fn remove(buckets: &[AtomicUsize], key: usize) {
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
