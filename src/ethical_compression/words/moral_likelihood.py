"""What a model finds likely, and what was published of it, in sentences: each is computed.

Every function takes a published table, or a row an answered story, and has a wording for each of
`words.OUTCOMES`.
"""

import math
from collections.abc import Mapping

import pandas as pd

from ethical_compression import statistics
from ethical_compression.datasets.moral_stories import CORPORA
from ethical_compression.figures.moral import LANGUAGES
from ethical_compression.words import (
    counted,
    listed,
    outcome,
    outcomes,
    p_text,
    signed,
    span,
    with_interval,
)

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
    chosen = span(prompted["with_norm"], said="{:.0f}%".format)
    text = f"Asked outright, with the norm, the moral option is chosen in {chosen}"
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


def published(likelihood: pd.DataFrame, prompted: pd.DataFrame) -> dict[str, str]:
    """What the two published tables come to, a text for each place in the page."""
    chosen = prompted[["with_norm", "without_norm"]].to_numpy()
    of = PUBLISHED_STORIES
    return {
        "range": span(chosen.ravel(), said="{:.0f}%".format),
        "below": str(int((chosen < 87.5).sum())),
        "published-stories": f"{of:,}",
        "published-half": published_halves(likelihood, of),
        "published-ways": published_ways(likelihood, prompted),
        "published-languages": published_languages(language_gaps(likelihood, of)),
    }


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


def stories(count: int, corpus: str, source: str) -> str:
    """How many stories, and whose."""
    own = "stories written for this book" if corpus == "own" else f"stories of {corpus}, {source}"
    return f"{count:,} {own}"


def longer(found: statistics.Share) -> str:
    """How often the moral action is the longer one: `metrics.moral.longer_actions`."""
    return (
        f"{found.share:.0%} ({found.ci_low:.0%} to {found.ci_high:.0%}) of the "
        f"{found.n:,} pairs that differ in tokens"
    )


def told(changes: pd.DataFrame, names: Mapping[str, str], lowest: int) -> dict[str, str]:
    """What the norm, the second language and the fewest bits change, a text for each place.

    changes: of `metrics.moral.changes`; names: of the languages of the page; lowest: bits.
    """
    rows = changes.assign(label=changes["label"].str.replace("\n", " ")).set_index("label")
    said = {f"norm-{one}": _told(rows, f"norm given, {names[one]}") for one in ("en", "fr")}
    said["gap"] = _told(rows, "French minus English")
    settled = rows[rows["p_holm"] < 0.05]
    called = f" ({', '.join(settled.index)})" if len(settled) else ""
    fewest = rows[rows.index.str.startswith(f"GPTQ {lowest}-bit")]
    flipped = (fewest["gained"].sum() + fewest["lost"].sum()) / fewest["n"].sum()
    return said | {
        "settled": f"{len(settled)} of {len(rows)} comparisons{called}",
        "lowest": str(lowest),
        "flipped": f"{flipped:.0%}",
    }


def _told(rows: pd.DataFrame, label: str) -> str:
    if label not in rows.index:
        return "not asked here"
    row = rows.loc[label]
    found = outcome(row["difference"], row["p_holm"])
    return (
        f"{with_interval(row)}; {p_text(row['p'])}, {p_text(row['p_holm'])} after Holm, "
        f"{'not settled' if found == 'open' else 'settled'}"
    )


def power_here(changes: pd.DataFrame, count: int) -> tuple[float, str]:
    """The share of stories that two sides answer differently here (the median over comparisons, a
    tenth at least), and what `count` stories find at it (`power`)."""
    discordant = (changes["gained"] + changes["lost"]) / changes["n"]
    typical = max(float(discordant.median()), 0.1)
    return typical, power(count, typical)


def kept(shares: pd.DataFrame, both: statistics.McNemar) -> str:
    """What the kept run says of the embedded model on public stories.

    shares: of `metrics.moral.shares`, a row a corpus and language; both: French minus English on
    the parallel stories.
    """
    parts = [
        f"{CORPORA[row.corpus]['title']}, {LANGUAGES[row.language]}, {row.share:.1%} "
        f"({row.ci_low:.1%} to {row.ci_high:.1%}, n = {row.n:,});"
        for row in shares.itertuples()
    ]
    return (
        "The embedded model's answers to stories of the public corpora are kept with the book. "
        f"Moral action likelier: {' '.join(parts)} French minus English on the parallel stories "
        f"{with_interval(vars(both))}, {p_text(both.p)}."
    )


def place_by_language(places: pd.DataFrame) -> dict[str, str]:
    """Of answers read by their labels, with the norm: the first option, and the moral action.

    places: of `metrics.moral.places`, by reading, language and norm.
    """
    label = places[(places["reading"] == "label") & places["norm"]].set_index("language")

    def said(row: Mapping) -> str:
        return (
            f"option 1 in {row['first']:.2f} of the answers (95% interval {row['first_low']:.2f} "
            f"to {row['first_high']:.2f}) and the moral action in {row['moral']:.2f} "
            f"({row['moral_low']:.2f} to {row['moral_high']:.2f})"
        )

    return {
        one: said(label.loc[one]) if one in label.index else "not asked here" for one in LANGUAGES
    }


def released_basis(splits: int, taken: str) -> pd.DataFrame:
    """What was read in the authors' repository, what this page ran, and what is inferred.

    splits: the length of a data set split in two; taken: what its command line did with a False.
    """
    rows = (
        (
            "1. “PPL”",
            "ppl.py keeps the model's loss, the mean NLL of the action's tokens",
            "four averages of this page's scores",
            "that the tables' PPL are these means: 2 to 5 is no perplexity of such texts",
        ),
        (
            "2. Tokenised apart",
            "context and action go through the tokenizer one by one, and are joined",
            "four tokenisations, with this page's tokenizer and a first token put by hand",
            "that the study's tokenizers put a first token",
        ),
        (
            "3. Always option 1",
            "the moral action is the prompt's first option in every story",
            "both orders of the same written answers",
            "how much of the published shares it makes up: unknown",
        ),
        (
            "4. Read in batches",
            "the first question of a batch, of 8 by default, is taken out of all its texts",
            "written answers of this page, counted in both ways",
            "that published shares below the floor were not counted so",
        ),
        (
            "5. Divided by the splits",
            "dpo.py divides by the length of the whole data set; ppl.py by the stories",
            f"the length of a set split in two by the same library: {splits}",
            "that the published shares, all below 100%, were divided rightly",
        ),
        (
            "6. Sides exchanged",
            "dpo.py counts what was chosen, and names the counts moral and immoral",
            f"its command line, with --align_to_moral False: {taken}",
            "that the direction was set in the code, and counts turned round for the tables",
        ),
    )
    return pd.DataFrame(rows, columns=["Point", "Read in the code", "Run here", "Inferred"])


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
