"""The state of a training that can be gone on with: weights, AdamW's moments, and a log, kept whole
or not at all, without pickle."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ethical_compression import store
from ethical_compression.errors import InputError

FILE, NOTE = "state.safetensors", "notes.json"
MOMENTS = ("exp_avg", "exp_avg_sq")  # what AdamW remembers of each weight's gradients


def write(
    folder: Path, weights: Mapping[str, Any], optimizer, inputs: dict, log: list, **besides
) -> None:
    """Keep a state in `folder`. weights: by name. optimizer: None where training has ended, and the
    moments are of no more use. inputs: what the run is told from others by. besides: JSON-ready,
    for `notes`."""
    from safetensors.torch import save_file

    tensors = {name: weight.detach().contiguous() for name, weight in weights.items()}
    for name, weight in weights.items() if optimizer else ():
        for moment in MOMENTS:
            tensors[f"{name}.{moment}"] = optimizer.state[weight][moment].contiguous()
    with store.whole_or_nothing(folder, folder=True) as place:
        save_file(tensors, place / FILE)
        store.write_note(place / NOTE, [place / FILE], inputs=inputs, log=log, **besides)


def notes(folder: Path) -> dict[str, Any] | None:
    """What `write` noted of a state: `inputs`, `log` and what it was given `besides`; None where
    nothing whole is there."""
    return store.read_note(f"run {folder.name}", folder / NOTE)


def read(folder: Path, weights: Mapping[str, Any], optimizer, inputs: dict) -> list[dict]:
    """Put what is kept in `folder` into weights and optimizer in place; its log, [] where nothing
    whole is there. Raises InputError for the state of another run."""
    import torch
    from safetensors.torch import load_file

    noted = notes(folder)
    if noted is None:
        return []
    if noted.get("inputs") != inputs:
        raise InputError(
            f"The folder {folder.name} holds a run with other settings or texts: name another."
        )
    kept = load_file(folder / FILE)
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(kept[name])
            if f"{name}.{MOMENTS[0]}" in kept:
                moments = {one: kept[f"{name}.{one}"].to(weight.device) for one in MOMENTS}
                steps = torch.tensor(float(len(noted["log"])), device=weight.device)
                optimizer.state[weight] = {"step": steps, **moments}
    return noted["log"]
