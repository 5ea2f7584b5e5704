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
//! # The deadline (`until`)
//!
//! | bits | meaning |
//! |---|---|
//! | 63 `UNTIMED` | the wait has no deadline |
//! | 0 to 62 | the deadline. If `UNTIMED`, and the object is a condition: the handle of its lock, without bit 63, since a notified waiter waits for the lock, even if the condition has been freed. Otherwise `NO_LOCK` |
//!
//! # Protocol
//!
//! A note is a sequence lock, and only the thread itself writes it. `write` clears `WAITING`, relaxed, before it
//! changes the other fields (a release fence orders the two), and then stores the new `since` with release. If a reader
//! finds the same `since`, with `WAITING`, before and after it has read the other fields, these belong to one note
//! (`read_wait`). All of it may be stale as soon as it has been read.
//!
//! *Nested waits.* A signal handler may wait while its thread is parked. `begin_note` returns the outer note, and
//! `end_note` restores it. It also restores the fields of a note that is not valid: the handler may have interrupted
//! `write`, which has stored some of them and is about to make the note valid.

use core::ptr;

use crate::sys::atomic::{Ordering, fence};

use crate::error::Result;
use crate::sync::hang_watch::{self, HangWatch};
use crate::sync::wait_observer::{self, ObservedWait, Outcome};
use crate::sync::waiter;
use crate::sync::waiter::{ABORTED, FREED, WaitNote, Waiter};
use crate::sys::probe;
use crate::sys::tls;
use crate::time::Deadline;

pub(crate) const WAITING: u64 = 1;
const COUNT_ONE: u64 = 2;
pub(crate) const COUNT_MASK: u64 = 0xffe;

pub(crate) const UNTIMED: u64 = 1 << 63;
const NO_LOCK: u64 = UNTIMED - 1;

/// Values of `WaitNote::object` that are not handles: what a thread waits for, if it is not an object.
pub(crate) const SLEEP: usize = 1;
pub(crate) const PROCESS_EXIT: usize = 2;
/// The end of the functions that another thread calls in the process exit or a shutdown.
pub(crate) const EXIT_CALLBACKS: usize = 3;

/// The note of an outer wait, which that of an inner wait has replaced.
#[derive(Clone, Copy)]
pub(crate) struct OuterNote {
    since: u64,
    until: u64,
    object: usize,
    /// The inner wait, which ends when this note is restored.
    observed: ObservedWait,
}

/// A note as another thread reads it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wait {
    /// Identifies the wait among all waits of the thread.
    pub(crate) id: u64,
    pub(crate) since: Deadline,
    pub(crate) until: Deadline,
    pub(crate) object: usize,
    /// If the object is a condition, and the wait has no deadline: the handle of its lock, without bit 63. Otherwise 0.
    lock: usize,
    /// If the object is a condition: the thread has been notified, and waits for the condition's lock.
    pub(crate) notified: bool,
    /// If the thread waits in a queue: the state of its waiter.
    pub(crate) state: u32,
    /// The owner tag of the thread, 0 if it has none.
    pub(crate) owner_tag: u64,
}

impl Wait {
    /// A wait without a deadline that has begun at this time, of a thread that is not in a queue.
    #[cfg(test)]
    pub(crate) fn new(object: usize, since: Deadline) -> Self {
        Wait {
            id: 0,
            since,
            until: Deadline::NEVER,
            object,
            lock: 0,
            notified: false,
            state: 0,
            owner_tag: 0,
        }
    }

    /// If the thread waits in a queue: returns whether its wait has neither ended nor been woken.
    pub(crate) fn is_queued(&self) -> bool {
        waiter::is_queued(self.state)
    }

    /// If the thread waits in a queue: returns whether it is also parked. A waiter that runs may have acquired the lock
    /// already, although its wait has not ended.
    pub(crate) fn is_parked(&self) -> bool {
        waiter::is_parked(self.state)
    }

    /// If the thread waits in a queue: returns whether it is parked, but not together with others.
    pub(crate) fn is_parked_on_record(&self) -> bool {
        self.state == waiter::PARKED
    }

    /// If the object is a condition, and the wait has no deadline: returns two integers, of which one is the handle of
    /// the condition's lock.
    pub(crate) fn condition_locks(&self) -> Option<[usize; 2]> {
        // Where handles have 32 bits, both are the same.
        (self.lock != 0).then_some([self.lock, self.lock | UNTIMED as usize])
    }
}

/// Returns the value of `until` for a deadline.
fn until(deadline: Deadline) -> u64 {
    if deadline == Deadline::NEVER { UNTIMED | NO_LOCK } else { deadline.0.min(UNTIMED - 1) }
}

/// Returns the value of `until` for a wait without a deadline for a condition with this lock.
fn untimed_with_lock(lock: usize) -> u64 {
    UNTIMED | lock as u64
}

impl Waiter {
    /// Notes that the calling thread is about to park. Returns the note that it replaces, for `end_note`.
    #[inline]
    fn begin_note(&'static self, object: usize, until: u64) -> OuterNote {
        probe::wait_begin(self, object, until);
        let note = &self.note;
        let outer = OuterNote {
            since: note.since.load(Ordering::Relaxed),
            until: note.until.load(Ordering::Relaxed),
            object: note.object.load(Ordering::Relaxed),
            observed: wait_observer::begin(object, || self.notified.load(Ordering::Relaxed)),
        };
        let count = outer.since.wrapping_add(COUNT_ONE) & COUNT_MASK;
        // The order of waits decides which thread reports a hang.
        let time = if hang_watch::is_on() { Deadline::now() } else { Deadline::recently() };
        note.write(time.0 & !(COUNT_MASK | WAITING) | count | WAITING, until, object);
        outer
    }

    /// Notes that the calling thread runs again. For `wake_key`, see `sync::wait_observer`.
    #[inline]
    fn end_note(&'static self, outer: OuterNote, wake_key: usize, outcome: impl FnOnce() -> Outcome) {
        probe::wait_end(self);
        // The outer wait keeps its count. Without an outer wait, the next wait continues this count.
        let since = if outer.since & WAITING != 0 {
            outer.since
        } else {
            self.note.since.load(Ordering::Relaxed) & !WAITING
        };
        self.note.write(since, outer.until, outer.object);
        wait_observer::end(outer.observed, wake_key, outcome);
    }
}

impl WaitNote {
    #[inline]
    fn write(&self, since: u64, until: u64, object: usize) {
        self.since.store(since & !WAITING, Ordering::Relaxed);
        fence(Ordering::Release);
        self.until.store(until, Ordering::Relaxed);
        self.object.store(object, Ordering::Relaxed);
        self.since.store(since, Ordering::Release);
    }
}

/// The result of a wait, from which observers get its outcome.
pub(crate) trait WaitResult {
    fn outcome(&self) -> Outcome;
}

impl WaitResult for bool {
    fn outcome(&self) -> Outcome {
        if *self { Outcome::Woken } else { Outcome::TimedOut }
    }
}

impl WaitResult for Result<bool> {
    fn outcome(&self) -> Outcome {
        self.as_ref().map_or(Outcome::Failed, WaitResult::outcome)
    }
}

impl WaitResult for () {
    fn outcome(&self) -> Outcome {
        Outcome::Woken
    }
}

/// The note of a wait in which the calling thread parks. It begins when this value is created, and ends when it is
/// dropped. Waits that should be short use it instead of `with_note`, for the reason that is given at
/// `futex::wait_inline`.
pub(crate) struct ParkNote {
    /// `None` if the calling thread can get no waiter: it waits without a note.
    noted: Option<(&'static Waiter, OuterNote)>,
    object: usize,
    outcome: Outcome,
}

impl ParkNote {
    #[inline(always)]
    pub(crate) fn new(object: usize, deadline: Deadline) -> ParkNote {
        let noted = Waiter::mine_or_try_allocate().map(|waiter| {
            waiter.owner_tag.store(tls::owner_tag(), Ordering::Relaxed);
            (waiter, waiter.begin_note(object, until(deadline)))
        });
        ParkNote { noted, object, outcome: Outcome::Woken }
    }

    /// Ends the note of a wait with this result, and returns the result.
    #[inline(always)]
    pub(crate) fn end<R: WaitResult>(mut self, result: R) -> R {
        self.outcome = result.outcome();
        result
    }
}

impl Drop for ParkNote {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some((waiter, outer)) = self.noted.take() {
            waiter.end_note(outer, self.object, || self.outcome);
        }
    }
}

/// Runs `wait`, in which the calling thread parks, with a note.
#[inline]
pub(crate) fn with_note<R: WaitResult>(object: usize, deadline: Deadline, wait: impl FnOnce() -> R) -> R {
    let note = ParkNote::new(object, deadline);
    note.end(wait())
}

/// The note of a wait in a queue, in which a thread may park several times. It begins when the thread first parks, and
/// ends when this value is dropped.
pub(crate) struct QueueNote {
    waiter: &'static Waiter,
    object: usize,
    until: u64,
    outer: Option<OuterNote>,
    has_timed_out: bool,
    pub(super) hang_watch: HangWatch,
}

impl QueueNote {
    #[inline]
    pub(crate) fn new(waiter: &'static Waiter, object: usize, deadline: Deadline) -> QueueNote {
        QueueNote {
            waiter,
            object,
            until: until(deadline),
            outer: None,
            has_timed_out: false,
            hang_watch: HangWatch::new(deadline),
        }
    }

    /// The note of a wait for a condition with this lock.
    pub(crate) fn of_condition(
        waiter: &'static Waiter,
        condition: usize,
        lock: usize,
        deadline: Deadline,
    ) -> QueueNote {
        let mut note = QueueNote::new(waiter, condition, deadline);
        note.hang_watch = HangWatch::of_condition();
        if deadline == Deadline::NEVER {
            note.until = untimed_with_lock(lock);
        }
        note
    }

    /// The waiter has been notified and waits for the condition's lock, without a deadline.
    pub(crate) fn wait_for_lock(&mut self, lock: usize) {
        self.until = untimed_with_lock(lock);
        if self.outer.is_some() {
            // The note stays valid, because no other field changes.
            self.waiter.note.until.store(self.until, Ordering::Relaxed);
        }
    }

    /// The wait has ended because its timeout has expired.
    pub(crate) fn set_timed_out(&mut self) {
        self.has_timed_out = true;
    }

    fn outcome(&self) -> Outcome {
        match self.waiter.state() {
            _ if self.has_timed_out => Outcome::TimedOut,
            ABORTED | FREED => Outcome::Failed,
            _ => Outcome::Woken,
        }
    }

    #[inline]
    pub(super) fn begin(&mut self) {
        if self.outer.is_none() {
            self.outer = Some(self.waiter.begin_note(self.object, self.until));
        }
    }
}

impl Drop for QueueNote {
    #[inline]
    fn drop(&mut self) {
        if let Some(outer) = self.outer {
            self.waiter.end_note(outer, ptr::from_ref(self.waiter) as usize, || self.outcome());
        }
    }
}

impl Waiter {
    /// Returns what the thread of this record waits for, if it is parked.
    #[inline]
    pub(crate) fn read_wait(&self) -> Option<Wait> {
        // Most records serve no thread that waits.
        if self.note.since.load(Ordering::Relaxed) & WAITING == 0 { None } else { self.read_begun_wait() }
    }

    /// Returns whether the thread of this record waits, and has parked in that wait.
    pub(super) fn is_noted(&self) -> bool {
        self.note.since.load(Ordering::Relaxed) & WAITING != 0
    }

    #[inline(never)]
    fn read_begun_wait(&self) -> Option<Wait> {
        const MAX_TRIES: u32 = 8;
        for _ in 0..MAX_TRIES {
            let id = self.note.since.load(Ordering::Acquire);
            if id & WAITING == 0 {
                return None;
            }
            let until = self.note.until.load(Ordering::Relaxed);
            let is_untimed = until & UNTIMED != 0;
            let has_lock = is_untimed && until != UNTIMED | NO_LOCK;
            let wait = Wait {
                id,
                since: Deadline(id & !(COUNT_MASK | WAITING)),
                until: if is_untimed { Deadline::NEVER } else { Deadline(until) },
                lock: if has_lock { (until & !UNTIMED) as usize } else { 0 },
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
    fn a_wait_in_a_signal_handler_that_interrupts_write_changes_nothing() {
        let waiter = Waiter::mine_or_try_allocate().unwrap();
        // `write` has stored everything but `since`.
        waiter.note.object.store(64, Ordering::Relaxed);
        waiter.note.until.store(7, Ordering::Relaxed);
        let since = waiter.note.since.load(Ordering::Relaxed);
        with_note(128, Deadline::NEVER, || {});
        waiter.note.since.store(since | WAITING, Ordering::Relaxed);
        let wait = waiter.read_wait().unwrap();
        assert_eq!((wait.object, wait.until), (64, Deadline(7)));
        waiter.note.since.store(since, Ordering::Relaxed);
    }

    #[test]
    fn the_note_of_a_condition_without_a_deadline_has_the_lock() {
        let waiter = Waiter::mine_or_try_allocate().unwrap();
        let read = |mut note: QueueNote| {
            note.begin();
            waiter.read_wait().unwrap()
        };
        let lock = 0x8123_4567_89c1_u64 as usize;
        let wait = read(QueueNote::of_condition(waiter, 64, lock, Deadline::NEVER));
        assert_eq!(wait.until, Deadline::NEVER);
        assert!(wait.condition_locks().unwrap().contains(&lock));
        assert_eq!(read(QueueNote::of_condition(waiter, 64, lock, Deadline(5))).condition_locks(), None);
        assert_eq!(read(QueueNote::new(waiter, 64, Deadline::NEVER)).condition_locks(), None);
        let mut note = QueueNote::of_condition(waiter, 64, lock, Deadline(5));
        note.begin();
        note.wait_for_lock(lock);
        assert_eq!(waiter.read_wait().unwrap().until, Deadline::NEVER);
        assert!(waiter.read_wait().unwrap().condition_locks().unwrap().contains(&lock));
    }

    #[test]
    fn consecutive_waits_differ() {
        let id = || {
            let mut id = 0;
            with_note(64, Deadline::NEVER, || {
                id = Waiter::mine_or_try_allocate().unwrap().read_wait().unwrap().id;
            });
            id
        };
        assert_ne!(id(), id());
    }
}
