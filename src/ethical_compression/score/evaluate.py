"""Run a model under a recipe over benchmarks and text, keeping each piece as soon as it is done."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache

from ethical_compression import models, store
from ethical_compression.compress import compressed
from ethical_compression.compress.recipe import Recipe
from ethical_compression.score import loglikelihood

# Items between two saves: small enough that a killed run loses a minute or two, not an hour.
PART = 250


def fingerprint(content) -> str:
    """SHA-256 of JSON-ready content (items, texts): what a table of scores was computed from."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def evaluate(
    name: str,
    recipe: Recipe,
    benchmarks: Mapping[str, Sequence],
    text: Sequence[str] = (),
    *,
    window: int = 512,
    max_windows: int | None = None,
    dtype: str = "float32",
    device: str = "cpu",
    progress: bool = True,
):
    """Scores of model `name` as `recipe` leaves it.

    benchmarks: items by benchmark name (`datasets.multiple_choice.load`). text: held-out documents.
    Returns (scores, windows): the tables of `loglikelihood.score_items` over all benchmarks and of
    `loglikelihood.score_text`, each with a first column `model`, the recipe's label.
    Every benchmark is stored in parts as soon as it is scored, so a run that was stopped goes on
    where it was; the model is loaded only if something is missing.
    """
    import pandas as pd

    options = {"dtype": dtype, "device": device}
    base = {
        "model": models.describe(name)["fingerprint"],
        "recipe": recipe.inputs(),
        **options,
    }

    @cache
    def loaded():
        return compressed.load(recipe, name, progress=progress, **options)

    def bar(what):
        return f"{recipe.label} · {what}" if progress else None

    parts = []
    for benchmark, items in benchmarks.items():
        for begin in range(0, len(items), PART):
            some = items[begin : begin + PART]
            parts.append(
                store.table(
                    "scores",
                    base | {"items": fingerprint([asdict(item) for item in some])},
                    lambda some=some, benchmark=benchmark: loglikelihood.score_items(
                        loaded().model, loaded().tokenizer, some, progress=bar(benchmark)
                    ),
                )
            )
    scores = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    windows = pd.DataFrame()
    if text:
        reading = {"window": window, "max_windows": max_windows}
        windows = store.table(
            "windows",
            base | reading | {"text": fingerprint(list(text))},
            lambda: loglikelihood.score_text(
                loaded().model, loaded().tokenizer, text, progress=bar("text"), **reading
            ),
        )
    for table in (scores, windows):
        table.insert(0, "model", recipe.label)
    return scores, windows
