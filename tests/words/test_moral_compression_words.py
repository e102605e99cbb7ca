"""Each sentence on what survives compression over the whole table of outcomes."""

import math

import pandas as pd
import pytest
from outcome_rows import MORAL_CASES

from ethical_compression import words
from ethical_compression.statistics import dose_response
from ethical_compression.words import moral_compression as moral_words


def survival(*outcomes, small=1.0):
    rows = [{"compression": "full", "direction": way, "shift": 0.5} for way in ("moral", "immoral")]
    for number, found in enumerate(outcomes):
        change, p, equal = MORAL_CASES[found]
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
    change, p, equal = MORAL_CASES[found]
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
    assert text == "0.020 nats a token for DPO_M (4% of its shift)"
    still = survival("equivalent").assign(detectable=math.nan)
    assert moral_words.could_have_found(still) == "none, as nothing changes"


def test_tables_for_readers_have_a_row_a_comparison_and_formats_of_columns_they_show():
    found = survival("lower", "higher", "open")
    found["verdict"] = "weaker"
    made = moral_words.survival_table(found, 0.1)
    assert len(made["data"]) == 3
    assert set(made["columns"]) <= set(made["data"].columns)
    assert set(made["formats"]) <= set(made["columns"].values())
    row = found.iloc[2]
    change = words.signed(row["difference"]), words.signed(row["ci_low"])
    assert made["data"]["change"].iloc[0].startswith(f"{change[0]} ({change[1]} to")
    own = moral_words.calibration_table(found.iloc[2:].assign(stories="held out"), "A", "B")
    assert "Other text is A on this page's stories and B in the kept run" in own["caption"]


def test_the_hardest_change_is_that_of_the_largest_effect():
    found = survival("open", "lower")
    said = moral_words.hardest(found)
    rows = moral_words.compared(found)
    assert said.startswith(rows.loc[rows["d_z"].abs().idxmax(), "compression"])


def test_layers_are_named_where_there_are_any():
    found = survival("lower")
    found.loc[2, ["compression", "verdict"]] = ["without 3 upper layers", "weaker"]
    assert moral_words.layers(found).endswith("nats a token for DPO_M (weaker)")
    assert moral_words.layers(survival("lower")) == ""
