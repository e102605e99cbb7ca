"""Fewer passes, the same numbers: the loss, Llama's normalisation, and dropout."""

import pytest
import torch
from torch.nn import functional

from ethical_compression.train import token_loss
from ethical_compression.train.token_loss import dropout, root_mean_square


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_loss_and_gradients_are_cross_entropys(dtype, biased, monkeypatch):
    monkeypatch.setattr(token_loss, "CELLS", 3 * 50)  # three rows at a time of seven
    torch.manual_seed(0)
    states = torch.randn(7, 16).to(dtype)
    weight, bias = torch.randn(50, 16), torch.randn(50) if biased else None
    wanted = torch.tensor([0, 49, 3, 3, 17, 20, 1])
    some = [one.requires_grad_() for one in (states, weight, bias) if one is not None]
    mine = token_loss.token_loss(states, weight, wanted, bias)
    got = torch.autograd.grad(2 * mine, some)
    logits = states.float() @ weight.to(dtype).float().T + (bias if biased else 0)
    plain = functional.cross_entropy(logits, wanted)
    asked = torch.autograd.grad(2 * plain, some)
    near = {"rtol": 1e-5, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 0.03, "atol": 0.02}
    torch.testing.assert_close(mine, plain, **near)
    for one, other in zip(got, asked, strict=True):
        torch.testing.assert_close(one, other, **near)
    with torch.no_grad():
        assert torch.equal(token_loss.token_loss(states, weight, wanted, bias), mine.detach())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_normalisation_is_llamas(dtype):
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    torch.manual_seed(0)
    module = LlamaRMSNorm(32, eps=1e-5).to(dtype)
    module.weight.data.copy_(torch.rand(32) + 0.5)
    states = torch.randn(2, 5, 32).to(dtype).requires_grad_()
    upstream = torch.randn(2, 5, 32).to(dtype)
    some = (states, module.weight)
    asked = torch.autograd.grad(module(states), some, upstream)
    mine = root_mean_square(module.weight, module.variance_epsilon, states)
    got = torch.autograd.grad(mine, some, upstream)
    near = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 0.03, "atol": 0.05}
    torch.testing.assert_close(mine, module(states), **near)
    for one, other in zip(got, asked, strict=True):
        torch.testing.assert_close(one, other, **near)


def test_dropout_keeps_its_share_its_mean_and_follows_the_seed():
    states = torch.ones(300, 401, requires_grad=True)
    torch.manual_seed(3)
    once = dropout(states, 0.1)
    next_one = dropout(states, 0.1)
    torch.manual_seed(3)
    assert torch.equal(dropout(states, 0.1), once) and not torch.equal(once, next_one)
    assert (once == 0).float().mean().item() == pytest.approx(26 / 256, abs=0.003)
    assert once.mean().item() == pytest.approx(1, abs=0.004)
    once.sum().backward()
    assert torch.equal(states.grad, once.detach())
    assert dropout(states, 0.1, False) is states and dropout(states, 0.0) is states
