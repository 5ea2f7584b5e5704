"""Parses the documentation in threading.h: its sections, their declarations and comments.

Comments have the form that is used in src/capi/. Any other form is an error, so that no text is lost in the manual
pages or the reference:

- A section begins with a comment whose first line is a rule. The comment contains a title, a sentence that summarizes
  the section, and paragraphs. A first sentence of up to three words is the heading of its paragraph. Indented lines
  are a code snippet, and the line before them, which ends with a colon, is its caption.
- Each declaration has a comment. That of a function consists of a first sentence, paragraphs, and one of each of the
  tags `\\param` (one for each parameter), `\\return`, `\\blocks`, `\\threadsafety`, `\\python`, `\\since` and
  `\\sa`, in this order. A function that returns nothing has no `\\return`. `\\sa` lists names, separated by commas.
"""

import dataclasses
import itertools
import pathlib
import re
import sys

# The sections that do not describe an object type, and the names of their pages. The overview includes their text.
GENERAL = {
    "Handles and callbacks": "threading_callbacks",
    "Status and errors": "threading_status",
    "Time, memory order, version": "threading_version",
    "Module functions": "threading_module",
}
WITH = {"With": "THREADING_WITH"}
# The tags of each kind of declaration, in the order in which they appear.
TAGS = {
    "function": ("param", "return", "blocks", "threadsafety", "python", "since", "sa"),
    "macro": ("param", "return", "blocks", "threadsafety", "python", "since", "sa"),
    "callback": ("param", "return", "since", "sa"),
    "type": ("python", "since", "sa"),
    "constant": (),
}


def expect_arguments(usage, count):
    """Exits with the usage if help was requested or the number of arguments is wrong."""
    arguments = sys.argv[1:]
    if "-h" in arguments or "--help" in arguments:
        print(usage.strip())
        sys.exit(0)
    if len(arguments) != count or any(argument.startswith("-") for argument in arguments):
        print(usage.strip(), file=sys.stderr)
        sys.exit(2)


class Malformed(Exception):
    """The header contains documentation in an unknown form."""


@dataclasses.dataclass
class Paragraph:
    text: str
    heading: str = ""


@dataclasses.dataclass
class Snippet:
    caption: str
    code: str


@dataclasses.dataclass
class Item:
    """A declaration with its documentation."""

    kind: str  # function, callback, macro, constant or type
    name: str
    declaration: str
    text: list  # of str, the paragraphs
    params: list  # of pairs: name, text
    returns: str = ""
    blocks: str = ""
    threads: str = ""
    python: str = ""
    since: str = ""
    see: list = dataclasses.field(default_factory=list)  # of names
    value: str = ""  # of a constant

    @property
    def summary(self):
        """The first sentence."""
        return sentence(self.text[0])[0]

    @property
    def result(self):
        """The return type of a function."""
        return self.declaration[:self.declaration.index(self.name)].strip()

    @property
    def parameters(self):
        """The parameters of a function, as pairs of type and name."""
        inside = self.declaration[self.declaration.index("(", self.declaration.index(self.name)) + 1:-2]
        return [("void", "")] if inside == "void" else [re.fullmatch(r"(.*?)(\w+)", part.strip()).groups()
                                                        for part in inside.split(",")]

    @property
    def documented_params(self):
        """The parameters whose text is more than their name."""
        return [(name, text) for name, text in self.params if not re.fullmatch(r"the \w+", text)]

    @property
    def texts(self):
        """All texts of the documentation."""
        return [*self.text, *(text for _, text in self.params), self.returns, self.blocks]

    @property
    def blocking(self):
        """A sentence about blocking, or an empty string if the function never blocks."""
        return "" if self.blocks in ("", "never") else f"Blocks {self.blocks}."


@dataclasses.dataclass
class Section:
    title: str
    page: str
    summary: str
    text: list  # of Paragraph
    snippet: Snippet
    items: list
    type: Item = None  # the type that the section describes

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
        """The section whose page documents this name, or None."""
        for section in self.sections:
            if name == section.page or any(name == item.name for item in section.items):
                return section
        return None


def unwrap(lines):
    """The paragraphs of a text, each as one line."""
    return [" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", "\n".join(lines)) if paragraph.strip()]


def sentence(text):
    """Splits a text into its first sentence and the rest."""
    match = re.match(r"(.+?[.?!])(?:\s+(?=[A-Z(`_])|$)(.*)", text)
    return (match[1], match[2]) if match else (text, "")


def parse_item(comment, declaration):
    """The item for a declaration and its comment, or None if it is not for direct use."""
    if "Not for direct use" in comment:
        return None
    declaration = " ".join(declaration.split()).replace("( ", "(").replace(" )", ")")
    found = Item(**parse_declaration(declaration), text=[], params=[])
    tags = []
    for paragraph in re.split(r"\n\s*\n|\n(?=\\)", comment):
        text = " ".join(paragraph.split())
        if not text.startswith("\\"):
            if tags:
                raise Malformed(f"{found.name}: text after the tags: {text}")
            found.text.append(text)
            continue
        tag, _, value = text[1:].partition(" ")
        if tag not in TAGS[found.kind] or (tag in tags and tag != "param"):
            raise Malformed(f"{found.name}: unexpected tag: {text}")
        tags.append(tag)
        if tag == "param":
            found.params.append(tuple(value.split(maxsplit=1)))
        elif tag == "sa":
            found.see = value.split(", ")
        else:
            setattr(found, {"return": "returns", "threadsafety": "threads"}.get(tag, tag), value)
    check_item(found, tags)
    return found


def parse_declaration(declaration):
    """The kind and the name of a declaration, as arguments for Item."""
    for kind, pattern in (("type", r"typedef (?:struct )?\w+ (?P<name>\w+);"),
                          ("callback", r"typedef .*\(\*(?P<name>\w+)\)\(.*\);"),
                          ("macro", r"#define (?P<name>\w+)\(\w+\).*"),
                          ("constant", r"#define (?P<name>\w+) (?P<value>.+)"),
                          ("function", r"[\w\s*]+?\b(?P<name>\w+)\(.*\);")):
        match = re.fullmatch(pattern, declaration)
        if match:
            return {"kind": kind, "declaration": declaration, **match.groupdict()}
    raise Malformed(f"cannot parse this declaration: {declaration}")


def check_item(found, tags):
    """Checks that the documentation of an item is complete."""
    def need(truth, what):
        if not truth:
            raise Malformed(f"{found.name}: {what}")

    need(found.text and found.summary.endswith("."), "the comment does not begin with a sentence")
    need(tags == sorted(tags, key=TAGS[found.kind].index), f"wrong order of tags: {tags}")
    if found.kind in ("function", "macro"):
        for tag in ("blocks", "threadsafety", "python", "since", "sa"):
            need(tag in tags, f"no \\{tag}")
        need(re.match(r"never$|(until|while|only while|for) ", found.blocks), f"not a form of \\blocks: {found.blocks}")
    if found.kind == "function":
        need(found.returns or found.result == "void", "no \\return")
    if found.kind in ("function", "callback"):
        names = re.findall(r"(\w+)(?=[,)])", found.declaration[found.declaration.rindex("("):])
        need([name for name, _ in found.params] == [name for name in names if name != "void"],
             f"\\param does not match the parameters {names}")


def parse_section(comment):
    """The section for a comment, without its items."""
    lines = comment.split("\n")
    title = lines[2].strip()
    paragraphs, snippet = [], None
    for block in re.split(r"\n\n(?! )", "\n".join(lines[4:])):
        caption, indented, code = block.partition("\n    ")
        if indented:
            snippet = Snippet(caption.rstrip(":"), "\n".join(line[4:] for line in ("    " + code).split("\n")).rstrip())
            if not caption.endswith(":") or "\n" in caption:
                raise Malformed(f"{title}: a snippet without a caption: {caption}")
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
    """Parses the header."""
    source = pathlib.Path(path).read_text(encoding="utf-8")
    preamble = unwrap(re.match(r"/\*\n(.*?)\*/", source, re.S)[1].replace(" *", "").split("\n"))
    version = re.search(r'#define THREADING_VERSION "(.+)"', source)[1]
    introduction = itertools.takewhile(lambda text: not text.startswith("SPDX"), preamble[1:])
    header = Header(version, preamble[0].rstrip("."), list(introduction), [])
    leading = []  # the items before the first section
    for match in re.finditer(r"/\*(.*?)\*/\n?", source, re.S):
        comment = match[1]
        if comment.startswith("*"):
            text = "\n".join(re.sub(r"^ ?\* ?", "", line) for line in comment[1:].strip("\n").split("\n")).strip()
            declaration = source[match.end():].split("\n\n")[0]
            found = parse_item(text, declaration.split("\n")[0] if declaration.startswith("#") else declaration)
            if found:
                (header.sections[-1].items if header.sections else leading).append(found)
        elif re.match(r"\n \* -{20,}\n", comment):
            text = "\n".join(re.sub(r"^ \* ?", "", line) for line in comment[1:].split("\n"))
            header.sections.append(parse_section(text))
    complete_sections(header, leading)
    return header


def complete_sections(header, leading):
    """Sets the type and the summary of each section, and checks the links."""
    types = {found.name: found for found in header.items if found.kind == "type"}
    for section in header.sections:
        if section.page == "threading_version":
            section.items = leading + section.items
        section.type = types.get(section.page) if not section.general else None
        if section.type:
            section.summary = section.type.summary
        else:
            first = section.text.pop(0)
            section.summary = first.text
    # The opaque types are declared together in the first section. Move each to its own section.
    first = header.sections[0]
    lists = [found for found in first.items if found.name == "threading_thread_list"]
    for section in header.sections:
        if section.type:
            section.items.insert(0, section.type)
        if section.page == "threading_module":
            section.items = lists + section.items
    first.items = [found for found in first.items if found.kind != "type"]
    names = {found.name for found in header.items}
    for found in header.items:
        wrong = [name for name in found.see if name not in names or name == found.name]
        if wrong:
            raise Malformed(f"{found.name}: wrong names in \\sa: {', '.join(wrong)}")
