"""Unstructured pruning of trained classifiers, down to the size that layer removal leaves.

Layers go before fine-tuning, weights after it: magnitude and Wanda zero weights of the trained full
classifier. At one size, the two ways can be set beside each other.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ethical_compression.compress import methods as known_methods
from ethical_compression.compress.apply import apply
from ethical_compression.compress.blocks import linear_layers
from ethical_compression.compress.recipe import Recipe
from ethical_compression.errors import InputError
from ethical_compression.metrics.classification import label
from ethical_compression.models.anatomy import transformer_blocks
from ethical_compression.score.runs import measure
from ethical_compression.train import classifier, classifier_runs
from ethical_compression.train.classifier import Data, Run, Training

METHODS = ("magnitude", "wanda")
# Training posts that Wanda sees.
SAMPLES = 64


def sparsity_for(model, depth: int) -> float:
    """Share of the blocks' linear weights to zero, to leave as many parameters as `depth` layers.

    Slightly more than the share of layers that go: biases and norms stay. Raises InputError where
    the linear weights do not suffice, and for a depth that the model does not have.
    """
    blocks = transformer_blocks(model)
    if not 1 <= depth <= len(blocks):
        raise InputError(f"{depth} layers cannot be matched: this model has {len(blocks)}.")
    gone = sum(weight.numel() for block in blocks[depth:] for weight in block.parameters())
    linear = sum(one.weight.numel() for block in blocks for one in linear_layers(block).values())
    if gone >= linear:
        raise InputError(
            f"The size of {depth} layers cannot be reached by zeros in linear layers alone."
        )
    return gone / linear


def prune(model, tokenizer, data: Data, training: Training, *, method: str, depth: int) -> None:
    """Zero weights of `model` in place until its blocks are as small as `depth` of them.

    method: one of `METHODS`, with the comparisons of the methods' papers (`compress.recipe`).
    """
    inputs = []
    if method == "wanda":
        rows = classifier.encoded(data.train[:SAMPLES], tokenizer, training.max_length)
        inputs = [
            classifier.collated([row], tokenizer.pad_token_id)["input_ids"].to(model.device)
            for row in rows
        ]
    apply(Recipe(method, sparsity=sparsity_for(model, depth)), model, inputs)


@dataclass(frozen=True)
class Pruned:
    """The full classifier of a run, pruned to the run's depth, as a subject of `score.runs`."""

    run: Run
    data: Data
    training: Training
    method: str

    @property
    def model(self) -> str:
        """The encoder."""
        return self.run.model

    @property
    def compression(self) -> str:
        """`Wanda, as 3 layers`."""
        return label(self.method, self.run.depth, self.run.position)

    @property
    def full(self) -> classifier_runs.Classifier:
        """The classifier that is pruned."""
        return classifier_runs.Classifier(replace(self.run, depth=None), self.data, self.training)

    def inputs(self) -> dict[str, Any]:
        """All that decides its weights: JSON-ready."""
        pruning = {"method": self.method, "size": self.run.depth, "samples": SAMPLES}
        return self.full.inputs() | pruning | known_methods.find(self.method).inputs()

    def load(self, *, progress: bool = False):
        """The pruned classifier."""
        loaded = self.full.load()
        loaded = loaded._replace(model=copy.deepcopy(loaded.model))
        how = {"method": self.method, "depth": self.run.depth}
        prune(loaded.model, loaded.tokenizer, self.data, self.training, **how)
        return loaded


def predictions(
    runs: Sequence[Run],
    data: Data,
    training: Training,
    *,
    methods: Sequence[str] = METHODS,
    progress: bool = True,
):
    """`classifier_runs.predictions` of the full classifier of every run, pruned to the run's depth.

    The same columns; `depth` is the number of layers whose size is matched. Stored by run and
    method; classifiers are trained at most once for runs that follow each other with one seed.
    """
    import pandas as pd
    from tqdm.auto import tqdm

    asked, parts = classifier_runs.battery(data, training), []
    for run in tqdm(runs, unit="run", desc="pruned", disable=not progress):
        for method in methods:
            subject = Pruned(run, data, training, method)
            full = classifier_runs.canonical(subject.full.run)
            table = measure(subject, asked, progress=False)
            parts.append(classifier_runs.told(replace(full, depth=run.depth), table, method))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
