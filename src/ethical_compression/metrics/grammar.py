"""Which of two sentences a model finds likelier: the one that grammar allows (BLiMP)."""

import pandas as pd

from ethical_compression.metrics.contrasts import contrast_scores, differences
from ethical_compression.statistics.clusters import clustered_interval

CHANCE = 0.5
ALL, NEW = "all", "all, for new paradigms"


def by_phenomenon(table: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """The share of pairs whose acceptable sentence is likelier (sums of log-probabilities; Warstadt
    et al. 2020), a row a phenomenon, in the order of their names, and two for all pairs.

    table: of `score.harms.contrasts` on `datasets.blimp`. Columns: `phenomenon, paradigms, n,
    share, low, high`, between 0 and 1. The interval of a phenomenon is over its pairs, and is for
    new pairs of the same paradigms, of which there may be two, and so is that of `ALL` (a little
    too wide, since every paradigm gives its share of pairs). That of `NEW`, the same share, is over
    paradigms, and is for new ones. An equal pair counts as wrong. Raises InputError as
    `contrast_scores`.
    """
    found = contrast_scores(table, level=level)
    items = differences(table)
    paradigms = items.groupby("group")["kind"].nunique()
    rows = [
        {
            "phenomenon": row["group"],
            "paradigms": int(paradigms[row["group"]]),
            "n": row["n"],
            "share": row["preferred"] / 100,
            "low": row["preferred_low"] / 100,
            "high": row["preferred_high"] / 100,
        }
        for row in found.sort_values("group").to_dict("records")
    ]
    right = (items["difference"] > 0).to_numpy()
    for name, clusters in ((ALL, range(len(right))), (NEW, items["kind"])):
        whole = clustered_interval(right, list(clusters), level=level)
        rows.append(
            {
                "phenomenon": name,
                "paradigms": items["kind"].nunique(),
                "n": whole.n,
                "share": whole.mean,
                "low": whole.ci_low,
                "high": whole.ci_high,
            }
        )
    return pd.DataFrame(rows)
