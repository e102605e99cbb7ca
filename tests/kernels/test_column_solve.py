"""The column solve, every implementation, against float64 as the paper writes it."""

import importlib.util

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ethical_compression.kernels.column_solve import column_solve

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def block(columns, rows, bits, seed=0):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(columns, rows, generator=generator)
    square = torch.randn(columns, columns, generator=generator)
    upper = torch.linalg.cholesky(square @ square.T / columns + torch.eye(columns), upper=True)
    groups = -(-columns // 3)
    scale = torch.rand(groups, rows, generator=generator) * 2 / 2**bits + 0.01
    zero = torch.randint(0, 2**bits, (groups, rows), generator=generator).float()
    group = torch.randint(groups, (columns,), generator=generator, dtype=torch.int32)
    return [tensor.to(DEVICE) for tensor in (weight, upper, scale, zero, group)]


def reference(weight, upper, scale, zero, group, bits):
    """Columns, rows and later columns one number at a time."""
    scale, zero = scale[group.long()], zero[group.long()]
    w, u, s, z = (tensor.double().cpu().numpy().copy() for tensor in (weight, upper, scale, zero))
    codes, errors = w * 0, w * 0
    for i in range(w.shape[0]):
        for r in range(w.shape[1]):
            codes[i, r] = min(max(round(w[i, r] / s[i, r]) + z[i, r], 0), 2**bits - 1)
            errors[i, r] = (w[i, r] - s[i, r] * (codes[i, r] - z[i, r])) / u[i, i]
            for j in range(i + 1, w.shape[0]):
                w[j, r] -= u[i, j] * errors[i, r]
    return torch.tensor(codes), torch.tensor(errors)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (17, 33), (32, 8)], ids=str)
def test_codes_and_errors(impl, bits, shape):
    problem = block(*shape, bits)
    expected = reference(*problem, bits)
    codes, errors = column_solve(*problem, bits, impl)
    right = codes.cpu().double() == expected[0]
    assert right.float().mean() > 0.995  # ties that float32 rounds the other way
    close = (errors.cpu().double() - expected[1]).abs() < 1e-4
    assert (close | ~right.all(0)).all()


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 40), st.integers(1, 70))
def test_both_implementations_agree_on_views(seed, columns, rows):
    """Slices of larger tensors, as `gptq.solve` gives them, and a width of no round number."""
    weight, upper, scale, zero, group = block(columns + 3, rows, 4, seed)
    weight, upper, group = weight[3:], upper[3:, 3:], group[3:]
    triton = column_solve(weight.clone(), upper, scale, zero, group, 4, "triton")
    plain = column_solve(weight.clone(), upper, scale, zero, group, 4, "torch")
    differs = (triton[0] != plain[0]).any(0)
    assert differs.float().mean() <= 0.02 + 1 / rows
    assert torch.allclose(triton[1][:, ~differs], plain[1][:, ~differs], atol=1e-4)


def test_ties_go_to_the_even_code():
    weight = torch.tensor([[0.5, 1.5, 2.5, -0.5, -1.5]], device=DEVICE)
    one, zero = torch.ones_like(weight), torch.full_like(weight, 8.0)
    upper, group = torch.ones(1, 1, device=DEVICE), torch.zeros(1, dtype=torch.int32, device=DEVICE)
    for impl in ("torch", "triton") if importlib.util.find_spec("triton") else ("torch",):
        codes, _ = column_solve(weight.clone(), upper, one, zero, group, 4, impl)
        assert codes.tolist() == [[8, 10, 10, 8, 6]], impl


def test_solve_gives_the_same_with_either(monkeypatch):
    pytest.importorskip("triton")
    from ethical_compression.compress import gptq
    from ethical_compression.compress.hessian import add_to_hessian

    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(200, 48, generator=generator, device="cpu").to(DEVICE)
    weight = torch.randn(24, 48, generator=generator).to(DEVICE)
    hessian = add_to_hessian(None, inputs).matrix
    monkeypatch.setitem(gptq.column_solve.WIDTH, "triton", 20)
    for options in ({}, {"activation_order": True, "static_groups": True}, {"symmetric": False}):
        one, other = (
            gptq.solve(weight, hessian, bits=3, group_size=16, impl=impl, **options)[0]
            for impl in ("torch", "triton")
        )
        assert (one.codes == other.codes).float().mean() > 0.99


def test_unknown_implementation():
    with pytest.raises(ValueError, match="choose auto, torch or triton"):
        column_solve(*block(2, 3, 4), 4, impl="numpy")


def test_threads_are_as_many_afterwards_as_before():
    before = torch.get_num_threads()
    column_solve(*block(9, 4, 3), 3, "torch")
    assert torch.get_num_threads() == before
    with pytest.raises(RuntimeError):
        column_solve(*block(9, 4, 3)[:1], torch.eye(2), *block(9, 4, 3)[2:], 3, "torch")
    assert torch.get_num_threads() == before
