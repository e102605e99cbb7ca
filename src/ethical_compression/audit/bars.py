"""The picture in a row of a report: a change with its interval, in units of its margin."""

import math
from collections.abc import Mapping

import pandas as pd


def widest(rows: pd.DataFrame) -> float:
    """How many margins the charts of a table reach to either side: at most six."""
    ends = (rows[["ci_low", "ci_high"]].abs().max(axis=1) / rows["margin"]).max()
    return min(6.0, max(1.5, float(ends) if math.isfinite(ends) else 1.5))


def bar(row: Mapping, widest: float, cls: str) -> str:
    """A row's change with its interval, in margins, as a picture that sorts with its row."""
    margin = row["margin"]

    def x(value: float) -> float:
        return 90 + 85 * max(-1.0, min(1.0, value / margin / widest))

    if math.isnan(row["ci_low"]):
        return '<span class="soft">–</span>'
    low, high, at = x(row["ci_low"]), x(row["ci_high"]), x(row["difference"])
    beyond = "".join(
        f'<path d="M{end} 8l{6 * way} 4l{-6 * way} 4z" fill="currentColor"/>'
        for value, end, way in ((row["ci_low"], 5, -1), (row["ci_high"], 175, 1))
        if abs(value) / margin > widest and math.copysign(1, value) == way
    )
    alt = f"{row['difference'] / margin:.2f} margins, from {row['ci_low'] / margin:.2f} to "
    alt += f"{row['ci_high'] / margin:.2f}"
    return (
        f'<svg class="{cls}" width="180" height="24" viewBox="0 0 180 24" role="img" '
        f'aria-label="{alt}"><rect x="{x(-margin):.1f}" y="3" width="{x(margin) - x(-margin):.1f}" '
        'height="18" fill="currentColor" opacity=".14"/>'
        '<line x1="90" x2="90" y1="1" y2="23" stroke="currentColor" opacity=".5"/>'
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="12" y2="12" stroke="currentColor" '
        f'stroke-width="2"/><circle cx="{at:.1f}" cy="12" r="4" fill="currentColor"/>{beyond}</svg>'
    )
