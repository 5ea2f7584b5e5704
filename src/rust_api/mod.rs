//! What Rust programs have beside the objects' methods: closures where C has a function and an argument, owners
//! that give their references back, and guards that release what they hold.
//!
//! These are the safe way: what takes a function of C's and an argument, as `Handle::<Thread>::new` does, is unsafe,
//! since nothing but a promise says that they go together.
//!
//! A closure that panics is reported to the excepthook of the thread that ran it, as `panic: MESSAGE`; the panic
//! goes no further. No closure is ever run with a lock of the library held.

use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::marker::PhantomData;
use core::ops::Deref;
use core::ptr;
use std::ffi::CString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::error::Result;
use crate::handle::{Handle, Kind};
use crate::runtime::process_exit;
use crate::sys::atomic::{AtomicBool, Ordering};
use crate::thread::{excepthook, list, registry};
use crate::time::Timeout;
use crate::{Barrier, Condition, Local, Lock, RLock, Semaphore, Thread, Timer, thread};

/// The main thread, which the caller does not own.
pub fn main_thread() -> Result<Handle<Thread>> {
    registry::main_thread()
}

/// How many threads are alive: what [`crate::enumerate`] would list.
pub fn active_count() -> Result<usize> {
    list::count()
}

/// What the end of the process does: calls the functions given to [`atexit`], and joins all threads that are no
/// daemons. False if the time ran out.
pub fn shutdown(timeout: Timeout) -> Result<bool> {
    process_exit::shutdown(timeout)
}

/// Runs a closure, and reports its panic.
fn run<R>(call: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(call))
        .inspect_err(|payload| {
            let message = payload.downcast_ref::<String>().map(String::as_str);
            let message = message.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
            let message = CString::new(message.replace('\0', "")).unwrap_or_default();
            let _ = thread::current().and_then(|current| excepthook::report(current, c"panic", &message));
        })
        .ok()
}

/// A closure that is called at most once, whoever calls it and how often.
struct Once<F> {
    taken: AtomicBool,
    closure: UnsafeCell<Option<F>>,
}

impl<F: FnOnce()> Once<F> {
    /// What C keeps as its argument.
    fn leak(closure: F) -> *mut c_void {
        let once = Once { taken: AtomicBool::new(false), closure: UnsafeCell::new(Some(closure)) };
        Box::into_raw(Box::new(once)).cast()
    }

    /// # Safety
    /// `arg` is from `leak`, and not destroyed.
    unsafe extern "C-unwind" fn call(arg: *mut c_void) -> *mut c_void {
        // SAFETY: the caller's promise.
        let once = unsafe { &*arg.cast::<Self>() };
        if !once.taken.swap(true, Ordering::Relaxed) {
            // SAFETY: only the first one to come gets here.
            run(|| unsafe { &mut *once.closure.get() }.take().map(|closure| closure()));
        }
        ptr::null_mut()
    }

    /// # Safety
    /// As for `call`; nobody uses it any more.
    unsafe extern "C-unwind" fn destroy(arg: *mut c_void) {
        // SAFETY: the caller's promise.
        run(|| drop(unsafe { Box::from_raw(arg.cast::<Self>()) }));
    }
}

impl Handle<Thread> {
    /// A thread that will run the closure. If it never runs, the closure is dropped with the last reference.
    ///
    /// ```
    /// use threading::{Handle, Thread, Timeout};
    ///
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// let thread = Handle::<Thread>::from_fn(move || sender.send(42).unwrap())?;
    /// thread.start()?;
    /// assert_eq!(receiver.recv(), Ok(42));
    /// thread.join(Timeout::FOREVER)?;
    /// thread.free()?;
    /// # Ok::<(), threading::Error>(())
    /// ```
    pub fn from_fn<F: FnOnce() + Send + 'static>(closure: F) -> Result<Self> {
        let arg = Once::leak(closure);
        // SAFETY: `leak` made the argument for these two, and the closure may be sent.
        let owned = unsafe {
            let thread = Self::new(Some(Once::<F>::call), arg);
            thread.and_then(|thread| owning(thread, thread, Once::<F>::destroy))
        };
        // SAFETY: nobody has got it.
        owned.inspect_err(|_| unsafe { Once::<F>::destroy(arg) })
    }
}

impl Handle<Thread> {
    /// The current name; the default one is made with the first question.
    pub fn name(self) -> Result<String> {
        self.pinned(|_| {
            // SAFETY: a thread's names end with NUL and are kept as long as its slot serves it, which is pinned.
            Ok(unsafe { CStr::from_ptr(self.name_pointer()?) }.to_string_lossy().into_owned())
        })
    }
}

impl Handle<Timer> {
    /// A timer that will run the closure so many seconds after its start. If it is cancelled, the closure is
    /// dropped.
    pub fn from_fn<F: FnOnce() + Send + 'static>(interval: f64, closure: F) -> Result<Self> {
        let arg = Once::leak(closure);
        // SAFETY: as for a thread.
        let owned = unsafe {
            let timer = Self::new(interval, Some(Once::<F>::call), arg);
            timer.and_then(|timer| owning(timer, timer.thread()?, Once::<F>::destroy))
        };
        // SAFETY: nobody has got it.
        owned.inspect_err(|_| unsafe { Once::<F>::destroy(arg) })
    }
}

/// A new object whose thread destroys its argument; the object goes if that cannot be.
///
/// # Safety
/// `destroy` takes the argument.
unsafe fn owning<T: Kind>(
    new: Handle<T>,
    thread: Handle<Thread>,
    destroy: crate::Destructor,
) -> Result<Handle<T>> {
    // SAFETY: the caller's promise.
    match unsafe { thread.set_arg_destructor(Some(destroy)) } {
        Ok(()) => Ok(new),
        Err(error) => {
            let _ = new.free();
            Err(error)
        }
    }
}

/// Has the closure run when the process ends or [`shutdown`] is called, the last one given first.
pub fn atexit<F: FnOnce() + Send + 'static>(closure: F) -> Result<()> {
    unsafe extern "C-unwind" fn call<F: FnOnce()>(arg: *mut c_void) {
        // SAFETY: `atexit` gave it, and an exit callback is called once.
        unsafe {
            Once::<F>::call(arg);
            Once::<F>::destroy(arg);
        }
    }
    let arg = Once::leak(closure);
    // SAFETY: refused, nobody has got it.
    process_exit::at_exit(call::<F>, arg).inspect_err(|_| unsafe { Once::<F>::destroy(arg) })
}

/// Has the closure told of failures that threads could not handle: the thread, what kind of failure it was, and a
/// sentence. A hook that is replaced may still be running, and so is never dropped.
pub fn set_excepthook<F>(hook: F)
where
    F: Fn(Handle<Thread>, &CStr, &CStr) + Send + Sync + 'static,
{
    unsafe extern "C-unwind" fn call<F: Fn(Handle<Thread>, &CStr, &CStr)>(
        thread: *mut c_void,
        kind: *const c_char,
        message: *const c_char,
        arg: *mut c_void,
    ) {
        // SAFETY: `set_excepthook` gave the hook, which lives for ever; the library gives strings.
        let (hook, kind, message) =
            unsafe { (&*arg.cast::<F>(), CStr::from_ptr(kind), CStr::from_ptr(message)) };
        // A hook that fails has nobody to tell.
        let _ = catch_unwind(AssertUnwindSafe(|| hook(Handle::from_bits(thread.addr()), kind, message)));
    }
    excepthook::set(Some(call::<F>), Box::into_raw(Box::new(hook)).cast());
}

/// Failures are printed to stderr again.
pub fn reset_excepthook() {
    excepthook::set(None, ptr::null_mut());
}

/// Tells the excepthook of a failure of the calling thread.
pub fn report_exception(kind: &CStr, message: &CStr) -> Result<()> {
    excepthook::report(thread::current()?, kind, message)
}

/// A barrier whose last party runs a closure before anyone returns. A panic of it breaks the barrier: the last
/// party gets [`Error::Callback`](crate::Error::Callback), the others
/// [`Error::BrokenBarrier`](crate::Error::BrokenBarrier).
///
/// It shows no handle, since the closure must live as long as anybody may wait.
pub struct ActionBarrier<F> {
    barrier: Owned<Barrier>,
    /// Dropped after the barrier.
    _action: Arc<F>,
}

impl<F: Fn() + Send + Sync + 'static> ActionBarrier<F> {
    /// A barrier for so many parties.
    pub fn new(parties: usize, action: F) -> Result<Self> {
        unsafe extern "C-unwind" fn call<F: Fn()>(arg: *mut c_void) -> c_int {
            // SAFETY: the action lives as long as the barrier, and is called under a borrow of both.
            c_int::from(run(|| unsafe { &*arg.cast::<F>() }()).is_none())
        }
        let action = Arc::new(action);
        let arg = Arc::as_ptr(&action).cast_mut().cast();
        // SAFETY: the action outlives the barrier, as is said above, and may be called by any thread.
        let barrier = unsafe { Handle::<Barrier>::new(parties, Some(call::<F>), arg)? };
        Ok(ActionBarrier { barrier: Owned(barrier), _action: action })
    }
}

/// The methods of a barrier's handle.
macro_rules! forward {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty)?) -> $result:ty;)*) => {
        impl<F> ActionBarrier<F> {
            $($(#[$doc])* pub fn $name(&self $(, $arg: $type)?) -> Result<$result> {
                self.barrier.$name($($arg)?)
            })*
        }
    };
}

forward! {
    /// Sets the timeout of waits that name none.
    set_timeout(seconds: f64) -> ();
    /// Waits until all have arrived. The place in which the caller arrived.
    wait() -> usize;
    /// Waits until all have arrived; if the time runs out before that, the barrier is broken.
    wait_timeout(timeout: Timeout) -> usize;
    /// Empties the barrier; those who wait get an error.
    reset() -> ();
    /// Breaks the barrier.
    abort() -> ();
    /// How many must arrive.
    parties() -> usize;
    /// How many have arrived.
    n_waiting() -> usize;
    /// Whether it is broken.
    broken() -> bool;
}

/// A value of which each thread has its own. Python: `threading.local`.
///
/// ```
/// let counter = threading::ThreadLocal::with_init(|| std::cell::Cell::new(0))?;
/// let mine = counter.get()?.expect("made by the first call of each thread");
/// mine.set(mine.get() + 1);
/// # Ok::<(), threading::Error>(())
/// ```
pub struct ThreadLocal<T> {
    local: Owned<Local>,
    /// Makes the values. Dropped after the local.
    _init: Option<Arc<Init<T>>>,
}

type Init<T> = Box<dyn Fn() -> T + Send + Sync>;

// SAFETY: each thread sees only the values that it has set itself; T is Send, so that whoever drops the local may
// drop those of other threads.
unsafe impl<T: Send> Send for ThreadLocal<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for ThreadLocal<T> {}

impl<T: Send + 'static> ThreadLocal<T> {
    /// Without values.
    pub fn new() -> Result<Self> {
        // SAFETY: all that is ever set is from `Arc::into_raw`.
        let local = unsafe { Handle::<Local>::new(Some(Self::destroy))? };
        Ok(ThreadLocal { local: Owned(local), _init: None })
    }

    /// The closure makes each thread's value, at its first call here. If it panics, the thread has none.
    pub fn with_init(init: impl Fn() -> T + Send + Sync + 'static) -> Result<Self> {
        unsafe extern "C-unwind" fn call<T>(arg: *mut c_void) -> *mut c_void {
            // SAFETY: it lives as long as the local, and is called under a borrow of both.
            let value = run(|| Arc::new(unsafe { &*arg.cast::<Init<T>>() }()));
            value.map_or(ptr::null_mut(), |value| Arc::into_raw(value).cast_mut().cast())
        }
        let init: Arc<Init<T>> = Arc::new(Box::new(init));
        let arg = Arc::as_ptr(&init).cast_mut().cast();
        // SAFETY: as in `new`; the init outlives the local, and may be called by any thread.
        let local = unsafe { Handle::<Local>::new_with_init(call::<T>, arg, Some(Self::destroy))? };
        Ok(ThreadLocal { local: Owned(local), _init: Some(init) })
    }

    unsafe extern "C-unwind" fn destroy(value: *mut c_void) {
        // SAFETY: all values are from `Arc::into_raw`, and each is destroyed once.
        run(|| drop(unsafe { Arc::from_raw(value.cast::<T>().cast_const()) }));
    }

    /// The calling thread's value, if it has one. It stays valid when another one is set.
    pub fn get(&self) -> Result<Option<Arc<T>>> {
        let value = self.local.get()?.cast::<T>().cast_const();
        if value.is_null() {
            return Ok(None);
        }
        // SAFETY: it is from `Arc::into_raw`, and only this thread takes it out of the local while `self` lives.
        Ok(Some(unsafe {
            Arc::increment_strong_count(value);
            Arc::from_raw(value)
        }))
    }

    /// Sets the calling thread's value; the former one is dropped.
    pub fn set(&self, value: T) -> Result<()> {
        let value = Arc::into_raw(Arc::new(value)).cast_mut().cast();
        // SAFETY: it is what `destroy` takes; refused, it is still ours.
        unsafe { self.local.set(value).inspect_err(|_| Self::destroy(value)) }
    }

    /// Drops the calling thread's value. False if it has none.
    pub fn del(&self) -> Result<bool> {
        self.local.del()
    }
}

/// A handle with a reference of its own, given back when it is dropped; a clone takes one more.
///
/// ```
/// use threading::{Handle, Lock, Owned};
///
/// let lock = Owned(Handle::<Lock>::new()?);
/// {
///     let _held = lock.hold()?;
///     assert_eq!(lock.locked(), Ok(true));
/// }
/// assert_eq!(lock.locked(), Ok(false));
/// # Ok::<(), threading::Error>(())
/// ```
#[expect(private_bounds, reason = "the kinds are this crate's")]
#[derive(Debug)]
pub struct Owned<T: Kind>(
    /// A handle of which the caller gives one reference away.
    pub Handle<T>,
);

impl<T: Kind> Deref for Owned<T> {
    type Target = Handle<T>;

    fn deref(&self) -> &Handle<T> {
        &self.0
    }
}

impl<T: Kind> Clone for Owned<T> {
    /// Where there is no further reference, the clone is the NULL handle.
    fn clone(&self) -> Self {
        Owned(self.0.add_ref().unwrap_or(Handle::NULL))
    }
}

impl<T: Kind> Drop for Owned<T> {
    /// If threads are blocked on it, the reference is not given back.
    fn drop(&mut self) {
        let _ = self.0.free();
    }
}

/// What can be held: a lock, an RLock, a condition, a semaphore.
pub(crate) trait Holdable: Copy {
    fn let_go(self) -> Result<()>;
}

/// Releases what it holds when it is dropped; made by `hold`.
#[expect(private_bounds, reason = "what can be held is this crate's")]
#[must_use = "what is not kept is released at once"]
pub struct Held<H: Holdable> {
    held: H,
    /// Only the thread that acquired an RLock can release it.
    stays: PhantomData<*const ()>,
}

impl<H: Holdable> Drop for Held<H> {
    fn drop(&mut self) {
        let _ = self.held.let_go();
    }
}

/// `hold`, for a kind that is acquired and released in this way.
macro_rules! hold {
    ($kind:ty, $handle:ident => $acquire:expr, $release:expr) => {
        impl Holdable for Handle<$kind> {
            fn let_go(self) -> Result<()> {
                let $handle = self;
                $release
            }
        }

        impl Handle<$kind> {
            /// Acquires it, and releases it when the guard is dropped: Python's `with`.
            pub fn hold(self) -> Result<Held<Self>> {
                let $handle = self;
                $acquire?;
                Ok(Held { held: self, stays: PhantomData })
            }
        }
    };
}

hold!(Lock, lock => lock.acquire(), lock.release());
hold!(RLock, rlock => rlock.acquire(), rlock.release());
hold!(Condition, condition => condition.acquire(), condition.release());
hold!(Semaphore, semaphore => semaphore.acquire(Timeout::FOREVER), semaphore.release(1));
