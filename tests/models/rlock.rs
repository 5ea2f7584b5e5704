//! Models of the reentrant lock.

use std::sync::Arc;

use threading::model::cell::RaceCell;
use threading::model::{Model, spawn};
use threading::{Error, Event, Handle, RLock};

fn rlock() -> Handle<RLock> {
    Handle::<RLock>::new().unwrap()
}

#[test]
fn the_owner_holds_the_lock_until_the_last_release() {
    Model::new("rlock: the owner holds it until the last release").check(|| {
        let (rlock, data) = (rlock(), Arc::new(RaceCell::new(0)));
        let turn = move |data: &RaceCell<u32>| {
            rlock.acquire().unwrap();
            rlock.acquire().unwrap();
            data.with(|data| *data += 1);
            rlock.release().unwrap();
            assert_eq!(rlock.recursion_count(), Ok(1));
            data.with(|data| *data += 1);
            rlock.release().unwrap();
        };
        let other = {
            let data = data.clone();
            spawn(move || turn(&data))
        };
        turn(&data);
        other.join().unwrap();
        data.with(|data| assert_eq!(*data, 4));
        assert_eq!(rlock.locked(), Ok(false));
        rlock.free().unwrap();
    });
}

#[test]
fn only_the_owner_releases_the_lock() {
    Model::new("rlock: only the owner releases it").check(|| {
        let rlock = rlock();
        rlock.acquire().unwrap();
        let other = spawn(move || {
            assert_eq!(rlock.release(), Err(Error::NotOwner));
            if rlock.try_acquire().unwrap() {
                rlock.release().unwrap();
            }
        });
        rlock.release().unwrap();
        other.join().unwrap();
        assert_eq!(rlock.locked(), Ok(false));
        rlock.free().unwrap();
    });
}

#[test]
fn freeing_a_held_lock_does_not_affect_the_next_one() {
    Model::new("rlock: freeing a held one does not affect the next one in the slot").check(|| {
        let rlock = rlock();
        let owner = spawn(move || {
            let held = rlock.acquire();
            if held.is_ok() {
                let _ = rlock.acquire();
                let _ = rlock.release();
                let _ = rlock.release();
            }
        });
        rlock.free().unwrap();
        let newer = self::rlock();
        newer.acquire().unwrap();
        owner.join().unwrap();
        assert_eq!(newer.recursion_count(), Ok(1));
        newer.release().unwrap();
        newer.free().unwrap();
    });
}

#[test]
fn reinit_by_another_thread_resets_the_count() {
    Model::new("rlock: reinit by another thread resets the recursion count").check(|| {
        let rlock = rlock();
        rlock.acquire().unwrap();
        rlock.acquire().unwrap();
        let other = spawn(move || rlock.at_fork_reinit().unwrap());
        let again = rlock.acquire();
        other.join().unwrap();
        assert_eq!(again, Ok(()));
        if rlock.recursion_count() == Ok(0) {
            rlock.acquire().unwrap();
        }
        assert_eq!(rlock.recursion_count(), Ok(1));
        rlock.release().unwrap();
        assert_eq!(rlock.locked(), Ok(false));
        rlock.free().unwrap();
    });
}

#[test]
fn a_release_wakes_a_thread_that_is_about_to_park() {
    Model::new("rlock: a release wakes a thread that is about to park").check(|| {
        let rlock = rlock();
        rlock.acquire().unwrap();
        let waiter = spawn(move || {
            rlock.acquire().unwrap();
            rlock.release().unwrap();
        });
        rlock.release().unwrap();
        waiter.join().unwrap();
        assert_eq!(rlock.locked(), Ok(false));
        rlock.free().unwrap();
    });
}

/// The lock is contended, then not, so that its owner releases it by a store again, and then contended once more.
#[test]
fn a_lock_that_was_contended_can_be_contended_again() {
    Model::new("rlock: one that was contended can be contended again").preemptions(2).check(|| {
        let (rlock, data) = (rlock(), Arc::new(RaceCell::new(0)));
        let turns = move |data: &RaceCell<u32>| {
            for _ in 0..3 {
                rlock.acquire().unwrap();
                data.with(|data| *data += 1);
                rlock.release().unwrap();
            }
        };
        let other = {
            let data = data.clone();
            spawn(move || turns(&data))
        };
        turns(&data);
        other.join().unwrap();
        data.with(|data| assert_eq!(*data, 6));
        assert_eq!(rlock.locked(), Ok(false));
        rlock.free().unwrap();
    });
}

#[test]
fn a_freed_lock_stays_freed_while_its_owner_releases_it() {
    Model::new("rlock: one that was freed stays freed while its owner releases it").check(|| {
        let rlock = rlock();
        let owner = spawn(move || {
            if rlock.acquire().is_ok() {
                let released = rlock.release();
                assert!(released == Ok(()) || released == Err(Error::Handle));
            }
        });
        rlock.free().unwrap();
        assert_eq!(rlock.locked(), Err(Error::Handle));
        let newer = self::rlock();
        newer.acquire().unwrap();
        owner.join().unwrap();
        assert_eq!(rlock.locked(), Err(Error::Handle));
        assert_eq!(newer.is_owned(), Ok(true));
        newer.release().unwrap();
        newer.free().unwrap();
    });
}

/// A thread that fails because another one is freeing the lock makes sure that no later call finds the lock alive.
#[test]
fn a_lock_that_was_found_freed_stays_freed_while_its_owner_releases_it() {
    Model::new("rlock: one that was found freed stays freed while its owner releases it")
        .preemptions(2)
        .check(|| {
            let rlock = rlock();
            rlock.acquire().unwrap();
            let freeing = spawn(move || rlock.free().unwrap());
            let observer = spawn(move || {
                if rlock.add_ref().is_ok() {
                    return false;
                }
                assert_eq!(rlock.locked(), Err(Error::Handle));
                true
            });
            let released = rlock.release();
            assert!(released == Ok(()) || released == Err(Error::Handle));
            if !observer.join().unwrap() {
                // The other thread has released a reference that was not the last one, or failed to.
                rlock.free().unwrap();
            }
            freeing.join().unwrap();
            assert_eq!(rlock.locked(), Err(Error::Handle));
        });
}

#[test]
fn a_lock_acquired_after_reinit_is_not_released_by_its_former_owner() {
    Model::new("rlock: one acquired after reinit is not released by its former owner").check(|| {
        let rlock = rlock();
        let owner = spawn(move || {
            if !rlock.try_acquire().unwrap() {
                return;
            }
            let released = rlock.release();
            assert!(
                released == Ok(()) || released == Err(Error::NotOwner) || released == Err(Error::NotAcquired)
            );
        });
        rlock.at_fork_reinit().unwrap();
        if rlock.try_acquire().unwrap() {
            owner.join().unwrap();
            assert_eq!(rlock.is_owned(), Ok(true));
            rlock.release().unwrap();
        } else {
            owner.join().unwrap();
        }
        assert_eq!(rlock.locked(), Ok(false));
        rlock.free().unwrap();
    });
}

/// What a report relies on: a thread that is seen in a wait is not the owner of a lock that it released before.
#[test]
fn a_release_is_visible_before_what_the_thread_does_next() {
    Model::new("rlock: a release is visible before what the thread does next").check(|| {
        let (rlock, event) = (rlock(), Handle::<Event>::new().unwrap());
        let owner = spawn(move || {
            rlock.acquire().unwrap();
            rlock.release().unwrap();
            event.set().unwrap();
        });
        if event.is_set().unwrap() {
            assert_eq!(rlock.owner(), Ok(0));
        }
        owner.join().unwrap();
        rlock.free().unwrap();
        event.free().unwrap();
    });
}

/// A thread that begins to wait has set a flag and still waits for a store of the owner, when another thread frees the
/// lock.
#[test]
fn free_beside_a_waiter_and_a_release_is_final() {
    Model::new("rlock: free beside a waiter and a release is final").preemptions(2).check(|| {
        let rlock = rlock();
        rlock.acquire().unwrap();
        let waiter = spawn(move || {
            if rlock.acquire() == Ok(()) {
                let released = rlock.release();
                assert!(released == Ok(()) || released == Err(Error::Handle));
            }
        });
        let freeing = spawn(move || {
            let freed = rlock.free();
            assert!(freed == Ok(()) || freed == Err(Error::Busy));
            if freed.is_ok() {
                assert_eq!(rlock.locked(), Err(Error::Handle));
            }
            freed.is_ok()
        });
        let released = rlock.release();
        assert!(released == Ok(()) || released == Err(Error::Handle));
        waiter.join().unwrap();
        if !freeing.join().unwrap() {
            rlock.free().unwrap();
        }
        assert_eq!(rlock.locked(), Err(Error::Handle));
    });
}

/// As above, with a thread that has set a flag for a reinit.
#[test]
fn free_beside_reinit_and_a_release_is_final() {
    Model::new("rlock: free beside reinit and a release is final").preemptions(2).check(|| {
        let rlock = rlock();
        rlock.acquire().unwrap();
        let reinit = spawn(move || {
            let done = rlock.at_fork_reinit();
            assert!(done == Ok(()) || done == Err(Error::Handle));
        });
        let freeing = spawn(move || {
            rlock.free().unwrap();
            assert_eq!(rlock.locked(), Err(Error::Handle));
        });
        let _ = rlock.release();
        reinit.join().unwrap();
        freeing.join().unwrap();
        assert_eq!(rlock.locked(), Err(Error::Handle));
    });
}
