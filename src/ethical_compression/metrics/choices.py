"""Which of several options a model finds likeliest, and how that changes under compression.

Tables have a row an item and option: `benchmark, item, option, group, cluster, logprob, tokens,
bytes`, as `score.harms` makes them; `cluster` is the unit to resample. Three numbers say how far a
compressed model is from the full one (Dutta et al. 2024, *Accuracy is not all you need*): the
share of items whose answer flips, KL(full ‖ compressed) over the options, and the change of their
log-probability. They measure change, not harm, and in one and the same arithmetic they are exactly
0 without compression. Between batch sizes and data types they are not: that is their floor.
"""

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

from ethical_compression.errors import InputError
from ethical_compression.metrics.confidence import option_probabilities
from ethical_compression.metrics.small_groups import noted
from ethical_compression.statistics.clusters import clustered_interval

KEYS = ["benchmark", "item"]
MEASURES = ("flipped", "kl", "logprob_change")


def wide(table: pd.DataFrame, normalisation: str = "none") -> pd.DataFrame:
    """Log-likelihoods, a row an item in order of appearance and a column an option.

    normalisation: "none" (sums over tokens), "token" or "byte". Raises InputError as
    `option_probabilities` and for items with different numbers of options.
    """
    found = _probabilities(table, normalisation)
    divisor = {"token": "tokens", "byte": "bytes"}.get(normalisation)
    value = found["logprob"] / (found[divisor] if divisor else 1)
    order = list(dict.fromkeys(zip(table["benchmark"], table["item"], strict=True)))
    cells = found.assign(value=value).pivot(index=KEYS, columns="option", values="value")
    if cells.isna().any(axis=None):
        raise InputError("Items have different numbers of options: take those of one kind.")
    return cells.loc[order]


def chosen(table: pd.DataFrame, normalisation: str = "none") -> list[int]:
    """The likeliest option of each item, in order of appearance; of equals, the first."""
    found = _probabilities(table, normalisation)
    best = found.sort_values(["_place", "log_p", "option"], ascending=[True, False, True])
    return best.groupby("_place")["option"].first().tolist()


def changed(full: pd.DataFrame, other: pd.DataFrame, normalisation: str = "none") -> pd.DataFrame:
    """How far another model is from the full one, a row an item in the order of `full`.

    Columns: `benchmark, item, group, cluster`; `before`, `after` (the option taken), `flipped`;
    `kl`, of the options' probabilities, in nats; `logprob_change`, the mean over options of the
    change of log-probability a token, in nats; `margin`, by how much (nats) the full model's option
    was ahead of the next; `margin_after`, by how much that same option is ahead of the best other
    one in the other model, below 0 where it is behind; and `repeated`, whether an option repeats
    another.
    Raises InputError where the tables are not of the same items and options.
    """
    sides = [_probabilities(one, normalisation) for one in (full, other)]
    left, right = (one.set_index([*KEYS, "option"]) for one in sides)
    if len(unpaired := left.index.symmetric_difference(right.index)):
        raise InputError(
            f"{len(unpaired)} options, such as {unpaired[0]}, were scored by one of two models "
            "only: score both on the same items."
        )
    right = right.loc[left.index]
    if "tokens" in left and (left["tokens"] != right["tokens"]).any():
        change = right["logprob"] / right["tokens"] - left["logprob"] / left["tokens"]
    else:
        change = (right["logprob"] - left["logprob"]) / left.get("tokens", 1)
    place = left["_place"]
    both = pd.DataFrame(
        {
            "kl": np.exp(left["log_p"]) * (left["log_p"] - right["log_p"]),
            "logprob_change": change,
        }
    )
    items = both.groupby(place).agg({"kl": "sum", "logprob_change": "mean"})
    items["kl"] = items["kl"].clip(lower=0)
    labels = left.reset_index().drop_duplicates("_place").set_index("_place")
    columns = [name for name in (*KEYS, "group", "cluster") if name in labels]
    top = left["log_p"].groupby(place).nlargest(2).groupby(level=0)
    odd = left["repeated"].groupby(place).any() if "repeated" in left else False
    before, after = chosen(full, normalisation), _chosen_in(right, place)
    found = labels[columns].join(items)
    taken = left.index.get_level_values("option") == np.asarray(before)[place.to_numpy()]
    log_p = right["log_p"].set_axis(place)
    others = log_p[~taken].groupby(level=0).max()
    return found.assign(
        before=before,
        after=after,
        flipped=np.asarray(before) != np.asarray(after),
        margin=top.first() - top.last(),
        margin_after=log_p[taken] - others,
        repeated=odd,
    ).reset_index(drop=True)


def change_scores(
    table: pd.DataFrame,
    *,
    full: str = "full",
    by: str = "group",
    groups: Collection | None = None,
    normalisation: str = "none",
    floors: Mapping[str, pd.DataFrame] | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """`changed` of every compression in the table against the full model, a row each and group.

    table: of one base model, with a column `compression`. by: a column of the table. groups: those
    that there should be. floors: {what was changed: the full model's table under another batch
    size, layout or data type}.
    Columns: `compression`, `by`, `n`, `clusters`, of each of `MEASURES` the mean with `_low` and
    `_high` (over clusters, `clustered_interval`) and, with floors, `_floor`, the largest of theirs
    (in size, of the change), `repeated` and `note`.
    """
    sides = _by_compression(table, full)
    start = sides.pop(full)
    rows = []
    limits = [changed(start, one, normalisation) for one in (floors or {}).values()]
    for name, side in sides.items():
        items = changed(start, side, normalisation)
        extra = start.drop_duplicates(KEYS).set_index(KEYS)
        if by not in items:
            items = items.join(extra[by], on=KEYS)
            limits = [one if by in one else one.join(extra[by], on=KEYS) for one in limits]
        part = pd.DataFrame(
            [
                _row(group, some, [one[one[by] == group] for one in limits], by, level)
                for group, some in items.groupby(by, sort=False)
            ]
        )
        rows.append(noted(part, by, groups).assign(compression=name))
    found = pd.concat(rows, ignore_index=True)
    found.insert(0, "compression", found.pop("compression"))
    return found


def _row(group, items: pd.DataFrame, limits, by: str, level: float) -> dict:
    row = {by: group, "n": len(items), "clusters": items["cluster"].nunique()}
    for name in MEASURES:
        found = clustered_interval(items[name], items["cluster"], level=level)
        row |= {name: found.mean, f"{name}_low": found.ci_low, f"{name}_high": found.ci_high}
        if limits:
            row[f"{name}_floor"] = max(abs(float(one[name].mean())) for one in limits)
    return row | {"repeated": int(items["repeated"].sum())}


def _by_compression(table: pd.DataFrame, full: str) -> dict[str, pd.DataFrame]:
    if "compression" not in table.columns:
        raise InputError("The table lacks the column 'compression', which says what was done.")
    if "model" in table.columns and table["model"].nunique() > 1:
        raise InputError("The table is of several base models: compare each with itself.")
    sides = dict(iter(table.groupby("compression", sort=False)))
    if full not in sides or len(sides) < 2:
        raise InputError(
            f"The table needs {full!r} and at least one other compression; it holds "
            f"{', '.join(map(str, sides)) or 'none'}."
        )
    return sides


def _probabilities(table: pd.DataFrame, normalisation: str) -> pd.DataFrame:
    """`option_probabilities` of items that need not have a right option, with `_place`, the item's
    number in order of appearance."""
    gold = {} if "gold" in table.columns else {"gold": 0}
    found = option_probabilities(table.assign(**gold), normalisation)
    return found.assign(_place=found.groupby(KEYS, sort=False).ngroup())


def _chosen_in(side: pd.DataFrame, place: pd.Series) -> list[int]:
    ordered = side.reset_index().assign(_place=place.to_numpy())
    best = ordered.sort_values(["_place", "log_p", "option"], ascending=[True, False, True])
    return best.groupby("_place")["option"].first().tolist()
