"""Likelihood preference against float64 passes, lm-eval, and the released code's way redone."""

import dataclasses

import numpy as np
import pytest
import torch
from test_loglikelihood import lm_eval_scores, plain_pass, tiny_tokenizer
from tiny_models import tiny_model

from ethical_compression.datasets import moral_stories
from ethical_compression.datasets.moral_stories import MoralStory
from ethical_compression.errors import InputError
from ethical_compression.score import moral, runs
from ethical_compression.score.subjects import Compressed

STORY = MoralStory(
    norm="the cat is there.",
    situation="the dog saw the cat.",
    intention="the dog sat there",
    moral_action="the cat sat on the mat.",
    moral_consequence="yes.",
    immoral_action="the answer is no, or maybe an unbelievable thing.",
    immoral_consequence="no.",
    language="en",
    id="one",
    source="test",
)
OTHER = dataclasses.replace(
    STORY, id="two", norm="an answer is warm.", moral_action="été: yes.", immoral_action="the mat"
)
STORIES = [STORY, OTHER]


@pytest.fixture(scope="module")
def llama():
    return tiny_model("llama", max_position_embeddings=256)


@pytest.mark.parametrize("kind", ["bytes", "pieces"])
@pytest.mark.parametrize("norm", [True, False])
def test_equals_lm_eval_on_the_same_words(llama, kind, norm):
    tokenizer = tiny_tokenizer(kind)
    table = moral.preferences(llama, tokenizer, STORIES, norm=norm)
    fields = ("norm", "situation", "intention")[not norm :]
    asked = [
        (" ".join(getattr(story, field) for field in fields), " " + action)
        for story in STORIES
        for action in (story.moral_action, story.immoral_action)
    ]
    theirs = [value for value, _ in lm_eval_scores(llama, tokenizer, asked, max_length=256)]
    ours = table[["moral_logprob", "immoral_logprob"]].to_numpy().ravel()
    np.testing.assert_allclose(ours, theirs, atol=1e-3)
    assert table["story"].tolist() == ["one", "two"]
    assert table["moral_bytes"].tolist() == [23, 11]  # é is two bytes, twice
    assert not table["truncated"].any()


@pytest.mark.parametrize("kind", ["bytes", "pieces"])
def test_apart_is_what_concatenated_ids_give_in_float64(llama, kind):
    """As the released code: two tokenisations, ids put in a row, the action's tokens scored."""
    tokenizer, exact = tiny_tokenizer(kind), tiny_model("llama", max_position_embeddings=256)
    exact = exact.double()
    table = moral.preferences(llama, tokenizer, STORIES, tokenisation="apart")
    for story, row in zip(STORIES, table.itertuples(), strict=True):
        prompt = tokenizer(f"{story.norm} {story.situation} {story.intention}").input_ids
        for name in ("moral", "immoral"):
            action = tokenizer(getattr(story, f"{name}_action")).input_ids
            assert (action[0] == 1) == (kind == "pieces")  # <s> in the middle, and scored
            labels = torch.tensor([[-100] * len(prompt) + action])
            with torch.inference_mode():
                loss = exact(input_ids=torch.tensor([prompt + action]), labels=labels).loss
            found = getattr(row, f"{name}_logprob") / getattr(row, f"{name}_tokens")
            assert found == pytest.approx(-float(loss), abs=1e-4)


def test_a_first_token_is_put_where_the_tokenizer_puts_none(llama):
    plain, own = tiny_tokenizer("bytes"), tiny_tokenizer("pieces")
    exact = tiny_model("llama", max_position_embeddings=256).double()
    text, action = "the cat is there. the dog saw the cat. the dog sat there", STORY.moral_action
    joint = moral.preferences(llama, plain, [STORY], first=True).iloc[0]
    whole = [1, *plain(f"{text} {action}").input_ids]
    expected = plain_pass(exact, whole, len(whole) - 1 - len(plain(text).input_ids))[0].sum()
    assert joint["moral_logprob"] == pytest.approx(expected, abs=1e-4)
    apart = moral.preferences(llama, plain, [STORY], first=True, tokenisation="apart").iloc[0]
    tail = [1, *plain(action).input_ids]
    expected = plain_pass(exact, [1, *plain(text).input_ids, *tail], len(tail))[0].sum()
    assert apart["moral_logprob"] == pytest.approx(expected, abs=1e-4)
    assert apart["moral_tokens"] == len(tail)
    for way in moral.TOKENISATIONS:  # a tokenizer that puts one by itself is given no second
        once, twice = (
            moral.preferences(llama, own, STORIES, tokenisation=way, first=first)
            for first in (False, True)
        )
        assert once.equals(twice)


def test_measures_worked_by_hand():
    import pandas as pd

    table = pd.DataFrame(
        {
            "story": ["a", "b"],
            "moral_logprob": [-12.0, -8.0],
            "moral_tokens": [4, 2],
            "moral_bytes": [10, 10],
            "immoral_logprob": [-10.0, -8.0],
            "immoral_tokens": [2, 2],
            "immoral_bytes": [4, 20],
        }
    )
    mean, total, byte = (moral.judged(table, one) for one in ("mean", "sum", "byte"))
    assert mean["margin"].tolist() == [2.0, 0.0]
    assert mean["prefers_moral"].tolist() == [True, False]  # a tie is no preference
    assert total["margin"].tolist() == [-2.0, 0.0]
    assert byte["margin"].tolist() == pytest.approx([1.3, -0.4])
    assert byte["moral"].tolist() == pytest.approx([-1.2, -0.8])
    with pytest.raises(InputError, match="no measure 'tokens'"):
        moral.judged(table, "tokens")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"intention": " "}, "'one' \\(en\\) has an empty intention"),
        ({"immoral_action": ""}, "has an empty immoral_action"),
        ({"immoral_action": f" {STORY.moral_action}"}, "has two equal actions"),
    ],
)
def test_a_story_that_cannot_be_scored_is_named(llama, changes, words):
    broken = dataclasses.replace(STORY, **changes)
    with pytest.raises(InputError, match=words):
        moral.preferences(llama, tiny_tokenizer("bytes"), [OTHER, broken])


def test_what_cannot_be_asked_is_said_in_words(llama):
    with pytest.raises(InputError, match="no stories to score"):
        moral.preferences(llama, tiny_tokenizer("bytes"), [])
    with pytest.raises(InputError, match="no tokenisation 'together'"):
        moral.preferences(llama, tiny_tokenizer("bytes"), STORIES, tokenisation="together")
    with pytest.raises(InputError, match="no language of own: 'de'"):
        moral_stories.load("de")
    short = tiny_model("llama", max_position_embeddings=32)
    long = dataclasses.replace(STORY, situation="the dog saw the cat. " * 20)
    with pytest.raises(InputError, match="more than the model's input of 32"):
        moral.preferences(short, tiny_tokenizer("bytes"), [long], tokenisation="apart")
    tight = dataclasses.replace(long, moral_action="the cat sat", immoral_action="the mat")
    assert moral.preferences(short, tiny_tokenizer("bytes"), [tight])["truncated"].all()


def test_a_run_is_kept_and_told_by_model_language_and_norm(own_store, monkeypatch):
    stories = [story for one in ("en", "fr") for story in moral_stories.load(one, limit=3)]
    asked = [Compressed("tiny-random-llama")], moral.batteries(stories)
    made = runs.grid(*asked, progress=False)["moral-preferences"]
    assert set(made["model"]) == {"tiny-random-llama"}
    assert made.groupby(["compression", "language", "norm"]).size().to_dict() == {
        ("full", language, norm): 3 for language in ("en", "fr") for norm in (True, False)
    }
    monkeypatch.setattr(
        "ethical_compression.score.subjects.load", lambda *_, **__: pytest.fail("scored again")
    )
    assert runs.grid(*asked, progress=False)["moral-preferences"].equals(made)
    with pytest.raises(InputError, match="no stories"):
        moral.batteries([])
