#!/usr/bin/env python3
"""Compares the binary interface with the one that is recorded here.

    tests/abi/check.py [--library LIBTHREADING.SO]   compare; with a library, its symbols too
    tests/abi/check.py --self-test                   see that each kind of change is noticed
    tests/abi/check.py --update                      record the interface that include/threading.h has now

functions.abi holds the functions with their versions and types as abidw sees them, constants.txt the numbers. Rust's
debugging information does not know C's types, so abidw looks at a library made from the header alone: it defines each
function that the header declares, and does nothing. That the real library has the same symbols is compared apart.

Whatever differs fails, an addition too: an addition is recorded with --update, and everything else breaks programs.
"""

import argparse
import difflib
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
HEADER = ROOT / "include" / "threading.h"
FUNCTIONS = HERE / "functions.abi"
CONSTANTS = HERE / "constants.txt"
UPDATE = "if only something was added, record it: tests/abi/check.py --update"
CC = os.environ.get("CC", "cc").split()


class Differs(Exception):
    """The interface is not the recorded one."""


def run(*command, **options):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **options).stdout


def version():
    major, minor = re.search(r'^version = "(\d+)\.(\d+)', (ROOT / "Cargo.toml").read_text(), re.M).groups()
    return major, f"THREADING_{major}.{minor}"


def constants(header):
    """The numbers that the header defines, as C sees them; its version is not part of the interface."""
    macros = run(*CC, "-std=c11", "-dM", "-E", header)
    numbers = re.findall(r"^#define (THREADING_\w+ \(?-?[0-9.]+\)?)$", macros, re.M)
    return sorted(line for line in numbers if not line.startswith("THREADING_VERSION"))


def build(header, directory):
    """A library with the header's functions, without what they do."""
    major, node = version()
    text = run(*CC, "-std=c11", "-E", "-P", header)
    # Declarations begin a line and are no types, nor the inline functions, whose bodies are in braces.
    declared = re.findall(r"^(?!typedef|static|extern|\s)[^;{}]*?\bthreading_\w+\([^;{}]*\);", text, re.M)
    source = directory / "interface.c"
    bodies = "".join(f"{declaration[:-1]} {{ __builtin_trap(); }}\n" for declaration in declared)
    source.write_text(f'#include "{header}"\n{bodies}')
    script = directory / "interface.map"
    script.write_text(f"{node} {{ global: threading_*; local: *; }};\n")
    library = directory / "interface.so"
    run(*CC, "-std=c11", "-g", "-O0", "-w", "-shared", "-fPIC", "-o", library, source,
        f"-Wl,-soname,libthreading.so.{major}", f"-Wl,--version-script={script}")
    return library


def compare_functions(library):
    found = subprocess.run(["abidiff", "--no-architecture", FUNCTIONS, library], text=True, stdout=subprocess.PIPE)
    if found.returncode != 0:
        raise Differs(f"the functions are not those of {FUNCTIONS.name}:\n{found.stdout}")


def compare_lines(what, recorded, found):
    if recorded != found:
        difference = "\n".join(difflib.unified_diff(recorded, found, "recorded", "found", lineterm="", n=0))
        raise Differs(f"the {what} are not the recorded ones:\n{difference}")


def compare_symbols(library):
    """The real library has the recorded symbols; readelf marks a symbol's default version by @@."""
    recorded = re.findall(r"<elf-symbol name='(\w+)' version='([\w.]+)'", FUNCTIONS.read_text())
    lines = (line.split() for line in run("readelf", "--wide", "--dyn-syms", library).splitlines())
    found = [line[7] for line in lines if len(line) == 8 and line[6] not in ("UND", "Ndx")]
    compare_lines(f"symbols of {library}", sorted("@@".join(symbol) for symbol in recorded), sorted(found))


def check(header, directory):
    compare_lines("constants", CONSTANTS.read_text().splitlines(), constants(header))
    compare_functions(build(header, directory))


def update(directory):
    CONSTANTS.write_text("".join(f"{line}\n" for line in constants(HEADER)))
    run("abidw", "--no-architecture", "--no-show-locs", "--no-corpus-path", "--no-comp-dir-path", "--no-elf-needed",
        "--no-parameter-names", "--type-id-style", "hash", "--out-file", FUNCTIONS, build(HEADER, directory))
    # The compiler's name is no part of it.
    text = re.sub(r" path='[^']*' comp-dir-path='[^']*'| path='[^']*'", "", FUNCTIONS.read_text())
    FUNCTIONS.write_text(text)


CHANGES = {
    "a function is gone": (r"^bool threading_event_is_set\(.*\);$", ""),
    "a function is new": (r"^bool threading_event_is_set\(.*\);$", r"\g<0>\nbool threading_event_is_new(int x);"),
    "a parameter is wider": (r"(threading_semaphore_new\()int64_t", r"\1__int128"),
    "a result is narrower": (r"^uint64_t (threading_get_ident)", r"uint32_t \1"),
    "a parameter is of another type of the same size": (r"(threading_lock_release\()threading_lock", r"\1threading_rlock"),
    "a parameter is gone": (r"(threading_sleep\()double seconds", r"\1void"),
    "the type of all statuses is wider": (r"^typedef int32_t threading_status", "typedef int64_t threading_status"),
    "a callback has another parameter": (r"(\(\*threading_predicate\)\()void \*arg", r"\1long arg"),
    "a number is another": (r"^(#define THREADING_ERR_BUSY \(-13)\)", r"\g<1>3)"),
    "a number is gone": (r"^#define THREADING_SEMAPHORE_MAX.*$", ""),
    "a number is new": (r"^#define THREADING_OK 0$", r"\g<0>\n#define THREADING_NEW 5"),
}


def self_test(directory):
    original = HEADER.read_text()
    changed = directory / "threading.h"
    for what, (pattern, replacement) in CHANGES.items():
        text, count = re.subn(pattern, replacement, original, count=1, flags=re.M)
        if count != 1 or text == original:
            raise Differs(f"the header has nothing to change for: {what}")
        changed.write_text(text)
        try:
            check(changed, directory)
        except Differs:
            print(f"noticed: {what}")
        else:
            raise Differs(f"not noticed: {what}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", type=pathlib.Path)
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("--update", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        try:
            if arguments.update:
                update(directory)
            check(HEADER, directory)
            if arguments.library:
                compare_symbols(arguments.library)
            if arguments.self_test:
                self_test(directory)
        except Differs as differs:
            sys.exit(f"abi: {differs}\nabi: {UPDATE}")
    print("abi: the interface is the recorded one")


if __name__ == "__main__":
    main()
