//! What a fork does: the library's lists are held across it, and the child begins with one thread and new lists.
//!
//! The small locks of user objects are not held: what they guard is the parent's waiters, which the child
//! forgets (`futex::fork`).
//!
//! # Other fork handlers
//!
//! The prepare handlers of a process run in the reverse order of their registration, the others in that order. So
//! handlers that the program has registered before this library did run between `prepare` and the fork, and between
//! the fork and `parent` or `child`: the calling thread holds the library's lists there. Each call that it makes there
//! begins with `begin_call_in_fork`, which releases the lists, so that it is a call like any other: it may wait for threads that
//! need the lists. `end_call_in_fork` takes them again when the call returns. In the child, the first such call does the work of
//! `child` before anything else.
//!
//! A handler may also wait for another thread without a call of this library, while that thread needs the lists: see
//! `futex::guarded`.
//!
//! # State (in the thread's block; all of it is the thread's own)
//!
//! | word | meaning |
//! |---|---|
//! | `forks` | how many forks the thread is in, between `prepare` and `parent` or `child`; more than one if a handler forks |
//! | `fork_lock_depth` | in which of them it has taken the lists, counted from 1; 0 if it does not hold them |
//! | `forks_child_reset` | bit n: in the nth of them, this is the child, and the work of `child` is done |

use core::sync::atomic::{AtomicU32, Ordering};

use crate::handle::arena::ARENAS;
use crate::handle::blocks::POOL;
use crate::local::tables;
use crate::panic_boundary::{FaultPoint, catch_panic, inject};
use crate::runtime::process_exit;
use crate::sync::{atexit, fork_epoch, mutex};
use crate::sys;
use crate::sys::annotate;
use crate::sys::libc_hooks;
use crate::sys::tls;
use crate::thread::{excepthook, fork_child, ident, join, names, registry, stack_cache};

/// The process in which the lists were last held. No atomic of the models': they do not fork.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static LOCKED_IN_PID: AtomicU32 = AtomicU32::new(0);

/// How many forks a thread can be in; in more, the lists are not released for calls.
const MAX_NESTED_FORKS: u8 = 15;

/// Registers the handlers, when the library is loaded or first used.
pub(crate) fn install_atfork_handlers() {
    // SAFETY: the handlers are functions as pthread_atfork wants them, and the library is never unloaded.
    // Without memory for them, forks are what they would be without.
    unsafe { sys::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
}

extern "C" fn prepare() {
    catch_panic(|| {
        inject(FaultPoint::Fork);
        // The calling thread has the same number in the child.
        ident::ident();
        // The child will not ask the loader.
        stack_cache::exec_stack_required();
    });
    LOCKED_IN_PID.store(pid(), Ordering::Relaxed);
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
        // None if the library was loaded by a handler that came after `prepare`.
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
        let begun = block.forks_child_reset.get();
        if is_child_reset(begun, fork) {
            block.forks_child_reset.set(begun & !(1 << fork));
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

fn is_child_reset(begun: u16, fork: u8) -> bool {
    fork <= MAX_NESTED_FORKS && begun & 1 << fork != 0
}

fn pid() -> u32 {
    // SAFETY: asks only.
    (unsafe { libc::getpid() }) as u32
}

/// A call begins while a thread is in a fork. If that is the calling thread, it releases the lists; what it returns is
/// for `end_call_in_fork`.
pub(crate) fn begin_call_in_fork() -> u8 {
    tls::with(|block| {
        let fork = block.fork_depth.get();
        if fork == 0 || fork > MAX_NESTED_FORKS {
            return 0;
        }
        if LOCKED_IN_PID.load(Ordering::Relaxed) != pid()
            && !is_child_reset(block.forks_child_reset.get(), fork)
        {
            let outer = after_fork_in_child();
            block.forks_child_reset.set(block.forks_child_reset.get() | 1 << fork);
            return outer;
        }
        let lock_level = block.fork_lock_depth.take();
        if lock_level != 0 {
            unlock_all();
        }
        lock_level
    })
}

/// The call returns: the calling thread takes the lists again, if it has released them.
pub(crate) fn end_call_in_fork(lock_level: u8) {
    if lock_level != 0 {
        lock_all();
        tls::with(|block| block.fork_lock_depth.set(lock_level));
    }
}

/// In the order in which they may be taken inside of each other.
fn lock_all() {
    // A panic in here cannot be contained: the child has all of them or none.
    process_exit::lock_for_fork();
    atexit::hold();
    tables::lock_for_fork();
    registry::lock_for_fork();
    names::lock_for_fork();
    excepthook::lock_for_fork();
    stack_cache::lock_for_fork();
    ARENAS.iter().for_each(|arena| arena.lock_for_fork());
    POOL.lock_for_fork();
}

fn unlock_all() {
    // SAFETY: the calling thread has held them.
    unsafe {
        POOL.unlock_after_fork();
        ARENAS.iter().for_each(|arena| arena.unlock_after_fork());
        stack_cache::unlock_after_fork();
        excepthook::unlock_after_fork();
        names::unlock_after_fork();
        registry::unlock_after_fork();
        tables::unlock_after_fork();
        atexit::let_go();
        process_exit::unlock_after_fork();
    }
}

/// The work of `child`. Returns the fork for which the thread held the lists, if that is an outer one, which is still to
/// come in this process: for `end_call_in_fork`.
fn after_fork_in_child() -> u8 {
    fork_epoch::after_fork_in_child();
    mutex::after_fork_in_child();
    // SAFETY: the child has one thread, which is in no other call of the library.
    unsafe {
        process_exit::reinit_in_child();
        atexit::reinit_in_child();
        tables::reinit_in_child();
        registry::reinit_in_child();
        names::reinit_in_child();
        excepthook::reinit_in_child();
        stack_cache::reinit_in_child();
        ARENAS.iter().for_each(|arena| arena.reinit_in_child());
        POOL.reinit_in_child();
    }
    LOCKED_IN_PID.store(pid(), Ordering::Relaxed);
    let outer = tls::with(|block| {
        annotate::reset_fork_count(block.fork_depth.get() != 0);
        let lock_level = block.fork_lock_depth.take();
        if lock_level < block.fork_depth.get() { lock_level } else { 0 }
    });
    catch_panic(|| inject(FaultPoint::Fork));
    catch_panic(process_exit::after_fork_in_child);
    catch_panic(tables::after_fork_in_child);
    catch_panic(fork_child::after_fork_in_child);
    catch_panic(join::finish_joins_after_fork);
    catch_panic(stack_cache::after_fork_in_child);
    // The child's main thread may leave by pthread_exit.
    let _ = catch_panic(libc_hooks::register_exit_hook);
    outer
}
