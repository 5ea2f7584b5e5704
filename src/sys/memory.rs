//! Memory from the system, in pages, and the system's limits on it.

use crate::sys::atomic::{AtomicU8, Ordering};
use core::ptr;
use core::slice;

use crate::error::{Error, Result};
use crate::sys;
use crate::sys::fd;
use crate::sys::pthread;

/// Maps `bytes` of zeroed memory, preferably at `hint` (0: anywhere).
pub(crate) fn map(hint: usize, bytes: usize) -> Option<usize> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: without MAP_FIXED, the new mapping replaces no other.
    let start = unsafe { sys::mmap(hint as *mut libc::c_void, bytes, protection, flags, -1, 0) };
    (start != libc::MAP_FAILED).then_some(start as usize)
}

/// Unmaps whole pages. Does nothing if `bytes` is 0.
///
/// # Safety
/// `map` has returned the pages, and no thread accesses them any more.
pub(crate) unsafe fn unmap(start: usize, bytes: usize) {
    if bytes != 0 {
        // SAFETY: guaranteed by the caller.
        unsafe { sys::munmap(start as *mut libc::c_void, bytes) };
    }
}

/// Maps `bytes` at a multiple of `alignment`, preferably at `hint`, which must be such a multiple (0: anywhere).
pub(crate) fn map_aligned(hint: usize, bytes: usize, alignment: usize) -> Option<usize> {
    if hint != 0 {
        let start = map(hint, bytes)?;
        if start % alignment == 0 {
            return Some(start);
        }
        // SAFETY: mapped above, and not accessed yet.
        unsafe { unmap(start, bytes) };
    }
    let around = map(0, bytes.checked_add(alignment)?)?;
    let start = around.next_multiple_of(alignment);
    // SAFETY: only the parts before and after the returned range.
    unsafe {
        unmap(around, start - around);
        unmap(start + bytes, around + alignment - start);
    }
    Some(start)
}

/// Returns the memory of whole pages to the system; the pages stay mapped, and read as zero. Returns false if the
/// system does not permit it, for example because the pages are locked: they then keep their content. On systems other
/// than Linux, MADV_DONTNEED does not change what the pages contain, and this always returns false.
///
/// # Safety
/// `map` has returned the pages, and no thread needs their content any more.
pub(crate) unsafe fn discard(start: usize, bytes: usize) -> bool {
    // SAFETY: guaranteed by the caller.
    cfg!(target_os = "linux")
        && unsafe { sys::madvise(start as *mut libc::c_void, bytes, libc::MADV_DONTNEED) == 0 }
}

/// Maps a page of zeroed memory that is zeroed again in each child of fork; `None` if the system has no such memory.
pub(crate) fn map_zeroed_in_children() -> Option<usize> {
    #[cfg(target_os = "linux")]
    {
        let size = pthread::page_size();
        let page = map(0, size)?;
        // SAFETY: the page was mapped above, and is not accessed yet.
        unsafe {
            if sys::madvise(page as *mut libc::c_void, size, libc::MADV_WIPEONFORK) == 0 {
                return Some(page);
            }
            unmap(page, size);
        }
    }
    None
}

/// Returns whether this memory is mapped; true if the system does not say.
pub(crate) fn is_mapped(start: usize, bytes: usize) -> bool {
    let page = start & !(pthread::page_size() - 1);
    // SAFETY: the advice is the default one, which does not change what the pages contain.
    sys::preserving_errno(|| unsafe {
        libc::madvise(page as *mut libc::c_void, start + bytes - page, libc::MADV_NORMAL) == 0
            || sys::errno() != libc::ENOMEM
    })
}

/// Returns whether the process's address space is limited (`RLIMIT_AS`).
pub(crate) fn has_address_space_limit() -> bool {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for writes.
    (unsafe { sys::getrlimit(libc::RLIMIT_AS, &mut limit) }) == 0 && limit.rlim_cur != libc::RLIM_INFINITY
}

/// Returns whether the system never overcommits memory (`vm.overcommit_memory` is 2). The setting is read once.
pub(crate) fn has_strict_overcommit() -> bool {
    const UNKNOWN: u8 = 0;
    const NEVER_OVERCOMMITS: u8 = b'2';
    #[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
    static MODE: AtomicU8 = AtomicU8::new(UNKNOWN);
    let mut mode = MODE.load(Ordering::Relaxed);
    if mode == UNKNOWN {
        mode = b'0';
        fd::read_beginning(c"/proc/sys/vm/overcommit_memory", slice::from_mut(&mut mode));
        MODE.store(mode, Ordering::Relaxed);
    }
    mode == NEVER_OVERCOMMITS
}

/// A growable array of plain data in pages of its own, for `handle::blocks`: `malloc`, which the program may have
/// replaced, must not be called under the mutex of the pool.
pub(crate) struct PageVec<T> {
    start: *mut T,
    length: usize,
    capacity: usize,
}

// SAFETY: the array owns its elements.
unsafe impl<T: Send> Send for PageVec<T> {}

impl<T: Copy> PageVec<T> {
    const MIN_CAPACITY: usize = 4096 / size_of::<T>();

    pub(crate) const fn new() -> Self {
        PageVec { start: ptr::null_mut(), length: 0, capacity: 0 }
    }

    /// Reserves capacity for `count` elements in total, so that pushes up to that number cannot fail.
    pub(crate) fn reserve(&mut self, count: usize) -> Result<()> {
        if count <= self.capacity {
            return Ok(());
        }
        let capacity = count.checked_next_power_of_two().ok_or(Error::NoMemory)?.max(Self::MIN_CAPACITY);
        let bytes = capacity.checked_mul(size_of::<T>()).ok_or(Error::NoMemory)?;
        let start = map(0, bytes).ok_or(Error::NoMemory)? as *mut T;
        let previous = self.as_slice();
        // SAFETY: the new pages have room for all elements; the previous pages are not accessed any more.
        unsafe {
            start.copy_from_nonoverlapping(previous.as_ptr(), previous.len());
            unmap(self.start as usize, self.capacity * size_of::<T>());
        }
        self.start = start;
        self.capacity = capacity;
        Ok(())
    }

    /// Appends an element. If its capacity has not been reserved, the element is lost when the system has no memory.
    pub(crate) fn push(&mut self, element: T) {
        if self.reserve(self.length + 1).is_err() {
            return;
        }
        // SAFETY: `length` is less than `capacity`.
        unsafe { self.start.add(self.length).write(element) };
        self.length += 1;
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let last = *self.as_slice().last()?;
        self.length -= 1;
        Some(last)
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        if self.length == 0 {
            return &mut [];
        }
        // SAFETY: `length` elements have been written.
        unsafe { slice::from_raw_parts_mut(self.start, self.length) }
    }

    pub(crate) fn as_slice(&self) -> &[T] {
        if self.length == 0 {
            return &[];
        }
        // SAFETY: `length` elements have been written.
        unsafe { slice::from_raw_parts(self.start, self.length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn map_aligned_returns_aligned_zeroed_memory_of_the_whole_size() {
        const ALIGNMENT: usize = 1 << 20;
        for hint in [0, 4096 * 123_456] {
            let start = map_aligned(hint & !(ALIGNMENT - 1), 3 * ALIGNMENT, ALIGNMENT).unwrap();
            assert_eq!(start % ALIGNMENT, 0);
            for page in (start..start + 3 * ALIGNMENT).step_by(4096) {
                // SAFETY: inside the mapping.
                unsafe {
                    assert_eq!(*(page as *const u64), 0);
                    *(page as *mut u64) = 1;
                }
            }
            // SAFETY: mapped above, and not accessed elsewhere.
            unsafe {
                assert!(discard(start, 3 * ALIGNMENT));
                assert_eq!(*(start as *const u64), 0);
                unmap(start, 3 * ALIGNMENT);
            }
        }
    }

    #[test]
    fn page_vec_keeps_its_elements_when_it_grows() {
        let mut numbers = PageVec::new();
        assert!(numbers.as_slice().is_empty());
        assert_eq!(numbers.pop(), None);
        for number in 0..5000_u64 {
            numbers.reserve(number as usize + 1).unwrap();
            numbers.push(number);
        }
        assert!(numbers.as_slice().iter().copied().eq(0..5000));
        assert_eq!(numbers.pop(), Some(4999));
        assert_eq!(numbers.as_slice().len(), 4999);
        assert_eq!(numbers.reserve(usize::MAX), Err(Error::NoMemory));
    }
}
