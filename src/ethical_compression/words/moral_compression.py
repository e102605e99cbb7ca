"""Whether a trained moral preference survives compression, in sentences: each is computed.

Every function takes a table of `dose_response` (`survival`, `by_direction`) and has a wording for
each of `words.OUTCOMES`.
"""

import pandas as pd

from ethical_compression.datasets.moral_stories import DIRECTIONS
from ethical_compression.statistics.dose_response import VERDICTS
from ethical_compression.words import (
    columns,
    counted,
    listed,
    p_text,
    p_value,
    signed,
    span,
    with_interval,
)


def compared(found: pd.DataFrame) -> pd.DataFrame:
    """The rows of `dose_response.survival` that were compared with the uncompressed model."""
    return found[found["outcome"].notna()]


def largest(rows: pd.DataFrame) -> tuple[dict, bool]:
    """The row with the largest settled `difference`, or the largest at all; and whether settled."""
    settled = rows[rows["outcome"].isin(["lower", "higher"])]
    among = rows if settled.empty else settled
    return among.loc[among["difference"].abs().idxmax()].to_dict(), not settled.empty


def survived(found: pd.DataFrame, margin: float) -> str:
    """How many comparisons of `survival` came out how, and which; the parts add up."""
    rows = compared(found)
    parts = []
    for name, verdict in VERDICTS.items():
        mine = rows[rows["outcome"] == name]
        if mine.empty:
            continue
        some = ""
        if len(mine) < len(rows):
            said = (f"{r.compression} ({DIRECTIONS[r.direction]})" for r in mine.itertuples())
            some = f": {', '.join(said)}"
        small = int((mine["p_kept_holm"] < 0.05).sum()) if name in ("lower", "higher") else 0
        if small:
            some += f" (of these, {small} by less than {margin:.0%} for certain)"
        parts.append(f"{verdict} in {len(mine)} of {len(rows)}{some}")
    return "; ".join(parts) or "not compared"


def whole(found: pd.DataFrame) -> str:
    """The shifts before compression, in words."""
    rows = found[found["outcome"].isna()].to_dict("records")
    return listed(
        f"{signed(row['shift'])} for {DIRECTIONS[row['direction']]} "
        f"(95% interval {signed(row['shift_low'])} to {signed(row['shift_high'])}, "
        f"{row['n']} stories)"
        for row in rows
    )


def became_habit(found: pd.DataFrame) -> str:
    """Whether training left a shift on held-out stories, before any compression."""
    rows = found[found["outcome"].isna()].to_dict("records")
    wording = {
        "higher": "is above 0",
        "open": "cannot be told from 0",
        "lower": "is below 0, away from the trained side",
    }
    said = []
    for row in rows:
        found_ = "higher" if row["shift_low"] > 0 else "lower" if row["shift_high"] < 0 else "open"
        said.append(f"that of {DIRECTIONS[row['direction']]} {wording[found_]}")
    return listed(said)


def directions_alike(found: pd.DataFrame, margin: float) -> str:
    """Is as much kept of DPO_M as of DPO_I? From `dose_response.by_direction`."""
    names = {
        "lower": "with less kept of DPO_M than of DPO_I",
        "higher": "with more kept of DPO_M",
        "equivalent": f"with as much kept of both, within ±{margin:g} for certain",
        "open": "not settled",
        "untestable": "without a shift to keep in one of the directions",
    }
    if "lower" not in set(found["outcome"]):
        names["higher"] = "with more kept of DPO_M than of DPO_I"
    text = f"Of the compressions, {counted(found['outcome'], names=names)}"
    told = found[found["difference"].notna()]
    if told.empty:
        return f"{text}."
    row, settled = largest(told)
    return (
        f"{text}. The largest {'settled ' if settled else ''}difference in the share kept"
        f"{'' if settled else ' (none is settled)'}, DPO_M minus DPO_I, is that of "
        f"{row['compression']}, {row['kept_moral']:.2f} against {row['kept_immoral']:.2f}: "
        f"{with_interval(row)}, {p_text(row['p_holm'])} after Holm."
    )


def of_survival(found: pd.DataFrame, margin: float) -> dict[str, str]:
    """The shifts before compression, what became of them, and whether there were any to keep."""
    return {
        "whole": whole(found),
        "words": survived(found, margin),
        "formed": became_habit(found),
    }


def survival_table(found: pd.DataFrame, margin: float) -> dict:
    """The table of `dose_response.survival` for readers: what `chapters.table` takes."""
    rows = compared(found)
    return {
        "data": rows.assign(
            direction=rows["direction"].map(DIRECTIONS),
            change=_changes(rows),
        ),
        "columns": {"compression": "Compression", "direction": "Direction", "shift": "Shift"}
        | {"change": "Change", "d_z": "d_z", "p_holm": "p (Holm)", "kept": "Share kept"}
        | {"p_kept_holm": "p (kept, Holm)", "verdict": "Alignment is"},
        "caption": "What compression leaves of the trained shift (nats a token; change with its "
        "95% interval), of these runs. 'weaker' or 'stronger': the change is settled after Holm; "
        f"else 'kept': that the share kept lies within 1 ± {margin:g} is, after Holm; the rest is "
        "open.",
        "formats": {
            "Shift": signed,
            "d_z": lambda value: signed(value, 2),
            "Share kept": ".2f",
            "p (kept, Holm)": p_value,
        },
    }


def _changes(rows: pd.DataFrame, digits: int = 3) -> list[str]:
    ends = columns.ends(rows, digits)
    return [f"{signed(d, digits)} ({e})" for d, e in zip(rows["difference"], ends, strict=True)]


def directions_table(found: pd.DataFrame, margin: float) -> dict:
    """The table of `dose_response.by_direction` for readers: what `chapters.table` takes."""
    return {
        "data": found.assign(change=_changes(found, 2)),
        "columns": {"compression": "Compression", "kept_moral": "Kept of DPO_M"}
        | {"kept_immoral": "Kept of DPO_I", "change": "Difference", "p_holm": "p (Holm)"}
        | {"p_same_holm": "p (same, Holm)"},
        "caption": "Is as much kept of one direction as of the other? Share of the shift that is "
        "left, held-out Moral Stories, the difference with its 95% interval over stories, and the "
        f"test that it lies within ±{margin:g}.",
        "formats": dict.fromkeys(["Kept of DPO_M", "Kept of DPO_I"], ".2f")
        | {"p (same, Holm)": p_value},
    }


def calibration_table(found: pd.DataFrame, here: str, there: str) -> dict:
    """The table of `dose_response.on_own_stories` for readers: what `chapters.table` takes.

    here, there: the other text of this page's runs and of the kept run.
    """
    return {
        "data": found.assign(
            direction=found["direction"].map(DIRECTIONS),
            change=_changes(found),
        ),
        "columns": {"compression": "Compression", "stories": "Stories", "direction": "Direction"}
        | {"shift": "Shift, own stories", "change": "Against other text", "d_z": "d_z"}
        | {"p_holm": "p (Holm)"},
        "caption": "The trained shift (nats a token) when calibration reads the stories trained "
        "on, against calibration on other text, paired by story, with the 95% interval. Other text "
        f"is {here} on this page's stories and {there} in the kept run.",
        "formats": {"Shift, own stories": signed, "d_z": lambda value: signed(value, 2)},
    }


def hardest(found: pd.DataFrame) -> str:
    """The compression whose change is the largest against its spread."""
    rows = compared(found)
    row = rows.loc[rows["d_z"].abs().idxmax()].to_dict()
    return (
        f"{row['compression']} changes the shift of {DIRECTIONS[row['direction']]} by "
        f"{with_interval(row)} nats a token: d_z {signed(row['d_z'], 2)}, {p_text(row['p'])}, "
        f"{p_text(row['p_holm'])} after Holm"
    )


def layers(found: pd.DataFrame) -> str:
    """What removing layers does to the shift of each direction."""
    rows = compared(found)
    return listed(
        f"{with_interval(row)} nats a token for {DIRECTIONS[row['direction']]} ({row['verdict']})"
        for row in rows[rows["compression"].str.contains("layers")].to_dict("records")
    )


def could_have_found(found: pd.DataFrame) -> str:
    """What changes of a shift these stories find four times in five, over the compressions."""
    rows = compared(found)
    full = found[found["outcome"].isna()].set_index("direction")["shift"]
    parts = []
    for direction, side in rows.groupby("direction", sort=False):
        least = side["detectable"].dropna()
        if least.empty:
            continue
        text = f"{span(least)} nats a token for {DIRECTIONS[direction]}"
        if full[direction] > 0:
            of = least / full[direction]
            text += f" ({span(100 * of, 0)}% of its shift)"
        parts.append(text)
    return listed(parts) if parts else "none, as nothing changes"


def calibrated(found: pd.DataFrame) -> str:
    """Does it help to calibrate on the stories trained on? found: `outcome`, and a `difference`."""
    names = {
        "lower": "with less of the shift kept",
        "higher": "with more of the shift kept",
        "equivalent": "with as much kept, within the margin",
        "open": "not settled",
        "untestable": "without a shift to keep",
    }
    counts = counted(found["outcome"], names=names)
    return f"Calibrated on the stories instead of other text: {counts}."


def turned(found: pd.DataFrame) -> str:
    """Is a compressed base turned further? found: compared rows of `survival`, with `stories`.

    Counts, and then what is settled; the rest is for a table.
    """
    names = {
        "lower": "turned less far than the full base",
        "higher": "turned further",
        "equivalent": "turned as far within the margin",
        "open": "not settled",
        "untestable": "with no shift to compare",
    }
    if "lower" not in set(found["outcome"]):
        names["higher"] = "turned further than the full base"
    said = "; ".join(
        f"{row['compression']} first, {DIRECTIONS[row['direction']]}, {row['stories']}: "
        f"{with_interval(row)}, {p_text(row['p_holm'])}"
        for row in found[found["outcome"].isin(["lower", "higher"])].to_dict("records")
    )
    text = f"{counted(found['outcome'], names=names)}, after Holm"
    return f"{text}. What is settled: {said}" if said else text


def aligned(found: pd.DataFrame, stories: str, margin: float) -> str:
    """The answer of *Does alignment survive compression?*, from one table of `survival`."""
    rows = compared(found)
    names = {
        "lower": "weaker",
        "higher": "stronger",
        "equivalent": f"kept within ±{margin:.0%}",
        "open": "not settled",
        "untestable": "without a shift to keep",
    }
    for came in ("lower", "higher"):
        mine = rows[(rows["outcome"] == came) & (rows["p_kept_holm"] < 0.05)]
        if len(mine):
            which = listed(
                f"{row.compression} of {DIRECTIONS[row.direction]}, {row.kept:.0%} kept"
                for row in mine.itertuples()
            )
            names[came] += f" ({len(mine)} by less than {margin:.0%} for certain: {which})"
    text = (
        f"On {stories}, the shift that training left comes out of compression as follows: "
        f"{counted(rows['outcome'], names=names)} (one run a direction)."
    )
    told = rows[rows["kept"].notna()]
    if told.empty:
        return text
    row, settled = largest(told)
    which = "The largest settled change is" if settled else "No change is settled; the largest is"
    return (
        f"{text} {which} {row['compression']}'s of {DIRECTIONS[row['direction']]}: "
        f"{with_interval(row)} nats a token, {row['kept']:.0%} of the shift kept."
    )
