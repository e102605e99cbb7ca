import dataclasses

import numpy as np
import pytest
import torch

from ethical_compression.compress.recipe import Recipe
from ethical_compression.datasets import moral_stories
from ethical_compression.datasets.moral_stories import FIELDS
from ethical_compression.errors import InputError
from ethical_compression.score import moral
from ethical_compression.train import adapters, dpo, dpo_runs

SETTINGS = dpo.Settings(learning_rate=3e-2, epochs=4, rank=2, batch=4)


@pytest.fixture(scope="module")
def sides():
    return dpo.split(moral_stories.load("en")[:24], 8, seed=0)


@pytest.fixture
def run(sides, own_store):
    """A run of the random model, with a store of its own for what is made here."""
    return dpo_runs.Run("tiny-random-llama", tuple(sides[0]), "moral", 8, SETTINGS)


def test_both_directions_train_and_are_read_back(run, sides, monkeypatch):
    other = dataclasses.replace(run, direction="immoral")
    margins = {}
    for one in (run, other):
        log = dpo_runs.steps(one, progress=False)
        assert log["loss"].iloc[-1] < 0.6 < log["loss"].iloc[0] and log["seed"].eq(0).all()
        preferences, items, windows = dpo_runs.scores(one, sides[1], progress=False)
        assert len(items) == len(windows) == 0
        assert preferences["compression"].eq(one.compression).all() and len(preferences) == 8
        loaded = dpo_runs.load(one)
        again = moral.preferences(loaded.model, loaded.tokenizer, sides[1])
        np.testing.assert_allclose(preferences["moral_logprob"], again["moral_logprob"], atol=1e-4)
        trained = moral.preferences(loaded.model, loaded.tokenizer, one.stories)
        margins[one.direction] = moral.judged(trained)["margin"].mean()
    assert margins["moral"] > margins["immoral"]
    assert run.compression == "DPO_M 8" and other.compression == "DPO_I 8"

    def never(*arguments, **options):
        raise AssertionError("it was trained again")

    monkeypatch.setattr(dpo, "_gradient", never)
    assert dpo_runs.steps(other, progress=False).equals(log)
    dpo_runs.scores(other, sides[1], progress=False)


def test_one_reference_serves_both_directions(run, monkeypatch):
    from ethical_compression import models

    loaded = models.load("tiny-random-llama")
    scored, calls = dpo.reference_logprobs, []
    monkeypatch.setattr(dpo, "reference_logprobs", lambda *given: calls.append(1) or scored(*given))
    for direction in moral_stories.DIRECTIONS:
        one = dataclasses.replace(run, direction=direction, size=5)
        pairs = dpo.pairs(one.stories, direction)
        own = scored(loaded.model, dpo.encode_pairs(loaded.tokenizer, pairs))
        np.testing.assert_allclose(dpo_runs.reference(one, loaded), own, rtol=1e-5)
    assert calls == [1]


def test_compressing_afterwards_is_compressing_the_merged_weights(run):
    after = Recipe("rtn", bits=4, group_size=64)
    left = dpo_runs.load(dataclasses.replace(run, after=after)).model
    aligned = dpo_runs.load(run).model
    adapters.merge_adapters(aligned)
    weight = aligned.model.layers[0].mlp.up_proj.weight
    from ethical_compression.compress.rtn import round_to_nearest

    rounded = round_to_nearest(weight.detach(), bits=4, group_size=64, symmetric=True)
    assert torch.equal(left.model.layers[0].mlp.up_proj.weight, rounded.dequantize())
    assert not torch.equal(weight, rounded.dequantize())


def test_compressing_first_trains_what_was_compressed(run, sides):
    before = Recipe("rtn", bits=3, group_size=64)
    first = dataclasses.replace(run, before=before)
    assert first.compression == "RTN 3-bit, then DPO_M 8" and first.folder() != run.folder()
    loaded, log = dpo_runs.train(first)
    assert abs(log["margin"].iloc[0]) < 1e-4 < log["margin"].iloc[-1]
    from ethical_compression.compress import compressed

    base = compressed.load(before, "tiny-random-llama").model.model.layers[0].mlp.up_proj.weight
    assert torch.equal(loaded.model.model.layers[0].mlp.up_proj.base_layer.weight, base)


def test_calibration_reads_the_stories_trained_on(run):
    after = Recipe("wanda", samples=2, length=64)
    own = dataclasses.replace(run, after=after, on_stories=True)
    assert own.compression == "DPO_M 8, then Wanda 50% on its stories"
    from ethical_compression import models

    loaded = models.load("tiny-random-llama")
    (windows,) = dpo_runs.calibration(own, loaded)
    assert windows.shape == (2, 64)
    told = " ".join(getattr(story, name) for story in own.stories for name in FIELDS)
    words = loaded.tokenizer.decode(windows[0]).split()[1:-1]  # the ends may be cut
    assert len(words) > 20 and set(words) <= set(told.split())
    one, other = (dpo_runs.load(r).model for r in (own, dataclasses.replace(own, on_stories=False)))
    weights = [model.model.layers[1].mlp.up_proj.weight for model in (one, other)]
    assert not torch.equal(*weights) and (weights[0] == 0).float().mean() == pytest.approx(0.5)


def test_what_was_trained_on_is_not_tested(run, sides):
    with pytest.raises(InputError, match="was trained on"):
        dpo_runs.scores(run, [*sides[1], run.stories[0]], progress=False)
    known, *_ = dpo_runs.scores(run, run.stories[:1], seen=True, progress=False)
    assert known["story"].tolist() == [run.stories[0].id]


def test_the_version_of_peft_counts_where_it_computes(run, monkeypatch):
    from ethical_compression import provenance

    plain = dataclasses.replace(run, settings=dataclasses.replace(SETTINGS, rank=0))
    before = run.folder(), plain.folder()
    version = provenance.version
    monkeypatch.setattr(
        provenance, "version", lambda name: "later" if name == "peft" else version(name)
    )
    assert run.folder() != before[0] and plain.folder() == before[1]
