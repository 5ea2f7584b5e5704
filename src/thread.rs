//! Thread: Python's `threading.Thread`, and the functions of the module that are about threads.
//!
//! States and orderings: `runtime::life`.

use core::ffi::{CStr, c_char, c_void};
use core::ptr;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use crate::error::{Error, Result};
use crate::handle::header::Header;
use crate::handle::{Handle, Kind};
use crate::park;
use crate::per_thread;
use crate::runtime::life::{
    ALIVE, DAEMON, DUMMY, Destructor, MAIN, NAMED, NEW, OVER, Run, STARTING, TIMER, Target, Thread,
};
use crate::runtime::{dispatcher, end, exit, identity, name, registry, system};
use crate::time::{Deadline, Timeout};

/// The size of new threads' stacks, 0 being the system's default.
static STACK_SIZE: AtomicUsize = AtomicUsize::new(0);

/// The smallest stack that is accepted, like Python's.
const MIN_STACK: usize = if system::MIN_STACK > 32 * 1024 { system::MIN_STACK } else { 32 * 1024 };

fn checked_stack_size(bytes: usize) -> Result<usize> {
    if bytes == 0 || bytes >= MIN_STACK { Ok(bytes) } else { Err(Error::StackSize) }
}

/// The size of new threads' stacks.
pub fn stack_size() -> usize {
    STACK_SIZE.load(Ordering::Relaxed)
}

/// Sets the size of new threads' stacks.
pub fn set_stack_size(bytes: usize) -> Result<()> {
    STACK_SIZE.store(checked_stack_size(bytes)?, Ordering::Relaxed);
    Ok(())
}

/// The thread that calls; one that this library did not start becomes a dummy with its first question.
pub fn current() -> Result<Handle<Thread>> {
    let known = per_thread::with(|mine| mine.thread.get());
    if known != 0 {
        return Ok(Handle::from_bits(known));
    }
    let ident = identity::ident();
    let current = if registry::is_main(ident) {
        registry::main_thread()?
    } else {
        end::arm()?;
        registry::add_dummy(ident)?
    };
    per_thread::with(|mine| mine.thread.set(current.bits()));
    Ok(current)
}

/// Lets the calling thread sleep.
pub fn sleep(timeout: Timeout) {
    let deadline = timeout.deadline();
    let nobody = AtomicU32::new(0);
    while !deadline.has_passed() {
        park::wait(&nobody, 0, deadline);
    }
}

/// What a started thread runs. Its frame may be left by `pthread_exit`: nothing in it waits to be dropped.
extern "C-unwind" fn entry(thread: *mut c_void) -> *mut c_void {
    // SAFETY: `launch` gave a thread that keeps itself as long as its system thread runs.
    let thread: &'static Thread = unsafe { &*thread.cast() };
    begin(thread);
    // SAFETY: whoever made the thread promised that target and argument go together.
    let result = unsafe { thread.run_or_override() };
    thread.set_result(result);
    thread.destroy_arg();
    result
}

fn begin(thread: &'static Thread) {
    identity::become_ident(thread.ident());
    per_thread::with(|mine| mine.thread.set(thread.handle().bits()));
    thread.set_native_id(identity::native_id() as u32);
    // If that fails, the values of its locals are not destroyed; the thread ends all the same.
    let _ = end::arm();
    name::show(thread);
}

impl Handle<Thread> {
    /// A thread that will call `target(arg)`.
    pub fn new(target: Option<Target>, arg: *mut c_void) -> Result<Self> {
        Thread::create(inherited_daemon(), target, arg)
    }

    fn thread(self) -> Result<&'static Thread> {
        Ok(self.check()?.0)
    }

    fn unstarted(self) -> Result<&'static Thread> {
        let thread = self.thread()?;
        if thread.state() == NEW { Ok(thread) } else { Err(Error::AlreadyStarted) }
    }

    /// The current name; the default one is made with the first question. The pointer stays valid as long as
    /// the handle.
    pub fn name(self) -> Result<*const c_char> {
        name::of(self.thread()?)
    }

    /// Names the thread.
    pub fn set_name(self, name: &CStr) -> Result<()> {
        name::set(self.thread()?, name)
    }

    /// Whether the process's end does not wait for it.
    pub fn is_daemon(self) -> Result<bool> {
        Ok(self.thread()?.is(DAEMON))
    }

    /// Sets that; before start.
    pub fn set_daemon(self, daemon: bool) -> Result<()> {
        self.unstarted()?.mark(DAEMON, daemon);
        Ok(())
    }

    /// Sets the size of its stack; before start. A timer's function runs on a shared stack.
    pub fn set_stack_size(self, bytes: usize) -> Result<()> {
        let bytes = self.argument(checked_stack_size(bytes))?;
        let thread = self.unstarted()?;
        if !thread.is(TIMER) {
            thread.set_extra(bytes);
        }
        Ok(())
    }

    /// Has the argument destroyed once it is not needed any more; before start.
    pub fn set_arg_destructor(self, destroy: Option<Destructor>) -> Result<()> {
        self.unstarted()?.set_destroy(destroy);
        Ok(())
    }

    /// Overrides what it runs; before start.
    pub fn set_run(self, run: Option<Run>) -> Result<()> {
        self.unstarted()?.set_run(run);
        Ok(())
    }

    /// The thread itself, to call its `run`.
    pub(crate) fn runnable(self) -> Result<&'static Thread> {
        self.thread()
    }

    /// Starts it, once.
    pub fn start(self) -> Result<()> {
        let _pin = self.pin()?;
        let thread = self.thread()?;
        if !thread.go(NEW, STARTING) {
            return Err(Error::AlreadyStarted);
        }
        let launched = launch(thread);
        if launched.is_err() {
            thread.set_ident(0);
            thread.go(STARTING, NEW);
        }
        launched
    }

    /// Waits until it has ended. False if the time ran out.
    pub fn join(self, timeout: Timeout) -> Result<bool> {
        let _pin = self.pin()?;
        let thread = self.thread()?;
        if thread.is(DUMMY) {
            return Err(Error::NotJoinable);
        }
        if thread.state() == NEW {
            return Err(Error::NotStarted);
        }
        if thread.ident() == identity::ident() {
            return Err(Error::JoinSelf);
        }
        if thread.state() == OVER {
            return Ok(true);
        }
        Ok(thread.join(timeout.deadline()))
    }

    /// Whether it has been started and has not ended.
    pub fn is_alive(self) -> Result<bool> {
        let _pin = self.pin()?;
        let thread = self.thread()?;
        Ok(thread.state() != NEW && !thread.has_ended())
    }

    /// Its number, never used again; 0 before start.
    pub fn ident(self) -> Result<u64> {
        Ok(self.thread()?.ident())
    }

    /// The kernel's number; 0 before start, and for a timer until its function runs.
    pub fn native_id(self) -> Result<u64> {
        let _pin = self.pin()?;
        let thread = self.thread()?;
        thread.wait_while(STARTING, Deadline::NEVER);
        let comes = !matches!(thread.state(), NEW | OVER) && !thread.is(MAIN | DUMMY | TIMER);
        Ok(u64::from(if comes { thread.await_native_id() } else { thread.native_id() }))
    }

    /// What run returned; NULL before the end.
    pub fn result(self) -> Result<*mut c_void> {
        let _pin = self.pin()?;
        let thread = self.thread()?;
        Ok(if thread.has_ended() { thread.result() } else { ptr::null_mut() })
    }

    /// The argument with which it was made.
    pub fn arg(self) -> Result<*mut c_void> {
        Ok(self.thread()?.arg())
    }
}

/// A thread is a daemon if its creator is one; a creator that this library did not start does not count.
pub(crate) fn inherited_daemon() -> u32 {
    let creator = Handle::<Thread>::from_bits(per_thread::with(|mine| mine.thread.get()));
    match creator.check() {
        Ok((creator, _)) if creator.is(DAEMON) && !creator.is(DUMMY) => DAEMON,
        _ => 0,
    }
}

/// In `STARTING`: makes a system thread run it, or a timer wait for its moment.
fn launch(thread: &'static Thread) -> Result<()> {
    exit::need()?;
    end::key()?;
    registry::look_after_ended();
    registry::add(thread)?;
    thread.set_ident(identity::new_ident());
    if !thread.is(NAMED) {
        name::take_number(thread);
    }
    let launched = if thread.is(TIMER) { dispatcher::start(thread) } else { launch_system_thread(thread) };
    launched.inspect_err(|_| registry::remove(thread))
}

fn launch_system_thread(thread: &'static Thread) -> Result<()> {
    let itself = thread.handle().keep()?;
    let stack = if thread.extra() == 0 { stack_size() } else { thread.extra() };
    match system::start(entry, ptr::from_ref(thread).cast_mut().cast(), stack, false) {
        Ok(system) => {
            thread.set_extra(system);
            thread.go(STARTING, ALIVE);
            Ok(())
        }
        Err(error) => {
            itself.let_go();
            Err(error)
        }
    }
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
        Ok(self.check()?.0.length.load(Ordering::Acquire))
    }

    /// Whether it holds none; it never does.
    pub fn is_empty(self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// One of the threads, kept by the list.
    pub fn get(self, index: usize) -> Result<Handle<Thread>> {
        let _pin = self.pin()?;
        let (list, _) = self.check()?;
        if index >= list.length.load(Ordering::Acquire) {
            return Err(Error::Index);
        }
        let threads = list.threads.load(Ordering::Acquire) as *const usize;
        // SAFETY: the list's memory holds so many handles as long as the list lives.
        Ok(Handle::from_bits(unsafe { *threads.add(index) }))
    }
}
