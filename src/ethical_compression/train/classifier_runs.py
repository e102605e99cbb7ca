"""Predictions and explanations of trained classifiers, each run's kept when it is done.

A grid of runs that was killed goes on with the run it was in.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ethical_compression.datasets.files import known
from ethical_compression.datasets.hate_speech import Post
from ethical_compression.errors import InputError
from ethical_compression.metrics.classification import label
from ethical_compression.metrics.plausibility import plausibility
from ethical_compression.score import rationales
from ethical_compression.score.runs import Battery, measure
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
        asked = battery(data, training)
        return told(run, measure(Classifier(run, data, training), asked, progress=False))

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
    how = {"explainers": tuple(explainers), "max_length": training.max_length}

    def table(run: Run):
        asked = Battery("explanations", posts, explained, how | {"seed": run.seed}, part=None)
        return told(run, measure(Classifier(run, data, training), asked, progress=False))

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


def explained(
    model,
    tokenizer,
    posts: Sequence[Post],
    *,
    explainers: Sequence[str],
    max_length: int,
    seed: int,
    progress: str | None = None,
):
    """What `explanations` says of one classifier, and its `size`: a row an explainer and post."""
    import pandas as pd

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
            importance = explain(model, tokenizer, words, max_length=max_length, seed=seed)
            plausible = plausibility(importance, marked)
            faithful = rationales.faithfulness(
                model, tokenizer, words, importance, max_length=max_length
            )
            both = plausible.drop(columns="note").join(faithful.drop(columns=["post", "words"]))
        both.insert(0, "explainer", name)
        both.insert(1, "id", [post.id for post in posts])
        parts.append(both)
    return pd.concat(parts, ignore_index=True).assign(**size(model))


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


@dataclass(frozen=True)
class Classifier:
    """The classifier of a run, as a subject of `score.runs`."""

    run: Run
    data: Data
    training: Training = Training()

    @property
    def model(self) -> str:
        """The encoder."""
        return self.run.model

    @property
    def compression(self) -> str:
        """`full`, or `3 layers, upper removed`."""
        run = canonical(self.run)
        return label("full" if run.depth is None else "layers", run.depth, run.position)

    def inputs(self) -> dict[str, Any]:
        """All that decides its weights: JSON-ready."""
        return inputs(canonical(self.run), self.data, self.training)

    def load(self, *, progress: bool = False):
        """The trained classifier: read it, and change nothing in it."""
        return trained(canonical(self.run), self.data, self.training)


def battery(data: Data, training: Training = Training()) -> Battery:
    """Whether the test posts are toxic (`judged`), asked of a classifier trained on `data`."""
    how = {"labels": data.labels, "toxic": data.toxic, "max_length": training.max_length}
    return Battery("predictions", data.test, judged, how, part=None)


def judged(
    model,
    tokenizer,
    posts: Sequence[Post],
    *,
    labels: Sequence[str],
    toxic: Sequence[str],
    max_length: int,
    progress: str | None = None,
):
    """What `predictions` says of one classifier, and its `size`: a row a post."""
    import pandas as pd

    p = probabilities(model, tokenizer, posts, max_length=max_length)
    gold = np.array([post.label for post in posts])
    counted = [labels.index(one) for one in toxic]
    return pd.DataFrame(
        {
            **size(model),
            "id": [post.id for post in posts],
            "gold": gold,
            "toxic": np.isin(gold, counted),
            **{f"p_{one}": p[:, i] for i, one in enumerate(labels)},
            "toxic_score": p[:, counted].sum(1),
        }
    )


def size(model) -> dict[str, int]:
    """`depth`, the layers of an encoder, and `parameters`, those of the layers that are not 0."""
    from ethical_compression.models.anatomy import transformer_blocks

    blocks = transformer_blocks(model)
    there = sum(int(weight.count_nonzero()) for weight in blocks.parameters())
    return {"depth": len(blocks), "parameters": there}


def told(run: Run, table, method: str = "layers"):
    """A table of `score.runs.measure` with the columns that tell a run in `predictions`.

    method: what was done, if not to layers; the run's depth is then the one that is matched.
    """
    layers = encoders.depth_of(run.model)
    depth, parameters = (int(table[name].iloc[0]) for name in ("depth", "parameters"))
    removed = method == "layers" and depth < layers
    columns = {
        "model": run.model,
        "depth": depth if method == "layers" else run.depth,
        "layers": layers,
        "position": run.position if removed else "none",
        "method": method if removed or method != "layers" else "full",
        "parameters": parameters,
        "supervision": run.supervision,
        "strength": run.strength,
        "seed": run.seed,
    }
    table = table.drop(columns=["model", "compression", "depth", "parameters"])
    for place, (column, value) in enumerate(columns.items()):
        table.insert(place, column, value)
    return table
