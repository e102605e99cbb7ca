"""Going through a model's weights, block by block, and noting what became of each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ethical_compression.compress import weight_files
from ethical_compression.compress.blocks import stream_blocks, survey
from ethical_compression.compress.hessian import (
    Gather,
    Hessian,
    gather_hessian,
    hessians,
    output_error,
)
from ethical_compression.compress.weight_files import Weight
from ethical_compression.errors import InputError
from ethical_compression.memory import release_freed_memory
from ethical_compression.models import on_disk
from ethical_compression.models.finite import all_finite


@dataclass
class Compressed:
    """What a method made of a model: the weights by layer name, and a report's rows, one a layer.

    A method may leave the weights to the model itself; the rows are JSON-ready but for the
    numbers' types. aside: a folder for the weights of a model that does not fit in memory.
    """

    weights: dict[str, Weight] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    aside: Path | None = None

    @classmethod
    def of(cls, model: torch.nn.Module) -> "Compressed":
        """Nothing yet of a model; where its blocks stay on disk, what is made of them does, too."""
        return cls(aside=on_disk.copies(model))

    def hold(self, layer: str, kept: Weight) -> None:
        """Have `kept` among the weights, its tensors on disk where there is a folder for them."""
        if self.aside is not None:
            weight_files.write(self.aside / layer, {layer: kept}, {})
            kept = weight_files.read(self.aside / layer)[0][layer]
        self.weights[layer] = kept

    def keep(
        self,
        layer: str,
        weight: torch.Tensor,
        kept: Weight,
        hessian: Hessian | None = None,
        **more: Any,
    ) -> None:
        """Note what `kept` does to a layer, and give the layer's weight its values, in place.

        Its row: `layer`, `weight_error`, and with a Hessian `output_error` and `reached`, whether a
        token of the calibration inputs reached it; then what `more` says.
        """
        restored = kept.dequantize().float()
        row = {"layer": layer, "weight_error": weight_error(weight, restored)}
        if hessian is not None:
            row["output_error"] = output_error(weight, restored, hessian.matrix)
            row["reached"] = hessian.count > 0
        self.rows.append(row | more)
        if self.weights.get(layer) is not kept:
            self.hold(layer, kept)
        weight.copy_(restored)


def each_layer(
    model: torch.nn.Module,
    inputs: Sequence[torch.Tensor] = (),
    *,
    gather: Gather | None = None,
    progress: str | None = None,
) -> Iterator[tuple[str, torch.Tensor, Hessian | None]]:
    """Yield (name, weight (out, in), Hessian) of each weight (`blocks.survey`), block by block.

    Without inputs (token ids, each (batch, length)) the Hessian is None; where no token reaches a
    weight, it is the identity, of a count of 0. A weight changed in place is what later blocks are
    fed by. gather: what is kept of the inputs, told the weights' full names; by default the Hessian
    alone. Raises InputError for a weight or an activation that is NaN or infinite, before the
    weight is handed out.
    """
    from tqdm.auto import tqdm

    blocks = survey(model).blocks
    gather = gather or gather_hessian()

    def within(i):
        return lambda before, name, *call: gather(before, f"{blocks[i].name}.{name}", *call)

    walk: Iterator[tuple[int, dict[str, Hessian]]] = ((i, {}) for i in range(len(blocks)))
    if inputs:
        streamed = stream_blocks(model, inputs)
        walk = ((i, hessians(block, its, within(i))) for i, block, its in streamed)
    hidden = progress is None
    for i, found in tqdm(walk, total=len(blocks), unit="block", desc=progress, disable=hidden):
        block = blocks[i]
        on_disk.bring(block.module, changes=True)
        # Tensors of many sizes come and go, between which little else would keep their pages.
        release_freed_memory()
        for name, weight in block.weights.items():
            hessian = found.get(name.removeprefix(f"{block.name}.")) if inputs else None
            if inputs and hessian is None:
                hessian = Hessian(torch.eye(weight.shape[1], device=weight.device), 0)
            check_finite(name, weight, *([hessian.matrix] if hessian else []))
            yield name, weight, hessian


def check_finite(name: str, *tensors: torch.Tensor) -> None:
    """Raise InputError where a weight, or what is fed to it, is NaN or infinite."""
    if not all(map(all_finite, tensors)):
        raise InputError(
            f"The weight of {name}, or what is fed to it, is NaN or infinite: check the model in "
            "float32 before it is compressed."
        )


def every_weight(settings: Any, model: torch.nn.Module) -> list[str]:
    """Names of all weights of a model's blocks (`blocks.survey`), whatever the settings."""
    return [name for block in survey(model).blocks for name in block.weights]


def weight_error(weight: torch.Tensor, other: torch.Tensor) -> float:
    """‖Ŵ−W‖²/‖W‖²; 0 of a weight of zeros that stayed so."""
    lost = float((other.float() - weight.float()).square().sum())
    return lost / max(float(weight.float().square().sum()), 1e-30)
