"""Log-likelihoods of continuations: the one number that every study here is made of.

    log p(y | x) = Σ_i log p(y_i | x, y_<i)

Tokens follow lm-evaluation-harness (Gao et al.), so that numbers compare: context and continuation
are tokenised *together*, spaces at the end of the context belong to the continuation, an empty
context stands for the model's first token, and what does not fit is cut from the left (counted,
never silent).

Nothing is computed twice. Requests that begin alike share a *row*: a trie of tokens, laid out in
one of three ways, the first that the model is seen to run rightly (`layouts`):

- "tree"   one sequence, where each token attends to its own ancestors only and has its depth as
           position (Llama, Mistral, GPT-2, OPT, Gemma, …);
- "cache"  the trunk once, then its branches over copies of the trunk's keys and values, for models
           that count positions by themselves (BLOOM's ALiBi);
- "plain"  a padded row for each different input.

The output head is applied only where a token is scored.
"""

import inspect
import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from ethical_compression.errors import InputError
from ethical_compression.kernels.logprob import linear_logprob

SLAB = 1000  # texts tokenised at a time: the tokenizer's own records are many times their ids
ROW = 512  # tokens that a row of many requests stays within: attention grows with its square
PASS = 100  # tokens that cost as much as reading all weights once more, on two CPU cores
BUDGET = {"cpu": 1024, "cuda": 16384}  # tokens in one forward pass


class Request(NamedTuple):
    """Score `continuation` after `context` (either may hold leading or trailing spaces)."""

    context: str
    continuation: str


@dataclass
class Encoded:
    """One request in tokens: `ids` whole, of which the last `scored` are the continuation."""

    ids: Sequence[int]
    scored: int
    truncated: bool = False


class Row:
    """A trie of token sequences, parents before children; one entry a node, or a scored token.

    token, parent, depth: the nodes; `parent` is -1 at the root. node, target, slot: what is scored,
    that is the node whose next token is predicted, the token wanted there, and the place of the
    answer in the flat list of all scored tokens.
    """

    __slots__ = ("depth", "node", "parent", "slot", "target", "token")

    def __init__(self):
        # Arrays, for their size: a list of 50,000 requests holds millions of tokens.
        for name in self.__slots__:
            setattr(self, name, array("i"))

    def __len__(self):
        return len(self.token)


def first_token(tokenizer) -> int:
    """The token an empty context stands for: beginning of sequence, else end of sequence."""
    for name in ("bos_token_id", "eos_token_id"):
        if getattr(tokenizer, name, None) is not None:
            return getattr(tokenizer, name)
    raise InputError(
        "This tokenizer has neither a beginning- nor an end-of-sequence token, so an empty context "
        "cannot be scored: give every request a context."
    )


def encode(tokenizer, requests: Sequence[Request], max_length: int | None = None) -> list[Encoded]:
    """Tokens of each request, context and continuation tokenised together.

    max_length: tokens the model can be fed; longer requests lose tokens on the left and are marked.
    Raises InputError for a continuation that is empty, that adds no token to its context, or that
    alone is longer than the model's input.
    """
    begin = getattr(tokenizer, "bos_token", None)

    def ids_of(texts: list[str], special: bool) -> list[array]:
        ids = []
        for start in range(0, len(texts), SLAB):
            slab = tokenizer(
                texts[start : start + SLAB],
                add_special_tokens=special,
                return_attention_mask=False,
                return_token_type_ids=False,
            )
            ids += [array("i", one) for one in slab["input_ids"]]
        return ids

    pairs = []
    for number, (context, continuation) in enumerate(requests):
        if not continuation:
            raise InputError(
                f"Request {number} has an empty continuation: there is nothing to score."
            )
        kept = context.rstrip()
        pairs.append((kept, context[len(kept) :] + continuation))

    # Special tokens are added as the tokenizer does by itself, unless the text brings its own;
    # what follows an empty context is tokenised bare, and its first token put before it.
    contexts: dict[int, array] = {}
    wholes: dict[int, array] = {}
    for special in (True, False):
        members = [
            i
            for i, (context, _) in enumerate(pairs)
            if special == (bool(context) and not (begin and context.startswith(begin)))
        ]
        # Options of one item repeat its context: tokenise each distinct text once.
        distinct = sorted({pairs[i][0] for i in members})
        known = dict(zip(distinct, ids_of(distinct, special), strict=True))
        contexts |= {i: known[pairs[i][0]] for i in members}
        whole = ids_of(["".join(pairs[i]) for i in members], special)
        wholes |= dict(zip(members, whole, strict=True))

    encoded = []
    for i, (context, continuation) in enumerate(pairs):
        ids, scored = wholes.pop(i), 0
        if context:
            scored = len(ids) - len(contexts[i])
        else:
            lead = first_token(tokenizer)
            # A continuation that brings the first token itself is not given a second one.
            if len(ids) < 2 or ids[0] != lead:
                ids = array("i", [lead]) + ids
            scored = len(ids) - 1
        if scored < 1:
            raise InputError(
                f"The continuation {continuation!r} of request {i} adds no token to its context: "
                "move a word from the context into the continuation."
            )
        cut = max_length is not None and len(ids) > max_length + 1
        if cut and scored > max_length:
            raise InputError(
                f"The continuation of request {i} has {scored} tokens, more than the model's input "
                f"of {max_length}: shorten it, or score it as text by strided windows."
            )
        encoded.append(Encoded(ids[-(max_length + 1) :] if cut else ids, scored, cut))
    return encoded


def first_slots(encoded: Sequence[Encoded]) -> np.ndarray:
    """Where each request's scored tokens begin in the flat list of all of them, and its length."""
    return np.concatenate([[0], np.cumsum([one.scored for one in encoded], dtype=np.int64)])


def plan_rows(
    encoded: Sequence[Encoded], *, layout: str, width: int, limit: int = ROW
) -> list[Row]:
    """Lay the requests out in rows, longest row first.

    layout: "tree", "cache" or "plain", as above; "plain" still merges identical inputs.
    width: the model's hidden size, which decides when a tree pays. A token saved saves about
    24·width² operations a layer. A pair of tokens that need not attend to each other costs 4·width
    in either direction, at some two thirds of the rate. So a request joins the row of its neighbour
    in sorted order while 2·width·(tokens shared) exceeds the pairs that it would add. Under a cache
    a row has one trunk: the first two requests fix it, if it makes up half of the second.
    limit: tokens that a row stays within, or within four times its longest sequence.
    """
    slots = first_slots(encoded)
    order = sorted(range(len(encoded)), key=lambda i: encoded[i].ids)
    rows: list[Row] = []
    path: list[int] = []  # nodes of the last sequence laid out
    last: Sequence[int] = ()  # its tokens
    trunk = None  # tokens that all sequences of a cached row share
    for i in order:
        # The last token is predicted, never fed.
        ids, feed = encoded[i].ids, encoded[i].ids[:-1]
        shared = 0
        while shared < min(len(last), len(feed)) and last[shared] == feed[shared]:
            shared += 1
        new = len(feed) - shared
        full = bool(rows) and len(rows[-1]) + new > max(limit, 4 * len(feed))
        if new == 0 or not rows:
            joins = bool(rows)
        elif layout == "tree":
            joins = not full and 2 * width * shared > new * len(rows[-1])
        elif layout == "cache":
            fits = 2 * shared >= len(feed) if trunk is None else shared >= trunk
            joins = fits and not full
        else:
            joins = False
        if joins and new and layout == "cache":
            trunk = shared = shared if trunk is None else trunk
        if not joins:
            rows.append(Row())
            path, shared, trunk = [], 0, None
        row = rows[-1]
        path = path[:shared]
        for position in range(shared, len(feed)):
            row.token.append(feed[position])
            row.parent.append(path[-1] if path else -1)
            row.depth.append(position)
            path.append(len(row) - 1)
        last = feed
        start = len(ids) - encoded[i].scored
        row.node.extend(path[start - 1 :])
        row.target.extend(ids[start:])
        row.slot.extend(range(slots[i], slots[i + 1]))
    return sorted(rows, key=len, reverse=True)


def batches(rows: Sequence[Row], token_budget: int) -> list[list[Row]]:
    """Consecutive rows, longest first, whose padded size (rows × longest) stays within the budget.

    Of all such splits the one that feeds the fewest tokens, padding and `PASS` a batch counted
    (shortest path; a batch ends where it is full or where the next row is shorter).
    """
    lengths = [len(row) for row in rows]
    shorter = [i for i in range(1, len(rows)) if lengths[i] < lengths[i - 1]]
    cost = [0.0, *[math.inf] * len(rows)]
    begin = [0] * len(cost)
    for i, length in enumerate(lengths):
        if cost[i] == math.inf:
            continue
        full = min(len(rows), i + max(1, token_budget // length))
        for end in (*shorter[bisect_right(shorter, i) : bisect_left(shorter, full)], full):
            if (found := cost[i] + length * (end - i) + PASS) < cost[end]:
                cost[end], begin[end] = found, i
    split = []
    end = len(rows)
    while end:
        split.append(list(rows[begin[end] : end]))
        end = begin[end]
    return split[::-1]


def padded(values: Iterable[Sequence[int]], length: int, device, fill: int = 0) -> torch.Tensor:
    """Integer sequences as one (rows, length) tensor, filled up on the right."""
    values = list(values)
    out = np.full((len(values), length), fill, dtype=np.int64)
    for row, one in zip(out, values, strict=True):
        row[: len(one)] = one
    return torch.from_numpy(out).to(device)


def runs(row: Row) -> list[tuple[int, int]]:
    """Spans (start, end) of nodes that each continue the one before."""
    parent = np.asarray(row.parent)
    starts = np.flatnonzero(parent != np.arange(-1, len(row) - 1))
    return list(zip([0, *starts], [*starts, len(row)], strict=True))


def ancestor_mask(batch: Sequence[Row], dtype, device) -> torch.Tensor:
    """Additive mask (rows, 1, T, T): a token attends to itself and its ancestors only.

    Blocked places hold the type's lowest number: the form every attention implementation accepts.
    """
    length = max(map(len, batch))
    blocked = torch.finfo(dtype).min
    mask = torch.full((len(batch), length, length), blocked, dtype=dtype)
    triangle = torch.full((length, length), blocked, dtype=dtype).triu(1)
    for r, row in enumerate(batch):
        for start, end in runs(row):
            if start:
                mask[r, start:end, :start] = mask[r, row.parent[start], :start]
            mask[r, start:end, start:end] = triangle[: end - start, : end - start]
        # Padding attends to the first token, so that no row of the softmax is empty.
        mask[r, len(row) :, 0] = 0
    return mask[:, None].to(device)


def hidden_states(model, batch: Sequence[Row], layout: str) -> torch.Tensor:
    """Last hidden states (rows, T, width) of the padded rows, final norm included."""
    device, length = model.device, max(map(len, batch))
    ids = padded((row.token for row in batch), length, device)
    if layout == "tree":
        out = model.base_model(
            input_ids=ids,
            attention_mask=ancestor_mask(batch, model.dtype, device),
            position_ids=padded((row.depth for row in batch), length, device),
            use_cache=False,
        )
    elif layout == "cache":
        return cached_states(model, batch)
    else:
        mask = padded(([1] * len(row) for row in batch), length, device)
        out = model.base_model(input_ids=ids, attention_mask=mask, use_cache=False)
    return out.last_hidden_state


def cached_states(model, batch: Sequence[Row]) -> torch.Tensor:
    """As `hidden_states`: each row's trunk first, then its branches over copies of its cache."""
    device = model.device
    takes_positions = "position_ids" in inspect.signature(model.base_model.forward).parameters

    # A trunk ends where the row's second run of nodes branches off.
    branching = [runs(row)[1:] for row in batch]
    trunks = [
        row.parent[more[0][0]] + 1 if more else len(row)
        for row, more in zip(batch, branching, strict=True)
    ]
    reach = max(trunks)
    seen = padded(([1] * trunk for trunk in trunks), reach, device)
    heads = (row.token[:trunk] for row, trunk in zip(batch, trunks, strict=True))
    out = model.base_model(
        input_ids=padded(heads, reach, device), attention_mask=seen, use_cache=True
    )
    width = out.last_hidden_state.shape[-1]
    states = out.last_hidden_state.new_zeros(len(batch), max(map(len, batch)), width)
    states[:, :reach] = out.last_hidden_state

    spans = [
        (r, start, end)
        for r, (trunk, more) in enumerate(zip(trunks, branching, strict=True))
        if more
        for start, end in [(trunk, more[0][0]), *more]
    ]
    if not spans:
        return states
    longest = max(end - start for _, start, end in spans)
    owner = torch.tensor([r for r, _, _ in spans], device=device)
    cache = out.past_key_values
    cache.batch_select_indices(owner)
    inputs = {}
    if takes_positions:
        inputs["position_ids"] = padded((batch[r].depth[s:e] for r, s, e in spans), longest, device)
    ahead = padded(([1] * (end - start) for _, start, end in spans), longest, device)
    tails = model.base_model(
        input_ids=padded((batch[r].token[s:e] for r, s, e in spans), longest, device),
        attention_mask=torch.cat([seen[owner], ahead], dim=1),
        past_key_values=cache,
        use_cache=True,
        **inputs,
    ).last_hidden_state
    for (r, start, end), tail in zip(spans, tails, strict=True):
        states[r, start:end] = tail[: end - start]
    return states


def scored_states(model, batch: Sequence[Row], layout: str):
    """Where the batch is scored: hidden states (N, width), wanted tokens (N,), slots (N,) int64."""
    states = hidden_states(model, batch, layout)
    owner = np.repeat(np.arange(len(batch)), [len(row.node) for row in batch])
    node, target, slot = (
        torch.from_numpy(np.concatenate([np.asarray(getattr(row, name)) for row in batch]))
        for name in ("node", "target", "slot")
    )
    states = states[torch.from_numpy(owner).to(states.device), node.to(states.device)]
    return states, target.to(states.device), slot


def layouts(model) -> tuple[str, ...]:
    """Which of "tree", "cache" and "plain" give this model's hidden states rightly, best first.

    Found by trying, not by a list of names: two small tries, against plain passes of their
    sequences one by one; the error must be far below that of an ordinary causal mask.
    """
    if hasattr(model, "_ethical_compression_layouts"):
        return model._ethical_compression_layouts
    vocabulary = model.get_input_embeddings().weight.shape[0]
    draw = torch.randint(0, vocabulary, (30,), generator=torch.Generator().manual_seed(0)).tolist()
    branches = [(0, 4, 10, 13), (0, 4, 13, 17), (4, 6, 20, 25), (4, 6, 25, 27)]
    probes = [Encoded([*draw[a:b], *draw[c:d], 0], b - a + d - c) for a, b, c, d in branches]

    def plan(layout):  # to a model without bounds, even such short trunks are worth sharing
        return plan_rows(probes, layout=layout, width=10**9)

    def states(batches, layout):
        parts = [scored_states(model, batch, layout) for batch in batches]
        order = torch.cat([slot for _, _, slot in parts]).argsort()
        return torch.cat([found for found, _, _ in parts])[order].float()

    right = []
    with torch.inference_mode():
        truth = states([[row] for row in plan("plain")], "plain")
        # A cache forgets what a sliding window has passed, padding counted: not worth the trouble.
        for layout in ["tree"] if sliding_window(model) else ["tree", "cache"]:
            try:
                error = (states([plan(layout)], layout) - truth).norm()
                control = (states([plan(layout)], "plain") - truth).norm()
            except (TypeError, ValueError, RuntimeError, IndexError, AttributeError):
                continue
            if error <= 0.1 * control:
                right.append(layout)
    model._ethical_compression_layouts = (*right, "plain")
    return model._ethical_compression_layouts


def sliding_window(model) -> int | None:
    """How many tokens back the model's attention reaches, where that is bounded."""
    return getattr(model.config.get_text_config(), "sliding_window", None)


def choose_layout(models: Sequence, encoded: Sequence[Encoded], layout: str | None = None) -> str:
    """The best layout that all the models run rightly with these requests, or the one asked for.

    Raises InputError when that is not among them.
    """
    longest = max((len(one.ids) for one in encoded), default=0)
    allowed = [
        # An explicit mask replaces a sliding window, so nothing may be longer than the window.
        layouts(model) if longest <= (sliding_window(model) or longest) else ("plain",)
        for model in models
    ]
    common = [one for one in allowed[0] if all(one in others for others in allowed)]
    if layout not in (None, *common):
        raise InputError(
            f"Layout {layout!r} does not give these requests' scores rightly with this model: "
            f"choose one of {', '.join(common)}."
        )
    return layout or common[0]


def output_head(model) -> dict:
    """What turns hidden states into logits: `weight` (V, width), `bias` and `softcap`, or None.

    Raises InputError for a model that does anything else to its logits: found by one short pass.
    """
    head = model.get_output_embeddings()
    parts = {
        "weight": getattr(head, "weight", None),
        "bias": getattr(head, "bias", None),
        "softcap": getattr(model.config.get_text_config(), "final_logit_softcapping", None),
    }
    if not hasattr(model, "_ethical_compression_head"):
        right = False
        if parts["weight"] is not None and parts["weight"].is_floating_point():
            ids = torch.arange(4, device=model.device)[None]
            with torch.inference_mode():
                truth = model(input_ids=ids, use_cache=False).logits[0].float().log_softmax(-1)
                states = model.base_model(input_ids=ids, use_cache=False).last_hidden_state[0]
                best = truth.argmax(-1)
                ours = linear_logprob(states, targets=best, **parts).logprob
            right = torch.allclose(ours, truth.gather(1, best[:, None])[:, 0], 0.05, 0.05, True)
        model._ethical_compression_head = right
    if not model._ethical_compression_head:
        raise InputError(
            "This model's output head is not a plain matrix with bias and soft-cap, so its logits "
            "cannot be taken apart: use another model, or leave its output head uncompressed."
        )
    return parts


def model_length(model) -> int | None:
    """Tokens the model can be fed, by its config; None where positions are unbounded (ALiBi)."""
    text = model.config.get_text_config()
    for name in ("max_position_embeddings", "n_positions", "n_ctx"):
        if isinstance(getattr(text, name, None), int):
            return getattr(text, name)
    return None


def run_rows(
    models: Sequence, rows: Sequence[Row], layout: str, token_budget: int | None, consume, progress
):
    """Run rows through models in batches; `consume(states of each model, targets, slots)`.

    A batch that does not fit in memory is halved. Raises InputError when a single row does not fit.
    """
    from tqdm.auto import tqdm

    bar = tqdm(total=sum(map(len, rows)), unit="tok", desc=progress, disable=progress is None)
    budget = token_budget or BUDGET.get(models[0].device.type, BUDGET["cuda"])
    waiting = batches(rows, budget)[::-1]
    while waiting:
        batch = waiting.pop()
        try:
            with torch.inference_mode():
                found = [scored_states(model, batch, layout) for model in models]
                consume([states for states, _, _ in found], *found[0][1:])
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                raise InputError(
                    f"One row of {len(batch[0])} tokens does not fit in the device's memory: use a "
                    "smaller model, a smaller dtype, or a device with more memory."
                ) from None
            torch.cuda.empty_cache()
            half = len(batch) // 2
            waiting += [batch[half:], batch[:half]]
            continue
        bar.update(sum(map(len, batch)))
    bar.close()


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
    layout = choose_layout([model], encoded, layout)
    width = model.config.get_text_config().hidden_size
    rows = plan_rows(encoded, layout=layout, width=width)
    head = output_head(model)
    starts = first_slots(encoded)
    logprob, spread = np.zeros((2, starts[-1]), dtype=np.float32)
    greedy = np.zeros(starts[-1], dtype=bool)

    def consume(states, targets, slots):
        result = linear_logprob(states[0], targets=targets, argmax=False, entropy=entropy, **head)
        if not result.logprob.isfinite().all():
            raise InputError(
                "The model gives log-likelihoods that are not finite numbers: its weights or its "
                "dtype are broken; load it in float32, or compress it again."
            )
        logprob[slots] = result.logprob.cpu()
        spread[slots] = result.entropy.cpu() if entropy else np.nan
        greedy[slots] = (result.logprob == result.best).cpu()

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
    options: token_budget (tokens in one forward pass, by default `BUDGET`; halved by itself when
    memory runs out), layout ("tree", "cache" or "plain"; None takes the first of `layouts`),
    progress (text of the progress bar; None shows none).

    Returns a pandas DataFrame, one row a request in the given order: `logprob` (nats, summed over
    the continuation), `tokens`, `bytes` (UTF-8, of the continuation as given), `greedy` (every
    token was the most probable), `truncated`; with `details` also `token_ids`, `token_logprobs`
    and `token_entropies` (nats), lists over the continuation.

    Raises InputError for what `encode` and `score_encoded` refuse.
    Source: definition in Proskurina et al. 2024, §3; tokenisation as lm-eval's `HFLM`.
    """
    import pandas as pd

    requests = [Request(*request) for request in requests]
    encoded = encode(tokenizer, requests, max_length or model_length(model))
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
    windows do not overlap, has no context and is not scored.
    Returns a DataFrame, one row a window: `window`, `tokens` (scored), `logprob` (nats, their sum).
    Raises InputError for a stride that skips tokens and for text of fewer than two tokens.
    """
    import pandas as pd

    stride = stride or window
    if not 0 < stride <= window:
        raise InputError(
            f"A stride of {stride} tokens must lie between 1 and the window, {window}."
        )
    ids = tokenizer("\n\n".join(documents), add_special_tokens=False)["input_ids"]
    if len(ids) < 2:
        raise InputError("This text has fewer than two tokens: give a longer one.")
    pieces, done = [], 1
    for begin in range(0, len(ids) - 1, stride):
        end = min(begin + window, len(ids))
        pieces.append(Encoded(ids[begin:end], end - max(done, begin + 1)))
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
