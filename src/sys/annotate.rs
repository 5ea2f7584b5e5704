//! Annotations for race detectors.
//!
//! ThreadSanitizer, Helgrind and DRD derive the happens-before relation from calls of pthread functions. They do not
//! understand this library's synchronization, so the library reports it to them. `annotate.c` contains the interfaces
//! of the tools; the reports themselves are made by the objects' functions, but not on the fast paths of `capi`, which
//! are not taken while a tool is active.
//!
//! # State (`STATE`; exact, and changed with relaxed ordering)
//!
//! | bits | meaning | who changes it |
//! |---|---|---|
//! | 0 to 7: `UNKNOWN` | the tools have not been detected; counts as active | `detect_tools`, when the library is loaded or before the first report: to one of the next two, once |
//! | 0 to 7: `NONE` | no tool is active | |
//! | 0 to 7: other | the active tools, as bits | |
//! | 8 to 31 | the number of threads that are in a fork (`runtime::fork`) | the forking thread: `begin_fork`, `end_fork`, and `reset_fork_count` in the child |
//!
//! Both are in one word so that a call needs only one comparison to find that neither concerns it (`calls_need_hooks`).
//!
//! # Rules
//!
//! - Every order that the library guarantees to its callers is reported: one thread calls `happens_before` before it
//!   makes a change of state, and the other calls `happens_after` after it has seen the change. Both pass the same
//!   address, that of an object or of a static of the library. The tools never discard what they know of the address,
//!   even when its slot serves another object: an extra order may hide a race, but a missing one would make the tools
//!   report a race that does not exist.
//! - The library's own mutexes are not reported: they would order accesses of the program that are not synchronized.
//! - So the tools must not check the library's own memory. Valgrind's tools are told to ignore it (`mark_untracked`):
//!   slots, waiters, statics (the section `threading_untracked`), and what comes from Rust's allocator. ThreadSanitizer
//!   sees the library's accesses only in functions of libc. It ignores all of them in a call (`ignore_accesses`),
//!   except in callbacks, and where threads are created and joined (`observe_accesses`).
//! - Lock operations are also reported to ThreadSanitizer, for the order in which locks are taken:
//!   `sync::lock_annotations`.

use core::ffi::c_void;
use core::sync::atomic::{AtomicU32, Ordering};
#[cfg(c_library)]
use std::alloc::{GlobalAlloc, Layout, System};

use crate::sys;

unsafe extern "C" {
    fn threading_annotate_detect_tools() -> u32;
    fn threading_annotate_happens_before(address: *mut c_void);
    fn threading_annotate_happens_after(address: *mut c_void);
    fn threading_annotate_mark_untracked(start: *mut c_void, bytes: usize);
    fn threading_annotate_register_root_region(start: *mut c_void, bytes: usize);
    fn threading_annotate_ignore_begin() -> u32;
    fn threading_annotate_ignore_end(was_ignoring: u32);
    fn threading_annotate_observe_begin() -> u32;
    fn threading_annotate_observe_end(was_ignoring: u32);
    fn threading_annotate_deliver_signals();
    fn threading_annotate_thread_finished();
}

const NONE: u32 = 0;
const THREAD_SANITIZER: u32 = 1;
const UNKNOWN: u32 = 255;
const TOOLS_MASK: u32 = 255;
/// The unit of the count of threads in a fork.
const FORK: u32 = 256;

/// Not one of the models' atomics: no tool is active in models.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static STATE: AtomicU32 = AtomicU32::new(UNKNOWN);

/// Returns whether a tool is active, or may be. One comparison, which is nearly always false.
#[inline(always)]
pub(crate) fn is_active() -> bool {
    cfg!(not(model)) && STATE.load(Ordering::Relaxed) & TOOLS_MASK != NONE
}

/// Returns whether `runtime::init::api_call` has work before and after a call: a tool is active, a thread is in a fork,
/// or the library is not initialized. One comparison, which is nearly always false.
#[inline(always)]
pub(crate) fn calls_need_hooks() -> bool {
    cfg!(not(model)) && STATE.load(Ordering::Relaxed) != NONE
}

/// Returns whether any thread is in a fork.
pub(crate) fn any_thread_forking() -> bool {
    STATE.load(Ordering::Relaxed) & !TOOLS_MASK != 0
}

/// Counts the calling thread as one that is in a fork.
pub(crate) fn begin_fork() {
    STATE.fetch_add(FORK, Ordering::Relaxed);
}

/// Ends what `begin_fork` began.
pub(crate) fn end_fork() {
    STATE.fetch_sub(FORK, Ordering::Relaxed);
}

/// Sets the count in a child of fork: only the calling thread can be in a fork there.
pub(crate) fn reset_fork_count(in_fork: bool) {
    STATE.store(
        STATE.load(Ordering::Relaxed) & TOOLS_MASK | if in_fork { FORK } else { 0 },
        Ordering::Relaxed,
    );
}

/// Returns whether the tools have not been detected yet, because the library's constructor has not run.
pub(crate) fn is_undetected() -> bool {
    STATE.load(Ordering::Relaxed) & TOOLS_MASK == UNKNOWN
}

/// Returns the active tools, and detects them if that has not been done.
#[cold]
fn tools() -> u32 {
    match STATE.load(Ordering::Relaxed) & TOOLS_MASK {
        UNKNOWN => detect_tools(),
        found => found,
    }
}

/// Returns whether a tool is active.
#[inline(always)]
fn has_tool() -> bool {
    is_active() && tools() != NONE
}

/// Detects the tools, when the library is loaded or before the first report, and returns them.
pub(crate) fn detect_tools() -> u32 {
    // SAFETY: no preconditions.
    let found = unsafe { threading_annotate_detect_tools() };
    let set = |word: u32| Some(word & !TOOLS_MASK | found);
    let _ = STATE.fetch_update(Ordering::Relaxed, Ordering::Relaxed, set);
    found
}

/// Returns the address by which an object is reported.
pub(crate) fn address_of<T>(object: &T) -> *mut c_void {
    core::ptr::from_ref(object).cast_mut().cast()
}

/// Reports that what the calling thread has done so far happens before what follows a later `happens_after` with the
/// same address.
#[inline(always)]
pub(crate) fn happens_before<T>(object: &T) {
    if has_tool() {
        // SAFETY: the address is not dereferenced.
        unsafe { threading_annotate_happens_before(address_of(object)) };
    }
}

/// Reports the other side of `happens_before`.
#[inline(always)]
pub(crate) fn happens_after<T>(object: &T) {
    if has_tool() {
        // SAFETY: as above.
        unsafe { threading_annotate_happens_after(address_of(object)) };
    }
}

/// Excludes memory from the checks of Valgrind's tools: it is the library's own until it is returned to the system.
#[inline]
pub(crate) fn mark_untracked<T: ?Sized>(start: *const T, bytes: usize) {
    if has_tool() {
        // SAFETY: the memory is neither read nor written.
        unsafe { threading_annotate_mark_untracked(start.cast::<c_void>().cast_mut(), bytes) };
    }
}

/// Registers memory with LeakSanitizer that is not part of the heap, but contains pointers to memory that is.
/// LeakSanitizer is not among the detected tools, so that this is called in any case.
pub(crate) fn register_root_region(start: usize, bytes: usize) {
    // SAFETY: the memory is never unmapped.
    unsafe { threading_annotate_register_root_region(start as *mut c_void, bytes) };
}

/// Begins what `ignore_accesses` does, for a whole call. Returns the argument for `after_call`.
pub(crate) fn before_call() -> u32 {
    // SAFETY: `after_call` ends it.
    if tools() == NONE { NO_TOOL } else { unsafe { threading_annotate_ignore_begin() } }
}

/// Ends what `before_call` has begun.
pub(crate) fn after_call(was_ignoring: u32) {
    if was_ignoring != NO_TOOL {
        // SAFETY: `before_call` has begun it.
        unsafe { threading_annotate_ignore_end(was_ignoring) };
    }
}

const NO_TOOL: u32 = u32::MAX;

/// Runs `f`, whose accesses ThreadSanitizer ignores. `pthread_exit` may leave `f` only inside `observe_accesses`.
#[inline(always)]
pub(crate) fn ignore_accesses<R>(f: impl FnOnce() -> R) -> R {
    let has_tool = has_tool();
    // SAFETY: ended below.
    let was_ignoring = if has_tool { unsafe { threading_annotate_ignore_begin() } } else { 0 };
    let result = f();
    if has_tool {
        // SAFETY: as above.
        unsafe { threading_annotate_ignore_end(was_ignoring) };
    }
    result
}

/// Runs `f` inside `ignore_accesses`, but with accesses observed: a callback, or a pthread function that the tools must
/// see.
#[inline(always)]
pub(crate) fn observe_accesses<R>(f: impl FnOnce() -> R) -> R {
    if !has_tool() {
        return f();
    }
    // SAFETY: ended below. If `pthread_exit` leaves `f`, it leaves the enclosing `ignore_accesses` as well.
    let was_ignoring = unsafe { threading_annotate_observe_begin() };
    let result = f();
    // SAFETY: as above.
    unsafe { threading_annotate_observe_end(was_ignoring) };
    result
}

/// Ends all reports of the calling thread: it is in the last round of pthread's destructors, and ThreadSanitizer may
/// have released its state of the thread.
pub(crate) fn thread_finished() {
    if is_active() {
        // SAFETY: changes only state of the calling thread.
        unsafe { threading_annotate_thread_finished() };
    }
}

/// Returns how much of a new thread's stack the tools use: ThreadSanitizer needs most of a megabyte.
#[inline]
pub(crate) fn tool_stack_size() -> usize {
    if is_active() && tools() & THREAD_SANITIZER != 0 { 1 << 20 } else { 0 }
}

/// Returns whether signal handlers are deferred: ThreadSanitizer runs them when the thread next calls a function that
/// it intercepts.
#[inline(always)]
pub(crate) fn defers_signals() -> bool {
    is_active() && tools() & THREAD_SANITIZER != 0
}

/// Runs the deferred signal handlers.
#[cold]
pub(crate) fn deliver_signals() {
    // SAFETY: signal handlers may run at any time.
    unsafe { threading_annotate_deliver_signals() };
}

/// The system's allocator, with its memory marked as untracked.
#[cfg(c_library)]
struct UntrackedAlloc;

/// Only in the C libraries: a Rust program chooses its own allocator.
#[cfg(c_library)]
#[global_allocator]
static HEAP: UntrackedAlloc = UntrackedAlloc;

// SAFETY: all functions forward to the system's allocator.
#[cfg(c_library)]
unsafe impl GlobalAlloc for UntrackedAlloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: guaranteed by the caller, here and below.
        mark_untracked_block(sys::preserving_errno(|| unsafe { System.alloc(layout) }), layout.size())
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        mark_untracked_block(sys::preserving_errno(|| unsafe { System.alloc_zeroed(layout) }), layout.size())
    }

    #[inline]
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        mark_untracked_block(sys::preserving_errno(|| unsafe { System.realloc(memory, layout, size) }), size)
    }

    #[inline]
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        sys::preserving_errno(|| unsafe { System.dealloc(memory, layout) });
    }
}

#[inline]
fn mark_untracked_block(memory: *mut u8, bytes: usize) -> *mut u8 {
    if !memory.is_null() {
        mark_untracked(memory, bytes);
    }
    memory
}

/// `malloc`, with the memory marked as untracked.
///
/// # Safety
/// As for libc's function.
pub(crate) unsafe fn malloc(bytes: usize) -> *mut c_void {
    // SAFETY: guaranteed by the caller.
    mark_untracked_block(unsafe { sys::malloc(bytes) }.cast(), bytes).cast()
}
