"""The kept run of classifiers on HateXplain, as the chapters on hate speech read it.

`results/hatexplain_minilm.py` made it: three classes, ten communities, and
rationales that people marked.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ethical_compression import kept_tables
from ethical_compression.metrics import classification
from ethical_compression.metrics.bias_auc import aggregate
from ethical_compression.statistics import uniformity

# The encoders of the published table that have as many layers as ours.
LAYERS = 6


@dataclass(frozen=True)
class Kept:
    """The run. Tables hold a row a run with the columns `classification.RUN` and `compression`.

    `bias`: from `bias_auc.by_run`, for each `background`; `scores`: from `classification.overall`;
    `explanations`: from `classification.explained`; `weighted`: the scores of the shallowest
    encoders, trained with the class weights of the test posts; `disagreement`: as
    `classification.retrained`; `made`: its provenance (`kept_tables.larger`).
    """

    bias: pd.DataFrame
    scores: pd.DataFrame
    explanations: pd.DataFrame
    weighted: pd.DataFrame
    disagreement: dict[str, pd.DataFrame]
    made: dict[str, Any]

    @property
    def depth(self) -> int:
        """Layers of the shallowest encoders."""
        return int(self.bias["depth"].min())

    @property
    def layers(self) -> int:
        """Layers of the full encoder."""
        return int(self.bias["layers"].max())

    @property
    def seeds(self) -> int:
        """Runs of every setting."""
        return self.bias["seed"].nunique()


def hatexplain(*, supervised: bool | None = None) -> Kept:
    """The kept run; supervised: only runs whose attention was (not) supervised, None for all.

    Raises InputError outside a copy of the repository (`kept_tables.larger`).
    """
    bias, made = kept_tables.larger("hatexplain_minilm")
    scores = made["scores"]
    tables = [bias, *(pd.DataFrame(scores[name]) for name in ("overall", "explanations"))]
    for place, table in enumerate(tables):
        table["compression"] = classification.compression(table)
        if supervised is not None:
            tables[place] = table[(table["supervision"] != "none") == supervised]
    return Kept(
        *tables,
        weighted=pd.DataFrame(scores["weighted_by_test"]),
        disagreement={k: pd.DataFrame(rows) for k, rows in scores["disagreement"].items()},
        made={key: value for key, value in made.items() if key != "scores"},
    )


def by_background(kept: Kept) -> pd.DataFrame:
    """Means over seeds: a row a compression and background, the AUCs' means over communities.

    Columns: `compression`, `background`, `runs`, `macro_f1`, `calibration_error`, a column a
    metric (`bias_auc.aggregate`).
    """
    parts = [
        aggregate(part, classification.RUN).assign(background=background)
        for background, part in kept.bias.groupby("background", sort=False)
    ]
    means = pd.concat(parts, ignore_index=True)
    means["compression"] = classification.compression(means)
    means = means[means["metric"] != "background"]  # the name of a metric, too
    keys = ["compression", "background"]
    wide = means.pivot_table(index=keys, columns="metric", values="auc", sort=False)
    wide.insert(0, "runs", means.groupby(keys, sort=False)["seed"].nunique())
    overall = kept.scores.groupby("compression", sort=False)[["macro_f1", "calibration_error"]]
    table = wide.reset_index().merge(overall.mean().reset_index(), on="compression", how="left")
    return table.sort_values("background", kind="stable")


def beside_published(
    kept: Kept, published: pd.DataFrame, metrics: tuple[str, ...] = ("subgroup", "bpsn", "bnsp")
) -> pd.DataFrame:
    """Our run on HateXplain and the published six-layer encoders in one table, in percent.

    kept: unsupervised runs; published: `kept_tables.published("ida2023_layers")`. Columns: `model`,
    `layers`, `f1` and `token_f1` with standard deviations over seeds (`_sd`), and by each metric in
    how many communities the shift differs from that over all posts ("2 of 8": Welch's test by
    seeds, p < 0.05, uncorrected as published).
    """
    bias = kept.bias[kept.bias["background"] == "all"]
    attention = kept.explanations[kept.explanations["explainer"] == "attention"]
    means = {
        name: 100 * table.groupby("compression", sort=False)[column].agg(["mean", "std"])
        for name, table, column in (
            ("f1", kept.scores, "macro_f1"),
            ("token_f1", attention, "token_f1"),
        )
    }
    counted = uniformity.counts(uniformity.shift_tables(bias, metrics), ["metric", "compression"])
    cells = counted["significant"].astype(str) + " of " + counted["tested"].astype(str)
    cells = cells.set_axis(pd.MultiIndex.from_frame(counted[["metric", "compression"]]))
    depths = kept.scores.drop_duplicates("compression").set_index("compression")["depth"]
    ours = [
        {"model": f"{kept.made['model']['name']} (here)", "layers": f"{depth} of {kept.layers}"}
        | {name: table.loc[compression, "mean"] for name, table in means.items()}
        | {f"{name}_sd": table.loc[compression, "std"] for name, table in means.items()}
        | {metric: cells.get((metric, compression)) for metric in metrics}
        for compression, depth in depths.items()
    ]
    theirs = [
        {"model": f"{row['model']} (published)"}
        | {"layers": f"{row['layers_kept']} of {row['layers_total']}"}
        | {name: row[name] for name in ("f1", "f1_sd", "token_f1", "token_f1_sd")}
        | {metric: _of_ten(row[f"significant_{metric}"]) for metric in metrics}
        for row in published[published["layers_total"] == LAYERS].to_dict("records")
    ]
    return pd.DataFrame(ours + theirs)


def _of_ten(count: float) -> str | None:
    return None if np.isnan(count) else f"{count:.0f} of 10"
