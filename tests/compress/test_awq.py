"""AWQ against its equations, computed with the activations themselves."""

import pytest
import torch

from ethical_compression.compress import awq
from ethical_compression.compress.blocks import linear_layers, stream_blocks
from ethical_compression.compress.hessian import add_to_hessian, output_error
from ethical_compression.compress.rtn import round_to_nearest


def problem(seed=0):
    """Two layers with one input, a few of whose channels are large, as in language models."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(400, 48, generator=generator)
    inputs[:, [3, 20, 31]] *= 40
    weights = {name: torch.randn(24, 48, generator=generator) for name in ("gate", "up")}
    return weights, inputs


@pytest.mark.parametrize("bits", [4, 3])
def test_the_best_scale_of_the_grid_is_found(bits):
    weights, inputs = problem()
    hessian = add_to_hessian(None, inputs).matrix
    magnitude = inputs.abs().mean(0)
    grid = {"bits": bits, "group_size": 16, "symmetric": True}
    found, ratio = awq.search(weights, hessian, magnitude, clipping=False, **grid)

    # Equation 4 on the inputs, not on their Hessian, for each exponent of equation 5.
    losses = {}
    for alpha in awq.RATIOS:
        scale = magnitude**alpha
        scale = scale / (scale.max() * scale.min()).sqrt()
        losses[alpha] = sum(
            float(
                (
                    (inputs / scale) @ round_to_nearest(w * scale, **grid).dequantize().T
                    - inputs @ w.T
                )
                .square()
                .sum()
            )
            for w in weights.values()
        )
    assert ratio == min(losses, key=losses.get) > 0
    change = [inputs @ (found[name].dequantize() - w).T for name, w in weights.items()]
    assert sum(float(c.square().sum()) for c in change) == pytest.approx(losses[ratio], rel=1e-3)
    assert losses[ratio] < 0.75 * losses[0.0]
    # One scale for both layers, so that it could be folded into what feeds them.
    assert found["gate"].input_scale is found["up"].input_scale

    # Clipping comes after, with the same scales, and no layer is the worse for it.
    clipped, same = awq.search(weights, hessian, magnitude, **grid)
    assert same == ratio
    for name, weight in weights.items():
        errors = [output_error(weight, w[name].dequantize(), hessian) for w in (clipped, found)]
        assert errors[0] < 0.9 * errors[1]


def test_without_large_activations_nothing_is_worse_than_rounding():
    weights, inputs = problem(1)
    hessian = add_to_hessian(None, inputs / inputs.std(0)).matrix
    found, _ = awq.search(weights, hessian, torch.ones(48), bits=3, group_size=16, clipping=False)
    for name, weight in weights.items():
        plain = round_to_nearest(weight, bits=3, group_size=16).dequantize()
        assert torch.allclose(found[name].dequantize(), plain, atol=1e-5)


def test_magnitudes_are_means_over_all_tokens():
    from tiny_models import tiny_model

    model = tiny_model("llama")
    inputs = list(torch.randint(3, 200, (5, 16)).split(2))
    _, block, calls = next(iter(stream_blocks(model, inputs)))
    found = awq.input_magnitudes(block, calls)
    assert set(found) == set(linear_layers(block))
    fed = torch.cat([block.input_layernorm(hidden).flatten(0, 1) for hidden, _ in calls])
    assert torch.allclose(found["self_attn.q_proj"], fed.abs().mean(0), atol=1e-5)
