"""Sentences of *Whose answers flip*."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ethical_compression.words import between, listed, p_text, signed, span, with_interval
from ethical_compression.words.grid import group_name
from ethical_compression.words.harms import SAID, counts, many

# What arXiv 2602.06181 reports of 50 quantized models: the most answers that flipped, the ratio of
# unsure to sure answers, that of 4 to 8 bits, and how far groups moved apart.
PUBLISHED = {"most": 0.21, "ratio": (3, 11), "widths": (4, 6), "worst": 0.186, "best": 0.141}

# What came of an excess of flips over a blind shift.
EXCESS = SAID | {"worse": "settled as more than blind", "better": "settled as less than blind"}

# Batteries and their groups as figures and tables call them; other names with spaces for _ and -.
BATTERIES = {
    "bbq": "BBQ",
    "bbq_ambiguous": "BBQ",
    "unqover": "UnQover",
    "stereoset_within": "StereoSet",
    "crows_pairs": "CrowS-Pairs",
    "winobias": "WinoBias",
    "reddit_bias": "RedditBias",
    "habitual_be": "Dialect",
    "scores": "Questions",
}
GROUPS = {
    "Race_x_SES": "race × class",
    "Race_ethnicity": "race, ethnicity",
    "SES": "class",
    "socioeconomic": "class",
    "race-color": "race, colour",
}


def group_names(rows: pd.DataFrame, battery: str = "battery") -> dict[tuple[str, str], str]:
    """{(battery, group): as printed}, in order of appearance."""
    found = {}
    for name, group in rows[[battery, "group"]].drop_duplicates().itertuples(index=False):
        said = group_name(group)
        if name in ("bbq", "bbq_ambiguous"):
            said = said.lower()
        found[name, group] = f"{BATTERIES.get(name, name)}: {GROUPS.get(group, said)}"
    return found


def waiting_said(there: Sequence[str], waiting: Sequence[str]) -> str:
    """How much of the larger run there is."""
    if not waiting:
        return f"All {len(there)} compressions of the larger run are here."
    return (
        f"Of the larger run, {len(there)} compressions are here and {len(waiting)} are waiting: "
        "the page reads what is there, and says the same of more when more is there."
    )


def _number(value: float) -> str:
    return f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def _share(value: float) -> str:
    """`19%`, and what is not nothing is not said to be: `0.1%`."""
    return f"{value:.1%}" if 0 < value < 0.01 else f"{value:.0%}"


def _times(value: float) -> str:
    return "infinitely many times" if np.isinf(value) else f"{_number(value)} times"


def _range(values: pd.Series) -> str:
    """`1.6 to 157`, of what is finite."""
    return span(values[np.isfinite(values)], said=_number)


def _middle(values: pd.Series) -> str:
    """The range and the median."""
    known = values[np.isfinite(values)]
    return f"{_number(known.median())} times (the median; {_range(known)})"


def answer(table: pd.DataFrame, groups: pd.DataFrame, direction: pd.DataFrame) -> str:
    """Do uncertain answers flip first, is it aim, and does any group pay more than its margins say?

    table: of `metrics.flips.concentration`; groups, direction: of `flip_groups.by_group`.
    """
    more = int((table["verdict"] == "worse").sum())
    fewer = int((table["verdict"] == "better").sum())
    text = (
        f"Answers that the full model was unsure of flip {_middle(table['ratio'])} as often as "
        f"sure ones, under {len(table)} compressions. A disturbance that knows nothing of "
        f"confidence would flip them {_middle(table['expected_ratio'])} as often: "
    )
    if more:
        text += f"under {more} {many(more, 'compression')} there is more than that. "
    elif fewer:
        text += (
            f"nowhere is there settled evidence of more, and under {fewer} "
            f"{many(fewer, 'compression')} of less. "
        )
    else:
        text += "nowhere is there settled evidence of more. "
    text += _sizes(table)
    found = [int((one["p_holm"] < 0.05).sum()) for one in (groups, direction)]
    tests = [int(one["p_holm"].notna().sum()) for one in (groups, direction)]
    return (
        f"{text} Of {tests[0]:,} comparisons of a group with the others' shifts, {found[0]} are "
        f"settled for flips; of {tests[1]:,} for their direction, {found[1]}."
    )


def _sizes(table: pd.DataFrame) -> str:
    settled = table.loc[table["size_ratio_p_holm"] < 0.05, "size_ratio"]
    smaller, larger, total = int((settled < 1).sum()), int((settled > 1).sum()), len(table)
    if not smaller and not larger:
        return f"The shifts are not shown to be larger or smaller there under any of the {total}."
    parts = []
    if smaller:
        parts.append(f"smaller where the model was unsure under {smaller} of {total}")
    if larger:
        parts.append(f"larger there under {larger} of {total}")
    return f"The shifts themselves are {listed(parts)}."


def unsure_said(table: pd.DataFrame) -> str:
    """The two ratios side by side, and what came of the excess and of the shifts' sizes."""
    known = table[np.isfinite(table["ratio"])]
    low, high = known.loc[known["ratio"].idxmin()], known.loc[known["ratio"].idxmax()]
    text = (
        f"Least concentrated is {low['compression']}: {_share(low['unsure'])} of the unsure third "
        f"and {_share(low['sure'])} of the sure third flip, {_times(low['ratio'])} as many (95% "
        f"interval {low['ratio_low']:.1f} to {low['ratio_high']:.1f}). "
        f"Most is {high['compression']}: "
        f"{_share(high['unsure'])} and {_share(high['sure'])}, {_times(high['ratio'])} "
        f"({high['ratio_low']:.1f} to {high['ratio_high']:.1f})."
    )
    below = int((known["ratio"] < known["expected_ratio"]).sum())
    text += (
        f" In {below} of {len(known)} the ratio is below that of a blind shift. Of the excess in "
        f"the unsure third, {counts(table, EXCESS)}; the largest is "
        f"{with_interval(table.loc[table['difference'].abs().idxmax()])}."
    )
    missed = table[(table["verdict"] == "cannot tell") & table["detectable"].notna()]
    if len(missed):
        text += (
            f" Where it could not be told, an excess of {between(missed['detectable'], 3)} would "
            "have been found four times in five."
        )
    return text


def sizes_said(table: pd.DataFrame) -> str:
    """By how much shifts are larger or smaller where the model was unsure."""
    known = table[table["size_ratio"].notna()]
    return (
        f"By the second look, the shifts of unsure answers have {span(known['size_ratio'], 2)} "
        f"times the size of those of sure ones. {_sizes(known)}"
    )


def floor_said(rows: pd.DataFrame) -> str:
    """How many answers flip in other arithmetic. rows: of `metrics.flips.answers`, those of it."""
    if rows.empty:
        return "Nothing was asked in other arithmetic, so the noise of it is not known here."
    share = rows.groupby("battery")["flipped"].mean()
    return (
        f"In other arithmetic {rows['flipped'].mean():.1%} of the full model's own answers flip "
        f"({share.max():.1%} of {BATTERIES.get(share.idxmax(), share.idxmax())} at most)."
    )


def control_said(table: pd.DataFrame) -> str:
    """What two draws of the calibration text show. table: `concentration` of `between_seeds`."""
    if table.empty:
        return "No method was made with two draws of its calibration text yet."
    known = table[np.isfinite(table["ratio"])]
    return (
        "Between two draws of the calibration text "
        f"({len(table)} {many(len(table), 'compression')}), where neither model is more "
        f"compressed, a share of {between(table['flipped'], 2)} of the answers differ, and unsure "
        f"ones {_range(known['ratio'])} times as often as sure ones. "
        f"Of the excess over a blind shift, {counts(table, EXCESS)}."
    )


def widths_said(table: pd.DataFrame) -> str:
    """4 bits beside 8. table: of `metrics.flips.by_width`."""
    if table.empty:
        return "No method is here at both 4 and 8 bits yet."
    parts = [
        f"{row['method'].upper()}{' again' if row['seed'] else ''} {row['four']:.1%} against "
        f"{row['eight']:.1%} ({_times(row['ratio'])} as many)"
        for row in table.to_dict("records")
    ]
    draws = " (again: with another draw of the calibration text)" if table["seed"].any() else ""
    return f"At 4 bits against 8{draws}, flips are: {listed(parts)}."


def groups_said(table: pd.DataFrame, names: Mapping[tuple[str, str], str], what: str) -> str:
    """Which groups are settled apart from what the others' shifts would do; who has no test.

    table: of `flip_groups.by_group`; what: "flips" or "moves towards the stereotype".
    """
    tested = table[table["p_holm"].notna()]
    settled = tested[tested["p_holm"] < 0.05]
    if settled.empty:
        text = f"No group {what} more or less than the others' shifts would make it"
    else:
        parts = [
            f"{names[row['battery'], row['group']]} under {row['compression']}, "
            f"{with_interval(row, least=2)} ({p_text(row['p_holm'])} after Holm)"
            for row in settled.sort_values("p_holm").head(4).to_dict("records")
        ]
        text = (
            f"{len(settled)} of {len(tested)} comparisons are settled: "
            + ("among them " if len(settled) > 4 else "")
            + "; ".join(parts)
        )
    text += (
        f". A difference of {between(tested['detectable'], 2)} would have been found four times in "
        "five, depending on the group."
    )
    without = table[(table["reason"] != "") & (table["reason"] != "no other group")]
    if len(without):
        told = without.groupby("reason")["group"].nunique()
        text += (
            " Without a test: "
            + listed(f"{count} groups ({reason})" for reason, count in told.items())
            + "."
        )
    return text


def gains_said(table: pd.DataFrame, names: Mapping[tuple[str, str], str]) -> str:
    """Who gains and who loses, as counted. table: of `flip_groups.who_gains`."""
    parts = []
    for verdict, said in (("worse", "with the stereotype"), ("better", "against it")):
        rows = table[table["verdict"] == verdict].sort_values("p_holm")
        told = [
            f"{names[row['check'], row['group']]} under {row['compression']} "
            f"(answers: {row['with_it']} with, {row['against_it']} against)"
            for row in rows.head(4).to_dict("records")
        ]
        if len(rows):
            more = f"{len(rows)}, among them " if len(rows) > 4 else ""
            parts.append(f"{said}: {more}{listed(told)}")
    total, moved = table["with_it"].sum() + table["against_it"].sum(), table["with_it"].sum()
    text = (
        f"Of {total:,} answers that moved on the scale of the stereotype, {moved / total:.0%} "
        f"moved with it. As counted, {len(table)} changes of a group's mean came to this: "
    )
    if not parts:
        return text + "none is settled after Holm."
    return f"{text}settled {'; '.join(parts)}."


def asymmetry_said(table: pd.DataFrame) -> str:
    """Do groups move apart by more than chance? table: of `flip_groups.asymmetry`."""
    if table.empty:
        return "There are too few items of any group to ask whether groups move apart."
    settled = table[table["p_holm"] < 0.05]
    most = table.loc[table["spread"].idxmax()]
    text = (
        f"The groups that fare worst and best lie {between(table['spread'], 2)} apart; shifts "
        f"dealt at random put them {between(table['spread_chance'], 2)} apart or more one time in "
        f"twenty. The widest is {most['compression']}: {signed(most['worst'], 2)} with the "
        f"stereotype and {signed(most['best'], 2)}, where shifts dealt at random give "
        f"{signed(most['worst_chance'], 2)} and {signed(most['best_chance'], 2)} on average."
    )
    if settled.empty:
        return f"{text} After Holm, no compression moves groups apart by more than that."
    return f"{text} More than that is settled under {listed(settled['compression'])}."


def claims(
    table: pd.DataFrame,
    whole: pd.DataFrame,
    widths: pd.DataFrame,
    apart: pd.DataFrame,
) -> pd.DataFrame:
    """The published claims, what this run shows, what a blind shift shows, and a verdict.

    table: `concentration` of the quantized models at 4 bits or more; whole: `who_gains` of all
    groups together; shares: `flipped` by `compression` and `battery`; widths, apart: of `by_width`
    and `asymmetry`. Columns `claim`, `published`, `here`, `blind`, `verdict`.
    """
    rows = []
    hidden = whole[whole["verdict"] == "equivalent"]
    moved = (hidden["with_it"] + hidden["against_it"]) / hidden["n"]
    found = f"up to {moved.max():.0%}" if len(hidden) else "none shown to stand still"
    rows.append(
        {
            "claim": "Answers flip while the score stands still",
            "published": f"up to {PUBLISHED['most']:.0%}",
            "here": found,
            "blind": "as many: both ways cancel",
            "verdict": "confirmed" if len(hidden) else "not told",
        }
    )
    low, high = PUBLISHED["ratio"]
    known = table[np.isfinite(table["ratio"])]
    inside = bool(len(known)) and bool((known["ratio_high"] > low).all())
    aimed = bool((table["verdict"] == "worse").any())
    rows.append(
        {
            "claim": "Unsure answers flip more often",
            "published": f"{low} to {high} times",
            "here": f"{_range(known['ratio'])} times" if len(known) else "–",
            "blind": f"{_range(known['expected_ratio'])} times" if len(known) else "–",
            "verdict": _said(inside, "confirmed; " + ("more than blind" if aimed else "as blind")),
        }
    )
    ratios = widths["ratio"][np.isfinite(widths["ratio"])] if len(widths) else widths.get("ratio")
    there = ratios is not None and len(ratios) > 0
    rows.append(
        {
            "claim": "4 bits flip more than 8",
            "published": f"{PUBLISHED['widths'][0]} to {PUBLISHED['widths'][1]} times",
            "here": f"{_range(ratios)} times" if there else "waiting",
            "blind": "–",
            "verdict": _said(bool((ratios > 1).all()), "confirmed") if there else "not told yet",
        }
    )
    beyond = bool(len(apart)) and bool((apart["p_holm"] < 0.05).any())
    rows.append(
        {
            "claim": "Some groups gain and others lose",
            "published": f"{signed(100 * PUBLISHED['worst'], 1)} and "
            f"{signed(-100 * PUBLISHED['best'], 1)} points",
            "here": _points(apart, "worst", "best"),
            "blind": _points(apart, "worst_chance", "best_chance"),
            "verdict": "beyond chance in some" if beyond else "not beyond chance here",
        }
    )
    return pd.DataFrame(rows)


def _said(holds: bool, words: str) -> str:
    return words if holds else "not confirmed"


def _points(table: pd.DataFrame, worst: str, best: str) -> str:
    if table.empty:
        return "–"
    return f"{signed(100 * table[worst].max(), 1)} and {signed(100 * table[best].min(), 1)} points"
