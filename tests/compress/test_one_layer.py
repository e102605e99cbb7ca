"""One layer of a tiny model under every method."""

import numpy as np
import pytest
import torch
from tiny_models import tiny_model

from ethical_compression.compress import one_layer
from ethical_compression.errors import InputError

NAME = "mlp.up_proj"


@pytest.fixture(scope="module")
def texts():
    torch.manual_seed(1)
    return [[torch.randint(0, 90, (2, 24))] for _ in range(2)]


@pytest.fixture(scope="module")
def layer(texts):
    return one_layer.watch(tiny_model("llama"), 1, NAME, *texts)


def test_weights_that_lie_on_a_grid_hide_what_rounding_costs():
    torch.manual_seed(0)
    plain = torch.randn(8, 64)
    codes = torch.randint(0, 16, (8, 64))
    codes[:, ::32], codes[:, 1::32] = 0, 15  # every group of 32 uses all of its range
    on_grid = codes * 0.25 - 2
    found = one_layer.rounding_errors({"plain": plain, "grid": on_grid}, [8, 4, 2], 32)
    assert found["bits"].tolist() == [8, 4, 2]
    assert found["grid"][1] < 1e-9 < 1e-3 < found["plain"][1] < found["plain"][2]
    assert found["plain"][0] < 1e-4


def test_what_went_through_the_layer_is_what_the_full_model_sends(layer, texts):
    model, seen = tiny_model("llama"), []
    linear = model.model.layers[1].mlp.up_proj
    hook = linear.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].flatten(0, 1)))
    with torch.no_grad():
        for (batch,) in texts:
            model(batch)
    hook.remove()
    for inputs, found in zip(seen, (layer.hessian, layer.unseen), strict=True):
        expected = inputs.T @ inputs
        ratio = float(found[0, 0] / expected[0, 0])
        torch.testing.assert_close(found / ratio, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(layer.sizes / layer.sizes[0], (m := seen[0].abs().mean(0)) / m[0])
    torch.testing.assert_close(layer.weight, linear.weight.detach())
    assert len(layer.windows) == 2
    # A layer's output error is a ratio, so that whole text lies between its windows.
    changed = one_layer.pruned(layer, "Magnitude", 0.5)
    by_window = one_layer.errors_by_window(layer, changed)
    whole = one_layer.errors(layer, changed)["output error"]
    assert min(by_window) <= whole <= max(by_window)


def test_errors_are_those_of_weights_and_of_what_comes_out(layer):
    assert one_layer.errors(layer, layer.weight) == {"weight error": 0, "output error": 0}
    half = one_layer.errors(layer, layer.weight / 2)
    assert half["weight error"] == pytest.approx(0.25)
    assert half["output error"] == pytest.approx(0.25)


def test_every_quantizer_has_the_label_of_its_recipe(layer):
    found = one_layer.quantized(layer, 3, 16)
    names = ["RTN 3-bit", "AWQ 3-bit", "GPTQ 3-bit", "GPTQ 3-bit, clipped"]
    assert list(found) == names
    errors = {name: one_layer.errors(layer, one)["output error"] for name, one in found.items()}
    assert all(0 < error < 1 for error in errors.values())
    for one in found.values():
        assert one.shape == layer.weight.shape


@pytest.mark.parametrize("rule", one_layer.RULES)
def test_every_rule_prunes_a_share_or_a_pattern(layer, rule):
    half = one_layer.pruned(layer, rule, 0.5) == 0
    assert float(half.float().mean()) == pytest.approx(0.5, abs=0.02)
    pattern = (one_layer.pruned(layer, rule, "2:4") == 0).reshape(-1, 4).sum(1)
    assert (pattern == 2).all()


def test_inputs_are_like_themselves(layer):
    found = one_layer.likeness(layer, 5)
    np.testing.assert_allclose(found.diagonal(), 1, rtol=1e-5)
    assert found.shape == (5, 5) and (found.abs() <= 1 + 1e-5).all()


@pytest.mark.parametrize(("block", "name"), [(9, NAME), (-1, NAME), (0, "mlp.x")])
def test_a_layer_that_is_not_there_is_told(texts, block, name):
    with pytest.raises(InputError, match=r"no layer .* blocks 0 to 1 with the layers .*up_proj"):
        one_layer.watch(tiny_model("llama"), block, name, *texts)
