"""Calibration tokens weighted by the full model's uncertainty."""

import pytest
import torch
from scipy.stats import entropy
from tiny_models import FAMILIES, tiny_model

from ethical_compression.compress import checkpoint, gptq, weighting
from ethical_compression.compress.apply import apply
from ethical_compression.compress.recipe import Recipe


def calibration():
    generator = torch.Generator().manual_seed(0)
    return list(torch.randint(3, 200, (5, 24), generator=generator).split(2))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tokens_weight_is_the_entropy_of_what_comes_next(family, monkeypatch):
    monkeypatch.setattr(weighting, "POSITIONS", 7)
    model, inputs = tiny_model(family), calibration()
    found = weighting.token_weights("entropy", model, inputs)
    assert [one.shape for one in found] == [one.shape for one in inputs]
    for ids, weights in zip(inputs, found, strict=True):
        with torch.no_grad():
            p = model(input_ids=ids).logits.double().softmax(-1).numpy()
        torch.testing.assert_close(
            weights.double(), torch.tensor(entropy(p, axis=-1)), rtol=1e-4, atol=1e-5
        )
    assert weighting.token_weights("none", model, inputs) is None


def test_the_recipe_weights_by_the_full_model_not_by_what_is_left_of_it():
    settings = {"bits": 3, "group_size": 16}
    recipe = Recipe("gptq", weighting="entropy", **settings)
    full, inputs = tiny_model("llama"), calibration()
    model, by_hand = tiny_model("llama"), tiny_model("llama")
    # A side that is no multiple of 32 stays full, as it would be saved.
    apply(recipe, model, inputs, partial=True)
    settings["only"] = lambda weight: checkpoint.packs(*weight.shape)
    entropies = weighting.next_token_entropy(full, inputs)
    # A common factor changes nothing, up to rounding: a Hessian is a weighted mean.
    expected = gptq.quantize_model(by_hand, inputs, token_weights=entropies, **settings)
    scaled = gptq.quantize_model(
        tiny_model("llama"), inputs, token_weights=[8 * one for one in entropies], **settings
    )
    plain = gptq.quantize_model(tiny_model("llama"), inputs, **settings)
    with torch.no_grad():
        assert torch.equal(model(inputs[0]).logits, by_hand(inputs[0]).logits)

    def agreement(other):
        pairs = [(expected[name].codes == other[name].codes).float().mean() for name in expected]
        return float(torch.stack(pairs).mean())

    assert agreement(scaled) > 0.99 > agreement(plain)
