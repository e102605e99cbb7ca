"""What a page compares of answers' confidence: significance, ways to count, and length.

`items` is `confidence.per_item` of several compressions, the full model among them; `scores` the
table that it is made of.
"""

import math
from collections.abc import Sequence

import pandas as pd

from ethical_compression import statistics
from ethical_compression.metrics import confidence, reliability

# What of `confidence.calibration_summary` is shown in percent.
PERCENT = ("released", "stated", "ece", "ece_adaptive", "classwise", "gap")
# The study's columns for two benchmarks that have other names here.
PUBLISHED_AS = {"truthfulqa_mc1": "truthfulqa", "xstorycloze_en": "xstory_cloze"}


def summary(items: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """`confidence.summary` with the asterisks of the study: does a paired t-test give p < alpha?

    Columns also `conf_true_significant` and `entropy_significant`, of each test by itself; False
    for the full model.
    """
    table = confidence.summary(items)
    keys = list(zip(table["compression"], table["benchmark"], strict=True))
    for name, value in (("conf_true", "p_true"), ("entropy", "entropy_bits")):
        tests = statistics.paired_table(items, value=value)
        p = tests.set_index(["compression", "benchmark"])["p"]
        table[f"{name}_significant"] = [p.get(key, 1.0) < alpha for key in keys]
    return table


def accuracy_changes(items: pd.DataFrame, tests: pd.DataFrame) -> pd.DataFrame:
    """McNemar's test of right answers for each row of a `paired_table`, beside that row's numbers.

    Adds `accuracy_difference`, `accuracy_ci_low`, `accuracy_ci_high` and `accuracy_p`.
    """
    rows = []
    for row in tests.itertuples():
        sides = statistics.align(items, row.compression, value="correct")
        found = statistics.mcnemar(*(side.loc[[row.benchmark]] for side in sides))
        names = ("difference", "ci_low", "ci_high", "p")
        rows.append({f"accuracy_{name}": getattr(found, name) for name in names})
    return tests.join(pd.DataFrame(rows, tests.index))


def calibration(items: pd.DataFrame) -> pd.DataFrame:
    """`confidence.calibration_summary` with `squared`, the error of `reliability.squared_error`."""
    parts = items.groupby(["compression", "benchmark"], sort=False)
    squared = [reliability.squared_error(part).value for _, part in parts]
    return confidence.calibration_summary(items).assign(squared=squared)


def beside_published(
    measured: pd.DataFrame, published: pd.DataFrame, labels: Sequence[str]
) -> pd.DataFrame:
    """Calibration errors × 100 in the study's columns: published, as released and as stated.

    measured: of `calibration`; published: `model` and a column a benchmark; labels: the models of
    ours, in order. Columns: `model`, `counted`, the published benchmarks, and ours besides.
    """
    known = [name for name in published.columns if name != "model"]
    rows = [published.assign(counted="as published")]
    mine = measured.assign(benchmark=measured["benchmark"].replace(PUBLISHED_AS))
    for counted in ("released", "stated"):
        wide = mine.pivot(index="compression", columns="benchmark", values=counted) * 100
        wide = wide.loc[list(labels)].rename_axis("model").reset_index()
        rows.append(wide.assign(counted=f"ours, as {counted}"))
    table = pd.concat(rows, ignore_index=True)
    first = ["model", "counted", *known]
    return table[[*first, *(name for name in table.columns if name not in first)]]


def both_orders(items: pd.DataFrame) -> list[tuple[str, list[float]]]:
    """Calibration error × 100 of benchmarks of two answers, with these in either order.

    items: of one model. A pair a benchmark: its name, and the error as released, before and after
    the turn, and as stated, before and after.
    """
    two = items[items.groupby("benchmark")["options"].transform("max") == 2]
    found = []
    for benchmark, side in two.groupby("benchmark", sort=False):
        turned = side.assign(
            gold=1 - side["gold"], probabilities=[pair[::-1] for pair in side["probabilities"]]
        )
        numbers = [
            100 * confidence.benchmark_calibration(table, counted)
            for counted in ("released", "stated")
            for table in (side, turned)
        ]
        found.append((benchmark, numbers))
    return found


def with_lengths(scores: pd.DataFrame) -> pd.DataFrame:
    """Items of one model under every normalisation, with `length`, the options' mean tokens."""
    length = scores.groupby(["benchmark", "item"], sort=False)["tokens"].mean().rename("length")
    parts = [
        confidence.per_item(scores, how)
        .assign(normalisation=how)
        .join(length, on=["benchmark", "item"])
        for how in confidence.NORMALISATIONS
    ]
    return pd.concat(parts, ignore_index=True)


def by_normalisation(items: pd.DataFrame) -> pd.DataFrame:
    """Overconfidence under each normalisation, in percent and points: a row each.

    items: of `with_lengths`. Columns: `normalisation`, `conf`, `accuracy`, `gap` with Student's
    `ci_low` and `ci_high`, and `rho`, Spearman's correlation of confidence with length within
    benchmarks (where all items have about as many options), the mean over them.
    """
    rows = []
    for how, side in items.groupby("normalisation", sort=False):
        gap, low, high = statistics.mean_interval(100 * (side["confidence"] - side["correct"]))
        pairs = side.groupby("benchmark")[["confidence", "length"]]
        ranks = [part.corr("spearman").iloc[0, 1] for _, part in pairs]
        row = {"normalisation": how, "conf": 100 * side["confidence"].mean()}
        row |= {"accuracy": 100 * side["correct"].mean(), "gap": gap}
        rows.append(row | {"ci_low": low, "ci_high": high, "rho": sum(ranks) / len(ranks)})
    return pd.DataFrame(rows)


def changes_by_normalisation(scores: pd.DataFrame) -> pd.DataFrame:
    """`paired_table` of all benchmarks together under each `normalised`; Holm over the rows."""
    rows = []
    for how in confidence.NORMALISATIONS:
        items = confidence.per_item(scores, how)
        items = items.assign(item=items["benchmark"] + " " + items["item"], benchmark="all")
        rows.append(statistics.paired_table(items).assign(normalised=how))
    table = pd.concat(rows, ignore_index=True)
    return table.assign(p_holm=statistics.holm(table["p"]))


def moves(items: pd.DataFrame, windows: pd.DataFrame) -> pd.DataFrame:
    """What each compression of one model moves, whichever way: a row each.

    items: of that model; windows: of the text it read (`score_text`), with `compression`. Columns:
    `compression`; `ratio`, its perplexity ÷ the full model's; `moved`, the mean over questions of
    how far the probability of the right answer moved, without sign; `turned`, the share of
    questions with another choice. The last two are NaN where the questions were not asked.
    """
    read = windows.drop_duplicates(["compression", "window"]).groupby("compression", sort=False)
    loss = -read["logprob"].sum() / read["tokens"].sum()
    asked = set(items["compression"])
    rows = []
    for name, change in (loss - loss["full"]).drop("full").items():
        row = {"compression": name, "ratio": math.exp(change)}
        if name in asked:
            p, choice = (
                statistics.align(items, name, value=value) for value in ("p_true", "predicted")
            )
            row["moved"] = (p[1] - p[0]).abs().mean()
            row["turned"] = (choice[1] != choice[0]).mean()
        rows.append(row)
    return pd.DataFrame(rows, columns=["compression", "ratio", "moved", "turned"])
