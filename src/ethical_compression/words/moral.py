"""What the chapters on moral preference say of their numbers, each sentence computed.

Every function takes rows as `dose_response`, `statistics` or a published table gives them and has a
wording for each of `words.OUTCOMES`. A change is counted *to the trained side*: down is up where
the immoral action was trained.
"""

import math
from collections.abc import Mapping

import pandas as pd

from ethical_compression import statistics
from ethical_compression.datasets.moral_stories import DIRECTIONS
from ethical_compression.figures.moral import LANGUAGES
from ethical_compression.statistics.dose_response import VERDICTS, DoseResponse
from ethical_compression.words import (
    counted,
    interval,
    listed,
    outcome,
    p_text,
    signed,
    with_interval,
)

PUBLISHED_STORIES = 12_000  # that each share of Leteno et al. 2025 is of
MISTRAL = 7_241_732_096  # weights of Mistral-7B, which they train
TOWARD = {
    "lower": "moved away from the trained side",
    "higher": "moved to the trained side",
}


# --- Published tables -----------------------------------------------------------------------------


def language_gaps(published: pd.DataFrame, stories: int) -> pd.DataFrame:
    """French minus English of each model in a table of published shares, tested.

    published: `model`, `language` (en, fr) and `accuracy` (percent of `stories` stories, the same
    in both languages). How the two answers to a story hang together is not published, so the shares
    are compared as if they came from separate stories: that errs on the wide side as long as
    answers to two versions of one story agree more often than chance has it.
    Columns: `model`, `difference` with `ci_low` and `ci_high` (points; Newcombe 1998), `p`,
    `p_holm`, `outcome`.
    """
    from statsmodels.stats import proportion

    rows = []
    for model, side in published.groupby("model", sort=False):
        share = side.set_index("language")["accuracy"]
        counts = [round(share[language] * stories / 100) for language in ("fr", "en")]
        low, high = proportion.confint_proportions_2indep(
            counts[0], stories, counts[1], stories, method="newcomb"
        )
        test = proportion.test_proportions_2indep(counts[0], stories, counts[1], stories)
        change = float(share["fr"] - share["en"])
        row = {"model": model, "difference": change, "ci_low": 100 * low, "ci_high": 100 * high}
        rows.append(row | {"p": float(test.pvalue)})
    table = pd.DataFrame(rows)
    table["p_holm"] = statistics.holm(table["p"])
    table["outcome"] = [outcome(row.difference, row.p_holm) for row in table.itertuples()]
    return table


def published_languages(gaps: pd.DataFrame) -> str:
    """Whether the published shares are alike in the two languages, from `language_gaps`."""
    wording = {
        "higher": "French is higher in",
        "lower": "French is lower in",
        "open": "which is higher is not settled in",
    }
    parts = []
    for found, start in wording.items():
        rows = gaps[gaps["outcome"] == found].to_dict("records")
        if rows:
            named = listed(
                f"{row['model']} ({signed(row['difference'], 1)} points, 95% interval "
                f"{signed(row['ci_low'], 1)} to {signed(row['ci_high'], 1)}, "
                f"{p_text(row['p_holm'])})"
                for row in rows
            )
            parts.append(f"{start} {named}")
    return "; ".join(parts)


def published_halves(published: pd.DataFrame, stories: int) -> str:
    """How the published shares lie about one half: binomial tests of each, Holm over the table."""
    from scipy import stats

    shares = published["accuracy"]
    counts = [round(share * stories / 100) for share in shares]
    p = statistics.holm([stats.binomtest(count, stories).pvalue for count in counts])
    found = [outcome(share - 50, one) for share, one in zip(shares, p, strict=True)]
    names = {"lower": "below one half", "higher": "above it", "open": "not told from it"}
    if "lower" not in found:
        names["higher"] = "above one half"
    if not {"lower", "higher"} & set(found):
        names["open"] = "not told from one half"
    said = counted(found, names=names)
    return f"between {shares.min():.1f}% and {shares.max():.1f}%, {said}"


def published_ways(likelihood: pd.DataFrame, prompted: pd.DataFrame) -> str:
    """What the models that were asked in both ways answered, by likelihood and outright."""
    low, high = prompted["with_norm"].min(), prompted["with_norm"].max()
    text = f"Asked outright, with the norm, the moral option is chosen in {low:.0f}% to {high:.0f}%"
    both = likelihood.merge(prompted, on=["model", "language"])
    if both.empty:
        return f"{text}; no model was asked in both ways"
    said = []
    for model, side in both.groupby("model", sort=False):
        moves = listed(
            f"from {row.accuracy:.0f}% to {row.with_norm:.0f}% in {LANGUAGES[row.language]}"
            for row in side.itertuples()
        )
        said.append(f"{model}, asked in both ways, goes {moves}")
    return f"{text}; {'; '.join(said)}"


def english(model: str) -> str:
    """What is known of the languages that `model` learnt from."""
    if model.lower().rpartition("/")[2].startswith("smollm2"):
        return (
            "It learnt from English text almost alone: its French shows what a model makes of a "
            "language that it hardly knows, not what models make of French."
        )
    return "What languages it learnt from is for its makers to say."


def study_size(parameters: float) -> str:
    """How large the model that the study trains is beside one with so many weights."""
    times = MISTRAL / parameters
    if 0.9 < times < 1.1:
        return "The study trains Mistral-7B, about as large."
    return f"The study trains Mistral-7B, about {times:,.{0 if times >= 2 else 1}f} times as large."


# --- Shares ---------------------------------------------------------------------------------------


def against_half(name: str, answers: pd.DataFrame) -> str:
    """The answer of *What a model finds likely*: shares of one model, and whether they are told
    from one half.

    answers: `language` and `prefers_moral`, a row a story; Holm over the languages.
    """
    shares = {
        language: statistics.share(side["prefers_moral"])
        for language, side in answers.groupby("language", sort=False)
    }
    p = statistics.holm([one.p for one in shares.values()])
    wording = {
        "lower": "below one half",
        "higher": "above one half",
        "open": "not told from one half",
    }
    parts, found = [], []
    for (language, one), corrected in zip(shares.items(), p, strict=True):
        found.append(outcome(one.share - 0.5, corrected))
        parts.append(
            f"{one.share:.0%} of {one.n:,} stories in {LANGUAGES[language]} (95% interval "
            f"{one.ci_low:.0%} to {one.ci_high:.0%}), {wording[found[-1]]}"
        )
    text = f"{name} finds the moral action the likelier in {listed(parts)}."
    if "open" in found:
        least = min(one.n for one in shares.values())
        apart = statistics.minimum_detectable_mcnemar(least, 1.0) / 2
        seen = f"a share {100 * apart:.0f} points away" if math.isfinite(apart) else "none at all"
        text += f" So many stories find {seen} from one half four times in five."
    return text


# --- Training -------------------------------------------------------------------------------------


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


SHORT = {
    "lower": "moves away from the trained side",
    "higher": "moves to it",
    "equivalent": "stays within the margin",
    "open": "is not settled",
    "untestable": "cannot be tested",
}


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
        part = f"{row['model']} changes it by {with_interval(row)} nats a token, {wording[found]}"
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


# --- Compression ----------------------------------------------------------------------------------


def compared(found: pd.DataFrame) -> pd.DataFrame:
    """The rows of `dose_response.survival` that were compared with the uncompressed model."""
    return found[found["outcome"].notna()]


def largest(rows: pd.DataFrame) -> tuple[dict, bool]:
    """The row with the largest settled `difference`, or the largest at all; and whether settled."""
    settled = rows[rows["outcome"].isin(["lower", "higher"])]
    among = rows if settled.empty else settled
    return among.loc[among["difference"].abs().idxmax()].to_dict(), not settled.empty


def survived(found: pd.DataFrame, margin: float) -> str:
    """How many comparisons of `survival` came out how, and which; the parts add up."""
    rows = compared(found)
    parts = []
    for name, verdict in VERDICTS.items():
        mine = rows[rows["outcome"] == name]
        if mine.empty:
            continue
        some = ""
        if len(mine) < len(rows):
            said = (f"{r.compression} ({DIRECTIONS[r.direction]})" for r in mine.itertuples())
            some = f": {', '.join(said)}"
        small = int((mine["p_kept_holm"] < 0.05).sum()) if name in ("lower", "higher") else 0
        if small:
            some += f" (of these, {small} by less than {margin:.0%} for certain)"
        parts.append(f"{verdict} in {len(mine)} of {len(rows)}{some}")
    return "; ".join(parts) or "not compared"


def whole(found: pd.DataFrame) -> str:
    """The shifts before compression, in words."""
    rows = found[found["outcome"].isna()].to_dict("records")
    return listed(
        f"{signed(row['shift'])} for {DIRECTIONS[row['direction']]} "
        f"(95% interval {signed(row['shift_low'])} to {signed(row['shift_high'])}, "
        f"{row['n']} stories)"
        for row in rows
    )


def became_habit(found: pd.DataFrame) -> str:
    """Whether training left a shift on held-out stories, before any compression."""
    rows = found[found["outcome"].isna()].to_dict("records")
    wording = {
        "higher": "is above 0",
        "open": "cannot be told from 0",
        "lower": "is below 0, away from the trained side",
    }
    said = []
    for row in rows:
        found_ = "higher" if row["shift_low"] > 0 else "lower" if row["shift_high"] < 0 else "open"
        said.append(f"that of {DIRECTIONS[row['direction']]} {wording[found_]}")
    return listed(said)


def directions_alike(found: pd.DataFrame, margin: float) -> str:
    """Is as much kept of DPO_M as of DPO_I? From `dose_response.by_direction`."""
    names = {
        "lower": "with less kept of DPO_M than of DPO_I",
        "higher": "with more kept of DPO_M",
        "equivalent": f"with as much kept of both, within ±{margin:g} for certain",
        "open": "not settled",
        "untestable": "without a shift to keep in one of the directions",
    }
    if "lower" not in set(found["outcome"]):
        names["higher"] = "with more kept of DPO_M than of DPO_I"
    text = f"Of the compressions, {counted(found['outcome'], names=names)}"
    told = found[found["difference"].notna()]
    if told.empty:
        return f"{text}."
    row, settled = largest(told)
    return (
        f"{text}. The largest {'settled ' if settled else ''}difference in the share kept"
        f"{'' if settled else ' (none is settled)'}, DPO_M minus DPO_I, is that of "
        f"{row['compression']}, {row['kept_moral']:.2f} against {row['kept_immoral']:.2f}: "
        f"{with_interval(row)}, {p_text(row['p_holm'])} after Holm."
    )


def could_have_found(found: pd.DataFrame) -> str:
    """What changes of a shift these stories find four times in five, over the compressions."""
    rows = compared(found)
    full = found[found["outcome"].isna()].set_index("direction")["shift"]
    parts = []
    for direction, side in rows.groupby("direction", sort=False):
        least = side["detectable"].dropna()
        if least.empty:
            continue
        text = f"{least.min():.3f} to {least.max():.3f} nats a token for {DIRECTIONS[direction]}"
        if full[direction] > 0:
            of = least / full[direction]
            text += f" ({of.min():.0%} to {of.max():.0%} of its shift)"
        parts.append(text)
    return listed(parts) if parts else "none, as nothing changes"


def calibrated(found: pd.DataFrame) -> str:
    """Does it help to calibrate on the stories trained on? found: `outcome`, and a `difference`."""
    names = {
        "lower": "keep less of the shift",
        "higher": "keep more of the shift",
        "equivalent": "keep as much, within the margin",
        "open": "not settled",
        "untestable": "without a shift to keep",
    }
    counts = counted(found["outcome"], names=names)
    return f"Calibrated on the stories instead of other text: {counts}."


def turned(found: pd.DataFrame) -> str:
    """Is a compressed base turned further? found: compared rows of `survival`, with `stories`.

    Counts, and then what is settled; the rest is for a table.
    """
    names = {
        "lower": "turned less far than the full base",
        "higher": "turned further",
        "equivalent": "turned as far within the margin",
        "open": "not settled",
        "untestable": "with no shift to compare",
    }
    if "lower" not in set(found["outcome"]):
        names["higher"] = "turned further than the full base"
    said = "; ".join(
        f"{row['compression']} first, {DIRECTIONS[row['direction']]}, {row['stories']} "
        f"{with_interval(row)}, {p_text(row['p_holm'])}"
        for row in found[found["outcome"].isin(["lower", "higher"])].to_dict("records")
    )
    text = f"{counted(found['outcome'], names=names)}, after Holm"
    return f"{text}. What is settled: {said}" if said else text


def aligned(found: pd.DataFrame, stories: str, margin: float) -> str:
    """The answer of *Does alignment survive compression?*, from one table of `survival`."""
    rows = compared(found)
    names = {
        "lower": "weaker",
        "higher": "stronger",
        "equivalent": f"kept within ±{margin:.0%}",
        "open": "not settled",
        "untestable": "without a shift to keep",
    }
    for came in ("lower", "higher"):
        mine = rows[(rows["outcome"] == came) & (rows["p_kept_holm"] < 0.05)]
        if len(mine):
            which = listed(
                f"{row.compression} of {DIRECTIONS[row.direction]}, {row.kept:.0%} kept"
                for row in mine.itertuples()
            )
            names[came] += f" ({len(mine)} by less than {margin:.0%} for certain: {which})"
    text = (
        f"On {stories}, the shift that training left comes out of compression as follows: "
        f"{counted(rows['outcome'], names=names)} (one run a direction)."
    )
    told = rows[rows["kept"].notna()]
    if told.empty:
        return text
    row, settled = largest(told)
    which = "The largest settled change is" if settled else "No change is settled; the largest is"
    return (
        f"{text} {which} {row['compression']}'s of {DIRECTIONS[row['direction']]}: "
        f"{with_interval(row)} nats a token, {row['kept']:.0%} of the shift kept."
    )
