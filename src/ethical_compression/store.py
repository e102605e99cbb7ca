"""Where results live: a store keyed by what made them.

Anything slow (a model converted, a benchmark scored, a layer solved) is kept under a key made of
*all* its inputs, this package's own scientific code included, and is written whole or not at all.
A build that is killed therefore goes on where it was, and a stale result is never read.
"""

import errno
import hashlib
import json
import math
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ethical_compression import provenance
from ethical_compression.errors import InputError

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


def key(kind: str, inputs: Mapping[str, Any], module: str | None = None) -> str:
    """Name under which the result of `inputs` is kept: same inputs and same code, same key.

    Inputs are compared as JSON; the versions of torch and transformers count as inputs.
    module: the one whose code makes the result (`provenance.code_version`); None: all of it.
    """
    canonical = json.dumps(
        {
            "kind": kind,
            "inputs": inputs,
            "code": provenance.code_version(module),
            "torch": provenance.version("torch"),
            "transformers": provenance.version("transformers"),
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
