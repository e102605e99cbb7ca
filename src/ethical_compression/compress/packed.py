"""Running a model with its weights left in four bits: a quarter of float16's memory on a GPU."""

from collections.abc import Mapping

import torch
from torch import nn

from ethical_compression.compress.blocks import weight_of
from ethical_compression.errors import InputError
from ethical_compression.gptq_format import QuantizedWeight, pack
from ethical_compression.kernels.int4_matmul import int4_matmul


class PackedLinear(nn.Module):
    """A linear layer (or `Conv1D`) whose weight stays packed; gradients do not pass through it."""

    def __init__(self, weight: QuantizedWeight, bias: torch.Tensor | None):
        super().__init__()
        self.register_buffer("qweight", pack(weight.codes.T, 4))
        # float32 stays float32, so that the values are those of `QuantizedWeight.dequantize`.
        exact = torch.equal(weight.scale.half().float(), weight.scale)
        self.register_buffer(
            "scale", (weight.scale.half() if exact else weight.scale).T.contiguous()
        )
        self.register_buffer("zero", weight.zero.T.contiguous())
        self.register_buffer("group", weight.group.to(torch.int32))
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)

    def forward(self, x):
        rows = x.reshape(-1, x.shape[-1])
        y = int4_matmul(rows, self.qweight, self.scale, self.zero, self.group)
        y = y.view(*x.shape[:-1], y.shape[-1])
        return y if self.bias is None else y + self.bias


def pack_layers(model: nn.Module, weights: Mapping[str, QuantizedWeight]) -> nn.Module:
    """Put a `PackedLinear` in place of every layer in `weights`; the model itself is changed.

    Raises InputError for another width than four bits, and for inputs that are no multiple of 32.
    """
    modules = dict(model.named_modules())
    for name, weight in weights.items():
        if weight.bits != 4 or weight.codes.shape[1] % 32:
            raise InputError(
                f"{name} has {weight.bits} bits and {weight.codes.shape[1]} inputs: packed layers "
                "run with 4 bits and multiples of 32; dequantise this model instead."
            )
        layer = modules[name]
        packed = PackedLinear(weight, layer.bias).to(weight_of(layer).device)
        parent, _, last = name.rpartition(".")
        setattr(modules[parent], last, packed)
    return model
