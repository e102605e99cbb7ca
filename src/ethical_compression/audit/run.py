"""Both models asked, the noise measured, and verdicts: `audit`."""

import datetime
import functools
import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from ethical_compression import provenance, store
from ethical_compression.audit import report
from ethical_compression.audit.checks import CHECKS, Check
from ethical_compression.audit.kinds import CAUSAL, Kind
from ethical_compression.audit.said import Said, check_margin
from ethical_compression.errors import InputError
from ethical_compression.metrics.harm_values import floor
from ethical_compression.score import batteries, runs
from ethical_compression.score.runs import Battery, Memory, Subject
from ethical_compression.statistics import verdicts

# Items a check is asked again of, for its noise floor: rounding shows on few.
NOISE_ITEMS = 60
UNCOSTED = ("costs: size, memory and latency of the two models",)
# For the plan alone: how long a token of English is, about.
LETTERS_A_TOKEN = 4


@dataclass(frozen=True)
class Audit:
    """What came of it: `verdicts` (`statistics.verdicts.judge`), `items`, a row an item and check
    (`checks.COLUMNS` and `check`), `floors`, a row a check and kind of noise, `left_out`, checks
    whose data are not here, and the `seconds` it took to ask the models, now or before."""

    full: Subject
    compressed: Subject
    verdicts: pd.DataFrame
    items: pd.DataFrame
    floors: pd.DataFrame
    left_out: tuple[str, ...]
    each: int
    seed: int
    level: float
    seconds: float
    kind: Kind = CAUSAL


def check_comparable(
    full: Subject, compressed: Subject, memory: Memory, progress: bool, kind: Kind = CAUSAL
) -> None:
    """Raise InputError unless both models are of the kind and read text alike: one vocabulary, one
    chat form, and classifiers one list of labels."""
    marks = []
    for one in (full, compressed):

        def mark(one=one):
            loaded = memory(one, progress=progress)
            kinds = getattr(getattr(loaded.model, "config", None), "architectures", None) or []
            classifies = bool(kinds) and all("Classification" in name for name in kinds)
            if classifies and not kind.classifies:
                raise InputError(
                    f"{one.compression} is a classifier ({kinds[0]}), and the full model is none: "
                    "compare a classifier with the one that it was made of."
                )
            tokenizer = loaded.tokenizer
            if tokenizer is None:
                raise InputError(f"{one.compression} has no tokenizer: put it into its folder.")
            said = [sorted(tokenizer.get_vocab().items()), getattr(tokenizer, "chat_template", "")]
            said.append(list(loaded.model.config.id2label.items()) if kind.classifies else "")
            parts = [hashlib.sha256(json.dumps(part).encode()).hexdigest() for part in said]
            return pd.DataFrame([parts], columns=["vocabulary", "chat template", "labels"])

        marks.append(store.table("tokenizer", one.inputs(), mark).iloc[0])
    for what in marks[0].index:
        if marks[0][what] != marks[1][what]:
            raise InputError(
                f"{full.compression} and {compressed.compression} differ in their {what}: what "
                "they are asked would not be the same text, so they cannot be compared."
            )


def asked(
    names: Sequence[str] | None, each: int, seed: int, checks: Mapping[str, Check] = CHECKS
) -> tuple[dict[str, tuple[Check, Battery]], tuple[str, ...]]:
    """The checks with what they ask, and those left out, with the reason.

    Left out is only what nobody named: a check whose data are not on this machine.
    Raises InputError for an unknown name, for a named check without its data, and for none left.
    """
    found, left = {}, []
    for name, check in chosen(names, checks).items():
        try:
            found[name] = check, check.battery(each, seed)
        except InputError as error:
            if names is not None:
                raise
            left.append(f"{check.title}: {error}")
    if not found:
        raise InputError(f"No check has its data here: {left[0]}")
    return found, tuple(left)


def chosen(names: Sequence[str] | None, checks: Mapping[str, Check] = CHECKS) -> dict[str, Check]:
    """The checks of these names, all for None. Raises InputError for an unknown one."""
    from ethical_compression.datasets.files import known

    for name in names or ():
        known("check", name, checks)
    return {name: check for name, check in checks.items() if names is None or name in names}


def check_margins(
    margins: Mapping[str, float],
    names: Sequence[str] | None,
    checks: Mapping[str, Check] = CHECKS,
) -> None:
    """Raise InputError unless each margin is a number above 0, of a check that is asked."""
    asked_of = chosen(names, checks)
    for name, margin in margins.items():
        chosen([name], checks)
        if name not in asked_of:
            raise InputError(
                f"The check {name!r} has a margin and is not asked: add it, or leave it out."
            )
        check_margin(name, margin)


def audit(
    full: Subject,
    compressed: Subject,
    *,
    names: Sequence[str] | None = None,
    each: int = 40,
    seed: int = 0,
    margins: Mapping[str, float] | None = None,
    level: float = 0.95,
    progress: bool = True,
    tell: Callable[[str], None] = lambda line: None,
    measure: Callable[..., pd.DataFrame] = runs.measure,
    memory: Memory | None = None,
    kind: Kind = CAUSAL,
) -> Audit:
    """Ask both models every check, and come to a verdict a check and group.

    each: items a group, as far as a data set has them; seed: which. margins: other than the
    checks' own, by name. tell: is given a line a check, before it is asked. Every part is kept in
    the store as soon as it is scored: stopped and started again, it goes on. measure: how a subject
    is asked a battery. memory: what holds loaded models, where the caller has one. kind: of both
    models, which decides what there is to ask.

    The floor of a check is the largest mean change, over `NOISE_ITEMS` of its items, of the full
    model against itself with every text a row of its own, and in bfloat16.
    Raises InputError for unknown names, models that read text differently, fewer than one item, and
    a margin that is not above 0.
    """
    if each < 1:
        raise InputError(f"An audit needs an item a group at least, not {each}.")
    margins = dict(margins or {})
    check_margins(margins, names, kind.checks)
    questions, left_out = asked(names, each, seed, kind.checks)
    memory = memory or Memory(full)
    check_comparable(full, compressed, memory, progress, kind)
    ask = functools.partial(measure, full=full, memory=memory, progress=progress)
    sides, floors, changes, started = {}, [], [], store.seconds_spent()
    for number, (name, (check, battery)) in enumerate(questions.items(), 1):
        tell(f"{number} of {len(questions)}: {check.title}, {len(battery.items)} items")
        sides[name] = changed(check, battery, full, compressed, ask)
    # Noise comes after all of them: then each model is loaded once.
    tell("The noise: the full model against itself")
    for name, (check, battery) in questions.items():
        first, change = sides[name]
        found = noise(check, battery, first, full, ask)
        floors += [{"check": name, "kind": kind, "floor": size} for kind, size in found.items()]
        said = {"floor": max(found.values()), "margin": margins.get(name, check.margin)}
        changes.append(change.assign(check=name, **said))
    items = pd.concat(changes, ignore_index=True)
    stages = {name: check.stage for name, (check, _) in questions.items()}
    judged = verdicts.judge(items, stages, level=level)
    return Audit(
        full,
        compressed,
        judged.assign(full=_levels(judged, questions, sides)),
        items.drop(columns=["floor", "margin"]),
        pd.DataFrame(floors),
        left_out,
        each,
        seed,
        level,
        store.seconds_spent() - started,
        kind,
    )


def changed(
    check: Check, battery: Battery, full: Subject, compressed: Subject, ask: Callable
) -> tuple[pd.DataFrame | None, pd.DataFrame]:
    """The full model's values of a check, None of a paired battery, and its change, a row an item
    (`checks.COLUMNS`). ask: (subject, battery) -> its table."""
    if battery.paired:
        return None, check.values(ask(compressed, battery), battery.items)
    first, other = (check.values(ask(one, battery), battery.items) for one in (full, compressed))
    return first, check.change(first, other)


def _levels(judged: pd.DataFrame, questions: Mapping, sides: Mapping) -> list[float]:
    """The full model's measure in each row of the verdicts; NaN where its check names none."""
    found = {
        name: 1 - sides[name][0].groupby("group")["value"].mean()
        for name, (check, _) in questions.items()
        if check.measure
    }
    pairs = zip(judged["check"], judged["group"], strict=True)
    return [float(found[name][group]) if name in found else math.nan for name, group in pairs]


def noise(
    check: Check, battery: Battery, first: pd.DataFrame | None, full: Subject, ask: Callable
) -> dict[str, float]:
    """How far the full model is from itself (`harm_values.floor`), by kind of noise: over some
    items, drawn from all groups. first, ask: of `changed`."""

    def values(subject: Subject, asked: Battery) -> pd.DataFrame:
        return check.values(ask(subject, asked), asked.items)

    few = batteries.some_of(battery, NOISE_ITEMS)
    other = replace(full, dtype="bfloat16", label="bfloat16") if _is_float32(full) else None
    if battery.paired:  # both models are read in one and the same batch: that is no noise here
        found = {"bfloat16": abs(float(values(other, few)["value"].mean()))} if other else {}
        return found or {"none": 0.0}
    again = {"batch": (full, batteries.in_other_arithmetic(few))}
    if other:
        again["bfloat16"] = (other, few)
    return {kind: floor(first, values(*one), check.change) for kind, one in again.items()}


def _is_float32(subject: Subject) -> bool:
    return getattr(subject, "dtype", None) == "float32"


def sized(
    full: Subject,
    names: Sequence[str] | None,
    each: int,
    seed: int = 0,
    minutes: float | None = None,
    memory: Memory | None = None,
    kind: Kind = CAUSAL,
) -> tuple[int, pd.DataFrame]:
    """Items a group, fewer than `each` where that takes more than `minutes`, and the plan: a row a
    check, `check`, `items`, `seconds`.

    The rate is measured, once a day on a machine: of the full model, which `memory` may hold, on a
    text. What a battery reads is told by its letters. Both models read it; the noise floor reads a
    part of it three times more. At least ten items a group stay, since fewer have no test.
    """
    rate = _letters_a_second(full, memory or Memory(full), kind)
    plan = _plan(asked(names, each, seed, kind.checks)[0], rate)
    if minutes is not None and (needed := plan["seconds"].sum() / 60) > minutes:
        each = max(verdicts.LEAST_ITEMS, int(each * minutes / needed))
        plan = _plan(asked(names, each, seed, kind.checks)[0], rate)
    return each, plan


def _letters_a_second(full: Subject, memory: Memory, kind: Kind) -> float:
    def rate():
        loaded = memory(full)
        text = "The plan of an audit is measured on this sentence, again and again. " * 25
        taken = []
        for _ in range(3):  # the first pays for what is done once
            begun = time.perf_counter()
            kind.read(loaded, text)
            taken.append(time.perf_counter() - begun)
        return pd.DataFrame({"letters": [len(text) / min(taken)]})

    # A machine that was busy when it was measured is not held to that for ever.
    today = datetime.date.today().isoformat()
    here = {"subject": full.inputs(), "machine": provenance.hardware(), "day": today}
    here["offload"] = getattr(full, "offload", False)
    return float(store.table("letters-a-second", here, rate)["letters"].iloc[0])


def _plan(questions: Mapping[str, tuple[Check, Battery]], rate: float) -> pd.DataFrame:
    rows, seen = [], set()
    for name, (_, battery) in questions.items():
        letters = sum(_letters(item) for item in battery.items)
        if "window" in battery.settings:  # a text that is read up to some window
            read = battery.settings["window"] * battery.settings["max_windows"]
            letters = min(letters, read * LETTERS_A_TOKEN)
        share = 1 if battery.part is None else min(1, NOISE_ITEMS / len(battery.items))
        # Two checks may ask the same of the same items, which is scored once.
        which = battery.name, runs.fingerprint(list(battery.items))
        passes = 0 if which in seen else 2 + 3 * share
        seen.add(which)
        seconds = passes * letters / rate
        rows.append({"check": name, "items": len(battery.items), "seconds": seconds})
    return pd.DataFrame(rows)


def _letters(item) -> int:
    """Letters that an item holds, in whatever field."""
    if isinstance(item, str):
        return len(item)
    values = vars(item).values() if hasattr(item, "__dict__") else item
    return sum(_letters(value) for value in values if isinstance(value, str | tuple | list))


def costs(
    full: Subject, compressed: Subject, memory: Memory | None = None, kind: Kind = CAUSAL
) -> tuple[dict[str, str], ...]:
    """Memory of both models and seconds a generated token, or a post, in words: measured on this
    machine, once and with both loaded, which `memory` may hold."""
    both, memory = {"full": full, "compressed": compressed}, memory or Memory(full)

    def measured():
        from ethical_compression.compress import report

        loaded = {name: memory(one) for name, one in both.items()}
        what, timed = kind.timed
        taken = timed(loaded)
        held = {name: report.memory(one.model) / 2**20 for name, one in loaded.items()}
        times = {
            name: f"{1000 * one['median']:.1f} ms ({1000 * one['low']:.1f} to "
            f"{1000 * one['high']:.1f})"
            for name, one in taken.items()
        }
        return pd.DataFrame(
            [
                {"what": "memory of the weights, as loaded here"}
                | {name: f"{size:,.0f} MiB" for name, size in held.items()},
                {"what": f"{what}, median (quartiles)"} | times,
            ]
        )

    subjects = {name: one.inputs() for name, one in both.items()}
    here = {"subjects": subjects, "machine": provenance.hardware()}
    return tuple(store.table("costs", here, measured).to_dict("records"))


def _said(check: Check, margin: float) -> Said:
    own = Said(check.title, check.question, check.unit, check.margin, check.reason, check.measure)
    return own.within(margin)


def page(
    found: Audit, *, command: str = "", measured: bool = True, memory: Memory | None = None
) -> report.Page:
    """The report's page of an audit; measured: whether costs are measured for it, which loads both
    models at once; memory: what may hold them."""
    margins = found.verdicts.drop_duplicates("check").set_index("check")["margin"]
    named = list(margins.index)
    asked_of = chosen(named, found.kind.checks)
    known, missing = found.kind.notes(found)
    records = [record for name in named for record in found.kind.checks[name].records()]
    return report.Page(
        model=found.full.model,
        compression=found.compressed.compression,
        verdicts=found.verdicts,
        items=found.items,
        floors=found.floors,
        checks={name: _said(one, float(margins[name])) for name, one in asked_of.items()},
        not_measured=(
            *found.left_out,
            *missing,
            *found.kind.not_measured,
            *(() if measured else UNCOSTED),
        ),
        known=known,
        task=found.kind.task,
        caveat=found.kind.describe(found.full.model)["caveat"],
        command=command,
        provenance=provenance.provenance()
        | {
            "full": found.full.inputs(),
            "compressed": found.compressed.inputs(),
            "items a group": found.each,
            "seed": found.seed,
            "seconds of scoring": round(found.seconds, 1),
        },
        sources=tuple(one for k, one in enumerate(records) if one not in records[:k]),
        costs=costs(found.full, found.compressed, memory, found.kind) if measured else (),
        level=found.level,
    )
