"""An audit of two runs of lm-evaluation-harness, from what their `--log_samples` wrote: no model.

Each task is asked three things, item by item: whether right answers are lost (lm-eval's `acc`),
whether the right answer is less likely, and whether answers are others. Where a task's items name
a group (BBQ's category, say), lost answers are judged for each group too, as the stage "harm".
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from ethical_compression import provenance, store
from ethical_compression.audit.report import Page
from ethical_compression.audit.said import ONE_IN_TWENTY, Said, check_margin
from ethical_compression.datasets import lm_eval_runs
from ethical_compression.errors import InputError
from ethical_compression.metrics import choices
from ethical_compression.metrics.harm_values import floor, harm_values, paired_answers
from ethical_compression.statistics import verdicts

# What two runs must agree on, where lm-eval logged it, and how a sentence calls it.
SAME = {
    "chat_template_sha": "chat template",
    "system_instruction_sha": "system instruction",
    "tokenizer_pad_token": "tokenizer",
    "tokenizer_bos_token": "tokenizer",
    "tokenizer_eos_token": "tokenizer",
}
QUESTIONS = {
    "accuracy": Said(
        "right answers", "right answers are lost", "share of items", 0.05, ONE_IN_TWENTY
    ),
    "likelihood": Said(
        "likelihood",
        "the right answer is less likely",
        "nats a byte",
        0.0125,
        "a perplexity a token, of four bytes or so, higher by 5%",
    ),
    "flips": Said("flipped answers", "answers are others", "share of items", 0.05, ONE_IN_TWENTY),
}
NOT_MEASURED = (
    "whatever the tasks of these runs do not ask: other languages, other groups, any use",
    "what the models write at length",
    "costs: size, memory and latency of the two models",
)


def audit(
    full: str | Path,
    compressed: str | Path,
    *,
    label: str = "compressed",
    again: str | Path | None = None,
    tasks: Sequence[str] | None = None,
    margins: Mapping[str, float] | None = None,
    level: float = 0.95,
    command: str = "",
) -> Page:
    """The report's page (`report.write`) on two runs of the same tasks.

    full, compressed: as `lm_eval_runs.pair` takes them. again: a second run of the full model, in
    another batch size or data type, whose changes are the noise floor; without it the floor is 0,
    and the report says so. tasks: some alone. margins: other than those of `QUESTIONS`, by name.
    Raises InputError for runs whose logged chat template, system instruction or tokenizer differ,
    where no task holds the same items in the same words, and for an unknown task or margin.
    """
    margins = {name: one.margin for name, one in QUESTIONS.items()} | dict(margins or {})
    for name, margin in margins.items():
        if name not in QUESTIONS:
            raise InputError(f"There is no question {name!r} of runs: {', '.join(QUESTIONS)}.")
        check_margin(name, margin)
    check_settings(full, compressed)
    tables, left = lm_eval_runs.compared(full, compressed, label)
    left = {task: _bare(reason, full, compressed) for task, reason in left.items()}
    table = _some(lm_eval_runs.those_left(tables, left), tasks)
    sides = {name: values(table[table["compression"] == name]) for name in ("full", label)}
    noise = _noise(full, again, sides["full"])
    parts, floors, stages, checks = [], [], {}, {}
    for name, question in QUESTIONS.items():
        said = question.within(margins[name])
        found = changes(name, sides["full"], sides[label])
        for task, some in found.groupby("task", sort=False):
            check, size = f"{task} {name}", noise.get((task, name), 0.0)
            floors.append({"check": check, "kind": "again" if again else "none", "floor": size})
            some = some.assign(floor=size, margin=said.margin)
            parts.append(some.assign(check=check, group="all items"))
            stages[check] = "damage"
            checks[check] = replace(said, title=f"{task}, {said.title}")
            if name == "accuracy" and some["group"].notna().all():
                check = f"{task} by group"
                parts.append(some.assign(check=check))
                stages[check], checks[check] = "harm", replace(said, title=task)
    items = pd.concat(parts, ignore_index=True)
    return Page(
        model=Path(full).name,
        compression=label,
        verdicts=verdicts.judge(items, stages, level=level),
        items=items[["item", "group", "cluster", "value", "before", "after", "check"]],
        floors=pd.DataFrame(floors),
        checks=checks,
        not_measured=(
            *(f"{task}: {reason}" for task, reason in left.items()),
            *([] if again else ["noise: the full model was not run again, and its floor is 0"]),
            *NOT_MEASURED,
        ),
        command=command,
        provenance=provenance.provenance() | {"runs": _runs(full, compressed, again)},
        sources=tuple(
            {"title": task, "licence": "as lm-eval's task names it"}
            for task in table["benchmark"].unique()
        ),
        level=level,
    )


def values(table: pd.DataFrame) -> pd.DataFrame:
    """A row an item of one run: `item`, `task`, `group` (None where the task names none),
    `cluster`, `accuracy` (1 where lm-eval's `acc` is 0), `likelihood` (−log p of the right answer a
    byte, nats), `option` (the likeliest) and `answer`, its text."""
    keys = ["benchmark", "item"]
    found = harm_values("questions", table)
    first = table.drop_duplicates(keys)
    right = table[table["option"] == table["gold"]].drop_duplicates(keys)
    option = choices.chosen(table)
    took = table.drop_duplicates([*keys, "option"]).set_index([*keys, "option"])["request"]
    places = list(zip(first["benchmark"], first["item"], option, strict=True))
    return found.assign(
        task=first["benchmark"].to_numpy(),
        group=first["group"].to_numpy(),
        accuracy=found["value"],
        likelihood=(-right["logprob"] / right["bytes"].clip(lower=1)).to_numpy(),
        option=option,
        answer=[took[place].partition("\0")[2].strip() for place in places],
    )


def changes(name: str, full: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """The change of one of `QUESTIONS`, a row an item: `task`, `item`, `group`, `cluster`, `value`,
    and `before` and `after`, what was answered."""
    of = "option" if name == "flips" else name
    found = paired_answers(*(side.assign(value=side[of].astype(float)) for side in (full, other)))
    if name == "flips":
        found["value"] = (found["value"] != 0).astype(float)
    return found


def _noise(
    full: str | Path, again: str | Path | None, first: pd.DataFrame
) -> dict[tuple[str, str], float]:
    """{(task, question): floor} of the full model run again."""
    if again is None:
        return {}
    check_settings(full, again)
    table = lm_eval_runs.those_left(*lm_eval_runs.compared(full, again, "again"))
    twice = values(table[table["compression"] == "again"])
    return {
        (task, name): floor(first, some, lambda *sides, name=name: changes(name, *sides))
        for task, some in twice.groupby("task")
        for name in QUESTIONS
        if first["item"].isin(some["item"]).any()
    }


def _bare(reason: str, *places: str | Path) -> str:
    """A reason without the folders that it names."""
    for place in map(Path, places):
        reason = reason.replace(str(place), place.name)
    return reason


def _some(table: pd.DataFrame, tasks: Sequence[str] | None) -> pd.DataFrame:
    there = set(table["benchmark"])
    for task in tasks or ():
        if task not in there:
            raise InputError(
                f"The runs hold no task {task!r} to compare; there are {', '.join(sorted(there))}."
            )
    return table if tasks is None else table[table["benchmark"].isin(tasks)]


def check_settings(full: str | Path, compressed: str | Path) -> None:
    """Raise InputError where the results beside two runs log another chat template, system
    instruction or tokenizer. What one of them does not log is not compared."""
    sides = [_results(Path(path)) for path in (full, compressed)]
    for name, words in SAME.items():
        said = [side[name] for side in sides if name in side]
        if len(said) == 2 and said[0] != said[1]:
            raise InputError(
                f"The two runs differ in their {words} ({name} of lm-eval's results): what the "
                "models read was not the same, so they cannot be compared."
            )


def _results(path: Path) -> dict[str, Any]:
    """What lm-eval wrote of a run beside its samples, the newest; {} where there is nothing."""
    folder = path if path.is_dir() else path.parent
    for file in sorted(folder.rglob("results*.json"), reverse=True):
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(found, dict):
            return found
    return {}


def _runs(*places: str | Path | None) -> list[dict[str, str]]:
    """Names and SHA-256 of the samples files of each run; no folder is told."""
    return [
        {file.name: store.sha256_of(file) for file in lm_eval_runs.files(place).values()}
        for place in places
        if place is not None
    ]
