"""Pairs of sentences that a layer should answer alike: aligned token by token, and gathered.

Both sentences of a pair stand in one call, so that one pass gives a layer's Hessian and that of the
differences between its inputs. Sentences are padded behind, which a causal model never sees; what
is gathered is the same however pairs are ordered, batched and padded.
"""

import math
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import NamedTuple

import torch

from ethical_compression.compress.blocks import read, short_text, survey
from ethical_compression.compress.hessian import Gather, Hessian, add_inputs
from ethical_compression.compress.in_step import Reached
from ethical_compression.datasets import repair_pairs
from ethical_compression.datasets.contrast import shared_ends
from ethical_compression.datasets.files import known
from ethical_compression.errors import InputError

POSITIONS = ("aligned", "differing", "start")
DEPTHS = ("all", "lower", "upper", "both")
# What the k-th pair's α is multiplied by, k from 1. Fair-GPTQ's released code divides H by the
# sentences and H₀₁ by the pairs, half as many. Debias-SparseGPT's adds each pair to a mean that
# shrinks what came before, but does not divide the pair itself: later pairs count for more.
SCALINGS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "per-pair": torch.ones_like,
    "fair-gptq": lambda k: torch.full_like(k, 2),
    "debias-sparsegpt": lambda k: 2 * k,
}


class Contrasted(NamedTuple):
    """What is known of a layer's inputs: their Hessian H, and that of the differences x₀ − x₁,
    None where no pair is to be answered alike. tokens: of all pairs, both sentences. name: of the
    weight, of the first that is fed so."""

    hessian: Hessian | None
    contrast: Hessian | None = None
    tokens: float = 0
    name: str = ""

    @property
    def matrix(self) -> torch.Tensor:
        """H, (in, in)."""
        return self.hessian.matrix

    @property
    def count(self) -> float:
        """The total weight of what H is the mean of."""
        return self.hessian.count

    def whole(self) -> "Contrasted":
        """With what lies below each matrix's diagonal (`Hessian.whole`)."""
        for one in filter(None, self[:2]):
            one.whole()
        return self

    @property
    def h01(self) -> torch.Tensor:
        """H₀₁/α on H's footing, (in, in): 2/n Σ (x₀−x₁)(x₀−x₁)ᵀ, n the pairs' tokens. Where H is
        of another text, this is as though that had as many tokens as the pairs."""
        return self.contrast.matrix * (self.contrast.count / self.tokens)


class Batch(NamedTuple):
    """Some pairs, as one call of the model.

    ids int64 (2 · pairs, length): a pair's sentences below one another; real bool, shaped alike:
    what is no padding. first, second int64 (n,): places in the flattened ids that are compared;
    pair int64 (n,): whose, numbered from 0 in the order in which the pairs were given.
    """

    ids: torch.Tensor
    real: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor
    pair: torch.Tensor


def align(one: Sequence[int], other: Sequence[int], positions: str = "aligned") -> list[tuple]:
    """Pairs of positions at which two sentences' tokens are compared.

    "aligned": what both begin with, what both end with, and between them the tokens that differ,
    from the last backwards, as a word is known when its last token is read; what one has more there
    has no counterpart. "differing": only those between. "start": position by position from the
    first, as released, whatever stands there; what the longer has more is left out (there it meets
    padding). Before the first difference a causal model's inputs are alike, and add nothing.
    """
    known("choice of positions", positions, POSITIONS)
    shorter = min(len(one), len(other))
    if positions == "start":
        return [(i, i) for i in range(shorter)]
    begin, end = shared_ends(one, other)
    between = range(end + 1, shorter - begin + 1)
    inner = [(len(one) - i, len(other) - i) for i in reversed(between)]
    if positions == "differing":
        return inner
    after = [(len(one) - i, len(other) - i) for i in range(end, 0, -1)]
    return [(i, i) for i in range(begin)] + inner + after


def batches(
    tokenizer,
    pairs: Sequence[tuple[str, str]],
    *,
    positions: str = "aligned",
    size: int = 16,
    length: int | None = None,
) -> list[Batch]:
    """Pairs of sentences as calls of `size` pairs, those of like length together.

    length: what sentences are padded to at least. Raises InputError where there are no pairs, or
    where a sentence has no token.
    """
    tokens = [tuple(tokenizer(text)["input_ids"] for text in pair) for pair in pairs]
    return of_tokens(tokens, positions=positions, size=size, length=length)


def drawn_batches(
    settings, model: torch.nn.Module, tokenizer, *, positions: str = "aligned"
) -> list[Batch]:
    """The pairs that a recipe asks for (its `pairs`, `pairs_source`, `pair_count` and `seed`), as
    `batches`. Raises InputError without a tokenizer, and as `check_causal`."""
    if tokenizer is None:
        raise InputError("Pairs of sentences need the model's tokenizer: give tokenizer=….")
    check_causal(model)
    found = repair_pairs.load(
        settings.pairs,
        source=settings.pairs_source,
        limit=settings.pair_count,
        seed=settings.seed,
    )
    return batches(tokenizer, [one.texts for one in found], positions=positions)


def of_tokens(
    tokens: Sequence[tuple[Sequence[int], Sequence[int]]],
    *,
    positions: str = "aligned",
    size: int = 16,
    length: int | None = None,
) -> list[Batch]:
    """`batches` of sentences given as token ids."""
    if not tokens or not all(one and other for one, other in tokens):
        raise InputError("Contrast needs at least one pair, of sentences of at least one token.")
    order = sorted(range(len(tokens)), key=lambda k: max(map(len, tokens[k])))
    found = []
    for begin in range(0, len(order), size):
        its = order[begin : begin + size]
        rows = [list(sentence) for k in its for sentence in tokens[k]]
        width = max(length or 0, *map(len, rows))
        real = torch.tensor([[i < len(row) for i in range(width)] for row in rows])
        ids = torch.tensor([row + row[-1:] * (width - len(row)) for row in rows])
        places = [
            (2 * row * width + a, (2 * row + 1) * width + b, k)
            for row, k in enumerate(its)
            for a, b in align(*tokens[k], positions)
        ]
        found.append(Batch(ids, real, *torch.tensor(places, dtype=torch.long).view(-1, 3).T))
    return found


def gatherer(
    pairs: Sequence[Batch],
    chosen: Collection[str],
    *,
    scaling: str = "per-pair",
    texts: int = 0,
) -> Gather:
    """Gathers a layer's `Contrasted` over calls: first `texts` of plain text, then the pairs.

    chosen: the names of the weights that shall answer pairs alike; of the others H is gathered
    alone. H is the text's where there is text, else the pairs' own. scaling: one of `SCALINGS`.
    """
    known("scaling of alpha", scaling, SCALINGS)
    total = float(sum(batch.real.sum() for batch in pairs))

    def gather(before, name, index, fed):
        hessian, contrast = before[:2] if before else (None, None)
        if index < texts:
            return Contrasted(add_inputs(hessian, fed), contrast, total, name)
        batch = pairs[index - texts]
        rows = fed.reshape(-1, fed.shape[-1])
        if len(rows) != batch.ids.numel():
            raise InputError(
                f"{name} is fed with {len(rows)} of {batch.ids.numel()} tokens, as an expert of a "
                "mixture is, so that sentences cannot be compared there: choose a dense model."
            )
        if not texts:
            hessian = add_inputs(hessian, rows, batch.real)
        if name in chosen and len(batch.pair):
            difference = rows[batch.first] - rows[batch.second]
            contrast = add_inputs(contrast, difference, SCALINGS[scaling](batch.pair + 1.0))
        return Contrasted(hessian, contrast, total, name)

    return gather


def fed_with(model: torch.nn.Module, pairs: Sequence[Batch], name: str) -> list[torch.Tensor]:
    """What one linear layer, by its full name, is fed by each batch, float32 (tokens, in), as the
    model is now; what comes after it is not computed."""
    rows = []

    def halt(_, fed):
        rows.append(fed[0].flatten(0, -2).float())
        raise Reached

    hook = model.get_submodule(name).register_forward_pre_hook(halt)
    try:
        for batch in pairs:
            with torch.no_grad(), suppress(Reached):
                read(model, batch.ids.to(next(model.parameters()).device))
    finally:
        hook.remove()
    return rows


def contrasted(
    rows: Sequence[torch.Tensor], pairs: Sequence[Batch], name: str
) -> tuple[Contrasted, torch.Tensor, torch.Tensor]:
    """(what is gathered, differences x₀ − x₁ (n, in), int64 (n,) whose) of what a layer is fed
    (`fed_with`). Batches of one set of pairs differ by their positions alone, and are fed alike."""
    gather, known_inputs = gatherer(pairs, {name}), None
    for index, fed in enumerate(rows):
        known_inputs = gather(known_inputs, name, index, fed)
    apart = [fed[its.first] - fed[its.second] for fed, its in zip(rows, pairs, strict=True)]
    return known_inputs.whole(), torch.cat(apart), torch.cat([batch.pair for batch in pairs])


def output_projections(model: torch.nn.Module, depth: str = "all", share: float = 0.1) -> set[str]:
    """Names of the weights that write to the residual stream, in the blocks of a depth.

    They are those of a block, but for its first, that are as wide as the embeddings and share their
    input with no other: attention's and the feed-forward network's last (`o_proj` and `down_proj`
    of a Llama, `out_proj` and `fc2` of an OPT). depth: "all"; "lower" or "upper", the first or last
    `share` of the blocks; "both", half of them at either end. Blocks are counted as the released
    Fair-GPTQ does, rounded up to an even number.
    """
    known("depth", depth, DEPTHS)
    if not 0 < share <= 1:
        raise InputError(f"A share of {share} of the blocks makes no sense: above 0, at most 1.")
    blocks = survey(model).blocks
    count = min(2 * math.ceil(math.ceil(share * len(blocks)) / 2), len(blocks))
    low, high = {
        "all": (len(blocks), 0),
        "lower": (count, 0),
        "upper": (0, count),
        "both": (count // 2, count - count // 2),
    }[depth]
    its = [b for i, b in enumerate(blocks) if i < low or i >= len(blocks) - high]
    width = model.config.get_text_config().hidden_size
    alone = [
        (name, block.weights[name])
        for block in its
        for step in block.steps[1:]
        if len(step) == 1 and len(step[0]) == 1
        for name in step[0]
    ]
    return {name for name, weight in alone if weight.shape[0] == width}


def check_causal(model: torch.nn.Module) -> None:
    """Raise InputError for a model whose tokens see what follows them, and so see padding."""
    text = short_text(model)
    with torch.no_grad():
        whole, part = (read(model, ids).logits[:, :4] for ids in (text, text[:, :4]))
    noise = 64 * torch.finfo(part.dtype).eps * float(part.abs().max())
    if float((whole - part).abs().max()) > noise:
        raise InputError(
            f"{type(model).__name__} reads both ways, so that padding would change what it says: "
            "contrast needs a causal language model."
        )
