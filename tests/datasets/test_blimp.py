"""BLiMP: whole, in the paper's phenomena, and a broken zip told."""

import json
import zipfile
from collections import Counter

import pytest

from ethical_compression.datasets import blimp
from ethical_compression.errors import InputError

ROW = {
    "sentence_good": "Some dog stunned this committee.",
    "sentence_bad": "Some dog stunned these committee.",
    "linguistics_term": "determiner_noun_agreement",
    "UID": "determiner_noun_agreement_2",
    "pairID": "0",
}


def test_the_mirror_is_whole_but_for_pairs_that_say_nothing(mirror):
    pairs, left_out = blimp._read("mirror", None)
    paradigms = Counter(one.kind for one in pairs)
    assert len(paradigms) == 67 and sum(left_out.values()) == 8
    assert left_out["equal texts"] == 7
    assert sum(paradigms.values()) == 67_000 - 8
    assert {one.group for one in pairs} == set(blimp.PHENOMENA) and len(blimp.PHENOMENA) == 12
    # Table 1 of the paper: how many paradigms a phenomenon has.
    counts = Counter(group for group, _ in {(one.group, one.kind) for one in pairs})
    assert counts["argument structure"] == 9 and counts["binding"] == 7
    assert counts["island effects"] == 8 and counts["quantifiers"] == 4


def test_a_sample_is_shared_by_the_paradigms(mirror):
    some = blimp.load(limit=134)
    assert set(Counter(one.kind for one in some).values()) == {2}


def zipped(tmp_path, lines: str):
    (tmp_path / "blimp").mkdir()
    with zipfile.ZipFile(tmp_path / "blimp" / "BLiMP.zip", "w") as archive:
        archive.writestr("data/one.jsonl", lines)
        archive.writestr("__MACOSX/data/._one.jsonl", "\x00")
    return tmp_path


def test_a_small_zip_is_read(tmp_path):
    (one,) = blimp.load(data_dir=zipped(tmp_path, json.dumps(ROW) + "\n\n"))
    assert one.sides[0] == "acceptable" and one.texts[0] == ROW["sentence_good"]
    assert one.group == "determiner-noun agreement"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("{", "is not BLiMP's zip"),
        ("[]", "is not a JSON object"),
        (json.dumps(ROW | {"linguistics_term": "rhyme"}), "There is no term of BLiMP"),
        (json.dumps(ROW | {"sentence_bad": None}), "lacks the column 'sentence_bad'"),
        (json.dumps(ROW | {"sentence_bad": ROW["sentence_good"]}), "holds no pair of texts"),
    ],
)
def test_what_is_broken_is_told(tmp_path, lines, said):
    with pytest.raises(InputError, match=said):
        blimp.load(data_dir=zipped(tmp_path, lines))


def test_a_file_that_is_no_zip_is_told(tmp_path):
    (tmp_path / "blimp").mkdir()
    (tmp_path / "blimp" / "BLiMP.zip").write_text("no")
    with pytest.raises(InputError, match="is not BLiMP's zip"):
        blimp.load(data_dir=tmp_path)


def test_where_it_comes_from_is_told(tmp_path):
    record = blimp.source_record(data_dir=zipped(tmp_path, json.dumps(ROW)))
    assert record["licence"] == "CC-BY-4.0" and record["rows"] == 1
    with pytest.raises(InputError, match="choose one of mirror"):
        blimp.load(source="hub")
