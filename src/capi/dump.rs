//! Dumps
//!
//! A program that hangs can say why: a dump shows each thread, what it waits for and since when, which
//! thread owns that, and what it owns itself. Deadlocks come first:
//!     threading: process 4711, 3 threads, 2 of them deadlocked:
//!       "Thread-1" waits for lock 0x7f30c1a20081, owned by "Thread-2", for 12.4 s
//!       "Thread-2" waits for lock 0x7f30c1a20041, owned by "Thread-1", for 12.4 s
//!     "MainThread" 4711  joins "Thread-1", for 12.4 s
//!     ...
//!
//! A dump locks nothing and allocates nothing. It may be made in a signal handler, whatever the thread
//! was doing, in a child of fork, and during process exit.

use core::ffi::c_int;

use crate::capi::status::threading_status;
use crate::capi::{signal_safe, status_of};
use crate::dump;

/// Writes what each thread waits for, and what it owns, to a file descriptor.
///
/// A dump changes nothing: no wait ends, and no object is created. The threads run on while it is made,
/// so that its lines may show different moments. A deadlock is reported only if it has been proved.
///
/// \param fd the file descriptor to which the text is written
/// \return THREADING_OK if the dump has been written; THREADING_ERR_VALUE if `fd` is negative;
///     THREADING_ERR_SYSTEM if the text could not be written
///
/// \blocks only as long as writing to the file descriptor does
/// \threadsafety any thread, and any signal handler
/// \python `faulthandler.dump_traceback(file)`
/// \since 0.1.0
/// \sa threading_lock_owner, threading_rlock_owner
#[unsafe(no_mangle)]
pub extern "C" fn threading_dump(fd: c_int) -> threading_status {
    status_of(signal_safe(|| dump::dump(fd)))
}
