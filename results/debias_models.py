"""Shift × Hessian in whole models: every cell, over calibration seeds, for rounding and pruning.

    python results/debias_models.py              all, then debias_models.parquet: hours on two cores
    python results/debias_models.py 0/8          one shard of eight: its scores are kept
    python results/debias_models.py --model tiny-random-llama --seeds 1 --items 12      a trial

Five draws of pairs and of calibration windows, the cells of the exact α and two controls (as far at
random, unrelated pairs), GPTQ at 4 and 3 bits and SparseGPT at 25% and 50%. Rows: `how`, `cell`,
`seed`, and, as in `metrics.repair.item_harms`, `check`, `item`, `cluster` and `value`; of the full
model `how` is "full". What was scored is kept, so that a run that was stopped goes on.
"""

import argparse

import pandas as pd

from ethical_compression import kept_tables
from ethical_compression.compress.recipe import Recipe
from ethical_compression.datasets import repair_pairs, text
from ethical_compression.metrics import repair
from ethical_compression.score import batteries, loglikelihood, runs
from ethical_compression.score.subjects import Compressed

ALPHA = 0.5
WAYS = {
    "GPTQ 4-bit": ("fair-gptq", {"bits": 4, "group_size": 64}),
    "GPTQ 3-bit": ("fair-gptq", {"bits": 3, "group_size": 64}),
    "SparseGPT 25%": ("debias-sparsegpt", {"sparsity": 0.25}),
    "SparseGPT 50%": ("debias-sparsegpt", {"sparsity": 0.5}),
}
CELLS = {cell: {"cell": cell} for cell in ("exact", "shift", "hessian", "plain", "random")} | {
    "unrelated": {"cell": "exact", "pairs": "unrelated"}
}
READS = {"samples": 16, "length": 256, "pair_count": 256}


def subjects(model: str, seeds: int) -> dict[tuple[str, str, int], Compressed]:
    """By (how, cell, seed), the full model first."""
    found = {("full", "full", 0): Compressed(model)}
    for seed in range(seeds):
        for how, (method, amount) in WAYS.items():
            for cell, which in CELLS.items():
                recipe = Recipe(method, alpha=ALPHA, seed=seed, **amount, **which, **READS)
                label = f"{how}, {cell}, seed {seed}"
                found[how, cell, seed] = Compressed(model, recipe, label=label)
    return found


def asked(items: int) -> list[runs.Battery]:
    documents = text.load("xsum", "held_out")[:80]
    reading = {"window": 256, "max_windows": 20}
    return [
        batteries.battery("stereoset_within", limit=items),
        batteries.battery("crows_pairs", limit=items),
        runs.Battery("windows", documents, loglikelihood.score_text, reading, part=None),
    ]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("shard", nargs="?", default="0/1")
    arguments.add_argument("--model", default="smollm2-135m")
    arguments.add_argument("--seeds", type=int, default=5)
    arguments.add_argument("--items", type=int, default=1000)
    given = arguments.parse_args()
    place, count = map(int, given.shard.split("/"))
    every = subjects(given.model, given.seeds)
    mine = list(every.items())[place::count]
    found = runs.grid([one for _, one in mine], asked(given.items))
    if count > 1:
        return
    harms = repair.item_harms(found["stereoset_within"], found["crows_pairs"], found["windows"])
    keys = pd.DataFrame(
        [
            {"compression": one.compression, "how": how, "cell": cell, "seed": seed}
            for (how, cell, seed), one in every.items()
        ]
    )
    table = keys.merge(harms, on="compression", validate="one_to_many")
    print(table.groupby(["how", "cell", "check"], sort=False)["value"].mean().unstack())
    if given.model == "smollm2-135m":
        kept_tables.keep_larger(
            "debias_models",
            table.drop(columns="compression"),
            model=given.model,
            alpha=ALPHA,
            items=given.items,
            seeds=given.seeds,
            reads=READS,
            pairs=repair_pairs.source_record("stereoset"),
        )


if __name__ == "__main__":
    main()
