//! The stacks of threads, cached for further threads.
//!
//! Mapping, guarding, faulting in and unmapping a stack costs more than creating the thread. glibc caches 40 MB of
//! stacks, which is five of the default size; this cache has room for more.
//!
//! - A stack has the requested size, above a guard page of its own. It is reused only for a thread with the same size,
//!   the most recently used one first.
//! - A stack enters the cache only when its thread has been reaped: until the kernel reports the end of the thread, the
//!   thread may still run on it.
//! - Static TLS is allocated on each thread's stack. If there is much of it, stacks are larger than requested by its
//!   size (`pthread::stack_layout`).
//! - If the process needs executable stacks, new stacks are executable, and no other cached stack is reused.
//! - If a stack cannot be mapped, all cached stacks are unmapped and the mapping is tried again.
//! - While a race detector is active, pthread allocates the stacks: the detector must see that the stack of a new
//!   thread is new memory. It also does where the kernel cannot report a thread's exit to this
//!   library (`pthread::KERNEL_REPORTS_EXIT`).
//!
//! *Limits.* At most `MAX_CACHED` stacks and `MAX_CACHED_BYTES` of address space are cached, or
//! `MAX_CACHED_BYTES_SCARCE` where address space is limited or accounted (`thread::stack_count`). The stacks of zombies
//! count as cached. Beyond the limits, the least recently used stacks are unmapped.
//!
//! *Trimming.* Each thread decommits its stack at its end, except the part that is in use and [`KEEP_RESIDENT`] bytes
//! below that. So each cached stack holds a few pages of memory. A stack that cannot be decommitted (its memory is
//! locked) is not cached. One stack at a time, of at most [`MAX_HOT_SIZE`] bytes, is exempt: the *hot* stack, so that
//! threads that are started one after the other make no system call for it.
//!
//! *Stacks of the parent.* In a child of fork, the stacks of the parent's other threads are free. The fork does not
//! visit them. Instead, each start that finds no cached stack, and each release of a stack, scans some records for
//! them. They were not trimmed: if no thread reuses them, they are unmapped, up to two with each release.
//!
//! # State of a record (`Stack`)
//!
//! | state | `in_use` | `memory` | list |
//! |---|---|---|---|
//! | free record | false | 0 | `StackCache::free_records` |
//! | in use, on this library's stack | true | its address | none |
//! | in use, on pthread's stack, or not mapped yet | true | 0 | none |
//! | cached | false | its address | `StackCache::cached` |
//! | being unmapped | false | its address, then 0 | none |
//!
//! `in_use` and the lists are protected by the mutex of the cache. `memory` is stored by `allocate` with release and by
//! `unmap`, and read with acquire by any thread. Records are never unmapped.
//!
//! `HOT_STACK` is NULL, or the hot stack. An exiting thread changes it from NULL to its own stack (compare-exchange,
//! acquire and release, without the mutex); it becomes NULL under the mutex, when the stack leaves the cache,
//! or in a child of fork that does not have the thread.
//!
//! The file exceeds 400 lines because a fork may interrupt any change of the records, the cache and the mappings: each
//! change keeps all three in a state that the child can use.

use crate::sys::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use core::cell::Cell;
use core::ffi::c_void;
use core::ptr;

use crate::error::{Error, Result};
use crate::sync::fork_epoch::fork_epoch;
use crate::sync::fork_lock::ForkLock;
use crate::sync::list::{Linked, Links, List};
use crate::sync::mutex::{ForkReset, InternalMutex};
use crate::sync::padded::Padded;
use crate::sync::record_pool::{Record, RecordPool, Records};
use crate::sys;
use crate::sys::annotate;
use crate::sys::exec_stack;
use crate::sys::pthread;
use crate::sys::pthread::StackSpec;
use crate::thread::stack_count;

/// How much of its stack a thread leaves resident below its last frame, as glibc does.
const KEEP_RESIDENT: usize = 16 * 1024;
/// The largest stack that can be the hot one.
const MAX_HOT_SIZE: usize = 8 << 20;

/// The record of a stack, and of the OS thread that runs on it.
#[repr(C, align(64))]
pub(crate) struct Stack {
    /// Written by `pthread::start`, or by the thread itself at its beginning.
    pub(crate) thread: Cell<libc::pthread_t>,
    /// The lowest address of the mapping, which begins with the guard page; 0 if pthread allocated the stack.
    memory: AtomicUsize,
    /// Without the guard page.
    size: Cell<usize>,
    /// The identifier of the thread for which the thread on this stack waits without a timeout: `thread::join`.
    pub(crate) join_target: AtomicU64,
    /// The links of the cache, or of `free_records`.
    links: Links<Stack>,
    /// The size of the guard page.
    guard_size: Cell<u32>,
    is_executable: Cell<bool>,
    /// A thread runs on the stack, or a caller is about to start one.
    in_use: Cell<bool>,
    /// The pages that its thread used are decommitted.
    trimmed: AtomicBool,
    /// The program has detached the thread, which ran on a stack of pthread's. Written by the thread at its end, and
    /// read after it.
    detached: Cell<bool>,
    /// The thread has begun its last destructor, or cannot tell. Written by the thread, and read after its end.
    exits: Cell<bool>,
    /// The fork epoch in which the stack was allocated to its thread.
    epoch: Cell<u32>,
}

const _: () = assert!(size_of::<Stack>() == 64);

impl Linked for Stack {
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

// SAFETY: a cell is accessed by the caller or the thread to which the stack is allocated, or under the mutex of the
// cache.
unsafe impl Sync for Stack {}

// SAFETY: zeros are a free record; the rest is as above.
unsafe impl Record for Stack {}

/// The hot stack, or NULL.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static HOT_STACK: Padded<AtomicPtr<Stack>> = Padded::new(AtomicPtr::new(ptr::null_mut()));

/// The chunks of records.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static CHUNKS: AtomicPtr<Stack> = AtomicPtr::new(ptr::null_mut());

/// The cache, and all records.
struct StackCache {
    /// The cached stacks, the most recently used one first.
    cached: List<Stack>,
    /// The records without a stack.
    free_records: RecordPool<Stack>,
    /// In a child of fork, the records that have still to be scanned for stacks of the parent's threads.
    unscanned: Records<Stack>,
    /// Addresses on the stack of the thread that forked, which is not free.
    forking_thread_addresses: [usize; 2],
}

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static STACK_CACHE: Padded<InternalMutex<StackCache>> = Padded::new(InternalMutex::new(StackCache::new()));

/// Unmaps a few cached stacks, as long as there are too many.
pub(crate) fn unmap_excess() {
    const UNMAPS_PER_CALL: usize = 4;
    for _ in 0..UNMAPS_PER_CALL {
        let excess = if stack_count::exceeds_limit() { STACK_CACHE.lock().pop_last() } else { None };
        let Some(stack) = excess else { return };
        unmap(stack);
    }
}

// SAFETY: records can be used by any thread, and are never unmapped.
unsafe impl Send for StackCache {}

impl ForkReset for StackCache {
    fn reset_in_child(&mut self) {
        // The fork may have interrupted a change of the list. The child loses the cached stacks.
        *self = StackCache::new();
        stack_count::clear_cached();
        HOT_STACK.store(ptr::null_mut(), Ordering::Relaxed);
    }
}

/// Returns a stack for a new thread. A size of 0 is the system's default.
pub(crate) fn allocate(size: usize) -> Result<&'static Stack> {
    let (size, guard_size) = pthread::stack_layout(size)?;
    let size = size.saturating_add(annotate::tool_stack_size());
    let executable = exec_stack_required();
    let guard_size = u32::try_from(guard_size).map_err(|_| Error::NoThread)?;
    let is_ours = pthread::KERNEL_REPORTS_EXIT && !annotate::is_active();
    let mut stacks = STACK_CACHE.lock();
    let mut cached = if is_ours { stacks.find(size, guard_size, executable) } else { None };
    if cached.is_none() && is_ours && stacks.reclaim_parent_stacks(RECORDS_PER_ALLOCATE) {
        cached = stacks.find(size, guard_size, executable);
    }
    if let Some(stack) = cached {
        stacks.remove(stack);
        stack.mark_in_use();
        stack_count::add_in_use(stack.size());
        return Ok(stack);
    }
    let stack = stacks.free_records.allocate(&CHUNKS).ok_or(Error::NoThread)?;
    stack.mark_in_use();
    drop(stacks);
    stack.size.set(size);
    stack.guard_size.set(guard_size);
    stack.is_executable.set(executable);
    if !pthread::KERNEL_REPORTS_EXIT {
        stack.detached.set(false);
    }
    if is_ours {
        let memory = map(size, guard_size as usize, executable).or_else(|| {
            unmap_all();
            map(size, guard_size as usize, executable)
        });
        match memory {
            // The mapping is complete. After a fork before this store, the child leaks the mapping; after a later fork,
            // it can use the mapping.
            Some(memory) => {
                stack.memory.store(memory, Ordering::Release);
                let _stacks = STACK_CACHE.lock();
                stack_count::add_in_use(stack.size());
            }
            None => {
                deallocate(stack);
                return Err(Error::NoThread);
            }
        }
    }
    Ok(stack)
}

/// Releases a stack whose OS thread is gone, or could not be created.
pub(crate) fn deallocate(stack: &'static Stack) {
    let is_ours = stack.memory() != 0;
    let keep = is_ours && (stack.is_trimmed() || stack.is_hot() || stack.trim_all_but(KEEP_RESIDENT));
    let mut stacks = STACK_CACHE.lock();
    stack.in_use.set(false);
    if is_ours {
        stack_count::remove_in_use(stack.size());
    }
    stacks.reclaim_parent_stacks(RECORDS_PER_DEALLOCATE);
    if keep {
        stacks.push_front(stack);
    } else if !is_ours {
        stacks.free_records.release(stack);
    }
    let excess = [stacks.pop_excess(), stacks.pop_excess()];
    drop(stacks);
    excess.into_iter().flatten().for_each(unmap);
    if is_ours && !keep {
        unmap(stack);
    }
}

impl Stack {
    /// Allocates the stack, or a record without one, to a new thread. The caller holds the mutex of the cache.
    fn mark_in_use(&self) {
        self.in_use.set(true);
        self.join_target.store(0, Ordering::Relaxed);
        self.epoch.set(fork_epoch());
        self.trimmed.store(false, Ordering::Relaxed);
        self.exits.set(false);
    }

    fn memory(&self) -> usize {
        self.memory.load(Ordering::Acquire)
    }

    fn is_trimmed(&self) -> bool {
        self.trimmed.load(Ordering::Acquire)
    }

    /// Returns the lowest address above the guard page; `None` if pthread is to allocate a stack of this size.
    pub(crate) fn base(&self) -> Option<usize> {
        let memory = self.memory();
        (memory != 0).then(|| memory + self.guard_size())
    }

    pub(crate) fn size(&self) -> usize {
        self.size.get()
    }

    pub(crate) fn spec(&self) -> StackSpec {
        StackSpec { base: self.base(), size: self.size() }
    }

    /// Returns the size that a zombie's stack adds to those of the cache. pthread's stacks are never cached, but a
    /// zombie has its stack until it is joined; 0 under a race detector, where zombies are not joined for their stacks.
    pub(crate) fn zombie_size(&self) -> usize {
        let is_counted = self.memory() != 0 || !pthread::KERNEL_REPORTS_EXIT && !annotate::is_active();
        if is_counted { self.size() } else { 0 }
    }

    /// Called by the thread at its end, on a stack of pthread's.
    pub(crate) fn note_whether_detached(&self) {
        if !pthread::KERNEL_REPORTS_EXIT {
            self.detached.set(pthread::is_detached());
        }
    }

    /// Called by the thread at its end, or earlier if it has no exit hook.
    pub(crate) fn note_exit(&self) {
        self.exits.set(true);
    }

    /// Returns whether libc still has the thread, which has ended, in its lists, and with it the memory of the stack: the
    /// system has ended it, as a seccomp filter does, or it has called the system directly.
    pub(crate) fn is_left_to_libc(&self) -> bool {
        self.memory() != 0 && !self.exits.get()
    }

    /// Returns whether the program has detached the thread, which has ended.
    pub(crate) fn is_detached(&self) -> bool {
        !pthread::KERNEL_REPORTS_EXIT && self.detached.get()
    }

    fn guard_size(&self) -> usize {
        self.guard_size.get() as usize
    }

    fn matches(&self, size: usize, guard_size: u32, executable: bool) -> bool {
        self.size() == size && self.guard_size.get() == guard_size && self.is_executable.get() == executable
    }

    fn contains(&self, address: usize) -> bool {
        self.base().is_some_and(|lowest| (lowest..lowest + self.size()).contains(&address))
    }

    fn is_hot(&self) -> bool {
        ptr::eq(HOT_STACK.load(Ordering::Acquire), self)
    }

    fn try_become_hot(&self) -> bool {
        let this = ptr::from_ref(self).cast_mut();
        HOT_STACK.load(Ordering::Relaxed).is_null()
            && HOT_STACK.compare_exchange(ptr::null_mut(), this, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Called by the thread on this stack at its end: decommits the part that it used, unless the stack is the hot one.
    pub(crate) fn trim(&self) {
        let Some(lowest) = self.base() else { return };
        if self.size() <= MAX_HOT_SIZE && self.try_become_hot() {
            return;
        }
        let here = current_stack_address();
        // A thread that runs on a stack of the program's instead does not know which part of this one is in use.
        if self.contains(here) {
            self.trim_all_but(lowest + self.size() - here + KEEP_RESIDENT);
        }
    }

    /// Decommits all but the uppermost `keep` bytes. Returns false if the system call fails.
    fn trim_all_but(&self, keep: usize) -> bool {
        let lowest = self.memory() + self.guard_size();
        let unused = self.size().saturating_sub(keep) / self.guard_size() * self.guard_size();
        // SAFETY: the range is the lowest part of the stack, below the frames of its thread if that still runs.
        let trimmed =
            unused == 0 || unsafe { sys::madvise(lowest as *mut c_void, unused, libc::MADV_DONTNEED) } == 0;
        self.trimmed.store(trimmed, Ordering::Release);
        trimmed
    }
}

impl StackCache {
    const fn new() -> Self {
        StackCache {
            cached: List::new(),
            free_records: RecordPool::EMPTY,
            unscanned: Records::NONE,
            forking_thread_addresses: [0; 2],
        }
    }

    /// In a child of fork: scans up to `max_records` further records for stacks of the parent's threads, and puts them
    /// into the cache. Returns true if it found one.
    fn reclaim_parent_stacks(&mut self, max_records: usize) -> bool {
        let mut found = false;
        for _ in 0..max_records {
            let Some(stack) = self.unscanned.next() else { break };
            if !stack.in_use.get()
                || stack.epoch.get() == fork_epoch()
                || self.forking_thread_addresses.iter().any(|&address| stack.contains(address))
            {
                continue;
            }
            stack.in_use.set(false);
            if stack.memory() == 0 {
                self.free_records.release(stack);
            } else {
                stack.trimmed.store(false, Ordering::Relaxed);
                self.push_back(stack);
            }
            found = true;
        }
        found
    }

    fn find(&self, size: usize, guard_size: u32, executable: bool) -> Option<&'static Stack> {
        // SAFETY: records are never unmapped.
        let hot = unsafe { HOT_STACK.load(Ordering::Acquire).as_ref() };
        let fits = |hot: &&Stack| !hot.in_use.get() && hot.matches(size, guard_size, executable);
        if let Some(hot) = hot.filter(fits) {
            return Some(hot);
        }
        self.cached.iter().find(|stack| stack.matches(size, guard_size, executable))
    }

    fn push_front(&mut self, stack: &'static Stack) {
        self.cached.push_front(stack);
        stack_count::add_cached(stack.size());
    }

    fn push_back(&mut self, stack: &'static Stack) {
        self.cached.push_back(stack);
        stack_count::add_cached(stack.size());
    }

    fn remove(&mut self, stack: &'static Stack) {
        if stack.is_hot() {
            HOT_STACK.store(ptr::null_mut(), Ordering::Release);
        }
        self.cached.remove(stack);
        stack_count::remove_cached(stack.size());
    }

    /// Removes and returns the least recently used stack if it should not be cached any longer: because of the limits,
    /// or because it is neither trimmed nor hot.
    fn pop_excess(&mut self) -> Option<&'static Stack> {
        let last = self.cached.last()?;
        let is_within_limits = stack_count::is_cache_within_limits();
        if is_within_limits && (last.is_trimmed() || last.is_hot()) && !stack_count::exceeds_limit() {
            return None;
        }
        self.pop_last()
    }

    fn pop_last(&mut self) -> Option<&'static Stack> {
        let last = self.cached.last()?;
        self.remove(last);
        Some(last)
    }
}

/// Returns an address in the caller's frame.
#[inline(never)]
fn current_stack_address() -> usize {
    let here = 0_u8;
    core::hint::black_box(&raw const here) as usize
}

/// How many records `allocate` and `deallocate` scan in a child of fork.
const RECORDS_PER_ALLOCATE: usize = 256;
const RECORDS_PER_DEALLOCATE: usize = 8;

fn map(size: usize, guard_size: usize, executable: bool) -> Option<usize> {
    stack_count::refresh_limits(size);
    let length = size.checked_add(guard_size)?;
    // SAFETY: maps new memory at an address that the kernel chooses, and makes all but the guard page accessible.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | pthread::MAP_STACK;
        let memory = sys::mmap(ptr::null_mut(), length, libc::PROT_NONE, flags, -1, 0);
        if memory == libc::MAP_FAILED {
            return None;
        }
        let execute = if executable { libc::PROT_EXEC } else { 0 };
        let protection = libc::PROT_READ | libc::PROT_WRITE | execute;
        if sys::mprotect(memory.byte_add(guard_size), size, protection) != 0 {
            sys::munmap(memory, length);
            return None;
        }
        Some(memory as usize)
    }
}

/// Unmaps a stack that is in no list. If a fork comes before its record is free, the child leaks the record.
fn unmap(stack: &'static Stack) {
    // SAFETY: no thread uses the stack, and the range is its whole mapping.
    unsafe { sys::munmap(stack.memory() as *mut c_void, stack.guard_size() + stack.size()) };
    stack.memory.store(0, Ordering::Relaxed);
    STACK_CACHE.lock().free_records.release(stack);
}

fn unmap_all() {
    loop {
        let last = STACK_CACHE.lock().pop_last();
        let Some(last) = last else { return };
        unmap(last);
    }
}

/// Returns whether stacks must be executable, after a scan of newly loaded objects. A child of fork uses the parent's
/// last result, since a thread that exists only in the parent may hold the loader's lock.
pub(crate) fn exec_stack_required() -> bool {
    if fork_epoch() == 0 {
        exec_stack::scan();
    }
    exec_stack::is_required()
}

/// Returns the mutex, which is locked across a fork.
pub(crate) fn fork_lock() -> &'static impl ForkLock {
    &*STACK_CACHE
}

/// In a child of fork: starts the scan for stacks of the parent's threads.
pub(crate) fn after_fork_in_child() {
    let mut stacks = STACK_CACHE.lock();
    // pthread's descriptor of the thread is on its stack, even if the thread now runs on a stack of the program's.
    // SAFETY: has no preconditions.
    stacks.forking_thread_addresses = [current_stack_address(), unsafe { libc::pthread_self() } as usize];
    stacks.unscanned = Records::of(&CHUNKS);
    stack_count::after_fork_in_child();
    // SAFETY: records are never unmapped.
    if unsafe { HOT_STACK.load(Ordering::Relaxed).as_ref() }.is_some_and(|hot| hot.in_use.get()) {
        HOT_STACK.store(ptr::null_mut(), Ordering::Relaxed);
    }
}
