"""Layers of bitsandbytes in a model, made here or brought: kept as they are stored."""

from torch import nn


def keep_unpacked(model: nn.Module) -> None:
    """Keep 4-bit layers as they are stored, in place, and put back those that are not.

    On processors with AVX-512 bitsandbytes (0.50.2) repacks the weights at the first forward pass,
    for speed. Products are then those of bfloat16, gradients are noise, and what it unpacks again
    has its scales out of order. Layers made here are never packed; those of a model that came with
    them are put in order here, with scales that stay rounded to bfloat16 where they have been.
    """
    for layer in model.modules():
        if type(layer).__name__ == "Linear4bit":
            layer.support_avx512bf16_for_cpu = False
            layer.state_dict()  # unpacks, as before the layer is saved
            state = layer.weight.quant_state
            if state.absmax.dim() == 2:  # (blocks of a row, rows), as packing leaves it
                state.absmax = state.absmax.T.reshape(-1).float()
