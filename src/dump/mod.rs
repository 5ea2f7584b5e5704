//! Dumps: what each thread waits for, and what it owns. Deadlocks come first.
//!
//! A dump waits for no lock, allocates no memory and changes nothing but a static index, so that it may be made in a
//! signal handler, in a child of fork, during process exit, and while any of the library's mutexes is held: it only
//! tries to lock the registry, for the timers. [`snapshot`] reads the threads and locks, [`deadlock`] finds cycles,
//! [`text`] describes threads, and [`line`] writes. [`layout`] lets other programs read the same data. [`trace`] writes
//! each wait when it has ended.

mod contended;
pub(crate) mod contention;
mod deadlock;
pub(crate) mod hang;
mod json;
#[cfg(all(target_os = "linux", not(model)))]
mod layout;
pub(crate) mod line;
pub(crate) mod on_signal;
mod sentences;
mod snapshot;
mod text;
pub(crate) mod trace;

use core::ffi::c_int;

use crate::dump::line::{Lines, Output};
use crate::dump::sentences as say;
use crate::dump::snapshot::{Entry, Snapshot};
use crate::error::{Error, Result};
use crate::time::Deadline;

/// In a child of fork: resets the index and the trace, which threads of the parent may have been using.
pub(crate) fn after_fork_in_child() {
    snapshot::after_fork_in_child();
    trace::after_fork_in_child();
}

/// Writes a dump of all threads to a file descriptor.
pub(crate) fn dump(fd: c_int) -> Result<()> {
    if fd < 0 {
        return Err(Error::Descriptor);
    }
    let mut lines = Lines::new(Output::File(fd));
    let snapshot = Snapshot::take();
    write(&mut lines, &snapshot);
    lines.result()
}

fn write(lines: &mut Lines, snapshot: &Snapshot) {
    let now = Deadline::now();
    let (mut threads, mut deadlocked) = (0, 0);
    snapshot.for_each(&mut |entry| {
        threads += 1;
        deadlocked += usize::from(snapshot.is_deadlocked(entry));
    });
    // SAFETY: no preconditions.
    let pid = unsafe { libc::getpid() };
    lines.text(say::PROCESS).number(pid as u64).text(", ").count(threads, say::THREAD);
    if deadlocked != 0 {
        lines.text(", ").number(deadlocked as u64).text(say::DEADLOCKED);
    }
    lines.end();
    if deadlocked != 0 {
        snapshot.for_each(&mut |entry| {
            if snapshot.deadlock_of(entry).is_some_and(|cycle| cycle.first == entry.ident) {
                write_cycle(lines, snapshot, entry, now);
            }
        });
    }
    snapshot.for_each(&mut |entry| text::thread(lines, snapshot, entry, now));
    text::timers(lines, now);
    contended::write(lines, snapshot, now);
}

/// Writes a line for each thread of a cycle.
fn write_cycle(lines: &mut Lines, snapshot: &Snapshot, start: Entry, now: Deadline) {
    let mut at = start;
    loop {
        let Some(wait) = at.wait() else { return };
        lines.text("  ");
        text::thread_name(lines, at);
        lines.text(" ");
        text::what_it_waits_for(lines, snapshot, &wait, now);
        lines.end();
        match snapshot.next_in_cycle(at, start) {
            Some(next) if next.ident != start.ident => at = next,
            _ => return,
        }
    }
}
