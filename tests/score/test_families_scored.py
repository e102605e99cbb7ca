"""Every family of `families.CONFIGS`: scored and continued as a plain pass does, or refused.

A few of each kind run always; all of them, in each data type, with `-m sweep`.
"""

import functools

import families
import numpy as np
import pytest
import torch

from ethical_compression.errors import InputError
from ethical_compression.score import generation, loglikelihood
from ethical_compression.score.tokens import Encoded

# Not models that go on with a text from left to right, or not in batches; one sentence says so.
REFUSED = {
    "xlnet": "reads the tokens after",
    "cpmant": "reads the tokens after",
    "prophetnet_decoder": "reads the tokens after|when shorter texts are padded",
}
# One of each kind: layouts, windows, positions, scales and caps, experts, recurrence, own heads.
KINDS = (
    "llama",
    "gpt2",
    "opt_projected",
    "bloom",
    "mpt",
    "gpt_neo",
    "gemma2",
    "llama4",
    "cohere",
    "granite",
    "minicpm3",
    "recurrent_gemma",
    "mixtral",
    "mamba",
    "rwkv",
    "jamba",
    "zamba2",
    "bart_decoder",
    "roberta_decoder",
    "gemma3_nested",
    "xlm",
    *REFUSED,
)
# Nats: what rounding may make of one token's log-probability, in each data type.
CLOSE = {"float32": 1e-4, "float16": 0.05, "bfloat16": 0.4}


def draws():
    generator = np.random.default_rng(0)
    return lambda n: generator.integers(3, families.VOCABULARY, n).tolist()


@functools.cache
def requests() -> tuple[Encoded, ...]:
    """Long and short, sharing much, little and nothing; longer than any window."""
    draw = draws()
    stem, other = draw(40), draw(6)
    found = [Encoded([*stem, *draw(12)], 12) for _ in range(4)]
    found += [Encoded([*stem[:20], *draw(5)], 5) for _ in range(3)]
    found += [Encoded([*other, *draw(2)], 2) for _ in range(5)]
    return (*found, Encoded(draw(30), 29), Encoded(draw(2), 1))


def logits(model, ids):
    with torch.inference_mode():
        out = model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0]
    return out.double().log_softmax(-1)


@functools.cache
def truth(name: str, std: float) -> np.ndarray:
    """Log-probabilities by plain passes, in float64 where the family can be run in it."""
    model = families.make(name, std=std).double()
    try:
        logits(model, [3, 4])
    except RuntimeError:  # experts are multiplied in float32 at most; XGLM's masks overflow
        model = families.make(name, std=std)
    parts = []
    for one in requests():
        found = logits(model, one.ids[:-1])[-one.scored :]
        parts.append(found.gather(1, torch.tensor(one.ids[-one.scored :])[:, None])[:, 0])
    return torch.cat(parts).numpy()


def check_scores(name, dtype, std):
    model = families.make(name, std=std, dtype=getattr(torch, dtype))
    if name in REFUSED:
        with pytest.raises(InputError, match=REFUSED[name]):
            loglikelihood.score_encoded(model, requests())
        return
    try:
        logits(model, requests()[0].ids)
    except RuntimeError as error:
        pytest.skip(f"its own code does not run in {dtype}: {error}")
    found = loglikelihood.score_encoded(model, requests(), token_budget=200)
    # In half precision a token may go to another expert: then compare the middle of all.
    summary = np.max if dtype == "float32" else np.median
    close = CLOSE[dtype] * (1 if std < 0.3 else 100 if dtype == "float32" else 4)
    assert summary(np.abs(found.logprob - truth(name, std))) < close


def check_text(name):
    model = families.make(name)
    model.generation_config.eos_token_id = model.config.get_text_config().eos_token_id = None
    draw = draws()
    prompts = [(str(n), draw(n)) for n in (3, 20, 9)]
    if name in REFUSED:
        with pytest.raises(InputError, match=REFUSED[name]):
            list(generation._continue(model, prompts, 4, 0, 0, 1))
        return
    ways = [generation.remembers(model)]
    for remembered in {*ways, False}:
        model._ethical_compression_remembers = remembered
        # Two samples of a prompt share what is remembered of it.
        said = list(generation._continue(model, prompts, 4, 0, 0, 2))
        twice = [ids for _, ids in prompts for _ in range(2)]
        for ids, (tokens, logprob, _) in zip(twice, said, strict=True):
            seen = list(ids)
            for token, value in zip(tokens, logprob, strict=True):
                log_p = logits(model, seen)[-1]
                assert value == pytest.approx(float(log_p[token]), abs=1e-4)
                assert float(log_p.max() - log_p[token]) < 1e-4
                seen.append(token)


@pytest.mark.parametrize("name", KINDS)
def test_scores_are_those_of_a_plain_pass(name):
    check_scores(name, "float32", 0.1)


@pytest.mark.parametrize("name", KINDS)
def test_text_is_that_of_a_plain_pass(name):
    check_text(name)


@pytest.mark.sweep
@pytest.mark.parametrize("std", [0.02, 0.1, 0.4])
@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("name", families.CONFIGS)
def test_every_family_scores_as_a_plain_pass(name, dtype, std):
    check_scores(name, dtype, std)


@pytest.mark.sweep
@pytest.mark.parametrize("name", families.CONFIGS)
def test_every_family_goes_on_as_a_plain_pass(name):
    check_text(name)
