"""What several commands are given, and how it is told where it cannot be used."""

import argparse
from pathlib import Path


class Parser(argparse.ArgumentParser):
    """A parser whose help ends in what `about()` says, computed only when it is asked for, and in
    `codes`, with which the command ends."""

    about = staticmethod(lambda: "")
    codes = "0 done, 2 bad input, 130 and 143 interrupted"

    def __init__(self, **options):
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def format_help(self) -> str:
        codes = f"exit codes: {self.codes}" if self.codes else ""
        self.epilog = "\n\n".join(filter(None, (self.about().rstrip(), codes)))
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


def whole(text: str) -> int:
    """A whole number of 0 or more that was given."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"give a whole number of 0 or more, not {text!r}")
    return int(text)


def named(text: str) -> list[str]:
    """Names that were given with commas between, each once."""
    return list(dict.fromkeys(name.strip() for name in text.split(",")))


def add_offload(command: argparse.ArgumentParser) -> None:
    """Let a command take `--offload`."""
    command.add_argument(
        "--offload",
        action="store_true",
        help="leave the blocks of a model that does not fit on disk: one is in memory at a time",
    )


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
