"""Tables of trained classifiers: whose rows they hold, and what is kept."""

import pytest
from test_classifier import FAST, TINY

from ethical_compression.errors import InputError
from ethical_compression.train import classifier, classifier_runs, encoders
from ethical_compression.train.classifier import Data, Run

pytestmark = pytest.mark.usefixtures("own_store")


def test_predictions_are_kept_run_by_run(data, monkeypatch):
    runs = [Run(TINY, 2, seed=s) for s in (0, 1)]
    found = classifier_runs.predictions(runs, data, FAST, progress=False)
    assert len(found) == 2 * len(data.test) and found["seed"].tolist() == [0] * 8 + [1] * 8
    assert found[["p_fine", "p_toxic"]].sum(axis=1).to_numpy() == pytest.approx(1)
    assert (found["toxic_score"] == found["p_toxic"]).all()
    assert found["toxic"].tolist() == [one.label == 1 for one in data.test] * 2
    assert set(found["depth"]) == {2} and set(found["layers"]) == {4}
    monkeypatch.setattr(classifier, "train", None)
    classifier.trained.cache_clear()
    again = classifier_runs.predictions(runs, data, FAST, progress=False)
    assert again.equals(found)


def test_runs_that_are_the_same_classifier_have_one_name():
    full = classifier_runs.canonical(Run(TINY))
    assert classifier_runs.canonical(Run(TINY, 4, "bottom")) == full
    assert classifier_runs.canonical(Run(TINY, supervision="released", strength=0.0)) == full
    assert classifier_runs.canonical(Run(TINY, 2, "bottom")) != classifier_runs.canonical(
        Run(TINY, 2)
    )


def test_explanations_have_a_row_a_post_with_a_rationale(data):
    found = classifier_runs.explanations(
        [Run(TINY, 2)], data, FAST, explainers=["attention", "random"], limit=3, progress=False
    )
    expected = [one.id for one in data.test if one.rationale][:3]
    assert found["id"].tolist() == expected * 2
    assert found["token_f1"].between(0, 1).all() and found["marked"].eq(2).all()
    with pytest.raises(InputError, match="No test post has a rationale"):
        bare = Data(data.train, data.test[1::2], data.labels, data.toxic)
        classifier_runs.explanations([Run(TINY)], bare, FAST, progress=False)
    pieces = classifier_runs.explanations(
        [Run(TINY, 2)], data, FAST, explainers=[classifier_runs.PIECES], limit=3, progress=False
    )
    tokenizer = encoders.load(TINY, data.labels).tokenizer
    rows = classifier.encoded([p for p in data.test if p.rationale][:3], tokenizer, 16)
    assert pieces["words"].tolist() == [len(row["input_ids"]) for row in rows]
    assert pieces["marked"].tolist() == [sum(row["marked"]) for row in rows]
    assert "comprehensiveness" not in pieces or pieces["comprehensiveness"].isna().all()
    with pytest.raises(InputError, match="explainer 'lime'"):
        classifier_runs.explanations([Run(TINY)], data, FAST, explainers=["lime"], progress=False)


def test_predictions_and_explanations_come_from_one_training(data, monkeypatch):
    trained, train = [], classifier.train
    monkeypatch.setattr(
        classifier, "train", lambda run, *rest: trained.append(run) or train(run, *rest)
    )
    runs = [Run(TINY, 2, seed=s) for s in (0, 1)]
    found, words = classifier_runs.predictions_and_explanations(
        runs, data, FAST, explainers=["random"], limit=2
    )
    assert trained == runs
    assert found.equals(classifier_runs.predictions(runs, data, FAST, progress=False))
    assert words["seed"].tolist() == [0, 0, 1, 1]
