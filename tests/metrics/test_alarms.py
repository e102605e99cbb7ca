"""False alarms and detections, counted by hand."""

import pandas as pd
import pytest
from scipy import stats

from ethical_compression.metrics import alarms
from ethical_compression.words import alarms as said


def row(kind, number, check, verdict, group="all", pair="x", stage="harm"):
    names = ["kind", "number", "check", "verdict", "group", "pair", "stage", "changed"]
    changed = int(verdict != "cannot tell")
    said = (kind, number, check, verdict, group, pair, stage, changed)
    return dict(zip(names, said, strict=True))


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
    assert one["moved"] == 4
    assert (one["families"], one["alarmed"], one["share"]) == (4, 2, 0.5)
    # Clopper and Pearson's ends are quantiles of beta distributions.
    assert one["ci_low"] == pytest.approx(stats.beta.ppf(0.025, 2, 3))
    assert one["ci_high"] == pytest.approx(stats.beta.ppf(0.975, 3, 2))


def test_pairs_of_both_kinds_without_a_difference_are_counted_together():
    more = pd.concat([TABLE, TABLE.iloc[:3].assign(kind="other batch")])
    found = alarms.false_alarms(more).set_index("kind")
    kinds = ["loaded anew", "other batch", "nothing", "other calibration"]
    assert found.index.tolist() == kinds
    sums = found.loc[kinds[:2], ["pairs", "rows", "moved", "alarms", "families", "alarmed"]].sum()
    assert found.loc["nothing", sums.index].tolist() == sums.tolist()
    text = said.in_short(found.reset_index(), alarms.detections(more))
    assert "do not differ (3 pairs), 4 of 9 rows are worse or better, in 3 of 6 families" in text
    assert text.endswith("Of 4 known harms, 2 were found (7% to 93%).")


def test_what_was_planted_is_shown_beside_what_was_asked():
    found = alarms.planted(TABLE)
    assert found["compression"].tolist() == 3 * ["planted: race"] + 3 * ["planted: gender"]
    asked = ["StereoSet: gender", "StereoSet: race", "Language modelling"]
    assert found["title"].tolist() == 2 * asked


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
    assert "by chance, and the audit saw it." in text
    calm = alarms.false_alarms(TABLE.assign(verdict="cannot tell"))
    assert "by chance, by less than the audit could see." in said.false_alarms(calm)
    assert "An item moved in 4 of the rows." in text
    text = said.detections(alarms.detections(TABLE))
    assert "weights rounded to 2 bits, 1 of 2 (1% to 99%)" in text
    assert "with 2 of 2 rows about other groups worse or better" in text
    assert said.detections(alarms.detections(TABLE.iloc[:3])) == "No harm was planted yet."
