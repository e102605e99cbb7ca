"""Figures of Part III: which action a model prefers, trained and compressed."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ethical_compression.datasets.moral_stories import DIRECTIONS
from ethical_compression.figures.forms import (
    WIDTH,
    dodged,
    legend_above,
    looks,
    lying_interval,
    style,
)
from ethical_compression.statistics import mean_interval, share
from ethical_compression.words import signed

LANGUAGES = {"en": "English", "fr": "French"}
# The two languages wherever they are compared, and the four ways of answering in both orders.
LANGUAGE_LOOKS = {"en": ("#0072B2", "o"), "fr": ("#D55E00", "s")}
PATTERN_LOOKS = {
    "moral twice": ("#0072B2", ""),
    "first twice": ("#E69F00", "///"),
    "second twice": ("#56B4E9", "\\\\\\"),
    "immoral twice": ("#D55E00", "xx"),
    "no answer": ("0.85", ""),
}
# The two directions of training, wherever they are shown.
DIRECTION_LOOKS = {"moral": ("#0072B2", "o"), "immoral": ("#D55E00", "v"), "none": ("#000000", "s")}
DIRECTION_NAMES = DIRECTIONS | {"none": "not trained"}


def moral_preference(verdicts: pd.DataFrame, changes: pd.DataFrame, *, full: str = "full"):
    """Share of stories whose moral action is preferred (left), and paired changes of it (right).

    verdicts: tables of `score.moral.judged`, stacked with a `compression` column; shares carry
    Wilson's 95% interval, and the dotted line marks one half. changes: a row a comparison, with
    `label`, `difference`, `ci_low` and `ci_high` (`statistics.paired_answers`).
    """
    from matplotlib import pyplot

    style()
    models = sorted(verdicts["compression"].unique(), key=lambda model: model != full)
    rows = list(dict.fromkeys(zip(verdicts["language"], verdicts["norm"], strict=True)))
    look = looks(models)
    height = 1.5 + 0.5 * max(len(rows), 0.62 * len(changes))
    fig, (left, right) = pyplot.subplots(1, 2, figsize=(WIDTH, height))
    names, words = [], []
    for y, (language, norm) in enumerate(rows):
        name = f"{LANGUAGES.get(language, language)}\n{'with' if norm else 'without'} norm"
        names.append(name)
        here = verdicts[(verdicts["language"] == language) & (verdicts["norm"] == norm)]
        for model, aside in dodged(models, here["compression"]).items():
            found = share(here.loc[here["compression"] == model, "prefers_moral"])
            numbers = found.share, found.ci_low, found.ci_high
            lying_interval(left, numbers, y + aside, look[model], label=model)
            words.append(f"{model}, {name.replace(chr(10), ' ')}: {found.share:.2f}")
    left.axvline(0.5, color="0.5", ls=":")
    left.set_yticks(range(len(rows)), names)
    left.set_ylim(len(rows) - 0.5, -0.5)
    left.set_xlabel("Share of stories: moral\naction preferred")
    for y, row in enumerate(changes.itertuples()):
        lying_interval(right, (row.difference, row.ci_low, row.ci_high), y, ("#000000", "o"))
    right.axvline(0, color="0.5", lw=1)
    right.set_yticks(range(len(changes)), changes["label"], fontsize=9)
    right.set_ylim(len(changes) - 0.5, -0.5)
    right.set_xlabel("Change on the same\nstories (paired)")
    for axes in (left, right):
        axes.grid(False, axis="y")
        axes.locator_params(axis="x", nbins=4)
    if len(models) > 1:
        legend_above(fig)
    moves = "; ".join(
        f"{row.label.replace(chr(10), ' ')} {signed(row.difference, 2)} "
        f"({signed(row.ci_low, 2)} to {signed(row.ci_high, 2)})"
        for row in changes.itertuples()
    )
    alt = (
        f"Share of stories whose moral action is likelier, with 95% intervals. {'; '.join(words)}. "
        f"Paired changes: {moves}."
    )
    return fig, alt


def length_and_preference(verdicts: Mapping[str, pd.DataFrame]):
    """Margin of the moral action against how many tokens longer it is, a panel a measure.

    verdicts: printed title of a measure -> table of `score.moral.judged`. ρ is Spearman's, over
    the stories of both languages. Under no influence of length the cloud is level.
    """
    from matplotlib import pyplot
    from scipy import stats

    style()
    fig, grid = pyplot.subplots(1, len(verdicts), figsize=(WIDTH, 2.7), squeeze=False)
    words = []
    for axes, (title, table) in zip(grid[0], verdicts.items(), strict=True):
        longer = table["moral_tokens"] - table["immoral_tokens"]
        for language, side in table.groupby("language"):
            colour, marker = LANGUAGE_LOOKS.get(language, ("#009E73", "^"))
            axes.scatter(
                longer[side.index],
                side["margin"],
                s=12,
                color=colour,
                marker=marker,
                alpha=0.5,
                linewidths=0,
                label=LANGUAGES.get(language, language),
            )
        rho = stats.spearmanr(longer, table["margin"]).statistic
        axes.axhline(0, color="0.5", lw=1)
        axes.axvline(0, color="0.5", lw=1, ls=":")
        axes.set_title(f"{title}\nρ = {signed(rho, 2)}")
        axes.locator_params(nbins=4)
        words.append(f"{title}: ρ {signed(rho, 2)}")
    grid[0, 0].set_ylabel("Margin of the moral action")
    grid[0, len(verdicts) // 2].set_xlabel("Tokens by which the moral action is longer")
    legend_above(fig)
    alt = (
        "The margin by which a model prefers the moral action, against how many tokens longer that "
        f"action is than the other, a point a story. Spearman's correlation, by measure: "
        f"{'; '.join(words)}."
    )
    return fig, alt


def answers_in_both_orders(stories: pd.DataFrame, by: str = "label"):
    """How the two orders of a question were answered, as shares of the stories, a bar a group.

    stories: tables of `score.declarative.by_story`, stacked with a column `by` that names the bar.
    Only the first part of a bar is a preference for the moral action, and only the last for the
    other; what lies between followed the place and not the action.
    """
    from matplotlib import pyplot

    style()
    groups = list(dict.fromkeys(stories[by]))
    fig, axes = pyplot.subplots(figsize=(WIDTH, 1.3 + 0.42 * len(groups)))
    words = []
    for y, group in enumerate(groups):
        patterns = stories.loc[stories[by] == group, "pattern"]
        start, said = 0.0, []
        for pattern, (colour, hatch) in PATTERN_LOOKS.items():
            part = float((patterns == pattern).mean())
            if not part and pattern == "no answer":
                continue
            axes.barh(
                y,
                part,
                0.66,
                left=start,
                color=colour,
                hatch=hatch,
                edgecolor="white",
                linewidth=0.8,
                label=pattern,
            )
            start += part
            said.append(f"{pattern} {part:.2f}")
        words.append(f"{group.replace(chr(10), ' ')}: {', '.join(said)}")
    axes.set_yticks(range(len(groups)), groups, fontsize=9)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.grid(False, axis="y")
    axes.set_xlabel("Share of stories")
    legend_above(fig)
    alt = f"How both orders of a story's question were answered: {'; '.join(words)}."
    return fig, alt


def training_curves(logs: pd.DataFrame):
    """Reward margin (left) and share of pairs rightly ordered (right), by step.

    logs: tables of `train.dpo_runs.steps`, stacked; a line a run.
    """
    from matplotlib import pyplot

    style()
    fig, (left, right) = pyplot.subplots(1, 2, figsize=(WIDTH, 2.7))
    words, named = [], set()
    for (direction, size, seed), log in logs.groupby(["direction", "size", "seed"], sort=False):
        colour, marker = DIRECTION_LOOKS[direction]
        name = DIRECTION_NAMES[direction]
        style_of = {"color": colour, "marker": marker, "ms": 3, "lw": 1}
        for axes, column in ((left, "margin"), (right, "accuracy")):
            axes.plot(log["step"], log[column], label=None if name in named else name, **style_of)
        named.add(name)
        words.append(
            f"{name} on {size} pairs, seed {seed}: margin "
            f"{signed(log['margin'].iloc[-1], 2)} after {len(log)} steps"
        )
    left.set_ylabel("Reward margin")
    right.set_ylabel("Pairs rightly ordered")
    right.set_ylim(-0.03, 1.03)
    for axes in (left, right):
        axes.set_xlabel("Step")
        axes.locator_params(nbins=5)
    legend_above(fig)
    return fig, f"Reward margin and accuracy of DPO by step. {'; '.join(words)}."


def preference_curves(verdicts: pd.DataFrame, curves: Mapping[str, object] | None = None):
    """Preference of held-out stories against training pairs, a column a language.

    verdicts: tables of `score.moral.judged`, stacked, with `direction`, `size` and `seed`; size 0
    is the model before. Above: share of moral actions preferred; below: mean margin. Points are
    means over stories and seeds, bands 95% t intervals over stories (each averaged over seeds),
    hollow points single seeds. curves: direction -> `dose_response.DoseResponse`, drawn dashed in
    the first column's upper panel.
    """
    from matplotlib import pyplot

    style()
    languages = verdicts["language"].unique().tolist()
    fig, grid = pyplot.subplots(
        2, len(languages), figsize=(WIDTH, 5.2), squeeze=False, sharex=True, sharey="row"
    )
    fig.get_layout_engine().set(wspace=0.06)  # the last tick's label and the next first one apart
    words = []
    for column, language in enumerate(languages):
        here = verdicts[verdicts["language"] == language]
        base = here[here["size"] == 0]
        for direction in [one for one in DIRECTION_LOOKS if one in set(here["direction"])]:
            if direction == "none":
                continue
            colour, marker = DIRECTION_LOOKS[direction]
            runs = pd.concat([base, here[here["direction"] == direction]])
            for row, value in enumerate(("prefers_moral", "margin")):
                label = DIRECTION_NAMES[direction] if not (row or column) else None
                points = _curve(grid[row, column], runs, value, colour, marker, label)
                if row == 0:
                    name = DIRECTION_NAMES[direction]
                    said = ", ".join(
                        f"{m:.2f} ({lo:.2f} to {hi:.2f}) at {at:.0f}" for at, m, lo, hi in points
                    )
                    words.append(f"{LANGUAGES.get(language, language)}, {name}: {said} pairs")
            if curves and direction in curves and not column:
                fitted = np.expm1(np.linspace(0, np.log1p(runs["size"].max()), 60))
                turned = curves[direction].preference(fitted)
                share = turned if direction == "moral" else 1 - turned
                grid[0, 0].plot(fitted, share, color=colour, ls="--", lw=1)
        grid[0, column].axhline(0.5, color="0.5", ls=":", lw=1)
        grid[1, column].axhline(0, color="0.5", lw=1)
        grid[0, column].set_title(f"Tested in {LANGUAGES.get(language, language)}")
        sizes = sorted(here["size"].unique())
        # Logarithmic, and with a place for the model before, which no pair has trained.
        grid[1, column].set_xscale("function", functions=(np.log1p, np.expm1))
        grid[1, column].set_xticks(sizes, map(str, sizes))
        grid[1, column].minorticks_off()
        grid[1, column].set_xlabel("Training pairs")
        for axes in grid[:, column]:
            axes.grid(False, axis="x")
    grid[0, 0].set_ylabel("Share: moral\naction preferred")
    grid[1, 0].set_ylabel("Margin of the moral\naction (nats a token)")
    legend_above(fig)
    return fig, f"Share of held-out stories whose moral action is preferred. {'; '.join(words)}."


def _curve(axes, runs: pd.DataFrame, value: str, colour, marker, label: str | None):
    """Means over stories and seeds with their bands, and single seeds; the points drawn."""
    by_story = runs.groupby(["size", "story"])[value].mean()
    points = [
        (float(size), *mean_interval(by_story.loc[size].astype(float)))
        for size in sorted(runs["size"].unique())
    ]
    x, mean, low, high = np.array(points).T
    axes.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)
    axes.plot(x, mean, color=colour, marker=marker, lw=1, label=label)
    single = runs[runs["size"] > 0].groupby(["size", "seed"])[value].mean()
    sizes = single.index.get_level_values("size").to_numpy(float)
    axes.plot(sizes, single.to_numpy(float), marker, color=colour, mfc="none", ms=4)
    return points


def alignment_under_compression(table: pd.DataFrame):
    """How much of a trained shift is left under each compression, a row each, a colour a direction.

    table: as `dose_response.survival` gives it. Left: `shift` with its interval; right: its
    `difference` from that of the model that is not compressed.
    """
    from matplotlib import pyplot

    style()
    labels = table["compression"].unique().tolist()
    fig, (left, right) = pyplot.subplots(
        1, 2, sharey=True, figsize=(WIDTH, 1.4 + 0.4 * len(labels))
    )
    words = []
    directions = [one for one in DIRECTION_LOOKS if one in set(table["direction"])]
    asides = {
        label: dodged(directions, table.loc[table["compression"] == label, "direction"])
        for label in labels
    }
    for direction in directions:
        look = DIRECTION_LOOKS[direction]
        for row in table[table["direction"] == direction].to_dict("records"):
            y = labels.index(row["compression"]) + asides[row["compression"]][direction]
            name = DIRECTION_NAMES[direction]
            lying_interval(left, (row["shift"], row["shift_low"], row["shift_high"]), y, look, name)
            if not np.isnan(row["difference"]):
                lying_interval(right, (row["difference"], row["ci_low"], row["ci_high"]), y, look)
            words.append(
                f"{DIRECTION_NAMES[direction]}, {row['compression']} {signed(row['shift'])}"
            )
    for axes in (left, right):
        axes.axvline(0, color="0.4", lw=1)
        axes.grid(False, axis="y")
        axes.locator_params(axis="x", nbins=4)
    left.set_yticks(range(len(labels)), labels, fontsize=9)
    left.set_ylim(len(labels) - 0.5, -0.5)
    left.set_xlabel("Shift to the trained side\n(nats a token)")
    right.set_xlabel("Change of the shift\n(paired)")
    legend_above(fig)
    return fig, (
        "Mean shift of the margin to the side that was trained, against the equally compressed "
        f"model before training: {'; '.join(words)}."
    )
