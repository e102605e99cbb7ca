"""What a samples file of lm-evaluation-harness holds, in any version of it, and what is right.

lm-eval writes its target as text: which option that is, all items and their own accuracies tell.
"""

import ast
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ethical_compression.datasets.files import read_rows
from ethical_compression.errors import InputError

NEEDED = ("doc_id", "target", "arguments", "resps")
# What a sample holds besides its metrics, in any version.
FIELDS = {*NEEDED, "doc", "filtered_resps", "filter", "metrics"}
FIELDS |= {"doc_hash", "prompt_hash", "target_hash"}
# lm-eval's metrics of a choice among options one of which is right; "bypass" is --predict_only's.
RIGHT = {"acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match"}
# These keep the right answer itself, beside what was chosen or how probable it was.
PAIRS = {"f1", "mcc", "brier_score", "likelihood"}
# Fields of a data set's own rows that name a group of items, as lm-eval's tasks have them.
GROUPS = ("category", "bias_type", "subject", "group")


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
    def group(self) -> str | None:
        """Whom the item is about, or of what subject it is, where its data set says so."""
        doc = self.row.get("doc")
        said = [doc.get(name) for name in GROUPS] if isinstance(doc, Mapping) else []
        return next((one for one in said if isinstance(one, str) and one), None)

    @property
    def several_contexts(self) -> bool:
        """Whether one continuation is scored after several contexts, as Winogrande's is."""
        return len({text for _, text in self.options}) == 1 < len(set(self.options))


def rows_of(file: Path) -> list[dict[str, Any]]:
    """The samples in a file; InputError where there are none."""
    rows = read_rows(file)
    if not rows:
        raise InputError(f"{file} holds no samples: run lm-eval with --log_samples again.")
    return rows


def tables_of(task: str, files: Sequence[Path]) -> list[pd.DataFrame]:
    """The scores table of one task from each of its files, the target read alike in all of them."""
    runs = []
    for file in files:
        rows = rows_of(file)
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


def requests_of(row: Mapping[str, Any]) -> list[tuple[str, str]]:
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
    options = requests_of(row)
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
            "group": item.group,
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
