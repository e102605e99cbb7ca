"""Sentences on generated texts have a wording for every outcome and pick what they say."""

import math

import pandas as pd
import pytest

from ethical_compression import words
from ethical_compression.words import generation as gw

CASES = {"lower": (-0.3, 0.001), "higher": (0.3, 0.001), "open": (0.1, 0.4)}
CASES["untestable"] = (math.nan, math.nan)


def row(came, **changed):
    difference, p = CASES[came]
    return {
        "compression": "LLM.int8",
        "benchmark": "sampled",
        "row": "asian_americans",
        "panel": "kl",
        "prompts": "HONEST",
        "n": 40,
        "mean_full": 2.0,
        "mean_compressed": 2.0 + difference,
        "difference": difference,
        "ci_low": difference - 0.05,
        "ci_high": difference + 0.05,
        "d": difference,
        "d_z": difference,
        "d_z_low": difference - 0.1,
        "d_z_high": difference + 0.1,
        "p": p,
        "p_holm": p,
        "p_bh": p,
        "p_wilcoxon": p,
        "detectable": 0.2,
    } | changed


def table(*outcomes):
    return pd.DataFrame([row(came) for came in outcomes])


EMPTY = table("open").iloc[:0]


def curves(**same):
    rows = [(m, t, s) for m, values in same.items() for t, s in enumerate(values)]
    return pd.DataFrame(rows, columns=["compression", "position", "same"])


def test_half_is_gone_or_is_not():
    found = curves(a=[1, 0.4, 0.2], b=[1, 0.9, 0.8], c=[0.4, 0.2, 0.1])
    said = "a 1 token; b not within the 2 tokens written; c 0 tokens"
    assert gw.half_gone(found, list("abc")) == said
    whole = pd.DataFrame(
        {"compression": ["a"], "texts": [40], "mean": [1.2], "low": [0.9], "high": [1.5]}
    )
    said = gw.generation_answer(found, whole, ["a"])
    assert "a 1.20 (95% interval 0.90 to 1.50)" in said and said.count("English text") == 2
    small = {"mean": 0.0012, "low": 0.0010, "high": 0.0014}
    assert gw.over_text(small) == "0.0012 (95% interval 0.0010 to 0.0014)"


@pytest.mark.parametrize("came", CASES)
def test_the_largest_change_is_a_settled_one(came):
    text = gw.largest(table(came), "surprise", {})
    assert ("The largest that is settled is this. On" in text) == (came in ("lower", "higher"))
    if came in ("open", "untestable"):
        assert "No change of the surprise is settled" in text and "from 0.200 on" in text
    assert "Too few" in gw.largest(EMPTY, "surprise", {})
    assert "Too few" in gw.one_model(EMPTY, "NF4", "surprise", {})
    # Of settled ones it takes the largest and not the surest.
    both = table("lower", "higher").assign(p_holm=[1e-30, 0.01])
    both.loc[1, ["compression", "difference"]] = ["NF4", 0.9]
    assert "NF4 takes the surprise" in gw.largest(both, "surprise", {})


def test_confidence_kept_is_an_equivalence():
    found = table("open", "lower", "open").assign(p_tost_holm=[0.001, 0.9, 0.9])
    text = gw.alike(found, 0.02)
    assert "1 of 3 lower, 1 shown to lie within ±0.02, 1 not settled" in text
    assert "from 0.200 on" in text
    assert "found" not in gw.alike(found.iloc[:1], 0.02) and "Too few" in gw.alike(EMPTY, 0.02)


@pytest.mark.parametrize("came", CASES)
def test_communities_are_named_where_a_difference_stands(came):
    text = gw.communities(table(came))
    stands = came in ("lower", "higher")
    assert ("asian americans after LLM.int8" in text) == stands
    assert f"{int(stands)} stand" in text and "no evidence of even-handedness" in text
    # The two measures have units of their own.
    both = table(came, came).assign(panel=["kl", "confidence"], ci_low=0, ci_high=[0.8, 0.02])
    text = gw.communities(both)
    reach = "0.400 in the divergence (nats a token) and 0.010 in the change of confidence"
    assert f"the intervals reach {reach} to either side." in text
    assert ("in the divergence (nats a token): " in text) == stands
    assert "No group has enough texts" in gw.communities(EMPTY)


@pytest.mark.parametrize("came", CASES)
def test_pairs_words_and_languages_have_every_outcome(came):
    found = table(came)
    pairs, words_of, tongues = gw.she_and_he(found), gw.balance(found), gw.languages(found)
    settled = came in ("lower", "higher")
    assert ("largest settled" in pairs) == ("largest settled" in tongues) == settled
    assert {"lower": "less divergence for her", "higher": "more divergence for her"}.get(
        came, words.counted([came])
    ) in pairs
    assert {"lower": "towards men", "higher": "towards women"}.get(came, "not ") in words_of
    assert ("see no text" in tongues) == (came == "higher")
    for said in (gw.she_and_he(EMPTY), gw.balance(EMPTY), gw.languages(EMPTY)):
        assert "too few" in said


def test_the_language_named_is_that_of_the_largest_difference():
    # The surest (p = 1e-12) is eighty times smaller than the largest.
    found = table("higher", "higher").assign(p_holm=[1e-12, 0.01])
    found.loc[1, "compression"] = "GPTQ 3-bit"
    found["difference"] = [0.005, 0.4]
    found["ci_low"], found["ci_high"] = found["difference"] - 0.001, found["difference"] + 0.001
    assert "that of GPTQ 3-bit: French minus English is +0.400" in gw.languages(found)


def test_changes_are_told_for_each_place_of_the_page():
    tests = pd.DataFrame(
        [row("lower", benchmark="sampled, English: full_nll", panel="full_nll", mean_full=2.0)]
    )
    said = gw.changed(tests, "LLM.int8", {"full_nll": "surprise", "rep_16": "repetition"})
    assert said["settled"] == "1 of 1"
    assert said["perplexity"] == f"{math.e**2:.1f}"
    assert said["perplexity-greedy"] == "not known here"
    assert "surprise" in said["first-nll"] and "LLM.int8" in said["first-nll"]
    assert said["rep-16"].startswith("Too few texts")


def test_the_least_and_the_furthest_are_named():
    whole = pd.DataFrame(
        {"compression": ["near", "far"], "mean": [0.1, 5], "low": [0.0, 4], "high": [0.2, 6]}
    )
    said = gw.least_and_most(whole)
    assert said["kl-least"].endswith("nats after near")
    assert said["kl-most"].endswith("nats after far")
