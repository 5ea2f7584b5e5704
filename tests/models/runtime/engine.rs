//! What the two model checkers have in common, and each one's own part.

use core::cell::Cell;
use core::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

/// Objects, statics and the futex are those of the process: one model runs at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

thread_local! {
    /// A model runs on this thread of the system's.
    static IS_RUNNING: Cell<bool> = const { Cell::new(false) };
    static SPINS: Cell<bool> = const { Cell::new(false) };
}

/// Whether accesses are steps of a model. Not while it fails: then they only have to do no harm.
pub(super) fn is_running() -> bool {
    IS_RUNNING.get() && !std::thread::panicking()
}

/// Whether threads look before they sleep, though nobody has been woken yet.
pub(crate) fn always_spins() -> bool {
    is_running() && SPINS.get()
}

/// A program of a few threads, to be run in many interleavings.
pub struct Model {
    name: &'static str,
    spins: bool,
    #[cfg_attr(not(model = "loom"), expect(dead_code, reason = "shuttle has no such bound"))]
    preemptions: usize,
}

impl Model {
    /// A model that is a property, said in a sentence.
    pub fn new(name: &'static str) -> Self {
        Model { name, spins: false, preemptions: 3 }
    }

    /// Threads look for a moment before they sleep, as they do when wake-ups come from another CPU.
    pub fn spinning(self) -> Self {
        Model { spins: true, ..self }
    }

    /// How often loom takes the CPU from a thread that could go on, in one run. All bugs that are known to need
    /// few threads need few of those.
    pub fn preemptions(self, preemptions: usize) -> Self {
        Model { preemptions, ..self }
    }

    /// Runs it in as many interleavings as the checker finds, or is told to try.
    pub fn check(self, program: impl Fn() + Send + Sync + 'static) {
        let _one_at_a_time = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let spins = self.spins;
        let runs = checker::check(&self, move || {
            let running = RunGuard::begin();
            SPINS.set(spins);
            super::reset();
            checker::begin_run();
            program();
            super::futex::end_run();
            drop(running);
        });
        println!("{}: {} runs", self.name, runs);
    }
}

struct RunGuard;

impl RunGuard {
    fn begin() -> Self {
        IS_RUNNING.set(true);
        RunGuard
    }
}

impl Drop for RunGuard {
    fn drop(&mut self) {
        IS_RUNNING.set(false);
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect(name))
}

/// Lets the other threads go on first.
pub fn yield_now() {
    if is_running() {
        checker::yield_now();
    }
}

pub(super) fn fence(ordering: Ordering) {
    if is_running() {
        checker::fence(ordering);
    }
}

pub use checker::JoinHandle;
pub(super) use checker::{
    Bucket, CheckedCell, Id, Parked, SharedU64, clear_run, current, park, spawn, step, touch,
};

#[cfg(model = "loom")]
pub(super) use checker::{Word, load_half};

/// An access to an atomic: by loom's own word for it, or by the machine's.
#[cfg(model = "loom")]
macro_rules! access {
    ($name:ident, $machine:expr, $word:ident => $modelled:expr, $plain:expr) => {{
        let $word = $machine;
        if $crate::model::engine::is_running() {
            let $word = $crate::model::engine::Word::of($word);
            $modelled
        } else {
            $plain
        }
    }};
}

/// An access to an atomic: a step, and then the machine's.
#[cfg(not(model = "loom"))]
macro_rules! access {
    ($name:ident, $machine:expr, $word:ident => $modelled:expr, $plain:expr) => {{
        let $word = $machine;
        $crate::model::engine::step();
        $plain
    }};
}

pub(super) use access;

#[cfg(model = "loom")]
#[path = "loom.rs"]
mod checker;
#[cfg(not(model = "loom"))]
#[path = "shuttle.rs"]
mod checker;
