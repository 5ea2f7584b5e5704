//! Turns of contending threads that share a CPU.
//!
//! The system may preempt a thread that spins for a lock in favor of another thread that contends for it. The preempted
//! thread is in no queue, so no hand-off reaches it; it waits until the end of the other thread's time slice, which is
//! several milliseconds. So the other thread ends its turn earlier: it sleeps for a moment, in place of a spin.
//!
//! A thread does so only if it knows that another one contends on this CPU: contending threads leave their tag in a
//! table with an entry for each CPU, and a thread that finds the tag of another one begins a turn. If no other thread
//! has left its tag when the sleep ends, the CPU is no longer shared. Threads that do something else, on which a lock
//! has no influence, leave no tags.
//!
//! The entries are hints: correctness does not depend on them, and concurrent updates may be lost.

use crate::sync::adaptive_spin::current_cpu_tag;
use crate::sys::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::sys::futex;
use crate::sys::tls;
use crate::time::Deadline;

/// A tick is 2^`TICK_SHIFT` nanoseconds, 66 microseconds.
const TICK_SHIFT: u32 = 16;
/// The length of a turn: a fifth of a millisecond.
const TURN_TICKS: u32 = 3;
/// The last tag in an entry counts if it is not older than this, 16 milliseconds: several time slices.
const RECENT_TICKS: u32 = 256;
/// How long a thread sleeps at the end of its turn, in nanoseconds. The system adds about as much.
const SLEEP_NS: u64 = 50_000;
/// One in this many contended acquires of a thread checks the turn.
const CHECK_PERIOD: u8 = 64;
/// The number of entries. CPUs may share one.
const ENTRIES: usize = 16;

#[repr(align(64))]
struct Turn {
    /// The owner tag of the thread whose turn it is.
    owner_tag: AtomicU64,
    /// When the turn began, in ticks.
    since: AtomicU32,
    /// Whether another thread has lately contended on this CPU.
    is_shared: AtomicBool,
}

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static TURNS: [Turn; ENTRIES] = [const {
    Turn { owner_tag: AtomicU64::new(0), since: AtomicU32::new(0), is_shared: AtomicBool::new(false) }
}; ENTRIES];

fn ticks_now() -> u32 {
    (Deadline::now().0 >> TICK_SHIFT) as u32
}

fn turn_on_this_cpu() -> &'static Turn {
    &TURNS[usize::from(current_cpu_tag()) % ENTRIES]
}

/// Called for each acquire without a timeout that finds a lock locked. Sleeps if the calling thread's turn has ended.
#[inline]
pub(super) fn count_contended_acquire(owner_tag: u64) {
    let count = tls::with(|block| {
        block.contended_acquires.set(block.contended_acquires.get().wrapping_add(1));
        block.contended_acquires.get()
    });
    if count % CHECK_PERIOD == 0 && !cfg!(model) {
        check_turn(owner_tag);
    }
}

#[cold]
#[inline(never)]
fn check_turn(owner_tag: u64) {
    let (turn, now) = (turn_on_this_cpu(), ticks_now());
    let elapsed = now.wrapping_sub(turn.since.load(Ordering::Relaxed));
    if turn.owner_tag.load(Ordering::Relaxed) != owner_tag {
        turn.owner_tag.store(owner_tag, Ordering::Relaxed);
        turn.since.store(now, Ordering::Relaxed);
        turn.is_shared.store(elapsed < RECENT_TICKS, Ordering::Relaxed);
    } else if elapsed >= TURN_TICKS {
        if turn.is_shared.load(Ordering::Relaxed) {
            futex::wait(&AtomicU32::new(0), 0, Deadline::now().add_ns(SLEEP_NS));
        }
        let turn = turn_on_this_cpu();
        if turn.owner_tag.load(Ordering::Relaxed) == owner_tag {
            turn.since.store(ticks_now(), Ordering::Relaxed);
            turn.is_shared.store(false, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(model)))]
mod tests {
    use super::*;

    /// Checks the turn until it has ended, and returns whether the thread has slept.
    fn sleeps_after_turn(owner_tag: u64) -> bool {
        let start = Deadline::now().0;
        loop {
            let before = Deadline::now().0;
            check_turn(owner_tag);
            let after = Deadline::now().0;
            if after - before >= SLEEP_NS {
                return true;
            }
            if after - start > u64::from(2 * TURN_TICKS) << TICK_SHIFT {
                return false;
            }
        }
    }

    #[test]
    fn a_thread_sleeps_after_its_turn_only_if_another_one_contends_on_its_cpu() {
        // The thread may move to another CPU, or be preempted: it must succeed once.
        const ALONE: u64 = 1 << 40;
        const OTHER: u64 = 2 << 40;
        assert!((0..100).any(|_| {
            check_turn(OTHER);
            let shared = sleeps_after_turn(ALONE);
            shared && !sleeps_after_turn(ALONE)
        }));
    }
}
