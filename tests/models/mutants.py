#!/usr/bin/env python3
"""Plants defects in a copy of the library, one at a time, and sees that a model finds each.

    tests/models/mutants.py [PART OF A NAME...]

A mutant is a text of a source file that is replaced by another. A model has found it when it fails, or does not end.
Run by tests/models/run --mutants, which says where everything is built.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "mutants"
LIMIT = 180  # seconds; without a mutant, each of these models ends well before

# name: (file, text, replacement, checker, model's file, part of the model's name)
MUTANTS = {
    "event: set wakes nobody": (
        "event.rs", "futex::wake_all(event.word().lower());", "",
        "loom", "event", "a_waiter_sees"),
    "event: set is relaxed": (
        "event.rs", "compare_exchange_weak(word, new, Ordering::Release,", "compare_exchange_weak(word, new, Ordering::Relaxed,",
        "loom", "event", "a_waiter_sees"),
    "event: is_set is relaxed": (
        "event.rs", "let word = event.word().load(Ordering::Acquire);\n        if word & TAG != tag {\n            return Err(Error::Handle);\n        }\n        if word & SET != 0",
        "let word = event.word().load(Ordering::Relaxed);\n        if word & TAG != tag {\n            return Err(Error::Handle);\n        }\n        if word & SET != 0",
        "loom", "event", "is_set_sees"),
    "event: a set that is set already is not written": (
        "event.rs", "(true, _) => word,", "(true, _) => return Ok(()),",
        "loom", "event", "wait_clear_check"),
    "event: the round is not counted": (
        "event.rs", "tag | SET | (word.wrapping_add(SEQ_ONE) & SEQ_MASK)", "tag | SET | (word & SEQ_MASK)",
        "loom", "event", "set_then_clear"),
    "event: a waiter whose time ran out stays counted": (
        "event.rs", "event.update_unless_set(tag, seq, |word| word - WAITER)", "event.update_unless_set(tag, seq, |word| word)",
        "loom", "event", "a_waiter_that_timed_out"),
    "event: a looker does not say that it sleeps": (
        "event.rs", "event.update_unless_set(tag, seq, |word| word & !SPINNING)", "event.update_unless_set(tag, seq, |word| word)",
        "loom", "event", "a_spinning_waiter_sees"),
    "semaphore: release wakes nobody": (
        "semaphore.rs", "futex::wake(semaphore.word().upper(),", "let _ = (semaphore.word().upper(),",
        "loom", "semaphore", "acquire_sees"),
    "semaphore: release wakes one only": (
        "semaphore.rs", "waiters_without_permit(word).min(count as u64) as u32", "1",
        "shuttle", "semaphore", "releasing_two"),
    "semaphore: a unit is taken relaxed": (
        "semaphore.rs", "compare_exchange(word, new, Ordering::Acquire,", "compare_exchange(word, new, Ordering::Relaxed,",
        "loom", "semaphore", "acquire_sees"),
    "semaphore: release is relaxed": (
        "semaphore.rs", "                word + more,\n                Ordering::Release,",
        "                word + more,\n                Ordering::Relaxed,",
        "loom", "semaphore", "acquire_sees"),
    "semaphore: a waiter whose time ran out stays counted": (
        "semaphore.rs", "!in_time && semaphore.cas_acquire(word, word - WAITER)", "!in_time && semaphore.cas_acquire(word, word)",
        "shuttle", "semaphore", "a_timeout_does_not"),
    "lock: it is taken relaxed": (
        "lock/raw.rs", "compare_exchange(tag, tag | owner_tag, Ordering::Acquire,", "compare_exchange(tag, tag | owner_tag, Ordering::Relaxed,",
        "loom", "lock", "one_of_two"),
    "lock: it is released relaxed": (
        "lock/raw.rs", "compare_exchange(tag | owner_tag, tag, Ordering::Release,", "compare_exchange(tag | owner_tag, tag, Ordering::Relaxed,",
        "loom", "lock", "one_of_two"),
    "lock: a release does not look after the line": (
        "lock/raw.rs", "            self.update_flags_and_wake(queue, wake_queue);\n            true\n", "            true\n",
        "loom", "lock", "the_lock_is_handed_off"),
    "lock: a waiter that accepts it stays in line": (
        "lock/raw.rs", "if acquired || has_timed_out {\n                    queue.remove(waiter);", "if state == OFFERED {\n                } else if acquired || has_timed_out {\n                    queue.remove(waiter);",
        "shuttle", "lock", "handoff_repeats"),
    "lock: an offer is never revoked": (
        "lock/raw.rs", "(offered.is_some() && queue.offer_time_left(now) > 0)", "offered.is_some()",
        "shuttle", "lock", "the_lock_is_offered_to_a_waiter"),
    "lock: an offer that is revoked is accepted all the same": (
        "lock/raw.rs", "            offered.revoke_offer();\n", "            let _ = offered.complete(GRANTED, &self.adaptive_spin);\n",
        "shuttle", "lock", "an_offer_is_accepted_or_revoked"),
    "lock: a waiter accepts an offer that it has seen, without a look under the guard": (
        "lock/raw.rs", "            let mut acquired = state == RETRY && self.try_barge(owner_tag, waiter);",
        "            if state == OFFERED {\n                self.word().fetch_and(!OWNER_MASK, Ordering::Acquire);\n                self.word().fetch_or(owner_tag, Ordering::Acquire);\n            }\n"
        "            let mut acquired = state == OFFERED || (state == RETRY && self.try_barge(owner_tag, waiter));",
        "shuttle", "lock", "an_offer_is_accepted_or_revoked"),
    "lock: a thread that waits beside an offer sleeps without a limit": (
        "lock/raw.rs", "if is_unresponsive || is_watcher || queue.try_start_watch(now) {", "if false {",
        "shuttle", "lock", "the_lock_is_offered_to_a_waiter"),
    "lock: no other waiter is called instead of one in a handler": (
        "lock/raw.rs", "while not_parked.0.iter().any(Option::is_some) {", "while false && not_parked.0.iter().any(Option::is_some) {",
        "shuttle", "lock", "a_waiter_in_a_handler"),
    "lock: a waiter in a handler counts as one that comes": (
        "lock/raw.rs", "                queue.mark_unresponsive(waiter);\n                if self", "                if self",
        "shuttle", "lock", "a_waiter_in_a_handler"),
    "lock: a release by another thread leaves the offer open": (
        "lock/raw.rs", "            self.grant_offered(queue, wake_queue);\n            let now", "            let now",
        "shuttle", "lock", "an_offer_ends"),
    "lock: a waiter whose time ran out stays in line": (
        "lock/raw.rs", "if acquired || has_timed_out {\n                    queue.remove(waiter);", "if acquired {\n                    queue.remove(waiter);",
        "shuttle", "lock", "a_timeout"),
    "waiter: it is woken before its state is stored": (
        "sync/waiter.rs", "let previous_state = self.state.swap(state, Ordering::Release);",
        "let previous_state = self.state.load(Ordering::Relaxed);\n        PendingWake { parked: (previous_state == PARKED).then_some(&self.state), was_spinning: false }.wake();\n"
        "        self.state.store(state, Ordering::Release);\n        let previous_state = if previous_state == PARKED { QUEUED } else { previous_state };",
        "shuttle", "lock", "one_of_three"),
    "guarded: it is given back relaxed": (
        "sync/mutex.rs", "self.word.swap(unlocked, Ordering::Release)", "self.word.swap(unlocked, Ordering::Relaxed)",
        "loom", "lock", "one_of_two"),
    "guarded: who has slept forgets the others": (
        "sync/mutex.rs", "            new_state = CONTENDED;\n", "",
        "shuttle", "barrier", "a_round_ends_for_three_parties"),
    "guarded: the end of a hold for a fork does not look for sleepers": (
        "sync/mutex.rs", "if FORK_WAITERS.load(Ordering::Relaxed) != 0 {", "if false {",
        "loom", "fork", "a_waiter_is_woken"),
    "guarded: a sleeper beside a hold may be missed": (
        "sync/mutex.rs", "        fence(Ordering::SeqCst);\n        if FORK_WAITERS", "        if FORK_WAITERS",
        "loom", "fork", "a_waiter_is_woken"),
    "guarded: a hold leaves those asleep who came before": (
        "sync/mutex.rs", "        // The waiters see `FORKING`, count themselves in `FORK_WAITERS` and park again.\n        futex::wake_all(word);\n", "",
        "loom", "fork", "a_waiter_is_woken"),
    "condition: a notify is dropped": (
        "lock/condition.rs", "core::iter::from_fn(|| queue.pop()).take(count)", "core::iter::from_fn(|| queue.pop()).take(count).skip(1)",
        "shuttle", "condition", "notify_ends"),
    "condition: who was chosen leaves as if it were late": (
        "lock/condition.rs", "waiter.state() == QUEUED && !waiter.notified.get()", "waiter.state() == QUEUED",
        "shuttle", "condition", "no_notify_is_lost"),
    "condition: destroy aborts a waiter that it has dequeued without the mutex": (
        "lock/condition.rs", "            let mut queue = self.queue.lock();\n            self.lock_slot().0.raw().abort_condition_waiters(core::iter::from_fn(|| queue.pop()));\n",
        "            self.lock_slot().0.raw().abort_condition_waiters(core::iter::from_fn(|| self.queue.lock().pop()));\n",
        "shuttle", "condition", "a_waiter_that_times_out_beside"),
    "condition: a late waiter stays in line": (
        "lock/condition.rs", "            queue.remove(waiter);\n            self.publish_has_waiters(tag, &queue);\n", "            self.publish_has_waiters(tag, &queue);\n",
        "shuttle", "condition", "no_notify_is_lost"),
    "condition: the levels of its lock are forgotten": (
        "lock/condition.rs", "        lock.restore_recursion(extra_count);\n", "",
        "shuttle", "condition", "a_waiter_restores"),
    "barrier: the last one does not say that the round has ended": (
        "barrier.rs", "        barrier.round_number.fetch_add(1, Ordering::Release);\n", "",
        "shuttle", "barrier", "a_round_ends_when"),
    "barrier: a time that runs out breaks a round that has ended": (
        "barrier.rs", "if waiter.state() == QUEUED && round.action_owner == 0", "if round.action_owner == 0",
        "shuttle", "barrier", "a_timeout"),
    "handle: two frees both decide": (
        "handle/header.rs", "match self.refs.compare_exchange_weak(refs, changed, Ordering::AcqRel, Ordering::Relaxed) {",
        "match { self.refs.store(changed, Ordering::Release); Ok::<u64, u64>(refs) } {",
        "loom", "handle", "of_two_frees"),
    "handle: a reference is given beside the last free": (
        "handle/header.rs", "            if refs & DYING != 0 || refs < USER_REF {", "            if refs & DYING == 0 && refs < USER_REF {",
        "loom", "handle", "a_reference_keeps"),
    "handle: who gets no reference still finds the object": (
        "handle/mod.rs", "            object.clear_live(tag);\n", "",
        "loom", "handle", "a_reference_keeps"),
    "handle: a thread that begins to wait beside the last free of an event is not woken": (
        "event.rs", "        if pinned != 0 {\n            futex::wake_all(self.word().lower());", "        if pinned == u64::MAX {\n            futex::wake_all(self.word().lower());",
        "loom", "handle", "an_event_with_waiters"),
    "handle: and the slot is not kept for it": (
        "event.rs", "            self.header.adjust_pins(tag, pinned, now);\n", "",
        "shuttle", "handle", "an_event_with_waiters"),
    "handle: a thread that begins to wait beside the last free of a semaphore sleeps on": (
        "semaphore.rs", "if waiters(word) > value(word) { FREED_WITH_WAITERS } else { 0 }", "if waiters(word) > u64::MAX { FREED_WITH_WAITERS } else { 0 }",
        "loom", "handle", "a_semaphore_with_waiters_is_busy"),
    "handle: a thread that begins to wait beside the last free of a lock sleeps on": (
        "lock/raw.rs", "                self.grant_offered(queue, wake_queue);\n                self.abort_waiters(queue, wake_queue);", "                self.grant_offered(queue, wake_queue);",
        "loom", "handle", "a_lock_with_waiters_is_busy"),
    "handle: a thread stays in the line of a lock whose life has ended before it entered": (
        "lock/raw.rs", "if !revoked && self.word().load(Ordering::Relaxed) & LIVE == 0 {", "if false {",
        "loom", "handle", "a_lock_with_waiters_is_busy"),
    "handle: a thread that begins to wait beside the last free of a condition sleeps on": (
        "lock/condition.rs", "abort_condition_waiters(core::iter::from_fn(|| queue.pop()))", "abort_condition_waiters(core::iter::empty())",
        "loom", "handle", "a_condition_with_waiters_is_busy"),
    "handle: a thread that arrives beside the last free of a barrier sleeps on": (
        "barrier.rs", "                round.release_waiters(self, FREED);\n", "",
        "loom", "handle", "a_barrier_with_waiters_is_busy"),
    "handle: a slot is used again in spite of a pin": (
        "handle/header.rs", "let is_pinned = pins & PIN_COUNT_MASK != 0", "let is_pinned = pins & PIN_COUNT_MASK > PIN_COUNT_MASK",
        "shuttle", "handle", "a_pinned_slot"),
    "handle: a pin by a stale handle counts for the newer object": (
        "handle/header.rs", "            if pinned_generation(pins) != generation {", "            if pinned_generation(pins) > GENERATION {",
        "shuttle", "handle", "a_pin_by_a_stale_handle"),
    "handle: a stale handle passes": (
        "lock/raw.rs", "            let word = lock.word().load(Ordering::Relaxed);\n            if word & TAG != tag {\n                return Err(Error::Handle);\n            }\n            let owner",
        "            let word = lock.word().load(Ordering::Relaxed);\n            let owner",
        "loom", "handle", "a_stale_handle"),
    "rlock: what was counted before another thread made it as new is counted on": (
        "lock/rlock.rs", "        if acquired {\n            recursion::reset_fast(self.bits());\n        }\n        acquired\n", "        acquired\n",
        "loom", "rlock", "reinit_by_another"),
    "timer: a cancelled one stays scheduled": (
        "timer/mod.rs", "                registry.timers.unschedule(timer);\n", "",
        "shuttle", "timer", "a_timer_fires_or"),
    "timer: cancel does not see that it has begun": (
        "timer/mod.rs", "state => Ok(state == CANCELLED),", "_ => Ok(true),",
        "shuttle", "timer", "a_timer_fires_or"),
    "timer: nobody relieves a leader that is stuck": (
        "timer/worker.rs", "if must_take_over || timers.leader_term == 0 {", "if timers.leader_term == 0 {",
        "shuttle", "timer", "a_function_that_blocks"),
    "thread: a join waits for the state that it finds, also if that is the last": (
        "thread/join.rs", "                DONE => return self.is_done(),\n", "",
        "shuttle", "timer", "a_timer_starts"),
    "local: what was set beside the local's end is not taken back": (
        "local/mod.rs", "            Err(error) => take_back().map_or(Ok(()), |_| Err(error)),",
        "            Err(error) => {\n                let _ = take_back;\n                Err(error)\n            }",
        "shuttle", "local", "each_value"),
    "local: a free closes the first table alone": (
        "local/tables.rs", "        if shared.has_no_cells() {\n            break;\n        }", "        if left != Leftover::Nothing {\n            break;\n        }",
        "shuttle", "local", "no_thread_finds"),
    "local: a table that meets a local is not counted": (
        "local/table.rs", "        shared.cell_count.fetch_add(1, Ordering::Relaxed);\n", "",
        "shuttle", "local", "no_thread_finds"),
    "local: a value of a closed local is lost when the cells move": (
        "local/table.rs", "let handle = if is_freed { cell.state.get() } else { key };", "let handle = if is_freed { continue } else { key };",
        "shuttle", "local", "cells_move"),
}


def plant(source, text, replacement):
    """The source tree with the mutant in it."""
    shutil.rmtree(BUILD / "src", ignore_errors=True)
    shutil.copytree(ROOT / "src", BUILD / "src")
    models = BUILD / "tests" / "models"
    shutil.rmtree(models, ignore_errors=True)
    shutil.copytree(ROOT / "tests" / "models", models, ignore=shutil.ignore_patterns("target"))
    path = BUILD / "src" / source
    code = path.read_text()
    if code.count(text) != 1:
        raise SystemExit(f"mutants.py: src/{source} has this {code.count(text)} times, not once:\n{text}")
    path.write_text(code.replace(text, replacement))
    return models


def judge(source, text, replacement, checker, model, test):
    """How the mutant was found; None if it was not."""
    models = plant(source, text, replacement)
    environment = dict(os.environ, CARGO_TARGET_DIR=str(BUILD / "target"), RUST_BACKTRACE="0", RUSTFLAGS="-A warnings")
    cargo = ["cargo", "test", "--quiet", "--locked", "--features", checker, "--test", model]
    built = subprocess.run([*cargo, "--no-run"], cwd=models, env=environment, capture_output=True, text=True)
    if built.returncode != 0:
        raise SystemExit(f"mutants.py: the mutant does not compile:\n{built.stderr}")
    began = time.monotonic()
    try:
        run = subprocess.run([*cargo, test], cwd=models, env=environment, timeout=LIMIT, capture_output=True, text=True)
    except subprocess.TimeoutExpired:
        return "it does not end"
    if "running 0 tests" in run.stdout:
        raise SystemExit(f"mutants.py: no model of {model}.rs is named {test}")
    return None if run.returncode == 0 else f"in {time.monotonic() - began:.1f} s"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", metavar="PART", nargs="*", help="only mutants with this in their name")
    arguments = parser.parse_args()
    chosen = [name for name in MUTANTS if not arguments.parts or any(part in name for part in arguments.parts)]
    missed = 0
    for name in chosen:
        how = judge(*MUTANTS[name])
        missed += how is None
        print(f"{'MISSED' if how is None else 'found '} {name}: {MUTANTS[name][3]}"
              + ("" if how is None else f", {how}"), flush=True)
    print(f"mutants: figure: {len(chosen) - missed} of {len(chosen)} planted defects found")
    return 1 if missed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
