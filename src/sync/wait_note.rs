//! What a parked thread waits for: the note in its waiter, from which reports are made.
//!
//! A thread writes its note before it parks, and ends it when it runs again. Other threads, signal handlers and other
//! processes read it without a lock.
//!
//! # State (`since`)
//!
//! | bits | meaning |
//! |---|---|
//! | 0 `WAITING` | the note is valid: the thread has parked in this wait, which has not ended |
//! | 1 to 11 | a count of the thread's waits, so that two waits that begin in the same clock tick differ |
//! | 12 to 63 | when the thread parked, in nanoseconds of the monotonic clock |
//!
//! Only the thread itself writes its note: a sequence lock. `begin` clears `WAITING`, relaxed, before it changes the
//! other fields (a release fence orders the two), and then stores the new `since` with release. A reader that finds the
//! same `since`, with `WAITING`, before and after it has read the other fields has read one note (`read`). All of it may
//! be stale as soon as it has been read.
//!
//! *Nested waits.* A signal handler may wait while its thread is parked. `begin` returns the outer note, and `end`
//! restores it.

use crate::sys::atomic::{AtomicU64, AtomicUsize, Ordering, fence};

use crate::sync::waiter;
use crate::sync::waiter::Waiter;
use crate::sys::offsets::offsets;
use crate::sys::tls;
use crate::time::Deadline;

pub(crate) const WAITING: u64 = 1;
const COUNT_ONE: u64 = 2;
pub(crate) const COUNT_MASK: u64 = 0xffe;

/// Values of `WaitNote::object` that are not handles: what a thread waits for, if it is not an object.
pub(crate) const SLEEP: usize = 1;
pub(crate) const PROCESS_EXIT: usize = 2;

/// What a thread waits for. Zeroed memory is a valid note of a thread that does not wait.
#[repr(C)]
pub(crate) struct WaitNote {
    since: AtomicU64,
    /// The deadline of the wait.
    until: AtomicU64,
    /// The handle of the object, or one of the constants above.
    object: AtomicUsize,
}

offsets!(WaitNoteOffsets of WaitNote: since, until, object);

/// A note, for the thread that wrote it.
#[derive(Clone, Copy)]
pub(crate) struct OuterNote {
    since: u64,
    until: u64,
    object: usize,
}

/// A note as another thread reads it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wait {
    /// Identifies the wait among all waits of the thread.
    pub(crate) id: u64,
    pub(crate) since: Deadline,
    pub(crate) until: Deadline,
    pub(crate) object: usize,
    /// If the object is a condition: a notify has moved the waiter to the queue of the condition's lock.
    pub(crate) notified: bool,
    /// If the thread waits in a queue: the state of its waiter.
    pub(crate) state: u32,
    /// The owner tag of the thread, 0 if it has none.
    pub(crate) owner_tag: u64,
}

impl Wait {
    /// If the thread waits in a queue: returns whether its wait has neither ended nor been woken.
    pub(crate) fn is_queued(&self) -> bool {
        waiter::is_queued(self.state)
    }
}

impl WaitNote {
    /// Notes that the calling thread is about to park. Returns the note that it replaces, for `end`.
    #[inline]
    pub(super) fn begin(&self, object: usize, deadline: Deadline) -> OuterNote {
        let outer = OuterNote {
            since: self.since.load(Ordering::Relaxed),
            until: self.until.load(Ordering::Relaxed),
            object: self.object.load(Ordering::Relaxed),
        };
        let count = outer.since.wrapping_add(COUNT_ONE) & COUNT_MASK;
        let time = Deadline::recently().0 & !(COUNT_MASK | WAITING);
        self.write(OuterNote { since: time | count | WAITING, until: deadline.0, object });
        outer
    }

    /// Notes that the calling thread runs again.
    #[inline]
    pub(super) fn end(&self, outer: OuterNote) {
        if outer.since & WAITING != 0 {
            self.write(outer);
        } else {
            self.since.store(self.since.load(Ordering::Relaxed) & !WAITING, Ordering::Release);
        }
    }

    #[inline]
    fn write(&self, note: OuterNote) {
        self.since.store(note.since & !WAITING, Ordering::Relaxed);
        fence(Ordering::Release);
        self.until.store(note.until, Ordering::Relaxed);
        self.object.store(note.object, Ordering::Relaxed);
        self.since.store(note.since, Ordering::Release);
    }
}

/// Runs `wait`, in which the calling thread parks, with a note. If the thread has no waiter, it waits without a note.
#[inline]
pub(crate) fn with_note<R>(object: usize, deadline: Deadline, wait: impl FnOnce() -> R) -> R {
    let Some(waiter) = Waiter::mine_or_try_allocate() else { return wait() };
    waiter.owner_tag.store(tls::owner_tag(), Ordering::Relaxed);
    let outer = waiter.note.begin(object, deadline);
    let result = wait();
    waiter.note.end(outer);
    result
}

/// The note of a wait in a queue, in which a thread may park several times. It begins when the thread first parks, and
/// ends when this value is dropped.
pub(crate) struct QueueNote {
    waiter: &'static Waiter,
    object: usize,
    deadline: Deadline,
    outer: Option<OuterNote>,
}

impl QueueNote {
    #[inline]
    pub(crate) fn new(waiter: &'static Waiter, object: usize, deadline: Deadline) -> QueueNote {
        QueueNote { waiter, object, deadline, outer: None }
    }

    #[inline]
    pub(super) fn begin(&mut self) {
        if self.outer.is_none() {
            self.outer = Some(self.waiter.note.begin(self.object, self.deadline));
        }
    }
}

impl Drop for QueueNote {
    #[inline]
    fn drop(&mut self) {
        if let Some(outer) = self.outer {
            self.waiter.note.end(outer);
        }
    }
}

impl Waiter {
    /// Returns what the thread of this record waits for, if it is parked.
    pub(crate) fn read_wait(&self) -> Option<Wait> {
        const MAX_TRIES: u32 = 8;
        for _ in 0..MAX_TRIES {
            let id = self.note.since.load(Ordering::Acquire);
            if id & WAITING == 0 {
                return None;
            }
            let wait = Wait {
                id,
                since: Deadline(id & !(COUNT_MASK | WAITING)),
                until: Deadline(self.note.until.load(Ordering::Relaxed)),
                object: self.note.object.load(Ordering::Relaxed),
                notified: self.notified.load(Ordering::Relaxed),
                state: self.state(),
                owner_tag: self.owner_tag.load(Ordering::Relaxed),
            };
            fence(Ordering::Acquire);
            if self.note.since.load(Ordering::Relaxed) == id {
                return Some(wait);
            }
        }
        None
    }

    /// Returns the native ID of the thread that has this record, or last had it.
    pub(crate) fn native_id(&self) -> u32 {
        self.native_id.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nested_wait_restores_the_outer_one() {
        let read = || Waiter::mine_or_try_allocate().unwrap().read_wait();
        assert!(read().is_none());
        with_note(64, Deadline::NEVER, || {
            let outer = read().unwrap();
            assert_eq!((outer.object, outer.until), (64, Deadline::NEVER));
            with_note(128, Deadline(5), || assert_eq!(read().unwrap().object, 128));
            assert!(read() == Some(outer));
        });
        assert!(read().is_none());
    }

    #[test]
    fn consecutive_waits_differ() {
        let id = || {
            with_note(64, Deadline::NEVER, || Waiter::mine_or_try_allocate().unwrap().read_wait().unwrap().id)
        };
        assert_ne!(id(), id());
    }
}
