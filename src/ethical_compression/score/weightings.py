"""Several compressions of one model, over calibration seeds, set against the full model's answers.

What the comparison of plain and uncertainty-weighted GPTQ needs: how far each question's answers
are from the full model's, and how sure the full model is of it when asked a second time.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from ethical_compression.compress.recipe import Recipe
from ethical_compression.metrics.confidence import equal_count_bins, per_item
from ethical_compression.score.divergence import option_distances
from ethical_compression.score.evaluate import evaluate

TEXT = "held-out text"
THIRDS = ("least sure third", "middle third", "surest third")


def reworded(questions: Mapping[str, Sequence], lead: str) -> dict[str, list]:
    """The same questions with `lead` put before each: a second look at them."""
    return {
        name: [replace(item, context=lead + item.context) for item in found]
        for name, found in questions.items()
    }


def distances_from_full(
    name: str,
    recipes: Iterable[Recipe],
    questions: Mapping[str, Sequence],
    lead: str,
    held_out: Sequence[str],
    **options,
) -> pd.DataFrame:
    """Distances of model `name` under each of `recipes` from itself, and how it reads `held_out`.

    Returns one row for each recipe and question, `model` (the recipe's label), `seed`, `benchmark`,
    `item`, `js_distance` (over the options), `change` (of the right answer's probability), `again`
    (the full model's confidence under the other wording); and one for each recipe and window of
    text, its `benchmark` TEXT, with `nll` (nats a token). options: those of `evaluate`.
    """
    settings = {key: options[key] for key in ("dtype", "device", "progress") if key in options}
    full, _ = evaluate(name, Recipe(), questions, **settings)
    second, _ = evaluate(name, Recipe(), reworded(questions, lead), **settings)
    keys = ["benchmark", "item"]
    before = per_item(full)[[*keys, "p_true"]]
    again = per_item(second)[[*keys, "confidence"]].rename(columns={"confidence": "again"})
    tables = []
    for recipe in recipes:
        scores, windows = evaluate(name, recipe, questions, held_out, **options)
        after = per_item(scores)[[*keys, "p_true"]]
        here = option_distances(full, scores)
        for other in (before, after.rename(columns={"p_true": "after"}), again):
            here = here.merge(other, on=keys, validate="one_to_one")
        here["change"] = here.pop("after") - here.pop("p_true")
        read = pd.DataFrame(
            {
                "benchmark": TEXT,
                "item": windows["window"].astype(str),
                "nll": -windows["logprob"] / windows["tokens"],
            }
        )
        both = pd.concat([here, read], ignore_index=True)
        both.insert(0, "model", recipe.label)
        both.insert(1, "seed", getattr(recipe, "seed", 0))
        tables.append(both)
    return pd.concat(tables, ignore_index=True)


def by_third(table: pd.DataFrame) -> pd.DataFrame:
    """The questions of `distances_from_full` with a `group`, one of THIRDS, the least sure first.

    Each benchmark is cut by `again` into thirds of equal count.
    """
    table = table[table["benchmark"] != TEXT]
    once = table.drop_duplicates(["benchmark", "item"])
    third = once.groupby("benchmark")["again"].transform(lambda sure: equal_count_bins(sure, 3))
    once = once.assign(group=third.astype(int).map(dict(enumerate(THIRDS))))
    found = table.merge(once[["benchmark", "item", "group"]], on=["benchmark", "item"])
    order = found["group"].map(dict(zip(THIRDS, range(3), strict=True)))
    return found.iloc[order.argsort(kind="stable")].reset_index(drop=True)


def text_nll(table: pd.DataFrame) -> pd.DataFrame:
    """NLL (nats a token) of windows of text, rows, under each model, columns; mean over seeds."""
    read = table[table["benchmark"] == TEXT]
    return read.pivot_table(index="item", columns="model", values="nll", sort=False)
