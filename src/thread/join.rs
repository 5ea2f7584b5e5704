//! Waits for a change of a thread's state and for its end, and the release of what an ended thread had.
//! `thread::object` describes the states and the protocol of joiners.

use crate::sys::atomic::{AtomicU32, AtomicU64, Ordering};
use core::ptr;

use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::handle::blocking_call::BlockingCall;
use crate::sync::fork_epoch::fork_epoch;
use crate::sync::hang_watch::HangWatch;
use crate::sync::wait_note::with_note;
use crate::sys::annotate;
use crate::sys::futex;
use crate::sys::pthread;
use crate::sys::pthread::JoinOutcome;
use crate::thread::object::{
    AWAITING_POLL, DONE, EXITING, HAS_JOINER, HAS_RESULT, HAS_STATE_WAITERS, MAIN, NOT_STARTED, POLLING,
    RUNNING, SEVERAL_JOINERS, STARTING, TERMINATED, TIMER, Thread, known_current,
};
use crate::thread::stack_cache::Stack;
use crate::thread::{ident, registry, stack_cache};
use crate::time::Deadline;
use crate::timer::object::Timer;
use crate::timer::worker;

/// The first interval, in nanoseconds, at which a joiner polls where no wake is certain, and the one up to which it is
/// doubled.
const MIN_POLL_INTERVAL_NS: u64 = 50_000;
const MAX_POLL_INTERVAL_NS: u64 = 5_000_000;
/// The interval between the polls of all joiners, in nanoseconds: `n` of them poll at intervals of at least `n` times
/// this. Otherwise, thousands of them would leave no CPU to the thread that ends.
const INTERVAL_PER_POLLER_NS: u64 = 50_000;
/// How many pollers count, since those that have left a join by siglongjmp() are counted, too.
const MAX_POLLERS: u32 = 4000;

/// The number of threads that sleep between two polls.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static POLLERS: AtomicU32 = AtomicU32::new(0);

/// The identifier of the thread for which main waits without a timeout; 0 if there is none. In a child of fork, it may
/// be that of a thread of the parent, until main joins a thread there.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static JOIN_TARGET_OF_MAIN: AtomicU64 = AtomicU64::new(0);

impl Thread {
    /// Waits while the thread is in this state. Returns false if the timeout expires.
    pub(crate) fn wait_while(&self, state: u32, deadline: Deadline) -> bool {
        self.wait_while_watched(state, deadline, &mut HangWatch::new(deadline))
    }

    fn wait_while_watched(&self, state: u32, deadline: Deadline, watch: &mut HangWatch) -> bool {
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
            let woken = watch.park(until, |until| futex::wait(&self.state, word, until));
            if !woken && until == deadline {
                return self.state() != state;
            }
        }
    }

    /// Waits for the end of any kind of thread. Returns false if the timeout expires. The caller has pinned the slot.
    pub(crate) fn join(&'static self, deadline: Deadline) -> Result<bool> {
        if self.state() == DONE {
            return Ok(self.is_done());
        }
        let call = BlockingCall::new(self.handle());
        call.begin()?;
        with_note(self.handle().bits(), deadline, || {
            let _unbounded = if deadline == Deadline::NEVER {
                UnboundedJoin::register(self)?
            } else {
                UnboundedJoin(None)
            };
            if self.has_os_thread() {
                self.join_os_thread(deadline)
            } else {
                Ok(self.join_main_or_timer(deadline))
            }
        })
    }

    /// Without an OS thread of its own, a thread ends by a change to `DONE`, which wakes the state waiters.
    fn join_main_or_timer(&self, deadline: Deadline) -> bool {
        let mut watch = HangWatch::new(deadline);
        loop {
            match self.state() {
                DONE => return self.is_done(),
                // `wait_while` gets the state that was compared. If it were read again, it could be `DONE`, and the
                // wait would not end.
                state => {
                    if !self.wait_while_watched(state, deadline, &mut watch) {
                        return false;
                    }
                }
            }
        }
    }

    fn join_os_thread(&'static self, deadline: Deadline) -> Result<bool> {
        let mut backoff = PollBackoff(MIN_POLL_INTERVAL_NS);
        let mut watch = HangWatch::new(deadline);
        let (mut is_first_joiner, mut has_several_joiners, mut has_expired) = (false, false, false);
        loop {
            let word = self.state.load(Ordering::Acquire);
            let state = self.state_of(word);
            match state {
                TERMINATED | DONE => {
                    if has_several_joiners {
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
                has_expired = !self.wait_for_next_poll(word, deadline, &mut backoff, &mut watch);
                continue;
            }
            let joiner_bit =
                if is_first_joiner || word & HAS_JOINER == 0 { HAS_JOINER } else { SEVERAL_JOINERS };
            let updated = word | joiner_bit;
            if updated != word {
                if self.state.compare_exchange(word, updated, Ordering::SeqCst, Ordering::Relaxed).is_err() {
                    continue;
                }
                is_first_joiner |= joiner_bit == HAS_JOINER;
                if joiner_bit == SEVERAL_JOINERS && state == EXITING {
                    // The first joiner sleeps until its deadline, and the kernel may wake this thread instead of it.
                    self.wake_joiners();
                }
            }
            has_several_joiners = updated & SEVERAL_JOINERS != 0;
            has_expired = !if state == EXITING && has_several_joiners {
                self.wait_for_next_poll(updated, deadline, &mut backoff, &mut watch)
            } else {
                self.wait_on_state(updated, deadline, &mut watch)
            };
        }
    }

    /// As `wait_on_state`, but returns true after an interval.
    fn wait_for_next_poll(
        &self,
        word: u32,
        deadline: Deadline,
        backoff: &mut PollBackoff,
        watch: &mut HangWatch,
    ) -> bool {
        let epoch = fork_epoch();
        let pollers = POLLERS.fetch_add(1, Ordering::Relaxed) + 1;
        let until = backoff.next_deadline(pollers).min(deadline);
        let woken = self.wait_on_state(word, until, watch);
        // In a child that a signal handler has forked during the wait, this thread is not counted.
        if fork_epoch() == epoch {
            POLLERS.fetch_sub(1, Ordering::Relaxed);
        }
        woken || until != deadline
    }

    /// Sleeps while the state word of a thread with an OS thread is `word`; may return early. Returns false only if the
    /// timeout has expired, whatever the clock says.
    fn wait_on_state(&self, word: u32, until: Deadline, watch: &mut HangWatch) -> bool {
        // While a race detector is active, the kernel clears no word, and only `futex::wait` lets the detector deliver
        // signals during the wait.
        watch.park(until, |until| {
            if annotate::is_active() {
                futex::wait(&self.state, word, until)
            } else {
                pthread::wait_shared(&self.state, word, until)
            }
        })
    }

    /// Returns whether the thread has ended, without blocking. Not a plain getter: it may join an `AWAITING_POLL`
    /// thread and release its stack.
    pub(crate) fn poll_done(&'static self) -> bool {
        match self.state() {
            TERMINATED | DONE => self.is_done(),
            AWAITING_POLL => self.try_reap().unwrap_or(false),
            POLLING => self.appears_terminated(),
            _ => false,
        }
    }

    /// Returns whether a `POLLING` thread is gone and its result is known. Another caller is joining it.
    fn appears_terminated(&self) -> bool {
        !annotate::is_active()
            && self.has_flag(HAS_RESULT)
            && self.native_id() != 0
            && !pthread::thread_exists(self.native_id())
    }

    /// Joins a thread that is `AWAITING_POLL` if it is gone, and reclaims what it had. Returns false if the thread
    /// still runs, or if another caller is joining it.
    pub(crate) fn try_reap(&'static self) -> Result<bool> {
        let claimed = self.fetch_update_state(|state| (state == AWAITING_POLL).then_some(POLLING));
        if claimed.is_none() {
            return Ok(self.is_done());
        }
        // SAFETY: only threads with an OS thread become `AWAITING_POLL`.
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
        self.release_stack_and_self_ref();
        Ok(true)
    }

    /// Joins the OS thread if it is gone. Race detectors learn of a thread's end from `pthread_join` alone, so it is
    /// called for each thread on a stack of pthread's. It has no timeout, so it is called only when the kernel says
    /// that the thread is gone.
    fn try_join_os_thread(&self, stack: &Stack) -> JoinOutcome {
        // The thread has set its native ID before it became `AWAITING_POLL`.
        let id = self.native_id();
        debug_assert_ne!(id, 0);
        if pthread::thread_exists(id) {
            JoinOutcome::StillRunning
        } else if stack.base().is_some() || stack.is_detached() {
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

    /// Called by the one caller that reaps the thread, after it has removed the thread from the registry.
    pub(crate) fn release_stack_and_self_ref(&'static self) {
        // SAFETY: only threads with an OS thread are reaped.
        let stack = unsafe { self.stack() };
        if !stack.is_left_to_libc() {
            stack_cache::deallocate(stack);
        }
        // The reference that the thread had to itself.
        self.handle().internal_unref();
    }

    /// Detaches a thread that will not be joined, since the process exits.
    pub(crate) fn detach(&'static self) {
        let claimed =
            self.fetch_update_state(|state| matches!(state, RUNNING | AWAITING_POLL).then_some(POLLING));
        if claimed.is_some() {
            // SAFETY: called only for threads with an OS thread; a running one has a stack.
            pthread::detach(unsafe { self.stack() }.thread.get());
        }
    }

    /// Returns whether this thread waits without a timeout for the end of the thread with this identifier.
    fn is_joining(&self, ident: u64) -> bool {
        // The state is read again, because the word may serve another thread by now.
        self.state() == RUNNING
            && self.join_target().is_some_and(|target| target.load(Ordering::SeqCst) == ident)
            && self.state() == RUNNING
    }

    /// Returns where this thread, which is running, stores the identifier of the thread for which it waits without a
    /// timeout. A dummy has no such word, because no thread can join it.
    fn join_target(&self) -> Option<&'static AtomicU64> {
        if self.has_flag(MAIN) {
            Some(&JOIN_TARGET_OF_MAIN)
        } else if self.has_flag(TIMER) {
            Handle::<Timer>::from_bits(self.timer_bits()).live_object().map(|timer| &timer.join_target)
        } else if self.has_os_thread() {
            // SAFETY: a running thread with an OS thread has a stack; records of stacks are never unmapped.
            Some(&unsafe { self.stack() }.join_target)
        } else {
            None
        }
    }
}

/// The interval of a polling joiner.
struct PollBackoff(u64);

impl PollBackoff {
    /// Returns the end of the next interval, and doubles the one after.
    fn next_deadline(&mut self, pollers: u32) -> Deadline {
        let interval = self.0.max(u64::from(pollers.min(MAX_POLLERS)) * INTERVAL_PER_POLLER_NS);
        self.0 = (self.0 * 2).min(MAX_POLL_INTERVAL_NS);
        Deadline::now().add_ns(interval)
    }
}

/// In a child of fork: no thread polls. The one that forked may have done so in a signal handler.
pub(super) fn after_fork_in_child() {
    POLLERS.store(0, Ordering::Relaxed);
}

/// The word that says that the calling thread waits for another thread without a timeout. It serves to detect two
/// threads that join each other.
struct UnboundedJoin(Option<&'static AtomicU64>);

impl UnboundedJoin {
    /// Fails if `joined` waits for the calling thread without a timeout.
    fn register(joined: &'static Thread) -> Result<Self> {
        let Some(target) = Self::own_target() else { return Ok(UnboundedJoin(None)) };
        let unbounded = UnboundedJoin(Some(target));
        // Dekker's pattern: of two threads that join each other, at least one sees the other's target.
        target.store(joined.ident(), Ordering::SeqCst);
        if joined.is_joining(ident::ident()) && !Self::is_current_done() {
            return Err(Error::JoinSelf);
        }
        Ok(unbounded)
    }

    /// Returns whether the calling thread has ended for its joiners, although it runs: main in a process exit or after a
    /// shutdown, and a timer whose function is in the exit. Their joins return, but perhaps have not been woken yet.
    #[cold]
    fn is_current_done() -> bool {
        let current =
            if registry::is_main(ident::ident()) { registry::existing_main() } else { known_current() };
        current.is_some_and(|me| me.state() == DONE)
    }

    /// Returns the word of the calling thread. That of main exists even if main has no object yet.
    fn own_target() -> Option<&'static AtomicU64> {
        if registry::is_main(ident::ident()) {
            return Some(&JOIN_TARGET_OF_MAIN);
        }
        let me = known_current()?;
        if me.state() == STARTING {
            // The caller that started this thread has not made this change yet, and `is_joining` needs it.
            me.transition(STARTING, RUNNING);
        }
        me.join_target()
    }
}

impl Drop for UnboundedJoin {
    fn drop(&mut self) {
        if let Some(target) = self.0 {
            target.store(0, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next_interval(backoff: &mut PollBackoff, pollers: u32) -> u64 {
        let before = Deadline::now();
        backoff.next_deadline(pollers).0 - before.0
    }

    #[test]
    fn joiners_poll_together_as_often_as_one() {
        for pollers in [1, 10, 1000, MAX_POLLERS] {
            let mut backoff = PollBackoff(MIN_POLL_INTERVAL_NS);
            assert!(next_interval(&mut backoff, pollers) >= u64::from(pollers) * INTERVAL_PER_POLLER_NS);
        }
    }

    #[test]
    fn the_interval_of_a_joiner_is_doubled_up_to_a_limit() {
        let mut backoff = PollBackoff(MIN_POLL_INTERVAL_NS);
        for doublings in 0..20 {
            let expected = (MIN_POLL_INTERVAL_NS << doublings).min(MAX_POLL_INTERVAL_NS);
            assert!(next_interval(&mut backoff, 1) >= expected);
        }
    }
}
