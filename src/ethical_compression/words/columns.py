"""The columns of a table of comparisons as pages show them: their titles, and how they are written.

One place decides both, so that a change, its interval and its p-values look alike in every chapter;
`chapters.comparisons` shows them.
"""

import math
from collections.abc import Callable, Mapping

import pandas as pd

from ethical_compression.words import outcomes, signed

# In the order of the page. `interval` and `came` are made of the table's columns.
TITLES = {
    "difference": "Change",
    "interval": "95% interval",
    "d_z": "d_z",
    "d": "d",
    "came": "Came to",
    "p": "p",
    "p_holm": "p (Holm)",
    "p_bh": "p (BH)",
    "p_wilcoxon": "p (Wilcoxon)",
    "p_tost": "p (TOST)",
    "p_tost_holm": "p (TOST, Holm)",
    "detectable": "Found in 4 of 5",
    "seeds_needed": "Seeds needed",
}


def ends(
    table: pd.DataFrame,
    digits: int = 3,
    *,
    low: str = "ci_low",
    high: str = "ci_high",
    scale: float = 1,
    sign: bool = True,
) -> pd.Series:
    """Intervals as the cells of a column: `−0.041 to −0.021`, a dash where there is none.

    low, high: the columns of the ends; scale: what both are multiplied by; sign: write a plus.
    """

    def said(value: float) -> str:
        return signed(value, digits) if sign else f"{value:.{digits}f}".replace("-", "−")

    cells = [
        "–" if math.isnan(one) or math.isnan(other) else f"{said(one)} to {said(other)}"
        for one, other in zip(scale * table[low], scale * table[high], strict=True)
    ]
    return pd.Series(cells, table.index, dtype=object)


def comparisons(
    table: pd.DataFrame,
    first: Mapping[str, str],
    titles: Mapping[str, str | None] | None = None,
    *,
    digits: int = 3,
    scale: float = 1,
    came: bool = False,
) -> tuple[pd.DataFrame, dict[str, str | Callable]]:
    """A table of comparisons and the formats of its columns, as `chapters.table` takes both.

    table: with `difference`, `ci_low`, `ci_high` and any of the other `TITLES`; first: {column:
    title} of those that say what a row is. titles: other titles, or None to leave a column out;
    digits, scale: of the difference and its interval, and of what is `detectable`; came: show what
    each row came to (`words.outcomes`).
    """
    shown = table.assign(interval=ends(table, digits, scale=scale))
    for name in {"difference", "detectable"} & set(table.columns):
        shown[name] = scale * table[name]
    if came:
        shown["came"] = outcomes(table)
    titles = TITLES | dict(titles or {})
    known = {name: titles[name] for name in titles if titles[name] and name in shown.columns}
    shown = shown[[*first, *known]]
    written = {
        "difference": lambda value: signed(value, digits),
        "d_z": lambda value: signed(value, 2),
        "d": lambda value: signed(value, 2),
        "detectable": f".{digits}f",
        "seeds_needed": ",.0f",
    }
    formats = {known[name]: rule for name, rule in written.items() if name in known}
    return shown.rename(columns=dict(first) | known), formats
