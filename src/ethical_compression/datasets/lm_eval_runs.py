"""Runs of lm-evaluation-harness, read back: what its `--log_samples` wrote, as our scores table.

lm-eval 0.4 writes, under `--output_path`, one file a task and run: an object an item, with the text
that was scored (`arguments`), the log-likelihood of each option (`resps`), what counts as right
(`target`) and its own metrics. What its versions call the file, and how they lay it out:

| version | file | content |
|---|---|---|
| 0.4.0 to 0.4.2 | `MODEL_TASK.jsonl` | one JSON list, arguments as lists, numbers as numbers |
| between 0.4.2 and 0.4.3 | `samples_TASK_DATE.json` | one JSON list, then JSON lines |
| from 0.4.3 | `samples_TASK_DATE.jsonl` in a model's folder | JSON lines, log-likelihoods as text |
| from 0.4.4 | the same | the target as text, too |

Two such runs, of a full and a compressed model, can be compared item by item without either model.
A task that cannot be read is named with the reason; those that can are compared.
"""

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from ethical_compression.datasets.lm_eval_samples import requests_of, rows_of, tables_of
from ethical_compression.errors import InputError

NAME = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT[\d.-]+)\.jsonl?")


def scores(path: str | Path) -> pd.DataFrame:
    """The scores table of one run: columns as `score.loglikelihood.score_items` gives them.

    path: a samples file, whatever it is called, or the folder that lm-eval was told to write to, or
    a model's folder in it. Of several runs of a task the newest is read.

    Returns one row an item and option: `benchmark` (lm-eval's task), `item` (its `doc_id`, as
    text), `group` (whom the item is about, where its data say so), `option`, `gold`, `logprob`
    (nats), `bytes`, `greedy`, and `request`, the text that was scored, so that two runs can be told
    apart by what they asked. lm-eval keeps no number of
    tokens: the normalisations "none" and "byte" are there, "token" is not.

    A task is left out, with the reason on the error stream, where it is no choice among options one
    of which is right: a line that is no sample, a text generated or scored by itself, a metric that
    asks for no right answer (CrowS-Pairs' `pct_stereotype`), several right answers, or lm-eval's
    own accuracy contradicting what is read. Raises InputError for a missing or empty place, two
    models in one folder, and where no task is left.
    """
    tables, left = [], {}
    for task, file in files(path).items():
        try:
            tables += tables_of(task, [file])
        except InputError as error:
            left[task] = str(error)
    return those_left(tables, left)


def pair(full: str | Path, compressed: str | Path, label: str = "compressed") -> pd.DataFrame:
    """Two runs of the same tasks as one scores table, `compression` being "full" and `label`.

    Tasks are paired by name, or by what their first item asks; where each side is one file, these
    two are, whatever they are called. Left out as in `scores`: a task that only one run holds, or
    whose runs hold different items, ask different things under one number, or disagree on what is
    right. Raises InputError as `scores` does, and where both sides are the same file.
    """
    return those_left(*compared(full, compressed, label)).drop(columns="request")


def compared(
    full: str | Path, compressed: str | Path, label: str = "compressed"
) -> tuple[list[pd.DataFrame], dict[str, str]]:
    """`pair` before it is one table: a table a task and side, `request` among its columns, and
    {task: reason} of those left out. Raises InputError as `pair`, but where there is no table."""
    if label == "full":
        raise InputError("The compressed run needs a label other than 'full'.")
    sides = [files(path) for path in (full, compressed)]
    left: dict[str, str] = {}
    tables = []
    for task, both in _paired(sides, left).items():
        if both[0].samefile(both[1]):
            raise InputError(
                f"Both sides are the same file, {both[0]}: give the full model's run first and "
                "the compressed model's second."
            )
        try:
            found = tables_of(task, both)
            _check_pair(task, *found)
        except InputError as error:
            left[task] = str(error)
            continue
        tables += [
            side.assign(compression=one) for side, one in zip(found, ("full", label), strict=True)
        ]
    return tables, left


def those_left(tables: list[pd.DataFrame], left: Mapping[str, str]) -> pd.DataFrame:
    """The tables as one; what is not among them is named, {task: reason}, on the error stream.

    Raises InputError, with the reasons, where there is no table.
    """
    if not tables and len(left) == 1:
        raise InputError(*left.values())
    if not tables:
        reasons = " ".join(f"{task}: {reason}" for task, reason in left.items())
        raise InputError(f"None of the {len(left)} tasks can be compared. {reasons}")
    for task, reason in left.items():
        print(f"Left out, {task}: {reason}", file=sys.stderr)
    return pd.concat(tables, ignore_index=True)


# --- Which files ----------------------------------------------------------------------------------


def files(path: str | Path) -> dict[str, Path]:
    """{task: its samples file}, of several runs of a task the newest. Raises InputError for a
    missing or empty place, and for two models in one folder."""
    path = Path(path)
    if path.is_file():
        return {_task(path): path}
    if not path.is_dir():
        raise InputError(f"There is no file or folder {path}: check the path of the lm-eval run.")
    named = sorted(file for file in path.rglob("*.json*") if NAME.fullmatch(file.name))
    # Before 0.4.3 a file was called by its model and task, and lay in the output folder itself.
    found = named or sorted(path.rglob("*.jsonl"))
    if not found:
        raise InputError(
            f"{path} holds no samples_TASK_DATE.jsonl: run lm-eval with --log_samples and "
            "--output_path."
        )
    if len(homes := sorted({file.parent for file in found})) > 1:
        names = ", ".join(str(home.relative_to(path)) for home in homes)
        raise InputError(f"{path} holds runs of several models ({names}): give one's folder.")
    if named:
        found = sorted(found, key=lambda file: NAME.fullmatch(file.name)["date"])
    newest = {_task(file): file for file in found}
    return {task: newest[task] for task in sorted(newest)}


def _task(file: Path) -> str:
    """The task that a samples file's name tells, or the results beside it; else the name itself."""
    if found := NAME.fullmatch(file.name):
        return found["task"]
    stem = file.stem.removeprefix("samples_")
    known = [task for task in _configured(file.parent) if f"_{stem}".endswith(f"_{task}")]
    return max(known, key=len, default=stem)


def _configured(folder: Path) -> Iterable[str]:
    """Tasks that the results in a folder speak of: versions before 0.4.3 name a file after both."""
    for file in folder.glob("*.json"):
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(content, dict) and isinstance(content.get("configs"), dict):
            yield from content["configs"]


def _paired(sides: Sequence[Mapping[str, Path]], left: dict[str, str]) -> dict[str, list[Path]]:
    """{task: its two files}; tasks of one side only go to `left`, with the reason."""
    full, compressed = map(dict, sides)
    if len(full) == len(compressed) == 1:
        (a, first), (b, second) = *full.items(), *compressed.items()
        # Two names that lm-eval gave tell two tasks apart, unless they ask the same.
        if not (_named(first, second) and a != b) or _same_question(first, second):
            return {_shared_name(a, b): [first, second]}
    both = {task: [full.pop(task), compressed.pop(task)] for task in sides[0] if task in sides[1]}
    # A name of an old file is the model's and the task's: what it asks tells which task it is.
    for a in list(full):
        same = [
            b
            for b, file in compressed.items()
            if not _named(full[a], file) and _same_question(full[a], file)
        ]
        if len(same) == 1:
            both[_shared_name(a, same[0])] = [full.pop(a), compressed.pop(same[0])]
    for side, name in ((full, "full"), (compressed, "compressed")):
        for task in side:
            left[task] = f"only the {name} model's run holds it; run lm-eval with the same --tasks."
    return both


def _named(*files: Path) -> bool:
    """Whether lm-eval, from 0.4.3, named all of the files after their tasks."""
    return all(NAME.fullmatch(file.name) for file in files)


def _same_question(one: Path, other: Path) -> bool:
    first = _first_question(one)
    return bool(first) and first == _first_question(other)


def _first_question(file: Path) -> list[tuple[str, str]]:
    try:
        return requests_of(rows_of(file)[0])
    except InputError:
        return []


def _shared_name(a: str, b: str) -> str:
    """The end that two names share: before 0.4.3 a file's name begins with the model's."""
    first, second = a.split("_"), b.split("_")
    shared = 0
    while shared < min(len(first), len(second)) and first[-1 - shared] == second[-1 - shared]:
        shared += 1
    return "_".join(first[len(first) - shared :]) or a


def _check_pair(task: str, full: pd.DataFrame, compressed: pd.DataFrame) -> None:
    """Raise InputError unless two runs of a task hold the same items, questions and answers."""
    keys = ["benchmark", "item", "option"]
    both = full.merge(compressed, on=keys, how="outer", suffixes=("", "_other"), indicator=True)
    alone = both[both["_merge"] != "both"]
    if len(alone):
        raise InputError(
            f"{len(alone)} options are in only one of the two runs, the first of them of item "
            f"{alone.iloc[0]['item']} of {task}: run lm-eval with the same --limit and version."
        )
    changed = both[both["request"] != both["request_other"]]
    if len(changed):
        raise InputError(
            f"Item {changed.iloc[0]['item']} of {task} is not the same question in both runs "
            f"({len(changed)} options differ): use one version of lm-eval and of the data, the "
            "same few-shot setting and the same chat template."
        )
    differ = both[both["gold"] != both["gold_other"]]
    if len(differ):
        raise InputError(
            f"The two runs disagree on the right answer of item {differ.iloc[0]['item']} of {task}:"
            " use one version of lm-eval and of the data."
        )
