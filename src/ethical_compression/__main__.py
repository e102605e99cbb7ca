"""Run a chapter, compress a model, or compare two runs of lm-eval, from the command line.

    python -m ethical_compression run notebooks/X.ipynb --profile laptop -p widths "[4, 3]"
    python -m ethical_compression parameters notebooks/X.ipynb
    python -m ethical_compression compress MODEL --output FOLDER -p method gptq -p bits 4
    python -m ethical_compression compare FULL COMPRESSED

`compare` takes two runs of lm-eval with --log_samples and needs no model. Everything that can be
wrong with what is given is found before the work begins, and what is written is written whole or
not at all. Exit codes: 0 done, 1 a chapter's cell failed, 2 bad input, 130 and 143 interrupted.
"""

import argparse
import codecs
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any
from unicodedata import normalize

# Threads that spin while they wait take the processor from whoever else computes: two programs on
# two cores cost each other ten times. It is read once, when torch's threads start.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from . import provenance, store
from .chapters import Parameter, check_values, closest, declared_parameters, refuse_stderr
from .errors import InputError

# What a terminal that knows no more than ASCII shows instead: a minus sign must not get lost.
PLAIN = {"−": "-", "–": "-", "—": "-", "…": "...", "×": "x", "±": "+/-", "≤": "<=", "≥": ">="}
PLAIN |= {"’": "'", "‘": "'", "“": '"', "”": '"', "·": "*", "÷": "/"}


def main(arguments: list[str] | None = None) -> int:
    _write_on_any_terminal()
    given = _parser().parse_args(arguments)
    # A batch system ends a job by SIGTERM: let it clean up as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        given.func(given)
        return 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"interrupted: {given.interrupted.format(**vars(given))}", file=sys.stderr)
        return 130


class _Parser(argparse.ArgumentParser):
    """A parser whose help may end in what `about()` says, computed only when it is asked for."""

    about = staticmethod(lambda: None)

    def __init__(self, **options):
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def format_help(self) -> str:
        self.epilog = self.about()
        return super().format_help()


def _parser() -> argparse.ArgumentParser:
    called = Path(sys.argv[0]).name
    name = called if called.startswith("ethical-compression") else "python -m ethical_compression"
    parser = _Parser(prog=name, description=__doc__)
    version = provenance.version("ethical-compression") or "(not installed)"
    parser.add_argument("--version", action="version", version=f"ethical-compression {version}")
    commands = parser.add_subparsers(dest="command", required=True)

    run_command = commands.add_parser("run", help="execute one chapter")
    run_command.add_argument("notebook", type=_place)
    run_command.add_argument("--profile", default="laptop", help="a file of notebooks/profiles")
    run_command.add_argument("--output", type=_place, help="default: _build/executed/PROFILE/NAME")
    _add_changes(run_command, "NAME")
    run_command.set_defaults(func=_run, interrupted="nothing was kept of this chapter's page.")

    show_command = commands.add_parser("parameters", help="list what a chapter can be given")
    show_command.add_argument("notebook", type=_place)
    show_command.set_defaults(func=_show, interrupted="not all parameters were listed.")

    compress_command = commands.add_parser("compress", help="compress a model into a folder")
    compress_command.about = _recipes
    compress_command.add_argument("model", help="an embedded model, a folder, or a hub id")
    compress_command.add_argument("--recipe", type=_place, help="a YAML or JSON file of settings")
    _add_changes(compress_command, "SETTING")
    compress_command.add_argument("--output", type=_place, required=True, help="a new folder")
    compress_command.add_argument("--report", action="store_true", help="measure it afterwards")
    compress_command.add_argument(
        "--partial",
        action="store_true",
        help="go on where the method can touch less than nine tenths of the blocks' weights",
    )
    compress_command.add_argument("--dtype", default="float32")
    compress_command.add_argument("--device", default="cpu")
    compress_command.set_defaults(
        func=_compress,
        interrupted="{output} is written whole or not at all; started again, the same command goes "
        "on from the layers that were kept, if any.",
    )

    compare_command = commands.add_parser(
        "compare", help="compare two runs of lm-eval --log_samples, item by item"
    )
    compare_command.add_argument(
        "full", type=_place, help="the full model's folder or samples file"
    )
    compare_command.add_argument("compressed", type=_place, help="the compressed model's")
    compare_command.add_argument(
        "--label", type=_label, default="compressed", help="the latter's name"
    )
    compare_command.add_argument(
        "--measure",
        default="p_true",
        choices=["p_true", "confidence", "entropy_bits", "brier", "log_score"],
    )
    compare_command.add_argument("--normalisation", default="none", choices=["none", "byte"])
    compare_command.add_argument("--output", type=_place, help="a .csv of the paired table")
    compare_command.add_argument("--figures", type=_place, help="a folder for the figures")
    compare_command.set_defaults(
        func=_compare,
        interrupted="not all was compared; what was written is whole.",
    )
    return parser


def _add_changes(command: argparse.ArgumentParser, name: str) -> None:
    command.add_argument(
        "-p",
        dest="changes",
        nargs=2,
        action="append",
        default=[],
        metavar=(name, "VALUE"),
        help="one value; may be given several times",
    )


def _write_on_any_terminal() -> None:
    """Whatever cannot be shown in the terminal's encoding is shown in plain letters, not raised."""

    def instead(error: UnicodeEncodeError) -> tuple[str, int]:
        return plain(error.object[error.start : error.end]), error.end

    codecs.register_error("plain", instead)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="plain")


def plain(text: str) -> str:
    """Text in ASCII, as near as can be: −2·10⁻⁵ is -2*10^-5, and é is e."""
    text = re.sub("[⁰¹²³⁴-⁹⁻ⁿ]+", lambda raised: f"^{normalize('NFKC', raised[0])}", text)
    bare = (PLAIN.get(sign, normalize("NFKD", sign)) for sign in text)
    return "".join(sign.encode("ascii", "ignore").decode() or "?" for sign in bare)


def _place(text: str) -> Path:
    """A path that was given; an unset variable of a shell gives none, which is no place."""
    if not text:
        raise argparse.ArgumentTypeError("an empty path was given: is a variable unset?")
    return Path(text)


def _label(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("an empty label was given: is a variable unset?")
    return text


def _run(given: argparse.Namespace) -> None:
    parameters = resolve(given.notebook, given.profile, dict(given.changes))
    output = given.output or Path("_build/executed", given.profile, given.notebook.name)
    store.check_place(output)
    run(given.notebook, output, parameters)


def _show(given: argparse.Namespace) -> None:
    for parameter in chapter_parameters(given.notebook).values():
        print(f"{parameter.name}: {parameter.annotation} = {parameter.default!r}")
        print(f"    {parameter.help}")


def _recipes() -> str:
    from .compress import recipe

    return recipe.described()


def _compress(given: argparse.Namespace) -> None:
    store.check_place(given.output, folder=True)
    compress(
        given.model,
        recipe_settings(given.recipe, dict(given.changes)),
        given.output,
        measure=given.report,
        partial=given.partial,
        dtype=given.dtype,
        device=given.device,
    )


def _compare(given: argparse.Namespace) -> None:
    compare(
        given.full,
        given.compressed,
        label=given.label,
        measure=given.measure,
        normalisation=given.normalisation,
        output=given.output,
        drawings=given.figures,
    )


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
            value = _number(value)
        parameters[name] = value
    check_values(parameters, declared, notebook.name)
    return parameters


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def recipe_settings(path: Path | None, changes: dict[str, str]) -> dict[str, Any]:
    """A recipe's settings: those of a YAML or JSON file, then those of the command line."""
    import yaml

    from .compress.recipe import is_text

    settings: Any = {}
    if path is not None:
        try:
            settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            raise InputError(
                f"{path} cannot be read as YAML or JSON: correct its name or what is in it."
            ) from None
        if not isinstance(settings, dict):
            raise InputError(f"{path} must map settings to values, such as 'method: gptq'.")
    for name, text in changes.items():
        # YAML would read the pattern 2:4 as a time of day, the method `no` as a truth value, and
        # 1e-3 as a text.
        as_text = ":" in text or is_text(name)
        try:
            value = text if as_text else yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        settings[name] = _number(value) if isinstance(value, str) and not as_text else value
    return settings


def compress(
    model: str, settings: dict[str, Any], output: Path, *, measure: bool, **options: Any
) -> None:
    """Compress a model into a folder; with `measure`, print what that saves and what it costs."""
    from .compress import compressed, report
    from .compress.recipe import Recipe

    chosen = Recipe.from_dict(settings)
    record = compressed.compress(chosen, model, output, progress=sys.stderr.isatty(), **options)
    print(f"{model}, {chosen.label}: {output}", file=sys.stderr)
    if said := compressed.coverage(record):
        print(said, file=sys.stderr)
    if measure:
        record, layers = report.report(chosen, model, folder=output, **options)
        print(report.sentences(record, layers))


def compare(
    full: Path,
    compressed: Path,
    *,
    label: str = "compressed",
    measure: str = "p_true",
    normalisation: str = "none",
    output: Path | None = None,
    drawings: Path | None = None,
) -> None:
    """Print what two lm-eval runs say of each benchmark: confidence, calibration, the paired test.

    output: a CSV of the paired table (`statistics.paired_table`). drawings: a folder for the
    figures, each a PNG with its words in a text file beside it. Tasks that cannot be compared are
    named with the reason, on the error stream. Raises InputError where none can be, as
    `lm_eval_runs.pair` does, and for a place that cannot be written, before anything is.
    """
    import pandas as pd

    from . import statistics, words
    from .datasets import lm_eval_runs
    from .metrics import confidence
    from .store import whole_or_nothing

    if output is not None and output.suffix != ".csv":
        raise InputError(f"The paired table is written as CSV: name a .csv file, not {output}.")
    for place in filter(None, (output, drawings and drawings / "figure.png")):
        store.check_place(place)
    each, left = [], {}
    pairs = lm_eval_runs.pair(full, compressed, label)
    for benchmark, part in pairs.groupby("benchmark", sort=False):
        try:
            items = confidence.per_item(part, normalisation)
            statistics.paired_table(items, value=measure)
        except InputError as error:
            left[benchmark] = str(error)
        else:
            each.append(items)
    answers = lm_eval_runs.those_left(each, left)
    tests = statistics.paired_table(answers, value=measure)
    keys = ["model", "benchmark"]
    calibration = confidence.calibration_summary(answers)[[*keys, "ece", "brier", "log_score"]]
    levels = confidence.summary(answers).merge(calibration, on=keys)
    with pd.option_context("display.width", 200, "display.max_columns", None):
        print(levels.to_string(index=False, float_format=lambda value: f"{value:.4g}"))
        print(f"\nChange of {measure}, paired by item, with 95% intervals:\n")
        print(tests.to_string(index=False, float_format=lambda value: f"{value:.4g}"))
    if measure == "p_true":
        print()
        for row in tests.to_dict("records"):
            print(words.sentence(row))
    if output is not None:
        with whole_or_nothing(output) as place:
            tests.to_csv(place, index=False)
    if drawings is not None:
        import matplotlib

        matplotlib.use("Agg")
        from . import figures

        for name, (fig, alt) in {
            "before_after": figures.confidence_before_after(answers, value=measure),
            "reliability": figures.reliability_diagram(answers),
            "where": figures.change_against_confidence(answers),
            "selective": figures.risk_coverage_curves(answers),
        }.items():
            with whole_or_nothing(drawings / f"{name}.png") as place:
                fig.savefig(place, format="png", dpi=200)
            with whole_or_nothing(drawings / f"{name}.txt") as place:
                place.write_text(alt + "\n", encoding="utf-8")


def run(notebook: Path, output: Path, parameters: dict[str, Any]) -> None:
    """Execute a notebook with papermill; the executed copy appears only if every cell has run.

    Raises InputError with the chapter's own sentence if that is what stopped it, or with the first
    line of what a cell left on stderr, progress bars aside; SystemExit, after printing the
    traceback, if it was anything else.
    """
    # A debugger's warning, and one of notebook widgets, which a page on paper could not show.
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    os.environ.setdefault("PYTHONWARNINGS", "ignore:IProgress not found")
    import nbformat
    import papermill
    from papermill.exceptions import PapermillExecutionError

    from .store import whole_or_nothing

    if output.resolve() == notebook.resolve():
        raise InputError(
            f"{output} is the chapter itself, which is never written to: name another."
        )
    print(f"{notebook.stem}: running …", file=sys.stderr, flush=True)
    with whole_or_nothing(output) as place:
        draft = place.with_name(output.name)  # papermill goes by the ending
        try:
            papermill.execute_notebook(
                notebook,
                draft,
                parameters,
                progress_bar=False,
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
    print(f"{notebook.stem}: done, {output}", file=sys.stderr, flush=True)


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


if __name__ == "__main__":
    sys.exit(main())
