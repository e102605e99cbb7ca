"""What the tables of *Where the change falls* came to, a wording for every outcome.

Slopes of the change of confidence on confidence, the weighted quantization, and judged answers.
"""

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from ethical_compression import statistics
from ethical_compression.words import (
    OFTEN,
    SETTLED,
    counted,
    interval,
    outcome,
    outcomes,
    p_text,
    signed,
    span,
    with_interval,
)


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
        table[f"{name}_holm"] = statistics.over_tests(table[name])
    return table


def slope_cell(slope: statistics.Slope) -> str:
    """A slope with its interval; unbounded where the two looks share too little."""
    said = [signed(number, 2) for number in (slope.slope, slope.ci_low, slope.ci_high)]
    if math.inf in (-slope.ci_low, slope.ci_high):
        return f"{said[0]} (unbounded)"
    return f"{said[0]} ({said[1]} to {said[2]})"


def slope_rows(slopes: pd.DataFrame, margin: float) -> pd.DataFrame:
    """Slopes as the page shows them, and the tests of those without the noise of the first look.

    slopes: `score.divergence.slopes` with `from` and `to`. Holm's families are the slopes of one
    kind, of the quantized models; those of the control (where `from` is no "full") are others.
    Columns: `from_to`, `benchmark`, `n`; `naive`, `second` and `directed` as text; `agreement` of
    the looks; and of `slope_table` `second_p_holm` and `directed_…`.
    """
    real = slopes["from"] == "full"
    kinds = ("naive", "second", "directed")
    shown = slopes.assign(
        from_to=slopes["from"] + " → " + slopes["to"],
        agreement=[one.agreement for one in slopes["second"]],
        **{kind: slopes[kind].map(slope_cell) for kind in kinds},
    )
    for kind in kinds[1:]:
        for part in (slopes[real], slopes[~real]):
            tests = slope_table(part[kind], margin).set_index(part.index)
            for name in ("p_holm", "p_tost_holm", "detectable"):
                shown.loc[part.index, f"{kind}_{name}"] = tests[name]
    return shown


def all_slopes(slopes: pd.DataFrame, margin: float) -> dict[str, str]:
    """What the slopes of each kind came to, quantized and control, a text for each place.

    slopes: as `slope_rows` takes them.
    """
    real = slopes["from"] == "full"
    agreement = [one.agreement for one in slopes.loc[real, "second"]]
    said = {
        f"{part}-{kind}": slopes_said(chosen[kind], margin)
        for part, chosen in (("real", slopes[real]), ("control", slopes[~real]))
        for kind in ("naive", "second", "directed")
    }
    return said | {
        "verdict": direction(slopes.loc[real, "directed"], margin),
        "agreement": span(agreement, 2),
    }


def models_run(sources: Sequence[Mapping]) -> dict[str, str]:
    """Which full models a run holds, and what it says of size; sources: of `models.describe`."""
    several = len(sources) > 1
    named = ", ".join(f"{one['name']} ({one['parameters'] / 1e6:,.0f} million)" for one in sources)
    return {
        "models": f"The full model{'s are' if several else ' is'} {named}:",
        "size-note": "This run holds several sizes; the figure by size follows."
        if several
        else "This run holds one model only, so it says nothing about size: "
        "the profiles gpu and paper run several, and then a figure by size follows here.",
    }


def distances(table: pd.DataFrame) -> str:
    """Mean distances over benchmarks, in both senses; table: `metrics.distances.summary`."""
    mean = table.groupby(["over", "compression"], sort=False)["mean"].mean()
    return "; ".join(
        f"{label}: {value:.3f} over the options, {mean['vocabulary', label]:.3f} over the "
        "vocabulary"
        for label, value in mean["options"].items()
    )


def slopes_said(slopes: Sequence, margin: float) -> str:
    """How many slopes came to what, and between which they lie."""
    table = slope_table(slopes, margin)
    known = table["difference"].dropna()
    if known.empty:
        return "no slope could be computed"
    names = {"lower": "below zero", "higher": "above zero"}
    between = span(known, said=lambda end: signed(end, 2))
    return f"{between} ({counted(outcomes(table), f'±{margin:g}', names)}, after Holm)"


def _found_from(table: pd.DataFrame) -> str:
    """From which slope on those that are not settled would have been found; "" for none."""
    unsettled = table.loc[outcomes(table) == "open", "detectable"]
    if unsettled.empty:
        return ""
    if unsettled.isna().all():
        return "their intervals are unbounded, so that nothing tells which slope would be found"
    text = f"a slope would have been found {OFTEN} from {span(unsettled, 2)} on"
    unknown = int(unsettled.isna().sum())
    return (
        f"{text} (for {unknown} of {len(unsettled)}, whose interval is unbounded, nothing tells)"
        if unknown
        else text
    )


def direction(slopes: Sequence, margin: float) -> str:
    """What the directed slopes came to, and what that does not show."""
    table = slope_table(slopes, margin)
    came = list(outcomes(table))
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


def answer(naive: Sequence, second: Sequence, directed: Sequence, margin: float) -> str:
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
    nats a token. That the text is read alike was asked beforehand; the tests are over questions,
    and what another calibration seed would do stands beside them.
    """
    least = found.iloc[0]
    came = outcome(least["difference"], least["p_holm"])
    verdict = {
        "lower": "with these calibration seeds the weighting shrinks the distance on them",
        "higher": "with these calibration seeds the weighting widens the distance on them",
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
    if not math.isnan(least["seeds_low"]):
        over_seeds = interval(least["difference"], least["seeds_low"], least["seeds_high"])
        open_to = came in SETTLED and least["seeds_low"] <= 0 <= least["seeds_high"]
        other = ", so that another seed may tell otherwise" if open_to else ""
        text += f" Over the seeds alone it is {over_seeds}{other}."
    # TOST's interval has level 90%; a change is claimed at 5%, as everywhere.
    wider = stats.t.ppf(0.975, same.n - 1) / stats.t.ppf(0.95, same.n - 1)
    half = wider * (same.ci_high - same.ci_low) / 2
    low, high = same.difference - half, same.difference + half
    read = (
        "equal within the margin, as was asked beforehand"
        if same.equivalent
        else "not shown to be equal, which was asked beforehand"
        if low <= 0 <= high
        else f"{'lower' if high < 0 else 'higher'} with the weighting, so the two do not read text "
        "alike, which was asked beforehand"
    )
    return (
        f"{text} Log-perplexity changes by {interval(same.difference, low, high)} nats: {read} "
        f"(TOST {p_text(same.p)})."
    )


def change_cell(row: Mapping, what: str) -> str:
    """A change of judged answers (`accepted` or `score`) with its interval and p-value."""
    numbers = (row[f"{what}_{key}"] for key in ("difference", "ci_low", "ci_high"))
    return f"{interval(*numbers)}, {p_text(row[f'{what}_p'])}"


def judged(kinds: pd.DataFrame | None) -> str:
    """What the judged answers show, and what of it is the judge's: `score.judged.by_wording`."""
    if kinds is None:
        return "The judged answers are not with this copy of the book."
    rows = kinds.set_index("answers")

    def change(row, what: str = "accepted") -> str:
        return change_cell(row, what)

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
