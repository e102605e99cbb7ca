"""One linear layer under every method: its weights, its inputs, and the errors that are left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ethical_compression.compress import awq, gptq, sparsity
from ethical_compression.compress.blocks import linear_layers, stream_blocks, weight_of
from ethical_compression.compress.hessian import hessians, output_error
from ethical_compression.compress.rtn import round_to_nearest
from ethical_compression.errors import InputError
from ethical_compression.models.anatomy import transformer_blocks

RULES = ("Magnitude", "Wanda", "SparseGPT")


@dataclass(frozen=True)
class Layer:
    """A layer of the full model, and what went through it.

    `weight`: (outputs, inputs), float32; `hessian`: (inputs, inputs) and `sizes`: (inputs,), the
    mean size of each input, of the text that methods calibrate on; `unseen`: the Hessian of other
    text, and `windows`: that of each of its windows by itself.
    """

    name: str
    weight: Any
    hessian: Any
    sizes: Any
    unseen: Any
    windows: tuple


def watch(model, block: int, layer: str, calibration: Sequence, held_out: Sequence) -> Layer:
    """`Layer` number `block` and name `layer` of `model`, while it reads two texts in full.

    calibration, held_out: batches of token ids, (windows, tokens) each. Raises InputError for a
    block or a layer that the model does not have.
    """
    blocks = transformer_blocks(model)
    if not 0 <= block < len(blocks) or layer not in linear_layers(blocks[block]):
        known = ", ".join(linear_layers(blocks[0]))
        raise InputError(
            f"There is no layer {layer} in a block {block}: the model has blocks 0 to "
            f"{len(blocks) - 1} with the layers {known}."
        )
    weight = weight_of(linear_layers(blocks[block])[layer]).float().clone()

    def seen(inputs):
        for index, here, calls in stream_blocks(model, inputs):
            if index == block:
                sizes = awq.input_magnitudes(here, calls)[layer]
                return hessians(here, calls)[layer].matrix, sizes

    hessian, sizes = seen(calibration)
    windows = tuple(seen([one[None]])[0] for batch in held_out for one in batch)
    return Layer(layer, weight, hessian, sizes, seen(held_out)[0], windows)


def errors(layer: Layer, changed) -> dict[str, float]:
    """The relative squared error of changed weights, and that of the output on unseen text."""
    change = (changed - layer.weight).square().sum() / layer.weight.square().sum()
    return {
        "weight error": float(change),
        "output error": output_error(layer.weight, changed, layer.unseen),
    }


def errors_by_window(layer: Layer, changed) -> list[float]:
    """The output error on each unseen window by itself: what an interval can be made of."""
    return [output_error(layer.weight, changed, window) for window in layer.windows]


def quantized(layer: Layer, bits: int, group_size: int) -> dict[str, Any]:
    """{label: weights} of the layer by each quantizer, "GPTQ 3-bit, clipped" with clipped grids."""
    weight, grid = layer.weight, {"bits": bits, "group_size": group_size}
    found = {
        "RTN": round_to_nearest(weight, **grid),
        "AWQ": awq.search({layer.name: weight}, layer.hessian, layer.sizes, **grid)[0][layer.name],
        "GPTQ": gptq.solve(weight, layer.hessian, **grid)[0],
        "GPTQ, clipped": gptq.solve(weight, layer.hessian, clipping=True, **grid)[0],
    }
    return {
        f"{name.partition(',')[0]} {bits}-bit{''.join(name.partition(',')[1:])}": one.dequantize()
        for name, one in found.items()
    }


def rounding_errors(weights: Mapping[str, Any], widths: Sequence[int], group_size: int):
    """The weight error ‖ŵ − w‖² ÷ ‖w‖² of asymmetric rounding: a row a bit width, in the column
    `bits`, and a column a weight matrix. Weights that lie on such a grid lose nothing."""
    import pandas as pd

    rows = []
    for bits in widths:
        row = {"bits": bits}
        for name, weight in weights.items():
            how = {"bits": bits, "group_size": group_size, "symmetric": False}
            rounded = round_to_nearest(weight.float(), **how)
            lost = (rounded.dequantize() - weight.float()).square().sum()
            row[name] = float(lost / weight.float().square().sum())
        rows.append(row)
    return pd.DataFrame(rows)


def pruned(layer: Layer, rule: str, amount: float | str):
    """The layer's weights, pruned by one of `RULES`: a share of them, or a pattern ("2:4")."""
    if rule == "Magnitude":
        return sparsity.magnitude(layer.weight, sparsity=amount)
    solve = {"Wanda": sparsity.wanda, "SparseGPT": sparsity.sparsegpt}[rule]
    return solve(layer.weight, layer.hessian, sparsity=amount)


def likeness(layer: Layer, some: int):
    """(some, some): the cosine of the layer's first inputs with each other, on calibration text."""
    spread = layer.hessian.diagonal().sqrt()
    return (layer.hessian / spread / spread[:, None])[:some, :some].cpu()
