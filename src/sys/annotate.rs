//! Race detectors: whether one watches this process, and what it has to be told.
//!
//! ThreadSanitizer, Helgrind and DRD know which access happens before which from what they see of pthread. Of
//! this library they see nothing that they could understand, so it tells them. How to speak to them is
//! `annotate.c`'s, and what to say is said where it happens, in the objects' files: never in the short ways of
//! `capi`, which are not taken while a detector watches.
//!
//! # State
//!
//! | `STATE`, bits 0 to 7 | meaning | who changes it |
//! |---|---|---|
//! | `UNKNOWN` | nobody has looked; counts as watched | to one of the others, once: `look`, at the load or before the first announcement |
//! | `NONE` | nobody watches | |
//! | anything else | the tools that watch, as bits | |
//!
//! The bits above count the threads that are in a fork (`runtime::fork`). They are in this word so that a call needs
//! one comparison to know that nothing concerns it (`calls_need_hooks`).
//!
//! # Rules
//!
//! - Whatever `api.md` orders is announced: `happens_before` by the one side, ahead of the change of state that
//!   lets the other side go on, and `happens_after` by the other, behind it. The address that both name is that
//!   of an object or of a static of the library's. It is never forgotten, also when the slot serves another
//!   object: an order too many may hide a race, one too few would invent one.
//! - The library's own locks are not announced: they would order what the user did not.
//! - So the tools must not look at the library's own memory. Valgrind's tools are told of that memory
//!   (`mark_untracked`): slots, records, statics (`OWN`), and whatever comes from Rust's allocator. For
//!   ThreadSanitizer, which sees it only where libc is called, all that the library does is hidden (`unseen`) but
//!   for what it calls of the user's, and for the starts and joins of threads (`seen`).
//! - Locks are announced to ThreadSanitizer as such, for the order in which they are taken: `sync::lock_annotations`.

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
    fn threading_annotate_ignore_end(outside: u32);
    fn threading_annotate_observe_begin() -> u32;
    fn threading_annotate_observe_end(hidden: u32);
    fn threading_annotate_deliver_signals();
    fn threading_annotate_thread_finished();
}

const NONE: u32 = 0;
const THREAD_SANITIZER: u32 = 1;
const UNKNOWN: u32 = 255;
const TOOLS_MASK: u32 = 255;
/// One thread in a fork.
const FORK: u32 = 256;

/// Not an atomic of the models': they are watched by nobody.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static STATE: AtomicU32 = AtomicU32::new(UNKNOWN);

/// Whether a tool watches: one comparison, and false nearly always.
#[inline(always)]
pub(crate) fn is_active() -> bool {
    cfg!(not(model)) && STATE.load(Ordering::Relaxed) & TOOLS_MASK != NONE
}

/// Whether a call has to look at more than its own work: for a tool that watches, for a thread that is in a fork, or
/// since the library has not been loaded yet. One comparison, and false nearly always.
#[inline(always)]
pub(crate) fn calls_need_hooks() -> bool {
    cfg!(not(model)) && STATE.load(Ordering::Relaxed) != NONE
}

/// Whether a thread is in a fork.
pub(crate) fn any_thread_forking() -> bool {
    STATE.load(Ordering::Relaxed) & !TOOLS_MASK != 0
}

/// The calling thread is in a fork from now on.
pub(crate) fn begin_fork() {
    STATE.fetch_add(FORK, Ordering::Relaxed);
}

/// The calling thread is in no fork any more.
pub(crate) fn end_fork() {
    STATE.fetch_sub(FORK, Ordering::Relaxed);
}

/// In a child of fork: no thread but the calling one can be in a fork.
pub(crate) fn reset_fork_count(in_fork: bool) {
    STATE.store(
        STATE.load(Ordering::Relaxed) & TOOLS_MASK | if in_fork { FORK } else { 0 },
        Ordering::Relaxed,
    );
}

/// Whether the tools have not been looked for yet: the library has not been loaded.
pub(crate) fn is_undetected() -> bool {
    STATE.load(Ordering::Relaxed) & TOOLS_MASK == UNKNOWN
}

/// The tools that watch, which are looked for if nobody has.
#[cold]
fn tools() -> u32 {
    match STATE.load(Ordering::Relaxed) & TOOLS_MASK {
        UNKNOWN => detect_tools(),
        found => found,
    }
}

/// Looks for the tools. By the loader, before the process has other threads.
pub(crate) fn detect_tools() -> u32 {
    // SAFETY: asks only.
    let found = unsafe { threading_annotate_detect_tools() };
    let set = |word: u32| Some(word & !TOOLS_MASK | found);
    let _ = STATE.fetch_update(Ordering::Relaxed, Ordering::Relaxed, set);
    found
}

fn pointer<T: ?Sized>(to: &T) -> *mut c_void {
    core::ptr::from_ref(to).cast_mut().cast()
}

/// What the caller has done happens before what follows a later `happens_after` of this address.
#[inline(always)]
pub(crate) fn happens_before<T>(address: &T) {
    if is_active() && tools() != NONE {
        // SAFETY: the address is only a name.
        unsafe { threading_annotate_happens_before(pointer(address)) };
    }
}

/// The other side of `happens_before`.
#[inline(always)]
pub(crate) fn happens_after<T>(address: &T) {
    if is_active() && tools() != NONE {
        // SAFETY: as above.
        unsafe { threading_annotate_happens_after(pointer(address)) };
    }
}

/// This memory is the library's own, until it is given back to the system.
#[inline]
pub(crate) fn mark_untracked<T: ?Sized>(start: *const T, bytes: usize) {
    if is_active() && tools() != NONE {
        // SAFETY: the range is the library's; nothing is read or written.
        unsafe { threading_annotate_mark_untracked(start.cast::<c_void>().cast_mut(), bytes) };
    }
}

/// In this memory, which is not of the heap, lie pointers to what is: no leaks, to LeakSanitizer. Asked for whatever
/// watches, but seldom.
pub(crate) fn register_root_region(start: usize, bytes: usize) {
    // SAFETY: the range is mapped for good.
    unsafe { threading_annotate_register_root_region(start as *mut c_void, bytes) };
}

/// As `unseen`, for a whole call: the part ahead of it. For `after_call`.
pub(crate) fn before_call() -> u32 {
    // SAFETY: `after_call` undoes it.
    if tools() == NONE { NOT_WATCHED } else { unsafe { threading_annotate_ignore_begin() } }
}

/// The part behind a call.
pub(crate) fn after_call(outside: u32) {
    if outside != NOT_WATCHED {
        // SAFETY: `before_call` has entered.
        unsafe { threading_annotate_ignore_end(outside) };
    }
}

const NOT_WATCHED: u32 = u32::MAX;

/// What `f` reads and writes is the library's own. Not for what `pthread_exit` may leave, but within `seen`.
#[inline(always)]
pub(crate) fn ignore_accesses<R>(f: impl FnOnce() -> R) -> R {
    let watched = is_active() && tools() != NONE;
    // SAFETY: given back below.
    let outside = if watched { unsafe { threading_annotate_ignore_begin() } } else { 0 };
    let result = f();
    if watched {
        // SAFETY: as above.
        unsafe { threading_annotate_ignore_end(outside) };
    }
    result
}

/// Inside of what is unseen: `f` is the user's, or a call of pthread's from which the tools learn.
#[inline(always)]
pub(crate) fn observe_accesses<R>(f: impl FnOnce() -> R) -> R {
    if !is_active() || tools() == NONE {
        return f();
    }
    // SAFETY: undone below. If `f` is left by `pthread_exit`, so is what was unseen.
    let hidden = unsafe { threading_annotate_observe_begin() };
    let result = f();
    // SAFETY: as above.
    unsafe { threading_annotate_observe_end(hidden) };
    result
}

/// The calling thread is in the last round of pthread's destructors, in which ThreadSanitizer has left it already, and
/// announces nothing any more.
pub(crate) fn thread_finished() {
    if is_active() {
        // SAFETY: changes what is the calling thread's.
        unsafe { threading_annotate_thread_finished() };
    }
}

/// How much of a new thread's stack a tool needs for itself: ThreadSanitizer, the better part of a megabyte.
#[inline]
pub(crate) fn tool_stack_size() -> usize {
    if is_active() && tools() & THREAD_SANITIZER != 0 { 1 << 20 } else { 0 }
}

/// Whether signals are handled late: by ThreadSanitizer, when the thread next passes one of its functions.
#[inline(always)]
pub(crate) fn defers_signals() -> bool {
    is_active() && tools() & THREAD_SANITIZER != 0
}

/// Lets the handlers of signals run that have come meanwhile.
#[cold]
pub(crate) fn deliver_signals() {
    // SAFETY: runs what may run whenever a signal comes.
    unsafe { threading_annotate_deliver_signals() };
}

/// The system's allocator, whose memory the tools are told to leave alone.
#[cfg(c_library)]
struct UntrackedAlloc;

/// Not in the rlib: which allocator a Rust program has is its own to say.
#[cfg(c_library)]
#[global_allocator]
static HEAP: UntrackedAlloc = UntrackedAlloc;

// SAFETY: the system's allocator does it all.
#[cfg(c_library)]
unsafe impl GlobalAlloc for UntrackedAlloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, here and below.
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

/// Memory of libc's heap, for what the library's threads share.
///
/// # Safety
/// That of libc's function.
pub(crate) unsafe fn malloc(bytes: usize) -> *mut c_void {
    // SAFETY: guaranteed by the caller.
    mark_untracked_block(unsafe { sys::malloc(bytes) }.cast(), bytes).cast()
}
