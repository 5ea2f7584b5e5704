//! The stacks on which threads run, kept for the next ones.
//!
//! To map a stack, protect its guard page, fill its first pages and undo all that costs more than the thread
//! itself. Pthread keeps 40 MB of stacks, which is five of the usual size; here more of them are kept:
//!
//! - A thread's stack is as large as was asked for, above a guard page of its own. Only a stack of the same
//!   size serves another thread, the one that was used last first.
//! - A stack is kept when its thread has been joined, not before: until the kernel says that the thread is
//!   gone, it may still run there.
//! - Each thread gives back at its end what it has used of its stack, but for [`TOP`] below its last frame.
//!   Where the system refuses that (memory is locked), the stack is not kept. One stack at a time, of at most
//!   [`WARM`] bytes, is kept as it is, so that threads started one after the other make no calls for that.
//! - At most `MOST` stacks and `MOST_BYTES` of addresses are kept, or `FEW_BYTES` where addresses are
//!   limited or counted; what is beyond that is unmapped, the one that was used longest ago first. So what a
//!   burst of threads leaves in memory is a few pages for each of so many stacks. The stacks of threads that have
//!   ended, and which no call has reclaimed yet, count among them.
//! - Stacks that are kept make room for a new one where there is none.
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
const TOP: usize = 16 * 1024;
/// The largest stack that may be kept as its thread leaves it.
const WARM: usize = 8 << 20;

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
    pub(crate) joins: AtomicPtr<c_void>,
    /// Its neighbours among those that are kept, or the next of the blanks.
    next: Cell<*const Stack>,
    previous: Cell<*const Stack>,
    /// The size of the guard.
    guard: Cell<u32>,
    is_executable: Cell<bool>,
    /// A thread has it, or will have it.
    taken: Cell<bool>,
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
static WARMEST: AtomicPtr<Stack> = AtomicPtr::new(ptr::null_mut());

/// All stacks.
struct Stacks {
    /// Those that are kept: the one used last first.
    first: *const Stack,
    last: *const Stack,
    /// Records without a stack.
    blanks: *const Stack,
    /// Where the records lie: the first of each chunk is the link to the next chunk.
    chunks: *const Stack,
    /// In a child of fork, the chunk in which stacks that were left behind are looked for, and how many of its records
    /// have been looked at.
    left_behind: *const Stack,
    looked_at: usize,
    /// Addresses on the stack of the thread that forked.
    forked: [usize; 2],
}

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static STACKS: InternalMutex<Stacks> = InternalMutex::new(Stacks::NONE);

/// Unmaps some of the stacks that are kept, if they are too many.
pub(crate) fn unmap_surplus() {
    const AT_ONCE: usize = 4;
    for _ in 0..AT_ONCE {
        let surplus = if stack_count::are_too_many() { STACKS.lock().pop_last() } else { None };
        let Some(stack) = surplus else { return };
        unmap(stack);
    }
}

// SAFETY: the records are valid for ever.
unsafe impl Send for Stacks {}

impl ForkReset for Stacks {
    fn reset_in_child(&mut self) {
        // The stacks that were kept are lost to the child.
        *self = Stacks { chunks: self.chunks, ..Stacks::NONE };
        stack_count::keep_none();
        WARMEST.store(ptr::null_mut(), Ordering::Relaxed);
    }
}

/// A stack for a new thread. A size of 0 is the system's default.
pub(crate) fn take(size: usize) -> Result<&'static Stack> {
    let (size, guard) = pthread::stack_layout(size)?;
    let size = size.saturating_add(annotate::tool_stack_size());
    let executable = are_executable();
    let guard = u32::try_from(guard).map_err(|_| Error::NoThread)?;
    let own = !annotate::is_active();
    let mut stacks = STACKS.lock();
    let mut kept = if own { stacks.find(size, guard, executable) } else { None };
    if kept.is_none() && own && stacks.find_left_behind(RECORDS) {
        kept = stacks.find(size, guard, executable);
    }
    if let Some(stack) = kept {
        stacks.remove(stack);
        stack.taken.set(true);
        stack.joins.store(ptr::null_mut(), Ordering::Relaxed);
        stack.epoch.set(fork_epoch());
        stack.trimmed.store(false, Ordering::Relaxed);
        stack_count::taken(stack.size());
        return Ok(stack);
    }
    let stack = stacks.blank()?;
    stack.taken.set(true);
    stack.joins.store(ptr::null_mut(), Ordering::Relaxed);
    stack.epoch.set(fork_epoch());
    drop(stacks);
    stack.size.set(size);
    stack.guard.set(guard);
    stack.is_executable.set(executable);
    if own {
        let memory = map(size, guard as usize, executable).or_else(|| {
            unmap_all();
            map(size, guard as usize, executable)
        });
        match memory {
            // A fork at this moment finds a record with all its memory or with none.
            Some(memory) => {
                stack.memory.store(memory, Ordering::Release);
                let _stacks = STACKS.lock();
                stack_count::taken(stack.size());
            }
            None => {
                give_back(stack);
                return Err(Error::NoThread);
            }
        }
    }
    Ok(stack)
}

/// The stack's thread is gone, or there was none.
pub(crate) fn give_back(stack: &'static Stack) {
    let own = stack.memory() != 0;
    let keep = own && (stack.is_trimmed() || stack.is_warmest() || stack.trim_all_but(TOP));
    let mut stacks = STACKS.lock();
    stack.taken.set(false);
    if own {
        stack_count::given_back(stack.size());
    }
    stacks.find_left_behind(FEW);
    if keep {
        stacks.push_front(stack);
    } else if !own {
        stacks.push_blank(stack);
    }
    let surplus = [stacks.surplus(), stacks.surplus()];
    drop(stacks);
    surplus.into_iter().flatten().for_each(unmap);
    if own && !keep {
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
    pub(crate) fn place(&self) -> Option<usize> {
        let memory = self.memory();
        (memory != 0).then(|| memory + self.guard())
    }

    pub(crate) fn size(&self) -> usize {
        self.size.get()
    }

    pub(crate) fn spec(&self) -> StackSpec {
        StackSpec { base: self.place(), size: self.size() }
    }

    /// Its size, if it is one that is kept when its thread has ended; 0 if it is pthread's.
    pub(crate) fn kept_size(&self) -> usize {
        if self.memory() == 0 { 0 } else { self.size() }
    }

    fn guard(&self) -> usize {
        self.guard.get() as usize
    }

    fn is_as(&self, size: usize, guard: u32, executable: bool) -> bool {
        self.size() == size && self.guard.get() == guard && self.is_executable.get() == executable
    }

    fn contains(&self, address: usize) -> bool {
        self.place().is_some_and(|lowest| (lowest..lowest + self.size()).contains(&address))
    }

    fn is_warmest(&self) -> bool {
        ptr::eq(WARMEST.load(Ordering::Acquire), self)
    }

    fn become_warmest(&self) -> bool {
        let this = ptr::from_ref(self).cast_mut();
        WARMEST.load(Ordering::Relaxed).is_null()
            && WARMEST.compare_exchange(ptr::null_mut(), this, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// By its thread, which is about to end: gives back what it has used.
    pub(crate) fn trim(&self) {
        let Some(lowest) = self.place() else { return };
        if self.size() <= WARM && self.become_warmest() {
            return;
        }
        let here = here();
        // A thread that has gone over to a stack of the user's does not know what is free on this one.
        if self.contains(here) {
            self.trim_all_but(lowest + self.size() - here + TOP);
        }
    }

    /// Gives back all memory but so much at the top. False if the system refuses.
    fn trim_all_but(&self, top: usize) -> bool {
        let lowest = self.memory() + self.guard();
        let unused = self.size().saturating_sub(top) / self.guard() * self.guard();
        // SAFETY: the lowest pages of a stack, which nobody uses: its thread's frames are above.
        let trimmed =
            unused == 0 || unsafe { sys::madvise(lowest as *mut c_void, unused, libc::MADV_DONTNEED) } == 0;
        self.trimmed.store(trimmed, Ordering::Release);
        trimmed
    }
}

impl Stacks {
    const NONE: Self = Stacks {
        first: ptr::null(),
        last: ptr::null(),
        blanks: ptr::null(),
        chunks: ptr::null(),
        left_behind: ptr::null(),
        looked_at: 0,
        forked: [0; 2],
    };

    /// In a child of fork: looks at the next records, so many at most, and keeps the stacks of threads that were left
    /// behind. True if there was one.
    fn find_left_behind(&mut self, looks: usize) -> bool {
        let mut found = false;
        for _ in 0..looks {
            // SAFETY: records are valid for ever, here and below.
            let Some(chunk) = (unsafe { self.left_behind.as_ref() }) else { break };
            self.looked_at += 1;
            if self.looked_at == RECORDS {
                self.left_behind = chunk.next.get();
                self.looked_at = 0;
                continue;
            }
            // SAFETY: inside of the chunk.
            let stack: &'static Stack = unsafe { &*self.left_behind.add(self.looked_at) };
            if !stack.taken.get()
                || stack.epoch.get() == fork_epoch()
                || self.forked.iter().any(|&address| stack.contains(address))
            {
                continue;
            }
            stack.taken.set(false);
            if stack.memory() == 0 {
                self.push_blank(stack);
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
        if let Some(warmest) = unsafe { WARMEST.load(Ordering::Acquire).as_ref() }
            && !warmest.taken.get()
            && warmest.is_as(size, guard, executable)
        {
            return Some(warmest);
        }
        let mut at = self.first;
        // SAFETY: as above.
        while let Some(stack) = unsafe { at.as_ref() } {
            if stack.is_as(size, guard, executable) {
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
        if stack.is_warmest() {
            WARMEST.store(ptr::null_mut(), Ordering::Release);
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
    fn surplus(&mut self) -> Option<&'static Stack> {
        // SAFETY: as above.
        let last = unsafe { self.last.as_ref() }?;
        let are_few = stack_count::are_few();
        if are_few && (last.is_trimmed() || last.is_warmest()) && !stack_count::are_too_many() {
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
    fn blank(&mut self) -> Result<&'static Stack> {
        if self.blanks.is_null() {
            self.grow()?;
        }
        // SAFETY: as above.
        let blank = unsafe { &*self.blanks };
        self.blanks = blank.next.get();
        Ok(blank)
    }

    fn push_blank(&mut self, stack: &'static Stack) {
        stack.next.set(self.blanks);
        self.blanks = stack;
    }

    fn grow(&mut self) -> Result<()> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: asks for new memory, wherever there is some.
        let chunk = unsafe {
            sys::mmap(ptr::null_mut(), CHUNK, protection, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
        };
        if chunk == libc::MAP_FAILED {
            return Err(Error::NoThread);
        }
        annotate::mark_untracked(chunk, CHUNK);
        for index in (0..RECORDS).rev() {
            // SAFETY: inside of the chunk and aligned; zero is a valid record, which no thread has.
            let record: &'static Stack = unsafe { &*chunk.cast::<Stack>().add(index) };
            if index == 0 {
                record.next.set(self.chunks);
                self.chunks = record;
            } else {
                self.push_blank(record);
            }
        }
        Ok(())
    }
}

/// An address on the stack on which the caller runs.
#[inline(never)]
fn here() -> usize {
    let here = 0_u8;
    core::hint::black_box(&raw const here) as usize
}

const CHUNK: usize = 16 * 1024;
const RECORDS: usize = CHUNK / size_of::<Stack>();
/// How many records are checked in a child of fork when a thread is joined.
const FEW: usize = 8;

fn map(size: usize, guard: usize, executable: bool) -> Option<usize> {
    stack_count::look_at_limits();
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
    unsafe { sys::munmap(stack.memory() as *mut c_void, stack.guard() + stack.size()) };
    stack.memory.store(0, Ordering::Relaxed);
    STACKS.lock().push_blank(stack);
}

fn unmap_all() {
    loop {
        let last = STACKS.lock().pop_last();
        let Some(last) = last else { return };
        unmap(last);
    }
}

/// Whether the process's stacks must be executable. In a child of fork the parent's last answer holds, since a thread
/// that is not there may hold the loader's lock.
pub(crate) fn are_executable() -> bool {
    if fork_epoch() == 0 {
        exec_stack::look();
    }
    exec_stack::is_wanted()
}

/// Holds the stacks across a fork.
pub(crate) fn hold() {
    STACKS.lock_for_fork();
}

/// Gives back what `hold` took.
///
/// # Safety
/// As for `InternalMutex::let_go`.
pub(crate) unsafe fn let_go() {
    // SAFETY: the caller's promise.
    unsafe { STACKS.unlock_after_fork() };
}

/// As `let_go`, in a child of fork.
///
/// # Safety
/// As for `InternalMutex::reinit_in_child`.
pub(crate) unsafe fn reinit_in_child() {
    // SAFETY: the caller's promise.
    unsafe { STACKS.reinit_in_child() };
}

/// In a child of fork: no thread runs on the stacks but the one that forked.
pub(crate) fn after_fork_in_child() {
    let mut stacks = STACKS.lock();
    // What pthread knows of the thread lies on its stack, also while it runs on one of the user's.
    // SAFETY: asks only.
    stacks.forked = [here(), unsafe { libc::pthread_self() } as usize];
    stacks.left_behind = stacks.chunks;
    stacks.looked_at = 0;
    stack_count::after_fork_in_child();
    // SAFETY: records are valid for ever.
    if unsafe { WARMEST.load(Ordering::Relaxed).as_ref() }.is_some_and(|warmest| warmest.taken.get()) {
        WARMEST.store(ptr::null_mut(), Ordering::Relaxed);
    }
}
