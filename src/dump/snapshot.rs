//! A snapshot of the threads and owned locks.
//!
//! Without the [`Index`], a dump scans all slots for each thread, so that its time is quadratic in the number of
//! threads. So a dump waits for the index. It works without it in a handler that has interrupted another dump, and if
//! another one uses the index for long, for example because its write blocks.

use core::cell::Cell;
use core::ffi::c_int;

use crate::dump::index::Index;
use crate::dump::threads::{
    self, Entry, LATER, NO_IDENT, NOT_RECORDED, OwnedLock, find_thread, find_waiter, ident_of, live_threads,
    main_without_object, owned_locks, waits,
};
use crate::sync::waiter::Waiter;
use crate::sys::calling_thread;
use crate::thread::object::Thread;
use crate::thread::registry;

/// The longest pause of a dump between two attempts to use the index, and how long it pauses in all during the same use
/// by another dump, in milliseconds.
const MAX_PAUSE_MS: c_int = 128;
const MAX_WAIT_MS: c_int = 1000;
/// The number of barriers of which a snapshot remembers how many threads have arrived.
const MAX_ARRIVALS: usize = 16;
const MIN_OBJECT_SIZE: usize = 64;

/// The threads and the owned locks.
pub(super) struct Snapshot {
    index: Option<Index>,
    /// Whether there is a deadlock through an exit; `None` if that has not been found out yet.
    pub(super) has_exit_deadlock: Cell<Option<bool>>,
    /// Handles of barriers, and how many threads have arrived: otherwise each of the threads would count all of them.
    arrivals: [Cell<(usize, usize)>; MAX_ARRIVALS],
}

impl Snapshot {
    /// Takes a snapshot, without the index if a dump of the calling thread is using it, or another one for long.
    pub(super) fn take() -> Snapshot {
        let (mut last_use, mut waited_ms, mut pause_ms) = (None, 0, 1);
        loop {
            match Snapshot::take_indexed() {
                Ok(indexed) => return indexed,
                Err(number) if last_use == Some(number) => {}
                Err(number) => (last_use, waited_ms) = (Some(number), 0),
            }
            if waited_ms >= MAX_WAIT_MS || Index::is_used_by_caller() {
                return Snapshot::without_index();
            }
            calling_thread::pause(pause_ms);
            waited_ms += pause_ms;
            // If many threads wait, they must leave the CPUs to the one that uses the index.
            pause_ms = (2 * pause_ms).min(MAX_PAUSE_MS);
        }
    }

    /// Takes a snapshot without the index.
    pub(super) fn without_index() -> Snapshot {
        threads::store_process_id();
        Snapshot::new(None)
    }

    /// Takes a snapshot with the index. If another dump is using it, returns the number of this use.
    pub(super) fn take_indexed() -> core::result::Result<Snapshot, u32> {
        threads::store_process_id();
        Index::new().map(|index| Snapshot::new(Some(index)))
    }

    fn new(index: Option<Index>) -> Snapshot {
        let arrivals = [const { Cell::new((0, 0)) }; MAX_ARRIVALS];
        Snapshot { index, has_exit_deadlock: Cell::new(None), arrivals }
    }

    /// Returns how many threads have arrived at a barrier, by a function that counts them. Each of a few barriers is
    /// counted once.
    pub(super) fn arrived_at(&self, barrier: usize, count: impl FnOnce() -> usize) -> usize {
        let known = &self.arrivals[barrier / MIN_OBJECT_SIZE % MAX_ARRIVALS];
        if known.get().0 != barrier {
            known.set((barrier, count()));
        }
        known.get().1
    }

    pub(super) fn index(&self) -> Option<&Index> {
        self.index.as_ref()
    }

    /// The threads of the index.
    fn indexed_threads(&self) -> &'static [Entry] {
        self.index.as_ref().map_or(&[], |index| index.threads)
    }

    /// Calls `f` for each thread: main first, and then in the order of the starts. Those for which the index has no
    /// room follow, in the same order.
    pub(super) fn for_each(&self, f: &mut dyn FnMut(Entry)) {
        let order = |ident: u64| (ident != registry::main_ident(), ident);
        let is_main = |entry: &Entry| !order(entry.ident).0;
        let indexed = self.indexed_threads();
        indexed.iter().filter(|entry| is_main(entry)).for_each(|entry| f(*entry));
        indexed.iter().filter(|entry| !is_main(entry)).for_each(|entry| f(*entry));
        if let Some(main) = main_without_object().filter(|main| self.indexed(main.ident).is_none()) {
            f(self.unindexed(main.ident, None, find_waiter(main.ident)));
        }
        let mut last = None;
        let is_next = |ident, last| self.indexed(ident).is_none() && last < Some(order(ident));
        while let Some(thread) = live_threads()
            .filter(|thread| is_next(thread.ident(), last))
            .min_by_key(|thread| order(thread.ident()))
        {
            let ident = thread.ident();
            last = Some(order(ident));
            f(self.unindexed(ident, Some(thread), find_waiter(ident)));
        }
        // The entries without an identifier are in the order of the records, in which these are read again.
        let mut without_ident = &indexed[indexed.partition_point(|entry| entry.ident != NO_IDENT)..];
        for (waiter, wait) in waits() {
            let ident = ident_of(waiter, &wait);
            let is_known = if ident == NO_IDENT {
                let place = without_ident.iter().position(|entry| entry.is_of(waiter));
                without_ident = &without_ident[place.map_or(0, |place| place + 1)..];
                place.is_some()
            } else {
                self.indexed(ident).is_some()
                    || indexed.iter().any(|entry| entry.is_of(waiter))
                    || find_thread(ident).is_some()
                    || main_without_object().is_some_and(|main| main.ident == ident)
            };
            if !is_known {
                f(self.unindexed(ident, None, Some(waiter)));
            }
        }
    }

    /// The entry of a thread that is not in the index.
    fn unindexed(
        &self,
        ident: u64,
        thread: Option<&'static Thread>,
        waiter: Option<&'static Waiter>,
    ) -> Entry {
        let has_all_threads = self.index().is_some_and(|index| index.has_all_threads);
        Entry { ident, thread, waiter, wait_id: if has_all_threads { LATER } else { NOT_RECORDED } }
    }

    fn indexed(&self, ident: u64) -> Option<Entry> {
        let index = self.index()?;
        Some(index.threads[index.place_of(ident)?])
    }

    /// Returns the thread with this identifier, if it is alive, or has a wait.
    pub(super) fn find(&self, ident: u64) -> Option<Entry> {
        if let Some(entry) = self.indexed(ident) {
            return Some(entry);
        }
        let (thread, waiter) = (find_thread(ident), find_waiter(ident));
        let is_known = thread.is_some()
            || waiter.is_some()
            || main_without_object().is_some_and(|main| main.ident == ident);
        is_known.then(|| self.unindexed(ident, thread, waiter))
    }

    /// Calls `f` for each lock that a thread owns.
    pub(super) fn for_each_lock_of(&self, owner: u64, f: &mut dyn FnMut(OwnedLock)) {
        if let Some(index) = self.index().filter(|index| index.has_all_locks) {
            let first = index.locks.partition_point(|lock| lock.owner < owner);
            index.locks[first..].iter().take_while(|lock| lock.owner == owner).for_each(|lock| f(*lock));
        } else {
            owned_locks().filter(|lock| lock.owner == owner).for_each(|lock| {
                let waiters = waits().filter(|(_, wait)| wait.object == lock.bits).count() as u32;
                f(OwnedLock { waiters, ..lock });
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::handle::Handle;
    use crate::time::Timeout;

    #[test]
    fn without_an_index_the_threads_are_in_the_same_order() {
        let stop = Event::new().unwrap();
        let start = |stop: Handle<Event>| {
            let thread = Thread::new(move || assert_eq!(stop.wait(Timeout::FOREVER), Ok(true))).unwrap();
            thread.start().unwrap();
            thread
        };
        let end = |stop: &Handle<Event>, thread: &Handle<Thread>| {
            stop.set().unwrap();
            assert_eq!(thread.join(Timeout::FOREVER), Ok(true));
        };
        // The last thread has the slot of the first one, so that the slots are not in the order of the starts.
        let stop_first = Event::new().unwrap();
        let first = start(*stop_first);
        let mut threads = vec![start(*stop), start(*stop)];
        end(&stop_first, &first);
        drop(first);
        threads.push(start(*stop));
        let idents: Vec<u64> = threads.iter().map(|thread| thread.ident().unwrap()).collect();
        let listed = |snapshot: &Snapshot| {
            let mut listed = Vec::new();
            snapshot.for_each(&mut |entry| listed.push(entry.ident));
            listed.retain(|ident| idents.contains(ident));
            listed
        };
        let with_index = loop {
            let snapshot = Snapshot::take();
            if snapshot.index().is_some() {
                break snapshot;
            }
        };
        let without_index = Snapshot::take();
        assert!(without_index.index().is_none());
        assert_eq!(listed(&with_index), idents);
        assert_eq!(listed(&without_index), idents);
        threads.iter().for_each(|thread| end(&stop, thread));
    }

    #[test]
    fn a_dump_waits_until_another_thread_has_used_the_index() {
        const USE: std::time::Duration = std::time::Duration::from_millis(50);
        let (takes, is_taken) = std::sync::mpsc::channel();
        let other = std::thread::spawn(move || {
            let snapshot = Snapshot::take();
            takes.send(()).unwrap();
            std::thread::sleep(USE);
            drop(snapshot);
        });
        is_taken.recv().unwrap();
        assert!(Snapshot::take().index().is_some());
        other.join().unwrap();
    }
}
