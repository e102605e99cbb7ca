"""The integer grid: bounds that hold for every weight."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ethical_compression.compress.integer import (
    SHARES,
    fit_grid,
)
from ethical_compression.models.gptq_format import BITS


@st.composite
def weights(draw):
    rows, columns = draw(st.integers(1, 5)), draw(st.integers(1, 40))
    seed = draw(st.integers(0, 2**31))
    scale = draw(st.sampled_from([1e-4, 1.0, 300.0]))
    return scale * torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=60)
@given(weights(), st.sampled_from(BITS), st.booleans())
def test_float16_scales_are_the_next_that_float16_has(weight, bits, symmetric):
    exact, _ = fit_grid(weight, bits, symmetric, "float32")
    scale, _ = fit_grid(weight, bits, symmetric, "float16")
    assert torch.equal(scale.half().float(), scale)
    assert (scale >= exact).all()
    assert (scale - exact <= exact * 2**-10 + 2**-24).all()


@settings(deadline=None, max_examples=40)
@given(weights(), st.sampled_from(BITS), st.booleans(), st.booleans())
def test_the_share_of_the_range_that_costs_least_is_taken(weight, bits, symmetric, whole):
    generator = torch.Generator().manual_seed(1)
    root = torch.randn(weight.shape[1], weight.shape[1], generator=generator)
    metric = root @ root.T if whole else root[0] ** 2
    matrix = (metric if whole else metric.diag()).double()

    def cost(scale, zero):
        codes = ((weight / scale[:, None]).round() + zero[:, None]).clamp(0, 2**bits - 1)
        change = (scale[:, None] * (codes - zero[:, None]) - weight).double()
        return ((change @ matrix) * change).sum(1)

    found = cost(*fit_grid(weight, bits, symmetric, "float32", metric))
    low, high = weight.amin(1).clamp(max=0), weight.amax(1).clamp(min=0)
    if symmetric:
        high = torch.maximum(high, -low)
        low = -high
    for share in SHARES:
        scale = share * (high - low) / (2**bits - 1)
        middle = torch.full_like(scale, 2 ** (bits - 1))
        other = cost(scale, middle if symmetric else (-share * low / scale).round())
        assert (found <= other * 1.001 + 1e-12).all()
