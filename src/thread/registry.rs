//! Who is alive: all threads that have been started and are not over, timers and dummies included.
//!
//! A thread stands in one of two lists. `alive`: from the moment of its start, in that order, main first.
//! `ended`: its last destructor has begun, but its stack and its entry have not been reclaimed. `enumerate` shows the
//! first list; exit waits for both.
//!
//! # Ended threads that no one joins
//!
//! Each start reclaims one or two that are gone. Each thread does the same at its end, if more stacks are mapped than are to
//! be kept: those of threads in `ended` count among the kept ones, and make room for each other there. A thread is
//! looked at in turn, so that one whose end is slow holds up none of the others. If the stacks of threads that are slow to end are too many, the *reaper* is started: a thread that looks at all of them time and
//! again, in pauses of [`REAPER_PAUSE`] and more, until there are few enough.
//!
//! # Dummies
//!
//! A dummy leaves the list by the destructor that announces its thread's end. One whose thread first asked who it is
//! in the midst of its end may not be announced any more: a *ghost*. It is recognized by the kernel's number of the
//! thread. `count` and `snapshot` look at all dummies whose end has begun (`ENDING`), and at [`LOOKS`] other entries
//! in turn.
//!
//! The guard of the lists is also that of whatever changes together with them: the pending timers, and the
//! numbers that a start gives out. So the start of a timer is one step, and its end another.

use crate::sys::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use core::ffi::c_void;
use core::ptr;

use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::panic_boundary::contain;
use crate::sync::mutex::{Forget, Guard, Guarded};
use crate::sys::annotate;
use crate::sys::annotate::{happens_after, happens_before};
use crate::sys::futex;
use crate::sys::pthread;
use crate::sys::tls;
use crate::thread::ident::Idents;
use crate::thread::names::Numbers;
use crate::thread::object::{
    ALIVE, ASKED, DAEMON, DUMMY, ENDED, ENDING, GONE, JOINABLE, LEAVING, MAIN, NAMED, NEW, OVER, STARTING,
    TIMER, Thread,
};
use crate::thread::{ident, stack_cache};
use crate::time::Deadline;
use crate::timer::queue::Timers;
use crate::timer::{ending, object as timer_object, worker};

/// See the module.
pub(crate) struct Registry {
    alive: List,
    ended: List,
    count: usize,
    /// How many of `alive` a shutdown waits for.
    awaited: usize,
    /// The entry of `alive` at which the next search for ghosts begins.
    looked_at: *const Thread,
    /// How many dummies are `ENDING`.
    ending_dummies: usize,
    /// The reaper runs.
    reaped: bool,
    main: *const Thread,
    /// The process is past its shutdown: nothing can be started any more.
    closed: bool,
    /// How many shutdowns look at the lists, and sleep until something changes.
    shutdowns: u32,
    idents: Idents,
    numbers: Numbers,
    pub(crate) timers: Timers,
}

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_own"))]
static REGISTRY: Guarded<Registry> = Guarded::new(Registry::NEW);

/// How many threads are in the list of those that have ended: a hint for `start`. Changed under the guard.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_own"))]
static UNREAPED: AtomicUsize = AtomicUsize::new(0);

/// Changes, under the guard, whenever a shutdown should look again; slept on by it.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_own"))]
static CHANGES: AtomicU32 = AtomicU32::new(0);

/// The number of the main thread; another one in a child of fork.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_own"))]
static MAIN_IDENT: AtomicU64 = AtomicU64::new(ident::FIRST_THREAD);

// SAFETY: the threads in the lists are kept alive by the registry's entries, and are shared objects.
unsafe impl Send for Registry {}

impl Forget for Registry {
    fn forget(&mut self) {
        // The memory of the timers' heap may be in the middle of a move. `begin_child` resets the rest.
        core::mem::forget(core::mem::replace(&mut self.timers, Timers::NONE));
    }
}

/// A circular list through `Thread::next` and `previous`.
struct List {
    first: *const Thread,
}

impl List {
    #[inline(always)]
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

    #[inline(always)]
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

    /// The first one, which becomes the last one.
    fn rotate(&mut self) -> Option<&'static Thread> {
        // SAFETY: as above.
        let first = unsafe { self.first.as_ref() }?;
        self.first = first.next.get();
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
    fn main(&mut self) -> Result<&'static Thread> {
        if self.main.is_null() {
            let (main, _) = Thread::create_kept(MAIN | NAMED, None, ptr::null_mut())?.check()?;
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
    fn leave(&mut self, thread: &'static Thread) {
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

    /// A dummy's first question may come so late in its thread's end that the end cannot be announced any
    /// more.
    fn drop_ghosts(&mut self) {
        if self.ending_dummies > 0 {
            loop {
                let is_ending_ghost = |thread: &&Thread| thread.is(ENDING) && is_ghost(thread);
                let Some(ghost) = self.alive.iter().find(is_ending_ghost) else { break };
                self.drop_ghost(ghost);
            }
        }
        for _ in 0..LOOKS.min(self.count) {
            // SAFETY: threads in the list are valid; `leave` moves the place on.
            let place = unsafe { self.looked_at.as_ref().or(self.alive.first.as_ref()) };
            let Some(thread) = place else { return };
            self.looked_at = thread.next.get();
            if is_ghost(thread) {
                self.drop_ghost(thread);
            }
        }
    }

    fn drop_ghost(&mut self, ghost: &'static Thread) {
        self.leave(ghost);
        ghost.end();
        ghost.handle().let_go();
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
            JOINABLE => Some(thread.handle().keep().map_or(Ended::NotYet, |_| Ended::Joinable(thread))),
            _ => Some(Ended::NotYet),
        }
    }

    /// It leaves the list of those that have ended.
    fn leave_ended(&mut self, thread: &'static Thread) {
        self.ended.remove(thread);
        UNREAPED.store(UNREAPED.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
        stack_cache::no_longer_ended(thread.ended_stack_size());
    }
}

/// What `look_at_ended` has found.
enum Ended {
    /// It is gone, and the caller releases what it had.
    Gone(&'static Thread),
    /// Pthread has to be asked; kept by the caller.
    Joinable(&'static Thread),
    NotYet,
}

impl Ended {
    /// When the guard is free. True if the thread's stack has been released.
    fn reclaim(self) -> bool {
        match self {
            Ended::Gone(thread) => {
                thread.give_up_stack();
                true
            }
            Ended::Joinable(thread) => {
                let reclaimed = thread.poll().unwrap_or(false);
                thread.handle().let_go();
                reclaimed
            }
            Ended::NotYet => false,
        }
    }
}

/// Whether a shutdown waits for the thread, if it is alive.
fn is_awaited(thread: &Thread) -> bool {
    !thread.is(DAEMON | MAIN | LEAVING)
}

fn is_ghost(thread: &Thread) -> bool {
    thread.is(DUMMY) && !pthread::has_thread(thread.native_id())
}

/// How many entries a search for ghosts looks at, besides those that are known to end.
const LOOKS: usize = 16;

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
pub(crate) fn lock() -> Guard<'static, Registry> {
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

/// A dummy's thread has begun to end.
pub(crate) fn dummy_ends(dummy: &'static Thread) {
    let mut registry = REGISTRY.lock();
    if !dummy.next.get().is_null() && !dummy.mark(ENDING, true) {
        registry.ending_dummies += 1;
    }
}

/// The system's thread of this one is in its last destructor. Its stack is of this size, 0 if it is not to be counted.
pub(crate) fn ended(thread: &'static Thread, stack_size: usize) {
    let mut registry = REGISTRY.lock();
    registry.leave(thread);
    registry.ended.push_back(thread);
    UNREAPED.store(UNREAPED.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    thread.mark(ENDED, true);
    stack_cache::has_ended(stack_size);
    let shutdown = registry.changed();
    drop(registry);
    News { watched: None, shutdown }.tell();
    if stack_cache::are_too_many() {
        make_room();
    }
}

/// More stacks are mapped than are to be kept.
#[cold]
fn make_room() {
    for _ in 0..AT_ONCE {
        reap_one();
    }
    stack_cache::unmap_surplus();
    if stack_cache::too_many_have_ended() {
        start_reaper();
    }
}

/// How many ended threads a start, or another thread at its end, looks at.
const AT_ONCE: usize = 2;
/// The reaper's first pause, and its longest, in nanoseconds.
const REAPER_PAUSE: u64 = 1_000_000;
const LONGEST_REAPER_PAUSE: u64 = 250_000_000;

/// False if the list of ended threads is empty.
fn reap_one() -> bool {
    let found = REGISTRY.lock().look_at_ended();
    found.is_some_and(|found| {
        found.reclaim();
        true
    })
}

/// Reaps a thread or two that have ended and that nobody has joined, so that they do not pile up.
pub(crate) fn reap_some() {
    // What a thread has done would happen before all that the caller does, in the eyes of a race detector: there
    // as many as it can count may pile up.
    let may_wait = if annotate::watches() { 1000 } else { 0 };
    for _ in 0..AT_ONCE {
        if UNREAPED.load(Ordering::Relaxed) <= may_wait || !reap_one() {
            return;
        }
    }
}

/// Reaps all threads that have ended and are gone. True if there were any.
pub(crate) fn reap_all() -> bool {
    let mut any = false;
    for _ in 0..UNREAPED.load(Ordering::Relaxed) {
        let found = REGISTRY.lock().look_at_ended();
        let Some(found) = found else { break };
        any |= found.reclaim();
    }
    any
}

/// If the thread cannot be created, the next thread that ends tries again.
fn start_reaper() {
    if cfg!(model) || annotate::watches() {
        return;
    }
    let mut registry = REGISTRY.lock();
    let starts = !core::mem::replace(&mut registry.reaped, true);
    drop(registry);
    if starts && pthread::start_helper(reap_in_pauses).is_err() {
        REGISTRY.lock().reaped = false;
    }
}

extern "C-unwind" fn reap_in_pauses(_: *mut c_void) -> *mut c_void {
    pthread::set_name(None, c"threading-reap");
    let mut pause = REAPER_PAUSE;
    while contain(reap_as_long_as_needed) != Some(false) {
        let never_changes = AtomicU32::new(0);
        futex::wait(&never_changes, 0, Deadline::now().after(pause));
        pause = (2 * pause).min(LONGEST_REAPER_PAUSE);
    }
    ptr::null_mut()
}

/// False if the reaper is not needed any more.
fn reap_as_long_as_needed() -> bool {
    reap_all();
    let mut registry = REGISTRY.lock();
    registry.reaped = stack_cache::too_many_have_ended();
    registry.reaped
}

pub(crate) fn main_thread() -> Result<Handle<Thread>> {
    Ok(REGISTRY.lock().main()?.handle())
}

/// Whether the caller is the main thread, by its number.
pub(crate) fn is_main(ident: u64) -> bool {
    MAIN_IDENT.load(Ordering::Acquire) == ident
}

/// A thread that this library did not start asks who it is.
pub(crate) fn add_dummy(ident: u64) -> Result<Handle<Thread>> {
    let mut registry = REGISTRY.lock();
    // First what may be refused: a dummy that is not entered here would be nobody's.
    registry.main()?;
    let (dummy, _) = Thread::create_kept(DUMMY | DAEMON, None, ptr::null_mut())?.check()?;
    dummy.set_ident(ident);
    dummy.set_native_id(ident::native_id() as u32);
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

/// Does something on the way out, by exit or shutdown, in which nobody else on that way waits for the caller.
pub(crate) fn leaving<R>(f: impl FnOnce() -> R) -> R {
    // The handle of the current thread, if it has one: a dummy is a daemon anyway.
    let me = tls::with(|mine| mine.thread.get());
    let myself = Handle::<Thread>::from_bits(me).check().ok().map(|(thread, _)| thread);
    // This frame is the name of what leaves here.
    let frame = 0_u8;
    let name = &raw const frame as usize;
    ending::leave_endings(name);
    // Those that are there already have one less to wait for.
    let (again, shutdown) = {
        let mut registry = REGISTRY.lock();
        let again = myself.is_some_and(|myself| registry.set_leaving(myself, true));
        registry.shutdowns += 1;
        (again, registry.changed())
    };
    News { watched: None, shutdown }.tell();
    let result = f();
    ending::return_to_endings(name);
    let mut registry = REGISTRY.lock();
    // A callback or a signal handler may have forked meanwhile, and this be the child, which counts anew.
    registry.shutdowns = registry.shutdowns.saturating_sub(1);
    // Not before the outermost one is done, where a callback of its leaves too.
    if let Some(myself) = myself.filter(|_| !again) {
        registry.set_leaving(myself, false);
    }
    drop(registry);
    result
}

/// The process leaves its daemons behind. Those that end before it does are no leaks, as a race detector is told.
pub(crate) fn leave_behind() {
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
        if registry.awaited == 0 {
            // A race detector calls a leak what has ended and was not joined.
            let nobody_joins = if annotate::watches() { MAIN | LEAVING } else { DAEMON | MAIN | LEAVING };
            // One that is over is about to leave the list.
            let is_joined = |thread: &&Thread| !thread.is(nobody_joins) && thread.state() != OVER;
            let Some(ended) = registry.ended.iter().find(is_joined) else {
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
            let until = worker::attend(deadline);
            if !futex::wait(&CHANGES, seen, until) && until == deadline {
                return false;
            }
        }
    }
}

/// Before each run of a model.
#[cfg(model)]
pub(crate) fn reset() {
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

/// As `let_go`, in a child of fork.
///
/// # Safety
/// As for `Guarded::renew`.
pub(crate) unsafe fn renew() {
    // SAFETY: the caller's promise.
    unsafe { REGISTRY.renew() };
}

/// In a child of fork: the calling thread is the main one, and alone. The others are over, which their numbers tell when a
/// caller asks (`Thread::state`): the child visits none of them here.
pub(crate) fn begin_child() {
    let me = tls::with(|mine| mine.thread.get());
    let mut registry = REGISTRY.lock();
    // Not `shutdowns`: the calling thread may be in one, and a count that is too high costs a wake-up for each change.
    registry.idents = Idents::NONE;
    registry.timers.begin_child();
    UNREAPED.store(0, Ordering::Relaxed);
    registry.looked_at = ptr::null();
    registry.ending_dummies = 0;
    registry.reaped = false;
    let mut heir = Handle::<Thread>::from_bits(me).check().ok().map(|(thread, _)| thread);
    if heir.is_none() && is_main(ident::ident()) {
        // SAFETY: the registry keeps it.
        heir = unsafe { registry.main.as_ref() };
    }
    MAIN_IDENT.store(ident::ident(), Ordering::Release);
    registry.alive.first = ptr::null();
    registry.ended.first = ptr::null();
    registry.count = 0;
    registry.awaited = 0;
    registry.main = ptr::null();
    ident::begin_child();
    if let Some(heir) = heir {
        heir.lives_on();
        if heir.mark(TIMER, false)
            && let Ok(_itself) = heir.handle().keep()
        {
            // It has no timer any more that keeps it.
            timer_object::abandon(heir);
        }
        heir.mark(MAIN, true);
        heir.mark(LEAVING, false);
        if heir.mark(DUMMY, false) {
            heir.mark(DAEMON, false);
            heir.mark(NAMED, true);
            heir.number.store(0, Ordering::Relaxed);
            heir.names.begin_anew();
        }
        heir.set_native_id(ident::native_id() as u32);
        registry.main = heir;
        registry.alive.push_back(heir);
        registry.count = 1;
    }
}
