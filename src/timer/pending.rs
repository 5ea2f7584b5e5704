//! The pending timers, as reports show them.

use crate::thread::object::Thread;
use crate::thread::registry::REGISTRY;
use crate::time::Deadline;

/// A pending timer.
#[derive(Clone, Copy)]
pub(crate) struct PendingTimer {
    pub(crate) thread: &'static Thread,
    pub(crate) ident: u64,
    pub(crate) due: Deadline,
}

/// Copies the pending timers that are due first, in the order of their deadlines. Returns the number of all pending
/// timers, or `None` if the registry mutex is locked: then nothing is copied.
pub(crate) fn try_copy_first<const N: usize>(first: &mut [Option<PendingTimer>; N]) -> Option<usize> {
    /// Beyond this number, only some of the timers are read.
    const MAX_SCANNED: usize = 4096;
    let registry = REGISTRY.try_lock()?;
    for entry in registry.timers.heap.iter().take(MAX_SCANNED) {
        // SAFETY: under the registry mutex, a timer in the heap is pending and thus alive.
        let thread = unsafe { entry.timer.thread_unchecked() };
        let mut timer = PendingTimer { thread, ident: thread.ident(), due: entry.deadline };
        for place in first.iter_mut() {
            match place {
                Some(other) if other.due <= timer.due => {}
                Some(other) => core::mem::swap(other, &mut timer),
                None => {
                    *place = Some(timer);
                    break;
                }
            }
        }
    }
    Some(registry.timers.heap.len())
}
