"""A trained tokenizer: any text there and back, bytes at the least, the same each time."""

import functools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ethical_compression.errors import InputError
from ethical_compression.train import bpe

TEXTS = ["the cat sat on the mat, and the rat sat on the cat. " * 20, "An owl; <unk> a hat! " * 9]


@pytest.fixture(scope="module")
def tokenizer():
    return bpe.trained(TEXTS, 280)


@functools.cache
def once():
    return bpe.trained(TEXTS, 280)


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_read_back(text):
    for mark in (bpe.BEGIN, bpe.UNKNOWN, bpe.MASK):
        text = text.replace(mark, "")
    assert once().decode(once()(text)["input_ids"]) == text


def test_the_same_texts_give_the_same_entries(tokenizer, tmp_path):
    assert bpe.trained(TEXTS, 280).get_vocab() == tokenizer.get_vocab()
    assert len(tokenizer) == 280
    assert " the" in {tokenizer.decode([one]) for one in range(280)}
    tokenizer.save_pretrained(tmp_path)
    from transformers import AutoTokenizer

    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again(TEXTS[1])["input_ids"] == tokenizer(TEXTS[1])["input_ids"]
    assert again.bos_token == again.pad_token == bpe.BEGIN and again.mask_token == bpe.MASK


def test_rare_words_of_wikitext_are_one_token(tokenizer):
    ids = tokenizer("a <unk> hat")["input_ids"]
    assert ids.count(tokenizer.convert_tokens_to_ids(bpe.UNKNOWN)) == 1


def test_documents_begin_with_their_token(tokenizer):
    one, other = bpe.encoded(tokenizer, ["the cat", "an owl"])
    assert one[0] == other[0] == tokenizer.bos_token_id
    assert tokenizer.decode(one[1:]) == "the cat"


@pytest.mark.parametrize(
    ("texts", "size", "said"),
    [(TEXTS, 200, "cannot hold all bytes"), (["  "], 300, "no text"), (["a"], 400, "give 25")],
)
def test_what_cannot_be_trained_is_told(texts, size, said):
    with pytest.raises(InputError, match=said):
        bpe.trained(texts, size)
