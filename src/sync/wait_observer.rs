//! Observers of waits: the statistics of contention, and the trace. A thread calls their functions before it parks, and
//! when its wait has ended. While no observer is on, a thread executes one more load before it parks, and another one
//! where it ends the waits of others.
//!
//! # Wakes
//!
//! For the trace, a thread that ends a wait records its native ID and the time in a static table, under a key that the
//! waiter knows. It does so before it makes the change that ends the wait, so that the waiter finds the record.
//!
//! | a waiter of | key |
//! |---|---|
//! | a lock, a condition, a barrier | the address of its `Waiter` |
//! | a condition, until it is notified | that address with `NOTIFY` |
//! | an event, a semaphore, the end of a thread | the handle |
//! | the process exit, and functions that another thread calls in it | the constant of `wait_note` |
//!
//! Two keys may share an entry of the table, and a thread that finds the entry in use by another thread does not record
//! its wake: in both cases, the trace may lack an arrow. Each entry is a sequence lock (`seq` is odd while the entry is
//! written), so that a record is never mixed from two wakes.

use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

use crate::sys::annotate;
use crate::sys::calling_thread;
use crate::time::Deadline;

/// The observers, as bits.
pub(crate) const CONTENTION: u32 = 1;
pub(crate) const TRACE: u32 = 2;
const OBSERVERS: usize = 2;

pub(crate) struct Observer {
    /// Returns the identifier of the thread that owns an object, 0 if no thread does. The calling thread is about to
    /// park. All observers have the same function.
    pub(crate) owner: fn(object: usize) -> u64,
    /// A wait of the calling thread has ended. The thread may own the lock for which it has waited.
    pub(crate) end: fn(wait: &EndedWait),
    /// The thread with this identifier has another name, or begins.
    pub(crate) named: fn(ident: u64),
}

/// A wait of the calling thread, which at least one observer has observed from its beginning.
#[derive(Clone, Copy)]
pub(crate) struct ObservedWait {
    /// The object, as in `wait_note`; 0 if the wait is not observed.
    object: usize,
    began: Deadline,
    owner: u64,
    is_notified: bool,
}

/// How a wait has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Woken,
    TimedOut,
    /// The object was freed, or the barrier is broken.
    Failed,
}

/// A wait that has ended.
pub(crate) struct EndedWait {
    pub(crate) object: usize,
    pub(crate) began: Deadline,
    /// The identifier of the thread that owned the lock at the beginning; 0 if no thread did.
    pub(crate) owner: u64,
    /// If the object is a condition: the thread had been notified before the wait began, which was for the lock.
    pub(crate) is_notified: bool,
    /// The key under which the thread that has ended the wait has recorded that.
    pub(crate) wake_key: usize,
    pub(crate) outcome: Outcome,
}

impl ObservedWait {
    const NONE: ObservedWait = ObservedWait { object: 0, began: Deadline(0), owner: 0, is_notified: false };
}

/// The observers that are on.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static ACTIVE: AtomicU32 = AtomicU32::new(0);
/// Never NULL again after an observer was first turned on.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static FUNCTIONS: [AtomicPtr<Observer>; OBSERVERS] = [const { AtomicPtr::new(ptr::null_mut()) }; OBSERVERS];

/// When each observer was turned on, in nanoseconds.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static ON_SINCE: [AtomicU64; OBSERVERS] = [const { AtomicU64::new(0) }; OBSERVERS];

/// Turns an observer on. It sees the waits that begin from now on: not those that only another observer has seen begin,
/// nor those that began before this one was turned off and on again.
pub(crate) fn turn_on(bit: u32, observer: &'static Observer) {
    // The table is not in the section of untracked statics, which would make it a part of the file.
    annotate::mark_untracked(&raw const WAKES, size_of_val(&WAKES));
    let index = bit.trailing_zeros() as usize;
    if !is_on(bit) {
        ON_SINCE[index].store(Deadline::now().0, Ordering::Relaxed);
    }
    FUNCTIONS[index].store(ptr::from_ref(observer).cast_mut(), Ordering::Relaxed);
    ACTIVE.fetch_or(bit, Ordering::Release);
}

/// Turns an observer off. Threads that have loaded `ACTIVE` before may still call it.
pub(crate) fn turn_off(bit: u32) {
    ACTIVE.fetch_and(!bit, Ordering::Relaxed);
}

#[inline]
fn is_on(bit: u32) -> bool {
    ACTIVE.load(Ordering::Relaxed) & bit != 0
}

/// The observers that are on, and have been on since this time.
fn active(since: Deadline) -> impl Iterator<Item = &'static Observer> {
    let active = ACTIVE.load(Ordering::Acquire);
    let is_on =
        move |index: usize| active >> index & 1 != 0 && ON_SINCE[index].load(Ordering::Relaxed) <= since.0;
    let on = FUNCTIONS.iter().enumerate().filter(move |(index, _)| is_on(*index));
    // SAFETY: NULL, or a reference that is valid for the whole process.
    on.filter_map(|(_, functions)| unsafe { functions.load(Ordering::Relaxed).as_ref() })
}

#[inline]
pub(super) fn begin(object: usize, is_notified: impl FnOnce() -> bool) -> ObservedWait {
    if ACTIVE.load(Ordering::Relaxed) == 0 {
        ObservedWait::NONE
    } else {
        begin_observed(object, is_notified())
    }
}

#[cold]
fn begin_observed(object: usize, is_notified: bool) -> ObservedWait {
    match active(Deadline::NEVER).next() {
        Some(observer) => {
            let owner = (observer.owner)(object);
            ObservedWait { object, began: Deadline::now(), owner, is_notified }
        }
        None => ObservedWait::NONE,
    }
}

#[inline]
pub(super) fn end(wait: ObservedWait, wake_key: usize, outcome: impl FnOnce() -> Outcome) {
    if wait.object != 0 {
        end_observed(wait, wake_key, outcome());
    }
}

#[cold]
fn end_observed(wait: ObservedWait, wake_key: usize, outcome: Outcome) {
    let ObservedWait { object, began, owner, is_notified } = wait;
    let wait = EndedWait { object, began, owner, is_notified, wake_key, outcome };
    active(began).for_each(|observer| (observer.end)(&wait));
}

/// The thread with this identifier has another name, or begins.
#[inline]
pub(crate) fn thread_named(ident: u64) {
    if is_on(TRACE) {
        active(Deadline::NEVER).for_each(|observer| (observer.named)(ident));
    }
}

/// The bit in the key of a waiter of a condition that is to be notified.
pub(crate) const NOTIFY: usize = 1;

const WAKES_SHIFT: u32 = 10;

/// An entry of the table.
#[repr(align(32))]
struct Wake {
    seq: AtomicU32,
    thread: AtomicU32,
    key: AtomicUsize,
    time: AtomicU64,
}

static WAKES: [Wake; 1 << WAKES_SHIFT] = [const {
    Wake {
        seq: AtomicU32::new(0),
        thread: AtomicU32::new(0),
        key: AtomicUsize::new(0),
        time: AtomicU64::new(0),
    }
}; 1 << WAKES_SHIFT];

fn entry(key: usize) -> &'static Wake {
    let hash = (key as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    &WAKES[(hash >> (u64::BITS - WAKES_SHIFT)) as usize]
}

/// Records that the calling thread is about to end the wait with this key.
#[inline]
pub(crate) fn record_wake(key: usize) {
    if is_on(TRACE) {
        record_traced_wake(key, calling_thread::native_id() as u32);
    }
}

/// As `record_wake`, unless the calling thread waits itself. Then it only passes on a wake-up, and releases nothing:
/// the trace has no arrow from it, nor from the thread of an earlier record.
#[inline]
pub(crate) fn record_wake_unless_waiting(key: usize, is_waiting: impl FnOnce() -> bool) {
    if is_on(TRACE) {
        record_traced_wake(key, if is_waiting() { NO_THREAD } else { calling_thread::native_id() as u32 });
    }
}

const NO_THREAD: u32 = 0;

#[cold]
fn record_traced_wake(key: usize, thread: u32) {
    let wake = entry(key);
    let seq = wake.seq.load(Ordering::Relaxed);
    let is_writable = seq & 1 == 0
        && wake.seq.compare_exchange(seq, seq.wrapping_add(1), Ordering::Acquire, Ordering::Relaxed).is_ok();
    if !is_writable {
        return;
    }
    fence(Ordering::Release);
    wake.key.store(key, Ordering::Relaxed);
    wake.thread.store(thread, Ordering::Relaxed);
    wake.time.store(Deadline::now().0, Ordering::Relaxed);
    wake.seq.store(seq.wrapping_add(2), Ordering::Release);
}

/// Returns when the wait with this key was ended, and the native ID of the thread that did so; `None` if that is not
/// known.
pub(crate) fn last_wake(key: usize) -> Option<(Deadline, u32)> {
    let wake = entry(key);
    let seq = wake.seq.load(Ordering::Acquire);
    let found = (wake.key.load(Ordering::Relaxed), wake.time.load(Ordering::Relaxed));
    let thread = wake.thread.load(Ordering::Relaxed);
    fence(Ordering::Acquire);
    let is_consistent = seq & 1 == 0 && wake.seq.load(Ordering::Relaxed) == seq;
    (is_consistent && found.0 == key && thread != NO_THREAD).then_some((Deadline(found.1), thread))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observer_does_not_see_waits_that_began_before_it_was_turned_on() {
        const OBJECT: usize = 0x2345_6780;
        static ENDED: AtomicU32 = AtomicU32::new(0);
        fn count(wait: &EndedWait) {
            ENDED.fetch_add(u32::from(wait.object == OBJECT), Ordering::Relaxed);
        }
        static OBSERVER: Observer = Observer { owner: |_| 0, end: count, named: |_| {} };
        let end_counted = |wait| {
            end(wait, OBJECT, || Outcome::Woken);
            ENDED.swap(0, Ordering::Relaxed)
        };
        turn_on(CONTENTION, &OBSERVER);
        let (first, second) = (begin(OBJECT, || false), begin(OBJECT, || false));
        assert_eq!(end_counted(first), 1);
        turn_off(CONTENTION);
        std::thread::sleep(std::time::Duration::from_millis(1));
        turn_on(CONTENTION, &OBSERVER);
        assert_eq!(end_counted(second), 0);
        turn_off(CONTENTION);
        assert_eq!(end_counted(begin(OBJECT, || false)), 0);
    }

    #[test]
    fn a_wake_is_found_by_its_key() {
        let key = 0x1234_5640;
        assert_eq!(last_wake(key), None);
        let before = Deadline::now();
        record_traced_wake(key, calling_thread::native_id() as u32);
        let (time, thread) = last_wake(key).unwrap();
        assert!(time >= before && time <= Deadline::now());
        assert_eq!(u64::from(thread), calling_thread::native_id());
        assert_eq!(last_wake(key | NOTIFY), None);
        record_traced_wake(key, NO_THREAD);
        assert_eq!(last_wake(key), None);
    }

    #[test]
    fn an_entry_that_is_being_written_is_neither_read_nor_written() {
        let key = 0x7654_3200;
        record_traced_wake(key, 7);
        entry(key).seq.fetch_add(1, Ordering::Relaxed);
        record_traced_wake(key, 7);
        assert_eq!(last_wake(key), None);
        entry(key).seq.fetch_add(1, Ordering::Relaxed);
        assert!(last_wake(key).is_some());
    }
}
