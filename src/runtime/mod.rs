//! Who is alive, and how the process lives with its threads.
//!
//! - [`identity`]: the number of whoever runs here; [`levels`]: how often it holds RLocks;
//! - [`life`]: the slot of a thread and the stations of its life; [`name`]: its names; [`system`]: the
//!   system's threads below, and [`stacks`]: what they run on;
//! - [`registry`]: all threads that are alive;
//! - [`values`]: the values that each thread has for each local, in a [`table`];
//! - [`pending`]: the slot of a timer and its way from start to end; [`dispatcher`]: who waits for its
//!   moment, by a [`heap`], and runs its function;
//! - [`end`]: the end of a system thread; [`exit`]: that of the process; [`fork`]: its doubling;
//! - [`excepthook`]: what happens to a failure that a thread could not handle.

pub(crate) mod fork;
pub(crate) mod process_exit;
pub(crate) mod thread_exit;

use core::sync::atomic::{AtomicBool, Ordering};

use crate::panic_boundary::contain;
use crate::sys;
use crate::sys::annotate;
use crate::sys::thread_state;
use crate::thread::ident;

/// Run by the loader, or by the first call if a constructor of the program makes it before: forks are prepared for, the
/// state of the main thread is recorded for the timers' functions, and
/// if main loads the library, its end will be announced.
extern "C" fn load() {
    contain(|| {
        if LOADED.swap(true, Ordering::Relaxed) {
            return;
        }
        annotate::look();
        sys::preserving_errno(thread_state::record);
        fork::prepare_for_forks();
        if ident::is_first_thread() {
            let _ = thread_exit::arm();
        }
    });
}

/// No atomic of the models': they load nothing.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_own"))]
static LOADED: AtomicBool = AtomicBool::new(false);

/// Before the constructors of a program into which the library is linked statically: fork handlers that those register
/// are newer then, and run before the library's `prepare`. Rust's own library takes this place, too.
#[used]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array.00099"))]
static LOAD: extern "C" fn() = load;

/// Does the work of a call: what it reads and writes is hidden from race detectors, and in a handler of a fork it is a
/// call like any other. Nothing may unwind out of it.
#[inline(always)]
pub(crate) fn call<R>(work: impl FnOnce() -> R) -> R {
    let before = if annotate::concerns_calls() { before_call() } else { NOTHING };
    let result = work();
    if before != NOTHING {
        after_call(before);
    }
    result
}

/// What `before_call` leaves to `after_call`, in one register: what `fork::resume` gets, above what
/// `annotate::after_call` gets, and a bit that tells it from this.
const NOTHING: u64 = 0;
const SOMETHING: u64 = 1 << 63;
const HOLDS_SHIFT: u32 = 32;

#[cold]
#[inline(never)]
fn before_call() -> u64 {
    if annotate::is_unknown() {
        load();
    }
    let holds = if annotate::is_in_fork() { fork::interrupt() } else { 0 };
    SOMETHING | u64::from(holds) << HOLDS_SHIFT | u64::from(annotate::before_call())
}

#[cold]
#[inline(never)]
fn after_call(before: u64) {
    annotate::after_call(before as u32);
    fork::resume((before >> HOLDS_SHIFT) as u8);
}
