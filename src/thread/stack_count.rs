//! How many stacks there are, and how many are to be kept: see `thread::stack_cache`.

use crate::sys::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::sys::memory;

/// How many stacks are kept.
const MOST: usize = 128;
/// How much of the address space they may take: so many of the usual size.
const MOST_BYTES: usize = MOST * (8 << 20);
/// How much where addresses are scarce: as much as pthread keeps.
const FEW_BYTES: usize = 40 << 20;

/// How many stacks are kept, and how large they are together. Changed under the guard of all stacks.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static KEPT: AtomicUsize = AtomicUsize::new(0);
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static KEPT_BYTES: AtomicUsize = AtomicUsize::new(0);
/// The same of the stacks of threads that have ended and have not been reclaimed. Changed under the registry's guard.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static ENDED: AtomicUsize = AtomicUsize::new(0);
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static ENDED_BYTES: AtomicUsize = AtomicUsize::new(0);

/// The same of the stacks that threads have, the ended ones included. Changed under the guard of all stacks.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static TAKEN: AtomicUsize = AtomicUsize::new(0);
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static TAKEN_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Changes of a count that is changed under one guard only: not one locked operation for each.
fn add(count: &AtomicUsize, number: usize) {
    count.store(count.load(Ordering::Relaxed).wrapping_add(number), Ordering::Relaxed);
}

fn subtract(count: &AtomicUsize, number: usize) {
    count.store(count.load(Ordering::Relaxed).wrapping_sub(number), Ordering::Relaxed);
}

/// A thread gets a stack of this size. Under the guard of all stacks, as are the next three.
pub(super) fn taken(size: usize) {
    add(&TAKEN, 1);
    add(&TAKEN_BYTES, size);
}

/// It has no more use for it.
pub(super) fn given_back(size: usize) {
    subtract(&TAKEN, 1);
    subtract(&TAKEN_BYTES, size);
}

/// A stack of this size is kept from now on.
pub(super) fn kept(size: usize) {
    add(&KEPT, 1);
    add(&KEPT_BYTES, size);
}

pub(super) fn no_longer_kept(size: usize) {
    subtract(&KEPT, 1);
    subtract(&KEPT_BYTES, size);
}

/// The stacks that were kept are lost.
pub(super) fn keep_none() {
    KEPT.store(0, Ordering::Relaxed);
    KEPT_BYTES.store(0, Ordering::Relaxed);
}

/// In a child of fork: no thread is there but one, whose stack is not counted.
pub(super) fn after_fork_in_child() {
    for count in [&ENDED, &ENDED_BYTES, &TAKEN, &TAKEN_BYTES] {
        count.store(0, Ordering::Relaxed);
    }
}

/// A thread on a stack of this size is in its last destructor; 0 is not counted.
pub(super) fn has_ended(size: usize) {
    if size != 0 {
        add(&ENDED, 1);
        add(&ENDED_BYTES, size);
    }
}

/// The stack of a thread that was told to `has_ended` is about to be released.
pub(super) fn no_longer_ended(size: usize) {
    if size != 0 {
        subtract(&ENDED, 1);
        subtract(&ENDED_BYTES, size);
    }
}

fn most_bytes() -> usize {
    if SCARCE.load(Ordering::Relaxed) { FEW_BYTES } else { MOST_BYTES }
}

/// How many stacks may be kept, and how large they may be, while threads run: each of those makes room for another
/// one at its end, so that in the end there are no more than are to be kept.
fn most_while_running(most: usize, taken: &AtomicUsize, ended: usize) -> usize {
    most + taken.load(Ordering::Relaxed).saturating_sub(ended).min(most)
}

fn are_more_than_most(kept: usize, kept_bytes: usize) -> bool {
    let (ended, ended_bytes) = (ENDED.load(Ordering::Relaxed), ENDED_BYTES.load(Ordering::Relaxed));
    kept + ended > most_while_running(MOST, &TAKEN, ended)
        || kept_bytes + ended_bytes > most_while_running(most_bytes(), &TAKEN_BYTES, ended_bytes)
}

/// Whether the stacks that are kept are no more than are to be kept.
pub(super) fn are_few() -> bool {
    KEPT.load(Ordering::Relaxed) <= MOST && KEPT_BYTES.load(Ordering::Relaxed) <= most_bytes()
}

/// Whether the stacks that are kept and those of ended threads are more together than are to be kept.
pub(super) fn are_too_many() -> bool {
    are_more_than_most(KEPT.load(Ordering::Relaxed), KEPT_BYTES.load(Ordering::Relaxed))
}

/// Whether those of ended threads alone are.
pub(super) fn too_many_have_ended() -> bool {
    are_more_than_most(0, 0)
}

/// Addresses are scarce, as far as that was known when a stack was mapped last.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static SCARCE: AtomicBool = AtomicBool::new(false);

pub(super) fn look_at_limits() {
    SCARCE.store(memory::has_address_space_limit() || memory::has_strict_overcommit(), Ordering::Relaxed);
}
