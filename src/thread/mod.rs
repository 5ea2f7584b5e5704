//! Thread: Python's `threading.Thread`, and the functions of the module that are about threads.
//!
//! This file has the calls on a thread. From below:
//!
//! - `ident`: the number of each thread; `names`: what stores names; `stack_cache`, `stack_count`: what threads run on;
//!   `object`: the slot of a thread, with its states and orderings; `kind`: what handles need to know of it;
//! - `registry`: the lists of all threads, made of `links`;
//! - `join`, `reaper`, `shutdown`: what waits for the end of threads, and reclaims what they had; `start`; `naming`:
//!   what a thread is called; `dummies`; `list`: `enumerate`; `excepthook`; `fork_child`: what a fork leaves of all that.

pub(crate) mod deregister;
pub(crate) mod dummies;
pub(crate) mod excepthook;
pub(crate) mod fork_child;
pub(crate) mod ident;
pub(crate) mod join;
mod kind;
mod links;
pub(crate) mod list;
pub(crate) mod names;
pub(crate) mod naming;
pub(crate) mod object;
pub(crate) mod reaper;
pub(crate) mod registry;
pub(crate) mod shutdown;
pub(crate) mod stack_cache;
mod stack_count;
pub(crate) mod start;

use crate::sys::atomic::{AtomicU32, Ordering};
use core::ffi::{CStr, c_char, c_void};
use core::ptr;

use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::sys::futex;
use crate::sys::libc_hooks::register_exit_hook;
use crate::sys::pthread;
use crate::sys::tls;
use crate::thread::object::{
    DAEMON, DONE, DUMMY, Destructor, MAIN, NOT_STARTED, Run, STARTING, TERMINATED, TIMER, Target, TargetCall,
    Thread,
};
use crate::time::{Deadline, Timeout};
use crate::timer::finishing;

/// The smallest stack that is accepted, like Python's.
const MIN_STACK: usize = if pthread::MIN_STACK > 32 * 1024 { pthread::MIN_STACK } else { 32 * 1024 };

fn checked_stack_size(bytes: usize) -> Result<usize> {
    if bytes == 0 || bytes >= MIN_STACK { Ok(bytes) } else { Err(Error::StackSize) }
}

/// The size of new threads' stacks.
pub fn stack_size() -> usize {
    pthread::STACK_SIZE.load(Ordering::Relaxed)
}

/// Sets the size of new threads' stacks.
pub fn set_stack_size(bytes: usize) -> Result<()> {
    pthread::STACK_SIZE.store(checked_stack_size(bytes)?, Ordering::Relaxed);
    Ok(())
}

/// The thread that calls; one that this library did not start becomes a dummy with its first question.
pub fn current() -> Result<Handle<Thread>> {
    let known = tls::with(|block| block.thread.get());
    if known != 0 {
        return Ok(Handle::from_bits(known));
    }
    let ident = ident::ident();
    let current = if registry::is_main(ident) {
        // Its end is waited for, unless there is no memory to announce it.
        let _ = register_exit_hook();
        registry::main_thread()?
    } else {
        register_exit_hook()?;
        dummies::add_dummy(ident)?
    };
    tls::with(|block| block.thread.set(current.bits()));
    Ok(current)
}

/// Lets the calling thread sleep.
pub fn sleep(timeout: Timeout) {
    let deadline = timeout.deadline();
    let never_woken = AtomicU32::new(0);
    // A wait ends early for no reason, or returns false: then the time has passed, whatever the clock says.
    while !deadline.has_passed() && futex::wait(&never_woken, 0, deadline) {}
}

impl Handle<Thread> {
    /// A thread that will call `target(arg)`. The safe way is [`Thread::new`].
    ///
    /// # Safety
    /// `arg` is what `target` takes, in another thread, whenever the thread is started.
    pub unsafe fn new(target: Option<Target>, arg: *mut c_void) -> Result<Self> {
        Thread::create(start::inherited_daemon(), target, arg)
    }

    /// Sets something up that must be before the start.
    fn configure_unstarted<R>(self, set: impl FnOnce(&'static Thread) -> R) -> Result<()> {
        self.with_pinned(|thread| registry::configure_unstarted(thread, set))
    }

    /// The current name; the default one is made with the first question. The pointer stays valid as long as
    /// the handle.
    pub(crate) fn name_pointer(self) -> Result<*const c_char> {
        naming::get_or_create(self)
    }

    /// Names the thread.
    pub fn set_name(self, name: &CStr) -> Result<()> {
        naming::set(self, name)
    }

    /// Whether the process's end does not wait for it.
    pub fn is_daemon(self) -> Result<bool> {
        self.read(|thread| thread.has_flag(DAEMON))
    }

    /// Sets that; before start.
    pub fn set_daemon(self, daemon: bool) -> Result<()> {
        self.configure_unstarted(|thread| thread.set_flag(DAEMON, daemon))
    }

    /// Sets the size of its stack; before start. A timer's function runs on a shared stack.
    pub fn set_stack_size(self, bytes: usize) -> Result<()> {
        let bytes = self.or_handle_error(checked_stack_size(bytes))?;
        self.configure_unstarted(|thread| {
            if !thread.has_flag(TIMER) {
                thread.set_aux(bytes);
            }
        })
    }

    /// Has the argument destroyed once it is not needed any more; before start.
    ///
    /// # Safety
    /// `destroy` takes the thread's argument, in any thread, which nobody else uses once the thread has ended.
    pub unsafe fn set_arg_destructor(self, destroy: Option<Destructor>) -> Result<()> {
        self.configure_unstarted(|thread| thread.set_arg_destructor_ptr(destroy))
    }

    /// Overrides what it runs; before start.
    ///
    /// # Safety
    /// `run` takes the thread's argument, in another thread.
    pub unsafe fn set_run(self, run: Option<Run>) -> Result<()> {
        self.configure_unstarted(|thread| thread.set_run(run))
    }

    /// What it does if that is not overridden, to be called elsewhere.
    pub(crate) fn target_call(self) -> Result<TargetCall> {
        self.read(Thread::target_call)
    }

    /// Starts it, once.
    pub fn start(self) -> Result<()> {
        self.with_pinned(start::start_thread)
    }

    /// Waits until it has ended. Returns false if the timeout expires.
    pub fn join(self, timeout: Timeout) -> Result<bool> {
        self.with_pinned(|thread| {
            if thread.has_flag(DUMMY) {
                return Err(Error::NotJoinable);
            }
            if thread.state() == NOT_STARTED {
                return Err(Error::NotStarted);
            }
            if thread.ident() == ident::ident() {
                return Err(Error::JoinSelf);
            }
            if thread.has_flag(TIMER)
                && !thread.is_done()
                && finishing::is_finishing_on_current_thread(thread)
            {
                return Err(Error::JoinSelf);
            }
            thread.join(timeout.deadline())
        })
    }

    /// Whether it has been started and has not ended.
    pub fn is_alive(self) -> Result<bool> {
        self.with_pinned(|thread| Ok(thread.state() != NOT_STARTED && !thread.poll_done()))
    }

    /// Its number, never used again; 0 before start.
    pub fn ident(self) -> Result<u64> {
        self.read(Thread::ident)
    }

    /// The kernel's number; 0 before start, and for a timer until its function runs.
    pub fn native_id(self) -> Result<u64> {
        self.with_pinned(|thread| {
            thread.wait_while(STARTING, Deadline::NEVER);
            let will_have_native_id = !matches!(thread.state(), NOT_STARTED | TERMINATED | DONE)
                && !thread.has_flag(MAIN | DUMMY | TIMER);
            Ok(u64::from(if will_have_native_id { thread.await_native_id() } else { thread.native_id() }))
        })
    }

    /// What run returned; NULL before the end.
    pub fn result(self) -> Result<*mut c_void> {
        self.with_pinned(|thread| Ok(if thread.poll_done() { thread.result() } else { ptr::null_mut() }))
    }

    /// The argument with which it was made.
    pub fn arg(self) -> Result<*mut c_void> {
        self.read(Thread::arg)
    }
}
