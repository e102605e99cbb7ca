"""Rows of tokens run through a model: in the best layout that it is seen to run rightly.

Masks of four dimensions, positions and copied caches are not taken rightly by all families, and no
list of names says by which: each layout (`token_tree`) is tried on a few tokens against the plain
way, once a model and size. What is known of a model beforehand, its bounds and its head, is in
`networks`.
"""

import inspect
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from ethical_compression.errors import InputError
from ethical_compression.memory import is_of_memory
from ethical_compression.score.networks import (
    NOT_FINITE,
    attention_window,
    backbone,
    failed,
    model_length,
    output_head,
    rotation_border,
    rounding,
    unsupported,
)
from ethical_compression.score.token_tree import (
    Row,
    ancestor_mask,
    padded,
    plan_rows,
    runs,
    side_by_side,
)
from ethical_compression.score.tokens import Encoded

# --- Running rows ---------------------------------------------------------------------------------


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


class Scored(NamedTuple):
    """Where a batch is scored: hidden states (P, width) of its P places; and of each of N scored
    tokens its place, the token (both on the states' device) and its slot, (N,) int64. Requests
    that begin alike are scored at the same place, which is looked at once."""

    states: torch.Tensor
    place: torch.Tensor
    target: torch.Tensor
    slot: torch.Tensor


def scored_states(model, batch: Sequence[Row], layout: str) -> Scored:
    """A batch of rows run through a model, in a layout."""
    states = hidden_states(model, batch, layout)
    owner = np.repeat(np.arange(len(batch)), [len(row.node) for row in batch])
    node, target, slot = (
        np.concatenate([np.asarray(getattr(row, name), dtype=np.int64) for row in batch])
        for name in ("node", "target", "slot")
    )
    where, place = np.unique(owner * states.shape[1] + node, return_inverse=True)
    device = states.device
    states = states.flatten(0, 1)[torch.from_numpy(where).to(device)]
    place, target = (torch.from_numpy(one).to(device) for one in (place, target))
    return Scored(states, place, target, torch.from_numpy(slot))


def out_of_memory(length: int) -> InputError:
    return InputError(
        f"One row of {length} tokens does not fit in the device's memory: use a smaller model, a "
        "smaller dtype, or a device with more memory."
    )


# --- Trying layouts -------------------------------------------------------------------------------


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
    except Exception as error:
        raise out_of_memory(2 * length) if is_of_memory(error) else failed(error) from error
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


def usable(model, depth: int = 24, length: int = 48) -> tuple[str, ...]:
    """Which of "tree", "cache" and "plain" give this model's hidden states rightly, best first.

    depth: tokens of the longest sequence. length: tokens of the longest row that will be built.
    Found by trying, not by a list of names (`runs_rightly`).
    """
    probe(model)
    right = [one for one in ("tree", "cache") if runs_rightly(model, one, depth, length)]
    return (*right, "plain")


def runs_rightly(model, layout: str, depth: int, length: int) -> bool:
    """Whether the model gives the right hidden states for rows in a layout, "tree" or "cache".

    depth, length: as in `usable`. Two tries are run as a row of that size and a shorter one beside
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
    if layout == "tree" and 2 * len(rows[1]) <= length:
        rows.append(side_by_side([rows[1], rows[1]]))
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
    except Exception as problem:
        if is_of_memory(problem):
            raise out_of_memory(len(rows[0])) from None
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
        right = [usable(model, longest, lengths.get(layout, longest)) for model in models]
        common = [one for one in right[0] if all(one in others for others in right)]
        raise InputError(
            f"Layout {layout!r} does not give these requests' scores rightly with this model: "
            f"choose one of {', '.join(common)}."
        )
    for model in models:
        probe(model)
    return "plain", plan_rows(encoded, layout="plain", width=width, border=border)
