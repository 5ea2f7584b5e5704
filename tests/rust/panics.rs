//! Panics in the library's own code: each exported function is made to panic once at its beginning, and so is what libc
//! calls. These tests require a library with fault points:
//!
//!     RUSTC_WORKSPACE_WRAPPER=tests/rust/with_faults cargo test --test panics
//!
//! The panic messages go to stderr, as they would for a user.
#![cfg(fault)]

use core::ffi::{c_int, c_void};
use core::ptr::null_mut;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use threading::capi::status::*;
use threading::capi::threading::*;
use threading::capi::types::threading_thread_list;
use threading::capi::{barrier::*, condition::*, dump::*, event::*, library::*, local::*, lock::*};
use threading::capi::{rlock::*, semaphore::*, thread::*, timer::*};
use threading::panic_boundary::fault::{self, FaultPoint};

/// Serializes the tests, because the fault points are global.
fn serialize() -> MutexGuard<'static, ()> {
    static RUNNING: Mutex<()> = Mutex::new(());
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The result of an exported function.
trait Outcome {
    fn is_failure(&self) -> bool;
}

impl Outcome for i32 {
    fn is_failure(&self) -> bool {
        *self == THREADING_ERR_INTERNAL
    }
}

impl Outcome for () {
    fn is_failure(&self) -> bool {
        true
    }
}

macro_rules! fails_with_default {
    ($($type:ty),*) => { $(impl Outcome for $type {
        fn is_failure(&self) -> bool {
            *self == <$type>::default()
        }
    })* };
}

fails_with_default!(bool, u64, i64, usize, f64);

impl<T> Outcome for *mut T {
    fn is_failure(&self) -> bool {
        self.is_null()
    }
}

impl<T> Outcome for *const T {
    fn is_failure(&self) -> bool {
        self.is_null()
    }
}

impl<T> Outcome for Option<T> {
    fn is_failure(&self) -> bool {
        self.is_none()
    }
}

unsafe extern "C-unwind" fn target(arg: *mut c_void) -> *mut c_void {
    arg
}
unsafe extern "C-unwind" fn predicate(_: *mut c_void) -> c_int {
    1
}
unsafe extern "C-unwind" fn ignore(_: *mut c_void) {}

/// The functions without a panic boundary, which have no fault point.
const WITHOUT_BOUNDARY: [&str; 7] = [
    "threading_clear_last_error",
    "threading_last_error",
    "threading_last_error_message",
    "threading_status_message",
    "threading_status_name",
    "threading_version",
    "threading_version_number",
];

fn exports() -> BTreeSet<String> {
    let header = include_str!("../../include/threading.h");
    let functions =
        header.lines().filter(|line| !line.starts_with([' ', '*', '#', '/', '}']) || line.contains("(*"));
    let mut names = BTreeSet::new();
    for line in functions {
        let Some(end) = line.find('(') else { continue };
        let name = line[..end].rsplit([' ', '*']).next().unwrap_or("");
        if name.starts_with("threading_") && !line.starts_with("typedef") && !line.starts_with("static") {
            names.insert(name.to_owned());
        }
    }
    names
}

/// Calls each of these functions with the fault armed, and checks that it fails and sets the error. Returns their
/// names.
macro_rules! fail {
    ($($name:ident($($arg:expr),*))*) => { [$({
        threading_clear_last_error();
        fault::arm(FaultPoint::Call);
        #[allow(unused_unsafe, reason = "some functions are safe")]
        // SAFETY: the arguments are valid, and the call fails before it uses them.
        let outcome = unsafe { $name($($arg),*) };
        assert!(outcome.is_failure(), "{}", stringify!($name));
        assert_eq!(fault::take_fired_count(), 1, "the fault of {} has not fired", stringify!($name));
        assert_eq!(threading_last_error(), THREADING_ERR_INTERNAL, "{}", stringify!($name));
        stringify!($name).to_owned()
    }),*] };
}

#[test]
fn a_panic_in_an_exported_function_becomes_an_error() {
    let _running = serialize();
    let (nothing, mut value, mut index) = (null_mut::<c_void>(), null_mut(), 0);
    // SAFETY: the callbacks accept any argument.
    let (thread, timer, barrier, local) = unsafe {
        (
            threading_thread_new(Some(target), nothing),
            threading_timer_new(0.0, Some(target), nothing),
            threading_barrier_new(1, None, nothing),
            threading_local_new(Some(ignore)),
        )
    };
    let (lock, rlock, condition) = (threading_lock_new(), threading_rlock_new(), threading_condition_new());
    let (semaphore, event) = (threading_semaphore_new(1), threading_event_new());
    let list: *mut threading_thread_list = threading_enumerate();
    assert_eq!(threading_rlock_acquire(rlock), THREADING_OK);
    assert_eq!(threading_event_set(event), THREADING_OK);
    // SAFETY: the destructor accepts any value.
    assert_eq!(unsafe { threading_local_set(local, barrier.cast()) }, THREADING_OK);

    let mut called: BTreeSet<String> = fail! {
        threading_thread_new(Some(target), nothing) threading_thread_ref(thread) threading_thread_free(thread)
        threading_thread_set_name(thread, c"x".as_ptr()) threading_thread_name(thread)
        threading_thread_set_daemon(thread, 1) threading_thread_is_daemon(thread)
        threading_thread_set_stack_size(thread, 0) threading_thread_set_arg_destructor(thread, Some(ignore))
        threading_thread_set_run(thread, None) threading_thread_run(thread) threading_thread_start(thread)
        threading_thread_join(thread) threading_thread_join_timeout(thread, 0.0)
        threading_thread_is_alive(thread) threading_thread_ident(thread) threading_thread_native_id(thread)
        threading_thread_result(thread) threading_thread_arg(thread)
        threading_timer_new(0.0, Some(target), nothing) threading_timer_ref(timer) threading_timer_free(timer)
        threading_timer_thread(timer) threading_timer_start(timer) threading_timer_cancel(timer)
        threading_timer_interval(timer)
        threading_lock_new() threading_lock_ref(lock) threading_lock_free(lock) threading_lock_acquire(lock)
        threading_lock_try_acquire(lock) threading_lock_acquire_timeout(lock, 1.0)
        threading_lock_release(lock) threading_lock_locked(lock) threading_lock_at_fork_reinit(lock)
        threading_lock_owner(lock) threading_lock_set_name(lock, c"x".as_ptr())
        threading_rlock_new() threading_rlock_ref(rlock) threading_rlock_free(rlock)
        threading_rlock_acquire(rlock) threading_rlock_try_acquire(rlock)
        threading_rlock_acquire_timeout(rlock, 1.0) threading_rlock_release(rlock)
        threading_rlock_locked(rlock) threading_rlock_is_owned(rlock) threading_rlock_recursion_count(rlock)
        threading_rlock_at_fork_reinit(rlock) threading_rlock_owner(rlock)
        threading_rlock_set_name(rlock, c"x".as_ptr())
        threading_condition_new() threading_condition_new_with_lock(lock)
        threading_condition_new_with_rlock(rlock) threading_condition_ref(condition)
        threading_condition_free(condition) threading_condition_acquire(condition)
        threading_condition_try_acquire(condition) threading_condition_acquire_timeout(condition, 1.0)
        threading_condition_release(condition) threading_condition_locked(condition)
        threading_condition_is_owned(condition) threading_condition_wait(condition)
        threading_condition_wait_timeout(condition, 1.0)
        threading_condition_wait_for(condition, Some(predicate), nothing)
        threading_condition_wait_for_timeout(condition, Some(predicate), nothing, 1.0)
        threading_condition_notify(condition, 1) threading_condition_notify_all(condition)
        threading_condition_at_fork_reinit(condition) threading_condition_set_name(condition, c"x".as_ptr())
        threading_semaphore_new(1) threading_semaphore_new_bounded(1) threading_semaphore_ref(semaphore)
        threading_semaphore_free(semaphore) threading_semaphore_acquire(semaphore)
        threading_semaphore_try_acquire(semaphore) threading_semaphore_acquire_timeout(semaphore, 1.0)
        threading_semaphore_release(semaphore) threading_semaphore_release_n(semaphore, 1)
        threading_semaphore_value(semaphore) threading_semaphore_set_name(semaphore, c"x".as_ptr())
        threading_event_new() threading_event_ref(event) threading_event_free(event)
        threading_event_is_set(event) threading_event_set(event) threading_event_clear(event)
        threading_event_wait(event) threading_event_wait_timeout(event, 1.0)
        threading_event_at_fork_reinit(event) threading_event_set_name(event, c"x".as_ptr())
        threading_barrier_new(1, None, nothing) threading_barrier_ref(barrier)
        threading_barrier_free(barrier) threading_barrier_set_timeout(barrier, 1.0)
        threading_barrier_wait(barrier, &mut index) threading_barrier_wait_timeout(barrier, 1.0, &mut index)
        threading_barrier_reset(barrier) threading_barrier_abort(barrier) threading_barrier_parties(barrier)
        threading_barrier_n_waiting(barrier) threading_barrier_broken(barrier)
        threading_barrier_set_name(barrier, c"x".as_ptr())
        threading_local_new(None) threading_local_new_with_init(Some(target), nothing, None)
        threading_local_ref(local) threading_local_free(local) threading_local_set(local, nothing)
        threading_local_get(local) threading_local_lookup(local, &mut value) threading_local_del(local)
        threading_local_set_attr(local, c"x".as_ptr(), nothing)
        threading_local_get_attr(local, c"x".as_ptr(), &mut value)
        threading_local_del_attr(local, c"x".as_ptr())
        threading_current_thread() threading_main_thread() threading_active_count() threading_enumerate()
        threading_thread_list_len(list) threading_thread_list_get(list, 0) threading_thread_list_free(list)
        threading_get_ident() threading_get_native_id() threading_stack_size()
        threading_set_stack_size(65536) threading_sleep(0.0) threading_atexit(Some(ignore), nothing)
        threading_shutdown() threading_shutdown_timeout(0.0) threading_set_excepthook(None, nothing)
        threading_get_excepthook(null_mut()) threading_report_exception(c"x".as_ptr(), c"x".as_ptr())
        threading_dump(2) threading_dump_on_signal(3, 2) threading_set_hang_hook(-1.0, None, nothing)
        threading_trace(-2) threading_set_contention(true)
    }
    .into();

    fault::arm(FaultPoint::Call);
    assert!(!threading_version().is_null() && threading_version_number() != 0);
    assert!(!threading_status_name(0).is_null() && !threading_status_message(0).is_null());
    threading_clear_last_error();
    assert!(threading_last_error() == THREADING_OK && !threading_last_error_message().is_null());
    assert_eq!(fault::take_fired_count(), 0);
    assert_eq!(threading_lock_acquire(lock), THREADING_ERR_INTERNAL);
    assert_eq!(fault::take_fired_count(), 1);
    called.extend(WITHOUT_BOUNDARY.map(str::to_owned));
    assert_eq!(called, exports());
    assert_eq!(called.len(), 143);

    // The objects are unchanged.
    assert_eq!((threading_lock_acquire(lock), threading_lock_release(lock)), (THREADING_OK, THREADING_OK));
    assert_eq!(threading_rlock_recursion_count(rlock), 1);
    assert_eq!(threading_rlock_release(rlock), THREADING_OK);
    assert_eq!(threading_semaphore_try_acquire(semaphore), THREADING_OK);
    assert!(threading_event_is_set(event) && threading_thread_list_len(list) > 0);
    assert_eq!(threading_local_get(local), barrier.cast());
    assert_eq!(threading_thread_start(thread), THREADING_OK);
    assert_eq!(threading_thread_join(thread), THREADING_OK);
    assert_eq!(threading_timer_start(timer), THREADING_OK);
    assert_eq!(threading_thread_join(threading_timer_thread(timer)), THREADING_OK);
    // SAFETY: the index may be NULL.
    assert_eq!(unsafe { threading_barrier_wait(barrier, null_mut()) }, THREADING_OK);
    assert_eq!(threading_condition_acquire(condition), THREADING_OK);
    assert_eq!(threading_condition_wait_timeout(condition, 0.0), THREADING_TIMED_OUT);
    assert_eq!(threading_condition_release(condition), THREADING_OK);
    let freed = [
        threading_thread_free(thread),
        threading_timer_free(timer),
        threading_lock_free(lock),
        threading_rlock_free(rlock),
        threading_condition_free(condition),
        threading_semaphore_free(semaphore),
        threading_event_free(event),
        threading_barrier_free(barrier),
        threading_local_free(local),
        threading_thread_list_free(list),
    ];
    assert_eq!(freed, [THREADING_OK; 10]);
}

#[test]
fn a_panic_while_an_internal_mutex_is_held_unlocks_it() {
    let _running = serialize();
    // SAFETY: there is no callback.
    let barrier = unsafe { threading_barrier_new(2, None, null_mut()) };
    for _ in 0..3 {
        fault::arm(FaultPoint::Locked);
        assert_eq!(threading_barrier_reset(barrier), THREADING_ERR_INTERNAL);
        fault::arm(FaultPoint::Locked);
        assert_eq!(threading_active_count(), 0);
        assert_eq!((threading_barrier_reset(barrier), fault::take_fired_count()), (THREADING_OK, 2));
        assert!(threading_active_count() > 0);
    }
    assert_eq!(threading_barrier_free(barrier), THREADING_OK);
}

#[test]
fn threads_that_panic_at_start_or_exit_still_finish() {
    let _running = serialize();
    for point in
        [FaultPoint::ThreadStart, FaultPoint::ThreadExit, FaultPoint::ThreadStart, FaultPoint::ThreadExit]
    {
        let mut count = 0_u32;
        let arg: *mut c_void = (&raw mut count).cast();
        // SAFETY: the target takes anything.
        let thread = unsafe { threading_thread_new(Some(target), arg) };
        fault::arm_any_thread(point);
        assert_eq!(threading_thread_start(thread), THREADING_OK);
        assert_ne!(threading_thread_native_id(thread), 0);
        assert_eq!(threading_thread_join(thread), THREADING_OK);
        assert_eq!((threading_thread_result(thread), fault::take_fired_count()), (arg, 1));
        assert!(!threading_thread_is_alive(thread));
        assert_eq!(threading_thread_free(thread), THREADING_OK);
    }
}

#[test]
fn timers_continue_after_a_panic_of_their_worker() {
    let _running = serialize();
    for _ in 0..10 {
        let timer = |interval| {
            // SAFETY: the target takes anything.
            let timer = unsafe { threading_timer_new(interval, Some(target), null_mut()) };
            assert_eq!(threading_timer_start(timer), THREADING_OK);
            timer
        };
        fault::arm_any_thread(FaultPoint::TimerWorker);
        for timer in [timer(0.0), timer(0.001), timer(0.01)] {
            assert_eq!(threading_thread_join(threading_timer_thread(timer)), THREADING_OK);
            assert_eq!(threading_timer_free(timer), THREADING_OK);
        }
        assert_eq!(fault::take_fired_count(), 1);
    }
}

unsafe extern "C" {
    fn fork() -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn exit(status: c_int) -> !;
}

/// The panics are in the fork handlers of the parent, in those of the child, and in the exit handler of the child.
#[test]
fn fork_and_exit_complete_after_a_panic() {
    let _running = serialize();
    for (point, armed_in_child) in
        [(FaultPoint::Fork, false), (FaultPoint::Fork, true), (FaultPoint::ProcessExit, true)]
    {
        if !armed_in_child {
            fault::arm(point);
        }
        // SAFETY: the child calls only this library, whose fork handlers make that possible, and exit.
        unsafe {
            let pid = fork();
            assert!(pid >= 0);
            if pid == 0 {
                if armed_in_child {
                    fault::arm(point);
                }
                if point == FaultPoint::Fork && armed_in_child {
                    let (grandchild, mut status) = (fork(), 0);
                    if grandchild > 0 {
                        waitpid(grandchild, &mut status, 0);
                        assert_eq!(status, 0);
                    }
                }
                let thread = threading_thread_new(Some(target), null_mut());
                let started = threading_thread_start(thread);
                let failed = started != THREADING_OK || threading_thread_join(thread) != THREADING_OK;
                exit(c_int::from(failed));
            }
            let mut status = -1;
            assert_eq!((waitpid(pid, &mut status, 0), status), (pid, 0));
        }
        assert_eq!(fault::take_fired_count(), u32::from(!armed_in_child));
    }
}
