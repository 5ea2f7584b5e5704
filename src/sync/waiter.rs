//! The record on which a thread sleeps while it stands in a queue.
//!
//! It lives neither on the thread's stack nor in its thread-local storage: whoever wakes it stores to `word`
//! and then wakes the sleepers of that address, by which time the thread may have gone on, or ended. So
//! records come from memory that is never given back; a record whose thread has ended serves the next one,
//! which at worst wakes once for nothing.
//!
//! # State (`word`)
//!
//! | state | meaning | who changes it, with which ordering |
//! |---|---|---|
//! | `IDLE` | its thread does not wait | the thread: to `QUEUED`, before it enters a queue |
//! | `QUEUED` | stands in a queue, or is being moved to another; its thread is awake | the thread: to one of the next two. Whoever lets it go, under the queue's guard: to one of the last five, release |
//! | `SPINNING` | the same; its thread looks at this word, by leave of the object's `AdaptiveSpin` | the thread: back to `QUEUED`. Whoever lets it go, as above, and ends the look |
//! | `PARKED` | the same; its thread sleeps or is about to | the thread, whose time ran out: back to `QUEUED`. Whoever lets it go, as above, and wakes it |
//! | `RETRY` | a lock's: called, and in line still. A barrier's: taken out, to come again | the thread reads it, acquire; at a lock that is taken, back to `QUEUED`, under the guard. There, the thread that offers the lock or dissolves the line: to one of the last three |
//! | `OFFERED` | a lock's: the lock is reserved for it, and it is in line still | the thread, under the guard: it has the lock. There, a thread that revokes the offer: back to `RETRY`; one that releases or frees the lock: to `GRANTED` |
//! | `GRANTED` | taken out: what it waited for has happened, or the lock is its own | the thread reads it, acquire |
//! | `ABORTED` | taken out: what it waited for has failed | the thread reads it, acquire |
//! | `FREED` | a barrier's: taken out, since the barrier was freed | the thread reads it, acquire |
//!
//! The cells are guarded by the lock of the queue in which the record stands; the other atomics are hints.

use crate::sys::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use crate::sys::futex;
use core::cell::Cell;
use core::ptr;

use crate::error::{Error, Result};
use crate::sync::adaptive_spin::{AdaptiveSpin, current_cpu_tag, spin_until};
use crate::sync::mutex::{ForkReset, InternalMutex};
use crate::sys;
use crate::sys::annotate;
use crate::sys::libc_hooks::register_exit_hook;
use crate::sys::tls;
use crate::time::Deadline;

pub(crate) const IDLE: u32 = 0;
pub(crate) const QUEUED: u32 = 1;
const SPINNING: u32 = 2;
const PARKED: u32 = 3;
pub(crate) const RETRY: u32 = 4;
pub(crate) const GRANTED: u32 = 5;
pub(crate) const ABORTED: u32 = 6;
pub(crate) const OFFERED: u32 = 7;
pub(crate) const FREED: u32 = 8;

/// See the module.
#[repr(C, align(64))]
pub(crate) struct Waiter {
    state: AtomicU32,
    /// A notify has chosen it: it waits for its lock alone, and frees nobody from taking care of it.
    pub(crate) notified: Cell<bool>,
    /// It has been called to its lock, and stands in line all the same.
    pub(crate) woken: Cell<bool>,
    /// It was called, or the lock was offered to it, and it has not come: its thread may run a signal handler.
    pub(crate) unresponsive: Cell<bool>,
    /// It was called to watch whether another accepts the lock.
    pub(crate) is_watcher: Cell<bool>,
    /// What a lock's word shows when this waiter holds it.
    pub(crate) owner_tag: Cell<u64>,
    /// It would be the next, as far as could be seen when it entered the queue: only such a one looks.
    pub(crate) may_spin: AtomicBool,
    /// Its place in a barrier's round.
    pub(crate) arrival_index: Cell<usize>,
    /// From where it was taken out of the queue.
    waker_cpu: AtomicU8,
    /// Where its thread fell asleep.
    parked_cpu: AtomicU8,
    pub(crate) next: Cell<*const Waiter>,
    pub(crate) previous: Cell<*const Waiter>,
}

// SAFETY: the cells are used by the owner while the record is idle, and under the lock of its queue while it
// is not.
unsafe impl Sync for Waiter {}

/// The record on which the calling thread waits, which the exit hook returns to the pool.
pub(crate) fn current() -> Result<&'static Waiter> {
    // If the hook cannot be registered, the record's 64 bytes are lost when the thread ends: no reason to fail the wait.
    let _ = register_exit_hook();
    Waiter::mine()
}

impl Waiter {
    /// The calling thread's record; made when it first has to wait.
    fn mine() -> Result<&'static Waiter> {
        tls::with(|block| {
            if block.waiter.get() == 0 {
                block.waiter.set(WAITER_POOL.lock().pop()? as usize);
            }
            // SAFETY: a record's memory is never given back, and this one is the calling thread's.
            Ok(unsafe { &*(block.waiter.get() as *const Waiter) })
        })
    }

    /// Gives the calling thread's record back, when the thread ends.
    pub(crate) fn release_current() {
        let waiter = tls::with(|block| block.waiter.take()) as *const Waiter;
        if !waiter.is_null() {
            WAITER_POOL.lock().push(waiter);
        }
    }

    /// About to stand in a queue.
    pub(crate) fn prepare_to_wait(&self, owner_tag: u64) {
        self.notified.set(false);
        self.owner_tag.set(owner_tag);
        self.state.store(QUEUED, Ordering::Relaxed);
    }

    /// Whether its thread needs the calling thread's CPU to run, as far as can be known.
    pub(crate) fn parked_on_this_cpu(&self) -> bool {
        self.parked_cpu.load(Ordering::Relaxed) == current_cpu_tag()
    }

    /// Waits on, for a thread that was woken but stands in its queue still.
    pub(crate) fn set_queued(&self) {
        self.state.store(QUEUED, Ordering::Relaxed);
    }

    /// Takes an offer back, under the guard of its queue: the thread is awake, as one that was called.
    pub(crate) fn revoke_offer(&self) {
        self.state.store(RETRY, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn state(&self) -> u32 {
        self.state.load(Ordering::Acquire)
    }

    /// The thread's own change of state, while it stands in a queue; the state that it finds instead if it was
    /// taken out.
    fn transition(&self, from: u32, to: u32) -> core::result::Result<(), u32> {
        self.state.compare_exchange(from, to, Ordering::Relaxed, Ordering::Acquire).map(drop)
    }

    /// Waits until the record has been let go, in the queue of an object with this adaptive_spin: looks first, if that
    /// is worth it, and then sleeps. `QUEUED` if the time ran out before that.
    pub(crate) fn wait(&self, adaptive_spin: &AdaptiveSpin, deadline: Deadline) -> u32 {
        self.wait_on(&self.state, PARKED, adaptive_spin, deadline)
    }

    /// As `wait`, but sleeps on a word that many share, as long as it is `expected`: whoever lets them go
    /// changes that word, and wakes them all.
    pub(crate) fn wait_on(
        &self,
        word: &AtomicU32,
        expected: u32,
        adaptive_spin: &AdaptiveSpin,
        deadline: Deadline,
    ) -> u32 {
        self.spin_then_park(word, expected, adaptive_spin, deadline).err().unwrap_or(QUEUED)
    }

    fn spin_then_park(
        &self,
        word: &AtomicU32,
        expected: u32,
        adaptive_spin: &AdaptiveSpin,
        deadline: Deadline,
    ) -> core::result::Result<(), u32> {
        if self.may_spin.load(Ordering::Relaxed)
            && let Some(until) = adaptive_spin.try_start(deadline)
        {
            self.transition(QUEUED, SPINNING).inspect_err(|_| adaptive_spin.finish(true))?;
            spin_until(until, || self.state.load(Ordering::Relaxed) != SPINNING);
            self.transition(SPINNING, QUEUED)?;
            adaptive_spin.finish(false);
        }
        self.parked_cpu.store(current_cpu_tag(), Ordering::Relaxed);
        self.transition(QUEUED, PARKED)?;
        while self.state() == PARKED {
            if !futex::wait(word, expected, deadline) {
                return self.transition(PARKED, QUEUED);
            }
        }
        adaptive_spin.record_waker_cpu(self.waker_cpu.load(Ordering::Relaxed));
        Err(self.state())
    }

    /// Lets a record go, under the guard of its queue, that of an object with this adaptive_spin. If it has been taken
    /// out, the caller's last use of its cells must lie before this. The wake-up itself may come when the guard
    /// is gone.
    #[must_use]
    pub(crate) fn complete(&self, state: u32, adaptive_spin: &AdaptiveSpin) -> PendingWake<'_> {
        self.waker_cpu.store(current_cpu_tag(), Ordering::Relaxed);
        let previous_state = self.state.swap(state, Ordering::Release);
        if previous_state == SPINNING {
            adaptive_spin.finish(true);
        }
        PendingWake {
            parked: (previous_state == PARKED).then_some(&self.state),
            was_spinning: previous_state == SPINNING,
        }
    }
}

/// The wake-up that is owed to a waiter, if it sleeps. Waiting does not depend on the record's content any
/// more.
pub(crate) struct PendingWake<'a> {
    parked: Option<&'a AtomicU32>,
    was_spinning: bool,
}

impl PendingWake<'_> {
    /// For a waiter that sleeps on a word of many.
    pub(crate) fn is_needed(&self) -> bool {
        self.parked.is_some()
    }

    /// Whether its thread was looking at the record, and needs no wake-up.
    pub(crate) fn was_spinning(&self) -> bool {
        self.was_spinning
    }

    /// False if the thread did not sleep, though it was about to when it entered its queue: it is about to still, or
    /// runs a signal handler.
    pub(crate) fn wake(self) -> bool {
        self.parked.is_none_or(futex::wake_one)
    }
}

/// Records that no thread uses, linked by `next`; more come in chunks from the system.
struct WaiterPool {
    free: *const Waiter,
}

const CHUNK: usize = 16 * 1024;

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static WAITER_POOL: InternalMutex<WaiterPool> = InternalMutex::new(WaiterPool { free: ptr::null() });

// SAFETY: the pool owns the records it holds.
unsafe impl Send for WaiterPool {}

impl ForkReset for WaiterPool {
    fn reset_in_child(&mut self) {
        // The list may be half-way in a change. Its records are lost to the child: 64 bytes for each thread
        // that had ended.
        self.free = ptr::null();
    }
}

impl WaiterPool {
    fn pop(&mut self) -> Result<*const Waiter> {
        if self.free.is_null() {
            self.grow()?;
        }
        let waiter = self.free;
        // SAFETY: records on the list are valid for ever and belong to the pool.
        self.free = unsafe { (*waiter).next.get() };
        Ok(waiter)
    }

    fn push(&mut self, waiter: *const Waiter) {
        // SAFETY: records are valid for ever; its thread gives it to the pool.
        unsafe {
            (*waiter).state.store(IDLE, Ordering::Relaxed);
            (*waiter).next.set(self.free);
        }
        self.free = waiter;
    }

    fn grow(&mut self) -> Result<()> {
        // SAFETY: asks for new memory, wherever there is some.
        let chunk = unsafe {
            sys::mmap(
                ptr::null_mut(),
                CHUNK,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if chunk == libc::MAP_FAILED {
            return Err(Error::NoMemory);
        }
        annotate::mark_untracked(chunk, CHUNK);
        for offset in (0..CHUNK).step_by(size_of::<Waiter>()).rev() {
            // SAFETY: inside the chunk and aligned; zero is a valid record (IDLE, in no queue).
            self.push(unsafe { chunk.byte_add(offset) } as *const Waiter);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_has_its_own_waiter() {
        let mine = Waiter::mine().unwrap();
        assert!(ptr::eq(mine, Waiter::mine().unwrap()));
        let mine = ptr::from_ref(mine) as usize;
        std::thread::spawn(move || {
            assert_ne!(mine, ptr::from_ref(Waiter::mine().unwrap()) as usize);
            Waiter::release_current();
        })
        .join()
        .unwrap();
    }

    #[test]
    fn wait_returns_the_wakers_state_or_times_out() {
        let waiter = Waiter::mine().unwrap();
        let adaptive_spin = AdaptiveSpin::default();
        waiter.prepare_to_wait(0);
        assert_eq!(waiter.wait(&adaptive_spin, Deadline::now().add_ns(1_000_000)), QUEUED);
        waiter.complete(GRANTED, &adaptive_spin).wake();
        assert_eq!(waiter.wait(&adaptive_spin, Deadline::NEVER), GRANTED);
    }
}
