"""A chapter's parameters: what its cell declares, and whether a value fits."""

import ast
import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

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


def declared_parameters(
    source: str,
    where: str = "the parameters cell",
    known: Mapping[str, Parameter] | None = None,
) -> dict[str, Parameter]:
    """Read the parameters that a cell declares: name, type, default, and the comment as its help.

    known: what the chapter declares by itself. With it a plain assignment to one of these names,
    as a reader types it (``bits = [8]``), is understood, and has the type that they have there.

    The types understood are ``bool``, ``int``, ``float``, ``str``, ``list``, ``dict``, their
    subscripted forms (``list[int]``, ``dict[str, float]``) and unions with ``None``.

    Raises InputError where the cell is no Python, and where a line has no type, no literal default,
    or a default of another type.
    """
    types = {"bool": bool, "int": int, "float": float, "str": str, "list": list, "dict": dict}
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
        if known is not None and (name := assigned(node)) and isinstance(node, ast.Assign):
            if name not in known:
                raise InputError(f"this chapter has no parameter '{name}'{closest(name, known)}")
            # Whether the value fits is asked of the value itself, which the session has.
            declared[name] = known[name]
            continue
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            raise InputError(
                f"{where} may only hold lines such as 'seed: int = 0  # meaning', not '{line}'."
            )
        name, annotation = node.target.id, ast.unparse(node.annotation)
        try:
            kind = eval(annotation, {"__builtins__": {}}, types)  # names in `types` only
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


def assigned(node: ast.stmt) -> str:
    """The one name that a statement gives a value to; empty for any other statement."""
    if isinstance(node, ast.AnnAssign) and node.value is not None:
        targets = [node.target]
    else:
        targets = node.targets if isinstance(node, ast.Assign) else []
    return targets[0].id if len(targets) == 1 and isinstance(targets[0], ast.Name) else ""


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
