//! Models of the event.

use std::sync::Arc;

use threading::model::cell::{Plain, Relaxed};
use threading::model::{Model, fly, spawn};
use threading::{Error, Event, Handle, Timeout};

fn event() -> Handle<Event> {
    Handle::<Event>::new().unwrap()
}

fn milliseconds(count: u32) -> Timeout {
    Timeout::new(f64::from(count) / 1e3).unwrap()
}

fn sees_what_was_before_the_set() {
    let (event, data) = (event(), Arc::new(Plain::new(0)));
    let waiter = {
        let data = data.clone();
        spawn(move || {
            assert_eq!(event.wait(Timeout::FOREVER), Ok(true));
            data.with(|data| assert_eq!(*data, 1));
        })
    };
    data.with(|data| *data = 1);
    event.set().unwrap();
    waiter.join().unwrap();
    event.free().unwrap();
}

#[test]
fn a_waiter_sees_what_was_before_the_set() {
    Model::new("event: a waiter sees what was before the set").check(sees_what_was_before_the_set);
}

#[test]
fn so_does_one_that_looks() {
    Model::new("event: so does one that looks").spinning().check(sees_what_was_before_the_set);
}

#[test]
fn one_that_asks_sees_it_too() {
    Model::new("event: one that asks sees what was before the set").check(|| {
        let (event, data) = (event(), Arc::new(Plain::new(0)));
        let setter = {
            let data = data.clone();
            spawn(move || {
                data.with(|data| *data = 1);
                event.set().unwrap();
            })
        };
        if event.is_set() == Ok(true) {
            data.with(|data| assert_eq!(*data, 1));
        }
        setter.join().unwrap();
        event.free().unwrap();
    });
}

fn frees_who_waits_even_if_cleared() {
    let event = event();
    // Whoever comes after the clear waits until its time runs out.
    let waiter = spawn(move || event.wait(milliseconds(1)));
    // BUSY tells that somebody is blocked on it.
    let blocked = event.free() == Err(Error::Busy);
    if blocked {
        event.set().unwrap();
        event.clear().unwrap();
    }
    fly();
    let waited = waiter.join().unwrap();
    if blocked {
        assert_eq!(waited, Ok(true));
        event.free().unwrap();
    } else {
        // It was gone already, or else had not come yet.
        assert_eq!(waited, Err(Error::Handle));
    }
}

#[test]
fn a_set_that_is_cleared_at_once_frees_who_waits() {
    Model::new("event: a set that is cleared at once frees who waits").check(frees_who_waits_even_if_cleared);
}

#[test]
fn and_one_that_looks() {
    Model::new("event: and one that looks").spinning().check(frees_who_waits_even_if_cleared);
}

fn is_freed_by_its_setter() {
    let event = event();
    let waiter = spawn(move || event.wait(Timeout::FOREVER));
    event.set().unwrap();
    event.free().unwrap();
    let newer = self::event();
    let waited = waiter.join().unwrap();
    assert!(waited == Ok(true) || waited == Err(Error::Handle));
    assert_eq!(newer.is_set(), Ok(false));
    newer.free().unwrap();
}

#[test]
fn its_setter_may_free_it() {
    Model::new("event: its setter may free it").check(is_freed_by_its_setter);
}

#[test]
fn also_beside_one_that_looks() {
    Model::new("event: also beside one that looks").spinning().check(is_freed_by_its_setter);
}

fn times_out_or_not() {
    let event = event();
    let waiter = spawn(move || event.wait(milliseconds(1)).unwrap());
    let clock = spawn(fly);
    event.set().unwrap();
    waiter.join().unwrap();
    clock.join().unwrap();
    event.clear().unwrap();
    // Nobody is counted as a waiter any more.
    event.free().unwrap();
}

#[test]
fn a_time_that_runs_out_leaves_nobody_behind() {
    Model::new("event: a time that runs out leaves nobody behind").check(times_out_or_not);
}

#[test]
fn nor_does_a_look() {
    Model::new("event: nor does a look").spinning().check(times_out_or_not);
}

#[test]
fn who_gave_up_is_counted_no_more() {
    Model::new("event: who gave up is counted no more").check(|| {
        let event = event();
        let waiter = spawn(move || event.wait(milliseconds(1)).unwrap());
        fly();
        assert!(!waiter.join().unwrap());
        event.free().unwrap();
    });
}

#[test]
fn a_time_out_does_not_take_another_waiter_along() {
    Model::new("event: a time-out does not take another waiter along").preemptions(2).check(|| {
        let event = event();
        let late = spawn(move || event.wait(milliseconds(1)).unwrap());
        let patient = spawn(move || event.wait(Timeout::FOREVER).unwrap());
        fly();
        event.set().unwrap();
        late.join().unwrap();
        assert!(patient.join().unwrap());
        event.free().unwrap();
    });
}

#[test]
fn who_waits_clears_and_then_looks_misses_nothing() {
    Model::new("event: who waits, clears and then looks misses nothing").check(|| {
        let (event, produced) = (event(), Arc::new(Relaxed::new(0)));
        let producer = {
            let produced = produced.clone();
            spawn(move || {
                for item in 1..=2 {
                    produced.store(item);
                    event.set().unwrap();
                }
            })
        };
        loop {
            assert_eq!(event.wait(Timeout::FOREVER), Ok(true));
            event.clear().unwrap();
            if produced.load() == 2 {
                break;
            }
        }
        producer.join().unwrap();
        event.free().unwrap();
    });
}
