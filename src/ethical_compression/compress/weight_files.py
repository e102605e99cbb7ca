"""Compressed weights kept between runs: written whole or not at all, read back bit for bit.

A compressed weight is a dataclass whose tensors and small settings restore it by `dequantize()`:
`gptq_format.QuantizedWeight`, `awq.ScaledWeight`, `sparsity.SparseWeight`. Each is made known to
`restorable`, beside its definition, and is read back by its name.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from ethical_compression import store
from ethical_compression.compress.blocks import survey
from ethical_compression.errors import InputError
from ethical_compression.models import on_disk
from ethical_compression.models.gptq_format import QuantizedWeight
from ethical_compression.models.shards import write_shards

_kinds: dict[str, type] = {}


def restorable(kind: type) -> type:
    """Make a dataclass with `dequantize()` known, so that `read` makes it from its name.

    Raises InputError where another file's has the name.
    """
    there = _kinds.get(kind.__name__, kind).__module__
    if there != kind.__module__:
        raise InputError(f"{there} has a {kind.__name__} already: choose another name.")
    _kinds[kind.__name__] = kind
    return kind


restorable(QuantizedWeight)


class Weight(Protocol):
    """A layer's weight in few numbers."""

    def dequantize(self) -> torch.Tensor:
        """The weight that they stand for, float32 (out, in)."""
        ...


def write(folder: Path, weights: Mapping[str, Weight], notes: Mapping[str, Any]) -> None:
    """Keep compressed weights in `folder`: `weights.safetensors`, or several files of about a
    gigabyte, and `notes.json` about them."""
    tensors, plain = {}, {}
    for layer, weight in weights.items():
        plain[layer] = {"kind": type(weight).__name__}
        for field in dataclasses.fields(weight):
            value = getattr(weight, field.name)
            if isinstance(value, torch.Tensor):
                tensors[f"{layer}.{field.name}"] = value
            else:
                plain[layer][field.name] = value
    with store.whole_or_nothing(folder, folder=True) as place:
        files = write_shards(place, tensors.items(), "weights")
        store.write_note(place / "notes.json", files, weights=plain, **notes)


def read(folder: Path) -> tuple[dict[str, Weight], dict[str, Any]] | None:
    """The weights and notes that `write` kept, or None where there are none to be trusted.

    Tensors are mapped from the files: what of them is in memory, the system may drop.
    """
    from safetensors.torch import load_file

    notes = store.read_note(f"model {folder.name}", folder / "notes.json")
    if notes is None:
        return None
    tensors = {}
    for file in folder.glob("weights*.safetensors"):
        tensors |= load_file(file)
    weights = {}
    for layer, plain in notes.pop("weights").items():
        kind = _kinds[plain.pop("kind")]
        names = [field.name for field in dataclasses.fields(kind) if field.name not in plain]
        weights[layer] = kind(**plain, **{name: tensors[f"{layer}.{name}"] for name in names})
    return weights, notes


def put(model: torch.nn.Module, weights: Mapping[str, Weight]) -> None:
    """Give the model's layers the values that `weights` stand for, in place."""
    blocks = survey(model).blocks
    there = {name for block in blocks for name in block.weights}
    if unknown := next((layer for layer in weights if layer not in there), None):
        raise InputError(
            f"The stored weights have a layer {unknown!r}, which {type(model).__name__} lacks: "
            "put them into the model they were made from."
        )
    for block in blocks:
        its = [layer for layer in block.weights if layer in weights]
        if its:
            on_disk.bring(block.module, changes=True)
        for layer in its:
            block.weights[layer].copy_(weights[layer].dequantize())
