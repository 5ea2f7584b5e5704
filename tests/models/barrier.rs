//! Models of the barrier.

use core::ffi::{c_int, c_void};
use std::ptr;
use std::sync::Arc;

use threading::model::cell::RaceCell;
use threading::model::{Model, expire_all_timeouts, spawn};
use threading::{Barrier, Error, Handle, Timeout};

fn barrier(parties: usize) -> Handle<Barrier> {
    // SAFETY: there is no action.
    unsafe { Handle::<Barrier>::new(parties, None, ptr::null_mut()) }.unwrap()
}

fn all_parties_return(parties: usize, rounds: usize) -> impl Fn() + Send + Sync + 'static {
    move || {
        let barrier = barrier(parties);
        let data: Arc<Vec<_>> = Arc::new((0..parties).map(|_| RaceCell::new(0)).collect());
        let party = move |data: &[RaceCell<usize>], me: usize| {
            (0..rounds)
                .map(|round| {
                    data[(me + round) % parties].with(|data| *data += 1);
                    barrier.wait().unwrap()
                })
                .collect::<Vec<_>>()
        };
        let others: Vec<_> = (1..parties)
            .map(|me| {
                let data = data.clone();
                spawn(move || party(&data, me))
            })
            .collect();
        let mut arrival_indices = vec![party(&data, 0)];
        arrival_indices.extend(others.into_iter().map(|other| other.join().unwrap()));
        for round in 0..rounds {
            let mut round: Vec<_> =
                arrival_indices.iter().map(|arrival_indices| arrival_indices[round]).collect();
            round.sort_unstable();
            assert_eq!(round, (0..parties).collect::<Vec<_>>());
        }
        barrier.free().unwrap();
    }
}

#[test]
fn a_round_ends_when_all_parties_have_arrived() {
    Model::new("barrier: a round ends when all parties have arrived")
        .preemptions(2)
        .check(all_parties_return(2, 2));
}

#[test]
fn a_round_ends_for_three_parties() {
    Model::new("barrier: a round ends for three parties").preemptions(1).check(all_parties_return(3, 1));
}

#[test]
fn a_round_ends_while_waiters_spin() {
    Model::new("barrier: a round ends while waiters spin")
        .spinning()
        .preemptions(2)
        .check(all_parties_return(2, 2));
}

#[test]
fn a_timeout_breaks_the_barrier_for_all_or_for_none() {
    Model::new("barrier: a timeout breaks it for all parties or for none").preemptions(2).check(|| {
        let barrier = barrier(2);
        let timed_waiter = spawn(move || barrier.wait_timeout(Timeout::new(1e-3).unwrap()));
        let clock = spawn(expire_all_timeouts);
        let mine = barrier.wait();
        clock.join().unwrap();
        let timed_waiter = timed_waiter.join().unwrap();
        match (mine, timed_waiter) {
            (Ok(a), Ok(b)) => assert_eq!(a + b, 1),
            (a, b) => assert_eq!((a, b), (Err(Error::BrokenBarrier), Err(Error::BrokenBarrier))),
        }
        assert_eq!(barrier.broken(), Ok(mine.is_err()));
        barrier.free().unwrap();
    });
}

#[test]
fn abort_wakes_all_waiters() {
    Model::new("barrier: abort wakes all waiters").preemptions(2).check(|| {
        let barrier = barrier(2);
        let waiter = spawn(move || barrier.wait());
        barrier.abort().unwrap();
        assert_eq!(waiter.join().unwrap(), Err(Error::BrokenBarrier));
        barrier.reset().unwrap();
        assert_eq!(barrier.n_waiting(), Ok(0));
        barrier.free().unwrap();
    });
}

unsafe extern "C-unwind" fn count_action(arg: *mut c_void) -> c_int {
    // SAFETY: `arg` is the cell of the model, which outlives the barrier.
    unsafe { &*arg.cast::<RaceCell<u32>>() }.with(|data| *data += 1);
    0
}

#[test]
fn the_action_runs_once_before_any_wait_returns() {
    Model::new("barrier: the action runs once, before any wait returns").preemptions(2).check(|| {
        let done = Arc::new(RaceCell::new(0));
        let arg = Arc::as_ptr(&done).cast_mut().cast();
        // SAFETY: the action takes a cell, which outlives the barrier.
        let barrier = unsafe { Handle::<Barrier>::new(2, Some(count_action), arg) }.unwrap();
        let other = spawn(move || barrier.wait().unwrap());
        let mine = barrier.wait().unwrap();
        let other = other.join().unwrap();
        assert_eq!(mine + other, 1);
        done.with(|done| assert_eq!(*done, 1));
        barrier.free().unwrap();
    });
}

#[test]
fn a_released_party_may_free_the_barrier() {
    Model::new("barrier: a released party may free it").preemptions(2).check(|| {
        let barrier = barrier(2);
        let other = spawn(move || barrier.wait());
        barrier.wait().unwrap();
        barrier.free().unwrap();
        let newer = self::barrier(1);
        assert!(other.join().unwrap().is_ok());
        assert_eq!(newer.wait(), Ok(0));
        newer.free().unwrap();
    });
}
