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

pub(crate) mod dispatcher;
pub(crate) mod end;
pub(crate) mod excepthook;
pub(crate) mod exit;
pub(crate) mod fork;
mod heap;
pub(crate) mod identity;
pub(crate) mod levels;
pub(crate) mod life;
pub(crate) mod name;
pub(crate) mod pending;
pub(crate) mod registry;
pub(crate) mod stacks;
pub(crate) mod system;
mod table;
pub(crate) mod values;

use crate::defect::contain;
use crate::detector;
use crate::sys::thread_state;

/// Run by the loader: forks are prepared for, the state of the main thread is recorded for the timers' functions, and
/// if main loads the library, its end will be announced.
extern "C" fn load() {
    contain(|| {
        detector::look();
        thread_state::record();
        fork::prepare_for_forks();
        if identity::is_first_thread() {
            let _ = end::arm();
        }
    });
}

#[used]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array"))]
static LOAD: extern "C" fn() = load;

/// Before each run of a model: nobody is alive.
#[cfg(model)]
pub(crate) fn reset() {
    registry::reset();
    values::reset();
}
