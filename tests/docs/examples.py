#!/usr/bin/env python3
"""Runs the built examples, or their Python versions, and checks what they print.

    tests/docs/examples.py [--programs DIR] [--valgrind] [NAME...]
    tests/docs/examples.py --python [NAME...]

The C++ versions, cpp/NAME, print the same as the C programs, and the same checks apply. The programs that show why they
hang exist only in C.

The interleaving of threads varies, so a check does not compare the output with a fixed text. It defines which lines the
output consists of, how often each occurs, which lines precede which, and the earliest time of some lines. There is no
latest time, but a program must end within the time limit.

Some orders depend only on sleeps of different lengths. If the machine stalls for a second, they can be reversed. For
these, a check uses `expect_timing`. If it fails and the machine stalled during the run, the program is run again; if
the machine did not stall, the program has failed. Under Valgrind, which runs one thread at a time, it is run again in
any case.
"""

import argparse
import collections
import concurrent.futures
import datetime
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIMIT = 60.0
LIMIT_VALGRIND = 180.0
STALL = 0.25
RUNS = 3

CHECKS = {}
# The exit statuses of the programs that do not end with 0.
STATUSES = {"threading_deadlock": 3}


class Wrong(Exception):
    """The output or the exit status of the program is wrong."""


class WrongTiming(Wrong):
    """The output is wrong in a way that a stall of the machine can cause."""


class StallDetector(threading.Thread):
    """Detects stalls of this machine: sleeps briefly, again and again, and measures how long each sleep took."""

    def __init__(self):
        super().__init__(daemon=True)
        self.stalls = []

    def run(self):
        before = time.monotonic()
        while True:
            time.sleep(0.02)
            now = time.monotonic()
            if now - before > STALL:
                self.stalls.append(now)
            before = now

    def has_stalled_since(self, moment):
        return any(end >= moment for end in self.stalls)


# Line: one line of a stream. Entry: one line of the log. `at` is in seconds since the program was started.
Line = collections.namedtuple("Line", "at text")
Entry = collections.namedtuple("Entry", "at name message")


class Run:
    """One run of a program: its lines on stdout and on stderr, its exit status and its duration."""

    def __init__(self, command, limit):
        self.out, self.err = [], []
        self.started = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        readers = [threading.Thread(target=self._read, args=pair, daemon=True)
                   for pair in ((process.stdout, self.out), (process.stderr, self.err))]
        for reader in readers:
            reader.start()
        try:
            self.status = process.wait(limit)
        except subprocess.TimeoutExpired:
            self.status = None
            process.kill()
            process.wait()
        for reader in readers:
            reader.join(10)  # it ends with the program, unless another process has inherited the pipe
        self.seconds = time.monotonic() - self.started

    def _read(self, pipe, lines):
        with pipe:
            for raw in pipe:
                text = plain_names(raw.decode("utf-8", "backslashreplace"))
                lines.append(Line(time.monotonic() - self.started, text))

    def transcript(self):
        both = [(line, "stdout") for line in self.out] + [(line, "stderr") for line in self.err]
        return "".join(f"    {line.at:7.3f} {stream}: {line.text.rstrip(chr(10))}\n"
                       for line, stream in sorted(both, key=lambda pair: pair[0].at))

    def printed(self):
        """Returns the lines on stdout of a program that does not write to stderr."""
        expect(not self.err, "it wrote to stderr")
        return whole(self.out)

    def logged(self, pattern="({name:<10}) {message}"):
        """Returns the log of a program that does not write to stdout."""
        expect(not self.out, "it wrote to stdout")
        return Log(whole(self.err), pattern)


def plain_names(text):
    """Replaces names such as "Thread-1 (worker)", which Python uses since 3.10, with "Thread-1"."""
    text = re.sub(r"\((Thread-\d+) \(\w+\)\)", lambda match: f"({match[1]:<10})", text)
    return re.sub(r"(Thread-\d+) \(\w+\)", r"\1", text)


class Log:
    """The entries of a log, in order."""

    def __init__(self, lines, pattern):
        stamped = pattern.startswith("{stamp}")
        self.entries = []
        for at, text in lines:
            rest = text
            if stamped:
                expect(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ", text), f"no date and time: {text!r}")
                stamp = datetime.datetime.strptime(text[:23], "%Y-%m-%d %H:%M:%S,%f")
                expect(abs(datetime.datetime.now() - stamp) < datetime.timedelta(minutes=5),
                       f"not the time of day: {text!r}")
                rest = text[24:]
            match = re.fullmatch(r"(?:\[\w+\] )?\((\S+) *\) (.*)", rest)
            expect(match, f"not a log entry: {text!r}")
            name, message = match.groups()
            form = pattern.format(stamp=text[:23], name=name, message=message)
            expect(text == form, f"{text!r} should have the form {form!r}")
            self.entries.append(Entry(at, name, message))

    def of(self, name):
        """Returns the messages of one thread, in order."""
        return [entry.message for entry in self.entries if entry.name == name]

    def expect_names(self, *expected):
        """Checks that no other threads have logged."""
        found = {entry.name for entry in self.entries}
        expect(found <= set(expected), f"unknown threads: {sorted(found - set(expected))}")

    def index(self, name, message):
        """Returns the index of this entry, which must occur once."""
        indices = [i for i, entry in enumerate(self.entries) if (entry.name, entry.message) == (name, message)]
        expect(len(indices) == 1, f"{len(indices)} times instead of once: ({name}) {message}")
        return indices[0]

    def expect_not_before(self, seconds, name, message):
        """Checks that the last such entry was written after this number of seconds or later."""
        times = [entry.at for entry in self.entries if (entry.name, entry.message) == (name, message)]
        expect(times, f"missing: ({name}) {message}")
        expect(times[-1] >= seconds, f"({name}) {message}: after {times[-1]:.3f} s, less than {seconds} s")


def expect(truth, what):
    if not truth:
        raise Wrong(what)


def expect_timing(truth, what):
    """Like expect(), for an order that depends on the lengths of sleeps."""
    if not truth:
        raise WrongTiming(what)


def whole(lines):
    """Returns the lines without their newlines, which must not be missing."""
    for line in lines:
        expect(line.text.endswith("\n"), f"incomplete line: {line.text!r}")
    return [Line(line.at, line.text[:-1]) for line in lines]


def expect_same(found, wanted, whose="all"):
    """Checks that the lines are the wanted ones, in this order."""
    expect(list(found) == list(wanted), f"lines of {whose}: {list(found)}, not {list(wanted)}")


def expect_same_unordered(found, wanted):
    """Checks that the lines are the wanted ones, each as often, in any order."""
    found, wanted = collections.Counter(found), collections.Counter(wanted)
    expect(found == wanted, f"missing: {dict(wanted - found)}, unexpected: {dict(found - wanted)}")


def parse_numbers(pattern, text):
    match = re.fullmatch(pattern, text)
    expect(match, f"{text!r} does not match {pattern!r}")
    return [float(group) for group in match.groups()]


def check(function):
    """Registers the function as the check of the example with the same name."""
    CHECKS[function.__name__] = function
    return function


@check
def threading_simple(run):
    expect_same([line.text for line in run.printed()], ["Worker"] * 5)


@check
def threading_simpleargs(run):
    expect_same_unordered([line.text for line in run.printed()], [f"Worker: {i}" for i in range(5)])


def check_named_threads(log):
    log.expect_names("worker", "Thread-1", "my_service")
    starts, ends = [], []
    for name, seconds in (("worker", 2), ("Thread-1", 2), ("my_service", 3)):
        expect_same(log.of(name), ["Starting", "Exiting"], name)
        log.expect_not_before(seconds, name, "Exiting")
        starts.append(log.index(name, "Starting"))
        ends.append(log.index(name, "Exiting"))
    expect_timing(max(starts) < min(ends), "a thread exits before all have started")
    expect_timing(max(ends) == ends[-1], "my_service is not the last to exit")


@check
def threading_names(run):
    lines = run.printed()
    for line in lines:
        expect(re.fullmatch(r"\S+ \S+", line.text), f"not a name and a message: {line.text!r}")
    pairs = [Line(line.at, "({:<10}) {}".format(*line.text.split())) for line in lines]
    check_named_threads(Log(pairs, "({name:<10}) {message}"))


@check
def threading_names_log(run):
    check_named_threads(run.logged("[DEBUG] ({name:<10}) {message}"))


@check
def threading_daemon(run):
    log = run.logged()
    log.expect_names("daemon", "non-daemon")
    if log.of("daemon") == ["Starting", "Exiting"]:
        expect_timing(False, "the program waited for the daemon")
    expect_same([entry[1:] for entry in log.entries],
                [("daemon", "Starting"), ("non-daemon", "Starting"), ("non-daemon", "Exiting")])


@check
def threading_daemon_join(run):
    log = run.logged()
    log.expect_names("daemon", "non-daemon")
    expect_same(log.of("daemon"), ["Starting", "Exiting"], "daemon")
    expect_same(log.of("non-daemon"), ["Starting", "Exiting"], "non-daemon")
    log.expect_not_before(2, "daemon", "Exiting")
    expect_timing(log.index("daemon", "Exiting") == 3, "the daemon's exit is not the last line")


@check
def threading_daemon_join_timeout(run):
    out = whole(run.out)
    log = Log(whole(run.err), "({name:<10}) {message}")
    log.expect_names("daemon", "non-daemon")
    expect_same(log.of("non-daemon"), ["Starting", "Exiting"], "non-daemon")
    expect_timing([line.text for line in out] != ["d.isAlive() False"], "the daemon was not alive after a second")
    expect_same([line.text for line in out], ["d.isAlive() True"], "stdout")
    expect(out[0].at >= 1, "the join has not waited for a second")
    if log.of("daemon") in ([], ["Starting", "Exiting"]):
        expect_timing(False, "at the end of the program, the daemon has not started or has already ended")
    expect_same(log.of("daemon"), ["Starting"], "daemon")


@check
def threading_enumerate(run):
    log = run.logged()
    workers = ["Thread-1", "Thread-2", "Thread-3"]
    log.expect_names("MainThread", *workers)
    expect_timing(log.of("MainThread") == [f"joining {name}" for name in workers],
                  f"lines of MainThread: {log.of('MainThread')}")  # a worker that has ended is not enumerated
    pauses = {}
    for name in workers:
        lines = log.of(name)
        expect(len(lines) == 2, f"lines of {name}: {lines}")
        [pauses[name]] = parse_numbers(r"sleeping ([1-5])", lines[0])
        expect_same(lines[1:], ["ending"], name)
        log.expect_not_before(pauses[name], name, "ending")
    for joined, following in zip(workers, workers[1:]):
        expect(log.index(joined, "ending") < log.index("MainThread", f"joining {following}"),
               f"the join of {joined} returned before its end")
    for shorter in workers:
        for longer in workers:
            if pauses[shorter] < pauses[longer]:
                expect_timing(log.index(shorter, "ending") < log.index(longer, "ending"),
                              f"{shorter} slept less than {longer} and ended later")


@check
def threading_subclass(run):
    log = run.logged()
    expect_same_unordered([entry[1:] for entry in log.entries], [(f"Thread-{i}", "running") for i in range(1, 6)])


@check
def threading_subclass_args(run):
    log = run.logged()
    expect_same_unordered([entry[1:] for entry in log.entries],
                          [(f"Thread-{i + 1}", f"running with ({i},) and {{'a': 'A', 'b': 'B'}}") for i in range(5)])


@check
def threading_timer(run):
    log = run.logged()
    log.expect_names("MainThread", "t1", "t2")
    expect_same(log.of("MainThread"),
                ["starting timers", "waiting before canceling t2", "canceling t2", "done"], "MainThread")
    expect_same(log.of("t1"), ["worker running"], "t1")
    log.expect_not_before(2, "MainThread", "canceling t2")
    log.expect_not_before(3, "t1", "worker running")
    if log.of("t2"):
        expect_same(log.of("t2"), ["worker running"], "t2")
        log.expect_not_before(3, "t2", "worker running")
        expect_timing(False, "the cancelled timer fired")
    expect_timing(log.index("t1", "worker running") == 4, "the timer fired before main was done")


@check
def threading_event(run):
    log = run.logged()
    log.expect_names("MainThread", "block", "non-block")
    expect_same(log.of("MainThread"), ["Waiting before calling Event.set()", "Event is set"], "MainThread")
    expect_same(log.of("block"), ["wait_for_event starting", "event set: True"], "block")

    timed_out = ["wait_for_event_timeout starting", "event set: False", "doing other work"]
    succeeded = ["wait_for_event_timeout starting", "event set: True", "processing event"]
    lines = log.of("non-block")
    while lines[:3] == timed_out:
        lines = lines[3:]
    expect(lines in ([], succeeded), f"lines of non-block: {log.of('non-block')}")
    expect_timing(log.of("non-block") == timed_out + succeeded, "non-block has not waited twice")

    log.expect_not_before(2, "non-block", "event set: False")
    expect_timing(log.index("non-block", "event set: False") < log.index("MainThread", "Event is set"),
                  "the timeout expired after the event was set")
    for name in ("block", "non-block"):
        log.expect_not_before(3, name, "event set: True")
        expect(log.index("MainThread", "Waiting before calling Event.set()") < log.index(name, "event set: True"),
               f"{name} saw the event set before it was set")
    log.expect_not_before(3, "MainThread", "Event is set")


@check
def threading_lock(run):
    log = run.logged()
    log.expect_names("MainThread", "Thread-1", "Thread-2")
    expect_same(log.of("MainThread"), ["Waiting for worker threads", "Counter: 4"], "MainThread")
    for name in ("Thread-1", "Thread-2"):
        entries = [entry for entry in log.entries if entry.name == name]
        expect(len(entries) == 7, f"lines of {name}: {log.of(name)}")
        slept = 0.0
        for at in (0, 3):
            [pause] = parse_numbers(r"Sleeping ([01]\.\d\d)", entries[at].message)
            expect(pause <= 1, f"slept too long: {pause}")
            slept += pause - 0.005  # the logged value may have been rounded up
            expect_same(log.of(name)[at + 1:at + 3], ["Waiting for lock", "Acquired lock"], name)
            expect(entries[at + 1].at >= slept, f"{name} slept less than it logged")
        expect_same(log.of(name)[6:], ["Done"], name)
    expect(log.index("MainThread", "Counter: 4") == 15, "main did not wait for the workers")


@check
def threading_lock_noblock(run):
    log = run.logged()
    log.expect_names("LockHolder", "Worker")
    lines = log.of("Worker")
    [tries] = parse_numbers(r"Done after (\d+) iterations", lines[-1] if lines else "")
    wanted, acquired = ["Starting"], 0
    for i in range(1, int(tries) + 1):
        acquired += f"Iteration {i}: Acquired" in lines
        outcome = "Acquired" if f"Iteration {i}: Acquired" in lines else "Not acquired"
        wanted += ["Trying to acquire", f"Iteration {i}: {outcome}"]
        log.expect_not_before(0.5 * i, "Worker", f"Iteration {i}: {outcome}")
    expect_same(lines, wanted + [f"Done after {int(tries)} iterations"], "Worker")
    expect(acquired == 3, f"acquired {acquired} times instead of 3")
    expect(lines[-2].endswith(": Acquired"), "continued after the third acquire")

    lines = log.of("LockHolder")
    expect_timing(len(lines) >= 2, "LockHolder did not run")
    cycles = len(lines) // 2 + 1
    expect_same(lines, (["Starting"] + ["Holding", "Not holding"] * cycles)[:len(lines)], "LockHolder")

    held, changes = False, 0
    for entry in log.entries:
        if entry.name == "LockHolder" and entry.message != "Starting":
            held = entry.message == "Holding"
            expect(entry.at >= 0.5 * changes, f"LockHolder did not sleep: {changes} changes in {entry.at:.3f} s")
            changes += 1
        expect(not (held and entry.message.endswith(": Acquired")), "two threads held the lock at the same time")


@check
def threading_lock_reacquire(run):
    expect_same([line.text for line in run.printed()], ["First try : True", "Second try: False"])


@check
def threading_rlock(run):
    expect_same([line.text for line in run.printed()], ["First try : True", "Second try: 1"])


@check
def threading_lock_with(run):
    expect_same_unordered([entry[1:] for entry in run.logged().entries],
                          [("Thread-1", "Lock acquired via with"), ("Thread-2", "Lock acquired directly")])


@check
def threading_condition(run):
    log = run.logged("{stamp} ({name:<2}) {message}")
    log.expect_names("c1", "c2", "p")
    expect_same(log.of("p"), ["Starting producer thread", "Making resource available"], "p")
    made = log.index("p", "Making resource available")
    for name in ("c1", "c2"):
        expect_same(log.of(name), ["Starting consumer thread", "Resource is available to consumer"], name)
        expect(made < log.index(name, "Resource is available to consumer"), f"{name} saw the resource too early")
    log.expect_not_before(2, "c2", "Starting consumer thread")
    log.expect_not_before(4, "p", "Starting producer thread")
    expect_timing([log.index("c1", "Starting consumer thread"), log.index("c2", "Starting consumer thread"),
                   log.index("p", "Starting producer thread")] == [0, 1, 2], "the threads started in a wrong order")


@check
def threading_semaphore(run):
    log = run.logged("{stamp} ({name:<2}) {message}")
    workers = ["0", "1", "2", "3"]
    log.expect_names(*workers)
    active, entered = [], 0
    for at, name, message in log.entries:
        if message == "Waiting to join the pool":
            expect(name not in active, f"{name} waits although it is in the pool")
            continue
        if name in active:
            active.remove(name)
        else:
            active.append(name)
            entered += 1
        expect(message == f"Running: {active}", f"({name}) {message}: should be {active}")
        expect(len(active) <= 2, f"more than two in the pool: {active}")
        expect(at >= 0.1 * ((entered - 1) // 2), f"{entered} workers have entered the pool after {at:.3f} s")
    for name in workers:
        expect(len(log.of(name)) == 3, f"lines of {name}: {log.of(name)}")
        expect_same(log.of(name)[:1], ["Waiting to join the pool"], name)
    expect(log.entries[-1].message == "Running: []", "the pool is not empty at the end")
    expect(log.entries[-1].at >= 0.2, "four workers, two at a time, took less than two periods")


def check_local_values(log, in_main, in_worker):
    log.expect_names("MainThread", "Thread-1", "Thread-2")
    expect_same(log.of("MainThread"), in_main, "MainThread")
    expect([entry.name for entry in log.entries[:2]] == ["MainThread"] * 2, "a worker logged before main had finished")
    for name in ("Thread-1", "Thread-2"):
        expect_same(log.of(name)[:-1], in_worker, name)
        [value] = parse_numbers(r"value=(\d+)", log.of(name)[-1])
        expect(1 <= value <= 100, f"the value of {name} is {value}")


@check
def threading_local(run):
    check_local_values(run.logged(), ["No value yet", "value=1000"], ["No value yet"])


@check
def threading_local_defaults(run):
    log = run.logged()
    expect(log.entries, "no output")
    first = log.entries[0].message
    expect(re.fullmatch(r"Initializing <MyLocal object at 0x[0-9a-f]+>", first), f"first line: {first!r}")
    check_local_values(log, [first, "value=1000"], [first, "value=1000"])


def expect_text(run, expected):
    """Checks that the program prints this text, in which # stands for a number with or without decimals.

    The text is a report of a hang. If the machine stalls, it is made again, or made before each thread waits."""
    found = re.sub(r"\b\d+(\.\d)?( s)?\b", lambda match: "#" + (match[2] or "") if len(match[0]) > 2 else match[0],
                   "\n".join(line.text for line in run.printed()))
    expect_timing(found.splitlines() == expected, f"lines: {found.splitlines()}, not {expected}")


@check
def threading_deadlock(run):
    expect_text(run, [
        'threading: process #, 3 threads, 2 of them deadlocked:',
        '  "Thread-1" waits for lock "journal", owned by "Thread-2", for # s',
        '  "Thread-2" waits for lock "accounts", owned by "Thread-1", for # s',
        '"MainThread" #  joins "Thread-1", for # s',
        '"Thread-1" #  waits for lock "journal", owned by "Thread-2", for # s',
        '    owns lock "accounts" (1 waiter)',
        '"Thread-2" #  waits for lock "accounts", owned by "Thread-1", for # s',
        '    owns lock "journal" (1 waiter)'])
    expect(run.out[0].at >= 0.5, f"reported after {run.out[0].at:.3f} s, less than 0.5 s")


@check
def threading_no_exit(run):
    expect_text(run, [
        'main returns',
        'The process does not exit:',
        'threading: process #, 3 threads',
        '"MainThread" #  waits in the process exit or a shutdown for 1 non-daemon thread and 1 timer, for # s',
        '"worker" #  waits for event "stop" (not set), for # s',
        '"daemon" #  waits for event "stop" (not set), for # s',
        '"reminder" timer, due in # s'])
    expect(run.out[1].at >= 0.5, f"reported after {run.out[1].at:.3f} s, less than 0.5 s")


def judge(name, program, valgrind, stall_detector):
    """Runs one program, given as a command. Returns what is wrong with it, or None, and how long it took."""
    for attempt in range(1, RUNS + 1):
        with tempfile.NamedTemporaryFile() as report:
            command, limit = program, LIMIT
            if valgrind:
                command = ["valgrind", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite",
                           "--show-leak-kinds=definite", "--quiet", f"--log-file={report.name}"] + command
                limit = LIMIT_VALGRIND
            try:
                run = Run(command, limit)
            except OSError as error:
                return f"cannot run: {error}", 0.0
            found = pathlib.Path(report.name).read_text(errors="replace")
        try:
            expect(run.status is not None, f"no end within {limit:.0f} s")
            expect(run.status == STATUSES.get(name, 0), f"exited with status {run.status}\n{found}".rstrip())
            CHECKS[name.rpartition("/")[2]](run)
        except WrongTiming as wrong:
            if attempt < RUNS and (valgrind or stall_detector.has_stalled_since(run.started)):
                continue
            return f"{wrong}\n{run.transcript()}".rstrip(), run.seconds
        except Wrong as wrong:
            return f"{wrong}\n{run.transcript()}".rstrip(), run.seconds
        return None, run.seconds
    raise AssertionError("not reached")


def main():
    parser = argparse.ArgumentParser(description="Runs the built examples and checks what they print.")
    parser.add_argument("--programs", metavar="DIR", type=pathlib.Path, default=ROOT / "build" / "c_examples",
                        help="the directory of the built programs (default: %(default)s)")
    parser.add_argument("--python", action="store_true", help="run the Python versions, with this interpreter")
    parser.add_argument("--valgrind", action="store_true",
                        help="run the programs under Valgrind, which must report no error")
    parser.add_argument("names", metavar="NAME", nargs="*", help="the programs to check (default: all)")
    arguments = parser.parse_args()

    sources = ROOT / "c_examples"
    cpp = [f"cpp/{source.stem}" for source in sorted(sources.glob("cpp/threading_*.cpp"))]
    python = [source.stem for source in sorted(sources.glob("python/threading_*.py"))]
    known = [name for name in CHECKS if not arguments.python or name in python] + ([] if arguments.python else cpp)
    unknown = [name for name in arguments.names if name not in known]
    if unknown:
        parser.error(f"unknown example: {', '.join(unknown)}")
    if arguments.python and arguments.valgrind:
        parser.error("--valgrind is only for the programs in C and C++")
    names = arguments.names or known
    programs = arguments.programs.resolve()

    def command(name):
        return [sys.executable, str(sources / "python" / f"{name}.py")] if arguments.python else [str(programs / name)]

    failed = 0
    for source in sorted(path for pattern in ("threading_*.c", "cpp/threading_*", "python/*.py")
                         for path in sources.glob(pattern)):
        if source.stem not in CHECKS:
            print(f"FAIL {source.relative_to(sources)}: there is no check for it", flush=True)
            failed += 1

    stall_detector = StallDetector()
    stall_detector.start()
    with concurrent.futures.ThreadPoolExecutor(max_workers=4 if arguments.valgrind else 8) as pool:
        jobs = [pool.submit(judge, name, command(name), arguments.valgrind, stall_detector) for name in names]
        for name, job in zip(names, jobs):
            wrong, seconds = job.result()
            failed += wrong is not None
            print(f"{'ok  ' if wrong is None else 'FAIL'} {name} ({seconds:.2f} s)"
                  + ("" if wrong is None else f": {wrong}"), flush=True)
    passed = len(names) - sum(job.result()[0] is not None for job in jobs)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
