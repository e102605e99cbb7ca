"""Figures of the chapter on generated texts."""

import math
import textwrap

import numpy as np
import pandas as pd

from ethical_compression.figures.forms import WIDTH, legend_above, looks, style


def continued_twice(tokens: pd.DataFrame, prompt: str, other: str, *, full: str = "full"):
    """One prompt continued by two models, with the probability of each token as a bar above it.

    tokens: rows of `score.generation.study` for one prompt. A bar that reaches the thin
    line has probability 1. From the first token that differs, text is bold and bars are hatched.
    """
    from matplotlib import pyplot
    from matplotlib.patches import Rectangle

    style()
    columns, y, look = 60, 0.0, looks([full, other])
    said = {model: tokens[tokens["compression"] == model].sort_values("position") for model in look}
    ids = [side["token_id"].tolist() for side in said.values()]
    first = next((k for k, pair in enumerate(zip(*ids, strict=False)) if len({*pair}) > 1), None)
    shared = min(map(len, ids)) if first is None else first
    fig = pyplot.figure(layout="none")
    axes = fig.add_axes((0, 0, 1, 1))
    text = {"family": "DejaVu Sans Mono", "fontsize": 10.5, "va": "baseline"}
    for model, side in said.items():
        axes.text(0, y, f"{model}:", fontsize=11, weight="bold")
        for line in textwrap.wrap(prompt, columns):
            y += 1
            axes.text(0, y, line, color="0.4", **text)
        at = len(line)
        for number, row in enumerate(side.itertuples()):
            piece = "[end]" if row.end else "".join(map(_drawn, row.piece))
            if at + len(piece) > columns:
                at, y = 0, y + 1
            differs = number >= shared
            axes.text(at, y, piece, weight="bold" if differs else "normal", **text)
            bar = {"facecolor": look[model][0], "edgecolor": "white", "lw": 0.3}
            corner, width = (at + 0.08, y - 0.33), max(len(piece) - 0.16, 0.3)
            height = -0.5 * math.exp(row.logprob)
            axes.hlines(y - 0.83, at, at + len(piece), color="0.7", lw=0.6)  # probability 1
            axes.add_patch(Rectangle(corner, width, height, hatch="////" * differs, **bar))
            at += len(piece)
        y += 1.4
    # A character of this type is 0.602 × 10.5 points wide, and one unit of the x axis.
    fig.set_size_inches(WIDTH, 0.1 + 0.36 * y)
    axes.set(xlim=(0, WIDTH * 72 / (0.602 * 10.5)), ylim=(y - 1.1, -0.7))
    axes.axis("off")
    parts = [
        f"{model} goes on “{''.join(side['piece']).strip()}”, with a mean probability of "
        f"{np.exp(side['logprob']).mean():.2f} a token"
        for model, side in said.items()
    ]
    where = "They never differ." if first is None else f"They first differ at token {first + 1}."
    return fig, (
        f"After “{prompt}”, {'; '.join(parts)}. {where} The bar above each token is as high as its "
        "probability; from the first difference bars are hatched and words bold."
    )


def _drawn(character: str) -> str:
    """What stands for a character in a figure: a space for a break, a box where fonts lack it."""
    return character if " " <= character < "\u2500" else "↵" if character == "\n" else "□"


def survival_curves(curves: pd.DataFrame):
    """Share of texts that still are the full model's, token by token, a panel per `decoding`.

    curves: `metrics.generated_text.survival` stacked with a column `decoding`. Bands are Wilson's
    95% intervals of each point by itself.
    """
    from matplotlib import pyplot

    style()
    ways, models = (curves[column].unique().tolist() for column in ("decoding", "compression"))
    look = looks(models)
    fig, grid = pyplot.subplots(
        1, len(ways), figsize=(WIDTH, 3.2), sharey=True, squeeze=False, layout="constrained"
    )
    ends = []
    for axes, way in zip(grid[0], ways, strict=True):
        for number, model in enumerate(models):
            line = curves[(curves["decoding"] == way) & (curves["compression"] == model)]
            colour, marker = look[model]
            x = line["position"]
            axes.fill_between(x, line["low"], line["high"], step="post", color=colour, alpha=0.13)
            axes.step(x, line["same"], where="post", color=colour, lw=1.4)
            every = slice(number, None, 6)  # not all at one place: markers would hide each other
            axes.plot(
                x[every], line["same"][every], color=colour, marker=marker, ls="", label=model
            )
            ends.append(
                f"{model}, {way}: half are gone after {_half(line)}, "
                f"{line['same'].iloc[-1]:.0%} are left at {x.iloc[-1]}"
            )
        axes.set(ylim=(-0.03, 1.03), xlabel="Tokens", title=f"{way} ({line['n'].iloc[0]} texts)")
    grid[0][0].set_ylabel("Texts still the same")
    legend_above(fig)
    return fig, (
        "Share of texts that are still the full model's after so many tokens, with 95% intervals. "
        + "; ".join(ends)
        + "."
    )


def _half(line: pd.DataFrame) -> str:
    gone = line[line["same"] < 0.5]
    if not len(gone):
        return "more tokens than were written"
    at = gone["position"].iloc[0]
    return f"{at} token{'' if at == 1 else 's'}"


def kl_along(along: pd.DataFrame):
    """Median KL from the full model along its texts (`metrics.generated_text.along_text`)."""
    from matplotlib import pyplot

    style()
    models = along["compression"].unique().tolist()
    look = looks(models)
    fig, axes = pyplot.subplots(figsize=(WIDTH, 3.2))
    words = []
    for number, model in enumerate(models):
        line = along[along["compression"] == model]
        colour, marker = look[model]
        x = line["position"] + 1
        axes.fill_between(x, line["low"], line["high"], color=colour, alpha=0.15, lw=0)
        axes.plot(x, line["kl"], color=colour, lw=1.2)
        axes.plot(
            x[number::5], line["kl"][number::5], color=colour, marker=marker, ls="", label=model
        )
        words.append(f"{model} {line['kl'].mean():.3f}")
    axes.set(yscale="log", xlabel="Token of the full model's text", ylabel="Median KL (nats)")
    legend_above(fig)
    return fig, (
        "Median divergence (KL) of the compressed models' next-token distributions from the full "
        "model's, at each token of the full model's texts, with 95% intervals, on a logarithmic "
        f"scale. Means of the medians over the places: {'; '.join(words)} nats."
    )
