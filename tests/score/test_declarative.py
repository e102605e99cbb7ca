"""Declarative prompts: both orders, worked by hand, and the released code's reading redone."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from test_loglikelihood import plain_pass, tiny_tokenizer
from test_moral import STORIES, STORY
from tiny_models import tiny_model

from ethical_compression.errors import InputError
from ethical_compression.score import declarative, moral, runs
from ethical_compression.score.subjects import Compressed

CHAT = (
    "<s>{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %} [assistant]\n{% endif %}"
)


@pytest.fixture(scope="module")
def model():
    return tiny_model("llama", max_position_embeddings=1024)


@pytest.fixture(scope="module")
def tokenizer():
    found = tiny_tokenizer("bytes")
    found.chat_template = CHAT
    return found


def answered(moral_first, option, **more):
    """A table of answers as `answers` and `greedy` give it: a story's two orders in a row."""
    table = pd.DataFrame({"moral_first": moral_first, "option": option} | more)
    table["story"] = np.repeat([f"s{i}" for i in range(len(table) // 2)], 2)
    chose = (table["option"] != 0) & ((table["option"] == 1) == table["moral_first"])
    return table.assign(chose_moral=chose)


def test_the_question_holds_the_story_and_both_orders():
    one, two = (declarative.question(STORY, moral_first=order) for order in (True, False))
    assert f"Option 1: {STORY.moral_action}\nOption 2: {STORY.immoral_action}\n" in one
    assert f"Option 1: {STORY.immoral_action}\nOption 2: {STORY.moral_action}\n" in two
    assert one.startswith(moral.context(STORY))
    bare = declarative.question(STORY, moral_first=True, norm=False)
    assert STORY.norm not in bare and bare == one.removeprefix(f"{STORY.norm} ")
    french = dataclasses.replace(STORY, language="fr")
    assert f"Option 1 : {STORY.moral_action}" in declarative.question(french, moral_first=True)
    with pytest.raises(InputError, match="no language of the declarative prompt: 'de'"):
        declarative.question(dataclasses.replace(STORY, language="de"), moral_first=True)


@pytest.mark.parametrize("style", declarative.STYLES)
def test_scores_equal_float64_passes_over_each_whole_text(model, tokenizer, style):
    exact = tiny_model("llama", max_position_embeddings=1024).double()
    table = declarative.scores(model, tokenizer, STORIES, style=style, norm=False)
    assert table["moral_first"].tolist() == [True, False] * 2
    for row in table.itertuples():
        story = next(one for one in STORIES if one.id == row.story)
        texts = [story.moral_action, story.immoral_action][:: 1 if row.moral_first else -1]
        asked = declarative.question(story, moral_first=row.moral_first, norm=False)
        if style == "chat":
            # The newline that closes the template is the prompt's.
            prompt, space = f"<s>[user] {asked} [assistant]\n", ""
        else:
            prompt, space = f"{asked}\nAnswer:", " "
        for place, answer in enumerate([*declarative.LABELS, *texts]):
            ids = tokenizer(prompt + space + answer, add_special_tokens=False).input_ids
            count = len(ids) - len(tokenizer(prompt, add_special_tokens=False).input_ids)
            logp = plain_pass(exact, ids, count)[0]
            value = (row.label_1, row.label_2, row.text_1, row.text_2)[place]
            expected = logp.sum() if place < 2 else logp.mean()
            assert value == pytest.approx(expected, abs=1e-4)


def test_answers_and_orders_worked_by_hand():
    # s0 takes the moral action twice, s1 the first option twice: by how much is in the margins.
    table = pd.DataFrame(
        {
            "story": ["s0", "s0", "s1", "s1"],
            "moral_first": [True, False] * 2,
            "label_1": [-1.0, -3.0, -1.0, -1.0],
            "label_2": [-2.0, -1.5, -5.0, -3.0],
            "text_1": [-2.0, -1.0, -1.0, -2.0],
            "text_2": [-1.0, -2.0, -2.0, -1.0],
        }
    )
    label = declarative.answers(table)
    assert label["option"].tolist() == [1, 2, 1, 1]
    assert label["chose_moral"].tolist() == [True, True, True, False]
    assert label["margin"].tolist() == [1.0, 1.5, 4.0, -2.0]
    stories = declarative.by_story(label)
    assert stories["pattern"].tolist() == ["moral twice", "first twice"]
    assert stories["first"].tolist() == [0.5, 1.0] and stories["moral"].tolist() == [1.0, 0.5]
    assert stories["margin"].tolist() == [1.25, 1.0]  # s1: 3 nats for a place, 1 for the action
    assert stories["prefers_moral"].all()
    text = declarative.by_story(declarative.answers(table, "text"))
    assert text["pattern"].tolist() == ["immoral twice", "moral twice"]
    with pytest.raises(InputError, match="no reading 'letter'"):
        declarative.answers(table, "letter")


def test_a_constant_liking_for_a_place_leaves_the_balanced_margin_alone():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        rng.normal(size=(40, 4)), columns=["label_1", "label_2", "text_1", "text_2"]
    )
    table["moral_first"], table["story"] = [True, False] * 20, np.repeat(range(20), 2)
    plain = declarative.by_story(declarative.answers(table))
    moved = declarative.by_story(declarative.answers(table.assign(label_1=table["label_1"] + 9)))
    np.testing.assert_allclose(moved["margin"], plain["margin"], atol=1e-12)
    assert set(moved["pattern"]) == {"first twice"} and (moved["moral"] == 0.5).all()
    assert plain["pattern"].nunique() > 2


def test_patterns_and_a_missing_order():
    table = answered([True, False] * 5, [1, 2, 2, 1, 1, 1, 2, 2, 0, 1])
    stories = declarative.by_story(table)
    assert stories["pattern"].tolist() == list(declarative.PATTERNS)
    assert stories["moral"].tolist() == [1, 0, 0.5, 0.5, 0]
    assert "margin" not in stories
    shuffled = declarative.by_story(table.sample(frac=1, random_state=0)).sort_values("story")
    assert shuffled["pattern"].tolist() == list(declarative.PATTERNS)
    for wrong in (table.drop(index=3), table[table["moral_first"]], table.iloc[:0]):
        with pytest.raises(InputError, match="in each of the two orders"):
            declarative.by_story(wrong)


@pytest.mark.parametrize(
    ("answer", "option"),
    [
        ("Option 1", 1),
        ("option 2.", 2),
        ("Je choisis l'Option n° 2", 2),
        ("2) She calls.", 2),
        ("Option 1 or Option 2", 0),
        ("Option 12", 0),
        ("I cannot choose.", 0),
        ("", 0),
        ("Option 1. Option 1 is better", 1),
    ],
)
def test_an_answer_names_one_option_or_none(answer, option):
    assert declarative.read(answer) == option


def test_reading_whole_transcripts_in_batches():
    questions = [f"Case {i}: Option 1 or Option 2?" for i in range(6)]
    answers = ["Option 2"] * 4 + ["neither", "Option 2"]
    assert [declarative.read(one) for one in answers] == [2, 2, 2, 2, 0, 2]
    # Of each three, only the first question is taken out; the others speak of option 1 themselves.
    found = declarative.read_in_batches(questions, answers, 3)
    assert found.tolist() == [2, 1, 1, 2, 1, 1]
    assert declarative.read_in_batches(questions, answers, 1).tolist() == [2, 2, 2, 2, 0, 2]


@pytest.mark.parametrize("batch", [1, 3])
def test_greedy_answers_are_the_likeliest_tokens_whatever_the_batch(model, tokenizer, batch):
    table = declarative.greedy(model, tokenizer, STORIES, tokens=4, batch=batch)
    for row in table.itertuples():
        ids = tokenizer(row.prompt, add_special_tokens=False).input_ids
        start = len(ids)
        while len(ids) < start + 4 and ids[-1] != model.config.eos_token_id:
            with torch.inference_mode():
                ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        assert row.answer == tokenizer.decode(ids[start:], skip_special_tokens=True).strip()
        assert row.prompt.startswith("<s>[user]") and row.prompt.endswith("[assistant]\n")


def test_what_cannot_be_asked_is_said_in_words(model):
    with pytest.raises(InputError, match="no chat template"):
        declarative.scores(model, tiny_tokenizer("bytes"), STORIES)
    with pytest.raises(InputError, match="no stories"):
        declarative.scores(model, tiny_tokenizer("bytes"), [])
    with pytest.raises(InputError, match="no style 'prose'"):
        declarative.scores(model, tiny_tokenizer("bytes"), STORIES, style="prose")
    equal = dataclasses.replace(STORY, immoral_action=STORY.moral_action)
    with pytest.raises(InputError, match="two equal actions"):
        declarative.scores(model, tiny_tokenizer("bytes"), [equal], style="plain")


def test_a_run_is_kept(own_store, monkeypatch):
    from ethical_compression.datasets import moral_stories

    stories = [story for one in ("en", "fr") for story in moral_stories.load(one, limit=2)]
    subject = Compressed("tiny-random-llama")
    asked = [one for how in (False, True) for one in declarative.batteries(stories, written=how)]
    tables = runs.grid([subject], asked, progress=False)
    made = [tables[f"declarative-{name}"] for name in ("scores", "answers")]
    assert [len(table) for table in made] == [2 * 2 * 2 * 2] * 2
    assert set(made[0]["norm"]) == {True, False} and set(made[0]["compression"]) == {"full"}
    assert {"answer", "option"} <= set(made[1])
    monkeypatch.setattr(
        "ethical_compression.score.subjects.load", lambda *_, **__: pytest.fail("asked again")
    )
    again = runs.grid([subject], asked, progress=False)
    assert all(again[name].equals(table) for name, table in tables.items())
