"""Compressed models: loaded, kept in the store, and written to folders that any library reads."""

import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ethical_compression import models, provenance, store
from ethical_compression.compress import bits_and_bytes, checkpoint, methods, weight_files
from ethical_compression.compress.apply import apply, check_touched
from ethical_compression.compress.calibration import calibration_inputs
from ethical_compression.compress.layerwise import Compressed
from ethical_compression.compress.recipe import Recipe
from ethical_compression.errors import InputError
from ethical_compression.models import on_disk
from ethical_compression.models.shards import SHARD


def load(recipe: Recipe, name: str, *, partial: bool = False, progress: bool = False, **options):
    """Model `name` as `recipe` leaves it: `models.Loaded`, its source telling the recipe too, and
    what share of its blocks' weights that touched (`touched`).

    A model that bitsandbytes has quantized is dequantised first. partial: see `check_touched`.
    options: passed on to `models.load`. What a compression costs is paid once: weights, and which
    layers were removed, are kept in the store, and later calls give the same model, bit for bit.
    bitsandbytes takes seconds and is done anew.
    """
    return load_with_report(recipe, name, partial=partial, progress=progress, **options)[0]


def load_with_report(
    recipe: Recipe, name: str, *, partial: bool = False, progress: bool = False, **options
):
    """(`load`'s model, the rows of `apply`'s report as dicts, the compressed weights)."""
    method = methods.find(recipe.method)
    if options.get("offload"):
        check_by_block(recipe)
    loaded = models.load(name, **options)
    done = Compressed()
    source = loaded.source | {"recipe": recipe.inputs()}
    if method.apply:
        full_weights(loaded.model, name)
    if method.touches:
        source["touched"] = check_touched(recipe, loaded.model, partial=partial)
    if method.apply and not method.kept:
        done = _made(recipe, loaded, partial=partial, progress=progress)
    elif method.apply:
        folder = stored(recipe, loaded.source["fingerprint"], **options)
        if kept := weight_files.read(folder):
            done = Compressed(kept[0], kept[1]["layers"])
            if method.restore:
                method.restore(loaded.model, done)
            else:
                weight_files.put(loaded.model, done.weights)
        else:
            store.check_place(folder, folder=True)
            parts = folder.with_name(f"{folder.name}-parts")
            done = _made(recipe, loaded, partial=partial, progress=progress, parts=parts)
            notes = {"recipe": recipe.inputs(), "layers": done.rows}
            weight_files.write(folder, done.weights, notes)
            shutil.rmtree(parts, ignore_errors=True)
    return loaded._replace(source=source), done.rows, done.weights


def check_by_block(recipe: Recipe) -> None:
    """Raise InputError where a recipe does not take a model whose blocks stay on disk."""
    method = methods.find(recipe.method)
    if method.apply and not (method.by_block and method.by_block(recipe.chosen)):
        known = methods.methods().values()
        others = [one.name for one in known if one.by_block and one is not method]
        raise InputError(
            f"{recipe.label} takes a model that is in memory as a whole: choose a method that "
            f"takes its blocks from disk ({', '.join(others)}), or leave out --offload."
        )


def _made(recipe: Recipe, loaded: models.Loaded, **how) -> Compressed:
    """What a recipe makes of a loaded model, in place. how: the keywords of `apply`."""
    if check := methods.find(recipe.method).check:
        check(recipe.chosen, next(loaded.model.parameters()).device)
    windows = calibration_inputs(recipe, loaded.model, loaded.tokenizer)
    weights, report = apply(recipe, loaded.model, windows, tokenizer=loaded.tokenizer, **how)
    return Compressed(weights, report.to_dict("records"))


def full_weights(model, name: str) -> None:
    """Give the layers of a model that came quantized their weights as floats, in place.

    Raises InputError where it was quantized by other means than bitsandbytes' (GPTQ checkpoints are
    dequantised as they are read).
    """
    bits_and_bytes.dequantize_model(model)
    if getattr(model.config, "quantization_config", None) is not None:
        said = model.config.quantization_config
        method = said.get("quant_method") if isinstance(said, dict) else said.quant_method
        raise InputError(
            f"{name} is quantized already, by {getattr(method, 'value', method)}, which is not "
            "undone here: give the full model."
        )


def stored(recipe: Recipe, fingerprint: str, **options):
    """Folder of the store that holds a compressed model; fingerprint: `models.describe`'s.

    options: those of `models.load`; the type of the weights counts, as it decides their rounding.
    """
    inputs = {
        "model": fingerprint,
        "recipe": recipe.inputs(),
        "dtype": options.get("dtype", "float32"),
    }
    return store.cache_dir() / "compressed" / store.key("model", inputs, __name__)


def compress(
    recipe: Recipe,
    name: str,
    folder: Path,
    *,
    partial: bool = False,
    progress: bool = False,
    **options,
) -> dict[str, Any]:
    """Compress model `name` and leave it in `folder`, whole or not at all. Returns the record.

    Rounded weights are packed as AutoGPTQ packs them; all others are stored as the model computes
    with them, zeros included, so that any library loads the folder. It is loaded again before it
    takes its place, and must be the model that it was made from (`checkpoint.check`).

    The record, kept as `compression.json`: `recipe`, `model` (its source), `touched` (the share of
    the blocks' weights that the method changed, where it changes weights), `layers` (the rows of
    `apply`'s report) and `provenance`. partial: see `check_touched`. options: those of
    `models.load`.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is not empty: name another folder, or remove this one.")
    loaded, rows, weights = load_with_report(
        recipe, name, partial=partial, progress=progress, **options
    )
    if not methods.find(recipe.method).apply:  # a folder of the full model is one of plain weights
        full_weights(loaded.model, name)
    record = {
        "recipe": recipe.inputs(),
        "model": loaded.source,
        **{key: loaded.source[key] for key in ("touched",) if key in loaded.source},
        "layers": rows,
        "provenance": provenance.provenance(),
    }
    how = {key: options[key] for key in ("dtype", "device", "offload") if key in options}
    with store.whole_or_nothing(folder, folder=True) as place:
        expected = save(recipe, loaded.model, loaded.tokenizer, weights, place)
        del loaded, weights  # there need not be room for two
        checkpoint.check(place, expected, **how)
        store.write_json(place / "compression.json", record)
    return record


def save(recipe: Recipe, model, tokenizer, weights: Mapping, folder: Path) -> checkpoint.Said:
    """Write what `apply` made of a model into an empty folder, and return what it must say when it
    is loaded from there (`checkpoint.check`)."""
    if methods.find(recipe.method).packed and weights:
        told = {"damping": recipe.damping} if "damping" in recipe.settings() else {}
        checkpoint.save_gptq(folder, model, tokenizer, weights, **told)
    else:
        on_disk.let_go(model)
        size = {"max_shard_size": SHARD} if on_disk.blocks(model) else {}
        with warnings.catch_warnings():
            # That a file of 50 GB takes as much memory; here files are small.
            warnings.filterwarnings("ignore", "Attempting to save a model with offloaded modules")
            model.save_pretrained(folder, **size)
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
    return checkpoint.said_by(model)


def coverage(record: Mapping[str, Any]) -> str:
    """What a record of `compress` says of how much was touched, a sentence or two; "" where the
    method changes no weights."""
    if "touched" not in record:
        return ""
    said = f"{record['touched']:.1%} of the weights in the model's blocks were touched."
    missed = [row["layer"] for row in record["layers"] if row.get("reached") is False]
    if missed:
        said += (
            f" No calibration token reached {len(missed)} of {len(record['layers'])} of them, such "
            f"as {missed[0]}: they were compressed as if all inputs were alike."
        )
    return said
