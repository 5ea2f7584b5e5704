//! The threads and locks of the process, read without a lock.
//!
//! Nothing here allocates memory, takes a lock, or blocks: a dump may be made by a signal handler that has interrupted
//! any function of the library. Slots and waiters are never unmapped, so that they can be read at any time; what is
//! read is consistent for one object, not for several.
//!
//! *The index.* With an index, each thread and each owned lock is found in a sorted array. The index is in static
//! memory and serves one dump at a time. A dump that finds it in use, for example in a handler that has interrupted
//! another dump, works without it and scans all slots for each thread. So do the threads and locks for which the
//! index has no room.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::handle::Handle;
use crate::lock::lock::Lock;
use crate::lock::lockable::Lockable;
use crate::lock::rlock::RLock;
use crate::sync::wait_note::Wait;
use crate::sync::waiter;
use crate::sync::waiter::Waiter;
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
    /// Returns what the thread waits for. The record may serve another thread by now, or another timer whose function
    /// the thread runs.
    pub(super) fn wait(self) -> Option<Wait> {
        let waiter = self.waiter?;
        waiter.read_wait().filter(|wait| ident_of(waiter, wait) == self.ident)
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

struct Shared {
    /// The address of the per-thread block of the thread that uses the arrays, 0 if no thread does.
    user: AtomicUsize,
    arrays: UnsafeCell<Arrays>,
}

// SAFETY: the arrays are accessed by the thread that is the user only.
unsafe impl Sync for Shared {}

static SHARED: Shared = Shared {
    user: AtomicUsize::new(0),
    arrays: UnsafeCell::new(Arrays {
        threads: [Entry { ident: 0, thread: None, waiter: None }; MAX_THREADS],
        locks: [OwnedLock { owner: 0, is_reentrant: false, bits: 0, waiters: 0 }; MAX_LOCKS],
    }),
};

fn calling_user() -> usize {
    tls::with(|block| core::ptr::from_ref(block) as usize)
}

/// In a child of fork: another thread of the parent may have been making a dump. If the thread that forked has, in a
/// signal handler, it still uses the arrays.
pub(crate) fn after_fork_in_child() {
    if SHARED.user.load(Ordering::Relaxed) != calling_user() {
        SHARED.user.store(0, Ordering::Relaxed);
    }
}

/// The threads and the owned locks, in arrays that may be empty.
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
            SHARED.user.store(0, Ordering::Release);
        }
    }
}

impl Snapshot {
    pub(super) fn take() -> Snapshot {
        if SHARED.user.compare_exchange(0, calling_user(), Ordering::Acquire, Ordering::Relaxed).is_err() {
            return Snapshot { threads: &[], locks: &[], has_all_locks: false, has_index: false };
        }
        // SAFETY: the arrays had no user before.
        let arrays = unsafe { &mut *SHARED.arrays.get() };
        let threads = index_threads(&mut arrays.threads);
        let (locks, has_all_locks) = index_locks(&mut arrays.locks);
        Snapshot { threads, locks, has_all_locks, has_index: true }
    }

    /// Calls `f` for each thread: main first, and then, as far as the index goes, in the order of the starts.
    pub(super) fn for_each(&self, mut f: impl FnMut(Entry)) {
        let main = registry::main_ident();
        let is_main = |entry: &Entry| entry.ident == main;
        self.threads.iter().filter(|entry| is_main(entry)).for_each(|entry| f(*entry));
        self.threads.iter().filter(|entry| !is_main(entry)).for_each(|entry| f(*entry));
        if let Some(main) = main_without_object().filter(|main| self.indexed(main.ident).is_none()) {
            f(Entry { waiter: find_waiter(main.ident), ..main });
        }
        for thread in live_threads().filter(|thread| self.indexed(thread.ident()).is_none()) {
            f(Entry { ident: thread.ident(), thread: Some(thread), waiter: find_waiter(thread.ident()) });
        }
        for (waiter, wait) in waits() {
            let ident = ident_of(waiter, &wait);
            if self.indexed(ident).is_none()
                && find_thread(ident).is_none()
                && !self.has_entry_of(waiter)
                && main_without_object().is_none_or(|main| main.ident != ident)
            {
                f(Entry { ident, thread: None, waiter: Some(waiter) });
            }
        }
    }

    fn has_entry_of(&self, waiter: &Waiter) -> bool {
        self.threads.iter().any(|entry| entry.waiter.is_some_and(|other| core::ptr::eq(other, waiter)))
    }

    fn indexed(&self, ident: u64) -> Option<Entry> {
        let at = self.threads.binary_search_by_key(&ident, |entry| entry.ident).ok()?;
        (ident != NO_IDENT).then(|| self.threads[at])
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
    pub(super) fn for_each_lock_of(&self, owner: u64, mut f: impl FnMut(OwnedLock)) {
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
    // SAFETY: no preconditions.
    let is_initial_thread = waiter.native_id() == unsafe { libc::getpid() } as u32;
    if is_initial_thread { registry::main_ident() } else { NO_IDENT }
}

/// Returns the main thread's object, whether main is alive or in the process exit.
pub(super) fn main_thread() -> Option<&'static Thread> {
    Handle::<Thread>::unlocked_objects().map(|(thread, _)| thread).find(|thread| thread.has_flag(MAIN))
}

/// Returns the entry of the main thread if main has no object: it gets one when the program first asks for it.
fn main_without_object() -> Option<Entry> {
    let main = Entry { ident: registry::main_ident(), thread: None, waiter: None };
    main_thread().is_none().then_some(main)
}

/// Calls `f` for each thread with an OS thread that runs: with its identifier, and its object if it has one.
pub(super) fn for_each_live_thread(mut f: impl FnMut(u64, Option<&'static Thread>)) {
    if let Some(main) = main_without_object() {
        f(main.ident, None);
    }
    live_threads().for_each(|thread| f(thread.ident(), Some(thread)));
}

/// The threads with an OS thread that runs.
fn live_threads() -> impl Iterator<Item = &'static Thread> {
    let threads = Handle::<Thread>::unlocked_objects().map(|(thread, _)| thread);
    threads.filter(|thread| {
        !matches!(thread.state(), NOT_STARTED | TERMINATED | DONE)
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
            let owner = lock.raw().owner(tag).ok().filter(|&owner| owner >= FIRST_OWNER_TAG)?;
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

fn index_threads(entries: &'static mut [Entry; MAX_THREADS]) -> &'static [Entry] {
    let mut count = 0;
    for thread in live_threads().take(MAX_THREADS) {
        entries[count] = Entry { ident: thread.ident(), thread: Some(thread), waiter: None };
        count += 1;
    }
    if let Some(main) = main_without_object().filter(|_| count < MAX_THREADS) {
        entries[count] = main;
        count += 1;
    }
    let threads = count;
    entries[..threads].sort_unstable_by_key(|entry| entry.ident);
    for (waiter, wait) in waits() {
        let ident = ident_of(waiter, &wait);
        match entries[..threads].binary_search_by_key(&ident, |entry| entry.ident) {
            Ok(at) => entries[at].waiter = Some(waiter),
            Err(_) if count < MAX_THREADS => {
                entries[count] = Entry { ident, thread: None, waiter: Some(waiter) };
                count += 1;
            }
            Err(_) => {}
        }
    }
    entries[..count].sort_unstable_by_key(|entry| entry.ident);
    &entries[..count]
}

/// Also returns whether all owned locks are in the array.
fn index_locks(locks: &'static mut [OwnedLock; MAX_LOCKS]) -> (&'static [OwnedLock], bool) {
    let mut count = 0;
    for lock in owned_locks() {
        if count == MAX_LOCKS {
            return (&[], false);
        }
        locks[count] = lock;
        count += 1;
    }
    locks[..count].sort_unstable_by_key(|lock| lock.bits);
    for (_, wait) in waits() {
        if let Ok(at) = locks[..count].binary_search_by_key(&wait.object, |lock| lock.bits) {
            locks[at].waiters += 1;
        }
    }
    locks[..count].sort_unstable_by_key(|lock| (lock.owner, lock.is_reentrant, lock.bits));
    (&locks[..count], true)
}
