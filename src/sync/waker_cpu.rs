//! The CPU of the thread that last woke a waiter, for objects whose waiters have no record that the waker writes to:
//! events and semaphores.
//!
//! A signal handler may set an event or release a semaphore. So these calls cannot pin the slot: to remove a pin may
//! lock a mutex. Without a pin, they may run so late that the slot contains another object, of which they must not
//! change anything, not even a hint. So the waker writes to a table, and the waiter, which has pinned the slot, copies
//! the entry into the object's `AdaptiveSpin`.
//!
//! Several objects share an entry, and wakers may overwrite each other's, relaxed: the entries are hints.

use crate::sync::adaptive_spin::current_cpu_tag;
use crate::sync::padded::Padded;
use crate::sys::atomic::{AtomicU8, Ordering};

const ENTRIES_SHIFT: u32 = 6;

/// The `current_cpu_tag` of the last waker, 0 if there was none, by the hash of the object's address.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static CPUS: Padded<[AtomicU8; 1 << ENTRIES_SHIFT]> =
    Padded::new([const { AtomicU8::new(0) }; 1 << ENTRIES_SHIFT]);

/// The entry of the object.
fn entry<T>(object: &T) -> &'static AtomicU8 {
    // Fibonacci hashing, as in `lock::recursion`.
    let hash = (core::ptr::from_ref(object) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    &CPUS[(hash >> (u64::BITS - ENTRIES_SHIFT)) as usize]
}

/// Records that the calling thread is about to wake parked waiters of the object.
pub(crate) fn record<T>(object: &T) {
    let (entry, cpu) = (entry(object), current_cpu_tag());
    // Most entries do not change, so that the line stays in the caches of all CPUs.
    if entry.load(Ordering::Relaxed) != cpu {
        entry.store(cpu, Ordering::Relaxed);
    }
}

/// Returns the `current_cpu_tag` of the thread that has woken the calling thread, which was parked.
pub(crate) fn of<T>(object: &T) -> u8 {
    entry(object).load(Ordering::Relaxed)
}

/// Resets the module's state before each run of a model.
#[cfg(model)]
pub(crate) fn reset() {
    CPUS.iter().for_each(|cpu| cpu.store(0, Ordering::Relaxed));
}
