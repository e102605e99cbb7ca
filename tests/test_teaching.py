"""What a class takes along: assignments whose answers pass their checks, slides, a small table."""

import ast
import csv
import os
import re
import shutil
import subprocess
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


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_an_answer_is_marked_whatever_the_other_answers_are(name, monkeypatch):
    monkeypatch.chdir(TEACHING)
    handed = {one.metadata.nbgrader.grade_id: one for one in cells("release", name)}
    answered = {one.metadata.nbgrader.grade_id: one for one in cells("answers", name)}
    checks = [key for key in answered if key.endswith("-test")]
    assert checks
    for check in checks:
        part = check.removesuffix("-test")
        given = handed | {part: answered[part], check: answered[check]}
        others = set(checks) - {check}
        run([one for key, one in given.items() if key not in others], {})


def commands_of_the_guide() -> list[str]:
    guide = (TEACHING / "guide.md").read_text(encoding="utf-8")
    return re.findall(r"^```bash\n(.*?)^```", guide, flags=re.S | re.M)


def test_what_assignments_import_is_installed_beside_nbgrader():
    line = next(line for line in commands_of_the_guide()[0].splitlines() if "pip install" in line)
    found = [one for name in ASSIGNMENTS for one in cells("answers", name)]
    sources = [one.source for one in found if one.cell_type == "code"]
    nodes = [node for source in sources for node in ast.walk(ast.parse(source))]
    named = {one.name for node in nodes if isinstance(node, ast.Import) for one in node.names}
    named |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert "numpy" in named
    assert {one.split(".")[0] for one in named} <= set(line.split())


@pytest.mark.skipif(not shutil.which("nbgrader"), reason="nbgrader is not installed")
def test_nbgrader_marks_as_the_guide_says(tmp_path):
    create, mark = commands_of_the_guide()
    create = re.sub("^pip install.*", "", create).replace("BOOK/", '"$BOOK"/')
    # Beside the answers, somebody who hands in what was handed out.
    for script in (create, "mkdir submitted; cp -r release submitted/untouched", mark):
        done = subprocess.run(
            ["bash", "-ec", script],
            cwd=tmp_path,
            env=os.environ | {"BOOK": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-2000:]
    for name in ASSIGNMENTS:
        made = tmp_path / "release" / name / f"{name}.ipynb"
        assert made.read_text() == (TEACHING / "release" / f"{name}.ipynb").read_text()
    with open(tmp_path / "grades.csv", encoding="utf-8") as file:
        marks = {(one["assignment"], one["student_id"]): one for one in csv.DictReader(file)}
    found = {key: (float(one["score"]), float(one["max_score"])) for key, one in marks.items()}
    assert found == {
        ("rounding", "answers"): (7, 10),
        ("before-and-after", "answers"): (9, 12),
        ("rounding", "untouched"): (0, 10),
        ("before-and-after", "untouched"): (0, 12),
    }


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
