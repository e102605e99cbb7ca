"""What the tests of *Uniform or not?* came to, a wording for every outcome.

The tables are those of `statistics.uniformity`; a difference is there an `excess` shift.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from ethical_compression import words
from ethical_compression.metrics.bias_auc import LEAST
from ethical_compression.statistics import uniformity


def outcomes(shifts: pd.DataFrame) -> pd.Series:
    """What each row of a table made with a margin came to, one of `words.OUTCOMES`, after Holm."""
    return words.outcomes(shifts.rename(columns={"excess": "difference"}))


def answer(shifts: pd.DataFrame, margin: float, names: Mapping[str, str]) -> str:
    """Does compression cost every community the same? What the tests came to, in two sentences.

    shifts: from `shift_tables` with that margin, and `with_power`; names: its metrics' titles.
    """
    tested = shifts[shifts["p"].notna()]
    if tested.empty:
        return (
            "Nothing can be told: no community can be tested "
            f"({next((note for note in shifts['note'] if note), 'no runs')})."
        )
    said = {
        "lower": "costing the community more than all posts",
        "higher": "costing it less",
        "equivalent": f"shown to cost it the same within ±{margin}",
    }
    row, which = words.foremost(tested.assign(difference=tested["excess"]), "excess")
    largest = words.interval(row["excess"], row["ci_low"], row["ci_high"])
    return (
        "The changes that could be tested, by community, score and compression, came to this, "
        f"after Holm over all: {words.counted(outcomes(tested), names=said)}. Half of the tests "
        f"would find an excess of {tested['detectable'].median():.3f} AUC in four studies of five. "
        f"The {which} is {largest}, of the {names[row['metric']]} AUC of "
        f"{row['community']} with {row['compression']}."
    )


def count_sentence(shifts: pd.DataFrame, *, alpha: float = 0.05) -> str:
    """How many tests of a stacked table are significant, beside what chance alone gives."""
    tested = shifts[shifts["p"].notna()]
    if tested.empty:
        return "Nothing could be tested."
    return (
        f"Of {len(tested)} tests, {int((tested['p'] < alpha).sum())} have p < {alpha:g} read one "
        f"by one, where about {alpha * len(tested):.1f} would if nothing shifted; after Holm over "
        f"all of them it is {int((tested['p_holm'] < alpha).sum())}."
    )


def untested_sentence(shifts: pd.DataFrame) -> str:
    """Which communities have no test, and why."""
    left = shifts[shifts["p"].isna()].drop_duplicates(["community", "note"])
    parts = [
        f"{name} ({'; '.join(dict.fromkeys(part['note']))})"
        for name, part in left.groupby("community", sort=False)
    ]
    return f"Not tested: {', '.join(parts)}." if parts else "Every community was tested."


def alike_sentence(table: pd.DataFrame, names: Mapping[str, str], *, alpha: float = 0.05) -> str:
    """What a table of `interactions` says of all communities at once; names: metrics' titles."""

    def scores(some) -> str:
        p = [f" ({words.p_text(p)})" if p == p else "" for p in some["p_holm"]]
        return words.listed(f"{names[one]}{p}" for one, p in zip(some["metric"], p, strict=True))

    settled, tested = table["p_holm"] < alpha, table["p"].notna()
    said = {
        "The communities do not all shift alike by": table[settled],
        "Whether all of them shift alike is not settled by": table[tested & ~settled],
        "All of them at once could not be tested by": table[~tested],
    }
    return " ".join(f"{start} {scores(some)}." for start, some in said.items() if len(some))


def shared_sentence(table: pd.DataFrame, names: Mapping[str, str]) -> str:
    """What a table of `interactions` says of pairing by seed; names: its metrics' titles."""
    known = table[table["share"].notna()]
    if known.empty:
        return "What the two runs of a seed share cannot be told from these runs."
    percent = 100 * known[["share", "share_low", "share_high"]]
    shares = [
        f"{names[name]} {words.interval(*row, least=0, unit='%')}"
        for name, row in zip(known["metric"], percent.to_numpy(), strict=True)
    ]
    helps, costs = known["share_low"] > 0, known["share_high"] < 0
    said = {
        "takes spread away by": known[helps],
        "adds spread by": known[costs],
        "may take spread away or add some by": known[~helps & ~costs],
    }
    verdicts = [
        f"{verb} {words.listed(names[one] for one in some['metric'])}"
        for verb, some in said.items()
        if len(some)
    ]
    return (
        "Of the variance of the gaps the two runs of a seed share, by score: "
        f"{'; '.join(shares)}. Pairing by seed {'; '.join(verdicts)}."
    )


def largest_excess(shifts: pd.DataFrame) -> str:
    """The largest excess shift that was tested: "Islam, 3 of 6 layers: −0.041 (95% interval …)"."""
    row = shifts.loc[shifts["excess"].where(shifts["p"].notna()).abs().idxmax()]
    interval = words.interval(row["excess"], row["ci_low"], row["ci_high"])
    return f"{row['community']}, {row['compression']}: {interval}"


def count_cells(shifts: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """The paper's count table: a row a compression, the fewest layers last, a column a metric.

    A cell is "2 (1) of 8": communities with p < 0.05, in brackets after Holm, of those tested;
    `by_chance`: how many single tests give where nothing shifts, the mean over metrics.
    """
    counted = uniformity.counts(shifts, ["compression", "metric"])
    cells = [f"{row.significant} ({row.holm}) of {row.tested}" for row in counted.itertuples()]
    wide = counted.assign(cell=cells).pivot(index="compression", columns="metric", values="cell")
    chance = counted.groupby("compression")["by_chance"].mean().map("{:.2f}".format)
    wide = wide[list(metrics)].assign(by_chance=chance).sort_index(ascending=False)
    return wide.reset_index()


def published_cells(published: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """`count_cells` of the published counts, over ten communities, with the column `model`."""
    rows = published.to_dict("records")
    return pd.DataFrame(
        {"model": row["model"]}
        | {"compression": f"{row['layers_kept']} of {row['layers_total']} layers"}
        | {metric: f"{row[f'significant_{metric}']:.0f} of 10" for metric in metrics}
        | {"by_chance": "0.50"}
        for row in rows
    )


def published_sentence(table: pd.DataFrame) -> str:
    """How many compressed encoders of the published counts have a community that shifts.

    table: `model`, `layers_kept`, `significant_subgroup`, one row an encoder that lost layers.
    """
    count = table.sort_values("layers_kept", ascending=False).groupby("model", sort=False)
    falls = [name for name, part in count["significant_subgroup"] if (part.diff() < 0).any()]
    return (
        f"Of the {len(table)} encoders that lost layers "
        f"{int((table['significant_subgroup'] > 0).sum())} have such a community by the Subgroup "
        "AUC; where more layers went there were "
        f"{f'fewer in {words.listed(falls)}' if falls else 'never fewer'}."
    )


def lowest_sentence(table: pd.DataFrame, names: Mapping[str, str], *, least: int = LEAST) -> str:
    """The lowest bias AUC of a model in words, and whether its order is reversed.

    table: from `over_seeds`, of one model; names: the titles of the metrics that count. Rows with
    fewer than `least` posts of a kind are left out.
    """
    enough = table[["positives", "negatives"]].min(axis=1) >= least
    rows = table[enough & table["auc"].notna() & table["metric"].isin(list(names))]
    if rows.empty:
        return f"No community has {least} posts of either kind, so no bias AUC can be leaned on."
    row = rows.loc[rows["auc"].idxmin()]
    value = words.interval(row["auc"], row["ci_low"], row["ci_high"], sign=False)
    text = (
        f"The lowest of the full model's {len(rows)} bias AUCs is the {names[row['metric']]} AUC "
        f"of {row['community']}, {value}."
    )
    if row["ci_high"] < 0.5:
        return (
            f"{text} Below one half the order is reversed: of the two posts, the harmless one more "
            "often gets the higher score. Compression did not make that bias, and a test of what "
            "compression changes will not show it."
        )
    if row["auc"] < 0.5:
        return (
            f"{text} Whether it lies below one half, where the harmless post more often gets the "
            "higher score, is not settled."
        )
    return text
