"""Reads threading.h as the manual that it is: its sections, and what each of them declares and says.

The form is that of the documentation in src/capi/, and what does not have it is an error here, so that nothing gets
lost on the way into a manual page:

- A section begins with a comment between whose first lines is a rule. It has a title, a sentence that sums it up, and
  paragraphs. A first sentence of up to three words is a paragraph's heading. Indented lines are a snippet, and the
  line before them, which ends in a colon, says what it shows.
- What is declared has a comment of its own: a sentence, paragraphs, `\\param`, `\\return`, and a last paragraph that
  says "Blocks: ... Thread safety: ... Python: ... Since ...". "# Safety" is what the caller has to see to.
"""

import dataclasses
import itertools
import pathlib
import re
import sys

# The sections that are not about one object, and the names of their pages. The overview tells what they say.
GENERAL = {
    "Handles and callbacks": "threading_callbacks",
    "Status and errors": "threading_status",
    "Time, memory order, version": "threading_version",
    "The module's functions": "threading_module",
}
WITH = {"With": "THREADING_WITH"}


def expect_arguments(usage, count):
    """Ends a script that is asked for help, or has another number of arguments."""
    arguments = sys.argv[1:]
    if "-h" in arguments or "--help" in arguments:
        print(usage.strip())
        sys.exit(0)
    if len(arguments) != count or any(argument.startswith("-") for argument in arguments):
        print(usage.strip(), file=sys.stderr)
        sys.exit(2)


class Malformed(Exception):
    """The header says something in a form that is not known here."""


@dataclasses.dataclass
class Paragraph:
    text: str
    heading: str = ""


@dataclasses.dataclass
class Snippet:
    shows: str
    code: str


@dataclasses.dataclass
class Item:
    """One thing that the header declares."""

    kind: str  # function, callback, macro, constant or type
    name: str
    declaration: str
    text: list  # of str, its paragraphs
    params: list  # of pairs: name, text
    returns: str = ""
    safety: str = ""
    blocks: str = ""
    threads: str = ""
    python: str = ""
    since: str = ""
    value: str = ""  # of a constant

    @property
    def summary(self):
        """Its first sentence."""
        return sentence(self.text[0])[0]

    @property
    def result(self):
        """What is in front of the name of a function."""
        return self.declaration[:self.declaration.index(self.name)].strip()

    @property
    def parameters(self):
        """The parameters of a function, as pairs of what is before the name, and the name."""
        inside = self.declaration[self.declaration.index("(", self.declaration.index(self.name)) + 1:-2]
        return [("void", "")] if inside == "void" else [re.fullmatch(r"(.*?)(\w+)", part.strip()).groups()
                                                        for part in inside.split(",")]

    @property
    def telling_params(self):
        """The parameters of which more is said than what they are called."""
        return [(name, text) for name, text in self.params if not re.fullmatch(r"the \w+", text)]

    @property
    def texts(self):
        """Everything that is said about it."""
        return [*self.text, *(text for _, text in self.params), self.returns, self.blocks]


@dataclasses.dataclass
class Section:
    title: str
    page: str
    summary: str
    text: list  # of Paragraph
    snippet: Snippet
    items: list
    type: Item = None  # the type that it is about

    @property
    def general(self):
        return self.title in GENERAL

    def of_kind(self, *kinds):
        return [item for item in self.items if item.kind in kinds]


@dataclasses.dataclass
class Header:
    version: str
    title: str
    introduction: list  # of str
    sections: list

    @property
    def items(self):
        return [item for section in self.sections for item in section.items]

    @property
    def statuses(self):
        return [item for section in self.sections if section.page == "threading_status"
                for item in section.of_kind("constant")]

    def page_of(self, name):
        """The section whose page tells of this name, or None."""
        for section in self.sections:
            if name == section.page or any(name == item.name for item in section.items):
                return section
        return None


def unwrap(lines):
    """The paragraphs of a text."""
    return [" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", "\n".join(lines)) if paragraph.strip()]


def sentence(text):
    """The first sentence of a text, and the rest."""
    match = re.match(r"(.+?[.?!])(?:\s+(?=[A-Z(`_])|$)(.*)", text)
    return (match[1], match[2]) if match else (text, "")


def tail(text):
    """What "Blocks: ... Since ..." says, or None if it is another paragraph."""
    match = re.fullmatch(r"Blocks: (.+?)\. Thread safety: (.+?)\. Python: (.+?)\. Since ([0-9.]+)\.", text)
    return match and match.groups()


def item(comment, declaration):
    """One declaration with its comment, or None if it is not for direct use."""
    if "Not for direct use" in comment:
        return None
    declaration = " ".join(declaration.split()).replace("( ", "(").replace(" )", ")")
    found = Item(**identity(declaration), text=[], params=[])
    for paragraph in re.split(r"\n\s*\n", comment):
        paragraph = paragraph.strip("\n")
        for part in re.split(r"\n(?=\\|# )", paragraph):
            text = " ".join(part.split())
            if text.startswith("# Safety"):
                found.safety = text[len("# Safety"):].strip()
            elif text.startswith("\\param "):
                found.params.append(tuple(text.split(maxsplit=2)[1:]))
            elif text.startswith("\\return "):
                found.returns = text[len("\\return "):]
            elif tail(text):
                found.blocks, found.threads, found.python, found.since = tail(text)
            elif text.startswith(("\\", "# ", "Blocks:")):
                raise Malformed(f"{found.name}: cannot read: {text}")
            else:
                found.text.append(text)
    check(found)
    return found


def identity(declaration):
    """What kind of declaration it is, and of which name."""
    for kind, pattern in (("type", r"typedef (?:struct )?\w+ (?P<name>\w+);"),
                          ("callback", r"typedef .*\(\*(?P<name>\w+)\)\(.*\);"),
                          ("macro", r"#define (?P<name>\w+)\(\w+\).*"),
                          ("constant", r"#define (?P<name>\w+) (?P<value>.+)"),
                          ("function", r"[\w\s*]+?\b(?P<name>\w+)\(.*\);")):
        match = re.fullmatch(pattern, declaration)
        if match:
            return {"kind": kind, "declaration": declaration, **match.groupdict()}
    raise Malformed(f"cannot read this declaration: {declaration}")


def check(found):
    """Nothing that a reader asks for is missing."""
    def need(truth, what):
        if not truth:
            raise Malformed(f"{found.name}: {what}")

    need(found.text and found.summary.endswith("."), "its comment does not begin with a sentence")
    if found.kind in ("function", "macro"):
        need(found.since, 'no "Blocks: ... Thread safety: ... Python: ... Since ..."')
    if found.kind == "function":
        need(found.returns or found.result == "void", "no \\return")
    if found.kind in ("function", "callback"):
        names = re.findall(r"(\w+)(?=[,)])", found.declaration[found.declaration.rindex("("):])
        need([name for name, _ in found.params] == [name for name in names if name != "void"],
             f"its \\param are not {names}")


def section(comment):
    """A section without its items, from its comment."""
    lines = comment.split("\n")
    title = lines[2].strip()
    paragraphs, snippet = [], None
    for block in re.split(r"\n\n(?! )", "\n".join(lines[4:])):
        shows, indented, code = block.partition("\n    ")
        if indented:
            snippet = Snippet(shows.rstrip(":"), "\n".join(line[4:] for line in ("    " + code).split("\n")).rstrip())
            if not shows.endswith(":") or "\n" in shows:
                raise Malformed(f"{title}: a snippet without the line that says what it shows: {shows}")
            continue
        text = " ".join(block.split())
        first, rest = sentence(text)
        if rest and len(first.split()) <= 3:
            paragraphs.append(Paragraph(rest, first[:-1]))
        elif text:
            paragraphs.append(Paragraph(text))
    if snippet is None:
        raise Malformed(f"{title}: no snippet")
    page = GENERAL.get(title) or WITH.get(title) or f"threading_{title.lower()}"
    return Section(title, page, "", paragraphs, snippet, [])


def read(path):
    """The header as a Header."""
    source = pathlib.Path(path).read_text(encoding="utf-8")
    preamble = unwrap(re.match(r"/\*\n(.*?)\*/", source, re.S)[1].replace(" *", "").split("\n"))
    version = re.search(r'#define THREADING_VERSION "(.+)"', source)[1]
    introduction = itertools.takewhile(lambda text: not text.startswith("SPDX"), preamble[1:])
    header = Header(version, preamble[0].rstrip("."), list(introduction), [])
    begin = []  # what is declared before the first section
    for match in re.finditer(r"/\*(.*?)\*/\n?", source, re.S):
        comment = match[1]
        if comment.startswith("*"):
            text = "\n".join(re.sub(r"^ ?\* ?", "", line) for line in comment[1:].strip("\n").split("\n")).strip()
            declaration = source[match.end():].split("\n\n")[0]
            found = item(text, declaration.split("\n")[0] if declaration.startswith("#") else declaration)
            if found:
                (header.sections[-1].items if header.sections else begin).append(found)
        elif re.match(r"\n \* -{20,}\n", comment):
            header.sections.append(section("\n".join(re.sub(r"^ \* ?", "", line) for line in comment[1:].split("\n"))))
    settle(header, begin)
    return header


def settle(header, begin):
    """Gives each section the type that it is about, and its summary."""
    types = {found.name: found for found in header.items if found.kind == "type"}
    for one in header.sections:
        if one.page == "threading_version":
            one.items = begin + one.items
        one.type = types.get(one.page) if not one.general else None
        if one.type:
            one.summary = one.type.summary
        else:
            first = one.text.pop(0)
            one.summary = first.text
    # The opaque types are declared together, before the first section that needs one.
    first = header.sections[0]
    lists = [found for found in first.items if found.name == "threading_thread_list"]
    for one in header.sections:
        if one.type:
            one.items.insert(0, one.type)
        if one.page == "threading_module":
            one.items = lists + one.items
    first.items = [found for found in first.items if found.kind != "type"]
