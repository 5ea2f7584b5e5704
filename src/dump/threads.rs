//! The live threads, their waits, and the owned locks, read without a lock.
//!
//! Nothing here allocates memory, takes a lock, or blocks: a dump may be made by a signal handler that has interrupted
//! any function of the library. Slots and waiters are never unmapped, so that they can be read at any time. What is
//! read of one object belongs together, but not what is read of several.

use core::sync::atomic::{AtomicU32, Ordering};

use crate::handle::Handle;
use crate::lock::lock::Lock;
use crate::lock::lockable::Lockable;
use crate::lock::rlock::RLock;
use crate::sync::wait_note::{WAITING, Wait};
use crate::sync::waiter::Waiter;
use crate::sync::waiter_pool;
use crate::sys::{calling_thread, tls};
use crate::thread::ident::{FIRST_OWNER_TAG, OWNER_SHIFT};
use crate::thread::object::{DONE, MAIN, NOT_STARTED, TERMINATED, TIMER, Thread};
use crate::thread::registry;

/// The process ID, which each snapshot stores: it is needed for each waiter, and costs a system call.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static PID: AtomicU32 = AtomicU32::new(0);

pub(super) fn store_process_id() {
    // SAFETY: no preconditions.
    PID.store(unsafe { libc::getpid() } as u32, Ordering::Relaxed);
}

/// The identifier of an entry without one. No lock has this owner.
pub(super) const NO_IDENT: u64 = u64::MAX;

/// A thread that is alive, or a wait of one that has no `Thread` object.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) ident: u64,
    pub(super) thread: Option<&'static Thread>,
    pub(super) waiter: Option<&'static Waiter>,
    /// `Wait::id` of the wait that was found when the snapshot was taken, or one of the constants below.
    pub(super) wait_id: u64,
}

/// The snapshot has no index, or the index has no room for the thread. No wait has this identity.
pub(super) const NOT_RECORDED: u64 = 0;
/// There was no wait when the snapshot was taken. No wait has this identity.
pub(super) const LATER: u64 = !WAITING;

impl Entry {
    /// All bits are zero, so that an array of these takes no room in the file.
    pub(super) const EMPTY: Entry = Entry { ident: 0, thread: None, waiter: None, wait_id: 0 };

    /// An entry of which only the name is used.
    pub(super) fn of_thread(ident: u64, thread: Option<&'static Thread>) -> Entry {
        Entry { ident, thread, waiter: None, wait_id: LATER }
    }

    /// Returns the wait that lasts since the snapshot was taken. Deadlocks consist of such waits, so that a dump finds
    /// the same ones whenever it looks.
    pub(super) fn recorded_wait(self) -> Option<Wait> {
        self.wait().filter(|wait| wait.id == self.wait_id || self.wait_id == NOT_RECORDED)
    }

    /// Returns what the thread waits for; `None` if the record serves another thread by now, or the thread runs the
    /// function of another timer.
    pub(super) fn wait(self) -> Option<Wait> {
        let waiter = self.waiter?;
        waiter.read_wait().filter(|wait| ident_of(waiter, wait) == self.ident)
    }

    /// Returns the wait of a thread that did not wait when the snapshot was taken.
    pub(super) fn later_wait(self) -> Option<Wait> {
        Entry { waiter: find_waiter(self.ident), ..self }.wait()
    }

    pub(super) fn is_of(&self, waiter: &Waiter) -> bool {
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
    pub(super) is_reentrant: bool,
    pub(super) bits: usize,
    pub(super) waiters: u32,
}

impl OwnedLock {
    pub(super) const EMPTY: OwnedLock = OwnedLock { owner: 0, is_reentrant: false, bits: 0, waiters: 0 };
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
pub(super) fn ident_of(waiter: &Waiter, wait: &Wait) -> u64 {
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
pub(super) fn main_without_object() -> Option<Entry> {
    let main = Entry::of_thread(registry::main_ident(), None);
    main_thread().is_none().then_some(main)
}

/// Calls `f` for each live thread: with its identifier, and its object if it has one.
pub(super) fn for_each_live_thread(mut f: impl FnMut(u64, Option<&'static Thread>)) {
    if let Some(main) = main_without_object() {
        f(main.ident, None);
    }
    live_threads().for_each(|thread| f(thread.ident(), Some(thread)));
}

/// The live threads: those that have been started and have not ended. Of timers, those whose function runs. Main is
/// always one of them: for its joiners, it has ended when a process exit or a shutdown begins to wait, but it runs on.
pub(super) fn live_threads() -> impl Iterator<Item = &'static Thread> {
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

pub(super) fn waits() -> impl Iterator<Item = (&'static Waiter, Wait)> {
    waiter_pool::all().filter_map(|waiter| Some((waiter, waiter.read_wait()?)))
}

pub(super) fn find_waiter(ident: u64) -> Option<&'static Waiter> {
    waits().find(|(waiter, wait)| ident_of(waiter, wait) == ident).map(|(waiter, _)| waiter)
}

pub(super) fn owned_locks() -> impl Iterator<Item = OwnedLock> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::time::Timeout;

    /// A dump without an index has not recorded which wait it has found.
    #[test]
    fn a_record_that_serves_another_thread_has_no_wait_of_this_one() {
        let stop = Event::new().unwrap();
        let may_stop = *stop;
        let thread = Thread::new(move || assert_eq!(may_stop.wait(Timeout::FOREVER), Ok(true))).unwrap();
        thread.start().unwrap();
        let ident = thread.ident().unwrap();
        let waiter = loop {
            if let Some(waiter) = find_waiter(ident) {
                break Some(waiter);
            }
            std::thread::yield_now();
        };
        let wait_of = |ident| Entry { ident, thread: None, waiter, wait_id: NOT_RECORDED }.recorded_wait();
        let has_wait = [ident, ident + 1].map(|ident| wait_of(ident).is_some());
        stop.set().unwrap();
        assert_eq!(thread.join(Timeout::FOREVER), Ok(true));
        assert_eq!(has_wait, [true, false]);
    }
}
