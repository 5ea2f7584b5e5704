//! Dumps while a thread is stopped and holds one of the library's mutexes, for each mutex that each call locks. A dump
//! by another thread, and one by a signal handler of the stopped thread, must end, and not take long. These tests
//! require a library with fault points:
//!
//!     RUSTC_WORKSPACE_WRAPPER=tests/rust/with_faults cargo test --test stopped
#![cfg(all(fault, target_os = "linux"))]

use core::ffi::{c_int, c_void};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::collections::BTreeSet;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{Duration, Instant};

use threading::capi::types::threading_lock;
use threading::capi::{barrier::*, condition::*, dump::*, event::*, local::*, lock::*, status::*};
use threading::capi::{rlock::*, semaphore::*, thread::*, threading::*, timer::*};
use threading::panic_boundary::fault;

/// How long the fastest of several dumps may take, although other processes use the CPUs.
const LIMIT: Duration = Duration::from_millis(100);
/// How long a dump may take at most.
const HANG: Duration = Duration::from_secs(20);

unsafe extern "C-unwind" fn target(arg: *mut c_void) -> *mut c_void {
    arg
}

unsafe extern "C-unwind" fn ignore(_: *mut c_void) {}

unsafe extern "C-unwind" fn hook(_: c_int, _: *const core::ffi::c_char, _: *mut c_void) {}

static FILE: AtomicI32 = AtomicI32::new(-1);
/// How long the last dump by a handler took, in nanoseconds; 0 before it has ended.
static HANDLER_TIME: AtomicU64 = AtomicU64::new(0);

/// Returns how long a dump takes, and checks that it locks no mutex.
fn timed_dump() -> Duration {
    let start = Instant::now();
    let locks = fault::locks_in(|| assert_eq!(threading_dump(FILE.load(Ordering::SeqCst)), THREADING_OK));
    assert_eq!(locks, 0, "a dump has locked mutexes");
    start.elapsed()
}

extern "C" fn dump_in_handler(_: c_int) {
    HANDLER_TIME.store(timed_dump().as_nanos().max(1) as u64, Ordering::SeqCst);
}

fn gettid() -> c_int {
    // SAFETY: no preconditions.
    unsafe { libc::gettid() }
}

/// Returns how long a dump takes in a signal handler of this thread, which is stopped.
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

/// The name of a mutex: the type of its data, or, if it has none, the file.
fn mutex_name(data: &str, file: &str) -> String {
    let name = if data == "()" { file } else { data.split('<').next().unwrap() };
    name.rsplit([':', '/']).next().unwrap().to_owned()
}

/// Adds the names of all mutexes in the library's sources.
fn all_mutexes(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all_mutexes(&path, names);
        } else if !path.ends_with("sync/mutex.rs") && !path.ends_with("sync/biased_mutex.rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let of_kind = |kind| text.match_indices(kind);
            for (at, prefix) in of_kind("InternalMutex<").chain(of_kind("BiasedMutex<")) {
                let data = &text[at + prefix.len()..];
                let data = &data[..data.find(['>', '<']).unwrap()];
                names.insert(mutex_name(data, path.to_str().unwrap()));
            }
        }
    }
}

/// The mutexes in which no call below stops: those that are locked while a race detector is active, and in a child of
/// fork.
const EXCEPTIONS: [&str; 2] = ["DeferredUnlocks", "waiter_epoch.rs"];

/// Sets an alternate signal stack of the calling thread: 8 KiB, or 4 KiB more than this processor needs. No memory is
/// mapped below it. A library without optimization needs more.
fn use_small_alternate_stack() {
    const GUARD: usize = 65536;
    // SAFETY: no preconditions.
    let minimum = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) } as usize + 4096;
    let size = if cfg!(debug_assertions) { 65536 } else { minimum.next_multiple_of(4096).max(8192) };
    // SAFETY: the memory is new, and stays mapped as long as the process.
    unsafe {
        let memory = libc::mmap(
            null_mut(),
            GUARD + size,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        assert!(memory != libc::MAP_FAILED && libc::mprotect(memory, GUARD, libc::PROT_NONE) == 0);
        let stack = libc::stack_t { ss_sp: memory.byte_add(GUARD), ss_flags: 0, ss_size: size };
        assert_eq!(libc::sigaltstack(&stack, null_mut()), 0);
    }
}

/// Runs the call in a thread that stops when it locks a mutex for the `count`-th time. If it has stopped, makes dumps
/// and returns the name of the mutex.
fn stop_in(name: &str, call: fn(), count: u32) -> Option<String> {
    /// In seconds.
    const LIMIT_OF_A_STOP: u32 = 60;
    static THREAD: AtomicI32 = AtomicI32::new(0);
    // SAFETY: no preconditions. The alarm ends the process if a dump does not end.
    unsafe { libc::alarm(LIMIT_OF_A_STOP) };
    THREAD.store(0, Ordering::SeqCst);
    let thread = std::thread::spawn(move || {
        use_small_alternate_stack();
        THREAD.store(gettid(), Ordering::SeqCst);
        fault::stop_when_locked(count);
        call();
        fault::stop_when_locked(0);
    });
    while !fault::has_stopped() && !thread.is_finished() {
        std::thread::sleep(Duration::from_micros(100));
    }
    let stopped = fault::has_stopped().then(|| {
        let (data, file) = fault::stopped_in();
        mutex_name(data, file)
    });
    if stopped.is_some() {
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

/// The calls that lock mutexes. They free what they create, so that each run of a call locks the same ones.
const CALLS: &[(&str, fn())] = &[
    // SAFETY: the objects exist, and the callbacks accept any argument.
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
    // SAFETY: the objects exist, and the callbacks accept any argument.
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
    // SAFETY: the objects exist, and the callbacks accept any argument.
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
    // SAFETY: the objects exist, and the callbacks accept any argument.
    ("a timer", || unsafe {
        let timer = threading_timer_new(100.0, Some(target), null_mut());
        threading_timer_start(timer);
        threading_timer_cancel(timer);
        threading_thread_join(threading_timer_thread(timer));
        threading_timer_free(timer);
    }),
    // SAFETY: the objects exist, and the callbacks accept any argument.
    ("a local", || unsafe {
        let local = threading_local_new(Some(ignore));
        threading_local_set(local, &raw const FILE as *mut c_void);
        threading_local_get(local);
        threading_local_del(local);
        threading_local_free(local);
    }),
    // SAFETY: the objects exist, and the callbacks accept any argument.
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
    // SAFETY: the objects exist, and the callbacks accept any argument.
    ("an exit", || unsafe {
        threading_atexit(Some(ignore), null_mut());
    }),
];

#[test]
fn dumps_end_while_a_thread_is_stopped_with_a_mutex_held() {
    let file = std::fs::OpenOptions::new().write(true).open("/dev/null").unwrap();
    FILE.store(file.as_raw_fd(), Ordering::SeqCst);
    // SAFETY: the handler makes a dump, which signal handlers may do.
    unsafe {
        let mut action: libc::sigaction = core::mem::zeroed();
        action.sa_sigaction = dump_in_handler as *const () as usize;
        action.sa_flags = libc::SA_ONSTACK | libc::SA_RESTART;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &action, null_mut()), 0);
    }
    let (mut stops, mut mutexes, mut expected) = (0, BTreeSet::new(), BTreeSet::new());
    for &(name, call) in CALLS {
        call();
        let stopped: Vec<String> = (1..).map_while(|count| stop_in(name, call, count)).collect();
        assert!(!stopped.is_empty(), "{name} locks no mutex");
        stops += stopped.len();
        mutexes.extend(stopped);
    }
    println!("dumps were made with {stops} mutexes held, of {} kinds", mutexes.len());
    assert!(stops > 100);
    all_mutexes(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut expected);
    EXCEPTIONS.iter().for_each(|name| assert!(expected.remove(*name), "{name} does not exist"));
    assert_eq!(mutexes, expected);
}
