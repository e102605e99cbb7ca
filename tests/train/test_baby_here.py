"""What a page raises: the mixtures where the books are, news where they are not."""

import pytest

from ethical_compression.datasets import childrens_books
from ethical_compression.errors import InputError
from ethical_compression.train import baby_here
from ethical_compression.train.baby import Training

TINY = Training("tiny", steps=2, tokens=16, lengths=(8,))


def test_mixtures_where_the_books_are(monkeypatch):
    monkeypatch.setattr(childrens_books, "load", lambda *_said, **_how: ["A text."])
    found, why = baby_here.runs(["children", "both"], 100, TINY, vocabulary=300)
    assert [one.mixture for one in found] == ["children", "both"] and not why
    assert found[0].vocabulary == 300 and found[0].words == 100
    with pytest.raises(InputError, match="did you mean 'children'"):
        baby_here.runs(["childern"], 100, TINY, vocabulary=300)


def test_news_where_they_are_not(monkeypatch):
    def load(*_said, **_how):
        raise InputError("There is no folder.")

    monkeypatch.setattr(childrens_books, "load", load)
    (found,), why = baby_here.runs(["children"], 400, TINY, vocabulary=280, development=50)
    assert why == "There is no folder." and found.label == "news, seed 0"
    texts = found.texts()
    assert len(texts.tokenizer) == 280
    said = texts.tokenizer.decode(texts.documents[0][1:])
    seen = [texts.tokenizer.decode(one[1:]) for one in texts.development]
    assert said not in seen and sum(len(one.split()) for one in seen) == 50
