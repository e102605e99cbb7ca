"""Predictions and explanations of trained classifiers, each run's kept when it is done.

A grid of runs that was killed goes on with the run it was in.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from ethical_compression import store
from ethical_compression.datasets.files import known
from ethical_compression.datasets.hate_speech import Post
from ethical_compression.errors import InputError
from ethical_compression.metrics.plausibility import plausibility
from ethical_compression.score import rationales
from ethical_compression.train import encoders
from ethical_compression.train.classifier import (
    Data,
    Run,
    Training,
    encoded,
    probabilities,
    trained,
)

PIECES = "attention to word pieces"


def predictions(
    runs: Sequence[Run],
    data: Data,
    training: Training = Training(),
    *,
    progress: bool = True,
):
    """Predictions of every run on the test posts: a DataFrame with a row a run and post.

    Columns: `model`, `depth` (layers kept, always a number), `layers` (that the encoder had),
    `position` ("none" where all layers are kept), `method` ("full" or "layers"; "magnitude" and
    "wanda" in the table of `pruned.predictions`), `parameters` (those of the blocks that are not
    zero), `supervision`, `strength`, `seed`; `id` (the post's), `gold` (index of its label),
    `toxic` (whether that label counts as toxic), one column a label, `p_<label>`, and
    `toxic_score`, the sum of the toxic labels' probabilities.
    Every run is stored as soon as it is done. Runs that train the same classifier (all layers kept,
    whatever the position; λ = 0, whatever the supervision) are trained once.
    """

    def table(run: Run):
        return store.table(
            "predictions",
            inputs(run, data, training),
            lambda: rows(run, data, training, trained(run, data, training)),
        )

    return _stacked(table, runs, progress)


def explanations(
    runs: Sequence[Run],
    data: Data,
    training: Training = Training(),
    *,
    explainers: Sequence[str] = ("attention", PIECES, "gradient × input", "random"),
    limit: int | None = None,
    progress: bool = True,
):
    """How plausible and how faithful every run's explanations are: a row a run, explainer and post.

    On the test posts that have a rationale, the first `limit` of them. explainers: names in
    `score.rationales.EXPLAINERS`, or `PIECES`: attention to every token, special ones among them,
    against the marks of tokens, which is what the released code scores (plausibility alone: what
    is deleted are words). Columns: those that tell a run in `predictions` (`model` to
    `seed`), `explainer`, `id`, and then those of `metrics.plausibility` and
    `rationales.faithfulness`. Stored run by run, as the predictions are; a run whose predictions
    were asked for just before need not be trained again. InputError where no post has a rationale.
    """
    posts = [post for post in data.test if post.rationale][:limit]
    if not posts:
        raise InputError("No test post has a rationale to compare explanations with.")
    for name in explainers:
        known("explainer", name, (*rationales.EXPLAINERS, PIECES))
    how = {"explainers": list(explainers), "explained": [post.id for post in posts]}

    def table(run: Run):
        return store.table(
            "explanations",
            inputs(run, data, training) | how,
            lambda: _explained(
                run, trained(run, data, training), posts, explainers, training.max_length
            ),
        )

    return _stacked(table, runs, progress)


def predictions_and_explanations(
    runs: Sequence[Run], data: Data, training: Training = Training(), **options
):
    """`predictions` and `explanations` (with their options) of the same runs, trained once each."""
    import pandas as pd

    both = [
        (
            predictions([run], data, training, progress=False),
            explanations([run], data, training, progress=False, **options),
        )
        for run in runs
    ]
    return [pd.concat(tables, ignore_index=True) for tables in zip(*both, strict=True)]


def _stacked(table: Callable, runs: Sequence[Run], progress: bool):
    import pandas as pd
    from tqdm.auto import tqdm

    runs = tqdm(runs, unit="run", desc="classifiers", disable=not progress)
    parts = [table(canonical(run)) for run in runs]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _explained(run: Run, loaded, posts: Sequence[Post], explainers, max_length: int):
    import pandas as pd

    model, tokenizer = loaded.model, loaded.tokenizer
    words, marked = [post.tokens for post in posts], [post.rationale for post in posts]
    parts = []
    for name in explainers:
        if name == PIECES:
            importance = rationales.attention_to_pieces(
                model, tokenizer, words, max_length=max_length
            )
            pieces = [row["marked"] for row in encoded(posts, tokenizer, max_length)]
            both = plausibility(importance, pieces)
        else:
            explain = rationales.EXPLAINERS[name]
            importance = explain(model, tokenizer, words, max_length=max_length, seed=run.seed)
            plausible = plausibility(importance, marked)
            faithful = rationales.faithfulness(
                model, tokenizer, words, importance, max_length=max_length
            )
            both = plausible.drop(columns="note").join(faithful.drop(columns=["post", "words"]))
        both.insert(0, "explainer", name)
        both.insert(1, "id", [post.id for post in posts])
        parts.append(both)
    table = pd.concat(parts, ignore_index=True)
    for place, (column, value) in enumerate(described(run, model).items()):
        table.insert(place, column, value)
    return table


def canonical(run: Run) -> Run:
    """The run, with what makes no difference set to its default."""
    if run.depth in (None, encoders.depth_of(run.model)):
        run = replace(run, depth=None, position="upper")
    if run.supervision == "none" or not run.strength:
        run = replace(run, supervision="none", strength=0.0)
    return run


def inputs(run: Run, data: Data, training: Training) -> dict[str, Any]:
    """All that decides a run's predictions: JSON-ready."""
    fingerprint = encoders.describe(run.model)["fingerprint"]
    return asdict(run) | asdict(training) | {"encoder": fingerprint, "data": data.fingerprint}


def rows(run: Run, data: Data, training: Training, loaded, *, method: str = "layers"):
    """The table of one run (`predictions`): `loaded` is its classifier."""
    import pandas as pd

    p = probabilities(loaded.model, loaded.tokenizer, data.test, max_length=training.max_length)
    gold = np.array([post.label for post in data.test])
    toxic = [data.labels.index(label) for label in data.toxic]
    return pd.DataFrame(
        {
            **described(run, loaded.model, method),
            "id": [post.id for post in data.test],
            "gold": gold,
            "toxic": np.isin(gold, toxic),
            **{f"p_{label}": p[:, i] for i, label in enumerate(data.labels)},
            "toxic_score": p[:, toxic].sum(1),
        }
    )


def described(run: Run, model, method: str = "layers") -> dict[str, Any]:
    """The columns that tell a run in `predictions`; method: what was done, if not to layers."""
    from ethical_compression.compress.blocks import transformer_blocks

    blocks, layers = transformer_blocks(model), encoders.depth_of(run.model)
    removed = method == "layers" and len(blocks) < layers
    return {
        "model": run.model,
        "depth": len(blocks) if method == "layers" else run.depth,
        "layers": layers,
        "position": run.position if removed else "none",
        "method": method if removed or method != "layers" else "full",
        "parameters": sum(int(weight.count_nonzero()) for weight in blocks.parameters()),
        "supervision": run.supervision,
        "strength": run.strength,
        "seed": run.seed,
    }
