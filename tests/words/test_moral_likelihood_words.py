"""Each sentence on what models find likely over the whole table of outcomes."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ethical_compression import kept_tables, statistics
from ethical_compression.figures.moral import LANGUAGES
from ethical_compression.words import moral_likelihood as moral_words


def test_the_published_languages_are_not_alike():
    published = kept_tables.published("naacl2025_moral_preference")
    gaps = moral_words.language_gaps(published, 12_000).set_index("model")
    row = gaps.loc["Mistral-base"]
    # 44.29% against 49.11% of 12,000: Newcombe's interval by hand, from Wilson's of each.
    z, low, high = 1.959964, [], []
    for share in (0.4911, 0.4429):
        centre = (share + z**2 / 24_000) / (1 + z**2 / 12_000)
        half = z * math.sqrt(share * (1 - share) / 12_000 + (z / 24_000) ** 2) / (1 + z**2 / 12_000)
        low.append(share - (centre - half))
        high.append(centre + half - share)
    assert row["difference"] == pytest.approx(4.82)
    assert row["ci_low"] == pytest.approx(4.82 - 100 * math.hypot(low[0], high[1]), abs=0.01)
    assert row["ci_high"] == pytest.approx(4.82 + 100 * math.hypot(high[0], low[1]), abs=0.01)
    assert row["p"] < 1e-12
    assert gaps["outcome"].to_dict() == {
        "Mistral-instruct": "higher",
        "CroissantLLM-instruct": "open",
        "Mistral-base": "higher",
        "CroissantLLM-base": "open",
    }
    text = moral_words.published_languages(gaps.reset_index())
    assert text.startswith("French is higher in Mistral-instruct (+3.1 points")
    assert "not settled in CroissantLLM-instruct" in text and "alike" not in text


@pytest.mark.parametrize(
    ("french", "said"),
    [(30.0, "French is lower in"), (70.0, "French is higher in"), (50.2, "not settled in")],
)
def test_a_published_gap_is_said_whichever_way_it_points(french, said):
    table = pd.DataFrame({"model": "m", "language": ["en", "fr"], "accuracy": [50.0, french]})
    assert said in moral_words.published_languages(moral_words.language_gaps(table, 12_000))


def test_how_published_shares_lie_about_one_half():
    published = kept_tables.published("naacl2025_moral_preference")
    assert moral_words.published_halves(published, 12_000) == (
        "between 44.3% and 50.8%, 2 of 8 below one half, 6 not told from it"
    )
    for share, said in ((60, "1 of 1 above one half"), (50, "1 of 1 not told from one half")):
        table = pd.DataFrame({"accuracy": [share]})
        assert moral_words.published_halves(table, 12_000).endswith(said)


def test_the_two_published_ways():
    likelihood = kept_tables.published("naacl2025_moral_preference")
    prompted = kept_tables.published("naacl2025_declarative_prompt")
    text = moral_words.published_ways(likelihood, prompted)
    assert "84% to 98%" in text
    assert "Mistral-instruct, asked in both ways, goes from 46% to 94% in English" in text
    assert "no model" in moral_words.published_ways(likelihood.iloc[:0], prompted)


@pytest.mark.parametrize(
    ("yes", "said"), [(20, "below one half"), (108, "above one half"), (66, "not told from")]
)
def test_a_share_is_told_from_one_half_or_not(yes, said):
    answers = pd.DataFrame({"language": "en", "prefers_moral": np.arange(128) < yes})
    text = moral_words.against_half("m", answers)
    assert said in text
    assert ("12 points away" in text) == (said == "not told from")


def test_the_answer_speaks_of_all_that_was_asked():
    answers = pd.DataFrame({"language": "en", "prefers_moral": np.arange(128) < 66})
    changes = pd.DataFrame({"difference": [-0.1, 0.1], "p_holm": [0.2, 0.01]})
    changes["label"] = ["norm given,\nEnglish", "GPTQ 3-bit,\nEnglish"]
    asked = pd.DataFrame({"language": "en", "first": [1.0] * 23 + [0.5]})
    text = moral_words.answer("m", answers, changes, asked)
    assert "1 of 2 higher (GPTQ 3-bit, English), 1 not settled" in text
    assert "the first option in 98% of the answers on 24 stories in English (95% interval" in text
    assert "\n" not in text


def test_how_well_the_actions_are_read():
    rows = [
        ("full", "en", -3.0, -4.0),
        ("full", "fr", -3.6, -3.6),
        ("GPTQ 3-bit", "en", -5.0, -5.0),
    ]
    table = pd.DataFrame(rows, columns=["model", "language", "moral", "immoral"])
    said = moral_words.readable(table)
    assert said == "full 3.50 in English and 3.60 in French; GPTQ 3-bit 5.00 in English"


def test_power_is_of_the_stories_at_hand():
    text = moral_words.power(128, 0.26)
    assert text.startswith("With 80% power 128 stories find a change of 13 points or more; one of ")
    assert statistics.n_for_mcnemar(0.13, 0.26) <= 128 < statistics.n_for_mcnemar(0.12, 0.26)
    assert text.endswith(f"5 points {statistics.n_for_mcnemar(0.05, 0.26):,}.")
    assert moral_words.power(6, 0.1).startswith("No change of such a share can be found")


def test_who_wrote_the_stories_depends_on_the_corpus():
    assert "Britain" in moral_words.data_limits("own")
    assert "crowd" in moral_words.data_limits("moral_stories")


# What pages said without asking their numbers.
STATIC = ("are alike", "alike. Whatever", "as they were. Which", "Here it does carry over")
STATIC += ("a habit does form", "near one half; asked outright", "straighter than the points")


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("moral_likelihood", "moral"),
        ("moral_dpo", "moral_dpo"),
        ("moral_compression", "moral_compression"),
    ],
)
def test_a_chapter_begins_with_what_was_found_and_claims_nothing_by_itself(name, prefix):
    file = Path(__file__).parents[2] / "notebooks" / f"{name}.ipynb"
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    texts = {kind: [] for kind in ("markdown", "code")}
    for cell in cells:
        texts[cell["cell_type"]].append("".join(cell["source"]))
    assert f"**What was found.** {{glue:text}}`{prefix}-answer`" in texts["markdown"][0]
    assert f'"{prefix}-answer"' in "".join(texts["code"])
    pages = " ".join(" ".join(texts["markdown"]).split())
    assert not [words for words in STATIC if words in pages]


def changes_of(p, difference=-0.25):
    rows = {"label": ["norm given,\nEnglish", "GPTQ 3-bit,\nEnglish"], "n": 40}
    rows |= {"difference": difference, "ci_low": -0.4, "ci_high": -0.1, "gained": 2, "lost": 12}
    return pd.DataFrame(rows | {"p": p, "p_holm": p})


def test_what_moved_is_told_for_each_language_that_was_asked():
    said = moral_words.told(changes_of(0.01), LANGUAGES, 3)
    assert said["norm-en"].endswith("p = 0.010 after Holm, settled")
    assert said["norm-fr"] == said["gap"] == "not asked here"
    assert said["settled"].startswith("2 of 2 comparisons (norm given, English")
    assert said["flipped"] == "35%"
    assert moral_words.told(changes_of(0.2), LANGUAGES, 3)["settled"] == "0 of 2 comparisons"


def test_power_is_told_at_the_share_that_differed():
    typical, said = moral_words.power_here(changes_of(0.2), 40)
    assert typical == 0.35
    assert said == moral_words.power(40, 0.35)


def test_the_kept_run_names_corpus_language_and_interval():
    row = {"corpus": "own", "language": "en", "share": 0.5, "ci_low": 0.4, "ci_high": 0.6, "n": 90}
    both = statistics.mcnemar([1, 0, 1, 0], [1, 1, 1, 1])
    said = moral_words.kept(pd.DataFrame([row]), both)
    assert "English, 50.0% (40.0% to 60.0%, n = 90);" in said
    assert said.endswith("p = 0.500.")


def test_places_are_told_of_labels_with_the_norm_alone():
    row = {"reading": "label", "language": "en", "norm": True}
    row |= {"first": 0.75, "first_low": 0.6, "first_high": 0.9}
    row |= {"moral": 0.5, "moral_low": 0.4, "moral_high": 0.6}
    table = pd.DataFrame([row, row | {"norm": False, "first": 0.1}])
    said = moral_words.place_by_language(table)
    assert said["en"].startswith("option 1 in 0.75 of the answers (95% interval 0.60 to 0.90)")
    assert said["fr"] == "not asked here"
