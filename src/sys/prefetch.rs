//! Prefetches: hints that a thread is about to change a cache line which another thread has changed last.

/// Requests the cache line of a value for a write. Reads nothing, and may be called with the address of memory that is
/// not mapped any more.
#[inline(always)]
pub(crate) fn prefetch_for_write<T>(value: *const T) {
    // Not `_mm_prefetch`, which prefetches for a read unless the target has a feature that not all processors have.
    // Those without it execute the instruction as one without effect.
    #[cfg(all(target_arch = "x86_64", not(model)))]
    // SAFETY: a hint, which has no other effect.
    unsafe {
        core::arch::asm!("prefetchw byte ptr [{0}]", in(reg) value, options(nostack, preserves_flags, readonly))
    };
    #[cfg(not(all(target_arch = "x86_64", not(model))))]
    let _ = value;
}
