"""What every small model is asked, and the large one beside them: the same items for all."""

from collections.abc import Mapping, Sequence
from typing import Any

from ethical_compression.datasets import (
    blimp,
    childrens_books,
    contrast,
    ethics,
    files,
    moral_stories,
    multiple_choice,
    stereoset,
)
from ethical_compression.score import features, harms, judgements, loglikelihood, moral
from ethical_compression.score.loglikelihood import OTHER_ARITHMETIC
from ethical_compression.score.runs import Battery, Memory, Subject, measure

# Words of each held-out text; sets of ETHICS; rows to train a probe on; pairs of BLiMP; items of
# each question-answering benchmark; stories; items of StereoSet. None: all.
SIZES: dict[str, int | None] = {
    "words": 20_000,
    "sets": None,  # a difference of five points would be lost in the noise of two hundred
    "probe": 3_000,
    "pairs": 67 * 30,
    "questions": 500,
    "stories": 500,
    "stereotypes": 800,
}
QUESTIONS = {"arc_easy": "mirror", "openbookqa": "embedded", "piqa": "embedded"}
# Half of a window is context: every token but a text's first is scored once, and bytes can be
# divided by.
READING = {"window": 256, "stride": 128}
HELD_OUT = ("childrens_books", "adult_text", "adults_books")


def held_out(sizes: Mapping[str, int | None] = SIZES, *, data_dir=None) -> dict[str, list[str]]:
    """Documents by text (`HELD_OUT`), of each the same number of words, that no model here read."""
    found = {}
    for name in HELD_OUT:
        if name == "adult_text":
            documents = childrens_books.adult_text("held_out", data_dir=data_dir)
        else:
            documents = childrens_books.load(name, "held_out", data_dir=data_dir)
        count = sizes["words"] or childrens_books.words(documents)
        found[name] = childrens_books.first_words(documents, count, name)
    return found


def size_in_bytes(documents: list[str]) -> int:
    """Bytes (UTF-8) of documents as `loglikelihood.score_text` joins them."""
    return len("\n\n".join(documents).encode())


def judgement_items(sizes: Mapping[str, int | None] = SIZES, *, data_dir=None):
    """({task: items of the test}, {task: items to train a probe on, whose texts the whole test file
    does not have})."""
    test, train = {}, {}
    for task in ethics.TASKS:
        whole = ethics.load(task, "test", data_dir=data_dir)
        test[task] = ethics.load(task, "test", limit=sizes["sets"], data_dir=data_dir)
        kept = ethics.unseen(ethics.load(task, "train", data_dir=data_dir), whole)
        train[task] = files.sample(kept, sizes["probe"], 0)
    return test, train


def asked(sizes: Mapping[str, int | None] = SIZES, *, data_dir=None) -> list[Battery]:
    """The batteries of a causal language model, for `runs.measure`: a table a battery's name.

    "windows_…" of each held-out text, "ethics_question", "ethics_text", "blimp", "scores" (question
    answering), "moral-preferences", "stereoset", and "probe_train", "probe_test" (`features`).
    """
    test, train = judgement_items(sizes, data_dir=data_dir)
    pairs = blimp.load(limit=sizes["pairs"], data_dir=data_dir)
    questions = {
        name: multiple_choice.load(name, source=source, limit=sizes["questions"], data_dir=data_dir)
        for name, source in QUESTIONS.items()
    }
    stories = moral_stories.load(
        "en",
        corpus="moral_stories",
        source="mirror",
        limit=sizes["stories"],
        data_dir=data_dir,
    )
    triplets = contrast.stratified(
        stereoset.load("test"), sizes["stereotypes"], 0, lambda one: one.bias_type
    )
    how: dict[str, Any] = {"again": OTHER_ARITHMETIC}
    reading = [
        Battery(
            f"windows_{name}",
            documents,
            loglikelihood.score_text,
            READING,
            part=None,
            title=name,
            **how,
        )
        for name, documents in held_out(sizes, data_dir=data_dir).items()
    ]
    probes = [
        Battery(f"probe_{part}", some, features.features, title=f"ETHICS {task}, {part}")
        for part, tasks in (("train", train), ("test", test))
        for task, some in tasks.items()
    ]
    return [
        *reading,
        *judgements.batteries(test, pairs),
        *loglikelihood.batteries(questions),
        *moral.batteries(stories, norms=(True,)),
        Battery("stereoset", triplets, harms.stereoset, title="StereoSet", **how),
        *probes,
    ]


def tables(subject: Subject, batteries: Sequence[Battery]) -> dict[str, Any]:
    """What a subject says to every battery, kept as `runs.measure` keeps it: a DataFrame a
    battery's name, without the columns that tell models apart."""
    import pandas as pd

    memory, found = Memory(), {}
    for battery in batteries:
        said = measure(subject, battery, memory=memory, progress=False)
        found.setdefault(battery.name, []).append(said.drop(columns=["model", "compression"]))
    return {name: pd.concat(some, ignore_index=True) for name, some in found.items()}
