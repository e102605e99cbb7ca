"""Exact intervals of shares, at their ends."""

import pytest

from ethical_compression.statistics.intervals import clopper_pearson


def test_nothing_hit_and_all_hit_have_one_sided_ends():
    assert clopper_pearson(0, 20) == (0.0, pytest.approx(1 - 0.025 ** (1 / 20)))
    assert clopper_pearson(20, 20) == (pytest.approx(0.025 ** (1 / 20)), 1.0)
