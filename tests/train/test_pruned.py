"""Zeros in place of layers: as many parameters are left."""

import pandas as pd
import pytest
import torch
from test_classifier import FAST, TINY, weights

from ethical_compression.errors import InputError
from ethical_compression.metrics import classification
from ethical_compression.score.runs import grid
from ethical_compression.train import classifier, classifier_runs, encoders, pruned
from ethical_compression.train.classifier import Run

pytestmark = pytest.mark.usefixtures("own_store")


def test_pruned_classifiers_are_as_small_as_fewer_layers(data):
    found = pruned.predictions([Run(TINY, 2)], data, FAST, progress=False)
    short = classifier_runs.predictions([Run(TINY, 2)], data, FAST, progress=False)
    size = short["parameters"].iloc[0]
    magnitude = found.loc[found["method"] == "magnitude", "parameters"].iloc[0]
    assert abs(magnitude - size) <= 4 * 6  # rounded down, layer by layer
    assert set(found["depth"]) == {2} and set(found["position"]) == {"none"}
    # Wanda rounds down row by row: of 16 or 32 inputs, less than one each.
    wanda = found.loc[found["method"] == "wanda", "parameters"].iloc[0]
    assert 0 <= wanda - size <= 4 * (5 * 16 + 32)


def test_pruning_leaves_the_kept_classifier_alone(data):
    before = weights(classifier.trained(Run(TINY), data, FAST)).clone()
    pruned.predictions([Run(TINY, 2)], data, FAST, progress=False)
    assert torch.equal(before, weights(classifier.trained(Run(TINY), data, FAST)))


def test_classifiers_full_shorter_and_pruned_are_subjects_of_one_grid(data):
    shorter = Run(TINY, 2)
    subjects = [
        classifier_runs.Classifier(Run(TINY), data, FAST),
        classifier_runs.Classifier(shorter, data, FAST),
        pruned.Pruned(shorter, data, FAST, "wanda"),
    ]
    table = grid(subjects, [classifier_runs.battery(data, FAST)], progress=False)["predictions"]
    told = [
        classifier_runs.predictions([Run(TINY), shorter], data, FAST, progress=False),
        pruned.predictions([shorter], data, FAST, methods=["wanda"], progress=False),
    ]
    told = pd.concat(told, ignore_index=True)
    assert set(table["model"]) == {TINY}
    assert table["compression"].tolist() == classification.compression(told).tolist()
    assert table["compression"].nunique() == 3
    assert (table["toxic_score"] == told["toxic_score"]).all()


@pytest.mark.parametrize("depth", [0, 5])
def test_a_size_that_the_model_does_not_have_is_refused(depth):
    model = encoders.load(TINY, ("a", "b")).model
    with pytest.raises(InputError, match="cannot be matched: this model has 4"):
        pruned.sparsity_for(model, depth)
