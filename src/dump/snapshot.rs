//! A snapshot of the threads and owned locks.
//!
//! *The index* consists of sorted arrays of the threads and of the owned locks. It serves one dump at a time, and is in
//! static memory, or in pages that are mapped for one snapshot if that has no room for all threads and locks. Without
//! it, a dump scans all slots for each thread, so that its time is quadratic in the number of threads. So a dump waits
//! for the index. It works without it in a handler that has interrupted another dump, and if another one uses the index
//! for long, for example because its write blocks. So does each dump for the threads and locks for which the index has
//! no room, if no pages can be mapped.

use core::cell::{Cell, UnsafeCell};
use core::ffi::c_int;
use core::slice;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use crate::dump::threads::{
    self, Entry, LATER, NO_IDENT, NOT_RECORDED, OwnedLock, find_thread, find_waiter, ident_of, live_threads,
    main_without_object, owned_locks, waits,
};
use crate::sync::waiter::Waiter;
use crate::sys;
use crate::sys::annotate::{happens_after, happens_before};
use crate::sys::{calling_thread, memory, pthread, tls};
use crate::thread::object::Thread;
use crate::thread::registry;

/// The sizes of the static arrays.
const MAX_THREADS: usize = 8192;
const MAX_LOCKS: usize = 8192;
/// The longest pause of a dump between two attempts to use the index, and how long it pauses in all during the same use
/// by another dump, in milliseconds.
const MAX_PAUSE_MS: c_int = 128;
const MAX_WAIT_MS: c_int = 1000;
/// The number of barriers of which a snapshot remembers how many threads have arrived.
const MAX_ARRIVALS: usize = 16;
const MIN_OBJECT_SIZE: usize = 64;

struct Arrays {
    threads: [Entry; MAX_THREADS],
    locks: [OwnedLock; MAX_LOCKS],
    marks: [Cell<u32>; MAX_THREADS],
}

/// The arrays of one snapshot.
struct Room {
    threads: &'static mut [Entry],
    locks: &'static mut [OwnedLock],
    marks: &'static [Cell<u32>],
    /// The pages that contain them, and their size; 0 if they are static.
    mapped: (usize, usize),
}

impl Room {
    /// # Safety
    /// The calling thread is the `USER` of the index, and has no other room.
    unsafe fn new() -> Room {
        let (threads, locks) = (live_threads().count(), owned_locks().count());
        let is_static = threads < MAX_THREADS && locks < MAX_LOCKS;
        let mapped = if is_static { None } else { Room::map(threads, locks) };
        mapped.unwrap_or_else(|| {
            // SAFETY: guaranteed by the caller.
            let Arrays { threads, locks, marks } = unsafe { &mut *SHARED.0.get() };
            Room { threads, locks, marks, mapped: (0, 0) }
        })
    }

    /// Maps room for these numbers, and for those that are added until they are read again.
    #[cold]
    fn map(threads: usize, locks: usize) -> Option<Room> {
        let (threads, locks) = (threads + threads / 8 + 64, locks + locks / 8 + 64);
        let (for_threads, for_locks) = (threads * size_of::<Entry>(), locks * size_of::<OwnedLock>());
        let bytes = (for_threads + for_locks + threads * size_of::<Cell<u32>>())
            .next_multiple_of(pthread::page_size());
        let start = sys::preserving_errno(|| memory::map(0, bytes))?;
        // SAFETY: the three parts are in the mapping, and do not overlap. Zeros are valid elements: `Entry::EMPTY`,
        // `OwnedLock::EMPTY` and 0. The alignment of each part is a divisor of the size of the former one's elements.
        unsafe {
            Some(Room {
                threads: slice::from_raw_parts_mut(start as *mut Entry, threads),
                locks: slice::from_raw_parts_mut((start + for_threads) as *mut OwnedLock, locks),
                marks: slice::from_raw_parts((start + for_threads + for_locks) as *const Cell<u32>, threads),
                mapped: (start, bytes),
            })
        }
    }
}

struct Shared(UnsafeCell<Arrays>);

// SAFETY: only the thread that is `USER` accesses the arrays.
unsafe impl Sync for Shared {}

/// The index. It is not in the section of untracked statics, which would store its zeros in the file. So race detectors
/// check it as they check the program's memory.
static SHARED: Shared = Shared(UnsafeCell::new(Arrays {
    threads: [Entry::EMPTY; MAX_THREADS],
    locks: [OwnedLock::EMPTY; MAX_LOCKS],
    marks: [const { Cell::new(0) }; MAX_THREADS],
}));

/// The address of the per-thread block of the thread that uses the index, 0 if no thread does.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static USER: AtomicUsize = AtomicUsize::new(0);

/// The number of times that the index has been used.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static USES: AtomicU32 = AtomicU32::new(0);

fn calling_user() -> usize {
    tls::with(|block| core::ptr::from_ref(block) as usize)
}

/// In a child of fork: frees the index if another thread of the parent was using it. If the thread that forked was, and
/// has forked in a signal handler, it still uses the index.
pub(crate) fn after_fork_in_child() {
    if USER.load(Ordering::Relaxed) != calling_user() {
        USER.store(0, Ordering::Relaxed);
    }
}

/// The threads and the owned locks. The arrays are empty if the snapshot has no index.
pub(super) struct Snapshot {
    threads: &'static [Entry],
    locks: &'static [OwnedLock],
    marks: &'static [Cell<u32>],
    /// Whether the array has room for further threads, so that it has all of them.
    has_all_threads: bool,
    /// Whether all locks are in the array.
    has_all_locks: bool,
    /// The pages of the arrays, and their size; 0 if they are static.
    mapped: (usize, usize),
    has_index: bool,
    /// Whether there is a deadlock through an exit; `None` if that has not been found out yet.
    pub(super) has_exit_deadlock: Cell<Option<bool>>,
    /// Handles of barriers, and how many threads have arrived: otherwise each of the threads would count all of them.
    arrivals: [Cell<(usize, usize)>; MAX_ARRIVALS],
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if self.has_index {
            let (start, bytes) = self.mapped;
            // SAFETY: mapped by `Room::map`, and not used after this.
            sys::preserving_errno(|| unsafe { memory::unmap(start, bytes) });
            happens_before(&SHARED);
            USER.store(0, Ordering::Release);
        }
    }
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
            if waited_ms >= MAX_WAIT_MS || USER.load(Ordering::Relaxed) == calling_user() {
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
        Snapshot {
            threads: &[],
            locks: &[],
            marks: &[],
            has_all_threads: false,
            has_all_locks: false,
            mapped: (0, 0),
            has_index: false,
            has_exit_deadlock: Cell::new(None),
            arrivals: [const { Cell::new((0, 0)) }; MAX_ARRIVALS],
        }
    }

    /// Takes a snapshot with the index. If another dump is using it, returns the number of this use.
    pub(super) fn take_indexed() -> core::result::Result<Snapshot, u32> {
        threads::store_process_id();
        if USER.compare_exchange(0, calling_user(), Ordering::Acquire, Ordering::Relaxed).is_err() {
            return Err(USES.load(Ordering::Relaxed));
        }
        USES.fetch_add(1, Ordering::Relaxed);
        happens_after(&SHARED);
        // SAFETY: the index had no user before.
        let room = unsafe { Room::new() };
        let capacity = room.threads.len();
        let threads = index_threads(room.threads);
        let (locks, has_all_locks) = index_locks(room.locks);
        let marks = &room.marks[..threads.len()];
        marks.iter().for_each(|mark| mark.set(0));
        Ok(Snapshot {
            threads,
            locks,
            marks,
            has_all_threads: threads.len() < capacity,
            has_all_locks,
            mapped: room.mapped,
            has_index: true,
            has_exit_deadlock: Cell::new(None),
            arrivals: [const { Cell::new((0, 0)) }; MAX_ARRIVALS],
        })
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

    /// The threads of the index; `None` if there is no index, or if it may not contain all threads.
    pub(super) fn all_threads(&self) -> Option<&[Entry]> {
        self.has_all_threads.then_some(self.threads)
    }

    /// Begins a path along the edges.
    pub(super) fn path(&self) -> Path<'_> {
        Path { snapshot: self, last: 0, length: 0 }
    }

    /// Calls `f` for each thread: main first, and then in the order of the starts. Those for which the index has no
    /// room follow, in the same order.
    pub(super) fn for_each(&self, f: &mut dyn FnMut(Entry)) {
        let order = |ident: u64| (ident != registry::main_ident(), ident);
        let is_main = |entry: &Entry| !order(entry.ident).0;
        self.threads.iter().filter(|entry| is_main(entry)).for_each(|entry| f(*entry));
        self.threads.iter().filter(|entry| !is_main(entry)).for_each(|entry| f(*entry));
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
        let mut without_ident =
            &self.threads[self.threads.partition_point(|entry| entry.ident != NO_IDENT)..];
        for (waiter, wait) in waits() {
            let ident = ident_of(waiter, &wait);
            let is_known = if ident == NO_IDENT {
                let place = without_ident.iter().position(|entry| entry.is_of(waiter));
                without_ident = &without_ident[place.map_or(0, |place| place + 1)..];
                place.is_some()
            } else {
                self.indexed(ident).is_some()
                    || self.threads.iter().any(|entry| entry.is_of(waiter))
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
        Entry { ident, thread, waiter, wait_id: if self.has_all_threads { LATER } else { NOT_RECORDED } }
    }

    fn indexed(&self, ident: u64) -> Option<Entry> {
        Some(self.threads[self.place_of(ident)?])
    }

    fn place_of(&self, ident: u64) -> Option<usize> {
        if ident == NO_IDENT { None } else { index_of(self.threads, ident) }
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
        if self.has_all_locks {
            let first = self.locks.partition_point(|lock| lock.owner < owner);
            self.locks[first..].iter().take_while(|lock| lock.owner == owner).for_each(|lock| f(*lock));
        } else {
            owned_locks().filter(|lock| lock.owner == owner).for_each(|lock| {
                let waiters = waits().filter(|(_, wait)| wait.object == lock.bits).count() as u32;
                f(OwnedLock { waiters, ..lock });
            });
        }
    }
}

/// The threads on a path along the edges. A snapshot has one path at a time.
pub(super) struct Path<'a> {
    snapshot: &'a Snapshot,
    /// The mark that links to the last thread.
    last: u32,
    length: usize,
}

impl Path<'_> {
    /// In `marks`: it is known that the edges of the thread lead to no cycle and to no exit. Greater numbers link the
    /// threads of a path.
    const DEAD_END: u32 = 1;
    /// Shorter paths are followed again each time, so that a wait that is interrupted for a moment, and then has no edge,
    /// is not taken for a dead end during the whole dump.
    const MIN_LENGTH: usize = 16;

    /// Adds a thread. Returns true if it is known that its edges do not lead to a cycle or an exit.
    pub(super) fn leads_to_dead_end(&mut self, ident: u64) -> bool {
        let Some(place) = self.snapshot.place_of(ident) else { return false };
        let mark = &self.snapshot.marks[place];
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
        if self.length < Self::MIN_LENGTH {
            return;
        }
        let mut next = self.last;
        // If the path has come to a thread twice, since edges have changed, the mark of that thread ends the loop.
        while next > Self::DEAD_END {
            next = self.snapshot.marks[(next - Self::DEAD_END - 1) as usize].replace(Self::DEAD_END);
        }
    }
}

/// Sorts an array by a key, by Shellsort: the standard library's sort needs ten times as much code, and more stack.
fn sort<T: Copy, K: Ord>(array: &mut [T], key: impl Fn(&T) -> K) {
    const GAPS: [usize; 10] = [3548, 1577, 701, 301, 132, 57, 23, 10, 4, 1];
    for gap in GAPS {
        for index in gap..array.len() {
            let inserted = array[index];
            let mut at = index;
            while at >= gap && key(&array[at - gap]) > key(&inserted) {
                array[at] = array[at - gap];
                at -= gap;
            }
            array[at] = inserted;
        }
    }
}

/// Returns the index of the entry with this identifier, in a sorted array.
fn index_of(entries: &[Entry], ident: u64) -> Option<usize> {
    entries.binary_search_by_key(&ident, |entry| entry.ident).ok()
}

/// Fills the array with the threads, sorted by identifier. The entries without an identifier are the last ones, in the
/// order of the records.
fn index_threads(entries: &'static mut [Entry]) -> &'static [Entry] {
    let mut count = 0;
    let mut add = |entries: &mut [Entry], entry: Entry| {
        if let Some(place) = entries.get_mut(count) {
            *place = entry;
            count += 1;
        }
        count
    };
    let mut threads = 0;
    for thread in live_threads() {
        threads = add(entries, Entry::of_thread(thread.ident(), Some(thread)));
    }
    if let Some(main) = main_without_object() {
        threads = add(entries, main);
    }
    sort(&mut entries[..threads], |entry| entry.ident);
    let (mut identified, mut has_others) = (threads, false);
    for (waiter, wait) in waits() {
        let ident = ident_of(waiter, &wait);
        if let Some(at) = index_of(&entries[..threads], ident) {
            entries[at] = Entry { waiter: Some(waiter), wait_id: wait.id, ..entries[at] };
        } else if ident != NO_IDENT {
            identified = add(entries, Entry { ident, thread: None, waiter: Some(waiter), wait_id: wait.id });
        } else {
            has_others = true;
        }
    }
    sort(&mut entries[..identified], |entry| entry.ident);
    let mut all = identified;
    for (waiter, wait) in waits() {
        if has_others && ident_of(waiter, &wait) == NO_IDENT {
            let ident = NO_IDENT;
            all = add(entries, Entry { ident, thread: None, waiter: Some(waiter), wait_id: wait.id });
        }
    }
    &entries[..all]
}

/// Fills the array with the owned locks, sorted by owner. Returns an empty array and false if there is no room for all.
fn index_locks(locks: &'static mut [OwnedLock]) -> (&'static [OwnedLock], bool) {
    let mut count = 0;
    for lock in owned_locks() {
        if count == locks.len() {
            return (&[], false);
        }
        locks[count] = lock;
        count += 1;
    }
    sort(&mut locks[..count], |lock| lock.bits);
    for (_, wait) in waits() {
        if let Ok(at) = locks[..count].binary_search_by_key(&wait.object, |lock| lock.bits) {
            locks[at].waiters += 1;
        }
    }
    sort(&mut locks[..count], |lock| (lock.owner, lock.is_reentrant, lock.bits));
    (&locks[..count], true)
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
            if snapshot.has_index {
                break snapshot;
            }
        };
        let without_index = Snapshot::take();
        assert!(!without_index.has_index);
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
        assert!(Snapshot::take().has_index);
        other.join().unwrap();
    }
}
