"""What is said of four kinds of harm, over what the verdicts can come to."""

import math

import pandas as pd
import pytest

from ethical_compression.errors import InputError
from ethical_compression.words import harms as said


def row(verdict, kind="Dialect", title="Gap", difference=0.1, **more):
    found = {"kind": kind, "harm": title, "title": title, "compression": "GPTQ 3-bit"}
    found |= {"unit": "share", "difference": difference, "margin": 0.05, "floor": 0.0}
    found |= {"ci_low": difference - 0.02, "ci_high": difference + 0.02, "p": 0.01}
    found |= {"p_holm": 0.02, "detectable": 0.1, "reason": "", "verdict": verdict}
    return found | more


@pytest.mark.parametrize("came", list(said.SAID))
def test_every_verdict_is_counted_and_none_is_told_as_another(came):
    text = said.answer(pd.DataFrame([row(came)]))
    assert "Of 1 comparisons (1 harm in 1 kind, under GPTQ 3-bit)" in text
    assert f"1 is {said.SAID[came]}." in text
    for other in set(said.SAID) - {came}:
        assert said.SAID[other] not in text
    settled = came in ("worse", "better")
    assert (f"{came.capitalize()}: dialect, Gap (GPTQ 3-bit)." in text) == settled
    assert ("No change is settled in dialect." in text) != settled


def test_the_answer_names_kinds_that_are_settled_and_those_that_are_open():
    rows = [
        row("worse"),
        row("worse", compression="Wanda 50%"),
        row("better", "Degeneration", "Repetition"),
        row("cannot tell", "Representation", "BBQ"),
        row("equivalent", "Representation", "StereoSet"),
    ]
    text = said.answer(pd.DataFrame(rows))
    assert "2 are settled as worse, 1 is settled as better, 1 is shown" in text
    assert "Worse: dialect, Gap (GPTQ 3-bit and Wanda 50%)." in text
    assert "Better: degeneration, Repetition (GPTQ 3-bit)." in text
    assert text.endswith("No change is settled in representation.")
    with pytest.raises(InputError, match="no verdicts"):
        said.answer(pd.DataFrame(columns=list(row("worse"))))


def test_a_settled_change_is_not_passed_over_for_a_larger_one():
    rows = [row("worse"), row("cannot tell", title="Other", difference=0.9)]
    text = said.kind_said(pd.DataFrame(rows))
    assert "the largest settled change is that of Gap" in text
    assert "found four times in five from 2.0 times the margin" in text
    text = said.kind_said(pd.DataFrame(rows[1:]))
    assert "the largest change, not settled, is that of Other" in text
    with pytest.raises(InputError, match="one kind"):
        said.kind_said(pd.DataFrame([row("worse"), row("worse", "Degeneration")]))


def test_what_could_not_be_tested_is_told():
    rows = [row("cannot tell", p=math.nan, detectable=math.nan, reason="fewer than 10 items")]
    assert said.kind_said(pd.DataFrame(rows)) == (
        "Dialect: nothing could be tested (fewer than 10 items)."
    )


def test_flips_are_set_beside_their_floor():
    names = ("title", "compression", "flipped", "flipped_floor")
    rows = [("BBQ", "a", 0.1, 0.0), ("PIQA", "b", 0.3, 0.0)]
    text = said.moved_said(pd.DataFrame(rows, columns=names))
    assert "Between 10% (BBQ, a) and 30% (PIQA, b)" in text and "changes none" in text
    rows[0] = ("BBQ", "a", 0.1, 0.2)
    text = said.moved_said(pd.DataFrame(rows, columns=names))
    assert "up to 20.0%" in text and "1 of the 2 rows" in text


def test_floors_margins_and_what_is_left_out():
    assert "no harm" in said.floors_said(pd.DataFrame([row("worse")]))
    assert "Gap, 0.010 (0.200 of its margin)" in said.floors_said(
        pd.DataFrame([row("worse", floor=0.01)])
    )
    assert said.margins_said({"share": 0.05, "nats": 0.1}, ["nats", "share", "nats"]) == (
        "0.1 for nats and 0.05 for a share"
    )
    assert said.left_out({}) == "Nothing was left out."
    assert said.left_out({"Dialect": "no mirror."}) == "Dialect was left out: no mirror."


def test_corrected_toxicity_counts_the_intervals_that_leave_out_zero():
    rows = [(-0.1, -0.3, 0.1, ""), (0.2, 0.1, 0.4, ""), (math.nan, math.nan, math.nan, "few")]
    table = pd.DataFrame(rows, columns=["difference", "ci_low", "ci_high", "note"])
    text = said.toxicity_said(table)
    assert "between −0.10 and +0.20" in text and "1 of 2 intervals leave out zero" in text
    assert "not known: few." in said.toxicity_said(table.iloc[2:])


def test_scores_stand_side_by_side():
    row = {"battery": "B", "score": "s", "scale": "0 to 1", "n": 9, "compression": "full"}
    row |= {"value": 0.5, "ci_low": 0.25, "ci_high": -0.75}
    count = row | {"score": "words", "value": 7.0, "ci_low": math.nan, "ci_high": math.nan}
    other = row | {"compression": "RTN 4-bit", "value": -0.125}
    table = said.side_by_side(pd.DataFrame([row, count, other]))
    assert table.columns.tolist() == ["Battery", "Score", "Scale", "Items", "full", "RTN 4-bit"]
    assert table["full"].tolist() == ["0.50 (0.25 to −0.75)", "7"]
    assert table["RTN 4-bit"].tolist()[0] == "−0.12 (0.25 to −0.75)"
    assert table["RTN 4-bit"].isna().tolist() == [False, True]
