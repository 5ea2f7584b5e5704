"""Parses the documentation in threading.hpp, the C++ header, for its page in the reference.

The comments have the form of those in threading.h, with an additional `\\throws`. The comment of a class applies to
the class, and the comments that follow it at a greater indentation belong to its members.
"""

import dataclasses
import html
import re

import header as headers
import highlight
import markdown

TAGS = {"throws": "Throws", "blocks": "Blocks", "threadsafety": "Thread safety", "python": "Python", "since": "Since",
        "sa": "See also"}


@dataclasses.dataclass
class Entity:
    """A class, a function or another declaration that has a comment."""

    name: str
    anchor: str
    declaration: str
    texts: list
    params: list
    returns: str
    facts: list  # of pairs: label, text
    owner: str  # the class of a member
    base: str  # the base class
    values: list  # of pairs: the names and texts of enumerators


@dataclasses.dataclass
class Heading:
    title: str


class Cpp:
    def __init__(self, introduction, parts):
        self.introduction = introduction
        self.parts = parts

    def index(self):
        """The entries of the search index, as triples of name, anchor and summary."""
        return [(f"{part.owner}::{part.name}" if part.owner else part.name, part.anchor,
                 headers.sentence(part.texts[0])[0] if part.texts else "")
                for part in self.parts if isinstance(part, Entity)]

    def body(self, site):
        """The content of the page."""
        shown = ["<h1>C++</h1>", f'<p class="lead">{site.prose(self.introduction[0])}</p>']
        for block in self.introduction[1:]:
            shown.append(highlight.listing(highlight.code(block, "cpp", site.link)) if "\n" in block
                         else f"<p>{site.prose(block)}</p>")
        for part in self.parts:
            if isinstance(part, Heading):
                shown.append(f'<h2 id="{markdown.slug(part.title)}">{part.title}</h2>')
            else:
                shown.append(entity(part, site))
        return "\n".join(shown)


def entity(part, site):
    kind = "function member" if part.owner else "function"
    declaration = highlight.code(laid_out(part.declaration), "cpp", site.link)
    shown = [f'<section class="{kind}" id="{part.anchor}">',
             f'<h3><a href="#{part.anchor}">{html.escape(part.name)}</a></h3>',
             f'<pre class="prototype"><code>{declaration}</code></pre>']
    shown += [f"<p>{site.prose(text)}</p>" for text in part.texts]
    if part.base:
        shown.append(f'<p>It has all members of <a href="#{part.base}"><code>{part.base}</code></a>.</p>')
    rows = [f"<dt><code>{name}</code></dt><dd>{site.prose(text)}</dd>" for name, text in part.params + part.values]
    if rows:
        shown.append(f'<h4>{"Values" if part.values else "Parameters"}</h4><dl class="params">{"".join(rows)}</dl>')
    if part.returns:
        shown.append(f"<h4>Returns</h4><p>{site.prose(part.returns)}</p>")
    if part.facts:
        shown.append('<dl class="facts">' + "".join(f"<div><dt>{label}</dt><dd>{site.prose(text)}</dd></div>"
                                                    for label, text in part.facts) + "</dl>")
    return "\n".join(shown) + "</section>"


def read(path):
    """Parses the header."""
    source = path.read_text(encoding="utf-8")
    comments = list(re.finditer(r"^( *)/\*(.*?)\*/\n?", source, re.M | re.S))
    introduction = [block for block in blocks(plain(comments[0][2])) if not block.startswith("SPDX")]
    parts, used, owner = [], {}, ""
    for comment in comments[1:]:
        if comment[2].startswith("*"):
            part = read_entity(comment, source, owner)
            owner = part.owner or part.name
            used[part.anchor] = used.get(part.anchor, 0) + 1
            if used[part.anchor] > 1:
                part.anchor += f"-{used[part.anchor]}"
            parts.append(part)
        elif re.match(r"\n *\* -{20,}\n", comment[2]):
            title = blocks(plain(comment[2]))[1]
            parts.append(Heading(title))
    return Cpp(introduction, parts)


def plain(comment):
    """The text of a comment."""
    return re.sub(r"(?m)^ *\* ?", "", comment).strip("\n ")


def blocks(text):
    """The blocks of a text: each paragraph as one line, and code unchanged."""
    found = []
    for block in re.split(r"\n\s*\n(?! {4})", text):
        text, indented, code = block.partition("\n\n    ")
        found.append(" ".join(text.split()) if not text.startswith("    ") else dedent(text))
        if indented:
            found.append(dedent("    " + code))
    return found


def dedent(code):
    return "\n".join(line[4:] for line in code.split("\n")) + "\n"


def read_entity(comment, source, owner):
    declaration, base, body = parse_declaration(source, comment.end())
    owner = owner if comment[1] else ""
    name = name_of(declaration)
    texts, params, returns, facts = [], [], "", []
    for paragraph in re.split(r"\n\s*\n|\n(?=\\)", plain(comment[2][1:])):
        text = " ".join(paragraph.split())
        if text.startswith("\\param "):
            params.append(tuple(text.split(maxsplit=2)[1:]))
        elif text.startswith("\\return "):
            returns = text[len("\\return "):]
        elif text.startswith("\\"):
            tag, _, description = text[1:].partition(" ")
            if tag not in TAGS:
                raise headers.Malformed(f"{name}: unexpected tag: {text}")
            facts.append((TAGS[tag], description))
        elif re.match(rf"({'|'.join(TAGS.values())}): ", text):
            split = re.split(rf"(?:^|(?<=\. ))({'|'.join(TAGS.values())}): ", text)
            facts = [(label, description.strip().rstrip(".")) for label, description in zip(split[1::2], split[2::2])]
        elif text:
            texts.append(text)
    values = []
    if "enum" in declaration:
        values = [(value, " ".join(description.split())) for value, description in
                  re.findall(r"(\w+)(?: = [^,/]*)?,? /\*\*< (.*?) \*/", body, re.S)]
    anchor = re.sub(r"\W+", "-", f"{owner}-{name}").strip("-")
    return Entity(name, anchor, declaration, texts, params, returns, facts, owner, base, values)


def parse_declaration(source, begin):
    """The declaration that begins here, without its body, bases and initializers; its base; and its body."""
    depth, at = 0, begin
    while source[at] not in "{;" or depth:
        depth += source[at] in "("
        depth -= source[at] in ")"
        at += 1
    text = " ".join(source[begin:at].split())
    base = re.search(r" : public (?:detail::)?(\w+)(?!\w*::)", text)
    text = re.split(r"(?<=[\w)>]) : (?!int\b)", text)[0]
    return text, base[1] if base else "", source[at:source.find("\n};", at)]


def pieces(declaration, separator, opening="(<", closing=")>"):
    """Splits a declaration at separators outside of brackets."""
    depth, found = 0, [""]
    for at, letter in enumerate(declaration):
        depth += (letter in opening) - (letter in closing and declaration[at - 1:at] != "-")
        found[-1] += letter
        if letter == separator and depth == 0:
            found.append("")
    return [part.strip() for part in found if part.strip()]


def without_template(declaration):
    """Splits a declaration into the parameters of its template, if it is one, and the rest."""
    if not declaration.startswith("template"):
        return "", declaration
    parameters = pieces(declaration[len("template"):], ">")[0]
    return f"template {parameters}", declaration[len("template") + 1 + len(parameters):].strip()


def laid_out(declaration, width=88):
    """Wraps a declaration to a readable width."""
    template, rest = without_template(declaration)
    if len(rest) > width and ")" in rest:
        begin, end = rest.index("("), rest.rindex(")")
        rest = rest[:begin + 1] + "\n    " + "\n    ".join(pieces(rest[begin + 1:end], ",")) + rest[end:]
    if len(template) > width:
        begin = template.index("<")
        template = template[:begin + 1] + "\n    " + "\n    ".join(pieces(template[begin + 1:-1], ",")) + ">"
    return f"{template}\n{rest}" if template else rest


def name_of(declaration):
    """The name that a declaration introduces."""
    rest = without_template(declaration)[1]
    match = (re.match(r"(?:enum )?(?:class|struct) ([\w:]+)", rest) or re.match(r"using (\w+)", rest)
             or re.search(r"(operator ?[^\s(]+|~?\w+)\(", rest) or re.search(r"(\w+)(?: =.*)?$", rest))
    return match[1] if match else rest
