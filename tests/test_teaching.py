"""What a class takes along: assignments whose answers pass their checks, slides, a small table."""

import re
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "book"))
import gather  # noqa: E402
import overview  # noqa: E402
import slides  # noqa: E402

TEACHING = ROOT / "book" / "teaching"
ASSIGNMENTS = sorted(path.stem for path in (TEACHING / "answers").glob("*.ipynb"))


def cells(folder: str, name: str) -> list:
    notebook = nbformat.read(TEACHING / folder / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    return notebook.cells


def run(found: list, names: dict) -> None:
    for cell in found:
        if cell.cell_type == "code":
            exec(compile(cell.source, cell.id, "exec"), names)


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_the_answers_pass_all_checks(name, monkeypatch):
    monkeypatch.chdir(TEACHING)  # the table of a class lies beside an assignment
    run(cells("answers", name), {})


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_what_is_handed_out_has_no_answer_and_passes_no_check(name, monkeypatch):
    monkeypatch.chdir(TEACHING)
    handed, answered = cells("release", name), cells("answers", name)
    text = "\n".join(cell.source for cell in handed)
    assert not re.search("SOLUTION|HIDDEN TESTS", text)
    ids = [[one.metadata.nbgrader.grade_id for one in some] for some in (handed, answered)]
    assert ids[0] == ids[1] and len(set(ids[0])) == len(ids[0])
    names = {}
    for cell in handed:
        if cell.cell_type == "code" and cell.metadata.nbgrader.grade:
            with pytest.raises(NotImplementedError):
                run([cell], names)
        else:
            run([cell], names)
    asked = [one for one in handed if one.metadata.nbgrader.grade]
    assert sum(one.metadata.nbgrader.points for one in asked) >= 10


def test_the_table_of_a_class_is_small_and_says_only_whether_answers_were_wrong():
    path = TEACHING / "classroom.csv"
    table = pd.read_csv(path)
    assert path.stat().st_size < 100_000 and table["question"].is_unique
    assert set(table.drop(columns=["question", "group", "scene"]).stack()) == {0, 1}
    assert table.groupby("group").size().min() >= 10


def test_slides_are_one_file_that_asks_nobody_for_anything(tmp_path):
    (tmp_path / "notebooks").mkdir()
    text = (TEACHING / "slides.md").read_text(encoding="utf-8")
    named = [(one["chapter"], one["anchor"]) for one in gather.MARK.finditer(text)]
    for chapter in {chapter for chapter, _ in named}:
        shown = [
            f'<figure class="chapter-figure" id="{anchor}"><img alt="x" src="data:,"></figure>'
            for name, anchor in named
            if name == chapter
        ]
        record = {"question": "harms", "anchor": "a-b", "tests": []}
        record["tests"].append({"compression": "NF4", "verdict": "worse"})
        outputs = [nbformat.v4.new_output("display_data", {"text/html": one}) for one in shown]
        outputs.append(nbformat.v4.new_output("display_data", {overview.RECORD: record}))
        made = [
            nbformat.v4.new_markdown_cell("# T"),
            nbformat.v4.new_code_cell("", outputs=outputs),
        ]
        path = tmp_path / "notebooks" / f"{chapter}.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=made), path)
    page = slides.slides(text, tmp_path / "notebooks")
    assert page.count("<section") == text.count("\n---\n") + 1
    assert page.count("<img") == len(named) and "▲ worse" in page
    assert not re.search(r'(?:src|href)="(?:https?:)?//|<script|\{shown\}|\{overview\}', page)
    assert 'href="../notebooks/grid.html#grid-groups"' in page
