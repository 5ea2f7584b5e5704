#!/usr/bin/env python3
"""Checks that the pages of the HTML reference are well formed, contain the text of the headers, the documents and the
examples, link to each other, and are in the search index.

    tests/docs/reference.py [--site DIR]

The generator checks that no link is broken. This test checks that no link is missing, and parses the header and the
documents independently of the generator. It also checks that the generators need no newer Python than documented.
"""

import argparse
import ast
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
    """The text and the links of a page, and the text of each element that has an id."""

    def __init__(self, path):
        super().__init__()
        self.name = path.name
        self.open, self.parts, self.text = [], {}, ""
        self.links = {"main": set(), "nav": set(), "header": set()}  # by the element that contains them
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        expect(not self.open, f"{self.name}: elements that are not closed: {self.open}")

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "img":
            expect(attributes.get("alt"), f"{self.name}: image without alternative text")
        if tag == "a":
            self.links[next(name for name, _ in self.open if name in self.links)].add(attributes["href"])
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
        places = [page for page in pages.values() if name in page.parts and not page.name.startswith("examples")]
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
    source = (ROOT / "include" / "threading.hpp").read_text(encoding="utf-8")
    comments = re.findall(r"/\*\*(?!<)(.*?)\*/", source, re.S)
    shown = dense(pages["cpp.html"].text)
    for comment in comments:
        text = re.split(r"\n\s*\n|\n(?=\\)", re.sub(r"\n *\* ?", "\n", comment).strip())[0].replace("`", "")
        text = text.removeprefix("Blocks: ").rstrip(".")
        if not text.startswith("\\"):
            expect(dense(text) in shown, f"cpp.html: missing: {' '.join(text.split())}")


def check_examples(page):
    """Checks that each program is shown in C and, if it exists in Python, in both."""
    text = dense(page.text)
    programs = sorted((ROOT / "c_examples").glob("threading_*.c"))
    expect(len(programs) == 23, f"{len(programs)} programs in C")
    found = sorted(path.stem for path in (ROOT / "c_examples" / "python").glob("*.py"))
    expect(len(found) == 21 and set(found) <= {path.stem for path in programs}, f"{len(found)} programs in Python")
    for program in programs:
        code = program.read_text(encoding="utf-8").split("*/\n", 1)[1]
        expect(dense(code) in text, f"{page.name}: {program.name} is missing")
        python = program.parent / "python" / f"{program.stem}.py"
        if not python.is_file():
            continue
        code = python.read_text(encoding="utf-8").split('"""', 2)[2]
        expect(dense(code) in dense(page.parts.get(program.stem, "")), f"{page.name}: {python.name} is missing")


def check_examples_cpp(page):
    """Checks that each program in C++ is shown."""
    programs = sorted((ROOT / "c_examples" / "cpp").glob("*.[ch]pp"))
    expect(len(programs) > 10, f"{len(programs)} programs in C++")
    for program in programs:
        code = re.sub(r"\A(//.*\n)+", "", program.read_text(encoding="utf-8"))
        expect(dense(code) in dense(page.text), f"{page.name}: {program.name} is missing")


# The pages of files and directories, by their paths. Other files to which a document links are copied.
PAGES = {"README.md": "index.html", "CONTRIBUTING.md": "contributing.html", "CHANGELOG.md": "changelog.html",
         "SECURITY.md": "security.html", "CODE_OF_CONDUCT.md": "conduct.html",
         "LICENSE": "license.html", "include/threading.h": "header.html", "c_examples": "examples.html",
         "c_examples/python": "examples.html", "c_examples/cpp": "examples-cpp.html",
         "c_examples/languages": "bindings.html", "c_examples/languages/README.md": "bindings.html",
         **{f"c_examples/{path.name}": f"examples.html#{path.stem}"
            for path in (ROOT / "c_examples").glob("threading_*.c")},
         **{f"docs/{path.name}": f"{path.stem}.html" for path in (ROOT / "docs").glob("*.md")}}


def check_documents(pages):
    """Checks that each document is a page to which the navigation of every page links, and that the page contains each
    line, each heading and each link of the document."""
    documents = [name for name in PAGES if name.endswith(".md")]
    expect(len(documents) >= 16, f"only {len(documents)} documents")
    for name in documents:
        expect(PAGES[name] in pages, f"{name} is not a page")
        for page in pages.values():
            expect(PAGES[name] in page.links["nav"], f"{page.name}: the navigation has no link to {PAGES[name]}")
        if PAGES[name] in pages:
            check_document(pages[PAGES[name]], ROOT / name)


def check_document(page, path):
    source = path.read_text(encoding="utf-8")
    fence = re.compile(r"^```.*?\n(.*?)^```", re.M | re.S)
    for code in fence.findall(source):
        expect(dense(code) in dense(page.text), f"{page.name}: missing: {code}")
    prose = fence.sub("", source)
    for target in re.findall(r"(?<!!)\[[^\]]*\]\(([^)]*)\)", prose):
        file, mark, part = target.partition("#")
        if file and not target.startswith("http"):
            name = str((path.parent / file).resolve().relative_to(ROOT))
            target = PAGES.get(name, f"files/{name}") + mark + part
        expect(target in page.links["main"], f"{page.name}: no link to {target}")
    for title in re.findall(r"^#+ (.*)", prose, re.M):
        expect(dense(title) in map(dense, page.parts.values()), f"{page.name}: no heading {title}")
    text = dense(page.text).replace("|", "")
    for line in prose.split("\n"):
        shown = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", line)
        shown = re.sub(r"^(#+|-|\d+\.) |[`|]|\*\*", "", shown.strip())
        if not re.fullmatch(r"[-\s]*", shown) and not line.startswith("!["):
            expect(dense(shown) in text, f"{page.name}: missing: {line.strip()}")


def check_without_server(site):
    """Checks that a browser can open the pages from files: each script and stylesheet is a file beside the page, and no
    script loads anything, which browsers do not allow for files."""
    for path in site.glob("*.html"):
        for tag in re.findall(r"<(?:script|link)\b[^>]*>", path.read_text(encoding="utf-8")):
            target = re.search(r'(?:src|href)="([^"]+)"', tag)
            expect(target and "/" not in target[1] and (site / target[1]).is_file(), f"{path.name}: {tag}")
            expect("module" not in tag and "crossorigin" not in tag, f"{path.name}: not possible for files: {tag}")
    for path in site.glob("*.js"):
        text = path.read_text(encoding="utf-8")
        used = re.findall(r"\b(?:fetch|import|importScripts|Worker|serviceWorker)\b ?\(|\bXMLHttpRequest\b", text)
        expect(path.name == "index.js" or not used, f"{path.name}: not possible for files: {used}")


def check_index(site, pages):
    """Checks the entries of the search index."""
    text = (site / "index.js").read_text(encoding="utf-8")
    entries = json.loads(text.removeprefix("const INDEX = ").rstrip(";\n"))
    names = {entry[0] for entry in entries}
    for name in ("threading_lock_acquire", "THREADING_ERR_BUSY", "THREADING_WITH", "threading_target", "Lock", "Fork",
                 "threading::Thread", "Race detectors", "The portable backend",
                 "4. Protect shared data with a lock"):
        expect(name in names, f"{name} is not in the search index")
    for name, address, *_ in entries:
        path, _, part = address.partition("#")
        expect(path in pages and (not part or part in pages[path].parts),
               f"the search index has a broken link for {name}: {address}")


def check_generators():
    """The generators, and that of the declarations for npm, must run with Python 3.8, which docs/building.md names."""
    declarations = ROOT / "c_examples" / "languages" / "python" / "libthreading.py"
    for path in [*sorted((ROOT / "tools" / "manual").glob("*.py")), declarations]:
        tree = ast.parse(path.read_text(encoding="utf-8"), path.name, feature_version=(3, 8))
        names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        for name in names & {"removeprefix", "removesuffix"}:
            expect(False, f"{path.name}: {name} needs Python 3.9")
        for node in ast.walk(tree):
            expect(not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Slice)
                   or getattr(node.value, "attr", None) != "parents",
                   f"{path.name}: a slice of Path.parents needs Python 3.10")


def main():
    parser = argparse.ArgumentParser(description="Checks the HTML reference.")
    parser.add_argument("--site", metavar="DIR", type=pathlib.Path, default=ROOT / "build" / "reference" / "html",
                        help="the directory of the reference (default: %(default)s)")
    site = parser.parse_args().site
    pages = {path.name: Page(path) for path in sorted(site.glob("*.html"))}
    expect(len(pages) >= 36, f"only {len(pages)} pages in {site}")
    for needed in ("index.html", "examples.html", "examples-cpp.html", "cpp.html"):
        expect(needed in pages, f"{needed} is missing")
    check_generators()
    if not wrong:
        check_functions(pages)
        check_cpp(pages)
        check_examples(pages["examples.html"])
        check_examples_cpp(pages["examples-cpp.html"])
        check_documents(pages)
        check_index(site, pages)
        check_without_server(site)
    for what in wrong:
        print(f"FAIL {what}")
    print(f"{len(pages)} pages: " + (f"{len(wrong)} failures" if wrong else "ok"))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
