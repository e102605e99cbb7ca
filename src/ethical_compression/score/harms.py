"""What a model is asked in the studies of harm: options scored, and sentences compared. The texts
that it writes are in `score.continuations`.

Each function is the `score` of a battery (`score.batteries`): (model, tokenizer, items, *,
progress, **settings) to a table with a row an item and option. `group` and
`cluster` say whom an item is about and what it is to be resampled with. Settings of those that
score options are those of `loglikelihood.loglikelihoods`: another `token_budget` or `layout` gives
the same numbers but for rounding, which is the floor of every change (`metrics.choices`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from ethical_compression.datasets.bbq import Question
from ethical_compression.datasets.contrast import Contrast
from ethical_compression.datasets.dialect import SIDES, Guise
from ethical_compression.datasets.stereoset import Triplet
from ethical_compression.datasets.unqover import Asked
from ethical_compression.errors import InputError
from ethical_compression.score.loglikelihood import loglikelihoods
from ethical_compression.score.tokens import Request


class Options(NamedTuple):
    """One item: what its rows are labelled with, a context, and what may follow it."""

    labels: dict
    context: str
    options: tuple[str, ...]


def requests(items: Sequence[Options]) -> list[Request]:
    """What is scored, option after option."""
    return [Request(item.context, option) for item in items for option in item.options]


def score_options(model, tokenizer, items: Sequence[Options], **options) -> pd.DataFrame:
    """A row an item and option: its labels, `option`, the columns of `loglikelihoods`, and
    `repeated`, whether the option is an earlier one of its item again.

    options: those of `loglikelihoods`. Raises InputError for no items, and as that does.
    """
    if not items:
        raise InputError("There is nothing to score: give at least one item.")
    scores = loglikelihoods(model, tokenizer, requests(items), **options)
    labels = [
        item.labels | {"option": number, "repeated": option in item.options[:number]}
        for item in items
        for number, option in enumerate(item.options)
    ]
    return pd.concat([pd.DataFrame(labels), scores], axis=1)


# --- Questions ------------------------------------------------------------------------------------


def bbq(model, tokenizer, items: Sequence[Question], **options) -> pd.DataFrame:
    """BBQ's three options after context and question, in the words of lm-evaluation-harness's task
    (`Q: … A:`): `benchmark, item, option, group, cluster, gold` and the scores.

    `item`: category and number; `group`: the category; `cluster`: the template in it.
    """
    return score_options(model, tokenizer, bbq_options(items), **options)


def bbq_options(items: Sequence[Question]) -> list[Options]:
    """BBQ's questions as they are asked."""
    return [
        Options(
            {
                "benchmark": "bbq",
                "item": one.item,
                "group": one.category,
                "cluster": f"{one.category}-{one.template}",
                "gold": one.label,
            },
            f"{one.context}\n\nQ: {one.question}\nA:",
            tuple(f" {option}" for option in one.options),
        )
        for one in items
    ]


def unqover(model, tokenizer, items: Sequence[Asked], **options) -> pd.DataFrame:
    """The two subjects of each question as its answers, in the form of BBQ's questions.

    `item` is a question as asked; `pair`, `attribute`, `first`, `second`, `first_group`,
    `second_group` and `negated` are those of `metrics.stereotypes.unqover_scores`. `cluster`: the
    pair. Probabilities are made of the two scores there, not here.
    """
    asked = [
        Options(
            {
                "benchmark": f"unqover, {one.category}",
                "item": f"{one.pair}-{one.first}-{'negated' if one.negated else 'plain'}",
                "group": one.category,
                "cluster": one.pair,
                "pair": one.pair,
                "attribute": one.attribute,
                "first": one.first,
                "second": one.second,
                "first_group": one.groups[0],
                "second_group": one.groups[1],
                "negated": one.negated,
            },
            f"{one.context}\n\nQ: {one.question}\nA:",
            tuple(f" {option}" for option in one.options),
        )
        for one in items
    ]
    return score_options(model, tokenizer, asked, **options)


# --- Sentences ------------------------------------------------------------------------------------


def stereoset(model, tokenizer, items: Sequence[Triplet], **options) -> pd.DataFrame:
    """StereoSet's three sentences, options in the order of `stereoset.LABELS`: the whole sentence
    within, the second sentence after the first between. `group`: the kind of bias; `cluster`: the
    term."""
    return score_options(model, tokenizer, stereoset_options(items), **options)


def stereoset_options(items: Sequence[Triplet]) -> list[Options]:
    """StereoSet's items as they are asked."""
    return [
        Options(
            {
                "benchmark": f"stereoset, {one.task}",
                "item": one.id,
                "group": one.bias_type,
                "cluster": one.target,
            },
            one.context,
            tuple(f" {text}" if one.context else text for text in one.texts),
        )
        for one in items
    ]


def contrasts(model, tokenizer, items: Sequence[Contrast], **options) -> pd.DataFrame:
    """Both texts of each contrast, as whole sentences: option 0 is the first side.

    Columns: `benchmark, item, group, kind, cluster, measure, option, side` and the scores.
    """
    asked = [
        Options(
            contrast_labels(one) | {"measure": "log-likelihood of the whole sentence"},
            one.context,
            tuple(f" {text}" if one.context else text for text in one.texts),
        )
        for one in items
    ]
    table = score_options(model, tokenizer, asked, **options)
    return table.assign(side=[side for one in items for side in one.sides])


def contrast_labels(one: Contrast) -> dict:
    """What the rows of a contrast are labelled with."""
    return {
        "benchmark": one.benchmark,
        "item": one.id,
        "group": one.group,
        "kind": one.kind,
        "cluster": one.cluster,
    }


def guises(model, tokenizer, items: Sequence[Guise], **options) -> pd.DataFrame:
    """Each word after both prompts of a guise: `side` "AAE" and "SAE".

    Columns: `benchmark, item, group, cluster, pair, template, article, side, word, option` and the
    scores. `item` is a guise and side, `cluster` the verb of the pair.
    """
    asked, words = [], []
    for one in items:
        for side, context in zip(SIDES, one.contexts, strict=True):
            labels = {
                "benchmark": f"matched guise, {one.kind}",
                "item": f"{one.id}-{side}",
                "group": one.kind,
                "cluster": one.pair.cluster,
                "pair": one.pair.id,
                "template": one.template,
                "article": context.rsplit(" ", 1)[1] if context.endswith((" a", " an")) else "",
                "side": side,
            }
            asked.append(Options(labels, context, one.options))
            words += [option.strip() for option in one.options]
    return score_options(model, tokenizer, asked, **options).assign(word=words)
