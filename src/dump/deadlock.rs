//! Deadlocks: cycles in the graph of which thread waits for which.
//!
//! # Edges
//!
//! | a thread that is parked without a deadline | waits for |
//! |---|---|
//! | for a Lock or an RLock | its owner |
//! | for the lock of a condition, after a notify | the owner of the lock |
//! | for the end of a thread | that thread, unless it has ended |
//! | in the process exit | each thread that the exit waits for |
//! | in an exit or a shutdown, for the functions that another thread calls | that thread |
//!
//! All other waits have no edge: any thread may set an event, release a semaphore, arrive at a barrier or notify a
//! condition. A waiter that has been granted its lock, or has been woken to acquire it, has no edge, although it has
//! not run yet; nor has a waiter that is not parked, since it may have acquired the lock already.
//!
//! A thread that joins main has no edge while main is in the process exit: for its joiners, main has ended then.
//!
//! A notified waiter has an edge although it has a deadline, since it waits for the lock without one.
//!
//! Except for a thread in the exit, each thread has at most one edge. So a cycle is found by following the edges from a
//! thread. A cycle through an exit is found from the thread in it for which the exit waits; if there are several, from
//! the one that is closest to the exit. The other threads of such a cycle look for it from there (`exit_deadlock_of`).
//! A long path that ends at a thread without an edge is followed once in a snapshot (`Path`).
//!
//! # Proof
//!
//! The edges are read one after the other, so that they may never have existed at the same time. A cycle is reported
//! only if it is read twice with the same waits and the same owners. Each wait of the cycle has then lasted from its
//! first reading to its second, because no two waits of a thread have the same identity. While a thread waits, it
//! acquires no other lock. So it has owned its lock of the cycle from the first reading of its own wait to the second
//! reading of the lock, and all edges existed between the two readings.
//!
//! The waits are those that lasted when the snapshot was taken. So a deadlock that forms during a dump is not found
//! (but for one that a notify completes), and the number of deadlocked threads agrees with the list of them.
//!
//! If a thread is seen to wait, its earlier releases of locks are seen, too: each release, even that of an RLock by a
//! store, comes before the wait in the program order of the thread, and the reader reads the wait with acquire.
//!
//! A waiter that acquires its lock is not `PARKED` any more when the lock's word names it as the owner, and the fence
//! between the readings shows this to the second one. So a thread that has just acquired a lock does not seem to wait
//! for itself.

use crate::dump::index::Index;
use crate::dump::snapshot::Snapshot;
use crate::dump::threads::Entry;
use crate::handle::Handle;
use crate::lock::condition::Condition;
use crate::lock::lock::Lock;
use crate::lock::lockable::Lockable;
use crate::lock::rlock::RLock;
use crate::sync::wait_note::{EXIT_CALLBACKS, PROCESS_EXIT, Wait};
use crate::sys::atomic::{Ordering, fence};
use crate::thread::exit_callbacks;
use crate::thread::ident::{FIRST_OWNER_TAG, OWNER_SHIFT};
use crate::thread::object::{DONE, TERMINATED, Thread};
use crate::thread::registry;
use crate::time::Deadline;

/// A cycle, as one of its threads sees it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Cycle {
    /// The number of threads.
    pub(super) length: usize,
    /// The identifier of the thread from which the cycle is printed: the lowest, or that for which the exit waits.
    pub(super) first: u64,
    /// The identifier of the thread in the cycle that is in the process exit, 0 if there is none.
    pub(super) exiting: u64,
    /// A hash of the waits and the owners.
    hash: u64,
}

/// Where the edges from a thread lead.
enum EndOfEdges {
    /// To a thread without an edge.
    DeadEnd,
    /// To a thread in the process exit.
    Exit,
    Cycle,
}

impl Snapshot {
    /// Returns the cycle that contains this thread, if there is one, and if it can be found from this thread.
    pub(super) fn deadlock_of(&self, entry: Entry) -> Option<Cycle> {
        let first = self.find_cycle(entry)?;
        fence(Ordering::Acquire);
        let second = self.find_cycle(entry)?;
        (first == second).then_some(first)
    }

    /// Returns a cycle through an exit that contains this thread, but is found from another one, and that one.
    #[cold]
    pub(super) fn exit_deadlock_of(&self, entry: Entry) -> Option<(Entry, Cycle)> {
        if !self.leads_to_exit(entry) || !self.has_exit_deadlock() {
            return None;
        }
        self.find_exit_deadlock(|start, cycle| {
            start.ident != entry.ident && self.is_in_cycle(entry, start, cycle.length)
        })
    }

    /// Returns whether there is a cycle through an exit. So only one search is needed if many threads wait for one that
    /// exits, and none of them hangs.
    #[cold]
    fn has_exit_deadlock(&self) -> bool {
        self.has_exit_deadlock.get().unwrap_or_else(|| {
            let is_found = self.find_exit_deadlock(|_, _| true).is_some();
            self.has_exit_deadlock.set(Some(is_found));
            is_found
        })
    }

    /// Returns a cycle through an exit that meets a condition, and the thread from which it is found.
    #[cold]
    fn find_exit_deadlock(&self, meets: impl Fn(Entry, Cycle) -> bool) -> Option<(Entry, Cycle)> {
        let mut found = None;
        self.for_each(&mut |start| {
            if found.is_none() && is_awaited(start) {
                let cycle = self.deadlock_of(start).filter(|cycle| cycle.exiting != 0);
                found = cycle.filter(|cycle| meets(start, *cycle)).map(|cycle| (start, cycle));
            }
        });
        found
    }

    /// Returns whether a cycle contains this thread.
    pub(super) fn is_deadlocked(&self, entry: Entry) -> bool {
        self.deadlock_of(entry).is_some() || self.exit_deadlock_of(entry).is_some()
    }

    /// Returns true if no cycle has existed since before the snapshot was taken. Returns false if there may be one: also
    /// if a thread is in the process exit, or if there is no index of all threads.
    ///
    /// The edges of such a cycle do not change, so that they need not be read twice.
    pub(super) fn has_no_deadlock(&self) -> bool {
        let leads_to_dead_end = |entry: &Entry| matches!(self.end_of_edges(*entry), EndOfEdges::DeadEnd);
        let complete_index = self.index().filter(|index| index.has_all_threads);
        complete_index.is_some_and(|index| index.threads.iter().all(leads_to_dead_end))
    }

    /// Begins a path along the edges.
    pub(super) fn path(&self) -> Path<'_> {
        Path { index: self.index(), last: 0, length: 0 }
    }

    /// Returns whether the edges from this thread lead to a thread in the process exit.
    #[cold]
    fn leads_to_exit(&self, start: Entry) -> bool {
        matches!(self.end_of_edges(start), EndOfEdges::Exit)
    }

    /// Follows the edges from this thread.
    fn end_of_edges(&self, start: Entry) -> EndOfEdges {
        let (mut at, mut path) = (start, self.path());
        let mut repetition = Repetition::new(start.ident);
        loop {
            let is_dead_end = path.leads_to_dead_end(at.ident);
            let wait = at.recorded_wait().filter(|_| !is_dead_end);
            if wait.is_some_and(|wait| wait.object == PROCESS_EXIT) {
                return EndOfEdges::Exit;
            }
            let Some(next) = wait.and_then(|wait| blocking_thread(&wait)) else {
                path.ends();
                return EndOfEdges::DeadEnd;
            };
            if repetition.is_found_at(next) {
                return EndOfEdges::Cycle;
            }
            let Some(next) = self.find(next) else { return EndOfEdges::DeadEnd };
            at = next;
        }
    }

    /// Returns whether a thread is in the cycle of this length that is found from `start`.
    #[cold]
    fn is_in_cycle(&self, entry: Entry, start: Entry, length: usize) -> bool {
        let members = core::iter::successors(Some(start), |at| self.next_in_cycle(*at, start));
        members.take(length).any(|member| member.ident == entry.ident)
    }

    /// Follows the edges from this thread. Returns `None` if they do not lead back to it.
    fn find_cycle(&self, start: Entry) -> Option<Cycle> {
        let mut cycle = Cycle { length: 0, first: start.ident, exiting: 0, hash: 0 };
        let (mut at, mut path) = (start, self.path());
        let mut passes_awaited = false;
        let mut repetition = Repetition::new(start.ident);
        loop {
            let is_dead_end = path.leads_to_dead_end(at.ident);
            let wait = at.recorded_wait().filter(|_| !is_dead_end);
            let next = wait.and_then(|wait| self.successor(&wait, start));
            let (Some(wait), Some(next)) = (wait, next) else {
                if wait.is_none_or(|wait| wait.object != PROCESS_EXIT) {
                    path.ends();
                }
                return None;
            };
            for part in [at.ident, wait.id, wait.object as u64, next] {
                cycle.hash = (cycle.hash ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
            }
            cycle.length += 1;
            if wait.object == PROCESS_EXIT {
                return (!passes_awaited).then_some(Cycle { first: start.ident, exiting: at.ident, ..cycle });
            }
            if next == start.ident {
                return Some(cycle);
            }
            if repetition.is_found_at(next) {
                return None;
            }
            cycle.first = cycle.first.min(next);
            at = self.find(next)?;
            passes_awaited |= is_awaited(at);
        }
    }

    /// Returns the identifier of the thread for which a wait waits. An exit waits for `start` if `start` waits for a
    /// thread that exits, and the exit waits for `start`.
    fn successor(&self, wait: &Wait, start: Entry) -> Option<u64> {
        if wait.object == PROCESS_EXIT {
            (wait.until == Deadline::NEVER && is_awaited(start)).then_some(start.ident)
        } else {
            blocking_thread(wait)
        }
    }

    /// Returns the thread for which the thread of this entry waits, in a cycle.
    pub(super) fn next_in_cycle(&self, at: Entry, start: Entry) -> Option<Entry> {
        self.find(self.successor(&at.recorded_wait()?, start)?)
    }
}

/// The threads on a path along the edges. A snapshot has one path at a time.
pub(super) struct Path<'a> {
    index: Option<&'a Index>,
    /// The mark that links to the last thread.
    last: u32,
    length: usize,
}

impl Path<'_> {
    /// A mark: it is known that the edges of the thread lead to no cycle and to no exit. Greater numbers link the
    /// threads of a path.
    const DEAD_END: u32 = 1;
    /// Shorter paths are followed again each time, so that a thread that is interrupted in its wait, and has no edge until
    /// it parks again, is not taken for a dead end during the whole dump.
    const MIN_LENGTH: usize = 16;

    /// Adds a thread. Returns true if it is known that its edges do not lead to a cycle or an exit.
    pub(super) fn leads_to_dead_end(&mut self, ident: u64) -> bool {
        let Some(index) = self.index else { return false };
        let Some(place) = index.place_of(ident) else { return false };
        let mark = &index.marks[place];
        let is_dead_end = mark.get() == Self::DEAD_END;
        if !is_dead_end {
            mark.set(self.last);
            self.last = place as u32 + Self::DEAD_END + 1;
            self.length += 1;
        }
        is_dead_end
    }

    /// The edges of the last thread do not lead to a cycle or an exit: this is known of all threads of the path now.
    pub(super) fn ends(self) {
        let Some(index) = self.index.filter(|_| self.length >= Self::MIN_LENGTH) else { return };
        let mut next = self.last;
        // If the path has come to a thread twice, since edges have changed, the mark of that thread ends the loop.
        while next > Self::DEAD_END {
            next = index.marks[(next - Self::DEAD_END - 1) as usize].replace(Self::DEAD_END);
        }
    }
}

/// Finds that edges have entered a cycle, by Brent's algorithm: they lead to the checkpoint again.
struct Repetition {
    checkpoint: u64,
    length: usize,
    next_checkpoint: usize,
}

impl Repetition {
    fn new(start: u64) -> Self {
        Repetition { checkpoint: start, length: 0, next_checkpoint: 1 }
    }

    /// The next edge leads to the thread with this identifier.
    fn is_found_at(&mut self, next: u64) -> bool {
        self.length += 1;
        if next == self.checkpoint {
            return true;
        }
        if self.length == self.next_checkpoint {
            (self.checkpoint, self.next_checkpoint) = (next, 2 * self.next_checkpoint);
        }
        false
    }
}

/// Returns whether an exit waits for this thread.
fn is_awaited(entry: Entry) -> bool {
    entry.live_thread().is_some_and(registry::is_awaited)
}

/// Returns the identifier of the one thread for which this wait, which is not that of an exit, waits.
fn blocking_thread(wait: &Wait) -> Option<u64> {
    if wait.object == EXIT_CALLBACKS {
        return Some(exit_callbacks::runner()).filter(|&ident| ident != 0 && wait.until == Deadline::NEVER);
    }
    if let Ok((thread, _)) = Handle::<Thread>::from_bits(wait.object).check() {
        let is_over = matches!(thread.state(), TERMINATED | DONE);
        return (wait.until == Deadline::NEVER && !is_over).then(|| thread.ident());
    }
    let (owner, has_deadline) = awaited_lock(wait)?;
    (!has_deadline && wait.is_parked() && owner >= FIRST_OWNER_TAG).then_some(owner >> OWNER_SHIFT)
}

/// Returns the owner field of the lock for which this wait waits, and whether it waits for the lock with a deadline.
pub(super) fn awaited_lock(wait: &Wait) -> Option<(u64, bool)> {
    if let Some(locks) = wait.condition_locks() {
        return wait
            .notified
            .then(|| locks.into_iter().find_map(owner_of))
            .flatten()
            .map(|owner| (owner, false));
    }
    if let Ok((condition, _)) = Handle::<Condition>::from_bits(wait.object).check() {
        return wait.notified.then(|| condition.lock_owner()).flatten().map(|owner| (owner, false));
    }
    owner_of(wait.object).map(|owner| (owner, wait.until != Deadline::NEVER))
}

/// Returns the identifier of the thread that owns a lock; 0 if no thread does, and for other objects.
pub(super) fn owner_ident(bits: usize) -> u64 {
    owner_of(bits).map_or(0, |owner| owner >> OWNER_SHIFT)
}

/// Returns the owner field of a Lock or an RLock; `None` for other objects.
pub(super) fn owner_of(bits: usize) -> Option<u64> {
    fn of<T: Lockable>(bits: usize) -> Option<u64> {
        let (lock, tag) = Handle::<T>::from_bits(bits).check().ok()?;
        lock.raw().word().owner(tag).ok()
    }
    of::<Lock>(bits).or_else(|| of::<RLock>(bits))
}
