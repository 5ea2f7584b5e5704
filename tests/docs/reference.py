#!/usr/bin/env python3
"""Checks the reference in HTML: that its pages are whole, hold what the header and the examples hold, and are found.

    tests/docs/reference.py [--site DIR]

That no link leads nowhere the generator sees to itself. The header is read here by a pattern of its own.
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
    """A page's text, that of each part that has an id, and its images."""

    def __init__(self, path):
        super().__init__()
        self.name = path.name
        self.open, self.parts, self.text, self.without_text = [], {}, "", 0
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        expect(not self.open, f"{self.name}: not closed: {self.open}")

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "img":
            expect(attributes.get("alt"), f"{self.name}: an image without a text for those who do not see it")
        if tag not in VOID:
            self.open.append((tag, attributes.get("id")))
        if attributes.get("id"):
            expect(attributes["id"] not in self.parts, f"{self.name}: two parts are {attributes['id']}")
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
    """Every function is explained once, with its declaration and all that its comment says."""
    source = (ROOT / "include" / "threading.h").read_text(encoding="utf-8")
    found = re.findall(r"/\*\*((?:(?!\*/).)*)\*/\n(\w[\w *]*?\b(threading_\w+)\([^;{]*?\);)", source, re.S)
    expect(len(found) > 100, f"only {len(found)} functions found in the header")
    for comment, declaration, name in found:
        places = [page for page in pages.values() if name in page.parts and page.name != "from-python.html"]
        expect(len(places) == 1, f"{name} is explained on {[page.name for page in places]}")
        if not places:
            continue
        shown = dense(places[0].parts[name])
        expect(dense(declaration) in shown, f"{name}: not declared as in the header")
        said = re.sub(r"\n ?\* ?", "\n", comment)
        said = re.sub(r"\\param \w+ the \w+\n", "", said)
        said = re.sub(r"\\param \w+|\\return|Blocks:|Thread safety:|Python: none\.|Python:|Since|# Safety|`",
                      "\n", said)
        for sentence in re.split(r"[.;](?=\s)|\n\s*\n|\n(?=\n)", said):
            expect(dense(sentence).strip(".") in shown, f"{name}: does not say: {' '.join(sentence.split())}")


def check_cpp(pages):
    """What the C++ header says of each thing is on its page, if there is such a header."""
    path = ROOT / "include" / "threading.hpp"
    if not path.is_file():
        expect("cpp.html" not in pages, "a page about a header that is not there")
        return
    comments = re.findall(r"/\*\*(?!<)(.*?)\*/", path.read_text(encoding="utf-8"), re.S)
    shown = dense(pages["cpp.html"].text)
    for comment in comments:
        said = re.split(r"\n\s*\n|\n(?=\\)", re.sub(r"\n *\* ?", "\n", comment).strip())[0].replace("`", "")
        said = said.removeprefix("Blocks: ").rstrip(".")
        if not said.startswith("\\"):
            expect(dense(said) in shown, f"cpp.html does not say: {' '.join(said.split())}")


def check_examples(page):
    """Every program is there in C and in Python."""
    text = dense(page.text)
    programs = sorted((ROOT / "c_examples").glob("threading_*.c"))
    expect(len(programs) == 21, f"{len(programs)} programs in C")
    for program in programs:
        code = program.read_text(encoding="utf-8").split("*/\n", 1)[1]
        expect(dense(code) in text, f"{program.name} is not on {page.name}")
        twin = program.parent / "python" / f"{program.stem}.py"
        code = twin.read_text(encoding="utf-8").split('"""', 2)[2]
        expect(dense(code) in dense(page.parts.get(program.stem, "")), f"{twin.name} is not beside {program.name}")


def check_index(site, pages):
    """What the search finds is there."""
    text = (site / "index.js").read_text(encoding="utf-8")
    entries = json.loads(text.removeprefix("const INDEX = ").rstrip(";\n"))
    names = {entry[0] for entry in entries}
    for name in ("threading_lock_acquire", "THREADING_ERR_BUSY", "THREADING_WITH", "threading_target", "Lock", "Fork"):
        expect(name in names, f"the search does not know {name}")
    for name, address, *_ in entries:
        path, _, part = address.partition("#")
        expect(path in pages and (not part or part in pages[path].parts), f"the search sends {name} to {address}")


def main():
    parser = argparse.ArgumentParser(description="Checks the reference in HTML.")
    parser.add_argument("--site", metavar="DIR", type=pathlib.Path, default=ROOT / "build" / "reference" / "html",
                        help="where it is (default: %(default)s)")
    site = parser.parse_args().site
    pages = {path.name: Page(path) for path in sorted(site.glob("*.html"))}
    expect(len(pages) >= 20, f"only {len(pages)} pages in {site}")
    for needed in ("index.html", "from-python.html"):
        expect(needed in pages, f"there is no {needed}")
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
