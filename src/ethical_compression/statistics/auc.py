"""The area under the ROC curve, its interval for new posts, and the test that two are the same.

An AUC is the chance that a toxic post scores above a post that is not; an order of scores is all
that it sees.
"""

import math
from dataclasses import dataclass

import numpy as np

from ethical_compression.errors import InputError

# With fewer posts of a kind than this DeLong's interval is joined by Newcombe's (`auc`).
FEW = 30


@dataclass(frozen=True)
class Auc:
    """`se` is DeLong's. It and the interval are NaN, with a `note` why, where there is none."""

    positives: int
    negatives: int
    auc: float
    se: float
    ci_low: float
    ci_high: float
    note: str = ""


@dataclass(frozen=True)
class AucDifference:
    """Second model minus first, on the same posts."""

    auc_before: float
    auc_after: float
    difference: float
    ci_low: float
    ci_high: float
    t: float
    df: float
    p: float


def auc(scores, toxic, *, level: float = 0.95) -> Auc:
    """Area under the ROC curve, ties counted half, with its interval for new posts.

    `scores`: (n,) finite; `toxic`: (n,) booleans. The variance is that of DeLong et al. 1988, found
    by midranks (Sun & Xu 2014). The interval is symmetric on the logit scale, so it cannot leave
    [0, 1], with Student's quantile at Satterthwaite's degrees of freedom: a handful of posts of a
    kind estimates its part of the variance badly. Where there are fewer than `FEW` of a kind that
    estimate is too small whenever the AUC comes out high, and the interval is the hull of this one
    and Newcombe's (2006, method 5), whose variance depends on the AUC and the counts alone.

    Without a toxic post, or without another, there is no AUC; with one of a kind, or where all
    scores are the same, no interval; with perfect separation it is Newcombe's: `note` says so.
    Raises InputError for unequal lengths and scores that are not finite.
    """
    scores, toxic = checked(scores, toxic)
    positives, negatives = int(toxic.sum()), int((~toxic).sum())
    nothing = {"se": math.nan, "ci_low": math.nan, "ci_high": math.nan}
    if not positives or not negatives:
        note = "no post" if not len(scores) else f"no {'non-' if positives else ''}toxic post"
        return Auc(positives, negatives, math.nan, **nothing, note=note)
    values, toxic_part, other_part = _components(scores[None], toxic)
    value = float(values[0])
    if min(positives, negatives) < 2:
        note = f"a single {'non-' if positives > 1 else ''}toxic post: no interval"
        return Auc(positives, negatives, value, **nothing, note=note)
    if value in (0, 1):
        low, high = _newcombe(value, positives, negatives, level=level)
        note = "no overlap of scores: the interval is Newcombe's"
        return Auc(positives, negatives, value, math.nan, low, high, note=note)
    se, df = _error(toxic_part[0], other_part[0])
    if not se:
        return Auc(positives, negatives, value, **nothing, note="all scores tied: no interval")
    low, high = interval(value, se, df, positives, negatives, level=level)
    return Auc(positives, negatives, value, se, low, high)


def auc_difference(before, after, toxic, *, level: float = 0.95) -> AucDifference:
    """DeLong's test that two models rank the same posts equally well, with the change's interval.

    `before`, `after`: (n,) scores of one model and of the other, aligned by post; `toxic`: (n,)
    booleans. Student's quantiles with Satterthwaite's degrees of freedom (`df`), as in `auc`.
    Raises InputError as `auc`, and for fewer than two posts of either kind.
    Where the two AUCs differ by the same amount whichever posts are drawn, p is 1 (no difference)
    or 0 and the interval has no width.
    """
    from scipy import stats

    before, toxic = checked(before, toxic)
    after, _ = checked(after, toxic)
    if min(toxic.sum(), (~toxic).sum()) < 2:
        raise InputError("DeLong's test needs at least two toxic posts and two that are not.")
    values, toxic_part, other_part = _components(np.stack([before, after]), toxic)
    difference = float(values[1] - values[0])
    se, df = _error(toxic_part[1] - toxic_part[0], other_part[1] - other_part[0])
    # Equal up to rounding: the quotient below would be rounding error over rounding error.
    if se <= 1e-12:
        se, df = 0.0, math.nan
    t = difference / se if se else math.copysign(math.inf, difference) if difference else 0.0
    half = float(stats.t.ppf((1 + level) / 2, df)) * se if se else 0.0
    return AucDifference(
        *map(float, values),
        difference=difference,
        ci_low=difference - half,
        ci_high=difference + half,
        t=t,
        df=df,
        p=float(2 * stats.t.sf(abs(t), df)) if se else float(not difference),
    )


def checked(scores, toxic) -> tuple[np.ndarray, np.ndarray]:
    scores, toxic = np.asarray(scores, dtype=float), np.asarray(toxic)
    if scores.ndim != 1 or scores.shape != toxic.shape:
        raise InputError("An AUC needs one score and one label per post: two equally long lists.")
    if not np.isfinite(scores).all():
        raise InputError("Some scores are missing or infinite; every post needs a finite score.")
    if not np.isin(toxic, [0, 1]).all():
        raise InputError("Labels must say toxic (1) or not (0); bring classes to that form first.")
    return scores, toxic.astype(bool)


def _components(scores: np.ndarray, toxic: np.ndarray):
    """AUCs (models,) and DeLong's structural components (models, positives), (models, negatives).

    `scores`: (models, n). A toxic post's component is the share of other posts that it outscores:
    its midrank among all minus that among the toxic, over the number of the others.
    """
    from scipy.stats import rankdata

    positives, negatives = toxic.sum(), (~toxic).sum()
    ranks = rankdata(scores, axis=1)
    toxic_part = (ranks[:, toxic] - rankdata(scores[:, toxic], axis=1)) / negatives
    other_part = 1 - (ranks[:, ~toxic] - rankdata(scores[:, ~toxic], axis=1)) / positives
    return toxic_part.mean(axis=1), toxic_part, other_part


def shares(scores, toxic) -> np.ndarray:
    """(n,): what each post adds to the AUC; their mean is the AUC, and the standard error of that
    mean is DeLong's.

    A toxic post has AUC + n/m (V − AUC), with V the share of the n − m other posts that it
    outscores (DeLong's structural component), and another post likewise. Differences of two models'
    shares are so a value a post, whose mean is the change of the AUC. Not within [0, 1].
    Raises InputError as `auc`, and for fewer than two posts of either kind.
    """
    scores, toxic = checked(scores, toxic)
    if min(toxic.sum(), (~toxic).sum()) < 2:
        raise InputError("An AUC by post needs at least two toxic posts and two that are not.")
    value, toxic_part, other_part = _components(scores[None], toxic)
    found = np.empty(len(scores))
    for kind, part in ((toxic, toxic_part[0]), (~toxic, other_part[0])):
        found[kind] = value[0] + len(scores) / kind.sum() * (part - value[0])
    return found


def _error(toxic_part: np.ndarray, other_part: np.ndarray) -> tuple[float, float]:
    """DeLong's standard error from components (positives,), (negatives,), and Satterthwaite's df.

    The components may be differences of two models'. df is NaN where nothing varies.
    """
    parts = [(part.var(ddof=1) / len(part), len(part) - 1) for part in (toxic_part, other_part)]
    variance = sum(one for one, _ in parts)
    df = variance**2 / sum(one**2 / df for one, df in parts) if variance else math.nan
    return math.sqrt(variance), df


def interval(
    value: float, se: float, df: float, positives: int, negatives: int, *, more=0.0, level: float
) -> tuple[float, float]:
    """The interval of an AUC strictly between 0 and 1, as `auc` describes it.

    more: a variance that `se` holds beside that of the posts.
    """
    from scipy import special, stats

    half = stats.t.ppf((1 + level) / 2, df) * se / (value * (1 - value))
    low, high = special.expit(special.logit(value) + np.array([-half, half]))
    if min(positives, negatives) < FEW:
        other = _newcombe(value, positives, negatives, more=more, level=level)
        low, high = min(low, other[0]), max(high, other[1])
    return float(low), float(high)


def _newcombe(
    value: float, positives: int, negatives: int, *, more: float = 0.0, level: float
) -> tuple[float, float]:
    """Newcombe's (2006) score interval of an AUC, method 5: the AUCs that `value` does not reject.

    The variance of an estimate where the truth is x is Hanley & McNeil's (1982) with the mean of
    the two counts in place of each; `more` is added to it.
    """
    from scipy import optimize, stats

    z, half = stats.norm.ppf((1 + level) / 2), (positives + negatives) / 2 - 1

    def beyond(x: float) -> float:
        variance = x * (1 - x) * (1 + half * ((1 - x) / (2 - x) + x / (1 + x)))
        return abs(value - x) - z * math.sqrt(variance / (positives * negatives) + more)

    inside = min(max(value, 1e-12), 1 - 1e-12)  # at 0 and 1 the variance vanishes
    low = optimize.brentq(beyond, 0, inside) if beyond(0) > 0 else 0.0
    high = optimize.brentq(beyond, inside, 1) if beyond(1) > 0 else 1.0
    return low, high
