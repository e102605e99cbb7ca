"""Pairs to repair with: what differs within each, and that none comes from a test split."""

from collections import Counter

import pytest

from ethical_compression.datasets import honest, repair_pairs, stereoset
from ethical_compression.errors import InputError


def test_fillers_are_the_words_in_which_texts_differ():
    texts = ("He was kind.", "He was very rude.", "He was kindling.")
    assert repair_pairs.fillers(texts) == [
        ("He was ", "kind", "."),
        ("He was ", "very rude", "."),
        ("He was ", "kindling", "."),
    ]
    for one in stereoset.load("development"):
        parts = repair_pairs.fillers(one.texts)
        assert tuple("".join(its) for its in parts) == one.texts
        assert len({its[0] for its in parts}) == len({its[2] for its in parts}) == 1


def test_stereoset_is_its_development_split_in_order():
    triplets = stereoset.load("development")
    pairs = repair_pairs.load("stereoset")
    assert [one.texts for one in pairs] == [one.texts[:2] for one in triplets]
    held_out = {text for one in stereoset.load("test") for text in one.texts}
    for name in ("stereoset", "unrelated", "shuffled"):
        assert held_out.isdisjoint(text for one in repair_pairs.load(name) for text in one.texts)


def test_unrelated_pairs_hold_no_word_of_a_stereotype():
    for one, pair in zip(
        stereoset.load("development"), repair_pairs.load("unrelated"), strict=True
    ):
        first, second = pair.texts
        (before, word, after), (_, other, _) = repair_pairs.fillers((*pair.texts, *one.texts))[:2]
        assert first == one.texts[2] and first != second
        assert (before, after) == repair_pairs.fillers((*one.texts, second))[0][::2]
        assert word != other


def test_shuffled_pairs_keep_the_sentences_and_break_the_pairs():
    triplets = stereoset.load("development")
    pairs = repair_pairs.load("shuffled", seed=1)
    assert [one.texts[0] for one in pairs] == [one.texts[0] for one in triplets]
    assert sorted(one.texts[1] for one in pairs) == sorted(one.texts[1] for one in triplets)
    own = sum(a.texts[1] == b.texts[1] for a, b in zip(pairs, triplets, strict=True))
    assert own <= 3  # a sentence that two items share
    assert pairs == repair_pairs.load("shuffled", seed=1) != repair_pairs.load("shuffled", seed=2)


@pytest.mark.parametrize(("language", "least"), [("en", 270), ("fr", 340)])
def test_honest_asks_the_same_of_a_woman_and_of_a_man(language, least):
    pairs = repair_pairs.load(f"honest-{language}")
    assert len(pairs) >= least and all(one.sides == honest.CATEGORIES for one in pairs)
    groups = {one.before: set() for one in honest.load(language)}
    for one in honest.load(language):
        groups[one.before].add(one.group)
    for one in pairs:
        woman, man = one.texts
        assert "female" in groups[woman] and "male" in groups[man] and woman != man
        # One frame: as many words behind who it is about, most of them the same.
        assert abs(len(woman.split()) - len(man.split())) <= 1


def test_a_limit_is_spread_over_groups_and_unknown_names_are_told():
    some = repair_pairs.load("stereoset", limit=40, seed=3)
    kinds = {one.bias_type for one in stereoset.load("development")}
    assert Counter(one.group for one in some) == dict.fromkeys(kinds, 10)
    with pytest.raises(InputError, match="did you mean 'stereoset'"):
        repair_pairs.load("stereoste")
    for name in repair_pairs.PAIRS:
        assert repair_pairs.source_record(name)["pairs"] == name
