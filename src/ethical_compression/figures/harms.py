"""Figures of Part IV: scores of harm, and what compression changes of them."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from ethical_compression.figures.forms import WIDTH, grid_of, legend_above, looks, style, tick
from ethical_compression.statistics.verdicts import VERDICTS
from ethical_compression.words import listed, signed

# Of each verdict: colour, marker, and whether it is filled. Settled ones are filled.
VERDICT_LOOKS = {
    "worse": ("#D55E00", "^", True),
    "better": ("#009E73", "v", True),
    "equivalent": ("#0072B2", "s", True),
    "cannot tell": ("#595959", "o", False),
}


def bias_against_accuracy(table: pd.DataFrame, same: Iterable[str]):
    """Published s_AMB against accuracy, a point a run: categories where they are one, and others.

    table: a row per run and category with `category` (as printed), `accuracy` and `score`. same:
    the categories of the first panel. Returns (figure, alt).
    """
    from matplotlib import pyplot

    style()
    same = set(same)
    kinds = [table[table["category"].isin(same)], table[~table["category"].isin(same)]]
    kinds = [part for part in kinds if len(part)]
    look = looks(table["category"].unique())
    fig, panels = pyplot.subplots(
        len(kinds),
        1,
        sharex=True,
        sharey=True,
        squeeze=False,
        figsize=(WIDTH, 1 + 2.7 * len(kinds)),
    )
    ends = [table[["accuracy", "score"]].min().min(), table[["accuracy", "score"]].max().max()]
    words = []
    for axes, part in zip(panels[:, 0], kinds, strict=True):
        axes.plot(ends, ends, color="0.4", lw=1, zorder=0)
        for category, runs in part.groupby("category", sort=False):
            colour, marker = look[category]
            axes.plot(
                runs["accuracy"],
                runs["score"],
                marker,
                color=colour,
                alpha=0.6,
                ms=4,
                label=category,
            )
        axes.set_ylabel("published s_AMB")
        axes.legend(fontsize=9, loc="lower right")
        gap = part["score"] - part["accuracy"]
        words.append(
            f"{listed(list(part['category'].unique()))}: the score exceeds the accuracy by "
            f"{signed(gap.min())} to {signed(gap.max())}"
        )
    panels[-1, 0].set_xlabel("accuracy in ambiguous contexts")
    alt = f"Published s_AMB against accuracy, a point a run. {'; '.join(words)}."
    return fig, alt


# The cells of shift × Hessian, and what stands beside them, as figures and tables call them.
CELL_NAMES = {
    "exact": "exact: shift and both Hessians",
    "shift": "shift only",
    "first order": "shift, to first order in α",
    "hessian": "both Hessians only",
    "random": "as far, at random",
    "plain": "neither (plain)",
}


def _plain_ticks(axis) -> None:
    """Ticks of a logarithmic axis at 1, 2 and 5 times powers of ten, written as they are."""
    from matplotlib import ticker

    axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(ticker.NullFormatter())


def terms_against_alpha(layers: pd.DataFrame):
    """The objective's two terms against α, a panel each: means over layers of every cell.

    layers: `results/debias_layers.parquet`, of one way of compressing. Faint lines are the exact
    cell's single layers. Returns (figure, alt).
    """
    from matplotlib import pyplot

    style()
    names = {cell: said for cell, said in CELL_NAMES.items() if cell in set(layers["cell"])}
    look = looks(CELL_NAMES)  # a cell looks alike in every figure
    alphas = sorted(layers["alpha"].unique())
    start = layers[layers["alpha"] == 0]
    panels = {
        "contrast": "Pairs, answered apart",
        "kept": "Error on all sentences",
    }
    fig, grid = pyplot.subplots(1, 2, figsize=(WIDTH, 4.4))
    said = []
    for axes, (term, title) in zip(grid, panels.items(), strict=True):
        for cell, name in names.items():
            mine = layers[layers["cell"] == cell]
            whole = pd.concat([start, mine[mine["alpha"] > 0]])
            if cell == "exact":
                for _, one in whole.groupby("layer"):
                    one = one.sort_values("alpha")
                    axes.plot(range(len(one)), 100 * one[term], color="0.85", lw=0.8, zorder=0)
            means = whole.groupby("alpha")[term].mean().loc[alphas]
            colour, marker = look[cell]
            size = 9 if cell == "exact" else 5  # others may lie on it
            look_of = {"marker": marker, "color": colour, "ms": size, "lw": 1, "label": name}
            axes.plot(range(len(means)), 100 * means, **look_of)
            ends = f"{means.iloc[0]:.2%} to {means.iloc[-1]:.2%}"
            said.append(f"{title.lower()}, {name}: {ends}")
        axes.set(yscale="log", xlabel="α", title=title)
        axes.set_xticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas])
        _plain_ticks(axes.yaxis)
    grid[0].set_ylabel("percent of the layer's output")
    handles, labels = grid[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=2)
    alt = f"Both terms from α = {alphas[0]:g} to {alphas[-1]:g}, means over layers. "
    return fig, alt + "; ".join(said) + "."


def answered_apart(pairs: pd.DataFrame):
    """How far apart a layer answers a stereotype and its opposite: compressed against full.

    pairs: a row a pair of sentences and cell: `cell`, `full` and `compressed`, the norm of the
    difference between the layer's outputs. Returns (figure, alt).
    """
    from matplotlib import pyplot

    style()
    names = {cell: said for cell, said in CELL_NAMES.items() if cell in set(pairs["cell"])}
    look = looks(CELL_NAMES)  # a cell looks alike in every figure
    fig, axes = pyplot.subplots(figsize=(WIDTH, 4.6))
    ends = [pairs[["full", "compressed"]].min().min(), pairs[["full", "compressed"]].max().max()]
    axes.plot(ends, ends, color="0.4", lw=1, zorder=0)
    said = []
    for cell, name in names.items():
        mine = pairs[pairs["cell"] == cell]
        colour, marker = look[cell]
        look_of = {"ls": "", "marker": marker, "color": colour, "ms": 7 if cell == "exact" else 4}
        axes.plot(mine["full"], mine["compressed"], alpha=0.6, label=name, **look_of)
        share = (mine["compressed"] / mine["full"]).median()
        said.append(f"{name}: in the median {share:.0%} of the full layer's")
    axes.set(xscale="log", yscale="log", xlabel="full layer", ylabel="compressed layer")
    _plain_ticks(axes.xaxis)
    _plain_ticks(axes.yaxis)
    fig.legend(loc="outside upper center", ncols=2)
    count = len(pairs) // max(1, len(names))
    alt = f"Distance between a layer's outputs for {count} pairs, compressed against full. "
    return fig, alt + "; ".join(said) + "."


def changes_in_margins(table: pd.DataFrame):
    """Change of each harm in units of its margin, a panel a compression and a row a harm.

    table: that of `metrics.four_harms.verdicts`: `kind`, `title`, `compression`, `difference`,
    `ci_low`, `ci_high`, `margin`, `verdict`. To the right is worse. The axis is linear within one
    margin and logarithmic beyond. Returns (figure, alt).
    """
    style()
    names = table["title"].unique().tolist()
    kinds = table.drop_duplicates("title")["kind"].tolist()
    labels, height = table["compression"].unique().tolist(), 0.5 + 0.34 * len(names)
    fig, panels = grid_of(labels, height=height, more=0.7, sharex=True, sharey=True)
    numbers = [table[one] / table["margin"] for one in ("difference", "ci_low", "ci_high")]
    most = max(1.0, *(float(one.abs().max()) for one in numbers))
    powers = [10.0**power for power in range(1 + int(np.log10(most)))]
    for panel in panels:
        axes = panel.axes
        axes.set_xscale("symlog", linthresh=1, linscale=1)
        axes.axvspan(-1, 1, color="0.93", zorder=0)
        axes.axvline(0, color="black", lw=1)
        _points_in_margins(axes, table[table["compression"] == panel.name], names)
        for place in range(1, len(names)):
            if kinds[place] != kinds[place - 1]:
                axes.axhline(place - 0.5, color="0.6", lw=0.8)
        axes.set_yticks(range(len(names)), [one.replace(", ", ",\n") for one in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlim(-1.3 * most, 1.3 * most)
        axes.set_xticks([*(-power for power in powers), 0, *powers])
        axes.xaxis.set_major_formatter(tick)
        axes.minorticks_off()
        axes.grid(False, axis="y")
        axes.set_title(panel.name)
        if panel.bottom:
            axes.set_xlabel("change ÷ margin")
    for verdict in VERDICTS:
        if (table["verdict"] == verdict).any():
            panels[0].axes.plot([], [], label=verdict, **_look_of(verdict))
    legend_above(fig)
    alt = (
        f"Change of {len(names)} harms in units of the margin, with 95% intervals, for "
        f"{listed(labels)}. {'. '.join(_verdicts_of(label, table) for label in labels)}."
    )
    return fig, alt


def _look_of(verdict: str) -> dict:
    colour, marker, filled = VERDICT_LOOKS[verdict]
    return {"color": colour, "marker": marker, "ls": "", "mfc": colour if filled else "white"}


def _points_in_margins(axes, rows: pd.DataFrame, names: list[str]) -> None:
    for row in rows.to_dict("records"):
        mean, low, high = (row[one] / row["margin"] for one in ("difference", "ci_low", "ci_high"))
        look, y = _look_of(row["verdict"]), names.index(row["title"])
        if low == low:  # fewer items than a test needs have no interval
            axes.plot([low, high], [y, y], color=look["color"], lw=1.5)
        axes.plot(mean, y, ms=6, **look)


def _verdicts_of(label: str, table: pd.DataFrame) -> str:
    """`GPTQ 3-bit: worse: Repetition; cannot tell: Dialect and Held-out text`."""
    rows = table[table["compression"] == label]
    said = [
        f"{verdict}: {listed(some['title'].str.replace(', ', ' '))}"
        for verdict in VERDICTS
        if len(some := rows[rows["verdict"] == verdict])
    ]
    return f"{label}: {'; '.join(said)}"
