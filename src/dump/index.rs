//! The index of a snapshot: sorted arrays of the threads and of the owned locks.
//!
//! It serves one snapshot at a time, and is in static memory, or in pages that are mapped for one snapshot if that has
//! no room for all threads and locks. If no pages can be mapped, some are not in the index.

use core::cell::{Cell, UnsafeCell};
use core::slice;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use crate::dump::threads::{
    Entry, NO_IDENT, OwnedLock, ident_of, live_threads, main_without_object, owned_locks, waits,
};
use crate::sys;
use crate::sys::annotate::{happens_after, happens_before};
use crate::sys::{memory, pthread, tls};

/// The sizes of the static arrays.
const MAX_THREADS: usize = 2048;
const MAX_LOCKS: usize = 2048;

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

/// The threads, sorted by identifier, and the owned locks, sorted by owner.
pub(super) struct Index {
    pub(super) threads: &'static [Entry],
    pub(super) locks: &'static [OwnedLock],
    /// For each of the threads, a mark of the search for cycles; 0 at first.
    pub(super) marks: &'static [Cell<u32>],
    /// Whether the array has room for further threads, so that it has all of them.
    pub(super) has_all_threads: bool,
    /// Whether all locks are in the array.
    pub(super) has_all_locks: bool,
    /// The pages of the arrays, and their size; 0 if they are static.
    mapped: (usize, usize),
}

impl Drop for Index {
    fn drop(&mut self) {
        let (start, bytes) = self.mapped;
        // SAFETY: mapped by `Room::map`, and not used after this.
        sys::preserving_errno(|| unsafe { memory::unmap(start, bytes) });
        happens_before(&SHARED);
        USER.store(0, Ordering::Release);
    }
}

impl Index {
    /// Fills the index. If another snapshot is using it, returns the number of this use.
    pub(super) fn new() -> core::result::Result<Index, u32> {
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
        let has_all_threads = threads.len() < capacity;
        Ok(Index { threads, locks, marks, has_all_threads, has_all_locks, mapped: room.mapped })
    }

    /// Returns whether the calling thread is using the index, and this is a signal handler that has interrupted it.
    pub(super) fn is_used_by_caller() -> bool {
        USER.load(Ordering::Relaxed) == calling_user()
    }

    /// Returns the place of a thread in the arrays.
    pub(super) fn place_of(&self, ident: u64) -> Option<usize> {
        if ident == NO_IDENT { None } else { index_of(self.threads, ident) }
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
