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
//! | `IDLE` | its thread does not wait | the thread: to `WAITING`, before it enters a queue |
//! | `WAITING` | stands in a queue, or is being moved to another; its thread is awake | the thread: to one of the next two. Whoever lets it go, under the queue's guard: to one of the last five, release |
//! | `LOOKING` | the same; its thread looks at this word, by leave of the object's `Patience` | the thread: back to `WAITING`. Whoever lets it go, as above, and ends the look |
//! | `ASLEEP` | the same; its thread sleeps or is about to | the thread, whose time ran out: back to `WAITING`. Whoever lets it go, as above, and wakes it |
//! | `WOKEN` | a lock's: called, and in line still. A barrier's: taken out, to come again | the thread reads it, acquire; at a lock that is taken, back to `WAITING`, under the guard. There, the thread that offers the lock or dissolves the line: to one of the last three |
//! | `OFFERED` | a lock's: the lock is reserved for it, and it is in line still | the thread, under the guard: it has the lock. There, a thread that revokes the offer: back to `WOKEN`; one that releases or frees the lock: to `GRANTED` |
//! | `GRANTED` | taken out: what it waited for has happened, or the lock is its own | the thread reads it, acquire |
//! | `REFUSED` | taken out: what it waited for has failed | the thread reads it, acquire |
//! | `FREED` | a barrier's: taken out, since the barrier was freed | the thread reads it, acquire |
//!
//! The cells are guarded by the lock of the queue in which the record stands; the other atomics are hints.

use crate::sys::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use crate::sys::futex;
use core::cell::Cell;
use core::ptr;

use crate::error::{Error, Result};
use crate::sync::adaptive_spin::{Patience, look_until, this_cpu};
use crate::sync::mutex::{Forget, Guarded};
use crate::sys;
use crate::sys::annotate;
use crate::sys::libc_hooks::register_exit_hook;
use crate::sys::tls;
use crate::time::Deadline;

pub(crate) const IDLE: u32 = 0;
pub(crate) const WAITING: u32 = 1;
const LOOKING: u32 = 2;
const ASLEEP: u32 = 3;
pub(crate) const WOKEN: u32 = 4;
pub(crate) const GRANTED: u32 = 5;
pub(crate) const REFUSED: u32 = 6;
pub(crate) const OFFERED: u32 = 7;
pub(crate) const FREED: u32 = 8;

/// See the module.
#[repr(C, align(64))]
pub(crate) struct Waiter {
    word: AtomicU32,
    /// A notify has chosen it: it waits for its lock alone, and frees nobody from taking care of it.
    pub(crate) notified: Cell<bool>,
    /// It has been called to its lock, and stands in line all the same.
    pub(crate) called: Cell<bool>,
    /// It was called, or the lock was offered to it, and it has not come: its thread may run a signal handler.
    pub(crate) absent: Cell<bool>,
    /// It was called to watch whether another accepts the lock.
    pub(crate) watches: Cell<bool>,
    /// What a lock's word shows when this waiter holds it.
    pub(crate) claim: Cell<u64>,
    /// It would be the next, as far as could be seen when it entered the queue: only such a one looks.
    pub(crate) next_in_turn: AtomicBool,
    /// Its place in a barrier's round.
    pub(crate) place: Cell<usize>,
    /// From where it was taken out of the queue.
    cpu: AtomicU8,
    /// Where its thread fell asleep.
    bed: AtomicU8,
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
        tls::with(|mine| {
            if mine.waiter.get() == 0 {
                mine.waiter.set(FREE_WAITERS.lock().take()? as usize);
            }
            // SAFETY: a record's memory is never given back, and this one is the calling thread's.
            Ok(unsafe { &*(mine.waiter.get() as *const Waiter) })
        })
    }

    /// Gives the calling thread's record back, when the thread ends.
    pub(crate) fn give_back() {
        let waiter = tls::with(|mine| mine.waiter.take()) as *const Waiter;
        if !waiter.is_null() {
            FREE_WAITERS.lock().put(waiter);
        }
    }

    /// About to stand in a queue.
    pub(crate) fn prepare(&self, claim: u64) {
        self.notified.set(false);
        self.claim.set(claim);
        self.word.store(WAITING, Ordering::Relaxed);
    }

    /// Whether its thread needs the calling thread's CPU to run, as far as can be known.
    pub(crate) fn needs_this_cpu(&self) -> bool {
        self.bed.load(Ordering::Relaxed) == this_cpu()
    }

    /// Waits on, for a thread that was woken but stands in its queue still.
    pub(crate) fn resume(&self) {
        self.word.store(WAITING, Ordering::Relaxed);
    }

    /// Takes an offer back, under the guard of its queue: the thread is awake, as one that was called.
    pub(crate) fn revoke(&self) {
        self.word.store(WOKEN, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn state(&self) -> u32 {
        self.word.load(Ordering::Acquire)
    }

    /// The thread's own change of state, while it stands in a queue; the state that it finds instead if it was
    /// taken out.
    fn change(&self, from: u32, to: u32) -> core::result::Result<(), u32> {
        self.word.compare_exchange(from, to, Ordering::Relaxed, Ordering::Acquire).map(drop)
    }

    /// Waits until the record has been let go, in the queue of an object with this patience: looks first, if that
    /// is worth it, and then sleeps. `WAITING` if the time ran out before that.
    pub(crate) fn wait(&self, patience: &Patience, deadline: Deadline) -> u32 {
        self.wait_at(&self.word, ASLEEP, patience, deadline)
    }

    /// As `wait`, but sleeps on a word that many share, as long as it is `expected`: whoever lets them go
    /// changes that word, and wakes them all.
    pub(crate) fn wait_at(
        &self,
        word: &AtomicU32,
        expected: u32,
        patience: &Patience,
        deadline: Deadline,
    ) -> u32 {
        self.try_wait(word, expected, patience, deadline).err().unwrap_or(WAITING)
    }

    fn try_wait(
        &self,
        word: &AtomicU32,
        expected: u32,
        patience: &Patience,
        deadline: Deadline,
    ) -> core::result::Result<(), u32> {
        if self.next_in_turn.load(Ordering::Relaxed)
            && let Some(until) = patience.begin(deadline)
        {
            self.change(WAITING, LOOKING).inspect_err(|_| patience.end(true))?;
            look_until(until, || self.word.load(Ordering::Relaxed) != LOOKING);
            self.change(LOOKING, WAITING)?;
            patience.end(false);
        }
        self.bed.store(this_cpu(), Ordering::Relaxed);
        self.change(WAITING, ASLEEP)?;
        while self.state() == ASLEEP {
            if !futex::wait(word, expected, deadline) {
                return self.change(ASLEEP, WAITING);
            }
        }
        patience.woken_from(self.cpu.load(Ordering::Relaxed));
        Err(self.state())
    }

    /// Lets a record go, under the guard of its queue, that of an object with this patience. If it has been taken
    /// out, the caller's last use of its cells must lie before this. The wake-up itself may come when the guard
    /// is gone.
    #[must_use]
    pub(crate) fn release(&self, state: u32, patience: &Patience) -> Wake<'_> {
        self.cpu.store(this_cpu(), Ordering::Relaxed);
        let was = self.word.swap(state, Ordering::Release);
        if was == LOOKING {
            patience.end(true);
        }
        Wake { asleep: (was == ASLEEP).then_some(&self.word), was_looking: was == LOOKING }
    }
}

/// The wake-up that is owed to a waiter, if it sleeps. Waiting does not depend on the record's content any
/// more.
pub(crate) struct Wake<'a> {
    asleep: Option<&'a AtomicU32>,
    was_looking: bool,
}

impl Wake<'_> {
    /// For a waiter that sleeps on a word of many.
    pub(crate) fn is_owed(&self) -> bool {
        self.asleep.is_some()
    }

    /// Whether its thread was looking at the record, and needs no wake-up.
    pub(crate) fn was_looking(&self) -> bool {
        self.was_looking
    }

    /// False if the thread did not sleep, though it was about to when it entered its queue: it is about to still, or
    /// runs a signal handler.
    pub(crate) fn now(self) -> bool {
        self.asleep.is_none_or(futex::wake_one)
    }
}

/// Records that no thread uses, linked by `next`; more come in chunks from the system.
struct Pool {
    free: *const Waiter,
}

const CHUNK: usize = 16 * 1024;

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_own"))]
static FREE_WAITERS: Guarded<Pool> = Guarded::new(Pool { free: ptr::null() });

// SAFETY: the pool owns the records it holds.
unsafe impl Send for Pool {}

impl Forget for Pool {
    fn forget(&mut self) {
        // The list may be half-way in a change. Its records are lost to the child: 64 bytes for each thread
        // that had ended.
        self.free = ptr::null();
    }
}

impl Pool {
    fn take(&mut self) -> Result<*const Waiter> {
        if self.free.is_null() {
            self.grow()?;
        }
        let waiter = self.free;
        // SAFETY: records on the list are valid for ever and belong to the pool.
        self.free = unsafe { (*waiter).next.get() };
        Ok(waiter)
    }

    fn put(&mut self, waiter: *const Waiter) {
        // SAFETY: records are valid for ever; its thread gives it to the pool.
        unsafe {
            (*waiter).word.store(IDLE, Ordering::Relaxed);
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
        annotate::leave_alone(chunk, CHUNK);
        for offset in (0..CHUNK).step_by(size_of::<Waiter>()).rev() {
            // SAFETY: inside the chunk and aligned; zero is a valid record (IDLE, in no queue).
            self.put(unsafe { chunk.byte_add(offset) } as *const Waiter);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_sleeps_on_a_record_of_its_own() {
        let mine = Waiter::mine().unwrap();
        assert!(ptr::eq(mine, Waiter::mine().unwrap()));
        let mine = ptr::from_ref(mine) as usize;
        std::thread::spawn(move || {
            assert_ne!(mine, ptr::from_ref(Waiter::mine().unwrap()) as usize);
            Waiter::give_back();
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_sleep_ends_with_what_the_waker_says_or_with_its_time() {
        let waiter = Waiter::mine().unwrap();
        let patience = Patience::default();
        waiter.prepare(0);
        assert_eq!(waiter.wait(&patience, Deadline::now().after(1_000_000)), WAITING);
        waiter.release(GRANTED, &patience).now();
        assert_eq!(waiter.wait(&patience, Deadline::NEVER), GRANTED);
    }
}
