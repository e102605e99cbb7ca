"""Arrows between the files of the package go one way."""

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from ethical_compression import provenance

ROOT = Path(provenance.__file__).parent
NAME = ROOT.name


@cache
def arrows() -> dict[str, set[str]]:
    """What each file of the package imports of it, within functions too, by dotted names."""
    files = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for path in ROOT.rglob("*.py")
        if path.name != "__init__.py"
    }
    found: dict[str, set[str]] = {}
    for name, path in files.items():
        package = [NAME, *name.split(".")[:-1]]
        imported = set()
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                start = package[: len(package) - node.level + 1] if node.level else []
                start = ".".join([*start, *filter(None, [node.module])])
                imported |= {start, *(f"{start}.{alias.name}" for alias in node.names)}
        found[name] = {one.removeprefix(f"{NAME}.") for one in imported} & files.keys() - {name}
    return found


def reached(name: str) -> set[str]:
    """All files that one leads to."""
    seen, waiting = set(), [name]
    while waiting:
        for one in arrows()[waiting.pop()] - seen:
            seen.add(one)
            waiting.append(one)
    return seen


def test_there_is_no_import_circle():
    assert len(arrows()) > 50
    try:
        TopologicalSorter(arrows()).prepare()
    except CycleError as error:
        raise AssertionError(" imports ".join(error.args[1][::-1])) from None


def test_no_arrow_leads_from_models_to_compress():
    assert "errors" in reached("models")
    assert not {one for one in reached("models") if one.startswith("compress.")}


def test_what_decides_a_models_numbers_counts_in_the_keys_of_results():
    science = {part.removesuffix(".py") for part in provenance.SCIENCE}
    others = {one for one in reached("models") if one.partition(".")[0] not in science}
    assert others <= {"errors", "provenance", "store"}
