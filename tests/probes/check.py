#!/usr/bin/env python3
"""Tests of the probes (USDT) in the library.

    check.py --file PATH [--file PATH]... --program PATH

Each file is a shared library. Its notes must describe the probes that the
manual lists, also after it has been stripped, and there must be a nop at each address. Then the program, which is
tests/probes/waits.c, runs with gdb and with bpftrace, which print the arguments; the lines of bpftrace in
docs/when-it-hangs.md are run, too. A tool that is not installed, or that this system does not permit, is skipped.
"""

import argparse
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIMIT = 60
# The numbers of arguments.
PROBES = {"wait_begin": 3, "wait_end": 1, "wake": 1, "thread_start": 2, "thread_end": 1}
# The instructions without effect, by the number of the machine in the ELF header.
NOPS = {
    3: [b"\x90"], 62: [b"\x90"], 22: [b"\x47\x00\x00\x00", b"\x07\x00", b"\x07\x07"],
    40: [b"\x00\xf0\x20\xe3", b"\x00\x00\xa0\xe1", b"\x00\xbf"], 183: [b"\x1f\x20\x03\xd5"],
    243: [b"\x13\x00\x00\x00", b"\x01\x00"],
}
POWERPC = (20, 21)
NT_STAPSDT = 3
SHF_ALLOC = 2
PT_LOAD, PF_X = 1, 1


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


def check(condition, *what):
    if not condition:
        raise Failed("".join(map(str, what)))


class Elf:
    """The sections, segments and probes of an ELF file."""

    def __init__(self, path):
        self.path, self.data = path, pathlib.Path(path).read_bytes()
        check(self.data[:4] == b"\x7fELF", path, " is not an ELF file")
        self.is_64 = self.data[4] == 2
        self.order = "<" if self.data[5] == 1 else ">"
        self.word = "Q" if self.is_64 else "I"
        self.machine, = self.unpack("H", 18)
        program_headers, section_headers = self.unpack(self.word * 2, 32 if self.is_64 else 28)
        self.segments = []
        at = 54 if self.is_64 else 42
        size, count, section_size, section_count, names = self.unpack("HHHHH", at)
        for index in range(count):
            start = program_headers + index * size
            if self.is_64:
                kind, flags, offset, address, _, file_size = self.unpack("IIQQQQ", start)
            else:
                kind, offset, address, _, file_size, _, flags = self.unpack("IIIIIII", start)
            self.segments.append((kind, flags, offset, address, file_size))
        headers = []
        for index in range(section_count):
            headers.append(self.unpack("II" + self.word * 4, section_headers + index * section_size))
        self.sections = {}
        for name, _, flags, address, offset, size in headers:
            start = headers[names][4] + name
            text = self.data[start:self.data.index(b"\0", start)].decode()
            self.sections[text] = (flags, address, offset, size)

    def unpack(self, form, at):
        return struct.unpack_from(self.order + form, self.data, at)

    def code(self, address):
        """Returns the first bytes of the instruction at the address."""
        for kind, flags, offset, start, size in self.segments:
            if kind == PT_LOAD and flags & PF_X and start <= address < start + size:
                return self.data[offset + address - start:][:4]
        raise Failed(f"{self.path}: {address:#x} is not in a segment with code")

    def probes(self):
        """Returns the names, addresses and arguments of the probes."""
        if ".note.stapsdt" not in self.sections:
            return []
        flags, _, at, size = self.sections[".note.stapsdt"]
        check(not flags & SHF_ALLOC, "the notes are loaded into memory")
        found, end, pointer = [], at + size, 8 if self.is_64 else 4
        while at < end:
            name_size, size, kind = self.unpack("III", at)
            owner = self.data[at + 12:at + 12 + name_size]
            at += 12 + (name_size + 3 & ~3)
            check(owner == b"stapsdt\0" and kind == NT_STAPSDT, f"note {kind} of {owner}")
            address, base, semaphore = self.unpack(self.word * 3, at)
            provider, name, arguments = self.data[at + 3 * pointer:at + size].decode().split("\0")[:3]
            check(base == self.sections[".stapsdt.base"][1], f"base {base:#x}")
            check(semaphore == 0, f"{name} has a semaphore")
            if provider == "threading":
                found.append((name, address, arguments.split()))
            at += size + 3 & ~3
        return found


def check_probes(elf):
    probes = elf.probes()
    if elf.machine in POWERPC:
        check(not probes, "there are probes on PowerPC")
        return probes
    check({name for name, _, _ in probes} == set(PROBES), f"{elf.path} has these probes: {probes}")
    for name, address, arguments in probes:
        check(len(arguments) == PROBES[name], f"{name}: arguments {arguments}")
        for argument in arguments:
            # A register: what is in memory would have to be loaded for the probe.
            check(re.fullmatch(rf"-{8 if elf.is_64 else 4}@%?[a-z]\w*", argument), f"{name}: argument {argument}")
        code = elf.code(address)
        check(any(code.startswith(nop) for nop in NOPS[elf.machine]), f"{name}: {code.hex()} at {address:#x} is no nop")
    return probes


def check_file(path):
    probes = check_probes(Elf(path))
    with tempfile.TemporaryDirectory() as directory:
        for options in (["--strip-unneeded"], []):
            stripped = shutil.copy(path, directory)
            tool = os.environ.get("STRIP") or "strip"
            subprocess.run([tool, *options, stripped], check=True)
            check(check_probes(Elf(stripped)) == probes, f"strip {options} changes the probes")
    return f"{len(probes)} probes, " + ", ".join(sorted({name for name, _, _ in probes}))


# --------------------------------------------------------------------------------------------------------- programs

def slot(handle):
    """Returns the address of the object, as the manual says."""
    return handle & (0xffffffffffc0 if sys.maxsize > 1 << 32 else 0xffffffc0)


def check_events(events, facts):
    """Compares what a tracer has seen with what the program has done. An event is the name of the probe, the number of
    the thread, and the arguments."""
    for name, _, arguments in events:
        check(len(arguments) == PROBES[name], f"{name}: {arguments}")
    missing = set(PROBES) - {name for name, _, _ in events}
    check(not missing, f"no event of {missing}: {events}")
    starts = [(thread, arguments) for name, thread, arguments in events if name == "thread_start"]
    check(sorted(arguments[1] for _, arguments in starts) == sorted([facts["work"], facts["tick"]]), starts)
    worker, started = next((thread, arguments) for thread, arguments in starts if arguments[1] == facts["work"])
    check(started[0] == slot(facts["worker"]), f"thread_start: {started}")
    ends = [(thread, arguments[0]) for name, thread, arguments in events if name == "thread_end"]
    check(sorted(ends) == sorted((thread, arguments[0]) for thread, arguments in starts), f"{starts}, {ends}")

    own = [(name, arguments) for name, thread, arguments in events
           if thread == worker and name in ("wait_begin", "wait_end")]
    waiter = own[0][1][0]
    expected = []
    for kind in ("lock", "semaphore", "event", "barrier", "condition"):
        expected += [("wait_begin", [waiter, facts[kind]]), ("wait_end", [waiter])]
    check([(name, arguments[:2]) for name, arguments in own] == expected, f"waits of the worker: {own}")
    check(all(arguments[2] >> sys.maxsize.bit_length() for name, arguments in own if name == "wait_begin"),
          f"these waits have no deadline: {own}")
    others = {arguments[0] for name, thread, arguments in events if name == "wake" and thread != worker}
    for woken in (waiter, slot(facts["semaphore"]), slot(facts["event"])):
        check(woken in others, f"no wake of {woken:#x}: {events}")


def unsigned(text):
    return int(text, 16) & 2 * sys.maxsize + 1


def read_facts(text):
    return {name: int(value, 16) for name, value in re.findall(r"(?m)^([a-z]+) ([0-9a-f]+)$", text)}


def read_events(text):
    events = []
    for line in re.findall(r"(?m)^probe (.*)$", text):
        name, thread, *arguments = line.split()
        events.append((name, int(thread), [unsigned(argument) for argument in arguments]))
    return events


def with_gdb(program, _):
    """gdb stops at the probes"""
    gdb = shutil.which(os.environ.get("GDB") or "gdb")
    if gdb is None:
        raise Skipped("gdb is not installed")
    script = "set pagination off\nset confirm off\nbreak main\nrun\n"
    for name, count in PROBES.items():
        form = "".join(" %lx" for _ in range(count))
        values = "".join(f", (unsigned long)$_probe_arg{index}" for index in range(count))
        script += f"break -probe-stap threading:{name}\ncommands\nsilent\n" \
                  f'printf "probe {name} %d{form}\\n", $_thread{values}\ncontinue\nend\n'
    with tempfile.NamedTemporaryFile("w", suffix=".gdb") as file:
        file.write(script + "continue\n")
        file.flush()
        found = subprocess.run([gdb, "-nx", "-batch", "-x", file.name, program], input=b"\n", capture_output=True,
                               timeout=LIMIT)
    output = found.stdout.decode(errors="replace")
    if "exited normally" not in output:
        errors = found.stderr.decode(errors="replace")
        if re.search("ptrace|[Oo]peration not permitted|personality", errors):
            raise Skipped(f"gdb cannot run programs here: {errors}")
        raise Failed(f"gdb: {output}{errors}")
    check_events(read_events(output), read_facts(output))


def bpftrace():
    """Returns the path of bpftrace, if it works here."""
    path = shutil.which("bpftrace")
    if path is None:
        raise Skipped("bpftrace is not installed")
    if os.geteuid() != 0:
        raise Skipped("bpftrace needs root")
    found = subprocess.run([path, "-e", "BEGIN { exit(); }"], capture_output=True, timeout=LIMIT, stdin=subprocess.DEVNULL)
    if found.returncode != 0:
        raise Skipped(f"bpftrace does not work here: {found.stdout.decode()}{found.stderr.decode()}".strip())
    return path


def mapped_probes(pid):
    """Yields the names and addresses of the probes in the memory of a process."""
    maps = pathlib.Path(f"/proc/{pid}/maps").read_text()
    files = dict.fromkeys(re.findall(r"r-xp .* (/.*)$", maps, re.M))
    for path in files:
        elf = Elf(path)
        first = int(re.search(rf"(?m)^([0-9a-f]+)-.* {re.escape(path)}$", maps)[1], 16)
        lowest = min(address - offset for kind, _, offset, address, _ in elf.segments if kind == PT_LOAD)
        for name, address, _ in elf.probes():
            yield name, first - lowest + address


def trace(program, seconds, script):
    """Runs the program while bpftrace runs this script. Returns the outputs of both."""
    path = bpftrace()
    with subprocess.Popen([program, str(seconds)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        facts = b"".join(process.stdout.readline() for _ in range(8))
        places = list(mapped_probes(process.pid))

        def code():
            with open(f"/proc/{process.pid}/mem", "rb", buffering=0) as memory:
                for _, address in places:
                    memory.seek(address)
                    yield memory.read(4)

        before = list(code())
        used = [index for index, (name, _) in enumerate(places) if f":{name} " in script]
        tracer = subprocess.Popen([path, "-p", str(process.pid), "-e", script], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            end = time.monotonic() + LIMIT
            # The tracer replaces each nop by a breakpoint.
            while any(now == then for index, (now, then) in enumerate(zip(code(), before)) if index in used):
                if tracer.poll() is not None or time.monotonic() > end:
                    tracer.kill()
                    raise Failed(f"bpftrace does not attach: {tracer.communicate()[0].decode()}")
                time.sleep(0.05)
            process.stdin.write(b"\n")
            process.stdin.close()
            check(process.wait(timeout=LIMIT) == 0, "the program fails")
            # bpftrace ends with the process.
            return facts.decode(), tracer.communicate(timeout=LIMIT)[0].decode()
        finally:
            process.kill()
            if tracer.poll() is None:
                tracer.kill()


def with_bpftrace(program, _):
    """bpftrace sees the waits and threads"""
    script = ""
    for name, count in PROBES.items():
        form = "".join(" %lx" for _ in range(count))
        values = "".join(f", arg{index}" for index in range(count))
        script += f'usdt:*:threading:{name} {{ printf("probe {name} %d{form}\\n", tid{values}); }}\n'
    facts, output = trace(program, 0, script)
    check_events(read_events(output), read_facts(facts))


def manual(program, show):
    """the lines for bpftrace in the manual print what it says"""
    text = (ROOT / "docs" / "when-it-hangs.md").read_text(encoding="utf-8")
    scripts = re.findall(r"```sh\nbpftrace -p PID -e '\n(.*?)'\n```\n", text, re.DOTALL)
    check(len(scripts) == 2, f"{len(scripts)} lines")
    (_, histograms), (facts, long_waits) = (trace(program, 1.1, script) for script in scripts)
    if show:
        print(histograms, long_waits, sep="\n")
    facts = read_facts(facts)
    for name in ("journal", "stop"):
        check(re.search(rf"@ms\[{name}\]: *\n\[[1248]+K, \d+K\) +1 \|@+\|\n", histograms), histograms)
    check("@ms[]:" in histograms and "@began" not in histograms, histograms)
    waits = re.findall(r"(?m)^worker \d+ waited (\d+) ms for (0x[0-9a-f]+) (.*)$", long_waits)
    expected = [(facts["lock"], "journal"), (facts["semaphore"], ""), (facts["event"], "stop"), (facts["barrier"], ""),
                (facts["condition"], "")]
    check([(int(handle, 16), name) for _, handle, name in waits] == expected, long_waits)
    check(all(1000 < int(ms) < 60000 for ms, _, _ in waits), long_waits)


def main():
    parser = argparse.ArgumentParser(description="Tests of the probes in the library.")
    parser.add_argument("--file", action="append", default=[], help="a file that contains the probes")
    parser.add_argument("--program", help="tests/probes/waits.c")
    parser.add_argument("--show", action="store_true", help="print the output of the lines in the manual")
    arguments = parser.parse_args()
    cases = [(f"the notes of {path}", lambda path=path: check_file(path)) for path in arguments.file]
    for case in (with_gdb, with_bpftrace, manual) if arguments.program else ():
        cases.append((case.__doc__, lambda case=case: case(arguments.program, arguments.show)))
    failures = 0
    for name, case in cases:
        try:
            remark = case()
            print(f"ok   {name}" + (f": {remark}" if remark else ""))
        except Skipped as skipped:
            print(f"skip {name}: {skipped}")
        except (Failed, subprocess.SubprocessError, OSError) as failed:
            failures += 1
            print(f"FAIL {name}: {failed}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
