"""A small linear probe on what a frozen model makes of texts, the same one for all models.

Logistic regression on standardised features (`score.features`). How strongly it is held back is
chosen on a development part of the *training* texts, whole texts at a time; nothing of a test file
is seen. That a probe succeeds says what can be read off the states by a line, not what the model
would answer.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from ethical_compression.errors import InputError

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)  # C of scikit-learn: the larger, the freer
DEVELOPMENT = 0.1


class Probe(NamedTuple):
    """A fitted probe; `scores` gives log-odds of a yes. `strength`: the chosen C; `losses`: the
    mean log loss (nats) on the development part under each of `STRENGTHS`."""

    names: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    intercept: float
    strength: float
    losses: tuple[float, ...]

    def scores(self, table: pd.DataFrame) -> np.ndarray:
        """(n,) log-odds. Raises InputError for a table of other features."""
        if columns(table) != self.names:
            raise InputError("The probe was fitted on other features: give those of one model.")
        x = table[list(self.names)].to_numpy(dtype=np.float64)
        return (x - self.mean) / self.scale @ self.weights + self.intercept


def columns(table: pd.DataFrame) -> tuple[str, ...]:
    """The columns of features, in their order."""
    return tuple(one for one in table.columns if one[:1] == "f" and one[1:].isdigit())


def fit(table: pd.DataFrame, *, seed: int = 0) -> Probe:
    """The probe that these rows make: `label`, `cluster` (the text), and features. Deterministic.

    seed: of which texts are the development part. Raises InputError for labels of one kind only,
    in all or in either part, and for no features.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    names = columns(table)
    if not names:
        raise InputError("The table has no features: take one of score.features.")
    x = table[list(names)].to_numpy(dtype=np.float64)
    y = table["label"].to_numpy(dtype=bool)
    codes = pd.factorize(table["cluster"])[0]
    order = np.random.default_rng(seed).permutation(codes.max() + 1)
    kept = np.isin(codes, order[: max(1, round(DEVELOPMENT * len(order)))])
    for part in (y, y[kept], y[~kept]):
        if not 0 < part.sum() < len(part):
            raise InputError("A probe needs items of both labels in each part: give it more.")

    def fitted(rows: np.ndarray, strength: float):
        mean, scale = x[rows].mean(0), x[rows].std(0)
        scale[scale == 0] = 1.0
        model = LogisticRegression(C=strength, max_iter=500)
        model.fit((x[rows] - mean) / scale, y[rows])
        return mean, scale, model.coef_[0], float(model.intercept_[0])

    losses = []
    for strength in STRENGTHS:
        mean, scale, weights, intercept = fitted(~kept, strength)
        odds = (x[kept] - mean) / scale @ weights + intercept
        losses.append(float(log_loss(y[kept], 1 / (1 + np.exp(-odds)))))
    best = STRENGTHS[int(np.argmin(losses))]
    found = fitted(np.ones(len(y), dtype=bool), best)
    return Probe(names, *found, best, tuple(losses))


def judged(train: pd.DataFrame, test: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """What a probe fitted on `train` says of `test`, in the form of `score.judgements`: `benchmark,
    wording` ("probe"), `item, set, label, score` (log-odds) and `strength`.

    Each benchmark has a probe of its own. Raises InputError as `fit`, for a benchmark without
    training items, and where a text of the test is in training.
    """
    parts = []
    for benchmark, some in test.groupby("benchmark", sort=False):
        seen = train[train["benchmark"] == benchmark]
        if seen.empty:
            raise InputError(f"There is nothing of {benchmark} to train a probe on.")
        if shared := set(seen["cluster"]) & set(some["cluster"]):
            raise InputError(
                f"{len(shared)} texts of {benchmark} are in training and in the test: leave them "
                "out of training (datasets.ethics.unseen)."
            )
        probe = fit(seen, seed=seed)
        labels = some[["benchmark", "item", "set", "label"]].reset_index(drop=True)
        labels.insert(1, "wording", "probe")
        parts.append(labels.assign(score=probe.scores(some), strength=probe.strength))
    return pd.concat(parts, ignore_index=True)
