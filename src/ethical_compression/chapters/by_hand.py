"""A chapter in a reader's hands: its parameters cell, edited, and a profile in one line."""

import ast
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ethical_compression.chapters.page import begin
from ethical_compression.chapters.parameters import (
    Parameter,
    assigned,
    check_values,
    declared_parameters,
)
from ethical_compression.errors import InputError

NOTEBOOKS = Path(__file__).resolve().parents[3] / "notebooks"  # of a copy of the repository
NOT_RUN = "the parameters cell has not been run: run the notebook from its top."


def check_parameters(
    namespace: Mapping[str, Any] | None = None, history: Sequence[str] | None = None
) -> dict[str, Any]:
    """Check a running chapter's own parameters; call it in the cell after the parameters.

    The runner has checked them already, but papermill used by itself only warns of an unknown one,
    and on Colab the reader edits the cell. The parameters cell is found in the session's input
    history: the last cell that gives most of the parameters their values. A plain assignment there
    (``widths = [8]``) is understood as the line that it took the place of.

    Returns {name: value}, as they are now. Raises InputError as `check_values` does, and for a line
    of that cell that gives no parameter a value.
    """
    begin()
    if namespace is None or history is None:
        shell = _shell("check_parameters")
        namespace, history = shell.user_ns, shell.user_ns["In"]
    declared, _ = _declared(history)
    injected = next((cell for cell in reversed(history) if cell.startswith("# Parameters\n")), "")
    names = [name for node in ast.parse(injected).body if (name := assigned(node))]
    values = {name: namespace[name] for name in declared if name in namespace}
    check_values({name: namespace[name] for name in names} | values, declared)
    return values


def profile(name: str) -> dict[str, Any]:
    """Give a running chapter the values of a profile, in a cell under its parameters.

    What a profile does not name is as the parameters cell has it, whatever another gave before.
    name: a file of `notebooks/profiles`, without its ending. Returns {parameter: value}, as set.
    Raises InputError where no notebook runs, its parameters cell has not been run, there is no such
    profile, or the package was installed without the repository, which has the profiles.
    """
    from ethical_compression.chapters.run import resolve

    shell = _shell("profile")
    declared, notebook = _declared(shell.user_ns["In"])
    if notebook is None:
        raise InputError(
            "the profiles lie in a copy of the repository, and this is none: set the parameters "
            "in their cell."
        )
    values = resolve(notebook, name, {})
    shell.user_ns.update({one.name: one.default for one in declared.values()} | values)
    return values


def _shell(what: str) -> Any:
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None:
        raise InputError(f"{what}() is for a notebook: no IPython session is running.")
    return shell


def _declared(history: Sequence[str]) -> tuple[dict[str, Parameter], Path | None]:
    """What the chapter that runs declares, and its notebook, where the repository is there."""
    cells = [(cell, names) for cell in history if (names := _names(cell))]
    if not cells:
        raise InputError(NOT_RUN)
    most = max(len(names) for _, names in cells)
    source, names = next(pair for pair in reversed(cells) if len(pair[1]) > most / 2)
    notebook, known = _own_chapter(names)
    if known is None:
        # A line whose type the reader left out takes its value as it is.
        return declared_parameters(source, known=_untyped(source)), None
    # A line that was taken out is a parameter nonetheless, if the session has it.
    return known | declared_parameters(source, known=known), notebook


def _names(source: str) -> list[str]:
    """The names that a parameters cell gives values; none for any other cell."""
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return []
    typed = any(isinstance(node, ast.AnnAssign) for node in body)
    return [name for node in body if (name := assigned(node))] if typed else []


def _untyped(source: str) -> dict[str, Parameter]:
    body = ast.parse(source).body
    plain = [node for node in body if isinstance(node, ast.Assign) and assigned(node)]
    return {assigned(node): Parameter(assigned(node), "object", object, None, "") for node in plain}


def _own_chapter(names: Sequence[str]) -> tuple[Path | None, dict[str, Parameter] | None]:
    """The repository's notebook that declares these names, but for half at most; what it declares.

    None, and None, where there is no repository, or no such notebook.
    """
    found, most = (None, None), 0.5
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        tagged = [one for one in cells if "parameters" in one["metadata"].get("tags", [])]
        if not tagged:
            continue
        declared = declared_parameters("".join(tagged[0]["source"]))
        alike = len(set(names) & set(declared)) / len(set(names) | set(declared))
        if alike > most:
            found, most = (path, declared), alike
    return found
