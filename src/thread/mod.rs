//! Thread: Python's `threading.Thread`, and the functions of the module that are about threads.
//!
//! States and orderings: `thread::object`.

pub(crate) mod deregister;
pub(crate) mod excepthook;
pub(crate) mod ident;
pub(crate) mod names;
pub(crate) mod object;
pub(crate) mod registry;
pub(crate) mod stack_cache;

use crate::sys::atomic::{AtomicU32, AtomicUsize, Ordering};
use core::ffi::{CStr, c_char, c_void};
use core::ptr;

use crate::error::{Error, Result};
use crate::handle::header::Header;
use crate::handle::{Handle, Kind};
use crate::panic_boundary::{Place, contain, inject};
use crate::sync::atexit::ensure_atexit_registered;
use crate::sys::annotate::unseen;
use crate::sys::futex;
use crate::sys::libc_hooks::{exit_key, register_exit_hook};
use crate::sys::pthread;
use crate::sys::tls;
use crate::thread::deregister::deregister_if_unhooked;
use crate::thread::object::{
    ALIVE, DAEMON, DUMMY, Destructor, GONE, MAIN, NEW, OVER, Run, STARTING, TIMER, Target, Task, Thread,
};
use crate::time::{Deadline, Timeout};
use crate::timer::object as timer_object;

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
    let known = tls::with(|mine| mine.thread.get());
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
        registry::add_dummy(ident)?
    };
    tls::with(|mine| mine.thread.set(current.bits()));
    Ok(current)
}

/// Lets the calling thread sleep.
pub fn sleep(timeout: Timeout) {
    let deadline = timeout.deadline();
    let nobody = AtomicU32::new(0);
    // A wait ends early for no reason, or returns false: then the time has passed, whatever the clock says.
    while !deadline.has_passed() && futex::wait(&nobody, 0, deadline) {}
}

/// What a started thread runs. Its frame may be left by `pthread_exit`: nothing in it waits to be dropped.
extern "C-unwind" fn entry(thread: *mut c_void) -> *mut c_void {
    // SAFETY: `launch` gave a thread that keeps itself as long as its system thread runs.
    let thread: &'static Thread = unsafe { &*thread.cast() };
    unseen(|| {
        if contain(|| begin(thread)).is_none() {
            // Others wait for what it says of itself.
            contain(|| begin(thread));
        }
    });
    // SAFETY: whoever made the thread promised that target and argument go together.
    let result = unsafe { thread.run_or_override() };
    unseen(|| {
        contain(|| {
            thread.set_result(result);
            thread.destroy_arg();
        });
        contain(deregister_if_unhooked);
    });
    result
}

fn begin(thread: &'static Thread) {
    inject(Place::Entry);
    ident::become_ident(thread.ident());
    tls::with(|mine| mine.thread.set(thread.handle().bits()));
    thread.tell_number_and_end();
    if register_exit_hook().is_err() {
        // The values of its locals are not destroyed; its end is still noticed.
        thread.begin_unannounced();
    }
    names::show(thread);
}

impl Handle<Thread> {
    /// A thread that will call `target(arg)`. The safe way is [`Handle::<Thread>::from_fn`].
    ///
    /// # Safety
    /// `arg` is what `target` takes, in another thread, whenever the thread is started.
    pub unsafe fn new(target: Option<Target>, arg: *mut c_void) -> Result<Self> {
        Thread::create(inherited_daemon(), target, arg)
    }

    /// Sets something up that must be before the start.
    fn set_up<R>(self, set: impl FnOnce(&'static Thread) -> R) -> Result<()> {
        self.pinned(|thread| registry::set_up(thread, set))
    }

    /// The current name; the default one is made with the first question. The pointer stays valid as long as
    /// the handle.
    pub(crate) fn name_pointer(self) -> Result<*const c_char> {
        names::of(self)
    }

    /// Names the thread.
    pub fn set_name(self, name: &CStr) -> Result<()> {
        names::set(self, name)
    }

    /// Whether the process's end does not wait for it.
    pub fn is_daemon(self) -> Result<bool> {
        self.read(|thread| thread.is(DAEMON))
    }

    /// Sets that; before start.
    pub fn set_daemon(self, daemon: bool) -> Result<()> {
        self.set_up(|thread| thread.mark(DAEMON, daemon))
    }

    /// Sets the size of its stack; before start. A timer's function runs on a shared stack.
    pub fn set_stack_size(self, bytes: usize) -> Result<()> {
        let bytes = self.argument(checked_stack_size(bytes))?;
        self.set_up(|thread| {
            if !thread.is(TIMER) {
                thread.set_extra(bytes);
            }
        })
    }

    /// Has the argument destroyed once it is not needed any more; before start.
    ///
    /// # Safety
    /// `destroy` takes the thread's argument, in any thread, which nobody else uses once the thread has ended.
    pub unsafe fn set_arg_destructor(self, destroy: Option<Destructor>) -> Result<()> {
        self.set_up(|thread| thread.set_destroy(destroy))
    }

    /// Overrides what it runs; before start.
    ///
    /// # Safety
    /// `run` takes the thread's argument, in another thread.
    pub unsafe fn set_run(self, run: Option<Run>) -> Result<()> {
        self.set_up(|thread| thread.set_run(run))
    }

    /// What it does if that is not overridden, to be called elsewhere.
    pub(crate) fn task(self) -> Result<Task> {
        self.read(Thread::task)
    }

    /// Starts it, once.
    pub fn start(self) -> Result<()> {
        self.pinned(launch)
    }

    /// Waits until it has ended. Returns false if the timeout expires.
    pub fn join(self, timeout: Timeout) -> Result<bool> {
        self.pinned(|thread| {
            if thread.is(DUMMY) {
                return Err(Error::NotJoinable);
            }
            if thread.state() == NEW {
                return Err(Error::NotStarted);
            }
            if thread.ident() == ident::ident() {
                return Err(Error::JoinSelf);
            }
            if thread.is(TIMER) && !thread.is_over() && timer_object::ends_here(thread) {
                return Err(Error::JoinSelf);
            }
            thread.join(timeout.deadline())
        })
    }

    /// Whether it has been started and has not ended.
    pub fn is_alive(self) -> Result<bool> {
        self.pinned(|thread| Ok(thread.state() != NEW && !thread.has_ended()))
    }

    /// Its number, never used again; 0 before start.
    pub fn ident(self) -> Result<u64> {
        self.read(Thread::ident)
    }

    /// The kernel's number; 0 before start, and for a timer until its function runs.
    pub fn native_id(self) -> Result<u64> {
        self.pinned(|thread| {
            thread.wait_while(STARTING, Deadline::NEVER);
            let comes = !matches!(thread.state(), NEW | GONE | OVER) && !thread.is(MAIN | DUMMY | TIMER);
            Ok(u64::from(if comes { thread.await_native_id() } else { thread.native_id() }))
        })
    }

    /// What run returned; NULL before the end.
    pub fn result(self) -> Result<*mut c_void> {
        self.pinned(|thread| Ok(if thread.has_ended() { thread.result() } else { ptr::null_mut() }))
    }

    /// The argument with which it was made.
    pub fn arg(self) -> Result<*mut c_void> {
        self.read(Thread::arg)
    }
}

/// A thread is a daemon if its creator is one; a creator that this library did not start does not count.
pub(crate) fn inherited_daemon() -> u32 {
    let creator = Handle::<Thread>::from_bits(tls::with(|mine| mine.thread.get()));
    match creator.check() {
        Ok((creator, _)) if creator.is(DAEMON) && !creator.is(DUMMY) => DAEMON,
        _ => 0,
    }
}

/// Makes a system thread run it, or a timer wait for its moment. Until it is over, it keeps itself.
fn launch(thread: &'static Thread) -> Result<()> {
    prepare_start()?;
    let is_timer = thread.is(TIMER);
    let itself = thread.handle().keep()?;
    let launched = registry::add(thread).and_then(|()| {
        let launched =
            if is_timer { timer_object::start_by_thread(thread) } else { launch_system_thread(thread) };
        launched.inspect_err(|_| registry::withdraw(thread))
    });
    if is_timer || launched.is_err() {
        // A timer keeps itself, and its thread with that.
        itself.let_go();
    }
    launched
}

/// What must have been done before anything is started.
pub(crate) fn prepare_start() -> Result<()> {
    ensure_atexit_registered()?;
    exit_key()?;
    // If the caller is main and leaves by pthread_exit, the process waits for the thread.
    let _ = register_exit_hook();
    registry::reap_some();
    Ok(())
}

fn launch_system_thread(thread: &'static Thread) -> Result<()> {
    let size = thread.extra();
    let started = try_system_thread(thread, size);
    if started.is_ok() || !registry::reap_all() {
        return started;
    }
    // What threads that have ended had is there again.
    try_system_thread(thread, size)
}

fn try_system_thread(thread: &'static Thread, size: usize) -> Result<()> {
    let stack = stack_cache::take(if size == 0 { stack_size() } else { size })?;
    // Before it runs: it may end before this call does.
    thread.set_stack(stack);
    let started = pthread::start(entry, ptr::from_ref(thread).cast_mut().cast(), stack);
    if started.is_ok() {
        thread.go(STARTING, ALIVE);
    } else {
        thread.set_extra(size);
        stack_cache::give_back(stack);
    }
    started
}

/// The threads that were alive at one moment.
#[repr(C, align(64))]
pub struct ThreadList {
    header: Header,
    /// A vector's parts: the handles, each of which the list keeps.
    threads: AtomicUsize,
    length: AtomicUsize,
    capacity: AtomicUsize,
}

// SAFETY: zero is a list of nothing; all of it is shareable; it begins with its header.
unsafe impl Kind for ThreadList {
    const INDEX: usize = 9;

    fn header(&self) -> &Header {
        &self.header
    }

    fn let_go(&self) {
        let threads = self.threads.load(Ordering::Acquire) as *mut usize;
        // SAFETY: the parts that `enumerate` took from a vector; nobody finds the list any more.
        let threads = unsafe {
            Vec::from_raw_parts(
                threads,
                self.length.load(Ordering::Acquire),
                self.capacity.load(Ordering::Acquire),
            )
        };
        threads.into_iter().for_each(|thread| Handle::<Thread>::from_bits(thread).let_go());
    }
}

/// All that are alive: main, then the others in the order of their start.
pub fn enumerate() -> Result<Handle<ThreadList>> {
    let threads = registry::snapshot()?;
    let mut kept = Some(threads);
    let list = Handle::create(0, |list: &ThreadList, _| {
        let mut threads = core::mem::ManuallyDrop::new(kept.take().unwrap_or_default());
        list.threads.store(threads.as_mut_ptr() as usize, Ordering::Release);
        list.length.store(threads.len(), Ordering::Release);
        list.capacity.store(threads.capacity(), Ordering::Release);
    });
    for thread in kept.into_iter().flatten() {
        Handle::<Thread>::from_bits(thread).let_go();
    }
    list
}

impl Handle<ThreadList> {
    /// How many threads it holds.
    pub fn len(self) -> Result<usize> {
        self.read(|list| list.length.load(Ordering::Acquire))
    }

    /// Whether it holds none; it never does.
    pub fn is_empty(self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// One of the threads, kept by the list.
    pub fn get(self, index: usize) -> Result<Handle<Thread>> {
        self.pinned(|list| {
            if index >= list.length.load(Ordering::Acquire) {
                return Err(Error::Index);
            }
            let threads = list.threads.load(Ordering::Acquire) as *const usize;
            // SAFETY: the list's memory holds so many handles as long as the list lives.
            Ok(Handle::from_bits(unsafe { *threads.add(index) }))
        })
    }
}
