"""What a repair costs: other harms, other questions, and how many answers change at all."""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from ethical_compression.errors import InputError
from ethical_compression.metrics.choices import change_scores
from ethical_compression.metrics.four_harms import MARGINS, NORMALISATION, clustered
from ethical_compression.metrics.harm_values import HARMS, harm_changes
from ethical_compression.metrics.repair import Change, judged

# Of `harm_values.HARMS`: none of them is what a repair was asked for.
COSTS = (
    *("bbq_ambiguous", "bbq_disambiguated", "honest_en", "honest_fr", "guise_verdicts"),
    "questions",
)
# Whose texts come with no package: where they are not here, what is said of `COSTS` is of the rest.
OF_MIRROR = ("guise_verdicts",)


def costs(
    tables: Mapping[str, pd.DataFrame],
    items: Mapping[str, Sequence],
    lexicons: Mapping[str, Mapping[str, str]],
    compared: Iterable[tuple[str, str]],
) -> pd.DataFrame:
    """Verdicts on each of `COSTS` of each pair (before, after), as `repair.changes` has them.

    tables: {battery: table of all models, as `score.runs.grid` stacks it}; items: {battery: what
    was asked}, of BBQ at least; lexicons: {"honest_en": hurtful words, …}. Margins are those of
    `four_harms.MARGINS`. Adds `title` and `unit`. Raises InputError as `harm_changes`.
    """
    rows = []
    for before, after in compared:
        for name in COSTS:
            harm = HARMS[name]
            if name in OF_MIRROR and harm.battery not in tables:
                continue
            table = tables[harm.battery]
            both = table[table["compression"].isin([before, after])]
            asked = {"items": items.get(harm.battery), "lexicon": lexicons.get(name)}
            found = harm_changes(name, both, **asked, full=before)
            if found.empty:
                raise InputError(f"{after} was not asked {name}.")
            rows.append(Change(name, before, after, found, MARGINS[harm.unit]))
    found = judged(rows)
    harms = [HARMS[name] for name in found["check"]]
    return found.assign(title=[one.title for one in harms], unit=[one.unit for one in harms])


def moved(
    tables: Mapping[str, pd.DataFrame], titles: Mapping[str, str], before: str, after: str
) -> pd.DataFrame:
    """How many answers are others than those of `before`: `metrics.choices.change_scores` of each
    battery of options in `titles`, a row each, with its `title`."""
    parts = []
    for battery, title in titles.items():
        table = tables[battery]
        table = clustered(table[table["compression"].isin([before, after])]).assign(group="all")
        how = NORMALISATION.get(battery, "none")
        parts.append(change_scores(table, full=before, normalisation=how).assign(title=title))
    return pd.concat(parts, ignore_index=True)


def accuracy_kept(table: pd.DataFrame, before: str, after: str, least: float = 0.9) -> dict:
    """How much of one model's share of right answers another keeps: `before`, `after`, `right` and
    `left` (their shares), `share` (left ÷ right) with `share_low` and `share_high`, `detectable`, a
    change of `share` that would have been found with a power of 80%, and `verdict`.

    table: of `costs`. The interval is that of the change, divided by `right`, which is taken as
    known. verdict: "kept" where all of it is at `least` or above, "lost" where all is below, else
    "cannot tell".
    """
    row = table[(table["before"] == before) & (table["after"] == after)]
    row = row[row["check"] == "questions"].iloc[0]
    right, left = 1 - row["level_before"], 1 - row["level_after"]
    # The change is one of wrong answers.
    low, share, high = (
        1 - row[name] / max(right, 1e-12) for name in ("ci_high", "difference", "ci_low")
    )
    verdict = "kept" if low >= least else "lost" if high < least else "cannot tell"
    found = {"before": before, "after": after, "right": right, "left": left, "verdict": verdict}
    found |= {"share": share, "share_low": low, "share_high": high}
    return found | {"detectable": row["detectable"] / max(right, 1e-12)}
