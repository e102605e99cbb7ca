"""The figures of the chapter on how numbers are made."""

import numpy as np
import pandas as pd

from ethical_compression.figures.forms import COLOURS, LOOKS, WIDTH, style

COSTS = {"seconds": "time", "megabytes": "memory"}
CURVE_MARKS = ("o", "s", "D", "^", "v", "P")


def token_tree(row, pieces):
    """Who sees whom in a tree of tokens: `row` a `score.token_tree.Row`, `pieces` its text.

    Returns (figure, alt). Each line is a token in the order it is laid out; dark squares are the
    tokens it attends to.
    """
    from matplotlib import pyplot
    from matplotlib.colors import ListedColormap

    style()
    count = len(row.token)
    sees = np.zeros((count, count))
    for node, parent in enumerate(row.parent):
        if parent >= 0:
            sees[node] = sees[parent]
        sees[node, node] = 1
    fig, axes = pyplot.subplots(figsize=(WIDTH, 0.8 + 0.2 * count))
    axes.imshow(sees, cmap=ListedColormap(["white", LOOKS["GPTQ 4-bit"][0]]), aspect="auto")
    axes.set_xticks(np.arange(count) - 0.5, minor=True)
    axes.set_yticks(np.arange(count) - 0.5, minor=True)
    axes.grid(False, which="major")
    axes.grid(True, which="minor", color="0.85", lw=0.5)
    axes.tick_params(which="both", length=0)
    axes.set_xticks(range(0, count, 5))
    axes.set_yticks(range(count), [repr(piece)[1:-1] for piece in pieces], fontsize=8)
    axes.set_xlabel("token seen (place in the sequence)")
    axes.set_ylabel("token")
    nodes = range(count)
    branches = sum(1 for node in nodes if row.parent[node] not in (node - 1, -1))
    trunk = next((n for n in nodes[1:] if row.parent[n] != n - 1), count)
    first = min((row.parent[n] for n in nodes if row.parent[n] not in (n - 1, -1)), default=trunk)
    alt = (
        f"A square table of {count} tokens by {count}: each token sees the first {first + 1}, "
        f"which all {branches + 1} branches share, and the tokens before it on its own branch, but "
        "none of another branch."
    )
    return fig, alt


def growing_costs(table: pd.DataFrame):
    """Time and memory beside what is asked, both as multiples of the least that was measured, on
    logarithmic axes; dotted, what grows in proportion, and with the square.

    table: `curve`, `size`, `seconds`, `megabytes` (`python -m benchmarks growth`). Returns (figure,
    alt).
    """
    from matplotlib import pyplot

    style()
    fig, panels = pyplot.subplots(2, 1, figsize=(WIDTH, 7.2), sharex=True)
    ends = []
    for axes, (cost, name) in zip(panels, COSTS.items(), strict=True):
        axes.set(xscale="log", yscale="log")
        for place, (curve, part) in enumerate(table.groupby("curve", sort=False)):
            part = part.sort_values("size")
            times = part["size"] / part["size"].iloc[0]
            more = part[cost] / part[cost].iloc[0]
            look = {
                "color": COLOURS[place % len(COLOURS)],
                "marker": CURVE_MARKS[place % len(CURVE_MARKS)],
            }
            axes.plot(times, more, ms=6, label=curve if cost == "seconds" else None, **look)
            if cost == "seconds":
                ends.append(
                    f"{curve}: {times.iloc[-1]:.0f} times as much takes {more.iloc[-1]:.1f}"
                )
        most = float(max(axes.get_xlim()[1], 2))
        for power, end, said in ((1, most**0.8, "in proportion"), (2, most**0.4, "squared")):
            axes.plot([1, end], [1, end**power], color="0.45", ls=":", lw=1.2)
            at = (end, end**power)
            axes.annotate(said, at, fontsize=10, color="0.35", ha="right", va="bottom")
        axes.set_ylim(top=1.5 * axes.get_ylim()[1])  # room for the word at the upper end
        axes.set_ylabel(f"{name}, times the least")
        ticks = [one for one in (0.5, 1, 2, 4, 8, 16, 32) if one <= axes.get_ylim()[1]]
        axes.set_yticks(ticks, [f"{one:g}" for one in ticks])
        axes.minorticks_off()
    ticks = [one for one in (1, 2, 4, 8, 16, 32) if one <= panels[1].get_xlim()[1]]
    panels[1].set_xticks(ticks, [f"{one:g}" for one in ticks])
    panels[1].set_xlabel("size, times the least")
    fig.legend(loc="outside upper center", ncols=1)
    alt = (
        "Two panels, time and memory against the size of what is asked, each as multiples of the "
        f"least measured, on logarithmic axes. Time: {'; '.join(ends)} times as long."
    )
    return fig, alt
