"""What a model finds likely, and what was published of it, in sentences: each is computed.

Every function takes a published table, or a row an answered story, and has a wording for each of
`words.OUTCOMES`.
"""

import math

import pandas as pd

from ethical_compression import statistics
from ethical_compression.figures.moral import LANGUAGES
from ethical_compression.words import counted, listed, outcome, outcomes, p_text, signed

PUBLISHED_STORIES = 12_000  # that each share of Leteno et al. 2025 is of


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


# --- Shares ---------------------------------------------------------------------------------------


def answer(name: str, answers: pd.DataFrame, changes: pd.DataFrame, asked: pd.DataFrame) -> str:
    """The answer of *What a model finds likely*: likelihood, what moves it, and what is said.

    answers: as `against_half` reads them; changes: paired comparisons of shares, `label` and
    `p_holm`; asked: as `places` reads them.
    """
    compared = counted(outcomes(changes), called=changes["label"].str.replace("\n", " "))
    return (
        f"{against_half(name, answers)} Paired comparisons (the norm, the languages, compression) "
        f"after Holm: {compared}. {places(asked)}"
    )


def places(asked: pd.DataFrame) -> str:
    """How often the first option is taken, whatever it is, where a model answers by its labels.

    asked: `language` and `first`, the share of a story's two orders; a row a story.
    """
    parts = []
    for language, side in asked.groupby("language", sort=False):
        one = statistics.share(side["first"])
        parts.append(
            f"{one.share:.0%} of the answers on {one.n:,} stories in {LANGUAGES[language]} (95% "
            f"interval {one.ci_low:.0%} to {one.ci_high:.0%})"
        )
    return f"Asked outright, by its labels, it takes the first option in {listed(parts)}."


def readable(verdicts: pd.DataFrame) -> str:
    """How well each model reads the actions, both together: `moral` and `immoral`, nats a token."""
    nll = (
        -verdicts.groupby(["model", "language"], sort=False)[["moral", "immoral"]]
        .mean()
        .mean(axis=1)
    )
    return "; ".join(
        f"{model} "
        + listed(f"{value:.2f} in {LANGUAGES[language]}" for (_, language), value in part.items())
        for model, part in nll.groupby("model", sort=False)
    )


def power(stories: int, discordant: float) -> str:
    """What so many stories find where a share `discordant` of them is answered differently."""
    found = statistics.minimum_detectable_mcnemar(stories, discordant)
    text = (
        f"With 80% power {stories:,} stories find a change of {100 * found:.0f} points or more"
        if math.isfinite(found)
        else f"No change of such a share can be found with 80% power in {stories:,} stories"
    )
    ten, five = (statistics.n_for_mcnemar(change, discordant) for change in (0.1, 0.05))
    return f"{text}; one of 10 points takes {ten:,} stories, one of 5 points {five:,}."


def data_limits(corpus: str) -> str:
    """Who wrote a corpus' stories (Emelin et al. 2021; Leteno et al. 2025 for the French)."""
    if corpus == "own":
        return "Written by few people, for readers in Britain and France, and surveyed by nobody."
    return "Written by crowd workers, in English; those in French are translations."


def against_half(name: str, answers: pd.DataFrame) -> str:
    """Shares of one model, and whether they are told from one half.

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
            f"{one.ci_low:.0%} to {one.ci_high:.0%}; {wording[found[-1]]})"
        )
    text = f"{name} finds the moral action the likelier in {listed(parts)}."
    if "open" in found:
        least = min(one.n for one in shares.values())
        apart = statistics.minimum_detectable_mcnemar(least, 1.0) / 2
        seen = f"a share {100 * apart:.0f} points away" if math.isfinite(apart) else "none at all"
        text += f" So many stories find {seen} from one half four times in five."
    return text
