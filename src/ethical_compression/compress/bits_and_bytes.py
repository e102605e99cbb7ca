"""LLM.int8, NF4 and FP4: the linear layers of a model replaced by those of bitsandbytes.

Dettmers et al. 2022 (int8, with columns of large activations kept in full) and 2023 (4-bit floats
in blocks of 64 weights). Needs no data. The embeddings and the output layer stay as they are.
"""

import logging

import torch
from torch import nn

from ethical_compression.compress.blocks import linear_layers, transformer_blocks, weight_of
from ethical_compression.errors import InputError

KINDS = ("int8", "nf4", "fp4")
BLOCK = 64  # weights that share a scale in the 4-bit kinds
# What the library logs that is no news: at each product of an int8 layer, so thousands of times on
# a page, that it reads its inputs as half precision, which is the method itself; and, when it is
# imported, that an optional kernel for CPUs is not installed.
CHATTER = ("MatMul8bitLt: inputs will be cast", "Failed to load CPU gemm_4bit_forward")


def _is_news(record: logging.LogRecord) -> bool:
    return not record.msg.startswith(CHATTER)


for _part in ("autograd._functions", "backends.cpu.ops"):
    logging.getLogger(f"bitsandbytes.{_part}").addFilter(_is_news)


def _library():
    try:
        import bitsandbytes
    except ImportError:
        raise InputError(
            "int8, nf4 and fp4 need bitsandbytes: run `pip install bitsandbytes`."
        ) from None
    return bitsandbytes


def quantize_model(model: nn.Module, kind: str) -> None:
    """Replace every linear layer of every block by its `kind` of bitsandbytes layer, in place.

    The configuration says so, as transformers writes it, so that `save_pretrained` leaves a folder
    that transformers loads.
    Raises InputError where bitsandbytes is not installed, for an unknown kind, and on a CPU for a
    width that 4-bit blocks do not divide.
    """
    from transformers import BitsAndBytesConfig

    if kind not in KINDS:
        raise InputError(f"bitsandbytes has no kind {kind!r} here: choose int8, nf4 or fp4.")
    _library()
    for block in transformer_blocks(model):
        for name, layer in linear_layers(block).items():
            parent, _, child = name.rpartition(".")
            setattr(block.get_submodule(parent), child, quantized(layer, kind))
    output = [name for name, layer in model.named_modules() if name.endswith("lm_head")]
    model.config.quantization_config = (
        BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=output)
        if kind == "int8"
        else BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=kind,
            bnb_4bit_compute_dtype=model.dtype,
            llm_int8_skip_modules=output,
        )
    )


def quantized(layer: nn.Module, kind: str) -> nn.Module:
    """The bitsandbytes layer that computes what `layer` (GPT-2's `Conv1D` too) does, quantized."""
    bnb = _library()
    weight = weight_of(layer)
    if not weight.isfinite().all():
        raise InputError(
            "A weight is NaN or infinite: check the model in float32 before it is compressed."
        )
    rows, columns = weight.shape
    if kind != "int8" and columns % BLOCK and weight.device.type == "cpu":
        # Its scales are then taken from the wrong blocks, in silence (0.50.2, AVX-512).
        raise InputError(
            f"bitsandbytes misreads 4-bit layers of {columns} inputs on some CPUs, as {BLOCK} does "
            "not divide them: quantize this model on a GPU, or with another method."
        )
    bias = layer.bias is not None
    options = {"device": "meta"}
    if kind == "int8":
        new = bnb.nn.Linear8bitLt(
            columns, rows, bias=bias, has_fp16_weights=False, threshold=6.0, **options
        )
        new.weight = bnb.nn.Int8Params(
            weight.contiguous(), requires_grad=False, has_fp16_weights=False
        )
    else:
        new = bnb.nn.Linear4bit(
            columns,
            rows,
            bias=bias,
            compute_dtype=weight.dtype,
            compress_statistics=False,
            quant_type=kind,
            **options,
        )
        new.weight = bnb.nn.Params4bit(
            weight.contiguous(), requires_grad=False, quant_type=kind, compress_statistics=False
        )
        new.support_avx512bf16_for_cpu = False  # see `keep_unpacked`
    if bias:
        new.bias = nn.Parameter(layer.bias.data, requires_grad=False)
    return new.to(weight.device).train(layer.training)


def is_quantized(layer: nn.Module) -> bool:
    """Whether `layer` is one of bitsandbytes' (asked by name, so that it need not be installed)."""
    return type(layer).__name__ in ("Linear8bitLt", "Linear4bit")


def dequantize(layer: nn.Module) -> torch.Tensor:
    """The weight a bitsandbytes layer stands for, float32 (out, in)."""
    if type(layer).__name__ == "Linear8bitLt":
        # Each row was divided by its largest magnitude, which SCB keeps, and multiplied by 127.
        return layer.weight.data.float() * layer.weight.SCB[:, None].float() / 127
    state = layer.weight.quant_state
    return _library().functional.dequantize_4bit(layer.weight.data, state).float()


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
