//! Dumps: what each thread waits for, and what it owns. Deadlocks come first.
//!
//! A dump calls no `malloc`, and changes nothing but the index of threads and locks. It locks no mutex but that of the
//! registry, for the timers, and this one only if it becomes free within a few milliseconds. It waits for the index, but
//! at most a second during the same dump of another thread. So a dump may be made in a signal handler, in a child of
//! fork, during process exit, and while any of the library's mutexes is held. [`threads`] reads the threads and locks,
//! [`snapshot`] has them with their [`index`], [`deadlock`] finds cycles, [`text`] describes threads, and [`line`] writes.
//! [`layout`] lets other programs read the same data. [`trace`] writes each wait when it has ended, to a file that
//! [`trace_file`] guards.

mod contended;
pub(crate) mod contention;
mod deadlock;
pub(crate) mod hang;
mod index;
mod json;
#[cfg(all(target_os = "linux", not(model)))]
mod layout;
pub(crate) mod line;
pub(crate) mod on_signal;
mod sentences;
mod snapshot;
mod text;
mod threads;
pub(crate) mod trace;
mod trace_file;

use core::ffi::c_int;

use crate::dump::line::{Lines, Output};
use crate::dump::sentences as say;
use crate::dump::snapshot::Snapshot;
use crate::dump::threads::Entry;
use crate::error::{Error, Result};
use crate::sys::fd;
use crate::time::Deadline;

/// In a child of fork: resets the index and the trace, which threads of the parent may have been using.
pub(crate) fn after_fork_in_child() {
    index::after_fork_in_child();
    trace::after_fork_in_child();
}

/// Writes a dump of all threads to a file descriptor.
pub(crate) fn dump(file: c_int) -> Result<()> {
    if file < 0 {
        return Err(Error::Descriptor);
    }
    fd::without_signals(|| {
        let mut lines = Lines::new(Output::File(file));
        let snapshot = Snapshot::take();
        write(&mut lines, &snapshot);
        lines.result()
    })
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
            if let Some(cycle) = snapshot.deadlock_of(entry).filter(|cycle| cycle.first == entry.ident) {
                write_cycle(lines, snapshot, entry, cycle.length, now);
            }
        });
    }
    snapshot.for_each(&mut |entry| text::thread(lines, snapshot, entry, now));
    text::timers(lines, now);
    contended::write(lines, snapshot, now);
}

/// Writes a line for each thread of a cycle of this length. If another thread has broken the cycle since it was found,
/// by the release of a Lock, the edges need not lead back to the start.
fn write_cycle(lines: &mut Lines, snapshot: &Snapshot, start: Entry, length: usize, now: Deadline) {
    let mut at = start;
    for _ in 0..length {
        let Some(wait) = at.recorded_wait() else { return };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::handle::Handle;
    use crate::lock::lock::Lock;
    use crate::thread::object::Thread;
    use crate::time::Timeout;

    #[test]
    fn edges_into_another_cycle_are_followed_for_a_limited_length() {
        let (first, second, may_wait) = (Lock::new().unwrap(), Lock::new().unwrap(), Event::new().unwrap());
        let start = |acquired: Option<Handle<Lock>>, awaited: Handle<Lock>, may_wait: Handle<Event>| {
            let thread = Thread::new(move || {
                acquired.inspect(|lock| lock.acquire().unwrap());
                may_wait.wait(Timeout::FOREVER).unwrap();
                awaited.acquire().unwrap();
                awaited.release().unwrap();
                // The test has released the second lock.
                let _ = acquired.map(Handle::<Lock>::release);
            });
            let thread = thread.unwrap();
            thread.start().unwrap();
            thread
        };
        let mut threads =
            vec![start(Some(*first), *second, *may_wait), start(Some(*second), *first, *may_wait)];
        while [*first, *second].iter().any(|lock| lock.owner() == Ok(0)) {
            std::thread::yield_now();
        }
        threads.push(start(None, *first, *may_wait));
        may_wait.set().unwrap();
        let outside = threads[2].ident().unwrap();
        let in_cycle = threads[0].ident().unwrap();
        let written = loop {
            let snapshot = Snapshot::take();
            let is_found = snapshot.find(in_cycle).is_some_and(|entry| snapshot.is_deadlocked(entry));
            let waiter =
                snapshot.find(outside).filter(|entry| entry.wait().is_some_and(|wait| wait.is_parked()));
            if let Some(outside) = waiter.filter(|_| is_found) {
                assert!(!snapshot.is_deadlocked(outside));
                let mut buffer = [0; 4096];
                write_cycle(
                    &mut Lines::new(Output::Buffer(&mut buffer, 0)),
                    &snapshot,
                    outside,
                    3,
                    Deadline::now(),
                );
                break buffer.iter().filter(|&&byte| byte == b'\n').count();
            }
            std::thread::yield_now();
        };
        assert_eq!(written, 3);
        second.release().unwrap();
        threads.iter().for_each(|thread| assert_eq!(thread.join(Timeout::FOREVER), Ok(true)));
    }

    /// Otherwise, a dump would follow the chain from each of its threads.
    #[test]
    fn a_long_chain_of_edges_is_followed_once() {
        const LENGTH: usize = 40;
        let may_end = Event::new().unwrap();
        let end = *may_end;
        let mut chain = vec![Thread::new(move || assert_eq!(end.wait(Timeout::FOREVER), Ok(true))).unwrap()];
        chain[0].start().unwrap();
        for _ in 1..LENGTH {
            let previous = **chain.last().unwrap();
            let thread = Thread::new(move || assert_eq!(previous.join(Timeout::FOREVER), Ok(true)));
            chain.push(thread.unwrap());
            chain.last().unwrap().start().unwrap();
        }
        let idents: Vec<_> = chain.iter().map(|thread| thread.ident().unwrap()).collect();
        // Each thread needs some time to park.
        loop {
            let snapshot = Snapshot::take();
            let last = snapshot.find(idents[LENGTH - 1]).unwrap();
            assert!(!snapshot.is_deadlocked(last));
            if idents.iter().all(|&ident| snapshot.path().leads_to_dead_end(ident)) {
                break;
            }
            std::thread::yield_now();
        }
        may_end.set().unwrap();
        chain.iter().for_each(|thread| assert_eq!(thread.join(Timeout::FOREVER), Ok(true)));
    }
}
