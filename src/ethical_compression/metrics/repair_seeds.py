"""Compressions that repair over several draws of pairs and calibration text: how far a change holds
for other items *and* for other draws."""

import math
from collections.abc import Mapping

import pandas as pd

from ethical_compression.errors import InputError
from ethical_compression.statistics.intervals import in_quadrature
from ethical_compression.statistics.power import minimum_detectable
from ethical_compression.statistics.tests import holm
from ethical_compression.statistics.verdicts import clustered_mean, verdict

Parts = list[tuple[float, float]]


def over_seeds(
    table: pd.DataFrame,
    margins: Mapping[str, float],
    *,
    before: str = "plain",
    least: int = 3,
    level: float = 0.95,
) -> pd.DataFrame:
    """Each cell against another of the same compression and draw, or against the full model.

    table: `results/debias_models.parquet`. before: a cell, or "full". margins: {check: the
    largest change that does not matter}, of the checks asked about (`repair.CHECKS`, `BY_SUMS`). A
    row a `how`, `cell` and `check` of which at least `least` draws are there (2 or more), paired by
    item and draw. Items (their clusters) and draws are two sources of error, added in quadrature
    (`intervals.in_quadrature`), which errs on the wide side: both hold the noise of an item in a
    draw. Holm's family are all rows of one `how`.
    Columns: `how`, `cell`, `check`, `before`, `n` (items), `clusters`, `seeds`, `difference`,
    `ci_low`, `ci_high`, `se_items`, `se_seeds`, `lowest`, `highest` (of the draws' own changes),
    `p`, `p_tost` and both after Holm, `margin`, `detectable`, `verdict`, `level_before`,
    `level_after`, `reason` ("").
    Raises InputError where no cell has as many draws.
    """
    keys = ["check", "item", "cluster"]
    wide = table.pivot(index=keys, columns=["how", "cell", "seed"], values="value")
    wide = wide.sort_index(axis=1)
    rows = []
    for how in table["how"].unique():
        for cell in table.loc[table["how"] == how, "cell"].unique():
            if how != "full" and cell != before:
                rows += _rows(wide, how, cell, before, margins, max(2, least), level)
    if not rows:
        raise InputError(
            f"No compression has {max(2, least)} draws that can be compared: run "
            "results/debias_models.py on."
        )
    found = pd.DataFrame(rows)
    for _, family in found.groupby("how"):
        for name in ("p", "p_tost"):
            found.loc[family.index, f"{name}_holm"] = holm(family[name])
        strict = (1 - level) / len(family)
        for at, row in family.iterrows():
            sizes = [
                minimum_detectable(math.sqrt(variance), df, alpha=strict)
                for variance, df in row["parts"]
                if variance
            ]
            found.loc[at, "detectable"] = math.hypot(*sizes) if sizes else math.nan
    found["verdict"] = [verdict(row, 1 - level) for _, row in found.iterrows()]
    return found.drop(columns="parts")


def _rows(wide, how: str, cell: str, before: str, margins, least: int, level: float) -> list:
    after = wide[how, cell]
    start = wide["full", "full"] if before == "full" else wide[how].get(before)
    if start is None:
        return []
    if before == "full":  # it knows of no draw: the same one for all
        start = pd.DataFrame(dict.fromkeys(after.columns, start.iloc[:, 0]))
    seeds = after.columns.intersection(start.columns)
    if len(seeds) < least:
        return []
    found = []
    for check in margins:
        sides = start.loc[check][seeds], after.loc[check][seeds]
        differences = sides[1] - sides[0]
        if differences.isna().any(axis=None):
            raise InputError(f"{how}, {cell}: some items of {check} were not asked in every draw.")
        clusters = differences.index.get_level_values("cluster")
        mean, se, df = clustered_mean(differences.mean(axis=1), clusters)
        draws = differences.mean()
        parts: Parts = [(se**2, df), (float(draws.var()) / len(seeds), len(seeds) - 1)]
        half, p = in_quadrature(mean, parts, level=level)
        row = {"how": how, "cell": cell, "check": check, "before": before}
        row |= {"n": len(differences), "clusters": df + 1, "seeds": len(seeds)}
        row |= {"difference": mean, "ci_low": mean - half, "ci_high": mean + half}
        row |= {"se_items": se, "se_seeds": math.sqrt(parts[1][0]), "p": p}
        row |= {"lowest": draws.min(), "highest": draws.max(), "margin": margins[check]}
        row |= {"p_tost": _p_within(mean, parts, margins[check]), "parts": parts, "reason": ""}
        row |= {"level_before": sides[0].mean(axis=None), "level_after": sides[1].mean(axis=None)}
        found.append(row)
    return found


def _p_within(mean: float, parts: Parts, margin: float) -> float:
    """The larger p of two one-sided tests that the change is at least the margin, either way."""
    inside = margin - abs(mean)
    tail = in_quadrature(inside, parts)[1] / 2
    return tail if inside > 0 else 1 - tail
