"""What a classifier of toxic posts gets wrong, a value a post: more is worse, so that a compressed
classifier can be compared post by post (`statistics.verdicts`).

The bias AUCs of `metrics.bias_auc` and the F1 of Part I are no means over posts. Each is written
here as the mean of what a post adds to it (its influence), so that the mean change is the change of
the measure, and its standard error the usual one: DeLong's for an AUC, the delta method's for F1.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ethical_compression.metrics.bias_auc import groups, membership
from ethical_compression.statistics import auc

# A post is called toxic from here on.
THRESHOLD = 0.5
# Fewer posts of a kind estimate their part of an AUC's error badly: no row is made of them.
LEAST = auc.FEW
ALL = "all posts"


def decisions(table: pd.DataFrame) -> pd.Series:
    """Whether each post is called toxic. table: a row a post, with `score`."""
    return table["score"] >= THRESHOLD


def wrong(table: pd.DataFrame) -> pd.DataFrame:
    """1 for a post on which the decision is not the annotators', 0 otherwise: `item, group,
    cluster, value, answer`. table: `item`, `toxic`, `score`, a row a post."""
    called = decisions(table)
    return _told(table, (called != table["toxic"]).astype(float))


def f1_lost(table: pd.DataFrame) -> pd.DataFrame:
    """1 − macro F1 over toxic posts and others, as what each post adds to it; columns of `wrong`.

    F1 of a class is 2·TP ÷ (2·TP + FP + FN) = 2·TP ÷ D, 0 where D is. A post adds
    F1 + n (2·tp − F1·d) ÷ D, its own tp and d; the mean over n posts is F1.
    """
    called, toxic = decisions(table).to_numpy(), table["toxic"].to_numpy(bool)
    added = np.zeros(len(table))
    for kind in (True, False):
        hits = ((called == kind) & (toxic == kind)).astype(float)
        counted = (called == kind).astype(float) + (toxic == kind)
        if not counted.sum():
            continue
        f1 = 2 * hits.sum() / counted.sum()
        added += f1 + len(table) * (2 * hits - f1 * counted) / counted.sum()
    return _told(table, 1 - added / 2)


def auc_lost(
    table: pd.DataFrame, posts: Sequence, communities: Sequence[str], metric: str
) -> pd.DataFrame:
    """1 − a bias AUC of every community, as what each post adds to it (`auc.shares`): columns of
    `wrong`, a row a community and post that the metric is taken over (`bias_auc.METRICS`).

    posts: records with `id` and `communities`, those of the table or more. A community with fewer
    than `LEAST` posts of a kind is left out.
    """
    members = membership(posts, communities).loc[table["item"]]
    toxic, called = table["toxic"].to_numpy(bool), decisions(table)
    parts = []
    for community in communities:
        inside = members[community].to_numpy()
        chosen = groups(inside, ~inside, toxic)[metric]
        if min((toxic & chosen).sum(), (~toxic & chosen).sum()) < LEAST:
            continue
        some = table[chosen]
        found = _told(some, 1 - auc.shares(some["score"], some["toxic"]), called[chosen])
        parts.append(found.assign(item=community + " " + found["item"], group=community))
    empty = pd.DataFrame(columns=["item", "group", "cluster", "value", "answer"])
    return pd.concat(parts, ignore_index=True) if parts else empty


def _told(table: pd.DataFrame, value, called: pd.Series | None = None) -> pd.DataFrame:
    called = decisions(table) if called is None else called
    return pd.DataFrame(
        {
            "item": table["item"].to_numpy(),
            "group": ALL,
            "cluster": table["item"].to_numpy(),
            "value": np.asarray(value, dtype=float),
            "answer": np.where(called, "toxic", "not toxic"),
        }
    )
