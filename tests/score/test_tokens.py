"""What a tokenizer puts before and after a text, and where a continuation begins."""

import pytest
import tokenizers
from test_loglikelihood import REQUESTS, TEXT, tiny_tokenizer

from ethical_compression.errors import InputError
from ethical_compression.score import tokens
from ethical_compression.score.tokens import Request

CHAT = (
    "{{ bos_token }}{% for turn in messages %}{{ turn['role'] }}:\n{{ turn['content'] }}\n"
    "{% endfor %}{% if add_generation_prompt %}assistant:\n{% endif %}"
)


def closing_tokenizer(kind: str):
    """As `tiny_tokenizer`, with <s> put before every text and </s> after it."""
    tokenizer = tiny_tokenizer(kind)
    tokenizer.backend_tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    tokenizer.chat_template = CHAT
    return tokenizer


@pytest.mark.parametrize(
    ("context", "continuation", "message"),
    [
        ("the cat", "", "empty continuation"),
        ("th", "e", "adds no token"),
        ("the", TEXT, "more than the model's input of 64"),
    ],
)
def test_bad_requests_are_refused(context, continuation, message):
    with pytest.raises(InputError, match=message):
        tokens.encode(tiny_tokenizer("bytes"), [Request(context, continuation)], 64)


def test_a_tokenizer_without_a_first_token():
    tokenizer = tiny_tokenizer("bytes")
    tokenizer.bos_token = None
    assert tokens.encode(tokenizer, [Request("", "the cat")])[0].ids[0] == tokenizer.eos_token_id
    tokenizer.eos_token = None
    with pytest.raises(InputError, match="give every request a context"):
        tokens.encode(tokenizer, [Request("", "the cat")])


@pytest.mark.parametrize("kind", ["bytes", "pieces"])
def test_what_a_tokenizer_puts_after_a_text_is_not_scored(kind):
    closing, plain = closing_tokenizer(kind), tiny_tokenizer("pieces")
    if kind == "bytes":
        plain = tiny_tokenizer("bytes")
        plain.backend_tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 1)]
        )
    assert closing("the cat")["input_ids"][-1] == 2
    for one, other in zip(
        tokens.encode(closing, REQUESTS, 64), tokens.encode(plain, REQUESTS, 64), strict=True
    ):
        assert (list(one.ids), one.scored) == (list(other.ids), other.scored)


@pytest.mark.parametrize("kind", ["bytes", "pieces"])
def test_the_newline_that_closes_a_template_is_not_the_answers(kind):
    tokenizer = closing_tokenizer(kind)
    turn = [{"role": "user", "content": "is it so?"}]
    prompt = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    assert prompt.startswith("<s>") and prompt.endswith(":\n")
    (one,) = tokens.encode(tokenizer, [Request(prompt, "yes")])
    assert list(one.ids).count(1) == 1 and 2 not in one.ids
    assert tokenizer.decode(one.ids[-one.scored :]) == "yes"
    assert tokenizer.decode(one.ids[1 : -one.scored]).endswith(":\n")
    # Spaces are the continuation's, as in lm-evaluation-harness.
    (one,) = tokens.encode(tokenizer, [Request("is it so? \n ", "yes")])
    assert tokenizer.decode(one.ids[-one.scored :]).lstrip() == "yes"
