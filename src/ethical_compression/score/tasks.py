"""What a model can be asked by name, and what its answers come to: benchmarks of questions, whose
measure is accuracy, and harms (`metrics.harm_values.HARMS`), of which more is worse.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ethical_compression.datasets import files, multiple_choice
from ethical_compression.datasets.multiple_choice_tasks import BENCHMARKS
from ethical_compression.errors import InputError
from ethical_compression.metrics.harm_values import HARMS, harm_values
from ethical_compression.score import batteries, harm_grid, loglikelihood, runs
from ethical_compression.score.runs import Battery, Memory, Subject
from ethical_compression.statistics.clusters import clustered_interval
from ethical_compression.statistics.verdicts import LEAST_CLUSTERS, LEAST_ITEMS

# Where a benchmark is looked for, what is on this machine first.
SOURCES = ("embedded", "mirror", "hub")
ALL = "all items"


def names() -> dict[str, str]:
    """What can be asked, by name, with its title: benchmarks first, then harms."""
    harms = {name: one.title for name, one in HARMS.items() if one.battery in batteries.BATTERIES}
    return {name: one["title"] for name, one in BENCHMARKS.items()} | harms


def battery(name: str, limit: int | None = None, seed: int = 0) -> Battery:
    """What is asked for a name of `names`: about `limit` items, None for all.

    Raises InputError for an unknown name, and where its data are not here.
    """
    files.known("task", name, names())
    if name not in BENCHMARKS:
        return batteries.battery(HARMS[name].battery, limit=limit, seed=seed)
    (asked,) = loglikelihood.batteries({name: _questions(name, limit, seed)})
    return asked


def _questions(name: str, limit: int | None, seed: int) -> Sequence:
    """A benchmark's items, from the first of its sources that is here."""
    there = [one for one in SOURCES if one in BENCHMARKS[name]["sources"]]
    for source in there[:-1]:
        try:
            return multiple_choice.load(name, source=source, limit=limit, seed=seed)
        except InputError:
            continue
    return multiple_choice.load(name, source=there[-1], limit=limit, seed=seed)


def values(
    subject: Subject,
    asked: dict[str, Battery],
    *,
    memory: Memory | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """What a model answers, a row a task and item: `model, compression, task, metric, item, group,
    cluster, value`. Every part is kept as soon as it is scored (`runs.measure`).

    asked: by task, from `battery`. value: 1 for a right answer of a benchmark, 0 for another; of a
    harm that of `harm_values`, NaN where there is none.
    """
    memory, found = memory or Memory(), []
    for name, one in asked.items():
        table = runs.measure(subject, one, memory=memory, progress=progress)
        if name in BENCHMARKS:
            some = harm_values("questions", table)
            some = some.assign(value=1 - some["value"], metric="accuracy", group=ALL)
        else:
            harms = harm_grid.harms_of(one, table)
            some = harms[harms["check"] == name].drop(columns="check")
            some = some.assign(metric=f"{HARMS[name].worse} ({HARMS[name].unit})")
        found.append(some.assign(task=name))
    told = {"model": subject.model, "compression": subject.compression}
    columns = ["model", "compression", "task", "metric", "item", "group", "cluster", "value"]
    text = {"item": str, "cluster": str}
    return pd.concat(found, ignore_index=True).assign(**told).astype(text)[columns]


def summary(items: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """Means of `values`, a row a task and group, the whole task first: `task, group, n, clusters,
    mean, ci_low, ci_high, metric`.

    n: items with a value. The interval is Student's over clusters (`clustered_interval`), cut at 0
    and 1 for a share; NaN where there are fewer than a verdict needs, or all are alike.
    """
    rows = []
    for task, some in items.groupby("task", sort=False):
        groups = dict(iter(some.groupby("group", sort=False)))
        for group, part in ({ALL: some} | (groups if len(groups) > 1 else {})).items():
            rows.append({"task": task, "group": group} | _mean(part.dropna(), level))
    return pd.DataFrame(rows)


def _mean(part: pd.DataFrame, level: float) -> dict[str, Any]:
    said = {"n": len(part), "clusters": part["cluster"].nunique()}
    if part.empty:
        return said | dict.fromkeys(("mean", "ci_low", "ci_high"), np.nan) | {"metric": ""}
    found = clustered_interval(part["value"].astype(float), part["cluster"], level=level)
    enough = found.n >= LEAST_ITEMS and found.clusters >= LEAST_CLUSTERS and found.se > 0
    ends = np.array([found.ci_low, found.ci_high]) if enough else np.full(2, np.nan)
    if part["value"].between(0, 1).all():
        ends = ends.clip(0, 1)
    ends = dict(zip(("ci_low", "ci_high"), ends.tolist(), strict=True))
    return said | {"mean": found.mean} | ends | {"metric": part["metric"].iloc[0]}
