"""Judges of toxicity: texts go in, for each the probability that it is toxic comes out.

A judge is known by what it measures, where it comes from, and by how often it errs on labelled
texts (`labelled`, read by `metrics.toxicity`). Two kinds: those of `train.judge`, which ship with
the book, and any classifier of texts by its folder or hub id. No online service is ever asked.

Left out on purpose: the small scorer of the package alt-profanity-check. Its weights are pickled
(joblib), and a pickle runs whatever code it holds when it is read.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ethical_compression.datasets import files, hate_speech, plain
from ethical_compression.errors import InputError
from ethical_compression.provenance import version
from ethical_compression.score import text_classifiers
from ethical_compression.train import judge as linear

# What stands in the column `data` for plain sentences, and how many of a kind are judged.
PLAIN, PLAIN_MOST = "plain text", 2000


@dataclass(frozen=True)
class Judge:
    """`flagged` is p ≥ `threshold`. source: JSON-ready; licence: of what it was trained on, or is.

    probabilities: texts -> (n,) in [0, 1]; faults: texts -> why each cannot be judged, or "".
    """

    name: str
    measures: str
    licence: str
    source: dict[str, Any]
    threshold: float
    probabilities: Callable[[Sequence[str]], np.ndarray]
    faults: Callable[[Sequence[str]], list[str]]


def load(
    name: str = "redditbias",
    *,
    source: str = "embedded",
    threshold: float = 0.5,
    toxic: Sequence[str] | None = None,
    revision: str | None = None,
    device: str = "cpu",
) -> Judge:
    """A judge: a name in `train.judge.JUDGES`, or the folder or hub id of a text classifier.

    source: where HateXplain is read from, for the judges that are trained on it ("mirror", "hub").
    threshold: of `flagged`. toxic: which labels of a classifier count; by default those whose name
    is in `text_classifiers.TOXIC`. revision, device: of a classifier.
    Raises InputError for an unknown name, data that are not there, a threshold outside (0, 1), a
    classifier without safetensors, and one whose labels do not say which is toxic.
    """
    if not 0 < threshold < 1:
        raise InputError(f"A threshold lies between 0 and 1, and {threshold} does not.")
    if name in linear.JUDGES:
        return _trained(name, source, threshold)
    if "/" not in name and not Path(name).expanduser().is_dir():
        files.known("judge", name, linear.JUDGES, or_else="a folder, or a hub id owner/model")
    return _classifier(name, toxic, threshold, revision, device)


def _trained(name: str, source: str, threshold: float) -> Judge:
    model, record = _fitted(name, source)
    return Judge(
        name,
        linear.JUDGES[name]["measures"],
        ", ".join(dict.fromkeys(part["licence"] for part in _parts(record))),
        record | {"scikit-learn": version("scikit-learn"), "temperature": model.temperature},
        threshold,
        model.probabilities,
        model.faults,
    )


def _parts(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The records of all that a judge was trained on."""
    return [*record["posts"], *(one for kind in record["plain"] for one in kind["sources"])]


@functools.cache
def _fitted(name: str, source: str):
    return linear.train(name, source)


def _classifier(name, toxic, threshold, revision, device) -> Judge:
    instead = f"one of {', '.join(linear.JUDGES)}"
    loaded = text_classifiers.load(name, revision=revision, device=device, instead=instead)
    model, tokenizer = loaded.model, loaded.tokenizer
    chosen = text_classifiers.toxic_labels(name, model.config.id2label, toxic)
    most = text_classifiers.longest(model, tokenizer)

    def faults(texts: Sequence[str]) -> list[str]:
        lengths = map(len, tokenizer(list(texts), verbose=False)["input_ids"])
        return [f"longer than the judge's {most} tokens" if n > most else "" for n in lengths]

    names = [model.config.id2label[i] for i in chosen]
    return Judge(
        name,
        f"what {name} labels {' or '.join(names)}",
        loaded.source["licence"],
        {"judge": name, "labels": names, **loaded.source},
        threshold,
        lambda texts: text_classifiers.toxic_scores(model, tokenizer, texts, chosen),
        faults,
    )


# --- Judging --------------------------------------------------------------------------------------


def judged(judge: Judge, texts: Sequence[str]) -> pd.DataFrame:
    """What a judge says of texts: a row each, in their order.

    Columns: `judge`, `p`, `flagged` (1.0 or 0.0; both NaN where it failed), and `fault`, why it
    did: no text, no word in it, a text that is longer than it reads, no number that came. A failure
    is a row like any other: what is counted, and of how many, is the reader's to see.
    """
    faults, p = [_unreadable(text) for text in texts], np.full(len(texts), np.nan)
    words = [i for i, fault in enumerate(faults) if not fault]
    for i, fault in zip(
        words, judge.faults([texts[i] for i in words]) if words else (), strict=True
    ):
        faults[i] = fault
    good = [i for i, fault in enumerate(faults) if not fault]
    if good:
        p[good] = judge.probabilities([texts[i] for i in good])
    for i in good:
        if not 0 <= p[i] <= 1:
            p[i], faults[i] = np.nan, "the judge gave no probability"
    flagged = np.where(np.isnan(p), np.nan, p >= judge.threshold)
    return pd.DataFrame({"judge": judge.name, "p": p, "flagged": flagged, "fault": faults})


def _unreadable(text) -> str:
    if not isinstance(text, str):
        return "not a text"
    return "" if any(letter.isalnum() for letter in text) else "no word"


def labelled(judge: Judge, source: str = "embedded") -> pd.DataFrame:
    """What a judge says of labelled texts that no judge of this book was trained on.

    source: as of `load`; "embedded" leaves HateXplain out. Columns: `data` (a name in
    `hate_speech.DATASETS`, or "plain text"), `id`, `communities` (of plain text its kind), `toxic`,
    and those of `judged`. The plain sentences are harmless by their origin.
    """
    tables = []
    for data in hate_speech.DATASETS:
        if linear.origin(data, source) not in hate_speech.DATASETS[data]["sources"]:
            continue
        posts = linear.load_posts(data, "test", source)
        known = {"data": data, "id": [post.id for post in posts]}
        known |= {"communities": [list(post.communities) for post in posts]}
        known |= {"toxic": [linear.is_toxic(data, post) for post in posts]}
        found = judged(judge, [linear.text_of(post) for post in posts])
        tables.append(pd.DataFrame(known).join(found))
    for kind in plain.KINDS:
        sentences = plain.load(kind, "test", limit=PLAIN_MOST)
        known = {"data": PLAIN, "id": [f"{kind}-{i}" for i in range(len(sentences))]}
        known |= {"communities": [[kind]] * len(sentences), "toxic": False}
        tables.append(pd.DataFrame(known).join(judged(judge, sentences)))
    return pd.concat(tables, ignore_index=True)
