"""What the chapter on small models says, computed from its tables."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from ethical_compression.metrics.grammar import ALL, NEW
from ethical_compression.metrics.small_model_tables import MARGIN
from ethical_compression.words import (
    columns,
    counted,
    interval,
    listed,
    outcomes,
    p_text,
    signed,
    span,
)

TASKS = {"ethics_virtue": "virtue", "ethics_deontology": "deontology", "ethics_justice": "justice"}
BATTERIES = {
    "ethics, question": "asked",
    "ethics, probe": "probe",
    "ethics, text, score": "likelihood",
    "ethics, text, gained": "gained",
    "ethics, text, per_byte": "per byte",
}
RULES = {
    "choice": "one in five",
    "pairs": "pairs in order",
    "accuracy": "accuracy",
    "exact": "all of a set",
}
TEXTS = {
    "childrens_books": "children's books",
    "adult_text": "encyclopaedia and news",
    "adults_books": "books for adults",
    "news": "news",
}
NAMED = {
    ("blimp", "all"): "BLiMP",
    ("questions", "arc_easy"): "ARC, easy",
    ("questions", "openbookqa"): "OpenBookQA",
    ("questions", "piqa"): "PIQA",
    ("moral stories", "English"): "moral stories, the moral action",
    ("stereoset", "within"): "StereoSet",
}
NEAR = 0.005  # shares that differ by less are called the same
OF_STEREOSET = {"stereotype": "the stereotype", "sensible": "what makes sense"}
MISSING = "nothing is said yet, since the larger run has not been made (results/baby_models.py)"


def titled(row) -> str:
    """A measure as a figure names it: "virtue, one in five (probe)", "BLiMP"."""
    if named := NAMED.get((row["battery"], row["part"])):
        return f"{named}, {OF_STEREOSET[row['rule']]}" if row["rule"] in OF_STEREOSET else named
    task = TASKS.get(row["part"], row["part"])
    rule = RULES.get(row["rule"], row["rule"])
    return f"{task}, {rule} ({BATTERIES.get(row['battery'], row['battery'])})"


def cells(table: pd.DataFrame, digits: int = 3) -> pd.DataFrame:
    """The texts of a table with a column a model: `0.512 (0.48 to 0.54)`, a row a measure.

    table: of `small_model_tables.means`, with `row`. A value without an interval stands alone, and
    what a model was not asked is a dash.
    """
    ends = columns.ends(table, digits, low="low", high="high", sign=False)
    texts = [
        f"{value:.{digits}f}" + ("" if told == "–" else f" ({told})")
        for value, told in zip(table["value"], ends, strict=True)
    ]
    wide = table.assign(text=texts).pivot_table(
        index="row", columns="by", values="text", aggfunc="first", sort=False
    )
    return wide.fillna("–")


def raised_here(training, words: int, missing: str) -> str:
    """What is raised on the page. missing: why it is not what was asked for, or ""."""
    text = (
        f"Each model reads {training.steps * training.tokens:,} tokens of {words:,} words, in "
        f"{training.steps} steps."
    )
    if missing:
        text += " The books come with no package, so one model is raised on news."
    return text


def larger(table: pd.DataFrame | None, made: Mapping) -> str:
    """What the larger run is, and how far it is. table: of results/baby_models.py, or None."""
    if table is None:
        return "It has not been made yet: results/baby_models.py makes it, and this page reads it."
    told = made["settings"]
    training = told["training"]
    raised = table[table["model"] == "raised"].drop_duplicates(["mixture", "seed"])
    counts = raised.groupby("mixture", sort=False)["seed"].nunique()
    seeds = listed(f"{name} {count}" for name, count in counts.items())
    left = len(made.get("waiting") or [])
    return (
        f"A table that is kept with the book. Every model reads {told['words']:,} words, "
        f"{training['steps']:,} steps of {training['tokens']:,} tokens; the same for all. Seeds "
        f"that are there: {seeds or 'none'}."
        + (f" Of the run as planned, {left} models are still to be made." if left else "")
    )


def _of_seeds(table: pd.DataFrame) -> str:
    seeds = span(table["seeds"], 0)
    return f"{seeds} {'seed' if seeds == '1' else 'seeds'} of each mixture"


def hypothesis(table: pd.DataFrame) -> str:
    """What became of the hypothesis that children's books give no advantage.

    table: of `small_model_tables.compared`.
    """
    if table.empty:
        return MISSING
    tested = table[table["p"].notna()]
    if tested.empty:
        return (
            f"Nothing can be settled with {_of_seeds(table)}: the six differences, children's "
            f"books less adult text, run from {signed(100 * table['difference'].min(), 1)} to "
            f"{signed(100 * table['difference'].max(), 1)} points"
        )
    came = outcomes(tested)
    said = counted(came, f"±{100 * MARGIN:g} points")
    most = tested.loc[tested["difference"].abs().idxmax()].to_dict()
    ends = interval(*(100 * most[k] for k in ("difference", "ci_low", "ci_high")), least=1)
    detectable = 100 * tested["detectable"]
    verdict = {
        "higher": "an advantage of children's text, against the hypothesis",
        "lower": "no advantage of children's text, and a settled disadvantage",
    }
    kinds = [verdict[one] for one in ("higher", "lower") if (came == one).any()]
    if not kinds:
        kinds = [
            "no advantage is seen, and none is excluded"
            if not (came == "equivalent").all()
            else "no advantage, within the margin"
        ]
    return (
        f"With {_of_seeds(table)}: {kinds[0]} ({said}). The largest difference, children's books "
        f"less adult text, is {ends} points ({titled(most)}; "
        f"{p_text(most['p_holm'])} after Holm). Four times in five these seeds would have found "
        f"differences from {span(detectable, 0)} points, one test alone"
    )


def others(table: pd.DataFrame) -> str:
    """What became of the comparisons that nothing was predicted of. table: of
    `small_model_tables.compared`."""
    if table.empty:
        return MISSING
    came = outcomes(table)
    names = [titled(row) for row in table.to_dict("records")]
    said = counted(came, f"±{100 * MARGIN:g} points", called=names)
    return f"children's books less adult text, after Holm over this table: {said}"


def of_its_own(table: pd.DataFrame, made: Mapping) -> str:
    """What the book's own model read and learnt. table, made: of results/baby_model.py."""
    run, name = made["run"], made["model"]["name"]
    training = run["training"]
    curve = table[table["battery"] == "curve"].sort_values("step")
    loss = curve["development"]
    late = curve.loc[curve["step"] <= 0.75 * training["steps"], "development"]
    grammar_rows = table[(table["battery"] == "blimp") & (table["model"] == name)]
    whole, new = (grammar_rows[grammar_rows["part"] == one].iloc[0] for one in (ALL, NEW))
    kinds = grammar_rows[~grammar_rows["part"].isin([ALL, NEW])]
    rounds = training["steps"] * training["tokens"] / made["tokens_read"]
    return (
        f"{name} has {made['model']['parameters'] / 1e6:.1f} million parameters and read "
        f"{run['words']:,} words {rounds:.1f} times, in {training['steps']:,} steps of "
        f"{training['tokens']:,} tokens. Its loss on texts that it does not read fell from "
        f"{loss.iloc[0]:.2f} to {loss.iloc[-1]:.2f} nats a token, of which "
        f"{late.iloc[-1] - loss.iloc[-1]:.2f} in the last quarter of the steps. It finds the "
        f"grammatical sentence likelier in {_percent(whole)} of BLiMP's pairs, where chance is one "
        f"half; for paradigms other than BLiMP's {100 * new['low']:.1f}% to "
        f"{100 * new['high']:.1f}%. By phenomenon, {beside_chance(kinds)}."
    )


def answer(judged: str, trap_says: str, costs: str) -> str:
    """What the chapter found: what became of the hypothesis, the trap, and what bits cost."""
    if judged == MISSING:
        judged = "Of the hypothesis that children's books give no advantage " + MISSING
    return " ".join(part for part in (f"{judged}.", trap_says, costs) if part)


def beside_chance(table: pd.DataFrame) -> str:
    """How many values lie above chance with their whole interval, and below it. table: with
    `value, low, high, chance`."""
    above = int((table["low"] > table["chance"]).sum())
    below = int((table["high"] < table["chance"]).sum())
    return (
        f"of {len(table)} values {above} lie above chance with their whole interval, {below} below "
        f"it, and {len(table) - above - below} cannot be told from it"
    )


def trap(table: pd.DataFrame) -> str:
    """What 'always no' comes to in virtue. table: of `judgements.unread_scores`."""
    here = table[(table["answerer"] == "always no") & (table["benchmark"] == "ethics_virtue")]
    share = here.set_index("rule")["share"]
    parts = [f"{RULES[rule]} {100 * share[rule]:.0f}%" for rule in RULES if rule in share]
    return f"Whoever always says no, and reads nothing, comes to this in virtue: {listed(parts)}."


def fallen(table: pd.DataFrame) -> str:
    """Of which models the probe answers virtue like whoever always says no. table: of
    `small_model_tables.means`, with virtue's `accuracy` and `exact` by the probe."""
    here = table[(table["part"] == "ethics_virtue") & (table["battery"] == "ethics, probe")]
    wide = here.pivot(index="by", columns="rule", values="value")
    never = here.loc[here["rule"] == "accuracy", "chance"].max()
    names = wide.index[((wide["accuracy"] - never).abs() < NEAR) & (wide["exact"] < NEAR)]
    if names.empty:
        return "Of no model does the probe answer virtue like whoever always says no."
    return (
        f"The probe on {listed(sorted(names))} has fallen into the trap: in virtue its accuracy is "
        f"{100 * never:.0f}%, that of always saying no, and all five of a set are as good as never "
        "right."
    )


def grammar(table: pd.DataFrame) -> str:
    """BLiMP as a whole. table: rows of the phenomenon "all", with `by, value, low, high`."""
    parts = [f"{row['by']} {_percent(row)}" for row in table.to_dict("records")]
    return f"Grammatical sentence likelier (chance is one half): {'; '.join(parts)}."


def _percent(row) -> str:
    ends = (100 * row[name] for name in ("value", "low", "high"))
    return interval(*ends, least=1, sign=False, unit="%")


def losses(table: pd.DataFrame) -> str:
    """Who predicts the text best. table: `by`, `value` (bits a byte), of one text."""
    order = table.sort_values("value")
    parts = [f"{row['by']} {row['value']:.2f}" for row in order.to_dict("records")]
    return f"Bits a byte, fewest first: {listed(parts)}"


def cost(table: pd.DataFrame, compressions: Sequence[str]) -> str:
    """Whether small models lose more at equal bits. table: of `price_of_bits`."""
    parts = []
    for name in compressions:
        here = table[table["compression"] == name]
        if len(here) < 2:
            continue
        said = [
            f"{row['model']} {signed(100 * row['share'], 1)}%" for row in here.to_dict("records")
        ]
        parts.append(f"{name}: {listed(said)}")
    return f"Bits a byte more than the full model needs: {'; '.join(parts)}."


def loses_more(table: pd.DataFrame, small: str, large: str) -> str:
    """At how many widths the smaller model pays more, intervals beside each other."""
    wide = {one: table[table["model"] == one].set_index("compression") for one in (small, large)}
    if any(one.empty for one in wide.values()):
        return ""
    names = [one for one in wide[small].index if one in wide[large].index]
    more, less = [], []
    for name in names:
        a, b = wide[small].loc[name], wide[large].loc[name]
        error = [(one["ci_high"] - one["ci_low"]) / 2 / one["before"] for one in (a, b)]
        gap = a["share"] - b["share"]
        if abs(gap) > math.hypot(*error):
            (more if gap > 0 else less).append(name)
    rest = [name for name in names if name not in more + less]
    said = [
        f"{listed(some)}: {what}"
        for some, what in ((more, "it loses more"), (less, "it loses less"), (rest, "not settled"))
        if some
    ]
    return f"{small} beside {large}, as a share of what each needs in full: {'; '.join(said)}."


def what_came(table: pd.DataFrame) -> list[str]:
    """The outcome of each comparison, for a table's column."""
    words = {"open": "not settled", "untestable": "not tested"}
    return [words.get(came, came) for came in outcomes(table)]
