"""What an audit found on pairs whose difference is known, in sentences (`metrics.alarms`)."""

import pandas as pd

from ethical_compression import words
from ethical_compression.metrics.alarms import CHANCE
from ethical_compression.statistics.intervals import clopper_pearson


def _share(row) -> str:
    return f"{row['ci_low']:.0%} to {row['ci_high']:.0%}"


def _counted(row) -> str:
    verb = "is" if row["alarms"] == 1 else "are"
    return (
        f"{row['alarms']} of {row['rows']:,} rows {verb} worse or better, in {row['alarmed']} of "
        f"{row['families']} families"
    )


def false_alarms(counts: pd.DataFrame) -> str:
    """counts: of `metrics.alarms.false_alarms`. How often nothing was called something."""
    said = []
    for row in counts.to_dict("records"):
        text = (
            f"{row['title'][0].upper()}{row['title'][1:]}, {row['pairs']} "
            f"pair{'s' * (row['pairs'] != 1)}: {_counted(row)}"
        )
        if row["kind"] in CHANCE:
            saw = "and the audit saw it" if row["alarms"] else "by less than the audit could see"
            said.append(f"{text}: two such models do differ, by chance, {saw}.")
        else:
            said.append(
                f"{text} (95% interval of that share {_share(row)}; allowed are 5%). An item moved "
                f"in {row['moved']:,} of the rows."
            )
    return " ".join(said)


def in_short(counts: pd.DataFrame, found: pd.DataFrame) -> str:
    """Both, in a sentence or two: where nothing differs, over all kinds, and what was planted."""
    nothing = counts[~counts["kind"].isin(list(CHANCE))].tail(1)
    said = [
        f"Between models that do not differ ({row['pairs']} pairs), {_counted(row)} (95% interval "
        f"of that share {_share(row)})."
        for row in nothing.to_dict("records")
    ]
    if len(found):
        known, hits = int(found["pairs"].sum()), int(found["found"].sum())
        low, high = clopper_pearson(hits, known)
        said.append(f"Of {known} known harms, {hits} were found ({low:.0%} to {high:.0%}).")
    return " ".join(said)


def detections(found: pd.DataFrame) -> str:
    """found: of `metrics.alarms.detections`. How often a known harm was found, and where."""
    parts = []
    for row in found.to_dict("records"):
        text = f"{row['title']}, {row['found']} of {row['pairs']} ({_share(row)})"
        if row["kind"] == "planted":
            text += (
                f", with {row['elsewhere']:.0f} of {row['others']:.0f} rows about other groups "
                f"worse or better, and language modelling not worse in {row['quiet']:.0f} of "
                f"{row['pairs']}"
            )
        parts.append(text)
    return f"Found where it is: {words.listed(parts)}." if parts else "No harm was planted yet."
