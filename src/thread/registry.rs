//! The registry: all threads that have been started and are not done, including main, dummies and timers' threads.
//!
//! Each of these threads is in one of two lists:
//!
//! | list | contains | order |
//! |---|---|---|
//! | `alive` | threads from their start to their last destructor (`ZOMBIE` is clear) | main first, then as started |
//! | `zombies` | threads in or past their last destructor that have not been reaped (`ZOMBIE` is set) | round-robin |
//!
//! `enumerate` returns the first list; exit waits for both. The code that uses the lists is above this file:
//! `thread::reaper` reclaims what zombies had, `thread::shutdown` waits, `thread::dummies` removes dead dummies.
//!
//! *One mutex for what changes together.* The registry mutex also protects the pending timers, the counters that a
//! start uses, and the flags and states of which `thread::object` says so. So the start of a timer, and its end, locks
//! one mutex once, and a fork, which holds this mutex, finds each thread either unstarted or in a list.
//!
//! *Deferred wakes.* A thread that is woken under the mutex blocks on it. So frequent changes return a
//! [`DeferredWake`], which the caller uses after the unlock. Rare ones wake under the mutex.
//!
//! The file exceeds 400 lines because all of it changes under this mutex.

use crate::sys::atomic::{AtomicU32, AtomicU64, Ordering};
use core::ptr;

use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::sync::fork_lock::ForkLock;
use crate::sync::list::List;
use crate::sync::mutex::{ForkReset, InternalMutex, InternalMutexGuard};
use crate::sync::padded::Padded;
use crate::sync::wait_note::PROCESS_EXIT;
use crate::sync::wait_observer;
use crate::sys::annotate::happens_before;
use crate::sys::futex;
use crate::sys::offsets::offsets;
use crate::thread::ident::IdentBlock;
use crate::thread::names::NameCounter;
use crate::thread::object::{
    AWAITING_POLL, DAEMON, DEFAULT_NAME_SEEN, DONE, DUMMY, DUMMY_EXITING, IN_SHUTDOWN, MAIN, NAMED,
    NOT_STARTED, RUNNING, STARTING, TERMINATED, TIMER, Thread, ZOMBIE,
};
use crate::thread::{ident, stack_count};
use crate::timer::queue::TimerQueue;

/// The data that the registry mutex protects.
pub(crate) struct Registry {
    pub(super) alive: List<Thread>,
    pub(super) zombies: List<Thread>,
    pub(super) alive_count: usize,
    /// How many threads in `alive` a shutdown waits for (`is_awaited`).
    pub(super) awaited_count: usize,
    /// The entry of `alive` that the next search for dead dummies checks first.
    pub(super) next_dummy_check: *const Thread,
    /// How many dummies in `alive` are `DUMMY_EXITING`.
    pub(super) exiting_dummies: usize,
    /// The reaper runs, or is being started.
    pub(super) has_reaper: bool,
    pub(super) main: *const Thread,
    /// The shutdown has completed: no thread or timer can be started any more.
    pub(super) shut_down: bool,
    /// How many exits and shutdowns have begun and not returned. They may sleep on `SHUTDOWN_SEQ`.
    shutdown_waiters: u32,
    pub(super) ident_block: IdentBlock,
    name_counter: NameCounter,
    pub(crate) timers: TimerQueue,
}

offsets!(RegistryOffsets of Registry: awaited_count, timers);

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
pub(crate) static REGISTRY: Padded<InternalMutex<Registry>> =
    Padded::new(InternalMutex::new(Registry::new()));

/// A futex: incremented under the mutex for each change that a waiting shutdown must see, if there is a waiter.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
pub(super) static SHUTDOWN_SEQ: AtomicU32 = AtomicU32::new(0);

/// The identifier of the main thread. In a child of fork, that of the thread that forked.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
pub(crate) static MAIN_IDENT: AtomicU64 = AtomicU64::new(ident::INITIAL_THREAD_IDENT);

// SAFETY: the registry has a reference to each thread in its lists, and threads can be shared.
unsafe impl Send for Registry {}

impl ForkReset for Registry {
    const IS_BUSY: bool = true;

    fn reset_in_child(&mut self) {
        // The fork may have interrupted a change of the timers' heap. `fork_child` resets everything else.
        core::mem::forget(core::mem::replace(&mut self.timers, TimerQueue::EMPTY));
    }
}

impl Registry {
    const fn new() -> Self {
        Registry {
            alive: List::new(),
            zombies: List::new(),
            alive_count: 0,
            awaited_count: 0,
            next_dummy_check: ptr::null(),
            exiting_dummies: 0,
            has_reaper: false,
            main: ptr::null(),
            shut_down: false,
            shutdown_waiters: 0,
            ident_block: IdentBlock::EMPTY,
            name_counter: NameCounter::INITIAL,
            timers: TimerQueue::EMPTY,
        }
    }

    /// Returns the main thread's object, which the first call creates.
    #[inline(always)]
    pub(super) fn get_or_create_main(&mut self) -> Result<&'static Thread> {
        if self.main.is_null() {
            self.create_main()?;
        }
        // SAFETY: the registry has a reference to main.
        Ok(unsafe { &*self.main })
    }

    #[cold]
    #[inline(never)]
    fn create_main(&mut self) -> Result<()> {
        let (main, _) = Thread::create_with_internal_ref(MAIN | NAMED, None, ptr::null_mut())?.check()?;
        main.set_ident(MAIN_IDENT.load(Ordering::Relaxed));
        // SAFETY: has no preconditions. The TID of the main thread is the PID.
        main.set_native_id(unsafe { libc::getpid() } as u32);
        main.transition(NOT_STARTED, RUNNING);
        self.main = main;
        self.alive.push_front(main);
        self.alive_count += 1;
        Ok(())
    }

    /// Fails if the thread has been started before, or if the shutdown has completed. Creates the main thread's object.
    #[inline(always)]
    pub(crate) fn check_startable(&mut self, thread: &Thread) -> Result<()> {
        self.get_or_create_main()?;
        if thread.state() != NOT_STARTED {
            return Err(Error::AlreadyStarted);
        }
        if self.shut_down { Err(Error::Shutdown) } else { Ok(()) }
    }

    /// Adds a thread that starts. Assigns its identifier, and the number of its default name if it needs one.
    #[inline(always)]
    pub(crate) fn insert(&mut self, thread: &'static Thread) {
        thread.set_ident(self.ident_block.allocate());
        if !thread.has_flag(NAMED) {
            self.name_counter.assign(&thread.name_number);
        }
        self.alive.push_back(thread);
        self.alive_count += 1;
        self.awaited_count += usize::from(is_awaited(thread));
    }

    /// Removes a thread from `alive`.
    #[inline(always)]
    pub(super) fn remove_alive(&mut self, thread: &'static Thread) {
        if ptr::eq(self.next_dummy_check, thread) {
            self.next_dummy_check = thread.links.next.get();
        }
        self.alive.remove(thread);
        thread.links.clear();
        self.alive_count -= 1;
        if thread.has_flag(DUMMY) && thread.has_flag(DUMMY_EXITING) {
            self.exiting_dummies -= 1;
        }
        self.awaited_count -= usize::from(is_awaited(thread));
    }

    /// Changes `IN_SHUTDOWN` and updates `awaited_count`. Returns true if the flag was set before.
    fn set_in_shutdown(&mut self, thread: &'static Thread, in_shutdown: bool) -> bool {
        // In a child of fork, threads of the parent still have links, but are in no list: their state is `DONE`.
        let is_in_alive = thread.links.is_linked() && !thread.has_flag(ZOMBIE) && thread.state() != DONE;
        self.awaited_count -= usize::from(is_in_alive && is_awaited(thread));
        let before = if in_shutdown { thread.set_flag(IN_SHUTDOWN) } else { thread.clear_flag(IN_SHUTDOWN) };
        self.awaited_count += usize::from(is_in_alive && is_awaited(thread));
        before
    }

    /// Changes a timer's thread to `DONE` and removes it.
    #[inline(always)]
    pub(crate) fn finish_timer(&mut self, thread: &'static Thread) -> DeferredWake {
        if !thread.links.is_linked() {
            // `finish_timer_at_exit` has removed it, and then an exit handler ended the OS thread by pthread_exit.
            return DeferredWake { thread: None, shutdown: false };
        }
        wait_observer::record_wake(thread.handle().bits());
        wait_observer::record_wake(PROCESS_EXIT);
        let has_waiters = thread.set_state_locked(DONE);
        self.remove_alive(thread);
        DeferredWake { thread: has_waiters.then_some(thread), shutdown: self.bump_shutdown_seq() }
    }

    /// Called for each change that a waiting shutdown must see. Returns true if the caller must wake the shutdowns
    /// after it has unlocked the mutex.
    #[inline(always)]
    fn bump_shutdown_seq(&self) -> bool {
        happens_before(&SHUTDOWN_SEQ);
        let has_waiters = self.shutdown_waiters != 0;
        if has_waiters {
            SHUTDOWN_SEQ.fetch_add(1, Ordering::Relaxed);
        }
        has_waiters
    }

    /// Checks the zombie that has not been checked for the longest time. Removes it from the list if the kernel has
    /// reported its end. Returns `None` if there are no zombies.
    fn check_next_zombie(&mut self) -> Option<Zombie> {
        let thread = self.zombies.rotate()?;
        match thread.state() {
            TERMINATED if thread.claim_if_terminated() => {
                self.remove_zombie(thread);
                Some(Zombie::Terminated(thread))
            }
            // The caller needs a reference, because it uses the thread without the mutex. A thread whose reference
            // count is at its maximum is left to a joiner.
            AWAITING_POLL => Some(
                thread.handle().internal_ref().map_or(Zombie::StillExiting, |_| Zombie::AwaitingPoll(thread)),
            ),
            _ => Some(Zombie::StillExiting),
        }
    }

    /// Removes a thread from `zombies`.
    fn remove_zombie(&mut self, thread: &'static Thread) {
        self.zombies.remove(thread);
        thread.links.clear();
        stack_count::remove_zombie(thread.zombie_stack_size());
    }
}

/// How many zombies a start, or an exiting thread, checks.
pub(super) const ZOMBIES_PER_CALL: usize = 2;

/// The result of `check_next_zombie`.
pub(super) enum Zombie {
    /// It was removed and is `DONE`: the caller must release what it had.
    Terminated(&'static Thread),
    /// The caller must call `try_reap`, and drop the internal reference that it received.
    AwaitingPoll(&'static Thread),
    StillExiting,
}

/// Returns whether a shutdown waits for this thread while it is alive.
pub(crate) fn is_awaited(thread: &Thread) -> bool {
    !thread.has_flag(DAEMON | MAIN | IN_SHUTDOWN)
}

/// The threads to wake after a change, when the registry mutex is unlocked.
#[must_use]
pub(crate) struct DeferredWake {
    thread: Option<&'static Thread>,
    shutdown: bool,
}

impl DeferredWake {
    /// The caller has a reference to the thread.
    #[inline(always)]
    pub(crate) fn wake(self) {
        if let Some(thread) = self.thread {
            thread.wake_state_waiters();
        }
        if self.shutdown {
            futex::wake_all(&SHUTDOWN_SEQ);
        }
    }
}

/// Unlocks the registry mutex after a change that waiting shutdowns must see, and wakes them.
fn unlock_and_wake_shutdowns(registry: InternalMutexGuard<'static, Registry>) {
    let shutdown = registry.bump_shutdown_seq();
    drop(registry);
    DeferredWake { thread: None, shutdown }.wake();
}

/// Wakes the threads that wait for the end of a timer, and those in a shutdown, so that they call
/// `worker::retry_follower_if_unmonitored` again.
pub(crate) fn wake_timer_waiters() {
    let registry = REGISTRY.lock();
    let timers_with_waiters =
        registry.alive.iter().filter(|thread| thread.has_flag(TIMER) && thread.has_state_waiters());
    timers_with_waiters.for_each(|timer| {
        timer.wake_state_waiters();
    });
    unlock_and_wake_shutdowns(registry);
}

/// Locks the registry, for a caller that makes several changes.
#[inline(always)]
pub(crate) fn lock() -> InternalMutexGuard<'static, Registry> {
    REGISTRY.lock()
}

/// Runs `change` under the registry mutex. For data that the mutex protects, but that is not in the registry.
pub(crate) fn with_lock<R>(change: impl FnOnce() -> R) -> R {
    let _lock = REGISTRY.lock();
    change()
}

/// Assigns the number of the thread's default name if it has none, and marks it as seen, so that a failed start does
/// not take it back.
pub(crate) fn assign_name_number(thread: &Thread) {
    let mut registry = REGISTRY.lock();
    thread.set_flag(DEFAULT_NAME_SEEN);
    registry.name_counter.assign(&thread.name_number);
}

/// Changes a thread to `STARTING` and adds it, in one step, so that a fork finds it either unstarted or in the list.
/// If there are more than `tolerated` zombies, checks some of them under the same lock, as `check_next_zombie` does.
/// The caller reaps those that are returned.
pub(super) fn add(thread: &'static Thread, tolerated: usize) -> Result<[Option<Zombie>; ZOMBIES_PER_CALL]> {
    let mut registry = REGISTRY.lock();
    registry.check_startable(thread)?;
    thread.transition(NOT_STARTED, STARTING);
    registry.insert(thread);
    Ok(core::array::from_fn(|_| {
        if stack_count::zombies() <= tolerated { None } else { registry.check_next_zombie() }
    }))
}

/// Calls `set` if the thread has not been started. A concurrent start comes either before or after this call.
pub(crate) fn configure_unstarted<R>(
    thread: &'static Thread,
    set: impl FnOnce(&'static Thread) -> R,
) -> Result<()> {
    let _lock = REGISTRY.lock();
    if thread.state() != NOT_STARTED {
        return Err(Error::AlreadyStarted);
    }
    set(thread);
    Ok(())
}

/// Undoes `add` after a failed start.
pub(crate) fn rollback_start(thread: &'static Thread) {
    let mut registry = REGISTRY.lock();
    registry.remove_alive(thread);
    registry.name_counter.unassign(&thread.name_number, thread.has_flag(DEFAULT_NAME_SEEN));
    thread.set_ident(0);
    thread.reset_to_not_started();
    unlock_and_wake_shutdowns(registry);
}

/// Removes a thread from its list, unless it is in none.
pub(crate) fn remove(thread: &'static Thread) {
    let mut registry = REGISTRY.lock();
    if !thread.links.is_linked() {
        return;
    }
    if thread.has_flag(ZOMBIE) {
        registry.remove_zombie(thread);
    } else {
        registry.remove_alive(thread);
    }
    unlock_and_wake_shutdowns(registry);
}

/// Moves a thread in its last destructor to `zombies`. `stack_size` is 0 if it is not counted.
pub(super) fn move_to_zombies(thread: &'static Thread, stack_size: usize) {
    let mut registry = REGISTRY.lock();
    wait_observer::record_wake(PROCESS_EXIT);
    registry.remove_alive(thread);
    registry.zombies.push_back(thread);
    thread.set_flag(ZOMBIE);
    stack_count::add_zombie(stack_size);
    unlock_and_wake_shutdowns(registry);
}

/// As `Registry::check_next_zombie`.
pub(super) fn check_next_zombie() -> Option<Zombie> {
    REGISTRY.lock().check_next_zombie()
}

/// Returns true if the reaper does not run, and the caller must start it.
pub(super) fn claim_reaper() -> bool {
    !core::mem::replace(&mut REGISTRY.lock().has_reaper, true)
}

/// Reverts `claim_reaper`: the reaper could not be started.
pub(super) fn release_reaper() {
    REGISTRY.lock().has_reaper = false;
}

/// Called by the reaper, which must exit if this returns false.
pub(super) fn continue_reaper() -> bool {
    let mut registry = REGISTRY.lock();
    registry.has_reaper = stack_count::zombies_exceed_limit();
    registry.has_reaper
}

pub(crate) fn main_thread() -> Result<Handle<Thread>> {
    Ok(REGISTRY.lock().get_or_create_main()?.handle())
}

/// Returns the identifier of the main thread, which it has also before it is assigned to it.
pub(crate) fn main_ident() -> u64 {
    MAIN_IDENT.load(Ordering::Relaxed)
}

/// Returns whether this is the identifier of the main thread.
pub(crate) fn is_main(ident: u64) -> bool {
    MAIN_IDENT.load(Ordering::Acquire) == ident
}

/// Returns the main thread's object, if it has been created.
pub(super) fn existing_main() -> Option<&'static Thread> {
    let main = REGISTRY.lock().main;
    // SAFETY: the registry has a reference to main.
    unsafe { main.as_ref() }
}

/// Changes the main thread to `DONE`, since the process exits or is shut down.
pub(crate) fn set_main_done() {
    if let Some(main) = existing_main() {
        wait_observer::record_wake(main.handle().bits());
        main.set_done();
    }
}

/// Changes a timer's thread to `DONE` at exit: the thread that would finish it is in `exit`, and does not return.
/// Returns false if the timer does not run.
pub(crate) fn finish_timer_at_exit(thread: &'static Thread) -> bool {
    let mut registry = REGISTRY.lock();
    let runs = thread.state() == RUNNING;
    if runs {
        let deferred = registry.finish_timer(thread);
        drop(registry);
        deferred.wake();
    }
    runs
}

/// Returns whether a shutdown has completed.
pub(crate) fn is_shut_down() -> bool {
    REGISTRY.lock().shut_down
}

/// Sets or clears `IN_SHUTDOWN`: while it is set, exits and shutdowns do not wait for the thread.
pub(crate) fn set_in_shutdown(thread: &'static Thread, in_shutdown: bool) {
    REGISTRY.lock().set_in_shutdown(thread, in_shutdown);
}

/// Exits and shutdowns, also those that wait already, no longer wait for this thread. Returns false if they did not.
pub(super) fn exclude_from_shutdowns(thread: &'static Thread) -> bool {
    let mut registry = REGISTRY.lock();
    let was_excluded = registry.set_in_shutdown(thread, true);
    unlock_and_wake_shutdowns(registry);
    !was_excluded
}

/// The calling thread begins an exit or a shutdown. If it has an object, `current`, other exits and shutdowns no longer
/// wait for it. Returns true if the thread was in one already.
pub(super) fn begin_shutdown(current: Option<&'static Thread>) -> bool {
    let mut registry = REGISTRY.lock();
    let was_in_shutdown = current.is_some_and(|current| registry.set_in_shutdown(current, true));
    registry.shutdown_waiters += 1;
    unlock_and_wake_shutdowns(registry);
    was_in_shutdown
}

/// The exit or shutdown returns. Others wait for the thread again, unless `current` is `None`.
pub(super) fn end_shutdown(current: Option<&'static Thread>) {
    let mut registry = REGISTRY.lock();
    // In a child of fork the count may include threads of the parent: see `fork_child`.
    registry.shutdown_waiters = registry.shutdown_waiters.saturating_sub(1);
    if let Some(current) = current {
        registry.set_in_shutdown(current, false);
    }
}

/// Returns how many threads and pending timers a shutdown waits for, for reports; `None` if the registry mutex is
/// locked.
pub(crate) fn try_awaited_count() -> Option<usize> {
    Some(REGISTRY.try_lock()?.awaited_count)
}

/// Wakes the waiting exits and shutdowns, although nothing has changed. Returns whether any was parked.
pub(crate) fn wake_shutdowns() -> bool {
    futex::wake_all(&SHUTDOWN_SEQ)
}

/// Calls `f`, under the registry mutex, for each thread in the lists that has an OS thread of its own.
pub(super) fn for_each_os_thread(f: impl FnMut(&'static Thread)) {
    let registry = REGISTRY.lock();
    let all = registry.alive.iter().chain(registry.zombies.iter());
    all.filter(|thread| thread.has_os_thread()).for_each(f);
}

/// Resets the registry before each execution of a model.
#[cfg(model)]
pub(crate) fn reset() {
    *REGISTRY.lock() = Registry::new();
}

/// Returns the mutex, which is locked across a fork.
pub(crate) fn fork_lock() -> &'static impl ForkLock {
    &*REGISTRY
}
