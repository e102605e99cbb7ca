"""Several compressions of one model, over calibration seeds, set against the full model's answers.

What the comparison of plain and uncertainty-weighted GPTQ needs: how far each question's answers
are from the full model's, and how sure the full model is of it when asked a second time.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from ethical_compression.compress.recipe import Recipe
from ethical_compression.metrics.confidence import equal_count_bins, per_item
from ethical_compression.score import loglikelihood, runs
from ethical_compression.score.divergence import option_distances
from ethical_compression.score.subjects import Compressed
from ethical_compression.statistics import Equivalence, paired_by_group, tost

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
    *,
    dtype: str = "float32",
    device: str = "cpu",
    progress: bool = True,
    **reading,
) -> pd.DataFrame:
    """Distances of model `name` under each of `recipes` from itself, and how it reads `held_out`.

    Returns one row for each recipe and question, `model`, `compression`, `seed`, `benchmark`,
    `item`, `js_distance` (over the options), `change` (of the right answer's probability), `again`
    (the full model's confidence under the other wording); and one for each recipe and window of
    text, its `benchmark` TEXT, with `nll` (nats a token). reading: of `loglikelihood.batteries`.
    """

    def asked(recipe: Recipe, *what, **how):
        subject = Compressed(name, recipe, dtype, device)
        return runs.grid([subject], loglikelihood.batteries(*what, **how), progress=progress)

    full, second = (
        asked(Recipe(), one)["scores"] for one in (questions, reworded(questions, lead))
    )
    keys = ["benchmark", "item"]
    before = per_item(full)[[*keys, "p_true"]]
    again = per_item(second)[[*keys, "confidence"]].rename(columns={"confidence": "again"})
    tables = []
    for recipe in recipes:
        found = asked(recipe, questions, held_out, **reading)
        scores, windows = found["scores"], found["windows"]
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
        told = {"model": name, "compression": recipe.label, "seed": getattr(recipe, "seed", 0)}
        for place, (column, value) in enumerate(told.items()):
            both.insert(place, column, value)
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
    """NLL (nats a token) of windows of text, rows, by compression, columns; mean over seeds."""
    read = table[table["benchmark"] == TEXT]
    return read.pivot_table(index="item", columns="compression", values="nll", sort=False)


def compare(
    table: pd.DataFrame, margin: float
) -> tuple[pd.DataFrame, Equivalence, tuple[str, str]]:
    """The two compressions of `distances_from_full`: distances by third, text, and their labels.

    The first is `statistics.paired_by_group`, the first compression first; the second `tost` of
    nats a token within ±margin: is the text read alike?
    """
    first, second = table["compression"].unique()
    found = paired_by_group(by_third(table), first=first, second=second, value="js_distance")
    nll = text_nll(table)
    return found, tost(nll[first], nll[second], margin), (first, second)
