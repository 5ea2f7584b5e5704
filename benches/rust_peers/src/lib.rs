//! parking_lot and Rust's std for the benchmark: each object behind an opaque pointer, each operation one
//! exported function. What they have not (event, semaphore, buffer) is built as a Rust program would build
//! it, inlined.
//!
//! Every function's contract is that of C: the pointer comes from the object's `_new` and was not freed, and
//! a lock is released by the thread that holds it.
#![allow(clippy::missing_safety_doc)]

mod built;
mod parking_lot;
mod std;
