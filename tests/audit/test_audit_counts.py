"""What an audit reads is counted as it is read."""

import pytest

from ethical_compression.audit import counts, run
from ethical_compression.audit.checks import CHECKS


@pytest.fixture(scope="module")
def found():
    return counts.counts(names=["text", "next_tokens", "flips", "answers", "moral_fr"], each=4)


def test_every_reading_of_an_audit_has_a_row(found):
    plain = found[~found["noise"]]
    assert plain.groupby("title").size().to_dict() == {
        "text": 2,
        "next tokens": 1,  # both models are read in one
        "questions": 2,  # two checks ask the same, which is read once
        "fr": 2,
    }
    noise = found[found["noise"]]
    assert set(noise["title"]) == set(plain["title"])
    # In another batch and in bfloat16; of what is read in pairs in bfloat16 alone, beside float32.
    assert noise.groupby("title")["dtype"].agg(sorted).to_dict() == {
        "text": ["bfloat16", "float32"],
        "next tokens": ["bfloat16", "float32"],
        "questions": ["bfloat16", "float32"],
        "fr": ["bfloat16", "float32"],
    }
    assert (found[["items", "tokens", "pairs", "places", "passes"]] > 0).all(axis=None)
    assert (found["pairs"] >= found["tokens"]).all()


def test_both_models_read_the_same(found):
    for _, some in found[~found["noise"]].groupby("title"):
        if len(some) == 2:
            assert some["tokens"].nunique() == some["places"].nunique() == 1
            assert some["subject"].nunique() == 2


def test_items_are_those_of_the_audits_own_checks(found):
    asked = CHECKS["moral_fr"].battery(4, 0)
    assert set(found.loc[found["title"] == "fr", "items"]) == {len(asked.items)}
    assert len(asked.items) <= run.NOISE_ITEMS


def test_more_items_are_more_tokens(found):
    more = counts.counts(names=["moral_fr"], each=8)
    before = found.loc[found["title"] == "fr", "tokens"].sum()
    assert before < more["tokens"].sum() < 4 * before
