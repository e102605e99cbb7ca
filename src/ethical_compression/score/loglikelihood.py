"""Log-likelihoods of continuations: the one number that every study here is made of.

    log p(y | x) = Σ_i log p(y_i | x, y_<i)

Tokens follow lm-evaluation-harness (Gao et al.), so that numbers compare: context and continuation
are tokenised *together*, spaces at the end of the context belong to the continuation, an empty
context stands for the model's first token, and what does not fit is cut from the left (counted,
never silent). Where a newline ends the context, as in chat templates, and is a token of its own, it
stays with the context; lm-evaluation-harness counts it as the continuation's.

Nothing is computed twice. Requests that begin alike share a *row*: a trie of tokens, laid out in
one of three ways, the first that the model is seen to run rightly (`layouts`):

- "tree"   one sequence, where each token attends to its own ancestors only and has its depth as
           position (Llama, Mistral, GPT-2, OPT, Gemma, …);
- "cache"  the trunk once, then its branches over copies of the trunk's keys and values, for models
           that count positions by themselves (BLOOM's ALiBi);
- "plain"  a padded row for each different input.

The output head is applied only where a token is scored. What is known of a model beforehand, its
bounds and its head, is in `networks`.
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
from ethical_compression.score.networks import (
    NOT_FINITE,
    attention_window,
    backbone,
    failed,
    model_length,
    next_token,
    output_head,
    rotation_border,
    rounding,
    unsupported,
    unwrapped,
)

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


def tokenise(tokenizer, texts: Sequence[str], *, special: bool = True) -> list[array]:
    """Tokens of each text, with those that the tokenizer puts before a text by itself, unless the
    text brings its own first token, and without those that it puts after one.

    special: False leaves out both.
    """
    begin = getattr(tokenizer, "bos_token", None)
    after = _after(tokenizer) if special else ()
    found: list[array | None] = [None] * len(texts)
    for wanted in (True, False):
        some = [
            i
            for i, text in enumerate(texts)
            if wanted == (special and not (begin and text.startswith(begin)))
        ]
        for start in range(0, len(some), SLAB):
            slab = some[start : start + SLAB]
            ids = tokenizer(
                [texts[i] for i in slab],
                add_special_tokens=wanted,
                return_attention_mask=False,
                return_token_type_ids=False,
            )["input_ids"]
            for i, one in zip(slab, ids, strict=True):
                kept = len(one) - len(after) if wanted else len(one)
                found[i] = array("i", one[:kept])
    return found


def _after(tokenizer) -> tuple[int, ...]:
    """Tokens that the tokenizer puts after every text (`</s>` with `add_eos_token`)."""
    bare, full = (tokenizer("a", add_special_tokens=one)["input_ids"] for one in (False, True))
    ends = [i + len(bare) for i in range(len(full)) if full[i : i + len(bare)] == bare]
    return tuple(full[ends[0] :]) if bare and ends else ()


def encode(tokenizer, requests: Sequence[Request], max_length: int | None = None) -> list[Encoded]:
    """Tokens of each request, context and continuation tokenised together.

    max_length: tokens the model can be fed; longer requests lose tokens on the left and are marked.
    Raises InputError for a continuation that is empty, that adds no token to its context, or that
    alone is longer than the model's input.
    """
    for number, (_, continuation) in enumerate(requests):
        if not continuation:
            raise InputError(
                f"Request {number} has an empty continuation: there is nothing to score."
            )

    # What follows an empty context is tokenised bare, and its first token put before it. Options of
    # one item repeat its context: each distinct text is tokenised once.
    stripped = [context.rstrip() for context, _ in requests]
    known = dict.fromkeys(one for one in stripped if one)
    known |= dict.fromkeys(one for one, _ in requests if one.strip() and one[-1] in "\r\n")
    contexts = dict(zip(known, tokenise(tokenizer, list(known)), strict=True))
    wholes = [""] * len(requests)
    for special in (True, False):
        members = [i for i, context in enumerate(stripped) if special == bool(context)]
        texts = ["".join(requests[i]) for i in members]
        for i, ids in zip(members, tokenise(tokenizer, texts, special=special), strict=True):
            wholes[i] = ids

    encoded = []
    for i, (context, continuation) in enumerate(requests):
        ids, wholes[i] = wholes[i], None
        if stripped[i]:
            before = contexts.get(context, ()) if context[-1] in "\r\n" else ()
            if not before or ids[: len(before)] != before:
                before = contexts[stripped[i]]
            scored = len(ids) - len(before)
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
    encoded: Sequence[Encoded],
    *,
    layout: str,
    width: int,
    limit: int = ROW,
    window: int | None = None,
    border: int | None = None,
) -> list[Row]:
    """Lay the requests out in rows, longest row first.

    layout: "tree", "cache" or "plain", as above; "plain" still merges identical inputs.
    width: the model's hidden size, which decides when a tree pays. A token saved saves about
    24·width² operations a layer. A pair of tokens that need not attend to each other costs 4·width
    in either direction, at some two thirds of the rate. So a request joins the row of its neighbour
    in sorted order while 2·width·(tokens shared) exceeds the pairs that it would add. Under a cache
    a row has one trunk: the first two requests fix it, if it makes up half of the second.
    limit: tokens that a row stays within, or within four times its longest sequence.
    window: tokens that no row of several sequences exceeds, where the model's attention reaches no
    farther back: some count them by place in the row.
    border: sequences longer than that share no row with others (`networks.rotation_border`).
    """
    window, border = window or math.inf, border or math.inf
    slots = first_slots(encoded)
    beyond = [len(one.ids) - 1 > border for one in encoded]
    order = sorted(range(len(encoded)), key=lambda i: (beyond[i], encoded[i].ids))
    rows: list[Row] = []
    path: list[int] = []  # nodes of the last sequence laid out
    last: Sequence[int] = ()  # its tokens
    trunk = None  # tokens that all sequences of a cached row share
    for i in order:
        # The last token is predicted, never fed.
        ids, feed = encoded[i].ids, encoded[i].ids[:-1]
        shared = 0
        if rows and beyond[i] != (len(last) > border):
            last = ()
        while shared < min(len(last), len(feed)) and last[shared] == feed[shared]:
            shared += 1
        new = len(feed) - shared
        full = bool(rows) and len(rows[-1]) + new > min(window, max(limit, 4 * len(feed)))
        if not rows or not last:
            joins = False
        elif new == 0:
            joins = True
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


def network(model):
    """What is run for a row, and the name of what is wanted of it: the model without its output
    head, or all of it, where only its own code makes logits of states (`networks.output_head`)."""
    if output_head(model) is None:
        return model, "logits"
    return backbone(model), "last_hidden_state"


def hidden_states(model, batch: Sequence[Row], layout: str) -> torch.Tensor:
    """Last hidden states (rows, T, width) of the padded rows, final norm included; or logits (rows,
    T, V), see `network`."""
    device, length = model.device, max(map(len, batch))
    run, wanted = network(model)
    ids = padded((row.token for row in batch), length, device)
    if layout == "tree":
        out = run(
            input_ids=ids,
            attention_mask=ancestor_mask(batch, model.dtype, device),
            position_ids=padded((row.depth for row in batch), length, device),
            use_cache=False,
        )
    elif layout == "cache":
        return cached_states(model, batch)
    else:
        mask = padded(([1] * len(row) for row in batch), length, device)
        out = run(input_ids=ids, attention_mask=mask, use_cache=False)
    return getattr(out, wanted)


def cached_states(model, batch: Sequence[Row]) -> torch.Tensor:
    """As `hidden_states`: each row's trunk first, then its branches over copies of its cache."""
    device = model.device
    run, wanted = network(model)
    takes_positions = "position_ids" in inspect.signature(run.forward).parameters

    # A trunk ends where the row's second run of nodes branches off.
    branching = [runs(row)[1:] for row in batch]
    trunks = [
        row.parent[more[0][0]] + 1 if more else len(row)
        for row, more in zip(batch, branching, strict=True)
    ]
    reach = max(trunks)
    seen = padded(([1] * trunk for trunk in trunks), reach, device)
    heads = (row.token[:trunk] for row, trunk in zip(batch, trunks, strict=True))
    out = run(input_ids=padded(heads, reach, device), attention_mask=seen, use_cache=True)
    first = getattr(out, wanted)
    states = first.new_zeros(len(batch), max(map(len, batch)), first.shape[-1])
    states[:, :reach] = first

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
    cache = getattr(out, "past_key_values", None)
    layers = getattr(cache, "layers", ())
    if not layers or any(
        getattr(one, "is_sliding", False) or not hasattr(one, "batch_select_indices")
        for one in layers
    ):
        # Recurrent states know nothing of padding, and what slides forgets.
        raise NotImplementedError("a cache that cannot be copied for each branch")
    cache.batch_select_indices(owner)
    inputs = {}
    if takes_positions:
        inputs["position_ids"] = padded((batch[r].depth[s:e] for r, s, e in spans), longest, device)
    ahead = padded(([1] * (end - start) for _, start, end in spans), longest, device)
    tails = run(
        input_ids=padded((batch[r].token[s:e] for r, s, e in spans), longest, device),
        attention_mask=torch.cat([seen[owner], ahead], dim=1),
        past_key_values=cache,
        use_cache=True,
        **inputs,
    )
    for (r, start, end), tail in zip(spans, getattr(tails, wanted), strict=True):
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


class Probe(NamedTuple):
    """What a model does on a few tokens. noise: the relative difference that another text beside
    it in the batch makes, which is rounding (and LLM.int8's, which keeps in full what is large in
    any row). context: the one that other words before a place make there."""

    noise: float
    context: float

    def bound(self, rounding: float) -> float:
        """Up to where a difference is rounding: see `runs_rightly`."""
        return max(min(rounding, 0.1 * self.context), 4 * self.noise)


@torch.inference_mode()
def probe(model) -> Probe:
    """See `Probe`; found once a model.

    Raises InputError for a model that cannot be run at all, whose prediction of a token depends on
    the tokens after it, or on padding.
    """
    if hasattr(model, "_ethical_compression_probe"):
        return model._ethical_compression_probe
    length = max(4, min(24, model_length(model) or 24, rotation_border(model) or 24))
    half = length // 2
    draw = drawer(model)
    one = draw(length)
    # The same beginning and end, and other words between: what comes before must not change.
    other = [*one[: half // 2], *draw(half - half // 2), *one[half:]]
    first, second, short = (
        plan_rows([_fed(ids)], layout="plain", width=1)[0] for ids in (one, other, draw(half))
    )
    try:
        alone, changed, brief = (
            hidden_states(model, [row], "plain")[0] for row in (first, second, short)
        )
        beside = hidden_states(model, [first, second], "plain")[0]
        filled = hidden_states(model, [first, short], "plain")[1][:half]
    except InputError:
        raise
    except torch.OutOfMemoryError:
        raise out_of_memory(2 * length) from None
    except Exception as error:
        raise failed(error) from error
    if not alone.isfinite().all():
        raise InputError(NOT_FINITE)
    found = Probe(apart(beside, alone), apart(changed[half:], alone[half:]))
    # Gross faults are looked for; "not at most" holds for NaN, too.
    bound = max(rounding(model), 4 * found.noise, 0.1 * found.context)
    if not apart(changed[: half // 2], alone[: half // 2]) <= bound:
        raise InputError(
            f"This {model.config.model_type} model reads the tokens after the one that it "
            "predicts: choose a model that goes on with a text from left to right."
        )
    if not apart(filled, brief) <= bound:
        raise InputError(
            f"This {model.config.model_type} model gives other predictions when shorter texts are "
            "padded to the length of longer ones: it cannot be scored in batches."
        )
    model._ethical_compression_probe = found
    return found


def drawer(model):
    """`draw(n)`: n tokens at random, as a list; the same ones each time."""
    vocabulary = model.get_input_embeddings().weight.shape[0]
    generator = torch.Generator().manual_seed(0)
    return lambda n: torch.randint(0, vocabulary, (n,), generator=generator).tolist()


def _fed(ids: list[int]) -> Encoded:
    """A request that feeds `ids` and looks at every state."""
    return Encoded([*ids, 0], len(ids))


def apart(states: torch.Tensor, truth: torch.Tensor) -> float:
    """‖states − truth‖ ÷ ‖truth‖ of (places, width), in float32.

    In half precision, where rounding may send a token to another expert, that of the middle place.
    """
    gap, size = (states.float() - truth.float()).norm(dim=-1), truth.float().norm(dim=-1)
    if states.dtype in (torch.float16, torch.bfloat16):
        return float((gap / size).median())
    return float(gap.norm() / size.norm())


def layouts(model, depth: int = 24, length: int = 48) -> tuple[str, ...]:
    """Which of "tree", "cache" and "plain" give this model's hidden states rightly, best first.

    depth: tokens of the longest sequence. length: tokens of the longest row that will be built.
    Found by trying, not by a list of names (`runs_rightly`).
    """
    probe(model)
    right = [one for one in ("tree", "cache") if runs_rightly(model, one, depth, length)]
    return (*right, "plain")


def runs_rightly(model, layout: str, depth: int, length: int) -> bool:
    """Whether the model gives the right hidden states for rows in a layout, "tree" or "cache".

    depth, length: as in `layouts`. Two tries are run as a row of that size and a shorter one beside
    it, so that there is padding; the sequence that each lays out last is run by itself. The
    difference must be that of rounding (`networks.ROUNDING`) and far below that of other words
    before; four times what company in a batch makes is allowed, for models that magnify rounding.
    What is right for large rows is right for small ones, so that few sizes are tried.
    Raises InputError as `probe` does, and for a trial that fails for another reason than that the
    model does not take masks, positions or caches of this form (`networks.unsupported`).
    """
    window = attention_window(model) or math.inf
    # An explicit mask replaces a window, so nothing may be longer than it; and a cache forgets what
    # a sliding window has passed, padding counted.
    border = rotation_border(model) or math.inf
    if length > window or (layout == "cache" and (window < math.inf or depth > border)):
        return False
    inputs = inspect.signature(network(model)[0].forward).parameters
    if {"tree": "position_ids", "cache": "past_key_values"}[layout] not in inputs:
        return False
    if not hasattr(model, "_ethical_compression_layouts"):
        model._ethical_compression_layouts = {}
    tried = model._ethical_compression_layouts.setdefault(layout, [])
    # Round sizes are tried, within what the model is made for.
    bound = min(window, model_length(model) or math.inf, border if depth <= border else math.inf)
    depth, length = (
        max(size, int(min(bound, 2 ** math.ceil(math.log2(max(size, 1))))))
        for size in (depth, length)
    )
    for d, n, right in tried:
        if (right and d >= depth and n >= length) or (not right and d <= depth and n <= length):
            return right
    tried.append((depth, length, _comes_out_right(model, layout, depth, length)))
    return tried[-1][-1]


@torch.inference_mode()
def _comes_out_right(model, layout: str, depth: int, length: int) -> bool:
    draw = drawer(model)
    length = max(length, 6)
    depth = min(max(depth, 4), length - 1)
    tip = max(1, min(depth // 3, length - depth))
    beyond = depth > (rotation_border(model) or depth)
    trunk, short = draw(depth - tip), draw(max(1, (depth - tip) // (1 if beyond else 2)))
    tips = [draw(tip) for _ in range((length - len(trunk)) // tip)]
    if len(tips) > 2:  # one branches off within another
        tips[-1] = [*tips[0][: tip // 2], *draw(tip - tip // 2)]
    rows = []
    for stem, ends in ((trunk, tips), (short, [draw(tip) for _ in range(2)])):
        # To a model without bounds, even short trunks are worth sharing.
        some = [_fed([*stem, *end]) for end in ends]
        rows += plan_rows(some, layout=layout, width=10**9, limit=length)
    rows.sort(key=len, reverse=True)
    error = 0.0
    try:
        found = hidden_states(model, rows, layout)
        for row, states in zip(rows, found, strict=True):
            path = [len(row) - 1]
            while row.parent[path[-1]] >= 0:
                path.append(row.parent[path[-1]])
            path.reverse()
            alone = plan_rows([_fed([row.token[i] for i in path])], layout="plain", width=1)
            truth = hidden_states(model, alone, "plain")[0]
            border = len(path) - tip if len(path) > tip else 0
            for part in (slice(border), slice(border, None)):
                if len(truth[part]):
                    error = max(error, apart(states[path][part], truth[part]))
    except InputError:
        raise
    except torch.OutOfMemoryError:
        raise out_of_memory(len(rows[0])) from None
    except Exception as problem:
        if unsupported(problem):
            return False
        raise failed(problem) from problem
    return error <= probe(model).bound(rounding(model))


def plan(
    models: Sequence, encoded: Sequence[Encoded], layout: str | None = None
) -> tuple[str, list[Row]]:
    """The best layout that all the models run rightly with these requests, and the requests in it.

    layout: the one wanted; None takes the best. Raises InputError when it is not among the right
    ones, for a request that is longer than a model's input, and as `probe` and `runs_rightly` do.
    """
    longest = max((len(one.ids) - 1 for one in encoded), default=0)
    limit = min((one for model in models if (one := model_length(model))), default=longest)
    if longest > limit:
        raise InputError(
            f"A request has {longest} tokens before its last one, more than the model's input of "
            f"{limit}: shorten it, or score it as text in shorter windows."
        )
    window = min((one for model in models if (one := attention_window(model))), default=None)
    border = min((one for model in models if (one := rotation_border(model))), default=None)
    width = models[0].get_input_embeddings().weight.shape[1]
    lengths: dict[str, int] = {}
    for one in ("tree", "cache"):
        if layout not in (None, one):
            continue
        rows = plan_rows(encoded, layout=one, width=width, window=window, border=border)
        lengths[one] = max(map(len, rows), default=0)
        if all(runs_rightly(model, one, longest, lengths[one]) for model in models):
            return one, rows
    if layout not in (None, "plain"):
        right = [layouts(model, longest, lengths.get(layout, longest)) for model in models]
        common = [one for one in right[0] if all(one in others for others in right)]
        raise InputError(
            f"Layout {layout!r} does not give these requests' scores rightly with this model: "
            f"choose one of {', '.join(common)}."
        )
    for model in models:
        probe(model)
    return "plain", plan_rows(encoded, layout="plain", width=width, border=border)


def out_of_memory(length: int) -> InputError:
    return InputError(
        f"One row of {length} tokens does not fit in the device's memory: use a smaller model, a "
        "smaller dtype, or a device with more memory."
    )


def run_rows(
    models: Sequence, rows: Sequence[Row], layout: str, token_budget: int | None, consume, progress
):
    """Run rows through models in batches; `consume(states of each model, targets, slots)`.

    A batch that does not fit in memory is halved. Raises InputError when a single row does not fit.
    """
    from tqdm.auto import tqdm

    bar = tqdm(total=sum(map(len, rows)), unit="tok", desc=progress, disable=progress is None)
    budget = token_budget or BUDGET.get(models[0].device.type, BUDGET["cuda"])
    border = min((one for model in models if (one := rotation_border(model))), default=math.inf)
    beyond = [row for row in rows if max(row.depth) >= border]
    within = [row for row in rows if max(row.depth) < border]
    waiting = [*batches(within, budget)[::-1], *batches(beyond, budget)[::-1]]
    while waiting:
        batch = waiting.pop()
        try:
            with torch.inference_mode():
                found = [scored_states(model, batch, layout) for model in models]
                consume([states for states, _, _ in found], *found[0][1:])
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                raise out_of_memory(len(batch[0])) from None
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
    model = unwrapped(model)
    layout, rows = plan([model], encoded, layout)
    head = output_head(model)
    starts = first_slots(encoded)
    logprob, spread = np.zeros((2, starts[-1]), dtype=np.float32)
    greedy = np.zeros(starts[-1], dtype=bool)

    def consume(states, targets, slots):
        result = next_token(head, states[0], targets, entropy=entropy)
        if not result.logprob.isfinite().all():
            raise InputError(NOT_FINITE)
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
