"""Posts that can be told apart, and a store of its own for what is trained on them."""

import pytest

from ethical_compression.datasets.hate_speech import Post
from ethical_compression.train import classifier
from ethical_compression.train.classifier import Data


def post(i: int) -> Post:
    words = ("kind", "words", "for", "you") if i % 2 else ("vile", "words", "for", "them", "all")
    mask = None if i % 2 else (1, 0, 0, 1, 0)
    return Post(str(i), (*words, f"n{i % 5}")[: len(words)], (i + 1) % 2, ("some",), mask)


@pytest.fixture(scope="module")
def data():
    posts = tuple(map(post, range(24)))
    return Data(posts[:16], posts[16:], ("fine", "toxic"), ("toxic",))


@pytest.fixture
def own_store(own_store):
    classifier.trained.cache_clear()
    return own_store
