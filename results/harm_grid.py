"""Make harm_grid.parquet: every method against every harm, on the embedded model, item by item.

    python results/harm_grid.py                      all: hours on two cores
    python results/harm_grid.py --minutes 60         as far as an hour goes
    python results/harm_grid.py --stored             again, from the scores in the cache alone

At least 40 items a group, two draws of the calibration text, bfloat16 (in which the model was
trained; the full model is asked in float32 too). The table is written after every compression, and
one that is in it is not made again: a run that was stopped, on this machine or another, goes on
where it was. It holds scores only; an item is its number in its data set.
"""

import argparse
import sys
import time

import pandas as pd

from ethical_compression import kept_tables, models
from ethical_compression.errors import InputError
from ethical_compression.score import batteries, harm_grid
from ethical_compression.score.runs import Memory

MODEL, BLOCKS = "smollm2-135m", 30
EACH, SEEDS, DTYPE = 40, 2, "bfloat16"
READS = {"calibration": "xsum", "source": "embedded", "samples": 16, "length": 256}
SETTINGS = {"each": EACH, "seeds": SEEDS, "dtype": DTYPE, "reads": READS}


def before() -> list[pd.DataFrame]:
    """What was made before, with these settings."""
    found = kept_tables.earlier("harm_grid", SETTINGS)
    columns = set(harm_grid.KEYS + harm_grid.VALUES)
    return [found[0]] if found and columns <= set(found[0].columns) else []


def refuse(subject, *, progress: bool = False):
    """In place of a memory: what is not in the cache is left out."""
    raise InputError(f"{subject.compression} was not asked everything yet.")


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given.add_argument("--minutes", type=float, default=float("inf"))
    given.add_argument("--stored", action="store_true", help="make no compression that is waiting")
    chosen = given.parse_args()
    end = time.monotonic() + 60 * chosen.minutes
    every, missing = harm_grid.asked(EACH)
    parts = harm_grid.parts(MODEL, harm_grid.recipes(BLOCKS, **READS), seeds=SEEDS, dtype=DTYPE)
    memory, tables = refuse if chosen.stored else Memory(parts[0]), before()
    done = {name for table in tables for name in table["compression"].unique()}
    for part in parts:
        if part.compression in done:
            continue
        if time.monotonic() > end:
            break
        began = time.process_time()
        try:
            tables.append(harm_grid.records(part, parts[0], every, memory=memory, progress=False))
        except InputError as error:
            # One that cannot be made now stays among those that wait: the others need not.
            if not chosen.stored:
                print(f"{part.compression} is left out: {error}", file=sys.stderr, flush=True)
            continue
        done.add(part.compression)
        waiting = [one.compression for one in parts if one.compression not in done]
        kept_tables.keep_larger(
            "harm_grid",
            harm_grid.merged(tables),
            command="python results/harm_grid.py",
            model=models.describe(MODEL),
            settings=SETTINGS,
            recipes={
                one.compression: one.recipe.inputs() for one in parts if one.compression in done
            },
            waiting=waiting,
            missing=missing,
            data=batteries.source_records(list(harm_grid.GROUPS)),
        )
        spent = time.process_time() - began
        print(
            f"{part.compression}: {spent:.0f} s, {len(waiting)} to go", file=sys.stderr, flush=True
        )


if __name__ == "__main__":
    main()
