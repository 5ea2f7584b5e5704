//! Threads that are blocked in `exit`, while another thread is in it.
//!
//! Since glibc 2.41, only one thread at a time calls the exit handlers. Another thread that calls `exit` blocks before
//! it calls any, so that this library does not learn of it. If the exit waited for that thread, neither would end.

use crate::sys::blocked_thread;
use crate::thread::object::{TIMER, Thread};
use crate::thread::registry;

/// How many threads are looked at after one lock of the registry.
const BATCH: usize = 64;

/// Called by a thread that waits in the process exit. Excludes the threads that are blocked until the exit is complete,
/// as if they were in it themselves, and lets the timers end whose functions they run.
pub(crate) fn exclude_blocked_threads() {
    let mut first = 0;
    loop {
        let mut batch: [Option<&'static Thread>; BATCH] = [None; BATCH];
        let mut count = 0;
        {
            let registry = registry::lock();
            let running = registry
                .alive
                .iter()
                .filter(|thread| registry::is_awaited(thread) && thread.native_id() != 0);
            for thread in running.skip(first).take(BATCH) {
                // Used below without the mutex. A thread whose reference count is at its maximum is left out.
                batch[count] = thread.handle().internal_ref().is_ok().then_some(thread);
                count += 1;
            }
        }
        for thread in batch.into_iter().flatten() {
            if blocked_thread::waits_for_caller(thread.native_id()) {
                exclude(thread);
            }
            thread.handle().internal_unref();
        }
        if count < BATCH {
            return;
        }
        first += BATCH;
    }
}

fn exclude(thread: &'static Thread) {
    if thread.has_flag(TIMER) {
        registry::finish_timer_at_exit(thread);
    } else {
        registry::set_in_shutdown(thread, true);
    }
    registry::wake_shutdowns();
}
