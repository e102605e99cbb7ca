"""What the table of simulated coverage says: which intervals and tests keep their promise.

The table is that of `results/coverage.py`: `method`, `kind`, `used`, `case`, `nominal`, `rate`,
`error`, `undefined`.
"""

import pandas as pd

from ethical_compression import kept_tables
from ethical_compression.errors import InputError
from ethical_compression.words import listed

# An interval that holds the truth less often than this, and a test that rejects what is true more
# often, is named on the pages that use it.
LEAST, MOST = 0.93, 0.07


# What `results/calibration_intervals.py` calls the two intervals that chapters use; the others of
# its table are those that were tried and left.
_CALIBRATION = {
    "squared error, jackknife": "Interval of a change of squared calibration error",
    "confidence − share right, Student": "Student's interval of confidence − share right",
}


def kept() -> pd.DataFrame:
    """The committed cases: those of `results/coverage.py`, and those made apart.

    Apart are the calibration's, and those of what is corrected for a judge's mistakes.
    """
    table, _ = kept_tables.larger("coverage")
    apart, _ = kept_tables.larger("calibration_intervals")
    apart = apart[apart["measure"].isin(list(_CALIBRATION))]
    apart = pd.DataFrame(
        {
            "method": apart["measure"].map(_CALIBRATION),
            "kind": "interval",
            "case": apart["n"].astype(str) + " questions, overconfidence " + apart["case"],
            "nominal": 0.95,
            "rate": apart["coverage"],
            "error": apart["error"],
            "studies": apart["studies"],
            "undefined": 0.0,
            "used": "Confidence, Calibration, Change of confidence",
        }
    )
    judged, _ = kept_tables.larger("judge_coverage")
    judged = judged[judged["corrected"]].drop(columns=["corrected", "unchanged"])
    return pd.concat([table, apart, judged], ignore_index=True)


def faults(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that do not keep their promise, and those without any answer."""
    short = (table["kind"] == "interval") & (table["rate"] < LEAST)
    liberal = (table["kind"] == "test") & (table["rate"] > MOST)
    return table[short | liberal | table["rate"].isna()]


def worst(table: pd.DataFrame, kind: str = "interval") -> pd.DataFrame:
    """Each method's case that keeps least, for `figures.interval_panels`: kept less promised.

    Columns `panel`, `row` (the method), `series`, and `difference`, `ci_low`, `ci_high` in points:
    below zero an interval holds the truth less often than it says. The bars are twice the
    simulation's standard error.
    """
    rows = table[(table["kind"] == kind) & table["rate"].notna()]
    rows = rows.loc[rows.groupby("method", sort=False)["rate"].idxmin()]
    kept = 100 * (rows["rate"] - rows["nominal"])
    return pd.DataFrame(
        {
            "panel": kind,
            "row": rows["method"],
            "series": "least of its cases",
            "difference": kept,
            "ci_low": kept - 200 * rows["error"],
            "ci_high": kept + 200 * rows["error"],
        }
    )


def rate(row) -> str:
    """`93.6% ± 0.8`, or that no study had an answer."""
    if pd.isna(row.rate):
        return "no answer"
    return f"{100 * row.rate:.1f}% ± {100 * row.error:.1f}"


def answer(table: pd.DataFrame) -> str:
    """How many lines keep their promise, in two sentences."""
    if table.empty:
        raise InputError("There is no line to speak of: make results/coverage.parquet.")
    wrong = faults(table)
    kept = len(table) - len(wrong)
    start = (
        f"In {kept} of {len(table)} simulated cases 95% intervals hold the truth in at least "
        f"{LEAST:.0%} of studies, or tests at 5% reject what is true in at most {MOST:.0%}"
    )
    if wrong.empty:
        return f"{start}."
    worst = wrong.loc[(wrong["rate"] - wrong["nominal"]).abs().fillna(1).idxmax()]
    return (
        f"{start}. The other {len(wrong)} are named below; the furthest off is "
        f"“{worst['method']}” with {worst['case']}: {rate(worst)}."
    )


def named(table: pd.DataFrame, chapter: str | None = None) -> str:
    """What does not keep its promise, of one chapter (a part of `used`) or of all, in one sentence.

    A plus or minus is one standard error of the simulation.
    """
    if chapter is not None:
        known = table["used"].str.contains(chapter, regex=False)
        table = table[known | (table["used"] == "every chapter")]
        if not known.any():
            raise InputError(f"No line of the table is used in a chapter called {chapter!r}.")
    wrong = faults(table)
    scope = "of this page" if chapter is not None else "of the book"
    if wrong.empty:
        return (
            f"By simulation, all intervals {scope} hold the truth in at least {LEAST:.0%} of "
            f"studies, and its tests reject what is true in at most {MOST:.0%}."
        )
    parts = [
        f"{method} ({'; '.join(f'{row.case}: {rate(row)}' for row in part.itertuples())})"
        for method, part in wrong.groupby("method", sort=False)
    ]
    return (
        f"By simulation, of the intervals (95%) and tests (5%) {scope} these do not keep their "
        f"promise: {listed(parts)}."
    )
