//! The list of the threads that are alive: `enumerate`, `active_count`, and the list object.

use crate::sys::atomic::{AtomicUsize, Ordering};
use core::slice;

use crate::error::{Error, Result};
use crate::handle::header::Header;
use crate::handle::{Handle, Object, ObjectKind};
use crate::sys::libc_hooks;
use crate::thread::object::Thread;
use crate::thread::registry;

/// A list of the threads that were alive at one moment, main first, with a reference to each. Python: the list that
/// `threading.enumerate()` returns.
#[repr(C, align(64))]
pub struct ThreadList {
    header: Header,
    /// The parts of a `Vec` of handles. The list has a reference to each of the threads.
    threads: AtomicUsize,
    length: AtomicUsize,
    capacity: AtomicUsize,
}

// SAFETY: zero is an empty list; all fields can be shared between threads; it begins with its header.
unsafe impl Object for ThreadList {
    const KIND: ObjectKind = ObjectKind::ThreadList;

    fn header(&self) -> &Header {
        &self.header
    }

    fn dispose(&self) {
        let threads = self.threads.load(Ordering::Acquire) as *const usize;
        // SAFETY: `enumerate` stored the parts of a `Vec`, which `finalize` frees.
        let threads = unsafe { slice::from_raw_parts(threads, self.length.load(Ordering::Acquire)) };
        threads.iter().for_each(|&thread| Handle::<Thread>::from_bits(thread).internal_unref());
    }

    /// Frees the `Vec`, which a thread in `get` may read as long as it pins the slot.
    fn finalize(&self) {
        let threads = self.threads.load(Ordering::Acquire) as *mut usize;
        let (length, capacity) = (self.length.load(Ordering::Acquire), self.capacity.load(Ordering::Acquire));
        // SAFETY: `enumerate` took these parts from a `Vec`, and no thread can use the list any more.
        drop(unsafe { Vec::from_raw_parts(threads, length, capacity) });
    }
}

/// Returns the number of threads that are alive.
///
/// Not a plain getter: it creates the main thread's object, and checks whether dummies still exist (a system call for
/// each) and removes those that do not.
pub(crate) fn active_count() -> Result<usize> {
    register_exit_hook_before_lock();
    let mut registry = registry::lock();
    registry.get_or_create_main()?;
    registry.remove_dead_dummies();
    Ok(registry.alive_count)
}

/// If the main thread's object is created, under the mutex, the calling thread caches a slot, for which it needs the
/// exit hook. libc may allocate memory to register that, and the program may have replaced malloc by a function that
/// needs the mutex. If this fails, no slot is cached.
fn register_exit_hook_before_lock() {
    let _: Result<()> = libc_hooks::register_exit_hook();
}

/// Returns the handles of all threads that are alive, with a reference to each. Removes dead dummies, as `active_count`
/// does.
fn snapshot() -> Result<Vec<usize>> {
    register_exit_hook_before_lock();
    let mut threads = Vec::new();
    loop {
        let mut registry = registry::lock();
        registry.get_or_create_main()?;
        registry.remove_dead_dummies();
        let count = registry.alive_count;
        if count <= threads.capacity() {
            // Omits a thread whose reference count is at its maximum.
            let referenced = registry.alive.iter().filter_map(|thread| thread.handle().internal_ref().ok());
            threads.extend(referenced.map(Handle::bits));
            return Ok(threads);
        }
        // The program may have replaced malloc by a function that needs the mutex.
        drop(registry);
        threads.try_reserve_exact(count).map_err(|_| Error::NoMemory)?;
    }
}

/// Returns the threads that are alive: main, then the others in the order of their start. Python:
/// `threading.enumerate()`.
pub fn enumerate() -> Result<Handle<ThreadList>> {
    let mut snapshot = Some(snapshot()?);
    let list = Handle::create(0, |list: &ThreadList, _| {
        let mut threads = core::mem::ManuallyDrop::new(snapshot.take().unwrap_or_default());
        list.threads.store(threads.as_mut_ptr() as usize, Ordering::Release);
        list.length.store(threads.len(), Ordering::Release);
        list.capacity.store(threads.capacity(), Ordering::Release);
    });
    // If the list could not be created, the references are released here.
    for thread in snapshot.into_iter().flatten() {
        Handle::<Thread>::from_bits(thread).internal_unref();
    }
    list
}

impl Handle<ThreadList> {
    /// Returns the number of threads in the list.
    pub fn len(self) -> Result<usize> {
        self.read(|list| list.length.load(Ordering::Acquire))
    }

    /// Returns false: a list contains at least the main thread.
    pub fn is_empty(self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Returns the thread at this index. The handle is valid as long as the list is not freed.
    pub fn get(self, index: usize) -> Result<Handle<Thread>> {
        self.with_pinned(|list| {
            if index >= list.length.load(Ordering::Acquire) {
                return Err(Error::Index);
            }
            let threads = list.threads.load(Ordering::Acquire) as *const usize;
            // SAFETY: the `Vec` has `length` handles, and is not freed as long as the slot is pinned.
            Ok(Handle::from_bits(unsafe { *threads.add(index) }))
        })
    }
}
