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
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ethical_compression.errors import InputError
from ethical_compression.score.groups import ALL, LEAST
from ethical_compression.statistics import holm, minimum_detectable, power_of_t

# What a community's score is held against: the score over all texts, its own among them, as
# published; or that over the texts which do not mention it.
REFERENCES = ("overall", "background")
# As published: full and compressed runs as independent samples (Welch). Paired: by seed.
DESIGNS = ("independent", "paired")


@dataclass(frozen=True)
class MixedModel:
    """One compression against the full model, all communities at once (`mixed_model`).

    `communities`: `community`, `excess`, `ci_low`, `ci_high`, `t`, `df`, `p`, `p_holm`. `f`,
    `df_between`, `df_within`, `p`: the test of the interaction, that all communities shift alike.
    `sd_seed`, `sd_run`, `sd_residual`: the spread of what a seed's two runs share, of what a run's
    communities share, and of the rest. `note`: what statsmodels had to say, or "".
    """

    communities: pd.DataFrame
    f: float
    df_between: int
    df_within: int
    p: float
    sd_seed: float
    sd_run: float
    sd_residual: float
    note: str


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
    With a margin also `p_tost` and `equivalent` at 1 − level: is the excess within ±margin?

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
    found = pd.DataFrame(rows)
    tested = found["p"].notna()
    found.insert(found.columns.get_loc("p") + 1, "p_holm", math.nan)
    found.loc[tested, "p_holm"] = holm(found.loc[tested, "p"])
    return found


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
        row |= {"p_tost": math.nan, "equivalent": False}
    if not note:
        se, df = _welch(sds, [len(one) for one in samples])
        half = stats.t.ppf((1 + level) / 2, df) * se
        row |= {"ci_low": excess - half, "ci_high": excess + half, "t": excess / se, "df": df}
        row["p"] = float(2 * stats.t.sf(abs(excess / se), df))
        if margin is not None:
            # The harder of the two one-sided tests is that of the nearer edge.
            row["p_tost"] = float(stats.t.sf((margin - abs(excess)) / se, df))
            row["equivalent"] = row["p_tost"] < 1 - level
    return row | {"note": note}


def _welch(sds: Sequence[float], counts: Sequence[int]) -> tuple[float, float]:
    """Standard error and Welch–Satterthwaite df of a difference of means; of one mean, n − 1."""
    variances = [sd**2 / n for sd, n in zip(sds, counts, strict=True)]
    total = sum(variances)
    return math.sqrt(total), total**2 / sum(
        v**2 / (n - 1) for v, n in zip(variances, counts, strict=True)
    )


def mixed_model(
    table: pd.DataFrame, compression: str, *, full: str = "full", level: float = 0.95
) -> MixedModel:
    """Community × compression with random effects of seed and run, by statsmodels (REML).

    gap = community + community × compressed + seed + run + residual: the estimates are those of
    `shift_table`, but one spread serves all communities. That gives more degrees of freedom where
    the communities' spreads are alike, and misleads where they are not: compare the two.
    `table`: from `gaps`; communities that cannot be tested are left out, as `note` says. Where full
    and compressed runs share no seed, a run is a seed, and `sd_run` is NaN.

    Degrees of freedom: Satterthwaite's for a community, from the two strata of the balanced design
    (between runs, within runs), as statsmodels gives none; the interaction is tested within runs.
    Both assume that every run has every community. Raises InputError where that is not so, for
    fewer than two seeds, fewer than two communities, no spread, and as `shift_table`.
    """
    import warnings

    from scipy import stats
    from statsmodels.regression.mixed_linear_model import MixedLM

    _compressions(table, full)
    data = table[table["compression"].isin([full, compression])]
    excluded = data.loc[data["gap"].isna(), "community"].unique().tolist()
    data = data[~data["community"].isin(excluded)].reset_index(drop=True)
    names = data["community"].unique().tolist()
    runs = data.drop_duplicates(["compression", "seed"])
    number = runs["compression"].value_counts().reindex([full, compression], fill_value=0)
    if len(names) < 2 or number.min() < 2:
        raise InputError(
            f"A mixed model needs two communities and two seeds of {full!r} and {compression!r}; "
            f"there are {len(names)} communities, {number[full]} and {number[compression]} seeds."
        )
    if len(data) != len(runs) * len(names):
        raise InputError("A mixed model needs every run to have every community once.")
    paired = set(runs.loc[runs["compression"] == full, "seed"]) == set(
        runs.loc[runs["compression"] == compression, "seed"]
    )
    run = data["compression"].astype(str) + ", seed " + data["seed"].astype(str)
    compressed = (data["compression"] == compression).astype(float)
    cells = [data["community"], data["compression"]]
    spread = float((data["gap"] - data["gap"].groupby(cells).transform("mean")).std())
    if not spread > 1e-12:
        raise InputError("The gaps do not differ between seeds: there is no spread to test with.")
    # In units of the spread: the optimiser's tolerances are absolute.
    data = data.assign(run=run, compressed=compressed, scaled=data["gap"] / spread)
    model = MixedLM.from_formula(
        "scaled ~ 0 + community + community:compressed",
        data,
        groups="seed" if paired else "run",
        re_formula="1",
        vc_formula={"run": "0 + C(run)"} if paired else None,
    )
    with warnings.catch_warnings(record=True):  # a variance of zero is an answer, not a fault
        warnings.simplefilter("always")
        # Powell's method asks for no gradient, which is none where a variance is zero.
        result = model.fit(reml=True, method=["powell"])
    seed = float(result.cov_re.iloc[0, 0])
    shared = float(result.vcomp[0]) if paired else seed
    residual = float(result.scale)

    # communities in the order of the formula
    names = sorted(names)
    wanted = [f"community[{name}]:compressed" for name in names]
    excess = result.fe_params[wanted].to_numpy() * spread
    covariance = result.cov_params().loc[wanted, wanted].to_numpy() * spread**2
    count, within = len(names), (len(names) - 1) * (len(runs) - 2)
    between = len(runs) // 2 - 1 if paired else len(runs) - 2
    strata = residual / count + shared, residual * (count - 1) / count
    df = sum(strata) ** 2 / (strata[0] ** 2 / between + strata[1] ** 2 / within)
    se = np.sqrt(np.diag(covariance))
    half = stats.t.ppf((1 + level) / 2, df) * se
    p = 2 * stats.t.sf(np.abs(excess / se), df)
    contrast = np.diff(np.eye(count), axis=0)
    apart = contrast @ excess
    f = float(apart @ np.linalg.solve(contrast @ covariance @ contrast.T, apart)) / (count - 1)
    notes = [f"without {', '.join(excluded)}"] if excluded else []
    if not result.converged:
        notes.append("the fit did not converge")
    return MixedModel(
        communities=pd.DataFrame(
            {
                "community": names,
                "excess": excess,
                "ci_low": excess - half,
                "ci_high": excess + half,
                "t": excess / se,
                "df": df,
                "p": p,
                "p_holm": holm(p),
            }
        ),
        f=f,
        df_between=count - 1,
        df_within=within,
        p=float(stats.f.sf(f, count - 1, within)),
        sd_seed=math.sqrt(seed) * spread,
        sd_run=math.sqrt(shared) * spread if paired else math.nan,
        sd_residual=math.sqrt(residual) * spread,
        note="; ".join(notes),
    )


def power_of(
    effect: float, sds: Sequence[float], seeds: Sequence[int], *, alpha: float = 0.05
) -> float:
    """Power of the two-sided test of `shift_table` for an excess shift of `effect`.

    `sds`, `seeds`: standard deviations of the gaps and numbers of runs, of the full and of the
    compressed model (independent design), or one of each, of the differences (paired). Two equal
    ones give the textbook's power. Welch's test has less with very few runs, as it has to estimate
    its degrees of freedom: about 0.08 less at three a side.
    """
    se, df = _welch(sds, seeds)
    return power_of_t(effect / se, df, alpha=alpha)


def seeds_for_power(
    effect: float, sds: Sequence[float], *, power: float = 0.8, alpha: float = 0.05
) -> int:
    """The fewest seeds, of each model, with which an excess of `effect` is found at this power.

    The spread is taken as known: from three seeds it is known badly. Raises InputError for an
    effect of 0 and a spread that is not positive.
    """
    if not (math.isfinite(effect) and effect):
        raise InputError(f"No number of seeds finds a shift of {effect}; give one other than 0.")
    _spread(sds)

    def enough(n: int) -> bool:
        return power_of(effect, sds, [n] * len(sds), alpha=alpha) >= power

    high = 2
    while not enough(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def detectable_shift(
    sds: Sequence[float], seeds: Sequence[int], *, power: float = 0.8, alpha: float = 0.05
) -> float:
    """The smallest excess shift that these seeds find at this power; arguments as `power_of`."""
    _spread(sds)
    return minimum_detectable(*_welch(sds, seeds), power=power, alpha=alpha)


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
        needed.append(seeds_for_power(effect, sds, power=power, alpha=alpha))
        detectable.append(detectable_shift(sds, seeds, power=power, alpha=alpha))
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


def _spread(sds: Sequence[float]) -> None:
    if not (np.isfinite(sds).all() and max(sds) > 0):
        raise InputError("The spread between seeds must be finite and above zero.")


def _compressions(table: pd.DataFrame, full: str) -> list[str]:
    found = table["compression"].unique().tolist()
    if full not in found:
        raise InputError(f"There are no runs of {full!r}; there are {', '.join(map(str, found))}.")
    if found == [full]:
        raise InputError(f"There are only runs of {full!r}, and nothing to compare with them.")
    return [name for name in found if name != full]
