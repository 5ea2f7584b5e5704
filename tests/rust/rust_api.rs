//! The safe Rust API: what closures do and who drops them, panics, owners and guards.

use std::cell::Cell;
use std::ffi::CStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use threading::{
    ActionBarrier, Condition, Error, Handle, Lock, Owned, RLock, Result, Semaphore, Thread, ThreadLocal,
    Timeout, Timer,
};

/// The hook is the process's, so tests that look at it take turns; and they start with this one.
fn failures() -> (MutexGuard<'static, ()>, Arc<Mutex<Vec<String>>>) {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let failures = Arc::new(Mutex::new(Vec::new()));
    let hook = failures.clone();
    threading::set_excepthook(move |thread, kind, message| {
        let [kind, message] = [kind, message].map(CStr::to_string_lossy);
        hook.lock().unwrap().push(format!("{}: {kind}: {message}", thread.name().unwrap()));
    });
    (turn, failures)
}

/// Counts how often it has been dropped.
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn counter() -> (Arc<AtomicUsize>, impl Fn() -> usize) {
    let count = Arc::new(AtomicUsize::new(0));
    let read = count.clone();
    (count, move || read.load(Ordering::SeqCst))
}

#[test]
fn a_thread_runs_its_closure_once_and_drops_it_before_join_returns() -> Result {
    let ((count, dropped), (ran, runs)) = (counter(), counter());
    let value = Dropped(count);
    let thread = Owned(Handle::<Thread>::from_fn(move || {
        let _value = &value;
        ran.fetch_add(1, Ordering::SeqCst);
    })?);
    assert_eq!((runs(), dropped()), (0, 0));
    thread.start()?;
    assert_eq!(thread.join(Timeout::FOREVER), Ok(true));
    assert_eq!((runs(), dropped()), (1, 1));
    assert_eq!(thread.start(), Err(Error::AlreadyStarted));
    Ok(())
}

#[test]
fn what_never_runs_is_dropped() -> Result {
    let (count, dropped) = counter();
    let (first, second, third) = (Dropped(count.clone()), Dropped(count.clone()), Dropped(count));
    drop(Owned(Handle::<Thread>::from_fn(move || drop(first))?));
    assert_eq!(dropped(), 1);
    let timer = Owned(Handle::<Timer>::from_fn(f64::INFINITY, move || drop(second))?);
    timer.start()?;
    assert_eq!(timer.cancel(), Ok(true));
    assert_eq!(timer.thread()?.join(Timeout::FOREVER), Ok(true));
    assert_eq!(dropped(), 2);
    assert_eq!(Handle::<Timer>::from_fn(f64::NAN, move || drop(third)).err(), Some(Error::IntervalNan));
    assert_eq!(dropped(), 3);
    Ok(())
}

#[test]
fn a_timer_runs_its_closure() -> Result {
    let (ran, runs) = counter();
    let timer = Owned(Handle::<Timer>::from_fn(0.01, move || {
        ran.fetch_add(1, Ordering::SeqCst);
    })?);
    timer.start()?;
    timer.thread()?.join(Timeout::FOREVER)?;
    assert_eq!(runs(), 1);
    assert_eq!(timer.cancel(), Ok(false));
    Ok(())
}

#[test]
fn a_panic_goes_to_the_excepthook_and_no_further() -> Result {
    let (_turn, failures) = failures();
    let thread = Owned(Handle::<Thread>::from_fn(|| panic!("number {}", 7))?);
    thread.set_name(c"unlucky")?;
    let timer = Owned(Handle::<Timer>::from_fn(0.0, || panic!("too soon"))?);
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
fn a_hook_that_panics_stops_there() -> Result {
    let (_turn, _) = failures();
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
    let mut places = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| barrier.wait().unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    places.sort();
    assert_eq!((places, actions()), (vec![0, 1, 2], 1));
    Ok(())
}

#[test]
fn an_action_that_panics_breaks_the_barrier() -> Result {
    let (_turn, failures) = failures();
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
    local.set(Dropped(count.clone()))?;
    let first = local.get()?.unwrap();
    local.set(Dropped(count.clone()))?;
    assert_eq!(dropped(), 0, "the first one is still looked at");
    drop(first);
    assert_eq!(dropped(), 1);
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            assert!(local.get().unwrap().is_none());
            local.set(Dropped(count.clone())).unwrap();
        });
        thread.join().unwrap();
    });
    assert_eq!(dropped(), 2, "its thread has ended");
    assert_eq!((local.del(), local.del()), (Ok(true), Ok(false)));
    local.set(Dropped(count.clone()))?;
    drop(local);
    assert_eq!(dropped(), 4);
    Ok(())
}

#[test]
fn init_makes_the_value_of_each_thread() -> Result {
    let (made, makes) = counter();
    let local = ThreadLocal::with_init(move || Cell::new(made.fetch_add(1, Ordering::SeqCst)))?;
    local.get()?.unwrap().set(10);
    assert_eq!(local.get()?.unwrap().get(), 10);
    std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!(local.get().unwrap().unwrap().get(), 1)).join().unwrap()
    });
    assert_eq!(makes(), 2);
    Ok(())
}

#[test]
fn an_init_that_panics_leaves_no_value() -> Result {
    let (_turn, failures) = failures();
    let local = ThreadLocal::<u32>::with_init(|| panic!("none"))?;
    assert_eq!(local.get()?, None);
    local.set(5)?;
    assert_eq!(local.get()?.as_deref(), Some(&5));
    assert_eq!(failures.lock().unwrap().len(), 1);
    threading::reset_excepthook();
    Ok(())
}

#[test]
fn an_owner_gives_its_reference_back() -> Result {
    let owned = Owned(Handle::<Lock>::new()?);
    let handle = *owned;
    let clone = owned.clone();
    drop(owned);
    assert_eq!(handle.locked(), Ok(false));
    drop(clone);
    assert_eq!(handle.locked(), Err(Error::Handle));
    Ok(())
}

#[test]
fn a_guard_releases_however_the_block_is_left() -> Result {
    let lock = Owned(Handle::<Lock>::new()?);
    let rlock = Owned(Handle::<RLock>::new()?);
    let condition = Owned(Handle::<Condition>::new_with_rlock(*rlock)?);
    let semaphore = Owned(Handle::<Semaphore>::new_bounded(1)?);
    let left = std::panic::catch_unwind(|| {
        let _held = (
            lock.hold().unwrap(),
            rlock.hold().unwrap(),
            condition.hold().unwrap(),
            semaphore.hold().unwrap(),
        );
        assert_eq!((lock.locked(), rlock.recursion_count(), semaphore.value()), (Ok(true), Ok(2), Ok(0)));
        panic!("leaves the block");
    });
    assert!(left.is_err());
    assert_eq!((lock.locked(), rlock.recursion_count(), semaphore.value()), (Ok(false), Ok(0), Ok(1)));
    let gone = *lock;
    drop(lock);
    assert_eq!(gone.hold().err(), Some(Error::Handle));
    Ok(())
}

#[test]
fn the_functions_of_the_module() -> Result {
    let thread = Owned(Handle::<Thread>::from_fn(|| ())?);
    assert!(threading::active_count()? >= 1);
    assert_ne!(threading::main_thread()?, *thread);
    assert_eq!(threading::main_thread()?.is_daemon(), Ok(false));
    Ok(())
}
