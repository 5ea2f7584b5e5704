//! The part for shuttle: random interleavings under sequential consistency.

use core::cell::Cell;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{self, Relaxed};
use std::sync::Arc;

use shuttle::scheduler::{PctScheduler, RandomScheduler};

use super::{Model, is_running, setting};

pub use shuttle::thread::JoinHandle;
pub(in crate::model) type Id = shuttle::thread::ThreadId;
pub(in crate::model) use crate::sys::atomic::AtomicU64 as SharedU64;
pub(in crate::model) type Parked = shuttle::thread::Thread;

/// A point where another thread may be scheduled. shuttle schedules at accesses to its own atomics; `STEP` has no
/// other purpose.
pub(in crate::model) fn step() {
    static STEP: shuttle::sync::atomic::AtomicBool = shuttle::sync::atomic::AtomicBool::new(false);
    if is_running() {
        STEP.load(Ordering::SeqCst);
    }
}

pub(super) fn yield_now() {
    shuttle::thread::yield_now();
}

pub(super) fn fence(_: Ordering) {
    step();
}

pub(in crate::model) fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    shuttle::thread::spawn(f)
}

pub(in crate::model) fn current() -> (Id, Parked) {
    let current = shuttle::thread::current();
    (current.id(), current)
}

pub(in crate::model) fn park() {
    shuttle::thread::park();
}

/// Does nothing: the accesses to the word of an internal mutex are steps already.
pub(in crate::model) fn touch(_: usize) {}

/// Detects unordered accesses to a `RaceCell`.
pub(in crate::model) struct CheckedCell(Cell<bool>);

impl CheckedCell {
    pub(in crate::model) fn new() -> Self {
        CheckedCell(Cell::new(false))
    }

    pub(in crate::model) fn with_exclusive<R>(&self, f: impl FnOnce() -> R) -> R {
        assert!(!self.0.replace(true), "two threads access the data at the same time");
        step();
        let result = f();
        self.0.set(false);
        result
    }
}

/// The kernel's lock of the futex queue at one address. It needs no state: no other thread runs between two steps.
pub(in crate::model) struct Bucket;

impl Bucket {
    pub(in crate::model) fn of(_: usize) -> Self {
        Bucket
    }

    pub(in crate::model) fn with_exclusive<R>(&self, f: impl FnOnce() -> R) -> R {
        step();
        f()
    }
}

pub(super) fn begin_run() {}

pub(in crate::model) fn clear_run() {}

pub(super) fn check(model: &Model, run: impl Fn() + Send + Sync + 'static) -> u64 {
    let (run, runs) = (Arc::new(run), Arc::new(AtomicU64::new(0)));
    let times = setting("MODEL_RUNS", 2000_usize) * model.times;
    let seed = setting("MODEL_SEED", 1_u64);
    let once = || {
        let (run, runs) = (run.clone(), runs.clone());
        move || {
            runs.fetch_add(1, Relaxed);
            run();
        }
    };
    let config = || {
        let mut config = shuttle::Config::new();
        config.silence_warnings = true;
        config.stack_size = 1 << 18;
        config
    };
    println!("{}: seed {seed}", model.name);
    shuttle::Runner::new(RandomScheduler::new_from_seed(seed, times), config()).run(once());
    // PCT switches threads at few, random steps, and so finds rare interleavings sooner.
    for depth in 2..=4 {
        shuttle::Runner::new(PctScheduler::new_from_seed(seed, depth, times / 3), config()).run(once());
    }
    runs.load(Relaxed)
}
