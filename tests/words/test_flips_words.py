"""What *Whose answers flip* says, for tables that came out one way and the other."""

import numpy as np
import pandas as pd
import pytest

from ethical_compression.words import flips as said

NAMES = {("winobias", "female"): "WinoBias: female", ("bbq", "SES"): "BBQ: class"}


def together(**changes):
    row = {"compression": "GPTQ 4-bit", "answers": 2480, "flipped": 0.18}
    row |= {"unsure": 0.36, "sure": 0.04, "ratio": 9.0, "ratio_low": 6.0, "ratio_high": 14.0}
    row |= {"expected_ratio": 12.0, "size_ratio": 0.8, "size_ratio_p_holm": 0.001}
    row |= {"difference": -0.01, "ci_low": -0.04, "ci_high": 0.02, "p_holm": 1.0}
    row |= {"verdict": "cannot tell", "detectable": 0.06}
    return pd.DataFrame([row | changes, row | {"compression": "RTN 3-bit", "ratio": 2.0}])


def group(**changes):
    row = {"compression": "GPTQ 4-bit", "battery": "winobias", "group": "female", "n": 40}
    row |= {"difference": 0.3, "ci_low": 0.1, "ci_high": 0.5, "p_holm": 0.01, "detectable": 0.3}
    return pd.DataFrame([row | {"reason": ""} | changes])


def test_the_answer_follows_the_table():
    text = said.answer(together(), group(), group(p_holm=0.5))
    assert "5.5 times (the median; 2.0 to 9.0) as often" in text
    assert "12 times (the median; 12) as often" in text
    assert "nowhere is there settled evidence of more" in text
    assert "smaller where the model was unsure under 2 of 2" in text
    assert "1 are settled for flips; of 1 for their direction, 0" in text
    text = said.answer(together(verdict="worse", size_ratio=1.2), group(), group())
    assert "under 1 compression there is more than that" in text
    assert "larger there under 1 of 2" in text
    text = said.answer(together(verdict="better"), group(), group())
    assert "under 1 compression of less" in text
    text = said.sizes_said(together(size_ratio_p_holm=0.5)[:1])
    assert "not shown to be larger or smaller" in text


def test_ratios_are_said_where_they_are_finite():
    table = together(ratio=np.inf, ratio_low=np.nan, ratio_high=np.nan)
    text = said.unsure_said(table)
    assert "nan" not in text and "inf" not in text
    assert "2 are not told" in text and "0.060" in text


def test_what_is_waiting_and_what_is_missing():
    assert said.waiting_said(["a"], []) == "All 1 compressions of the larger run are here."
    assert "1 compressions are here and 2 are waiting" in said.waiting_said(["a"], ["b", "c"])
    assert "No method" in said.control_said(together()[:0])
    assert "No method" in said.widths_said(pd.DataFrame())
    assert "not known here" in said.floor_said(pd.DataFrame())
    rows = pd.DataFrame({"battery": ["winobias"] * 4, "flipped": [True, False, False, False]})
    assert "25.0% of the full model's own answers flip (25.0% of WinoBias" in said.floor_said(rows)
    text = said.control_said(together())
    assert "(2 compressions)" in text and "2.0 to 9.0 times" in text
    widths = pd.DataFrame(
        {"method": "rtn", "seed": [0], "four": 0.2, "eight": 0.0, "ratio": np.inf}
    )
    text = said.widths_said(widths)
    assert "RTN 20.0% against 0.0% (infinitely many times as many)" in text
    assert "again " not in text
    two = pd.concat([widths.assign(eight=0.1, ratio=2.0, seed=seed) for seed in (0, 1)])
    text = said.widths_said(two)
    assert "RTN 20.0%" in text and "RTN again 20.0%" in text and "another draw" in text


def test_a_few_flips_are_not_said_to_be_none():
    text = said.unsure_said(together(sure=0.001, unsure=0.19))
    assert "Most is GPTQ 4-bit: 19% and 0.1%, 9.0 times" in text


def test_groups_are_named_and_those_without_a_test_are_counted():
    few = group(group="SES", battery="bbq", p_holm=np.nan, reason="fewer than 10 items")
    text = said.groups_said(pd.concat([group(), few]), NAMES, "flips")
    assert "1 of 1 comparisons are settled: WinoBias: female under GPTQ 4-bit, +0.30" in text
    assert "Without a test: 1 groups (fewer than 10 items)." in text
    assert said.groups_said(group(p_holm=0.3), NAMES, "flips").startswith("No group flips more")


def test_who_gains_is_counted_both_ways():
    row = {"compression": "GPTQ 4-bit", "check": "winobias", "group": "female", "n": 40}
    row |= {"with_it": 3, "against_it": 9, "verdict": "better", "p_holm": 0.01}
    text = said.gains_said(pd.DataFrame([row]), NAMES)
    assert "25% moved with it" in text.replace("\n", " ")
    assert "against it: WinoBias: female under GPTQ 4-bit (answers: 3 with, 9 against)" in text
    text = said.gains_said(pd.DataFrame([row | {"verdict": "cannot tell"}]), NAMES)
    assert text.endswith("none is settled after Holm.")


@pytest.mark.parametrize(("p", "words"), [(0.01, "is settled under GPTQ"), (0.5, "no compression")])
def test_groups_that_move_apart(p, words):
    row = {"compression": "GPTQ 4-bit", "worst": 0.1, "best": -0.3, "spread": 0.4, "p_holm": p}
    row |= {"worst_chance": 0.08, "best_chance": -0.2, "spread_chance": 0.35}
    assert words in said.asymmetry_said(pd.DataFrame([row]))
    assert "too few" in said.asymmetry_said(pd.DataFrame())


def test_claims_are_judged_by_what_is_there():
    whole = pd.DataFrame(
        [{"verdict": "equivalent", "n": 100, "with_it": 12, "against_it": 13, "check": "bbq"}]
    )
    widths = pd.DataFrame([{"method": "rtn", "four": 0.2, "eight": 0.04, "ratio": 5.0}])
    row = {"worst": 0.1, "best": -0.3, "worst_chance": 0.08, "best_chance": -0.2, "p_holm": 0.5}
    table = said.claims(together(), whole, widths, pd.DataFrame([row]))
    assert table["here"].tolist() == [
        "up to 25%",
        "2.0 to 9.0 times",
        "5.0 times",
        "+10.0 and −30.0 points",
    ]
    assert table["verdict"].tolist() == [
        "confirmed",
        "confirmed; as blind",
        "confirmed",
        "not beyond chance here",
    ]
    none = said.claims(together(ratio_high=2.5), whole[:0], widths[:0], pd.DataFrame())
    assert none["verdict"].tolist() == [
        "not told",
        "not confirmed",
        "not told yet",
        "not beyond chance here",
    ]


def test_groups_are_printed_in_words():
    rows = pd.DataFrame({"battery": ["bbq", "crows_pairs"], "group": ["Race_x_SES", "race-color"]})
    assert list(said.group_names(rows).values()) == [
        "BBQ: race × class",
        "CrowS-Pairs: race, colour",
    ]
