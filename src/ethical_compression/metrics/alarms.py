"""An audit audited: verdicts on pairs whose difference is known (`results/audit_alarms.parquet`).

Between two copies of one model there is nothing to find: a verdict of worse or better is a false
alarm. Holm's correction bounds the chance of any in a *family*, the rows of one stage of one pair.
"""

import pandas as pd

from ethical_compression.statistics.intervals import clopper_pearson
from ethical_compression.statistics.verdicts import SETTLED

# What each kind of pair is, and what is to be found, in the order of tables.
NOTHING = {
    "loaded anew": "the same weights, loaded anew",
    "other batch": "the same weights, another batch size",
}
CHANCE = {"other calibration": "one recipe, another draw of its calibration text"}
HARM = {
    "a layer zeroed": "a block without its feed-forward layer",
    "2 bits": "weights rounded to 2 bits",
    "planted": "a stereotype about one group, planted",
}


def false_alarms(table: pd.DataFrame) -> pd.DataFrame:
    """Verdicts of worse or better where there is no difference, or one of chance alone: a row a
    kind of pair that the table holds and, where it holds both kinds without any difference, one
    of these together (`kind` "nothing").

    Columns: `kind`, `title`, `pairs`, `rows` (checks and groups, over all pairs), `moved` (those in
    which any item's value moved), `alarms` (those that are worse or better), `families` (a stage of
    a pair), `alarmed` (families with any), and `share` of these with `ci_low` and `ci_high`
    (`clopper_pearson`, as if families were independent; those of one draw share its items).
    """
    kinds = table["kind"]
    asked = {kind: (title, kinds == kind) for kind, title in NOTHING.items()}
    if all(some.any() for _, some in asked.values()):
        asked["nothing"] = "no difference, both together", kinds.isin(list(NOTHING))
    asked |= {kind: (title, kinds == kind) for kind, title in CHANCE.items()}
    return pd.DataFrame(
        [
            {"kind": kind, "title": title} | _alarms(table[some])
            for kind, (title, some) in asked.items()
            if some.any()
        ]
    )


def _alarms(some: pd.DataFrame) -> dict:
    alarms = some["verdict"].isin(SETTLED)
    families = alarms.groupby([some["kind"], some["number"], some["stage"]]).any()
    low, high = clopper_pearson(int(families.sum()), len(families))
    return {
        "pairs": len(some.drop_duplicates(["kind", "number"])),
        "rows": len(some),
        "moved": int((some["changed"] > 0).sum()),
        "alarms": int(alarms.sum()),
        "families": len(families),
        "alarmed": int(families.sum()),
        "share": float(families.mean()),
        "ci_low": low,
        "ci_high": high,
    }


def detections(table: pd.DataFrame) -> pd.DataFrame:
    """Whether each known harm was found where it is, a row a kind of harm that the table holds.

    Of a broken layer or 2 bits: language modelling is worse. Of a planted stereotype: StereoSet is
    worse for its group. Columns: `kind`, `title`, `pairs`, `found`, `share` with `ci_low` and
    `ci_high`, and of planted ones `others` and `elsewhere`: rows of StereoSet's other groups, and
    how many of these are worse or better; and `quiet`, pairs whose language modelling is not worse.
    """
    rows = []
    for kind, title in HARM.items():
        some = table[table["kind"] == kind]
        if some.empty:
            continue
        planted = kind == "planted"
        stereotypes = some[some["check"] == "stereoset"]
        mine = stereotypes["group"] == stereotypes["pair"]
        text = some[some["check"] == "text"]
        where = stereotypes[mine] if planted else text
        found, pairs = int((where["verdict"] == "worse").sum()), some["number"].nunique()
        row = {"kind": kind, "title": title, "pairs": pairs, "found": found}
        row["share"], (row["ci_low"], row["ci_high"]) = found / pairs, clopper_pearson(found, pairs)
        if planted:
            row["others"] = int((~mine).sum())
            row["elsewhere"] = int(stereotypes[~mine]["verdict"].isin(SETTLED).sum())
            row["quiet"] = int((text["verdict"] != "worse").sum())
        rows.append(row)
    return pd.DataFrame(rows)


def planted(table: pd.DataFrame) -> pd.DataFrame:
    """StereoSet's groups and language modelling after each planted harm: the rows of the table,
    those of text last, with `title` (what was asked), `compression` (what was planted) and `kind`
    (the stage), as `figures.changes_in_margins` takes them."""
    some = table[(table["kind"] == "planted") & table["check"].isin(["stereoset", "text"])]
    stereotypes = some["check"] == "stereoset"
    titles = ("StereoSet: " + some["group"]).where(stereotypes, "Language modelling")
    said = {"title": titles, "compression": "planted: " + some["pair"], "kind": some["stage"]}
    some = some.assign(**said).sort_values(["kind", "title"], ascending=[False, True])
    return some.sort_values("number", kind="stable", ignore_index=True)
