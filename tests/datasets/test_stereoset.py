"""StereoSet: whole, its splits apart, and a broken file told."""

import json

import pytest

from ethical_compression.datasets import stereoset
from ethical_compression.errors import InputError


@pytest.mark.parametrize(
    ("split", "task", "items", "terms"),
    [
        ("development", "within", 2_106, 79),
        ("development", "between", 2_123, 79),
        ("test", "within", 6_392, 242),
        ("test", "between", 6_374, 242),
    ],
)
def test_the_embedded_copy_is_whole(split, task, items, terms):
    found = stereoset.load(split, task)
    assert len(found) == items
    assert len({one.target for one in found}) == terms
    assert {one.bias_type for one in found} == {"gender", "profession", "race", "religion"}
    assert all(bool(one.context) == (task == "between") for one in found)


def test_what_is_chosen_on_development_is_not_tested_on():
    splits = {split: stereoset.load(split) for split in stereoset.SPLITS}
    terms = [{one.target for one in found} for found in splits.values()]
    texts = [{text for one in found for text in one.texts} for found in splits.values()]
    assert not terms[0] & terms[1]
    assert not texts[0] & texts[1]


def test_where_it_comes_from_is_told():
    record = stereoset.source_record("test")
    assert record["licence"] == "CC-BY-SA-4.0"
    assert len(record["sha256"]) == 64


@pytest.mark.parametrize("spoil", ["{", "[]", '{"data": {}}'])
def test_a_broken_file_is_told(tmp_path, spoil):
    (tmp_path / "stereoset").mkdir()
    (tmp_path / "stereoset" / "dev.json").write_text(spoil)
    with pytest.raises(InputError, match="is not StereoSet's development file"):
        stereoset.load("development", source="mirror", data_dir=tmp_path)


def test_a_mirror_is_read_alike(tmp_path):
    first = stereoset.load("development")[0]
    row = {
        "id": first.id,
        "target": first.target,
        "bias_type": first.bias_type,
        "context": "The chess player was BLANK.",
        "sentences": [
            {"gold_label": label, "sentence": text}
            for label, text in zip(stereoset.LABELS, first.texts, strict=True)
        ],
    }
    (tmp_path / "stereoset").mkdir()
    whole = {"data": {"intrasentence": [row]}}
    (tmp_path / "stereoset" / "dev.json").write_text(json.dumps(whole))
    assert stereoset.load("development", source="mirror", data_dir=tmp_path) == [first]


def test_unknown_names_are_told():
    for call in (("train", "within"), ("test", "inside")):
        with pytest.raises(InputError, match="choose one of"):
            stereoset.load(*call)
