"""Fine-tuning classifiers of posts: layers go first, then the rest is trained (IDA23).

One `Run` is one trained classifier; its predictions on the test posts are stored as soon as they
are made, so that a grid of runs that was killed goes on with the run it was in. Attention can be
supervised by the annotators' rationales, as the study describes it or as its code does it.
"""

import functools
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ethical_compression import store
from ethical_compression.datasets import hate_speech
from ethical_compression.datasets.files import known
from ethical_compression.datasets.hate_speech import Post
from ethical_compression.errors import InputError
from ethical_compression.metrics.plausibility import plausibility
from ethical_compression.score import rationales
from ethical_compression.train import encoders

# What is supervised and how it is summed: as the study writes it, as its code does it, and as that
# code would do it with a mask of booleans, which is how HateXplain's own code hands it over.
SUPERVISIONS = ("published", "released", "released, boolean mask")
WEIGHTS = ("train", "test", "none")
PIECES = "attention to word pieces"


@dataclass(frozen=True)
class Data:
    """What a run is trained and measured on. `labels` by index; `toxic`: those that count as so."""

    train: tuple[Post, ...]
    test: tuple[Post, ...]
    labels: tuple[str, ...]
    toxic: tuple[str, ...]

    @functools.cached_property
    def fingerprint(self) -> str:
        content = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def __hash__(self) -> int:
        return hash(self.fingerprint)


@dataclass(frozen=True)
class Run:
    """One classifier: an encoder (`encoders.load`), how deep it stays, and the seed of everything.

    depth: layers kept, None for all; position: which go, "bottom", "middle" or "upper".
    supervision: "none", or one of `SUPERVISIONS`; strength: λ, its weight in the loss.
    seed: of the head's weights, of dropout and of the order of posts.
    """

    model: str
    depth: int | None = None
    position: str = "upper"
    supervision: str = "none"
    strength: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Training:
    """How a run is trained: the study's settings are the defaults.

    class_weights: the loss is weighted by n ÷ (classes · n of the class), counted on the "train"
    split, on the "test" split (as the released code does), or not at all ("none").
    frozen_embeddings: word embeddings stay as they were, which saves half the time of a small
    model's step on a CPU. device: as torch names it.
    """

    learning_rate: float = 2e-5
    epochs: int = 3
    batch_size: int = 16
    max_length: int = 128
    class_weights: str = "train"
    frozen_embeddings: bool = False
    device: str = "cpu"


# --- Data -----------------------------------------------------------------------------------------


def data(
    name: str,
    source: str,
    *,
    train_split: str = "train",
    test_split: str = "test",
    train_posts: int | None = None,
    test_posts: int | None = None,
    seed: int = 0,
) -> Data:
    """Two splits of a data set of `datasets.hate_speech`; limits and seed as for its `load`."""
    entry = hate_speech.DATASETS.get(name, {})
    splits = [
        tuple(hate_speech.load(name, split, source=source, limit=limit, seed=seed))
        for split, limit in ((train_split, train_posts), (test_split, test_posts))
    ]
    return Data(*splits, labels=entry["labels"], toxic=entry["toxic"])


def class_weights(labels: Sequence[int], classes: int) -> np.ndarray:
    """(classes,): n ÷ (classes · n of the class), as scikit-learn's "balanced".

    Raises InputError where a class has no post.
    """
    counts = np.bincount(np.asarray(labels, dtype=int), minlength=classes)
    if not counts.all():
        raise InputError(
            f"No post has the label number {int(np.argmin(counts))}: take more posts, so that "
            "every class can be weighted."
        )
    return counts.sum() / (classes * counts)


# --- Attention supervision ------------------------------------------------------------------------


def attention_loss(
    attentions: Sequence,
    marked,
    seen,
    *,
    how: str = "published",
    length: int = 128,
    heads: int = 1,
    row: int = 0,
):
    """How far attention is from the marked tokens: a scalar tensor.

    attentions: one (posts, heads, tokens, tokens) tensor a layer, after the softmax; marked:
    (posts, tokens) of 0 and 1, all 0 in a harmless post; seen: (posts, tokens), 0 at padding.

    how: "published": the last layer's attention of the first token, averaged over heads, against
    the mask divided by its sum: cross-entropy −Σ t·log a, the mean over posts with a mark, 0 where
    no post has one (Proskurina et al. 2023, after Mathew et al. 2021).

    "released": what their code (upunaprosk/Fair-Pruning, `src/train.py`, `src/data_load.py`) does.
    Of the *first* layer, row `row` (its setting `supervised_layer_pos`) of the first `heads` heads,
    posts padded to `length` tokens; the target is a softmax of the mask over the post's tokens, so
    uniform where nothing is marked, and *every* post takes part. What picks the tokens to compare
    is the *padding* mask of integers, used as an index: token 1 once for each token of the post,
    token 0 once for each padding token. −Σ t·log-softmax(a), though a is a softmax already, summed
    over what was picked and over heads, and divided by posts only.
    "released, boolean mask": the same with the padding mask as booleans, which picks each token of
    the post once.
    """
    import torch

    known("way to supervise attention", how, SUPERVISIONS)
    if how == "published":
        supervised = marked.bool().any(1)
        if not supervised.any():
            return attentions[-1].sum() * 0
        rows = attentions[-1][:, :, 0].mean(1)[supervised]
        target = marked[supervised] / marked[supervised].sum(1, keepdim=True)
        return -(target * rows.clamp_min(1e-12).log()).sum(1).mean()
    seen = seen.bool()
    target = marked.to(attentions[0].dtype).masked_fill(~seen, -math.inf).softmax(1)
    rows = attentions[0][:, :heads, row].unbind(1)
    if how == "released":
        # Token 1 for a 1, token 0 for a 0, `length` times in all.
        places = torch.nn.functional.pad(seen.long(), (0, length - seen.shape[1]))
        target, rows = target.gather(1, places), [one.gather(1, places) for one in rows]
        logs = [one.log_softmax(1) for one in rows]
    else:
        logs = [one.masked_fill(~seen, -math.inf).log_softmax(1) for one in rows]
        logs = [one.masked_fill(~seen, 0) for one in logs]
    return -sum((target * one).sum() for one in logs) / len(seen)


# --- Training -------------------------------------------------------------------------------------


def encoded(posts: Sequence[Post], tokenizer, max_length: int) -> list[dict[str, Any]]:
    """`input_ids`, `labels` and `marked` (1 at sub-words of the rationale) of every post."""
    rows = []
    for post in posts:
        found = tokenizer(
            list(post.tokens), is_split_into_words=True, truncation=True, max_length=max_length
        )
        mask = post.rationale or (0,) * len(post.tokens)
        marked = [0 if word is None else mask[word] for word in found.word_ids()]
        rows.append({"input_ids": found["input_ids"], "labels": post.label, "marked": marked})
    return rows


def collated(rows: Sequence[dict[str, Any]], padding: int) -> dict[str, Any]:
    """Rows of `encoded` as padded tensors, with their `attention_mask`."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    def padded(name: str, value: int):
        parts = [torch.tensor(row[name]) for row in rows]
        return pad_sequence(parts, batch_first=True, padding_value=value)

    ones = [torch.ones(len(row["input_ids"]), dtype=torch.long) for row in rows]
    return {
        "input_ids": padded("input_ids", padding),
        "attention_mask": pad_sequence(ones, batch_first=True),
        "marked": padded("marked", 0),
        "labels": torch.tensor([row["labels"] for row in rows]),
    }


def train(run: Run, data: Data, training: Training = Training(), *, progress: bool = False):
    """The classifier of a run: `models.Loaded`, in eval mode.

    The same run, data and settings give the same weights on a CPU with the same number of threads.
    Batches hold posts of like length. Raises InputError for a class without posts, a supervision
    without any rationale, and a loss that becomes NaN or infinite.
    """
    import tempfile

    import torch
    import transformers

    known("kind of class weights", training.class_weights, WEIGHTS)
    known("supervision of attention", run.supervision, ("none", *SUPERVISIONS))
    supervised = run.supervision != "none" and run.strength > 0
    if supervised and not any(post.rationale for post in data.train):
        raise InputError(
            "No training post has a rationale to supervise attention with: choose other data, or "
            "supervision none."
        )
    weight = None
    if training.class_weights != "none":
        counted = data.train if training.class_weights == "train" else data.test
        weight = class_weights([post.label for post in counted], len(data.labels))
        weight = torch.tensor(weight, dtype=torch.float32, device=training.device)
    loaded = encoders.load(
        run.model,
        data.labels,
        depth=run.depth,
        position=run.position,
        seed=run.seed,
        device=training.device,
    )
    model, tokenizer = loaded.model, loaded.tokenizer
    if supervised:
        model.set_attn_implementation("eager")  # the only one that hands its weights out
    if training.frozen_embeddings:
        model.get_input_embeddings().requires_grad_(False)

    toxic = [int(label in data.toxic) for label in data.labels]
    toxic = torch.tensor(toxic, device=training.device)

    class Supervised(transformers.Trainer):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            labels, marked = inputs.pop("labels"), inputs.pop("marked")
            output = model(**inputs, output_attentions=supervised)
            loss = torch.nn.functional.cross_entropy(output.logits, labels, weight=weight)
            if supervised:
                if run.supervision != "published":
                    # There a post's label decides first: a harmless one has no marks.
                    marked = marked * toxic[labels][:, None]
                extra = attention_loss(
                    output.attentions,
                    marked,
                    inputs["attention_mask"],
                    how=run.supervision,
                    length=training.max_length,
                )
                loss = loss + run.strength * extra
            if not loss.isfinite():
                raise InputError(
                    f"The loss became NaN or infinite at step {self.state.global_step}: lower the "
                    f"learning rate ({training.learning_rate:g}); nothing of this run is kept."
                )
            return (loss, output) if return_outputs else loss

    with tempfile.TemporaryDirectory() as scratch:
        arguments = transformers.TrainingArguments(
            output_dir=scratch,
            learning_rate=training.learning_rate,
            num_train_epochs=training.epochs,
            per_device_train_batch_size=training.batch_size,
            train_sampling_strategy="group_by_length",
            remove_unused_columns=False,
            seed=run.seed,
            use_cpu=training.device == "cpu",
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=not progress,
            dataloader_pin_memory=False,
        )
        trainer = Supervised(
            model=model,
            args=arguments,
            train_dataset=encoded(data.train, tokenizer, training.max_length),
            data_collator=functools.partial(collated, padding=tokenizer.pad_token_id),
        )
        if not progress:
            trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
    return loaded._replace(model=model.eval())


@functools.lru_cache(maxsize=1)
def trained(run: Run, data: Data, training: Training):
    """`train`, the last one kept in memory: change nothing in it."""
    return train(run, data, training)


def probabilities(model, tokenizer, posts: Sequence[Post], *, max_length: int = 128) -> np.ndarray:
    """(posts, classes): the softmax of the logits, in float64; posts of like length together."""
    import torch

    rows = encoded(posts, tokenizer, max_length)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]["input_ids"]))
    found = np.empty((len(rows), model.config.num_labels))
    for begin in range(0, len(order), 64):
        places = order[begin : begin + 64]
        batch = collated([rows[i] for i in places], tokenizer.pad_token_id)
        with torch.no_grad():
            logits = model(
                input_ids=batch["input_ids"].to(model.device),
                attention_mask=batch["attention_mask"].to(model.device),
            ).logits
        found[places] = logits.double().softmax(1).cpu().numpy()
    return found


# --- Predictions ----------------------------------------------------------------------------------


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
