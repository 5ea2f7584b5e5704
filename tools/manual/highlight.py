"""Syntax highlighting: converts code to HTML with markup for comments, strings, keywords and numbers."""

import html
import re

C = {
    "comment": r"/\*.*?\*/|//[^\n]*",
    "string": r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|(?<=#include )<[^>\n]+>',
    "directive": r"^[ \t]*#[ \t]*\w+",
    "number": r"\b0x[0-9a-fA-F]+\w*|\b\d[\d.]*(?:[eE][+-]?\d+)?\w*",
    "word": r"\w+",
}
C_KEYWORDS = """auto bool break case char const continue default do double else enum extern false float for goto if
inline int int32_t int64_t intptr_t long NULL return short signed size_t sizeof static struct switch true typedef
uint32_t uint64_t union unsigned void volatile while _Generic _Thread_local""".split()
CPP_KEYWORDS = C_KEYWORDS + """class constexpr delete explicit final friend namespace new noexcept nullptr operator
override private protected public template this throw try catch typename using virtual enum auto""".split()
PYTHON = {
    "comment": r"#[^\n]*",
    "string": r'[fr]?"""(?:.|\n)*?"""|[fr]?"(?:\\.|[^"\\\n])*"|[fr]?\'(?:\\.|[^\'\\\n])*\'',
    "number": r"\b\d[\d.]*\b",
    "word": r"\w+",
}
PYTHON_KEYWORDS = """and as assert break class continue def del elif else except False finally for from global if import
in is lambda None nonlocal not or pass raise return True try while with yield""".split()
# A single quote may begin a lifetime, so character literals are not highlighted.
RUST = {
    "comment": r"//[^\n]*|/\*.*?\*/",
    "string": r'\b[bc]?"(?:\\.|[^"\\])*"|"(?:\\.|[^"\\])*"',
    "number": r"\b\d[\d._]*\w*",
    "word": r"\w+",
}
RUST_KEYWORDS = """as break const continue else enum extern false fn for if impl in let loop match mod move mut pub ref
return self Self static struct trait true type unsafe use where while""".split()
SHELL = {"comment": r"(?<!\S)#[^\n]*", "string": r'"(?:\\.|[^"\\])*"|\'[^\']*\'', "word": r"[\w./-]+"}

LANGUAGES = {
    "c": (C, C_KEYWORDS),
    "cpp": (C, CPP_KEYWORDS),
    "python": (PYTHON, PYTHON_KEYWORDS),
    "rust": (RUST, RUST_KEYWORDS),
    "sh": (SHELL, []),
    "cmake": (SHELL, []),
    "text": ({}, []),
}


def code(source, language, link=lambda name: None):
    """Converts code to HTML. `link` returns the URL of the documentation of a name, or None."""
    patterns, keywords = LANGUAGES[language]
    if not patterns:
        return html.escape(source, quote=False)
    scanner = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in patterns.items()), re.M | re.S)
    found, at = [], 0
    for match in scanner.finditer(source):
        found.append(html.escape(source[at:match.start()], quote=False))
        found.append(token(match.lastgroup, match[0], keywords, link))
        at = match.end()
    return "".join(found) + html.escape(source[at:], quote=False)


def token(kind, text, keywords, link):
    shown = html.escape(text, quote=False)
    if kind == "word":
        target = link(text)
        if target:
            return f'<a href="{target}">{shown}</a>'
        return f'<b>{shown}</b>' if text in keywords else shown
    # No element spans lines, so that the result can be split into lines.
    return "\n".join(f'<span class="{kind}">{line}</span>' if line else "" for line in shown.split("\n"))


def listing(highlighted):
    """A block of code."""
    return f'<pre class="code"><code>{highlighted}</code></pre>'


def lines(source, language, link=lambda name: None):
    """Converts code line by line. Long lines wrap, with an additional indentation."""
    shown = []
    for plain, highlighted in zip(source.split("\n"), code(source, language, link).split("\n")):
        indent = len(plain) - len(plain.lstrip())
        shown.append(f'<span class="line" style="--in:{indent}">{highlighted or " "}\n</span>')
    return "".join(shown)
