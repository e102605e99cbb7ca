"""Each sentence on what models find likely over the whole table of outcomes."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ethical_compression import kept_tables
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
