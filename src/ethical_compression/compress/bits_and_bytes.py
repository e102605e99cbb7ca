"""LLM.int8, NF4 and FP4: the linear layers of a model replaced by those of bitsandbytes.

Dettmers et al. 2022 (int8, with columns of large activations kept in full) and 2023 (4-bit floats
in blocks of 64 weights). Needs no data. The embeddings and the output layer stay as they are.
"""

import logging

import torch
from torch import nn

from ethical_compression.compress.blocks import read, short_text, survey, weight_of
from ethical_compression.compress.layerwise import Compressed
from ethical_compression.compress.methods import Method, Settings, register
from ethical_compression.errors import InputError
from ethical_compression.models.finite import all_finite
from ethical_compression.models.reading import forget_quantization

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


def replaced(model: nn.Module, kind: str) -> list[str]:
    """Names of the layers of the blocks that `kind` replaces, as transformers chooses them when it
    loads a folder: plain linear layers and GPT-2's `Conv1D`, but for those that a family keeps in
    float32 and, on a CPU, those whose width 4-bit blocks do not divide.
    """
    from transformers.quantizers.quantizers_utils import should_convert_module

    linear = _convertible(model)
    kept = list(getattr(model, "_keep_in_fp32_modules", None) or [])
    names = [
        name
        for block in survey(model).blocks
        for name in block.weights
        if name in linear and _fits(linear[name], kind)
    ]
    while True:
        # What is left out is named to transformers, and a name leaves out all that it matches.
        left = [name for name in linear if name not in names] + kept
        taken = [name for name in names if should_convert_module(name, left)]
        if taken == names:
            return names
        names = taken


def _convertible(model: nn.Module) -> dict[str, nn.Module]:
    """The layers that transformers would replace, by name."""
    from transformers.pytorch_utils import Conv1D

    return {
        name: module
        for name, module in model.named_modules()
        if type(module) is nn.Linear or isinstance(module, Conv1D)
    }


def _fits(layer: nn.Module, kind: str) -> bool:
    # Their scales are otherwise taken from the wrong blocks, in silence (0.50.2, AVX-512).
    weight = weight_of(layer)
    return kind == "int8" or weight.device.type != "cpu" or weight.shape[1] % BLOCK == 0


def quantize_model(model: nn.Module, kind: str) -> None:
    """Replace linear layers of the blocks by `kind` of bitsandbytes layers, in place (`replaced`).

    The configuration says so, as transformers writes it, and names what stays as it is, so that
    `save_pretrained` leaves a folder that transformers loads.
    Raises InputError where bitsandbytes is not installed, for an unknown kind, where there is no
    layer to be replaced, and where the model does not run with those that are.
    """
    from transformers import BitsAndBytesConfig

    if kind not in KINDS:
        raise InputError(f"bitsandbytes has no kind {kind!r} here: choose int8, nf4 or fp4.")
    _library()
    names = replaced(model, kind)
    if not names:
        raise InputError(
            f"bitsandbytes finds no layer in this {type(model).__name__} that it can replace: it "
            f"takes plain linear layers, on a CPU 4-bit ones of multiples of {BLOCK} inputs only."
        )
    left = [name for name in _convertible(model) if name not in names]
    modules = dict(model.named_modules())
    new = {id(modules[name]): quantized(modules[name], kind) for name in names}
    _exchange(model, new)
    model.config.quantization_config = (
        BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=left)
        if kind == "int8"
        else BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=kind,
            bnb_4bit_compute_dtype=model.dtype,
            llm_int8_skip_modules=left,
        )
    )
    try:
        with torch.no_grad():
            read(model, short_text(model))
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"bitsandbytes' {kind} layers do not run in this {type(model).__name__} "
            f"({' '.join(str(error).split())[:100]}): choose another method."
        ) from error


def _exchange(model: nn.Module, new: dict[int, nn.Module]) -> None:
    """Put modules in the place of others, given by their ids, wherever these stand."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if id(child) in new:
                setattr(parent, name, new[id(child)])


def dequantize_model(model: nn.Module) -> None:
    """Put plain layers of the weights that they stand for in place of bitsandbytes' layers, in the
    model's type; the configuration no longer says that it is quantized. Others stay as they are."""
    from transformers.pytorch_utils import Conv1D

    new = {}
    for module in model.modules():
        if not is_quantized(module):
            continue
        weight = dequantize(module).to(model.dtype)
        rows, columns = weight.shape
        # GPT-2's layers are saved and loaded as they were before.
        if issubclass(getattr(module, "source_cls", nn.Linear), Conv1D):
            plain, weight = Conv1D(rows, columns), weight.T.contiguous()
        else:
            plain = nn.Linear(columns, rows, bias=module.bias is not None, device="meta")
        plain.weight = nn.Parameter(weight)
        if module.bias is not None:
            plain.bias = nn.Parameter(module.bias.data.to(model.dtype))
        new[id(module)] = plain.train(module.training)
    if not new:
        return
    _exchange(model, new)
    for part in model.modules():
        for name in (
            "hf_quantizer",
            "quantization_method",
            "is_loaded_in_4bit",
            "is_loaded_in_8bit",
            "_weight_conversions",  # how its quantized tensors were read
        ):
            vars(part).pop(name, None)
        forget_quantization(getattr(part, "config", None))


def quantized(layer: nn.Module, kind: str) -> nn.Module:
    """The bitsandbytes layer that computes what `layer` (GPT-2's `Conv1D` too) does, quantized."""
    bnb = _library()
    weight = weight_of(layer)
    if not all_finite(weight):
        raise InputError(
            "A weight is NaN or infinite: check the model in float32 before it is compressed."
        )
    rows, columns = weight.shape
    if not _fits(layer, kind):
        raise InputError(
            f"bitsandbytes misreads 4-bit layers of {columns} inputs on some CPUs, as {BLOCK} does "
            "not divide them: quantize this layer on a GPU, or with another method."
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
        new.support_avx512bf16_for_cpu = False  # see `quantized.keep_unpacked`
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
        return layer.weight.data.float() * row_scales(layer)[:, None].float() / 127
    state = layer.weight.quant_state
    return _library().functional.dequantize_4bit(layer.weight.data, state).float()


def row_scales(layer: nn.Module) -> torch.Tensor:
    """Largest magnitude of each row of an int8 layer, which moves at its first forward pass."""
    return layer.weight.SCB if layer.weight.SCB is not None else layer.state.SCB


# --- As a recipe's methods ------------------------------------------------------------------------


def _method(kind: str, said: str, about: str) -> None:
    def apply(settings: Settings, model, inputs, **_) -> Compressed:
        quantize_model(model, kind)
        return Compressed()

    register(
        Method(
            name=kind,
            about=about,
            settings=Settings,
            label=lambda settings: said,
            apply=apply,
            touches=lambda settings, model: replaced(model, kind),
            takes="bitsandbytes takes plain linear layers, on a CPU 4-bit ones of multiples of "
            f"{BLOCK} inputs",
            kept=False,  # it takes seconds
            libraries=("bitsandbytes",),
        )
    )


_method("int8", "LLM.int8", "8-bit rows, large activations in full (Dettmers et al. 2022)")
_method("nf4", "NF4", "4-bit normal floats in blocks of 64 (Dettmers et al. 2023)")
_method("fp4", "FP4", "4-bit floats in blocks of 64 (Dettmers et al. 2023)")
