"""Log-likelihoods of continuations: the one number that every study here is made of.

    log p(y | x) = Σ_i log p(y_i | x, y_<i)

`tokens` says which tokens x and y are, `token_tree` lays requests out so that what they share is
computed once, `layouts` runs the rows, and the output head (`networks`) is applied only where a
token is scored.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ethical_compression.errors import InputError
from ethical_compression.score.layouts import plan
from ethical_compression.score.networks import (
    NOT_FINITE,
    model_length,
    next_token,
    output_head,
    unwrapped,
)
from ethical_compression.score.passes import run_rows
from ethical_compression.score.runs import Battery
from ethical_compression.score.tokens import Encoded, Request, encode, first_slots, tokenise

# Every text a row of its own, fewer of them at a time: the same numbers, rounded otherwise.
OTHER_ARITHMETIC = {"layout": "plain", "token_budget": 128}


class Scores(NamedTuple):
    """Of every scored token, requests one after the other: log-probability and entropy (nats,
    float32) and whether it was the most probable; request i owns `starts[i]:starts[i + 1]`."""

    logprob: np.ndarray
    entropy: np.ndarray
    greedy: np.ndarray
    starts: np.ndarray


def score_encoded(
    model,
    encoded: Sequence[Encoded],
    *,
    token_budget: int | None = None,
    layout: str | None = None,
    entropy: bool = True,
    progress: str | None = None,
) -> Scores:
    """Run tokenised requests through one causal language model; see `loglikelihoods`.

    entropy: whether it is wanted; it costs a CPU a twentieth of the time. NaN if not.

    Raises InputError when a row does not fit in memory, a score is not a finite number, or the
    model is not seen to run the layout asked for.
    """
    model = unwrapped(model)
    layout, rows = plan([model], encoded, layout)
    head = output_head(model)
    starts = first_slots(encoded)
    logprob, spread = np.zeros((2, starts[-1]), dtype=np.float32)
    greedy = np.zeros(starts[-1], dtype=bool)

    def consume(scored):
        result = next_token(head, scored, entropy=entropy)
        if not result.logprob.isfinite().all():
            raise InputError(NOT_FINITE)
        logprob[scored.slot] = result.logprob.cpu()
        spread[scored.slot] = result.entropy.cpu() if entropy else np.nan
        greedy[scored.slot] = (result.logprob == result.best).cpu()

    run_rows([model], rows, layout, token_budget, consume, progress)
    return Scores(logprob, spread, greedy, starts)


def sums(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Sum over each request's tokens, in float64."""
    if len(starts) == 1:
        return np.zeros(0)
    return np.add.reduceat(values, starts[:-1], dtype=np.float64)


def loglikelihoods(
    model,
    tokenizer,
    requests: Sequence[Request],
    *,
    details: bool = False,
    max_length: int | None = None,
    **options,
):
    """Score each continuation after its context, under one causal language model.

    requests: any number of (context, continuation) pairs. A sentence by itself (a minimal pair, a
    moral action) has an empty context; a generation has its prompt.
    details: add per-token lists.
    max_length: tokens the model is fed at most (default: what its config says).
    options: token_budget (tokens in one forward pass, by default `passes.BUDGET`; halved by itself
    when memory runs out), layout ("tree", "cache" or "plain"; None takes the first of
    `layouts.usable`), progress (text of the progress bar; None shows none).

    Returns a pandas DataFrame, one row a request in the given order: `logprob` (nats, summed over
    the continuation), `tokens`, `bytes` (UTF-8, of the continuation as given), `greedy` (every
    token was the most probable), `truncated`; with `details` also `token_ids`, `token_logprobs`
    and `token_entropies` (nats), lists over the continuation.

    Raises InputError for what `encode` and `score_encoded` refuse.
    Source: definition in Proskurina et al. 2024, §3; tokenisation as lm-eval's `HFLM`.
    """
    import pandas as pd

    requests = [Request(*request) for request in requests]
    encoded = encode(tokenizer, requests, max_length or model_length(unwrapped(model)))
    scores = score_encoded(model, encoded, entropy=details, **options)
    tokens = np.diff(scores.starts)
    columns = {
        "logprob": sums(scores.logprob, scores.starts),
        "tokens": tokens,
        "bytes": [len(request.continuation.encode()) for request in requests],
        "greedy": sums(scores.greedy, scores.starts) == tokens,
        "truncated": [one.truncated for one in encoded],
    }
    if details:
        spans = list(zip(scores.starts[:-1], scores.starts[1:], strict=True))
        columns |= {
            "token_ids": [list(one.ids[-one.scored :]) for one in encoded],
            "token_logprobs": [scores.logprob[a:b].tolist() for a, b in spans],
            "token_entropies": [scores.entropy[a:b].tolist() for a, b in spans],
        }
    return pd.DataFrame(columns)


def batteries(
    benchmarks: Mapping[str, Sequence],
    text: Sequence[str] = (),
    *,
    window: int = 512,
    max_windows: int | None = None,
) -> list[Battery]:
    """`score_items` of every benchmark, and `score_text` of held-out documents, for `runs.grid`.

    benchmarks: items by name (`datasets.multiple_choice.load`). Their tables are called "scores"
    and "windows".
    """
    asked = [
        Battery("scores", items, score_items, title=benchmark, again=OTHER_ARITHMETIC)
        for benchmark, items in benchmarks.items()
    ]
    if text:
        reading = {"window": window, "max_windows": max_windows}
        asked.append(text_battery(text, reading))
    return asked


def text_battery(text: Sequence[str], reading: Mapping[str, Any]) -> Battery:
    """`score_text` of documents, with its settings: all at once, since windows span them."""
    how = {"part": None, "title": "text", "again": OTHER_ARITHMETIC}
    return Battery("windows", list(text), score_text, reading, **how)


def score_items(model, tokenizer, items: Sequence, **options):
    """Scores of every option of multiple-choice items (`datasets.multiple_choice`).

    Returns a DataFrame, one row per item and option: `benchmark, item, option, gold` and the
    columns of `loglikelihoods`; `options` are passed on to it.
    """
    import pandas as pd

    requests = [Request(item.context, option) for item in items for option in item.options]
    scores = loglikelihoods(model, tokenizer, requests, **options)
    labels = pd.DataFrame(
        [
            {"benchmark": item.benchmark, "item": item.id, "option": number, "gold": item.gold}
            for item in items
            for number in range(len(item.options))
        ]
    )
    return pd.concat([labels, scores], axis=1)


def score_text(
    model,
    tokenizer,
    documents: Sequence[str],
    *,
    window: int = 512,
    stride: int | None = None,
    max_windows: int | None = None,
    **options,
):
    """Log-likelihood of running text, documents joined by blank lines and read in windows.

    window: tokens the model sees at once. stride: tokens between the starts of two windows
    (default: `window`, no overlap). Each token is scored at most once, with at least
    `window - stride` tokens before it; the first token of the text, and of each window where
    windows do not overlap, has no context and is not scored. Where the tokenizer puts a first token
    before a text by itself, it stands before every window and counts as one of its tokens: models
    that were trained with it (Gemma) predict badly without.
    Returns a DataFrame, one row a window: `window`, `tokens` (scored), `logprob` (nats, their sum).
    Raises InputError for a stride that skips tokens, a window longer than the model's input, and
    text of fewer than two tokens.
    """
    import pandas as pd

    limit = model_length(unwrapped(model))
    if limit and window > limit:
        raise InputError(
            f"A window of {window} tokens is longer than the model's input of {limit}: use a "
            f"window of {limit} or less."
        )
    text = "\n\n".join(documents)
    (ids,) = tokenise(tokenizer, [text], special=False)
    (full,) = tokenise(tokenizer, [text[:100]])
    lead = full[: len(full) - len(tokenise(tokenizer, [text[:100]], special=False)[0])]
    span = window - len(lead)
    stride = stride or span
    if not 0 < stride <= span:
        raise InputError(
            f"A stride of {stride} tokens must lie between 1 and the window, {window}."
        )
    if len(ids) < 2:
        raise InputError("This text has fewer than two tokens: give a longer one.")
    pieces, done = [], 1
    for begin in range(0, len(ids) - 1, stride):
        end = min(begin + span, len(ids))
        pieces.append(Encoded(lead + ids[begin:end], end - max(done, begin + 1)))
        done = end
        if end == len(ids) or len(pieces) == max_windows:
            break
    scores = score_encoded(model, pieces, entropy=False, **options)
    return pd.DataFrame(
        {
            "window": range(len(pieces)),
            "tokens": [piece.scored for piece in pieces],
            "logprob": sums(scores.logprob, scores.starts),
        }
    )


def perplexity(windows) -> float:
    """exp of the mean negative log-likelihood a token, over the windows of `score_text`."""
    return math.exp(-windows["logprob"].sum() / windows["tokens"].sum())
