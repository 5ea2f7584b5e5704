//! Models of the handles: freeing an object while other threads use it, and the reuse of its slot.

use threading::model::{Model, pin_keeps_generation, spawn};
use threading::{Barrier, Condition, Error, Event, Handle, Lock, Semaphore, Timeout, Timer};

#[test]
fn one_of_two_frees_destroys_the_object() {
    Model::new("handle: one of two frees destroys the object").check(|| {
        let lock = Handle::<Lock>::new().unwrap();
        let other = spawn(move || lock.free());
        let results = [lock.free(), other.join().unwrap()];
        assert!(results.contains(&Ok(())) && results.contains(&Err(Error::Handle)));
        // The slot was freed once: two newer objects do not share it.
        let newer = [Handle::<Lock>::new().unwrap(), Handle::<Lock>::new().unwrap()];
        assert_ne!(newer[0].bits() & !63, newer[1].bits() & !63);
        newer.into_iter().for_each(|lock| lock.free().unwrap());
    });
}

#[test]
fn the_later_release_of_two_references_destroys_the_object() {
    Model::new("handle: the later release of two references destroys the object").check(|| {
        let lock = Handle::<Lock>::new().unwrap().add_ref().unwrap();
        let other = spawn(move || lock.free());
        assert_eq!([lock.free(), other.join().unwrap()], [Ok(()), Ok(())]);
        assert_eq!(lock.locked(), Err(Error::Handle));
        assert_eq!(lock.free(), Err(Error::Handle));
    });
}

#[test]
fn a_timer_is_destroyed_by_its_cancel_or_by_its_last_free() {
    Model::new("handle: a timer is destroyed by its cancel, or by its last free").check(|| {
        // SAFETY: there is no function.
        let timer = unsafe { Handle::<Timer>::new(f64::INFINITY, None, core::ptr::null_mut()) }.unwrap();
        let thread = timer.thread().unwrap();
        timer.start().unwrap();
        let other = spawn(move || timer.free().unwrap());
        assert_eq!(timer.cancel(), Ok(true));
        other.join().unwrap();
        assert_eq!(timer.cancel(), Err(Error::Handle));
        assert_eq!(thread.is_alive(), Err(Error::Handle));
    });
}

#[test]
fn a_reference_keeps_the_object_or_fails() {
    Model::new("handle: a reference keeps the object alive, or fails").check(|| {
        let lock = Handle::<Lock>::new().unwrap();
        let other = spawn(move || match lock.add_ref() {
            Ok(kept) => {
                kept.acquire().unwrap();
                kept.release().unwrap();
                kept.free().unwrap();
            }
            Err(error) => {
                assert_eq!(error, Error::Handle);
                // The handle is stale from now on, even if `free` has not returned yet.
                assert_eq!(lock.locked(), Err(Error::Handle));
            }
        });
        lock.free().unwrap();
        other.join().unwrap();
        assert_eq!(lock.free(), Err(Error::Handle));
    });
}

#[test]
fn a_stale_handle_never_reaches_the_newer_object() {
    Model::new("handle: a stale handle never reaches the newer object").check(|| {
        let stale = Handle::<Lock>::new().unwrap();
        let other = spawn(move || {
            let acquired = stale.try_acquire();
            assert!(acquired == Ok(true) || acquired == Err(Error::Handle));
            let released = stale.release();
            // The lock may be freed before the release.
            assert!(released == Err(Error::Handle) || (released == Ok(()) && acquired.is_ok()));
        });
        let freed = stale.free();
        assert_eq!(freed, Ok(()));
        let newer = Handle::<Lock>::new().unwrap();
        assert_eq!(newer.locked(), Ok(false));
        newer.acquire().unwrap();
        other.join().unwrap();
        assert_eq!(newer.locked(), Ok(true));
        newer.free().unwrap();
    });
}

#[test]
fn a_pinned_slot_is_not_reused() {
    Model::new("handle: a pinned slot is not reused").preemptions(2).check(|| {
        let semaphore = Handle::<Semaphore>::new(0).unwrap();
        let waiter = spawn(move || semaphore.acquire(Timeout::FOREVER));
        semaphore.release(1).unwrap();
        semaphore.free().unwrap();
        let newer = [Handle::<Semaphore>::new(1).unwrap(), Handle::<Semaphore>::new(1).unwrap()];
        let waited = waiter.join().unwrap();
        assert!(waited == Ok(true) || waited == Err(Error::Handle));
        newer.into_iter().for_each(|newer| {
            assert_eq!(newer.value(), Ok(1));
            newer.free().unwrap();
        });
    });
}

#[test]
fn a_slot_keeps_its_generation_while_it_is_pinned() {
    Model::new("handle: a slot keeps its generation while it is pinned").check(|| {
        let lock = Handle::<Lock>::new().unwrap();
        let other = spawn(move || pin_keeps_generation(lock));
        lock.free().unwrap();
        assert_ne!(other.join().unwrap(), Ok(false));
        // The slot was recycled once.
        let newer = [Handle::<Lock>::new().unwrap(), Handle::<Lock>::new().unwrap()];
        assert_ne!(newer[0].bits() & !63, newer[1].bits() & !63);
        newer.into_iter().for_each(|lock| lock.free().unwrap());
    });
}

#[test]
fn a_pin_by_a_stale_handle_does_not_pin_the_newer_object() {
    Model::new("handle: a pin by a stale handle does not pin the newer object").preemptions(2).check(|| {
        let stale = Handle::<Semaphore>::new(0).unwrap();
        let other = spawn(move || pin_keeps_generation(stale));
        stale.free().unwrap();
        let newer = Handle::<Semaphore>::new(0).unwrap();
        let waiter = spawn(move || newer.acquire(Timeout::FOREVER));
        assert_ne!(other.join().unwrap(), Ok(false));
        newer.release(1).unwrap();
        newer.free().unwrap();
        // The waiter may still use its slot: the new object has another one.
        let newest = Handle::<Semaphore>::new(1).unwrap();
        let waited = waiter.join().unwrap();
        assert!(waited == Ok(true) || waited == Err(Error::Handle), "{waited:?}");
        assert_eq!(newest.value(), Ok(1));
        newest.free().unwrap();
    });
}

#[test]
fn an_event_with_waiters_is_busy() {
    Model::new("handle: an event with waiters is busy").check(|| {
        let event = Handle::<Event>::new().unwrap();
        let waiter = spawn(move || event.wait(Timeout::FOREVER));
        let freed = event.free();
        if freed == Ok(()) {
            assert_eq!(waiter.join().unwrap(), Err(Error::Handle));
        } else {
            assert_eq!(freed, Err(Error::Busy));
            event.set().unwrap();
            event.free().unwrap();
            assert_eq!(waiter.join().unwrap(), Ok(true));
        }
    });
}

#[test]
fn a_semaphore_with_waiters_is_busy() {
    Model::new("handle: a semaphore with waiters is busy").check(|| {
        let semaphore = Handle::<Semaphore>::new(0).unwrap();
        let waiter = spawn(move || semaphore.acquire(Timeout::FOREVER));
        let freed = semaphore.free();
        if freed == Ok(()) {
            assert_eq!(waiter.join().unwrap(), Err(Error::Handle));
        } else {
            assert_eq!(freed, Err(Error::Busy));
            semaphore.release(1).unwrap();
            semaphore.free().unwrap();
            assert_eq!(waiter.join().unwrap(), Ok(true));
        }
    });
}

#[test]
fn a_lock_with_waiters_is_busy() {
    Model::new("handle: a lock with waiters is busy").check(|| {
        let lock = Handle::<Lock>::new().unwrap();
        lock.acquire().unwrap();
        let waiter = spawn(move || lock.acquire());
        let freed = lock.free();
        if freed == Ok(()) {
            assert_eq!(waiter.join().unwrap(), Err(Error::Handle));
        } else {
            assert_eq!(freed, Err(Error::Busy));
            lock.release().unwrap();
            assert_eq!(waiter.join().unwrap(), Ok(()));
            lock.free().unwrap();
        }
    });
}

#[test]
fn a_condition_with_waiters_is_busy() {
    Model::new("handle: a condition with waiters is busy").preemptions(2).check(|| {
        let lock = Handle::<Lock>::new().unwrap();
        let condition = Handle::<Condition>::new_with_lock(lock).unwrap();
        let waiter = spawn(move || {
            lock.acquire().unwrap();
            let waited = condition.wait(Timeout::FOREVER);
            // The caller holds the lock even if the condition has been freed.
            assert_eq!(lock.locked(), Ok(true));
            lock.release().unwrap();
            waited
        });
        let freed = condition.free();
        if freed == Ok(()) {
            assert_eq!(waiter.join().unwrap(), Err(Error::Handle));
        } else {
            assert_eq!(freed, Err(Error::Busy));
            lock.acquire().unwrap();
            condition.notify(1).unwrap();
            lock.release().unwrap();
            condition.free().unwrap();
            assert_eq!(waiter.join().unwrap(), Ok(true));
        }
        lock.free().unwrap();
    });
}

#[test]
fn a_barrier_with_waiters_is_busy() {
    Model::new("handle: a barrier with waiters is busy").check(|| {
        // SAFETY: there is no action.
        let barrier = unsafe { Handle::<Barrier>::new(2, None, core::ptr::null_mut()) }.unwrap();
        let waiter = spawn(move || barrier.wait());
        let freed = barrier.free();
        if freed == Ok(()) {
            assert_eq!(waiter.join().unwrap(), Err(Error::Handle));
        } else {
            assert_eq!(freed, Err(Error::Busy));
            barrier.abort().unwrap();
            barrier.free().unwrap();
            assert_eq!(waiter.join().unwrap(), Err(Error::BrokenBarrier));
        }
    });
}

/// `add_ref` during the last free does not block, and both threads agree on the outcome.
#[test]
fn add_ref_during_the_last_free_of_an_event() {
    Model::new("handle: add_ref during the last free of an event").preemptions(2).check(|| {
        let event = Handle::<Event>::new().unwrap();
        let waiter = spawn(move || event.wait(Timeout::FOREVER));
        let other = spawn(move || {
            let kept = event.add_ref();
            if kept.is_err() {
                assert_eq!(event.add_ref(), Err(Error::Handle));
            }
            kept.is_ok()
        });
        let freed = event.free() == Ok(());
        let kept = other.join().unwrap();
        if kept || !freed {
            event.set().unwrap();
            assert_eq!(waiter.join().unwrap(), Ok(true));
            (0..usize::from(kept) + usize::from(!freed)).for_each(|_| event.free().unwrap());
        } else {
            assert_eq!(waiter.join().unwrap(), Err(Error::Handle));
        }
        // The slot was freed once.
        let newer = [Handle::<Event>::new().unwrap(), Handle::<Event>::new().unwrap()];
        assert_ne!(newer[0].bits() & !63, newer[1].bits() & !63);
        newer.into_iter().for_each(|event| event.free().unwrap());
    });
}

#[test]
fn a_failed_free_changes_nothing() {
    Model::new("handle: a failed free changes nothing").preemptions(2).check(|| {
        let event = Handle::<Event>::new().unwrap();
        let waiter = spawn(move || event.wait(Timeout::FOREVER));
        let other = spawn(move || event.add_ref().is_ok());
        let is_busy = event.free() == Err(Error::Busy);
        let kept = other.join().unwrap();
        // After a failed free, the object has been alive all the time.
        assert!(kept || !is_busy);
        let left = usize::from(is_busy) + usize::from(kept);
        if left > 0 {
            event.set().unwrap();
        }
        assert_eq!(waiter.join().unwrap(), if left > 0 { Ok(true) } else { Err(Error::Handle) });
        (0..left).for_each(|_| event.free().unwrap());
    });
}
