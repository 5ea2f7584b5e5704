//! Atomics under a model checker. They have the layout of the machine's atomics (`core::sync::atomic`).
//!
//! - Under shuttle, each access is a point where another thread may be scheduled, followed by an access to the
//!   machine's atomic.
//! - Under loom, the machine's atomic holds only the initial value. All other values are in an atomic of loom's, which
//!   is found by the address.
//! - Outside of a run of a model, accesses go to the machine's atomic.

#![cfg_attr(not(model = "loom"), allow(unused_variables, reason = "shuttle has one ordering"))]

use core::sync::atomic as machine;
use core::sync::atomic::Ordering::{self, SeqCst};

use super::engine;

/// Lets other threads run: a spinning thread waits for one of them.
pub(crate) fn spin_loop() {
    engine::yield_now();
}

pub(crate) fn fence(ordering: Ordering) {
    engine::fence(ordering);
}

macro_rules! word {
    ($name:ident, $value:ty) => {
        #[repr(transparent)]
        pub(crate) struct $name(machine::$name);

        #[allow(dead_code, reason = "not every width needs every operation")]
        impl $name {
            pub(crate) const fn new(value: $value) -> Self {
                $name(machine::$name::new(value))
            }

            pub(crate) fn as_ptr(&self) -> *mut $value {
                self.0.as_ptr()
            }

            #[track_caller]
            pub(crate) fn load(&self, order: Ordering) -> $value {
                engine::access!($name, &self.0, word => word.load(order), word.load(SeqCst))
            }

            #[track_caller]
            pub(crate) fn store(&self, value: $value, order: Ordering) {
                engine::access!($name, &self.0, word => word.store(value, order), word.store(value, SeqCst))
            }

            #[track_caller]
            pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                engine::access!($name, &self.0, word => word.swap(value, order), word.swap(value, SeqCst))
            }

            #[track_caller]
            pub(crate) fn compare_exchange(
                &self,
                from: $value,
                to: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                engine::access!($name, &self.0, word => word.compare_exchange(from, to, success, failure),
                    word.compare_exchange(from, to, SeqCst, SeqCst))
            }

            /// Never fails spuriously: that would only repeat a loop.
            #[track_caller]
            pub(crate) fn compare_exchange_weak(
                &self,
                from: $value,
                to: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.compare_exchange(from, to, success, failure)
            }

            #[track_caller]
            pub(crate) fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                engine::access!($name, &self.0, word => word.fetch_add(value, order), word.fetch_add(value, SeqCst))
            }

            #[track_caller]
            pub(crate) fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                engine::access!($name, &self.0, word => word.fetch_sub(value, order), word.fetch_sub(value, SeqCst))
            }

            #[track_caller]
            pub(crate) fn fetch_max(&self, value: $value, order: Ordering) -> $value {
                engine::access!($name, &self.0, word => word.fetch_max(value, order), word.fetch_max(value, SeqCst))
            }

            #[track_caller]
            pub(crate) fn fetch_and(&self, value: $value, order: Ordering) -> $value {
                engine::access!($name, &self.0, word => word.fetch_and(value, order), word.fetch_and(value, SeqCst))
            }

            #[track_caller]
            pub(crate) fn fetch_or(&self, value: $value, order: Ordering) -> $value {
                engine::access!($name, &self.0, word => word.fetch_or(value, order), word.fetch_or(value, SeqCst))
            }
        }

        impl Default for $name {
            fn default() -> Self {
                $name::new(Default::default())
            }
        }
    };
}

word!(AtomicU8, u8);
word!(AtomicU32, u32);
word!(AtomicU64, u64);

macro_rules! over {
    ($name:ident $(<$T:ident>)?, $word:ident, $value:ty, $into:expr, $from:expr) => {
        #[repr(transparent)]
        pub(crate) struct $name $(<$T>)? ($word $(, core::marker::PhantomData<*mut $T>)?);

        #[allow(dead_code, reason = "not every type needs every operation")]
        impl $(<$T>)? $name $(<$T>)? {
            #[track_caller]
            pub(crate) fn load(&self, order: Ordering) -> $value {
                $from(self.0.load(order))
            }

            #[track_caller]
            pub(crate) fn store(&self, value: $value, order: Ordering) {
                self.0.store($into(value), order)
            }

            #[track_caller]
            pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                $from(self.0.swap($into(value), order))
            }

            #[track_caller]
            pub(crate) fn compare_exchange(
                &self,
                from: $value,
                to: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.0.compare_exchange($into(from), $into(to), success, failure).map($from).map_err($from)
            }
        }
    };
}

over!(AtomicBool, AtomicU8, bool, u8::from, |byte| byte != 0);
over!(AtomicI64, AtomicU64, i64, |value| value as u64, |word| word as i64);
over!(AtomicUsize, AtomicU64, usize, |value| value as u64, |word| word as usize);
over!(AtomicPtr<T>, AtomicU64, *mut T, |value| value as u64, |word| word as *mut T);

// SAFETY: it holds only the value of a pointer, like the machine's `AtomicPtr`.
unsafe impl<T> Send for AtomicPtr<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for AtomicPtr<T> {}

impl AtomicBool {
    pub(crate) const fn new(value: bool) -> Self {
        AtomicBool(AtomicU8::new(value as u8))
    }
}

#[allow(dead_code, reason = "not every model needs every operation")]
impl AtomicUsize {
    pub(crate) const fn new(value: usize) -> Self {
        AtomicUsize(AtomicU64::new(value as u64))
    }

    pub(crate) fn fetch_add(&self, value: usize, order: Ordering) -> usize {
        self.0.fetch_add(value as u64, order) as usize
    }

    pub(crate) fn fetch_sub(&self, value: usize, order: Ordering) -> usize {
        self.0.fetch_sub(value as u64, order) as usize
    }
}

impl<T> AtomicPtr<T> {
    /// `null` must be NULL: the addresses of other pointers are not known at compile time.
    pub(crate) const fn new(null: *mut T) -> Self {
        assert!(null.is_null());
        AtomicPtr(AtomicU64::new(0), core::marker::PhantomData)
    }
}
