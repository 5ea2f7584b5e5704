#!/usr/bin/env python3
"""Checks that the pages of the HTML reference are well formed, contain the text of the headers and the examples, and
are in the search index.

    tests/docs/reference.py [--site DIR]

The generator itself checks the links. The header is parsed here independently of the parser of the generator.
"""

import argparse
import html.parser
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
VOID = {"meta", "link", "img", "input", "br"}

wrong = []


def expect(truth, what):
    if not truth:
        wrong.append(what)


def dense(text):
    return re.sub(r"\s", "", text)


class Page(html.parser.HTMLParser):
    """The text of a page, and the text of each element that has an id."""

    def __init__(self, path):
        super().__init__()
        self.name = path.name
        self.open, self.parts, self.text, self.without_text = [], {}, "", 0
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        expect(not self.open, f"{self.name}: elements that are not closed: {self.open}")

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "img":
            expect(attributes.get("alt"), f"{self.name}: image without alternative text")
        if tag not in VOID:
            self.open.append((tag, attributes.get("id")))
        if attributes.get("id"):
            expect(attributes["id"] not in self.parts, f"{self.name}: duplicate id {attributes['id']}")
            self.parts[attributes["id"]] = ""

    def handle_endtag(self, tag):
        expect(self.open and self.open[-1][0] == tag, f"{self.name}:{self.getpos()[0]}: </{tag}> in {self.open[-1:]}")
        if self.open:
            self.open.pop()

    def handle_data(self, data):
        self.text += data
        for _, part in self.open:
            if part:
                self.parts[part] += data


def check_functions(pages):
    """Checks that every function is documented once, with its declaration and the complete text of its comment."""
    source = (ROOT / "include" / "threading.h").read_text(encoding="utf-8")
    found = re.findall(r"/\*\*((?:(?!\*/).)*)\*/\n(\w[\w *]*?\b(threading_\w+)\([^;{]*?\);)", source, re.S)
    expect(len(found) > 100, f"only {len(found)} functions found in the header")
    for comment, declaration, name in found:
        places = [page for page in pages.values() if name in page.parts and page.name != "from-python.html"]
        expect(len(places) == 1, f"{name} is documented on {[page.name for page in places]}")
        if not places:
            continue
        shown = dense(places[0].parts[name])
        expect(dense(declaration) in shown, f"{name}: the declaration is missing")
        text = re.sub(r"\\param \w+ the \w+\n", "", re.sub(r"\n ?\* ?", "\n", comment))
        for tag, label in (("blocks", "Blocks"), ("threadsafety", "Thread safety"), ("python", "Python"),
                           ("since", "Since"), ("sa", "See also")):
            expect(f"\n\\{tag} " in text, f"{name}: no \\{tag}")
            text = text.replace(f"\n\\{tag} ", f"\n\n{label} ")
        text = re.sub(r"\\param \w+|\\return|`", "\n", text)
        for sentence in re.split(r"[.;](?=\s)|\n\s*\n|\n(?=\n)", text):
            expect(dense(sentence).strip(".") in shown, f"{name}: missing: {' '.join(sentence.split())}")


def check_cpp(pages):
    """Checks that the page of the C++ header contains the first paragraph of each comment."""
    path = ROOT / "include" / "threading.hpp"
    if not path.is_file():
        expect("cpp.html" not in pages, "there is a page for the C++ header, which does not exist")
        return
    comments = re.findall(r"/\*\*(?!<)(.*?)\*/", path.read_text(encoding="utf-8"), re.S)
    shown = dense(pages["cpp.html"].text)
    for comment in comments:
        text = re.split(r"\n\s*\n|\n(?=\\)", re.sub(r"\n *\* ?", "\n", comment).strip())[0].replace("`", "")
        text = text.removeprefix("Blocks: ").rstrip(".")
        if not text.startswith("\\"):
            expect(dense(text) in shown, f"cpp.html: missing: {' '.join(text.split())}")


def check_examples(page):
    """Checks that each program is shown in C and in Python."""
    text = dense(page.text)
    programs = sorted((ROOT / "c_examples").glob("threading_*.c"))
    expect(len(programs) == 21, f"{len(programs)} programs in C")
    for program in programs:
        code = program.read_text(encoding="utf-8").split("*/\n", 1)[1]
        expect(dense(code) in text, f"{page.name}: {program.name} is missing")
        python = program.parent / "python" / f"{program.stem}.py"
        code = python.read_text(encoding="utf-8").split('"""', 2)[2]
        expect(dense(code) in dense(page.parts.get(program.stem, "")), f"{page.name}: {python.name} is missing")


def check_index(site, pages):
    """Checks the entries of the search index."""
    text = (site / "index.js").read_text(encoding="utf-8")
    entries = json.loads(text.removeprefix("const INDEX = ").rstrip(";\n"))
    names = {entry[0] for entry in entries}
    for name in ("threading_lock_acquire", "THREADING_ERR_BUSY", "THREADING_WITH", "threading_target", "Lock", "Fork"):
        expect(name in names, f"{name} is not in the search index")
    for name, address, *_ in entries:
        path, _, part = address.partition("#")
        expect(path in pages and (not part or part in pages[path].parts),
               f"the search index has a broken link for {name}: {address}")


def main():
    parser = argparse.ArgumentParser(description="Checks the HTML reference.")
    parser.add_argument("--site", metavar="DIR", type=pathlib.Path, default=ROOT / "build" / "reference" / "html",
                        help="the directory of the reference (default: %(default)s)")
    site = parser.parse_args().site
    pages = {path.name: Page(path) for path in sorted(site.glob("*.html"))}
    expect(len(pages) >= 20, f"only {len(pages)} pages in {site}")
    for needed in ("index.html", "from-python.html"):
        expect(needed in pages, f"{needed} is missing")
    if not wrong:
        check_functions(pages)
        check_cpp(pages)
        check_examples(pages["from-python.html"])
        check_index(site, pages)
    for what in wrong:
        print(f"FAIL {what}")
    print(f"{len(pages)} pages: " + (f"{len(wrong)} failures" if wrong else "ok"))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
