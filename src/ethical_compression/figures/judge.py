"""Figures of the judge of toxicity."""

from collections.abc import Mapping

import pandas as pd

from ethical_compression.figures.forms import (
    WIDTH,
    dodged,
    legend_above,
    looks,
    lying_interval,
    style,
    title_of,
)
from ethical_compression.words import interval

# What is drawn of `metrics.toxicity.errors_by_community`, and the value of a judge that draws lots.
PANELS = {
    "sensitivity": "toxic texts flagged",
    "specificity": "harmless texts passed",
    "auc": "AUC",
}


def judge_errors(table: pd.DataFrame, names: Mapping[str, str] | None = None):
    """How well judges tell toxic texts: a forest, a row per data set and community, three panels.

    table: that of `metrics.toxicity.errors_by_community`; bars are its 95% intervals, and what it
    has no number for is left out. names: printed titles of communities and data sets.
    Returns (figure, alt).
    """
    from matplotlib import pyplot

    style()
    judges = table["judge"].unique().tolist()
    look = looks(judges)
    rows = list(dict.fromkeys(zip(table["data"], table["community"], strict=True)))
    titles = [
        f"{title_of(data, names)}: {title_of(community, names)}"
        if first
        else title_of(community, names)
        for (data, community), first in zip(rows, _first_of_each(rows), strict=True)
    ]
    height = 1.1 + len(rows) * (0.22 + 0.1 * (len(judges) - 1))
    fig, panels = pyplot.subplots(1, len(PANELS), sharey=True, figsize=(WIDTH, height))
    for axes, (measure, title) in zip(panels, PANELS.items(), strict=True):
        for row in table[table[measure].notna()].to_dict("records"):
            place = rows.index((row["data"], row["community"]))
            here = table[(table["data"] == row["data"]) & (table["community"] == row["community"])]
            y = place + dodged(judges, here["judge"])[row["judge"]]
            low, high = row[f"{measure}_low"], row[f"{measure}_high"]
            numbers = row[measure], *((low, high) if low == low else (row[measure],) * 2)
            lying_interval(axes, numbers, y, look[row["judge"]], label=row["judge"])
        if measure == "auc":
            axes.axvline(0.5, color="black", lw=1)
        axes.set_xlim(-0.03, 1.03)
        axes.set_xticks([0, 0.5, 1], ["0", "½", "1"])
        axes.grid(False, axis="y")
        axes.set_xlabel(title.replace(" texts ", " texts\n"))
        for place, first in enumerate(_first_of_each(rows)):
            if first and place:
                axes.axhline(place - 0.5, color="0.7", lw=0.8)
    panels[0].set_yticks(range(len(rows)), titles)
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    if len(judges) > 1:
        legend_above(fig)
    said = "; ".join(_said(table, names))
    return fig, f"How often a judge of toxicity is right, by community. {said}."


def _first_of_each(rows: list[tuple[str, str]]) -> list[bool]:
    seen = [data for data, _ in rows]
    return [data not in seen[:place] for place, data in enumerate(seen)]


def _said(table: pd.DataFrame, names: Mapping[str, str] | None) -> list[str]:
    """The least of each measure, with whose it is."""
    parts = []
    for measure, title in PANELS.items():
        known = table[table[measure].notna()].reset_index(drop=True)
        if known.empty:
            parts.append(f"{title}: not known")
            continue
        least = known.loc[known[measure].idxmin()]
        number = interval(
            least[measure], least[f"{measure}_low"], least[f"{measure}_high"], least=2, sign=False
        )
        parts.append(
            f"{title}: {known[measure].min():.2f} to {known[measure].max():.2f}, least for "
            f"{title_of(least['community'], names)} of {title_of(least['data'], names)} "
            f"by the judge “{least['judge']}”, {number}"
        )
    return parts
