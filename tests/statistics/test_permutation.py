"""The permutation test of unequal groups: by hand, and its level and power by simulation."""

import itertools

import numpy as np
import pytest

from ethical_compression.errors import InputError
from ethical_compression.statistics.permutation import p_unequal


def spread(values, groups):
    return sum(
        len(values[groups == one]) * (values[groups == one].mean() - values.mean()) ** 2
        for one in set(groups)
    )


def test_p_is_the_share_of_all_orders_that_spread_as_far():
    values = np.array([0.0, 0.1, 0.4, 1.0, 1.2, 2.0])
    groups = np.array(["a", "a", "a", "b", "b", "b"])
    every = [
        spread(values[list(order)], groups) >= spread(values, groups) - 1e-12
        for order in itertools.permutations(range(6))
    ]
    found = p_unequal(values, groups, draws=4999)[0]
    assert found == pytest.approx(np.mean(every), abs=0.02)
    assert p_unequal(values, groups, draws=4999, seed=0)[0] == found


def test_whole_clusters_are_shuffled():
    """Ten equal values of one cluster are one observation."""
    rng = np.random.default_rng(0)
    one_each = rng.normal(size=12) + np.repeat([0, 1.0], 6)
    groups = np.repeat(["a", "b"], 6)
    ten = [np.repeat(some, 10) for some in (one_each, groups, np.arange(12))]
    alone = p_unequal(one_each, groups)[0]
    assert p_unequal(*ten)[0] == pytest.approx(alone, abs=1e-12)
    assert p_unequal(ten[0], ten[1])[0] < alone / 5


def test_nothing_that_varies_gives_no_evidence():
    groups = np.repeat(["a", "b"], 20)
    assert p_unequal(np.zeros(40), groups).tolist() == [1.0]
    assert p_unequal(np.full((40, 2), 0.1), groups).tolist() == [1.0, 1.0]


def test_its_level_holds_with_rare_flips_in_clusters_and_it_finds_a_group_that_is_hit():
    rng = np.random.default_rng(1)
    groups, clusters = np.repeat(np.arange(8), 40), np.arange(320) // 4
    flips = rng.choice([-1.0, 0, 1], p=[0.05, 0.9, 0.05], size=(80, 300)).repeat(4, 0)
    flips *= rng.random((320, 300)) < 0.7
    quiet = p_unequal(flips, groups, clusters, draws=499)
    assert 0.02 <= (quiet < 0.05).mean() <= 0.08
    hit = flips.copy()
    hit[:40] += rng.random((40, 300)) < 0.45
    assert (p_unequal(hit, groups, clusters, draws=499) < 0.05).mean() > 0.8


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InputError, match="Two groups"):
        p_unequal([1.0, 2.0], ["a", "a"])
    with pytest.raises(InputError, match="finite"):
        p_unequal([1.0, np.nan], ["a", "b"])
    with pytest.raises(InputError, match="its group"):
        p_unequal([1.0, 2.0], ["a", "b", "b"])
