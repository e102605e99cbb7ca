"""A tiny model that reads questions of a few hundred bytes, and its tokenizer; files whose models
are others have fixtures of their own."""

import pytest
from test_loglikelihood import tiny_tokenizer
from tiny_models import LONG, tiny_model


@pytest.fixture(scope="session")
def tokenizer():
    return tiny_tokenizer("bytes")


@pytest.fixture(scope="session")
def model():
    """Do not change its weights."""
    return tiny_model("llama", **LONG)
