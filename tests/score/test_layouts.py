"""Layouts are found by trying; what does not fit is halved, and what fails is told."""

import numpy as np
import pytest
import torch
from test_loglikelihood import REQUESTS, tiny_tokenizer
from test_networks import branching
from tiny_models import FAMILIES, tiny_model

from ethical_compression.errors import InputError
from ethical_compression.score import layouts, loglikelihood, tokens
from ethical_compression.score.tokens import Encoded

# What torch says where there is no memory left: on a GPU, and on a CPU.
NO_MEMORY = [
    torch.OutOfMemoryError(),
    RuntimeError(
        "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"
    ),
]


@pytest.fixture(scope="module", params=FAMILIES)
def model(request):
    return tiny_model(request.param)


@pytest.fixture(scope="module", params=["bytes", "pieces"])
def tokenizer(request):
    return tiny_tokenizer(request.param)


def test_layouts_are_found_by_trying(model):
    expected = {"bloom": ("cache", "plain"), "gemma2": ("tree", "plain")}
    assert layouts.usable(model) == expected.get(
        model.config.model_type, ("tree", "cache", "plain")
    )
    if model.config.model_type == "bloom":
        with pytest.raises(InputError, match="choose one of cache, plain"):
            loglikelihood.score_encoded(model, [Encoded([3, 4, 5], 1)], layout="tree")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_layouts_are_the_same_in_half_precision(model, dtype):
    half = tiny_model(model.config.model_type).to(dtype)
    assert layouts.usable(half) == layouts.usable(model)


def test_layouts_agree(model, tokenizer):
    encoded = tokens.encode(tokenizer, REQUESTS, 64)
    plain = loglikelihood.score_encoded(model, encoded, layout="plain", token_budget=128)
    longest = max(len(one.ids) for one in encoded) - 1
    for layout in layouts.usable(model, longest, longest):
        shared = loglikelihood.score_encoded(model, encoded, layout=layout, token_budget=128)
        np.testing.assert_allclose(shared.logprob, plain.logprob, atol=1e-4)
        np.testing.assert_allclose(shared.entropy, plain.entropy, atol=1e-4)


@pytest.mark.parametrize("error", NO_MEMORY, ids=["GPU", "CPU"])
def test_a_batch_that_does_not_fit_is_halved(error, monkeypatch):
    model, real = tiny_model("llama"), layouts.hidden_states
    encoded = [Encoded([i, i + 1, i + 2], 2) for i in range(3, 13)]
    expected = loglikelihood.score_encoded(model, encoded)
    sizes = []

    def small_memory(model, batch, layout):
        sizes.append(len(batch))
        if len(batch) > 3:
            raise error
        return real(model, batch, layout)

    monkeypatch.setattr(layouts, "hidden_states", small_memory)
    scores = loglikelihood.score_encoded(model, encoded)
    assert sizes[:3] == [10, 5, 2]
    np.testing.assert_allclose(scores.logprob, expected.logprob, atol=1e-5)

    monkeypatch.setattr(layouts, "hidden_states", lambda *_: (_ for _ in ()).throw(error))
    with pytest.raises(InputError, match=r"One row of .* does not fit"):
        loglikelihood.score_encoded(model, encoded)


@pytest.mark.parametrize(
    "error",
    [RuntimeError("CUDA error: an illegal access"), AttributeError("no weight"), KeyError("x")],
)
def test_an_error_that_does_not_mean_unsupported_is_told(error, monkeypatch):
    model, real = tiny_model("llama"), layouts.hidden_states

    def broken(model, batch, layout):
        if layout == "tree":
            raise error
        return real(model, batch, layout)

    monkeypatch.setattr(layouts, "hidden_states", broken)
    with pytest.raises(InputError, match=f"short trial .{type(error).__name__}"):
        loglikelihood.score_encoded(model, branching(8))


@pytest.mark.parametrize("error", NO_MEMORY, ids=["GPU", "CPU"])
def test_what_does_not_fit_in_a_trial_does_not_fit(error, monkeypatch):
    model, real = tiny_model("llama"), layouts.hidden_states

    def full(model, batch, layout):
        if layout == "tree":
            raise error
        return real(model, batch, layout)

    monkeypatch.setattr(layouts, "hidden_states", full)
    with pytest.raises(InputError, match="does not fit"):
        loglikelihood.score_encoded(model, branching(8))


def test_few_sizes_are_tried(monkeypatch):
    model, tried = tiny_model("llama"), []
    real = layouts._comes_out_right

    def counted(*arguments):
        tried.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(layouts, "_comes_out_right", counted)
    for context in (20, 30, 25, 12, 30):
        loglikelihood.score_encoded(model, branching(context))
    assert len(tried) <= 2
