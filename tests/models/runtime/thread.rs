//! The threads of a model: the block that the library keeps for each, and the record on which it sleeps.

use core::cell::{Cell, RefCell, UnsafeCell};
use core::ffi::c_void;
use std::collections::HashMap;
use std::panic::{catch_unwind, resume_unwind};

use super::{engine, futex};
use crate::sync::waiter::Waiter;
use crate::sys::tls::PerThread;

pub use super::engine::JoinHandle;

/// How many threads a model may have.
const MAX_THREADS: usize = 64;

/// Their records, at the same addresses in each run.
struct WaiterRecords(UnsafeCell<[u8; MAX_THREADS * size_of::<Waiter>()]>);

// SAFETY: only one model runs at a time, on one thread of the system's.
unsafe impl Sync for WaiterRecords {}

#[repr(align(64))]
struct Aligned(WaiterRecords);

static WAITER_RECORDS: Aligned =
    Aligned(WaiterRecords(UnsafeCell::new([0; MAX_THREADS * size_of::<Waiter>()])));

struct ThreadBlock {
    number: usize,
    content: Box<PerThread>,
}

thread_local! {
    static BLOCKS: RefCell<HashMap<engine::Id, ThreadBlock>> = RefCell::new(HashMap::new());
    static SPAWNED: Cell<usize> = const { Cell::new(0) };
}

pub(super) fn reset() {
    BLOCKS.with_borrow_mut(HashMap::clear);
    SPAWNED.set(0);
    // SAFETY: as above; zero is a valid record.
    unsafe { (*WAITER_RECORDS.0.0.get()).fill(0) };
}

/// Whether the first thread has started others.
#[cfg_attr(not(model = "loom"), expect(dead_code, reason = "loom alone has to know"))]
pub(super) fn has_others() -> bool {
    SPAWNED.get() > 0
}

fn with_block<R>(f: impl FnOnce(&ThreadBlock) -> R) -> R {
    let (id, _) = engine::current();
    BLOCKS.with_borrow_mut(|blocks| {
        let number = blocks.len();
        f(blocks.entry(id).or_insert_with(|| {
            assert!(number < MAX_THREADS, "a model with too many threads");
            // SAFETY: zero is the right initial value of every field.
            let content: Box<PerThread> = Box::new(unsafe { core::mem::zeroed() });
            content.waiter.set(WAITER_RECORDS.0.0.get() as usize + number * size_of::<Waiter>());
            ThreadBlock { number, content }
        }))
    })
}

/// The calling thread's block.
pub(crate) fn block() -> *const PerThread {
    if engine::is_running() {
        return with_block(|block| &raw const *block.content);
    }
    thread_local! {
        // SAFETY: as above.
        static OUTSIDE: Box<PerThread> = Box::new(unsafe { core::mem::zeroed() });
    }
    OUTSIDE.with(|block| &raw const **block)
}

/// Each thread has a CPU of its own.
pub(crate) fn cpu() -> i32 {
    if engine::is_running() { with_block(|block| block.number as i32) } else { 0 }
}

/// Starts a thread of the model, whose end the library hears of like that of any other.
pub fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    SPAWNED.set(SPAWNED.get() + 1);
    engine::spawn(move || {
        let result = f();
        crate::runtime::thread_exit::run_all_rounds_for_model();
        result
    })
}

/// Starts a thread of the library's own, which ends with the run.
pub(crate) fn start(entry: extern "C-unwind" fn(*mut c_void) -> *mut c_void, arg: *mut c_void) {
    let arg = arg as usize;
    let ended = move || catch_unwind(|| entry(arg as *mut c_void)).map(|_| ());
    drop(engine::spawn(move || match ended() {
        Err(payload) if !payload.is::<futex::EndOfRun>() => resume_unwind(payload),
        _ => {}
    }));
}
