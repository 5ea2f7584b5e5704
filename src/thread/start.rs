//! How threads start, and what they run first and last.

use crate::sys::atomic::Ordering;
use core::ffi::c_void;
use core::ptr;

use crate::error::Result;
use crate::handle::Handle;
use crate::panic_boundary::{FaultPoint, catch_panic, inject};
use crate::sync::atexit::ensure_atexit_registered;
use crate::sys::annotate::ignore_accesses;
use crate::sys::libc_hooks::{exit_key, register_exit_hook};
use crate::sys::pthread;
use crate::sys::tls;
use crate::thread::deregister::deregister_if_unhooked;
use crate::thread::object::{ALIVE, DAEMON, DUMMY, STARTING, TIMER, Thread};
use crate::thread::{ident, naming, reaper, registry, stack_cache};
use crate::timer::start;

/// A thread is a daemon if its creator is one; a creator that this library did not start does not count.
pub(crate) fn inherited_daemon() -> u32 {
    let creator = Handle::<Thread>::from_bits(tls::with(|mine| mine.thread.get()));
    match creator.check() {
        Ok((creator, _)) if creator.is(DAEMON) && !creator.is(DUMMY) => DAEMON,
        _ => 0,
    }
}

/// Makes a system thread run it, or a timer wait for its moment. Until it is over, it keeps itself.
pub(super) fn launch(thread: &'static Thread) -> Result<()> {
    prepare_start()?;
    let is_timer = thread.is(TIMER);
    let itself = thread.handle().internal_ref()?;
    let launched = registry::add(thread).and_then(|()| {
        let launched = if is_timer { start::start_by_thread(thread) } else { launch_system_thread(thread) };
        launched.inspect_err(|_| registry::withdraw(thread))
    });
    if is_timer || launched.is_err() {
        // A timer keeps itself, and its thread with that.
        itself.internal_unref();
    }
    launched
}

/// What must have been done before anything is started.
pub(crate) fn prepare_start() -> Result<()> {
    ensure_atexit_registered()?;
    exit_key()?;
    // If the caller is main and leaves by pthread_exit, the process waits for the thread.
    let _ = register_exit_hook();
    reaper::reap_some();
    Ok(())
}

fn launch_system_thread(thread: &'static Thread) -> Result<()> {
    let size = thread.extra();
    let started = try_system_thread(thread, size);
    if started.is_ok() || !reaper::reap_all() {
        return started;
    }
    // What threads that have ended had is there again.
    try_system_thread(thread, size)
}

fn try_system_thread(thread: &'static Thread, size: usize) -> Result<()> {
    let stack =
        stack_cache::take(if size == 0 { pthread::STACK_SIZE.load(Ordering::Relaxed) } else { size })?;
    // Before it runs: it may end before this call does.
    thread.set_stack(stack);
    let started =
        pthread::start(entry, ptr::from_ref(thread).cast_mut().cast(), &stack.spec(), &stack.thread);
    if started.is_ok() {
        thread.go(STARTING, ALIVE);
    } else {
        thread.set_extra(size);
        stack_cache::give_back(stack);
    }
    started
}

/// What a started thread runs. Its frame may be left by `pthread_exit`: nothing in it waits to be dropped.
extern "C-unwind" fn entry(thread: *mut c_void) -> *mut c_void {
    // SAFETY: `launch` gave a thread that keeps itself as long as its system thread runs.
    let thread: &'static Thread = unsafe { &*thread.cast() };
    ignore_accesses(|| {
        if catch_panic(|| begin(thread)).is_none() {
            // Others wait for what it says of itself.
            catch_panic(|| begin(thread));
        }
    });
    // SAFETY: whoever made the thread promised that target and argument go together.
    let result = unsafe { thread.run_or_override() };
    ignore_accesses(|| {
        catch_panic(|| {
            thread.set_result(result);
            thread.destroy_arg();
        });
        catch_panic(deregister_if_unhooked);
    });
    result
}

fn begin(thread: &'static Thread) {
    inject(FaultPoint::ThreadStart);
    ident::become_ident(thread.ident());
    tls::with(|mine| mine.thread.set(thread.handle().bits()));
    thread.tell_number_and_end();
    if register_exit_hook().is_err() {
        // The values of its locals are not destroyed; its end is still noticed.
        thread.begin_unannounced();
    }
    naming::show(thread);
}
