//! Models of the timer: cancel against fire, and who runs the functions. For shuttle: the leader, the standby and the
//! registry are more than loom can look through.
#![cfg(model = "shuttle")]

use core::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use threading::model::{Model, advance, fly, spawn};
use threading::{Error, Event, Handle, Timeout, Timer};

/// What happened to a timer.
#[derive(Default)]
struct Fate {
    ran: AtomicU32,
    destroyed: AtomicU32,
}

unsafe extern "C-unwind" fn run(arg: *mut c_void) -> *mut c_void {
    // SAFETY: the models give a fate, which outlives the timer.
    unsafe { &*arg.cast::<Fate>() }.ran.fetch_add(1, SeqCst);
    arg
}

unsafe extern "C-unwind" fn destroy(arg: *mut c_void) {
    // SAFETY: as above.
    unsafe { &*arg.cast::<Fate>() }.destroyed.fetch_add(1, SeqCst);
}

fn timer(fate: &Arc<Fate>, milliseconds: u32) -> Handle<Timer> {
    let arg = Arc::as_ptr(fate).cast_mut().cast();
    // SAFETY: both take a fate, which outlives the timer.
    unsafe {
        let timer = Handle::<Timer>::new(f64::from(milliseconds) / 1e3, Some(run), arg).unwrap();
        timer.thread().unwrap().set_arg_destructor(Some(destroy)).unwrap();
        timer
    }
}

fn join(timer: Handle<Timer>) {
    assert_eq!(timer.thread().unwrap().join(Timeout::FOREVER), Ok(true));
}

#[test]
fn it_fires_or_is_cancelled() {
    Model::new("timer: it fires or is cancelled").check(|| {
        let fate = Arc::new(Fate::default());
        let timer = timer(&fate, 1);
        timer.start().unwrap();
        let clock = spawn(|| advance(2_000_000));
        let cancelled = timer.cancel().unwrap();
        join(timer);
        clock.join().unwrap();
        assert_eq!(fate.ran.load(SeqCst), u32::from(!cancelled));
        assert_eq!(fate.destroyed.load(SeqCst), 1);
        timer.free().unwrap();
    });
}

#[test]
fn of_two_cancels_neither_is_mistaken() {
    Model::new("timer: of two cancels neither is mistaken").check(|| {
        let fate = Arc::new(Fate::default());
        let timer = timer(&fate, 1);
        timer.start().unwrap();
        let other = spawn(move || timer.cancel().unwrap());
        fly();
        let cancelled = timer.cancel().unwrap();
        assert_eq!(cancelled, other.join().unwrap());
        join(timer);
        assert_eq!(fate.ran.load(SeqCst), u32::from(!cancelled));
        assert_eq!(fate.destroyed.load(SeqCst), 1);
        timer.free().unwrap();
    });
}

#[test]
fn it_is_started_once() {
    Model::new("timer: it is started once").check(|| {
        let fate = Arc::new(Fate::default());
        let timer = timer(&fate, 0);
        let other = spawn(move || timer.start());
        let started = [timer.start(), other.join().unwrap()];
        assert!(started.contains(&Ok(())) && started.contains(&Err(Error::AlreadyStarted)));
        join(timer);
        assert_eq!((fate.ran.load(SeqCst), fate.destroyed.load(SeqCst)), (1, 1));
        timer.free().unwrap();
    });
}

#[test]
fn a_start_beside_a_cancel_leaves_it_over_once() {
    Model::new("timer: a start beside a cancel leaves it over, once").check(|| {
        let fate = Arc::new(Fate::default());
        let timer = timer(&fate, 0);
        let other = spawn(move || timer.cancel().unwrap());
        timer.start().unwrap();
        let cancelled = other.join().unwrap();
        join(timer);
        assert_eq!(fate.ran.load(SeqCst), u32::from(!cancelled));
        assert_eq!(fate.destroyed.load(SeqCst), 1);
        timer.free().unwrap();
    });
}

#[test]
fn each_of_several_has_its_moment() {
    Model::new("timer: each of several has its moment").check(|| {
        let fates: Vec<_> = (0..3).map(|_| Arc::new(Fate::default())).collect();
        let timers: Vec<_> = fates.iter().zip([3, 1, 2]).map(|(fate, due)| timer(fate, due)).collect();
        let clock = spawn(|| {
            advance(1_500_000);
            fly();
        });
        timers.iter().for_each(|timer| timer.start().unwrap());
        timers.iter().for_each(|timer| join(*timer));
        clock.join().unwrap();
        fates.iter().for_each(|fate| assert_eq!(fate.ran.load(SeqCst), 1));
        timers.iter().for_each(|timer| timer.free().unwrap());
    });
}

unsafe extern "C-unwind" fn wait(arg: *mut c_void) -> *mut c_void {
    // SAFETY: the model gives an event's handle, which outlives the timer.
    assert_eq!(unsafe { *arg.cast::<Handle<Event>>() }.wait(Timeout::FOREVER), Ok(true));
    arg
}

unsafe extern "C-unwind" fn set(arg: *mut c_void) -> *mut c_void {
    // SAFETY: as above.
    unsafe { *arg.cast::<Handle<Event>>() }.set().unwrap();
    arg
}

#[test]
fn a_function_that_blocks_delays_no_other() {
    Model::new("timer: a function that blocks delays no other").check(|| {
        let event = Handle::<Event>::new().unwrap();
        let arg = (&raw const event).cast_mut().cast();
        // SAFETY: both take an event's handle, which outlives the timers.
        let (blocked, other) = unsafe {
            (
                Handle::<Timer>::new(0.0, Some(wait), arg).unwrap(),
                Handle::<Timer>::new(1e-3, Some(set), arg).unwrap(),
            )
        };
        blocked.start().unwrap();
        other.start().unwrap();
        fly();
        join(blocked);
        join(other);
        [blocked, other].into_iter().for_each(|timer| timer.free().unwrap());
        event.free().unwrap();
    });
}

#[test]
fn freed_while_it_waits_it_fires_all_the_same() {
    Model::new("timer: freed while it waits, it fires all the same").check(|| {
        let fate = Arc::new(Fate::default());
        let timer = timer(&fate, 1);
        let thread = timer.thread().unwrap().add_ref().unwrap();
        timer.start().unwrap();
        let clock = spawn(fly);
        timer.free().unwrap();
        assert_eq!(thread.join(Timeout::FOREVER), Ok(true));
        clock.join().unwrap();
        assert_eq!((fate.ran.load(SeqCst), fate.destroyed.load(SeqCst)), (1, 1));
        thread.free().unwrap();
    });
}
