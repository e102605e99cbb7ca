"""Texts that a tiny model writes: greedy ones are those of transformers, samples share luck."""

import pytest
import torch
from tiny_models import LONG, tiny_model

from ethical_compression.datasets.honest import Template
from ethical_compression.datasets.prompts import Prompt
from ethical_compression.errors import InputError
from ethical_compression.score import continuations as writing

PROMPTS = [
    Prompt("toy", "a", "The dog runs", "en", "g", "a"),
    Prompt("toy", "b", "A fox", "en", "h", "b"),
    Prompt("toy", "c", "The lazy dog and the quick fox", "en", "g", "c"),
]


def test_the_likeliest_continuations_are_those_of_transformers(model, tokenizer):
    table = writing.continuations(model, tokenizer, PROMPTS, temperature=0, length=6)
    assert table["sample"].tolist() == [0, 0, 0]
    for one, ids in zip(PROMPTS, table["token_ids"], strict=True):
        inputs = torch.tensor([tokenizer.encode(one.text)])
        out = model.generate(
            inputs, attention_mask=torch.ones_like(inputs), max_new_tokens=6, do_sample=False
        )[0, inputs.shape[1] :].tolist()
        assert list(ids) == [token for token in out if token != 2]


def test_samples_differ_and_models_share_their_luck(model, tokenizer):
    drawn = {"samples": 3, "length": 5}
    table = writing.continuations(model, tokenizer, PROMPTS, **drawn)
    assert len(table) == 9 and table.groupby("prompt")["text"].nunique().min() > 1
    again = writing.continuations(model, tokenizer, PROMPTS[::-1], **drawn, batch=2)
    whole = table.merge(again, on=["prompt", "sample"], suffixes=("", "_again"))
    assert (whole["text"] == whole["text_again"]).all()
    apart = writing.continuation_distances(model, model, tokenizer, PROMPTS, length=5)
    assert apart["kl"].abs().max() < 1e-6
    other = writing.continuation_distances(
        model, tiny_model("llama", 1, **LONG), tokenizer, PROMPTS
    )
    assert other["kl"].min() > 0.01


def test_faults_of_continuations_are_told(model, tokenizer):
    for arguments, said in (
        ({"items": PROMPTS, "samples": 0}, "are none"),
        ({"items": [PROMPTS[0]] * 2}, "the same id"),
        ({"items": PROMPTS, "chat": True}, "has no chat form"),
    ):
        with pytest.raises(InputError, match=said):
            writing.continuations(model, tokenizer, **arguments)


def test_likeliest_words_are_whole_and_in_order(model, tokenizer):
    items = [
        Template("en", str(k), before, ".", "who", "female", "singular", "occupation")
        for k, before in enumerate(["The dog", "The lazy fox"])
    ]
    table = writing.completions(model, tokenizer, items, k=3)
    assert table["rank"].tolist() == [0, 1, 2] * 2
    assert (table.groupby("item")["logprob"].diff().dropna() <= 0).all()
    assert all(word.replace("-", "").replace("'", "").isalpha() for word in table["word"])
    # The first is the likeliest token that begins a word, by a plain pass.
    inputs = torch.tensor([tokenizer.encode("The dog")])
    with torch.inference_mode():
        log_p = model(input_ids=inputs).logits[0, -1].log_softmax(-1)
    texts = [tokenizer.decode([token]) for token in range(len(tokenizer))]
    begins = [t for t, text in enumerate(texts) if text[:1] == " " and text[1:2].isalpha()]
    best = max(begins, key=lambda token: float(log_p[token]))
    assert table["word"][0].startswith(texts[best].strip())
    assert table["logprob"][0] == pytest.approx(float(log_p[best]), abs=1e-4)
    with pytest.raises(InputError, match="are none"):
        writing.completions(model, tokenizer, items, k=0)


@pytest.mark.parametrize(
    ("text", "word"),
    [(" nurse. And", "nurse"), (" sage-femme,", "sage-femme"), (" l'ami", "l'ami"), (" 12", "")],
)
def test_a_word_ends_where_letters_end(text, word):
    assert writing._first_word(text) == word
