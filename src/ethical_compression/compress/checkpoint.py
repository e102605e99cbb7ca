"""Quantized models in the format of AutoGPTQ, which other libraries write and read.

A folder of `save_pretrained` in which a linear layer's weight is replaced by four tensors.
`qweight` are the codes, packed into int32 words along the inputs; `qzeros` the zero points, packed
along the outputs; `scales` are float16 (groups, out); and `g_idx` is each input's group. Written
whole or not at all, read back bit for bit. What this package keeps for itself is in `store`.
"""

import errno
import json
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ethical_compression import results
from ethical_compression.compress.blocks import weight_of
from ethical_compression.compress.integer import BITS, QuantizedWeight, column_groups, pack, unpack
from ethical_compression.errors import InputError

FORMATS = ("gptq", "gptq_v2")
PACKED = ("qweight", "qzeros", "scales", "g_idx")
# One in each field of a word: what turns stored zero points into those that are meant.
ONES = {2: 0x55555555, 4: 0x11111111, 8: 0x01010101}


def save_gptq(
    folder: Path,
    model: torch.nn.Module,
    tokenizer: Any,
    weights: Mapping[str, QuantizedWeight],
    *,
    damping: float = 0.01,
    checkpoint_format: str = "gptq",
) -> None:
    """Write a quantized model so that AutoGPTQ, GPTQModel and transformers load it.

    model: any that the weights belong to, its other parameters being those to keep, in its dtype.
    weights: all of one width, from `gptq.quantize_model` or `integer.round_to_nearest`. What the
    configuration says of them is read off them; damping is told to the reader, no more.
    checkpoint_format: "gptq" stores zero points less one, as AutoGPTQ does; it cannot say 0, and
    GPTQModel reads it from others only where zero points lie in the middle (symmetric grids).
    "gptq_v2" stores them as they are; AutoGPTQ does not know it and would misread it.
    Raises InputError for what the format cannot hold, and for a folder that is not empty.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} already holds something: give a new folder.")
    settings = _settings(weights) | {
        "checkpoint_format": checkpoint_format,
        "damp_percent": damping,
    }
    # Weights that two names share are written under both: AutoGPTQ does not tie them itself.
    state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    for name, weight in weights.items():
        if f"{name}.weight" not in state:
            raise InputError(f"{type(model).__name__} has no layer {name!r}: give its own weights.")
        del state[f"{name}.weight"]
        for part, tensor in _packed(name, weight, checkpoint_format).items():
            state[f"{name}.{part}"] = tensor.cpu()
    with results.whole_or_nothing(folder, folder=True) as place, full_disk_is_an_oserror():
        save_file(state, place / "model.safetensors", metadata={"format": "pt"})
        model.config.save_pretrained(place)
        if model.generation_config is not None:
            model.generation_config.save_pretrained(place)
        if tokenizer is not None:
            tokenizer.save_pretrained(place)
        config = json.loads((place / "config.json").read_text(encoding="utf-8"))
        config["quantization_config"] = settings
        config["architectures"] = [type(model).__name__]
        config = with_older_names(config, model.dtype)
        for file, content in (("config.json", config), ("quantize_config.json", settings)):
            (place / file).write_text(json.dumps(content, indent=2), encoding="utf-8")


def with_older_names(config: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """A model's `config.json` that transformers 4, with which AutoGPTQ works, understands as well:
    some settings also by their older names and in their older places."""
    config = dict(config)
    config["torch_dtype"] = config["dtype"] = str(dtype).removeprefix("torch.")
    if "rope_theta" in (config.get("rope_parameters") or {}):
        config["rope_theta"] = config["rope_parameters"]["rope_theta"]
    return config


def _settings(weights: Mapping[str, QuantizedWeight]) -> dict[str, Any]:
    """`quantization_config`, as far as the weights themselves tell."""
    widths = {weight.bits for weight in weights.values()}
    if len(widths) != 1:
        raise InputError(
            f"The layers have {sorted(widths)} bits, and this format holds one width: quantize all "
            "layers alike."
        )
    (bits,) = widths
    # A layer with a single group does not tell whether its group was meant to be a whole row.
    sizes = {int(w.group.bincount().max()) for w in weights.values() if w.scale.shape[1] > 1}
    if len(sizes) > 1:
        raise InputError(
            f"The layers have groups of {sorted(sizes)} columns, and this format holds one size: "
            "quantize all layers alike."
        )
    size = sizes.pop() if sizes else -1
    plain = all(
        torch.equal(w.group.cpu(), column_groups(len(w.group), size))
        and (size == -1 or len(w.group) % size == 0)
        for w in weights.values()
    )
    return {
        "quant_method": "gptq",
        "bits": bits,
        "group_size": size,
        "sym": all(bool((w.zero == 2 ** (bits - 1)).all()) for w in weights.values()),
        # Readers look at g_idx only where this is said; groups of unequal size need it too.
        "desc_act": not plain,
        "static_groups": False,
        "true_sequential": True,
        "lm_head": False,
        "pack_dtype": "int32",
        "meta": {"quantizer": [f"ethical-compression:{results.version('ethical-compression')}"]},
    }


def _packed(name: str, weight: QuantizedWeight, checkpoint_format: str) -> dict[str, torch.Tensor]:
    """The four tensors of a layer."""
    rows, columns = weight.codes.shape
    if rows % 32 or columns % 32:
        raise InputError(
            f"{name} is {rows} × {columns}, and packing takes multiples of 32: this format cannot "
            "hold it."
        )
    if checkpoint_format not in FORMATS:
        raise InputError(f"There is no format {checkpoint_format!r}: choose one of {FORMATS}.")
    if checkpoint_format == "gptq" and bool((weight.zero == 0).any()):
        raise InputError(
            f'A zero point of {name} is 0, which the format "gptq" cannot say: give '
            'checkpoint_format="gptq_v2", or quantize symmetrically.'
        )
    scales = weight.scale.half()
    if not torch.equal(scales.float(), weight.scale):
        raise InputError(
            f"The scales of {name} have more digits than float16 stores: quantize with "
            'scale_dtype="float16", so that what was measured is what is saved.'
        )
    zero = weight.zero - 1 if checkpoint_format == "gptq" else weight.zero
    return {
        "qweight": pack(weight.codes.T, weight.bits).contiguous(),
        "qzeros": pack(zero, weight.bits).T.contiguous(),
        "scales": scales.T.contiguous(),
        "g_idx": weight.group.to(torch.int32),
    }


def gptq_settings(folder: Path) -> dict[str, Any] | None:
    """What a model's folder says of its GPTQ weights, or None where it has none.

    Raises InputError where they are packed in a way that is not read here.
    """
    said: dict[str, Any] = {}
    for file in ("quantize_config.json", "config.json"):
        if (folder / file).exists():
            content = json.loads((folder / file).read_text(encoding="utf-8"))
            content = content.get("quantization_config") if file == "config.json" else content
            said |= content or {}
    # AutoGPTQ's own file did not always name the method.
    if not said or said.get("quant_method", "gptq") != "gptq":
        return None
    layout, bits = said.get("checkpoint_format", said.get("format", "gptq")), said.get("bits")
    if layout not in FORMATS or bits not in BITS:
        raise InputError(
            f"{folder.name} is a GPTQ checkpoint in the format {layout} with {bits} bits: read "
            f"here are {FORMATS} with {BITS} bits."
        )
    return said | {"checkpoint_format": layout}


def load_gptq(folder: Path) -> tuple[dict[str, QuantizedWeight], dict[str, torch.Tensor]]:
    """The quantized weights in a folder by layer name, and its other tensors: pure reading.

    Raises InputError where the folder has no GPTQ weights, or damaged ones.
    """
    from safetensors.torch import load_file

    settings = gptq_settings(folder)
    if settings is None:
        raise InputError(f"{folder} has no GPTQ checkpoint: give the folder of one.")
    tensors: dict[str, torch.Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(file)
    bits, weights = settings["bits"], {}
    for key in [key for key in tensors if key.endswith(".qweight")]:
        name = key.removesuffix(".qweight")
        try:
            qweight, qzeros, scales, group = (tensors.pop(f"{name}.{part}") for part in PACKED)
        except KeyError as error:
            raise InputError(
                f"{folder} lacks {error.args[0]}: fetch the checkpoint again."
            ) from error
        columns, rows = len(qweight) * 32 // bits, qweight.shape[1]
        if scales.shape[1] != rows or len(group) != columns or int(group.max()) >= len(scales):
            raise InputError(
                f"The shapes of {name} in {folder} do not fit {bits} bits: fetch the checkpoint "
                "again."
            )
        weights[name] = QuantizedWeight(
            unpack(qweight, bits).T.contiguous(),
            scales.float().T.contiguous(),
            _zero_points(qzeros, bits, settings["checkpoint_format"]).contiguous(),
            group.to(torch.int32),
            bits,
        )
    return weights, tensors


def _zero_points(qzeros: torch.Tensor, bits: int, checkpoint_format: str) -> torch.Tensor:
    """uint8 (out, groups) from stored words (groups, out · bits / 32)."""
    if checkpoint_format == "gptq_v2":
        return unpack(qzeros.T, bits)
    if bits == 3:
        return (unpack(qzeros.T, bits) + 1) & 7
    # GPTQModel took one from each field by subtracting words; where a zero point was 0, that
    # borrowed from its neighbour, which adding words gives back.
    return unpack((qzeros.T.long() + ONES[bits]).to(torch.int32), bits)


def dequantised_state(folder: Path, model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """State dict in which `model`, of the folder's architecture, computes with what GPTQ stored.

    model may be on the meta device: only its modules' kinds and names are looked at.
    """
    weights, state = load_gptq(folder)
    modules = dict(model.named_modules())
    prefix = f"{model.base_model_prefix}."
    for name, weight in weights.items():
        # A checkpoint of the body alone leaves out the name under which the whole model has it.
        module = modules.get(name) or modules.get(prefix + name)
        if module is None:
            raise InputError(
                f"{folder} has a layer {name!r}, which {type(model).__name__} lacks: its "
                "configuration belongs to another model."
            )
        values = weight.dequantize()
        own = weight_of(module).shape
        if own != values.shape:
            raise InputError(
                f"{name} in {folder} is {tuple(values.shape)} where {type(model).__name__} has "
                f"{tuple(own)}: its configuration belongs to another model."
            )
        is_linear = isinstance(module, torch.nn.Linear)
        state[f"{name}.weight"] = values if is_linear else values.T.contiguous()
    return state


@contextmanager
def full_disk_is_an_oserror():
    """safetensors reports a full disk as an error of its own, which nobody expects."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        for number in (errno.ENOSPC, errno.EDQUOT):
            if f"os error {number}" in str(error):
                raise OSError(number, str(error)) from error
        raise
