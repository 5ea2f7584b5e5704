//! Dumps
//!
//! A program that hangs can say why: a dump shows each thread, what it waits for and since when, which
//! thread owns that, and what it owns itself. Deadlocks come first.
//!
//! The program `threading-dump` makes the same dump of another process, or of a core file.
//!
//! A dump waits for no lock longer than a few milliseconds, and for no dump of another thread longer than a
//! second. It calls no malloc(). It may be made in a signal handler, whatever the thread was doing, in a
//! child of fork, and during process exit.
//!
//! The environment variable `THREADING_DEBUG` turns on reports without a change of the program. It is read
//! when the library is loaded, and consists of words that are separated by commas. Dumps and reports go to
//! standard error: with `signal=QUIT` (or another signal), a dump on this signal; with `hang=5`, reports of
//! hangs that have lasted 5 seconds. `contention` adds statistics of the waits for locks and semaphores to
//! each dump, and `abort` aborts the process after the report of a deadlock.
//!
//! A program that is slow can say why, too: a trace shows in ui.perfetto.dev when each thread has waited,
//! for what, and which thread has ended the wait. `trace=FILE` in `THREADING_DEBUG` writes one
//! to a file, which is created or emptied; `%p` in its name stands for the process ID.
//!
//! Name a lock, make a dump on a signal, and report hangs:
//!     static bool prepare_for_hangs(threading_lock *journal)
//!     {
//!         return threading_lock_set_name(journal, "journal") == THREADING_OK &&
//!                threading_dump_on_signal(SIGQUIT, STDERR_FILENO) == THREADING_OK &&
//!                threading_set_hang_hook(60, NULL, NULL) == THREADING_OK;
//!     }

use core::ffi::{c_char, c_int, c_void};

use crate::capi::status::threading_status;
use crate::capi::{signal_safe, status, status_of};
use crate::dump;
use crate::dump::{contention, hang, on_signal, trace};
use crate::time::Timeout;

/// Writes what each thread waits for, and what it owns, to a file descriptor.
///
/// A dump changes nothing: no wait ends, and no object is created. The threads run on while it is made, so
/// that its lines may show different moments. A deadlock is reported only if it has been proved that all
/// its waits exist at the same time.
///
/// \param fd the file descriptor to which the text is written
/// \return THREADING_OK if the dump has been written; THREADING_ERR_VALUE if `fd` is negative;
///     THREADING_ERR_SYSTEM if the text could not be written, without SIGPIPE or SIGXFSZ
///
/// \blocks only while a write to the file descriptor blocks
/// \threadsafety any thread, and any signal handler
/// \python `faulthandler.dump_traceback(file)`
/// \since 0.1.0
/// \sa threading_dump_on_signal, threading_set_contention, threading_lock_owner, threading_rlock_owner
#[unsafe(no_mangle)]
pub extern "C" fn threading_dump(fd: c_int) -> threading_status {
    status_of(signal_safe(|| dump::dump(fd)))
}

/// Installs a signal handler that makes a dump, as Java has for SIGQUIT.
///
/// The thread that receives the signal makes the dump, and then calls the handler that the program had
/// installed before, if there is one; the default action is not taken, except after a fault, such as an
/// access to memory that is not mapped. The process goes on, and no wait ends, except for system calls of
/// the program if its handler was installed without SA_RESTART. If that was installed with SA_RESETHAND,
/// the first signal removes both handlers. If the program has installed another handler since, the next
/// call replaces that one.
///
/// \param signum the signal, for example SIGQUIT
/// \param fd the file descriptor to which dumps are written, which must stay open; -1 restores the former
///     handler, unless the program has installed another one since
/// \return THREADING_OK; THREADING_ERR_VALUE if the signal does not exist or cannot be caught, or if `fd` is
///     negative and not -1
///
/// \blocks never
/// \threadsafety any thread
/// \python `faulthandler.register(signum, file, chain=True)`
/// \since 0.1.0
/// \sa threading_dump
#[unsafe(no_mangle)]
pub extern "C" fn threading_dump_on_signal(signum: c_int, fd: c_int) -> threading_status {
    status(|| on_signal::dump_on_signal(signum, fd))
}

/// The kind of a hang: threads that wait for each other, so that none of their waits can end.
pub const THREADING_HANG_DEADLOCK: c_int = 1;
/// The kind of a hang: a process exit or a shutdown that waits for threads.
pub const THREADING_HANG_EXIT: c_int = 2;

/// A function that is called when threads hang.
///
/// One of the threads that hang calls it, in the call in which that thread waits. It may call all
/// functions, but must not wait for the threads that hang, as exit() does; _exit() and abort() end the
/// process immediately. If it is left by pthread_exit() or by an exception, the process is aborted.
///
/// \param kind THREADING_HANG_DEADLOCK or THREADING_HANG_EXIT
/// \param report a dump, of at most 256 KiB, or of at most 1 KiB if memory is exhausted; valid during the
///     call
/// \param arg the argument that was passed to threading_set_hang_hook()
///
/// \since 0.1.0
/// \sa threading_set_hang_hook
pub type threading_hang_hook =
    Option<unsafe extern "C-unwind" fn(kind: c_int, report: *const c_char, arg: *mut c_void)>;

/// Sets a function that is called when threads hang: once for each deadlock that has lasted for `seconds`,
/// and for a process exit or a shutdown that has lasted as long, again whenever that time has doubled. A
/// deadlock whose last wait is that of an exit or a shutdown is reported as THREADING_HANG_EXIT only.
///
/// The threads that wait check for themselves; there is no thread that watches them. Only waits without a
/// timeout for locks and for the ends of threads can be part of a deadlock. A thread that has begun to
/// report may call the former hook after this call has returned: its argument must stay valid.
///
/// \param seconds how long a hang has to last before it is reported; THREADING_FOREVER turns reports off,
///     which is the default
/// \param hook the function; NULL writes reports to standard error
/// \param arg its last argument
/// \return THREADING_OK; THREADING_ERR_VALUE or THREADING_ERR_OVERFLOW if `seconds` is out of range
///
/// \blocks for some milliseconds, until all threads that wait check with the new period; for about 0.1
///     seconds if such a thread runs a signal handler
/// \threadsafety any thread
/// \python none
/// \since 0.1.0
/// \sa threading_dump
///
/// # Safety
/// Any thread may call the hook with `arg` until another hook has been set, and all calls of this one have
/// returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_set_hang_hook(
    seconds: f64,
    hook: threading_hang_hook,
    arg: *mut c_void,
) -> threading_status {
    status(|| {
        hang::set_hook(Timeout::new(seconds)?.period_ns(), hook, arg);
        Ok(())
    })
}

/// Turns statistics of contention on or off. Each dump then lists the ten locks and semaphores for which
/// threads have waited longest, with the number of waits, their total time, the longest wait, and the
/// owner of the lock when that wait began.
///
/// Only waits in which a thread has parked are counted; the calls that do not wait become no slower. If the
/// statistics were off, they begin again from zero.
///
/// \param on whether waits are counted from now on
/// \return THREADING_OK
///
/// \blocks never
/// \threadsafety any thread
/// \python none
/// \since 0.1.0
/// \sa threading_dump
#[unsafe(no_mangle)]
pub extern "C" fn threading_set_contention(on: bool) -> threading_status {
    status(|| {
        contention::set(on);
        Ok(())
    })
}

/// Starts a trace of each wait of 10 microseconds and more: the object, the owner of the lock when the
/// thread parked, and an arrow from the thread that has ended the wait. Perfetto (ui.perfetto.dev) shows
/// it, with a track for each thread.
///
/// The text is a JSON array, in the format of Chrome's trace viewer. The start of a trace ends the former
/// one. The end of a trace, also by the process exit, closes the array, but not the file. A write that
/// fails ends the trace, and the process goes on: it gets no SIGPIPE or SIGXFSZ.
///
/// Only waits that begin and end during the trace are written. Calls that do not wait become no slower. A
/// child of fork has no trace until it starts one.
///
/// \param fd the file descriptor to which the trace is written, which must stay open until the trace ends;
///     -1 ends the trace
/// \return THREADING_OK; THREADING_ERR_VALUE if `fd` is negative and not -1; THREADING_ERR_SYSTEM if the
///     beginning could not be written, after the former trace has ended
///
/// \blocks while a write to the file descriptor of either trace blocks
/// \threadsafety any thread, but no signal handler
/// \python none
/// \since 0.1.0
/// \sa threading_dump
#[unsafe(no_mangle)]
pub extern "C" fn threading_trace(fd: c_int) -> threading_status {
    status(|| if fd == -1 { trace::stop() } else { trace::start(fd) })
}
