"""Arrows between the files of the package go one way."""

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from ethical_compression import provenance

ROOT = Path(provenance.__file__).parent
NAME = ROOT.name


@cache
def arrows() -> dict[str, set[str]]:
    """What each file of the package imports of it, within functions too, by dotted names."""
    files = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in ROOT.rglob("*.py")
        if path.parent != ROOT or path.name != "__init__.py"
    }
    found: dict[str, set[str]] = {}
    for name, path in files.items():
        package = [NAME, *path.relative_to(ROOT).parts[:-1]]
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
    others = {one for one in reached("models") if room(one) not in provenance.SCIENCE}
    assert others <= {"errors", "provenance", "store"}


# --- The wall -------------------------------------------------------------------------------------

# Right of it, tables go in, and tables, sentences and pictures come out.
RIGHT = ("metrics", "statistics", "words", "figures", "chapters")
LEFT = ("models", "compress", "score", "train", "kernels")
MODEL_LIBRARIES = {"torch", "transformers", "bitsandbytes", "peft", "accelerate", "tokenizers"}


def room(name: str) -> str:
    return name.partition(".")[0]


@pytest.mark.parametrize("name", sorted(one for one in arrows() if room(one) in RIGHT))
def test_nothing_right_of_the_wall_reaches_a_model(name):
    assert not {one for one in reached(name) if room(one) in LEFT}
    path = ROOT.joinpath(*name.split("."))
    path = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
    imported = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            imported.add((node.module or "").partition(".")[0])
    assert not imported & MODEL_LIBRARIES
