#!/usr/bin/env python3
"""Tests of traces. Each case runs tests/dump/traced.c and reads its trace as JSON: each wait must have its slice, and an
arrow from the thread that has ended it.
"""

import argparse
import collections
import fcntl
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

LIMIT = 60
Slice = collections.namedtuple("Slice", "thread name result")
Arrow = collections.namedtuple("Arrow", "source waker target waiter")


class Failed(Exception):
    """A check has failed."""


def check(condition, message):
    if not condition:
        raise Failed(message)


def check_equal(found, expected):
    check(found == expected, f"found\n{found}\nexpected\n{expected}")


class Trace:
    """A trace whose structure has been checked, by the rules of Perfetto's importer."""

    def __init__(self, text):
        self.events = json.loads(text)
        self.names, self.processes, self.renames = {}, {}, []
        for event in self.events:
            if event["name"] == "thread_name":
                name = event["args"]["name"]
                if self.names.get(event["tid"], name) != name:
                    self.renames.append((self.names[event["tid"]], name))
                self.names[event["tid"]] = name
            elif event["name"] == "process_name":
                self.processes[event["pid"]] = event["args"]["name"]
        check_equal(set(self.processes), {event["pid"] for event in self.events})
        ordered = sorted((event for event in self.events if "ts" in event),
                         key=lambda event: (event["ts"], -event.get("dur", 0)))
        self.slices, self.arrows, begun, stacks = [], [], {}, {}
        for event in ordered:
            stack = stacks.setdefault(event["tid"], [])
            start, thread = nanoseconds(event["ts"]), self.names.get(event["tid"])
            if event["ph"] == "X":
                end = start + nanoseconds(event["dur"])
                while stack and (stack[-1][0] < start or stack[-1][0] == start and not stack[-1][2] == start == end):
                    stack.pop()
                check(not stack or end <= stack[-1][0], f"{event} overlaps with {stack}")
                stack.append((end, event, start))
                if event["cat"] == "wait":
                    check(set(event["args"]) >= {"result"}, event)
                    self.slices.append(Slice(thread, event["name"], event["args"]["result"]))
                continue
            check(stack and stack[-1][1]["ts"] <= event["ts"] and stack[-1][0] >= start, f"{event} is in no slice")
            inner = stack[-1][1]
            check_equal(inner["ts"], event["ts"])
            if event["ph"] == "s":
                check(event["id"] not in begun, f"{event}: not unique")
                check_equal((inner["cat"], inner["ts"]), ("wake", event["ts"]))
                begun[event["id"]] = (thread, inner["name"], event["tid"])
            else:
                check_equal((event["ph"], event["bp"]), ("f", "e"))
                check(event["id"] in begun, f"{event} comes before its beginning")
                waits = [other["name"] for _, other, _ in stack if other["cat"] == "wait"]
                *beginning, origin = begun.pop(event["id"])
                # A signal handler of the waiting thread may only set an event or release a semaphore.
                check(origin != event["tid"] or waits[-1].startswith(("waits for event", "waits for semaphore")),
                      f"{event}: the thread has ended its own wait, {waits[-1]}")
                self.arrows.append(Arrow(*beginning, thread, waits[-1]))
        check(not begun, f"arrows without an end: {begun}")


def nanoseconds(microseconds):
    return round(microseconds * 1000)


class Runner:
    def __init__(self, program, directory):
        self.program, self.path = program, pathlib.Path(directory) / "trace.json"

    def run(self, case, status=0, **environment):
        done = subprocess.run([self.program, case, self.path], timeout=LIMIT, env={**os.environ, **environment},
                              capture_output=True, text=True)
        check(done.returncode == status, f"{case}: {done}")
        return done

    def trace(self, suffix=""):
        return Trace(pathlib.Path(f"{self.path}{suffix}").read_text(encoding="utf-8"))


def each_kind(runner):
    """each kind of wait has its slice, and an arrow from the thread that has ended it"""
    runner.run("each_kind")
    trace = runner.trace()
    check_equal([found[1:] for found in trace.slices if found.thread == "waiter"], [
        ('waits for lock "journal"', "woken"),
        ('waits for rlock "accounts"', "woken"),
        ('waits for event "go"', "woken"),
        ('waits for semaphore "connections"', "woken"),
        ('waits for a notify on condition "queue"', "woken"),
        ('waits for the lock of condition "queue"', "woken"),
        ('waits at barrier "phase"', "woken"),
        ('waits for event "stop"', "timed out"),
        ('waits for lock "journal"', "timed out"),
        ('waits for a notify on condition "queue"', "timed out"),
        ("sleeps", "timed out"),
    ])
    check_equal([found for found in trace.slices if found.thread == "MainThread"],
                [Slice("MainThread", 'joins "waiter"', "woken")])
    main = "MainThread"
    check_equal(trace.arrows, [
        Arrow(main, 'releases lock "journal"', "waiter", 'waits for lock "journal"'),
        Arrow(main, 'releases rlock "accounts"', "waiter", 'waits for rlock "accounts"'),
        Arrow(main, 'sets event "go"', "waiter", 'waits for event "go"'),
        Arrow(main, 'releases semaphore "connections"', "waiter", 'waits for semaphore "connections"'),
        Arrow(main, 'notifies condition "queue"', "waiter", 'waits for the lock of condition "queue"'),
        Arrow(main, 'releases the lock of condition "queue"', "waiter", 'waits for the lock of condition "queue"'),
        Arrow(main, 'arrives last at barrier "phase"', "waiter", 'waits at barrier "phase"'),
        Arrow("waiter", "ends", main, 'joins "waiter"'),
    ])
    lock = next(event for event in trace.events if event["name"] == 'waits for lock "journal"')
    handle = lock["args"].pop("handle")
    check(handle.startswith("0x"), handle)
    check_equal(lock["args"], {"object": "lock", "name": "journal", "owner": "MainThread", "result": "woken"})
    check(lock["dur"] >= 25_000, lock)
    check_equal(list(trace.processes.values()), ["traced"])


def notified_before_it_parks(runner):
    """a waiter that is notified before it parks waits for the lock of its condition"""
    runner.run("notified_before_it_parks")
    names = collections.Counter(found.name for found in runner.trace().slices if found.thread == "waiter")
    notify, lock = 'waits for a notify on condition "queue"', 'waits for the lock of condition "queue"'
    check(set(names) <= {notify, lock} and names[notify] <= names[lock], names)


def names(runner):
    """names of threads and objects are escaped, and a renamed thread has its new name"""
    runner.run("names")
    trace = runner.trace()
    check(("old name", "new\tname") in trace.renames, trace.renames)
    found = set(trace.names.values())
    check(found >= {"MainThread", "before the trace", "old name", "new\tname"}, found)
    check("a name that is longer than 64 bytes, and is cut in a report: \u00e9" in found, found)
    waits = {name for thread, name, _ in trace.slices if thread == "old name"}
    waits |= {name for thread, name, _ in trace.slices if thread == "new\tname"}
    check_equal(waits, {'waits for event "a "quoted" \\ name\n\u00e9\x7f"'})
    check(any(thread is None and name == 'waits for event "stop"' for thread, name, _ in trace.slices), trace.slices)
    check(not any(thread == "before the trace" for thread, _, _ in trace.slices), "began before the trace")


def freed(runner):
    """objects that are freed during a wait do no harm"""
    runner.run("freed")
    runner.trace()


def load(runner):
    """eight threads under load write a valid file"""
    runner.run("load")
    trace = runner.trace()
    check(len(trace.slices) > 100 and len(trace.arrows) > 10, f"{len(trace.slices)}, {len(trace.arrows)}")
    check_equal(sorted(trace.names.values()), ["MainThread"] + 8 * ["worker"])


def restarts(runner):
    """traces that several threads start and stop are valid"""
    runner.run("restarts")
    files = [f".{thread}.{count}" for thread in "abc" for count in range(100)]
    slices = sum(len(runner.trace(file).slices) for file in files)
    check(slices > 100, slices)


def forked(runner):
    """a child of fork has no trace until it starts one"""
    runner.run("forked")
    trace = runner.trace()
    check_equal([name for _, name, _ in trace.slices], ["sleeps", "sleeps"])
    child = runner.trace(".child")
    check_equal([arrow[:2] for arrow in child.arrows], [("MainThread", 'sets event "go"'), ("in the child", "ends")])
    check(set(child.processes) != set(trace.processes), child.processes)


def handlers(runner):
    """a wait in a signal handler is a slice, if need be inside of another one"""
    runner.run("handlers")
    check(('waits for event "stop"', "timed out") in [found[1:] for found in runner.trace().slices], "no slice")


def failing(runner):
    """a write that fails ends the trace, and not the process"""
    runner.run("failing")
    check_equal(len(runner.trace().slices), 1)


def exits(runner):
    """the process exit closes the array"""
    runner.run("exits")
    trace = runner.trace()
    check("waits in the process exit or a shutdown" in [name for _, name, _ in trace.slices], trace.slices)
    check(Arrow("last", "ends", "MainThread", "waits in the process exit or a shutdown") in trace.arrows, trace.arrows)


def full_pipe(runner):
    """the process exit does not wait for room in a pipe"""
    runner.run("full_pipe")


def closed(runner):
    """the trace of a program that closes its file is not written to another file"""
    runner.run("closed", THREADING_DEBUG=f"trace={runner.path}")


def standard(runner):
    """the file of a trace does not take the place of a standard one that was closed"""
    done = subprocess.run(["sh", "-c", 'exec "$@" 2>&-', "sh", runner.program, "exits", runner.path],
                          timeout=LIMIT, env={**os.environ, "THREADING_DEBUG": f"trace={runner.path},unknown"})
    check_equal(done.returncode, 0)
    # Otherwise, the message about the unknown word is in it.
    check(len(runner.trace().arrows) >= 1, "no arrow")


def killed(runner):
    """the file of a process that was killed lacks only the end of the array"""
    runner.run("killed", status=-9)
    text = runner.path.read_text(encoding="utf-8")
    check_equal(len(Trace(text + "]").slices), 1)


def variable(runner):
    """THREADING_DEBUG starts a trace when the library is loaded"""
    runner.path.write_text("former contents")
    runner.run("exits", THREADING_DEBUG=f"contention,trace={runner.path}")
    check(len(runner.trace().arrows) >= 1, "no arrow")
    runner.path.unlink()
    runner.run("exits", THREADING_DEBUG=f"trace={runner.path}.%p.json")
    found, = runner.path.parent.glob("*.json.*.json")
    pid, = Trace(found.read_text(encoding="utf-8")).processes
    check_equal(found.name, f"{runner.path.name}.{pid}.json")
    done = runner.run("exits", THREADING_DEBUG="trace=/nonexistent/file")
    check_equal(done.stderr, "threading: THREADING_DEBUG names a file that cannot be written: "
                             "trace=/nonexistent/file\n")


def fifo(runner):
    """a trace to a FIFO waits for room in it, but not until a process opens it"""
    os.mkfifo(runner.path)
    setting = f"trace={runner.path}"
    done = runner.run("exits", THREADING_DEBUG=setting)
    check_equal(done.stderr, f"threading: THREADING_DEBUG names a file that cannot be written: {setting}\n")
    end = os.open(runner.path, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, 4096)
    program = subprocess.Popen([runner.program, "load", runner.path], env={**os.environ, "THREADING_DEBUG": setting})
    time.sleep(0.3)
    os.set_blocking(end, True)
    with open(end, encoding="utf-8") as reader:
        trace = Trace(reader.read())
    check_equal(program.wait(LIMIT), 0)
    check(len(trace.slices) > 100, f"{len(trace.slices)}")


CASES = [each_kind, notified_before_it_parks, names, freed, load, restarts, forked, handlers, failing, exits,
         full_pipe, closed, standard, killed, variable, fifo]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", metavar="PROGRAM", help="traced.c, linked with the library")
    parser.add_argument("cases", metavar="CASE", nargs="*", help="the names of functions, as in this file")
    arguments = parser.parse_args()
    has_failed = False
    for case in CASES:
        if arguments.cases and case.__name__ not in arguments.cases:
            continue
        print(f"{case.__doc__} ... ", end="", flush=True)
        with tempfile.TemporaryDirectory() as directory:
            try:
                case(Runner(arguments.program, directory))
                print("ok")
            except (Failed, ValueError, OSError, subprocess.TimeoutExpired) as failure:
                print(f"FAILED\n{failure}")
                has_failed = True
    return has_failed


if __name__ == "__main__":
    sys.exit(main())
