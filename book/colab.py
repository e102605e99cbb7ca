"""The notebooks as they are opened on Colab, or anywhere that knows no MyST: plain Markdown.

The book's roles and boxes become what every notebook shows: a glued number is the number of the
published run, a citation its authors and year, a folded solution a `details` element.
"""

import ast
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import nbformat

RECORD = "application/papermill.record/text/plain"  # how myst-nb keeps a glued text
OPENING = re.compile(r"(?P<ticks>`{3,})\{(?P<kind>[\w-]+)\} ?(?P<title>.*)")
GLUED = re.compile(r"\{glue:text\}`([^`]+)`")
CITED = re.compile(r"\{cite:(?P<form>[pt])\}`(?P<keys>[^`]+)`")
LINK = re.compile(r"(?<!!)\[(?P<words>[^\]]+)\]\((?P<place>(?!https?:|#|mailto:)[^)\s]+)\)")
DOC = re.compile(r"\{doc\}`(?P<words>[^`<]+?) ?<(?P<place>[^>`]+)>`")
ABOUT = (
    "*The numbers in the text are those of the published run. Run all cells to make your own: they "
    "stand in the tables and figures, and under the cells as `name: value`.*"
)


class Work(NamedTuple):
    """A reference: who wrote it, for a citation, and the line of a list."""

    who: str
    year: str
    line: str


def plain(
    notebook: nbformat.NotebookNode, works: Mapping[str, Work], page: Callable[[str], str]
) -> nbformat.NotebookNode:
    """An executed chapter as a notebook to run: without outputs, its prose in plain Markdown.

    works: {key: reference}; page: the address of another page of the book, by its place from the
    chapter's; empty where it has none. Raises KeyError for a name that no cell glued.
    """
    numbers, cells = glued(notebook), []
    cited = {key for cell in notebook.cells for key in _keys(cell.source)}
    listed = "\n".join(sorted(f"- {works[key].line}" for key in cited))
    for cell in notebook.cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            continue  # of the run that made the book: the cell above has the reader's
        if cell.cell_type == "code":
            new = nbformat.v4.new_code_cell(cell.source, metadata=cell.metadata, id=cell.id)
        else:
            text = prose(cell.source, numbers, works, page).replace("{bibliography}", listed)
            new = nbformat.v4.new_markdown_cell(text, metadata=cell.metadata, id=cell.id)
        cells.append(new)
    cells.insert(1, nbformat.v4.new_markdown_cell(ABOUT, id="about-the-numbers"))
    return nbformat.v4.new_notebook(cells=cells, metadata=notebook.metadata)


def glued(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """{name: text} of what the cells of an executed chapter glued."""
    found = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            name = output.get("metadata", {}).get("scrapbook", {}).get("name")
            if name and RECORD in output.get("data", {}):
                found[name] = str(ast.literal_eval(output["data"][RECORD]))
    return found


def prose(
    text: str, numbers: Mapping[str, str], works: Mapping[str, Work], page: Callable[[str], str]
) -> str:
    """A cell's MyST as Markdown; a list of references is left as `{bibliography}`."""
    text = boxes(text)
    text = GLUED.sub(lambda found: numbers[found[1]], text)
    text = CITED.sub(lambda found: _citation(found, works), text)

    def link(found: re.Match) -> str:
        place = page(found["place"])
        return f"[{found['words']}]({place})" if place else found["words"]

    return LINK.sub(link, DOC.sub(link, text))


def boxes(text: str) -> str:
    """Boxes as quotations, or folded where the book folds them; other fences as they are."""
    lines, source, at = [], text.splitlines(), 0
    while at < len(source):
        opening = OPENING.fullmatch(source[at].rstrip())
        if not opening:
            lines.append(source[at])
            at += 1
            continue
        end = source.index(opening["ticks"], at + 1)
        body, folded = source[at + 1 : end], False
        while body and body[0].startswith(":"):
            folded |= "dropdown" in body.pop(0)
        lines += _box(opening["kind"], opening["title"], "\n".join(body).strip(), folded)
        at = end + 1
    return "\n".join(lines)


def _box(kind: str, title: str, body: str, folded: bool) -> list[str]:
    if kind == "bibliography":
        return ["{bibliography}"]
    if kind != "admonition":
        raise ValueError(f"a box of a kind that is not known here: {kind}")
    body = boxes(body)
    if folded:
        return [f"<details><summary><b>{title}</b></summary>", "", body, "", "</details>"]
    quoted = [f"> {line}".rstrip() for line in body.splitlines()]
    return [f"> **{title}**", ">", *quoted]


def _keys(text: str) -> list[str]:
    return [key.strip() for found in CITED.finditer(text) for key in found["keys"].split(",")]


def _citation(found: re.Match, works: Mapping[str, Work]) -> str:
    cited = [works[key.strip()] for key in found["keys"].split(",")]
    if found["form"] == "t":
        return ", ".join(f"{one.who} ({one.year})" for one in cited)
    return f"({'; '.join(f'{one.who}, {one.year}' for one in cited)})"


def read_works(bibliography: Path) -> dict[str, Work]:
    """{key: reference} of a BibTeX file."""
    from pybtex.database import parse_file
    from pybtex.richtext import Text

    found = {}
    for key, entry in parse_file(str(bibliography)).entries.items():
        fields = {name: str(Text.from_latex(value)) for name, value in entry.fields.items()}
        people = entry.persons.get("author") or entry.persons.get("editor") or []
        last = [
            str(Text.from_latex(" ".join(one.prelast_names + one.last_names))) for one in people
        ]
        who = last[0] if last else fields.get("title", key)
        if len(last) == 2 and last[1] != "others":
            who = f"{last[0]} and {last[1]}"
        elif len(last) >= 2:
            who = f"{last[0]} et al."
        names = ", ".join("et al." if name == "others" else name for name in last)
        where = fields.get("booktitle") or fields.get("journal") or fields.get("howpublished", "")
        year = fields.get("year", "")
        parts = [f"{names} ({year})" if names else year, fields.get("title", ""), where]
        found[key] = Work(who, year, ". ".join(part for part in parts if part) + ".")
    return found
