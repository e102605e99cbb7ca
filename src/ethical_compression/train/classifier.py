"""Fine-tuning classifiers of posts: layers go first, then the rest is trained (IDA23).

One `Run` is one trained classifier, its attention supervised by annotators' rationales, if wanted
(`supervision`); what it says of the test posts is made and kept in `classifier_runs`.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ethical_compression.datasets import hate_speech
from ethical_compression.datasets.files import known
from ethical_compression.datasets.hate_speech import Post
from ethical_compression.errors import InputError
from ethical_compression.train import encoders
from ethical_compression.train.supervision import SUPERVISIONS, attention_loss

WEIGHTS = ("train", "test", "none")


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
    """(classes,): n ÷ (classes · n of the class), scikit-learn's "balanced".

    Raises InputError where a class has no post.
    """
    from sklearn.utils.class_weight import compute_class_weight

    if missing := sorted(set(range(classes)) - set(labels)):
        raise InputError(
            f"No post has the label number {missing[0]}: take more posts, so that every class can "
            "be weighted."
        )
    return compute_class_weight("balanced", classes=np.arange(classes), y=np.asarray(labels))


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

    import transformers

    known("kind of class weights", training.class_weights, WEIGHTS)
    known("supervision of attention", run.supervision, ("none", *SUPERVISIONS))
    supervised = run.supervision != "none" and run.strength > 0
    if supervised and not any(post.rationale for post in data.train):
        raise InputError(
            "No training post has a rationale to supervise attention with: choose other data, or "
            "supervision none."
        )
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

    loss_of = _loss(run, data, training)

    class Supervised(transformers.Trainer):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            labels, marked = inputs.pop("labels"), inputs.pop("marked")
            output = model(**inputs, output_attentions=supervised)
            loss = loss_of(output, labels, marked, inputs["attention_mask"])
            if not loss.isfinite():
                raise InputError(
                    f"The loss became NaN or infinite at step {self.state.global_step}: lower the "
                    f"learning rate ({training.learning_rate:g}); nothing of this run is kept."
                )
            return (loss, output) if return_outputs else loss

    with tempfile.TemporaryDirectory() as scratch:
        trainer = Supervised(
            model=model,
            args=_arguments(run, training, scratch, progress),
            train_dataset=encoded(data.train, tokenizer, training.max_length),
            data_collator=functools.partial(collated, padding=tokenizer.pad_token_id),
        )
        if not progress:
            trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
    return loaded._replace(model=model.eval())


def _loss(run: Run, data: Data, training: Training) -> Callable:
    """`loss(output, labels, marked, seen)`: the classes' cross-entropy, and λ times the
    attention's; arguments as `attention_loss` has them."""
    import torch

    weight = None
    if training.class_weights != "none":
        counted = data.train if training.class_weights == "train" else data.test
        weight = class_weights([post.label for post in counted], len(data.labels))
        weight = torch.tensor(weight, dtype=torch.float32, device=training.device)
    toxic = [int(label in data.toxic) for label in data.labels]
    toxic = torch.tensor(toxic, device=training.device)

    def loss(output, labels, marked, seen):
        of_classes = torch.nn.functional.cross_entropy(output.logits, labels, weight=weight)
        if run.supervision == "none" or not run.strength > 0:
            return of_classes
        if run.supervision != "published":
            # There a post's label decides first: a harmless one has no marks.
            marked = marked * toxic[labels][:, None]
        of_attention = attention_loss(
            output.attentions, marked, seen, how=run.supervision, length=training.max_length
        )
        return of_classes + run.strength * of_attention

    return loss


def _arguments(run: Run, training: Training, folder: str, progress: bool):
    import transformers

    return transformers.TrainingArguments(
        output_dir=folder,
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
