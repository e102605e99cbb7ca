"""Rates that a fallible judge counted, corrected for its mistakes, which the interval carries.

A judge flags toxic texts with its sensitivity Se and passes harmless ones with its specificity Sp.
Of texts of which a share π is toxic it flags p = π·Se + (1 − π)·(1 − Sp). An interval of p, however
narrow, is no interval of π. Two ways back, by where the labels are:

- `corrected_share` and `corrected_change` take Se and Sp from *other* labelled texts (Rogan &
  Gladen 1978). They assume that the judge errs on the judged texts as it does on those, and, for a
  change, as often on one model's texts as on the other's: *non-differential* misclassification.
  Then a true change d shows as d·(Se + Sp − 1): mistakes shrink it, and never turn its sign.
- `prediction_powered` takes a random part of the judged texts themselves, labelled by people. It
  assumes nothing of the judge, which may err on one model's texts as it likes.
"""

import math
from dataclasses import dataclass

import numpy as np

from ethical_compression.errors import InputError


@dataclass(frozen=True)
class JudgeErrors:
    """What a judge did on labelled texts: `caught` of `toxic` flagged, `passed` of `harmless` not.

    Raises InputError unless there is a text of either kind, and no count exceeds its whole.
    """

    caught: int
    toxic: int
    passed: int
    harmless: int

    def __post_init__(self):
        counts = (self.caught, self.toxic, self.passed, self.harmless)
        if not all(float(one).is_integer() for one in counts):
            raise InputError(f"A judge's errors are counted in whole texts, not {counts}.")
        if not (0 <= self.caught <= self.toxic and 0 <= self.passed <= self.harmless):
            raise InputError("A judge cannot catch or pass more texts than there are.")
        if not (self.toxic and self.harmless):
            raise InputError(
                "A judge's errors are unknown without labelled texts of both kinds: give some."
            )

    @property
    def sensitivity(self) -> float:
        return self.caught / self.toxic

    @property
    def specificity(self) -> float:
        return self.passed / self.harmless

    @property
    def youden(self) -> float:
        """Se + Sp − 1: 1 for a judge without fault, 0 for one that draws lots."""
        return self.sensitivity + self.specificity - 1


@dataclass(frozen=True)
class CorrectedShare:
    """`flagged` is the share that the judge flagged, `share` what is true of the texts by it.

    `n` texts in `clusters`; `note` says where the judge does not let anything be told.
    """

    n: int
    clusters: int
    flagged: float
    flagged_low: float
    flagged_high: float
    share: float
    ci_low: float
    ci_high: float
    note: str = ""


@dataclass(frozen=True)
class CorrectedChange:
    """After minus before, as flagged (`flagged_…`) and corrected; `p`: that there is no change.

    `gained`, `lost`: texts flagged only after, or only before. One p serves both: under
    non-differential errors there is a true change where, and only where, flags change.
    """

    n: int
    clusters: int
    gained: int
    lost: int
    flagged_difference: float
    flagged_low: float
    flagged_high: float
    difference: float
    ci_low: float
    ci_high: float
    p: float
    note: str = ""


@dataclass(frozen=True)
class PredictionPowered:
    """Of `labelled` and `judged` texts; `weight`, λ: what the judge's word counts (0: nothing)."""

    labelled: int
    judged: int
    value: float
    ci_low: float
    ci_high: float
    se: float
    weight: float


# With fewer labelled texts of a kind its error rates are not known well enough to divide by.
LEAST = 10
FEW = f"the judge was tried on fewer than {LEAST} labelled texts of a kind"
CHANCE = "the judge is not shown to be better than chance on labelled texts"
BELOW = "fewer are flagged than its false alarms alone would make"
ABOVE = "more are flagged than it would flag if all were toxic"


def corrected_share(
    flags, errors: JudgeErrors, *, clusters=None, level: float = 0.95
) -> CorrectedShare:
    """The share of toxic texts among those that a judge flagged or not, with its interval.

    flags: (n,) booleans; errors: of the judge on other labelled texts, its assumed rates here;
    clusters: (n,) of anything, what texts have in common (a prompt), None where each is alone.

    (p + Sp − 1) ÷ (Se + Sp − 1) of Rogan & Gladen 1978, held within [0, 1]. The interval is that of
    Lang & Reiczigel 2014 (eq. 16): the judged and the labelled texts each add their variance, after
    Agresti & Coull's additions of z²/2 and of one. Clustered texts count as their effective number
    (Korn & Graubard 1998). `flagged_…` is Wilson's interval, of what was flagged: it takes the
    judge at its word. Where there are fewer than `LEAST` labelled texts of a kind, or Newcombe's
    interval of Se + Sp − 1 is not above 0, nothing can be told: the share is NaN, its interval
    [0, 1], and `note` says so.
    Raises InputError for no flags, others than 0 and 1, and lengths that differ.
    """
    from scipy import stats
    from statsmodels.stats.proportion import proportion_confint

    flags, groups = _flags(flags, clusters)
    n, p = len(flags), float(flags.mean())
    z = float(stats.norm.ppf((1 + level) / 2))
    count = _effective(flags, groups, level)
    raw_low, raw_high = proportion_confint(p * count, count, alpha=1 - level, method="wilson")
    known = {"n": n, "clusters": int(groups.max()) + 1, "flagged": p}
    known |= {"flagged_low": min(float(raw_low), p), "flagged_high": max(float(raw_high), p)}
    if note := _useless(errors, level):
        return CorrectedShare(**known, share=math.nan, ci_low=0.0, ci_high=1.0, note=note)
    share = (p + errors.specificity - 1) / errors.youden
    note = BELOW if share < 0 else ABOVE if share > 1 else ""
    se, of_se, sp, of_sp = _with_one_more_each(errors)
    middle = (p * count + z**2 / 2) / (count + z**2)
    youden = se + sp - 1
    centre = (middle + sp - 1) / youden
    variance = (
        middle * (1 - middle) / (count + z**2) + centre**2 * of_se + (1 - centre) ** 2 * of_sp
    )
    # Their eq. 17: how the product of two estimates is skewed.
    centre += 2 * z**2 * (centre * of_se - (1 - centre) * of_sp)
    half = z * math.sqrt(variance) / abs(youden)
    share, low, high = (min(max(x, 0.0), 1.0) for x in (share, centre - half, centre + half))
    low, high = min(low, share), max(high, share)
    return CorrectedShare(**known, share=share, ci_low=low, ci_high=high, note=note)


def corrected_change(
    before, after, errors: JudgeErrors, *, clusters=None, level: float = 0.95
) -> CorrectedChange:
    """How the share of toxic texts changes between two models, by one judge of both.

    before, after: (n,) booleans, aligned (the same prompt and draw); errors, clusters, level: as of
    `corrected_share`. The difference of flags ÷ (Se + Sp − 1), which asks that the judge errs alike
    on both models' texts; `prediction_powered` does not. The interval of flags is Bonett & Price's
    (2012) for pairs, Student's over the means of clusters; that of the quotient Fieller's (1954),
    within [−1, 1]: the uncertainty of Se + Sp − 1 is carried. It leaves out 0 where the interval of
    flags does. `p` is McNemar's exact one, or Student's over clusters.
    Raises InputError as `corrected_share`, and for fewer than two clusters.
    """
    from scipy import stats

    before, groups = _flags(before, clusters)
    after, _ = _flags(after, groups)
    n, z = len(before), float(stats.norm.ppf((1 + level) / 2))
    change = after.astype(float) - before
    gained, lost = int((change > 0).sum()), int((change < 0).sum())
    held = int(groups.max()) + 1
    raw = float(change.mean())
    if clusters is None:
        p = float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
        up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
        centre, variance = up - down, (up + down - (up - down) ** 2) / (n + 2)
    else:
        if held < 2:
            raise InputError("Clustered texts need two clusters at least.")
        centre, variance = raw, _variance(change, groups)
        t = raw / math.sqrt(variance) if variance else 0.0
        p = float(2 * stats.t.sf(abs(t), held - 1)) if variance else float(not raw)
        variance *= (stats.t.ppf((1 + level) / 2, held - 1) / z) ** 2
    half = z * math.sqrt(variance)
    known = {"n": n, "clusters": held, "gained": gained, "lost": lost, "flagged_difference": raw}
    known |= {"flagged_low": max(centre - half, -1.0), "flagged_high": min(centre + half, 1.0)}
    se, of_se, sp, of_sp = _with_one_more_each(errors)
    youden, noise = se + sp - 1, z**2 * (of_se + of_sp)
    note = _useless(errors, level) or (CHANCE if youden**2 <= noise else "")
    if note:
        nothing = {"difference": math.nan, "ci_low": -1.0, "ci_high": 1.0}
        return CorrectedChange(**known, **nothing, p=p, note=note)
    # All d for which centre − d·youden is within z of its standard error: a quadratic's roots.
    squared = youden**2 - noise
    root = math.sqrt((centre * youden) ** 2 - squared * (centre**2 - half**2))
    ends = [min(max((centre * youden + sign * root) / squared, -1.0), 1.0) for sign in (-1, 1)]
    difference = min(max(raw / errors.youden, -1.0), 1.0)
    return CorrectedChange(**known, difference=difference, ci_low=ends[0], ci_high=ends[1], p=p)


def prediction_powered(
    labels, judged_of_labelled, judged, *, change: bool = False, level: float = 0.95
) -> PredictionPowered:
    """A share, or a change of it, by people's labels on some texts and a judge's word on many.

    labels, judged_of_labelled: (n,), what people and the judge say of the labelled texts, a
    *random* part of all; judged: (N,), what the judge says of the others. Each lies in [0, 1]: 1 is
    toxic, and where several texts share a prompt it is their mean. change: each is after − before
    of one prompt, in [−1, 1], and so is what is found.

    mean(labels) + λ·(mean(judged) − mean(judged_of_labelled)), with λ = cov ÷ ((1 + n/N)·var)
    within [0, 1], so that a judge who is worthless costs nothing: `value`, `se` and `weight` are
    those of PPI++ (Angelopoulos, Duchi & Zrnic 2023, arXiv 2311.01453). Its normal interval falls
    short where labels are few (`results/judge_coverage.py`), so this one is computed with two more
    labelled texts, one mistake of either kind, in the manner of Agresti & Coull (1998), and has
    Student's quantile with n − 1 degrees of freedom.
    Raises InputError for fewer than two labels or texts, unequal lengths, and values out of range.
    """
    from scipy import stats

    y, f, rest = (np.asarray(one, dtype=float) for one in (labels, judged_of_labelled, judged))
    if y.shape != f.shape or y.ndim != 1 or rest.ndim != 1:
        raise InputError("Each labelled text needs its label and what the judge says of it.")
    if min(len(y), len(rest)) < 2:
        raise InputError("Prediction-powered inference needs two labels and two other texts.")
    least = -1.0 if change else 0.0
    if not all(((one >= least) & (one <= 1)).all() for one in (y, f, rest)):
        raise InputError(
            f"Labels and the judge's words must lie between {least:g} and 1: leave out what failed."
        )
    value, se, weight = _powered(y, f, rest)
    more_y, more_f = ([1, -1], [0, 0]) if change else ([1, 0], [0, 1])
    centre, wider, _ = _powered(np.r_[y, more_y], np.r_[f, more_f], rest)
    half = float(stats.t.ppf((1 + level) / 2, len(y) - 1)) * wider
    low, high = max(centre - half, least), min(centre + half, 1.0)
    return PredictionPowered(len(y), len(rest), value, low, high, se, weight)


def _powered(y: np.ndarray, f: np.ndarray, rest: np.ndarray) -> tuple[float, float, float]:
    """PPI++'s estimate of a mean, its standard error, and λ."""
    n, more = len(y), len(rest)
    spread = np.r_[f, rest].var(ddof=1)
    weight = float(np.cov(y, f)[0, 1] / ((1 + n / more) * spread)) if spread else 0.0
    weight = min(max(weight, 0.0), 1.0)
    value = float(y.mean() + weight * (rest.mean() - f.mean()))
    variance = (y - weight * f).var(ddof=1) / n + weight**2 * rest.var(ddof=1) / more
    return value, math.sqrt(variance), weight


# --- What they share ------------------------------------------------------------------------------


def _flags(flags, clusters) -> tuple[np.ndarray, np.ndarray]:
    """(n,) booleans, and (n,) the number of each one's cluster."""
    flags = np.asarray(flags)
    if flags.ndim != 1 or not flags.size or not np.isin(flags, [0, 1]).all():
        raise InputError(
            "A judged share needs one flag a text, each 0 or 1: leave out what failed."
        )
    groups = np.arange(len(flags)) if clusters is None else np.asarray(clusters)
    if groups.shape != flags.shape:
        raise InputError(
            f"There are {len(flags)} flags, and not one cluster or other flag for each."
        )
    return flags.astype(bool), np.unique(groups, return_inverse=True)[1]


def _variance(values: np.ndarray, groups: np.ndarray) -> float:
    """Of the mean of all values, where those of a cluster hang together: linearised (Taylor)."""
    held = int(groups.max()) + 1
    off = np.bincount(groups, values - values.mean())
    return float(held / (held - 1) * (off**2).sum() / len(values) ** 2)


def _effective(flags: np.ndarray, groups: np.ndarray, level: float) -> float:
    """How many independent texts tell as much as these do (Korn & Graubard 1998), n at the most."""
    from scipy import stats

    n, held = len(flags), int(groups.max()) + 1
    if held == n:
        return float(n)
    if held < 2:
        raise InputError("Clustered texts need two clusters at least.")
    p, variance = flags.mean(), _variance(flags, groups)
    if not variance:  # all clusters are alike: no more is known than one text each would tell
        return float(held)
    ratio = stats.t.ppf((1 + level) / 2, n - 1) / stats.t.ppf((1 + level) / 2, held - 1)
    return float(min(n, p * (1 - p) / variance * ratio**2))


def _with_one_more_each(errors: JudgeErrors) -> tuple[float, float, float, float]:
    """Se, its variance, Sp, its variance, with one text more right and one wrong of either kind."""
    se, sp = (errors.caught + 1) / (errors.toxic + 2), (errors.passed + 1) / (errors.harmless + 2)
    return se, se * (1 - se) / (errors.toxic + 2), sp, sp * (1 - sp) / (errors.harmless + 2)


def _useless(errors: JudgeErrors, level: float) -> str:
    """Why a judge with these errors lets nothing be told, or ""."""
    from statsmodels.stats.proportion import confint_proportions_2indep

    if min(errors.toxic, errors.harmless) < LEAST:
        return FEW
    flagged = errors.caught, errors.toxic, errors.harmless - errors.passed, errors.harmless
    low, _ = confint_proportions_2indep(*flagged, method="newcomb", alpha=1 - level)
    return "" if low > 0 else CHANCE
