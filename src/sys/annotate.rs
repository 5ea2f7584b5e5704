//! Race detectors: whether one watches this process, and what it has to be told.
//!
//! ThreadSanitizer, Helgrind and DRD know which access happens before which from what they see of pthread. Of
//! this library they see nothing that they could understand, so it tells them. How to speak to them is
//! `annotate.c`'s, and what to say is said where it happens, in the objects' files: never in the short ways of
//! `capi`, which are not taken while a detector watches.
//!
//! # State
//!
//! | `FOUND`, bits 0 to 7 | meaning | who changes it |
//! |---|---|---|
//! | `UNKNOWN` | nobody has looked; counts as watched | to one of the others, once: `look`, at the load or before the first announcement |
//! | `NONE` | nobody watches | |
//! | anything else | the tools that watch, as bits | |
//!
//! The bits above count the threads that are in a fork (`runtime::fork`). They are in this word so that a call needs
//! one comparison to know that nothing concerns it (`concerns_calls`).
//!
//! # Rules
//!
//! - Whatever `api.md` orders is announced: `happens_before` by the one side, ahead of the change of state that
//!   lets the other side go on, and `happens_after` by the other, behind it. The address that both name is that
//!   of an object or of a static of the library's. It is never forgotten, also when the slot serves another
//!   object: an order too many may hide a race, one too few would invent one.
//! - The library's own locks are not announced: they would order what the user did not.
//! - So the tools must not look at the library's own memory. Valgrind's tools are told of that memory
//!   (`leave_alone`): slots, records, statics (`OWN`), and whatever comes from Rust's allocator. For
//!   ThreadSanitizer, which sees it only where libc is called, all that the library does is hidden (`unseen`) but
//!   for what it calls of the user's, and for the starts and joins of threads (`seen`).
//! - Locks are announced to ThreadSanitizer as such, for the order in which they are taken: `sync::lock_annotations`.

use core::ffi::c_void;
use core::sync::atomic::{AtomicU32, Ordering};
#[cfg(c_library)]
use std::alloc::{GlobalAlloc, Layout, System};

use crate::sys;

unsafe extern "C" {
    fn threading_detector_find() -> u32;
    fn threading_detector_happens_before(address: *mut c_void);
    fn threading_detector_happens_after(address: *mut c_void);
    fn threading_detector_leave_alone(start: *mut c_void, bytes: usize);
    fn threading_detector_holds_pointers(start: *mut c_void, bytes: usize);
    fn threading_detector_enter() -> u32;
    fn threading_detector_leave(outside: u32);
    fn threading_detector_show() -> u32;
    fn threading_detector_hide_again(hidden: u32);
    fn threading_detector_let_signals_in();
    fn threading_detector_retire();
}

const NONE: u32 = 0;
const THREAD_SANITIZER: u32 = 1;
const UNKNOWN: u32 = 255;
const TOOLS: u32 = 255;
/// One thread in a fork.
const FORK: u32 = 256;

/// Not an atomic of the models': they are watched by nobody.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_own"))]
static FOUND: AtomicU32 = AtomicU32::new(UNKNOWN);

/// Whether a tool watches: one comparison, and false nearly always.
#[inline(always)]
pub(crate) fn watches() -> bool {
    cfg!(not(model)) && FOUND.load(Ordering::Relaxed) & TOOLS != NONE
}

/// Whether a call has to look at more than its own work: for a tool that watches, for a thread that is in a fork, or
/// since the library has not been loaded yet. One comparison, and false nearly always.
#[inline(always)]
pub(crate) fn concerns_calls() -> bool {
    cfg!(not(model)) && FOUND.load(Ordering::Relaxed) != NONE
}

/// Whether a thread is in a fork.
pub(crate) fn is_in_fork() -> bool {
    FOUND.load(Ordering::Relaxed) & !TOOLS != 0
}

/// The calling thread is in a fork from now on.
pub(crate) fn fork_begins() {
    FOUND.fetch_add(FORK, Ordering::Relaxed);
}

/// The calling thread is in no fork any more.
pub(crate) fn fork_ends() {
    FOUND.fetch_sub(FORK, Ordering::Relaxed);
}

/// In a child of fork: no thread but the calling one can be in a fork.
pub(crate) fn only_this_fork(in_fork: bool) {
    FOUND.store(FOUND.load(Ordering::Relaxed) & TOOLS | if in_fork { FORK } else { 0 }, Ordering::Relaxed);
}

/// Whether the tools have not been looked for yet: the library has not been loaded.
pub(crate) fn is_unknown() -> bool {
    FOUND.load(Ordering::Relaxed) & TOOLS == UNKNOWN
}

/// The tools that watch, which are looked for if nobody has.
#[cold]
fn found() -> u32 {
    match FOUND.load(Ordering::Relaxed) & TOOLS {
        UNKNOWN => look(),
        found => found,
    }
}

/// Looks for the tools. By the loader, before the process has other threads.
pub(crate) fn look() -> u32 {
    // SAFETY: asks only.
    let found = unsafe { threading_detector_find() };
    let set = |word: u32| Some(word & !TOOLS | found);
    let _ = FOUND.fetch_update(Ordering::Relaxed, Ordering::Relaxed, set);
    found
}

fn pointer<T: ?Sized>(to: &T) -> *mut c_void {
    core::ptr::from_ref(to).cast_mut().cast()
}

/// What the caller has done happens before what follows a later `happens_after` of this address.
#[inline(always)]
pub(crate) fn happens_before<T>(address: &T) {
    if watches() && found() != NONE {
        // SAFETY: the address is only a name.
        unsafe { threading_detector_happens_before(pointer(address)) };
    }
}

/// The other side of `happens_before`.
#[inline(always)]
pub(crate) fn happens_after<T>(address: &T) {
    if watches() && found() != NONE {
        // SAFETY: as above.
        unsafe { threading_detector_happens_after(pointer(address)) };
    }
}

/// This memory is the library's own, until it is given back to the system.
#[inline]
pub(crate) fn leave_alone<T: ?Sized>(start: *const T, bytes: usize) {
    if watches() && found() != NONE {
        // SAFETY: the range is the library's; nothing is read or written.
        unsafe { threading_detector_leave_alone(start.cast::<c_void>().cast_mut(), bytes) };
    }
}

/// In this memory, which is not of the heap, lie pointers to what is: no leaks, to LeakSanitizer. Asked for whatever
/// watches, but seldom.
pub(crate) fn holds_pointers(start: usize, bytes: usize) {
    // SAFETY: the range is mapped for good.
    unsafe { threading_detector_holds_pointers(start as *mut c_void, bytes) };
}

/// As `unseen`, for a whole call: the part ahead of it. For `after_call`.
pub(crate) fn before_call() -> u32 {
    // SAFETY: `after_call` undoes it.
    if found() == NONE { NOT_WATCHED } else { unsafe { threading_detector_enter() } }
}

/// The part behind a call.
pub(crate) fn after_call(outside: u32) {
    if outside != NOT_WATCHED {
        // SAFETY: `before_call` has entered.
        unsafe { threading_detector_leave(outside) };
    }
}

const NOT_WATCHED: u32 = u32::MAX;

/// What `f` reads and writes is the library's own. Not for what `pthread_exit` may leave, but within `seen`.
#[inline(always)]
pub(crate) fn unseen<R>(f: impl FnOnce() -> R) -> R {
    let watched = watches() && found() != NONE;
    // SAFETY: given back below.
    let outside = if watched { unsafe { threading_detector_enter() } } else { 0 };
    let result = f();
    if watched {
        // SAFETY: as above.
        unsafe { threading_detector_leave(outside) };
    }
    result
}

/// Inside of what is unseen: `f` is the user's, or a call of pthread's from which the tools learn.
#[inline(always)]
pub(crate) fn seen<R>(f: impl FnOnce() -> R) -> R {
    if !watches() || found() == NONE {
        return f();
    }
    // SAFETY: undone below. If `f` is left by `pthread_exit`, so is what was unseen.
    let hidden = unsafe { threading_detector_show() };
    let result = f();
    // SAFETY: as above.
    unsafe { threading_detector_hide_again(hidden) };
    result
}

/// The calling thread is in the last round of pthread's destructors, in which ThreadSanitizer has left it already, and
/// announces nothing any more.
pub(crate) fn retire() {
    if watches() {
        // SAFETY: changes what is the calling thread's.
        unsafe { threading_detector_retire() };
    }
}

/// How much of a new thread's stack a tool needs for itself: ThreadSanitizer, the better part of a megabyte.
#[inline]
pub(crate) fn share_of_stack() -> usize {
    if watches() && found() & THREAD_SANITIZER != 0 { 1 << 20 } else { 0 }
}

/// Whether signals are handled late: by ThreadSanitizer, when the thread next passes one of its functions.
#[inline(always)]
pub(crate) fn delays_signals() -> bool {
    watches() && found() & THREAD_SANITIZER != 0
}

/// Lets the handlers of signals run that have come meanwhile.
#[cold]
pub(crate) fn let_signals_in() {
    // SAFETY: runs what may run whenever a signal comes.
    unsafe { threading_detector_let_signals_in() };
}

/// The system's allocator, whose memory the tools are told to leave alone.
#[cfg(c_library)]
struct OwnHeap;

/// Not in the rlib: which allocator a Rust program has is its own to say.
#[cfg(c_library)]
#[global_allocator]
static HEAP: OwnHeap = OwnHeap;

// SAFETY: the system's allocator does it all.
#[cfg(c_library)]
unsafe impl GlobalAlloc for OwnHeap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, here and below.
        own(sys::preserving_errno(|| unsafe { System.alloc(layout) }), layout.size())
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        own(sys::preserving_errno(|| unsafe { System.alloc_zeroed(layout) }), layout.size())
    }

    #[inline]
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        own(sys::preserving_errno(|| unsafe { System.realloc(memory, layout, size) }), size)
    }

    #[inline]
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        sys::preserving_errno(|| unsafe { System.dealloc(memory, layout) });
    }
}

#[inline]
fn own(memory: *mut u8, bytes: usize) -> *mut u8 {
    if !memory.is_null() {
        leave_alone(memory, bytes);
    }
    memory
}

/// Memory of libc's heap, for what the library's threads share.
///
/// # Safety
/// That of libc's function.
pub(crate) unsafe fn malloc(bytes: usize) -> *mut c_void {
    // SAFETY: the caller's promise.
    own(unsafe { sys::malloc(bytes) }.cast(), bytes).cast()
}
