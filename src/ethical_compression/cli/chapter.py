"""`run` executes a chapter, `parameters` lists what it can be given."""

import argparse
from pathlib import Path

from ethical_compression import store
from ethical_compression.chapters.run import chapter_parameters, resolve, run
from ethical_compression.cli.given import add_changes, place


def add(commands) -> None:
    """Tell the parser of the two commands."""
    command = commands.add_parser("run", help="execute one chapter")
    command.codes = "0 done, 1 a cell of it failed, 2 bad input, 130 and 143 interrupted"
    command.add_argument("notebook", type=place)
    command.add_argument("--profile", default="laptop", help="a file of notebooks/profiles")
    command.add_argument("--output", type=place, help="default: _build/executed/PROFILE/NAME")
    command.add_argument(
        "--solutions", action="store_true", help="run the programs of its exercises' solutions, too"
    )
    command.add_argument(
        "--of-book", action="store_true", help="say what comes after it, and how long that takes"
    )
    add_changes(command, "NAME")
    command.set_defaults(func=_run, interrupted="nothing was kept of this chapter's page.")

    command = commands.add_parser("parameters", help="list what a chapter can be given")
    command.add_argument("notebook", type=place)
    command.set_defaults(func=_show, interrupted="not all parameters were listed.")


def _run(given: argparse.Namespace) -> None:
    parameters = resolve(given.notebook, given.profile, dict(given.changes))
    output = given.output or Path("_build/executed", given.profile, given.notebook.name)
    store.check_place(output)
    run(given.notebook, output, parameters, solutions=given.solutions, of_book=given.of_book)


def _show(given: argparse.Namespace) -> None:
    for parameter in chapter_parameters(given.notebook).values():
        print(f"{parameter.name}: {parameter.annotation} = {parameter.default!r}")
        print(f"    {parameter.help}")
