"""Shift × Hessian on real layers: the objective's two terms in each cell, against α.

    python results/debias_layers.py

The output projections of every third block of the embedded model, as they stand in the full model,
with pairs of StereoSet's development split; every cell at every α, rounded to 4 bits and pruned
to half. Each term is computed in float64 from the layer's inputs themselves, not from the Hessians
that the solver was given. Rows: `layer`, `how` (the compression), `alpha`, `cell`, `kept`
(‖(Ŵ−W)X‖²), `contrast` (‖Ŵ(X₀−X₁)‖²), both a token and divided by ‖WX‖², `objective`
(kept + α · contrast), and `seconds` of the solve, one thread.
"""

import time

import pandas as pd
import torch

from ethical_compression import kept_tables, models
from ethical_compression.compress import debias, pairs
from ethical_compression.compress.blocks import stream_blocks
from ethical_compression.compress.hessian import hessians
from ethical_compression.compress.integer import energy
from ethical_compression.datasets import repair_pairs

MODEL, COUNT, SEED = "smollm2-135m", 128, 0
BLOCKS = range(1, 30, 3)
# Besides the cells: the shift to first order in α, as Fair-GPTQ was released.
CELLS = {cell: {"cell": cell} for cell in debias.CELLS} | {
    "first order": {"cell": "shift", "first_order": True}
}
ALPHAS = (0.0, 0.1, 0.5, 2.0)
WAYS = {
    "GPTQ 4-bit": (debias.quantize, {"bits": 4, "group_size": 64}),
    "SparseGPT 50%": (debias.prune, {"sparsity": 0.5}),
}


def real_layers():
    """(name, weight, what is gathered, inputs, differences) of each layer; float64 rows of both."""
    loaded = models.load(MODEL)
    drawn = repair_pairs.load("stereoset", limit=COUNT, seed=SEED)
    batches = pairs.batches(loaded.tokenizer, [one.texts for one in drawn])
    chosen = pairs.output_projections(loaded.model)
    for index, block, calls in stream_blocks(loaded.model, [batch.ids for batch in batches]):
        if index not in BLOCKS:
            continue
        prefix = next(name for name, one in loaded.model.named_modules() if one is block)
        names = {name.removeprefix(f"{prefix}."): name for name in chosen if f"{prefix}." in name}
        gather, fed = pairs.gatherer(batches, set(names)), {}

        def keep(before, name, call, rows, gather=gather, fed=fed, names=names):
            if name in names:
                fed.setdefault(name, []).append(rows.flatten(0, -2).double())
            return gather(before, name, call, rows)

        found = hessians(block, calls, keep)
        for name, full_name in sorted(names.items()):
            rows = list(zip(fed[name], batches, strict=True))
            inputs = torch.cat([some[its.real.flatten()] for some, its in rows])
            differences = torch.cat([some[its.first] - some[its.second] for some, its in rows])
            weight = loaded.model.get_submodule(full_name).weight.data
            yield full_name, weight, found[name], inputs, differences


def cells_of_a_layer(name, weight, known, inputs, differences):
    """A row for every way, α and cell."""
    gram, apart = inputs.T @ inputs, differences.T @ differences
    whole = energy(weight.double(), gram).sum()
    for how, (compress, settings) in WAYS.items():
        for alpha in ALPHAS:
            for cell, which in CELLS.items():
                if alpha == 0 and cell != "plain":
                    continue  # the same codes, bit for bit: tests/compress/test_debias.py
                start = time.perf_counter()
                changed = compress(weight, known, alpha=alpha, **which, **settings)
                seconds = time.perf_counter() - start
                changed = (changed if how[0] == "S" else changed.dequantize()).double()
                kept = float(energy(changed - weight.double(), gram).sum() / whole)
                contrast = float(energy(changed, apart).sum() / whole)
                yield {
                    "layer": name,
                    "how": how,
                    "alpha": alpha,
                    "cell": cell,
                    "kept": kept,
                    "contrast": contrast,
                    "objective": kept + alpha * contrast,
                    "seconds": seconds,
                }


def main() -> None:
    torch.set_num_threads(1)
    rows = []
    with torch.no_grad():
        for layer in real_layers():
            rows += cells_of_a_layer(*layer)
            print(layer[0], f"{time.process_time():.0f} s", flush=True)
    table = pd.DataFrame(rows)
    kept_tables.keep_larger(
        "debias_layers",
        table,
        model=MODEL,
        pairs={**repair_pairs.source_record("stereoset"), "drawn": COUNT, "seed": SEED},
        cpu_seconds=time.process_time(),
    )
    print(table.groupby(["how", "alpha", "cell"])[["kept", "contrast", "objective"]].mean())


if __name__ == "__main__":
    main()
