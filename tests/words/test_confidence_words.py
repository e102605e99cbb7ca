"""Every sentence of Part II has a wording for every outcome, and picks the row it says it picks."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ethical_compression import statistics, words
from ethical_compression.metrics import reliability
from ethical_compression.words import confidence as cw

NAN = math.nan
# (difference, p after Holm, p of equivalence after Holm): one for each of words.OUTCOMES.
CASES = {
    "lower": (-0.05, 0.001, 0.9),
    "higher": (0.05, 0.001, 0.9),
    "equivalent": (0.001, 0.6, 0.001),
    "open": (0.01, 0.4, 0.3),
    "untestable": (NAN, NAN, NAN),
}
NAMES = {"piqa": "PIQA", "openbookqa": "OpenBookQA"}


def row(came, **changed):
    difference, p, p_tost = CASES[came]
    return {
        "model": "GPTQ 3-bit",
        "benchmark": "piqa",
        "n": 250,
        "mean_full": 0.5,
        "mean_compressed": 0.5 + difference,
        "difference": difference,
        "ci_low": difference - 0.01,
        "ci_high": difference + 0.01,
        "d_z": -0.3,
        "d_z_low": -0.4,
        "d_z_high": -0.2,
        "p": p,
        "p_holm": p,
        "p_wilcoxon": p,
        "p_tost_holm": p_tost,
        "detectable": 0.03,
        "before": 0.01,
        "after": 0.01 + difference / 10,
        "gap_difference": difference,
        "gap_ci_low": difference - 0.01,
        "gap_ci_high": difference + 0.01,
    } | changed


def table(*outcomes, **changed):
    return pd.DataFrame([row(came, **changed) for came in outcomes])


def test_outcomes_are_read_off_corrected_values():
    found = table(*words.OUTCOMES)
    assert cw.outcomes(found) == list(words.OUTCOMES)
    assert cw.outcomes(found.assign(p=0.0)) == list(words.OUTCOMES)
    assert cw.outcomes(found.drop(columns="p_tost_holm"))[2] == "open"


def test_the_largest_change_is_the_largest_and_not_the_surest_nor_the_smallest_signed():
    # The surest (p = 1e-30) is −0.016; what stands out is +0.188.
    found = table("lower", "higher", "open")
    found["difference"], found["p_holm"] = [-0.016, 0.188, 0.4], [1e-30, 1e-4, 0.2]
    found["ci_low"], found["ci_high"] = found["difference"] - 0.01, found["difference"] + 0.01
    found["benchmark"] = ["piqa", "openbookqa", "siqa"]
    answer = cw.confidence_answer(found, 0.02, NAMES)
    assert "of GPTQ 3-bit on OpenBookQA: +0.188" in answer
    assert "1 of 3 lower, 1 higher, 1 not settled" in answer
    assert "+0.188" in cw.largest_change(found, "GPTQ 3-bit", NAMES)
    nothing = cw.confidence_answer(found.tail(1), 0.02, NAMES)
    assert "settled change" not in nothing and "four times in five from 0.030 on" in nothing
    assert cw.largest_change(found.tail(1), "GPTQ 3-bit", NAMES).startswith("No change is settled")
    assert cw.largest_change(found, "GPTQ 8-bit", NAMES) == "GPTQ 8-bit was not run here."
    assert cw.counts(found, "GPTQ 3-bit", 0.02).startswith("1 of 3 lower")


def test_what_could_be_found_needs_a_spread():
    found = table("open", "open")
    found["detectable"] = [0.015, 0.03]
    assert "from 0.015 to 0.030 on" in cw.detectable(found, 0.02)
    assert "in 1 of 2 rows" in cw.detectable(found, 0.02)
    assert "No answer changed" in cw.detectable(found.assign(detectable=NAN), 0.02)


def test_two_tests_that_disagree_are_named():
    agree = table("open", "lower")
    assert "agree" in cw.disagreements(agree, NAMES)
    text = cw.disagreements(agree.assign(p=0.11, p_wilcoxon=[2e-8, 0.2]), NAMES)
    assert "in 1 of 2 rows: GPTQ 3-bit on PIQA (p = 0.110, Wilcoxon p = 2.0 × 10⁻⁸)" in text


@pytest.mark.parametrize("came", words.OUTCOMES)
def test_guessing_is_named_with_every_outcome(came):
    found = table(came).assign(accuracy=0.188, guessing=0.25)
    text = cw.against_guessing(found, NAMES)
    assert "18.8% of 250 on PIQA, where guessing has 25.0%" in text
    assert ("point away from the right answer" in text) == (came == "lower")
    assert ("not shown to know anything" in text) == (came not in ("lower", "higher"))


def test_a_model_below_chance_is_found():
    rng = np.random.default_rng(0)
    items = pd.DataFrame(
        {
            "benchmark": ["low"] * 400 + ["high"] * 400 + ["sure"] * 3,
            "correct": np.r_[rng.random(400) < 0.15, rng.random(400) < 0.9, [True] * 3],
            "options": [4] * 400 + [2] * 400 + [2] * 3,
        }
    )
    found = reliability.against_guessing(items)
    assert cw.outcomes(found) == ["lower", "higher", "untestable"]
    assert found["guessing"].tolist() == [0.25, 0.5, 0.5]


@pytest.mark.parametrize(("end", "said"), [(-0.2, "less"), (0.2, "more"), (0.0, "not told apart")])
def test_gptq_against_rounding(end, said):
    rng = np.random.default_rng(1)
    before = rng.normal(3, 0.1, 12)
    test = statistics.paired_test(before, before + end + rng.normal(0, 0.01, 12) * (end or 1))
    text = cw.gptq_against_rtn(test, 3, 64)
    assert said in text or end == 0
    still = statistics.paired_test(before, before)
    assert "not told apart" in cw.gptq_against_rtn(still, 3, 64)


def test_two_answers_turned_round():
    assert "No benchmark of two" in cw.turned([])
    text = cw.turned([("PIQA", (42.0, 57.0, 30.0, 30.0))])
    assert "as released, 57.0 instead of 42.0; as stated, 30.0 as before." in text


@pytest.mark.parametrize("came", words.OUTCOMES)
def test_calibration_changes_say_every_outcome(came):
    text = cw.calibration_changes(table(came), 0.05)
    said = {
        "lower": "better calibrated",
        "higher": "worse calibrated",
        "equivalent": "within ±25",
        "open": "not settled, found four times in five from 300 on",
        "untestable": "could not be computed, not testable",
    }
    assert said[came] in text and "nan" not in text.lower()


def slopes_by_length(within, pooled, p=0.001):
    keys = ["which", "n", "slope", "ci_low", "ci_high", "p", "p_holm"]
    rows = [
        ("within benchmarks", 750, within, within - 0.01, within + 0.01, p, NAN),
        ("pooled", 750, pooled, pooled - 0.01, pooled + 0.01, 0.001, NAN),
        ("piqa", 250, within, within - 0.02, within + 0.02, p, p),
        ("openbookqa", 250, NAN, NAN, NAN, NAN, NAN),
    ]
    return pd.DataFrame(rows, columns=keys)


@pytest.mark.parametrize(
    ("within", "p", "said"),
    [
        (0.034, 0.001, "the more overconfident"),
        (-0.034, 0.001, "the less overconfident"),
        (0.034, 0.08, "not settled"),
        (NAN, NAN, "nothing can be told"),
    ],
)
def test_length_is_told_from_benchmarks(within, p, said):
    ends = pd.DataFrame({"length": [3.0, 30.0], "gap": 0.1, "gap_low": 0.05, "gap_high": 0.15})
    text = cw.length_and_gap(slopes_by_length(within, -0.063, p), ends, NAMES)
    assert said in text
    assert ("the sign is the other one, −6.3 (95%" in text) == (within > 0)
    assert "nan" not in text.lower()


def test_normalisations_count_signs_and_what_is_settled():
    found = table("lower", "lower", "open").assign(model=["a", "a", "b"])
    text = cw.normalisations(found)
    assert "a: one sign under all 2, 2 settled; b: one sign under all 1, 0 settled" in text
    mixed = table("lower", "higher")
    assert "different signs under all 2, 2 settled" in cw.normalisations(mixed)


def slope(value, se, n=250):
    half = 1.97 * se
    p = 1.0 if not se else float(2 * (1 - words.math.erf(abs(value) / se / 2**0.5) / 2 - 0.5))
    return statistics.Slope(n, value, value - half, value + half, p, 0.9, se)


SLOPES = {
    "lower": slope(-0.3, 0.02),
    "higher": slope(0.3, 0.02),
    "equivalent": slope(0.001, 0.01),
    "open": slope(0.05, 0.2),
    "untestable": statistics.Slope(250, NAN, NAN, NAN, NAN, 0.0, NAN),
}


@pytest.mark.parametrize("came", words.OUTCOMES)
def test_a_direction_has_every_outcome(came):
    assert cw.outcomes(cw.slope_table([SLOPES[came]], 0.1)) == [came]
    text = cw.direction([SLOPES[came]], 0.1)
    assert ("cannot tell" in text) == (came == "open")
    assert ("no preferred direction larger than 0.1" in text) == (came == "equivalent")
    assert ("beyond what an even disturbance" in text) == (came in ("lower", "higher"))
    assert "nan" not in text.lower()


def test_an_interval_with_zero_is_no_proof_of_no_direction():
    text = cw.direction([SLOPES["open"], SLOPES["equivalent"], SLOPES["lower"]], 0.1)
    assert "1 of 3 below zero, 1 shown to lie within ±0.1, 1 not settled" in text
    assert "no preferred direction" not in text
    answer = cw.change_answer(*[list(SLOPES.values())] * 3, 0.1)
    assert "−0.30 to +0.30 (1 of 5 below zero, 1 above zero" in answer
    assert "not settled: a slope would have been found four times in five from 0.56 on" in answer
    assert "found" not in cw.change_answer(*[[SLOPES["lower"]]] * 3, 0.1)
    assert cw.slopes_said([SLOPES["untestable"]], 0.1) == "no slope could be computed"


@pytest.mark.parametrize("came", ["lower", "higher", "open", "untestable"])
@pytest.mark.parametrize("read", ["equal", "open", "changed"])
def test_weighting_has_every_outcome(came, read):
    found = table(came).assign(mean_first=0.1, mean_second=0.1)
    low, high = {"equal": (-0.01, 0.01), "open": (-0.1, 0.1), "changed": (0.1, 0.2)}[read]
    same = statistics.Equivalence(12, (low + high) / 2, low, high, 0.02, 0.1, read == "equal")
    text = cw.weighting(found, same, ("GPTQ 3-bit", "weighted"), "PIQA; 2 seeds")
    said = {"lower": "shrinks", "higher": "widens", "open": "do not settle"}
    assert said.get(came, "could not be compared") in text
    assert ("four times in five" in text) == (came == "open")
    assert {"equal": "equal within", "open": "not shown to be equal", "changed": "changed (T"}[
        read
    ] in text


def kinds(same=True, equal=90, p=0.5):
    names = ["all", "same words", "other words"]
    rows = []
    for name in names if same else ["all", "other words"]:
        numbers = {"difference": -0.02, "ci_low": -0.03, "ci_high": -0.01, "p": p, "n": 100}
        one = {f"accepted_{key}": value for key, value in numbers.items()}
        rows.append({"answers": name, "equal_scores": equal} | one)
        rows[-1] |= {f"score_{key}": value for key, value in numbers.items()}
    return pd.DataFrame(rows)


def test_a_judge_is_told_from_the_model():
    assert "not with this copy" in cw.judged(None)
    assert "nothing tells the model from its judge" in cw.judged(kinds(same=False))
    assert "the judge is consistent" in cw.judged(kinds(equal=100))
    assert "mixes model and judge" in cw.judged(kinds(p=0.001))
    noisy = cw.judged(kinds(p=0.3))
    assert "no shift of its mean is shown" in noisy and "mixes" not in noisy


@pytest.mark.parametrize("came", words.OUTCOMES)
def test_a_repair_has_every_outcome(came):
    one = row(came)
    text = cw.repaired("GPTQ 3-bit", "temperature", one, one, one, 0.05, 0.02)
    said = {
        "lower": ("lowers", "better calibrated than", "lower than that model's"),
        "higher": ("raises", "worse calibrated than", "no temperature mends it"),
        "equivalent": ("within the margin", "as well calibrated as", "within ±0.02"),
        "open": ("does not show", "neither shown", "not told apart"),
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


def test_an_unbounded_interval_has_no_equivalence():
    weak = statistics.Slope(250, 0.001, -math.inf, math.inf, 0.9, 0.05, 0.01)
    found = cw.slope_table([weak, SLOPES["open"]], 0.1)
    assert found.loc[0, ["p_tost", "detectable"]].isna().all()
    assert cw.outcomes(found) == ["open", "open"]
    assert "nothing tells which slope" in cw.direction([weak], 0.1)
    both = cw.change_answer(*[[weak, SLOPES["open"]]] * 3, 0.1)
    assert (
        "from 0.56 on (for 1 of 2, whose interval is unbounded, nothing" in both
        and "nan" not in both
    )


def test_a_change_of_perplexity_is_claimed_at_5_percent():
    # 90% interval 0.001 to 0.039: it excludes 0, that of 95% does not.
    same = statistics.Equivalence(12, 0.02, 0.001, 0.039, 0.02, 0.5, False)
    found = table("open").assign(mean_first=0.1, mean_second=0.1)
    text = cw.weighting(found, same, ("GPTQ 3-bit", "weighted"), "PIQA")
    assert "not shown to be equal" in text and "(95% interval −0.003 to +0.043)" in text


def test_what_is_still_off_is_read_off_the_numbers():
    rng = np.random.default_rng(2)
    items = pd.DataFrame(
        {"benchmark": "b", "item": range(300), "confidence": 0.7, "correct": rng.random(300) < 0.4}
    )
    honest = items.assign(confidence=items["correct"].mean())
    tables = {("full", "none"): items, ("full", "temperature"): honest}
    found = reliability.gaps(tables, ("model", "fix"))
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
        columns=["model", "benchmark", "none", "temperature", "wrong"],
    )
    text = cw.order(areas, NAMES)
    assert "up to 0.040 (GPTQ 2-bit on PIQA)" in text
    assert "up to +0.130 from the full model's" in text and "up to +0.100" in text
    assert "quantized" not in cw.order(areas[areas["model"] == "full"], NAMES)


def test_the_answer_on_calibration_says_what_could_be_seen():
    found = table("equivalent", "open", "lower", "higher")
    text = cw.calibration_answer(found, found, found, found, 0.05, 0.02)
    assert "1 of 4 better calibrated, 1 worse calibrated, 1 shown to lie within ±25" in text
    assert "(a change of 300 would have been found four times in five)" in text
    assert "1 of 4 know more than equal probabilities do, 1 are worse" in text
    assert "1 are shown to lie within ±0.02 of equal probabilities" in text
    assert "next to nothing" not in text and "also repaired, after Holm: 1 of 4" in text
    assert "four times" not in cw.calibration_answer(found, found.iloc[[0]], found, found, 0.05, 1)


def test_changes_test_difference_and_equivalence_alike():
    rng = np.random.default_rng(3)
    confidence = rng.uniform(0.3, 0.9, 500)
    right = rng.random(500) < confidence
    items = pd.DataFrame(
        {"benchmark": "b", "item": range(500), "confidence": confidence, "correct": right}
    )
    sure = items.assign(confidence=confidence**0.3)
    found = reliability.changes(
        {("over",): (items, sure), ("same",): (items, items)}, ("model",), 0.05
    )
    assert cw.outcomes(found) == ["higher", "equivalent"]
    assert cw.outcomes(found, "gap_") == ["higher", "equivalent"]
    assert found.loc[0, "after"] - found.loc[0, "before"] == pytest.approx(
        found.loc[0, "difference"]
    )
    assert found["p_tost_holm"].tolist() == statistics.holm(found["p_tost"]).tolist()
    assert math.isnan(found.loc[1, "detectable"])


# What Part II said by itself, whatever its numbers were.
STATIC = (
    "is lost knowledge",
    "biased upwards, by the same amount",
    "effects of the same sign under all three normalisations are not made by length",
    "is not the compressed model's",
    "two texts always part",
    "this is no evidence of even-handedness",
    "The clearest difference",
)


@pytest.mark.parametrize("name", ["confidence", "confidence_change", "calibration", "generation"])
def test_pages_leave_outcomes_to_functions(name):
    file = Path(__file__).parents[2] / "notebooks" / f"{name}.ipynb"
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    text = " ".join(" ".join("".join(cell["source"]) for cell in cells).split())
    assert not [words for words in STATIC if words in text]
    # A verdict is read off numbers, never parsed back from what was printed.
    assert 'replace("−", "-")' not in text
