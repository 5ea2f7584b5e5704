//! Models of the semaphore.

use std::sync::Arc;

use threading::model::cell::Plain;
use threading::model::{Model, fly, spawn};
use threading::{Error, Handle, Semaphore, Timeout};

fn semaphore(value: i64) -> Handle<Semaphore> {
    Handle::<Semaphore>::new(value).unwrap()
}

fn a_millisecond() -> Timeout {
    Timeout::new(1e-3).unwrap()
}

fn unit_carries_what_was_before() {
    let (semaphore, data) = (semaphore(0), Arc::new(Plain::new(0)));
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
fn who_gets_a_unit_sees_what_was_before_its_release() {
    Model::new("semaphore: who gets a unit sees what was before its release")
        .check(unit_carries_what_was_before);
}

#[test]
fn so_does_one_that_looks() {
    Model::new("semaphore: so does one that looks").spinning().check(unit_carries_what_was_before);
}

#[test]
fn it_excludes() {
    Model::new("semaphore: one unit excludes").preemptions(1).check(|| {
        let (semaphore, data) = (semaphore(1), Arc::new(Plain::new(0)));
        let turn = move |data: &Plain<u32>| {
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

fn units_are_kept(wants_to_spin: bool) {
    let model = Model::new("semaphore: units are neither lost nor made when times run out").preemptions(2);
    let model = if wants_to_spin { model.spinning() } else { model };
    model.check(|| {
        let semaphore = semaphore(0);
        let late = spawn(move || semaphore.acquire(a_millisecond()).unwrap());
        let releaser = spawn(move || semaphore.release(1).unwrap());
        fly();
        releaser.join().unwrap();
        let taken = i64::from(late.join().unwrap());
        assert_eq!(semaphore.value(), Ok(1 - taken));
        semaphore.free().unwrap();
    });
}

#[test]
fn units_are_neither_lost_nor_made_when_times_run_out() {
    units_are_kept(false);
}

#[test]
fn nor_after_a_look() {
    units_are_kept(true);
}

fn wakes_as_many_as_there_are_units(looks: bool) {
    let model =
        Model::new("semaphore: each unit goes to a waiter, though newcomers take some").preemptions(2);
    let model = if looks { model.spinning() } else { model };
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
fn each_unit_goes_to_a_waiter() {
    wakes_as_many_as_there_are_units(false);
}

#[test]
fn also_when_one_looks() {
    wakes_as_many_as_there_are_units(true);
}

#[test]
fn a_time_out_does_not_take_the_unit_of_another_along() {
    Model::new("semaphore: a time-out does not take the unit of another along").preemptions(1).check(|| {
        let semaphore = semaphore(0);
        let late = spawn(move || semaphore.acquire(a_millisecond()).unwrap());
        let patient = spawn(move || semaphore.acquire(Timeout::FOREVER).unwrap());
        fly();
        semaphore.release(1).unwrap();
        if late.join().unwrap() {
            semaphore.release(1).unwrap();
        }
        assert!(patient.join().unwrap());
        semaphore.free().unwrap();
    });
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
fn its_releaser_may_free_it() {
    Model::new("semaphore: its releaser may free it").preemptions(2).check(is_freed_by_its_releaser);
}

#[test]
fn also_beside_one_that_looks() {
    Model::new("semaphore: also beside one that looks")
        .spinning()
        .preemptions(2)
        .check(is_freed_by_its_releaser);
}

#[test]
fn a_bounded_one_is_never_above_its_limit() {
    Model::new("semaphore: a bounded one is never above its limit").check(|| {
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
fn two_units_at_once_wake_two() {
    Model::new("semaphore: two units at once wake two").preemptions(1).check(|| {
        let semaphore = semaphore(0);
        let waiters: Vec<_> =
            (0..2).map(|_| spawn(move || semaphore.acquire(Timeout::FOREVER).unwrap())).collect();
        semaphore.release(2).unwrap();
        waiters.into_iter().for_each(|waiter| assert!(waiter.join().unwrap()));
        semaphore.free().unwrap();
    });
}
