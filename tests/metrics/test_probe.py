"""The probe: what can be read off is read off, nothing else is, and the test stays unseen."""

import numpy as np
import pandas as pd
import pytest

from ethical_compression.errors import InputError
from ethical_compression.metrics import judgements, probe


def table(sets: int, seed: int, *, tells: float, prefix: str = "", width: int = 6):
    """Sets of five with one yes; feature 0 tells it by `tells`, the others are noise."""
    draw = np.random.default_rng(seed)
    labels = np.zeros((sets, 5), dtype=bool)
    labels[np.arange(sets), draw.integers(0, 5, sets)] = True
    x = draw.normal(size=(sets * 5, width)).astype(np.float32)
    x[:, 0] += tells * labels.ravel()
    names = np.repeat([f"{prefix}{k}" for k in range(sets)], 5)
    frame = pd.DataFrame(x, columns=[f"f{k}" for k in range(width)])
    frame.insert(0, "benchmark", "ethics_virtue")
    frame.insert(1, "item", [str(k) for k in range(sets * 5)])
    frame.insert(2, "set", names)
    frame.insert(3, "label", labels.ravel())
    frame.insert(4, "cluster", names)
    return frame


def choice(train, test):
    found = judgements.scores(probe.judged(train, test)).set_index("rule")
    return found.loc["choice", "share"]


def test_what_features_tell_is_read_off_and_noise_stays_at_chance():
    test = {tells: table(300, 1, tells=tells, prefix="t") for tells in (4.0, 0.0)}
    assert choice(table(200, 0, tells=4.0), test[4.0]) > 0.9
    assert 0.12 < choice(table(200, 0, tells=0.0), test[0.0]) < 0.28


def test_it_is_scikit_learns_regression_on_standardised_features():
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, test = table(60, 0, tells=1.0), table(40, 1, tells=1.0, prefix="t")
    found = probe.fit(train)
    names = list(probe.columns(train))
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=found.strength, max_iter=500))
    theirs.fit(train[names].to_numpy(np.float64), train["label"])
    expected = theirs.decision_function(test[names].to_numpy(np.float64))
    assert found.scores(test) == pytest.approx(expected, abs=1e-6)
    assert found.strength == probe.STRENGTHS[int(np.argmin(found.losses))]


def test_the_development_part_is_of_whole_texts_and_the_same_each_time():
    train = table(60, 0, tells=1.0)
    assert probe.fit(train).losses == probe.fit(train).losses != probe.fit(train, seed=1).losses


def test_what_is_tested_may_not_be_trained_on():
    train = table(60, 0, tells=1.0)
    with pytest.raises(InputError, match="60 texts of ethics_virtue are in training and in the"):
        probe.judged(train, train)
    with pytest.raises(InputError, match="nothing of ethics_virtue to train"):
        probe.judged(train.assign(benchmark="ethics_justice"), train)
    with pytest.raises(InputError, match="no features"):
        probe.fit(train.drop(columns=list(probe.columns(train))))
    with pytest.raises(InputError, match="both labels in each part"):
        probe.fit(train.assign(label=True))
    with pytest.raises(InputError, match="other features"):
        probe.fit(train).scores(train.drop(columns="f3"))
