"""`compare` says what compression did to two runs of lm-eval, and needs no model."""

import argparse
from pathlib import Path

from ethical_compression import store
from ethical_compression.cli.given import label, place
from ethical_compression.errors import InputError


def add(commands) -> None:
    """Tell the parser of the command."""
    command = commands.add_parser(
        "compare", help="compare two runs of lm-eval --log_samples, item by item"
    )
    command.add_argument("full", type=place, help="the full model's folder or samples file")
    command.add_argument("compressed", type=place, help="the compressed model's")
    command.add_argument("--label", type=label, default="compressed", help="the latter's name")
    command.add_argument(
        "--measure",
        default="p_true",
        choices=["p_true", "confidence", "entropy_bits", "brier", "log_score"],
    )
    command.add_argument("--normalisation", default="none", choices=["none", "byte"])
    command.add_argument("--output", type=place, help="a .csv of the paired table")
    command.add_argument("--figures", type=place, help="a folder for the figures")
    command.set_defaults(
        func=_compare,
        interrupted="not all was compared; what was written is whole.",
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
    from ethical_compression import statistics
    from ethical_compression.datasets import lm_eval_runs
    from ethical_compression.metrics import confidence

    if output is not None and output.suffix != ".csv":
        raise InputError(f"The paired table is written as CSV: name a .csv file, not {output}.")
    for written in filter(None, (output, drawings and drawings / "figure.png")):
        store.check_place(written)
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
    _print(answers, tests, measure)
    if output is not None:
        with store.whole_or_nothing(output) as file:
            tests.to_csv(file, index=False)
    if drawings is not None:
        _draw(answers, measure, drawings)


def _print(answers, tests, measure: str) -> None:
    """The level of each model, the paired tests, and what they say in words."""
    import pandas as pd

    from ethical_compression import words
    from ethical_compression.metrics import confidence

    keys = ["compression", "benchmark"]
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


def _draw(answers, measure: str, folder: Path) -> None:
    """The figures, each a PNG with its words in a text file beside it."""
    import matplotlib

    matplotlib.use("Agg")
    from ethical_compression import figures

    for name, (fig, alt) in {
        "before_after": figures.confidence_before_after(answers, value=measure),
        "reliability": figures.reliability_diagram(answers),
        "where": figures.change_against_confidence(answers),
        "selective": figures.risk_coverage_curves(answers),
    }.items():
        with store.whole_or_nothing(folder / f"{name}.png") as file:
            fig.savefig(file, format="png", dpi=200)
        with store.whole_or_nothing(folder / f"{name}.txt") as file:
            file.write_text(alt + "\n", encoding="utf-8")
