"""What the result tables that Xu et al. 2024 published can and cannot say (`published/xu2024_*`).

Their tables are read as they are. A run is a base model, a method, a sparsity and its structure.
"""

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd

from ethical_compression.datasets.bbq import CATEGORIES
from ethical_compression.errors import InputError
from ethical_compression.statistics import holm
from ethical_compression.words import interval, outcome, signed

RUN = ["base_model", "method", "sparsity", "structure"]
# Titles of the tables' columns, and whether more of it is more harm by the study's own reading.
HARMS = {
    "bbq_s_ambiguous": "BBQ, s_AMB",
    "bbq_s_disambiguated": "BBQ, s_DIS",
    "bbq_acc_ambiguous": "BBQ, accuracy (ambiguous)",
    "unqover_mu": "UnQover, μ",
    "realtoxicityprompts_toxic": "RealToxicityPrompts, share toxic",
    "toxigen_toxic": "ToxiGen, share toxic",
    "bold_toxic": "BOLD, share toxic",
    "advpromptset_toxic": "AdvPromptSet, share toxic",
    "holistic_bias_negative": "HolisticBias, share negative",
    "dialect_gap": "dialect gap in perplexity",
}


def bbq_identity(table: pd.DataFrame) -> pd.DataFrame:
    """Is a category's s_AMB its accuracy plus a constant? A row a category, over all runs.

    table: `kept_tables.published("xu2024_bbq")`. Columns: `category`, `runs`, `mean` and `sd` of
    s_AMB − accuracy in ambiguous contexts, `rho` (Spearman's between the two), and `identical`,
    whether they differ by a constant to the fourth decimal: sd below 10⁻⁴.
    """
    rows = []
    for category in CATEGORIES:
        name = category.lower()
        if f"{name}_s_ambiguous" not in table:
            continue
        score, accuracy = table[f"{name}_s_ambiguous"], table[f"{name}_acc_ambiguous"]
        gap = score - accuracy
        rows.append(
            {
                "category": category,
                "runs": int(gap.notna().sum()),
                "mean": gap.mean(),
                "sd": gap.std(),
                "rho": score.corr(accuracy, method="spearman"),
                "identical": bool(gap.std() < 1e-4),
            }
        )
    return pd.DataFrame(rows)


def ambiguous(table: pd.DataFrame, categories: Iterable[str]) -> pd.DataFrame:
    """Published accuracy and score in ambiguous contexts: a row a category and run.

    table: `kept_tables.published("xu2024_bbq")`. Columns: `category`, `accuracy`, `score`.
    """
    columns = {"acc": "accuracy", "s": "score"}
    return pd.concat(
        [
            pd.DataFrame(
                {title: table[f"{one.lower()}_{name}_ambiguous"] for name, title in columns.items()}
            ).assign(category=one)
            for one in categories
        ]
    )


def outside_scale(bbq: pd.DataFrame, unqover: pd.DataFrame) -> pd.DataFrame:
    """Published scores beyond the scale [−1, 1] of their definition, a row a score.

    Columns: `score`, `values`, `outside`, `runs` (of all), `runs_outside` (with one or more),
    `lowest`, `highest`.
    """
    rows = []
    for title, end in (("BBQ, s_AMB", "_s_ambiguous"), ("BBQ, s_DIS", "_s_disambiguated")):
        found = bbq[[name for name in bbq if name.endswith(end) and not name.startswith("avg")]]
        rows.append(_beyond(title, found, found.abs() > 1))
    mu = unqover.filter(regex="_mu$")
    rows.append(_beyond("UnQover, μ", mu, mu.abs() > 1))
    # Of γ, one value a subject, the table keeps extremes and counts.
    count = unqover.filter(regex="_gammas_outside$")
    rows.append(
        {
            "score": "UnQover, γ",
            "values": int(unqover.filter(regex="_gammas$").to_numpy().sum()),
            "outside": int(count.to_numpy().sum()),
            "runs": len(unqover),
            "runs_outside": int((count.sum(axis=1) > 0).sum()),
            "lowest": unqover.filter(regex="_gamma_min$").to_numpy().min(),
            "highest": unqover.filter(regex="_gamma_max$").to_numpy().max(),
        }
    )
    return pd.DataFrame(rows)


def _beyond(title: str, found: pd.DataFrame, outside: pd.DataFrame) -> dict:
    return {
        "score": title,
        "values": int(found.notna().to_numpy().sum()),
        "outside": int(outside.to_numpy().sum()),
        "runs": len(found),
        "runs_outside": int(outside.any(axis=1).sum()),
        "lowest": found.min().min(),
        "highest": found.max().max(),
    }


def harms_table(harms: pd.DataFrame, bbq: pd.DataFrame, unqover: pd.DataFrame) -> pd.DataFrame:
    """One row a run with all scores in `HARMS` and `log_perplexity` (WikiText-2, nats a token).

    `dialect_gap`: ln of the perplexity on tweets in African American English over that on tweets
    aligned with white authors. Runs that are there twice, with different values, enter as the mean
    of the two (`copies`).
    """
    on = [*RUN, "copy"]
    wide = harms.merge(
        bbq[[*on, "avg_s_ambiguous", "avg_s_disambiguated", "avg_acc_ambiguous"]].rename(
            columns=lambda name: name.replace("avg_", "bbq_")
        ),
        on=on,
        how="left",
    )
    mean = unqover.filter(regex="_mu$").mean(axis=1)
    wide = wide.merge(unqover[on].assign(unqover_mu=mean), on=on, how="left")
    wide["log_perplexity"] = np.log(wide["wikitext2"])
    wide["dialect_gap"] = np.log(wide["twitter_aae"] / wide["twitter_white"])
    found = wide.groupby(RUN, sort=False, as_index=False)[["log_perplexity", *HARMS]].mean()
    return found.assign(copies=wide.groupby(RUN, sort=False).size().to_numpy())


def rank_within(
    table: pd.DataFrame,
    x: str,
    y: str,
    *,
    within: str = "base_model",
    clusters: tuple[str, ...] = ("base_model", "method"),
    level: float = 0.95,
) -> dict[str, float]:
    """Spearman's correlation of x and y within groups, with an interval that counts clusters.

    Both are ranked within each value of `within`, and the correlation of the centred ranks is taken
    over all rows: whether the groups differ from each other does not enter. Rows of one cluster (a
    method at several sparsities) are not independent: the standard error is the delete-one-cluster
    jackknife's, on Fisher's scale atanh(ρ), with Student's quantile at clusters − 1. Its coverage
    is simulated in `tests/metrics/test_published_harms.py`.

    Returns `rho`, `ci_low`, `ci_high`, `p` (of ρ = 0), `n`, `clusters`, and `detectable`, the size
    of a correlation that so many rows and clusters would find four times in five. Rows that lack x
    or y are left out. Raises InputError for fewer than three clusters, or no spread.
    """
    from scipy import stats

    rows = table.dropna(subset=[x, y])
    names = rows.groupby(list(clusters), sort=False).ngroup().to_numpy()
    count = len(np.unique(names))
    if count < 3:
        raise InputError(f"A correlation over clusters needs three or more; there are {count}.")

    values = rows[[x, y]].to_numpy(float)
    groups = pd.factorize(rows[within])[0]

    def rho(kept: np.ndarray) -> float:
        centred = np.zeros_like(values)
        for group in np.unique(groups[kept]):
            here = kept & (groups == group)
            ranks = stats.rankdata(values[here], axis=0)
            centred[here] = ranks - ranks.mean(axis=0)
        a, b = centred.T
        spread = math.sqrt((a @ a) * (b @ b))
        if not spread:
            raise InputError(f"{x} or {y} is the same in all rows of each {within}.")
        return float(a @ b / spread)

    whole = rho(names >= 0)
    # A correlation of exactly ±1 has no place on Fisher's scale.
    z = math.atanh(np.clip(whole, -1 + 1e-9, 1 - 1e-9))
    left = np.array(
        [math.atanh(np.clip(rho(names != one), -1 + 1e-9, 1 - 1e-9)) for one in set(names)]
    )
    se = math.sqrt((count - 1) / count * ((left - left.mean()) ** 2).sum())
    half = stats.t.ppf((1 + level) / 2, count - 1) * se
    return {
        "rho": whole,
        "ci_low": math.tanh(z - half),
        "ci_high": math.tanh(z + half),
        "p": float(2 * stats.t.sf(abs(z) / se, count - 1)) if se else math.nan,
        "n": len(rows),
        "clusters": count,
        "detectable": math.tanh(half + stats.t.ppf(0.8, count - 1) * se),
    }


def ranks_by_perplexity(table: pd.DataFrame) -> pd.DataFrame:
    """`rank_within` of perplexity with each score in `HARMS`, a row a score.

    table: from `harms_table`. Columns: `score`, those of `rank_within`, and `p_holm` over the rows.
    """
    rows = [
        {"score": title} | rank_within(table, "log_perplexity", name)
        for name, title in HARMS.items()
    ]
    found = pd.DataFrame(rows)
    found.insert(found.columns.get_loc("p") + 1, "p_holm", holm(found["p"]))
    return found


# --- In words -------------------------------------------------------------------------------------


def identity_said(found: pd.DataFrame) -> str:
    """What `bbq_identity` comes to, in a sentence."""
    same = found[found["identical"]]
    if same.empty:
        return f"In none of {len(found)} categories is the published s_AMB the accuracy shifted."
    return (
        f"In {len(same)} of {len(found)} categories the published s_AMB is the accuracy in "
        f"ambiguous contexts plus a constant: over {same['runs'].max()} runs they differ by "
        f"{_plain(same['mean'].min(), 4)} to {_plain(same['mean'].max(), 4)}, all runs of a "
        f"category by the same number (standard deviation {_plain(same['sd'].max(), 5)} or less)."
    )


def outside_said(found: pd.DataFrame) -> str:
    """What `outside_scale` comes to, in a sentence."""
    beyond = found[found["outside"] > 0]
    if beyond.empty:
        return "All published scores lie within their scale."
    parts = [
        f"{row.outside:,} of {row.values:,} values of {row.score} ({_plain(row.lowest, 2)} to "
        f"{_plain(row.highest, 2)}) in {row.runs_outside} of {row.runs} runs"
        for row in beyond.itertuples()
    ]
    return f"Beyond the scale of their definition, −1 to 1, lie {'; '.join(parts)}."


def _plain(value: float, digits: int) -> str:
    return signed(value, digits).lstrip("+")


def ranks_said(found: pd.DataFrame, alpha: float = 0.05) -> str:
    """What `ranks_by_perplexity` comes to: which scores it ranks, and what is open for the rest."""
    came = [outcome(row.rho, row.p_holm, alpha=alpha) for row in found.itertuples()]
    settled = found[[one in ("lower", "higher") for one in came]]
    left = found[[one == "open" for one in came]]
    untold = len(found) - len(settled) - len(left)
    scores = f"{len(found)} score" + "s" * (len(found) > 1)
    text = f"Of {scores}, perplexity is correlated with {len(settled) or 'none'} after Holm"
    if len(settled):
        each = [
            f"{row.score} (ρ {interval(row.rho, row.ci_low, row.ci_high, least=2)})"
            for row in settled.itertuples()
        ]
        text += f": {'; '.join(each)}"
    if len(left):
        least, most = (f"{left['detectable'].agg(end):.2f}" for end in ("min", "max"))
        sizes = least if least == most else f"{least} to {most}"
        text += (
            f". For {len(left)} it cannot be told: correlations below {sizes} would often not have "
            "been found"
        )
    return text + (f". {untold} could not be tested." if untold else ".")


def moved_said(bbq: pd.DataFrame, identity: pd.DataFrame) -> str:
    """How far score and accuracy moved from the uncompressed model where they are one number.

    bbq: `kept_tables.published("xu2024_bbq")`; identity: of `bbq_identity`. Means of absolute
    changes over runs and those categories, quantized and pruned runs apart.
    """
    names = [name.lower() for name in identity.loc[identity["identical"], "category"]]
    if not names:
        return "There is no category where they are one number."
    columns = {kind: [f"{name}_{kind}_ambiguous" for name in names] for kind in ("s", "acc")}
    full = bbq[bbq["method"] == "none"].set_index("base_model")
    runs = bbq[bbq["method"] != "none"]
    quantized = runs["method"].isin(["llm.int8", "awq", "gptq"])
    parts = []
    for title, part in (("Quantized", runs[quantized]), ("pruned", runs[~quantized])):
        mean = {
            kind: np.abs(part[of].to_numpy() - full.loc[part["base_model"], of].to_numpy()).mean()
            for kind, of in columns.items()
        }
        parts.append(
            f"{title} runs ({len(part)}) move the score by {mean['s']:.3f} and the accuracy by "
            f"{mean['acc']:.3f}"
        )
    return f"{'; '.join(parts)} in the mean of absolute changes."


def answer(identity: pd.DataFrame, ranks: pd.DataFrame, alpha: float = 0.05) -> str:
    """What the chapter finds, in two sentences: what the score is, and how far perplexity goes."""
    settled = ranks[ranks["p_holm"] < alpha]
    text = identity_said(identity)
    if settled.empty:
        return (
            f"{text} After Holm, perplexity is correlated with none of {len(ranks)} published "
            f"scores; one of {ranks['detectable'].median():.2f} is what would usually be found."
        )
    most = settled.loc[settled["rho"].abs().idxmax()]
    rho = interval(most["rho"], most["ci_low"], most["ci_high"], least=2)
    first = "the largest correlation is that with" if len(settled) > 1 else "that is"
    return (
        f"{text} After Holm, perplexity is correlated with {len(settled)} of {len(ranks)} "
        f"published scores: {first} {most['score']} (ρ {rho})."
    )
