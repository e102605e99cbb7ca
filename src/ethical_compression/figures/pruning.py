"""Figures of Part I: bias AUCs of communities, by depth and beside all posts."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ethical_compression.figures.forms import (
    LOOKS,
    WIDTH,
    category_bands,
    dodged,
    grid_of,
    legend_above,
    looks,
    lying_interval,
    standing_intervals,
    style,
    title_of,
)
from ethical_compression.words import listed, signed

BIAS_LOOKS = {
    "subgroup": LOOKS["GPTQ 4-bit"],
    "bpsn": LOOKS["GPTQ 3-bit"],
    "bnsp": ("#009E73", "^"),
}
# How `scores_against` calls the scores of a run: broken, to stand beside a panel.
SCORES = {
    "macro_f1": "Macro F1",
    "subgroup": "Subgroup\n(M₋₅)",
    "bpsn": "BPSN\n(M₋₅)",
    "bnsp": "BNSP\n(M₋₅)",
    "token_f1": "Token F1\n(attention)",
    "comprehensiveness": "Comprehen-\nsiveness",
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
    style()
    metrics = metrics or {"subgroup": "Subgroup", "bpsn": "BPSN", "bnsp": "BNSP"}
    means = means[means["metric"].isin(metrics) & means["auc"].notna()]
    communities = means["community"].unique().tolist()
    depths = sorted(means["depth"].unique(), reverse=True)
    fig, panels = grid_of(communities, height=1.6, sharex=True, sharey=True)
    for community, axes, left, bottom in panels:
        axes.axhline(0.5, color="0.5", ls=":", label="guessing")
        here = means[means["community"] == community]
        asides = [dodged(metrics, here.loc[here["depth"] == depth, "metric"]) for depth in depths]
        for metric, title in metrics.items():
            line = here[here["metric"] == metric].set_index("depth").reindex(depths)
            x = np.array([at + aside.get(metric, 0) for at, aside in enumerate(asides)])
            numbers = line[["auc", "ci_low", "ci_high"]].to_numpy(float).T
            standing_intervals(axes, x, numbers, BIAS_LOOKS[metric], label=title)
            weak = ~line["note"].fillna("").str.startswith("one seed") & line["note"].ne("")
            axes.plot(
                x[weak],
                numbers[0][weak],
                BIAS_LOOKS[metric][1],
                color=BIAS_LOOKS[metric][0],
                mfc="white",
                zorder=5,
            )
        axes.set_title(title_of(community, names))
        axes.grid(False, axis="x")
        axes.set_xticks(range(len(depths)), [f"{depth:g}" for depth in depths])
        category_bands(axes, len(depths))
        axes.locator_params(axis="y", nbins=4)
        if bottom:
            axes.set_xlabel("Layers kept")
        if left:
            axes.set_ylabel("AUC")
    legend_above(fig)

    words = [
        f"{title} {_ends_in_words(means[means['metric'] == metric], names)}"
        for metric, title in metrics.items()
    ]
    alt = (
        f"Bias AUCs of {listed([title_of(c, names) for c in communities])} against the number of "
        f"layers kept, with 95% intervals. {'; '.join(words)}."
    )
    return fig, alt


def _ends_in_words(means: pd.DataFrame, names: Mapping[str, str] | None) -> str:
    """One bias AUC at the most and the fewest layers."""
    most, fewest = means["depth"].max(), means["depth"].min()
    averages = means.groupby("depth")["auc"].mean()
    ends = means[means["depth"].isin([most, fewest])]
    low = ends.loc[ends["auc"].idxmin()]
    return (
        f"is on average {averages[most]:.3f} with {most:g} layers and {averages[fewest]:.3f} with "
        f"{fewest:g}, lowest for {title_of(low['community'], names)} ({low['auc']:.3f}, "
        f"{low['depth']:g} layers)"
    )


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
    style()
    compressions = shifts["compression"].unique().tolist()
    communities = shifts["community"].unique().tolist()
    fig, panels = grid_of(
        compressions,
        height=0.9 + 0.32 * len(communities),
        columns=3,
        more=0.4,
        sharex=True,
        sharey=True,
    )
    words = []
    for compression, axes, *_ in panels:
        here = shifts[shifts["compression"] == compression]
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
        axes.set_title(compression)
        axes.grid(False, axis="y")
        axes.locator_params(axis="x", nbins=4)
        words.append(f"{compression}: overall {signed(overall)}, {_furthest_in_words(here, names)}")
    panels[0].axes.set_yticks(range(len(communities)), [title_of(c, names) for c in communities])
    panels[0].axes.set_ylim(len(communities) - 0.5, -0.5)
    fig.supxlabel(f"Change of {what} from the full model", fontsize=11)
    fig.get_layout_engine().set(wspace=0.06)
    legend_above(fig)
    alt = (
        f"Change of {what} of each community beside the change over all posts, with 95% intervals "
        f"of the difference between the two. {'; '.join(words)}."
    )
    return fig, alt


def _furthest_in_words(shifts: pd.DataFrame, names: Mapping[str, str] | None) -> str:
    if shifts["excess"].isna().all():
        return "no community could be tested"
    far = shifts.loc[shifts["excess"].abs().idxmax()]
    single, holm = int((shifts["p"] < 0.05).sum()), int((shifts["p_holm"] < 0.05).sum())
    return (
        f"furthest from it {title_of(far['community'], names)} (by {signed(far['excess'])}), "
        f"{single} of {int(shifts['p'].notna().sum())} with p < 0.05, {holm} after Holm"
    )


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
        sharex=True,  # the three are read against each other
        sharey=True,
        squeeze=False,
        figsize=(WIDTH, 1.2 + len(communities) * (0.2 + 0.12 * len(models))),
    )
    for metric, axes in zip(metrics, panels[0], strict=True):
        here = table[table["metric"] == metric].dropna(subset=["auc", "ci_low", "ci_high"])
        for community, rows in here.groupby("community"):
            numbers = rows.set_index(by)[["auc", "ci_low", "ci_high"]]
            for model, aside in dodged(models, rows[by]).items():
                y = communities.index(community) + aside
                lying_interval(axes, numbers.loc[model], y, look[model], label=model)
        axes.axvline(0.5, color="0.5", ls=":", lw=1)
        axes.grid(False, axis="y")
        axes.locator_params(axis="x", nbins=4)
        axes.set_xlabel(f"{metrics[metric]} AUC")
        for row in range(1, len(communities)):
            axes.axhline(row - 0.5, color="0.85", lw=0.8)
    panels[0][0].set_yticks(range(len(communities)), communities)
    panels[0][0].set_ylim(len(communities) - 0.5, -0.5)
    legend_above(fig)

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
