"""How sure a model is of its answers, and whether it deserves to be.

The measures of Proskurina et al. 2024 (*When Quantization Affects Confidence of Large Language
Models?*): a model's probability for each option of a multiple-choice item is the softmax, over the
options, of their log-likelihoods. From a scores table (one row per item and option) come
per-item records, and from those a summary per benchmark.
"""

import numpy as np
import pandas as pd

from ethical_compression.errors import InputError
from ethical_compression.statistics.intervals import wilson

NORMALISATIONS = {"none": None, "token": "tokens", "byte": "bytes"}
DEFINITIONS = ("stated", "released")


def option_probabilities(scores: pd.DataFrame, normalisation: str = "none") -> pd.DataFrame:
    """The scores table, sorted by option within each item, with `p` and `log_p` (natural) added.

    `p` is the softmax over an item's options of `logprob` divided by nothing ("none", what the
    paper does: long options get extreme probabilities), by the option's tokens ("token") or by its
    UTF-8 bytes ("byte"). Columns `model` and `compression`, where they are, keep models apart.

    Raises InputError for an unknown normalisation, a missing column, a log-likelihood that is not
    finite, options that are missing or given twice, one-option items, and a gold answer that is
    out of range or differs between the rows of one item.
    """
    if normalisation not in NORMALISATIONS:
        known = ", ".join(NORMALISATIONS)
        raise InputError(f"Unknown normalisation {normalisation!r}; choose one of {known}.")
    divisor = NORMALISATIONS[normalisation]
    needed = ["benchmark", "item", "option", "gold", "logprob", *filter(None, [divisor])]
    if missing := [name for name in needed if name not in scores.columns]:
        raise InputError(f"The scores table lacks the column(s) {', '.join(missing)}.")
    if scores.empty:
        raise InputError("The scores table has no rows; score at least one item.")

    # Items stay in their order of appearance; options are put in theirs.
    keys = _keys(scores)
    order = scores.groupby(keys, sort=False, dropna=False).ngroup()
    table = scores.assign(_item=order).sort_values(["_item", "option"], kind="stable")
    table = table.reset_index(drop=True)
    item = table.groupby("_item")
    count = item["option"].transform("size")

    _refuse(
        ~np.isfinite(table["logprob"].astype(float)),
        table,
        "has a log-likelihood that is not a finite number; check the model's weights and dtype",
    )
    _refuse(
        table["option"] != item.cumcount(),
        table,
        "has options that are missing or given twice; each option 0, 1, … needs exactly one row",
    )
    _refuse(count < 2, table, "has a single option; leave out items that offer no choice")
    _refuse(
        ~table["gold"].isin(range(int(count.max()))) | (table["gold"] >= count),
        table,
        "has a gold answer that is none of its options; options are numbered from 0",
    )
    _refuse(
        item["gold"].transform("nunique") != 1, table, "has rows that disagree on the gold answer"
    )

    logit = table["logprob"].astype(float)
    if divisor:
        _refuse(
            ~(table[divisor] > 0),
            table,
            f"has an option of no {divisor}, so its score cannot be divided by them",
        )
        logit = logit / table[divisor]
    shifted = logit - logit.groupby(table["_item"]).transform("max")
    total = np.exp(shifted).groupby(table["_item"]).transform("sum")
    log_p = shifted - np.log(total)
    return table.assign(p=np.exp(log_p), log_p=log_p).drop(columns="_item")


def per_item(scores: pd.DataFrame, normalisation: str = "none") -> pd.DataFrame:
    """One row per item (and `model` and `compression`, where the scores have them), in order of
    appearance.

    Columns: `benchmark`, `item`, `gold`, `predicted` (the most probable option; of several equally
    probable ones the first), `correct`, `confidence` (the largest p), `p_true` (p of the gold
    option), `entropy_bits` (of p, between 0 and log2 of the number of options), `margin` (largest
    minus second largest p), `brier` (Σ_k (p_k − [gold = k])², in [0, 2]), `log_score` (−ln p of the
    gold option, nats: finite even where that p is too small for a float), `options` (how many) and
    `probabilities` (a tuple, in option order).

    Raises InputError as `option_probabilities` does.
    """
    table = option_probabilities(scores, normalisation)
    keys = _keys(table)
    start = np.flatnonzero(table["option"].to_numpy() == 0)
    groups = np.split(table["p"].to_numpy(), start[1:])
    items = table.loc[start, [*keys, "gold"]].reset_index(drop=True)
    items["gold"] = items["gold"].astype(int)
    items["predicted"] = [int(p.argmax()) for p in groups]
    items["correct"] = items["predicted"] == items["gold"]
    items["confidence"] = [p.max() for p in groups]
    items["p_true"] = [p[gold] for p, gold in zip(groups, items["gold"], strict=True)]
    # log_p stays finite where p underflows to zero, so 0 · log 0 is 0 here and never NaN.
    bits = np.add.reduceat((-table["p"] * table["log_p"]).to_numpy(), start) / np.log(2)
    items["entropy_bits"] = bits + 0.0  # no negative zero
    items["margin"] = [float(np.subtract(*np.sort(p)[:-3:-1])) for p in groups]
    items["brier"] = [
        float(p @ p - 2 * p[gold] + 1) for p, gold in zip(groups, items["gold"], strict=True)
    ]
    items["log_score"] = 0.0 - table["log_p"].to_numpy()[start + items["gold"]]
    items["options"] = [len(p) for p in groups]
    items["probabilities"] = [tuple(p.tolist()) for p in groups]
    return items


def summary(items: pd.DataFrame, definition: str = "stated") -> pd.DataFrame:
    """Per benchmark (and model, and compression): `n`, then percentages as the paper's tables print
    them.

    `accuracy`; `conf`, the mean confidence; `conf_err`, the mean confidence of wrong answers (NaN
    where none is wrong); `conf_true`, the mean probability of the gold option; `entropy`, the mean
    entropy in bits ×100; `calibration_error` ×100 by the paper's rule (`benchmark_calibration`,
    which `definition` is for).
    """
    keys = [key for key in ("model", "compression", "benchmark") if key in items.columns]
    rows = []
    for values, group in items.groupby(keys, sort=False):
        rows.append(
            dict(zip(keys, values, strict=True))
            | {
                "n": len(group),
                "accuracy": 100 * group["correct"].mean(),
                "conf": 100 * group["confidence"].mean(),
                "conf_err": 100 * group.loc[~group["correct"], "confidence"].mean(),
                "conf_true": 100 * group["p_true"].mean(),
                "entropy": 100 * group["entropy_bits"].mean(),
                "calibration_error": 100 * benchmark_calibration(group, definition),
            }
        )
    return pd.DataFrame(rows)


def calibration_summary(items: pd.DataFrame) -> pd.DataFrame:
    """Per benchmark (and model, and compression), in [0, 1] unless said otherwise: what calibration
    can mean.

    `n`; `gap`, mean confidence − share right (its sign says over- or underconfident); `ece`, of the
    chosen option's confidence in 15 bins; `ece_adaptive`, the same in 15 bins of equal counts;
    `ace` and `classwise`, over the options by their position; `brier` in [0, 2] and `log_score` in
    nats, which are proper: only honest probabilities minimise them; `aurc`, the mean share wrong
    over all ways to leave the least confident items out; `stated` and `released`, the paper's
    number by either definition of `benchmark_calibration`.
    """
    keys = [key for key in ("model", "compression", "benchmark") if key in items.columns]
    rows = []
    for values, group in items.groupby(keys, sort=False):
        sure, right = group["confidence"], group["correct"]
        matrix, gold = probability_matrix(group), group["gold"]
        rows.append(
            dict(zip(keys, values, strict=True))
            | {
                "n": len(group),
                "gap": sure.mean() - right.mean(),
                "ece": calibration_error(sure, right),
                "ece_adaptive": calibration_error(sure, right, scheme="count"),
                "ace": adaptive_calibration_error(matrix, gold),
                "classwise": classwise_calibration_error(matrix, gold),
                "brier": group["brier"].mean(),
                "log_score": group["log_score"].mean(),
                "aurc": aurc(sure, right),
                "stated": benchmark_calibration(group),
                "released": benchmark_calibration(group, "released"),
            }
        )
    return pd.DataFrame(rows)


def benchmark_calibration(items: pd.DataFrame, definition: str = "stated") -> float:
    """The calibration error that the paper reports for one benchmark's items, in [0, 1].

    definition: "stated", as the paper words it. More than two options:
    `adaptive_calibration_error` with 15 ranges; two: a 100-bin ECE. So numbers of two-option and
    many-option benchmarks are not on one scale. "released", as the released code counts:
    `released_calibration_error`; NaN for fewer than 15 items with more than two options.
    Raises InputError for another definition.
    """
    if definition not in DEFINITIONS:
        raise InputError(
            f"Unknown definition {definition!r}; choose one of {', '.join(DEFINITIONS)}."
        )
    if definition == "released":
        return released_calibration_error(probability_matrix(items), items["gold"])
    if items["options"].max() == 2:
        return calibration_error(items["confidence"], items["correct"], bins=100)
    return adaptive_calibration_error(probability_matrix(items), items["gold"])


def probability_matrix(items: pd.DataFrame) -> np.ndarray:
    """Probabilities as (items, most options); NaN where an item has fewer options."""
    return pd.DataFrame(items["probabilities"].tolist()).to_numpy(dtype=float)


def calibration_error(confidence, correct, bins: int = 15, scheme: str = "width") -> float:
    """Expected calibration error (Naeini et al. 2015; Guo et al. 2017, eq. 3), in [0, 1].

    The mean over bins, weighted by their counts, of |accuracy − mean confidence|. It depends on
    the bins and is biased upwards in small samples: compare it at equal `n`, `bins` and `scheme`
    only. `confidence`, `correct`: (n,), each in [0, 1]. For `scheme` see `reliability`.
    """
    confidence, correct, index = _binned(confidence, correct, bins, scheme)
    return float(np.abs(np.bincount(index, correct - confidence)).sum() / len(index))


def adaptive_calibration_error(probabilities, gold, ranges: int = 15) -> float:
    """Adaptive calibration error (Nixon et al. 2019, eq. 3), in [0, 1].

    For every class k, items are cut by p_k into `ranges` ranges of equal count; the mean over
    classes and ranges of |share of items whose gold is k − mean p_k|. `probabilities`: (n, K), NaN
    where an item lacks option k (that class then averages over the items that have it); `gold`:
    (n,). With fewer items than ranges each item is its own range, which measures little.
    """
    per_class = []
    for p, hit in _by_class(probabilities, gold):
        p, hit, index = _binned(p, hit, ranges, "count")
        counts = np.bincount(index)
        gaps = np.abs(np.bincount(index, hit - p))[counts > 0] / counts[counts > 0]
        per_class.append(gaps.mean())
    return float(np.mean(per_class))


def classwise_calibration_error(probabilities, gold, bins: int = 15) -> float:
    """Class-wise ECE (Kull et al. 2019, eq. 2), in [0, 1].

    For every class k the ECE of p_k as a forecast of [gold = k], in equal parts of [0, 1]; the mean
    over classes. A class here is an option's *position*, which is arbitrary: on a benchmark whose
    gold answer always comes first it measures little else. `probabilities`, `gold` as in
    `adaptive_calibration_error`.
    """
    return float(
        np.mean([calibration_error(p, hit, bins) for p, hit in _by_class(probabilities, gold)])
    )


def released_calibration_error(probabilities, gold, ranges: int = 15, bins: int = 100) -> float:
    """What the released code of Proskurina et al. 2024 computes as calibration error, in [0, 1].

    It keeps the items that have as many options as the first one. For two options it is the ECE in
    `bins` parts of the largest probability against the *index* of the right option, so that it
    depends on which option is written first. For more, items are cut by their largest probability
    at `ranges` values, every n ÷ `ranges`-th in order, into those at or below each; those above the
    last, the most confident, join the first range. Within a range, |share right − mean confidence|
    is taken of the items *whose gold is k*, summed over k and divided by options × ranges. Grouped
    so, with hindsight, a perfectly calibrated model that prefers one position has a large error.
    `probabilities`, `gold` as in `adaptive_calibration_error`. NaN for fewer items than ranges.
    """
    probabilities, gold = _forecasts(probabilities, gold)
    counts = np.isfinite(probabilities).sum(axis=1)
    options = int(counts[0])
    kept, gold = probabilities[counts == options, :options], gold[counts == options]
    top = kept.max(axis=1)
    if options == 2:
        return calibration_error(top, gold, bins)
    step = len(top) // ranges
    if not step:
        return float("nan")
    cuts = np.sort(top)[: step * ranges : step]
    table = pd.DataFrame(
        {
            "range": np.searchsorted(cuts, top, side="left") % ranges,
            "gold": gold,
            "gap": (kept.argmax(axis=1) == gold) - top,
        }
    )
    return float(table.groupby(["range", "gold"])["gap"].mean().abs().sum() / (options * ranges))


def _forecasts(probabilities, gold) -> tuple[np.ndarray, np.ndarray]:
    probabilities, gold = np.asarray(probabilities, dtype=float), np.asarray(gold)
    if probabilities.ndim != 2 or gold.shape != probabilities.shape[:1] or not gold.size:
        raise InputError("Probabilities must be (items, options) with one gold answer per item.")
    return probabilities, gold


def _by_class(probabilities, gold):
    """(p_k, whether gold is k) of the items that offer option k, for every k that any offers."""
    probabilities, gold = _forecasts(probabilities, gold)
    for k, p in enumerate(probabilities.T):
        has = np.isfinite(p)
        if has.any():
            yield p[has], gold[has] == k


def reliability(confidence, correct, bins: int = 15, scheme: str = "width") -> pd.DataFrame:
    """One row per bin that holds items: `low`, `high`, `count`, `confidence`, `accuracy`, interval.

    `low` and `high` bound the confidences of the bin: its edges for "width" (equal parts of
    [0, 1], closed on the left, the last on both sides), the extremes of its items for "count"
    (equal counts; equal confidences share a bin, so that the order of items cannot matter).
    `accuracy_low`, `accuracy_high`: Wilson's 95% interval of the bin's accuracy.

    Raises InputError for unequal lengths, no items, values outside [0, 1], or an unknown scheme.
    """
    confidence, correct, index = _binned(confidence, correct, bins, scheme)
    frame = pd.DataFrame({"bin": index, "confidence": confidence, "correct": correct})
    table = frame.groupby("bin").agg(
        low=("confidence", "min"),
        high=("confidence", "max"),
        count=("correct", "size"),
        confidence=("confidence", "mean"),
        accuracy=("correct", "mean"),
        hits=("correct", "sum"),
    )
    if scheme == "width":
        table["low"], table["high"] = table.index / bins, (table.index + 1) / bins
    low, high = wilson(table.pop("hits"), table["count"])
    return table.assign(accuracy_low=low, accuracy_high=high).reset_index(drop=True)


def _binned(confidence, correct, bins: int, scheme: str):
    """Both as checked float arrays, and the bin of each item."""
    confidence = np.asarray(confidence, dtype=float)
    correct = np.asarray(correct, dtype=float)
    if confidence.ndim != 1 or confidence.shape != correct.shape or not confidence.size:
        raise InputError("Confidence and correctness must be two equally long, non-empty lists.")
    if not all(((values >= 0) & (values <= 1)).all() for values in (confidence, correct)):
        raise InputError("Confidence and correctness must lie between 0 and 1 and not be missing.")
    if bins < 1:
        raise InputError(f"A reliability table needs at least one bin; bins is {bins}.")
    if scheme == "width":
        # What lies within rounding of an edge lies on it, a float32's 0.69999999 in ten bins too.
        index = np.floor((confidence + 1e-7) * bins).astype(int).clip(max=bins - 1)
    elif scheme == "count":
        index = equal_count_bins(confidence, bins)
    else:
        raise InputError(f"Unknown scheme {scheme!r}; choose 'width' or 'count'.")
    return confidence, correct, index


def risk_coverage(confidence, correct) -> pd.DataFrame:
    """Selective prediction: answer only where confidence reaches a threshold, and count the errors.

    One row a distinct confidence, from the highest: `threshold`, `coverage` (share of items at or
    above it), `risk` (share wrong among them); the last row answers everything. `confidence`,
    `correct`: (n,). Source: El-Yaniv & Wiener 2010. Raises InputError as `reliability` does.
    """
    confidence, correct, _ = _binned(confidence, correct, 1, "width")
    frame = pd.DataFrame({"threshold": confidence, "wrong": 1 - correct})
    steps = frame.groupby("threshold")["wrong"].agg(["size", "sum"]).sort_index(ascending=False)
    steps = steps.cumsum()
    return pd.DataFrame(
        {
            "threshold": steps.index,
            "coverage": (steps["size"] / len(frame)).to_numpy(),
            "risk": (steps["sum"] / steps["size"]).to_numpy(),
        }
    )


def aurc(confidence, correct) -> float:
    """Area under the risk–coverage curve, in [0, 1]: less is better (Geifman et al. 2019).

    The mean, over k = 1 … n, of the share wrong among the k most confident items; where items are
    equally confident, over all orders that they could come in. It judges the *order* that
    confidence gives, not its level: any rescaling of confidence leaves it alone. `confidence`,
    `correct`: (n,). Raises InputError as `reliability` does.
    """
    confidence, correct, _ = _binned(confidence, correct, 1, "width")
    _, level = np.unique(-confidence, return_inverse=True)
    # An item's share in the errors of those it ties with: the mean over their orders.
    wrong = (np.bincount(level, 1 - correct) / np.bincount(level))[np.sort(level)]
    return float((np.cumsum(wrong) / np.arange(1, len(wrong) + 1)).mean())


def equal_count_bins(values, bins: int) -> np.ndarray:
    """The bin, 0 to bins − 1, of each of (n,) values: equal counts, equal values together."""
    values = np.asarray(values)
    return np.searchsorted(np.sort(values), values, side="left") * bins // len(values)


def _keys(table: pd.DataFrame) -> list[str]:
    return [key for key in ("model", "compression", "benchmark", "item") if key in table.columns]


def _refuse(bad, table: pd.DataFrame, why: str) -> None:
    """Name the first offending item and how many rows share its fault."""
    bad = np.asarray(bad)
    if bad.any():
        row = table.loc[bad.argmax()]
        others = f" ({int(bad.sum())} rows in all)" if bad.sum() > 1 else ""
        raise InputError(f"Item {row['item']!r} of {row['benchmark']} {why}{others}.")
