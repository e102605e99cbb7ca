"""What is raised is kept, read back and gone on with; its texts are the mixture's."""

from dataclasses import replace

import pytest
import torch

from ethical_compression import models
from ethical_compression.datasets import childrens_books
from ethical_compression.errors import InputError
from ethical_compression.train import baby, baby_runs
from ethical_compression.train.baby import Training
from ethical_compression.train.baby_runs import Raising

RUN = Raising(
    "children",
    60,
    Training("tiny", steps=4, tokens=16, lengths=(4, 8), dropout=0.0),
    vocabulary=262,
    development=30,
)


@pytest.fixture(autouse=True)
def texts(monkeypatch, tmp_path):
    """Small mixtures, and a store of its own."""
    monkeypatch.setenv("ETHICAL_COMPRESSION_CACHE", str(tmp_path))
    calls = []

    def mixture(name, count, *, split="train", data_dir=None):
        calls.append((name, count, split))
        word = {"children": "cat", "adults": "tax", "both": "catax"}[name]
        return [f"{word} {word}s " * (count // 4)] * 2

    monkeypatch.setattr(childrens_books, "mixture", mixture)
    return calls


def test_the_tokenizer_is_one_for_all_and_texts_are_the_mixtures(texts):
    children, adults = RUN.texts(), replace(RUN, mixture="adults").texts()
    assert children.tokenizer.get_vocab() == adults.tokenizer.get_vocab()
    assert texts[:3] == [
        ("both", 60, "train"),
        ("children", 60, "train"),
        ("children", 30, "development"),
    ]
    assert "cat cats" in children.tokenizer.decode(children.documents[0])


def test_a_model_is_raised_once_and_loaded_by_name(texts, monkeypatch):
    folder, curve = baby_runs.raised(RUN)
    assert baby_runs.is_raised(RUN) and len(curve) == 4
    loaded = models.load(str(folder))
    assert loaded.model.config.model_type == "llama"
    assert loaded.tokenizer.bos_token == "<|endoftext|>"
    expected, _ = baby.train(*RUN.texts(), RUN.training)
    for one, other in zip(expected.parameters(), loaded.model.parameters(), strict=True):
        assert torch.equal(one, other)
    monkeypatch.setattr(baby, "train", lambda *_a, **_o: pytest.fail("raised again"))
    assert baby_runs.raised(RUN)[0] == folder


def test_seeds_mixtures_and_settings_have_places_of_their_own():
    others = [
        replace(RUN, mixture="adults"),
        replace(RUN, words=61),
        replace(RUN, training=replace(RUN.training, seed=1)),
        replace(RUN, training=replace(RUN.training, dtype="bfloat16")),
    ]
    assert len({one.key() for one in (RUN, *others)}) == 5
    assert {one.label for one in (RUN, *others)} >= {"children, seed 0", "children, seed 1"}


def test_an_untrained_model_is_the_first_step_of_the_same_run():
    folder = baby_runs.untrained(RUN)
    found = models.load(str(folder)).model
    begun = baby.made(RUN.training, RUN.texts().tokenizer)
    for one, other in zip(begun.parameters(), found.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_model_is_given_away_in_half_the_size_and_read_by_transformers_alone(tmp_path):
    import transformers

    folder, _ = baby_runs.raised(RUN)
    place = tmp_path / "bebe"
    baby_runs.exported(folder, place, "---\nlicense: apache-2.0\n---\n\nA card.\n")
    whole = models.load(str(folder)).model
    plain = transformers.AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32)
    for one, other in zip(whole.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one.half().float(), other)
    assert models.describe(str(place))["licence"] == "apache-2.0"
    assert len(transformers.AutoTokenizer.from_pretrained(place)) == RUN.vocabulary
    with pytest.raises(InputError, match=r"MB, more than 0\.001: choose a smaller shape"):
        baby_runs.exported(folder, tmp_path / "other", "", megabytes=0.001)
    assert not (tmp_path / "other").exists()
