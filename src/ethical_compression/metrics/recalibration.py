"""Repairing a model's probabilities afterwards, without touching a weight.

A *fix* is a rule that turns the log-likelihoods of an item's options into better probabilities. It
has one or two numbers, fitted on items whose answers are known and judged on others. Three of them:

- "temperature": p_k ∝ exp(β · logprob_k), β = 1 ÷ temperature (Guo et al. 2017). It never changes
  which option is chosen.
- "temperature and length": p_k ∝ exp(β · logprob_k + γ · bytes_k). A sum of log-probabilities
  punishes long options; γ gives back, byte by byte, what that took. It can change the choice.
- "isotonic": the chosen option's p is replaced by the share right at that p, as the best
  non-decreasing curve has it (Zadrozny & Elkan 2002); the other options share the rest as before.
  It moves confidence only: the choice stays.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from ethical_compression.errors import InputError
from ethical_compression.metrics.confidence import option_probabilities, per_item

TERMS = {
    "temperature": ("logprob",),
    "temperature and length": ("logprob", "bytes"),
    "isotonic": (),
}
TERMS_AND_NONE = ("none", *TERMS)
# As sure as isotonic may make one of an answer: fitted on few items, it would often say 0 or 1.
EDGE = 1e-3
# The largest temperature: all but equal probabilities, in the order that they had.
HOTTEST = 1000.0


class Fix(NamedTuple):
    """A fitted fix. weights: by column of the scores; curve: (confidence, share right), isotonic's.

    Where neither is given it leaves probabilities as they are.
    """

    weights: Mapping[str, float] | None = None
    curve: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def temperature(self) -> float:
        """What log-likelihoods are divided by; `HOTTEST` where they do not help at all."""
        return 1 / (self.weights or {"logprob": 1.0})["logprob"]


def fit(scores: pd.DataFrame, method: str) -> Fix:
    """The fix of that method which gives the right answers of `scores` the highest likelihood.

    scores: a table of one model (`score.loglikelihood.score_items`), any benchmarks. "temperature"
    and "temperature and length" are convex problems, solved by a quasi-Newton method within
    β ≥ 1 ÷ `HOTTEST`, so that the order of the options stays; doing nothing (β = 1, γ = 0) is among
    the choices, so the mean log score of these items is never worse than before. "none" is the fix
    that does nothing.
    Raises InputError for an unknown method, several models, and what `per_item` refuses.
    """
    if method not in TERMS_AND_NONE:
        raise InputError(f"Unknown fix {method!r}; choose one of {', '.join(TERMS_AND_NONE)}.")
    _one_model(scores)
    if method == "none":
        return Fix()
    if method == "isotonic":
        return Fix(curve=_isotonic(per_item(scores)))
    terms = TERMS[method]
    if missing := [name for name in terms if name not in scores.columns]:
        raise InputError(f"The scores table lacks the column(s) {', '.join(missing)}.")
    table = option_probabilities(scores)
    return Fix(weights=dict(zip(terms, _conditional_logit(table, terms), strict=True)))


def _conditional_logit(table: pd.DataFrame, terms: tuple[str, ...]) -> np.ndarray:
    """Weights w that maximise Σ ln softmax(x · w)[gold], w[0] ≥ 1 ÷ HOTTEST; x: terms."""
    from scipy import optimize

    start = np.flatnonzero(table["option"].to_numpy() == 0)
    size = np.diff([*start, len(table)])
    gold = start + table["gold"].to_numpy(dtype=int)[start]
    x = table[list(terms)].to_numpy(dtype=float)
    # Only differences within an item count; each term in units of its own spread.
    x = x - np.repeat(np.add.reduceat(x, start) / size[:, None], size, axis=0)
    scale = x.std(axis=0)
    scale[scale == 0] = 1
    x = x / scale

    def loss(w):
        logit = x @ w
        top = np.maximum.reduceat(logit, start)
        mass = np.exp(logit - np.repeat(top, size))
        total = np.add.reduceat(mass, start)
        p = mass / np.repeat(total, size)
        value = (top + np.log(total) - logit[gold]).mean()
        slope = (np.add.reduceat(p[:, None] * x, start) - x[gold]).mean(axis=0)
        return value, slope

    neutral = np.zeros(len(terms))
    neutral[0] = scale[0]
    bounds = [(scale[0] / HOTTEST, None), *[(None, None)] * (len(terms) - 1)]
    found = optimize.minimize(
        loss, neutral, jac=True, method="L-BFGS-B", bounds=bounds, options={"gtol": 1e-9}
    )
    best = found.x if np.isfinite(found.fun) and found.fun <= loss(neutral)[0] else neutral
    return best / scale


def _isotonic(items: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The non-decreasing curve of the share right against confidence that fits best."""
    from scipy.optimize import isotonic_regression

    sure = items.groupby("confidence")["correct"].agg(["mean", "size"])
    curve = isotonic_regression(sure["mean"].astype(float), weights=sure["size"].astype(float)).x
    return sure.index.to_numpy(), curve.clip(EDGE, 1 - EDGE)


def apply(fix: Fix, scores: pd.DataFrame) -> pd.DataFrame:
    """Per-item records (`score.confidence.per_item`) of `scores` as the fix leaves them.

    Isotonic's confidence of the chosen option may fall below another's; it is still the choice,
    and `confidence` its probability. Raises InputError as `per_item` does.
    """
    if fix.curve is not None:
        return _with_confidence(per_item(scores), *fix.curve)
    if fix.weights is not None:
        logit = sum(weight * scores[name] for name, weight in fix.weights.items())
        scores = scores.assign(logprob=logit)
    return per_item(scores)


def _with_confidence(items: pd.DataFrame, at: np.ndarray, share: np.ndarray) -> pd.DataFrame:
    """`items` with a new p of the chosen option, the others' parts of the rest kept."""
    sure = np.interp(items["confidence"], at, share)
    rows = []
    for old, new, chosen in zip(items["probabilities"], sure, items["predicted"], strict=True):
        p = np.asarray(old)
        rest = p.sum() - p[chosen]
        # Where the rest has underflowed to nothing, nothing is known of its parts.
        p = p / rest if rest > 0 else np.full(len(p), 1 / (len(p) - 1))
        p = p * (1 - new)
        p[chosen] = new
        rows.append(p)
    gold = items["gold"]
    true = np.array([p[k] for p, k in zip(rows, gold, strict=True)])
    with np.errstate(divide="ignore"):
        log_score = -np.log(true)
    return items.assign(
        confidence=sure,
        p_true=true,
        entropy_bits=[-float((p[p > 0] * np.log2(p[p > 0])).sum()) for p in rows],
        margin=[float(np.subtract(*np.sort(p)[:-3:-1])) for p in rows],
        brier=[float(p @ p - 2 * p[k] + 1) for p, k in zip(rows, gold, strict=True)],
        log_score=log_score,
        probabilities=[tuple(p.tolist()) for p in rows],
    )


def halves(items: pd.DataFrame, seed: int) -> np.ndarray:
    """True for one half of the items, (n,): as even as can be within each benchmark."""
    rng = np.random.default_rng(seed)
    first = np.zeros(len(items), dtype=bool)
    for rows in items.groupby("benchmark", sort=False).indices.values():
        drawn = rng.permutation(rows)
        # Which half gets the odd one is drawn, too.
        first[drawn[: (len(rows) + int(rng.integers(2))) // 2]] = True
    return first


def cross_fit(
    scores: pd.DataFrame,
    method: str,
    *,
    fitted_on: pd.DataFrame | None = None,
    by: str | None = None,
    repeats: int = 20,
    seed: int = 0,
) -> pd.DataFrame:
    """Fit on one half of the items, apply to the other, and the other way round; `repeats` times.

    scores: a table of one model. fitted_on: the table to fit on instead, of another model and the
    same items (does the full model's fix serve the compressed one?). by: a column, such as
    `benchmark`, each value of which gets a fix of its own; None: one fix for all. No item is ever
    judged by a fix that saw it. The halves depend on `seed` and the items, not on the model or the
    method.

    Returns `apply`'s records stacked, each repeat (and value of `by`) in the order of `scores`,
    with columns `repeat`, `temperature`, `length_weight` (γ, 0 where the method has none). Raises
    InputError as `fit` does, for fewer than four items of a benchmark, and where the two tables
    hold different items.
    """
    _one_model(scores)
    source = scores if fitted_on is None else fitted_on
    _one_model(source)
    if by is not None:
        options = {"repeats": repeats, "seed": seed}
        return pd.concat(
            [
                cross_fit(part, method, fitted_on=source[source[by] == value], **options)
                for value, part in scores.groupby(by, sort=False)
            ],
            ignore_index=True,
        )
    keys = ["benchmark", "item"]
    items = scores[keys].drop_duplicates(ignore_index=True)
    other = source[keys].drop_duplicates(ignore_index=True)
    if set(map(tuple, items.to_numpy())) != set(map(tuple, other.to_numpy())):
        raise InputError("The fix is to be fitted on the same items of another model.")
    if (few := items["benchmark"].value_counts()).min() < 4:
        raise InputError(
            f"{few.idxmin()} has {few.min()} items: a fit on one half needs at least four."
        )
    place = pd.MultiIndex.from_frame(items)
    where = place.get_indexer(pd.MultiIndex.from_frame(scores[keys]))
    where_fitted = place.get_indexer(pd.MultiIndex.from_frame(source[keys]))
    parts = []
    for repeat in range(repeats):
        first = halves(items, 1000 * seed + repeat)
        both = []
        for side in (first, ~first):
            fix = fit(source[~side[where_fitted]], method)
            both.append(
                apply(fix, scores[side[where]]).assign(
                    repeat=repeat,
                    temperature=fix.temperature,
                    length_weight=(fix.weights or {}).get("bytes", 0.0),
                )
            )
        part = pd.concat(both, ignore_index=True)
        order = place.get_indexer(pd.MultiIndex.from_frame(part[keys]))
        parts.append(part.iloc[np.argsort(order, kind="stable")])
    return pd.concat(parts, ignore_index=True)


def averaged(repeated: pd.DataFrame) -> pd.DataFrame:
    """One row an item: the means over repeats of what `cross_fit` gives, for paired tests by item.

    `confidence`, `p_true`, `correct`, `brier`, `log_score`, `entropy_bits`: means, so that
    `correct` may lie between 0 and 1; `gold`, `options` as they are.
    """
    keys = [key for key in ("model", "compression", "benchmark", "item") if key in repeated.columns]
    values = ["confidence", "p_true", "correct", "brier", "log_score", "entropy_bits"]
    grouped = repeated.groupby(keys, sort=False)
    return grouped[["gold", "options"]].first().join(grouped[values].mean()).reset_index()


def _one_model(scores: pd.DataFrame) -> None:
    told = [name for name in ("model", "compression") if name in scores.columns]
    if told and len(scores[told].drop_duplicates()) > 1:
        raise InputError("A fix is fitted on the scores of one model: split the table by model.")
