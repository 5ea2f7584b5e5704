//! Who is alive: all threads that have been started and are not over, timers and dummies included.
//!
//! A thread stands in one of two lists. `alive`: from the moment of its start, in that order, main first.
//! `ended`: its last destructor has begun, but nobody has seen the system's thread end. `enumerate` shows the
//! first list; exit waits for both. Ended threads that nobody joins are looked after by the next starts.
//!
//! The guard of the lists is also that of whatever changes together with them: the pending timers, and the
//! numbers that a start gives out. So the start of a timer is one step, and its end another.

use crate::atomic::{AtomicU32, AtomicUsize, Ordering};
use core::ptr;

use super::dispatcher::Timers;
use super::identity::Idents;
use super::life::{
    ALIVE, ASKED, DAEMON, DUMMY, ENDED, LEAVING, MAIN, NAMED, NEW, OVER, STARTING, TIMER, Thread,
};
use super::name::Numbers;
use super::{dispatcher, identity, pending, system};
use crate::detector::{self, happens_after, happens_before};
use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::park;
use crate::park::guarded::{Forget, Guard, Guarded};
use crate::per_thread;
use crate::time::Deadline;

/// See the module.
pub(super) struct Registry {
    alive: List,
    ended: List,
    count: usize,
    main: *const Thread,
    /// The number of the main thread.
    main_ident: u64,
    /// The process is past its shutdown: nothing can be started any more.
    closed: bool,
    /// How many shutdowns look at the lists, and sleep until something changes.
    shutdowns: u32,
    idents: Idents,
    numbers: Numbers,
    pub(super) timers: Timers,
}

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_own"))]
static REGISTRY: Guarded<Registry> = Guarded::new(Registry::NEW);

/// How many threads have ended that nobody has reaped: a hint for `start`.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_own"))]
static UNREAPED: AtomicUsize = AtomicUsize::new(0);

/// Changes, under the guard, whenever a shutdown should look again; slept on by it.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_own"))]
static CHANGES: AtomicU32 = AtomicU32::new(0);

// SAFETY: the threads in the lists are kept alive by the registry's entries, and are shared objects.
unsafe impl Send for Registry {}

impl Forget for Registry {
    fn forget(&mut self) {
        unreachable!("the registry is held across a fork");
    }
}

/// A circular list through `Thread::next` and `previous`.
struct List {
    first: *const Thread,
}

impl List {
    fn push_back(&mut self, thread: &'static Thread) {
        // SAFETY: threads in the list are valid, here and below.
        match unsafe { self.first.as_ref() } {
            None => {
                thread.next.set(thread);
                thread.previous.set(thread);
                self.first = thread;
            }
            Some(first) => {
                let last = first.previous.get();
                thread.next.set(first);
                thread.previous.set(last);
                // SAFETY: as above.
                unsafe { (*last).next.set(thread) };
                first.previous.set(thread);
            }
        }
    }

    fn push_front(&mut self, thread: &'static Thread) {
        self.push_back(thread);
        self.first = thread;
    }

    fn remove(&mut self, thread: &'static Thread) {
        let (previous, next) = (thread.previous.replace(ptr::null()), thread.next.replace(ptr::null()));
        if ptr::eq(next, thread) {
            self.first = ptr::null();
        } else {
            // SAFETY: as above.
            unsafe {
                (*previous).next.set(next);
                (*next).previous.set(previous);
            }
            if ptr::eq(self.first, thread) {
                self.first = next;
            }
        }
    }

    fn pop(&mut self) -> Option<&'static Thread> {
        // SAFETY: as above.
        let first = unsafe { self.first.as_ref() }?;
        self.remove(first);
        Some(first)
    }

    fn iter(&self) -> impl Iterator<Item = &'static Thread> + '_ {
        // SAFETY: as above.
        let mut at = unsafe { self.first.as_ref() };
        core::iter::from_fn(move || {
            let thread = at?;
            let next = thread.next.get();
            // SAFETY: as above.
            at = if ptr::eq(next, self.first) { None } else { unsafe { next.as_ref() } };
            Some(thread)
        })
    }
}

impl Registry {
    const NEW: Self = Registry {
        alive: List { first: ptr::null() },
        ended: List { first: ptr::null() },
        count: 0,
        main: ptr::null(),
        main_ident: identity::FIRST_THREAD,
        closed: false,
        shutdowns: 0,
        idents: Idents::NONE,
        numbers: Numbers::FIRST,
        timers: Timers::NONE,
    };

    /// The main thread's object, made when it is first needed.
    fn main(&mut self) -> Result<&'static Thread> {
        if self.main.is_null() {
            let (main, _) = Thread::create_kept(MAIN | NAMED, None, ptr::null_mut())?.check()?;
            main.set_ident(self.main_ident);
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
    pub(super) fn admit(&mut self, thread: &Thread) -> Result<()> {
        self.main()?;
        if thread.state() != NEW {
            return Err(Error::AlreadyStarted);
        }
        if self.closed { Err(Error::Shutdown) } else { Ok(()) }
    }

    /// It begins its life.
    pub(super) fn enter(&mut self, thread: &'static Thread) {
        thread.set_ident(self.idents.take());
        if !thread.is(NAMED) {
            self.numbers.give(thread);
        }
        self.alive.push_back(thread);
        self.count += 1;
    }

    /// A timer's thread is over.
    pub(super) fn end_timer(&mut self, thread: &'static Thread) -> News {
        let watched = thread.change_guarded(OVER);
        self.alive.remove(thread);
        self.count -= 1;
        News { watched: watched.then_some(thread), shutdown: self.changed() }
    }

    /// True if a shutdown waits, and must be woken when the guard is free, to look again.
    fn changed(&self) -> bool {
        happens_before(&CHANGES);
        let anybody = self.shutdowns != 0;
        if anybody {
            CHANGES.fetch_add(1, Ordering::Relaxed);
        }
        anybody
    }

    /// A dummy's first question may come so late in its thread's end that the end cannot be announced any
    /// more.
    fn drop_ghosts(&mut self) {
        let is_ghost = |thread: &&Thread| thread.is(DUMMY) && !system::has_thread(thread.native_id());
        loop {
            let ghost = self.alive.iter().find(is_ghost);
            let Some(ghost) = ghost else { return };
            self.alive.remove(ghost);
            self.count -= 1;
            ghost.end();
            ghost.handle().let_go();
        }
    }
}

/// Whom to wake after a change, when the guard is free.
#[must_use]
pub(super) struct News {
    watched: Option<&'static Thread>,
    shutdown: bool,
}

impl News {
    /// The caller keeps the thread.
    pub(super) fn tell(self) {
        if let Some(thread) = self.watched {
            thread.wake_watchers();
        }
        if self.shutdown {
            park::wake_all(&CHANGES);
        }
    }
}

/// Wakes the threads that wait for the end of a timer, and those in a shutdown, so that they look again.
pub(super) fn wake_those_that_wait_for_timers() {
    let registry = REGISTRY.lock();
    let watched = registry.alive.iter().filter(|thread| thread.is(TIMER) && thread.is_watched());
    watched.for_each(Thread::wake_watchers);
    let shutdown = registry.changed();
    drop(registry);
    News { watched: None, shutdown }.tell();
}

/// For a change of more than one thing that has this guard.
pub(super) fn lock() -> Guard<'static, Registry> {
    REGISTRY.lock()
}

/// For a change that those of this module must find made, or not begun.
pub(super) fn guarded<R>(change: impl FnOnce() -> R) -> R {
    let _guard = REGISTRY.lock();
    change()
}

/// Gives a thread the number of its default name, if it has none. It is seen, and not taken back any more.
pub(super) fn give_number(thread: &Thread) {
    let mut registry = REGISTRY.lock();
    thread.mark(ASKED, true);
    registry.numbers.give(thread);
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
    registry.alive.remove(thread);
    registry.count -= 1;
    registry.numbers.take_back(thread);
    thread.set_ident(0);
    thread.go(STARTING, NEW);
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
        registry.ended.remove(thread);
        UNREAPED.fetch_sub(1, Ordering::Relaxed);
    } else {
        registry.alive.remove(thread);
        registry.count -= 1;
    }
    let shutdown = registry.changed();
    drop(registry);
    News { watched: None, shutdown }.tell();
}

/// The system's thread of this one is in its last destructor.
pub(crate) fn ended(thread: &'static Thread) {
    let mut registry = REGISTRY.lock();
    registry.alive.remove(thread);
    registry.count -= 1;
    registry.ended.push_back(thread);
    UNREAPED.fetch_add(1, Ordering::Relaxed);
    thread.mark(ENDED, true);
    let shutdown = registry.changed();
    drop(registry);
    News { watched: None, shutdown }.tell();
}

/// Reaps a thread or two that have ended and that nobody has joined, so that they do not pile up.
pub(crate) fn look_after_ended() {
    const AT_ONCE: usize = 2;
    // What a thread has done would happen before all that the caller does, in the eyes of a race detector: there
    // as many as it can count may pile up.
    let may_wait = if detector::watches() { 1000 } else { 0 };
    for _ in 0..AT_ONCE {
        if UNREAPED.load(Ordering::Relaxed) <= may_wait {
            return;
        }
        let registry = REGISTRY.lock();
        let Some(thread) = registry.ended.iter().next() else { return };
        let Ok(kept) = thread.handle().keep() else { return };
        drop(registry);
        thread.has_ended();
        kept.let_go();
    }
}

pub(crate) fn main_thread() -> Result<Handle<Thread>> {
    Ok(REGISTRY.lock().main()?.handle())
}

/// Whether the caller is the main thread, by its number.
pub(crate) fn is_main(ident: u64) -> bool {
    REGISTRY.lock().main_ident == ident
}

/// A thread that this library did not start asks who it is.
pub(crate) fn add_dummy(ident: u64) -> Result<Handle<Thread>> {
    let mut registry = REGISTRY.lock();
    // First what may be refused: a dummy that is not entered here would be nobody's.
    registry.main()?;
    let (dummy, _) = Thread::create_kept(DUMMY | DAEMON, None, ptr::null_mut())?.check()?;
    dummy.set_ident(ident);
    dummy.set_native_id(identity::native_id() as u32);
    dummy.go(NEW, ALIVE);
    registry.alive.push_back(dummy);
    registry.count += 1;
    Ok(dummy.handle())
}

pub(crate) fn count() -> Result<usize> {
    let mut registry = REGISTRY.lock();
    registry.main()?;
    registry.drop_ghosts();
    Ok(registry.count)
}

/// The handles of all that are alive, each kept for the caller.
pub(crate) fn snapshot() -> Result<Vec<usize>> {
    let mut registry = REGISTRY.lock();
    registry.main()?;
    registry.drop_ghosts();
    let mut threads = Vec::new();
    threads.try_reserve_exact(registry.count).map_err(|_| Error::NoMemory)?;
    // One that has too many references already to take another is left out.
    threads.extend(registry.alive.iter().filter_map(|thread| thread.handle().keep().ok()).map(Handle::bits));
    Ok(threads)
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
pub(super) fn end_timer_for_good(thread: &'static Thread) {
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

/// Does something on the way out, by exit or shutdown, in which nobody else on that way waits for the caller.
pub(crate) fn leaving<R>(f: impl FnOnce() -> R) -> R {
    // The handle of the current thread, if it has one: a dummy is a daemon anyway.
    let me = per_thread::with(|mine| mine.thread.get());
    let myself = Handle::<Thread>::from_bits(me).check().ok().map(|(thread, _)| thread);
    let again = myself.is_some_and(|myself| myself.mark(LEAVING, true));
    let name = core::ptr::from_ref(&again) as usize;
    pending::leave_endings(name);
    // Those that are there already have one less to wait for.
    let shutdown = {
        let mut registry = REGISTRY.lock();
        registry.shutdowns += 1;
        registry.changed()
    };
    News { watched: None, shutdown }.tell();
    let result = f();
    pending::return_to_endings(name);
    let mut registry = REGISTRY.lock();
    // A callback or a signal handler may have forked meanwhile, and this be the child, which counts anew.
    registry.shutdowns = registry.shutdowns.saturating_sub(1);
    drop(registry);
    // Not before the outermost one is done, where a callback of its leaves too.
    if let Some(myself) = myself.filter(|_| !again) {
        myself.mark(LEAVING, false);
    }
    result
}

/// The process leaves its daemons behind. Those that end before it does are no leaks, as a race detector is told.
pub(super) fn leave_behind() {
    let registry = REGISTRY.lock();
    let left = registry.alive.iter().chain(registry.ended.iter());
    left.filter(|thread| !thread.is(MAIN | DUMMY | TIMER)).for_each(Thread::leave_behind);
}

/// Waits for the end of all threads that are not daemons, but for those that are leaving; then nothing can be
/// started any more. False if the time ran out.
pub(crate) fn join_others(deadline: Deadline) -> bool {
    loop {
        let mut registry = REGISTRY.lock();
        let seen = CHANGES.load(Ordering::Relaxed);
        if !registry.alive.iter().any(|thread| !thread.is(DAEMON | MAIN | LEAVING)) {
            // A race detector calls a leak what has ended and was not joined.
            let nobody_joins = if detector::watches() { MAIN | LEAVING } else { DAEMON | MAIN | LEAVING };
            let Some(ended) = registry.ended.iter().find(|thread| !thread.is(nobody_joins)) else {
                registry.closed = true;
                happens_after(&CHANGES);
                return true;
            };
            // In its last destructor: not long any more.
            let Ok(kept) = ended.handle().keep() else { continue };
            drop(registry);
            let over = ended.join(deadline);
            kept.let_go();
            if over != Ok(true) {
                return false;
            }
        } else {
            drop(registry);
            let until = dispatcher::attend(deadline);
            if !park::wait(&CHANGES, seen, until) && until == deadline {
                return false;
            }
        }
    }
}

/// Before each run of a model.
#[cfg(model)]
pub(super) fn reset() {
    *REGISTRY.lock() = Registry::NEW;
}

/// Holds the registry across a fork.
pub(crate) fn hold() {
    REGISTRY.hold();
}

/// Gives back what `hold` took.
///
/// # Safety
/// As for `Guarded::let_go`.
pub(crate) unsafe fn let_go() {
    // SAFETY: the caller's promise.
    unsafe { REGISTRY.let_go() };
}

/// In a child of fork: the calling thread is the main one, and alone. All others are over, and leave behind
/// what they had.
pub(crate) fn begin_child() {
    let me = per_thread::with(|mine| mine.thread.get());
    let mut registry = REGISTRY.lock();
    registry.shutdowns = 0;
    registry.timers.begin_child();
    UNREAPED.store(0, Ordering::Relaxed);
    let mut heir = Handle::<Thread>::from_bits(me).check().ok().map(|(thread, _)| thread);
    if heir.is_none() && registry.main_ident == identity::ident() {
        // SAFETY: the registry keeps it.
        heir = unsafe { registry.main.as_ref() };
    }
    registry.main_ident = identity::ident();
    let mut others = List { first: ptr::null() };
    for list in [ptr::from_mut(&mut registry.alive), ptr::from_mut(&mut registry.ended)] {
        // SAFETY: two fields of the registry, which is held.
        let list = unsafe { &mut *list };
        while let Some(thread) = list.pop() {
            if heir.is_none_or(|heir| !ptr::eq(heir, thread)) {
                others.push_back(thread);
            }
        }
    }
    registry.count = 0;
    registry.main = ptr::null();
    if let Some(heir) = heir {
        heir.lives_on();
        if heir.mark(TIMER, false)
            && let Ok(_itself) = heir.handle().keep()
        {
            // It has no timer any more that keeps it.
            pending::abandon(heir);
        }
        heir.mark(MAIN, true);
        heir.mark(LEAVING, false);
        if heir.mark(DUMMY, false) {
            heir.mark(DAEMON, false);
            heir.mark(NAMED, true);
            heir.number.store(0, Ordering::Relaxed);
            heir.name.store(ptr::null_mut(), Ordering::Release);
        }
        heir.set_native_id(identity::native_id() as u32);
        registry.main = heir;
        registry.alive.push_back(heir);
        registry.count = 1;
    }
    drop(registry);
    while let Some(thread) = others.pop() {
        thread.set_destroy(None);
        let state = thread.state();
        thread.end();
        if thread.is(TIMER) && state == ALIVE {
            // Its timer keeps it, and itself.
            pending::abandon(thread);
        } else if !thread.is(MAIN) {
            // The parent's main thread was nobody's to free, and its handle may be anywhere.
            thread.handle().let_go();
        }
    }
}
