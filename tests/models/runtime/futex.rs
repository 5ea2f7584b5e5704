//! The futex of the models, and their clock.
//!
//! As in the kernel, a waiting thread compares the word and goes to sleep in one step. Time passes only when the model
//! calls `advance`, which may happen at any point between the steps of other threads.

use core::cell::{Cell, RefCell};
use std::rc::Rc;

use super::engine::{self, Bucket, Parked};
use crate::sys::atomic::AtomicU32;
use crate::time::Deadline;

#[derive(Clone, Copy, PartialEq)]
enum State {
    Asleep,
    Woken,
    TimedOut,
    Interrupted,
}

type Handler = Box<dyn FnOnce()>;

struct Sleeper {
    address: usize,
    deadline: Deadline,
    thread: Parked,
    state: Rc<Cell<State>>,
    handler: Rc<RefCell<Option<Handler>>>,
}

const START_TIME: u64 = 1_000_000_000;

thread_local! {
    static SLEEPERS: RefCell<Vec<Sleeper>> = const { RefCell::new(Vec::new()) };
    static NOW: Cell<u64> = const { Cell::new(START_TIME) };
    /// How much time passes with each reading of the clock.
    static TIME_STEP: Cell<u64> = const { Cell::new(0) };
    /// True at the end of the run: no thread sleeps any more.
    static RUN_ENDED: Cell<bool> = const { Cell::new(false) };
}

/// The panic payload that unwinds a thread which would sleep beyond the end of the run.
pub(super) struct EndOfRun;

pub(super) fn reset() {
    SLEEPERS.with_borrow_mut(Vec::clear);
    NOW.set(START_TIME);
    TIME_STEP.set(0);
    RUN_ENDED.set(false);
    engine::clear_run();
}

/// Returns the model's time.
pub(crate) fn now() -> Deadline {
    NOW.set(NOW.get() + TIME_STEP.get());
    Deadline(NOW.get())
}

/// Advances the clock by this number of nanoseconds. Waits whose deadline has passed time out.
pub fn advance(nanoseconds: u64) {
    engine::step();
    NOW.set(NOW.get() + nanoseconds);
    let is_due = |sleeper: &Sleeper| sleeper.deadline.has_passed();
    wake_matching(is_due, usize::MAX, State::TimedOut);
}

/// Lets all waits with a deadline time out, including those that have not begun: from now on, each reading of the clock
/// advances it by a second.
pub fn expire_all_timeouts() {
    const SECOND: u64 = 1_000_000_000;
    TIME_STEP.set(SECOND);
    advance(SECOND);
}

/// Interrupts the thread that has slept longest: it runs the handler, and then its wait returns as after a spurious
/// wake-up. Until then, it cannot be woken. Returns false if no thread sleeps.
pub fn interrupt(handler: impl FnOnce() + 'static) -> bool {
    engine::step();
    let interrupted = SLEEPERS.with_borrow_mut(|all| (!all.is_empty()).then(|| all.remove(0)));
    interrupted.is_some_and(|sleeper| {
        sleeper.handler.replace(Some(Box::new(handler)));
        sleeper.state.set(State::Interrupted);
        sleeper.thread.unpark();
        true
    })
}

/// Ends the run: unwinds the library's own threads, which would sleep forever.
pub(super) fn end_run() {
    RUN_ENDED.set(true);
    wake_matching(|_| true, usize::MAX, State::Woken);
}

pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Deadline) -> bool {
    let address = word.as_ptr() as usize;
    let state = Rc::new(Cell::new(State::Asleep));
    let handler = Rc::new(RefCell::new(None::<Handler>));
    let early_result = Bucket::of(address).with_exclusive(|| {
        if load(word) != expected {
            return Some(true);
        }
        if RUN_ENDED.get() {
            return None;
        }
        if deadline.has_passed() {
            return Some(false);
        }
        let (_, thread) = engine::current();
        let (state, handler) = (state.clone(), handler.clone());
        SLEEPERS.with_borrow_mut(|all| all.push(Sleeper { address, deadline, thread, state, handler }));
        None
    });
    if let Some(result) = early_result {
        return result;
    }
    while state.get() == State::Asleep && !RUN_ENDED.get() {
        engine::park();
    }
    if RUN_ENDED.get() {
        std::panic::resume_unwind(Box::new(EndOfRun));
    }
    if let Some(handler) = handler.take() {
        handler();
    }
    state.get() != State::TimedOut
}

pub(crate) fn wake(word: &AtomicU32, count: u32) -> bool {
    let address = word.as_ptr() as usize;
    Bucket::of(address)
        .with_exclusive(|| wake_matching(|sleeper| sleeper.address == address, count as usize, State::Woken))
}

fn wake_matching(matches: impl Fn(&Sleeper) -> bool, count: usize, state: State) -> bool {
    let woken: Vec<Sleeper> = SLEEPERS.with_borrow_mut(|all| {
        let mut left = count;
        let (woken, others) = all.drain(..).partition(|sleeper| {
            let chosen = left > 0 && matches(sleeper);
            left -= usize::from(chosen);
            chosen
        });
        *all = others;
        woken
    });
    woken.iter().for_each(|sleeper| sleeper.state.set(state));
    woken.iter().for_each(|sleeper| sleeper.thread.unpark());
    !woken.is_empty()
}

#[cfg(model = "loom")]
fn load(word: &AtomicU32) -> u32 {
    engine::load_half(word.as_ptr() as usize)
}

#[cfg(not(model = "loom"))]
fn load(word: &AtomicU32) -> u32 {
    // SAFETY: the word is alive, and the threads of a model run one at a time.
    unsafe { *word.as_ptr() }
}
