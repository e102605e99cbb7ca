"""What a chapter's parameters make of a study."""

from types import SimpleNamespace

import pandas as pd

from ethical_compression.train import studies
from ethical_compression.train.classifier import Run, Training

PARAMETERS = {
    "model": "minilm",
    "dataset": "redditbias",
    "source": "embedded",
    "train_split": "train",
    "test_split": "test",
    "train_posts": 12,
    "test_posts": 0,
    "learning_rate": 2e-4,
    "epochs": 1,
    "batch_size": 4,
    "max_length": 16,
    "frozen_embeddings": True,
    "device": "cpu",
    "seed": 3,
}


def test_parameters_name_data_and_training():
    data, training = studies.prepared(PARAMETERS)
    assert len(data.train) == 12 and len(data.test) > 1000
    assert training == Training(2e-4, 1, 4, 16, frozen_embeddings=True)
    again, _ = studies.prepared(PARAMETERS | {"seed": 4})
    assert [one.id for one in again.train] != [one.id for one in data.train]


def test_every_seed_is_trained_in_full_before_it_is_made_smaller(monkeypatch):
    asked = []

    def predictions(kind):
        def of(runs, data, training, progress):
            asked.extend((kind, run) for run in runs)
            return pd.DataFrame({"kind": [kind] * len(runs)})

        return SimpleNamespace(predictions=of)

    monkeypatch.setattr(studies, "classifier_runs", predictions("trained"))
    monkeypatch.setattr(studies, "pruned", predictions("pruned"))
    table = studies.compressed("m", {"upper": [5, 3], "bottom": [3]}, [3], [0, 7], None, None)
    assert list(table["kind"]) == ["trained", "pruned", *["trained"] * 3] * 2
    assert [run for _, run in asked[:5]] == [
        Run("m"),
        Run("m", 3),
        Run("m", 5, "upper"),
        Run("m", 3, "upper"),
        Run("m", 3, "bottom"),
    ]
    assert {run.seed for _, run in asked[5:]} == {7}
