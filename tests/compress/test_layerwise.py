"""What is handed out of a model layer by layer, and what is noted of each."""

import pytest
import torch
from tiny_models import FAMILIES, tiny_model

from ethical_compression.compress.blocks import survey
from ethical_compression.compress.layerwise import (
    Compressed,
    each_layer,
    every_weight,
    weight_error,
)
from ethical_compression.compress.sparsity import SparseWeight
from ethical_compression.errors import InputError


def inputs():
    generator = torch.Generator().manual_seed(0)
    return list(torch.randint(3, 200, (4, 24), generator=generator).split(2))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_weight_comes_once_with_the_hessian_of_what_feeds_it(family):
    model = tiny_model(family)
    blind = [(name, hessian) for name, _, hessian in each_layer(model)]
    assert [name for name, _ in blind] == every_weight(None, model)
    assert all(hessian is None for _, hessian in blind)
    shapes = {
        name: one.shape for block in survey(model).blocks for name, one in block.weights.items()
    }
    for name, weight, hessian in each_layer(model, inputs()):
        assert weight.shape == shapes.pop(name)
        assert hessian.matrix.shape == (weight.shape[1],) * 2 and hessian.count == 4 * 24
    assert not shapes


def test_what_is_kept_is_in_the_model_and_so_are_its_errors_in_the_rows():
    model, full, done = tiny_model("llama"), tiny_model("llama"), Compressed()
    before = {name: one for block in survey(full).blocks for name, one in block.weights.items()}
    for name, weight, hessian in each_layer(model, inputs()):
        kept = SparseWeight.of(weight * (weight.abs() > 0.1))
        done.keep(name, weight, kept, hessian, told=len(done.rows))
    assert [row["told"] for row in done.rows] == list(range(14)) == list(range(len(done.weights)))
    after = {name: one for block in survey(model).blocks for name, one in block.weights.items()}
    for row in done.rows:
        old, new = before[row["layer"]], after[row["layer"]]
        assert torch.equal(new, old * (old.abs() > 0.1))
        lost = (new - old).double().square().sum() / old.double().square().sum()
        assert row["weight_error"] == pytest.approx(float(lost), rel=1e-5)
        assert row["output_error"] > 0 and row["reached"]


def test_zeros_that_stay_so_have_no_error():
    zeros = torch.zeros(3, 4)
    assert weight_error(zeros, zeros) == 0
    assert weight_error(torch.ones(3, 4), zeros) == 1


def test_a_spoilt_activation_is_refused_before_its_weight_is_handed_out():
    model = tiny_model("llama")
    model.model.embed_tokens.weight.data[5] = float("inf")
    model.model.layers[0].input_layernorm.weight.data[0] = float("nan")
    with pytest.raises(InputError, match=r"layers\.0\.self_attn\.q_proj, or what is fed to it, is"):
        next(each_layer(model, [torch.full((1, 8), 5)]))
