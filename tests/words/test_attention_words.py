"""What is said of losses, of explanations and of the published trend, whatever they are."""

import math

import numpy as np
import pandas as pd
import pytest
from transformers import default_data_collator

from ethical_compression import kept_tables
from ethical_compression.words import attention as said


def test_the_published_trend_is_described_as_it_is():
    trend = said.published_trend(kept_tables.published("ida2023_attention"))
    assert (
        "Macro F1 rises with every λ but for RoBERTa (80.86 at λ = 0.01 and 78.58 at 0.1)" in trend
    )
    assert "token F1 rises with every λ in all 4 models" in trend
    assert "but for DistilBERT (0.768 at λ = 0 and 0.748 at 0.01)" in trend
    assert trend.count("higher at the largest λ than without in 4 of 4") == 3


def test_a_published_trend_that_said_otherwise_would_be_described_otherwise():
    falling = pd.DataFrame(
        [("M", 0, 2.0, 1.0, 0.5), ("M", 1, 1.0, 2.0, 0.5)],
        columns=["model", "lambda", "f1", "token_f1", "subgroup_auc"],
    )
    text = said.published_trend(falling)
    assert "higher at the largest λ than without in 0 of 1" in text
    assert "but for M (0.500 at λ = 0 and 0.500 at 1)" in text


def test_deletions_that_move_nothing_are_a_warning():
    assert "says little" in said.moved_by_deletion(-0.004, 0.02)
    assert said.moved_by_deletion(0.3, 0.02).endswith("by +0.300 on average.")
    assert "not known" in said.moved_by_deletion(math.nan, 0.02)


def test_where_a_loss_is_least_and_where_it_is_the_same_everywhere():
    losses = pd.DataFrame({"way": ["on a", "on b", "on c"], "x": [1.0, 2, 1], "y": [3.0, 3, 3]})
    text = said.least_loss(losses, {"x": "the first loss", "y": "the second"})
    assert text == (
        "The first loss is lowest where attention lies on a and on c (the rows span 1.00); the "
        "second is the same in all rows."
    )


def test_a_gradient_that_reaches_nobody_is_said_to():
    assert said.case(36.203, np.zeros(12)) == "36.20, its gradient zero at every token"
    assert said.case(2.5, [0.0, -0.5, 0.25]) == (
        "2.50, its gradient reaches 2 of 3 tokens and is largest at token 1 (−0.50)"
    )


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("int64", "name positions: 0 or 1"),
        ("uint8", "pick where the mask is one"),
        ("bool", "pick where the mask is one"),
        ("float32", "no index"),
    ],
)
def test_what_a_mask_does_as_an_index_hangs_on_its_type(kind, expected):
    assert expected in said.index_of(f"torch.{kind}", "9")


def test_the_default_collator_makes_integers_of_zeros_and_ones():
    """The released loss hangs on it: should transformers change it, the page must, too."""
    rows = [{"mask": [1, 1, 0]}, {"mask": [1, 0, 0]}]
    assert said.index_of(default_data_collator(rows)["mask"].dtype, "x").endswith("0 or 1.")
