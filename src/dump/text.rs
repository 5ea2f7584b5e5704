//! The text of a dump: one line for each thread, and one for each lock that it owns.

use core::ffi::{CStr, c_long};

use crate::barrier::Barrier;
use crate::dump::deadlock::{awaited_lock, owner_of};
#[cfg(all(target_os = "linux", not(model)))]
use crate::dump::layout::SYSCALLS;
use crate::dump::line::{Lines, decimal, parse_decimal};
use crate::dump::sentences as say;
use crate::dump::snapshot::Snapshot;
use crate::dump::threads::{self, Entry, OwnedLock};
use crate::event::Event;
use crate::handle::{Handle, Object, note};
use crate::lock::condition::Condition;
use crate::lock::lock::Lock;
use crate::lock::rlock::RLock;
use crate::semaphore::Semaphore;
use crate::sync::wait_note::{EXIT_CALLBACKS, PROCESS_EXIT, SLEEP, Wait};
use crate::sync::waiter::Waiter;
use crate::sync::waiter_pool;
use crate::sys::calling_thread;
use crate::sys::fd;
use crate::thread::ident::{self, FIRST_OWNER_TAG, OWNER_SHIFT};
use crate::thread::naming;
use crate::thread::object::{DAEMON, TIMER, Thread};
use crate::thread::registry;
use crate::time::Deadline;
use crate::timer::pending;

/// Adds the name of a thread, or its native ID or identifier if the name is not known.
pub(super) fn thread_name(lines: &mut Lines, entry: Entry) {
    match (entry.live_thread(), entry.waiter) {
        (Some(thread), _) => {
            let mut buffer = [0; naming::MAX_REPORTED_NAME];
            let name = naming::copy_unlocked(thread, &mut buffer);
            // The slot may have been reused during the copy.
            match name.filter(|_| entry.live_thread().is_some()) {
                Some(name) => drop(lines.name(name)),
                None => drop(lines.text(say::IDENT_THREAD).number(entry.ident)),
            }
        }
        (None, _) if entry.ident == registry::main_ident() => match threads::main_thread() {
            Some(main) => thread_name(lines, Entry::of_thread(entry.ident, Some(main))),
            None => drop(lines.name(say::MAIN_THREAD.as_bytes())),
        },
        (None, Some(waiter)) => {
            lines.text(say::NATIVE_THREAD).number(waiter.native_id().into());
        }
        (None, None) => {
            lines.text(say::IDENT_THREAD).number(entry.ident);
        }
    }
}

/// Writes the lines of a thread: what it waits for, and what it owns. Nothing if it has ended since the snapshot was
/// taken.
pub(super) fn thread(lines: &mut Lines, snapshot: &Snapshot, entry: Entry, now: Deadline) {
    if entry.thread.is_some() && entry.live_thread().is_none() {
        return;
    }
    thread_name(lines, entry);
    let native_id = match (entry.thread, entry.waiter) {
        (Some(thread), _) if thread.native_id() != 0 => thread.native_id(),
        // SAFETY: no preconditions.
        (None, None) if entry.ident == registry::main_ident() => (unsafe { libc::getpid() }) as u32,
        (None, None) | (Some(_), None) => 0,
        (_, Some(waiter)) => waiter.native_id(),
    };
    if native_id != 0 && (entry.thread.is_some() || entry.ident == registry::main_ident()) {
        lines.text(" ").number(native_id.into());
    }
    if entry.thread.is_some_and(|thread| thread.has_flag(TIMER)) {
        lines.text(say::IS_TIMER);
    }
    lines.text("  ");
    match entry.wait() {
        Some(wait) => what_it_waits_for(lines, snapshot, &wait, now),
        None if u64::from(native_id) == calling_thread::native_id() => drop(lines.text(say::MAKES_DUMP)),
        // Its native ID is stored before it calls anything.
        None if native_id == 0 => drop(lines.text(say::STARTING)),
        None => outside(lines, snapshot, entry, native_id, now),
    }
    lines.end();
    snapshot.for_each_lock_of(entry.ident, &mut |lock| owned_lock(lines, entry.ident, lock));
}

fn owned_lock(lines: &mut Lines, owner: u64, lock: OwnedLock) {
    // The lock may have been released since the snapshot was taken.
    if owner_of(lock.bits) == Some(owner << OWNER_SHIFT) {
        lines.text(say::OWNS);
        object(lines, lock.bits);
        if lock.waiters != 0 {
            lines.text(" (").count(lock.waiters as usize, say::WAITER).text(")");
        }
        lines.end();
    }
}

/// Adds what a thread waits for, since when, and until when. Each object is checked only once, so that one that is
/// freed during the call is described as if it were alive, or as freed, and not as both.
pub(super) fn what_it_waits_for(lines: &mut Lines, snapshot: &Snapshot, wait: &Wait, now: Deadline) {
    let (mut remark, mut is_notified) = ("", false);
    if wait.object == SLEEP {
        lines.text(say::SLEEPS);
    } else if wait.object == PROCESS_EXIT {
        exit(lines);
    } else if wait.object == EXIT_CALLBACKS {
        lines.text(say::WAITS_FOR_CALLBACKS);
    } else if let Ok((thread, _)) = Handle::<Thread>::from_bits(wait.object).check() {
        lines.text(say::JOINS);
        thread_name(lines, Entry::of_thread(thread.ident(), Some(thread)));
    } else if let Ok(found @ (condition, _)) = Handle::<Condition>::from_bits(wait.object).check() {
        if wait.notified {
            is_notified = true;
            lines.text(say::NOTIFIED);
            checked_object(lines, say::CONDITION, wait.object, found);
            lines.text(say::WAITS_FOR_ITS).text(condition.lock_kind());
            lock_owner(lines, snapshot, wait);
        } else {
            lines.text(say::WAITS_FOR_NOTIFY);
            checked_object(lines, say::CONDITION, wait.object, found);
            match condition.lock_owner().filter(|&owner| owner >= FIRST_OWNER_TAG) {
                None => drop(lines.text(" (").text(condition.lock_kind()).text(say::FREE_LOCK)),
                Some(tag) => {
                    lines.text(" (").text(condition.lock_kind());
                    owner(lines, snapshot, tag);
                    lines.text(")");
                }
            }
            if !condition.has_notified_a_waiter() {
                remark = say::NO_NOTIFY;
            }
        }
    } else if let Ok(barrier) = Handle::<Barrier>::from_bits(wait.object).check() {
        waits_at_barrier(lines, snapshot, wait.object, barrier);
    } else if let Ok(found @ (semaphore, _)) = Handle::<Semaphore>::from_bits(wait.object).check() {
        lines.text(say::WAITS_FOR);
        checked_object(lines, say::SEMAPHORE, wait.object, found);
        let (value, limit, waiters) = semaphore.report();
        lines.text(" (").number(value);
        if let Some(limit) = limit {
            lines.text(say::OF).number(limit);
        }
        lines.text(say::LEFT).count(waiters as usize, say::WAITER).text(")");
    } else if let Ok(event) = Handle::<Event>::from_bits(wait.object).check() {
        let is_set = Handle::<Event>::from_bits(wait.object).is_set().unwrap_or(false);
        lines.text(say::WAITS_FOR);
        checked_object(lines, say::EVENT, wait.object, event);
        lines.text(if is_set { say::IS_SET } else { say::IS_NOT_SET });
    } else if let Ok(lock) = Handle::<Lock>::from_bits(wait.object).check() {
        lines.text(say::WAITS_FOR);
        checked_object(lines, say::LOCK, wait.object, lock);
        lock_owner(lines, snapshot, wait);
    } else if let Ok(rlock) = Handle::<RLock>::from_bits(wait.object).check() {
        lines.text(say::WAITS_FOR);
        checked_object(lines, say::RLOCK, wait.object, rlock);
        lock_owner(lines, snapshot, wait);
    } else if wait.notified && wait.condition_locks().is_some() {
        lines.text(say::NOTIFIED_ON_FREED);
        lock_owner(lines, snapshot, wait);
    } else {
        lines.text(say::WAITS_FOR_FREED);
    }
    lines.text(say::FOR).seconds(now.0.saturating_sub(wait.since.0));
    if wait.until != Deadline::NEVER && !is_notified {
        lines.text(say::FOR_AT_MOST).seconds(wait.until.0.saturating_sub(now.0)).text(say::MORE);
    }
    lines.text(remark);
}

/// Adds the owner of the lock for which a thread waits.
fn lock_owner(lines: &mut Lines, snapshot: &Snapshot, wait: &Wait) {
    let Some((tag, _)) = awaited_lock(wait) else { return };
    // A waiter that is not parked may have acquired the lock.
    if wait.is_parked() || wait.is_queued() && tag != wait.owner_tag {
        owner(lines, snapshot, tag);
    } else {
        lines.text(say::ABOUT_TO_ACQUIRE);
    }
}

/// Adds how many threads and timers the process exit waits for.
fn exit(lines: &mut Lines) {
    // Not the snapshot's: without an index, that would search for the next thread each time, and each thread that is
    // deadlocked with the exit needs the number.
    let threads = threads::live_threads().filter(|thread| registry::is_awaited(thread)).count();
    lines.text(say::EXITS).count(threads, say::NON_DAEMON);
    // The count of the registry includes the pending timers.
    let timers = registry::try_awaited_count().map_or(0, |awaited| awaited.saturating_sub(threads));
    if timers != 0 {
        lines.text(say::AND).count(timers, say::TIMER);
    }
}

/// Writes the pending timers that are due first, and the number of the others.
pub(super) fn timers(lines: &mut Lines, now: Deadline) {
    const SHOWN: usize = 8;
    /// A thread that uses the timers has done so after a millisecond, unless it waits for a CPU, or is stopped; or the
    /// dump is made by a signal handler that has interrupted it.
    const TRIES: u32 = 5;
    let mut first = [None; SHOWN];
    let mut tried = 0;
    let count = loop {
        if let Some(count) = pending::try_copy_first(&mut first) {
            break count;
        }
        tried += 1;
        if tried == TRIES {
            lines.text(say::TIMERS_NOT_KNOWN).end();
            return;
        }
        calling_thread::pause_for_a_millisecond();
    };
    for timer in first.iter().flatten() {
        let entry = Entry::of_thread(timer.ident, Some(timer.thread));
        if entry.live_thread().is_none() {
            continue;
        }
        thread_name(lines, entry);
        lines.text(if timer.thread.has_flag(DAEMON) { say::DAEMON_TIMER_DUE } else { say::TIMER_DUE });
        match timer.due.0.checked_sub(now.0) {
            Some(left) => lines.text(say::DUE_IN).seconds(left).end(),
            None => lines.text(say::DUE_NOW).end(),
        }
    }
    let shown = first.iter().flatten().count();
    if count > shown {
        lines.count(count - shown, say::MORE_TIMERS).end();
    }
}

/// While the action runs, all have arrived: the thread that runs it, which may wait for something else, and others that
/// wait for its end. Some of the waiters may wait for the next round.
fn waits_at_barrier(lines: &mut Lines, snapshot: &Snapshot, bits: usize, barrier: (&Barrier, u64)) {
    lines.text(say::WAITS_AT);
    checked_object(lines, say::BARRIER, bits, barrier);
    let parties = barrier.0.unlocked_parties();
    let acting = barrier.0.unlocked_acting_thread();
    let waits =
        |waiter: &Waiter| waiter.read_wait().is_some_and(|wait| wait.object == bits && wait.is_queued());
    let arrived = if acting.is_some() {
        parties
    } else {
        snapshot.arrived_at(bits, || waiter_pool::all().filter(|waiter| waits(waiter)).count())
    };
    lines.text(" (").number(arrived as u64).text(say::OF).number(parties as u64).text(say::ARRIVED);
    if let Some(acting) = acting {
        lines.text(say::ACTION_RUN_BY);
        thread_by_ident(lines, snapshot, acting);
    }
}

/// Adds the owner of a lock, by the owner field of its word.
fn owner(lines: &mut Lines, snapshot: &Snapshot, tag: u64) {
    match tag {
        0 => drop(lines.text(say::OWNER_FREE)),
        _ if tag < FIRST_OWNER_TAG => drop(lines.text(say::HANDED_OFF)),
        _ => {
            let ident = tag >> OWNER_SHIFT;
            if ident::exists_only_in_parent(ident) {
                lines.text(say::OWNED_IN_PARENT);
                return;
            }
            lines.text(say::OWNED_BY);
            thread_by_ident(lines, snapshot, ident);
        }
    }
}

/// Adds the name of the thread with this identifier.
pub(super) fn thread_by_ident(lines: &mut Lines, snapshot: &Snapshot, ident: u64) {
    match snapshot.find(ident) {
        Some(entry) => thread_name(lines, entry),
        None => drop(lines.text(say::IDENT_THREAD).number(ident)),
    }
}

/// Adds the type and the name of an object, or its handle if it has no name.
pub(super) fn object(lines: &mut Lines, bits: usize) {
    let mut buffer = [0; note::MAX_NAME + 1];
    match kind_and_name(bits, &mut buffer) {
        None => drop(lines.text(say::FREED)),
        Some((kind, length)) => kind_and_label(lines, kind, bits, &buffer[..length]),
    }
}

/// Like [`object`], for an object that has been checked, with its tag. If it has been freed since, its handle is added.
fn checked_object<T: Object>(lines: &mut Lines, kind: &str, bits: usize, (object, tag): (&T, u64)) {
    let mut buffer = [0; note::MAX_NAME + 1];
    let name = note::name_of(object.header(), tag, &mut buffer).unwrap_or_default();
    kind_and_label(lines, kind, bits, name);
}

fn kind_and_label(lines: &mut Lines, kind: &str, bits: usize, name: &[u8]) {
    lines.text(kind).text(" ");
    match name {
        [] => lines.hexadecimal(bits),
        name => lines.name(name),
    };
}

/// Returns the type of an object, copies its name to the buffer, and returns the length of the name, 0 if it has none.
/// `None` if the object has been freed.
pub(super) fn kind_and_name(
    bits: usize,
    buffer: &mut [u8; note::MAX_NAME + 1],
) -> Option<(&'static str, usize)> {
    type Copier = fn(usize, &mut [u8; note::MAX_NAME + 1]) -> Option<usize>;
    fn copy<T: Object>(bits: usize, buffer: &mut [u8; note::MAX_NAME + 1]) -> Option<usize> {
        let (object, tag) = Handle::<T>::from_bits(bits).check().ok()?;
        Some(note::name_of(object.header(), tag, buffer).map_or(0, <[u8]>::len))
    }
    let copiers: [(&'static str, Copier); 6] = [
        (say::LOCK, copy::<Lock>),
        (say::RLOCK, copy::<RLock>),
        (say::CONDITION, copy::<Condition>),
        (say::EVENT, copy::<Event>),
        (say::SEMAPHORE, copy::<Semaphore>),
        (say::BARRIER, copy::<Barrier>),
    ];
    copiers.into_iter().find_map(|(kind, copy)| Some((kind, copy(bits, buffer)?)))
}

/// Adds what a thread does outside the library. It may have begun to wait in the library since the snapshot was taken.
fn outside(lines: &mut Lines, snapshot: &Snapshot, entry: Entry, native_id: u32, now: Deadline) {
    let number = system_call_of(native_id);
    if number.is_some_and(may_be_a_wait) {
        if let Some(wait) = entry.later_wait() {
            return what_it_waits_for(lines, snapshot, &wait, now);
        }
    }
    lines.text(say::OUTSIDE);
    if let Some(number) = number {
        lines.text(say::IN_SYSCALL);
        match SYSCALLS.iter().find(|(known, _)| *known == number) {
            Some((_, name)) => drop(lines.text(name)),
            None => drop(lines.text(say::SYSCALL).number(number as u64)),
        }
    }
}

/// Returns the number of the system call in which a thread is; `None` if it is in none, or the kernel does not show it.
#[inline(never)]
fn system_call_of(native_id: u32) -> Option<c_long> {
    let mut path = [0; 48];
    let mut text = [0; 64];
    let length = fd::read_beginning(path_of(&mut path, native_id)?, &mut text);
    // The kernel writes -1 for a thread that is stopped, or waits for a page, outside of a system call.
    let number = text[..length].split(|&byte| byte == b' ').next().and_then(parse_decimal)?;
    c_long::try_from(number).ok()
}

/// Returns whether a thread in this system call may have begun to wait since the snapshot was taken. After a stop of the
/// process, the kernel restarts waits with a timeout by a call of their own.
fn may_be_a_wait(system_call: c_long) -> bool {
    let waits = ["futex(2)", "restart_syscall(2)"];
    SYSCALLS.iter().any(|&(number, name)| number == system_call && waits.contains(&name))
}

/// Returns the path of the file in which the kernel shows the system call of a thread; `None` without a native ID.
fn path_of(buffer: &mut [u8; 48], native_id: u32) -> Option<&CStr> {
    let mut length = 0;
    let mut add = |part: &[u8]| {
        buffer[length..length + part.len()].copy_from_slice(part);
        length += part.len();
    };
    add(b"/proc/self/task/");
    decimal(native_id.into(), &mut add);
    add(b"/syscall\0");
    CStr::from_bytes_until_nul(buffer).ok().filter(|_| native_id != 0)
}

#[cfg(any(not(target_os = "linux"), model))]
const SYSCALLS: [(c_long, &str); 0] = [];

#[cfg(test)]
mod tests {
    use core::ffi::CStr;
    use core::ops::Deref;

    use super::*;
    use crate::dump::line::Output;
    use crate::error::Result;
    use crate::sys::atomic::{AtomicBool, AtomicUsize, Ordering};

    /// Another thread frees the object while the library describes a wait for it.
    #[test]
    fn an_object_that_is_freed_during_the_dump_is_alive_or_freed_and_not_both() {
        const LINES: u32 = 100_000;
        fn lines_about<T: Object, O: Deref<Target = Handle<T>>>(
            create: impl Fn() -> Result<O> + Sync,
            is_alive: &str,
        ) {
            let (object, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        let created = create().unwrap();
                        object.store(created.bits(), Ordering::Relaxed);
                    }
                });
                let snapshot = Snapshot::take();
                for _ in 0..LINES {
                    let now = Deadline::now();
                    let wait = Wait::new(object.load(Ordering::Relaxed), now);
                    let mut buffer = [0; 1024];
                    let mut lines = Lines::new(Output::Buffer(&mut buffer, 0));
                    what_it_waits_for(&mut lines, &snapshot, &wait, now);
                    lines.end();
                    let line = CStr::from_bytes_until_nul(&buffer).unwrap().to_str().unwrap();
                    let is_whole = if line.contains("freed") {
                        line == "waits for an object that has been freed, for 0.0 s\n"
                    } else {
                        line.starts_with(is_alive) && line.contains(", for 0.0 s")
                    };
                    if !is_whole {
                        is_over.store(true, Ordering::Relaxed);
                        panic!("{line}");
                    }
                }
                is_over.store(true, Ordering::Relaxed);
            });
        }
        lines_about(|| Barrier::new(2), "waits at barrier 0x");
        lines_about(Event::new, "waits for event 0x");
        lines_about(|| Semaphore::new(1), "waits for semaphore 0x");
        lines_about(Lock::new, "waits for lock 0x");
        lines_about(RLock::new, "waits for rlock 0x");
        lines_about(Condition::new, "waits for a notify on condition 0x");
    }

    #[test]
    fn a_thread_without_a_native_id_is_starting() {
        let created = Thread::new(|| ()).unwrap();
        created.set_name(c"worker").unwrap();
        let (thread, _) = created.check().unwrap();
        let mut buffer = [0; 1024];
        let mut lines = Lines::new(Output::Buffer(&mut buffer, 0));
        let entry = Entry::of_thread(thread.ident(), Some(thread));
        super::thread(&mut lines, &Snapshot::take(), entry, Deadline::now());
        assert!(buffer.starts_with(b"\"worker\"  starting\n\0"));
    }
}
