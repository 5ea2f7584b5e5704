//! What the library keeps for each system thread: one block of 128 bytes in static thread-local storage.
//!
//! Zero is the right initial value of every field. A block belongs to its thread alone; what other threads
//! may touch (a waiter, a table of locals) lives elsewhere and is only pointed to from here.

use core::cell::Cell;

/// How many kinds of objects have a spare slot in each thread.
pub(crate) const CACHED_KINDS: usize = 2;
/// The states of a spare slot's word in which it has no slot: see `handle::slot_cache`.
pub(crate) const SPARE_CLOSED: usize = 0;
pub(crate) const SPARE_EMPTY: usize = 1;

/// The block. Each field is owned by the module named beside it.
#[repr(C, align(64))]
pub(crate) struct PerThread {
    /// The identity of whoever runs here (a thread, or a timer while its function runs), shifted as a lock's
    /// word holds it; 0 as long as nobody asked. `thread::ident`.
    pub(crate) owner_tag: Cell<u64>,
    /// The record on which this thread sleeps. `futex::waiter`.
    pub(crate) waiter: Cell<usize>,
    /// The handle of the current `Thread`, 0 if it has none yet. `thread::ident`.
    pub(crate) thread: Cell<usize>,
    /// The values of the locals. `local::tables`.
    pub(crate) locals: Cell<usize>,
    /// The number of the last error, 0 if there is none. `capi`.
    pub(crate) error: Cell<u32>,
    /// How often it has released a lock in a hurry. `raw_lock`.
    pub(crate) contended_releases: Cell<u32>,
    /// The RLock whose levels are counted here. `lock::recursion`, as the next two.
    pub(crate) cached_rlock: Cell<usize>,
    /// Others that are counted.
    pub(crate) recursion_table: Cell<usize>,
    /// How often it holds `cached_rlock` beyond the first time.
    pub(crate) cached_extra_count: Cell<u32>,
    /// Whether libc tells of the thread's end, and how often it has. `sys::libc_hooks`.
    pub(crate) exit_rounds: Cell<u32>,
    /// Under which lead it runs timers' functions. `timer::worker`.
    pub(crate) timer_leader_term: Cell<u32>,
    /// In how many forks it is, between the library's handlers. `runtime::fork`, as the next two.
    pub(crate) fork_depth: Cell<u8>,
    /// For which of them it holds the library's lists.
    pub(crate) fork_lock_depth: Cell<u8>,
    /// In which of them it has begun as the child.
    pub(crate) forks_child_reset: Cell<u16>,
    /// The timers that it is ending, the last one first: a list of `FinishingTimer`. `timer::finishing`.
    pub(crate) finishing_timers: Cell<usize>,
    /// The threads for whose end it waits, the innermost first: a list of `ActiveJoin`. `thread::join`.
    pub(crate) active_joins: Cell<usize>,
    /// The slots that it gave back last. `handle::spare`.
    pub(crate) slot_cache: [Cell<usize>; CACHED_KINDS],
}

const _: () = assert!(size_of::<PerThread>() == 128, "src/sys/tls.c reserves 128 bytes");

// Where inline assembly knows a shorter way, only the tests take this one.
#[cfg(all(
    not(model),
    any(test, not(all(target_arch = "x86_64", target_os = "linux", target_pointer_width = "64")))
))]
unsafe extern "C" {
    safe fn threading_per_thread_block() -> *const PerThread;
}

#[cfg(model)]
use crate::model::thread::block as block_ptr;

#[cfg(all(not(model), target_arch = "x86_64", target_os = "linux", target_pointer_width = "64"))]
#[inline(always)]
fn block_ptr() -> *const PerThread {
    let block: *const PerThread;
    // SAFETY: reads the thread pointer and the constant offset of the block from it (initial-exec model).
    unsafe {
        core::arch::asm!(
            "mov {block}, qword ptr fs:[0]",
            "add {block}, qword ptr [rip + threading_per_thread@GOTTPOFF]",
            block = out(reg) block,
            options(pure, readonly, nostack),
        )
    };
    block
}

#[cfg(all(not(model), not(all(target_arch = "x86_64", target_os = "linux", target_pointer_width = "64"))))]
#[inline(always)]
fn block_ptr() -> *const PerThread {
    threading_per_thread_block()
}

/// The calling thread's `key`, in the fewest steps.
#[inline(always)]
pub(crate) fn owner_tag() -> u64 {
    read_field::<{ core::mem::offset_of!(PerThread, owner_tag) }>()
}

/// The calling thread's `locals`, in the fewest steps.
#[inline(always)]
pub(crate) fn locals() -> usize {
    read_field::<{ core::mem::offset_of!(PerThread, locals) }>() as usize
}

#[cfg(all(not(model), target_arch = "x86_64", target_os = "linux", target_pointer_width = "64"))]
#[inline(always)]
fn read_field<const OFFSET: usize>() -> u64 {
    let word: u64;
    // SAFETY: as in `block_ptr`; at this offset of the block lies a field of so many bits.
    unsafe {
        core::arch::asm!(
            "mov {word}, qword ptr [rip + threading_per_thread@GOTTPOFF]",
            "mov {word}, qword ptr fs:[{word} + {offset}]",
            word = out(reg) word,
            offset = const OFFSET,
            options(pure, readonly, nostack, preserves_flags),
        )
    };
    word
}

#[cfg(not(all(not(model), target_arch = "x86_64", target_os = "linux", target_pointer_width = "64")))]
#[inline(always)]
fn read_field<const OFFSET: usize>() -> u64 {
    with(|block| {
        if OFFSET == core::mem::offset_of!(PerThread, owner_tag) {
            block.owner_tag.get()
        } else {
            block.locals.get() as u64
        }
    })
}

/// Runs `f` on the calling thread's block.
#[inline(always)]
pub(crate) fn with<R>(f: impl FnOnce(&PerThread) -> R) -> R {
    // SAFETY: the block lives as long as its thread, is aligned, and starts as zero, which is valid;
    // `PerThread` is not Sync, so that the reference stays on this thread.
    f(unsafe { &*block_ptr() })
}

/// The calling thread may keep slots from now on: its exit hook is registered, and will return them.
pub(crate) fn open_spares() {
    with(|block| {
        for spare in &block.slot_cache {
            if spare.get() == SPARE_CLOSED {
                spare.set(SPARE_EMPTY);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_has_a_block_of_its_own() {
        assert_eq!(block_ptr(), threading_per_thread_block());
        with(|block| block.error.set(7));
        std::thread::spawn(|| with(|other| assert_eq!(other.error.get(), 0))).join().unwrap();
        with(|block| assert_eq!(block.error.replace(0), 7));
    }
}
