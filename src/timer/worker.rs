//! TimerQueue: who waits for their moment, and who runs their functions.
//!
//! All pending timers lie in one heap. A few system threads, shared by all timers and started with the first,
//! have these parts:
//!
//! - the *leader* sleeps until the first timer is due and runs the functions of those that are, one after the
//!   other;
//! - a *standby* sleeps. While the leader runs functions, one standby keeps watch: it looks again every half
//!   a millisecond, and when the leader has been in the same function all the while, it takes the lead over;
//! - a thread that comes back from a function and finds another leader becomes a standby, or ends if there is
//!   one.
//!
//! So ten thousand timers due at once are run by one thread, and a function that blocks delays no other. When
//! nothing is due, all of them sleep without a limit but the leader's.
//!
//! # A function begins only while a standby can watch it
//!
//! So each function that blocks is relieved, and the thread that relieves it first finds a standby of its own.
//! `timer::queue` has a table of what happens where no thread can be created for that.
//!
//! A leader that is left by `pthread_exit`, where its successor cannot be created, stays until it can, as long
//! as timers are pending. No state is looked at periodically when no timer is due.
//!
//! # Each function begins in the same state
//!
//! `sys::thread_state` has the table. What a function has changed in the kernel is put back after its end has been
//! announced. A thread whose state the system does not put back is *unclean*: as a leader it steps down if there is
//! another thread, and the next start by a clean thread starts one.

use crate::sync::fork_epoch;
use crate::sys::atomic::{AtomicU32, Ordering};
use core::ffi::c_void;
use core::ptr;

use crate::error::Result;
use crate::handle::Handle;
use crate::local::tables;
use crate::panic_boundary::{FaultPoint, catch_panic, inject};
use crate::sys;
use crate::sys::annotate::{happens_after, ignore_accesses, observe_accesses};
use crate::sys::futex;
use crate::sys::libc_hooks::register_exit_hook;
use crate::sys::pthread;
use crate::sys::thread_state;
use crate::sys::thread_state::{Stopwatch, ThreadState};
use crate::sys::tls;
use crate::thread::object::{HAS_RESULT, TIMER, Thread};
use crate::thread::{ident, registry};
use crate::time::Deadline;
use crate::timer::finishing;
use crate::timer::heap::Entry;
use crate::timer::object::Timer;
use crate::timer::queue::{
    FOLLOWER_FUTEX, LEADER_FUTEX, MAX_RETRY_NS, MIN_RETRY_NS, TimerQueue, UNMONITORED, bump_and_wake,
};

/// How long the leader may be in one function before it is relieved, in nanoseconds; less the more threads
/// are in such functions, so that many at once are found out as fast.
const TAKEOVER_NS: u64 = 500_000;

/// What a new thread was started for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SpawnReason {
    /// A part that has no thread.
    LeaderOrFollower,
    /// To replace an unclean leader.
    Replacement,
    /// It has arrived before.
    Handled,
}

unsafe extern "C-unwind" {
    #[cfg(not(model))]
    fn pthread_testcancel();
}

/// What the dispatcher's threads do.
extern "C-unwind" fn worker_main(reason: *mut c_void) -> *mut c_void {
    let reason = if reason.is_null() { SpawnReason::LeaderOrFollower } else { SpawnReason::Replacement };
    ignore_accesses(|| lead_and_follow(reason));
    ptr::null_mut()
}

fn lead_and_follow(mut reason: SpawnReason) {
    const TIMER_SLACK_NS: libc::c_ulong = 1;
    // SAFETY: sets how late the kernel may wake this thread: as little as it can.
    unsafe { sys::prctl(libc::PR_SET_TIMERSLACK, TIMER_SLACK_NS, 0, 0, 0) };
    let mut state = ThreadState::init_current();
    let epoch = fork_epoch::fork_epoch();
    let native_id = ident::native_id() as u32;
    // After a defect the part goes on where it was; the functions run outside of what is contained, since they may
    // leave by pthread_exit.
    loop {
        let Some(part) = catch_panic(|| follow(&mut reason, state.is_clean)) else { continue };
        let Some(lead) = part else { break };
        tls::with(|block| block.timer_leader_term.set(lead));
        let mut now = Deadline(0);
        let mut finished = None;
        loop {
            let next = || finish_and_wait_for_next(lead, &mut now, &mut finished, &mut state);
            let Some(due) = catch_panic(next) else { continue };
            let Some(timer) = due else { break };
            // SAFETY: it has begun, and keeps itself until it is over.
            run_callback(unsafe { timer.thread_unchecked() }, native_id, &mut state);
            if fork_epoch::fork_epoch() != epoch {
                // The function has forked, and this is the child, of which it is the main thread.
                return;
            }
            finished = Some(timer);
        }
    }
}

/// The leader's: ends the timer whose function is over, if there is one, puts back what the function may have changed
/// in the kernel, and sleeps until the next is due; one step if one is already. `None` if it last_term no longer. The
/// clock was last read at `now`.
fn finish_and_wait_for_next(
    lead: u32,
    now: &mut Deadline,
    finished: &mut Option<&'static Timer>,
    state: &mut ThreadState,
) -> Option<&'static Timer> {
    loop {
        inject(FaultPoint::TimerWorker);
        let mut registry = registry::lock();
        // SAFETY: it keeps itself until `let_go`, below.
        let ended =
            finished.take().map(|over| (registry.finish_timer(unsafe { over.thread_unchecked() }), over));
        let timers = &mut registry.timers;
        let relieved = timers.leader_term != lead;
        if ended.is_some() {
            timers.callback_returned(lead);
        }
        let seen = LEADER_FUTEX.load(Ordering::Acquire);
        let due = if relieved || state.needs_check() { None } else { timers.pop_due(now) };
        let until = timers.leader_wakes_at;
        let must_notify_waiters = core::mem::take(&mut timers.must_notify_waiters);
        drop(registry);
        if let Some((deferred, over)) = ended {
            deferred.wake();
            Handle::of(over).internal_unref();
        }
        if due.is_none() && state.has_unchecked_functions() {
            let was_clean = state.is_clean;
            state.restore_kernel_state();
            if was_clean && !state.is_clean {
                registry::lock().timers.step_down(lead);
            }
            continue;
        }
        if must_notify_waiters {
            notify_unmonitored();
        }
        if relieved || due.is_some() {
            return due;
        }
        if !futex::wait(&LEADER_FUTEX, seen, until) {
            // Also if clock_gettime() has been replaced by one whose clock stands still.
            *now = (*now).max(until);
        }
    }
}

/// Wakes the threads that wait for timers, so that they ask for a standby. One that was about to sleep, and did not
/// see `UNMONITORED`, sleeps by the second time.
#[cold]
fn notify_unmonitored() {
    registry::wake_timer_waiters();
    futex::wait(&AtomicU32::new(0), 0, Deadline::now().add_ns(MIN_RETRY_NS));
    registry::wake_timer_waiters();
}

/// For a thread that waits for timers: asks for a standby if functions run without one. Returns until when it may
/// sleep, to call this again.
#[inline]
pub(crate) fn retry_follower_if_unmonitored(deadline: Deadline) -> Deadline {
    if UNMONITORED.load(Ordering::Acquire) == 0 {
        return deadline;
    }
    let timers = &mut registry::lock().timers;
    timers.retry_spawn();
    if timers.unmonitored { deadline.min(Deadline::now().add_ns(MAX_RETRY_NS)) } else { deadline }
}

/// Sleeps, or keeps watch over the leader, until it is time to lead; the number of the lead then. `None` if
/// this thread is not needed.
fn follow(reason: &mut SpawnReason, is_clean: bool) -> Option<u32> {
    let mut registry = registry::lock();
    let mut timers = &mut registry.timers;
    match core::mem::replace(reason, SpawnReason::Handled) {
        SpawnReason::LeaderOrFollower => timers.spawning = false,
        SpawnReason::Replacement => {
            timers.spawning_replacement = false;
            // The leader has waited for it.
            bump_and_wake(&LEADER_FUTEX);
        }
        SpawnReason::Handled => {}
    }
    if timers.may_lead(is_clean) {
        return Some(timers.become_leader(is_clean));
    }
    if timers.followers > 0 || timers.must_not_follow(is_clean) {
        return None;
    }
    timers.followers += 1;
    timers.clear_spawn_refusal();
    // The function that is watched, by its number, and until when the leader may be in it.
    let mut monitored = None;
    loop {
        let seen = FOLLOWER_FUTEX.load(Ordering::Acquire);
        timers.has_monitor = timers.leader_in_callback;
        monitored = match monitored {
            _ if !timers.leader_in_callback => None,
            Some((begun, until)) if begun == timers.fired => Some((begun, until)),
            _ => Some((
                timers.fired,
                Deadline::now().add_ns(TAKEOVER_NS / (1 + u64::from(timers.blocked_workers))),
            )),
        };
        drop(registry);
        futex::wait(&FOLLOWER_FUTEX, seen, monitored.map_or(Deadline::NEVER, |(_, until)| until));
        registry = registry::lock();
        timers = &mut registry.timers;
        let same_function = timers.leader_in_callback
            && monitored.is_some_and(|(begun, until)| begun == timers.fired && until.has_passed());
        if same_function {
            timers.blocked_workers += 1;
        }
        if same_function || timers.leader_term == 0 {
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
    /// Has the timer's function run at its moment. True if the leader would sleep beyond it, and must be
    /// woken when the guard is free.
    pub(crate) fn schedule(&mut self, deadline: Deadline, timer: &'static Timer) -> Result<bool> {
        if self.fast_path_term != self.leader_term {
            self.ensure_leader()?;
            self.retry_spawn();
        }
        self.heap.push(Entry { deadline, timer })?;
        // The leader need not be woken again for anything later than this.
        let too_long = deadline < self.leader_wakes_at;
        self.leader_wakes_at = self.leader_wakes_at.min(deadline);
        Ok(too_long)
    }

    /// Forgets the timer, if it waits for its moment.
    pub(crate) fn unschedule(&mut self, timer: &Timer) {
        self.heap.remove(timer);
        if self.fast_path_term != self.leader_term {
            self.retry_spawn();
        }
    }

    /// Asks for a thread where one was refused, or where the leader is unclean and the calling thread can start one
    /// that is not.
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
        if self.unclean && !self.spawning_replacement && thread_state::can_inherit_scheduling() {
            const NOT_NULL: *mut c_void = ptr::dangling_mut();
            self.spawning_replacement = pthread::start_detached(worker_main, NOT_NULL).is_ok();
        }
    }

    /// There is a leader, or will be one in a moment.
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

    /// A new thread is there in a moment: a leader if there is none, or else a standby.
    fn ensure_thread(&mut self) -> Result<()> {
        if !self.spawning {
            thread_state::record_baseline();
            pthread::start_detached(worker_main, ptr::null_mut())?;
            self.spawning = true;
        }
        Ok(())
    }

    /// The leader wants to run a function: whether it may. A standby keeps watch then, but where none is to be had
    /// for long.
    fn ensure_monitor(&mut self) -> bool {
        if self.has_monitor {
            return true;
        }
        if self.followers > 0 {
            bump_and_wake(&FOLLOWER_FUTEX);
        } else if self.spawning || self.retry_at.has_passed() && self.ensure_thread().is_ok() {
            self.clear_spawn_refusal();
        } else {
            return self.try_run_unmonitored();
        }
        self.has_monitor = true;
        true
    }

    /// The leader's: the first timer, if it is due and its function may begin, which it then has. Reads the clock
    /// only if the last reading, in `now`, does not say it already.
    fn pop_due(&mut self, now: &mut Deadline) -> Option<&'static Timer> {
        let Some(first) = self.heap.peek() else {
            self.leader_wakes_at = Deadline::NEVER;
            self.clear_unmonitored();
            return None;
        };
        if first.deadline > *now {
            *now = Deadline::now();
            if first.deadline > *now {
                self.leader_wakes_at = first.deadline;
                self.clear_unmonitored();
                return None;
            }
        }
        if self.unclean && self.spawning_replacement {
            // The new thread takes the lead, and wakes this one.
            self.leader_wakes_at = Deadline::NEVER;
            return None;
        }
        if !self.ensure_monitor() {
            return None;
        }
        self.heap.remove(first.timer);
        self.heap.prefetch_next();
        first.timer.set_fired();
        self.leader_in_callback = true;
        self.fired += 1;
        self.leader_wakes_at = Deadline(0);
        Some(first.timer)
    }

    /// A leader that has become unclean: another thread takes the lead, if there is one.
    fn step_down(&mut self, lead: u32) {
        if self.leader_term != lead {
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

/// Runs a timer's function as the timer's thread, on the system thread with this number.
fn run_callback(thread: &'static Thread, native_id: u32, state: &mut ThreadState) {
    catch_panic(|| {
        // Without the announcement, a function that leaves by pthread_exit would never end: rather not at all.
        let _ = register_exit_hook();
        thread.set_native_id_without_wake(native_id);
        ident::set_current_ident(thread.ident());
        tls::with(|block| block.thread.set(thread.handle().bits()));
        happens_after(thread);
    });
    let function = thread.function_address();
    thread_state::clear_errno();
    let stopwatch = if state.is_trusted(function) { Stopwatch::unmeasured() } else { Stopwatch::start() };
    // SAFETY: whoever made the timer promised that function and argument go together.
    let result = observe_accesses(|| unsafe { thread.run_override_or_target() });
    let stopped = stopwatch.stop();
    if !thread.has_flag(TIMER) {
        // The function has forked: in the child its thread is the main one.
        return;
    }
    thread_state::restore_libc_state();
    catch_panic(|| thread.set_result(result));
    // A cancellation that came too late for this function must not end the next one: this thread ends instead, as one
    // that the function has left by pthread_exit does.
    #[cfg(not(model))]
    // SAFETY: nothing waits to be dropped in this frame.
    observe_accesses(|| unsafe { pthread_testcancel() });
    let calls_destructors = thread.has_pending_arg_destructor() || tls::with(|block| block.locals.get()) != 0;
    if calls_destructors {
        state.note_untrusted();
    } else if let Some(stopped) = stopped {
        state.note_function_end(function, stopped);
    }
    catch_panic(|| finish_callback(thread));
    if calls_destructors && thread.has_flag(TIMER) {
        thread_state::restore_libc_state();
    }
}

/// After a timer's function: what it was and had on this system thread goes.
fn finish_callback(thread: &'static Thread) {
    thread.destroy_arg();
    tables::destroy_all();
    if !thread.has_flag(TIMER) {
        // As above: a destructor has.
        return;
    }
    tables::free_current();
    tls::with(|block| {
        block.thread.set(0);
        block.owner_tag.set(0);
    });
}

/// A timer's function has been left by `pthread_exit`, or cancelled, and with it this system thread.
pub(crate) fn on_pthread_exit(thread: &'static Thread) {
    let Ok((timer, _)) = Handle::<Timer>::from_bits(thread.timer_bits()).check() else { return };
    let epoch = fork_epoch::fork_epoch();
    if !thread.has_flag(HAS_RESULT) {
        thread.set_result(ptr::null_mut());
    }
    finish_callback(thread);
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

/// The lead is free. Where no thread can be created, this one, which is ending, stays and asks again, as long as
/// timers are pending; the start of a timer asks as well.
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
