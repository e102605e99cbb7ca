"""Every sentence of *Confidence before and after* has a wording for every outcome."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from outcome_rows import NAMES, NAN, table

from ethical_compression import kept_tables, statistics, words
from ethical_compression.metrics import reliability
from ethical_compression.words import confidence as cw


def test_the_largest_change_is_the_largest_and_not_the_surest_nor_the_smallest_signed():
    # The surest (p = 1e-30) is −0.016; what stands out is +0.188.
    found = table("lower", "higher", "open")
    found["difference"], found["p_holm"] = [-0.016, 0.188, 0.4], [1e-30, 1e-4, 0.2]
    found["ci_low"], found["ci_high"] = found["difference"] - 0.01, found["difference"] + 0.01
    found["benchmark"] = ["piqa", "openbookqa", "siqa"]
    guessing = table("higher", "higher").assign(benchmark=["piqa", "openbookqa"])
    moved = table("higher", "open").assign(model=["GPTQ 3-bit", "GPTQ 4-bit"])
    answer = cw.answer(found, guessing, moved, 0.02, NAMES)
    assert "of GPTQ 3-bit on OpenBookQA: +0.188" in answer
    assert answer.endswith(
        "after Holm: 1 of 2 worse calibrated, 1 not settled (GPTQ 3-bit, by +500 (95% interval "
        "+400 to +600))."
    )
    assert "1 of 3 lower, 1 higher, 1 not settled" in answer
    assert "+0.188" in cw.largest_change(found, "GPTQ 3-bit", NAMES)
    unknown = cw.answer(found, guessing.head(1), moved, 0.02, NAMES)
    assert "OpenBookQA, where the full model is not shown to do better than guessing: +" in unknown
    nothing = cw.answer(found.tail(1), guessing, moved.tail(1), 0.02, NAMES)
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
    assert list(words.outcomes(found)) == ["lower", "higher", "untestable"]
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
    found = table("lower", "lower", "open").assign(compression=["a", "a", "b"])
    text = cw.normalisations(found)
    assert "a: one sign under all 2, 2 settled; b: one sign under all 1, 0 settled" in text
    mixed = table("lower", "higher")
    assert "different signs under all 2, 2 settled" in cw.normalisations(mixed)


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


def test_numbers_have_the_asterisks_of_the_study():
    said = cw.starred(pd.Series([1.234, 5.0]), pd.Series([1, 0]))
    assert said.tolist() == ["1.23*", "5.00"]


def test_published_confidences_stand_above_ours():
    theirs = kept_tables.published("naacl2024_hellaswag_confidence")
    ours = pd.DataFrame(
        {"benchmark": ["piqa", "openbookqa"], "compression": "full", "accuracy": 60.0}
        | {"conf": 70.0, "conf_err": 65.0, "conf_true": 50.0, "entropy": 40.0}
        | {"conf_true_significant": [False, True], "entropy_significant": False}
    )
    found = cw.summary_table(ours, theirs, {"piqa": "PIQA", "openbookqa": "OpenBookQA"})
    assert found["From"].tolist() == ["published"] * len(theirs) + ["this page"] * 2
    assert found["Benchmark"].tolist()[-2:] == ["OpenBookQA", "PIQA"]
    assert found["Conf_true"].tolist()[-2:] == ["50.00*", "50.00"]


def test_what_was_published_is_told_with_how_often_intervals_held():
    theirs = pd.DataFrame(
        {"model": ["A", "A", "B", "B"], "quantized": [0, 1, 0, 1], "conf": [90.0, 91, 92, 93]}
        | {"conf_true": [50.0, 49, 40, 37.5], "conf_true_significant": [0, 1, 0, 0]}
    )
    measures = ["ECE, bootstrap", "squared error", "confidence − share right"]
    simulated = pd.DataFrame({"measure": measures * 2, "coverage": [0.1, 0.9, 0.95] * 2})
    said = cw.published(theirs, simulated)
    assert (said["published-least"], said["published-most"]) == ("−1.00", "−2.50")
    assert said["published-starred"] == "1 of 2 pairs"
    assert said["coverage-ece"] == "10%"


def test_the_two_definitions_are_told_where_they_differ_most():
    measured = pd.DataFrame(
        {"benchmark": ["piqa", "siqa"], "compression": ["full", "GPTQ 3-bit"]}
        | {"released": [0.1, 0.5], "stated": [0.11, 0.1]}
    )
    said = cw.definitions(measured, {"piqa": "PIQA", "siqa": "SIQA"})
    assert "on SIQA (GPTQ 3-bit): 50.0 as released, 10.0 as stated" in said


def test_levels_are_told_by_the_short_name_of_a_normalisation():
    row = {"conf": 70.2, "gap": 10.04, "rho": -0.5}
    said = cw.levels(pd.DataFrame([{"normalisation": one} | row for one in ("none", "token")]))
    assert said["sum"] == "70%" and said["gap-token"] == "+10.0" and said["rho-sum"] == "−0.50"


def test_two_models_are_told_side_by_side_where_both_were_compressed():
    nan = math.nan
    one = pd.DataFrame(
        {"compression": ["RTN 4-bit", "GPTQ 4-bit", "RTN 8-bit"]}
        | {"ratio": [1.5, 1.2, 1.0], "moved": [nan, 0.05, nan]}
    )
    other = pd.DataFrame(
        {"compression": ["RTN 8-bit", "RTN 4-bit", "GPTQ 4-bit", "GPTQ 2-bit"]}
        | {"ratio": [1.0, 1.25, 1.1, 9.0], "moved": [nan, nan, 0.02, 0.1]}
    )
    said = cw.beside_another({"large": one, "small": other})
    assert "the full model's: RTN 8-bit 1.00 and 1.00; RTN 4-bit 1.50 and 1.25." in said
    assert "moves in the mean: GPTQ 4-bit 5.0 and 2.0." in said and "2-bit" not in said
    assert "no compression in common" in cw.beside_another({"large": one, "small": other[3:]})
