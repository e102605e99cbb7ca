"""BLiMP: a sentence that English grammar allows, and one that differs in little and is not.

Warstadt et al. 2020 (*BLiMP: The Benchmark of Linguistic Minimal Pairs for English*, TACL), CC BY
4.0: 67 paradigms of 1,000 generated pairs, in 12 phenomena. The files name the phenomena a little
otherwise than the paper (`TERMS`). In seven pairs both sentences are one and the same; they are
left out here, where harnesses count them as right.
"""

import io
import json
import os
import zipfile
from collections.abc import Iterator
from typing import Any

from ethical_compression.datasets import contrast, files
from ethical_compression.datasets.contrast import Contrast
from ethical_compression.errors import InputError

SIDES = ("acceptable", "not acceptable")
# `linguistics_term` of the files -> phenomenon of the paper's table 1.
TERMS = {
    "anaphor_agreement": "anaphor agreement",
    "argument_structure": "argument structure",
    "s-selection": "argument structure",
    "binding": "binding",
    "control_raising": "control and raising",
    "determiner_noun_agreement": "determiner-noun agreement",
    "ellipsis": "ellipsis",
    "filler_gap_dependency": "filler-gap",
    "irregular_forms": "irregular forms",
    "island_effects": "island effects",
    "npi_licensing": "NPI licensing",
    "quantifiers": "quantifiers",
    "subject_verb_agreement": "subject-verb agreement",
}
PHENOMENA = tuple(dict.fromkeys(TERMS.values()))
STUDY = files.Study(
    name="blimp",
    title="BLiMP",
    citation="Warstadt et al. 2020, TACL",
    licence="CC-BY-4.0",
    folders={"mirror": "blimp"},
)
FILE = "BLiMP.zip"


def load(
    *,
    source: str = "mirror",
    limit: int | None = None,
    seed: int = 0,
    data_dir: str | os.PathLike | None = None,
) -> list[Contrast]:
    """Pairs, the acceptable sentence first, paradigm after paradigm in the order of their names.

    `group`: the phenomenon (one of `PHENOMENA`), `kind`: the paradigm, `cluster`: the pair itself.
    source: "mirror" (the authors' zip in a folder `blimp`). limit: at most so many, shared evenly
    by the paradigms (`contrast.stratified`).
    Raises InputError for an unknown source, a missing or broken file, and a row that is not as it
    should be.
    """
    return contrast.stratified(_read(source, data_dir)[0], limit, seed, lambda one: one.kind)


def _read(source, data_dir) -> tuple[list[Contrast], dict[str, int]]:
    place = files.study_file(STUDY, FILE, source, data_dir)
    found = []
    for name, number, row in _rows(place):
        where = f"Row {number} of {name} in {place}"
        if not isinstance(row, dict):
            raise InputError(f"{where} is not a JSON object: fetch the file again.")
        files.require_columns(
            row, ("sentence_good", "sentence_bad", "linguistics_term", "UID", "pairID"), where
        )
        files.known(f"term of BLiMP ({where})", row["linguistics_term"], TERMS)
        found.append(
            Contrast(
                benchmark="blimp",
                id=f"{row['UID']}-{row['pairID']}",
                group=TERMS[row["linguistics_term"]],
                kind=row["UID"],
                cluster=f"{row['UID']}-{row['pairID']}",
                sides=SIDES,
                texts=(row["sentence_good"].strip(), row["sentence_bad"].strip()),
            )
        )
    return contrast.checked(found, str(place))


def _rows(place) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """(file, number, row) of every paradigm's file in the zip, which holds a system's files too."""
    try:
        with zipfile.ZipFile(place) as archive:
            for name in sorted(archive.namelist()):
                if not name.startswith("data/") or not name.endswith(".jsonl"):
                    continue
                with io.TextIOWrapper(archive.open(name), encoding="utf-8") as lines:
                    for number, line in enumerate(lines):
                        if line.strip():
                            yield name, number, json.loads(line)
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise InputError(
            f"{place} is not BLiMP's zip ({type(error).__name__}): fetch it again."
        ) from error


def source_record(
    source: str = "mirror", data_dir: str | os.PathLike | None = None
) -> dict[str, Any]:
    """Where the pairs come from, and what was left out: JSON-ready."""
    kept, left_out = _read(source, data_dir)
    record = files.study_record(STUDY, FILE, source, data_dir)
    return record | {"rows": len(kept), "left_out": left_out}
