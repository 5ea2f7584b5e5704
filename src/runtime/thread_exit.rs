//! The exit of an OS thread: a destructor of thread-specific data (`pthread_key_create`).
//!
//! It is called however the thread ends: by returning, by pthread_exit(), or by cancellation; and also for threads
//! that this library did not create, if they have used it. The destructor registers itself again in each of the
//! `PTHREAD_DESTRUCTOR_ITERATIONS` rounds but the last. Each round destroys the values of locals, including those that
//! destructors of other keys have set since the previous round. The last round also frees the library's records of the
//! thread. Destructors of other keys that libc calls after that, in the same round, find no records.

use crate::handle::slot_cache;
use crate::local::tables;
use crate::lock::recursion;
use crate::panic_boundary::{FaultPoint, catch_panic, inject};
use crate::runtime::process_exit;
use crate::sync::lock_annotations;
use crate::sync::waiter::Waiter;
use crate::sys::annotate::{self, ignore_accesses, is_active, observe_accesses};
use crate::sys::libc_hooks::{LAST_ROUND, REGISTERED, rearm};
use crate::sys::tls;
use crate::thread::deregister::{deregister_current, mark_current_dummy_exiting};
use crate::thread::object::{DUMMY, HAS_RESULT, MAIN, TIMER, known_current};
use crate::thread::{ident, registry};
use crate::timer::worker;

const NEXT_TO_LAST_ROUND: u32 = LAST_ROUND - 1;

/// Ends a thread of a model, for which libc calls no destructors.
#[cfg(model)]
pub(crate) fn run_all_rounds_for_model() {
    while (REGISTERED..LAST_ROUND).contains(&tls::with(|block| block.exit_rounds.get())) {
        run_destructor_round();
    }
}

/// Called by libc in each round of the calling thread's destructors.
pub(crate) fn run_destructor_round() {
    let round = tls::with(|block| {
        block.exit_rounds.set(block.exit_rounds.get() + 1);
        block.exit_rounds.get()
    });
    if round == LAST_ROUND {
        if is_active() {
            lock_annotations::forget_current();
        }
        annotate::thread_finished();
    }
    if round == REGISTERED + 1 {
        ignore_accesses(|| catch_panic(mark_current_dummy_exiting));
    }
    ignore_accesses(|| run_round(round));
}

/// The work of one round, in several parts: a panic in one of them must not prevent the others, least of all the
/// deregistration.
fn run_round(round: u32) {
    catch_panic(|| {
        inject(FaultPoint::ThreadExit);
        match known_current() {
            // In the first round only: this finishes the timer, and the worker is no longer the timer's thread.
            Some(timer) if timer.has_flag(TIMER) && !timer.has_flag(MAIN) => worker::on_pthread_exit(timer),
            Some(thread) if !thread.has_flag(MAIN | DUMMY | HAS_RESULT) => thread.destroy_arg(),
            _ => {}
        }
    });
    let is_main = || registry::is_main(ident::ident());
    // ThreadSanitizer stops tracking a thread before the last round, in which code that it has instrumented cannot
    // run. So while a race detector is active, the last two rounds of destruction are run in the next to last one.
    let destructions = match round {
        _ if is_main() => 0, // the main thread's values are destroyed at process exit, after the threads are joined
        LAST_ROUND if is_active() => 0,
        NEXT_TO_LAST_ROUND if is_active() => 2,
        _ => 1,
    };
    for _ in 0..destructions {
        catch_panic(|| {
            inject(FaultPoint::ThreadExit);
            if !is_main() {
                tables::destroy_round();
            }
        });
    }
    // A destructor may have forked, and this may be the child.
    let is_main = is_main();
    // While a race detector is active, the main thread's last round is the next to last one, too: in a child of fork,
    // ThreadSanitizer may stop tracking the main thread.
    let last_round = if is_main && is_active() { NEXT_TO_LAST_ROUND } else { LAST_ROUND };
    if round < last_round && rearm().is_ok() {
        return;
    }
    if is_main {
        observe_accesses(process_exit::exit_after_main_pthread_exit);
    }
    tls::with(|block| block.exit_rounds.set(LAST_ROUND));
    catch_panic(|| {
        inject(FaultPoint::ThreadExit);
        slot_cache::disable_and_free_slots();
        tables::free_current();
        recursion::on_thread_exit();
        Waiter::release_current();
    });
    catch_panic(deregister_current);
}
