"""Weights quantized to integers, in the format of AutoGPTQ that models come in: read, and undone.

In a folder of `save_pretrained` four tensors stand for a linear layer's weight. `qweight` are the
codes, packed into int32 words along the inputs; `qzeros` the zero points, packed along the outputs;
`scales` are float16 (groups, out); and `g_idx` is each input's group.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ethical_compression.errors import InputError
from ethical_compression.models.shards import write_shards

BITS = (2, 3, 4, 8)
FORMATS = ("gptq", "gptq_v2")
PACKED = ("qweight", "qzeros", "scales", "g_idx")
# One in each field of a word: what turns stored zero points into those that are meant.
ONES = {2: 0x55555555, 4: 0x11111111, 8: 0x01010101}


@dataclass
class QuantizedWeight:
    """One linear layer's weight on an integer grid, oriented (out features, in features).

    codes uint8 (out, in); scale float32 and zero uint8, both (out, groups); group int32 (in,): the
    group each input column belongs to.
    """

    codes: torch.Tensor
    scale: torch.Tensor
    zero: torch.Tensor
    group: torch.Tensor
    bits: int

    def dequantize(self) -> torch.Tensor:
        """The weight that the codes stand for, float32 (out, in)."""
        # Many times as fast as indexing by `[:, group]`.
        scale, zero = (one.float().index_select(1, self.group) for one in (self.scale, self.zero))
        return self.codes.float().sub_(zero).mul_(scale)


def pack(values: torch.Tensor, bits: int) -> torch.Tensor:
    """Integers of `bits` bits, (n, m) with n a multiple of 32, as int32 words (n · bits / 32, m).

    Down each column the values are one stream of bits, lowest bits first; at three bits a value
    may lie across two words. This is AutoGPTQ's layout, at every width.
    """
    values = values.long().view(-1, 32, values.shape[1])
    words = values.new_zeros(len(values), bits, values.shape[2])
    for k in range(32):
        word, shift = divmod(k * bits, 32)
        words[:, word] |= values[:, k] << shift
        if shift + bits > 32:
            words[:, word + 1] |= values[:, k] >> (32 - shift)
    return words.flatten(0, 1).to(torch.int32)  # keeps the low 32 bits


def unpack(words: torch.Tensor, bits: int) -> torch.Tensor:
    """What `pack` packed: uint8 (n, m) from int32 (n · bits / 32, m)."""
    words = (words.long() & 0xFFFFFFFF).view(-1, bits, words.shape[1])
    values = words.new_empty(len(words), 32, words.shape[2])
    for k in range(32):
        word, shift = divmod(k * bits, 32)
        values[:, k] = words[:, word] >> shift
        if shift + bits > 32:
            values[:, k] |= words[:, word + 1] << (32 - shift)
    return (values & (2**bits - 1)).flatten(0, 1).to(torch.uint8)


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
    weights, tensors = {}, {}
    for name, one in _each(folder):
        (weights if isinstance(one, QuantizedWeight) else tensors)[name] = one
    return weights, tensors


def _each(folder: Path) -> Iterator[tuple[str, QuantizedWeight | torch.Tensor]]:
    """Each of `load_gptq`'s by its name, read when its turn comes: one is in memory at a time."""
    from safetensors import safe_open

    settings = gptq_settings(folder)
    if settings is None:
        raise InputError(f"{folder} has no GPTQ checkpoint: give the folder of one.")
    where: dict[str, Any] = {}
    for file in sorted(folder.glob("*.safetensors")):
        opened = safe_open(file, framework="pt")
        where |= dict.fromkeys(opened.keys(), opened)
    packed = [key.removesuffix(".qweight") for key in where if key.endswith(".qweight")]
    parts = {f"{name}.{part}" for name in packed for part in PACKED}
    if missing := sorted(parts - set(where)):
        raise InputError(f"{folder} lacks {missing[0]}: fetch the checkpoint again.")
    for key in where:
        if key not in parts:
            yield key, where[key].get_tensor(key)
    for name in packed:
        its = [where[f"{name}.{part}"].get_tensor(f"{name}.{part}") for part in PACKED]
        yield name, _weight(folder, name, settings, *its)


def _weight(folder, name, settings, qweight, qzeros, scales, group) -> QuantizedWeight:
    bits = settings["bits"]
    columns, rows = len(qweight) * 32 // bits, qweight.shape[1]
    if scales.shape[1] != rows or len(group) != columns or int(group.max()) >= len(scales):
        raise InputError(
            f"The shapes of {name} in {folder} do not fit {bits} bits: fetch the checkpoint again."
        )
    weight = QuantizedWeight(
        unpack(qweight, bits).T.contiguous(),
        scales.float().T.contiguous(),
        _zero_points(qzeros, bits, settings["checkpoint_format"]).contiguous(),
        group.to(torch.int32),
        bits,
    )
    if settings.get("sym") and not (weight.zero == 2 ** (bits - 1)).all():
        raise InputError(
            f"{folder} calls its grids symmetric, but zero points of {name} are not in the "
            "middle, so readers would differ over its weights: fetch it again, or correct "
            '"sym" or "checkpoint_format" in its configuration.'
        )
    return weight


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
    return dict(_dequantised(folder, model))


def _dequantised(folder: Path, model: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Each tensor of `dequantised_state`, made when its turn comes."""
    from transformers.core_model_loading import revert_weight_conversion

    modules = dict(model.named_modules())
    saved = revert_weight_conversion(model, dict(model.state_dict()))
    prefix = f"{model.base_model_prefix}."
    for name, weight in _each(folder):
        if not isinstance(weight, QuantizedWeight):
            yield name, weight
            continue
        # A checkpoint of the body alone leaves out the name under which the whole model has it.
        names = [name, prefix + name]
        should = next((saved[f"{n}.weight"] for n in names if f"{n}.weight" in saved), None)
        if should is None:
            raise InputError(
                f"{folder} has a layer {name!r}, which {type(model).__name__} lacks: its "
                "configuration belongs to another model."
            )
        values = weight.dequantize()
        module = next((modules[n] for n in names if n in modules), None)
        # Only `Conv1D` keeps its weight as (in, out).
        if module is not None and not isinstance(module, torch.nn.Linear):
            values = values.T.contiguous()
        if should.shape != values.shape:
            raise InputError(
                f"{name} in {folder} is {tuple(values.shape)} where {type(model).__name__} has "
                f"{tuple(should.shape)}: its configuration belongs to another model."
            )
        yield f"{name}.weight", values


def write_plain(folder: Path, model: torch.nn.Module, dtype: torch.dtype, place: Path) -> None:
    """Write `dequantised_state` in a data type into an empty folder, shard by shard, as
    transformers reads it; little more than a shard is in memory."""
    write_shards(place, ((name, one.to(dtype)) for name, one in _dequantised(folder, model)))
