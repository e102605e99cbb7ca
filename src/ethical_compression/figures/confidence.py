"""Figures of Part II: how sure a model is, and how far two models are apart.

Per-item tables are those of `metrics.confidence.per_item`, stacked with a `compression` column.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ethical_compression.figures.forms import (
    WIDTH,
    apart,
    category_bands,
    change_of,
    dodged,
    grid_of,
    in_order,
    legend_above,
    looks,
    lying_interval,
    standing_intervals,
    style,
    title_of,
)
from ethical_compression.metrics.confidence import aurc, equal_count_bins, risk_coverage
from ethical_compression.statistics import align, mean_interval, others, paired_table
from ethical_compression.words import listed, signed

MEASURES = {
    "p_true": "probability of the right answer",
    "confidence": "confidence",
    "entropy_bits": "entropy (bits)",
    "brier": "Brier score",
    "log_score": "log score (nats)",
}


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
    benchmarks, models = in_order(items, full)
    look = looks(models)
    fig, (left, right) = pyplot.subplots(
        1, 2, sharey=True, figsize=(WIDTH, 1.3 + len(benchmarks) * (0.25 + 0.16 * len(models)))
    )
    full_means = {}
    for row, benchmark in enumerate(benchmarks):
        here = items[items["benchmark"] == benchmark]
        if value == "p_true":
            chance = (1 / here.loc[here["compression"] == full, "options"]).mean()
            label = None if row else "guessing"
            left.plot([chance] * 2, [row - 0.45, row + 0.45], color="0.5", ls=":", label=label)
        for model, aside in dodged(models, here["compression"]).items():
            y = row + aside
            numbers = mean_interval(here.loc[here["compression"] == model, value])
            lying_interval(left, numbers, y, look[model], label=model)
            if model == full:
                full_means[benchmark] = numbers
            else:
                found = table[table["compression"] == model].set_index("benchmark").loc[benchmark]
                numbers = found["difference"], found["ci_low"], found["ci_high"]
                lying_interval(right, numbers, y, look[model])
    right.axvline(0, color=look[full][0], lw=1)
    left.set_yticks(range(len(benchmarks)), [title_of(b, names) for b in benchmarks])
    left.set_ylim(len(benchmarks) - 0.5, -0.5)
    for axes in (left, right):
        axes.grid(False, axis="y")
        axes.locator_params(axis="x", nbins=4)
        for row in range(1, len(benchmarks)):
            axes.axhline(row - 0.5, color="0.85", lw=0.8)
    what = MEASURES.get(value, value)
    left.set_xlabel(f"Mean {what}".replace("of the right", "\nof the right"))
    right.set_xlabel(f"Change from {full}\n(paired)")
    legend_above(fig)

    means = "; ".join(f"{title_of(b, names)} {full_means[b][0]:.3f}" for b in benchmarks)
    least, most = (table.loc[i] for i in table["difference"].abs().agg(["idxmin", "idxmax"]))
    zero = int(((table["ci_low"] <= 0) & (table["ci_high"] >= 0)).sum())
    alt = (
        f"Mean {what} of {listed(models)}, with 95% intervals; the model {full} has {means}. "
        f"The largest change from it is {change_of(most, names)}"
        + (f", the smallest {change_of(least, names)}. " if len(table) > 1 else ". ")
        + f"The intervals of {zero} of {len(table)} changes include zero."
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
    style()
    benchmarks, models = in_order(items, full)
    compressed = others(items, full)
    look = looks(models)
    what = MEASURES.get(value, value)
    fig, panels = grid_of(benchmarks, height=2.3, sharey=True)
    points = _changes_by_confidence(items, full, value, again, bins)
    for benchmark, axes, left, bottom in panels:
        axes.axhline(0, color=look[full][0], lw=1)
        here = points[points["benchmark"] == benchmark]
        here = here.assign(bin=here["bin"].rank(method="dense") - 1)  # without those left out
        for model, aside in dodged(compressed, here["compression"]).items():
            line = here[here["compression"] == model]
            standing_intervals(
                axes,
                line["bin"] + aside,
                line[["difference", "ci_low", "ci_high"]].to_numpy().T,
                look[model],
                label=model,
            )
        ticks = here.drop_duplicates("bin").sort_values("bin")
        axes.set_xticks(ticks["bin"], ticks["said"])
        category_bands(axes, len(ticks))
        axes.grid(False, axis="x")
        axes.set_title(title_of(benchmark, names))
        if bottom:
            look_at = "mean of each bin" if again is None else "second look, mean of each bin"
            axes.set_xlabel(f"Confidence of {full}\n({look_at})")
        if left:
            axes.set_ylabel(f"Change in {what}".replace(" of the right", "\nof the right"))
    fig.get_layout_engine().set(hspace=0.08)
    legend_above(fig)

    words = _changes_in_words(points, names)
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


def _changes_by_confidence(
    items: pd.DataFrame, full: str, value: str, again: pd.Series | None, bins: int
) -> pd.DataFrame:
    """A row a compression, benchmark and bin: `at`, the bin's mean confidence, as it is `said`, and
    the mean change."""
    own = items[items["compression"] == full].set_index(["benchmark", "item"])["confidence"]
    points = []
    for model in others(items, full):
        before, after = align(items, model, full=full, value=value)
        own = own.loc[before.index] if again is None else again.loc[before.index]
        for benchmark in items["benchmark"].unique():
            x, a, b = own.loc[benchmark], before.loc[benchmark], after.loc[benchmark]
            where = equal_count_bins(x, bins)
            for index in np.unique(where):
                inside = where == index
                if inside.sum() > 1:
                    at = float(x[inside].mean())
                    change = mean_interval(b[inside] - a[inside])
                    points.append((model, benchmark, index, at, *change))
    fields = ["compression", "benchmark", "bin", "at", "difference", "ci_low", "ci_high"]
    points = pd.DataFrame(points, columns=fields)
    return points.assign(said=points.groupby("benchmark")["at"].transform(apart))


def _changes_in_words(points: pd.DataFrame, names: Mapping[str, str] | None) -> list[str]:
    words = []
    for model, line in points.groupby("compression", sort=False):
        ends = (line.loc[line["difference"].agg(end)] for end in ("idxmin", "idxmax"))
        low, high = (
            f"{signed(end['difference'])} ({title_of(end['benchmark'], names)}, items of mean "
            f"confidence {end['said']})"
            for end in ends
        )
        words.append(f"{model} between {low} and {high}")
    return words


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
    style()
    benchmarks, models = in_order(items, full)
    look = looks(models)
    fig, panels = grid_of(benchmarks, height=2.3, sharex=True, sharey=True)
    words = []
    for benchmark, axes, left, bottom in panels:
        areas = []
        for number, model in enumerate(models):
            side = items[(items["benchmark"] == benchmark) & (items["compression"] == model)]
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
                label=model,
            )
            areas.append(f"{model} {aurc(side['confidence'], side['correct']):.3f}")
        axes.set_title(title_of(benchmark, names))
        axes.locator_params(axis="both", nbins=5)
        if bottom:
            axes.set_xlabel("Share answered")
        if left:
            axes.set_ylabel("Share wrong")
        words.append(f"{title_of(benchmark, names)}: {', '.join(areas)}")
    # The panels share their axes: a limit set before all are drawn would hold for the first alone.
    panels[0].axes.set(xlim=(0, 1.03), ylim=(0, None))
    legend_above(fig)
    alt = (
        f"Share of wrong answers against the share of items answered, of {listed(models)}, the "
        f"least confident left out first. Area under the curve, less being better, on "
        f"{'; '.join(words)}."
    )
    return fig, alt


def distances(
    table: pd.DataFrame, *, what: str = "options", names: Mapping[str, str] | None = None
):
    """Jensen–Shannon distances from the full model: their spread and their mean, by benchmark.

    table: `compression, benchmark, js_distance`, a row an item or a token. A thin line goes from
    the 5th to the 95th percentile, a thick one covers the middle half, the marker is the mean.
    what: over what the distributions are. `names` maps benchmarks to printed titles.
    """
    from matplotlib import pyplot

    style()
    benchmarks, models = (table[one].unique().tolist() for one in ("benchmark", "compression"))
    look = looks(models)
    fig, axes = pyplot.subplots(figsize=(WIDTH, 1.2 + len(benchmarks) * (0.25 + 0.2 * len(models))))
    words = []
    for row, benchmark in enumerate(benchmarks):
        here = table[table["benchmark"] == benchmark]
        for model, aside in dodged(models, here["compression"]).items():
            values = here.loc[here["compression"] == model, "js_distance"]
            low, first, third, high = values.quantile([0.05, 0.25, 0.75, 0.95])
            y = row + aside
            colour, marker = look[model]
            axes.plot([low, high], [y, y], color=colour, lw=1)
            axes.plot([first, third], [y, y], color=colour, lw=4, alpha=0.5, solid_capstyle="butt")
            axes.plot(values.mean(), y, color=colour, marker=marker, ls="", label=model)
            words.append(
                f"{model} on {title_of(benchmark, names)} mean {values.mean():.3f}, nine in ten "
                f"between {low:.3f} and {high:.3f}"
            )
    axes.set_yticks(range(len(benchmarks)), [title_of(b, names) for b in benchmarks])
    axes.set_ylim(len(benchmarks) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.grid(False, axis="y")
    axes.set_xlabel(f"Jensen–Shannon distance from full, over {what}")
    legend_above(fig)
    return fig, f"Jensen–Shannon distance from the full model, over {what}: {'; '.join(words)}."


def distance_by_size(table: pd.DataFrame, *, names: Mapping[str, str] | None = None):
    """Mean Jensen–Shannon distance from each full model against its size, a panel per benchmark.

    table: `model`, `parameters` (of the full model), `compression`, `benchmark`, `item`,
    `js_distance`. A point a base model: means with their 95% t intervals over items. `names` maps
    benchmarks to titles.
    """
    style()
    benchmarks, models = (table[one].unique().tolist() for one in ("benchmark", "compression"))
    look = looks(models)
    fig, panels = grid_of(benchmarks, height=2.3, sharex=True, sharey=True)
    sizes_of_all = sorted(table["parameters"].unique() / 1e6)
    words = []
    for benchmark, axes, left, bottom in panels:
        here = table[table["benchmark"] == benchmark]
        for model in models:
            # Two base models of one size are two points, not their mean.
            each = here[here["compression"] == model].groupby(["parameters", "model"])
            found = [
                (size / 1e6, *mean_interval(values)) for (size, _), values in each["js_distance"]
            ]
            sizes, *numbers = np.array(found).T
            standing_intervals(
                axes,
                sizes,
                numbers,
                look[model],
                label=model,
            )
            said = ", ".join(f"{mean:.3f} at {size:,.0f} million" for size, mean, *_ in found)
            words.append(f"{model} on {title_of(benchmark, names)} {said}")
        axes.set_xscale("log")
        axes.set_xticks(sizes_of_all, [f"{size:,.0f}" for size in sizes_of_all])
        axes.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
        axes.set_title(title_of(benchmark, names))
        if bottom:
            axes.set_xlabel("Parameters (million)")
        if left:
            axes.set_ylabel("Mean distance\nfrom full")
    legend_above(fig)
    return fig, f"Mean Jensen–Shannon distance by model size: {'; '.join(words)} parameters."
