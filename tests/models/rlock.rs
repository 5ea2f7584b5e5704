//! Models of the reentrant lock.

use std::sync::Arc;

use threading::model::cell::RaceCell;
use threading::model::{Model, spawn};
use threading::{Error, Handle, RLock};

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
