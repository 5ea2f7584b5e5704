#!/usr/bin/env python3
"""Plants defects in a copy of the library, one at a time, and checks that a model detects each.

    tests/models/mutants.py [PART OF A NAME...]
    tests/models/mutants.py --check

A mutant replaces a text in one source file. A model detects it by failing or by not ending within the time limit.
--check runs no model: it checks that the text of each mutant occurs exactly once, that its model exists and that the
mutants compile, as many at a time as do not overlap.
`tests/models/run --mutants` runs this script.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "mutants"
LIMIT = 180  # seconds; without a mutant, each of these models takes far less

# name: (source file, text, replacement, model checker, file with the model, beginning of the model's name)
MUTANTS = {
    "event: set does not wake the waiters": (
        "event.rs", "futex::wake_all(event.word().lower());", "",
        "loom", "event", "a_waiter_sees"),
    "event: set is relaxed": (
        "event.rs", "compare_exchange_weak(word, new, Ordering::Release,", "compare_exchange_weak(word, new, Ordering::Relaxed,",
        "loom", "event", "a_waiter_sees"),
    "event: is_set is relaxed": (
        "event.rs", "let word = event.word().load(Ordering::Acquire);\n        if word & TAG != tag {\n            return Err(Error::Handle);\n        }\n        if word & SET != 0",
        "let word = event.word().load(Ordering::Relaxed);\n        if word & TAG != tag {\n            return Err(Error::Handle);\n        }\n        if word & SET != 0",
        "loom", "event", "is_set_sees"),
    "event: set of an event that is set does not write the word": (
        "event.rs", "(true, _) => word,", "(true, _) => return Ok(()),",
        "loom", "event", "wait_clear_check"),
    "event: set does not advance the sequence number": (
        "event.rs", "tag | SET | (word.wrapping_add(SEQ_ONE) & SEQ_MASK)", "tag | SET | (word & SEQ_MASK)",
        "loom", "event", "set_then_clear"),
    "event: a waiter that timed out stays counted": (
        "event.rs", "self.change_count(word, word - WAITER)", "self.change_count(word, word)",
        "loom", "event", "a_waiter_that_timed_out"),
    "event: a spinning waiter does not clear SPINNING before it parks": (
        "event.rs", "event.update_unless_ended(tag, seq, |word| word & !SPINNING)", "event.update_unless_ended(tag, seq, |word| word)",
        "loom", "event", "a_spinning_waiter_sees"),
    "semaphore: release does not wake a waiter": (
        "semaphore.rs", "futex::wake(semaphore.word().upper(),", "let _ = (semaphore.word().upper(),",
        "loom", "semaphore", "acquire_sees"),
    "semaphore: release of two permits wakes one waiter": (
        "semaphore.rs", "waiters_without_permit(word).min(count as u64) as u32", "1",
        "shuttle", "semaphore", "releasing_two"),
    "semaphore: acquire is relaxed": (
        "semaphore.rs", "compare_exchange(word, new, Ordering::Acquire,", "compare_exchange(word, new, Ordering::Relaxed,",
        "loom", "semaphore", "acquire_sees"),
    "semaphore: release is relaxed": (
        "semaphore.rs", "                word + more,\n                Ordering::Release,",
        "                word + more,\n                Ordering::Relaxed,",
        "loom", "semaphore", "acquire_sees"),
    "semaphore: the fast release is relaxed": (
        "semaphore.rs", "compare_exchange(word, word + PERMIT, Ordering::Release,", "compare_exchange(word, word + PERMIT, Ordering::Relaxed,",
        "loom", "semaphore", "acquire_sees"),
    "semaphore: the fast release does not see that a waiter must be woken": (
        "semaphore.rs", "word & TAG == tag && waiters_without_permit(word) == 0)", "word & TAG == tag)",
        "loom", "semaphore", "acquire_sees"),
    "semaphore: a waiter that timed out stays counted": (
        "semaphore.rs", "!in_time && waiter.leave(|| semaphore.cas_acquire(word, word - WAITER))", "!in_time && waiter.leave(|| semaphore.cas_acquire(word, word))",
        "shuttle", "semaphore", "a_timeout_does_not"),
    "lock: acquire is relaxed": (
        "lock/word.rs", "compare_exchange(free, free | owner_tag, Ordering::Acquire)", "compare_exchange(free, free | owner_tag, Ordering::Relaxed)",
        "loom", "lock", "the_fast_path"),
    "lock: the first acquire of a thread is relaxed": (
        "lock/acquire.rs", "if self.word().cas(word, word | owner_tag, Ordering::Acquire) {", "if self.word().cas(word, word | owner_tag, Ordering::Relaxed) {",
        "loom", "lock", "one_of_two"),
    "lock: release is relaxed": (
        "lock/word.rs",
        "compare_exchange(free | owner_tag, free, Ordering::Release)",
        "compare_exchange(free | owner_tag, free, Ordering::Relaxed)",
        "loom", "lock", "one_of_two"),
    "lock: a release neither updates the flags nor wakes a waiter": (
        "lock/raw.rs", "            self.update_flags_and_wake(queue, wake_queue);\n            true\n", "            true\n",
        "loom", "lock", "the_lock_is_handed_off"),
    "lock: a waiter that accepts an offer stays in the wait queue": (
        "lock/acquire.rs", "if acquired {\n                    queue.remove_new_owner(waiter);", "if state == OFFERED {\n                } else if acquired {\n                    queue.remove_new_owner(waiter);",
        "shuttle", "lock", "handoff_repeats"),
    "lock: an offer is never revoked": (
        "lock/raw.rs", "(offered.is_some() && queue.fair_deadline.offer_time_left(now) > 0)", "offered.is_some()",
        "shuttle", "lock", "the_lock_is_offered_to_a_waiter"),
    "lock: a revoked offer is granted": (
        "lock/raw.rs", "            offered.revoke_offer();\n", "            let _ = offered.complete(GRANTED, &self.adaptive_spin);\n",
        "shuttle", "lock", "an_offer_is_accepted_or_revoked"),
    "lock: a waiter accepts an offer that it has seen, without a check under the queue mutex": (
        "lock/acquire.rs", "            let mut acquired = state == RETRY && self.try_barge(owner_tag, waiter);",
        "            if state == OFFERED {\n                self.header.word.fetch_and(!OWNER_MASK, Ordering::Acquire);\n                self.header.word.fetch_or(owner_tag, Ordering::Acquire);\n            }\n"
        "            let mut acquired = state == OFFERED || (state == RETRY && self.try_barge(owner_tag, waiter));",
        "shuttle", "lock", "an_offer_is_accepted_or_revoked"),
    "lock: the watcher of an offer parks without a deadline": (
        "lock/raw.rs", "if is_unresponsive || is_watcher || queue.last_watch.try_start_at(time) {", "if false {",
        "shuttle", "lock", "the_lock_is_offered_to_a_waiter"),
    "lock: no other waiter is woken in place of one in a signal handler": (
        "lock/raw.rs", "while !not_parked.is_empty() {", "while false && !not_parked.is_empty() {",
        "shuttle", "lock", "a_waiter_in_a_handler"),
    "lock: a waiter in a signal handler stays the designated waker": (
        "lock/raw.rs", "                queue.mark_unresponsive(waiter);\n                if self", "                if self",
        "shuttle", "lock", "a_waiter_in_a_handler"),
    "lock: a release by another thread does not end the offer": (
        "lock/raw.rs", "            self.grant_offered(queue, wake_queue);\n            let now", "            let now",
        "shuttle", "lock", "an_offer_ends"),
    "lock: an offer to a waiter that may have acquired it": (
        "sync/waiter.rs", "self.transition(RETRY, OFFERED).is_ok()", "{ self.state.store(OFFERED, Ordering::Relaxed); true }",
        "shuttle", "lock", "a_waiter_that_is_still_queued"),
    "lock: a waiter that timed out stays in the wait queue": (
        "lock/acquire.rs", "} else if has_timed_out {\n                    queue.remove(waiter);", "} else if has_timed_out {",
        "shuttle", "lock", "a_timeout"),
    "waiter: it is woken before its state is stored": (
        "sync/waiter.rs", "let previous_state = self.state.swap(state, Ordering::Release);",
        "let previous_state = self.state.load(Ordering::Relaxed);\n        PendingWake { parked: (previous_state == PARKED).then_some(&self.state), together: None, was_running: false }.wake();\n"
        "        self.state.store(state, Ordering::Release);\n        let previous_state = if previous_state == PARKED { QUEUED } else { previous_state };",
        "shuttle", "lock", "one_of_three"),
    "mutex: unlock is relaxed": (
        "sync/mutex.rs", "self.word.swap(unlocked, Ordering::Release)", "self.word.swap(unlocked, Ordering::Relaxed)",
        "loom", "lock", "one_of_two"),
    "mutex: a thread that has parked locks it without CONTENDED": (
        "sync/mutex.rs", "            new_state = CONTENDED;\n", "",
        "shuttle", "barrier", "a_round_ends_for_three_parties"),
    "mutex: unlock_after_fork does not check for waiters": (
        "sync/mutex.rs", "if FORK_WAITERS.load(Ordering::Relaxed) != 0 {", "if false {",
        "loom", "fork", "a_waiter_is_woken"),
    "mutex: unlock_after_fork reads the waiter count without a fence": (
        "sync/mutex.rs", "        fence(Ordering::SeqCst);\n        if FORK_WAITERS", "        if FORK_WAITERS",
        "loom", "fork", "a_waiter_is_woken"),
    "mutex: lock_for_fork does not wake earlier waiters, which are not counted": (
        "sync/mutex.rs", "        // The waiters see `FORKING`, count themselves in `FORK_WAITERS` and park again.\n        futex::wake_all(word);\n", "",
        "loom", "fork", "a_waiter_is_woken"),
    "condition: waiters that park together are not woken": (
        "sync/wake_queue.rs", "            word.wake_all();\n", "            let _ = word;\n",
        "shuttle", "condition", "notify_all_wakes_waiters_that_park_together"),
    "condition: a waiter that is about to park together with others misses the wake-up": (
        "sync/broadcast_word.rs", "        self.0.fetch_add(1, Ordering::Release);\n", "",
        "loom", "condition", "notify_ends_a_wait_of_a_thread_that_parks_together"),
    "condition: a waiter reads the broadcast word after its state": (
        "sync/park.rs", "futex::wait_inline(word.futex(), value, until)", "futex::wait_inline(word.futex(), { let _ = value; word.value() }, until)",
        "shuttle", "condition", "notify_ends_a_wait_of_a_thread_that_parks_together"),
    "condition: a waiter that parks together with others returns when another is notified": (
        "sync/park.rs", "        while self.state() == PARKED {\n", "        while self.state() == PARKED && !(place.is_shared() || parked == PARKED_TOGETHER) {\n",
        "shuttle", "condition", "conditions_that_share_a_word"),
    "condition: a release leaves waiters that park together in the queue": (
        "lock/queue.rs", "                self.remove(waiter);\n                f(waiter);", "                f(waiter);",
        "shuttle", "condition", "notify_all_wakes_waiters_that_park_together"),
    "condition: notify drops one waiter": (
        "lock/condition.rs", "only.into_iter().chain(others).take(count)", "only.into_iter().chain(others).take(count).skip(1)",
        "shuttle", "condition", "notify_ends"),
    "condition: notify drops the only waiter if it has parked": (
        "lock/condition.rs", "only.into_iter().chain(others)", "others",
        "shuttle", "condition", "notify_ends"),
    "condition: notify takes a parked waiter for one that runs": (
        "sync/waiter.rs", "self.state.compare_exchange(QUEUED, NOTIFIED, Ordering::Release, Ordering::Relaxed).is_ok()",
        "{ self.state.store(NOTIFIED, Ordering::Release); true }",
        "shuttle", "condition", "notify_ends"),
    "condition: a waiter that is notified before it parks does not reacquire the lock": (
        "lock/condition.rs", "            raw.reacquire_notified(owner_tag, waiter, note);\n", "",
        "shuttle", "condition", "notify_ends"),
    "condition: a waiter that is notified before it parks ignores that the lock is taken": (
        "lock/requeue.rs", "        let _ = self.acquire_queued(owner_tag, waiter, Deadline::NEVER, true, note);\n", "",
        "shuttle", "condition", "notify_ends"),
    "condition: a waiter that is notified before it parks acquires the lock relaxed": (
        "lock/requeue.rs", "if word & OWNER_MASK == 0 && self.word().cas(word, word | owner_tag, Ordering::AcqRel) {",
        "if word & OWNER_MASK == 0 && self.word().cas(word, word | owner_tag, Ordering::Relaxed) {",
        "loom", "condition", "notify_ends"),
    "condition: a notified waiter counts as timed out": (
        "lock/condition.rs", "waiter.state() == QUEUED && !waiter.notified.load(Ordering::Relaxed)", "waiter.state() == QUEUED",
        "shuttle", "condition", "no_notify_is_lost"),
    "condition: destroy aborts a waiter that it has dequeued without the mutex": (
        "lock/condition.rs", "            let mut queue = self.queue.lock();\n            self.lock_slot().0.raw().abort_condition_waiters(core::iter::from_fn(|| queue.pop()));\n",
        "            self.lock_slot().0.raw().abort_condition_waiters(core::iter::from_fn(|| self.queue.lock().pop()));\n",
        "shuttle", "condition", "a_waiter_that_times_out_during"),
    "condition: a waiter that timed out stays in the wait queue": (
        "lock/condition.rs", "            queue.remove(waiter);\n            self.publish_has_waiters(tag, &queue);\n", "            self.publish_has_waiters(tag, &queue);\n",
        "shuttle", "condition", "no_notify_is_lost"),
    "condition: a waiter does not restore its recursion count": (
        "lock/condition.rs", "        lock.restore_recursion(extra_count)?;\n", "",
        "shuttle", "condition", "a_waiter_restores"),
    "barrier: the last party does not advance the round number": (
        "barrier.rs", "        barrier.round_number.fetch_add(1, Ordering::Release);\n", "",
        "shuttle", "barrier", "a_round_ends_when"),
    "barrier: a timeout breaks a round that has ended": (
        "barrier.rs", "if waiter.state() == QUEUED && round.action_owner == 0", "if round.action_owner == 0",
        "shuttle", "barrier", "a_timeout"),
    "handle: two frees both destroy the object": (
        "handle/refs.rs", ".compare_exchange(refs, dying(refs) | flags, Ordering::AcqRel, Ordering::Relaxed)\n                .is_ok()",
        ".swap(dying(refs) | flags, Ordering::AcqRel)\n                != 0",
        "loom", "handle", "one_of_two_frees"),
    "handle: a release overwrites another one": (
        "handle/refs.rs", "match self.refs.compare_exchange_weak(refs, changed, Ordering::AcqRel, Ordering::Relaxed) {",
        "match { self.refs.store(changed, Ordering::Release); Ok::<u64, u64>(refs) } {",
        "loom", "handle", "the_later_release"),
    "handle: add_ref succeeds during the last free": (
        "handle/refs.rs", "            if refs & DYING != 0 || refs < USER_REF {", "            if refs & DYING == 0 && refs < USER_REF {",
        "loom", "handle", "a_reference_keeps"),
    "handle: after add_ref has failed, the object is still found": (
        "handle/mod.rs", "            object.clear_live(tag);\n", "",
        "loom", "handle", "a_reference_keeps"),
    "handle: the last free of an event does not wake a thread that is about to wait": (
        "event.rs", "cleared.is_some_and(|word| word & WAITERS != 0)", "cleared.is_none()",
        "loom", "handle", "an_event_with_waiters"),
    "handle: a waiter of an event does not pin the slot": (
        "event.rs", "let event = call.begin()?;", "let event = self.check()?.0;",
        "shuttle", "handle", "an_event_with_waiters"),
    "handle: the last free of a semaphore does not wake a thread that is about to wait": (
        "semaphore.rs", "if waiters(word) > value(word) { FREED_WITH_WAITERS } else { 0 }", "if waiters(word) > u64::MAX { FREED_WITH_WAITERS } else { 0 }",
        "shuttle", "handle", "a_semaphore_with_waiters_is_busy"),
    "handle: the last free of a lock does not abort its waiters": (
        "lock/raw.rs", "                self.grant_offered(queue, wake_queue);\n                self.abort_waiters(queue, wake_queue);", "                self.grant_offered(queue, wake_queue);",
        "shuttle", "handle", "a_lock_with_waiters_is_busy"),
    "handle: a thread enqueues itself on a destroyed lock": (
        "lock/acquire.rs", "if !revoked && self.word().load() & LIVE == 0 {", "if false {",
        "shuttle", "handle", "a_lock_with_waiters_is_busy"),
    "handle: the last free of a condition does not abort its waiters": (
        "lock/condition.rs", "abort_condition_waiters(core::iter::from_fn(|| queue.pop()))", "abort_condition_waiters(core::iter::empty())",
        "shuttle", "handle", "a_condition_with_waiters_is_busy"),
    "handle: the last free of a barrier does not release its waiters": (
        "barrier.rs", "                round.release_waiters(self, FREED);\n", "",
        "shuttle", "handle", "a_barrier_with_waiters_is_busy"),
    "handle: the last free of a barrier does not find that it was used": (
        "barrier.rs", "compare_exchange(tag, tag | USED, ", "compare_exchange(tag, tag, ",
        "shuttle", "handle", "a_barrier_with_waiters_is_busy"),
    "handle: a pinned slot is reused": (
        "handle/pins.rs", "let is_pinned = pins & PIN_COUNT_MASK != 0", "let is_pinned = pins & PIN_COUNT_MASK > PIN_COUNT_MASK",
        "shuttle", "handle", "a_pinned_slot"),
    "handle: the destroying thread misses a pin": (
        "handle/pins.rs", "        fence_after_rmw();\n        let pins = self.0.load(Ordering::Acquire);",
        "        let pins = self.0.load(Ordering::Acquire);",
        "loom", "handle", "a_slot_keeps"),
    "handle: a thread that adds a pin misses that the object is dead": (
        "handle/pins.rs", "        fence_after_rmw();\n        is_pinned\n", "        is_pinned\n",
        "loom", "handle", "a_slot_keeps"),
    "handle: a pin by a stale handle pins the newer object": (
        "handle/pins.rs", "            if pinned_generation(pins) != generation {", "            if pinned_generation(pins) > GENERATION {",
        "shuttle", "handle", "a_pin_by_a_stale_handle"),
    "handle: the last free does not destroy a timer that finishes at the same time": (
        "handle/mod.rs", "        } else if T::KEEPS_SELF_REF {\n            Self::destroy_if_only_self_ref(object, tag);\n        }\n        Ok(())", "        }\n        Ok(())",
        "loom", "handle", "a_timer_is_destroyed"),
    "handle: the free of a timer reads its state before it releases the reference": (
        "handle/mod.rs", "        fence_after_rmw();\n        // If the state", "        // If the state",
        "loom", "handle", "a_timer_is_destroyed"),
    "timer: one that finishes is not destroyed after its last free": (
        "timer/finishing.rs", "    Handle::destroy_if_only_self_ref(timer, tag);\n", "    let _ = tag;\n",
        "loom", "handle", "a_timer_is_destroyed"),
    "handle: release by a stale handle is not detected": (
        "lock/raw.rs", "            let word = self.word().load();\n            if word & TAG != tag {\n                return Err(Error::Handle);\n            }\n            let owner",
        "            let word = self.word().load();\n            let owner",
        "loom", "handle", "a_stale_handle"),
    "rlock: a thread that sets a flag does not wait for a store of the owner": (
        "lock/word.rs", "        restartable_store::finish_others();\n        self.load() & FLAGS == flags\n",
        "        self.load() & FLAGS == flags\n",
        "loom", "rlock", "a_release_wakes"),
    "rlock: a thread that sets a flag does not read the word again": (
        "lock/word.rs", "        self.load() & FLAGS == flags\n", "        true\n",
        "loom", "rlock", "a_release_wakes"),
    "rlock: the owner stores although the word has flags": (
        "sys/restartable_store.rs", "let is_equal = word.load(Ordering::Relaxed) == expected;",
        "let is_equal = word.load(Ordering::Relaxed) & !384 == expected;",
        "shuttle", "rlock", "the_owner_holds"),
    "rlock: free does not wait for a store of the owner": (
        "lock/raw.rs", "            if self.word().may_owner_store(word) {\n                let _queue", "            if false {\n                let _queue",
        "loom", "rlock", "a_freed_lock"),
    "rlock: free trusts flags that were set without a wait for the owner": (
        "lock/raw.rs", "            if self.word().may_owner_store(word) {\n                let _queue", "            if self.word().may_be_overwritten(word) {\n                let _queue",
        "loom", "rlock", "free_beside_reinit"),
    "rlock: a call that fails beside free does not wait for a store of the owner": (
        "lock/word.rs", "            if !self.may_owner_store(word) {\n", "            if true {\n",
        "shuttle", "rlock", "a_lock_that_was_found_freed"),
    "rlock: reinit does not wait for a store of the owner": (
        "lock/raw.rs", "if !self.word().change(|word| (word & TAG == tag).then_some(tag)) {",
        "let word = self.word().load();\n            if word & TAG == tag {\n                self.header.word.store(tag, Ordering::Release);\n            } else {",
        "loom", "rlock", "a_lock_acquired_after"),
    "rlock: acquire after a reinit by another thread keeps the old recursion count": (
        "lock/rlock.rs", "        if acquired {\n            recursion::reset_fast(self.bits());\n        }\n        acquired\n", "        acquired\n",
        "loom", "rlock", "reinit_by_another"),
    "timer: a cancelled one stays scheduled": (
        "timer/mod.rs", "                registry.timers.unschedule(timer);\n", "",
        "shuttle", "timer", "a_timer_fires_or"),
    "timer: cancel returns true for one that has fired": (
        "timer/mod.rs", "state => Ok(state == CANCELLED),", "_ => Ok(true),",
        "shuttle", "timer", "a_timer_fires_or"),
    "timer: no follower takes over from a blocked leader": (
        "timer/worker.rs", "if must_take_over || timers.leader_term == 0 {", "if timers.leader_term == 0 {",
        "shuttle", "timer", "a_function_that_blocks"),
    "thread: join does not check for DONE before it waits": (
        "thread/join.rs", "                DONE => return self.is_done(),\n", "",
        "shuttle", "timer", "a_timer_starts"),
    "local: a set during the free does not take its value back": (
        "local/mod.rs", "            Err(error) => take_back().map_or(Ok(()), |_| Err(error)),",
        "            Err(error) => {\n                let _ = take_back;\n                Err(error)\n            }",
        "shuttle", "local", "each_value"),
    "local: free closes only the first table": (
        "local/tables.rs", "            if shared.has_no_cells() {\n                break;\n            }", "            if left != Leftover::Nothing {\n                break;\n            }",
        "shuttle", "local", "no_thread_finds"),
    "local: a table with cells of the local is not counted": (
        "local/table.rs", "        shared.cell_count.fetch_add(1, Ordering::Relaxed);\n", "",
        "shuttle", "local", "no_thread_finds"),
    "local: a value of a closed local is lost when the cells move": (
        "local/cells.rs", "let handle = if is_freed { cell.state.get() } else { key };", "let handle = if is_freed { continue } else { key };",
        "shuttle", "local", "cells_move"),
    "local: the owner of a table does not look for guests": (
        "sync/biased_mutex.rs", "let has_guests = self.guests.load(Ordering::Acquire) != 0;", "let has_guests = false;",
        "shuttle", "local", "cells_move"),
    "local: a guest of a table does not wait for the owner": (
        "sync/biased_mutex.rs", "        self.wait_until_owner_is_idle();\n", "",
        "shuttle", "local", "a_replaced_value"),
    "local: a thread closes a local that another one is closing": (
        "local/mod.rs", "if self.shared.has_no_cells() && change(generation, Ordering::AcqRel) {",
        "if self.shared.has_no_cells() {\n            word.store(generation, Ordering::Release);",
        "shuttle", "local", "a_stale_handle_hides"),
}


def faults(source, text, _replacement, _checker, model, test):
    """Returns what is wrong with a mutant's entry, as a list of sentences."""
    found = []
    count = (ROOT / "src" / source).read_text().count(text)
    if count != 1:
        found.append(f"src/{source} contains its text {count} times, not once:\n{text}")
    if not re.search(rf"^fn {test}\w*\(", (ROOT / "tests" / "models" / f"{model}.rs").read_text(), re.M):
        found.append(f"tests/models/{model}.rs has no model whose name begins with {test}")
    return found


def check(names, compiles):
    """Checks the entries of these mutants, and if `compiles`, compiles them. Returns false if one is not valid or there
    are none."""
    wrong = [f"{name}: {fault}" for name in names for fault in faults(*MUTANTS[name])]
    if compiles and not wrong:
        wrong = [error for group in groups(names) for error in compile_errors(group)]
    for line in wrong or ([] if names else ["no mutant has such a name"]):
        print(f"mutants.py: {line}", file=sys.stderr)
    return bool(names) and not wrong


def plant(mutants):
    """Copies the source tree and plants the mutants in it. Returns the directory of the models."""
    shutil.rmtree(BUILD / "src", ignore_errors=True)
    shutil.copytree(ROOT / "src", BUILD / "src")
    models = BUILD / "tests" / "models"
    shutil.rmtree(models, ignore_errors=True)
    shutil.copytree(ROOT / "tests" / "models", models, ignore=shutil.ignore_patterns("target"))
    for source, text, replacement, *_ in mutants:
        path = BUILD / "src" / source
        path.write_text(path.read_text().replace(text, replacement))
    return models


def run(command, models, target=BUILD / "target", **options):
    environment = dict(os.environ, CARGO_TARGET_DIR=str(target), RUST_BACKTRACE="0")
    return subprocess.run(command, cwd=models, env=environment, capture_output=True, text=True, **options)


def groups(names):
    """Divides the mutants into few groups. The texts of those in a group do not overlap."""
    divided = []
    for name in names:
        source, text, *_ = MUTANTS[name]
        content = (ROOT / "src" / source).read_text()
        start = content.index(text)
        place = (source, start, start + len(text))
        for group, places in divided:
            if all(place[0] != other[0] or place[2] <= other[1] or other[2] <= place[1] for other in places):
                group.append(name)
                places.append(place)
                break
        else:
            divided.append(([name], [place]))
    return [group for group, _ in divided]


def compile_errors(names):
    """Compiles the library with all of these mutants, and with each alone if that fails. Returns what is wrong."""
    command = ["cargo", "check", "--quiet", "--locked", "--lib", "--features", "loom"]
    # The lints and tests/models/run compile the same dependencies there.
    checked = run(command, plant([MUTANTS[name] for name in names]), ROOT / "build" / "models" / "loom")
    if checked.returncode == 0:
        return []
    if len(names) == 1:
        return [f"{names[0]}: it does not compile:\n{checked.stderr}"]
    found = [error for name in names for error in compile_errors([name])]
    return found or [f"these mutants do not compile together: {names}:\n{checked.stderr}"]


def judge(source, text, replacement, checker, model, test):
    """Runs the model with the mutant. Returns "found", "MISSED" or "BROKEN", and how it was found or what is broken."""
    models = plant([(source, text, replacement)])
    cargo = ["cargo", "test", "--quiet", "--locked", "--features", checker, "--test", model]
    built = run([*cargo, "--no-run"], models)
    if built.returncode != 0:
        return "BROKEN", f"it does not compile:\n{built.stderr}"
    start = time.monotonic()
    try:
        tested = run([*cargo, test], models, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return "found", f"{checker}, no end within {LIMIT} s"
    if "running 0 tests" in tested.stdout:
        return "BROKEN", f"{checker} runs no model of {model}.rs whose name contains {test}"
    if tested.returncode == 0:
        return "MISSED", checker
    return "found", f"{checker}, in {time.monotonic() - start:.1f} s"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", metavar="PART", nargs="*", help="only mutants with this in their name")
    parser.add_argument("--check", action="store_true", help="only check the entries of the mutants, and that they compile")
    arguments = parser.parse_args()
    chosen = [name for name in MUTANTS if not arguments.parts or any(part in name for part in arguments.parts)]
    if not check(chosen, arguments.check):
        return 1
    if arguments.check:
        print(f"mutants: all {len(chosen)} entries are valid")
        return 0
    not_found = []
    for name in chosen:
        verdict, detail = judge(*MUTANTS[name])
        print(f"{verdict} {name}: {detail}", flush=True)
        if verdict != "found":
            not_found.append(f"{verdict} {name}")
    for line in not_found:
        print(f"mutants: {line}", file=sys.stderr)
    print(f"mutants: figure: {len(chosen) - len(not_found)} of {len(chosen)} planted defects found")
    return 1 if not_found else 0


if __name__ == "__main__":
    sys.exit(main())
