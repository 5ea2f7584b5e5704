//! Timers: who waits for their moment, and who runs their functions.
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
use crate::thread::object::{RETURNED, TIMER, Thread};
use crate::thread::{ident, registry};
use crate::time::Deadline;
use crate::timer::finishing;
use crate::timer::heap::Entry;
use crate::timer::object::Timer;
use crate::timer::queue::{BELL, CALL, FIRST_PAUSE, LONGEST_PAUSE, Timers, UNWATCHED, ring};

/// How long the leader may be in one function before it is relieved, in nanoseconds; less the more threads
/// are in such functions, so that many at once are found out as fast.
const PATIENCE: u64 = 500_000;

/// What a new thread was started for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arrival {
    /// A part that has no thread.
    Part,
    /// To replace an unclean leader.
    Replacement,
    /// It has arrived before.
    None,
}

unsafe extern "C-unwind" {
    #[cfg(not(model))]
    fn pthread_testcancel();
}

/// What the dispatcher's threads do.
extern "C-unwind" fn work(arrival: *mut c_void) -> *mut c_void {
    let arrival = if arrival.is_null() { Arrival::Part } else { Arrival::Replacement };
    ignore_accesses(|| lead_and_stand_by(arrival));
    ptr::null_mut()
}

fn lead_and_stand_by(mut arrival: Arrival) {
    const SLACK: libc::c_ulong = 1;
    // SAFETY: sets how late the kernel may wake this thread: as little as it can.
    unsafe { sys::prctl(libc::PR_SET_TIMERSLACK, SLACK, 0, 0, 0) };
    let mut state = ThreadState::init_current();
    let epoch = fork_epoch::fork_epoch();
    let native_id = ident::native_id() as u32;
    // After a defect the part goes on where it was; the functions run outside of what is contained, since they may
    // leave by pthread_exit.
    loop {
        let Some(part) = catch_panic(|| stand_by(&mut arrival, state.is_clean)) else { continue };
        let Some(lead) = part else { break };
        tls::with(|mine| mine.timer_leader_term.set(lead));
        let mut now = Deadline(0);
        let mut over = None;
        loop {
            let next = || next_due(lead, &mut now, &mut over, &mut state);
            let Some(due) = catch_panic(next) else { continue };
            let Some(timer) = due else { break };
            // SAFETY: it has begun, and keeps itself until it is over.
            run(unsafe { timer.living_thread() }, native_id, &mut state);
            if fork_epoch::fork_epoch() != epoch {
                // The function has forked, and this is the child, of which it is the main thread.
                return;
            }
            over = Some(timer);
        }
    }
}

/// The leader's: ends the timer whose function is over, if there is one, puts back what the function may have changed
/// in the kernel, and sleeps until the next is due; one step if one is already. `None` if it leads no longer. The
/// clock was last read at `now`.
fn next_due(
    lead: u32,
    now: &mut Deadline,
    over: &mut Option<&'static Timer>,
    state: &mut ThreadState,
) -> Option<&'static Timer> {
    loop {
        inject(FaultPoint::TimerWorker);
        let mut registry = registry::lock();
        // SAFETY: it keeps itself until `let_go`, below.
        let ended = over.take().map(|over| (registry.end_timer(unsafe { over.living_thread() }), over));
        let timers = &mut registry.timers;
        let relieved = timers.lead != lead;
        if ended.is_some() {
            timers.came_back(lead);
        }
        let seen = BELL.load(Ordering::Acquire);
        let due = if relieved || state.needs_check() { None } else { timers.take_due(now) };
        let until = timers.wakes_at;
        let untold = core::mem::take(&mut timers.untold);
        drop(registry);
        if let Some((news, over)) = ended {
            news.tell();
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
        if untold {
            tell_of_unwatched();
        }
        if relieved || due.is_some() {
            return due;
        }
        if !futex::wait(&BELL, seen, until) {
            // Also if clock_gettime() has been replaced by one whose clock stands still.
            *now = (*now).max(until);
        }
    }
}

/// Wakes the threads that wait for timers, so that they ask for a standby. One that was about to sleep, and did not
/// see `UNWATCHED`, sleeps by the second time.
#[cold]
fn tell_of_unwatched() {
    registry::wake_those_that_wait_for_timers();
    futex::wait(&AtomicU32::new(0), 0, Deadline::now().add_ns(FIRST_PAUSE));
    registry::wake_those_that_wait_for_timers();
}

/// For a thread that waits for timers: asks for a standby if functions run without one. Returns until when it may
/// sleep, to call this again.
#[inline]
pub(crate) fn attend(deadline: Deadline) -> Deadline {
    if UNWATCHED.load(Ordering::Acquire) == 0 {
        return deadline;
    }
    let timers = &mut registry::lock().timers;
    timers.ask_again();
    if timers.unwatched { deadline.min(Deadline::now().add_ns(LONGEST_PAUSE)) } else { deadline }
}

/// Sleeps, or keeps watch over the leader, until it is time to lead; the number of the lead then. `None` if
/// this thread is not needed.
fn stand_by(arrival: &mut Arrival, is_clean: bool) -> Option<u32> {
    let mut registry = registry::lock();
    let mut timers = &mut registry.timers;
    match core::mem::replace(arrival, Arrival::None) {
        Arrival::Part => timers.coming = false,
        Arrival::Replacement => {
            timers.replacement = false;
            // The leader has waited for it.
            ring(&BELL);
        }
        Arrival::None => {}
    }
    if timers.may_lead(is_clean) {
        return Some(timers.take_lead(is_clean));
    }
    if timers.standbys > 0 || timers.is_better_without(is_clean) {
        return None;
    }
    timers.standbys += 1;
    timers.have_a_standby();
    // The function that is watched, by its number, and until when the leader may be in it.
    let mut watch = None;
    loop {
        let seen = CALL.load(Ordering::Acquire);
        timers.watched = timers.running;
        watch = match watch {
            _ if !timers.running => None,
            Some((begun, until)) if begun == timers.begun => Some((begun, until)),
            _ => Some((timers.begun, Deadline::now().add_ns(PATIENCE / (1 + u64::from(timers.stuck))))),
        };
        drop(registry);
        futex::wait(&CALL, seen, watch.map_or(Deadline::NEVER, |(_, until)| until));
        registry = registry::lock();
        timers = &mut registry.timers;
        let same_function =
            timers.running && watch.is_some_and(|(begun, until)| begun == timers.begun && until.has_passed());
        if same_function {
            timers.stuck += 1;
        }
        if same_function || timers.lead == 0 {
            timers.standbys -= 1;
            return Some(timers.take_lead(is_clean));
        }
        if timers.is_better_without(is_clean) && !timers.running {
            timers.standbys -= 1;
            timers.watched = false;
            return None;
        }
    }
}

impl Timers {
    /// Has the timer's function run at its moment. True if the leader would sleep beyond it, and must be
    /// woken when the guard is free.
    pub(crate) fn schedule(&mut self, deadline: Deadline, timer: &'static Timer) -> Result<bool> {
        if self.settled != self.lead {
            self.ensure_leader()?;
            self.ask_again();
        }
        self.heap.push(Entry { deadline, timer })?;
        // The leader need not be woken again for anything later than this.
        let too_long = deadline < self.wakes_at;
        self.wakes_at = self.wakes_at.min(deadline);
        Ok(too_long)
    }

    /// Forgets the timer, if it waits for its moment.
    pub(crate) fn unschedule(&mut self, timer: &Timer) {
        self.heap.remove(timer);
        if self.settled != self.lead {
            self.ask_again();
        }
    }

    /// Asks for a thread where one was refused, or where the leader is unclean and the calling thread can start one
    /// that is not.
    #[cold]
    fn ask_again(&mut self) {
        if self.lead == 0 {
            self.no_longer_unwatched();
            return;
        }
        if self.unwatched && self.retry_at.has_passed() {
            self.pause_before_next();
            let _ = self.ensure_thread();
        }
        if self.unclean && !self.replacement && thread_state::can_inherit_scheduling() {
            const NOT_NULL: *mut c_void = ptr::dangling_mut();
            self.replacement = pthread::start_detached(work, NOT_NULL).is_ok();
        }
    }

    /// There is a leader, or will be one in a moment.
    #[cold]
    fn ensure_leader(&mut self) -> Result<()> {
        if self.lead != 0 {
            Ok(())
        } else if self.standbys > 0 {
            ring(&CALL);
            Ok(())
        } else {
            self.ensure_thread()
        }
    }

    /// A new thread is there in a moment: a leader if there is none, or else a standby.
    fn ensure_thread(&mut self) -> Result<()> {
        if !self.coming {
            thread_state::record_baseline();
            pthread::start_detached(work, ptr::null_mut())?;
            self.coming = true;
        }
        Ok(())
    }

    /// The leader wants to run a function: whether it may. A standby keeps watch then, but where none is to be had
    /// for long.
    fn have_it_watched(&mut self) -> bool {
        if self.watched {
            return true;
        }
        if self.standbys > 0 {
            ring(&CALL);
        } else if self.coming || self.retry_at.has_passed() && self.ensure_thread().is_ok() {
            self.have_a_standby();
        } else {
            return self.may_be_unwatched();
        }
        self.watched = true;
        true
    }

    /// The leader's: the first timer, if it is due and its function may begin, which it then has. Reads the clock
    /// only if the last reading, in `now`, does not say it already.
    fn take_due(&mut self, now: &mut Deadline) -> Option<&'static Timer> {
        let Some(first) = self.heap.first() else {
            self.wakes_at = Deadline::NEVER;
            self.no_longer_unwatched();
            return None;
        };
        if first.deadline > *now {
            *now = Deadline::now();
            if first.deadline > *now {
                self.wakes_at = first.deadline;
                self.no_longer_unwatched();
                return None;
            }
        }
        if self.unclean && self.replacement {
            // The new thread takes the lead, and wakes this one.
            self.wakes_at = Deadline::NEVER;
            return None;
        }
        if !self.have_it_watched() {
            return None;
        }
        self.heap.remove(first.timer);
        self.heap.bring_next_near();
        first.timer.begin();
        self.running = true;
        self.begun += 1;
        self.wakes_at = Deadline(0);
        Some(first.timer)
    }

    /// A leader that has become unclean: another thread takes the lead, if there is one.
    fn step_down(&mut self, lead: u32) {
        if self.lead != lead {
            return;
        }
        if self.standbys > 0 || self.coming {
            self.no_leader();
            let _ = self.ensure_leader();
        } else {
            self.unclean = true;
            self.settle();
        }
    }
}

/// Runs a timer's function as the timer's thread, on the system thread with this number.
fn run(thread: &'static Thread, native_id: u32, state: &mut ThreadState) {
    catch_panic(|| {
        // Without the announcement, a function that leaves by pthread_exit would never end: rather not at all.
        let _ = register_exit_hook();
        thread.set_native_id_unawaited(native_id);
        ident::become_ident(thread.ident());
        tls::with(|mine| mine.thread.set(thread.handle().bits()));
        happens_after(thread);
    });
    let function = thread.function_address();
    thread_state::clear_errno();
    let stopwatch = if state.is_trusted(function) { Stopwatch::unmeasured() } else { Stopwatch::start() };
    // SAFETY: whoever made the timer promised that function and argument go together.
    let result = observe_accesses(|| unsafe { thread.run_or_override() });
    let stopped = stopwatch.stop();
    if !thread.is(TIMER) {
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
    let calls_destructors = thread.owes_destruction() || tls::with(|mine| mine.locals.get()) != 0;
    if calls_destructors {
        state.note_untrusted();
    } else if let Some(stopped) = stopped {
        state.note_function_end(function, stopped);
    }
    catch_panic(|| leave(thread));
    if calls_destructors && thread.is(TIMER) {
        thread_state::restore_libc_state();
    }
}

/// After a timer's function: what it was and had on this system thread goes.
fn leave(thread: &'static Thread) {
    thread.destroy_arg();
    tables::destroy_all();
    if !thread.is(TIMER) {
        // As above: a destructor has.
        return;
    }
    tables::give_back();
    tls::with(|mine| {
        mine.thread.set(0);
        mine.owner_tag.set(0);
    });
}

/// A timer's function has been left by `pthread_exit`, or cancelled, and with it this system thread.
pub(crate) fn left_by_exit(thread: &'static Thread) {
    let Ok((timer, _)) = Handle::<Timer>::from_bits(thread.extra()).check() else { return };
    let epoch = fork_epoch::fork_epoch();
    if !thread.is(RETURNED) {
        thread.set_result(ptr::null_mut());
    }
    leave(thread);
    if fork_epoch::fork_epoch() != epoch {
        return;
    }
    finishing::finish(thread, timer);
    let mut registry = registry::lock();
    let timers = &mut registry.timers;
    if timers.lead == tls::with(|mine| mine.timer_leader_term.get()) {
        timers.no_leader();
        drop(registry);
        find_successor();
    } else {
        timers.stuck -= 1;
    }
}

/// The lead is free. Where no thread can be created, this one, which is ending, stays and asks again, as long as
/// timers are pending; the start of a timer asks as well.
fn find_successor() {
    let mut pause = FIRST_PAUSE;
    loop {
        let mut registry = registry::lock();
        let timers = &mut registry.timers;
        if timers.ensure_leader().is_ok() {
            return;
        }
        let Some(first) = timers.heap.first() else { return };
        let until = first.deadline.max(Deadline::now().add_ns(pause));
        timers.wakes_at = until;
        let seen = BELL.load(Ordering::Acquire);
        drop(registry);
        futex::wait(&BELL, seen, until);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
