//! Who is alive: all threads that have been started and are not over, timers and dummies included.
//!
//! A thread stands in one of two lists. `alive`: from the moment of its start, in that order, main first.
//! `ended`: its last destructor has begun, but its stack and its entry have not been reclaimed. `enumerate` shows the
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
use crate::thread::ident::Idents;
use crate::thread::links::List;
use crate::thread::names::Numbers;
use crate::thread::object::{
    ALIVE, ASKED, DAEMON, DUMMY, ENDED, ENDING, GONE, JOINABLE, LEAVING, MAIN, NAMED, NEW, OVER, STARTING,
    TIMER, Thread,
};
use crate::thread::{ident, stack_count};
use crate::time::Deadline;
use crate::timer::queue::Timers;

/// See the module.
pub(crate) struct Registry {
    pub(super) alive: List,
    pub(super) ended: List,
    pub(super) count: usize,
    /// How many of `alive` a shutdown waits for.
    pub(super) awaited: usize,
    /// The entry of `alive` at which the next search for ghosts begins.
    pub(super) looked_at: *const Thread,
    /// How many dummies are `ENDING`.
    pub(super) ending_dummies: usize,
    /// The reaper runs.
    pub(super) reaped: bool,
    pub(super) main: *const Thread,
    /// The process is past its shutdown: nothing can be started any more.
    closed: bool,
    /// How many shutdowns look at the lists, and sleep until something changes.
    shutdowns: u32,
    pub(super) idents: Idents,
    numbers: Numbers,
    pub(crate) timers: Timers,
}

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static REGISTRY: InternalMutex<Registry> = InternalMutex::new(Registry::NEW);

/// How many threads are in the list of those that have ended: a hint for `start`. Changed under the guard.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
pub(super) static UNREAPED: AtomicUsize = AtomicUsize::new(0);

/// Changes, under the guard, whenever a shutdown should look again; slept on by it.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static CHANGES: AtomicU32 = AtomicU32::new(0);

/// The number of the main thread; another one in a child of fork.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
pub(super) static MAIN_IDENT: AtomicU64 = AtomicU64::new(ident::FIRST_THREAD);

// SAFETY: the threads in the lists are kept alive by the registry's entries, and are shared objects.
unsafe impl Send for Registry {}

impl ForkReset for Registry {
    fn reset_in_child(&mut self) {
        // The memory of the timers' heap may be in the middle of a move. `fork_child::begin` resets the rest.
        core::mem::forget(core::mem::replace(&mut self.timers, Timers::NONE));
    }
}

impl Registry {
    const NEW: Self = Registry {
        alive: List::EMPTY,
        ended: List::EMPTY,
        count: 0,
        awaited: 0,
        looked_at: ptr::null(),
        ending_dummies: 0,
        reaped: false,
        main: ptr::null(),
        closed: false,
        shutdowns: 0,
        idents: Idents::NONE,
        numbers: Numbers::FIRST,
        timers: Timers::NONE,
    };

    /// The main thread's object, made when it is first needed.
    #[inline(always)]
    pub(super) fn main(&mut self) -> Result<&'static Thread> {
        if self.main.is_null() {
            let (main, _) = Thread::create_with_internal_ref(MAIN | NAMED, None, ptr::null_mut())?.check()?;
            main.set_ident(MAIN_IDENT.load(Ordering::Relaxed));
            // SAFETY: asks only. The first thread has the process's number.
            main.set_native_id(unsafe { libc::getpid() } as u32);
            main.go(NEW, ALIVE);
            self.main = main;
            self.alive.push_front(main);
            self.count += 1;
        }
        // SAFETY: the registry keeps it.
        Ok(unsafe { &*self.main })
    }

    /// Whether a thread may begin its life: once, and not after the shutdown.
    #[inline(always)]
    pub(crate) fn admit(&mut self, thread: &Thread) -> Result<()> {
        self.main()?;
        if thread.state() != NEW {
            return Err(Error::AlreadyStarted);
        }
        if self.closed { Err(Error::Shutdown) } else { Ok(()) }
    }

    /// It begins its life.
    #[inline(always)]
    pub(crate) fn enter(&mut self, thread: &'static Thread) {
        thread.set_ident(self.idents.take());
        if !thread.is(NAMED) {
            self.numbers.give(&thread.number);
        }
        self.alive.push_back(thread);
        self.count += 1;
        self.awaited += usize::from(is_awaited(thread));
    }

    /// It is not alive any more.
    #[inline(always)]
    pub(super) fn leave(&mut self, thread: &'static Thread) {
        if ptr::eq(self.looked_at, thread) {
            self.looked_at = thread.next.get();
        }
        self.alive.remove(thread);
        self.count -= 1;
        if thread.is(DUMMY) && thread.is(ENDING) {
            self.ending_dummies -= 1;
        }
        self.awaited -= usize::from(is_awaited(thread));
    }

    /// Whether a thread is in exit or shutdown; true if it was before. Its entry counts accordingly.
    fn set_leaving(&mut self, thread: &'static Thread, leaving: bool) -> bool {
        // In a child of fork, one that was left behind still points to its former neighbours.
        let is_entered = !thread.next.get().is_null() && !thread.is(ENDED) && thread.state() != OVER;
        self.awaited -= usize::from(is_entered && is_awaited(thread));
        let before = thread.mark(LEAVING, leaving);
        self.awaited += usize::from(is_entered && is_awaited(thread));
        before
    }

    /// A timer's thread is over.
    pub(crate) fn end_timer(&mut self, thread: &'static Thread) -> News {
        if thread.next.get().is_null() {
            // An exit has ended it, and a handler of that exit ends the thread.
            return News { watched: None, shutdown: false };
        }
        let watched = thread.change_guarded(OVER);
        self.leave(thread);
        News { watched: watched.then_some(thread), shutdown: self.changed() }
    }

    /// True if a shutdown waits, and must be woken when the guard is free, to look again.
    #[inline(always)]
    fn changed(&self) -> bool {
        happens_before(&CHANGES);
        let anybody = self.shutdowns != 0;
        if anybody {
            CHANGES.fetch_add(1, Ordering::Relaxed);
        }
        anybody
    }

    /// Looks at the thread that has ended and was not looked at the longest; removes it from the list if the kernel
    /// says that it is gone.
    fn look_at_ended(&mut self) -> Option<Ended> {
        let thread = self.ended.rotate()?;
        match thread.state() {
            GONE if thread.claim_if_gone() => {
                self.leave_ended(thread);
                Some(Ended::Gone(thread))
            }
            // Kept while the guard is free. One that has too many references already waits for its joiner.
            JOINABLE => {
                Some(thread.handle().internal_ref().map_or(Ended::NotYet, |_| Ended::Joinable(thread)))
            }
            _ => Some(Ended::NotYet),
        }
    }

    /// It leaves the list of those that have ended.
    fn leave_ended(&mut self, thread: &'static Thread) {
        self.ended.remove(thread);
        UNREAPED.store(UNREAPED.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
        stack_count::no_longer_ended(thread.ended_stack_size());
    }
}

/// What `look_at_ended` has found.
pub(super) enum Ended {
    /// It is gone, and the caller releases what it had.
    Gone(&'static Thread),
    /// Pthread has to be asked; kept by the caller.
    Joinable(&'static Thread),
    NotYet,
}

/// Whether a shutdown waits for the thread, if it is alive.
fn is_awaited(thread: &Thread) -> bool {
    !thread.is(DAEMON | MAIN | LEAVING)
}

/// Whom to wake after a change, when the guard is free.
#[must_use]
pub(crate) struct News {
    watched: Option<&'static Thread>,
    shutdown: bool,
}

impl News {
    /// The caller keeps the thread.
    pub(crate) fn tell(self) {
        if let Some(thread) = self.watched {
            thread.wake_watchers();
        }
        if self.shutdown {
            futex::wake_all(&CHANGES);
        }
    }
}

/// Wakes the threads that wait for the end of a timer, and those in a shutdown, so that they look again.
pub(crate) fn wake_those_that_wait_for_timers() {
    let registry = REGISTRY.lock();
    let watched = registry.alive.iter().filter(|thread| thread.is(TIMER) && thread.is_watched());
    watched.for_each(Thread::wake_watchers);
    let shutdown = registry.changed();
    drop(registry);
    News { watched: None, shutdown }.tell();
}

/// For a change of more than one thing that has this guard.
#[inline(always)]
pub(crate) fn lock() -> InternalMutexGuard<'static, Registry> {
    REGISTRY.lock()
}

/// For a change that those of this module must find made, or not begun.
pub(crate) fn guarded<R>(change: impl FnOnce() -> R) -> R {
    let _guard = REGISTRY.lock();
    change()
}

/// Gives a thread the number of its default name, if it has none. It is seen, and not taken back any more.
pub(crate) fn give_number(thread: &Thread) {
    let mut registry = REGISTRY.lock();
    thread.mark(ASKED, true);
    registry.numbers.give(&thread.number);
}

/// A thread begins its life, once; refused after the shutdown. In one step with its entry, so that a fork
/// finds it either unstarted or here.
pub(crate) fn add(thread: &'static Thread) -> Result<()> {
    let mut registry = REGISTRY.lock();
    registry.admit(thread)?;
    thread.go(NEW, STARTING);
    registry.enter(thread);
    Ok(())
}

/// Sets something up that a start, which may come at this moment, must find as it was or as it is now.
pub(crate) fn set_up<R>(thread: &'static Thread, set: impl FnOnce(&'static Thread) -> R) -> Result<()> {
    let _no_start = REGISTRY.lock();
    if thread.state() != NEW {
        return Err(Error::AlreadyStarted);
    }
    set(thread);
    Ok(())
}

/// A thread could not be started: nothing has changed.
pub(crate) fn withdraw(thread: &'static Thread) {
    let mut registry = REGISTRY.lock();
    registry.leave(thread);
    registry.numbers.take_back(&thread.number, thread.is(ASKED));
    thread.set_ident(0);
    thread.go_back_to_new();
    let shutdown = registry.changed();
    drop(registry);
    News { watched: None, shutdown }.tell();
}

/// A thread is over.
pub(crate) fn remove(thread: &'static Thread) {
    let mut registry = REGISTRY.lock();
    if thread.next.get().is_null() {
        return;
    }
    if thread.is(ENDED) {
        registry.leave_ended(thread);
    } else {
        registry.leave(thread);
    }
    let shutdown = registry.changed();
    drop(registry);
    News { watched: None, shutdown }.tell();
}

/// The system's thread of this one is in its last destructor. Its stack is of this size, 0 if it is not to be counted.
pub(super) fn ended(thread: &'static Thread, stack_size: usize) {
    let mut registry = REGISTRY.lock();
    registry.leave(thread);
    registry.ended.push_back(thread);
    UNREAPED.store(UNREAPED.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    thread.mark(ENDED, true);
    stack_count::has_ended(stack_size);
    let shutdown = registry.changed();
    drop(registry);
    News { watched: None, shutdown }.tell();
}

/// How many threads are in the list of those that have ended.
pub(super) fn unreaped() -> usize {
    UNREAPED.load(Ordering::Relaxed)
}

/// `Registry::look_at_ended`.
pub(super) fn look_at_ended() -> Option<Ended> {
    REGISTRY.lock().look_at_ended()
}

/// The reaper is wanted: true if it does not run, and the caller has to start it.
pub(super) fn begin_reaper() -> bool {
    !core::mem::replace(&mut REGISTRY.lock().reaped, true)
}

/// The reaper could not be started.
pub(super) fn no_reaper() {
    REGISTRY.lock().reaped = false;
}

/// The reaper ends, unless too many threads have ended: whether it goes on.
pub(super) fn keep_reaper() -> bool {
    let mut registry = REGISTRY.lock();
    registry.reaped = stack_count::too_many_have_ended();
    registry.reaped
}

pub(crate) fn main_thread() -> Result<Handle<Thread>> {
    Ok(REGISTRY.lock().main()?.handle())
}

/// Whether the caller is the main thread, by its number.
pub(crate) fn is_main(ident: u64) -> bool {
    MAIN_IDENT.load(Ordering::Acquire) == ident
}

/// The main thread counts as ended.
pub(crate) fn end_main() {
    let main = REGISTRY.lock().main;
    // SAFETY: the registry keeps it.
    if let Some(main) = unsafe { main.as_ref() } {
        main.end();
    }
}

/// A timer counts as ended though the thread that would end it, which is in exit, does not come to that.
pub(crate) fn end_timer_for_good(thread: &'static Thread) {
    let mut registry = REGISTRY.lock();
    if thread.state() != ALIVE {
        return;
    }
    let news = registry.end_timer(thread);
    drop(registry);
    news.tell();
}

/// Whether all threads that are not daemons have been waited for.
pub(crate) fn is_closed() -> bool {
    REGISTRY.lock().closed
}

/// Sets whether exits and shutdowns do not wait for the thread.
pub(crate) fn set_leaving(thread: &'static Thread, leaving: bool) {
    REGISTRY.lock().set_leaving(thread, leaving);
}

/// An exit or shutdown begins, in which the calling thread, if it has an object, is not waited for. True if it was in
/// one before.
pub(super) fn begin_shutdown(myself: Option<&'static Thread>) -> bool {
    let mut registry = REGISTRY.lock();
    let again = myself.is_some_and(|myself| registry.set_leaving(myself, true));
    registry.shutdowns += 1;
    let shutdown = registry.changed();
    drop(registry);
    News { watched: None, shutdown }.tell();
    again
}

/// It returns, and this thread is waited for again.
pub(super) fn end_shutdown(myself: Option<&'static Thread>) {
    let mut registry = REGISTRY.lock();
    // A callback or a signal handler may have forked meanwhile, and this be the child, which counts anew.
    registry.shutdowns = registry.shutdowns.saturating_sub(1);
    if let Some(myself) = myself {
        registry.set_leaving(myself, false);
    }
}

/// What a shutdown has to wait for.
pub(super) enum Left {
    Nothing,
    /// A thread in its last destructor, kept for the caller.
    Ended(&'static Thread),
    /// Threads that are alive: for a change of what `CHANGES` was.
    Alive(u32),
}

/// Nothing can be started any more if a shutdown has nothing to wait for.
pub(super) fn close() -> Left {
    loop {
        let mut registry = REGISTRY.lock();
        let seen = CHANGES.load(Ordering::Relaxed);
        if registry.awaited != 0 {
            return Left::Alive(seen);
        }
        // A race detector calls a leak what has ended and was not joined.
        let nobody_joins = if annotate::is_active() { MAIN | LEAVING } else { DAEMON | MAIN | LEAVING };
        // One that is over is about to leave the list.
        let is_joined = |thread: &&Thread| !thread.is(nobody_joins) && thread.state() != OVER;
        let Some(ended) = registry.ended.iter().find(is_joined) else {
            registry.closed = true;
            happens_after(&CHANGES);
            return Left::Nothing;
        };
        if ended.handle().internal_ref().is_ok() {
            return Left::Ended(ended);
        }
    }
}

/// Waits until a shutdown should look again. False only if the timeout expired.
pub(super) fn wait_for_change(seen: u32, deadline: Deadline) -> bool {
    futex::wait(&CHANGES, seen, deadline)
}

/// Calls `f` for each thread that has a system thread of its own.
pub(super) fn for_each_system_thread(f: impl FnMut(&'static Thread)) {
    let registry = REGISTRY.lock();
    let all = registry.alive.iter().chain(registry.ended.iter());
    all.filter(|thread| thread.has_system_thread()).for_each(f);
}

/// Before each run of a model.
#[cfg(model)]
pub(crate) fn reset() {
    *REGISTRY.lock() = Registry::NEW;
}

/// Holds the registry across a fork.
pub(crate) fn hold() {
    REGISTRY.lock_for_fork();
}

/// Gives back what `hold` took.
///
/// # Safety
/// As for `InternalMutex::let_go`.
pub(crate) unsafe fn let_go() {
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
