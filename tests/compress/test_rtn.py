"""Round to nearest: each weight within half a step of its grid."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_integer import weights

from ethical_compression.compress.integer import SCALE_DTYPES, encode
from ethical_compression.compress.rtn import round_to_nearest
from ethical_compression.errors import InputError
from ethical_compression.models.gptq_format import BITS


@settings(deadline=None, max_examples=60)
@given(
    weights(),
    st.sampled_from(BITS),
    st.sampled_from([-1, 1, 3, 8, 64]),
    st.booleans(),
    st.sampled_from(SCALE_DTYPES),
)
def test_nearest_code_is_within_half_a_step(weight, bits, group_size, symmetric, scale_dtype):
    quantized = round_to_nearest(
        weight, bits=bits, group_size=group_size, symmetric=symmetric, scale_dtype=scale_dtype
    )
    step = quantized.scale[:, quantized.group.long()]
    error = (quantized.dequantize() - weight).abs()
    # Half a step inside the grid; a whole one at its upper end, where rounding the zero point or
    # an even number of levels around zero may leave the largest value outside.
    assert (error <= step * 1.0001 + 1e-12).all()
    inside = (quantized.codes > 0) & (quantized.codes < 2**bits - 1)
    assert (error <= step * 0.5001 + 1e-12)[inside].all()
    assert int(quantized.codes.max()) < 2**bits
    assert quantized.group.max() + 1 == quantized.scale.shape[1] == quantized.zero.shape[1]


@settings(deadline=None, max_examples=30)
@given(weights(), st.sampled_from(BITS), st.booleans())
def test_a_weight_on_the_grid_is_kept_exactly(weight, bits, symmetric):
    once = round_to_nearest(weight, bits=bits, group_size=8, symmetric=symmetric)
    zeros = torch.zeros_like(weight)
    assert torch.equal(round_to_nearest(zeros, bits=bits, group_size=8).dequantize(), zeros)
    scale, zero = (one[:, once.group.long()].float() for one in (once.scale, once.zero))
    assert torch.equal(encode(once.dequantize(), scale, zero, bits), once.codes.float())


def test_a_worked_row():
    # Three bits, one row: range [-1, 6], so scale 1, zero point 1, codes 0…7.
    weight = torch.tensor([[-1.0, 0.0, 0.4, 0.6, 6.0]])
    quantized = round_to_nearest(weight, bits=3, group_size=-1, symmetric=False)
    assert quantized.scale.tolist() == [[1.0]]
    assert quantized.zero.tolist() == [[1]]
    assert quantized.codes.tolist() == [[0, 1, 1, 2, 7]]
    assert quantized.dequantize().tolist() == [[-1.0, 0.0, 0.0, 1.0, 6.0]]


@pytest.mark.parametrize(("bits", "group_size"), [(5, 64), (0, 64), (4, 0), (4, -2)])
def test_unknown_settings_are_refused_in_words(bits, group_size):
    with pytest.raises(InputError, match=r"choose one of|give columns"):
        round_to_nearest(torch.ones(2, 8), bits=bits, group_size=group_size)


def test_unknown_scales_are_refused_in_words():
    with pytest.raises(InputError, match="Scales cannot be bfloat16: choose one of"):
        round_to_nearest(torch.ones(2, 8), bits=4, scale_dtype="bfloat16")
