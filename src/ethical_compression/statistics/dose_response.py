"""How a preference depends on how many examples a model was trained on.

    logit P(the trained side is preferred) = a + b · log(1 + pairs)

Every story is answered by every run, and two things were drawn: the stories, and the runs (the
pairs that a seed picked, their order, the adapters' first weights). The line is a logistic
regression of the runs' shares, and its errors have two parts. Between runs: the spread of their
shares around the line (quasi-likelihood; McCullagh & Nelder 1989, §4.5), with Student's quantile.
Between stories: the robust covariance with stories as clusters (Liang & Zeger 1986), which holds
however the answers to one story hang together. What a story does in one run alone is in both, and
taken out of the first. `statistics.in_quadrature` adds what is left. The run without training is
counted in the spread though it has none, so the intervals err on the wide side: simulated at the
chapters' sizes they cover 94% to 99%.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from ethical_compression.errors import InputError
from ethical_compression.statistics import (
    holm,
    in_quadrature,
    mean_interval,
    minimum_detectable,
    paired_test,
    tost,
)
from ethical_compression.words import outcome


@dataclass(frozen=True)
class DoseResponse:
    """The line on the logit scale: `intercept`, `slope` (a unit of log(1 + pairs)), its interval
    and p-value. `start`: the preference without training. `ed50`: the pairs at which half of what
    was left to turn has turned, inf where the line does not rise; its interval has no upper end
    (inf) where the slope's holds 0, and is empty (inf, inf) where the slope is below 0.
    `observed`: pairs -> share over runs and stories."""

    stories: int
    runs: int
    intercept: float
    slope: float
    slope_low: float
    slope_high: float
    p: float
    start: float
    ed50: float
    ed50_low: float
    ed50_high: float
    observed: Mapping[int, float]

    def preference(self, pairs) -> np.ndarray:
        """P(the trained side is preferred) after training on so many pairs."""
        line = self.intercept + self.slope * np.log1p(np.asarray(pairs, dtype=float))
        return 1 / (1 + np.exp(-line))


def fit(answers: pd.DataFrame, *, level: float = 0.95) -> DoseResponse:
    """Fit the curve of one direction.

    answers: a row a story and run, with `story`, `pairs` (0 for the model before training), `seed`
    (pairs and seed name a run) and `turned`, whether it prefers the trained side (0/1). The
    intervals are over stories and runs. ED50's holds the doses at which the fitted line may pass
    half way: Fieller's (1954) for a ratio, whose upper part, log(2 + e⁻ᵃ), is linearised in a.
    Raises InputError for missing columns, fewer than two numbers of pairs or stories and three
    runs, a run that lacks a story or has it twice, other values of `turned`, answers that are all
    alike, and shares that lie exactly on a curve.
    """
    import statsmodels.api as sm
    from scipy import stats
    from statsmodels.tools.sm_exceptions import PerfectSeparationWarning

    wide = _by_run(answers)
    turned, pairs = wide.to_numpy(float), wide.index.get_level_values("pairs").to_numpy(float)
    runs, stories = turned.shape
    if runs < 3:
        raise InputError("A curve needs at least three runs, the model before training among them.")

    design = np.column_stack([np.ones(runs), np.log1p(pairs)])
    weights, family = np.full(runs, stories), sm.families.Binomial()
    with warnings.catch_warnings():
        warnings.simplefilter("error", PerfectSeparationWarning)
        try:
            model = sm.GLM(turned.mean(1), design, family=family, var_weights=weights)
            found = model.fit(scale="X2")
        except PerfectSeparationWarning as error:
            raise InputError(
                "The runs' shares lie exactly on a curve, as where all answers turn at once: its "
                "slope has no error. Ask more stories, or train on other numbers of pairs."
            ) from error
    intercept, slope = map(float, found.params)
    bread = found.normalized_cov_params
    rest = turned - found.fittedvalues[:, None]
    score = design.T @ rest  # (2, stories)
    alone = rest - rest.mean(0) - rest.mean(1, keepdims=True) + rest.mean()
    cell = (design.T * (alone**2).sum(1)) @ design * runs * stories / (runs - 1) / (stories - 1)
    sources = [
        (bread @ score @ score.T @ bread * stories / (stories - 1), stories - 1),
        (_above_zero(bread * found.scale - bread @ cell @ bread), runs - 2),
    ]
    half, p = in_quadrature(slope, [(v[1, 1], df) for v, df in sources], level=level)
    spread = sum(v * stats.t.ppf((1 + level) / 2, df) ** 2 for v, df in sources)
    low, high = _ed50_interval(intercept, slope, spread)
    observed = answers.groupby("pairs")["turned"].mean()
    return DoseResponse(
        stories=stories,
        runs=runs,
        intercept=intercept,
        slope=slope,
        slope_low=slope - half,
        slope_high=slope + half,
        p=p,
        start=float(1 / (1 + math.exp(-intercept))),
        ed50=ed50(intercept, slope),
        ed50_low=low,
        ed50_high=high,
        observed={int(number): float(share) for number, share in observed.items()},
    )


def _by_run(answers: pd.DataFrame) -> pd.DataFrame:
    """Whether each run (its pairs and seed, a row) turned each story (a column), checked."""
    needed = ("story", "pairs", "seed", "turned")
    if missing := [name for name in needed if name not in answers.columns]:
        raise InputError(f"The table of answers lacks the column(s) {', '.join(missing)}.")
    if not np.isin(answers["turned"], [0, 1]).all() or not (answers["pairs"] >= 0).all():
        raise InputError("Answers are 0 or 1, and numbers of pairs are not negative.")
    if answers["pairs"].nunique() < 2 or answers["story"].nunique() < 2:
        raise InputError("A curve needs at least two numbers of pairs and two stories.")
    if answers["turned"].nunique() < 2:
        raise InputError("All answers are alike: there is no curve to fit.")
    if answers.duplicated(["pairs", "seed", "story"]).any():
        raise InputError("A run answered a story twice: keep one answer each.")
    wide = answers.pivot(index=["pairs", "seed"], columns="story", values="turned")
    if wide.isna().any(axis=None):
        raise InputError("Some runs lack answers to some stories: score all on the same.")
    return wide


def by_side(answers: pd.DataFrame) -> tuple[dict[str, DoseResponse], dict[str, str]]:
    """`fit` for each direction of training: (curves, why there is none), by direction.

    answers: verdicts of runs in both directions and of the model before ("none"), with `size`.
    """
    curves, problems = {}, {}
    for direction in ("moral", "immoral"):
        side = answers[answers["direction"].isin([direction, "none"])]
        turned = (side["prefers_moral"] == (direction == "moral")).astype(int)
        try:
            curves[direction] = fit(side.assign(pairs=side["size"], turned=turned))
        except InputError as error:
            problems[direction] = str(error)
    return curves, problems


def _above_zero(spread: np.ndarray) -> np.ndarray:
    """A difference of covariances without its negative part."""
    values, axes = np.linalg.eigh(spread)
    return (axes * np.maximum(values, 0)) @ axes.T


def ed50(intercept: float, slope: float) -> float:
    """Pairs at which the preference is half way from where it began to 1; inf if it never is.

    With p the start, logit((1 + p) / 2) − logit p = log(2 + e⁻ᵃ) is what the line has to rise.
    """
    return _pairs(math.log(2 + math.exp(-intercept)) / slope) if slope > 0 else math.inf


def _pairs(dose: float) -> float:
    return math.expm1(dose) if dose < 700 else math.inf


def _ed50_interval(intercept: float, slope: float, spread: np.ndarray) -> tuple[float, float]:
    """Doses x, as pairs, with |rise − slope · x| within its half-width.

    spread: (2, 2), the covariance of intercept and slope times the square of its quantile.
    """
    rise = math.log(2 + math.exp(-intercept))
    turn = -math.exp(-intercept) / (2 + math.exp(-intercept))  # of the rise, by the intercept
    square = slope**2 - spread[1, 1]
    middle = rise * slope - turn * spread[0, 1]
    rest = rise**2 - turn**2 * spread[0, 0]
    # square · x² − 2 · middle · x + rest ≤ 0
    root = math.sqrt(max(middle**2 - square * rest, 0.0))
    if square > 0:  # the slope is settled
        if slope < 0:
            return math.inf, math.inf
        low, high = (middle - root) / square, (middle + root) / square
        return _pairs(max(low, 0.0)), _pairs(high)
    if rest <= 0:  # not even the start is told from half way
        return 0.0, math.inf
    # Above the positive root. In this form nothing is divided by a square that is nearly 0.
    below = middle + root
    return (_pairs(rest / below) if below > 0 else math.inf), math.inf


def against_base(
    verdicts: pd.DataFrame, by: Sequence[str], *, within: float | None = None
) -> pd.DataFrame:
    """What training, or anything else, did to the preference: a row a group, paired by story.

    verdicts: tables of `score.moral.judged` stacked, with `direction` and `seed`; rows of direction
    "none" are the base that every other row of their language is compared with. by: columns that
    name a group, `language` among them. Of a group with one seed the test is a paired t-test over
    stories and speaks of *this run*; of one with several it is over stories and runs, whose errors
    are added (`statistics.in_quadrature`), and speaks of others, too.

    Columns: `by`, `n` (stories), `runs`, `share` (moral action preferred), `margin` (mean of them),
    `difference`, `ci_low`, `ci_high`, `d_z` (of the stories, over these runs), `p`, `p_holm`, and
    `detectable`, the change that would be found in four studies of five. within: a margin of
    equivalence; adds `p_within`, of two one-sided tests that the difference lies within it, and
    `p_within_holm`. Holm is over all rows of the table.
    Raises InputError where a group and its base were not scored on the same stories.
    """
    from scipy import stats

    base = verdicts[verdicts["direction"] == "none"]
    rows = []
    for names, group in verdicts[verdicts["direction"] != "none"].groupby(list(by), sort=False):
        named = dict(zip(by, names, strict=True))
        before = base[base["language"] == named["language"]].groupby("story")["margin"].mean()
        after = group.pivot(index="story", columns="seed", values="margin")
        if set(before.index) != set(after.index) or after.isna().any(axis=None):
            raise InputError("Some stories have no answer of the base: score both on the same.")
        before, runs = before.loc[after.index], after.shape[1]
        test = asdict(paired_test(before, after.mean(axis=1)))
        change = test["difference"]
        parts = [(0.0 if math.isnan(test["se"]) else test["se"] ** 2, test["n"] - 1)]
        if runs > 1:
            parts.append((float(after.mean().var(ddof=1)) / runs, runs - 1))
        half, p = in_quadrature(change, parts)
        error = math.sqrt(sum(variance for variance, _ in parts))
        row = named | {"n": test["n"], "runs": runs, "share": float(group["prefers_moral"].mean())}
        row |= {"margin": float(after.mean(axis=None)), "difference": change}
        row |= {"ci_low": change - half, "ci_high": change + half, "d_z": test["d_z"], "p": p}
        row["detectable"] = (
            minimum_detectable(test["se"], test["n"] - 1)
            if runs == 1
            else half + stats.norm.ppf(0.8) * error
        )
        if within is not None:
            # The harder of the two one-sided tests is that of the nearer edge.
            left = within - abs(change)
            beyond = in_quadrature(left, parts)[1] / 2
            row["p_within"] = beyond if left > 0 else 1 - beyond
        rows.append(row)
    table = pd.DataFrame(rows)
    table.insert(table.columns.get_loc("p") + 1, "p_holm", holm(table["p"]))
    return table if within is None else table.assign(p_within_holm=holm(table["p_within"]))


# What `survival` says of each of `words.OUTCOMES`.
VERDICTS = {
    "equivalent": "kept",
    "lower": "weaker",
    "higher": "stronger",
    "open": "not settled",
    "untestable": "nothing to keep",
}


def _shifts(verdicts: pd.DataFrame, whole: str) -> dict[str, dict[str, pd.Series]]:
    """Direction -> compression -> each story's shift to the trained side."""
    margins = verdicts.groupby(["compression", "direction", "story"], sort=False)["margin"].mean()
    wide = margins.unstack([0, 1])
    names = list(wide.columns.unique("compression"))
    found = {}
    for direction in wide.columns.unique("direction"):
        if direction == "none":
            continue
        sign = 1 if direction == "moral" else -1
        try:
            found[direction] = {
                name: sign * (wide[name, direction] - wide[name, "none"])
                for name in dict.fromkeys([whole, *names])
            }
        except KeyError as error:
            raise InputError(f"The table has no answers of {error}: score every model.") from None
        if any(shift.isna().any() for shift in found[direction].values()):
            raise InputError("Some models lack answers to some stories: score all on the same.")
    return found


def survival(verdicts: pd.DataFrame, *, whole: str = "full", margin: float = 0.1) -> pd.DataFrame:
    """What each compression leaves of a trained shift: a row a compression and direction.

    verdicts: tables of `score.moral.judged` stacked, one language, with `compression` and
    `direction`; rows of direction "none" are the model before training, equally compressed. A
    story's shift is how far training moved its margin to the trained side under one compression;
    its answers under several seeds are averaged first, so that the tests speak of *these runs*.
    margin: the share of the shift under `whole` that may be gained or lost where it is called kept.

    Columns: `compression`, `direction`, `n` (stories), `shift` with `shift_low` and `shift_high`
    (95% t interval; nats a token); and, but for `whole`, of the paired t-test of the change from
    the shift under `whole`: `difference`, `ci_low`, `ci_high`, `d_z`, `p`, `p_holm`, and the change
    `detectable` in four studies of five; `kept`, the ratio of the two shifts; `p_kept`, of two
    one-sided tests that the ratio lies within 1 ± margin (each on shift − (1 ± margin) · shift
    under `whole`, story by story, so that no shift is taken as known), and `p_kept_holm`; the
    `outcome`, one of `words.OUTCOMES` by the p-values after Holm, over the table, and its `verdict`
    (`VERDICTS`). "untestable": the interval of the shift under `whole` is not above 0.
    Raises InputError where a compression lacks a direction that another has, or "none", or stories.
    """
    from scipy import stats

    rows = []
    for direction, shifts in _shifts(verdicts, whole).items():
        full = shifts[whole]
        there = mean_interval(full)[1] > 0
        for name, shift in shifts.items():
            row = {"compression": name, "direction": direction, "n": len(shift)}
            row |= dict(
                zip(("shift", "shift_low", "shift_high"), mean_interval(shift), strict=True)
            )
            if name != whole:
                test = asdict(paired_test(full, shift))
                row |= {key: test[key] for key in ("difference", "ci_low", "ci_high", "d_z", "p")}
                row["detectable"] = minimum_detectable(test["se"], test["n"] - 1)
                least = stats.ttest_1samp(shift - (1 - margin) * full, 0, alternative="greater")
                most = stats.ttest_1samp(shift - (1 + margin) * full, 0, alternative="less")
                row |= {"kept": shift.mean() / full.mean() if there else np.nan}
                row |= {"p_kept": max(least.pvalue, most.pvalue) if there else np.nan}
            rows.append(row)
    return _with_outcomes(pd.DataFrame(rows), "p_kept", whole)


def on_own_stories(verdicts: pd.DataFrame, *, margin: float = 0.1) -> pd.DataFrame:
    """Of each compression that also calibrated on the stories trained on (`section` "own"): its
    shift against that of the same compression on other text ("after"), as `survival` compares."""
    rows = []
    for label in verdicts.loc[verdicts["section"] == "own", "compression"].unique():
        both = verdicts[verdicts["compression"] == label]
        both = both[both["section"].isin(["after", "own"])]
        found = survival(both.assign(compression=both["section"]), whole="after", margin=margin)
        rows.append(found[found["outcome"].notna()].assign(compression=label))
    return pd.concat(rows, ignore_index=True)


def as_one_family(found: pd.DataFrame) -> pd.DataFrame:
    """Several tables of `survival`, stacked, with Holm over all rows that were compared, and the
    outcome that this leaves of each."""
    found = found.copy()
    rows = found["outcome"].notna()
    found.loc[rows, "p_holm"] = holm(found.loc[rows, "p"])
    found.loc[rows, "outcome"] = [
        outcome(row.difference, row.p_holm) for row in found[rows].itertuples()
    ]
    return found


def by_direction(
    verdicts: pd.DataFrame, *, whole: str = "full", margin: float = 0.1
) -> pd.DataFrame:
    """Is as much kept of one direction as of the other? A row a compression, but for `whole`.

    Arguments as in `survival`. Columns: `compression`, `n`, `kept_moral` and `kept_immoral`, the
    shares of the two shifts that are left, their `difference` with `ci_low`, `ci_high`, `p`,
    `p_holm`, and `p_same`, of two one-sided tests that it lies within ±margin, with `p_same_holm`;
    `outcome` as in `survival`. A story counts with how far it moves the difference of the two
    ratios of means (the delta method); NaN where one of the two was not trained in.
    Raises InputError as `survival`, and where a direction is missing.
    """
    shifts = _shifts(verdicts, whole)
    if set(shifts) != {"moral", "immoral"}:
        raise InputError("To compare the directions, score models trained in both.")
    there = all(mean_interval(side[whole])[1] > 0 for side in shifts.values())
    rows = []
    for name in shifts["moral"]:
        if name == whole:
            continue
        kept, moved = {}, {}
        for direction, side in shifts.items():
            full, left = side[whole], side[name]
            kept[direction] = float(left.mean() / full.mean()) if there else math.nan
            moved[direction] = kept[direction] + (left - kept[direction] * full) / full.mean()
        row = {"compression": name, "n": len(left)}
        row |= {f"kept_{direction}": share for direction, share in kept.items()}
        row |= dict.fromkeys(("difference", "ci_low", "ci_high", "p", "p_same"), math.nan)
        if there:
            test = paired_test(moved["immoral"], moved["moral"])
            row |= {key: getattr(test, key) for key in ("difference", "ci_low", "ci_high", "p")}
            row["p_same"] = tost(moved["immoral"], moved["moral"], margin).p
        rows.append(row)
    return _with_outcomes(pd.DataFrame(rows), "p_same", whole)


def _with_outcomes(table: pd.DataFrame, equivalence: str, whole: str) -> pd.DataFrame:
    """`table` with `p_holm`, the p-values of `equivalence` after Holm, `outcome` and `verdict`."""
    compared = table.index[table["compression"] != whole]
    if not len(compared):
        return table
    for name, corrected in (("p", "p_holm"), (equivalence, f"{equivalence}_holm")):
        tested = table[name].notna()
        table.loc[tested, corrected] = holm(table.loc[tested, name])
    for place in compared:
        row = table.loc[place]
        # Where there is nothing to keep, there is a change, but nothing to be said of it.
        p = row["p_holm"] if pd.notna(row[equivalence]) else math.nan
        found = outcome(row["difference"], p, row.get(f"{equivalence}_holm", math.nan))
        table.loc[place, ["outcome", "verdict"]] = [found, VERDICTS[found]]
    return table
