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

import ast
import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ethical_compression.datasets.files import read_rows
from ethical_compression.errors import InputError

NAME = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT[\d.-]+)\.jsonl?")
NEEDED = ("doc_id", "target", "arguments", "resps")
# What a sample holds besides its metrics, in any version.
FIELDS = {*NEEDED, "doc", "filtered_resps", "filter", "metrics"}
FIELDS |= {"doc_hash", "prompt_hash", "target_hash"}
# lm-eval's metrics of a choice among options one of which is right; "bypass" is --predict_only's.
RIGHT = {"acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match"}
# These keep the right answer itself, beside what was chosen or how probable it was.
PAIRS = {"f1", "mcc", "brier_score", "likelihood"}


class Item(NamedTuple):
    """One sample: `options` holds (context, continuation) and `found` (log-likelihood, greedy)."""

    where: str
    row: Mapping[str, Any]
    options: list[tuple[str, str]]
    found: list[tuple[float, bool]]

    @property
    def texts(self) -> list[str]:
        return [text.strip() for _, text in self.options]

    @property
    def several_contexts(self) -> bool:
        """Whether one continuation is scored after several contexts, as Winogrande's is."""
        return len({text for _, text in self.options}) == 1 < len(set(self.options))


def scores(path: str | Path) -> pd.DataFrame:
    """The scores table of one run: columns as `score.loglikelihood.score_items` gives them.

    path: a samples file, whatever it is called, or the folder that lm-eval was told to write to, or
    a model's folder in it. Of several runs of a task the newest is read.

    Returns one row an item and option: `benchmark` (lm-eval's task), `item` (its `doc_id`, as
    text), `option`, `gold`, `logprob` (nats), `bytes`, `greedy`, and `request`, the text that was
    scored, so that two runs can be told apart by what they asked. lm-eval keeps no number of
    tokens: the normalisations "none" and "byte" are there, "token" is not.

    A task is left out, with the reason on the error stream, where it is no choice among options one
    of which is right: a line that is no sample, a text generated or scored by itself, a metric that
    asks for no right answer (CrowS-Pairs' `pct_stereotype`), several right answers, or lm-eval's
    own accuracy contradicting what is read. Raises InputError for a missing or empty place, two
    models in one folder, and where no task is left.
    """
    tables, left = [], {}
    for task, file in _files(Path(path)).items():
        try:
            tables += _tables(task, [file])
        except InputError as error:
            left[task] = str(error)
    return those_left(tables, left)


def pair(full: str | Path, compressed: str | Path, label: str = "compressed") -> pd.DataFrame:
    """Two runs of the same tasks as one scores table, `model` being "full" and `label`.

    Tasks are paired by name, or by what their first item asks; where each side is one file, these
    two are, whatever they are called. Left out as in `scores`: a task that only one run holds, or
    whose runs hold different items, ask different things under one number, or disagree on what is
    right. Raises InputError as `scores` does, and where both sides are the same file.
    """
    if label == "full":
        raise InputError("The compressed run needs a label other than 'full'.")
    sides = [_files(Path(path)) for path in (full, compressed)]
    left: dict[str, str] = {}
    tables = []
    for task, files in _paired(sides, left).items():
        if files[0].samefile(files[1]):
            raise InputError(
                f"Both sides are the same file, {files[0]}: give the full model's run first and "
                "the compressed model's second."
            )
        try:
            found = _tables(task, files)
            _check_pair(task, *found)
        except InputError as error:
            left[task] = str(error)
            continue
        tables += [side.assign(model=m) for side, m in zip(found, ("full", label), strict=True)]
    return those_left(tables, left).drop(columns="request")


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


def _files(path: Path) -> dict[str, Path]:
    """{task: its samples file}, of several runs of a task the newest."""
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
        return {_shared_name(a, b): [first, second]}
    both = {task: [full.pop(task), compressed.pop(task)] for task in sides[0] if task in sides[1]}
    # A name of an old file is the model's and the task's: what it asks tells which task it is.
    for a in list(full):
        question = _first_question(full[a])
        same = [
            b
            for b, file in compressed.items()
            if not (NAME.fullmatch(full[a].name) and NAME.fullmatch(file.name))
            and question
            and question == _first_question(file)
        ]
        if len(same) == 1:
            both[_shared_name(a, same[0])] = [full.pop(a), compressed.pop(same[0])]
    for side, name in ((full, "full"), (compressed, "compressed")):
        for task in side:
            left[task] = f"only the {name} model's run holds it; run lm-eval with the same --tasks."
    return both


def _first_question(file: Path) -> list[tuple[str, str]]:
    try:
        return _requests(_rows(file)[0])
    except InputError:
        return []


def _shared_name(a: str, b: str) -> str:
    """The end that two names share: before 0.4.3 a file's name begins with the model's."""
    first, second = a.split("_"), b.split("_")
    shared = 0
    while shared < min(len(first), len(second)) and first[-1 - shared] == second[-1 - shared]:
        shared += 1
    return "_".join(first[len(first) - shared :]) or a


# --- What a file holds ----------------------------------------------------------------------------


def _rows(file: Path) -> list[dict[str, Any]]:
    rows = read_rows(file)
    if not rows:
        raise InputError(f"{file} holds no samples: run lm-eval with --log_samples again.")
    return rows


def _tables(task: str, files: Sequence[Path]) -> list[pd.DataFrame]:
    """The scores table of one task from each of its files, the target read alike in all of them."""
    runs = []
    for file in files:
        rows = _rows(file)
        # A count of items, not of lines: a list of JSON may be laid out over many.
        runs.append([_item(row, f"Sample {n} of {file}") for n, row in enumerate(rows, 1)])
    items = [item for run in runs for item in run]
    _check_metrics(task, items)
    golds = iter(_golds(items))
    tables = []
    for run in runs:
        rows = [row for item in run for row in _options(item, task, next(golds))]
        # One line a filter: what is filtered (an answer's text) differs, the likelihoods do not.
        same = ["benchmark", "item", "option", "request", "logprob"]
        tables.append(pd.DataFrame(rows).drop_duplicates(same))
    return tables


def _requests(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(context, continuation) of each option; empty for what is not scored by likelihood."""
    arguments = row.get("arguments")
    if isinstance(arguments, dict):  # {"gen_args_0": {"arg_0": …, "arg_1": …}, …}
        arguments = [list(one.values()) for one in arguments.values() if isinstance(one, dict)]
    if not isinstance(arguments, Sequence) or isinstance(arguments, str):
        return []
    # Generation has a prompt and its settings, rolling likelihood a text alone; images come third.
    pairs = [tuple(one[:2]) for one in arguments if isinstance(one, Sequence) and len(one) >= 2]
    return [one for one in pairs if all(isinstance(part, str) for part in one)]


def _item(row: Mapping[str, Any], where: str) -> Item:
    if missing := [name for name in NEEDED if name not in row]:
        raise InputError(
            f"{where} lacks {missing[0]!r} (it has {', '.join(row)}): it must be a samples file "
            "that lm-eval 0.4 wrote with --log_samples."
        )
    options = _requests(row)
    try:
        # With --repeats an option is answered several times: the same each time.
        answers = [one[0] if isinstance(one[0], list) else one for one in row["resps"]]
        found = [(float(logprob), str(greedy) == "True") for logprob, greedy in answers]
    except (TypeError, ValueError, LookupError):
        found = []
    if len(options) < 2 or len(found) != len(options):
        raise InputError(
            f"{where} is not a multiple-choice item: it has {len(options)} options and "
            f"{len(found)} log-likelihoods, where two or more of both are needed."
        )
    if not all(math.isfinite(logprob) for logprob, _ in found):
        raise InputError(
            f"{where} has a log-likelihood that is not a finite number: check the model's weights "
            "and dtype, and run lm-eval again."
        )
    # Mutual information asks for each option again without the question.
    half = len(options) // 2
    if options[half:] == [("", text) for _, text in options[:half]]:
        options, found = options[:half], found[:half]
    return Item(where, row, options, found)


def _options(item: Item, task: str, gold: int) -> list[dict[str, Any]]:
    return [
        {
            "benchmark": task,
            "item": str(item.row["doc_id"]),
            "option": number,
            "gold": gold,
            "logprob": logprob,
            "bytes": len(text.encode()),
            "greedy": greedy,
            "request": f"{context}\0{text}",
        }
        for number, ((context, text), (logprob, greedy)) in enumerate(
            zip(item.options, item.found, strict=True)
        )
    ]


# --- What is right --------------------------------------------------------------------------------


def _check_metrics(task: str, items: Sequence[Item]) -> None:
    """Raise InputError for a task whose metrics, as far as we know them, name no right answer."""
    metrics = sorted({name for item in items for name in item.row if name not in FIELDS})
    if metrics and not {*metrics} & {*RIGHT, *PAIRS, "bypass"}:
        raise InputError(
            f"lm-eval scores {task} by {', '.join(metrics)}, and by no accuracy that tells which "
            "option is right: compare its own results, where lower may be better."
        )


def _golds(items: Sequence[Item]) -> list[int]:
    """The right option of each item.

    lm-eval turns the target into text, so that "1" is the option of that number or the one whose
    text it is, and "True" number 1 or a text: whichever reading all items and their own accuracies
    bear out. Raises InputError where none does, or several that differ do.
    """
    if all(item.several_contexts for item in items):
        return [_gold_of_context(item) for item in items]
    borne_out, faults = [], []
    for reading in (_as_number, _as_text, _as_truth):
        golds = []
        for item in items:
            gold = _read(reading, item)
            if fault := _fault(item, gold):
                faults.append((len(golds), gold is not None, fault))
                break
            golds.append(gold)
        else:
            borne_out.append(golds)
    if not borne_out:
        # The reading that went farthest knows best what is wrong.
        raise InputError(max(faults)[-1])
    for other in borne_out[1:]:
        if other != borne_out[0]:
            item = next(i for i, a, b in zip(items, borne_out[0], other, strict=True) if a != b)
            raise InputError(
                f"{item.where} has the target {item.row['target']!r}, which is the number of one "
                "option and the text of another, and nothing in the samples says which is meant."
            )
    return borne_out[0]


def _gold_of_context(item: Item) -> int:
    """The right context of one continuation: lm-eval writes it nowhere but in its accuracy."""
    chosen, right = _chosen(item), _value(item.row.get("acc"))
    if right == 1:
        return chosen
    if right == 0 and len(item.options) == 2:
        return 1 - chosen
    raise InputError(
        f"{item.where} scores one continuation after {len(item.options)} contexts and has acc = "
        f"{right}: which context is right cannot be told."
    )


def _chosen(item: Item, lengths: Sequence[int] | None = None) -> int:
    """The most probable option, of several the first, as lm-eval chooses."""
    each = [logprob for logprob, _ in item.found]
    if lengths is not None:
        each = [value / length for value, length in zip(each, lengths, strict=True)]
    return max(range(len(each)), key=each.__getitem__)


def _read(reading: Callable[[str, list[str]], int | None], item: Item) -> int | None:
    """The index that a target is by one reading, a list of one being that one; None: no option."""
    target = str(item.row["target"])
    number = reading(target, item.texts)
    if number is None and target.startswith("["):
        try:
            one = ast.literal_eval(target)
        except (ValueError, SyntaxError):
            one = ()
        number = reading(str(one[0]), item.texts) if len(one) == 1 else None
    return number if number is not None and 0 <= number < len(item.texts) else None


def _as_number(target: str, texts: list[str]) -> int | None:
    found = re.fullmatch(r"\s*(-?\d+)(?:\.0*)?\s*", target)
    return int(found[1]) if found else None


def _as_text(target: str, texts: list[str]) -> int | None:
    return texts.index(target.strip()) if target.strip() in texts else None


def _as_truth(target: str, texts: list[str]) -> int | None:
    return {"False": 0, "True": 1}.get(target.strip())


def _fault(item: Item, gold: int | None) -> str | None:
    """Why `gold` cannot be the right option of an item: a sentence, or None."""
    row = item.row
    if gold is None:
        return (
            f"{item.where} has the target {row['target']!r}, which is none of its "
            f"{len(item.options)} options: only tasks with one right answer can be read."
        )
    for name in PAIRS & row.keys():  # [what is right, …]
        if isinstance(row[name], list) and row[name] and _value(row[name][0]) not in (gold, None):
            return (
                f"{item.where} says in {name} that the right answer is {row[name][0]}, but its "
                f"target is {gold}: only tasks with one right answer can be read."
            )
    for name, ways in _accuracies(item):
        if (value := _value(row.get(name))) is not None:
            chosen = [_chosen(item, lengths) for lengths in ways]
            if value in [one == gold for one in chosen]:
                return None
            return (
                f"{item.where} says {name} = {row[name]}, but its likelihoods choose option "
                f"{chosen[0]} and its target is {gold}: a task with several right answers, or "
                "scored by a rule of its own, cannot be read."
            )
    return None


def _value(metric: Any) -> float | None:
    """A metric as a number: what lm-eval could not write as one (NumPy's True) it wrote as text."""
    try:
        return float({"True": 1, "False": 0}.get(str(metric), metric))
    except (TypeError, ValueError):
        return None


def _accuracies(item: Item) -> list[tuple[str, list[list[int] | None]]]:
    """lm-eval's accuracies and what each divides the log-likelihoods by, in the ways it may be.

    It divides by the length of an option without what joins it to the question: a space, mostly.
    """
    whole = [text for _, text in item.options]
    ways = [way for way in ([text.removeprefix(" ") for text in whole], whole) if all(way)]
    return [
        ("acc", [None]),
        ("acc_norm", [[len(text) for text in texts] for texts in ways]),
        ("acc_bytes", [[len(text.encode()) for text in texts] for texts in ways]),
    ]


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
