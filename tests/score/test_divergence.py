"""Distances between models, against scipy's."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial import distance
from scipy.special import softmax
from scipy.stats import binom
from test_loglikelihood import REQUESTS, tiny_tokenizer
from tiny_models import tiny_model

from ethical_compression.compress.recipe import Recipe
from ethical_compression.datasets import multiple_choice
from ethical_compression.errors import InputError
from ethical_compression.score import divergence, runs, tokens
from ethical_compression.score.subjects import Compressed
from ethical_compression.statistics import change_slope


def scores(logprobs):
    """A scores table of items × options."""
    return pd.DataFrame(
        [
            {"benchmark": "b", "item": f"i{9 - i}", "option": o, "gold": 0, "logprob": value}
            for i, row in enumerate(logprobs)
            for o, value in enumerate(row)
        ]
    )


tables = arrays(float, (3, 4), elements=st.floats(-200, 0))


@settings(deadline=None, max_examples=30)
@given(tables, tables)
def test_option_distances(first, second):
    table = divergence.option_distances(scores(first), scores(second))
    expected = distance.jensenshannon(softmax(first, 1), softmax(second, 1), base=2, axis=1)
    np.testing.assert_allclose(table["js_distance"], np.nan_to_num(expected), atol=1e-6)
    assert table["item"].tolist() == ["i9", "i8", "i7"]
    swapped = divergence.option_distances(scores(second), scores(first))
    np.testing.assert_allclose(swapped["js_distance"], table["js_distance"], atol=1e-9)


@settings(deadline=None, max_examples=30)
@given(arrays(float, (3, 3, 4), elements=st.floats(-200, 0)))
def test_option_distances_are_a_metric(logprobs):
    """Within 0 and 1, nothing from itself, and no way round is shorter."""

    def between(first, second):
        return divergence.option_distances(scores(first), scores(second))["js_distance"]

    a, b, c = logprobs
    direct = between(a, c)
    assert direct.between(0, 1).all()
    assert (between(a, a) < 1e-7).all()  # the root of what rounding leaves
    assert (direct <= between(a, b) + between(b, c) + 1e-6).all()


@settings(deadline=None, max_examples=30)
@given(tables, tables)
def test_the_parts_of_a_change_add_up_and_one_of_them_has_a_direction(first, second):
    table = divergence.directed_change(scores(first), scores(second))
    p, q = softmax(first, 1).max(1), softmax(second, 1).max(1)
    np.testing.assert_allclose(table["before"], p, atol=1e-9)
    np.testing.assert_allclose(table["after"], q, atol=1e-9)
    np.testing.assert_allclose(table["directed"] + table["directionless"], q - p, atol=1e-9)
    # The change the other way has the same directionless part, and the opposite directed one.
    other_way = divergence.directed_change(scores(first), scores(2 * first - second))
    np.testing.assert_allclose(other_way["directionless"], table["directionless"], atol=1e-9)
    np.testing.assert_allclose(other_way["directed"], -table["directed"], atol=1e-9)


def test_a_change_without_direction_still_moves_confidence():
    """Even odds can only become less even; noise has a slope, but no directed one."""
    first = scores([[-1.0, -1.0]])
    (row,) = divergence.directed_change(first, scores([[-1.0, -2.0]])).itertuples()
    assert row.directed == pytest.approx(0)
    assert row.directionless == pytest.approx(1 / (1 + np.exp(-1)) - 0.5)

    generator = np.random.default_rng(0)
    excluded = np.zeros(2)
    for _ in range(100):
        logprobs = generator.normal(scale=2, size=(150, 2))
        noisy = logprobs + generator.normal(scale=1, size=logprobs.shape)
        table = divergence.directed_change(scores(logprobs), scores(noisy))
        whole, directed = (
            change_slope(table["before"], table["before"] + change)
            for change in (table["after"] - table["before"], table["directed"])
        )
        excluded += [not one.ci_low <= 0 <= one.ci_high for one in (whole, directed)]
    assert excluded[0] > 95
    assert excluded[1] <= binom.ppf(0.999, 100, 0.05)


def test_option_distances_by_length():
    first, second = (scores(np.array([[-4.0, -9.0]]) * scale) for scale in (1, 2))
    by_token = [table.assign(tokens=[2, 3]) for table in (first, second)]
    (value,) = divergence.option_distances(*by_token, "token")["js_distance"]
    assert value == pytest.approx(
        distance.jensenshannon(softmax([-2.0, -3.0]), softmax([-4.0, -6.0]), base=2)
    )


def test_option_distances_refuse_other_items():
    first = scores(np.zeros((2, 3)))
    with pytest.raises(InputError, match="score the same items"):
        divergence.option_distances(first, first.assign(item="other").iloc[:3])
    stacked = pd.concat([first.assign(model="a"), first.assign(model="b")])
    with pytest.raises(InputError, match="one model"):
        divergence.option_distances(stacked, first)


@pytest.mark.parametrize(("p", "q"), [("llama", "llama"), ("llama", "bloom"), ("gemma2", "opt")])
def test_vocabulary_distances(p, q):
    """Two models of different families too: over all tokens, at each scored one."""
    first, second = tiny_model(p), tiny_model(q, seed=1)
    tokenizer = tiny_tokenizer("bytes")
    table = divergence.vocabulary_distances(
        first, second, tokenizer, REQUESTS, max_length=63, token_budget=90
    )
    encoded = tokens.encode(tokenizer, REQUESTS, 63)
    assert len(table) == sum(one.scored for one in encoded)
    for number, one in enumerate(encoded):
        rows = table[table["request"] == number]
        assert rows["token_id"].tolist() == list(one.ids[-one.scored :])
        assert rows["position"].tolist() == list(range(one.scored))
        with torch.inference_mode():
            logits = [
                m.double()(input_ids=torch.tensor([list(one.ids)[:-1]])).logits[0, -one.scored :]
                for m in (first, second)
            ]
        p_all, q_all = (softmax(values.numpy(), 1) for values in logits)
        np.testing.assert_allclose(
            rows["js_distance"], distance.jensenshannon(p_all, q_all, base=2, axis=1), atol=1e-4
        )
        np.testing.assert_allclose(
            rows["kl_pq"], (p_all * np.log(p_all / q_all)).sum(1), atol=1e-4, rtol=1e-4
        )
        np.testing.assert_allclose(
            rows["kl_qp"], (q_all * np.log(q_all / p_all)).sum(1), atol=1e-4, rtol=1e-4
        )


def test_a_model_is_no_distance_from_itself():
    model, tokenizer = tiny_model("gpt2"), tiny_tokenizer("bytes")
    table = divergence.vocabulary_distances(model, model, tokenizer, REQUESTS)
    assert (table[["js_distance", "kl_pq", "kl_qp"]] == 0).all(axis=None)


def test_item_distances_are_those_of_each_options_tokens():
    items = {name: multiple_choice.load(name, limit=3) for name in ("piqa", "openbookqa")}
    recipe = Recipe("rtn", bits=3, group_size=16)
    full, rounded = (Compressed("tiny-random-llama", one) for one in (Recipe(), recipe))
    asked = divergence.batteries(items)
    table = runs.grid([full, rounded], asked, full=full, progress=False)["distances"]
    assert set(table["compression"]) == {"RTN 3-bit"}
    full, rounded = full.load(), rounded.load()
    item = items["openbookqa"][1]
    expected = divergence.vocabulary_distances(
        full.model, rounded.model, full.tokenizer, [tokens.Request(item.context, item.options[2])]
    )
    found = table[(table["benchmark"] == "openbookqa") & (table["item"] == item.id)]
    assert set(found["option"]) == set(range(len(item.options)))
    found = found[found["option"] == 2]
    assert found["token_id"].tolist() == expected["token_id"].tolist()
    np.testing.assert_allclose(found["js_distance"], expected["js_distance"], atol=1e-4)
    assert (found["js_distance"] > 0).all()


def test_vocabulary_distances_refuse_other_vocabularies():
    model, tokenizer = tiny_model("gpt2"), tiny_tokenizer("bytes")
    other = tiny_model("gpt2")
    other.resize_token_embeddings(201, mean_resizing=False)
    with pytest.raises(InputError, match="different sizes"):
        divergence.vocabulary_distances(model, other, tokenizer, REQUESTS)


def test_slopes_are_those_of_each_benchmark():
    draw = np.random.default_rng(0)
    first = scores(draw.normal(-10, 2, (30, 3)))
    second = first.assign(logprob=first["logprob"] + draw.normal(0, 0.5, len(first)))
    change = divergence.directed_change(first, second).set_index(["benchmark", "item"])
    again = change["before"] + draw.normal(0, 0.02, len(change))
    (row,) = divergence.slopes(first, second, again.sample(frac=1, random_state=0), ["b"]).to_dict(
        "records"
    )
    assert row["n"] == 30
    assert row["naive"] == change_slope(change["before"], change["after"])
    assert row["second"] == change_slope(change["before"], change["after"], again)
    assert row["directed"].slope == pytest.approx(
        change_slope(change["before"], change["before"] + change["directed"], again).slope
    )
