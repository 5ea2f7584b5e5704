//! What runs: the slot of a thread, and the stations of its life. `thread::join` has what waits for its end, and
//! reclaims what it had.
//!
//! # State (`state`, slept on by those who join)
//!
//! The three low bits are the state:
//!
//! | from | to | by | ordering |
//! |---|---|---|---|
//! | `NOT_STARTED` | `STARTING` | start, under the registry's guard; the winner alone goes on | acquire and release |
//! | `STARTING` | `NOT_STARTED` | start, when the system refuses, under the registry's guard | release |
//! | `STARTING` | `RUNNING` | start, when the system's thread exists, or the timer is pending | release |
//! | `NOT_STARTED` | `RUNNING` | a timer's own start, under the registry's guard; main and dummies, when they are made | release |
//! | `STARTING`, `RUNNING` | `EXITING` | the thread in its last destructor | acquire and release |
//! | `EXITING`, and `STARTING` or `RUNNING` if the end was not announced | `TERMINATED`, which is 0 | the kernel, when the thread has run its last instruction; it wakes one sleeper | as a system call |
//! | `STARTING`, `RUNNING` | `AWAITING_POLL` | the thread in its last destructor, where the kernel does not clear the word; at its begin, if its end cannot be announced either | acquire and release |
//! | `AWAITING_POLL` | `POLLING` | a caller that asks whether the thread is gone; no caller waits in this state | acquire and release |
//! | `POLLING` | `AWAITING_POLL` | the same caller, when the thread is not gone | release |
//! | `POLLING` | `DONE` | the same caller, when it is | release |
//! | `TERMINATED` | `DONE` | a caller that reclaims the stack and the entry; one succeeds | acquire and release |
//! | `RUNNING`, `AWAITING_POLL` | `POLLING` | the process's exit before a race detector's eyes, for good | acquire and release |
//! | `RUNNING` | `DONE` | a timer's end, under the registry's guard; main's, at the shutdown; a dummy's | release |
//! | any but `NOT_STARTED` | `DONE` | in a child of fork, the first caller that frees a thread which was left behind (`settle`) | release |
//!
//! In a child of fork, a thread of the parent's counts as `DONE` as long as its word says otherwise: see `state`.
//!
//! A thread has ended when its word is `TERMINATED` or `DONE`: every caller reads that for itself, and none waits for
//! another one. The caller that changes `TERMINATED` to `DONE` then releases the stack, the
//! entry in the registry and the thread's reference to itself.
//!
//! The kernel clears the word of threads that have a stack of this library's; they ask for it when they begin, and are
//! detached for pthread. Before a race detector's eyes, which see the end of a thread in `pthread_join` only, and where
//! the kernel refuses that, a thread becomes `AWAITING_POLL` instead, and its joiners ask in pauses (`thread::join`) from
//! its last destructor on.
//!
//! Above the state, for threads with a system thread:
//!
//! | bit | meaning | who sets it |
//! |---|---|---|
//! | `HAS_JOINER` | a caller sleeps, or has slept, until the thread is gone | the first joiner |
//! | `SEVERAL_JOINERS` | another one, too | the others, before they sleep |
//!
//! The kernel wakes one sleeper only. So a caller sleeps without pauses as long as the thread is not `EXITING`, or
//! as long as it is the only one. With the change to `EXITING` the thread wakes all if there are several, and who
//! comes later wakes the first: from then on all of them sleep in pauses, and the one that the kernel wakes wakes
//! the others.
//!
//! Joiners read `TERMINATED` and `DONE` with acquire: whatever the thread did happens before. A change that no thread watches
//! wakes none. A caller that waits for another change, or for the end of main or a timer, sets `HAS_STATE_WAITERS` under the
//! registry's guard, so that a change under that guard (`set_state_locked`) knows of it; the other changes
//! are sequentially consistent for that: see `wake_state_waiters_if_any`.
//!
//! `flags` say what it is and what has happened; each is set once, by the one named with it, with release.
//!
//! The words `aux` and `run_or_result` serve two purposes one after the other, so that a thread fits two cache
//! lines and a million pending timers fit the memory: see their accessors.

use crate::sys::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use core::cell::Cell;
use core::ffi::c_void;
use core::ptr;

pub(crate) use crate::callbacks::{Destructor, Run, Target};
use crate::error::Result;
use crate::handle::Handle;
use crate::handle::header::Header;
use crate::sys::annotate;
use crate::sys::annotate::{happens_after, happens_before};
use crate::sys::futex;
use crate::sys::pthread;
use crate::thread::ident;
use crate::thread::names;
use crate::thread::names::NameList;
use crate::thread::stack_cache::Stack;
use crate::time::Deadline;

/// Written by the kernel.
pub(crate) const TERMINATED: u32 = 0;
pub(crate) const NOT_STARTED: u32 = 1;
pub(crate) const STARTING: u32 = 2;
pub(crate) const RUNNING: u32 = 3;
pub(crate) const EXITING: u32 = 4;
pub(crate) const AWAITING_POLL: u32 = 5;
pub(super) const POLLING: u32 = 6;
pub(crate) const DONE: u32 = 7;
/// The bits of the state.
pub(super) const STATE_MASK: u32 = 7;
/// A caller sleeps, or has slept, until the thread is gone.
pub(super) const HAS_JOINER: u32 = 8;
/// Another one, too.
pub(super) const SEVERAL_JOINERS: u32 = 16;

/// Does not keep the process from ending. Set up before start.
pub(crate) const DAEMON: u32 = 1;
/// The main thread. From its creation, or in a child of fork.
pub(crate) const MAIN: u32 = 2;
/// A thread that this library did not start. From its creation.
pub(crate) const DUMMY: u32 = 4;
/// The thread of a timer. From its creation.
pub(crate) const TIMER: u32 = 8;
/// Will not run: its timer was cancelled before the start. By whoever did that.
pub(crate) const TIMER_CANCELLED: u32 = 16;
/// Run has returned: `run_or_result` is the result. By the thread.
pub(crate) const HAS_RESULT: u32 = 32;
/// The last of the thread's destructors runs. By the thread.
pub(crate) const ZOMBIE: u32 = 64;
/// In exit or shutdown, and not to be waited for there. By the thread.
pub(crate) const IN_SHUTDOWN: u32 = 128;
/// Its timer is gone, but was not cancelled: `aux` is the interval. By the timer.
pub(crate) const TIMER_FREED: u32 = 512;
/// Somebody waits for its state to change. By the waiter, before it sleeps, under the registry's guard.
pub(super) const HAS_STATE_WAITERS: u32 = 1024;
/// Its argument has been destroyed, which is done once, whatever destructors are set. By whoever does it.
const ARG_DESTROYED: u32 = 2048;
/// Somebody has asked for the number of its default name. By whoever does, under the registry's guard.
pub(crate) const DEFAULT_NAME_SEEN: u32 = 4096;
/// The kernel does not clear its state when it is gone. By the thread, at its begin.
const NOT_CLEARED_BY_KERNEL: u32 = 16384;
/// A dummy whose thread has begun to end. By the thread, under the registry's guard.
pub(crate) const DUMMY_EXITING: u32 = 8192;
/// Somebody has named it.
pub(crate) const NAMED: u32 = 256;

/// Somebody waits for the native id.
const NATIVE_ID_AWAITED: u32 = u32::MAX;

/// A thread. Python: `threading.Thread`.
///
/// It is created with a closure and started once. It has a name, and is a daemon if its creator is one. The end of the
/// process waits for the threads that are not daemons. Releasing the handle of a running thread does not stop it.
///
/// ```
/// use threading::{Error, Thread, Timeout};
///
/// let thread = Thread::new(|| println!("{}", threading::current().unwrap().name().unwrap()))?;
/// thread.set_name(c"worker")?;
/// thread.set_daemon(true)?;
/// assert_eq!(thread.join(Timeout::FOREVER), Err(Error::NotStarted));
/// thread.start()?;
/// assert!(thread.join(Timeout::new(5.0)?)?);
/// assert_eq!(thread.is_alive(), Ok(false));
/// assert_eq!(thread.start(), Err(Error::AlreadyStarted));
/// # Ok::<(), Error>(())
/// ```
#[repr(C, align(128))]
pub struct Thread {
    pub(super) header: Header,
    pub(super) state: AtomicU32,
    pub(super) flags: AtomicU32,
    native_id: AtomicU32,
    /// N of its default name, 0 as long as it has none. `thread::naming`.
    pub(crate) name_number: AtomicU32,
    pub(super) ident: AtomicU64,
    aux: AtomicUsize,
    target: AtomicPtr<c_void>,
    arg: AtomicPtr<c_void>,
    destroy: AtomicPtr<c_void>,
    run_or_result: AtomicPtr<c_void>,
    /// Its neighbours in one of the registry's lists, under the registry's guard.
    pub(crate) next: Cell<*const Thread>,
    pub(crate) previous: Cell<*const Thread>,
    pub(crate) names: NameList,
}

const _: () = assert!(size_of::<Thread>() == names::SLOT);

// SAFETY: the cells are used under the registry's guard.
unsafe impl Sync for Thread {}

/// A target and its argument, apart from the thread that has them, which may be gone when it is called.
#[repr(C)]
pub(crate) struct TargetCall {
    target: Option<Target>,
    arg: *mut c_void,
}

impl TargetCall {
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

fn load_function(word: &AtomicPtr<c_void>) -> Option<*mut c_void> {
    let function = word.load(Ordering::Acquire);
    (!function.is_null()).then_some(function)
}

impl Thread {
    /// A thread that has not been started; one reference is the caller's.
    pub(crate) fn create(flags: u32, target: Option<Target>, arg: *mut c_void) -> Result<Handle<Thread>> {
        Handle::create(0, Self::build(flags, target, arg))
    }

    /// As `create`, but the reference is the library's.
    pub(crate) fn create_with_internal_ref(
        flags: u32,
        target: Option<Target>,
        arg: *mut c_void,
    ) -> Result<Handle<Thread>> {
        Handle::create_with_internal_ref(0, Self::build(flags, target, arg))
    }

    fn build(flags: u32, target: Option<Target>, arg: *mut c_void) -> impl FnOnce(&'static Thread, u64) {
        move |thread, _| {
            thread.state.store(NOT_STARTED, Ordering::Relaxed);
            thread.flags.store(flags, Ordering::Relaxed);
            thread.native_id.store(0, Ordering::Relaxed);
            thread.name_number.store(0, Ordering::Relaxed);
            thread.ident.store(0, Ordering::Relaxed);
            thread.aux.store(0, Ordering::Relaxed);
            thread
                .target
                .store(target.map_or(ptr::null_mut(), |target| target as *mut c_void), Ordering::Relaxed);
            thread.arg.store(arg, Ordering::Relaxed);
            thread.destroy.store(ptr::null_mut(), Ordering::Relaxed);
            thread.run_or_result.store(ptr::null_mut(), Ordering::Relaxed);
            thread.names.begin();
        }
    }

    pub(crate) fn handle(&'static self) -> Handle<Thread> {
        Handle::of(self)
    }

    /// The state.
    #[inline(always)]
    pub(crate) fn state(&self) -> u32 {
        self.state_of(self.state.load(Ordering::Acquire))
    }

    #[inline(always)]
    pub(super) fn state_of(&self, word: u32) -> u32 {
        let state = word & STATE_MASK;
        if ident::is_child() { self.state_in_child(state) } else { state }
    }

    #[cold]
    #[inline(never)]
    fn state_in_child(&self, state: u32) -> u32 {
        if state != NOT_STARTED && self.exists_only_in_parent() { DONE } else { state }
    }

    /// In a child of fork: it was started in the parent, and does not run here.
    pub(super) fn exists_only_in_parent(&self) -> bool {
        ident::exists_only_in_parent(self.ident.load(Ordering::Relaxed))
    }

    pub(crate) fn has_flag(&self, flag: u32) -> bool {
        self.flags.load(Ordering::Acquire) & flag != 0
    }

    /// Sets or clears flags; true if any of them was set before.
    pub(crate) fn set_flag(&self, flag: u32, set: bool) -> bool {
        let before = if set {
            self.flags.fetch_or(flag, Ordering::AcqRel)
        } else {
            self.flags.fetch_and(!flag, Ordering::AcqRel)
        };
        before & flag != 0
    }

    /// Changes the state as `change` says, unless that is `None`; the former word then.
    pub(super) fn fetch_update_state(&self, change: impl Fn(u32) -> Option<u32>) -> Option<u32> {
        let mut word = self.state.load(Ordering::Acquire);
        loop {
            let changed = word & !STATE_MASK | change(word & STATE_MASK)?;
            match self.state.compare_exchange_weak(word, changed, Ordering::SeqCst, Ordering::Acquire) {
                Ok(_) => return Some(word),
                Err(now) => word = now,
            }
        }
    }

    /// From one state to another, waking those who wait for that; false if it was in a third one.
    pub(crate) fn transition(&self, from: u32, to: u32) -> bool {
        let former = self.fetch_update_state(|state| (state == from).then_some(to));
        if former.is_some() && to != STARTING {
            self.wake_state_waiters_if_any();
        }
        former.is_some()
    }

    /// A start was refused, after which the thread can be started again. Under the registry's guard.
    pub(crate) fn reset_to_not_started(&self) {
        let word = self.state.swap(NOT_STARTED, Ordering::SeqCst);
        self.wake_state_waiters_if_any();
        if word & HAS_JOINER != 0 {
            self.wake_joiners();
        }
    }

    /// Either the watcher's mark is seen here, or the watcher, looking after it has made the mark, sees the
    /// new state: both are sequentially consistent.
    fn wake_state_waiters_if_any(&self) {
        if self.flags.load(Ordering::SeqCst) & HAS_STATE_WAITERS != 0 {
            futex::wake_all(&self.state);
        }
    }

    /// Its life is over, wherever it was; true for the one call that ends it.
    pub(crate) fn set_done(&self) -> bool {
        happens_before(self);
        let ended = self.state.swap(DONE, Ordering::SeqCst) & STATE_MASK != DONE;
        self.wake_state_waiters_if_any();
        ended
    }

    /// Changes the state under the registry's guard, where no other change of it can be. True if somebody
    /// watches, who must be woken when the guard is free.
    #[inline(always)]
    pub(crate) fn set_state_locked(&self, state: u32) -> bool {
        happens_before(self);
        self.state.store(state, Ordering::Release);
        self.has_flag(HAS_STATE_WAITERS)
    }

    /// Whether a thread waits for its state to change.
    pub(crate) fn has_state_waiters(&self) -> bool {
        self.has_flag(HAS_STATE_WAITERS)
    }

    /// The wake-up that `set_state_locked` asked for. The state does not depend on the slot's content any more.
    pub(crate) fn wake_state_waiters(&self) {
        futex::wake_all(&self.state);
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
            NATIVE_ID_AWAITED => 0,
            id => id,
        }
    }

    pub(crate) fn set_native_id(&self, id: u32) {
        if self.native_id.swap(id, Ordering::AcqRel) == NATIVE_ID_AWAITED {
            futex::wake_all(&self.native_id);
        }
    }

    /// As `set_native_id`, for a timer's thread, whose number no thread waits for.
    pub(crate) fn set_native_id_without_wake(&self, id: u32) {
        self.native_id.store(id, Ordering::Release);
    }

    /// The kernel's number of a thread that has been started, and will have one in a moment.
    pub(crate) fn await_native_id(&self) -> u32 {
        loop {
            match self.native_id.load(Ordering::Acquire) {
                0 => drop(self.native_id.compare_exchange(
                    0,
                    NATIVE_ID_AWAITED,
                    Ordering::AcqRel,
                    Ordering::Acquire,
                )),
                NATIVE_ID_AWAITED => drop(futex::wait(&self.native_id, NATIVE_ID_AWAITED, Deadline::NEVER)),
                id => return id,
            }
        }
    }

    /// Before start: the size of the stack. Afterwards: the stack, and with it the system's thread. A timer's:
    /// the timer's handle, or, the timer being gone, its interval.
    pub(crate) fn aux(&self) -> usize {
        self.aux.load(Ordering::Acquire)
    }

    pub(crate) fn set_aux(&self, aux: usize) {
        self.aux.store(aux, Ordering::Release);
    }

    pub(crate) fn set_stack(&self, stack: &'static Stack) {
        self.set_aux(ptr::from_ref(stack) as usize);
    }

    /// What its system thread runs on.
    ///
    /// # Safety
    /// It has a system thread: it has been started, and is neither main nor a dummy nor a timer's.
    pub(crate) unsafe fn stack(&self) -> &'static Stack {
        // SAFETY: `set_stack` stored it; records of stacks are valid for ever.
        unsafe { &*(self.aux() as *const Stack) }
    }

    /// Of a thread that has ended: the size of its stack, as `Stack::cacheable_size` says; 0 for others.
    pub(crate) fn zombie_stack_size(&self) -> usize {
        // SAFETY: a thread with a system thread that has ended had a stack.
        if self.has_os_thread() { unsafe { self.stack() }.cacheable_size() } else { 0 }
    }

    pub(crate) fn arg(&self) -> *mut c_void {
        self.arg.load(Ordering::Acquire)
    }

    pub(crate) fn set_arg_destructor_ptr(&self, destroy: Option<Destructor>) {
        self.destroy
            .store(destroy.map_or(ptr::null_mut(), |destroy| destroy as *mut c_void), Ordering::Release);
    }

    /// Whether the argument's destructor is to be called yet. Set up before start only.
    pub(crate) fn has_pending_arg_destructor(&self) -> bool {
        !self.destroy.load(Ordering::Acquire).is_null() && !self.has_flag(ARG_DESTROYED)
    }

    /// Calls the argument's destructor, if there is one and nobody has.
    pub(crate) fn destroy_arg(&self) {
        if !self.has_pending_arg_destructor() {
            return;
        }
        let destroy = self.destroy.swap(ptr::null_mut(), Ordering::AcqRel);
        if !destroy.is_null() && !self.arg().is_null() && !self.set_flag(ARG_DESTROYED, true) {
            // SAFETY: `set_arg_destructor_ptr` stored a `Destructor`; whoever set it promised that it takes the
            // argument.
            let destroy = unsafe { core::mem::transmute::<*mut c_void, Destructor>(destroy) };
            // SAFETY: as above.
            pthread::call_user(|| unsafe { destroy(self.arg()) });
        }
    }

    /// Before it runs, `run_or_result` is the override of run; afterwards, the result.
    pub(crate) fn set_run(&self, run: Option<Run>) {
        self.run_or_result.store(run.map_or(ptr::null_mut(), |run| run as *mut c_void), Ordering::Release);
    }

    pub(crate) fn result(&self) -> *mut c_void {
        if self.has_flag(HAS_RESULT) { self.run_or_result.load(Ordering::Acquire) } else { ptr::null_mut() }
    }

    /// Run is over, by returning or otherwise.
    pub(crate) fn set_result(&self, result: *mut c_void) {
        self.run_or_result.store(result, Ordering::Release);
        self.set_flag(HAS_RESULT, true);
    }

    /// What the thread does if that is not overridden.
    pub(crate) fn target_call(&self) -> TargetCall {
        // SAFETY: `create` stored a `Target`.
        let target = load_function(&self.target)
            .map(|target| unsafe { core::mem::transmute::<*mut c_void, Target>(target) });
        TargetCall { target, arg: self.arg() }
    }

    /// Where the code lies that `run_override_or_target` calls; 0 if there is none.
    pub(crate) fn function_address(&self) -> usize {
        load_function(&self.run_or_result)
            .or_else(|| load_function(&self.target))
            .map_or(0, |code| code.addr())
    }

    /// Runs the override, or else the target.
    ///
    /// # Safety
    /// As for `TargetCall::run`; called once, by the thread itself.
    pub(crate) unsafe extern "C-unwind" fn run_override_or_target(&'static self) -> *mut c_void {
        match load_function(&self.run_or_result) {
            Some(run) => {
                let this = self.handle().bits() as *mut c_void;
                // SAFETY: `set_run` stored a `Run`; the caller's promise.
                unsafe { core::mem::transmute::<*mut c_void, Run>(run)(this, self.arg()) }
            }
            // SAFETY: the caller's promise.
            None => unsafe { self.target_call().run() },
        }
    }

    /// Whether it has a system thread of its own, once it has been started.
    pub(crate) fn has_os_thread(&self) -> bool {
        !self.has_flag(MAIN | TIMER | DUMMY)
    }

    pub(super) fn wake_joiners(&self) {
        if annotate::is_active() {
            futex::wake_all(&self.state);
        } else {
            pthread::wake_shared(&self.state);
        }
    }

    /// By the thread itself, at its begin: has the kernel clear the word at its end, if the thread has a stack of this
    /// library's.
    pub(crate) fn register_with_kernel(&self) {
        // SAFETY: only threads with a system thread come here.
        let is_ours = unsafe { self.stack() }.base().is_some();
        let mut id = if is_ours { pthread::set_tid_address(&self.state) } else { 0 };
        if id == 0 {
            self.set_flag(NOT_CLEARED_BY_KERNEL, true);
            id = ident::native_id() as u32;
        }
        self.set_native_id(id);
    }

    /// By the thread itself, in its last destructor, after its entry has moved to the list of those that have ended.
    pub(crate) fn begin_exit(&'static self) {
        // SAFETY: only threads with a system thread come here.
        let stack = unsafe { self.stack() };
        stack.join_target.store(ptr::null_mut(), Ordering::Relaxed);
        if stack.base().is_some() && !self.has_flag(HAS_RESULT) {
            self.set_result(pthread::exit_value());
        }
        self.set_exit_state(if self.has_flag(NOT_CLEARED_BY_KERNEL) { AWAITING_POLL } else { EXITING });
    }

    /// By the thread itself, at its begin: its end will not be announced.
    pub(crate) fn start_without_exit_hook(&self) {
        if self.has_flag(NOT_CLEARED_BY_KERNEL) {
            self.set_exit_state(AWAITING_POLL);
        }
    }

    fn set_exit_state(&self, to: u32) {
        let former = self.fetch_update_state(|state| matches!(state, STARTING | RUNNING).then_some(to));
        if let Some(word) = former {
            if word & SEVERAL_JOINERS != 0 || to == AWAITING_POLL && word & HAS_JOINER != 0 {
                self.wake_joiners();
            }
            self.wake_state_waiters_if_any();
        }
    }

    /// Whether its life is over; whatever it did happens before.
    pub(crate) fn is_done(&self) -> bool {
        let done = matches!(self.state(), TERMINATED | DONE);
        if done {
            happens_after(self);
        }
        done
    }

    /// The kernel says that the thread is gone: true for the one call that releases what it had.
    pub(crate) fn claim_if_terminated(&self) -> bool {
        self.state.compare_exchange(TERMINATED, DONE, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    /// In a child of fork: the thread that forked is alive there, whatever others of the parent were doing
    /// with it.
    pub(crate) fn set_running_after_fork(&self) {
        self.state.store(RUNNING, Ordering::Release);
    }
}
