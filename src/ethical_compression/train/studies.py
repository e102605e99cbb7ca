"""A study of classifiers as the chapters on hate speech set it up: data, training, and its grid."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from ethical_compression.train import classifier, classifier_runs, pruned
from ethical_compression.train.classifier import Data, Run, Training


def prepared(parameters: Mapping[str, Any]) -> tuple[Data, Training]:
    """The data and the training that a chapter's parameters name.

    Read are `dataset`, `source`, `train_split`, `test_split`, `train_posts` and `test_posts` (0 for
    all), `seed` (of the posts drawn), and those that are fields of `Training`.
    """
    data = classifier.data(
        parameters["dataset"],
        parameters["source"],
        train_split=parameters["train_split"],
        test_split=parameters["test_split"],
        train_posts=parameters["train_posts"] or None,
        test_posts=parameters["test_posts"] or None,
        seed=parameters["seed"],
    )
    names = {field.name for field in fields(Training)}
    return data, Training(**{name: parameters[name] for name in names & parameters.keys()})


def compressed(
    model: str,
    cuts: Mapping[str, Sequence[int]],
    pruned_as: Sequence[int],
    seeds: Sequence[int],
    data: Data,
    training: Training,
):
    """Predictions of an encoder in full and made smaller (`classifier_runs.predictions`), by seed.

    cuts: {position: depths} of layers removed before training; pruned_as: depths whose size the
    trained full classifier is pruned to, weight by weight. Seed by seed, so that the full one is
    trained once for its pruned versions.
    """
    import pandas as pd

    tables = []
    for seed in seeds:
        tables.append(
            classifier_runs.predictions([Run(model, seed=seed)], data, training, progress=False)
        )
        sizes = [Run(model, depth, seed=seed) for depth in pruned_as]
        tables.append(pruned.predictions(sizes, data, training, progress=False))
        runs = [Run(model, d, position, seed=seed) for position, kept in cuts.items() for d in kept]
        tables.append(classifier_runs.predictions(runs, data, training, progress=False))
    return pd.concat(tables, ignore_index=True)
