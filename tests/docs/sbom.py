#!/usr/bin/env python3
"""Checks the bills of materials that tools/sbom.py writes: their form, and that they list the crates that `cargo tree`
prints, with the checksums of Cargo.lock.

    tests/docs/sbom.py
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
CRATE = re.compile(r"pkg:cargo/[a-z0-9_-]+@\d+\.\d+\.\d+(?:[-+].+)?")
LICENSE = re.compile(r"[A-Za-z0-9.+-]+(?: (?:OR|AND|WITH) [A-Za-z0-9.+-]+)*")

wrong = []


def expect(truth, what):
    if not truth:
        wrong.append(what)


def run(*command):
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout


def crates_in_tree(park, target):
    """The crates that cargo links into the library, without the library itself."""
    options = ["--features", "portable"] if park == "portable" else []
    tree = run("cargo", "tree", "--locked", "--edges", "normal,no-proc-macro", "--target", target, "--prefix", "none",
               "--format", "{p}", *options)
    names = {tuple(line.split()[:2]) for line in tree.splitlines() if line.strip()}
    return {(name, version.removeprefix("v")) for name, version in names} - {own_crate()}


def own_crate():
    """The name and the version of the library's own crate."""
    cargo = (ROOT / "Cargo.toml").read_text(encoding="utf-8")
    return re.search(r'^name = "(.*)"', cargo, re.M)[1], re.search(r'^version = "(.*)"', cargo, re.M)[1]


def check_component(component, lock):
    name, version = component["name"], component["version"]
    expect(component["type"] == "library", f"{name}: type {component['type']}")
    expect(component["bom-ref"] == component["purl"], f"{name}: bom-ref {component['bom-ref']}")
    expect(LICENSE.fullmatch(component["licenses"][0]["expression"]), f"{name}: license {component['licenses']}")
    if CRATE.fullmatch(component["purl"]) and (name, version) != own_crate():
        entry = f'name = "{name}"\nversion = "{version}"\n'
        expect(entry in lock, f"{name} {version} is not in Cargo.lock")
        checksum = component["hashes"][0]["content"]
        expect(checksum in lock.partition(entry)[2].partition("\n\n")[0], f"{name}: checksum {checksum}")


def check_bill(park):
    text = run(sys.executable, "-B", "tools/sbom.py", "--park", park)
    expect(text == run(sys.executable, "-B", "tools/sbom.py", "--park", park), f"{park}: two runs differ")
    bill = json.loads(text)
    expect((bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5"), f"{park}: wrong format")
    expect(re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", bill["serialNumber"]),
           f"{park}: serial number {bill['serialNumber']}")
    subject = bill["metadata"]["component"]
    expect((subject["name"], subject["version"]) == own_crate(), f"{park}: the subject is {subject['name']}")

    lock = (ROOT / "Cargo.lock").read_text(encoding="utf-8")
    for component in [subject, *bill["components"]]:
        check_component(component, lock)
    properties = {entry["name"]: entry["value"] for entry in bill["metadata"]["properties"]}
    expect(properties["libthreading:park"] == park, f"{park}: properties {properties}")
    crates = {(entry["name"], entry["version"]) for entry in bill["components"] if CRATE.fullmatch(entry["purl"])}
    tree = crates_in_tree(park, properties["libthreading:target"])
    expect(crates == tree, f"{park}: the bill and cargo tree differ: {sorted(crates ^ tree)}")
    expect("std" in {entry["name"] for entry in bill["components"]}, f"{park}: the standard library is missing")

    references = [subject["bom-ref"], *(entry["bom-ref"] for entry in bill["components"])]
    expect(len(references) == len(set(references)), f"{park}: duplicate bom-ref")
    expect(sorted(entry["ref"] for entry in bill["dependencies"]) == sorted(references),
           f"{park}: the dependencies do not list each component once")
    for entry in bill["dependencies"]:
        expect(set(entry["dependsOn"]) <= set(references), f"{park}: {entry['ref']} depends on something unlisted")
    return len(crates)


def main():
    argparse.ArgumentParser(description="Checks the bills of materials that tools/sbom.py writes.").parse_args()
    counts = {park: check_bill(park) for park in ("futex", "portable")}
    expect(0 < counts["futex"] < counts["portable"], f"numbers of crates: {counts}")
    for what in wrong:
        print(f"FAIL {what}")
    print("bills of materials: " + (f"{len(wrong)} failures" if wrong else
          ", ".join(f"{park}: {count} crates" for park, count in counts.items())))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
