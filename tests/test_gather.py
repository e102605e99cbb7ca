"""Pages that show tables and figures of chapters: what they name is there, and is taken whole."""

import re
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "book"))
import gather  # noqa: E402

from ethical_compression import chapters  # noqa: E402

PAGES = sorted((ROOT / "book").rglob("*.md"))


@pytest.fixture
def executed(tmp_path):
    """A folder of executed chapters: one, with a table and a figure that have names."""
    rows = pd.DataFrame({"Model": ["full", "3-bit"], "p": [0.5, 0.04]})
    table = chapters.table_html(rows, "A table.", name="demo-table")
    other = chapters.table_html(rows, "Another.", name="demo-other")
    figure = '<figure class="chapter-figure" id="demo-figure"><img alt="a">\n\n<p>b</p></figure>'
    cells = [nbformat.v4.new_markdown_cell("# A & B\n\nWords.")]
    for markup in (other, table, figure):
        output = nbformat.v4.new_output("display_data", {"text/html": markup})
        cells.append(nbformat.v4.new_code_cell("x", outputs=[output]))
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "demo.ipynb")
    return tmp_path


def test_a_page_shows_the_table_that_it_names_and_links_to_it(executed):
    page = gather.shown("Before.\n\n{shown}`notebooks/demo#demo-table`\n\nAfter.", executed)
    assert page.startswith("Before.\n\n<div") and page.endswith("</div>\n\nAfter.")
    assert page.count("<table") == 1 and "A table." in page and "Another." not in page
    assert 'id="demo-table"' not in page, "two places would have one anchor"
    assert '<a href="notebooks/demo.html#demo-table">From <em>A &amp; B</em></a>' in page


def test_a_figure_is_one_block_of_markdown(executed):
    page = gather.shown("{shown}`notebooks/demo#demo-figure`", executed, "../")
    assert "<figure" in page and not re.search(r"\n\s*\n", page)
    assert 'href="../notebooks/demo.html#demo-figure"' in page


@pytest.mark.parametrize("named", ["demo#nowhere", "nobody#demo-table"])
def test_what_is_nowhere_stops_the_build(executed, named):
    with pytest.raises(SystemExit, match="nothing so named"):
        gather.shown(f"{{shown}}`notebooks/{named}`", executed)


def anchors(chapter: str) -> set[str]:
    """What can be linked to in a chapter: names of its tables and figures, and its headings."""
    cells = nbformat.read(ROOT / "notebooks" / f"{chapter}.ipynb", as_version=4).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    heads = re.findall(
        r"(?m)^#+ (.+)$", "\n".join(c.source for c in cells if c.cell_type == "markdown")
    )
    slugs = {re.sub(r"[^a-z0-9]+", "-", head.lower()).strip("-") for head in heads}
    return set(re.findall(r'"([a-z]\w*(?:-\w+)+)"', code)) | slugs


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_what_a_page_shows_or_links_to_has_that_name_in_its_chapter(path):
    text = path.read_text(encoding="utf-8")
    named = [(found["chapter"], found["anchor"]) for found in gather.MARK.finditer(text)]
    named += re.findall(r'href="(?:\.\./)*notebooks/(\w+)\.html#([\w-]+)"', text)
    assert text.count("{shown}") == len(gather.MARK.findall(text)), "a mark is not a line by itself"
    for chapter, anchor in named:
        assert anchor in anchors(chapter), f"{chapter} has nothing named {anchor}"


def test_the_page_of_papers_shows_every_published_table_that_a_chapter_reads():
    """A study whose table enters a chapter stands on the page that gathers them."""
    text = (ROOT / "book" / "paper-code-book.md").read_text(encoding="utf-8")
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
        if "kept_tables.published(" in code:
            assert f"notebooks/{path.stem}" in text, f"{path.stem} is not on the page"
