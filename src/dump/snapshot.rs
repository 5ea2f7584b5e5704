//! The threads and locks of the process, read without a lock.
//!
//! Nothing here allocates memory, takes a lock, or blocks: a dump may be made by a signal handler that has interrupted
//! any function of the library. Slots and waiters are never unmapped, so that they can be read at any time. What is
//! read of one object belongs together, but not what is read of several.
//!
//! *The index* consists of sorted arrays of the threads and of the owned locks. It is in static memory and serves one
//! dump at a time. A dump that finds it in use, for example in a handler that has interrupted another dump, works
//! without it, and scans all slots for each thread. So does each dump for the threads and locks for which the index has
//! no room.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use crate::handle::Handle;
use crate::lock::lock::Lock;
use crate::lock::lockable::Lockable;
use crate::lock::rlock::RLock;
use crate::sync::wait_note::Wait;
use crate::sync::waiter;
use crate::sync::waiter::Waiter;
use crate::sys::annotate::{happens_after, happens_before};
use crate::sys::{calling_thread, tls};
use crate::thread::ident::{FIRST_OWNER_TAG, OWNER_SHIFT};
use crate::thread::object::{DONE, MAIN, NOT_STARTED, TERMINATED, TIMER, Thread};
use crate::thread::registry;

/// The identifier of an entry without one. No lock has this owner.
const NO_IDENT: u64 = u64::MAX;

/// A thread that is alive, or a wait of one that has no `Thread` object.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) ident: u64,
    pub(super) thread: Option<&'static Thread>,
    pub(super) waiter: Option<&'static Waiter>,
}

impl Entry {
    /// Returns what the thread waits for; `None` if the record serves another thread by now, or the thread runs the
    /// function of another timer.
    pub(super) fn wait(self) -> Option<Wait> {
        let waiter = self.waiter?;
        waiter.read_wait().filter(|wait| ident_of(waiter, wait) == self.ident)
    }

    fn is_of(&self, waiter: &Waiter) -> bool {
        self.waiter.is_some_and(|other| core::ptr::eq(other, waiter))
    }

    /// Returns the thread's object, unless the thread has ended and the slot contains another one by now.
    pub(super) fn live_thread(self) -> Option<&'static Thread> {
        self.thread.filter(|thread| thread.ident() == self.ident)
    }
}

/// A lock that a thread owns.
#[derive(Clone, Copy)]
pub(super) struct OwnedLock {
    pub(super) owner: u64,
    is_reentrant: bool,
    pub(super) bits: usize,
    pub(super) waiters: u32,
}

const MAX_THREADS: usize = 8192;
const MAX_LOCKS: usize = 8192;

struct Arrays {
    threads: [Entry; MAX_THREADS],
    locks: [OwnedLock; MAX_LOCKS],
}

struct Shared(UnsafeCell<Arrays>);

// SAFETY: only the thread that is `USER` accesses the arrays.
unsafe impl Sync for Shared {}

/// The index. It is not in the section of untracked statics, which would store its zeros in the file. So race detectors
/// check it as they check the program's memory.
static SHARED: Shared = Shared(UnsafeCell::new(Arrays {
    threads: [Entry { ident: 0, thread: None, waiter: None }; MAX_THREADS],
    locks: [OwnedLock { owner: 0, is_reentrant: false, bits: 0, waiters: 0 }; MAX_LOCKS],
}));

/// The address of the per-thread block of the thread that uses the index, 0 if no thread does.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static USER: AtomicUsize = AtomicUsize::new(0);

/// The process ID, which each snapshot stores: it is needed for each waiter, and costs a system call.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static PID: AtomicU32 = AtomicU32::new(0);

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
    /// Whether all locks are in the array.
    has_all_locks: bool,
    has_index: bool,
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if self.has_index {
            happens_before(&SHARED);
            USER.store(0, Ordering::Release);
        }
    }
}

impl Snapshot {
    pub(super) fn take() -> Snapshot {
        // SAFETY: no preconditions.
        PID.store(unsafe { libc::getpid() } as u32, Ordering::Relaxed);
        if USER.compare_exchange(0, calling_user(), Ordering::Acquire, Ordering::Relaxed).is_err() {
            return Snapshot { threads: &[], locks: &[], has_all_locks: false, has_index: false };
        }
        happens_after(&SHARED);
        // SAFETY: the arrays had no user before.
        let arrays = unsafe { &mut *SHARED.0.get() };
        let threads = index_threads(&mut arrays.threads);
        let (locks, has_all_locks) = index_locks(&mut arrays.locks);
        Snapshot { threads, locks, has_all_locks, has_index: true }
    }

    /// Calls `f` for each thread: main first, and then in the order of the starts. Those for which the index has no
    /// room follow, in the same order.
    pub(super) fn for_each(&self, f: &mut dyn FnMut(Entry)) {
        let order = |ident: u64| (ident != registry::main_ident(), ident);
        let is_main = |entry: &Entry| !order(entry.ident).0;
        self.threads.iter().filter(|entry| is_main(entry)).for_each(|entry| f(*entry));
        self.threads.iter().filter(|entry| !is_main(entry)).for_each(|entry| f(*entry));
        if let Some(main) = main_without_object().filter(|main| self.indexed(main.ident).is_none()) {
            f(Entry { waiter: find_waiter(main.ident), ..main });
        }
        let mut last = None;
        let is_next = |ident, last| self.indexed(ident).is_none() && last < Some(order(ident));
        while let Some(thread) = live_threads()
            .filter(|thread| is_next(thread.ident(), last))
            .min_by_key(|thread| order(thread.ident()))
        {
            let ident = thread.ident();
            last = Some(order(ident));
            f(Entry { ident, thread: Some(thread), waiter: find_waiter(ident) });
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
                f(Entry { ident, thread: None, waiter: Some(waiter) });
            }
        }
    }

    fn indexed(&self, ident: u64) -> Option<Entry> {
        if ident == NO_IDENT {
            return None;
        }
        Some(self.threads[index_of(self.threads, ident)?])
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
        is_known.then_some(Entry { ident, thread, waiter })
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

/// Returns the identifier of the calling thread. Main has one even if it has not been assigned to it yet; other threads
/// without one have `NO_IDENT`.
pub(super) fn my_ident() -> u64 {
    match tls::owner_tag() {
        0 if calling_thread::is_initial_thread() => registry::main_ident(),
        0 => NO_IDENT,
        tag => tag >> OWNER_SHIFT,
    }
}

/// Returns the identifier of the thread that waits. Main has one even if it has not been assigned to it yet.
fn ident_of(waiter: &Waiter, wait: &Wait) -> u64 {
    if wait.owner_tag != 0 {
        return wait.owner_tag >> OWNER_SHIFT;
    }
    let is_initial_thread = waiter.native_id() == PID.load(Ordering::Relaxed);
    if is_initial_thread { registry::main_ident() } else { NO_IDENT }
}

/// Returns the main thread's object, whether main is alive or in the process exit. In a child of fork, the main thread
/// of the parent may have an object, too.
pub(super) fn main_thread() -> Option<&'static Thread> {
    Handle::<Thread>::unlocked_objects().map(|(thread, _)| thread).find(|thread| is_main(thread))
}

fn is_main(thread: &Thread) -> bool {
    thread.has_flag(MAIN) && thread.ident() == registry::main_ident()
}

/// Returns the entry of the main thread if it has no object, which is created when the program first needs it.
fn main_without_object() -> Option<Entry> {
    let main = Entry { ident: registry::main_ident(), thread: None, waiter: None };
    main_thread().is_none().then_some(main)
}

/// Calls `f` for each live thread: with its identifier, and its object if it has one.
pub(super) fn for_each_live_thread(mut f: impl FnMut(u64, Option<&'static Thread>)) {
    if let Some(main) = main_without_object() {
        f(main.ident, None);
    }
    live_threads().for_each(|thread| f(thread.ident(), Some(thread)));
}

/// The live threads: those that have been started and have not ended. Of timers, those whose function runs. Main is always
/// one of them: for its joiners, it has ended when a process exit or a shutdown begins to wait, but it runs on.
fn live_threads() -> impl Iterator<Item = &'static Thread> {
    let threads = Handle::<Thread>::unlocked_objects().map(|(thread, _)| thread);
    threads.filter(|thread| {
        is_main(thread)
            || !matches!(thread.state(), NOT_STARTED | TERMINATED | DONE)
                && thread.ident() != 0
                && (!thread.has_flag(TIMER) || thread.native_id() != 0)
    })
}

pub(super) fn find_thread(ident: u64) -> Option<&'static Thread> {
    live_threads().find(|thread| thread.ident() == ident)
}

fn waits() -> impl Iterator<Item = (&'static Waiter, Wait)> {
    waiter::all().filter_map(|waiter| Some((waiter, waiter.read_wait()?)))
}

pub(super) fn find_waiter(ident: u64) -> Option<&'static Waiter> {
    waits().find(|(waiter, wait)| ident_of(waiter, wait) == ident).map(|(waiter, _)| waiter)
}

fn owned_locks() -> impl Iterator<Item = OwnedLock> {
    fn of<T: Lockable>() -> impl Iterator<Item = OwnedLock> {
        Handle::<T>::unlocked_objects().filter_map(|(lock, tag)| {
            let owner = lock.raw().word().owner(tag).ok().filter(|&owner| owner >= FIRST_OWNER_TAG)?;
            let is_reentrant = !T::ANY_THREAD_MAY_RELEASE;
            Some(OwnedLock {
                owner: owner >> OWNER_SHIFT,
                is_reentrant,
                bits: Handle::of(lock).bits(),
                waiters: 0,
            })
        })
    }
    of::<Lock>().chain(of::<RLock>())
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
fn index_threads(entries: &'static mut [Entry; MAX_THREADS]) -> &'static [Entry] {
    let mut count = 0;
    let mut add = |entries: &mut [Entry; MAX_THREADS], entry: Entry| {
        if let Some(place) = entries.get_mut(count) {
            *place = entry;
            count += 1;
        }
        count
    };
    let mut threads = 0;
    for thread in live_threads() {
        threads = add(entries, Entry { ident: thread.ident(), thread: Some(thread), waiter: None });
    }
    if let Some(main) = main_without_object() {
        threads = add(entries, main);
    }
    sort(&mut entries[..threads], |entry| entry.ident);
    let (mut identified, mut has_others) = (threads, false);
    for (waiter, wait) in waits() {
        let ident = ident_of(waiter, &wait);
        if let Some(at) = index_of(&entries[..threads], ident) {
            entries[at].waiter = Some(waiter);
        } else if ident != NO_IDENT {
            identified = add(entries, Entry { ident, thread: None, waiter: Some(waiter) });
        } else {
            has_others = true;
        }
    }
    sort(&mut entries[..identified], |entry| entry.ident);
    let mut all = identified;
    for (waiter, wait) in waits() {
        if has_others && ident_of(waiter, &wait) == NO_IDENT {
            all = add(entries, Entry { ident: NO_IDENT, thread: None, waiter: Some(waiter) });
        }
    }
    &entries[..all]
}

/// Fills the array with the owned locks, sorted by owner. Returns an empty array and false if there is no room for all.
fn index_locks(locks: &'static mut [OwnedLock; MAX_LOCKS]) -> (&'static [OwnedLock], bool) {
    let mut count = 0;
    for lock in owned_locks() {
        if count == MAX_LOCKS {
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
}
