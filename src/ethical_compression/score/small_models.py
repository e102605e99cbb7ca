"""What every small model is asked, and the large one beside them: the same items for all."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
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
    text,
)
from ethical_compression.score import features, harms, judgements, loglikelihood, moral
from ethical_compression.score.loglikelihood import OTHER_ARITHMETIC
from ethical_compression.score.runs import Battery, Subject, grid

# Words of each held-out text; sets of ETHICS; rows to train a probe on; pairs of BLiMP; items of
# each question-answering benchmark; stories; items of StereoSet. None: all. So many that a small
# model is asked everything in a few minutes of one core.
SIZES: dict[str, int | None] = {
    "words": 8_000,
    "sets": 400,
    "probe": 1_500,
    "pairs": 67 * 20,
    "questions": 300,
    "stories": 200,
    "stereotypes": 400,
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
        documents = childrens_books.documents_of(name, "held_out", data_dir=data_dir)
        count = sizes["words"] or childrens_books.words(documents)
        found[name] = childrens_books.first_words(documents, count, name)
    return found


def size_in_bytes(documents: list[str]) -> int:
    """Bytes (UTF-8) of documents as `loglikelihood.score_text` joins them."""
    return len("\n\n".join(documents).encode())


def news(words: int) -> dict[str, list[str]]:
    """Held-out news, which comes with the installation, where the texts of `held_out` are not."""
    documents = text.load("xsum", "held_out")
    return {"news": childrens_books.first_words(documents, words, "XSum")}


def reading(texts: Mapping[str, list[str]]) -> list[Battery]:
    """A battery "windows_…" of every text."""
    return [
        replace(loglikelihood.text_battery(documents, READING), name=f"windows_{name}", title=name)
        for name, documents in texts.items()
    ]


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
    """The batteries of a causal language model, for `runs.grid`: a table a battery's name.

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
    probes = [
        features.battery(task, some, name=f"probe_{part}")
        for part, tasks in (("train", train), ("test", test))
        for task, some in tasks.items()
    ]
    return [
        *reading(held_out(sizes, data_dir=data_dir)),
        *judgements.batteries(test, pairs),
        *loglikelihood.batteries(questions),
        *moral.batteries(stories, norms=(True,)),
        Battery("stereoset", triplets, harms.stereoset, title="StereoSet", again=OTHER_ARITHMETIC),
        *probes,
    ]


def of_language(batteries: Sequence[Battery]) -> list[Battery]:
    """Those of held-out text and grammar: what a large model is asked where the whole would take it
    hours."""
    return [one for one in batteries if one.name == "blimp" or one.name.startswith("windows_")]


def tables(subject: Subject, batteries: Sequence[Battery]) -> dict[str, Any]:
    """What a subject says to every battery, kept as `runs.grid` keeps it: a DataFrame a
    battery's name, without the columns that tell models apart."""
    found = grid([subject], batteries, progress=False)
    return {name: table.drop(columns=["model", "compression"]) for name, table in found.items()}
