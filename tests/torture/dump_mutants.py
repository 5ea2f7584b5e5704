#!/usr/bin/env python3
"""Plants defects in dumps in a copy of the library, one at a time, and checks that a test detects each.

    tests/torture/dump_mutants.py [--seconds S] [PART OF A NAME...]
    tests/torture/dump_mutants.py --check

A mutant replaces a text in one source file. It is detected if the test fails or does not end: a unit test of the
library ("unit", and a part of its name), tests/rust/stopped.rs ("stopped", likewise), a case of one of the
tests/c/dump*.c ("case", and its name), or the program dumps ("torture", and for how long, in seconds). --check builds
nothing: it checks that the text of each mutant occurs exactly once, and that the case exists.
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
BUILD = ROOT / "build" / "dump_mutants"
LIMIT = 180  # seconds

# name: (source file, text, replacement, kind of test, test)
MUTANTS = {
    "a waiter that has been granted its lock waits for the owner": (
        "dump/deadlock.rs", "(!has_deadline && wait.is_parked() && owner", "(!has_deadline && owner",
        "torture", 30),
    "a cycle is read once": (
        "dump/deadlock.rs", "let second = self.find_cycle(entry)?;", "let second = first;",
        "torture", 60),
    "a record is read although it serves another thread": (
        "dump/threads.rs", "waiter.read_wait().filter(|wait| ident_of(waiter, wait) == self.ident)",
        "waiter.read_wait()",
        "unit", "a_record_that_serves_another_thread"),
    "the link of a free slot is read as a note": (
        "handle/header.rs", "if address < LOWEST_ADDRESS { 0 } else { address }", "address",
        "torture", 60),
    "a note that is created again is not noticed": (
        "handle/note.rs", "header.note() == address && note.header.word.load(Ordering::Relaxed) == generation;",
        "header.note() == address;",
        "unit", "a_note_that_serves_another_object"),
    "the name of a thread may be mixed from two": (
        "thread/names.rs", "Some(length) => hash[..size_of::<u64>()] == hash_of(&text[..=length]).to_ne_bytes(),",
        "Some(_) => true,",
        "unit", "a_name_that_changes_during_the_copy"),
    "the note of a freed object stays": (
        "handle/note.rs", "    if header.note() != 0 {\n        free(header.replace_note(0));\n    }\n",
        "    let _ = header;\n",
        "unit", "a_freed_object_frees_its_note"),
    "a child of fork sees the waits of its parent": (
        "sync/waiter_pool.rs", "    CHUNKS.store(ptr::null_mut(), Ordering::Relaxed);\n", "",
        "torture", 30),
    "a child of fork takes owners for its own threads": (
        "dump/text.rs", "if ident::exists_only_in_parent(ident) {", "if false {",
        "case", "a child of fork shows locks of the parent's threads"),
    "a child of fork takes the main thread of its parent for its own": (
        "dump/threads.rs", "thread.has_flag(MAIN) && thread.ident() == registry::main_ident()", "thread.has_flag(MAIN)",
        "case", "a child of fork that another thread than main has forked shows its own main thread"),
    "a wait in a signal handler leaves its fields": (
        "sync/wait_note.rs", "self.note.write(since, outer.until, outer.object);",
        "if since & WAITING != 0 { self.note.write(since, outer.until, outer.object) } "
        "else { self.note.since.store(since, Ordering::Release) }",
        "unit", "a_wait_in_a_signal_handler"),
    "a notified waiter has no edge": (
        "dump/deadlock.rs", "wait.notified.then(|| condition.lock_owner()).flatten().map(|owner| (owner, false))",
        "None",
        "torture", 30),
    "a notified waiter with a timeout has no edge": (
        "dump/deadlock.rs", "condition.lock_owner()).flatten().map(|owner| (owner, false))",
        "condition.lock_owner()).flatten().map(|owner| (owner, wait.until != Deadline::NEVER))",
        "torture", 30),
    "a notified waiter of a freed condition has no edge": (
        "sync/wait_note.rs", "            note.until = untimed_with_lock(lock);\n", "",
        "torture", 30),
    "a wait with a timeout has an edge": (
        "dump/deadlock.rs", "owner_of(wait.object).map(|owner| (owner, wait.until != Deadline::NEVER))",
        "owner_of(wait.object).map(|owner| (owner, false))",
        "torture", 30),
    "a thread that joins has no edge": (
        "dump/deadlock.rs", "(wait.until == Deadline::NEVER && !is_over).then(|| thread.ident())", "None",
        "torture", 30),
    "a thread that joins one that has ended has an edge": (
        "dump/deadlock.rs", "(wait.until == Deadline::NEVER && !is_over).then", "(wait.until == Deadline::NEVER).then",
        "case", "a thread that joins main in a shutdown is not deadlocked"),
    "a wait has no record if the pool is in use": (
        "sync/waiter_pool.rs", "const MAX_TRIES: u32 = if cfg!(model) { 1 } else { 1000 };", "const MAX_TRIES: u32 = 1;",
        "torture", 60),
    "each thread of a deadlock reports it": (
        "dump/hang.rs", "cycle.is_some_and(|(start, cycle)| is_reporter(&snapshot, entry, start, cycle.length))",
        "let _ = is_reporter;\n    cycle.is_some_and(|(_, cycle)| cycle.length != 0)",
        "torture", 30),
    "a signal repeats the report": (
        "sync/hang_watch.rs", "            None => Deadline::NEVER,\n",
        "            None => {\n                self.settings = 0;\n                Deadline::NEVER\n            }\n",
        "case", "signals neither defer nor repeat the call of the hang hook"),
    "a search before a thread has parked excludes it from the check": (
        "sync/hang_watch.rs", "LAST_WITHOUT_DEADLOCK.load(Ordering::Acquire) > self.searches",
        "LAST_WITHOUT_DEADLOCK.load(Ordering::Acquire) >= self.searches",
        "case", "the hang hook is called once for a deadlock"),
    "the hang hook waits with the record of its thread": (
        "sync/waiter_pool.rs",
        "        tls::with(|block| block.waiter.set(0));\n        let result = f();\n"
        "        // In a child that `f` has forked, the other record is not in a chunk of this process: no other thread "
        "gets it.\n"
        "        if fork_epoch() == epoch {\n",
        "        let result = f();\n        if fork_epoch() != epoch {\n",
        "unit", "a_function_that_runs_during_a_wait"),
    "a deadlock with the process exit is shown by the thread that exits": (
        "dump/deadlock.rs", "Cycle { first: start.ident, exiting: at.ident, ..cycle }",
        "Cycle { exiting: at.ident, ..cycle }",
        "case", "a deadlock of a lock and a shutdown is found"),
    "a dump waits for the mutex of the registry": (
        "timer/pending.rs", "    let registry = REGISTRY.try_lock()?;\n    for entry",
        "    let registry = REGISTRY.lock();\n    for entry",
        "stopped", "dumps_end"),
}


def file_of_case(name):
    """Returns the C test that has a case with this name, as a path from the root, or None."""
    for path in sorted((ROOT / "tests" / "c").glob("dump*.c")):
        if f'    {{"{name}",' in path.read_text():
            return str(path.relative_to(ROOT))
    return None


def fault(source, text, _replacement, kind, test):
    count = (ROOT / "src" / source).read_text().count(text)
    if count != 1:
        return f"src/{source} contains its text {count} times, not once:\n{text}"
    if kind == "case" and file_of_case(test) is None:
        return f"no tests/c/dump*.c has the case {test!r}"
    return None


def plant(source, text, replacement):
    """Updates the copy of the source tree, and plants the mutant in it."""
    for part in ("src", "tests", "include"):
        shutil.rmtree(BUILD / part, ignore_errors=True)
        shutil.copytree(ROOT / part, BUILD / part, ignore=shutil.ignore_patterns("target"))
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy2(path, BUILD / path.name)
    path = BUILD / "src" / source
    path.write_text(path.read_text().replace(text, replacement))


def run(command, **options):
    return subprocess.run(command, cwd=BUILD, capture_output=True, text=True, **options)


class Broken(Exception):
    """The mutant does not compile."""


def build(command, environment):
    built = run(command, env=environment)
    if built.returncode != 0:
        raise Broken(built.stderr)


def judge(source, text, replacement, kind, test, seconds):
    """Runs the test with the mutant. Returns "found" or "MISSED", and how it was found or the kind of test."""
    plant(source, text, replacement)
    environment = dict(os.environ, CARGO_TARGET_DIR=str(BUILD / "target"), RUSTFLAGS="-A warnings",
                       CARGO_PROFILE_RELEASE_LTO="off", CARGO_PROFILE_RELEASE_CODEGEN_UNITS="16",
                       LD_LIBRARY_PATH=str(BUILD / "target" / "release"))
    if kind in ("unit", "stopped"):
        target = ["--lib"] if kind == "unit" else ["--test", kind]
        cargo = ["cargo", "test", "--release", "--locked", "--quiet", *target]
        if kind == "stopped":
            environment.update(RUSTFLAGS="-A warnings --cfg fault", CARGO_TARGET_DIR=str(BUILD / "fault"))
        build([*cargo, "--no-run"], environment)
        command = [*cargo, test]
    else:
        build(["cargo", "build", "--release", "--locked", "--quiet", "--lib"], environment)
        library = BUILD / "target" / "release" / "libthreading.so"
        soname = library.with_name("libthreading.so.0")
        soname.unlink(missing_ok=True)
        soname.symlink_to(library.name)
        program = BUILD / kind
        source_file = file_of_case(test) if kind == "case" else "tests/torture/dumps.c"
        build([os.environ.get("CC", "cc"), "-std=c11", "-O1", "-Iinclude", source_file, "-o", str(program),
               f"-L{library.parent}", "-lthreading", "-lpthread", "-lm"], environment)
        command = [str(program), test] if kind == "case" else [
            str(program), "--seed", "1", "--seconds", str(seconds or test)]
    start = time.monotonic()
    try:
        result = run(command, env=environment, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return "found", f"{kind}, no end within {LIMIT} s"
    if result.returncode == 0:
        return "MISSED", kind
    failed = re.search(r"FAILED:? *\n?(.*)", result.stdout + result.stderr)
    what = failed.group(1).strip() if failed else result.returncode
    return "found", f"{kind}, in {time.monotonic() - start:.1f} s: {what}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", metavar="PART", nargs="*", help="only mutants with this in their name")
    parser.add_argument("--seconds", type=int, help="how long the torture runs")
    parser.add_argument("--check", action="store_true", help="only check the entries of the mutants; build nothing")
    arguments = parser.parse_args()
    chosen = [name for name in MUTANTS if not arguments.parts or any(part in name for part in arguments.parts)]
    wrong = [f"{name}: {fault(*MUTANTS[name])}" for name in chosen if fault(*MUTANTS[name])]
    for line in wrong or ([] if chosen else ["no mutant has such a name"]):
        print(f"dump_mutants.py: {line}", file=sys.stderr)
    if wrong or not chosen:
        return 1
    if arguments.check:
        print(f"dump_mutants: all {len(chosen)} entries are valid")
        return 0
    BUILD.mkdir(parents=True, exist_ok=True)
    not_found = []
    for name in chosen:
        try:
            verdict, detail = judge(*MUTANTS[name], arguments.seconds)
        except Broken as error:
            verdict, detail = "BROKEN", f"it does not compile:\n{error}"
        print(f"{verdict} {name}: {detail}", flush=True)
        if verdict != "found":
            not_found.append(f"{verdict} {name}")
    for line in not_found:
        print(f"dump_mutants: {line}", file=sys.stderr)
    print(f"dump_mutants: figure: {len(chosen) - len(not_found)} of {len(chosen)} planted defects found")
    return 1 if not_found else 0


if __name__ == "__main__":
    sys.exit(main())
