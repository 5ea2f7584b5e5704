//! Names, and the hash table of the exposed names that a thread has had. `thread::names` says who may change a table.

use core::ffi::{CStr, c_char, c_void};
use core::{ptr, slice};

use crate::error::{Error, Result};
use crate::sys;
use crate::sys::annotate::malloc;
use crate::sys::atomic::{AtomicPtr, Ordering};
use crate::sys::offsets::offsets;

/// A name. The text and its NUL follow.
#[repr(C)]
pub(crate) struct Node {
    /// The next one in the same bucket.
    next: *mut Node,
    pub(super) hash: u64,
    pub(super) text: [c_char; 0],
}

offsets!(NodeOffsets of Node: hash, text);

pub(super) fn text_of(node: *mut Node) -> *const c_char {
    // The text is in the node's allocation, behind the node.
    node.cast::<c_char>().wrapping_byte_add(core::mem::offset_of!(Node, text)).cast_const()
}

/// A node that is freed when this value is dropped; may be NULL.
pub(super) struct OwnedName(pub(super) *mut Node);

impl OwnedName {
    pub(super) const NULL: Self = OwnedName(ptr::null_mut());

    pub(super) fn try_new(name: &CStr) -> Result<Self> {
        let bytes = name.to_bytes_with_nul();
        // SAFETY: malloc's memory is aligned for a `Node`, and large enough for all that is written.
        unsafe {
            let node: *mut Node = malloc(size_of::<Node>() + bytes.len()).cast();
            if node.is_null() {
                return Err(Error::NoMemory);
            }
            (*node).next = ptr::null_mut();
            (*node).hash = hash_of(bytes);
            let text = slice::from_raw_parts_mut((&raw mut (*node).text).cast::<u8>(), bytes.len());
            text.copy_from_slice(bytes);
            Ok(OwnedName(node))
        }
    }
}

impl Drop for OwnedName {
    fn drop(&mut self) {
        // SAFETY: the node comes from malloc or is NULL, and no caller has a pointer to its text.
        unsafe { sys::free(self.0.cast()) };
    }
}

/// FNV-1a.
pub(super) fn hash_of(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The header of the hash table in `NameList::kept`. The buckets follow.
#[repr(C)]
pub(super) struct NameTableHeader {
    /// A power of two.
    pub(super) bucket_count: usize,
    pub(super) count: usize,
    buckets: [*mut Node; 0],
}

/// A table that is freed, with the names in it, when this value is dropped; may be NULL.
pub(super) struct NameTable(pub(super) *mut NameTableHeader);

impl NameTable {
    pub(super) const NULL: Self = NameTable(ptr::null_mut());
    pub(super) const MIN_BUCKETS: usize = 4;

    pub(super) fn try_new(bucket_count: usize) -> Result<Self> {
        let bytes = bucket_count
            .checked_mul(size_of::<*mut Node>())
            .and_then(|bytes| bytes.checked_add(size_of::<NameTableHeader>()))
            .ok_or(Error::NoMemory)?;
        // SAFETY: malloc's memory is aligned for the header; zero is an empty bucket.
        unsafe {
            let header: *mut NameTableHeader = malloc(bytes).cast();
            if header.is_null() {
                return Err(Error::NoMemory);
            }
            header.cast::<u8>().write_bytes(0, bytes);
            (*header).bucket_count = bucket_count;
            Ok(NameTable(header))
        }
    }

    /// Returns the table of a list, to which `kept` points.
    pub(super) fn of(kept: &AtomicPtr<c_void>) -> *mut NameTableHeader {
        kept.load(Ordering::Relaxed).cast()
    }

    /// Exchanges this table with that of the list, to which `kept` points, and moves all names from the list's former
    /// table to the new one.
    pub(super) fn swap_into(&mut self, kept: &AtomicPtr<c_void>) {
        let former = kept.swap(self.0.cast(), Ordering::Relaxed).cast::<NameTableHeader>();
        let new = core::mem::replace(&mut self.0, former);
        // SAFETY: the caller holds the name lock, under which alone tables and their nodes are changed.
        unsafe {
            if let Some(former) = former.as_mut() {
                for index in 0..former.bucket_count {
                    let mut node = core::mem::replace(&mut *bucket(former, index), ptr::null_mut());
                    while !node.is_null() {
                        let next = (*node).next;
                        insert(new, node);
                        node = next;
                    }
                }
            }
        }
    }
}

impl Drop for NameTable {
    fn drop(&mut self) {
        // SAFETY: the nodes and the table come from malloc, and no other thread uses them.
        unsafe {
            if let Some(header) = self.0.as_mut() {
                for index in 0..header.bucket_count {
                    let mut node = *bucket(header, index);
                    while !node.is_null() {
                        let next = (*node).next;
                        sys::free(node.cast());
                        node = next;
                    }
                }
            }
            sys::free(self.0.cast());
        }
    }
}

/// Returns the bucket with this index modulo the number of buckets.
///
/// # Safety
/// The table is valid.
unsafe fn bucket(table: *mut NameTableHeader, index: usize) -> *mut *mut Node {
    // SAFETY: the index is less than the number of buckets, which is a power of two.
    unsafe {
        let index = index & ((*table).bucket_count - 1);
        (&raw mut (*table).buckets).cast::<*mut Node>().add(index)
    }
}

/// Adds a node to its bucket.
///
/// # Safety
/// The table and the node are valid, the node is in no table, and no other thread changes them.
pub(super) unsafe fn insert(table: *mut NameTableHeader, node: *mut Node) {
    // SAFETY: as the caller promises.
    unsafe {
        let bucket = bucket(table, (*node).hash as usize);
        (*node).next = *bucket;
        *bucket = node;
        (*table).count += 1;
    }
}

/// # Safety
/// The nodes are valid.
pub(super) unsafe fn are_equal(one: *mut Node, other: *mut Node) -> bool {
    // SAFETY: as the caller promises; each text ends with NUL.
    unsafe { (*one).hash == (*other).hash && libc::strcmp(text_of(one), text_of(other)) == 0 }
}

/// Removes the node with the same text as `like` from the table, and returns it. Returns NULL if the table is NULL or
/// has no such node.
///
/// # Safety
/// The table, if it is not NULL, and the node are valid, and no other thread changes them.
pub(super) unsafe fn take(table: *mut NameTableHeader, like: *mut Node) -> *mut Node {
    if table.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: as the caller promises.
    unsafe {
        let mut link = bucket(table, (*like).hash as usize);
        while !(*link).is_null() && !are_equal(*link, like) {
            link = &raw mut (**link).next;
        }
        let found = *link;
        if !found.is_null() {
            *link = (*found).next;
            (*table).count -= 1;
        }
        found
    }
}
