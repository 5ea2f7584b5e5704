//! Threads and timers that run closures, and the functions that return or count threads.

use core::ffi::{CStr, c_void};

use super::closures::OnceClosure;
use super::owned::OwnedHandle;
use crate::callbacks::Destructor;
use crate::error::Result;
use crate::handle::{Handle, Object};
use crate::thread::object::Thread;
use crate::thread::{list, registry};
use crate::timer::object::Timer;

impl Thread {
    /// Creates a thread that runs the closure when it is started. The closure is dropped before a join returns, or, if
    /// the thread was never started, with the last reference to the thread. Python: `Thread(target=closure)`.
    ///
    /// ```
    /// use threading::{Thread, Timeout};
    ///
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// let thread = Thread::new(move || sender.send(42).unwrap())?;
    /// thread.start()?;
    /// assert_eq!(receiver.recv(), Ok(42));
    /// assert!(thread.join(Timeout::FOREVER)?);
    /// # Ok::<(), threading::Error>(())
    /// ```
    pub fn new<F: FnOnce() + Send + 'static>(target: F) -> Result<OwnedHandle<Thread>> {
        let arg = OnceClosure::leak(target);
        // SAFETY: both functions take what `leak` returned, in any thread, since the closure is `Send`.
        unsafe {
            let created = Handle::<Thread>::new(Some(OnceClosure::<F>::call), arg);
            with_arg_destructor(created, Ok, OnceClosure::<F>::destroy, arg)
        }
    }
}

impl Timer {
    /// Creates a timer that runs the closure `interval` seconds after its start. If the timer is cancelled, the
    /// closure is dropped. Python: `Timer(interval, closure)`.
    ///
    /// ```
    /// use threading::{Timeout, Timer};
    ///
    /// let timer = Timer::new(0.01, || println!("the timer fires"))?;
    /// timer.start()?;
    /// assert!(timer.thread()?.join(Timeout::FOREVER)?);
    /// # Ok::<(), threading::Error>(())
    /// ```
    pub fn new<F: FnOnce() + Send + 'static>(interval: f64, function: F) -> Result<OwnedHandle<Timer>> {
        let arg = OnceClosure::leak(function);
        // SAFETY: as in `Thread::new`.
        unsafe {
            let created = Handle::<Timer>::new(interval, Some(OnceClosure::<F>::call), arg);
            with_arg_destructor(created, Handle::<Timer>::thread, OnceClosure::<F>::destroy, arg)
        }
    }
}

/// Sets the argument destructor of a new object's thread. After an error, there is no object, and `arg` is destroyed.
///
/// # Safety
/// `created` was created with `arg`, which `destroy` takes in any thread.
unsafe fn with_arg_destructor<T: Object>(
    created: Result<Handle<T>>,
    thread: impl Fn(Handle<T>) -> Result<Handle<Thread>>,
    destroy: Destructor,
    arg: *mut c_void,
) -> Result<OwnedHandle<T>> {
    let owned = created.map(OwnedHandle::from_handle).and_then(|owned| {
        // SAFETY: guaranteed by the caller.
        unsafe { thread(*owned)?.set_arg_destructor(Some(destroy))? };
        Ok(owned)
    });
    // SAFETY: after an error, the object has been freed without a destructor.
    owned.inspect_err(|_| unsafe { destroy(arg) })
}

impl Handle<Thread> {
    /// Returns the name of the thread: `Thread-N` unless the program has named it.
    pub fn name(self) -> Result<String> {
        self.with_pinned(|_| {
            // SAFETY: the name ends with NUL, and is kept until the slot is freed; the slot is pinned.
            Ok(unsafe { CStr::from_ptr(self.name_pointer()?) }.to_string_lossy().into_owned())
        })
    }
}

/// Returns the main thread. The caller does not own the handle, which is valid until the process ends.
///
/// ```
/// assert_eq!(threading::main_thread()?.name()?, "MainThread");
/// # Ok::<(), threading::Error>(())
/// ```
pub fn main_thread() -> Result<Handle<Thread>> {
    registry::main_thread()
}

/// Returns the number of threads that are alive, as a snapshot.
pub fn active_count() -> Result<usize> {
    list::active_count()
}

/// Returns a snapshot of the threads that are alive: the main thread, then the others in the order of their start.
///
/// ```
/// let names: Vec<String> = threading::enumerate()?.iter().flat_map(|thread| thread.name()).collect();
/// assert_eq!(names[0], "MainThread");
/// # Ok::<(), threading::Error>(())
/// ```
pub fn enumerate() -> Result<Vec<OwnedHandle<Thread>>> {
    let list = OwnedHandle::from_handle(list::enumerate()?);
    (0..list.len()?).map(|index| list.get(index)?.try_clone_to_owned()).collect()
}
