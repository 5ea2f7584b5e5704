//! The text of a dump: one line for each thread, and one for each lock that it owns.

use crate::barrier::Barrier;
use crate::dump::deadlock::{awaited_lock, owner_of};
use crate::dump::line::Lines;
use crate::dump::snapshot::{self, Entry, OwnedLock, Snapshot};
use crate::event::Event;
use crate::handle::{Handle, Object, note};
use crate::lock::condition::Condition;
use crate::lock::lock::Lock;
use crate::lock::rlock::RLock;
use crate::semaphore::Semaphore;
use crate::sync::wait_note::{EXIT_CALLBACKS, PROCESS_EXIT, SLEEP, Wait};
use crate::sys::calling_thread;
use crate::sys::fd;
use crate::thread::ident::{self, FIRST_OWNER_TAG, OWNER_SHIFT};
use crate::thread::naming;
use crate::thread::object::{DAEMON, TIMER, Thread};
use crate::thread::registry;
use crate::time::Deadline;

/// Adds the name of a thread, or what is known of it.
pub(super) fn thread_name(lines: &mut Lines, entry: Entry) {
    match (entry.live_thread(), entry.waiter) {
        (Some(thread), _) => {
            let mut buffer = [0; naming::MAX_REPORTED_NAME];
            lines.name(naming::copy_unlocked(thread, &mut buffer));
        }
        (None, _) if entry.ident == registry::main_ident() => match snapshot::main_thread() {
            Some(main) => thread_name(lines, Entry { thread: Some(main), ..entry }),
            None => drop(lines.name(b"MainThread")),
        },
        (None, Some(waiter)) => {
            lines.text("thread ").number(waiter.native_id().into());
        }
        (None, None) => {
            lines.text("the thread with ident ").number(entry.ident);
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
        lines.text(" (timer)");
    }
    lines.text("  ");
    match entry.wait() {
        Some(wait) => what_it_waits_for(lines, snapshot, &wait, now),
        None if u64::from(native_id) == calling_thread::native_id() => drop(lines.text("makes this dump")),
        None => outside(lines, snapshot, entry, native_id, now),
    }
    lines.end();
    snapshot.for_each_lock_of(entry.ident, |lock| owned_lock(lines, entry.ident, lock));
}

fn owned_lock(lines: &mut Lines, owner: u64, lock: OwnedLock) {
    // The lock may have been released since the snapshot was taken.
    if owner_of(lock.bits) == Some(owner << OWNER_SHIFT) {
        lines.text("    owns ");
        object(lines, lock.bits);
        if lock.waiters != 0 {
            lines.text(" (").count(lock.waiters as usize, "waiter").text(")");
        }
        lines.end();
    }
}

/// Adds what a thread waits for, since when, and until when.
pub(super) fn what_it_waits_for(lines: &mut Lines, snapshot: &Snapshot, wait: &Wait, now: Deadline) {
    let (mut remark, mut is_notified) = ("", false);
    if wait.object == SLEEP {
        lines.text("sleeps");
    } else if wait.object == PROCESS_EXIT {
        exit(lines, snapshot);
    } else if wait.object == EXIT_CALLBACKS {
        lines.text("waits in the process exit or a shutdown for the functions that another thread calls");
    } else if let Ok((thread, _)) = Handle::<Thread>::from_bits(wait.object).check() {
        lines.text("joins ");
        thread_name(lines, Entry { ident: thread.ident(), thread: Some(thread), waiter: None });
    } else if let Ok((condition, _)) = Handle::<Condition>::from_bits(wait.object).check() {
        if wait.notified {
            is_notified = true;
            lines.text("notified on ");
            object(lines, wait.object);
            lines.text(", waits for its ").text(condition.lock_kind());
            lock_owner(lines, snapshot, wait);
        } else {
            lines.text("waits for a notify on ");
            object(lines, wait.object);
            match condition.lock_owner().filter(|&owner| owner >= FIRST_OWNER_TAG) {
                None => drop(lines.text(" (").text(condition.lock_kind()).text(" free)")),
                Some(tag) => {
                    lines.text(" (").text(condition.lock_kind());
                    owner(lines, snapshot, tag);
                    lines.text(")");
                }
            }
            if !condition.has_notified_a_waiter() {
                remark = "; no waiter has been notified since it was created";
            }
        }
    } else if Handle::<Barrier>::from_bits(wait.object).check().is_ok() {
        barrier(lines, wait.object);
    } else if let Ok((semaphore, _)) = Handle::<Semaphore>::from_bits(wait.object).check() {
        lines.text("waits for ");
        object(lines, wait.object);
        let (value, limit, waiters) = semaphore.report();
        lines.text(" (").number(value);
        if let Some(limit) = limit {
            lines.text(" of ").number(limit);
        }
        lines.text(" left, ").count(waiters as usize, "waiter").text(")");
    } else if let Ok(is_set) = Handle::<Event>::from_bits(wait.object).is_set() {
        lines.text("waits for ");
        object(lines, wait.object);
        lines.text(if is_set { " (set)" } else { " (not set)" });
    } else if owner_of(wait.object).is_some() {
        lines.text("waits for ");
        object(lines, wait.object);
        lock_owner(lines, snapshot, wait);
    } else if wait.notified && wait.condition_locks().is_some() {
        lines.text("notified on a condition that has been freed, waits for its lock");
        lock_owner(lines, snapshot, wait);
    } else {
        lines.text("waits for an object that has been freed");
    }
    lines.text(", for ").seconds(now.0.saturating_sub(wait.since.0));
    if wait.until != Deadline::NEVER && !is_notified {
        lines.text(", for at most ").seconds(wait.until.0.saturating_sub(now.0)).text(" more");
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
        lines.text(", which it is about to acquire");
    }
}

/// Adds for whom the process exit waits.
fn exit(lines: &mut Lines, snapshot: &Snapshot) {
    let mut threads = 0;
    snapshot.for_each(|entry| threads += usize::from(entry.thread.is_some_and(registry::is_awaited)));
    lines.text("waits in the process exit or a shutdown for ").count(threads, "non-daemon thread");
    // Pending timers count as threads that are awaited.
    let timers = registry::try_awaited_count().map_or(0, |awaited| awaited.saturating_sub(threads));
    if timers != 0 {
        lines.text(" and ").count(timers, "timer");
    }
}

/// Writes the pending timers that are due first, and the number of the others.
pub(super) fn timers(lines: &mut Lines, now: Deadline) {
    const SHOWN: usize = 8;
    let mut first = [None; SHOWN];
    let Some(count) = registry::try_pending_timers(&mut first) else {
        lines.text("timers: not known, because the library is using them").end();
        return;
    };
    for timer in first.iter().flatten() {
        let entry = Entry { ident: timer.ident, thread: Some(timer.thread), waiter: None };
        if entry.live_thread().is_none() {
            continue;
        }
        thread_name(lines, entry);
        lines.text(if timer.thread.has_flag(DAEMON) { " timer (daemon), due" } else { " timer, due" });
        match timer.due.0.checked_sub(now.0) {
            Some(left) => lines.text(" in ").seconds(left).end(),
            None => lines.text(" now").end(),
        }
    }
    let shown = first.iter().flatten().count();
    if count > shown {
        lines.count(count - shown, "more pending timer").end();
    }
}

fn barrier(lines: &mut Lines, bits: usize) {
    let Ok((barrier, _)) = Handle::<Barrier>::from_bits(bits).check() else { return };
    lines.text("waits at ");
    object(lines, bits);
    let arrived = crate::sync::waiter::all()
        .filter(|waiter| waiter.read_wait().is_some_and(|wait| wait.object == bits && wait.is_queued()))
        .count();
    lines
        .text(" (")
        .number(arrived as u64)
        .text(" of ")
        .number(barrier.unlocked_parties() as u64)
        .text(" arrived)");
}

/// Adds the owner of a lock, by the owner field of its word.
fn owner(lines: &mut Lines, snapshot: &Snapshot, tag: u64) {
    match tag {
        0 => drop(lines.text(", free")),
        _ if tag < FIRST_OWNER_TAG => drop(lines.text(", handed off to a waiter")),
        _ => {
            let ident = tag >> OWNER_SHIFT;
            if ident::exists_only_in_parent(ident) {
                lines.text(", owned since before the fork by a thread that does not exist here");
                return;
            }
            lines.text(", owned by ");
            thread_by_ident(lines, snapshot, ident);
        }
    }
}

/// Adds the name of the thread with this identifier.
pub(super) fn thread_by_ident(lines: &mut Lines, snapshot: &Snapshot, ident: u64) {
    match snapshot.find(ident) {
        Some(entry) => thread_name(lines, entry),
        None => drop(lines.text("the thread with ident ").number(ident)),
    }
}

/// Adds the type and the name of an object, or its handle if it has no name.
pub(super) fn object(lines: &mut Lines, bits: usize) {
    fn add<T: Object>(lines: &mut Lines, bits: usize, kind: &str) -> bool {
        let Ok((object, tag)) = Handle::<T>::from_bits(bits).check() else { return false };
        lines.text(kind).text(" ");
        let mut buffer = [0; note::MAX_NAME + 1];
        match note::name_of(object, tag, &mut buffer) {
            Some(name) => lines.name(name),
            None => lines.hexadecimal(bits),
        };
        true
    }
    let is_known = add::<Lock>(lines, bits, "lock")
        || add::<RLock>(lines, bits, "rlock")
        || add::<Condition>(lines, bits, "condition")
        || add::<Event>(lines, bits, "event")
        || add::<Semaphore>(lines, bits, "semaphore")
        || add::<Barrier>(lines, bits, "barrier");
    if !is_known {
        lines.text("an object that has been freed");
    }
}

/// Adds what a thread does that did not wait for an object of this library when the snapshot was taken.
fn outside(lines: &mut Lines, snapshot: &Snapshot, entry: Entry, native_id: u32, now: Deadline) {
    let number = system_call_of(native_id);
    if number.is_some_and(may_be_a_wait) {
        let waiter = snapshot::find_waiter(entry.ident);
        if let Some(wait) = (Entry { waiter, ..entry }).wait() {
            return what_it_waits_for(lines, snapshot, &wait, now);
        }
    }
    lines.text("running outside this library");
    if let Some(number) = number {
        lines.text(", in ");
        match SYSCALLS.iter().find(|(known, _)| *known == number) {
            Some((_, name)) => drop(lines.text(name)),
            None => drop(lines.text("system call ").number(number as u64)),
        }
    }
}

/// Returns the number of the system call in which a thread is, if it is in one, and the kernel shows it.
#[inline(never)]
fn system_call_of(native_id: u32) -> Option<i64> {
    let mut path = [0; 48];
    let mut text = [0; 64];
    let length = fd::read_beginning(path_of(&mut path, native_id)?, &mut text);
    text[..length].split(|&byte| byte == b' ').next().and_then(parse_number)
}

/// Returns whether a thread in this system call may have begun to wait since the snapshot was taken.
fn may_be_a_wait(system_call: i64) -> bool {
    SYSCALLS.iter().any(|&(number, name)| number == system_call && name == "futex(2)")
}

fn parse_number(text: &[u8]) -> Option<i64> {
    core::str::from_utf8(text).ok()?.parse().ok()
}

/// Returns the path of the file in which the kernel shows the system call of a thread.
fn path_of(buffer: &mut [u8; 48], native_id: u32) -> Option<&core::ffi::CStr> {
    const BEFORE: &[u8] = b"/proc/self/task/";
    const AFTER: &[u8] = b"/syscall\0";
    let mut at = BEFORE.len();
    buffer[..at].copy_from_slice(BEFORE);
    let mut digits = 1;
    while native_id / 10_u32.pow(digits) != 0 && digits < 9 {
        digits += 1;
    }
    for digit in (0..digits).rev() {
        buffer[at] = b'0' + (native_id / 10_u32.pow(digit) % 10) as u8;
        at += 1;
    }
    buffer[at..at + AFTER.len()].copy_from_slice(AFTER);
    core::ffi::CStr::from_bytes_until_nul(buffer).ok().filter(|_| native_id != 0)
}

/// The system calls in which programs usually block.
#[cfg(target_os = "linux")]
const SYSCALLS: &[(i64, &str)] = &[
    (libc::SYS_read, "read(2)"),
    (libc::SYS_write, "write(2)"),
    (libc::SYS_futex, "futex(2)"),
    (libc::SYS_ppoll, "ppoll(2)"),
    (libc::SYS_pselect6, "pselect(2)"),
    (libc::SYS_epoll_pwait, "epoll_wait(2)"),
    (libc::SYS_nanosleep, "nanosleep(2)"),
    (libc::SYS_clock_nanosleep, "clock_nanosleep(2)"),
    (libc::SYS_wait4, "wait4(2)"),
    (libc::SYS_waitid, "waitid(2)"),
    (libc::SYS_accept4, "accept(2)"),
    (libc::SYS_accept, "accept(2)"),
    (libc::SYS_connect, "connect(2)"),
    (libc::SYS_recvfrom, "recv(2)"),
    (libc::SYS_recvmsg, "recvmsg(2)"),
    (libc::SYS_sendto, "send(2)"),
    (libc::SYS_fsync, "fsync(2)"),
    (libc::SYS_flock, "flock(2)"),
    (libc::SYS_rt_sigtimedwait, "sigtimedwait(2)"),
    (libc::SYS_rt_sigsuspend, "sigsuspend(2)"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_poll, "poll(2)"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_select, "select(2)"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_epoll_wait, "epoll_wait(2)"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_pause, "pause(2)"),
];
#[cfg(not(target_os = "linux"))]
const SYSCALLS: &[(i64, &str)] = &[];
