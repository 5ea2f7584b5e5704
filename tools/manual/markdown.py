"""Converts the subset of Markdown that this project uses to HTML; any other markup is an error.

Blocks are headings, paragraphs, lists, tables and fenced code; inline markup is code, bold text, links and images.
"""

import html
import re

import highlight


class Unknown(Exception):
    """Markup that is not supported."""


class Document:
    """Renders one file. `url` returns the URL of a link, `link` the URL of a name in code or None."""

    def __init__(self, url, link):
        self.url = url
        self.link = link
        self.headings = []  # pairs: the title and its anchor

    @property
    def title(self):
        return self.headings[0][0]

    def render(self, text):
        blocks, lines = [], text.split("\n")
        while lines:
            if not lines[0].strip():
                lines.pop(0)
            elif lines[0].startswith("```"):
                blocks.append(self.fence(lines))
            elif lines[0].startswith("#"):
                blocks.append(self.heading(lines.pop(0)))
            elif lines[0].startswith("- "):
                blocks.append(self.items(lines, "- ", "ul"))
            elif re.match(r"\d+\. ", lines[0]):
                blocks.append(self.items(lines, r"\d+\. ", "ol"))
            elif lines[0].startswith("|"):
                blocks.append(self.table(lines))
            elif re.match(r"\* |> | {4}|<", lines[0]):
                raise Unknown(lines[0])
            else:
                blocks.append(f"<p>{self.inline(' '.join(take(lines, stop=r'```|#|- |[|]')))}</p>")
        return "\n".join(blocks)

    def fence(self, lines):
        language = lines.pop(0)[3:].strip() or "text"
        end = lines.index("```")
        body = "\n".join(lines[:end])
        del lines[:end + 1]
        return highlight.listing(highlight.code(body, language, self.link))

    def heading(self, line):
        marks, title = line.split(" ", 1)
        self.headings.append((title, slug(title)))
        return f'<h{len(marks)} id="{slug(title)}">{self.inline(title)}</h{len(marks)}>'

    def items(self, lines, mark, tag):
        found = []
        while lines and re.match(mark, lines[0]):
            text = re.sub(mark, "", " ".join(take(lines, stop=rf"{mark}| +(- |\d+\. )")), count=1)
            if lines and re.match(r" +(- |\d+\. )", lines[0]):
                raise Unknown(f"a list in a list: {lines[0]}")
            found.append(f"<li>{self.inline(text)}</li>")
        return f"<{tag}>{''.join(found)}</{tag}>"

    def table(self, lines):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in take(lines, stop="(?![|])")]
        if len({len(row) for row in rows}) != 1:
            raise Unknown(f"a table with rows of different length: {rows[0]}")

        def row(cells, tag):
            return "<tr>" + "".join(f"<{tag}>{self.inline(cell)}</{tag}>" for cell in cells) + "</tr>"

        head = f"<thead>{row(rows[0], 'th')}</thead>"
        body = "".join(row(cells, "td") for cells in rows[2:])
        return f'<div class="table"><table>{head}<tbody>{body}</tbody></table></div>'

    def inline(self, text):
        parts = re.split(r"(`[^`]+`|!?\[[^\]]*\]\([^)]*\)|\*\*[^*]+\*\*)", text)
        for at, part in enumerate(parts):
            if at % 2 == 0:
                parts[at] = html.escape(part, quote=False)
            elif part.startswith("`"):
                parts[at] = f"<code>{highlight.code(part[1:-1], 'c', self.link)}</code>"
            elif part.startswith("**"):
                parts[at] = f"<strong>{self.inline(part[2:-2])}</strong>"
            else:
                picture, shown, target = re.fullmatch(r"(!?)\[([^\]]*)\]\(([^)]*)\)", part).groups()
                url = self.url(target)
                if picture:
                    parts[at] = f'<img src="{html.escape(url)}" alt="{html.escape(shown)}">'
                else:
                    parts[at] = f'<a href="{html.escape(url)}">{self.inline(shown)}</a>'
        return "".join(parts)


def take(lines, stop):
    """Removes and returns the first line and the following ones up to an empty line or one that matches `stop`."""
    taken = [lines.pop(0)]
    while lines and lines[0].strip() and not re.match(stop, lines[0]):
        taken.append(lines.pop(0).strip())
    return taken


def slug(title):
    """The anchor of a heading, as GitHub forms it."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
