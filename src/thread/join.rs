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
    AWAITING_POLL, DONE, EXITING, HAS_JOINER, HAS_RESULT, HAS_STATE_WAITERS, NOT_STARTED, POLLING, RUNNING,
    SEVERAL_JOINERS, TERMINATED, TIMER, Thread,
};
use crate::thread::stack_cache::Stack;
use crate::thread::{registry, stack_cache};
use crate::time::Deadline;
use crate::timer::worker;

/// How long a joiner sleeps before it looks again, where it may not be woken, in nanoseconds: the first time, and at
/// most.
const MIN_POLL_INTERVAL_NS: u64 = 50_000;
const MAX_POLL_INTERVAL_NS: u64 = 5_000_000;

impl Thread {
    /// Waits until the state is another than this one. False if the time ran out.
    pub(crate) fn wait_while(&self, state: u32, deadline: Deadline) -> bool {
        if self.state() != state {
            return true;
        }
        registry::with_lock(|| self.flags.fetch_or(HAS_STATE_WAITERS, Ordering::SeqCst));
        loop {
            let word = self.state.load(Ordering::Acquire);
            if self.state_of(word) != state {
                return true;
            }
            let until =
                if self.has_flag(TIMER) { worker::retry_follower_if_unmonitored(deadline) } else { deadline };
            if !futex::wait(&self.state, word, until) && until == deadline {
                return self.state() != state;
            }
        }
    }

    /// Waits for the end of the thread, whatever kind it is. False if the time ran out. The caller has pinned
    /// the slot.
    pub(crate) fn join(&'static self, deadline: Deadline) -> Result<bool> {
        if self.state() == DONE {
            return Ok(self.is_done());
        }
        ActiveJoin::track(self, || {
            if self.has_os_thread() {
                self.join_os_thread(deadline)
            } else {
                Ok(self.join_main_or_timer(deadline))
            }
        })
    }

    /// Of main, or a timer.
    fn join_main_or_timer(&self, deadline: Deadline) -> bool {
        loop {
            match self.state() {
                DONE => return self.is_done(),
                // Waited for in the state that was looked at: had it been read anew, it could be the last.
                state => {
                    if !self.wait_while(state, deadline) {
                        return false;
                    }
                }
            }
        }
    }

    fn join_os_thread(&'static self, deadline: Deadline) -> Result<bool> {
        let _unbounded =
            if deadline == Deadline::NEVER { UnboundedJoin::register(self)? } else { UnboundedJoin(None) };
        let mut backoff = PollBackoff(MIN_POLL_INTERVAL_NS);
        let (mut is_first, mut are_several, mut has_expired) = (false, false, false);
        loop {
            let word = self.state.load(Ordering::Acquire);
            let state = self.state_of(word);
            match state {
                TERMINATED | DONE => {
                    if are_several {
                        self.wake_joiners();
                    }
                    if state == TERMINATED {
                        self.reap_if_terminated();
                    }
                    return Ok(self.is_done());
                }
                NOT_STARTED => return Err(Error::NotStarted),
                AWAITING_POLL if self.try_reap()? => continue,
                POLLING if self.appears_terminated() => return Ok(true),
                _ => {}
            }
            if has_expired || deadline.has_passed() {
                return Ok(false);
            }
            if matches!(state, AWAITING_POLL | POLLING) {
                let until = backoff.next_deadline(deadline);
                has_expired = !self.wait_on_state(word, until) && until == deadline;
                continue;
            }
            let joiner_bit = if is_first || word & HAS_JOINER == 0 { HAS_JOINER } else { SEVERAL_JOINERS };
            let updated = word | joiner_bit;
            if updated != word {
                if self.state.compare_exchange(word, updated, Ordering::SeqCst, Ordering::Relaxed).is_err() {
                    continue;
                }
                is_first |= joiner_bit == HAS_JOINER;
                if joiner_bit == SEVERAL_JOINERS && state == EXITING {
                    // The first one sleeps without pauses, and the kernel may wake the calling thread instead of it.
                    self.wake_joiners();
                }
            }
            are_several = updated & SEVERAL_JOINERS != 0;
            let must_poll = state == EXITING && are_several;
            let until = if must_poll { backoff.next_deadline(deadline) } else { deadline };
            has_expired = !self.wait_on_state(updated, until) && until == deadline;
        }
    }

    /// Sleeps as long as the word of a thread with a system thread is this one. False only if the timeout expired, also
    /// by a clock that does not move.
    fn wait_on_state(&self, word: u32, until: Deadline) -> bool {
        // Race detectors let signals in between two slices of a wait; before their eyes the kernel clears no word.
        if annotate::is_active() {
            futex::wait(&self.state, word, until)
        } else {
            pthread::wait_shared(&self.state, word, until)
        }
    }

    /// Whether the thread has ended; does not wait.
    pub(crate) fn poll_done(&'static self) -> bool {
        match self.state() {
            TERMINATED | DONE => self.is_done(),
            AWAITING_POLL => self.try_reap().unwrap_or(false),
            POLLING => self.appears_terminated(),
            _ => false,
        }
    }

    /// While another caller asks pthread: whether the thread is gone, and its result known.
    fn appears_terminated(&self) -> bool {
        !annotate::is_active()
            && self.has_flag(HAS_RESULT)
            && self.native_id() != 0
            && !pthread::thread_exists(self.native_id())
    }

    /// Asks pthread whether a thread that is `AWAITING_POLL` is gone, and if so, reclaims what it had. False if it is
    /// not, or if another caller asks.
    pub(crate) fn try_reap(&'static self) -> Result<bool> {
        let claimed = self.fetch_update_state(|state| (state == AWAITING_POLL).then_some(POLLING));
        if claimed.is_none() {
            return Ok(self.is_done());
        }
        // SAFETY: only threads with a system thread come here.
        let stack = unsafe { self.stack() };
        let result = match self.try_join_os_thread(stack) {
            JoinOutcome::Exited(result) => result,
            JoinOutcome::ExitedUnknown => ptr::null_mut(),
            JoinOutcome::StillRunning => {
                self.fetch_update_state(|state| (state == POLLING).then_some(AWAITING_POLL));
                return Ok(false);
            }
        };
        if !self.has_flag(HAS_RESULT) {
            self.set_result(result);
        }
        registry::remove(self);
        let had_joiners = self.state.load(Ordering::Relaxed) & HAS_JOINER != 0;
        self.set_done();
        if had_joiners {
            self.wake_joiners();
        }
        stack_cache::deallocate(stack);
        // What the thread had of itself while it ran.
        self.handle().internal_unref();
        Ok(true)
    }

    /// Race detectors see a thread end in `pthread_join` alone, which knows no time limit: before their eyes it is
    /// called when the thread is gone.
    fn try_join_os_thread(&self, stack: &Stack) -> JoinOutcome {
        // It has had a number since it began; a thread whose end is not announced may be about to get it.
        let id = self.native_id();
        if id == 0 || pthread::thread_exists(id) {
            JoinOutcome::StillRunning
        } else if stack.base().is_some() {
            JoinOutcome::ExitedUnknown
        } else {
            pthread::join(stack.thread.get())
        }
    }

    fn reap_if_terminated(&'static self) {
        if self.claim_if_terminated() {
            registry::remove(self);
            self.release_stack_and_self_ref();
        }
    }

    /// After `claim_if_terminated` succeeded, and its entry in the registry is gone.
    pub(crate) fn release_stack_and_self_ref(&'static self) {
        // SAFETY: only threads with a system thread come here.
        stack_cache::deallocate(unsafe { self.stack() });
        // What the thread had of itself while it ran.
        self.handle().internal_unref();
    }

    /// Nobody will join its system thread any more: the process ends.
    pub(crate) fn detach(&'static self) {
        let claimed =
            self.fetch_update_state(|state| matches!(state, RUNNING | AWAITING_POLL).then_some(POLLING));
        if claimed.is_some() {
            // SAFETY: only threads of the system's come here.
            pthread::detach(unsafe { self.stack() }.thread.get());
        }
    }

    /// Whether this thread waits, without a limit, for the end of the other one.
    fn is_joining(&self, other: &Thread) -> bool {
        if self.state() != RUNNING {
            return false;
        }
        // SAFETY: a thread that is alive and has a system thread has a stack; records of stacks are never unmapped.
        let joined = unsafe { self.stack() }.join_target.load(Ordering::SeqCst);
        // The record may serve another thread by now.
        ptr::eq(joined.cast(), other) && self.state() == RUNNING
    }
}

/// A thread for whose end the calling thread waits. It lies on the stack of the waiting thread.
struct ActiveJoin {
    thread: &'static Thread,
    outer: usize,
}

impl ActiveJoin {
    /// Runs the wait. No unwinding leaves it.
    fn track<R>(thread: &'static Thread, wait: impl FnOnce() -> R) -> R {
        let outer = tls::with(|block| block.active_joins.get());
        let joining = ActiveJoin { thread, outer };
        tls::with(|block| block.active_joins.set(ptr::from_ref(&joining) as usize));
        let result = wait();
        tls::with(|block| block.active_joins.set(outer));
        result
    }
}

/// In a child of fork: if a signal handler has forked while the calling thread was waiting for the end of threads,
/// those that were left behind are over, so that the waits end.
pub(crate) fn finish_joins_after_fork() {
    let mut at = tls::with(|block| block.active_joins.get()) as *const ActiveJoin;
    // SAFETY: those in the list lie on the stack of this thread, in frames that have not returned.
    while let Some(joining) = unsafe { at.as_ref() } {
        joining.thread.finish_if_only_in_parent();
        at = joining.outer as *const ActiveJoin;
    }
}

/// How long a joiner sleeps before it looks again.
struct PollBackoff(u64);

impl PollBackoff {
    /// The end of the next pause, which is longer than the one before.
    fn next_deadline(&mut self, deadline: Deadline) -> Deadline {
        let until = Deadline::now().add_ns(self.0);
        self.0 = (self.0 * 2).min(MAX_POLL_INTERVAL_NS);
        deadline.min(until)
    }
}

/// The calling thread waits, without a limit, for the end of another one.
struct UnboundedJoin(Option<&'static Stack>);

impl UnboundedJoin {
    /// An error if that one waits, without a limit, for the end of the calling thread.
    fn register(joined: &'static Thread) -> Result<Self> {
        let me = Handle::<Thread>::from_bits(tls::with(|block| block.thread.get()));
        let Some((me, _)) = me.check().ok().filter(|(me, _)| me.has_os_thread()) else {
            return Ok(UnboundedJoin(None));
        };
        // SAFETY: the calling thread, which has been started, and has a system thread.
        let unbounded = UnboundedJoin(Some(unsafe { me.stack() }));
        unbounded.set_target(joined);
        if joined.is_joining(me) { Err(Error::JoinSelf) } else { Ok(unbounded) }
    }

    fn set_target(&self, joined: *const Thread) {
        if let Some(stack) = self.0 {
            // Of two threads that join each other, one at least sees the other's mark.
            stack.join_target.store(joined.cast_mut().cast(), Ordering::SeqCst);
        }
    }
}

impl Drop for UnboundedJoin {
    fn drop(&mut self) {
        self.set_target(ptr::null());
    }
}
