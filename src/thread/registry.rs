//! Who is alive: all threads that have been started and are not over, timers and dummies included.
//!
//! A thread stands in one of two lists. `alive`: from the moment of its start, in that order, main first.
//! `ended`: its last destructor has begun, but its stack and its entry have not been is_reaped. `enumerate` shows the
//! first list; exit waits for both. What follows from the lists is above: `thread::reaper` reclaims what has ended,
//! `thread::shutdown` waits for all that are alive, `thread::dummies` finds dummies that have gone.
//!
//! The guard of the lists is also that of whatever changes together with them: the pending timers, and the
//! numbers that a start gives out. So the start of a timer is one step, and its end another.

use crate::sys::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use core::ptr;

use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::sync::mutex::{ForkReset, InternalMutex, InternalMutexGuard};
use crate::sys::annotate;
use crate::sys::annotate::{happens_after, happens_before};
use crate::sys::futex;
use crate::thread::ident::IdentBlock;
use crate::thread::links::List;
use crate::thread::names::NameCounter;
use crate::thread::object::{
    AWAITING_POLL, DAEMON, DEFAULT_NAME_SEEN, DONE, DUMMY, DUMMY_EXITING, IN_SHUTDOWN, MAIN, NAMED,
    NOT_STARTED, RUNNING, STARTING, TERMINATED, TIMER, Thread, ZOMBIE,
};
use crate::thread::{ident, stack_count};
use crate::time::Deadline;
use crate::timer::queue::TimerQueue;

/// See the module.
pub(crate) struct Registry {
    pub(super) alive: List,
    pub(super) zombies: List,
    pub(super) alive_count: usize,
    /// How many of `alive` a shutdown waits for.
    pub(super) awaited_count: usize,
    /// The entry of `alive` at which the next search for ghosts begins.
    pub(super) next_dummy_check: *const Thread,
    /// How many dummies are `DUMMY_EXITING`.
    pub(super) exiting_dummies: usize,
    /// The reaper runs.
    pub(super) has_reaper: bool,
    pub(super) main: *const Thread,
    /// The process is past its shutdown: nothing can be started any more.
    shut_down: bool,
    /// How many shutdowns look at the lists, and sleep until something changes.
    shutdown_waiters: u32,
    pub(super) ident_block: IdentBlock,
    name_counter: NameCounter,
    pub(crate) timers: TimerQueue,
}

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static REGISTRY: InternalMutex<Registry> = InternalMutex::new(Registry::EMPTY);

/// How many threads are in the list of those that have ended: a hint for `start`. Changed under the guard.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
pub(super) static ZOMBIE_COUNT: AtomicUsize = AtomicUsize::new(0);

/// Changes, under the guard, whenever a shutdown should look again; slept on by it.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static SHUTDOWN_SEQ: AtomicU32 = AtomicU32::new(0);

/// The number of the main thread; another one in a child of fork.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
pub(super) static MAIN_IDENT: AtomicU64 = AtomicU64::new(ident::INITIAL_THREAD_IDENT);

// SAFETY: the threads in the lists are kept alive by the registry's entries, and are shared objects.
unsafe impl Send for Registry {}

impl ForkReset for Registry {
    fn reset_in_child(&mut self) {
        // The memory of the timers' heap may be in the middle of a move. `fork_child::begin` resets the rest.
        core::mem::forget(core::mem::replace(&mut self.timers, TimerQueue::EMPTY));
    }
}

impl Registry {
    const EMPTY: Self = Registry {
        alive: List::EMPTY,
        zombies: List::EMPTY,
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
    };

    /// The main thread's object, made when it is first needed.
    #[inline(always)]
    pub(super) fn get_or_create_main(&mut self) -> Result<&'static Thread> {
        if self.main.is_null() {
            let (main, _) = Thread::create_with_internal_ref(MAIN | NAMED, None, ptr::null_mut())?.check()?;
            main.set_ident(MAIN_IDENT.load(Ordering::Relaxed));
            // SAFETY: asks only. The first thread has the process's number.
            main.set_native_id(unsafe { libc::getpid() } as u32);
            main.transition(NOT_STARTED, RUNNING);
            self.main = main;
            self.alive.push_front(main);
            self.alive_count += 1;
        }
        // SAFETY: the registry keeps it.
        Ok(unsafe { &*self.main })
    }

    /// Whether a thread may begin its life: once, and not after the shutdown.
    #[inline(always)]
    pub(crate) fn check_startable(&mut self, thread: &Thread) -> Result<()> {
        self.get_or_create_main()?;
        if thread.state() != NOT_STARTED {
            return Err(Error::AlreadyStarted);
        }
        if self.shut_down { Err(Error::Shutdown) } else { Ok(()) }
    }

    /// It begins its life.
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

    /// It is not alive any more.
    #[inline(always)]
    pub(super) fn remove_alive(&mut self, thread: &'static Thread) {
        if ptr::eq(self.next_dummy_check, thread) {
            self.next_dummy_check = thread.next.get();
        }
        self.alive.remove(thread);
        self.alive_count -= 1;
        if thread.has_flag(DUMMY) && thread.has_flag(DUMMY_EXITING) {
            self.exiting_dummies -= 1;
        }
        self.awaited_count -= usize::from(is_awaited(thread));
    }

    /// Whether a thread is in exit or shutdown; true if it was before. Its entry counts accordingly.
    fn set_in_shutdown(&mut self, thread: &'static Thread, in_shutdown: bool) -> bool {
        // In a child of fork, one that was left behind still points to its former neighbours.
        let is_entered = !thread.next.get().is_null() && !thread.has_flag(ZOMBIE) && thread.state() != DONE;
        self.awaited_count -= usize::from(is_entered && is_awaited(thread));
        let before = thread.set_flag(IN_SHUTDOWN, in_shutdown);
        self.awaited_count += usize::from(is_entered && is_awaited(thread));
        before
    }

    /// A timer's thread is over.
    pub(crate) fn finish_timer(&mut self, thread: &'static Thread) -> DeferredWake {
        if thread.next.get().is_null() {
            // An exit has ended it, and a handler of that exit ends the thread.
            return DeferredWake { thread: None, shutdown: false };
        }
        let has_waiters = thread.set_state_locked(DONE);
        self.remove_alive(thread);
        DeferredWake { thread: has_waiters.then_some(thread), shutdown: self.bump_shutdown_seq() }
    }

    /// True if a shutdown waits, and must be woken when the guard is free, to look again.
    #[inline(always)]
    fn bump_shutdown_seq(&self) -> bool {
        happens_before(&SHUTDOWN_SEQ);
        let has_waiters = self.shutdown_waiters != 0;
        if has_waiters {
            SHUTDOWN_SEQ.fetch_add(1, Ordering::Relaxed);
        }
        has_waiters
    }

    /// Looks at the thread that has ended and was not looked at the longest; removes it from the list if the kernel
    /// says that it is gone.
    fn check_next_zombie(&mut self) -> Option<Zombie> {
        let thread = self.zombies.rotate()?;
        match thread.state() {
            TERMINATED if thread.claim_if_terminated() => {
                self.remove_zombie(thread);
                Some(Zombie::Terminated(thread))
            }
            // Kept while the guard is free. One that has too many references already waits for its joiner.
            AWAITING_POLL => Some(
                thread.handle().internal_ref().map_or(Zombie::StillExiting, |_| Zombie::AwaitingPoll(thread)),
            ),
            _ => Some(Zombie::StillExiting),
        }
    }

    /// It leaves the list of those that have ended.
    fn remove_zombie(&mut self, thread: &'static Thread) {
        self.zombies.remove(thread);
        ZOMBIE_COUNT.store(ZOMBIE_COUNT.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
        stack_count::uncount_zombie(thread.zombie_stack_size());
    }
}

/// What `check_next_zombie` has found.
pub(super) enum Zombie {
    /// It is gone, and the caller releases what it had.
    Terminated(&'static Thread),
    /// Pthread has to be asked; kept by the caller.
    AwaitingPoll(&'static Thread),
    StillExiting,
}

/// Whether a shutdown waits for the thread, if it is alive.
fn is_awaited(thread: &Thread) -> bool {
    !thread.has_flag(DAEMON | MAIN | IN_SHUTDOWN)
}

/// Whom to wake after a change, when the guard is free.
#[must_use]
pub(crate) struct DeferredWake {
    thread: Option<&'static Thread>,
    shutdown: bool,
}

impl DeferredWake {
    /// The caller keeps the thread.
    pub(crate) fn wake(self) {
        if let Some(thread) = self.thread {
            thread.wake_state_waiters();
        }
        if self.shutdown {
            futex::wake_all(&SHUTDOWN_SEQ);
        }
    }
}

/// Wakes the threads that wait for the end of a timer, and those in a shutdown, so that they look again.
pub(crate) fn wake_timer_waiters() {
    let registry = REGISTRY.lock();
    let timers_with_waiters =
        registry.alive.iter().filter(|thread| thread.has_flag(TIMER) && thread.has_state_waiters());
    timers_with_waiters.for_each(Thread::wake_state_waiters);
    let shutdown = registry.bump_shutdown_seq();
    drop(registry);
    DeferredWake { thread: None, shutdown }.wake();
}

/// For a change of more than one thing that has this guard.
#[inline(always)]
pub(crate) fn lock() -> InternalMutexGuard<'static, Registry> {
    REGISTRY.lock()
}

/// For a change that those of this module must find made, or not begun.
pub(crate) fn with_lock<R>(change: impl FnOnce() -> R) -> R {
    let _lock = REGISTRY.lock();
    change()
}

/// Gives a thread the number of its default name, if it has none. It is seen, and not taken back any more.
pub(crate) fn assign_name_number(thread: &Thread) {
    let mut registry = REGISTRY.lock();
    thread.set_flag(DEFAULT_NAME_SEEN, true);
    registry.name_counter.assign(&thread.name_number);
}

/// A thread begins its life, once; refused after the shutdown. In one step with its entry, so that a fork
/// finds it either unstarted or here.
pub(crate) fn add(thread: &'static Thread) -> Result<()> {
    let mut registry = REGISTRY.lock();
    registry.check_startable(thread)?;
    thread.transition(NOT_STARTED, STARTING);
    registry.insert(thread);
    Ok(())
}

/// Sets something up that a start, which may come at this moment, must find as it was or as it is now.
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

/// A thread could not be started: nothing has changed.
pub(crate) fn rollback_start(thread: &'static Thread) {
    let mut registry = REGISTRY.lock();
    registry.remove_alive(thread);
    registry.name_counter.unassign(&thread.name_number, thread.has_flag(DEFAULT_NAME_SEEN));
    thread.set_ident(0);
    thread.reset_to_not_started();
    let shutdown = registry.bump_shutdown_seq();
    drop(registry);
    DeferredWake { thread: None, shutdown }.wake();
}

/// A thread is over.
pub(crate) fn remove(thread: &'static Thread) {
    let mut registry = REGISTRY.lock();
    if thread.next.get().is_null() {
        return;
    }
    if thread.has_flag(ZOMBIE) {
        registry.remove_zombie(thread);
    } else {
        registry.remove_alive(thread);
    }
    let shutdown = registry.bump_shutdown_seq();
    drop(registry);
    DeferredWake { thread: None, shutdown }.wake();
}

/// The system's thread of this one is in its last destructor. Its stack is of this size, 0 if it is not to be counted.
pub(super) fn move_to_zombies(thread: &'static Thread, stack_size: usize) {
    let mut registry = REGISTRY.lock();
    registry.remove_alive(thread);
    registry.zombies.push_back(thread);
    ZOMBIE_COUNT.store(ZOMBIE_COUNT.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    thread.set_flag(ZOMBIE, true);
    stack_count::count_zombie(stack_size);
    let shutdown = registry.bump_shutdown_seq();
    drop(registry);
    DeferredWake { thread: None, shutdown }.wake();
}

/// How many threads are in the list of those that have ended.
pub(super) fn unreaped() -> usize {
    ZOMBIE_COUNT.load(Ordering::Relaxed)
}

/// `Registry::check_next_zombie`.
pub(super) fn check_next_zombie() -> Option<Zombie> {
    REGISTRY.lock().check_next_zombie()
}

/// The reaper is wanted: true if it does not run, and the caller has to start it.
pub(super) fn begin_reaper() -> bool {
    !core::mem::replace(&mut REGISTRY.lock().has_reaper, true)
}

/// The reaper could not be started.
pub(super) fn no_reaper() {
    REGISTRY.lock().has_reaper = false;
}

/// The reaper ends, unless too many threads have ended: whether it goes on.
pub(super) fn keep_reaper() -> bool {
    let mut registry = REGISTRY.lock();
    registry.has_reaper = stack_count::zombies_exceed_limit();
    registry.has_reaper
}

pub(crate) fn main_thread() -> Result<Handle<Thread>> {
    Ok(REGISTRY.lock().get_or_create_main()?.handle())
}

/// Whether the caller is the main thread, by its number.
pub(crate) fn is_main(ident: u64) -> bool {
    MAIN_IDENT.load(Ordering::Acquire) == ident
}

/// The main thread counts as ended.
pub(crate) fn set_main_done() {
    let main = REGISTRY.lock().main;
    // SAFETY: the registry keeps it.
    if let Some(main) = unsafe { main.as_ref() } {
        main.set_done();
    }
}

/// A timer counts as ended though the thread that would end it, which is in exit, does not come to that.
pub(crate) fn finish_timer_at_exit(thread: &'static Thread) {
    let mut registry = REGISTRY.lock();
    if thread.state() != RUNNING {
        return;
    }
    let deferred = registry.finish_timer(thread);
    drop(registry);
    deferred.wake();
}

/// Whether all threads that are not daemons have been waited for.
pub(crate) fn is_shut_down() -> bool {
    REGISTRY.lock().shut_down
}

/// Sets whether exits and shutdowns do not wait for the thread.
pub(crate) fn set_in_shutdown(thread: &'static Thread, in_shutdown: bool) {
    REGISTRY.lock().set_in_shutdown(thread, in_shutdown);
}

/// An exit or shutdown begins, in which the calling thread, if it has an object, is not waited for. True if it was in
/// one before.
pub(super) fn begin_shutdown(myself: Option<&'static Thread>) -> bool {
    let mut registry = REGISTRY.lock();
    let was_in_shutdown = myself.is_some_and(|myself| registry.set_in_shutdown(myself, true));
    registry.shutdown_waiters += 1;
    let shutdown = registry.bump_shutdown_seq();
    drop(registry);
    DeferredWake { thread: None, shutdown }.wake();
    was_in_shutdown
}

/// It returns, and this thread is waited for again.
pub(super) fn end_shutdown(myself: Option<&'static Thread>) {
    let mut registry = REGISTRY.lock();
    // A callback or a signal handler may have forked meanwhile, and this be the child, which counts anew.
    registry.shutdown_waiters = registry.shutdown_waiters.saturating_sub(1);
    if let Some(myself) = myself {
        registry.set_in_shutdown(myself, false);
    }
}

/// What a shutdown has to wait for.
pub(super) enum Left {
    Nothing,
    /// A thread in its last destructor, kept for the caller.
    Zombie(&'static Thread),
    /// Threads that are alive: for a change of what `SHUTDOWN_SEQ` was.
    Alive(u32),
}

/// Nothing can be started any more if a shutdown has nothing to wait for.
pub(super) fn close() -> Left {
    loop {
        let mut registry = REGISTRY.lock();
        let seen = SHUTDOWN_SEQ.load(Ordering::Relaxed);
        if registry.awaited_count != 0 {
            return Left::Alive(seen);
        }
        // A race detector calls a leak what has ended and was not joined.
        let not_joined = if annotate::is_active() { MAIN | IN_SHUTDOWN } else { DAEMON | MAIN | IN_SHUTDOWN };
        // One that is over is about to leave the list.
        let must_be_joined = |thread: &&Thread| !thread.has_flag(not_joined) && thread.state() != DONE;
        let Some(zombie) = registry.zombies.iter().find(must_be_joined) else {
            registry.shut_down = true;
            happens_after(&SHUTDOWN_SEQ);
            return Left::Nothing;
        };
        if zombie.handle().internal_ref().is_ok() {
            return Left::Zombie(zombie);
        }
    }
}

/// Waits until a shutdown should look again. False only if the timeout expired.
pub(super) fn wait_for_change(seen: u32, deadline: Deadline) -> bool {
    futex::wait(&SHUTDOWN_SEQ, seen, deadline)
}

/// Calls `f` for each thread that has a system thread of its own.
pub(super) fn for_each_system_thread(f: impl FnMut(&'static Thread)) {
    let registry = REGISTRY.lock();
    let all = registry.alive.iter().chain(registry.zombies.iter());
    all.filter(|thread| thread.has_os_thread()).for_each(f);
}

/// Before each run of a model.
#[cfg(model)]
pub(crate) fn reset() {
    *REGISTRY.lock() = Registry::EMPTY;
}

/// Holds the registry across a fork.
pub(crate) fn lock_for_fork() {
    REGISTRY.lock_for_fork();
}

/// Gives back what `hold` took.
///
/// # Safety
/// As for `InternalMutex::let_go`.
pub(crate) unsafe fn unlock_after_fork() {
    // SAFETY: the caller's promise.
    unsafe { REGISTRY.unlock_after_fork() };
}

/// As `let_go`, in a child of fork.
///
/// # Safety
/// As for `InternalMutex::reinit_in_child`.
pub(crate) unsafe fn reinit_in_child() {
    // SAFETY: the caller's promise.
    unsafe { REGISTRY.reinit_in_child() };
}
