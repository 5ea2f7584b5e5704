//! Turns of contending threads that share a CPU.
//!
//! The system may preempt a thread that contends for a lock in favor of another one that does so, too. The preempted
//! thread is in no queue. If the lock has none, there are no hand-offs: the thread waits until the time slice of the
//! other one ends, which the system checks only at its timer ticks, up to ten milliseconds apart. So the other thread
//! ends its turn earlier: it yields its CPU (`sched_yield`) before it continues to acquire the lock. If the lock has a
//! queue, it does not: at the next hand-off it parks, and a thread that yields would be one more that is in no queue.
//!
//! A thread does so only if another one has lately contended for a lock on this CPU: contending threads leave their tag
//! in a table with an entry for each CPU. If the other thread has gone, the call returns soon. Threads that do not
//! contend leave no tags, and no thread yields its CPU for them.
//!
//! A thread leaves its tag when it runs again after it has been parked in the queue of a lock, and at some of its
//! contended acquires. The former is for preemption by a wake-up: the system may run the woken thread in place of one
//! that spins on the same CPU. Each of the two may have been there for only a few microseconds, too short for several
//! contended acquires, and then the woken one has to know that the other waits.
//!
//! The entries are hints: correctness does not depend on them, and concurrent updates may be lost.

use crate::lock::fairness::ticks_now;
use crate::sync::adaptive_spin::current_cpu_tag;
use crate::sys::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sys::calling_thread::yield_cpu;
use crate::sys::tls;

/// The length of a turn: a fifth of a millisecond.
const TURN_TICKS: u32 = 3;
/// How long a thread is expected to contend for a lock again after it has last done so, 8 milliseconds: the time for
/// which it is preempted as a rule.
const RECENT_TICKS: u32 = 128;
/// One in this many contended acquires of a thread checks the turn. Most acquires find the lock unlocked, so that these
/// are few in the length of a turn.
const CHECK_PERIOD: u8 = 8;
/// The number of entries. CPUs may share one.
const ENTRIES: usize = 64;

struct Turn {
    /// The owner tag of the thread whose turn it is.
    owner_tag: AtomicU64,
    /// When the turn began, in ticks.
    since: AtomicU32,
    /// When a thread last began a turn after another one, in ticks.
    other_seen: AtomicU32,
}

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static TURNS: [Turn; ENTRIES] = [const { Turn::new() }; ENTRIES];

impl Turn {
    const fn new() -> Self {
        Turn { owner_tag: AtomicU64::new(0), since: AtomicU32::new(0), other_seen: AtomicU32::new(0) }
    }

    /// Called by a thread that contends at the time `now`. Returns whether its turn has ended, in which case it begins
    /// the next one, and other threads have lately had theirs.
    fn check(&self, owner_tag: u64, now: u32) -> bool {
        let elapsed = now.wrapping_sub(self.since.load(Ordering::Relaxed));
        let is_mine = self.owner_tag.load(Ordering::Relaxed) == owner_tag;
        if is_mine && elapsed < TURN_TICKS {
            return false;
        }
        self.since.store(now, Ordering::Relaxed);
        if is_mine {
            return now.wrapping_sub(self.other_seen.load(Ordering::Relaxed)) < RECENT_TICKS;
        }
        self.owner_tag.store(owner_tag, Ordering::Relaxed);
        if elapsed < RECENT_TICKS {
            self.other_seen.store(now, Ordering::Relaxed);
        }
        false
    }
}

/// Called for each acquire that may block and has found the lock locked and without a queue. Yields the CPU if the
/// calling thread's turn has ended.
#[inline]
pub(super) fn count_contended_acquire(owner_tag: u64) {
    let count = tls::with(|block| {
        block.contended_acquires.set(block.contended_acquires.get().wrapping_add(1));
        block.contended_acquires.get()
    });
    if count % CHECK_PERIOD == 0 && !cfg!(model) {
        end_turn_if_due(owner_tag);
    }
}

#[cold]
#[inline(never)]
fn end_turn_if_due(owner_tag: u64) {
    if turn_of_this_cpu().check(owner_tag, ticks_now()) {
        yield_cpu();
    }
}

/// Called by a thread that has been parked in the queue of a lock, and runs again: it begins its turn. It does not yield
/// the CPU, which the system has just given to it.
pub(super) fn begin_turn(owner_tag: u64) {
    if !cfg!(model) {
        let _ = turn_of_this_cpu().check(owner_tag, ticks_now());
    }
}

fn turn_of_this_cpu() -> &'static Turn {
    &TURNS[usize::from(current_cpu_tag()) % ENTRIES]
}

#[cfg(all(test, not(model)))]
mod tests {
    use super::*;

    use crate::handle::Handle;
    use crate::lock::lock::Lock;
    use crate::thread::ident;

    const START: u32 = 1 << 31;

    /// Whether a thread yields the CPU at this time after `START`.
    fn yields(turn: &Turn, owner_tag: u64, elapsed: u32) -> bool {
        turn.check(owner_tag, START.wrapping_add(elapsed))
    }

    #[test]
    fn a_thread_that_has_the_cpu_for_itself_does_not_yield() {
        let turn = Turn::new();
        assert!((0..4 * RECENT_TICKS).all(|elapsed| !yields(&turn, 1, RECENT_TICKS + elapsed)));
    }

    #[test]
    fn a_thread_yields_after_each_turn_as_long_as_another_one_has_contended_lately() {
        let turn = Turn::new();
        assert!(!yields(&turn, 1, RECENT_TICKS));
        let begin = RECENT_TICKS + 1;
        let count = (0..4 * RECENT_TICKS).filter(|elapsed| yields(&turn, 2, begin + elapsed)).count();
        assert_eq!(count as u32, (RECENT_TICKS - 1) / TURN_TICKS);
        assert!(!yields(&turn, 1, begin + 4 * RECENT_TICKS));
        assert!(!yields(&turn, 1, begin + 4 * RECENT_TICKS + TURN_TICKS - 1));
        assert!(yields(&turn, 1, begin + 4 * RECENT_TICKS + TURN_TICKS));
    }

    #[test]
    fn a_thread_that_was_parked_in_a_queue_begins_a_turn_when_it_runs_again() {
        let begins_turn = || {
            let lock = Handle::<Lock>::new().unwrap();
            lock.acquire().unwrap();
            // Its first contended acquire, which does not check the turn.
            let waiter = std::thread::spawn(move || {
                lock.acquire().unwrap();
                let owner_tag = turn_of_this_cpu().owner_tag.load(Ordering::Relaxed);
                lock.release().unwrap();
                Some(owner_tag) == ident::owner_tag_if_assigned()
            });
            std::thread::sleep(core::time::Duration::from_millis(2));
            lock.release().unwrap();
            let begins_turn = waiter.join().unwrap();
            lock.free().unwrap();
            begins_turn
        };
        // Threads of other tests may begin turns on the same CPU, and the waiter may not have parked yet.
        assert!((0..100).any(|_| begins_turn()));
    }
}
