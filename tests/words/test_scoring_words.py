"""What the chapter on scoring says, over whatever its measurements may come to."""

import math
from types import SimpleNamespace

import pandas as pd
import pytest

from ethical_compression import statistics
from ethical_compression.words import scoring as said


@pytest.mark.parametrize(
    ("gaps", "start", "largest"),
    [
        (
            [1e-5, 2e-5, 0.0],
            "None of 3 answers scored again in double precision differs",
            "2.0 × 10⁻⁵ nats",
        ),
        (
            [1e-5, 2e-3, 0.0],
            "1 of 3 answers scored again in double precision differs",
            "2.0 × 10⁻³ nats",
        ),
        (
            [1.0, 2e-3, 0.0],
            "2 of 3 answers scored again in double precision differ by",
            "1.0 × 10⁰ nats",
        ),
        (
            [math.nan, 0.0],
            "1 of 2 answers scored again in double precision differs",
            "not a number",
        ),
    ],
)
def test_agreement_counts_what_is_beyond_the_tolerance(gaps, start, largest):
    text = said.agreement(gaps)
    assert text.startswith(start) and "more than 0.001 nats" in text
    assert f"the largest difference is {largest}" in text
    found = statistics.share([not gap <= 0.001 for gap in gaps])
    assert f"{found.ci_low:.0%} to {found.ci_high:.0%}" in text


def test_agreement_of_nothing_is_not_claimed():
    assert "nothing is known" in said.agreement([])


def test_saving_names_the_ends():
    assert said.saving({"PIQA": 1.52, "BoolQ": 1.98, "SIQA": 1.6}).endswith(
        "by 1.5 times on PIQA to 2.0 times on BoolQ."
    )
    assert said.saving({"PIQA": 1.52}).endswith("by 1.5 times on PIQA.")


def measured(ratios, task="a"):
    return pd.DataFrame(
        {"task": task, "peer": ["eager", "compile"][: len(ratios)], "ratio": ratios}
        | {"floor_ratio": 1.5, "peak_memory_ratio": 2.0, "machine": "Xeon, 2 cores"}
    )


@pytest.mark.parametrize(
    ("ratios", "words"),
    [
        ([1.5, 2.2], "1.5 to 2.2 times ours: we are faster in 2 of 2"),
        ([0.8, 2.2], "0.8 to 2.2 times ours: we are faster in 1 of 2"),
        ([0.8, 0.8], "0.8 times ours: we are faster in 0 of 2"),
    ],
)
def test_times_are_said_whoever_is_faster(ratios, words):
    text = said.beside_floor(measured(ratios))
    assert words in text and "our time is 1.5 times the floor" in text


def test_the_backward_pass_is_said_as_it_was_measured():
    rows = measured([0.8, 1.25], task="head, backward, 4 × 4")
    text = said.backward(pd.concat([measured([3.0]), rows]))
    assert "Beside PyTorch eager, the backward pass takes 1.25 times as long and 0.50" in text
    assert "Beside PyTorch compile, the backward pass takes 0.80 times" in text
    assert "has not been measured" in said.backward(measured([3.0]))


def test_nothing_at_hand_is_said_so():
    empty = pd.DataFrame()
    assert "not at hand" in said.beside_floor(empty)
    assert "not been measured" in said.backward(empty)
    assert said.timed_on(empty) == "Nothing has been timed."
    assert said.timed_on(measured([1.0])) == "Timed on: Xeon, 2 cores. No GPU has been timed yet."
    gpu = measured([1.0]).assign(machine="NVIDIA H200")
    assert said.timed_on(measured([1.0]), gpu) == "Timed on: Xeon, 2 cores; NVIDIA H200."


def test_an_answer_is_cut_where_scoring_begins():
    item = SimpleNamespace(options=(" a b", " c"), gold=1)
    scores = pd.DataFrame({"option": [0, 1], "logprob": [-2.0, -1.0]})
    pieces = [["Q", "?", " a", " b"], ["Q", "?", " c"]]
    table = said.answers_in_tokens(item, pieces, [2, 1], scores)
    assert list(table["answer"]) == ["a b", "c (right)"]
    assert list(table["tokens"]) == ["Q·? ‖  a· b", "Q·? ‖  c"]
    assert list(table["logprob"]) == [-2.0, -1.0]


def test_growth_tells_every_curve_and_what_is_not_measured():
    assert "not been measured" in said.growth(pd.DataFrame())
    rows = pd.DataFrame(
        [
            ("Scoring: items", "seconds", 1.02, 0.91, 1.13),
            ("Scoring: items", "megabytes", 0.1, 0.0, 0.2),
            ("GPTQ: blocks", "seconds", 1.1, math.nan, math.nan),
        ],
        columns=["curve", "cost", "exponent", "ci_low", "ci_high"],
    )
    text = said.growth(rows)
    assert "Scoring: items, 1.02 (95% interval 0.91 to 1.13); GPTQ: blocks, 1.10 (no" in text
    assert "0.10" not in text
