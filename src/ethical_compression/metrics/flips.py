"""Whose answers flip under compression, and whether uncertain answers flip first.

An answer flips where the option that the full model took is no longer ahead. Let mᵢ be its lead
over the best other option in the full model (the *margin*, nats) and mᵢ + δᵢ that under a
compression; it flips where δᵢ < −mᵢ. So small margins flip whatever happens: a disturbance that
knows nothing of confidence does that too. What such a *blind* one would do is computed, not
simulated: every answer gets every other answer's shift in turn,

    Pᵢ = 1/(n − 1) · Σ_{j≠i} [mᵢ + sᵢ·sⱼ·δⱼ < 0],

within one battery and compression. Of two options sᵢ is 1 where the first was taken and −1 where
the second was, so that what is dealt out is a push towards one *option*: told in favour of the
winner, every shift would hold the winner's luck, which the next look takes back (regression to the
mean). Of three options sᵢ is 1. The *excess* of some answers (the unsure ones, those about a group)
is the mean of flipᵢ − Pᵢ over them: 0 in expectation where shifts are blind. Both the flips and the
shifts that are dealt out are drawn, so each answer counts twice, with its own flip and with what
its shift does to others (the projection of a U-statistic; Hoeffding 1948), and what was written
together stays together (`statistics.clusters`).

Whether the *shifts* are larger where the model was unsure is another question. A margin's own noise
is in the shift too, so their sizes are compared by a second look at the full model, in other
arithmetic, whose noise is not (`statistics.change_slope` does the same for a slope).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ethical_compression.errors import InputError
from ethical_compression.metrics.four_harms import MARGINS
from ethical_compression.metrics.harm_values import HARMS, floor, paired
from ethical_compression.statistics import holm, minimum_detectable
from ethical_compression.statistics.clusters import clustered_interval
from ethical_compression.statistics.verdicts import (
    LEAST_CLUSTERS,
    LEAST_ITEMS,
    clustered_mean,
    judge,
)

ANSWERS = "answers: "
FULL, LOOK = "full", "full, float32"
THIRDS = ("unsure", "middle", "sure")
# Harms that are preferences, so that a flip goes with the stereotype or against it.
DIRECTED = ("bbq_ambiguous", "stereoset_within", "crows_pairs", "winobias", "reddit_bias")


def answers(table: pd.DataFrame) -> pd.DataFrame:
    """Answers under each compression beside the full model's, a row each.

    table: of `score.harm_grid.records`, of one base model. Columns: `compression, method, seed,
    battery, item, group, cluster`; `options` (2, or 3 for more); `margin`, `lead` (of the full
    model's option under the compression) and `shift`, their difference, in nats; `sign` (sᵢ);
    `flipped`; `look`, the full model's margin in other arithmetic (its own where nothing was asked
    twice); `third`, by `margin` within a battery, and `look_third`; and `expected`, Pᵢ.
    Raises InputError for a table without answers, or made without shifts, and for several models.
    """
    rows = table[table["check"].str.startswith(ANSWERS)]
    if rows.empty:
        raise InputError("The table holds no answers: ask batteries that have options.")
    if "margin_after" not in rows or rows["margin_after"].isna().all():
        raise InputError(
            "The table says which answers flipped and not how far they were pushed: make it again "
            "with `python results/harm_grid.py --stored`."
        )
    if rows["model"].nunique() > 1:
        raise InputError("The table is of several base models: compare each with itself.")
    rows = rows.assign(
        battery=rows["check"].str.removeprefix(ANSWERS),
        lead=rows["margin_after"],
        shift=rows["margin_after"] - rows["margin"],
        flipped=rows["before"] != rows["after"],
    )
    many = rows.groupby("battery")[["before", "after"]].transform("max").max(axis=1)
    second = (many <= 1) & (rows["before"] == 1)
    rows = rows.assign(options=np.where(many > 1, 3, 2), sign=np.where(second, -1, 1))
    twice = rows.loc[rows["compression"] == LOOK].set_index(["battery", "item"])["lead"].abs()
    own = rows["margin"] if twice.empty else _of_items(rows, twice)
    columns = ["compression", "method", "seed", "battery", "item", "group", "cluster", "options"]
    columns += ["margin", "lead", "shift", "sign", "flipped"]
    found = rows.assign(look=own)[[*columns, "look"]]
    return dealt(found[found["compression"] != FULL].reset_index(drop=True))


def dealt(rows: pd.DataFrame) -> pd.DataFrame:
    """With `third`, by `margin`, `look_third`, by `look`, and `expected` (Pᵢ), within each battery
    and compression."""
    parts = []
    for _, some in rows.groupby(["compression", "battery"], sort=False):
        thirds = {
            column: np.array(THIRDS)[(3 * (rank - 1) / len(some)).astype(int)]
            for column, by in (("third", "margin"), ("look_third", "look"))
            for rank in [some[by].rank(method="first").to_numpy()]
        }
        own = some["shift"] < -some["margin"]
        chance = (_turned(some, some) - own) / max(1, len(some) - 1)
        parts.append(some.assign(**thirds, expected=chance))
    return pd.concat(parts, ignore_index=True)


def between_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """The control: answers under one draw of the calibration text beside those under another.

    rows: of `answers`. Neither model is more compressed than the other. `compression` is that of
    the first draw; `margin` its own lead, `shift` what the second changes of it. Of more than two
    options only the full model's is known, so those are left out. Empty without two draws.
    """
    some = rows[rows["options"] == 2]
    parts = []
    for name, other in some[some["seed"] > 0].groupby("compression", sort=False):
        first = some[some["compression"] == name.rpartition(", seed ")[0]]
        if first.empty:
            continue
        first = first.set_index(["battery", "item"])
        lead = other.set_index(["battery", "item"])["lead"].loc[first.index]
        ahead, turn = first["lead"].abs(), np.where(first["lead"] < 0, -1, 1)
        after = turn * lead
        moved = first.assign(margin=ahead, lead=after, shift=after - ahead, flipped=after < 0)
        moved["sign"] *= turn
        parts.append(moved.reset_index())
    if not parts:
        return rows.iloc[:0]
    return dealt(pd.concat(parts, ignore_index=True))


def by_margin(rows: pd.DataFrame, bins: int = 6, *, level: float = 0.95) -> pd.DataFrame:
    """Flips by the full model's confidence: a row a compression and bin of `margin`.

    Bins hold as many answers of each battery. Columns: `compression`, `bin` (1 is the least sure),
    `n`, `margin` (median, nats), `flipped` with `_low`, `_high` over clusters, and `expected`.
    """
    rank = rows.groupby(["compression", "battery"])["margin"].rank(method="first", pct=True)
    rows = rows.assign(bin=np.ceil(rank * bins).astype(int).clip(1, bins))
    found = []
    for (name, place), some in rows.groupby(["compression", "bin"], sort=False):
        told = clustered_interval(some["flipped"], _clusters(some), level=level)
        found.append(
            {"compression": name, "bin": place, "n": len(some), "margin": some["margin"].median()}
            | {"flipped": told.mean, "flipped_low": told.ci_low, "flipped_high": told.ci_high}
            | {"expected": some["expected"].mean()}
        )
    order = {name: place for place, name in enumerate(rows["compression"].unique())}
    return pd.DataFrame(found).sort_values(
        ["compression", "bin"], key=lambda one: one.map(order) if one.name != "bin" else one
    )


def concentration(rows: pd.DataFrame, *, margin: float = 0.05) -> pd.DataFrame:
    """How far flips gather on unsure answers, and how far a blind shift would: a row a compression.

    rows: of `answers` or `between_seeds`. margin: the largest excess that does not matter.
    Columns: `compression`, `n`, `flipped`, of the `unsure` and the `sure` third the share that
    flipped, and their `ratio` with `_low`, `_high`; `expected_unsure`, `expected_sure` and
    `expected_ratio`, of a blind shift; `size_ratio` with `_low`, `_high`, `_p`, `_p_holm`: the size
    of the shifts of unsure answers, by the second look, as a multiple of those of sure ones, each
    battery's mean being 1; and of the excess of the unsure third what `statistics.verdicts.judge`
    tells (`difference`, `ci_low`, `p_holm`, `verdict`, …), Holm over the compressions.
    """
    told, values = [], []
    for name, some in rows.groupby("compression", sort=False):
        some = some.reset_index(drop=True)
        unsure, sure = ((some["third"] == one).to_numpy() for one in (THIRDS[0], THIRDS[2]))
        clusters = _clusters(some)
        size = some["shift"].abs() / some.groupby("battery")["shift"].transform(
            lambda one: one.abs().mean() or 1.0
        )
        row = {"compression": name, "answers": len(some), "flipped": some["flipped"].mean()}
        row |= {THIRDS[0]: some["flipped"][unsure].mean(), THIRDS[2]: some["flipped"][sure].mean()}
        row |= _ratio("ratio", some["flipped"], unsure, sure, clusters)
        ends = [some["expected"][one].mean() for one in (unsure, sure)]
        row |= {"expected_unsure": ends[0], "expected_sure": ends[1]}
        row["expected_ratio"] = ends[0] / ends[1] if ends[1] else np.nan
        looked = [(some["look_third"] == one).to_numpy() for one in (THIRDS[0], THIRDS[2])]
        told.append(row | _ratio("size_ratio", size, *looked, clusters))
        values.append(_valued(some, unsure, "unsure", name, margin))
    judged = judge(pd.concat(values, ignore_index=True), {"unsure": "unsure"})
    found = pd.DataFrame(told).drop(columns="ratio_p")
    found["size_ratio_p_holm"] = _holm(found["size_ratio_p"])
    judged = judged.drop(columns=["stage", "check", "changed"]).rename(
        columns={"group": "compression"}
    )
    return found.merge(judged, on="compression")


def by_group(
    rows: pd.DataFrame, *, groups: Mapping[str, Sequence] | None = None, level: float = 0.95
) -> pd.DataFrame:
    """Who pays: flips of every group, beside what other groups' shifts would make of its margins.

    rows: of `answers`. groups: {battery: groups that there should be}. Columns: `compression`,
    `battery`, `group`, `n`, `clusters`, `flipped` with `_low`, `_high`; `floor`, the share that
    flips in other arithmetic; `expected`, with the shifts of the battery's other groups;
    `difference` (flipped − expected) with `ci_low`, `ci_high`, `p`, `p_holm` (over the groups of a
    compression) and `detectable`; `reason`, why a group has no test: no items, fewer than ten,
    fewer than six clusters, no other group, or nothing moved. The two samples, the group's answers
    and the others' shifts, are independent: Welch's degrees of freedom, of clusters.
    """
    noise = rows[rows["compression"] == LOOK].groupby(["battery", "group"])["flipped"].mean()
    told = []
    for (name, battery), part in rows[rows["compression"] != LOOK].groupby(
        ["compression", "battery"], sort=False
    ):
        for group in dict.fromkeys([*part["group"], *(groups or {}).get(battery, ())]):
            row = {"compression": name, "battery": battery, "group": group}
            row["floor"] = noise.get((battery, group), np.nan)
            told.append(row | _group_row(part, part["group"] == group, level))
    found = pd.DataFrame(told)
    tested = [_holm(some["p"]) for _, some in found.groupby("compression", sort=False)]
    found["p_holm"] = pd.concat(tested)
    families = found.groupby("compression")["p"].transform("count")
    found["detectable"] = [
        minimum_detectable(row["se"], row["df"], alpha=(1 - level) / many)
        if row["reason"] == ""
        else np.nan
        for (_, row), many in zip(found.iterrows(), families, strict=True)
    ]
    return found.drop(columns=["se", "df"])


def _group_row(part: pd.DataFrame, inside: pd.Series, level: float) -> dict:
    from scipy import stats

    mine, others = part[inside], part[~inside]
    empty = ("flipped", "flipped_low", "flipped_high", "expected", "difference")
    row = dict.fromkeys([*empty, "ci_low", "ci_high", "se", "df", "p"], np.nan)
    row |= {"n": len(mine), "clusters": mine["cluster"].nunique(), "reason": ""}
    if mine.empty:
        return row | {"reason": "no items"}
    share = clustered_interval(mine["flipped"], mine["cluster"], level=level)
    row |= {"flipped": share.mean, "flipped_low": share.ci_low, "flipped_high": share.ci_high}
    if others.empty:
        return row | {"reason": "no other group"}
    # Everybody's margins with the others' shifts, and the others' shifts with everybody's margins.
    chance, hits = _turned(mine, others) / len(others), _turns(others, mine) / len(mine)
    difference = float(mine["flipped"].mean() - chance.mean())
    row |= {"expected": chance.mean(), "difference": difference}
    if len(mine) < LEAST_ITEMS:
        return row | {"reason": f"fewer than {LEAST_ITEMS} items"}
    if row["clusters"] < LEAST_CLUSTERS:
        return row | {"reason": f"fewer than {LEAST_CLUSTERS} independent clusters"}
    sides = [
        clustered_mean(mine["flipped"] - chance, mine["cluster"]),
        clustered_mean(hits, others["cluster"]),
    ]
    squares = [se**2 for _, se, _ in sides]
    if not sum(squares) > 0 or not all(df for *_, df in sides):
        return row | {"reason": "nothing moved"}
    se = np.sqrt(sum(squares))
    df = sum(squares) ** 2 / sum(one**2 / df for one, (*_, df) in zip(squares, sides, strict=True))
    half = stats.t.ppf((1 + level) / 2, df) * se
    p = float(2 * stats.t.sf(abs(difference) / se, df))
    ends = {"ci_low": difference - half, "ci_high": difference + half}
    return row | ends | {"se": se, "df": df, "p": p}


def _turned(rows: pd.DataFrame, pushed: pd.DataFrame) -> np.ndarray:
    """By how many of the shifts of `pushed` each answer of `rows` would be turned."""
    push = (pushed["sign"] * pushed["shift"]).to_numpy()
    margin = rows["margin"].to_numpy()
    sides = [np.searchsorted(np.sort(way * push), -margin) for way in (1, -1)]
    return np.where(rows["sign"] > 0, *sides)


def _turns(pushed: pd.DataFrame, rows: pd.DataFrame) -> np.ndarray:
    """How many of the answers of `rows` each shift of `pushed` would turn."""
    push = (pushed["sign"] * pushed["shift"]).to_numpy()
    return sum(
        np.searchsorted(np.sort(rows["margin"][rows["sign"] == way]), -way * push)
        for way in (1, -1)
    )


def _of_items(rows: pd.DataFrame, values: pd.Series) -> np.ndarray:
    where = pd.MultiIndex.from_frame(rows[["battery", "item"]])
    found = values.reindex(where).to_numpy()
    if np.isnan(found).any():
        raise InputError(f"{LOOK!r} was not asked every item: ask it the same as the others.")
    return found


def _clusters(rows: pd.DataFrame) -> pd.Series:
    return rows["battery"] + " " + rows["cluster"].astype(str)


def _holm(p: pd.Series) -> pd.Series:
    found = pd.Series(np.nan, index=p.index)
    found[p.notna()] = holm(p[p.notna()])
    return found


def _valued(
    rows: pd.DataFrame, inside: np.ndarray, check: str, group: str, margin: float
) -> pd.DataFrame:
    """What `judge` takes of the excess of some answers: a value for every answer of the batteries,
    whose mean is the excess, and whose spread is its uncertainty."""
    share = inside.mean()
    value = np.where(inside, rows["flipped"] - rows["expected"], 0.0) / share
    for places in rows.groupby("battery").indices.values():
        part, mine = rows.iloc[places], inside[places]
        hits = _turns(part, part[mine]) - (mine & (part["shift"] < -part["margin"]))
        dealt_out = hits.to_numpy() / max(1, len(places) - 1) / share
        value[places] -= dealt_out - dealt_out.mean()
    found = pd.DataFrame({"value": value, "cluster": _clusters(rows)})
    return found.assign(check=check, group=group, floor=0.0, margin=margin)


def _ratio(name: str, values, first: np.ndarray, second: np.ndarray, clusters) -> dict:
    """The ratio of two means of disjoint answers, with a 95% interval over clusters on the log
    scale; NaN where one of them is 0."""
    from scipy import stats

    values = np.asarray(values, dtype=float)
    means = values[first].mean(), values[second].mean()
    names = (name, f"{name}_low", f"{name}_high", f"{name}_p")
    if not min(means) > 0:
        return dict(zip(names, [np.inf if means[0] > 0 else np.nan, *[np.nan] * 3], strict=True))
    pull = np.where(first, (values / means[0] - 1) / first.mean(), 0.0)
    pull -= np.where(second, (values / means[1] - 1) / second.mean(), 0.0)
    _, se, df = clustered_mean(pull, clusters)
    log = np.log(means[0] / means[1])
    half = stats.t.ppf(0.975, df) * se
    p = 2 * stats.t.sf(abs(log) / se, df) if se else float(not log)
    return dict(zip(names, [*np.exp([log, log - half, log + half]), float(p)], strict=True))


# --- With the stereotype, or against it ---------------------------------------------------------


def directed(table: pd.DataFrame) -> pd.DataFrame:
    """Changes of every preference (`DIRECTED`), a row an item and compression.

    table: of `score.harm_grid.records`. Columns: `compression`, `check`, `item`, `group`,
    `cluster`, `before`, `after`, `value` (after − before, above 0 with the stereotype), `floor` of
    the check, and `margin`. Raises InputError where the table has none of them.
    """
    parts = []
    for name in DIRECTED:
        sides = dict(iter(table[table["check"] == name].groupby("compression", sort=False)))
        columns = ["item", "group", "cluster", "value"]
        if FULL not in sides:
            continue
        start = sides.pop(FULL)[columns]
        twice = sides.pop(LOOK, None)
        noise = 0.0 if twice is None else floor(start, twice[columns])
        margin = MARGINS[HARMS[name].unit]
        parts += [
            paired(start, side[columns], (FULL, other)).assign(
                compression=other, check=name, floor=noise, margin=margin
            )
            for other, side in sides.items()
        ]
    if not parts:
        raise InputError(f"The table has no harm that is a preference ({', '.join(DIRECTED)}).")
    return pd.concat(parts, ignore_index=True)


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


def asymmetry(changes: pd.DataFrame, *, draws: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Do groups move apart by more than flips without a direction would? A row a compression.

    changes: of `directed`; BBQ's lean counts half, so that all are in answers. The null turns the
    changes of each cluster over together with probability one half, which keeps who flipped and how
    often. Columns: `compression`, `groups`, `worst` and `best` (the groups' largest mean change
    with the stereotype, and against it), `spread` (their difference), `spread_chance` (its 95th
    percentile under the null), `p` and `p_holm`. Only groups of ten items or more take part.
    """
    rng, rows = np.random.default_rng(seed), []
    for name, some in changes.groupby("compression", sort=False):
        many = some.groupby(["check", "group"])["value"].transform("size")
        some = some[many >= LEAST_ITEMS]
        if some.empty:
            continue
        value = some["value"] / np.where(some["check"] == "bbq_ambiguous", 2, 1)
        cluster = some["check"] + " " + some["cluster"].astype(str)
        sums = value.groupby([cluster, some["check"], some["group"]]).sum().unstack([1, 2])
        counts = some.groupby(["check", "group"]).size().reindex(sums.columns).to_numpy()
        moved = sums[(sums != 0).any(axis=1)].fillna(0.0).to_numpy()
        signs = rng.choice([-1.0, 1.0], size=(draws, len(moved)))
        chance = np.ptp(signs @ moved / counts, axis=1)
        means = sums.sum().to_numpy() / counts
        p = (1 + int((chance >= np.ptp(means) - 1e-12).sum())) / (draws + 1)
        rows.append(
            {"compression": name, "groups": len(means), "worst": means.max(), "best": means.min()}
            | {"spread": np.ptp(means), "spread_chance": np.quantile(chance, 0.95), "p": p}
        )
    found = pd.DataFrame(rows)
    return found.assign(p_holm=_holm(found["p"])) if len(found) else found


def by_width(rows: pd.DataFrame, bits: Mapping[str, int]) -> pd.DataFrame:
    """How many times as many answers flip at 4 bits as at 8: a row a method that has both.

    rows: of `answers`; bits: {compression: bits a weight}. Columns: `method`, `seed`, `four`,
    `eight` (shares flipped), and `ratio`, infinite where none flips at 8.
    """
    share = rows.assign(bits=rows["compression"].map(dict(bits))).dropna(subset=["bits"])
    wide = share.groupby(["method", "seed", "bits"], sort=False)["flipped"].mean().unstack()
    if not {4, 8} <= set(wide.columns):
        return pd.DataFrame(columns=["method", "seed", "four", "eight", "ratio"])
    wide = wide[[4, 8]].dropna().rename(columns={4: "four", 8: "eight"}).reset_index()
    ratio = wide["four"] / wide["eight"].where(wide["eight"] > 0)
    return wide.rename_axis(columns=None).assign(ratio=ratio.fillna(np.inf))
