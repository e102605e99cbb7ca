"""What the tables of *What calibration repairs* came to, a wording for every outcome.

The tables are those of `metrics.reliability` and paired tests of Brier scores. A difference and an
equivalence are settled by the p-values that count all rows of their table (Holm).
"""

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from ethical_compression import statistics
from ethical_compression.words import (
    OFTEN,
    between,
    counted,
    foremost,
    from_to,
    interval,
    outcome_of,
    outcomes,
    settling_p,
    signed,
    span,
    with_interval,
)

# Names of the calibration error's outcomes: less of it is better.
CALIBRATED = {"lower": "better calibrated", "higher": "worse calibrated"}


def squared_points(row: Mapping) -> str:
    """`with_interval` of a change of a squared error, in squared percentage points."""
    return with_interval(row, scale=1e4, least=0)


def repaired(
    label: str,
    fix: str,
    against_none: Mapping,
    against_full: Mapping,
    brier: Mapping,
    margin: float,
    brier_margin: float,
) -> str:
    """What a fix does to one model, and what it leaves between it and the full one, so fixed.

    against_none, against_full: rows of `reliability.changes`; brier: of a table of paired tests.
    """
    squared = f"±{1e4 * margin**2:.0f}"

    own = {
        "lower": "lowers",
        "higher": "raises",
        "equivalent": "leaves within the margin",
        "open": "is not shown to change",
        "untestable": "cannot be shown to change",
    }[outcome_of(against_none)]
    full = {
        "lower": "better calibrated than the full model with its own",
        "higher": "worse calibrated than the full model with its own",
        "equivalent": f"as well calibrated as the full model with its own, within {squared}",
        "open": "neither shown to be as well calibrated as the full model with its own, nor to "
        "differ",
        "untestable": "not comparable with the full model",
    }[outcome_of(against_full)]
    left = {
        "lower": "lower than that model's",
        "higher": "higher than that model's: worse, and no temperature mends it",
        "equivalent": f"shown to lie within ±{brier_margin:g} of that model's",
        "open": "not told apart from that model's",
        "untestable": "not comparable with that model's",
    }[outcome_of(brier)]
    return (
        f"{label}: the {fix} {own} the squared calibration error "
        f"({from_to(1e4 * against_none['before'], 1e4 * against_none['after'], 0)} squared points, "
        f"a change of {squared_points(against_none)}). It is then {full} "
        f"({squared_points(against_full)}). Its Brier score is {left}: {with_interval(brier)}, "
        f"{settling_p(brier, outcome_of(brier))}."
    )


def by_width(
    widths: Sequence[int],
    itself: pd.DataFrame,
    same_fix: pd.DataFrame,
    brier: pd.DataFrame,
    margin: float,
    brier_margin: float,
) -> dict[str, str]:
    """`repaired` by a temperature, of GPTQ at each width of the prose, by the width.

    itself, same_fix, brier: as `answer` takes them, a row a model, the full one's own ignored.
    """
    rows = [table.set_index("compression") for table in (itself, same_fix, brier)]
    said = {}
    for bits in widths:
        label = f"GPTQ {bits}-bit"
        said[str(bits)] = f"{bits} bits were not run here."
        if label in rows[1].index:
            of_label = [table.loc[label] for table in rows]
            said[str(bits)] = repaired(label, "temperature", *of_label, margin, brier_margin)
    return said


def found_from(tests: pd.DataFrame) -> str:
    """The changes that a single of these paired tests finds four times in five, as a span."""
    rows = tests[tests["se"] > 0]
    if rows.empty:
        return "none at all"
    known = [statistics.minimum_detectable(row.se, row.n - 1) for row in rows.itertuples()]
    return f"from {span(known)}"


def fitted_numbers(numbers: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """Fitted temperatures T, alone and with a price per byte, and that price γ: a row a model.

    numbers: of `metrics.calibration_tables.numbers`; names: titles of the benchmarks.
    """
    shown = {
        "T": ("temperature", "temperature", ".1f"),
        "T, with length": ("temperature and length", "temperature", ".1f"),
        "γ": ("temperature and length", "length_weight", ".3f"),
    }
    labels = list(numbers.index.unique("compression"))
    table = pd.DataFrame({"Model": labels})
    for benchmark, name in names.items():
        for title, (fix, column, digits) in shown.items():
            cells = [numbers.loc[(label, benchmark, fix), column] for label in labels]
            table[f"{name}: {title}"] = [format(one, digits).replace("-", "−") for one in cells]
    return table


def carried_over(table: pd.DataFrame, margin: float) -> str:
    """The full model's temperature in place of a model's own: `reliability.changes` by model."""
    said = {
        "lower": "better with the full model's",
        "higher": "worse with the full model's",
        "equivalent": f"alike within ±{1e4 * margin**2:.0f}",
        "open": "not settled",
        "untestable": "not testable",
    }
    parts = [
        f"{row['compression']} {squared_points(row)}, {said[came]}"
        for (_, row), came in zip(table.iterrows(), outcomes(table), strict=True)
    ]
    return "; ".join(parts)


def _near_equal(margin: float) -> str:
    """How little, or how much, a Brier score within ±margin of equal probabilities can know.

    A calibrated model right in a share s of two-option questions has 2·s·(1 − s), summed over the
    options, and equal probabilities have 1/2: it gains 2·(s − 1/2)².
    """
    share = 0.5 + math.sqrt(margin / 2)
    if share > 1:
        return ""
    return f" (as does a calibrated model right in {share:.0%} of two-option questions)"


def against_equal(table: pd.DataFrame, margin: float) -> str:
    """Brier scores against equal probabilities, less being better: paired tests by `model`.

    margin: that of the equivalence, in units of the Brier score.
    """
    said = {
        "lower": "knows more than nothing",
        "higher": "is worse than saying nothing",
        "equivalent": f"lies within ±{margin:g} of equal probabilities{_near_equal(margin)}",
        "open": "is not told from saying nothing",
        "untestable": "could not be compared",
    }
    return "; ".join(
        f"{row['compression']} {said[came]} ({with_interval(row)}, {settling_p(row, came)})"
        for (_, row), came in zip(table.iterrows(), outcomes(table), strict=True)
    )


def still_off(table: pd.DataFrame, models: Sequence[str], fixes: Sequence[str]) -> str:
    """Confidence − share right on some questions: `reliability.gaps` by `model` and `fix`."""
    said = {"lower": "not sure enough", "higher": "too sure", "open": "not settled"}
    table = table.assign(came=outcomes(table)).set_index(["compression", "fix"])
    parts = []
    for model in models:
        for fix in fixes:
            row = table.loc[(model, fix)]
            numbers = (100 * row[name] for name in ("difference", "ci_low", "ci_high"))
            with_fix = "no fix" if fix == "none" else fix
            parts.append(
                f"{model} with {with_fix} {interval(*numbers, least=1)} points, {said[row['came']]}"
            )
    repaired_ones = table[table.index.get_level_values("fix") != "none"]
    names = {"lower": "not sure enough", "higher": "too sure"}
    text = (
        f"{'; '.join(parts)}. Over all fixes and models, after Holm: "
        f"{counted(repaired_ones['came'], names=names)}"
    )
    unsettled = repaired_ones[repaired_ones["came"] == "open"]
    if unsettled.empty:
        return text
    found = [
        100 * statistics.minimum_detectable(row.se, row.n - 1)
        for row in unsettled.itertuples()
        if row.se > 0
    ]
    return f"{text}, found {OFTEN} from {span(pd.Series(found), 1)} points on"


def order(areas: pd.DataFrame, names: Mapping[str, str]) -> str:
    """What a temperature does to the area under the risk–coverage curve, beside what models do.

    areas: `model`, `benchmark`, `none`, `temperature` (areas), `wrong` (share wrong of all).
    """
    moved = (areas["temperature"] - areas["none"]).abs()
    most = areas.loc[moved.idxmax()]
    full = areas[areas["compression"] == "full"].set_index("benchmark")
    rest = areas[areas["compression"] != "full"].copy()

    def where(row) -> str:
        return f"{row['compression']} on {names.get(row['benchmark'], row['benchmark'])}"

    text = (
        f"Within one benchmark a temperature moves the area under a curve by up to "
        f"{moved.max():.3f} ({where(most)})."
    )
    if rest.empty:
        return text
    rest["apart"] = rest["temperature"] - rest["benchmark"].map(full["temperature"])
    rest["missed"] = rest["wrong"] - rest["benchmark"].map(full["wrong"])
    far = rest.loc[rest["apart"].abs().idxmax()]
    end = rest.loc[rest["missed"].abs().idxmax()]
    return (
        f"{text} The area of a quantized model, with its own temperature, lies up to "
        f"{signed(far['apart'])} from the full model's ({where(far)}), and its right end, the "
        f"share wrong when all is answered, up to {signed(end['missed'])} ({where(end)})."
    )


def answer(
    itself: pd.DataFrame,
    same_fix: pd.DataFrame,
    brier: pd.DataFrame,
    equal: pd.DataFrame,
    margin: float,
    brier_margin: float,
) -> str:
    """The chapter's answer, of quantized models with a temperature of their own.

    itself: changes of the squared error by the temperature; same_fix: from the full model, so
    fixed, to them; brier: the same of Brier scores; equal: Brier scores of all models, the full one
    too, against equal probabilities.
    """
    names = {"lower": "lower", "higher": "higher", "equivalent": "the same within the margin"}
    before, after = (between(1e4 * itself[name], 0) for name in ("before", "after"))
    text = (
        f"A temperature takes the quantized models' squared calibration error from "
        f"{before} to {after} squared points ({counted(outcomes(itself), names=names)}). Against "
        "the full model, also repaired, after Holm: "
        f"{counted(outcomes(same_fix), f'±{1e4 * margin**2:.0f}', CALIBRATED)}"
    )
    unsettled = same_fix.loc[outcomes(same_fix) == "open", "detectable"]
    if unsettled.notna().any():
        text += f" (a change of {span(1e4 * unsettled, 0)} would have been found {OFTEN})"
    knows = {
        "lower": "better than equal probabilities",
        "higher": "worse than equal probabilities",
        "equivalent": f"shown to lie within ±{brier_margin:g} of equal probabilities",
        "open": "not told from equal probabilities",
    }
    most, which = foremost(brier, "difference")
    better = {"lower": "better", "higher": "worse"}
    return (
        f"{text}. By the Brier score, which holds what they know, too, models with a temperature: "
        f"{counted(outcomes(equal), names=knows)}; the quantized ones against the full one: "
        f"{counted(outcomes(brier), f'±{brier_margin:g}', better)}; "
        f"the {which} is {with_interval(most)}, of {most['compression']}."
    )
