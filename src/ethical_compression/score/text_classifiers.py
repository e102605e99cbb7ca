"""Classifiers of texts that somebody trained, in a folder or on the hub: loaded, and asked whether
posts are toxic.

Only safetensors are read, no code is ever run, and no weight of a classifier may be missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ethical_compression.datasets import files
from ethical_compression.errors import InputError
from ethical_compression.models import Loaded
from ethical_compression.models.reading import one_sentence, quiet
from ethical_compression.score.runs import Battery
from ethical_compression.score.subjects import Checkpoint
from ethical_compression.train import encoders

PATTERNS = ("config.json", "README.md", "model*.safetensors", "*.safetensors.index.json",
            "tokenizer*", "special_tokens_map.json", "vocab*", "merges.txt", "*.model")  # fmt: skip
# Names by which the labels of classifiers on the hub say that a text is toxic.
TOXIC = {"toxic", "toxicity", "hate", "hateful", "hatespeech", "offensive", "biased"}


def is_classifier(name: str) -> bool:
    """Whether the configuration in a folder, or of a hub id, is that of a classifier of texts.

    What cannot be read is none: whoever loads it then says why.
    """
    try:
        kinds = getattr(_config(name), "architectures", None) or []
    except InputError:
        return False
    return bool(kinds) and all("SequenceClassification" in kind for kind in kinds)


def _config(name: str):
    import transformers

    if "/" not in name and not Path(name).expanduser().is_dir():
        raise InputError(f"{name} is no folder, and no hub id.")
    with quiet(), one_sentence(name):
        return transformers.AutoConfig.from_pretrained(
            _folder(name, ("config.json",)), local_files_only=True
        )


def _folder(name: str, patterns: Sequence[str], revision=None, instead="a folder") -> Path:
    if Path(name).expanduser().is_dir():
        return Path(name).expanduser()
    return files.hub_folder(name, patterns, kind="model", revision=revision, instead=instead)


def load(
    name: str,
    *,
    revision: str | None = None,
    dtype: str = "float32",
    device: str = "cpu",
    instead: str = "a folder",
) -> Loaded:
    """A classifier of texts in eval mode, its tokenizer, and where it is from.

    instead: what a sentence proposes where the hub cannot be reached. Raises InputError for weights
    that are missing or not safetensors, and for what transformers cannot read.
    """
    import transformers

    about = encoders.describe(name, revision=revision)
    folder = _folder(name, PATTERNS, revision, instead)
    if not any(folder.glob("*.safetensors")):
        raise InputError(
            f"{name} has no safetensors weights (other formats can run code when they are read): "
            "choose another classifier, or a revision that has them."
        )
    with quiet(), one_sentence(name):
        model, found = transformers.AutoModelForSequenceClassification.from_pretrained(
            folder,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            dtype=dtype,
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if missing := sorted(found["missing_keys"]):
        raise InputError(
            f"{name} lacks {len(missing)} weights of a classifier, such as {missing[0]}, and "
            "random ones would stand in for them: choose a trained one."
        )
    return Loaded(model.to(device).eval(), tokenizer, about)


def toxic_labels(name: str, labels: dict[int, str], toxic: Sequence[str] | None) -> list[int]:
    """Which labels of a classifier count as toxic: those named, by default those in `TOXIC`.

    Raises InputError for an unknown label, and where none or all would count.
    """
    listed = ", ".join(labels.values())
    for one in toxic or ():
        files.known(f"label of {name}:", one, labels.values())
    wanted = {one for one in labels.values() if one.lower() in TOXIC} if toxic is None else toxic
    chosen = [i for i, one in labels.items() if one in wanted]
    if not chosen or len(chosen) == len(labels):
        raise InputError(
            f"The labels of {name} ({listed}) do not say which of them mean toxic: name them "
            "(toxic=…)."
        )
    return chosen


def longest(model, tokenizer) -> int:
    """How many tokens a classifier reads at most."""
    return min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", 10**9))


def toxic_scores(
    model, tokenizer, texts: Sequence[str], labels: Sequence[int], *, batch: int = 16
) -> np.ndarray:
    """(texts,): the probability of the labels, which are numbers; texts of like length together.

    A text that is longer than the classifier reads is cut at its end. Labels that may hold together
    each have a probability of their own, and the largest counts.
    """
    import torch

    several = model.config.problem_type == "multi_label_classification"
    cut = {"truncation": True, "max_length": longest(model, tokenizer)}
    found = np.empty(len(texts))
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for start in range(0, len(texts), batch):
        rows = order[start : start + batch]
        inputs = tokenizer([texts[i] for i in rows], padding=True, return_tensors="pt", **cut)
        with torch.inference_mode():
            logits = model(**inputs.to(model.device)).logits.double()
        p = logits.sigmoid()[:, labels].amax(1) if several else logits.softmax(1)[:, labels].sum(1)
        found[rows] = p.cpu().numpy()
    return found


# --- A subject, and what it is asked --------------------------------------------------------------


@dataclass(frozen=True)
class TextClassifier(Checkpoint):
    """A checkpoint that is a classifier, made of `model`, which may be itself.

    toxic: the labels that count as toxic, None for those whose names say so.
    """

    toxic: tuple[str, ...] | None = None

    def inputs(self) -> dict[str, Any]:
        """What decides its numbers: JSON-ready."""
        found = encoders.describe(self.place)["fingerprint"]
        toxic = None if self.toxic is None else list(self.toxic)
        return {"classifier": found, "toxic": toxic, "dtype": self.dtype, "device": self.device}

    def load(self, *, progress: bool = False) -> Loaded:
        """The classifier as it lies there (`load`)."""
        return load(self.place, dtype=self.dtype, device=self.device)


@dataclass(frozen=True)
class Asked:
    """A post as a classifier is asked it: `text`, whether it is `toxic`, and whom it mentions."""

    id: str
    text: str
    toxic: bool
    communities: tuple[str, ...]


def battery(name: str, posts: Sequence[Asked], toxic: Sequence[str] | None) -> Battery:
    """Whether posts are toxic, asked all at once: what is read off them are areas over all."""
    how = {"toxic": toxic, "name": name}
    return Battery("posts", list(posts), scored, how, part=None, title=name, again={"batch": 3})


def scored(
    model,
    tokenizer,
    posts: Sequence[Asked],
    *,
    toxic: Sequence[str] | None,
    name: str,
    batch: int = 16,
    progress: str | None = None,
):
    """A row a post: `item`, `toxic` (whether it is) and `score`, the probability that it is.

    Raises InputError where labels do not say which of them are toxic, and for scores that are not
    finite.
    """
    import pandas as pd

    labels = toxic_labels("the classifier", model.config.id2label, toxic)
    score = toxic_scores(model, tokenizer, [one.text for one in posts], labels, batch=batch)
    if not np.isfinite(score).all():
        raise InputError("A probability of this classifier is NaN or infinite: use float32.")
    return pd.DataFrame(
        {"item": [one.id for one in posts], "toxic": [one.toxic for one in posts], "score": score}
    )
