//! The slot of a thread: its state, its flags, and the words that change their meaning in its life. `thread::target` is
//! what it runs; `thread::join` has the waits for its end, and the code that reclaims what it had.
//!
//! The file exceeds 400 lines because the code that writes these words stays together, so that it can be compared with
//! the tables below, which are a fifth of it.
//!
//! # State (`state`, a futex)
//!
//! The three low bits are the state. Each change is a sequentially consistent compare-exchange or swap, unless the
//! table says otherwise. The last column says whether the thread that makes the change holds the registry mutex.
//!
//! | from | to | changed by | mutex |
//! |---|---|---|---|
//! | | `NOT_STARTED` | `build`, with a relaxed store: the object is not published yet | no |
//! | `NOT_STARTED` | `STARTING` | `registry::add`, which only one caller passes | yes |
//! | `STARTING` | `NOT_STARTED` | `registry::rollback_start`, after a failed start; clears the joiner bits | yes |
//! | `STARTING` | `RUNNING` | `thread::start`, after `pthread_create`, unless the thread itself was faster | no |
//! | `STARTING` | `RUNNING` | the thread itself, before a join without a timeout | no |
//! | `STARTING` | `RUNNING` | `timer::start`, if a timer is started by its thread's handle, with a release store | yes |
//! | `NOT_STARTED` | `RUNNING` | `timer::start`, if a timer is started by its own handle, with a release store | yes |
//! | `NOT_STARTED` | `RUNNING` | the creation of main and of dummies | yes |
//! | `STARTING`, `RUNNING` | `EXITING` | `begin_exit`: the thread in its last destructor; without an exit hook, after its target | no |
//! | `STARTING`, `RUNNING` | `AWAITING_POLL` | the same, if `NOT_CLEARED_BY_KERNEL` | no |
//! | `STARTING`, `RUNNING` | `AWAITING_POLL` | such a thread without an exit hook, before it runs its target | no |
//! | `EXITING` | `TERMINATED` | the kernel: see below | no |
//! | `STARTING`, `RUNNING` | `TERMINATED` | the kernel, if a thread without an exit hook ends in its target, or if the system ends a thread, as a seccomp filter does | no |
//! | `TERMINATED` | `DONE` | one caller that joins or reaps | only if it reaps |
//! | `AWAITING_POLL` | `POLLING` | `try_reap`; the caller alone may call `pthread_join` | no |
//! | `POLLING` | `AWAITING_POLL` | the same caller, if the thread still runs | no |
//! | `POLLING` | `DONE` | the same caller, if the thread is gone | no |
//! | `RUNNING`, `AWAITING_POLL` | `POLLING` | `detach`, at process exit under a race detector; final | yes |
//! | `RUNNING` | `DONE` | `finish_timer`, for a timer's thread, with a release store | yes |
//! | `RUNNING` | `DONE` | main at the shutdown; a dummy in its last destructor | no |
//! | `RUNNING` | `DONE` | `remove_dead_dummies`, for a dummy whose OS thread is gone | yes |
//!
//! In a child of fork:
//!
//! | from | to | changed by | mutex |
//! |---|---|---|---|
//! | any | `RUNNING` | the thread that forked, for itself, with a release store; clears the joiner bits | yes |
//! | any but `NOT_STARTED` | `DONE` | `finish_if_only_in_parent`, for a thread of the parent, once | no |
//!
//! *Exact or stale.* A thread is done when its word is `TERMINATED` or `DONE`, which every caller reads with acquire.
//! The change from the one to the other only selects the caller that reclaims what the thread had: the stack, the entry
//! in the registry, and the thread's reference to itself. Two words are stale: in a child of fork, those of threads
//! that exist only in the parent, for which [`Thread::state`] returns `DONE`; and that of a dead dummy, which is
//! `RUNNING` until `remove_dead_dummies` finds it.
//!
//! *Ends that the kernel reports.* A thread on a stack of this library is detached, and registers the address of
//! `state` with the kernel as its `clear_child_tid` (`register_with_kernel`). After the thread's last instruction the
//! kernel stores 0 there, which is `TERMINATED` and clears the joiner bits, and wakes one waiter. A thread is
//! `NOT_CLEARED_BY_KERNEL` if the system call fails, or if a race detector is active, which learns of a thread's end
//! from `pthread_join` only. Such a thread becomes `AWAITING_POLL` in its last destructor, and its joiners poll.
//!
//! # Joiner bits (`state`, above the state, for threads with an OS thread)
//!
//! | bit | meaning | set by |
//! |---|---|---|
//! | `HAS_JOINER` | a thread sleeps in a join | the first joiner, before it sleeps; compare-exchange, SeqCst |
//! | `SEVERAL_JOINERS` | more than one does | each further joiner, likewise |
//!
//! They are cleared only with the whole word, so both may be stale: a join whose timeout has expired leaves its bit
//! set. A joiner must not sleep without a bound while `HAS_JOINER` is clear.
//!
//! *One wake for several joiners.* The kernel wakes one joiner only. So if there are several, they sleep without a
//! bound only until the thread is `EXITING`. The thread wakes all of them when it becomes `EXITING`; a second joiner
//! that comes later wakes the first one. From then on all joiners sleep for bounded intervals, and the one that the
//! kernel wakes wakes the others.
//!
//! # State waiters
//!
//! A thread that waits for any other change, or for the end of main or of a timer, sets `HAS_STATE_WAITERS` under the
//! registry mutex. So changes under that mutex (`set_state_locked`) see the flag. The others use Dekker's pattern: the
//! waiter sets the flag and then compares the state in its futex wait; the other thread changes the state and then
//! reads the flag, both sequentially consistent. At least one of them sees what the other did
//! (`wake_state_waiters_if_any`).
//!
//! # Flags (`flags`)
//!
//! `set_flag` and `clear_flag` change them with acquire and release, `has_flag` reads them with acquire. The flags that
//! the creation sets are stored before the object is published. The last column is as above.
//!
//! | flag | meaning | set by | mutex |
//! |---|---|---|---|
//! | `DAEMON` | process exit does not wait for it | the creation; `set_daemon`, before the start | yes |
//! | `MAIN` | the main thread | the creation | |
//! | `DUMMY` | not started by this library | the creation | |
//! | `TIMER` | the thread of a timer | the creation | |
//! | `TIMER_CANCELLED` | its timer was cancelled before the start | the caller that cancels | yes |
//! | `HAS_RESULT` | `run_or_result` is the result | the thread, but not a timer's whose result is NULL, or the caller that reaps it; after the result | no |
//! | `ZOMBIE` | is or was in the registry's list `zombies` | the thread in its last destructor | yes |
//! | `IN_SHUTDOWN` | other shutdowns do not wait for it | a thread in a shutdown, also for timers it finishes | yes |
//! | `NAMED` | has been named; set shortly after the name itself | `naming::set`; the creation of main | no |
//! | `TIMER_FREED` | its timer was freed before the start | the timer's `dispose`, after `aux` | no |
//! | `HAS_STATE_WAITERS` | see above; may be stale | the waiter before it sleeps, SeqCst | yes |
//! | `ARG_DESTROYED` | the argument's destructor has been called | the one thread that calls it, before the call | no |
//! | `DEFAULT_NAME_SEEN` | the number of its default name is final | a caller that reads the default name | yes |
//! | `DUMMY_EXITING` | a dummy whose destructors have begun | the thread | yes |
//! | `NOT_CLEARED_BY_KERNEL` | see above | the thread, before it runs its target | no |
//!
//! These are cleared again: `DAEMON` by `set_daemon`; `IN_SHUTDOWN` when the exit or shutdown returns; `TIMER_FREED` by
//! a start, when it has created a new timer. In a child of fork, the thread that forked becomes `MAIN`, and is no
//! longer `DUMMY`, `TIMER` or `IN_SHUTDOWN`; if it was a dummy, it is no longer a `DAEMON`, and is `NAMED`.
//!
//! # Native ID (`native_id`, a futex)
//!
//! 0 until the thread has one; `NATIVE_ID_AWAITED` if a thread sleeps until then (`await_native_id`, by
//! compare-exchange from 0, acquire and release); then the native ID, stored with release by the thread itself, or by
//! the thread that creates the object of main.
//!
//! # Words with several uses
//!
//! Four uses of `aux` and two of `run_or_result` keep the slot at two cache lines, so that a million pending timers fit
//! into memory. Each use has accessors of its own.
//!
//! | word | use | when |
//! |---|---|---|
//! | `aux` | the requested stack size; 0 is the default | for a thread with an OS thread, until it is started |
//! | `aux` | the `Stack` on which it runs, and with it the `pthread_t` | for the same thread, once it is started |
//! | `aux` | the handle of its timer | for a timer's thread |
//! | `aux` | the interval of its timer | for a timer's thread that is `TIMER_FREED` |
//! | `run_or_result` | the function that overrides the target, or NULL | until `HAS_RESULT` |
//! | `run_or_result` | the result | from `HAS_RESULT` on |

use crate::sys::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use core::ffi::c_void;
use core::ptr;

use crate::callbacks::{AtomicCallback, Destructor, Run, Target};
use crate::error::Result;
use crate::handle::Handle;
use crate::handle::header::Header;
use crate::sync::list::{Linked, Links};
use crate::sync::wait_observer;
use crate::sys::annotate;
use crate::sys::annotate::{happens_after, happens_before};
use crate::sys::futex;
use crate::sys::offsets::offsets;
use crate::sys::pthread;
use crate::sys::tls;
use crate::thread::ident;
use crate::thread::names;
use crate::thread::names::NameList;
use crate::thread::stack_cache::Stack;
use crate::time::Deadline;

/// Stored by the kernel.
pub(crate) const TERMINATED: u32 = 0;
pub(crate) const NOT_STARTED: u32 = 1;
pub(crate) const STARTING: u32 = 2;
pub(crate) const RUNNING: u32 = 3;
pub(crate) const EXITING: u32 = 4;
pub(crate) const AWAITING_POLL: u32 = 5;
pub(super) const POLLING: u32 = 6;
pub(crate) const DONE: u32 = 7;
pub(crate) const STATE_MASK: u32 = 7;
pub(super) const HAS_JOINER: u32 = 8;
pub(super) const SEVERAL_JOINERS: u32 = 16;

pub(crate) const DAEMON: u32 = 1;
pub(crate) const MAIN: u32 = 2;
pub(crate) const DUMMY: u32 = 4;
pub(crate) const TIMER: u32 = 8;
pub(crate) const TIMER_CANCELLED: u32 = 16;
pub(crate) const HAS_RESULT: u32 = 32;
pub(crate) const ZOMBIE: u32 = 64;
pub(crate) const IN_SHUTDOWN: u32 = 128;
pub(crate) const NAMED: u32 = 256;
pub(crate) const TIMER_FREED: u32 = 512;
pub(super) const HAS_STATE_WAITERS: u32 = 1024;
pub(super) const ARG_DESTROYED: u32 = 2048;
pub(crate) const DEFAULT_NAME_SEEN: u32 = 4096;
pub(crate) const DUMMY_EXITING: u32 = 8192;
const NOT_CLEARED_BY_KERNEL: u32 = 16384;

/// A thread sleeps until `native_id` is set.
pub(crate) const NATIVE_ID_AWAITED: u32 = u32::MAX;

/// A thread. Python: `threading.Thread`.
///
/// It is created with a closure and can be started once. It has a name, and inherits the daemon property of the thread
/// that creates it. Process exit waits for all threads that are not daemons. Releasing the handle of a running thread
/// does not stop the thread.
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
    /// The number in its default name, 0 until it is assigned: `thread::naming`.
    pub(crate) name_number: AtomicU32,
    pub(super) ident: AtomicU64,
    aux: AtomicU64,
    /// For the next four, see `thread::target`.
    pub(super) target: AtomicCallback<Target>,
    pub(super) arg: AtomicPtr<c_void>,
    pub(super) destroy: AtomicCallback<Destructor>,
    pub(super) run_or_result: AtomicPtr<c_void>,
    /// Links of the registry's lists, protected by the registry mutex.
    pub(crate) links: Links<Thread>,
    pub(crate) names: NameList,
}

offsets!(ThreadOffsets of Thread: state, flags, native_id, name_number, ident, names);

const _: () = assert!(size_of::<Thread>() == names::SLOT_SIZE);

impl Linked for Thread {
    #[inline(always)]
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

// SAFETY: the cells are accessed under the registry mutex only. In a child of fork, those of a thread that exists only
// in the parent are also set by the one caller that changes it to `DONE`; such a thread is in no list.
unsafe impl Sync for Thread {}

/// Returns the calling thread if it has an object. Unlike `thread::current`, this creates none.
pub(crate) fn known_current() -> Option<&'static Thread> {
    Handle::from_bits(tls::with(|block| block.thread.get())).live_object()
}

impl Thread {
    /// Creates a thread that is not started. The caller owns one reference.
    pub(crate) fn create(flags: u32, target: Option<Target>, arg: *mut c_void) -> Result<Handle<Thread>> {
        Handle::create(0, Self::build(flags, target, arg))
    }

    /// As `create`, but the reference is an internal one.
    #[inline(always)]
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
            thread.target.store(target, Ordering::Relaxed);
            thread.arg.store(arg, Ordering::Relaxed);
            thread.destroy.store(None, Ordering::Relaxed);
            thread.run_or_result.store(ptr::null_mut(), Ordering::Relaxed);
            thread.names.init();
        }
    }

    pub(crate) fn handle(&'static self) -> Handle<Thread> {
        Handle::of(self)
    }

    /// Returns the state, which is `DONE` in a child of fork for a thread that exists only in the parent.
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

    /// True in a child of fork if the thread was started in the parent and is not the one that forked.
    pub(super) fn exists_only_in_parent(&self) -> bool {
        ident::exists_only_in_parent(self.ident.load(Ordering::Relaxed))
    }

    pub(crate) fn has_flag(&self, flag: u32) -> bool {
        self.flags.load(Ordering::Acquire) & flag != 0
    }

    /// Sets flags. Returns true if any of them was set before.
    pub(crate) fn set_flag(&self, flag: u32) -> bool {
        self.flags.fetch_or(flag, Ordering::AcqRel) & flag != 0
    }

    /// Clears flags. Returns true if any of them was set before.
    pub(crate) fn clear_flag(&self, flag: u32) -> bool {
        self.flags.fetch_and(!flag, Ordering::AcqRel) & flag != 0
    }

    /// Changes the state to what `change` returns, and returns the former word. Returns `None`, without a change, if
    /// `change` does.
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

    /// Changes `from` to `to`, and wakes the state waiters. Returns false if the thread was in another state. In this
    /// case it wakes them as well, because the kernel, which may have changed the state, does not. A change to
    /// `STARTING` wakes no thread, since none waits for it.
    pub(crate) fn transition(&self, from: u32, to: u32) -> bool {
        let former = self.fetch_update_state(|state| (state == from).then_some(to));
        if to != STARTING {
            self.wake_state_waiters_if_any();
        }
        former.is_some()
    }

    /// Resets the state after a failed start. The caller holds the registry mutex.
    pub(crate) fn reset_to_not_started(&self) {
        let word = self.state.swap(NOT_STARTED, Ordering::SeqCst);
        self.wake_state_waiters_if_any();
        if word & HAS_JOINER != 0 {
            self.wake_joiners();
        }
    }

    /// Wakes the state waiters if there are any. The caller has changed the state before, with a sequentially
    /// consistent operation. So either this load sees the flag, or the waiter's futex wait sees the new state.
    fn wake_state_waiters_if_any(&self) {
        if self.flags.load(Ordering::SeqCst) & HAS_STATE_WAITERS != 0 {
            futex::wake_all(&self.state);
        }
    }

    /// Changes any state to `DONE`. Returns true for the one caller that made the change.
    pub(crate) fn set_done(&self) -> bool {
        happens_before(self);
        let changed = self.state.swap(DONE, Ordering::SeqCst) & STATE_MASK != DONE;
        self.wake_state_waiters_if_any();
        changed
    }

    /// Sets a state that only holders of the registry mutex change. The caller holds it. Returns true if the caller
    /// must call `wake_state_waiters` after it has unlocked the mutex.
    #[inline(always)]
    pub(crate) fn set_state_locked(&self, state: u32) -> bool {
        happens_before(self);
        self.state.store(state, Ordering::Release);
        self.has_flag(HAS_STATE_WAITERS)
    }

    /// Returns whether a thread may be waiting for a change of the state.
    pub(crate) fn has_state_waiters(&self) -> bool {
        self.has_flag(HAS_STATE_WAITERS)
    }

    /// Wakes the state waiters, after `set_state_locked` returned true. Only the address of the word matters: the slot
    /// may already hold another thread. Returns whether any thread was parked.
    pub(crate) fn wake_state_waiters(&self) -> bool {
        futex::wake_all(&self.state)
    }

    pub(crate) fn ident(&self) -> u64 {
        self.ident.load(Ordering::Acquire)
    }

    pub(crate) fn set_ident(&self, ident: u64) {
        self.ident.store(ident, Ordering::Release);
    }

    /// Returns the native ID, or 0 if the thread has none yet.
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

    /// As `set_native_id`, for a timer's thread: no thread waits for its native ID.
    pub(crate) fn set_native_id_without_wake(&self, id: u32) {
        self.native_id.store(id, Ordering::Release);
    }

    /// Waits for the native ID of a started thread, which the thread sets before it runs its target.
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

    /// One of four values: see the table above.
    fn aux(&self) -> u64 {
        self.aux.load(Ordering::Acquire)
    }

    fn set_aux(&self, value: u64) {
        self.aux.store(value, Ordering::Release);
    }

    /// Before the start, for a thread with an OS thread.
    pub(super) fn requested_stack_size(&self) -> usize {
        self.aux() as usize
    }

    pub(super) fn set_requested_stack_size(&self, bytes: usize) {
        self.set_aux(bytes as u64);
    }

    /// The bits of the timer's handle, which may be stale. For a timer's thread that is not `TIMER_FREED`.
    pub(crate) fn timer_bits(&self) -> usize {
        self.aux() as usize
    }

    pub(crate) fn set_timer_bits(&self, bits: usize) {
        self.set_aux(bits as u64);
    }

    /// For a timer's thread that is `TIMER_FREED`.
    pub(crate) fn freed_timer_interval(&self) -> f64 {
        f64::from_bits(self.aux())
    }

    /// The caller then sets `TIMER_FREED`.
    pub(crate) fn set_freed_timer_interval(&self, seconds: f64) {
        self.set_aux(seconds.to_bits());
    }

    pub(crate) fn set_stack(&self, stack: &'static Stack) {
        self.set_aux(ptr::from_ref(stack) as u64);
    }

    /// Returns the stack on which the thread runs.
    ///
    /// # Safety
    /// The thread has been started, and is neither main nor a dummy nor a timer's.
    pub(crate) unsafe fn stack(&self) -> &'static Stack {
        // SAFETY: `set_stack` stored the address; records of stacks are never unmapped.
        unsafe { &*(self.aux() as usize as *const Stack) }
    }

    /// Returns the size of an exiting thread's stack, as `Stack::zombie_size` does; 0 without an OS thread.
    pub(crate) fn zombie_stack_size(&self) -> usize {
        // SAFETY: a started thread with an OS thread has a stack.
        if self.has_os_thread() { unsafe { self.stack() }.zombie_size() } else { 0 }
    }

    /// Sets the function that overrides the target. Only before the start.
    pub(crate) fn set_run(&self, run: Option<Run>) {
        self.run_or_result.store(run.map_or(ptr::null_mut(), |run| run as *mut c_void), Ordering::Release);
    }

    pub(crate) fn result(&self) -> *mut c_void {
        if self.has_flag(HAS_RESULT) { self.run_or_result.load(Ordering::Acquire) } else { ptr::null_mut() }
    }

    /// Stores the result, which replaces the override.
    pub(crate) fn set_result(&self, result: *mut c_void) {
        self.run_or_result.store(result, Ordering::Release);
        self.set_flag(HAS_RESULT);
    }

    /// Returns whether the start creates an OS thread for this thread alone.
    pub(crate) fn has_os_thread(&self) -> bool {
        !self.has_flag(MAIN | TIMER | DUMMY)
    }

    /// Wakes the joiners of a thread with an OS thread of its own. Returns whether any was parked.
    pub(crate) fn wake_joiners(&self) -> bool {
        if annotate::is_active() { futex::wake_all(&self.state) } else { pthread::wake_shared(&self.state) }
    }

    /// Registers `state` with the kernel, which clears it when the calling thread (this one) terminates. Sets the
    /// native ID. A thread on a stack of pthread's is not registered, since pthread must be able to join it.
    pub(crate) fn register_with_kernel(&self) {
        // SAFETY: the calling thread is a started one with an OS thread.
        let stack = unsafe { self.stack() };
        pthread::store_own_id(&stack.thread);
        let mut id = if stack.base().is_some() { pthread::set_tid_address(&self.state) } else { 0 };
        if id == 0 {
            self.set_flag(NOT_CLEARED_BY_KERNEL);
            id = ident::native_id() as u32;
        }
        self.set_native_id(id);
    }

    /// Announces the end of the calling thread, which is this one. Its last destructor calls it, after its entry has
    /// moved to the list of zombies.
    pub(crate) fn begin_exit(&'static self) {
        // SAFETY: as in `register_with_kernel`.
        let stack = unsafe { self.stack() };
        stack.join_target.store(0, Ordering::Relaxed);
        stack.note_exit();
        if stack.base().is_none() {
            stack.note_whether_detached();
        } else if !self.has_flag(HAS_RESULT) {
            self.set_result(pthread::exit_value());
        }
        self.set_exit_state(if self.has_flag(NOT_CLEARED_BY_KERNEL) { AWAITING_POLL } else { EXITING });
    }

    /// Called by the thread before it runs the target, if it has no exit hook. If the kernel does not report the
    /// thread's end either, joiners poll from then on.
    pub(crate) fn start_without_exit_hook(&'static self) {
        // SAFETY: as in `register_with_kernel`.
        unsafe { self.stack() }.note_exit();
        if self.has_flag(NOT_CLEARED_BY_KERNEL) {
            self.set_exit_state(AWAITING_POLL);
        }
    }

    fn set_exit_state(&'static self, to: u32) {
        wait_observer::record_wake(self.handle().bits());
        let former = self.fetch_update_state(|state| matches!(state, STARTING | RUNNING).then_some(to));
        if let Some(word) = former {
            if word & SEVERAL_JOINERS != 0 || to == AWAITING_POLL && word & HAS_JOINER != 0 {
                self.wake_joiners();
            }
            self.wake_state_waiters_if_any();
        }
    }

    /// Returns whether the thread is done. If so, all that it did happens before the return, also for a race detector.
    pub(crate) fn is_done(&self) -> bool {
        let done = matches!(self.state(), TERMINATED | DONE);
        if done {
            happens_after(self);
        }
        done
    }

    /// Changes `TERMINATED` to `DONE`. Returns true for one caller, which must then reclaim what the thread had.
    pub(crate) fn claim_if_terminated(&self) -> bool {
        self.state.compare_exchange(TERMINATED, DONE, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    /// In a child of fork, for the thread that forked: its word may be any, since other threads of the parent could
    /// change it.
    pub(crate) fn set_running_after_fork(&self) {
        self.state.store(RUNNING, Ordering::Release);
    }
}
