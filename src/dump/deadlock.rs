//! Deadlocks: cycles in the graph of which thread waits for which.
//!
//! # Edges
//!
//! | a thread that waits without a timeout | waits for |
//! |---|---|
//! | for a Lock or an RLock | its owner |
//! | for the lock of a condition, after a notify | the owner of the lock |
//! | for the end of a thread | that thread |
//! | in the process exit | each thread that the exit waits for |
//!
//! All other waits have no edge: any thread may set an event, release a semaphore, arrive at a barrier or notify a
//! condition. A waiter that has been granted its lock, or has been woken to acquire it, has none either, although it
//! has not run yet.
//!
//! Except for the exit, each thread has at most one edge. So a cycle is found by following the edges from a thread.
//!
//! # Proof
//!
//! The edges are read one after the other, so that they may never have existed at the same time. A cycle is reported
//! only if it is read twice with the same waits and the same owners. Each wait of the cycle has then lasted from its
//! first reading to its second, because each wait of a thread has another identity. So all of them existed between
//! the two readings, and no thread of the cycle has run meanwhile, in particular no owner has released and acquired
//! its lock.

use crate::dump::snapshot::{Entry, Snapshot};
use crate::handle::Handle;
use crate::lock::condition::Condition;
use crate::lock::lock::Lock;
use crate::lock::lockable::Lockable;
use crate::lock::rlock::RLock;
use crate::sync::wait_note::{PROCESS_EXIT, Wait};
use crate::thread::ident::{FIRST_OWNER_TAG, OWNER_SHIFT};
use crate::thread::object::Thread;
use crate::thread::registry;
use crate::time::Deadline;

/// A cycle, as one of its threads sees it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Cycle {
    /// The number of threads.
    pub(super) length: usize,
    /// The lowest identifier of its threads. That of a thread in the process exit does not count, because the exit may
    /// be in several cycles.
    pub(super) lowest: u64,
    /// The identifier of its thread that is in the process exit, if there is one.
    exiting: Option<u64>,
    /// A hash of the waits and the owners.
    hash: u64,
}

impl Snapshot {
    /// Returns the cycle that contains this thread, if there is one.
    pub(super) fn deadlock_of(&self, entry: Entry) -> Option<Cycle> {
        let first = self.trace(entry)?;
        let second = self.trace(entry)?;
        (first == second).then_some(first)
    }

    /// Returns whether this thread is in a cycle. For a thread in the process exit, that is so if another thread is in a
    /// cycle with it.
    pub(super) fn is_deadlocked(&self, entry: Entry) -> bool {
        let is_exiting = || {
            entry.waiter.and_then(|waiter| waiter.read_wait()).is_some_and(|wait| wait.object == PROCESS_EXIT)
        };
        let mut is_deadlocked = self.deadlock_of(entry).is_some();
        if !is_deadlocked && is_exiting() {
            let is_with_entry =
                |other| self.deadlock_of(other).is_some_and(|cycle| cycle.exiting == Some(entry.ident));
            self.for_each(|other| is_deadlocked = is_deadlocked || is_with_entry(other));
        }
        is_deadlocked
    }

    /// Follows the edges from this thread. Returns `None` if they do not lead back to it.
    fn trace(&self, start: Entry) -> Option<Cycle> {
        let mut cycle = Cycle { length: 0, lowest: u64::MAX, exiting: None, hash: 0 };
        let mut at = start;
        // Brent's algorithm: the edges have entered a cycle without `start` if they lead to the checkpoint again.
        let (mut checkpoint, mut next_checkpoint) = (start.ident, 1);
        loop {
            let wait = at.waiter?.read_wait()?;
            let next = self.successor(&wait, start)?;
            for part in [at.ident, wait.id, wait.object as u64, next] {
                cycle.hash = (cycle.hash ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
            }
            cycle.length += 1;
            if wait.object == PROCESS_EXIT {
                cycle.exiting = Some(at.ident);
            } else {
                cycle.lowest = cycle.lowest.min(at.ident);
            }
            if next == start.ident {
                return Some(cycle);
            }
            if next == checkpoint {
                return None;
            }
            if cycle.length == next_checkpoint {
                (checkpoint, next_checkpoint) = (next, 2 * next_checkpoint);
            }
            at = self.find(next)?;
        }
    }

    /// Returns the identifier of the thread for which a wait waits. An exit waits for `start` if `start` waits for a
    /// thread that exits, and the exit waits for `start`.
    fn successor(&self, wait: &Wait, start: Entry) -> Option<u64> {
        if wait.until != Deadline::NEVER {
            None
        } else if wait.object == PROCESS_EXIT {
            start.thread.filter(|thread| registry::is_awaited(thread)).map(|_| start.ident)
        } else {
            blocking_thread(wait)
        }
    }

    /// Returns the thread for which the thread of this entry waits, in a cycle.
    pub(super) fn next_in_cycle(&self, at: Entry, start: Entry) -> Option<Entry> {
        self.find(self.successor(&at.waiter?.read_wait()?, start)?)
    }
}

/// Returns the identifier of the one thread for which this wait waits.
pub(super) fn blocking_thread(wait: &Wait) -> Option<u64> {
    let bits = wait.object;
    if let Ok((thread, _)) = Handle::<Thread>::from_bits(bits).check() {
        return Some(thread.ident());
    }
    let owner = lock_owner_of(wait)?;
    (wait.is_queued() && owner >= FIRST_OWNER_TAG).then_some(owner >> OWNER_SHIFT)
}

/// Returns the owner field of the lock for which this wait waits.
pub(super) fn lock_owner_of(wait: &Wait) -> Option<u64> {
    let bits = wait.object;
    if let Ok((condition, _)) = Handle::<Condition>::from_bits(bits).check() {
        return wait.notified.then(|| condition.lock_owner()).flatten();
    }
    owner_of(bits)
}

/// Returns the owner field of a Lock or an RLock; `None` for other objects.
pub(super) fn owner_of(bits: usize) -> Option<u64> {
    fn of<T: Lockable>(bits: usize) -> Option<u64> {
        let (lock, tag) = Handle::<T>::from_bits(bits).check().ok()?;
        lock.raw().owner(tag).ok()
    }
    of::<Lock>(bits).or_else(|| of::<RLock>(bits))
}
