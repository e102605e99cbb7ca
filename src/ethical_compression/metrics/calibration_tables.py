"""What a page compares of repaired probabilities: models with and without each fix.

`fitted` is {(compression, fix): `recalibration.cross_fit`} of `fits`, the full model among them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from ethical_compression import statistics
from ethical_compression.metrics import confidence, reliability
from ethical_compression.metrics.recalibration import averaged, cross_fit

FIXES = ("none", "temperature", "temperature and length", "isotonic")
# The full model's temperature on a compressed model's other half.
CARRIED = "temperature of full"
Fitted = Mapping[tuple[str, str], pd.DataFrame]


def fits(
    scores: Mapping[str, pd.DataFrame], *, repeats: int, seed: int
) -> dict[tuple[str, str], pd.DataFrame]:
    """Each model with each of `FIXES`, and each compressed one with `CARRIED`, by benchmark.

    scores: {compression: table of one model}, "full" among them; repeats, seed: as `cross_fit`.
    """
    how = {"by": "benchmark", "seed": seed}
    found = {
        (label, fix): cross_fit(table, fix, repeats=1 if fix == "none" else repeats, **how)
        for label, table in scores.items()
        for fix in FIXES
    }
    return found | {
        (label, CARRIED): cross_fit(
            table, "temperature", fitted_on=scores["full"], repeats=repeats, **how
        )
        for label, table in scores.items()
        if label != "full"
    }


def numbers(fitted: Fitted) -> pd.DataFrame:
    """Medians of the fitted `temperature` and `length_weight`, by (compression, benchmark, fix)."""
    parts = [
        table.assign(compression=label, fix=fix)
        for (label, fix), table in fitted.items()
        if fix in ("temperature", "temperature and length")
    ]
    by = pd.concat(parts).groupby(["compression", "benchmark", "fix"], sort=False)
    return by[["temperature", "length_weight"]].median()


def levels(fitted: Fitted) -> pd.DataFrame:
    """How good each model is with each of `FIXES`, and, last, one that knows nothing and says so.

    Columns: `compression`, `fix`; `accuracy`, `gap` (confidence − share right) and `ece` in
    percent; `squared` (`reliability.squared_error`) with `ci_low` and `ci_high`, in squared points;
    `brier`, `log_score`, and `aurc`. `ece` and `aurc` are means over the repeats.
    """
    rows = []
    for (label, fix), table in fitted.items():
        if fix == CARRIED:
            continue
        squared = reliability.squared_error(table)
        sides = [(one["confidence"], one["correct"]) for _, one in table.groupby("repeat")]
        row = {"compression": label, "fix": fix, "accuracy": 100 * table["correct"].mean()}
        row["gap"] = 100 * (table["confidence"] - table["correct"]).mean()
        row["ece"] = 100 * np.mean([confidence.calibration_error(*side) for side in sides])
        row |= {"squared": 1e4 * squared.value}
        row |= {"ci_low": 1e4 * squared.ci_low, "ci_high": 1e4 * squared.ci_high}
        row |= {"brier": table["brier"].mean(), "log_score": table["log_score"].mean()}
        rows.append(row | {"aurc": np.mean([confidence.aurc(*side) for side in sides])})
    options = fitted["full", "none"]["options"]
    wrong = (1 - 1 / options).mean()
    even = {"compression": "no model", "fix": "equal probabilities"}
    even |= {"accuracy": 100 * (1 / options).mean(), "gap": 0.0, "ece": 0.0, "squared": 0.0}
    even |= {"brier": wrong, "log_score": np.log(options).mean(), "aurc": wrong}
    return pd.DataFrame([*rows, even])


def restored(fitted: Fitted, margin: float) -> pd.DataFrame:
    """`reliability.changes` to each compressed model from the full one, as it is and so fixed.

    Keys `compression`, `fix` and `against` ("full, no fix", "full, same fix").
    """
    compared = {}
    for (label, fix), table in fitted.items():
        if label == "full":
            continue
        compared[label, fix, "full, no fix"] = (fitted["full", "none"], table)
        if fix != "none":
            own = fitted["full", "temperature" if fix == CARRIED else fix]
            compared[label, fix, "full, same fix"] = (own, table)
    order = {label: place for place, (label, _) in enumerate(fitted)}
    compared = dict(sorted(compared.items(), key=lambda one: order[one[0][0]]))
    return reliability.changes(compared, ("compression", "fix", "against"), margin)


def between_fixes(fitted: Fitted, before: str, after: str, margin: float) -> pd.DataFrame:
    """`reliability.changes` from one fix to another of the same model, by `compression`."""
    compared = {
        (label,): (fitted[label, before], table)
        for (label, fix), table in fitted.items()
        if fix == after
    }
    return reliability.changes(compared, ("compression",), margin)


def brier_tests(fitted: Fitted, margin: float) -> pd.DataFrame:
    """Paired tests of Brier scores by question, means over the repeats: `statistics.paired_test`.

    `comparison` says of what: each fix "…, against none" and "…, against equal" (probabilities; not
    of isotonic), and, of a compressed model, "temperature, against full's". With `p_tost` of
    equivalence within ±margin, and Holm's `p_holm` and `p_tost_holm` over the rows.
    """
    score = {key: averaged(table) for key, table in fitted.items() if key[1] != CARRIED}
    rows = []

    def test(label: str, comparison: str, before, after) -> None:
        row = {"compression": label, "comparison": comparison}
        row |= asdict(statistics.paired_test(before, after))
        rows.append(row | {"p_tost": statistics.tost(before, after, margin).p})

    for label in dict.fromkeys(label for label, _ in score):
        for fix in FIXES[1:]:
            after = score[label, fix]
            test(label, f"{fix}, against none", score[label, "none"]["brier"], after["brier"])
            if fix != "isotonic":
                test(label, f"{fix}, against equal", 1 - 1 / after["options"], after["brier"])
        if label != "full":
            sides = (score[one, "temperature"]["brier"] for one in ("full", label))
            test(label, "temperature, against full's", *sides)
    table = pd.DataFrame(rows)
    table["p_holm"] = statistics.holm(table["p"])
    return table.assign(p_tost_holm=statistics.holm(table["p_tost"]))


def least_sure(fitted: Fitted, share: float) -> pd.DataFrame:
    """`reliability.gaps` on each benchmark's questions of which the full model is least sure.

    share: of the questions. By `compression` and `fix`, with the mean `brier`.
    """
    plain = fitted["full", "none"]
    rank = plain.groupby("benchmark")["confidence"].rank(method="first", pct=True)
    hard = plain.loc[rank <= share, ["benchmark", "item"]]
    picked = {
        key: table.merge(hard, on=["benchmark", "item"])
        for key, table in fitted.items()
        if key[1] != CARRIED
    }
    brier = [averaged(table)["brier"].mean() for table in picked.values()]
    return reliability.gaps(picked, ("compression", "fix")).assign(brier=brier)


def areas(fitted: Fitted, fixes: Sequence[str] = ("none", "temperature")) -> pd.DataFrame:
    """The area under the risk–coverage curve with each fix, mean over repeats; by benchmark.

    Columns: `compression`, `benchmark`, one of each fix, and `wrong`, the share wrong of all.
    """
    rows = []
    for label in dict.fromkeys(label for label, _ in fitted):
        for benchmark in fitted[label, "none"]["benchmark"].unique():
            row = {"compression": label, "benchmark": benchmark}
            for fix in fixes:
                table = fitted[label, fix]
                table = table[table["benchmark"] == benchmark]
                repeats = [one for _, one in table.groupby("repeat")]
                found = [confidence.aurc(one["confidence"], one["correct"]) for one in repeats]
                row |= {fix: np.mean(found), "wrong": 1 - table["correct"].mean()}
            rows.append(row)
    return pd.DataFrame(rows)
