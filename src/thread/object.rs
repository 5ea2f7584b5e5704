//! What runs: the slot of a thread, and the stations of its life.
//!
//! # State (`state`, slept on by those who join)
//!
//! The three low bits are the station:
//!
//! | from | to | by | ordering |
//! |---|---|---|---|
//! | `NEW` | `STARTING` | start, under the registry's guard; the winner alone goes on | acquire and release |
//! | `STARTING` | `NEW` | start, when the system refuses, under the registry's guard | release |
//! | `STARTING` | `ALIVE` | start, when the system's thread exists, or the timer is pending | release |
//! | `NEW` | `ALIVE` | a timer's own start, under the registry's guard; main and dummies, when they are made | release |
//! | `STARTING`, `ALIVE` | `EXITING` | the thread in its last destructor | acquire and release |
//! | `EXITING`, and `STARTING` or `ALIVE` if the end was not announced | `GONE`, which is 0 | the kernel, when the thread has run its last instruction; it wakes one sleeper | as a system call |
//! | `STARTING`, `ALIVE` | `JOINABLE` | the thread in its last destructor, where the kernel does not clear the word; at its begin, if its end cannot be announced either | acquire and release |
//! | `JOINABLE` | `POLLING` | a caller that asks whether the thread is gone; no caller waits in this state | acquire and release |
//! | `POLLING` | `JOINABLE` | the same caller, when the thread is not gone | release |
//! | `POLLING` | `OVER` | the same caller, when it is | release |
//! | `GONE` | `OVER` | a caller that reclaims the stack and the entry; one succeeds | acquire and release |
//! | `ALIVE`, `JOINABLE` | `POLLING` | the process's exit before a race detector's eyes, for good | acquire and release |
//! | `ALIVE` | `OVER` | a timer's end, under the registry's guard; main's, at the shutdown; a dummy's | release |
//! | any but `NEW` | `OVER` | in a child of fork, the first caller that frees a thread which was left behind (`settle`) | release |
//!
//! In a child of fork, a thread of the parent's counts as `OVER` as long as its word says otherwise: see `state`.
//!
//! A thread has ended when its word is `GONE` or `OVER`: every caller reads that for itself, and none waits for
//! another one. The caller that changes `GONE` to `OVER` then releases the stack, the
//! entry in the registry and the thread's reference to itself.
//!
//! The kernel clears the word of threads that have a stack of this library's; they ask for it when they begin, and are
//! detached for pthread. Before a race detector's eyes, which see the end of a thread in `pthread_join` only, and where
//! the kernel refuses that, a thread becomes `JOINABLE` instead, and its joiners ask in pauses of [`SHORTEST_PAUSE`] to
//! [`LONGEST_PAUSE`] from its last destructor on.
//!
//! Above the station, for threads with a system thread:
//!
//! | bit | meaning | who sets it |
//! |---|---|---|
//! | `JOINED` | a caller sleeps, or has slept, until the thread is gone | the first joiner |
//! | `SEVERAL` | another one, too | the others, before they sleep |
//!
//! The kernel wakes one sleeper only. So a caller sleeps without pauses as long as the thread is not `EXITING`, or
//! as long as it is the only one. With the change to `EXITING` the thread wakes all if there are several, and who
//! comes later wakes the first: from then on all of them sleep in pauses, and the one that the kernel wakes wakes
//! the others.
//!
//! Joiners read `GONE` and `OVER` with acquire: whatever the thread did happens before. A change that no thread watches
//! wakes none. A caller that waits for another change, or for the end of main or a timer, sets `WATCHED` under the
//! registry's guard, so that a change under that guard (`change_guarded`) knows of it; the other changes
//! are sequentially consistent for that: see `tell_watchers`.
//!
//! `flags` say what it is and what has happened; each is set once, by the one named with it, with release.
//!
//! The words `extra` and `outcome` serve two purposes one after the other, so that a thread fits two cache
//! lines and a million pending timers fit the memory: see their accessors.

use crate::sys::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use core::cell::Cell;
use core::ffi::c_void;
use core::ptr;

pub(crate) use crate::callbacks::{Destructor, Run, Target};
use crate::error::{Error, Result};
use crate::handle::header::Header;
use crate::handle::{Handle, Kind};
use crate::sys::annotate;
use crate::sys::annotate::{happens_after, happens_before};
use crate::sys::futex;
use crate::sys::pthread;
use crate::sys::pthread::Joined;
use crate::sys::tls;
use crate::thread::stack_cache;
use crate::thread::stack_cache::Stack;
use crate::thread::{ident, registry};
use crate::time::Deadline;
use crate::timer::{object as timer_object, worker};

/// Written by the kernel.
pub(crate) const GONE: u32 = 0;
pub(crate) const NEW: u32 = 1;
pub(crate) const STARTING: u32 = 2;
pub(crate) const ALIVE: u32 = 3;
pub(crate) const EXITING: u32 = 4;
pub(crate) const JOINABLE: u32 = 5;
const POLLING: u32 = 6;
pub(crate) const OVER: u32 = 7;
/// The bits of the station.
const STATION: u32 = 7;
/// A caller sleeps, or has slept, until the thread is gone.
const JOINED: u32 = 8;
/// Another one, too.
const SEVERAL: u32 = 16;

/// How long a joiner sleeps before it looks again, where it may not be woken, in nanoseconds: the first time, and at
/// most.
const SHORTEST_PAUSE: u64 = 50_000;
const LONGEST_PAUSE: u64 = 5_000_000;

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
pub(crate) const ASKED: u32 = 4096;
/// The kernel does not clear its state when it is gone. By the thread, at its begin.
const UNTOLD: u32 = 16384;
/// A dummy whose thread has begun to end. By the thread, under the registry's guard.
pub(crate) const ENDING: u32 = 8192;
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
    pub(crate) next: Cell<*const Thread>,
    pub(crate) previous: Cell<*const Thread>,
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

    fn settle(handle: Handle<Self>) {
        // It keeps itself.
        if let Ok(kept) = handle.keep() {
            if let Ok((thread, _)) = kept.check() {
                thread.settle();
            }
            kept.let_go();
        }
    }

    fn let_go(&self) {
        // A thread that was started keeps itself until it is over: this one never was, or its argument is
        // gone already.
        if self.state() == NEW {
            self.destroy_arg();
        }
    }

    fn clear(&self) {
        crate::thread::names::forget(self);
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

    /// The station.
    #[inline(always)]
    pub(crate) fn state(&self) -> u32 {
        self.station_of(self.state.load(Ordering::Acquire))
    }

    #[inline(always)]
    fn station_of(&self, word: u32) -> u32 {
        let station = word & STATION;
        if ident::is_child() { self.state_in_child(station) } else { station }
    }

    #[cold]
    #[inline(never)]
    fn state_in_child(&self, state: u32) -> u32 {
        if state != NEW && self.is_left_behind() { OVER } else { state }
    }

    /// In a child of fork: it was started in the parent, and does not run here.
    fn is_left_behind(&self) -> bool {
        ident::is_left_behind(self.ident.load(Ordering::Relaxed))
    }

    /// In a child of fork: if it was left behind, it is over, and releases the reference that it had to itself. Its
    /// argument and the values of its locals are left alone. The caller keeps it.
    pub(crate) fn settle(&'static self) {
        if !self.is_left_behind() {
            return;
        }
        let state = self.state.load(Ordering::Acquire) & STATION;
        if state == NEW || !self.end() {
            return;
        }
        self.next.set(ptr::null());
        self.previous.set(ptr::null());
        self.set_destroy(None);
        if self.is(TIMER) && state == ALIVE {
            // Its timer keeps it, and itself.
            timer_object::abandon(self);
        } else if !self.is(MAIN) {
            // The parent's main thread is never freed, and any caller may have its handle.
            self.handle().let_go();
        }
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

    /// Changes the station as `change` says, unless that is `None`; the former word then.
    fn change(&self, change: impl Fn(u32) -> Option<u32>) -> Option<u32> {
        let mut word = self.state.load(Ordering::Acquire);
        loop {
            let changed = word & !STATION | change(word & STATION)?;
            match self.state.compare_exchange_weak(word, changed, Ordering::SeqCst, Ordering::Acquire) {
                Ok(_) => return Some(word),
                Err(now) => word = now,
            }
        }
    }

    /// From one state to another, waking those who wait for that; false if it was in a third one.
    pub(crate) fn go(&self, from: u32, to: u32) -> bool {
        let former = self.change(|station| (station == from).then_some(to));
        if former.is_some() && to != STARTING {
            self.tell_watchers();
        }
        former.is_some()
    }

    /// A start was refused, after which the thread can be started again. Under the registry's guard.
    pub(crate) fn go_back_to_new(&self) {
        let word = self.state.swap(NEW, Ordering::SeqCst);
        self.tell_watchers();
        if word & JOINED != 0 {
            self.wake_joiners();
        }
    }

    /// Either the watcher's mark is seen here, or the watcher, looking after it has made the mark, sees the
    /// new state: both are sequentially consistent.
    fn tell_watchers(&self) {
        if self.flags.load(Ordering::SeqCst) & WATCHED != 0 {
            futex::wake_all(&self.state);
        }
    }

    /// Its life is over, wherever it was; true for the one call that ends it.
    pub(crate) fn end(&self) -> bool {
        happens_before(self);
        let ended = self.state.swap(OVER, Ordering::SeqCst) & STATION != OVER;
        self.tell_watchers();
        ended
    }

    /// Changes the state under the registry's guard, where no other change of it can be. True if somebody
    /// watches, who must be woken when the guard is free.
    #[inline(always)]
    pub(crate) fn change_guarded(&self, state: u32) -> bool {
        happens_before(self);
        self.state.store(state, Ordering::Release);
        self.is(WATCHED)
    }

    /// Whether a thread waits for its state to change.
    pub(crate) fn is_watched(&self) -> bool {
        self.is(WATCHED)
    }

    /// The wake-up that `change_guarded` asked for. The state does not depend on the slot's content any more.
    pub(crate) fn wake_watchers(&self) {
        futex::wake_all(&self.state);
    }

    /// Waits until the state is another than this one. False if the time ran out.
    pub(crate) fn wait_while(&self, state: u32, deadline: Deadline) -> bool {
        if self.state() != state {
            return true;
        }
        registry::guarded(|| self.flags.fetch_or(WATCHED, Ordering::SeqCst));
        loop {
            let word = self.state.load(Ordering::Acquire);
            if self.station_of(word) != state {
                return true;
            }
            let until = if self.is(TIMER) { worker::attend(deadline) } else { deadline };
            if !futex::wait(&self.state, word, until) && until == deadline {
                return self.state() != state;
            }
        }
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
            futex::wake_all(&self.native_id);
        }
    }

    /// As `set_native_id`, for a timer's thread, whose number no thread waits for.
    pub(crate) fn set_native_id_unawaited(&self, id: u32) {
        self.native_id.store(id, Ordering::Release);
    }

    /// The kernel's number of a thread that has been started, and will have one in a moment.
    pub(crate) fn await_native_id(&self) -> u32 {
        loop {
            match self.native_id.load(Ordering::Acquire) {
                0 => drop(self.native_id.compare_exchange(0, AWAITED, Ordering::AcqRel, Ordering::Acquire)),
                AWAITED => drop(futex::wait(&self.native_id, AWAITED, Deadline::NEVER)),
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
    pub(crate) unsafe fn stack(&self) -> &'static Stack {
        // SAFETY: `set_stack` stored it; records of stacks are valid for ever.
        unsafe { &*(self.extra() as *const Stack) }
    }

    /// Of a thread that has ended: the size of its stack, as `Stack::kept_size` says; 0 for others.
    pub(crate) fn ended_stack_size(&self) -> usize {
        // SAFETY: a thread with a system thread that has ended had a stack.
        if self.has_system_thread() { unsafe { self.stack() }.kept_size() } else { 0 }
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
            pthread::callback(|| unsafe { destroy(self.arg()) });
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
    pub(crate) fn function_address(&self) -> usize {
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

    /// Whether it has a system thread of its own, once it has been started.
    pub(crate) fn has_system_thread(&self) -> bool {
        !self.is(MAIN | TIMER | DUMMY)
    }

    /// Waits for the end of the thread, whatever kind it is. False if the time ran out. The caller has pinned
    /// the slot.
    pub(crate) fn join(&'static self, deadline: Deadline) -> Result<bool> {
        if self.state() == OVER {
            return Ok(self.is_over());
        }
        Joining::of(self, || {
            if self.has_system_thread() {
                self.join_system_thread(deadline)
            } else {
                Ok(self.join_other(deadline))
            }
        })
    }

    /// Of main, or a timer.
    fn join_other(&self, deadline: Deadline) -> bool {
        loop {
            match self.state() {
                OVER => return self.is_over(),
                // Waited for in the state that was looked at: had it been read anew, it could be the last.
                state => {
                    if !self.wait_while(state, deadline) {
                        return false;
                    }
                }
            }
        }
    }

    fn join_system_thread(&'static self, deadline: Deadline) -> Result<bool> {
        let _joins = if deadline == Deadline::NEVER { Joins::begin(self)? } else { Joins(None) };
        let mut pause = Pause(SHORTEST_PAUSE);
        let (mut is_first, mut are_several, mut has_expired) = (false, false, false);
        loop {
            let word = self.state.load(Ordering::Acquire);
            let station = self.station_of(word);
            match station {
                GONE | OVER => {
                    if are_several {
                        self.wake_joiners();
                    }
                    if station == GONE {
                        self.reclaim_if_gone();
                    }
                    return Ok(self.is_over());
                }
                NEW => return Err(Error::NotStarted),
                JOINABLE if self.poll()? => continue,
                POLLING if self.seems_gone() => return Ok(true),
                _ => {}
            }
            if has_expired || deadline.has_passed() {
                return Ok(false);
            }
            if matches!(station, JOINABLE | POLLING) {
                let until = pause.next(deadline);
                has_expired = !self.sleep_until_gone(word, until) && until == deadline;
                continue;
            }
            let mark = if is_first || word & JOINED == 0 { JOINED } else { SEVERAL };
            let marked = word | mark;
            if marked != word {
                if self.state.compare_exchange(word, marked, Ordering::SeqCst, Ordering::Relaxed).is_err() {
                    continue;
                }
                is_first |= mark == JOINED;
                if mark == SEVERAL && station == EXITING {
                    // The first one sleeps without pauses, and the kernel may wake the calling thread instead of it.
                    self.wake_joiners();
                }
            }
            are_several = marked & SEVERAL != 0;
            let in_pauses = station == EXITING && are_several;
            let until = if in_pauses { pause.next(deadline) } else { deadline };
            has_expired = !self.sleep_until_gone(marked, until) && until == deadline;
        }
    }

    /// Sleeps as long as the word of a thread with a system thread is this one. False only if the timeout expired, also
    /// by a clock that does not move.
    fn sleep_until_gone(&self, word: u32, until: Deadline) -> bool {
        // Race detectors let signals in between two slices of a wait; before their eyes the kernel clears no word.
        if annotate::watches() {
            futex::wait(&self.state, word, until)
        } else {
            pthread::wait_shared(&self.state, word, until)
        }
    }

    fn wake_joiners(&self) {
        if annotate::watches() {
            futex::wake_all(&self.state);
        } else {
            pthread::wake_shared(&self.state);
        }
    }

    /// By the thread itself, at its begin: has the kernel clear the word at its end, if the thread has a stack of this
    /// library's.
    pub(crate) fn tell_number_and_end(&self) {
        // SAFETY: only threads with a system thread come here.
        let is_ours = unsafe { self.stack() }.place().is_some();
        let mut id = if is_ours { pthread::tell_end_to(&self.state) } else { 0 };
        if id == 0 {
            self.mark(UNTOLD, true);
            id = ident::native_id() as u32;
        }
        self.set_native_id(id);
    }

    /// By the thread itself, in its last destructor, after its entry has moved to the list of those that have ended.
    pub(crate) fn begin_exit(&'static self) {
        // SAFETY: only threads with a system thread come here.
        let stack = unsafe { self.stack() };
        stack.joins.store(ptr::null_mut(), Ordering::Relaxed);
        if stack.place().is_some() && !self.is(RETURNED) {
            self.set_result(pthread::exit_value());
        }
        self.leave_alive(if self.is(UNTOLD) { JOINABLE } else { EXITING });
    }

    /// By the thread itself, at its begin: its end will not be announced.
    pub(crate) fn begin_unannounced(&self) {
        if self.is(UNTOLD) {
            self.leave_alive(JOINABLE);
        }
    }

    fn leave_alive(&self, to: u32) {
        let former = self.change(|station| matches!(station, STARTING | ALIVE).then_some(to));
        if let Some(word) = former {
            if word & SEVERAL != 0 || to == JOINABLE && word & JOINED != 0 {
                self.wake_joiners();
            }
            self.tell_watchers();
        }
    }

    /// Whether the thread has ended; does not wait.
    pub(crate) fn has_ended(&'static self) -> bool {
        match self.state() {
            GONE | OVER => self.is_over(),
            JOINABLE => self.poll().unwrap_or(false),
            POLLING => self.seems_gone(),
            _ => false,
        }
    }

    /// Whether its life is over; whatever it did happens before.
    pub(crate) fn is_over(&self) -> bool {
        let over = matches!(self.state(), GONE | OVER);
        if over {
            happens_after(self);
        }
        over
    }

    /// While another caller asks pthread: whether the thread is gone, and its result known.
    fn seems_gone(&self) -> bool {
        !annotate::watches()
            && self.is(RETURNED)
            && self.native_id() != 0
            && !pthread::has_thread(self.native_id())
    }

    /// Asks pthread whether a thread that is `JOINABLE` is gone, and if so, reclaims what it had. False if it is
    /// not, or if another caller asks.
    pub(crate) fn poll(&'static self) -> Result<bool> {
        let claimed = self.change(|station| (station == JOINABLE).then_some(POLLING));
        if claimed.is_none() {
            return Ok(self.is_over());
        }
        // SAFETY: only threads with a system thread come here.
        let stack = unsafe { self.stack() };
        let result = match self.try_join_system_thread(stack) {
            Joined::Ended(result) => result,
            Joined::Gone => ptr::null_mut(),
            Joined::NotYet => {
                self.change(|station| (station == POLLING).then_some(JOINABLE));
                return Ok(false);
            }
        };
        if !self.is(RETURNED) {
            self.set_result(result);
        }
        registry::remove(self);
        let had_joiners = self.state.load(Ordering::Relaxed) & JOINED != 0;
        self.end();
        if had_joiners {
            self.wake_joiners();
        }
        stack_cache::give_back(stack);
        // What the thread had of itself while it ran.
        self.handle().let_go();
        Ok(true)
    }

    /// Race detectors see a thread end in `pthread_join` alone, which knows no time limit: before their eyes it is
    /// called when the thread is gone.
    fn try_join_system_thread(&self, stack: &Stack) -> Joined {
        // It has had a number since it began; a thread whose end is not announced may be about to get it.
        let id = self.native_id();
        if id == 0 || pthread::has_thread(id) {
            Joined::NotYet
        } else if stack.place().is_some() {
            Joined::Gone
        } else {
            pthread::join(stack)
        }
    }

    /// The kernel says that the thread is gone: true for the one call that releases what it had.
    pub(crate) fn claim_if_gone(&self) -> bool {
        self.state.compare_exchange(GONE, OVER, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    fn reclaim_if_gone(&'static self) {
        if self.claim_if_gone() {
            registry::remove(self);
            self.give_up_stack();
        }
    }

    /// After `claim_if_gone` succeeded, and its entry in the registry is gone.
    pub(crate) fn give_up_stack(&'static self) {
        // SAFETY: only threads with a system thread come here.
        stack_cache::give_back(unsafe { self.stack() });
        // What the thread had of itself while it ran.
        self.handle().let_go();
    }

    /// Nobody will join its system thread any more: the process ends.
    pub(crate) fn leave_behind(&'static self) {
        let claimed = self.change(|station| matches!(station, ALIVE | JOINABLE).then_some(POLLING));
        if claimed.is_some() {
            // SAFETY: only threads of the system's come here.
            pthread::detach(unsafe { self.stack() });
        }
    }

    /// In a child of fork: the thread that forked is alive there, whatever others of the parent were doing
    /// with it.
    pub(crate) fn lives_on(&self) {
        self.state.store(ALIVE, Ordering::Release);
    }
}

/// A thread for whose end the calling thread waits. It lies on the stack of the waiting thread.
struct Joining {
    thread: &'static Thread,
    outer: usize,
}

impl Joining {
    /// Runs the wait. No unwinding leaves it.
    fn of<R>(thread: &'static Thread, wait: impl FnOnce() -> R) -> R {
        let outer = tls::with(|mine| mine.joining.get());
        let joining = Joining { thread, outer };
        tls::with(|mine| mine.joining.set(ptr::from_ref(&joining) as usize));
        let result = wait();
        tls::with(|mine| mine.joining.set(outer));
        result
    }
}

/// In a child of fork: if a signal handler has forked while the calling thread was waiting for the end of threads, those
/// that were left behind are over, so that the waits end.
pub(crate) fn end_joined() {
    let mut at = tls::with(|mine| mine.joining.get()) as *const Joining;
    // SAFETY: those in the list lie on the stack of this thread, in frames that have not returned.
    while let Some(joining) = unsafe { at.as_ref() } {
        joining.thread.settle();
        at = joining.outer as *const Joining;
    }
}

/// How long a joiner sleeps before it looks again.
struct Pause(u64);

impl Pause {
    /// The end of the next pause, which is longer than the one before.
    fn next(&mut self, deadline: Deadline) -> Deadline {
        let until = Deadline::now().after(self.0);
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
        deadline.min(until)
    }
}

/// The calling thread waits, without a limit, for the end of another one.
struct Joins(Option<&'static Stack>);

impl Joins {
    /// An error if that one waits, without a limit, for the end of the calling thread.
    fn begin(joined: &'static Thread) -> Result<Self> {
        let me = Handle::<Thread>::from_bits(tls::with(|mine| mine.thread.get()));
        let Some((me, _)) = me.check().ok().filter(|(me, _)| me.has_system_thread()) else {
            return Ok(Joins(None));
        };
        // SAFETY: the calling thread, which has been started, and has a system thread.
        let joins = Joins(Some(unsafe { me.stack() }));
        joins.set(joined);
        if joined.joins(me) { Err(Error::JoinSelf) } else { Ok(joins) }
    }

    fn set(&self, joined: *const Thread) {
        if let Some(stack) = self.0 {
            // Of two threads that join each other, one at least sees the other's mark.
            stack.joins.store(joined.cast_mut(), Ordering::SeqCst);
        }
    }
}

impl Drop for Joins {
    fn drop(&mut self) {
        self.set(ptr::null());
    }
}

impl Thread {
    /// Whether this thread waits, without a limit, for the end of the other one.
    fn joins(&self, other: &Thread) -> bool {
        if self.state() != ALIVE {
            return false;
        }
        // SAFETY: a thread that is alive and has a system thread has a stack; records of stacks are never unmapped.
        let joined = unsafe { self.stack() }.joins.load(Ordering::SeqCst);
        // The record may serve another thread by now.
        ptr::eq(joined, other) && self.state() == ALIVE
    }
}
