"""What the tables on generated texts came to, in sentences with a wording for every outcome."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from ethical_compression.words import (
    OFTEN,
    counted,
    interval,
    listed,
    outcomes,
    p_text,
    sentence,
    settled,
    span,
    with_interval,
)

# What of a text is compared between communities, by the key of its panel.
SCREENED = {"kl": "divergence (nats a token)", "confidence": "change of confidence"}


def half_gone(curves: pd.DataFrame, labels: Sequence[str]) -> str:
    """After how many tokens fewer than half of the texts are the full model's, by model.

    curves: `metrics.generated_text.survival` of one way of writing.
    """
    parts = []
    for label in labels:
        line = curves[curves["compression"] == label].sort_values("position")
        gone = line.loc[line["same"] < 0.5, "position"]
        at = int(gone.iloc[0]) if len(gone) else None
        last = int(line["position"].iloc[-1])
        if at is None:
            parts.append(f"{label} not within the {last} tokens written")
        else:
            parts.append(f"{label} {at} token{'s' * (at != 1)}")
    return "; ".join(parts)


def over_text(row: Mapping) -> str:
    """`mean` nats over a whole text with `low` and `high`: digits enough for a small one."""
    return interval(row["mean"], row["low"], row["high"], least=2, sign=False)


def least_and_most(whole: pd.DataFrame) -> dict[str, str]:
    """The models that are the least and the furthest away; whole: as `generation_answer` has it."""
    rows = {"least": whole["mean"].idxmin(), "most": whole["mean"].idxmax()}
    return {
        f"kl-{end}": f"{over_text(whole.loc[at])} nats after {whole.loc[at, 'compression']}"
        for end, at in rows.items()
    }


def generation_answer(curves: pd.DataFrame, whole: pd.DataFrame, labels: Sequence[str]) -> str:
    """The chapter's answer. whole: `model`, `texts`, `mean`, `low`, `high`, nats over a text."""
    nats = "; ".join(f"{row['compression']} {over_text(row)}" for _, row in whole.iterrows())
    return (
        "With the same luck, fewer than half of the sampled English texts are still the full "
        f"model's after: {half_gone(curves, labels)}. Over a whole English text the models' "
        f"predictions are apart, in nats, by: {nats}."
    )


def largest(tests: pd.DataFrame, measure: str, names: Mapping[str, str]) -> str:
    """The largest settled change of one measure or, where none is, that nothing is settled.

    tests: `statistics.paired_table` over prompts, of that measure, in one unit.
    """
    if tests.empty:
        return f"Too few texts were written to test changes of the {measure}."
    came = outcomes(tests)
    found = settled(tests)
    if found.empty:
        return (
            f"No change of the {measure} is settled: {counted(came)}. One is found {OFTEN}, by a "
            f"single test, from {tests['detectable'].min():.3f} on at best."
            if tests["detectable"].notna().any()
            else f"No change of the {measure} is settled: no text of theirs differs."
        )
    row = found.loc[found["difference"].abs().idxmax()]
    said = sentence(row, measure=measure, names=names).replace(" items of", "")
    return f"Changes: {counted(came)}. The largest that is settled is this. {said}"


def one_model(tests: pd.DataFrame, label: str, measure: str, names: Mapping[str, str]) -> str:
    """One model's change of one measure, settled or not."""
    rows = tests[tests["compression"] == label]
    if rows.empty:
        return f"Too few texts were written to test what {label} changes."
    return sentence(rows.iloc[0], measure=measure, names=names).replace(" items of", "")


def changed(tests: pd.DataFrame, first: str, measures: Mapping[str, str]) -> dict[str, str]:
    """What the texts' changes came to, a text for each place in the page.

    tests: `metrics.generated_tables.changes`; first: the model that is told of by itself; measures:
    what each is called.
    """
    names = {one: f"{one.partition(':')[0]} texts" for one in dict.fromkeys(tests["benchmark"])}
    said = {"settled": f"{len(settled(tests))} of {len(tests)}", "first": first}
    for measure in ("full_nll", "rep_16"):
        of_measure = tests[tests["panel"] == measure]
        said[measure.replace("_", "-")] = largest(of_measure, measures[measure], names)
    english = tests[tests["benchmark"] == "sampled, English: full_nll"]
    said["first-nll"] = one_model(english, first, measures["full_nll"], names)
    level = tests.drop_duplicates("benchmark").set_index("benchmark")["mean_full"]
    for way, name in (("sampled", "perplexity"), ("greedy", "perplexity-greedy")):
        known = level.get(f"{way}, English: full_nll")
        said[name] = "not known here" if known is None else f"{math.exp(known):.1f}"
    return said


def alike(table: pd.DataFrame, margin: float) -> str:
    """Is the confidence of written tokens kept? `paired_table` with margin, a row a model."""
    if table.empty:
        return "Too few texts were written to test whether confidence is kept."
    came = outcomes(table)
    text = f"Against the full model, after Holm: {counted(came, f'±{margin:g}')}"
    found = table.loc[came == "open", "detectable"].dropna()
    if found.empty:
        return f"{text}."
    return (
        f"{text}. What is not settled a single test would have found {OFTEN} from "
        f"{span(found)} on, by model."
    )


def communities(screen: pd.DataFrame) -> str:
    """Whose sentences change more? `statistics.each_against_others`, `p_bh` over all rows.

    Its column `panel` says which of `SCREENED` was compared.
    """
    if screen.empty:
        return "No group has enough texts here to be compared with the others."
    table = screen.assign(p_holm=screen["p_bh"])  # a screen: the false share is bounded
    found = settled(table)
    n = int(screen["n"].min())
    text = (
        f"Of {len(table)} differences between a community and the others, {len(found)} "
        f"{'stands' if len(found) == 1 else 'stand'} after correction"
    )
    if len(found):
        most = found.loc[found["d"].abs().idxmax()]
        text += (
            f"; the largest, in units of its spread, is that of {most['row'].replace('_', ' ')} "
            f"after {most['compression']} in the {SCREENED[most['panel']]}: {with_interval(most)}"
        )
    text += f". With {n} prompts a community or more, "
    half = (screen["ci_high"] - screen["ci_low"]) / 2
    reach = listed(
        f"{span(part)} in the {SCREENED[panel]}"
        for panel, part in half.groupby(screen["panel"], sort=False)
    )
    return (
        f"{text}what is not found is no evidence of even-handedness: the intervals reach {reach} "
        "to either side."
    )


def she_and_he(pairs: pd.DataFrame) -> str:
    """Sentences about women and men, paired: `difference` (she − he), `p_holm`, `prompts`."""
    if pairs.empty:
        return "There are too few pairs here to be compared."
    came = outcomes(pairs)
    names = {"lower": "with less divergence for her", "higher": "with more divergence for her"}
    text = f"After Holm, comparisons of pairs came to: {counted(came, names=names)}"
    found = settled(pairs)
    if found.empty:
        return f"{text}."
    most = found.loc[found["difference"].abs().idxmax()]
    return (
        f"{text}. The largest settled one is that of {most['compression']} ({most['prompts']}): "
        f"{with_interval(most)} nats a token."
    )


def balance(lean: pd.DataFrame) -> str:
    """Does the balance of words for women and men change? `paired_table` of women − men."""
    if lean.empty:
        return "There are too few texts here to compare their words."
    names = {"lower": "towards men", "higher": "towards women"}
    return f"After Holm, changes of the balance came to: {counted(outcomes(lean), names=names)}."


def languages(table: pd.DataFrame) -> str:
    """Is French moved further than English? `difference` (French − English) and `p_holm`."""
    if table.empty:
        return "There are too few texts in one of the languages to compare them."
    came = outcomes(table)
    names = {"lower": "less far in French", "higher": "further in French"}
    text = f"After Holm, the models are moved: {counted(came, names=names)}."
    found = settled(table)
    if len(found):
        most = found.loc[found["difference"].abs().idxmax()]
        text += (
            f" The largest settled difference is that of {most['compression']}: French minus "
            f"English is {with_interval(most)} nats a token, {p_text(most['p_holm'])} after Holm."
        )
    # Methods that are calibrated on no text, and so on no language.
    unread = [
        one
        for label, one in zip(table["compression"], came, strict=True)
        if not label.startswith(("GPTQ", "AWQ"))
    ]
    if unread and set(unread) == {"higher"}:
        text += (
            " All that see no text are among these, so that calibration on English cannot be the "
            "whole reason: a language that a model knows poorly may be the first to go."
        )
    return text
