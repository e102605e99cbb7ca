"""What is opened on Colab: plain Markdown, the published numbers, and cells that run."""

import re
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "book"))
import build  # noqa: E402
import colab  # noqa: E402

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
WORKS = colab.read_works(ROOT / "book" / "references.bib")


def executed(path: Path) -> nbformat.NotebookNode:
    """A chapter as if it had run: each glued name has a value."""
    notebook = nbformat.read(path, as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells)
    outputs = [
        nbformat.v4.new_output(
            "display_data",
            {colab.RECORD: repr(f"⟨{name}⟩")},
            metadata={"scrapbook": {"name": name, "mime_prefix": "application/papermill.record/"}},
        )
        for name in sorted(set(colab.GLUED.findall(text)))
    ]
    notebook.cells[-1].outputs = outputs
    injected = nbformat.v4.new_code_cell("seed = 7", metadata={"tags": ["injected-parameters"]})
    notebook.cells.insert(3, injected)
    return notebook


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_chapter_reads_as_plain_markdown_and_keeps_its_code(path):
    made = colab.plain(executed(path), WORKS, lambda place: f"https://example.org/{place}")
    nbformat.validate(made)
    prose = "\n".join(cell.source for cell in made.cells if cell.cell_type == "markdown")
    assert not re.search(r"\{[a-z:]+\}`|`{3,}\{|^:class:|\{bibliography\}", prose, re.MULTILINE)
    assert "⟨" in prose and "**What was found.** ⟨" in prose
    assert prose.count("<details>") == prose.count("</details>") >= 1, "no folded solution"
    for place in re.findall(r"\]\(([^)]*)\)", prose):
        assert place.startswith(("http", "#")), place
    before = nbformat.read(path, as_version=4)
    code = [cell for cell in made.cells if cell.cell_type == "code"]
    assert [cell.source for cell in code] == [
        cell.source for cell in before.cells if cell.cell_type == "code"
    ]
    assert all(not cell.outputs for cell in code)


def test_boxes_citations_and_links_are_what_any_notebook_shows():
    text = (
        "See {cite:t}`xu2024beyond` {cite:p}`xu2024beyond, proskurina2024when`, "
        "[there](how_sure).\n\n"
        "````{admonition} Solution\n:class: dropdown\n\n"
        "A {glue:text}`a`.\n\n```bash\nls\n```\n````\n\n"
        "```{admonition} At a glance\n:class: tip\n\none\n\ntwo\n```"
    )
    made = colab.prose(text, {"a": "−3"}, WORKS, lambda place: "")
    assert made.splitlines()[0] == (
        "See Xu et al. (2024) (Xu et al., 2024; Proskurina et al., 2024), there."
    )
    folded = (
        "<details><summary><b>Solution</b></summary>\n\nA −3.\n\n```bash\nls\n```\n\n</details>"
    )
    assert folded in made
    assert made.endswith("> **At a glance**\n>\n> one\n>\n> two")
    with pytest.raises(KeyError):
        colab.prose("{glue:text}`nowhere`", {}, WORKS, lambda place: "")


def test_a_reference_is_told_by_its_authors_year_and_title():
    work = WORKS["proskurina2024when"]
    assert (work.who, work.year) == ("Proskurina et al.", "2024")
    assert "When Quantization Affects Confidence" in work.line and "{" not in work.line
    assert WORKS.keys() >= set(
        re.findall(r"(?m)^@\w+\{([^,\s]+)", (ROOT / "book" / "references.bib").read_text())
    )


def test_other_pages_are_found_at_the_address_of_the_published_book():
    page = build.page_of("https://github.com/some/fork")
    assert page("how_sure") == "https://some.github.io/fork/notebooks/how_sure.html"
    assert page("../responsible-use") == "https://some.github.io/fork/responsible-use.html"
    assert page("how_sure#limits") == "https://some.github.io/fork/notebooks/how_sure.html#limits"
    assert build.page_of("")("how_sure") == ""
    assert build.page_of("https://git.example.org/a/b")("how_sure") == ""
