//! Models of the event.

use std::sync::Arc;

use threading::model::cell::{RaceCell, RelaxedCell};
use threading::model::{Model, expire_all_timeouts, spawn};
use threading::{Error, Event, Handle, Timeout};

fn event() -> Handle<Event> {
    Handle::<Event>::new().unwrap()
}

fn milliseconds(count: u32) -> Timeout {
    Timeout::new(f64::from(count) / 1e3).unwrap()
}

fn sees_writes_made_before_set() {
    let (event, data) = (event(), Arc::new(RaceCell::new(0)));
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
fn a_waiter_sees_writes_made_before_set() {
    Model::new("event: a waiter sees what was before the set").check(sees_writes_made_before_set);
}

#[test]
fn a_spinning_waiter_sees_writes_made_before_set() {
    Model::new("event: so does one that looks").spinning().check(sees_writes_made_before_set);
}

#[test]
fn is_set_sees_writes_made_before_set() {
    Model::new("event: one that asks sees what was before the set").check(|| {
        let (event, data) = (event(), Arc::new(RaceCell::new(0)));
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

fn wakes_waiters_even_if_cleared() {
    let event = event();
    // Whoever comes after the clear waits until its time runs out.
    let waiter = spawn(move || event.wait(milliseconds(1)));
    // BUSY tells that somebody is blocked on it.
    let blocked = event.free() == Err(Error::Busy);
    if blocked {
        event.set().unwrap();
        event.clear().unwrap();
    }
    expire_all_timeouts();
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
fn set_then_clear_wakes_waiters() {
    Model::new("event: a set that is cleared at once frees who waits").check(wakes_waiters_even_if_cleared);
}

#[test]
fn a_spinning_waiter_is_woken_by_set_and_clear() {
    Model::new("event: and one that looks").spinning().check(wakes_waiters_even_if_cleared);
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
fn the_setter_may_free_the_event() {
    Model::new("event: its setter may free it").check(is_freed_by_its_setter);
}

#[test]
fn the_setter_may_free_the_event_of_a_spinning_waiter() {
    Model::new("event: also beside one that looks").spinning().check(is_freed_by_its_setter);
}

fn times_out_or_not() {
    let event = event();
    let waiter = spawn(move || event.wait(milliseconds(1)).unwrap());
    let clock = spawn(expire_all_timeouts);
    event.set().unwrap();
    waiter.join().unwrap();
    clock.join().unwrap();
    event.clear().unwrap();
    // Nobody is counted as a waiter any more.
    event.free().unwrap();
}

#[test]
fn a_timed_out_wait_leaves_no_waiter_counted() {
    Model::new("event: a time that runs out leaves nobody behind").check(times_out_or_not);
}

#[test]
fn a_spinning_wait_leaves_no_waiter_counted() {
    Model::new("event: nor does a look").spinning().check(times_out_or_not);
}

#[test]
fn a_waiter_that_timed_out_is_not_counted() {
    Model::new("event: who gave up is counted no more").check(|| {
        let event = event();
        let waiter = spawn(move || event.wait(milliseconds(1)).unwrap());
        expire_all_timeouts();
        assert!(!waiter.join().unwrap());
        event.free().unwrap();
    });
}

#[test]
fn a_timeout_does_not_wake_another_waiter() {
    Model::new("event: a time-out does not take another waiter along").preemptions(2).check(|| {
        let event = event();
        let timed_waiter = spawn(move || event.wait(milliseconds(1)).unwrap());
        let untimed_waiter = spawn(move || event.wait(Timeout::FOREVER).unwrap());
        expire_all_timeouts();
        event.set().unwrap();
        timed_waiter.join().unwrap();
        assert!(untimed_waiter.join().unwrap());
        event.free().unwrap();
    });
}

#[test]
fn wait_clear_check_misses_no_set() {
    Model::new("event: who waits, clears and then looks misses nothing").check(|| {
        let (event, produced) = (event(), Arc::new(RelaxedCell::new(0)));
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
