"""What an audit gives its models to read, counted on a small stand-in: tokens, pairs and places."""

import pandas as pd

from ethical_compression import store
from ethical_compression.audit import run
from ethical_compression.compress.recipe import Recipe
from ethical_compression.metrics.costs import Work
from ethical_compression.score import runs
from ethical_compression.score.counted import counted, summed
from ethical_compression.score.subjects import Compressed


def counts(
    stand_in: str = "tiny-random-llama",
    *,
    names: list[str] | None = None,
    each: int = 40,
    seed: int = 0,
) -> pd.DataFrame:
    """A row a battery, subject and data type of an audit: `title`, `subject`, `dtype`, `items`,
    `noise` (whether it is read for the noise floor) and the fields of `Work`.

    An audit of the stand-in is gone through, and each batch is counted in place of being run: the
    questions, their tokens and the passes are those of an audit of any model with its tokenizer (a
    wider model may put a few more answers into one row). Items asked twice are read once. names,
    each, seed: those of `run.audit`, which says what is raised.
    """
    full = Compressed(stand_in)
    other = Compressed(stand_in, Recipe("rtn", bits=4, group_size=32))

    def watched():
        rows: dict[tuple, dict] = {}
        run.audit(
            full,
            other,
            names=names,
            each=each,
            seed=seed,
            progress=False,
            measure=lambda *asked, **how: _measure(rows, *asked, **how),
        )
        return pd.DataFrame(rows.values())

    inputs = {"names": names, "each": each, "seed": seed, "model": full.inputs()}
    return store.table("audit-counts", inputs, watched)


def _measure(rows: dict, subject, battery, *, full, memory, **_) -> pd.DataFrame:
    """`runs.measure` without the store, which would hide what was read before; adds to `rows`."""
    compared = [full, subject] if battery.paired else [subject]
    key = (subject.compression, battery.name, runs.fingerprint(list(battery.items)))
    key += (runs.fingerprint(dict(battery.settings)),)
    again = bool(battery.again) and battery.again.items() <= battery.settings.items()
    loaded = [memory(one) for one in compared]
    with counted(dry=True) as seen:
        models, tokenizer = [one.model for one in loaded], loaded[0].tokenizer
        table = battery.score(*models, tokenizer, battery.items, **battery.settings)
    row = {
        "title": battery.title or battery.name,
        "subject": subject.compression,
        "dtype": subject.dtype,
        "items": len(battery.items),
        "noise": subject.dtype != full.dtype or again,
    }
    found = summed(seen)
    if battery.paired and subject.dtype != full.dtype:
        # Half of it is the full model's own reading.
        found = Work(*(count // 2 for count in found))
        own = {**row, "dtype": full.dtype, **found._asdict()}
        rows.setdefault((*key, "full"), own)
    rows.setdefault(key, row | found._asdict())
    return table
