"""Shift × Hessian in whole models: every cell, over calibration seeds, for rounding and pruning.

    python results/debias_models.py              all; rows of debias_models.parquet are kept
    python results/debias_models.py --hours 1    as much as begins within an hour, seed after seed
    python results/debias_models.py --model tiny-random-llama --items 12 --into FILE      a trial

α is the one of `ALPHAS` with the largest icat on items of the development split, of the first draw
at 4 bits; what each came to stands in the provenance (`development`). Then five draws of pairs and
of calibration windows; GPTQ at 4 and 3 bits and SparseGPT at 25% and 50%; the four cells, then, at
4 bits, controls (`CONTROLS`), the other α (`DOSES`) and GPTQ weighted by entropy. The order is that
in which a part of it says most (`planned`): first the exact and the plain cell in every draw, since
a change needs draws, then what a large α does, then the other cells and ways. Rows: `how`, `cell`,
`seed`, and, as in `metrics.repair.item_harms`, `check`, `item`, `cluster` and `value`; of the full
model `how` is "full". The processor time of each model stands in the provenance.

Two things make it affordable on a processor, and differ from the chapter. Every layer is fed as the
full model feeds it, as in debias_layers.py, so that a draw is read once for all ways and cells, and
weights that no cell touches are solved once. Models are scored in bfloat16: the full model is
scored in float32, too, so that what this changes can be read off the table. What a compression has
so spoilt that bfloat16's rounding alone changes what it says is computed in float32, from the same
weights, and named in the provenance (`float32`).
"""

import argparse
import copy
import functools
import sys
import time
from collections.abc import Iterator

import pandas as pd
import torch

from ethical_compression import kept_tables, models
from ethical_compression.compress import debias, gptq, pairs
from ethical_compression.compress.blocks import stream_blocks, survey, weights_named
from ethical_compression.compress.calibration import calibration_inputs
from ethical_compression.compress.hessian import gather_hessian, hessians
from ethical_compression.compress.recipe import Recipe
from ethical_compression.compress.weighting import token_weights
from ethical_compression.datasets import repair_pairs, stereoset, text
from ethical_compression.datasets.contrast import stratified
from ethical_compression.errors import InputError
from ethical_compression.metrics import choices, repair, stereotypes
from ethical_compression.score import batteries, harms, loglikelihood

ALPHAS, SEEDS, PAIRS = (0.01, 0.03, 0.1, 0.5), 5, 96
DEVELOPMENT = 150  # items of StereoSet's development split
TEXT = {"samples": 6, "length": 256}
WAYS = {
    "GPTQ 4-bit": (debias.quantize, {"bits": 4, "group_size": 64}),
    "SparseGPT 50%": (debias.prune, {"sparsity": 0.5}),
    "GPTQ 3-bit": (debias.quantize, {"bits": 3, "group_size": 64}),
    "SparseGPT 25%": (debias.prune, {"sparsity": 0.25}),
}
CELLS = ("exact", "plain", "shift", "hessian")
# Weights moved as far at random; pairs that say nothing of people; pairs in another language.
CONTROLS = {
    "random": ("random", "stereoset"),
    "unrelated": ("exact", "unrelated"),
    "French pairs": ("exact", "honest-fr"),
}
DOSES = {f"exact, α = {one:g}": one for one in ALPHAS}  # those that were not chosen
WEIGHTED = "entropy-weighted"  # plain, and knows of no pairs: tokens count by what the model doubts
LABELS = ["how", "cell", "seed"]
Weights = dict[str, torch.Tensor]


def planned(alpha: float) -> Iterator[tuple[str, str, int]]:
    """(how, cell, seed), in the order in which they are run; alpha: that of all cells but doses."""
    yield from (("full", "float32", 0), ("full", "full", 0))
    first, second, *rest = WAYS
    largest, *doses = sorted((one for one in DOSES if DOSES[one] != alpha), key=DOSES.get)[::-1]
    steps = [([first], CELLS[:2]), ([second], CELLS[:2]), ([first], [largest])]
    steps += [([first, second], CELLS[2:]), (rest, CELLS)]
    random, *others = CONTROLS
    steps += [([first], [one]) for one in (random, *doses, *others, WEIGHTED)]
    for ways, cells in steps:
        yield from ((how, cell, seed) for seed in range(SEEDS) for how in ways for cell in cells)


class Made:
    """Compressed models of one full model; what was read of each draw, and solved last, is held."""

    def __init__(self, full: models.Loaded, alpha: float = 0.0):
        self.full, self.alpha = full, alpha
        self.gathered = functools.lru_cache(SEEDS)(self._gathered)
        self.others = functools.lru_cache(1)(self._others)

    def _gathered(self, seed: int, name: str) -> dict[str, pairs.Contrasted]:
        """What is known of the inputs of every weight of the full model: of text, and of pairs."""
        model, tokenizer = self.full.model, self.full.tokenizer
        read = self._read(seed)
        drawn = repair_pairs.load(name, limit=PAIRS, seed=seed)
        calls = pairs.batches(tokenizer, [one.texts for one in drawn])
        gather = pairs.gatherer(calls, pairs.output_projections(model), texts=len(read))
        return self._known([*read, *(batch.ids for batch in calls)], gather)

    def _read(self, seed: int) -> list[torch.Tensor]:
        recipe = Recipe("gptq", bits=4, seed=seed, **TEXT)
        return calibration_inputs(recipe, self.full.model, self.full.tokenizer)

    def _known(self, fed: list[torch.Tensor], gather) -> dict:
        """What `gather` keeps of the inputs of every weight, by its name in the model."""
        model, found = self.full.model, {}
        blocks = survey(model).blocks
        for index, block, its in stream_blocks(model, fed):
            prefix = f"{blocks[index].name}."
            named = hessians(block, its, lambda b, n, *call, p=prefix: gather(b, p + n, *call))
            found |= {prefix + one: known for one, known in named.items()}
        return found

    def _weighted(self, how: str, seed: int) -> Weights:
        """Every weight, rounded with the Hessian in which a token counts by its entropy."""
        read = self._read(seed)
        gather = gather_hessian(token_weights("entropy", self.full.model, read))
        known = self._known(read, gather)
        places = weights_named(self.full.model, list(known))
        return {
            one: gptq.solve(weight.data, known[one].matrix, **WAYS[how][1])[0].dequantize()
            for one, weight in places.items()
        }

    def _solve(self, names, how: str, cell: str, seed: int, name: str, alpha: float) -> Weights:
        compress, amount = WAYS[how]
        places, known = weights_named(self.full.model, list(names)), self.gathered(seed, name)
        solved = {
            one: compress(weight.data, known[one], alpha=alpha, cell=cell, seed=seed, **amount)
            for one, weight in places.items()
        }
        return {
            one: found if isinstance(found, torch.Tensor) else found.dequantize()
            for one, found in solved.items()
        }

    def _others(self, how: str, seed: int) -> Weights:
        """The weights that are no output projections, and so the same in every cell."""
        known = self.gathered(seed, "stereoset")
        rest = known.keys() - pairs.output_projections(self.full.model)
        return self._solve(sorted(rest), how, "plain", seed, "stereoset", 0.0)

    def model(self, how: str, cell: str, seed: int) -> models.Loaded:
        """A compressed copy of the full model, in bfloat16."""
        copied = copy.deepcopy(self.full.model)
        if how != "full":
            if cell == WEIGHTED:
                weights = self._weighted(how, seed)
            else:
                weights = dict(self.others(how, seed))
                alpha = DOSES.get(cell, self.alpha)
                which = CONTROLS.get(cell, ("exact" if cell in DOSES else cell, "stereoset"))
                chosen = sorted(pairs.output_projections(copied))
                weights |= self._solve(chosen, how, which[0], seed, which[1], alpha)
            for name, place in weights_named(copied, list(weights)).items():
                place.data.copy_(weights[name])
        return self.full._replace(model=copied if cell == "float32" else copied.bfloat16())


def developed(made: Made, items: int) -> list[dict]:
    """What every α of `ALPHAS` comes to on development items that no layer of the first draw was
    shown: StereoSet's scores, a row each, JSON-ready."""
    calibrating = repair_pairs.load("stereoset", limit=PAIRS, seed=0)
    taken = {one for pair in calibrating for one in pair.texts}
    others = [one for one in stereoset.load("development") if taken.isdisjoint(one.texts)]
    others = stratified(others, items, 0, lambda one: one.bias_type)
    rows = []
    for alpha in ALPHAS:
        made.alpha = alpha
        loaded = made.model("GPTQ 4-bit", "exact", 0)
        said = choices.wide(harms.stereoset(loaded.model, loaded.tokenizer, others), "token")
        found = stereotypes.stereoset_scores(others, said, by=None).iloc[0]
        rows.append({"alpha": alpha} | {one: float(found[one]) for one in ("ss", "lms", "icat")})
    return rows


class Asked:
    """The items, the same ones of every model."""

    def __init__(self, items: int, windows: int = 6):
        self.sentences = [
            batteries.battery("stereoset_within", limit=items),
            batteries.battery("crows_pairs", limit=items // 2),
        ]
        self.documents = text.load("xsum", "held_out")[: 4 * windows]
        self.reading = {"window": 256, "max_windows": windows}

    def harms(self, loaded: models.Loaded) -> pd.DataFrame:
        """`item_harms` of one model."""
        read = (loaded.model, loaded.tokenizer)
        asked = [one.score(*read, one.items) for one in self.sentences]
        asked.append(loglikelihood.score_text(*read, self.documents, **self.reading))
        return repair.item_harms(*(one.assign(compression="") for one in asked))


def settings_of(model: str, items: int) -> dict:
    """What decides the rows, JSON-ready: rows of other settings are not gone on with."""
    return {
        "model": models.describe(model)["fingerprint"],
        "alphas": ALPHAS,
        "development": DEVELOPMENT,
        "items": items,
        "text": TEXT,
        "drawn": PAIRS,
        "fed": "as the full model feeds every layer",
        "scored": "bfloat16",
        "stereoset": "compared by means over tokens, and beside that by sums",
        "pairs": repair_pairs.source_record("stereoset"),
    }


def before(settings: dict) -> tuple[list[pd.DataFrame], dict]:
    """(rows, what was said beside them) of earlier runs of the same settings."""
    if (found := kept_tables.earlier("debias_models", settings)) is None:
        return [], {}
    table, made = found
    said = {name: made[name] for name in ("alpha", "development", "cpu_seconds")}
    return [table], said | {"float32": made.get("float32", [])}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--model", default="smollm2-135m")
    arguments.add_argument("--items", type=int, default=200)
    arguments.add_argument("--hours", type=float, default=float("inf"))
    arguments.add_argument("--into", help="a parquet file, instead of the table in results/")
    given = arguments.parse_args()
    torch.set_num_threads(1)
    began, settings = time.monotonic(), settings_of(given.model, given.items)
    tables, said = ([], {}) if given.into else before(settings)
    done = {key for one in tables for key in one[LABELS].itertuples(index=False, name=None)}
    made, asked = Made(models.load(given.model)), Asked(given.items)
    if not said:
        with torch.no_grad():
            tried = developed(made, min(DEVELOPMENT, given.items))
        best = max(tried, key=lambda row: row["icat"])["alpha"]
        said = {"alpha": best, "development": tried, "cpu_seconds": {}, "float32": []}
    made.alpha = said["alpha"]
    for key in planned(made.alpha):
        if key in done or time.monotonic() - began > 3600 * given.hours:
            continue
        start, name = time.process_time(), ", ".join(map(str, key))
        with torch.no_grad():
            loaded = made.model(*key)
            try:
                found = asked.harms(loaded)
            except InputError:  # rounding moves it farther than padding may
                said["float32"].append(name)
                found = asked.harms(loaded._replace(model=loaded.model.float()))
        found = found.drop(columns="compression")
        seconds = said["cpu_seconds"][name] = round(time.process_time() - start, 1)
        labels = dict(zip(LABELS, key, strict=True))
        tables.append(found.assign(**labels)[LABELS + list(found.columns)])
        keep(pd.concat(tables, ignore_index=True), settings, said, given.into)
        print(key, f"{seconds:.0f} s", file=sys.stderr, flush=True)
    table = pd.concat(tables, ignore_index=True)
    print(table.groupby(["how", "cell", "check"], sort=False)["value"].mean().unstack())


def keep(table: pd.DataFrame, settings: dict, said: dict, into: str | None) -> None:
    """Write what there is so far, whole or not at all."""
    if into:
        table.to_parquet(into, index=False)
    else:
        kept_tables.keep_larger("debias_models", table, settings=settings, **said)


if __name__ == "__main__":
    main()
