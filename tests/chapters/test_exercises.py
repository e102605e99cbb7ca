"""Exercises: every chapter has some, each with its time and a folded solution, and programs run."""

from pathlib import Path

import nbformat
import pytest

from ethical_compression.chapters.exercises import asks_for, exercises, with_solutions

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
CHAPTERS = {path.stem: nbformat.read(path, as_version=4) for path in NOTEBOOKS}
# What needs nothing of its chapter runs here; the rest runs with the chapters, for the site.
ALONE = {
    f"{name}-{exercise.number}": program
    for name, notebook in CHAPTERS.items()
    for exercise in exercises(notebook)
    for program in exercise.programs
    if not asks_for(program)
}


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_has_exercises_with_times_and_folded_solutions(name):
    found = exercises(CHAPTERS[name])
    assert [one.number for one in found] == list(range(1, len(found) + 1)) and len(found) >= 4
    assert all(one.time for one in found), "say how many minutes each takes"
    assert all(one.folded for one in found), "each has a solution, folded"
    assert any(one.programs for one in found), "one solution, at least, is a program"


@pytest.mark.parametrize("name", ALONE)
def test_a_program_of_a_solution_runs(name, capsys):
    exec(compile(ALONE[name], name, "exec"), {"__name__": "solution"})
    assert capsys.readouterr().out.strip(), "a solution shows what it finds"


TEXT = """Words.

## Exercises

**1.** (5 minutes) A question.

````{admonition} Solution
:class: dropdown

So:

```python
import math as m
print(m.pi, [x for x in range(3)], table)
```
````

**2.** Another.

```{admonition} Solution
No.
```

## References

**3.** (5 minutes) is none."""


def test_exercises_are_read_and_their_programs_run_after_the_chapter():
    chapter = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(TEXT)])
    first, second = exercises(chapter)
    assert (first.number, first.time, first.folded) == (1, "5 minutes", True)
    assert (second.number, second.time, second.folded, second.programs) == (2, "", False, ())
    assert asks_for(first.programs[0]) == {"table"}
    made = with_solutions(chapter)
    assert len(chapter.cells) == 1 and made.cells[1].source == first.programs[0]
    assert made.cells[1].metadata.tags == ["remove-cell"]
