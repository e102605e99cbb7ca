"""Subjects asked batteries: loaded when needed, kept in parts, and gone on with after a stop.

A *subject* is anything that can be measured (`Subject`): a model under a recipe or a checkpoint
(`score.subjects`), an aligned model (`train.dpo_runs.Run`). A *battery* is a question asked of it:
items, and how they are scored (`Battery`). A new kind of either is a file of its own, which nothing
here needs to know.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any, Protocol

from ethical_compression import provenance, store
from ethical_compression.errors import InputError

# Items between two saves: small enough that a killed run loses a minute or two, not an hour.
PART = 250


class Subject(Protocol):
    """What can be measured; two that are equal give the same numbers."""

    @property
    def model(self) -> str:
        """The base model: a name, a folder, or a hub id."""

    @property
    def compression(self) -> str:
        """What was done to it, as tables and figures name it: "full", "GPTQ 4-bit", …"""

    def inputs(self) -> dict[str, Any]:
        """All that decides the model that is measured: JSON-ready, a part of every key."""

    def load(self, *, progress: bool = False):
        """The model and its tokenizer: `models.Loaded`, or what has these two."""


@dataclass(frozen=True)
class Battery:
    """A question: `items`, and `score`, which asks them of a model.

    name: that of the table; batteries of one name are rows of one table. items: dataclasses, named
    tuples, or what JSON knows. score: (model, tokenizer, items, *, progress, **settings), which
    returns a DataFrame, whatever the items asked before; of a paired battery (full model, model,
    tokenizer, items, *, progress, **settings). The code of its module counts in the key, and so
    does all of `settings`. part: items between two saves, None for all at once, where they are no
    items each by itself. title: what a progress bar says, where the name is not enough. again:
    settings under which the numbers differ by rounding alone, which tells the noise; None where
    there are none.
    """

    name: str
    items: Sequence
    score: Callable[..., Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    part: int | None = PART
    paired: bool = False
    title: str = ""
    again: Mapping[str, Any] | None = None

    def __post_init__(self):
        if not len(self.items):
            raise InputError(
                f"There is nothing to ask in {self.title or self.name}: give it at least one item."
            )

    def parts(self) -> Iterator[Sequence]:
        """The items between two saves."""
        size = self.part or len(self.items)
        for begin in range(0, len(self.items), size):
            yield self.items[begin : begin + size]


class Memory:
    """Loads what is asked for, and holds on to `kept` and to the last other subject only."""

    def __init__(self, kept: Subject | None = None):
        self.kept, self.held = kept, []

    def __call__(self, subject: Subject, *, progress: bool = False):
        """What `subject.load` gives, loaded now or before."""
        for one, loaded in self.held:
            if one == subject:
                return loaded
        # Room first: there need not be enough for one more.
        self.held = [pair for pair in self.held if pair[0] == self.kept]
        self.held.append((subject, subject.load(progress=progress)))
        return self.held[-1][1]


def fingerprint(content) -> str:
    """SHA-256 of items or of other JSON-ready content: what a table of scores was computed from."""
    text = json.dumps(content, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(item):
    if is_dataclass(item):
        return asdict(item)
    raise TypeError(f"An item of a battery cannot be told by its content: {item!r}.")


def _loader(subject: Subject) -> Callable:
    return type(subject).load


def measure(
    subject: Subject,
    battery: Battery,
    *,
    full: Subject | None = None,
    memory: Memory | None = None,
    progress: bool = True,
):
    """The table of `battery.score` over all items, with first columns `model` and `compression`.

    Every part is stored as soon as it is scored, so a run that was stopped goes on where it was,
    and nothing is loaded unless a part is missing. full: what a paired battery compares with.
    memory: for several calls that ask the same subjects. Raises InputError for a paired battery
    without `full`, and what loading and scoring raise.
    """
    import pandas as pd

    if battery.paired and full is None:
        raise InputError(
            f"{battery.name} compares two models: say which the full one is with full=…"
        )
    compared = [full, subject] if battery.paired else [subject]
    memory = memory or Memory(full)
    bar = f"{subject.compression} · {battery.title or battery.name}" if progress else None
    inputs = {
        "subjects": [one.inputs() for one in compared],
        "code": [provenance.code_of(made) for made in (battery.score, *map(_loader, compared))],
        "settings": dict(battery.settings),
    }

    def part(items: Sequence):
        @functools.wraps(battery.score)  # the key counts its module's code, as made this
        def scored():
            loaded = [memory(one, progress=progress) for one in compared]
            models, tokenizer = [one.model for one in loaded], loaded[0].tokenizer
            return battery.score(*models, tokenizer, items, progress=bar, **battery.settings)

        return store.table(battery.name, inputs | {"items": fingerprint(items)}, scored)

    table = pd.concat([part(items) for items in battery.parts()], ignore_index=True)
    table.insert(0, "model", subject.model)
    table.insert(1, "compression", subject.compression)
    return table


def grid(
    subjects: Sequence[Subject],
    batteries: Sequence[Battery],
    *,
    full: Subject | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """`measure` of every battery for every subject: a DataFrame a battery's name, stacked.

    One subject is in memory at a time, beside `full` where a battery is paired; such a battery is
    not asked of `full` itself. Raises InputError as `measure`, and for two subjects that their
    table could not tell apart.
    """
    import pandas as pd

    told = [(one.model, one.compression) for one in subjects]
    if twice := next((one for one in told if told.count(one) > 1), None):
        raise InputError(
            f"Two subjects are called {twice[1]!r} of {twice[0]}, and would be averaged together: "
            "measure them apart, or give them labels of their own."
        )
    memory = Memory(full if any(one.paired for one in batteries) else None)
    tables: dict[str, list] = {one.name: [] for one in batteries}
    for subject in subjects:
        for battery in batteries:
            if not (battery.paired and subject == full):
                found = measure(subject, battery, full=full, memory=memory, progress=progress)
                tables[battery.name].append(found)
    return {name: pd.concat(some, ignore_index=True) for name, some in tables.items() if some}
