"""Figures of the grid: every method against every harm, by group, and by how much was done."""

from collections.abc import Mapping, Sequence
from textwrap import wrap

import numpy as np
import pandas as pd

from ethical_compression.figures.forms import WIDTH, grid_of, legend_above, looks, style, tick
from ethical_compression.statistics.verdicts import SETTLED, VERDICTS
from ethical_compression.words import listed, signed

# A mark a verdict, readable without colour; what is not told has none.
MARKS = {"worse": "^", "better": "v", "equivalent": "s"}
MOST = 20.0  # margins at which the colour ends


def grid_of_harms(
    table: pd.DataFrame,
    *,
    rows: Sequence[str],
    columns: Mapping[str, str],
    row: str = "compression",
    column: str = "check",
    bands: Sequence[str] = (),
    stripes: Sequence[str] = (),
    kinds: str = "compressions",
):
    """Standardised change as a heat map, settled cells marked.

    table: a row a cell, with `row`, `column`, `standard` (the change in margins, more is worse) and
    `verdict`. rows: in order; one without cells is hatched, still waiting. columns: {name: title}.
    bands, stripes: what each row and each column belongs to; a line stands where that changes.
    kinds: what the rows are. The colour is linear within a margin, logarithmic beyond, and ends at
    `MOST`. Returns (figure, alt).
    """
    from matplotlib import colors, pyplot

    style()
    names = list(columns)
    wide = table.pivot(index=row, columns=column, values="standard").reindex(rows)[names]
    came = table.pivot(index=row, columns=column, values="verdict").reindex(rows)[names]
    wide_enough = len(names) <= 10  # for two lines
    titles = ["\n".join(wrap(one, 22)) if wide_enough else one for one in columns.values()]
    longest = max(len(part) for title in titles for part in title.split("\n"))
    height = 0.9 + 0.075 * longest + 0.185 * len(rows)
    fig, axes = pyplot.subplots(figsize=(WIDTH, height))
    norm = colors.SymLogNorm(1, vmin=-MOST, vmax=MOST)
    values = np.ma.masked_invalid(wide.to_numpy(float).clip(-MOST, MOST))
    image = axes.imshow(values, cmap="PuOr_r", norm=norm, aspect="auto", interpolation="nearest")
    for (y, x), verdict in np.ndenumerate(came.to_numpy()):
        if verdict in MARKS:
            dark = abs(float(norm(values[y, x])) - 0.5) > 0.3
            axes.plot(x, y, MARKS[verdict], color="white" if dark else "0.1", ms=3.6, mew=0)
        elif pd.isna(verdict):
            axes.add_patch(
                pyplot.Rectangle((x - 0.5, y - 0.5), 1, 1, fc="0.93", ec="0.7", hatch="///", lw=0)
            )
    axes.set_xticks(range(len(names)), titles, rotation=90)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    axes.tick_params(axis="y", labelsize=8.5)
    axes.tick_params(axis="x", labelsize=9)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(False)
    for edge in _edges(bands):
        axes.axhline(edge - 0.5, color="black", lw=0.8)
    for edge in _edges(stripes):
        axes.axvline(edge - 0.5, color="black", lw=0.8)
    bar = fig.colorbar(image, ax=axes, location="bottom", aspect=40, pad=0.01, shrink=0.8)
    ends = {-MOST: "\nbetter", MOST: "\nworse"}
    ticks = [-MOST, -1, 0, 1, MOST]
    bar.set_ticks(ticks, labels=[f"{tick(value)}{ends.get(value, '')}" for value in ticks])
    bar.ax.minorticks_off()
    bar.set_label("change ÷ margin", labelpad=-10)
    said = {"worse": "worse", "better": "better", "equivalent": "within the margin"}
    for verdict, marker in MARKS.items():
        if not (table["verdict"] == verdict).any():
            continue
        axes.plot([], [], marker, color="0.1", ms=4.5, mew=0, ls="", label=said[verdict])
    legend_above(fig)
    return fig, _alt(table, wide, columns, kinds, row, column)


def _edges(names: Sequence[str]) -> list[int]:
    return [at for at in range(1, len(names)) if names[at] != names[at - 1]]


def _alt(table, wide, columns, kinds: str, row: str, column: str) -> str:
    counts = table["verdict"].value_counts()
    parts = [f"{counts[one]} {one}" for one in VERDICTS if one in counts]
    text = f"Heat map of {len(wide)} {kinds} by {len(columns)} columns: {listed(parts)}"
    settled = table[table["verdict"].isin(SETTLED)]
    if len(settled):
        most = settled.loc[settled["standard"].abs().idxmax()]
        title = columns[most[column]].replace("\n", " ")
        text += f". The largest settled change is {signed(most['standard'], 1)} margins "
        text += f"({most[row]}, {title})".replace("\n", " ")
    missing = int(wide.isna().all(axis=1).sum())
    return text + (f". {missing} rows are still waiting." if missing else ".")


def harms_by_dose(
    table: pd.DataFrame, *, columns: Mapping[str, str], label: str, descending: bool = False
):
    """Change of each harm, in margins, against how much was done, a line a family: small multiples.

    table: cells with `family`, `amount`, `check`, `standard`, `standard_low`, `standard_high` and
    `verdict`. columns: {check: title} of the panels. label: of the axis of amounts, which are set
    in order, not to scale (descending: of bits). Filled points are settled. Returns (figure, alt).
    """
    style()
    names = [name for name in columns if name in set(table["check"])]
    families = table["family"].unique().tolist()
    amounts = sorted(table["amount"].unique(), reverse=descending)
    look = looks(families)
    fig, panels = grid_of(names, height=1.75, more=0.8, sharex=True)
    words = []
    for panel in panels:
        axes, here = panel.axes, table[table["check"] == panel.name]
        reach = here[["standard", "standard_low", "standard_high"]].abs().max().max()
        axes.set_yscale("symlog", linthresh=1)
        axes.axhspan(-1, 1, color="0.93", zorder=0)
        axes.axhline(0, color="black", lw=1)
        for place, family in enumerate(families):
            mine = here[here["family"] == family].sort_values("amount", ascending=not descending)
            aside = 0.16 * (place - (len(families) - 1) / 2)
            x = np.array([amounts.index(one) + aside for one in mine["amount"]])
            mean = mine["standard"].to_numpy(float)
            colour, marker = look[family]
            axes.plot(x, mean, color=colour, lw=0.8, alpha=0.4)
            ends = [mean - mine["standard_low"], mine["standard_high"] - mean]
            error = [one.fillna(0) for one in ends]
            axes.errorbar(x, mean, yerr=error, color=colour, ls="", lw=1)
            settled = mine["verdict"].isin(SETTLED).to_numpy()
            for some, face in ((settled, colour), (~settled, "white")):
                axes.plot(x[some], mean[some], marker, color=colour, ms=4.5, ls="", mfc=face)
            if panel is panels[0]:
                axes.plot([], [], marker=marker, color=colour, ls="", label=family)
        end = max(1.5, 1.3 * reach)
        axes.set_ylim(-end, end)
        axes.set_yticks([value for value in (-100, -10, -1, 0, 1, 10, 100) if abs(value) <= end])
        axes.yaxis.set_major_formatter(tick)
        axes.minorticks_off()
        axes.set_xticks(range(len(amounts)), [tick(one) for one in amounts])
        axes.set_xlim(-0.5, len(amounts) - 0.5)
        axes.grid(False, axis="x")
        axes.set_title(columns[panel.name].replace("\n", " "))
        if panel.left:
            axes.set_ylabel("change ÷ margin")
        if panel.bottom:
            axes.set_xlabel(label)
        most = here.loc[here["standard"].abs().idxmax()]
        words.append(
            f"{columns[panel.name]}: at most {signed(most['standard'], 1)} "
            f"({most['compression']})".replace("\n", " ")
        )
    legend_above(fig)
    alt = f"Change in margins against {label}, for {listed(families)}, with 95% intervals. "
    return fig, alt + "; ".join(words) + "."
