"""A chapter's parameters: what its cell declares, and whether a value fits."""

import ast
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ethical_compression.chapters.page import begin
from ethical_compression.errors import InputError


class Parameter(NamedTuple):
    """One line of a chapter's parameters cell: ``bits: list[int] = [4, 3]  # what it means, ≥ 2``.

    What the comment says after ≥ is the least that each of its numbers may be.
    """

    name: str
    annotation: str
    type: Any
    default: Any
    help: str

    @property
    def least(self) -> float | None:
        """The least that its numbers may be; None where the comment names no bound."""
        found = re.search(r"≥ ([-−]?\d+(?:\.\d+)?)", self.help)
        return float(found[1].replace("−", "-")) if found else None


def declared_parameters(source: str, where: str = "the parameters cell") -> dict[str, Parameter]:
    """Read the parameters that a cell declares: name, type, default, and the comment as its help.

    The types understood are ``bool``, ``int``, ``float``, ``str``, ``list``, ``dict``, their
    subscripted forms (``list[int]``, ``dict[str, float]``) and unions with ``None``.

    Raises InputError where the cell is no Python, and where a line has no type, no literal default,
    or a default of another type.
    """
    known = {"bool": bool, "int": int, "float": float, "str": str, "list": list, "dict": dict}
    lines = source.splitlines()
    declared = {}
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        raise InputError(
            f"{where} is not valid Python in line {error.lineno}: correct it there."
        ) from None
    for node in body:
        line = lines[node.lineno - 1].strip()
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            raise InputError(
                f"{where} may only hold lines such as 'seed: int = 0  # meaning', not '{line}'."
            )
        name, annotation = node.target.id, ast.unparse(node.annotation)
        try:
            kind = eval(annotation, {"__builtins__": {}}, known)  # names in `known` only
            default = ast.literal_eval(node.value)
        except Exception:
            raise InputError(
                f"{where} declares '{line}': give it a plain type and a literal default value."
            ) from None
        # The comment follows the value: '#' inside a default string is not one.
        tail = lines[node.end_lineno - 1].encode()[node.end_col_offset :].decode()
        declared[name] = Parameter(name, annotation, kind, default, tail.strip().lstrip("# "))
        if not _fits(default, kind):
            raise InputError(f"{where} declares '{line}': the default is not of that type.")
        if (low := _too_low(default, declared[name].least)) is not None:
            raise InputError(f"{where} declares '{line}': its default, {low!r}, is too low.")
    return declared


def closest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence on an unknown name: the one that was meant, or all there are."""
    known = list(known)
    meant = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if not meant:
        return f"; there is: {', '.join(known)}." if known else "; there is none."
    return f": did you mean '{meant[0]}'?"


def check_values(
    values: Mapping[str, Any], declared: Mapping[str, Parameter], where: str = "this chapter"
) -> None:
    """Check values against what a chapter declares.

    Raises InputError for the first name that is unknown (the closest known one is suggested), value
    that has another type than declared, or number below its bound. An ``int`` is accepted where a
    ``float`` is asked for; a ``bool`` never counts as a number.
    """
    for name, value in values.items():
        if name not in declared:
            raise InputError(f"{where} has no parameter '{name}'{closest(name, declared)}")
        if not _fits(value, declared[name].type):
            raise InputError(
                f"parameter '{name}' of {where} must be {declared[name].annotation}, "
                f"such as {declared[name].default!r}, not {value!r} ({type(value).__name__})."
            )
        least = declared[name].least
        if (low := _too_low(value, least)) is not None:
            raise InputError(f"parameter '{name}' of {where} must be {least:g} or more, not {low}.")


def _fits(value: Any, kind: Any) -> bool:
    # Not before a value is checked: the room is imported without it.
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    try:
        TypeAdapter(kind, config=ConfigDict(strict=True)).validate_python(value)
    except ValidationError:
        return False
    return True


def _too_low(value: Any, least: float | None) -> float | None:
    """The first number in a value, or in its lists and mappings, that is below `least`."""
    if least is None or isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return None if value >= least else value
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((low for one in parts if (low := _too_low(one, least)) is not None), None)


def check_parameters(
    namespace: Mapping[str, Any] | None = None, history: Sequence[str] | None = None
) -> dict[str, Any]:
    """Check a running chapter's own parameters; call it in the cell after the parameters.

    The runner has checked them already, but papermill used by itself only warns of an unknown one,
    and on Colab the reader edits the cell. The parameters cell is found in the session's input
    history: the last cell made of nothing but typed assignments.

    Returns {name: value}, as they are now. Raises InputError as `check_values` does.
    """
    begin()
    if namespace is None or history is None:
        from IPython import get_ipython

        shell = get_ipython()
        if shell is None:
            raise InputError("check_parameters() is for a notebook: no IPython session is running.")
        namespace, history = shell.user_ns, shell.user_ns["In"]
    declared = next((found for cell in reversed(history) if (found := _typed_cell(cell))), None)
    if declared is None:
        raise InputError("the parameters cell has not been run: run the notebook from its top.")
    injected = next((cell for cell in reversed(history) if cell.startswith("# Parameters\n")), "")
    names = [
        target.id
        for node in ast.parse(injected).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    ]
    check_values({name: namespace[name] for name in names}, declared)
    values = {name: namespace[name] for name in declared}
    check_values(values, declared)
    return values


def _typed_cell(source: str) -> dict[str, Parameter]:
    try:
        return declared_parameters(source)
    except InputError:
        return {}
