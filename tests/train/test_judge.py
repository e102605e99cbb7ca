"""The judge that is trained here: what it learns, how sure it is, and on what data."""

import numpy as np
import pytest
from scipy import special
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from ethical_compression.datasets import hate_speech
from ethical_compression.errors import InputError
from ethical_compression.train import judge


def made_up(count: int, seed: int = 0):
    """Texts of meaningless words; one in five words of a toxic text is of a kind of its own."""
    rng = np.random.default_rng(seed)
    toxic = rng.random(count) < 0.5
    texts = []
    for bad in toxic:
        words = [f"w{k}" for k in rng.integers(40, size=10)]
        bad_words = [f"bad{k}" if rng.random() < 0.2 * bad else w for k, w in enumerate(words)]
        texts.append(" ".join(bad_words))
    return texts, toxic


def test_it_tells_texts_apart_and_is_the_same_each_time():
    texts, toxic = made_up(400)
    fresh, truth = made_up(400, seed=1)
    found = judge.fit(texts, toxic).probabilities(fresh)
    assert roc_auc_score(truth, found) > 0.85
    assert ((found > 0) & (found < 1)).all()
    np.testing.assert_array_equal(found, judge.fit(texts, toxic).probabilities(fresh))


def test_harmless_texts_teach_it_to_let_their_words_pass():
    texts, toxic = made_up(400)
    plain = [f"{text} said the report" for text, bad in zip(texts, toxic, strict=True) if not bad]
    said = ["the report said", "said the report"]
    before, after = (judge.fit(texts, toxic, more) for more in ([], plain))
    assert before.faults(said) == ["no word that the judge knows"] * 2
    assert after.faults(said) == ["", ""]
    assert (after.probabilities(said) < 0.2).all()


def test_its_temperature_is_that_of_scikit_learns_logistic_regression():
    """One weight and no intercept, fitted on the log-odds: the reciprocal of the temperature."""
    rng = np.random.default_rng(2)
    logit = 3 * rng.normal(size=2000)
    toxic = rng.random(2000) < special.expit(logit / 2.5)
    other = LogisticRegression(C=1e9, fit_intercept=False).fit(logit[:, None], toxic)
    assert judge._temperature(logit, toxic) == pytest.approx(1 / other.coef_[0, 0], rel=1e-3)


def test_too_few_texts_and_unequal_lengths_are_refused():
    texts, toxic = made_up(60)
    with pytest.raises(InputError, match="twenty toxic texts"):
        judge.fit(texts[:20], toxic[:20])
    with pytest.raises(InputError, match="its label"):
        judge.fit(texts, toxic[:-1])


def test_the_embedded_judge_is_trained_on_the_training_split_alone():
    model, record = judge.train("redditbias")
    test = judge.load_posts("redditbias", "test", "embedded")
    assert record["posts_seen"] == len(hate_speech.load("redditbias", "train"))
    assert [one["licence"] for one in record["posts"]] == ["MIT"]
    assert {one["kind"] for one in record["plain"]} == set(judge.PLAIN)
    p = model.probabilities([judge.text_of(post) for post in test])
    toxic = np.array([judge.is_toxic("redditbias", post) for post in test])
    assert roc_auc_score(toxic, p) > 0.8
    assert abs(p.mean() - toxic.mean()) < 0.04  # as sure as it is right, over all


def test_what_is_not_there_is_said(monkeypatch):
    with pytest.raises(InputError, match="judge 'reddit'"):
        judge.train("reddit")
    with pytest.raises(InputError, match="source of hatexplain"):
        judge.load_posts("hatexplain", "train", "embedded")
    with pytest.raises(InputError, match="source of posts"):
        judge.load_posts("redditbias", "train", "web")
