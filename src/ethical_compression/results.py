"""Where results live: a store keyed by what made them, and the provenance that goes with them.

Anything slow (a model converted, a benchmark scored, a layer solved) is kept under a key made of
*all* its inputs, this package's own scientific code included, and is written whole or not at all.
A build that is killed therefore goes on where it was, and a stale result is never read.
"""

import ast
import datetime
import errno
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from ethical_compression.errors import InputError

# What decides a number; figures, statistics and prose may change without a model being run again.
SCIENCE = (
    *("models.py", "gptq_format.py", "quantized.py"),
    *("datasets", "compress", "kernels", "score", "train"),
)
PACKAGES = (
    "ethical-compression",
    "torch",
    "transformers",
    "tokenizers",
    "datasets",
    "numpy",
    "pandas",
    "scipy",
    "statsmodels",
    "seaborn",
    "bitsandbytes",
    "papermill",
)

# What a place says that is full or may not be written.
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM)
# What only writing can meet; the others may come of reading, too.
OF_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

_spent: dict[str, float] = {}


def cache_dir() -> Path:
    """Folder of everything that can be made again: $ETHICAL_COMPRESSION_CACHE or ~/.cache/…"""
    named = os.environ.get("ETHICAL_COMPRESSION_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "ethical-compression"


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of one file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_place(target: Path, *, folder: bool = False) -> None:
    """Raise InputError unless `target`, a file or a folder, could be written; nothing is left.

    For work that takes long: told before it, not after.
    """
    above = target.parent
    try:
        while not above.exists() and above != above.parent:
            above = above.parent
        if target.is_dir() != folder and target.exists():
            raise OSError(errno.EISDIR if target.is_dir() else errno.ENOTDIR, "")
        with tempfile.NamedTemporaryFile(prefix=f".{target.name}.", dir=above):
            pass
    except OSError as error:
        raise InputError(unwritable(target, error)) from error


def errno_of(error: Exception) -> int | None:
    """The system's number of an error; safetensors says it in its words only."""
    if isinstance(error, OSError):
        return error.errno
    found = type(error).__name__ == "SafetensorError" and re.search(r"os error (\d+)", str(error))
    return int(found[1]) if found else None


def unwritable(target: Path, error: Exception) -> str:
    """Why a file or folder cannot be written, in one sentence."""
    if target.is_relative_to(cache_dir()):
        advice = "point ETHICAL_COMPRESSION_CACHE at a folder that can"
    else:
        advice = "name another place"
    number = errno_of(error)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full at {target.parent}: free some space there, or {advice}."
    said = dict.fromkeys((errno.ENOTDIR, errno.EEXIST), "a file is where a folder should be")
    said[errno.EISDIR] = "it is a folder"
    reason = said.get(number) or (getattr(error, "strerror", None) or str(error)).lower()
    return f"{target} cannot be written ({reason}): {advice}."


@contextmanager
def scratch_folder(target: Path | None = None):
    """Yield a folder that is gone afterwards: in the store, or beside `target`, its files' place.

    Raises InputError where the disk is full or the place cannot be written.
    """
    target = target or cache_dir() / "scratch"
    scratch = None
    try:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        except OSError as error:
            raise InputError(unwritable(target, error)) from error
        yield scratch
    except Exception as error:
        # What was being written elsewhere (a hub's cache) names its own place.
        elsewhere = scratch and _elsewhere(error, target, scratch)
        if errno_of(error) in (OF_WRITING if elsewhere else UNWRITABLE):
            raise InputError(unwritable(elsewhere or target, error)) from error
        raise
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


def _elsewhere(error: Exception, target: Path, scratch: Path) -> Path | None:
    """The file that an error names, unless it is the target or a part of it."""
    filename = getattr(error, "filename", None)
    if not isinstance(filename, str | os.PathLike):
        return None
    named = Path(filename)
    mine = named == target.parent or any(named.is_relative_to(one) for one in (target, scratch))
    return None if mine else named


@contextmanager
def whole_or_nothing(target: Path, *, folder: bool = False):
    """Yield a scratch path beside `target`; it takes the target's place only if nothing was raised.

    Raises InputError where the disk is full or the place cannot be written.
    """
    with scratch_folder(target) as scratch:
        place = scratch / "new"
        if folder:
            place.mkdir()
        yield place
        if folder and target.exists():
            # A folder cannot be replaced in one step: the old one steps aside, then goes.
            os.replace(target, scratch / "old")
        os.replace(place, target)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, whole or not at all; what is no number (NaN, infinity) as null."""
    text = json.dumps(strict(value), indent=1, sort_keys=True, default=str, allow_nan=False)
    with whole_or_nothing(path) as place:
        place.write_text(text, encoding="utf-8")


def strict(value: Any) -> Any:
    """`value` with None where a float is no number, which JSON does not know."""
    if isinstance(value, Mapping):
        return {key: strict(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [strict(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def write_note(note: Path, files: Iterable[Path], **said) -> None:
    """Write what is `said` of files that lie beside `note`, with their checksums and its own."""
    said |= {"files": {one.name: sha256_of(one) for one in files}}
    # As it will be read back, in its own order: keys that are text, no tuples, no NaN.
    said = json.loads(json.dumps(strict(said), default=str))
    with whole_or_nothing(note) as place:
        text = json.dumps(said | {"note": _digest(said)}, indent=1)
        place.write_text(text, encoding="utf-8")


def read_note(
    what: str, note: Path, *, digest: Callable[[Path], str] = sha256_of
) -> dict[str, Any] | None:
    """What `write_note` said, where the note and all its files are whole; None otherwise.

    Without a note nothing was ever finished. What is damaged, by whatever byte, is told on stderr
    as `what` ("table X", say) that is made again. digest: a file's SHA-256, by default read anew.
    """
    if not note.exists():
        return None
    try:
        said = json.loads(note.read_text(encoding="utf-8"))
        own, files = said.pop("note"), said["files"]
        whole = own == _digest(said) and all(
            digest(note.with_name(name)) == expected for name, expected in files.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # cut short, or not ours
        whole = False
    if whole:
        return said
    print(f"The stored {what} is damaged; it is made again.", file=sys.stderr)
    return None


@cache
def code_version(module: str | None = None) -> str:
    """Hash of the scientific code (`SCIENCE`) that `module` is and imports, however indirectly.

    New code, new key; code that the module does not reach leaves what it made alone. None, and a
    module outside this package (a notebook's `__main__`): all scientific code.
    """
    root = Path(__file__).parent
    science: set[Path] = set()
    for part in SCIENCE:
        found = [root / part] if part.endswith(".py") else list((root / part).rglob("*.py"))
        if not found or not all(file.is_file() for file in found):
            # Left out, results would outlive the code that made them.
            raise InputError(f"{part} is missing from {root}: install the package again.")
        science.update(found)
    if module and module.partition(".")[0] == __package__:
        science &= _reached(module, root)
    digest = hashlib.sha256()
    for file in sorted(science):
        digest.update(file.relative_to(root).as_posix().encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _reached(module: str, root: Path) -> set[Path]:
    """Files of this package that `module` is and imports, within functions too."""

    def file_of(name: str) -> Path | None:
        place = root.joinpath(*name.split(".")[1:])
        choices = (place.with_suffix(".py"), place / "__init__.py")
        return next((file for file in choices if file.is_file()), None)

    if file_of(module) is None:
        raise InputError(f"There is no source of {module} in {root}: install the package again.")
    found, waiting = set(), {module}
    while waiting:
        name = waiting.pop()
        file = file_of(name)
        if file is None or file in found:
            continue
        found.add(file)
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Import):
                imported = {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                base = package.split(".")[: len(package.split(".")) - node.level + 1]
                start = ".".join(base) if node.level else ""
                start = ".".join(filter(None, (start, node.module)))
                imported = {start, *(f"{start}.{alias.name}" for alias in node.names)}
            else:
                continue
            waiting |= {one for one in imported if one.partition(".")[0] == __package__}
    return found


def key(kind: str, inputs: Mapping[str, Any], module: str | None = None) -> str:
    """Name under which the result of `inputs` is kept: same inputs and same code, same key.

    Inputs are compared as JSON; the versions of torch and transformers count as inputs.
    module: the one whose code makes the result (`code_version`); None: all scientific code.
    """
    canonical = json.dumps(
        {
            "kind": kind,
            "inputs": inputs,
            "code": code_version(module),
            "torch": version("torch"),
            "transformers": version("transformers"),
        },
        sort_keys=True,
        default=str,
    )
    return f"{kind}-{hashlib.sha256(canonical.encode()).hexdigest()[:24]}"


def table(kind: str, inputs: Mapping[str, Any], compute: Callable[[], Any]):
    """The table that `compute()` gives for `inputs`: read from the store, else made and kept.

    compute is a function, or a lambda, of the module whose code makes the table: what that module
    does not import may change without the table being made again.
    Returns a pandas DataFrame. A stored table whose checksum no longer fits is made again. What it
    cost to make, now or then, is added to `seconds_spent()`.
    """
    import pandas as pd

    made_by = getattr(compute, "__module__", None)
    path = cache_dir() / "tables" / f"{key(kind, inputs, made_by)}.parquet"
    note = path.with_suffix(".json")
    if kept := read_note(f"table {path.stem}", note):
        _spent[path.stem] = kept["seconds"]
        return pd.read_parquet(path)
    check_place(path)
    started = time.monotonic()
    frame = compute()
    _spent[path.stem] = seconds = time.monotonic() - started
    with whole_or_nothing(path) as place:
        frame.to_parquet(place, index=False)
    # The note comes last: a table without one was never finished, and is not trusted.
    write_note(note, [path], kind=kind, inputs=inputs, seconds=round(seconds, 3))
    # Read back what was written, so that a first run and a later one see the same types.
    return pd.read_parquet(path)


def seconds_spent() -> float:
    """Seconds it took to make, when they were made, all stored tables asked for in this session."""
    return sum(_spent.values())


def version(package: str) -> str | None:
    """Installed version of a package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def hardware() -> dict[str, Any]:
    """The machine as a reader would describe it: processor, cores, memory in GiB, GPU if any."""
    import torch

    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [
            line.split(":", 1)[1].strip()
            for line in cpuinfo.read_text().splitlines()
            if line.startswith("model name")
        ]
        name = models[0] if models else name
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (ValueError, OSError, AttributeError):  # not every system tells
        memory = float("nan")
    gpu = None
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        gpu = f"{properties.name} ({properties.total_memory / 2**30:.0f} GiB)"
    return {
        "processor": name,
        "cores": os.cpu_count(),
        "torch threads": torch.get_num_threads(),
        "memory (GiB)": round(memory, 1),
        "GPU": gpu,
        "system": platform.system(),
    }


def commit(besides: Collection[str] = ()) -> dict[str, Any]:
    """`commit`, the source's, None outside git; where tracked files differ from it, it is marked
    `(modified)`, and `modified` names them. besides: paths that do not count."""
    here = Path(__file__).parent

    def git(*words):
        command = ["git", "-C", str(here), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
        return done.stdout.rstrip()

    try:
        # Installed inside somebody else's repository, this file is not one of its own.
        git("ls-files", "--error-unmatch", Path(__file__).name)
        head = git("rev-parse", "--short=12", "HEAD")
        lines = git("-c", "core.quotePath=false", "status", "--porcelain", "-uno").splitlines()
    except (OSError, subprocess.SubprocessError):
        return {"commit": None}
    modified = [path for path in (line[3:] for line in lines) if path not in besides]
    return {"commit": f"{head} (modified)", "modified": modified} if modified else {"commit": head}


def provenance(besides: Collection[str] = ()) -> dict[str, Any]:
    """What a result owes its reader: date, code, versions, machine. JSON-ready.

    besides: files that may differ from the commit, since they are what is being made.
    """
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        **commit(besides),
        "code": code_version(),
        "packages": {name: found for name in PACKAGES if (found := version(name))},
        "hardware": hardware(),
    }


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
    made = provenance(besides=[f"results/{name}.{ending}" for ending in ("parquet", "json")])
    if "modified" in made:
        print(
            f"results/{name}.json will name files that differ from the commit "
            f"({', '.join(made['modified'])}): commit them and run this again.",
            file=sys.stderr,
        )
    path = Path(__file__).parents[2] / "results" / f"{name}.parquet"
    with whole_or_nothing(path) as place:
        frame.to_parquet(place, index=False)
    write_json(path.with_suffix(".json"), said | made | {"sha256": sha256_of(path)})


def larger(name: str):
    """A table kept by `keep_larger` and what is known of its making: (DataFrame, dict).

    Raises InputError outside a copy of the repository, and where the table is not the one that its
    provenance speaks of.
    """
    import pandas as pd

    path = Path(__file__).parents[2] / "results" / f"{name}.parquet"
    note = path.with_suffix(".json")
    if not (path.exists() and note.exists()):
        raise InputError(
            f"results/{name}.parquet or its .json is missing: work in a copy of the repository, or "
            f"make it with `python results/{name}.py`."
        )
    try:
        made = json.loads(note.read_text(encoding="utf-8"))
        intact = made["sha256"] == sha256_of(path)
    except (ValueError, KeyError, TypeError):
        intact = False
    if not intact:
        raise InputError(
            f"results/{name}.parquet is not the table that its .json speaks of: take both from one "
            f"commit, or make them with `python results/{name}.py`."
        )
    return pd.read_parquet(path), made
