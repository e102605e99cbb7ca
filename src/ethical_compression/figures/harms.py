"""Figures of Part IV: scores of harm."""

from collections.abc import Iterable

import pandas as pd

from ethical_compression.figures.forms import WIDTH, looks, style
from ethical_compression.words import listed, signed


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
