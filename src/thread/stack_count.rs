//! How many stacks there are, and how many are to be kept: see `thread::stack_cache`.

use crate::sys::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::sys::memory;

/// How many stacks are kept.
const MAX_CACHED: usize = 128;
/// How much of the address space they may take: so many of the usual size.
const MAX_CACHED_BYTES: usize = MAX_CACHED * (8 << 20);
/// How much where addresses are scarce: as much as pthread keeps.
const MAX_CACHED_BYTES_SCARCE: usize = 40 << 20;

/// How many stacks are kept, and how large they are together. Changed under the guard of all stacks.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static CACHED: AtomicUsize = AtomicUsize::new(0);
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static CACHED_BYTES: AtomicUsize = AtomicUsize::new(0);
/// The same of the stacks of threads that have ended and have not been is_reaped. Changed under the registry's guard.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static ZOMBIE: AtomicUsize = AtomicUsize::new(0);
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static ZOMBIE_BYTES: AtomicUsize = AtomicUsize::new(0);

/// The same of the stacks that threads have, the ended ones included. Changed under the guard of all stacks.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static IN_USE: AtomicUsize = AtomicUsize::new(0);
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static IN_USE_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Changes of a count that is changed under one guard only: not one locked operation for each.
fn add(count: &AtomicUsize, amount: usize) {
    count.store(count.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}

fn subtract(count: &AtomicUsize, amount: usize) {
    count.store(count.load(Ordering::Relaxed).wrapping_sub(amount), Ordering::Relaxed);
}

/// A thread gets a stack of this size. Under the guard of all stacks, as are the next three.
pub(super) fn taken(size: usize) {
    add(&IN_USE, 1);
    add(&IN_USE_BYTES, size);
}

/// It has no more use for it.
pub(super) fn given_back(size: usize) {
    subtract(&IN_USE, 1);
    subtract(&IN_USE_BYTES, size);
}

/// A stack of this size is kept from now on.
pub(super) fn kept(size: usize) {
    add(&CACHED, 1);
    add(&CACHED_BYTES, size);
}

pub(super) fn no_longer_kept(size: usize) {
    subtract(&CACHED, 1);
    subtract(&CACHED_BYTES, size);
}

/// The stacks that were kept are lost.
pub(super) fn keep_none() {
    CACHED.store(0, Ordering::Relaxed);
    CACHED_BYTES.store(0, Ordering::Relaxed);
}

/// In a child of fork: no thread is there but one, whose stack is not counted.
pub(super) fn after_fork_in_child() {
    for count in [&ZOMBIE, &ZOMBIE_BYTES, &IN_USE, &IN_USE_BYTES] {
        count.store(0, Ordering::Relaxed);
    }
}

/// A thread on a stack of this size is in its last destructor; 0 is not counted.
pub(super) fn count_zombie(size: usize) {
    if size != 0 {
        add(&ZOMBIE, 1);
        add(&ZOMBIE_BYTES, size);
    }
}

/// The stack of a thread that was told to `count_zombie` is about to be released.
pub(super) fn uncount_zombie(size: usize) {
    if size != 0 {
        subtract(&ZOMBIE, 1);
        subtract(&ZOMBIE_BYTES, size);
    }
}

fn max_cached_bytes() -> usize {
    if ADDRESS_SPACE_SCARCE.load(Ordering::Relaxed) { MAX_CACHED_BYTES_SCARCE } else { MAX_CACHED_BYTES }
}

/// How many stacks may be kept, and how large they may be, while threads run: each of those makes room for another
/// one at its end, so that in the end there are no more than are to be kept.
fn max_while_running(max: usize, taken: &AtomicUsize, ended: usize) -> usize {
    max + taken.load(Ordering::Relaxed).saturating_sub(ended).min(max)
}

fn exceeds_limit_with(kept: usize, kept_bytes: usize) -> bool {
    let (ended, ended_bytes) = (ZOMBIE.load(Ordering::Relaxed), ZOMBIE_BYTES.load(Ordering::Relaxed));
    kept + ended > max_while_running(MAX_CACHED, &IN_USE, ended)
        || kept_bytes + ended_bytes > max_while_running(max_cached_bytes(), &IN_USE_BYTES, ended_bytes)
}

/// Whether the stacks that are kept are no more than are to be kept.
pub(super) fn are_few() -> bool {
    CACHED.load(Ordering::Relaxed) <= MAX_CACHED && CACHED_BYTES.load(Ordering::Relaxed) <= max_cached_bytes()
}

/// Whether the stacks that are kept and those of ended threads are more together than are to be kept.
pub(super) fn exceeds_limit() -> bool {
    exceeds_limit_with(CACHED.load(Ordering::Relaxed), CACHED_BYTES.load(Ordering::Relaxed))
}

/// Whether those of ended threads alone are.
pub(super) fn zombies_exceed_limit() -> bool {
    exceeds_limit_with(0, 0)
}

/// Addresses are scarce, as far as that was known when a stack was mapped last.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static ADDRESS_SPACE_SCARCE: AtomicBool = AtomicBool::new(false);

pub(super) fn refresh_limits() {
    ADDRESS_SPACE_SCARCE
        .store(memory::has_address_space_limit() || memory::has_strict_overcommit(), Ordering::Relaxed);
}
