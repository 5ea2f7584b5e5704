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
use crate::thread::object::{DAEMON, DUMMY, RUNNING, STARTING, TIMER, Thread};
use crate::thread::{ident, naming, reaper, registry, stack_cache};
use crate::timer::start;

/// A thread is a daemon if its creator is one; a creator that this library did not start does not count.
pub(crate) fn inherited_daemon() -> u32 {
    let creator = Handle::<Thread>::from_bits(tls::with(|block| block.thread.get()));
    match creator.check() {
        Ok((creator, _)) if creator.has_flag(DAEMON) && !creator.has_flag(DUMMY) => DAEMON,
        _ => 0,
    }
}

/// Makes a system thread run it, or a timer wait for its moment. Until it is over, it keeps itself.
pub(super) fn start_thread(thread: &'static Thread) -> Result<()> {
    init_runtime_for_start()?;
    let is_timer = thread.has_flag(TIMER);
    let self_ref = thread.handle().internal_ref()?;
    let started = registry::add(thread).and_then(|()| {
        let started = if is_timer { start::start_from_thread(thread) } else { start_os_thread(thread) };
        started.inspect_err(|_| registry::rollback_start(thread))
    });
    if is_timer || started.is_err() {
        // A timer keeps itself, and its thread with that.
        self_ref.internal_unref();
    }
    started
}

/// What must have been done before anything is started.
pub(crate) fn init_runtime_for_start() -> Result<()> {
    ensure_atexit_registered()?;
    exit_key()?;
    // If the caller is main and leaves by pthread_exit, the process waits for the thread.
    let _ = register_exit_hook();
    reaper::try_reap_some();
    Ok(())
}

fn start_os_thread(thread: &'static Thread) -> Result<()> {
    let size = thread.aux();
    let started = try_start_os_thread(thread, size);
    if started.is_ok() || !reaper::reap_all() {
        return started;
    }
    // What threads that have ended had is there again.
    try_start_os_thread(thread, size)
}

fn try_start_os_thread(thread: &'static Thread, size: usize) -> Result<()> {
    let stack =
        stack_cache::allocate(if size == 0 { pthread::STACK_SIZE.load(Ordering::Relaxed) } else { size })?;
    // Before it runs: it may end before this call does.
    thread.set_stack(stack);
    let started =
        pthread::start(bootstrap, ptr::from_ref(thread).cast_mut().cast(), &stack.spec(), &stack.thread);
    if started.is_ok() {
        thread.transition(STARTING, RUNNING);
    } else {
        thread.set_aux(size);
        stack_cache::deallocate(stack);
    }
    started
}

/// What a started thread runs. Its frame may be left by `pthread_exit`: nothing in it waits to be dropped.
extern "C-unwind" fn bootstrap(thread: *mut c_void) -> *mut c_void {
    // SAFETY: `start_thread` gave a thread that keeps itself as long as its system thread runs.
    let thread: &'static Thread = unsafe { &*thread.cast() };
    ignore_accesses(|| {
        if catch_panic(|| bootstrap_inner(thread)).is_none() {
            // Others wait for what it says of itself.
            catch_panic(|| bootstrap_inner(thread));
        }
    });
    // SAFETY: whoever made the thread promised that target and argument go together.
    let result = unsafe { thread.run_override_or_target() };
    ignore_accesses(|| {
        catch_panic(|| {
            thread.set_result(result);
            thread.destroy_arg();
        });
        catch_panic(deregister_if_unhooked);
    });
    result
}

fn bootstrap_inner(thread: &'static Thread) {
    inject(FaultPoint::ThreadStart);
    ident::set_current_ident(thread.ident());
    tls::with(|block| block.thread.set(thread.handle().bits()));
    thread.register_with_kernel();
    if register_exit_hook().is_err() {
        // The values of its locals are not destroyed; its end is still noticed.
        thread.start_without_exit_hook();
    }
    naming::apply_to_os(thread);
}
