//! Models of the semaphore.

use std::sync::Arc;

use threading::model::cell::RaceCell;
use threading::model::{Model, expire_all_timeouts, spawn};
use threading::{Error, Handle, Semaphore, Timeout};

fn semaphore(value: i64) -> Handle<Semaphore> {
    Handle::<Semaphore>::new(value).unwrap()
}

fn a_millisecond() -> Timeout {
    Timeout::new(1e-3).unwrap()
}

fn acquire_sees_prior_writes() {
    let (semaphore, data) = (semaphore(0), Arc::new(RaceCell::new(0)));
    let taker = {
        let data = data.clone();
        spawn(move || {
            assert_eq!(semaphore.acquire(Timeout::FOREVER), Ok(true));
            data.with(|data| assert_eq!(*data, 1));
        })
    };
    data.with(|data| *data = 1);
    semaphore.release(1).unwrap();
    taker.join().unwrap();
    semaphore.free().unwrap();
}

#[test]
fn acquire_sees_writes_made_before_release() {
    Model::new("semaphore: acquire sees writes made before release").check(acquire_sees_prior_writes);
}

#[test]
fn a_spinning_waiter_sees_writes_made_before_release() {
    Model::new("semaphore: a spinning waiter sees writes made before release")
        .spinning()
        .check(acquire_sees_prior_writes);
}

#[test]
fn one_permit_gives_mutual_exclusion() {
    Model::new("semaphore: one permit gives mutual exclusion").preemptions(1).check(|| {
        let (semaphore, data) = (semaphore(1), Arc::new(RaceCell::new(0)));
        let turn = move |data: &RaceCell<u32>| {
            assert_eq!(semaphore.acquire(Timeout::FOREVER), Ok(true));
            data.with(|data| *data += 1);
            semaphore.release(1).unwrap();
        };
        let others: Vec<_> = (0..2)
            .map(|_| {
                let data = data.clone();
                spawn(move || turn(&data))
            })
            .collect();
        turn(&data);
        others.into_iter().for_each(|other| other.join().unwrap());
        data.with(|data| assert_eq!(*data, 3));
        assert_eq!(semaphore.value(), Ok(1));
        semaphore.free().unwrap();
    });
}

fn permits_are_kept(spins: bool) {
    let model = Model::new("semaphore: timeouts neither lose nor create permits").preemptions(2);
    let model = if spins { model.spinning() } else { model };
    model.check(|| {
        let semaphore = semaphore(0);
        let timed_waiter = spawn(move || semaphore.acquire(a_millisecond()).unwrap());
        let releaser = spawn(move || semaphore.release(1).unwrap());
        expire_all_timeouts();
        releaser.join().unwrap();
        let taken = i64::from(timed_waiter.join().unwrap());
        assert_eq!(semaphore.value(), Ok(1 - taken));
        semaphore.free().unwrap();
    });
}

#[test]
fn timeouts_neither_lose_nor_create_permits() {
    permits_are_kept(false);
}

#[test]
fn timeouts_after_spinning_neither_lose_nor_create_permits() {
    permits_are_kept(true);
}

fn each_permit_reaches_a_waiter(spins: bool) {
    let model = Model::new("semaphore: each release wakes a waiter, despite barging").preemptions(2);
    let model = if spins { model.spinning() } else { model };
    model.check(|| {
        let semaphore = semaphore(0);
        let waiters: Vec<_> =
            (0..2).map(|_| spawn(move || semaphore.acquire(Timeout::FOREVER).unwrap())).collect();
        semaphore.release(1).unwrap();
        if semaphore.acquire(Timeout::ZERO).unwrap() {
            semaphore.release(1).unwrap();
        }
        semaphore.release(1).unwrap();
        waiters.into_iter().for_each(|waiter| assert!(waiter.join().unwrap()));
        assert_eq!(semaphore.value(), Ok(0));
        semaphore.free().unwrap();
    });
}

#[test]
fn each_release_wakes_a_waiter() {
    each_permit_reaches_a_waiter(false);
}

#[test]
fn each_release_wakes_a_spinning_waiter() {
    each_permit_reaches_a_waiter(true);
}

#[test]
fn a_timeout_does_not_take_the_permit_of_another_waiter() {
    Model::new("semaphore: a timeout does not take the permit of another waiter").preemptions(1).check(
        || {
            let semaphore = semaphore(0);
            let timed_waiter = spawn(move || semaphore.acquire(a_millisecond()).unwrap());
            let untimed_waiter = spawn(move || semaphore.acquire(Timeout::FOREVER).unwrap());
            expire_all_timeouts();
            semaphore.release(1).unwrap();
            if timed_waiter.join().unwrap() {
                semaphore.release(1).unwrap();
            }
            assert!(untimed_waiter.join().unwrap());
            semaphore.free().unwrap();
        },
    );
}

fn is_freed_by_its_releaser() {
    let semaphore = semaphore(0);
    let waiter = spawn(move || semaphore.acquire(Timeout::FOREVER));
    semaphore.release(1).unwrap();
    semaphore.free().unwrap();
    let newer = self::semaphore(5);
    let waited = waiter.join().unwrap();
    assert!(waited == Ok(true) || waited == Err(Error::Handle));
    assert_eq!(newer.value(), Ok(5));
    newer.free().unwrap();
}

#[test]
fn the_releaser_may_free_the_semaphore() {
    Model::new("semaphore: the releaser may free it").preemptions(2).check(is_freed_by_its_releaser);
}

#[test]
fn the_releaser_may_free_the_semaphore_of_a_spinning_waiter() {
    Model::new("semaphore: the releaser may free it while a waiter spins")
        .spinning()
        .preemptions(2)
        .check(is_freed_by_its_releaser);
}

#[test]
fn a_bounded_semaphore_never_exceeds_its_limit() {
    Model::new("semaphore: a bounded one never exceeds its limit").check(|| {
        let semaphore = Handle::<Semaphore>::new_bounded(1).unwrap();
        assert_eq!(semaphore.acquire(Timeout::ZERO), Ok(true));
        let other = spawn(move || semaphore.release(1));
        let results = [semaphore.release(1), other.join().unwrap()];
        assert_eq!(results.iter().filter(|result| **result == Ok(())).count(), 1);
        assert!(results.contains(&Err(Error::OverReleased)));
        assert_eq!(semaphore.value(), Ok(1));
        semaphore.free().unwrap();
    });
}

#[test]
fn releasing_two_wakes_two() {
    Model::new("semaphore: releasing two permits wakes two waiters").preemptions(1).check(|| {
        let semaphore = semaphore(0);
        let waiters: Vec<_> =
            (0..2).map(|_| spawn(move || semaphore.acquire(Timeout::FOREVER).unwrap())).collect();
        semaphore.release(2).unwrap();
        waiters.into_iter().for_each(|waiter| assert!(waiter.join().unwrap()));
        semaphore.free().unwrap();
    });
}
