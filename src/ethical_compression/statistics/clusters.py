"""Means of items that come in clusters: terms, templates, writers, verbs."""

import math
from dataclasses import dataclass, replace

import numpy as np

from ethical_compression.errors import InputError
from ethical_compression.statistics.verdicts import clustered_mean


@dataclass(frozen=True)
class ClusteredMean:
    """The mean of `n` items in `clusters` clusters, its standard error and interval (NaN where one
    cluster is all there is)."""

    n: int
    clusters: int
    mean: float
    se: float
    ci_low: float
    ci_high: float


def clustered_interval(values, clusters, *, level: float = 0.95) -> ClusteredMean:
    """The mean of (n,) values, with an interval for which clusters, not items, are independent.

    The standard error is that of cluster sums (`verdicts.clustered_mean`), with Student's quantile
    on G − 1 degrees of freedom for G clusters. Of answers (booleans) it gives the effective number
    of items, p(1 − p) ÷ se², n at most, which Wilson's interval then takes (Dean & Pagano 2015), so
    that a share stays within 0 and 1; where all answers are one, that number is G.
    Raises InputError for no values, lists of different lengths and values that are not finite.
    """
    from scipy import stats

    answers = np.asarray(values).dtype == bool
    mean, se, df = clustered_mean(values, clusters)
    n, count = len(values), df + 1
    if not df:
        return ClusteredMean(n, count, mean, se, math.nan, math.nan)
    t = float(stats.t.ppf((1 + level) / 2, df))
    if not answers:
        return ClusteredMean(n, count, mean, se, mean - t * se, mean + t * se)
    effective = min(n, mean * (1 - mean) / se**2) if se else count
    centre = (mean + t**2 / (2 * effective)) / (1 + t**2 / effective)
    half = t / (1 + t**2 / effective)
    half *= math.sqrt(mean * (1 - mean) / effective + t**2 / (4 * effective**2))
    low, high = max(0.0, min(centre - half, mean)), min(1.0, max(centre + half, mean))
    return ClusteredMean(n, count, mean, se, low, high)


def clustered_share(values, clusters, *, level: float = 0.95) -> ClusteredMean:
    """`clustered_interval` of (n,) values between 0 and 1: shares, each of several answers.

    The interval is cut to the scale. Values that are all 0 or 1 are taken for single answers, so
    that nothing but zeros does not have an interval from 0 to 0. Raises InputError besides for
    values outside 0 to 1.
    """
    values = np.asarray(values)
    if not ((values >= 0) & (values <= 1)).all():
        raise InputError("A share lies between 0 and 1.")
    if np.isin(values, [0, 1]).all():
        return clustered_interval(values.astype(bool), clusters, level=level)
    found = clustered_interval(values, clusters, level=level)
    return replace(found, ci_low=max(0.0, found.ci_low), ci_high=min(1.0, found.ci_high))
