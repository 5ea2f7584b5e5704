//! The fork handlers. The forking thread holds the library's global mutexes across the fork, and the child begins
//! with one thread and reset lists.
//!
//! The mutexes of user objects are not held. They protect wait queues, which belong to the parent and which the child
//! discards (`sync::fork_epoch`). A signal handler or a hang hook may fork during a wait, which goes on in the child
//! (`sync::fork_list`): a thread in a queue enters it again, since its record is `FORKED` (`sync::waiter`).
//!
//! # Other fork handlers
//!
//! Prepare handlers run in the reverse order of their registration, the others in the order of registration. So
//! handlers that the program has registered before this library's run between `prepare` and the fork, or between the
//! fork and `parent` or `child`, while the calling thread holds the global mutexes. Each call of the library in such
//! a handler begins with `begin_call_in_fork`, which releases them, so that the call may also wait for threads that
//! need them. `end_call_in_fork` locks them again when the call returns. In the child, the first such call does the
//! work of `child` before anything else.
//!
//! A signal handler may interrupt the fork, too. The functions that it may call lock no mutex, and leave the global
//! ones locked: under a steady stream of signals, waiting for them in each handler would keep the fork from ending.
//!
//! A handler may also wait, without a call of this library, for another thread that needs one of the mutexes: see
//! `sync::mutex`.
//!
//! # State (in the per-thread block; written and read by that thread only, so exact)
//!
//! | field | meaning |
//! |---|---|
//! | `fork_depth` | the number of forks that the thread is in, between `prepare` and `parent` or `child`; more than one if a handler forks |
//! | `fork_lock_depth` | in which of them it has locked the global mutexes, counted from 1; 0 if it does not hold them |
//! | `forks_child_reset` | bit n: this is the child of the nth of them, and the work of `child` is done |

use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use crate::dump;
use crate::dump::hang;
use crate::handle::arena::ARENAS;
use crate::handle::blocks::POOL;
use crate::local::tables;
use crate::panic_boundary::{FaultPoint, catch_panic, inject};
use crate::runtime::process_exit;
use crate::sync::fork_lock::ForkLock;
use crate::sync::{atexit, fork_epoch, fork_list, mutex, waiter_pool};
use crate::sys;
use crate::sys::annotate;
use crate::sys::libc_hooks;
use crate::sys::memory;
use crate::sys::pthread;
use crate::sys::tls;
use crate::thread::{excepthook, fork_child, ident, names, registry, stack_cache};

/// The process that last ran `prepare`, or the work of `child`. If a thread is in a fork and this is not its process,
/// it is in a child in which the work of `child` is not done yet. Not an atomic of the model checkers, because models
/// do not fork.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static LOCKED_IN_PID: AtomicU32 = AtomicU32::new(0);

/// A word that is 1 in the same process, and 0 in its children: in a new PID namespace, a child has the process ID 1, as
/// its parent may have. NULL before the first fork, and where the system has no such memory.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static ZERO_IN_CHILDREN: AtomicPtr<AtomicU32> = AtomicPtr::new(ptr::null_mut());

/// The highest `fork_depth` in which calls release the global mutexes.
const MAX_NESTED_FORKS: u8 = 15;

/// Registers the handlers, when the library is loaded or first used.
pub(crate) fn install_atfork_handlers() {
    // SAFETY: the handlers have the required type, and the library is never unloaded. If there is no memory to
    // register them, forks work as they do without handlers.
    unsafe { sys::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
}

extern "C" fn prepare() {
    catch_panic(|| {
        inject(FaultPoint::Fork);
        // The calling thread keeps its ident in the child, so the ident must be assigned before the fork.
        ident::ident();
        // Scan the loaded objects now: the child uses the result, because it must not lock the loader's lock.
        stack_cache::exec_stack_required();
        map_zero_in_children();
    });
    mark_process();
    tls::with(|block| {
        if block.fork_depth.get() == 0 {
            annotate::begin_fork();
        }
        block.fork_depth.set(block.fork_depth.get() + 1);
        if block.fork_lock_depth.get() == 0 {
            lock_all();
            block.fork_lock_depth.set(block.fork_depth.get());
        }
    });
}

extern "C" fn parent() {
    tls::with(|block| {
        // The depth is 0 if another handler loaded the library after the prepare handlers had run.
        if block.fork_depth.get() != 0 {
            if block.fork_lock_depth.get() == block.fork_depth.get() {
                block.fork_lock_depth.set(0);
                unlock_all();
            }
            leave_fork();
        }
    });
}

extern "C" fn child() {
    tls::with(|block| {
        let fork = block.fork_depth.get();
        let reset = block.forks_child_reset.get();
        if is_child_reset(reset, fork) {
            block.forks_child_reset.set(reset & !(1 << fork));
        } else {
            let outer = after_fork_in_child();
            end_call_in_fork(outer);
        }
        if fork != 0 {
            leave_fork();
        }
    });
}

fn leave_fork() {
    tls::with(|block| {
        block.fork_depth.set(block.fork_depth.get() - 1);
        if block.fork_depth.get() == 0 {
            annotate::end_fork();
        }
    });
}

fn is_child_reset(reset: u16, fork: u8) -> bool {
    fork <= MAX_NESTED_FORKS && reset & 1 << fork != 0
}

fn pid() -> u32 {
    // SAFETY: getpid() has no preconditions.
    (unsafe { libc::getpid() }) as u32
}

/// Maps the word of `ZERO_IN_CHILDREN` at the first fork.
fn map_zero_in_children() {
    if zero_in_children().is_some() {
        return;
    }
    let Some(page) = sys::preserving_errno(memory::map_zeroed_in_children) else { return };
    let word = page as *mut AtomicU32;
    // Before other threads find the word: if it were 0, one that is in a fork would take this process for a child.
    // SAFETY: mapped above, zeroed, and large enough.
    unsafe { (*word).store(1, Ordering::Relaxed) };
    let (null, published) = (ptr::null_mut(), Ordering::AcqRel);
    if ZERO_IN_CHILDREN.compare_exchange(null, word, published, Ordering::Relaxed).is_err() {
        // SAFETY: no other thread has found this page.
        unsafe { memory::unmap(page, pthread::page_size()) };
    }
}

fn zero_in_children() -> Option<&'static AtomicU32> {
    // SAFETY: the page is never unmapped.
    unsafe { ZERO_IN_CHILDREN.load(Ordering::Acquire).as_ref() }
}

/// Records the process in `LOCKED_IN_PID` and `ZERO_IN_CHILDREN`.
fn mark_process() {
    LOCKED_IN_PID.store(pid(), Ordering::Relaxed);
    if let Some(word) = zero_in_children() {
        word.store(1, Ordering::Relaxed);
    }
}

fn is_marked_process() -> bool {
    LOCKED_IN_PID.load(Ordering::Relaxed) == pid()
        && zero_in_children().is_none_or(|word| word.load(Ordering::Relaxed) != 0)
}

/// Called when a call begins while a thread of the process is in a fork. If that is the calling thread: in a child in
/// which the work of `child` is not done yet, does it; otherwise releases the global mutexes, if the call `locks` any
/// mutex. Returns the argument for `end_call_in_fork`.
pub(crate) fn begin_call_in_fork(locks: bool) -> u8 {
    tls::with(|block| {
        let fork = block.fork_depth.get();
        if fork == 0 || fork > MAX_NESTED_FORKS {
            return 0;
        }
        if !is_marked_process() && !is_child_reset(block.forks_child_reset.get(), fork) {
            let outer = after_fork_in_child();
            block.forks_child_reset.set(block.forks_child_reset.get() | 1 << fork);
            return outer;
        }
        if !locks {
            return 0;
        }
        let lock_level = block.fork_lock_depth.take();
        if lock_level != 0 {
            unlock_all();
        }
        lock_level
    })
}

/// Called when a call returns. Locks the global mutexes again, if `begin_call_in_fork` has released them.
pub(crate) fn end_call_in_fork(lock_level: u8) {
    if lock_level != 0 {
        lock_all();
        tls::with(|block| block.fork_lock_depth.set(lock_level));
    }
}

/// Calls a function of `ForkLock` for each of the global mutexes, in the order in which they may be nested.
macro_rules! for_each_global_mutex {
    ($call:ident) => {
        process_exit::fork_lock().$call();
        atexit::fork_lock().$call();
        tables::fork_lock().$call();
        registry::fork_lock().$call();
        names::fork_lock().$call();
        excepthook::fork_lock().$call();
        stack_cache::fork_lock().$call();
        ARENAS.$call();
        POOL.$call();
        hang::fork_lock().$call();
    };
}

/// Locks the global mutexes. A panic here is not caught: the child must hold all of them or none.
fn lock_all() {
    for_each_global_mutex!(lock_for_fork);
}

fn unlock_all() {
    // SAFETY: the calling thread holds them.
    unsafe {
        for_each_global_mutex!(unlock_after_fork);
    }
}

/// The work of `child`. Returns the fork for which the thread held the global mutexes, if that is an outer fork,
/// whose `parent` or `child` is still to come in this process: the argument for `end_call_in_fork`.
fn after_fork_in_child() -> u8 {
    fork_epoch::after_fork_in_child();
    mutex::after_fork_in_child();
    waiter_pool::after_fork_in_child();
    dump::after_fork_in_child();
    // SAFETY: the child has one thread, which is in no other call of the library.
    unsafe {
        for_each_global_mutex!(reinit_in_child);
    }
    mark_process();
    let outer = tls::with(|block| {
        annotate::reset_fork_count(block.fork_depth.get() != 0);
        let lock_level = block.fork_lock_depth.take();
        if lock_level < block.fork_depth.get() { lock_level } else { 0 }
    });
    catch_panic(|| inject(FaultPoint::Fork));
    catch_panic(process_exit::after_fork_in_child);
    catch_panic(tables::after_fork_in_child);
    catch_panic(fork_child::after_fork_in_child);
    catch_panic(fork_list::after_fork_in_child);
    catch_panic(stack_cache::after_fork_in_child);
    // The child's main thread may call pthread_exit().
    let _ = catch_panic(libc_hooks::register_exit_hook);
    outer
}
