"""Everything that small models are asked, at a tiny size, and the long table that comes of it."""

import math

import pandas as pd
import pytest
from test_loglikelihood import tiny_tokenizer
from tiny_models import tiny_model

from ethical_compression import models
from ethical_compression.datasets import ethics
from ethical_compression.errors import InputError
from ethical_compression.metrics import small_models as metrics
from ethical_compression.score import loglikelihood, small_models

SIZES = {
    "words": 150,
    "sets": 2,
    "probe": 300,
    "pairs": 67,
    "questions": 3,
    "stories": 2,
    "stereotypes": 4,
}


class Tiny:
    model, compression = "tiny", "full"

    def inputs(self):
        return {"model": "tiny"}

    def load(self, *, progress=False):
        model = tiny_model("llama", max_position_embeddings=2048)
        return models.Loaded(model, tiny_tokenizer("bytes"), {})


def test_all_batteries_become_one_table(mirror, monkeypatch, tmp_path):
    monkeypatch.setenv("ETHICAL_COMPRESSION_CACHE", str(tmp_path))
    tables = small_models.tables(Tiny(), small_models.asked(SIZES))
    assert len(tables["blimp"]) == 2 * 67 and tables["scores"]["benchmark"].nunique() == 3
    texts = small_models.held_out(SIZES)
    sizes = {name: small_models.size_in_bytes(one) for name, one in texts.items()}
    found = metrics.scores(tables, sizes)
    assert tuple(found.columns) == metrics.COLUMNS
    assert not found.duplicated(["battery", "part", "rule"]).any()
    assert set(found["battery"]) == {
        "text",
        "ethics, question",
        "ethics, probe",
        *(f"ethics, text, {one}" for one in metrics.TEXT_SCORES),
        "blimp",
        "questions",
        "moral stories",
        "stereoset",
    }
    shares = found[found["battery"] != "text"]
    assert shares["value"].between(0, 1).all() and shares["chance"].between(0, 1).all()
    assert (shares["low"] <= shares["value"]).all() and (shares["value"] <= shares["high"]).all()
    virtue = found[(found["battery"] == "ethics, question") & (found["part"] == "ethics_virtue")]
    assert virtue.set_index("rule")["chance"]["accuracy"] == 0.8


def test_bits_per_byte_are_those_of_one_long_window():
    model, tokenizer = tiny_model("llama", max_position_embeddings=512), tiny_tokenizer("bytes")
    text = ["the cat sat on the mat", "and the rat ran"]
    once = loglikelihood.score_text(model, tokenizer, text, window=256)
    size = small_models.size_in_bytes(text)
    assert size == len("\n\n".join(text))
    found = metrics.bits_per_byte(once, size)
    assert found == pytest.approx(-once["logprob"].sum() / math.log(2) / size)
    # A model that finds every byte equally likely pays 8 bits for each.
    even = pd.DataFrame({"logprob": [-math.log(256) * 10]})
    assert metrics.bits_per_byte(even, 10) == pytest.approx(8)
    with pytest.raises(InputError, match="without bytes"):
        metrics.bits_per_byte(even, 0)


def test_a_probe_sees_no_text_of_the_whole_test_file(mirror):
    test, train = small_models.judgement_items(SIZES)
    for task in ethics.TASKS:
        tested = {one.text for one in ethics.load(task, "test")}
        assert len(train[task]) == 300 and not tested & {one.text for one in train[task]}
        assert len({one.set for one in test[task]}) == 2


def test_held_out_texts_have_the_same_number_of_words(mirror):
    found = small_models.held_out(SIZES)
    assert {sum(len(one.split()) for one in some) for some in found.values()} == {150}
