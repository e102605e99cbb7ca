"""Tables of two models' answers, paired item by item, and the tests of each of their rows."""

import math
from dataclasses import asdict

import pandas as pd

from ethical_compression.errors import InputError
from ethical_compression.statistics.intervals import mean_interval
from ethical_compression.statistics.power import minimum_detectable
from ethical_compression.statistics.tests import McNemar, holm, mcnemar, paired_test, tost


def others(items: pd.DataFrame, full: str = "full") -> list[str]:
    """The compressions to compare with `full`, in order of appearance; InputError for none."""
    found = items["compression"].unique().tolist() if "compression" in items.columns else []
    if compared := [compression for compression in found if compression != full]:
        return compared
    raise InputError(f"The table holds no model besides {full!r} to compare it with.")


def by_model(items: pd.DataFrame) -> dict[str | None, pd.DataFrame]:
    """The rows of each base model; {None: all} where the table does not tell them apart."""
    if "model" not in items.columns:
        return {None: items}
    return {model: items[items["model"] == model] for model in items["model"].unique()}


def align(items: pd.DataFrame, compression: str, *, full: str = "full", value: str = "p_true"):
    """Two Series indexed alike by (benchmark, item): `value` of the full model and under another
    `compression`.

    `items`: per-item tables of one base model stacked, with a `compression` column. Raises
    InputError for an unknown compression or column, several base models, an item given twice, one
    that only one of both answered, and a differing gold answer.
    """
    needed = ("compression", "benchmark", "item", value)
    if missing := [column for column in needed if column not in items.columns]:
        raise InputError(f"The per-item table lacks the column(s) {', '.join(missing)}.")
    if len(models := by_model(items)) > 1:
        raise InputError(
            f"The table holds {len(models)} base models ({', '.join(map(str, models))}), which are "
            "not compared with each other: split it by `model`."
        )
    sides = []
    for name in (full, compression):
        side = items[items["compression"] == name].set_index(["benchmark", "item"])
        if side.empty:
            known = ", ".join(map(str, items["compression"].unique()))
            raise InputError(f"There is no model {name!r} in the table; it holds {known}.")
        if side.index.has_duplicates:
            twice = side.index[side.index.duplicated()][0]
            raise InputError(f"Model {name!r} answered item {twice} twice; keep one answer each.")
        sides.append(side)
    before, after = sides
    unpaired = before.index.symmetric_difference(after.index)
    if len(unpaired):
        raise InputError(
            f"{len(unpaired)} items, such as {unpaired[0]}, were answered by only one of {full!r} "
            f"and {compression!r}; score both models on the same items."
        )
    after = after.loc[before.index]
    if "gold" in items.columns and (differs := before["gold"] != after["gold"]).any():
        raise InputError(
            f"{full!r} and {compression!r} disagree on the right answer of item "
            f"{differs.idxmax()}; score both models on the same data."
        )
    return before[value], after[value]


def paired_sides(
    table: pd.DataFrame, side: str, before, after, *, value: str, unit: str = "story"
) -> tuple[pd.Series, pd.Series]:
    """`value` where column `side` is `before` and where it is `after`, indexed alike by `unit`.

    table: one row a unit and side, such as English and French verdicts on the same stories.
    Raises InputError for a side without rows, a unit given twice, and units that are not shared.
    """
    sides = []
    for name in (before, after):
        values = table[table[side] == name].set_index(unit)[value]
        if values.empty:
            known = ", ".join(map(str, table[side].unique()))
            raise InputError(f"There is no {side} {name!r} in the table; it holds {known}.")
        if values.index.has_duplicates:
            twice = values.index[values.index.duplicated()][0]
            raise InputError(f"The {unit} {twice!r} of {side} {name!r} comes twice; keep one.")
        sides.append(values)
    if len(unpaired := sides[0].index.symmetric_difference(sides[1].index)):
        raise InputError(
            f"The {unit} {unpaired[0]!r} has only one of the {side} {before!r} and {after!r}, as "
            f"{len(unpaired)} in all: compare both on the same ones."
        )
    return sides[0], sides[1].loc[sides[0].index]


def paired_answers(
    table: pd.DataFrame, side: str, before, after, *, value: str, unit: str = "story"
) -> McNemar:
    """McNemar's test between two values of column `side`; arguments as `paired_sides`."""
    return mcnemar(*paired_sides(table, side, before, after, value=value, unit=unit))


def paired_table(
    items: pd.DataFrame,
    *,
    full: str = "full",
    value: str = "p_true",
    level: float = 0.95,
    margin: float | None = None,
) -> pd.DataFrame:
    """`paired_test` of every other compression against `full` on every benchmark, a row each.

    Columns: `model` (where `items` have it), `compression`, `benchmark`, `n`, `mean_full`,
    `mean_compressed`, `difference`, `ci_low`, `ci_high`, `se`, `d_z`, `d_z_low`, `d_z_high`, `p`,
    `p_holm`, `p_wilcoxon`. With a margin also `p_tost` and `p_tost_holm`, of the equivalence test
    against it, and `detectable` (`minimum_detectable`; NaN where no pair differs). Holm's family is
    all rows of the table: whoever reads it looks at all of them. Raises as `align`, `paired_test`
    and `tost`.
    """
    rows = []
    compared = [(*pair, one) for pair in by_model(items).items() for one in others(pair[1], full)]
    for model, part, compression in compared:
        before, after = align(part, compression, full=full, value=value)
        for benchmark in before.index.unique("benchmark"):
            sides = before.loc[[benchmark]], after.loc[[benchmark]]
            test = paired_test(*sides, level=level)
            row = {} if model is None else {"model": model}
            row |= {"compression": compression, "benchmark": benchmark} | asdict(test)
            if margin is not None:
                row["p_tost"] = tost(*sides, margin).p
                row["detectable"] = minimum_detectable(test.se, test.n - 1)
            rows.append(row)
    table = pd.DataFrame(rows).drop(columns="t")
    table = table.rename(columns={"mean_before": "mean_full", "mean_after": "mean_compressed"})
    table.insert(table.columns.get_loc("p") + 1, "p_holm", holm(table["p"]))
    if margin is not None:
        at = table.columns.get_loc("p_tost") + 1
        table.insert(at, "p_tost_holm", holm(table["p_tost"]))
    return table


def paired_by_group(
    table: pd.DataFrame, *, first: str, second: str, value: str, level: float = 0.95
) -> pd.DataFrame:
    """`paired_test` of compression `second` against `first` in groups of items, over several seeds.

    table: of one base model, a row for each `compression`, `seed`, `benchmark` and `item`, with its
    `group` and `value`. An item's values are averaged over seeds, then paired: the interval is over
    items, *these* seeds given. Returns a row a group: `group`, `n`, `mean_first`, `mean_second`,
    `difference`, `ci_low`, `ci_high`, `d_z`, `p`, `p_holm` (over the groups), `by_seed` (the
    difference of each seed) and `seeds_low`, `seeds_high`, Student's interval over seeds (NaN for a
    single one). Raises InputError where a seed, item or compression is missing for another, and as
    `paired_test`.
    """
    wide = table.pivot(index=["group", "benchmark", "item"], columns=["compression", "seed"])[value]
    if not {first, second} <= set(wide.columns.get_level_values("compression")):
        raise InputError(f"The table needs the compressions {first!r} and {second!r}.")
    both = wide[first], wide[second]
    if list(both[0].columns) != list(both[1].columns) or wide.isna().any(axis=None):
        raise InputError(f"{first!r} and {second!r} need the same items under the same seeds.")
    rows = []
    for group in table["group"].unique():
        sides = [side.loc[group] for side in both]
        test = paired_test(*(side.mean(axis=1) for side in sides), level=level)
        by_seed = (sides[1] - sides[0]).mean().tolist()
        among = mean_interval(by_seed, level=level)[1:] if len(by_seed) > 1 else (math.nan,) * 2
        rows.append(
            {"group": group, "n": test.n}
            | {"mean_first": test.mean_before, "mean_second": test.mean_after}
            | {name: getattr(test, name) for name in ("difference", "ci_low", "ci_high", "d_z")}
            | {"p": test.p, "by_seed": by_seed, "seeds_low": among[0], "seeds_high": among[1]}
        )
    found = pd.DataFrame(rows)
    found.insert(found.columns.get_loc("p") + 1, "p_holm", holm(found["p"]))
    return found
