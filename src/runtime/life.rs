//! What runs: the slot of a thread, and the stations of its life.
//!
//! # State (`state`, slept on by those who join)
//!
//! | from | to | by | ordering |
//! |---|---|---|---|
//! | `NEW` | `STARTING` | start, under the registry's guard; the winner alone goes on | acquire and release |
//! | `STARTING` | `NEW` | start, when the system refuses, under the registry's guard | release |
//! | `STARTING` | `ALIVE` | start, when the system's thread exists, or the timer is pending | release |
//! | `NEW` | `ALIVE` | a timer's own start, under the registry's guard; main and dummies, when they are made | release |
//! | `ALIVE` | `REAPING` | whoever waits for the end of the system's thread; one at a time | acquire |
//! | `REAPING` | `ALIVE` | the same, when its time ran out | release |
//! | `REAPING` | `OVER` | the same, when the system's thread has ended | release |
//! | `ALIVE` | `OVER` | a timer's end, under the registry's guard; main's, at the shutdown; a dummy's; and all but one thread's, in a child of fork | release |
//!
//! Joiners read `OVER` with acquire: whatever the thread did happens before. A change that nobody watches need
//! not wake anybody. Watchers announce themselves under the registry's guard, so that a change under that
//! guard (`change_guarded`) knows of them by it; the other changes are sequentially consistent for that: see
//! `tell_watchers`.
//!
//! `flags` say what it is and what has happened; each is set once, by the one named with it, with release.
//!
//! The words `extra` and `outcome` serve two purposes one after the other, so that a thread fits two cache
//! lines and a million pending timers fit the memory: see their accessors.

use crate::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use core::cell::Cell;
use core::ffi::c_void;
use core::ptr;

use super::stacks::{self, Stack};
use super::{dispatcher, registry, system};
use crate::detector::{self, happens_after, happens_before};
use crate::error::Result;
use crate::handle::header::Header;
use crate::handle::{Handle, Kind};
use crate::park;
use crate::time::Deadline;

/// What a thread or a timer runs.
pub type Target = unsafe extern "C-unwind" fn(arg: *mut c_void) -> *mut c_void;
/// What it runs instead, if that was overridden. The first argument is the handle.
pub type Run = unsafe extern "C-unwind" fn(thread: *mut c_void, arg: *mut c_void) -> *mut c_void;
/// Releases an argument or a value.
pub type Destructor = unsafe extern "C-unwind" fn(value: *mut c_void);

pub(crate) const NEW: u32 = 0;
pub(crate) const STARTING: u32 = 1;
pub(crate) const ALIVE: u32 = 2;
pub(crate) const REAPING: u32 = 3;
pub(crate) const OVER: u32 = 4;

/// Does not keep the process from ending. Set up before start.
pub(crate) const DAEMON: u32 = 1;
/// The main thread. From its creation, or in a child of fork.
pub(crate) const MAIN: u32 = 2;
/// A thread that this library did not start. From its creation.
pub(crate) const DUMMY: u32 = 4;
/// The thread of a timer. From its creation.
pub(crate) const TIMER: u32 = 8;
/// Will not run: its timer was cancelled before the start. By whoever did that.
pub(crate) const CANCELLED: u32 = 16;
/// Run has returned: `outcome` is the result. By the thread.
pub(crate) const RETURNED: u32 = 32;
/// The last of the thread's destructors runs. By the thread.
pub(crate) const ENDED: u32 = 64;
/// In exit or shutdown, and not to be waited for there. By the thread.
pub(crate) const LEAVING: u32 = 128;
/// Its timer is gone, but was not cancelled: `extra` is the interval. By the timer.
pub(crate) const ORPHAN: u32 = 512;
/// Somebody waits for its state to change. By the waiter, before it sleeps, under the registry's guard.
const WATCHED: u32 = 1024;
/// Its argument has been destroyed, which is done once, whatever destructors are set. By whoever does it.
const DESTROYED: u32 = 2048;
/// Somebody has asked for the number of its default name. By whoever does, under the registry's guard.
pub(super) const ASKED: u32 = 4096;
/// Somebody has named it.
pub(crate) const NAMED: u32 = 256;

/// Somebody waits for the native id.
const AWAITED: u32 = u32::MAX;

/// A thread of control: Python's `threading.Thread`.
#[repr(C, align(128))]
pub struct Thread {
    header: Header,
    state: AtomicU32,
    flags: AtomicU32,
    native_id: AtomicU32,
    /// N of its default name, 0 as long as it has none. `name`.
    pub(crate) number: AtomicU32,
    ident: AtomicU64,
    extra: AtomicUsize,
    target: AtomicPtr<c_void>,
    arg: AtomicPtr<c_void>,
    destroy: AtomicPtr<c_void>,
    outcome: AtomicPtr<c_void>,
    /// Its neighbours in one of the registry's lists, under the registry's guard.
    pub(super) next: Cell<*const Thread>,
    pub(super) previous: Cell<*const Thread>,
    /// The current name, and all names that it has had. `name`.
    pub(crate) name: AtomicPtr<c_void>,
    pub(crate) names: AtomicPtr<c_void>,
}

// SAFETY: the cells are used under the registry's guard.
unsafe impl Sync for Thread {}

// SAFETY: zero is a new thread without anything to run; all of it is shareable; it begins with its header.
unsafe impl Kind for Thread {
    const INDEX: usize = 0;

    fn header(&self) -> &Header {
        &self.header
    }

    fn let_go(&self) {
        // A thread that was started keeps itself until it is over: this one never was, or its argument is
        // gone already.
        if self.state() == NEW {
            self.destroy_arg();
        }
    }

    fn clear(&self) {
        super::name::forget(self);
    }
}

/// A target and its argument, apart from the thread that has them, which may be gone when it is called.
#[repr(C)]
pub(crate) struct Task {
    target: Option<Target>,
    arg: *mut c_void,
}

impl Task {
    /// # Safety
    /// Target and argument go together, as whoever made the thread promised. This frame may be left by
    /// `pthread_exit`.
    pub(crate) unsafe extern "C-unwind" fn run(self) -> *mut c_void {
        match self.target {
            // SAFETY: the caller's promise.
            Some(target) => unsafe { target(self.arg) },
            None => ptr::null_mut(),
        }
    }
}

fn function(word: &AtomicPtr<c_void>) -> Option<*mut c_void> {
    let function = word.load(Ordering::Acquire);
    (!function.is_null()).then_some(function)
}

impl Thread {
    /// A thread that has not been started; one reference is the caller's.
    pub(crate) fn create(flags: u32, target: Option<Target>, arg: *mut c_void) -> Result<Handle<Thread>> {
        Handle::create(0, Self::build(flags, target, arg))
    }

    /// As `create`, but the reference is the library's.
    pub(crate) fn create_kept(
        flags: u32,
        target: Option<Target>,
        arg: *mut c_void,
    ) -> Result<Handle<Thread>> {
        Handle::create_kept(0, Self::build(flags, target, arg))
    }

    fn build(flags: u32, target: Option<Target>, arg: *mut c_void) -> impl FnOnce(&'static Thread, u64) {
        move |thread, _| {
            thread.state.store(NEW, Ordering::Relaxed);
            thread.flags.store(flags, Ordering::Relaxed);
            thread.native_id.store(0, Ordering::Relaxed);
            thread.number.store(0, Ordering::Relaxed);
            thread.ident.store(0, Ordering::Relaxed);
            thread.extra.store(0, Ordering::Relaxed);
            thread
                .target
                .store(target.map_or(ptr::null_mut(), |target| target as *mut c_void), Ordering::Relaxed);
            thread.arg.store(arg, Ordering::Relaxed);
            thread.destroy.store(ptr::null_mut(), Ordering::Relaxed);
            thread.outcome.store(ptr::null_mut(), Ordering::Relaxed);
            thread.name.store(ptr::null_mut(), Ordering::Relaxed);
            thread.names.store(ptr::null_mut(), Ordering::Relaxed);
        }
    }

    pub(crate) fn handle(&'static self) -> Handle<Thread> {
        Handle::of(self)
    }

    pub(crate) fn state(&self) -> u32 {
        self.state.load(Ordering::Acquire)
    }

    pub(crate) fn is(&self, flag: u32) -> bool {
        self.flags.load(Ordering::Acquire) & flag != 0
    }

    /// Sets or clears flags; true if any of them was set before.
    pub(crate) fn mark(&self, flag: u32, set: bool) -> bool {
        let before = if set {
            self.flags.fetch_or(flag, Ordering::AcqRel)
        } else {
            self.flags.fetch_and(!flag, Ordering::AcqRel)
        };
        before & flag != 0
    }

    /// From one state to another, waking those who wait for that; false if it was in a third one.
    pub(crate) fn go(&self, from: u32, to: u32) -> bool {
        let gone = self.state.compare_exchange(from, to, Ordering::SeqCst, Ordering::Acquire).is_ok();
        if gone && to != STARTING && to != REAPING {
            self.tell_watchers();
        }
        gone
    }

    /// Either the watcher's mark is seen here, or the watcher, looking after it has made the mark, sees the
    /// new state: both are sequentially consistent.
    fn tell_watchers(&self) {
        if self.flags.load(Ordering::SeqCst) & WATCHED != 0 {
            park::wake_all(&self.state);
        }
    }

    /// Its life is over, wherever it was; true for the one call that ends it.
    pub(crate) fn end(&self) -> bool {
        happens_before(self);
        let ended = self.state.swap(OVER, Ordering::SeqCst) != OVER;
        self.tell_watchers();
        ended
    }

    /// Changes the state under the registry's guard, where no other change of it can be. True if somebody
    /// watches, who must be woken when the guard is free.
    pub(super) fn change_guarded(&self, state: u32) -> bool {
        happens_before(self);
        self.state.store(state, Ordering::Release);
        self.is(WATCHED)
    }

    /// Whether a thread waits for its state to change.
    pub(super) fn is_watched(&self) -> bool {
        self.is(WATCHED)
    }

    /// The wake-up that `change_guarded` asked for. The state does not depend on the slot's content any more.
    pub(super) fn wake_watchers(&self) {
        park::wake_all(&self.state);
    }

    /// Waits until the state is another than this one. False if the time ran out.
    pub(crate) fn wait_while(&self, state: u32, deadline: Deadline) -> bool {
        if self.state() != state {
            return true;
        }
        registry::guarded(|| self.flags.fetch_or(WATCHED, Ordering::SeqCst));
        while self.state() == state {
            let until = if self.is(TIMER) { dispatcher::attend(deadline) } else { deadline };
            if !park::wait(&self.state, state, until) && until == deadline {
                return self.state() != state;
            }
        }
        true
    }

    pub(crate) fn ident(&self) -> u64 {
        self.ident.load(Ordering::Acquire)
    }

    pub(crate) fn set_ident(&self, ident: u64) {
        self.ident.store(ident, Ordering::Release);
    }

    /// The kernel's number, 0 as long as it has none.
    pub(crate) fn native_id(&self) -> u32 {
        match self.native_id.load(Ordering::Acquire) {
            AWAITED => 0,
            id => id,
        }
    }

    pub(crate) fn set_native_id(&self, id: u32) {
        if self.native_id.swap(id, Ordering::AcqRel) == AWAITED {
            park::wake_all(&self.native_id);
        }
    }

    /// As `set_native_id`, for a timer's thread, whose number no thread waits for.
    pub(super) fn set_native_id_unawaited(&self, id: u32) {
        self.native_id.store(id, Ordering::Release);
    }

    /// The kernel's number of a thread that has been started, and will have one in a moment.
    pub(crate) fn await_native_id(&self) -> u32 {
        loop {
            match self.native_id.load(Ordering::Acquire) {
                0 => drop(self.native_id.compare_exchange(0, AWAITED, Ordering::AcqRel, Ordering::Acquire)),
                AWAITED => drop(park::wait(&self.native_id, AWAITED, Deadline::NEVER)),
                id => return id,
            }
        }
    }

    /// Before start: the size of the stack. Afterwards: the stack, and with it the system's thread. A timer's:
    /// the timer's handle, or, the timer being gone, its interval.
    pub(crate) fn extra(&self) -> usize {
        self.extra.load(Ordering::Acquire)
    }

    pub(crate) fn set_extra(&self, extra: usize) {
        self.extra.store(extra, Ordering::Release);
    }

    pub(crate) fn set_stack(&self, stack: &'static Stack) {
        self.set_extra(ptr::from_ref(stack) as usize);
    }

    /// What its system thread runs on.
    ///
    /// # Safety
    /// It has a system thread: it has been started, and is neither main nor a dummy nor a timer's.
    pub(super) unsafe fn stack(&self) -> &'static Stack {
        // SAFETY: `set_stack` stored it; records of stacks are valid for ever.
        unsafe { &*(self.extra() as *const Stack) }
    }

    pub(crate) fn arg(&self) -> *mut c_void {
        self.arg.load(Ordering::Acquire)
    }

    pub(crate) fn set_destroy(&self, destroy: Option<Destructor>) {
        self.destroy
            .store(destroy.map_or(ptr::null_mut(), |destroy| destroy as *mut c_void), Ordering::Release);
    }

    /// Whether the argument's destructor is to be called yet. Set up before start only.
    pub(crate) fn owes_destruction(&self) -> bool {
        !self.destroy.load(Ordering::Acquire).is_null() && !self.is(DESTROYED)
    }

    /// Calls the argument's destructor, if there is one and nobody has.
    pub(crate) fn destroy_arg(&self) {
        if !self.owes_destruction() {
            return;
        }
        let destroy = self.destroy.swap(ptr::null_mut(), Ordering::AcqRel);
        if !destroy.is_null() && !self.arg().is_null() && !self.mark(DESTROYED, true) {
            // SAFETY: `set_destroy` stored a `Destructor`; whoever set it promised that it takes the
            // argument.
            let destroy = unsafe { core::mem::transmute::<*mut c_void, Destructor>(destroy) };
            // SAFETY: as above.
            system::callback(|| unsafe { destroy(self.arg()) });
        }
    }

    /// Before it runs, `outcome` is the override of run; afterwards, the result.
    pub(crate) fn set_run(&self, run: Option<Run>) {
        self.outcome.store(run.map_or(ptr::null_mut(), |run| run as *mut c_void), Ordering::Release);
    }

    pub(crate) fn result(&self) -> *mut c_void {
        if self.is(RETURNED) { self.outcome.load(Ordering::Acquire) } else { ptr::null_mut() }
    }

    /// Run is over, by returning or otherwise.
    pub(crate) fn set_result(&self, result: *mut c_void) {
        self.outcome.store(result, Ordering::Release);
        self.mark(RETURNED, true);
    }

    /// What the thread does if that is not overridden.
    pub(crate) fn task(&self) -> Task {
        // SAFETY: `create` stored a `Target`.
        let target = function(&self.target)
            .map(|target| unsafe { core::mem::transmute::<*mut c_void, Target>(target) });
        Task { target, arg: self.arg() }
    }

    /// Where the code lies that `run_or_override` calls; 0 if there is none.
    pub(super) fn function_address(&self) -> usize {
        function(&self.outcome).or_else(|| function(&self.target)).map_or(0, |code| code.addr())
    }

    /// Runs the override, or else the target.
    ///
    /// # Safety
    /// As for `Task::run`; called once, by the thread itself.
    pub(crate) unsafe extern "C-unwind" fn run_or_override(&'static self) -> *mut c_void {
        match function(&self.outcome) {
            Some(run) => {
                let this = self.handle().bits() as *mut c_void;
                // SAFETY: `set_run` stored a `Run`; the caller's promise.
                unsafe { core::mem::transmute::<*mut c_void, Run>(run)(this, self.arg()) }
            }
            // SAFETY: the caller's promise.
            None => unsafe { self.task().run() },
        }
    }

    /// Waits for the end of the thread, whatever kind it is. False if the time ran out. The caller has pinned
    /// the slot.
    pub(crate) fn join(&'static self, deadline: Deadline) -> Result<bool> {
        let has_system_thread = !self.is(MAIN | TIMER | DUMMY);
        loop {
            match self.state() {
                OVER => return Ok(self.is_over()),
                ALIVE if has_system_thread => {
                    if self.go(ALIVE, REAPING) {
                        return self.reap(|stack| self.join_system_thread(stack, deadline));
                    }
                }
                // Waited for in the state that was looked at: had it been read anew, it could be the last.
                state => {
                    if !self.wait_while(state, deadline) {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// Whether the thread has ended; does not wait.
    pub(crate) fn has_ended(&'static self) -> bool {
        let may_reap = self.state() == ALIVE && self.is(ENDED) && !self.is(MAIN | TIMER | DUMMY);
        if may_reap && self.go(ALIVE, REAPING) {
            return self.reap(|stack| self.try_join_system_thread(stack)).unwrap_or(false);
        }
        self.is_over()
    }

    /// Whether its life is over; whatever it did happens before.
    pub(crate) fn is_over(&self) -> bool {
        let over = self.state() == OVER;
        if over {
            happens_after(self);
        }
        over
    }

    /// Race detectors see a thread end in `pthread_join` alone, which knows no time limit: before their eyes it is
    /// called when the thread is gone.
    fn join_system_thread(&self, stack: &Stack, deadline: Deadline) -> Result<Option<*mut c_void>> {
        if detector::watches() && deadline != Deadline::NEVER {
            const NAP: u64 = 1_000_000;
            let native_id = self.await_native_id();
            let nobody = AtomicU32::new(0);
            while system::has_thread(native_id) {
                if deadline.has_passed() {
                    return Ok(None);
                }
                park::wait(&nobody, 0, deadline.min(Deadline::now().after(NAP)));
            }
            return system::join(stack, Deadline::NEVER);
        }
        system::join(stack, deadline)
    }

    fn try_join_system_thread(&self, stack: &Stack) -> Result<Option<*mut c_void>> {
        if detector::watches() {
            return self.join_system_thread(stack, Deadline::now());
        }
        system::try_join(stack)
    }

    /// In `REAPING`: joins the system's thread by this function, and if that succeeds, it is over.
    fn reap(&'static self, join: impl FnOnce(&Stack) -> Result<Option<*mut c_void>>) -> Result<bool> {
        // SAFETY: only threads of the system's come here.
        let stack = unsafe { self.stack() };
        match join(stack) {
            Ok(Some(result)) => {
                stacks::give_back(stack);
                if !self.is(RETURNED) {
                    self.set_result(result);
                }
                registry::remove(self);
                self.end();
                // What the thread had of itself while it ran.
                self.handle().let_go();
                Ok(true)
            }
            other => {
                self.go(REAPING, ALIVE);
                other.map(|_| false)
            }
        }
    }

    /// Nobody will join its system thread any more: the process ends.
    pub(super) fn leave_behind(&'static self) {
        if self.go(ALIVE, REAPING) {
            // SAFETY: only threads of the system's come here.
            system::detach(unsafe { self.stack() });
        }
    }

    /// In a child of fork: the thread that forked is alive there, whatever others of the parent were doing
    /// with it.
    pub(super) fn lives_on(&self) {
        self.state.store(ALIVE, Ordering::Release);
    }
}
