//! Models of the condition: notify, timeouts, and the reacquisition of the lock.

use std::sync::Arc;

use threading::model::cell::RaceCell;
use threading::model::{Model, expire_all_timeouts, free_beside_waiters, spawn};
use threading::{Barrier, Condition, Error, Handle, Lock, Timeout};

fn condition() -> Handle<Condition> {
    Handle::<Condition>::new().unwrap()
}

fn a_millisecond() -> Timeout {
    Timeout::new(1e-3).unwrap()
}

fn a_predicate_comes_true(condition: Handle<Condition>) {
    let data = Arc::new(RaceCell::new(0));
    let waiter = {
        let data = data.clone();
        spawn(move || {
            condition.acquire().unwrap();
            let is_one = || Some(data.with(|data| *data == 1));
            assert_eq!(condition.wait_for(Timeout::FOREVER, is_one), Ok(true));
            condition.release().unwrap();
        })
    };
    condition.acquire().unwrap();
    data.with(|data| *data = 1);
    condition.notify(1).unwrap();
    // The waiter may have been notified before it has parked, and must not return before the release.
    data.with(|data| *data = 1);
    condition.release().unwrap();
    waiter.join().unwrap();
    condition.free().unwrap();
}

#[test]
fn notify_ends_a_wait() {
    Model::new("condition: notify ends a wait").preemptions(2).check(|| a_predicate_comes_true(condition()));
}

#[test]
fn notify_ends_a_wait_of_a_thread_that_parks_together_with_others() {
    Model::new("condition: notify ends a wait of a thread that parks together with others")
        .broadcasting()
        .preemptions(2)
        .check(|| a_predicate_comes_true(condition()));
}

#[test]
fn a_condition_works_with_a_plain_lock() {
    Model::new("condition: it works with a Lock").preemptions(2).check(|| {
        let lock = Handle::<Lock>::new().unwrap();
        a_predicate_comes_true(Handle::<Condition>::new_with_lock(lock).unwrap());
        lock.free().unwrap();
    });
}

/// Two threads wait, one of them with a timeout, while time passes and a third thread notifies one waiter. If the
/// notification went to the waiter with the timeout, a second notify wakes the other one.
fn one_notify_for_two() {
    let condition = condition();
    let waiting = Arc::new(RaceCell::new((0, false)));
    let wait = move |waiting: &RaceCell<(u32, bool)>, timeout: Timeout| {
        condition.acquire().unwrap();
        let is_over = waiting.with(|(count, over)| {
            *count += 1;
            *over
        });
        let notified = !is_over && condition.wait(timeout).unwrap();
        condition.release().unwrap();
        notified
    };
    let timed_waiter = {
        let waiting = waiting.clone();
        spawn(move || wait(&waiting, a_millisecond()))
    };
    let untimed_waiter = {
        let waiting = waiting.clone();
        spawn(move || wait(&waiting, Timeout::FOREVER))
    };
    let clock = spawn(expire_all_timeouts);
    condition.acquire().unwrap();
    let both = waiting.with(|(count, over)| {
        *over = *count < 2;
        *count == 2
    });
    let notified = if both { condition.notify(1) } else { condition.notify(usize::MAX) };
    notified.unwrap();
    condition.release().unwrap();
    clock.join().unwrap();
    if timed_waiter.join().unwrap() && both {
        condition.acquire().unwrap();
        condition.notify(1).unwrap();
        condition.release().unwrap();
    }
    assert!(untimed_waiter.join().unwrap() || !both);
    condition.free().unwrap();
}

#[test]
fn no_notify_is_lost_to_a_waiter_that_times_out() {
    Model::new("condition: no notify is lost to a waiter that times out")
        .preemptions(1)
        .check(one_notify_for_two);
}

#[test]
fn no_notify_is_lost_to_a_waiter_that_times_out_and_parks_together_with_others() {
    Model::new("condition: no notify is lost among waiters that park together and time out")
        .broadcasting()
        .preemptions(1)
        .check(one_notify_for_two);
}

#[test]
fn a_timeout_and_a_notify_agree() {
    Model::new("condition: a timeout and a notify of the same waiter agree").preemptions(1).check(|| {
        let condition = condition();
        let waiting = Arc::new(RaceCell::new(false));
        let waiter = {
            let waiting = waiting.clone();
            spawn(move || {
                condition.acquire().unwrap();
                waiting.with(|waiting| *waiting = true);
                let notified = condition.wait(a_millisecond()).unwrap();
                waiting.with(|waiting| *waiting = false);
                condition.release().unwrap();
                notified
            })
        };
        let clock = spawn(expire_all_timeouts);
        condition.acquire().unwrap();
        condition.notify(1).unwrap();
        condition.release().unwrap();
        clock.join().unwrap();
        waiter.join().unwrap();
        waiting.with(|waiting| assert!(!*waiting));
        condition.free().unwrap();
    });
}

#[test]
fn the_notifier_may_free_the_condition() {
    Model::new("condition: the notifier may free it").preemptions(2).check(|| {
        let condition = condition();
        let waiting = Arc::new(RaceCell::new((false, false)));
        let waiter = {
            let waiting = waiting.clone();
            spawn(move || {
                condition.acquire().unwrap();
                let is_over = waiting.with(|(waits, is_over)| {
                    *waits = true;
                    *is_over
                });
                if is_over {
                    return condition.release().unwrap();
                }
                assert_eq!(condition.wait(Timeout::FOREVER), Ok(true));
            })
        };
        condition.acquire().unwrap();
        let waits = waiting.with(|(waits, is_over)| {
            *is_over = true;
            *waits
        });
        condition.notify(usize::MAX).unwrap();
        condition.release().unwrap();
        if waits {
            condition.free().unwrap();
        }
        waiter.join().unwrap();
        assert_eq!(condition.free(), if waits { Err(Error::Handle) } else { Ok(()) });
    });
}

/// Two waiters return one after the other.
fn notify_all_of_two() {
    let condition = condition();
    let data = Arc::new(RaceCell::new((false, 0)));
    let waiters: Vec<_> = (0..2)
        .map(|_| {
            let data = data.clone();
            spawn(move || {
                condition.acquire().unwrap();
                let is_ready = || Some(data.with(|(ready, _)| *ready));
                assert_eq!(condition.wait_for(Timeout::FOREVER, is_ready), Ok(true));
                data.with(|(_, returned)| *returned += 1);
                condition.release().unwrap();
            })
        })
        .collect();
    condition.acquire().unwrap();
    data.with(|(ready, _)| *ready = true);
    condition.notify(usize::MAX).unwrap();
    condition.release().unwrap();
    waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    data.with(|(_, returned)| assert_eq!(*returned, 2));
    condition.free().unwrap();
}

#[test]
fn notify_all_wakes_waiters_one_at_a_time() {
    Model::new("condition: notify_all wakes the waiters one at a time")
        .preemptions(1)
        .check(notify_all_of_two);
}

#[test]
fn notify_all_wakes_waiters_that_park_together() {
    Model::new("condition: notify_all wakes waiters that park together")
        .broadcasting()
        .preemptions(1)
        .check(notify_all_of_two);
}

/// One of the waiters of two conditions that share a futex word is notified, and then the other.
#[test]
fn conditions_that_share_a_word_have_separate_waiters() {
    let model = Model::new("condition: two conditions that share a futex word have separate waiters");
    model.broadcasting().preemptions(1).check(|| {
        let lock = Handle::<Lock>::new().unwrap();
        let conditions = [(); 2].map(|()| Handle::<Condition>::new_with_lock(lock).unwrap());
        let ready = Arc::new(RaceCell::new([false; 2]));
        let waiters = [0, 1].map(|index| {
            let ready = ready.clone();
            spawn(move || {
                lock.acquire().unwrap();
                let is_ready = || Some(ready.with(|ready| ready[index]));
                assert_eq!(conditions[index].wait_for(Timeout::FOREVER, is_ready), Ok(true));
                lock.release().unwrap();
            })
        });
        for (index, waiter) in waiters.into_iter().enumerate() {
            lock.acquire().unwrap();
            ready.with(|ready| ready[index] = true);
            conditions[index].notify(usize::MAX).unwrap();
            lock.release().unwrap();
            waiter.join().unwrap();
        }
        conditions.into_iter().for_each(|condition| condition.free().unwrap());
        lock.free().unwrap();
    });
}

/// A waiter that parks together with others is notified while another thread is blocked on the lock.
#[test]
fn a_broadcast_leaves_blocked_threads_in_the_queue() {
    Model::new("condition: a broadcast beside a blocked thread").broadcasting().preemptions(1).check(|| {
        let condition = condition();
        let data = Arc::new(RaceCell::new(false));
        let waiter = {
            let data = data.clone();
            spawn(move || {
                condition.acquire().unwrap();
                let is_ready = || Some(data.with(|ready| *ready));
                assert_eq!(condition.wait_for(Timeout::FOREVER, is_ready), Ok(true));
                condition.release().unwrap();
            })
        };
        condition.acquire().unwrap();
        let blocked = {
            let data = data.clone();
            spawn(move || {
                condition.acquire().unwrap();
                data.with(|ready| assert!(*ready));
                condition.release().unwrap();
            })
        };
        data.with(|ready| *ready = true);
        condition.notify(usize::MAX).unwrap();
        condition.release().unwrap();
        waiter.join().unwrap();
        blocked.join().unwrap();
        condition.free().unwrap();
    });
}

#[test]
fn a_waiter_restores_its_recursion_count() {
    Model::new("condition: a waiter restores its recursion count").preemptions(1).check(|| {
        let condition = condition();
        let waiter = spawn(move || {
            condition.acquire().unwrap();
            condition.acquire().unwrap();
            let notified = condition.wait(a_millisecond()).unwrap();
            condition.release().unwrap();
            assert_eq!(condition.is_owned(), Ok(true));
            condition.release().unwrap();
            notified
        });
        condition.acquire().unwrap();
        condition.notify(1).unwrap();
        condition.release().unwrap();
        expire_all_timeouts();
        waiter.join().unwrap();
        assert_eq!(condition.locked(), Ok(false));
        condition.free().unwrap();
    });
}

/// A thread frees the condition while another begins a wait whose timeout expires. The lock works afterwards.
#[test]
fn a_waiter_that_times_out_beside_the_last_free_leaves_each_queue_once() {
    Model::new("condition: a wait times out during the last free").preemptions(3).check(|| {
        let lock = Handle::<Lock>::new().unwrap();
        let condition = Handle::<Condition>::new_with_lock(lock).unwrap();
        let waiters = [(); 2].map(|()| {
            spawn(move || {
                lock.acquire().unwrap();
                let _ = condition.wait(a_millisecond());
                lock.release().unwrap();
            })
        });
        let clock = spawn(expire_all_timeouts);
        let freed = condition.free();
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        clock.join().unwrap();
        if freed == Err(Error::Busy) {
            condition.free().unwrap();
        }
        assert_eq!(lock.try_acquire(), Ok(true));
        lock.release().unwrap();
        lock.free().unwrap();
    });
}

/// A waiter times out while another thread destroys the condition, and then waits for something else. This wait must
/// not be aborted.
#[test]
fn a_waiter_that_times_out_during_destroy_is_not_aborted_later() {
    let model = Model::new("condition: a waiter that times out during destroy is not aborted later");
    model.preemptions(2).times(4).check(|| {
        let lock = Handle::<Lock>::new().unwrap();
        let condition = Handle::<Condition>::new_with_lock(lock).unwrap();
        // SAFETY: there is no action.
        let barrier = unsafe { Handle::<Barrier>::new(2, None, core::ptr::null_mut()) }.unwrap();
        expire_all_timeouts();
        lock.acquire().unwrap();
        let destroyer = spawn(move || {
            free_beside_waiters(condition).unwrap();
            barrier.wait().unwrap();
        });
        let _ = condition.wait(a_millisecond());
        barrier.wait().unwrap();
        destroyer.join().unwrap();
        lock.release().unwrap();
        lock.free().unwrap();
        barrier.free().unwrap();
    });
}
