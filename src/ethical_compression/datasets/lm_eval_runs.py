"""Runs of lm-evaluation-harness, read back: what its `--log_samples` wrote, as our scores table.

lm-eval 0.4 writes, under `--output_path`, a folder a model with a file
`samples_TASK_DATE.jsonl` a task and run: one JSON object an item, with the text that was scored
(`arguments`), the log-likelihood of each option (`resps`), the right answer (`target`) and hashes.
Two such runs, of a full and a compressed model, can be compared item by item without either model.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ethical_compression.datasets.files import read_rows
from ethical_compression.errors import InputError

NAME = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT[\d.-]+)\.jsonl")
NEEDED = ("doc_id", "target", "arguments", "resps")


def scores(path: str | Path) -> pd.DataFrame:
    """The scores table of one run: columns as `score.loglikelihood.score_items` gives them.

    path: a `samples_….jsonl` file, or the folder that lm-eval was told to write to, or a model's
    folder in it. Of several runs of a task the newest is read; tasks of a folder that are not
    multiple choice are left out, with a word on the error stream.

    Returns one row an item and option: `benchmark` (lm-eval's task), `item` (its `doc_id`, as
    text), `option`, `gold`, `logprob` (nats), `bytes`, `greedy`, and `request`, the text that was
    scored, so that two runs can be told apart by what they asked. lm-eval keeps no number of
    tokens: the normalisations "none" and "byte" are there, "token" is not.
    Raises InputError for a missing or empty place, two models in one folder, a line that is no
    sample or lacks a field, a log-likelihood that is no number, several or no right answers, and
    where an item's own `acc` contradicts what is read.
    """
    path = Path(path)
    files = [path] if path.is_file() else _newest(path)
    tables, skipped = [], []
    for file in files:
        found = NAME.fullmatch(file.name)
        task = found["task"] if found else file.stem.removeprefix("samples_")
        rows = read_rows(file)
        if not rows:
            raise InputError(f"{file} holds no samples: run lm-eval with --log_samples again.")
        if len(files) > 1 and len(_requests(rows[0], f"Line 1 of {file}")) < 2:
            skipped.append(task)
            continue
        tables += [_options(row, task, f"Line {n} of {file}") for n, row in enumerate(rows, 1)]
    if skipped:
        print(f"Not multiple choice, left out: {', '.join(skipped)}.", file=sys.stderr)
    if not tables:
        raise InputError(f"None of the tasks in {path} is multiple choice: {', '.join(skipped)}.")
    table = pd.DataFrame([option for item in tables for option in item])
    # One line a filter: what is filtered (an answer's text) differs, the likelihoods do not.
    return table.drop_duplicates(["benchmark", "item", "option", "request", "logprob"])


def pair(full: str | Path, compressed: str | Path, label: str = "compressed") -> pd.DataFrame:
    """Two runs of the same tasks as one scores table, `model` being "full" and `label`.

    Raises InputError as `scores` does, and where the runs hold different tasks or items, or asked
    different things under the same number.
    """
    if label == "full":
        raise InputError("The compressed run needs a label other than 'full'.")
    keys = ["benchmark", "item", "option"]
    sides = [scores(path) for path in (full, compressed)]
    tasks = [set(side["benchmark"]) for side in sides]
    if tasks[0] != tasks[1]:
        raise InputError(
            f"The two runs hold different tasks: {', '.join(sorted(tasks[0] ^ tasks[1]))} in only "
            "one of them; run lm-eval with the same --tasks."
        )
    both = sides[0].merge(sides[1], on=keys, how="outer", suffixes=("", "_other"), indicator=True)
    alone = both[both["_merge"] != "both"]
    if len(alone):
        row = alone.iloc[0]
        raise InputError(
            f"{len(alone)} options are in only one of the two runs, the first of them of item "
            f"{row['item']} of {row['benchmark']}: run lm-eval with the same --limit and version."
        )
    changed = both[both["request"] != both["request_other"]]
    if len(changed):
        row = changed.iloc[0]
        raise InputError(
            f"Item {row['item']} of {row['benchmark']} is not the same question in both runs "
            f"({len(changed)} options differ): use one version of lm-eval and of the data, the "
            "same few-shot setting and the same chat template."
        )
    named = [side.assign(model=name) for side, name in zip(sides, ("full", label), strict=True)]
    return pd.concat(named, ignore_index=True).drop(columns="request")


def _newest(folder: Path) -> list[Path]:
    """The newest samples file of each task in a folder or the one model's folder in it."""
    if not folder.is_dir():
        raise InputError(f"There is no file or folder {folder}: check the path of the lm-eval run.")
    found = sorted(file for file in folder.rglob("samples_*.jsonl") if NAME.fullmatch(file.name))
    if not found:
        raise InputError(
            f"{folder} holds no samples_TASK_DATE.jsonl: run lm-eval with --log_samples and "
            "--output_path."
        )
    if len(homes := sorted({file.parent for file in found})) > 1:
        names = ", ".join(str(home.relative_to(folder)) for home in homes)
        raise InputError(f"{folder} holds runs of several models ({names}): give one's folder.")
    newest = {}
    for file in sorted(found, key=lambda file: NAME.fullmatch(file.name)["date"]):
        newest[NAME.fullmatch(file.name)["task"]] = file
    return [newest[task] for task in sorted(newest)]


def _requests(row: dict[str, Any], where: str) -> list[tuple[str, str]]:
    """(context, continuation) of each option; empty for what is not scored by likelihood."""
    if missing := [name for name in NEEDED if name not in row]:
        raise InputError(
            f"{where} lacks {missing[0]!r} (it has {', '.join(row)}): it must be a samples file "
            "that lm-eval 0.4 wrote with --log_samples."
        )
    arguments = row["arguments"]
    if isinstance(arguments, dict):  # {"gen_args_0": {"arg_0": …, "arg_1": …}, …}
        arguments = [list(one.values()) for one in arguments.values() if isinstance(one, dict)]
    if not isinstance(arguments, Sequence) or isinstance(arguments, str):
        return []
    pairs = [tuple(one) for one in arguments if isinstance(one, Sequence) and len(one) == 2]
    # Generation has a prompt and its settings, rolling likelihood a text alone.
    return [one for one in pairs if all(isinstance(part, str) for part in one)]


def _options(row: dict[str, Any], task: str, where: str) -> list[dict[str, Any]]:
    requests = _requests(row, where)
    try:
        answers = [one[0] if len(one) == 1 else one for one in row["resps"]]
        found = [(float(logprob), str(greedy) == "True") for logprob, greedy in answers]
    except (TypeError, ValueError):
        found = []
    if len(requests) < 2 or len(found) != len(requests):
        raise InputError(
            f"{where} is not a multiple-choice item: it has {len(requests)} options and "
            f"{len(found)} log-likelihoods, where two or more of both are needed."
        )
    # Mutual information asks for each option again without the question.
    if len({bool(context) for context, _ in requests}) == 2:
        kept = [place for place, (context, _) in enumerate(requests) if context]
        requests, found = [requests[i] for i in kept], [found[i] for i in kept]
    gold = _gold(str(row["target"]), [text.strip() for _, text in requests], where)
    best = max(range(len(found)), key=lambda k: found[k][0])
    if isinstance(row.get("acc"), int | float) and row["acc"] != (best == gold):
        raise InputError(
            f"{where} says acc = {row['acc']}, but its likelihoods choose option {best} and its "
            f"target is {gold}: a task with several right answers, or scored by a rule of its own, "
            "cannot be read."
        )
    return [
        {
            "benchmark": task,
            "item": str(row["doc_id"]),
            "option": number,
            "gold": gold,
            "logprob": logprob,
            "bytes": len(text.encode()),
            "greedy": greedy,
            "request": f"{context}\0{text}",
        }
        for number, ((context, text), (logprob, greedy)) in enumerate(
            zip(requests, found, strict=True)
        )
    ]


def _gold(target: str, texts: list[str], where: str) -> int:
    """The index that `target` is, or of the one option whose text it is."""
    number = int(target) if target.strip().lstrip("-").isdecimal() else None
    if number is None and texts.count(target.strip()) == 1:
        number = texts.index(target.strip())
    if number is None or not 0 <= number < len(texts):
        raise InputError(
            f"{where} has the target {target!r}, which is none of its {len(texts)} options: only "
            "tasks with one right answer can be read."
        )
    return number
