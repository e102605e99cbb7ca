"""How good is a classifier over all posts, and how it explains itself: a row a trained run.

What it does to single communities is in `bias_auc`, what its explanations are worth in
`plausibility`.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from ethical_compression.errors import InputError
from ethical_compression.metrics.bias_auc import ALL, LEAST, aggregate
from ethical_compression.metrics.confidence import calibration_error
from ethical_compression.metrics.plausibility import plausibility_summary
from ethical_compression.statistics import (
    benjamini_hochberg,
    holm,
    minimum_detectable,
    n_for_power,
    paired_test,
    tost,
)

# The columns that tell one trained classifier from another (`train.classifier_runs.predictions`).
RUN = [
    "model",
    "depth",
    "layers",
    "position",
    "method",
    "parameters",
    "supervision",
    "strength",
    "seed",
]
UNSUPERVISED = "none, λ = 0"
EXPLAINED = ["token_f1", "auprc", "base_rate", "comprehensiveness", "sufficiency"]
# What `by_run` adds to the names of plausibility's columns, by explainer.
ENDINGS = {"gradient × input": "_gradient", "attention to word pieces": "_pieces"}


def macro_f1(predicted, gold, classes: int) -> float:
    """Mean over classes of F1 = 2·TP ÷ (2·TP + FP + FN); 0 for a class with none of the three.

    predicted, gold: (n,) class indices.
    """
    from sklearn.metrics import f1_score

    labels = list(range(classes))
    return float(f1_score(gold, predicted, labels=labels, average="macro", zero_division=0))


def overall(predictions: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """A row per run: the columns `RUN`, `n`, `accuracy`, `macro_f1`, `calibration_error`.

    predictions: from `train.classifier_runs.predictions`, of classes `labels`, in their order. A
    post's class is the most probable one, the first of equals. The calibration error is that of its
    probability in 15 equal parts of [0, 1]. Raises InputError for a missing column.
    """
    columns = [f"p_{label}" for label in labels]
    if missing := [c for c in [*RUN, *columns, "gold"] if c not in predictions.columns]:
        raise InputError(f"The predictions lack the column(s) {', '.join(missing)}.")
    rows = []
    for names, part in predictions.groupby(RUN, sort=False, dropna=False):
        p, gold = part[columns].to_numpy(), part["gold"].to_numpy()
        predicted = p.argmax(1)
        rows.append(
            dict(zip(RUN, names, strict=True))
            | {"n": len(part), "accuracy": float((predicted == gold).mean())}
            | {"macro_f1": macro_f1(predicted, gold, len(labels))}
            | {"calibration_error": calibration_error(p.max(1), predicted == gold)}
        )
    return pd.DataFrame(rows)


def explained(explanations: pd.DataFrame) -> pd.DataFrame:
    """A row per run and explainer: means over posts of `EXPLAINED`, `iou_f1` and `iou_f1_singles`.

    explanations: from `train.classifier_runs.explanations`. Both IOU F1 are those of the posts'
    mean span precision and recall, as in ERASER (`plausibility.plausibility_summary`).
    """
    by = [*RUN, "explainer"]
    spans = ["iou_f1", "iou_f1_singles"]
    means = explanations.groupby(by, sort=False)[EXPLAINED].mean().reset_index()
    return means.merge(plausibility_summary(explanations, by)[[*by, *spans]], on=by)


def by_run(
    scores: pd.DataFrame, bias: pd.DataFrame, explained: pd.DataFrame | None = None
) -> pd.DataFrame:
    """A row a run: scores over all posts, means of the AUCs over communities, and explanations.

    scores: from `overall`; bias: from `bias_auc.by_run`, by `RUN`, of the same runs; explained:
    from the function of that name. Adds a column a metric, its generalised mean
    (`bias_auc.aggregate`), the scores of attention, and with the `ENDINGS` the plausibility of the
    other explainers that are there; and `compression`, `setting` and `way` in words.
    """
    means = aggregate(bias, RUN).pivot(index=RUN, columns="metric", values="auc").reset_index()
    wide = scores.merge(means, on=RUN)
    if explained is not None:
        explainer = dict(iter(explained.groupby("explainer")))
        wide = wide.merge(explainer["attention"], on=RUN)
        plausible = [one for one in ("token_f1", "iou_f1_singles") if one in explained]
        for name, ending in ENDINGS.items():
            if name in explainer:
                other = explainer[name][[*RUN, *plausible]]
                wide = wide.merge(other, on=RUN, suffixes=("", ending))
    return wide.assign(compression=compression(wide), setting=supervision(wide), way=way(wide))


def averages(
    wide: pd.DataFrame, scores: Sequence[str], by: Sequence[str] = ("compression",)
) -> pd.DataFrame:
    """Means over seeds: a row a value of `by`, `runs`, `size` and the means of `scores`.

    size: the parameters left, as a share of the most that a row has.
    """
    grouped = wide.groupby(list(by), sort=False)
    found = grouped[["parameters", *scores]].mean()
    found.insert(0, "runs", grouped.size())
    found.insert(1, "size", found.pop("parameters") / wide["parameters"].max())
    return found.reset_index()


def near_half(predictions: pd.DataFrame, *, within: float = 0.05) -> pd.DataFrame:
    """A row per run: the columns `RUN` and `share`, of posts with a toxic score near one half.

    predictions: from `train.classifier_runs.predictions`; within: at most so far from one half.
    Where most scores lie there, a shift of all of them by a few hundredths decides most labels.
    """
    near = (predictions["toxic_score"] - 0.5).abs() <= within
    shares = predictions[RUN].assign(share=near).groupby(RUN, sort=False, dropna=False)
    return shares.mean().reset_index()


def disagreement(one: pd.DataFrame, other: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """How far two ways of training differ post by post: a row per seed that both have.

    one, other: from `train.classifier_runs.predictions`, one run a seed each. Columns: `seed`,
    `posts`, `relabelled` (share of posts whose most probable class differs), `moved` (mean absolute
    difference of the toxic score). Raises InputError where they share no seed and post.
    """
    columns = [f"p_{label}" for label in labels]
    both = one.merge(other, on=["seed", "id"], suffixes=("", "_other"), validate="one_to_one")
    if both.empty:
        raise InputError("The two tables share no seed and post: score the same posts in both.")
    classes = both[columns].to_numpy().argmax(1)
    others = both[[f"{column}_other" for column in columns]].to_numpy().argmax(1)
    by_post = pd.DataFrame(
        {
            "seed": both["seed"],
            "relabelled": classes != others,
            "moved": (both["toxic_score"] - both["toxic_score_other"]).abs(),
        }
    )
    found = by_post.groupby("seed").mean().reset_index()
    found.insert(1, "posts", by_post.groupby("seed").size().to_numpy())
    return found


def reseeded(predictions: pd.DataFrame) -> pd.DataFrame:
    """`predictions` with every seed named as the next one is, the last as the first.

    What `disagreement` then finds between the two is what another seed alone changes.
    """
    seeds = predictions["seed"].unique()
    return predictions.assign(
        seed=predictions["seed"].map(dict(zip(seeds, np.roll(seeds, -1), strict=True)))
    )


def compression(table: pd.DataFrame) -> pd.Series:
    """What was done to each run in words: "full", "3 layers, upper removed", "Wanda, as 3 layers".

    table: with the columns `RUN`.
    """

    names = [label(row.method, row.depth, row.position) for row in table.itertuples()]
    return pd.Series(names, index=table.index, dtype=object)


def label(method: str, depth: int | None, position: str) -> str:
    """What was done to one run in words, as `compression` has it."""
    if method == "full":
        return "full"
    if method == "layers":
        return f"{depth} layers, {position} removed"
    return f"{method.capitalize()}, as {depth} layers"


def layers_left(table: pd.DataFrame) -> pd.Series:
    """How many layers each run has left: "full", or "3 of 6 layers"."""
    words = table["depth"].astype(str) + " of " + table["layers"].astype(str) + " layers"
    return words.where(table["method"] != "full", "full")


def way(table: pd.DataFrame) -> pd.Series:
    """How each run was made smaller, whatever its size: "full", "Wanda", "upper layers removed"."""
    names = {"full": "full", "magnitude": "Magnitude", "wanda": "Wanda"}
    return table["method"].map(names).fillna(table["position"] + " layers removed")


def supervision(table: pd.DataFrame) -> pd.Series:
    """How attention was supervised in words: `UNSUPERVISED`, or "published, λ = 0.1"."""
    words = table["supervision"] + table["strength"].map(", λ = {:g}".format)
    return words.where(table["strength"] > 0, UNSUPERVISED)


def changes(
    scores: pd.DataFrame,
    value: str,
    *,
    by: str = "compression",
    full: str = "full",
    margin: float | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """How training seeds answer to a compression: a row per other value of `by`, paired by seed.

    scores: one row per `by` and `seed`, with the column `value`. Columns: `by`, `seeds`,
    `mean_full`, `mean_compressed`, `difference` with `ci_low` and `ci_high`, `d_z`, `p`, `p_holm`
    (over all rows that have a p), `detectable` (the smallest change that these seeds find at 80%
    power); with a margin `p_tost`, `p_tost_holm` (over the same rows) and `seeds_needed` (to find
    a change of the margin at 80% power); and `note`, where there is no test.
    The posts are the same for all seeds: these tests speak of new seeds, not of new posts.
    Raises InputError where `full` is missing or a seed is there twice.
    """
    if scores.duplicated([by, "seed"]).any():
        raise InputError(f"A seed is there twice for one {by}: keep one run of each.")
    wide = scores.pivot(index="seed", columns=by, values=value)
    if full not in wide:
        raise InputError(f"The table has no {by} {full!r} to compare with.")
    rows = []
    for name in [one for one in scores[by].unique() if one != full]:
        both = wide[[full, name]].dropna()
        row = {by: name, "seeds": len(both), "p": np.nan, "note": ""}
        row |= {"mean_full": both[full].mean(), "mean_compressed": both[name].mean()}
        row["difference"] = row["mean_compressed"] - row["mean_full"]
        try:
            test = paired_test(both[full], both[name], level=level)
            row |= {"ci_low": test.ci_low, "ci_high": test.ci_high, "d_z": test.d_z, "p": test.p}
            row["detectable"] = minimum_detectable(test.se, test.n - 1)
            if margin is not None:
                row["p_tost"] = tost(both[full], both[name], margin).p
                if test.se > 0:
                    row["seeds_needed"] = n_for_power(margin / (test.se * test.n**0.5))
        except InputError as error:
            row["note"] = str(error)
        rows.append(row)
    columns = ["mean_full", "mean_compressed", "difference", "ci_low", "ci_high", "d_z", "p"]
    more = ["detectable", *(["p_tost", "seeds_needed"] if margin is not None else [])]
    table = pd.DataFrame(rows).reindex(columns=[by, "seeds", *columns, *more, "note"])
    tested = table["p"].notna()
    for p in [one for one in ("p", "p_tost") if one in table.columns]:
        table.insert(table.columns.get_loc(p) + 1, f"{p}_holm", np.nan)
        table.loc[tested, f"{p}_holm"] = holm(table.loc[tested, p])
    return table


def changes_of(scores: pd.DataFrame, values: Iterable[str], **options) -> dict[str, pd.DataFrame]:
    """{value: `changes`} of several scores, each with Holm's correction of its own."""
    return {value: changes(scores, value, **options) for value in values}


def stacked(found: Mapping[str, pd.DataFrame], titles: Mapping[str, str]) -> pd.DataFrame:
    """The tables of `changes_of`, one under the other, the column `score` with their titles."""
    tables = [table.assign(score=titles[value]) for value, table in found.items()]
    return pd.concat(tables, ignore_index=True)


def retrained(
    one: pd.DataFrame, other: pd.DataFrame, labels: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """What another training does to single posts, beside what another seed does (`disagreement`).

    one, other: predictions of the two trainings, one run a seed each. Keys: "weights" (the other
    training) and "seed".
    """
    return {
        "weights": disagreement(one, other, labels),
        "seed": disagreement(one, reseeded(one), labels),
    }


def reweighted(
    by_train: pd.DataFrame, by_test: pd.DataFrame, value: str, margin: float
) -> pd.Series:
    """The row of `changes` from classes weighted by the training posts to weighted by the test's.

    by_train, by_test: a row a run, with `seed` and the column `value`.
    """
    both = pd.concat([by_train.assign(weights="train"), by_test.assign(weights="test")])
    return changes(both, value, by="weights", full="train", margin=margin).iloc[0]


def by_community(
    bias: pd.DataFrame,
    *,
    full: str = "full",
    margin: float,
    least: int = LEAST,
) -> pd.DataFrame:
    """`changes` of every community's bias AUCs: a row per community, metric and compression.

    bias: from `bias_auc.by_run`, with the columns `compression` and `seed`. The columns of
    `changes` with `community` and `metric` in front and `p_bh` (Benjamini–Hochberg) behind; the
    corrections count all rows. Left out are communities without `least` posts of either kind for a
    metric: a handful of posts decides nothing, however many seeds score them.
    """
    enough = bias["auc"].notna() & (bias[["positives", "negatives"]].min(axis=1) >= least)
    named = (bias["community"] != ALL) & (bias["metric"] != "background")
    rows = [
        changes(part, "auc", full=full, margin=margin).assign(community=community, metric=metric)
        for (community, metric), part in bias[named & enough].groupby(
            ["community", "metric"], sort=False
        )
    ]
    columns = ["community", "metric"]
    if not rows:
        return pd.DataFrame(columns=[*columns, "compression", "difference", "p", "p_holm", "p_bh"])
    table = pd.concat(rows, ignore_index=True)
    tested = table["p"].notna()
    for name, p, correct in (
        ("p_holm", "p", holm),
        ("p_tost_holm", "p_tost", holm),
        ("p_bh", "p", benjamini_hochberg),
    ):
        table.loc[tested, name] = correct(table.loc[tested, p])
    return table[[*columns, *(name for name in table.columns if name not in columns)]]
