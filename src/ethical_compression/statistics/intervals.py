"""Means and shares with intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ethical_compression.errors import InputError


def wilson(hits, counts, *, level: float = 0.95):
    """Wilson's (1927) interval of shares, `hits` of `counts`: (low, high), of the arguments' shape.

    Rounding never leaves the share itself outside. NaN where nothing was counted.
    """
    from statsmodels.stats.proportion import proportion_confint

    with np.errstate(invalid="ignore", divide="ignore"):  # 0 of 0
        low, high = proportion_confint(hits, counts, alpha=1 - level, method="wilson")
        share = np.divide(hits, counts)
    return np.minimum(low, share), np.maximum(high, share)


def clopper_pearson(hits: int, count: int, *, level: float = 0.95) -> tuple[float, float]:
    """Clopper and Pearson's (1934) interval of a share, `hits` of `count`: (low, high).

    It holds the share at least as often as `level` says, however few were counted; `wilson` does so
    on average.
    """
    from scipy import stats

    found = stats.binomtest(hits, count).proportion_ci(level, method="exact")
    return float(found.low), float(found.high)


@dataclass(frozen=True)
class Share:
    """A share of `n` answers with Wilson's interval; `p` asks whether it could be one half."""

    n: int
    share: float
    ci_low: float
    ci_high: float
    p: float


def share(answers, *, level: float = 0.95) -> Share:
    """How many of (n,) answers are yes: share, Wilson's interval, exact test against one half.

    An answer may be a fraction, the mean of several that one item gave (both orders of a question):
    the item stays the unit, and the interval, which takes it for a single yes or no, errs on the
    wide side; `p` is then the normal one that goes with Wilson's interval, as wide.
    Raises InputError for no answers, and for values outside 0 to 1.
    """
    from scipy import stats

    answers = np.asarray(answers, dtype=float)
    if answers.ndim != 1 or not answers.size or not ((answers >= 0) & (answers <= 1)).all():
        raise InputError("A share needs at least one answer, each between 0 (no) and 1 (yes).")
    n, yes = len(answers), float(answers.sum())
    low, high = wilson(yes, n, level=level)
    if np.isin(answers, [0, 1]).all():
        p = stats.binomtest(round(yes), n).pvalue
    else:
        p = 2 * stats.norm.sf(abs(yes - n / 2) / math.sqrt(n / 4))
    return Share(n, yes / n, float(low), float(high), float(p))


def in_quadrature(
    value: float, parts: Sequence[tuple[float, float]], *, level: float = 0.95
) -> tuple[float, float]:
    """An estimate with several independent sources of error: (half-width of its interval, p).

    parts: (variance, degrees of freedom) of each source, say of drawing stories and of training
    runs. The half-widths that Student's quantiles give each source are added as their squares
    (Howe 1974). With two or three runs this holds its level, where Satterthwaite's degrees of
    freedom fall to 89%; the more it errs on the wide side, the more the sources are alike. `p` is
    of the hypothesis that the true value is 0: 1 − the level whose interval ends there.
    Raises InputError for a variance below 0 and for no degrees of freedom.
    """
    from scipy import optimize, stats

    if not all(variance >= 0 and df > 0 for variance, df in parts):
        raise InputError("Each source of error needs a variance and its degrees of freedom.")

    def half(log_alpha: float) -> float:
        tail = math.exp(log_alpha) / 2
        return math.hypot(*(math.sqrt(v) * stats.t.isf(tail, df) for v, df in parts if v))

    width = half(math.log1p(-level))
    least = math.log(1e-300)
    if not value:
        return width, 1.0
    if half(least) <= abs(value):
        return width, 0.0
    log_p = optimize.brentq(lambda log_alpha: half(log_alpha) - abs(value), least, 0.0)
    return width, math.exp(log_p)


def mean_interval(values, *, level: float = 0.95) -> tuple[float, float, float]:
    """The mean of (n,) values, n ≥ 2, and Student's interval of it: (mean, low, high).

    The mean of answers (booleans, or values that are all 0 or 1, but not all 0) is a share, and has
    Wilson's interval: Student's would leave the scale (43 of 44: up to 1.02).
    """
    from scipy import stats

    answers = np.asarray(values).dtype == bool
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise InputError("A mean's interval needs at least two finite values.")
    # Nothing but zeros may as well be differences of two models that are one.
    if np.isin(values, [0, 1]).all() and (values.any() or answers):
        found = share(values, level=level)
        return found.share, found.ci_low, found.ci_high
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * stats.sem(values)
    return float(values.mean()), float(values.mean() - half), float(values.mean() + half)
