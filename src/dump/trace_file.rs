//! The file of a trace: how it is changed, and who may write to it.
//!
//! # State (`STATE`)
//!
//! | bits | meaning | who changes it |
//! |---|---|---|
//! | 0 to 31 writers | the number of threads that are writing events | a thread before it writes, if `ON` and not `CHANGING`, and after it has written |
//! | 32 `ON` | the file accepts events | `change`; a writer whose write has failed clears it |
//! | 33 `CHANGING` | a thread starts or stops a trace, and is the only one to do so. No thread begins to write | `change` |
//! | 34 to 63 session | the number of changes, by which a thread knows whether it has written its name to this trace | `change`; a child of fork |
//!
//! `change` sets `CHANGING`, waits until there are no writers, ends the array, and stores the next session. So nothing
//! follows the end of the array, and the descriptor is not used after the call. At the process exit, `change` waits
//! only for a limited time. A thread that gets the right to write, or to change the trace, reads with acquire, and
//! releases the right with release.

use core::ffi::c_int;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};

use crate::dump::json::JsonText;
use crate::error::{Error, Result};
use crate::sync::fork_epoch::fork_epoch;
use crate::sync::wait_observer::{self, Observer, TRACE};
use crate::sys::{fd, futex};
use crate::time::Deadline;

const WRITERS: u64 = 0xffff_ffff;
const ON: u64 = 1 << 32;
const CHANGING: u64 = 1 << 33;
const SESSION_ONE: u64 = 1 << 34;

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static STATE: AtomicU64 = AtomicU64::new(0);
/// The file, -1 if there is none. This and the next three are changed only while `CHANGING`.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static FILE: AtomicI32 = AtomicI32::new(-1);
/// Whether the library has opened the file, and what identifies it then. A program that closes all its descriptors, as
/// daemons do, closes that of the trace, too, and may give its number to another file.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static IS_OWN_FILE: AtomicBool = AtomicBool::new(false);
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static OWN_FILE: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
/// The number of arrows.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static ARROWS: AtomicU32 = AtomicU32::new(0);

/// Whether there is a trace.
pub(super) fn is_on() -> bool {
    STATE.load(Ordering::Relaxed) & ON != 0
}

/// In a child of fork: the trace belongs to the parent.
pub(super) fn after_fork_in_child() {
    wait_observer::turn_off(TRACE);
    FILE.store(-1, Ordering::Relaxed);
    IS_OWN_FILE.store(false, Ordering::Relaxed);
    STATE.store(next_session(STATE.load(Ordering::Relaxed)), Ordering::Release);
}

/// Returns the state without a trace, with the number of the next session.
fn next_session(state: u64) -> u64 {
    (state & !(SESSION_ONE - 1)).wrapping_add(SESSION_ONE)
}

/// Ends the trace, and starts one to the given file, which the library may have opened. Fails if the deadline passes
/// first.
pub(super) fn change(
    to: Option<(c_int, bool)>,
    deadline: Deadline,
    observer: &'static Observer,
) -> Result<()> {
    wait_until(deadline, || {
        let state = STATE.load(Ordering::Relaxed);
        let from = (state & CHANGING == 0).then_some(state);
        from.is_some_and(|from| {
            STATE.compare_exchange(from, from | CHANGING, Ordering::Acquire, Ordering::Relaxed).is_ok()
        })
    })?;
    wait_observer::turn_off(TRACE);
    let drained = wait_until(deadline, || STATE.load(Ordering::Acquire) & WRITERS == 0);
    let state = STATE.load(Ordering::Acquire);
    let former = FILE.swap(-1, Ordering::Relaxed);
    if drained.is_ok() {
        if state & ON != 0 && (deadline == Deadline::NEVER || fd::wait_until_writable(former, deadline)) {
            // Perfetto accepts an array without an end, too.
            let _ = write(former, b"\n]\n");
        }
        let is_open = is_still(former);
        if IS_OWN_FILE.swap(false, Ordering::Relaxed) && is_open {
            fd::close(former);
        }
    }
    let started = match to {
        Some((file, is_own)) if drained.is_ok() => write_beginning(file, is_own),
        _ => Ok(()),
    };
    let is_on = to.is_some() && drained.is_ok() && started.is_ok();
    if is_on {
        // Before another change may begin, which may turn it off.
        wait_observer::turn_on(TRACE, observer);
    }
    let next = next_session(state) | if is_on { ON } else { 0 };
    STATE.fetch_update(Ordering::Release, Ordering::Relaxed, |state| Some(next | state & WRITERS)).ok();
    drained.and(started)
}

/// Waits until `is_done` returns true: threads that write events, or are in `change`, wake no waiter. Fails if the
/// deadline passes first.
fn wait_until(deadline: Deadline, is_done: impl Fn() -> bool) -> Result<()> {
    const MAX_PAUSE_NS: u64 = 1_000_000;
    let mut pause = 1000;
    while !is_done() {
        if deadline.has_passed() {
            return Err(Error::System);
        }
        futex::wait(&crate::sys::atomic::AtomicU32::new(0), 0, Deadline::now().add_ns(pause));
        pause = (2 * pause).min(MAX_PAUSE_NS);
    }
    Ok(())
}

/// Writes the beginning of the array, with the name of the process.
fn write_beginning(file: c_int, is_own: bool) -> Result<()> {
    if is_own {
        let (device, number) = fd::identity(file).ok_or(Error::System)?;
        OWN_FILE[0].store(device, Ordering::Relaxed);
        OWN_FILE[1].store(number, Ordering::Relaxed);
    }
    let mut name = [0; 32];
    let length = fd::read_beginning(c"/proc/self/comm", &mut name);
    let name = name[..length].strip_suffix(b"\n").unwrap_or(&name[..length]);
    let mut text = JsonText::<512>::new();
    text.text("[\n{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":").number(pid());
    text.text(",\"tid\":").number(pid()).text(",\"args\":{\"name\":\"");
    text.escaped(if name.is_empty() { b"process" } else { name }).text("\"}}");
    let written = write(file, text.written());
    if written.is_ok() {
        FILE.store(file, Ordering::Relaxed);
        IS_OWN_FILE.store(is_own, Ordering::Relaxed);
        ARROWS.store(0, Ordering::Relaxed);
    } else if is_own {
        fd::close(file);
    }
    written
}

/// Writes to the file of the trace. Fails if the library has opened that file, and the program has closed it.
fn write(file: c_int, bytes: &[u8]) -> Result<()> {
    if !is_still(file) {
        return Err(Error::System);
    }
    fd::without_signals(|| fd::write_all(file, bytes))
}

/// Returns false if the library has opened the file of this descriptor, and that is another file by now, or none.
fn is_still(file: c_int) -> bool {
    let own = || OWN_FILE.each_ref().map(|part| part.load(Ordering::Relaxed));
    !IS_OWN_FILE.load(Ordering::Relaxed) || fd::identity(file) == Some(own().into())
}

pub(super) fn pid() -> u64 {
    // SAFETY: no preconditions.
    (unsafe { libc::getpid() }) as u64
}

/// The right to write events. `change` waits until no thread has it.
pub(super) struct Writer {
    /// The number of the trace.
    pub(super) session: u64,
    fork_epoch: u32,
}

impl Writer {
    /// Returns `None` if there is no trace.
    pub(super) fn enter() -> Option<Writer> {
        loop {
            // Read first: in a child of fork, the state is another one, and the exchange fails.
            let fork_epoch = fork_epoch();
            let state = STATE.load(Ordering::Relaxed);
            if state & (ON | CHANGING) != ON {
                return None;
            }
            let entered = STATE.compare_exchange_weak(state, state + 1, Ordering::Acquire, Ordering::Relaxed);
            if entered.is_ok() {
                return Some(Writer { session: state / SESSION_ONE, fork_epoch });
            }
        }
    }

    /// Returns whether this is a child of fork in which the right is not valid: a signal handler that has interrupted
    /// this thread has forked.
    fn is_in_child(&self) -> bool {
        self.fork_epoch != fork_epoch()
    }

    /// Writes to the file. An error ends the trace.
    pub(super) fn write(&self, events: &[u8]) {
        if !self.is_in_child() && write(FILE.load(Ordering::Relaxed), events).is_err() {
            STATE.fetch_and(!ON, Ordering::AcqRel);
            wait_observer::turn_off(TRACE);
        }
    }

    /// Returns the identifier of the next arrow in the trace.
    pub(super) fn next_arrow(&self) -> u64 {
        u64::from(ARROWS.fetch_add(1, Ordering::Relaxed))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.is_in_child() {
            STATE.fetch_sub(1, Ordering::Release);
        }
    }
}
