"""GPTQ by the libraries that studies were published with, each run in an environment of its own.

`make peers` builds the environments. A library's script (`quantize_NAME.py` beside this file) gets
the full model and the calibration windows in a folder and leaves a checkpoint in AutoGPTQ's format,
which is read back here: what follows does not know whose it was.
"""

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ethical_compression import store
from ethical_compression.compress import checkpoint, weight_files
from ethical_compression.compress.blocks import weights_named
from ethical_compression.compress.layerwise import every_weight, weight_error
from ethical_compression.errors import InputError
from ethical_compression.models.gptq_format import QuantizedWeight, load_gptq

# As `environments/` pins them.
VERSIONS = {"gptqmodel": "7.6.0", "auto-gptq": "0.7.1"}
QUANTIZERS = ("native", *VERSIONS)


def home() -> Path:
    """Folder of the environments: $ETHICAL_COMPRESSION_PEERS, or the repository's `.peers`."""
    named = os.environ.get("ETHICAL_COMPRESSION_PEERS")
    return Path(named).expanduser() if named else Path(__file__).parents[3] / ".peers"


def interpreter(quantizer: str) -> Path:
    """The Python of a library's environment. Raises InputError where that is not there."""
    python = home() / quantizer / "bin" / "python"
    if not python.exists():
        raise InputError(
            f"The environment of {quantizer} is not there: run `make peers` in a copy of the "
            "repository, or choose the quantizer native."
        )
    return python


def check(quantizer: str, device: str | torch.device) -> None:
    """Raise InputError where `quantizer` cannot quantize on `device`, or is not installed."""
    if quantizer == "auto-gptq" and torch.device(device).type != "cuda":
        raise InputError(
            "auto-gptq quantizes on CUDA only, and without it can only load checkpoints: choose "
            "the quantizer gptqmodel or native here, or a device with CUDA."
        )
    if quantizer != "native":
        interpreter(quantizer)


def quantize(
    quantizer: str,
    model: torch.nn.Module,
    tokenizer,
    inputs: list[torch.Tensor],
    place: Path,
    **settings,
) -> dict[str, QuantizedWeight]:
    """The quantized weights, by layer, that a library makes of `model`, which stays as it is.

    inputs: calibration token ids, each (batch, length), all of one length. place: an empty folder
    for the full model and the library's checkpoint. settings: `bits`, `group_size`, `symmetric`,
    `damping`, `activation_order`, `static_groups`, as of `gptq.solve`; the rest is left to the
    library's own defaults, at the versions in `VERSIONS`.
    Raises InputError where it is not installed or cannot work here, with its last words where it
    fails, and for a checkpoint that lacks a layer's weights or cannot be read.
    """
    device = next(model.parameters()).device
    check(quantizer, device)
    if quantizer == "auto-gptq" and settings["activation_order"] == "groups":
        raise InputError("auto-gptq knows no order of whole groups: give activation_order true.")
    full, made = place / "full", place / "made"
    model.save_pretrained(full)
    tokenizer.save_pretrained(full)
    config = json.loads((full / "config.json").read_text(encoding="utf-8"))
    (full / "config.json").write_text(
        json.dumps(checkpoint.with_older_names(config, model.dtype), indent=2), encoding="utf-8"
    )
    job = {
        "full": str(full.resolve()),
        "made": str(made.resolve()),
        "tokens": torch.cat(inputs).tolist(),
        "device": str(device),
        "dtype": str(model.dtype).removeprefix("torch."),
        "version": VERSIONS[quantizer],
        "settings": settings,
    }
    (place / "job.json").write_text(json.dumps(job), encoding="utf-8")
    script = Path(__file__).with_name(f"quantize_{quantizer.replace('-', '_')}.py").resolve()
    done = subprocess.run(
        [interpreter(quantizer), script, "job.json"],
        cwd=place,  # GPTQModel writes a log where it stands
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": "", "HF_HUB_OFFLINE": "1"},
    )
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise InputError(f"{quantizer} stopped without a checkpoint: {last}")
    weights, _ = load_gptq(made)
    return weights


def quantize_model(
    quantizer: str,
    model: torch.nn.Module,
    tokenizer,
    inputs: Sequence[torch.Tensor],
    *,
    note: Callable[[Mapping[str, Any]], None],
    **settings,
) -> dict[str, QuantizedWeight]:
    """What another library makes of a model, put into it: the weights that `quantize` returns.

    note(row) is told of each: `layer` and `weight_error`, ‖Ŵ−W‖²/‖W‖². Raises InputError, besides,
    where no tokenizer is given, and for a mixture of experts.
    """
    if tokenizer is None:
        raise InputError(f"{quantizer} takes a model by name: use compressed.load.")
    if not set(every_weight(None, model)) <= set(dict(model.named_modules())):
        raise InputError(
            f"{quantizer} names the experts of a mixture in its own way: choose the quantizer "
            "native."
        )
    with store.scratch_folder() as place:
        weights = quantize(quantizer, model, tokenizer, inputs, place, **settings)
    places = weights_named(model, list(weights))
    for layer, kept in weights.items():
        if layer in places:
            note({"layer": layer, "weight_error": weight_error(places[layer], kept.dequantize())})
    weight_files.put(model, weights)
    return weights
