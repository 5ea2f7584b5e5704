//! Models of the internal mutex while the fork handlers of a thread hold it.

use threading::model::fork::{add, fork, sum};
use threading::model::{Model, advance, spawn};

#[test]
fn a_waiter_is_woken_when_the_fork_lock_is_released() {
    Model::new("fork: a waiter is woken when the fork lock is released").check(|| {
        let other = spawn(add);
        fork();
        other.join().unwrap();
        assert_eq!(sum(), 1);
    });
}

#[test]
fn two_waiters_are_woken_when_the_fork_lock_is_released() {
    Model::new("fork: two waiters are woken when the fork lock is released").check(|| {
        let others = [spawn(add), spawn(add)];
        fork();
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(sum(), 2);
    });
}

#[test]
fn two_fork_locks_and_a_waiter_take_turns() {
    Model::new("fork: two fork locks and a waiter take turns").preemptions(2).check(|| {
        let others = [spawn(add), spawn(fork)];
        fork();
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(sum(), 1);
    });
}

#[test]
fn a_waiter_locks_the_mutex_after_the_fork_timeout() {
    Model::new("fork: a waiter locks the mutex after the fork timeout").check(|| {
        let others = [spawn(add), spawn(|| advance(1_000_000_000))];
        fork();
        others.into_iter().for_each(|other| other.join().unwrap());
        add();
        assert_eq!(sum(), 2);
    });
}
