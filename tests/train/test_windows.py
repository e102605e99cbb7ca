"""Packing: no token lost, none twice, no window of two documents told as one."""

from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ethical_compression.errors import InputError
from ethical_compression.train import windows

BEGIN = 0


def documents(sizes) -> list[np.ndarray]:
    """Every token is a number of its own, but for the one that begins a document."""
    found, at = [], 1
    for size in sizes:
        found.append(np.array([BEGIN, *range(at, at + size)], dtype=np.int32))
        at += size
    return found


@settings(deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(0, 3))
def test_every_token_is_predicted_once_a_round(sizes, seed):
    lengths = (2, 3, 8)
    texts = documents([*sizes, 20])
    rounds = list(islice(windows.windows(texts, lengths, seed), 4))
    predicted = np.concatenate([one[1:] for found in rounds for one in found])
    line = np.concatenate([rounds[0][0][:1], predicted])
    # The line is the rounds' documents, whole, one after the other, and stops in the last.
    total = sum(map(len, texts))
    for number in range(len(line) // total):
        part = line[number * total : (number + 1) * total]
        assert sorted(part) == sorted(np.concatenate(texts))
    assert 4 * total - len(line) <= max(lengths)
    assert all(one[-1] == other[0] for one, other in pairwise(rounds[0]))
    assert {len(one) - 1 for found in rounds for one in found} <= set(lengths)


def test_batches_have_one_length_and_one_number_of_tokens_and_are_those_of_the_windows():
    texts = documents([30, 50, 41])
    some = list(islice(windows.batches(texts, (4, 8), 16, seed=1), 40))
    assert {one.shape for one in some} == {(4, 5), (2, 9)}
    there = [tuple(one) for found in islice(windows.windows(texts, (4, 8), 1), 30) for one in found]
    seen = [tuple(row) for one in some for row in one]
    assert all(row in there for row in seen)
    counts = {row: seen.count(row) for row in seen}
    assert all(count <= there.count(row) for row, count in counts.items())


def test_batches_follow_from_the_seed():
    texts = documents([30, 50, 41])
    first, again, other = (
        [one.tolist() for one in islice(windows.batches(texts, (4, 8), 16, seed), 12)]
        for seed in (1, 1, 2)
    )
    assert first == again != other
    assert first[:6] != first[6:]  # a round is shuffled anew


def test_segments_and_positions_begin_anew_with_a_document():
    rows = np.array([[5, 6, BEGIN, 7, BEGIN, 8], [BEGIN, 1, 2, 3, 4, 5]])
    numbers = windows.segments(rows, BEGIN)
    assert numbers.tolist() == [[0, 0, 1, 1, 2, 2], [0] * 6]
    assert windows.positions(numbers).tolist() == [[0, 1, 0, 1, 0, 1], [0, 1, 2, 3, 4, 5]]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=5), st.integers(1, 9))
def test_in_order_every_token_but_the_first_is_predicted_once(sizes, length):
    texts = documents(sizes)
    found = windows.in_order(texts, length)
    assert [t for one in found for t in one[1:]] == [t for one in texts for t in one[1:]]
    assert all(1 < len(one) <= length + 1 for one in found)


@pytest.mark.parametrize(
    ("sizes", "lengths", "said"),
    [([20], (3, 8), "no multiple"), ([20], (), "no multiple"), ([3], (4, 8), "shorter than one")],
)
def test_what_cannot_be_packed_is_told(sizes, lengths, said):
    with pytest.raises(InputError, match=said):
        next(windows.batches(documents(sizes), lengths, 16, 0))
