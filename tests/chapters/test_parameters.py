"""What a chapter's parameters cell declares, and whether a value fits."""

import json
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ethical_compression import chapters
from ethical_compression.chapters import by_hand, run
from ethical_compression.chapters.by_hand import NOTEBOOKS
from ethical_compression.errors import InputError

PARAMETERS = """\
model: str = "smollm2-135m"  # which model
bits: list[int] = [4, 3]  # widths # to try, ≥ 2
limit: int | None = None  # items a benchmark
tolerance: float = 0.5  # how much, ≥ 0
"""


def values() -> dict:
    return {"model": "a", "bits": [3], "limit": None, "tolerance": 1}


def test_check_parameters_finds_the_cell_and_its_values():
    history = ["", "import os", PARAMETERS, "# Parameters\nbits = [3]\n", "check_parameters()"]
    assert chapters.check_parameters(values(), history) == values()


def test_check_parameters_refuses_an_unknown_injected_name():
    history = [PARAMETERS, "# Parameters\nbit = [3]\n"]
    with pytest.raises(InputError, match="no parameter 'bit': did you mean 'bits'"):
        chapters.check_parameters({**values(), "bit": [3]}, history)


def test_check_parameters_refuses_a_wrong_type_typed_by_the_reader():
    with pytest.raises(InputError, match=r"'limit'.*must be int \| None"):
        chapters.check_parameters({**values(), "limit": "10"}, [PARAMETERS])


def test_check_parameters_says_when_the_cell_was_not_run():
    with pytest.raises(InputError, match="run the notebook from its top"):
        chapters.check_parameters({}, ["import os", "x = 1"])


CHAPTER = NOTEBOOKS / "confidence.ipynb"


@pytest.fixture
def session():
    """What a session of one chapter holds once its parameters cell was run, edited."""
    declared = run.chapter_parameters(CHAPTER)
    cells = json.loads(CHAPTER.read_text(encoding="utf-8"))["cells"]
    (cell,) = [one for one in cells if "parameters" in one["metadata"].get("tags", [])]
    source = "".join(cell["source"])

    def edited(name: str, new: str, **more):
        (line,) = [one for one in source.splitlines() if one.startswith(f"{name}:")]
        namespace = {name: one.default for name, one in declared.items()} | more
        return namespace, ["", source.replace(line, new), "check_parameters()"]

    return edited


def test_a_line_typed_over_without_its_type_is_understood(session):
    values = chapters.check_parameters(*session("widths", "widths = [8]", widths=[8]))
    assert values["widths"] == [8] and len(values) == len(run.chapter_parameters(CHAPTER))
    with pytest.raises(InputError, match=r"'widths'.*must be list\[int\]"):
        chapters.check_parameters(*session("widths", "widths = 8", widths=8))
    with pytest.raises(InputError, match="no parameter 'width': did you mean 'widths'"):
        chapters.check_parameters(*session("widths", "width = [8]", width=[8]))
    with pytest.raises(InputError, match=r"not 'widths \+= \[8\]'"):
        chapters.check_parameters(*session("widths", "widths += [8]"))


def test_without_the_repository_a_line_without_its_type_takes_any_value(monkeypatch, tmp_path):
    monkeypatch.setattr(by_hand, "NOTEBOOKS", tmp_path)
    source = PARAMETERS.replace("bits: list[int] = [4, 3]", "bits = [8]")
    assert chapters.check_parameters(values() | {"bits": [8]}, [source])["bits"] == [8]


def test_one_line_applies_a_profile(session, monkeypatch):
    namespace, history = session("seed", "seed = 0", seed=0)
    shell = SimpleNamespace(user_ns=namespace | {"In": history})
    monkeypatch.setattr(by_hand, "_shell", lambda what: shell)
    assert chapters.profile("smoke") == run.resolve(CHAPTER, "smoke", {})
    checked = chapters.check_parameters()
    assert checked | run.resolve(CHAPTER, "smoke", {}) == checked
    assert namespace["items"] != checked["items"]
    chapters.profile("laptop")  # what a profile does not name is as the cell has it
    assert {name: shell.user_ns[name] for name in checked} == namespace
    with pytest.raises(InputError, match=r"no profile 'gpus'.*did you mean 'gpu'"):
        chapters.profile("gpus")


def test_help_is_the_comment_and_not_a_hash_in_a_string():
    found = chapters.declared_parameters('a: str = "#1"  # the first\nb: int = 2')
    assert found["a"].default == "#1"
    assert found["a"].help == "the first"
    assert found["b"].help == ""
    found = chapters.declared_parameters("a: int = 1  # -1 for all, ≥ -1\nb: int = 2  # ≥ 1.5")
    assert (found["a"].least, found["b"].least) == (-1, 1.5)


@pytest.mark.parametrize(
    "source",
    [
        "a = 1",
        "a: int = 1.5",
        "a: int = f()",
        "a: Path = 1",
        "a: int",
        "import os",
        "a: int = 1  # ≥ 2",
    ],
)
def test_a_parameters_cell_that_cannot_be_checked_is_refused(source):
    with pytest.raises(InputError):
        chapters.declared_parameters(source)


plain = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
nested = st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(value=nested)
def test_a_value_fits_its_own_type_and_a_number_is_never_a_truth_value(value):
    kind = type(value)
    name = "None" if value is None else kind.__name__
    declared = chapters.declared_parameters(f"x: {name} = {value!r}")
    chapters.check_values({"x": value}, declared)
    if kind in (int, float):
        with pytest.raises(InputError):
            chapters.check_values({"x": True}, declared)
    if kind is not bool:
        with pytest.raises(InputError):
            chapters.check_values({"x": value}, chapters.declared_parameters("x: bool = True"))
