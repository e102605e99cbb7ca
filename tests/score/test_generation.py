"""Shared luck: equal models write equal texts, each draw is from the model's own distribution."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint
from test_layouts import NO_MEMORY
from test_loglikelihood import tiny_tokenizer
from test_tokens import closing_tokenizer
from tiny_models import FAMILIES, tiny_model

from ethical_compression.compress.recipe import Recipe
from ethical_compression.errors import InputError
from ethical_compression.score import exponential_race, generation

PROMPTS = ["the cat sat", "the answer is", "an unbelievable thing, thought the", "the dog saw"]


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer("bytes")


def endless(family: str, **changes) -> torch.nn.Module:
    """A tiny model that never ends its text."""
    model = tiny_model(family, **changes)
    model.generation_config.eos_token_id = model.config.eos_token_id = None
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_text_is_that_of_transformers(family, tokenizer):
    model = tiny_model(family)
    table = generation.generate(model, tokenizer, PROMPTS, length=12, temperature=0)
    for number, prompt in enumerate(PROMPTS):
        mine = table[table["prompt"] == number]
        ids = torch.tensor([tokenizer(prompt)["input_ids"]])
        theirs = model.generate(ids, max_new_tokens=12, do_sample=False, pad_token_id=0)
        assert mine["token_id"].tolist() == theirs[0, ids.shape[1] :].tolist()
        assert mine["end"].tolist() == [token == 2 for token in mine["token_id"]]


@pytest.mark.parametrize("family", FAMILIES)
def test_neighbours_in_a_batch_change_nothing(family, tokenizer):
    model = endless(family)
    together = generation.generate(model, tokenizer, PROMPTS, length=10, batch=4)
    apart = generation.generate(model, tokenizer, PROMPTS, length=10, batch=1)
    alone = generation.generate(model, tokenizer, PROMPTS[2:3], length=10)
    same = ["token_id", "piece"]
    assert together[same].equals(apart[same])
    assert alone[same].equals(apart.loc[apart["prompt"] == 2, same].reset_index(drop=True))
    np.testing.assert_allclose(together["logprob"], apart["logprob"], atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("temperature", [0, 0.5, 1])
def test_confidence_is_what_the_scoring_engine_says(family, temperature, tokenizer):
    model = endless(family)
    table = generation.generate(model, tokenizer, PROMPTS, length=8, temperature=temperature)
    again = generation.read(model, tokenizer, PROMPTS, table)
    assert again[["prompt", "position"]].equals(table[["prompt", "position"]])
    np.testing.assert_allclose(again["logprob"], table["logprob"], atol=1e-4)
    np.testing.assert_allclose(again["entropy"], table["entropy"], atol=1e-4)


# --- The coupling ---------------------------------------------------------------------------------


def test_one_model_twice_writes_one_text_and_another_seed_another(tokenizer):
    first, second = (
        generation.generate(endless("llama"), tokenizer, PROMPTS, length=10, seed=3)
        for _ in range(2)
    )
    pd.testing.assert_frame_equal(first, second)
    other = generation.generate(endless("llama"), tokenizer, PROMPTS, length=10, seed=4)
    assert (other["token_id"] != first["token_id"]).mean() > 0.5


def draw(p: np.ndarray, seeds: int, prompt: str = "a") -> np.ndarray:
    times = (exponential_race.race(prompt, 0, len(p), seed) for seed in range(seeds))
    return np.array([(one / p).argmin() for one in times])


def test_draws_follow_the_distribution():
    p = np.array([0.4, 0.3, 0.15, 0.1, 0.05])
    counts = np.bincount(draw(p, 4000), minlength=5)
    assert stats.chisquare(counts, 4000 * p).pvalue > 0.001
    # Places of a prompt, and prompts, draw on their own: no two agree more often than by chance.
    for one, two in ((("a", 0), ("a", 1)), (("a", 0), ("b", 0))):
        same = [
            (exponential_race.race(*one, 5, s) / p).argmin()
            == (exponential_race.race(*two, 5, s) / p).argmin()
            for s in range(2000)
        ]
        assert stats.binomtest(sum(same), 2000, float((p**2).sum())).pvalue > 0.001


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_generated_tokens_follow_the_model(temperature, tokenizer):
    model, prompt = endless("gpt2"), PROMPTS[0]
    with torch.inference_mode():
        ids = torch.tensor([tokenizer(prompt)["input_ids"]])
        p = (model(ids).logits[0, -1].double() / temperature).softmax(-1).numpy()
    winners = draw(p, 8000, prompt)
    for seed in range(0, 8000, 400):
        options = {"length": 1, "temperature": temperature, "seed": seed}
        said = generation.generate(model, tokenizer, [prompt], **options)
        assert said["token_id"].tolist() == [winners[seed]]
    # Tokens expected less often than five times share a cell.
    common = np.flatnonzero(8000 * p >= 5)
    counts = np.bincount(winners, minlength=len(p))
    observed = [*counts[common], 8000 - counts[common].sum()]
    expected = [*8000 * p[common], 8000 * (1 - p[common].sum())]
    assert stats.chisquare(observed, expected).pvalue > 0.001


@settings(deadline=None, max_examples=10)
@given(st.lists(st.tuples(st.floats(0.05, 1), st.floats(0.05, 1)), min_size=2, max_size=6))
def test_two_models_agree_at_least_as_often_as_the_bound(weights):
    p, q = (np.array(side) / sum(side) for side in zip(*weights, strict=True))
    apart = np.abs(p - q).sum() / 2
    n = 600
    same = int((draw(p, n) == draw(q, n)).sum())
    bound = (1 - apart) / (1 + apart)
    assert same == n or proportion_confint(same, n, 1e-4, method="wilson")[1] >= bound


def test_a_larger_vocabulary_keeps_the_times_of_a_smaller_one():
    small, large = (exponential_race.race("a", 2, size, 0) for size in (50, 80))
    assert (small == large[:50]).all() and (small > 0).all()


# --- Between two models ---------------------------------------------------------------------------


def test_distances_along_a_text_are_the_models_own(tokenizer):
    p, q = endless("llama"), endless("llama", seed=1)
    table = generation.generate(p, tokenizer, PROMPTS[:2], length=5)
    along = generation.distances(p, q, tokenizer, PROMPTS[:2], table)
    assert along["js_distance"].between(0, 1).all() and (along["kl"] > 0).all()
    for (prompt, position), row in along.set_index(["prompt", "position"]).iterrows():
        before = table[(table["prompt"] == prompt) & (table["position"] < position)]["token_id"]
        ids = torch.tensor([tokenizer(PROMPTS[prompt])["input_ids"] + before.tolist()])
        with torch.inference_mode():
            ours, theirs = (m(ids).logits[0, -1].double().softmax(-1).numpy() for m in (p, q))
        assert row["kl"] == pytest.approx(stats.entropy(ours, theirs), abs=1e-4)
    none = generation.distances(p, p, tokenizer, PROMPTS[:2], table)
    np.testing.assert_allclose(none[["kl", "js_distance"]], 0, atol=1e-3)


@settings(deadline=None, max_examples=60)
@given(st.text(alphabet="the cat é→œ😀", max_size=12), st.integers(0, 3))
def test_pieces_join_to_the_text(text, kept):
    tokenizer = tiny_tokenizer("bytes")
    ids = tokenizer("the cat" + text)["input_ids"]
    before, after = ids[:kept], ids[kept:]
    pieces = generation.pieces(tokenizer, before, after)
    whole, start = (
        tokenizer.decode(some, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        for some in (ids, before)
    )
    assert len(pieces) == len(after) and start + "".join(pieces) == whole


def test_a_text_under_int8_hears_of_its_neighbours():
    # Why the documentation of `generate` makes an exception, and the chapter says so.
    pytest.importorskip("bitsandbytes")
    from ethical_compression.compress.bits_and_bytes import quantized

    torch.manual_seed(0)
    layer = quantized(torch.nn.Linear(64, 8, bias=False), "int8").eval()
    mine, other = torch.randn(2, 64)
    loud = other.clone()
    loud[mine.abs().argsort()[40]] = 50.0  # not where `mine` is largest: that one rounds to itself
    with torch.inference_mode():
        quiet, near = (layer(torch.stack([mine, x]))[0] for x in (other, loud))
        assert torch.equal(quiet, layer(mine[None])[0]) and not torch.equal(quiet, near)


# --- The study, and what it refuses ---------------------------------------------------------------


def test_study_is_kept_and_says_who_wrote_what(own_store, monkeypatch):
    recipes = [Recipe("rtn", bits=8, group_size=-1), Recipe("rtn", bits=2, group_size=-1)]
    prompts = ["Once upon a time", "Il était une fois une", "The main reason"]
    options = {"length": 6, "batch": 2, "progress": False}
    written, along = generation.study("tiny-random-llama", recipes, prompts, **options)
    assert written["compression"].unique().tolist() == ["full", "RTN 8-bit", "RTN 2-bit"]
    assert sorted(written["prompt"].unique()) == [0, 1, 2]
    full = written[written["compression"] == "full"]
    assert (full["full_logprob"] == full["logprob"]).all()
    size = along.groupby("compression")["kl"].mean()
    assert 0 < size["RTN 8-bit"] < size["RTN 2-bit"]
    # Where the words before it are the full model's, the reading is the full model's too.
    other = written[written["compression"] == "RTN 8-bit"].merge(full, on=["prompt", "position"])
    same = other[other["position"] == 0].query("token_id_x == token_id_y")
    np.testing.assert_allclose(same["full_logprob_x"], same["logprob_y"], atol=1e-4)

    monkeypatch.setattr(
        "ethical_compression.score.subjects.load", lambda *a, **k: pytest.fail("made again")
    )
    again = generation.study("tiny-random-llama", recipes, prompts, **options)
    pd.testing.assert_frame_equal(again[0], written)
    pd.testing.assert_frame_equal(again[1], along)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prompts": []}, "no prompt"),
        ({"prompts": ["a cat", " "]}, "prompt is empty"),
        ({"length": 0}, "at least 1"),
        ({"temperature": -1.0}, "temperature of 0 or more"),
        ({"temperature": math.nan}, "temperature of 0 or more"),
        ({"length": 62}, "exceed the model's input of 64"),
    ],
)
def test_what_makes_no_sense_is_refused(change, words, tokenizer):
    options = {"prompts": ["the cat sat"], "length": 4} | change
    with pytest.raises(InputError, match=words):
        generation.generate(tiny_model("llama"), tokenizer, options.pop("prompts"), **options)


def test_a_prompt_has_one_first_token_and_no_last_one():
    tokenizer = closing_tokenizer("pieces")
    turn = [{"role": "user", "content": "is it so?"}]
    chat = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    for ids in generation.prompt_ids(tokenizer, [chat, "is it so?"]):
        assert ids[0] == 1 and ids.count(1) == 1 and 2 not in ids


def test_broken_weights_are_refused(tokenizer):
    model = tiny_model("llama")
    with torch.no_grad():
        model.lm_head.weight[3] = math.nan
    with pytest.raises(InputError, match="not finite numbers"):
        generation.generate(model, tokenizer, ["the cat"], length=2)


def test_a_study_of_nothing_is_refused():
    with pytest.raises(InputError, match="at least one prompt and one compressed"):
        generation.study("tiny-random-llama", [], ["a"], length=2)


@pytest.mark.parametrize("error", NO_MEMORY, ids=["GPU", "CPU"])
def test_a_batch_of_prompts_that_does_not_fit_is_told(error, monkeypatch):
    def full(*_):
        raise error
        yield

    monkeypatch.setattr(generation, "_from_memory", full)
    model = tiny_model("llama")
    model._ethical_compression_remembers = True
    with pytest.raises(InputError, match="A batch of 1 texts does not fit"):
        generation.generate(model, tiny_tokenizer("bytes"), ["the cat"], length=2)


@pytest.mark.parametrize("family", ["llama", "gpt2", "bloom"])
def test_samples_are_what_one_seed_each_gives(family):
    """The prompt is read once; the k-th continuation is that of seed + k by itself."""
    model, tokenizer = tiny_model(family), tiny_tokenizer("bytes")
    prompts = ["The lazy dog", "A quick brown fox jumps"]
    drawn = generation.generate(model, tokenizer, prompts, length=6, samples=3, seed=5, batch=7)
    assert drawn.columns[:2].tolist() == ["prompt", "sample"]
    for k in range(3):
        alone = generation.generate(model, tokenizer, prompts, length=6, seed=5 + k)
        some = drawn[drawn["sample"] == k].drop(columns="sample").reset_index(drop=True)
        pd.testing.assert_frame_equal(some, alone, rtol=1e-4, atol=1e-5)
