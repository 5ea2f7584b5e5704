//! Models of the lock: mutual exclusion, the wait queue, hand-off, timeouts, free and reinit.

use std::sync::Arc;

use threading::model::cell::RaceCell;
use threading::model::{Model, advance, expire_all_timeouts, interrupt, spawn, yield_now};
use threading::{Error, Event, Handle, Lock, Timeout};

fn lock() -> Handle<Lock> {
    Handle::<Lock>::new().unwrap()
}

fn a_millisecond() -> Timeout {
    Timeout::new(1e-3).unwrap()
}

/// Each of several threads acquires the lock `times` times.
fn turns(threads: usize, times: u32) -> impl Fn() + Send + Sync + 'static {
    move || {
        let (lock, data) = (lock(), Arc::new(RaceCell::new(0)));
        let turns = move |data: &RaceCell<u32>| {
            for _ in 0..times {
                lock.acquire().unwrap();
                data.with(|data| *data += 1);
                lock.release().unwrap();
            }
        };
        let others: Vec<_> = (1..threads)
            .map(|_| {
                let data = data.clone();
                spawn(move || turns(&data))
            })
            .collect();
        turns(&data);
        others.into_iter().for_each(|other| other.join().unwrap());
        data.with(|data| assert_eq!(*data, threads as u32 * times));
        assert_eq!(lock.locked(), Ok(false));
        lock.free().unwrap();
    }
}

#[test]
fn one_of_two_threads_holds_the_lock() {
    Model::new("lock: one of two threads holds it").check(turns(2, 2));
}

#[test]
fn one_of_three_threads_holds_the_lock() {
    Model::new("lock: one of three threads holds it").preemptions(2).check(turns(3, 1));
}

#[test]
fn spinning_threads_exclude_each_other() {
    Model::new("lock: spinning threads exclude each other").spinning().preemptions(2).check(turns(2, 2));
}

/// Both threads have an owner tag before they acquire the lock, without which a thread takes the slow path.
#[test]
fn the_fast_path_orders_the_holders() {
    Model::new("lock: the fast path orders its holders").preemptions(2).check(|| {
        let (first, lock, data) = (lock(), lock(), Arc::new(RaceCell::new(0)));
        let turn = move |data: &RaceCell<u32>| {
            lock.acquire().unwrap();
            data.with(|data| *data += 1);
            lock.release().unwrap();
        };
        first.acquire().unwrap();
        let other = {
            let data = data.clone();
            spawn(move || {
                first.release().unwrap();
                turn(&data);
            })
        };
        turn(&data);
        other.join().unwrap();
        data.with(|data| assert_eq!(*data, 2));
        lock.free().unwrap();
        first.free().unwrap();
    });
}

/// A thread waits so long that the release serves it, `times` times: on the same CPU, the release hands the lock off to
/// it. On another one, the first release only wakes it, and the second hands the lock off if the thread has parked
/// again.
fn handed_off(times: u32) -> impl Fn() + Send + Sync + 'static {
    move || {
        let (lock, data) = (lock(), Arc::new(RaceCell::new(0)));
        lock.acquire().unwrap();
        let other = {
            let data = data.clone();
            spawn(move || {
                for _ in 0..times {
                    lock.acquire().unwrap();
                    data.with(|data| *data += 1);
                    lock.release().unwrap();
                }
            })
        };
        for _ in 0..times {
            data.with(|data| *data += 1);
            // The release serves a thread that began to wait before this.
            advance(3_000_000);
            lock.release().unwrap();
            lock.acquire().unwrap();
        }
        lock.release().unwrap();
        other.join().unwrap();
        data.with(|data| assert_eq!(*data, 2 * times));
        lock.free().unwrap();
    }
}

#[test]
fn the_lock_is_handed_off_to_a_waiter() {
    Model::new("lock: a release hands it off to a waiter after a while")
        .one_cpu()
        .preemptions(2)
        .check(handed_off(1));
}

#[test]
fn handoff_repeats() {
    Model::new("lock: hand-off repeats").one_cpu().preemptions(1).check(handed_off(2));
}

#[test]
fn a_waiter_of_another_cpu_is_woken_before_the_lock_is_handed_off() {
    Model::new("lock: a waiter on another CPU is woken, and later the lock is handed off to it")
        .preemptions(2)
        .check(handed_off(2));
}

#[test]
fn handoff_to_a_spinning_waiter() {
    Model::new("lock: a release hands it off to a spinning waiter")
        .spinning()
        .preemptions(2)
        .check(handed_off(2));
}

/// A waiter runs a signal handler, which returns after another thread has held the lock. The release wakes that waiter,
/// or offers it the lock if `waited_ns` is long enough and the threads share a CPU.
fn waiter_in_signal_handler(waited_ns: u64) -> impl Fn() + Send + Sync + 'static {
    move || {
        let (lock, data) = (lock(), Arc::new(RaceCell::new(0)));
        let event = Handle::<Event>::new().unwrap();
        let turn = move |data: &RaceCell<u32>| {
            lock.acquire().unwrap();
            data.with(|data| *data += 1);
            lock.release().unwrap();
        };
        lock.acquire().unwrap();
        let first = {
            let data = data.clone();
            spawn(move || turn(&data))
        };
        while !interrupt(move || assert_eq!(event.wait(Timeout::FOREVER), Ok(true))) {
            yield_now();
        }
        let second = {
            let data = data.clone();
            spawn(move || {
                turn(&data);
                event.set().unwrap();
            })
        };
        advance(waited_ns);
        lock.release().unwrap();
        expire_all_timeouts();
        second.join().unwrap();
        first.join().unwrap();
        data.with(|data| assert_eq!(*data, 2));
        assert_eq!(lock.try_acquire(), Ok(true));
        lock.free().unwrap();
        event.free().unwrap();
    }
}

#[test]
fn a_waiter_in_a_handler_is_woken_and_another_acquires() {
    Model::new("lock: a waiter in a signal handler is woken, and another thread acquires the lock")
        .preemptions(2)
        .check(waiter_in_signal_handler(0));
}

/// As above, at the fairness deadline.
#[test]
fn the_longest_waiter_is_woken_in_a_handler_and_another_acquires() {
    Model::new("lock: the longest waiter is woken in a signal handler, and another thread acquires the lock")
        .preemptions(2)
        .check(waiter_in_signal_handler(3_000_000));
}

#[test]
fn the_lock_is_offered_to_a_waiter_in_a_handler_and_another_acquires() {
    Model::new("lock: it is offered to a waiter in a signal handler, and another thread acquires it")
        .one_cpu()
        .preemptions(2)
        .check(waiter_in_signal_handler(3_000_000));
}

/// A waiter accepts the offer while another thread revokes it.
#[test]
fn an_offer_is_accepted_or_revoked() {
    Model::new("lock: an offer is accepted or revoked").one_cpu().preemptions(3).check(|| {
        let (lock, data) = (lock(), Arc::new(RaceCell::new(0)));
        lock.acquire().unwrap();
        let waiter = {
            let data = data.clone();
            spawn(move || {
                lock.acquire().unwrap();
                data.with(|data| *data += 1);
                lock.release().unwrap();
            })
        };
        data.with(|data| *data += 1);
        advance(3_000_000);
        lock.release().unwrap();
        advance(3_000_000);
        if lock.try_acquire().unwrap() {
            data.with(|data| *data += 1);
            lock.release().unwrap();
        }
        waiter.join().unwrap();
        data.with(|data| assert!(*data == 2 || *data == 3));
        assert_eq!(lock.try_acquire(), Ok(true));
        lock.free().unwrap();
    });
}

/// A lock that is offered to a waiter counts as held by the waiter: any thread may release it.
#[test]
fn an_offer_ends_with_a_release_by_another_thread() {
    Model::new("lock: an offer ends with a release by another thread").one_cpu().preemptions(3).check(|| {
        let lock = lock();
        lock.acquire().unwrap();
        let waiter = spawn(move || lock.acquire());
        advance(3_000_000);
        lock.release().unwrap();
        let released = lock.release();
        assert!(released == Ok(()) || released == Err(Error::NotAcquired));
        assert_eq!(waiter.join().unwrap(), Ok(()));
        assert_eq!(lock.try_acquire(), Ok(released.is_ok()));
        lock.release().unwrap();
        lock.free().unwrap();
    });
}

/// A waiter that was woken acquires the lock ahead of the queue, and another thread releases it `releases` times before
/// the waiter has left the queue. One acquire must permit one release, and the lock must not go to that waiter once
/// more.
fn release_a_waiter_that_is_still_queued(name: &'static str, releases: usize) {
    Model::new(name).preemptions(3).check(move || {
        let lock = lock();
        lock.acquire().unwrap();
        let waiter = spawn(move || lock.acquire());
        lock.release().unwrap();
        // In models, each second release of a thread beside a designated waker reads the clock: the next one does.
        if lock.try_acquire().unwrap() {
            lock.release().unwrap();
        }
        advance(3_000_000);
        let results: Vec<_> = (0..releases).map(|_| lock.release()).collect();
        assert!(results.iter().all(|result| matches!(result, Ok(()) | Err(Error::NotAcquired))));
        let released = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(waiter.join().unwrap(), Ok(()));
        assert!(released <= 1);
        assert_eq!(lock.try_acquire(), Ok(released == 1));
        lock.release().unwrap();
        lock.free().unwrap();
    });
}

#[test]
fn a_waiter_that_is_still_queued_acquires_once() {
    release_a_waiter_that_is_still_queued("lock: a waiter that is still queued acquires it once", 1);
}

#[test]
fn a_waiter_that_is_still_queued_is_released_once() {
    release_a_waiter_that_is_still_queued("lock: a waiter that is still queued is released once", 2);
}

#[test]
fn a_timeout_keeps_the_queue_in_order() {
    Model::new("lock: a timeout leaves the wait queue in order").preemptions(2).check(|| {
        let lock = lock();
        lock.acquire().unwrap();
        let timed_waiter = spawn(move || {
            let acquired = lock.acquire_timeout(a_millisecond()).unwrap();
            if acquired {
                lock.release().unwrap();
            }
        });
        let untimed_waiter = spawn(move || {
            lock.acquire().unwrap();
            lock.release().unwrap();
        });
        expire_all_timeouts();
        lock.release().unwrap();
        timed_waiter.join().unwrap();
        untimed_waiter.join().unwrap();
        assert_eq!(lock.try_acquire(), Ok(true));
        lock.free().unwrap();
    });
}

#[test]
fn try_acquire_succeeds_or_fails() {
    Model::new("lock: try_acquire acquires it or fails").check(|| {
        let (lock, data) = (lock(), Arc::new(RaceCell::new(0)));
        let other = {
            let data = data.clone();
            spawn(move || {
                if lock.try_acquire().unwrap() {
                    data.with(|data| *data += 1);
                    lock.release().unwrap();
                }
            })
        };
        lock.acquire().unwrap();
        data.with(|data| *data += 1);
        lock.release().unwrap();
        other.join().unwrap();
        lock.free().unwrap();
    });
}

#[test]
fn release_and_free_let_a_waiter_return() {
    Model::new("lock: after release and free, a waiter returns").preemptions(2).check(|| {
        let lock = lock();
        lock.acquire().unwrap();
        let waiter = spawn(move || lock.acquire());
        lock.release().unwrap();
        let freed = lock.free();
        let newer = self::lock();
        let waited = waiter.join().unwrap();
        assert!(waited == Ok(()) || waited == Err(Error::Handle));
        // `free` fails if the release has not woken the waiter yet: then the waiter is blocked on the lock.
        assert!(freed == Ok(()) || (freed == Err(Error::Busy) && waited == Ok(())));
        assert_eq!(newer.locked(), Ok(false));
        newer.free().unwrap();
        if freed.is_err() {
            lock.free().unwrap();
        }
    });
}

#[test]
fn two_releases_succeed_once() {
    Model::new("lock: one of two releases fails").check(|| {
        let lock = lock();
        lock.acquire().unwrap();
        let other = spawn(move || lock.release());
        let results = [lock.release(), other.join().unwrap()];
        assert!(results.contains(&Ok(())) && results.contains(&Err(Error::NotAcquired)));
        assert_eq!(lock.locked(), Ok(false));
        lock.free().unwrap();
    });
}

#[test]
fn reinit_lets_waiters_retry() {
    Model::new("lock: reinit lets the waiters retry").preemptions(2).check(|| {
        let lock = lock();
        lock.acquire().unwrap();
        let waiter = spawn(move || lock.acquire());
        lock.at_fork_reinit().unwrap();
        assert_eq!(waiter.join().unwrap(), Ok(()));
        lock.release().unwrap();
        lock.free().unwrap();
    });
}
