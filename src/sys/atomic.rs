//! The atomics of the library: the machine's, but for the model checkers, under which each access is a step that
//! other threads may come before or after, and may see late (tests/models/).

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
