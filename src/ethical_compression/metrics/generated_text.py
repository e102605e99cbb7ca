"""What texts are like that models wrote, and how long two models write the same one.

Tables of tokens are those of `score.generation`, with first columns `model` and `compression`.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from ethical_compression.errors import InputError
from ethical_compression.statistics.intervals import wilson

# What tells a model apart, and one of its texts.
SUBJECT = ["model", "compression"]
TEXT = [*SUBJECT, "prompt"]


def ngrams(tokens: Sequence, n: int) -> list[tuple]:
    """The runs of n tokens, in order; none where the text is shorter."""
    return list(zip(*(tokens[k:] for k in range(n)), strict=False))


def distinct(tokens: Sequence, n: int) -> float:
    """Different n-grams ÷ n-grams (Li et al. 2016), in (0, 1]; NaN for fewer than n tokens."""
    found = ngrams(tokens, n)
    return len(set(found)) / len(found) if found else math.nan


def seq_rep(tokens: Sequence, n: int = 4) -> float:
    """Share of n-grams that repeat an earlier one of the same text: 1 − `distinct` (seq-rep-n of
    Welleck et al. 2020, eq. 10)."""
    return 1 - distinct(tokens, n)


def rep(tokens: Sequence, window: int = 16) -> float:
    """Share of tokens that are among the `window` tokens before them (rep/ℓ of Welleck et al. 2020,
    of the text itself), in [0, 1); NaN for no tokens."""
    if not len(tokens):
        return math.nan
    return sum(t in tokens[max(0, k - window) : k] for k, t in enumerate(tokens)) / len(tokens)


MEASURES = {
    "confidence": "probability of the chosen token",
    "entropy_bits": "entropy (bits)",
    "full_nll": "surprise of the full model (nats a token)",
    "rep_16": "tokens repeated within 16",
    "seq_rep_4": "4-grams repeated",
    "distinct_2": "distinct 2-grams",
}


def per_text(tokens: pd.DataFrame) -> pd.DataFrame:
    """One row a text: `model, compression, prompt, text, tokens, ended` and the measures of
    `MEASURES`.

    ended: the model ended the text itself. confidence: mean probability of the chosen tokens, and
    entropy_bits the mean entropy, under the model that wrote it. full_nll: mean −log p (nats a
    token) under the full model; its exponential is the perplexity of the text. The measures of
    repetition are those of `rep`, `seq_rep` and `distinct`, over tokens, without the one that ends
    the sequence; NaN where a text is too short for one.
    """
    rows = []
    for names, one in tokens.groupby(TEXT, sort=False):
        one = one.sort_values("position")
        ids = one.loc[~one["end"], "token_id"].tolist()
        rows.append(
            dict(zip(TEXT, names, strict=True))
            | {
                "text": "".join(one["piece"]),
                "tokens": len(one),
                "ended": bool(one["end"].any()),
                "confidence": np.exp(one["logprob"]).mean(),
                "entropy_bits": one["entropy"].mean() / math.log(2),
                "full_nll": -one["full_logprob"].mean(),
                "rep_16": rep(ids, 16),
                "seq_rep_4": seq_rep(ids, 4),
                "distinct_2": distinct(ids, 2),
            }
        )
    return pd.DataFrame(rows)


def first_divergence(tokens: pd.DataFrame, *, full: str = "full") -> pd.DataFrame:
    """How long each model says what the full model says: one row a text of another.

    Columns `model, compression, prompt, same, diverged`: tokens in common from the start, and
    whether another followed. Ending the text counts as a token. A text that never diverged was
    watched to its end, or to the length asked for: beyond that, nothing is known of it.
    """
    in_order = tokens.sort_values("position", kind="stable")
    said = in_order.groupby(TEXT, sort=False)["token_id"].agg(list)
    if full not in said.index.get_level_values("compression"):
        raise InputError(f"The table of tokens has no model {full!r} to compare with.")
    rows = []
    for (model, compression, prompt), mine in said.items():
        if compression == full:
            continue
        theirs = said[(model, full, prompt)]
        same = next(
            (k for k, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b),
            min(len(mine), len(theirs)),
        )
        rows.append((model, compression, prompt, same, mine != theirs))
    return pd.DataFrame(rows, columns=[*TEXT, "same", "diverged"])


def survival(divergence: pd.DataFrame, length: int, *, level: float = 0.95) -> pd.DataFrame:
    """Share of texts that are still the full model's after t tokens, t = 0 … length, by subject.

    Columns `model, compression, position, n, same, low, high`, with Wilson's interval at each t by
    itself. All texts are watched to `length`, or to an end that both models set, so the share is
    what the Kaplan–Meier estimate would be.
    """
    rows = []
    for names, some in divergence.groupby(SUBJECT, sort=False):
        for t in range(length + 1):
            alive = int(((some["same"] >= t) | ~some["diverged"]).sum())
            low, high = wilson(alive, len(some), level=level)
            rows.append((*names, t, len(some), alive / len(some), low, high))
    return pd.DataFrame(rows, columns=[*SUBJECT, "position", "n", "same", "low", "high"])


def along_text(distance: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """Median divergence at each place of the text, by subject.

    Columns `model, compression, position, n, kl, low, high`. distance: the second table of `study`.
    n: texts that reach so far; places that fewer than six reach are left out, as six are the fewest
    whose median has an interval at 95%. The median and its interval from order statistics (Conover
    1999), which holds whatever the distribution: a few places where two models part ways are
    hundreds of times the rest, and an interval of their *mean*, Student's or a bootstrap's, would
    hold the truth in far fewer than 95 of 100 cases.
    """
    from scipy import stats

    rows = []
    for names, some in distance.groupby([*SUBJECT, "position"], sort=False):
        values = some["kl"].dropna().to_numpy()
        if len(values) < 6:
            continue
        found = stats.quantile_test(values, p=0.5).confidence_interval(level)
        rows.append((*names, len(values), np.median(values), found.low, found.high))
    return pd.DataFrame(rows, columns=[*SUBJECT, "position", "n", "kl", "low", "high"])


def per_text_distance(distance: pd.DataFrame) -> pd.DataFrame:
    """The second table of `study` by text: `model, compression, prompt, kl, js_distance`, means
    over tokens."""
    found = distance.groupby(TEXT, sort=False)[["kl", "js_distance"]]
    return found.mean().reset_index()
