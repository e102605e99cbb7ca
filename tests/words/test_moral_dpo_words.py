"""Each sentence on training a moral preference over the whole table of outcomes."""

import math

import pandas as pd
import pytest
from outcome_rows import MORAL_CASES

from ethical_compression import words
from ethical_compression.figures.moral import LANGUAGES
from ethical_compression.statistics import dose_response
from ethical_compression.words import moral_dpo as moral_words


def moved(found, **more):
    """A row of `against_base` whose change *to the trained side* came to `found`."""
    change, p, equal = MORAL_CASES[found]
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
    table = pd.DataFrame([row | {"compression": "DPO_M 84"}])
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
    row = moved(found) | {"compression": "DPO_M 84"}
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
