//! The OS threads that run the functions of timers: the Leader/Followers pattern.
//!
//! All pending timers are in one heap. A few worker threads serve all timers. The first of them is created by the
//! first start of a timer. A worker is in one of these roles:
//!
//! - the *leader* sleeps until the earliest deadline, and calls the functions of the timers that are due, one after
//!   the other;
//! - a *follower* sleeps. While the leader is in a function, one follower is the *monitor*: it sleeps for at most
//!   `TAKEOVER_NS`, and if the leader is still in the same function then, the monitor becomes the leader;
//! - a worker that returns from a function and is no longer the leader becomes a follower, or ends if there is one.
//!
//! So ten thousand timers that are due at the same time are run by one thread, and a function that blocks delays the
//! others by about `TAKEOVER_NS`. When no timer is due, the leader sleeps until the earliest deadline and the
//! followers sleep without a timeout; no thread polls. Each leader is identified by its *term*, a number that each new
//! leader increments.
//!
//! # Monitoring
//!
//! A function is called only while a follower can monitor it. The first follower is created shortly before the first
//! timer is due, so that the thread's creation does not delay it. So each leader that blocks in a function is replaced,
//! and the new leader in turn ensures that it has a monitor. `timer::queue` says what happens when no thread can be
//! created.
//!
//! If a function ends the leader with `pthread_exit` or is cancelled, and no other thread can be created, the ending
//! thread stays until one can be, as long as timers are pending.
//!
//! # The state in which functions begin
//!
//! Every function begins with the same signal mask, scheduling, and so on: `sys::thread_state` has the table. What a
//! function has changed in the kernel is restored after its timer has finished. A worker whose state the OS does not
//! allow it to restore is *unclean*. An unclean leader steps down if there is another worker. Otherwise, the next start
//! or cancel of a timer by a thread whose scheduling a clean worker can inherit creates such a worker.
//!
//! The file exceeds 400 lines with its documentation: the roles pass from thread to thread in one protocol.

use crate::sync::fork_epoch;
use crate::sys::atomic::{AtomicU32, Ordering};
use core::ffi::c_void;
use core::ptr;

use crate::error::Result;
use crate::handle::Handle;
use crate::panic_boundary::{FaultPoint, catch_panic, inject};
use crate::sys::annotate::ignore_accesses;
use crate::sys::baseline;
use crate::sys::futex;
use crate::sys::pthread;
use crate::sys::thread_state::ThreadState;
use crate::sys::tls;
use crate::thread::object::{HAS_RESULT, Thread};
use crate::thread::{ident, registry};
use crate::time::Deadline;
use crate::timer::callback::{finish_callback, run_callback};
use crate::timer::finishing;
use crate::timer::heap::Entry;
use crate::timer::object::Timer;
use crate::timer::queue::{
    FOLLOWER_FUTEX, LEADER_FUTEX, MAX_RETRY_NS, MIN_RETRY_NS, TimerQueue, UNMONITORED, bump_and_wake,
};

/// How long the leader may be in one function before the monitor replaces it, in nanoseconds. It is divided by one
/// plus the number of blocked workers, so that many functions that block together are replaced quickly.
const TAKEOVER_NS: u64 = 500_000;

/// How long before the deadline of the first timer a follower is created, in nanoseconds. To create a thread and let it
/// begin takes some hundred microseconds.
const SPAWN_AHEAD_NS: u64 = 1_000_000;

/// Why a worker was created.
enum SpawnReason {
    /// There was no leader, or no follower.
    LeaderOrFollower,
    /// To replace an unclean leader.
    Replacement,
}

/// The start routine of worker threads. `reason` is not NULL for a replacement.
extern "C-unwind" fn worker_main(reason: *mut c_void) -> *mut c_void {
    let reason = if reason.is_null() { SpawnReason::LeaderOrFollower } else { SpawnReason::Replacement };
    ignore_accesses(|| lead_and_follow(Some(reason)));
    ptr::null_mut()
}

fn lead_and_follow(mut reason: Option<SpawnReason>) {
    #[cfg(target_os = "linux")]
    {
        const TIMER_SLACK_NS: libc::c_ulong = 1;
        // SAFETY: only sets by how much the kernel may delay timed wakeups of this thread: as little as possible.
        unsafe { crate::sys::prctl(libc::PR_SET_TIMERSLACK, TIMER_SLACK_NS, 0, 0, 0) };
    }
    let mut state = ThreadState::init_current();
    let epoch = fork_epoch::fork_epoch();
    let native_id = ident::native_id() as u32;
    // After a panic in the library, the worker repeats the step in its role. Functions are called outside of the panic
    // boundary, because they may call pthread_exit().
    loop {
        let Some(role) = catch_panic(|| follow(&mut reason, state.is_clean)) else { continue };
        let Some(term) = role else { break };
        tls::with(|block| block.timer_leader_term.set(term));
        let mut now = Deadline(0);
        let mut finished = None;
        loop {
            let next = || finish_and_wait_for_next(term, &mut now, &mut finished, &mut state);
            let Some(due) = catch_panic(next) else { continue };
            let Some(timer) = due else { break };
            // SAFETY: the timer has fired, and holds a reference to itself until it is finished.
            run_callback(unsafe { timer.thread_unchecked() }, native_id, &mut state);
            if fork_epoch::fork_epoch() != epoch {
                // The function forked, and this is the child, in which the calling thread is the main thread.
                return;
            }
            finished = Some(timer);
        }
    }
}

/// Called by the leader. Finishes the timer whose function has returned, if there is one, restores what the function
/// may have changed in the kernel, and sleeps until a timer is due. If one is due already and the kernel's state need
/// not be checked, only the first step is taken. Returns `None` when the caller is no longer the leader of `term`.
/// `now` is the last reading of the clock.
fn finish_and_wait_for_next(
    term: u32,
    now: &mut Deadline,
    finished: &mut Option<&'static Timer>,
    state: &mut ThreadState,
) -> Option<&'static Timer> {
    loop {
        inject(FaultPoint::TimerWorker);
        let mut registry = registry::lock();
        let ended_timer = finished.take().map(|timer| {
            // SAFETY: the timer holds a reference to itself until `set_finished`, below.
            let deferred = registry.finish_timer(unsafe { timer.thread_unchecked() });
            let tag = timer.tag();
            timer.set_finished();
            (deferred, timer, tag)
        });
        let timers = &mut registry.timers;
        let superseded = timers.leader_term != term;
        if ended_timer.is_some() {
            timers.callback_returned(term);
        }
        let seen = LEADER_FUTEX.load(Ordering::Acquire);
        let due = if superseded { None } else { timers.pop_due(now, state) };
        let until = timers.leader_wakes_at;
        let must_notify_waiters = core::mem::take(&mut timers.must_notify_waiters);
        let must_wake_follower = core::mem::take(&mut timers.must_wake_follower);
        drop(registry);
        if must_wake_follower {
            bump_and_wake(&FOLLOWER_FUTEX);
        }
        if let Some((deferred, timer, tag)) = ended_timer {
            deferred.wake();
            Handle::destroy_if_only_self_ref(timer, tag);
        }
        if due.is_none() && state.has_unchecked_functions() {
            let was_clean = state.is_clean;
            state.restore_kernel_state();
            if was_clean && !state.is_clean {
                registry::lock().timers.step_down(term);
            }
            continue;
        }
        if must_notify_waiters {
            notify_unmonitored();
        }
        if superseded || due.is_some() {
            return due;
        }
        if !futex::wait(&LEADER_FUTEX, seen, until) {
            // The wait has timed out, so `until` has passed, even if the program has replaced clock_gettime() with a
            // function whose clock stands still.
            *now = (*now).max(until);
        }
    }
}

/// Wakes the threads that wait for timers, so that they try to create a follower. A thread that read `UNMONITORED`
/// before it was set, and was about to sleep, is asleep when the second call wakes it.
#[cold]
fn notify_unmonitored() {
    registry::wake_timer_waiters();
    futex::wait(&AtomicU32::new(0), 0, Deadline::now().add_ns(MIN_RETRY_NS));
    registry::wake_timer_waiters();
}

/// Called by threads that wait for timers. Tries to create a follower if functions are called without one. Returns
/// the deadline for the caller's next sleep, after which it must call this function again.
#[inline]
pub(crate) fn retry_follower_if_unmonitored(deadline: Deadline) -> Deadline {
    if UNMONITORED.load(Ordering::Acquire) == 0 {
        return deadline;
    }
    let timers = &mut registry::lock().timers;
    timers.retry_spawn();
    if timers.unmonitored { deadline.min(Deadline::now().add_ns(MAX_RETRY_NS)) } else { deadline }
}

/// Sleeps, or monitors the leader, until the calling worker becomes the leader; then returns its term. Returns `None`
/// if the worker is not needed. The first call of a worker takes the reason for which it was created.
fn follow(reason: &mut Option<SpawnReason>, is_clean: bool) -> Option<u32> {
    let mut registry = registry::lock();
    let mut timers = &mut registry.timers;
    match reason.take() {
        Some(SpawnReason::LeaderOrFollower) => timers.spawning = false,
        Some(SpawnReason::Replacement) => {
            timers.spawning_replacement = false;
            // The leader has been waiting for this thread.
            bump_and_wake(&LEADER_FUTEX);
        }
        None => {}
    }
    if timers.may_lead(is_clean) {
        return Some(timers.become_leader(is_clean));
    }
    if timers.followers > 0 || timers.must_not_follow(is_clean) {
        return None;
    }
    timers.followers += 1;
    timers.clear_spawn_refusal();
    // The function that is being monitored, by its number, and until when the leader may be in it.
    let mut monitored = None;
    loop {
        let seen = FOLLOWER_FUTEX.load(Ordering::Acquire);
        timers.has_monitor = timers.leader_in_callback;
        monitored = match monitored {
            _ if !timers.leader_in_callback => None,
            Some((number, until)) if number == timers.fired => Some((number, until)),
            _ => Some((
                timers.fired,
                Deadline::now().add_ns(TAKEOVER_NS / (1 + u64::from(timers.blocked_workers))),
            )),
        };
        drop(registry);
        futex::wait(&FOLLOWER_FUTEX, seen, monitored.map_or(Deadline::NEVER, |(_, until)| until));
        registry = registry::lock();
        timers = &mut registry.timers;
        let must_take_over = timers.leader_in_callback
            && monitored.is_some_and(|(number, until)| number == timers.fired && until.has_passed());
        if must_take_over {
            timers.blocked_workers += 1;
        }
        if must_take_over || timers.leader_term == 0 {
            timers.followers -= 1;
            return Some(timers.become_leader(is_clean));
        }
        if timers.must_not_follow(is_clean) && !timers.leader_in_callback {
            timers.followers -= 1;
            timers.has_monitor = false;
            return None;
        }
    }
}

impl TimerQueue {
    /// Adds the timer to the heap. Returns true if the leader would sleep beyond the deadline: then the caller must
    /// call `queue::wake_leader` after releasing the registry mutex.
    #[inline(always)]
    pub(crate) fn schedule(&mut self, deadline: Deadline, timer: &'static Timer) -> Result<bool> {
        if self.fast_path_term != self.leader_term {
            self.ensure_leader()?;
            self.retry_spawn();
        }
        self.heap.push(Entry { deadline, timer })?;
        // From now on, only a start with an earlier deadline needs to wake the leader again.
        let must_wake_leader = deadline < self.leader_wakes_at;
        self.leader_wakes_at = self.leader_wakes_at.min(deadline);
        Ok(must_wake_leader)
    }

    /// Removes the timer from the heap, if it is there.
    pub(crate) fn unschedule(&mut self, timer: &Timer) {
        self.heap.remove(timer);
        if self.fast_path_term != self.leader_term {
            self.retry_spawn();
        }
    }

    /// Tries to create a thread where an earlier attempt failed, or where the leader is unclean and the calling
    /// thread can create a clean worker.
    #[cold]
    fn retry_spawn(&mut self) {
        if self.leader_term == 0 {
            self.clear_unmonitored();
            return;
        }
        if self.unmonitored && self.retry_at.has_passed() {
            self.schedule_retry();
            let _ = self.ensure_thread();
        }
        if self.unclean && !self.spawning_replacement && baseline::can_inherit_scheduling() {
            const NOT_NULL: *mut c_void = ptr::dangling_mut();
            self.spawning_replacement = pthread::start_detached(worker_main, NOT_NULL).is_ok();
        }
    }

    /// Ensures that there is a leader, or that a thread has been woken or created that will be the leader.
    #[cold]
    fn ensure_leader(&mut self) -> Result<()> {
        if self.leader_term != 0 {
            Ok(())
        } else if self.followers > 0 {
            bump_and_wake(&FOLLOWER_FUTEX);
            Ok(())
        } else {
            self.ensure_thread()
        }
    }

    /// Ensures that a new worker is starting. It becomes the leader if there is none, and otherwise a follower.
    fn ensure_thread(&mut self) -> Result<()> {
        if !self.spawning {
            baseline::record_baseline();
            pthread::start_detached(worker_main, ptr::null_mut())?;
            self.spawning = true;
        }
        Ok(())
    }

    /// Called by the leader before it calls a function: returns whether it may. A follower monitors the function
    /// then, unless no thread could be created for `FOLLOWER_GRACE_NS`.
    fn ensure_monitor(&mut self) -> bool {
        if self.has_monitor {
            return true;
        }
        if self.followers > 0 {
            self.must_wake_follower = true;
        } else if self.spawning || self.retry_at.has_passed() && self.ensure_thread().is_ok() {
            self.clear_spawn_refusal();
        } else {
            return self.try_run_unmonitored();
        }
        self.has_monitor = true;
        true
    }

    /// Called by the leader, which is about to sleep. Returns when it must look at the heap again, if the earliest
    /// deadline is `deadline`. If there is no follower, creates one shortly before the deadline: at the deadline, that
    /// would delay the function.
    fn next_wake(&mut self, deadline: Deadline, now: Deadline) -> Deadline {
        if self.followers > 0 || self.spawning || !self.retry_at.has_passed() {
            return deadline;
        }
        if deadline > now.add_ns(SPAWN_AHEAD_NS) {
            return Deadline(deadline.0 - SPAWN_AHEAD_NS);
        }
        // If this fails, `ensure_monitor` tries again.
        let _ = self.ensure_thread();
        deadline
    }

    /// Called by the leader. Removes the first timer, if it is due and its function may be called in the current state
    /// of the thread, and returns it. Reads the clock only if the last reading, in `now`, is earlier than the deadline.
    fn pop_due(&mut self, now: &mut Deadline, state: &ThreadState) -> Option<&'static Timer> {
        let Some(first) = self.heap.peek() else {
            self.leader_wakes_at = Deadline::NEVER;
            self.clear_unmonitored();
            return None;
        };
        if first.deadline > *now {
            *now = Deadline::now();
            if first.deadline > *now {
                self.leader_wakes_at = self.next_wake(first.deadline, *now);
                self.clear_unmonitored();
                return None;
            }
        }
        // SAFETY: the caller holds the registry mutex, under which a timer in the heap is pending and thus alive.
        let thread = unsafe { first.timer.thread_unchecked() };
        if state.needs_check_before(thread.function_address()) {
            return None;
        }
        if self.unclean && self.spawning_replacement {
            // The new worker becomes the leader, and wakes this one.
            self.leader_wakes_at = Deadline::NEVER;
            return None;
        }
        if !self.ensure_monitor() {
            return None;
        }
        thread.prefetch_arg();
        self.heap.remove(first.timer);
        self.heap.settle();
        self.heap.prefetch_next();
        thread.links.prefetch_neighbours();
        first.timer.set_fired();
        self.leader_in_callback = true;
        self.fired += 1;
        self.leader_wakes_at = Deadline(0);
        Some(first.timer)
    }

    /// Called by the leader of `term` when it has become unclean: another worker becomes the leader, if there is one.
    fn step_down(&mut self, term: u32) {
        if self.leader_term != term {
            return;
        }
        if self.followers > 0 || self.spawning {
            self.clear_leader();
            let _ = self.ensure_leader();
        } else {
            self.unclean = true;
            self.update_fast_path_term();
        }
    }
}

/// A timer's function has called pthread_exit() or was cancelled, and the worker ends.
pub(crate) fn on_pthread_exit(thread: &'static Thread) {
    let Some(timer) = Handle::<Timer>::from_bits(thread.timer_bits()).live_object() else { return };
    let epoch = fork_epoch::fork_epoch();
    if !thread.has_flag(HAS_RESULT) {
        thread.set_result(ptr::null_mut());
    }
    finish_callback(thread, true);
    if fork_epoch::fork_epoch() != epoch {
        return;
    }
    finishing::finish(thread, timer);
    let mut registry = registry::lock();
    let timers = &mut registry.timers;
    if timers.leader_term == tls::with(|block| block.timer_leader_term.get()) {
        timers.clear_leader();
        drop(registry);
        ensure_successor();
    } else {
        timers.blocked_workers -= 1;
    }
}

/// There is no leader. If no thread can be created, the calling thread, which is ending, stays and retries as long as
/// timers are pending. (Each start of a timer also tries.)
fn ensure_successor() {
    let mut retry_delay = MIN_RETRY_NS;
    loop {
        let mut registry = registry::lock();
        let timers = &mut registry.timers;
        if timers.ensure_leader().is_ok() {
            return;
        }
        let Some(first) = timers.heap.peek() else { return };
        let until = first.deadline.max(Deadline::now().add_ns(retry_delay));
        timers.leader_wakes_at = until;
        let seen = LEADER_FUTEX.load(Ordering::Acquire);
        drop(registry);
        futex::wait(&LEADER_FUTEX, seen, until);
        retry_delay = (retry_delay * 2).min(MAX_RETRY_NS);
    }
}
