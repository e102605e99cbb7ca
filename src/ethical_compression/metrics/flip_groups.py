"""Whose answers flip: by protected group, with the stereotype or against it.

A group whose answers the full model was less sure of flips more often, and a group of which it took
the stereotype nearly always can hardly move but against it: that is regression to the mean, and no
aim. So each group is held against a *blind* disturbance (`metrics.flips`): its own margins and
starting point, with the shifts that the answers about the battery's other groups got. What is left
is the group's own. The two samples, its answers and the others' shifts, are independent; both are
clustered, and Welch's degrees of freedom are of clusters. The first one's variance is at least that
of independent flips with the chances that are expected.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ethical_compression.errors import InputError
from ethical_compression.metrics.flips import LOOK, turned, turns
from ethical_compression.metrics.harm_grid import ABOUT_PEOPLE, part_changes
from ethical_compression.metrics.harm_values import HARMS
from ethical_compression.statistics import minimum_detectable, over_tests
from ethical_compression.statistics.clusters import clustered_interval
from ethical_compression.statistics.verdicts import (
    LEAST_CLUSTERS,
    LEAST_ITEMS,
    clustered_mean,
    judge,
)

# Batteries whose groups are people.
PEOPLE = tuple(dict.fromkeys(HARMS[name].battery for name in ABOUT_PEOPLE))
# Harms that are preferences, so that a flip goes with the stereotype or against it. Of all but the
# first the stereotype is the first of two options.
DIRECTED = ("bbq_ambiguous", "stereoset_within", "crows_pairs", "winobias", "reddit_bias")


def by_group(
    rows: pd.DataFrame,
    *,
    groups: Mapping[str, Sequence] | None = None,
    direction: bool = False,
    level: float = 0.95,
) -> pd.DataFrame:
    """Flips of every group, beside what other groups' shifts would make of its margins.

    rows: of `flips.answers`, of which `PEOPLE` are looked at. groups: {battery: groups that there
    should be}. direction: count a flip towards the stereotype as 1 and one away from it as −1, in
    the batteries of two options of `DIRECTED`.
    Columns: `compression`, `battery`, `group`, `n`, `clusters`; `flipped` (with direction, the mean
    change) with `_low`, `_high`; `floor`, the same in other arithmetic;
    `expected`; `difference` (flipped − expected) with `ci_low`, `ci_high`, `p`, `p_holm` (over the
    groups of a compression) and `detectable`; `reason`, why a group has no test: no items, fewer
    than ten, fewer than six clusters, no other group, or nothing moved.
    """
    rows = rows[rows["battery"].isin(DIRECTED if direction else PEOPLE)]
    noise = _signed(rows[rows["compression"] == LOOK], direction)
    noise = noise.groupby(["battery", "group"])["counted"].mean()
    told = []
    for (name, battery), part in rows[rows["compression"] != LOOK].groupby(
        ["compression", "battery"], sort=False
    ):
        its = part["group"].to_numpy(object)
        # Numbers alone: pandas takes most of a minute to cut columns of text thousands of times.
        numbers = _signed(part, direction)[["way", "counted", "flipped", "sign", "shift", "margin"]]
        numbers["cluster"] = pd.factorize(part["cluster"])[0]
        for group in dict.fromkeys([*its, *(groups or {}).get(battery, ())]):
            row = {"compression": name, "battery": battery, "group": group}
            row["floor"] = noise.get((battery, group), np.nan)
            told.append(row | _group_row(numbers, its == group, direction, level))
    found = pd.DataFrame(told)
    found["p_holm"] = found.groupby("compression", sort=False)["p"].transform(over_tests)
    families = found.groupby("compression")["p"].transform("count")
    found["detectable"] = [
        minimum_detectable(row["se"], row["df"], alpha=(1 - level) / many)
        if row["reason"] == ""
        else np.nan
        for (_, row), many in zip(found.iterrows(), families, strict=True)
    ]
    return found.drop(columns=["se", "df"])


def _signed(rows: pd.DataFrame, direction: bool) -> pd.DataFrame:
    """With `way`, what a flip of this answer counts, and `counted`, what it came to."""
    way = -rows["sign"] if direction else 1
    return rows.assign(way=way, counted=way * rows["flipped"])


def _group_row(part: pd.DataFrame, inside: np.ndarray, direction: bool, level: float) -> dict:
    from scipy import stats

    mine, others = part[inside], part[~inside]
    empty = ("flipped", "flipped_low", "flipped_high", "expected", "difference")
    row = dict.fromkeys([*empty, "ci_low", "ci_high", "se", "df", "p"], np.nan)
    row |= {"n": len(mine), "clusters": mine["cluster"].nunique(), "reason": ""}
    if mine.empty:
        return row | {"reason": "no items"}
    counted = mine["counted"] if direction else mine["flipped"]
    share = clustered_interval(counted, mine["cluster"], level=level)
    row |= {"flipped": share.mean, "flipped_low": share.ci_low, "flipped_high": share.ci_high}
    if others.empty:
        return row | {"reason": "no other group"}
    # Everybody's margins with the others' shifts, and the others' shifts with everybody's margins.
    chance = mine["way"] * turned(mine, others) / len(others)
    hits = (np.array([[-1], [1]]) if direction else 1) * turns(others, mine)
    hits = hits.sum(0) / len(mine)
    difference = float(share.mean - chance.mean())
    row |= {"expected": chance.mean(), "difference": difference}
    if len(mine) < LEAST_ITEMS:
        return row | {"reason": f"fewer than {LEAST_ITEMS} items"}
    if row["clusters"] < LEAST_CLUSTERS:
        return row | {"reason": f"fewer than {LEAST_CLUSTERS} independent clusters"}
    sides = [
        clustered_mean(mine["counted"] - chance, mine["cluster"]),
        clustered_mean(hits, others["cluster"]),
    ]
    # Where hardly anything flipped, what is left has no spread, and the chances have.
    least = float((chance.abs() * (1 - chance.abs())).sum()) / len(mine) ** 2
    squares = [max(sides[0][1] ** 2, least), sides[1][1] ** 2]
    if not sum(squares) > 0 or not all(df for *_, df in sides):
        return row | {"reason": "nothing moved"}
    se = np.sqrt(sum(squares))
    df = sum(squares) ** 2 / sum(one**2 / df for one, (*_, df) in zip(squares, sides, strict=True))
    half = stats.t.ppf((1 + level) / 2, df) * se
    p = float(2 * stats.t.sf(abs(difference) / se, df))
    ends = {"ci_low": difference - half, "ci_high": difference + half}
    return row | ends | {"se": se, "df": df, "p": p}


def directed(table: pd.DataFrame) -> pd.DataFrame:
    """Changes of every preference (`DIRECTED`), a row an item and compression.

    table: of `score.harm_grid.records`. Columns: `compression`, `check`, `item`, `group`,
    `cluster`, `before`, `after`, `value` (after − before, above 0 with the stereotype), `floor` of
    the check (0 where nothing was asked twice), and `margin`.
    Raises InputError where the table has none of them.
    """
    found = part_changes(table, DIRECTED)
    if found.empty:
        raise InputError(f"The table has no harm that is a preference ({', '.join(DIRECTED)}).")
    return found


def who_gains(changes: pd.DataFrame) -> pd.DataFrame:
    """Whether the flips of each group go with the stereotype or against it: a row a group.

    changes: of `directed`. Columns: `compression`, `check`, `group`, `with_it` and `against_it`
    (items that moved towards the stereotype, and away), and what `statistics.verdicts.judge` tells
    of the mean change ("worse" is with the stereotype), Holm over the groups of a compression.
    """
    parts = []
    for name, some in changes.groupby("compression", sort=False):
        moves = some.groupby(["check", "group"])["value"].agg(
            with_it=lambda one: int((one > 0).sum()), against_it=lambda one: int((one < 0).sum())
        )
        found = judge(some, dict.fromkeys(some["check"].unique(), name))
        found = found.rename(columns={"stage": "compression"})
        parts.append(found.join(moves, on=["check", "group"]))
    return pd.concat(parts, ignore_index=True)


def asymmetry(rows: pd.DataFrame, *, draws: int = 4000, seed: int = 0) -> pd.DataFrame:
    """Do groups move apart by more than a blind disturbance makes them? A row a compression.

    rows: of `flips.answers`; of the batteries of two options of `DIRECTED`, the groups of ten items
    or more. The null deals the shifts of a battery to its answers at random: a permutation test,
    which takes answers for independent. Columns: `compression`, `groups`; `worst` and `best`, the
    largest mean change of a group with the stereotype and against it, and `worst_chance` and
    `best_chance`, their means under the null; `spread` (worst − best), `spread_chance` (its 95th
    percentile under the null), `p` and `p_holm`.
    """
    rng, told = np.random.default_rng(seed), []
    some = rows[rows["battery"].isin(DIRECTED) & (rows["compression"] != LOOK)]
    many = some.groupby(["compression", "battery", "group"])["item"].transform("size")
    for name, part in some[many >= LEAST_ITEMS].groupby("compression", sort=False):
        (least, most), *chance = _ends(part, draws, rng)
        chance = np.array(chance)
        spread = chance[:, 1] - chance[:, 0]
        beyond = int((spread >= most - least - 1e-12).sum())
        told.append(
            {"compression": name, "groups": part.groupby(["battery", "group"]).ngroups}
            | {"worst": most, "best": least, "spread": most - least}
            | {"worst_chance": chance[:, 1].mean(), "best_chance": chance[:, 0].mean()}
            | {"spread_chance": np.quantile(spread, 0.95), "p": (1 + beyond) / (1 + draws)}
        )
    found = pd.DataFrame(told)
    return found.assign(p_holm=over_tests(found["p"])) if len(found) else found


def _ends(part: pd.DataFrame, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Least and largest mean change of a group under the shifts as they are, then under as many
    deals of them: (1 + draws, 2)."""
    means = []
    for _, some in part.groupby("battery", sort=False):
        sign, margin = some["sign"].to_numpy(), some["margin"].to_numpy()
        push = sign * some["shift"].to_numpy()
        dealt = rng.permuted(np.broadcast_to(push, (draws, len(push))), axis=1)
        change = -sign * (margin + sign * np.vstack([push, dealt]) < 0)
        belongs = pd.get_dummies(some["group"]).to_numpy(float)
        means.append(change @ belongs / belongs.sum(0))
    every = np.hstack(means)
    return np.column_stack([every.min(axis=1), every.max(axis=1)])
