//! A compare-and-store: a compare-and-swap whose store is a plain instruction instead of a locked one, so that it takes
//! 1 ns instead of 5. It is for words that one thread stores very often, and that other threads rarely change.
//!
//! A thread that has changed the word must wait until no compare-and-store that began before can still overwrite the
//! change: it calls `finish_others`, and then reads the word again. If its change was overwritten, it repeats it.
//! `finish_others` returns when each compare-and-store by another thread has stored its value, or will see the change.
//!
//! The compare and the store are a restartable sequence (`rseq`): if the kernel interrupts a thread between them, to
//! run another thread or a signal handler, the thread does not continue there, but at the sequence's abort handler, and
//! the compare-and-store fails. `membarrier(PRIVATE_EXPEDITED_RSEQ)` interrupts all running threads of the process in
//! this way, which also completes their stores. A fence alone would not be enough: a thread may be interrupted between
//! its compare and its store for any length of time.
//!
//! This needs Linux 5.10 or later, a libc that registers each thread's `struct rseq` with the kernel (glibc 2.35), and
//! a process that had one thread when the library was loaded: see `sys::asymmetric_fence`. In other cases, and where
//! the kernel or an emulator does not support it, each compare-and-store fails, and the caller uses a compare-and-swap.
//! The same holds for processors other than x86-64: on some of them compare-and-swaps are cheap, and none has been
//! measured.
//!
//! A child of fork inherits both registrations. A sequence that has ended clears the pointer to it in the thread's
//! `struct rseq`: a program may unload a plugin with the static library, and the kernel reads the pointer later.

use crate::sys::atomic::AtomicU64;

#[cfg(all(target_os = "linux", target_arch = "x86_64", target_pointer_width = "64", not(model)))]
pub(crate) use rseq::{compare_and_store, finish_others, is_available, register};

#[cfg(not(all(target_os = "linux", target_arch = "x86_64", target_pointer_width = "64", not(model))))]
pub(crate) use fallback::{compare_and_store, finish_others, is_available, register};

#[cfg(all(target_os = "linux", target_arch = "x86_64", target_pointer_width = "64", not(model)))]
mod rseq {
    use super::AtomicU64;
    use crate::sys;
    use crate::sys::asymmetric_fence;
    use crate::sys::asymmetric_fence::linux::membarrier;
    use crate::sys::calling_thread::pause_for_a_millisecond;
    use core::arch::asm;
    use core::ffi::{CStr, c_int};
    use core::sync::atomic::{AtomicBool, AtomicIsize, Ordering};

    const REGISTER: c_int = libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ;
    const RESTART_OTHERS: c_int = libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ;

    /// The offset of a thread's `struct rseq` from its thread pointer, or 0: then each compare-and-store fails.
    #[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
    static OFFSET: AtomicIsize = AtomicIsize::new(0);
    /// Whether there may be a compare-and-store that has begun and not ended.
    #[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
    static IS_AVAILABLE: AtomicBool = AtomicBool::new(false);

    /// Called when the library is loaded, by the initial thread, after `asymmetric_fence::register`.
    pub(crate) fn register() {
        let offset = rseq_offset();
        // The fences are available only if the process has one thread, in which case this call takes little time.
        if offset != 0 && asymmetric_fence::is_available() && membarrier(REGISTER) {
            IS_AVAILABLE.store(true, Ordering::Relaxed);
            OFFSET.store(offset, Ordering::Relaxed);
        }
    }

    /// Returns glibc's `__rseq_offset`, or 0 if glibc has not registered the initial thread's `struct rseq`.
    fn rseq_offset() -> isize {
        let find = |name: &CStr| {
            // SAFETY: the name ends with NUL.
            unsafe { sys::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }
        };
        let (size, offset) = (find(c"__rseq_size").cast::<u32>(), find(c"__rseq_offset").cast::<isize>());
        // SAFETY: glibc's constants with these names have these types.
        unsafe { if size.is_null() || offset.is_null() || *size == 0 { 0 } else { *offset } }
    }

    /// Returns whether a compare-and-store may still store. If not, `finish_others` need not be called.
    #[inline]
    pub(crate) fn is_available() -> bool {
        IS_AVAILABLE.load(Ordering::Relaxed)
    }

    /// Stores `new`, with release, if the word is `expected`. Returns false if it is not, or if the store is not
    /// possible.
    #[inline(always)]
    pub(crate) fn compare_and_store(word: &AtomicU64, expected: u64, new: u64) -> bool {
        let offset = OFFSET.load(Ordering::Relaxed);
        if offset == 0 {
            return false;
        }
        let stored: u32;
        // The fields of `struct rseq`: 4 bytes after its beginning `cpu_id`, negative in a thread that is not
        // registered, and 8 bytes after it `rseq_cs`, the address of the current sequence. In the descriptor of a
        // sequence: version and flags, the address of its first instruction, the length, and the address of the abort
        // handler, which must follow the signature that glibc has registered. (The bytes before that are the beginning
        // of an invalid instruction of which the signature is the end.) The offset is read again in the sequence, so
        // that a thread that was interrupted before it finds that `finish_others` has failed.
        // SAFETY: `offset` is that of the calling thread's `struct rseq`, and the word is valid. The sequence has one
        // store to memory that others see, its last instruction. The abort handler leaves all registers unchanged.
        unsafe {
            asm!(
                ".pushsection .data.rel.ro.threading_rseq, \"aw\", @progbits",
                ".balign 32",
                "2:",
                ".long 0, 0",
                ".quad 3f, 4f - 3f, 5f",
                ".popsection",
                ".pushsection .text.unlikely.threading_rseq, \"ax\", @progbits",
                ".byte 0x0f, 0xb9, 0x3d",
                ".long 0x53053053",
                "5:",
                "jmp 6f",
                ".popsection",
                "xor {stored:e}, {stored:e}",
                "cmp dword ptr fs:[{offset} + 4], 0",
                "jl 7f",
                "lea {descriptor}, [rip + 2b]",
                "mov qword ptr fs:[{offset} + 8], {descriptor}",
                "3:",
                "cmp qword ptr [rip + {current_offset}], 0",
                "je 6f",
                "cmp qword ptr [{word}], {expected}",
                "jne 6f",
                "mov qword ptr [{word}], {new}",
                "4:",
                "mov {stored:e}, 1",
                "6:",
                "mov qword ptr fs:[{offset} + 8], 0",
                "7:",
                current_offset = sym OFFSET,
                stored = out(reg) stored,
                descriptor = out(reg) _,
                offset = in(reg) offset,
                word = in(reg) word.as_ptr(),
                expected = in(reg) expected,
                new = in(reg) new,
                options(nostack),
            );
        }
        stored != 0
    }

    /// Returns when each compare-and-store by another thread has stored its value, or will see what the caller has
    /// written. Called only if `is_available` returns true.
    #[cold]
    pub(crate) fn finish_others() {
        core::sync::atomic::fence(Ordering::SeqCst);
        if membarrier(RESTART_OTHERS) || membarrier(REGISTER) && membarrier(RESTART_OTHERS) {
            return;
        }
        // The program has forbidden the call since (seccomp). From now on, each compare-and-store that begins fails. Of
        // those that have begun, a thread that runs completes the two instructions much earlier than this, and one that
        // does not run is restarted when it does.
        OFFSET.store(0, Ordering::Relaxed);
        pause_for_a_millisecond();
        IS_AVAILABLE.store(false, Ordering::Relaxed);
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_change_is_not_overwritten_after_finish_others() {
            const TURNS: u32 = 2_000;
            if !is_available() {
                return;
            }
            static WORD: AtomicU64 = AtomicU64::new(0);
            let storing = std::thread::spawn(|| {
                let mut stores = 0_u64;
                while WORD.load(Ordering::Relaxed) != u64::MAX {
                    if WORD.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                        if compare_and_store(&WORD, 1, 0) {
                            stores += 1;
                        } else {
                            let _ = WORD.compare_exchange(1, 0, Ordering::Release, Ordering::Relaxed);
                        }
                    }
                }
                stores
            });
            for _ in 0..TURNS {
                while WORD.compare_exchange(1, 3, Ordering::Relaxed, Ordering::Relaxed).is_err() {
                    core::hint::spin_loop();
                }
                finish_others();
                let changed = WORD.load(Ordering::Relaxed);
                for _ in 0..1000 {
                    // If the change was overwritten, 0 or 1 follow each other.
                    assert!(WORD.load(Ordering::Relaxed) == 3 || changed != 3);
                }
                let _ = WORD.compare_exchange(3, 0, Ordering::Relaxed, Ordering::Relaxed);
            }
            while WORD.compare_exchange(0, u64::MAX, Ordering::Relaxed, Ordering::Relaxed).is_err() {
                core::hint::spin_loop();
            }
            let stores = storing.join().unwrap();
            assert_ne!(stores, 0);
        }
    }
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64", target_pointer_width = "64", not(model))))]
mod fallback {
    use super::AtomicU64;
    #[cfg(model)]
    use crate::sys::atomic::{AtomicU32, Ordering, spin_loop};

    /// In a model: the number of threads between the compare and the store. `finish_others` waits for them. That a
    /// thread is interrupted there, and compares again, is as if it had begun later.
    #[cfg(model)]
    static STORING: AtomicU32 = AtomicU32::new(0);

    pub(crate) fn register() {}

    #[inline(always)]
    pub(crate) fn is_available() -> bool {
        cfg!(model)
    }

    #[inline(always)]
    pub(crate) fn compare_and_store(word: &AtomicU64, expected: u64, new: u64) -> bool {
        #[cfg(model)]
        {
            STORING.fetch_add(1, Ordering::AcqRel);
            let is_equal = word.load(Ordering::Relaxed) == expected;
            if is_equal {
                // loom does not order a store after a read-modify-write of another thread that it overwrites.
                word.swap(new, Ordering::Release);
            }
            STORING.fetch_sub(1, Ordering::AcqRel);
            is_equal
        }
        #[cfg(not(model))]
        {
            let _ = (word, expected, new);
            false
        }
    }

    pub(crate) fn finish_others() {
        #[cfg(model)]
        while STORING.fetch_add(0, Ordering::AcqRel) != 0 {
            spin_loop();
        }
    }
}
