"""What *Can attention supervision repair a smaller classifier?* says of losses and explanations.

What its tables of changes came to is said by `words.classification`, as on the other pages of
Part I.
"""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ethical_compression.words import signed


def published_trend(published: pd.DataFrame) -> str:
    """Does each published score rise with λ? From the published table of attention supervision."""
    parts = []
    for column, title, digits in (
        ("f1", "macro F1", 2),
        ("token_f1", "token F1", 2),
        ("subgroup_auc", "the Subgroup AUC", 3),
    ):
        falls, total, above = [], 0, 0
        for model, part in published.groupby("model", sort=False):
            part = part.sort_values("lambda").to_dict("records")
            total += 1
            above += part[-1][column] > part[0][column]
            down = [(a, b) for a, b in itertools.pairwise(part) if b[column] <= a[column]]
            if down:
                steps = ", ".join(
                    f"{a[column]:.{digits}f} at λ = {a['lambda']:g} and "
                    f"{b[column]:.{digits}f} at {b['lambda']:g}"
                    for a, b in down
                )
                falls.append(f"{model} ({steps})")
        text = f"{title} rises with every λ"
        text += f" but for {' and '.join(falls)}" if falls else f" in all {total} models"
        parts.append(f"{text}, and is higher at the largest λ than without in {above} of {total}")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def moved_by_deletion(comprehensiveness: float, margin: float) -> str:
    """Does the prediction turn on the words that are deleted? Of the unsupervised classifier."""
    if math.isnan(comprehensiveness):
        return "What deleting words does to the prediction is not known."
    text = (
        "Without supervision, deleting the five most attended words moves the predicted class's "
        f"probability by {signed(comprehensiveness)} on average"
    )
    if abs(comprehensiveness) >= margin:
        return f"{text}."
    return (
        f"{text}, less than the margin of ±{margin:g}: where hardly any word matters, a change of "
        "faithfulness within the margin says little."
    )


def least_loss(losses: pd.DataFrame, names: Mapping[str, str]) -> str:
    """Where each attention loss is lowest: a row per way to attend, its words in column one.

    names: {column: how that loss is called}.
    """
    parts = []
    for column, title in names.items():
        values = losses[column]
        span = float(values.max() - values.min())
        where = losses.loc[np.isclose(values, values.min(), rtol=1e-6), losses.columns[0]]
        if len(where) == len(losses):
            parts.append(f"{title} is the same in all rows")
        else:
            parts.append(
                f"{title} is lowest where attention lies {' and '.join(where)} "
                f"(the rows span {span:.2f})"
            )
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def case(loss: float, gradient: Sequence[float]) -> str:
    """A loss and whom its gradient reaches: "36.20, its gradient zero at every token"."""
    gradient = np.asarray(gradient, dtype=float)
    reached = np.flatnonzero(np.abs(gradient) > 1e-6)
    if not len(reached):
        return f"{loss:.2f}, its gradient zero at every token"
    strongest = int(np.abs(gradient).argmax())
    return (
        f"{loss:.2f}, its gradient reaches {len(reached)} of {len(gradient)} tokens and is largest "
        f"at token {strongest} ({signed(float(gradient[strongest]), 2)})"
    )


def index_of(dtype, version: str) -> str:
    """What a mask of zeros and ones does as an index, by the type that a collator gave it."""
    text = f"Of lists of zeros and ones the default collator of transformers {version} makes"
    kind = str(dtype).removeprefix("torch.")
    if kind in ("bool", "uint8"):
        return f"{text} booleans ({kind}), which as an index pick where the mask is one."
    if kind.startswith("int"):
        return f"{text} integers ({kind}), which as an index name positions: 0 or 1."
    return f"{text} numbers that are no index ({kind})."
