"""Shift × Hessian in whole models: every cell, over calibration seeds, for rounding and pruning.

    python results/debias_models.py              all; rows of debias_models.parquet are kept
    python results/debias_models.py --hours 1    as much as begins within an hour, seed after seed
    python results/debias_models.py --model tiny-random-llama --items 12 --into FILE      a trial

Five draws of pairs and of calibration windows; GPTQ at 4 and 3 bits and SparseGPT at 25% and 50%;
the four cells of the exact α, seed by seed, so that what is there is a complete design of fewer
seeds; then, likewise, what stands beside them (`BESIDE`). Rows: `how`, `cell`, `seed`, and, as in
`metrics.repair.item_harms`, `check`, `item`, `cluster` and `value`; of the full model `how` is
"full". `cpu_seconds` of a model are in the provenance.
"""

import argparse
import copy
import sys
import time
from collections.abc import Iterator

import pandas as pd
import torch

from ethical_compression import kept_tables, models
from ethical_compression.compress import debias
from ethical_compression.compress.apply import apply
from ethical_compression.compress.calibration import calibration_inputs
from ethical_compression.compress.recipe import Recipe
from ethical_compression.datasets import repair_pairs, text
from ethical_compression.errors import InputError
from ethical_compression.metrics import repair
from ethical_compression.score import batteries, loglikelihood

ALPHA, SEEDS = 0.5, 5
TEXT = {"samples": 8, "length": 256}
READS = TEXT | {"pair_count": 128}
GRID = {"bits": 4, "group_size": 64}
WAYS = {
    "GPTQ 4-bit": ("fair-gptq", GRID),
    "GPTQ 3-bit": ("fair-gptq", GRID | {"bits": 3}),
    "SparseGPT 25%": ("debias-sparsegpt", {"sparsity": 0.25}),
    "SparseGPT 50%": ("debias-sparsegpt", {"sparsity": 0.5}),
}
CELLS = ("exact", "plain", "shift", "hessian")
# Beside the cells, at 4 bits: weights moved as far at random, pairs that say nothing of people,
# pairs in another language, and Fair-GPTQ as it was released; then others' and our own ways.
BESIDE = {
    "random": ("fair-gptq", GRID | READS | {"alpha": ALPHA, "cell": "random"}),
    "unrelated": ("fair-gptq", GRID | READS | {"alpha": ALPHA, "pairs": "unrelated"}),
    "French pairs": ("fair-gptq", GRID | READS | {"alpha": ALPHA, "pairs": "honest-fr"}),
    "as released": (
        "fair-gptq",
        debias.as_released("fair-gptq", **GRID, pair_count=READS["pair_count"]),
    ),
    "entropy-weighted": ("gptq", GRID | TEXT | {"weighting": "entropy"}),
}
Key = tuple[str, str, int]
LABELS = ["how", "cell", "seed"]


def planned() -> Iterator[tuple[Key, Recipe]]:
    """((how, cell, seed), recipe), in the order in which they are run."""
    yield ("full", "full", 0), Recipe()
    for seed in range(SEEDS):
        for how, (method, amount) in WAYS.items():
            for cell in CELLS:
                settings = amount | READS | {"alpha": ALPHA, "cell": cell, "seed": seed}
                yield (how, cell, seed), Recipe(method, **settings)
    for seed in range(SEEDS):
        for cell, (method, settings) in BESIDE.items():
            yield ("GPTQ 4-bit", cell, seed), Recipe(method, **settings, seed=seed)


class Asked:
    """The items, the same ones of every model."""

    def __init__(self, items: int, windows: int = 8):
        self.stereoset = batteries.battery("stereoset_within", limit=items)
        self.crows = batteries.battery("crows_pairs", limit=items // 2)
        self.documents = text.load("xsum", "held_out")[: 4 * windows]
        self.reading = {"window": 256, "max_windows": windows}

    def harms(self, loaded: models.Loaded) -> pd.DataFrame:
        """`item_harms` of one model."""
        asked = [
            one.score(loaded.model, loaded.tokenizer, one.items)
            for one in (self.stereoset, self.crows)
        ]
        read = (loaded.model, loaded.tokenizer, self.documents)
        asked.append(loglikelihood.score_text(*read, **self.reading))
        return repair.item_harms(*(one.assign(compression="") for one in asked))


def settings_of(model: str, items: int) -> dict:
    """What decides the rows, JSON-ready: rows of other settings are not gone on with."""
    return {
        "model": models.describe(model)["fingerprint"],
        "alpha": ALPHA,
        "items": items,
        "reads": READS,
        "dtype": "float32",
        "pairs": repair_pairs.source_record("stereoset"),
    }


def before(settings: dict) -> tuple[list[pd.DataFrame], dict[str, float]]:
    """(rows, processor seconds by model) of earlier runs of the same settings."""
    try:
        table, made = kept_tables.larger("debias_models")
    except InputError:
        return [], {}
    same = made["settings"] == settings
    return ([table], made["cpu_seconds"]) if same else ([], {})


def one_model(full: models.Loaded, recipe: Recipe, asked: Asked) -> pd.DataFrame:
    """What a model is asked after a recipe was done to a copy of it."""
    loaded = full._replace(model=copy.deepcopy(full.model))
    windows = calibration_inputs(recipe, loaded.model, loaded.tokenizer)
    apply(recipe, loaded.model, windows, tokenizer=loaded.tokenizer)
    return asked.harms(loaded)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--model", default="smollm2-135m")
    arguments.add_argument("--items", type=int, default=240)
    arguments.add_argument("--hours", type=float, default=float("inf"))
    arguments.add_argument("--into", help="a parquet file, instead of the table in results/")
    given = arguments.parse_args()
    torch.set_num_threads(1)
    began, settings = time.monotonic(), settings_of(given.model, given.items)
    tables, seconds = ([], {}) if given.into else before(settings)
    done = {key for one in tables for key in one[LABELS].itertuples(index=False, name=None)}
    full, asked = models.load(given.model), Asked(given.items)
    for key, recipe in planned():
        if key in done or time.monotonic() - began > 3600 * given.hours:
            continue
        start = time.process_time()
        found = one_model(full, recipe, asked).drop(columns="compression")
        seconds[", ".join(map(str, key))] = round(time.process_time() - start, 1)
        labels = dict(zip(LABELS, key, strict=True))
        tables.append(found.assign(**labels)[LABELS + list(found.columns)])
        keep(pd.concat(tables, ignore_index=True), settings, seconds, given.into)
        print(key, f"{time.process_time() - start:.0f} s", file=sys.stderr, flush=True)
    table = pd.concat(tables, ignore_index=True)
    print(table.groupby(["how", "cell", "check"], sort=False)["value"].mean().unstack())


def keep(table: pd.DataFrame, settings: dict, seconds: dict[str, float], into: str | None) -> None:
    """Write what there is so far, whole or not at all."""
    if into:
        table.to_parquet(into, index=False)
    else:
        kept_tables.keep_larger("debias_models", table, settings=settings, cpu_seconds=seconds)


if __name__ == "__main__":
    main()
