//! parking_lot and Rust's std for the benchmark, with opaque pointers to objects, and an exported function for each
//! operation. The objects that they lack (event, semaphore, buffer) are built as a Rust program would build them,
//! inlined.
//!
//! The contract of all functions: the pointer is from the `_new` of the object and has not been freed, and a lock is
//! released by the thread that holds it.
#![allow(clippy::missing_safety_doc)]

mod built;
mod parking_lot;
mod std;
