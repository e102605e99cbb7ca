"""Round to nearest: each weight to the nearest point of its grid, whatever the model reads."""

import torch

from ethical_compression.compress import checkpoint
from ethical_compression.compress.integer import (
    Grid,
    check_settings,
    column_groups,
    encode,
    fit_grid,
)
from ethical_compression.compress.layerwise import Compressed, each_layer
from ethical_compression.compress.methods import Method, register
from ethical_compression.models.gptq_format import QuantizedWeight


def round_to_nearest(
    weight: torch.Tensor,
    *,
    bits: int,
    group_size: int = 128,
    symmetric: bool = True,
    scale_dtype: str = "float16",
    metric: torch.Tensor | None = None,
) -> QuantizedWeight:
    """Each weight (out, in) to its nearest code, no data used: the floor of every comparison.

    metric (in, in), such as a Hessian: groups may then be clipped to it, see `fit_grid`.
    """
    check_settings(bits, group_size, scale_dtype)
    group = column_groups(weight.shape[1], group_size)
    scales, zeros, codes, end = [], [], [], 0
    for columns in weight.float().split(group.bincount().tolist(), dim=1):
        its = slice(end, end := end + columns.shape[1])
        own = None if metric is None else metric[its, its]
        scale, zero = fit_grid(columns, bits, symmetric, scale_dtype, own)
        scales.append(scale)
        zeros.append(zero)
        codes.append(encode(columns, scale[:, None], zero[:, None], bits))
    return QuantizedWeight(
        torch.cat(codes, 1).to(torch.uint8),
        torch.stack(scales, 1),
        torch.stack(zeros, 1).to(torch.uint8),
        group.to(weight.device),
        bits,
    )


def _apply(settings: Grid, model, inputs, *, progress=None, **_) -> Compressed:
    done = Compressed.of(model)
    for layer, weight, _ in each_layer(model, progress=progress):
        if checkpoint.packs(*weight.shape):
            done.keep(layer, weight, round_to_nearest(weight, **settings.grid()))
    return done


register(
    Method(
        name="rtn",
        about="each weight rounded to nearest",
        settings=Grid,
        label=lambda settings: f"RTN {settings.bits}-bit",
        apply=_apply,
        touches=checkpoint.packable,
        takes=checkpoint.TAKES,
        by_block=lambda _: True,
        packed=True,
    )
)
