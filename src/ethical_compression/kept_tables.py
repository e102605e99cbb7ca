"""Tables that stand in the repository: those of papers, of benchmarks, and of larger runs."""

import json
import sys
from pathlib import Path

from ethical_compression import provenance, store
from ethical_compression.errors import InputError


def published(name: str):
    """A result table as a paper reports it, from this package's `published` folder: a DataFrame."""
    import pandas as pd

    folder = Path(__file__).parent / "published"
    path = folder / f"{name}.csv"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.csv")))
        raise InputError(f"There is no published table {name!r}; there are {known}.")
    return pd.read_csv(path)


def benchmarks(task: str):
    """Measurements committed under `results/benchmarks/`, all machines: a DataFrame.

    task: what `python -m benchmarks TASK` measured. A column `machine` is added. Raises InputError
    outside a copy of the repository, and where nothing was measured.
    """
    import pandas as pd

    folder = Path(__file__).parents[2] / "results" / "benchmarks"
    files = sorted(folder.glob(f"{task}*.json"))
    if not files:
        raise InputError(
            f"No measurements of {task!r} lie in results/benchmarks: work in a copy of the "
            f"repository, or make them with `python -m benchmarks {task} --json FILE`."
        )
    frames = []
    for file in files:
        run = json.loads(file.read_text(encoding="utf-8"))
        frames.append(pd.DataFrame(run["rows"]).assign(machine=run["machine"]["name"]))
    return pd.concat(frames, ignore_index=True)


def keep_larger(name: str, frame, **said) -> None:
    """Write `results/NAME.parquet` and beside it, as JSON, its provenance and what is `said`.

    For runs too long for a page, made once by the script of that name in the same folder. Files
    that differ from the commit are named there (`modified`), and on stderr.
    """
    # A table that is made again is no change of what made it.
    made = provenance.provenance(
        besides=[f"results/{name}.{ending}" for ending in ("parquet", "json")]
    )
    if "modified" in made:
        print(
            f"results/{name}.json will name files that differ from the commit "
            f"({', '.join(made['modified'])}): commit them and run this again.",
            file=sys.stderr,
        )
    _write(Path(__file__).parents[2] / "results" / f"{name}.parquet", frame, said | made)


def keep(path: Path, frame, **said) -> None:
    """Write a table at a path that ends in .parquet, and its provenance beside it, as JSON."""
    _write(path, frame, said | provenance.provenance())


def _write(path: Path, frame, said: dict) -> None:
    with store.whole_or_nothing(path) as place:
        frame.to_parquet(place, index=False)
    store.write_json(path.with_suffix(".json"), said | {"sha256": store.sha256_of(path)})


def larger(name: str):
    """A table kept by `keep_larger` and what is known of its making: (DataFrame, dict).

    Raises InputError outside a copy of the repository, and where the table is not the one that its
    provenance speaks of.
    """
    path = Path(__file__).parents[2] / "results" / f"{name}.parquet"
    return _read(
        path,
        f"results/{name}.parquet",
        f"work in a copy of the repository, or make it with `python results/{name}.py`",
        f"take both from one commit, or make them with `python results/{name}.py`",
    )


def earlier(name: str, settings: dict):
    """What `larger` gives of a run that had the same settings, to go on with it; None where there
    is no such table, or one of other settings."""
    try:
        table, made = larger(name)
    except InputError:
        return None
    # As JSON gives them back.
    same = made.get("settings") == json.loads(json.dumps(settings))
    return (table, made) if same else None


def read(path: Path):
    """A table kept by `keep` and what is known of its making: (DataFrame, dict).

    Raises InputError where one of the two files is missing, and where they do not belong together.
    """
    return _read(path, str(path), "make it first", "make both again")


def _read(path: Path, called: str, missing: str, other: str):
    import pandas as pd

    note = path.with_suffix(".json")
    if not (path.exists() and note.exists()):
        raise InputError(f"{called} or its .json is missing: {missing}.")
    try:
        made = json.loads(note.read_text(encoding="utf-8"))
        intact = made["sha256"] == store.sha256_of(path)
    except (ValueError, KeyError, TypeError):
        intact = False
    if not intact:
        raise InputError(f"{called} is not the table that its .json speaks of: {other}.")
    return pd.read_parquet(path), made
