//! Models of the timer: a cancel that races with the expiry, and the threads that run the functions. For shuttle only:
//! the leader, the follower and the registry are too large for loom.
#![cfg(model = "shuttle")]

use core::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use threading::model::{Model, advance, expire_all_timeouts, spawn};
use threading::{Error, Event, Handle, Timeout, Timer};

/// How often the functions of a timer were called.
#[derive(Default)]
struct CallCounts {
    ran: AtomicU32,
    destroyed: AtomicU32,
}

unsafe extern "C-unwind" fn run(arg: *mut c_void) -> *mut c_void {
    // SAFETY: `arg` is a `CallCounts`, which outlives the timer.
    unsafe { &*arg.cast::<CallCounts>() }.ran.fetch_add(1, SeqCst);
    arg
}

unsafe extern "C-unwind" fn destroy(arg: *mut c_void) {
    // SAFETY: as above.
    unsafe { &*arg.cast::<CallCounts>() }.destroyed.fetch_add(1, SeqCst);
}

fn timer(counts: &Arc<CallCounts>, milliseconds: u32) -> Handle<Timer> {
    let arg = Arc::as_ptr(counts).cast_mut().cast();
    // SAFETY: both functions take a `CallCounts`, which outlives the timer.
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
fn a_timer_fires_or_is_cancelled() {
    Model::new("timer: it fires or is cancelled").check(|| {
        let counts = Arc::new(CallCounts::default());
        let timer = timer(&counts, 1);
        timer.start().unwrap();
        let clock = spawn(|| advance(2_000_000));
        let cancelled = timer.cancel().unwrap();
        join(timer);
        clock.join().unwrap();
        assert_eq!(counts.ran.load(SeqCst), u32::from(!cancelled));
        assert_eq!(counts.destroyed.load(SeqCst), 1);
        timer.free().unwrap();
    });
}

#[test]
fn two_cancels_agree() {
    Model::new("timer: two cancels agree").check(|| {
        let counts = Arc::new(CallCounts::default());
        let timer = timer(&counts, 1);
        timer.start().unwrap();
        let other = spawn(move || timer.cancel().unwrap());
        expire_all_timeouts();
        let cancelled = timer.cancel().unwrap();
        assert_eq!(cancelled, other.join().unwrap());
        join(timer);
        assert_eq!(counts.ran.load(SeqCst), u32::from(!cancelled));
        assert_eq!(counts.destroyed.load(SeqCst), 1);
        timer.free().unwrap();
    });
}

#[test]
fn a_timer_starts_once() {
    Model::new("timer: it starts once").check(|| {
        let counts = Arc::new(CallCounts::default());
        let timer = timer(&counts, 0);
        let other = spawn(move || timer.start());
        let started = [timer.start(), other.join().unwrap()];
        assert!(started.contains(&Ok(())) && started.contains(&Err(Error::AlreadyStarted)));
        join(timer);
        assert_eq!((counts.ran.load(SeqCst), counts.destroyed.load(SeqCst)), (1, 1));
        timer.free().unwrap();
    });
}

#[test]
fn concurrent_start_and_cancel_finish_once() {
    Model::new("timer: concurrent start and cancel finish it once").check(|| {
        let counts = Arc::new(CallCounts::default());
        let timer = timer(&counts, 0);
        let other = spawn(move || timer.cancel().unwrap());
        timer.start().unwrap();
        let cancelled = other.join().unwrap();
        join(timer);
        assert_eq!(counts.ran.load(SeqCst), u32::from(!cancelled));
        assert_eq!(counts.destroyed.load(SeqCst), 1);
        timer.free().unwrap();
    });
}

#[test]
fn each_of_several_timers_fires() {
    Model::new("timer: each of several fires").check(|| {
        let all_counts: Vec<_> = (0..3).map(|_| Arc::new(CallCounts::default())).collect();
        let timers: Vec<_> =
            all_counts.iter().zip([3, 1, 2]).map(|(counts, due)| timer(counts, due)).collect();
        let clock = spawn(|| {
            advance(1_500_000);
            expire_all_timeouts();
        });
        timers.iter().for_each(|timer| timer.start().unwrap());
        timers.iter().for_each(|timer| join(*timer));
        clock.join().unwrap();
        all_counts.iter().for_each(|counts| assert_eq!(counts.ran.load(SeqCst), 1));
        timers.iter().for_each(|timer| timer.free().unwrap());
    });
}

unsafe extern "C-unwind" fn wait(arg: *mut c_void) -> *mut c_void {
    // SAFETY: `arg` is the handle of an event, which outlives the timer.
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
        // SAFETY: both functions take the handle of an event, which outlives the timers.
        let (blocked, other) = unsafe {
            (
                Handle::<Timer>::new(0.0, Some(wait), arg).unwrap(),
                Handle::<Timer>::new(1e-3, Some(set), arg).unwrap(),
            )
        };
        blocked.start().unwrap();
        other.start().unwrap();
        expire_all_timeouts();
        join(blocked);
        join(other);
        [blocked, other].into_iter().for_each(|timer| timer.free().unwrap());
        event.free().unwrap();
    });
}

#[test]
fn a_freed_pending_timer_still_fires() {
    Model::new("timer: a pending one that is freed still fires").check(|| {
        let counts = Arc::new(CallCounts::default());
        let timer = timer(&counts, 1);
        let thread = timer.thread().unwrap().add_ref().unwrap();
        timer.start().unwrap();
        let clock = spawn(expire_all_timeouts);
        timer.free().unwrap();
        assert_eq!(thread.join(Timeout::FOREVER), Ok(true));
        clock.join().unwrap();
        assert_eq!((counts.ran.load(SeqCst), counts.destroyed.load(SeqCst)), (1, 1));
        thread.free().unwrap();
    });
}
