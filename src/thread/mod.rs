//! Threads: Python's `threading.Thread`, and the module functions about threads.
//!
//! This file has the methods of a thread's handle, `current`, `sleep` and the default stack size. It uses all other
//! files; each of them uses only files that precede it in this list:
//!
//! | file | purpose |
//! |---|---|
//! | `ident` | identifiers of threads and timers, and the owner tag of locks |
//! | `name_table` | names, and a hash table of those that a thread has had |
//! | `names` | storage of the names of a thread, and the counter of default names |
//! | `stack_count`, `stack_cache` | the counts and limits of stacks; the stacks, cached for further threads |
//! | `object` | the slot of a thread: its state table and flags |
//! | `target` | what a thread runs, and its argument |
//! | `registry` | all started threads, main, the pending timers, and the mutex that protects them |
//! | `join` | waits for the end of a thread, and reclaims what an ended thread had |
//! | `kind` | the `Object` implementation: what happens when a handle is freed, also in a child of fork |
//! | `naming` | default names, renaming, and the name that system tools show |
//! | `dummies` | threads that this library did not start |
//! | `list` | `enumerate`, `active_count` and the list object |
//! | `reaper` | reclaims the stacks of threads that have ended and were not joined |
//! | `deregister` | removes the calling thread from the registry when it exits |
//! | `start` | the start of a thread, and the code around its target |
//! | `exit_callbacks` | the thread that calls the functions of `threading_atexit` |
//! | `exit_lock` | finds threads that are blocked in `exit` |
//! | `shutdown` | the waits of process exit and `shutdown` |
//! | `excepthook` | the hook for unhandled exceptions, and the default report |
//! | `fork_child` | resets the registry in a child of fork |

pub(crate) mod deregister;
pub(crate) mod dummies;
pub(crate) mod excepthook;
pub(crate) mod exit_callbacks;
pub(crate) mod exit_lock;
pub(crate) mod fork_child;
pub(crate) mod ident;
pub(crate) mod join;
mod kind;
pub(crate) mod list;
pub(crate) mod name_table;
pub(crate) mod names;
pub(crate) mod naming;
pub(crate) mod object;
pub(crate) mod reaper;
pub(crate) mod registry;
pub(crate) mod shutdown;
pub(crate) mod stack_cache;
mod stack_count;
pub(crate) mod start;
mod target;

use crate::sys::atomic::{AtomicU32, Ordering};
use core::ffi::{CStr, c_char, c_void};
use core::ptr;

use crate::callbacks::{Destructor, Run, Target};
use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::sync::wait_note;
use crate::sync::wait_note::with_note;
use crate::sys::futex;
use crate::sys::libc_hooks::register_exit_hook;
use crate::sys::pthread;
use crate::sys::tls;
use crate::thread::object::{DAEMON, DONE, DUMMY, MAIN, NOT_STARTED, STARTING, TERMINATED, TIMER, Thread};
use crate::thread::target::TargetCall;
use crate::time::{Deadline, Timeout};
use crate::timer::finishing;

/// The smallest stack size that can be set, as in Python.
const MIN_STACK: usize = if pthread::MIN_STACK > 32 * 1024 { pthread::MIN_STACK } else { 32 * 1024 };

fn checked_stack_size(bytes: usize) -> Result<usize> {
    if bytes == 0 || bytes >= MIN_STACK { Ok(bytes) } else { Err(Error::StackSize) }
}

/// Returns the default stack size of new threads, in bytes; 0 is the system's default. Python:
/// `threading.stack_size()`.
pub fn stack_size() -> usize {
    pthread::STACK_SIZE.load(Ordering::Relaxed)
}

/// Sets the default stack size of new threads, in bytes; 0 is the system's default. Fails if another size is less than
/// 32 KiB or than the system's minimum. Python: `threading.stack_size(bytes)`.
pub fn set_stack_size(bytes: usize) -> Result<()> {
    pthread::STACK_SIZE.store(checked_stack_size(bytes)?, Ordering::Relaxed);
    Ok(())
}

/// Returns the calling thread. The first call in a thread that this library did not start registers it as a dummy.
/// Python: `threading.current_thread()`.
pub fn current() -> Result<Handle<Thread>> {
    let known = tls::with(|block| block.thread.get());
    if known != 0 {
        return Ok(Handle::from_bits(known));
    }
    let ident = ident::ident();
    let current = if registry::is_main(ident) {
        // The exit hook lets the process wait for its other threads when main calls pthread_exit.
        let _ = register_exit_hook();
        registry::main_thread()?
    } else {
        register_exit_hook()?;
        dummies::add_dummy(ident)?
    };
    tls::with(|block| block.thread.set(current.bits()));
    Ok(current)
}

/// Blocks the calling thread until the timeout expires. Python: `time.sleep(seconds)`.
pub fn sleep(timeout: Timeout) {
    let deadline = timeout.deadline();
    let never_woken = AtomicU32::new(0);
    with_note(wait_note::SLEEP, deadline, || {
        // A wait may end early. It returns false only if its deadline has passed, whatever the clock says.
        while !deadline.has_passed() && futex::wait(&never_woken, 0, deadline) {}
    });
}

impl Handle<Thread> {
    /// Creates a thread that will call `target(arg)`. [`Thread::new`] is the safe equivalent.
    ///
    /// # Safety
    /// `target` may be called with `arg`, in another thread, at any time after the start.
    pub unsafe fn new(target: Option<Target>, arg: *mut c_void) -> Result<Self> {
        Thread::create(start::inherited_daemon(), target, arg)
    }

    /// Calls `set` if the thread has not been started, under the registry mutex.
    fn configure_unstarted<R>(self, set: impl FnOnce(&'static Thread) -> R) -> Result<()> {
        self.with_pinned(|thread| registry::configure_unstarted(thread, set))
    }

    /// Returns the current name. The first call creates the default name if none has been set. The pointer stays valid
    /// as long as the thread is not freed.
    pub(crate) fn name_pointer(self) -> Result<*const c_char> {
        naming::get_or_create(self)
    }

    /// Sets the name, at any time. Python: `thread.name = name`.
    pub fn set_name(self, name: &CStr) -> Result<()> {
        naming::set(self, name)
    }

    /// Returns whether the thread is a daemon: process exit does not wait for daemons. Python: `thread.daemon`.
    pub fn is_daemon(self) -> Result<bool> {
        self.read(|thread| thread.has_flag(DAEMON))
    }

    /// Sets whether the thread is a daemon. Fails if it has been started. Python: `thread.daemon = daemon`.
    pub fn set_daemon(self, daemon: bool) -> Result<()> {
        self.configure_unstarted(|thread| {
            if daemon {
                thread.set_flag(DAEMON)
            } else {
                thread.clear_flag(DAEMON)
            };
        })
    }

    /// Sets the stack size of this thread. Fails if it has been started. Has no effect on the thread of a timer, whose
    /// function runs on a shared stack.
    pub fn set_stack_size(self, bytes: usize) -> Result<()> {
        let bytes = self.or_handle_error(checked_stack_size(bytes))?;
        self.configure_unstarted(|thread| {
            if !thread.has_flag(TIMER) {
                thread.set_requested_stack_size(bytes);
            }
        })
    }

    /// Sets the destructor of the argument. Fails if the thread has been started.
    ///
    /// # Safety
    /// `destroy` may be called with the thread's argument, in any thread. No other code uses the argument after the
    /// thread has ended.
    pub unsafe fn set_arg_destructor(self, destroy: Option<Destructor>) -> Result<()> {
        self.configure_unstarted(|thread| thread.set_arg_destructor_ptr(destroy))
    }

    /// Sets the function that runs instead of the target. Fails if the thread has been started.
    ///
    /// # Safety
    /// `run` may be called with the thread's argument, in another thread, at any time after the start.
    pub unsafe fn set_run(self, run: Option<Run>) -> Result<()> {
        self.configure_unstarted(|thread| thread.set_run(run))
    }

    /// Returns the target and its argument, for a caller that runs the target itself.
    pub(crate) fn target_call(self) -> Result<TargetCall> {
        self.read(Thread::target_call)
    }

    /// Starts the thread. Fails if it has been started before. Python: `thread.start()`.
    pub fn start(self) -> Result<()> {
        self.with_pinned(start::start_thread)
    }

    /// Waits until the thread has ended. Returns false if the timeout expires. Python: `thread.join(timeout)`.
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

    /// Returns whether the thread has been started and has not ended. Python: `thread.is_alive()`.
    ///
    /// Where the kernel does not report the end of a thread, this call checks for it. If the thread is gone, this call
    /// joins it and releases its stack.
    pub fn is_alive(self) -> Result<bool> {
        self.with_pinned(|thread| Ok(thread.state() != NOT_STARTED && !thread.poll_done()))
    }

    /// Returns the identifier, which is unique in the process and never reused; 0 before the start. Python:
    /// `thread.ident`.
    pub fn ident(self) -> Result<u64> {
        self.read(Thread::ident)
    }

    /// Returns the native ID (on Linux the TID); 0 before the start, and for a timer until its function runs. A call
    /// during the start waits until the thread has its native ID. Python: `thread.native_id`.
    pub fn native_id(self) -> Result<u64> {
        self.with_pinned(|thread| {
            thread.wait_while(STARTING, Deadline::NEVER);
            let will_have_native_id = !matches!(thread.state(), NOT_STARTED | TERMINATED | DONE)
                && !thread.has_flag(MAIN | DUMMY | TIMER);
            Ok(u64::from(if will_have_native_id { thread.await_native_id() } else { thread.native_id() }))
        })
    }

    /// Returns the result of the target or its override; NULL until the thread has ended.
    ///
    /// Like `is_alive`, this call checks for the end of the thread, and may join it.
    pub fn result(self) -> Result<*mut c_void> {
        self.with_pinned(|thread| Ok(if thread.poll_done() { thread.result() } else { ptr::null_mut() }))
    }

    /// Returns the argument.
    pub fn arg(self) -> Result<*mut c_void> {
        self.read(Thread::arg)
    }
}
