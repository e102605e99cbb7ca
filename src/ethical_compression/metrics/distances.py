"""How far compressed models' predictions are from the full model's, gathered for a page."""

from collections.abc import Mapping

import pandas as pd

from ethical_compression import statistics


def summary(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Jensen–Shannon distances by what they are over, compression and benchmark: a row each.

    tables: {what the distance is over: `compression`, `benchmark`, `item`, `js_distance`, one or
    several rows an item}. Columns: `over`, `compression`, `benchmark`, `questions`; `mean` with
    Student's `ci_low` and `ci_high` over the questions, since tokens of one belong together;
    `median` and `p95`, of the rows.
    """
    rows = []
    for over, table in tables.items():
        for (label, benchmark), here in table.groupby(["compression", "benchmark"], sort=False):
            by_item = here.groupby("item")["js_distance"].mean()
            mean, low, high = statistics.mean_interval(by_item)
            row = {"over": over, "compression": label, "benchmark": benchmark}
            row |= {"questions": len(by_item), "mean": mean, "ci_low": low, "ci_high": high}
            row["median"] = here["js_distance"].median()
            rows.append(row | {"p95": here["js_distance"].quantile(0.95)})
    return pd.DataFrame(rows)
