#!/usr/bin/env python3
"""Compares the binary interface with the recorded one, interface.txt.

    tests/abi/check.py [--library LIBTHREADING.SO]   compare the header and, with --library, the exported symbols
    tests/abi/check.py --self-test                   check that each kind of change is detected
    tests/abi/check.py --update                      record additions to include/threading.h

interface.txt has a line for each type, constant and function of include/threading.h, without the names of parameters
and the version.

A function, constant or type that is missing, changed or new is an error. --update records only additions: programs
depend on the recorded interface, so its lines are neither changed nor removed while the version of the interface is the
same.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
HEADER = ROOT / "include" / "threading.h"
INTERFACE = HERE / "interface.txt"
CC = os.environ.get("CC", "cc").split()


class Differs(Exception):
    """The interface differs from the recorded one."""


def run(*command):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


# ---- the header ----


def constants(header):
    """Returns the constants that the header defines, as the preprocessor prints them."""
    macros = run(*CC, "-std=c11", "-dM", "-E", header)
    lines = re.findall(r"^#define THREADING_\w+ \(?-?[0-9.]+\)?$", macros, re.M)
    return [line for line in lines if not line.startswith("#define THREADING_VERSION")]


def without_name(parameter):
    return re.sub(r"(?<=[ *])\w+$", "", parameter.strip()).strip()


def declarations(header):
    """Yields the types and functions that the header declares, except inline functions, which are part of programs."""
    text, own = "", False
    for line in run(*CC, "-std=c11", "-E", header).splitlines():
        marker = re.match(r'# \d+ "(.*?)"', line)
        if marker:
            own = marker[1] == str(header)
        elif own:
            text += line + " "
    while "{" in text:
        text, count = re.subn(r"\{[^{}]*\}", ";", text)
        if count == 0:
            raise Differs("unbalanced braces in the header")
    for declaration in text.split(";"):
        declaration = " ".join(declaration.split()).replace("_Bool", "bool")
        function = re.fullmatch(r"(.*\bthreading_\w+\)?)\((.*)\)", declaration)
        if declaration.startswith("static"):
            continue
        if function:
            parameters = ", ".join(without_name(parameter) for parameter in function[2].split(","))
            yield f"{function[1]}({parameters});"
        elif declaration.startswith("typedef"):
            yield f"{declaration};"


def name_of(line):
    """Returns the name that a line of the interface describes."""
    if line.startswith("#define "):
        return line.split()[1]
    return re.search(r"\w+(?=\)?(\([^()]*\))?;$)", line)[0]


def interface(header):
    """Returns the lines of constants, types and functions, each in alphabetical order."""
    declared = sorted(declarations(header), key=name_of)
    types = [line for line in declared if line.startswith("typedef")]
    functions = [line for line in declared if not line.startswith("typedef")]
    return sorted(constants(header)) + types + functions


def recorded():
    return [line for line in INTERFACE.read_text().splitlines() if line and not line.startswith("# ")]


def differences(old, new):
    """Returns two lists: what is missing or changed, and what is new."""
    old = {name_of(line): line for line in old}
    new = {name_of(line): line for line in new}
    broken = [f"missing: {old[name]}" for name in old if name not in new]
    broken += [f"changed: {old[name]}\n     to: {new[name]}" for name in old if name in new and old[name] != new[name]]
    return broken, [f"new: {new[name]}" for name in new if name not in old]


def check_header(header):
    broken, new = differences(recorded(), interface(header))
    if broken or new:
        raise Differs("\n".join(broken + new))


# ---- the library ----


def recorded_symbols():
    """Returns the functions with the version of the interface, as readelf prints symbols with a default version."""
    major, minor = re.search(r'^version = "(\d+)\.(\d+)', (ROOT / "Cargo.toml").read_text(), re.M).groups()
    functions = [line for line in recorded() if not line.startswith(("#define", "typedef"))]
    return {f"{name_of(line)}@@THREADING_{major}.{minor}" for line in functions}


def symbols(library):
    lines = (line.split() for line in run("readelf", "--wide", "--dyn-syms", library).splitlines())
    return {line[7] for line in lines if len(line) == 8 and line[6] not in ("UND", "Ndx")}


def check_symbols(found):
    wanted = recorded_symbols()
    wrong = [f"not exported: {symbol}" for symbol in sorted(wanted - found)]
    wrong += [f"exported and not recorded: {symbol}" for symbol in sorted(found - wanted)]
    if wrong:
        raise Differs("\n".join(wrong))


# ---- the test of this test ----

HEADER_CHANGES = {
    "a function is missing": (r"^bool threading_event_is_set\(.*\);$", ""),
    "a function is new": (r"^bool threading_event_is_set\(.*\);$", r"\g<0>\nbool threading_event_is_new(int x);"),
    "a parameter is wider": (r"(threading_semaphore_new\()int64_t", r"\1__int128"),
    "a result is narrower": (r"^uint64_t (threading_get_ident)", r"uint32_t \1"),
    "a parameter has another type": (r"(threading_lock_release\()threading_lock", r"\1threading_rlock"),
    "a parameter is missing": (r"(threading_sleep\()double seconds", r"\1void"),
    "the type of all statuses is wider": (r"^typedef int32_t threading_status", "typedef int64_t threading_status"),
    "a callback has another parameter": (r"(\(\*threading_predicate\)\()void \*arg", r"\1long arg"),
    "the value of a status is changed": (r"^(#define THREADING_ERR_BUSY \(-13)\)", r"\g<1>3)"),
    "a constant is missing": (r"^#define THREADING_SEMAPHORE_MAX.*$", ""),
    "a constant is new": (r"^#define THREADING_OK 0$", r"\g<0>\n#define THREADING_NEW 5"),
}

SYMBOL_CHANGES = {
    "a symbol is missing": lambda found: found - {min(found)},
    "a symbol is new": lambda found: found | {min(found) + "_new"},
    "a symbol of another name is exported": lambda found: found | {"helper"},
    "a symbol has no version": lambda found: found - {min(found)} | {min(found).split("@")[0]},
}


def must_differ(what, check, *arguments):
    try:
        check(*arguments)
    except Differs:
        print(f"detected: {what}")
    else:
        raise Differs(f"not detected: {what}")


def self_test(directory):
    original = HEADER.read_text()
    changed = directory / "threading.h"
    for what, (pattern, replacement) in HEADER_CHANGES.items():
        text, count = re.subn(pattern, replacement, original, count=1, flags=re.M)
        if count != 1 or text == original:
            raise Differs(f"the header does not contain the text for: {what}")
        changed.write_text(text)
        must_differ(what, check_header, changed)
    for what, change in SYMBOL_CHANGES.items():
        must_differ(what, check_symbols, change(recorded_symbols()))


def update():
    found = interface(HEADER)
    broken, new = differences(recorded(), found)
    if broken:
        raise Differs("\n".join(broken + ["no additions were recorded"]))
    comment = [line for line in INTERFACE.read_text().splitlines() if line.startswith("# ")]
    INTERFACE.write_text("".join(f"{line}\n" for line in comment + found))
    print("\n".join(new))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", type=pathlib.Path)
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("--update", action="store_true")
    arguments = parser.parse_args()
    try:
        if arguments.update:
            update()
        check_header(HEADER)
        if arguments.library:
            check_symbols(symbols(arguments.library))
        if arguments.self_test:
            with tempfile.TemporaryDirectory() as directory:
                self_test(pathlib.Path(directory))
    except Differs as differs:
        sys.exit(f"abi: the interface differs from the recorded one:\n{differs}\n"
                 "abi: if there are only additions, tests/abi/check.py --update records them")
    print(f"abi: the interface is unchanged: {len(recorded())} types, constants and functions")


if __name__ == "__main__":
    main()
