//! Prefetches: hints that a thread is about to change a cache line.

/// Requests the cache line of an address, which need not be valid, for a write.
///
/// A line that another CPU has changed is requested once, and not again by the first store. A store that misses the
/// cache delays the next locked instruction, for example that of the unlock of a mutex.
#[inline(always)]
pub(crate) fn prefetch_for_write<T>(address: *const T) {
    // Not `_mm_prefetch`, which prefetches for a read unless the target has a feature that some processors lack. On
    // those, `prefetchw` has no effect.
    #[cfg(all(target_arch = "x86_64", not(model)))]
    // SAFETY: accesses no memory.
    unsafe {
        core::arch::asm!("prefetchw [{}]", in(reg) address, options(nostack, preserves_flags, readonly))
    };
    #[cfg(not(all(target_arch = "x86_64", not(model))))]
    let _ = address;
}
