//! The per-thread block: 192 bytes of static thread-local storage of each thread.
//!
//! A block begins as zeros, the valid initial value of every field. Only its own thread accesses it. What other threads
//! may access (a waiter, a table of locals) is elsewhere, and the block contains only a pointer to it.

use core::cell::Cell;

/// The number of object kinds of which each thread can cache a free slot.
pub(crate) const CACHED_KINDS: usize = 9;

/// The per-thread block. The module named at the end of each comment uses the field.
// glibc can only load a library by dlopen() if its thread-local storage is not more aligned than the thread control
// block: 64 bytes on x86-64, 16 bytes on other processors.
#[cfg_attr(target_arch = "x86_64", repr(C, align(64)))]
#[cfg_attr(not(target_arch = "x86_64"), repr(C, align(16)))]
pub(crate) struct PerThread {
    /// The owner tag of the thread, or of the timer whose function it runs: the identifier, shifted as in the word of a
    /// lock. 0 before it is first needed. `thread::ident`.
    pub(crate) owner_tag: Cell<u64>,
    /// The waiter of this thread, 0 before its first wait. Bit 0: it may be in a queue. `sync::waiter`.
    pub(crate) waiter: Cell<usize>,
    /// The handle of the current `Thread`, 0 if none has been created yet. `thread`.
    pub(crate) thread: Cell<usize>,
    /// The table of the thread's values of locals. `local::tables`.
    pub(crate) locals: Cell<usize>,
    /// The index of the last error, 0 if there was none. `capi`.
    pub(crate) error: Cell<u32>,
    /// Counts the releases of contended locks, for the fairness check. `lock::contention`.
    pub(crate) contended_releases: Cell<u32>,
    /// The RLock whose recursion count is in this block. `lock::recursion`, as the next two.
    pub(crate) cached_rlock: Cell<usize>,
    /// The table of the recursion counts of other RLocks, 0 if there is none.
    pub(crate) recursion_table: Cell<usize>,
    /// The recursion count of `cached_rlock`, less 1.
    pub(crate) cached_extra_count: Cell<u32>,
    /// The state of the exit hook, and the number of destructor rounds. `sys::libc_hooks`.
    pub(crate) exit_rounds: Cell<u32>,
    /// The leader's term in which this thread runs timers' functions. `timer::worker`.
    pub(crate) timer_leader_term: Cell<u32>,
    /// The number of forks in progress on this thread, between the library's fork handlers. `runtime::fork`, as the
    /// next two.
    pub(crate) fork_depth: Cell<u8>,
    /// The nesting level of the fork for which this thread holds the library's mutexes, 0 if it does not hold them.
    pub(crate) fork_lock_depth: Cell<u8>,
    /// Bit n is set if this process is the child of the nth of these forks, and has been reset.
    pub(crate) forks_child_reset: Cell<u16>,
    /// The thread reports a hang, and may be in the hook of the program. `dump::hang`.
    pub(crate) in_hang_hook: Cell<bool>,
    /// The kind of the slots in `slot_reserve`. `handle::slot_cache`, as the next one.
    pub(crate) slot_reserve_kind: Cell<u8>,
    /// The number of retired slots of the block of `slot_reserve` that are still to be freed.
    pub(crate) slots_to_free: Cell<u8>,
    /// The last contended Lock that the thread acquired or released had waiters. `lock::contention`, as the next two.
    pub(crate) expects_waiters: Cell<bool>,
    /// How fast the thread releases contended Locks.
    pub(crate) release_pace: Cell<u8>,
    /// Counts the acquires that have found a lock locked. `lock::cpu_turns`.
    pub(crate) contended_acquires: Cell<u8>,
    /// When the thread last measured its pace: the low bits of the time in ticks.
    pub(crate) pace_measured: Cell<u16>,
    /// Identifies the trace to which the thread has written its name, and the thread. `dump::trace`.
    pub(crate) traced: Cell<u64>,
    /// When the last wait ended that the thread has written to a trace. `dump::trace`.
    pub(crate) traced_until: Cell<u64>,
    /// The timers that this thread is finishing, innermost first: a list of `FinishingTimer`. `timer::finishing`.
    pub(crate) finishing_timers: Cell<usize>,
    /// The first `ForkEntry` of the fork list, that of the innermost call. `sync::fork_list`.
    pub(crate) fork_entries: Cell<usize>,
    /// A free slot of each of these kinds, or the state of the cache. `handle::slot_cache`.
    pub(crate) slot_cache: [Cell<usize>; CACHED_KINDS],
    /// Further free slots of one kind: the address of the first, and their number in the low bits.
    /// `handle::slot_cache`.
    pub(crate) slot_reserve: Cell<usize>,
}

const _: () = assert!(size_of::<PerThread>() <= 192, "src/sys/tls.c reserves 192 bytes");

// Where inline assembly is used instead, only the tests call this function.
#[cfg(all(
    not(model),
    any(
        test,
        not(all(
            target_arch = "x86_64",
            target_os = "linux",
            target_env = "gnu",
            target_pointer_width = "64"
        ))
    )
))]
unsafe extern "C" {
    safe fn threading_per_thread_block() -> *const PerThread;
}

#[cfg(model)]
use crate::model::thread::block as block_ptr;

#[cfg(all(
    not(model),
    target_arch = "x86_64",
    target_os = "linux",
    target_env = "gnu",
    target_pointer_width = "64"
))]
#[inline(always)]
fn block_ptr() -> *const PerThread {
    let block: *const PerThread;
    // SAFETY: reads the thread pointer, and the constant offset of the block from it (initial-exec model).
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

#[cfg(all(
    not(model),
    not(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu", target_pointer_width = "64"))
))]
#[inline(always)]
fn block_ptr() -> *const PerThread {
    threading_per_thread_block()
}

/// Returns the calling thread's `owner_tag`, without computing the address of the block.
#[inline(always)]
pub(crate) fn owner_tag() -> u64 {
    read_field::<{ core::mem::offset_of!(PerThread, owner_tag) }>()
}

/// Returns the calling thread's `locals`, without computing the address of the block.
#[inline(always)]
pub(crate) fn locals() -> usize {
    read_field::<{ core::mem::offset_of!(PerThread, locals) }>() as usize
}

#[cfg(all(
    not(model),
    target_arch = "x86_64",
    target_os = "linux",
    target_env = "gnu",
    target_pointer_width = "64"
))]
#[inline(always)]
fn read_field<const OFFSET: usize>() -> u64 {
    let word: u64;
    // SAFETY: as in `block_ptr`; the field at this offset has 64 bits.
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

#[cfg(not(all(
    not(model),
    target_arch = "x86_64",
    target_os = "linux",
    target_env = "gnu",
    target_pointer_width = "64"
)))]
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
    // SAFETY: the block is valid as long as its thread runs, aligned, and begins as zeros, which is valid; `PerThread`
    // is not `Sync`, so that the reference stays on this thread.
    f(unsafe { &*block_ptr() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_has_its_own_block() {
        assert_eq!(block_ptr(), threading_per_thread_block());
        with(|block| block.error.set(7));
        std::thread::spawn(|| with(|other| assert_eq!(other.error.get(), 0))).join().unwrap();
        with(|block| assert_eq!(block.error.replace(0), 7));
    }
}
