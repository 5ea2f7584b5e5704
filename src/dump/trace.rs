//! Traces: each wait of at least 10 microseconds as a slice on the track of its thread, and an arrow from the thread
//! that has ended it. The format is the JSON array of Chrome's trace viewer, which Perfetto reads.
//!
//! A thread writes each of its waits itself, when the wait has ended, by one system call. It takes no lock and
//! allocates no memory, so that waits in signal handlers are in the trace, too. The thread that ends a wait only leaves
//! a record (`sync::wait_observer`); the waiter writes the events of both.
//!
//! A child of fork has no trace, since the file is its parent's.

use core::ffi::{CStr, c_int};

use crate::dump::deadlock::owner_ident;
use crate::dump::json::JsonText;
use crate::dump::sentences as say;
use crate::dump::text::kind_and_name;
use crate::dump::threads;
use crate::dump::trace_file::{self, Writer, change, pid};
use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::handle::note::MAX_NAME;
use crate::sync::wait_note::{EXIT_CALLBACKS, PROCESS_EXIT, SLEEP};
use crate::sync::wait_observer::{EndedWait, NOTIFY, Observer, Outcome, last_wake};
use crate::sys::fd;
use crate::sys::{calling_thread, tls};
use crate::thread::naming::{self, MAX_REPORTED_NAME};
use crate::thread::object::Thread;
use crate::thread::registry;
use crate::time::Deadline;

/// Shorter waits are not written.
const MIN_WAIT_NS: u64 = 10_000;

static OBSERVER: Observer = Observer { owner: owner_ident, end, named };

/// Starts a trace to this file descriptor, and ends the current one, if there is one.
pub(crate) fn start(file: c_int) -> Result<()> {
    if file < 0 { Err(Error::Descriptor) } else { start_to(file, false) }
}

/// Ends the trace, if there is one.
pub(crate) fn stop() -> Result<()> {
    change(None, Deadline::NEVER, &OBSERVER)
}

/// Ends the trace because the process exits. Waits neither for a thread whose write blocks, nor for a reader that
/// leaves a pipe full: then the array has no end.
pub(crate) fn stop_at_exit() {
    const MAX_WAIT_NS: u64 = 100_000_000;
    if trace_file::is_on() {
        let _ = change(None, Deadline::now().add_ns(MAX_WAIT_NS), &OBSERVER);
    }
}

/// Starts a trace to a file, which it creates or empties. `%p` in the path stands for the process ID.
pub(crate) fn start_to_path(path: &[u8]) -> Result<()> {
    const SIZE: usize = 1024;
    let mut text = JsonText::<SIZE>::new();
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        if rest.starts_with(b"%p") {
            text.number(pid());
            rest = &after[1..];
        } else {
            text.bytes(&[byte]);
            rest = after;
        }
    }
    text.bytes(b"\0");
    let path = CStr::from_bytes_with_nul(text.written()).map_err(|_| Error::System)?;
    let file = fd::create(path)?;
    start_to(file, true)
}

/// Starts a trace to this file, and writes the names of the threads.
fn start_to(file: c_int, is_own: bool) -> Result<()> {
    change(Some((file, is_own)), Deadline::NEVER, &OBSERVER)?;
    // Threads that start from now on, or get another name, write it themselves.
    threads::for_each_live_thread(|ident, thread| {
        if let Some(writer) = Writer::enter() {
            Events::new(writer).thread_name(ident, thread);
        }
    });
    Ok(())
}

/// In a child of fork: the trace belongs to the parent.
pub(crate) fn after_fork_in_child() {
    trace_file::after_fork_in_child();
}

/// Writes the name of the thread with this identifier, which begins or has been renamed.
fn named(ident: u64) {
    let Some(thread) = threads::find_thread(ident).filter(|thread| thread.native_id() != 0) else { return };
    if let Some(writer) = Writer::enter() {
        Events::new(writer).thread_name(ident, Some(thread));
    }
}

/// Writes a wait of the calling thread, which has ended.
fn end(wait: &EndedWait) {
    let ended = Deadline::now();
    if ended.0.saturating_sub(wait.began.0) < MIN_WAIT_NS {
        return;
    }
    if let Some(writer) = Writer::enter() {
        let mut events = Events::new(writer);
        events.own_name();
        events.wait(wait, ended);
    }
}

/// The type of an object that has been freed. `kind_and_name` returns neither it nor `say::THREAD`.
const FREED_KIND: &str = "freed";

fn kind_of(object: usize) -> &'static str {
    if Handle::<Thread>::from_bits(object).check().is_ok() {
        return say::THREAD;
    }
    kind_and_name(object, &mut [0; MAX_NAME + 1]).map_or(FREED_KIND, |(kind, _)| kind)
}

/// A wait, or one of its two stages: a waiter of a condition waits for a notify, and then for the lock.
struct Stage {
    object: usize,
    owner: u64,
    outcome: Outcome,
    /// The second stage of a wait for a condition.
    is_notified: bool,
}

/// The size of the longest name with its escapes: the names of objects are shorter than those of threads.
const MAX_ESCAPED_NAME: usize = 6 * MAX_REPORTED_NAME;
/// The size of the longest event, which has three names.
const MAX_EVENT: usize = 3 * MAX_ESCAPED_NAME + 400;
const _: () = assert!(MAX_NAME <= MAX_REPORTED_NAME);

/// Events, each of which begins with the comma that separates it from the previous one. They are written together when
/// this value is dropped. The usual five events of a wait fit into the buffer; if the next event may not fit, those
/// before it are written first.
struct Events {
    writer: Writer,
    text: JsonText<{ MAX_EVENT + 600 }>,
}

impl Events {
    fn new(writer: Writer) -> Events {
        Events { writer, text: JsonText::new() }
    }

    /// Adds the beginning of an event of this phase, on the track of a thread.
    fn event(&mut self, phase: &str, thread: u64) {
        if self.text.room() < MAX_EVENT {
            self.flush();
        }
        self.text.text(",\n{\"ph\":\"").text(phase).text("\",\"pid\":").number(pid());
        self.text.text(",\"tid\":").number(thread);
    }

    fn flush(&mut self) {
        if !self.text.written().is_empty() {
            self.writer.write(self.text.written());
            self.text.clear();
        }
    }

    /// Adds the name of the calling thread, unless it has written its name to this trace before.
    fn own_name(&mut self) {
        let ident = threads::my_ident();
        let traced = self.writer.session << 32 ^ ident.rotate_left(48) ^ ident;
        if tls::with(|block| block.traced.replace(traced)) != traced {
            self.thread_name(ident, threads::find_thread(ident));
        }
    }

    /// Adds the event that names a thread. Without an object, only main has a name.
    fn thread_name(&mut self, ident: u64, thread: Option<&Thread>) {
        let is_main = ident == registry::main_ident();
        let native_id = match thread.map(Thread::native_id) {
            Some(id) if id != 0 => id.into(),
            _ if is_main => pid(),
            _ => return,
        };
        self.event("M", native_id);
        self.text.text(",\"name\":\"thread_name\",\"args\":{\"name\":\"");
        self.name_of_thread(ident, thread);
        self.text.text("\"}}");
    }

    fn name_of_thread(&mut self, ident: u64, thread: Option<&Thread>) {
        if let Some(thread) = thread {
            let mut buffer = [0; MAX_REPORTED_NAME];
            let name = naming::copy_unlocked(thread, &mut buffer);
            // The slot may have been reused during the copy.
            if let Some(name) = name.filter(|_| thread.ident() == ident) {
                self.text.escaped(name);
                return;
            }
        }
        if ident == registry::main_ident() {
            self.text.text(say::MAIN_THREAD);
        } else {
            self.text.text(say::IDENT_THREAD).number(ident);
        }
    }

    /// Adds the events of a wait of the calling thread.
    ///
    /// Perfetto draws an arrow from the slice that begins first to the other one. So it must not end in the slice of
    /// the wait, which began before the wake. It ends in a slice inside of that, which lasts from the wake until the
    /// thread runs. Two slices of a thread must not overlap unless one contains the other. So if the thread has waited
    /// during this wait, for example in a signal handler, the inner slice begins after that.
    fn wait(&mut self, wait: &EndedWait, ended: Deadline) {
        let inner_ended = Deadline(tls::with(|block| block.traced_until.replace(ended.0)));
        // A wake in the same nanosecond as the end would begin a slice without a length, which is in no wait.
        let find = |key| last_wake(key).filter(|(time, _)| *time >= wait.began && *time < ended);
        let split = |time: Deadline| time.max(inner_ended).min(ended);
        let EndedWait { object, owner, outcome, is_notified, .. } = *wait;
        let mut stage = Stage { object, owner, outcome, is_notified };
        let mut began = wait.began;
        // Only waiters in queues, whose keys are not their objects, are notified.
        let may_be_notified = wait.wake_key != object && !is_notified;
        if let Some((time, by)) = may_be_notified.then(|| find(wait.wake_key | NOTIFY)).flatten() {
            let notified = split(time);
            self.wait_slice(&Stage { outcome: Outcome::Woken, ..stage }, began, notified);
            began = notified;
            stage.is_notified = true;
            self.wait_slice(&stage, began, ended);
            self.wake(&Stage { is_notified: false, ..stage }, time, by, notified);
        } else {
            self.wait_slice(&stage, began, ended);
        }
        if let Some((time, by)) = find(wait.wake_key).filter(|_| wait.outcome != Outcome::TimedOut) {
            let woken = split(time).max(began);
            self.event("X", calling_thread::native_id());
            self.slice(woken, ended, "wake");
            self.text.text("wakes up\"}");
            self.wake(&stage, time, by, woken);
        }
    }

    fn wait_slice(&mut self, stage: &Stage, began: Deadline, ended: Deadline) {
        self.event("X", calling_thread::native_id());
        self.slice(began, ended, "wait");
        self.what_it_waits_for(stage);
        self.text.text("\",\"args\":{");
        self.object_args(stage.object);
        if stage.owner != 0 {
            self.text.text("\"owner\":\"");
            self.name_of_thread(stage.owner, threads::find_thread(stage.owner));
            self.text.text("\",");
        }
        self.text.text("\"result\":\"").text(match (stage.object, stage.outcome) {
            (SLEEP, _) | (_, Outcome::TimedOut) => "timed out",
            (_, Outcome::Woken) => "woken",
            (_, Outcome::Failed) => "failed",
        });
        self.text.text("\"}}");
    }

    /// Adds the slice of the thread that has ended a stage, and the arrow from there to the calling thread.
    fn wake(&mut self, stage: &Stage, time: Deadline, by: u32, arrives: Deadline) {
        let arrow = self.writer.next_arrow();
        self.event("X", by.into());
        self.slice(time, time, "wake");
        self.what_ends_it(stage);
        self.text.text("\"}");
        self.arrow("s", by.into(), arrow, time);
        self.arrow("f\",\"bp\":\"e", calling_thread::native_id(), arrow, arrives);
    }

    /// Adds the times of a slice, and the beginning of its name.
    fn slice(&mut self, began: Deadline, ended: Deadline, category: &str) {
        self.text.text(",\"ts\":").microseconds(began.0);
        self.text.text(",\"dur\":").microseconds(ended.0.saturating_sub(began.0));
        self.text.text(",\"cat\":\"").text(category).text("\",\"name\":\"");
    }

    fn arrow(&mut self, phase: &str, thread: u64, id: u64, time: Deadline) {
        self.event(phase, thread);
        self.text.text(",\"ts\":").microseconds(time.0).text(",\"cat\":\"wake\",\"name\":\"wakes\",\"id\":");
        self.text.number(id).text("}");
    }

    fn what_it_waits_for(&mut self, stage: &Stage) {
        let object = stage.object;
        let before = match (object, kind_of(object)) {
            (SLEEP, _) => say::SLEEPS,
            (PROCESS_EXIT, _) => "waits in the process exit or a shutdown",
            (EXIT_CALLBACKS, _) => "waits for the functions that another thread calls at exit",
            (_, say::THREAD) => say::JOINS,
            (_, say::CONDITION) if stage.is_notified => "waits for the lock of ",
            (_, say::CONDITION) => say::WAITS_FOR_NOTIFY,
            (_, say::BARRIER) => say::WAITS_AT,
            _ => say::WAITS_FOR,
        };
        self.text.text(before);
        if before.ends_with(' ') {
            self.object(object);
        }
    }

    fn what_ends_it(&mut self, stage: &Stage) {
        let object = stage.object;
        let before = match (object, kind_of(object)) {
            (EXIT_CALLBACKS, _) => "has called the functions at exit",
            (PROCESS_EXIT, _) | (_, say::THREAD) => "ends",
            (_, FREED_KIND) => "ends the wait for ",
            _ if stage.outcome == Outcome::Failed => "ends the wait for ",
            (_, say::CONDITION) if stage.is_notified => "releases the lock of ",
            (_, say::CONDITION) => "notifies ",
            (_, say::BARRIER) => "arrives last at ",
            (_, say::EVENT) => "sets ",
            _ => "releases ",
        };
        self.text.text(before);
        if before.ends_with(' ') {
            self.object(object);
        }
    }

    /// Adds the type and the name of an object, or its handle if it has no name.
    fn object(&mut self, bits: usize) {
        if let Ok((thread, _)) = Handle::<Thread>::from_bits(bits).check() {
            self.text.text("\\\"");
            self.name_of_thread(thread.ident(), Some(thread));
            self.text.text("\\\"");
            return;
        }
        let mut name = [0; MAX_NAME + 1];
        match kind_and_name(bits, &mut name) {
            None => self.text.text(say::FREED),
            Some((kind, 0)) => self.text.text(kind).text(" ").hexadecimal(bits),
            Some((kind, length)) => self.text.text(kind).text(" \\\"").escaped(&name[..length]).text("\\\""),
        };
    }

    /// Adds the arguments that describe an object: its type, handle and name.
    fn object_args(&mut self, bits: usize) {
        if matches!(bits, SLEEP | PROCESS_EXIT | EXIT_CALLBACKS) {
            return;
        }
        let mut name = [0; MAX_NAME + 1];
        let thread = Handle::<Thread>::from_bits(bits).check().ok().map(|(thread, _)| thread);
        let (kind, length) = kind_and_name(bits, &mut name).unwrap_or((kind_of(bits), 0));
        self.text.text("\"object\":\"").text(kind).text("\",\"handle\":\"").hexadecimal(bits).text("\",");
        if let Some(thread) = thread {
            self.text.text("\"name\":\"");
            self.name_of_thread(thread.ident(), Some(thread));
            self.text.text("\",");
        } else if length != 0 {
            self.text.text("\"name\":\"").escaped(&name[..length]).text("\",");
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.flush();
    }
}
