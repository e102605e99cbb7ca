"""Figures of *Whose answers flip*: what is observed, beside what a blind disturbance would do."""

import numpy as np
import pandas as pd

from ethical_compression.figures.forms import grid_of, legend_above, lying_interval, style
from ethical_compression.words import listed, signed

OBSERVED, BLIND = ("#0072B2", "o"), "#D55E00"
SETTLED = ("#009E73", "s")


def flips_by_margin(bins: pd.DataFrame):
    """Share of answers that flip, from the least to the most sure, a panel a compression.

    bins: of `metrics.flips.by_margin`. The broken line is what a blind shift of the same size would
    do. Returns (figure, alt).
    """
    style()
    names = bins["compression"].unique().tolist()
    fig, panels = grid_of(names, height=2.1, more=0.9, sharex=True, sharey=True)
    said = []
    for panel in panels:
        rows = bins[bins["compression"] == panel.name]
        panel.axes.plot(
            rows["bin"], 100 * rows["expected"], color=BLIND, ls="--", lw=1.6, label="a blind shift"
        )
        ends = [rows["flipped"] - rows["flipped_low"], rows["flipped_high"] - rows["flipped"]]
        panel.axes.errorbar(
            rows["bin"],
            100 * rows["flipped"],
            yerr=[100 * one.to_numpy() for one in ends],
            color=OBSERVED[0],
            marker=OBSERVED[1],
            ls="",
            label="observed",
        )
        panel.axes.set_title(panel.name)
        count = int(bins["bin"].max())
        panel.axes.set_xticks(
            range(1, count + 1), ["least", *map(str, range(2, count)), "most"][:count]
        )
        if panel.bottom:
            panel.axes.set_xlabel("how sure the full model was")
        if panel.left:
            panel.axes.set_ylabel("answers flipped (%)")
        first, last = rows.iloc[0], rows.iloc[-1]
        said.append(
            f"{panel.name}: {first['flipped']:.0%} of the least sure answers flipped where a blind "
            f"shift would flip {first['expected']:.0%}, and {last['flipped']:.0%} of the surest, "
            f"where it would flip {last['expected']:.0%}"
        )
    panels[0].axes.set_ylim(bottom=0)
    legend_above(fig)
    return fig, f"Answers that flipped by the full model's margin. {'; '.join(said)}."


def flips_by_group(table: pd.DataFrame, names: dict[tuple[str, str], str], *, what: str):
    """Every group's flips, or their direction, beside what other groups' shifts would do to it.

    table: of `metrics.flip_groups.by_group`; names: {(battery, group): printed}. what: the words
    under the axis. A group whose difference is settled after Holm is a square. A panel a
    compression. Returns (figure, alt).
    """
    style()
    table = table[table["n"] > 0]
    lines = [one for one in names if one in set(zip(table["battery"], table["group"], strict=True))]
    labels = table["compression"].unique().tolist()
    fig, panels = grid_of(labels, height=0.6 + 0.27 * len(lines), sharex=True, sharey=True)
    said = []
    for panel in panels:
        axes, found = panel.axes, []
        rows = table[table["compression"] == panel.name]
        axes.axvline(0, color="black", lw=0.8)
        for row in rows.to_dict("records"):
            y = lines.index((row["battery"], row["group"]))
            settled = row["p_holm"] < 0.05
            numbers = [100 * row[one] for one in ("flipped", "flipped_low", "flipped_high")]
            if np.isnan(numbers[1]):
                axes.plot(numbers[0], y, color=OBSERVED[0], marker=OBSERVED[1], ls="")
            else:
                look = SETTLED if settled else OBSERVED
                label = "observed, settled" if settled else "observed"
                lying_interval(axes, numbers, y, look, label=label)
            if not np.isnan(row["expected"]):
                axes.plot(
                    100 * row["expected"],
                    y,
                    color=BLIND,
                    marker="|",
                    ms=11,
                    mew=2,
                    ls="",
                    label="with others' shifts",
                    zorder=3,
                )
            if settled:
                gap = f"{signed(100 * row['difference'], 0)} points"
                found.append(f"{names[row['battery'], row['group']]} by {gap}")
        for place in range(1, len(lines)):
            if lines[place][0] != lines[place - 1][0]:
                axes.axhline(place - 0.5, color="0.6", lw=0.8)
        axes.set_yticks(range(len(lines)), [names[one] for one in lines])
        axes.set_ylim(len(lines) - 0.5, -0.5)
        axes.grid(False, axis="y")
        axes.set_title(panel.name)
        if panel.bottom:
            axes.set_xlabel(what)
        told = listed(found) if found else "none"
        said.append(f"{panel.name}: settled apart from the other groups' shifts: {told}")
    legend_above(fig)
    return fig, f"{what.capitalize()}, {len(lines)} groups. {'; '.join(said)}."
