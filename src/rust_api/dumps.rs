//! Dumps, statistics of contention, and the hang hook.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr;

use super::closures::catch_and_report;
use crate::dump::{contention, hang, on_signal, trace as tracing};
use crate::error::{Error, Result};
use crate::time::Timeout;

/// Writes what each thread waits for and since when, which thread owns that, and what it owns itself, to a file
/// descriptor. Deadlocks come first.
///
/// A dump changes nothing, waits for no lock longer than a few milliseconds, and calls no allocator, so that a signal
/// handler may make one. Python: `faulthandler.dump_traceback`.
///
/// ```
/// use threading::Lock;
///
/// let journal = Lock::new()?;
/// journal.set_name(Some(c"journal"))?;
/// let _guard = journal.lock()?;
/// threading::dump(2)?;
/// # Ok::<(), threading::Error>(())
/// ```
///
/// The program writes to stderr:
///
/// ```text
/// threading: process 4711, 1 thread
/// "MainThread" 4711  makes this dump
///     owns lock "journal"
/// ```
pub fn dump(fd: c_int) -> Result<()> {
    crate::dump::dump(fd)
}

/// Installs a signal handler that makes a dump, and then calls the signal's former handler, if it had one. `None`
/// restores the former handler. Python: `faulthandler.register`.
///
/// ```
/// const SIGQUIT: i32 = 3;
///
/// threading::dump_on_signal(SIGQUIT, Some(2))?;
/// # threading::dump_on_signal(SIGQUIT, None)?;
/// # Ok::<(), threading::Error>(())
/// ```
pub fn dump_on_signal(signum: c_int, fd: Option<c_int>) -> Result<()> {
    // A negative descriptor, of a file that is not open, must not restore the former handler.
    if fd.is_some_and(|fd| fd < 0) {
        return Err(Error::Descriptor);
    }
    on_signal::dump_on_signal(signum, fd.unwrap_or(-1))
}

/// Turns statistics of contention on or off. Each [dump](dump()) then lists the ten locks and semaphores for which
/// threads have waited longest. Only waits in which a thread has parked are counted.
///
/// ```
/// threading::set_contention(true);
/// # threading::set_contention(false);
/// ```
pub fn set_contention(on: bool) {
    contention::set(on);
}

/// Starts a trace of each wait of 10 microseconds and more: the object, the owner of the lock when the thread parked,
/// and an arrow from the thread that has ended the wait. Perfetto (<https://ui.perfetto.dev>) shows it, with a track
/// for each thread. `None` ends the trace.
///
/// The start of a trace ends the former one. The process exit ends a trace, too. The file stays open. A write that
/// fails ends the trace. Must not be called in a signal handler.
///
/// ```
/// use std::fs::{self, File};
/// use std::os::fd::AsRawFd;
/// use threading::{Event, Timeout};
///
/// let path = std::env::temp_dir().join(format!("trace-{}.json", std::process::id()));
/// let file = File::create(&path).unwrap();
/// threading::trace(Some(file.as_raw_fd()))?;
/// let ready = Event::new()?;
/// ready.set_name(Some(c"ready"))?;
/// ready.wait(Timeout::new(0.01)?)?;
/// threading::trace(None)?;
/// let text = fs::read_to_string(&path).unwrap();
/// assert!(text.starts_with("[\n") && text.ends_with("\n]\n"));
/// assert!(text.contains(r#"waits for event \"ready\""#), "{text}");
/// # fs::remove_file(&path).unwrap();
/// # Ok::<(), threading::Error>(())
/// ```
pub fn trace(fd: Option<c_int>) -> Result<()> {
    fd.map_or_else(tracing::stop, tracing::start)
}

/// The kind of a hang.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hang {
    /// Threads that wait for each other, so that none of their waits can end.
    Deadlock,
    /// A process exit or a [`shutdown`](crate::shutdown) that waits for threads.
    Exit,
}

/// Sets the closure that is called when threads hang: once for each deadlock that has lasted for the timeout, and for a
/// process exit or a shutdown that has lasted as long, again whenever that time has doubled. Its arguments are the kind
/// of the hang and the text of a dump.
///
/// One of the threads that hang calls it, in the call in which that thread waits. It may call all functions, but must
/// not wait for the threads that hang. A hook that is replaced is never dropped, because another thread may still be
/// running it.
///
/// ```
/// use std::sync::mpsc;
/// use threading::{Hang, Lock, Thread, Timeout};
///
/// let (sender, receiver) = mpsc::channel();
/// threading::set_hang_hook(Timeout::new(0.1)?, move |hang, report| {
///     let _ = sender.send((hang, report.to_owned()));
/// });
/// let lock = Lock::new()?;
/// lock.set_name(Some(c"journal"))?;
/// let acquired_twice = lock.clone();
/// let thread = Thread::new(move || {
///     acquired_twice.acquire().unwrap();
///     acquired_twice.acquire().unwrap(); // waits for itself
/// })?;
/// thread.start()?;
///
/// let (hang, report) = receiver.recv().unwrap();
/// assert_eq!(hang, Hang::Deadlock);
/// assert!(report.contains(r#"waits for lock "journal", owned by "Thread-1""#));
/// lock.release()?; // any thread may release a Lock
/// # thread.join(Timeout::FOREVER)?;
/// # Ok::<(), threading::Error>(())
/// ```
pub fn set_hang_hook<F>(after: Timeout, hook: F)
where
    F: Fn(Hang, &str) + Send + Sync + 'static,
{
    unsafe extern "C-unwind" fn call<F: Fn(Hang, &str)>(
        kind: c_int,
        report: *const c_char,
        arg: *mut c_void,
    ) {
        // SAFETY: `arg` is the leaked hook, and the library passes a string that ends with NUL.
        let (hook, report) = unsafe { (&*arg.cast::<F>(), CStr::from_ptr(report)) };
        let hang = if kind == hang::DEADLOCK { Hang::Deadlock } else { Hang::Exit };
        catch_and_report(|| hook(hang, &report.to_string_lossy()));
    }
    hang::set_hook(after.period_ns(), Some(call::<F>), Box::into_raw(Box::new(hook)).cast());
}

/// Writes reports of hangs to stderr instead of calling the closure that [`set_hang_hook`] has set.
/// [`Timeout::FOREVER`] turns reports off, which is the default.
///
/// ```
/// use threading::Timeout;
///
/// threading::report_hangs(Timeout::new(5.0)?);
/// threading::report_hangs(Timeout::FOREVER);
/// # Ok::<(), threading::Error>(())
/// ```
pub fn report_hangs(after: Timeout) {
    hang::set_hook(after.period_ns(), None, ptr::null_mut());
}
