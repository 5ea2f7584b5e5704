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
    Model::new("event: a waiter sees writes made before set").check(sees_writes_made_before_set);
}

#[test]
fn a_spinning_waiter_sees_writes_made_before_set() {
    Model::new("event: a spinning waiter sees writes made before set")
        .spinning()
        .check(sees_writes_made_before_set);
}

#[test]
fn is_set_sees_writes_made_before_set() {
    Model::new("event: is_set sees writes made before set").check(|| {
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
    // A wait that begins after the clear ends with a timeout.
    let waiter = spawn(move || event.wait(milliseconds(1)));
    // `Error::Busy` means that the waiter is blocked.
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
        // The event was freed before the wait began.
        assert_eq!(waited, Err(Error::Handle));
    }
}

#[test]
fn set_then_clear_wakes_waiters() {
    Model::new("event: set wakes the waiters even if clear follows immediately")
        .check(wakes_waiters_even_if_cleared);
}

#[test]
fn a_spinning_waiter_is_woken_by_set_and_clear() {
    Model::new("event: set wakes a spinning waiter even if clear follows immediately")
        .spinning()
        .check(wakes_waiters_even_if_cleared);
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
    Model::new("event: the setter may free it").check(is_freed_by_its_setter);
}

#[test]
fn the_setter_may_free_the_event_of_a_spinning_waiter() {
    Model::new("event: the setter may free it while a waiter spins").spinning().check(is_freed_by_its_setter);
}

fn times_out_or_not() {
    let event = event();
    let waiter = spawn(move || event.wait(milliseconds(1)).unwrap());
    let clock = spawn(expire_all_timeouts);
    event.set().unwrap();
    waiter.join().unwrap();
    clock.join().unwrap();
    event.clear().unwrap();
    // No waiter is counted any more: a counted one would make this `Error::Busy`.
    event.free().unwrap();
}

#[test]
fn a_timed_out_wait_leaves_no_waiter_counted() {
    Model::new("event: a timeout leaves no waiter counted").check(times_out_or_not);
}

#[test]
fn a_spinning_wait_leaves_no_waiter_counted() {
    Model::new("event: a timeout after spinning leaves no waiter counted").spinning().check(times_out_or_not);
}

#[test]
fn a_waiter_that_timed_out_is_not_counted() {
    Model::new("event: a waiter that timed out is not counted").check(|| {
        let event = event();
        let waiter = spawn(move || event.wait(milliseconds(1)).unwrap());
        expire_all_timeouts();
        assert!(!waiter.join().unwrap());
        event.free().unwrap();
    });
}

#[test]
fn a_timeout_does_not_wake_another_waiter() {
    Model::new("event: a timeout does not wake another waiter").preemptions(2).check(|| {
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
    Model::new("event: wait, clear and check in this order miss no set").check(|| {
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
