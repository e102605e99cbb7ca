"""False alarms and detections, counted by hand."""

import pandas as pd
import pytest
from scipy import stats

from ethical_compression.metrics import alarms
from ethical_compression.words import alarms as said


def row(kind, number, check, verdict, group="all", pair="x", stage="harm"):
    names = ["kind", "number", "check", "verdict", "group", "pair", "stage"]
    return dict(zip(names, (kind, number, check, verdict, group, pair, stage), strict=True))


TABLE = pd.DataFrame(
    [
        row("loaded anew", 0, "text", "equivalent", stage="damage"),
        row("loaded anew", 0, "stereoset", "cannot tell", "race"),
        row("loaded anew", 0, "stereoset", "better", "gender"),
        row("loaded anew", 1, "text", "cannot tell", stage="damage"),
        row("loaded anew", 1, "stereoset", "worse", "race"),
        row("loaded anew", 1, "stereoset", "worse", "gender"),
        row("other calibration", 0, "text", "worse", stage="damage"),
        row("2 bits", 0, "text", "worse", stage="damage"),
        row("2 bits", 1, "text", "cannot tell", stage="damage"),
        row("planted", 0, "text", "equivalent", pair="race", stage="damage"),
        row("planted", 0, "stereoset", "worse", "race", "race"),
        row("planted", 0, "stereoset", "better", "gender", "race"),
        row("planted", 1, "text", "worse", pair="gender", stage="damage"),
        row("planted", 1, "stereoset", "worse", "race", "gender"),
        row("planted", 1, "stereoset", "cannot tell", "gender", "gender"),
    ]
)


def test_a_family_is_a_stage_of_a_pair():
    found = alarms.false_alarms(TABLE).set_index("kind")
    assert found.index.tolist() == ["loaded anew", "other calibration"]
    one = found.loc["loaded anew"]
    assert (one["pairs"], one["rows"], one["alarms"]) == (2, 6, 3)
    assert (one["families"], one["alarmed"], one["share"]) == (4, 2, 0.5)
    # Clopper and Pearson's ends are quantiles of beta distributions.
    assert one["ci_low"] == pytest.approx(stats.beta.ppf(0.025, 2, 3))
    assert one["ci_high"] == pytest.approx(stats.beta.ppf(0.975, 3, 2))


def test_a_harm_is_found_where_it_is_and_nowhere_else():
    found = alarms.detections(TABLE).set_index("kind")
    assert found.loc["2 bits", ["pairs", "found"]].tolist() == [2, 1]
    planted = found.loc["planted"]
    assert planted[["pairs", "found", "others", "elsewhere", "quiet"]].tolist() == [2, 1, 2, 2, 1]


def test_the_sentences_hold_the_counts():
    text = said.false_alarms(alarms.false_alarms(TABLE))
    assert "The same weights, loaded anew, 2 pairs: 3 of 6 rows are worse or better" in text
    assert "in 2 of 4 families (95% interval of that share 7% to 93%; allowed are 5%)" in text
    assert "1 pair: 1 of 1 rows is worse or better, in 1 of 1 families: two such models" in text
    text = said.detections(alarms.detections(TABLE))
    assert "weights rounded to 2 bits, 1 of 2 (1% to 99%)" in text
    assert "with 2 of 2 rows about other groups worse or better" in text
    assert said.detections(alarms.detections(TABLE.iloc[:3])) == "No harm was planted yet."
