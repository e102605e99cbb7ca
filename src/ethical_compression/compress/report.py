"""What a compression saves and what it costs, measured on this machine, never read off a bit width.

A model whose weights were rounded and are computed with as floats takes as much memory as before,
and zeros in a dense file take as much room as any other number: these reports say so.
"""

import inspect
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ethical_compression import provenance, store
from ethical_compression.compress import bits_and_bytes, sparsity
from ethical_compression.compress.blocks import survey, weights_named
from ethical_compression.compress.calibration import calibration_windows
from ethical_compression.compress.compressed import full_weights, load
from ethical_compression.compress.hessian import output_error
from ethical_compression.compress.layerwise import each_layer, weight_error
from ethical_compression.compress.recipe import Recipe
from ethical_compression.errors import InputError
from ethical_compression.models.anatomy import transformer_blocks

# What models call that which they keep of the tokens before.
CACHES = ("past_key_values", "cache_params", "state", "mems")


def memory(model: torch.nn.Module) -> int:
    """Bytes of the tensors that a model holds: parameters, buffers, and bitsandbytes' scales.

    Tensors that share their memory count once. Activations and caches are not part of it.
    """
    held = []
    for tensor in [*model.parameters(), *model.buffers()]:
        held.append(tensor.data)
        state = getattr(tensor, "quant_state", None)
        extras = (getattr(state, "absmax", None), getattr(state, "code", None))
        held += [extra for extra in extras if extra is not None]
    held += [
        bits_and_bytes.row_scales(layer)
        for layer in model.modules()
        if type(layer).__name__ == "Linear8bitLt"
    ]
    storages = {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in held}
    return sum(storages.values())


def disk(folder: Path) -> int:
    """Bytes of the weights in a folder, such as `save_pretrained` or the store left there."""
    files = list(Path(folder).glob("*.safetensors"))
    if not files:
        raise InputError(f"{folder} holds no safetensors weights: nothing to measure.")
    return sum(file.stat().st_size for file in files)


def layer_errors(
    full: torch.nn.Module, compressed: torch.nn.Module, inputs: Sequence[torch.Tensor]
):
    """How far each linear layer of `compressed` is from that of `full`: a DataFrame, a row a layer.

    Columns: `layer`; `weight_error`, ‖Ŵ−W‖²/‖W‖²; `output_error`, ‖(Ŵ−W)X‖²/‖WX‖² with X what the
    full model feeds the layer when it reads `inputs` (token ids, each (batch, length)); and those
    of `sparsity.mask_statistics`. Raises InputError where the models have different layers.
    """
    import pandas as pd

    modules = dict(compressed.named_modules())
    names = [name for block in survey(full).blocks for name in block.weights]
    plain = [n for n in names if n not in modules or not bits_and_bytes.is_quantized(modules[n])]
    others = weights_named(compressed, plain)
    rows = []
    for layer, weight, hessian in each_layer(full, inputs):
        if layer not in modules and layer not in others:
            raise InputError(
                f"The compressed model has no layer {layer}: errors are measured layer by layer, "
                "so none may have been removed."
            )
        other = others[layer] if layer in others else bits_and_bytes.dequantize(modules[layer])
        row = {
            "layer": layer,
            "weight_error": weight_error(weight, other),
            "output_error": output_error(weight, other, hessian.matrix),
        }
        rows.append(row | sparsity.mask_statistics(other))
    return pd.DataFrame(rows)


def latency(
    models: Mapping[str, torch.nn.Module], prompt: torch.Tensor, *, tokens: int = 24
) -> dict[str, dict[str, float]]:
    """Seconds a generated token takes, by model: `median`, `low` and `high` quartile.

    prompt: token ids (1, length). Greedy, batch of one, with whatever the model keeps of the tokens
    before (keys and values, or a recurrent state; where it hands out nothing that it goes on from,
    all are read anew); the models take turns token by token, so that whatever else the machine does
    hits them alike. The first two are not counted.
    """
    with torch.no_grad():
        text = dict.fromkeys(models, prompt)
        start = {name: {} if _goes_on(model, prompt) else None for name, model in models.items()}
        kept = {name: _step(model, prompt, start[name]) for name, model in models.items()}

        def said(name: str) -> float:
            (cache, token), model = kept[name], models[name]
            text[name] = torch.cat([text[name], token], 1)
            _wait(model)
            started = time.perf_counter()
            kept[name] = _step(model, token if cache else text[name], cache)
            _wait(model)
            return time.perf_counter() - started

        return by_turns(said, models, tokens)


def by_turns(
    seconds: Callable[[str], float], names: Iterable[str], many: int
) -> dict[str, dict[str, float]]:
    """Quartiles of what `seconds` takes for each name, `many` times by turns: `low`, `median` and
    `high`. Two rounds before are not counted."""
    import numpy as np

    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(many + 2):
        for name, found in times.items():
            found.append(seconds(name))
    return {
        name: dict(
            zip(
                ("low", "median", "high"),
                np.quantile(found[2:], [0.25, 0.5, 0.75]).tolist(),
                strict=True,
            )
        )
        for name, found in times.items()
    }


def _step(model: torch.nn.Module, ids: torch.Tensor, cache: Mapping[str, Any] | None):
    """What a model keeps after reading `ids`, by the name it wants it under, and the next token.

    cache: what it kept of the tokens before, or None, with which it keeps nothing.
    """
    out = model(input_ids=ids, use_cache=cache is not None, **(cache or {}))
    wanted = inspect.signature(model.forward).parameters
    found = {name: out[name] for name in CACHES if out.get(name) is not None and name in wanted}
    return None if cache is None else found, out.logits[:, -1:].argmax(-1)


def _goes_on(model: torch.nn.Module, prompt: torch.Tensor) -> bool:
    """Whether a model reads a token after what it kept of `prompt`."""
    try:
        cache, token = _step(model, prompt, {})
        _step(model, token, cache)
    except (RuntimeError, ValueError, TypeError):
        return False
    return bool(cache)


def _wait(model: torch.nn.Module) -> None:
    if next(model.parameters()).device.type == "cuda":
        torch.cuda.synchronize()


def report(
    what: Recipe,
    name: str,
    *,
    folder: Path | None = None,
    text: str = "xsum",
    source: str = "embedded",
    windows: int = 2,
    length: int = 256,
    tokens: int = 24,
    partial: bool = False,
    **options,
) -> tuple[dict[str, Any], Any]:
    """Measure model `name` under recipe `what` against the full model. Returns (record, layers).

    record, JSON-ready: `model`, `recipe`, `memory` and `memory_full` (bytes), `seconds_per_token`
    and `seconds_per_token_full` (`latency`), `touched` (`apply.touched`) and `zeros`, both shares
    of the weights in the model's blocks, `hardware`; and `disk` and `disk_full` (bytes) where
    `folder` holds the exported model.
    layers: the table of `layer_errors` on `windows` windows of `length` tokens of held-out `text`,
    or None where layers were removed. options: those of `models.load`.
    """
    from ethical_compression import models
    from ethical_compression.datasets import text as texts
    from ethical_compression.score.networks import model_length

    full = models.load(name, **options)
    full_weights(full.model, name)
    compressed = load(what, name, partial=partial, **options)
    held_out = texts.load(text, "held_out", source=source)
    length = min(length, model_length(full.model) or length)
    inputs = calibration_windows(full.tokenizer, held_out, samples=windows, length=length)
    inputs = [window.to(full.model.device) for window in inputs]
    record = {
        "model": full.source["name"],
        "recipe": what.inputs(),
        "memory_full": memory(full.model),
        "memory": memory(compressed.model),
    }
    if folder is not None:
        record |= {"disk_full": _disk_of(full.model), "disk": disk(folder)}
    layers = None
    if len(transformer_blocks(full.model)) == len(transformer_blocks(compressed.model)):
        layers = layer_errors(full.model, compressed.model, inputs)
        record["zeros"] = float(layers["zeros"].sum() / survey(full.model).total)
    if "touched" in compressed.source:
        record["touched"] = compressed.source["touched"]
    tokens = min(tokens, (model_length(full.model) or tokens + 40) - 36)
    both = {"full": full.model, "compressed": compressed.model}
    speed = latency(both, inputs[0][:1, :32], tokens=tokens)
    record |= {
        "seconds_per_token_full": speed["full"],
        "seconds_per_token": speed["compressed"],
        "hardware": provenance.hardware(),
    }
    return record, layers


def _disk_of(model: torch.nn.Module) -> int:
    """Bytes of a model's weights on disk, found by writing them."""
    with store.scratch_folder() as scratch:
        model.save_pretrained(scratch)
        return disk(scratch)


def sentences(record: Mapping[str, Any], layers) -> str:
    """A report in words, a line a quantity."""
    lines = []
    for what, name in (("on disk", "disk"), ("in memory", "memory")):
        if name in record:
            full, here = record[f"{name}_full"] / 2**20, record[name] / 2**20
            lines.append(f"{what}: {full:.1f} MiB -> {here:.1f} MiB ({here / full:.0%})")
    full, here = (record[f"seconds_per_token{end}"] for end in ("_full", ""))
    lines.append(
        f"a token: {1000 * full['median']:.1f} ms -> {1000 * here['median']:.1f} ms "
        f"(quartiles {1000 * here['low']:.1f} to {1000 * here['high']:.1f}), batch of one, "
        f"{record['hardware']['GPU'] or record['hardware']['processor']}"
    )
    if "touched" in record:
        lines.append(f"touched: {record['touched']:.1%} of the weights in the model's blocks")
    if layers is not None:
        worst = layers.loc[layers["output_error"].idxmax()]
        lines.append(f"zeros: {record['zeros']:.1%} of the weights in the model's blocks")
        lines.append(
            f"relative output error: median {layers['output_error'].median():.2e}, at most "
            f"{worst['output_error']:.2e} ({worst['layer']})"
        )
    return "\n".join(lines)
