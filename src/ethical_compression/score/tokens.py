"""Requests to score a continuation after its context, and their tokens.

Tokens follow lm-evaluation-harness (Gao et al.), so that numbers compare: context and continuation
are tokenised *together*, spaces at the end of the context belong to the continuation, an empty
context stands for the model's first token, and what does not fit is cut from the left (counted,
never silent). Where a newline ends the context, as in chat templates, and is a token of its own, it
stays with the context; lm-evaluation-harness counts it as the continuation's.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ethical_compression.errors import InputError

SLAB = 1000  # texts tokenised at a time: the tokenizer's own records are many times their ids


class Request(NamedTuple):
    """Score `continuation` after `context` (either may hold leading or trailing spaces)."""

    context: str
    continuation: str


@dataclass
class Encoded:
    """One request in tokens: `ids` whole, of which the last `scored` are the continuation."""

    ids: Sequence[int]
    scored: int
    truncated: bool = False


def first_token(tokenizer) -> int:
    """The token an empty context stands for: beginning of sequence, else end of sequence."""
    for name in ("bos_token_id", "eos_token_id"):
        if getattr(tokenizer, name, None) is not None:
            return getattr(tokenizer, name)
    raise InputError(
        "This tokenizer has neither a beginning- nor an end-of-sequence token, so an empty context "
        "cannot be scored: give every request a context."
    )


def tokenise(tokenizer, texts: Sequence[str], *, special: bool = True) -> list[array]:
    """Tokens of each text, with those that the tokenizer puts before a text by itself, unless the
    text brings its own first token, and without those that it puts after one.

    special: False leaves out both.
    """
    begin = getattr(tokenizer, "bos_token", None)
    after = _after(tokenizer) if special else ()
    found: list[array | None] = [None] * len(texts)
    for wanted in (True, False):
        some = [
            i
            for i, text in enumerate(texts)
            if wanted == (special and not (begin and text.startswith(begin)))
        ]
        for start in range(0, len(some), SLAB):
            slab = some[start : start + SLAB]
            ids = tokenizer(
                [texts[i] for i in slab],
                add_special_tokens=wanted,
                return_attention_mask=False,
                return_token_type_ids=False,
            )["input_ids"]
            for i, one in zip(slab, ids, strict=True):
                kept = len(one) - len(after) if wanted else len(one)
                found[i] = array("i", one[:kept])
    return found


def _after(tokenizer) -> tuple[int, ...]:
    """Tokens that the tokenizer puts after every text (`</s>` with `add_eos_token`)."""
    bare, full = (tokenizer("a", add_special_tokens=one)["input_ids"] for one in (False, True))
    ends = [i + len(bare) for i in range(len(full)) if full[i : i + len(bare)] == bare]
    return tuple(full[ends[0] :]) if bare and ends else ()


def encode(tokenizer, requests: Sequence[Request], max_length: int | None = None) -> list[Encoded]:
    """Tokens of each request, context and continuation tokenised together.

    max_length: tokens the model can be fed; longer requests lose tokens on the left and are marked.
    Raises InputError for a continuation that is empty, that adds no token to its context, or that
    alone is longer than the model's input.
    """
    for number, (_, continuation) in enumerate(requests):
        if not continuation:
            raise InputError(
                f"Request {number} has an empty continuation: there is nothing to score."
            )

    # What follows an empty context is tokenised bare, and its first token put before it. Options of
    # one item repeat its context: each distinct text is tokenised once.
    stripped = [context.rstrip() for context, _ in requests]
    known = dict.fromkeys(one for one in stripped if one)
    known |= dict.fromkeys(one for one, _ in requests if one.strip() and one[-1] in "\r\n")
    contexts = dict(zip(known, tokenise(tokenizer, list(known)), strict=True))
    wholes = [""] * len(requests)
    for special in (True, False):
        members = [i for i, context in enumerate(stripped) if special == bool(context)]
        texts = ["".join(requests[i]) for i in members]
        for i, ids in zip(members, tokenise(tokenizer, texts, special=special), strict=True):
            wholes[i] = ids

    encoded = []
    for i, (context, continuation) in enumerate(requests):
        ids, wholes[i] = wholes[i], None
        if stripped[i]:
            before = contexts.get(context, ()) if context[-1] in "\r\n" else ()
            if not before or ids[: len(before)] != before:
                before = contexts[stripped[i]]
            scored = len(ids) - len(before)
        else:
            lead = first_token(tokenizer)
            # A continuation that brings the first token itself is not given a second one.
            if len(ids) < 2 or ids[0] != lead:
                ids = array("i", [lead]) + ids
            scored = len(ids) - 1
        if scored < 1:
            raise InputError(
                f"The continuation {continuation!r} of request {i} adds no token to its context: "
                "move a word from the context into the continuation."
            )
        cut = max_length is not None and len(ids) > max_length + 1
        if cut and scored > max_length:
            raise InputError(
                f"The continuation of request {i} has {scored} tokens, more than the model's input "
                f"of {max_length}: shorten it, or score it as text by strided windows."
            )
        encoded.append(Encoded(ids[-(max_length + 1) :] if cut else ids, scored, cut))
    return encoded


def first_slots(encoded: Sequence[Encoded]) -> np.ndarray:
    """Where each request's scored tokens begin in the flat list of all of them, and its length."""
    return np.concatenate([[0], np.cumsum([one.scored for one in encoded], dtype=np.int64)])
