//! The end of a system thread, whoever started it: announced by a destructor of pthread's.
//!
//! A thread that is left by `pthread_exit` or cancelled ends here as well as one that returns, and so does a
//! thread that this library did not start but has met. The destructor asks to be called again in each of the
//! system's four rounds: in each, the values of the locals are destroyed, so that destructors of others may
//! still set and use some; in the last, the thread's records are given back. Destructors of others that come
//! even later, in the same round, find the thread without them.

use crate::sys::atomic::{AtomicU64, Ordering};
use core::ffi::c_void;

use crate::error::{Error, Result};
use crate::handle::{Handle, slot_cache};
use crate::local::tables;
use crate::lock::recursion;
use crate::panic_boundary::{Place, contain, inject};
use crate::runtime::process_exit;
use crate::sync::lock_annotations;
use crate::sync::waiter::Waiter;
use crate::sys;
use crate::sys::annotate::{self, seen, unseen, watches};
use crate::sys::tls;
use crate::thread::object::{DUMMY, MAIN, RETURNED, TIMER, Thread};
use crate::thread::{ident, registry};
use crate::timer::object::Timer;
use crate::timer::worker;

/// The block's `end_rounds`: 0 is a thread that nobody announced, `ARMED` one whose end will be; from there
/// it counts the rounds.
const ARMED: u32 = 1;
const LAST: u32 = ARMED + tables::ROUNDS;
const NEXT_TO_LAST: u32 = LAST - 1;

/// The key, one above libc's number; 0 as long as there is none.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_own"))]
static KEY: AtomicU64 = AtomicU64::new(0);

/// The key, made when it is first needed.
pub(crate) fn key() -> Result<libc::pthread_key_t> {
    let known = KEY.load(Ordering::Acquire);
    if known != 0 {
        return Ok((known - 1) as libc::pthread_key_t);
    }
    let mut key = 0;
    // SAFETY: `round` is a destructor as pthread wants it.
    if unsafe { sys::pthread_key_create(&mut key, Some(round)) } != 0 {
        return Err(Error::System);
    }
    match KEY.compare_exchange(0, u64::from(key) + 1, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Ok(key),
        Err(known) => {
            // SAFETY: made above, and used by nobody.
            unsafe { sys::pthread_key_delete(key) };
            Ok((known - 1) as libc::pthread_key_t)
        }
    }
}

/// Sees to it that the calling thread's end is announced.
pub(crate) fn arm() -> Result<()> {
    match tls::with(|mine| mine.end_rounds.get()) {
        0 => {
            ask_again()?;
            tls::with(|mine| mine.end_rounds.set(ARMED));
            slot_cache::open();
            Ok(())
        }
        LAST => Err(Error::Shutdown),
        _ => Ok(()),
    }
}

/// A thread of a model ends, of which the system knows nothing.
#[cfg(model)]
pub(crate) fn announce() {
    while (ARMED..LAST).contains(&tls::with(|mine| mine.end_rounds.get())) {
        begin_round();
    }
}

fn ask_again() -> Result<()> {
    if cfg!(model) {
        return Ok(());
    }
    const ANY: *const c_void = core::ptr::dangling();
    // SAFETY: the key exists; the value is only compared with NULL.
    if unsafe { sys::pthread_setspecific(key()?, ANY) } == 0 { Ok(()) } else { Err(Error::NoMemory) }
}

/// The record on which the calling thread sleeps; it will be given back at the thread's end.
pub(crate) fn waiter() -> Result<&'static Waiter> {
    // Where the end cannot be announced, 64 bytes are lost: no reason to refuse the wait.
    let _ = arm();
    Waiter::mine()
}

unsafe extern "C" fn round(_: *mut c_void) {
    begin_round();
}

fn begin_round() {
    let rounds = tls::with(|mine| {
        mine.end_rounds.set(mine.end_rounds.get() + 1);
        mine.end_rounds.get()
    });
    if rounds == LAST {
        if watches() {
            lock_annotations::forget_current();
        }
        annotate::retire();
    }
    if rounds == ARMED + 1 {
        unseen(|| contain(note_end_of_dummy));
    }
    unseen(|| end_round(rounds));
}

/// One round, in parts: a defect in one of them must not keep the end itself from being told.
fn end_round(rounds: u32) {
    contain(|| {
        inject(Place::End);
        match current() {
            // The system thread is a timer's no more when the timer has ended.
            Some(timer) if timer.is(TIMER) && !timer.is(MAIN) => worker::left_by_exit(timer),
            Some(thread) if !thread.is(MAIN | DUMMY | RETURNED) => thread.destroy_arg(),
            _ => {}
        }
    });
    let is_main = registry::is_main(ident::ident());
    // In the last round, ThreadSanitizer has left the thread, and code that it has instrumented cannot run there:
    // before a detector's eyes, the last two rounds are one.
    let destructions = match rounds {
        LAST if watches() => 0,
        NEXT_TO_LAST if watches() => 2,
        _ => 1,
    };
    for _ in 0..if is_main { 0 } else { destructions } {
        contain(|| {
            inject(Place::End);
            tables::destroy_round();
        });
    }
    // So is main's last round, which in a child of fork may be a thread that ThreadSanitizer leaves.
    let last = if is_main && watches() { NEXT_TO_LAST } else { LAST };
    if rounds < last && ask_again().is_ok() {
        return;
    }
    if is_main {
        // Main's values are destroyed by the exit, after it has waited for the others.
        seen(process_exit::main_has_left);
    }
    tls::with(|mine| mine.end_rounds.set(LAST));
    contain(|| {
        inject(Place::End);
        Handle::<Thread>::give_back_spare();
        Handle::<Timer>::give_back_spare();
        tables::give_back();
        recursion::give_back();
        Waiter::give_back();
    });
    contain(tell_end);
}

/// The first round of a dummy. If it has become one in the midst of its end, the last round may never come.
fn note_end_of_dummy() {
    if let Some(dummy) = current().filter(|thread| thread.is(DUMMY)) {
        registry::dummy_ends(dummy);
    }
}

fn tell_end() {
    match current() {
        Some(dummy) if dummy.is(DUMMY) => {
            registry::remove(dummy);
            dummy.end();
            tls::with(|mine| mine.thread.set(0));
            dummy.handle().let_go();
        }
        Some(thread) if !thread.is(MAIN) => {
            if thread.is(TIMER) {
                registry::ended(thread, 0);
                return;
            }
            // SAFETY: one that was started, and neither main nor a dummy nor a timer's.
            let stack = unsafe { thread.stack() };
            stack.trim();
            registry::ended(thread, stack.kept_size());
            thread.begin_exit();
        }
        _ => {}
    }
}

/// The calling thread has returned from its run. If its end could not be announced when it began, it is announced
/// now, or told here and now.
pub(crate) fn announce_if_unarmed() {
    if tls::with(|mine| mine.end_rounds.get()) == 0 && arm().is_err() {
        tell_end();
    }
}

/// The thread that runs here, as far as the library knows it.
fn current() -> Option<&'static Thread> {
    let handle = Handle::<Thread>::from_bits(tls::with(|mine| mine.thread.get()));
    handle.check().ok().map(|(thread, _)| thread)
}
