"""Integer grids: how a weight becomes a small integer and back.

A group of weights shares one scale s and one zero point z; a weight w is kept as
q = clamp(round(w/s) + z, 0, 2^bits − 1) and read as s·(q − z). The grid is AutoGPTQ's, so that
codes mean the same here and there.
"""

from collections.abc import Sequence
from typing import Self

import torch
from pydantic import Field, model_validator

from ethical_compression.compress.methods import Settings
from ethical_compression.errors import InputError
from ethical_compression.models.gptq_format import BITS, QuantizedWeight

SCALE_DTYPES = ("float16", "float32")
# Width of a symmetric matrix's stripes: wide enough for a fast product, enough to spare a third.
STRIPE = 288
# How much of a group's range a grid may cover that is fitted to a metric.
SHARES = tuple(1 - step / 20 for step in range(11))
# What `clipping` means, to every method that can be asked for it.
CLIPPING = (
    "whether grids may leave the largest weights outside where that lowers the error; by default "
    "as each method was released"
)


class Grid(Settings):
    """What decides an integer grid."""

    bits: int = Field(description=f"one of {', '.join(map(str, BITS))}, the bits of a code")
    group_size: int = Field(128, description="inputs that share a scale; −1 is one scale a row")
    symmetric: bool = Field(True, description="whether the zero point sits in a grid's middle")

    @model_validator(mode="after")
    def _is_a_grid(self) -> Self:
        check_settings(self.bits, self.group_size)
        return self

    def grid(self) -> dict[str, int | bool]:
        """These settings alone, as `rtn.round_to_nearest` and others take them."""
        return {name: getattr(self, name) for name in Grid.model_fields}


def split_rows(weight: QuantizedWeight, rows: Sequence[int]) -> list[QuantizedWeight]:
    """Cut a weight that was quantized as a stack of layers back into the layers' own rows."""
    parts = zip(
        *(part.split(list(rows)) for part in (weight.codes, weight.scale, weight.zero)), strict=True
    )
    return [QuantizedWeight(*part, weight.group.clone(), weight.bits) for part in parts]


def check_settings(bits: int, group_size: int, scale_dtype: str = "float16") -> None:
    """Raise InputError for a width, a group size or a scale that no grid has."""
    if bits not in BITS:
        raise InputError(f"{bits} bits is not a width we quantize to: choose one of {BITS}.")
    if group_size != -1 and group_size < 1:
        raise InputError(
            f"A group size of {group_size} makes no sense: give columns a group, or -1 for a row."
        )
    if scale_dtype not in SCALE_DTYPES:
        raise InputError(f"Scales cannot be {scale_dtype}: choose one of {SCALE_DTYPES}.")


def fit_grid(
    weight: torch.Tensor,
    bits: int,
    symmetric: bool,
    scale_dtype: str = "float16",
    metric: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and zero point (rows,) of a grid for each row of `weight` (rows, columns).

    The grid covers a row from end to end; or, given a metric M, the share of that range, of
    `SHARES`, that leaves the least (ŵ−w) M (ŵ−w)ᵀ: few weights are cut off, all others are rounded
    on a finer grid. metric: (columns, columns), or its diagonal (columns,).
    symmetric: the zero point sits in the middle, and the range is that of the largest magnitude.
    scale_dtype: "float16" takes the next larger scale that float16 has, so that what is computed
    with here is what a checkpoint stores (and nothing is cut off); "float32" leaves it exact.
    A row of zeros gets the range [−1, 1], so that it is kept exactly. Source: GPTQ, `quant.py`.
    """
    low, high = weight.amin(1).clamp(max=0), weight.amax(1).clamp(min=0)
    if symmetric:
        high = torch.maximum(high, -low)
        low = -high
    empty = (low == 0) & (high == 0)
    low, high = low.masked_fill(empty, -1.0), high.masked_fill(empty, 1.0)
    least, best = torch.inf, _grid(low, high, bits, symmetric, scale_dtype)
    for share in SHARES if metric is not None else ():
        scale, zero = _grid(share * low, share * high, bits, symmetric, scale_dtype)
        change = encode(weight, scale[:, None], zero[:, None], bits)
        change.sub_(zero[:, None]).mul_(scale[:, None]).sub_(weight)
        loss = energy(change, metric)
        better = loss < least
        least = torch.where(better, loss, least)
        best = torch.where(better, scale, best[0]), torch.where(better, zero, best[1])
    return best


def energy(change: torch.Tensor, metric: torch.Tensor) -> torch.Tensor:
    """δ M δᵀ of each row δ of `change` (rows, columns), as (rows,).

    metric: M, symmetric (columns, columns), or its diagonal (columns,). With a Hessian XXᵀ it is
    ‖δX‖², what a change of the weights does to a layer's outputs.
    """
    if metric.dim() == 1:
        return torch.linalg.vecdot(change * metric, change)
    total = change.new_zeros(len(change))
    # What lies below M's diagonal counts twice, and what lies above it is not looked at.
    for begin in range(0, len(metric), STRIPE):
        here, after = slice(begin, begin + STRIPE), slice(begin + STRIPE, None)
        weighed = change[:, here] @ metric[here, here]
        weighed.addmm_(change[:, after], metric[after, here], alpha=2)
        total += torch.linalg.vecdot(weighed, change[:, here])
    return total


def _grid(low, high, bits, symmetric, scale_dtype):
    """Scale and zero point that reach from `low` to `high`, all (rows,)."""
    top = 2**bits - 1
    scale = (high - low) / top
    if scale_dtype == "float16":
        half = scale.half()
        # Seen as integers, positive floats are in order: one more is the next larger.
        half = (half.view(torch.int16) + (half < scale)).view(torch.float16)
        scale = half.to(scale.dtype)
    zero = torch.full_like(scale, (top + 1) / 2) if symmetric else torch.round(-low / scale)
    return scale, zero


def encode(weight: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor, bits: int):
    """Nearest codes (float) of `weight`; `scale` and `zero` broadcast against it."""
    return (torch.round(weight / scale) + zero).clamp_(0, 2**bits - 1)


def column_groups(columns: int, group_size: int) -> torch.Tensor:
    """Group of each column, int32 (columns,); where the size does not divide, the last is short."""
    size = columns if group_size == -1 else group_size
    return torch.arange(columns, dtype=torch.int32) // size
