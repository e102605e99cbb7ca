"""Figures of the chapter on small models."""

from collections.abc import Mapping

import pandas as pd

from ethical_compression.figures.forms import (
    WIDTH,
    dodged,
    legend_above,
    looks,
    lying_interval,
    style,
    tick,
)
from ethical_compression.words import listed


def beside_chance(table: pd.DataFrame, label: str, *, names: Mapping[str, str] | None = None):
    """Shares with their intervals, a row for each question, beside what chance gives there.

    table: columns `row`, `by`, `value`, `low`, `high`, `chance`. label: the words under the axis.
    names: printed titles of the rows. Returns (figure, alt).
    """
    from matplotlib import pyplot

    style()
    rows, models = (table[one].unique().tolist() for one in ("row", "by"))
    look = looks(models)
    fig, axes = pyplot.subplots(figsize=(WIDTH, 1.1 + len(rows) * (0.2 + 0.16 * len(models))))
    for y, row in enumerate(rows):
        here = table[table["row"] == row]
        aside = dodged(models, here["by"])
        for found in here.to_dict("records"):
            value = found["value"]
            low, high = (value if one != one else one for one in (found["low"], found["high"]))
            numbers = value, min(low, value), max(high, value)
            lying_interval(axes, numbers, y + aside[found["by"]], look[found["by"]], found["by"])
        chance = here["chance"].mean()
        axes.plot([chance] * 2, [y - 0.45, y + 0.45], color="0", ls="--", lw=1.2, label="chance")
        if y:
            axes.axhline(y - 0.5, color="0.85", lw=0.8)
    axes.set_yticks(range(len(rows)), [(names or {}).get(row, row) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(False, axis="y")
    axes.xaxis.set_major_formatter(tick)
    axes.set_xlabel(label)
    legend_above(fig)
    above = int((table["low"] > table["chance"]).sum())
    below = int((table["high"] < table["chance"]).sum())
    alt = (
        f"{label}, of {listed(models)}, with 95% intervals, beside chance (dashed): of "
        f"{len(table)} values {above} lie above chance with their whole interval, {below} below it."
    )
    return fig, alt


def learning_curves(table: pd.DataFrame, label: str, value: str = "development"):
    """Learning curves, a line each of `by`: loss against `tokens` read.

    table: columns `by`, `tokens` and `value`. Returns (figure, alt).
    """
    from matplotlib import pyplot

    style()
    names = table["by"].unique().tolist()
    look = looks(names)
    fig, axes = pyplot.subplots(figsize=(WIDTH, 3.0))
    words = []
    for name in names:
        here = table[(table["by"] == name) & table[value].notna()].sort_values("tokens")
        colour, marker = look[name]
        axes.plot(here["tokens"] / 1000, here[value], color=colour, marker=marker, label=name)
        words.append(f"{name} from {here[value].iloc[0]:.2f} to {here[value].iloc[-1]:.2f}")
    axes.set_xlabel("thousand tokens read")
    axes.set_ylabel(label)
    legend_above(fig)
    return fig, f"Learning curves, {label} against tokens read: {listed(words)}."
