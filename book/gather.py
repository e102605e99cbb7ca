"""Pages that show what chapters made: a table or a figure of an executed chapter, by its anchor.

In a page of Markdown, a line of its own

    {shown}`notebooks/confidence#confidence-summary`

becomes the table or figure that the chapter shows under that name, and a link to where it stands.
So no number of a chapter is typed on another page, and a page follows the profile of the book.
"""

import functools
import html
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat

MARK = re.compile(r"(?m)^\{shown\}`notebooks/(?P<chapter>\w+)#(?P<anchor>[\w-]+)`$")
# What a page shows under a name: the frame of a table, or a figure with its words.
TABLE = r'<div class="table-scroll"[^>]*><table class="sortable" id="{}">.*?</table></div>'
FIGURE = r'<figure class="chapter-figure" id="{}">.*?</figure>'


def outputs(notebook: nbformat.NotebookNode) -> Iterator[str]:
    """The HTML that the cells of an executed chapter show, in order."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            yield output.get("data", {}).get("text/html", "")


def part(notebook: nbformat.NotebookNode, anchor: str) -> str:
    """The markup of a table or a figure of an executed chapter, without its anchor; "": none."""
    for markup in outputs(notebook):
        for form in (TABLE, FIGURE):
            if found := re.search(form.format(re.escape(anchor)), markup, re.DOTALL):
                return found[0].replace(f' id="{anchor}"', "", 1)
    return ""


def title(notebook: nbformat.NotebookNode) -> str:
    """A chapter's title."""
    return notebook.cells[0].source.splitlines()[0].lstrip("# ")


def shown(text: str, chapters: Path, up: str = "") -> str:
    """A page's Markdown with what its marks name; ends the program where nothing has that name.

    chapters: the folder of executed chapters; up: from the page's place to the book's top.
    """

    @functools.cache  # a page shows several things of one chapter
    def read(path: Path) -> nbformat.NotebookNode | None:
        return nbformat.read(path, as_version=4) if path.is_file() else None

    def put(found: re.Match) -> str:
        name, anchor = found["chapter"], found["anchor"]
        notebook = read(chapters / f"{name}.ipynb")
        markup = part(notebook, anchor) if notebook else ""
        if not markup:
            raise SystemExit(
                f"A page shows {anchor!r} of {name}.ipynb, which has nothing so named."
            )
        place = f"{up}notebooks/{name}.html#{anchor}"
        said = f"From <em>{html.escape(title(notebook))}</em>"
        # One block for Markdown: a line without anything would end it.
        markup = re.sub(r"\n\s*\n", "\n", markup)
        return f'<div class="gathered">{markup}<p><a href="{place}">{said}</a></p></div>'

    return MARK.sub(put, text)


def marked(source: Path, mark: re.Pattern) -> Iterator[tuple[Path, str, str]]:
    """(path, text, way up to the book's top) of every page of a laid-out book that has the mark."""
    for path in sorted(source.rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        if mark.search(text):
            yield path, text, "../" * (len(path.relative_to(source).parts) - 1)


def put_in(source: Path) -> None:
    """Put into every page of a laid-out book what it shows of the chapters beside it."""
    for path, text, up in marked(source, MARK):
        path.write_text(shown(text, source / "notebooks", up), encoding="utf-8")
