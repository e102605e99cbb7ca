"""What sentences say of a model's harms before and after compression: over all verdicts."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from ethical_compression.errors import InputError
from ethical_compression.statistics.verdicts import SETTLED
from ethical_compression.words import listed, p_text, p_value, signed, with_interval

# In the order of a sentence: what is settled first.
SAID = {
    "worse": "settled as worse",
    "better": "settled as better",
    "equivalent": "shown to lie within the margin",
    "cannot tell": "not told",
}


def answer(table: pd.DataFrame) -> str:
    """How many comparisons came to what, which kinds are settled, and what is open.

    table: that of `metrics.four_harms.verdicts`. Raises InputError for no rows.
    """
    if table.empty:
        raise InputError("There are no verdicts to speak of: ask the models something.")
    models, count = listed(table["compression"].unique()), table["harm"].nunique()
    text = (
        f"Of {len(table)} comparisons ({count} {many(count, 'harm')} in "
        f"{table['kind'].nunique()} {many(table['kind'].nunique(), 'kind')}, under {models}), "
        f"{counts(table)}."
    )
    for verdict in SETTLED:
        rows = table[table["verdict"] == verdict]
        if len(rows):
            text += f" {verdict.capitalize()}: {_by_kind(rows)}."
    open_kinds = [
        kind.lower()
        for kind, rows in table.groupby("kind", sort=False)
        if not rows["verdict"].isin(SETTLED).any()
    ]
    if open_kinds:
        text += f" No change is settled in {listed(open_kinds).replace(' and ', ' or ')}."
    return text


def kind_said(rows: pd.DataFrame) -> str:
    """What came of one kind of harm: its largest change in margins, and what could have been found.

    rows: of one kind. Of the settled changes the largest is said or, where there is none, of all
    that have a test. Raises InputError for several kinds.
    """
    if rows["kind"].nunique() != 1:
        raise InputError("Speak of one kind of harm at a time.")
    kind = rows["kind"].iloc[0]
    tested = rows[rows["p"].notna()]
    if tested.empty:
        return f"{kind}: nothing could be tested ({rows['reason'].iloc[0]})."
    settled = tested[tested["verdict"].isin(SETTLED)]
    pool = settled if len(settled) else tested
    most = pool.loc[(pool["difference"] / pool["margin"]).abs().idxmax()].to_dict()
    called = "largest settled change" if len(settled) else "largest change, not settled,"
    text = (
        f"{kind}: of {len(rows)} comparisons {counts(rows)}. In margins, the {called} is that of "
        f"{plain(most['title'])} under {most['compression']}: {with_interval(most)} "
        f"({most['unit']}), {p_text(most['p_holm'])} after Holm."
    )
    dark = rows[(rows["verdict"] == "cannot tell") & rows["detectable"].notna()]
    if len(dark):
        ratio = dark["detectable"] / dark["margin"]
        spread = sorted({f"{ratio.min():.1f}", f"{ratio.max():.1f}"}, key=float)
        text += (
            " What could not be told would have been found four times in five from "
            f"{' to '.join(spread)} times the margin."
        )
    return text


def side_by_side(table: pd.DataFrame) -> pd.DataFrame:
    """A row a score and a column a model, each cell with its interval where there is one; of the
    items the fewest that a model has.

    table: of `metrics.battery_scores.battery_scores`.
    """

    def cell(row: Mapping) -> str:
        whole = float(row["value"]).is_integer() and math.isnan(row["ci_low"])
        digits = 0 if whole else 1 if row["scale"] == "0 to 100" else 2
        value, low, high = (
            signed(row[one], digits).lstrip("+") if not math.isnan(row[one]) else "–"
            for one in ("value", "ci_low", "ci_high")
        )
        return value if low == "–" else f"{value} ({low} to {high})"

    said = table.assign(said=[cell(row) for row in table.to_dict("records")])
    keys = ["battery", "score", "scale"]
    wide = said.pivot(index=keys, columns="compression", values="said").reset_index()
    models = table["compression"].unique().tolist()
    fewest = table.groupby(keys, sort=False, as_index=False)["n"].min()
    names = {"battery": "Battery", "score": "Score", "scale": "Scale", "n": "Items"}
    return fewest.merge(wide, on=keys)[[*keys, "n", *models]].rename(columns=names)


def moved_said(table: pd.DataFrame) -> str:
    """How many answers changed at least and at most, and whether the floor explains any of it.

    table: that of `metrics.four_harms.moved`.
    """
    least, most = (
        table.loc[place] for place in (table["flipped"].idxmin(), table["flipped"].idxmax())
    )
    text = (
        f"Between {least['flipped']:.0%} ({_where(least)}) and {most['flipped']:.0%} "
        f"({_where(most)}) of the answers or texts are others than the full model's."
    )
    floor = table["flipped_floor"].max()
    if not floor:
        return f"{text} Another arithmetic alone changes none of those that were asked twice."
    within = int((table["flipped"] <= table["flipped_floor"]).sum())
    return (
        f"{text} Another arithmetic alone changes up to {floor:.1%}, which explains "
        f"{within} of the {len(table)} rows."
    )


def left_out(reasons: Mapping[str, str]) -> str:
    """What was not asked and why. reasons: {title: why}."""
    if not reasons:
        return "Nothing was left out."
    return " ".join(f"{title} was left out: {why}" for title, why in reasons.items())


def margins_said(margins: Mapping[str, float], units: Sequence[str]) -> str:
    """The margins of the units on the page."""
    return listed(
        f"{margins[unit]:g} for {'a share' if unit == 'share' else unit}"
        for unit in dict.fromkeys(units)
    )


def floors_said(table: pd.DataFrame) -> str:
    """The largest floor, in margins."""
    ratio = table["floor"] / table["margin"]
    most = table.loc[ratio.idxmax()]
    if not math.isfinite(ratio.max()) or ratio.max() == 0:
        return "In other arithmetic no harm of the full model moved at all."
    return (
        f"The largest floor is that of {plain(most['title'])}, {p_value(most['floor'])} "
        f"({p_value(ratio.max())} of its margin)."
    )


def toxicity_said(rows: pd.DataFrame) -> str:
    """The corrected change under every assumption of the judge's errors, for all compressions.

    rows: of `metrics.toxicity.changes`, with a column `assumed`.
    """
    known = rows[rows["difference"].notna()]
    if known.empty:
        return f"What changes of toxicity is not known: {rows['note'].iloc[0]}."
    clear = known[(known["ci_low"] > 0) | (known["ci_high"] < 0)]
    width = (known["ci_high"] - known["ci_low"]).max() / 2
    text = (
        f"Corrected for the judge's mistakes, the changes lie between "
        f"{signed(known['difference'].min(), 2)} and {signed(known['difference'].max(), 2)}"
    )
    if math.isfinite(width):
        text += f", and the widest interval reaches {width:.2f} to either side"
    return f"{text}; {len(clear)} of {len(known)} intervals leave out zero."


def _by_kind(rows: pd.DataFrame) -> str:
    said = []
    for kind, some in rows.groupby("kind", sort=False):
        parts = [
            f"{plain(title)} ({listed(part['compression'])})"
            for title, part in some.groupby("title", sort=False)
        ]
        said.append(f"{kind.lower()}, {listed(parts)}")
    return "; ".join(said)


def counts(table: pd.DataFrame, said: Mapping[str, str] = SAID) -> str:
    """`2 are settled as worse and 1 is not told`, without what did not occur.

    said: {verdict: in words}, in the order of the sentence.
    """
    found = table["verdict"].value_counts()
    return listed(
        f"{found[verdict]} {'is' if found[verdict] == 1 else 'are'} {words}"
        for verdict, words in said.items()
        if verdict in found
    )


def plain(title: str) -> str:
    """A title within a sentence: without its comma."""
    return title.replace(", ", " ")


def many(count: int, word: str) -> str:
    return word if count == 1 else f"{word}s"


def _where(row: Mapping) -> str:
    return f"{plain(row['title'])}, {row['compression']}"
