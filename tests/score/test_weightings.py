"""Compressions over seeds against the full model: what is paired with what."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial import distance

from ethical_compression.compress.recipe import Recipe
from ethical_compression.datasets import multiple_choice
from ethical_compression.metrics.confidence import per_item
from ethical_compression.score import loglikelihood, runs, weightings
from ethical_compression.score.subjects import Compressed

MODEL = "tiny-random-llama"
LEAD = "From a quiz.\n\n"


def test_distances_from_full():
    questions = {name: multiple_choice.load(name, limit=4) for name in ("piqa", "openbookqa")}
    recipes = [
        Recipe("gptq", bits=3, group_size=64, samples=2, length=48, weighting=weighting)
        for weighting in ("none", "entropy")
    ]
    table = weightings.distances_from_full(
        MODEL, recipes, questions, LEAD, ["word " * 300], window=48, max_windows=3, progress=False
    )
    assert table["compression"].unique().tolist() == [recipe.label for recipe in recipes]
    text = weightings.text_nll(table)
    assert text.shape == (3, 2) and text.columns.tolist() == [one.label for one in recipes]
    found = table[
        (table["compression"] == recipes[1].label) & (table["benchmark"] != weightings.TEXT)
    ]
    assert len(found) == 8

    item = questions["openbookqa"][2]
    row = found[(found["benchmark"] == "openbookqa") & (found["item"] == item.id)].iloc[0]

    def answer(recipe, items):
        (battery,) = loglikelihood.batteries({"openbookqa": items})
        scores = runs.measure(Compressed(MODEL, recipe), battery, progress=False)
        return per_item(scores).set_index("item").loc[item.id]

    full, weighted = (answer(one, questions["openbookqa"]) for one in (Recipe(), recipes[1]))
    other = weightings.reworded(questions, LEAD)["openbookqa"]
    assert other[2].context == LEAD + item.context and other[2].options == item.options
    pair = full["probabilities"], weighted["probabilities"]
    assert row["js_distance"] == pytest.approx(distance.jensenshannon(*pair, base=2), abs=1e-7)
    assert row["change"] == pytest.approx(weighted["p_true"] - full["p_true"])
    assert row["again"] == pytest.approx(answer(Recipe(), other)["confidence"])


def test_thirds_are_of_each_benchmark_and_the_same_for_all_models():
    sure = np.random.default_rng(0).permutation(9) / 10
    rows = [
        (model, benchmark, str(i), again + (benchmark == "b"))
        for model in ("plain", "weighted")
        for benchmark in ("a", "b", weightings.TEXT)
        for i, again in enumerate(sure)
    ]
    table = pd.DataFrame(rows, columns=["compression", "benchmark", "item", "again"])
    found = weightings.by_third(table)
    assert found["group"].unique().tolist() == list(weightings.THIRDS)
    assert (found.groupby(["group", "benchmark", "compression"])["item"].size() == 3).all()
    assert set(found["benchmark"]) == {"a", "b"}
    least = found[(found["group"] == weightings.THIRDS[0]) & (found["benchmark"] == "b")]
    assert set(least["item"]) == {str(i) for i in np.argsort(sure)[:3]}


def test_the_first_compression_is_the_one_compared_with():
    draw = np.random.default_rng(1)
    rows = [
        {"compression": one, "seed": seed, "benchmark": benchmark, "item": str(item)}
        | {"js_distance": draw.uniform(), "again": item / 12, "nll": 3 + draw.normal(0, 0.01)}
        for one in ("plain", "weighted")
        for seed in (0, 1)
        for benchmark in ("a", weightings.TEXT)
        for item in range(12)
    ]
    table = pd.DataFrame(rows)
    found, same, labels = weightings.compare(table, 0.5)
    assert labels == ("plain", "weighted") and same.equivalent
    asked = table[table["benchmark"] == "a"]
    least = asked[asked["item"].astype(int) < 4].groupby("compression")["js_distance"].mean()
    assert found.loc[0, "mean_first"] == pytest.approx(least["plain"])
    assert found.loc[0, "mean_second"] == pytest.approx(least["weighted"])
