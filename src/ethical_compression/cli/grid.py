"""`grid` asks a model, under every compression, about every harm: a shard of it, or all; and puts
shards together."""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from ethical_compression import kept_tables, store
from ethical_compression.chapters.by_hand import NOTEBOOKS
from ethical_compression.chapters.run import chapter_parameters, resolve
from ethical_compression.cli.given import add_changes, place
from ethical_compression.errors import InputError

EXAMPLES = """\
examples:
  all of it                  grid smollm2-135m --output grid.parquet
  the first of two shards    grid smollm2-135m --shard 1/2 --output one.parquet
  shards put together        grid smollm2-135m --merge one.parquet two.parquet --output all.parquet

What is asked is what the chapter `grid` declares, as the profile or -p changes it. Every part is
kept as soon as it is scored: started again, the same command goes on."""
CHAPTER = NOTEBOOKS / "grid.ipynb"


def add(commands) -> None:
    """Tell the parser of the command."""
    command = commands.add_parser("grid", help="every method against every harm")
    command.about = lambda: EXAMPLES
    command.add_argument("model", help="an embedded model, a folder, or a hub id")
    command.add_argument("--profile", default="laptop", help="a file of notebooks/profiles")
    how = command.add_mutually_exclusive_group()
    how.add_argument("--shard", type=_shard, default=(1, 1), metavar="K/N", help="1/1")
    how.add_argument("--merge", type=place, nargs="+", metavar="FILE", help="of these shards")
    add_changes(command, "NAME")
    command.add_argument("--output", type=place, required=True, help="a file, .parquet")
    command.set_defaults(
        func=_grid,
        interrupted="{output} was not written; what was scored is kept, and the same command goes "
        "on.",
    )


def _shard(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)/(\d+)", text, re.ASCII)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise argparse.ArgumentTypeError(f"give a shard as 2/4, the second of four, not {text!r}")
    return int(found[1]), int(found[2])


def _grid(given: argparse.Namespace) -> None:
    if given.output.suffix != ".parquet":
        raise InputError(f"{given.output} must end in .parquet, as which the table is written.")
    store.check_place(given.output)
    if given.merge:
        _merge(given.model, given.merge, given.output)
    else:
        settings = {name: one.default for name, one in chapter_parameters(CHAPTER).items()}
        settings |= resolve(CHAPTER, given.profile, dict(given.changes))
        _make(given.model, settings, given.shard, given.output)


def _make(model: str, asked: dict[str, Any], shard: tuple[int, int], output: Path) -> None:
    from ethical_compression import models
    from ethical_compression.compress.recipe import Recipe
    from ethical_compression.models.anatomy import transformer_blocks
    from ethical_compression.score import batteries, harm_grid
    from ethical_compression.score.runs import Memory
    from ethical_compression.score.subjects import Compressed

    reads = {"calibration": asked["calibration"], "source": asked["text_source"]}
    reads |= {"samples": asked["calibrated"], "length": asked["length"]}
    if asked["dtype"] == "fast":  # the noise of a grid is what bfloat16 differs from float32 by
        asked = asked | {"dtype": "bfloat16"}
    how = {"dtype": asked["dtype"], "device": asked["device"]}
    full = Compressed(model, Recipe(), **how)
    memory = Memory(full)
    if asked["recipes"]:
        wanted = harm_grid.reading(asked["recipes"], **reads)
    else:
        count = len(transformer_blocks(memory(full).model))
        wanted = harm_grid.recipes(count, asked["group_size"], **reads)
    parts = harm_grid.parts(model, wanted, seeds=asked["seeds"], **how)
    every, missing = harm_grid.asked(
        asked["each"], samples=asked["samples"], length=asked["tokens"], seed=asked["seed"]
    )
    mine = harm_grid.shard(parts, *shard)
    tables, made, refused = [harm_grid.none()], {}, {}
    for number, part in enumerate(mine, 1):
        print(f"{part.compression}: {number} of {len(mine)} …", file=sys.stderr, flush=True)
        try:
            tables.append(
                harm_grid.records(
                    part, parts[0], every, memory=memory, progress=sys.stderr.isatty()
                )
            )
        except InputError as error:
            # One that this model does not allow keeps no other from being made, and is told.
            print(f"{part.compression} is left out: {error}", file=sys.stderr, flush=True)
            refused[part.compression] = str(error)
        else:
            made[part.compression] = part.recipe.inputs()
    names = ("each", "seeds", "samples", "tokens", "group_size", "dtype", "seed")
    kept_tables.keep(
        output,
        harm_grid.merged(tables),
        command=f"ethical-compression grid {model}",
        model=models.describe(model),
        settings={name: asked[name] for name in names} | {"reads": reads},
        parts=[part.compression for part in parts],
        recipes=made,
        refused=refused,
        waiting=[part.compression for part in parts if part.compression not in made],
        missing=missing,
        data=batteries.source_records(
            [one.name for one in every if one.name in batteries.BATTERIES]
        ),
    )


def _merge(model: str, files: list[Path], output: Path) -> None:
    from ethical_compression.score import harm_grid

    tables, notes = zip(*map(kept_tables.read, files), strict=True)
    first = notes[0]
    for file, note in zip(files, notes, strict=True):
        if note["model"]["name"] != model:
            raise InputError(f"{file} is a grid of {note['model']['name']}, not of {model}.")
        if any(note[name] != first[name] for name in ("settings", "parts", "model", "missing")):
            raise InputError(
                f"{file} was made with other settings than {files[0]}: make both with the same."
            )
    made = {name: one for note in notes for name, one in note["recipes"].items()}
    told = ("command", "model", "settings", "parts", "missing", "data")
    kept_tables.keep(
        output,
        harm_grid.merged(tables),
        **{name: first[name] for name in told},
        recipes=made,
        refused={name: why for note in notes for name, why in note["refused"].items()},
        waiting=[name for name in first["parts"] if name not in made],
    )
    waiting = len(first["parts"]) - len(made)
    print(
        f"{output}: {len(made)} of {len(first['parts'])} parts"
        f"{f', {waiting} waiting' if waiting else ''}.",
        file=sys.stderr,
    )
