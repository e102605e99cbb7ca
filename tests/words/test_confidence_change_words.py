"""Every sentence of *Where the change falls* has a wording for every outcome."""

import math

import pandas as pd
import pytest
from outcome_rows import NAN, table

from ethical_compression import statistics, words
from ethical_compression.words import confidence_change as cw


def slope(value, se, n=250):
    half = 1.97 * se
    p = 1.0 if not se else float(2 * (1 - math.erf(abs(value) / se / 2**0.5) / 2 - 0.5))
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
    assert list(words.outcomes(cw.slope_table([SLOPES[came]], 0.1))) == [came]
    text = cw.direction([SLOPES[came]], 0.1)
    assert ("cannot tell" in text) == (came == "open")
    assert ("no preferred direction larger than 0.1" in text) == (came == "equivalent")
    assert ("beyond what an even disturbance" in text) == (came in ("lower", "higher"))
    assert "nan" not in text.lower()


def test_an_interval_with_zero_is_no_proof_of_no_direction():
    text = cw.direction([SLOPES["open"], SLOPES["equivalent"], SLOPES["lower"]], 0.1)
    assert "1 of 3 below zero, 1 shown to lie within ±0.1, 1 not settled" in text
    assert "no preferred direction" not in text
    answer = cw.answer(*[list(SLOPES.values())] * 3, 0.1)
    assert "−0.30 to +0.30 (1 of 5 below zero, 1 above zero" in answer
    assert "not settled: a slope would have been found four times in five from 0.56 on" in answer
    assert "found" not in cw.answer(*[[SLOPES["lower"]]] * 3, 0.1)
    assert cw.slopes_said([SLOPES["untestable"]], 0.1) == "no slope could be computed"


@pytest.mark.parametrize("came", ["lower", "higher", "open", "untestable"])
@pytest.mark.parametrize("read", ["equal", "open", "changed"])
def test_weighting_has_every_outcome(came, read):
    found = table(came).assign(mean_first=0.1, mean_second=0.1, seeds_low=-0.43, seeds_high=0.33)
    low, high = {"equal": (-0.01, 0.01), "open": (-0.1, 0.1), "changed": (0.1, 0.2)}[read]
    same = statistics.Equivalence(12, (low + high) / 2, low, high, 0.02, 0.1, read == "equal")
    text = cw.weighting(found, same, ("GPTQ 3-bit", "weighted"), "PIQA; 2 seeds")
    said = {"lower": "shrinks", "higher": "widens", "open": "do not settle"}
    assert said.get(came, "could not be compared") in text
    assert ("four times in five" in text) == (came == "open")
    assert {
        "equal": "equal within the margin, as was asked",
        "open": "not shown to be equal, which was asked",
        "changed": "higher with the weighting, so the two do not read text alike",
    }[read] in text
    # Two seeds that differ settle nothing of a third.
    assert "Over the seeds alone it " in text
    assert ("another seed may tell otherwise" in text) == (came in ("lower", "higher"))
    many = cw.weighting(found.assign(seeds_low=0.1), same, ("a", "b"), "PIQA; 9 seeds")
    assert "another seed" not in many
    one = cw.weighting(found.assign(seeds_low=math.nan), same, ("a", "b"), "PIQA; 1 seed")
    assert "Over the seeds" not in one


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


def test_an_unbounded_interval_has_no_equivalence():
    weak = statistics.Slope(250, 0.001, -math.inf, math.inf, 0.9, 0.05, 0.01)
    found = cw.slope_table([weak, SLOPES["open"]], 0.1)
    assert found.loc[0, ["p_tost", "detectable"]].isna().all()
    assert list(words.outcomes(found)) == ["open", "open"]
    assert "nothing tells which slope" in cw.direction([weak], 0.1)
    both = cw.answer(*[[weak, SLOPES["open"]]] * 3, 0.1)
    assert (
        "from 0.56 on (for 1 of 2, whose interval is unbounded, nothing" in both
        and "nan" not in both
    )


def test_a_change_of_perplexity_is_claimed_at_5_percent():
    # 90% interval 0.001 to 0.039: it excludes 0, that of 95% does not.
    same = statistics.Equivalence(12, 0.02, 0.001, 0.039, 0.02, 0.5, False)
    found = table("open").assign(mean_first=0.1, mean_second=0.1, seeds_low=math.nan)
    text = cw.weighting(found, same, ("GPTQ 3-bit", "weighted"), "PIQA")
    assert "not shown to be equal" in text and "(95% interval −0.003 to +0.043)" in text


def some_slopes():
    """Three slopes of a quantized model, and one of the control, of every kind."""
    kinds = ("lower", "open", "equivalent", "higher")
    same = {kind: [SLOPES[one] for one in kinds] for kind in ("naive", "second", "directed")}
    told = {"from": ["full"] * 3 + ["seed 0"], "to": ["GPTQ 3-bit"] * 3 + ["seed 1"]}
    return pd.DataFrame(told | {"benchmark": ["a", "b", "c", "a"], "n": 250} | same)


def test_the_control_is_a_family_of_its_own():
    slopes = some_slopes()
    found = cw.slope_rows(slopes, 0.1)
    assert found["from_to"].tolist()[-1] == "seed 0 → seed 1"
    assert found["naive"][0] == cw.slope_cell(SLOPES["lower"]) == "−0.30 (−0.34 to −0.26)"
    real, control = (
        cw.slope_table(slopes.loc[where, "directed"], 0.1) for where in ([0, 1, 2], [3])
    )
    expected = [*real["p_holm"], *control["p_holm"]]
    assert found["directed_p_holm"].tolist() == pytest.approx(expected)
    said = cw.all_slopes(slopes, 0.1)
    assert said["control-naive"] == cw.slopes_said([SLOPES["higher"]], 0.1)
    assert said["agreement"] == "0.90"
    assert said["verdict"] == cw.direction(slopes["directed"][:3], 0.1)


def test_an_unbounded_slope_is_said_to_be_so():
    endless = statistics.Slope(9, 0.1, -math.inf, math.inf, 0.5, 0.1, NAN)
    assert cw.slope_cell(endless) == "+0.10 (unbounded)"


def test_one_model_says_nothing_of_size():
    one = {"name": "m", "parameters": 135e6}
    assert cw.models_run([one])["models"] == "The full model is m (135 million):"
    assert "one model only" in cw.models_run([one])["size-note"]
    assert cw.models_run([one, one])["models"].startswith("The full models are m (135")


def test_distances_are_told_in_both_senses():
    rows = [("options", 0.1), ("options", 0.3), ("vocabulary", 0.5)]
    found = pd.DataFrame(rows, columns=["over", "mean"]).assign(compression="GPTQ 3-bit")
    assert cw.distances(found) == "GPTQ 3-bit: 0.200 over the options, 0.500 over the vocabulary"
