"""Every method against every harm, read off the grid's records (`score.harm_grid.records`).

A *cell* is one harm under one compression. What a method does depends a little on which text it
calibrated on: an item's change is averaged over the draws of that text (seeds) before it is tested,
so that a verdict speaks of these draws, and what each draw came to stands beside it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from ethical_compression.errors import InputError
from ethical_compression.metrics import harm_values
from ethical_compression.metrics.four_harms import KIND_OF, MARGINS
from ethical_compression.metrics.harm_values import HARMS
from ethical_compression.statistics import benjamini_hochberg, over_tests
from ethical_compression.statistics.permutation import p_unequal
from ethical_compression.statistics.verdicts import LEAST_ITEMS, judge

FULL, OTHER = "full", "full, float32"
ANSWERS = "answers: "
# Families by the first word of a label, in the order of figures, and the kind of each.
FAMILIES = {
    "RTN": "quantized",
    "GPTQ": "quantized",
    "AWQ": "quantized",
    "LLM.int8": "quantized",
    "NF4": "quantized",
    "Magnitude": "pruned",
    "Wanda": "pruned",
    "SparseGPT": "pruned",
    "without": "layers removed",
}
# Harms whose groups are people, by gender, origin, belief, age, …: those of a view by group. The
# groups of others are kinds of prompt, of request, or of grammar.
ABOUT_PEOPLE = (
    *("bbq_ambiguous", "bbq_disambiguated", "unqover", "stereoset_within", "crows_pairs"),
    *("winobias", "reddit_bias", "honest_en", "honest_fr"),
)
# One compression a family, for what would be too wide with all of them.
TYPICAL = (
    *("RTN 3-bit", "GPTQ 3-bit", "AWQ 3-bit", "LLM.int8", "NF4"),
    *("Magnitude 50%", "Wanda 50%", "SparseGPT 50%", "without 3 least contributing layers"),
)


class Dose(NamedTuple):
    """What a label says: `family`, its `kind`, `form` ("bits", "share", "pattern" or "") and
    `amount` (bits, a share of zeros; NaN where there is none)."""

    family: str
    kind: str
    form: str
    amount: float


def dose(label: str) -> Dose:
    """`Dose` of a compression's label, its seed aside."""
    family = label.partition(" ")[0]
    kind = FAMILIES.get(family, "other")
    if found := re.search(r"(\d+)-bit", label):
        return Dose(family, kind, "bits", float(found[1]))
    if found := re.search(r"(\d+(?:\.\d+)?)%", label):
        return Dose(family, kind, "share", float(found[1]) / 100)
    if found := re.search(r"(\d+):(\d+)", label):
        return Dose(family, kind, "pattern", 1 - int(found[1]) / int(found[2]))
    return Dose(family, kind, "", np.nan)


def in_order(labels: Iterable[str]) -> list[str]:
    """Labels by family, and within one from little to much done to the model."""
    families = list(FAMILIES)

    def place(label: str) -> tuple:
        one = dose(label)
        at = families.index(one.family) if one.family in families else len(families)
        much = -one.amount if one.form == "bits" else one.amount
        wide = int(found[1]) if (found := re.search(r":(\d+)", label)) else 0
        return at, one.form == "pattern", 0.0 if np.isnan(much) else much, -wide, label

    return sorted(dict.fromkeys(labels), key=place)


def without_seed(labels: pd.Series) -> pd.Series:
    """Names of parts as their recipes', without the seed of the calibration text."""
    return labels.map({one: re.sub(r", seed \d+$", "", one) for one in labels.unique()})


def waiting(names: Sequence[str], table: pd.DataFrame) -> dict[str, list[str]]:
    """What a grid that is not whole lacks, by recipe: {"all": […], "a seed": […]}, in order.

    names: of the parts that are waiting, as its provenance says.
    """
    there = set(without_seed(table["compression"]))
    lacking = set(without_seed(pd.Series(list(names), dtype=str)))
    return {"all": in_order(lacking - there), "a seed": in_order(lacking & there)}


# --- Changes --------------------------------------------------------------------------------------


def changes(
    table: pd.DataFrame,
    *,
    margins: Mapping[str, float] = MARGINS,
    full: str = FULL,
    other: str = OTHER,
) -> pd.DataFrame:
    """The change of every harm under every part of the grid, a row each and item.

    table: `records` of one model, whole or not. other: the full model in another data type, whose
    mean change is a harm's floor (0 where the grid has none). margins: by unit.
    Columns: `kind`, `check`, `compression` (without its seed), `seed`, `item`, `group`, `cluster`,
    `before`, `after`, `value` (after − before; more is worse), `floor`, `margin`.
    Raises InputError for several models, without the full model, with nothing beside it, and where
    a part was asked other items.
    """
    if table["model"].nunique() != 1:
        raise InputError("The grid is of several models: compare each with itself.")
    if full not in set(table["compression"]):
        raise InputError(f"The grid holds no {full!r} to compare with: make that part first.")
    asked = [name for name in table["check"].unique() if name in KIND_OF]
    found = part_changes(table, asked, margins=margins, full=full, other=other)
    if found.empty:
        raise InputError("The grid holds the full model only: make a compression of it, too.")
    seeds = table.drop_duplicates("compression").set_index("compression")["seed"]
    found = found.assign(
        kind=found["check"].map(KIND_OF),
        seed=found["compression"].map(seeds),
        compression=without_seed(found["compression"]),
    )
    columns = ["kind", "check", "compression", "seed", "item", "group", "cluster"]
    return found[[*columns, "before", "after", "value", "floor", "margin"]]


def part_changes(
    table: pd.DataFrame,
    checks: Sequence[str],
    *,
    margins: Mapping[str, float] = MARGINS,
    full: str = FULL,
    other: str = OTHER,
) -> pd.DataFrame:
    """`changes` of these harms, by part: `compression` has its seed, and there is no `kind`.

    No rows where there is nothing beside the full model; a harm that it was not asked is left out.
    """
    columns = ["item", "group", "cluster", "value"]
    parts = [pd.DataFrame(columns=[*columns, "before", "after", "compression", "check"])]
    for check in checks:
        sides = dict(iter(table[table["check"] == check].groupby("compression", sort=False)))
        if full not in sides:
            continue
        start, again = sides.pop(full)[columns], sides.pop(other, None)
        floor = 0.0 if again is None else harm_values.floor(start, again[columns])
        known = {"check": check, "floor": floor, "margin": margins[HARMS[check].unit]}
        parts += [
            harm_values.paired(start, side[columns], (full, name)).assign(compression=name, **known)
            for name, side in sides.items()
        ]
    return pd.concat(parts[1:], ignore_index=True) if len(parts) > 1 else parts[0]


def over_seeds(found: pd.DataFrame) -> pd.DataFrame:
    """`changes` averaged over seeds, a row an item: of those with a value under every seed."""
    keys = ["check", "compression", "item"]
    many = found.groupby(["check", "compression"])["seed"].transform("nunique")
    kept = found[found.groupby(keys)["seed"].transform("size") == many]
    rest = dict.fromkeys(("kind", "group", "cluster", "floor", "margin"), "first")
    rest |= dict.fromkeys(("before", "after", "value"), "mean")
    return kept.groupby(keys, sort=False).agg(rest).reset_index()


def cells(found: pd.DataFrame, *, by_group: bool = False) -> pd.DataFrame:
    """`statistics.verdicts.judge` of every harm under every compression, or of each group of each.

    found: of `changes`. Holm's family is a kind of harm under all compressions (and of all groups).
    Columns: those of `judge`, with `kind`, `check`, `compression` and `group` ("all" or the data
    set's), and `title`, `unit`; `before` and `after` (means); `standard`, `standard_low` and
    `standard_high`, the change and its interval in margins; `d_z`, the mean change ÷ the standard
    deviation of the items' (NaN without one); `seeds`, how many, `seed_low` and `seed_high`, the
    least and largest change of a single one (in the unit). By group besides `p_bh`, Benjamini and
    Hochberg's over all rows with a test: a screen. A group of fewer than ten items has no test, and
    its `reason` says so.
    """
    keys = ["check", "compression", "group"] if by_group else ["check", "compression"]
    items = over_seeds(found)
    label = items["compression"]
    joined = label + "\n" + items["group"] if by_group else label + "\nall"
    kinds = items.drop_duplicates("check").set_index("check")["kind"].to_dict()
    judged = judge(items.drop(columns="kind").assign(group=joined), kinds)
    judged = judged.rename(columns={"stage": "kind"})
    judged[["compression", "group"]] = judged.pop("group").str.split("\n", n=1, expand=True)
    means = items.groupby(keys).agg(
        before=("before", "mean"), after=("after", "mean"), spread=("value", "std")
    )
    draws = found.groupby([*keys, "seed"])["value"].mean().groupby(keys)
    means = means.assign(seeds=draws.size(), seed_low=draws.min(), seed_high=draws.max())
    judged = judged.join(means, on=keys)
    for end, name in (("", "difference"), ("_low", "ci_low"), ("_high", "ci_high")):
        judged[f"standard{end}"] = judged[name] / judged["margin"]
    judged["d_z"] = judged["difference"] / judged.pop("spread").replace(0.0, np.nan)
    judged["title"] = [HARMS[name].title for name in judged["check"]]
    judged["unit"] = [HARMS[name].unit for name in judged["check"]]
    if by_group:
        judged["p_bh"] = over_tests(judged["p"], benjamini_hochberg)
    return _sorted(judged)


def _sorted(judged: pd.DataFrame) -> pd.DataFrame:
    """Compressions in order, and harms in that of `KINDS`."""
    labels = {one: at for at, one in enumerate(in_order(judged["compression"]))}
    checks = judged["check"].map(list(KIND_OF).index)
    place = pd.DataFrame({"a": judged["compression"].map(labels), "b": checks})
    return judged.loc[place.sort_values(["a", "b"], kind="stable").index].reset_index(drop=True)


def unequal(found: pd.DataFrame, *, draws: int = 1999) -> pd.DataFrame:
    """Do the groups of a harm change unequally? A row a harm and compression, of those with two
    groups of ten items or more.

    found: of `changes`. Columns: `check`, `title`, `compression`, `groups`, `least` and `most` (the
    groups that change least and most, signed: most is worst) with their mean changes `low` and
    `high`, `p` (`statistics.permutation.p_unequal`) and `p_bh` over all rows.
    """
    items = over_seeds(found)
    rows = []
    for check, some in items.groupby("check", sort=False):
        wide = some.pivot(index="item", columns="compression", values="value").dropna()
        about = some.drop_duplicates("item").set_index("item").loc[wide.index]
        size = about.groupby("group")["group"].transform("size")
        wide, about = wide[size >= LEAST_ITEMS], about[size >= LEAST_ITEMS]
        if about["group"].nunique() < 2:
            continue
        ps = p_unequal(wide.to_numpy(), about["group"], about["cluster"], draws=draws)
        means = wide.groupby(about["group"]).mean()
        rows += [
            {
                "check": check,
                "title": HARMS[check].title,
                "compression": name,
                "groups": len(means),
                "least": means[name].idxmin(),
                "low": means[name].min(),
                "most": means[name].idxmax(),
                "high": means[name].max(),
                "p": p,
            }
            for name, p in zip(wide.columns, ps, strict=True)
        ]
    if not rows:
        return pd.DataFrame(columns=["check", "title", "compression", "groups", "p", "p_bh"])
    table = pd.DataFrame(rows)
    return _sorted(table.assign(p_bh=benjamini_hochberg(table["p"])))
