"""How long chapters take: what this machine measured the last time, or else a committed table.

`results/chapter_minutes.json`, where it is there, holds minutes by chapter as another machine
measured them in a quiet build: `python -m ethical_compression.chapters.durations FOLDER` makes it
of a folder of executed chapters.
"""

import contextlib
import json
import sys
from pathlib import Path

from ethical_compression import store

TABLE = Path(__file__).parents[3] / "results" / "chapter_minutes.json"
_RECORD = "application/vnd.ethical-compression.provenance+json"


def _kept(name: str) -> Path:
    return store.cache_dir() / "durations" / f"{name}.json"


def keep(name: str, seconds: float) -> None:
    """Keep how long a chapter took; a store that cannot be written to is passed over."""
    with contextlib.suppress(OSError):
        _kept(name).parent.mkdir(parents=True, exist_ok=True)
        store.write_json(_kept(name), seconds)


def last(name: str) -> float | None:
    """Seconds that a chapter took here the last time; None: not known."""
    with contextlib.suppress(OSError, ValueError, TypeError):  # it only tells what to expect
        return float(json.loads(_kept(name).read_text()))
    return None


def elsewhere(name: str) -> float | None:
    """Seconds that a chapter took on the machine of the committed table; None: not known."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        return 60 * float(json.loads(TABLE.read_text(encoding="utf-8"))["minutes"][name])
    return None


def in_words(seconds: float) -> str:
    """`45 s`, `12 min`."""
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def of_one(name: str) -> str:
    """What is known of a chapter's time, to stand behind its name; "": nothing."""
    if (here := last(name)) is not None:
        return f", {in_words(here)} the last time"
    if (there := elsewhere(name)) is not None:
        return f", {in_words(there)} on another machine"
    return ""


def rest(notebook: Path, output: Path) -> str:
    """How much of the book comes after a chapter, and how long it takes, as far as that is known.

    Due are the chapters beside `notebook` without an executed copy, beside `output`, that is
    younger than they and the package are. "" where none is.
    """
    package = max(one.stat().st_mtime for one in Path(__file__).parents[1].rglob("*.py"))
    due = []
    for other in sorted(notebook.parent.glob("*.ipynb")):
        made = output.parent / other.name
        since = max(package, other.stat().st_mtime)
        if other.stem != notebook.stem and not (made.exists() and made.stat().st_mtime >= since):
            due.append(other.stem)
    if not due:
        return ""
    here = {name: last(name) for name in due}
    times = [elsewhere(name) if took is None else took for name, took in here.items()]
    known = [one for one in times if one is not None]
    said = f"; after it {len(due)} {'chapter' if len(due) == 1 else 'chapters'} more"
    if known:
        said += f", about {in_words(sum(known))}"
    if len(known) < len(due):
        said += f" ({len(due) - len(known)} not timed yet)"
    return said


def table(executed: Path) -> dict:
    """Minutes of each executed chapter of a folder, and the machine, from their records."""
    import nbformat

    minutes, machine = {}, {}
    for path in sorted(executed.glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", []):
                if record := output.get("data", {}).get(_RECORD):
                    minutes[path.stem] = round(float(record["run time"].split()[0]) / 60, 1)
                    machine = record.get("hardware", {})
    return {"machine": machine, "minutes": minutes}


if __name__ == "__main__":
    store.write_json(TABLE, table(Path(sys.argv[1])))
