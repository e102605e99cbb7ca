"""Where a report may be written, and how names of places and of groups are told in it."""

import re
from pathlib import Path

from ethical_compression import store
from ethical_compression.errors import InputError

FILES = ("index.html", "model-card.md", "verdicts.parquet", "items.parquet", "audit.json")


def check_place(folder: Path) -> None:
    """Raise InputError unless `folder` may become a report: new, empty, or an earlier report alone.

    Whatever else lies in it would be lost.
    """
    store.check_place(folder, folder=True)
    mine = sorted(one.name for one in folder.iterdir()) if folder.exists() else []
    if mine and mine != sorted(FILES):
        raise InputError(
            f"{folder} holds other things than a report, which would be lost: name a new folder."
        )


def bare(text: str) -> str:
    """A name; of a folder outside the working one the last part: where it lies is nobody's
    business. `--option=PATH` keeps its option."""
    option, equals, path = text.rpartition("=") if text.startswith("--") else ("", "", text)
    outside = Path(path).is_absolute() or path[:1] == "~" or ".." in Path(path).parts
    return f"{option}{equals}{Path(path).expanduser().resolve().name if outside else path}"


def cell(text: str) -> str:
    """Text as Markdown shows it, on one line and no sign of its own meaning anything."""
    return re.sub(r"([\\`*_|<>\[\]#])", r"\\\1", " ".join(str(text).split()))
