#!/usr/bin/env python3
"""Generates the HTML reference: a page for each section of threading.h, the README as the main page, the documents of
docs/, the examples beside their Python versions, and a search index. The pages work without a server.

    reference.py PROJECT_DIR OUTPUT_DIR

Broken links and unknown markup are errors.
"""

import html
import json
import pathlib
import posixpath
import re
import shutil
import sys

import cpp
import header as headers
import highlight
import markdown

HERE = pathlib.Path(__file__).resolve().parent
# The documents of docs/, in the order of the navigation, and their titles there.
GUIDES = {
    "tutorial": "Tutorial", "faq": "Questions and answers", "when-it-hangs": "When it hangs",
    "from-python": "From Python", "from-pthread": "From pthread", "from-glib": "From GLib",
    "conventions": "Conventions", "exit-fork-signals": "Exit, fork, signals", "languages": "Other languages",
    "guarantees": "Guarantees", "performance": "Performance", "building": "Building", "platforms": "Platforms",
    "abi": "ABI", "race-detectors": "Race detectors", "release": "Releases",
}
# The Markdown files that are pages: the page and its title.
TEXTS = {
    "README.md": ("index.html", "libthreading"),
    **{f"docs/{name}.md": (f"{name}.html", title) for name, title in GUIDES.items()},
    "c_examples/languages/README.md": ("bindings.html", "Using the library from other languages"),
    "CONTRIBUTING.md": ("contributing.html", "Contributing"),
    "CHANGELOG.md": ("changelog.html", "Changelog"),
    "SECURITY.md": ("security.html", "Security"),
    "CODE_OF_CONDUCT.md": ("conduct.html", "Code of conduct"),
}
# The page of each file and directory that has one. Other files to which a text links are copied.
PAGES = {
    **{name: page for name, (page, _) in TEXTS.items()},
    "LICENSE": "license.html", "include/threading.h": "header.html", "include/threading.hpp": "cpp.html",
    "c_examples": "examples.html", "c_examples/python": "examples.html", "c_examples/cpp": "examples-cpp.html",
    "c_examples/languages": "bindings.html",
}
HELPERS = ("check.h", "logging.h", "random.h")
# The headings of these are not in the search index.
UNINDEXED = ("CONTRIBUTING.md", "CHANGELOG.md", "CODE_OF_CONDUCT.md")


class Site:
    """Generates the pages."""

    def __init__(self, project, output):
        self.project = project
        self.output = output
        self.header = headers.read(project / "include" / "threading.h")
        self.cpp = cpp.read(project / "include" / "threading.hpp")
        self.last = None  # the section of the last linked name, for short names such as _join
        self.documents = {}  # the rendered Markdown files, by their names

    # ---- links ----

    def link(self, name):
        """The URL of the documentation of a name, or None."""
        section = self.header.page_of(name)
        if section is None:
            return None
        self.last = section
        functions = [item.name for item in section.of_kind("function")]
        return f"{section.page}.html" + (f"#{name}" if name != section.page or name in functions else "")

    def link_short(self, name):
        """The same for a name, or for the end of one, such as _join, in the section of the previous name."""
        if name.startswith("_") and self.last:
            for whole in (self.last.page + name, "threading" + name, "THREADING" + name):
                if self.header.page_of(whole):
                    return self.link(whole)
        return self.link(name)

    def url(self, target, source):
        """The URL for a link in the Markdown file `source`."""
        path, mark, part = target.partition("#")
        if re.match(r"https?:", target) or not path:
            return target
        name = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        example = re.fullmatch(r"c_examples/(?:python/)?(threading_\w+)\.(?:c|py)", name)
        if example:
            return f"examples.html#{example[1]}"
        if name in PAGES:
            return PAGES[name] + mark + part
        if not (self.project / name).is_file():
            raise markdown.Unknown(f"{source} links to {target}, which is neither a file nor a page")
        copy = self.output / "files" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.project / name, copy)
        return f"files/{name}"

    def prose(self, text):
        """Converts a text of the header."""
        parts = re.split(r"(`[^`]+`|\b\w+\(\)|\bthreading_\w+\.c\b|\b(?:threading|THREADING)_\w+\b)", text)
        for at, part in enumerate(parts):
            if at % 2 == 0:
                parts[at] = html.escape(part, quote=False)
            elif part.endswith(".c"):
                parts[at] = f'<a href="examples.html#{part[:-2]}"><code>{part}</code></a>'
            else:
                parts[at] = f"<code>{self.code(part.strip('`'))}</code>"
        return "".join(parts)

    def code(self, source, language="c"):
        return highlight.code(source, language, self.link)

    # ---- the parts of a page ----

    def navigation(self, current):
        objects = [section for section in self.header.sections if not section.general]
        rules = [section for section in self.header.sections if section.general]
        groups = [
            ("", [("index.html", "Overview"), ("examples.html", "Examples")]),
            ("Objects", [(f"{section.page}.html", section.title) for section in objects]),
            ("Rules and functions", [(f"{section.page}.html", section.title) for section in rules]),
            ("C++", [("cpp.html", "threading.hpp"), ("examples-cpp.html", "Examples in C++")]),
            ("Guides", [(f"{name}.html", title) for name, title in GUIDES.items()]),
            ("More", [("names.html", "All names"), ("header.html", "threading.h"), ("bindings.html", "Bindings"),
                      ("contributing.html", "Contributing"), ("conduct.html", "Code of conduct"),
                      ("security.html", "Security"), ("changelog.html", "Changelog"), ("license.html", "License")]),
        ]
        shown = []
        for title, links in groups:
            shown.append(f"<h2>{title}</h2>" if title else "")
            shown.append("<ul>" + "".join(
                f'<li><a href="{target}"{" aria-current=page" if target == current else ""}>{text}</a></li>'
                for target, text in links) + "</ul>")
        return "".join(shown)

    def write(self, name, title, body, kind=""):
        template = (HERE / "page.html").read_text(encoding="utf-8")
        full = html.escape(title if title == "libthreading" else f"{title} · libthreading")
        page = (template.replace("@TITLE@", full).replace("@KIND@", kind).replace("@VERSION@", self.header.version)
                .replace("@NAVIGATION@", self.navigation(name)).replace("@BODY@", body))
        (self.output / name).write_text(page, encoding="utf-8")

    def snippet(self, snippet):
        return figure(self.prose(snippet.caption), self.code(snippet.code))

    # ---- the pages ----

    def section(self, section):
        body = [f"<h1>{section.title}</h1>", f'<p class="lead">{self.prose(section.summary)}</p>']
        if section.type:
            body.append(f'<p class="python">Python: {self.prose(section.type.python)}</p>')
        for paragraph in section.text:
            if paragraph.heading:
                body.append(f'<h3 id="{markdown.slug(paragraph.heading)}">{paragraph.heading}</h3>')
            body.append(f"<p>{self.prose(paragraph.text)}</p>")
        body.append(self.snippet(section.snippet))
        body += self.constants(section)
        called = section.of_kind("callback", "function", "macro")
        if called:
            title = {"callback": "Callbacks", "function": "Functions", "macro": "The macro"}[called[0].kind]
            body.append(f'<h2 id="functions">{title}</h2>' + (self.summary(called) if len(called) > 1 else ""))
            body += [self.function(item) for item in called]
        self.write(f"{section.page}.html", section.title, "\n".join(body))

    def constants(self, section):
        rows = [f'<tr id="{item.name}"><td><code>{item.name}</code></td><td class="number">'
                f'{html.escape(item.value.strip("()"))}</td><td>{self.prose(" ".join(item.text))}</td></tr>'
                for item in section.of_kind("constant")]
        types = [f'<tr id="{item.name}"><td><code>{item.name}</code></td><td colspan="2">'
                 f'{self.prose(" ".join(item.text))}</td></tr>' for item in section.of_kind("type")
                 if item.name != section.page or section.general]
        if not rows and not types:
            return []
        title = "Statuses" if section.page == "threading_status" else "Types" if not rows else "Constants"
        return [f'<h2 id="constants">{title}</h2><div class="table"><table class="names"><tbody>'
                f'{"".join(types + rows)}</tbody></table></div>']

    def summary(self, items):
        return '<div class="table"><table class="names"><tbody>' + "".join(
            f'<tr><td><a href="#{item.name}"><code>{item.name}</code></a></td><td>{self.prose(item.summary)}</td></tr>'
            for item in items) + "</tbody></table></div>"

    def function(self, item):
        if item.kind == "macro":
            shown = re.match(r"#define (\w+\(\w+\))", item.declaration)[1] + " { ... }"
        else:
            shown = broken(item.declaration)
        parts = [f'<section class="function" id="{item.name}"><h3><a href="#{item.name}">{item.name}</a></h3>',
                 f'<pre class="prototype"><code>{highlight.code(shown, "c", self.link_others(item.name))}</code></pre>']
        parts += [f"<p>{self.prose(text)}</p>" for text in item.text]
        rows = [f"<dt><code>{name}</code></dt><dd>{self.prose(text)}</dd>" for name, text in item.documented_params]
        if rows:
            parts.append(f'<h4>Parameters</h4><dl class="params">{"".join(rows)}</dl>')
        if item.returns:
            results = re.split(r"; (?![^(]*\))", item.returns)
            parts.append("<h4>Returns</h4>" + (f"<p>{self.prose(results[0])}</p>" if len(results) == 1 else
                         "<ul>" + "".join(f"<li>{self.prose(result)}</li>" for result in results) + "</ul>"))
        facts = [("Blocks", item.blocks), ("Thread safety", item.threads), ("Python", item.python),
                 ("Since", item.since), ("See also", ", ".join(item.see))]
        parts.append('<dl class="facts">' + "".join(
            f"<div><dt>{name}</dt><dd>{self.prose(text)}</dd></div>" for name, text in facts if text) + "</dl>")
        return "\n".join(parts) + "</section>"

    def link_others(self, name):
        return lambda other: self.link(other) if other != name else None

    def examples(self):
        examples = self.project / "c_examples"
        body = ["<h1>Examples</h1>",
                '<p class="lead">The 21 programs of the well-known article on Python’s <code>threading</code>: each '
                "in Python and, beside it, in C. A test checks that they do the same. Two more programs in C hang, and "
                "show why.</p>",
                "<p>The Python programs were rewritten for current versions of Python; where a text mentions "
                "Python’s original, it means the program of the article, which is for Python 2.</p>"
                "<p>The programs in C use <code>check(...)</code> for calls that may fail, and a small "
                'logger; both are <a href="#helpers">at the end of this page</a>. A '
                '<a href="from-python.html">table</a> lists the C functions for Python’s names.</p>']
        pairs, contents = [], []
        for name in self.order():
            caption, text, c = split_c((examples / f"{name}.c").read_text(encoding="utf-8"))
            figures = [figure(f"{name}.c", highlight.lines(c, "c", self.link))]
            counterpart = examples / "python" / f"{name}.py"
            if counterpart.is_file():
                python = split_python(counterpart.read_text(encoding="utf-8"))
                figures.insert(0, figure(counterpart.name, highlight.lines(python, "python")))
            title = name.split("_", 1)[1].replace("_", " ")
            contents.append(f'<li><a href="#{name}">{title}</a></li>')
            pairs.append(
                f'<section class="pair" id="{name}"><h2><a href="#{name}">{self.prose(caption.rstrip("."))}</a></h2>'
                + (f'<div class="columns">{"".join(figures)}</div>' if len(figures) > 1 else figures[0])
                + "".join(f"<p>{self.prose(paragraph)}</p>" for paragraph in text) + "</section>")
        helpers = ""
        for name in HELPERS:
            source = (examples / name).read_text(encoding="utf-8").rstrip()
            listing = highlight.listing(highlight.lines(source, "c", self.link))
            helpers += f"<details><summary>{name}</summary>{listing}</details>"
        body += [f'<ol class="contents">{"".join(contents)}</ol>', *pairs,
                 f'<h2 id="helpers">Helpers of the programs in C</h2>{helpers}']
        self.write("examples.html", "Examples", "\n".join(body), "wide")

    def order(self):
        """The names of the examples, in their order."""
        build = (self.project / "c_examples" / "CMakeLists.txt").read_text(encoding="utf-8")
        return re.search(r"set\(threading_examples\s+(.*?)\)", build, re.S)[1].split()

    def examples_cpp(self):
        folder = self.project / "c_examples" / "cpp"
        body = ["<h1>Examples in C++</h1>",
                '<p class="lead">The counterparts of those <a href="examples.html">examples in C</a> that differ in '
                "C++.</p>"]
        names = [f"{name}.cpp" for name in self.order() if (folder / f"{name}.cpp").is_file()]
        for name in names:
            caption, text, code = split_cpp((folder / name).read_text(encoding="utf-8"))
            stem = name[:-len(".cpp")]
            body.append(f'<h2 id="{stem}"><a href="#{stem}">{self.prose(caption.rstrip("."))}</a></h2>')
            body += [f"<p>{self.prose(paragraph)}</p>" for paragraph in text]
            body.append(figure(name, self.code(code, "cpp")))
        helpers = sorted(path.name for path in folder.glob("*.hpp"))
        body.append('<h2 id="helpers">Headers of these programs</h2>')
        for name in helpers:
            source = (folder / name).read_text(encoding="utf-8").rstrip()
            body.append(f"<details><summary>{name}</summary>{highlight.listing(self.code(source, 'cpp'))}</details>")
        self.write("examples-cpp.html", "Examples in C++", "\n".join(body), "text")

    def names(self):
        rows = []
        for item in sorted(self.header.items, key=lambda item: item.name.lower()):
            python = item.python if item.python not in ("", "none") else ""
            rows.append(f'<tr><td><a href="{self.link(item.name)}"><code>{item.name}</code></a></td>'
                        f"<td>{self.prose(item.summary)}</td><td>{self.prose(python)}</td></tr>")
        self.write("names.html", "All names",
                   '<h1>All names</h1><div class="table"><table class="names"><thead><tr><th>Name</th><th></th>'
                   f'<th>Python</th></tr></thead><tbody>{"".join(rows)}</tbody></table></div>')

    def text_pages(self):
        found = {path.stem for path in (self.project / "docs").glob("*.md")}
        if found != set(GUIDES):
            raise markdown.Unknown(f"docs/ and GUIDES differ: {', '.join(sorted(found ^ set(GUIDES)))}")
        for name, (page, title) in TEXTS.items():
            document = markdown.Document(lambda target, source=name: self.url(target, source), self.link_short)
            self.last = None
            self.write(page, title, document.render((self.project / name).read_text(encoding="utf-8")), "text")
            self.documents[name] = document
        license = html.escape((self.project / "LICENSE").read_text(encoding="utf-8"))
        self.write("license.html", "License", f'<h1>License</h1><pre class="plain">{license}</pre>')
        source = (self.project / "include" / "threading.h").read_text(encoding="utf-8")
        self.write("header.html", "threading.h",
                   f"<h1>threading.h</h1>{highlight.listing(self.code(source))}")

    def index(self):
        """Writes the search index: name, URL, summary and Python's name of each entry."""
        entries = [(item.name, self.link(item.name), item.summary, item.python if item.python != "none" else "")
                   for item in self.header.items]
        entries += [(section.title, f"{section.page}.html", section.summary, "") for section in self.header.sections]
        entries += [(paragraph.heading, f"{section.page}.html#{markdown.slug(paragraph.heading)}",
                     headers.sentence(paragraph.text)[0], "")
                    for section in self.header.sections for paragraph in section.text if paragraph.heading]
        entries += [(f"threading::{name}", f"cpp.html#{anchor}", summary, "")
                    for name, anchor, summary in self.cpp.index()]
        entries += [(title, f"{TEXTS[name][0]}#{anchor}", document.title, "")
                    for name, document in self.documents.items() if name not in UNINDEXED
                    for title, anchor in document.headings]
        plain = [[part.replace("`", "") for part in entry] for entry in entries]
        index = json.dumps(plain, ensure_ascii=False)
        (self.output / "index.js").write_text(f"const INDEX = {index};\n", encoding="utf-8")

    def make(self):
        shutil.rmtree(self.output, ignore_errors=True)
        self.output.mkdir(parents=True)
        for section in self.header.sections:
            self.section(section)
        self.text_pages()
        self.examples()
        self.examples_cpp()
        self.names()
        self.index()
        self.write("cpp.html", "C++", self.cpp.body(self))
        for name in ("style.css", "search.js"):
            shutil.copy(HERE / name, self.output)
        check_links(self.output)


def figure(caption, highlighted):
    return f"<figure><figcaption>{caption}</figcaption>{highlight.listing(highlighted)}</figure>"


def broken(declaration):
    """A declaration, with each parameter on its own line if it is long."""
    if len(declaration) <= 84:
        return declaration
    at = declaration.rindex("(") + 1
    return declaration[:at] + "\n    " + declaration[at:].replace(", ", ",\n    ")


def split_c(source):
    """Splits a program into its caption, its description and its code."""
    comment, code = re.fullmatch(r"/\* Shows: (.*?) \*/\n(.*)", source.replace("\n */\n", " */\n", 1), re.S).groups()
    caption, *text = headers.unwrap(re.sub(r"(?m)^ \* ?", "", comment).split("\n"))
    return caption[0].upper() + caption[1:], text, code.strip()


def split_cpp(source):
    """The same for a program in C++."""
    comment, code = re.fullmatch(r"// Shows: ([^\n]*\n(?://[^\n]*\n)*)(.*)", source, re.S).groups()
    caption, *text = headers.unwrap(re.sub(r"(?m)^// ?", "", comment).split("\n"))
    return caption[0].upper() + caption[1:], text, code.strip()


def split_python(source):
    return re.fullmatch(r'""".*?"""\n(.*)', source, re.S)[1].strip()


def check_links(output):
    """Checks that no link is broken."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in output.glob("*.html")}
    marks = {name: set(re.findall(r'\bid="([^"]+)"', text)) for name, text in texts.items()}
    missing = set()
    for name, text in texts.items():
        for target in re.findall(r'\b(?:href|src)="([^"]+)"', text):
            path, _, mark = html.unescape(target).partition("#")
            if re.match(r"https?:", target):
                continue
            if path and not (output / path).is_file() or mark and mark not in marks.get(path or name, ()):
                missing.add(f"{name}: {target}")
        doubled = [mark for mark in marks[name] if text.count(f'id="{mark}"') > 1]
        missing.update(f"{name}: duplicate id: {mark}" for mark in doubled)
    if missing:
        sys.exit("reference.py: broken links:\n  " + "\n  ".join(sorted(missing)))


def main():
    headers.expect_arguments(__doc__, 2)
    try:
        Site(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])).make()
    except (headers.Malformed, markdown.Unknown) as error:
        sys.exit(f"reference.py: {error}")


if __name__ == "__main__":
    main()
