"""Interpolated Kneser–Ney smoothing of n-grams: what counting alone knows of the next token.

The baseline that a small model has to beat (Kneser and Ney 1995; Chen and Goodman 1999). With c the
count of an n-gram (of the longest order) or the number of tokens that it was seen behind (of the
shorter ones), D one discount an order, and N the number of tokens seen behind a context h,

    p(w | h) = max(c(h w) − D, 0) / c(h ·) + D · N(h) / c(h ·) · p(w | h without its first token)

and a token by itself falls back on 1 ÷ vocabulary. nltk has the same in plain Python, and looks
through all contexts for each token: the tests compare with it on a few sentences.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ethical_compression.errors import InputError


class Order(NamedTuple):
    """n-grams of one length: sorted keys (number of the first n − 1 tokens · vocabulary + token),
    their counts, and by number of the context: sum of counts, and kinds."""

    keys: np.ndarray
    counts: np.ndarray
    totals: np.ndarray
    kinds: np.ndarray
    discount: float


class KneserNey(NamedTuple):
    """What `fitted` makes. orders: from single tokens up. floor: whether a token alone falls back
    on 1 ÷ size."""

    orders: tuple[Order, ...]
    size: int
    floor: bool


def fitted(
    documents: Sequence[np.ndarray],
    size: int,
    *,
    order: int = 5,
    discount: float | None = None,
    floor: bool = True,
) -> KneserNey:
    """A model of arrays of tokens below `size`; no n-gram reaches over two documents.

    discount: of every order; by default Ney's n₁ ÷ (n₁ + 2 n₂), of those seen once and twice.
    Raises InputError for no tokens and an order below 1.
    """
    documents = [np.asarray(one, dtype=np.int64) for one in documents if len(one)]
    if not documents or order < 1:
        raise InputError("n-grams need texts, and an order of 1 or more.")
    line = np.concatenate(documents)
    place = np.concatenate([np.arange(len(one)) for one in documents])
    keys, numbers = _numbered(line, place, size, order)
    found = []
    for n in range(1, order + 1):
        here = numbers[n - 1]
        if n == order:
            counts = np.bincount(here[here >= 0], minlength=len(keys[n - 1]))
        else:
            # Of every longer n-gram one place: how many different tokens stand before it.
            longer = numbers[n]
            at = np.unique(longer, return_index=True)[1]
            at = at[longer[at] >= 0]
            counts = np.bincount(here[at], minlength=len(keys[n - 1]))
        context = keys[n - 1] // size
        width = 1 if n == 1 else len(keys[n - 2])
        totals = np.bincount(context, weights=counts, minlength=width)
        kinds = np.bincount(context, weights=counts > 0, minlength=width)
        cut = _discount(counts) if discount is None else discount
        if n == 1 and not floor:
            cut = 0.0  # there is nothing to keep it for
        found.append(Order(keys[n - 1], counts, totals, kinds, cut))
    return KneserNey(tuple(found), size, floor)


def logprobs(model: KneserNey, tokens: np.ndarray) -> np.ndarray:
    """log p (nats) of every token after those before it; the first has no context."""
    tokens = np.asarray(tokens, dtype=np.int64)
    p = np.full(len(tokens), 1 / model.size if model.floor else 0.0)
    before = np.zeros(len(tokens), dtype=np.int64)  # number of the context: the empty one is 0
    for one in model.orders:
        wanted = np.where(before >= 0, before * model.size + tokens, -1)
        at = np.minimum(np.searchsorted(one.keys, wanted), len(one.keys) - 1)
        number = np.where(one.keys[at] == wanted, at, -1)
        total = np.where(before >= 0, one.totals[before], 0.0)
        count = np.where(number >= 0, one.counts[number], 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            mine = (
                np.maximum(count - one.discount, 0) + one.discount * one.kinds[before] * p
            ) / total
        p = np.where(total > 0, mine, p)
        before = np.concatenate([[-1], number[:-1]])
    with np.errstate(divide="ignore"):
        return np.log(p)


def windows(model: KneserNey, tokenizer: Any, documents: Sequence[str]) -> pd.DataFrame:
    """`logprobs` of documents as one text, a row a token, as `score_text` has a row a window: every
    token but the first."""
    ids = tokenizer("\n\n".join(documents), add_special_tokens=False)["input_ids"]
    return pd.DataFrame({"logprob": logprobs(model, ids)[1:]})


def _numbered(line, place, size: int, order: int):
    """(sorted keys, number of the n-gram that ends at each place or −1) of every length."""
    keys, numbers = [], []
    before = np.zeros(len(line), dtype=np.int64)
    for n in range(1, order + 1):
        whole = (place >= n - 1) & (before >= 0)
        key = np.where(whole, before * size + line, -1)
        known = np.unique(key[whole])
        number = np.where(whole, np.searchsorted(known, key), -1)
        keys.append(known)
        numbers.append(number)
        before = np.concatenate([[-1], number[:-1]])
    return keys, numbers


def _discount(counts: np.ndarray) -> float:
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    return min(max(once / (once + 2 * twice), 0.05), 0.95) if once else 0.5
