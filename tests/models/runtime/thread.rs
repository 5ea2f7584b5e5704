//! The threads of a model, with the per-thread block and the waiter record of each.

use core::cell::{Cell, RefCell, UnsafeCell};
use core::ffi::c_void;
use std::collections::HashMap;
use std::panic::{catch_unwind, resume_unwind};

use super::{engine, futex};
use crate::sync::waiter::Waiter;
use crate::sys::tls::PerThread;

pub use super::engine::JoinHandle;

/// The maximum number of threads of a model.
const MAX_THREADS: usize = 64;

/// The waiter records of the threads, at the same addresses in each run.
struct WaiterRecords(UnsafeCell<[u8; MAX_THREADS * size_of::<Waiter>()]>);

// SAFETY: only one model runs at a time, on one OS thread.
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
    // SAFETY: as above; a record of zeros is valid.
    unsafe { (*WAITER_RECORDS.0.0.get()).fill(0) };
}

/// Returns true if the first thread has started others.
#[cfg_attr(not(model = "loom"), expect(dead_code, reason = "used only by the part for loom"))]
pub(super) fn has_others() -> bool {
    SPAWNED.get() > 0
}

fn with_block<R>(f: impl FnOnce(&ThreadBlock) -> R) -> R {
    let (id, _) = engine::current();
    BLOCKS.with_borrow_mut(|blocks| {
        let number = blocks.len();
        f(blocks.entry(id).or_insert_with(|| {
            assert!(number < MAX_THREADS, "the model has too many threads");
            // SAFETY: zero is the initial value of every field.
            let content: Box<PerThread> = Box::new(unsafe { core::mem::zeroed() });
            content.waiter.set(WAITER_RECORDS.0.0.get() as usize + number * size_of::<Waiter>());
            ThreadBlock { number, content }
        }))
    })
}

/// Returns the block of the calling thread.
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

/// Returns the CPU of the calling thread: its own, or the only one (`Model::one_cpu`).
pub(crate) fn cpu() -> i32 {
    if engine::is_running() && !engine::has_one_cpu() { with_block(|block| block.number as i32) } else { 0 }
}

/// Starts a thread of the model. When it exits, the library's thread-exit code runs as for any other thread.
pub fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    spawn_boxed(Box::new(f))
}

/// The same. It is compiled for each type of result, and not for each thread of each model.
fn spawn_boxed<T: Send + 'static>(f: Box<dyn FnOnce() -> T + Send>) -> JoinHandle<T> {
    SPAWNED.set(SPAWNED.get() + 1);
    engine::spawn(move || {
        let result = f();
        crate::runtime::thread_exit::run_all_rounds_for_model();
        result
    })
}

/// Starts one of the library's own threads, which ends with the run.
pub(crate) fn start(entry: extern "C-unwind" fn(*mut c_void) -> *mut c_void, arg: *mut c_void) {
    let arg = arg as usize;
    let run = move || catch_unwind(|| entry(arg as *mut c_void)).map(|_| ());
    drop(engine::spawn(move || match run() {
        Err(payload) if !payload.is::<futex::EndOfRun>() => resume_unwind(payload),
        _ => {}
    }));
}
