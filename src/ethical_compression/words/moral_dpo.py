"""What training a moral preference came to, in sentences: each is computed.

Every function takes rows as `dose_response` gives them and has a wording for each of
`words.OUTCOMES`. A change is counted *to the trained side*: down is up where the immoral action was
trained.
"""

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from ethical_compression.datasets.moral_stories import DIRECTIONS
from ethical_compression.figures.moral import LANGUAGES
from ethical_compression.statistics.dose_response import DoseResponse
from ethical_compression.words import (
    columns,
    counted,
    interval,
    listed,
    outcome,
    p_text,
    p_value,
    signed,
    with_interval,
)

MISTRAL = 7_241_732_096  # weights of Mistral-7B, which they train
TOWARD = {
    "lower": "moved away from the trained side",
    "higher": "moved to the trained side",
}
SHORT = {
    "lower": "moves away from the trained side",
    "higher": "moves to it",
    "equivalent": "stays within the margin",
    "open": "is not settled",
    "untestable": "cannot be tested",
}


def study_size(parameters: float) -> str:
    """How large the model that the study trains is beside one with so many weights."""
    times = MISTRAL / parameters
    if 0.9 < times < 1.1:
        return "The study trains Mistral-7B, about as large."
    return f"The study trains Mistral-7B, about {times:,.{0 if times >= 2 else 1}f} times as large."


def toward(row: Mapping) -> dict:
    """A row of `dose_response.against_base`, its change counted to the trained side."""
    row = dict(row)
    if row["direction"] == "immoral":
        ends = {"ci_low": -row["ci_high"], "ci_high": -row["ci_low"]}
        row |= {"difference": -row["difference"]} | ends
    return row


def moved(row: Mapping) -> str:
    """What a row of `against_base` (with `within`) came to: one of `words.OUTCOMES`."""
    row = toward(row)
    return outcome(row["difference"], row["p_holm"], row.get("p_within_holm", math.nan))


def of_runs(row: Mapping) -> str:
    """What a test is over, and so whom it speaks of."""
    if row["runs"] == 1:
        return "tested over stories, of this one run"
    return f"tested over stories and {row['runs']} runs"


def training(row: Mapping, where: str, within: float) -> str:
    """One row of `against_base` as a sentence. where: the stories, as in "44 stories in French"."""
    said = toward(row)
    text = (
        f"{DIRECTIONS[row['direction']]} on {row['size']:,} pairs changes the margin by "
        f"{with_interval(said)} nats a token to the trained side on {where}, {of_runs(row)}: d_z "
        f"{signed(abs(row['d_z']) * math.copysign(1, said['difference']), 2)}, "
        f"{p_text(row['p'])}, {p_text(row['p_holm'])} after Holm. The moral action is preferred in "
        f"{row['share']:.0%} of them."
    )
    endings = {
        "equivalent": f" That the change lies within ±{within:g} is shown "
        f"({p_text(row.get('p_within_holm', math.nan))} after Holm).",
        "open": f" Not settled: {row['detectable']:.3f} would have been found four times in five.",
        "lower": " That is away from the side that was trained.",
    }
    return text + endings.get(moved(row), "") + _small(row, moved(row), within)


def _small(row: Mapping, found: str, within: float) -> str:
    """What is to be said beside a difference that is settled, and lies within the margin."""
    settled = found in ("lower", "higher") and row.get("p_within_holm", math.nan) < 0.05
    return f" It is shown to lie within ±{within:g} all the same." if settled else ""


def fewest(tests: pd.DataFrame, direction: str, language: str) -> str:
    """The smallest size whose change to the trained side is settled in the language trained in."""
    mine = tests[(tests["direction"] == direction) & (tests["language"] == language)]
    sizes = [row["size"] for row in mine.to_dict("records") if moved(row) == "higher"]
    if not sizes:
        return f"No size tried has a settled change toward the {direction} side."
    return f"The fewest pairs with a settled change toward the {direction} side are {min(sizes):,}."


def movements(tests: pd.DataFrame, within: float) -> str:
    """How many rows of `against_base` moved where, the parts adding up."""
    return counted(map(moved, tests.to_dict("records")), f"±{within:g} of no change", TOWARD)


def dose(direction: str, curve: DoseResponse) -> str:
    """Slope and ED50 of one direction, for every way in which they can turn out."""
    slope = interval(curve.slope, curve.slope_low, curve.slope_high)
    text = (
        f"{DIRECTIONS[direction]}: slope {slope} a unit of log(1 + n), {p_text(curve.p)}, over "
        f"{curve.stories} stories and {curve.runs - 1} runs."
    )
    found = outcome(curve.slope, curve.p)
    most = max(curve.observed)
    if found == "lower":
        return f"{text} The share falls from the trained side as pairs are added: no ED50."
    low = f"{curve.ed50_low:,.0f}"
    if found == "open":
        least = (
            f" If it rises, half of what was left to turn takes more than {low} pairs."
            if 0.5 <= curve.ed50_low < 1e5
            else ""
        )
        return f"{text} Whether the share rises with the pairs is not settled: no ED50.{least}"
    if curve.ed50 > 100 * most:
        least = f"more than {low}" if curve.ed50_low < 1e5 else "far more than were tried"
        return f"{text} ED50 lies beyond the {most:,} pairs tried: {least}."
    high = f"{curve.ed50_high:,.0f}" if curve.ed50_high < 1e5 else "more than can be told"
    beyond = f", beyond the {most:,} tried" if curve.ed50 > most else ""
    return f"{text} ED50 is {curve.ed50:,.0f} pairs{beyond} (95% interval {low} to {high})."


def fitted(direction: str, curves: Mapping[str, DoseResponse], problems: Mapping[str, str]) -> str:
    """`dose` of a direction, or why no curve can be fitted (`dose_response.by_side`)."""
    if direction not in curves:
        return f"{DIRECTIONS[direction]}: no curve can be fitted. {problems[direction]}"
    return dose(direction, curves[direction])


def change_table(tests: pd.DataFrame, margin: float, caption: str) -> dict:
    """A table of `against_base` (with `within=margin`) for readers: what `chapters.table` takes."""
    within = f"p (within ±{margin:g}, Holm)"
    shown = tests.assign(
        direction=tests["direction"].map(DIRECTIONS),
        language=tests["language"].replace(LANGUAGES).str.replace("\n", " "),
        interval=columns.ends(tests),
    )
    titles = {"direction": "Direction", "size": "Pairs"}
    if "trained" in tests.columns:
        shown["trained"] = tests["trained"].str[-2:].map(LANGUAGES)
        titles["trained"] = "Trained in"
    titles |= {"language": "Tested in", "n": "n", "runs": "Runs", "share": "Moral preferred"}
    titles |= {"difference": "Change of margin", "interval": "95% interval", "d_z": "d_z"}
    return {
        "data": shown,
        "columns": titles | {"p": "p", "p_holm": "p (Holm)", "p_within_holm": within},
        "caption": f"{caption} Change of the margin of held-out stories (nats a token) from the "
        "model before training, paired by story. One run: over stories; several: over stories and "
        "runs. The last column tests that the change is none to speak of. Holm over the table.",
        "formats": {
            "Moral preferred": ".2f",
            "Change of margin": signed,
            "d_z": lambda value: signed(value, 2),
            within: p_value,
        },
    }


# --- The kept run ---------------------------------------------------------------------------------


def kept_run(
    made: Mapping, public: pd.DataFrame, home: pd.DataFrame, parallel: pd.DataFrame
) -> str:
    """How the kept run was made: settings, seeds at each size, and on whose stories it is tested.

    made: its record; public, home, parallel: its verdicts, of all corpora, of the one trained on,
    and of the one that is the same in both languages.
    """
    seeds = public[public["size"] > 0].groupby("size")["seed"].nunique()
    sizes = ", ".join(
        f"{size:,} pairs with {many} seed{'' if many == 1 else 's'}" for size, many in seeds.items()
    )
    how = made["settings"]
    return (
        f"learning rate {how['learning_rate']:g}, rank {how['rank']}, {how['epochs']} passes; "
        f"{sizes} in both directions; {home['story'].nunique()} other stories of Moral Stories to "
        f"test on, and {parallel['story'].nunique()} of HistoiresMorales, the same in both "
        "languages"
    )


def made(record: Mapping) -> str:
    """On what machine a kept run was made, and in how many minutes."""
    machine = record["hardware"]
    return (
        f"{record['minutes']:.0f} minutes on {machine['GPU'] or machine['processor']}, "
        f"{machine['cores']} cores"
    )


def moved_away(tests: pd.DataFrame, within: float) -> str:
    """`movements` for each other place that was tested on, by its language."""
    return "; ".join(
        f"in {where.split(',')[0]}, {movements(rows, within)}"
        for where, rows in tests.groupby("language", sort=False)
    )


def kept_costs(costs: Sequence[Mapping]) -> str:
    """Perplexity and accuracy of the kept run's models beside those of the model before."""
    before, *after = costs
    times = listed(
        f"×{row['perplexity'] / before['perplexity']:.2f} for {row['compression']}" for row in after
    )
    accuracy = listed(f"{row['accuracy']:.2f}" for row in after)
    return (
        f"{times} on {before['windows']} windows of WikiText-2; accuracy on {before['items']} "
        f"questions of PIQA goes from {before['accuracy']:.2f} to {accuracy}"
    )


def off_the_line(direction: str, curve: DoseResponse) -> str:
    """The shares beside the fitted line: what a line through so few sizes hides."""
    points = listed(
        f"{share:.0%} at {pairs:,} (line: {float(curve.preference(pairs)):.0%})"
        for pairs, share in curve.observed.items()
    )
    return f"{DIRECTIONS[direction]} {points}"


def carried(rows: pd.DataFrame, within: float) -> str:
    """Does training carry over to stories that were not trained on? rows: of `against_base`."""
    found = [moved(row) for row in rows.to_dict("records")]
    kinds = set(found)
    start = {
        ("higher",): "Here it carries over at every size",
        ("lower",): "Here it turns against what was trained at every size",
        ("equivalent",): "Here nothing carries over",
    }.get(tuple(kinds), "Here it carries over in part" if "higher" in kinds else None)
    start = start or "Here that it carries over is not shown"
    return f"{start}: {movements(rows, within)}."


def words_alone(own: pd.DataFrame, public: pd.DataFrame, within: float) -> str:
    """What two corpora tell together about what was learned: of words, or of more.

    own: rows of `against_base` on stories whose words give nothing away; public: on stories whose
    words do, with the same number of pairs.
    """
    there = {moved(row) for row in public.to_dict("records")}
    here = {moved(row) for row in own.to_dict("records")}
    changes = listed(
        f"{DIRECTIONS[row['direction']]} {with_interval(toward(row))}"
        for row in own.to_dict("records")
    )
    text = (
        f"On this book's stories, where words give nothing away, {own['size'].iloc[0]:,} pairs "
        f"change the margin to the trained side by {changes} nats a token"
    )
    if there != {"higher"}:
        return f"{text}. As Moral Stories did not turn both ways, there is nothing to compare."
    if here == {"equivalent"}:
        return (
            f"{text}, which is shown to lie within ±{within:g}: what was learned on Moral Stories "
            "may have been words."
        )
    if here == {"higher"}:
        return f"{text}, which is settled: more is learned than words."
    if here <= {"open", "untestable"}:
        least = own["detectable"].max()
        return (
            f"{text}. That is neither settled nor shown to lie within ±{within:g}, so whether "
            "words are what was learned on Moral Stories cannot be told; a change of "
            f"{least:.3f} would have been found four times in five."
        )
    said = listed(
        f"{DIRECTIONS[row['direction']]} {SHORT[moved(row)]}" for row in own.to_dict("records")
    )
    return f"{text}: {said}. So the two directions do not tell the same."


def across(rows: pd.DataFrame, within: float) -> str:
    """Whether what is trained in one language shows in the other; rows with `trained` another."""
    said = "; ".join(
        f"{DIRECTIONS[row['direction']]}, {LANGUAGES[row['trained'][-2:]]} to "
        f"{LANGUAGES[row['language']]} {with_interval(toward(row))}, {p_text(row['p_holm'])}"
        for row in rows.to_dict("records")
    )
    return f"{movements(rows, within)} ({said}, after Holm)"


def cost(rows: pd.DataFrame, within: float) -> str:
    """Of the largest runs: how the negative log-likelihood of running text changed.

    rows: `model`, `difference`, `ci_low`, `ci_high`, `p_holm`, `p_within_holm`.
    """
    wording = {
        "higher": "higher, so the text is read worse",
        "lower": "lower, so the text is read better",
        "equivalent": f"shown to lie within ±{within:g} of no change",
        "open": f"neither settled nor shown to lie within ±{within:g}",
        "untestable": "not testable",
    }
    parts = []
    for row in rows.to_dict("records"):
        found = outcome(row["difference"], row["p_holm"], row["p_within_holm"])
        part = f"{row['compression']} changes it by {with_interval(row)} nats a token"
        part += f", {wording[found]}"
        small = _small(row, found, within)
        parts.append(f"{part}, and shown to lie within ±{within:g} all the same" if small else part)
    return "; ".join(parts)


def trained(own: pd.DataFrame, public: pd.DataFrame, within: float, stories: str) -> str:
    """The answer of *How few examples turn it?*, from rows of `against_base` with one size each."""

    def said(rows):
        parts = []
        for row in rows.to_dict("records"):
            found = moved(row)
            ending = {
                "lower": "is settled, and away from the trained side",
                "higher": "is settled",
                "equivalent": f"is shown to lie within ±{within:g}",
                "open": f"is not settled ({row['detectable']:.3f} is found four times in five)",
                "untestable": "cannot be tested",
            }[found]
            change = with_interval(toward(row))
            toward_which = f"toward the {row['direction']} action ({DIRECTIONS[row['direction']]})"
            parts.append(f"{toward_which} by {change}, which {ending}")
        first = rows.iloc[0]
        return (
            f"training on {first['size']:,} pairs changes it {', and '.join(parts)} "
            f"({of_runs(first)})"
        )

    size, tested = own["n"].iloc[0], public["n"].iloc[0]
    return (
        "The margin of held-out stories is the log-likelihood a token, in nats, of the action "
        f"trained toward, less that of the other: on {size} stories "
        f"{stories}, {said(own)}; on {tested} Moral Stories, {said(public)}."
    )
