"""What the chapter on costs says, over whatever its measurements may come to."""

import pandas as pd
import pytest

from ethical_compression.metrics.costs import Rates
from ethical_compression.words import costs as said


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        (0.0001, "under a second"),
        (1 / 3600, "1.0 s"),
        (45 / 3600, "45 s"),
        (90 / 3600, "90 s"),
        (12.34 / 60, "12 minutes"),
        (2.5 / 60, "2.5 minutes"),
        (3.21, "3.2 hours"),
        (47, "47 hours"),
        (49, "2.0 days"),
        (24 * 365 * 3, "3.0 years"),
    ],
)
def test_a_time_is_said_in_a_unit_of_which_it_has_two(hours, words):
    assert said.lasting(hours) == words


def test_rates_are_told_once_each():
    text = said.rates(Rates(9.1e10, 9.1e10, 1.8e11, 1.2e10, 1.5e9), "float32")
    assert "91 billion operations in float32 and 180 billion in bfloat16" in text
    assert "12.0 GB from memory and 1.5 GB from disk" in text
    three = said.rates(Rates(1e12, 9.1e10, 1.8e11, 1.2e10, 1.5e9), "float16")
    assert "makes 1,000 billion operations in float16, 91 billion in float32 and" in three


def beside(*ratios):
    kinds = ["text", "block", "gptq"]
    return pd.DataFrame(
        {"what": f"model {k}", "did": kinds[k], "ratio": ratio} for k, ratio in enumerate(ratios)
    )


def test_the_formula_is_said_to_be_off_by_its_ends():
    assert said.off(beside()) == "Nothing was timed beside the formula."
    assert "1.2 times as long" in said.off(beside(1.21))
    assert "below 1" not in said.off(beside(2.4, 1.1))
    text = said.off(beside(2.4, 0.94, 3.1))
    assert "busier while its rates were measured" in text
    assert "model 1 (one block reading) took 0.9 times what the formula says" in text
    assert "model 2 (one block compressed by GPTQ) 3.1 times, the most" in text


SIZES = pd.DataFrame(
    {
        "model": ["one", "seventy"],
        "billions": [1.1, 69.0],
        "whole": [4.4, 310.0],
        "by_block": [1.2, 34.0],
        "gptq": [0.2, 200.0],
        "gptq_measured": [True, False],
        "audit": [2.5, 400.0],
        "audit_measured": [True, False],
        "price": [2.7, 600.0],
    }
)


def test_the_answer_has_each_size_with_hours_and_memory():
    text = said.answer(SIZES)
    assert "one: an audit 2.5 hours, compressing by GPTQ 12 minutes, and 4 GB" in text
    assert "seventy: an audit 17 days" in text and "34 GB with one block at a time" in text
    assert "2.70 for one and 600.00 for seventy" in said.price(SIZES, 1.0)
    assert said.price(SIZES, 0.5).startswith("At 0.5 an hour, in a currency of your own")
    assert list(said.basis(SIZES, "audit")) == ["a block measured", "from the formula"]
    assert said.memory(SIZES).startswith("Compressing seventy takes 310 GB")


COUNTS = pd.DataFrame(
    {
        "title": ["text", "text", "text", "fr"],
        "items": [4, 4, 2, 9],
        "tokens": [1000, 1000, 500, 500],
        "places": [900, 900, 450, 100],
        "noise": [False, False, True, False],
    }
)


def test_tokens_are_summed_by_question_and_the_noise_is_apart():
    assert "3,000 tokens, 17% of them for the noise floor" in said.read(COUNTS, 40)
    found = said.by_question(COUNTS).set_index("title")
    assert found.loc["Running text"].to_dict() == {
        "tokens": 2500,
        "noise": 500,
        "places": 2250,
        "items": 4,
    }


def test_a_gpu_is_named_and_none_is_said():
    machine = {"processor": "Some CPU", "torch threads": 2, "GPU": None}
    assert "2 threads of one Some CPU. No GPU was at hand" in said.timed_on(machine)
    assert said.timed_on(machine | {"GPU": "A GPU (16 GiB)"}).endswith("one A GPU (16 GiB).")


def test_what_gptq_took_on_a_whole_model():
    rows = pd.DataFrame({"floor_ratio": [3.32, 3.21], "machine": ["Xeon", "Xeon"]})
    assert "3.2 to 3.3 times what its operations need (Xeon)" in said.gptq_kept(rows)
    assert "not measured" in said.gptq_kept(())
