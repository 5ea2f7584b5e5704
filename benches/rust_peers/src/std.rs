//! Rust's std: mutex, condition variable, barrier, thread, thread-local.

use crate::built::{built_from, export};
use std::cell::{Cell, UnsafeCell};
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::sync::{Barrier, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

fn wait<'a, T>(condition: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condition.wait(guard).unwrap()
}

built_from!();

/// A mutex, and its guard while a thread holds it. Without the guard, std could not release it later.
#[repr(align(64))]
pub struct Lock {
    mutex: Mutex<()>,
    guard: UnsafeCell<MaybeUninit<MutexGuard<'static, ()>>>,
}

impl Lock {
    fn new() -> Self {
        Self { mutex: Mutex::new(()), guard: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    fn keep(&self, guard: MutexGuard<'_, ()>) {
        // SAFETY: the caller holds the lock, so no other thread accesses the cell, and it contains no other guard. The
        // guard does not outlive the mutex, because a lock that is held is not freed.
        unsafe { self.guard.get().cast::<MutexGuard<'_, ()>>().write(guard) }
    }

    fn take(&self) -> MutexGuard<'static, ()> {
        // SAFETY: by the contract of this crate, the caller holds the lock, so the cell contains the guard, which is
        // taken once.
        unsafe { (*self.guard.get()).assume_init_read() }
    }

    fn acquire(&self) {
        self.keep(lock(&self.mutex));
    }

    fn try_acquire(&self) -> bool {
        match self.mutex.try_lock() {
            Ok(guard) => {
                self.keep(guard);
                true
            }
            Err(_) => false,
        }
    }

    fn release(&self) {
        drop(self.take());
    }
}

#[repr(align(64))]
pub struct Condition(Condvar);

impl Condition {
    fn new() -> Self {
        Self(Condvar::new())
    }

    fn wait(&self, lock: *const Lock) {
        // SAFETY: by the contract of this crate, the lock is alive.
        let lock = unsafe { &*lock };
        lock.keep(wait(&self.0, lock.take()));
    }

    fn notify(&self) {
        self.0.notify_one();
    }

    fn notify_all(&self) {
        self.0.notify_all();
    }
}

#[repr(align(64))]
pub struct Rendezvous(Barrier);

impl Rendezvous {
    fn new(parties: usize) -> Self {
        Self(Barrier::new(parties))
    }

    fn wait(&self) {
        self.0.wait();
    }
}

export! { Lock: std_lock_new(), std_lock_free;
    std_lock_acquire = acquire();
    std_lock_try = try_acquire() -> bool;
    std_lock_release = release();
}

export! { Condition: std_condition_new(), std_condition_free;
    std_condition_wait = wait(lock: *const Lock);
    std_condition_notify = notify();
    std_condition_notify_all = notify_all();
}

export! { Event: std_event_new(), std_event_free;
    std_event_is_set = is_set() -> bool;
    std_event_set = set();
    std_event_clear = clear();
    std_event_wait = wait();
}

export! { Semaphore: std_semaphore_new(value: i64), std_semaphore_free;
    std_semaphore_acquire = acquire();
    std_semaphore_release = release();
}

export! { Buffer: std_buffer_new(size: usize), std_buffer_free;
    std_buffer_put = put(item: u64);
    std_buffer_get = get() -> u64;
}

export! { Rendezvous: std_barrier_new(parties: usize), std_barrier_free;
    std_barrier_wait = wait();
}

/// The function and the argument of a thread, from C.
struct Task(unsafe extern "C" fn(*mut c_void), *mut c_void);

// SAFETY: C passes only arguments that the other thread may use.
unsafe impl Send for Task {}

impl Task {
    fn run(self) {
        // SAFETY: C passes a function and an argument for it.
        unsafe { (self.0)(self.1) }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn std_thread_start(
    function: unsafe extern "C" fn(*mut c_void),
    arg: *mut c_void,
) -> *mut JoinHandle<()> {
    let task = Task(function, arg);
    Box::into_raw(Box::new(std::thread::spawn(move || task.run())))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn std_thread_join(thread: *mut JoinHandle<()>) {
    // SAFETY: by the contract of this crate, it is from Box::into_raw, and this is its last use.
    unsafe { Box::from_raw(thread) }.join().unwrap();
}

thread_local! {
    static VALUE: Cell<*mut c_void> = const { Cell::new(std::ptr::null_mut()) };
}

#[unsafe(no_mangle)]
pub extern "C" fn std_local_set(value: *mut c_void) {
    VALUE.set(value);
}

#[unsafe(no_mangle)]
pub extern "C" fn std_local_get() -> *mut c_void {
    VALUE.get()
}
