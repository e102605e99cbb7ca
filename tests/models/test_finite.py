"""One number that is not finite is found, wherever it stands."""

import math

import pytest
import torch

from ethical_compression.models.finite import all_finite


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_bad_number_is_found_at_any_place(dtype, bad):
    # Wide enough for vectors and their rests; a transpose, as weights are handed over.
    tensor = torch.linspace(-3, 3, 7 * 131).reshape(7, 131).to(dtype).T
    assert all_finite(tensor)
    for place in (0, 1, 64, 500, tensor.numel() - 1):
        one = tensor.clone()
        one[place // 7, place % 7] = bad
        assert not all_finite(one)


def test_integers_and_nothing_are_finite():
    assert all_finite(torch.tensor([1, 2**40])) and all_finite(torch.zeros(0, 3))
    assert all_finite(torch.tensor([torch.finfo(torch.float32).max] * 2))
