"""How far confidence is from the share right, with intervals that cover what they say.

Two measures of one thing. The *gap*, mean confidence − share right, has a sign, is a mean, and has
Student's interval; errors of opposite sign cancel in it. The *squared calibration error* holds them
apart: it is the reliability part of the Brier score of the chosen answer (Murphy 1973). An expected
calibration error (`confidence.calibration_error`) is biased upwards by an amount that depends on
how well a model is calibrated, so that no bootstrap interval of its change covers
(results/calibration_intervals.py shows it); the squared error can be had without bias.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ethical_compression.errors import InputError
from ethical_compression.metrics.confidence import equal_count_bins
from ethical_compression.statistics import (
    holm,
    mean_interval,
    minimum_detectable,
    over_tests,
    p_within,
    paired_test,
)


@dataclass(frozen=True)
class SquaredError:
    """`value` and its interval are squared probabilities; `p`: that it is 0, two-sided."""

    n: int
    value: float
    ci_low: float
    ci_high: float
    se: float
    p: float

    def p_within(self, margin: float) -> float:
        """p of two one-sided tests (Schuirmann 1987) that the value lies within ±margin."""
        return p_within(self.value, self.se, margin)


def squared_error(
    items: pd.DataFrame,
    against: pd.DataFrame | None = None,
    *,
    bins: int = 5,
    level: float = 0.95,
) -> SquaredError:
    """Squared calibration error of the chosen answers, or its change from `against`, debiased.

    items, against: per-item records (`benchmark, item, confidence, correct`), with or without a
    column `repeat`, over which the error is averaged. Items are cut by confidence into `bins`
    ranges of equal count *within each benchmark*, so that one benchmark's overconfidence cannot
    hide another's doubt. A range adds (mean of correct − confidence)², weighted by its items, less
    the part that chance gives it: the mean of the products of all pairs of different items
    (Bröcker 2012; Kumar et al. 2019, §4). Without bias, so below zero about as often as not where a
    model is calibrated. Ranges hide what cancels within them.

    The interval is normal, on the jackknife's standard error. Where a model is calibrated the
    variance of first order vanishes, which is what breaks the bootstrap; the jackknife then is too
    large (Efron & Stein 1981), so that the interval holds the truth more often than it says
    (`results/calibration_intervals.py`). No width where both tables are the same.
    Raises InputError for missing columns, values outside [0, 1], different items, no items.
    """
    from scipy import stats

    tables = [(1, items)] if against is None else [(1, items), (-1, against)]
    parts, known = [], None
    for sign, table in tables:
        if missing := [c for c in ("benchmark", "item", "confidence", "correct") if c not in table]:
            raise InputError(f"The per-item table lacks the column(s) {', '.join(missing)}.")
        if table.empty:
            raise InputError("There are no items to measure calibration on.")
        repeats = table["repeat"] if "repeat" in table else pd.Series(0, table.index)
        blocks = [part for _, part in table.groupby(repeats)]
        for part in blocks:
            keys = part[["benchmark", "item"]].reset_index(drop=True)
            known = keys if known is None else known
            if not keys.equals(known):
                raise InputError("Both tables must hold the same items, in the same order.")
            parts.append((sign / len(blocks), *_ranges(part, bins)))
    n = len(known)
    if n < 2:
        raise InputError("A calibration error needs two items at least.")
    value, without = 0.0, np.zeros(n)
    for weight, where, miss in parts:
        whole, left_out = _pairs_mean(where, miss)
        value += weight * whole
        without += weight * left_out
    se = math.sqrt((n - 1) / n * float(((without - without.mean()) ** 2).sum()))
    if se <= 1e-12:
        return SquaredError(n, value, value, value, 0.0, 1.0 if abs(value) <= 1e-12 else 0.0)
    half = stats.norm.ppf((1 + level) / 2) * se
    p = float(2 * stats.norm.sf(abs(value) / se))
    return SquaredError(n, value, value - half, value + half, se, p)


def _ranges(part: pd.DataFrame, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """The range of each item, numbered through all benchmarks, and correct − confidence."""
    confidence = part["confidence"].to_numpy(dtype=float)
    correct = part["correct"].to_numpy(dtype=float)
    if not all(((values >= 0) & (values <= 1)).all() for values in (confidence, correct)):
        raise InputError("Confidence and correctness must lie between 0 and 1 and not be missing.")
    where = np.zeros(len(part), dtype=int)
    for number, rows in enumerate(part.groupby("benchmark", sort=False).indices.values()):
        where[rows] = number * bins + equal_count_bins(confidence[rows], bins)
    return np.unique(where, return_inverse=True)[1], correct - confidence


def _pairs_mean(where: np.ndarray, miss: np.ndarray) -> tuple[float, np.ndarray]:
    """Σ over ranges of (count ÷ n) · mean of miss_i · miss_j over pairs; and without each item."""

    def share(count, total, squares):
        return np.where(count > 1, (total**2 - squares) / np.maximum(count - 1, 1), 0.0)

    count = np.bincount(where)
    total, squares = np.bincount(where, miss), np.bincount(where, miss**2)
    whole = share(count, total, squares)
    less = share(count[where] - 1, total[where] - miss, squares[where] - miss**2)
    n = len(where)
    return whole.sum() / n, (whole.sum() - whole[where] + less) / (n - 1)


def gap_by_length(items: pd.DataFrame, *, bins: int = 5, level: float = 0.95) -> pd.DataFrame:
    """Confidence, and confidence − share right, by length *within* benchmarks: a row a range.

    items: one model's per-item records with a column `length` above 0. Each benchmark is cut by
    length into `bins` ranges of equal count, and range k of all benchmarks together is one row, so
    that every row holds the benchmarks in (nearly) the same proportions: what differs between rows
    is length, not which benchmark has long answers, or how many. Columns: `range`, `n`, `length`
    (mean), and `confidence`, `gap`, each with `_low` and `_high` (Student's interval).
    Raises InputError for lengths that are missing or not above 0.
    """
    items = _with_gap(items)
    where = items.groupby("benchmark", sort=False)["length"].transform(
        lambda values: equal_count_bins(values, bins)
    )
    rows = []
    for number, part in items.groupby(where):
        row = {"range": int(number), "n": len(part), "length": part["length"].mean()}
        for name in ("confidence", "gap"):
            mean, low, high = mean_interval(part[name], level=level)
            row |= {name: mean, f"{name}_low": low, f"{name}_high": high}
        rows.append(row)
    return pd.DataFrame(rows)


def gap_per_doubling(items: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """How confidence − share right goes with length: its slope for each doubling, three ways.

    items: as for `gap_by_length`. One row each for "within benchmarks" (every benchmark has a level
    of its own: fixed effects), "pooled" (one level for all, which takes the differences *between*
    benchmarks for length) and each benchmark by itself. Columns `which`, `n`, `slope`, `ci_low`,
    `ci_high`, `p`, `p_holm` (over the benchmarks by themselves; NaN for the first two rows).
    Ordinary least squares with White's standard errors (HC1) and Student's quantiles. NaN where
    lengths do not differ. Raises InputError as `gap_by_length`.
    """
    import statsmodels.api as sm

    items = _with_gap(items)
    doublings = np.log2(items["length"].astype(float))
    names = items["benchmark"].unique().tolist()

    def row(which: str, chosen, levels: pd.DataFrame) -> dict:
        x, level_of = doublings[chosen], levels[chosen].to_numpy(dtype=float)
        spread = x - level_of @ np.linalg.lstsq(level_of, x, rcond=None)[0]
        n, nan = int(chosen.sum()), math.nan
        empty = {"slope": nan, "ci_low": nan, "ci_high": nan, "p": nan}
        if np.abs(spread).max() < 1e-9 or n <= level_of.shape[1] + 1:
            return {"which": which, "n": n} | empty
        design = np.column_stack([x, level_of])
        fit = sm.OLS(items.loc[chosen, "gap"].to_numpy(float), design)
        fit = fit.fit(cov_type="HC1", use_t=True)
        low, high = fit.conf_int(1 - level)[0]
        found = {"slope": fit.params[0], "ci_low": low, "ci_high": high, "p": fit.pvalues[0]}
        return {"which": which, "n": n} | found

    every = pd.Series(True, items.index)
    own = pd.get_dummies(items["benchmark"])[names]
    one = pd.DataFrame({"all": 1.0}, items.index)
    rows = [row("within benchmarks", every, own), row("pooled", every, one)]
    rows += [row(name, items["benchmark"] == name, one) for name in names]
    table = pd.DataFrame(rows)
    table["p_holm"] = math.nan
    tested = table.index[2:][table["p"][2:].notna()]
    table.loc[tested, "p_holm"] = holm(table.loc[tested, "p"])
    return table


def _with_gap(items: pd.DataFrame) -> pd.DataFrame:
    if not (np.isfinite(items["length"]) & (items["length"] > 0)).all():
        raise InputError("Every item needs a length above 0.")
    return items.assign(gap=items["confidence"] - items["correct"].astype(float))


def changes(
    compared: Mapping[tuple, tuple[pd.DataFrame, pd.DataFrame]],
    keys: Sequence[str],
    margin: float,
) -> pd.DataFrame:
    """Changes of calibration, each tested for difference and for equivalence: a row a comparison.

    compared: {the values of `keys`: (before, after)}, per-item records with or without `repeat`.
    margin: a gap, as a probability; the squared error has margin², what such a gap everywhere
    would cost. Columns: the keys; `n`; `before`, `after`, `difference`, `ci_low`, `ci_high`, `se`,
    `p`, `p_holm`, `p_tost`, `p_tost_holm`, `detectable` (found four times in five by a single
    test), of the squared error; and the same of the gap, with `gap_` before their names. Holm's
    families are the rows. Raises as `squared_error` and `statistics.paired_test`.
    """
    rows = []
    for values, (before, after) in compared.items():
        error = squared_error(after, before)
        row = dict(zip(keys, values, strict=True)) | {"n": error.n}
        row |= {"before": squared_error(before).value, "after": squared_error(after).value}
        row |= {"difference": error.value, "ci_low": error.ci_low, "ci_high": error.ci_high}
        row |= {"se": error.se, "p": error.p, "p_tost": error.p_within(margin**2)}
        row["detectable"] = _detectable(error.se, error.n)
        gap = paired_test(*(_gap_by_item(side) for side in (before, after)))
        row |= {"gap_before": gap.mean_before, "gap_after": gap.mean_after}
        row |= {f"gap_{name}": getattr(gap, name) for name in ("difference", "ci_low", "ci_high")}
        row |= {"gap_se": gap.se, "gap_p": gap.p}
        within = p_within(gap.difference, 0.0 if math.isnan(gap.se) else gap.se, margin, gap.n - 1)
        row |= {"gap_p_tost": within, "gap_detectable": _detectable(gap.se, gap.n)}
        rows.append(row)
    table = pd.DataFrame(rows)
    for name in ("p", "p_tost", "gap_p", "gap_p_tost"):
        table.insert(table.columns.get_loc(name) + 1, f"{name}_holm", holm(table[name]))
    return table


def _detectable(se: float, n: int) -> float:
    return minimum_detectable(se, n - 1) if se > 0 else math.nan


def _gap_by_item(items: pd.DataFrame) -> np.ndarray:
    gap = items["confidence"] - items["correct"].astype(float)
    return gap.groupby([items["benchmark"], items["item"]], sort=False).mean().to_numpy()


def gaps(tables: Mapping[tuple, pd.DataFrame], keys: Sequence[str]) -> pd.DataFrame:
    """Confidence − share right of each table, tested against 0: a row each, Holm over the rows.

    tables: {the values of `keys`: per-item records, with or without `repeat`}. Columns: the keys,
    `n`, `accuracy`, `confidence`, `difference` (of the two, confidence − share right), `ci_low`,
    `ci_high`, `se`, `p`, `p_holm`. Raises as `statistics.paired_test`.
    """
    rows = []
    for values, items in tables.items():
        gap = _gap_by_item(items)
        found = paired_test(np.zeros(len(gap)), gap)
        row = dict(zip(keys, values, strict=True)) | {"n": found.n}
        row |= {"accuracy": items["correct"].mean(), "confidence": items["confidence"].mean()}
        names = ("difference", "ci_low", "ci_high", "se", "p")
        rows.append(row | {name: getattr(found, name) for name in names})
    table = pd.DataFrame(rows)
    return table.assign(p_holm=holm(table["p"]))


def against_guessing(items: pd.DataFrame) -> pd.DataFrame:
    """Is a model right more often than guessing would be? A row a benchmark, Holm over the rows.

    items: one model's per-item records, with `options`. Columns: `benchmark`, `n`, `accuracy`,
    `guessing` (mean of 1 ÷ options), `difference`, `ci_low`, `ci_high`, `p`, `p_holm`, by a paired
    t-test of right or wrong against 1 ÷ options; p is NaN where all or none are right.
    """
    rows = []
    for benchmark, part in items.groupby("benchmark", sort=False):
        right, guessing = part["correct"].to_numpy(dtype=float), 1 / part["options"].to_numpy()
        row = {"benchmark": benchmark, "n": len(part)}
        row |= {"accuracy": right.mean(), "guessing": guessing.mean()}
        row |= {"difference": right.mean() - guessing.mean()}
        found = dict.fromkeys(("ci_low", "ci_high", "p"), math.nan)
        if len(part) > 1 and 0 < right.mean() < 1:
            test = paired_test(guessing, right)
            found = {name: getattr(test, name) for name in found}
        rows.append(row | found)
    table = pd.DataFrame(rows)
    return table.assign(p_holm=over_tests(table["p"]))
