//! The stacks on which threads run, kept for the next ones.
//!
//! To map a stack, protect its guard page, fill its first pages and undo all that costs more than the thread
//! itself. Pthread keeps 40 MB of stacks, which is five of the usual size; here more of them are kept:
//!
//! - A thread's stack is as large as was asked for, above a guard page of its own. Only a stack of the same
//!   size serves another thread, the one that was used last first.
//! - A stack is kept when its thread has been joined, not before: until the kernel says that the thread is
//!   gone, it may still run there.
//! - Each thread gives back at its end what it has used of its stack, but for [`KEEP_RESIDENT`] below its last frame.
//!   Where the system refuses that (memory is locked), the stack is not kept. One stack at a time, of at most
//!   [`MAX_HOT_SIZE`] bytes, is kept as it is, so that threads started one after the other make no calls for that.
//! - At most `MAX_CACHED` stacks and `MAX_CACHED_BYTES` of addresses are kept, or `MAX_CACHED_BYTES_SCARCE` where addresses are
//!   limited or counted; what is beyond that is unmapped, the one that was used longest ago first. So what a
//!   burst of threads leaves in memory is a few pages for each of so many stacks. The stacks of threads that have
//!   ended, and which no call has reclaimed yet, count among them.
//! - StackCache that are kept make room for a new one where there is none.
//! - Where the process's stacks must be executable, these are, and those that are not serve no new thread.
//! - Static thread-local storage lies on each thread's stack. Where there is much of it, a stack is larger by that
//!   than was asked for (`pthread::stack_layout`).
//! - Pthread finds the stacks itself in a process that a race detector watches, to which each thread's stack is new
//!   memory.
//!
//! In a child of fork, the stacks of the parent's other threads are free. The child does not visit them when it
//! begins: each start of a thread that finds no stack, and each end of one, finds a few of them by their records. What
//! they have in memory was not released: they are unmapped, two with each thread that is joined, unless threads use
//! them before.

use crate::sys::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use core::cell::Cell;
use core::ffi::c_void;
use core::ptr;

use crate::error::{Error, Result};
use crate::sync::fork_epoch::fork_epoch;
use crate::sync::mutex::{ForkReset, InternalMutex};
use crate::sys;
use crate::sys::annotate;
use crate::sys::exec_stack;
use crate::sys::pthread;
use crate::sys::pthread::StackSpec;
use crate::thread::stack_count;

/// What a thread leaves of its stack below its last frame, as pthread does.
const KEEP_RESIDENT: usize = 16 * 1024;
/// The largest stack that may be kept as its thread leaves it.
const MAX_HOT_SIZE: usize = 8 << 20;

/// A stack, and the system's thread that runs on it.
#[repr(C, align(64))]
pub(crate) struct Stack {
    /// Written by `pthread::start`.
    pub(crate) thread: Cell<libc::pthread_t>,
    /// Where its memory begins, with the guard; 0 if it is pthread's.
    memory: AtomicUsize,
    /// Without the guard.
    size: Cell<usize>,
    /// The `Thread` for whose end the thread on this stack waits without a limit. `thread::join`.
    pub(crate) join_target: AtomicPtr<c_void>,
    /// Its neighbours among those that are kept, or the next of the free_records.
    next: Cell<*const Stack>,
    previous: Cell<*const Stack>,
    /// The size of the guard.
    guard_size: Cell<u32>,
    is_executable: Cell<bool>,
    /// A thread has it, or will have it.
    in_use: Cell<bool>,
    /// What its thread has used is given back.
    trimmed: AtomicBool,
    /// The fork that led to the process in which it was taken.
    epoch: Cell<u32>,
}

const _: () = assert!(size_of::<Stack>() == 64);

// SAFETY: the cells belong to whoever has taken the stack, or are used under the guard of all stacks.
unsafe impl Sync for Stack {}

/// The stack that is, or will be, kept as its thread leaves it. Taken by a thread at its end; given up under
/// the guard of all stacks, when the stack is not kept any longer.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static HOT_STACK: AtomicPtr<Stack> = AtomicPtr::new(ptr::null_mut());

/// All stacks.
struct StackCache {
    /// Those that are kept: the one used last first.
    first: *const Stack,
    last: *const Stack,
    /// Records without a stack.
    free_records: *const Stack,
    /// Where the records lie: the first of each chunk is the link to the next chunk.
    chunks: *const Stack,
    /// In a child of fork, the chunk in which stacks that were left behind are looked for, and how many of its records
    /// have been looked at.
    scan_chunk: *const Stack,
    scan_index: usize,
    /// Addresses on the stack of the thread that forked.
    forking_thread_addresses: [usize; 2],
}

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static STACK_CACHE: InternalMutex<StackCache> = InternalMutex::new(StackCache::EMPTY);

/// Unmaps some of the stacks that are kept, if they are too many.
pub(crate) fn unmap_excess() {
    const UNMAPS_PER_CALL: usize = 4;
    for _ in 0..UNMAPS_PER_CALL {
        let excess = if stack_count::exceeds_limit() { STACK_CACHE.lock().pop_last() } else { None };
        let Some(stack) = excess else { return };
        unmap(stack);
    }
}

// SAFETY: the records are valid for ever.
unsafe impl Send for StackCache {}

impl ForkReset for StackCache {
    fn reset_in_child(&mut self) {
        // The stacks that were kept are lost to the child.
        *self = StackCache { chunks: self.chunks, ..StackCache::EMPTY };
        stack_count::keep_none();
        HOT_STACK.store(ptr::null_mut(), Ordering::Relaxed);
    }
}

/// A stack for a new thread. A size of 0 is the system's default.
pub(crate) fn allocate(size: usize) -> Result<&'static Stack> {
    let (size, guard) = pthread::stack_layout(size)?;
    let size = size.saturating_add(annotate::tool_stack_size());
    let executable = exec_stack_required();
    let guard = u32::try_from(guard).map_err(|_| Error::NoThread)?;
    let is_ours = !annotate::is_active();
    let mut stacks = STACK_CACHE.lock();
    let mut cached = if is_ours { stacks.find(size, guard, executable) } else { None };
    if cached.is_none() && is_ours && stacks.reclaim_parent_stacks(RECORDS_PER_CHUNK) {
        cached = stacks.find(size, guard, executable);
    }
    if let Some(stack) = cached {
        stacks.remove(stack);
        stack.in_use.set(true);
        stack.join_target.store(ptr::null_mut(), Ordering::Relaxed);
        stack.epoch.set(fork_epoch());
        stack.trimmed.store(false, Ordering::Relaxed);
        stack_count::taken(stack.size());
        return Ok(stack);
    }
    let stack = stacks.alloc_record()?;
    stack.in_use.set(true);
    stack.join_target.store(ptr::null_mut(), Ordering::Relaxed);
    stack.epoch.set(fork_epoch());
    drop(stacks);
    stack.size.set(size);
    stack.guard_size.set(guard);
    stack.is_executable.set(executable);
    if is_ours {
        let memory = map(size, guard as usize, executable).or_else(|| {
            unmap_all();
            map(size, guard as usize, executable)
        });
        match memory {
            // A fork at this moment finds a record with all its memory or with none.
            Some(memory) => {
                stack.memory.store(memory, Ordering::Release);
                let _stacks = STACK_CACHE.lock();
                stack_count::taken(stack.size());
            }
            None => {
                deallocate(stack);
                return Err(Error::NoThread);
            }
        }
    }
    Ok(stack)
}

/// The stack's thread is gone, or there was none.
pub(crate) fn deallocate(stack: &'static Stack) {
    let is_ours = stack.memory() != 0;
    let keep = is_ours && (stack.is_trimmed() || stack.is_hot() || stack.trim_all_but(KEEP_RESIDENT));
    let mut stacks = STACK_CACHE.lock();
    stack.in_use.set(false);
    if is_ours {
        stack_count::given_back(stack.size());
    }
    stacks.reclaim_parent_stacks(RECORDS_PER_DEALLOCATE);
    if keep {
        stacks.push_front(stack);
    } else if !is_ours {
        stacks.free_record(stack);
    }
    let excess = [stacks.pop_excess(), stacks.pop_excess()];
    drop(stacks);
    excess.into_iter().flatten().for_each(unmap);
    if is_ours && !keep {
        unmap(stack);
    }
}

impl Stack {
    fn memory(&self) -> usize {
        self.memory.load(Ordering::Acquire)
    }

    fn is_trimmed(&self) -> bool {
        self.trimmed.load(Ordering::Acquire)
    }

    /// Its lowest address; `None` if pthread is to find a stack of this size.
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

    /// Its size, if it is one that is kept when its thread has ended; 0 if it is pthread's.
    pub(crate) fn cacheable_size(&self) -> usize {
        if self.memory() == 0 { 0 } else { self.size() }
    }

    fn guard_size(&self) -> usize {
        self.guard_size.get() as usize
    }

    fn matches(&self, size: usize, guard: u32, executable: bool) -> bool {
        self.size() == size && self.guard_size.get() == guard && self.is_executable.get() == executable
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

    /// By its thread, which is about to end: gives back what it has used.
    pub(crate) fn trim(&self) {
        let Some(lowest) = self.base() else { return };
        if self.size() <= MAX_HOT_SIZE && self.try_become_hot() {
            return;
        }
        let here = current_stack_address();
        // A thread that has gone over to a stack of the user's does not know what is free on this one.
        if self.contains(here) {
            self.trim_all_but(lowest + self.size() - here + KEEP_RESIDENT);
        }
    }

    /// Gives back all memory but so much at the top. False if the system refuses.
    fn trim_all_but(&self, top: usize) -> bool {
        let lowest = self.memory() + self.guard_size();
        let unused = self.size().saturating_sub(top) / self.guard_size() * self.guard_size();
        // SAFETY: the lowest pages of a stack, which nobody uses: its thread's frames are above.
        let trimmed =
            unused == 0 || unsafe { sys::madvise(lowest as *mut c_void, unused, libc::MADV_DONTNEED) } == 0;
        self.trimmed.store(trimmed, Ordering::Release);
        trimmed
    }
}

impl StackCache {
    const EMPTY: Self = StackCache {
        first: ptr::null(),
        last: ptr::null(),
        free_records: ptr::null(),
        chunks: ptr::null(),
        scan_chunk: ptr::null(),
        scan_index: 0,
        forking_thread_addresses: [0; 2],
    };

    /// In a child of fork: looks at the next records, so many at most, and keeps the stacks of threads that were left
    /// behind. True if there was one.
    fn reclaim_parent_stacks(&mut self, max_records: usize) -> bool {
        let mut found = false;
        for _ in 0..max_records {
            // SAFETY: records are valid for ever, here and below.
            let Some(chunk) = (unsafe { self.scan_chunk.as_ref() }) else { break };
            self.scan_index += 1;
            if self.scan_index == RECORDS_PER_CHUNK {
                self.scan_chunk = chunk.next.get();
                self.scan_index = 0;
                continue;
            }
            // SAFETY: inside of the chunk.
            let stack: &'static Stack = unsafe { &*self.scan_chunk.add(self.scan_index) };
            if !stack.in_use.get()
                || stack.epoch.get() == fork_epoch()
                || self.forking_thread_addresses.iter().any(|&address| stack.contains(address))
            {
                continue;
            }
            stack.in_use.set(false);
            if stack.memory() == 0 {
                self.free_record(stack);
            } else {
                stack.trimmed.store(false, Ordering::Relaxed);
                self.push_back(stack);
            }
            found = true;
        }
        found
    }

    fn find(&self, size: usize, guard: u32, executable: bool) -> Option<&'static Stack> {
        // SAFETY: records are valid for ever, here and below.
        if let Some(hot) = unsafe { HOT_STACK.load(Ordering::Acquire).as_ref() }
            && !hot.in_use.get()
            && hot.matches(size, guard, executable)
        {
            return Some(hot);
        }
        let mut at = self.first;
        // SAFETY: as above.
        while let Some(stack) = unsafe { at.as_ref() } {
            if stack.matches(size, guard, executable) {
                return Some(stack);
            }
            at = stack.next.get();
        }
        None
    }

    fn push_front(&mut self, stack: &'static Stack) {
        stack.previous.set(ptr::null());
        stack.next.set(self.first);
        // SAFETY: as above.
        match unsafe { self.first.as_ref() } {
            Some(first) => first.previous.set(stack),
            None => self.last = stack,
        }
        self.first = stack;
        stack_count::kept(stack.size());
    }

    fn push_back(&mut self, stack: &'static Stack) {
        stack.next.set(ptr::null());
        stack.previous.set(self.last);
        // SAFETY: as above.
        match unsafe { self.last.as_ref() } {
            Some(last) => last.next.set(stack),
            None => self.first = stack,
        }
        self.last = stack;
        stack_count::kept(stack.size());
    }

    fn remove(&mut self, stack: &'static Stack) {
        if stack.is_hot() {
            HOT_STACK.store(ptr::null_mut(), Ordering::Release);
        }
        let (previous, next) = (stack.previous.get(), stack.next.get());
        // SAFETY: as above.
        unsafe {
            match previous.as_ref() {
                Some(previous) => previous.next.set(next),
                None => self.first = next,
            }
            match next.as_ref() {
                Some(next) => next.previous.set(previous),
                None => self.last = previous,
            }
        }
        stack_count::no_longer_kept(stack.size());
    }

    /// One that is not to be kept any longer.
    fn pop_excess(&mut self) -> Option<&'static Stack> {
        // SAFETY: as above.
        let last = unsafe { self.last.as_ref() }?;
        let are_few = stack_count::are_few();
        if are_few && (last.is_trimmed() || last.is_hot()) && !stack_count::exceeds_limit() {
            return None;
        }
        self.pop_last()
    }

    fn pop_last(&mut self) -> Option<&'static Stack> {
        // SAFETY: as above.
        let last = unsafe { self.last.as_ref() }?;
        self.remove(last);
        Some(last)
    }

    /// A record without a stack.
    fn alloc_record(&mut self) -> Result<&'static Stack> {
        if self.free_records.is_null() {
            self.grow()?;
        }
        // SAFETY: as above.
        let record = unsafe { &*self.free_records };
        self.free_records = record.next.get();
        Ok(record)
    }

    fn free_record(&mut self, stack: &'static Stack) {
        stack.next.set(self.free_records);
        self.free_records = stack;
    }

    fn grow(&mut self) -> Result<()> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: asks for new memory, wherever there is some.
        let chunk = unsafe {
            sys::mmap(ptr::null_mut(), CHUNK_SIZE, protection, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
        };
        if chunk == libc::MAP_FAILED {
            return Err(Error::NoThread);
        }
        annotate::mark_untracked(chunk, CHUNK_SIZE);
        for index in (0..RECORDS_PER_CHUNK).rev() {
            // SAFETY: inside of the chunk and aligned; zero is a valid record, which no thread has.
            let record: &'static Stack = unsafe { &*chunk.cast::<Stack>().add(index) };
            if index == 0 {
                record.next.set(self.chunks);
                self.chunks = record;
            } else {
                self.free_record(record);
            }
        }
        Ok(())
    }
}

/// An address on the stack on which the caller runs.
#[inline(never)]
fn current_stack_address() -> usize {
    let here = 0_u8;
    core::hint::black_box(&raw const here) as usize
}

const CHUNK_SIZE: usize = 16 * 1024;
const RECORDS_PER_CHUNK: usize = CHUNK_SIZE / size_of::<Stack>();
/// How many records are checked in a child of fork when a thread is joined.
const RECORDS_PER_DEALLOCATE: usize = 8;

fn map(size: usize, guard: usize, executable: bool) -> Option<usize> {
    stack_count::refresh_limits();
    let length = size.checked_add(guard)?;
    // SAFETY: asks for new memory, wherever there is some, and makes all of it but the guard accessible.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
        let memory = sys::mmap(ptr::null_mut(), length, libc::PROT_NONE, flags, -1, 0);
        if memory == libc::MAP_FAILED {
            return None;
        }
        let execute = if executable { libc::PROT_EXEC } else { 0 };
        let protection = libc::PROT_READ | libc::PROT_WRITE | execute;
        if sys::mprotect(memory.byte_add(guard), size, protection) != 0 {
            sys::munmap(memory, length);
            return None;
        }
        Some(memory as usize)
    }
}

/// Unmaps a stack that nobody finds any more. A fork at this moment loses it to the child.
fn unmap(stack: &'static Stack) {
    // SAFETY: the stack's own memory, and nobody uses it.
    unsafe { sys::munmap(stack.memory() as *mut c_void, stack.guard_size() + stack.size()) };
    stack.memory.store(0, Ordering::Relaxed);
    STACK_CACHE.lock().free_record(stack);
}

fn unmap_all() {
    loop {
        let last = STACK_CACHE.lock().pop_last();
        let Some(last) = last else { return };
        unmap(last);
    }
}

/// Whether the process's stacks must be executable. In a child of fork the parent's last answer holds, since a thread
/// that is not there may hold the loader's lock.
pub(crate) fn exec_stack_required() -> bool {
    if fork_epoch() == 0 {
        exec_stack::scan();
    }
    exec_stack::is_required()
}

/// Holds the stacks across a fork.
pub(crate) fn lock_for_fork() {
    STACK_CACHE.lock_for_fork();
}

/// Gives back what `hold` took.
///
/// # Safety
/// As for `InternalMutex::let_go`.
pub(crate) unsafe fn unlock_after_fork() {
    // SAFETY: the caller's promise.
    unsafe { STACK_CACHE.unlock_after_fork() };
}

/// As `let_go`, in a child of fork.
///
/// # Safety
/// As for `InternalMutex::reinit_in_child`.
pub(crate) unsafe fn reinit_in_child() {
    // SAFETY: the caller's promise.
    unsafe { STACK_CACHE.reinit_in_child() };
}

/// In a child of fork: no thread runs on the stacks but the one that forked.
pub(crate) fn after_fork_in_child() {
    let mut stacks = STACK_CACHE.lock();
    // What pthread knows of the thread lies on its stack, also while it runs on one of the user's.
    // SAFETY: asks only.
    stacks.forking_thread_addresses = [current_stack_address(), unsafe { libc::pthread_self() } as usize];
    stacks.scan_chunk = stacks.chunks;
    stacks.scan_index = 0;
    stack_count::after_fork_in_child();
    // SAFETY: records are valid for ever.
    if unsafe { HOT_STACK.load(Ordering::Relaxed).as_ref() }.is_some_and(|hot| hot.in_use.get()) {
        HOT_STACK.store(ptr::null_mut(), Ordering::Relaxed);
    }
}
