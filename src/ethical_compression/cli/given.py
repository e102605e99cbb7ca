"""What several commands are given, and how it is told where it cannot be used."""

import argparse
from pathlib import Path


class Parser(argparse.ArgumentParser):
    """A parser whose help may end in what `about()` says, computed only when it is asked for."""

    about = staticmethod(lambda: None)

    def __init__(self, **options):
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def format_help(self) -> str:
        self.epilog = self.about()
        return super().format_help()


def place(text: str) -> Path:
    """A path that was given; an unset variable of a shell gives none, which is no place."""
    if not text:
        raise argparse.ArgumentTypeError("an empty path was given: is a variable unset?")
    return Path(text)


def label(text: str) -> str:
    """A name for tables and figures that was given."""
    if not text.strip():
        raise argparse.ArgumentTypeError("an empty label was given: is a variable unset?")
    return text


def add_changes(command: argparse.ArgumentParser, name: str) -> None:
    """Let a command take `-p NAME VALUE`, any number of times."""
    command.add_argument(
        "-p",
        dest="changes",
        nargs=2,
        action="append",
        default=[],
        metavar=(name, "VALUE"),
        help="one value; may be given several times",
    )
