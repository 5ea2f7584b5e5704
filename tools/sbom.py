#!/usr/bin/env python3
"""Writes a software bill of materials of the library, in CycloneDX's JSON format (version 1.5): the crates that are
compiled into it, with their versions, licenses and checksums, and Rust's standard library.

    tools/sbom.py [--park futex|portable] [--target TARGET] [--output FILE]

Crates that only the build or the tests use are left out. The output depends only on Cargo.lock, the compiler and the
options. If the environment variable SOURCE_DATE_EPOCH is set, it also contains that time.
"""

import argparse
import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[1]
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://cyclonedx.org")


def output_of(*command):
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout


def rustc():
    """The release and the host of the compiler."""
    text = output_of(os.environ.get("RUSTC", "rustc"), "-vV")
    return re.search(r"^release: (\S+)", text, re.M)[1], re.search(r"^host: (\S+)", text, re.M)[1]


def checksums():
    """The SHA-256 checksums of the crates' archives, by name and version."""
    text = (ROOT / "Cargo.lock").read_text(encoding="utf-8")
    found = re.findall(r'name = "([^"]+)"\nversion = "([^"]+)"\nsource = "[^"]+"\nchecksum = "([0-9a-f]{64})"', text)
    return {(name, version): checksum for name, version, checksum in found}


def graph(park, target):
    """The metadata of cargo: the ID of the root, the packages by their IDs, and the IDs that each of them links."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    metadata = json.loads(output_of(*command, *(["--features", "portable"] if park == "portable" else [])))
    packages = {package["id"]: package for package in metadata["packages"]}

    def is_linked(dependency):
        kinds = {target["kind"][0] for target in packages[dependency["pkg"]]["targets"]}
        return "proc-macro" not in kinds and any(kind["kind"] is None for kind in dependency["dep_kinds"])

    links = {node["id"]: [dependency["pkg"] for dependency in node["deps"] if is_linked(dependency)]
             for node in metadata["resolve"]["nodes"]}
    return metadata["resolve"]["root"], packages, links


def reachable(start, links):
    seen, open_ids = set(), [start]
    while open_ids:
        found = open_ids.pop()
        if found not in seen:
            seen.add(found)
            open_ids += links[found]
    return seen


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, hashes):
    """A crate. Old crates separate alternative licenses by a slash."""
    shown = {
        "type": "library", "bom-ref": reference(package), "name": package["name"], "version": package["version"],
        "description": " ".join((package["description"] or "").split()),
        "licenses": [{"expression": re.sub(r"\s*/\s*", " OR ", package["license"])}],
        "purl": reference(package),
    }
    checksum = hashes.get((package["name"], package["version"]))
    if checksum:
        shown["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["repository"]:
        shown["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return shown


def bill(park, target):
    release, host = rustc()
    root, packages, links = graph(park, target or host)
    ids = sorted(reachable(root, links), key=lambda found: reference(packages[found]))
    hashes = checksums()
    std = f"pkg:github/rust-lang/rust@{release}"
    crates = [component(packages[found], hashes) for found in ids if found != root]
    library = {
        "type": "library", "bom-ref": std, "name": "std", "version": release, "purl": std,
        "description": "The standard library of Rust, with the crates that it contains",
        "licenses": [{"expression": "MIT OR Apache-2.0"}],
    }
    content = {
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "libthreading tools/sbom.py"}]},
            "component": component(packages[root], hashes),
            "properties": [{"name": "libthreading:park", "value": park},
                           {"name": "libthreading:target", "value": target or host}],
        },
        "components": [*crates, library],
        "dependencies": [*({"ref": reference(packages[found]),
                            "dependsOn": sorted([reference(packages[link]) for link in links[found]] + [std])}
                           for found in ids), {"ref": std, "dependsOn": []}],
    }
    if os.environ.get("SOURCE_DATE_EPOCH"):
        moment = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.timezone.utc)
        content["metadata"]["timestamp"] = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    content["serialNumber"] = uuid.uuid5(NAMESPACE, json.dumps(content, sort_keys=True)).urn
    return content


def main():
    parser = argparse.ArgumentParser(description="Writes a software bill of materials, in CycloneDX's JSON format.")
    parser.add_argument("--park", choices=("futex", "portable"), default="futex", help="the backend (default: futex)")
    parser.add_argument("--target", help="the Rust target of the library (default: this machine)")
    parser.add_argument("--output", metavar="FILE", help="the file to write (default: the standard output)")
    options = parser.parse_args()
    try:
        text = json.dumps(bill(options.park, options.target), indent=2, ensure_ascii=False) + "\n"
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"sbom.py: {error}")
    if options.output:
        pathlib.Path(options.output).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
