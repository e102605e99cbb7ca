"""ETHICS: which trait a person shows, which excuse holds, what somebody deserves.

Hendrycks et al. 2021 (*Aligning AI With Shared Human Values*, ICLR), US English, MIT; three of its
five tasks. A row is one judgement, yes or no, and in the test files the rows come in sets that were
written together:

- `virtue`: a sentence about a person with five traits, of which exactly one is shown in it. "No"
  to everything is therefore right four times in five.
- `deontology`: a request or a role with four excuses or duties, any number of them reasonable.
- `justice`: four reasons for one claim, or four claims for one reason; what they share is not
  marked, and sets are told by the order of the rows alone.

The training files were filtered, and their sets are no longer whole. Most test sentences of
`virtue` stand in its training file too, with other traits (874 of 995, counted in the mirror's
files), and so do 325 of the 899 requests of `deontology`: `unseen` leaves them out of what a probe
is trained on.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ethical_compression.datasets import files
from ethical_compression.errors import InputError

SPLITS = ("train", "test")
HUB = "hendrycks/ethics"
SEPARATOR = " [SEP] "  # between a sentence and a trait, in the files
# size: rows of a set in the test file. columns: of a row. right: how many of a set are, if told.
TASKS: dict[str, dict[str, Any]] = {
    "virtue": {"size": 5, "columns": ("label", "scenario"), "right": 1},
    "deontology": {
        "size": 4,
        "columns": ("label", "scenario", "excuse"),
        "right": None,
    },
    "justice": {"size": 4, "columns": ("label", "scenario"), "right": None},
}


@dataclass(frozen=True)
class Judgement:
    """One row: is it right to say `said` of `text`?

    id: the row's number in its file, from 0. set: the number of the rows it was written with, in
    the test file; "" in training. text: the sentence, request or role, and of `justice` all of it.
    said: the trait or the excuse; "" in `justice`. label: yes (the trait is shown; it is
    reasonable).
    """

    task: str
    id: str
    set: str
    text: str
    said: str
    label: bool


def load(
    task: str,
    split: str,
    *,
    source: str = "mirror",
    limit: int | None = None,
    seed: int = 0,
    data_dir: str | os.PathLike | None = None,
    revision: str | None = None,
) -> list[Judgement]:
    """Rows of a task (a name in `TASKS`) and split ("train", "test"), in file order.

    source: "mirror" (a folder `ethics` of the csv files) or "hub" (at `revision`, by default the
    newest commit). limit: at most so many rows of a training file, or so many whole *sets* of a
    test file: a seeded sample, part of every larger one (`files.sample`).
    Raises InputError for an unknown name, a missing file or network, a row that cannot be read, and
    a test file whose sets are not as they should be.
    """
    origin = _origin(task, split, source)
    record = files.record(source, origin, data_dir=data_dir, revision=revision)
    place, rows = files.content(source, origin, record, data_dir=data_dir)
    found = [_judgement(task, split, row, number, place) for number, row in enumerate(rows)]
    if split == "train":
        return files.sample(found, limit, seed)
    sets = _sets(task, found, place)
    return [one for some in files.sample(sets, limit, seed) for one in some]


def _judgement(task: str, split: str, row: dict[str, Any], number: int, place: str) -> Judgement:
    where = f"Row {number} of {place}"
    files.require_columns(row, TASKS[task]["columns"], where)
    try:
        label = files.whole_number(row["label"])
        if label not in (0, 1):
            raise ValueError(f"its label is {label}")
        text, said = row["scenario"], row.get("excuse", "")
        if task == "virtue":
            text, between, said = text.partition(SEPARATOR)
            if not (between and said.strip()):
                raise ValueError(f"it has no {SEPARATOR.strip()} with a trait behind it")
        if not text.strip():
            raise ValueError("it is empty")
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{where} is no row of ETHICS {task} ({error}): fetch the file again."
        ) from error
    member = str(number // TASKS[task]["size"]) if split == "test" else ""
    return Judgement(task, str(number), member, text.strip(), said.strip(), bool(label))


def _sets(task: str, rows: Sequence[Judgement], place: str) -> list[list[Judgement]]:
    """The rows of a test file, set by set. Raises InputError where they do not go together."""
    size, right = TASKS[task]["size"], TASKS[task]["right"]
    sets = [list(rows[begin : begin + size]) for begin in range(0, len(rows), size)]
    for some in sets:
        whole = len(some) == size
        together = task == "justice" or len({one.text for one in some}) == 1
        if not (whole and together and right in (None, sum(one.label for one in some))):
            raise InputError(
                f"Row {some[0].id} of {place} does not begin a set of {size} rows of ETHICS "
                f"{task}: give the test file whole and in its own order."
            )
    return sets


def unseen(train: Sequence[Judgement], test: Sequence[Judgement]) -> list[Judgement]:
    """Rows of `train` whose text (sentence, request, or all of it) no row of `test` has."""
    taken = {one.text for one in test}
    return [one for one in train if one.text not in taken]


def source_record(
    task: str,
    split: str,
    source: str = "mirror",
    data_dir: str | os.PathLike | None = None,
    *,
    revision: str | None = None,
) -> dict[str, Any]:
    """Where the rows come from, for the record: JSON-ready."""
    origin = _origin(task, split, source)
    return {
        "benchmark": f"ethics_{task}",
        "title": f"ETHICS, {task}, {split}",
        "citation": "Hendrycks et al. 2021, ICLR",
        "licence": "MIT",
        **files.record(source, origin, data_dir=data_dir, revision=revision),
    }


def _origin(task: str, split: str, source: str) -> dict[str, Any]:
    files.known("task of ETHICS", task, TASKS)
    files.known("split of ETHICS", split, SPLITS)
    files.known("source of ETHICS", source, ("mirror", "hub"))
    if source == "hub":
        return {"id": HUB, "config": task, "split": split}
    return {"file": f"ethics/{task}_{split}.csv"}
