"""Does compression cost every community the same?

The null hypothesis of Proskurina et al. 2023, after Hooker et al. 2019: compression is uniform,

    β_cᵗ − β_0ᵗ = β_c − β_0,

where β is a score over all texts and βᵗ over those that mention community t, of the full model (0)
and the compressed one (c). Put as β_cᵗ − β_c = β_0ᵗ − β_0, it compares a *gap* that each trained
model has by itself, so the unit is the training run, that is the seed. The *excess* shift of a
community is its own shift minus the overall one; below zero compression costs it more than others.

All runs are measured on the same posts: these tests speak of new seeds, not of new posts.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from ethical_compression.errors import InputError
from ethical_compression.metrics.bias_auc import ALL, LEAST
from ethical_compression.statistics import holm, minimum_detectable_means, n_for_means, welch

# What a community's score is held against: the score over all texts, its own among them, as
# published; or that over the texts which do not mention it.
REFERENCES = ("overall", "background")
# As published: full and compressed runs as independent samples (Welch). Paired: by seed.
DESIGNS = ("independent", "paired")


@dataclass(frozen=True)
class Interaction:
    """Do all communities shift alike under one compression? (`interaction`)

    `f` with `df_between` and `df_within` (not whole numbers) and its `p`; `communities`: those that
    were compared; `note`: those that could not be, or "".
    """

    communities: tuple[str, ...]
    f: float
    df_between: float
    df_within: float
    p: float
    note: str


@dataclass(frozen=True)
class Shared:
    """The share of the gaps' variance that the two runs of a seed have in common (`shared`)."""

    share: float
    ci_low: float
    ci_high: float


def gaps(
    bias: pd.DataFrame, metric: str = "subgroup", *, reference: str = "overall", least: int = LEAST
) -> pd.DataFrame:
    """Each run's gap between a community and all texts: the data of the tests below.

    `bias`: from `score.groups.by_run`, with the columns `compression` and `seed`; metric: one of
    its metrics. Columns: `compression`, `seed`, `community`, `value` (βᵗ), `reference` (β), `gap`
    (value − reference), `note` (why a community cannot be tested: no AUC, or fewer than `least`
    posts of a kind; its gap is then NaN).

    reference: "overall", β over all texts, as published. These contain the community's own texts, a
    share of its shift is in β too, and the excess is smaller than against the others by about that
    share. "background": β over the texts that do not mention it.
    Raises InputError for an unknown metric or reference, a missing column, and a run given twice.
    """
    needed = ["compression", "seed", "community", "metric", "auc", "positives", "negatives", "note"]
    if missing := [column for column in needed if column not in bias.columns]:
        raise InputError(f"The table of bias scores lacks the column(s) {', '.join(missing)}.")
    if reference not in REFERENCES:
        raise InputError(f"Unknown reference {reference!r}; choose {' or '.join(REFERENCES)}.")
    found = bias[(bias["metric"] == metric) & (bias["community"] != ALL)]
    if found.empty:
        known = ", ".join(bias["metric"].unique())
        raise InputError(f"The table has no metric {metric!r}; it has {known}.")
    on = ["compression", "seed"] + ["community"] * (reference == "background")
    other = bias.loc[bias["metric"] == reference, [*on, "auc"]]
    twice = found.duplicated(["compression", "seed", "community"])
    if twice.any() or other.duplicated(on).any():
        one = found[twice].iloc[0] if twice.any() else bias.iloc[0]
        raise InputError(
            f"The run {one['compression']!r}, seed {one['seed']}, is there twice: keep one encoder "
            "and one position of the deleted layers, or name both in `compression`."
        )
    table = found.merge(other.rename(columns={"auc": "reference"}), on=on, how="left")
    few = table[["positives", "negatives"]].min(axis=1) < least
    usable = ~few & table["auc"].notna() & table["reference"].notna()
    gap = (table["auc"] - table["reference"]).where(usable)
    note = table["note"].where(~usable, "").where(usable | (table["note"] != ""), "no reference")
    table = table.assign(value=table["auc"], gap=gap, note=note)
    return table[["compression", "seed", "community", "value", "reference", "gap", "note"]]


def shift_table(
    table: pd.DataFrame,
    *,
    full: str = "full",
    design: str = "independent",
    margin: float | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """The test of a uniform shift, a row per compression and community.

    `table`: from `gaps`. Columns: `compression`, `community`, `seeds_full`, `seeds_compressed`,
    `shift` (of the community), `overall` (of the reference), `excess` = shift − overall with
    `ci_low`, `ci_high`, `sd_full`, `sd_compressed` (of the gaps over seeds; NaN in the first where
    the design is paired, and the second is then that of the differences), `t`, `df`, `p`, `p_holm`
    (the family is all rows that have a p: whoever reads the table looks at all of them), `note`.
    With a margin also `p_tost` (is the excess within ±margin?), `p_tost_holm` over the same family.

    design: "independent", Welch's t-test as Hooker et al. 2019 do over separately trained models,
    as published; "paired", a paired t-test, for runs where the same seeds trained the full and the
    compressed model. What the two share then drops out; where they share nothing, half of the
    degrees of freedom are lost for nothing.
    Where there is no test (too few posts, one seed, no spread) the row stays and `note` says why.
    Raises InputError for an unknown design, no `full` runs, nothing to compare with them, seeds
    that differ in a paired design, and a margin that is not positive.
    """
    if design not in DESIGNS:
        raise InputError(f"Unknown design {design!r}; choose {' or '.join(DESIGNS)}.")
    if margin is not None and not (math.isfinite(margin) and margin > 0):
        raise InputError(f"The equivalence margin must be a positive number, not {margin}.")
    others = _compressions(table, full)
    cells = table.sort_values("seed").set_index("seed").groupby(["compression", "community"])
    cells = dict(iter(cells))
    rows = []
    for compression in others:
        for community in table["community"].unique():
            sides = [cells.get((name, community)) for name in (full, compression)]
            if any(side is None for side in sides):
                raise InputError(
                    f"{full!r} and {compression!r} were not both measured on {community!r}: "
                    "measure all runs on the same communities."
                )
            if design == "paired" and set(sides[0].index) != set(sides[1].index):
                raise InputError(
                    f"{full!r} and {compression!r} were trained with different seeds: use the "
                    "independent design."
                )
            before, after = sides
            row = {
                "compression": compression,
                "community": community,
                "seeds_full": len(before),
                "seeds_compressed": len(after),
                "shift": after["value"].mean() - before["value"].mean(),
                "overall": after["reference"].mean() - before["reference"].mean(),
            }
            note = next((one for side in sides for one in side["note"] if one), "")
            rows.append(row | _test(before["gap"], after["gap"], design, margin, level, note))
    return _corrected(pd.DataFrame(rows))


def shift_tables(
    bias: pd.DataFrame, metrics: Sequence[str], *, reference: str = "overall", **options
) -> pd.DataFrame:
    """`shift_table` of several scores, stacked: the column `metric` in front, one family for Holm.

    `bias`, `reference`: as for `gaps`; options: those of `shift_table`.
    """
    tables = [
        shift_table(gaps(bias, metric, reference=reference), **options).assign(metric=metric)
        for metric in metrics
    ]
    stacked = pd.concat(tables, ignore_index=True)
    stacked.insert(0, "metric", stacked.pop("metric"))
    return _corrected(stacked)


def _corrected(table: pd.DataFrame) -> pd.DataFrame:
    """Holm's correction of `p` and, where it is there, of `p_tost`, over the rows that have one."""
    tested = table["p"].notna()
    for p in [one for one in ("p", "p_tost") if one in table.columns]:
        adjusted = pd.Series(math.nan, index=table.index)
        adjusted[tested] = holm(table.loc[tested, p])
        table = table.drop(columns=f"{p}_holm", errors="ignore")
        table.insert(table.columns.get_loc(p) + 1, f"{p}_holm", adjusted)
    return table


def _test(before, after, design: str, margin: float | None, level: float, note: str) -> dict:
    """Of after − before: two samples of gaps, or the sample of their differences."""
    from scipy import stats

    samples = [before, after] if design == "independent" else [after - before]
    samples = [np.asarray(one, dtype=float) for one in samples]
    excess = float(after.mean() - before.mean())
    if not note and min(map(len, samples)) < 2:
        note = "one seed: no test"
    sds = [float(one.std(ddof=1)) if len(one) > 1 else math.nan for one in samples]
    # Equal up to rounding: the quotient below would be rounding error over rounding error.
    if not note and not max(sds) > 1e-12:
        note = "no spread between seeds: no test"
    row = {"excess": excess} | dict.fromkeys(["ci_low", "ci_high"], math.nan)
    row |= {"sd_full": sds[0] if len(sds) == 2 else math.nan, "sd_compressed": sds[-1]}
    row |= dict.fromkeys(["t", "df", "p"], math.nan)
    if margin is not None:
        row["p_tost"] = math.nan
    if not note:
        se, df = welch(sds, [len(one) for one in samples])
        half = stats.t.ppf((1 + level) / 2, df) * se
        row |= {"ci_low": excess - half, "ci_high": excess + half, "t": excess / se, "df": df}
        row["p"] = float(2 * stats.t.sf(abs(excess / se), df))
        if margin is not None:
            # The harder of the two one-sided tests is that of the nearer edge.
            row["p_tost"] = float(stats.t.sf((margin - abs(excess)) / se, df))
    return row | {"note": note}


def interaction(
    table: pd.DataFrame, compression: str, *, full: str = "full", design: str = "paired"
) -> Interaction:
    """The test that all communities have the same excess shift: community × compression.

    The F test of repeated measures with the degrees of freedom of Box (1954) and Greenhouse &
    Geisser (1959), estimated from the covariance of the gaps between communities; in the
    independent design that of Brunner, Dette & Munk (1997), where the full and the compressed
    runs' covariances need not be equal. Nothing is supposed of the communities' spreads and
    correlations, and the size holds (it is below its nominal value where all spreads are equal).
    The F of a mixed model with random effects of seed and run is that of one spread for all, and
    rejects too often where its variance of runs, which cannot be negative, comes out as zero.

    `table`: from `gaps`; communities that cannot be tested are left out, as `note` says. design:
    as in `shift_table`. Raises InputError where a run lacks a community, for fewer than two seeds
    or communities, no spread, and as `shift_table`.
    """
    from scipy import stats

    before, after, note = _runs(table, compression, full, design)
    excess = after.mean() - before.mean()
    samples = [before, after] if design == "independent" else [after - before]
    samples = [sample.to_numpy(dtype=float) for sample in samples]
    # What all communities of a run share is no part of the question.
    centred = [sample - sample.mean(axis=1, keepdims=True) for sample in samples]
    of_means = [np.cov(sample, rowvar=False) / len(sample) for sample in centred]
    total = float(np.trace(sum(of_means)))
    # Equal up to rounding: the quotient below would be rounding error over rounding error.
    if not total > 1e-24:
        raise InputError("The gaps do not differ between seeds: there is no spread to test with.")
    between = total**2 / float((sum(of_means) ** 2).sum())
    within = total**2 / sum(
        float((one**2).sum()) / (len(sample) - 1)
        for one, sample in zip(of_means, samples, strict=True)
    )
    f = float(((excess - excess.mean()) ** 2).sum()) / total
    return Interaction(
        communities=tuple(excess.index),
        f=f,
        df_between=between,
        df_within=within,
        p=float(stats.f.sf(f, between, within)),
        note=note,
    )


def shared(
    table: pd.DataFrame, compression: str, *, full: str = "full", level: float = 0.95
) -> Shared:
    """How much of the gaps' variance the full and the compressed run of a seed have in common.

    2 · covariance ÷ the sum of the two variances, over seeds, each summed over communities: the
    share of the variance of an excess shift that pairing by seed takes away. Below zero pairing
    adds to it. The interval is that of the ratio of two variances, of the sums and of the
    differences of a seed's gaps, with Box's (1954) degrees of freedom for correlated communities.
    `table`: from `gaps`. Raises as `interaction`.
    """
    from scipy import stats

    before, after, _ = _runs(table, compression, full, "paired")
    sums, differences = (np.cov(one, rowvar=False) for one in (before + after, after - before))
    if not sums.any() and not differences.any():
        raise InputError("The gaps do not differ between seeds: there is no spread to share.")
    ratio = float(np.trace(sums) / np.trace(differences)) if differences.any() else math.inf
    freedom = [
        (len(before) - 1) * float(np.trace(one)) ** 2 / float((one**2).sum()) if one.any() else 1.0
        for one in (sums, differences)
    ]
    quantiles = stats.f.ppf([(1 + level) / 2, (1 - level) / 2], *freedom)
    ends = [1 - 2 / (one + 1) for one in (ratio, *ratio / quantiles)]
    return Shared(*map(float, ends))


def _runs(table: pd.DataFrame, compression: str, full: str, design: str):
    """The gaps of the full and of the compressed runs, seeds by communities, and a note."""
    if design not in DESIGNS:
        raise InputError(f"Unknown design {design!r}; choose {' or '.join(DESIGNS)}.")
    _compressions(table, full)
    data = table[table["compression"].isin([full, compression])]
    left = data.loc[data["gap"].isna(), "community"].unique().tolist()
    data = data[~data["community"].isin(left)]
    names = data["community"].unique().tolist()
    wide = data.pivot(index=["compression", "seed"], columns="community", values="gap")[names]
    if wide.isna().any(axis=None):
        raise InputError("Every run must have every community: some gaps are missing.")
    sides = [
        wide[wide.index.get_level_values(0) == one].droplevel(0) for one in (full, compression)
    ]
    if len(names) < 2 or min(map(len, sides)) < 2:
        raise InputError(
            f"All communities can be compared where there are two, and two seeds of {full!r} and "
            f"{compression!r}; there are {len(names)} communities, {len(sides[0])} and "
            f"{len(sides[1])} seeds."
        )
    before, after = sides
    if design == "paired" and set(before.index) != set(after.index):
        raise InputError(
            f"{full!r} and {compression!r} were trained with different seeds: use the "
            "independent design."
        )
    return before, after, f"without {', '.join(left)}" if left else ""


def with_power(
    shifts: pd.DataFrame, effect: float, *, power: float = 0.8, alpha: float = 0.05
) -> pd.DataFrame:
    """`shift_table` rows with `seeds_needed` to find `effect`, and what was `detectable` as it is.

    NaN where there was no test.
    """
    needed, detectable = [], []
    for row in shifts.itertuples():
        if math.isnan(row.p):
            needed.append(math.nan)
            detectable.append(math.nan)
            continue
        both = not math.isnan(row.sd_full)
        sds = [row.sd_full, row.sd_compressed] if both else [row.sd_compressed]
        seeds = [row.seeds_full, row.seeds_compressed] if both else [row.seeds_compressed]
        needed.append(n_for_means(effect, sds, power=power, alpha=alpha))
        detectable.append(minimum_detectable_means(sds, seeds, power=power, alpha=alpha))
    return shifts.assign(seeds_needed=needed, detectable=detectable)


def counts(
    shifts: pd.DataFrame, by: Sequence[str] = ("compression",), *, alpha: float = 0.05
) -> pd.DataFrame:
    """The paper's table: how many communities shift significantly, a row per `by`.

    `tested` (communities with a test), `significant` (p < alpha, each test on its own), `holm`
    (p_holm < alpha), `by_chance` (tested × alpha: what single tests give if nothing shifts), and
    `note`, the communities without a test.
    """
    rows = []
    for names, part in shifts.groupby(list(by), sort=False):
        tested = part[part["p"].notna()]
        left = part.loc[part["p"].isna(), "community"].unique()
        rows.append(
            dict(zip(by, names, strict=True))
            | {"tested": len(tested), "significant": int((tested["p"] < alpha).sum())}
            | {"holm": int((tested["p_holm"] < alpha).sum()), "by_chance": alpha * len(tested)}
            | {"note": f"without {', '.join(left)}" if len(left) else ""}
        )
    return pd.DataFrame(rows)


def summary(shifts: pd.DataFrame, by: Sequence[str], *, alpha: float = 0.05) -> pd.DataFrame:
    """What the tests of each `by` found and could have found; shifts: `with_power`, with a margin.

    Columns of `counts` but its note, `uniform` (p_tost_holm < alpha), `largest` (of |excess|), of
    `detectable` and `seeds_needed` the medians, `seeds_most`. Communities without a test do not
    count.
    """
    tested = shifts[shifts["p"].notna()]
    counted = counts(tested, by, alpha=alpha).drop(columns="note")
    found = tested.assign(excess=tested["excess"].abs(), uniform=tested["p_tost_holm"] < alpha)
    found = found.groupby(list(by), sort=False).agg(
        uniform=("uniform", "sum"),
        largest=("excess", "max"),
        detectable=("detectable", "median"),
        seeds_needed=("seeds_needed", "median"),
        seeds_most=("seeds_needed", "max"),
    )
    return counted.merge(found.reset_index(), on=list(by), validate="1:1")


def interactions(bias: pd.DataFrame, metrics: Sequence[str], compression: str) -> pd.DataFrame:
    """`interaction` and `shared` of one compression by several scores: a row a score.

    Columns: `metric`, `f`, `df_between`, `df_within`, `p`, `p_holm` (over the scores), `share`,
    `share_low`, `share_high`, `note` (the communities left out, or why there is no test).
    """
    rows = []
    for metric in metrics:
        table = gaps(bias, metric)
        row = {"metric": metric, "p": math.nan, "note": ""}
        try:
            found = asdict(interaction(table, compression))
            row |= {name: found[name] for name in ("f", "df_between", "df_within", "p", "note")}
            part = shared(table, compression)
            row |= {"share": part.share, "share_low": part.ci_low, "share_high": part.ci_high}
        except InputError as error:
            row["note"] = str(error)
        rows.append(row)
    columns = ["metric", "f", "df_between", "df_within", "p"]
    columns += ["share", "share_low", "share_high", "note"]
    return _corrected(pd.DataFrame(rows).reindex(columns=columns))


def _compressions(table: pd.DataFrame, full: str) -> list[str]:
    found = table["compression"].unique().tolist()
    if full not in found:
        raise InputError(f"There are no runs of {full!r}; there are {', '.join(map(str, found))}.")
    if found == [full]:
        raise InputError(f"There are only runs of {full!r}, and nothing to compare with them.")
    return [name for name in found if name != full]
