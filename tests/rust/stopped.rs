//! Dumps while a thread is stopped with one of the library's mutexes held: each in turn, for each call that locks one. A
//! dump by another thread, and one by a signal handler of the stopped thread, must end, and not take long. These tests
//! require a library with fault points:
//!
//!     RUSTFLAGS='--cfg fault' cargo test --test stopped
#![cfg(all(fault, target_os = "linux"))]

use core::ffi::{c_int, c_void};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use threading::capi::types::threading_lock;
use threading::capi::{barrier::*, condition::*, dump::*, event::*, local::*, lock::*, status::*};
use threading::capi::{rlock::*, semaphore::*, thread::*, threading::*, timer::*};
use threading::panic_boundary::fault;

/// How long one of several dumps may take, although other processes use the CPUs.
const LIMIT: Duration = Duration::from_millis(100);
/// How long a dump may take at most.
const HANG: Duration = Duration::from_secs(20);

unsafe extern "C-unwind" fn target(arg: *mut c_void) -> *mut c_void {
    arg
}

unsafe extern "C-unwind" fn ignore(_: *mut c_void) {}

unsafe extern "C-unwind" fn hook(_: c_int, _: *const core::ffi::c_char, _: *mut c_void) {}

static FILE: AtomicI32 = AtomicI32::new(-1);
/// The time of the last dump of a handler in nanoseconds, 0 before the first.
static HANDLER_TIME: AtomicU64 = AtomicU64::new(0);

/// Makes a dump, and returns how long it took.
fn timed_dump() -> Duration {
    let start = Instant::now();
    assert_eq!(threading_dump(FILE.load(Ordering::SeqCst)), THREADING_OK);
    start.elapsed()
}

extern "C" fn dump_in_handler(_: c_int) {
    HANDLER_TIME.store(timed_dump().as_nanos().max(1) as u64, Ordering::SeqCst);
}

fn gettid() -> c_int {
    // SAFETY: no preconditions.
    unsafe { libc::gettid() }
}

/// Makes a dump in a signal handler of this thread, which is stopped.
fn dump_by_signal(thread: c_int) -> Duration {
    HANDLER_TIME.store(0, Ordering::SeqCst);
    // SAFETY: the thread exists, and the signal has a handler.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, libc::SIGUSR1) };
    let start = Instant::now();
    loop {
        match HANDLER_TIME.load(Ordering::SeqCst) {
            0 => assert!(start.elapsed() < HANG, "the handler's dump does not end"),
            nanoseconds => return Duration::from_nanos(nanoseconds),
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Runs the call in a thread that stops when it locks a mutex for the `count`-th time. If it does, makes dumps. Returns
/// false if it does not.
fn stop_in(name: &str, call: fn(), count: u32) -> bool {
    static THREAD: AtomicI32 = AtomicI32::new(0);
    THREAD.store(0, Ordering::SeqCst);
    let thread = std::thread::spawn(move || {
        THREAD.store(gettid(), Ordering::SeqCst);
        fault::stop_when_locked(count);
        call();
        fault::stop_when_locked(0);
    });
    while !fault::has_stopped() && !thread.is_finished() {
        std::thread::sleep(Duration::from_micros(100));
    }
    let stopped = fault::has_stopped();
    if stopped {
        let shortest = |dump: &dyn Fn() -> Duration| (0..4).map(|_| dump()).min().unwrap();
        let (by_thread, by_handler) =
            (shortest(&timed_dump), shortest(&|| dump_by_signal(THREAD.load(Ordering::SeqCst))));
        assert!(
            by_thread < LIMIT && by_handler < LIMIT,
            "{name}, mutex {count}: {by_thread:?}, {by_handler:?}"
        );
    }
    fault::go_on();
    thread.join().unwrap();
    stopped
}

/// The calls that lock mutexes. They clean up behind them, so that each call locks the same ones.
const CALLS: &[(&str, fn())] = &[
    ("objects with names", || unsafe {
        let event = threading_event_new();
        threading_event_set_name(event, c"name".as_ptr());
        threading_event_set_name(event, c"other".as_ptr());
        threading_event_free(event);
        threading_semaphore_free(threading_semaphore_new(1));
    }),
    ("a contended lock", || {
        let lock = threading_lock_new();
        threading_lock_acquire(lock);
        threading_lock_acquire_timeout(lock, 0.001);
        let other = lock as usize;
        let waiter =
            std::thread::spawn(move || threading_lock_acquire_timeout(other as *mut threading_lock, 5.0));
        std::thread::sleep(Duration::from_millis(5));
        threading_lock_release(lock);
        waiter.join().unwrap();
        threading_lock_free(lock);
    }),
    ("an rlock", || {
        let rlock = threading_rlock_new();
        threading_rlock_acquire(rlock);
        threading_rlock_at_fork_reinit(rlock);
        threading_rlock_free(rlock);
    }),
    ("a condition", || {
        let condition = threading_condition_new();
        threading_condition_acquire(condition);
        threading_condition_wait_timeout(condition, 0.001);
        threading_condition_notify_all(condition);
        threading_condition_release(condition);
        threading_condition_free(condition);
    }),
    ("a barrier", || unsafe {
        let barrier = threading_barrier_new(2, None, null_mut());
        threading_barrier_wait_timeout(barrier, 0.001, null_mut());
        threading_barrier_reset(barrier);
        threading_barrier_abort(barrier);
        threading_barrier_free(barrier);
    }),
    ("an event and a semaphore", || {
        let event = threading_event_new();
        threading_event_wait_timeout(event, 0.001);
        threading_event_free(event);
        threading_sleep(0.001);
    }),
    ("a thread", || unsafe {
        let thread = threading_thread_new(Some(target), null_mut());
        threading_thread_set_name(thread, c"name".as_ptr());
        threading_thread_set_daemon(thread, 1);
        threading_thread_set_stack_size(thread, 1 << 20);
        threading_thread_start(thread);
        threading_thread_name(thread);
        threading_thread_set_name(thread, c"other".as_ptr());
        threading_thread_join(thread);
        threading_thread_free(thread);
    }),
    ("lists of threads", || {
        threading_thread_list_free(threading_enumerate());
        threading_active_count();
        threading_main_thread();
        threading_current_thread();
        threading_set_stack_size(0);
    }),
    ("a timer", || unsafe {
        let timer = threading_timer_new(100.0, Some(target), null_mut());
        threading_timer_start(timer);
        threading_timer_cancel(timer);
        threading_thread_join(threading_timer_thread(timer));
        threading_timer_free(timer);
    }),
    ("a local", || unsafe {
        let local = threading_local_new(Some(ignore));
        threading_local_set(local, &raw const FILE as *mut c_void);
        threading_local_get(local);
        threading_local_del(local);
        threading_local_free(local);
    }),
    ("hooks", || unsafe {
        threading_set_excepthook(None, null_mut());
        threading_set_hang_hook(threading::FOREVER, Some(hook), null_mut());
        threading_dump_on_signal(libc::SIGUSR2, 2);
        threading_dump_on_signal(libc::SIGUSR2, -1);
    }),
    ("a fork", || {
        // SAFETY: the child does not return.
        unsafe {
            match libc::fork() {
                0 => libc::_exit(0),
                child => assert_eq!(libc::waitpid(child, null_mut(), 0), child),
            }
        }
    }),
    ("an exit", || unsafe {
        threading_atexit(Some(ignore), null_mut());
    }),
];

#[test]
fn dumps_end_while_a_thread_is_stopped_with_a_mutex_held() {
    let file = std::fs::OpenOptions::new().write(true).open("/dev/null").unwrap();
    FILE.store(file.as_raw_fd(), Ordering::SeqCst);
    // SAFETY: the handler makes a dump, which signal handlers may do. The alarm ends the process if a dump does not end.
    unsafe {
        libc::signal(libc::SIGUSR1, dump_in_handler as *const () as usize);
        libc::alarm(60);
    }
    let mut stops = 0;
    for &(name, call) in CALLS {
        call();
        let count = (1..).take_while(|&count| stop_in(name, call, count)).count();
        assert!(count > 0, "{name} locks no mutex");
        stops += count;
    }
    println!("dumps were made with {stops} mutexes held");
    assert!(stops > 100);
}
