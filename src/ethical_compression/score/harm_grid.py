"""Every method against every harm: what a model answers under many compressions, item by item.

A *part* of the grid is the model under one recipe (`parts`); `records` asks it every battery
and keeps of each answer what a paired comparison needs, and no text. Parts are independent of
each other, so that a grid can be made in any order, stopped, and put together from the tables of
several machines (`merged`). What it shows is read off the merged table by `metrics.harm_grid`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ethical_compression.compress.recipe import Recipe
from ethical_compression.datasets import bbq, honest, multiple_choice, text, unqover
from ethical_compression.errors import InputError
from ethical_compression.metrics import choices
from ethical_compression.metrics.four_harms import NORMALISATION
from ethical_compression.metrics.harm_grid import ANSWERS, OTHER
from ethical_compression.metrics.harm_values import HARMS, harm_values
from ethical_compression.score import batteries, judges, loglikelihood, runs
from ethical_compression.score.runs import Battery, Memory
from ethical_compression.score.subjects import Compressed

# What a row is told by, and what it says; `value` of a harm, the others of an answer.
KEYS = ["model", "compression", "method", "seed", "check", "item", "group", "cluster"]
VALUES = ["value", "before", "after", "kl", "logprob_change", "margin", "margin_after"]
# About how many groups a battery's items are shared by: `each` items for each of them.
GROUPS = {
    "bbq": 2 * len(bbq.CATEGORIES),
    "unqover": 4 * len(unqover.CATEGORIES),  # a pair of people is asked about four times
    "stereoset_within": 4,
    "crows_pairs": 9,
    "winobias": 2,
    "reddit_bias": 5,
    "habitual_be": 2,
    "honest_en": 2,
    "honest_fr": 2,
    "real_toxicity_prompts": 1,
    "do_not_answer": 1,
}
# The largest first: where much is done, most is seen.
SPARSITIES = ("2:4", "4:8", 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
BITS = dict.fromkeys(("rtn", "gptq", "awq"), (2, 3, 4, 8))
# What is asked first, with every seed, so that a grid which is not whole yet shows every family.
FIRST = {(method, bits) for method in BITS for bits in (4, 3)} | {
    *(("magnitude", 0.5), ("wanda", 0.5), ("sparsegpt", 0.5)),
    *(("int8", None), ("nf4", None), ("layers", "contribution")),
}


def recipes(blocks: int, group_size: int = 64, **reads: Any) -> list[Recipe]:
    """Every method at every amount.

    blocks: of the model, of which a tenth is removed: the upper ones, and those that contribute
    least. reads: `calibration`, `source`, `samples` and `length` of the methods that look at text.
    """
    remove = max(1, round(blocks / 10))
    found = [
        *(Recipe("rtn", bits=bits, group_size=group_size) for bits in BITS["rtn"]),
        *(
            Recipe(method, bits=bits, group_size=group_size, **reads)
            for method in ("gptq", "awq")
            for bits in BITS[method]
        ),
        *(
            Recipe(method, sparsity=share, **(reads if method != "magnitude" else {}))
            for share in SPARSITIES
            for method in ("magnitude", "wanda", "sparsegpt")
        ),
        *(Recipe("int8"), Recipe("nf4")),
        Recipe("layers", remove=remove, position="upper"),
        Recipe("layers", remove=remove, position="contribution", **reads),
    ]
    return sorted(found, key=_waits)


def _waits(recipe: Recipe) -> bool:
    names = ("bits", "sparsity", "position")
    amount = next((getattr(recipe, one) for one in names if one in recipe.settings()), None)
    return (recipe.method, amount) not in FIRST


def reading(settings: Sequence[Mapping[str, Any]], **reads: Any) -> list[Recipe]:
    """Recipes of their settings; those that read text read this, where they do not say what."""
    found = [Recipe.from_dict(one) for one in settings]
    return [
        Recipe.from_dict(reads | dict(one)) if recipe.reads_text else recipe
        for one, recipe in zip(settings, found, strict=True)
    ]


def parts(
    model: str,
    wanted: Sequence[Recipe],
    *,
    seeds: int = 1,
    dtype: str = "float32",
    device: str = "cpu",
) -> list[Compressed]:
    """The full model, then every recipe; those that read text once for each seed. Those of `FIRST`
    come first, with all their seeds.

    Where `dtype` is not float32, the full model in float32 too, whose distance from the full model
    is the noise of arithmetic.
    """
    found = [Compressed(model, Recipe(), dtype, device)]
    if dtype != "float32":
        found.append(Compressed(model, Recipe(), "float32", device, OTHER))
    compressed = []
    for seed in range(seeds):
        for recipe in wanted:
            if seed and not recipe.reads_text:
                continue
            if recipe.reads_text:
                recipe = Recipe.from_dict(recipe.to_dict() | {"seed": seed})
            label = f"{recipe.label}, seed {seed}" if seed else recipe.label
            compressed.append(Compressed(model, recipe, dtype, device, label))
    return found + sorted(compressed, key=lambda part: _waits(part.recipe))


def asked(
    each: int, *, samples: int = 2, length: int = 20, seed: int = 0, data_dir=None
) -> tuple[list[Battery], dict[str, str]]:
    """The batteries, at about `each` items a group, and those without data here: {title: why}.

    samples, length: continuations of a prompt, and their tokens. seed: of the items drawn.
    """
    writing = {"samples": samples, "length": length}
    settings = {"real_toxicity_prompts": writing, "do_not_answer": {"chat": True}}
    found, missing = [], {}
    for name, groups in GROUPS.items():
        try:
            found.append(
                batteries.battery(
                    name,
                    limit=groups * each,
                    seed=seed,
                    data_dir=data_dir,
                    **settings.get(name, {}),
                )
            )
        except InputError as error:
            missing[batteries.BATTERIES[name].title] = str(error)
    questions = {"piqa": multiple_choice.load("piqa", limit=2 * each, seed=seed)}
    held_out = text.load("xsum", "held_out", limit=2 * each, seed=seed)
    reading = {"window": 256, "max_windows": max(10, each // 2)}
    return [*found, *loglikelihood.batteries(questions, held_out, **reading)], missing


def fewer(every: Sequence[Battery], each: int) -> list[Battery]:
    """The same batteries with about `each` items a group, of those that are there.

    Four neighbours at a time, since UnQover asks four questions of a pair, evenly over the whole;
    batteries whose items are none by themselves (the windows of a text) stay as they are.
    """
    found = []
    for battery in every:
        blocks = [battery.items[at : at + 4] for at in range(0, len(battery.items), 4)]
        count = -(-each * GROUPS.get(battery.name, 2) // 4)
        if battery.part is not None and count < len(blocks):
            kept = [blocks[place * len(blocks) // count] for place in range(count)]
            battery = replace(battery, items=[one for block in kept for one in block])
        found.append(battery)
    return found


def shard(parts: Sequence[Compressed], number: int, count: int) -> list[Compressed]:
    """The parts of shard `number` of `count`, from 1: every count-th, so that all take about as
    long. Raises InputError for a number that is not one of 1 to count."""
    if not 1 <= number <= count:
        raise InputError(
            f"There is no shard {number} of {count}: give 1/{count} to {count}/{count}."
        )
    return list(parts[number - 1 :: count])


def records(
    part: Compressed,
    full: Compressed,
    every: Sequence[Battery],
    *,
    memory: Memory | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """All that one subject answers, a row an item and check: `KEYS` and `VALUES`.

    Of each harm (`metrics.harm_values.HARMS`) `value` is the model's own, more is worse, NaN where
    there is none. Of each battery of options there are rows of answers too, beside those of `full`
    (`metrics.choices.changed`): the option taken `before` and `after`, `kl` and `logprob_change` in
    nats, the full model's `margin` before the next option, and the lead of that same option here,
    `margin_after`, in nats.
    """
    memory, rows = memory or Memory(full), []
    for battery in every:
        table = runs.measure(part, battery, memory=memory, progress=progress)
        rows.append(harms_of(battery, table))
        if "option" in table.columns:
            start = runs.measure(full, battery, memory=memory, progress=progress)
            rows.append(_answers(battery.name, start, table))
    found = pd.concat(rows, ignore_index=True)
    found = found.assign(
        model=part.model,
        compression=part.compression,
        method=part.recipe.method,
        seed=part.recipe.seed if part.recipe.reads_text else 0,
        item=found["item"].astype(str),
        cluster=found["cluster"].astype(str),
    )
    return found.reindex(columns=[*KEYS, *VALUES])


def harms_of(battery: Battery, table: pd.DataFrame) -> pd.DataFrame:
    """Every harm that is read off a battery's table: rows of `harm_values`, and `check`, its name.

    Continuations whose toxicity counts are judged here, by the book's own judge.
    """
    harms = [name for name, harm in HARMS.items() if harm.battery == battery.name]
    if any(name.startswith("toxicity") for name in harms):
        judged = judges.judged(judges.load("redditbias"), table["text"])
        table = table.assign(toxicity=judged["p"].to_numpy())
    found = [
        harm_values(name, table, battery.items, lexicon=_lexicon(battery)).assign(check=name)
        for name in harms
    ]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def _lexicon(battery: Battery) -> Mapping[str, str] | None:
    language = {"honest_en": "en", "honest_fr": "fr"}.get(battery.name)
    return honest.lexicon(language) if language else None


def _answers(name: str, start: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Rows of answers: of a triplet the first two, of which the harm speaks."""
    sides = [
        one[one["option"] < 2] if name == "stereoset_within" else one for one in (start, table)
    ]
    if "group" not in table.columns:
        sides = [one.assign(group=one["benchmark"], cluster=one["item"]) for one in sides]
    found = choices.changed(*sides, NORMALISATION.get(name, "none"))
    found = found.drop(columns=["benchmark", "flipped", "repeated"])
    return found.assign(check=f"{ANSWERS}{name}", value=np.nan)


def none() -> pd.DataFrame:
    """Records of nothing: what a shard without parts holds."""
    kinds = dict.fromkeys(KEYS, str) | {"seed": "int64"} | dict.fromkeys(VALUES, float)
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in kinds.items()})


def merged(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables of `records` as one, whatever machine made them: each compression once, in the order
    of the alphabet, so that the same parts give the same table however they were shared out.

    Raises InputError for none, and where a compression is in two tables that disagree.
    """
    if not tables:
        raise InputError("There are no tables to merge: make at least one part of the grid.")
    seen: dict[tuple, pd.DataFrame] = {}
    for table in tables:
        for told, some in table.groupby(["model", "compression"], sort=False):
            some = some.reset_index(drop=True)
            if told in seen and not seen[told].equals(some):
                raise InputError(
                    f"Two parts of the grid disagree on {told[1]} of {told[0]}: make both with the "
                    "same settings."
                )
            seen.setdefault(told, some)
    found = [seen[told] for told in sorted(seen)]
    return pd.concat(found, ignore_index=True) if found else tables[0]
