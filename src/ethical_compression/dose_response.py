"""How a preference depends on how many examples a model was trained on.

    logit P(the trained side is preferred) = a + b · log(1 + pairs)

One answer a story and run, where every story is answered by every run: answers are clustered by
story. The line is fitted by generalised estimating equations (Liang & Zeger 1986) with stories as
clusters and a robust covariance: it speaks of the population of stories, and its errors hold
however the answers to one story hang together. A mixed model with an effect of its own for each
story asks more of the data: its fit runs away where most stories always, or never, change sides,
and the variational fit at hand gives intervals that are too narrow.
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ethical_compression.errors import InputError


@dataclass(frozen=True)
class DoseResponse:
    """The line on the logit scale: `intercept`, `slope` (a unit of log(1 + pairs)), its interval
    and p-value. `start`: the preference without training. `ed50`: the pairs at which half of what
    was left to turn has turned, inf where the line does not rise; with a percentile interval."""

    stories: int
    answers: int
    intercept: float
    slope: float
    slope_low: float
    slope_high: float
    p: float
    start: float
    ed50: float
    ed50_low: float
    ed50_high: float

    def preference(self, pairs) -> np.ndarray:
        """P(the trained side is preferred) after training on so many pairs."""
        line = self.intercept + self.slope * np.log1p(np.asarray(pairs, dtype=float))
        return 1 / (1 + np.exp(-line))


def fit(
    answers: pd.DataFrame, *, level: float = 0.95, resamples: int = 500, seed: int = 0
) -> DoseResponse:
    """Fit the curve of one direction.

    answers: a row an answer, with `story`, `pairs` (0 for the model before training) and `turned`,
    whether it prefers the trained side (0/1). The interval of ED50 is a percentile bootstrap over
    stories (all answers to a story are drawn together), of *these runs*: that other seeds would
    have trained other models is not in it.
    Raises InputError for missing columns, fewer than two numbers of pairs or stories, other values
    of `turned`, and answers that are all alike.
    """
    if missing := [name for name in ("story", "pairs", "turned") if name not in answers.columns]:
        raise InputError(f"The table of answers lacks the column(s) {', '.join(missing)}.")
    turned, pairs = answers["turned"].to_numpy(float), answers["pairs"].to_numpy(float)
    if not np.isin(turned, [0, 1]).all() or not (pairs >= 0).all():
        raise InputError("Answers are 0 or 1, and numbers of pairs are not negative.")
    story, names = pd.factorize(answers["story"])
    if len(np.unique(pairs)) < 2 or len(names) < 2:
        raise InputError("A curve needs at least two numbers of pairs and two stories.")
    if len(np.unique(turned)) < 2:
        raise InputError("All answers are alike: there is no curve to fit.")
    import statsmodels.api as sm
    from scipy import stats

    design = np.column_stack([np.ones_like(pairs), np.log1p(pairs)])
    model = sm.GEE(turned, design, groups=story, family=sm.families.Binomial())
    found = model.fit()
    half = stats.norm.ppf((1 + level) / 2) * found.bse[1]
    intercept, slope = map(float, found.params)

    # The point estimates of these equations are those of a logistic regression.
    order = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        count = np.bincount(order.integers(0, len(names), len(names)), minlength=len(names))
        drawn.append(ed50(*_logistic(design, turned, count[story])))
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], method="nearest")
    return DoseResponse(
        stories=len(names),
        answers=len(answers),
        intercept=intercept,
        slope=slope,
        slope_low=slope - half,
        slope_high=slope + half,
        p=float(found.pvalues[1]),
        start=float(1 / (1 + math.exp(-intercept))),
        ed50=ed50(intercept, slope),
        ed50_low=float(low),
        ed50_high=float(high),
    )


def ed50(intercept: float, slope: float) -> float:
    """Pairs at which the preference is half way from where it began to 1; inf if it never is."""
    if not slope > 0:
        return math.inf
    start = 1 / (1 + math.exp(-intercept))
    half = (1 + start) / 2
    x = (math.log(half / (1 - half)) - intercept) / slope
    return math.expm1(x) if x < 700 else math.inf


def _logistic(design: np.ndarray, turned: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted logistic regression by Newton's steps, with a trace of a ridge against runaways."""
    beta, ridge = np.zeros(design.shape[1]), 1e-6 * np.eye(design.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-design @ beta))
        gradient = design.T @ (weight * (turned - p)) - ridge @ beta
        hessian = (design * (weight * p * (1 - p))[:, None]).T @ design + ridge
        step = np.linalg.solve(hessian, gradient)
        beta = beta + np.clip(step, -5, 5)
        if np.abs(step).max() < 1e-8:
            break
    return beta


def against_base(verdicts: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """What training, or anything else, did to the preference: a row a group, paired by story.

    verdicts: tables of `score.moral.judged` stacked, with `direction`; rows of direction "none" are
    the base that every other row of their language is compared with. by: columns that name a group,
    `language` among them; a story's answers under several seeds are averaged first.
    Columns: `by`, `n` (stories), `share` (moral action preferred), `margin` (mean of them), and of
    the paired t-test of the margin: `difference`, `ci_low`, `ci_high`, `d_z`, `p` and `p_holm`,
    Holm over all rows of the table.
    """
    from dataclasses import asdict

    from ethical_compression.statistics import holm, paired_test

    base = verdicts[verdicts["direction"] == "none"]
    rows = []
    for names, group in verdicts[verdicts["direction"] != "none"].groupby(by, sort=False):
        named = dict(zip(by, names, strict=True))
        before = base[base["language"] == named["language"]].groupby("story")["margin"].mean()
        after = group.groupby("story")["margin"].mean()
        if set(before.index) != set(after.index):
            raise InputError("Some stories have no answer of the base: score both on the same.")
        test = asdict(paired_test(before.loc[after.index], after))
        kept = {name: test[name] for name in ("n", "difference", "ci_low", "ci_high", "d_z", "p")}
        share = float(group["prefers_moral"].mean())
        rows.append(named | {"share": share, "margin": float(after.mean())} | kept)
    table = pd.DataFrame(rows)
    return table.assign(p_holm=holm(table["p"]))


def survival(verdicts: pd.DataFrame, *, whole: str = "full", margin: float = 0.1) -> pd.DataFrame:
    """What each compression leaves of a trained shift: a row a compression and direction.

    verdicts: tables of `score.moral.judged` stacked, one language, with `compression` and
    `direction`; rows of direction "none" are the model before training, equally compressed. A
    story's shift is how far training moved its margin to the trained side under one compression;
    its answers under several seeds are averaged first. margin: the share of the shift under
    `whole` that may be gained or lost where it is called kept.

    Columns: `compression`, `direction`, `n` (stories), `shift` with `shift_low` and `shift_high`
    (95% t interval; nats a token); and, but for `whole`, of the paired t-test of the change from
    the shift under `whole`: `difference`, `ci_low`, `ci_high`, `d_z`, `p`, and `p_holm` over the
    table; `kept`, the ratio of the two shifts; `p_kept`, of two one-sided tests that the ratio lies
    within 1 ± margin (each on shift − (1 ± margin) · shift under `whole`, story by story, so that
    no shift is taken as known); and a `verdict`: "nothing to keep" where the interval of the shift
    under `whole` is not above 0, else "kept" by that test, else "weaker" or "stronger" where
    `p_holm` is below 0.05, else "not settled".
    Raises InputError where a compression lacks a direction that another has, or "none", or stories.
    """
    from dataclasses import asdict

    from scipy import stats

    from ethical_compression.statistics import holm, mean_interval, paired_test

    margins = verdicts.groupby(["compression", "direction", "story"], sort=False)["margin"].mean()
    wide = margins.unstack([0, 1])
    names = wide.columns.unique("compression")
    directions = [one for one in wide.columns.unique("direction") if one != "none"]
    rows = []
    for direction in directions:
        sign = 1 if direction == "moral" else -1
        try:
            shifts = {name: sign * (wide[name, direction] - wide[name, "none"]) for name in names}
            full = shifts[whole]
        except KeyError as error:
            raise InputError(f"The table has no answers of {error}: score every model.") from None
        if any(shift.isna().any() for shift in shifts.values()):
            raise InputError("Some models lack answers to some stories: score all on the same.")
        there = mean_interval(full)[1] > 0
        for name, shift in shifts.items():
            row = {"compression": name, "direction": direction, "n": len(shift)}
            row |= dict(
                zip(("shift", "shift_low", "shift_high"), mean_interval(shift), strict=True)
            )
            if name != whole:
                test = asdict(paired_test(full, shift))
                row |= {key: test[key] for key in ("difference", "ci_low", "ci_high", "d_z", "p")}
                least = stats.ttest_1samp(shift - (1 - margin) * full, 0, alternative="greater")
                most = stats.ttest_1samp(shift - (1 + margin) * full, 0, alternative="less")
                row |= {"kept": shift.mean() / full.mean() if there else np.nan}
                row |= {"p_kept": max(least.pvalue, most.pvalue) if there else np.nan}
            rows.append(row)
    table = pd.DataFrame(rows)
    tested = table["compression"] != whole
    if tested.any():
        table.loc[tested, "p_holm"] = holm(table.loc[tested, "p"])
        table.loc[tested, "verdict"] = table[tested].apply(_verdict, axis=1)
    return table


def _verdict(row) -> str:
    if np.isnan(row["kept"]):
        return "nothing to keep"
    if row["p_kept"] < 0.05:
        return "kept"
    if row["p_holm"] < 0.05:
        return "weaker" if row["difference"] < 0 else "stronger"
    return "not settled"
