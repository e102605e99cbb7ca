"""What the tables of *Confidence before and after* came to, a wording for every outcome.

The tables are those of `statistics.paired_table` and of `metrics.reliability`. A difference and an
equivalence are settled by the p-values that count all rows of their table (Holm).
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ethical_compression.words import (
    OFTEN,
    counted,
    interval,
    largest,
    listed,
    outcome,
    outcomes,
    p_text,
    ranks_disagree,
    sentence,
    settled,
    settling_p,
    signed,
    span,
    with_interval,
)
from ethical_compression.words.calibration import CALIBRATED, squared_points


def answer(
    tests: pd.DataFrame,
    guessing: pd.DataFrame,
    moved: pd.DataFrame,
    margin: float,
    names: Mapping[str, str],
) -> str:
    """The chapter's answer: how sure of the right answer, and whether less well calibrated.

    tests: `paired_table` of the probability of the right answer, with that margin; guessing: as
    `against_guessing` reads it; moved: as `calibration_changes` reads it.
    """
    by_model = [
        f"{model}: {counted(outcomes(part), f'±{margin:g}')}"
        for model, part in tests.groupby("compression", sort=False)
    ]
    text = f"Mean probability of the right answer, by benchmark, after Holm. {'; '.join(by_model)}."
    found = settled(tests)
    if len(found):
        most = largest(found)
        title = names.get(most["benchmark"], most["benchmark"])
        known = guessing.loc[outcomes(guessing) == "higher", "benchmark"]
        what = ", where the full model is not shown to do better than guessing"
        text += (
            f" The largest settled change is that of {most['compression']} on {title}"
            f"{'' if most['benchmark'] in set(known) else what}: {with_interval(most)}."
        )
    else:
        text += f" {detectable(tests, margin)}"
    came = outcomes(moved)
    worse = listed(
        f"{row['compression']}, by {squared_points(row)}"
        for _, row in moved[came == "higher"].iterrows()
    )
    return (
        f"{text} Squared calibration error over all benchmarks, in squared points, after Holm: "
        f"{counted(came, 'the margin', CALIBRATED)}{f' ({worse})' if worse else ''}."
    )


def published(table: pd.DataFrame, simulated: pd.DataFrame) -> dict[str, str]:
    """What the published confidences and our simulation of intervals say, a text for each place.

    table: kept as `naacl2024_hellaswag_confidence`; simulated: as `calibration_intervals`.
    """
    by_model = table.pivot(index="model", columns="quantized", values="conf_true")
    change = by_model[1] - by_model[0]
    stars = table.loc[table["quantized"] == 1, "conf_true_significant"]
    said = {
        "published-least": signed(change.max(), 2),
        "published-most": signed(change.min(), 2),
        "published-starred": f"{int(stars.sum())} of {len(stars)} pairs",
        "published-conf": f"{table['conf'].min():.1f}",
    }
    for name, begins in (("ece", "ECE"), ("squared", "squared"), ("gap", "confidence")):
        held = simulated.loc[simulated["measure"].str.startswith(begins), "coverage"]
        said[f"coverage-{name}"] = span(held, said="{:.0%}".format)
    return said


def starred(values: pd.Series, significant: pd.Series) -> pd.Series:
    """Numbers as the study prints them: two digits, and an asterisk where a test finds a change."""
    stars = significant.astype(bool).map({True: "*", False: ""})
    return values.map("{:.2f}".format) + stars


def summary_table(
    ours: pd.DataFrame, theirs: pd.DataFrame, names: Mapping[str, str]
) -> pd.DataFrame:
    """Published confidences above ours, as the page shows them.

    ours: `metrics.confidence_tables.summary`, models in the order to show; theirs: kept as
    `naacl2024_hellaswag_confidence`.
    """

    def shown(table: pd.DataFrame, entropy: str) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "Benchmark": table["benchmark"],
                "Model": table["model"],
                "From": table["from"],
                "Accuracy": table["accuracy"],
                "Conf": table["conf"],
                "Conf_err": table["conf_err"],
                "Conf_true": starred(table["conf_true"], table["conf_true_significant"]),
                "H × 100": starred(table[entropy], table["entropy_significant"]),
            }
        )

    theirs = theirs.assign(
        **{"benchmark": "HellaSwag", "from": "published", "accuracy": math.nan},
        model=theirs["model"] + theirs["quantized"].map({0: "", 1: " + GPTQ"}),
    )
    ours = ours.assign(
        **{"benchmark": ours["benchmark"].map(names), "from": "this page"},
        model=ours["compression"],
    ).sort_values("benchmark", kind="stable")
    return pd.concat([shown(theirs, "entropy_x100"), shown(ours, "entropy")], ignore_index=True)


def definitions(measured: pd.DataFrame, names: Mapping[str, str]) -> str:
    """Where the two ways to count calibration error lie furthest apart.

    measured: of `metrics.confidence_tables.calibration`.
    """
    row = measured.loc[(measured["released"] - measured["stated"]).abs().idxmax()]
    return (
        f"The largest distance between the two is on {names[row['benchmark']]} "
        f"({row['compression']}): {100 * row['released']:.1f} as released, "
        f"{100 * row['stated']:.1f} as stated."
    )


def largest_change(tests: pd.DataFrame, model: str, names: Mapping[str, str]) -> str:
    """Of one model: its largest settled change or, where none is, its largest estimate."""
    rows = tests[tests["compression"] == model]
    if rows.empty:
        return f"{model} was not run here."
    found = settled(rows)
    if found.empty:
        return (
            f"No change is settled; the largest estimate is this. "
            f"{sentence(largest(rows), names=names)}"
        )
    return f"The largest settled change is this. {sentence(largest(found), names=names)}"


def counts(tests: pd.DataFrame, model: str, margin: float) -> str:
    """Of one model: how many benchmarks came to what."""
    return counted(outcomes(tests[tests["compression"] == model]), f"±{margin:g}")


def detectable(tests: pd.DataFrame, margin: float) -> str:
    """What the smallest change is that so many questions find, beside the margin."""
    known = tests[tests["detectable"].notna()]
    if known.empty:
        return "No answer changed, so that there is no spread to say what could have been found."
    enough = int((known["detectable"] <= margin).sum())
    return (
        f"With {span(known['n'], 0)} questions a single test finds a change {OFTEN} from "
        f"{span(known['detectable'])} on, by benchmark and model: no more than the margin of "
        f"±{margin:g} in {enough} of {len(known)} rows."
    )


def disagreements(tests: pd.DataFrame, names: Mapping[str, str]) -> str:
    """Rows in which the t-test and Wilcoxon's test differ, by their own p-values."""
    found = [row for _, row in tests.iterrows() if ranks_disagree(row)]
    if not found:
        return "The t-test and Wilcoxon's test agree, at 5%, in all rows."
    said = "; ".join(
        f"{row['compression']} on {names.get(row['benchmark'], row['benchmark'])} "
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
        f"{100 * row['guessing']:.1f}% ({said[came]}, {settling_p(row, came)})"
        for (_, row), came in zip(table.iterrows(), outcomes(table), strict=True)
    ]
    text = f"The full model is right in {'; '.join(parts)}."
    came = outcomes(table)

    def titles(chosen) -> str:
        return listed(names.get(name, name) for name in table["benchmark"][chosen])

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
            f"{row['compression']} {squared_points(row)}, "
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
        f" The shortest part of every benchmark ({first['length']:.1f} tokens on average) has "
        f"{ends[0]} points, the longest ({last['length']:.1f} tokens) {ends[1]}."
    )
    if not math.isnan(pooled["slope"]) and (pooled["slope"] < 0) != (within["slope"] < 0):
        return (
            f"{text} Pooled over benchmarks the sign is the other one, {said(pooled)}: that is a "
            "difference between benchmarks, of which one has the short answers and another the "
            "long ones, and says nothing of length."
        )
    return f"{text} Pooled over benchmarks it would be {said(pooled)}."


def levels(table: pd.DataFrame) -> dict[str, str]:
    """Confidence, gap and correlation with length under each normalisation, a text a place.

    table: of `metrics.confidence_tables.by_normalisation`.
    """
    said = {}
    for row in table.itertuples():
        short = {"none": "sum"}.get(row.normalisation, row.normalisation)
        said |= {short: f"{row.conf:.0f}%", f"gap-{short}": signed(row.gap, 1)}
        said[f"rho-{short}"] = signed(row.rho, 2)
    return said


def normalisations(changed: pd.DataFrame) -> str:
    """Are effects made by how likelihoods are normalised? A row a `model` and `normalised`."""
    parts = []
    for model, part in changed.groupby("compression", sort=False):
        signs = set(np.sign(part["difference"]))
        certain = len(settled(part))
        alike = "one sign" if len(signs) == 1 else "different signs"
        parts.append(f"{model}: {alike} under all {len(part)}, {certain} settled")
    return (
        f"Change of the probability of the right answer, after Holm. {'; '.join(parts)}. A change "
        "that is settled with one sign under all of them is not made by length alone."
    )


def beside_another(moves: Mapping[str, pd.DataFrame]) -> str:
    """What the compressions that both of two models had move in each: perplexity by rounding to
    nearest, and the probability of the right answer. moves: by model, of
    `metrics.confidence_tables.moves`; the second's order is kept."""
    (first, one), (second, other) = moves.items()
    both = other.merge(one, on="compression", suffixes=("_second", "_first"))
    said = []
    for value, scale, digits, what in (
        ("ratio", 1, 2, "perplexity as a multiple of the full model's"),
        ("moved", 100, 1, "points by which the probability of the right answer moves in the mean"),
    ):
        rows = both.dropna(subset=[f"{value}_first", f"{value}_second"])
        if value == "ratio":
            rows = rows[rows["compression"].str.startswith("RTN")]
        parts = [
            f"{row['compression']} {scale * row[f'{value}_first']:,.{digits}f} and "
            f"{scale * row[f'{value}_second']:,.{digits}f}"
            for row in rows.to_dict("records")
        ]
        if parts:
            said.append(f"{first} and {second}, {what}: {'; '.join(parts)}.")
    return " ".join(said) or f"{first} and {second} had no compression in common."
