"""Paired comparisons, each with an effect size and an interval beside its p-value.

Every difference is *after minus before*: compressed minus full. The pair is the item that both
models answered, so the spread between items, much larger than any effect, drops out.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ethical_compression.errors import InputError


@dataclass(frozen=True)
class PairedTest:
    """`difference`, its interval and its standard error `se` are in the units of the measure."""

    n: int
    mean_before: float
    mean_after: float
    difference: float
    ci_low: float
    ci_high: float
    se: float
    d_z: float
    d_z_low: float
    d_z_high: float
    t: float
    p: float
    p_wilcoxon: float


@dataclass(frozen=True)
class McNemar:
    """`gained`, `lost`: items that only the second or only the first model answered rightly."""

    n: int
    accuracy_before: float
    accuracy_after: float
    difference: float
    ci_low: float
    ci_high: float
    gained: int
    lost: int
    p: float


@dataclass(frozen=True)
class Equivalence:
    """`equivalent` iff p < alpha: the (1 − 2·alpha) interval lies within ±margin (see `tost`)."""

    n: int
    difference: float
    ci_low: float
    ci_high: float
    margin: float
    p: float
    equivalent: bool


@dataclass(frozen=True)
class Slope:
    """`slope`: change for each unit of the value before; `agreement`: correlation of the looks."""

    n: int
    slope: float
    ci_low: float
    ci_high: float
    p: float
    agreement: float
    se: float


def paired_test(before, after, *, level: float = 0.95) -> PairedTest:
    """Paired t-test of after − before, two-sided, with intervals at `level`.

    `before`, `after`: (n,), n ≥ 2, aligned by item. The interval of the mean difference is
    Student's; that of Cohen's d_z (mean difference ÷ its standard deviation; Cohen 1988) is exact
    for normal differences, by inverting the noncentral t (Steiger & Fouladi 1997). `p_wilcoxon` is
    the signed-rank test's, which asks about the median without trusting the mean.

    If no pair differs: difference and d_z are 0, both p are 1, and there is no standard error and
    no interval of d_z (NaN). Raises InputError for unequal lengths, fewer than two pairs, values
    that are not finite, and pairs that all differ by one same amount other than 0 (there is no
    spread to test against).
    """
    from scipy import stats

    before, after, change = _pairs(before, after)
    n, means = len(change), (float(before.mean()), float(after.mean()))
    if not change.any():
        nan = math.nan
        return PairedTest(
            n, *means, 0.0, 0.0, 0.0, nan, 0.0, nan, nan, t=0.0, p=1.0, p_wilcoxon=1.0
        )
    result = stats.ttest_rel(after, before)
    low, high = result.confidence_interval(level)
    t, root = float(result.statistic), math.sqrt(n)
    ncp_low, ncp_high = _noncentrality(t, n - 1, level)
    return PairedTest(
        n,
        *means,
        difference=float(change.mean()),
        ci_low=float(low),
        ci_high=float(high),
        se=float(stats.sem(change)),
        d_z=t / root,
        d_z_low=ncp_low / root,
        d_z_high=ncp_high / root,
        t=t,
        p=float(result.pvalue),
        p_wilcoxon=float(stats.wilcoxon(change).pvalue),
    )


def mcnemar(correct_before, correct_after, *, level: float = 0.95) -> McNemar:
    """Exact McNemar test of a change in accuracy, with the change's interval.

    The interval is Bonett & Price's (2012) adjusted Wald for paired proportions, centred on the
    adjusted estimate, so not quite symmetric about `difference`. Both (n,) of 0/1 or booleans.
    Raises InputError for unequal lengths, no items, or other values.
    """
    from scipy import stats
    from statsmodels.stats.contingency_tables import mcnemar as exact

    before, after = np.asarray(correct_before), np.asarray(correct_after)
    if before.shape != after.shape or before.ndim != 1 or not before.size:
        raise InputError("McNemar's test needs two equally long, non-empty lists of answers.")
    if not np.isin([before, after], [0, 1]).all():
        raise InputError("McNemar's test needs answers that are right (1) or wrong (0).")
    before, after = before.astype(bool), after.astype(bool)
    n = len(before)
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    half = stats.norm.ppf((1 + level) / 2) * math.sqrt((up + down - (up - down) ** 2) / (n + 2))
    return McNemar(
        n=n,
        accuracy_before=float(before.mean()),
        accuracy_after=float(after.mean()),
        difference=(gained - lost) / n,
        ci_low=max(-1.0, up - down - half),
        ci_high=min(1.0, up - down + half),
        gained=gained,
        lost=lost,
        p=float(exact([[0, lost], [gained, 0]], exact=True).pvalue) if gained + lost else 1.0,
    )


def tost(before, after, margin: float, *, alpha: float = 0.05) -> Equivalence:
    """Two one-sided paired t-tests (Schuirmann 1987): is the mean change within ±margin?

    This, never a large p of a test of difference, supports 'no change'. State the margin before
    looking. `p` is the larger of the two; the interval has level 1 − 2·alpha. Raises as
    `paired_test`, and for a margin that is not a positive number.

    Where no pair differs there is no spread, and that two seeds did not move shows little: `p` is
    then (1 − margin)ⁿ, the most chance that n changes of at most 1 in size, of which the mean is
    the margin or more, all come out as none (1 for a margin of 1 or more, on a wider scale).
    """
    from scipy import stats
    from statsmodels.stats.weightstats import ttost_paired

    if not (math.isfinite(margin) and margin > 0):
        raise InputError(f"The equivalence margin must be a positive number, not {margin}.")
    before, after, change = _pairs(before, after)
    n, difference = len(change), float(change.mean())
    if not change.any():
        p = (1 - margin) ** n if margin < 1 else 1.0
        return Equivalence(n, 0.0, 0.0, 0.0, margin, p, p < alpha)
    p = float(ttost_paired(after, before, -margin, margin)[0])
    low, high = stats.ttest_rel(after, before).confidence_interval(1 - 2 * alpha)
    return Equivalence(n, difference, float(low), float(high), margin, p, p < alpha)


def p_within(value: float, se: float, margin: float, df: float = math.inf) -> float:
    """p of two one-sided tests that what is estimated, with standard error `se`, is within ±margin.

    The larger of the two, by Student's distribution with `df` degrees of freedom, the normal one
    where that is infinite. NaN for an estimate or error that is NaN; an error of 0 leaves no doubt.
    Raises InputError for a margin that is not a positive number.
    """
    from scipy import stats

    if not (math.isfinite(margin) and margin > 0):
        raise InputError(f"The equivalence margin must be a positive number, not {margin}.")
    if se == 0:
        return 0.0 if abs(value) < margin else 1.0
    return float(stats.t.sf((margin - abs(value)) / se, df))


def change_slope(before, after, again=None, *, level: float = 0.95) -> Slope:
    """How the change after − before depends on the value before: the slope of a straight line.

    Without `again`: least squares of the change on `before`. Whatever noise `before` holds enters
    the change with the other sign, so this slope is negative even where nothing but noise differs
    (regression to the mean).
    again: (n,), a second look at `before`, with noise of its own. The slope is then that on what
    the two looks share, Cov(change, again) ÷ Cov(before, again): the instrumental-variable
    estimator for errors in a regressor (Durbin 1954). It is 0, but for chance, where `before` and
    `after` differ by noise that `again` has no part in.

    `before`, `after`, `again`: (n,), n ≥ 4, aligned by item. Student's interval with n − 2 degrees
    of freedom, on White's (1980) standard error with the factor n/(n − 2) (HC1); with `again` that
    of Anderson & Rubin (1949), the slopes for which the rest does not vary with `again` by the same
    test, which covers however little the looks share. Where they share too little, an end is
    infinite; where they share nothing, there is no slope (NaN). `agreement` (1 without `again`)
    says how much they do. `se` is White's around the fitted line.
    Raises InputError for unequal lengths, missing values, and looks without spread.
    """
    from scipy import stats

    before, after = (np.asarray(values, dtype=float) for values in (before, after))
    again = before if again is None else np.asarray(again, dtype=float)
    if before.ndim != 1 or not before.shape == after.shape == again.shape or len(before) < 4:
        raise InputError("A slope of change needs equally long lists of at least four items.")
    if not np.isfinite([before, after, again]).all():
        raise InputError("A slope of change needs every value: some are missing or infinite.")
    if not (np.ptp(before) and np.ptp(again)):
        raise InputError("Every item has the same value before the change, so no line has a slope.")
    x, z = before - before.mean(), again - again.mean()
    change = after - before - (after - before).mean()
    shared, moved = float(x @ z), float(change @ z)
    agreement = shared / math.sqrt(float(x @ x) * float(z @ z))
    slope = moved / shared if abs(agreement) > 1e-12 else math.nan
    df = len(x) - 2
    critical, scale = stats.t.ppf((1 + level) / 2, df), len(x) / df

    def error(rest) -> float:
        """Of the sum of z · rest."""
        return math.sqrt(scale * float((z * rest) @ (z * rest)))

    se = error(change - slope * x) / abs(shared) if not math.isnan(slope) else math.nan
    if again is before:  # Wald's test, around the fitted line
        spread, low, high = se * abs(shared), slope - critical * se, slope + critical * se
    else:
        spread, (low, high) = error(change), _accepted(change, x, z, critical**2 * scale)
    return Slope(
        n=len(x),
        slope=slope,
        ci_low=low,
        ci_high=high,
        p=float(2 * stats.t.sf(abs(moved) / spread, df)) if spread else float(not moved),
        agreement=agreement,
        se=se,
    )


def _accepted(change, x, z, factor: float) -> tuple[float, float]:
    """The slopes b with (Σ z·(change − b·x))² ≤ factor · Σ z²·(change − b·x)²: (low, high).

    All arrays (n,), centred. A quadratic in b: infinite ends where it accepts b without bound.
    """
    square = float(x @ z) ** 2 - factor * float((z * x) @ (z * x))
    middle = float(x @ z) * float(change @ z) - factor * float((z * x) @ (z * change))
    rest = float(change @ z) ** 2 - factor * float((z * change) @ (z * change))
    if square <= 0:
        return -math.inf, math.inf
    root = math.sqrt(max(middle**2 - square * rest, 0.0))
    return (middle - root) / square, (middle + root) / square


def each_against_others(values, groups, *, level: float = 0.95) -> pd.DataFrame:
    """Is a group's mean another than that of all other groups together? Welch's t-test, a row each.

    `values`: (n,), `groups`: (n,) names; two items or more in each group and outside it. Columns
    `group`, `n`, `mean`, `mean_others`, `difference` (group − others), `ci_low`, `ci_high`, `d`
    (difference ÷ the root of the mean of the two variances; Cohen 1988), `p`, and `p_bh`, after
    Benjamini and Hochberg over the rows: this is a screen. Raises InputError for fewer than two
    groups, a group of one, and values that are missing or all the same.
    """
    from scipy import stats

    values, groups = np.asarray(values, dtype=float), np.asarray(groups, dtype=object)
    if values.ndim != 1 or values.shape != groups.shape or not np.isfinite(values).all():
        raise InputError("A comparison of groups needs one finite value and one group an item.")
    names = list(dict.fromkeys(groups))
    if len(names) < 2 or min((groups == name).sum() for name in names) < 2:
        raise InputError(
            f"Groups can be compared where there are two or more, of two items or more each: here "
            f"are {', '.join(f'{name} ({(groups == name).sum()})' for name in names) or 'none'}."
        )
    rows = []
    for name in names:
        inside, outside = values[groups == name], values[groups != name]
        spread = math.sqrt((inside.var(ddof=1) + outside.var(ddof=1)) / 2)
        if not spread:
            raise InputError(
                f"Every value is the same for {name}, and for the others: there is nothing to test."
            )
        test = stats.ttest_ind(inside, outside, equal_var=False)
        low, high = test.confidence_interval(level)
        rows.append(
            {
                "group": name,
                "n": len(inside),
                "mean": inside.mean(),
                "mean_others": outside.mean(),
                "difference": inside.mean() - outside.mean(),
                "ci_low": low,
                "ci_high": high,
                "d": (inside.mean() - outside.mean()) / spread,
                "p": test.pvalue,
            }
        )
    table = pd.DataFrame(rows)
    return table.assign(p_bh=benjamini_hochberg(table["p"]))


def holm(pvalues) -> np.ndarray:
    """Holm-adjusted p-values (Holm 1979), for claims: bounds the chance of any false one."""
    p, order = _checked(pvalues)
    found = np.empty_like(p)
    found[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(found, 1.0)


def benjamini_hochberg(pvalues) -> np.ndarray:
    """Adjusted p-values (Benjamini & Hochberg 1995), for screens: bounds the false share."""
    p, order = _checked(pvalues)
    found = np.empty_like(p)
    ratios = p[order] * len(p) / np.arange(1, len(p) + 1)
    found[order] = np.minimum.accumulate(ratios[::-1])[::-1]
    return np.minimum(found, 1.0)


def over_tests(pvalues: pd.Series, correct: Callable = holm) -> pd.Series:
    """`correct` (`holm` or `benjamini_hochberg`) over the tests that there were: NaN stays, and
    counts for none."""
    found = pd.Series(math.nan, index=pvalues.index)
    known = pvalues.notna()
    found[known] = correct(pvalues[known])
    return found


def _checked(pvalues) -> tuple[np.ndarray, np.ndarray]:
    """p-values, and their order from the smallest."""
    p = np.asarray(pvalues, dtype=float)
    if not ((p >= 0) & (p <= 1)).all():
        raise InputError("Every p-value must lie between 0 and 1 and none may be missing.")
    return p, np.argsort(p, kind="stable")


def _pairs(before, after) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    before, after = np.asarray(before, dtype=float), np.asarray(after, dtype=float)
    if before.ndim != 1 or before.shape != after.shape:
        raise InputError("A paired test needs two lists of the same length, one value per item.")
    if len(before) < 2:
        raise InputError(f"A paired test needs at least two items; there is {len(before)}.")
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        raise InputError("Some values are missing or infinite; a paired test needs every pair.")
    change = after - before
    # Equal up to rounding: the t statistic would be rounding error in the denominator.
    if change.any() and np.ptp(change) <= 1e-12 * np.abs(change).max():
        raise InputError(
            f"Every pair differs by the same amount ({change[0]:g}), which leaves no spread to "
            "test against; check that the two lists are what you meant to compare."
        )
    return before, after, change


def _noncentrality(t: float, df: int, level: float) -> tuple[float, float]:
    """The noncentralities that put `t` at the upper and the lower tail: limits of d_z·√n."""
    from scipy import optimize, stats

    def below(ncp: float) -> float:
        # Far out scipy's cdf can be NaN, where it is 1 (ncp far below t) or 0 (far above).
        value = float(stats.nct.cdf(t, df, ncp))
        return float(ncp < t) if math.isnan(value) else value

    def limit(tail: float) -> float:
        # A normal approximation to start from, then outward: the cdf falls in the noncentrality.
        spread = math.sqrt(1 + t**2 / (2 * df))
        centre = t - stats.norm.ppf(tail) * spread
        low, high = centre - 0.5 * spread, centre + 0.5 * spread
        while below(low) < tail:
            low -= 0.5 * spread
        while below(high) > tail:
            high += 0.5 * spread
        return optimize.brentq(lambda ncp: below(ncp) - tail, low, high)

    return limit((1 + level) / 2), limit((1 - level) / 2)
