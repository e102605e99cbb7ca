"""What the tables of Part I came to, in sentences with a wording for every outcome.

The tables are those of `metrics.classification.changes` and `by_community`; an outcome is settled
by the p-values that count all rows of its table (Holm).
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from ethical_compression.metrics import bias_auc
from ethical_compression.words import (
    SETTLED,
    counted,
    foremost,
    from_to,
    listed,
    outcome_of,
    outcomes,
    signed,
    span,
    with_interval,
)

AUCS = {"subgroup": "Subgroup", "bpsn": "BPSN", "bnsp": "BNSP"}
# Scores of `metrics.classification.by_run`: in a sentence, and at the head of a column.
SCORES = {"macro_f1": "macro F1"} | {one: f"the {name} AUC (M₋₅)" for one, name in AUCS.items()}
TITLES = {"macro_f1": "Macro F1", "calibration_error": "Cal. error"} | {
    one: f"{name} (M₋₅)" for one, name in AUCS.items()
}
# What is settled is so after Holm, which a single test's power does not count.
FOUR_OF_FIVE = "by a single test in four studies of five"


def change(row: Mapping, what: str, margin: float) -> str:
    """One row as a clause without its subject: "lowers macro F1: −0.031 (95% interval …)"."""
    came = outcome_of(row)
    if came == "untestable":
        return f"could not be tested on {what}"
    said = {
        "lower": f"lowers {what}",
        "higher": f"raises {what}",
        "equivalent": f"keeps {what} within ±{margin:g}",
        "open": f"leaves open what becomes of {what}",
    }[came]
    return f"{said}: {with_interval(row)}"


def changes(found: pd.DataFrame, what: str, margin: float) -> str:
    """What a table of `metrics.classification.changes`, made with that margin, came to."""
    name = found.columns[0]
    came = outcomes(found)
    if not len(found) or set(came) == {"untestable"}:
        return f"Nothing can be said of {what}: no change of it could be tested."
    seeds = found["seeds"].min()
    if len(found) == 1:
        row = found.iloc[0]
        text = f"“{row[name]}” {change(row, what, margin)}."
    else:
        most, which = foremost(found, came=came)
        text = (
            f"Changes of {what}, after Holm: {counted(came, f'±{margin:g}', called=found[name])}. "
            f"The {which} is that of “{most[name]}”: {with_interval(most)}."
        )
    small = found[came.isin(SETTLED) & (found["p_tost_holm"] < 0.05)]
    if len(small):
        text += f" Settled, and yet shown to lie within ±{margin:g}: {'; '.join(small[name])}."
    detectable = found.loc[came == "open", "detectable"].max()
    if detectable == detectable:
        text += (
            f" Not settled does not mean unchanged: with {seeds} seeds a change is found "
            f"{FOUR_OF_FIVE} from {detectable:.3f} on."
        )
    return text


def community_changes(found: pd.DataFrame, margin: float) -> str:
    """What a table of `metrics.classification.by_community` came to."""
    came = outcomes(found)
    if not set(came) - {"untestable"}:
        return "Nothing can be said of single communities: no change could be tested."
    most, which = foremost(found, came=came)
    communities = found["community"].nunique()
    metrics, names = found["metric"].nunique(), found["compression"].unique()
    some = ", as far as posts are enough" if len(found) < communities * metrics * len(names) else ""
    picked = int((found["p_bh"] < 0.05).sum())
    text = (
        f"Changes of a community's bias AUC ({communities} "
        f"{'community' if communities == 1 else 'communities'}, {metrics} AUCs{some}; full against "
        f"{listed(f'“{name}”' for name in names)}), after Holm: "
        f"{counted(came, f'±{margin:g}')}. A screen (Benjamini–Hochberg, 5%) picks {picked}. The "
        f"{which} is {with_interval(most)}, in the {AUCS[most['metric']]} AUC of posts about "
        f"“{most['community']}” with “{most['compression']}”."
    )
    detectable = found.loc[came == "open", "detectable"].median()
    if detectable == detectable:
        text += (
            f" Of what is not settled, half could have been found {FOUR_OF_FIVE} only "
            f"from {detectable:.3f} on."
        )
    return text


def settled(found: Mapping[str, pd.DataFrame]) -> str:
    """What each setting does to several scores, after Holm: {score: table of changes}."""
    moved: dict[str, dict[str, list[str]]] = {}
    for what, table in found.items():
        for setting, came in zip(table.iloc[:, 0], outcomes(table), strict=True):
            moved.setdefault(setting, {}).setdefault(came, []).append(what)
    said = {"higher": "raises", "lower": "lowers"}
    texts = []
    for setting, by in moved.items():
        parts = [f"{verb} {', '.join(by[came])}" for came, verb in said.items() if came in by]
        if parts:
            texts.append(f"“{setting}” {'; '.join(parts)}.")
    return " ".join(texts) or "Nothing: no change of any score is settled after Holm."


def answer(subject: str, rows: Sequence[tuple[str, Mapping]], margin: float) -> str:
    """A chapter's answer: what `subject` does to each score, and what an open one could have shown.

    rows: (score, row of a table of changes).
    """
    clauses = []
    for what, row in rows:
        clause = change(row, what, margin)
        if outcome_of(row) == "open" and not math.isnan(row["detectable"]):
            clause += f", where {row['detectable']:.3f} or more is found {FOUR_OF_FIVE}"
        clauses.append(clause)
    return f"{subject} {'; '.join(clauses)}."


def answer_by_strength(
    subject: str, found: Mapping[str, pd.DataFrame], margin: float, symbol: str = "λ"
) -> str:
    """As `answer`, of every strength that `subject` was tried with: none is picked.

    found: {score: rows of a table of changes, with the column `strength`}. Of the strengths that
    moved a score one way the largest change is said with its interval, of those that leave it open
    what they could have found; scores of which the same is said share a clause.
    """
    names = {
        "higher": "higher",
        "lower": "lower",
        "equivalent": f"shown to move by less than {margin:g}",
        "open": "not settled",
        "untestable": "not testable",
    }
    same: dict[str, list[str]] = {}
    for what, rows in found.items():
        came = outcomes(rows)
        parts = []
        for name, said in names.items():
            mine = rows[came == name].sort_values("strength")
            if mine.empty:
                continue
            text = f"{said} at {symbol} = {listed(f'{one:g}' for one in mine['strength'])}"
            if name in SETTLED:
                most = mine.loc[mine["difference"].abs().idxmax()]
                which = f", most at {most['strength']:g}" if len(mine) > 1 else ""
                text += f"{which}: {with_interval(most)}"
            elif name == "open" and mine["detectable"].notna().any():
                text += f" (from {mine['detectable'].max():.3f} on found {FOUR_OF_FIVE})"
            parts.append(text)
        same.setdefault(", ".join(parts) or "not compared", []).append(what)
    clauses = (
        f"{listed(scores)} {'is' if len(scores) == 1 else 'are each'} {text}"
        for text, scores in same.items()
    )
    return f"{subject}, after Holm: {'; '.join(clauses)}."


def community_answer(found: pd.DataFrame, margin: float) -> str:
    """`community_changes` as short as a first screen needs it."""
    came = outcomes(found)
    if not set(came) - {"untestable"}:
        return "Nothing can be said of single communities."
    most, which = foremost(found, came=came)
    communities = found["community"].nunique()
    with_what = f" with “{most['compression']}”" if found["compression"].nunique() > 1 else ""
    text = (
        f"Of {len(found)} changes of the bias AUCs of {communities} communit"
        f"{'y' if communities == 1 else 'ies'}, as far as posts are enough, after Holm: "
        f"{counted(came, f'±{margin:g}')}; the {which} is {with_interval(most)}, "
        f"{AUCS[most['metric']]} of posts about “{most['community']}”{with_what}"
    )
    if "largest settled" in which or math.isnan(most["detectable"]):
        return f"{text}."
    return f"{text}, where {most['detectable']:.3f} or more is found {FOUR_OF_FIVE}."


def changes_of(
    found: Mapping[str, pd.DataFrame], titles: Mapping[str, str], margin: float
) -> dict[str, str]:
    """{"macro-f1-says": `changes` of macro F1, …} of the tables of `classification.changes_of`.

    titles: what each score is called in a sentence.
    """
    return {
        f"{value.replace('_', '-')}-says": changes(table, titles[value], margin)
        for value, table in found.items()
    }


# --- Before the results ---------------------------------------------------------------------------


def setting(encoder: Mapping, record: Mapping, train: int, test: int, seeds: int) -> dict[str, str]:
    """What a page's classifiers are, each by the name that its text is glued under.

    encoder: as `encoders.describe` has it; record: of the posts trained on
    (`hate_speech.source_record`); train, test: numbers of posts.
    """
    return {
        "model": encoder["name"],
        "parameters": f"{encoder['parameters'] / 1e6:.0f}",
        "model-caveat": encoder["caveat"] or "Its weights are as published.",
        "data": f"{record['title']} ({record['part'].replace('_', ' ')} split)",
        "data-caveat": record["caveat"],
        "train": f"{train:,}",
        "test": f"{test:,}",
        "seeds": str(seeds),
    }


def backgrounds(everyone: pd.DataFrame, listed: pd.DataFrame, members: pd.DataFrame) -> str:
    """What the choice of a background does: `bias_auc.by_run` of the same runs with either.

    members: (posts, communities), as `bias_auc.membership`.
    """
    outside = int((~members.any(axis=1)).sum())
    text = f"Here {outside} of {len(members):,} test posts mention no listed community"
    if not outside:
        return f"{text}: the two backgrounds are the same posts, and so are the numbers."
    crossed = everyone["metric"].isin(["bpsn", "bnsp"]).to_numpy()
    moved = (listed["auc"].to_numpy() - everyone["auc"].to_numpy())[crossed]
    return (
        f"{text}, and the choice moves a BPSN or BNSP AUC by up to {np.nanmax(np.abs(moved)):.3f}."
    )


def near_half(
    shares: Iterable[float],
    whose: str = "a full model",
    after: Mapping[str, Iterable[float]] | None = None,
) -> str:
    """How many scores lie within 0.05 of one half: `share` of `metrics.classification.near_half`.

    after: {compression: shares of its runs}; those are named whose scores lie mostly there, since a
    compression can bring them there.
    """

    def said(shares: Iterable[float]) -> str:
        return span(shares, said="{:.0%}".format)

    shares = np.asarray(list(shares), dtype=float)
    if not len(shares) or np.isnan(shares).all():
        return "How many toxic scores lie near one half is not known."
    text = f"{said(shares)} of {whose}'s toxic scores lie within 0.05 of one half"
    near = [
        f"“{name}” {said(part)}" for name, part in (after or {}).items() if np.mean(part) >= 0.5
    ]
    if near:
        text += f", with {listed(near)}"
    if np.nanmean(shares) < 0.5 and not near:
        return f"{text}."
    return (
        f"{text}: a shift of all scores by a few hundredths moves most of them across it, so what "
        "is cut there, as macro F1 is for two classes, says little; AUCs ask for the order alone."
    )


def against_constant(gold: Sequence[int], accuracy: float, macro_f1: float) -> str:
    """Does the full model do better than one that always names the commonest class?"""
    share = float(np.bincount(np.asarray(gold, dtype=int)).max() / len(gold))
    classes = len(np.unique(gold))
    constant = 2 * share / (1 + share) / classes
    said = {
        (True, True): "is above both",
        (True, False): "is above the accuracy and not above the macro F1",
        (False, True): "is above the macro F1 and not above the accuracy",
        (False, False): "is above neither",
    }[accuracy > share, macro_f1 > constant]
    return (
        f"Always naming the commonest class has an accuracy of {share:.3f} and a macro F1 of "
        f"{constant:.3f}; the full model, with {accuracy:.3f} and {macro_f1:.3f}, {said}."
    )


def below_chance(table: pd.DataFrame, full: str = "full", whose: str = "full model") -> str:
    """Which bias AUCs of the uncompressed model lie below one half: from `bias_auc.over_seeds`.

    full: its name in the column `compression`; whose: how it is called in the sentence.
    """
    part = table[(table["compression"] == full) & table["metric"].isin(list(AUCS))]
    part = part[(part["community"] != bias_auc.ALL) & part["auc"].notna()]
    if part.empty:
        return f"The {whose} has no bias AUC here."
    below = part[part["auc"] < 0.5]
    if below.empty:
        return f"No bias AUC of the {whose} lies below one half."
    sure = int((below["ci_high"] < 0.5).sum())
    names = "; ".join(
        f"{AUCS[row.metric]} of posts about “{row.community}” {row.auc:.3f}"
        + ("" if math.isnan(row.ci_low) else f" ({row.ci_low:.3f} to {row.ci_high:.3f})")
        for row in below.itertuples()
    )
    return (
        f"The {whose} itself lies below one half in {len(below)} of {len(part)} bias AUCs; for "
        f"{sure or 'none'} the interval does, too (uncorrected): {names}."
    )


def sets_of_communities(shared: pd.DataFrame, own: pd.DataFrame) -> str:
    """Both rules of `bias_auc.aggregate` beside each other, on means over runs."""
    parts = []
    for metric, title in AUCS.items():
        one, other = (table[table["metric"] == metric] for table in (shared, own))
        if one.empty:
            continue
        numbers = [int(table["communities"].max()) for table in (one, other)]
        if numbers[0] == numbers[1]:
            parts.append(f"{title} {one['auc'].mean():.3f} over {numbers[0]} by either rule")
        else:
            parts.append(
                f"{title} {one['auc'].mean():.3f} over {numbers[0]}, "
                f"{other['auc'].mean():.3f} over its own {numbers[1]}"
            )
    return f"M₋₅ of the full model: {'; '.join(parts)}." if parts else "There is no mean to show."


# --- Beside what was published --------------------------------------------------------------------


def published_cuts(published: pd.DataFrame) -> str:
    """What the published table of removed layers says: from `kept_tables.published`."""
    losses, fewer, columns = [], [], ["significant_subgroup", "significant_bpsn"]
    columns.append("significant_bnsp")
    for model, part in published.groupby("model", sort=False):
        part = part.sort_values("layers_kept", ascending=False)
        losses.append(part["f1"].iloc[0] - part["f1"].iloc[-1])
        for column in columns:
            steps = part[column].dropna().diff().dropna()
            if (steps < 0).any():
                fewer.append(f"{model} by {AUCS[column.removeprefix('significant_')]}")
    text = (
        f"From the full encoder to half of its layers macro F1 falls by {min(losses):.1f} to "
        f"{max(losses):.1f} points"
        if min(losses) > 0
        else f"From the full encoder to half of its layers macro F1 changes by "
        f"{signed(-max(losses), 1)} to {signed(-min(losses), 1)} points"
    )
    if fewer:
        return f"{text}; a deeper cut touches fewer communities in {', '.join(fewer)}."
    return f"{text}, and no deeper cut touches fewer communities than the one before it."


def beside(rows: Sequence[tuple[str, float, float, Mapping]], margin: float) -> str:
    """Published changes beside ours: (score, published before, after, our row of `changes`).

    Where several settings were tried, all of them are to be given, the setting named in the score.
    """
    parts, alike, tested = [], [], 0
    for title, before, after, row in rows:
        came = outcome_of(row)
        if came in SETTLED:
            tested += 1
            if (came == "higher") == (after > before) and after != before:
                alike.append(title)
        # A digit more where a change would not show, so that its direction can be seen.
        digits = 3 if f"{before:.3f}" != f"{after:.3f}" else 4
        published = from_to(before, after, digits)
        parts.append(f"{title} {published}, ours {change(row, 'it', margin)}")
    text = f"Published: {'; '.join(parts)}."
    if not tested:
        return f"{text} None of ours is settled, so that no direction can be compared."
    if tested == 1:
        which = "the same" if alike else "another"
        return f"{text} The one of ours that is settled has {which} direction."
    which = f"{len(alike)} ({listed(alike)})" if 0 < len(alike) < tested else str(len(alike))
    return f"{text} Of the {tested} of ours that are settled, {which} in the same direction."


def weighted(
    title: str,
    labels: Sequence[str],
    weights: Mapping[str, Sequence[float]],
    relabelled: Mapping[str, float],
    row: Mapping,
    margin: float,
) -> str:
    """Class weights of the test posts for those of the training posts: does it show?

    weights: "train" and "test", one a label; relabelled: share of posts that get another class with
    the other "weights" and with another "seed"; row: of `changes`, from the first to the second.
    """
    said = ", ".join(
        f"{label} {a:.3f} and {b:.3f}"
        for label, a, b in zip(labels, weights["train"], weights["test"], strict=True)
    )
    more, seed = relabelled["weights"], relabelled["seed"]
    compared = "more than" if more > seed else "fewer than" if more < seed else "as many as"
    return (
        f"{title}: counted on training and on test posts the weights are {said}. The second ones "
        f"give {more:.1%} of the test posts another class, {compared} another seed does "
        f"({seed:.1%}). Training with them {change(row, 'macro F1', margin)}."
    )
