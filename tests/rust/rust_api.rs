//! The Rust API: constructors and owned handles, guards, closures (calls, drops and panics), and errors.

use std::cell::Cell;
use std::ffi::CStr;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use threading::{
    ActionBarrier, Barrier, Condition, Error, Event, Handle, Hang, Local, Lock, OwnedHandle, RLock, Result,
    Semaphore, Thread, ThreadLocal, Timeout, Timer,
};

fn seconds(seconds: f64) -> Timeout {
    Timeout::new(seconds).expect("a valid timeout")
}

/// Sets an excepthook that collects failures. The hook is global, so the tests that set it are serialized: each of them
/// calls this function first.
fn collect_failures() -> (MutexGuard<'static, ()>, Arc<Mutex<Vec<String>>>) {
    static RUNNING: Mutex<()> = Mutex::new(());
    let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    let failures = Arc::new(Mutex::new(Vec::new()));
    let hook = failures.clone();
    threading::set_excepthook(move |thread, kind, message| {
        let [kind, message] = [kind, message].map(CStr::to_string_lossy);
        hook.lock().unwrap().push(format!("{}: {kind}: {message}", thread.name().unwrap()));
    });
    (running, failures)
}

/// Increments the counter when it is dropped.
struct CountsDrops(Arc<AtomicUsize>);

impl Drop for CountsDrops {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Returns a counter and a function that reads it.
fn counter() -> (Arc<AtomicUsize>, impl Fn() -> usize) {
    let count = Arc::new(AtomicUsize::new(0));
    let read = count.clone();
    (count, move || read.load(Ordering::SeqCst))
}

#[test]
fn each_type_has_a_constructor_and_the_methods_of_its_handle() -> Result {
    let lock = Lock::new()?;
    assert_eq!((lock.acquire(), lock.try_acquire(), lock.locked()), (Ok(()), Ok(false), Ok(true)));
    assert_eq!(lock.acquire_timeout(seconds(0.001)), Ok(false));
    assert_eq!((lock.release(), lock.release()), (Ok(()), Err(Error::NotAcquired)));

    let rlock = RLock::new()?;
    assert_eq!((rlock.acquire(), rlock.try_acquire(), rlock.recursion_count()), (Ok(()), Ok(true), Ok(2)));
    assert_eq!((rlock.release(), rlock.release(), rlock.release()), (Ok(()), Ok(()), Err(Error::NotOwner)));

    let condition = Condition::new()?;
    assert_eq!(
        (condition.notify(1), condition.wait(seconds(0.0))),
        (Err(Error::NotOwner), Err(Error::NotOwner))
    );
    assert_eq!((condition.acquire(), condition.wait(seconds(0.001))), (Ok(()), Ok(false)));
    assert_eq!(condition.wait_for(seconds(0.001), || Some(true)), Ok(true));
    assert_eq!(condition.wait_for(seconds(0.001), || None), Err(Error::Callback));
    assert_eq!(condition.release(), Ok(()));

    let semaphore = Semaphore::new(1)?;
    assert_eq!(
        (semaphore.acquire(Timeout::FOREVER), semaphore.acquire(seconds(0.001))),
        (Ok(true), Ok(false))
    );
    assert_eq!((semaphore.release(2), semaphore.value()), (Ok(()), Ok(2)));
    assert_eq!(Semaphore::new(-1).err(), Some(Error::SemaphoreNegative));
    assert_eq!(Semaphore::new_bounded(1)?.release(1), Err(Error::OverReleased));

    let event = Event::new()?;
    assert_eq!((event.wait(seconds(0.001)), event.set(), event.is_set()), (Ok(false), Ok(()), Ok(true)));
    assert_eq!((event.wait(Timeout::FOREVER), event.clear(), event.is_set()), (Ok(true), Ok(()), Ok(false)));

    assert_eq!(Barrier::new(0).err(), Some(Error::NoParties));
    let barrier = Barrier::new(1)?;
    assert_eq!((barrier.wait(), barrier.parties()), (Ok(0), Ok(1)));
    assert_eq!((barrier.abort(), barrier.wait()), (Ok(()), Err(Error::BrokenBarrier)));

    // SAFETY: there is no destructor.
    let local = unsafe { Local::new(None)? };
    assert_eq!((local.lookup(), local.attr(c"none"), local.del()), (Ok(None), Ok(None), Ok(false)));
    Ok(())
}

#[test]
fn conditions_share_the_lock_that_they_are_created_with() -> Result {
    let lock = Lock::new()?;
    let (not_empty, not_full) = (Condition::new_with_lock(&lock)?, Condition::new_with_lock(&lock)?);
    let guard = not_empty.lock()?;
    assert_eq!((not_full.locked(), lock.locked()), (Ok(true), Ok(true)));
    drop(guard);
    let bare = *lock;
    drop(lock);
    assert_eq!(bare.locked(), Ok(false), "the conditions hold references to their lock");
    drop((not_empty, not_full));
    assert_eq!(bare.locked(), Err(Error::Handle));
    assert_eq!(Condition::new_with_rlock(&Handle::NULL).err(), Some(Error::Handle));
    Ok(())
}

#[test]
fn a_thread_runs_its_closure_once_and_drops_it_before_join_returns() -> Result {
    let ((count, dropped), (ran, runs)) = (counter(), counter());
    let value = CountsDrops(count);
    let thread = Thread::new(move || {
        let _value = &value;
        ran.fetch_add(1, Ordering::SeqCst);
    })?;
    assert_eq!((runs(), dropped()), (0, 0));
    thread.start()?;
    assert_eq!(thread.join(Timeout::FOREVER), Ok(true));
    assert_eq!((runs(), dropped()), (1, 1));
    assert_eq!(thread.start(), Err(Error::AlreadyStarted));
    Ok(())
}

#[test]
fn a_closure_that_never_runs_is_dropped_once() -> Result {
    let (count, dropped) = counter();
    let (first, second, third) = (CountsDrops(count.clone()), CountsDrops(count.clone()), CountsDrops(count));
    drop(Thread::new(move || drop(first))?);
    assert_eq!(dropped(), 1);
    let timer = Timer::new(f64::INFINITY, move || drop(second))?;
    timer.start()?;
    assert_eq!(timer.cancel(), Ok(true));
    assert_eq!(timer.thread()?.join(Timeout::FOREVER), Ok(true));
    assert_eq!(dropped(), 2);
    assert_eq!(Timer::new(f64::NAN, move || drop(third)).err(), Some(Error::IntervalNan));
    assert_eq!(dropped(), 3);
    Ok(())
}

#[test]
fn a_timer_runs_its_closure() -> Result {
    let (ran, runs) = counter();
    let timer = Timer::new(0.01, move || {
        ran.fetch_add(1, Ordering::SeqCst);
    })?;
    timer.start()?;
    timer.thread()?.join(Timeout::FOREVER)?;
    assert_eq!(runs(), 1);
    assert_eq!(timer.cancel(), Ok(false));
    Ok(())
}

#[test]
fn a_panic_in_a_thread_or_timer_goes_to_the_excepthook() -> Result {
    let (_running, failures) = collect_failures();
    let thread = Thread::new(|| panic!("number {}", 7))?;
    thread.set_name(c"unlucky")?;
    let timer = Timer::new(0.0, || panic!("too soon"))?;
    timer.thread()?.set_name(c"clock")?;
    thread.start()?;
    thread.join(Timeout::FOREVER)?;
    timer.start()?;
    timer.thread()?.join(Timeout::FOREVER)?;
    assert_eq!(*failures.lock().unwrap(), ["unlucky: panic: number 7", "clock: panic: too soon"]);
    threading::reset_excepthook();
    Ok(())
}

#[test]
fn a_panic_in_the_excepthook_is_caught() -> Result {
    let (_running, _) = collect_failures();
    threading::set_excepthook(|_, _, _| panic!("the hook fails too"));
    threading::report_exception(c"kind", c"message")?;
    threading::reset_excepthook();
    Ok(())
}

#[test]
fn the_last_party_runs_the_action() -> Result {
    let (acted, actions) = counter();
    let barrier = ActionBarrier::new(3, move || {
        acted.fetch_add(1, Ordering::SeqCst);
    })?;
    assert_eq!(barrier.parties(), Ok(3));
    let mut indices = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| barrier.wait().unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    indices.sort();
    assert_eq!((indices, actions()), (vec![0, 1, 2], 1));
    Ok(())
}

#[test]
fn an_action_that_panics_breaks_the_barrier() -> Result {
    let (_running, failures) = collect_failures();
    let barrier = ActionBarrier::new(1, || panic!("no"))?;
    assert_eq!(barrier.wait(), Err(Error::Callback));
    assert_eq!((barrier.broken(), barrier.wait()), (Ok(true), Err(Error::BrokenBarrier)));
    assert_eq!(failures.lock().unwrap().len(), 1);
    threading::reset_excepthook();
    Ok(())
}

#[test]
fn each_thread_has_a_value_of_its_own() -> Result {
    let (count, dropped) = counter();
    let local = ThreadLocal::new()?;
    assert!(local.get()?.is_none());
    local.set(CountsDrops(count.clone()))?;
    let first = local.get()?.unwrap();
    local.set(CountsDrops(count.clone()))?;
    assert_eq!(dropped(), 0, "`first` holds a reference to it");
    drop(first);
    assert_eq!(dropped(), 1);
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            assert!(local.get().unwrap().is_none());
            local.set(CountsDrops(count.clone())).unwrap();
        });
        thread.join().unwrap();
    });
    assert_eq!(dropped(), 2, "its thread has exited");
    assert_eq!((local.del(), local.del()), (Ok(true), Ok(false)));
    local.set(CountsDrops(count.clone()))?;
    drop(local);
    assert_eq!(dropped(), 4);
    Ok(())
}

#[test]
fn the_init_closure_creates_the_value_of_each_thread() -> Result {
    let (created, creations) = counter();
    let local = ThreadLocal::with_init(move || Cell::new(created.fetch_add(1, Ordering::SeqCst)))?;
    local.get()?.unwrap().set(10);
    assert_eq!(local.get()?.unwrap().get(), 10);
    std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!(local.get().unwrap().unwrap().get(), 1)).join().unwrap()
    });
    assert_eq!(creations(), 2);
    Ok(())
}

#[test]
fn a_thread_whose_init_closure_panics_has_no_value() -> Result {
    let (_running, failures) = collect_failures();
    let local = ThreadLocal::<u32>::with_init(|| panic!("none"))?;
    assert_eq!(local.get()?, None);
    local.set(5)?;
    assert_eq!(local.get()?.as_deref(), Some(&5));
    assert_eq!(failures.lock().unwrap().len(), 1);
    threading::reset_excepthook();
    Ok(())
}

#[test]
fn a_closure_that_panics_is_dropped_once() -> Result {
    let (_running, failures) = collect_failures();
    let (count, dropped) = counter();
    let value = CountsDrops(count);
    let thread = Thread::new(move || {
        let _value = &value;
        panic!("after its start");
    })?;
    thread.start()?;
    thread.join(Timeout::FOREVER)?;
    assert_eq!(dropped(), 1);
    drop(thread);
    assert_eq!((dropped(), failures.lock().unwrap().len()), (1, 1));
    threading::reset_excepthook();
    Ok(())
}

#[test]
fn a_panic_in_the_drop_of_a_closure_goes_to_the_excepthook() -> Result {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("in drop");
        }
    }
    let (_running, failures) = collect_failures();
    let panics = Panics;
    drop(Thread::new(move || std::mem::forget(panics))?);
    let failures = failures.lock().unwrap();
    assert!(failures.len() == 1 && failures[0].ends_with(": panic: in drop"), "{failures:?}");
    threading::reset_excepthook();
    Ok(())
}

#[test]
fn actions_and_init_closures_are_dropped_with_their_object() -> Result {
    let (count, dropped) = counter();
    let (first, second) = (CountsDrops(count.clone()), CountsDrops(count));
    let barrier = ActionBarrier::new(1, move || {
        let _first = &first;
    })?;
    let local = ThreadLocal::with_init(move || {
        let _second = &second;
    })?;
    assert_eq!((barrier.wait(), local.get()?.is_some(), dropped()), (Ok(0), true, 0));
    drop(barrier);
    assert_eq!(dropped(), 1);
    drop(local);
    assert_eq!(dropped(), 2);
    Ok(())
}

#[test]
fn an_object_lives_until_its_last_owner_is_dropped() -> Result {
    let lock = Lock::new()?;
    let bare = *lock;
    let (clone, second) = (lock.clone(), bare.try_clone_to_owned()?);
    assert!(lock == clone && clone == second.try_clone()?);
    drop((lock, second));
    assert_eq!(bare.locked(), Ok(false));
    assert_eq!(clone.free(), Ok(()));
    assert_eq!(bare.locked(), Err(Error::Handle));
    assert_eq!(bare.try_clone_to_owned().err(), Some(Error::Handle));
    Ok(())
}

#[test]
fn a_reference_passes_between_an_owned_and_a_plain_handle() -> Result {
    let handle = Event::new()?.into_handle();
    assert_eq!(handle.is_set(), Ok(false));
    let owned = OwnedHandle::from_handle(handle);
    drop(owned);
    assert_eq!(handle.is_set(), Err(Error::Handle));
    Ok(())
}

#[test]
fn a_second_free_finds_no_object() -> Result {
    let lock = Lock::new()?;
    let bare = *lock;
    assert_eq!((bare.free(), bare.free()), (Ok(()), Err(Error::Handle)));
    assert_eq!(lock.clone().locked(), Err(Error::Handle));
    let newer = Lock::new()?;
    drop(lock);
    assert_eq!(newer.locked(), Ok(false), "the drop of a stale owner does not free a newer object");
    Ok(())
}

#[test]
fn an_object_on_which_threads_are_blocked_is_not_freed() -> Result {
    let barrier = Barrier::new(2)?;
    let bare = *barrier;
    let waiter = std::thread::spawn(move || bare.wait());
    while bare.n_waiting()? == 0 {
        std::thread::yield_now();
    }
    assert_eq!(barrier.free(), Err(Error::Busy));
    assert_eq!((bare.wait(), waiter.join().unwrap()), (Ok(1), Ok(0)));
    assert_eq!(bare.free(), Ok(()));
    Ok(())
}

#[test]
fn a_panic_releases_the_guards_that_it_passes() -> Result {
    let lock = Lock::new()?;
    let rlock = RLock::new()?;
    let condition = Condition::new_with_rlock(&rlock)?;
    let semaphore = Semaphore::new_bounded(1)?;
    let result = std::panic::catch_unwind(|| {
        let _guards = (
            lock.lock().unwrap(),
            rlock.lock().unwrap(),
            condition.lock().unwrap(),
            semaphore.acquire_guard().unwrap(),
        );
        assert_eq!((lock.locked(), rlock.recursion_count(), semaphore.value()), (Ok(true), Ok(2), Ok(0)));
        panic!("unwinds the block");
    });
    assert!(result.is_err());
    assert_eq!((lock.locked(), rlock.recursion_count(), semaphore.value()), (Ok(false), Ok(0), Ok(1)));
    let gone = *lock;
    drop(lock);
    assert_eq!(gone.lock().err(), Some(Error::Handle));
    Ok(())
}

#[test]
fn a_guard_exists_only_where_the_lock_was_acquired() -> Result {
    let lock = Lock::new()?;
    let guard = lock.try_lock()?.expect("the lock is free");
    assert!(lock.try_lock()?.is_none());
    assert!(lock.lock_timeout(seconds(0.001))?.is_none());
    assert_eq!(lock.locked(), Ok(true), "an attempt that failed has released nothing");
    drop(guard);
    assert!(lock.lock_timeout(Timeout::FOREVER)?.is_some());
    assert_eq!(lock.locked(), Ok(false));

    // If the program has already released the lock, the guard ignores the error.
    let guard = lock.lock()?;
    lock.release()?;
    drop(guard);
    assert_eq!(lock.locked(), Ok(false));
    Ok(())
}

#[test]
fn a_wait_of_a_condition_releases_the_lock_of_the_guard() -> Result {
    let condition = Condition::new()?;
    let guard = condition.lock()?;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _guard = condition.lock().unwrap();
            condition.notify(1).unwrap();
        });
        assert_eq!(condition.wait(Timeout::FOREVER), Ok(true));
    });
    assert_eq!(condition.is_owned(), Ok(true));
    drop(guard);
    assert_eq!(condition.locked(), Ok(false));
    Ok(())
}

#[test]
fn a_thread_is_enumerated_from_start_to_end() -> Result {
    let may_end = Event::new()?;
    let thread = {
        let may_end = may_end.clone();
        Thread::new(move || assert_eq!(may_end.wait(Timeout::FOREVER), Ok(true)))?
    };
    assert!(!threading::enumerate()?.contains(&thread));
    thread.start()?;
    let alive = threading::enumerate()?;
    assert_eq!(*alive[0], threading::main_thread()?);
    assert!(alive.contains(&thread));
    assert!(threading::active_count()? >= 2);
    may_end.set()?;
    thread.join(Timeout::FOREVER)?;
    assert!(!threading::enumerate()?.contains(&thread));
    Ok(())
}

#[test]
fn threads_know_themselves_and_the_main_thread() -> Result {
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = Thread::new(move || {
        let current = threading::current();
        sender.send((current, current.and_then(|current| current.join(Timeout::FOREVER)))).unwrap();
    })?;
    thread.start()?;
    assert_eq!(receiver.recv().unwrap(), (Ok(*thread), Err(Error::JoinSelf)));
    assert_ne!(threading::main_thread()?, *thread);
    assert_eq!(threading::main_thread()?.is_daemon(), Ok(false));
    assert_eq!(thread.join(Timeout::FOREVER), Ok(true));
    let foreign = std::thread::spawn(|| threading::current()?.join(Timeout::FOREVER));
    assert_eq!(foreign.join().unwrap(), Err(Error::NotJoinable));
    Ok(())
}

/// Returns the text of a dump.
fn dumped() -> String {
    let (mut reader, writer) = UnixStream::pair().unwrap();
    let text = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    });
    threading::dump(writer.as_raw_fd()).unwrap();
    drop(writer);
    text.join().unwrap()
}

#[test]
fn dumps_show_names_and_owners() -> Result {
    let (lock, rlock, condition) = (Lock::new()?, RLock::new()?, Condition::new()?);
    let (semaphore, event, barrier) = (Semaphore::new(1)?, Event::new()?, Barrier::new(2)?);
    lock.set_name(Some(c"rust lock"))?;
    rlock.set_name(Some(c"rust rlock"))?;
    condition.set_name(Some(c"rust condition"))?;
    semaphore.set_name(Some(c"rust semaphore"))?;
    barrier.set_name(Some(c"rust barrier"))?;
    event.set_name(Some(c"rust event"))?;
    assert_eq!(event.set_name(Some(c"\xff")), Err(Error::NameEncoding));
    assert_eq!((lock.owner(), rlock.owner()), (Ok(0), Ok(0)));

    let waiter = {
        let (lock, rlock, event) = (lock.clone(), rlock.clone(), event.clone());
        Thread::new(move || {
            lock.acquire().unwrap();
            rlock.acquire().unwrap();
            event.wait(Timeout::FOREVER).unwrap();
            rlock.release().unwrap();
        })?
    };
    waiter.set_name(c"rust waiter")?;
    waiter.start()?;
    let expected = [
        "  waits for event \"rust event\" (not set), for ",
        "    owns lock \"rust lock\"",
        "    owns rlock \"rust rlock\"",
    ];
    loop {
        let text = dumped();
        let lines: Vec<&str> =
            text.lines().skip_while(|line| !line.starts_with("\"rust waiter\" ")).collect();
        if lines.len() >= 3 && lines.iter().zip(expected).all(|(line, expected)| line.contains(expected)) {
            break;
        }
        threading::sleep(seconds(0.001));
    }
    event.set()?;
    assert!(waiter.join(Timeout::FOREVER)?);
    assert_eq!((lock.owner(), rlock.owner()), (waiter.ident(), Ok(0)));
    lock.release()?;
    assert_eq!(threading::dump(-1), Err(Error::Descriptor));
    assert_eq!(threading::dump_on_signal(9, Some(2)), Err(Error::Signal));
    assert_eq!(threading::dump_on_signal(3, Some(-1)), Err(Error::Descriptor));
    assert_eq!(threading::trace(Some(-1)), Err(Error::Descriptor));
    assert_eq!(threading::trace(Some(9999)), Err(Error::System));
    Ok(())
}

#[test]
fn contention_is_counted_while_it_is_on() -> Result {
    let lock = Lock::new()?;
    lock.set_name(Some(c"rust contended"))?;
    let line = || dumped().lines().any(|line| line.starts_with("  lock \"rust contended\"  1 wait, "));
    threading::set_contention(true);
    lock.acquire()?;
    let waiter = {
        let lock = lock.clone();
        Thread::new(move || drop(lock.lock().unwrap()))?
    };
    waiter.start()?;
    while !dumped().contains("waits for lock \"rust contended\"") {
        threading::sleep(seconds(0.001));
    }
    lock.release()?;
    assert!(waiter.join(Timeout::FOREVER)?);
    assert!(line());
    threading::set_contention(false);
    assert!(!line());
    Ok(())
}

/// Lets a thread acquire a lock twice, until `is_reported`.
fn deadlock(is_reported: impl Fn() -> bool) -> Result {
    let lock = Lock::new()?;
    let acquired_twice = lock.clone();
    let thread = Thread::new(move || {
        acquired_twice.acquire().unwrap();
        acquired_twice.acquire().unwrap();
    })?;
    thread.set_name(c"deadlocked")?;
    thread.start()?;
    while !is_reported() {
        threading::sleep(seconds(0.001));
    }
    lock.release()?;
    assert!(thread.join(Timeout::FOREVER)?);
    Ok(())
}

#[test]
fn the_hang_hook_is_called_once_for_a_deadlock_and_its_panics_are_reported() -> Result {
    let (_running, failures) = collect_failures();
    let reports = Arc::new(Mutex::new(Vec::new()));
    let hook = reports.clone();
    threading::set_hang_hook(seconds(0.02), move |hang, report| {
        hook.lock().unwrap().push((hang, report.to_owned()));
    });
    deadlock(|| !reports.lock().unwrap().is_empty())?;
    {
        let reports = reports.lock().unwrap();
        assert_eq!((reports.len(), reports[0].0), (1, Hang::Deadlock));
        assert!(reports[0].1.contains("1 of them deadlocked:\n  \"deadlocked\" waits for lock 0x"));
    }
    threading::set_hang_hook(seconds(0.02), |_, _| panic!("in the hook"));
    deadlock(|| !failures.lock().unwrap().is_empty())?;
    assert_eq!(*failures.lock().unwrap(), ["deadlocked: panic: in the hook"]);
    threading::report_hangs(Timeout::FOREVER);
    Ok(())
}
