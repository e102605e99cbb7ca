"""Rates of toxic text by a judge, beside how often that judge errs, and for whom.

The judge is one model, and its mistakes are measured like any other's: on labelled texts that it
was not trained on, by the community that they mention (`errors_by_community`). What it says of a
model's texts is shown as it stands and corrected for those mistakes (`rates`, `changes`;
`statistics.misclassification` has the formulas and what they assume). Shares of *texts* are
corrected; that of prompts with a toxic text among several has other errors, and is not. A text that
the judge could not judge is counted as such.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from ethical_compression.errors import InputError
from ethical_compression.metrics import bias_auc
from ethical_compression.metrics.bias_auc import ALL, LEAST
from ethical_compression.metrics.reliability import squared_error
from ethical_compression.statistics import mean_interval, over_tests, share
from ethical_compression.statistics.auc import auc
from ethical_compression.statistics.misclassification import (
    JudgeErrors,
    corrected_change,
    corrected_share,
)

Errors = JudgeErrors | Mapping[str, JudgeErrors]


def errors_by_community(
    table: pd.DataFrame,
    communities: Mapping[str, Sequence[str]] | None = None,
    *,
    least: int = LEAST,
) -> pd.DataFrame:
    """How often a judge errs on labelled texts: a row per judge, data set and community.

    table: columns `judge`, `data`, `id`, `communities` (a list), `toxic`, `p`, `flagged`, `fault`
    (`score.judges.labelled`). communities: of each data set, those to show; by default the ten that
    most of its texts mention. The first row of a data set is over all its texts (`ALL`).

    Columns: the keys; `positives`, `negatives`, the texts judged, and `failed`, those that were
    not; `sensitivity` (Se) and `specificity` (Sp) with Wilson's intervals (`_low`, `_high`), `auc`
    with DeLong's (`statistics.auc`, within the community); `gap`, mean p − share toxic, with
    Student's interval, and `squared`, the squared calibration error with its jackknife interval
    (`reliability.squared_error`). What cannot be had is NaN, and `note` says why; it names, too, a
    class with fewer than `least` texts.
    """
    needed = ["judge", "data", "id", "communities", "toxic", "p", "flagged", "fault"]
    if missing := [name for name in needed if name not in table]:
        raise InputError(f"The labelled texts lack the column(s) {', '.join(missing)}.")
    rows = []
    for (judge, data), part in table.groupby(["judge", "data"], sort=False):
        listed = (communities or {}).get(data)
        members = bias_auc.membership(list(part.itertuples()), listed)
        for name in (ALL, *members.columns):
            inside = part if name == ALL else part[members[name].to_numpy()]
            rows.append({"judge": judge, "data": data, "community": name} | _errors(inside, least))
    return pd.DataFrame(rows)


def _errors(texts: pd.DataFrame, least: int) -> dict:
    """One row of `errors_by_community`, without its keys."""
    seen = texts[texts["p"].notna()]
    toxic, p = seen["toxic"].to_numpy(dtype=bool), seen["p"].to_numpy(dtype=float)
    row, notes = {"positives": int(toxic.sum()), "negatives": int((~toxic).sum())}, []
    row["failed"] = len(texts) - len(seen)
    right = seen["flagged"].to_numpy() == toxic
    for name, kind, said in (
        ("sensitivity", toxic, "toxic"),
        ("specificity", ~toxic, "harmless"),
    ):
        row |= dict.fromkeys((name, f"{name}_low", f"{name}_high"), np.nan)
        if count := int(kind.sum()):
            found = share(right[kind])
            row |= {name: found.share, f"{name}_low": found.ci_low, f"{name}_high": found.ci_high}
        if count < least:
            notes.append(f"only {count} {said} texts" if count else f"no {said} text")
    area = auc(p, toxic)
    row |= {"auc": area.auc, "auc_low": area.ci_low, "auc_high": area.ci_high}
    for name in ("gap", "squared"):
        row |= dict.fromkeys((name, f"{name}_low", f"{name}_high"), np.nan)
    if len(seen) > 1:
        mean, low, high = mean_interval(p - toxic)
        row |= {"gap": mean, "gap_low": low, "gap_high": high}
        items = pd.DataFrame({"benchmark": "texts", "item": seen["id"], "confidence": p})
        error = squared_error(items.assign(correct=toxic))
        row |= {"squared": error.value, "squared_low": error.ci_low, "squared_high": error.ci_high}
    return row | {"note": "; ".join(notes) or area.note}


def errors_of(
    table: pd.DataFrame,
    toxic: tuple[str, str],
    harmless: tuple[str, str] | None = None,
    *,
    judge: str | None = None,
) -> JudgeErrors:
    """The counts of one row of `errors_by_community`, to correct a rate by.

    toxic, harmless: (data, community) whose toxic texts give the sensitivity and whose harmless
    ones the specificity; the same by default. Which labelled texts the judged ones are like is an
    assumption: take more than one, and show what follows from each. judge: where the table has
    several. Raises InputError for a row that is not there, and one without texts of the kind asked.
    """
    counts = []
    for (data, community), rate, size in (
        (toxic, "sensitivity", "positives"),
        (harmless or toxic, "specificity", "negatives"),
    ):
        rows = table[(table["data"] == data) & (table["community"] == community)]
        rows = rows[rows["judge"] == judge] if judge is not None else rows
        if len(rows) != 1:
            raise InputError(
                f"There are {len(rows)} rows of {community!r} of {data!r} in the table of errors: "
                "name one that is there, and the judge where there are several."
            )
        row = rows.iloc[0]
        right = 0.0 if not row[size] else row[rate] * row[size]
        counts += [round(right), int(row[size])]
    return JudgeErrors(*counts)


def rates(
    texts: pd.DataFrame,
    errors: Errors,
    *,
    by: Sequence[str] = ("model", "compression"),
    group: str | None = None,
    cluster: str | None = None,
) -> pd.DataFrame:
    """The share of toxic texts, as flagged and corrected: a row per value of `by` (and `group`).

    texts: a row a text, with `flagged` (0, 1, or NaN where the judge failed; `score.judges.judged`)
    and the columns named. errors: what is assumed of the judge (`errors_of`); with a group, a
    mapping with each of its values. cluster: the column of what texts share (a prompt with several
    continuations). Columns: those keys, `failed`, then the fields of `CorrectedShare`. Where all
    texts failed the numbers are NaN and the note says so.
    Raises InputError for missing columns and groups without errors.
    """
    keys = _keys(texts, by, group, cluster)
    rows = []
    for names, part in texts.groupby(keys, sort=False, dropna=False):
        row = dict(zip(keys, names, strict=True))
        seen = part[part["flagged"].notna()]
        row["failed"] = len(part) - len(seen)
        if len(seen):
            clusters = None if cluster is None else seen[cluster].to_numpy()
            row |= asdict(
                corrected_share(seen["flagged"], _of(errors, row, group), clusters=clusters)
            )
        else:
            row |= {"n": 0, "note": "the judge failed on every text"}
        rows.append(row)
    return pd.DataFrame(rows)


def changes(
    texts: pd.DataFrame,
    errors: Errors,
    *,
    item: Sequence[str] = ("prompt", "sample"),
    full: str = "full",
    by: Sequence[str] = ("model",),
    group: str | None = None,
    cluster: str | None = None,
) -> pd.DataFrame:
    """What compression changes in the share of toxic texts, on the same prompts: a row each.

    texts, errors, group, cluster: as of `rates`, with a column `compression`, of which `full` is
    the one compared with. item: the columns that tell which text of one side goes with which of the
    other. Columns: `by`, `compression` and the group; `failed`, pairs of which the judge failed on
    a side, which are left out on both; the fields of `CorrectedChange`; `p_holm` over all rows with
    a p. Raises InputError as `rates`, for a missing full model, an item that is there twice, and
    sides that do not hold the same items.
    """
    keys = _keys(texts, [*by, "compression"], group, cluster)
    items = list(item)
    if missing := [name for name in items if name not in texts]:
        raise InputError(f"The judged texts lack the column(s) {', '.join(missing)}.")
    apart = [name for name in keys if name != "compression"]
    rows = []
    for names, part in texts.groupby(apart, sort=False, dropna=False) if apart else [((), texts)]:
        sides = dict(iter(part.groupby("compression", sort=False)))
        if full not in sides:
            raise InputError(f"There are no texts of {full!r} to compare with.")
        before = _indexed(sides.pop(full), items)
        for compression, after in sides.items():
            after = _indexed(after, items)
            if len(after) != len(before) or not after.index.isin(before.index).all():
                raise InputError(
                    f"{compression} and {full} do not hold the same texts: compare them on the "
                    "same prompts and draws."
                )
            row = dict(zip(apart, names, strict=True)) | {"compression": compression}
            both = pd.DataFrame({"before": before["flagged"], "after": after["flagged"]}).dropna()
            row["failed"] = len(before) - len(both)
            if len(both):
                clusters = None if cluster is None else before.loc[both.index, cluster].to_numpy()
                found = corrected_change(
                    both["before"], both["after"], _of(errors, row, group), clusters=clusters
                )
                row |= asdict(found)
            else:
                row |= {"n": 0, "p": np.nan, "note": "the judge failed on a side of every pair"}
            rows.append(row)
    table = pd.DataFrame(rows)
    if table.empty:
        raise InputError("There is no compressed model to compare with the full one.")
    return table.assign(p_holm=over_tests(table["p"]))


def _keys(texts, by, group, cluster) -> list[str]:
    keys = [*by, *([group] if group else [])]
    needed = ["flagged", *keys, *([cluster] if cluster else [])]
    if missing := [name for name in needed if name not in texts]:
        raise InputError(f"The judged texts lack the column(s) {', '.join(missing)}.")
    if texts.empty:
        raise InputError("There are no judged texts.")
    return keys


def _of(errors: Errors, row: Mapping, group: str | None) -> JudgeErrors:
    """The judge's errors that are assumed for a row."""
    if group is None:
        if not isinstance(errors, JudgeErrors):
            raise InputError("Errors for each group are given, and no column that is the group.")
        return errors
    if isinstance(errors, JudgeErrors):
        return errors
    if row[group] not in errors:
        raise InputError(f"The judge's errors are not given for the group {row[group]!r}.")
    return errors[row[group]]


def _indexed(texts: pd.DataFrame, items: list[str]) -> pd.DataFrame:
    table = texts.set_index(items, drop=False)
    if table.index.has_duplicates:
        raise InputError(f"The text {table.index[table.index.duplicated()][0]} is there twice.")
    return table
