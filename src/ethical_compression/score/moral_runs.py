"""Stories scored under a model and a recipe, each language kept as soon as it is done."""

from collections.abc import Sequence
from functools import cache

from ethical_compression import models, store
from ethical_compression.compress import compressed
from ethical_compression.compress.recipe import Recipe
from ethical_compression.datasets.moral_stories import MoralStory
from ethical_compression.errors import InputError
from ethical_compression.score import moral
from ethical_compression.score.evaluate import fingerprint

# Stories between two saves.
PART = 500


def preferences(
    name: str,
    recipe: Recipe,
    stories: Sequence[MoralStory],
    *,
    norms: Sequence[bool] = (True, False),
    tokenisation: str = "joint",
    first: bool = False,
    dtype: str = "float32",
    device: str = "cpu",
    progress: bool = True,
):
    """`moral.preferences` of model `name` as `recipe` leaves it, with and without the norm.

    stories: of any languages; each language and each of `norms` is stored by itself, in parts, so
    a run that was stopped goes on where it was, and the model is loaded only if something is
    missing. Returns one DataFrame with a first column `model`, the recipe's label.
    """
    import pandas as pd

    if not stories:
        raise InputError("There are no stories to score: load some, or ask for another language.")
    options = {"dtype": dtype, "device": device}
    way = {"tokenisation": tokenisation, "first": first}
    base = {"model": models.describe(name)["fingerprint"], "recipe": recipe.inputs()}

    @cache
    def loaded():
        return compressed.load(recipe, name, progress=progress, **options)

    tables = []
    for language in dict.fromkeys(story.language for story in stories):
        spoken = [story for story in stories if story.language == language]
        for norm in norms:
            for begin in range(0, len(spoken), PART):
                some = spoken[begin : begin + PART]
                pairs = moral.requests(some, norm=norm)
                content = fingerprint([[story.id for story in some], pairs])
                bar = f"{recipe.label} · {language}{'' if norm else ' without norm'}"
                tables.append(
                    store.table(
                        "moral-preference",
                        base | options | way | {"language": language, "stories": content},
                        lambda some=some, norm=norm, bar=bar: moral.preferences(
                            loaded().model,
                            loaded().tokenizer,
                            some,
                            norm=norm,
                            progress=bar if progress else None,
                            **way,
                        ),
                    )
                )
    table = pd.concat(tables, ignore_index=True)
    table.insert(0, "model", recipe.label)
    return table
