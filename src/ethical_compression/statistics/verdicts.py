"""What a comparison of two models came to, per question and group: worse, better, equivalent, or
not told.

The unit is an item that both models were given; its value is a *harm*, so that more is worse (an
error, a loss in nats, a preference for the stereotype). The change is compressed − full. Items of
one cluster (the wordings of one template, the sentences of one target term) are not independent:
the standard error is that of cluster sums (Liang & Zeger 1986), with Student's t on clusters − 1
degrees of freedom.

Two numbers are named before the data are seen. The *floor* is what the same model changes from
itself in another batch size or data type: a change is settled only where it is shown to exceed the
floor (a minimum-effect test; Murphy & Myors 1999). The *margin* is the largest change that does not
matter: within it, two one-sided tests (Schuirmann 1987) show equivalence.
"""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from ethical_compression.errors import InputError
from ethical_compression.statistics.power import minimum_detectable
from ethical_compression.statistics.tests import holm, p_within

VERDICTS = ("worse", "better", "equivalent", "cannot tell")
# Of these, what says that there is a change that matters, in a direction.
SETTLED = VERDICTS[:2]
# Fewer do not tell: a cluster-robust error of a handful of clusters is too small, and says nothing.
LEAST_ITEMS = 10
LEAST_CLUSTERS = 6


def clustered_mean(values, clusters=None) -> tuple[float, float, int]:
    """(mean, standard error, degrees of freedom) of (n,) values whose clusters are independent.

    clusters: (n,) labels; None: each value is its own. The error is the square root of
    G/(G − 1) · Σ_g (Σ_{i∈g} (v_i − mean))² ÷ n², with G clusters: CR1 of a regression on a constant
    (Liang & Zeger 1986). NaN for fewer than two clusters. Raises InputError for no values, values
    that are not finite, and labels of another number.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise InputError("A mean needs at least one value, and every value finite.")
    codes = np.arange(len(values)) if clusters is None else pd.factorize(np.asarray(clusters))[0]
    if len(codes) != len(values) or (codes < 0).any():
        raise InputError("Every value needs the cluster that it belongs to.")
    mean, many = float(values.mean()), int(codes.max()) + 1
    if many < 2:
        return mean, math.nan, 0
    sums = np.bincount(codes, weights=values - mean)
    error = math.sqrt(many / (many - 1) * float(sums @ sums)) / len(values)
    # Equal up to rounding: there is no spread, only rounding error.
    return mean, error if error > 1e-12 * abs(mean) else 0.0, many - 1


def p_beyond(value: float, se: float, floor: float, df: float) -> float:
    """p that what is estimated lies within ±floor, two-sided; at a floor of 0 the t-test's.

    The least favourable truth is the nearer end of the floor; the other end adds its own tail, so
    that p is not above 1 and the test keeps its level for every truth within ±floor.
    Raises InputError for a floor below 0.
    """
    from scipy import special

    if not (math.isfinite(floor) and floor >= 0):
        raise InputError(f"A noise floor is a number of 0 or more, not {floor}.")
    if se == 0:
        return 0.0 if abs(value) > floor else 1.0
    size = abs(value)
    tails = special.stdtr(df, (floor - size) / se) + special.stdtr(df, -(size + floor) / se)
    return float(min(1.0, tails))


def compare(differences: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """Tests of every question and group, before any correction: a row each.

    differences: a row an item, with `check`, `group`, `value` (compressed − full; more is worse),
    `cluster` where items are not independent, and `floor` and `margin`, the same within a check.
    Columns of the result: `check`, `group`, `n`, `clusters`, `changed` (items whose value moved),
    `difference`, `ci_low`, `ci_high`, `se`, `df`, `floor`, `margin`, `p` (`p_beyond`), `p_tost`
    (`statistics.p_within` the margin) and `reason`, why a row has no test ("" where it has one):
    fewer than ten items, fewer than six clusters. A floor that is not below the margin leaves no
    test of equivalence (p_tost is 1), and that of a change as it is.

    Few moved items have too small a spread to show equivalence. Of values that move in steps, the
    error of p_tost is therefore at least what it were at a mean of the margin (`_least_error`), and
    where the sums of fewer than ten clusters moved, by a margin or more, p_tost is at least the
    binomial chance that so few of n did: a harm of at most 1 an item, with a mean of the margin,
    moves a share of at least the margin (with none moved (1 − margin)ⁿ, and p is 1; always 1 for a
    margin of 1 or more). Both together keep the rate of false equivalence of answers that turn, at
    a true change of the margin, within 6.1% at a level of 5%, for 40 to 320 items (exact).
    Raises InputError for a missing column, and where a check has two floors or margins.
    """
    needed = ("check", "group", "value", "floor", "margin")
    if missing := [name for name in needed if name not in differences.columns]:
        raise InputError(f"The table of differences lacks the column(s) {', '.join(missing)}.")
    rows = []
    for (check, group), some in differences.groupby(["check", "group"], sort=False, dropna=False):
        said = [some[name].unique() for name in ("floor", "margin")]
        if any(len(values) != 1 for values in said):
            raise InputError(f"{check} has several floors or margins: give one of each.")
        floor, margin = (float(values[0]) for values in said)
        rows.append({"check": check, "group": group} | _row(some, floor, margin, level))
    return pd.DataFrame(rows)


def _row(some: pd.DataFrame, floor: float, margin: float, level: float) -> dict:
    from scipy import stats

    if not (math.isfinite(margin) and margin > 0):
        raise InputError(f"A margin is a number above 0, not {margin}.")
    clusters = some["cluster"] if "cluster" in some.columns else None
    mean, se, df = clustered_mean(some["value"], clusters)
    many = df + 1
    row = {
        "n": len(some),
        "clusters": many,
        "changed": int((some["value"] != 0).sum()),
        "difference": mean,
        "ci_low": math.nan,
        "ci_high": math.nan,
        "se": se,
        "df": df,
        "floor": floor,
        "margin": margin,
        "p": math.nan,
        "p_tost": math.nan,
        "reason": "",
    }
    if len(some) < LEAST_ITEMS:
        return row | {"reason": f"fewer than {LEAST_ITEMS} items"}
    if many < LEAST_CLUSTERS:
        return row | {"reason": f"fewer than {LEAST_CLUSTERS} independent clusters"}
    sums = (
        some["value"].groupby(np.arange(len(some)) if clusters is None else clusters.values).sum()
    )
    moved = int((sums.abs() > 1e-12).sum())
    within = p_within(mean, max(se, _least_error(some["value"], margin)), margin, df)
    # The spread of a handful of steps as large as the margin is too small, and shows nothing.
    steps = not moved or some["value"].abs().max() >= margin
    if moved < LEAST_ITEMS and steps:
        within = max(within, float(stats.binom.cdf(moved, many, margin)) if margin < 1 else 1.0)
    half = float(stats.t.ppf((1 + level) / 2, df)) * se
    return row | {
        "ci_low": mean - half,
        "ci_high": mean + half,
        "p": p_beyond(mean, se, floor, df),
        # Noise that is not below the margin hides what lies within it; a harm beyond it shows.
        "p_tost": within if floor < margin else 1.0,
    }


def _least_error(values: pd.Series, margin: float) -> float:
    """The smallest standard error of a mean of these values, were it as large as the margin.

    Of values that are 0 or at least h in size E v² ≥ h |E v|, so that at a mean of the margin the
    variance is h · margin − margin² or more, however few have moved: that of a score test, which
    takes the variance where the hypothesis is tested. 0 where values move by less than the margin.
    """
    sizes = values.abs()[values.abs() > 1e-12]
    step = float(sizes.min()) if len(sizes) else 1.0
    return math.sqrt(max(0.0, step * margin - margin**2) / len(values))


def judge(
    differences: pd.DataFrame, stages: Mapping[str, str], *, level: float = 0.95
) -> pd.DataFrame:
    """`compare` with Holm's correction within each stage, and a verdict on every row.

    stages: the stage of each check. Holm's family is every row of a stage that has a test, of the
    test of a change and of that of equivalence, each by itself. Adds `stage`, `p_holm`,
    `p_tost_holm`, `detectable` (the smallest true change beyond the floor that this many items find
    with a power of 80% at the level that Holm's first step leaves; NaN without a spread),
    `items_needed` for a change as large as the margin (NaN likewise), and `verdict`:

    - "equivalent": shown to lie within the margin, whatever its direction (the margin is what does
      not matter; a direction that is settled too is in `p_holm`);
    - "worse", "better": shown to exceed the floor, and not shown to lie within the margin;
    - "cannot tell": neither, or no test. Not "no harm".
    """
    table = compare(differences, level=level)
    table.insert(0, "stage", table["check"].map(dict(stages)))
    if table["stage"].isna().any():
        unknown = table.loc[table["stage"].isna(), "check"].iloc[0]
        raise InputError(f"The check {unknown!r} belongs to no stage: name its stage.")
    alpha = 1 - level
    table[["p_holm", "p_tost_holm", "detectable", "items_needed"]] = math.nan
    for _, stage in table[table["p"].notna()].groupby("stage"):
        for name in ("p", "p_tost"):
            table.loc[stage.index, f"{name}_holm"] = holm(stage[name])
        strict = alpha / len(stage)
        for at, row in stage[stage["se"] > 0].iterrows():
            found = row["floor"] + minimum_detectable(row["se"], row["df"], alpha=strict)
            table.loc[at, "detectable"] = found
            if row["floor"] >= row["margin"]:
                continue  # no number of items is enough
            # The error falls with the root of the number of items.
            wanted = (found - row["floor"]) / (row["margin"] - row["floor"])
            table.loc[at, "items_needed"] = math.ceil(row["n"] * wanted**2)
    table["verdict"] = [verdict(row, alpha) for _, row in table.iterrows()]
    return table


def verdict(row: Mapping, alpha: float) -> str:
    """What a row of `judge` came to, by its `p_holm`, `p_tost_holm` and `difference`."""
    if row["p_tost_holm"] < alpha:
        return "equivalent"
    if row["p_holm"] < alpha:
        return "worse" if row["difference"] > 0 else "better"
    return "cannot tell"


def verdicts_of(table: pd.DataFrame, *, worse: str, alpha: float = 0.05) -> pd.Series:
    """`verdict` of each row of a table of paired tests whose value is no harm yet.

    worse: "lower" or "higher", which direction of `difference` is worse for people. table: columns
    `difference`, `p_holm`, and `p_tost_holm` where equivalence was tested; a row without a p-value
    cannot tell. Raises InputError for another direction.
    """
    if worse not in ("lower", "higher"):
        raise InputError(f"Worse is 'lower' or 'higher', not {worse!r}.")
    sign = 1 if worse == "higher" else -1
    rows = table.reindex(columns=["difference", "p_holm", "p_tost_holm"])
    rows = rows.assign(difference=sign * rows["difference"])
    return pd.Series([verdict(row, alpha) for _, row in rows.iterrows()], table.index, dtype=object)
