"""A chapter's exercises: their folded solutions, and the programs in them, which must run.

A program of a solution may use what the chapter's own cells have made. `with_solutions` makes a
copy of a notebook in which they run after the chapter, hidden from its page.
"""

import ast
import builtins
import re
from typing import Any, NamedTuple

EXERCISE = re.compile(r"(?m)^\*\*(?P<number>\d+)\.\*\* (?:\((?P<time>\d+ minutes[^)]*)\) )?")
SOLUTION = re.compile(r"(?ms)^(?P<ticks>`{3,})\{admonition\} Solution\n(?P<body>.*?)^(?P=ticks)$")
PROGRAM = re.compile(r"(?ms)^```python\n(?P<code>.*?)^```$")


class Exercise(NamedTuple):
    """An exercise: its number, the time it takes ("" where none is said), whether it has a folded
    solution, and the programs of that."""

    number: int
    time: str
    folded: bool
    programs: tuple[str, ...]


def exercises(notebook: Any) -> list[Exercise]:
    """The exercises of a chapter, in order: of the cell with the heading "Exercises"."""
    text = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and re.search(r"(?m)^## Exercises$", cell.source):
            text = re.split(r"(?m)^## ", cell.source.partition("## Exercises\n")[2])[0]
    found = list(EXERCISE.finditer(text))
    ends = [*(one.start() for one in found[1:]), len(text)]
    told = []
    for one, end in zip(found, ends, strict=True):
        solution = SOLUTION.search(text, one.end(), end)
        body = solution["body"] if solution else ""
        folded = bool(solution) and ":class: dropdown" in body
        programs = tuple(program["code"] for program in PROGRAM.finditer(body))
        told.append(Exercise(int(one["number"]), one["time"] or "", folded, programs))
    return told


def asks_for(program: str) -> set[str]:
    """Names that a program uses and does not make itself: what it takes from its chapter."""
    tree = ast.parse(program)
    made, used = set(dir(builtins)), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else made).add(node.id)
        elif isinstance(node, ast.alias):
            made.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.FunctionDef):
            made |= {node.name, *(one.arg for one in node.args.args)}
        elif isinstance(node, ast.Lambda):
            made |= {one.arg for one in node.args.args}
    return used - made


def with_solutions(notebook: Any) -> Any:
    """A copy of a chapter with the programs of its solutions as cells at its end, off the page."""
    import copy

    import nbformat

    made = copy.deepcopy(notebook)
    for exercise in exercises(notebook):
        for number, program in enumerate(exercise.programs):
            name = f"solution-{exercise.number}-{number}"
            hidden = {"tags": ["remove-cell"]}
            made.cells.append(nbformat.v4.new_code_cell(program, metadata=hidden, id=name))
    return made
