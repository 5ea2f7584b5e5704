//! The list of the threads that are alive.

use crate::sys::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, Result};
use crate::handle::header::Header;
use crate::handle::{Handle, Object, ObjectKind};
use crate::thread::object::Thread;
use crate::thread::registry;

/// The threads that were alive at one moment.
#[repr(C, align(64))]
pub struct ThreadList {
    header: Header,
    /// A vector's parts: the handles, each of which the list keeps.
    threads: AtomicUsize,
    length: AtomicUsize,
    capacity: AtomicUsize,
}

// SAFETY: zero is a list of nothing; all of it is shareable; it begins with its header.
unsafe impl Object for ThreadList {
    const KIND: ObjectKind = ObjectKind::ThreadList;

    fn header(&self) -> &Header {
        &self.header
    }

    fn dispose(&self) {
        let threads = self.threads.load(Ordering::Acquire) as *mut usize;
        // SAFETY: the parts that `enumerate` took from a vector; nobody finds the list any more.
        let threads = unsafe {
            Vec::from_raw_parts(
                threads,
                self.length.load(Ordering::Acquire),
                self.capacity.load(Ordering::Acquire),
            )
        };
        threads.into_iter().for_each(|thread| Handle::<Thread>::from_bits(thread).internal_unref());
    }
}

/// How many threads are alive.
pub(crate) fn active_count() -> Result<usize> {
    let mut registry = registry::lock();
    registry.get_or_create_main()?;
    registry.remove_dead_dummies();
    Ok(registry.alive_count)
}

/// The handles of all that are alive, each kept for the caller.
fn snapshot() -> Result<Vec<usize>> {
    let mut registry = registry::lock();
    registry.get_or_create_main()?;
    registry.remove_dead_dummies();
    let mut threads = Vec::new();
    threads.try_reserve_exact(registry.alive_count).map_err(|_| Error::NoMemory)?;
    // One that has too many references already to take another is left out.
    threads.extend(
        registry.alive.iter().filter_map(|thread| thread.handle().internal_ref().ok()).map(Handle::bits),
    );
    Ok(threads)
}

/// All that are alive: main, then the others in the order of their start.
pub fn enumerate() -> Result<Handle<ThreadList>> {
    let threads = snapshot()?;
    let mut handles = Some(threads);
    let list = Handle::create(0, |list: &ThreadList, _| {
        let mut threads = core::mem::ManuallyDrop::new(handles.take().unwrap_or_default());
        list.threads.store(threads.as_mut_ptr() as usize, Ordering::Release);
        list.length.store(threads.len(), Ordering::Release);
        list.capacity.store(threads.capacity(), Ordering::Release);
    });
    for thread in handles.into_iter().flatten() {
        Handle::<Thread>::from_bits(thread).internal_unref();
    }
    list
}

impl Handle<ThreadList> {
    /// How many threads it holds.
    pub fn len(self) -> Result<usize> {
        self.read(|list| list.length.load(Ordering::Acquire))
    }

    /// Whether it holds none; it never does.
    pub fn is_empty(self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// One of the threads, kept by the list.
    pub fn get(self, index: usize) -> Result<Handle<Thread>> {
        self.with_pinned(|list| {
            if index >= list.length.load(Ordering::Acquire) {
                return Err(Error::Index);
            }
            let threads = list.threads.load(Ordering::Acquire) as *const usize;
            // SAFETY: the list's memory holds so many handles as long as the list lives.
            Ok(Handle::from_bits(unsafe { *threads.add(index) }))
        })
    }
}
