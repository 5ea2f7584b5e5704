//! What waits for a change of a thread's state or for its end, and what reclaims its stack and its entry then. The
//! states are those of `thread::object`.

use crate::sys::atomic::Ordering;
use core::ptr;

use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::sys::annotate;
use crate::sys::futex;
use crate::sys::pthread;
use crate::sys::pthread::JoinOutcome;
use crate::sys::tls;
use crate::thread::object::{
    ALIVE, EXITING, GONE, JOINABLE, JOINED, NEW, OVER, POLLING, RETURNED, SEVERAL, TIMER, Thread, WATCHED,
};
use crate::thread::stack_cache::Stack;
use crate::thread::{registry, stack_cache};
use crate::time::Deadline;
use crate::timer::worker;

/// How long a joiner sleeps before it looks again, where it may not be woken, in nanoseconds: the first time, and at
/// most.
const SHORTEST_PAUSE: u64 = 50_000;
const LONGEST_PAUSE: u64 = 5_000_000;

impl Thread {
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
        if annotate::is_active() {
            futex::wait(&self.state, word, until)
        } else {
            pthread::wait_shared(&self.state, word, until)
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

    /// While another caller asks pthread: whether the thread is gone, and its result known.
    fn seems_gone(&self) -> bool {
        !annotate::is_active()
            && self.is(RETURNED)
            && self.native_id() != 0
            && !pthread::thread_exists(self.native_id())
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
            JoinOutcome::Exited(result) => result,
            JoinOutcome::ExitedUnknown => ptr::null_mut(),
            JoinOutcome::StillRunning => {
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
        self.handle().internal_unref();
        Ok(true)
    }

    /// Race detectors see a thread end in `pthread_join` alone, which knows no time limit: before their eyes it is
    /// called when the thread is gone.
    fn try_join_system_thread(&self, stack: &Stack) -> JoinOutcome {
        // It has had a number since it began; a thread whose end is not announced may be about to get it.
        let id = self.native_id();
        if id == 0 || pthread::thread_exists(id) {
            JoinOutcome::StillRunning
        } else if stack.place().is_some() {
            JoinOutcome::ExitedUnknown
        } else {
            pthread::join(stack.thread.get())
        }
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
        self.handle().internal_unref();
    }

    /// Nobody will join its system thread any more: the process ends.
    pub(crate) fn leave_behind(&'static self) {
        let claimed = self.change(|station| matches!(station, ALIVE | JOINABLE).then_some(POLLING));
        if claimed.is_some() {
            // SAFETY: only threads of the system's come here.
            pthread::detach(unsafe { self.stack() }.thread.get());
        }
    }

    /// Whether this thread waits, without a limit, for the end of the other one.
    fn joins(&self, other: &Thread) -> bool {
        if self.state() != ALIVE {
            return false;
        }
        // SAFETY: a thread that is alive and has a system thread has a stack; records of stacks are never unmapped.
        let joined = unsafe { self.stack() }.joins.load(Ordering::SeqCst);
        // The record may serve another thread by now.
        ptr::eq(joined.cast(), other) && self.state() == ALIVE
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

/// In a child of fork: if a signal handler has forked while the calling thread was waiting for the end of threads,
/// those that were left behind are over, so that the waits end.
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
        let until = Deadline::now().add_ns(self.0);
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
            stack.joins.store(joined.cast_mut().cast(), Ordering::SeqCst);
        }
    }
}

impl Drop for Joins {
    fn drop(&mut self) {
        self.set(ptr::null());
    }
}
