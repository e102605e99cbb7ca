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

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ethical_compression.errors import InputError
from ethical_compression.metrics.harm_grid import ANSWERS, FULL, OTHER, in_order
from ethical_compression.statistics import over_tests
from ethical_compression.statistics.clusters import clustered_interval
from ethical_compression.statistics.verdicts import clustered_mean, judge

LOOK = OTHER  # the full model in other arithmetic
THIRDS = ("unsure", "middle", "sure")


def answers(table: pd.DataFrame) -> pd.DataFrame:
    """Answers under each compression beside the full model's, a row each, by family and amount.

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
    found = found[found["compression"] != FULL].reset_index(drop=True)
    order = {name: place for place, name in enumerate(in_order(found["compression"]))}
    by_order = found["compression"].map(order).sort_values(kind="stable").index
    return dealt(found.loc[by_order].reset_index(drop=True))


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
        chance = (turned(some, some) - own) / max(1, len(some) - 1)
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
        told = clustered_interval(some["flipped"], clusters_of(some), level=level)
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
        clusters = clusters_of(some)
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
    found["size_ratio_p_holm"] = over_tests(found["size_ratio_p"])
    judged = judged.drop(columns=["stage", "check", "changed"]).rename(
        columns={"group": "compression"}
    )
    return found.merge(judged, on="compression")


def turned(rows: pd.DataFrame, pushed: pd.DataFrame) -> np.ndarray:
    """By how many of the shifts of `pushed` each answer of `rows` would be turned."""
    push = (pushed["sign"] * pushed["shift"]).to_numpy()
    margin = rows["margin"].to_numpy()
    sides = [np.searchsorted(np.sort(way * push), -margin) for way in (1, -1)]
    return np.where(rows["sign"] > 0, *sides)


def turns(pushed: pd.DataFrame, rows: pd.DataFrame) -> np.ndarray:
    """How many of the answers of `rows` each shift of `pushed` would turn: away from the first
    option, and away from the second, (2, n)."""
    push = (pushed["sign"] * pushed["shift"]).to_numpy()
    sides = [rows["margin"][rows["sign"] == way] for way in (1, -1)]
    found = [np.searchsorted(np.sort(sides[k]), way * push) for k, way in enumerate((-1, 1))]
    return np.array(found)


def _of_items(rows: pd.DataFrame, values: pd.Series) -> np.ndarray:
    where = pd.MultiIndex.from_frame(rows[["battery", "item"]])
    found = values.reindex(where).to_numpy()
    if np.isnan(found).any():
        raise InputError(f"{LOOK!r} was not asked every item: ask it the same as the others.")
    return found


def clusters_of(rows: pd.DataFrame) -> pd.Series:
    """Clusters of answers, those of different batteries apart."""
    return rows["battery"] + " " + rows["cluster"].astype(str)


def _valued(
    rows: pd.DataFrame, inside: np.ndarray, check: str, group: str, margin: float
) -> pd.DataFrame:
    """What `judge` takes of the excess of some answers: a value for every answer of the batteries,
    whose mean is the excess, and whose spread is its uncertainty."""
    share = inside.mean()
    value = np.where(inside, rows["flipped"] - rows["expected"], 0.0) / share
    for places in rows.groupby("battery").indices.values():
        part, mine = rows.iloc[places], inside[places]
        hits = turns(part, part[mine]).sum(0) - (mine & (part["shift"] < -part["margin"]))
        dealt_out = hits.to_numpy() / max(1, len(places) - 1) / share
        value[places] -= dealt_out - dealt_out.mean()
    found = pd.DataFrame({"value": value, "cluster": clusters_of(rows)})
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
