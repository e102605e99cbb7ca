"""What each battery's own paper reports of a model: its scores under their names and on their
scales, one model at a time, with intervals. Changes are judged elsewhere (`metrics.four_harms`).
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from ethical_compression.metrics import choices, degeneration, dialect, honest, stereotypes
from ethical_compression.metrics.bbq import bbq_intervals, bbq_items
from ethical_compression.metrics.contrasts import against_employment, contrast_scores

COLUMNS = ["battery", "score", "scale", "compression", "n", "value", "ci_low", "ci_high"]


def battery_scores(
    tables: Mapping[str, pd.DataFrame],
    items: Mapping[str, Sequence],
    *,
    lexicons: Mapping[str, Mapping[str, str]] | None = None,
    employed: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Every score of every battery that is there, a row each and compression: `COLUMNS`.

    tables: {battery: table of all models, as `score.runs.grid` stacks it}; of
    `real_toxicity_prompts` with a column `toxicity`. items: {battery: what was asked}. lexicons: of
    `honest_en` and `honest_fr`; employed: the share of women in each occupation of Winogender.
    A prompt whose continuation a judge could not score, for any of the models, counts for none of
    them. A score without an interval (icat, a rank correlation) has NaN.
    """
    tables = dict(tables)
    if "real_toxicity_prompts" in tables:
        sides = dict(iter(tables["real_toxicity_prompts"].groupby("compression", sort=False)))
        kept, _ = degeneration.judged_by_all(sides)
        tables["judged"] = pd.concat(kept.values(), ignore_index=True)
    rows = []
    for battery, found in SCORES.items():
        if battery not in tables:
            continue
        for name, side in tables[battery].groupby("compression", sort=False):
            side = side.reset_index(drop=True).assign(group="all")
            told = found(side, items.get(battery), (lexicons or {}).get(battery), employed)
            rows += [dict(zip(COLUMNS, (*one[:3], name, *one[3:]), strict=True)) for one in told]
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(battery: str, score: str, scale: str, table: pd.DataFrame, column: str) -> tuple:
    row = table.iloc[0]
    ends = (row.get(f"{column}_{end}", np.nan) for end in ("low", "high"))
    return battery, score, scale, int(row["n"]), float(row[column]), *ends


def _bbq(table, items, *_) -> Iterator[tuple]:
    found = bbq_intervals(bbq_items(items, choices.chosen(table)).assign(group="all"))
    for condition, name in (("ambiguous", "s_AMB"), ("disambiguated", "s_DIS")):
        rows = found[found["condition"] == condition]
        yield _row("BBQ", f"accuracy, {condition}", "0 to 1", rows, "accuracy")
        yield _row("BBQ", name, "−1 to 1", rows, "score")


def _stereoset(table, items, *_) -> Iterator[tuple]:
    scores = choices.wide(table, "token").to_numpy()
    found = stereotypes.stereoset_scores(items, scores, by=None)
    for name in ("lms", "ss", "icat"):
        yield _row("StereoSet, within", name, "0 to 100", found, name)


def _crows_pairs(table, *_) -> Iterator[tuple]:
    found = contrast_scores(table, by="group")
    yield _row("CrowS-Pairs", "stereotype preferred", "0 to 100", found, "preferred")


def _winogender(table, items, _, employed) -> Iterator[tuple]:
    occupations = {one.id: one.cluster for one in items if one.kind == "the occupation"}
    some = table[table["item"].isin(occupations)]
    some = some.assign(group=some["item"].map(occupations))
    rho, n = against_employment(some, dict(employed))
    yield "Winogender", "“she” with women employed, ρ", "−1 to 1", n, rho, np.nan, np.nan


def _honest(battery: str):
    def scores(table, _, lexicon, *__) -> Iterator[tuple]:
        found = honest.honest_scores(table, lexicon)
        yield _row(battery, "HONEST", "0 to 100", found, "honest")

    return scores


def _toxicity(table, *_) -> Iterator[tuple]:
    found = degeneration.toxicity_scores(table)
    for name, said in (("expected_maximum", "expected maximum"), ("any_toxic", "any flagged")):
        yield _row("RealToxicityPrompts", f"toxicity, {said}", "0 to 1", found, name)


def _repetition(table, *_) -> Iterator[tuple]:
    found = degeneration.repetition_scores(table)
    for name, said in degeneration.REPETITION.items():
        yield _row("RealToxicityPrompts", said, "0 to 1", found, name)


def _refusals(table, *_) -> Iterator[tuple]:
    yield _row("Do-Not-Answer", "declined", "0 to 1", degeneration.refusal_scores(table), "refused")


def _guises(table, *_) -> Iterator[tuple]:
    found = dialect.associations(table)
    settled = found["p_bh"] < 0.05
    for sign, side in ((1, "African American"), (-1, "Standard")):
        count = int((settled & (np.sign(found["relative"]) == sign)).sum())
        scale = f"0 to {len(found)}"
        yield (
            "Matched guise",
            f"words that go with {side} English",
            scale,
            len(found),
            count,
            np.nan,
            np.nan,
        )


SCORES = {
    "bbq": _bbq,
    "stereoset_within": _stereoset,
    "crows_pairs": _crows_pairs,
    "winogender": _winogender,
    "honest_en": _honest("HONEST, English"),
    "honest_fr": _honest("HONEST, French"),
    "guise_traits": _guises,
    "judged": _toxicity,
    "real_toxicity_prompts": _repetition,
    "do_not_answer": _refusals,
}
