"""The packed product, every implementation, against float64; and models that run with it."""

import pytest
import torch

from ethical_compression.gptq_format import pack
from ethical_compression.kernels.int4_matmul import int4_matmul

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(1, 32, 1), (5, 64, 40), (70, 96, 130)], ids=str)
def test_product(impl, dtype, shape):
    rows, ins, outs = shape
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, ins, generator=generator).to(dtype)
    codes = torch.randint(0, 16, (ins, outs), generator=generator)
    codes[0] = 15  # the highest bit of a word is its sign
    codes[7] = 15
    scale = torch.rand(3, outs, generator=generator).half()
    zero = torch.randint(0, 16, (3, outs), generator=generator).byte()
    group = torch.randint(0, 3, (ins,), generator=generator).int()
    operands = [t.to(DEVICE) for t in (x, pack(codes, 4), scale, zero, group)]
    y = int4_matmul(*operands, impl)
    assert y.dtype == dtype and y.shape == (rows, outs)
    weight = scale.double()[group.long()] * (codes - zero.double()[group.long()])
    expected = x.double() @ weight
    # Float32 sums; half precision rounds the result, and Triton the weight as well.
    tolerance = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.5e-2}[dtype]
    scale_of = (x.double().abs() @ weight.abs()).max()
    assert (y.cpu().double() - expected).abs().max() <= tolerance * scale_of


def test_rows_of_a_wider_tensor():
    pytest.importorskip("triton")
    x = torch.randn(9, 64).to(DEVICE)[:, 16:48]
    codes = torch.randint(0, 16, (32, 8))
    operands = pack(codes, 4), torch.ones(1, 8).half(), torch.full((1, 8), 8).byte()
    operands = [t.to(DEVICE) for t in (*operands, torch.zeros(32).int())]
    torch.testing.assert_close(int4_matmul(x, *operands, "triton"), int4_matmul(x, *operands))


def test_unknown_implementation():
    with pytest.raises(ValueError, match="choose auto, torch or triton"):
        int4_matmul(*[torch.zeros(1)] * 5, impl="numpy")
