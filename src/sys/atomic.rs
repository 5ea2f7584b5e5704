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
