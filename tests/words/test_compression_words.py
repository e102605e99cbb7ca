"""What the chapter on compression says, over whatever its measurements may come to."""

import math

import numpy as np
import pandas as pd
import pytest

from ethical_compression import statistics
from ethical_compression.errors import InputError
from ethical_compression.words import compression as said

LEVELS = np.array([0.9, 1.1, 1.0, 1.2, 0.8, 1.05])
NOISE = np.array([0.01, -0.02, 0.015, 0.0, -0.01, 0.005])


@pytest.mark.parametrize(
    ("value", "reference", "words"),
    [
        (1.8, 1, "80% larger than"),
        (0.7, 1, "30% smaller than"),
        (1.001, 1, "as large as"),
        (3.42, 1, "3.4 times"),
        (0, 1, "100% smaller than"),
        (1, 0, "not comparable with"),
        (math.nan, 1, "not comparable with"),
    ],
)
def test_a_value_beside_another(value, reference, words):
    assert said.relative(value, reference) == words


def test_a_ratio_is_that_of_geometric_means_with_the_interval_of_logarithms():
    before, after = LEVELS, LEVELS * 0.5 * np.exp(NOISE)
    found = said.ratio(before, after)
    test = statistics.paired_test(np.log(before), np.log(after))
    assert found["ratio"] == pytest.approx(0.5 * math.exp(NOISE.mean()))
    assert (found["low"], found["high"]) == pytest.approx(np.exp([test.ci_low, test.ci_high]))
    assert found["p"] == test.p
    assert found["detectable"] > 1


@pytest.mark.parametrize(
    ("factor", "noise", "words", "never"),
    [
        (0.5, 1, "leaves less than rounding alone: 0.50 times (95% interval 0.49 to 0.51)", "tell"),
        (1.5, 1, "leaves more than rounding alone: 1.50 times (95% interval 1.48 to 1.52)", "tell"),
        (0.95, 20, "do not tell whether it helps; they would have shown 1.", "less than rounding"),
        (1.0, 0, "leaves exactly the output errors of rounding alone", "nan"),
    ],
)
def test_feedback_has_a_wording_for_each_outcome(factor, noise, words, never):
    text = said.feedback(LEVELS, LEVELS * factor * np.exp(noise * NOISE), 3)
    assert text.startswith("At 3 bits, error feedback (GPTQ) leaves")
    assert words in text and never not in text and "6 windows" in text


def test_one_window_tests_nothing():
    text = said.feedback([0.2], [0.1], 4)
    assert "0.50 times (no interval)" in text and "one window tests nothing" in text


def losses(**factors):
    columns = {name: np.log(30 * LEVELS * factor) for name, factor in factors.items()}
    table = pd.DataFrame({"full": np.log(30 * LEVELS)} | columns)
    for shift, name in enumerate(factors):
        table[name] += np.roll(NOISE, shift)
    return table


def test_removals_say_what_is_settled_and_what_is_not():
    text = said.removal_words(losses(upper=1.5, middle=3, bottom=400))
    assert "lowest without the upper blocks, 1.50 times (95% interval" in text
    assert "highest without the bottom blocks, 400 times" in text
    assert text.count("is settled against every other") == 2 and "do not tell" not in text
    close = said.removal_words(losses(upper=1.5, middle=1.501, bottom=400))
    assert "These windows do not tell the upper choice from middle." in close
    assert "That the bottom choice is the highest is settled" in close
    same = said.removal_words(losses(a=2, b=2).assign(b=lambda table: table["a"]))
    assert "do not tell the a choice from b" in same and "nan" not in same
    assert "ettled" not in same


def test_one_choice_and_one_window_are_said_as_they_are():
    assert said.removal_words(losses(upper=0.5)).startswith(
        "Without the upper blocks perplexity is 0.50 times"
    )
    one = said.removal_words(losses(upper=1.5, bottom=3).head(1))
    assert "(no interval)" in one and "One window cannot tell" in one
    with pytest.raises(InputError, match="No choice of blocks"):
        said.removals(losses())


def test_the_table_of_removals_has_its_tests():
    table = said.removals(losses(upper=1.5, bottom=400)).set_index("removed")
    assert table.loc["upper", "ratio"] == pytest.approx(1.5 * math.exp(NOISE.mean()))
    assert (table["low"] < table["ratio"]).all() and (table["ratio"] < table["high"]).all()
    assert (table["p"] <= table["p_holm"]).all()


def test_half_pruned_says_what_the_pattern_costs():
    errors = {"Magnitude": 0.09, "Wanda": 0.05, "SparseGPT": 0.04, "2:4": 0.05}
    assert "9.0% by magnitude, 5.0% by Wanda and 4.0% by SparseGPT" in said.half_pruned(errors)
    assert "25% larger than that without" in said.half_pruned(errors)
    assert "25% smaller than that without" in said.half_pruned(errors | {"2:4": 0.03})


@pytest.mark.parametrize(("value", "place"), [(3, "between"), (1, "below both"), (9, "above both")])
def test_where_a_value_stands(value, place):
    text = said.between("4:8", value / 100, {"half": 0.04, "2:4": 0.02})
    assert text == f"4:8: {value}.00%, {place} 2.00% (2:4) and 4.00% (half)"


@pytest.mark.parametrize(
    ("gap", "words"),
    [
        ([-0.03, -0.05, -0.01], "below it, −3.0% (95% interval −5.0% to −1.0%)"),
        ([0.03, 0.01, 0.05], "above it, +3.0% (95% interval +1.0% to +5.0%)"),
        ([0.03, -0.01, 0.07], "not told apart, +3.0% (95% interval −1.0% to +7.0%)"),
        ([0.0, 0.0, 0.0], "not told apart"),
        ([0.03], "+3.0% away, from one draw that gives no interval,"),
    ],
)
def test_perplexity_beside_another_library(gap, words):
    row = {"task": "GPTQ 3 bits", "peer_seconds": 100.2, "seconds": 45.1, "ratio": 2.22}
    row |= {"perplexity_full": 27.4, "perplexity_peer": [50, 50][: len(gap)]}
    text = said.beside_peer(row | {"above_peer_theirs": gap, "above_peer_ours": gap})
    assert text.count(words) == 2 and "a ratio of 2.2" in text and "50.00 with GPTQModel" in text


def test_both_errors_of_gptq_stand_beside_those_of_rounding():
    errors = [{"weight error": w, "output error": o} for w, o in ((0.02, 0.04), (0.03, 0.01))]
    assert said.against_rounding(*errors, 3) == (
        "At 3 bits, GPTQ leaves a weight error 50% larger than that of round-to-nearest (3.00% "
        "against 2.00%), and an output error 75% smaller than round-to-nearest's (1.00% against "
        "4.00%)."
    )


def test_removals_are_shown_with_the_full_model_first():
    rng = np.random.default_rng(0)
    full = 3 + 0.1 * rng.random(6)
    losses = pd.DataFrame({"full": full, "upper": full + 1 + 0.01 * rng.random(6)})
    table = said.removal_table(losses, {"full": 20.0, "upper": 55.0}, {"upper": [4, 5]})
    found = said.removals(losses).iloc[0]
    assert list(table["removed"]) == ["nothing", "upper"]
    assert list(table["blocks"]) == ["", "4, 5"] and list(table["perplexity"]) == [20, 55]
    assert table["ratio"].tolist() == [1, found["ratio"]]
    assert table["interval"].tolist() == ["–", f"{found['low']:.2f} to {found['high']:.2f}"]
    assert (said.brief(1234.5), said.brief(1.234)) == ("1,234", "1.23")


def test_draws_have_one_perplexity():
    row = {f"perplexity_{who}": [2.0, 8.0] for who in ("peer", "theirs", "ours")}
    found = said.mean_perplexities(pd.DataFrame([row]))
    assert found["perplexity_ours"].tolist() == pytest.approx([4.0])


def test_what_four_bits_cost_is_said_of_each_model():
    table = pd.DataFrame({"bits": [8, 4], "large": [0.0, 0.0], "own": [0.001, 0.0123]})
    assert "large 0.00% and own 1.23%" in said.origin(table)
