"""Against scikit-learn, DeLong's definition, and the coverage that the intervals promise."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from ethical_compression.errors import InputError
from ethical_compression.statistics import auc

RNG = np.random.default_rng(0)
TOXIC = RNG.random(600) < 0.6
SCORES = np.round(0.8 * TOXIC + RNG.normal(size=600), 1)  # rounded, so that there are ties


def test_interval_covers_at_its_level():
    """Normal scores, true AUC Φ(d/√2); 400 draws each: 0.95 ± 3.5 standard errors of a share."""
    rng = np.random.default_rng(1)
    for separation, positives, negatives in ((1.0, 60, 40), (2.0, 25, 25), (0.0, 150, 20)):
        true = stats.norm.cdf(separation / math.sqrt(2))
        toxic = np.arange(positives + negatives) < positives
        hits = 0
        for _ in range(400):
            found = auc.auc(rng.normal(size=len(toxic)) + separation * toxic, toxic)
            hits += found.ci_low <= true <= found.ci_high
        assert abs(hits / 400 - 0.95) < 0.038, (separation, hits)


def test_interval_covers_where_a_handful_of_posts_carry_a_high_auc():
    """DeLong's own covers 86% of these, and 77% where the few are spread twice as widely."""
    rng = np.random.default_rng(3)
    toxic = np.arange(313) < 300
    for spread in (1.0, 2.0):
        scale = np.where(toxic, 1.0, spread)
        distance = stats.norm.ppf(0.95) * math.sqrt(1 + spread**2)
        hits = 0
        for _ in range(300):
            found = auc.auc(scale * rng.normal(size=313) + distance * toxic, toxic)
            hits += found.ci_low <= 0.95 <= found.ci_high
        assert hits / 300 > 0.93, spread


def test_perfect_separation_is_newcombes_interval():
    """At an AUC of 1 its limit solves 1 − x = z √V(x): by hand, on a grid."""
    found = auc.auc([1, 2, 3, 4, 5, 6], [0, 0, 1, 1, 1, 1])
    x = np.linspace(0.3, 0.9999, 200_000)
    variance = x * (1 - x) * (1 + 2 * ((1 - x) / (2 - x) + x / (1 + x))) / 8
    low = x[np.argmax(1 - x <= 1.959964 * np.sqrt(variance))]
    assert (found.auc, found.ci_high) == (1, 1) and found.ci_low == pytest.approx(low, abs=1e-4)
    back = auc.auc([6, 5, 4, 3, 2, 1], [0, 0, 1, 1, 1, 1])
    assert (back.ci_low, back.ci_high) == pytest.approx((0, 1 - found.ci_low))


def test_delongs_variance_from_its_definition():
    """Structural components over all pairs (DeLong et al. 1988), one pair at a time."""
    scores, toxic = SCORES[:80], TOXIC[:80]
    kernel = np.sign(scores[toxic][:, None] - scores[~toxic][None]) / 2 + 0.5
    variance = (
        kernel.mean(1).var(ddof=1) / toxic.sum() + kernel.mean(0).var(ddof=1) / (~toxic).sum()
    )
    assert auc.auc(scores, toxic).se == pytest.approx(math.sqrt(variance))


def test_paired_test_keeps_its_size_and_its_interval_covers():
    rng = np.random.default_rng(2)
    toxic = np.arange(120) < 60
    rejected = covered = 0
    for _ in range(600):
        shared = rng.normal(size=120) + toxic
        before, after = (shared + rng.normal(size=120) for _ in range(2))
        rejected += auc.auc_difference(before, after, toxic).p < 0.05
        worse = auc.auc_difference(before, shared + 2 * rng.normal(size=120), toxic)
        true = stats.norm.cdf(1 / math.sqrt(10)) - stats.norm.cdf(0.5)
        covered += worse.ci_low <= true <= worse.ci_high
    assert abs(rejected / 600 - 0.05) < 0.031
    assert abs(covered / 600 - 0.95) < 0.031


def test_paired_test_has_satterthwaites_degrees_of_freedom():
    """As Welch's test of the components' differences, which it is."""
    scores, toxic = np.stack([SCORES, SCORES + RNG.normal(size=600)])[:, :80], TOXIC[:80]
    parts = auc._components(scores, toxic)[1:]
    toxic_part, other_part = (part[1] - part[0] for part in parts)
    welch = stats.ttest_ind(toxic_part, -other_part, equal_var=False)
    assert auc.auc_difference(*scores, toxic).df == pytest.approx(welch.df)


def test_paired_test_and_its_degenerate_cases():
    other = SCORES + RNG.normal(size=600)
    found = auc.auc_difference(SCORES, other, TOXIC)
    assert found.auc_after == pytest.approx(roc_auc_score(TOXIC, other))
    assert found.difference == pytest.approx(found.auc_after - found.auc_before)
    assert (found.p < 0.05) == (not found.ci_low <= 0 <= found.ci_high)
    back = auc.auc_difference(other, SCORES, TOXIC)
    assert (back.difference, back.p) == pytest.approx((-found.difference, found.p))
    # A monotone transformation changes no rank.
    same = auc.auc_difference(SCORES, np.exp(SCORES), TOXIC)
    assert (same.difference, same.p, same.ci_low) == (0, 1, 0)
    with pytest.raises(InputError, match="at least two"):
        auc.auc_difference([0.1, 0.2, 0.3], [0.1, 0.2, 0.3], [True, False, False])
