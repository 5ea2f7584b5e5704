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

use crate::atomic::{AtomicU32, Ordering};
use core::ffi::c_void;
use core::ptr;

use super::heap::{Entry, Heap};
use super::life::{TIMER, Thread};
use super::pending::{self, Timer};
use super::{end, identity, registry, system, values};
use crate::defect::{Place, contain, inject};
use crate::detector::{happens_after, seen, unseen};
use crate::error::Result;
use crate::handle::Handle;
use crate::park;
use crate::per_thread;
use crate::sys;
use crate::time::Deadline;

/// How long the leader may be in one function before it is relieved, in nanoseconds; less the more threads
/// are in such functions, so that many at once are found out as fast.
const PATIENCE: u64 = 500_000;

/// Part of the registry, under whose guard it is.
pub(super) struct Timers {
    heap: Heap,
    /// Counts the leaders: a thread whose number is not this one any more has been relieved. 0 is no leader
    /// at all.
    lead: u32,
    leads: u32,
    /// When the leader will wake by itself.
    wakes_at: Deadline,
    /// How many functions have begun; the standby on watch compares.
    begun: u64,
    /// The leader is in a function.
    running: bool,
    /// A standby keeps watch.
    watched: bool,
    standbys: u32,
    /// A new thread is on its way to its part.
    coming: bool,
    /// How many threads are in functions from which they have been relieved.
    stuck: u32,
}

/// Changes when the leader must look at the heap again; it sleeps on it.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_own"))]
static BELL: AtomicU32 = AtomicU32::new(0);
/// Changes when a standby is needed; they sleep on it.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_own"))]
static CALL: AtomicU32 = AtomicU32::new(0);

fn ring(bell: &AtomicU32) {
    bell.fetch_add(1, Ordering::Release);
    park::wake_one(bell);
}

/// What the dispatcher's threads do.
extern "C-unwind" fn work(_: *mut c_void) -> *mut c_void {
    unseen(lead_and_stand_by);
    ptr::null_mut()
}

fn lead_and_stand_by() {
    const SLACK: libc::c_ulong = 1;
    // SAFETY: sets how late the kernel may wake this thread: as little as it can.
    unsafe { sys::prctl(libc::PR_SET_TIMERSLACK, SLACK, 0, 0, 0) };
    system::set_name(None, c"threading-timer");
    let epoch = park::fork::epoch();
    let native_id = identity::native_id() as u32;
    // After a defect the part goes on where it was; the functions run outside of what is contained, since they may
    // leave by pthread_exit.
    loop {
        let Some(part) = contain(stand_by) else { continue };
        let Some(lead) = part else { break };
        per_thread::with(|mine| mine.lead.set(lead));
        let mut now = Deadline(0);
        let mut over = None;
        loop {
            let Some(due) = contain(|| next_due(lead, &mut now, &mut over)) else { continue };
            let Some(timer) = due else { break };
            // SAFETY: it has begun, and keeps itself until it is over.
            run(unsafe { timer.living_thread() }, native_id);
            if park::fork::epoch() != epoch {
                // The function has forked, and this is the child, of which it is the main thread.
                return;
            }
            over = Some(timer);
        }
    }
}

/// The leader's: ends the timer whose function is over, if there is one, and sleeps until the next is due;
/// one step if one is already. `None` if it has been relieved. The clock was last read at `now`.
fn next_due(lead: u32, now: &mut Deadline, over: &mut Option<&'static Timer>) -> Option<&'static Timer> {
    loop {
        inject(Place::Dispatcher);
        let mut registry = registry::lock();
        // SAFETY: it keeps itself until `let_go`, below.
        let ended = over.take().map(|over| (registry.end_timer(unsafe { over.living_thread() }), over));
        let timers = &mut registry.timers;
        let relieved = timers.lead != lead;
        if ended.is_some() {
            timers.came_back(lead);
        }
        let seen = BELL.load(Ordering::Acquire);
        let due = if relieved { None } else { timers.take_due(now) };
        let until = timers.wakes_at;
        drop(registry);
        if let Some((news, over)) = ended {
            news.tell();
            Handle::of(over).let_go();
        }
        if relieved || due.is_some() {
            return due;
        }
        if !park::wait(&BELL, seen, until) {
            // Also if clock_gettime() has been replaced by one whose clock stands still.
            *now = (*now).max(until);
        }
    }
}

/// Sleeps, or keeps watch over the leader, until it is time to lead; the number of the lead then. `None` if
/// this thread is not needed.
fn stand_by() -> Option<u32> {
    let mut registry = registry::lock();
    let mut timers = &mut registry.timers;
    timers.coming = false;
    if timers.lead == 0 {
        return Some(timers.take_lead());
    }
    if timers.standbys > 0 {
        return None;
    }
    timers.standbys += 1;
    // The function that is watched, by its number, and until when the leader may be in it.
    let mut watch = None;
    loop {
        let seen = CALL.load(Ordering::Acquire);
        timers.watched = timers.running;
        watch = match watch {
            _ if !timers.running => None,
            Some((begun, until)) if begun == timers.begun => Some((begun, until)),
            _ => Some((timers.begun, Deadline::now().after(PATIENCE / (1 + u64::from(timers.stuck))))),
        };
        drop(registry);
        park::wait(&CALL, seen, watch.map_or(Deadline::NEVER, |(_, until)| until));
        registry = registry::lock();
        timers = &mut registry.timers;
        let same_function =
            timers.running && watch.is_some_and(|(begun, until)| begun == timers.begun && until.has_passed());
        if same_function {
            timers.stuck += 1;
        }
        if same_function || timers.lead == 0 {
            timers.standbys -= 1;
            return Some(timers.take_lead());
        }
    }
}

/// After a `schedule` that says so.
pub(super) fn wake_leader() {
    ring(&BELL);
}

impl Timers {
    pub(super) const NONE: Self = Timers {
        heap: Heap::new(),
        lead: 0,
        leads: 0,
        wakes_at: Deadline::NEVER,
        begun: 0,
        running: false,
        watched: false,
        standbys: 0,
        coming: false,
        stuck: 0,
    };

    /// Has the timer's function run at its moment. True if the leader would sleep beyond it, and must be
    /// woken when the guard is free.
    pub(super) fn schedule(&mut self, deadline: Deadline, timer: &'static Timer) -> Result<bool> {
        self.ensure_leader()?;
        self.heap.push(Entry { deadline, timer })?;
        // The leader need not be woken again for anything later than this.
        let too_long = deadline < self.wakes_at;
        self.wakes_at = self.wakes_at.min(deadline);
        Ok(too_long)
    }

    /// Forgets the timer, if it waits for its moment.
    pub(super) fn unschedule(&mut self, timer: &Timer) {
        self.heap.remove(timer);
    }

    /// There is a leader, or will be one in a moment.
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
            system::start_detached(work, ptr::null_mut())?;
            self.coming = true;
        }
        Ok(())
    }

    /// The leader is about to run a function: a standby keeps watch meanwhile.
    fn have_it_watched(&mut self) {
        self.running = true;
        if self.watched {
            return;
        }
        if self.standbys > 0 {
            ring(&CALL);
            self.watched = true;
        } else {
            // Where the system refuses the thread, other timers wait for this function.
            self.watched = self.ensure_thread().is_ok();
        }
    }

    /// The leader's: the first timer, if it is due; its function has begun. Reads the clock only if the last
    /// reading, in `now`, does not say it already.
    fn take_due(&mut self, now: &mut Deadline) -> Option<&'static Timer> {
        let Some(first) = self.heap.first() else {
            self.wakes_at = Deadline::NEVER;
            return None;
        };
        if first.deadline > *now {
            *now = Deadline::now();
            if first.deadline > *now {
                self.wakes_at = first.deadline;
                return None;
            }
        }
        self.heap.remove(first.timer);
        self.heap.bring_next_near();
        first.timer.begin();
        self.begun += 1;
        self.wakes_at = Deadline(0);
        self.have_it_watched();
        Some(first.timer)
    }

    /// Whoever got this lead is back from a function, and has been relieved if it has not got the lead any
    /// more.
    fn came_back(&mut self, lead: u32) {
        if self.lead == lead {
            self.running = false;
        } else {
            self.stuck -= 1;
        }
    }

    fn take_lead(&mut self) -> u32 {
        self.leads = self.leads.wrapping_add(1).max(1);
        self.lead = self.leads;
        self.running = false;
        self.watched = false;
        self.lead
    }
}

/// Runs a timer's function as the timer's thread, on the system thread with this number.
fn run(thread: &'static Thread, native_id: u32) {
    contain(|| {
        // Without the announcement, a function that leaves by pthread_exit would never end: rather not at all.
        let _ = end::arm();
        thread.set_native_id(native_id);
        identity::become_ident(thread.ident());
        per_thread::with(|mine| mine.thread.set(thread.handle().bits()));
        happens_after(thread);
    });
    // SAFETY: whoever made the timer promised that function and argument go together.
    let result = seen(|| unsafe { thread.run_or_override() });
    if !thread.is(TIMER) {
        // The function has forked: in the child its thread is the main one.
        return;
    }
    contain(|| {
        thread.set_result(result);
        leave(thread);
    });
}

/// After a timer's function: what it was and had on this system thread goes.
fn leave(thread: &'static Thread) {
    thread.destroy_arg();
    values::destroy_all();
    if !thread.is(TIMER) {
        // As above: a destructor has.
        return;
    }
    values::give_back();
    per_thread::with(|mine| {
        mine.thread.set(0);
        mine.key.set(0);
    });
}

/// A timer's function has been left by `pthread_exit`, and with it this system thread.
pub(crate) fn left_by_exit(thread: &'static Thread) {
    let Ok((timer, _)) = Handle::<Timer>::from_bits(thread.extra()).check() else { return };
    let epoch = park::fork::epoch();
    thread.set_result(ptr::null_mut());
    leave(thread);
    if park::fork::epoch() != epoch {
        return;
    }
    pending::finish(thread, timer);
    let mut registry = registry::lock();
    let timers = &mut registry.timers;
    if timers.lead == per_thread::with(|mine| mine.lead.get()) {
        timers.lead = 0;
        timers.running = false;
        // Where the system refuses a thread, the next start of a timer tries again.
        let _ = timers.ensure_leader();
    } else {
        timers.stuck -= 1;
    }
}

impl Timers {
    /// In a child of fork: no timer is pending and no thread waits for one. Their threads are ended by the
    /// registry.
    pub(super) fn begin_child(&mut self) {
        self.lead = 0;
        self.running = false;
        self.watched = false;
        self.standbys = 0;
        self.coming = false;
        self.stuck = 0;
        self.wakes_at = Deadline::NEVER;
        self.heap.clear();
    }
}
