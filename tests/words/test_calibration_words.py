"""Every sentence of *What calibration repairs* has a wording for every outcome."""

import numpy as np
import pandas as pd
import pytest
from outcome_rows import CASES, NAMES, row, table

from ethical_compression import statistics, words
from ethical_compression.metrics import reliability
from ethical_compression.words import calibration as cw


@pytest.mark.parametrize("came", words.OUTCOMES)
def test_a_repair_has_every_outcome(came):
    one = row(came)
    text = cw.repaired("GPTQ 3-bit", "temperature", one, one, one, 0.05, 0.02)
    said = {
        "lower": ("lowers", "better calibrated than", "lower than that model's"),
        "higher": ("raises", "worse calibrated than", "no temperature mends it"),
        "equivalent": ("within the margin", "as well calibrated as", "within ±0.02"),
        "open": ("is not shown to change", "neither shown", "not told apart"),
        "untestable": ("cannot be shown", "not comparable with the full", "not comparable with t"),
    }
    assert all(part in text for part in said[came])
    assert "stays" not in text and "nan" not in text.lower()
    assert "squared points" in text
    carried = cw.carried_over(table(came), 0.05)
    assert {"lower": "better with", "higher": "worse with", "equivalent": "alike"}.get(
        came, "not "
    ) in carried
    equal = cw.against_equal(table(came), 0.02)
    assert {"lower": "knows more", "higher": "worse than saying", "equivalent": "±0.02 of eq"}.get(
        came, "not"
    ) in equal
    # The p printed is that of the verdict: of equivalence where it is one, of a difference else.
    p = words.p_text(CASES[came][2 if came == "equivalent" else 1])
    p = f"equivalence {p}" if came == "equivalent" else p
    assert equal.endswith(f", {p} after Holm)") and text.endswith(f", {p} after Holm.")


@pytest.mark.parametrize(("margin", "share"), [(0.02, "60%"), (0.08, "70%")])
def test_what_lies_within_a_margin_of_nothing_may_know_something(margin, share):
    equal = cw.against_equal(table("equivalent"), margin)
    assert f"(as does a calibrated model right in {share} of two-option questions)" in equal
    right = float(share.strip("%")) / 100
    brier = right * 2 * (1 - right) ** 2 + (1 - right) * 2 * right**2
    assert 0.5 - brier == pytest.approx(margin)
    assert "calibrated model" not in cw.against_equal(table("equivalent"), 0.6)


def test_what_is_still_off_is_read_off_the_numbers():
    rng = np.random.default_rng(2)
    items = pd.DataFrame(
        {"benchmark": "b", "item": range(300), "confidence": 0.7, "correct": rng.random(300) < 0.4}
    )
    honest = items.assign(confidence=items["correct"].mean())
    tables = {("full", "none"): items, ("full", "temperature"): honest}
    found = reliability.gaps(tables, ("compression", "fix"))
    text = cw.still_off(found, ["full"], ["none", "temperature"])
    assert "full with no fix +27.0" in text and "points, too sure; full with temperature" in text
    assert "after Holm: 1 of 1 not settled, found four times in five from 8.0 points on" in text
    assert "found" not in cw.still_off(found.assign(p_holm=0.001), ["full"], ["none"])


def test_a_temperature_moves_the_area_too():
    areas = pd.DataFrame(
        [
            ("full", "piqa", 0.30, 0.31, 0.35),
            ("full", "openbookqa", 0.5, 0.5, 0.6),
            ("GPTQ 2-bit", "piqa", 0.40, 0.44, 0.45),
            ("GPTQ 2-bit", "openbookqa", 0.5, 0.5, 0.6),
        ],
        columns=["compression", "benchmark", "none", "temperature", "wrong"],
    )
    text = cw.order(areas, NAMES)
    assert "up to 0.040 (GPTQ 2-bit on PIQA)" in text
    assert "up to +0.130 from the full model's" in text and "up to +0.100" in text
    assert "quantized" not in cw.order(areas[areas["compression"] == "full"], NAMES)


def test_the_answer_on_calibration_says_what_could_be_seen():
    found = table("equivalent", "open", "lower", "higher")
    text = cw.answer(found, found, found, found, 0.05, 0.02)
    assert "1 of 4 better calibrated, 1 worse calibrated, 1 shown to lie within ±25" in text
    assert "(a change of 300 would have been found four times in five)" in text
    assert "1 of 4 better than equal probabilities, 1 worse" in text
    assert "1 shown to lie within ±0.02 of equal probabilities" in text
    assert "next to nothing" not in text and "also repaired, after Holm: 1 of 4" in text
    assert "four times" not in cw.answer(found, found.iloc[[0]], found, found, 0.05, 1)


def test_each_width_of_the_prose_is_told_or_said_not_to_be_here():
    one = table("lower")
    said = cw.by_width((4, 3), one, one, one, 0.05, 0.02)
    assert said["4"] == "4 bits were not run here."
    assert said["3"] == cw.repaired("GPTQ 3-bit", "temperature", *[row("lower")] * 3, 0.05, 0.02)


def test_what_would_have_been_found_needs_a_spread():
    tests = pd.DataFrame({"se": [0.0, 0.01, 0.02], "n": 101})
    least, most = (statistics.minimum_detectable(se, 100) for se in (0.01, 0.02))
    assert cw.found_from(tests) == f"from {least:.3f} to {most:.3f}"
    assert cw.found_from(tests.head(1)) == "none at all"


def test_fitted_numbers_stand_a_model_a_row():
    keys = [("full", "piqa", fix) for fix in ("temperature", "temperature and length")]
    index = pd.MultiIndex.from_tuples(keys, names=["compression", "benchmark", "fix"])
    numbers = pd.DataFrame({"temperature": [2.0, 3.0], "length_weight": [0.0, -0.05]}, index)
    (found,) = cw.fitted_numbers(numbers, {"piqa": "PIQA"}).to_dict("records")
    assert found == {
        "Model": "full",
        "PIQA: T": "2.0",
        "PIQA: T, with length": "3.0",
        "PIQA: γ": "−0.050",
    }
