"""`score` asks one model, in full or compressed, questions by name, and says how it does."""

import argparse
import json
import sys

from ethical_compression import store
from ethical_compression.cli.given import add_offload, named, place, whole
from ethical_compression.errors import InputError

EXAMPLES = """\
examples:
  a benchmark and a harm       score smollm2-135m --tasks piqa,crows_pairs
  under a recipe, made here    score smollm2-135m --recipe gptq-3bit --tasks bbq_ambiguous
  a checkpoint, every item     score FOLDER-OR-ID --tasks piqa --limit 0 --output piqa.parquet
  for a program                score smollm2-135m --tasks piqa --json

Two models are compared by `audit`, which pairs their answers item by item.
Every part is kept as soon as it is scored: started again, the same command goes on.

tasks:
{tasks}"""


def add(commands) -> None:
    """Tell the parser of the command."""
    command = commands.add_parser("score", help="ask one model benchmarks and harms, by name")
    command.about = _about
    command.add_argument("model", help="an embedded model, a folder, or a hub id")
    command.add_argument("--tasks", required=True, help="names, with commas between")
    command.add_argument(
        "--recipe", help="compress it first: gptq-4bit, wanda-50%%, nf4, or a file of settings"
    )
    command.add_argument(
        "--limit", type=whole, default=200, help="about so many items a task (200); 0 for all"
    )
    command.add_argument("--seed", type=whole, default=0, help="which items (0)")
    command.add_argument("--output", type=place, help="a .parquet of every item's value")
    command.add_argument("--json", action="store_true", help="print the means as JSON")
    command.add_argument("--dtype", default="float32", help="float32, float16 or bfloat16")
    command.add_argument("--device", default="cpu", help="cpu or cuda")
    add_offload(command)
    command.set_defaults(
        func=_score,
        interrupted="what was scored is kept, and the same command goes on.",
    )


def _about() -> str:
    from ethical_compression.score import tasks

    lines = [f"  {name:23}{title}" for name, title in tasks.names().items()]
    return EXAMPLES.format(tasks="\n".join(lines))


def _score(given: argparse.Namespace) -> None:
    from ethical_compression import kept_tables
    from ethical_compression.cli.audit import recipe_of
    from ethical_compression.compress.recipe import Recipe
    from ethical_compression.score import tasks
    from ethical_compression.score.subjects import Compressed

    if given.output is not None:
        if given.output.suffix != ".parquet":
            raise InputError(f"{given.output} must end in .parquet, as which items are written.")
        store.check_place(given.output)
    recipe = recipe_of(given.recipe) if given.recipe else Recipe()
    asked = {
        name: tasks.battery(name, given.limit or None, given.seed) for name in named(given.tasks)
    }
    how = {"dtype": given.dtype, "device": given.device, "offload": given.offload}
    subject = Compressed(given.model, recipe, **how)
    items = tasks.values(subject, asked, progress=sys.stderr.isatty())
    table = tasks.summary(items)
    if given.output is not None:
        kept_tables.keep(
            given.output,
            items,
            subject=subject.inputs(),
            settings={"limit": given.limit, "seed": given.seed},
        )
    if given.json:
        said = {"model": given.model, "compression": subject.compression}
        said |= {"subject": subject.inputs(), "limit": given.limit, "seed": given.seed}
        said["scores"] = table.to_dict("records")
        print(json.dumps(store.strict(said), indent=1, default=str))
    else:
        _print(table, subject)


def _print(table, subject) -> None:
    """The means with their intervals, and what each measures, once a task."""
    from ethical_compression.statistics.verdicts import LEAST_ITEMS

    print(
        f"{subject.model}, {subject.compression}: means, with 95% intervals over clusters "
        f"where there are {LEAST_ITEMS} items or more\n"
    )
    for task, rows in table.groupby("task", sort=False):
        print(f"{task}: {next(filter(None, rows['metric']), 'no value')}")
        for row in rows.itertuples():
            ends = f"[{row.ci_low:.3f}, {row.ci_high:.3f}]" if row.ci_low == row.ci_low else ""
            print(f"  {row.group:32}{row.mean:8.3f}  {ends:18}{row.n:6} items")
