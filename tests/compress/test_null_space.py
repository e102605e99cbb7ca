"""What null-space projection takes out: nothing linear is left to tell the sides apart by."""

import numpy as np
import pytest
import torch

from ethical_compression import models
from ethical_compression.compress import compressed, null_space
from ethical_compression.compress.pairs import batches
from ethical_compression.compress.recipe import Recipe
from ethical_compression.datasets import repair_pairs
from ethical_compression.errors import InputError

MODEL = "tiny-random-llama"
SMALL = {"directions": 3, "pair_count": 12}
pytestmark = pytest.mark.usefixtures("own_store")


def two_sides(n=800, width=12, known=2, seed=0):
    """Rows whose sides differ along `known` drawn directions, among spread of unequal size."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((width, width)))[0]
    sides = np.arange(n) % 2
    rows = rng.standard_normal((n, width)) * np.linspace(0.5, 2, width)
    for k in range(known):
        rows += np.outer((sides - 0.5) * (6 - 2 * k), basis[k])
    return rows, sides, basis[:known]


def test_another_linear_classifier_is_at_chance_after_it():
    from sklearn.svm import LinearSVC

    rows, sides, _ = two_sides()
    found, told = null_space.directions(rows, sides, 6)
    assert LinearSVC().fit(rows, sides).score(rows, sides) > 0.95 and told[0] > 0.95
    left = rows - (rows @ found.T) @ found
    # With as many parameters as this, noise alone is told apart in some 55% of the rows.
    assert LinearSVC().fit(left, sides).score(left, sides) < 0.57
    assert told[-1] < 0.57


def test_what_is_taken_out_is_where_the_sides_differ():
    rows, sides, basis = two_sides(n=4000, known=1)
    rows = np.random.default_rng(1).standard_normal(rows.shape) + np.outer(sides * 4.0, basis[0])
    found, _ = null_space.directions(rows, sides, 1)
    assert abs(found @ basis[0]) > 0.99


def test_a_projection_is_its_own_square_and_of_the_rank_that_is_left():
    rows, sides, _ = two_sides()
    found, _ = null_space.directions(rows, sides, 4)
    assert found @ found.T == pytest.approx(np.eye(4), abs=1e-12)
    whole = null_space.Projection(torch.from_numpy(found).float()).dequantize()
    assert torch.allclose(whole @ whole, whole, atol=1e-6) and torch.equal(whole, whole.T)
    assert torch.linalg.matrix_rank(whole) == 8
    # No more directions are there than the rows have.
    assert len(null_space.directions(rows, sides, 99)[0]) <= 12


def test_what_is_spared_is_not_touched():
    rows, sides, _ = two_sides()
    mean = np.linspace(1, 2, 12)
    found, _ = null_space.directions(rows + 9 * mean, sides, 99, spared=mean)
    assert found @ mean == pytest.approx(0, abs=1e-9) and len(found) <= 11
    assert found @ found.T == pytest.approx(np.eye(len(found)), abs=1e-9)


def test_a_model_predicts_from_its_projected_states_and_embeds_as_before():
    full, loaded = (models.load(MODEL) for _ in range(2))
    recipe = Recipe("null-space", **SMALL)
    from ethical_compression.compress.apply import apply

    weights, report = apply(recipe, loaded.model, tokenizer=loaded.tokenizer)
    assert len(report) == 3 and (report["told"] > 0.5).all()
    ids = torch.arange(20)[None] + 3
    with torch.no_grad():
        states = full.model.base_model(input_ids=ids).last_hidden_state
        head = full.model.get_output_embeddings().weight
        expected = (states @ weights["head"].dequantize()) @ head.T
        assert torch.allclose(loaded.model(input_ids=ids).logits, expected, atol=1e-5)
        assert not torch.allclose(full.model(input_ids=ids).logits, expected, atol=1e-3)
    before, after = (one.model.get_input_embeddings().weight for one in (full, loaded))
    assert torch.equal(before, after)
    with torch.no_grad():
        drawn = repair_pairs.load(limit=12)
        calls = batches(full.tokenizer, [one.texts for one in drawn])
        mean = torch.from_numpy(null_space.sides_of_pairs(full.model, calls)[0].mean(0))
    assert torch.allclose(weights["head"].dequantize() @ mean, mean, atol=1e-4)
    # Done twice it is as done once.
    again = loaded.model.get_output_embeddings().weight.clone()
    null_space.project(loaded.model, weights["head"])
    assert torch.allclose(loaded.model.get_output_embeddings().weight, again, atol=1e-6)


def test_states_are_those_of_words_that_differ_and_after():
    loaded = models.load(MODEL)
    pair = ("The nurse is calm today.", "The nurse is loud today.")
    calls = batches(loaded.tokenizer, [pair])
    with torch.no_grad():
        rows, sides = null_space.sides_of_pairs(loaded.model, calls)
    tokens = [loaded.tokenizer(text)["input_ids"] for text in pair]
    alike = next(i for i, (a, b) in enumerate(zip(*tokens, strict=False)) if a != b)
    assert len(rows) == 2 * (min(map(len, tokens)) - alike) and sides.sum() == len(rows) / 2


def test_it_is_kept_and_written_like_any_other(tmp_path):
    recipe = Recipe("null-space", **SMALL)
    assert recipe.label == "Null-space projection, 3 directions" and not recipe.reads_text
    first = compressed.load(recipe, MODEL).model.get_output_embeddings().weight
    again = compressed.load(recipe, MODEL).model.get_output_embeddings().weight
    assert torch.equal(first, again)
    compressed.compress(recipe, MODEL, tmp_path / "folder")
    written = models.load(str(tmp_path / "folder")).model.get_output_embeddings().weight
    assert torch.equal(first, written)


def test_what_cannot_be_told_apart_is_refused():
    with pytest.raises(InputError, match="both sides"):
        null_space.directions(np.ones((4, 2)), np.zeros(4), 1)
    with pytest.raises(InputError, match="finite row"):
        null_space.directions(np.full((4, 2), np.nan), np.arange(4) % 2, 1)
    with pytest.raises(InputError, match="tokenizer"):
        from ethical_compression.compress.apply import apply

        apply(Recipe("null-space"), models.load(MODEL).model)
