//! The atomics of the library: those of the machine, or those of a model checker (tests/models/), for which each access
//! is a point at which threads may be switched, and a load may return an older value.

#[cfg(not(model))]
pub(crate) use core::hint::spin_loop;
#[cfg(not(model))]
pub(crate) use core::sync::atomic::{
    AtomicBool, AtomicI64, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, fence,
};

pub(crate) use core::sync::atomic::Ordering;

/// A sequentially consistent fence, for a thread that has executed a read-modify-write operation since the store that
/// the fence is to order before later loads. Where that operation was itself a full barrier, this is no instruction.
#[inline(always)]
pub(crate) fn fence_after_rmw() {
    if cfg!(all(target_arch = "x86_64", not(model))) {
        core::sync::atomic::compiler_fence(Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
}

#[cfg(model)]
pub(crate) use crate::model::atomic::{
    AtomicBool, AtomicI64, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, fence, spin_loop,
};
