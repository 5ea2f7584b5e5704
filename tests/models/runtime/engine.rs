//! The interface of the two model checkers, and the code that is the same for both.

use core::cell::Cell;
use core::fmt::Debug;
use core::str::FromStr;
use core::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

/// Serializes the models of a process, because they share its objects, its statics and the modelled futex.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

thread_local! {
    /// True while a model runs on this OS thread.
    static IS_RUNNING: Cell<bool> = const { Cell::new(false) };
    static SPINS: Cell<bool> = const { Cell::new(false) };
    static BROADCASTS: Cell<bool> = const { Cell::new(false) };
    static ONE_CPU: Cell<bool> = const { Cell::new(false) };
}

/// Returns true if accesses are steps of a model. They are not while a failed model unwinds: its destructors then
/// access the machine's atomics.
pub(super) fn is_running() -> bool {
    IS_RUNNING.get() && !std::thread::panicking()
}

/// Returns true if threads spin before they park even though no wake-up from another CPU has been recorded yet.
pub(crate) fn always_spins() -> bool {
    is_running() && SPINS.get()
}

/// Returns true if condition waiters park together even though there were no broadcasts yet.
pub(crate) fn always_broadcasts() -> bool {
    is_running() && BROADCASTS.get()
}

/// Returns true if all threads of the model run on the same CPU, and false if each has its own.
pub(super) fn has_one_cpu() -> bool {
    ONE_CPU.get()
}

/// A program of a few threads that is run in many interleavings.
pub struct Model {
    name: &'static str,
    spins: bool,
    broadcasts: bool,
    one_cpu: bool,
    #[cfg_attr(not(model = "loom"), expect(dead_code, reason = "shuttle has no such bound"))]
    preemptions: usize,
    #[cfg_attr(model = "loom", expect(dead_code, reason = "loom runs all interleavings"))]
    times: usize,
}

impl Model {
    /// Creates a model. `name` states the property that it checks.
    pub fn new(name: &'static str) -> Self {
        Model { name, spins: false, broadcasts: false, one_cpu: false, preemptions: 3, times: 1 }
    }

    /// Lets threads spin before they park, as they do when wake-ups come from another CPU.
    pub fn spinning(self) -> Self {
        Model { spins: true, ..self }
    }

    /// Lets condition waiters park together, as they do after several broadcasts.
    pub fn broadcasting(self) -> Self {
        Model { broadcasts: true, ..self }
    }

    /// Lets all threads run on the same CPU instead of one each. A release of a lock after the fairness deadline then
    /// offers it to the longest waiter, which on another CPU it would only wake.
    pub fn one_cpu(self) -> Self {
        Model { one_cpu: true, ..self }
    }

    /// Sets how many times per run loom may preempt a runnable thread. Bugs that involve few threads need few
    /// preemptions.
    pub fn preemptions(self, preemptions: usize) -> Self {
        Model { preemptions, ..self }
    }

    /// Lets shuttle run this many times the configured number of interleavings: for a defect that few of them show.
    pub fn times(self, times: usize) -> Self {
        Model { times, ..self }
    }

    /// Runs the program in all interleavings (loom) or in the configured number of random ones (shuttle).
    pub fn check(self, program: impl Fn() + Send + Sync + 'static) {
        self.check_boxed(Box::new(program));
    }

    /// The same. It is not generic, so the checker is compiled once, and not for each model.
    fn check_boxed(self, program: Box<dyn Fn() + Send + Sync>) {
        let _one_at_a_time = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let (spins, broadcasts, one_cpu) = (self.spins, self.broadcasts, self.one_cpu);
        let runs = checker::check(&self, move || {
            let running = RunGuard::begin();
            SPINS.set(spins);
            BROADCASTS.set(broadcasts);
            ONE_CPU.set(one_cpu);
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

fn setting<T: FromStr<Err: Debug>>(name: &str, default: T) -> T {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect(name))
}

/// Lets other threads run first.
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

/// Accesses an atomic: loom's atomic for it, or the machine's outside of a run.
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

/// Accesses an atomic: a step, and then the machine's atomic.
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
