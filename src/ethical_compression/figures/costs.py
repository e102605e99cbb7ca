"""The figure of the chapter on costs."""

from collections.abc import Mapping

import pandas as pd

from ethical_compression.figures.forms import COLOURS, WIDTH, style
from ethical_compression.words import listed
from ethical_compression.words.costs import lasting

# Hours, as an axis of them is read.
TICKS = {
    1 / 3600: "1 second",
    1 / 60: "1 minute",
    1: "1 hour",
    24: "1 day",
    24 * 30: "1 month",
    24 * 365: "1 year",
    24 * 3650: "10 years",
}
MARKS = ("D", "^", "v", "P", "X")


def hours_against_size(table: pd.DataFrame, names: Mapping[str, str] | None = None):
    """Hours of an audit against a model's parameters, both axes logarithmic: the formula a line,
    what was measured points, other machines broken lines.

    table: `by` ("formula", "measured", or another machine's name), `what`, `billions`, `hours`
    (`metrics.costs.against_size`). names: what models are called in the picture, by `what`. Returns
    (figure, alt).
    """
    from matplotlib import pyplot

    style()
    fig, axes = pyplot.subplots(figsize=(WIDTH, 4.0))
    axes.set(xscale="log", yscale="log")
    formula, measured = (table[table["by"] == by] for by in ("formula", "measured"))
    label = "formula, rates of this machine"
    axes.plot(formula["billions"], formula["hours"], color="0", marker="o", ms=4, label=label)
    others = [by for by in table["by"].unique() if by not in ("formula", "measured")]
    for place, by in enumerate(others):
        here = table[table["by"] == by]
        look = {"color": COLOURS[2 + place % 4], "marker": MARKS[place % len(MARKS)]}
        axes.plot(here["billions"], here["hours"], ls="--", ms=5, label=by, **look)
    if len(measured):
        look = {"color": COLOURS[1], "marker": "s", "ms": 8, "mfc": "none", "mew": 1.8, "ls": ""}
        axes.plot(measured["billions"], measured["hours"], label="measured here", **look)
    below = 0.0
    for row in formula.itertuples():
        said = (names or {}).get(row.what, row.what)
        # Under its point; above it where its neighbour's name is near.
        near = row.billions < 3 * below
        place = {"xytext": (-7, 7), "ha": "right", "va": "bottom"}
        if not near:
            place, below = {"xytext": (7, -7), "ha": "left", "va": "top"}, row.billions
        at = (row.billions, row.hours)
        axes.annotate(said, at, textcoords="offset points", fontsize=10, **place)
    low, high = table["hours"].min() / 4, table["hours"].max() * 2.5
    ticks = {hours: said for hours, said in TICKS.items() if low <= hours <= high}
    axes.set_ylim(low, high)
    axes.set_xlim(formula["billions"].min() / 1.7, formula["billions"].max() * 16)
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.set_xticks(found := _powers(formula["billions"]), [f"{one:g}" for one in found])
    axes.minorticks_off()
    axes.set_xlabel("parameters (billions)")
    axes.set_ylabel("time of an audit")
    fig.legend(loc="outside upper center", ncols=2)
    words = [f"{row.what} {lasting(row.hours)}" for row in formula.itertuples()]
    alt = (
        "Time of an audit against parameters, both on logarithmic axes. By the formula: "
        f"{listed(words)}."
    )
    if len(measured):
        words = [f"{row.what} {lasting(row.hours)}" for row in measured.itertuples()]
        alt += f" Measured: {listed(words)}."
    if others:
        alt += f" Also at the rates of {listed(others)}."
    return fig, alt


def _powers(values: pd.Series) -> list[float]:
    """The powers of ten from just below the least of some numbers to the largest."""
    powers = [10.0**power for power in range(-6, 7)]
    return [one for one in powers if values.min() / 1.7 <= one <= values.max() * 2]
