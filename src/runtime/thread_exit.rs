//! The end of a system thread, whoever started it: announced by a destructor of pthread's.
//!
//! A thread that is left by `pthread_exit` or cancelled ends here as well as one that returns, and so does a
//! thread that this library did not start but has met. The destructor asks to be called again in each of the
//! system's four rounds: in each, the values of the locals are destroyed, so that destructors of others may
//! still set and use some; in the last, the thread's records are given back. Destructors of others that come
//! even later, in the same round, find the thread without them.

use crate::handle::Handle;
use crate::local::tables;
use crate::lock::recursion;
use crate::panic_boundary::{FaultPoint, catch_panic, inject};
use crate::runtime::process_exit;
use crate::sync::lock_annotations;
use crate::sync::waiter::Waiter;
use crate::sys::annotate::{self, ignore_accesses, is_active, observe_accesses};
use crate::sys::libc_hooks::{LAST_ROUND, REGISTERED, rearm};
use crate::sys::tls;
use crate::thread::deregister::{deregister_current, known_current, mark_current_dummy_exiting};
use crate::thread::object::{DUMMY, HAS_RESULT, MAIN, TIMER, Thread};
use crate::thread::{ident, registry};
use crate::timer::object::Timer;
use crate::timer::worker;

const NEXT_TO_LAST_ROUND: u32 = LAST_ROUND - 1;

/// A thread of a model ends, of which the system knows nothing.
#[cfg(model)]
pub(crate) fn run_all_rounds_for_model() {
    while (REGISTERED..LAST_ROUND).contains(&tls::with(|block| block.exit_rounds.get())) {
        run_destructor_round();
    }
}

/// Called by libc in each round of the calling thread's destructors.
pub(crate) fn run_destructor_round() {
    let rounds = tls::with(|block| {
        block.exit_rounds.set(block.exit_rounds.get() + 1);
        block.exit_rounds.get()
    });
    if rounds == LAST_ROUND {
        if is_active() {
            lock_annotations::forget_current();
        }
        annotate::thread_finished();
    }
    if rounds == REGISTERED + 1 {
        ignore_accesses(|| catch_panic(mark_current_dummy_exiting));
    }
    ignore_accesses(|| run_round(rounds));
}

/// One round, in parts: a defect in one of them must not keep the end itself from being told.
fn run_round(rounds: u32) {
    catch_panic(|| {
        inject(FaultPoint::ThreadExit);
        match known_current() {
            // The system thread is a timer's no more when the timer has ended.
            Some(timer) if timer.has_flag(TIMER) && !timer.has_flag(MAIN) => worker::on_pthread_exit(timer),
            Some(thread) if !thread.has_flag(MAIN | DUMMY | HAS_RESULT) => thread.destroy_arg(),
            _ => {}
        }
    });
    let is_main = registry::is_main(ident::ident());
    // In the last round, ThreadSanitizer has left the thread, and code that it has instrumented cannot run there:
    // before a detector's eyes, the last two rounds are one.
    let destructions = match rounds {
        LAST_ROUND if is_active() => 0,
        NEXT_TO_LAST_ROUND if is_active() => 2,
        _ => 1,
    };
    for _ in 0..if is_main { 0 } else { destructions } {
        catch_panic(|| {
            inject(FaultPoint::ThreadExit);
            tables::destroy_round();
        });
    }
    // So is main's last round, which in a child of fork may be a thread that ThreadSanitizer leaves.
    let last = if is_main && is_active() { NEXT_TO_LAST_ROUND } else { LAST_ROUND };
    if rounds < last && rearm().is_ok() {
        return;
    }
    if is_main {
        // Main's values are destroyed by the exit, after it has waited for the others.
        observe_accesses(process_exit::exit_after_main_pthread_exit);
    }
    tls::with(|block| block.exit_rounds.set(LAST_ROUND));
    catch_panic(|| {
        inject(FaultPoint::ThreadExit);
        Handle::<Thread>::flush_slot_cache();
        Handle::<Timer>::flush_slot_cache();
        tables::free_current();
        recursion::on_thread_exit();
        Waiter::release_current();
    });
    catch_panic(deregister_current);
}
