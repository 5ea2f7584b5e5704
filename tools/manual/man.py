#!/usr/bin/env python3
"""Generates the manual pages of threading.h: a page for each section, an overview, and for every other name a link to
the page that documents it.

    man.py include/threading.h OUTPUT_DIR
"""

import datetime
import os
import pathlib
import re
import sys
import textwrap

import header as headers

WIDTH = 78
CODE = str.maketrans({"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"})
PROSE = str.maketrans({"\\": "\\e", "^": "\\(ha", "~": "\\(ti"})


def bold(code):
    return f"\\fB{code.translate(CODE)}\\fP"


def italic(code):
    return f"\\fI{code.translate(CODE)}\\fP"


def inline(text, parameters=()):
    """Marks up prose: parameters are italic; other code, names with () and constants are bold."""
    parts = re.split(r"(`[^`]+`|\b\w+\(\)|\b(?:threading|THREADING)_\w+\b)", text)
    for at, part in enumerate(parts):
        if at % 2 == 0:
            parts[at] = re.sub(r"(?<![\w])-(?=\d)|(?<=\d )-(?= \d)", r"\\-", part.translate(PROSE))
        elif part.startswith("`"):
            parts[at] = italic(part[1:-1]) if part[1:-1] in parameters else bold(part[1:-1])
        elif part.endswith("()"):
            parts[at] = bold(part[:-2]) + "()"
        else:
            parts[at] = bold(part)
    return "".join(parts)


def safe(line):
    """Escapes a line that would be taken for a request."""
    return "\\&" + line if line.startswith((".", "'")) else line


class Page:
    """A page, as a list of lines."""

    def __init__(self, name, section, header, date):
        self.lines = ['.\\" Generated from threading.h.',
                      f'.TH {name} {section} {date} "libthreading {header.version}" "libthreading manual"',
                      ".nh", ".ad l"]

    def head(self, title):
        self.lines.append(f".SH {title.upper()}")

    def subhead(self, title):
        self.lines.append(f".SS {title}")

    def prose(self, text):
        """Adds text that is already marked up."""
        wrapped = textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)
        self.lines += [safe(line) for line in wrapped]

    def paragraphs(self, texts, request, parameters=()):
        """Adds paragraphs, with a request before each one after the first."""
        for at, text in enumerate(texts):
            if at:
                self.lines.append(request)
            self.prose(inline(text, parameters))

    def tagged(self, tag, *texts, parameters=()):
        """Adds a tag with indented paragraphs."""
        self.lines += [".TP", safe(tag)]
        self.paragraphs(texts, ".IP", parameters)

    def nested(self, pairs, parameters):
        """Adds a tagged list inside a tagged paragraph."""
        self.lines.append(".RS")
        for tag, text in pairs:
            self.tagged(tag, text, parameters=parameters)
        self.lines.append(".RE")

    def code(self, code):
        self.lines += [".PP", ".RS 4", ".nf"]
        self.lines += [safe(line.translate(CODE)) for line in code.split("\n")]
        self.lines += [".fi", ".RE"]

    def text(self):
        return "\n".join(self.lines) + "\n"


def prototype(item):
    """A declaration in the synopsis: the names of parameters are italic, everything else is bold."""
    if item.kind == "macro":
        name, parameter = re.match(r"#define (\w+)\((\w+)\)", item.declaration).groups()
        return [f"{bold(name + '(')}{italic(parameter)}{bold(') {')} ... {bold('}')}"]
    if item.kind in ("constant", "type"):
        return [bold(item.declaration)]
    if item.kind == "callback":
        before, parameters = re.fullmatch(r"(typedef .*\(\*\w+\)\()(.*)\);", item.declaration).groups()
        pieces = [re.fullmatch(r"(.*?)(\w+)", part.strip()).groups() for part in parameters.split(",")]
    else:
        pieces = item.parameters
        before = item.declaration[:item.declaration.index("(", item.declaration.index(item.name)) + 1]
    lines, column = [bold(before)], len(before)
    for at, (kind, name) in enumerate(pieces):
        ending = ");" if at == len(pieces) - 1 else ","
        length = len(kind + name + ending) + 1
        if at and column + length > WIDTH:
            indent = min(len(before), WIDTH - max(len(k + n) + 2 for k, n in pieces))
            lines.append(" " * indent)
            column = indent
        elif at:
            lines[-1] += " "
        lines[-1] += bold(kind) + (italic(name) if name else "") + bold(ending)
        column += length
    return lines


def synopsis(page, section):
    page.head("Synopsis")
    page.lines += [".nf", bold("#include <threading.h>")]
    before = None
    for item in section.items:
        if item in section.of_kind("constant") and section.page == "threading_status":
            continue  # the description lists them
        if before is None or item.kind != before or item.kind == "callback":
            page.lines.append(".PP")
        page.lines += prototype(item)
        before = item.kind
    page.lines.append(".fi")


def call(item):
    """The form of a call."""
    if item.kind in ("constant", "type"):
        return bold(item.name)
    if item.kind == "macro":
        return f"{bold(item.name)}({italic(item.params[0][0])})"
    return f"{bold(item.name)}({', '.join(italic(name) for name, _ in item.params)})"


def describe(page, item):
    names = [name for name, _ in item.params]
    page.tagged(call(item), *item.text, parameters=names)
    if item.documented_params:
        page.nested([(italic(name), as_sentence(text)) for name, text in item.documented_params], names)
    if item.blocking:
        page.lines.append(".IP")
        page.prose(inline(item.blocking, names))
    if item.see:
        page.lines.append(".IP")
        page.prose(f"See also {joined([reference(name) for name in item.see])}.")


def reference(name):
    """A name in a list of related functions."""
    return bold(name) + ("" if name.isupper() else "()")


def joined(parts):
    """A list in prose."""
    return " and ".join([", ".join(parts[:-1])] * (len(parts) > 1) + parts[-1:])


def as_sentence(text):
    """A phrase as a sentence."""
    return text[0].upper() + text[1:] + "."


def return_value(page, functions):
    page.head("Return value")
    for item in functions:
        if item.returns:
            page.tagged(bold(item.name) + ("()" if item.kind == "function" else ""), as_sentence(item.returns),
                        parameters=[name for name, _ in item.params])
    void = [inline(item.name + "()") for item in functions if not item.returns and item.kind == "function"]
    if void:
        page.lines.append(".PP")
        page.prose(f"{' and '.join(void)} return{'s' if len(void) == 1 else ''} nothing.")


def errors(page, section, header):
    """The statuses other than success that the page names, with the functions that return them."""
    functions = section.of_kind("function", "macro")
    named = [(status, [item for item in functions if re.search(rf"\b{status.name}\b", item.returns)])
             for status in header.statuses if status.name != "THREADING_OK"]
    named = [(status, sources) for status, sources in named if sources]
    if not named:
        return
    page.head("Errors")
    page.prose(inline("A negative status is an error, a positive one is an outcome that is not an error. In addition, "
                      "every function may return THREADING_ERR_INTERNAL. threading_last_error_message() returns a "
                      "message that describes the error."))
    for status, sources in named:
        page.tagged(f"{bold(status.name)} ({status.value.strip('()').translate(CODE)})", status.summary)
        page.lines.append(".IP")
        page.prose("Reported by " + joined([reference(item.name) for item in sources]) + ".")


def notes(page, functions):
    page.head("Notes")
    page.subhead("Thread safety")
    groups = {}
    for item in functions:
        groups.setdefault(item.threads, []).append(reference(item.name))
    usual = max(groups, key=lambda text: len(groups[text]))
    if len(groups) == 1:
        page.prose(inline(as_sentence(usual)))
    else:
        for text, names in groups.items():
            if text != usual:
                page.lines += [".TP", inline(as_sentence(text))]
                page.prose(", ".join(names) + ".")
        page.lines += [".TP", inline(as_sentence(usual))]
        page.prose("All other functions.")
    python = [(item, item.python) for item in functions if item.python != "none"]
    if python:
        page.subhead("Python")
        for item, text in python:
            page.tagged(reference(item.name), text)
    page.subhead("History")
    versions = {}
    for item in functions:
        versions.setdefault(item.since, []).append(reference(item.name))
    if len(versions) == 1:
        page.prose(f"Since libthreading {next(iter(versions))}.")
    else:
        for version, names in versions.items():
            page.lines += [".TP", version]
            page.prose(", ".join(names))


def see_also(page, section, header):
    """The related functions of other pages, and the pages that the text refers to."""
    texts = [text for item in section.items for text in item.texts]
    texts += [paragraph.text for paragraph in section.text]
    texts += [section.snippet.caption, section.snippet.code]
    names = set(re.findall(r"\b(?:threading|THREADING)_\w+\b", " ".join(texts)))
    links = {"threading_status"} | {found.page for name in names if (found := header.page_of(name))}
    links |= {name for item in section.items for name in item.see if header.page_of(name) is not section}
    page.head("See also")
    page.prose(", ".join([f"{bold(name)}(3)" for name in sorted(links - {section.page})] + [f"{bold('threading')}(7)"]))


def name_line(page, names, summary):
    page.head("Name")
    page.prose(", ".join(names) + " \\- " + inline(summary[0].lower() + summary[1:].rstrip(".")))


def example(page, snippet):
    page.head("Example")
    page.prose(inline(snippet.caption + ":"))
    page.code(snippet.code)


def section_page(section, header, date):
    page = Page(section.page, 3, header, date)
    functions = section.of_kind("function", "macro")
    name_line(page, dict.fromkeys([section.page, *(item.name for item in section.items)]), section.summary)
    synopsis(page, section)
    page.head("Description")
    texts = [] if section.general else [paragraph.text for paragraph in section.text]
    if not section.type:
        texts.insert(0, section.summary)
    page.paragraphs(texts, ".PP")
    if section.general:
        page.lines.append(".PP")
        page.prose(f"The rules that apply to all functions are in {bold('threading')}(7).")
    for item in section.items:
        if item.kind != "type":
            describe_any(page, item)
    with_returns = section.of_kind("callback", "function", "macro")
    if any(item.returns for item in with_returns):
        return_value(page, with_returns)
    errors(page, section, header)
    example(page, section.snippet)
    if functions:
        notes(page, functions)
    see_also(page, section, header)
    return page.text()


def describe_any(page, item):
    if item.kind == "constant":
        page.tagged(f"{bold(item.name)} ({item.value.strip('()').translate(CODE)})", *item.text)
    else:
        describe(page, item)


def overview(header, date):
    page = Page("threading", 7, header, date)
    page.head("Name")
    page.prose("threading \\- " + header.title.split(" - ", 1)[1])
    page.head("Synopsis")
    page.lines += [".nf", bold("#include <threading.h>"), ".PP",
                   bold("cc program.c $(pkg-config --cflags --libs threading)"), ".fi"]
    page.head("Description")
    page.paragraphs(header.introduction, ".PP")
    for section in header.sections:
        page.tagged(f"{bold(section.page)}(3)", section.summary)
    for section in header.sections:
        if section.general:
            general(page, section)
    page.head("See also")
    names = sorted(section.page for section in header.sections)
    page.prose(", ".join([*(f"{bold(name)}(3)" for name in names), f"{bold('pthreads')}(7)"]))
    return page.text()


def general(page, section):
    """Adds a section whose rules apply to all functions to the overview."""
    page.head(section.title)
    begun = False
    for paragraph in section.text:
        if paragraph.heading:
            page.subhead(paragraph.heading)
        elif begun:
            page.lines.append(".PP")
        page.prose(inline(paragraph.text))
        begun = True
    if section.page == "threading_status":
        page.subhead("The statuses")
        for item in section.of_kind("constant"):
            describe_any(page, item)
    page.subhead("Example")
    page.prose(inline(section.snippet.caption + ":"))
    page.code(section.snippet.code)


def pages(header, date):
    """Generates all pages, as pairs of file name and text."""
    yield "threading.7", overview(header, date)
    for section in header.sections:
        yield f"{section.page}.3", section_page(section, header, date)
        for item in section.items:
            if item.name != section.page:
                yield f"{item.name}.3", f".so man3/{section.page}.3\n"


def main():
    headers.expect_arguments(__doc__, 2)
    source, output = map(pathlib.Path, sys.argv[1:])
    moment = int(os.environ.get("SOURCE_DATE_EPOCH", source.stat().st_mtime))
    date = datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).date().isoformat()
    try:
        header = headers.read(source)
    except headers.Malformed as error:
        sys.exit(f"man.py: {error}")
    for name, text in pages(header, date):
        directory = output / f"man{name[-1]}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
