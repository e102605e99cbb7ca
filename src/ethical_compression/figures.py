"""Figures of the book, each with a text alternative computed from what it shows.

Every function takes per-item tables (`score.confidence.per_item`) stacked with a `model` column
and returns `(figure, alt)`. Colour and marker belong to a model's label, the same in every figure.
Sizes are chosen so that type stays readable when a figure is shrunk to the width of a phone.
"""

import itertools
import math
import textwrap
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from ethical_compression.figure_faults import GAP, overlap, tick_labels
from ethical_compression.metrics.confidence import (
    aurc,
    equal_count_bins,
    reliability,
    risk_coverage,
)
from ethical_compression.metrics.reliability import gap_by_length
from ethical_compression.statistics import (
    align,
    mean_interval,
    others,
    paired_table,
    share,
)
from ethical_compression.words import listed, signed, with_interval

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
}

MEASURES = {
    "p_true": "probability of the right answer",
    "confidence": "confidence",
    "entropy_bits": "entropy (bits)",
    "brier": "Brier score",
    "log_score": "log score (nats)",
}


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
    """Colour and marker of each label; labels that are not in LOOKS get those still free."""
    labels = list(dict.fromkeys(labels))
    taken = {LOOKS[label] for label in ["full", *labels] if label in LOOKS}
    spares = [(colour, marker) for marker in "<>*phH" for colour, _ in LOOKS.values()]
    free = [look for look in dict.fromkeys([*LOOKS.values(), *spares]) if look not in taken]
    spare = iter(free)
    return {label: LOOKS[label] if label in LOOKS else next(spare) for label in labels}


def confidence_before_after(
    items: pd.DataFrame,
    *,
    full: str = "full",
    value: str = "p_true",
    names: Mapping[str, str] | None = None,
):
    """Means of `value` (left) and changes from the full model (right), with 95% intervals.

    The right panel's intervals are those of the paired differences (`statistics.paired_table`).
    The left panel's are wider, as they hold the spread between items, and must not be used to
    judge a change. A dotted line marks guessing (1 ÷ number of options) where `value` is `p_true`.
    `names` maps benchmarks to printed titles. Raises InputError as `paired_table` does.
    """
    from matplotlib import pyplot

    style()
    table = paired_table(items, full=full, value=value)
    benchmarks, models = _order(items, full)
    look = looks(models)
    fig, (left, right) = pyplot.subplots(
        1, 2, sharey=True, figsize=(WIDTH, 1.3 + len(benchmarks) * (0.25 + 0.16 * len(models)))
    )
    full_means = {}
    for row, benchmark in enumerate(benchmarks):
        here = items[items["benchmark"] == benchmark]
        if value == "p_true":
            chance = (1 / here.loc[here["model"] == full, "options"]).mean()
            label = None if row else "guessing"
            left.plot([chance] * 2, [row - 0.45, row + 0.45], color="0.5", ls=":", label=label)
        for model, aside in _asides(models, here["model"]).items():
            y = row + aside
            numbers = mean_interval(here.loc[here["model"] == model, value])
            _interval(left, numbers, y, look[model], label=model)
            if model == full:
                full_means[benchmark] = numbers
            else:
                found = table[(table["model"] == model) & (table["benchmark"] == benchmark)].iloc[0]
                numbers = found["difference"], found["ci_low"], found["ci_high"]
                _interval(right, numbers, y, look[model])
    right.axvline(0, color=look[full][0], lw=1)
    left.set_yticks(range(len(benchmarks)), [_title(b, names) for b in benchmarks])
    left.set_ylim(len(benchmarks) - 0.5, -0.5)
    for axes in (left, right):
        axes.grid(False, axis="y")
        axes.locator_params(axis="x", nbins=4)
        for row in range(1, len(benchmarks)):
            axes.axhline(row - 0.5, color="0.85", lw=0.8)
    what = MEASURES.get(value, value)
    left.set_xlabel(f"Mean {what}".replace("of the right", "\nof the right"))
    right.set_xlabel(f"Change from {full}\n(paired)")
    _legend(fig)

    means = "; ".join(f"{_title(b, names)} {full_means[b][0]:.3f}" for b in benchmarks)
    least, most = (table.loc[i] for i in table["difference"].abs().agg(["idxmin", "idxmax"]))
    zero = int(((table["ci_low"] <= 0) & (table["ci_high"] >= 0)).sum())
    alt = (
        f"Mean {what} of {listed(models)}, with 95% intervals; the model {full} has {means}. "
        f"The largest change from it is {_change(most, names)}"
        + (f", the smallest {_change(least, names)}. " if len(table) > 1 else ". ")
        + f"The intervals of {zero} of {len(table)} changes include zero."
    )
    return fig, alt


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
    benchmarks, models = _order(items, full)
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
        asides = _asides(models, here["model"])
        above.plot([start, 1], [start, 1], color="0.6", lw=1, ls=":", zorder=1)
        for model in asides:
            side = here[here["model"] == model]
            table = reliability(side["confidence"], side["correct"], bins)
            middle = (table["low"] + table["high"]) / 2
            below.bar(
                middle + asides[model] / bins,
                table["count"],
                BAND / bins / len(asides),
                color=look[model][0],
            )
            table = table[table["count"] >= least]
            _series(
                above,
                table["confidence"],
                table[["accuracy", "accuracy_low", "accuracy_high"]].to_numpy().T,
                look[model],
                label=model,
            )
        above.set(xlim=(start - 0.03, 1.05), ylim=(-0.03, 1.03), title=_title(benchmark, names))
        below.locator_params(axis="y", nbins=3)
        above.locator_params(axis="both", nbins=5)
        below.set_xlabel("Confidence")
        if place % columns == 0:
            above.set_ylabel("Share right")
            below.set_ylabel("Items")
        for axes in (above, below):
            axes.grid(False, axis="x")
    _legend(fig)

    share = items.groupby(["benchmark", "model"])[["confidence", "correct"]].mean()
    gap = share["confidence"] - share["correct"]
    words = "; ".join(
        f"{_title(b, names)}: mean confidence {share.loc[(b, full), 'confidence']:.3f}, "
        f"share right {share.loc[(b, full), 'correct']:.3f}"
        for b in benchmarks
    )
    alt = (
        f"Reliability diagrams of {listed(models)}: share of right answers against confidence in "
        f"{bins} bins with 95% intervals, and the items per bin. The model {full} has, on "
        f"{words}. "
        f"Mean confidence minus share right lies between {signed(gap.min())} "
        f"({gap.idxmin()[1]}, {_title(gap.idxmin()[0], names)}) and {signed(gap.max())} "
        f"({gap.idxmax()[1]}, {_title(gap.idxmax()[0], names)})."
    )
    return fig, alt


def change_against_confidence(
    items: pd.DataFrame,
    *,
    full: str = "full",
    value: str = "p_true",
    again: pd.Series | None = None,
    bins: int = 5,
    names: Mapping[str, str] | None = None,
):
    """Change in `value` against the full model's confidence.

    Mean change with its 95% t interval in equal-count bins of the full model's confidence, whose
    mean stands under each bin, a panel per benchmark. Items chosen for an extreme value drift back
    by themselves (regression to the mean), so a slope alone is not an effect of compression:
    `again`, a second look at that confidence indexed by (benchmark, item), makes the bins instead.
    Bins of one item are left out. `names` maps benchmarks to printed titles. Raises InputError as
    `statistics.align` does.
    """
    from matplotlib import pyplot

    style()
    benchmarks, models = _order(items, full)
    compressed = others(items, full)
    look = looks(models)
    what = MEASURES.get(value, value)
    columns = min(2, len(benchmarks))
    rows = -(-len(benchmarks) // columns)
    fig, grid = pyplot.subplots(
        rows, columns, figsize=(WIDTH, 0.8 + 2.3 * rows), squeeze=False, sharey=True
    )
    own = items[items["model"] == full].set_index(["benchmark", "item"])["confidence"]
    points = []
    for model in compressed:
        before, after = align(items, model, full=full, value=value)
        own = own.loc[before.index] if again is None else again.loc[before.index]
        for benchmark in benchmarks:
            x, a, b = own.loc[benchmark], before.loc[benchmark], after.loc[benchmark]
            where = equal_count_bins(x, bins)
            for index in np.unique(where):
                inside = where == index
                if inside.sum() > 1:
                    at = float(x[inside].mean())
                    change = mean_interval(b[inside] - a[inside])
                    points.append((model, benchmark, index, at, *change))
    fields = ["model", "benchmark", "bin", "at", "difference", "ci_low", "ci_high"]
    points = pd.DataFrame(points, columns=fields)
    for place, axes in enumerate(grid.ravel()):
        if place >= len(benchmarks):
            axes.set_visible(False)
            continue
        axes.axhline(0, color=look[full][0], lw=1)
        here = points[points["benchmark"] == benchmarks[place]]
        here = here.assign(bin=here["bin"].rank(method="dense") - 1)  # without those left out
        for model, aside in _asides(compressed, here["model"]).items():
            line = here[here["model"] == model]
            _series(
                axes,
                line["bin"] + aside,
                line[["difference", "ci_low", "ci_high"]].to_numpy().T,
                look[model],
                label=model,
            )
        ticks = here.drop_duplicates("bin").sort_values("bin")
        axes.set_xticks(ticks["bin"], [f"{at:.2f}" for at in ticks["at"]])
        _bands(axes, len(ticks))
        axes.grid(False, axis="x")
        axes.set_title(_title(benchmarks[place], names))
        if place + columns >= len(benchmarks):
            look_at = "mean of each bin" if again is None else "second look, mean of each bin"
            axes.set_xlabel(f"Confidence of {full}\n({look_at})")
        if place % columns == 0:
            axes.set_ylabel(f"Change in {what}".replace(" of the right", "\nof the right"))
    fig.get_layout_engine().set(hspace=0.08)
    _legend(fig)

    words = []
    for model in compressed:
        line = points[points["model"] == model]
        ends = (line.loc[line["difference"].agg(end)] for end in ("idxmin", "idxmax"))
        low, high = (
            f"{signed(end['difference'])} ({_title(end['benchmark'], names)}, items of mean "
            f"confidence {end['at']:.2f})"
            for end in ends
        )
        words.append(f"{model} between {low} and {high}")
    caution = (
        "Items picked for an extreme value drift back by themselves (regression to the mean), so a "
        "slope alone is not an effect of compression."
        if again is None
        else "The bins come from a second look at the same items, so that none is picked for its "
        "noise."
    )
    alt = (
        f"Mean change in {'the ' * (value == 'p_true')}{what}, with 95% intervals, in {bins} "
        f"equal-count bins of the confidence of the model {full}: {'; '.join(words)}. {caution}"
    )
    return fig, alt


BIAS_LOOKS = {
    "subgroup": LOOKS["GPTQ 4-bit"],
    "bpsn": LOOKS["GPTQ 3-bit"],
    "bnsp": ("#009E73", "^"),
}


def bias_auc_by_depth(
    means: pd.DataFrame,
    *,
    metrics: Mapping[str, str] | None = None,
    names: Mapping[str, str] | None = None,
):
    """Bias AUCs of every community across depth, a panel each, with 95% intervals.

    means: from `score.groups.over_seeds` by `depth` (a number; the deepest stands left), of one
    encoder and one way of shortening it. metrics: those to draw, with their printed names; names
    maps communities to printed titles. The dotted line at one half is guessing. A value with a note
    other than of a single seed is drawn hollow: it stands on too few posts to be leaned on.
    """
    from matplotlib import pyplot

    style()
    metrics = metrics or {"subgroup": "Subgroup", "bpsn": "BPSN", "bnsp": "BNSP"}
    means = means[means["metric"].isin(metrics) & means["auc"].notna()]
    communities = means["community"].unique().tolist()
    depths = sorted(means["depth"].unique(), reverse=True)
    columns = min(2, len(communities))
    rows = -(-len(communities) // columns)
    fig, grid = pyplot.subplots(
        rows,
        columns,
        figsize=(WIDTH, 0.8 + 1.6 * rows),
        squeeze=False,
        sharex=True,
        sharey=True,
    )
    for place, axes in enumerate(grid.ravel()):
        if place >= len(communities):
            axes.set_visible(False)
            grid.ravel()[place - columns].tick_params(labelbottom=True)
            continue
        axes.axhline(0.5, color="0.5", ls=":", label=None if place else "guessing")
        here = means[means["community"] == communities[place]]
        asides = [_asides(metrics, here.loc[here["depth"] == depth, "metric"]) for depth in depths]
        for metric, title in metrics.items():
            line = here[here["metric"] == metric].set_index("depth").reindex(depths)
            x = np.array([at + aside.get(metric, 0) for at, aside in enumerate(asides)])
            numbers = line[["auc", "ci_low", "ci_high"]].to_numpy(float).T
            _series(axes, x, numbers, BIAS_LOOKS[metric], label=title)
            weak = ~line["note"].fillna("").str.startswith("one seed") & line["note"].ne("")
            axes.plot(
                x[weak],
                numbers[0][weak],
                BIAS_LOOKS[metric][1],
                color=BIAS_LOOKS[metric][0],
                mfc="white",
                zorder=5,
            )
        axes.set_title(_title(communities[place], names))
        axes.grid(False, axis="x")
        axes.set_xticks(range(len(depths)), [f"{depth:g}" for depth in depths])
        _bands(axes, len(depths))
        axes.locator_params(axis="y", nbins=4)
        if place + columns >= len(communities):
            axes.set_xlabel("Layers kept")
        if place % columns == 0:
            axes.set_ylabel("AUC")
    _legend(fig)

    words = []
    for metric, title in metrics.items():
        ends = means[(means["metric"] == metric) & means["depth"].isin([depths[0], depths[-1]])]
        low = ends.loc[ends["auc"].idxmin()]
        words.append(
            f"{title} is on average {ends.loc[ends['depth'] == depths[0], 'auc'].mean():.3f} with "
            f"{depths[0]:g} layers and {ends.loc[ends['depth'] == depths[-1], 'auc'].mean():.3f} "
            f"with {depths[-1]:g}, lowest for {_title(low['community'], names)} "
            f"({low['auc']:.3f}, {low['depth']:g} layers)"
        )
    alt = (
        f"Bias AUCs of {listed([_title(c, names) for c in communities])} against the number of "
        f"layers kept, with 95% intervals. {'; '.join(words)}."
    )
    return fig, alt


def shift_against_overall(
    shifts: pd.DataFrame,
    *,
    margin: float | None = None,
    names: Mapping[str, str] | None = None,
    what: str = "AUC",
):
    """Each community's change of a score beside the change over all texts, a panel a compression.

    shifts: from `uniformity.shift_table`. The line is the overall change; a point is a community's
    own, with the 95% interval of the *excess* (own minus overall) drawn around it, so that an
    interval clear of the line is a test with p < 0.05. Filled: so after Holm, too. margin: the band
    around the line in which a shift counts as uniform. Communities without a test have no interval.
    """
    from matplotlib import pyplot

    style()
    compressions = shifts["compression"].unique().tolist()
    communities = shifts["community"].unique().tolist()
    columns = min(3, len(compressions))
    rows = -(-len(compressions) // columns)
    fig, grid = pyplot.subplots(
        rows,
        columns,
        figsize=(WIDTH, rows * (0.9 + 0.32 * len(communities)) + 0.4),
        squeeze=False,
        sharex=True,
        sharey=True,
    )
    words = []
    for place, axes in enumerate(grid.ravel()):
        if place >= len(compressions):
            axes.set_visible(False)
            continue
        here = shifts[shifts["compression"] == compressions[place]]
        overall = float(here["overall"].mean())
        if margin:
            axes.axvspan(overall - margin, overall + margin, color="0.92", label="margin", zorder=0)
        axes.axvline(0, color="0.6", lw=0.8, ls=":", label="no change")
        axes.axvline(overall, color="black", lw=1.2, label="all posts")
        for row in here.itertuples():
            at = overall + row.excess if np.isfinite(row.excess) else row.shift
            settled = row.p_holm < 0.05
            axes.errorbar(
                at,
                communities.index(row.community),
                xerr=[[row.excess - row.ci_low], [row.ci_high - row.excess]]
                if np.isfinite(row.ci_low)
                else None,
                color=LOOKS["GPTQ 4-bit"][0],
                marker="o",
                mfc=None if settled else "white",
                ls="",
            )
        axes.set_title(compressions[place])
        axes.grid(False, axis="y")
        axes.locator_params(axis="x", nbins=4)
        far = here.loc[here["excess"].abs().idxmax()] if here["excess"].notna().any() else None
        single, holm = int((here["p"] < 0.05).sum()), int((here["p_holm"] < 0.05).sum())
        words.append(
            f"{compressions[place]}: overall {signed(overall)}"
            + (
                f", furthest from it {_title(far['community'], names)} "
                f"({signed(far['excess'])}), {single} of {int(here['p'].notna().sum())} with "
                f"p < 0.05, {holm} after Holm"
                if far is not None
                else ", no community could be tested"
            )
        )
    grid[0, 0].set_yticks(range(len(communities)), [_title(c, names) for c in communities])
    grid[0, 0].set_ylim(len(communities) - 0.5, -0.5)
    fig.supxlabel(f"Change of {what} from the full model", fontsize=11)
    fig.get_layout_engine().set(wspace=0.06)
    _legend(fig)
    alt = (
        f"Change of {what} of each community beside the change over all posts, with 95% intervals "
        f"of the difference between the two. {'; '.join(words)}."
    )
    return fig, alt


def risk_coverage_curves(
    items: pd.DataFrame,
    *,
    full: str = "full",
    least: int = 25,
    names: Mapping[str, str] | None = None,
):
    """Share wrong among the items a model would answer, against the share that it answers.

    A panel per benchmark; the least confident items are left out first. Curves begin where `least`
    items are answered: of fewer, a share says nothing. A curve that does not rise belongs to a
    model whose confidence does not tell its right answers from its wrong ones. `names` maps
    benchmarks to printed titles.
    """
    from matplotlib import pyplot

    style()
    benchmarks, models = _order(items, full)
    look = looks(models)
    columns = min(2, len(benchmarks))
    rows = -(-len(benchmarks) // columns)
    fig, grid = pyplot.subplots(
        rows, columns, figsize=(WIDTH, 0.8 + 2.3 * rows), squeeze=False, sharex=True, sharey=True
    )
    words = []
    for place, axes in enumerate(grid.ravel()):
        if place >= len(benchmarks):
            axes.set_visible(False)
            continue
        benchmark = benchmarks[place]
        areas = []
        for number, model in enumerate(models):
            side = items[(items["benchmark"] == benchmark) & (items["model"] == model)]
            curve = risk_coverage(side["confidence"], side["correct"])
            curve = curve[curve["coverage"] * len(side) >= min(least, len(side) // 2)]
            colour, marker = look[model]
            axes.plot(
                curve["coverage"],
                curve["risk"],
                color=colour,
                marker=marker,
                # A few markers, and not all curves' at one place.
                markevery=[
                    int((curve["coverage"] - at - number / 20).abs().to_numpy().argmin())
                    for at in (0.2, 0.5, 0.8)
                ],
                lw=1.4,
                label=None if place else model,
            )
            areas.append(f"{model} {aurc(side['confidence'], side['correct']):.3f}")
        axes.set_title(_title(benchmark, names))
        axes.locator_params(axis="both", nbins=5)
        if place + columns >= len(benchmarks):
            axes.set_xlabel("Share answered")
            axes.tick_params(labelbottom=True)
        if place % columns == 0:
            axes.set_ylabel("Share wrong")
        words.append(f"{_title(benchmark, names)}: {', '.join(areas)}")
    # The panels share their axes: a limit set before all are drawn would hold for the first alone.
    grid[0, 0].set(xlim=(0, 1.03), ylim=(0, None))
    _legend(fig)
    alt = (
        f"Share of wrong answers against the share of items answered, of {listed(models)}, the "
        f"least confident left out first. Area under the curve, less being better, on "
        f"{'; '.join(words)}."
    )
    return fig, alt


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
            _series(
                axes,
                np.arange(len(table)) + _asides(kinds, kinds)[kind],
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
        _bands(axes, len(table))
    panels[1].set_xlabel(f"Ranges of each benchmark by its options' length (mean, {unit})")
    for axes in panels:
        axes.grid(False, axis="x")
    _legend(fig)
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

    items: per-item records stacked with columns `model` and `fix`, in the order to draw; repeated
    cross-fits may be stacked, too: their counts are divided by the repeats for the intervals.
    """
    from matplotlib import pyplot

    style()
    models, fixes = items["model"].unique().tolist(), items["fix"].unique().tolist()
    colours = [LOOKS["full"], LOOKS["GPTQ 3-bit"], LOOKS["GPTQ 4-bit"], LOOKS["RTN 2-bit"]]
    columns = min(2, len(models))
    rows = -(-len(models) // columns)
    fig, grid = pyplot.subplots(
        rows, columns, figsize=(WIDTH, 0.8 + 2.6 * rows), squeeze=False, sharex=True, sharey=True
    )
    for place, axes in enumerate(grid.ravel()):
        if place >= len(models):
            axes.set_visible(False)
            continue
        axes.plot([0, 1], [0, 1], color="0.6", lw=1, ls=":", zorder=1)
        for number, fix in enumerate(fixes):
            side = items[(items["model"] == models[place]) & (items["fix"] == fix)]
            repeats = side["repeat"].nunique() if "repeat" in side.columns else 1
            table = reliability(side["confidence"], side["correct"], bins)
            table["count"] = table["count"] / repeats
            table = table[table["count"] >= least]
            low, high = _wilson(table["accuracy"] * table["count"], table["count"])
            _series(
                axes,
                table["confidence"],
                np.array([table["accuracy"], low, high]),
                colours[number % len(colours)],
                label=None if place else fix,
            )
        axes.set(xlim=(-0.03, 1.05), ylim=(-0.03, 1.03), title=models[place])
        axes.set_xticks([0, 0.5, 1])
        axes.set_yticks([0, 0.5, 1])
        if place + columns >= len(models):
            axes.set_xlabel("Confidence")
            axes.tick_params(labelbottom=True)
        if place % columns == 0:
            axes.set_ylabel("Share right")
    _legend(fig)
    gaps = (items["confidence"] - items["correct"]).groupby(
        [items["model"], items["fix"]], sort=False
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


def _wilson(hits, counts):
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(hits, counts, method="wilson")
    share = hits / counts
    return np.minimum(low, share), np.maximum(high, share)


def distances(
    table: pd.DataFrame, *, what: str = "options", names: Mapping[str, str] | None = None
):
    """Jensen–Shannon distances from the full model: their spread and their mean, by benchmark.

    table: `model, benchmark, js_distance`, a row an item or a token. A thin line goes from the 5th
    to the 95th percentile, a thick one covers the middle half, the marker is the mean.
    what: over what the distributions are. `names` maps benchmarks to printed titles.
    """
    from matplotlib import pyplot

    style()
    benchmarks, models = table["benchmark"].unique().tolist(), table["model"].unique().tolist()
    look = looks(models)
    fig, axes = pyplot.subplots(figsize=(WIDTH, 1.2 + len(benchmarks) * (0.25 + 0.2 * len(models))))
    words = []
    for row, benchmark in enumerate(benchmarks):
        here = table[table["benchmark"] == benchmark]
        for model, aside in _asides(models, here["model"]).items():
            values = here.loc[here["model"] == model, "js_distance"]
            low, first, third, high = values.quantile([0.05, 0.25, 0.75, 0.95])
            y = row + aside
            colour, marker = look[model]
            axes.plot([low, high], [y, y], color=colour, lw=1)
            axes.plot([first, third], [y, y], color=colour, lw=4, alpha=0.5, solid_capstyle="butt")
            axes.plot(values.mean(), y, color=colour, marker=marker, ls="", label=model)
            words.append(
                f"{model} on {_title(benchmark, names)} mean {values.mean():.3f}, nine in ten "
                f"between {low:.3f} and {high:.3f}"
            )
    axes.set_yticks(range(len(benchmarks)), [_title(b, names) for b in benchmarks])
    axes.set_ylim(len(benchmarks) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.grid(False, axis="y")
    axes.set_xlabel(f"Jensen–Shannon distance from full, over {what}")
    _legend(fig)
    return fig, f"Jensen–Shannon distance from the full model, over {what}: {'; '.join(words)}."


def distance_by_size(table: pd.DataFrame, *, names: Mapping[str, str] | None = None):
    """Mean Jensen–Shannon distance from each full model against its size, a panel per benchmark.

    table: `model` (the recipe's label), `parameters` (of the full model), `benchmark`, `item`,
    `js_distance`. Means with their 95% t intervals over items. `names` maps benchmarks to titles.
    """
    from matplotlib import pyplot

    style()
    benchmarks, models = table["benchmark"].unique().tolist(), table["model"].unique().tolist()
    look = looks(models)
    columns = min(2, len(benchmarks))
    rows = -(-len(benchmarks) // columns)
    fig, grid = pyplot.subplots(
        rows, columns, figsize=(WIDTH, 0.8 + 2.3 * rows), squeeze=False, sharex=True, sharey=True
    )
    sizes_of_all = sorted(table["parameters"].unique() / 1e6)
    words = []
    for place, axes in enumerate(grid.ravel()):
        if place >= len(benchmarks):
            axes.set_visible(False)
            continue
        here = table[table["benchmark"] == benchmarks[place]]
        for model in models:
            by_size = here[here["model"] == model].groupby("parameters")["js_distance"]
            found = [(size / 1e6, *mean_interval(values)) for size, values in by_size]
            sizes, *numbers = np.array(found).T
            _series(axes, sizes, numbers, look[model], label=None if place else model)
            said = ", ".join(f"{mean:.3f} at {size:,.0f} million" for size, mean, *_ in found)
            words.append(f"{model} on {_title(benchmarks[place], names)} {said}")
        axes.set_xscale("log")
        axes.set_xticks(sizes_of_all, [f"{size:,.0f}" for size in sizes_of_all])
        axes.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
        axes.set_title(_title(benchmarks[place], names))
        if place + columns >= len(benchmarks):
            axes.set_xlabel("Parameters (million)")
        if place % columns == 0:
            axes.set_ylabel("Mean distance\nfrom full")
    _legend(fig)
    return fig, f"Mean Jensen–Shannon distance by model size: {'; '.join(words)} parameters."


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
        _interval(right, numbers, y, look[second])
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
    _legend(fig)
    return fig, f"Mean {what} of {first} and of {second}, by group: {'; '.join(words)}."


def continued_twice(tokens: pd.DataFrame, prompt: str, other: str, *, full: str = "full"):
    """One prompt continued by two models, with the probability of each token as a bar above it.

    tokens: rows of `score.generation.study` for one prompt. A bar that reaches the thin
    line has probability 1. From the first token that differs, text is bold and bars are hatched.
    """
    from matplotlib import pyplot
    from matplotlib.patches import Rectangle

    style()
    columns, y, look = 60, 0.0, looks([full, other])
    said = {model: tokens[tokens["model"] == model].sort_values("position") for model in look}
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

    curves: `score.generation.survival` stacked with a column `decoding`. Bands are Wilson's 95%
    intervals of each point by itself.
    """
    from matplotlib import pyplot

    style()
    ways, models = (curves[column].unique().tolist() for column in ("decoding", "model"))
    look = looks(models)
    fig, grid = pyplot.subplots(
        1, len(ways), figsize=(WIDTH, 3.2), sharey=True, squeeze=False, layout="constrained"
    )
    ends = []
    for axes, way in zip(grid[0], ways, strict=True):
        for number, model in enumerate(models):
            line = curves[(curves["decoding"] == way) & (curves["model"] == model)]
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
    _legend(fig)
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
    """Median KL from the full model along its texts: table of `score.generation.along_text`."""
    from matplotlib import pyplot

    style()
    models = along["model"].unique().tolist()
    look = looks(models)
    fig, axes = pyplot.subplots(figsize=(WIDTH, 3.2))
    words = []
    for number, model in enumerate(models):
        line = along[along["model"] == model]
        colour, marker = look[model]
        x = line["position"] + 1
        axes.fill_between(x, line["low"], line["high"], color=colour, alpha=0.15, lw=0)
        axes.plot(x, line["kl"], color=colour, lw=1.2)
        axes.plot(
            x[number::5], line["kl"][number::5], color=colour, marker=marker, ls="", label=model
        )
        words.append(f"{model} {line['kl'].mean():.3f}")
    axes.set(yscale="log", xlabel="Token of the full model's text", ylabel="Median KL (nats)")
    _legend(fig)
    return fig, (
        "Median divergence (KL) of the compressed models' next-token distributions from the full "
        "model's, at each token of the full model's texts, with 95% intervals, on a logarithmic "
        f"scale. Means of the medians over the places: {'; '.join(words)} nats."
    )


def interval_panels(
    table: pd.DataFrame,
    panels: Mapping[str, str],
    *,
    names: Mapping[str, str] | None = None,
    what: str = "difference",
):
    """Differences with their intervals: a panel for each kind, a row for each thing compared.

    table: columns `panel`, `row`, `model`, `difference`, `ci_low`, `ci_high`. panels: which, in
    which order, with the words under each axis. names: printed titles of the rows. what: what the
    numbers are called, where they are no differences.
    """
    from matplotlib import pyplot

    style()
    rows, models = (table[column].unique().tolist() for column in ("row", "model"))
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
        for found in here.itertuples():
            y = rows.index(found.row)
            y += _asides(models, here.loc[here["row"] == found.row, "model"])[found.model]
            numbers = found.difference, found.ci_low, found.ci_high
            _interval(axes, numbers, y, look[found.model], label=found.model)
        axes.set_yticks(range(len(rows)), [_title(row, names) for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(False, axis="y")
        axes.locator_params(axis="x", nbins=4)
        # A power of ten for the whole axis would stand where the words under it begin.
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}".replace("-", "−"))
        axes.set_xlabel(words)
        for row in range(1, len(rows)):
            axes.axhline(row - 0.5, color="0.85", lw=0.8)
    if len(models) > 1:
        _legend(fig)
    parts = []
    for panel, words in panels.items():
        here = table[table["panel"] == panel]
        beyond = int(((here["ci_low"] > 0) | (here["ci_high"] < 0)).sum())
        most = here.loc[here["difference"].abs().idxmax()]
        parts.append(
            f"{words.replace(chr(10), ' ')}: {beyond} of {len(here)} intervals leave out zero; the "
            f"largest {what} is {with_interval(most)} ({most['model']}, "
            f"{_title(most['row'], names)})"
        )
    return fig, f"{what.capitalize()}s with 95% intervals, {listed(models)}. {'; '.join(parts)}."


def bias_by_community(
    table: pd.DataFrame,
    *,
    by: str = "compression",
    full: str = "full",
    metrics: Mapping[str, str] | None = None,
):
    """Bias AUCs of every community, a panel a metric, with 95% intervals.

    table: from `score.groups.over_seeds`, with a column `by`; metrics: those shown, with the titles
    to print. The intervals answer for new posts and new seeds, so they hold what all models share:
    overlap does not mean that nothing changed. Returns (figure, alt).
    """
    from matplotlib import pyplot

    style()
    metrics = metrics or {"subgroup": "Subgroup", "bpsn": "BPSN", "bnsp": "BNSP"}
    table = table[table["metric"].isin(list(metrics))]
    communities = table["community"].unique().tolist()
    models = sorted(table[by].unique().tolist(), key=lambda name: name != full)
    look = looks(models)
    fig, panels = pyplot.subplots(
        1,
        len(metrics),
        sharey=True,
        squeeze=False,
        figsize=(WIDTH, 1.2 + len(communities) * (0.2 + 0.12 * len(models))),
    )
    for metric, axes in zip(metrics, panels[0], strict=True):
        here = table[table["metric"] == metric].dropna(subset=["auc", "ci_low", "ci_high"])
        for community, rows in here.groupby("community"):
            numbers = rows.set_index(by)[["auc", "ci_low", "ci_high"]]
            for model, aside in _asides(models, rows[by]).items():
                y = communities.index(community) + aside
                _interval(axes, numbers.loc[model], y, look[model], label=model)
        axes.axvline(0.5, color="0.5", ls=":", lw=1)
        axes.grid(False, axis="y")
        axes.locator_params(axis="x", nbins=4)
        axes.set_xlabel(f"{metrics[metric]} AUC")
        for row in range(1, len(communities)):
            axes.axhline(row - 0.5, color="0.85", lw=0.8)
    panels[0][0].set_yticks(range(len(communities)), communities)
    panels[0][0].set_ylim(len(communities) - 0.5, -0.5)
    _legend(fig)

    words = []
    for metric, title in metrics.items():
        wide = table[table["metric"] == metric].pivot(index="community", columns=by, values="auc")
        if wide[full].notna().any():
            least = wide[full].idxmin()
            words.append(f"{title}: the model {full} is lowest on {least} ({wide[full].min():.3f})")
        change = wide[models[-1]] - wide[full]
        if len(models) > 1 and change.notna().any():
            words[-1] += (
                f", and {models[-1]} changes it by {signed(change.min())} ({change.idxmin()}) to "
                f"{signed(change.max())} ({change.idxmax()})"
            )
    alt = (
        f"Bias AUCs of {listed(models)} for {len(communities)} communities, with 95% intervals; a "
        f"dotted line marks chance. {'; '.join(words)}."
    )
    return fig, alt


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
            for name, aside in _asides(names, here[by]).items():
                values = here.loc[here[by] == name, measure]
                x_of = [at + aside] * len(values)
                axes.plot(x_of, values, ".", color=look[name][0], alpha=0.4, ms=4)
                ends = mean_interval(values) if values.nunique() > 1 else [values.mean()] * 3
                _series(axes, x_of[:1], np.array([ends]).T, look[name], label=name)
        _bands(axes, len(levels))
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
    _legend(fig)
    alt = (
        f"{listed(list(said.values()))} against {label or x} for {listed(names)}: every run "
        f"a point, means over seeds with 95% intervals. {'; '.join(words)}."
    )
    return fig, alt


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


def _order(items: pd.DataFrame, full: str) -> tuple[list[str], list[str]]:
    """Benchmarks and models in order of appearance, the full model first."""
    models = items["model"].unique().tolist()
    return items["benchmark"].unique().tolist(), sorted(models, key=lambda model: model != full)


def _asides(names: Iterable[str], present: Iterable[str]) -> dict[str, float]:
    """How far beside a category's tick each series stands: of those present there, in their order.

    On category axes only. On an axis of numbers a point moved aside would show a wrong number, and
    a series alone in its category stands on the tick.
    """
    present = set(present)
    here = [name for name in names if name in present]
    middle = (len(here) - 1) / 2
    return {name: (place - middle) * BAND / len(here) for place, name in enumerate(here)}


def _bands(axes, count: int) -> None:
    """Lines between `count` categories along x: what stands beside a tick belongs to it."""
    axes.set_xlim(-0.5, count - 0.5)
    for edge in range(1, count):
        axes.axvline(edge - 0.5, color="0.85", lw=0.8, zorder=0)


def _interval(axes, numbers, y: float, look, label: str | None = None) -> None:
    """A mean with its interval, lying."""
    mean, low, high = numbers
    colour, marker = look
    axes.errorbar(
        mean, y, xerr=[[mean - low], [high - mean]], color=colour, marker=marker, ls="", label=label
    )


def _series(axes, x, numbers, look, label: str | None = None) -> None:
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


def _legend(fig) -> None:
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
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", "−"))
            axes.figure.canvas.draw()
        boxes = [label.get_window_extent().padded(GAP, 0) for label in tick_labels(axes.xaxis)]
        if not any(overlap(one, other) for one, other in itertools.pairwise(boxes)):
            return
        axes.locator_params(axis="x", nbins=bins)


def _change(row, names) -> str:
    return f"{with_interval(row)} for {row['model']} on {_title(row['benchmark'], names)}"


def _title(benchmark: str, names: Mapping[str, str] | None) -> str:
    return (names or {}).get(benchmark, benchmark)


def token_tree(row, pieces):
    """Who sees whom in a tree of tokens: `row` a `score.loglikelihood.Row`, `pieces` its text.

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


def moral_preference(verdicts: pd.DataFrame, changes: pd.DataFrame, *, full: str = "full"):
    """Share of stories whose moral action is preferred (left), and paired changes of it (right).

    verdicts: tables of `score.moral.judged`, stacked with a `model` column; shares carry Wilson's
    95% interval, and the dotted line marks one half. changes: a row a comparison, with `label`,
    `difference`, `ci_low` and `ci_high` (`statistics.paired_answers`).
    """
    from matplotlib import pyplot

    style()
    models = sorted(verdicts["model"].unique(), key=lambda model: model != full)
    rows = list(dict.fromkeys(zip(verdicts["language"], verdicts["norm"], strict=True)))
    look = looks(models)
    height = 1.5 + 0.5 * max(len(rows), 0.62 * len(changes))
    fig, (left, right) = pyplot.subplots(1, 2, figsize=(WIDTH, height))
    names, words = [], []
    for y, (language, norm) in enumerate(rows):
        name = f"{LANGUAGES.get(language, language)}\n{'with' if norm else 'without'} norm"
        names.append(name)
        here = verdicts[(verdicts["language"] == language) & (verdicts["norm"] == norm)]
        for model, aside in _asides(models, here["model"]).items():
            found = share(here.loc[here["model"] == model, "prefers_moral"])
            numbers = found.share, found.ci_low, found.ci_high
            _interval(left, numbers, y + aside, look[model], label=model)
            words.append(f"{model}, {name.replace(chr(10), ' ')}: {found.share:.2f}")
    left.axvline(0.5, color="0.5", ls=":")
    left.set_yticks(range(len(rows)), names)
    left.set_ylim(len(rows) - 0.5, -0.5)
    left.set_xlabel("Share of stories: moral\naction preferred")
    for y, row in enumerate(changes.itertuples()):
        _interval(right, (row.difference, row.ci_low, row.ci_high), y, ("#000000", "o"))
    right.axvline(0, color="0.5", lw=1)
    right.set_yticks(range(len(changes)), changes["label"], fontsize=9)
    right.set_ylim(len(changes) - 0.5, -0.5)
    right.set_xlabel("Change on the same\nstories (paired)")
    for axes in (left, right):
        axes.grid(False, axis="y")
        axes.locator_params(axis="x", nbins=4)
    if len(models) > 1:
        _legend(fig)
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
    _legend(fig)
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
    _legend(fig)
    alt = f"How both orders of a story's question were answered: {'; '.join(words)}."
    return fig, alt


# The two directions of training, wherever they are shown.
DIRECTION_LOOKS = {"moral": ("#0072B2", "o"), "immoral": ("#D55E00", "v"), "none": ("#000000", "s")}
DIRECTION_NAMES = {"moral": "DPO_M", "immoral": "DPO_I", "none": "not trained"}


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
    _legend(fig)
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
                axes = grid[row, column]
                by_story = runs.groupby(["size", "story"])[value].mean()
                points = [
                    (np.log1p(size), *mean_interval(by_story.loc[size].astype(float)))
                    for size in sorted(runs["size"].unique())
                ]
                x, mean, low, high = np.array(points).T
                axes.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)
                label = DIRECTION_NAMES[direction] if not (row or column) else None
                axes.plot(x, mean, color=colour, marker=marker, lw=1, label=label)
                single = runs[runs["size"] > 0].groupby(["size", "seed"])[value].mean()
                axes.plot(
                    np.log1p(single.index.get_level_values("size").to_numpy(float)),
                    single.to_numpy(float),
                    marker,
                    color=colour,
                    mfc="none",
                    ms=4,
                )
                if row == 0:
                    name = DIRECTION_NAMES[direction]
                    said = ", ".join(
                        f"{m:.2f} ({lo:.2f} to {hi:.2f}) at {np.expm1(at):.0f}"
                        for at, m, lo, hi in points
                    )
                    words.append(f"{LANGUAGES.get(language, language)}, {name}: {said} pairs")
            if curves and direction in curves and not column:
                fitted = np.linspace(0, np.log1p(runs["size"].max()), 60)
                turned = curves[direction].preference(np.expm1(fitted))
                share = turned if direction == "moral" else 1 - turned
                grid[0, 0].plot(fitted, share, color=colour, ls="--", lw=1)
        grid[0, column].axhline(0.5, color="0.5", ls=":", lw=1)
        grid[1, column].axhline(0, color="0.5", lw=1)
        grid[0, column].set_title(f"Tested in {LANGUAGES.get(language, language)}")
        sizes = sorted(here["size"].unique())
        grid[1, column].set_xticks(np.log1p(np.array(sizes, float)), map(str, sizes))
        grid[1, column].set_xlabel("Training pairs")
        for axes in grid[:, column]:
            axes.grid(False, axis="x")
    grid[0, 0].set_ylabel("Share: moral\naction preferred")
    grid[1, 0].set_ylabel("Margin of the moral\naction (nats a token)")
    _legend(fig)
    return fig, f"Share of held-out stories whose moral action is preferred. {'; '.join(words)}."


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
        label: _asides(directions, table.loc[table["compression"] == label, "direction"])
        for label in labels
    }
    for direction in directions:
        look = DIRECTION_LOOKS[direction]
        for row in table[table["direction"] == direction].to_dict("records"):
            y = labels.index(row["compression"]) + asides[row["compression"]][direction]
            name = DIRECTION_NAMES[direction]
            _interval(left, (row["shift"], row["shift_low"], row["shift_high"]), y, look, name)
            if not np.isnan(row["difference"]):
                _interval(right, (row["difference"], row["ci_low"], row["ci_high"]), y, look)
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
    _legend(fig)
    return fig, (
        "Mean shift of the margin to the side that was trained, against the equally compressed "
        f"model before training: {'; '.join(words)}."
    )
