//! Which record a thread waits on: its own, as a rule, which it gets from a pool at its first wait.
//!
//! # Waits in signal handlers
//!
//! A signal handler that interrupts a wait may wait, too, although that is not supported, or may leave the wait by
//! siglongjmp(). The record is then in a queue, and a second queue in it would lose the waiters behind it in the first.
//! So the block of the thread notes that the record is leased ([`WaiterLease`]), and further waits use other records.

use core::cell::Cell;
use core::ptr;

use crate::error::{Error, Result};
use crate::sync::broadcast_word;
use crate::sync::fork_epoch::fork_epoch;
use crate::sync::fork_list::ForkEntry;
use crate::sync::mutex::InternalMutex;
use crate::sync::padded::Padded;
use crate::sync::record_pool::{RecordPool, Records};
use crate::sync::waiter::{FORKED, IDLE, LEASED, OFFERED, RETRY, Waiter, is_queued};
use crate::sys::atomic::{AtomicPtr, AtomicU32, Ordering};
use crate::sys::calling_thread;
use crate::sys::futex;
use crate::sys::libc_hooks::register_exit_hook;
use crate::sys::tls;
use crate::time::Deadline;

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static WAITER_POOL: Padded<InternalMutex<RecordPool<Waiter>>> =
    Padded::new(InternalMutex::new(RecordPool::EMPTY));

/// The chunks of records of this process. Reports read them without the mutex of the pool.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
pub(crate) static CHUNKS: AtomicPtr<Waiter> = AtomicPtr::new(ptr::null_mut());

/// In a child of fork: the record of the thread that forked, which is in a chunk of the parent. If it has forked in a
/// function that `with_other_record` runs, or in a wait in a signal handler, that of the outer wait.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
pub(crate) static INHERITED: AtomicPtr<Waiter> = AtomicPtr::new(ptr::null_mut());

fn allocate_from(pool: &mut RecordPool<Waiter>) -> Result<&'static Waiter> {
    pool.allocate(&CHUNKS).ok_or(Error::NoMemory)
}

fn allocate() -> Result<&'static Waiter> {
    allocate_from(&mut WAITER_POOL.lock())
}

fn release(record: &'static Waiter) {
    let mut pool = WAITER_POOL.lock();
    record.state.store(IDLE, Ordering::Relaxed);
    pool.release(record);
}

/// Returns the record at the address that the block of a thread contains, or `None` if that is 0.
fn record_of(in_block: usize) -> Option<&'static Waiter> {
    // SAFETY: NULL, or a record, which is never freed.
    unsafe { ((in_block & !LEASED) as *const Waiter).as_ref() }
}

/// Returns what the block of the calling thread contains: the argument of `keep_after_fork`.
#[inline(always)]
pub(crate) fn in_block() -> usize {
    tls::with(|block| block.waiter.get())
}

/// Returns the calling thread's record. The exit hook returns it to the pool.
#[cfg(test)]
pub(crate) fn current() -> Result<&'static Waiter> {
    let _ = register_exit_hook();
    Waiter::mine()
}

/// The use of a record for one call that may enter queues, from `begin` until `end` or until it is dropped.
pub(crate) struct WaiterLease {
    /// 0 before the lease has begun, and after it has ended. In a signal handler that has interrupted another lease,
    /// what the block contained before; otherwise `LEASED`.
    outer: Cell<usize>,
    /// The fork epoch in which a lease in a signal handler has begun.
    epoch: Cell<u32>,
}

impl WaiterLease {
    #[inline(always)]
    pub(crate) fn new() -> WaiterLease {
        WaiterLease { outer: Cell::new(0), epoch: Cell::new(0) }
    }

    /// Returns the record: that of the calling thread, as a rule. The exit hook returns it to the pool. In a child of
    /// fork, the `BlockingCall` that begins next keeps it.
    #[inline]
    pub(crate) fn begin(&self) -> Result<&'static Waiter> {
        // If the hook cannot be registered, the record's 64 bytes leak when the thread exits; the wait need not fail.
        let _ = register_exit_hook();
        let before = in_block();
        let record = if before & LEASED == 0 { Waiter::mine()? } else { self.begin_nested()? };
        self.outer.set(if before & LEASED == 0 { LEASED } else { before });
        tls::with(|block| block.waiter.set(ptr::from_ref(record) as usize | LEASED));
        Ok(record)
    }

    #[cold]
    fn begin_nested(&self) -> Result<&'static Waiter> {
        let record = allocate()?;
        self.epoch.set(fork_epoch());
        Ok(Waiter::assign(record))
    }

    /// The call uses the record no more. Does nothing if the lease has ended.
    #[inline]
    pub(crate) fn end(&self) {
        match self.outer.replace(0) {
            0 => {}
            LEASED => tls::with(|block| block.waiter.set(block.waiter.get() & !LEASED)),
            outer => self.end_nested(outer),
        }
    }

    #[cold]
    fn end_nested(&self, outer: usize) {
        let record = record_of(tls::with(|block| block.waiter.replace(outer)));
        // In a child that the call has forked, the record is not in a chunk of this process: no other thread gets it.
        if fork_epoch() == self.epoch.get() {
            record.into_iter().for_each(release);
        }
    }
}

impl Drop for WaiterLease {
    #[inline]
    fn drop(&mut self) {
        self.end();
    }
}

impl Waiter {
    /// Returns the calling thread's record, which is allocated at the thread's first wait.
    fn mine() -> Result<&'static Waiter> {
        match Waiter::mine_if_allocated() {
            Some(mine) => Ok(mine),
            None => allocate().map(Waiter::assign),
        }
    }

    /// Assigns this record to the calling thread.
    fn assign(record: &'static Waiter) -> &'static Waiter {
        record.native_id.store(calling_thread::native_id() as u32, Ordering::Relaxed);
        tls::with(|block| block.waiter.set(ptr::from_ref(record) as usize));
        record
    }

    /// Returns the calling thread's record, and allocates one if possible: for callers that work without a record,
    /// possibly in a signal handler that has interrupted the pool. They wait for the pool's mutex, but not
    /// indefinitely.
    #[inline]
    pub(super) fn mine_or_try_allocate() -> Option<&'static Waiter> {
        Waiter::mine_if_allocated().or_else(Waiter::try_allocate)
    }

    #[cold]
    fn try_allocate() -> Option<&'static Waiter> {
        const MAX_TRIES: u32 = if cfg!(model) { 1 } else { 1000 };
        const PAUSE_NS: u64 = 100_000;
        for tries in 0..MAX_TRIES {
            if tries != 0 {
                futex::wait(&AtomicU32::new(0), 0, Deadline::now().add_ns(PAUSE_NS));
            }
            if let Some(mut pool) = WAITER_POOL.try_lock() {
                let record = allocate_from(&mut pool).ok()?;
                drop(pool);
                let _ = register_exit_hook();
                return Some(Waiter::assign(record));
            }
        }
        None
    }

    /// Runs a function of the program during a wait of the calling thread. The function may wait, too: with another
    /// record, since the thread's own may be in a queue.
    pub(crate) fn with_other_record<R>(f: impl FnOnce() -> R) -> R {
        let epoch = fork_epoch();
        let mine = in_block();
        let entry = ForkEntry::new(|record, _| Waiter::keep_after_fork(record));
        entry.add([mine, 0]);
        tls::with(|block| block.waiter.set(0));
        let result = f();
        // In a child that `f` has forked, the other record is not in a chunk of this process: no other thread gets it.
        if fork_epoch() == epoch {
            Waiter::release_current();
        }
        tls::with(|block| block.waiter.set(mine));
        result
    }

    /// Returns the calling thread's record to the pool, at thread exit. If the thread has left a wait by siglongjmp(),
    /// the record may still be in a queue, and is not used again.
    pub(crate) fn release_current() {
        let waiter = tls::with(|block| block.waiter.take());
        if waiter & LEASED == 0 {
            record_of(waiter).into_iter().for_each(release);
        }
    }

    /// In a child of fork, for the record of its only thread, which may have forked during a wait: `record` is what the
    /// block contains, 0 if it has none. In a wait in a signal handler, or in a function that `with_other_record` runs,
    /// called for that record first, and then for the one of the outer wait.
    pub(crate) fn keep_after_fork(record: usize) {
        let Some(record) = record_of(record) else { return };
        record.native_id.store(calling_thread::native_id() as u32, Ordering::Relaxed);
        let state = record.state.load(Ordering::Relaxed);
        if is_queued(state) || matches!(state, RETRY | OFFERED) {
            record.state.store(FORKED, Ordering::Relaxed);
        }
        INHERITED.store(ptr::from_ref(record).cast_mut(), Ordering::Relaxed);
    }
}

/// In a child of fork: the records of the parent's threads, and the free ones, are no longer used.
pub(crate) fn after_fork_in_child() {
    INHERITED.store(ptr::null_mut(), Ordering::Relaxed);
    broadcast_word::after_fork_in_child();
    Waiter::keep_after_fork(in_block());
    CHUNKS.store(ptr::null_mut(), Ordering::Relaxed);
}

/// Iterates over all records of this process. Takes no lock.
pub(crate) fn all() -> AllWaiters {
    let inherited = record_of(INHERITED.load(Ordering::Relaxed) as usize);
    AllWaiters { in_chunks: Records::of(&CHUNKS), inherited }
}

pub(crate) struct AllWaiters {
    in_chunks: Records<Waiter>,
    inherited: Option<&'static Waiter>,
}

impl Iterator for AllWaiters {
    type Item = &'static Waiter;

    fn next(&mut self) -> Option<&'static Waiter> {
        self.in_chunks.next().or_else(|| self.inherited.take())
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
            let other = Waiter::mine().unwrap();
            assert_ne!(mine, ptr::from_ref(other) as usize);
            assert!(all().any(|waiter| ptr::eq(waiter, other)));
            Waiter::release_current();
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_function_that_runs_during_a_wait_has_another_record() {
        let lease = WaiterLease::new();
        let mine = lease.begin().unwrap();
        let others = Waiter::with_other_record(|| {
            // A sleep or a join, which needs no lease, and the wait for an object.
            let noted = Waiter::mine_or_try_allocate().unwrap();
            let inner = WaiterLease::new();
            [noted, inner.begin().unwrap()].map(ptr::from_ref)
        });
        assert_ne!(others[0], ptr::from_ref(mine));
        assert_eq!(others[0], others[1]);
        assert!(ptr::eq(mine, record_of(in_block()).unwrap()));
    }
}
