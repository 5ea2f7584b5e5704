//! The start of a thread, and the code that runs in it before and after its target.

use crate::sys::atomic::Ordering;
use core::ffi::c_void;
use core::ptr;

use crate::error::Result;
use crate::panic_boundary::{FaultPoint, catch_panic, inject};
use crate::sync::atexit::ensure_atexit_registered;
use crate::sys::annotate::ignore_accesses;
use crate::sys::libc_hooks::{ensure_exit_key, has_had_exit_hook, register_exit_hook};
use crate::sys::pthread;
use crate::sys::tls;
use crate::thread::deregister::deregister_if_unhooked;
use crate::thread::object::{DAEMON, DUMMY, RUNNING, STARTING, TIMER, Thread, known_current};
use crate::thread::{ident, naming, reaper, registry, stack_cache};
use crate::timer::start;

/// Returns `DAEMON` if the calling thread is a daemon, but 0 for a dummy: only threads of this library pass it on.
#[inline(always)]
pub(crate) fn inherited_daemon() -> u32 {
    match known_current() {
        Some(creator) if creator.has_flag(DAEMON) && !creator.has_flag(DUMMY) => DAEMON,
        _ => 0,
    }
}

/// Creates the OS thread, or makes the timer pending. A started thread has a reference to itself until it is done.
pub(super) fn start_thread(thread: &'static Thread) -> Result<()> {
    init_runtime()?;
    let is_timer = thread.has_flag(TIMER);
    let self_ref = thread.handle().internal_ref()?;
    let started = registry::add(thread, reaper::tolerated_zombies()).and_then(|zombies| {
        // Before a stack is allocated for the thread, which may be that of a zombie.
        for zombie in zombies.into_iter().flatten() {
            zombie.reap();
        }
        let started = if is_timer { start::start_from_thread(thread) } else { start_os_thread(thread) };
        started.inspect_err(|_| registry::rollback_start(thread))
    });
    if is_timer || started.is_err() {
        // The timer has a reference to itself, and one to its thread.
        self_ref.internal_unref();
    }
    started
}

/// Does what must precede the first start of a thread or timer.
#[inline(always)]
fn init_runtime() -> Result<()> {
    ensure_atexit_registered()?;
    if has_had_exit_hook() { Ok(()) } else { init_exit_hook() }
}

#[cold]
#[inline(never)]
fn init_exit_hook() -> Result<()> {
    ensure_exit_key()?;
    // If main calls pthread_exit, its exit hook makes the process wait for its threads. A start does not need it.
    let _ = register_exit_hook();
    Ok(())
}

/// As `init_runtime`, and reaps a few ended threads.
#[inline(always)]
pub(crate) fn init_runtime_for_start() -> Result<()> {
    init_runtime()?;
    reaper::try_reap_some();
    Ok(())
}

fn start_os_thread(thread: &'static Thread) -> Result<()> {
    let size = thread.requested_stack_size();
    let started = try_start_os_thread(thread, size);
    if started.is_ok() || !reaper::reap_all() {
        return started;
    }
    // The ended threads have released their stacks.
    try_start_os_thread(thread, size)
}

fn try_start_os_thread(thread: &'static Thread, size: usize) -> Result<()> {
    let stack =
        stack_cache::allocate(if size == 0 { pthread::STACK_SIZE.load(Ordering::Relaxed) } else { size })?;
    // Before the thread exists, since it may end before `pthread::start` returns.
    thread.set_stack(stack);
    let started =
        pthread::start(bootstrap, ptr::from_ref(thread).cast_mut().cast(), &stack.spec(), &stack.thread);
    if started.is_ok() {
        thread.transition(STARTING, RUNNING);
    } else {
        thread.set_requested_stack_size(size);
        stack_cache::deallocate(stack);
    }
    started
}

/// The start routine of each thread. `pthread_exit` may unwind this frame, so it holds no value that needs a drop.
extern "C-unwind" fn bootstrap(thread: *mut c_void) -> *mut c_void {
    // SAFETY: `start_thread` passed a thread that has a reference to itself until its OS thread has ended.
    let thread: &'static Thread = unsafe { &*thread.cast() };
    ignore_accesses(|| {
        if catch_panic(|| bootstrap_inner(thread)).is_none() {
            // The panic may have left the native ID unset, for which other threads wait, so this is repeated.
            catch_panic(|| bootstrap_inner(thread));
        }
    });
    // SAFETY: target and argument belong together, as promised when the thread was created.
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
        // Without the hook, the values of its thread-locals are not destroyed.
        thread.start_without_exit_hook();
    }
    naming::apply_to_os(thread);
}
