"""What compressing and asking a model costs, from its shape alone: operations, bytes, and seconds.

Pure arithmetic on a `Shape`, a decoder of Llama's kind. What a machine does in a second is measured
elsewhere (`score.machine`), and so is what an audit reads (`audit.counts`).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from ethical_compression.errors import InputError

BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
BILLION = 10**9


class Shape(NamedTuple):
    """A decoder of Llama's kind: `layers` blocks of `width`, whose feed-forward part is `inner`
    wide, with `heads` of queries and `kv_heads` of keys and values of `head` numbers each, and a
    `vocabulary`; tied: its output matrix is its input's."""

    layers: int
    width: int
    inner: int
    heads: int
    kv_heads: int
    head: int
    vocabulary: int
    tied: bool = False


# As their configurations say (Zhang et al. 2024; Touvron et al. 2023).
SHAPES = {
    "TinyLlama 1.1B": Shape(22, 2048, 5632, 32, 4, 64, 32_000),
    "Llama 2 7B": Shape(32, 4096, 11008, 32, 32, 128, 32_000),
    "Llama 2 13B": Shape(40, 5120, 13824, 40, 40, 128, 32_000),
    "Llama 2 70B": Shape(80, 8192, 28672, 64, 8, 128, 32_000),
}


class Work(NamedTuple):
    """What a model is given to read: `tokens`, padding included; `pairs` of tokens that attention
    looks at, in each layer; `places` where the next token's probabilities are wanted; `passes`."""

    tokens: int = 0
    pairs: int = 0
    places: int = 0
    passes: int = 0


class Rates(NamedTuple):
    """What a machine does in a second: `operations` in the model's data type, `exact` in float32,
    in which Hessians are gathered and solved, `half` in bfloat16, in which an audit measures noise;
    `bandwidth`, bytes from memory, and `disk`, bytes from disk."""

    operations: float
    exact: float
    half: float
    bandwidth: float
    disk: float


def shape_of(config: Any) -> Shape:
    """The shape that a configuration of transformers tells. Raises InputError for another kind."""
    if config.model_type != "llama" or config.attention_bias or config.mlp_bias:
        raise InputError(
            f"Costs are counted of models of Llama's kind, without biases, not of a "
            f"{config.model_type} model: choose another."
        )
    return Shape(
        config.num_hidden_layers,
        config.hidden_size,
        config.intermediate_size,
        config.num_attention_heads,
        config.num_key_value_heads,
        config.head_dim,
        config.vocab_size,
        bool(config.tie_word_embeddings),
    )


def matrices(shape: Shape) -> list[tuple[list[int], int]]:
    """A block's matrices by what they are fed with: the output widths, and the input's. Queries,
    keys and values share their input, and so do the two that open the feed-forward part."""
    queries, keys = shape.heads * shape.head, shape.kv_heads * shape.head
    return [
        ([queries, keys, keys], shape.width),
        ([shape.width], queries),
        ([shape.inner, shape.inner], shape.width),
        ([shape.width], shape.inner),
    ]


def block_weights(shape: Shape) -> int:
    """Weights in the matrices of one block."""
    return sum(sum(outs) * fed for outs, fed in matrices(shape))


def parameters(shape: Shape) -> int:
    """All parameters: blocks with two norms each, the last norm, and the vocabulary's one matrix,
    if it is tied, or two."""
    tables = (1 if shape.tied else 2) * shape.vocabulary * shape.width
    return shape.layers * (block_weights(shape) + 2 * shape.width) + shape.width + tables


# --- Operations -----------------------------------------------------------------------------------


def reading(shape: Shape, work: Work) -> dict[str, int]:
    """Operations of reading, a multiplication and an addition being two: of `weights`, two for
    each weight of the blocks and token; of `attention`, four for each number of the heads and pair
    (scores, and what they weigh); of the `head`, two for each weight of the output and place."""
    return {
        "weights": 2 * work.tokens * shape.layers * block_weights(shape),
        "attention": 4 * work.pairs * shape.layers * shape.heads * shape.head,
        "head": 2 * work.places * shape.vocabulary * shape.width,
    }


def gptq(shape: Shape, tokens: int, window: int) -> dict[str, int]:
    """Operations that GPTQ needs, calibrated on so many `tokens` in windows of `window`: `reading`
    them once through the blocks; the `Hessians`, of which half is enough, since they are symmetric;
    their inverse `factors`; and `updates` of the columns still to come."""
    fed = [width for _, width in matrices(shape)]
    read = reading(shape, Work(tokens, tokens * window))
    return {
        "reading": sum(read.values()),
        "Hessians": shape.layers * sum(tokens * width**2 for width in fed),
        "factors": shape.layers * sum(2 * width**3 // 3 for width in fed),
        "updates": shape.layers * sum(sum(outs) * width**2 for outs, width in matrices(shape)),
    }


# --- Bytes ----------------------------------------------------------------------------------------


def weight_bytes(shape: Shape, dtype: str) -> int:
    """Bytes of all parameters in a data type. Raises InputError for an unknown one."""
    if dtype not in BYTES:
        raise InputError(f"A data type {dtype!r} is not known: choose one of {', '.join(BYTES)}.")
    return parameters(shape) * BYTES[dtype]


def checkpoint_bytes(shape: Shape, bits: int, group_size: int, dtype: str = "float16") -> int:
    """Bytes of the tensors of a checkpoint by GPTQ (`compress.checkpoint`): codes of `bits`, for
    each output and group a float16 scale and a zero point of `bits`, an int32 for each input, which
    says its group; all that is not in blocks in `dtype`, and a tied matrix under both its names."""
    packed = 0
    for outs, fed in matrices(shape):
        groups = -(-fed // group_size)
        for out in outs:
            packed += (out * fed + groups * out) * bits // 8 + 2 * groups * out + 4 * fed
    rest = parameters(shape._replace(tied=False)) - shape.layers * block_weights(shape)
    return shape.layers * packed + rest * BYTES[dtype]


def gptq_bytes(shape: Shape, tokens: int, dtype: str) -> int:
    """Bytes beside the weights while the widest matrix is solved by GPTQ: four square matrices and
    four of its size in float32, and of every token what a block has, is given, adds and feeds to
    the widest (`compress.in_order` refuses to begin with less)."""
    width, inner = shape.width, shape.inner
    return 4 * (4 * inner**2 + 4 * width * inner) + tokens * BYTES[dtype] * (3 * width + inner)


def peak_memory(shape: Shape, tokens: int, dtype: str) -> dict[str, int]:
    """Bytes at the highest of compressing by GPTQ: with the `whole` model in memory, or with one
    block at a time (`by_block`), or the vocabulary's matrix where that is larger."""
    solving = gptq_bytes(shape, tokens, dtype)
    block = max(block_weights(shape) + 2 * shape.width, shape.vocabulary * shape.width)
    return {
        "whole": weight_bytes(shape, dtype) + solving,
        "by_block": block * BYTES[dtype] + solving,
    }


# --- Seconds --------------------------------------------------------------------------------------


def seconds(operations: float, rate: float, moved: float = 0, bandwidth: float = 1) -> float:
    """The roofline (Williams et al. 2009): computing and fetching `moved` bytes go on at once, and
    whichever takes longer decides. Raises InputError for a rate that is not above 0."""
    if not (rate > 0 and bandwidth > 0):
        raise InputError("A machine that does nothing in a second is never done: give its rates.")
    return max(operations / rate, moved / bandwidth)


def reading_seconds(shape: Shape, work: Work, rate: float, dtype: str, bandwidth: float) -> float:
    """Seconds of reading at a rate; the blocks' weights are fetched once a pass."""
    moved = work.passes * shape.layers * block_weights(shape) * BYTES[dtype]
    return seconds(sum(reading(shape, work).values()), rate, moved, bandwidth)


def solving_seconds(shape: Shape, tokens: int, window: int, rates: Rates) -> tuple[float, float]:
    """Seconds of GPTQ's operations: of those that grow with the text, reading in the model's type
    and Hessians in float32; and of those that do not, factors and updates in float32."""
    parts = gptq(shape, tokens, window)
    grows = seconds(parts["reading"], rates.operations) + seconds(parts["Hessians"], rates.exact)
    return grows, seconds(parts["factors"] + parts["updates"], rates.exact)


def audit_seconds(shape: Shape, counts: pd.DataFrame, dtype: str, rates: Rates) -> float:
    """Seconds of reading what an audit asks: its `counts` (`audit.counts.counts`).

    The noise in bfloat16 is measured of models in float32 only.
    """
    total = 0.0
    for kind, some in counts.groupby("dtype"):
        half = kind != "float32"
        if half and dtype != "float32":
            continue
        rate, held = (rates.half, str(kind)) if half else (rates.operations, dtype)
        total += reading_seconds(shape, total_work(some), rate, held, rates.bandwidth)
    return total


def loading_seconds(shape: Shape, dtype: str, rates: Rates, times: int = 1) -> float:
    """Seconds of fetching all weights from disk so many times."""
    return times * weight_bytes(shape, dtype) / rates.disk


def total_work(counts: pd.DataFrame) -> Work:
    """The sum of rows with the columns of `Work`."""
    return Work(*(int(counts[name].sum()) for name in Work._fields))


# --- Tables ---------------------------------------------------------------------------------------


def beside_formula(
    timed: Sequence[Mapping[str, Any]], shapes: Mapping[str, Shape], rates: Rates, dtype: str
) -> pd.DataFrame:
    """What was timed beside the formula, a row each: `what`, `did`, `billions`, `tokens`,
    `measured` and `formula` (seconds), of which `fixed` does not grow with the text (of "gptq"),
    and `ratio`, measured / formula.

    timed: `what`, a name of `shapes`; `did`: "text" (the model read), "block" (one block of it did)
    or "gptq" (one block was compressed); `work`, what was read; `window`, its tokens; `measured`.
    """
    columns = ["what", "did", "billions", "tokens", "measured", "formula", "fixed"]
    columns.append("ratio")
    rows = []
    for one in timed:
        shape, work = shapes[one["what"]], one["work"]
        # Of a block alone, no place of the vocabulary is looked at.
        part = shape if one["did"] == "text" else shape._replace(layers=1)
        fixed = math.nan
        if one["did"] == "gptq":
            grows, fixed = solving_seconds(part, work.tokens, one["window"], rates)
            taken = grows + fixed
        else:
            taken = reading_seconds(part, work, rates.operations, dtype, rates.bandwidth)
        billions, measured = parameters(shape) / BILLION, one["measured"]
        row = (one["what"], one["did"], billions, work.tokens, measured, taken, fixed)
        rows.append((*row, measured / taken))
    return pd.DataFrame(rows, columns=columns)


def factor(beside: pd.DataFrame, did: str, what: str) -> tuple[float, bool]:
    """By how much the formula's time is multiplied for a shape, and whether it was measured itself:
    the ratio of that shape or else of the largest one timed; 1 where none was.

    Of "gptq" it is that of what is `fixed`: the rest is taken to have the ratio of a block's read.
    """
    rows = beside[beside["did"] == did]
    if not len(rows):
        return 1.0, False
    own = rows[rows["what"] == what]
    row = own.iloc[0] if len(own) else rows.loc[rows["billions"].idxmax()]
    if did != "gptq":
        return float(row["ratio"]), bool(len(own))
    grows = factor(beside, "block", row["what"])[0] * (row["formula"] - row["fixed"])
    return max(0.0, float((row["measured"] - grows) / row["fixed"])), bool(len(own))


def of_sizes(
    shapes: Mapping[str, Shape],
    beside: pd.DataFrame,
    counts: pd.DataFrame,
    rates: Rates,
    *,
    tokens: int,
    window: int,
    dtype: str,
    bits: Sequence[int] = (8, 4),
    group_size: int = 128,
    price: float = 1.0,
) -> pd.DataFrame:
    """A row a shape: `model`, `billions`, GB of its weights (`gb_16`, and `gb_BITS` of checkpoints
    by GPTQ), GB at the peak (`whole`, `by_block`), hours of compressing (`gptq`) and of an `audit`,
    weights from disk included: as the formula has it (`…_formula`), and with the `factor` that was
    measured; whether that was its own (`…_measured`); and the `price` of both. GB are 10⁹ bytes.

    beside: from `beside_formula`; counts: from `audit.counts`; tokens, window: of the calibration
    text; price: of an hour.
    """
    rows = []
    for name, shape in shapes.items():
        row = {"model": name, "billions": parameters(shape) / BILLION}
        row["gb_16"] = weight_bytes(shape, "float16") / BILLION
        for width in bits:
            row[f"gb_{width}"] = checkpoint_bytes(shape, width, group_size) / BILLION
        peak = peak_memory(shape, tokens, dtype)
        row |= {kind: size / BILLION for kind, size in peak.items()}
        (block, read), (solve, solved) = (factor(beside, did, name) for did in ("block", "gptq"))
        grows, fixed = solving_seconds(shape, tokens, window, rates)
        plain = audit_seconds(shape, counts, dtype, rates)
        once, twice = (loading_seconds(shape, dtype, rates, times) for times in (1, 2))
        row |= {
            "gptq_formula": (grows + fixed + once) / 3600,
            "gptq": (block * grows + solve * fixed + once) / 3600,
            "gptq_measured": solved,
            "audit_formula": (plain + twice) / 3600,
            "audit": (block * plain + twice) / 3600,
            "audit_measured": read,
        }
        rows.append(row | {"price": price * (row["gptq"] + row["audit"])})
    return pd.DataFrame(rows)


def against_size(
    sizes: pd.DataFrame,
    beside: pd.DataFrame,
    shapes: Mapping[str, Shape],
    counts: pd.DataFrame,
    dtype: str,
    rates: Rates,
    others: Mapping[str, float],
) -> pd.DataFrame:
    """Hours of an audit, a row a model and way to know it: `by` ("formula", "measured", or the name
    of another machine), `what`, `billions`, `hours`.

    sizes: from `of_sizes`; beside: from `beside_formula`, whose models and blocks are those that
    were measured; shapes: of all of them; others: operations a second of other machines, at which
    nothing but computing is counted.
    """
    rows = []
    timed = beside[beside["did"].isin(["text", "block"])].drop_duplicates("what")
    measured = dict(zip(timed["what"], timed["ratio"], strict=True))
    for what in sorted({*sizes["model"], *measured}, key=lambda name: parameters(shapes[name])):
        shape = shapes[what]
        plain = audit_seconds(shape, counts, dtype, rates)
        loading = loading_seconds(shape, dtype, rates, 2)
        found = {"formula": plain + loading}
        if what in measured:
            found["measured"] = measured[what] * plain + loading
        for name, rate in others.items():
            free = Rates(rate, rate, rate, math.inf, math.inf)
            found[name] = audit_seconds(shape, counts, dtype, free)
        size = {"what": what, "billions": parameters(shape) / BILLION}
        rows += [{"by": by, **size, "hours": taken / 3600} for by, taken in found.items()]
    return pd.DataFrame(rows)
