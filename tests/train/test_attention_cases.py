"""Losses of attention on cases small enough to work by hand."""

import math

import pytest
import torch

from ethical_compression.train import attention_cases as cases
from ethical_compression.train.supervision import SUPERVISIONS

SEEN = torch.tensor([[1, 1, 1, 1, 0, 0]])
MARKED = torch.tensor([[0, 0, 1, 1, 0, 0]])


def test_the_published_loss_of_even_attention_and_its_gradient():
    loss, gradient = cases.loss_and_gradient(SEEN / 4, MARKED, SEEN, "published")
    assert loss == pytest.approx(math.log(4))
    # −t ÷ a: half on each marked token, a quarter of the attention on each.
    assert gradient[0].tolist() == pytest.approx([0, 0, -2, -2, 0, 0])


def test_a_loss_that_teaches_is_lowest_on_the_marked_words():
    table = cases.losses_by_way(MARKED, SEEN)
    assert list(table) == ["way", *SUPERVISIONS]
    assert table["published"].idxmin() == 1
    assert table.loc[1, "published"] == pytest.approx(math.log(2))
    assert table.loc[0, "published"] == pytest.approx(math.log(4))
    # Attention that lies on no marked word costs what its floor of 10⁻¹² does.
    assert table.loc[2, "published"] == pytest.approx(12 * math.log(10))
