"""What made a result: this package's scientific code, the versions of others, and the machine."""

import ast
import datetime
import hashlib
import importlib.metadata
import inspect
import os
import platform
import subprocess
from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path
from typing import Any

from ethical_compression.errors import InputError

# What decides a number; figures, statistics and prose may change without a model being run again.
SCIENCE = ("datasets", "models", "compress", "kernels", "metrics", "score", "train")
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


@cache
def code_version(module: str | None = None) -> str:
    """Hash of the scientific code (`SCIENCE`) that `module` is and imports, however indirectly.

    New code, new key; code that the module does not reach leaves what it made alone. None, and a
    module outside this package (a notebook's `__main__`): all scientific code.
    """
    root = Path(__file__).parent
    science: set[Path] = set()
    for part in SCIENCE:
        found = list((root / part).rglob("*.py"))
        if not found:
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


def code_of(function: Callable) -> str:
    """Hash of the code that a function is of: its module, and what that imports (`code_version`).

    Of one from outside this package, the file or the notebook's cell that holds it, and all
    scientific code. Raises InputError where that source is nowhere to be read.
    """
    code = code_version(function.__module__)
    if function.__module__.partition(".")[0] == __package__:
        return code
    try:
        lines, _ = inspect.findsource(function)
    except (OSError, TypeError):
        raise InputError(
            f"The source of {function.__qualname__} cannot be read, so what it makes could not be "
            "told from what another version made: write it in a file or in a notebook."
        ) from None
    return hashlib.sha256("".join([code, *lines]).encode()).hexdigest()[:16]


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
