#!/usr/bin/env python3
"""Tests of threading-dump, and of dumps from the inside against those from the outside.

    check.py --program NAME=PATH [--program NAME=PATH]... [CASE]...

Each program is tests/dump/hangs.c, linked in another way. Each of its hangs is reported by the hang hook, by a signal,
by threading-dump for the process while it runs and while it is stopped, from core files by gdb and by threading-dump,
and by gdb for the process: the texts must be equal, with times masked. What needs gdb, or a core file from the kernel,
is skipped where that is not possible.
"""

import argparse
import concurrent.futures
import importlib.machinery
import importlib.util
import os
import pathlib
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TOOL = ROOT / "tools" / "threading-dump"
LIMIT = 60
GDB = shutil.which(os.environ.get("GDB", "gdb"))
COMPILER = os.environ.get("CC", "cc").split()

EXPECTED = {
    "two_locks": """\
threading: process #, 3 threads, 2 of them deadlocked:
  "Thread-1" waits for lock "journal", owned by "Thread-2", for # s
  "Thread-2" waits for lock "accounts", owned by "Thread-1", for # s
"MainThread" #  joins "Thread-1", for # s
"Thread-1" #  waits for lock "journal", owned by "Thread-2", for # s
    owns lock "accounts" (1 waiter)
"Thread-2" #  waits for lock "accounts", owned by "Thread-1", for # s
    owns lock "journal" (1 waiter)
""",
    "process_exit": """\
threading: process #, 3 threads
"MainThread" #  waits in the process exit or a shutdown for 2 non-daemon threads and 1 timer, for # s
"worker" #  waits for event "stop" (not set), for # s
"reader" #  running outside this library, in read(2)
"Thread-1" timer, due in # s
""",
    "no_notify": """\
threading: process #, 3 threads
"MainThread" #  waits in the process exit or a shutdown for 2 non-daemon threads, for # s
"consumer" #  waits for a notify on condition "queue" (rlock free), for # s; no waiter has been notified since it was \
created
"other" #  waits for a notify on condition # (lock free), for # s; no waiter has been notified since it was created
""",
    "notified": """\
threading: process #, 3 threads
"MainThread" #  waits in the process exit or a shutdown for 2 non-daemon threads, for # s
"producer" #  waits for semaphore # (0 left, 1 waiter), for # s
    owns rlock #
"consumer" #  notified on condition "queue", waits for its rlock, owned by "producer", for # s
""",
    "missing_party": """\
threading: process #, 3 threads
"MainThread" #  waits in the process exit or a shutdown for 2 non-daemon threads, for # s
"party-1" #  waits at barrier "phase" (2 of 3 arrived), for # s
"party-2" #  waits at barrier "phase" (2 of 3 arrived), for # s
""",
    "barrier_action": """\
threading: process #, 4 threads
"MainThread" #  waits in the process exit or a shutdown for 3 non-daemon threads, for # s
"first" #  waits at barrier "phase" (2 of 2 arrived), whose action is run by "last", for # s
"last" #  waits for event "stop" (not set), for # s
"next" #  waits at barrier "phase" (2 of 2 arrived), whose action is run by "last", for # s
""",
    "no_permit": """\
threading: process #, 3 threads
"MainThread" #  waits in the process exit or a shutdown for 2 non-daemon threads, for # s
"late" #  waits for semaphore "connections" (0 of 2 left, 1 waiter), for # s
"\\"q\\\\uote\\x0a\u00e9\\xc2\\x9b\\"" #  waits for semaphore # (0 left, 1 waiter), for # s
""",
    "forked": """\
threading: process #, 2 threads
"MainThread" #  waits in the process exit or a shutdown for 1 non-daemon thread, for # s
"new" #  waits for lock "accounts", owned since before the fork by a thread that does not exist here, for # s
""",
    "others": """\
threading: process #, 6 threads, 2 of them deadlocked:
  "Thread-1" waits for lock #, owned by "MainThread", for # s
  "MainThread" waits in the process exit or a shutdown for 5 non-daemon threads and 38 timers, for # s
"MainThread" #  waits in the process exit or a shutdown for 5 non-daemon threads and 38 timers, for # s
    owns lock # (2 waiters)
    owns rlock #
"sleeper" #  sleeps, for # s, for at most # s more
"joiner" #  joins "sleeper", for # s
"patient" #  waits for lock #, owned by "MainThread", for # s, for at most # s more
"Thread-1" #  waits for lock #, owned by "MainThread", for # s
"a name that is longer than a report shows: \u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9" #  waits for \
semaphore # (0 left, 1 waiter), for # s
"Thread-25" timer, due in # s
"Thread-8" timer, due in # s
"Thread-31" timer, due in # s
"Thread-14" timer, due in # s
"Thread-37" timer, due in # s
"Thread-20" timer, due in # s
"Thread-3" timer, due in # s
"Thread-26" timer, due in # s
31 more pending timers
""",
    "exit_callbacks": """\
threading: process #, 2 threads, 2 of them deadlocked:
  "MainThread" waits in the process exit or a shutdown for the functions that another thread calls, for # s
  "first" waits for lock "accounts", owned by "MainThread", for # s
"MainThread" #  waits in the process exit or a shutdown for the functions that another thread calls, for # s
    owns lock "accounts" (1 waiter)
"first" #  waits for lock "accounts", owned by "MainThread", for # s
""",
    "exit_chain": """\
threading: process #, 3 threads, 3 of them deadlocked:
  "joiner" joins "daemon", for # s
  "daemon" waits for lock "accounts", owned by "MainThread", for # s
  "MainThread" waits in the process exit or a shutdown for 1 non-daemon thread, for # s
"MainThread" #  waits in the process exit or a shutdown for 1 non-daemon thread, for # s
    owns lock "accounts" (1 waiter)
"daemon" #  waits for lock "accounts", owned by "MainThread", for # s
"joiner" #  joins "daemon", for # s
""",
    "contended": """\
threading: process #, 3 threads
"MainThread" #  waits in the process exit or a shutdown for 2 non-daemon threads, for # s
"a" #  waits for event "stop" (not set), for # s
"b" #  waits for event "stop" (not set), for # s
contention in the last # s:
  lock "accounts"  2 waits, # ms in total, # ms the longest, owned by "MainThread"
""",
}
# The same if the consumer parks together with others.
EXPECTED["notified_together"] = EXPECTED["notified"]


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


class TooEarly(Exception):
    """The hook was called before all threads had arrived where they hang."""


def check(condition, *what):
    if not condition:
        raise Failed("".join(map(str, what)))


def check_equal(found, expected, what):
    check(found == expected, f"{what}: found\n{found}\nexpected\n{expected}")


def mask_times(text):
    return re.sub(r"\d+\.\d s\b", "# s", text)


def mask(text):
    """Masks what may differ between two runs."""
    text = re.sub(r"\d+\.\d m?s(?= in total| the longest)", "# ms", text)
    text = re.sub(r"0x[0-9a-f]{5,}", "#", mask_times(text))
    return re.sub(r'(?m)(?<=^threading: process )\d+|(?<=" )\d+(?=  )', "#", text)


def wait_until(condition, what):
    end = time.monotonic() + LIMIT
    while not (found := condition()):
        check(time.monotonic() < end, f"no {what() if callable(what) else what} within {LIMIT} s")
        time.sleep(0.01)
    return found


def tool(*arguments, status=0, **settings):
    """Runs threading-dump. Returns its output, or its errors if `status` is 1; with None, it may fail."""
    command = [sys.executable, "-B", TOOL, *map(str, arguments)]
    found = subprocess.run(command, capture_output=True, timeout=LIMIT, **settings)
    check(status is None or found.returncode == status, f"threading-dump {arguments} returns {found.returncode}: "
          f"{found.stdout.decode()}{found.stderr.decode()}")
    return (found.stderr if status else found.stdout).decode()


def gdb(*arguments, commands):
    """Runs commands in gdb after the tool was sourced. Returns the output of the last one."""
    if GDB is None:
        raise Skipped("gdb is not installed")
    executed = [part for command in (f"source {TOOL}", *commands[:-1], "echo <<<\\n", commands[-1], "echo >>>\\n")
                for part in ("-ex", command)]
    # Without the debug information of the C library, which may be installed, and takes gdb half of the time to read.
    found = subprocess.run([GDB, "-nx", "-batch", "-iex", "set debug-file-directory /nonexistent",
                            *map(str, arguments), *executed],
                           capture_output=True, timeout=LIMIT, stdin=subprocess.DEVNULL)
    output = found.stdout.decode(errors="replace")
    check("<<<\n" in output and ">>>\n" in output, f"gdb fails: {output}{found.stderr.decode(errors='replace')}")
    return output.split("<<<\n")[1].split(">>>\n")[0]


def allow_cores():
    """Lets the kernel write core files of this process's children."""
    _, maximum = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (maximum, maximum))


class Program:
    """A running program that hangs. Its dumps are in files in `directory`."""

    def __init__(self, path, hang, directory, **environment):
        self.directory = pathlib.Path(directory)
        self.hooked, self.signalled = self.directory / "hooked", self.directory / "signalled"
        with open(self.hooked, "wb") as hooked, open(self.signalled, "wb") as signalled:
            self.process = subprocess.Popen(
                [path, hang, str(signalled.fileno())], stderr=hooked, stdin=subprocess.DEVNULL, cwd=directory,
                pass_fds=[signalled.fileno()], start_new_session=True,
                env={**os.environ, "THREADING_DEBUG": "hang=0.2", **environment})
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def follow_child(self):
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        self.pid = int(wait_until(lambda: children.read_text().split(), "child")[0])

    def stop(self):
        os.kill(self.pid, signal.SIGSTOP)

        def is_stopped():
            tasks = pathlib.Path(f"/proc/{self.pid}/task").iterdir()
            return all((task / "stat").read_text().rsplit(")", 1)[1].split()[0] in "Tt" for task in tasks)
        wait_until(is_stopped, "stopped process")


def last_report(path):
    text = path.read_text()
    return text[text.rfind("threading: process "):] if "threading: process " in text else ""


def kernel_core(program):
    """Aborts the program, and returns the core file that the kernel has written."""
    pattern = pathlib.Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if not re.fullmatch(r"[\w.%-]+", pattern):
        raise Skipped(f"core files of the kernel go to {pattern}")
    if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        raise Skipped("core files of the kernel are not allowed")
    os.kill(program.pid, signal.SIGABRT)
    os.kill(program.pid, signal.SIGCONT)
    wait_until(lambda: not is_running(program.pid), "end of the program")
    found = [path for path in program.directory.iterdir() if path.name.startswith(pattern.split("%")[0])]
    if not found:
        raise Skipped("the kernel wrote no core file")
    return found[0]


def is_running(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def hook_report(program, hang):
    """Returns the report of the hang hook. That of an exit is repeated, until all threads hang."""
    def is_complete():
        text = mask(last_report(program.hooked))
        if hang == "two_locks" and text and text != EXPECTED[hang]:
            raise TooEarly(text)
        return text == EXPECTED[hang]

    wait_until(is_complete, lambda: f"{EXPECTED[hang]}\nThe last report is\n{last_report(program.hooked)}")
    return last_report(program.hooked)


def same_text(path, hang):
    """Checks that dumps of this hang have the same text, however they are made. Returns what was skipped."""
    for _ in range(3):
        try:
            return same_text_once(path, hang)
        except TooEarly as early:
            last = early
    raise Failed(f"{hang}, hang hook: {last}")


def same_text_once(path, hang):
    remarks = []

    def compare(what, make, *arguments, **settings):
        try:
            check_equal(mask_times(make(*arguments, **settings)), text, f"{hang}, {what}")
        except Skipped as skipped:
            remarks.append(f"{what}: {skipped}")

    with tempfile.TemporaryDirectory() as directory, Program(path, hang, directory) as program:
        if hang == "forked":
            program.follow_child()
        text = mask_times(hook_report(program, hang))
        os.kill(program.pid, signal.SIGUSR1)
        wait_until(lambda: last_report(program.signalled).count("\n") >= text.count("\n"), "dump by a signal")
        check_equal(mask_times(program.signalled.read_text()), text, f"{hang}, by a signal")
        compare("running process", tool, program.pid)
        program.stop()
        compare("stopped process", tool, program.pid)
        core = program.directory / "core.of.gdb"
        compare("process in gdb", gdb, "-p", program.pid, commands=[f"gcore {core}", "info threading"])
        if core.exists():
            compare("core of gdb", tool, core)
            compare("core of gdb in gdb", gdb, path, core, commands=["info threading"])
        try:
            core = kernel_core(program)
        except Skipped as skipped:
            remarks.append(f"core of the kernel: {skipped}")
        else:
            compare("core of the kernel", tool, core)
            compare("core of the kernel in gdb", gdb, "-c", core, commands=["info threading"])
    return remarks


# ------------------------------------------------------------------------------------------------------------ cases

def load_tool():
    loader = importlib.machinery.SourceFileLoader("threading_dump", str(TOOL))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("threading_dump", loader))
    sys.dont_write_bytecode = True
    loader.exec_module(module)
    return module


def lists_agree(_):
    """the tool has the sentences and the names of the library"""
    module = load_tool()
    rust = (ROOT / "src/dump/sentences.rs").read_text()
    sentences = dict(re.findall(r'pub\(super\) const (\w+): &str =\s*"((?:[^"\\]|\\.)*)";', rust))
    check(len(sentences) == rust.count("pub(super) const"), "a sentence was not found")
    check_equal({name: value for name, value in vars(module.Say).items() if name.isupper()}, sentences, "sentences")
    rust = (ROOT / "src/dump/layout.rs").read_text()
    invocation = rust[rust.index("\nlayout! {\n"):]
    lists = [re.search(rf"\n    {name} \{{(.*?)\n    \}}", invocation, re.DOTALL)[1]
             for name in ("addresses", "values", "system_calls")]
    check_equal(module.ADDRESSES, re.findall(r"(?m)^ *(\w+) = ", lists[0]), "addresses")
    check_equal(module.VALUES, re.findall(r"(?m)^ *(\w+) = ", lists[1]), "values")
    check_equal(module.SYSCALLS, re.findall(r'"(.*?)"', lists[2]), "system calls")
    check_equal(module.VERSION, int(re.search(r"const VERSION: u32 = (\d+);", rust)[1]), "version")


def one_text(programs):
    """each hang has the same text in all ways"""
    # As many at a time as there are CPUs: most of the time, gdb reads symbols.
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return set().union(*pool.map(lambda hang: same_text(programs[0], hang), EXPECTED))


def libraries_of(program):
    found = subprocess.run(["ldd", program], text=True, capture_output=True)
    return re.findall(r"=> (/\S*libthreading\S*)", found.stdout)


def linked_in_any_way(programs):
    """the same with the static library, and for programs and libraries without symbols"""
    remarks = set()
    for program in programs[1:]:
        remarks.update(same_text(program, "two_locks"))
    with tempfile.TemporaryDirectory() as directory:
        strip = shutil.which(os.environ.get("STRIP", "strip"))
        if strip is None:
            raise Skipped("strip is not installed")
        for program in programs:
            stripped = pathlib.Path(directory) / f"{pathlib.Path(program).name}-stripped"
            subprocess.run([strip, "--strip-all", "-o", stripped, program], check=True)
            libraries = libraries_of(program)
            for library in libraries:
                output = pathlib.Path(directory) / pathlib.Path(library).name
                subprocess.run([strip, "--strip-all", "-o", output, library], check=True)
            before = os.environ.get("LD_LIBRARY_PATH")
            os.environ["LD_LIBRARY_PATH"] = directory
            try:
                found = libraries_of(stripped)
                check(all(library.startswith(f"{directory}/") for library in found), f"not stripped: {found}")
                remarks.update(same_text(stripped, "two_locks"))
            finally:
                if before is None:
                    del os.environ["LD_LIBRARY_PATH"]
                else:
                    os.environ["LD_LIBRARY_PATH"] = before
    return remarks


def running_process(programs):
    """dumps of a process that runs find no deadlock"""
    with tempfile.TemporaryDirectory() as directory, Program(programs[0], "busy", directory) as program:
        wait_until(lambda: "6 non-daemon" in tool(program.pid, status=None), "dump with all threads")
        for _ in range(30):
            text = tool(program.pid)
            line = r"""(?x)
                threading:\ process\ \d+,\ \d+\ threads | timers:\ not\ known,\ .* | .*\ timer,\ due\ in\ .*
                | "(MainThread|worker|Thread-\d+)"\ \d+\ \ (running|waits\ (for|in))\ .*
                | "worker"\ \ starting
                | \ {4}owns\ (lock|rlock|an\ object)\ .*
                | \d+\ more\ pending\ timers?"""
            for found in text.splitlines():
                check(re.fullmatch(line, found), f"unexpected line: {found}\n{text}")


def forming_deadlocks(programs):
    """a deadlock that forms while a process is read is shown whole or not at all"""
    with tempfile.TemporaryDirectory() as directory, Program(programs[0], "forming", directory) as program:
        wait_until(lambda: "deadlocked" in tool(program.pid, status=None), "deadlock")
        text = ""
        while "waits in the process exit" not in text:
            text = tool(program.pid)
            number = re.search(r"(\d+) of them deadlocked:\n", text)
            listed = len(re.findall(r"(?m)^  \S", text))
            check_equal(listed, int(number[1]) if number else 0, f"deadlocked threads in {text}")


def ended_main(programs):
    """a process whose main thread has ended is not taken for one that has ended"""
    with tempfile.TemporaryDirectory() as directory, Program(programs[0], "ended_main", directory) as program:
        wait_until(lambda: not is_running(program.pid), "end of the main thread")
        wait_until(lambda: "2 of them deadlocked:" in tool(program.pid), "deadlock")


def namespaces(programs):
    """a process in a PID namespace of its own has the IDs of that, and gdb may be attached to one of its threads"""
    unshare = shutil.which("unshare")
    if unshare is None or os.getuid() != 0:
        raise Skipped("unshare is not installed, or not permitted")
    # Main has not needed an identifier, so that its wait is found by its ID.
    with subprocess.Popen([unshare, "--pid", "--fork", "--kill-child", programs[0], "foreign"],
                          stderr=subprocess.PIPE) as parent:
        try:
            children = pathlib.Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
            wait_until(lambda: parent.poll() is not None or children.read_text().split(), "child")
            if parent.poll() is not None:
                raise Skipped(f"unshare: {parent.stderr.read().decode()}")
            child = int(children.read_text())
            expected = 'threading: process #, 1 thread\n"MainThread" #  waits for event "stop" (not set), for # s\n'
            wait_until(lambda: mask(tool(child, status=None)) == expected, "wait")
            text = mask_times(tool(child))
            check(text.startswith("threading: process 1, "), text)
            for task in sorted(map(int, os.listdir(f"/proc/{child}/task"))):
                check_equal(mask_times(gdb("-p", task, commands=["info threading"])), text, f"gdb of task {task}")
        finally:
            parent.kill()


def unused_copy(programs):
    """a copy of the library that the program does not use has no dump"""
    static = [program for program in programs if not libraries_of(program)]
    shared = [library for program in programs for library in libraries_of(program)]
    if not static or not shared:
        raise Skipped("no program has the static library, or none the shared one")
    with tempfile.TemporaryDirectory() as directory, \
            Program(static[0], "missing_party", directory, LD_PRELOAD=shared[0]) as program:
        wait_until(lambda: mask(tool(program.pid, status=None)) == EXPECTED["missing_party"],
                   lambda: f"{EXPECTED['missing_party']}\nThe last dump is\n{tool(program.pid, status=None)}")


def mapped_as_data(programs):
    """a program or library that is also mapped as data is read from where it was loaded"""
    for program in programs:
        with tempfile.TemporaryDirectory() as directory, Program(program, "mapped", directory) as process:
            wait_until(lambda: mask(tool(process.pid, status=None)) == EXPECTED["missing_party"],
                       lambda: f"{EXPECTED['missing_party']}\nThe last dump is\n{tool(process.pid, status=None)}")
        for path in [program, *libraries_of(program)]:
            code = ("import mmap, sys; file = open(sys.argv[1], 'rb'); "
                    "mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ); input()")
            with subprocess.Popen([sys.executable, "-c", code, path], stdin=subprocess.PIPE) as other:
                try:
                    maps = pathlib.Path(f"/proc/{other.pid}/maps")
                    wait_until(lambda: pathlib.Path(path).resolve().name in maps.read_text(), "mapping")
                    found = tool(other.pid, status=1)
                    check("does not use libthreading" in found, f"{path} as data of a program without it: {found}")
                finally:
                    other.kill()


def odd_names(programs):
    """paths and names may contain any characters"""
    with tempfile.TemporaryDirectory() as directory:
        for index, name in enumerate(("\x0b", "\x1c", "\x85", "\u2028", "a\nb", " ", "\udcff")):
            odd = pathlib.Path(directory) / str(index) / f"{name}x"
            odd.parent.mkdir()
            shutil.copy(programs[0], odd)
            with Program(odd, "missing_party", odd.parent) as process:
                wait_until(lambda: mask(tool(process.pid, status=None)) == EXPECTED["missing_party"],
                           lambda: f"{EXPECTED['missing_party']}\nThe last dump is\n{tool(process.pid, status=None)}")
        sleep = pathlib.Path(directory) / "\x1b[7m\x07"
        shutil.copy(shutil.which("sleep"), sleep)
        with subprocess.Popen([sleep, "1000"]) as other:
            try:
                expected = f"threading-dump: process {other.pid} (\\x1b[7m\\x07) does not use "
                wait_until(lambda: tool(other.pid, status=1).startswith(expected),
                           lambda: f"{expected}\nThe last message is\n{tool(other.pid, status=1)}")
            finally:
                other.kill()


def many_threads(programs):
    """the time of a dump is not quadratic in the number of threads that wait in the same way"""
    with tempfile.TemporaryDirectory() as directory, \
            Program(programs[0], "many", directory, THREADING_DEBUG="") as process:
        def tasks():
            return len(os.listdir(f"/proc/{process.pid}/task"))
        wait_until(lambda: tasks() == 2402, lambda: f"2402 threads; there are {tasks()}")
        began = time.monotonic()
        text = tool(process.pid)
        used = time.monotonic() - began
        check(text.startswith(f"threading: process {process.pid}, 2402 threads\n"), text[:100])
        for line, number in (('"party" .*at barrier .* .800 of 801 arrived', 800), ('"outside" .* in futex', 800),
                             ('"joiner" .* joins "(first|joiner)"', 800)):
            wait_until(lambda: len(re.findall(line, tool(process.pid))) == number, f"{number} lines {line}")
        check(used < LIMIT / 3, f"the dump takes {used:.1f} s")


def exit_of_many(programs):
    """if the exit and many threads hang, their reports are made by two threads, and in a short time"""
    def reports():
        return program.hooked.read_bytes().count(b"threading: process ")

    def used():
        fields = pathlib.Path(f"/proc/{program.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    with tempfile.TemporaryDirectory() as directory, Program(programs[0], "exit_of_many", directory) as program:
        wait_until(lambda: reports() >= 3, lambda: f"three reports; there are {reports()} after {used()} s of CPU time")
        check(used() < LIMIT / 6, f"the reports take {used()} s of CPU time")


def errors(programs):
    """errors are reported"""
    check_equal(tool(2**22 + 1, status=1), f"threading-dump: there is no process {2**22 + 1}\n", "no process")
    check("usage: threading-dump PID|CORE" in tool("--help"), "no help")
    tool(status=2)
    tool("--unknown", status=2)
    check("No such file" in tool("/nonexistent", status=1), "missing file")
    check("is not an ELF core file" in tool(__file__, status=1), "no core")
    check("core\\x1b[7m: No such file" in tool("core\x1b[7m", status=1), "control characters in a path")
    check("is not a core file, but a program" in tool(programs[0], status=1), "a program")
    with subprocess.Popen(["sleep", "1000"]) as other:
        try:
            wait_until(lambda: "(sleep)" in tool(other.pid, status=1), "start of sleep")
            check_equal(tool(other.pid, status=1), f"threading-dump: process {other.pid} (sleep) does not use "
                        "libthreading, or one before version 0.1\n", "no library")
            other.send_signal(signal.SIGKILL)
            wait_until(lambda: not is_running(other.pid), "end of sleep")
            check("has ended" in tool(other.pid, status=1), "a zombie")
        finally:
            other.kill()
    with tempfile.TemporaryDirectory() as directory, Program(programs[0], "missing_party", directory) as program:
        text = wait_until(lambda: re.search(r'"party-1" (\d+)  waits', tool(program.pid, status=None)), "hang")
        found = tool(text[1])
        check(found.startswith(f"threading: process {program.pid}, "), f"the ID of a thread: {found}")
        with open("/dev/full", "wb") as full:
            found = subprocess.run([sys.executable, "-B", TOOL, str(program.pid)], stdout=full, stderr=subprocess.PIPE)
        check_equal((found.returncode, found.stderr),
                    (1, b"threading-dump: the dump cannot be written: No space left on device\n"), "a full device")
    python = shutil.which("python3", path="/usr/bin")  # another user may not be able to run that of root
    if os.getuid() == 0 and python:
        # Below /tmp, since other users may not be able to enter the directory that TMPDIR names.
        with tempfile.TemporaryDirectory(dir="/tmp") as directory, \
                Program(programs[0], "missing_party", directory) as program:
            shutil.copy(TOOL, directory)
            os.chmod(directory, 0o755)
            found = subprocess.run([python, "-B", f"{directory}/threading-dump", str(program.pid)], cwd="/",
                                   capture_output=True, text=True, user=65534, group=65534, extra_groups=[])
            check(found.returncode == 1 and "no permission" in found.stderr, f"permission: {found}")


def other_version(programs):
    """a library with another layout is an error"""
    note = b"libthreading\0"
    static = [program for program in programs if not libraries_of(program)]
    if not static:
        raise Skipped("no program has the static library")
    version = load_tool().VERSION
    with tempfile.TemporaryDirectory() as directory:
        data = pathlib.Path(static[0]).read_bytes()
        check_equal(data.count(note), 1, "notes of the library")
        changed = pathlib.Path(directory) / "changed"
        at = data.index(note) - 4
        check_equal(struct.unpack_from("=I", data, at)[0], version, "version in the note")
        changed.write_bytes(data[:at] + struct.pack("=I", 77) + data[at + 4:])
        changed.chmod(0o755)
        with Program(changed, "missing_party", directory) as process:
            wait_until(lambda: "does not use" not in tool(process.pid, status=1), "library")
            found = tool(process.pid, status=1)
            check(f"(layout 77; this threading-dump knows layout {version})" in found, found)
        # The file is damaged: its note consists of zeros, or has no entries.
        end = at + 4 + -(-len(note) // 4) * 4
        descriptor, = struct.unpack_from("=I", data, at - 4)
        for cleared in (range(end + 12, end + descriptor), range(end, end + 12)):
            changed.unlink()
            changed.write_bytes(data[:cleared.start] + bytes(len(cleared)) + data[cleared.stop:])
            changed.chmod(0o755)
            with Program(changed, "missing_party", directory) as process:
                wait_until(lambda: "does not use" not in tool(process.pid, status=1), "library")
                found = tool(process.pid, status=1)
                check(found.startswith("threading-dump: ") and found.count("\n") == 1, found)


def damaged_memory(programs):
    """a process with damaged memory is an error"""
    module = load_tool()
    with tempfile.TemporaryDirectory() as directory, Program(programs[0], "missing_party", directory) as process:
        wait_until(lambda: mask(tool(process.pid, status=None)) == EXPECTED["missing_party"], "hang")
        process.stop()
        layout = module.find_layouts(module.Process(process.pid))[0]
        table = layout.arenas + layout.thread_kind * layout.arena_size + layout.arena_table
        with open(f"/proc/{process.pid}/mem", "rb", buffering=0) as memory:
            memory.seek(table)
            intact = memory.read(layout.word)
        # The table of blocks gets a length of 2 to the power of this, and an address at which nothing is mapped.
        for length in range(layout.table_alignment):
            with open(f"/proc/{process.pid}/mem", "r+b", buffering=0) as memory:
                memory.seek(table)
                memory.write(length.to_bytes(layout.word, sys.byteorder))
            found = tool(process.pid, status=1)
            check(found.startswith("threading-dump: ") and "its memory cannot be read at 0x0" in found, found)
        # The list of the waiters' records is a circle.
        with open(f"/proc/{process.pid}/mem", "r+b", buffering=0) as memory:
            memory.seek(table)
            memory.write(intact)
            memory.seek(layout.waiter_chunks)
            chunk = int.from_bytes(memory.read(layout.word), sys.byteorder)
            memory.seek(chunk + layout.waiter_next)
            memory.write(chunk.to_bytes(layout.word, sys.byteorder))
        found = tool(process.pid, status=1)
        check("damaged" in found and "Traceback" not in found, found)


def truncated_core(programs):
    """a core file that was cut, or whose library is gone, is an error"""
    if GDB is None:
        raise Skipped("gdb is not installed")
    with tempfile.TemporaryDirectory() as directory, Program(programs[0], "missing_party", directory) as process:
        wait_until(lambda: mask(tool(process.pid, status=None)) == EXPECTED["missing_party"], "hang")
        core = pathlib.Path(directory) / "core"
        gdb("-p", process.pid, commands=[f"gcore {core}"])
        data = core.read_bytes()
        for size in (len(data) // 2, 2000, 200, 20):
            core.write_bytes(data[:size])
            check(tool(core, status=1).startswith("threading-dump: "), "no message")
        module = load_tool()
        for segment in module.Elf(lambda offset, size: data[offset:offset + size]).segments:
            if segment.kind == module.PT_NOTE:
                # The size of the first note, which describes a thread or the process.
                core.write_bytes(data[:segment.offset + 4] + bytes(4) + data[segment.offset + 8:])
                check_equal(tool(core, status=1), f"threading-dump: {core} is damaged\n", "a damaged core")


def printers(programs):
    """gdb prints handles with the names and the states of their objects"""
    expected = {
        "accounts": 'lock "accounts", owned by "Thread-1" (1 waiter)',
        "unnamed": "lock #, free",
        "rlock": "rlock #, free",
        "condition": 'condition "queue" (rlock free)',
        "with_lock": 'condition # (lock, owned by "Thread-2")',
        "semaphore": 'semaphore "connections" (2 of 2 left, 0 waiters)',
        "event": 'event "stop" (not set)',
        "barrier": 'barrier "phase" (0 of 3 arrived)',
        "(threading_lock *)0": "0x0",
        "(threading_lock *)64": "an object that has been freed",
    }
    if GDB is None:
        raise Skipped("gdb is not installed")
    with tempfile.TemporaryDirectory() as directory, Program(programs[0], "two_locks", directory) as process:
        wait_until(lambda: "deadlocked" in tool(process.pid, status=None), "hang")
        # One gdb prints all of them, since it takes most of the time to read symbols. gdb() returns what the last command
        # prints.
        prints = ", ".join(f"gdb.execute({'print ' + name!r})" for name in expected)
        found = gdb("-p", process.pid, programs[0], commands=[f"python {prints}"]).splitlines()
        check_equal(len(found), len(expected), f"lines of {found}")
        for line, (name, text) in zip(found, expected.items()):
            check(mask(line).rstrip().endswith(text), f"{name}: {line}, expected {text}")
        check("LWP" in gdb("-p", process.pid, commands=["info th"]), "info th")
    command = [GDB, "-nx", "-batch", "-ex", f"source {TOOL}", "-ex", "info threading"]
    found = subprocess.run(command, capture_output=True)
    check(b"there is no process" in found.stderr, "no process")


CASES = [lists_agree, one_text, linked_in_any_way, running_process, forming_deadlocks, ended_main, namespaces,
         unused_copy, mapped_as_data, odd_names, many_threads, exit_of_many, errors, other_version,
         damaged_memory, truncated_core, printers]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", action="append", required=True, help="hangs.c, linked with the library")
    parser.add_argument("cases", metavar="CASE", nargs="*", help="the names of functions, as in this file")
    arguments = parser.parse_args()
    allow_cores()
    failed = False
    for case in CASES:
        if arguments.cases and case.__name__ not in arguments.cases:
            continue
        print(f"{case.__doc__} ... ", end="", flush=True)
        try:
            remarks = case(arguments.program)
            print("ok" + "".join(f"\n    skipped: {remark}" for remark in sorted(remarks or ())))
        except Skipped as skipped:
            print(f"skipped: {skipped}")
        except (Failed, subprocess.TimeoutExpired, subprocess.CalledProcessError) as failure:
            print(f"FAILED\n{failure}")
            failed = True
    return failed


if __name__ == "__main__":
    sys.exit(main())
