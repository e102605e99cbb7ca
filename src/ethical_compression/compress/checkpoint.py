"""Quantized models written in the format of AutoGPTQ (`gptq_format`), which other libraries read.

Written whole or not at all, read back bit for bit. What this package keeps for itself is in
`weight_files`.
"""

import bisect
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ethical_compression import provenance, store
from ethical_compression.compress.blocks import (
    read,
    short_text,
    survey,
    weights_named,
)
from ethical_compression.compress.integer import column_groups
from ethical_compression.errors import InputError
from ethical_compression.models import on_disk
from ethical_compression.models.gptq_format import FORMATS, QuantizedWeight, pack
from ethical_compression.models.shards import write_shards

# What `packable` leaves out, for who is told that it is much.
TAKES = "it takes linear layers and experts whose sides are multiples of 32, as they are packed"
MARK = 2**40  # numbers of rows begin here, above what any tensor of a model counts


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
    weights: all of one width, from `gptq.quantize_model` or `rtn.round_to_nearest`. What the
    configuration says of them is read off them; damping is told to the reader, no more.
    checkpoint_format: "gptq" stores zero points less one, as AutoGPTQ does; it cannot say 0, and
    GPTQModel reads it from others only where zero points lie in the middle (symmetric grids).
    "gptq_v2" stores them as they are; AutoGPTQ does not know it and would misread it.
    Raises InputError for what the format cannot hold, and for a folder that is not empty.
    """
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
    starts = tuple(f"{block.name}." for block in survey(model).blocks)
    left: list[str] = []

    def tensors() -> Iterator[tuple[str, torch.Tensor]]:
        for state in _states(model):
            plain, rows = _as_saved(model, state, weights)
            left.extend(n for n, one in plain.items() if n.startswith(starts) and one.dim() > 1)
            # Weights that two names share come under both: AutoGPTQ does not tie them itself.
            yield from plain.items()
            for name, weight in rows.items():
                for part, tensor in _packed(name, weight, checkpoint_format).items():
                    yield f"{name}.{part}", tensor

    with store.whole_or_nothing(folder, folder=True) as place:
        write_shards(place, tensors())
        if left:
            # How GPTQModel is told of layers that are not quantized.
            names = (re.escape(name.removesuffix(".weight")) for name in left)
            settings["dynamic"] = {f"-:^{name}$": {} for name in names}
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


def packable(settings: Any, model: torch.nn.Module) -> list[str]:
    """Names of the weights of a model's blocks that the format can hold, whatever the settings.

    A method whose weights are exported packed changes these alone: what is measured is what can be
    saved.
    """
    return [
        name
        for block in survey(model).blocks
        for name, weight in block.weights.items()
        if packs(*weight.shape)
    ]


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
        "meta": {"quantizer": [f"ethical-compression:{provenance.version('ethical-compression')}"]},
    }


def _states(model: torch.nn.Module) -> Iterator[dict[str, torch.Tensor]]:
    """A model's state dict; where blocks stay on disk in parts, one of them in memory at a time."""
    state = dict(model.state_dict())
    for block in survey(model).blocks if on_disk.blocks(model) else ():
        on_disk.bring(block.module)
        its = block.module.state_dict(prefix=f"{block.name}.")
        yield its
        state = {name: tensor for name, tensor in state.items() if name not in its}
    yield state


def _as_saved(
    model: torch.nn.Module,
    state: Mapping[str, torch.Tensor],
    weights: Mapping[str, QuantizedWeight],
) -> tuple[dict[str, torch.Tensor], dict[str, QuantizedWeight]]:
    """A state dict's tensors by the names that `save_pretrained` gives them, and the quantized
    weights among them by their layers' names there.

    Families are saved otherwise than they compute: GPT-NeoX's head has another name, and each of
    Mixtral's experts has three matrices of its own. To see where rows end up, numbers of rows are
    sent through transformers' conversion in their place. Rows that are no multiple of 32, and
    experts that are saved as one tensor, come as the floats that they stand for.
    """
    from transformers.core_model_loading import revert_weight_conversion

    wanted = {
        name: one
        for name, one in weights.items()
        if f"{name}.weight" in state or name.rpartition(".")[0] in state
    }
    views, full = weights_named(model, list(wanted)), state
    while True:
        state = dict(full)
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


class Said(NamedTuple):
    """What identifies a model: its tensors' shapes by name, and its logits on a few tokens."""

    shapes: dict[str, torch.Size]
    logits: torch.Tensor


@torch.no_grad()
def said_by(model: torch.nn.Module) -> Said:
    """What a folder is checked against (`check`)."""
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    return Said(shapes, read(model, short_text(model)).logits.float().cpu())


def check(folder: Path, expected: Said, *, dtype: str = "float32", **how) -> None:
    """Raise InputError unless a folder holds the model that was measured: built from the
    configuration as it is written, it has the same tensors and says the same of a few tokens.

    how: further keywords of `models.of_folder`."""
    from ethical_compression import models

    found = said_by(models.of_folder(folder, dtype=dtype, **how))
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
            "it by another method, or use it as `compressed.load` gives it."
        )
