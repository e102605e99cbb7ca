"""What the tables of Part II came to, in sentences with a wording for every outcome.

The tables are those of `statistics.paired_table` and of `score.reliability`. A difference and an
equivalence are settled by the p-values that count all rows of their table (Holm).
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ethical_compression import statistics
from ethical_compression.words import (
    counted,
    from_to,
    interval,
    outcome,
    p_text,
    ranks_disagree,
    sentence,
    signed,
    with_interval,
)

OFTEN = "four times in five"
# Names of the calibration error's outcomes: less of it is better.
CALIBRATED = {"lower": "better calibrated", "higher": "worse calibrated"}


def outcomes(table: pd.DataFrame, prefix: str = "") -> list[str]:
    """What each row of a table of comparisons came to: names in `words.OUTCOMES`."""
    nan = pd.Series(math.nan, table.index)
    columns = [f"{prefix}difference", f"{prefix}p_holm", f"{prefix}p_tost_holm"]
    return [outcome(*row) for row in zip(*(table.get(c, nan) for c in columns), strict=True)]


def _settled(table: pd.DataFrame) -> pd.DataFrame:
    return table[[came in ("lower", "higher") for came in outcomes(table)]]


def _largest(table: pd.DataFrame) -> pd.Series:
    return table.loc[table["difference"].abs().idxmax()]


def _range(values: pd.Series, digits: int = 3, to: str = " to ") -> str:
    ends = [f"{value:.{digits}f}" for value in (values.min(), values.max())]
    return ends[0] if ends[0] == ends[1] else to.join(ends)


def _settling_p(row: Mapping, came: str) -> str:
    """The p-value behind a verdict, after Holm: that of the equivalence where it is one."""
    if came == "equivalent":
        return f"equivalence {p_text(row['p_tost_holm'])} after Holm"
    return f"{p_text(row['p_holm'])} after Holm"


def _points(value: float, low: float, high: float, level: float = 0.95) -> str:
    """A change of a squared error, in squared percentage points."""
    return interval(1e4 * value, 1e4 * low, 1e4 * high, level=level, least=0)


# --- Confidence before and after ------------------------------------------------------------------


def confidence_answer(tests: pd.DataFrame, margin: float, names: Mapping[str, str]) -> str:
    """The chapter's answer: `paired_table` of the probability of the right answer, with margin."""
    by_model = [
        f"{model}: {counted(outcomes(part), f'±{margin:g}')}"
        for model, part in tests.groupby("model", sort=False)
    ]
    text = f"Mean probability of the right answer, by benchmark, after Holm. {'; '.join(by_model)}."
    settled = _settled(tests)
    if len(settled):
        most = _largest(settled)
        title = names.get(most["benchmark"], most["benchmark"])
        return (
            f"{text} The largest settled change is that of {most['model']} on {title}: "
            f"{with_interval(most)}."
        )
    return f"{text} {detectable(tests, margin)}"


def largest_change(tests: pd.DataFrame, model: str, names: Mapping[str, str]) -> str:
    """Of one model: its largest settled change or, where none is, its largest estimate."""
    rows = tests[tests["model"] == model]
    if rows.empty:
        return f"{model} was not run here."
    settled = _settled(rows)
    if settled.empty:
        return (
            f"No change is settled; the largest estimate is this. "
            f"{sentence(_largest(rows), names=names)}"
        )
    return f"Of the settled changes the largest. {sentence(_largest(settled), names=names)}"


def counts(tests: pd.DataFrame, model: str, margin: float) -> str:
    """Of one model: how many benchmarks came to what."""
    return counted(outcomes(tests[tests["model"] == model]), f"±{margin:g}")


def detectable(tests: pd.DataFrame, margin: float) -> str:
    """What the smallest change is that so many questions find, beside the margin."""
    known = tests[tests["detectable"].notna()]
    if known.empty:
        return "No answer changed, so that there is no spread to say what could have been found."
    enough = int((known["detectable"] <= margin).sum())
    return (
        f"With {_range(known['n'], 0)} questions a single test finds a change {OFTEN} from "
        f"{_range(known['detectable'])} on, by benchmark and model: no more than the margin of "
        f"±{margin:g} in {enough} of {len(known)} rows."
    )


def disagreements(tests: pd.DataFrame, names: Mapping[str, str]) -> str:
    """Rows in which the t-test and Wilcoxon's test differ, by their own p-values."""
    found = [row for _, row in tests.iterrows() if ranks_disagree(row)]
    if not found:
        return "The t-test and Wilcoxon's test agree, at 5%, in all rows."
    said = "; ".join(
        f"{row['model']} on {names.get(row['benchmark'], row['benchmark'])} "
        f"({p_text(row['p'])}, Wilcoxon {p_text(row['p_wilcoxon'])})"
        for row in found
    )
    return (
        f"The t-test and Wilcoxon's test disagree, at 5%, in {len(found)} of {len(tests)} rows: "
        f"{said}. The first asks about the mean, the second about what most questions do: where "
        "they differ, a few questions move far, or many by little."
    )


def against_guessing(table: pd.DataFrame, names: Mapping[str, str]) -> str:
    """Does the full model know anything? From `reliability.against_guessing`."""
    said = {
        "lower": "worse than guessing",
        "higher": "better than guessing",
        "equivalent": "shown to be as good as guessing",
        "open": "not told apart from guessing",
        "untestable": "not testable against guessing",
    }
    parts = [
        f"{100 * row['accuracy']:.1f}% of {row['n']:,} on "
        f"{names.get(row['benchmark'], row['benchmark'])}, where guessing has "
        f"{100 * row['guessing']:.1f}% ({said[came]}, {_settling_p(row, came)})"
        for (_, row), came in zip(table.iterrows(), outcomes(table), strict=True)
    ]
    text = f"The full model is right in {'; '.join(parts)}."
    came = outcomes(table)

    def titles(chosen) -> str:
        return " and ".join(names.get(name, name) for name in table["benchmark"][chosen])

    worse = [one == "lower" for one in came]
    unknown = [one not in ("lower", "higher") for one in came]
    if any(worse):
        text += (
            f" On {titles(worse)} its likelihoods point away from the right answer: what "
            "compression does to its confidence there says nothing of knowledge kept or lost."
        )
    if any(unknown):
        text += (
            f" On {titles(unknown)} it is not shown to know anything that compression could take."
        )
    return text


def gptq_against_rtn(test, bits: int, group_size: int) -> str:
    """GPTQ's perplexity against rounding's: `paired_test` of nats a token, rounding first."""
    start = f"At {bits} bits in groups of {group_size}"
    ratio = [100 * (math.exp(x) - 1) for x in (test.difference, test.ci_low, test.ci_high)]
    said = interval(*ratio, least=1, unit="%")
    came = outcome(test.difference, test.p)
    if came == "untestable":
        return f"{start}, the perplexities of GPTQ and rounding could not be compared."
    verdict = {
        "lower": "GPTQ reads the text with less perplexity than rounding",
        "higher": "GPTQ reads the text with more perplexity than rounding",
        "open": "the perplexities of GPTQ and rounding are not told apart",
    }[came]
    return f"{start}, {verdict}: {said}, over {test.n} paired windows."


def turned(rows: Sequence[tuple[str, Sequence[float]]]) -> str:
    """What writing two answers in the other order does: (title, released ×2, stated ×2), in %."""
    if not rows:
        return "No benchmark of two answers is run here."

    def said(before: float, after: float) -> str:
        first, second = f"{before:.1f}", f"{after:.1f}"
        return f"{second} as before" if first == second else f"{second} instead of {first}"

    return " ".join(
        f"With the two answers of {title} written in the other order, the full model's calibration "
        f"error is, as released, {said(*numbers[:2])}; as stated, {said(*numbers[2:])}."
        for title, numbers in rows
    )


def calibration_changes(table: pd.DataFrame, margin: float) -> str:
    """Changes from the full model: `reliability.changes` with a key `model`."""
    said = {
        "lower": "better calibrated than the full model",
        "higher": "worse calibrated than the full model",
        "equivalent": f"shown to lie within ±{1e4 * margin**2:.0f}",
        "open": "not settled",
        "untestable": "not testable",
    }
    parts = []
    for (_, row), came in zip(table.iterrows(), outcomes(table), strict=True):
        gap = (100 * row[f"gap_{name}"] for name in ("difference", "ci_low", "ci_high"))
        found = f", found {OFTEN} from {1e4 * row['detectable']:.0f} on" if came == "open" else ""
        parts.append(
            f"{row['model']} {_points(row['difference'], row['ci_low'], row['ci_high'])}, "
            f"{said[came]}{found}; confidence − share right {interval(*gap, least=1)} points"
        )
    return (
        "Changes of the squared calibration error from the full model, in squared points, after "
        f"Holm: {'. '.join(parts)}."
    )


# --- Length ---------------------------------------------------------------------------------------


def length_and_gap(slopes: pd.DataFrame, fifths: pd.DataFrame, names: Mapping[str, str]) -> str:
    """Does overconfidence grow with length? `reliability.gap_per_doubling`, `gap_by_length`."""
    rows = slopes.set_index("which")
    within, pooled = rows.loc["within benchmarks"], rows.loc["pooled"]

    def said(row) -> str:
        numbers = (100 * row[name] for name in ("slope", "ci_low", "ci_high"))
        return f"{interval(*numbers, least=1)} points"

    came = outcome(within["slope"], within["p"])
    if came == "untestable":
        return "The options of a benchmark do not differ in length here: nothing can be told."
    verdict = {
        "higher": "the longer a question's answers, the more overconfident the model",
        "lower": "the longer a question's answers, the less overconfident the model",
        "open": "whether overconfidence grows or falls with length is not settled",
    }[came]
    text = (
        f"Within benchmarks {verdict}: {said(within)} for each doubling. By themselves, "
        + "; ".join(
            f"{names.get(name, name)} {said(row)} ({p_text(row['p_holm'])} after Holm)"
            for name, row in rows.iloc[2:].iterrows()
            if not math.isnan(row["slope"])
        )
        + "."
    )
    first, last = fifths.iloc[0], fifths.iloc[-1]
    ends = [
        interval(*(100 * row[name] for name in ("gap", "gap_low", "gap_high")), least=1)
        for row in (first, last)
    ]
    text += (
        f" The shortest part of every benchmark (mean {first['length']:.1f}) has {ends[0]} points, "
        f"the longest ({last['length']:.1f}) {ends[1]}."
    )
    if not math.isnan(pooled["slope"]) and (pooled["slope"] < 0) != (within["slope"] < 0):
        return (
            f"{text} Pooled over benchmarks the sign is the other one, {said(pooled)}: that is a "
            "difference between benchmarks, of which one has the short answers and another the "
            "long ones, and says nothing of length."
        )
    return f"{text} Pooled over benchmarks it would be {said(pooled)}."


def normalisations(changed: pd.DataFrame) -> str:
    """Are effects made by how likelihoods are normalised? A row a `model` and `normalised`."""
    parts = []
    for model, part in changed.groupby("model", sort=False):
        signs = set(np.sign(part["difference"]))
        settled = len(_settled(part))
        alike = "one sign" if len(signs) == 1 else "different signs"
        parts.append(f"{model}: {alike} under all {len(part)}, {settled} settled")
    return (
        f"Change of the probability of the right answer, after Holm. {'; '.join(parts)}. A change "
        "that is settled with one sign under all of them is not made by length alone."
    )


# --- Where the change falls -----------------------------------------------------------------------


def slope_table(slopes: Sequence, margin: float) -> pd.DataFrame:
    """`statistics.Slope`s as a table that `outcomes` reads, Holm over the slopes given.

    Where the interval is unbounded, the standard error tells nothing (weak instruments): there is
    then no test of equivalence and no smallest slope that would be found (NaN).
    """
    errors = [
        one.se if math.isfinite(one.ci_low) and math.isfinite(one.ci_high) else math.nan
        for one in slopes
    ]
    table = pd.DataFrame(
        {
            "difference": [one.slope for one in slopes],
            "ci_low": [one.ci_low for one in slopes],
            "ci_high": [one.ci_high for one in slopes],
            "p": [one.p for one in slopes],
            "p_tost": [
                statistics.p_within(one.slope, se, margin, one.n - 2)
                for one, se in zip(slopes, errors, strict=True)
            ],
            "detectable": [
                statistics.minimum_detectable(se, one.n - 2) if se > 0 else math.nan
                for one, se in zip(slopes, errors, strict=True)
            ],
        }
    )
    for name in ("p", "p_tost"):
        known = table[name].notna()
        table[f"{name}_holm"] = math.nan
        table.loc[known, f"{name}_holm"] = statistics.holm(table.loc[known, name])
    return table


def slopes_said(slopes: Sequence, margin: float) -> str:
    """How many slopes came to what, and between which they lie."""
    table = slope_table(slopes, margin)
    known = table["difference"].dropna()
    if known.empty:
        return "no slope could be computed"
    names = {"lower": "below zero", "higher": "above zero"}
    ends = [signed(value, 2) for value in (known.min(), known.max())]
    between = ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
    return f"{between} ({counted(outcomes(table), f'±{margin:g}', names)}, after Holm)"


def _found_from(table: pd.DataFrame) -> str:
    """From which slope on those that are not settled would have been found; "" for none."""
    unsettled = table.loc[[came == "open" for came in outcomes(table)], "detectable"]
    if unsettled.empty:
        return ""
    if unsettled.isna().all():
        return "their intervals are unbounded, so that nothing tells which slope would be found"
    text = f"a slope would have been found {OFTEN} from {_range(unsettled, 2)} on"
    unknown = int(unsettled.isna().sum())
    return (
        f"{text} (for {unknown} of {len(unsettled)}, whose interval is unbounded, nothing tells)"
        if unknown
        else text
    )


def direction(slopes: Sequence, margin: float) -> str:
    """What the directed slopes came to, and what that does not show."""
    table = slope_table(slopes, margin)
    came = outcomes(table)
    total = len(came)
    names = {"lower": "below zero", "higher": "above zero"}
    text = f"The directed slopes, after Holm: {counted(came, f'±{margin:g}', names)}."
    if "lower" in came or "higher" in came:
        text += (
            " Where one is clear of zero, the change depends on confidence beyond what an even "
            "disturbance of the log-likelihoods does by itself."
        )
    if came.count("equivalent") == total:
        text += (
            f" So no preferred direction larger than {margin:g} is there, unless flattening and "
            "coming back cancel."
        )
    if "open" in came:
        text += (
            " Of those not settled we cannot tell whether the change prefers a direction: "
            f"{_found_from(table)}."
        )
    return text


def change_answer(naive: Sequence, second: Sequence, directed: Sequence, margin: float) -> str:
    """The chapter's answer, of the slopes from the full model to the quantized ones."""
    text = (
        "The slope of the change of confidence on confidence is, as usually drawn, "
        f"{slopes_said(naive, margin)}; on a second look, without the noise of the first, "
        f"{slopes_said(second, margin)}; and in the directed part alone "
        f"{slopes_said(directed, margin)}"
    )
    found = _found_from(slope_table(directed, margin))
    return f"{text}. Of the directed slopes not settled: {found}." if found else f"{text}."


def weighting(found: pd.DataFrame, same, labels: Sequence[str], among: str) -> str:
    """Does uncertainty-weighted GPTQ help on the least sure questions, text read alike?

    found: `statistics.paired_by_group` of distances, the least sure group first; same: `tost` of
    nats a token.
    """
    least = found.iloc[0]
    came = outcome(least["difference"], least["p_holm"])
    verdict = {
        "lower": "the weighting shrinks the distance on them",
        "higher": "the weighting widens the distance on them",
        "open": "the data do not settle whether the weighting helps",
        "untestable": "the two could not be compared",
    }[came]
    from scipy import stats

    half = (least["ci_high"] - least["ci_low"]) / 2
    text = (
        f"On the {least['n']:,} least sure questions ({among}), the mean distance from the full "
        f"model is {least['mean_first']:.3f} for {labels[0]} and {least['mean_second']:.3f} "
        f"weighted, a difference of {with_interval(least)}, {p_text(least['p_holm'])} after Holm: "
        f"{verdict}."
    )
    if came == "open" and half > 0:
        se = half / stats.t.ppf(0.975, least["n"] - 1)
        found_from = statistics.minimum_detectable(se, least["n"] - 1)
        text += f" So many questions find a difference {OFTEN} from {found_from:.3f} on."
    # TOST's interval has level 90%; a change is claimed at 5%, as everywhere.
    wider = stats.t.ppf(0.975, same.n - 1) / stats.t.ppf(0.95, same.n - 1)
    half = wider * (same.ci_high - same.ci_low) / 2
    low, high = same.difference - half, same.difference + half
    read = (
        "equal within the margin"
        if same.equivalent
        else "not shown to be equal"
        if low <= 0 <= high
        else "changed"
    )
    return (
        f"{text} Log-perplexity changes by {interval(same.difference, low, high)} nats: {read} "
        f"(TOST {p_text(same.p)})."
    )


def judged(kinds: pd.DataFrame | None) -> str:
    """What the judged answers show, and what of it is the judge's: `score.judged.by_wording`."""
    if kinds is None:
        return "The judged answers are not with this copy of the book."
    rows = kinds.set_index("answers")

    def change(row, what: str = "accepted") -> str:
        numbers = (row[f"{what}_{key}"] for key in ("difference", "ci_low", "ci_high"))
        return f"{interval(*numbers)}, {p_text(row[f'{what}_p'])}"

    text = f"Over all questions the share of accepted answers changes by {change(rows.loc['all'])}."
    if "same words" not in rows.index:
        return (
            f"{text} Fewer than two answers are in the same words, so that nothing tells the model "
            "from its judge."
        )
    twins = rows.loc["same words"]
    other = 1 - twins["equal_scores"] / twins["accepted_n"]
    text += (
        f" {twins['accepted_n']:,.0f} of {rows.loc['all', 'accepted_n']:,.0f} answers are the "
        f"same, word for word, in both files; the judge gives {other:.0%} of those pairs two "
        f"different scores, and on them the share accepted changes by {change(twins)} (the score "
        f"by {change(twins, 'score')})."
    )
    if other == 0:
        text += " So the judge is consistent, and the change over all answers is the model's."
    elif min(twins["accepted_p"], twins["score_p"]) < 0.05:
        text += (
            " That part cannot be an effect of quantization: the two files were judged under "
            "conditions that were not the same, which the files do not tell us. The change over "
            "all answers mixes model and judge."
        )
    else:
        text += (
            " The judge is not consistent, but no shift of its mean is shown: the change over all "
            "answers holds its noise."
        )
    if "other words" in rows.index:
        text += f" On the answers whose words changed it is {change(rows.loc['other words'])}."
    return text


# --- What calibration repairs ---------------------------------------------------------------------


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

    def came(row) -> str:
        return outcomes(pd.DataFrame([row]))[0]

    def change(row) -> str:
        return _points(row["difference"], row["ci_low"], row["ci_high"])

    own = {
        "lower": "lowers",
        "higher": "raises",
        "equivalent": "leaves within the margin",
        "open": "does not show to change",
        "untestable": "cannot be shown to change",
    }[came(against_none)]
    full = {
        "lower": "better calibrated than the full model with its own",
        "higher": "worse calibrated than the full model with its own",
        "equivalent": f"as well calibrated as the full model with its own, within {squared}",
        "open": "neither shown to be as well calibrated as the full model with its own, nor to "
        "differ",
        "untestable": "not comparable with the full model",
    }[came(against_full)]
    left = {
        "lower": "lower than that model's",
        "higher": "higher than that model's: worse, and no temperature mends it",
        "equivalent": f"shown to lie within ±{brier_margin:g} of that model's",
        "open": "not told apart from that model's",
        "untestable": "not comparable with that model's",
    }[came(brier)]
    return (
        f"{label}: the {fix} {own} the squared calibration error "
        f"({from_to(1e4 * against_none['before'], 1e4 * against_none['after'], 0)} squared points, "
        f"a change of {change(against_none)}). It is then {full} ({change(against_full)}). Its "
        f"Brier score is {left}: {with_interval(brier)}, {_settling_p(brier, came(brier))}."
    )


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
        f"{row['model']} {_points(row['difference'], row['ci_low'], row['ci_high'])}, {said[came]}"
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
        f"{row['model']} {said[came]} ({with_interval(row)}, {_settling_p(row, came)})"
        for (_, row), came in zip(table.iterrows(), outcomes(table), strict=True)
    )


def still_off(table: pd.DataFrame, models: Sequence[str], fixes: Sequence[str]) -> str:
    """Confidence − share right on some questions: `reliability.gaps` by `model` and `fix`."""
    said = {"lower": "not sure enough", "higher": "too sure", "open": "not settled"}
    table = table.assign(came=outcomes(table)).set_index(["model", "fix"])
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
    return f"{text}, found {OFTEN} from {_range(pd.Series(found), 1)} points on"


def order(areas: pd.DataFrame, names: Mapping[str, str]) -> str:
    """What a temperature does to the area under the risk–coverage curve, beside what models do.

    areas: `model`, `benchmark`, `none`, `temperature` (areas), `wrong` (share wrong of all).
    """
    moved = (areas["temperature"] - areas["none"]).abs()
    most = areas.loc[moved.idxmax()]
    full = areas[areas["model"] == "full"].set_index("benchmark")
    rest = areas[areas["model"] != "full"].copy()

    def where(row) -> str:
        return f"{row['model']} on {names.get(row['benchmark'], row['benchmark'])}"

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


def calibration_answer(
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
    before, after = (_range(1e4 * itself[name], 0, "–") for name in ("before", "after"))
    text = (
        f"A temperature takes the quantized models' squared calibration error from {before} to "
        f"{after} squared points ({counted(outcomes(itself), names=names)}). Against the "
        "full model, also repaired, after Holm: "
        f"{counted(outcomes(same_fix), f'±{1e4 * margin**2:.0f}', CALIBRATED)}"
    )
    unsettled = same_fix.loc[[came == "open" for came in outcomes(same_fix)], "detectable"]
    if unsettled.notna().any():
        text += f" (a change of {_range(1e4 * unsettled, 0)} would have been found {OFTEN})"
    knows = {
        "lower": "know more than equal probabilities do",
        "higher": "are worse than equal probabilities",
        "equivalent": f"are shown to lie within ±{brier_margin:g} of equal probabilities",
        "open": "are not told from equal probabilities",
    }
    most = _largest(brier)
    better = {"lower": "better", "higher": "worse"}
    return (
        f"{text}. By the Brier score, which holds what they know, too, models with a temperature: "
        f"{counted(outcomes(equal), names=knows)}; the quantized ones against the full one: "
        f"{counted(outcomes(brier), f'±{brier_margin:g}', better)}, "
        f"the largest difference {with_interval(most)} ({most['model']})."
    )
