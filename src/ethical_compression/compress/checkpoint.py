"""Quantized models in the format of AutoGPTQ, which other libraries write and read.

A folder of `save_pretrained` in which a linear layer's weight is replaced by four tensors.
`qweight` are the codes, packed into int32 words along the inputs; `qzeros` the zero points, packed
along the outputs; `scales` are float16 (groups, out); and `g_idx` is each input's group. Written
whole or not at all, read back bit for bit. What this package keeps for itself is in `store`.
"""

import bisect
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ethical_compression import results
from ethical_compression.compress.blocks import (
    read,
    short_text,
    survey,
    weights_named,
)
from ethical_compression.compress.integer import BITS, QuantizedWeight, column_groups, pack, unpack
from ethical_compression.errors import InputError

FORMATS = ("gptq", "gptq_v2")
MARK = 2**40  # numbers of rows begin here, above what any tensor of a model counts
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
    if unknown := set(weights) - set(weights_named(model, list(weights))):
        raise InputError(
            f"{type(model).__name__} has no layer {min(unknown)!r}: give its own weights."
        )
    plain, rows = _as_saved(model, weights)
    # Weights that two names share are written under both: AutoGPTQ does not tie them itself.
    state = {name: tensor.detach().cpu().clone() for name, tensor in plain.items()}
    for name, weight in rows.items():
        for part, tensor in _packed(name, weight, checkpoint_format).items():
            state[f"{name}.{part}"] = tensor.cpu()
    left = [
        name.removesuffix(".weight")
        for block in survey(model).blocks
        for name in plain
        if name.startswith(f"{block.name}.") and plain[name].dim() > 1
    ]
    if left:
        # How GPTQModel is told of layers that are not quantized.
        settings["dynamic"] = {f"-:^{re.escape(name)}$": {} for name in left}
    with results.whole_or_nothing(folder, folder=True) as place:
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
            text = json.dumps(content, indent=2, allow_nan=False)
            (place / file).write_text(text, encoding="utf-8")


def packs(rows: int, columns: int) -> bool:
    """Whether the format can hold a weight (rows, columns): packing takes multiples of 32."""
    return rows % 32 == 0 and columns % 32 == 0


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


def _as_saved(
    model: torch.nn.Module, weights: Mapping[str, QuantizedWeight]
) -> tuple[dict[str, torch.Tensor], dict[str, QuantizedWeight]]:
    """A model's tensors by the names that `save_pretrained` gives them, and its quantized weights
    by their layers' names there.

    Families are saved otherwise than they compute: GPT-NeoX's head has another name, and each of
    Mixtral's experts has three matrices of its own. To see where rows end up, numbers of rows are
    sent through transformers' conversion in their place. Rows that are no multiple of 32, and
    experts that are saved as one tensor, come as the floats that they stand for.
    """
    from transformers.core_model_loading import revert_weight_conversion

    views = weights_named(model, list(weights))
    wanted = dict(weights)
    while True:
        state = dict(model.state_dict())
        starts, named = [], []
        for name in wanted:
            view, start = views[name], MARK + sum(len(views[one]) for one in named)
            starts.append(start)
            named.append(name)
            numbers = start + torch.arange(len(view))[:, None]
            key, _, expert = name.rpartition(".")
            if f"{name}.weight" in state:
                upright = state[f"{name}.weight"].shape == view.shape
                upright &= state[f"{name}.weight"].stride() == view.stride()
                state[f"{name}.weight"] = numbers if upright else numbers.T
                continue
            stored = model.get_parameter(key).data
            upright = stored[0].stride() == view.stride()
            if state[key].dtype != torch.int64:
                shape = (len(stored), len(view), 1) if upright else (len(stored), 1, len(view))
                state[key] = torch.full(shape, MARK - 1)
            state[key][int(expert)] = numbers if upright else numbers.T
        plain, rows, unfit = {}, {}, set()
        for key, tensor in revert_weight_conversion(model, state).items():
            if tensor.dtype != torch.int64 or not tensor.numel() or int(tensor.max()) < MARK:
                plain[key] = tensor
                continue
            numbers = tensor.flatten()
            its = {named[bisect.bisect(starts, int(number)) - 1] for number in numbers}
            columns = {views[name].shape[1] for name in its}
            if len(its) > 1 or tensor.dim() != 2 or not packs(len(numbers), *columns):
                unfit |= its
                continue
            (name,) = its
            whole, mine = wanted[name], numbers - starts[named.index(name)]
            mine = mine.to(whole.codes.device)
            rows[key.removesuffix(".weight")] = QuantizedWeight(
                whole.codes[mine],
                whole.scale[mine],
                whole.zero[mine],
                whole.group.clone(),
                whole.bits,
            )
        if not unfit:
            return plain, rows
        wanted = {name: weight for name, weight in wanted.items() if name not in unfit}


def _packed(name: str, weight: QuantizedWeight, checkpoint_format: str) -> dict[str, torch.Tensor]:
    """The four tensors of a layer."""
    rows, columns = weight.codes.shape
    if not packs(rows, columns):
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
        if settings.get("sym") and not (weights[name].zero == 2 ** (bits - 1)).all():
            raise InputError(
                f"{folder} calls its grids symmetric, but zero points of {name} are not in the "
                "middle, so readers would differ over its weights: fetch it again, or correct "
                '"sym" or "checkpoint_format" in its configuration.'
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
    from transformers.core_model_loading import revert_weight_conversion

    weights, state = load_gptq(folder)
    modules = dict(model.named_modules())
    saved = revert_weight_conversion(model, dict(model.state_dict()))
    prefix = f"{model.base_model_prefix}."
    for name, weight in weights.items():
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
        state[f"{name}.weight"] = values
    return state


class Said(NamedTuple):
    """What identifies a model: its tensors' shapes by name, and its logits on a few tokens."""

    shapes: dict[str, torch.Size]
    logits: torch.Tensor


@torch.no_grad()
def said_by(model: torch.nn.Module) -> Said:
    """What a folder is checked against (`check`)."""
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    return Said(shapes, read(model, short_text(model)).logits.float().cpu())


def check(folder: Path, expected: Said, *, dtype: str = "float32", device: str = "cpu") -> None:
    """Raise InputError unless a folder holds the model that was measured: built from the
    configuration as it is written, it has the same tensors and says the same of a few tokens."""
    from ethical_compression import models

    found = said_by(models.of_folder(folder, dtype=dtype).to(device))
    why = ""
    if found.shapes != expected.shapes:
        names = set(found.shapes) | set(expected.shapes)
        other = min(n for n in names if found.shapes.get(n) != expected.shapes.get(n))
        why = f"{other} is {found.shapes.get(other)} in place of {expected.shapes.get(other)}"
    else:
        lost = torch.linalg.vector_norm(found.logits - expected.logits)
        share = float(lost / torch.linalg.vector_norm(expected.logits).clamp(min=1e-30))
        if not share <= (1e-3 if dtype == "float32" else 2e-2):
            why = f"its logits are {share:.0%} off"
    if why:
        raise InputError(
            f"Saved and loaded again this is another model ({why}), so nothing was left: compress "
            "it by another method, or use it as `recipe.load` gives it."
        )
