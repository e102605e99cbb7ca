"""Each sentence over the whole table of outcomes."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ethical_compression import kept_tables, words
from ethical_compression.figures.moral import LANGUAGES
from ethical_compression.statistics import dose_response
from ethical_compression.words import moral as moral_words

# (p after Holm, p of equivalence) of a change of +0.02 or −0.02: what it comes to.
CASES = {
    "lower": (-0.02, 0.001, 0.5),
    "higher": (0.02, 0.001, 0.5),
    "equivalent": (0.02, 0.3, 0.001),
    "open": (0.02, 0.3, 0.3),
    "untestable": (math.nan, math.nan, math.nan),
}


def moved(found, **more):
    """A row of `against_base` whose change *to the trained side* came to `found`."""
    change, p, equal = CASES[found]
    row = {"direction": "moral", "size": 84, "language": "en", "n": 44, "runs": 1, "share": 0.5}
    row |= {"difference": change, "ci_low": change - 0.03, "ci_high": change + 0.03, "d_z": 0.1}
    row |= {"p": p, "p_holm": p, "p_within_holm": equal, "detectable": 0.031} | more
    if row["direction"] == "immoral":
        row |= {"difference": -row["difference"]}
        row |= {"ci_low": -change - 0.03, "ci_high": -change + 0.03}
    return row


def both(found, other=None, **more):
    other = other or found
    return pd.DataFrame([moved(found, **more), moved(other, direction="immoral", **more)])


def test_an_outcome_is_counted_to_the_side_that_was_trained():
    for found in words.OUTCOMES:
        for direction in ("moral", "immoral"):
            assert moral_words.moved(moved(found, direction=direction)) == found
    row = moral_words.toward(moved("higher", direction="immoral"))
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((-0.01, 0.05))


# --- Published tables -----------------------------------------------------------------------------


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


# --- Shares ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("yes", "said"), [(20, "below one half"), (108, "above one half"), (66, "not told from")]
)
def test_a_share_is_told_from_one_half_or_not(yes, said):
    answers = pd.DataFrame({"language": "en", "prefers_moral": np.arange(128) < yes})
    text = moral_words.against_half("m", answers)
    assert said in text
    assert ("12 points away" in text) == (said == "not told from")


# --- Training -------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["moral", "immoral"])
@pytest.mark.parametrize(
    ("found", "said", "unsaid"),
    [
        ("higher", "+0.020", "Not settled"),
        ("lower", "away from the side that was trained", "Not settled"),
        ("equivalent", "lies within ±0.05 is shown", "Not settled"),
        ("open", "Not settled: 0.031", "shown"),
        ("untestable", "could not be computed", "settled"),
    ],
)
def test_one_training_in_a_sentence(found, said, unsaid, direction):
    text = moral_words.training(moved(found, direction=direction), "44 stories", 0.05)
    assert said in text and unsaid not in text and "of this one run" in text
    assert "84 pairs changes the margin by" in text
    several = moral_words.training(moved(found, runs=3), "44 stories", 0.05)
    assert "over stories and 3 runs" in several


def test_the_fewest_pairs_are_those_that_turned_to_the_trained_side():
    table = pd.DataFrame([moved("open", size=8), moved("higher", size=32), moved("higher")])
    expected = "The fewest pairs with a settled change toward the moral side are 32."
    assert moral_words.fewest(table, "moral", "en") == expected
    # A significant change the wrong way is none.
    wrong = pd.DataFrame([moved("lower", size=8)])
    none = "No size tried has a settled change toward the moral side."
    assert moral_words.fewest(wrong, "moral", "en") == none
    assert moral_words.fewest(table, "moral", "fr") == none


@pytest.mark.parametrize("found", [one for one in words.OUTCOMES if one != "higher"])
def test_no_size_turned_the_immoral_side_whatever_else_was_found(found):
    row = pd.DataFrame([moved(found, direction="immoral")])
    expected = "No size tried has a settled change toward the immoral side."
    assert moral_words.fewest(row, "immoral", "en") == expected


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        (moral_words.MISTRAL, "Mistral-7B, about as large."),
        (134_515_008, "Mistral-7B, about 54 times as large."),
        (4 * moral_words.MISTRAL, "Mistral-7B, about 0.2 times as large."),
    ],
)
def test_the_model_of_the_study_is_measured_by_ours(parameters, said):
    assert moral_words.study_size(parameters).endswith(said)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ("higher", "carries over at every size"),
        ("lower", "turns against"),
        ("equivalent", "nothing carries over"),
        ("open", "is not shown"),
        ("untestable", "is not shown"),
    ],
)
def test_whether_training_carries_over(found, said):
    text = moral_words.carried(both(found), 0.05)
    assert said in text and "2 of 2" in text
    assert "in part" in moral_words.carried(both("higher", "open"), 0.05)
    assert "is not shown" in moral_words.carried(both("equivalent", "open"), 0.05)


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ("higher", "more is learned than words"),
        ("lower", "do not tell the same"),
        ("equivalent", "may have been words"),
        ("open", "cannot be told"),
        ("untestable", "cannot be told"),
    ],
)
def test_what_two_corpora_tell_together(own, said):
    text = moral_words.words_alone(both(own), both("higher"), 0.05)
    assert said in text
    # "as they were" is a claim, and an interval that holds 0 does not make it.
    assert ("may have been words" in text) == (own == "equivalent")
    assert "nothing to compare" in moral_words.words_alone(both(own), both("open"), 0.05)
    assert "the same" in moral_words.words_alone(both("open", "higher"), both("higher"), 0.05)


def curve(**changes):
    values = {"stories": 44, "runs": 6, "intercept": 0.0, "slope": 0.3, "slope_low": 0.1}
    values |= {"slope_high": 0.5, "p": 0.01, "start": 0.5, "ed50": 37.0, "ed50_low": 8.0}
    values |= {"ed50_high": 500.0, "observed": {0: 0.5, 8: 0.6, 84: 0.8}}
    return dose_response.DoseResponse(**(values | changes))


RISES = {"ed50": 37.0}
OPEN = {"slope": 0.1, "slope_low": -0.2, "slope_high": 0.4, "p": 0.4, "ed50_high": math.inf}
FALLS = {"slope": -0.3, "slope_low": -0.5, "slope_high": -0.1}
FALLS |= dict.fromkeys(("ed50", "ed50_low", "ed50_high"), math.inf)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (RISES, "ED50 is 37 pairs (95% interval 8 to 500)."),
        ({"ed50": 200.0}, "ED50 is 200 pairs, beyond the 84 tried (95% interval 8 to 500)."),
        ({"ed50_high": 1e9}, "(95% interval 8 to more than can be told)."),
        ({"ed50": 1e7, "ed50_high": math.inf}, "lies beyond the 84 pairs tried: more than 8."),
        ({"ed50": 1e7, "ed50_low": 1e6, "ed50_high": 1e9}, "far more than were tried."),
        (OPEN, "not settled: no ED50. If it rises, half of what was left to turn takes more than"),
        (OPEN | {"ed50": math.inf, "ed50_low": 0.0}, "is not settled: no ED50."),
        (OPEN | {"ed50": math.inf, "ed50_low": math.inf}, "is not settled: no ED50."),
        (FALLS, "falls from the trained side as pairs are added: no ED50."),
    ],
)
def test_a_dose_is_said_or_said_to_be_none(changes, said):
    text = moral_words.dose("moral", curve(**changes))
    assert said in text and "inf" not in text and "nan" not in text
    assert "beyond to more" not in text and text.count("can be told") <= 1
    assert "over 44 stories and 5 runs" in text


def test_points_stand_beside_their_line():
    assert moral_words.off_the_line("immoral", curve()) == (
        "DPO_I 50% at 0 (line: 50%), 60% at 8 (line: 66%) and 80% at 84 (line: 79%)"
    )


def test_a_small_change_that_is_settled_is_said_to_be_both():
    row = moved("higher", p_within_holm=0.001)
    assert "shown to lie within ±0.05 all the same" in moral_words.training(row, "stories", 0.05)
    table = pd.DataFrame([row | {"model": "DPO_M 84"}])
    assert "read worse, and shown to lie within ±0.05" in moral_words.cost(table, 0.05)
    assert "all the same" not in moral_words.training(moved("higher"), "stories", 0.05)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ("higher", "read worse"),
        ("lower", "read better"),
        ("equivalent", "shown to lie within ±0.05"),
        ("open", "neither settled nor shown"),
        ("untestable", "not testable"),
    ],
)
def test_what_training_costs(found, said):
    row = moved(found) | {"model": "DPO_M 84"}
    assert said in moral_words.cost(pd.DataFrame([row]), 0.05)


def test_rows_across_languages_are_counted():
    table = both("higher", "open").assign(trained="histoires_morales fr")
    text = moral_words.across(table, 0.05)
    assert text.startswith("1 of 2 moved to the trained side, 1 not settled")
    assert f"{LANGUAGES['fr']} to {LANGUAGES['en']}" in text


@pytest.mark.parametrize("found", words.OUTCOMES)
def test_the_answer_on_training_has_a_wording_for_every_outcome(found):
    text = moral_words.trained(both(found), both("higher", runs=3), 0.05, "of this book")
    assert (
        "on 44 stories of this book, training on 84 pairs changes it toward the moral action "
        "(DPO_M) by" in text
    )
    assert "toward the immoral action (DPO_I) by" in text and "move" not in text
    assert "over stories and 3 runs" in text and "of this one run" in text
    assert ("is not settled (0.031" in text) == (found == "open")
    assert ("shown to lie within" in text) == (found == "equivalent")


# --- Compression ----------------------------------------------------------------------------------


def survival(*outcomes, small=1.0):
    rows = [{"compression": "full", "direction": way, "shift": 0.5} for way in ("moral", "immoral")]
    for number, found in enumerate(outcomes):
        change, p, equal = CASES[found]
        row = {"compression": f"c{number}", "direction": "moral", "shift": 0.5 + change}
        row |= {"difference": change, "ci_low": change - 0.01, "ci_high": change + 0.01}
        row |= {"d_z": change * 10, "p": p, "p_holm": p, "detectable": 0.02, "outcome": found}
        row |= {"kept": math.nan if found == "untestable" else 1 + change / 0.5}
        rows.append(row | {"p_kept_holm": small if found in ("lower", "higher") else equal})
    table = pd.DataFrame(rows)
    return table.assign(n=44, shift_low=table["shift"] - 0.1, shift_high=table["shift"] + 0.1)


@pytest.mark.parametrize("found", words.OUTCOMES)
def test_what_survived_has_a_wording_for_every_outcome(found):
    verdict = dose_response.VERDICTS[found]
    assert moral_words.survived(survival(found), 0.1) == f"{verdict} in 1 of 1"
    mixed = moral_words.survived(survival(*words.OUTCOMES), 0.1)
    assert f"{verdict} in 1 of 5: c{words.OUTCOMES.index(found)} (DPO_M)" in mixed
    assert "*" not in mixed
    answer = moral_words.aligned(survival(found), "150 stories", 0.1)
    assert "1 of 1" in answer and "nan" not in answer and "one run a direction" in answer
    small = survival("lower", small=0.01)
    assert "by less than 10% for certain" in moral_words.survived(small, 0.1)
    answer = moral_words.aligned(small, "150 stories", 0.1)
    assert "weaker (1 by less than 10% for certain: c0 of DPO_M, 96% kept)" in answer


@pytest.mark.parametrize("found", [one for one in words.OUTCOMES if one != "untestable"])
def test_the_largest_settled_change_is_named(found):
    table = survival(found, found, "open")
    larger = table["compression"] == "c1"
    table.loc[larger, "difference"] *= 2
    table.loc[larger, "d_z"] /= 10
    table.loc[table["compression"] == "c2", "difference"] = 0.03
    answer = moral_words.aligned(table, "150 stories", 0.1)
    settled = found in ("lower", "higher")
    which = "The largest settled change is" if settled else "No change is settled; the largest is"
    assert f"{which} c1's of DPO_M" in answer


def test_the_tables_of_outcomes_are_whole():
    assert set(dose_response.VERDICTS) == set(words.OUTCOMES)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.1, 0.3, "is above 0"), (-0.1, 0.3, "cannot be told"), (-0.3, -0.1, "is below 0")],
)
def test_whether_a_habit_was_formed(low, high, said):
    table = survival("open").assign(shift_low=low, shift_high=high)
    assert said in moral_words.became_habit(table)
    assert "44 stories" in moral_words.whole(table)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ("lower", "1 of 1 with less kept of DPO_M than of DPO_I"),
        ("higher", "1 of 1 with more kept of DPO_M than of DPO_I"),
        ("equivalent", "1 of 1 with as much kept of both, within ±0.1"),
        ("open", "1 of 1 not settled"),
        ("untestable", "without a shift to keep"),
    ],
)
def test_whether_both_directions_fare_alike(found, said):
    change, p, equal = CASES[found]
    row = {"compression": "int8", "difference": change, "ci_low": change - 0.1, "p": p}
    row |= {"ci_high": change + 0.1, "p_holm": p, "p_same_holm": equal, "outcome": found}
    table = pd.DataFrame([row | {"kept_moral": 0.9, "kept_immoral": 0.9 - change}])
    text = moral_words.directions_alike(table, 0.1)
    assert said in text and "alike" not in text and "nan" not in text
    assert ("int8" in text) == (found != "untestable")


@pytest.mark.parametrize("found", words.OUTCOMES)
def test_calibrating_and_turning_have_a_wording_for_every_outcome(found):
    table = moral_words.compared(survival(found)).assign(stories="held out")
    assert "1 of 1" in moral_words.calibrated(table)
    text = moral_words.turned(table)
    assert text.startswith("1 of 1") and "nan" not in text
    assert ("c0 first, DPO_M, held out" in text) == (found in ("lower", "higher"))


def test_what_could_have_been_found_is_said_of_the_spread():
    text = moral_words.could_have_found(survival("open", "lower"))
    assert text == "0.020 to 0.020 nats a token for DPO_M (4% to 4% of its shift)"
    still = survival("equivalent").assign(detectable=math.nan)
    assert moral_words.could_have_found(still) == "none, as nothing changes"


# --- Chapters -------------------------------------------------------------------------------------

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
