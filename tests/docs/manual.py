#!/usr/bin/env python3
"""Checks that every name of the header has a manual page, and that the pages contain the documentation of the header.

    tests/docs/manual.py [--pages DIR]

The header is parsed by a few patterns here, independently of the parser of the generator, which is under test. The
pages are checked as they are rendered for users; groff, mandoc and lexgrog must not report warnings.
"""

import argparse
import collections
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import types

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "tools" / "manual"))
import man  # noqa: E402, the generator
HEADER = (ROOT / "include" / "threading.h").read_text(encoding="utf-8")
ENVIRONMENT = {**os.environ, "LC_ALL": "C.UTF-8", "MANROFFOPT": ""}

FUNCTIONS = {match[2]: " ".join(match[0].split())
             for match in re.finditer(r"^(\w[\w *]*?)\b(threading_\w+)\([^;{]*?\);", HEADER, re.M | re.S)}
CALLBACKS = {match[1]: " ".join(match[0].split())
             for match in re.finditer(r"^typedef [^;]*?\(\*(threading_\w+)\)\([^;]*\);", HEADER, re.M)}
STATUSES = dict(re.findall(r"^#define (THREADING_(?:OK|TIMED_OUT|WOULD_BLOCK|NO_VALUE|TOO_LATE|ERR_\w+)) "
                           r"\(?(-?\d+)\)?$", HEADER, re.M))
OTHERS = re.findall(r"^typedef struct (\w+) \w+;|^#define (THREADING_(?:VERSION\w*|FOREVER|\w+_MAX|WITH)\b)",
                    HEADER, re.M)
SNIPPETS = [re.sub(r"^ \*     ", "", match[1], flags=re.M)
            for match in re.finditer(r"^ \* [^\n]*:\n((?: \*     [^\n]*\n)+)", HEADER, re.M)]

wrong = []


def expect(truth, what):
    if not truth:
        wrong.append(what)


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=ENVIRONMENT, **options)


# Many systems render hyphens as minus signs and curly quotes as straight ones. These requests make mistakes visible.
STRICT = ".char - \\[hy]\n.char ' \\[cq]\n.char ` \\[oq]\n"


def rendered(page):
    """Returns the text of a rendered page."""
    head, title, text = re.split(r"^(\.TH .*\n)", page.read_text(encoding="utf-8"), maxsplit=1, flags=re.M)
    shown = run("groff", "-man", "-Tutf8", "-P-cbou", "-rLL=120n", "-rHY=0", input=head + title + STRICT + text)
    expect(shown.returncode == 0 and not shown.stderr, f"groff {page.name}: {shown.stderr.strip()}")
    return shown.stdout


def names_of(page):
    """Returns the names and descriptions of a page in the whatis database."""
    found = run("lexgrog", str(page))
    expect(found.returncode == 0, f"lexgrog {page.name}: {found.stdout.strip()}")
    return dict(re.findall(r': "(\S+) - (.+)"$', found.stdout, re.M))


def lint(page):
    """Returns the warnings of the formatters for a page."""
    found = [run("man", "--warnings", "-P", "cat", "-l", str(page)).stderr,
             run("groff", "-ww", "-man", "-Tutf8", "-z", str(page)).stderr,
             run("mandoc", "-Tlint", "-W", "warning", str(page)).stdout]
    return "".join(found).strip()


def check_names(pages):
    """Checks that each name has a page or a link to one. Returns the pages and the links."""
    files = {path.name: path for path in pages.glob("man?/*")}
    real = {name: path for name, path in files.items() if not path.read_text().startswith(".so ")}
    known = {name: names_of(path) for name, path in real.items()}
    for name in [*FUNCTIONS, *CALLBACKS, *STATUSES, *("".join(pair) for pair in OTHERS), "threading_status"]:
        path = files.get(f"{name}.3")
        expect(path, f"{name} has no page")
        if path and path.name not in real:
            target = path.read_text().removeprefix(".so ").strip()
            expect((pages / target).is_file(), f"{path.name} links to {target}, which does not exist")
            path = pages / target
        if path:
            expect(name in known[path.name], f"the NAME section of {path.name} does not contain {name}")
    counts = collections.Counter(name for names in known.values() for name in names)
    twice = [name for name, count in counts.items() if count > 1]
    expect(not twice, f"described by two pages: {twice}")
    return sorted(real.values()), set(files) - set(real)


def check_links(pages, links):
    """Checks that man finds the links and shows their pages."""
    for link in sorted(links):
        name, section = link.rsplit(".", 1)
        found = run("man", "-M", str(pages), "-w", section, name)
        expect(found.returncode == 0, f"man {section} {name} finds nothing")
    shown = run("man", "-M", str(pages), "-P", "cat", "threading_lock_acquire").stdout
    expect("threading_lock(3)" in shown, "man threading_lock_acquire does not show threading_lock(3)")


def check_texts(texts):
    """Checks that the pages contain the text of the header, ignoring white space."""
    def dense(text):
        return re.sub(r"\s", "", text)

    dense_texts = {name: dense(text) for name, text in texts.items()}
    everything = "".join(dense_texts.values())
    for name, declaration in {**FUNCTIONS, **CALLBACKS}.items():
        expect(dense(declaration) in everything, f"missing in the synopsis: {declaration}")
    for name in FUNCTIONS:
        entry = [page for page, text in texts.items()
                 if page.endswith(".3") and re.search(rf"^ {{7}}{name}\([\w, ]*\)$", text, re.M)]
        expect(len(entry) == 1, f"{name}() is described in {entry}, not in one page")
    for name, number in STATUSES.items():
        for page in ("threading.7", "threading_status.3"):
            expect(re.search(rf"^ +{name} \({number}\)$", texts[page], re.M), f"{page} does not list {name} ({number})")
    for snippet in SNIPPETS:
        expect(dense(snippet) in everything, f"missing in the examples: {snippet}")
    for name, text in texts.items():
        for part in ("NAME", "SYNOPSIS", "DESCRIPTION", "SEE ALSO"):
            expect(re.search(rf"^{part}$", text, re.M), f"{name} has no {part}")
        expect("`" not in text and not re.search(r"\\(param|return|blocks|threadsafety|python|since|sa)\b", text),
               f"{name} contains markup of the source")
        if name.endswith(".3"):
            expect(re.search(r"^EXAMPLE$", text, re.M), f"{name} has no EXAMPLE")


def check_tags(texts):
    """Checks that the tags of each function are on its page, and that related functions are linked."""
    pattern = r"/\*\*((?:(?!\*/).)*)\*/\n(?!typedef|#)\w[\w *]*?\b(threading_\w+)\("
    for comment, name in re.findall(pattern, HEADER, re.S):
        tags = dict(re.findall(r"^ \* \\(blocks|threadsafety|python|since|sa) ((?:.|\n \* {5})*)", comment, re.M))
        tags = {tag: " ".join(re.sub(r"\n \*|`", " ", text).split()) for tag, text in tags.items()}
        expect(list(tags) == ["blocks", "threadsafety", "python", "since", "sa"], f"{name} has the tags {list(tags)}")
        text = next((text for page, text in texts.items()
                     if page.endswith(".3") and re.search(rf"^ {{7}}{name}\([\w, ]*\)$", text, re.M)), "")
        entry = re.split(rf"^ {{7}}{name}\([\w, ]*\)$", text, maxsplit=1, flags=re.M)[-1]
        entry = re.split(r"^ {0,7}\S", entry, maxsplit=1, flags=re.M)[0]
        dense_entry, dense_page = (re.sub(r"\s", "", part).translate({0x2010: "-", 0x2019: "'"})
                                   for part in (entry, text))
        if tags.get("blocks") != "never":
            expect(re.sub(r"\s", "", f"Blocks {tags.get('blocks')}.") in dense_entry, f"{name}: \\blocks is missing")
        related = tags.get("sa", "").split(", ")
        see = dense_entry.rpartition("Seealso")[2]
        expect(re.findall(r"(\w+?)(?:\(\)|(?<=WITH))(?:,|and|\.)", see) == related, f"{name}: \\sa is missing: {see}")
        for other in related:
            elsewhere = not re.search(rf"^ {{7}}{other}\([\w, ]*\)$", text, re.M)
            expect(not elsewhere or f"{other}(3)" in text.rpartition("SEE ALSO")[2], f"{name}: no link to {other}(3)")
        for tag in ("threadsafety", "python", "since"):
            value = tags.get(tag, "")
            expect(value == "none" or re.sub(r"\s", "", value).lower() in dense_page.lower(),
                   f"{name}: \\{tag} is missing")


def check_escapes():
    """Checks that text which looks like requests or special characters is rendered unchanged."""
    code = [".so man3/other.3", "'quoted' \"twice\"", "\\n \\fB \\&", "a-b --c -1", "`~^`", "...", "% $ # @ *[x] (co"]
    page = man.Page("escapes", 3, types.SimpleNamespace(version="0"), "2000-01-01")
    man.name_line(page, ["escapes"], "Escapes.")
    page.head("Example")
    page.prose("Code:")
    page.code("\n".join(code))
    page.tagged(man.bold(code[0]), "One.")
    page.prose(man.inline(" ".join(f"`{line}`" for line in code if "`" not in line)))
    page.prose(man.inline("... a value of -1 or \\n."))
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, "escapes.3")
        path.write_text(page.text(), encoding="utf-8")
        expect(not lint(path), f"escapes: {lint(path)}")
        text = rendered(path)
    for line in code:
        expect(re.search(rf"^ +{re.escape(line)}$", text, re.M), f"rendered incorrectly: {line}")
    spaced = " ".join(text.split())
    for wanted in (f"{code[0]} One.", " ".join(line for line in code if "`" not in line), "... a value of -1 or \\n."):
        expect(wanted in spaced, f"rendered incorrectly: {wanted}")


def check_snippets():
    """Checks that the snippets of the header compile."""
    expect(len(SNIPPETS) == HEADER.count(" * " + "-" * 100), f"{len(SNIPPETS)} snippets found")
    headers = ("signal", "stdio", "stdlib", "unistd", "threading")
    source = "".join(f"#include <{name}.h>\n" for name in headers) + "\n".join(SNIPPETS)
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, "snippets.c")
        path.write_text(source, encoding="utf-8")
        compiled = run(os.environ.get("CC", "cc"), "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror",
                       "-Wno-unused-function", "-fsyntax-only", "-I", str(ROOT / "include"), str(path))
    expect(compiled.returncode == 0, compiled.stderr)


def main():
    parser = argparse.ArgumentParser(description="Checks the manual pages.")
    parser.add_argument("--pages", metavar="DIR", type=pathlib.Path, default=ROOT / "build" / "man",
                        help="the directory that contains man1, man3 and man7 (default: %(default)s)")
    pages = parser.parse_args().pages.resolve()
    expect(len(FUNCTIONS) > 100 and len(CALLBACKS) == 9 and len(STATUSES) > 20, "the header cannot be parsed")

    real, links = check_names(pages)
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for page, warnings in zip(real, pool.map(lint, real)):
            expect(not warnings, f"{page.name}: {warnings}")
        texts = dict(zip((page.name for page in real), pool.map(rendered, real)))
    check_links(pages, links)
    check_texts(texts)
    check_tags(texts)
    check_escapes()
    check_snippets()
    for what in wrong:
        print(f"FAIL {what}")
    print(f"{len(real)} pages and {len(links)} links: " + (f"{len(wrong)} failures" if wrong else "ok"))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
