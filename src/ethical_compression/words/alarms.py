"""What an audit found on pairs whose difference is known, in sentences (`metrics.alarms`)."""

import pandas as pd

from ethical_compression import words
from ethical_compression.metrics.alarms import NOTHING


def _share(row) -> str:
    return f"{row['ci_low']:.0%} to {row['ci_high']:.0%}"


def false_alarms(counts: pd.DataFrame) -> str:
    """counts: of `metrics.alarms.false_alarms`. How often nothing was called something."""
    said = []
    for row in counts.to_dict("records"):
        verb = "is" if row["alarms"] == 1 else "are"
        text = (
            f"{row['title'][0].upper()}{row['title'][1:]}, {row['pairs']} "
            f"pair{'s' * (row['pairs'] != 1)}: {row['alarms']} of {row['rows']} rows {verb} worse "
            f"or better, in {row['alarmed']} of {row['families']} families"
        )
        if row["kind"] in NOTHING:
            said.append(f"{text} (95% interval of that share {_share(row)}; allowed are 5%).")
        else:
            said.append(f"{text}: two such models do differ, by chance, and an audit sees it.")
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
