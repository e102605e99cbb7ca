"""Plain sentences: their parts are apart, and nothing but words tells them."""

import pytest

from ethical_compression.datasets import plain
from ethical_compression.errors import InputError


@pytest.mark.parametrize("kind", ["encyclopaedia", "everyday"])
def test_the_two_parts_share_no_sentence_and_are_drawn_once(kind):
    train, test = (plain.load(kind, part) for part in plain.PARTS)
    assert not set(train) & set(test) and len(set(train + test)) == len(train + test)
    assert abs(len(train) - len(test)) <= 1 and len(train) > 1000
    assert plain.load(kind, "train", limit=50) == plain.load(kind, "train", limit=50)
    assert set(plain.load(kind, "train", limit=50)) < set(train)


def test_no_mark_of_a_question_is_left_to_tell_everyday_sentences_by():
    found = plain.load("everyday", "train")
    assert not any(one.startswith(("Q:", "Question:")) or one.endswith("A:") for one in found)


def test_short_lines_are_left_out():
    assert min(len(one.split()) for one in plain.load("news", "test", limit=500)) >= 3


def test_a_kind_that_is_held_out_is_never_trained_on():
    with pytest.raises(InputError, match="'news' is held out"):
        plain.load("news", "train")


@pytest.mark.parametrize("kind", plain.KINDS)
def test_every_source_states_its_licence(kind):
    record = plain.source_record(kind)
    assert record["kind"] == kind
    assert all(one["licence"] and one["sha256"] for one in record["sources"])


def test_what_is_unknown_is_said():
    with pytest.raises(InputError, match="plain text 'new'"):
        plain.load("new", "test")
    with pytest.raises(InputError, match="'validation'"):
        plain.load("news", "validation")
