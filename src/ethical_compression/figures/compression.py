"""The figures of the chapter on how compression works: one layer under every method."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ethical_compression.figures.forms import WIDTH, looks, style
from ethical_compression.words import listed, signed

PATTERNS = ["2:4", "4:8"]  # each leaves half of the weights
POSITION_LOOKS = {"bottom": ("#0072B2", "s"), "middle": ("#009E73", "^"), "upper": ("#D55E00", "D")}


def rounded_group(weights, rounded: Mapping[int, tuple]):
    """One group of weights on a line, as they were and after rounding, a row a width.

    weights: (n,); rounded: {bits: (what each becomes, the values there are)}, (n,) and (2^bits,).
    Returns (figure, alt).
    """
    from matplotlib import pyplot

    style()
    fig, axes = pyplot.subplots(figsize=(WIDTH, 0.9 + 0.8 * len(rounded)))
    look = looks([f"RTN {bits}-bit" for bits in rounded])
    words = []
    for row, (bits, (after, grid)) in enumerate(rounded.items()):
        colour = look[f"RTN {bits}-bit"][0]
        axes.plot(grid, [row] * len(grid), "|", color="0.3", ms=14, mew=0.8)
        for one, other in zip(weights, after, strict=True):
            axes.plot([one, other], [row - 0.5, row], color=colour, lw=0.6, alpha=0.6)
        axes.plot(weights, [row - 0.5] * len(weights), "o", color="0", ms=3, alpha=0.5, mew=0)
        axes.plot(after, [row] * len(weights), "o", color=colour, ms=5, mew=0)
        words.append(f"at {bits} bits the {len(grid)} values are {grid[1] - grid[0]:.3f} apart")
    axes.set_yticks(range(len(rounded)), [f"{bits} bits" for bits in rounded])
    axes.set_ylim(len(rounded) - 0.7, -0.7)
    axes.grid(False)
    axes.set_xlabel("Weight")
    return fig, (
        f"One group of {len(weights)} weights on a line, as they were and after rounding: "
        f"{'; '.join(words)}."
    )


def error_feedback(together, moves, error: float, row: int):
    """How inputs vary together, and what the error of one weight moves in its row.

    together: (n, n) cosines of inputs; moves: (n − 1,), the change of each weight to come for a
    rounding error of `error` in the first weight of `row`. Returns (figure, alt).
    """
    from matplotlib import pyplot

    style()
    together, moves = np.asarray(together), np.asarray(moves)
    some = len(together)
    fig, (left, right) = pyplot.subplots(1, 2, figsize=(WIDTH, 2.9))
    image = left.imshow(together, cmap="RdBu_r", vmin=-0.5, vmax=0.5)
    left.set(title="How inputs vary together", xlabel="Input", ylabel="Input")
    fig.colorbar(image, ax=left, location="bottom", shrink=0.9, ticks=[-0.5, 0, 0.5], extend="both")
    right.axhline(0, color="black", lw=1)
    right.bar(np.arange(1, some), moves, width=0.8, color="#0072B2", linewidth=0)
    right.set(title="What one error moves", xlabel="Column to come", ylabel="Change of weight")
    for side in (left, right):
        side.grid(False)
    largest = int(np.abs(moves).argmax())
    near = (np.abs(together).sum() - some) / (some * (some - 1))
    return fig, (
        f"Left: similarity (cosine) of the first {some} inputs with each other, {near:.2f} in mean "
        f"size. Right: a rounding error of {signed(error)} in the first weight of row {row} "
        f"changes the next {some - 1} weights of that row by at most "
        f"{signed(float(moves[largest]))} (column {largest + 1}), and by "
        f"{np.abs(moves).mean():.4f} in the mean."
    )


def zeros_of_rules(zeros: Mapping[str, np.ndarray], *, side: int = 40):
    """The same corner of a layer under four ways to prune half of it; dark is zero.

    zeros: {label: (outputs, inputs) of booleans}, three rules, the first of which the others are
    held against, and a pattern of the last of them; side: rows and columns drawn. Returns (figure,
    alt).
    """
    from matplotlib import pyplot

    style()
    side = min(side, *next(iter(zeros.values())).shape)
    fig, panels = pyplot.subplots(2, 2, figsize=(WIDTH, 6.1), sharex=True, sharey=True)
    for (label, mask), axes in zip(zeros.items(), panels.ravel(), strict=True):
        axes.imshow(mask[:side, :side], cmap="Greys", vmin=-0.15, vmax=1.15)
        axes.set_title(label)
        axes.grid(False)
    for axes in panels[1]:
        axes.set_xlabel("Input")
    for axes in panels[:, 0]:
        axes.set_ylabel("Output")
    *rules, pattern = zeros
    (first, reference), *others = ((rule.partition(" ")[0], zeros[rule]) for rule in rules)
    also = {name: (one & reference).sum() / reference.sum() for name, one in others}
    shared = (f"{share:.0%} are also {name}'s" for name, share in also.items())
    varies = [(name, one.mean(0).std(ddof=1)) for name, one in [(first, reference), *others]]
    kept, of = map(int, pattern.partition(" ")[2].split(":"))
    return fig, (
        f"Which of {side} by {side} weights become zero when half of the layer's do. Of the zeros "
        f"of {first}, {listed(shared)}. The share of zeros varies between inputs by a standard "
        f"deviation of {', '.join(f'{value:.2f} ({name})' for name, value in varies)}. "
        f"{pattern} has {of - kept} zeros in every {of} neighbours."
    )


def error_by_sparsity(pruning: pd.DataFrame):
    """Output error of each rule against the share of weights at zero, and beside it of patterns.

    pruning: `rule`, `amount` (a share, or one of `PATTERNS`), `output error`. Returns (figure,
    alt).
    """
    from matplotlib import pyplot

    style()
    rules = pruning["rule"].unique()
    look = looks(rules)
    ratios = [one for one in pruning["amount"].unique() if one not in PATTERNS]
    fig, (axes, beside) = pyplot.subplots(
        1, 2, figsize=(WIDTH, 3.5), sharey=True, width_ratios=[5, 2]
    )
    words = []
    for rule, (colour, marker) in look.items():
        mine = pruning[pruning["rule"] == rule].set_index("amount")["output error"]
        axes.plot(ratios, mine[ratios], color=colour, marker=marker, label=rule)
        beside.plot(PATTERNS, mine[PATTERNS], color=colour, marker=marker, ls="")
        words.append(
            f"{rule}: from {mine[ratios[0]]:.3f} at {ratios[0]:.0%} to {mine[ratios[-1]]:.3f} at "
            f"{ratios[-1]:.0%}, {mine['2:4']:.3f} at 2:4 and {mine['4:8']:.3f} at 4:8"
        )
    axes.set(yscale="log", xlabel="Share of weights at zero", ylabel="Output error", xticks=ratios)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    beside.set(xlabel="Half, in a pattern", xlim=(-0.5, 1.5))
    beside.grid(False, axis="x")
    _log_ticks(axes.yaxis)
    fig.legend(loc="outside upper center", ncols=3)
    return fig, f"Output error on unseen text against the share of zeros, {'; '.join(words)}."


def block_contributions(contribution: Sequence[float], groups: Mapping[str, Sequence[int]]):
    """How much each block turns what passes through it, and which blocks are looked at.

    contribution: (blocks,), 1 − cosine; groups: {name: blocks}, those of `POSITION_LOOKS` filled
    and any other as a ring. Returns (figure, alt).
    """
    from matplotlib import pyplot, ticker

    style()
    contribution = np.asarray(contribution)
    fig, axes = pyplot.subplots(figsize=(WIDTH, 3.2))
    axes.plot(contribution, "o", color="0.6", ms=4, label="other")
    ring = {"mfc": "none", "mec": "black", "ms": 13}
    for place, mine in groups.items():
        colour, marker = POSITION_LOOKS.get(place, (None, "o"))
        how = {"color": colour, "ms": 7} if colour else ring
        axes.plot(list(mine), contribution[list(mine)], marker, label=place, **how)
    axes.set(xlabel="Block, from the input's side", ylabel="Contribution\n(1 − cosine)")
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    _log_ticks(axes.yaxis)
    fig.legend(loc="outside upper center", ncols=3)
    most, least = int(contribution.argmax()), list(groups.values())[-1]
    return fig, (
        f"How much each of the {len(contribution)} blocks turns what passes through it: most block "
        f"{most} ({contribution[most]:.3f}), median {np.median(contribution):.3f}, least "
        f"{', '.join(f'block {i} ({contribution[i]:.3f})' for i in least)}. Marked are the "
        f"{'; '.join(f'{place} blocks {list(mine)}' for place, mine in groups.items())}."
    )


def output_against_weight_error(points: pd.DataFrame):
    """What each method changes: weights against output, on logarithmic axes.

    points: `label`, `weight error`, `output error`. Returns (figure, alt).
    """
    from matplotlib import pyplot

    style()
    look = looks(points["label"])
    fig, axes = pyplot.subplots(figsize=(WIDTH, 5.2))
    errors = points[["weight error", "output error"]]
    for label, (x, y) in zip(points["label"], errors.to_numpy(), strict=True):
        colour, marker = look[label]
        axes.plot(x, y, marker=marker, color=colour, ls="", ms=7, label=label)
    ends = [errors.min().min() / 1.5, errors.max().max() * 1.5]
    axes.plot(ends, ends, ":", color="0.5", label="equal")
    axes.set(xscale="log", yscale="log", xlabel="Weight error")
    axes.set_ylabel("Output error on unseen text")
    _log_ticks(axes.xaxis)
    _log_ticks(axes.yaxis)
    fig.legend(loc="outside upper center", ncols=3)
    said = "; ".join(
        f"{label}: {y:.3f} at {x:.3f}"
        for label, (x, y) in zip(points["label"], errors.to_numpy(), strict=True)
    )
    return fig, f"Output error on unseen text against weight error, for {said}."


def _log_ticks(axis) -> None:
    """Numbers as they are read, at 1, 2 and 5 of each power of ten, where there is room."""
    from matplotlib import ticker

    low, high = axis.get_view_interval()
    axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(ticker.NullFormatter())
