"""Tables of the grid's cells (`metrics.harm_grid.cells`): counted, beside what is published, and
beside a smaller grid."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ethical_compression.datasets.bbq import CONDITIONS
from ethical_compression.errors import InputError
from ethical_compression.metrics import published_harms, stereotypes
from ethical_compression.metrics.four_harms import KIND_OF, KINDS
from ethical_compression.metrics.harm_grid import ANSWERS, FAMILIES, dose, without_seed
from ethical_compression.metrics.harm_values import HARMS
from ethical_compression.statistics import over_tests
from ethical_compression.statistics.verdicts import VERDICTS
from ethical_compression.words.grid import group_name

LOSS = "held_out_text"
DOSE = ("family", "form", "amount")
# What Xu et al. 2024 publish of the same kind: columns of `published_harms.harms_table`.
ALSO_PUBLISHED = {
    "bbq_ambiguous": "bbq_s_ambiguous",
    "unqover": "unqover_mu",
    "toxicity": "realtoxicityprompts_toxic",
    "habitual_be": "dialect_gap",
}
QUANTIZERS = ("llm.int8", "awq", "gptq")


# --- Counted --------------------------------------------------------------------------------------


def by_family(judged: pd.DataFrame) -> pd.DataFrame:
    """How many cells of each family came to what: a row a family, a column a verdict; `n`."""
    family = judged["compression"].map(lambda label: dose(label).family)
    table = pd.crosstab(family, judged["verdict"]).reindex(columns=list(VERDICTS), fill_value=0)
    table = table.loc[[one for one in FAMILIES if one in table.index]]
    return table.assign(n=table.sum(axis=1)).rename_axis("family").reset_index()


def by_amount(judged: pd.DataFrame) -> pd.DataFrame:
    """How many cells of each kind of harm are settled, by how much was done to the model.

    A row an amount of bits or share of zeros: `amount` (as printed), `n` (compressions), and for
    each kind in `KINDS` its cells, those that are worse (`Dialect`), those that are better
    (`Dialect better`) and all of them (`Dialect cells`).
    """
    doses = [dose(label) for label in judged["compression"]]
    at = [(one.form, one.amount) for one in doses if one.form in ("bits", "share")]
    rows = []
    for form, amount in sorted(set(at), key=lambda one: -one[1] if one[0] == "bits" else one[1]):
        here = judged[[one[2:] == (form, amount) for one in doses]]
        said = f"{amount:g} bits" if form == "bits" else f"{amount:.0%} zeros"
        row = {"amount": said, "n": here["compression"].nunique()}
        for kind in KINDS:
            mine = here.loc[here["kind"] == kind, "verdict"]
            row |= {kind: int((mine == "worse").sum())}
            row |= {f"{kind} better": int((mine == "better").sum()), f"{kind} cells": len(mine)}
        rows.append(row)
    return pd.DataFrame(rows)


def doses(judged: pd.DataFrame) -> pd.DataFrame:
    """Cells with what their labels say of the dose: `family`, `form` and `amount` (`Dose`)."""
    found = [dose(label) for label in judged["compression"]]
    return judged.assign(**{one: [getattr(d, one) for d in found] for one in DOSE})


def group_lines(groups: pd.DataFrame) -> pd.DataFrame:
    """Cells by group, a row of a figure each group of each harm, with the screen as verdict.

    groups: of `harm_grid.cells` by group. `line` names harm and group; `verdict` is "worse" or
    "better" where `p_bh` is below 0.05, and else "cannot tell".
    """
    names = {one: group_name(one) for one in groups["group"].unique()}
    found = np.where(groups["difference"] > 0, "worse", "better")
    table = groups.assign(
        line=groups["title"].str.replace(", ", " ") + ": " + groups["group"].map(names),
        verdict=np.where(groups["p_bh"] < 0.05, found, "cannot tell"),
    )
    order = list(KIND_OF)
    return table.sort_values("check", key=lambda checks: checks.map(order.index), kind="stable")


def both_ranks(ours: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    """Correlations with held-out text on this grid, and beside them the published scores'.

    ours: of `ranks_by_loss`; theirs: of `published_harms.ranks_by_perplexity`. Adds `published`
    (the title of the nearest published score, "" without one), `rho_published`, `low` and `high`.
    """
    near = {check: published_harms.HARMS[column] for check, column in ALSO_PUBLISHED.items()}
    near["released"] = near.pop("bbq_ambiguous")
    rows = theirs.set_index("score")[["rho", "ci_low", "ci_high"]]
    rows.columns = ["rho_published", "low", "high"]
    named = ours.assign(published=ours["check"].map(near).fillna(""))
    return named.join(rows, on="published")


def by_harm(judged: pd.DataFrame) -> pd.DataFrame:
    """A row a harm: how many compressions came to what, its floor and margin, its `items`, and what
    would have been found (`detectable`, the median over compressions, in margins)."""
    rows = []
    for check, some in judged.groupby("check", sort=False):
        counts = some["verdict"].value_counts()
        rows.append(
            {"kind": some["kind"].iloc[0], "check": check, "title": some["title"].iloc[0]}
            | {"unit": some["unit"].iloc[0], "n": int(some["n"].max())}
            | {"before": some["before"].iloc[0], "margin": some["margin"].iloc[0]}
            | {"floor": some["floor"].iloc[0]}
            | {name: int(counts.get(name, 0)) for name in VERDICTS}
            | {"detectable": (some["detectable"] / some["margin"]).median()}
        )
    return pd.DataFrame(rows)


# --- Beside what is published ---------------------------------------------------------------------


def released_score(table: pd.DataFrame, questions: Sequence) -> pd.Series:
    """BBQ's s_AMB as Xu et al.'s released code counts it, by part of the grid (its `compression`).

    questions: those that were asked, or more. Read off the options taken (`answers: bbq`).
    """
    rows = table[table["check"] == f"{ANSWERS}bbq"]
    by_name = {one.item: one for one in questions}
    if not rows["item"].isin(by_name).all():
        raise InputError("The grid was asked other questions of BBQ: give those it was asked.")
    scores = {}
    for part, some in rows.groupby("compression", sort=False):
        asked = [by_name[name] for name in some["item"]]
        taken = some["after"].astype(int).tolist()
        found = stereotypes.bbq_scores(asked, taken, definition="xu2024", by=None)
        scores[part] = found.set_index("condition").loc[CONDITIONS[0], "score"]
    return pd.Series(scores, name="released", dtype=float)


def ranks_by_loss(judged: pd.DataFrame, released: pd.Series | None = None) -> pd.DataFrame:
    """Does held-out text tell a harm? Spearman's correlation over compressions of the change of its
    loss with that of each harm, a row a harm: `score`, `check`, and `published_harms.rank_within`.

    Compressions of one family go together, so families are the clusters of the jackknife. released:
    another score by part of the grid (`released_score`), its seeds averaged, as a row of its own.
    NaN where there are fewer than three families or no spread; `p_holm` is over the rows with a p.
    """
    wide = judged.pivot(index="compression", columns="check", values="difference")
    if LOSS not in wide:
        raise InputError("The grid was not asked held-out text: there is nothing to rank by.")
    titles = {name: HARMS[name].title for name in wide.columns if name != LOSS}
    if released is not None:
        names = without_seed(pd.Series(released.index, index=released.index))
        wide["released"] = released.groupby(names).mean()
        titles["released"] = f"{HARMS['bbq_ambiguous'].title}, as released"
    wide = wide.assign(model="one", family=[dose(label).family for label in wide.index])
    rows = []
    for check, title in titles.items():
        try:
            found = published_harms.rank_within(
                wide, LOSS, check, within="model", clusters=("family",)
            )
        except InputError:
            found = dict.fromkeys(("rho", "ci_low", "ci_high", "p", "detectable"), np.nan)
            found |= {"n": int(wide[check].notna().sum()), "clusters": wide["family"].nunique()}
        rows.append({"score": title, "check": check} | found)
    table = pd.DataFrame(rows)
    order = list(KIND_OF)
    order.insert(order.index("bbq_ambiguous") + 1, "released")
    table = table.sort_values("check", key=lambda names: names.map(order.index))
    return table.assign(p_holm=over_tests(table["p"])).reset_index(drop=True)


def beside_published(judged: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Which way scores go in the published runs, and what the corrected ones came to here: a row a
    harm and kind of compression.

    published: of `published_harms.harms_table`. Columns: `title`, `kind` (quantized or pruned),
    `runs` (compressed ones), `higher` and `lower` (than their uncompressed model's), and here: `n`
    and a column a verdict. No run is tested: their tables hold no items.
    """
    full = published[published["method"] == "none"].set_index("base_model")
    runs = published[published["method"] != "none"]
    theirs = np.where(runs["method"].isin(QUANTIZERS), "quantized", "pruned")
    ours = judged["compression"].map(lambda label: dose(label).kind)
    rows = []
    for check, column in ALSO_PUBLISHED.items():
        for kind in ("quantized", "pruned"):
            some = runs[theirs == kind]
            gap = some[column] - full.loc[some["base_model"], column].to_numpy()
            here = judged[(judged["check"] == check) & (ours == kind)]
            counts = here["verdict"].value_counts()
            rows.append(
                {"check": check, "title": HARMS[check].title, "kind": kind}
                | {"runs": int(gap.notna().sum())}
                | {"higher": int((gap > 0).sum()), "lower": int((gap < 0).sum()), "n": len(here)}
                | {name: int(counts.get(name, 0)) for name in VERDICTS}
            )
    return pd.DataFrame(rows)


# --- The page's own part --------------------------------------------------------------------------


def agreement(mine: pd.DataFrame, larger: pd.DataFrame) -> pd.DataFrame:
    """Does a small grid give what a larger one holds? A row a part of the small one.

    Columns: `compression`; `items`, harm values and answers that both have; `same`, the share of
    0-or-1 harms and options taken that are equal; `nats`, the mean absolute difference of values in
    nats a token; `largest`, the largest of these. A part that the larger one lacks has 0 items.
    """
    keys = ["model", "compression", "check", "item"]
    nats = {name for name, harm in HARMS.items() if harm.unit == "nats a token"}
    # A number that may be any is the same but for rounding, and no answer.
    any_number = {name for name, harm in HARMS.items() if harm.unit == "|C|"}
    both = mine.merge(larger, on=keys, suffixes=("", "_larger"))
    rows = []
    for part in mine["compression"].unique():
        some = both[both["compression"] == part]
        read = some["check"].isin(nats)
        answers = some["check"].str.startswith(ANSWERS)
        gap = (some.loc[read, "value"] - some.loc[read, "value_larger"]).abs()
        whole = some[~read & ~answers & ~some["check"].isin(any_number)]
        equal = [
            np.isclose(whole["value"], whole["value_larger"], equal_nan=True, atol=1e-9),
            (some.loc[answers, "after"] == some.loc[answers, "after_larger"]).to_numpy(),
        ]
        equal = np.concatenate(equal)
        rows.append(
            {
                "compression": part,
                "items": len(some),
                "same": equal.mean() if len(equal) else np.nan,
                "nats": gap.mean(),
                "largest": gap.max(),
            }
        )
    return pd.DataFrame(rows)
