//! The atomics of the library: those of the machine, or those of a model checker (tests/models/), for which each access
//! is a point at which threads may be switched, and a load may return an older value.

#[cfg(not(model))]
pub(crate) use core::hint::spin_loop;
#[cfg(not(model))]
pub(crate) use core::sync::atomic::{
    AtomicBool, AtomicI64, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, fence,
};

pub(crate) use core::sync::atomic::Ordering;

#[cfg(model)]
pub(crate) use crate::model::atomic::{
    AtomicBool, AtomicI64, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, fence, spin_loop,
};

/// A full fence for a thread that has made a change by a read-modify-write operation, or has read the result of such a
/// change by another thread. On x86, these operations are full fences themselves, and loads are not reordered, so that
/// this only stops the compiler.
#[inline(always)]
pub(crate) fn fence_after_rmw() {
    #[cfg(all(not(model), any(target_arch = "x86_64", target_arch = "x86")))]
    core::sync::atomic::compiler_fence(Ordering::SeqCst);
    #[cfg(not(all(not(model), any(target_arch = "x86_64", target_arch = "x86"))))]
    fence(Ordering::SeqCst);
}
