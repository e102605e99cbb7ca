"""What is measured most: a model under a recipe, and a checkpoint that somebody made."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ethical_compression import models
from ethical_compression.compress.compressed import load
from ethical_compression.compress.recipe import Recipe


@dataclass(frozen=True)
class Compressed:
    """Model `model` (a name that `models.load` takes) as `recipe` leaves it.

    label: what tables call it, by default as the recipe does; needed where two recipes of one grid
    differ in what their labels do not say, such as a seed. dtype, device, offload:
    those of `models.load`; offload decides no number.
    """

    model: str
    recipe: Recipe = field(default_factory=Recipe)
    dtype: str = "float32"
    device: str = "cpu"
    label: str = ""
    offload: bool = False

    @property
    def compression(self) -> str:
        """The label, or the recipe's."""
        return self.label or self.recipe.label

    def inputs(self) -> dict[str, Any]:
        """What decides its numbers: JSON-ready."""
        return {
            "model": models.describe(self.model)["fingerprint"],
            "recipe": self.recipe.inputs(),
            "dtype": self.dtype,
            "device": self.device,
        }

    def load(self, *, progress: bool = False) -> models.Loaded:
        """The compressed model (`compressed.load`)."""
        how = {"dtype": self.dtype, "device": self.device, "offload": self.offload}
        return load(self.recipe, self.model, progress=progress, **how)


@dataclass(frozen=True)
class Checkpoint:
    """What lies at `place`, a folder or a hub id, however it was made of base model `model`.

    label: what tables call it, by default the last part of `place`. dtype, device, offload: those
    of `models.load`; offload decides no number.
    """

    model: str
    place: str
    dtype: str = "float32"
    device: str = "cpu"
    label: str = ""
    offload: bool = False

    @property
    def compression(self) -> str:
        """The label, or the name of the folder or repository."""
        return self.label or Path(self.place).name

    def inputs(self) -> dict[str, Any]:
        """What decides its numbers: JSON-ready."""
        found = models.describe(self.place)["fingerprint"]
        return {"checkpoint": found, "dtype": self.dtype, "device": self.device}

    def load(self, *, progress: bool = False) -> models.Loaded:
        """The model as it lies there (`models.load`)."""
        return models.load(self.place, dtype=self.dtype, device=self.device, offload=self.offload)
