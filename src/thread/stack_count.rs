//! The numbers and sizes of stacks, and the limits of the stack cache: see `thread::stack_cache`.
//!
//! A stack is *cached* (free for a new thread) or *in use*. Those in use include the stacks of zombies: threads that
//! have reached their last destructor and have not been reaped. All counts are exact under the mutex that protects
//! them, and may be stale for other readers, which use them as hints.

use crate::sys::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::sync::padded::Padded;
use crate::sys::memory;

/// The largest number of cached stacks.
const MAX_CACHED: usize = 128;
/// The largest total size of the cached stacks: `MAX_CACHED` stacks of the usual size.
const MAX_CACHED_BYTES: usize = MAX_CACHED * (8 << 20);
/// The same where address space is limited or accounted: as much as glibc caches.
const MAX_CACHED_BYTES_SCARCE: usize = 40 << 20;

/// The counts: in one cache line, since a thread that ends reads all of them.
#[repr(C)]
struct Counts {
    /// The number of cached stacks, and their size. Protected by the mutex of the stack cache, as the next two.
    cached: AtomicUsize,
    cached_bytes: AtomicUsize,
    /// The number of stacks in use, and their size.
    in_use: AtomicUsize,
    in_use_bytes: AtomicUsize,
    /// The number of zombies' stacks, and their size. Protected by the registry mutex, as the next one.
    zombie_stacks: AtomicUsize,
    zombie_bytes: AtomicUsize,
    /// The number of zombies, with and without a stack that counts.
    zombies: AtomicUsize,
}

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static COUNTS: Padded<Counts> = Padded::new(Counts {
    cached: AtomicUsize::new(0),
    cached_bytes: AtomicUsize::new(0),
    in_use: AtomicUsize::new(0),
    in_use_bytes: AtomicUsize::new(0),
    zombie_stacks: AtomicUsize::new(0),
    zombie_bytes: AtomicUsize::new(0),
    zombies: AtomicUsize::new(0),
});

/// Adds to a count. A load and a store suffice, since all changes of a count are made under one mutex.
fn add(count: &AtomicUsize, amount: usize) {
    count.store(count.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}

fn subtract(count: &AtomicUsize, amount: usize) {
    count.store(count.load(Ordering::Relaxed).wrapping_sub(amount), Ordering::Relaxed);
}

/// A thread gets a stack of this size. Like the functions up to `after_fork_in_child`, called under the mutex of the
/// stack cache.
pub(super) fn add_in_use(size: usize) {
    add(&COUNTS.in_use, 1);
    add(&COUNTS.in_use_bytes, size);
}

/// A thread has released its stack.
pub(super) fn remove_in_use(size: usize) {
    subtract(&COUNTS.in_use, 1);
    subtract(&COUNTS.in_use_bytes, size);
}

/// A stack enters the cache.
pub(super) fn add_cached(size: usize) {
    add(&COUNTS.cached, 1);
    add(&COUNTS.cached_bytes, size);
}

/// A stack leaves the cache.
pub(super) fn remove_cached(size: usize) {
    subtract(&COUNTS.cached, 1);
    subtract(&COUNTS.cached_bytes, size);
}

/// In a child of fork that interrupted a change of the cache: the cache is emptied.
pub(super) fn clear_cached() {
    COUNTS.cached.store(0, Ordering::Relaxed);
    COUNTS.cached_bytes.store(0, Ordering::Relaxed);
}

/// In a child of fork: there are no zombies, and the only stack in use is that of the thread that forked, which is not
/// counted.
pub(super) fn after_fork_in_child() {
    for count in
        [&COUNTS.zombies, &COUNTS.zombie_stacks, &COUNTS.zombie_bytes, &COUNTS.in_use, &COUNTS.in_use_bytes]
    {
        count.store(0, Ordering::Relaxed);
    }
}

/// A thread on a stack of this size becomes a zombie; a stack of size 0 is not counted. The caller of this and of
/// `remove_zombie` holds the registry mutex.
pub(super) fn add_zombie(size: usize) {
    add(&COUNTS.zombies, 1);
    if size != 0 {
        add(&COUNTS.zombie_stacks, 1);
        add(&COUNTS.zombie_bytes, size);
    }
}

/// A zombie is reaped, and its stack is about to be released.
pub(super) fn remove_zombie(size: usize) {
    subtract(&COUNTS.zombies, 1);
    if size != 0 {
        subtract(&COUNTS.zombie_stacks, 1);
        subtract(&COUNTS.zombie_bytes, size);
    }
}

/// Returns the number of zombies.
pub(super) fn zombies() -> usize {
    COUNTS.zombies.load(Ordering::Relaxed)
}

fn max_cached_bytes() -> usize {
    if ADDRESS_SPACE_SCARCE.load(Ordering::Relaxed) { MAX_CACHED_BYTES_SCARCE } else { MAX_CACHED_BYTES }
}

/// Returns the limit while threads run: larger than `max` by what running threads use, up to twice `max`. So a burst of
/// threads need not unmap stacks while it lasts. A thread that ends lowers the limit by its own stack, and unmaps what
/// exceeds it, so that at most `max` is left after a burst.
fn max_while_running(max: usize, in_use: &AtomicUsize, zombies: usize) -> usize {
    max + in_use.load(Ordering::Relaxed).saturating_sub(zombies).min(max)
}

fn exceeds_limit_with(cached: usize, cached_bytes: usize) -> bool {
    let zombies = COUNTS.zombie_stacks.load(Ordering::Relaxed);
    let zombie_bytes = COUNTS.zombie_bytes.load(Ordering::Relaxed);
    cached + zombies > max_while_running(MAX_CACHED, &COUNTS.in_use, zombies)
        || cached_bytes + zombie_bytes
            > max_while_running(max_cached_bytes(), &COUNTS.in_use_bytes, zombie_bytes)
}

/// Returns whether the cached stacks alone are within the limits that hold while no thread runs.
pub(super) fn is_cache_within_limits() -> bool {
    COUNTS.cached.load(Ordering::Relaxed) <= MAX_CACHED
        && COUNTS.cached_bytes.load(Ordering::Relaxed) <= max_cached_bytes()
}

/// Returns whether the cached stacks and those of zombies exceed the limits that hold while the current threads run.
pub(super) fn exceeds_limit() -> bool {
    exceeds_limit_with(COUNTS.cached.load(Ordering::Relaxed), COUNTS.cached_bytes.load(Ordering::Relaxed))
}

/// Returns whether the stacks of zombies alone exceed these limits.
pub(super) fn zombies_exceed_limit() -> bool {
    exceeds_limit_with(0, 0)
}

/// Address space is limited or accounted, as of the last time a stack was mapped.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static ADDRESS_SPACE_SCARCE: AtomicBool = AtomicBool::new(false);

/// Updates `ADDRESS_SPACE_SCARCE`. Called before a stack of this size is mapped. While all stacks together are within
/// the smaller limit, the result would make no difference, and this makes no system call.
pub(super) fn refresh_limits(size: usize) {
    let all = COUNTS
        .cached_bytes
        .load(Ordering::Relaxed)
        .saturating_add(COUNTS.in_use_bytes.load(Ordering::Relaxed));
    if all.saturating_add(size) <= MAX_CACHED_BYTES_SCARCE {
        return;
    }
    ADDRESS_SPACE_SCARCE
        .store(memory::has_address_space_limit() || memory::has_strict_overcommit(), Ordering::Relaxed);
}
