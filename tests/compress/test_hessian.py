"""The Hessian against the outer products themselves, in float64; its factor against LAPACK's."""

import pytest
import torch
from tiny_models import tiny_model

from ethical_compression.compress import hessian as hessian_of
from ethical_compression.compress.blocks import linear_layers, stream_blocks
from ethical_compression.compress.hessian import (
    add_to_hessian,
    hessians,
    inverse_factor,
    output_error,
)
from ethical_compression.errors import InputError


def activations(seed, samples=400, columns=48):
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(columns, columns, generator=generator)
    return torch.randn(samples, columns, generator=generator) @ mixing


def test_hessian_is_the_mean_outer_product_however_it_is_fed():
    inputs = activations(1)
    hessian = None
    for chunk in inputs.view(4, 100, -1).split(3):
        hessian = add_to_hessian(hessian, chunk)
    expected = 2 * inputs.double().T @ inputs.double() / len(inputs)
    assert hessian.count == len(inputs)
    assert torch.allclose(hessian.matrix.double(), expected, rtol=1e-5, atol=1e-5)


def test_a_token_of_weight_two_counts_as_two_tokens_of_weight_one():
    inputs = activations(8, samples=30)
    weights = torch.randint(0, 3, (3, 10))
    inputs = inputs.view(3, 10, -1)
    repeated = inputs.flatten(0, 1).repeat_interleave(weights.flatten(), 0)
    expected = add_to_hessian(None, repeated)
    found = None
    for rows, its in zip(inputs, weights, strict=True):
        found = add_to_hessian(found, rows, its)
    assert found.count == expected.count
    assert torch.allclose(found.matrix, expected.matrix, rtol=1e-4, atol=1e-4)


def test_a_wide_hessian_is_made_in_stripes_and_symmetric(monkeypatch):
    monkeypatch.setattr(hessian_of, "STRIPE", 7)
    inputs = activations(9)
    found = add_to_hessian(add_to_hessian(None, inputs[:150]), inputs[150:]).matrix
    expected = 2 * inputs.double().T @ inputs.double() / len(inputs)
    # Entries near zero are what is left of large terms: float32 is exact to the largest entry.
    rounding = 1e-5 * float(expected.abs().max())
    assert torch.allclose(found, found.T, rtol=0, atol=rounding)
    assert torch.allclose(found.double(), expected, rtol=0, atol=rounding)


def test_inverse_factor_is_the_cholesky_factor_of_the_inverse():
    inputs = activations(10)
    hessian = 2 * inputs.double().T @ inputs.double() / len(inputs)
    upper = inverse_factor(hessian, 0.01)
    damped = hessian + 0.01 * hessian.diagonal().mean() * torch.eye(48, dtype=torch.float64)
    expected = torch.linalg.cholesky(torch.linalg.inv(damped), upper=True)
    assert torch.allclose(upper, expected, rtol=1e-8, atol=1e-10)


def test_a_factor_is_refused_where_no_damping_helps():
    inputs = activations(11)
    with pytest.raises(InputError, match="stays singular at damping 10"):
        inverse_factor(-inputs.T @ inputs, 0.01)


def test_the_output_error_is_that_of_the_outputs():
    inputs, generator = activations(12), torch.Generator().manual_seed(12)
    weight, other = torch.randn(2, 24, 48, generator=generator)
    full, changed = (inputs.double() @ one.double().T for one in (weight, other))
    expected = float((changed - full).square().sum() / full.square().sum())
    found = output_error(weight, other, add_to_hessian(None, inputs).matrix)
    assert found == pytest.approx(expected, rel=1e-5)
    assert output_error(weight, weight, add_to_hessian(None, inputs).matrix) == 0


def test_layers_with_one_input_share_one_hessian_and_blocks_see_compressed_inputs():
    model = tiny_model("llama")
    inputs = list(torch.randint(3, 200, (4, 16)).split(2))
    calls = {}
    for index, block, states in stream_blocks(model, inputs):
        found = hessians(block, states)
        if index == 0:
            q, k, v = (found[f"self_attn.{n}_proj"] for n in "qkv")
            assert q.matrix is k.matrix is v.matrix
            assert found["mlp.gate_proj"].matrix is found["mlp.up_proj"].matrix
            assert found["self_attn.o_proj"].matrix is not q.matrix
            assert q.count == 4 * 16
            for layer_ in linear_layers(block).values():
                layer_.weight.data.zero_()
        calls[index] = states
    # With every linear of the first block at zero, only the residual stream reaches the second.
    embedded = model.get_input_embeddings()(inputs[0])
    assert torch.allclose(calls[1][0][0], embedded)
