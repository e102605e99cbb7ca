"""How a cost grows with what is asked: exponents of measured curves."""

import numpy as np
import pandas as pd
from scipy import stats

from ethical_compression.errors import InputError

COSTS = ("seconds", "megabytes")


def exponents(table: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """The slope b of log cost = a + b log size, by least squares, of every curve of a table.

    table: `curve`, `size`, and the columns of `COSTS`, as `python -m benchmarks growth` measures
    them. Returns a row a curve and cost, curves in their order: `curve`, `cost`, `points`, `least`
    and `most` (sizes), `exponent`, `ci_low`, `ci_high` (t-intervals of so many points; all three
    NaN where a cost was not seen to be above zero, the ends for fewer than three points).
    Raises InputError for a table without such a column, and for a curve of one size.
    """
    if missing := {"curve", "size", *COSTS} - set(table.columns):
        raise InputError(f"A table of growing costs lacks {', '.join(sorted(missing))}.")
    rows = []
    for curve, part in table.groupby("curve", sort=False):
        if part["size"].nunique() < 2:
            raise InputError(f"{curve!r} was measured at one size: measure two at least.")
        for cost in COSTS:
            row = {"curve": curve, "cost": cost, "points": len(part)}
            row |= {"least": part["size"].min(), "most": part["size"].max()}
            slope = half = np.nan
            if (part[cost] > 0).all():
                found = stats.linregress(np.log(part["size"]), np.log(part[cost]))
                slope = found.slope
                if len(part) > 2:
                    half = found.stderr * stats.t.ppf((1 + level) / 2, len(part) - 2)
            rows.append(row | {"exponent": slope, "ci_low": slope - half, "ci_high": slope + half})
    return pd.DataFrame(rows)
