"""A chapter run from outside: its notebook's parameters, those of a profile, and papermill."""

import io
import os
import sys
import time
from pathlib import Path
from typing import Any

from ethical_compression import store
from ethical_compression.chapters.durations import in_words, keep, of_one, rest
from ethical_compression.chapters.exercises import with_solutions
from ethical_compression.chapters.page import refuse_stderr
from ethical_compression.chapters.parameters import (
    Parameter,
    check_values,
    closest,
    declared_parameters,
)
from ethical_compression.errors import InputError


def chapter_parameters(notebook: Path) -> dict[str, Parameter]:
    """The parameters that a notebook declares in its cell tagged ``parameters``.

    Raises InputError if the notebook is missing, is none, or has no such cell.
    """
    import nbformat

    if notebook.is_dir():
        names = ", ".join(sorted(path.name for path in notebook.glob("*.ipynb"))) or "none"
        raise InputError(f"{notebook} is a folder: give a notebook of it (there is: {names}).")
    if not notebook.is_file():
        names = sorted(path.name for path in notebook.parent.glob("*.ipynb"))
        raise InputError(f"there is no notebook {notebook}{closest(notebook.name, names)}")
    try:
        cells = nbformat.read(notebook, as_version=4).cells
    except Exception:
        raise InputError(f"{notebook} cannot be read as a notebook.") from None
    for cell in cells:
        if "parameters" in cell.metadata.get("tags", []):
            return declared_parameters(cell.source, f"the parameters cell of {notebook.name}")
    raise InputError(f"{notebook} has no cell tagged 'parameters'.")


def read_profile(profiles: Path, profile: str) -> dict[str, dict[str, Any]]:
    """One profile: {notebook name: {parameter: value}}. Raises InputError if it cannot be used."""
    import yaml

    path = profiles / f"{profile}.yaml"
    if not path.is_file():
        names = sorted(path.stem for path in profiles.glob("*.yaml"))
        raise InputError(f"there is no profile '{profile}' in {profiles}{closest(profile, names)}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        where = f", line {error.problem_mark.line + 1}" if hasattr(error, "problem_mark") else ""
        raise InputError(f"{path}{where} is not valid YAML: correct it there.") from None
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{path} cannot be read as UTF-8 text: correct it there.") from None
    content = {} if content is None else content
    parts = content.values() if isinstance(content, dict) else [content]
    if not all(isinstance(part, dict | None) for part in parts):
        raise InputError(f"{path} must map notebook names to their parameters.")
    return content


def resolve(
    notebook: Path, profile: str, changes: dict[str, str], profiles: Path | None = None
) -> dict[str, Any]:
    """The parameters to inject: the profile's for this notebook, then those of the command line.

    Raises InputError for whatever does not fit: a profile that is missing or names no notebook, an
    unknown parameter, a value of another type.
    """
    import yaml

    profiles = profiles or notebook.parent / "profiles"
    declared = chapter_parameters(notebook)
    content = read_profile(profiles, profile)
    for name in content:
        others = sorted(path.stem for path in notebook.parent.glob("*.ipynb"))
        if name not in others:
            raise InputError(
                f"profile '{profile}' names no notebook: '{name}'{closest(name, others)}"
            )
    parameters = dict(content.get(notebook.stem) or {})
    check_values(parameters, declared, f"{notebook.name} (profile '{profile}')")
    for name, text in changes.items():
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        # `-p name 0123` is a text where a text is asked for, and 1e-3 a number (YAML wants 1.0e-3).
        if name in declared and declared[name].type is str:
            value = text
        elif name in declared and declared[name].type is float and isinstance(value, str):
            value = number(value)
        parameters[name] = value
    check_values(parameters, declared, notebook.name)
    return parameters


def number(text: str) -> float | str:
    """A text as a number, where it is one: YAML wants 1.0e-3 where people write 1e-3."""
    try:
        return float(text)
    except ValueError:
        return text


def run(
    notebook: Path,
    output: Path,
    parameters: dict[str, Any],
    *,
    solutions: bool = False,
    of_book: bool = False,
) -> None:
    """Execute a notebook with papermill; the executed copy appears only if every cell has run.

    solutions: the programs of its exercises' solutions are run, too, after the chapter. of_book: it
    says how many chapters come after this one, and how long they take (`durations`).

    Raises InputError with the chapter's own sentence if that is what stopped it, or with the first
    line of what a cell left on stderr, progress bars aside; SystemExit, after printing the
    traceback, if it was anything else.
    """
    # A debugger's warning, and one of notebook widgets, which a page on paper could not show.
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    os.environ.setdefault("PYTHONWARNINGS", "ignore:IProgress not found")
    # On a fresh machine the first import lists all fonts. Where that takes more than five seconds
    # it says so, which on a page would be a fault.
    import matplotlib.font_manager  # noqa: F401
    import nbformat
    import papermill
    from papermill.exceptions import PapermillExecutionError

    if output.resolve() == notebook.resolve():
        raise InputError(
            f"{output} is the chapter itself, which is never written to: name another."
        )
    begun, name = time.time(), notebook.stem
    after = rest(notebook, output) if of_book else ""
    print(f"{name}: running{of_one(name)}{after} …", file=sys.stderr, flush=True)
    with store.whole_or_nothing(output) as place:
        draft = place.with_name(output.name)  # papermill goes by the ending
        source = notebook
        if solutions:
            source = place.with_name(f"with-solutions-{notebook.name}")
            nbformat.write(with_solutions(nbformat.read(notebook, as_version=4)), source)
        try:
            papermill.execute_notebook(
                source,
                draft,
                parameters,
                progress_bar=_a_line_a_minute(name),
                # Whoever sits at the terminal sees the chapter's own progress bars.
                stderr_file=sys.stderr if sys.stderr.isatty() else None,
                # The kernel listens on this machine only; its warnings about that are noise.
                extra_arguments=["--log-level=CRITICAL"],
                kernel_manager_class=_our_kernel(),
            )
        except PapermillExecutionError as error:
            if error.ename == "InputError":
                raise InputError(error.evalue) from None
            print(error, file=sys.stderr)
            sys.exit(1)  # raised, so that nothing takes the output's place
        executed = nbformat.read(draft, as_version=4)
        refuse_stderr(executed, notebook.name)
        nbformat.write(executed, place)
        draft.unlink()
        if solutions:
            source.unlink()
    took = time.time() - begun
    keep(name, took)
    said = f"{name}: done in {in_words(took)}, {output}"
    print(said, file=sys.stderr, flush=True)


class _Lines(io.TextIOBase):
    """Where a progress bar is drawn as lines: a build's record has no carriage to return."""

    def write(self, text: str) -> int:
        if text.strip():
            print(text.strip(), file=sys.stderr, flush=True)
        return len(text)


def _a_line_a_minute(name: str) -> dict[str, Any]:
    """How papermill says how far a chapter is, once a minute at most, when a cell is done."""
    told = f"{name}: {{n_fmt}} of {{total_fmt}} cells after {{elapsed}}"
    return {"file": _Lines(), "mininterval": 60, "bar_format": told, "delay": 1, "leave": False}


def _our_kernel() -> type:
    """A kernel manager that starts this interpreter, whatever else is installed as `python3`."""
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec

    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]

    class OurKernel(AsyncKernelManager):
        @property
        def kernel_spec(self):
            return KernelSpec(argv=command, display_name="Python 3", language="python")

    return OurKernel
