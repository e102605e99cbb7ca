"""What a post adds to a measure of a classifier: its mean is the measure, its error is known."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from ethical_compression.errors import InputError
from ethical_compression.metrics import bias_auc, classifier_harms
from ethical_compression.metrics.classification import macro_f1
from ethical_compression.statistics import auc
from ethical_compression.statistics.verdicts import clustered_mean

RNG = np.random.default_rng(3)
N = 400
TOXIC = RNG.random(N) < 0.5
FULL = np.clip(0.5 + 0.2 * (TOXIC - 0.5) + RNG.normal(0, 0.2, N), 0, 1).round(2)
OTHER = np.clip(FULL + RNG.normal(0, 0.1, N), 0, 1).round(2)
POSTS = [
    SimpleNamespace(id=f"p{k}", communities=("one",) if k % 2 else ("two",) if k % 3 else ())
    for k in range(N)
]
COMMUNITIES = ("one", "two", "nobody")


def table(scores) -> pd.DataFrame:
    return pd.DataFrame({"item": [one.id for one in POSTS], "toxic": TOXIC, "score": scores})


def test_what_posts_add_to_f1_has_f1_for_its_mean():
    found = classifier_harms.f1_lost(table(FULL))["value"]
    assert 1 - found.mean() == pytest.approx(macro_f1(FULL >= 0.5, TOXIC, 2), abs=1e-12)
    nothing = classifier_harms.f1_lost(table(np.zeros(N)))["value"]
    assert 1 - nothing.mean() == pytest.approx(macro_f1(np.zeros(N), TOXIC, 2), abs=1e-12)


def test_the_error_of_f1_is_that_of_posts_drawn_again():
    found = classifier_harms.f1_lost(table(FULL))["value"]
    draws = [RNG.integers(0, N, N) for _ in range(2000)]
    drawn = [macro_f1((FULL >= 0.5)[some], TOXIC[some], 2) for some in draws]
    assert clustered_mean(found)[1] == pytest.approx(np.std(drawn), rel=0.08)


@pytest.mark.parametrize("metric", ["subgroup", "bpsn", "bnsp"])
def test_what_posts_add_to_an_area_has_the_bias_auc_for_its_mean(metric):
    found = classifier_harms.auc_lost(table(FULL), POSTS, COMMUNITIES, metric)
    members = bias_auc.membership(POSTS, COMMUNITIES)
    expected = bias_auc.bias_aucs(FULL, TOXIC, members).set_index(["community", "metric"])
    assert set(found["group"]) == {"one", "two"}  # nobody has too few posts to be told
    for community, some in found.groupby("group"):
        assert 1 - some["value"].mean() == pytest.approx(expected.loc[(community, metric), "auc"])
    assert not found["item"].duplicated().any()


def test_the_change_of_an_area_has_delongs_error():
    one, other = (auc.shares(scores, TOXIC) for scores in (FULL, OTHER))
    test = auc.auc_difference(FULL, OTHER, TOXIC)
    mean, se, _ = clustered_mean(other - one)
    assert mean == pytest.approx(test.difference, abs=1e-12)
    assert se == pytest.approx(test.difference / test.t, rel=0.01)
    with pytest.raises(InputError, match="at least two"):
        auc.shares(FULL, np.arange(N) == 0)


def test_a_wrong_decision_is_worth_one_and_is_told_in_words():
    found = classifier_harms.wrong(table(FULL))
    assert found["value"].mean() == ((FULL >= 0.5) != TOXIC).mean()
    assert set(found["answer"]) == {"toxic", "not toxic"}
