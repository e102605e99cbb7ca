"""Kneser–Ney n-grams: nltk's numbers, a sum of one, and nothing read over documents."""

import numpy as np
import pytest

from ethical_compression.errors import InputError
from ethical_compression.metrics import kneser_ney

SENTENCES = ["a b c a b d a b c", "b c a b c d d", "c a b c"]
WORDS = "abcd"


def tokens(text):
    return np.array([WORDS.index(one) for one in text.split()])


@pytest.mark.parametrize("order", [2, 3])
def test_probabilities_are_nltks(order):
    lm = pytest.importorskip("nltk.lm")
    from nltk.util import everygrams

    theirs = lm.KneserNeyInterpolated(order, discount=0.3)
    theirs.fit(
        [list(everygrams(one.split(), max_len=order)) for one in SENTENCES], vocabulary_text=WORDS
    )
    mine = kneser_ney.fitted(
        [tokens(one) for one in SENTENCES], 4, order=order, discount=0.3, floor=False
    )
    text = "c a b c a b d"
    got = np.exp(kneser_ney.logprobs(mine, tokens(text)))
    said = text.split()
    for place in range(order - 1, len(said)):
        wanted = theirs.score(said[place], said[place - order + 1 : place])
        assert got[place] == pytest.approx(wanted), (place, order)


@pytest.mark.parametrize("order", [1, 2, 5])
def test_every_context_sums_to_one_and_every_token_has_a_chance(order):
    draw = np.random.default_rng(0)
    model = kneser_ney.fitted([draw.integers(0, 6, 80) for _ in range(3)], 9, order=order)
    for _ in range(20):
        context = draw.integers(0, 8, 6)
        p = [np.exp(kneser_ney.logprobs(model, np.append(context, one))[-1]) for one in range(9)]
        assert sum(p) == pytest.approx(1) and min(p) > 0


def test_what_was_seen_is_likelier_and_nothing_reaches_over_two_documents():
    seen = kneser_ney.fitted([np.array([0, 1, 2] * 20)], 5)
    assert np.exp(kneser_ney.logprobs(seen, np.array([0, 1, 2, 0, 1])))[-1] > 0.9
    apart = kneser_ney.fitted([np.array([0, 1]), np.array([2, 3])] * 5, 5, order=2)
    p = np.exp(kneser_ney.logprobs(apart, np.array([1, 2])))[-1]
    alone = np.exp(kneser_ney.logprobs(apart, np.array([2])))[-1]
    assert p == pytest.approx(alone)  # 1 was never followed by anything


def test_no_texts_are_told():
    with pytest.raises(InputError, match="n-grams need texts"):
        kneser_ney.fitted([], 5)


def test_a_text_is_read_as_one_with_all_but_its_first_token():
    def tokenizer(text, add_special_tokens):
        assert not add_special_tokens and text == "a b\n\nc a"
        return {"input_ids": [0, 1, 2, 0]}

    model = kneser_ney.fitted([tokens(one) for one in SENTENCES], 4, order=2)
    found = kneser_ney.windows(model, tokenizer, ["a b", "c a"])
    assert found["logprob"].tolist() == kneser_ney.logprobs(model, [0, 1, 2, 0])[1:].tolist()
