"""The look of every figure, and the forms that several chapters draw.

Colour and marker belong to a compression's label, the same in every figure. Sizes are chosen so
that type stays readable when a figure is shrunk to the width of a phone. A figure is returned with
its text alternative, computed from what it shows: (figure, alt).
"""

import itertools
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ethical_compression.figures.faults import GAP, overlap, tick_labels
from ethical_compression.statistics import mean_interval
from ethical_compression.words import listed, scientific, with_interval

BAND = 0.7  # of the distance between two categories: what the series at one of them share
WIDTH = 5.6  # inches: 11-point type is then 10 pixels high on a phone 390 pixels wide
# Okabe & Ito's palette, which colour-blind readers can tell apart, without its yellow, too pale on
# white. A marker of its own for every label, for readers and printers without colour.
LOOKS = {
    "full": ("#000000", "o"),
    "GPTQ 4-bit": ("#0072B2", "s"),
    "GPTQ 3-bit": ("#D55E00", "D"),
    "GPTQ 2-bit": ("#CC79A7", "v"),
    "RTN 4-bit": ("#56B4E9", "P"),
    "RTN 3-bit": ("#E69F00", "X"),
    "RTN 2-bit": ("#009E73", "^"),
    "AWQ 4-bit": ("#009E73", "h"),
    "AWQ 3-bit": ("#0072B2", "h"),
    "AWQ 2-bit": ("#D55E00", "h"),
    "LLM.int8": ("#56B4E9", "p"),
    "NF4": ("#E69F00", "<"),
    "FP4": ("#CC79A7", ">"),
    "Magnitude 50%": ("#E69F00", "d"),
    "Wanda 50%": ("#009E73", "*"),
    "SparseGPT 50%": ("#0072B2", "8"),
    "Magnitude 2:4": ("#D55E00", "d"),
    "Wanda 2:4": ("#56B4E9", "*"),
    "SparseGPT 2:4": ("#CC79A7", "8"),
    "Entropy-weighted GPTQ 4-bit": ("#E69F00", "s"),
    "Entropy-weighted GPTQ 3-bit": ("#009E73", "D"),
    "Entropy-weighted GPTQ 2-bit": ("#56B4E9", "v"),
    "bottom layers removed": ("#0072B2", "<"),
    "middle layers removed": ("#CC79A7", "^"),
    "upper layers removed": ("#D55E00", ">"),
    "Magnitude": ("#E69F00", "H"),
    "Wanda": ("#009E73", "8"),
    "SparseGPT": ("#0072B2", "P"),
    "RTN": ("#E69F00", "P"),
    "GPTQ": ("#0072B2", "v"),
    "AWQ": ("#D55E00", "^"),
}
# What small models were raised on, and who stands beside them: all of them in one figure.
RAISED = {
    "children": ("#D55E00", "o"),
    "adults": ("#0072B2", "X"),
    "both": ("#CC79A7", "d"),
    "random weights": ("#E69F00", "*"),
    "bebe-5m": ("#56B4E9", "o"),
    "smollm2-135m": ("#009E73", "<"),
}
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# For labels that nobody thought of.
SPARES = [
    (colour, marker)
    for marker in "oXPsDv^<>phHd8*"
    for colour in COLOURS
    if (colour, marker) not in LOOKS.values()
]


def style() -> None:
    """Set the book's look: seaborn's white grid, type readable on a phone, opaque background."""
    import seaborn

    rc = {
        "font.size": 11,
        "axes.labelsize": 11,
        "axes.titlesize": 11,
        "xtick.labelsize": 10,
        "ytick.labelsize": 10,
        "legend.fontsize": 10,
        "legend.frameon": False,
        "legend.handlelength": 1.4,
        "legend.columnspacing": 1.4,
        "axes.linewidth": 0.8,
        "grid.linewidth": 0.8,
        "axes.edgecolor": "0.4",
        "axes.labelcolor": "0.1",
        "grid.color": "0.9",
        "lines.markersize": 5,
        "figure.facecolor": "white",
        "savefig.facecolor": "white",
        "savefig.transparent": False,
        "axes.unicode_minus": True,
        "text.hinting": "no_hinting",  # letters keep their widths, which texts are set by
        "figure.constrained_layout.use": True,
    }
    seaborn.set_theme(context="notebook", style="whitegrid", rc=rc)


def looks(labels: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each label, the same in every figure that shows it.

    A label that is not in LOOKS or RAISED gets what its name falls on among SPARES; only where two
    such labels of one figure fall on one look does the later one in the alphabet take the next.
    """
    labels = list(dict.fromkeys(labels))
    known = LOOKS | RAISED
    found = {label: known[label] for label in labels if label in known}
    for label in sorted(set(labels) - set(found)):
        start = zlib.crc32(label.encode()) % len(SPARES)
        ring = itertools.chain(SPARES[start:], SPARES[:start])
        found[label] = next(look for look in ring if look not in found.values())
    return {label: found[label] for label in labels}


class Panel(NamedTuple):
    """One of a grid of panels: what it is of, and whether it is a row's first, a column's last."""

    name: str
    axes: Any
    left: bool
    bottom: bool


def grid_of(names: Sequence[str], *, height: float, columns: int = 2, more: float = 0.8, **shared):
    """(figure, panels): one for each of `names`, at most `columns` beside each other.

    height: of a row, more: of what stands above and below them all, both in inches. shared: sharex
    and sharey, as pyplot takes them.
    """
    from matplotlib import pyplot

    columns = min(columns, len(names))
    rows = -(-len(names) // columns)
    size = (WIDTH, more + height * rows)
    fig, grid = pyplot.subplots(rows, columns, figsize=size, squeeze=False, **shared)
    for axes in grid.ravel()[len(names) :]:
        axes.set_visible(False)
    panels = [
        Panel(name, axes, place % columns == 0, place + columns >= len(names))
        for place, (name, axes) in enumerate(zip(names, grid.ravel(), strict=False))
    ]
    for panel in panels:
        if panel.bottom:  # also where a panel that is not drawn would stand below
            panel.axes.tick_params(labelbottom=True)
    return fig, panels


def in_order(items: pd.DataFrame, full: str) -> tuple[list[str], list[str]]:
    """Benchmarks and models in order of appearance, the full model first."""
    models = items["compression"].unique().tolist()
    return items["benchmark"].unique().tolist(), sorted(models, key=lambda model: model != full)


def dodged(names: Iterable[str], present: Iterable[str]) -> dict[str, float]:
    """How far beside a category's tick each series stands: of those present there, in their order.

    On category axes only. On an axis of numbers a point moved aside would show a wrong number, and
    a series alone in its category stands on the tick.
    """
    present = set(present)
    here = [name for name in names if name in present]
    middle = (len(here) - 1) / 2
    return {name: (place - middle) * BAND / len(here) for place, name in enumerate(here)}


def tick(value: float, _=None) -> str:
    """A number under an axis: `0.25`, `−3`, `5.0 × 10⁻⁵`. The second argument is matplotlib's."""
    text = f"{value:g}".replace("-", "−")
    return scientific(value) if "e" in text else text


def apart(values: Iterable[float], digits: int = 2) -> list[str]:
    """Numbers with `digits` after the point, two more at most where different ones show alike."""
    values = list(values)
    said = {value: f"{value:.{digits}f}" for value in values}
    for more in (digits + 1, digits + 2):
        alike = {text for text in said.values() if list(said.values()).count(text) > 1}
        said |= {value: f"{value:.{more}f}" for value, text in said.items() if text in alike}
    return [said[value] for value in values]


def category_bands(axes, count: int) -> None:
    """Lines between `count` categories along x: what stands beside a tick belongs to it."""
    axes.set_xlim(-0.5, count - 0.5)
    for edge in range(1, count):
        axes.axvline(edge - 0.5, color="0.85", lw=0.8, zorder=0)


def lying_interval(axes, numbers, y: float, look, label: str | None = None) -> None:
    """A mean with its interval, lying."""
    mean, low, high = numbers
    colour, marker = look
    axes.errorbar(
        mean, y, xerr=[[mean - low], [high - mean]], color=colour, marker=marker, ls="", label=label
    )


def standing_intervals(axes, x, numbers, look, label: str | None = None) -> None:
    """Means with their intervals, standing, joined by a line so thin that it claims nothing."""
    mean, low, high = numbers
    colour, marker = look
    axes.plot(x, mean, color=colour, lw=0.8, alpha=0.35)
    axes.errorbar(
        x,
        mean,
        yerr=[list(mean - low), list(high - mean)],
        color=colour,
        marker=marker,
        ls="",
        label=label,
    )


def legend_above(fig) -> None:
    """One legend for all panels, above them; models before what is not a model; ticks to fit."""
    found = [axes.get_legend_handles_labels() for axes in fig.get_axes()]
    entries = {label: handle for pair in found for handle, label in zip(*pair, strict=True)}
    labels = sorted(entries, key=lambda label: label == "guessing")
    columns = 2 if len(labels) == 4 else 3
    if labels:
        handles = [entries[label] for label in labels]
        fig.legend(handles, labels, loc="outside upper center", ncols=columns)
    for axes in fig.get_axes():
        _thin_ticks(axes)


def _thin_ticks(axes) -> None:
    """Fewer ticks on an x axis of numbers, until their labels do not lie on each other."""
    from matplotlib.ticker import MaxNLocator

    if not (axes.get_visible() and isinstance(axes.xaxis.get_major_locator(), MaxNLocator)):
        return
    for bins in (3, 2, 1):
        axes.figure.canvas.draw()
        if axes.xaxis.get_offset_text().get_text():  # a factor that would lie on the axis's name
            axes.xaxis.set_major_formatter(tick)
            axes.figure.canvas.draw()
        boxes = [label.get_window_extent().padded(GAP, 0) for label in tick_labels(axes.xaxis)]
        if not any(overlap(one, other) for one, other in itertools.pairwise(boxes)):
            return
        axes.locator_params(axis="x", nbins=bins)


def change_of(row, names) -> str:
    return f"{with_interval(row)} for {row['compression']} on {title_of(row['benchmark'], names)}"


def title_of(benchmark: str, names: Mapping[str, str] | None) -> str:
    return (names or {}).get(benchmark, benchmark)


def interval_panels(
    table: pd.DataFrame,
    panels: Mapping[str, str],
    *,
    by: str = "compression",
    names: Mapping[str, str] | None = None,
    what: str = "difference",
):
    """Differences with their intervals: a panel for each kind, a row for each thing compared.

    table: columns `panel`, `row`, `by`, `difference`, `ci_low`, `ci_high`. panels: which, in which
    order, with the words under each axis. by: what the colours tell apart. names: printed titles of
    the rows. what: what the numbers are called, where they are no differences.
    """
    from matplotlib import pyplot

    style()
    rows, models = (table[column].unique().tolist() for column in ("row", by))
    look = looks(models)
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    height = 0.8 + lines * (0.7 + len(rows) * (0.2 + 0.15 * len(models)))
    fig, grid = pyplot.subplots(lines, columns, figsize=(WIDTH, height), sharey=True, squeeze=False)
    for axes in grid.ravel()[len(panels) :]:
        axes.set_visible(False)
    for axes, (panel, words) in zip(grid.ravel(), panels.items(), strict=False):
        axes.axvline(0, color="black", lw=1)
        here = table[table["panel"] == panel]
        for found in here.to_dict("records"):
            y = rows.index(found["row"])
            y += dodged(models, here.loc[here["row"] == found["row"], by])[found[by]]
            numbers = found["difference"], found["ci_low"], found["ci_high"]
            lying_interval(axes, numbers, y, look[found[by]], label=found[by])
        axes.set_yticks(range(len(rows)), [title_of(row, names) for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(False, axis="y")
        axes.locator_params(axis="x", nbins=4)
        # A power of ten for the whole axis would stand where the words under it begin.
        axes.xaxis.set_major_formatter(tick)
        axes.set_xlabel(words)
        for row in range(1, len(rows)):
            axes.axhline(row - 0.5, color="0.85", lw=0.8)
    if len(models) > 1:
        legend_above(fig)
    parts = []
    for panel, words in panels.items():
        here = table[table["panel"] == panel]
        beyond = int(((here["ci_low"] > 0) | (here["ci_high"] < 0)).sum())
        most = here.loc[here["difference"].abs().idxmax()]
        parts.append(
            f"{words.replace(chr(10), ' ')}: {beyond} of {len(here)} intervals leave out zero; the "
            f"largest {what} is {with_interval(most)} ({most[by]}, "
            f"{title_of(most['row'], names)})"
        )
    return fig, f"{what.capitalize()}s with 95% intervals, {listed(models)}. {'; '.join(parts)}."


def paired_groups(table: pd.DataFrame, *, first: str, second: str, what: str):
    """Means of two models in groups of items (left), and their paired difference (right).

    table: that of `statistics.paired_by_group`. Bars are 95% intervals over items, each item's
    values averaged over seeds; hollow dots are the differences of single seeds. what: the measure.
    """
    from matplotlib import pyplot

    style()
    look = looks([first, second])
    fig, (left, right) = pyplot.subplots(1, 2, sharey=True, figsize=(WIDTH, 1.4 + 0.5 * len(table)))
    words = []
    for y, row in enumerate(table.to_dict("records")):
        for model, at, aside in (
            (first, row["mean_first"], -0.1),
            (second, row["mean_second"], 0.1),
        ):
            colour, marker = look[model]
            label = None if y else model
            left.plot(at, y + aside, color=colour, marker=marker, ls="", label=label)
        numbers = row["difference"], row["ci_low"], row["ci_high"]
        lying_interval(right, numbers, y, look[second])
        dots = row["by_seed"]
        right.plot(dots, [y + 0.2] * len(dots), "o", color=look[second][0], mfc="none", ms=4)
        words.append(
            f"{row['group']} {row['mean_first']:.3f} and {row['mean_second']:.3f}, difference "
            f"{with_interval(row)}"
        )
    right.axvline(0, color="0.4", lw=1)
    left.set_yticks(range(len(table)), table["group"])
    left.set_ylim(len(table) - 0.5, -0.5)
    for axes in (left, right):
        axes.grid(False, axis="y")
        axes.locator_params(axis="x", nbins=4)
    left.set_xlabel(f"Mean {what}")
    right.set_xlabel("Difference (paired)")
    legend_above(fig)
    return fig, f"Mean {what} of {first} and of {second}, by group: {'; '.join(words)}."


def scores_against(
    table: pd.DataFrame,
    x: str,
    measures: Mapping[str, str],
    *,
    by: str,
    full: str | None = None,
    label: str | None = None,
):
    """Scores of runs against `x`, a panel a measure: every run a faint point, means with intervals.

    table: a row per run, with the columns `x`, `by`, and the keys of `measures`, whose values are
    the titles to print. x is set in order, not to scale. The 95% intervals are Student's over runs,
    where there are two or more. full: a value of `by` that is drawn as a line across, as it has no
    x of its own. Returns (figure, alt).
    """
    from matplotlib import pyplot

    style()
    names = [name for name in table[by].unique() if name != full]
    look = looks(names)
    levels = sorted(table.loc[table[by] != full, x].unique(), reverse=x == "depth")
    fig, panels = pyplot.subplots(
        len(measures), 1, sharex=True, squeeze=False, figsize=(WIDTH, 0.9 + 1.7 * len(measures))
    )
    # A title may be broken over lines, within a word too.
    said = {key: title.replace("-\n", "").replace("\n", " ") for key, title in measures.items()}
    words = []
    for place, (measure, axes) in enumerate(zip(measures, panels[:, 0], strict=True)):
        if full is not None:
            mean = table.loc[table[by] == full, measure].mean()
            axes.axhline(mean, color="0", lw=1, ls="--", label=None if place else full)
        for at, level in enumerate(levels):
            here = table[(table[by] != full) & (table[x] == level)].dropna(subset=measure)
            for name, aside in dodged(names, here[by]).items():
                values = here.loc[here[by] == name, measure]
                x_of = [at + aside] * len(values)
                axes.plot(x_of, values, ".", color=look[name][0], alpha=0.4, ms=4)
                ends = mean_interval(values) if values.nunique() > 1 else [values.mean()] * 3
                standing_intervals(axes, x_of[:1], np.array([ends]).T, look[name], label=name)
        category_bands(axes, len(levels))
        axes.set_ylabel(measures[measure])
        axes.grid(False, axis="x")
        axes.locator_params(axis="y", nbins=4)
        means = table[table[by] != full].groupby([by, x])[measure].mean().dropna()
        if means.empty:
            words.append(f"{said[measure]} is not known for any run")
            continue
        words.append(
            f"{said[measure]} lies between {means.min():.3f} ({means.idxmin()[0]}, "
            f"{means.idxmin()[1]}) and {means.max():.3f} ({means.idxmax()[0]}, "
            f"{means.idxmax()[1]})"
        )
    panels[-1][0].set_xticks(range(len(levels)), [f"{level:g}" for level in levels])
    panels[-1][0].set_xlabel(label or x)
    legend_above(fig)
    alt = (
        f"{listed(list(said.values()))} against {label or x} for {listed(names)}: every run "
        f"a point, means over seeds with 95% intervals. {'; '.join(words)}."
    )
    return fig, alt
