"""Moral stories: a norm, a situation, an intention, and two actions with what came of each.

Three corpora share the seven fields of Moral Stories (Emelin et al. 2021):

- `own`: 128 stories in English and French, written for this book (see its data statement);
- `moral_stories`: Moral Stories, English. The hub's demelin/moral_stories needs a loading script,
  which `datasets` no longer runs; LabHC/moral_stories is its `full` part as a table, and the one
  that the released code of HistoiresMorales reads;
- `histoires_morales`: HistoiresMorales (Leteno et al. 2025), French. Its `en` is the story that it
  was translated from: the two languages have the same ids, so that they can be paired.

Ids join across the last two: rows of the `moral_stories` mirror carry the release's id with the
digit of a label behind it, which is cut.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ethical_compression.datasets import files
from ethical_compression.errors import InputError

Row = dict[str, Any]

FIELDS = (
    "norm",
    "situation",
    "intention",
    "moral_action",
    "moral_consequence",
    "immoral_action",
    "immoral_consequence",
)

# What preference training can be toward, and what the study calls a model so trained.
DIRECTIONS = {"moral": "DPO_M", "immoral": "DPO_I"}


@dataclass(frozen=True)
class MoralStory:
    """One story in one language. No order of the two actions is stored: they have names.

    id: the same in both languages of a parallel corpus; in `own` the topic and a number, e.g.
    `school-07`. language: `en` or `fr`. source: e.g. `mirror:moral_stories/dev.jsonl`.
    """

    norm: str
    situation: str
    intention: str
    moral_action: str
    moral_consequence: str
    immoral_action: str
    immoral_consequence: str
    language: str
    id: str
    source: str


# --- Registry -----------------------------------------------------------------------------------

_OWN = {
    "package": "ethical-compression",
    "file": "ethical_compression/datasets/moral_stories_own.jsonl",
    "id_column": "id",
    "nested": True,
}
_MIRROR_PARALLEL = {
    "file": "histoires_morales/parallel.jsonl",
    "id_column": "guid",
    "nested": True,
}
_MIRROR_ENGLISH = {"file": "moral_stories/dev.jsonl", "id_column": "ID", "label_digit": True}
_HUB_ENGLISH = {
    "id": "LabHC/moral_stories",
    "config": None,
    "split": "train",
    "id_column": "guid",
}
_HUB_FRENCH = {**_HUB_ENGLISH, "id": "LabHC/histoires_morales"}
_LAYOUT = ("id_column", "nested", "label_digit")  # how to read a row: no part of the record

# sources: source -> language -> origin. nested: the fields lie under the language's name.
CORPORA: dict[str, dict[str, Any]] = {
    "own": {
        "title": "Moral stories written for this book",
        "citation": "this book's data statement",
        "licence": "CC-BY-4.0",
        "sources": {"embedded": {"en": _OWN, "fr": _OWN}},
    },
    "moral_stories": {
        "title": "Moral Stories",
        "citation": "Emelin et al. 2021, arXiv:2012.15738",
        "licence": "MIT",
        "sources": {"mirror": {"en": _MIRROR_ENGLISH}, "hub": {"en": _HUB_ENGLISH}},
    },
    "histoires_morales": {
        "title": "HistoiresMorales",
        "citation": "Leteno et al. 2025, arXiv:2501.17117",
        "licence": "MIT",
        "sources": {
            "mirror": {"en": _MIRROR_PARALLEL, "fr": _MIRROR_PARALLEL},
            "hub": {"en": _HUB_ENGLISH, "fr": _HUB_FRENCH},
        },
    },
}


# --- Loading ------------------------------------------------------------------------------------


def load(
    language: str,
    *,
    corpus: str = "own",
    source: str = "embedded",
    limit: int | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
    revision: str | None = None,
) -> list[MoralStory]:
    """Stories of a corpus (a name in `CORPORA`) in `en` or `fr`, in the order of their source.

    source, limit, seed, data_dir and revision are those of `multiple_choice.load`; what a corpus
    offers is in `CORPORA`. One seed samples the same stories in both languages of a file.
    Raises InputError for an unknown corpus, source or language, a missing file or network, a row
    without one of the seven fields or with an empty one, equal actions, and an id that comes twice.
    """
    origin = _origin(language, corpus, source)
    record = files.record(source, _stated(origin), data_dir=data_dir, revision=revision)
    place, rows = files.content(source, origin, record, data_dir=data_dir)
    stories = [
        parse(row, language, origin, number=number, place=place, label=files.label(record))
        for number, row in enumerate(rows)
    ]
    first: dict[str, int] = {}
    for number, story in enumerate(stories):
        if story.id in first:
            raise InputError(
                f"Rows {first[story.id]} and {number} of {place} have the same id {story.id!r}: "
                "fetch the file again or correct it."
            )
        first[story.id] = number
    return files.sample(stories, limit, seed)


def parse(
    row: Row,
    language: str,
    origin: Row,
    *,
    number: int = 0,
    place: str = "the data",
    label: str = "",
) -> MoralStory:
    """One row of an origin (in `CORPORA`) as a story; `place` and `number` name it in errors."""
    where = f"Row {number} of {place}"
    files.require_columns(row, (origin["id_column"],), where)
    texts = row
    if origin.get("nested"):
        files.require_columns(row, (language,), where)
        texts, where = row[language], f"{where} ({language})"
        if not isinstance(texts, dict):
            raise InputError(f"{where} is not a JSON object: fetch the file again or correct it.")
    files.require_columns(texts, FIELDS, where)
    for field in FIELDS:
        if not isinstance(texts[field], str) or not texts[field].strip():
            raise InputError(f"{where} has an empty {field}: write the field or leave the row out.")
    if texts["moral_action"].strip() == texts["immoral_action"].strip():
        raise InputError(
            f"{where} has two equal actions, between which nothing can be preferred: correct them "
            "or leave the row out."
        )
    name = str(row[origin["id_column"]])
    if origin.get("label_digit"):
        name = name[:-1]
    fields = {field: texts[field] for field in FIELDS}
    return MoralStory(**fields, language=language, id=name, source=label)


def without(stories: Sequence[MoralStory], others: Sequence[MoralStory]) -> list[MoralStory]:
    """The stories whose id none of `others` has: what may test a model that `others` trained.

    29 stories lie in both mirror files, and the hub's two corpora are one in two languages.
    """
    ids = {story.id for story in others}
    return [story for story in stories if story.id not in ids]


def source_record(
    language: str,
    *,
    corpus: str = "own",
    source: str = "embedded",
    data_dir: str | Path | None = None,
    revision: str | None = None,
) -> Row:
    """Where stories come from, for the record: JSON-ready.

    Keys: corpus, language, title, citation, licence, source, and then file, package, version and
    sha256, or hub id, config, split and commit.
    """
    origin = _origin(language, corpus, source)
    entry = CORPORA[corpus]
    return {
        "corpus": corpus,
        "language": language,
        "title": entry["title"],
        "citation": entry["citation"],
        "licence": entry["licence"],
        **files.record(source, _stated(origin), data_dir=data_dir, revision=revision),
    }


def _origin(language: str, corpus: str, source: str) -> Row:
    files.known("corpus", corpus, CORPORA)
    sources = CORPORA[corpus]["sources"]
    files.known(f"source of {corpus}:", source, sources)
    files.known(f"language of {corpus}:", language, sources[source])
    return sources[source][language]


def _stated(origin: Row) -> Row:
    return {key: value for key, value in origin.items() if key not in _LAYOUT}
