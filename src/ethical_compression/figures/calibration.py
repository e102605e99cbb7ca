"""Figures of Part II: whether confidence keeps its word, and how it is repaired."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ethical_compression.figures.forms import (
    BAND,
    LOOKS,
    WIDTH,
    category_bands,
    dodged,
    grid_of,
    in_order,
    legend_above,
    looks,
    standing_intervals,
    style,
    title_of,
)
from ethical_compression.metrics.confidence import reliability
from ethical_compression.metrics.reliability import gap_by_length
from ethical_compression.statistics.intervals import wilson
from ethical_compression.words import listed, signed


def reliability_diagram(
    items: pd.DataFrame,
    *,
    full: str = "full",
    bins: int = 10,
    least: int = 5,
    names: Mapping[str, str] | None = None,
):
    """Share of right answers against confidence, a panel per benchmark, items per bin below.

    Bins are equal parts of [0, 1]; a point stands at its bin's mean confidence, with Wilson's 95%
    interval; bins of fewer than `least` items are only counted. On the dotted diagonal a model is
    as often right as it is sure. More than three or four models are a thicket: choose them. `names`
    maps benchmarks to printed titles.
    """
    from matplotlib import pyplot

    style()
    benchmarks, models = in_order(items, full)
    look = looks(models)
    columns = min(2, len(benchmarks))
    rows = -(-len(benchmarks) // columns)
    fig = pyplot.figure(figsize=(WIDTH, 0.6 + 3.1 * rows))
    grid = fig.subfigures(rows, columns, squeeze=False).ravel()
    for panel in grid[len(benchmarks) :]:
        panel.set_visible(False)
    for place, (benchmark, panel) in enumerate(zip(benchmarks, grid, strict=False)):
        above, below = panel.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        here = items[items["benchmark"] == benchmark]
        start = np.floor(10 / here["options"].max()) / 10  # no confidence lies below chance
        asides = dodged(models, here["compression"])
        above.plot([start, 1], [start, 1], color="0.6", lw=1, ls=":", zorder=1)
        for model in asides:
            side = here[here["compression"] == model]
            table = reliability(side["confidence"], side["correct"], bins)
            middle = (table["low"] + table["high"]) / 2
            below.bar(
                middle + asides[model] / bins,
                table["count"],
                BAND / bins / len(asides),
                color=look[model][0],
            )
            table = table[table["count"] >= least]
            standing_intervals(
                above,
                table["confidence"],
                table[["accuracy", "accuracy_low", "accuracy_high"]].to_numpy().T,
                look[model],
                label=model,
            )
        above.set(xlim=(start - 0.03, 1.05), ylim=(-0.03, 1.03), title=title_of(benchmark, names))
        below.locator_params(axis="y", nbins=3)
        above.locator_params(axis="both", nbins=5)
        below.set_xlabel("Confidence")
        if place % columns == 0:
            above.set_ylabel("Share right")
            below.set_ylabel("Items")
        for axes in (above, below):
            axes.grid(False, axis="x")
    legend_above(fig)
    return fig, _reliability_in_words(items, full, bins, names)


def _reliability_in_words(
    items: pd.DataFrame, full: str, bins: int, names: Mapping[str, str] | None
) -> str:
    benchmarks, models = in_order(items, full)
    share = items.groupby(["benchmark", "compression"])[["confidence", "correct"]].mean()
    gap = share["confidence"] - share["correct"]
    words = "; ".join(
        f"{title_of(b, names)}: mean confidence {share.loc[(b, full), 'confidence']:.3f}, "
        f"share right {share.loc[(b, full), 'correct']:.3f}"
        for b in benchmarks
    )
    return (
        f"Reliability diagrams of {listed(models)}: share of right answers against confidence in "
        f"{bins} bins with 95% intervals, and the items per bin. The model {full} has, on "
        f"{words}. "
        f"Mean confidence minus share right lies between {signed(gap.min())} "
        f"({gap.idxmin()[1]}, {title_of(gap.idxmin()[0], names)}) and {signed(gap.max())} "
        f"({gap.idxmax()[1]}, {title_of(gap.idxmax()[0], names)})."
    )


def overconfidence_by_length(
    items: pd.DataFrame,
    *,
    unit: str = "bytes",
    bins: int = 5,
    names: Mapping[str, str] | None = None,
):
    """Confidence (above) and confidence − share right (below) against the options' length.

    items: one model's per-item records under several normalisations, stacked with a column
    `normalisation` ("none", "token", "byte") and a column `length`, the mean length of the item's
    options in `unit`. A place on the axis is a range of equal count *within* each benchmark
    (`score.reliability.gap_by_length`), so that all places hold the benchmarks alike; 95%
    intervals. `names` maps normalisations to printed ones.
    """
    from matplotlib import pyplot

    style()
    kinds = items["normalisation"].unique().tolist()
    titles = {"none": "sum", "token": "per token", "byte": "per byte", **(names or {})}
    colours = [LOOKS["full"], LOOKS["GPTQ 3-bit"], LOOKS["GPTQ 4-bit"], LOOKS["GPTQ 2-bit"]]
    fig, panels = pyplot.subplots(2, 1, sharex=True, figsize=(WIDTH, 5.2))
    panels[1].axhline(0, color="0.4", lw=1)
    words = []
    for number, kind in enumerate(kinds):
        side = items[items["normalisation"] == kind]
        table = gap_by_length(side, bins=bins)
        for axes, value in zip(panels, ("confidence", "gap"), strict=True):
            standing_intervals(
                axes,
                np.arange(len(table)) + dodged(kinds, kinds)[kind],
                table[[value, f"{value}_low", f"{value}_high"]].to_numpy().T,
                colours[number % len(colours)],
                label=titles.get(kind, kind) if value == "confidence" else None,
            )
        first, last = table["gap"].iloc[[0, -1]]
        overall = (side["confidence"] - side["correct"]).mean()
        words.append(
            f"{titles.get(kind, kind)} {signed(first, 2)} for the shortest options and "
            f"{signed(last, 2)} for the longest, {signed(overall, 2)} overall"
        )
    panels[0].set_ylabel("Mean confidence")
    panels[1].set(ylabel="Confidence − share right")
    ticks = [f"{length:.1f}" for length in table["length"]]
    ticks[0], ticks[-1] = f"{ticks[0]}\nshortest", f"{ticks[-1]}\nlongest"
    panels[1].set_xticks(range(len(table)), ticks)
    for axes in panels:
        category_bands(axes, len(table))
    panels[1].set_xlabel(f"Ranges of each benchmark by its options' length (mean, {unit})")
    for axes in panels:
        axes.grid(False, axis="x")
    legend_above(fig)
    alt = (
        f"Mean confidence, and mean confidence minus share right, in {len(table)} equal-count "
        f"ranges of each benchmark by its options' mean length in {unit}, with 95% intervals. The "
        f"latter is, as the log-likelihood is taken: {'; '.join(words)}."
    )
    return fig, alt


def repaired_reliability(
    items: pd.DataFrame,
    *,
    bins: int = 10,
    least: int = 5,
):
    """Share right against confidence before and after each fix, a panel per model.

    items: per-item records stacked with columns `compression` and `fix`, in the order to draw;
    repeated cross-fits may be stacked, too: their counts are divided by the repeats for the
    intervals.
    """
    style()
    models, fixes = items["compression"].unique().tolist(), items["fix"].unique().tolist()
    colours = [LOOKS["full"], LOOKS["GPTQ 3-bit"], LOOKS["GPTQ 4-bit"], LOOKS["RTN 2-bit"]]
    fig, panels = grid_of(models, height=2.6, sharex=True, sharey=True)
    for name, axes, left, bottom in panels:
        axes.plot([0, 1], [0, 1], color="0.6", lw=1, ls=":", zorder=1)
        for number, fix in enumerate(fixes):
            side = items[(items["compression"] == name) & (items["fix"] == fix)]
            repeats = side["repeat"].nunique() if "repeat" in side.columns else 1
            table = reliability(side["confidence"], side["correct"], bins)
            table["count"] = table["count"] / repeats
            table = table[table["count"] >= least]
            low, high = wilson(table["accuracy"] * table["count"], table["count"])
            standing_intervals(
                axes,
                table["confidence"],
                np.array([table["accuracy"], low, high]),
                colours[number % len(colours)],
                label=fix,
            )
        axes.set(xlim=(-0.03, 1.05), ylim=(-0.03, 1.03), title=name)
        axes.set_xticks([0, 0.5, 1])
        axes.set_yticks([0, 0.5, 1])
        if bottom:
            axes.set_xlabel("Confidence")
        if left:
            axes.set_ylabel("Share right")
    legend_above(fig)
    gaps = (items["confidence"] - items["correct"]).groupby(
        [items["compression"], items["fix"]], sort=False
    )
    words = "; ".join(
        f"{model}: "
        + ", ".join(f"{fix} {signed(gaps.get_group((model, fix)).mean(), 2)}" for fix in fixes)
        for model in models
    )
    alt = (
        f"Reliability diagrams of {listed(models)} before and after each fix, judged on items "
        "that the fix did not see, with 95% intervals. "
        f"Mean confidence minus share right, {words}."
    )
    return fig, alt
