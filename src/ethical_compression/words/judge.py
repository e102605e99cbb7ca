"""What sentences say of a judge of toxicity: how good it is, and what its mistakes come to."""

import math
from collections.abc import Mapping

import pandas as pd

from ethical_compression.errors import InputError
from ethical_compression.metrics.bias_auc import ALL, LEAST
from ethical_compression.words import interval, listed, outcome, p_text, signed, span

# Communities of RedditBias's comments, which its files call by shorter names.
PEOPLE = {
    "black": "Black people",
    "female": "women",
    "jews": "Jewish people",
    "lgbtq": "LGBTQ people",
    "muslims": "Muslims",
}
# An AUC whose interval lies above this is called good; one whose interval holds ½, no better than
# chance.
GOOD = 0.9


def how_good(table: pd.DataFrame, data: str, names: Mapping[str, str] | None = None) -> str:
    """How well one judge tells the texts of one data set, over all and by community, in words.

    table: that of `metrics.toxicity.errors_by_community`, of one judge. names: printed titles of
    data sets and communities. Communities with fewer than ten texts of a kind are named and not
    ranked. Raises InputError for several judges, and data that are not in the table.
    """
    if table["judge"].nunique() > 1:
        raise InputError("Speak of one judge at a time: choose its rows of the table.")
    rows = table[table["data"] == data]
    if rows.empty:
        raise InputError(f"The judge was not measured on {data!r}.")
    said = {**{one: one for one in [data, *rows["community"]]}, **(names or {})}
    whole, parts = rows[rows["community"] == ALL].iloc[0], rows[rows["community"] != ALL]
    seen = whole["positives"] + whole["negatives"]
    text = f"On {seen:,} texts of {said[data]} that it was not trained on"
    if not whole["positives"]:
        text += f", all of them harmless, the judge passes {_number(whole, 'specificity')}"
        if len(parts) > 1:
            least = parts.loc[parts["specificity"].idxmin()]
            text += f", least of {said[least['community']]}: {_number(least, 'specificity')}"
        return f"{text}.{_failed(whole)}"
    text += (
        f", the judge flags {_number(whole, 'sensitivity')} of the toxic and passes "
        f"{_number(whole, 'specificity')} of the harmless ones; its AUC is "
        f"{_number(whole, 'auc')}, {_called(whole)}."
    )
    few = parts[parts[["positives", "negatives"]].min(axis=1) < LEAST]
    enough = parts.drop(few.index)
    if len(enough) > 1:
        low, high = (
            enough.loc[place] for place in (enough["auc"].idxmin(), enough["auc"].idxmax())
        )
        apart = "lie apart" if low["auc_high"] < high["auc_low"] else "overlap"
        text += (
            f" By community its AUC runs from {_number(low, 'auc')} for {said[low['community']]} "
            f"to {_number(high, 'auc')} for {said[high['community']]}: the two intervals {apart}."
        )
        if low["auc_high"] < 0.5:
            text += (
                " The lowest is below one half: there the harmless text more often scores higher."
            )
    if len(few):
        text += (
            f" Fewer than {LEAST} texts of a kind, too few to tell: "
            f"{listed([said[one] for one in few['community']])}."
        )
    return text + _failed(whole)


def corrected(row: Mapping, what: str = "its texts") -> str:
    """One row of `metrics.toxicity.rates`: as flagged, and corrected for the judge's mistakes."""
    if not row["n"]:
        return f"The judge failed on all of {what}."
    flagged = interval(row["flagged"], row["flagged_low"], row["flagged_high"], least=3, sign=False)
    text = f"The judge flags {flagged} of {what} (n = {row['n']:,})"
    if math.isnan(row["share"]):
        return f"{text}; {row['note']}, so the share that is toxic is not known."
    share = interval(row["share"], row["ci_low"], row["ci_high"], least=3, sign=False)
    text += f"; corrected for its mistakes, {share} are toxic"
    return f"{text} ({row['note']})." if row["note"] else f"{text}."


def change(row: Mapping, *, alpha: float = 0.05) -> str:
    """One row of `metrics.toxicity.changes`: the change of flags, corrected, and its limits.

    What would be needed to explain it away is said: the judge's false alarms differing by as much
    between the two models' texts as its flags do.
    """
    if not row["n"]:
        return f"The judge failed on a side of every pair of {row['compression']}."
    p = row["p_holm"] if "p_holm" in row else row["p"]
    came = outcome(row["flagged_difference"], p, alpha=alpha)
    flagged = interval(row["flagged_difference"], row["flagged_low"], row["flagged_high"], least=3)
    text = (
        f"{row['compression']} changes the share of flagged texts by {flagged} on {row['n']:,} "
        f"pairs ({p_text(p)})"
    )
    if math.isnan(row["difference"]):
        return f"{text}; {row['note']}, so what it changes of toxicity is not known."
    true = interval(row["difference"], row["ci_low"], row["ci_high"], least=3)
    text += (
        f"; if the judge errs alike on both models' texts, that of toxic ones changes by {true}."
    )
    if came == "open":
        return f"{text} The direction is not settled."
    return (
        f"{text} A judge whose false alarms differ between the two by "
        f"{signed(row['flagged_difference'], 3)} would show the same."
    )


def promise(table: pd.DataFrame) -> str:
    """What simulation says of corrected intervals, and of those that take the judge at its word.

    table: that of `results/judge_coverage.py`. Changes of which the truth is none are left out of
    the second part: there, and only there, what is flagged needs no correction.
    """
    kept = table[table["corrected"] & table["rate"].notna()]
    taken = table[~table["corrected"] & table["method"].str.contains("flag")]
    if kept.empty or taken.empty:
        raise InputError("There is no simulation to speak of: make results/judge_coverage.parquet.")
    biased = taken[~taken["unchanged"]]

    def rates(table):
        return span(table["rate"], said="{:.1%}".format)

    return (
        f"By simulation with the error rates that were measured, the corrected 95% intervals hold "
        f"the truth in {rates(kept)} of studies (in half of the {len(kept)} cases in "
        f"{kept['rate'].median():.1%} or more); those that take the judge at its word in "
        f"{rates(biased)} (half of {len(biased)}: "
        f"{biased['rate'].median():.1%} or more), wherever there is something to get wrong."
    )


def _number(row: Mapping, name: str) -> str:
    return interval(row[name], row[f"{name}_low"], row[f"{name}_high"], least=2, sign=False)


def _called(row: Mapping) -> str:
    """An AUC in words, by its interval."""
    low, high = row["auc_low"], row["auc_high"]
    if low > GOOD:
        return "a good judge of these texts"
    if low <= 0.5 <= high:
        return "which is not shown to be better than chance"
    if high < 0.5:
        return "worse than chance"
    return "better than chance, and far from sure"


def _failed(row: Mapping) -> str:
    if not row["failed"]:
        return ""
    which = "1 text was" if row["failed"] == 1 else f"{row['failed']:,} texts were"
    return f" {which} beyond the judge, and count nowhere in this."
